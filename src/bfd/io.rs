//! The whole vocabulary between the sessions and the world: facts come in as [`Input`], wishes go out as [`Action`], and
//! what happened is told to observers as [`Event`].

use crate::spec::IfName;
use crate::time::{Interval, Time};
pub use crate::wire::bfd::{Diag, LENGTH, Malformed, State};
use std::fmt;
use std::net::IpAddr;

/// Number of a session, given when it begins and never given again in this process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub u32);

/// A fact, told with the time at which it became true.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// Nothing but time.
    Tick,
    /// A datagram on one of the listening sockets.
    Packet {
        meta: RxMeta,
        bytes: &'a [u8],
    },
    /// Interfaces and addresses of this machine.
    Local(Local),
    /// What came of [`Action::Open`]: the source port, or why there is no socket.
    Opened {
        session: SessionId,
        outcome: Result<u16, Box<str>>,
    },
    /// Whether the port of single-hop (or multihop) sessions is listened at; otherwise why not.
    Listening {
        multihop: bool,
        outcome: Result<(), Box<str>>,
    },
    /// A packet could not be sent; `None`: one went out again.
    SendFailed {
        session: SessionId,
        reason: Option<Box<str>>,
    },
    Command(Command),
}

/// Where a datagram came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RxMeta {
    pub source: IpAddr,
    /// `None` if the kernel did not say.
    pub destination: Option<IpAddr>,
    /// Interface index; 0 if the kernel did not say.
    pub ifindex: u32,
    /// TTL or hop limit as received.
    pub ttl: Option<u8>,
    /// It came to the multihop port.
    pub multihop: bool,
    /// It was longer than there was room for.
    pub cut: bool,
}

/// What is known of this machine's interfaces; a [`Local::Dump`] is the whole truth.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Local {
    Dump(Vec<Link>),
    Changed { index: u32, name: IfName, running: bool },
    Gone { index: u32 },
    Address { index: u32, address: Address },
    AddressGone { index: u32, address: IpAddr, prefix: u8 },
}

/// One interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    pub index: u32,
    pub name: IfName,
    pub running: bool,
    pub addresses: Vec<Address>,
}

/// One address of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    pub address: IpAddr,
    pub prefix: u8,
    /// False while an IPv6 address is tentative, or after duplicate address detection failed.
    pub usable: bool,
}

/// What an operator asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Say "do not judge by this" to the peer, for as long as it lasts (AdminDown).
    Shutdown {
        session: SessionId,
    },
    NoShutdown {
        session: SessionId,
    },
    ClearCounters,
    /// The daemon ends: peers are told to stop relying on us (Down, not AdminDown).
    Stop,
}

/// A wish, to be carried out in the order given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Listen at these ports and at no others of ours. Answered by [`Input::Listening`] for each.
    Listen {
        single_hop: bool,
        multihop: bool,
    },
    /// Have a socket of this session's own to send from. Answered by [`Input::Opened`].
    Open(SessionId, Outlet),
    /// The session's socket takes another TTL.
    Retune(SessionId, Outlet),
    Close(SessionId),
    Send(SessionId, [u8; LENGTH]),
    /// A fact for observers; nothing in the engine depends on it.
    Report(Event),
}

/// Where a session's packets leave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outlet {
    /// `None`: routing chooses.
    pub source: Option<IpAddr>,
    pub neighbor: IpAddr,
    /// Interface to send through; 0 leaves it to routing.
    pub scope: u32,
    pub ttl: u8,
    pub multihop: bool,
}

/// What trackers and checkers read: is the path good?
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Level {
    pub up: bool,
    /// Kept from before, since somebody said not to judge by this session.
    pub held: Option<Hold>,
}

/// Who said that a session is not to be judged by (RFC 5882 §4.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// The peer shut its end down.
    Peer,
    /// An operator shut ours down.
    Operator,
}

/// Why a session changed its state. Each change has exactly one cause.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    Start,
    /// A packet of the peer in that state.
    Heard(State),
    /// Nothing was heard for the detection time.
    Expired {
        /// Microseconds.
        detection_us: u64,
    },
    /// The peer says that its session is down.
    PeerDown {
        diag: Diag,
    },
    PeerShutdown,
    Shutdown,
    NoShutdown,
    Obstacle(Obstacle),
    Stopping,
}

/// Why a session cannot run, whatever the peer does.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Obstacle {
    /// The source address is not on this machine, or still tentative.
    NoSource(IpAddr),
    NoInterface(IfName),
    LinkDown(IfName),
    /// The port cannot be listened at.
    CannotListen(Box<str>),
    NoSocket(Box<str>),
}

/// Why a datagram was not taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Longer than there was room for.
    TooLong,
    Short,
    Version,
    Length,
    Multiplier,
    Multipoint,
    MyDiscriminator,
    YourDiscriminator,
    PollAndFinal,
    Authenticated,
    /// No session has this discriminator, or these addresses.
    NoSession,
    /// The discriminator is known, but its session has another neighbour or another interface.
    Source,
    /// The discriminator is known, but its session uses the other port.
    Port,
    /// The kernel did not say the TTL, so that it cannot be vouched for.
    NoTtl,
    Ttl,
    /// An operator has shut the session down.
    Shutdown,
}

impl Refusal {
    /// The name in metrics and JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Refusal::TooLong => "too_long",
            Refusal::Short => "short",
            Refusal::Version => "version",
            Refusal::Length => "length",
            Refusal::Multiplier => "multiplier",
            Refusal::Multipoint => "multipoint",
            Refusal::MyDiscriminator => "my_discriminator",
            Refusal::YourDiscriminator => "your_discriminator",
            Refusal::PollAndFinal => "poll_and_final",
            Refusal::Authenticated => "authenticated",
            Refusal::NoSession => "no_session",
            Refusal::Source => "source",
            Refusal::Port => "port",
            Refusal::NoTtl => "no_ttl",
            Refusal::Ttl => "ttl",
            Refusal::Shutdown => "shutdown",
        }
    }

    /// In a sentence about a datagram: "it …".
    pub const fn sentence(self) -> &'static str {
        match self {
            Refusal::TooLong => "is longer than any BFD packet",
            Refusal::Short => "is shorter than a BFD packet",
            Refusal::Version => "is not of BFD version 1",
            Refusal::Length => "has a length field that does not fit its length",
            Refusal::Multiplier => "has detection multiplier 0",
            Refusal::Multipoint => "has the multipoint bit",
            Refusal::MyDiscriminator => "has discriminator 0",
            Refusal::YourDiscriminator => "does not name our discriminator although its state is Init or Up",
            Refusal::PollAndFinal => "has both poll and final",
            Refusal::Authenticated => "is authenticated, which is not understood here",
            Refusal::NoSession => "belongs to no session",
            Refusal::Source => "names a session of another neighbour",
            Refusal::Port => "came to the port of the other kind of session (single-hop, multihop)",
            Refusal::NoTtl => "came without its TTL",
            Refusal::Ttl => "has come over more hops than max_hops allows (its TTL is too low)",
            Refusal::Shutdown => "is for a session that is shut down here",
        }
    }
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Refusal {
        match malformed {
            Malformed::Short(_) => Refusal::Short,
            Malformed::Version(_) => Refusal::Version,
            Malformed::Length { .. } => Refusal::Length,
            Malformed::Multiplier => Refusal::Multiplier,
            Malformed::Multipoint => Refusal::Multipoint,
            Malformed::MyDiscriminator => Refusal::MyDiscriminator,
            Malformed::YourDiscriminator(_) => Refusal::YourDiscriminator,
            Malformed::PollAndFinal => Refusal::PollAndFinal,
            Malformed::Authenticated => Refusal::Authenticated,
        }
    }
}

/// What happened, for observers: log, history, metrics. Sessions are named, since a number means nothing to people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    Became {
        name: Box<str>,
        from: State,
        to: State,
        /// What we say in packets.
        diag: Diag,
        /// What the peer last said.
        peer_diag: Diag,
        why: Cause,
        /// How late our own loop was at worst within the detection time before this. A peer that could not hear us, or
        /// that we did not hear in time, is not to blame then.
        own_delay: Interval,
    },
    /// What trackers and checkers read has changed.
    LevelChanged {
        name: Box<str>,
        level: Level,
    },
    DetectionTime {
        name: Box<str>,
        is: Interval,
        was: Interval,
    },
    PollStarted {
        name: Box<str>,
    },
    PollEnded {
        name: Box<str>,
    },
    /// The first of its kind in a minute.
    Refused {
        session: Option<Box<str>>,
        from: IpAddr,
        why: Refusal,
        ttl: Option<u8>,
    },
    /// A single-hop peer sends a hop limit below 255: it cannot be told from a packet that came over a router.
    LowTtl {
        name: Box<str>,
        ttl: u8,
    },
    Blocked {
        name: Box<str>,
        by: Obstacle,
    },
    Unblocked {
        name: Box<str>,
    },
    SendFailed {
        name: Box<str>,
        reason: Box<str>,
    },
    SendsAgain {
        name: Box<str>,
    },
    Added {
        name: Box<str>,
    },
    Renamed {
        from: Box<str>,
        to: Box<str>,
    },
    Removed {
        name: Box<str>,
    },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::NoSource(address) => write!(f, "the source address {address} is not usable on this machine"),
            Obstacle::NoInterface(name) => write!(f, "there is no interface {name}"),
            Obstacle::LinkDown(name) => write!(f, "interface {name} is down"),
            Obstacle::CannotListen(reason) => write!(f, "{reason}"),
            Obstacle::NoSocket(reason) => write!(f, "no socket to send from: {reason}"),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Start => f.write_str("it has just begun"),
            Cause::Heard(state) => write!(f, "the peer says {state}"),
            Cause::Expired { detection_us } => {
                write!(f, "nothing was heard from the peer for {} s", Interval::from_micros(*detection_us))
            }
            Cause::PeerDown { diag } if *diag == Diag::NONE => f.write_str("the peer says that its session is down"),
            Cause::PeerDown { diag } => write!(f, "the peer says that its session is down ({diag})"),
            Cause::PeerShutdown => f.write_str("the peer has shut the session down"),
            Cause::Shutdown => f.write_str("an operator has shut the session down"),
            Cause::NoShutdown => f.write_str("an operator has allowed it again"),
            Cause::Obstacle(obstacle) => write!(f, "{obstacle}"),
            Cause::Stopping => f.write_str("vipd is stopping, or the session was removed"),
        }
    }
}

/// What is known of the world when sessions begin.
#[derive(Clone, Debug, Default)]
pub struct Beginning {
    /// Jitter and discriminators are drawn from it: a fact like others, so that a run can be repeated.
    pub seed: u64,
    /// `None`: not known yet; nothing is then concluded from it.
    pub links: Option<Vec<Link>>,
    pub now: Time,
}
