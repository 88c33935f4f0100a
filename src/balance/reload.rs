//! Going over to a configuration: what is the same keeps its state, its retries and its deadlines.
//!
//! Virtual servers are the same by target (of a group: by protocol and order among those), real servers by address and
//! port, checks by what they ask ([`names::identity`]). So a reload makes no second warm-up and no burst of checks, and one
//! that changes nothing wishes for nothing. The beginning and an inheritance are the same road with another past.
//!
//! What comes new: a server is in at once unless it is alpha, and its retries count from the first (keepalived lets one
//! failure be enough only at start). A check that others have made already is not made again: its state is known.

use super::check::{Check, Found, Machine, Made, Place, Running, slack};
use super::io::{
    Action, Activity, CheckId, CheckInfo, Count, Event, ServiceInfo, ServiceKey, TrackValue, Tracker, Weighing, Why,
};
use super::server::{Seat, Server, clamped, misc_part};
use super::service::{Service, is_here, keys};
use super::told::{meaning, teller};
use super::{Balancer, Entry, names};
use crate::spec::balance::{Checker, Endpoint, GroupEntry, LvsSpec, RealServer, SorryServer, Target, VirtualServer};
use crate::time::Time;
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// How a configuration is gone over to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Begin {
    Start,
    Reload,
    Inherit,
}

/// What is known from before, by what makes it the same.
#[derive(Debug, Default)]
pub(super) struct Past {
    pub(super) services: HashMap<Box<str>, PastService>,
}

#[derive(Debug)]
pub(super) struct PastService {
    pub(super) quorum: bool,
    pub(super) since: Time,
    pub(super) sorry: Option<(Endpoint, bool)>,
    pub(super) sorry_told: bool,
    pub(super) retry: Option<(Time, u32)>,
    pub(super) servers: HashMap<Endpoint, PastServer>,
}

#[derive(Debug)]
pub(super) struct PastServer {
    pub(super) alive: bool,
    pub(super) refused: BTreeMap<ServiceKey, i32>,
    pub(super) drained: bool,
    pub(super) weighed: Option<u32>,
    pub(super) shown: Option<u32>,
    pub(super) confirmed: bool,
    pub(super) since: Time,
    pub(super) why: Why,
    /// Why it was so, where that is a check that is known by its identity only.
    pub(super) blamed: Option<(Box<str>, Option<super::io::Symptom>)>,
    pub(super) checks: Vec<PastCheck>,
}

#[derive(Clone, Debug)]
pub(super) struct PastCheck {
    pub(super) identity: Box<str>,
    pub(super) up: bool,
    pub(super) ran: bool,
    /// `None` for checks that are told.
    pub(super) life: Option<Life>,
}

/// A check's own past.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) id: Option<CheckId>,
    pub(super) checker: Option<Arc<Checker>>,
    pub(super) machine: Machine,
    pub(super) due: Option<Time>,
    pub(super) running: Option<Running>,
    pub(super) found: Option<Found>,
    pub(super) made: Made,
}

impl Past {
    fn of(services: Vec<Service>, checks: &[Check]) -> Past {
        let check = |seat: &Seat| PastCheck {
            identity: names::identity(&seat.info.checker),
            up: seat.up,
            ran: seat.ran,
            life: seat.check.and_then(|at| checks.get(at as usize)).map(|check| Life {
                id: Some(check.id),
                checker: Some(check.checker.clone()),
                machine: check.machine,
                due: check.due,
                running: check.running,
                found: check.found.clone(),
                made: check.made,
            }),
        };
        let server = |server: Server| {
            let past = PastServer {
                alive: server.alive(),
                drained: server.drained,
                weighed: server.weighed,
                shown: Some(server.shown),
                confirmed: server.confirmed,
                since: server.since,
                why: server.why.clone(),
                blamed: None,
                checks: server.seats.iter().map(check).collect(),
                refused: server.refused,
            };
            (server.info.endpoint, past)
        };
        let mut past = Past::default();
        for service in services {
            let known = PastService {
                quorum: service.quorum,
                since: service.since,
                sorry: service.sorry,
                sorry_told: service.sorry_told,
                retry: service.retry,
                servers: service.servers.into_iter().map(server).collect(),
            };
            // Of two that are the same the first hands on.
            past.services.entry(service.identity).or_insert(known);
        }
        past
    }
}

impl Balancer {
    /// Goes over to another configuration. One that says the same yields no action at all. `trackers`: what is known of the
    /// new one's files and sessions.
    ///
    /// What goes is told first; behind [`Event::Reloaded`] everything belongs to the new configuration. Wishes come before
    /// events, new pictures before services that go.
    pub fn reload(&mut self, spec: Arc<LvsSpec>, trackers: impl IntoIterator<Item = (Tracker, TrackValue)>, now: Time) {
        self.now = self.now.max(now);
        if self.stopped {
            return;
        }
        self.fire();
        if *spec == *self.spec {
            trackers.into_iter().for_each(|(tracker, value)| self.tracked(tracker, value));
            return;
        }
        self.trackers.extend(trackers);
        let mut services = std::mem::take(&mut self.services);
        self.part(&spec, &mut services);
        self.events.push(Event::Reloaded);
        let checks = std::mem::take(&mut self.checks);
        let mut past = Past::of(services, &checks);
        self.take_over(spec, &mut past, Begin::Reload);
    }

    /// Tells of what `spec` has no longer, in the old order.
    fn part(&mut self, spec: &LvsSpec, services: &mut [Service]) {
        let names = names::of_services(spec);
        let by_identity: HashMap<&str, &VirtualServer> =
            names.iter().zip(&spec.services).map(|((_, identity), own)| (&**identity, own)).rev().collect();
        let old = self.spec.clone();
        for (service, was) in services.iter_mut().zip(&old.services) {
            let mut count = service.servers.count();
            let Some(new) = by_identity.get(&*service.identity) else {
                let info = service.info.clone();
                self.events.push(Event::ServiceRemoving { service: info.clone() });
                for server in &service.servers {
                    count.up -= u32::from(server.alive());
                    let (server, present) = (server.info.clone(), service.holds(server));
                    self.events.push(Event::ServerRemoved { server, present, whole: true, count });
                }
                self.events.push(Event::ServiceRemoved { service: info, had: service.quorum, count });
                continue;
            };
            let there = entries(spec, new);
            let gone = entries(&old, was).into_iter().filter(|entry| !there.contains(entry));
            self.tell_entries(&service.info, gone, false);
            let kept: BTreeSet<Endpoint> = new.servers.iter().map(|server| server.endpoint).collect();
            for server in service.servers.iter().filter(|server| !kept.contains(&server.info.endpoint)) {
                count.up -= u32::from(server.alive());
                let (server, present) = (server.info.clone(), service.holds(server));
                self.events.push(Event::ServerRemoved { server, present, whole: false, count });
            }
            let endpoint = |sorry: &SorryServer| sorry.endpoint;
            if let Some((active, inhibit)) = service.sorry
                && new.sorry.as_ref().map(endpoint) != Some(active)
            {
                service.sorry = None;
                let sorry = names::of_endpoint(active, service.info.protocol);
                let pool = new.sorry.is_none();
                if std::mem::take(&mut service.sorry_told) {
                    self.events.push(Event::SorryRemoved { service: service.info.clone(), sorry, inhibit, pool });
                }
            }
        }
    }

    fn tell_entries(&mut self, service: &ServiceInfo, entries: impl Iterator<Item = GroupEntry>, added: bool) {
        let Some(group) = &service.group else { return };
        for entry in entries {
            let entry = names::of_entry(&entry, service.protocol, added);
            self.events.push(Event::EntryChanged { group: group.clone(), entry, added });
        }
    }

    /// Becomes what `spec` says, with what is known from before.
    pub(super) fn take_over(&mut self, spec: Arc<LvsSpec>, past: &mut Past, how: Begin) {
        let old = std::mem::replace(&mut self.spec, spec.clone());
        self.slack = slack(&spec);
        let no_table = if how == Begin::Inherit { None } else { self.no_table };
        let mut builder = Builder::new(how, no_table);
        self.told.clear();
        let mut marks = std::mem::take(&mut self.marks);
        for (position, ((info, identity), own)) in (0..).zip(names::of_services(&spec).into_iter().zip(&spec.services))
        {
            let (keys, cut) = keys(&spec, own, |group, protocol| {
                let start = spec.settings.marks.as_ref()?.start;
                marks.of(&group.name, protocol, start)
            });
            if let Some(group) = info.group.clone().filter(|_| cut) {
                self.events.push(Event::GroupCut { group, taken: keys.len() });
            }
            let mut service = Service::new(info, identity, keys, self.now);
            service.enabled = !own.ha_suspend || is_here(&spec, own, &self.here);
            let mut known = past.services.remove(&service.identity);
            if let Some(known) = &mut known {
                (service.quorum, service.since, service.sorry) = (known.quorum, known.since, known.sorry);
                service.sorry_told = known.sorry_told;
                service.retry = known.retry;
                if let (Some(active), Some(sorry)) = (&mut service.sorry, &own.sorry) {
                    active.1 = sorry.inhibit;
                }
            }
            if known.is_none() {
                builder.new_services.insert(position);
            }
            let keys: BTreeSet<ServiceKey> = service.keys.iter().copied().collect();
            for (number, real) in (0..).zip(&own.servers) {
                let place = Place { service: position, server: number, seat: 0 };
                let before = known.as_mut().and_then(|known| known.servers.remove(&real.endpoint));
                if before.is_none() {
                    builder.new_servers.insert(place);
                }
                let server = self.server_of(&mut builder, place, real, (&service, &keys), before);
                service.servers.push(server);
            }
            self.services.push(service);
        }
        self.marks = marks;
        let fresh = self.settle_pending(&mut builder);
        self.adopt(std::mem::take(&mut builder.checks));
        let gone = self.open_table();
        if how == Begin::Reload {
            self.tell_new_entries(&old, &spec);
        }
        self.tell_beginning(&builder);
        self.tell_checks(&fresh);
        self.tend(&old, how);
        // New pictures first: an address that moves from one service to another is never without.
        self.paint_dirty();
        self.out.extend(gone.into_iter().map(Action::Withdraw));
    }

    /// A server with its seats; those whose checks nothing is known of are left to [`Balancer::settle_pending`].
    fn server_of(
        &mut self,
        builder: &mut Builder,
        place: Place,
        real: &RealServer,
        (service, keys): (&Service, &BTreeSet<ServiceKey>),
        before: Option<PastServer>,
    ) -> Server {
        let mut server = Server::new(names::of_server(real, &service.info), real.weight, self.now);
        let mut known = before.as_ref().map(|before| before.checks.clone()).unwrap_or_default();
        for (number, checker) in (0..).zip(&real.checkers) {
            let place = Place { seat: number, ..place };
            let checker = Arc::new(checker.clone());
            // A name that nothing is compared with is not made: at the start that would be one for each of thousands.
            let paired = (!known.is_empty()).then(|| names::identity(&checker)).and_then(|identity| {
                known.iter().position(|check| check.identity == identity).map(|at| known.swap_remove(at))
            });
            let info = Arc::new(CheckInfo { server: server.info.clone(), checker: checker.clone() });
            let mut seat = Seat { info, check: None, up: !checker.alpha, ran: false, part: 0 };
            if let Some(tracker) = teller(&checker.kind) {
                self.told.entry(tracker.clone()).or_default().push(place);
                if let Some(paired) = &paired {
                    (seat.up, seat.ran) = (paired.up, paired.ran);
                }
                // A file of which nothing is known says 0, as one that is not there.
                let is_file = matches!(tracker, Tracker::File(_));
                let value = self.trackers.get(&tracker).copied().or(is_file.then_some(TrackValue::Number(0)));
                if let Some((up, part)) = value.and_then(|value| meaning(&checker.kind, value)) {
                    (seat.up, seat.part, seat.ran) = (up, part, true);
                }
            } else if let Some((paired, life)) = paired.and_then(|p| p.life.clone().map(|life| (p, life))) {
                (seat.up, seat.ran) = (paired.up, paired.ran);
                seat.part = part_of(&life.machine, seat.up, real.weight);
                seat.check = Some(builder.carry(self, place, &checker, life));
            } else {
                builder.pending.push((place, before.is_some(), before.as_ref().is_some_and(|b| !b.alive)));
            }
            server.seats.push(seat);
        }
        if let Some(before) = before {
            let why = match &before.blamed {
                Some((identity, symptom)) => server
                    .seats
                    .iter()
                    .find(|seat| names::identity(&seat.info.checker) == *identity)
                    .map_or(Why::Start, |seat| Why::Check(seat.info.clone(), symptom.clone())),
                None => before.why,
            };
            server.resume(before.alive, why, before.since);
            (server.drained, server.weighed, server.confirmed) = (before.drained, before.weighed, before.confirmed);
            server.refused = before.refused;
            if !server.refused.is_empty() {
                server.refused.retain(|key, _| keys.contains(key));
            }
            server.shown = before.shown.unwrap_or_else(|| clamped(server.weight()));
        } else {
            server.shown = clamped(server.weight());
            server.refused.extend(builder.no_table.iter().flat_map(|error| keys.iter().map(|key| (*key, *error))));
        }
        server
    }

    /// Gives the seats a check that have none, now that all the known ones are there. Gives those places.
    fn settle_pending(&mut self, builder: &mut Builder) -> Vec<Place> {
        let mut places = Vec::new();
        for (place, kept, was_down) in std::mem::take(&mut builder.pending) {
            let Some(server) = self.server(place) else { continue };
            // keepalived: beside a bad check, or where the server was down and nobody knows why, an alpha check begins bad.
            let bad = server.seats.iter().any(|seat| seat.check.is_some() && !seat.up);
            let unknown = was_down && server.seats.iter().all(|seat| !seat.ran);
            let Some(checker) = server.seats.get(place.seat as usize).map(|seat| seat.info.checker.clone()) else {
                continue;
            };
            let spent = builder.how == Begin::Start || (kept && (bad || unknown));
            let mut machine = Machine::new(&checker, spent);
            if kept && !bad && !unknown && builder.how != Begin::Start {
                machine.up = true;
            }
            let at = builder.join(self, place, &checker, machine);
            let joined = builder.checks.get(at as usize).map(|check| check.machine);
            let joined = joined.filter(|machine| machine.ran);
            let Some(server) = self.server_mut(place) else { continue };
            let base = server.base;
            let Some(seat) = server.seats.get_mut(place.seat as usize) else { continue };
            (seat.check, seat.up) = (Some(at), machine.up);
            if let Some(joined) = joined {
                (seat.up, seat.ran, seat.part) = (joined.up, true, part_of(&joined, joined.up, base));
                server.shown = clamped(server.weight());
            }
            places.push(place);
        }
        places
    }

    /// The new list of checks: attempts of checks that are no more are given up.
    fn adopt(&mut self, checks: Vec<Check>) {
        let mut gone = std::mem::take(&mut self.running);
        self.checks = checks;
        self.agenda.clear();
        for (slot, check) in (0..).zip(&self.checks) {
            self.agenda.set(slot, check.due);
            if let Some(running) = check.running {
                gone.remove(&running.attempt);
                self.running.insert(running.attempt, slot);
            }
        }
        let gone: BTreeSet<_> = gone.into_keys().collect();
        self.out.extend(gone.into_iter().map(Action::Abandon));
        for position in 0..self.services.len() as u32 {
            let at = self.services.get(position as usize).and_then(|service| service.retry).map(|(at, _)| at);
            let slot = self.retry_slot(position);
            self.agenda.set(slot, at);
        }
    }

    /// Which services of the kernel there are to be, and whose. Pictures that were wished stay known. Gives the keys that
    /// are no more.
    fn open_table(&mut self) -> Vec<ServiceKey> {
        let mut before = std::mem::take(&mut self.table);
        for (position, service) in (0..).zip(&self.services) {
            for key in &service.keys {
                let entry = self.table.entry(*key).or_insert_with(|| {
                    let known = before.remove(key).unwrap_or_default();
                    Entry { owners: Vec::new(), ..known }
                });
                entry.owners.push(position);
            }
        }
        self.dirty.extend(0..self.services.len() as u32);
        before.into_keys().collect()
    }

    /// Entries that groups have gained.
    fn tell_new_entries(&mut self, old: &LvsSpec, spec: &LvsSpec) {
        let names = names::of_services(old);
        let before: HashMap<&str, &VirtualServer> =
            names.iter().zip(&old.services).map(|((_, identity), own)| (&**identity, own)).rev().collect();
        let mut new = Vec::new();
        for (service, own) in self.services.iter().zip(&spec.services) {
            let Some(was) = before.get(&*service.identity) else { continue };
            let was = entries(old, was);
            new.extend(
                entries(spec, own)
                    .into_iter()
                    .filter(|entry| !was.contains(entry))
                    .map(|entry| (service.info.clone(), entry)),
            );
        }
        for (service, entry) in new {
            self.tell_entries(&service, std::iter::once(entry), true);
        }
    }

    /// States as they follow from what was built, and what is told of that.
    fn tell_beginning(&mut self, builder: &Builder) {
        for position in 0..self.services.len() as u32 {
            // Counted once and kept: a service may have thousands of servers.
            let mut count =
                self.services.get(position as usize).map(|service| service.servers.count()).unwrap_or_default();
            for server in 0..count.all {
                let place = Place { service: position, server, seat: 0 };
                match builder.new_servers.contains(&place) {
                    true => self.begin_server(place, builder.how, &mut count),
                    false => self.resume_server(place, &mut count),
                }
            }
            let begins = builder.how != Begin::Inherit || builder.new_services.contains(&position);
            self.evaluate(position, begins);
        }
    }

    /// That checks begin which nobody made before.
    fn tell_checks(&mut self, fresh: &[Place]) {
        for place in fresh {
            let Some(service) = self.services.get(place.service as usize) else { continue };
            let activity = if service.enabled { Activity::Activating } else { Activity::Deactivating };
            let Some(check) = self.seat(*place).map(|seat| seat.info.clone()) else { continue };
            self.events.push(Event::Checker { check, activity });
        }
    }

    /// `count`, also of the next function, is of its service, and is kept.
    fn begin_server(&mut self, place: Place, how: Begin, count: &mut Count) {
        let (now, notifies) = (self.now, self.spec.settings.init_notifies && how != Begin::Inherit);
        let Some(server) = self.server_mut(place) else { return };
        let fit = server.fit();
        count.moved(server.alive(), fit);
        server.resume(fit, if how == Begin::Reload { Why::Reload } else { Why::Start }, now);
        if fit && notifies {
            let server = server.info.clone();
            self.events.push(Event::ServerConfirmed { server, up: true, count: *count });
        }
    }

    fn resume_server(&mut self, place: Place, count: &mut Count) {
        let now = self.now;
        let Some(server) = self.server_mut(place) else { return };
        let to = clamped(server.weight());
        let from = std::mem::replace(&mut server.shown, to);
        let (info, fit, active) = (server.info.clone(), server.fit(), server.alive());
        let changed = server.enter(fit, Why::Reload, now);
        if from != to {
            let why = Weighing::Reload;
            self.events.push(Event::WeightChanged { server: info.clone(), from, to, active, why });
        }
        if changed {
            count.moved(!fit, fit);
            let (server, why, count) = (info, Why::Reload, *count);
            self.events.push(match fit {
                true => Event::ServerUp { server, why, count },
                false => Event::ServerDown { server, why, count },
            });
        }
    }

    /// What belongs to no single service.
    fn tend(&mut self, old: &LvsSpec, how: Begin) {
        let (before, after) = (old.settings.timeouts, self.spec.settings.timeouts);
        if (how == Begin::Reload && before != after) || (how != Begin::Reload && after.is_anything()) {
            self.out.push_back(Action::Timeouts(after.is_anything().then_some(after)));
        }
        self.synchronise();
        self.out.extend(self.marks.wish(&self.spec.clone()));
    }
}

/// Checks on their way from one configuration to another.
struct Builder {
    how: Begin,
    checks: Vec<Check>,
    /// Which check is whose, where equal checks are made once.
    book: FxHashMap<Arc<Checker>, u32>,
    ids: BTreeSet<CheckId>,
    /// Places without a check: whether the server was there before, and was down.
    pending: Vec<(Place, bool, bool)>,
    new_services: BTreeSet<u32>,
    new_servers: BTreeSet<Place>,
    /// Why the kernel takes nothing, if it takes nothing: what is new begins as refused.
    no_table: Option<i32>,
}

impl Builder {
    fn new(how: Begin, no_table: Option<i32>) -> Builder {
        Builder {
            how,
            checks: Vec::new(),
            book: FxHashMap::default(),
            ids: BTreeSet::new(),
            pending: Vec::new(),
            new_services: BTreeSet::new(),
            new_servers: BTreeSet::new(),
            no_table,
        }
    }

    /// What makes two checks one: destination, connection, dialogue, and when they are made. What is logged does not count.
    fn key(checker: &Arc<Checker>) -> Arc<Checker> {
        match checker.log_all_failures {
            false => checker.clone(),
            true => Arc::new(Checker { log_all_failures: false, ..(**checker).clone() }),
        }
    }

    fn find(&self, own: &Balancer, key: &Arc<Checker>) -> Option<u32> {
        self.book.get(key).copied().filter(|_| own.spec.settings.share_checks)
    }

    fn add(&mut self, own: &mut Balancer, place: Place, checker: &Arc<Checker>, life: Life) -> u32 {
        // Checks that were made together and are not any longer: one of them goes on, the others begin an attempt of theirs.
        let known = life.id.filter(|id| self.ids.insert(*id));
        let id = known.unwrap_or_else(|| {
            own.numbers.check += 1;
            CheckId(own.numbers.check)
        });
        let running = life.running.filter(|_| known.is_some());
        let at = self.checks.len() as u32;
        self.checks.push(Check {
            id,
            checker: checker.clone(),
            machine: life.machine,
            places: vec![place],
            due: life.due,
            running,
            found: life.found,
            made: life.made,
        });
        self.book.entry(Self::key(checker)).or_insert(at);
        at
    }

    /// A check with a past.
    fn carry(&mut self, own: &mut Balancer, place: Place, checker: &Arc<Checker>, life: Life) -> u32 {
        let key = Self::key(checker);
        if let Some(at) = self.find(own, &key)
            && let Some(check) = self.checks.get_mut(at as usize)
        {
            check.places.push(place);
            // Of two pasts the one that knows more goes on.
            if life.machine.ran && !check.machine.ran {
                (check.machine, check.found) = (life.machine, life.found);
            }
            return at;
        }
        let paced = life.checker.as_ref().is_some_and(|before| before.timing == checker.timing);
        let at = self.add(own, place, checker, life);
        let now = own.now;
        if let Some(check) = self.checks.get_mut(at as usize) {
            if !paced {
                check.repace(now);
            }
            if check.due.is_none() && check.running.is_none() {
                check.due = Some(now);
            }
        }
        at
    }

    /// A check of which nothing is known, unless others have it.
    fn join(&mut self, own: &mut Balancer, place: Place, checker: &Arc<Checker>, machine: Machine) -> u32 {
        let key = Self::key(checker);
        if let Some(at) = self.find(own, &key)
            && let Some(check) = self.checks.get_mut(at as usize)
        {
            check.places.push(place);
            return at;
        }
        let number = own.numbers.check + 1;
        let due = Some(own.first(checker, number));
        let life = Life { id: None, checker: None, machine, due, running: None, found: None, made: Made::default() };
        self.add(own, place, checker, life)
    }
}

/// What a service's group holds, addresses first.
fn entries(spec: &LvsSpec, service: &VirtualServer) -> Vec<GroupEntry> {
    let Target::Group(name) = &service.target else { return Vec::new() };
    let group = spec.groups.iter().find(|group| group.name == *name);
    group.map(|group| group.entries.clone()).unwrap_or_default()
}

/// What a check that is known already adds to its server's weight.
fn part_of(machine: &Machine, up: bool, base: u32) -> i64 {
    machine.weighted.filter(|_| up).map_or(0, |code| misc_part(code, base))
}
