//! What a configuration says about load balancing, resolved: a plain value.
//!
//! Every default is filled in and every rule between keywords applied, as in [`crate::spec`]: it is what the balancer,
//! its probes and the kernel's table are told, and what `check` has verified.

use crate::spec::{Fifo, IfName, Run};
use crate::time::Interval;
use crate::wire::Family;
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

/// `SSL`, `virtual_server_group`s and `virtual_server`s, and what `global_defs` say about them.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct LvsSpec {
    pub settings: LvsSettings,
    pub tls: Option<TlsFiles>,
    pub groups: Vec<ServerGroup>,
    pub services: Vec<VirtualServer>,
}

/// What `global_defs` say about load balancing as a whole.
#[derive(Clone, PartialEq, Debug)]
pub struct LvsSettings {
    /// `net_namespace_ipvs`: where the kernel's table is; `None` is the daemon's own namespace.
    pub namespace: Option<Box<str>>,
    /// `lvs_flush`: the kernel's table is emptied at start, entries of others too.
    pub flush: bool,
    pub flush_on_stop: FlushOnStop,
    pub timeouts: Timeouts,
    pub sync_daemon: Option<SyncDaemon>,
    /// `nftables_ipvs`.
    pub marks: Option<MarkSettings>,
    /// `rs_init_notifies`: servers that are good at start are notified as UP.
    pub init_notifies: bool,
    /// `no_checker_emails`: mail only when the server's state changed with the check's.
    pub no_checker_emails: bool,
    /// `vipd_share_checks`: checks that are equal in destination, connection options and dialogue run once.
    pub share_checks: bool,
    /// `lvs_notify_fifo`.
    pub fifo: Option<Fifo>,
    /// `random_seed`: of the warm-up.
    pub seed: Option<u32>,
    /// `lvs_netlink_cmd_rcv_bufs`, bytes; 0 is the kernel's size. And whether to exceed rmem_max.
    pub netlink_buffer: (u32, bool),
}

impl Default for LvsSettings {
    fn default() -> Self {
        LvsSettings {
            namespace: None,
            flush: false,
            flush_on_stop: FlushOnStop::default(),
            timeouts: Timeouts::default(),
            sync_daemon: None,
            marks: None,
            init_notifies: false,
            no_checker_emails: false,
            share_checks: true,
            fifo: None,
            seed: None,
            netlink_buffer: (0, false),
        }
    }
}

/// `lvs_flush_on_stop`: how the table is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum FlushOnStop {
    /// Every entry of ours is removed one by one.
    #[default]
    Each,
    /// `VS`: services are removed, and the kernel drops their servers.
    Services,
    /// The whole table, entries of others too.
    All,
}

/// `lvs_timeouts`, seconds; `None` or 0 leaves the kernel's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Timeouts {
    pub tcp: Option<u32>,
    pub tcp_fin: Option<u32>,
    pub udp: Option<u32>,
}

impl Timeouts {
    /// Whether anything is to be set.
    pub fn is_anything(&self) -> bool {
        [self.tcp, self.tcp_fin, self.udp].into_iter().flatten().any(|seconds| seconds > 0)
    }
}

/// `lvs_sync_daemon`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyncDaemon {
    pub interface: IfName,
    /// VRRP instance whose role decides; without one both threads run.
    pub instance: Option<Box<str>>,
    /// 0..=255; `None` is the VRID of the instance, else 0.
    pub id: Option<u8>,
    /// Bytes of a datagram.
    pub max_length: Option<u16>,
    pub port: Option<u16>,
    pub ttl: Option<u8>,
    pub group: Option<IpAddr>,
}

/// `nftables_ipvs` and what belongs to it: groups of addresses become marks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MarkSettings {
    pub table: Box<str>,
    pub priority: i32,
    /// The first mark that is given.
    pub start: u32,
    pub counters: bool,
}

/// `SSL`: what SSL_GET checkers present and trust.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct TlsFiles {
    pub password: Option<Box<str>>,
    pub authorities: Option<Box<str>>,
    pub certificate: Option<Box<str>>,
    pub key: Option<Box<str>>,
}

/// Without the password, which must not come into a log by way of a panic.
impl std::fmt::Debug for TlsFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsFiles")
            .field("password", &self.password.as_ref().map(|_| super::MASK))
            .field("authorities", &self.authorities)
            .field("certificate", &self.certificate)
            .field("key", &self.key)
            .finish()
    }
}

/// `virtual_server_group`: addresses and marks of one service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerGroup {
    pub name: Box<str>,
    pub entries: Vec<GroupEntry>,
}

/// An address, a range of them or a firewall mark of a `virtual_server_group`.
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
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
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
impl Target {
    /// Is it the `virtual_server_group` of this name?
    pub fn is_group(&self, group: &str) -> bool {
        matches!(self, Target::Group(name) if **name == *group)
    }
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

/// What a virtual server balances.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

/// `tcp`, `udp`, `sctp`.
impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        })
    }
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
/// Checksums of GUE and GRE tunnels.
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
    /// How much of a client's address counts.
    pub granularity: Granularity,
    /// `persistence_engine`: `sip` goes by the call as well; `None` goes by the address alone.
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
    pub shown: ShownService,
}

/// What dumps and SNMP show of a virtual server beyond what is decided by.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ShownService {
    /// What its block says for its checks.
    pub defaults: Defaults,
    pub alpha: bool,
    /// `inhibit_on_failure`.
    pub inhibit: bool,
    /// `weight`.
    pub weight: u32,
    /// `lb_kind` was given.
    pub forwarding: bool,
}

/// What a block says for the checks inside it; dumps and SNMP show it, checks have their own values.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Defaults {
    pub delay_loop: Interval,
    /// Further failures in a row before the server is down.
    pub retry: Option<u32>,
    pub delay_before_retry: Option<Interval>,
    pub warmup: Option<Interval>,
    pub connect_timeout: Interval,
    pub virtual_host: Option<Box<str>>,
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
    /// 0..=2³¹−1; 0 gets no new connections.
    pub weight: u32,
    pub forwarding: Forwarding,
    /// Connections above which no new ones come, and below which they come again; 0 is no limit.
    pub upper_threshold: u32,
    /// See `upper_threshold`.
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
    pub shown: Defaults,
}

/// One check of one server; the server is up while all of its checks are.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
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
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Timing {
    /// Further failures in a row before the server is down.
    pub retry: u32,
    /// Between two attempts after a failure.
    pub delay_before_retry: Interval,
    /// The first check comes at a random time within this.
    pub warmup: Interval,
    pub delay_loop: Interval,
}

/// Where and how a check connects.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Connection {
    pub to: Endpoint,
    pub from: Option<IpAddr>,
    pub from_port: Option<u16>,
    pub interface: Option<IfName>,
    pub timeout: Interval,
    pub mark: u32,
}

/// What a check asks, with all that is particular to its kind.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
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
        /// Name of the `track_file`.
        file: Box<str>,
        /// Multiplier of the file's number; the `track_file`'s where the check gives none.
        weight: Option<i32>,
        reverse: bool,
    },
    Bfd {
        session: Box<str>,
    },
}

impl CheckerKind {
    /// The keyword of its block.
    pub fn keyword(&self) -> &'static str {
        match self {
            CheckerKind::Tcp => "TCP_CHECK",
            CheckerKind::Ping => "PING_CHECK",
            CheckerKind::Udp { .. } => "UDP_CHECK",
            CheckerKind::Smtp { .. } => "SMTP_CHECK",
            CheckerKind::Http(http) if http.tls => "SSL_GET",
            CheckerKind::Http(_) => "HTTP_GET",
            CheckerKind::Dns { .. } => "DNS_CHECK",
            CheckerKind::Misc { .. } => "MISC_CHECK",
            CheckerKind::File { .. } => "FILE_CHECK",
            CheckerKind::Bfd { .. } => "BFD_CHECK",
        }
    }

    /// How it learns of its server.
    pub fn means(&self) -> Means {
        match self {
            CheckerKind::Tcp | CheckerKind::Smtp { .. } | CheckerKind::Http(_) => Means::Connection,
            CheckerKind::Udp { .. } | CheckerKind::Dns { .. } => Means::Datagram,
            CheckerKind::Ping => Means::Echo,
            CheckerKind::Misc { .. } => Means::Program,
            CheckerKind::File { .. } | CheckerKind::Bfd { .. } => Means::Told,
        }
    }
}

/// How a check learns of its server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Means {
    /// Over a TCP connection.
    Connection,
    /// By UDP datagrams.
    Datagram,
    /// By ICMP echoes, which the server's kernel answers.
    Echo,
    /// A program is run.
    Program,
    /// Nothing is asked: a tracked file or a BFD session tells.
    Told,
}

/// `HTTP_GET`, `SSL_GET`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Http {
    pub tls: bool,
    pub protocol: HttpProtocol,
    /// Server name to send in the TLS hello; an empty one stands for the virtual host.
    pub server_name: Option<Box<str>>,
    pub fast_recovery: bool,
    pub pages: Vec<Page>,
}
/// How HTTP_GET and SSL_GET ask.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum HttpProtocol {
    #[default]
    V10,
    /// 1.0 with `Connection: close`.
    V10Close,
    V11,
}

/// One `url`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Page {
    pub path: Box<str>,
    pub virtual_host: Option<Box<str>>,
    /// MD5 of the body.
    pub digest: Option<[u8; 16]>,
    /// Ranges of accepted status codes, both ends included.
    pub status: Vec<(u16, u16)>,
    pub pattern: Option<Pattern>,
    /// Whether the connection is ended with a TLS close of our own.
    pub tls_compliant: bool,
}
impl Page {
    /// As [`shown_path`].
    pub fn shown_path(&self) -> Cow<'_, str> {
        shown_path(&self.path)
    }
}
/// A path as people may see it: what stands behind `?` may be a password.
pub fn shown_path(path: &str) -> Cow<'_, str> {
    match path.split_once('?') {
        Some((path, _)) => format!("{path}?…").into(),
        None => path.into(),
    }
}
/// `regex` with its options; PCRE2 syntax, kept as text.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Pattern {
    pub text: Box<str>,
    pub options: Vec<Box<str>>,
    pub must_not_match: bool,
    /// Byte of the answer from which a match may begin.
    pub first_offset: u64,
    /// Byte at which it must begin at the latest; `None` is anywhere.
    pub last_offset: Option<u64>,
    /// `regex_stack`: first and largest size of PCRE2's stack, bytes.
    pub stack: Option<(u64, u64)>,
}
