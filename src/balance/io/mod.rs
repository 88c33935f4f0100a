//! The whole vocabulary between the balancer and the world: facts come in as [`Input`], wishes go out as [`Action`], and
//! what happened is told to observers as events.
//!
//! Facts ([`Input`]) come from the checker's loop: findings of probes, outcomes of the kernel's table, files, BFD sessions,
//! addresses and roles of VRRP instances, commands of the operator. Wishes go to those who can fulfil them. Nothing here
//! decides anything.
//!
//! What a wish is about is named by what it means ([`ServiceKey`], [`Endpoint`]), never by a position, so that an answer
//! that comes after a reload cannot be taken for another one's. Every probe has a number ([`Attempt`]) for the same
//! reason: the answer of a probe that was given up changes nothing.

mod event;
mod traffic;

pub use crate::spec::Attempt;
pub use event::{Activity, CheckInfo, Count, Event, ServerInfo, ServiceInfo, SorryInfo, Verdict, Weighing, Why};
pub use traffic::{DestinationTraffic, ServiceTraffic, Stats, Traffic};

use crate::spec::Exit;
use crate::spec::balance::{
    Checker, CheckerKind, Connection, Forwarding, LvsSpec, MarkSettings, Persistence, Protocol, RealServer,
    SchedulerFlags, SyncDaemon, Timeouts,
};
use crate::wire::Family;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// The virtual servers of a configuration as people see them, in its order.
pub fn services_of(spec: &LvsSpec) -> Vec<Arc<ServiceInfo>> {
    super::names::of_services(spec).into_iter().map(|(info, _)| info).collect()
}

/// A real server of one of [`services_of`].
pub fn server_of(real: &RealServer, service: &Arc<ServiceInfo>) -> Arc<ServerInfo> {
    super::names::of_server(real, service)
}

/// A fact.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// The time is the news.
    Tick,
    /// A probe has ended. An [`Attempt`] that is not under way any longer is ignored.
    Probed {
        attempt: Attempt,
        finding: Finding,
    },
    /// What a tracked file or a BFD session says. Values before the beginning stand in [`Beginning`].
    Tracked {
        tracker: Tracker,
        value: TrackValue,
    },
    /// A usable address is on this machine, or no longer: for `ha_suspend`. One that is tentative is not here yet.
    Address {
        /// Index of the interface: the same address may be on several.
        interface: u32,
        address: IpAddr,
        here: bool,
    },
    /// All addresses of the machine, after messages were lost: the whole truth.
    Addresses(Vec<(u32, IpAddr)>),
    /// An instance of VRRP has become master, or is it no longer: for the sync daemon.
    Role {
        instance: Box<str>,
        master: bool,
    },
    /// Every instance, and whether it is master: the whole truth, at a start and after a reload, over which names change.
    Roles(Vec<(Box<str>, bool)>),
    /// What became of a wished picture. An answer to an older version than the last is ignored: who applies pictures may
    /// skip the ones that have been replaced.
    Applied {
        service: ServiceKey,
        version: Version,
        outcome: Outcome,
    },
    /// The kernel has a table of virtual servers (`None`), or has none, with the error number: what begins meanwhile does not
    /// count until the table takes it. How it is at the beginning stands in [`Beginning`].
    Table {
        absent: Option<i32>,
    },
    /// Another program took something out of the kernel's table; it is there again.
    Restored {
        service: ServiceKey,
        /// `None`: the whole service was gone.
        destination: Option<(IpAddr, u16)>,
    },
    Command(Command),
}

/// The error number that says that the kernel has no IPVS at all: ENOSYS, which IPVS itself never answers.
pub const NO_IPVS: i32 = 38;
/// The error number that says that the network namespace of the table cannot be entered: ENONET, likewise.
pub const NO_NAMESPACE: i32 = 64;

/// What the world is like when the balancer begins or goes over to another configuration.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Beginning {
    pub addresses: BTreeSet<(u32, IpAddr)>,
    pub trackers: BTreeMap<Tracker, TrackValue>,
    /// Instances of VRRP that are master.
    pub masters: BTreeSet<Box<str>>,
    /// The kernel has no table of virtual servers, with the error number: no server counts until it takes one.
    pub no_table: Option<i32>,
}

/// Something that is told and not probed, by its name in the configuration.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub enum Tracker {
    File(Box<str>),
    Bfd(Box<str>),
}

/// What a tracker says to the balancer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub enum TrackValue {
    /// The number in a file; a file that is missing or holds none says 0.
    Number(i64),
    /// Whether a session is up.
    Up(bool),
}

/// What an operator, or the end of the daemon, asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// The last input: services are withdrawn, omega notifications told. With `keep` (keepalived's `-I`) the table stays
    /// as it is and nobody is notified.
    Stop {
        keep: bool,
    },
    /// Weight 0 until [`Command::Undrain`], over reloads too.
    Drain(Selection),
    Undrain(Selection),
    /// This weight whatever the configuration, files and programs say; `None` ends that.
    Weigh(Selection, Option<u32>),
}

impl Command {
    /// Is nothing left of `earlier` after this one?
    pub fn replaces(&self, earlier: &Command) -> bool {
        match (self, earlier) {
            (Command::Drain(now) | Command::Undrain(now), Command::Drain(then) | Command::Undrain(then))
            | (Command::Weigh(now, _), Command::Weigh(then, _)) => now == then,
            _ => false,
        }
    }
}

/// Which servers a command is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selection {
    /// Text of the virtual server ([`ServiceInfo::text`]); `None`: in every one.
    pub service: Option<Box<str>>,
    pub address: IpAddr,
    /// `None`: on every port.
    pub port: Option<u16>,
}

/// A wish. Order counts: pictures before the events that tell of them.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Make this check now, and answer with one [`Input::Probed`] in any case.
    Probe {
        check: CheckId,
        attempt: Attempt,
        probe: Probe,
    },
    /// The attempt's answer is not wanted any longer; a program is ended.
    Abandon(Attempt),
    /// The kernel's table is to hold exactly this for the service. Whoever changes the table puts in before taking out.
    Serve {
        service: ServiceKey,
        version: Version,
        picture: Arc<Picture>,
    },
    /// The service goes with all of its destinations.
    Withdraw(ServiceKey),
    /// The whole content of nftables' table of marks; `None`: there is to be no such table.
    Marks(Option<Arc<Marks>>),
    /// The kernel's whole table is emptied, entries of others too.
    Flush,
    /// Which synchronisation threads run; `None`: none of ours.
    SyncDaemon(Option<Sync>),
    /// Time-outs of the kernel's connections; `None`: as they were found.
    Timeouts(Option<Timeouts>),
    Report(Event),
}

/// One check to make: all that is needed stands in the checker, but for the page of HTTP_GET and SSL_GET.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Probe {
    pub checker: Arc<Checker>,
    /// Position in [`crate::spec::balance::Http::pages`]; 0 for other kinds.
    pub page: usize,
}

impl Probe {
    /// What is asked.
    pub fn kind(&self) -> &CheckerKind {
        &self.checker.kind
    }
    /// Where and how it connects; `None` for checks that open no connection.
    pub fn connection(&self) -> Option<&Connection> {
        self.checker.connection.as_ref()
    }
}

/// A check that is made again and again; the same number for all its attempts, never used again. PING keeps its socket,
/// and so its sequence, under this number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct CheckId(pub u64);

/// Number of a wished picture: grows with every wish.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Version(pub u64);

/// How much of a picture the kernel took.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// The kernel's error number if it has not got the service at all.
    pub service: Option<i32>,
    /// Destinations that it refused, each with the error number.
    pub refused: Vec<((IpAddr, u16), i32)>,
}

/// Which threads of the synchronisation daemon run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sync {
    pub master: bool,
    pub backup: bool,
    pub settings: SyncDaemon,
}

/// `nftables_ipvs`: which addresses and ports get which mark.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Marks {
    pub settings: MarkSettings,
    pub elements: Vec<MarkElement>,
}

/// One entry of a group. The family is that of the addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MarkElement {
    pub protocol: Protocol,
    pub first: IpAddr,
    pub last: IpAddr,
    /// `None`: every port, which needs a map without ports.
    pub port: Option<u16>,
    pub mark: u32,
}

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

/// `[10.0.0.1]:tcp:80`, `FWM 7`, `FWM 7 inet6`.
impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServiceKey::Address { protocol, address, port } => write!(f, "[{address}]:{protocol}:{port}"),
            ServiceKey::Mark { family: Family::V4, mark } => write!(f, "FWM {mark}"),
            ServiceKey::Mark { family: Family::V6, mark } => write!(f, "FWM {mark} inet6"),
        }
    }
}

/// What the kernel's table is to hold for one service.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
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

/// What a check found out.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
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

impl Finding {
    /// What the end of a program says of its server (MISC_CHECK; `dynamic`: `misc_dynamic`).
    pub fn of_program(exit: Exit, dynamic: bool) -> Finding {
        match exit {
            Exit::Code(0) => Finding::Good,
            Exit::Code(code @ 2..=255) if dynamic => Finding::Weighted(code as u8),
            Exit::Code(code) => Finding::Bad(Symptom::Exit(code)),
            Exit::Signal(number) => Finding::Bad(Symptom::Signal(number)),
            // It is not known how it ended (ECHILD), so nothing is known of the server.
            Exit::NotRun => Finding::NotMade(10),
        }
    }
}

/// Why a check failed. A sentence is made of it in one place, `observe::words`.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
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
}

/// How far a check came.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub enum Stage {
    Connect,
    Tls,
    Send,
    Answer,
    Program,
}
