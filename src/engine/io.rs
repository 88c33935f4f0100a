//! The whole vocabulary between the engine and the world: facts come in as [`Input`], wishes go out as [`Action`],
//! and what happened is told to observers as [`Event`].

use super::spec::{BfdId, Claim, FileId, GroupId, IfName, InstanceId, ProcessId, ScriptId};
use crate::time::{Interval, Time};
use crate::wire::{Family, Priority, Version, Vrid};
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
    ScriptExited {
        script: ScriptId,
        exit: Exit,
    },
    /// What came of an [`Action::Own`].
    Applied {
        instance: InstanceId,
        outcome: Outcome,
    },
    /// Where the wall clock stands: needed by `auth_hmac` and by times shown to people, by nothing else.
    WallClock(Wall),
    Command(Command),
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

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkAddress {
    pub address: IpAddr,
    pub prefix: u8,
    /// False while an IPv6 address is tentative or has failed duplicate address detection.
    pub usable: bool,
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
}

/// How a script run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub enum Exit {
    Code(i32),
    Signal(i32),
    /// It could not be started at all.
    NotRun,
}

/// What the kernel made of a claim.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// These addresses (positions in [`Claim::addresses`]) are on the interface and usable.
    Ready { addresses: Range<u32> },
    /// Everything of the claim is there.
    Complete,
    /// Something could not be set; the claim is kept and tried again.
    Failed { reason: Box<str> },
}

/// The wall clock, in microseconds since the epoch, at `at`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wall {
    pub at: Time,
    pub unix_micros: u64,
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
    RunScript(ScriptId),
    /// Signal the process group of a running script.
    KillScript(ScriptId, KillSignal),
    /// A fact for observers; nothing in the engine depends on it.
    Report(Event),
}

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
}

/// State of a virtual router, numbered as keepalived prints it (D-Bus, SNMP, JSON).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Role {
    Init = 0,
    Backup = 1,
    Master = 2,
    Fault = 3,
}
impl Role {
    pub const fn word(self) -> &'static str {
        match self {
            Role::Init => "INIT",
            Role::Backup => "BACKUP",
            Role::Master => "MASTER",
            Role::Fault => "FAULT",
        }
    }
}
impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// Why a virtual router changed its state.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    Start,
    /// The master has not been heard for the whole down timer.
    MasterSilent,
    /// The master said priority 0.
    MasterLeft,
    /// We hold the addresses themselves (priority 255).
    Owner,
    /// A master was heard that is worse than we are, for the whole down timer.
    Preempts {
        over: IpAddr,
        priority: Priority,
    },
    /// A better router was heard.
    Outranked {
        by: IpAddr,
        priority: Priority,
    },
    Faulted(Vec<Fault>),
    Recovered,
    /// The sync group went along with one of its members.
    Group {
        led_by: InstanceId,
    },
    /// The process was stalled for longer than the backup's patience (`timer_expired_backup`).
    Stalled,
    Drained,
    Failover,
    Reload,
    Stopping,
}

/// What keeps a virtual router in FAULT.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    InterfaceMissing(IfName),
    InterfaceDown(IfName),
    /// Parent of the VMAC or ipvlan.
    BaseInterfaceDown(IfName),
    NoSourceAddress,
    /// A tracked script, file, process or BFD session without weight says no; by name.
    Tracker(Box<str>),
    /// A script has not reported yet.
    Pending(Box<str>),
    DuplicateVrid,
    Config(Box<str>),
    /// Another member of the sync group is faulty.
    Group(Box<str>),
}

/// Why a datagram was not taken. Policy says no: the bytes may be well-formed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    Truncated,
    UnknownVrid,
    /// The instance is in INIT or FAULT, or a start-up delay is running.
    NotListening,
    Length,
    Ttl,
    Version,
    Type,
    Checksum,
    AuthTypeInvalid,
    AuthTypeMismatch,
    AuthFailure,
    AuthExtMissing,
    AuthExtMalformed,
    AuthExtUnknownKey,
    AuthExtInvalidHmac,
    AuthExtStale,
    AuthExtReplay,
    AdvertInterval,
    /// Multicast where unicast is configured, or the reverse.
    Destination,
    /// Not one of the peers, or outside their TTL range.
    UnknownPeer,
    OwnerIgnores,
    /// Our own datagram came back.
    Own,
}

/// What happened, for observers: log, notify scripts, FIFO, mail, metrics.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    Became {
        instance: InstanceId,
        from: Role,
        to: Role,
        why: Cause,
    },
    GroupBecame {
        group: GroupId,
        from: Role,
        to: Role,
    },
    PriorityChanged {
        instance: InstanceId,
        from: Priority,
        to: Priority,
    },
    /// A master heard somebody lower (`notify_master_rx_lower_pri`).
    HeardLower {
        instance: InstanceId,
        from: IpAddr,
        priority: Priority,
    },
    /// A backup heard a lower master and will take over when its timer ends.
    WillPreempt {
        instance: InstanceId,
        from: IpAddr,
        priority: Priority,
    },
    Refused {
        instance: Option<InstanceId>,
        from: IpAddr,
        ifindex: u32,
        vrid: Option<Vrid>,
        why: Refusal,
    },
    /// The list of addresses in an accepted advert differs from ours.
    AddressListDiffers {
        instance: InstanceId,
        from: IpAddr,
    },
    /// A v3 master uses another interval than ours; it has been learned.
    IntervalLearned {
        instance: InstanceId,
        from: IpAddr,
        theirs: Interval,
    },
    /// The clock of a sender differs from ours by more than half of the window that `auth_hmac` allows.
    ClockDiffers {
        instance: InstanceId,
        from: IpAddr,
        by: Interval,
        window: Interval,
    },
    /// Two routers claim to be the owner, or two masters were heard at once: who it was.
    RivalMaster {
        instance: InstanceId,
        from: IpAddr,
        priority: Priority,
    },
    ScriptChanged {
        script: ScriptId,
        good: bool,
        exit: Exit,
    },
    ScriptTimedOut {
        script: ScriptId,
    },
    /// The last run had not ended when the next was due.
    ScriptOverrun {
        script: ScriptId,
    },
    FaultsChanged {
        instance: InstanceId,
        faults: Vec<Fault>,
    },
    /// Addresses were removed by another program and are back.
    Healed {
        instance: InstanceId,
        addresses: Range<u32>,
    },
    ClaimFailed {
        instance: InstanceId,
        reason: Box<str>,
    },
    TrackerChanged {
        tracker: Tracker,
        value: TrackValue,
    },
    LinkChanged {
        name: IfName,
        running: bool,
    },
    /// An instance was removed by a reload.
    Deleted {
        name: Box<str>,
        was: Role,
    },
    Stopped {
        instance: InstanceId,
    },
    /// Our own loop came late; how late.
    Late {
        by: Interval,
    },
    /// A datagram could not be sent.
    SendFailed {
        instance: InstanceId,
        reason: Box<str>,
    },
    ReloadRefused {
        reason: Box<str>,
    },
    /// Another Spec is in force: identifiers in actions behind this one are its own.
    Reloaded,
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
    StartupDelay,
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
    /// Traffic is sent through `ifindex` without routing (multicast).
    pub version: Option<Version>,
}
