//! A daemon's snapshot as it comes over the control socket, and the words for what it says.
//!
//! The twin of [`crate::vrrp::snapshot`], read with tolerance: a field that an older or newer daemon does not send is
//! its default, a field that is not known here is passed over. So `vipctl` of one version speaks to `vipd` of another.

use crate::observe::words;
use crate::spec::InstanceId;
use crate::vrrp::io::{Cause, Exit, Fault, Refusal};
use serde::Deserialize;
use serde_json::Value;

pub use crate::observe::words::span;

/// What a daemon answers to `status`, as this program reads it: a daemon of another version may leave fields out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    pub now: u64,
    pub unix_micros: u64,
    pub instances: Vec<Instance>,
    pub groups: Vec<Group>,
    pub scripts: Vec<Script>,
    pub trackers: Vec<Tracker>,
    pub strangers: Vec<Speaker>,
    pub startup_delay_left: Option<f64>,
    pub slept: Option<Slept>,
    /// How the last reload ended, if there was one.
    pub reload: Option<Reload>,
    /// Instances whose drain outlives a restart.
    pub drains_kept: Vec<String>,
    pub notify: Notify,
    pub pid: u32,
    /// BFD sessions; `None` where their thread did not answer.
    pub bfd: Option<Sessions>,
}

/// Notify programs and FIFOs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Notify {
    /// Those that run, the one that began first at the front.
    pub running: Vec<Underway>,
    /// How many wait for their turn.
    pub waiting: usize,
    pub full_fifos: Vec<FullFifo>,
}

/// A notify program that runs: the twin of [`crate::observe::tally::Underway`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Underway {
    pub of: String,
    pub event: String,
    pub program: String,
    pub pid: i32,
    pub since: u64,
}

/// A FIFO without room, and how many lines it did not take.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct FullFifo {
    pub path: String,
    pub lost: u64,
}

/// All BFD sessions.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Sessions {
    pub sessions: Vec<Session>,
}

/// A BFD session: the twin of [`crate::bfd::snapshot::SessionView`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Session {
    pub name: String,
    pub neighbor: String,
    pub state: String,
    pub since: u64,
    /// Why it is not up, or why it is.
    pub reason: String,
    /// What trackers read.
    pub level: Level,
    /// Seconds of silence after which the peer is believed dead; 0 before its first packet.
    pub detection_time: f64,
}

/// What trackers read of a session.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Level {
    pub up: bool,
    /// Kept from before a shutdown, and whose.
    pub held: Option<String>,
}

/// How a reload ended.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Reload {
    pub unix_micros: u64,
    pub accepted: bool,
    /// What changed, or why it was refused.
    pub message: String,
}

/// How an instance stands.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Instance {
    pub name: String,
    pub state: String,
    pub wanted: String,
    pub since: u64,
    pub since_unix_micros: u64,
    pub why: Value,
    pub faults: Vec<Value>,
    pub interface: Option<String>,
    pub link: Option<String>,
    pub vrid: u8,
    pub family: String,
    pub version: u8,
    pub source: Option<String>,
    pub base_priority: u8,
    pub effective_priority: u8,
    pub total_priority: i32,
    pub contributions: Vec<Contribution>,
    pub interval: f64,
    pub master_interval: f64,
    pub master_down: f64,
    pub master: Option<Master>,
    pub next: Option<Next>,
    pub owned: bool,
    pub lacking: Option<String>,
    pub drained: bool,
    pub preempt: Option<bool>,
    pub preempt_at: Option<u64>,
    pub held_back_by: Vec<String>,
    pub last_advert_sent: Option<u64>,
    pub refused_speakers: Vec<Speaker>,
    pub rivals: Vec<Rival>,
    pub replaced: Option<Replaced>,
    pub counters: Value,
    /// Of its claim, and whether each is on this machine; a daemon that does not say so sends none.
    pub addresses: Vec<Address>,
}

/// When the daemon last went on after it had not run, and for how many seconds it had not.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Slept {
    pub until: u64,
    pub by: f64,
}

/// Who was MASTER in place of an instance while the daemon last did not run.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Replaced {
    pub address: String,
    pub priority: u8,
    pub until: u64,
}

/// A virtual address and where it is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Address {
    pub address: String,
    pub prefix: u8,
    /// Where it belongs, and the interfaces on which it is; `None` if the daemon could not find out.
    pub interface: String,
    pub on: Option<Vec<String>>,
}

impl Address {
    /// Is it on the server that was asked? `None`: that server does not know.
    pub fn is_here(&self) -> Option<bool> {
        self.on.as_ref().map(|on| !on.is_empty())
    }
}

/// Whose adverts are refused.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Speaker {
    pub address: String,
    pub why: Value,
    pub vrid: Option<u8>,
    pub instance: Option<String>,
    pub count: u64,
    pub last_heard: u64,
    pub current: bool,
}

/// Who speaks as MASTER beside this one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Rival {
    pub address: String,
    pub priority: u8,
    pub count: u64,
    pub first_heard: u64,
    pub last_heard: u64,
    pub current: bool,
    /// With unicast: whether it is one of the peers, so that our adverts are sent to it.
    pub is_peer: Option<bool>,
}

/// What a tracker adds to an instance's priority.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Contribution {
    pub tracker: String,
    /// Empty from a daemon that does not say it.
    pub kind: String,
    pub weight: i32,
    pub reverse: bool,
    pub good: Option<bool>,
    pub amount: i32,
    pub fault: bool,
}

/// Whose adverts a backup last heard.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Master {
    pub address: Option<String>,
    pub priority: u8,
    pub ourselves: bool,
    pub last_heard: Option<u64>,
    pub silent: bool,
    pub addresses_differ: bool,
}

/// What an instance waits for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Next {
    pub at: u64,
    pub what: String,
}

/// How a sync group stands.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Group {
    pub name: String,
    pub state: String,
    pub members: Vec<String>,
}

/// How a check script stands.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Script {
    pub name: String,
    pub good: Option<bool>,
    pub running: bool,
    pub last_exit: Option<Value>,
    pub last_started: Option<u64>,
    pub result: u32,
}

/// What a tracked file or process says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Tracker {
    pub kind: String,
    pub name: String,
    pub value: Option<i64>,
    pub good: Option<bool>,
}

impl Session {
    /// `Down for 3 s: nothing was heard from the peer`.
    pub fn words(&self, snapshot: &Snapshot) -> String {
        let counts = match (&self.level.held, self.level.up) {
            (None, _) => "",
            (Some(_), true) => ", and still counts as up",
            (Some(_), false) => ", and still counts as down",
        };
        format!("{} for {}{counts}: {}", self.state, span(snapshot.ago(self.since)), self.reason)
    }
}

impl Snapshot {
    /// BFD sessions in the order of the configuration.
    pub fn sessions(&self) -> &[Session] {
        self.bfd.as_ref().map_or(&[], |bfd| &bfd.sessions)
    }
    /// The session of that name, if a BFD session is tracked by it.
    pub fn session(&self, tracker: &str) -> Option<&Session> {
        let tracked = self.trackers.iter().any(|t| t.kind == "bfd" && t.name == tracker);
        self.sessions().iter().find(|session| tracked && session.name == tracker)
    }
    /// The sync group that a name means: none where an instance is called so too, for then that is meant.
    pub fn group(&self, name: &str) -> Option<&Group> {
        let group = self.groups.iter().find(|group| group.name == name)?;
        (!self.instances.iter().any(|instance| instance.name == name)).then_some(group)
    }
    /// Seconds from `at` to the moment of the snapshot; 0 if `at` is later.
    pub fn ago(&self, at: u64) -> f64 {
        self.now.saturating_sub(at) as f64 / 1e6
    }
    /// Seconds from the moment of the snapshot to `at`; 0 if `at` is earlier.
    pub fn until(&self, at: u64) -> f64 {
        at.saturating_sub(self.now) as f64 / 1e6
    }
}

impl Instance {
    /// Why it is in its state, in words: how it came into it, or, of a fault that is over while another one goes on, both.
    pub fn reason(&self, snapshot: &Snapshot) -> String {
        let name = |id: InstanceId| {
            snapshot.instances.get(id.index()).map_or_else(|| "another member".to_owned(), |i| i.name.clone())
        };
        let reason = said(&self.why, |why: &Cause| words::cause(why, name));
        let now: Vec<Fault> = self.faults.iter().flat_map(|fault| serde_json::from_value(fault.clone())).collect();
        let over = match serde_json::from_value(self.why.clone()) {
            Ok(Cause::Faulted(then)) => !then.is_empty() && !now.is_empty() && !then.iter().any(|f| now.contains(f)),
            _ => false,
        };
        if over { format!("{}; it began with: {reason}, which is over", words::faults(&now)) } else { reason }
    }
    /// Others that speak as MASTER while this one is MASTER.
    pub fn rivals_now(&self) -> impl Iterator<Item = &Rival> {
        self.rivals.iter().filter(|rival| rival.current)
    }
    /// Others whose adverts are refused at present.
    pub fn refused_now(&self) -> impl Iterator<Item = &Speaker> {
        self.refused_speakers.iter().filter(|speaker| speaker.current)
    }
    /// `150`, or `90 = 150 - 60 (chk_nginx fails)`.
    pub fn sum(&self) -> String {
        let parts: Vec<&Contribution> = self.contributions.iter().filter(|c| c.amount != 0).collect();
        if self.drained {
            return format!(
                "{} while drained, {} otherwise",
                self.effective_priority,
                self.total_priority.clamp(1, 254)
            );
        }
        if parts.is_empty() {
            return self.effective_priority.to_string();
        }
        let mut text = format!("{} = {}", self.effective_priority, self.base_priority);
        for part in &parts {
            let sign = if part.amount < 0 { '-' } else { '+' };
            text += &format!(" {sign} {} ({})", part.amount.unsigned_abs(), part.words());
        }
        if self.total_priority != i32::from(self.effective_priority) {
            text += &format!(", which is {}, kept within 1 to 254", self.total_priority);
        }
        text
    }
}

impl Contribution {
    /// The tracker and what it says.
    pub fn words(&self) -> String {
        match self.good {
            Some(true) => format!("{} is good", self.tracker),
            Some(false) => format!("{} fails", self.tracker),
            None => format!("{} has not reported", self.tracker),
        }
    }
}

/// The words of the daemon's own types; what a newer daemon says with a variant that is not known here is shown by its name.
fn said<T: serde::de::DeserializeOwned>(value: &Value, words: impl Fn(&T) -> String) -> String {
    match serde_json::from_value::<T>(value.clone()) {
        Ok(known) => words(&known),
        Err(_) => match value {
            Value::String(name) => name.replace('_', " "),
            Value::Object(map) => map.keys().map(|name| name.replace('_', " ")).collect::<Vec<_>>().join(", "),
            other => other.to_string(),
        },
    }
}

/// A [`Fault`] in words.
pub fn fault(value: &Value) -> String {
    said(value, words::fault)
}

/// Whether a fault is one of the configuration, which stays until that is another one.
pub fn is_configured(value: &Value) -> bool {
    matches!(serde_json::from_value(value.clone()), Ok(Fault::Config(_)))
}

/// What to do about a fault.
pub fn cure(value: &Value) -> Option<String> {
    serde_json::from_value::<Fault>(value.clone()).ok().and_then(|fault| words::cure(&fault))
}

/// An [`Exit`] in words.
pub fn exit(value: &Value) -> String {
    said(value, |exit: &Exit| words::exit(*exit))
}

/// Is this [`Refusal`] about another installation with the same VRID?
pub fn is_foreign(value: &Value) -> bool {
    serde_json::from_value(value.clone()).is_ok_and(|why: Refusal| why == Refusal::Foreign)
}

/// A [`Refusal`] in words, and what to do about it.
pub fn refusal(value: &Value) -> (String, Option<&'static str>) {
    let cure = serde_json::from_value::<Refusal>(value.clone()).ok().and_then(words::refusal_cure);
    (said(value, |why: &Refusal| words::refusal(*why).to_owned()), cure)
}
