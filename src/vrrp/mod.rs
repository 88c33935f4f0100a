//! The protocol; deterministic. See [`io`] for the whole vocabulary and [`crate::spec`] for what it is told to be.
//!
//! The engine is told facts with a time ([`Engine::handle`]) and answers with actions ([`Engine::poll`]). It has no
//! socket, no clock, no randomness and no log: what it answers depends on what it was told and on nothing else.
//!
//! Inside, one road for everything: time first ([`crate::agenda`] says what is due), then the news (an advert goes through
//! [`receive`] and [`admit`] to an [`instance`]; a link or tracker fact marks whom it concerns), then [`settle`], which
//! recomputes what was marked and applies the table of [`group`]. Announcements follow their own plans ([`garp`],
//! [`announcing`]).

mod admit;
mod announcing;
mod around;
mod bind;
mod command;
pub mod election;
mod garp;
pub mod group;
pub mod handover;
mod index;
mod instance;
pub mod io;
mod links;
pub mod overhear;
mod ports;
mod receive;
pub mod reload;
mod roster;
mod script;
mod settle;
pub mod snapshot;
mod speakers;
mod state;
pub mod track;
mod transmit;
mod view;

use crate::agenda::{Agenda, Slot};
use crate::spec::{GroupId, IfName, InstanceId, ProcessId, ScriptId, ScriptSpec, Spec};
use crate::time::{Interval, Time};
use around::Surroundings;
use garp::Lanes;
use index::Index;
use instance::{Cx, Instance};
use io::{
    Action, Attempt, Beginning, Event, Exit, Input, Link, LinkFact, Port, Readings, Refusal, Role, SendFailure,
    SocketState, TrackValue, Tracker, Wake, Wall,
};
pub use ports::most_ports;
use roster::Roster;
use rustc_hash::FxHashMap;
use script::Monitor;
use snapshot::Snapshot;
use speakers::{Refused, Table};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

/// So long after the last time in which nothing ran a short one is not told of again.
const SLEPT_QUIET: Interval = Interval::from_secs(10);
/// A time in which nothing ran that is told of whenever it happens.
const SLEPT_LONG: Interval = Interval::from_secs(1);
/// For so many actions room is kept when none is left.
const QUEUE_KEPT: usize = 1024;

/// All virtual routers of one process.
#[derive(Clone, Debug)]
pub struct Engine {
    spec: Arc<Spec>,
    instances: Roster,
    around: Surroundings,
    /// Shown state of each group.
    groups: Vec<Role>,
    /// The last number that was used for a run of a script.
    attempts: Attempt,
    /// Whose each run under way is.
    runs: FxHashMap<Attempt, ScriptId>,
    lanes: Lanes,
    index: Index,
    agenda: Agenda,
    out: VecDeque<Action>,
    now: Time,
    /// End of the start-up delay.
    not_before: Time,
    /// When the loop that carries this engine last went on after it had not run, and for how long it had not.
    slept: Option<(Time, Interval)>,
    /// The loop has come late to a deadline and tells first what it finds in its sockets: see [`Input::Slept`].
    catching_up: bool,
    /// Instances whose standing has to be recomputed.
    unsettled: BTreeSet<InstanceId>,
    /// Groups of which a member changed.
    stirred: BTreeSet<GroupId>,
    /// Whose change stirred the groups.
    leader: Option<InstanceId>,
    /// Datagrams that belong to no instance.
    refused: BTreeMap<Refusal, u64>,
    /// Who sends adverts with a VRID of nobody here.
    strangers: Table<Refused>,
    /// When each kind of stray datagram was last told.
    told: BTreeMap<Refusal, Time>,
    /// When it was last told that a stranger speaks for an address of ours.
    told_clash: Option<Time>,
    stopped: bool,
    /// How often a binding has changed.
    rebound: u64,
    /// [`Beginning::opening`].
    opening: bool,
}

/// What a slot of the agenda stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Alarm {
    Instance(InstanceId),
    Plan(InstanceId),
    Script(ScriptId),
    Process(ProcessId),
    Lanes,
    Debounce,
}

impl Engine {
    /// Starts every instance of `spec` with `links` as the whole truth about the interfaces.
    pub fn new(spec: Arc<Spec>, links: Vec<Link>, now: Time) -> Engine {
        Engine::begin(spec, Beginning { links, ..Beginning::default() }, now)
    }

    /// Starts every instance of `spec` in this world.
    pub fn begin(spec: Arc<Spec>, world: Beginning, now: Time) -> Engine {
        let mut engine = Engine::blank(spec, world.links, world.opening, now);
        engine.set_wall(world.wall);
        engine.take_readings(&world.readings);
        engine.rebuild();
        engine.settle_groups_first(settle::Groups::All);
        engine.fire();
        engine
    }

    /// Nothing has begun yet.
    fn blank(spec: Arc<Spec>, links: Vec<Link>, opening: bool, now: Time) -> Engine {
        Engine {
            instances: spec.instances.iter().map(|instance| Instance::new(instance, opening, now)).collect(),
            around: Surroundings::new(&spec, links, now),
            groups: vec![Role::Init; spec.groups.len()],
            lanes: Lanes::default(),
            index: Index::default(),
            agenda: Agenda::default(),
            out: VecDeque::new(),
            now,
            not_before: now + spec.startup_delay,
            slept: None,
            catching_up: false,
            unsettled: BTreeSet::new(),
            stirred: BTreeSet::new(),
            leader: None,
            refused: BTreeMap::new(),
            strangers: Table::default(),
            attempts: Attempt::default(),
            runs: FxHashMap::default(),
            told: BTreeMap::new(),
            told_clash: None,
            stopped: false,
            rebound: 0,
            opening,
            spec,
        }
    }

    /// Fires everything that is due up to `now`, in order, then takes the news; between [`Input::Slept`] and the next
    /// [`Input::Tick`], nothing is due. A time that lies before one that was given already counts as that one: time does not
    /// go back.
    pub fn handle(&mut self, input: Input<'_>, now: Time) {
        if let Input::Slept { since } = input {
            return self.slept(since, now);
        }
        self.now = self.now.max(now);
        if self.stopped {
            return;
        }
        self.catching_up &= !matches!(input, Input::Tick | Input::Command(_));
        self.fire();
        let opening = matches!(input, Input::Socket { .. });
        match input {
            Input::Tick | Input::Slept { .. } => {}
            Input::Datagram { meta, bytes } => self.receive(meta, bytes),
            Input::Link(fact) => self.link(fact),
            Input::Tracked { tracker, value } => self.reread(tracker, value),
            Input::ScriptStarted { attempt } => {
                if let Some(script) = self.script_of(attempt) {
                    let now = self.now;
                    self.watch(script, |monitor, spec, _, _| monitor.started(spec, now));
                }
            }
            Input::ScriptExited { attempt, exit } => {
                if let Some(script) = self.script_of(attempt) {
                    self.script_ended(script, exit);
                }
            }
            Input::Socket { instance, state } => self.socket(instance, state),
            Input::Sent { instance, destination, failure } => self.sent(instance, destination, failure),
            Input::Applied { instance, outcome } => self.applied(instance, outcome),
            Input::WallClock(wall) => self.set_wall(wall),
            Input::Command(command) => self.command(command),
        }
        if opening {
            // The start of an instance waits for its socket.
            self.settle_groups_first(settle::Groups::New);
        } else {
            self.settle();
        }
        // News can move a deadline into the past: a priority that rises shortens a patience that has almost ended.
        self.fire();
    }

    /// Says that nothing was done since a deadline, if that was long enough for another router to lose patience. No time passes:
    /// what was heard meanwhile comes after this, with the times at which it was heard.
    fn slept(&mut self, since: Time, now: Time) {
        let patience = |spec: &crate::spec::InstanceSpec| {
            spec.interval.times(u64::from(spec.down_adverts.saturating_sub(1).max(1)))
        };
        self.catching_up = true;
        let by = now.since(since);
        if !self.stopped && self.spec.instances.iter().map(patience).min().is_some_and(|shortest| by >= shortest) {
            let again = self.slept.is_some_and(|(last, _)| now.since(last) < SLEPT_QUIET);
            self.slept = Some((now, by));
            // A busy machine with intervals of some milliseconds would have a line for each of them.
            if !again || by >= SLEPT_LONG {
                self.out.push_back(Action::Report(Event::Slept { by }));
            }
        }
    }

    /// What was heard before this was heard while nothing ran.
    fn awake(&self) -> Time {
        self.slept.map_or(Time::ZERO, |(awake, _)| awake)
    }

    /// A step of the clock moves every time that is shown to people; that two clocks are read one after the other does not.
    fn set_wall(&mut self, wall: Wall) {
        const STEP: u64 = 1_000;
        self.around.change(|facts| {
            let stepped = facts.wall.unix(wall.at).abs_diff(wall.unix_micros) >= STEP;
            facts.wall = wall;
            stepped
        });
    }

    fn socket(&mut self, id: InstanceId, state: SocketState) {
        if self.with(id, |instance, cx| instance.on_socket(state, cx)) == Some(true) {
            self.unsettled.insert(id);
            if !self.spec.groups.is_empty() && !self.somebody_begins() {
                let waiting = (0..).map(InstanceId).zip(&self.instances);
                self.unsettled.extend(waiting.filter(|(_, one)| one.role() == Role::Init).map(|(id, _)| id));
            }
        }
    }

    fn sent(&mut self, id: InstanceId, to: IpAddr, failure: Option<SendFailure>) {
        if self.with(id, |instance, cx| instance.on_sent(to, failure, cx)) == Some(true) {
            self.unsettled.insert(id);
        }
    }

    fn script_ended(&mut self, script: ScriptId, exit: Exit) {
        self.watch(script, |monitor, spec, _, out| monitor.ended(script, spec, exit, out));
    }

    /// Lets `act` work on one script, and sees to it afterwards that those who depend on its health, the agenda and the register
    /// of runs know. `act` answers whether the health that others see is different.
    fn watch(
        &mut self,
        id: ScriptId,
        act: impl FnOnce(&mut Monitor, &ScriptSpec, &mut Attempt, &mut VecDeque<Action>) -> bool,
    ) {
        let slot = self.slot(Alarm::Script(id));
        let attempt = |around: &Surroundings| around.scripts.get(id.index()).and_then(Monitor::attempt);
        let before = attempt(&self.around);
        let changed = self.around.change(|facts| {
            let script = facts.scripts.get_mut(id.index()).zip(self.spec.scripts.get(id.index()));
            script.is_some_and(|(monitor, spec)| act(monitor, spec, &mut self.attempts, &mut self.out))
        });
        if changed {
            self.unsettled.extend(self.index.of_tracker(Tracker::Script(id)));
        }
        let after = attempt(&self.around);
        if before != after {
            if let Some(before) = before {
                self.runs.remove(&before);
            }
            self.runs.extend(after.map(|after| (after, id)));
        }
        self.agenda.set(slot, self.around.scripts.get(id.index()).and_then(Monitor::deadline));
    }

    fn reread(&mut self, tracker: Tracker, value: TrackValue) {
        if self.take_reading(tracker, value) {
            self.unsettled.extend(self.index.of_tracker(tracker));
            if let Tracker::Process(id) = tracker {
                let at = self.around.board.process_deadline(id.index());
                self.agenda.set(self.slot(Alarm::Process(id)), at);
            }
        }
    }

    /// Readings that somebody recomputes everything after.
    fn take_readings(&mut self, readings: &Readings) {
        for (tracker, value) in readings {
            self.take_reading(*tracker, *value);
        }
    }

    /// True when the reading is different from before.
    fn take_reading(&mut self, tracker: Tracker, value: TrackValue) -> bool {
        let changed = self.around.change(|facts| facts.board.tell(&self.spec, tracker, value, self.now));
        if changed {
            self.out.push_back(Action::Report(Event::TrackerChanged { tracker, value }));
        }
        changed
    }

    /// The next thing to do; to be called until `None`. The order is the order that the world must see.
    pub fn poll(&mut self) -> Option<Action> {
        if self.out.is_empty() && self.out.capacity() > QUEUE_KEPT {
            // Thousands changed their state together, which they will not do again soon.
            self.out.shrink_to(QUEUE_KEPT);
        }
        // Nothing after this: an action that is looked at here is copied here.
        self.out.pop_front()
    }

    /// When to come back: [`Engine::deadline`] without the why, which a loop need not know. Never, if only news can change
    /// anything.
    pub fn due(&self) -> Time {
        self.agenda.next().map_or(Time::NEVER, |(at, _)| at)
    }

    /// When to come back, and why. `None`: only news can change anything.
    pub fn deadline(&self) -> Option<(Time, Wake)> {
        let (at, slot) = self.agenda.next()?;
        let wake = match self.alarm(slot) {
            Some(Alarm::Instance(id)) => {
                let spec = self.spec.instances.get(id.index());
                let instance = self.instances.get(id.index());
                instance
                    .zip(spec)
                    .and_then(|(instance, spec)| instance.deadline(id, spec))
                    .map_or(Wake::Other, |(_, wake)| wake)
            }
            Some(Alarm::Plan(_) | Alarm::Lanes) => Wake::Announce,
            Some(Alarm::Script(id)) => Wake::Script(id),
            Some(Alarm::Process(id)) => Wake::Process(id),
            Some(Alarm::Debounce) => Wake::Debounce,
            None => Wake::Other,
        };
        Some((at, wake))
    }

    /// Goes over to another Spec: what is the same router by identity keeps its state, counters and deadlines. A Spec
    /// that says the same yields no action at all.
    ///
    /// Goodbyes of instances that are gone come first, under their old ids. In `Own` and `Disown` ids are plain keys: a
    /// master whose id or claim changed is owned under its new id first, then every key that no master has is disowned;
    /// all of these are meant to be handed to the kernel layer together, so that an address that merely changes hands
    /// never leaves. Then comes [`Event::Reloaded`], and every id behind it is one of the new Spec.
    pub fn reload(&mut self, spec: Arc<Spec>, now: Time) {
        self.reload_with(spec, &Readings::new(), now);
    }

    /// [`Engine::reload`] when it is known already what the files and processes of the new Spec say.
    pub fn reload_with(&mut self, spec: Arc<Spec>, readings: &Readings, now: Time) {
        self.now = self.now.max(now);
        if self.stopped {
            return;
        }
        self.catching_up = false;
        self.fire();
        self.go_over(spec, readings);
        self.settle();
        self.fire();
    }

    /// The script that a run under way belongs to.
    pub fn script_of(&self, attempt: Attempt) -> Option<ScriptId> {
        self.runs.get(&attempt).copied()
    }

    /// Gives up the views that the last snapshot was made of, which are kept for whoever asks again.
    pub fn forget_views(&self) {
        self.instances.forget_views();
    }

    /// The read model at `now`.
    pub fn snapshot(&self, now: Time) -> Snapshot {
        self.view(now)
    }

    /// The sockets that Spec and links call for, each with the instances that hear and speak through it.
    pub fn ports(&self) -> Vec<(Port, Vec<InstanceId>)> {
        ports::ports(&self.spec, &self.instances)
    }

    /// The MTU of an interface in bytes, if there is one of this index.
    pub fn mtu(&self, index: u32) -> Option<u32> {
        self.around.links.mtu(index)
    }

    /// A number that differs whenever [`Engine::ports`] may answer differently.
    pub fn ports_version(&self) -> u64 {
        self.rebound
    }

    /// What the engine is told to be at present.
    pub fn spec(&self) -> &Arc<Spec> {
        &self.spec
    }

    /// Lets `act` work on one instance, and sees to it afterwards that the agenda and the group know.
    fn with<R>(&mut self, id: InstanceId, act: impl FnOnce(&mut Instance, &mut Cx<'_>) -> R) -> Option<R> {
        let awake = self.awake();
        let instance = self.instances.get_mut(id.index())?;
        let spec = self.spec.instances.get(id.index())?;
        let (now, wall, not_before) = (self.now, self.around.wall, self.not_before);
        let mut cx = Cx { id, spec, now, wall, not_before, awake, out: &mut self.out };
        let (before, plan_before) = ((instance.role(), instance.wants_master()), instance.plan.deadline());
        let result = act(instance, &mut cx);
        let after = (instance.role(), instance.wants_master());
        let plan_at = instance.plan.deadline();
        self.agenda.set(id.0, instance.deadline(id, spec).map(|(at, _)| at));
        if before != after {
            if let Some(group) = spec.group {
                self.stirred.insert(group);
                self.leader = Some(id);
            }
            if before.0 == Role::Master && self.index.is_paced(id) {
                self.lanes.remove(id);
                let at = self.lanes.deadline();
                self.agenda.set(self.slot(Alarm::Lanes), at);
            }
        }
        if plan_at != plan_before {
            self.agenda.set(self.slot(Alarm::Plan(id)), plan_at);
        }
        Some(result)
    }

    /// Everything that is due, in the order of its time.
    fn fire(&mut self) {
        if self.catching_up {
            return;
        }
        while let Some((at, slot)) = self.agenda.next() {
            if at > self.now {
                break;
            }
            match self.alarm(slot) {
                Some(Alarm::Instance(id)) => {
                    let grouped = self.spec.instances.get(id.index()).is_some_and(|spec| spec.group.is_some());
                    if self.with(id, |instance, cx| instance.on_deadline(grouped, cx)) == Some(true) {
                        self.unsettled.insert(id);
                    }
                }
                Some(Alarm::Plan(id)) => {
                    let now = self.now;
                    let due =
                        self.with(id, |instance, cx| (instance.plan.due(&cx.spec.garp, now), instance.plan.deadline()));
                    let (rounds, at) = due.unwrap_or_default();
                    self.agenda.set(slot, at);
                    for rounds in rounds {
                        self.announce(id, &rounds);
                    }
                }
                Some(Alarm::Script(id)) => {
                    let now = self.now;
                    self.watch(id, |monitor, spec, attempts, out| monitor.due(id, spec, now, attempts, out));
                }
                Some(Alarm::Process(id)) => {
                    self.around.change(|facts| facts.board.process_due(&self.spec, id.index(), self.now));
                    self.agenda.set(slot, self.around.board.process_deadline(id.index()));
                    self.unsettled.extend(self.index.of_tracker(Tracker::Process(id)));
                }
                Some(Alarm::Lanes) => self.run_lanes(),
                Some(Alarm::Debounce) => {
                    let changed = self.around.change(|facts| facts.links.flip(self.now));
                    self.links_changed(changed);
                }
                None => self.agenda.set(slot, None),
            }
            self.settle();
            if self.agenda.next().is_some_and(|next| next == (at, slot)) {
                debug_assert!(false, "{slot} is due again at {at:?} after it was served");
                self.agenda.set(slot, Some(self.now + Interval::from_micros(1)));
            }
        }
    }

    fn slot(&self, alarm: Alarm) -> Slot {
        let (instances, scripts) = (self.spec.instances.len() as u32, self.spec.scripts.len() as u32);
        let processes = self.spec.processes.len() as u32;
        match alarm {
            Alarm::Instance(id) => id.0,
            Alarm::Plan(id) => instances + id.0,
            Alarm::Script(id) => 2 * instances + id.0,
            Alarm::Process(id) => 2 * instances + scripts + id.0,
            Alarm::Lanes => 2 * instances + scripts + processes,
            Alarm::Debounce => 2 * instances + scripts + processes + 1,
        }
    }

    fn alarm(&self, slot: Slot) -> Option<Alarm> {
        let blocks = [
            self.spec.instances.len(),
            self.spec.instances.len(),
            self.spec.scripts.len(),
            self.spec.processes.len(),
            1,
            1,
        ];
        let mut rest = slot;
        for (block, length) in blocks.into_iter().enumerate() {
            if (rest as usize) < length {
                return Some(match block {
                    0 => Alarm::Instance(InstanceId(rest)),
                    1 => Alarm::Plan(InstanceId(rest)),
                    2 => Alarm::Script(ScriptId(rest)),
                    3 => Alarm::Process(ProcessId(rest)),
                    4 => Alarm::Lanes,
                    _ => Alarm::Debounce,
                });
            }
            rest -= length as u32;
        }
        None
    }

    /// Makes what follows from Spec and links again: tables, agenda, everybody's standing.
    fn rebuild(&mut self) {
        self.rebound += 1;
        self.index = Index::new(&self.spec, &mut self.lanes);
        for known in self.around.links.iter() {
            self.index.note_running(&known.link.name, known.running);
        }
        self.agenda.clear();
        for (position, instance) in self.instances.iter().enumerate() {
            let id = InstanceId(position as u32);
            let spec = self.spec.instances.get(position);
            if let Some(spec) = spec {
                settle::hear(&mut self.index, id, spec, &instance.binding);
            }
            self.agenda.set(id.0, spec.and_then(|spec| instance.deadline(id, spec)).map(|(at, _)| at));
            self.agenda.set(self.slot(Alarm::Plan(id)), instance.plan.deadline());
            self.unsettled.insert(id);
        }
        self.runs.clear();
        for (position, monitor) in self.around.scripts.iter().enumerate() {
            let id = ScriptId(position as u32);
            self.agenda.set(self.slot(Alarm::Script(id)), monitor.deadline());
            self.runs.extend(monitor.attempt().map(|attempt| (attempt, id)));
        }
        for position in 0..self.spec.processes.len() {
            let slot = self.slot(Alarm::Process(ProcessId(position as u32)));
            self.agenda.set(slot, self.around.board.process_deadline(position));
        }
        self.agenda.set(self.slot(Alarm::Lanes), self.lanes.deadline());
        self.agenda.set(self.slot(Alarm::Debounce), self.around.links.deadline());
        self.stirred.extend((0..self.spec.groups.len() as u32).map(GroupId));
    }

    fn link(&mut self, fact: LinkFact) {
        let fact = match fact {
            LinkFact::Healed { instance, addresses } => return self.healed(instance, addresses),
            LinkFact::Swept { instance, item } => return self.swept(instance, item),
            other => other,
        };
        let passing = match &fact {
            LinkFact::Address { address, .. } => self.index.is_passing(address.address),
            LinkFact::AddressGone { address, .. } => self.index.is_passing(*address),
            LinkFact::Dump(_)
            | LinkFact::Changed(_)
            | LinkFact::Gone { .. }
            | LinkFact::Healed { .. }
            | LinkFact::Swept { .. } => false,
        };
        let readdressed = self.around.links.readdressed(&fact);
        let (spec, instances) = (&self.spec, &self.instances);
        let delays = |name: &IfName| settle::debounce(spec, instances, name);
        let changed = self.around.change(|facts| {
            let changed = facts.links.apply(fact, self.now, &delays);
            if passing { BTreeSet::new() } else { changed }
        });
        if !passing {
            self.links_changed(changed);
        }
        if !readdressed.is_empty() {
            self.readdressed(&readdressed);
        }
    }

    /// Something is different about these interfaces.
    fn links_changed(&mut self, names: BTreeSet<IfName>) {
        self.agenda.set(self.slot(Alarm::Debounce), self.around.links.deadline());
        for name in names {
            let running = self.around.links.is_running(&name);
            if self.index.note_running(&name, running) {
                self.out.push_back(Action::Report(Event::LinkChanged { name: name.clone(), running }));
            }
            self.unsettled.extend(self.index.of_interface(&name));
        }
    }
}
