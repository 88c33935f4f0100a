//! BFD sessions of two servers against each other: ends that do not meet, and what follows where they do.

use super::{Finding, Place, Servers};
use crate::config::report::Level;
use crate::spec::bfd::Session;
use crate::spec::{Spec, TieTarget};
use crate::time::Interval;

/// Below this a detection time asks for more than an ordinary thread can promise.
const HASTY: Interval = Interval::from_millis(50);

pub(super) fn check(servers: &Servers<'_>, out: &mut Vec<Finding>) {
    for one in 0..servers.count() {
        for two in one + 1..servers.count() {
            let (Some(a), Some(b)) = (servers.spec(one), servers.spec(two)) else { continue };
            for mine in &a.sessions {
                for theirs in &b.sessions {
                    Ends { servers, at: [one, two], specs: [a, b], of: [mine, theirs] }.check(out);
                }
            }
        }
    }
}

/// Two sessions, one of each server, that may be the two ends of one.
struct Ends<'e> {
    servers: &'e Servers<'e>,
    at: [usize; 2],
    specs: [&'e Spec; 2],
    of: [&'e Session; 2],
}

impl Ends<'_> {
    fn check(&self, out: &mut Vec<Finding>) {
        let [mine, theirs] = self.of;
        // Without a source the end speaks from an address that is not written anywhere.
        let meets = |own: &Session, other: &Session| own.source.map(|source| source == other.neighbor);
        match (meets(mine, theirs), meets(theirs, mine)) {
            (Some(true) | None, Some(true)) | (Some(true), None) => self.meet(out),
            (Some(true), Some(false)) => self.miss(0, out),
            (Some(false), Some(true)) => self.miss(1, out),
            _ => {}
        }
    }

    fn say(&self, out: &mut Vec<Finding>, level: Level, rule: &'static str, message: String, help: &str) {
        let place = |server: &usize| Place { file: self.servers.file(*server), instance: None };
        let places = self.at.iter().map(place).collect();
        out.push(Finding { level, rule, places, message, help: Some(help.into()) });
    }

    fn name(&self, end: usize) -> String {
        let (session, server) = (self.of.get(end), self.at.get(end));
        let name = session.map_or("?", |session| &session.name);
        format!("{name} on {}", server.map_or("?", |server| self.servers.name(*server)))
    }

    /// The session `speaks` says it comes from where the other expects its neighbour, but its own neighbour is elsewhere.
    fn miss(&self, speaks: usize, out: &mut Vec<Finding>) {
        let (Some(own), Some(other)) = (self.of.get(speaks), self.of.get(1 - speaks)) else { return };
        let message = format!(
            "BFD: {} speaks to {}, but {} speaks from {}: the session never comes up",
            self.name(speaks),
            own.neighbor,
            self.name(1 - speaks),
            other.source.map_or("elsewhere".to_owned(), |source| source.to_string())
        );
        self.say(out, Level::Error, "bfd-addresses", message, "source_ip of the one is neighbor_ip of the other");
    }

    fn meet(&self, out: &mut Vec<Finding>) {
        let [mine, theirs] = self.of;
        if mine.multihop != theirs.multihop {
            let multihop = usize::from(!mine.multihop);
            let message = format!(
                "BFD: {} is multihop (port 4784) and {} is not (port 3784): the session never comes up",
                self.name(multihop),
                self.name(1 - multihop)
            );
            return self.say(out, Level::Error, "bfd-multihop", message, "give both `multihop`, or neither");
        }
        if mine.passive && theirs.passive {
            let message = format!("BFD: {} and {} are both passive: neither ever begins", self.name(0), self.name(1));
            self.say(out, Level::Error, "bfd-both-passive", message, "let one of them speak first");
        }
        for (end, (own, other)) in [(0, (mine, theirs)), (1, (theirs, mine))] {
            if own.ttl < other.least_ttl() {
                let message = format!(
                    "BFD: {} sends with TTL {}, and {} takes no less than {}: the session never comes up",
                    self.name(end),
                    own.ttl,
                    self.name(1 - end),
                    other.least_ttl()
                );
                self.say(out, Level::Error, "bfd-ttl", message, "leave `ttl` out, or raise `max_hops` of the other");
            }
            // The silence after which `own` believes its peer dead.
            let detection = own.min_rx.max(other.min_tx).times(other.multiplier.into());
            let realtime = self.specs.get(end).is_some_and(|spec| spec.daemon.bfd.rt_priority.is_some());
            if detection < HASTY && !realtime {
                let message = format!(
                    "BFD: {} believes its peer dead after {} ms, without real-time priority: a busy moment is taken for a failure",
                    self.name(end),
                    detection.as_micros() as f64 / 1000.0
                );
                let help =
                    "longer intervals, a greater multiplier on the other server, or bfd_rt_priority in global_defs";
                self.say(out, Level::Warning, "bfd-hasty", message, help);
            }
        }
        if self.specs.iter().zip(self.of).all(|(spec, session)| stands_or_falls(spec, session)) {
            let message = format!(
                "BFD: each server tracks the other without a weight ({}, {}): when one dies the other goes into FAULT, and \
                 nobody has the addresses",
                self.name(0),
                self.name(1)
            );
            let help = "give track_bfd a weight, or track a third party: a gateway, not the other server";
            self.say(out, Level::Error, "bfd-neither-alone", message, help);
        }
    }
}

/// Does an instance go into FAULT when this session is down?
fn stands_or_falls(spec: &Spec, session: &Session) -> bool {
    let tracked = |on: &TieTarget| on.bfd(spec).is_some_and(|bfd| bfd.name == session.name);
    spec.instances.iter().flat_map(|own| &own.ties).any(|tie| tie.weight == 0 && !tie.reverse && tracked(&tie.on))
}
