//! One server of a world: its daemon's engine (or none, when it is dead), its modelled kernel and its modelled scripts.

use super::balance::Post;
use super::bfd::seat::Seat;
use super::clocks::Clock;
use super::kernel::Kernel;
use super::lan::Lan;
use super::report::{ServerStanding, Standing};
use super::router::Router;
use super::scenario::Conduct;
use crate::balance::snapshot::{ServerView, ServiceView};
use crate::spec::balance::VirtualServer;
use crate::spec::{IfName, InstanceId, InstanceSpec, Spec};
use crate::time::{Interval, Time};
use crate::vrrp::io::{Attempt, Exit, Fault, Input, LinkFact, Outcome, Port, RxMeta, TrackValue, Tracker, Wall};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Datagrams that wait in the socket of a stopped process; the kernel drops what comes after.
const SOCKET_BUFFER: usize = 256;

pub(super) struct Node {
    pub name: Box<str>,
    pub spec: Arc<Spec>,
    /// As the files say it: what is taken out can be put back.
    pub origin: Arc<Spec>,
    /// `None`: no daemon runs.
    pub router: Option<Box<dyn Router>>,
    pub paused: bool,
    /// SIGTERM came while it was stopped: it takes effect when it goes on.
    pub terminate: bool,
    /// Counts lives: what was under way in an earlier one is void.
    pub epoch: u64,
    pub kernel: Kernel,
    pub ports: Vec<Port>,
    /// What waits while the process is stopped, and since when.
    pub inbox: VecDeque<(Time, News)>,
    pub conduct: Vec<Conduct>,
    pub runs: BTreeMap<Attempt, Conduct>,
    pub flip: bool,
    pub files: Vec<i32>,
    pub processes: Vec<u32>,
    /// Wake-ups come late by up to this much.
    pub late: Interval,
    /// Its BFD sessions, while the daemon runs.
    pub seat: Option<Box<Seat>>,
    pub wake: Option<Time>,
    pub deadline: Option<Time>,
    pub clock: Clock,
    /// Its virtual servers.
    pub post: Post,
    /// Segment of each interface, by index.
    wires: BTreeMap<u32, usize>,
    /// When a link was last said to go down, by index.
    downs: BTreeMap<u32, Time>,
}

/// An [`Input`] that can wait.
#[derive(Clone, Debug)]
pub(super) enum News {
    Datagram { meta: RxMeta, bytes: Arc<[u8]> },
    Link(LinkFact),
    Tracked(Tracker, TrackValue),
    Exited(Attempt, Exit),
    Applied(InstanceId, Outcome),
}

impl News {
    /// As the engine is told it.
    pub fn input(&self) -> Input<'_> {
        match self {
            News::Datagram { meta, bytes } => Input::Datagram { meta: *meta, bytes },
            News::Link(fact) => Input::Link(fact.clone()),
            News::Tracked(tracker, value) => Input::Tracked { tracker: *tracker, value: *value },
            News::Exited(attempt, exit) => Input::ScriptExited { attempt: *attempt, exit: *exit },
            News::Applied(instance, outcome) => Input::Applied { instance: *instance, outcome: outcome.clone() },
        }
    }
}

impl Node {
    /// A server that has not been started.
    pub fn new(number: usize, name: &str, spec: Arc<Spec>, lan: &Lan) -> Node {
        let kernel = Kernel::new(number, &spec, lan);
        let own = |index: u32| kernel.link(index).and_then(|link| lan.place(number, link.name.as_str()));
        let wires = kernel
            .links
            .iter()
            .filter_map(|l| own(if l.lower == 0 { l.index } else { l.lower }).map(|place| (l.index, place)))
            .collect();
        Node {
            name: name.into(),
            conduct: spec.scripts.iter().map(|script| Conduct::by_nature(&script.run)).collect(),
            files: spec.files.iter().map(|file| file.init.map_or(0, |(value, _)| value)).collect(),
            processes: spec.processes.iter().map(|process| process.quorum).collect(),
            origin: spec.clone(),
            spec,
            router: None,
            paused: false,
            terminate: false,
            epoch: 0,
            kernel,
            ports: Vec::new(),
            inbox: VecDeque::new(),
            runs: BTreeMap::new(),
            flip: false,
            late: Interval::ZERO,
            seat: None,
            wake: None,
            deadline: None,
            clock: Clock::new(),
            post: Post::default(),
            wires,
            downs: BTreeMap::new(),
        }
    }

    /// Where each instance stands.
    pub fn standings(&self, now: Time) -> Vec<Standing> {
        let snapshot = self.router.as_ref().map(|router| router.snapshot(now));
        let stand = |(number, instance): (usize, &InstanceSpec)| {
            let view = snapshot.as_ref().and_then(|s| s.instances.iter().find(|view| view.name == instance.name));
            let held = self.kernel.held.iter().filter(|(_, holder)| holder.index() == number);
            Standing {
                server: self.name.clone(),
                instance: instance.name.clone(),
                state: view.map(|view| view.state),
                addresses: held.map(|(address, _)| *address).collect(),
            }
        };
        self.spec.instances.iter().enumerate().map(stand).collect()
    }

    /// Where every real server stands on it.
    pub fn server_standings(&self, now: Time) -> Vec<ServerStanding> {
        let snapshot = self.post.director.as_ref().map(|director| director.snapshot(now));
        let services = snapshot.iter().flat_map(|snapshot| snapshot.services.iter().zip(&self.spec.balance.services));
        let of = |(view, own): (&ServiceView, &VirtualServer)| -> Vec<ServerStanding> {
            let pool = view.quorum || own.sorry.is_none();
            let seat = |server: &ServerView| ServerStanding {
                server: self.name.clone(),
                service: view.info.text.clone(),
                real: server.info.text.clone(),
                good: server.failed == 0,
                serves: pool && server.up && server.weight > 0,
            };
            view.servers.iter().map(seat).collect()
        };
        services.flat_map(of).collect()
    }

    /// A daemon runs and is not stopped.
    pub fn awake(&self) -> bool {
        self.router.is_some() && !self.paused
    }

    /// Segment that an interface is on.
    pub fn wire(&self, index: u32) -> Option<usize> {
        self.wires.get(&index).copied()
    }

    /// Interfaces on a segment, virtual ones left out: they hear through the one below.
    pub fn on_wire(&self, segment: usize) -> impl Iterator<Item = u32> + '_ {
        let base = |index: &u32| self.kernel.link(*index).is_some_and(|link| link.lower == 0);
        self.wires.iter().filter(move |(_, place)| **place == segment).map(|(index, _)| *index).filter(base)
    }

    /// Can bytes go through this interface?
    pub fn carries(&self, index: u32) -> bool {
        let running = |index: u32| self.kernel.link(index).is_some_and(|link| link.running && link.up);
        match self.kernel.link(index) {
            Some(link) if link.lower != 0 => link.running && running(link.lower),
            Some(link) => link.running && link.up,
            None => false,
        }
    }

    /// Index of the interface that an instance's adverts go through.
    pub fn interface_of(&self, instance: InstanceId) -> Option<u32> {
        let spec = self.spec.instances.get(instance.index())?;
        self.kernel.index(spec.interface.as_ref().map_or("eth0", |name| name.as_str()))
    }

    /// Interface that BFD packets go through: that of the first instance, else the first.
    pub fn session_link(&self) -> Option<u32> {
        // As the files have it: a reload that takes an instance out moves no session.
        let first = self.origin.instances.first();
        let name = first.map(|spec| spec.interface.as_ref().map_or("eth0", |name| name.as_str()));
        name.and_then(|name| self.kernel.index(name)).or_else(|| self.kernel.links.first().map(|link| link.index))
    }

    /// Interfaces without which an instance may not be master.
    pub fn needs(&self, instance: InstanceId) -> impl Iterator<Item = u32> + '_ {
        let spec = self.spec.instances.get(instance.index());
        let own = spec.filter(|spec| spec.track_primary).and_then(|_| self.interface_of(instance));
        let ties = spec.into_iter().flat_map(|spec| &spec.ties).filter(|tie| tie.weight == 0 && !tie.reverse);
        let tracked = ties.filter_map(|tie| self.kernel.index(tie.on.interface()?.as_str()));
        own.into_iter().chain(tracked)
    }

    /// Is what is said to hold an instance in FAULT not so, as far as the world can see?
    pub fn denies(&self, instance: InstanceId, fault: &Fault) -> bool {
        let reversed = |spec: &InstanceSpec| spec.ties.iter().any(|tie| tie.reverse && tie.weight == 0);
        if self.spec.instances.get(instance.index()).is_none_or(reversed) {
            return false;
        }
        let script = |name: &str| {
            let at = self.spec.scripts.iter().position(|script| *script.name == *name);
            at.and_then(|at| self.conduct.get(at)) == Some(&Conduct::Succeed)
        };
        let file = |name: &str| {
            let at = self.spec.files.iter().position(|file| *file.name == *name);
            at.and_then(|at| self.files.get(at)) == Some(&0)
        };
        let process = |name: &str| {
            let mut all = self.spec.processes.iter().zip(&self.processes).filter(|(spec, _)| *spec.name == *name);
            all.any(|(spec, count)| *count >= spec.quorum && spec.quorum_max.is_none_or(|most| *count <= most))
        };
        match fault {
            Fault::InterfaceDown(name) | Fault::BaseInterfaceDown(name) => {
                self.kernel.index(name.as_str()).is_some_and(|index| self.carries(index))
            }
            Fault::Tracker(name) => script(name) || file(name) || process(name),
            Fault::Pending(name) => script(name),
            Fault::InterfaceMissing(_)
            | Fault::NoSourceAddress
            | Fault::SourceAbsent(_)
            | Fault::NoSocket(_)
            | Fault::CannotSend(_)
            | Fault::DuplicateVrid
            | Fault::Config(_)
            | Fault::Group(_) => false,
        }
    }

    /// News that the daemon is told at `now`.
    pub fn note(&mut self, news: &News, now: Time) {
        if let News::Link(LinkFact::Changed(link)) = news
            && !link.running
        {
            self.downs.insert(link.index, now);
        }
    }

    /// Is this link down, and has it been for longer than is waited for? `late`: wake-ups may come so late.
    pub fn has_lost(&self, index: u32, late: Interval, now: Time) -> bool {
        let delay = |name: &IfName| self.spec.debounce.iter().find(|d| d.interface == *name).map(|d| d.down);
        let patience = self.kernel.link(index).and_then(|link| delay(&link.name)).map(|delay| delay + late);
        let since = self.downs.get(&index).copied().unwrap_or(Time::ZERO);
        !self.carries(index) && patience.is_none_or(|patience| now.since(since) > patience)
    }

    /// What the wall clock shows.
    pub fn wall(&self, now: Time) -> Wall {
        Wall { at: now, unix_micros: self.clock.wall + now.as_micros() }
    }

    /// Keeps news for a stopped process; a full socket drops datagrams.
    pub fn keep(&mut self, news: News, now: Time) {
        let waiting = || self.inbox.iter().filter(|(_, n)| matches!(n, News::Datagram { .. })).count();
        if matches!(news, News::Datagram { .. }) && waiting() >= SOCKET_BUFFER {
            return;
        }
        self.inbox.push_back((now, news));
    }
}
