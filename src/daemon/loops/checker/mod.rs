//! The checker thread: the loop that carries facts into the [`Balancer`] and its wishes out.
//!
//! One thread, one current-thread runtime, and on it two kinds of tasks that wait for each other nowhere: this loop, which
//! owns the balancer, and a task for every probe under way ([`probing`]). The owner of the kernel's table ([`table`]) is a
//! thread of its own. A backend that hangs holds up its own probe, a kernel that does not answer holds up the table.
//! Programs of MISC_CHECK run on the programs thread and are answered under the attempt's number.
//!
//! What others must do for it (log, notify programs, FIFO lines, mail) goes to the services thread as events.

mod access;
mod orders;
mod probing;
mod table;

use crate::balance::Balancer;
use crate::balance::Handover;
use crate::balance::io::{Action, Beginning, Command, Event, Input, TrackValue, Tracker, Traffic};
use crate::balance::snapshot::Snapshot;
use crate::kernel::perhaps::perhaps;
use crate::kernel::programs;
use crate::kernel::threads;
use crate::kernel::{clock, privilege};
use crate::observe::balance::view;
use crate::spec::Spec;
use crate::time::Time;
use crate::vrrp::io::{Link, LinkFact};
use orders::Order;
use probing::Probing;
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use table::{Table, Turn};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

/// How long the table may take to be emptied when the daemon ends.
const LAST_PATIENCE: Duration = Duration::from_secs(5);
/// How long the kernel's counters may take for a question.
const COUNTERS_PATIENCE: Duration = Duration::from_secs(1);
/// How long the first checks wait for the files of the block SSL.
const FILES_PATIENCE: Duration = Duration::from_secs(1);
/// How long the beginning waits for the kernel's table, to be there and then to be made. No check is due before.
const TABLE_PATIENCE: Duration = Duration::from_secs(1);

/// Answers that are worked off before anything else has its turn.
const AT_ONCE: usize = 64;

/// What the checker thread is asked.
pub enum ToChecker {
    /// Go over to another configuration. The list: what its tracked files and BFD sessions say at present.
    Reload(Arc<Spec>, Vec<(Tracker, TrackValue)>),
    /// A fact that comes from elsewhere in the daemon: trackers, addresses, roles.
    Fact(Input),
    /// An operator's wish; answered with how many servers it reaches.
    Command(Command, oneshot::Sender<usize>),
    Snapshot(oneshot::Sender<Box<Picture>>),
    /// The state alone, for metrics: the kernel is not asked.
    State(oneshot::Sender<Box<Snapshot>>),
    /// Write down what the next program needs, leave the table as it is, and end.
    HandOver(oneshot::Sender<Box<Handover>>),
    /// Answered when the loop comes round.
    Ping(oneshot::Sender<()>),
    /// Withdraw everything (or with `keep` leave it as it is) and end; answered when that is done.
    Stop {
        keep: bool,
        answer: oneshot::Sender<()>,
    },
}

/// The state of all virtual servers, with the kernel's counters where they could be read.
#[derive(Clone, Debug)]
pub struct Picture {
    pub snapshot: Snapshot,
    pub traffic: Option<Arc<Traffic>>,
}

/// What the services thread is told.
#[derive(Debug)]
pub enum FromChecker {
    Event(Event, Time),
    Warning(String),
    Note(String),
}

/// The way to the checker thread; cheap to clone, never waits.
#[derive(Clone, Debug)]
pub struct Door(mpsc::UnboundedSender<ToChecker>);

impl Picture {
    /// See [`view::json`].
    pub fn json(&self) -> serde_json::Value {
        let wall = clock::wall();
        let unix_micros = wall.unix_micros.saturating_sub(wall.at.since(self.snapshot.now).as_micros());
        view::json(&self.snapshot, self.traffic.as_deref(), unix_micros)
    }
}

impl std::fmt::Debug for ToChecker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ToChecker")
    }
}

impl Door {
    /// News to a thread that has ended are lost.
    pub fn send(&self, news: ToChecker) {
        let _ = self.0.send(news);
    }

    /// What the kernel tells of addresses, for services whose checks wait for theirs.
    pub fn tell_local(&self, facts: &[LinkFact]) {
        for fact in facts.iter().filter_map(local) {
            self.send(ToChecker::Fact(fact));
        }
    }
}

/// An interface's news in the words of the balancer; `None` where no address is concerned.
fn local(fact: &LinkFact) -> Option<Input> {
    Some(match fact {
        LinkFact::Dump(links) => {
            let of = |link: &Link| -> Vec<(u32, IpAddr)> {
                let usable = link.addresses.iter().filter(|address| address.usable);
                usable.map(|address| (link.index, address.address)).collect()
            };
            Input::Addresses(links.iter().flat_map(of).collect())
        }
        LinkFact::Address { index, address } => {
            Input::Address { interface: *index, address: address.address, here: address.usable }
        }
        LinkFact::AddressGone { index, address, .. } => {
            Input::Address { interface: *index, address: *address, here: false }
        }
        LinkFact::Changed(_) | LinkFact::Gone { .. } | LinkFact::Healed { .. } | LinkFact::Swept { .. } => return None,
    })
}

/// Everything that the thread owns from the start.
pub struct Setup {
    pub spec: Arc<Spec>,
    pub services: mpsc::UnboundedSender<FromChecker>,
    pub programs: programs::Handle,
    /// What is known of tracked files and sessions, of addresses and of masters.
    pub world: Beginning,
    pub left: Option<Box<Handover>>,
    /// What operators wished since the start, in its order.
    pub wishes: Vec<Command>,
    /// Where the record of what is ours in the kernel's table is kept.
    pub record: PathBuf,
    /// The first checks are spread by it.
    pub seed: u64,
}

/// The way to a checker thread, before there is one: what is sent waits for it.
pub fn door() -> (Door, Inbox) {
    let (sender, inbox) = mpsc::unbounded_channel();
    (Door(sender), Inbox(inbox))
}

/// The thread's end of a [`Door`].
#[derive(Debug)]
pub struct Inbox(mpsc::UnboundedReceiver<ToChecker>);

/// Starts the thread. It ends after [`ToChecker::Stop`] or [`ToChecker::HandOver`].
///
/// # Errors
/// The thread cannot be started, or no descriptor is left.
pub fn start(setup: Setup, Inbox(inbox): Inbox) -> std::io::Result<std::thread::JoinHandle<()>> {
    let (built, is_built) = std::sync::mpsc::sync_channel(1);
    let thread = threads::start("checker", move || {
        let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
            Ok(runtime) => runtime,
            Err(error) => return drop(built.send(Err(error))),
        };
        let _ = built.send(Ok(()));
        run(&runtime, setup, inbox);
    })?;
    is_built.recv().unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()))?;
    Ok(thread)
}

/// Lives until it is told to end, and begins again after a panic.
///
/// The loop is a task like the probes: to wake the future that the runtime itself runs costs a system call each time, and every
/// answer of a probe wakes the loop.
fn run(runtime: &LocalRuntime, setup: Setup, inbox: mpsc::UnboundedReceiver<ToChecker>) {
    let thread = setup.spec.daemon.checker.clone();
    threads::named(thread.name.as_deref());
    for (what, error) in privilege::thread(&thread) {
        let _ =
            setup.services.send(FromChecker::Warning(format!("Unable to set {what} of the checker thread: {error}")));
    }
    let turn = Turn::default();
    // What a life that panicked leaves to the next one.
    let own = Rc::new(tokio::sync::Mutex::new((setup, inbox)));
    for _ in 0..=threads::LIVES {
        let (own, turn) = (own.clone(), turn.clone());
        let life = async move {
            let mut own = own.lock().await;
            let (setup, inbox) = &mut *own;
            live(setup, inbox, &turn).await
        };
        match runtime.block_on(runtime.spawn_local(life)) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => {
                tracing::error!(target: "checker", "No thread for the table of virtual servers: {error}")
            }
            Err(_) => {}
        }
        tracing::error!(target: "checker", "The checker thread panicked and begins again");
    }
    tracing::error!(target: "checker", "The checker thread has ended: servers are no longer checked");
}

/// That time on the clock of the runtime.
fn instant(at: Time) -> Instant {
    clock::instant(at).into()
}

/// Serves until it is told to end.
///
/// # Errors
/// No thread to be had for the kernel's table.
async fn live(setup: &mut Setup, inbox: &mut mpsc::UnboundedReceiver<ToChecker>, turn: &Turn) -> std::io::Result<()> {
    let spec = setup.spec.balance.clone();
    let (answer, mut answers) = mpsc::unbounded_channel();
    let table = Table::new(&spec, setup.record.clone(), turn, answer.clone(), setup.services.clone())?;
    // What the checks need and the balancer are made while the kernel's table is opened.
    let opened = (!spec.services.is_empty()).then(|| table.open());
    let probing = Probing::new(&spec, &setup.programs, answer, setup.services.clone());
    let left = setup.left.take();
    let mut balancer = balancer(setup, left.as_deref(), clock::now());
    // Nobody is to be told of a quorum that the kernel then cannot serve: without a table the balancer is made once more, and knows.
    if let Some(opened) = opened {
        let absent = timeout(TABLE_PATIENCE, opened).await.ok().and_then(Result::ok).flatten();
        if std::mem::replace(&mut setup.world.no_table, absent) != absent {
            balancer = self::balancer(setup, left.as_deref(), clock::now());
        }
    }
    drop(left);
    let mut checker = Checker { table, probing, services: setup.services.clone(), balancer };
    // Checks that present a certificate begin with it, if it is to be had.
    if checker.probing.is_reading() {
        let client = timeout(FILES_PATIENCE, checker.probing.read()).await.ok();
        checker.probing.have_read(client);
    }
    checker.begin().await;
    loop {
        let due = perhaps(checker.balancer.wake().map(|at| sleep_until(instant(at))));
        tokio::select! {
            news = inbox.recv() => match news {
                Some(ToChecker::HandOver(answer)) => {
                    let _ = answer.send(Box::new(checker.balancer.hand_over()));
                    return Ok(());
                }
                Some(ToChecker::Stop { keep, answer }) => {
                    checker.end(keep).await;
                    let _ = answer.send(());
                    return Ok(());
                }
                None => {
                    checker.end(true).await;
                    return Ok(());
                }
                Some(ToChecker::Reload(spec, trackers)) => checker.reload(spec, trackers, setup),
                Some(ToChecker::Fact(fact)) => {
                    remember(&mut setup.world, &fact);
                    checker.balancer.handle(fact, clock::now());
                }
                Some(ToChecker::Command(command, answer)) => {
                    if checker.command(&command, answer) {
                        setup.wishes.retain(|known| !command.replaces(known));
                        setup.wishes.push(command);
                    }
                }
                Some(ToChecker::Snapshot(answer)) => checker.look(answer),
                Some(ToChecker::State(answer)) => {
                    let _ = answer.send(Box::new(checker.balancer.snapshot(clock::now())));
                }
                Some(ToChecker::Ping(answer)) => drop(answer.send(())),
            },
            Some(input) = answers.recv() => {
                // Those that came together are worked off together; what else there is has its turn after so many.
                let together = (0..AT_ONCE).map_while(|_| answers.try_recv().ok());
                let now = clock::now();
                for input in std::iter::once(input).chain(together) {
                    checker.answer(input, now);
                }
            }
            client = checker.probing.read() => checker.probing.have_read(Some(client)),
            () = checker.table.lives() => {}
            () = due => checker.balancer.handle(Input::Tick, clock::now()),
        }
        checker.carry_out();
    }
}

/// The balancer of this life. After a panic it begins with what the thread has been told since the start: the world, and what
/// operators wished.
fn balancer(setup: &Setup, left: Option<&Handover>, now: Time) -> Balancer {
    let (spec, world) = (setup.spec.balance.clone(), setup.world.clone());
    let mut balancer = match left {
        Some(left) => Balancer::inherit(spec, world, left, setup.seed, now),
        None => Balancer::begin(spec, world, setup.seed, now),
    };
    for wish in &setup.wishes {
        balancer.handle(Input::Command(wish.clone()), now);
    }
    balancer
}

/// Keeps what the balancer would have to be told if it began again. None of thousands is compared with all others: they come
/// together when this server takes over, and other threads need the processor then.
fn remember(world: &mut Beginning, fact: &Input) {
    match fact {
        Input::Tracked { tracker, value } => {
            world.trackers.insert(tracker.clone(), *value);
        }
        Input::Address { interface, address, here: true } => drop(world.addresses.insert((*interface, *address))),
        Input::Address { interface, address, here: false } => drop(world.addresses.remove(&(*interface, *address))),
        Input::Addresses(all) => world.addresses = all.iter().copied().collect(),
        Input::Role { instance, master: true } => drop(world.masters.insert(instance.clone())),
        Input::Role { instance, master: false } => drop(world.masters.remove(instance)),
        Input::Roles(all) => {
            world.masters = all.iter().filter(|(_, master)| *master).map(|(name, _)| name.clone()).collect();
        }
        Input::Table { absent } => world.no_table = *absent,
        Input::Tick | Input::Probed { .. } | Input::Applied { .. } | Input::Restored { .. } | Input::Command(_) => {}
    }
}

struct Checker {
    balancer: Balancer,
    table: Table,
    probing: Probing,
    services: mpsc::UnboundedSender<FromChecker>,
}

impl Checker {
    fn answer(&mut self, input: Input, now: Time) {
        self.probing.answered(&input);
        self.balancer.handle(input, now);
    }

    /// Has the table made before anything is told: what thousands of lines cost must not come before the first connection.
    async fn begin(&mut self) {
        let (mut wishes, mut others) = (Vec::new(), Vec::new());
        for action in std::iter::from_fn(|| self.balancer.poll()) {
            match Order::of(action) {
                Ok(wish) => wishes.push(wish),
                Err(other) => others.push(other),
            }
        }
        let _ = timeout(TABLE_PATIENCE, self.table.begin(wishes)).await;
        others.into_iter().for_each(|action| self.act(action));
    }

    /// Everything that the balancer wishes at present, in its order.
    fn carry_out(&mut self) {
        while let Some(action) = self.balancer.poll() {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Probe { check, attempt, probe } => self.probing.probe(check, attempt, &probe),
            Action::Abandon(attempt) => self.probing.abandon(attempt),
            Action::Report(event) => drop(self.services.send(FromChecker::Event(event, clock::now()))),
            Action::Serve { .. }
            | Action::Withdraw(_)
            | Action::Marks(_)
            | Action::Flush
            | Action::SyncDaemon(_)
            | Action::Timeouts(_) => Order::of(action).into_iter().for_each(|order| self.table.order(order)),
        }
    }

    fn reload(&mut self, spec: Arc<Spec>, trackers: Vec<(Tracker, TrackValue)>, setup: &mut Setup) {
        // Should this thread have to begin again, it begins with this.
        setup.spec = spec.clone();
        for (tracker, value) in trackers {
            remember(&mut setup.world, &Input::Tracked { tracker, value });
        }
        self.probing.reconfigure(&spec.balance);
        self.balancer.reload(spec.balance.clone(), setup.world.trackers.clone(), clock::now());
    }

    /// True when it reached a server.
    fn command(&mut self, command: &Command, answer: oneshot::Sender<usize>) -> bool {
        let reached = match command {
            Command::Drain(which) | Command::Undrain(which) | Command::Weigh(which, _) => self.balancer.reaches(which),
            Command::Stop { .. } => 0,
        };
        if reached > 0 {
            self.balancer.handle(Input::Command(command.clone()), clock::now());
        }
        let _ = answer.send(reached);
        reached > 0
    }

    fn look(&self, answer: oneshot::Sender<Box<Picture>>) {
        let snapshot = self.balancer.snapshot(clock::now());
        let table = self.table.look();
        tokio::task::spawn_local(async move {
            let traffic = timeout(COUNTERS_PATIENCE, table).await.ok().and_then(Result::ok).flatten();
            let _ = answer.send(Box::new(Picture { snapshot, traffic }));
        });
    }

    async fn end(&mut self, keep: bool) {
        self.balancer.handle(Input::Command(Command::Stop { keep }), clock::now());
        self.carry_out();
        self.probing.give_up();
        if timeout(LAST_PATIENCE, self.table.finish()).await.is_err() {
            let text = format!("IPVS: the table could not be emptied within {} s", LAST_PATIENCE.as_secs());
            let _ = self.services.send(FromChecker::Warning(text));
        }
    }
}
