//! Specs made by hand: what the simulator's own worlds and the tests of the engine are written with. Every default is
//! what the configuration language gives for an instance block that says nothing.

use crate::spec::{Claim, Command, IfName, InstanceSpec, Peer, Run, ScriptSpec, Spec, Transport, VirtualAddress};
use crate::time::Interval;
use crate::vrrp::io::{Link, LinkAddress};
use crate::wire::{Family, Priority, Version, Vrid};
use std::net::IpAddr;
use std::sync::Arc;

/// An instance on `eth0` of the family of its first address; IPv4 is VRRPv2, IPv6 is VRRPv3. VRID 0 counts as 1.
pub fn instance(name: &str, vrid: u8, priority: u8, addresses: &[IpAddr]) -> InstanceSpec {
    let family = addresses.first().map_or(Family::V4, Family::of);
    let version = if family == Family::V4 { Version::V2 } else { Version::V3 };
    InstanceSpec {
        name: name.into(),
        vrid: Vrid::new(vrid).unwrap_or(Vrid::ONE),
        family,
        version,
        priority: Priority(priority),
        wants_master: priority == 255,
        transport: Transport::Multicast { group: family.multicast_group() },
        claim: Arc::new(claim(addresses)),
        ..InstanceSpec::plain()
    }
}

/// An Ethernet link that is up and running, MTU 1500, with usable addresses: `ADDRESS` or `ADDRESS/PREFIX`, where 24 and 64 are
/// what is meant without one. What is no address is left out.
///
/// # Panics
/// `name` is empty or longer than an interface's can be.
pub fn link(index: u32, name: &str, addresses: &[&str]) -> Link {
    let address = |text: &&str| {
        let (address, prefix) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr = address.parse().ok()?;
        let prefix = prefix.parse().unwrap_or(if address.is_ipv4() { 24 } else { 64 });
        Some(LinkAddress { address, prefix, usable: true, tentative: false, secondary: false })
    };
    Link {
        index,
        name: IfName::new(name).expect("a name of 1 to 15 bytes"),
        running: true,
        up: true,
        mtu: 1500,
        mac: Some([2, 0, 0, 0, 0, index.to_le_bytes()[0]]),
        loopback: false,
        multicast: true,
        arp: true,
        master: 0,
        lower: 0,
        kind: "veth".into(),
        addresses: addresses.iter().filter_map(address).collect(),
    }
}

/// All of `addresses` advertised.
pub fn claim(addresses: &[IpAddr]) -> Claim {
    let plain = |a: &IpAddr| VirtualAddress::plain(*a, if a.is_ipv4() { 32 } else { 128 });
    Claim { addresses: addresses.iter().map(plain).collect(), advertised: addresses.len(), ..Claim::default() }
}

/// A script that runs every `interval`.
pub fn script(name: &str, interval: Interval, rise: u32, fall: u32) -> ScriptSpec {
    let path: Box<str> = "/bin/true".into();
    ScriptSpec {
        name: name.into(),
        run: Run { command: Command::Exec { argv: vec![path.clone()], path }, uid: 0, gid: 0, groups: None },
        interval,
        timeout: interval,
        weight: 0,
        reverse: false,
        rise,
        fall,
        init_fail: false,
        insecure: true,
    }
}

/// A whole configuration of these instances.
pub fn spec(instances: Vec<InstanceSpec>) -> Spec {
    Spec { instances, ..Spec::default() }
}

/// Peers with any TTL.
pub fn peers(addresses: impl IntoIterator<Item = IpAddr>) -> Transport {
    let peer = |address| Peer { address, min_ttl: 0, max_ttl: 255 };
    Transport::Unicast { peers: addresses.into_iter().map(peer).collect(), ttl: None, check_source: false }
}
