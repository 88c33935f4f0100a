//! Backends: how each server behaves, and what a probe of it finds.

use crate::balance::io::{Finding, Probe, Stage, Symptom};
use crate::spec::backend::{End, Health, Truth, limit};
use crate::spec::balance::{Checker, Endpoint, LvsSpec, Means};
use crate::time::Interval;
use std::collections::{BTreeMap, BTreeSet};

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
        let mut health = self.health(at);
        // A server that flaps refuses every second probe.
        if health == Health::Flap {
            health = if self.refuses.remove(&at) { Health::Refuse } else { Health::Up };
            if health == Health::Up {
                self.refuses.insert(at);
            }
        }
        found(health, checker, delay)
    }

    /// What a check of a server must come to while everything stays as it is.
    pub fn truth(&self, spec: &LvsSpec, checker: &Checker) -> Truth {
        self.health(target(spec, checker)).truth(checker)
    }
}

/// What a check finds of a server that behaves so, and how long that takes it.
fn found(health: Health, checker: &Checker, delay: Interval) -> (Finding, Interval) {
    let means = checker.kind.means();
    let misc = means == Means::Program;
    let bad = |symptom| Finding::Bad(if misc { Symptom::Exit(1) } else { symptom });
    let late = |stage| Finding::Bad(Symptom::TimedOut(if misc { Stage::Program } else { stage }));
    let waits_for = match means {
        Means::Echo | Means::Datagram => Stage::Answer,
        Means::Connection | Means::Program | Means::Told => Stage::Connect,
    };
    match health.end(checker) {
        // Silence is good, once the time is over.
        End::Good if health == Health::Dead => (Finding::Good, limit(checker)),
        End::Good => (Finding::Good, delay),
        End::Late(by) if by + delay < limit(checker) => (Finding::Good, by + delay),
        End::Late(_) | End::Silent => (late(Stage::Answer), limit(checker)),
        End::Refused => (bad(Symptom::Refused), delay),
        End::Error => (bad(Symptom::Status(503)), delay),
        End::Dead => (late(waits_for), limit(checker)),
    }
}

/// What a check finds of a server without power, and how long that takes it.
pub(in crate::sim) fn dead(checker: &Checker) -> (Finding, Interval) {
    found(Health::Dead, checker, Interval::ZERO)
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
