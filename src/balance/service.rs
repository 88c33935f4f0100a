//! One virtual server: its servers, its quorum, and which services of the kernel's table it stands for.
//!
//! The kernel knows single addresses and marks only, so a group is spread out into a [`ServiceKey`] for each; where
//! `nftables_ipvs` is on, into one mark. What such a key's destinations are called in the kernel follows from the way that
//! packets take ([`in_kernel`]): only NAT can change a port.

use super::io::{Destination, Picture, ServiceInfo, ServiceKey};
use super::names;
use super::server::{Server, clamped};
use super::servers::Servers;
use crate::spec::balance::{
    Endpoint, Forwarding, GroupEntry, LvsSpec, Method, Protocol, ServerGroup, Target, VirtualServer,
};
use crate::time::Time;
use crate::wire::Family;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Addresses that one group may stand for. keepalived takes 65,536 IPv6 addresses a range at most; what is beyond would only
/// fill memory, here and in the kernel.
pub const GROUP_MAX: usize = 65_536;

#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) info: Arc<ServiceInfo>,
    /// What makes it the same over a reload.
    pub(super) identity: Box<str>,
    pub(super) keys: Vec<ServiceKey>,
    pub(super) servers: Servers,
    pub(super) quorum: bool,
    /// The sorry server that is in, and its inhibit.
    pub(super) sorry: Option<(Endpoint, bool)>,
    /// It was told of: the kernel has the service, and so its sorry server.
    pub(super) sorry_told: bool,
    /// Its checks are made: the virtual address is here, or nobody asked.
    pub(super) enabled: bool,
    pub(super) since: Time,
    /// When what the kernel refused is tried again, and how often it was.
    pub(super) retry: Option<(Time, u32)>,
}

impl Service {
    pub(super) fn new(info: Arc<ServiceInfo>, identity: Box<str>, keys: Vec<ServiceKey>, now: Time) -> Service {
        Service {
            info,
            identity,
            keys,
            servers: Servers::default(),
            quorum: false,
            sorry: None,
            sorry_told: false,
            enabled: true,
            since: now,
            retry: None,
        }
    }

    /// The weight with which the kernel's table is to hold one of its servers; `None`: it is not to be there. The one place
    /// where that is decided.
    fn wanted(&self, server: &Server) -> Option<u32> {
        let good = server.good();
        match good && self.sorry.is_none() {
            true => Some(clamped(server.weight())),
            // What the kernel refused is tried again while the sorry server serves, and gets no traffic by that.
            false => (server.info.inhibit || (good && !server.refused.is_empty())).then_some(0),
        }
    }

    /// Whether the kernel's table holds one of its servers, as far as is known: what was refused is not there.
    pub(super) fn holds(&self, server: &Server) -> bool {
        server.refused.is_empty() && self.wanted(server).is_some()
    }

    /// Puts its destinations under `key` to those of a picture, which [`painted`] makes of them.
    pub(super) fn paint(&self, spec: &VirtualServer, key: &ServiceKey, into: &mut Vec<(KernelName, Destination)>) {
        let serving = self.sorry.is_none();
        for (server, own) in self.servers.iter().zip(&spec.servers) {
            let Some(weight) = self.wanted(server) else { continue };
            let destination = Destination {
                weight,
                forwarding: own.forwarding,
                upper_threshold: own.upper_threshold,
                lower_threshold: own.lower_threshold,
            };
            into.push((in_kernel(key, own.endpoint, own.forwarding), destination));
        }
        if let Some(sorry) = spec.sorry.as_ref().filter(|sorry| !serving || sorry.inhibit) {
            let destination = Destination {
                weight: u32::from(!serving),
                forwarding: sorry.forwarding,
                upper_threshold: 0,
                lower_threshold: 0,
            };
            into.push((in_kernel(key, sorry.endpoint, sorry.forwarding), destination));
        }
    }

    /// The picture of `key` as this service has it, without destinations.
    pub(super) fn frame(spec: &VirtualServer) -> Picture {
        Picture {
            scheduler: spec.scheduler.into(),
            flags: spec.flags,
            persistence: spec.persistence.clone(),
            destinations: BTreeMap::new(),
        }
    }
}

/// The destinations of a picture. Of those that are the same to the kernel (two such servers, or two virtual servers of one group)
/// the one with the largest weight is there, the first of these. Sorted before, so that the map need not search for each its place.
pub(super) fn painted(mut all: Vec<(KernelName, Destination)>) -> BTreeMap<KernelName, Destination> {
    all.sort_by_key(|(place, destination)| (*place, Reverse(destination.weight)));
    all.dedup_by_key(|(place, _)| *place);
    all.into_iter().collect()
}

/// Address and port of a destination as the kernel has them: `port` 0 where the client's is kept.
pub type KernelName = (IpAddr, u16);

/// What a destination is called in the kernel.
pub fn in_kernel(key: &ServiceKey, endpoint: Endpoint, forwarding: Forwarding) -> KernelName {
    let port = match (key, forwarding.method) {
        (_, Method::Nat) => endpoint.port.unwrap_or(0),
        (ServiceKey::Address { port, .. }, _) => *port,
        (ServiceKey::Mark { .. }, _) => 0,
    };
    (endpoint.address, port)
}

/// The kernel's services that a virtual server stands for, addresses before marks as keepalived makes them; and whether
/// its group has more than [`GROUP_MAX`] addresses. `mark` gives the mark of a group under `nftables_ipvs`.
pub(super) fn keys(
    spec: &LvsSpec,
    service: &VirtualServer,
    mark: impl FnOnce(&ServerGroup, Protocol) -> Option<u32>,
) -> (Vec<ServiceKey>, bool) {
    match &service.target {
        Target::Address(endpoint) => {
            let protocol = service.protocol.unwrap_or(Protocol::Udp);
            let (address, port) = (endpoint.address, endpoint.port.unwrap_or(0));
            (vec![ServiceKey::Address { protocol, address, port }], false)
        }
        Target::Mark(mark) => {
            (vec![ServiceKey::Mark { family: service.family.unwrap_or(Family::V4), mark: *mark }], false)
        }
        Target::Group(name) => {
            let Some(group) = spec.groups.iter().find(|group| group.name == *name) else { return Default::default() };
            let marked = group.entries.iter().any(|entry| matches!(entry, GroupEntry::Mark { .. }));
            if let Some(protocol) = service.protocol.filter(|_| !marked)
                && let Some(mark) = mark(group, protocol)
            {
                let families = |family: &Family| service.family.is_none_or(|own| own == *family);
                let has = |family: &Family| {
                    group
                        .entries
                        .iter()
                        .any(|entry| matches!(entry, GroupEntry::Range { first, .. } if Family::of(first) == *family))
                };
                let families = [Family::V4, Family::V6].into_iter().filter(families).filter(has);
                return (families.map(|family| ServiceKey::Mark { family, mark }).collect(), false);
            }
            of_group(group, service)
        }
    }
}

fn of_group(group: &ServerGroup, service: &VirtualServer) -> (Vec<ServiceKey>, bool) {
    let protocol = service.protocol.unwrap_or(Protocol::Udp);
    // An address that stands twice in the group is one service.
    let mut seen = BTreeSet::new();
    let mut keys = Vec::new();
    let mut cut = false;
    for entry in &group.entries {
        let GroupEntry::Range { first, last, port } = entry else { continue };
        let mut at = Some(*first);
        while let Some(address) = at.filter(|address| address <= last) {
            if keys.len() >= GROUP_MAX {
                cut = true;
                break;
            }
            let key = ServiceKey::Address { protocol, address, port: port.unwrap_or(0) };
            if seen.insert(key) {
                keys.push(key);
            }
            at = names::next(address);
        }
    }
    for entry in &group.entries {
        let GroupEntry::Mark { mark, family } = entry else { continue };
        let family = family.or(service.family).unwrap_or(Family::V4);
        let key = ServiceKey::Mark { family, mark: *mark };
        if seen.insert(key) {
            keys.push(key);
        }
    }
    (keys, cut)
}

/// Whether one of the addresses that are here belongs to the service: of a group, one is enough.
pub(super) fn is_here(spec: &LvsSpec, service: &VirtualServer, here: &BTreeSet<(IpAddr, u32)>) -> bool {
    let any = |first: IpAddr, last: IpAddr| {
        here.range((first, 0)..=(last, u32::MAX)).any(|(address, _)| address.is_ipv4() == first.is_ipv4())
    };
    match &service.target {
        Target::Address(endpoint) => any(endpoint.address, endpoint.address),
        Target::Mark(_) => true,
        Target::Group(name) => spec.groups.iter().filter(|group| group.name == *name).any(|group| {
            group.entries.iter().any(|entry| match entry {
                GroupEntry::Range { first, last, .. } => any(*first, *last),
                GroupEntry::Mark { .. } => true,
            })
        }),
    }
}
