//! Many engines, one clock: the loop that a daemon is, with everything around the engine modelled.
//!
//! A step takes the earliest of what is due (an arrival, a finished request, an act of the scenario, an engine's own
//! deadline), tells it to whom it concerns, carries out what the engine answers, and asks the oracle. Nothing here
//! depends on anything but the specs, the scenario and its seed.

use super::balance::{Backends, Direct, Errand};
use super::bfd::far::Far;
use super::kernel::{RETRY, Request, mac};
use super::lan::Lan;
use super::node::{News, Node};
use super::oracle::Oracle;
use super::report::{Chronicle, Report, Turn};
use super::router::Make;
use super::said;
use super::scenario::{Conduct, Scenario, Way};
use crate::random::Random;
use crate::spec::{FileId, InstanceId, ProcessId, ScriptId, Spec};
use crate::time::{Interval, Time};
use crate::vrrp::io::{
    Action, Announce, Attempt, Beginning, Exit, Input, KillSignal, LinkFact, Outcome, Readings, RxMeta, TrackValue,
    Tracker, Transmit,
};
use crate::vrrp::snapshot::Snapshot;
use crate::wire::{Family, PROTOCOL_VRRP, Priority};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// More answers than this to one fact is an engine that never stops talking.
pub(super) const ENDLESS: usize = 20_000;
/// Until the daemon has put back an address that another program removed.
const HEALING: Interval = Interval::from_millis(3);
/// Every wake-up is late by up to this much, as on a real machine.
pub(super) const WAKE: Interval = Interval::from_micros(80);

/// The whole modelled installation.
pub struct World<'m> {
    pub(super) make: &'m Make<'m>,
    pub(super) direct: &'m Direct<'m>,
    pub(super) backends: Backends,
    pub(super) nodes: Vec<Node>,
    pub(super) lan: Lan,
    pub(super) now: Time,
    pub(super) end: Time,
    pub(super) random: Random,
    pub(super) oracle: Oracle,
    pub(super) chronicle: Chronicle,
    pub(super) scenario: Scenario,
    pub(super) queue: BTreeMap<(Time, u64), Happening>,
    /// Far ends of BFD sessions that no node is, and how the paths of sessions are that are not up: (node, session).
    pub(super) fars: Vec<Far>,
    pub(super) paths: BTreeMap<(usize, Box<str>), Way>,
    sequence: u64,
    /// The oracle looks at each step.
    pub(super) judged: bool,
}

pub(super) enum Happening {
    Arrive {
        node: usize,
        index: u32,
        source: IpAddr,
        destination: IpAddr,
        ttl: Option<u8>,
        bytes: Arc<[u8]>,
        /// The hardware address that it comes from, where that is a VMAC's.
        virtual_mac: Option<[u8; 6]>,
    },
    Kernel {
        node: usize,
        epoch: u64,
        request: Request,
    },
    Heal {
        node: usize,
        epoch: u64,
        instance: InstanceId,
        position: u32,
    },
    Exit {
        node: usize,
        epoch: u64,
        attempt: Attempt,
        exit: Exit,
    },
    /// The alarm clock of a node's BFD sessions.
    Session {
        node: usize,
        epoch: u64,
    },
    /// A BFD packet arrives.
    Packet {
        node: usize,
        meta: crate::bfd::io::RxMeta,
        bytes: Vec<u8>,
    },
    /// A gateway is woken, or spoken to.
    Far {
        far: usize,
        packet: Option<(crate::bfd::io::RxMeta, Vec<u8>)>,
    },
    /// Something of a node's virtual servers is due.
    Balance {
        node: usize,
        epoch: u64,
        errand: Errand,
    },
    Act(usize),
}

impl<'m> World<'m> {
    /// A world of these nodes. Errors: a name in the scenario that no node, interface or tracker bears.
    /// With `record`, a timeline and a pcap are kept.
    pub fn new(
        specs: &[(String, Arc<Spec>)],
        scenario: &Scenario,
        make: &'m Make<'m>,
        direct: &'m Direct<'m>,
        record: bool,
    ) -> Result<World<'m>, String> {
        super::acts::check_names(specs, scenario)?;
        let find = |name: &str| specs.iter().position(|(n, _)| n == name).unwrap_or_default();
        let segments: Vec<_> = scenario
            .segments
            .iter()
            .map(|(name, ends)| (name.clone(), ends.iter().map(|(n, i)| (find(n), i.clone())).collect()))
            .collect();
        let plain: Vec<&Spec> = specs.iter().map(|(_, spec)| &**spec).collect();
        let lan = Lan::new(scenario.lan, &plain, &segments);
        let nodes: Vec<Node> =
            specs.iter().enumerate().map(|(n, (name, spec))| Node::new(n, name, spec.clone(), &lan)).collect();
        let mut world = World {
            make,
            direct,
            backends: Backends::default(),
            oracle: Oracle::new(&plain, scenario),
            chronicle: Chronicle::new(&nodes),
            nodes,
            lan,
            now: Time::ZERO,
            end: Time::ZERO + scenario.run,
            random: Random::new(scenario.seed),
            scenario: scenario.clone(),
            queue: BTreeMap::new(),
            fars: Vec::new(),
            paths: BTreeMap::new(),
            sequence: 0,
            judged: true,
        };
        if record {
            world.chronicle.turn_on();
        }
        for (position, (at, _)) in scenario.acts.iter().enumerate() {
            world.at(*at, Happening::Act(position));
        }
        world.begin_far_ends();
        for (node, (name, _)) in specs.iter().enumerate() {
            if !scenario.absent.iter().any(|absent| **absent == **name) {
                world.start(node);
            }
        }
        Ok(world)
    }

    /// Changes of state are written down, and no law is looked at: for those who ask what happens, also with servers that
    /// cannot do what the laws want.
    pub(super) fn watch_turns(&mut self) {
        self.chronicle.turns = Some(Vec::new());
        self.judged = false;
    }

    /// Changes of state so far.
    pub(super) fn turns(&mut self) -> Vec<Turn> {
        self.chronicle.turns.take().unwrap_or_default()
    }

    /// Every server's own view at a moment that no step has passed.
    pub(super) fn standings_at(&self, at: Time) -> Vec<Option<Snapshot>> {
        self.nodes.iter().map(|node| node.router.as_ref().map(|router| router.snapshot(at))).collect()
    }

    /// When the next step is, if there is one.
    pub(super) fn next_at(&self) -> Option<Time> {
        let queued = self.queue.first_key_value().map(|(key, _)| key.0);
        queued.into_iter().chain(self.nodes.iter().filter_map(|node| node.wake)).min()
    }

    /// The world's time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Takes the next step; false when the run is over or a law was broken.
    pub fn step(&mut self) -> bool {
        let queued = self.queue.first_key_value().map(|(key, _)| key.0);
        let woken = self.nodes.iter().enumerate().filter_map(|(n, node)| node.wake.map(|at| (at, n))).min();
        let next = match (queued, woken) {
            (Some(q), Some((w, _))) => q.min(w),
            (Some(q), None) => q,
            (None, Some((w, _))) => w,
            (None, None) => Time::NEVER,
        };
        if next > self.end || self.oracle.broken() {
            self.now = if self.oracle.broken() { self.now } else { self.end };
            self.judge(true);
            return false;
        }
        self.now = self.now.max(next);
        // What was so until this moment is judged before it changes.
        self.judge(false);
        match woken {
            Some((at, node)) if queued.is_none_or(|q| at < q) => self.tell_now(node, Input::Tick),
            _ => {
                if let Some((_, happening)) = self.queue.pop_first() {
                    self.happen(happening);
                }
            }
        }
        true
    }

    fn judge(&mut self, last: bool) {
        if !self.judged {
            return;
        }
        let mut oracle = std::mem::take(&mut self.oracle);
        oracle.look(self, last);
        self.oracle = oracle;
        self.look_at_servers();
    }

    /// Runs to the end.
    pub fn play(&mut self) {
        while self.step() {}
    }

    /// What came of it.
    pub fn report(mut self) -> Report {
        self.chronicle.moment(self.now, &self.nodes);
        self.chronicle.report(self.now, self.oracle.violations, self.oracle.checks)
    }

    pub(super) fn at(&mut self, at: Time, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), happening);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrive { node, index, source, destination, ttl, bytes, virtual_mac } => {
                self.arrive(node, index, (source, destination, ttl), bytes, virtual_mac);
            }
            Happening::Kernel { node, epoch, request } => self.carry_out(node, epoch, request),
            Happening::Heal { node, epoch, instance, position } => {
                let Some(n) = self.nodes.get_mut(node).filter(|n| n.epoch == epoch && n.router.is_some()) else {
                    return;
                };
                if n.paused {
                    let at = self.now + HEALING;
                    self.at(at, Happening::Heal { node, epoch, instance, position });
                } else if n.kernel.heal(instance, position) {
                    let addresses = position..position + 1;
                    self.tell(node, News::Link(LinkFact::Healed { instance, addresses }));
                }
            }
            Happening::Exit { node, epoch, attempt, exit } => {
                let Some(n) = self.nodes.get_mut(node).filter(|n| n.epoch == epoch) else { return };
                if n.runs.remove(&attempt).is_some() {
                    self.tell(node, News::Exited(attempt, exit));
                }
            }
            Happening::Session { node, epoch } => self.sessions_due(node, epoch),
            Happening::Packet { node, meta, bytes } => self.session_packet(node, meta, bytes),
            Happening::Far { far, packet } => self.far_end(far, packet),
            Happening::Balance { node, epoch, errand } => {
                if self.nodes.get(node).is_some_and(|n| n.epoch == epoch) {
                    self.run_errand(node, errand);
                }
            }
            Happening::Act(position) => self.act(position),
        }
    }

    /// The daemon of a node begins its life.
    pub(super) fn start(&mut self, node: usize) {
        let (make, now) = (self.make, self.now);
        if self.nodes.get(node).is_none_or(|n| n.router.is_some()) {
            return;
        }
        let of_sessions = self.start_sessions(node);
        let Some(n) = self.nodes.get_mut(node) else { return };
        n.epoch += 1;
        n.paused = false;
        n.terminate = false;
        n.inbox.clear();
        n.runs.clear();
        n.kernel.clear();
        let mut readings = Readings::new();
        for (i, value) in n.files.iter().enumerate() {
            readings.push((Tracker::File(FileId(i as u32)), TrackValue::Number(*value)));
        }
        for (i, count) in n.processes.iter().enumerate() {
            readings.push((Tracker::Process(ProcessId(i as u32)), TrackValue::Count(*count)));
        }
        readings.extend(of_sessions);
        n.clock.begin(&n.spec, now);
        let wall = n.wall(now);
        let world = Beginning { links: n.kernel.links.clone(), readings, wall, opening: false };
        n.router = Some(make(n.spec.clone(), world, now));
        self.oracle.began(node, &n.spec, now);
        self.chronicle.say(now, node, "the daemon starts");
        self.drain(node);
        self.refresh_ports(node);
        self.open_sessions(node);
        self.begin_balance(node);
    }

    /// The daemon of a node is no more; nothing of it is tidied up here.
    pub(super) fn end_life(&mut self, node: usize) {
        let Some(n) = self.nodes.get_mut(node) else { return };
        n.router = None;
        n.seat = None;
        n.paused = false;
        n.wake = None;
        n.deadline = None;
        n.inbox.clear();
        n.runs.clear();
        self.end_balance(node);
        self.oracle.ended(node);
    }

    pub(super) fn refresh_ports(&mut self, node: usize) {
        let Some(n) = self.nodes.get_mut(node) else { return };
        n.ports = n.router.iter().flat_map(|router| router.ports()).map(|(port, _)| port).collect();
        n.ports.dedup();
    }

    /// Tells news, or keeps them for a stopped process; a dead one hears nothing.
    pub(super) fn tell(&mut self, node: usize, news: News) {
        let Some(n) = self.nodes.get_mut(node) else { return };
        if n.router.is_none() {
            return;
        }
        if n.paused {
            return n.keep(news, self.now);
        }
        n.note(&news, self.now);
        if let News::Link(fact) = &news {
            self.session_link_changed(node, fact);
        }
        self.tell_now(node, news.input());
        if matches!(news, News::Link(_)) {
            self.refresh_ports(node);
        }
    }

    pub(super) fn tell_now(&mut self, node: usize, input: Input<'_>) {
        self.tell_late(node, input, self.now);
        self.drain(node);
    }

    /// Tells of what came at `at`, which may be a while ago; further news has to follow.
    pub(super) fn tell_late(&mut self, node: usize, input: Input<'_>, at: Time) {
        if let (Input::Datagram { meta, bytes }, Some(n)) = (&input, self.nodes.get(node)) {
            self.oracle.heard((node, n), meta, bytes, at);
        }
        let Some(router) = self.nodes.get_mut(node).and_then(|n| n.router.as_mut()) else { return };
        router.handle(input, at);
        self.carry_all(node);
    }

    /// Carries out everything the engine of a node wants, and sees when it wants to be woken.
    pub(super) fn drain(&mut self, node: usize) {
        self.carry_all(node);
        let (now, random) = (self.now, &mut self.random);
        let Some(n) = self.nodes.get_mut(node) else { return };
        let deadline = n.router.as_ref().and_then(|router| router.deadline()).map(|(at, _)| at);
        if deadline != n.deadline || n.wake.is_some_and(|wake| wake <= now) {
            n.deadline = deadline;
            n.wake = deadline.map(|at| at.max(now) + random.interval(Interval::ZERO, n.late.max(WAKE)));
        }
        if n.paused {
            n.wake = None;
        }
        self.oracle.drained(node, deadline, now);
    }

    fn carry_all(&mut self, node: usize) {
        for count in 0.. {
            let Some(router) = self.nodes.get_mut(node).and_then(|n| n.router.as_mut()) else { return };
            let Some(action) = router.poll() else { break };
            if count > ENDLESS {
                self.oracle.endless(node, self.now);
                return;
            }
            self.carry(node, action);
        }
    }

    pub(super) fn carry(&mut self, node: usize, action: Action) {
        let now = self.now;
        self.oracle.answered(node, &action, now);
        match action {
            Action::Transmit(transmit) => {
                if said::priority(&transmit) == Some(Priority::LEAVING) {
                    let mut oracle = std::mem::take(&mut self.oracle);
                    oracle.leaves(self, node, &transmit);
                    self.oracle = oracle;
                }
                self.transmit(node, transmit);
            }
            Action::Own(instance, claim) => self.ask(node, instance, Some(claim)),
            Action::Disown(instance) => self.ask(node, instance, None),
            Action::Announce(announce) => self.announce(node, &announce),
            // Nobody's claim: the oracle's caches do not hold it.
            Action::AnnounceSource { .. } => {}
            Action::RunScript(script, attempt) => self.run_script(node, script, attempt),
            Action::KillScript(_, attempt, signal) => self.kill_script(node, attempt, signal),
            Action::AbandonScript(_, attempt) => {
                if let Some(n) = self.nodes.get_mut(node) {
                    n.runs.remove(&attempt);
                }
            }
            Action::Report(event) => {
                if let Some(n) = self.nodes.get(node) {
                    self.chronicle.event(now, node, &n.spec, &event);
                }
            }
        }
    }

    pub(super) fn ask(&mut self, node: usize, instance: InstanceId, claim: Option<Arc<crate::spec::Claim>>) {
        let now = self.now;
        let Some(n) = self.nodes.get_mut(node) else { return };
        let epoch = n.epoch;
        let (at, request) = n.kernel.ask(instance, claim, now);
        self.at(at, Happening::Kernel { node, epoch, request });
    }

    fn carry_out(&mut self, node: usize, epoch: u64, request: Request) {
        let now = self.now;
        let Some(n) = self.nodes.get_mut(node).filter(|n| n.epoch == epoch) else { return };
        let done = n.kernel.carry_out(&request);
        if done.again {
            let at = n.kernel.schedule(&request, now + RETRY);
            self.at(at, Happening::Kernel { node, epoch, request: request.clone() });
        }
        self.chronicle.holders(now, &self.nodes);
        for fact in done.facts {
            self.tell(node, News::Link(fact));
        }
        for outcome in done.outcomes {
            if let Outcome::Failed { reason } = &outcome {
                self.chronicle.say(now, node, &format!("the kernel refuses the claim: {reason}"));
            }
            self.tell(node, News::Applied(request.instance, outcome));
        }
        self.tell_addresses(node);
    }

    fn transmit(&mut self, node: usize, transmit: Transmit) {
        let Transmit { ifindex, source, destination, ttl, bytes, .. } = transmit;
        let Some(n) = self.nodes.get(node) else { return };
        let index = if ifindex == 0 { n.kernel.whose(source).unwrap_or_default() } else { ifindex };
        let (Some(segment), true) = (n.wire(index), n.carries(index)) else { return };
        let virtual_mac = n.kernel.link(index).filter(|link| &*link.kind == "macvlan").and_then(|link| link.mac);
        let from = mac(u8::try_from(node + 1).unwrap_or(u8::MAX), index);
        self.chronicle.pcap.datagram(self.now, from, source, destination, ttl.unwrap_or(64), &bytes);
        for other in 0..self.nodes.len() {
            if other == node || !self.lan.hears(node, other, segment) {
                continue;
            }
            let Some(o) = self.nodes.get(other) else { continue };
            let ends: Vec<u32> = if destination.is_multicast() {
                o.on_wire(segment).collect()
            } else {
                o.kernel.whose(destination).into_iter().collect()
            };
            for index in ends {
                let delays: Vec<Interval> = self.lan.fates(&mut self.random).collect();
                for delay in delays {
                    let bytes = bytes.clone();
                    let at = self.now + delay + self.lan.lag(node, other);
                    self.at(at, Happening::Arrive { node: other, index, source, destination, ttl, bytes, virtual_mac });
                }
            }
        }
    }

    /// A datagram reaches an interface: every socket that fits gets it.
    fn arrive(
        &mut self,
        node: usize,
        index: u32,
        (source, destination, ttl): (IpAddr, IpAddr, Option<u8>),
        bytes: Arc<[u8]>,
        virtual_mac: Option<[u8; 6]>,
    ) {
        let Some(n) = self.nodes.get(node) else { return };
        if n.router.is_none() || !n.carries(index) {
            return;
        }
        let family = Family::of(&destination);
        let protocol = match (family, bytes.get(9)) {
            (Family::V4, Some(protocol)) => *protocol,
            _ => PROTOCOL_VRRP,
        };
        let below = |i: u32| n.kernel.link(i).map_or(0, |link| link.lower);
        let mut ends: Vec<u32> = n
            .ports
            .iter()
            .filter(|port| port.family == family && port.protocol == protocol)
            .filter(|port| port.ifindex.is_none_or(|i| i == index || below(i) == index))
            .filter(|port| match destination.is_multicast() {
                // What has the hardware address of a VMAC here goes to that VMAC alone.
                true => {
                    let kept =
                        port.ifindex == Some(index) && virtual_mac.is_some_and(|mac| n.kernel.has_vmac(index, mac));
                    port.group == Some(destination) && !kept
                }
                false => port.group.is_none() && port.local.is_none_or(|local| local == destination),
            })
            .map(|port| port.ifindex.unwrap_or(index))
            .collect();
        ends.sort_unstable();
        ends.dedup();
        for ifindex in ends {
            let meta = RxMeta { ifindex, source, destination, ttl };
            self.tell(node, News::Datagram { meta, bytes: bytes.clone() });
        }
    }

    fn announce(&mut self, node: usize, announce: &Announce) {
        let now = self.now;
        let Some(n) = self.nodes.get(node) else { return };
        let claim = n.spec.instances.get(announce.instance.index()).map(|spec| spec.claim.clone());
        let range = announce.addresses.start as usize..announce.addresses.end as usize;
        let addresses = claim.as_ref().and_then(|claim| claim.addresses.get(range)).unwrap_or_default();
        let has = |a: &IpAddr| n.kernel.held.get(a).or(n.kernel.stolen.get(a)) == Some(&announce.instance);
        let unowned = addresses.iter().find(|a| !has(&a.address));
        self.oracle.announced(node, announce, addresses.len(), unowned.map(|a| a.address), now);
        let index = n.interface_of(announce.instance).unwrap_or_default();
        let from = mac(u8::try_from(node + 1).unwrap_or(u8::MAX), index);
        for address in addresses {
            self.chronicle.pcap.announcement(now, from, address.address);
        }
    }

    fn run_script(&mut self, node: usize, script: ScriptId, attempt: Attempt) {
        let now = self.now;
        let takes = self.random.interval(Interval::from_millis(2), Interval::from_millis(15));
        let Some(n) = self.nodes.get_mut(node) else { return };
        let mut conduct = n.conduct.get(script.index()).copied().unwrap_or_default();
        if conduct == Conduct::Flap {
            n.flip = !n.flip;
            conduct = if n.flip { Conduct::Fail } else { Conduct::Succeed };
        }
        let epoch = n.epoch;
        n.runs.insert(attempt, conduct);
        let (exit, takes) = match conduct {
            Conduct::Succeed => (Exit::Code(0), takes),
            Conduct::Fail => (Exit::Code(1), takes),
            Conduct::Missing => (Exit::NotRun, Interval::ZERO),
            Conduct::Hang | Conduct::Stubborn | Conduct::Flap => return self.script_started(node, attempt),
        };
        self.script_started(node, attempt);
        self.at(now + takes, Happening::Exit { node, epoch, attempt, exit });
    }

    /// There is a process. What follows from that is carried out by the caller, with what the engine has wished before.
    fn script_started(&mut self, node: usize, attempt: Attempt) {
        if let Some(router) = self.nodes.get_mut(node).and_then(|n| n.router.as_mut()) {
            router.handle(Input::ScriptStarted { attempt }, self.now);
        }
    }

    fn kill_script(&mut self, node: usize, attempt: Attempt, signal: KillSignal) {
        let at = self.now + Interval::from_millis(1);
        let Some(n) = self.nodes.get(node) else { return };
        let epoch = n.epoch;
        let Some(conduct) = n.runs.get(&attempt) else { return };
        let exit = match (signal, conduct) {
            (KillSignal::Term, Conduct::Stubborn) => return,
            (KillSignal::Term, _) => Exit::Signal(15),
            (KillSignal::Kill, _) => Exit::Signal(9),
        };
        self.at(at, Happening::Exit { node, epoch, attempt, exit });
    }

    /// Another program removes an address; the daemon's kernel side notices a moment later.
    pub(super) fn steal(&mut self, node: usize, address: IpAddr) {
        let now = self.now;
        let Some(n) = self.nodes.get_mut(node) else { return };
        let epoch = n.epoch;
        if let Some((instance, position)) = n.kernel.steal(address) {
            self.at(now + HEALING, Happening::Heal { node, epoch, instance, position });
        }
        self.chronicle.holders(now, &self.nodes);
    }
}
