//! Virtual servers; deterministic. See [`io`] for the whole vocabulary and [`crate::spec::balance`] for what it is told to
//! be.
//!
//! The balancer is told facts with a time ([`Balancer::handle`]) and answers with actions ([`Balancer::poll`]), as the
//! engine of VRRP does: no socket, no clock, no randomness but its seed, no log.
//!
//! Inside, one road: time first ([`crate::agenda`] says which checks are due), then the news. A finding goes through the
//! [`check`]'s machine to every [`server`] that has the check; a server that begins or ceases to count makes its
//! [`service`] ask [`quorum`]. Whatever changed marks the service, and at the end its pictures are repainted and wished
//! for where they differ from what was wished last. So the kernel's table follows from the state and is never edited.

mod check;
mod command;
mod handover;
pub mod io;
mod marks;
mod names;
pub mod quorum;
mod reload;
pub mod server;
mod servers;
pub mod service;
pub mod snapshot;
mod told;

pub use handover::Handover;

use crate::agenda::{Agenda, Slot};
use crate::spec::balance::{Checker, CheckerKind, LvsSpec};
use crate::time::{Interval, Time};
use check::{Check, Place, chance, together};
use io::{
    Action, Activity, Attempt, Beginning, Event, Finding, Input, Outcome, Picture, ServiceInfo, ServiceKey, Symptom,
    Sync, TrackValue, Tracker, Verdict, Version, Weighing, Why,
};
use marks::MarkBook;
use server::{clamped, misc_part};
use service::{Service, in_kernel};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

/// What the kernel refused is tried again after this, and after twice as long each time, up to the most.
const RETRY: Interval = Interval::from_secs(1);
const RETRY_MOST: Interval = Interval::from_secs(60);

/// All virtual servers of one process.
#[derive(Clone, Debug)]
pub struct Balancer {
    spec: Arc<LvsSpec>,
    services: Vec<Service>,
    checks: Vec<Check>,
    /// Which check an attempt belongs to.
    running: HashMap<Attempt, u32>,
    /// What has been wished for each service of the kernel.
    table: BTreeMap<ServiceKey, Entry>,
    /// Addresses of this machine, by interface.
    here: BTreeSet<(IpAddr, u32)>,
    /// Instances of VRRP, as far as anything is known of them, and whether they are master.
    masters: BTreeMap<Box<str>, bool>,
    trackers: BTreeMap<Tracker, TrackValue>,
    /// Who depends on a tracker.
    told: BTreeMap<Tracker, Vec<Place>>,
    marks: MarkBook,
    agenda: Agenda,
    slack: Interval,
    /// Services whose pictures may have changed.
    dirty: BTreeSet<u32>,
    events: Vec<Event>,
    out: VecDeque<Action>,
    seed: u64,
    numbers: Numbers,
    sync: Option<Sync>,
    /// Why there is no table, if there is none.
    no_table: Option<i32>,
    now: Time,
    stopped: bool,
}

/// Numbers that are never used again.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
struct Numbers {
    #[serde(default)]
    attempt: u64,
    #[serde(default)]
    check: u64,
    #[serde(default)]
    version: u64,
}

/// One service of the kernel's table as it was wished.
#[derive(Clone, Debug, Default)]
struct Entry {
    /// Positions of the virtual servers that have it: several may be by one group.
    owners: Vec<u32>,
    picture: Arc<Picture>,
    version: Version,
    /// The kernel has not got it: the error number.
    refused: Option<i32>,
}

impl Balancer {
    /// Begins to serve and to check. `seed` spreads the first checks over their warm-up, unless `random_seed` is set.
    pub fn begin(spec: Arc<LvsSpec>, world: Beginning, seed: u64, now: Time) -> Balancer {
        let mut balancer = Balancer::blank(world, seed, now);
        let mut past = reload::Past::default();
        if spec.settings.flush {
            balancer.out.push_back(Action::Flush);
        }
        balancer.take_over(spec, &mut past, reload::Begin::Start);
        balancer
    }

    fn blank(world: Beginning, seed: u64, now: Time) -> Balancer {
        Balancer {
            spec: Arc::default(),
            services: Vec::new(),
            checks: Vec::new(),
            running: HashMap::new(),
            table: BTreeMap::new(),
            here: world.addresses.into_iter().map(|(interface, address)| (address, interface)).collect(),
            masters: world.masters.into_iter().map(|name| (name, true)).collect(),
            trackers: world.trackers.into_iter().collect(),
            told: BTreeMap::new(),
            marks: MarkBook::default(),
            agenda: Agenda::default(),
            slack: Interval::ZERO,
            dirty: BTreeSet::new(),
            events: Vec::new(),
            out: VecDeque::new(),
            seed,
            numbers: Numbers::default(),
            sync: None,
            no_table: world.no_table,
            now,
            stopped: false,
        }
    }

    /// Fires everything that is due up to `now`, in order, then takes the news. Time does not go back.
    pub fn handle(&mut self, input: Input, now: Time) {
        self.now = self.now.max(now);
        if self.stopped {
            return;
        }
        self.fire();
        match input {
            Input::Tick => {}
            Input::Probed { attempt, finding } => self.probed(attempt, finding),
            Input::Tracked { tracker, value } => self.tracked(tracker, value),
            Input::Address { interface, address, here } => {
                let changed = match here {
                    true => self.here.insert((address, interface)),
                    false => self.here.remove(&(address, interface)),
                };
                if changed {
                    self.addresses_changed();
                }
            }
            Input::Addresses(all) => {
                self.here = all.into_iter().map(|(interface, address)| (address, interface)).collect();
                self.addresses_changed();
            }
            Input::Role { instance, master } => {
                self.masters.insert(instance, master);
                self.synchronise();
            }
            Input::Roles(all) => {
                self.masters = all.into_iter().collect();
                self.synchronise();
            }
            Input::Applied { service, version, outcome } => self.applied(service, version, &outcome),
            Input::Table { absent } => {
                self.no_table = absent;
                if absent.is_some() {
                    self.services.iter_mut().for_each(|service| service.sorry_told = false);
                }
            }
            Input::Restored { service, destination } => {
                let of = self.owner(service);
                self.events.push(Event::Restored { service, of, destination });
            }
            Input::Command(command) => self.command(command),
        }
        // A pause may be nothing.
        self.fire();
    }

    /// The next thing to do; to be called until `None`. The order is the order that the world must see. Pictures are painted
    /// here, so that what many findings change is painted once.
    pub fn poll(&mut self) -> Option<Action> {
        if self.out.is_empty() {
            self.finish();
        }
        self.out.pop_front()
    }

    /// When to come back. `None`: only news can change anything.
    pub fn deadline(&self) -> Option<Time> {
        self.agenda.next().map(|(at, _)| at)
    }

    /// When whoever has a real clock is to come back: not before [`Balancer::deadline`] and at most a fiftieth of the shortest
    /// pause later, 20 ms at most, so that what is due at almost the same time begins together.
    pub fn wake(&self) -> Option<Time> {
        self.deadline().map(|at| together(at, self.slack))
    }

    /// What the balancer is told to be at present.
    pub fn spec(&self) -> &Arc<LvsSpec> {
        &self.spec
    }

    fn retry_slot(&self, service: u32) -> Slot {
        self.checks.len() as Slot + service
    }

    /// Everything that is due, in the order of its time.
    fn fire(&mut self) {
        while let Some((at, slot)) = self.agenda.next() {
            if at > self.now {
                break;
            }
            match self.checks.len() as Slot {
                checks if slot < checks => self.check_due(slot),
                checks => self.retry_due(slot - checks),
            }
        }
    }

    fn check_due(&mut self, slot: Slot) {
        let (now, services) = (self.now, &self.services);
        let Some(check) = self.checks.get_mut(slot as usize) else { return self.agenda.set(slot, None) };
        let wanted =
            check.places.iter().any(|place| services.get(place.service as usize).is_some_and(|own| own.enabled));
        if wanted {
            self.numbers.attempt += 1;
            let attempt = Attempt(self.numbers.attempt);
            check.begin(attempt, now);
            self.running.insert(attempt, slot);
            self.out.push_back(Action::Probe { check: check.id, attempt, probe: check.probe() });
        } else {
            check.pass_over(now);
        }
        let due = check.due;
        self.agenda.set(slot, due);
    }

    /// What the kernel refused is wished for once more.
    fn retry_due(&mut self, position: u32) {
        let Some(service) = self.services.get_mut(position as usize) else {
            let slot = self.retry_slot(position);
            return self.agenda.set(slot, None);
        };
        service.retry = service.retry.map(|(_, times)| (Time::NEVER, times));
        let keys = service.keys.clone();
        for key in keys {
            let Some(entry) = self.table.get_mut(&key) else { continue };
            self.numbers.version += 1;
            entry.version = Version(self.numbers.version);
            let (version, picture) = (entry.version, entry.picture.clone());
            self.out.push_back(Action::Serve { service: key, version, picture });
        }
        let slot = self.retry_slot(position);
        self.agenda.set(slot, None);
    }

    fn probed(&mut self, attempt: Attempt, finding: Finding) {
        let Some(slot) = self.running.remove(&attempt) else { return };
        let now = self.now;
        let Some(check) = self.checks.get_mut(slot as usize) else { return };
        let finding = understood(&check.checker.kind, finding);
        let (page, before) = (check.machine.page, check.machine);
        let verdict = check.end(&finding, now, self.slack);
        let (due, up) = (check.due, check.machine.up);
        let places = check.places.clone();
        self.agenda.set(slot, due);
        for place in places {
            if !self.services.get(place.service as usize).is_some_and(|service| service.enabled) {
                continue;
            }
            match (&finding, verdict) {
                (Finding::NotMade(error), _) => {
                    let Some(seat) = self.seat(place) else { continue };
                    let event = Event::NotMade { check: seat.info.clone(), error: *error };
                    self.events.push(event);
                }
                (_, Verdict::Page) if before.up && before.ran => {}
                (_, Verdict::Page | Verdict::Retrying { .. }) => {
                    let Some(seat) = self.seat(place) else { continue };
                    let (check, was_up) = (seat.info.clone(), seat.up);
                    self.events.push(Event::Probed { check, page, finding: finding.clone(), verdict, was_up });
                }
                _ => self.found(place, page, &finding, up),
            }
        }
    }

    /// A check's state is known; what follows for one server that has it.
    fn found(&mut self, place: Place, page: usize, finding: &Finding, up: bool) {
        let Some(server) = self.server_mut(place) else { return };
        let base = server.base;
        let Some(seat) = server.seats.get_mut(place.seat as usize) else { return };
        let (was_up, first) = (seat.up, !seat.ran);
        let part = match finding {
            Finding::Weighted(code) if up => misc_part(*code, base),
            _ => 0,
        };
        let moved = std::mem::replace(&mut seat.part, part) != part;
        let check = seat.info.clone();
        if moved && up {
            let code = if let Finding::Weighted(code) = finding { *code } else { 0 };
            self.weigh(place, Weighing::Program(check.clone(), code));
        } else if moved && let Some(server) = self.server_mut(place) {
            // It goes out: what it would weigh is no news.
            server.shown = clamped(server.weight());
        }
        if was_up != up || first {
            let verdict = if up { Verdict::Good { first, was_up } } else { Verdict::Bad { first } };
            self.events.push(Event::Probed { check, page, finding: finding.clone(), verdict, was_up });
        }
        let symptom = match finding {
            Finding::Bad(symptom) => Some(symptom.clone()),
            _ => None,
        };
        self.report(place, up, symptom);
    }

    /// A check is good or bad: §10.3 of keepalived's life of a real server (`update_svr_checker_state`).
    fn report(&mut self, place: Place, good: bool, symptom: Option<Symptom>) {
        let Some(server) = self.server_mut(place) else { return };
        let Some(seat) = server.seats.get_mut(place.seat as usize) else { return };
        let first = !std::mem::replace(&mut seat.ran, true);
        if seat.up == good {
            if first && !good && !std::mem::replace(&mut server.confirmed, true) {
                let (server, up) = (server.info.clone(), server.alive());
                let count = self.count(place);
                self.events.push(Event::ServerConfirmed { server, up, count });
            }
            return;
        }
        seat.up = good;
        let check = seat.info.clone();
        let before = server.alive();
        self.settle(place, Why::Check(check.clone(), symptom.clone()));
        let up = self.server(place).is_some_and(server::Server::alive);
        self.events.push(Event::CheckChanged { check, symptom, good, up, moved: up != before });
    }

    /// Whether a server counts is determined again, and what follows from it.
    fn settle(&mut self, place: Place, why: Why) {
        self.dirty.insert(place.service);
        let now = self.now;
        if !self.server_mut(place).is_some_and(|server| server.change(&why, now)) {
            return;
        }
        let count = self.count(place);
        let event = self.server(place).map(|server| moved(server, why, count));
        self.events.extend(event);
        self.evaluate(place.service, false);
    }

    /// A server's weight may be another: that is told and counted.
    fn weigh(&mut self, place: Place, why: Weighing) {
        self.dirty.insert(place.service);
        let Some(server) = self.server_mut(place) else { return };
        let to = clamped(server.weight());
        let from = std::mem::replace(&mut server.shown, to);
        if from == to {
            return;
        }
        let (server, active) = (server.info.clone(), server.alive());
        self.events.push(Event::WeightChanged { server, from, to, active, why });
        self.evaluate(place.service, false);
    }

    /// Asks whether a service has its quorum; `begin`: at start or after a reload, when a service without quorum gets its
    /// sorry server too.
    fn evaluate(&mut self, position: u32, begin: bool) {
        let (now, spec, reached) = (self.now, self.spec.clone(), self.is_reached(position));
        let Some(service) = self.services.get_mut(position as usize) else { return };
        let Some(own) = spec.services.get(position as usize) else { return };
        let (weight, had) = (service.servers.weight(), service.quorum);
        let has = quorum::judge(weight, own.quorum, own.hysteresis, had);
        let wanted = own.sorry.as_ref().filter(|_| !has).map(|sorry| (sorry.endpoint, sorry.inhibit));
        let comes = wanted.is_some() && service.sorry.is_none();
        let goes = wanted.is_none() && service.sorry.is_some();
        if has == had && !comes && !goes {
            return;
        }
        if has != had {
            (service.quorum, service.since) = (has, now);
        }
        service.sorry = wanted;
        self.dirty.insert(position);
        // What moves in a table that the kernel has not got is nobody's news.
        let sorry = match comes {
            true => reached,
            false => goes && service.sorry_told,
        };
        service.sorry_told = comes && reached || service.sorry_told && !goes;
        let (service, count) = (service.info.clone(), service.servers.count());
        self.events.push(match has {
            true => Event::QuorumGained { service, count, weight, begin, sorry },
            false => Event::QuorumLost { service, count, weight, begin, sorry },
        });
    }

    /// Whether the kernel has the service, as far as is known: what it refused nowhere will be there.
    fn is_reached(&self, position: u32) -> bool {
        let refused = |key| self.table.get(key).is_some_and(|entry| entry.refused.is_some());
        let service = self.services.get(position as usize);
        self.no_table.is_none() && service.is_some_and(|service| !service.keys.iter().all(refused))
    }

    /// The kernel has the service now: its sorry server that was wished for before is in.
    fn tell_sorry(&mut self, position: u32) {
        let Some(service) = self.services.get_mut(position as usize) else { return };
        if service.sorry.is_some() && !std::mem::replace(&mut service.sorry_told, true) {
            self.events.push(Event::SorryAdded { service: service.info.clone() });
        }
    }

    fn addresses_changed(&mut self) {
        let spec = self.spec.clone();
        for (position, own) in spec.services.iter().enumerate().filter(|(_, own)| own.ha_suspend) {
            let enabled = service::is_here(&spec, own, &self.here);
            let Some(service) = self.services.get_mut(position).filter(|service| service.enabled != enabled) else {
                continue;
            };
            service.enabled = enabled;
            let activity = if enabled { Activity::Activating } else { Activity::Suspending };
            let seats = service.servers.iter().flat_map(|server| &server.seats).filter(|seat| seat.check.is_some());
            self.events.extend(seats.map(|seat| Event::Checker { check: seat.info.clone(), activity }));
        }
    }

    fn applied(&mut self, key: ServiceKey, version: Version, outcome: &Outcome) {
        let Some(entry) = self.table.get_mut(&key).filter(|entry| entry.version == version) else { return };
        let before = std::mem::replace(&mut entry.refused, outcome.service);
        if let Some(error) = outcome.service.filter(|_| before != outcome.service) {
            let of = self.owner(key);
            let no_table = self.no_table == Some(error);
            self.events.push(Event::ServiceRefused { service: key, of, error, no_table });
        }
        let Some(entry) = self.table.get(&key) else { return };
        let (owners, picture) = (entry.owners.clone(), entry.picture.clone());
        let trouble = outcome.service.is_some() || !outcome.refused.is_empty();
        let spec = self.spec.clone();
        let errors: BTreeMap<_, _> = outcome.refused.iter().copied().collect();
        for position in owners {
            if outcome.service.is_none() {
                self.tell_sorry(position);
            }
            let Some(own) = spec.services.get(position as usize) else { continue };
            let Some(service) = self.services.get(position as usize) else { continue };
            if !trouble && !service.servers.has_refused() && service.retry.is_none() {
                continue;
            }
            // Counted once: all of thousands of servers may be refused together.
            let mut count = service.servers.count();
            for (number, server) in own.servers.iter().enumerate() {
                let place = in_kernel(&key, server.endpoint, server.forwarding);
                // Where the service is not, none of its servers is, whether it is good at present or not.
                let whole = outcome.service.is_some() || before.is_some();
                if !whole && !picture.destinations.contains_key(&place) {
                    continue;
                }
                let refused = errors.get(&place).copied();
                self.refused(position, number, key, outcome.service.or(refused), &mut count);
            }
            self.evaluate(position, false);
            self.plan_retry(position, trouble);
        }
    }

    /// The virtual server that has a service of the kernel; of several the first.
    fn owner(&self, key: ServiceKey) -> Option<Arc<ServiceInfo>> {
        let position = self.table.get(&key)?.owners.first()?;
        Some(self.services.get(*position as usize)?.info.clone())
    }

    /// The kernel took a server's entry, or did not. `count` is of its service, and is kept; the quorum is asked for when
    /// all have been told.
    fn refused(&mut self, service: u32, server: usize, key: ServiceKey, error: Option<i32>, count: &mut io::Count) {
        let (now, no_table) = (self.now, self.no_table);
        let servers = self.services.get_mut(service as usize).map(|service| &mut service.servers);
        let Some(own) = servers.and_then(|servers| servers.lend(server)) else { return };
        let was_in = own.refused.is_empty();
        let why = match error {
            Some(error) => {
                own.refused.insert(key, error);
                if no_table == Some(error) { Why::NoTable(error) } else { Why::Refused(error) }
            }
            None if own.refused.remove(&key).is_some() => Why::Accepted,
            None => return,
        };
        // It is in the table everywhere or it is not: only that step is news for its service.
        if own.refused.is_empty() == was_in {
            return;
        }
        self.dirty.insert(service);
        if own.change(&why, now) {
            count.moved(!own.alive(), own.alive());
            self.events.push(moved(own, why, *count));
        }
    }

    fn plan_retry(&mut self, position: u32, trouble: bool) {
        let now = self.now;
        let Some(service) = self.services.get_mut(position as usize) else { return };
        if !trouble {
            if !service.servers.has_refused() {
                service.retry = None;
            }
        } else if service.retry.is_none_or(|(at, _)| at == Time::NEVER) {
            let times = service.retry.map_or(0, |(_, times)| times);
            let pause = RETRY.times(1 << times.min(6)).min(RETRY_MOST);
            service.retry = Some((now + pause, times + 1));
        }
        let at = service.retry.map(|(at, _)| at);
        let slot = self.retry_slot(position);
        self.agenda.set(slot, at);
    }

    /// Which synchronisation threads run.
    fn synchronise(&mut self) {
        let settings = self.spec.settings.sync_daemon.clone().filter(|_| !self.stopped);
        let wanted = settings.map(|settings| {
            let (master, backup) = match &settings.instance {
                None => (true, true),
                Some(instance) => match (self.masters.get(instance), &self.sync) {
                    (Some(master), _) => (*master, !master),
                    // A reload gave it another name, and who has it will be told: until then nothing changes.
                    (None, Some(sync)) => (sync.master, sync.backup),
                    (None, None) => (false, true),
                },
            };
            Sync { master, backup, settings }
        });
        if wanted != self.sync {
            self.sync.clone_from(&wanted);
            self.out.push_back(Action::SyncDaemon(wanted));
        }
    }

    /// Paints what changed, wishes for it, and tells what happened.
    fn finish(&mut self) {
        self.paint_dirty();
        self.out.extend(self.events.drain(..).map(Action::Report));
    }

    fn paint_dirty(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        let mut keys = BTreeSet::new();
        for service in dirty.iter().filter_map(|position| self.services.get(*position as usize)) {
            keys.extend(service.keys.iter().copied());
        }
        for key in keys {
            self.paint(key);
        }
    }

    fn paint(&mut self, key: ServiceKey) {
        let Some(entry) = self.table.get(&key) else { return };
        let owners = entry.owners.iter().filter_map(|position| {
            let position = *position as usize;
            Some((self.services.get(position)?, self.spec.services.get(position)?))
        });
        let (mut frame, mut destinations) = (None, Vec::new());
        for (service, own) in owners {
            frame.get_or_insert_with(|| Service::frame(own));
            service.paint(own, &key, &mut destinations);
        }
        let Some(frame) = frame else { return };
        let picture = Picture { destinations: service::painted(destinations), ..frame };
        let Some(entry) = self.table.get_mut(&key) else { return };
        if entry.version != Version::default() && *entry.picture == picture {
            return;
        }
        self.numbers.version += 1;
        (entry.picture, entry.version) = (Arc::new(picture), Version(self.numbers.version));
        let (version, picture) = (entry.version, entry.picture.clone());
        self.out.push_back(Action::Serve { service: key, version, picture });
    }

    fn server(&self, place: Place) -> Option<&server::Server> {
        self.services.get(place.service as usize)?.servers.get(place.server as usize)
    }

    fn server_mut(&mut self, place: Place) -> Option<&mut server::Server> {
        self.services.get_mut(place.service as usize)?.servers.lend(place.server as usize)
    }

    fn count(&self, place: Place) -> io::Count {
        self.services.get(place.service as usize).map(|service| service.servers.count()).unwrap_or_default()
    }

    fn seat(&self, place: Place) -> Option<&server::Seat> {
        self.server(place)?.seats.get(place.seat as usize)
    }

    /// When a check that nothing is known of is made first.
    fn first(&self, checker: &Checker, number: u64) -> Time {
        let seed = self.spec.settings.seed.map_or(self.seed, u64::from);
        Check::first(checker, chance(seed, number), self.now)
    }
}

/// A server counts from now on, or does so no longer.
fn moved(server: &server::Server, why: Why, count: io::Count) -> Event {
    let (up, server) = (server.alive(), server.info.clone());
    match up {
        true => Event::ServerUp { server, why, count },
        false => Event::ServerDown { server, why, count },
    }
}

/// Exit codes mean what the configuration says they mean, whoever ran the program.
fn understood(kind: &CheckerKind, finding: Finding) -> Finding {
    match (kind, finding) {
        (CheckerKind::Misc { dynamic: false, .. }, Finding::Weighted(code)) => {
            Finding::Bad(Symptom::Exit(i32::from(code)))
        }
        (CheckerKind::Misc { dynamic: true, .. }, Finding::Bad(Symptom::Exit(code))) => match u8::try_from(code) {
            Ok(code) if code >= 2 => Finding::Weighted(code),
            _ => Finding::Bad(Symptom::Exit(code)),
        },
        (_, finding) => finding,
    }
}
