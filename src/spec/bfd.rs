//! `bfd_instance`: one session with one neighbour, resolved.

use crate::time::Interval;
use std::net::IpAddr;

/// A session with everything decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    pub name: Box<str>,
    pub source: Option<IpAddr>,
    pub neighbor: IpAddr,
    pub min_rx: Interval,
    pub min_tx: Interval,
    pub idle_tx: Interval,
    pub multiplier: u8,
    pub passive: bool,
    pub ttl: u8,
    /// `None`: received TTLs are not looked at.
    pub max_hops: Option<u8>,
    pub multihop: bool,
    pub for_vrrp: bool,
    pub for_checkers: bool,
}
