//! Two servers, the path between them and one clock: the smallest world in which sessions live.
//!
//! Paths lose, delay, duplicate and reorder in each direction by themselves; a server can be stopped for a while (what
//! arrives meanwhile waits in its sockets), start over, lose its link, or have a clock that runs fast or slow.

use super::Sessions;
use super::watch::{Law, Violation, Watch};
use crate::bfd::io::{Action, Beginning, Command, Input, RxMeta, SessionId, State};
use crate::random::Random;
use crate::spec::bfd::Session;
use crate::time::{Interval, Time};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// One direction of the path.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    pub delay: (Interval, Interval),
    /// Parts of a million.
    pub loss: u32,
    pub duplicate: u32,
    pub cut: bool,
    /// Routers on the way.
    pub hops: u8,
}

impl Default for Path {
    fn default() -> Self {
        Path {
            delay: (Interval::from_micros(50), Interval::from_micros(200)),
            loss: 0,
            duplicate: 0,
            cut: false,
            hops: 0,
        }
    }
}

/// One server.
pub struct Side {
    pub engine: Box<dyn Sessions>,
    pub watch: Watch,
    pub specs: Vec<Session>,
    outlets: BTreeMap<SessionId, (Option<IpAddr>, IpAddr, u8, bool)>,
    /// What every packet is spoken from, if its session does not say.
    address: IpAddr,
    wake: Option<Time>,
    /// Stopped: what arrived, and when.
    waiting: Option<Vec<(Time, RxMeta, Vec<u8>)>>,
    /// Millionths by which its clock runs fast.
    fast: i64,
    pub changes: u64,
}

/// Makes an engine that begins with these sessions.
pub type Make<'m> = dyn Fn(&[Session], Beginning) -> Box<dyn Sessions> + 'm;

/// Two BFD engines and a wire between them.
pub struct Duo<'m> {
    make: &'m Make<'m>,
    pub now: Time,
    pub sides: [Side; 2],
    /// From side 0 to 1, and back.
    pub paths: [Path; 2],
    pub random: Random,
    flying: BTreeMap<(Time, u64), (usize, RxMeta, Vec<u8>)>,
    sequence: u64,
}

impl<'m> Duo<'m> {
    /// `specs`: the sessions of each side; `addresses`: where each speaks from.
    pub fn new(specs: [Vec<Session>; 2], addresses: [IpAddr; 2], seed: u64, make: &'m Make<'m>) -> Duo<'m> {
        let now = Time::from_micros(1_000_000);
        let mut random = Random::new(seed);
        let [one, two] = specs;
        let mut side = |specs: Vec<Session>, address: IpAddr| {
            let world = Beginning { seed: random.number(), links: None, now };
            Side {
                engine: make(&specs, world),
                watch: Watch::new(&specs, Interval::ZERO),
                specs,
                outlets: BTreeMap::new(),
                address,
                wake: None,
                waiting: None,
                fast: 0,
                changes: 0,
            }
        };
        let sides = [side(one, addresses[0]), side(two, addresses[1])];
        let paths = [Path::default(); 2];
        let mut duo = Duo { make, now, sides, paths, random, flying: BTreeMap::new(), sequence: 0 };
        for side in 0..2 {
            duo.begun(side);
        }
        duo
    }

    fn begun(&mut self, side: usize) {
        let now = self.local(side, self.now);
        let actions = self.drain(side);
        let one = &mut self.sides[side];
        let (snapshot, deadline) = (one.engine.snapshot(now), one.engine.deadline());
        one.watch.began(now, &actions, snapshot, deadline);
        self.carry(side, actions);
    }

    /// What a side's clock shows.
    fn local(&self, side: usize, at: Time) -> Time {
        let us = at.as_micros() as i64;
        Time::from_micros((us + us * self.sides[side].fast / 1_000_000) as u64)
    }

    /// When a side's clock will show `at`.
    fn global(&self, side: usize, at: Time) -> Time {
        let rate = 1_000_000 + self.sides[side].fast;
        let us = (i128::from(at.as_micros()) * 1_000_000).div_euclid(i128::from(rate)) as u64;
        // Rounded up, so that it is not woken before its time.
        let mut at_least = Time::from_micros(us);
        while self.local(side, at_least) < at {
            at_least += Interval::from_micros(1);
        }
        at_least
    }

    /// A clock that runs fast by so many millionths; to be set before anything happens.
    pub fn set_fast(&mut self, side: usize, millionths: i64) {
        self.sides[side].fast = millionths;
        self.restart(side);
    }

    fn drain(&mut self, side: usize) -> Vec<Action> {
        let mut actions = Vec::new();
        while let Some(action) = self.sides[side].engine.poll() {
            actions.push(action);
            if actions.len() > 10_000 {
                break;
            }
        }
        actions
    }

    /// Tells an engine, lets the watch look, and carries out what was answered.
    pub fn tell(&mut self, side: usize, input: Input<'_>, at: Time) {
        let at = self.local(side, at);
        self.sides[side].engine.handle(input.clone(), at);
        let actions = self.drain(side);
        let one = &mut self.sides[side];
        let (snapshot, deadline) = (one.engine.snapshot(at), one.engine.deadline());
        one.watch.turn(&input, at, &actions, snapshot, deadline);
        self.carry(side, actions);
    }

    fn carry(&mut self, side: usize, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Listen { single_hop, multihop } => {
                    for (is, wanted) in [(false, single_hop), (true, multihop)] {
                        if wanted {
                            self.tell(side, Input::Listening { multihop: is, outcome: Ok(()) }, self.now);
                        }
                    }
                }
                Action::Open(id, outlet) | Action::Retune(id, outlet) => {
                    let known = (outlet.source, outlet.neighbor, outlet.ttl, outlet.multihop);
                    let fresh = self.sides[side].outlets.insert(id, known).is_none();
                    if fresh {
                        self.tell(side, Input::Opened { session: id, outcome: Ok(49_152) }, self.now);
                    }
                }
                Action::Close(id) => {
                    self.sides[side].outlets.remove(&id);
                }
                Action::Send(id, bytes) => self.send(side, id, &bytes),
                Action::Report(event) => {
                    if matches!(event, crate::bfd::io::Event::Became { .. }) {
                        self.sides[side].changes += 1;
                    }
                }
            }
        }
        let deadline = self.sides[side].engine.deadline();
        self.sides[side].wake = deadline.map(|at| self.global(side, at).max(self.now));
    }

    fn send(&mut self, side: usize, id: SessionId, bytes: &[u8]) {
        let Some((source, neighbor, ttl, multihop)) = self.sides[side].outlets.get(&id).copied() else { return };
        let path = self.paths[side];
        if path.cut || self.random.happens(path.loss) {
            return;
        }
        let copies = if self.random.happens(path.duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            let at = self.now + self.random.interval(path.delay.0, path.delay.1);
            let meta = RxMeta {
                source: source.unwrap_or(self.sides[side].address),
                destination: Some(neighbor),
                ifindex: 1,
                ttl: Some(ttl.saturating_sub(path.hops)),
                multihop,
                cut: false,
            };
            self.fly(1 - side, at, meta, bytes.to_vec());
        }
    }

    /// A packet arrives at a side, whoever sent it.
    pub fn fly(&mut self, to: usize, at: Time, meta: RxMeta, bytes: Vec<u8>) {
        self.sequence += 1;
        self.flying.insert((at, self.sequence), (to, meta, bytes));
    }

    /// Goes on until `end`.
    pub fn run_until(&mut self, end: Time) {
        loop {
            let arrival = self.flying.first_key_value().map(|(key, _)| key.0).unwrap_or(Time::NEVER);
            let woken =
                |side: &Side| if side.waiting.is_some() { Time::NEVER } else { side.wake.unwrap_or(Time::NEVER) };
            let wakes = [woken(&self.sides[0]), woken(&self.sides[1])];
            let next = arrival.min(wakes[0]).min(wakes[1]);
            if next > end || !self.violations().is_empty() {
                self.now = self.now.max(end);
                return;
            }
            self.now = self.now.max(next);
            if let Some(side) = (0..2).find(|side| wakes[*side] == next && next < arrival) {
                self.tell(side, Input::Tick, self.now);
            } else if let Some((_, (to, meta, bytes))) = self.flying.pop_first() {
                match &mut self.sides[to].waiting {
                    Some(waiting) => waiting.push((self.now, meta, bytes)),
                    None => self.tell(to, Input::Packet { meta, bytes: &bytes }, self.now),
                }
            }
        }
    }

    /// Lets `length` pass.
    pub fn run(&mut self, length: Interval) {
        self.run_until(self.now + length);
    }

    /// The process of a side stands still.
    pub fn stop_process(&mut self, side: usize) {
        self.sides[side].waiting.get_or_insert_default();
    }

    /// SIGCONT: what waited in the sockets comes first, with its true times, then what is due.
    pub fn resume_process(&mut self, side: usize) {
        let Some(waiting) = self.sides[side].waiting.take() else { return };
        if let Some(late) = self.sides[side].wake.map(|wake| self.now.since(wake)) {
            let at = self.local(side, self.now);
            self.sides[side].engine.woken_late(at, late);
        }
        self.sides[side].watch.told_late(true);
        for (at, meta, bytes) in waiting {
            self.tell(side, Input::Packet { meta, bytes: &bytes }, at);
        }
        self.tell(side, Input::Tick, self.now);
        self.sides[side].watch.told_late(false);
    }

    /// The server is switched off and on: another engine, other discriminators.
    pub fn restart(&mut self, side: usize) {
        let world = Beginning { seed: self.random.number(), links: None, now: self.local(side, self.now) };
        let one = &mut self.sides[side];
        one.engine = (self.make)(&one.specs, world);
        let violations = std::mem::take(&mut one.watch.violations);
        one.watch = Watch::new(&one.specs, Interval::ZERO);
        one.watch.violations = violations;
        one.outlets.clear();
        one.waiting = None;
        self.begun(side);
    }

    /// A side goes over to other sessions.
    pub fn reload(&mut self, side: usize, specs: Vec<Session>) {
        let now = self.local(side, self.now);
        self.sides[side].engine.reload(&specs, now);
        let actions = self.drain(side);
        let one = &mut self.sides[side];
        let (snapshot, deadline) = (one.engine.snapshot(now), one.engine.deadline());
        one.watch.reloaded(&specs, now, &actions, snapshot, deadline);
        one.specs = specs;
        self.carry(side, actions);
    }

    /// An operator shuts the first session of a side down, or allows it again.
    pub fn command(&mut self, side: usize, shutdown: bool) {
        let name = self.sides[side].specs.first().map(|spec| spec.name.clone()).unwrap_or_default();
        let Some(session) = self.sides[side].engine.find(&name) else { return };
        let command = if shutdown { Command::Shutdown { session } } else { Command::NoShutdown { session } };
        self.tell(side, Input::Command(command), self.now);
    }

    /// The state of a side's first session.
    pub fn state(&self, side: usize) -> Option<State> {
        self.sides[side].engine.snapshot(self.now).sessions.first().map(|view| view.state)
    }

    /// Both ends of the first session are up.
    pub fn both_up(&self) -> bool {
        (0..2).all(|side| self.state(side) == Some(State::Up))
    }

    /// Laws that did not hold, with the side.
    pub fn violations(&self) -> Vec<(usize, Violation)> {
        let of = |side: usize| self.sides[side].watch.violations.iter().map(move |v| (side, v.clone()));
        of(0).chain(of(1)).collect()
    }

    /// Notes that a law did not hold.
    pub fn wrong(&mut self, law: Law, text: String) {
        let at = self.now;
        self.sides[0].watch.violations.push(Violation { at, law, text });
    }
}
