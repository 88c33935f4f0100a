//! What observers are told: [`Event`], and the words in it. Nothing in the engine reads any of it back.

use super::Exit;
use super::TrackValue;
use super::Tracker;
use crate::spec::{GroupId, IfName, InstanceId, ScriptId};
use crate::time::Interval;
use crate::wire::{Priority, Vrid};
use std::net::IpAddr;
use std::ops::Range;

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
    /// As keepalived writes it.
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
    /// It had handed over because an operator asked, and no other router took over.
    NobodyTookOver,
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
    /// The configured source address is on no interface.
    SourceAbsent(IpAddr),
    /// The socket to hear and speak through could not be opened, with the reason.
    NoSocket(Box<str>),
    /// This machine has refused to send its adverts for longer than others have patience, with the reason.
    CannotSend(Box<str>),
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
    /// Another installation's: it has this VRID, and none of the addresses of this server.
    Foreign,
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
    /// Another router goes on speaking as MASTER although this one is MASTER and better: it does not hear us, or does not
    /// obey. Told once, until it falls silent.
    RivalStays {
        instance: InstanceId,
        from: IpAddr,
        priority: Priority,
    },
    /// The other master of [`Event::RivalStays`] has not been heard for the whole down timer.
    RivalSilent {
        instance: InstanceId,
        from: IpAddr,
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
    /// Something that only a master has was there although the instance is none, and was removed:
    /// `address 10.0.0.10/24 from eth0`.
    Swept {
        instance: InstanceId,
        item: Box<str>,
        role: Role,
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
    /// The loop that carries this engine did not run for so long, and other routers may have lost patience: the process or the
    /// machine was stopped, or had no processor time. Comes before everything that was heard meanwhile.
    Slept {
        by: Interval,
    },
    /// Another router spoke as MASTER while this daemon did not run although this router was MASTER; once each time.
    Replaced {
        instance: InstanceId,
        from: IpAddr,
        priority: Priority,
    },
    /// Our own loop came late; how late.
    Late {
        by: Interval,
    },
    /// Datagrams to `to` cannot be sent: told once, until one could be.
    SendFailed {
        instance: InstanceId,
        to: IpAddr,
        reason: Box<str>,
    },
    ReloadRefused {
        reason: Box<str>,
    },
    /// Another Spec is in force: identifiers in actions behind this one are its own.
    Reloaded,
}
