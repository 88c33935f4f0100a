//! The kernel's table as it was told by the kernel: services, their destinations, and what runs besides.

use super::message::{Daemon, DestinationKey, SeenDestination, Service, SyncRole};
use crate::balance::io::{Destination, DestinationTraffic, Picture, ServiceKey, ServiceTraffic, Stats, Traffic};
use crate::spec::balance::{Forwarding, Method, SchedulerFlags, TunnelChecksum, TunnelKind};
use std::collections::BTreeMap;

/// All services of one network namespace.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    pub services: BTreeMap<ServiceKey, SeenService>,
}

impl Seen {
    /// What is counted of it, without what is configured.
    pub fn traffic(&self) -> Traffic {
        let destination = |seen: &SeenDestination| DestinationTraffic {
            weight: seen.destination.weight,
            active: seen.active,
            inactive: seen.inactive,
            persistent: seen.persistent,
            stats: seen.stats,
        };
        let service = |seen: &SeenService| ServiceTraffic {
            stats: seen.stats,
            destinations: seen.destinations.iter().map(|(place, seen)| (*place, destination(seen))).collect(),
        };
        Traffic { services: self.services.iter().map(|(key, seen)| (*key, service(seen))).collect() }
    }
}

/// One service with its destinations.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeenService {
    pub service: Service,
    pub stats: Stats,
    pub destinations: BTreeMap<DestinationKey, SeenDestination>,
}
impl Default for SeenService {
    fn default() -> SeenService {
        let service = Service { scheduler: "".into(), flags: SchedulerFlags::default(), persistence: None };
        SeenService { service, stats: Stats::default(), destinations: BTreeMap::new() }
    }
}
impl SeenService {
    /// What is configured of it, without what is counted.
    pub fn picture(&self) -> Picture {
        Picture {
            scheduler: self.service.scheduler.clone(),
            flags: self.service.flags,
            persistence: self.service.persistence.clone(),
            destinations: self.destinations.iter().map(|(place, seen)| (*place, seen.destination)).collect(),
        }
    }
}

impl Default for SeenDestination {
    fn default() -> SeenDestination {
        let forwarding = Forwarding { method: Method::Nat, tunnel: TunnelKind::Ipip, checksum: TunnelChecksum::None };
        SeenDestination {
            destination: Destination { weight: 0, forwarding, upper_threshold: 0, lower_threshold: 0 },
            other_method: false,
            active: 0,
            inactive: 0,
            persistent: 0,
            stats: Stats::default(),
        }
    }
}

/// The threads of synchronisation that run; the kernel has at most one of each role.
pub type SeenDaemons = BTreeMap<SyncRole, Daemon>;
