//! What a configuration says about load balancing, resolved: a plain value.
//!
//! Every default is filled in and every rule between keywords applied, as in [`crate::spec`]. Nothing acts on it
//! yet: it is what checkers and IPVS will be told, and what `check` has verified.

use crate::spec::{IfName, Run};
use crate::time::Interval;
use crate::wire::Family;
use std::fmt;
use std::net::IpAddr;

/// `SSL`, `virtual_server_group`s and `virtual_server`s.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct LvsSpec {
    pub tls: Option<TlsFiles>,
    pub groups: Vec<ServerGroup>,
    pub services: Vec<VirtualServer>,
}

/// `SSL`: what SSL_GET checkers present and trust.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TlsFiles {
    pub password: Option<Box<str>>,
    pub authorities: Option<Box<str>>,
    pub certificate: Option<Box<str>>,
    pub key: Option<Box<str>>,
}

/// `virtual_server_group`: addresses and marks of one service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerGroup {
    pub name: Box<str>,
    pub entries: Vec<GroupEntry>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupEntry {
    /// All addresses from `first` to `last`, both included.
    Range {
        first: IpAddr,
        last: IpAddr,
        port: Option<u16>,
    },
    Mark {
        mark: u32,
        family: Option<Family>,
    },
}

/// Address and port; no port means every port, or the service's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Endpoint {
    pub address: IpAddr,
    pub port: Option<u16>,
}
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.port) {
            (IpAddr::V6(address), Some(port)) => write!(f, "[{address}]:{port}"),
            (address, Some(port)) => write!(f, "{address}:{port}"),
            (address, None) => write!(f, "{address}"),
        }
    }
}

/// What traffic a service takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    Address(Endpoint),
    /// Firewall mark.
    Mark(u32),
    /// A [`ServerGroup`] by name.
    Group(Box<str>),
}
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Address(endpoint) => write!(f, "{endpoint}"),
            Target::Mark(mark) => write!(f, "fwmark {mark}"),
            Target::Group(name) => write!(f, "group {name}"),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

/// How packets reach a real server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    Nat,
    /// `DR`: the frame is readdressed, the packet left alone.
    Direct,
    Tunnel,
}

/// Kind of tunnel, for [`Method::Tunnel`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TunnelKind {
    #[default]
    Ipip,
    /// UDP port of the tunnel's far end.
    Gue(u16),
    Gre,
}
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TunnelChecksum {
    #[default]
    None,
    Checksum,
    Remote,
}
/// `lb_kind`, `lvs_method`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forwarding {
    pub method: Method,
    pub tunnel: TunnelKind,
    pub checksum: TunnelChecksum,
}

/// Scheduler flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SchedulerFlags {
    /// Each packet is scheduled alone; UDP only.
    pub one_packet: bool,
    pub flags: [bool; 3],
}

/// Clients come back to the server that they had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Persistence {
    /// Seconds.
    pub timeout: u32,
    pub granularity: Granularity,
    pub engine: Option<Box<str>>,
}
/// How many clients count as one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Granularity {
    /// IPv4 mask.
    Mask(u32),
    /// IPv6 prefix length.
    Prefix(u8),
    Host,
}

/// One IPVS service.
#[derive(Clone, PartialEq, Debug)]
pub struct VirtualServer {
    pub target: Target,
    /// `None` only for a group that holds both.
    pub family: Option<Family>,
    /// `None` for marks, which have none.
    pub protocol: Option<Protocol>,
    pub scheduler: &'static str,
    pub flags: SchedulerFlags,
    pub forwarding: Forwarding,
    pub persistence: Option<Persistence>,
    /// Servers are checked only while the service's address is on this machine.
    pub ha_suspend: bool,
    pub mail: bool,
    pub snmp_name: Option<Box<str>>,
    pub omega: bool,
    /// Sum of weights that must be alive.
    pub quorum: u32,
    pub hysteresis: u32,
    pub quorum_up: Option<Run>,
    pub quorum_down: Option<Run>,
    pub sorry: Option<SorryServer>,
    pub servers: Vec<RealServer>,
}

/// Who answers when the quorum is lost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SorryServer {
    pub endpoint: Endpoint,
    pub forwarding: Forwarding,
    /// Weight 0 instead of removal.
    pub inhibit: bool,
}

/// One backend.
#[derive(Clone, PartialEq, Debug)]
pub struct RealServer {
    pub endpoint: Endpoint,
    pub weight: u32,
    pub forwarding: Forwarding,
    /// Connections above which no new ones come, and below which they come again; 0 is no limit.
    pub upper_threshold: u32,
    pub lower_threshold: u32,
    /// Weight 0 on failure instead of removal.
    pub inhibit: bool,
    /// Down until the first success.
    pub alpha: bool,
    pub mail: bool,
    pub snmp_name: Option<Box<str>>,
    pub notify_up: Option<Run>,
    pub notify_down: Option<Run>,
    pub checkers: Vec<Checker>,
}

/// One check of one server; the server is up while all of its checks are.
#[derive(Clone, PartialEq, Debug)]
pub struct Checker {
    pub kind: CheckerKind,
    pub alpha: bool,
    pub log_all_failures: bool,
    /// `None` for checks that are told instead of asking: files and BFD.
    pub timing: Option<Timing>,
    /// `None` for checks that open no connection.
    pub connection: Option<Connection>,
}

/// When a check is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// Further failures in a row before the server is down.
    pub retry: u32,
    pub delay_before_retry: Interval,
    /// The first check comes at a random time within this.
    pub warmup: Interval,
    pub delay_loop: Interval,
}

/// Where and how a check connects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Connection {
    pub to: Endpoint,
    pub from: Option<IpAddr>,
    pub from_port: Option<u16>,
    pub interface: Option<IfName>,
    pub timeout: Interval,
    pub mark: u32,
}

#[derive(Clone, PartialEq, Debug)]
pub enum CheckerKind {
    Tcp,
    Ping,
    Udp {
        payload: Box<[u8]>,
        /// `None`: no reply is needed. Each byte of an expected reply has a mask of the bits that must match.
        reply: Option<Box<[(u8, u8)]>>,
        shortest: u16,
        longest: u16,
    },
    Smtp {
        helo: Box<str>,
    },
    Http(Http),
    Dns {
        record: &'static str,
        name: Box<str>,
    },
    Misc {
        /// What is run; every MISC_CHECK of a resolved configuration has one.
        run: Option<Run>,
        /// Time after which it is killed; zero is the delay of the loop.
        timeout: Interval,
        /// Exit codes 2 to 255 set the weight.
        dynamic: bool,
    },
    File {
        file: Box<str>,
        weight: Option<i32>,
        reverse: bool,
    },
    Bfd {
        session: Box<str>,
    },
}

/// `HTTP_GET`, `SSL_GET`.
#[derive(Clone, PartialEq, Debug)]
pub struct Http {
    pub tls: bool,
    pub protocol: HttpProtocol,
    /// Server name to send in the TLS hello; an empty one stands for the virtual host.
    pub server_name: Option<Box<str>>,
    pub fast_recovery: bool,
    pub pages: Vec<Page>,
}
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HttpProtocol {
    #[default]
    V10,
    /// 1.0 with `Connection: close`.
    V10Close,
    V11,
}

/// One `url`.
#[derive(Clone, PartialEq, Debug)]
pub struct Page {
    pub path: Box<str>,
    pub virtual_host: Option<Box<str>>,
    /// MD5 of the body.
    pub digest: Option<[u8; 16]>,
    /// Ranges of accepted status codes, both ends included.
    pub status: Vec<(u16, u16)>,
    pub pattern: Option<Pattern>,
    /// A missing TLS close is a failure.
    pub tls_compliant: bool,
}
/// `regex` with its options; PCRE2 syntax, kept as text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    pub text: Box<str>,
    pub options: Vec<Box<str>>,
    pub must_not_match: bool,
    pub first_offset: u64,
    pub last_offset: Option<u64>,
    pub stack: Option<(u64, u64)>,
}
