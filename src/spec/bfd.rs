//! `bfd_instance`: one session with one neighbour, resolved.

use super::IfName;
use crate::time::Interval;
use std::net::IpAddr;

/// A session with everything decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    pub name: Box<str>,
    /// `None`: whatever address routing chooses.
    pub source: Option<IpAddr>,
    pub neighbor: IpAddr,
    /// `neighbor_ip ADDRESS%INTERFACE`: packets leave and come through this interface only.
    pub interface: Option<IfName>,
    /// Shortest interval at which packets can be received.
    pub min_rx: Interval,
    /// Interval at which packets are wanted to be sent while the session is up.
    pub min_tx: Interval,
    /// Interval between packets while the session is not up; at least a second.
    pub idle_tx: Interval,
    /// 1..=255.
    pub multiplier: u8,
    /// Waits for the peer to begin.
    pub passive: bool,
    /// TTL or hop limit of sent packets.
    pub ttl: u8,
    /// What `max_hops` counts from on receipt: `ttl`, but 64 for an IPv6 session without `hoplimit`, since keepalived
    /// sends 64 there.
    pub ttl_base: u8,
    /// Hops that a received packet may have made; `None`: received TTLs are not looked at.
    pub max_hops: Option<u8>,
    pub multihop: bool,
    pub for_vrrp: bool,
    pub for_checkers: bool,
}

impl Session {
    /// Least TTL or hop limit with which a packet of the peer is taken; 0 takes all.
    pub fn least_ttl(&self) -> u8 {
        self.max_hops.map_or(0, |hops| self.ttl_base.saturating_sub(hops))
    }

    /// Are these the two ends of one session, as far as both say where they speak from?
    pub fn meets(&self, other: &Session) -> bool {
        self.source == Some(other.neighbor) && other.source == Some(self.neighbor)
    }

    /// Is it the same session to the peer? The name is not part of it: it is a label.
    pub fn same_session(&self, other: &Session) -> bool {
        (self.neighbor, self.source, self.multihop, &self.interface)
            == (other.neighbor, other.source, other.multihop, &other.interface)
    }

    /// Could one packet be meant for both? keepalived's rule for duplicates: an absent source fits any.
    pub fn clashes(&self, other: &Session) -> bool {
        let sources = match (self.source, other.source) {
            (Some(one), Some(two)) => one == two,
            _ => true,
        };
        self.neighbor == other.neighbor
            && self.multihop == other.multihop
            && self.interface == other.interface
            && sources
    }
}
