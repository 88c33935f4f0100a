//! BFD in a world of virtual routers: each node's engine of sessions beside its router, its packets over the same wires,
//! its levels into the router's trackers, a [`Watch`] beside it.
//!
//! The other end is another node's, or a gateway's of [`super::far`]; only sessions that no configuration has (another tracker's
//! name for one) count as up. A stopped process
//! finds what came meanwhile in its sockets, with the times of arrival. Cuts, loss, delay, links and crashes act on
//! sessions as on adverts.

use super::Sessions;
use super::far::sourced;
use super::watch::Watch;
use crate::bfd::Engine;
use crate::bfd::io::{Action, Address, Beginning, Command, Event, Input, Link, Local, RxMeta, SessionId};
use crate::sim::law::Law;
use crate::sim::node::Node;
use crate::sim::world::{Happening, WAKE, World};
use crate::spec::bfd::Session;
use crate::spec::{BfdId, TieTarget};
use crate::time::{Interval, Time};
use crate::vrrp::io::{self, Fault, LinkFact, Readings, TrackValue, Tracker};
use crate::vrrp::snapshot::Snapshot;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The sessions of one node whose daemon runs.
pub(in crate::sim) struct Seat {
    engine: Box<dyn Sessions>,
    watch: Watch,
    sessions: Vec<Session>,
    outlets: BTreeMap<SessionId, (IpAddr, IpAddr, u8, bool)>,
    wake: Option<Time>,
    waiting: Vec<(Time, RxMeta, Vec<u8>)>,
}

impl World<'_> {
    /// The daemon of a node begins: its sessions, and what its trackers read at first.
    pub(in crate::sim) fn start_sessions(&mut self, node: usize) -> Readings {
        let now = self.now;
        let Some(n) = self.nodes.get(node) else { return Readings::new() };
        let sessions: Vec<Session> = n.spec.sessions.iter().map(sourced).collect();
        let runs = |name: &str| sessions.iter().any(|session| *session.name == *name);
        let reading =
            |(id, bfd): (u32, &crate::spec::BfdSpec)| (Tracker::Bfd(BfdId(id)), TrackValue::Up(!runs(&bfd.name)));
        let readings = (0..).zip(&n.spec.bfds).map(reading).collect();
        if sessions.is_empty() {
            return readings;
        }
        let holder = n.session_link().unwrap_or_default();
        let links: Vec<Link> = n.kernel.links.iter().map(|own| link(own, holder, &sessions)).collect();
        // A server without VRRP has no interface that anybody wrote down.
        let links = Some(links).filter(|links| !links.is_empty());
        let world = Beginning { seed: self.random.number(), links, now };
        let engine: Box<dyn Sessions> = Box::new(Engine::begin(&sessions, world));
        let watch = Watch::new(&sessions, WAKE);
        let seat = Seat { engine, watch, sessions, outlets: BTreeMap::new(), wake: None, waiting: Vec::new() };
        if let Some(n) = self.nodes.get_mut(node) {
            n.seat = Some(Box::new(seat));
        }
        readings
    }

    /// What checks read of each session that runs on a node.
    pub(in crate::sim) fn session_levels(&self, node: usize) -> Vec<(Box<str>, bool)> {
        let Some(seat) = self.nodes.get(node).and_then(|n| n.seat.as_ref()) else { return Vec::new() };
        let follows = |name: &str| seat.sessions.iter().any(|session| *session.name == *name && session.for_checkers);
        let levels = seat.engine.levels().into_iter().filter(|(name, _)| follows(name));
        levels.map(|(name, level)| (name, level.up)).collect()
    }

    /// Its first words, once the router is there to be told of levels.
    pub(in crate::sim) fn open_sessions(&mut self, node: usize) {
        let now = self.now;
        let actions = self.drain_sessions(node);
        if let Some(seat) = self.seat(node) {
            let (snapshot, deadline) = (seat.engine.snapshot(now), seat.engine.deadline());
            seat.watch.began(now, &actions, snapshot, deadline);
            self.carry_sessions(node, actions);
        }
    }

    /// What must be so of the sessions that the trackers of a node follow, once the world is calm: each is up if nothing
    /// is in its way, and what the router counts is what the session says.
    pub(in crate::sim) fn judge_sessions(
        &self,
        node: &Node,
        number: usize,
        router: &Snapshot,
    ) -> Option<(Law, String)> {
        let seat = node.seat.as_ref().filter(|_| node.awake())?;
        let levels = seat.engine.levels();
        for (spec, view) in node.spec.instances.iter().zip(&router.instances) {
            for tie in &spec.ties {
                let TieTarget::Bfd(id) = tie.on else { continue };
                let name = &node.spec.bfds.get(id.index())?.name;
                let (_, level) = levels.iter().find(|(own, _)| own == name)?;
                let session = seat.sessions.iter().find(|own| own.name == *name)?;
                if !level.up && level.held.is_none() && self.could_be_up(number, session) {
                    let text = format!("{}: session {name} is down, and nothing is in its way", node.name);
                    return Some((Law::Session(super::Law::ComesUp), text));
                }
                let faulty = view.faults.iter().any(|fault| matches!(fault, Fault::Tracker(own) if own == name));
                if tie.weight == 0 && faulty != (level.up == tie.reverse) {
                    let text = format!(
                        "{} {}: session {name} reads {level:?}, and its faults are {:?}",
                        node.name, view.name, view.faults
                    );
                    return Some((Law::Session(super::Law::Level), text));
                }
            }
        }
        None
    }

    fn seat(&mut self, node: usize) -> Option<&mut Seat> {
        self.nodes.get_mut(node)?.seat.as_deref_mut()
    }

    fn drain_sessions(&mut self, node: usize) -> Vec<Action> {
        let Some(seat) = self.seat(node) else { return Vec::new() };
        std::iter::from_fn(|| seat.engine.poll()).take(10_000).collect()
    }

    fn tell_sessions(&mut self, node: usize, input: &Input<'_>, at: Time) {
        let Some(seat) = self.seat(node) else { return };
        seat.engine.handle(input.clone(), at);
        let actions = self.drain_sessions(node);
        let judged = self.judged;
        let Some(seat) = self.seat(node) else { return };
        if judged {
            let (snapshot, deadline) = (seat.engine.snapshot(at), seat.engine.deadline());
            seat.watch.turn(input, at, &actions, snapshot, deadline);
        }
        if let Some(violation) = seat.watch.violations.first() {
            let (law, text) = (Law::Session(violation.law), violation.text.clone());
            self.oracle.blame(law, at, text);
        }
        self.carry_sessions(node, actions);
    }

    fn carry_sessions(&mut self, node: usize, actions: Vec<Action>) {
        let now = self.now;
        for action in actions {
            match action {
                Action::Listen { .. } | Action::Close(_) => {}
                Action::Open(session, outlet) | Action::Retune(session, outlet) => {
                    let Some(seat) = self.seat(node) else { return };
                    let Some(source) = outlet.source else { continue };
                    let known = (source, outlet.neighbor, outlet.ttl, outlet.multihop);
                    if seat.outlets.insert(session, known).is_none() {
                        self.tell_sessions(node, &Input::Opened { session, outcome: Ok(49_152) }, now);
                    }
                }
                Action::Send(session, bytes) => self.send_session(node, session, &bytes),
                Action::Report(event) => self.session_event(node, &event),
            }
        }
        self.wake_sessions(node);
    }

    fn wake_sessions(&mut self, node: usize) {
        let now = self.now;
        let late = self.nodes.get(node).map_or(WAKE, |n| n.late.max(WAKE));
        let Some(seat) = self.seat(node) else { return };
        let due = seat.engine.deadline().map(|at| at.max(now));
        let earlier = seat.wake.is_some_and(|wake| due.is_some_and(|due| wake >= due && wake <= due + late));
        if earlier {
            return;
        }
        let wake = due.map(|due| due + self.random.interval(Interval::ZERO, late));
        let Some(n) = self.nodes.get_mut(node) else { return };
        let epoch = n.epoch;
        if let Some(seat) = n.seat.as_deref_mut() {
            seat.wake = wake;
        }
        if let Some(at) = wake {
            self.at(at, Happening::Session { node, epoch });
        }
    }

    /// A session's alarm clock.
    pub(in crate::sim) fn sessions_due(&mut self, node: usize, epoch: u64) {
        let now = self.now;
        let Some(n) = self.nodes.get_mut(node).filter(|n| n.epoch == epoch && !n.paused) else { return };
        let Some(seat) = n.seat.as_deref_mut().filter(|seat| seat.wake.is_some_and(|wake| wake <= now)) else { return };
        seat.wake = None;
        self.tell_sessions(node, &Input::Tick, now);
    }

    fn send_session(&mut self, node: usize, session: SessionId, bytes: &[u8]) {
        let Some((source, neighbor, ttl, multihop)) =
            self.seat(node).and_then(|seat| seat.outlets.get(&session).copied())
        else {
            return;
        };
        let Some(n) = self.nodes.get(node) else { return };
        let index = n.session_link();
        if index.is_some_and(|index| !n.carries(index)) {
            return;
        }
        let meta = RxMeta { source, destination: Some(neighbor), ifindex: 0, ttl: Some(ttl), multihop, cut: false };
        self.send_far(node, neighbor, meta, bytes);
        let segment = index.and_then(|index| self.nodes.get(node)?.wire(index));
        let Some(segment) = segment.filter(|_| self.passes(source, neighbor)) else { return };
        for other in 0..self.nodes.len() {
            let Some(o) = self.nodes.get(other) else { continue };
            let there = o.seat.as_ref().is_some_and(|seat| seat.sessions.iter().any(|s| s.source == Some(neighbor)));
            if other == node || !there || !self.lan.hears(node, other, segment) {
                continue;
            }
            let delays: Vec<_> = self.lan.fates(&mut self.random).collect();
            for delay in delays {
                let at = self.now + delay;
                self.at(at, Happening::Packet { node: other, meta, bytes: bytes.to_vec() });
            }
        }
    }

    /// Does the session between two servers get through from this address to that one, as far as its own path goes?
    pub(super) fn passes(&self, source: IpAddr, neighbor: IpAddr) -> bool {
        self.paths.iter().all(|((of, name), way)| {
            let session = self.nodes.get(*of).and_then(|n| n.spec.sessions.iter().find(|own| own.name == *name));
            let ends = session.map(|own| (own.source, own.neighbor));
            let says = ends == Some((Some(source), neighbor));
            let hears = ends == Some((Some(neighbor), source));
            !(says && way.is_mute() || hears && way.is_deaf())
        })
    }

    /// A packet reaches a node.
    pub(in crate::sim) fn session_packet(&mut self, node: usize, meta: RxMeta, bytes: Vec<u8>) {
        let now = self.now;
        let Some(n) = self.nodes.get_mut(node) else { return };
        let reached = n.session_link().is_none_or(|index| n.carries(index));
        let paused = n.paused;
        let Some(seat) = n.seat.as_deref_mut().filter(|_| reached) else { return };
        if paused {
            return seat.waiting.push((now, meta, bytes));
        }
        self.tell_sessions(node, &Input::Packet { meta, bytes: &bytes }, now);
    }

    /// SIGCONT: what waits in the sockets comes first, as it arrived.
    pub(in crate::sim) fn resume_sessions(&mut self, node: usize) {
        let now = self.now;
        let Some(seat) = self.seat(node) else { return };
        let waiting = std::mem::take(&mut seat.waiting);
        if let Some(due) = seat.engine.deadline().filter(|due| *due < now) {
            seat.engine.woken_late(now, now.since(due));
        }
        seat.watch.told_late(true);
        for (at, meta, bytes) in waiting {
            self.tell_sessions(node, &Input::Packet { meta, bytes: &bytes }, at);
        }
        self.tell_sessions(node, &Input::Tick, now);
        if let Some(seat) = self.seat(node) {
            seat.watch.told_late(false);
        }
    }

    /// The daemon stops in order: peers are told not to rely on it.
    pub(in crate::sim) fn stop_sessions(&mut self, node: usize) {
        let now = self.now;
        let Some(seat) = self.seat(node) else { return };
        seat.engine.handle(Input::Command(Command::Stop), now);
        for action in self.drain_sessions(node) {
            if let Action::Send(session, bytes) = action {
                self.send_session(node, session, &bytes);
            }
        }
        if let Some(n) = self.nodes.get_mut(node) {
            n.seat = None;
        }
    }

    /// A reload, which edits instances and no session.
    pub(in crate::sim) fn reload_sessions(&mut self, node: usize) {
        let now = self.now;
        self.tell_sessions(node, &Input::Tick, now);
        let Some(seat) = self.seat(node) else { return };
        let sessions = seat.sessions.clone();
        seat.engine.reload(&sessions, now);
        let actions = self.drain_sessions(node);
        let judged = self.judged;
        if let Some(seat) = self.seat(node).filter(|_| judged) {
            let (snapshot, deadline) = (seat.engine.snapshot(now), seat.engine.deadline());
            seat.watch.reloaded(&sessions, now, &actions, snapshot, deadline);
        }
        self.carry_sessions(node, actions);
    }

    pub(in crate::sim) fn session_link_changed(&mut self, node: usize, fact: &LinkFact) {
        let local = match fact {
            LinkFact::Changed(link) => {
                Local::Changed { index: link.index, name: link.name.clone(), running: link.running && link.up }
            }
            _ => return,
        };
        let now = self.now;
        self.tell_sessions(node, &Input::Local(local), now);
    }

    fn session_event(&mut self, node: usize, event: &Event) {
        let now = self.now;
        match event {
            Event::Became { name, from, to, why, .. } => {
                self.chronicle.say(now, node, &format!("BFD session {name}: {from} became {to}: {why}"));
            }
            Event::LevelChanged { name, level } => self.tell_level(node, name, level.up),
            _ => {}
        }
    }
}

/// After the last disturbance, until what trackers read of a session does not change any more: what is left of it may
/// have to expire at both ends, it comes up within two idle intervals, and a level that was kept is kept for three.
pub(in crate::sim) fn settling(session: &Session) -> Interval {
    let detection = session.min_rx.max(session.min_tx).times(session.multiplier.into());
    detection.times(2) + session.idle_tx.times(5)
}

/// An interface as sessions see it: all their sources are on one, with a subnet that holds every neighbour.
fn link(own: &io::Link, holder: u32, sessions: &[Session]) -> Link {
    let sources = sessions.iter().filter_map(|session| session.source);
    let addresses = sources.map(|address| Address { address, prefix: 0, usable: true });
    Link {
        index: own.index,
        name: own.name.clone(),
        running: own.running && own.up,
        addresses: if own.index == holder { addresses.collect() } else { Vec::new() },
    }
}
