//! The read model: what status, dumps, JSON and metrics show. Made on request, of an instance only if it was touched since; nothing
//! reads the engine itself.

use super::garp::Ranges;
use super::io::{Cause, Exit, Fault, Link, Port, Refusal, Role};
use crate::spec::InstanceId;
use crate::time::{Interval, Time};
use crate::wire::{Family, Priority, Version, Vrid};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The whole state at one moment.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Snapshot {
    pub now: Time,
    /// Wall clock at `now`, microseconds since the epoch; 0 if never told.
    pub unix_micros: u64,
    /// By number. What was not touched since the last snapshot is the same one.
    pub instances: Vec<Arc<InstanceView>>,
    pub groups: Vec<GroupView>,
    pub scripts: Vec<ScriptView>,
    pub trackers: Vec<TrackerView>,
    /// Datagrams that belong to no instance, by reason.
    pub refused: BTreeMap<Refusal, u64>,
    /// Senders of adverts with a VRID of nobody here.
    pub strangers: Vec<SpeakerView>,
    pub startup_delay_left: Option<Interval>,
    /// When the daemon last went on after it had not run.
    pub slept: Option<SleptView>,
    /// All interfaces, by index. Only the dumps show them.
    #[serde(skip)]
    pub links: Vec<LinkView>,
    /// The sockets that are called for. Only the dumps show them.
    #[serde(skip)]
    pub ports: Vec<PortView>,
}

impl Snapshot {
    /// Whether the kernel has the address on any interface.
    pub fn has(&self, address: IpAddr) -> bool {
        self.links.iter().any(|view| view.link.addresses.iter().any(|own| own.address == address))
    }

    /// Whether keepalived would call an address of an instance set: also while the kernel still makes sure that an IPv6
    /// address is nobody else's. `position` is that in the instance's claim.
    pub fn has_set(&self, view: &InstanceView, position: u32, address: IpAddr) -> bool {
        view.held.contains(position) || view.state == Role::Master && self.has(address)
    }
}

/// A time in which the daemon did not run: it or the machine was stopped, or had no processor time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct SleptView {
    /// Its end.
    pub until: Time,
    /// How long it was.
    pub by: Interval,
}

/// Who was MASTER in place of an instance while the daemon did not run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct ReplacedView {
    pub address: IpAddr,
    pub priority: Priority,
    /// When the daemon went on.
    pub until: Time,
}

/// An interface, and whether a change of it is still being waited out (`interface_up_down_delays`).
#[derive(Clone, PartialEq, Debug)]
pub struct LinkView {
    pub link: Link,
    pub changing: bool,
}

/// A socket and who speaks through it; the descriptor is filled in by the loop that has it open.
#[derive(Clone, PartialEq, Debug)]
pub struct PortView {
    pub port: Port,
    pub instances: Vec<InstanceId>,
    pub descriptor: Option<i32>,
}

/// How an instance stands.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct InstanceView {
    pub name: Box<str>,
    pub state: Role,
    pub wanted: Role,
    pub since: Time,
    /// When the present state was entered, microseconds since the epoch; 0 if never told.
    pub since_unix_micros: u64,
    pub why: Cause,
    pub faults: Vec<Fault>,
    pub interface: Option<Box<str>>,
    /// Interface the adverts and addresses are on, if it is another (VMAC).
    pub link: Option<Box<str>>,
    pub ifindex: u32,
    pub vrid: Vrid,
    pub family: Family,
    pub version: Version,
    pub source: Option<IpAddr>,
    pub base_priority: Priority,
    pub effective_priority: Priority,
    /// The unclamped sum.
    pub total_priority: i32,
    /// What the priority is made of, beyond the base.
    pub contributions: Vec<ContributionView>,
    pub interval: Interval,
    /// The interval in force: learned from a v3 master, else our own.
    pub master_interval: Interval,
    pub master_down: Interval,
    /// Who is master as far as this router knows: ourselves, or the last one heard.
    pub master: Option<MasterView>,
    /// What happens next if nothing else does.
    pub next: Option<NextView>,
    /// All addresses of the claim are known to be in the kernel.
    pub owned: bool,
    /// Those that are.
    #[serde(skip)]
    pub held: Ranges,
    /// Why not everything that a MASTER owns (addresses, routes, rules) is in place: what the kernel said.
    pub lacking: Option<Box<str>>,
    pub drained: bool,
    /// False: `nopreempt`.
    pub preempt: bool,
    /// End of a `preempt_delay` that runs.
    pub preempt_at: Option<Time>,
    /// Members of its sync group without which it cannot become MASTER although it is ready to.
    pub held_back_by: Vec<Box<str>>,
    pub last_advert_sent: Option<Time>,
    /// Senders whose adverts are refused; at most a few dozen, and the one that was silent longest gives way.
    pub refused_speakers: Vec<SpeakerView>,
    /// Who speaks as MASTER while this router is, or last was, MASTER.
    pub rivals: Vec<RivalView>,
    /// Who was MASTER in its place while the daemon last did not run, if that was heard of.
    pub replaced: Option<ReplacedView>,
    pub counters: Counters,
}

/// A sender whose adverts are refused.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SpeakerView {
    pub address: IpAddr,
    pub why: Refusal,
    /// Of its adverts, where it is not the instance's.
    pub vrid: Option<Vrid>,
    pub ifindex: u32,
    /// The instance here whose addresses it speaks for, although with another VRID.
    pub instance: Option<Box<str>>,
    pub count: u64,
    pub first_heard: Time,
    pub last_heard: Time,
    /// Heard within the down timer; strangers within [`SpeakerView::RECENT`].
    pub current: bool,
}
impl SpeakerView {
    pub(crate) const RECENT: Interval = Interval::from_secs(10);
}

/// Another router that speaks as MASTER.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RivalView {
    pub address: IpAddr,
    pub priority: Priority,
    pub count: u64,
    pub first_heard: Time,
    pub last_heard: Time,
    /// There are two masters now: this router is MASTER, and the other one spoke within the down timer and does not yield.
    pub current: bool,
    /// Whether our adverts are sent to it: with unicast, whether it is one of the peers. `None` with multicast.
    pub is_peer: Option<bool>,
}

/// What a tracker adds to an instance's priority.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ContributionView {
    pub tracker: Box<str>,
    /// "script", "interface", "file", "process" or "bfd".
    pub kind: &'static str,
    pub weight: i32,
    pub reverse: bool,
    /// `None`: not known yet.
    pub good: Option<bool>,
    /// Added to the priority.
    pub amount: i32,
    pub fault: bool,
}

/// Whose adverts a backup last heard.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct MasterView {
    pub address: Option<IpAddr>,
    pub priority: Priority,
    pub ourselves: bool,
    pub last_heard: Option<Time>,
    /// It has not been heard for the whole down timer, or has said that it leaves.
    pub silent: bool,
    /// It speaks for other addresses than this router has: after a takeover some are gone and others come.
    pub addresses_differ: bool,
}

/// What an instance waits for.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct NextView {
    pub at: Time,
    pub what: Box<str>,
}

/// Counters of one instance, named as in keepalived's JSON.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    pub advert_rcvd: u64,
    pub advert_sent: u64,
    /// Transitions to MASTER.
    pub become_master: u64,
    /// Transitions away from MASTER.
    pub release_master: u64,
    pub packet_len_err: u64,
    pub advert_interval_err: u64,
    pub ip_ttl_err: u64,
    pub invalid_type_rcvd: u64,
    /// Adverts whose addresses differ from ours, or that went to a destination of the other kind.
    pub addr_list_err: u64,
    pub invalid_authtype: u64,
    pub authtype_mismatch: u64,
    pub auth_failure: u64,
    pub auth_ext_missing: u64,
    pub auth_ext_malformed: u64,
    pub auth_ext_unknown_key: u64,
    pub auth_ext_invalid_hmac: u64,
    pub auth_ext_stale: u64,
    pub auth_ext_replay: u64,
    /// Goodbyes heard (priority 0).
    pub pri_zero_rcvd: u64,
    pub pri_zero_sent: u64,
    /// Everything refused, by reason, also what keepalived does not count.
    #[serde(deserialize_with = "crate::handover::or_default")]
    pub refused: BTreeMap<Refusal, u64>,
    /// Gratuitous ARPs and unsolicited neighbour advertisements.
    pub garps_sent: u64,
    /// Times that another program took away what it owns, and it was put back.
    pub healed: u64,
    /// Times that something of its claim appeared although it was not MASTER, and was removed.
    #[serde(default)]
    pub swept: u64,
}

/// How a sync group stands.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct GroupView {
    pub name: Box<str>,
    pub state: Role,
    pub members: Vec<Box<str>>,
}

/// How a check script stands.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ScriptView {
    pub name: Box<str>,
    /// `None`: not reported yet.
    pub good: Option<bool>,
    pub running: bool,
    pub last_exit: Option<Exit>,
    pub last_started: Option<Time>,
    /// Position in 0..rise+fall; good from `rise` up.
    pub result: u32,
}

/// What a tracked file, process or BFD session says.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct TrackerView {
    pub kind: &'static str,
    pub name: Box<str>,
    pub value: Option<i64>,
    pub good: Option<bool>,
}
