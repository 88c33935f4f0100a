//! The kernel thread's own picture of the interfaces, from dumps and events.

use super::address::{self, AddressKey};
use crate::spec::IfName;
use crate::vrrp::io::{Link, LinkAddress};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoMacVlan, InfoVrf, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
};
use rustc_hash::FxHashSet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// An interface, with what the engine need not know.
#[derive(Clone, PartialEq, Debug)]
pub struct Known {
    pub link: Link,
    /// Routing table, for a VRF.
    pub vrf_table: Option<u32>,
    /// For a macvlan: is it of the mode "private"?
    pub private: bool,
    /// Device group.
    pub group: u32,
    /// Its alias says that a daemon as this one made it.
    pub ours: bool,
    /// Which addresses `link` has, to be asked without going through thousands of them.
    there: FxHashSet<(IpAddr, u8)>,
}

/// All interfaces by index.
#[derive(Clone, Debug, Default)]
pub struct Links {
    by_index: BTreeMap<u32, Known>,
    /// Carrier as asked for, where it is (`linkbeat_interfaces`).
    asked: BTreeMap<IfName, bool>,
    /// Addresses that had our mark when they were read last as a whole.
    marked: BTreeSet<AddressKey>,
}

impl Links {
    /// From a dump of links and one of addresses.
    pub fn new(links: &[LinkMessage], addresses: &[AddressMessage]) -> Links {
        let by_index = links.iter().filter_map(read).map(|known| (known.link.index, known)).collect();
        let marked = addresses.iter().filter(|message| address::is_ours(message)).map(AddressKey::of).collect();
        let mut links = Links { by_index, asked: BTreeMap::new(), marked };
        for message in addresses {
            links.put_address(AddressKey::of(message), address::fact(message));
        }
        links
    }

    /// Goes over to a fresh picture. What was asked for stays.
    pub fn renew(&mut self, fresh: Links) {
        let asked = std::mem::take(&mut self.asked);
        *self = fresh;
        self.believe(asked);
    }

    /// From here on these interfaces have carrier or not as said here. Answers with the links that are different.
    pub fn believe(&mut self, asked: BTreeMap<IfName, bool>) -> Vec<Link> {
        self.asked = asked;
        let mut changed = Vec::new();
        for known in self.by_index.values_mut() {
            let Some(carrier) = self.asked.get(&known.link.name) else { continue };
            let running = known.link.up && *carrier;
            if known.link.running != running {
                known.link.running = running;
                changed.push(known.link.clone());
            }
        }
        changed
    }

    fn correct(&self, link: &mut Link) {
        if let Some(carrier) = self.asked.get(&link.name) {
            link.running = link.up && *carrier;
        }
    }

    pub(crate) fn all(&self) -> Vec<Link> {
        self.by_index.values().map(|known| known.link.clone()).collect()
    }

    pub(crate) fn marked(&self) -> Vec<AddressKey> {
        self.marked.iter().copied().collect()
    }

    pub(crate) fn known(&self) -> impl Iterator<Item = &Known> {
        self.by_index.values()
    }

    pub(crate) fn get(&self, index: u32) -> Option<&Known> {
        self.by_index.get(&index)
    }

    pub(crate) fn named(&self, name: &IfName) -> Option<&Known> {
        self.by_index.values().find(|known| known.link.name == *name)
    }

    pub(crate) fn index(&self, name: &IfName) -> Option<u32> {
        self.named(name).map(|known| known.link.index)
    }

    pub(crate) fn vrf_table(&self, name: &IfName) -> Option<u32> {
        self.named(name).and_then(|known| known.vrf_table)
    }

    pub(crate) fn has_address(&self, key: &AddressKey) -> bool {
        self.get(key.index).is_some_and(|known| known.there.contains(&(key.address, key.prefix)))
    }

    /// Takes what a message says; the link as it was and is, if anything that counts has changed.
    pub fn take(&mut self, message: &LinkMessage) -> Option<(Option<Known>, Known)> {
        let mut now = read(message)?;
        self.correct(&mut now.link);
        let before = self.by_index.get(&now.link.index).cloned();
        if let Some(before) = &before {
            now.link.addresses.clone_from(&before.link.addresses);
            now.there.clone_from(&before.there);
            if *before == now {
                return None;
            }
        }
        self.by_index.insert(now.link.index, now.clone());
        Some((before, now))
    }

    pub(crate) fn forget(&mut self, index: u32) -> Option<Known> {
        self.by_index.remove(&index)
    }

    /// True if this is news.
    pub fn put_address(&mut self, key: AddressKey, address: LinkAddress) -> bool {
        let Some(known) = self.by_index.get_mut(&key.index) else { return false };
        let addresses = &mut known.link.addresses;
        if known.there.insert((key.address, key.prefix)) {
            addresses.push(address);
            return true;
        }
        match addresses.iter_mut().find(|a| a.address == key.address && a.prefix == key.prefix) {
            Some(old) if *old == address => return false,
            Some(old) => *old = address,
            None => addresses.push(address),
        }
        true
    }

    pub(crate) fn drop_address(&mut self, key: &AddressKey) -> bool {
        let Some(known) = self.by_index.get_mut(&key.index) else { return false };
        if !known.there.remove(&(key.address, key.prefix)) {
            return false;
        }
        let addresses = &mut known.link.addresses;
        if let Some(at) = addresses.iter().position(|a| a.address == key.address && a.prefix == key.prefix) {
            addresses.remove(at);
        }
        true
    }
}

/// Reads a link message; `None` for those of bridge ports and other families, which tell nothing about the link itself.
fn read(message: &LinkMessage) -> Option<Known> {
    if message.header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let flags = message.header.flags;
    let has = |flag: LinkFlags| flags.contains(flag);
    let mut link = Link {
        index: message.header.index,
        name: IfName::new("?")?,
        running: has(LinkFlags::Up) && has(LinkFlags::Running),
        up: has(LinkFlags::Up),
        mtu: 0,
        mac: None,
        loopback: has(LinkFlags::Loopback),
        multicast: has(LinkFlags::Multicast),
        arp: false,
        master: 0,
        lower: 0,
        kind: "".into(),
        addresses: Vec::new(),
    };
    let (mut vrf_table, mut private, mut group, mut elsewhere, mut ours) = (None, false, 0, false, false);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = IfName::new(name)?,
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(bytes) => link.mac = <[u8; 6]>::try_from(bytes.as_slice()).ok(),
            LinkAttribute::Controller(index) => link.master = *index,
            LinkAttribute::Link(index) => link.lower = *index,
            LinkAttribute::LinkNetNsId(_) => elsewhere = true,
            LinkAttribute::Group(number) => group = *number,
            LinkAttribute::IfAlias(alias) => ours = alias == super::virtual_link::ALIAS,
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(kind) => {
                            elsewhere |= *kind == InfoKind::Veth;
                            link.kind = kind.to_string().into();
                        }
                        LinkInfo::Data(InfoData::Vrf(data)) => {
                            vrf_table = data.iter().find_map(|item| match item {
                                InfoVrf::TableId(table) => Some(*table),
                                _ => None,
                            });
                        }
                        LinkInfo::Data(InfoData::MacVlan(data)) => {
                            private = data.contains(&InfoMacVlan::Mode(MacVlanMode::Private));
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if elsewhere {
        // A veth's peer, or an index of another namespace: nothing is below in this one.
        link.lower = 0;
    }
    link.arp = !has(LinkFlags::Noarp) && link.mac.is_some() && !link.loopback;
    Some(Known { link, vrf_table, private, group, ours, there: FxHashSet::default() })
}
