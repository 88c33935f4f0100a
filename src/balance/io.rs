//! The whole vocabulary between the balancer and the world: facts come in as [`Input`], wishes go out as [`Action`], and
//! what happened is told to observers as events.
//!
//! What a wish is about is named by what it means ([`ServiceKey`], [`Endpoint`]), never by a position, so that an answer
//! that comes after a reload cannot be taken for another one's. Every probe has a number ([`Attempt`]) for the same
//! reason: the answer of a probe that was given up changes nothing.

use crate::spec::balance::{Endpoint, Forwarding, Persistence, Protocol, SchedulerFlags};
use crate::wire::Family;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// One service of the kernel's table. A virtual server with a group has one for each address and mark of the group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ServiceKey {
    Address {
        protocol: Protocol,
        address: IpAddr,
        /// 0: every port.
        port: u16,
    },
    Mark {
        family: Family,
        mark: u32,
    },
}

/// What the kernel's table is to hold for one service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Picture {
    pub scheduler: Box<str>,
    pub flags: SchedulerFlags,
    pub persistence: Option<Persistence>,
    /// By address and port as the kernel has them (the service's port for DR and tunnels).
    pub destinations: BTreeMap<(IpAddr, u16), Destination>,
}

/// One destination of a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Destination {
    pub weight: u32,
    pub forwarding: Forwarding,
    /// Connections above which no new ones come, and below which they come again; 0 is no limit.
    pub upper_threshold: u32,
    pub lower_threshold: u32,
}

/// Number of one run of a check; grows, and is never used again while the process (and who inherits from it) lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Attempt(pub u64);

/// What a check found out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Finding {
    Good,
    /// Good, and the server says how much it can take: MISC_CHECK's exit code 2..=255, as it came.
    Weighted(u8),
    Bad(Symptom),
    /// The check could not be made, for a reason on this machine (the kernel's error number: no descriptor left, the
    /// source address is not here, no permission). It says nothing of the server: its state stays, and the check is made
    /// again after delay_loop, as keepalived's "Rescheduling".
    NotMade(i32),
}

/// Why a check failed. A sentence is made of it in one place, `observe::words`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Symptom {
    /// Connection refused, or reset while it was made.
    Refused,
    TimedOut(Stage),
    /// The kernel's error number of the connection: EHOSTUNREACH, ENETUNREACH, EADDRNOTAVAIL, ….
    Unreachable(i32),
    /// The connection ended before the answer was whole.
    Closed(Stage),
    /// The TLS library's words, at most 200 bytes, without anything secret.
    Tls(Box<str>),
    /// Status code that is not among the accepted ones.
    Status(u16),
    /// MD5 of the body, as it was.
    Digest([u8; 16]),
    /// The pattern was not found (or was, and must not be).
    Pattern,
    /// The answer breaks its protocol; what was wrong, in a few words.
    Malformed(Box<str>),
    /// Larger than what is taken in, in bytes.
    TooLong(u64),
    /// The server's answer says no: an SMTP reply code, a DNS RCODE.
    Answer(u16),
    /// How the program ended.
    Exit(i32),
    Signal(i32),
    /// The program could not be started: the kernel's error number.
    NotRun(i32),
    /// The tracked file says so.
    File(i64),
    /// The BFD session is not up.
    SessionDown,
    /// The virtual address's checks are switched off by an operator.
    Drained,
}

/// How far a check came.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Stage {
    Connect,
    Tls,
    Send,
    Answer,
    Program,
}

/// Address and port of a destination as the kernel has them: `port` 0 where the client's is kept.
pub fn in_kernel(endpoint: Endpoint) -> (IpAddr, u16) {
    (endpoint.address, endpoint.port.unwrap_or(0))
}
