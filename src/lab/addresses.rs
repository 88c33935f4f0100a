//! Which addresses this network namespace has, told as they come and go.

use super::Trouble;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressAttribute;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use std::net::IpAddr;

/// RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR of rtnetlink(7).
const ADDRESS_GROUPS: u32 = 0x10 | 0x100;

/// Calls `tell` for every address that appears or vanishes from here on, on a thread of its own.
///
/// # Errors
/// Those of socket(2) and bind(2).
pub fn watch(tell: impl Fn(IpAddr, bool) + Send + 'static) -> Result<(), Trouble> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind(&SocketAddr::new(0, ADDRESS_GROUPS))?;
    std::thread::spawn(move || {
        loop {
            match socket.recv_from_full() {
                Ok((bytes, _)) => each(&bytes, &tell),
                // ENOBUFS: some were lost; the next ones still count.
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(_) => return,
            }
        }
    });
    Ok(())
}

fn each(mut bytes: &[u8], tell: &impl Fn(IpAddr, bool)) {
    while let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes) {
        let length = (message.header.length as usize).next_multiple_of(4);
        let (address, present) = match &message.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(a)) => (Some(a), true),
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(a)) => (Some(a), false),
            _ => (None, false),
        };
        // IFA_LOCAL is the address itself on point-to-point links, IFA_ADDRESS then its peer.
        let find = |local: bool| {
            address?.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(ip) if local => Some(*ip),
                AddressAttribute::Address(ip) if !local => Some(*ip),
                _ => None,
            })
        };
        if let Some(ip) = find(true).or_else(|| find(false)) {
            tell(ip, present);
        }
        match bytes.get(length..) {
            Some(rest) if length > 0 && !rest.is_empty() => bytes = rest,
            _ => return,
        }
    }
}
