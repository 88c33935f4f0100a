//! A daemon's snapshot as it comes over the control socket, and the words for what it says.
//!
//! The twin of [`crate::vrrp::snapshot`], read with tolerance: a field that an older or newer daemon does not send is
//! its default, a field that is not known here is passed over. So `vipctl` of one version speaks to `vipd` of another.

use serde::Deserialize;
use serde_json::Value;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    pub now: u64,
    pub unix_micros: u64,
    pub instances: Vec<Instance>,
    pub groups: Vec<Group>,
    pub scripts: Vec<Script>,
    pub trackers: Vec<Tracker>,
    pub startup_delay_left: Option<f64>,
}

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
    pub drained: bool,
    pub last_advert_sent: Option<u64>,
    pub counters: Value,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Contribution {
    pub tracker: String,
    pub weight: i32,
    pub reverse: bool,
    pub good: Option<bool>,
    pub amount: i32,
    pub fault: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Master {
    pub address: Option<String>,
    pub priority: u8,
    pub ourselves: bool,
    pub last_heard: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Next {
    pub at: u64,
    pub what: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Group {
    pub name: String,
    pub state: String,
    pub members: Vec<String>,
}

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

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Tracker {
    pub kind: String,
    pub name: String,
    pub value: Option<i64>,
    pub good: Option<bool>,
}

impl Snapshot {
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
    /// Why it is in its state, in words.
    pub fn reason(&self) -> String {
        cause(&self.why)
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

/// Name of an externally tagged enum's variant, and what it holds.
fn variant(value: &Value) -> (&str, &Value) {
    match value {
        Value::String(name) => (name, &Value::Null),
        Value::Object(map) => map.iter().next().map_or(("", &Value::Null), |(name, inner)| (name.as_str(), inner)),
        _ => ("", &Value::Null),
    }
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// A [`Cause`](crate::vrrp::io::Cause) in words.
pub fn cause(value: &Value) -> String {
    let (name, inner) = variant(value);
    match name {
        "start" => "the daemon has just started".into(),
        "master_silent" => "no advert came from a master in time".into(),
        "master_left" => "the master said that it leaves (priority 0)".into(),
        "owner" => "it owns the addresses (priority 255)".into(),
        "outranked" => {
            let (by, priority) = (word(&inner["by"]), word(&inner["priority"]));
            if priority == "0" {
                format!("{by} was heard")
            } else {
                format!("{by} has the better claim (priority {priority})")
            }
        }
        "faulted" => match inner.as_array().map(|list| list.iter().map(fault).collect::<Vec<_>>()) {
            Some(list) if !list.is_empty() => list.join("; "),
            _ => "a fault".into(),
        },
        "recovered" => "its faults are gone".into(),
        "group" => "its sync group went along with another member".into(),
        "stalled" => "this process was stalled for longer than a backup waits".into(),
        "drained" => "it was drained by an operator".into(),
        "failover" => "an operator asked for a failover".into(),
        "reload" => "the configuration was read again".into(),
        "stopping" => "the daemon is stopping".into(),
        other => other.replace('_', " "),
    }
}

/// A [`Fault`](crate::vrrp::io::Fault) in words.
pub fn fault(value: &Value) -> String {
    let (name, inner) = variant(value);
    let inner = word(inner);
    match name {
        "interface_missing" => format!("interface {inner} does not exist"),
        "interface_down" => format!("interface {inner} is down"),
        "base_interface_down" => format!("interface {inner}, below the virtual one, is down"),
        "no_source_address" => "the interface has no address to send from".into(),
        "tracker" => format!("{inner} fails"),
        "pending" => format!("{inner} has not reported yet"),
        "duplicate_vrid" => "another instance uses the same virtual router ID here".into(),
        "config" => format!("the configuration does not allow it: {inner}"),
        "group" => format!("{inner} of its sync group is faulty"),
        other => format!("{} {inner}", other.replace('_', " ")).trim().into(),
    }
}

/// What to do about a fault.
pub fn cure(value: &Value) -> Option<String> {
    let (name, inner) = variant(value);
    let inner = word(inner);
    Some(match name {
        "interface_missing" => format!("`ip link` shows the names; the configuration says {inner}"),
        "interface_down" | "base_interface_down" => {
            format!("`ip link set {inner} up`, or look at the cable, the bond or the switch")
        }
        "no_source_address" => "give the interface an address, or set mcast_src_ip / unicast_src_ip".into(),
        "tracker" => format!("run the check of {inner} by hand as its user and look at the exit code"),
        _ => return None,
    })
}

/// A length of time for people: `0.35 s`, `12 s`, `2 min 5 s`, `3 h 12 min`, `9 days 4 h`.
pub fn span(seconds: f64) -> String {
    let whole = if seconds.is_finite() && seconds > 0.0 { seconds as u64 } else { 0 };
    match whole {
        0..=9 => {
            let text = format!("{seconds:.2}");
            format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
        }
        10..=59 => format!("{whole} s"),
        60..=3599 => format!("{} min {} s", whole / 60, whole % 60),
        3600..=86_399 => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{} days {} h", whole / 86_400, whole % 86_400 / 3600),
    }
}

/// An [`Exit`](crate::vrrp::io::Exit) in words.
pub fn exit(value: &Value) -> String {
    let (name, inner) = variant(value);
    match name {
        "Code" | "code" => format!("exit code {}", word(inner)),
        "Signal" | "signal" => format!("ended by signal {}", word(inner)),
        "NotRun" | "not_run" => "could not be started".into(),
        other => other.to_owned(),
    }
}
