//! The whole vocabulary between the engine and the world: facts come in as [`Input`], wishes go out as [`Action`],
//! and what happened is told to observers as [`Event`].

mod event;

pub use crate::spec::{Attempt, Exit};
pub use event::{Cause, Event, Fault, Refusal, Role};

use crate::spec::{BfdId, Claim, FileId, IfName, InstanceId, ProcessId, ScriptId};
use crate::time::Time;
use crate::wire::Family;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

/// A fact, told to the engine with the time at which it became true.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// Nothing but time.
    Tick,
    /// A datagram on a VRRP socket. IPv4: the whole packet from its IP header on; IPv6: the payload after all headers.
    Datagram {
        meta: RxMeta,
        bytes: &'a [u8],
    },
    Link(LinkFact),
    Tracked {
        tracker: Tracker,
        value: TrackValue,
    },
    /// There is a process for a run of a script: its time-out counts from here. Where thousands are due at once that may be
    /// seconds after it was asked for.
    ScriptStarted {
        attempt: Attempt,
    },
    /// A run of a script has ended. Of one that was given up, or that nobody knows, it changes nothing.
    ScriptExited {
        attempt: Attempt,
        exit: Exit,
    },
    /// What has become of the socket that an instance hears and speaks through. One that was never told anything has
    /// one, unless [`Beginning::opening`] says otherwise.
    Socket {
        instance: InstanceId,
        state: SocketState,
    },
    /// Datagrams to `destination` cannot be sent any more, or, with `failure` `None`, can be sent again. Told when it
    /// changes, not with every datagram.
    Sent {
        instance: InstanceId,
        destination: IpAddr,
        failure: Option<SendFailure>,
    },
    /// What came of an [`Action::Own`].
    Applied {
        instance: InstanceId,
        outcome: Outcome,
    },
    /// Where the wall clock stands: needed by `auth_hmac` and by times shown to people, by nothing else.
    WallClock(Wall),
    /// Nothing ran since that deadline. To be told before what was heard meanwhile; it lets no time pass, and no deadline passes
    /// until [`Input::Tick`], which follows when all of it has been told. Where the machine stood still, the master's adverts come
    /// to the socket behind a deadline of ours, and who is heard is not down. keepalived reads before it loses patience as well.
    Slept {
        since: Time,
    },
    Command(Command),
}

/// Whether an instance has ears and a voice.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum SocketState {
    #[default]
    Open,
    /// Asked for, and not there yet.
    Opening,
    /// It cannot be had; it is tried again.
    Refused { reason: Box<str> },
}

/// Why a datagram could not be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SendFailure {
    pub reason: Box<str>,
    /// This machine refuses (a firewall, a source address that it does not take). False: it is the network that does
    /// not lead there, which says nothing about this router.
    pub ours: bool,
}

/// Where a datagram came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RxMeta {
    /// Interface index the datagram came in through; 0 if the kernel did not say.
    pub ifindex: u32,
    pub source: IpAddr,
    pub destination: IpAddr,
    /// TTL or hop limit as received.
    pub ttl: Option<u8>,
}

/// What is so with a network interface. The kernel layer sends a full picture first ([`LinkFact::Dump`]) and again
/// whenever it lost track (ENOBUFS); the engine takes a dump as the whole truth, so that FAULT can always be left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkFact {
    Dump(Vec<Link>),
    /// New or changed. Carries the link's own fields; its addresses come in `Address`.
    Changed(Link),
    Gone {
        index: u32,
    },
    Address {
        index: u32,
        address: LinkAddress,
    },
    AddressGone {
        index: u32,
        address: IpAddr,
        prefix: u8,
    },
    /// A claimed item was removed by somebody else and has been put back by the kernel layer.
    Healed {
        instance: InstanceId,
        addresses: Range<u32>,
    },
    /// Something that only a master has appeared although the instance is none, and was removed by the kernel layer:
    /// `address 10.0.0.10/24 from eth0`.
    Swept {
        instance: InstanceId,
        item: Box<str>,
    },
}

/// A network interface as the kernel sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    pub index: u32,
    pub name: IfName,
    /// Administratively up (IFF_UP) and with carrier (IFF_RUNNING).
    pub running: bool,
    pub up: bool,
    pub mtu: u32,
    pub mac: Option<[u8; 6]>,
    pub loopback: bool,
    pub multicast: bool,
    /// Interface does ARP (no IFF_NOARP, hardware address present).
    pub arp: bool,
    /// Index of the VRF (or bridge, or bond) this link is enslaved to; 0 if none.
    pub master: u32,
    /// Index of the interface below (VLAN, macvlan parent); 0 if none.
    pub lower: u32,
    /// rtnetlink's kind: "veth", "macvlan", "vlan", "vrf", …; empty for hardware.
    pub kind: Box<str>,
    pub addresses: Vec<LinkAddress>,
}

/// An address of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkAddress {
    pub address: IpAddr,
    pub prefix: u8,
    /// False while an IPv6 address is tentative or has failed duplicate address detection.
    pub usable: bool,
    /// An IPv6 address whose duplicate address detection has not come to its end.
    pub tentative: bool,
    pub secondary: bool,
}

/// Which tracker a value belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Tracker {
    Script(ScriptId),
    File(FileId),
    Process(ProcessId),
    Bfd(BfdId),
}

/// What a tracker that is not a script says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrackValue {
    /// The number in a tracked file; 0 when it is empty or missing.
    Number(i32),
    /// How many matching processes run.
    Count(u32),
    /// A BFD session is up.
    Up(bool),
}

/// What files, processes and sessions say.
pub type Readings = Vec<(Tracker, TrackValue)>;

/// What is known of the world when an engine begins: its first state and its first advert go by that.
#[derive(Clone, Debug, Default)]
pub struct Beginning {
    /// The whole truth about the interfaces.
    pub links: Vec<Link>,
    /// A tracker that is not here counts for nothing until it is told.
    pub readings: Readings,
    pub wall: Wall,
    /// Sockets are opened by somebody else, who tells of each ([`Input::Socket`]): until then nobody leaves INIT.
    pub opening: bool,
}

/// What the kernel made of a claim.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// These addresses (positions in [`Claim::addresses`]) are on the interface and usable. `announced`: the LAN has been told of
    /// each once, the moment it was there ([`Spec::announces_at_once`]).
    Ready { addresses: Range<u32>, announced: bool },
    /// Everything of the claim is there.
    Complete,
    /// Something could not be set; the claim is kept and tried again.
    Failed { reason: Box<str> },
}

/// One reading of the wall clock: microseconds since 1970 at the moment `at`. 0: it was never read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wall {
    pub at: Time,
    pub unix_micros: u64,
}

impl Wall {
    /// The wall clock at a point in time before or after the reading, in microseconds since 1970; 0 if it was never read.
    pub fn unix(self, at: Time) -> u64 {
        match self.unix_micros {
            0 => 0,
            read => read.saturating_add(at.since(self.at).as_micros()).saturating_sub(self.at.since(at).as_micros()),
        }
    }
}

/// What an operator asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Give everything up. `release` false keeps the addresses on the interfaces (`--dont-release-vrrp`).
    Stop {
        release: bool,
    },
    ClearCounters,
    /// An advert of every master, out of turn: backups get their full patience before a reload or an upgrade.
    Reassure,
    /// Announce everything owned once more.
    Announce {
        instance: Option<InstanceId>,
    },
    /// Hand over and stay BACKUP while another router lives, until `Undrain`. `None` is all.
    Drain {
        instance: Option<InstanceId>,
    },
    Undrain {
        instance: Option<InstanceId>,
    },
    /// Master: send priority 0 and let the best backup take over now; normal election afterwards.
    Failover {
        instance: Option<InstanceId>,
    },
}

/// A wish of the engine, to be carried out in the order given.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// One datagram, whole, and where.
    Transmit(Transmit),
    /// Have exactly these addresses, routes, rules and accept mode for this instance. Answered by [`Input::Applied`].
    Own(InstanceId, Arc<Claim>),
    Disown(InstanceId),
    /// One round of gratuitous ARPs or neighbour advertisements.
    Announce(Announce),
    /// One announcement of the address that a unicast instance speaks from, which is nobody's claim: it was unreachable
    /// while the instance was in FAULT.
    AnnounceSource {
        instance: InstanceId,
        ifindex: u32,
        address: IpAddr,
    },
    /// Start a script. Answered by [`Input::ScriptStarted`] and [`Input::ScriptExited`]; by the latter alone when it cannot be
    /// started.
    RunScript(ScriptId, Attempt),
    /// Signal the process group of a run.
    KillScript(ScriptId, Attempt, KillSignal),
    /// Nobody waits for this run any more: it is to be ended, by force if need be, and not to be told of.
    AbandonScript(ScriptId, Attempt),
    /// A fact for observers; nothing in the engine depends on it.
    Report(Event),
}

/// How a program is told to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KillSignal {
    Term,
    Kill,
}

/// One VRRP datagram. IPv4: `bytes` begins with the IP header (sent with IP_HDRINCL); IPv6: VRRP payload only, the
/// kernel makes the header and the checksum.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmit {
    pub instance: InstanceId,
    /// Interface to send from; 0 leaves it to routing (unicast without interface).
    pub ifindex: u32,
    pub source: IpAddr,
    pub destination: IpAddr,
    /// TTL or hop limit (already in the IPv4 header).
    pub ttl: Option<u8>,
    pub bytes: Arc<[u8]>,
}

/// One round of announcements for a range of a claim's addresses (positions in [`Claim::addresses`]): a gratuitous ARP
/// for each IPv4 address, an unsolicited neighbour advertisement for each IPv6 address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announce {
    pub instance: InstanceId,
    pub addresses: Range<u32>,
    /// The first round of its block: of it the log says which instance announces.
    pub begins: bool,
}

/// Why the engine wants to be woken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wake {
    Advert(InstanceId),
    MasterDown(InstanceId),
    Preempt(InstanceId),
    Announce,
    Script(ScriptId),
    Process(ProcessId),
    Debounce,
    Other,
}

/// A socket that the engine needs in order to hear and speak; the kernel layer keeps one per distinct value.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Port {
    pub family: Family,
    /// Interface to be bound to; `None` only for unicast without interface.
    pub ifindex: Option<u32>,
    /// Multicast group to be a member of; `None` for unicast.
    pub group: Option<IpAddr>,
    /// Local address to bind to (unicast).
    pub local: Option<IpAddr>,
    /// 112, or 51 with `auth_type AH`.
    pub protocol: u8,
}
