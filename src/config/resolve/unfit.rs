//! Virtual addresses that the kernel takes, and that nobody can use or two would hold: keepalived says nothing of them, and the
//! mistake shows as an outage.

use crate::config::report::{Class, Diagnostic};
use crate::config::table::block::Cx;
use crate::config::text::source::Span;
use crate::config::top::Top;
use crate::config::vrrp::group::SyncGroup;
use crate::config::vrrp::instance::Instance;
use crate::config::vrrp::tracker::Named;
use crate::spec::{IfName, VirtualAddress};
use rustc_hash::{FxHashMap, FxHashSet};
use std::net::{IpAddr, Ipv4Addr};

/// Warns of each virtual address of the instances that cannot serve, before the blocks are taken apart.
pub fn unfit_addresses(top: &Top, cx: &mut Cx<'_>) {
    let fixed: FxHashSet<IpAddr> = top.static_addresses.iter().map(|address| address.address).collect();
    let mut holders = Holders::of(top);
    for (at, own) in top.instances.iter().enumerate() {
        own_peer(own, cx);
        let collected = &own.settings.addresses;
        for (address, span) in collected.advertised.iter().chain(&collected.excluded) {
            let ip = address.address;
            let interface = address.interface.as_ref().or(own.settings.interface.get());
            if let Some((why, cure)) = unusable(address, interface).or_else(|| of_a_peer(own, ip)) {
                cx.push(Diagnostic::new(Class::Unfit, *span, format!("{}: {ip} {why}", own.name)).help(cure));
            } else if fixed.contains(&ip) {
                let message = format!("{}: {ip} is in static_ipaddress too, so every server holds it", own.name);
                cx.push(Diagnostic::new(Class::Unfit, *span, message).help("keep it in one of the two places"));
            } else {
                let (first, there) = holders.first(ip, interface, (at, *span));
                let Some(other) = top.instances.get(first).filter(|other| !together(top, &other.name, &own.name))
                else {
                    continue;
                };
                let message = format!(
                    "{ip} is an address of {} and of {}: two servers hold it when these are not MASTER on the same one",
                    other.name, own.name
                );
                let complaint = Diagnostic::new(Class::Unfit, *span, message).related(there, "listed here first");
                cx.push(complaint.help("give it to one of the two, or put both into one sync group"));
            }
        }
    }
}

/// An instance and its line.
type Listed = (usize, Span);

/// Who lists an address of an interface: the same one elsewhere may be another network's.
struct Holders<'a> {
    /// The first one of each address, with its interface. Nearly all addresses are listed once, and there may be tens of
    /// thousands.
    first: FxHashMap<IpAddr, (Option<&'a IfName>, Listed)>,
    elsewhere: FxHashMap<(IpAddr, Option<&'a IfName>), Listed>,
}

impl<'a> Holders<'a> {
    /// With room for all of them.
    fn of(top: &Top) -> Self {
        let listed = top.instances.iter().map(|own| &own.settings.addresses);
        let count = listed.map(|listed| listed.advertised.len() + listed.excluded.len()).sum();
        Holders {
            first: FxHashMap::with_capacity_and_hasher(count, Default::default()),
            elsewhere: FxHashMap::default(),
        }
    }
    /// Who listed the address first, which may be `own`.
    fn first(&mut self, address: IpAddr, interface: Option<&'a IfName>, own: Listed) -> Listed {
        let (there, first) = *self.first.entry(address).or_insert((interface, own));
        if there == interface { first } else { *self.elsewhere.entry((address, interface)).or_insert(own) }
    }
}

/// One list of all servers for every file is common; what a server sends to itself it passes over.
fn own_peer(own: &Named<Instance>, cx: &mut Cx<'_>) {
    let source = own.settings.source.value();
    if let Some((_, span)) = own.settings.peers.iter().find(|(line, _)| Some(line.peer.address) == source) {
        let message = format!("{}: this server has its own address among its peers", own.name);
        cx.push(Diagnostic::new(Class::Note, *span, message).help("remove it; name the other servers"));
    }
}

/// Whether the two are one instance, or move as one.
fn together(top: &Top, one: &str, other: &str) -> bool {
    let in_group = |group: &Named<SyncGroup>| {
        let listed = |name: &str| group.settings.members.iter().flat_map(|(names, _)| names).any(|(n, _)| **n == *name);
        listed(one) && listed(other)
    };
    one == other || top.sync_groups.iter().any(in_group)
}

/// Why no other machine can speak to an address on that interface, and the cure.
fn unusable(address: &VirtualAddress, interface: Option<&IfName>) -> Option<(String, String)> {
    let real = || "write the virtual IP address that clients use".to_owned();
    let loopback = interface.is_some_and(|name| name.as_str() == "lo");
    match address.address {
        ip if ip.is_unspecified() => Some(("is no address that a machine can have".into(), real())),
        ip if ip.is_multicast() => Some(("is a multicast address: no machine answers for it".into(), real())),
        ip if ip.is_loopback() && !loopback => {
            Some(("is a loopback address: no other machine can reach it".into(), real()))
        }
        IpAddr::V4(Ipv4Addr::BROADCAST) => Some(("is the address of all machines, and not of one".into(), real())),
        IpAddr::V4(own) => at_the_edge(own, address.prefix).or_else(|| shouted(own, address)),
        IpAddr::V6(_) => None,
    }
}

/// The first and the last address of a network are not those of a machine (RFC 1122 §3.2.1.3), except where it has no more
/// than two (RFC 3021).
fn at_the_edge(own: Ipv4Addr, prefix: u8) -> Option<(String, String)> {
    let hosts = u32::MAX.checked_shr(u32::from(prefix)).filter(|hosts| *hosts > 1)?;
    let network = Ipv4Addr::from(u32::from(own) & !hosts);
    let which = match u32::from(own) & hosts {
        0 => "network",
        low if low == hosts => "broadcast",
        _ => return None,
    };
    let why = format!("is the {which} address of {network}/{prefix}: machines of that network do not speak to it");
    Some((why, format!("write an address that is free in {network}/{prefix}, or the prefix length that is meant")))
}

/// An address that is its own broadcast address: the kernel answers nothing that comes for it from another machine.
fn shouted(own: Ipv4Addr, address: &VirtualAddress) -> Option<(String, String)> {
    (address.broadcast == Some(own)).then(|| {
        let why = "is its own broadcast address: no connection to it can be made".to_owned();
        (why, "leave `brd` out, or write the last address of the network behind it".to_owned())
    })
}

/// An address that another server has anyhow. (The instance's own source may be its virtual address, also where every server
/// has one list of peers: a master's adverts come from there, and keepalived's users do that.)
fn of_a_peer(own: &Named<Instance>, address: IpAddr) -> Option<(String, String)> {
    let source = own.settings.source.value();
    let peer = source != Some(address) && own.settings.peers.iter().any(|(line, _)| line.peer.address == address);
    let cure = || "write an address that no server has by itself".to_owned();
    peer.then(|| ("is an address of a peer: it would be on two servers".into(), cure()))
}
