//! What the engine thread does with each fact and each wish: the loop around it is [`super::start`]'s.

use super::{DATAGRAMS_A_ROUND, Doors, FromEngine, PUNCTUAL, Steer, ToEngine, WALL_EVERY};
use crate::kernel::arrivals::Arrival;
use crate::kernel::netlink::{FromKernel, ToKernel, Trouble};
use crate::kernel::programs::{self, Job, Notice};
use crate::kernel::socket::{Heard, Sockets};
use crate::kernel::{clock, privilege};
use crate::spec::{BfdId, FileId, InstanceId, ProcessId, Spec};
use crate::time::{Interval, Time};
use crate::vrrp::Engine;
use crate::vrrp::io::{
    Action, Attempt, Command, Event, Exit, Input, LinkFact, Port, Readings, SocketState, TrackValue, Tracker, Transmit,
};
use crate::vrrp::reload;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::mpsc;

/// The engine and its surroundings.
pub(super) struct Driver {
    pub(super) engine: Engine,
    pub(super) sockets: Sockets,
    pub(super) doors: Doors,
    /// What identifiers in the engine's wishes belong to.
    spec: Arc<Spec>,
    /// What bfd and checker have not been told yet of interfaces and addresses.
    local: Vec<LinkFact>,
    /// As last given to the sockets.
    pub(super) ports: Vec<(Port, Vec<InstanceId>)>,
    /// [`Engine::ports_version`] of `ports`; `None` before there are any.
    pub(super) ports_version: Option<u64>,
    pub(super) ports_retry: Time,
    /// The sockets are to be looked at although the ports are the same.
    pub(super) ports_again: bool,
    /// What the engine was last told of the socket of an instance, if it is not open.
    pub(super) told: HashMap<InstanceId, SocketState>,
    /// Where the last datagram could not be sent, as the engine was told.
    pub(super) unsent: HashSet<(InstanceId, IpAddr)>,
    /// Adverts whose socket is being opened, the newest to each destination: they go out with it, if that is soon.
    pub(super) parked: HashMap<(InstanceId, IpAddr), (Time, Transmit)>,
    /// When the runs of scripts under way were started.
    scripts: HashMap<Attempt, Time>,
    switching: Option<Switch>,
    /// Real-time priority that lateness has led to; 0 if it has not.
    realtime: u8,
    /// [`privilege::realtime_overruns`] as last told.
    overruns: u32,
    /// A Spec that came while another switch was under way; the last one wins.
    waiting: Option<(Arc<Spec>, Readings)>,
    wall_told: Time,
    /// `Stop` has been given; whether claims are to be given up.
    pub(super) stopping: Option<bool>,
}

/// A reload on its way: the kernel thread already speaks the new identifiers, the engine still the old ones.
struct Switch {
    readings: Readings,
    /// The new number of each instance that goes on, by its old one.
    carried: HashMap<InstanceId, InstanceId>,
}

impl Switch {
    fn new_id(&self, old: InstanceId) -> Option<InstanceId> {
        self.carried.get(&old).copied()
    }
}

impl Driver {
    /// Before anything was carried.
    pub(super) fn new(engine: Engine, sockets: Sockets, doors: Doors, now: Time) -> Driver {
        Driver {
            spec: engine.spec().clone(),
            engine,
            sockets,
            doors,
            local: Vec::new(),
            ports: Vec::new(),
            ports_version: None,
            ports_retry: Time::NEVER,
            ports_again: false,
            told: HashMap::new(),
            unsent: HashSet::new(),
            parked: HashMap::new(),
            scripts: HashMap::new(),
            switching: None,
            realtime: 0,
            overruns: 0,
            waiting: None,
            wall_told: now,
            stopping: None,
        }
    }

    /// When to come back at the latest.
    pub(super) fn due(&self) -> Time {
        self.engine.due().min(self.ports_retry)
    }

    /// Takes the datagrams that are there (see [`Sockets::receive`]) and tells them in the order of their arrival, whatever
    /// socket they came through: one instance's advert must not make another's deadline pass that is only a queue away
    /// from being moved.
    pub(super) fn receive(&mut self, heard: &mut Heard, due: Option<Time>, now: Time) {
        self.sockets.receive(heard, DATAGRAMS_A_ROUND, due.is_some());
        // Who spoke when a socket was full is not known, so that nobody's silence counts: patience begins with the reading.
        let lost = due.is_some_and(|due| now.since(due) > PUNCTUAL) && self.sockets.has_lost();
        if let Some(since) = due {
            // Behind the reading: what has waited for too long counts as heard when it was read.
            self.engine.handle(Input::Slept { since }, clock::now());
        }
        for Arrival { at, meta, bytes } in heard.in_order() {
            let at = if lost { now } else { at };
            self.engine.handle(Input::Datagram { meta, bytes }, at);
            self.settle(now);
        }
    }

    pub(super) fn report(&mut self, report: FromKernel) {
        let now = clock::now();
        match report {
            FromKernel::Link(fact) => {
                if self.doors.log_addresses {
                    self.tell_address(&fact);
                }
                self.local.push(fact.clone());
                self.engine.handle(Input::Link(fact), now);
            }
            FromKernel::Applied { instance, outcome } => self.engine.handle(Input::Applied { instance, outcome }, now),
            FromKernel::Opened { opening, outcome } => self.opened(opening, outcome, now),
            FromKernel::Configured { spec, troubles, .. } => {
                // What the old engine has wished up to here goes out under the kernel thread's new numbers.
                self.tell_wall(now);
                self.settle(now);
                if let Some(switch) = self.switching.take() {
                    self.switch(spec, &switch, now);
                }
                // They have the new numbers.
                tell_troubles(&self.doors.services, troubles);
                if let Some((next, readings)) = self.waiting.take() {
                    self.begin_switch(next, readings);
                }
            }
            FromKernel::Trouble(trouble) => tell_troubles(&self.doors.services, vec![trouble]),
            FromKernel::Stopped => {}
        }
    }

    /// All that one turn has brought goes on at once: a claim of thousands of addresses must not wake two more threads
    /// for each of them.
    pub(super) fn tell_local(&mut self) {
        if !self.local.is_empty() {
            self.doors.bfd.tell_local(&self.local);
            self.doors.checker.tell_local(&self.local);
            self.local = Vec::new();
        }
    }

    pub(super) fn news(&mut self, news: ToEngine) {
        let now = clock::now();
        match news {
            ToEngine::ClearCounters => self.engine.handle(Input::Command(Command::ClearCounters), now),
            ToEngine::Steer(steer, name) => self.steer(steer, name.as_deref(), now),
            ToEngine::Program(attempt, notice) => self.program(attempt, notice, now),
            ToEngine::FileSays(name, number) => {
                if let Some(file) = position(&self.engine.spec().files, |f| f.name == name).map(FileId) {
                    self.tracked(Tracker::File(file), TrackValue::Number(number), now);
                }
            }
            ToEngine::ProcessesRun(name, count) => {
                if let Some(process) = position(&self.engine.spec().processes, |p| p.name == name).map(ProcessId) {
                    self.tracked(Tracker::Process(process), TrackValue::Count(count), now);
                }
            }
            ToEngine::SessionSays(name, up) => {
                if let Some(session) = position(&self.engine.spec().bfds, |b| b.name == name).map(BfdId) {
                    self.tracked(Tracker::Bfd(session), TrackValue::Up(up), now);
                }
            }
            ToEngine::HandOver(_) => {}
            ToEngine::Ping(answer) => {
                let _ = answer.send(());
            }
            ToEngine::Reload(spec, readings) if self.switching.is_some() => self.waiting = Some((spec, readings)),
            ToEngine::Reload(spec, readings) => self.begin_switch(spec, readings),
            ToEngine::Snapshot(answer) => {
                self.tell_wall(now);
                let mut snapshot = self.engine.snapshot(now);
                for view in &mut snapshot.ports {
                    view.descriptor = self.sockets.descriptor(&view.port);
                }
                let _ = answer.send(Box::new(snapshot));
            }
            ToEngine::Stop { release } => {
                self.stopping = Some(release);
                self.engine.handle(Input::Command(Command::Stop { release }), now);
                self.settle(now);
                let _ = self.doors.orders.send(ToKernel::Stop { release });
            }
        }
    }

    fn program(&mut self, attempt: Attempt, notice: Notice, now: Time) {
        let exit = match notice {
            Notice::Started(_) => {
                self.scripts.insert(attempt, now);
                return self.engine.handle(Input::ScriptStarted { attempt }, now);
            }
            Notice::Exited(exit) => {
                let begun = self.scripts.remove(&attempt);
                if let (Some(begun), Some(script)) = (begun, self.engine.script_of(attempt)) {
                    let _ = self.doors.services.send(FromEngine::Ran(script, now.since(begun)));
                }
                exit
            }
            Notice::NotRun(error) => {
                self.scripts.remove(&attempt);
                if let Some(script) = self.engine.script_of(attempt) {
                    let _ = self.doors.services.send(FromEngine::NotRun(script, error));
                }
                Exit::NotRun
            }
        };
        self.engine.handle(Input::ScriptExited { attempt, exit }, now);
    }

    fn tracked(&mut self, tracker: Tracker, value: TrackValue, now: Time) {
        self.engine.handle(Input::Tracked { tracker, value }, now);
    }

    fn steer(&mut self, steer: Steer, name: Option<&str>, now: Time) {
        let instance = match name {
            None => None,
            Some(name) => match position(&self.engine.spec().instances, |i| *i.name == *name) {
                Some(index) => Some(InstanceId(index)),
                None => return,
            },
        };
        let command = match steer {
            Steer::Drain => Command::Drain { instance },
            Steer::Undrain => Command::Undrain { instance },
            Steer::Failover => Command::Failover { instance },
            Steer::Announce => Command::Announce { instance },
        };
        self.engine.handle(Input::Command(command), now);
    }

    /// Tells the kernel thread first; the engine follows when that has answered. Before anything changes, backups are
    /// given their full patience once more, as keepalived does: making virtual links takes its time on a busy machine.
    fn begin_switch(&mut self, spec: Arc<Spec>, readings: Readings) {
        self.engine.handle(Input::Command(Command::Reassure), clock::now());
        let carried = reload::continued(self.engine.spec(), &spec);
        self.switching = Some(Switch { readings, carried: carried.iter().copied().collect() });
        let _ = self.doors.orders.send(ToKernel::Configure { spec, carried });
    }

    fn switch(&mut self, spec: Arc<Spec>, switch: &Switch, now: Time) {
        self.engine.reload_with(spec, &switch.readings, now);
        // What goes is said goodbye to over the old sockets and under the old identifiers.
        while let Some(action) = self.engine.poll() {
            let all = action == Action::Report(Event::Reloaded);
            self.carry_out(action, now);
            if all {
                break;
            }
        }
        self.spec = self.engine.spec().clone();
        let _ = self.doors.orders.send(ToKernel::Tidy);
        self.told.clear();
        // The engine knows over a reload who could not speak; it has to hear when that ends.
        let unsent = std::mem::take(&mut self.unsent);
        self.unsent = unsent.into_iter().filter_map(|(id, to)| Some((switch.new_id(id)?, to))).collect();
        self.parked.clear();
        self.share_buffers();
        self.tell_spec();
        self.ports_version = None;
        self.settle(now);
    }

    pub(super) fn tell_spec(&self) {
        let snapshot = Box::new(self.engine.snapshot(clock::now()));
        // It is read once: nobody has asked for views, and there may be thousands.
        self.engine.forget_views();
        let _ = self.doors.services.send(FromEngine::Spec { spec: self.engine.spec().clone(), snapshot });
    }

    /// Sockets first, then everything the engine wishes.
    pub(super) fn settle(&mut self, now: Time) {
        if self.ports_version != Some(self.engine.ports_version()) || self.ports_retry <= now {
            self.sync_ports(now);
        }
        while let Some(action) = self.engine.poll() {
            self.carry_out(action, now);
        }
    }

    /// Moves the engine's time as well: only to be called when everything that came before `now` has been told.
    pub(super) fn tell_wall(&mut self, now: Time) {
        self.wall_told = now;
        self.engine.handle(Input::WallClock(clock::wall()), now);
    }

    /// [`Driver::tell_wall`], where that is long ago.
    pub(super) fn tell_wall_if_due(&mut self, now: Time) {
        if now.since(self.wall_told) >= WALL_EVERY {
            self.tell_wall(now);
        }
    }

    fn carry_out(&mut self, action: Action, now: Time) {
        match action {
            Action::Transmit(transmit) => self.transmit(transmit, now),
            Action::Own(instance, claim) => {
                if let Some(instance) = self.kernel_id(instance) {
                    let _ = self.doors.orders.send(ToKernel::Own(instance, claim));
                }
            }
            Action::Disown(instance) => {
                if let Some(instance) = self.kernel_id(instance) {
                    let _ = self.doors.orders.send(ToKernel::Disown(instance));
                }
            }
            Action::Announce(mut announce) => {
                if let Some(instance) = self.kernel_id(announce.instance) {
                    announce.instance = instance;
                    let _ = self.doors.orders.send(ToKernel::Announce(announce));
                }
            }
            Action::AnnounceSource { ifindex, address, .. } => {
                let _ = self.doors.orders.send(ToKernel::AnnounceSource { ifindex, address });
            }
            Action::RunScript(script, attempt) => {
                if let Some(script) = self.spec.scripts.get(script.index()) {
                    self.doors.programs.start(attempt, Job::new(script.run.clone()));
                }
            }
            Action::KillScript(_, attempt, signal) => self.doors.programs.kill(attempt, signal),
            Action::AbandonScript(_, attempt) => {
                self.scripts.remove(&attempt);
                self.doors.programs.abandon(attempt, programs::PATIENCE);
            }
            Action::Report(event) => {
                let _ = self.doors.services.send(FromEngine::Event(event, now));
            }
        }
    }

    /// The identifier that the kernel thread knows an instance by; `None` if it has withdrawn it already.
    fn kernel_id(&self, instance: InstanceId) -> Option<InstanceId> {
        match &self.switching {
            None => Some(instance),
            Some(switch) => switch.new_id(instance),
        }
    }

    /// Woken late: the scheduler is asked for more (`max_auto_priority`). Reached the limit of real-time running: said.
    pub(super) fn mind_lateness(&mut self, late: Interval) {
        let daemon = &self.engine.spec().daemon;
        let patience = Interval::from_micros(daemon.min_auto_priority_delay_us.into());
        if let Some(highest) = daemon.max_auto_priority.filter(|highest| *highest > self.realtime && late >= patience) {
            let text = match privilege::raise_realtime(highest) {
                Ok(priority) if priority == self.realtime => None,
                Ok(priority) => {
                    self.realtime = priority;
                    Some(format!("Woken {} us late: real-time priority is {priority} from here on", late.as_micros()))
                }
                Err(error) => {
                    self.realtime = highest;
                    Some(format!("Woken {} us late; real-time priority cannot be raised: {error}", late.as_micros()))
                }
            };
            if let Some(text) = text {
                let _ = self.doors.services.send(FromEngine::Trouble(None, text.into()));
            }
        }
        let overruns = privilege::realtime_overruns();
        if overruns != self.overruns {
            self.overruns = overruns;
            let text = "The engine has run for half of vrrp_rlimit_rttime without a pause";
            let _ = self.doors.services.send(FromEngine::Trouble(None, text.into()));
        }
    }

    fn tell_address(&self, fact: &LinkFact) {
        let (added, index, address) = match fact {
            LinkFact::Address { index, address } => (true, *index, address.address),
            LinkFact::AddressGone { index, address, .. } => (false, *index, *address),
            _ => return,
        };
        let text = format!("{address} {} interface index {index}", if added { "added to" } else { "removed from" });
        let _ = self.doors.services.send(FromEngine::Address(text));
    }

    pub(super) fn finish(&self) {
        let _ = self.doors.services.send(FromEngine::Stopped);
    }
}

fn position<T>(list: &[T], is: impl Fn(&T) -> bool) -> Option<u32> {
    list.iter().position(is).and_then(|index| u32::try_from(index).ok())
}

pub(super) fn tell_troubles(services: &mpsc::UnboundedSender<FromEngine>, troubles: Vec<Trouble>) {
    for trouble in troubles {
        let _ = services.send(FromEngine::Trouble(trouble.instance, trouble.text));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::daemon::loops::{bfd, checker};
    use crate::kernel::programs::{Programs, Room};
    use crate::kernel::socket::SocketSettings;
    use crate::kernel::wait::Bell;
    use crate::sim::build;
    use crate::spec::RxBuffer;
    use crate::vrrp::io::Outcome;
    use std::net::Ipv4Addr;

    /// A driver whose kernel thread, services and programs are the test.
    struct Bench {
        driver: Driver,
        orders: mpsc::UnboundedReceiver<ToKernel>,
        told: mpsc::UnboundedReceiver<FromEngine>,
        _programs: Programs,
    }

    /// Address owners: MASTER as soon as their sockets are open.
    fn spec(names: &[(&str, u8)]) -> Arc<Spec> {
        let owner = |(name, vrid): &(&str, u8)| {
            build::instance(name, *vrid, 255, &[IpAddr::V4(Ipv4Addr::new(10, 0, 0, *vrid))])
        };
        Arc::new(build::spec(names.iter().map(owner).collect()))
    }

    fn bench(spec: &Arc<Spec>) -> Bench {
        let bell = Bell::new().unwrap();
        let programs = Programs::new().unwrap();
        let (orders, to_kernel) = mpsc::unbounded_channel();
        let (services, told) = mpsc::unbounded_channel();
        let now = clock::now();
        let settings = SocketSettings { rx_buffer: RxBuffer::default(), disable_local_igmp: false };
        let engine = Engine::new(spec.clone(), vec![build::link(2, "eth0", &["10.0.0.200"])], now);
        let doors = Doors {
            orders,
            services,
            programs: programs.handle().client(Room::BY_CONFIGURATION, |_, _| {}),
            punctuality: Arc::default(),
            log_addresses: false,
            bfd: bfd::Door::nowhere().unwrap(),
            checker: checker::door().0,
        };
        let driver = Driver::new(engine, Sockets::new(settings, bell).unwrap(), doors, now);
        Bench { driver, orders: to_kernel, told, _programs: programs }
    }

    impl Bench {
        /// What the kernel thread was told to own or not, since this was asked last.
        fn owning(&mut self) -> Vec<(bool, u32)> {
            let mut owning = Vec::new();
            while let Ok(order) = self.orders.try_recv() {
                match order {
                    ToKernel::Own(id, _) => owning.push((true, id.0)),
                    ToKernel::Disown(id) => owning.push((false, id.0)),
                    _ => {}
                }
            }
            owning
        }

        fn open_sockets(&mut self, instances: u32) {
            for instance in (0..instances).map(InstanceId) {
                let open = Input::Socket { instance, state: SocketState::Open };
                self.driver.engine.handle(open, clock::now());
            }
            while let Some(action) = self.driver.engine.poll() {
                self.driver.carry_out(action, clock::now());
            }
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn between_the_two_steps_of_a_reload_wishes_go_out_under_the_new_numbers() {
        let before = spec(&[("A", 1), ("B", 2)]);
        let mut bench = bench(&before);
        bench.open_sockets(2);
        assert_eq!(bench.owning(), [(true, 0), (true, 1)]);

        // A goes: B is number 0 for the kernel thread from here on, and still 1 for the engine.
        let after = spec(&[("B", 2)]);
        bench.driver.news(ToEngine::Reload(after.clone(), Readings::new()));
        let carried = std::iter::from_fn(|| bench.orders.try_recv().ok()).find_map(|order| match order {
            ToKernel::Configure { carried, .. } => Some(carried),
            _ => None,
        });
        assert_eq!(carried, Some(vec![(InstanceId(1), InstanceId(0))]));
        for (old, owning) in [(InstanceId(0), vec![]), (InstanceId(1), vec![(false, 0)])] {
            bench.driver.carry_out(Action::Disown(old), clock::now());
            assert_eq!(bench.owning(), owning, "{old:?}");
        }

        let done = FromKernel::Configured { spec: after, links: Vec::new(), troubles: Vec::new() };
        bench.driver.report(done);
        // The numbers are the engine's own again.
        bench.driver.carry_out(Action::Disown(InstanceId(0)), clock::now());
        assert_eq!(bench.owning().last(), Some(&(false, 0)));
        assert_eq!(bench.driver.engine.spec().instances.len(), 1);
        let specs =
            std::iter::from_fn(|| bench.told.try_recv().ok()).filter(|told| matches!(told, FromEngine::Spec { .. }));
        assert_eq!(specs.count(), 1);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_second_reload_waits_for_the_first_and_only_the_last_one_is_carried_out() {
        let mut bench = bench(&spec(&[("A", 1)]));
        bench.open_sockets(1);
        bench.owning();
        let configured = |bench: &mut Bench| {
            let orders = std::iter::from_fn(|| bench.orders.try_recv().ok());
            orders
                .filter_map(|o| if let ToKernel::Configure { spec, .. } = o { Some(spec) } else { None })
                .collect::<Vec<_>>()
        };
        let next: Vec<Arc<Spec>> = vec![spec(&[("B", 2), ("A", 1)]), spec(&[("C", 3)]), spec(&[("A", 1), ("D", 4)])];
        for spec in &next {
            bench.driver.news(ToEngine::Reload(spec.clone(), Readings::new()));
        }
        let first = configured(&mut bench);
        assert_eq!(first.len(), 1);
        let done =
            |spec: &Arc<Spec>| FromKernel::Configured { spec: spec.clone(), links: Vec::new(), troubles: Vec::new() };
        bench.driver.report(done(&next[0]));
        let second = configured(&mut bench);
        assert!(Arc::ptr_eq(&second[0], &next[2]) && second.len() == 1);
        // A fact under the numbers of the first, which said itself in force.
        let applied = FromKernel::Applied { instance: InstanceId(1), outcome: Outcome::Complete };
        bench.driver.report(applied);
        bench.driver.report(done(&next[2]));
        assert_eq!(bench.driver.engine.spec().instances.iter().map(|i| &*i.name).collect::<Vec<_>>(), ["A", "D"]);
    }
}
