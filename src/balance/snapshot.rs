//! The read model: a copy of the state in the words that people and tools see.

use super::Balancer;
use super::check::Found;
pub use super::check::Made;
use super::io::{Finding, ServerInfo, ServiceInfo, ServiceKey, TrackValue, Tracker, Why};
use super::server::{Seat, Server};
use super::service::Service;
use crate::spec::balance::{Checker, Endpoint, LvsSpec};
use crate::time::{Interval, Time};
use std::collections::BTreeMap;
use std::sync::Arc;

/// All virtual servers at one moment.
#[derive(Clone, PartialEq, Debug)]
pub struct Snapshot {
    pub now: Time,
    /// The configuration: its virtual servers, and their servers, stand in the same order here.
    pub spec: Arc<LvsSpec>,
    pub services: Vec<ServiceView>,
    /// What tracked files hold.
    pub files: BTreeMap<Box<str>, i64>,
}

/// One virtual server; of a group, all of its addresses and marks together.
#[derive(Clone, PartialEq, Debug)]
pub struct ServiceView {
    pub info: Arc<ServiceInfo>,
    /// Services of the kernel's table that it stands for.
    pub keys: Vec<ServiceKey>,
    pub quorum: bool,
    /// What its servers weigh together that count.
    pub weight: u64,
    pub since: Time,
    /// The sorry server that serves.
    pub sorry: Option<Endpoint>,
    /// Checks are made: the virtual address is here, or that does not matter.
    pub enabled: bool,
    /// The error numbers with which the kernel refused services of it.
    pub refused: Vec<(ServiceKey, i32)>,
    /// When what the kernel refused is wished for once more.
    pub retry: Option<Time>,
    pub servers: Vec<ServerView>,
}

/// One real server of one virtual server.
#[derive(Clone, PartialEq, Debug)]
pub struct ServerView {
    pub info: Arc<ServerInfo>,
    /// It counts for the quorum: no check of it is bad, and the kernel has refused its entry nowhere.
    pub up: bool,
    /// It is in the kernel's table; perhaps with weight 0.
    pub present: bool,
    pub since: Time,
    pub why: Why,
    /// The configured weight, 0..=2³¹−1.
    pub base: u32,
    /// Base and all parts, or what an operator set; not clamped.
    pub weight: i64,
    pub drained: bool,
    /// The weight that an operator set.
    pub weighed: Option<u32>,
    /// How many checks are bad.
    pub failed: usize,
    /// The kernel's error number, if it refused the entry.
    pub refused: Option<i32>,
    pub checks: Vec<CheckView>,
}

/// A check of a real server.
#[derive(Clone, PartialEq, Debug)]
pub struct CheckView {
    pub checker: Arc<Checker>,
    pub up: bool,
    /// It has been made at least once.
    pub ran: bool,
    /// What it adds to the weight.
    pub part: i64,
    pub enabled: bool,
    /// For how many servers it is made; 0 if it is told and not made.
    pub shared: usize,
    /// The last finding, when it came, how long the attempt took, and how many times in a row it was good or bad.
    pub last: Option<(Finding, Time, Interval, u64)>,
    /// How often attempts ended how, since this program began.
    pub made: Made,
    /// Retries that are used up.
    pub retries: u32,
    /// When the next attempt begins; none while one is under way.
    pub due: Option<Time>,
    pub running: bool,
    /// The page that made it bad, of HTTP_GET and SSL_GET.
    pub failing: Option<usize>,
}

impl Balancer {
    /// The read model at `now`.
    pub fn snapshot(&self, now: Time) -> Snapshot {
        let spec = self.spec.clone();
        let file = |(tracker, value): (&Tracker, &TrackValue)| match (tracker, value) {
            (Tracker::File(name), TrackValue::Number(number)) => Some((name.clone(), *number)),
            _ => None,
        };
        let services = self.services.iter().map(|service| self.view(service)).collect();
        Snapshot { now, spec, services, files: self.trackers.iter().filter_map(file).collect() }
    }

    fn view(&self, service: &Service) -> ServiceView {
        let refused = |key: &ServiceKey| self.table.get(key).and_then(|entry| entry.refused).map(|error| (*key, error));
        ServiceView {
            info: service.info.clone(),
            keys: service.keys.clone(),
            quorum: service.quorum,
            weight: service.servers.weight(),
            since: service.since,
            sorry: service.sorry.map(|(endpoint, _)| endpoint),
            enabled: service.enabled,
            refused: service.keys.iter().filter_map(refused).collect(),
            retry: service.retry.map(|(at, _)| at).filter(|at| *at != Time::NEVER),
            servers: service.servers.iter().map(|server| self.view_server(service, server)).collect(),
        }
    }

    fn view_server(&self, service: &Service, server: &Server) -> ServerView {
        ServerView {
            info: server.info.clone(),
            up: server.alive(),
            present: service.holds(server),
            since: server.since,
            why: server.why.clone(),
            base: server.base,
            weight: server.weight(),
            drained: server.drained,
            weighed: server.weighed,
            failed: server.failed(),
            refused: server.refused.values().next().copied(),
            checks: server.seats.iter().map(|seat| self.view_seat(service, seat)).collect(),
        }
    }

    fn view_seat(&self, service: &Service, seat: &Seat) -> CheckView {
        let check = seat.check.and_then(|at| self.checks.get(at as usize));
        let last = |found: &Found| (found.finding.clone(), found.at, found.took, found.times);
        CheckView {
            checker: seat.info.checker.clone(),
            up: seat.up,
            ran: seat.ran,
            part: seat.part,
            enabled: service.enabled || check.is_none(),
            shared: check.map_or(0, |check| check.places.len()),
            last: check.and_then(|check| check.found.as_ref()).map(last),
            made: check.map_or_else(Made::default, |check| check.made),
            retries: check.map_or(0, |check| check.machine.count),
            due: check.and_then(|check| check.due),
            running: check.is_some_and(|check| check.running.is_some()),
            failing: check.and_then(|check| check.machine.failing),
        }
    }
}
