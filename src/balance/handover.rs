//! What one balancer leaves to the next, so that another program file can go on: health, retries, schedules, what operators
//! set. No connection is lost, no check is made earlier, and nobody is notified of what he knows.
//!
//! A [`Handover`] holds facts by what makes things the same ([`super::names`]) and in absolute monotonic time, which goes on
//! across exec(2). Each service, server and check is read by itself; what cannot be read begins afresh.

use super::check::{Found, Machine, Made};
use super::io::{Beginning, Finding, Symptom, TrackValue, Tracker, Why};
use super::reload::{Begin, Life, Past, PastCheck, PastServer, PastService};
use super::server::{Seat, Server};
use super::service::Service;
use super::{Balancer, Numbers, names};
use crate::handover::{each, or_default};
use crate::spec::balance::{Endpoint, LvsSpec, Protocol};
use crate::time::{Interval, Time};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Everything worth keeping of a balancer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Handover {
    /// Format of the writer, [`crate::handover::VERSION`].
    #[serde(default, deserialize_with = "or_default")]
    version: u32,
    #[serde(default, deserialize_with = "each")]
    services: Vec<ServiceHandover>,
    /// Group, protocol and mark of `nftables_ipvs`.
    #[serde(default, deserialize_with = "each")]
    marks: Vec<(Box<str>, Protocol, u32)>,
    #[serde(default, deserialize_with = "each")]
    trackers: Vec<(Tracker, TrackValue)>,
    #[serde(default, deserialize_with = "or_default")]
    numbers: Numbers,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct ServiceHandover {
    identity: Box<str>,
    quorum: bool,
    #[serde(default, deserialize_with = "or_default")]
    since: Time,
    /// The sorry server that is in, and its inhibit.
    #[serde(default, deserialize_with = "or_default")]
    sorry: Option<(Endpoint, bool)>,
    #[serde(default, deserialize_with = "each")]
    servers: Vec<ServerHandover>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct ServerHandover {
    endpoint: Endpoint,
    alive: bool,
    #[serde(default, deserialize_with = "or_default")]
    drained: bool,
    #[serde(default, deserialize_with = "or_default")]
    weighed: Option<u32>,
    /// The error number with which the kernel refused it.
    #[serde(default, deserialize_with = "or_default")]
    refused: Option<i32>,
    #[serde(default, deserialize_with = "or_default")]
    confirmed: bool,
    #[serde(default, deserialize_with = "or_default")]
    since: Time,
    /// Identity of the check that decided, and what it found.
    #[serde(default, deserialize_with = "or_default")]
    why: Option<(Box<str>, Option<Symptom>)>,
    #[serde(default, deserialize_with = "each")]
    checks: Vec<CheckHandover>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct CheckHandover {
    identity: Box<str>,
    up: bool,
    ran: bool,
    /// `None`: it is told, or the machine cannot be read.
    #[serde(default, deserialize_with = "or_default")]
    machine: Option<Machine>,
    #[serde(default, deserialize_with = "or_default")]
    due: Option<Time>,
    #[serde(default, deserialize_with = "or_default")]
    found: Option<FoundHandover>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct FoundHandover {
    finding: Finding,
    at: Time,
    took_us: u64,
    times: u64,
}

impl Balancer {
    /// Writes down what the next is to know. This one should not be used afterwards.
    pub fn hand_over(&self) -> Handover {
        Handover {
            version: crate::handover::VERSION,
            services: self.services.iter().map(|service| self.left(service)).collect(),
            marks: self.marks.given().map(|(group, protocol, mark)| (group.into(), protocol, mark)).collect(),
            trackers: self.trackers.iter().map(|(tracker, value)| (tracker.clone(), *value)).collect(),
            numbers: self.numbers,
        }
    }

    fn left(&self, service: &Service) -> ServiceHandover {
        ServiceHandover {
            identity: service.identity.clone(),
            quorum: service.quorum,
            since: service.since,
            sorry: service.sorry,
            servers: service.servers.iter().map(|server| self.left_of_server(server)).collect(),
        }
    }

    fn left_of_server(&self, server: &Server) -> ServerHandover {
        ServerHandover {
            endpoint: server.info.endpoint,
            alive: server.alive(),
            drained: server.drained,
            weighed: server.weighed,
            refused: server.refused.values().next().copied(),
            confirmed: server.confirmed,
            since: server.since,
            why: match &server.why {
                Why::Check(check, symptom) => Some((names::identity(&check.checker), symptom.clone())),
                Why::Start | Why::Refused(_) | Why::NoTable(_) | Why::Accepted | Why::Reload => None,
            },
            checks: server.seats.iter().map(|seat| self.left_of_seat(seat)).collect(),
        }
    }

    fn left_of_seat(&self, seat: &Seat) -> CheckHandover {
        let check = seat.check.and_then(|at| self.checks.get(at as usize));
        CheckHandover {
            identity: names::identity(&seat.info.checker),
            up: seat.up,
            ran: seat.ran,
            machine: check.map(|check| check.machine),
            // An attempt under way is lost, and made once more.
            due: check.and_then(|check| check.due.or(check.running.map(|running| running.began))),
            found: check.and_then(|check| check.found.as_ref()).map(|found| FoundHandover {
                finding: found.finding.clone(),
                at: found.at,
                took_us: found.took.as_micros(),
                times: found.times,
            }),
        }
    }

    /// A balancer that goes on where another ended. Every picture is wished for once more, and nothing is notified that is
    /// as it was.
    pub fn inherit(spec: Arc<LvsSpec>, world: Beginning, left: &Handover, seed: u64, now: Time) -> Balancer {
        let known = left.trackers.iter().cloned();
        let world = Beginning { trackers: known.chain(world.trackers).collect(), ..world };
        let mut balancer = Balancer::blank(world, seed, now);
        balancer.numbers = left.numbers;
        balancer.marks.inherit(left.marks.iter().cloned());
        let mut past = Past::default();
        let names = names::of_services(&spec);
        for service in &left.services {
            let Some(at) = names.iter().position(|(_, identity)| *identity == service.identity) else { continue };
            let key = spec.services.get(at).and_then(|own| {
                let keys = super::service::keys(&spec, own, |group, protocol| {
                    let start = spec.settings.marks.as_ref()?.start;
                    balancer.marks.of(&group.name, protocol, start)
                });
                keys.0.first().copied()
            });
            let servers = service.servers.iter().map(|server| {
                let refused = server.refused.and_then(|error| key.map(|key| (key, error)));
                (server.endpoint, past_of(server, refused))
            });
            let known = PastService {
                quorum: service.quorum,
                since: service.since,
                sorry: service.sorry,
                sorry_told: service.sorry.is_some(),
                retry: None,
                servers: servers.collect(),
            };
            past.services.entry(service.identity.clone()).or_insert(known);
        }
        balancer.take_over(spec, &mut past, Begin::Inherit);
        balancer
    }
}

fn past_of(server: &ServerHandover, refused: Option<(super::io::ServiceKey, i32)>) -> PastServer {
    PastServer {
        alive: server.alive,
        refused: refused.into_iter().collect(),
        drained: server.drained,
        weighed: server.weighed,
        shown: None,
        confirmed: server.confirmed,
        since: server.since,
        why: Why::Start,
        blamed: server.why.clone(),
        checks: server.checks.iter().map(past_of_check).collect(),
    }
}

fn past_of_check(check: &CheckHandover) -> PastCheck {
    let life = |machine| Life {
        id: None,
        checker: None,
        machine,
        due: check.due,
        running: None,
        found: check.found.as_ref().map(|found| Found {
            finding: found.finding.clone(),
            at: found.at,
            took: Interval::from_micros(found.took_us),
            times: found.times,
        }),
        made: Made::default(),
    };
    PastCheck { identity: check.identity.clone(), up: check.up, ran: check.ran, life: check.machine.map(life) }
}
