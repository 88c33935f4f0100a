//! What one engine leaves to the next, so that another program file can go on without anybody on the wire noticing.
//!
//! A [`Handover`] holds facts by name and in absolute monotonic time, which goes on across exec(2); identifiers are not in
//! it, since the own reads the configuration again. What is missing from it (another program may have changed its mind
//! about what to keep) begins afresh.

use super::Engine;
use super::admit::ReplayTable;
use super::around::Different;
use super::instance::Instance;
use super::io::{Action, Attempt, Beginning, Cause, Exit, Fault, Role, TrackValue, Tracker};
use super::reload;
use super::script::Monitor;
use super::snapshot::Counters;
use super::state::{Backup, Claimed, Heard, Master, State};
use super::transmit::{Marks, Sender};
use crate::handover::{each, or_default};
use crate::spec::{FileId, InstanceId, ProcessId, Spec};
use crate::time::{Interval, Time};
use crate::wire::Family;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;

/// Everything worth keeping of an engine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Handover {
    #[serde(default, deserialize_with = "each")]
    instances: Vec<InstanceHandover>,
    #[serde(default, deserialize_with = "each")]
    groups: Vec<(Box<str>, Role)>,
    #[serde(default, deserialize_with = "each")]
    scripts: Vec<(Box<str>, Health)>,
    #[serde(default, deserialize_with = "each")]
    files: Vec<(Box<str>, i32)>,
    #[serde(default, deserialize_with = "each")]
    processes: Vec<(Box<str>, u32)>,
    #[serde(default, deserialize_with = "or_default")]
    not_before: Time,
    /// The last number of a run of a script; a will of the first release has none.
    #[serde(default, deserialize_with = "or_default")]
    attempts: Attempt,
}

/// What is kept of one virtual router.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct InstanceHandover {
    name: Box<str>,
    vrid: u8,
    family: Family,
    state: Kept,
    /// With [`Kept::Idle`]: it was in FAULT for these reasons, and everybody knows. Who says so again pages somebody for nothing.
    #[serde(default, deserialize_with = "or_default")]
    told_faults: Option<Vec<Fault>>,
    #[serde(default, deserialize_with = "or_default")]
    since: Time,
    /// `None`: written by a release whose causes this one does not know.
    #[serde(default, deserialize_with = "or_default")]
    why: Option<Cause>,
    #[serde(default, deserialize_with = "or_default")]
    lowered: bool,
    #[serde(default, deserialize_with = "or_default")]
    drained: bool,
    #[serde(default, deserialize_with = "or_default")]
    learned_us: u64,
    #[serde(default, deserialize_with = "or_default")]
    last_heard: Option<Heard>,
    /// The program that left this looked at what a list has in common with ours: earlier ones followed other installations too.
    #[serde(default, deserialize_with = "or_default")]
    followed: bool,
    #[serde(default, deserialize_with = "or_default")]
    last_sent: Option<Time>,
    #[serde(default, deserialize_with = "or_default")]
    marks: Marks,
    #[serde(default, deserialize_with = "each")]
    replay: Vec<(IpAddr, u64)>,
    #[serde(default, deserialize_with = "or_default")]
    counters: Counters,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Kept {
    /// INIT, and FAULT, which follows from the facts.
    Idle,
    Backup(Backup),
    Master {
        /// At once, if it is not known.
        #[serde(default, deserialize_with = "or_default")]
        advert_at: Time,
    },
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Health {
    pub(super) result: u32,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) pending: bool,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) last_exit: Option<Exit>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) next_start: Option<Time>,
}

impl Handover {
    /// The names of those that were master.
    pub fn masters(&self) -> impl Iterator<Item = Box<str>> + '_ {
        let masters = self.instances.iter().filter(|left| matches!(left.state, Kept::Master { .. }));
        masters.map(|left| left.name.clone())
    }
}

impl Engine {
    /// Writes the will. The engine should not be used afterwards: two that speak for one router confuse its neighbours.
    pub fn hand_over(&self) -> Handover {
        let spec = &self.spec;
        Handover {
            instances: spec.instances.iter().zip(&self.instances).map(|(spec, instance)| instance.left(spec)).collect(),
            groups: spec.groups.iter().zip(&self.groups).map(|(group, role)| (group.name.clone(), *role)).collect(),
            scripts: spec
                .scripts
                .iter()
                .zip(&self.around.scripts)
                .map(|(s, monitor)| (s.name.clone(), monitor.health()))
                .collect(),
            files: (spec.files.iter().zip(&self.around.board.files))
                .filter_map(|(file, value)| Some((file.name.clone(), (*value)?)))
                .collect(),
            processes: (spec.processes.iter().zip(&self.around.board.processes))
                .filter_map(|(process, watch)| Some((process.name.clone(), watch.count?)))
                .collect(),
            not_before: self.not_before,
            attempts: self.attempts,
        }
    }

    /// An engine that goes on where another ended: masters stay masters and keep their cadence, backups their patience.
    /// A master's claim is wished for once more, and announced when it is confirmed.
    pub fn inherit(spec: Arc<Spec>, world: Beginning, handover: &Handover, now: Time) -> Engine {
        let mut engine = Engine::blank(spec.clone(), world.links, world.opening, now);
        engine.set_wall(world.wall);
        engine.not_before = handover.not_before;
        engine.attempts = handover.attempts;
        let named =
            |name: &str, health: &[(Box<str>, Health)]| health.iter().find(|(of, _)| **of == *name).map(|(_, h)| *h);
        engine.around.change(|facts| {
            for (monitor, script) in facts.scripts.iter_mut().zip(&spec.scripts) {
                if let Some(health) = named(&script.name, &handover.scripts) {
                    *monitor = Monitor::resume(health, script, now);
                }
            }
            for (id, file) in (0..).map(FileId).zip(&spec.files) {
                if let Some((_, value)) = handover.files.iter().find(|(name, _)| *name == file.name) {
                    facts.board.tell(&spec, Tracker::File(id), TrackValue::Number(*value), now);
                }
            }
            for (id, process) in (0..).map(ProcessId).zip(&spec.processes) {
                if let Some((_, count)) = handover.processes.iter().find(|(name, _)| *name == process.name) {
                    facts.board.tell(&spec, Tracker::Process(id), TrackValue::Count(*count), now);
                }
            }
            Different
        });
        // What has changed since the will was written has its delays, as with any change.
        engine.take_readings(&world.readings);
        for (shown, group) in engine.groups.iter_mut().zip(&spec.groups) {
            if let Some((_, role)) = handover.groups.iter().find(|(name, _)| *name == group.name) {
                *shown = *role;
            }
        }
        let mut masters = Vec::new();
        for (index, own) in (0_u32..).zip(&spec.instances) {
            let same = |left: &&InstanceHandover| left.vrid == own.vrid.get() && left.family == own.family;
            let candidates = || handover.instances.iter().filter(same);
            let left = candidates().find(|left| left.name == own.name);
            let (Some(left), Some(instance)) = (left, engine.instances.get_mut(index as usize)) else { continue };
            *instance = Instance::inherited(own, left, world.opening, now);
            if instance.is_master() {
                masters.push(InstanceId(index));
            }
        }
        engine.rebuild();
        engine.settle();
        for id in masters.into_iter().filter(|id| engine.instances.get(id.index()).is_some_and(Instance::is_master)) {
            if let Some(own) = spec.instances.get(id.index()) {
                engine.out.push_back(Action::Own(id, own.claim.clone()));
            }
        }
        engine.fire();
        engine
    }
}

impl Instance {
    fn left(&self, spec: &crate::spec::InstanceSpec) -> InstanceHandover {
        InstanceHandover {
            name: spec.name.clone(),
            vrid: spec.vrid.get(),
            family: spec.family,
            state: match self.state() {
                State::Init | State::Fault => Kept::Idle,
                State::Backup(backup) => Kept::Backup(backup.clone()),
                State::Master(master) => Kept::Master { advert_at: master.advert_at },
            },
            told_faults: self.told_faults(),
            since: self.since,
            why: Some(self.why.clone()),
            lowered: self.is_lowered(),
            drained: self.drained,
            learned_us: self.learned.as_micros(),
            last_heard: self.last_heard,
            followed: self.followed,
            last_sent: self.last_sent,
            marks: self.sender.marks(),
            replay: self.replay.marks(),
            counters: self.counters.clone(),
        }
    }

    fn inherited(spec: &crate::spec::InstanceSpec, left: &InstanceHandover, opening: bool, now: Time) -> Instance {
        let state = match &left.state {
            Kept::Idle => State::Init,
            Kept::Backup(backup) => State::Backup(backup.clone()),
            Kept::Master { advert_at } => {
                State::Master(Master { advert_at: *advert_at, claim: Claimed::OnItsWay, rival: None })
            }
        };
        let mut own = Instance::resumed(spec, opening, now, state, left.lowered);
        if let (State::Init, Some(told)) = (own.state(), &left.told_faults) {
            own = own.still_in_fault(told.clone());
        }
        if own.is_master() {
            own.plan.begin(&spec.garp, now);
        }
        if !matches!(own.state(), State::Init) {
            (own.since, own.why) = (left.since, left.why.clone().unwrap_or(Cause::Start));
        }
        own.drained = left.drained;
        own.learned = Interval::from_micros(left.learned_us);
        (own.last_heard, own.followed) = (left.last_heard, left.followed);
        own.last_sent = left.last_sent;
        own.sender = Sender::resume(left.marks);
        own.replay = left.replay.iter().fold(ReplayTable::default(), |mut table, (sender, sequence)| {
            table.accept(spec, *sender, *sequence);
            table
        });
        own.counters = left.counters.clone();
        own
    }
}

/// Whether `spec` pairs with itself entirely: what the kernel layer is told, so that nothing is taken for a leftover.
pub fn everybody(spec: &Spec) -> Vec<(InstanceId, InstanceId)> {
    reload::continued(spec, spec)
}
