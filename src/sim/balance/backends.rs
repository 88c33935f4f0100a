//! Backends: how each server behaves, and what a probe of it finds.

use crate::balance::io::{Finding, Probe, Stage, Symptom};
use crate::spec::balance::{Checker, CheckerKind, Endpoint, LvsSpec};
use crate::time::Interval;
use std::collections::{BTreeMap, BTreeSet};

/// How a modelled server behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Health {
    #[default]
    Up,
    /// Nobody listens; programs that ask it end with 1.
    Refuse,
    /// It answers 503: bad for checks that look at the answer.
    Error,
    /// It answers after this time.
    Slow(Interval),
    /// It takes connections and says nothing.
    Hang,
    /// It has no power: nothing comes back from it, and whoever asks waits as long as he is willing to.
    Dead,
    /// Up and refusing in turn, with each probe.
    Flap,
}

/// What is true of a server now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::sim) enum Truth {
    Good,
    Bad,
    /// It depends.
    Unclear,
}

/// All servers that something was done to.
#[derive(Clone, Debug, Default)]
pub(in crate::sim) struct Backends {
    health: BTreeMap<Endpoint, Health>,
    /// Flapping ones that refuse next.
    refuses: BTreeSet<Endpoint>,
}

impl Backends {
    /// A server by address, or by address and port, is so from here on.
    pub fn set(&mut self, server: Endpoint, health: Health) {
        self.health.retain(|known, _| !(known.address == server.address && server.port.is_none()));
        self.health.insert(server, health);
    }

    fn health(&self, at: Endpoint) -> Health {
        let whole = Endpoint { port: None, ..at };
        self.health.get(&at).or_else(|| self.health.get(&whole)).copied().unwrap_or_default()
    }

    /// What a check finds in the end, and how long that takes; `delay` is what a healthy server needs.
    pub fn answer(&mut self, spec: &LvsSpec, probe: &Probe, delay: Interval) -> (Finding, Interval) {
        let checker = &probe.checker;
        let at = target(spec, checker);
        let health = self.health(at);
        let limit = limit(checker);
        let misc = matches!(checker.kind, CheckerKind::Misc { .. });
        let refused = || Finding::Bad(if misc { Symptom::Exit(1) } else { Symptom::Refused });
        let late = || Finding::Bad(Symptom::TimedOut(if misc { Stage::Program } else { Stage::Answer }));
        match health {
            Health::Up => (Finding::Good, delay),
            Health::Dead => dead(checker),
            Health::Refuse => (refused(), delay),
            Health::Flap => {
                let refuses = self.refuses.remove(&at);
                if !refuses {
                    self.refuses.insert(at);
                }
                (if refuses { refused() } else { Finding::Good }, delay)
            }
            Health::Error if minds(checker) => {
                (Finding::Bad(if misc { Symptom::Exit(1) } else { Symptom::Status(503) }), delay)
            }
            Health::Error => (Finding::Good, delay),
            // A connection is made at once; only the answer is slow.
            Health::Slow(_) | Health::Hang if matches!(checker.kind, CheckerKind::Tcp) => (Finding::Good, delay),
            Health::Slow(by) if by + delay < limit => (Finding::Good, by + delay),
            Health::Slow(_) | Health::Hang => (late(), limit),
        }
    }

    /// What a check of a server must come to while everything stays as it is.
    pub fn truth(&self, spec: &LvsSpec, checker: &Checker) -> Truth {
        let limit = limit(checker);
        match (self.health(target(spec, checker)), &checker.kind) {
            (_, CheckerKind::File { .. } | CheckerKind::Bfd { .. }) | (Health::Flap, _) => Truth::Unclear,
            (Health::Up, _) | (Health::Slow(_) | Health::Hang, CheckerKind::Tcp) => Truth::Good,
            (Health::Dead, _) if dead(checker).0 == Finding::Good => Truth::Good,
            (Health::Refuse | Health::Hang | Health::Dead, _) => Truth::Bad,
            (Health::Error, _) => {
                if minds(checker) {
                    Truth::Bad
                } else {
                    Truth::Good
                }
            }
            (Health::Slow(by), _) if by > limit => Truth::Bad,
            (Health::Slow(by), _) if by + Interval::from_millis(10) < limit => Truth::Good,
            (Health::Slow(_), _) => Truth::Unclear,
        }
    }
}

/// What a check finds of a server without power, and how long that takes it.
pub(in crate::sim) fn dead(checker: &Checker) -> (Finding, Interval) {
    let stage = match &checker.kind {
        // Silence is good.
        CheckerKind::Udp { reply: None, .. } => return (Finding::Good, limit(checker)),
        CheckerKind::Misc { .. } => Stage::Program,
        CheckerKind::Ping | CheckerKind::Udp { .. } | CheckerKind::Dns { .. } => Stage::Answer,
        _ => Stage::Connect,
    };
    (Finding::Bad(Symptom::TimedOut(stage)), limit(checker))
}

/// Checks that look at an answer mind what it is.
fn minds(checker: &Checker) -> bool {
    match &checker.kind {
        CheckerKind::Http(http) => {
            http.pages.iter().all(|page| page.status.iter().all(|(first, last)| !(*first..=*last).contains(&503)))
        }
        CheckerKind::Misc { .. } => true,
        _ => false,
    }
}

/// Whom a check asks: a program asks the server that it is written for.
fn target(spec: &LvsSpec, checker: &Checker) -> Endpoint {
    if let Some(connection) = &checker.connection {
        return connection.to;
    }
    let servers = spec.services.iter().flat_map(|service| &service.servers);
    let owner = servers.into_iter().find(|server| server.checkers.iter().any(|own| own.kind == checker.kind));
    owner.map_or(Endpoint { address: std::net::Ipv4Addr::UNSPECIFIED.into(), port: None }, |server| server.endpoint)
}

/// How long a check waits for an answer.
pub(in crate::sim) fn limit(checker: &Checker) -> Interval {
    match (&checker.kind, &checker.connection) {
        (CheckerKind::Misc { timeout, .. }, _) if timeout.is_zero() => {
            checker.timing.map(|timing| timing.delay_loop).unwrap_or_default()
        }
        (CheckerKind::Misc { timeout, .. }, _) => *timeout,
        (_, Some(connection)) => connection.timeout,
        (_, None) => Interval::ZERO,
    }
}
