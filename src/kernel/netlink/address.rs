//! An address as the kernel is told it and as it tells it back.
//!
//! Messages are built field by field: rtnetlink's own builder adds a broadcast address that nobody asked for.

use crate::spec::VirtualAddress;
use crate::vrrp::io::LinkAddress;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeader, AddressHeaderFlags, AddressMessage, AddressProtocol, CacheInfo,
};
use std::net::{IpAddr, Ipv4Addr};

/// "keepalived" in rt_addrprotos: tells our addresses from others' in `ip address show`.
pub const PROTOCOL: u8 = 18;

/// What the kernel tells addresses by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AddressKey {
    pub index: u32,
    pub address: IpAddr,
    pub prefix: u8,
    pub peer: Option<IpAddr>,
}

impl AddressKey {
    pub(crate) fn of(message: &AddressMessage) -> AddressKey {
        let (mut local, mut remote) = (None, None);
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(address) => local = Some(*address),
                AddressAttribute::Address(address) => remote = Some(*address),
                _ => {}
            }
        }
        let address = local.or(remote).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        AddressKey {
            index: message.header.index,
            address,
            prefix: message.header.prefix_len,
            peer: remote.filter(|remote| *remote != address),
        }
    }
}

/// The message that puts `address` on the interface `index`.
pub fn message(address: &VirtualAddress, index: u32) -> AddressMessage {
    let mut flags = AddressFlags::empty();
    let v6 = address.address.is_ipv6();
    flags.set(AddressFlags::Nodad, v6 && !address.dad);
    flags.set(AddressFlags::Homeaddress, address.home);
    flags.set(AddressFlags::Managetempaddr, address.mngtmpaddr);
    flags.set(AddressFlags::Noprefixroute, address.noprefixroute);
    flags.set(AddressFlags::Mcautojoin, address.autojoin);

    let mut message = AddressMessage::default();
    message.header = AddressHeader {
        family: if v6 { AddressFamily::Inet6 } else { AddressFamily::Inet },
        prefix_len: address.peer.map_or(address.prefix, |(_, prefix)| prefix),
        // The low byte, for kernels that look only here.
        flags: AddressHeaderFlags::from_bits_retain((flags.bits() & 0xff) as u8),
        scope: address.scope.unwrap_or(0).into(),
        index,
    };
    let attributes = &mut message.attributes;
    attributes.push(AddressAttribute::Local(address.address));
    attributes.push(AddressAttribute::Address(address.peer.map_or(address.address, |(peer, _)| peer)));
    if let Some(broadcast) = address.broadcast {
        attributes.push(AddressAttribute::Broadcast(broadcast));
    }
    if let Some(label) = &address.label {
        attributes.push(AddressAttribute::Label(label.to_string()));
    }
    if flags.bits() > 0xff {
        attributes.push(AddressAttribute::Flags(flags));
    }
    if let Some(preferred) = address.preferred_lifetime {
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_preferred = preferred;
        lifetime.ifa_valid = u32::MAX;
        attributes.push(AddressAttribute::CacheInfo(lifetime));
    }
    attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(PROTOCOL)));
    message
}

/// The message that takes an address away: only what tells it from others.
pub fn removal(key: &AddressKey) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = if key.address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    message.header.prefix_len = key.prefix;
    message.header.index = key.index;
    message.attributes.push(AddressAttribute::Local(key.address));
    message.attributes.push(AddressAttribute::Address(key.peer.unwrap_or(key.address)));
    message
}

/// Does it carry our mark? Only kernels from 5.18 on keep it.
pub fn is_ours(message: &AddressMessage) -> bool {
    let ours = |attribute: &AddressAttribute| matches!(attribute, AddressAttribute::Protocol(AddressProtocol::Other(number)) if *number == PROTOCOL);
    message.attributes.iter().any(ours)
}

/// As the engine is told.
pub fn fact(message: &AddressMessage) -> LinkAddress {
    let key = AddressKey::of(message);
    let flags = flags(message);
    let optimistic = flags.contains(AddressFlags::Optimistic);
    LinkAddress {
        address: key.address,
        prefix: key.prefix,
        usable: optimistic || !flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed),
        // One that has failed is still called tentative.
        tentative: !optimistic && flags.contains(AddressFlags::Tentative) && !flags.contains(AddressFlags::Dadfailed),
        secondary: flags.contains(AddressFlags::Secondary),
    }
}

fn flags(message: &AddressMessage) -> AddressFlags {
    let wide = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Flags(flags) => Some(*flags),
        _ => None,
    });
    wide.unwrap_or(AddressFlags::from_bits_retain(message.header.flags.bits().into()))
}
