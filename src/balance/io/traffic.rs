//! What the kernel counts of its table, for people, metrics and managers: nothing is decided by it.

use super::ServiceKey;
use crate::balance::service::in_kernel;
use crate::spec::balance::{Endpoint, Forwarding};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Counters since the service or destination was made, and rates of about the last two seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    pub connections: u64,
    pub packets_in: u64,
    pub packets_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Each second, this and the next four.
    pub connection_rate: u64,
    pub packet_rate_in: u64,
    pub packet_rate_out: u64,
    pub byte_rate_in: u64,
    pub byte_rate_out: u64,
}

impl Stats {
    /// Both together.
    fn and(self, other: Stats) -> Stats {
        Stats {
            connections: self.connections.saturating_add(other.connections),
            packets_in: self.packets_in.saturating_add(other.packets_in),
            packets_out: self.packets_out.saturating_add(other.packets_out),
            bytes_in: self.bytes_in.saturating_add(other.bytes_in),
            bytes_out: self.bytes_out.saturating_add(other.bytes_out),
            connection_rate: self.connection_rate.saturating_add(other.connection_rate),
            packet_rate_in: self.packet_rate_in.saturating_add(other.packet_rate_in),
            packet_rate_out: self.packet_rate_out.saturating_add(other.packet_rate_out),
            byte_rate_in: self.byte_rate_in.saturating_add(other.byte_rate_in),
            byte_rate_out: self.byte_rate_out.saturating_add(other.byte_rate_out),
        }
    }
}

/// A destination of a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DestinationTraffic {
    /// As the kernel has it.
    pub weight: u32,
    /// Connections that are open, that are closed and not forgotten yet, and templates of persistence.
    pub active: u32,
    pub inactive: u32,
    pub persistent: u32,
    pub stats: Stats,
}

/// What went through a service of the kernel.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ServiceTraffic {
    pub stats: Stats,
    /// By address and port as the kernel has them.
    pub destinations: BTreeMap<(IpAddr, u16), DestinationTraffic>,
}

/// The kernel's whole table at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    pub services: BTreeMap<ServiceKey, ServiceTraffic>,
}

impl Traffic {
    /// How many of a virtual server's services the kernel has.
    pub fn present(&self, keys: &[ServiceKey]) -> usize {
        keys.iter().filter(|key| self.services.contains_key(key)).count()
    }

    /// A virtual server's, all its services together; `None`: the kernel has none of them.
    pub fn service(&self, keys: &[ServiceKey]) -> Option<Stats> {
        keys.iter().filter_map(|key| self.services.get(key)).map(|service| service.stats).reduce(Stats::and)
    }

    /// A server's of a virtual server, in all its services together, with the weight in the first. `None`: it is in none.
    pub fn server(
        &self,
        keys: &[ServiceKey],
        endpoint: Endpoint,
        forwarding: Forwarding,
    ) -> Option<DestinationTraffic> {
        let of =
            |key: &ServiceKey| self.services.get(key)?.destinations.get(&in_kernel(key, endpoint, forwarding)).copied();
        keys.iter().filter_map(of).reduce(|first, other| DestinationTraffic {
            weight: first.weight,
            active: first.active.saturating_add(other.active),
            inactive: first.inactive.saturating_add(other.inactive),
            persistent: first.persistent.saturating_add(other.persistent),
            stats: first.stats.and(other.stats),
        })
    }
}
