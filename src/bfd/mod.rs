//! Bidirectional forwarding detection (RFC 5880, 5881, 5883), asynchronous mode; deterministic. See [`io`] for the whole
//! vocabulary and [`crate::spec::bfd`] for what it is told to be.
//!
//! The engine is told facts with a time ([`Engine::handle`]) and answers with actions ([`Engine::poll`]). It has no
//! socket, no clock and no randomness of its own: jitter and discriminators come from a seed that it is given. Sessions
//! come from the configuration alone, never from a packet, so what arrives cannot make anything grow.
//!
//! Inside: time first (what is due is served in the order of its time), then the news. A packet goes through [`demux`],
//! which finds its session or refuses it, to [`session`], where the one setter of state is. Refused packets change
//! nothing but counters.
//!
//! Not built, on purpose: Echo (0 is announced), demand of our own (the peer's is honoured), authentication (refused).

mod demux;
pub mod handover;
pub mod io;
mod places;
pub mod reload;
mod session;
pub mod snapshot;

pub use session::{Counters, judge};

use crate::agenda::Agenda;
use crate::random::Random;
use crate::spec;
use crate::time::{Interval, Time};
use demux::Index;
use io::{Action, Beginning, Command, Event, Input, Obstacle, Refusal, RxMeta, SessionId};
use places::Places;
use session::{Cx, Session};
use std::collections::{BTreeMap, VecDeque};

/// A refusal of the same kind is told again after this.
const TOLD_AGAIN: Interval = Interval::from_secs(60);
/// Delays of our own loop that are remembered.
const DELAYS: usize = 64;
/// Timed things of a session: see [`Session::deadlines`].
const SLOTS: usize = 3;

/// All sessions of one process.
#[derive(Clone, Debug)]
pub struct Engine {
    sessions: Vec<Session>,
    index: Index,
    agenda: Agenda,
    places: Places,
    random: Random,
    out: VecDeque<Action>,
    now: Time,
    /// Which ports are wished for, and why one cannot be listened at.
    wanted: (bool, bool),
    deaf: [Option<Box<str>>; 2],
    next_id: u32,
    /// Datagrams that belong to no session.
    refused: BTreeMap<Refusal, u64>,
    told: BTreeMap<Refusal, Time>,
    delays: VecDeque<(Time, Interval)>,
    stopped: bool,
}

impl Engine {
    /// Begins every session.
    pub fn begin(specs: &[spec::bfd::Session], world: Beginning) -> Engine {
        let mut engine = Engine::blank(world);
        engine.go_over(specs);
        engine.fire();
        engine
    }

    fn blank(world: Beginning) -> Engine {
        Engine {
            sessions: Vec::new(),
            index: Index::default(),
            agenda: Agenda::default(),
            places: Places::new(world.links),
            random: Random::new(world.seed),
            out: VecDeque::new(),
            now: world.now,
            wanted: (false, false),
            deaf: [None, None],
            next_id: 0,
            refused: BTreeMap::new(),
            told: BTreeMap::new(),
            delays: VecDeque::new(),
            stopped: false,
        }
    }

    /// Serves everything that is due up to `now`, in order, then takes the news. A time before one that was given already
    /// counts as that one.
    ///
    /// A packet's time is that of its arrival, by the kernel's stamp. After a stall, packets that wait in the sockets are
    /// to be told before [`Input::Tick`]: so a session does not expire that was heard in time.
    pub fn handle(&mut self, input: Input<'_>, now: Time) {
        self.now = self.now.max(now);
        if self.stopped {
            return;
        }
        self.fire();
        match input {
            Input::Tick => {}
            Input::Packet { meta, bytes } => self.receive(&meta, bytes),
            Input::Local(fact) => {
                self.places.take(fact);
                self.look_around();
            }
            Input::Opened { session, outcome } => self.opened(session, outcome),
            Input::Listening { multihop, outcome } => {
                if let Some(deaf) = self.deaf.get_mut(usize::from(multihop)) {
                    *deaf = outcome.err();
                }
                self.look_around();
            }
            Input::SendFailed { session, reason } => self.send_failed(session, reason),
            Input::Command(command) => self.command(command),
        }
        self.fire();
    }

    /// The loop was woken this late: told with the next change of a session, instead of blaming the peer. It moves no
    /// time, so that what waits in the sockets can be told afterwards.
    pub fn woken_late(&mut self, at: Time, by: Interval) {
        if self.delays.len() == DELAYS {
            self.delays.pop_front();
        }
        self.delays.push_back((at, by));
    }

    /// The next thing to do; to be called until `None`.
    pub fn poll(&mut self) -> Option<Action> {
        self.out.pop_front()
    }

    /// When to come back; `None`: only news can change anything.
    pub fn deadline(&self) -> Option<Time> {
        self.agenda.next().map(|(at, _)| at)
    }

    /// What trackers and checkers read, by name.
    pub fn levels(&self) -> impl Iterator<Item = (&spec::bfd::Session, io::Level)> {
        self.sessions.iter().map(|session| (&session.spec, session.level))
    }

    /// The number of a session, by name.
    pub fn find(&self, name: &str) -> Option<SessionId> {
        self.sessions.iter().find(|session| *session.spec.name == *name).map(|session| session.id)
    }

    /// Lets `act` work on one session and sees to it that the agenda knows.
    fn with(&mut self, position: usize, act: impl FnOnce(&mut Session, &mut Cx<'_>)) {
        self.with_at(position, self.now, act);
    }

    fn with_at(&mut self, position: usize, now: Time, act: impl FnOnce(&mut Session, &mut Cx<'_>)) {
        let Some(session) = self.sessions.get_mut(position) else { return };
        let delays = &self.delays;
        let own_delay = |since: Time| {
            delays.iter().filter(|(at, _)| *at >= since).map(|(_, by)| *by).max().unwrap_or(Interval::ZERO)
        };
        let before = session.deadlines();
        let mut cx = Cx { now, random: &mut self.random, out: &mut self.out, own_delay: &own_delay };
        act(session, &mut cx);
        let after = session.deadlines();
        for (slot, (before, after)) in (position * SLOTS..).zip(before.into_iter().zip(after)) {
            if before != after
                && let Ok(slot) = u32::try_from(slot)
            {
                self.agenda.set(slot, after);
            }
        }
    }

    fn position(&self, id: SessionId) -> Option<usize> {
        self.sessions.iter().position(|session| session.id == id)
    }

    /// Everything that is due, in the order of its time.
    fn fire(&mut self) {
        while let Some((at, slot)) = self.agenda.next() {
            if at > self.now {
                break;
            }
            let (position, kind) = (slot as usize / SLOTS, slot as usize % SLOTS);
            if position >= self.sessions.len() {
                self.agenda.set(slot, None);
                continue;
            }
            // Silence is believed as of the moment at which it had lasted long enough, however late that is noticed; a packet goes
            // out when it goes out.
            match kind {
                0 => self.with_at(position, at, Session::silent),
                1 => self.with_at(position, at, Session::settle),
                _ => self.with(position, |session, cx| session.due(at, cx)),
            }
            if self.agenda.next() == Some((at, slot)) {
                debug_assert!(false, "{slot} is due again at {at:?} after it was served");
                self.agenda.set(slot, Some(self.now + Interval::from_micros(1)));
            }
        }
    }

    fn receive(&mut self, meta: &RxMeta, bytes: &[u8]) {
        match self.index.find(&self.sessions, meta, bytes, |name| self.places.index(name)) {
            Ok((position, packet)) => {
                let ttl = meta.ttl;
                self.with(position, |session, cx| {
                    // Only where nobody asked for hops: a hop limit of 64 is taken from keepalived's sessions.
                    let unasked = !session.spec.multihop && session.spec.max_hops == Some(0);
                    if let Some(ttl) = ttl.filter(|ttl| *ttl < 255 && unasked && !session.warned_of_ttl) {
                        session.warned_of_ttl = true;
                        let event = Event::LowTtl { name: session.spec.name.clone(), ttl };
                        cx.out.push_back(Action::Report(event));
                    }
                    session.hear(&packet, ttl, cx);
                });
            }
            Err((why, position)) => self.refuse(why, position, meta),
        }
    }

    fn refuse(&mut self, why: Refusal, position: Option<usize>, meta: &RxMeta) {
        let session = position.and_then(|at| self.sessions.get_mut(at));
        let name = session.map(|session| {
            session.refuse(why);
            session.spec.name.clone()
        });
        if name.is_none() {
            let count = self.refused.entry(why).or_default();
            *count = count.saturating_add(1);
        }
        if self.told.get(&why).is_none_or(|at| self.now.since(*at) >= TOLD_AGAIN) {
            self.told.insert(why, self.now);
            let event = Event::Refused { session: name, from: meta.source, why, ttl: meta.ttl };
            self.out.push_back(Action::Report(event));
        }
    }

    fn opened(&mut self, id: SessionId, outcome: Result<u16, Box<str>>) {
        let Some(position) = self.position(id) else { return };
        self.with(position, |session, _| match outcome {
            Ok(port) => (session.port, session.socket_trouble) = (Some(port), None),
            Err(reason) => (session.port, session.socket_trouble) = (None, Some(reason)),
        });
        self.look_at(position);
        self.with(position, |session, cx| {
            if session.obstacle.is_none() && session.send_at.is_none() {
                session.begin(cx);
            }
        });
    }

    fn send_failed(&mut self, id: SessionId, reason: Option<Box<str>>) {
        let Some(position) = self.position(id) else { return };
        self.with(position, |session, cx| {
            let name = session.spec.name.clone();
            let event = match (&reason, &session.mute) {
                (Some(reason), None) => Some(Event::SendFailed { name, reason: reason.clone() }),
                (None, Some(_)) => Some(Event::SendsAgain { name }),
                _ => None,
            };
            if reason.is_some() {
                session.counters.send_failures += 1;
            }
            session.mute = reason;
            cx.out.extend(event.map(Action::Report));
        });
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Shutdown { session } => {
                if let Some(position) = self.position(session) {
                    self.with(position, Session::shut_down);
                }
            }
            Command::NoShutdown { session } => {
                if let Some(position) = self.position(session) {
                    self.with(position, Session::allow);
                }
            }
            Command::ClearCounters => {
                self.refused.clear();
                for session in &mut self.sessions {
                    session.counters = Counters::default();
                }
            }
            Command::Stop => {
                for position in 0..self.sessions.len() {
                    self.with(position, Session::bid_farewell);
                }
                self.stopped = true;
            }
        }
    }

    /// What follows for every session from interfaces, addresses and listening sockets.
    fn look_around(&mut self) {
        for position in 0..self.sessions.len() {
            self.look_at(position);
        }
    }

    fn look_at(&mut self, position: usize) {
        let Some(session) = self.sessions.get(position) else { return };
        let spec = &session.spec;
        let deaf = self.deaf.get(usize::from(spec.multihop)).cloned().flatten();
        let obstacle = deaf
            .map(Obstacle::CannotListen)
            .or_else(|| session.socket_trouble.clone().map(Obstacle::NoSocket))
            .or_else(|| self.places.obstacle(spec));
        let scope = spec.interface.as_ref().map_or(0, |name| self.places.index(name));
        if session.scope != scope {
            let outlet = session.outlet(scope);
            let (id, open) = (session.id, session.port.is_some());
            self.out.push_back(if open { Action::Retune(id, outlet) } else { Action::Open(id, outlet) });
            if let Some(session) = self.sessions.get_mut(position) {
                session.scope = scope;
            }
        }
        self.with(position, |session, cx| session.obstructed(obstacle, cx));
    }

    fn fresh_discriminator(&mut self) -> u32 {
        loop {
            let drawn = (self.random.number() >> 32) as u32;
            if drawn != 0 && !self.index.has(drawn) {
                return drawn;
            }
        }
    }

    fn fresh_id(&mut self) -> SessionId {
        let id = SessionId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        id
    }
}
