//! Every interleaving of a bounded election, on the real engine.
//!
//! Two and three routers, one virtual router. At each moment any message under way may arrive next, in any order; or be
//! lost, while the loss budget lasts; or the next timer may fire, as long as no message grows older than the wire's
//! latency allows; or a router may die, once, and come back
//! whenever it likes. All of these are tried. States that differ only in how they came about are
//! visited once: a state is what each router will do next (role, interval in force, time to its deadline) and what is
//! under way.
//!
//! Held in every state: deadlines advance; nobody yields to a worse router. Held from every state that the walk ends in:
//! left alone, the routers settle on exactly one master, the best of those alive, within T of docs/bounds.md.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use vipd::sim::build;
use vipd::spec::{Auth, InstanceSpec};
use vipd::time::{Interval, Time};
use vipd::vrrp::Engine;
use vipd::vrrp::io::{Action, Cause, Event, Input, Link, Outcome, Role, RxMeta};
use vipd::wire::{Priority, Version};

/// What the walk is given to play with.
#[derive(Clone, Copy)]
struct Bounds {
    /// Older than this no message gets.
    latency: Interval,
    losses: u32,
    deaths: u32,
    /// Beyond this time nothing new is tried.
    horizon: Interval,
}

#[derive(Clone)]
struct Router {
    spec: InstanceSpec,
    engine: Option<Engine>,
    priority: u8,
    address: Ipv4Addr,
}

#[derive(Clone)]
struct Message {
    from: usize,
    to: usize,
    sent: Time,
    bytes: Arc<[u8]>,
}

#[derive(Clone)]
struct State {
    now: Time,
    routers: Vec<Router>,
    flight: Vec<Message>,
    losses: u32,
    deaths: u32,
}

#[derive(Clone, Copy, Debug)]
enum Choice {
    Deliver(usize),
    Lose(usize),
    Fire(usize),
    Die(usize),
    Revive(usize),
}

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));
const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18));

fn link(address: Ipv4Addr) -> Link {
    build::link(2, "eth0", &[&address.to_string()])
}

impl State {
    fn new(specs: &[InstanceSpec], bounds: &Bounds) -> State {
        let now = Time::from_micros(1);
        let mut state =
            State { now, routers: Vec::new(), flight: Vec::new(), losses: bounds.losses, deaths: bounds.deaths };
        for (number, spec) in specs.iter().enumerate() {
            let address = Ipv4Addr::new(192, 0, 2, number as u8 + 1);
            let (spec, priority) = (spec.clone(), spec.priority.0);
            state.routers.push(Router { engine: None, spec, priority, address });
            state.revive(number);
        }
        for number in 0..specs.len() {
            state.drain(number);
        }
        state
    }

    fn revive(&mut self, number: usize) {
        let router = &mut self.routers[number];
        let spec = Arc::new(build::spec(vec![router.spec.clone()]));
        router.engine = Some(Engine::new(spec, vec![link(router.address)], self.now));
    }

    /// Carries out what a router wants.
    fn drain(&mut self, number: usize) {
        let Some(mut engine) = self.routers[number].engine.take() else { return };
        while let Some(action) = engine.poll() {
            match action {
                Action::Transmit(transmit) => {
                    for to in (0..self.routers.len()).filter(|to| *to != number) {
                        let bytes = transmit.bytes.clone();
                        self.flight.push(Message { from: number, to, sent: self.now, bytes });
                    }
                }
                Action::Own(instance, _) => {
                    engine.handle(Input::Applied { instance, outcome: Outcome::Complete }, self.now);
                }
                Action::Report(Event::Became { from: Role::Master, to: Role::Backup, why, .. }) => {
                    let Cause::Outranked { by, priority } = why else { panic!("it yielded because of {why:?}") };
                    let mine = (Priority(self.routers[number].priority), IpAddr::from(self.routers[number].address));
                    assert!((priority, by) > mine, "it yielded to a worse router");
                }
                _ => {}
            }
        }
        if let Some((at, _)) = engine.deadline() {
            assert!(at > self.now, "a deadline stands still");
        }
        self.routers[number].engine = Some(engine);
    }

    fn deadline(&self, number: usize) -> Option<Time> {
        self.routers[number].engine.as_ref()?.deadline().map(|(at, _)| at)
    }

    /// Next timer of all, and whose; equal ones are all possible next.
    fn timers(&self) -> (Time, Vec<usize>) {
        let all: Vec<(Time, usize)> = (0..self.routers.len()).filter_map(|n| Some((self.deadline(n)?, n))).collect();
        let first = all.iter().map(|(at, _)| *at).min().unwrap_or(Time::NEVER);
        (first, all.into_iter().filter(|(at, _)| *at == first).map(|(_, n)| n).collect())
    }

    fn choices(&self, bounds: &Bounds) -> Vec<Choice> {
        let mut choices: Vec<Choice> = (0..self.flight.len()).map(Choice::Deliver).collect();
        if self.losses > 0 {
            choices.extend((0..self.flight.len()).map(Choice::Lose));
        }
        let (at, whose) = self.timers();
        let aged = self.flight.iter().any(|message| at.since(message.sent) > bounds.latency);
        if !aged && at != Time::NEVER {
            choices.extend(whose.into_iter().map(Choice::Fire));
        }
        if self.deaths > 0 {
            let masters = (0..self.routers.len()).filter(|n| self.role(*n) == Some(Role::Master));
            choices.extend(masters.map(Choice::Die));
        }
        let dead = (0..self.routers.len()).filter(|n| self.routers[*n].engine.is_none());
        choices.extend(dead.map(Choice::Revive));
        choices
    }

    fn take(&mut self, choice: Choice) {
        match choice {
            Choice::Deliver(position) => {
                let message = self.flight.remove(position);
                let source = self.routers[message.from].address.into();
                let meta = RxMeta { ifindex: 2, source, destination: GROUP, ttl: Some(255) };
                if let Some(engine) = self.routers[message.to].engine.as_mut() {
                    engine.handle(Input::Datagram { meta, bytes: &message.bytes }, self.now);
                    self.drain(message.to);
                }
            }
            Choice::Lose(position) => {
                self.flight.remove(position);
                self.losses -= 1;
            }
            Choice::Fire(number) => {
                self.now = self.deadline(number).unwrap();
                if let Some(engine) = self.routers[number].engine.as_mut() {
                    engine.handle(Input::Tick, self.now);
                    self.drain(number);
                }
            }
            Choice::Die(number) => {
                self.routers[number].engine = None;
                self.deaths -= 1;
            }
            Choice::Revive(number) => {
                self.revive(number);
                self.drain(number);
            }
        }
    }

    fn role(&self, number: usize) -> Option<Role> {
        let engine = self.routers[number].engine.as_ref()?;
        Some(engine.snapshot(self.now).instances[0].state)
    }

    /// What decides everything that can come.
    fn key(&self, bounds: &Bounds) -> Vec<u8> {
        let mut key = Vec::with_capacity(64);
        for number in 0..self.routers.len() {
            match &self.routers[number].engine {
                None => key.push(9),
                Some(engine) => {
                    let view = &engine.snapshot(self.now).instances[0];
                    key.push(view.state as u8);
                    let left = self.deadline(number).map_or(u64::MAX, |at| at.since(self.now).as_micros());
                    key.extend_from_slice(&left.to_le_bytes());
                    key.extend_from_slice(&view.master_interval.as_micros().to_le_bytes());
                    if self.routers[number].spec.auth != Auth::None {
                        // Sequences follow from what was sent and heard.
                        let counters = &view.counters;
                        key.extend_from_slice(&counters.advert_sent.to_le_bytes());
                        key.extend_from_slice(&counters.advert_rcvd.to_le_bytes());
                    }
                }
            }
        }
        let mut flight: Vec<Vec<u8>> = self
            .flight
            .iter()
            .map(|message| {
                let age = self.now.since(message.sent).as_micros().to_le_bytes();
                // Behind the IP header, whose identification changes nothing.
                [&[message.from as u8, message.to as u8], &age[..], &message.bytes[20..]].concat()
            })
            .collect();
        flight.sort();
        key.extend(flight.concat());
        key.extend_from_slice(&[self.losses as u8, self.deaths as u8]);
        let left = (Time::ZERO + bounds.horizon).since(self.now).as_micros();
        key.extend_from_slice(&left.to_le_bytes());
        key
    }

    /// Left alone: everything arrives at once. Must settle on the best of those alive.
    fn settle(mut self, settle: Interval, history: &[Choice]) {
        let until = self.now + settle;
        loop {
            if !self.flight.is_empty() {
                self.take(Choice::Deliver(0));
                continue;
            }
            let (at, whose) = self.timers();
            match whose.first() {
                Some(number) if at <= until => self.take(Choice::Fire(*number)),
                _ => break,
            }
        }
        let alive = || (0..self.routers.len()).filter(|n| self.routers[*n].engine.is_some());
        let masters: Vec<usize> = alive().filter(|n| self.role(*n) == Some(Role::Master)).collect();
        let best = alive().map(|n| self.routers[n].priority).max();
        assert_eq!(masters.len(), 1.min(alive().count()), "masters {masters:?} after {history:?}");
        if let Some(master) = masters.first() {
            assert_eq!(Some(self.routers[*master].priority), best, "not the best after {history:?}");
        }
    }
}

/// Walks everything; gives how many states there were and in how many the walk ended.
fn explore(specs: &[InstanceSpec], bounds: Bounds) -> (usize, usize) {
    let longest = specs.iter().map(|spec| spec.interval).max().unwrap();
    // T of docs/bounds.md with nothing but the election in it.
    let settle = (longest.times(3) + longest.max(Interval::from_secs(1))).times(2) + longest.times(2);
    let mut seen = HashSet::new();
    let mut ends = 0;
    let mut stack = vec![(State::new(specs, &bounds), Vec::new())];
    while let Some((state, history)) = stack.pop() {
        if !seen.insert(state.key(&bounds)) {
            continue;
        }
        if state.now > Time::ZERO + bounds.horizon {
            ends += 1;
            state.settle(settle, &history);
            continue;
        }
        for choice in state.choices(&bounds) {
            let mut next = state.clone();
            next.take(choice);
            let mut history = history.clone();
            history.push(choice);
            stack.push((next, history));
        }
    }
    (seen.len(), ends)
}

fn routers(version: Version, priorities: &[u8]) -> Vec<InstanceSpec> {
    let router = |priority: &u8| {
        let mut spec = build::instance("V", 9, *priority, &[VIP]);
        spec.version = version;
        spec.wants_master = false;
        spec
    };
    priorities.iter().map(router).collect()
}

const USUAL: Bounds =
    Bounds { latency: Interval::from_millis(20), losses: 2, deaths: 1, horizon: Interval::from_secs(8) };
/// A wire so slow that timers of all routers end while adverts are under way: masters cross, and must uncross.
const SLOW: Bounds = Bounds { latency: Interval::from_millis(900), losses: 1, ..USUAL };

/// A walk that is made: what it is called in `docs/bounds.md`, who takes part, and how far it goes.
type Walk = (String, Vec<InstanceSpec>, Bounds);

fn two_routers() -> Vec<Walk> {
    let mut walks = Vec::new();
    for version in [Version::V2, Version::V3] {
        for priorities in [[150, 100], [100, 100], [254, 1], [255, 100]] {
            walks.push((format!("v{version} {priorities:?}"), routers(version, &priorities), USUAL));
        }
        for priorities in [[150, 100], [100, 100], [102, 100]] {
            walks.push((format!("v{version} {priorities:?}, slow wire"), routers(version, &priorities), SLOW));
        }
    }
    walks
}

fn two_routers_with_ah() -> Vec<Walk> {
    [("AH", USUAL), ("AH, slow wire", SLOW)]
        .map(|(name, bounds)| {
            let mut specs = routers(Version::V2, &[101, 100]);
            specs.iter_mut().for_each(|spec| spec.auth = Auth::Ah(*b"12345678"));
            (format!("v2 [101, 100], {name}"), specs, Bounds { losses: 1, ..bounds })
        })
        .into()
}

fn two_routers_with_different_intervals() -> Vec<Walk> {
    let mut specs = routers(Version::V3, &[150, 100]);
    specs[1].interval = Interval::from_millis(400);
    vec![("v3 [150, 100], 1 s and 0.4 s".into(), specs, Bounds { losses: 1, horizon: Interval::from_secs(6), ..USUAL })]
}

fn three_routers() -> Vec<Walk> {
    [[150, 100, 50], [100, 100, 100]]
        .map(|priorities| (format!("v2 {priorities:?}"), routers(Version::V2, &priorities), USUAL))
        .into()
}

/// Walks, and gives the lines of the table in `docs/bounds.md`.
fn walk(walks: Vec<Walk>) -> Vec<String> {
    let one = |(name, specs, bounds): Walk| {
        let (states, ends) = explore(&specs, bounds);
        let line = format!("| {name} | {states} | {ends} |");
        println!("{line}");
        assert!(states > 100 && ends > 5, "{states} states, {ends} ends: nothing was walked");
        line
    };
    walks.into_iter().map(one).collect()
}

#[test]
fn two_routers_elect_one() {
    walk(two_routers());
}

#[test]
fn two_routers_with_ah_elect_one() {
    walk(two_routers_with_ah());
}

#[test]
fn two_routers_with_different_intervals_elect_one() {
    walk(two_routers_with_different_intervals());
}

#[test]
fn three_routers_elect_one() {
    walk(three_routers());
}

/// The numbers in the document are those that are walked.
#[test]
fn the_documented_numbers_are_those_of_the_walks() {
    let all = [two_routers(), two_routers_with_ah(), two_routers_with_different_intervals(), three_routers()];
    let document = include_str!("../docs/bounds.md");
    let missing: Vec<String> = walk(all.into_iter().flatten().collect())
        .into_iter()
        .filter(|line| !document.contains(line.as_str()))
        .collect();
    assert!(missing.is_empty(), "docs/bounds.md has to say:\n{}", missing.join("\n"));
}

#[test]
#[ignore = "minutes: three routers, more losses, a slow wire, a longer time"]
fn three_routers_at_length() {
    for version in [Version::V2, Version::V3] {
        for priorities in [[150, 100, 50], [100, 100, 100], [255, 100, 100]] {
            let slow = Bounds { latency: Interval::from_millis(500), ..USUAL };
            walk(vec![(format!("v{version} {priorities:?}, slow wire"), routers(version, &priorities), slow)]);
        }
    }
}
