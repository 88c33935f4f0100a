//! Virtual servers in a world: a real [`Balancer`] beside the engine of each node that has any, a modelled IPVS table, and
//! backends that are up, slow, refuse, answer 503, hang or flap.
//!
//! What the world does with a balancer's wishes is what the daemon's loop does: probes are answered after a time, pictures
//! are carried out in their order and confirmed, or refused. Backends belong to the world, not to a node: who probes one
//! from two nodes finds the same.

mod backends;
mod watch;

pub(super) use backends::{Backends, dead};

use super::scenario::Mood;
use super::world::{Happening, WAKE, World};
use crate::balance::Balancer;
use crate::balance::io::{
    Action, Attempt, Beginning, Command, Event, Finding, Input, Outcome, Picture, ServiceKey, TrackValue, Tracker,
    Version,
};
use crate::balance::snapshot::Snapshot;
use crate::observe::balance::sentences;
use crate::sim::law::Law;
use crate::spec::balance::LvsSpec;
use crate::time::{Interval, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use watch::Watch;

/// A request to the modelled table, when nothing slows it down.
const REQUEST: Interval = Interval::from_micros(200);
/// What the modelled table says when it refuses: ENOMEM.
const REFUSAL: i32 = 12;
/// While a process is stopped, its news wait for this long and then look again.
const WAITING: Interval = Interval::from_millis(10);

/// What the simulator needs of a balancer; tests put a broken one in front of it to see that the laws notice.
pub trait Director {
    fn handle(&mut self, input: Input, now: Time);
    fn poll(&mut self) -> Option<Action>;
    fn deadline(&self) -> Option<Time>;
    fn reload(&mut self, spec: Arc<LvsSpec>, now: Time);
    fn snapshot(&self, now: Time) -> Snapshot;
}

impl Director for Balancer {
    fn handle(&mut self, input: Input, now: Time) {
        Balancer::handle(self, input, now);
    }
    fn poll(&mut self) -> Option<Action> {
        Balancer::poll(self)
    }
    fn deadline(&self) -> Option<Time> {
        Balancer::deadline(self)
    }
    fn reload(&mut self, spec: Arc<LvsSpec>, now: Time) {
        Balancer::reload(self, spec, Vec::new(), now);
    }
    fn snapshot(&self, now: Time) -> Snapshot {
        Balancer::snapshot(self, now)
    }
}

/// Makes the balancer of a node that starts.
pub type Direct<'a> = dyn Fn(Arc<LvsSpec>, Beginning, u64, Time) -> Box<dyn Director> + 'a;

/// Makes real balancers.
pub fn direct(spec: Arc<LvsSpec>, world: Beginning, seed: u64, now: Time) -> Box<dyn Director> {
    Box::new(Balancer::begin(spec, world, seed, now))
}

/// What a node has of virtual servers.
#[derive(Default)]
pub(super) struct Post {
    /// `None`: no daemon runs, or it has no virtual servers.
    pub(super) director: Option<Box<dyn Director>>,
    /// The modelled IPVS table; a killed daemon leaves it.
    pub(super) table: BTreeMap<ServiceKey, Picture>,
    /// Requests that are not carried out yet.
    pub(super) open: u32,
    busy_until: Time,
    /// The earliest tick that is in the queue.
    tick: Option<Time>,
    running: BTreeSet<Attempt>,
    /// Virtual addresses as the balancer was told.
    here: BTreeSet<IpAddr>,
    /// A reload that changes nothing of virtual servers is under way.
    still: bool,
    pub(super) watch: Watch,
}

/// What a balancer is still to be told, or its table to hold.
#[derive(Clone, Debug)]
pub(super) enum Errand {
    Tick,
    Probed(Attempt, Finding),
    Serve(ServiceKey, Version, Arc<Picture>),
    Withdraw(ServiceKey),
    Flush,
}

impl World<'_> {
    /// The balancer of a node begins its life.
    pub(super) fn begin_balance(&mut self, node: usize) {
        let (now, direct, seed) = (self.now, self.direct, self.scenario.seed);
        let Some(n) = self.nodes.get_mut(node) else { return };
        let spec = n.spec.balance.clone();
        if spec.services.is_empty() {
            return;
        }
        let files = n.spec.files.iter().zip(&n.files);
        let files =
            files.map(|(file, value)| (Tracker::File(file.name.clone()), TrackValue::Number(i64::from(*value))));
        // What does not run counts as up here; what does speaks for itself, as soon as the balancer is there.
        let still = n.spec.bfds.iter().filter(|bfd| !n.spec.sessions.iter().any(|session| session.name == bfd.name));
        let sessions = still.map(|bfd| (Tracker::Bfd(bfd.name.clone()), TrackValue::Up(true)));
        n.post.here = n.kernel.held.keys().copied().collect();
        let world = Beginning {
            addresses: n.post.here.iter().map(|address| (1, *address)).collect(),
            trackers: files.chain(sessions).collect(),
            ..Beginning::default()
        };
        n.post.running.clear();
        (n.post.open, n.post.tick, n.post.busy_until) = (0, None, now);
        // What an earlier life left and this one does not want goes: the daemon compares at its start.
        n.post.table.clear();
        n.post.director = Some(direct(spec, world, seed.wrapping_add(node as u64), now));
        n.post.watch = Watch::begun(now);
        self.direct_on(node);
        for (name, up) in self.session_levels(node) {
            self.tell_director(node, Input::Tracked { tracker: Tracker::Bfd(name), value: TrackValue::Up(up) });
        }
    }

    /// The daemon of a node is no more.
    pub(super) fn end_balance(&mut self, node: usize) {
        let Some(n) = self.nodes.get_mut(node) else { return };
        n.post.director = None;
        n.post.running.clear();
    }

    pub(super) fn stop_balance(&mut self, node: usize) {
        self.tell_director(node, Input::Command(Command::Stop { keep: false }));
    }

    pub(super) fn tell_director(&mut self, node: usize, input: Input) {
        let now = self.now;
        let Some(director) = self.nodes.get_mut(node).and_then(|n| n.post.director.as_mut()) else { return };
        director.handle(input, now);
        self.direct_on(node);
    }

    /// What `ha_suspend` goes by: the virtual addresses that are on the node.
    pub(super) fn tell_addresses(&mut self, node: usize) {
        let Some(n) = self.nodes.get_mut(node).filter(|n| n.post.director.is_some()) else { return };
        let now: BTreeSet<IpAddr> = n.kernel.held.keys().copied().collect();
        let before = std::mem::replace(&mut n.post.here, now.clone());
        for address in before.symmetric_difference(&now).copied() {
            self.tell_director(node, Input::Address { interface: 1, address, here: now.contains(&address) });
        }
    }

    pub(super) fn reload_balance(&mut self, node: usize, spec: Arc<LvsSpec>) {
        let now = self.now;
        // What was due before is not the reload's doing.
        self.tell_director(node, Input::Tick);
        let Some(n) = self.nodes.get_mut(node) else { return };
        let Some(director) = n.post.director.as_mut() else { return };
        n.post.still = spec == n.spec.balance;
        director.reload(spec, now);
        self.direct_on(node);
        if let Some(n) = self.nodes.get_mut(node) {
            n.post.still = false;
        }
    }

    /// An errand of a node's balancer is due.
    pub(super) fn run_errand(&mut self, node: usize, errand: Errand) {
        let now = self.now;
        let Some(n) = self.nodes.get_mut(node) else { return };
        if n.paused {
            let epoch = n.epoch;
            return self.at(now + WAITING, Happening::Balance { node, epoch, errand });
        }
        match errand {
            Errand::Tick => {
                n.post.tick = n.post.tick.filter(|at| *at > now);
                self.tell_director(node, Input::Tick);
            }
            Errand::Probed(attempt, finding) => {
                if n.post.running.remove(&attempt) {
                    self.tell_director(node, Input::Probed { attempt, finding });
                }
            }
            Errand::Serve(service, version, picture) => {
                n.post.open = n.post.open.saturating_sub(1);
                let refused = n.kernel.mood == Mood::Failing;
                let mut held = (*picture).clone();
                if refused {
                    let there =
                        n.post.table.get(&service).map(|picture| picture.destinations.clone()).unwrap_or_default();
                    held.destinations.retain(|place, _| there.contains_key(place));
                    let serves = |picture: &Picture| picture.destinations.values().any(|server| server.weight > 0);
                    // What was to serve is not there: nothing that serves is taken out for it.
                    if serves(&picture) && !serves(&held) {
                        held.destinations.extend(there);
                    }
                }
                let missing = picture.destinations.keys().filter(|place| !held.destinations.contains_key(place));
                let outcome = Outcome { service: None, refused: missing.map(|place| (*place, REFUSAL)).collect() };
                n.post.table.insert(service, held);
                self.tell_director(node, Input::Applied { service, version, outcome });
            }
            Errand::Withdraw(service) => {
                n.post.open = n.post.open.saturating_sub(1);
                n.post.table.remove(&service);
            }
            Errand::Flush => {
                n.post.open = n.post.open.saturating_sub(1);
                n.post.table.clear();
            }
        }
    }

    /// Carries out everything that a balancer wants, and sees when it wants to be woken.
    fn direct_on(&mut self, node: usize) {
        let now = self.now;
        for count in 0.. {
            let Some(n) = self.nodes.get_mut(node) else { return };
            let Some(action) = n.post.director.as_mut().and_then(|director| director.poll()) else { break };
            if n.post.still && !matches!(action, Action::Report(_)) {
                let text = format!("{}: a reload of the same virtual servers gave {action:?}", n.name);
                self.oracle.blame(Law::ReloadMovesNothing, now, text);
            }
            if count > super::world::ENDLESS {
                return self.oracle.endless(node, now);
            }
            self.carry_out_direction(node, action);
        }
        let Some(n) = self.nodes.get_mut(node) else { return };
        let Some(deadline) = n.post.director.as_ref().and_then(|director| director.deadline()) else { return };
        let epoch = n.epoch;
        if n.post.tick.is_none_or(|tick| tick > deadline + n.late + WAKE || tick <= now) {
            let late = n.late.max(WAKE);
            let at = deadline.max(now) + self.random.interval(Interval::ZERO, late);
            n.post.tick = Some(at);
            self.at(at, Happening::Balance { node, epoch, errand: Errand::Tick });
        }
        self.oracle.drained(node, Some(deadline), now);
    }

    fn carry_out_direction(&mut self, node: usize, action: Action) {
        let now = self.now;
        match action {
            Action::Probe { attempt, probe, .. } => {
                let delay = self.random.interval(Interval::from_millis(1), Interval::from_millis(4));
                let Some(n) = self.nodes.get_mut(node) else { return };
                let (finding, takes) = self.backends.answer(&n.spec.balance, &probe, delay);
                let epoch = n.epoch;
                n.post.running.insert(attempt);
                self.at(now + takes, Happening::Balance { node, epoch, errand: Errand::Probed(attempt, finding) });
            }
            Action::Abandon(attempt) => {
                if let Some(n) = self.nodes.get_mut(node) {
                    n.post.running.remove(&attempt);
                }
            }
            Action::Serve { service, version, picture } => {
                self.ask_table(node, Errand::Serve(service, version, picture))
            }
            Action::Withdraw(service) => self.ask_table(node, Errand::Withdraw(service)),
            Action::Flush => self.ask_table(node, Errand::Flush),
            Action::Marks(_) | Action::SyncDaemon(_) | Action::Timeouts(_) => {}
            Action::Report(event) => self.tell_of(node, &event),
        }
    }

    fn ask_table(&mut self, node: usize, errand: Errand) {
        let now = self.now;
        let Some(n) = self.nodes.get_mut(node) else { return };
        let takes = match n.kernel.mood {
            Mood::Slow(by) => by,
            Mood::Well | Mood::Failing => REQUEST,
        };
        n.post.open += 1;
        n.post.busy_until = n.post.busy_until.max(now) + takes;
        let (at, epoch) = (n.post.busy_until, n.epoch);
        self.at(at, Happening::Balance { node, epoch, errand });
    }

    fn tell_of(&mut self, node: usize, event: &Event) {
        let now = self.now;
        if !self.chronicle.record {
            return;
        }
        for (_, text) in sentences(event) {
            self.chronicle.say(now, node, &text);
        }
    }

    /// Looks at every node's virtual servers.
    pub(super) fn look_at_servers(&mut self) {
        let (now, mut blame) = (self.now, None);
        for position in 0..self.nodes.len() {
            let Some(n) = self.nodes.get_mut(position).filter(|n| n.post.director.is_some()) else { continue };
            let mut watch = std::mem::take(&mut n.post.watch);
            let found = self.nodes.get(position).and_then(|n| watch.look(n, &self.backends, &self.oracle.bounds, now));
            blame = blame.or(found);
            if let Some(n) = self.nodes.get_mut(position) {
                n.post.watch = watch;
            }
        }
        if let Some((law, text)) = blame {
            self.oracle.blame(law, now, text);
        }
    }
}
