//! The sections of `keepalived.data` about the machine: announcement delays, the sockets, the interfaces.
//!
//! What keepalived remembers of its own doing (sysctls before it changed them, when a group of interfaces may announce
//! next) is the kernel thread's business here, and left out rather than invented.

use super::Page;
use super::put;
use super::truth;
use crate::observe::words;
use crate::spec::{Auth, BeatMethod, IfName, InstanceSpec, Pacing, RxBuffer, Spec, TieTarget, Transport};
use crate::time::Interval;
use crate::vrrp::snapshot::{LinkView, PortView, Snapshot};
use crate::wire::{Family, PROTOCOL_AH};
use std::net::IpAddr;

pub(super) fn delays(page: &mut Page, spec: &Spec) {
    let named: Vec<&Pacing> = spec.pacing.iter().filter(|group| group.is_anything()).collect();
    if named.is_empty() {
        return;
    }
    put!(page, 0, "------< Gratuitous ARP delays >------");
    for group in named {
        put!(page, 0, "------< GARP delay group >------");
        for (label, interval) in [("GARP", group.garp), ("GNA", group.gna)] {
            if !interval.is_zero() {
                put!(page, 1, "{label} interval = {:.6}", interval.as_secs_f64());
            }
        }
        put!(page, 1, "Interfaces");
        for name in paced(spec, group) {
            put!(page, 2, "{name}");
        }
    }
}

/// The interfaces of a group; the global default holds for those of instances that are in no group.
fn paced<'a>(spec: &'a Spec, group: &'a Pacing) -> Vec<&'a IfName> {
    if !group.interfaces.is_empty() {
        return group.interfaces.iter().collect();
    }
    let elsewhere = |name: &IfName| spec.pacing.iter().any(|other| other.interfaces.contains(name));
    let mut names: Vec<&IfName> = Vec::new();
    for name in spec.instances.iter().filter_map(|instance| instance.interface.as_ref()) {
        if !names.contains(&name) && !elsewhere(name) {
            names.push(name);
        }
    }
    names
}

pub(super) fn sockets(page: &mut Page, spec: &Spec, now: &Snapshot) {
    let waiting = waiting(spec, now);
    if now.ports.is_empty() && waiting.is_empty() {
        return;
    }
    put!(page, 0, "------< VRRP Sockpool >------");
    for PortView { port, instances, descriptor } in &now.ports {
        let fd = descriptor.unwrap_or(-1);
        put!(page, 1, "fd_in {fd} fd_out = {fd}");
        let link = port.ifindex.and_then(|index| now.links.iter().find(|view| view.link.index == index));
        put!(page, 3, "Interface = {}", link.map_or("(none)", |view| view.link.name.as_str()));
        let first = instances.first().and_then(|id| spec.instances.get(id.index()));
        if let Some(vrf) = first.and_then(|instance| instance.vrf.as_ref()) {
            put!(page, 3, "VRF = {vrf}");
        }
        put!(page, 3, "Family = {}", if port.family == Family::V6 { "IPv6" } else { "IPv4" });
        put!(page, 3, "Protocol = {}", if port.protocol == PROTOCOL_AH { "AH" } else { "VRRP" });
        put!(page, 3, "Type = {}icast", if port.group.is_some() { "Mult" } else { "Un" });
        if let Some(local) = port.local {
            put!(page, 3, "Address = {local}");
        }
        let mtu = link.map_or(0, |view| view.link.mtu);
        let size = match spec.daemon.rx_buffer {
            RxBuffer::Kernel | RxBuffer::Advert { .. } => 0,
            RxBuffer::Bytes(bytes) => bytes,
            RxBuffer::Mtu { multiplier } => multiplier.saturating_mul(mtu),
        };
        put!(page, 3, "Rx buf size = {size}");
        put!(page, 3, "VRRP instances");
        for instance in instances.iter().filter_map(|id| spec.instances.get(id.index())) {
            put!(page, 5, "{} vrid {}", instance.name, instance.vrid);
        }
    }
    for instance in waiting {
        let Some(interface) = &instance.interface else { continue };
        put!(page, 1, "fd_in -1 fd_out = -1");
        put!(page, 3, "Interface = {interface}");
        put!(page, 3, "Family = {}", if instance.family == Family::V6 { "IPv6" } else { "IPv4" });
        put!(page, 3, "Protocol = {}", if matches!(instance.auth, Auth::Ah(_)) { "AH" } else { "VRRP" });
        put!(page, 3, "Type = Multicast");
        put!(page, 3, "Rx buf size = 0");
        put!(page, 3, "VRRP instances");
        put!(page, 5, "{} vrid {}", instance.name, instance.vrid);
    }
}

/// Instances whose interface is not there, so that no socket can be opened yet.
fn waiting<'a>(spec: &'a Spec, now: &Snapshot) -> Vec<&'a InstanceSpec> {
    let served = |index: usize| now.ports.iter().any(|port| port.instances.iter().any(|id| id.index() == index));
    let multicast = |one: &InstanceSpec| matches!(one.transport, Transport::Multicast { .. });
    let all = spec.instances.iter().enumerate();
    all.filter(|(index, one)| multicast(one) && !served(*index)).map(|(_, one)| one).collect()
}

/// All interfaces, and those that are named and not there.
pub(super) fn interfaces(page: &mut Page, spec: &Spec, now: &Snapshot) {
    put!(page, 0, "------< Interfaces >------");
    for view in &now.links {
        put!(page, 1, "Name = {}", view.link.name);
        put!(page, 3, "index = {}", view.link.index);
        addresses(page, spec, view);
        condition(page, spec, view);
        kind(page, spec, now, view);
        trackers(page, spec, now, view.link.name.as_str());
    }
    let mut missing: Vec<&IfName> = spec.instances.iter().filter_map(|instance| instance.interface.as_ref()).collect();
    missing.retain(|name| now.links.iter().all(|view| view.link.name != **name));
    missing.dedup();
    for name in missing {
        put!(page, 1, "Name = {name}");
        put!(page, 3, "index = 0 (deleted)");
        trackers(page, spec, now, name.as_str());
    }
}

/// The interface's own addresses; virtual ones stand with their instances.
fn addresses(page: &mut Page, spec: &Spec, view: &LinkView) {
    let claimed = |address: IpAddr| {
        let instances = spec.instances.iter().flat_map(|instance| &instance.claim.addresses);
        instances.chain(&spec.statics.addresses).any(|item| item.address == address)
    };
    let own = view.link.addresses.iter().map(|item| item.address).filter(|address| !claimed(*address));
    let (four, six): (Vec<IpAddr>, Vec<IpAddr>) = own.partition(IpAddr::is_ipv4);
    // As keepalived, which speaks from a link-local address.
    let link_local = |address: &IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let (first_six, more_six): (Vec<IpAddr>, Vec<IpAddr>) = six.into_iter().partition(link_local);
    let (first_four, more_four) = four.split_at(four.len().min(1));
    for (family, first, more) in [("IPv4", first_four, more_four), ("IPv6", &first_six[..], &more_six[..])] {
        put!(page, 3, "{family} address = {}", first.first().map_or("(none)".into(), ToString::to_string));
        let more: Vec<&IpAddr> = first.iter().skip(1).chain(more).collect();
        // keepalived does not keep ::1 and other addresses that are no link's own.
        let more: Vec<&&IpAddr> = more.iter().filter(|address| !address.is_loopback()).collect();
        if !more.is_empty() {
            put!(page, 3, "Additional {family} addresses :");
            for address in more {
                put!(page, 5, "{address}");
            }
        }
    }
}

fn condition(page: &mut Page, spec: &Spec, view: &LinkView) {
    let link = &view.link;
    if let Some(mac) = link.mac.filter(|_| !link.loopback) {
        put!(page, 3, "MAC = {}", words::mac(mac));
        put!(page, 3, "MAC broadcast = {}", words::mac([0xff; 6]));
    }
    let not = |is: bool| if is { "" } else { "not " };
    let mut state = format!("{}UP, {}RUNNING", not(link.up), not(link.running));
    for (on, word) in [
        (link.loopback, ", no broadcast, loopback"),
        (!link.arp && !link.loopback, ", no arp"),
        (!link.multicast, ", no multicast"),
    ] {
        if on {
            state.push_str(word);
        }
    }
    put!(page, 3, "State = {state}");
    put!(page, 3, "Seen up = {}", u8::from(link.up && link.running));
    put!(page, 3, "Delayed state change running = {}", truth(view.changing));
    let debounce = spec.debounce.iter().find(|line| line.interface == link.name);
    let (up, down) = debounce.map_or((Interval::ZERO, Interval::ZERO), |line| (line.up, line.down));
    put!(page, 3, "Up debounce timer = {}us", up.as_micros());
    put!(page, 3, "Down debounce timer = {}us", down.as_micros());
}

fn kind(page: &mut Page, spec: &Spec, now: &Snapshot, view: &LinkView) {
    let link = &view.link;
    let ours = now.instances.iter().any(|instance| instance.link.as_deref() == Some(link.name.as_str()));
    if let Some(base) = now.links.iter().find(|other| other.link.index == link.lower).filter(|_| ours) {
        let what = if &*link.kind == "ipvlan" { "IPVLAN" } else { "VMAC" };
        let not = |is: bool| if is { "" } else { "not " };
        put!(
            page,
            3,
            "{what} type private, underlying interface = {}, state = {}UP, {}RUNNING",
            base.link.name,
            not(base.link.up),
            not(base.link.running)
        );
        put!(page, 3, "I/f created by keepalived");
    }
    put!(page, 3, "MTU = {}", link.mtu);
    let hardware = match (link.loopback, link.mac) {
        (true, _) => "LOOPBACK",
        (false, Some(_)) => "ETHERNET",
        (false, None) => "UNKNOWN",
    };
    put!(page, 3, "HW Type = {hardware}");
    let beat = spec.linkbeat.iter().find(|beat| beat.interface == link.name);
    let asked = match beat.map(|beat| beat.method) {
        None => "NIC netlink status update",
        Some(Some(BeatMethod::Mii)) => "NIC support MII regs",
        Some(Some(BeatMethod::Ethtool) | None) => "NIC support ETHTOOL GLINK interface",
        Some(Some(BeatMethod::Ioctl)) => "NIC ioctl refresh polling",
    };
    put!(page, 3, "{asked}");
    let vrf = now.links.iter().find(|other| other.link.index == link.master && &*other.link.kind == "vrf");
    if let Some(vrf) = vrf {
        put!(page, 3, "VRF slave of {}", vrf.link.name);
    }
    let group = spec.pacing.iter().find(|group| paced(spec, group).contains(&&link.name));
    if let Some(group) = group {
        for (label, interval) in [("ARP", group.garp), ("NA", group.gna)] {
            if !interval.is_zero() {
                put!(page, 3, "Gratuitous {label} interval {}ms", interval.as_millis());
            }
        }
    }
    let virtual_links = |instance: &&InstanceSpec| instance.virtual_link.is_some();
    let based =
        spec.instances.iter().filter(virtual_links).filter(|instance| instance.interface.as_ref() == Some(&link.name));
    put!(page, 3, "Reset ARP config counter {}", based.count());
}

/// Who depends on the interface: by being on it (weight 0), or by `track_interface`.
fn trackers(page: &mut Page, spec: &Spec, now: &Snapshot, name: &str) {
    let mut lines = Vec::new();
    for (one, view) in spec.instances.iter().zip(&now.instances) {
        let on = one.interface.as_ref().is_some_and(|base| base.as_str() == name) || view.link.as_deref() == Some(name);
        if on {
            // dont_track_primary: keepalived's mark for a weight that changes nothing.
            lines.push(format!("{}, weight {}", one.name, if one.track_primary { 0 } else { 255 }));
        }
    }
    for one in &spec.instances {
        for tie in &one.ties {
            if matches!(&tie.on, TieTarget::Interface(interface) if interface.as_str() == name) {
                let reverse = if tie.reverse { " reverse" } else { "" };
                lines.push(format!("{}, weight {}{reverse}", one.name, tie.weight));
            }
        }
    }
    if !lines.is_empty() {
        put!(page, 3, "Tracking VRRP instances :");
        for line in lines {
            put!(page, 5, "{line}");
        }
    }
}
