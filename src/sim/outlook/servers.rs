//! How long a real server that has lost power still gets connections, played with the balancer that the daemon runs.
//!
//! A server alone, with its own checks: it is good until it is in the table, then dies right after a check found it good,
//! where that takes longest to be noticed, and the time is taken until the table no longer sends anything to it. With
//! several checks it dies after each of them in turn, and the longest time counts. Servers whose checks are alike are played
//! once.

use crate::balance::Balancer;
use crate::balance::io::{Action, Attempt, Beginning, Finding, Input, Outcome};
use crate::sim::balance::dead;
use crate::spec::backend::bound;
use crate::spec::balance::{Checker, CheckerKind, LvsSettings, LvsSpec, RealServer, Target, VirtualServer};
use crate::time::{Interval, Time};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What a healthy server needs for an answer.
const ANSWER: Interval = Interval::from_millis(1);
/// Answers of checks after each of which the server dies once.
const DEATHS: usize = 8;
/// Services that are named before the rest is counted.
const NAMED: usize = 2;

/// By virtual server: of how many of its servers something is said, and how many it has.
type Services = BTreeMap<String, (usize, usize)>;

/// What becomes of a server that has died.
#[derive(Clone, PartialEq, Debug)]
pub enum Death {
    /// At the longest it still gets connections for so long; the check that took it out decides.
    Noticed { after: Interval, by: Arc<Checker> },
    /// For ever: it has no check, or none that minds silence.
    Unnoticed,
}

/// One sentence for all servers of which the same is to be said.
pub fn deaths(spec: &LvsSpec) -> Vec<String> {
    let mut played: HashMap<Vec<Checker>, Death> = HashMap::new();
    let mut said: Vec<(String, Services)> = Vec::new();
    for service in &spec.services {
        for server in service.servers.iter().filter(|server| server.weight > 0) {
            let checks: Vec<Checker> = server.checkers.iter().map(shape).collect();
            let death = played.entry(checks).or_insert_with(|| death(spec, service, server));
            let sentence = sentence(server, death);
            let at = said.iter().position(|(known, _)| *known == sentence).unwrap_or(said.len());
            if at == said.len() {
                said.push((sentence, BTreeMap::new()));
            }
            if let Some((_, services)) = said.get_mut(at) {
                let all = service.servers.len();
                services.entry(service.target.to_string()).or_insert((0, all)).0 += 1;
            }
        }
    }
    said.iter().map(|(sentence, services)| format!("{sentence} ({}).", whom(services))).collect()
}

/// What of a check tells how long it takes, wherever it asks.
fn shape(checker: &Checker) -> Checker {
    let mut shape = checker.clone();
    if let Some(connection) = &mut shape.connection {
        connection.to.address = std::net::Ipv4Addr::UNSPECIFIED.into();
        connection.to.port = None;
    }
    shape
}

fn whom(services: &Services) -> String {
    let one = |(name, (count, all)): (&String, &(usize, usize))| match (count, all) {
        (1, 1) => format!("virtual_server {name}"),
        (count, all) if count == all => format!("virtual_server {name}: all {all} servers"),
        (count, all) => format!("virtual_server {name}: {count} of {all} servers"),
    };
    let mut words: Vec<String> = services.iter().take(NAMED).map(one).collect();
    if services.len() > NAMED {
        words.push(format!("{} more", services.len() - NAMED));
    }
    words.join(", ")
}

fn sentence(server: &RealServer, death: &Death) -> String {
    match death {
        Death::Noticed { after, by } => {
            format!("a real server that loses power still gets connections for up to {after} s: {}", because(by))
        }
        Death::Unnoticed if server.checkers.is_empty() => {
            "a real server that loses power gets connections for ever: it has no check".into()
        }
        Death::Unnoticed => {
            let kinds: Vec<&str> = server.checkers.iter().map(|check| check.kind.keyword()).collect();
            let kinds = kinds.join(" and ");
            format!("a real server that loses power gets connections for ever: silence is good for its {kinds}")
        }
    }
}

/// The settings that add up to it, in the words of the file.
fn because(checker: &Checker) -> String {
    let mut words = vec![checker.kind.keyword().to_owned()];
    let Some(timing) = checker.timing else { return words.concat() };
    words.push(format!("delay_loop {}", timing.delay_loop));
    match (&checker.kind, &checker.connection) {
        (CheckerKind::Misc { timeout, .. }, _) if !timeout.is_zero() => words.push(format!("misc_timeout {timeout}")),
        (_, Some(connection)) => words.push(format!("connect_timeout {}", connection.timeout)),
        _ => {}
    }
    words.push(format!("retry {}", timing.retry));
    if timing.retry > 0 {
        words.push(format!("delay_before_retry {}", timing.delay_before_retry));
    }
    let rest = words.split_off(1).join(", ");
    format!("{} with {rest}", words.concat())
}

/// Plays one server's death.
pub fn death(spec: &LvsSpec, service: &VirtualServer, server: &RealServer) -> Death {
    let alone = Arc::new(alone(spec, service, server));
    let longest = bound(server, Interval::ZERO).times(3) + Interval::from_secs(60);
    let mut worst: Option<(Interval, Arc<Checker>)> = None;
    for after in 0..DEATHS.min(server.checkers.len() * 2) {
        match (Play { balancer: Balancer::begin(alone.clone(), Beginning::default(), 0, Time::ZERO), serves: false })
            .run(after, longest)
        {
            Some(found) if worst.as_ref().is_none_or(|(longest, _)| found.0 > *longest) => worst = Some(found),
            Some(_) => {}
            None => return Death::Unnoticed,
        }
    }
    worst.map_or(Death::Unnoticed, |(after, by)| Death::Noticed { after, by })
}

/// The configuration with this server only; what cannot be played (files, sessions) does not take it out.
fn alone(spec: &LvsSpec, service: &VirtualServer, server: &RealServer) -> LvsSpec {
    let mut server = server.clone();
    server.checkers.retain(|checker| checker.timing.is_some());
    let service = VirtualServer {
        ha_suspend: false,
        quorum: 1,
        hysteresis: 0,
        sorry: None,
        quorum_up: None,
        quorum_down: None,
        servers: vec![server],
        ..service.clone()
    };
    let groups = match &service.target {
        Target::Group(name) => spec.groups.iter().filter(|group| group.name == *name).cloned().collect(),
        Target::Address(_) | Target::Mark(_) => Vec::new(),
    };
    LvsSpec {
        settings: LvsSettings { seed: Some(0), ..LvsSettings::default() },
        tls: None,
        groups,
        services: vec![service],
    }
}

struct Play {
    balancer: Balancer,
    /// Does the table send anything to the server?
    serves: bool,
}

impl Play {
    /// The server dies after the answer number `after` that found it good, counted once it serves and every check has been
    /// made. How long it still serves; `None` if it does for `longest`, or never did.
    fn run(mut self, after: usize, longest: Interval) -> Option<(Interval, Arc<Checker>)> {
        let (mut now, mut good, mut died) = (Time::ZERO, 0, None);
        let mut under_way: BTreeMap<(Time, Attempt), (Finding, Arc<Checker>)> = BTreeMap::new();
        let mut blamed: Option<Arc<Checker>> = None;
        loop {
            while let Some(action) = self.balancer.poll() {
                match action {
                    Action::Probe { attempt, probe, .. } => {
                        let alive = || (Finding::Good, ANSWER);
                        let (finding, takes) = if died.is_some() { dead(&probe.checker) } else { alive() };
                        under_way.insert((now + takes, attempt), (finding, probe.checker));
                    }
                    Action::Abandon(gone) => under_way.retain(|(_, attempt), _| *attempt != gone),
                    Action::Serve { service, version, picture } => {
                        self.serves = picture.destinations.values().any(|destination| destination.weight > 0);
                        self.balancer.handle(Input::Applied { service, version, outcome: Outcome::default() }, now);
                    }
                    _ => {}
                }
            }
            if let (Some(died), false) = (died, self.serves) {
                return blamed.map(|by| (now.since(died), by));
            }
            let answer = under_way.first_key_value().map(|((at, attempt), _)| (*at, *attempt));
            let next = answer.map(|(at, _)| at).into_iter().chain(self.balancer.deadline()).min()?;
            now = next.max(now);
            if died.map_or(now.since(Time::ZERO) > longest.times(4), |died| now.since(died) > longest) {
                return None;
            }
            match answer.filter(|(at, _)| *at <= now).and_then(|key| under_way.remove(&key).map(|of| (key, of))) {
                Some(((_, attempt), (finding, checker))) => {
                    let is_good = finding == Finding::Good;
                    if !is_good {
                        blamed = Some(checker);
                    }
                    self.balancer.handle(Input::Probed { attempt, finding }, now);
                    if is_good && died.is_none() && self.serves && self.all_made(now) {
                        if good == after {
                            died = Some(now);
                            // What has been begun before finds nobody either.
                            for ((_, attempt), (_, checker)) in std::mem::take(&mut under_way) {
                                let (finding, takes) = dead(&checker);
                                under_way.insert((now + takes, attempt), (finding, checker));
                            }
                        }
                        good += 1;
                    }
                }
                None => self.balancer.handle(Input::Tick, now),
            }
        }
    }

    /// Has every check been made?
    fn all_made(&self, now: Time) -> bool {
        let snapshot = self.balancer.snapshot(now);
        let servers = snapshot.services.iter().flat_map(|service| &service.servers);
        servers.flat_map(|server| &server.checks).all(|check| check.ran)
    }
}
