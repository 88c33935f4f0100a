//! All programs that the daemon runs, for every thread: started, watched, ended, reaped.
//!
//! [`Programs`] belongs to one thread, which must live as long as the daemon and wait for nothing but [`Programs::attend`].
//! Everybody else has a [`Client`] and asks through it; what becomes of a run comes back as a [`Notice`] under the number
//! that the client gave it. A run that was given up is never told of again, and is ended here: TERM, then KILL. No step
//! waits for a program: not for its exec, not for its end, not for its death by KILL, which a process that hangs inside a
//! system call does not die of.
//!
//! A program that ends is seen through its pidfd before it is reaped. While it is a zombie its process group keeps its
//! number, so what is left of the group can be killed without ever hitting a stranger. In the daemon nobody else reaps.

use super::process::{self, Child, Outfit, Whom};
use super::readiness::readable;
use crate::spec::{Attempt, Exit, Run};
use crate::vrrp::io::KillSignal;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

/// From TERM to KILL for what was given up.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// The same when the daemon ends.
const LAST_PATIENCE: Duration = Duration::from_secs(1);
/// How often KILL is sent again to what does not die of it.
const KILL_AGAIN: Duration = Duration::from_secs(10);
/// After a lack of processes or descriptors, when to try again.
const SHORTAGE: Duration = Duration::from_millis(100);

/// A program to be run, and how.
#[derive(Debug)]
pub struct Job {
    pub run: Run,
    /// Appended to its arguments.
    pub extra: Vec<String>,
    /// It is ended when it takes too long.
    pub limit: Option<Limit>,
    /// Where its descriptor 2 goes instead of `/dev/null`.
    pub stderr: Option<OwnedFd>,
    /// Whom TERM is for. KILL is always for the whole group.
    pub whom: Whom,
    /// It goes on while the daemon becomes another program.
    pub outlives: bool,
}

impl Job {
    /// Without limit, for its group, and ended with the daemon.
    pub fn new(run: Run) -> Job {
        Job { run, extra: Vec::new(), limit: None, stderr: None, whom: Whom::Group, outlives: false }
    }
}

/// TERM `after` it was asked for, and KILL `then` later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    pub after: Duration,
    pub then: Duration,
}

/// What becomes of a run. The last one is [`Notice::NotRun`] or [`Notice::Exited`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice {
    /// The program is executed.
    Started,
    /// It could not be started: the kernel's error number.
    NotRun(i32),
    Exited(Exit),
}

/// How much a client may have at once. What comes above waits, the longest-waiting first; what does not find room there
/// is not run (EAGAIN).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    pub running: usize,
    pub waiting: usize,
}

impl Room {
    /// For a client that has one run a check, and no more checks than its configuration.
    pub const BY_CONFIGURATION: Room = Room { running: usize::MAX, waiting: usize::MAX };
}

type Tell = Arc<dyn Fn(Attempt, Notice) + Send + Sync>;

/// A run, unique for the life of the process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct RunId(u64);

/// What is asked of the thread.
enum Order {
    Client(u32, Room),
    Start { key: Key, job: Box<Job>, tell: Tell },
    Kill(Key, KillSignal),
    Abandon(Key, Duration),
    AbandonAll(u32),
    Hurry,
    Settled(oneshot::Sender<()>),
    Ping(oneshot::Sender<()>),
}

/// A run as its client knows it.
type Key = (u32, Attempt);

/// Makes clients.
#[derive(Clone, Debug)]
pub struct Handle {
    orders: mpsc::UnboundedSender<Order>,
    clients: Arc<AtomicU32>,
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Order")
    }
}

/// One that has programs run: an engine, the notifications, a single question.
#[derive(Clone)]
pub struct Client {
    id: u32,
    orders: mpsc::UnboundedSender<Order>,
    tell: Tell,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.id)
    }
}

impl Handle {
    /// `tell` is called on the programs thread for each notice and must not wait.
    pub fn client(&self, room: Room, tell: impl Fn(Attempt, Notice) + Send + Sync + 'static) -> Client {
        let id = self.clients.fetch_add(1, Ordering::Relaxed);
        if room != Room::BY_CONFIGURATION {
            let _ = self.orders.send(Order::Client(id, room));
        }
        Client { id, orders: self.orders.clone(), tell: Arc::new(tell) }
    }

    /// Runs one program.
    pub fn once(&self, job: Job) -> Once {
        let (tell, told) = mpsc::unbounded_channel();
        let client = self.client(Room::BY_CONFIGURATION, move |_, notice| {
            if notice != Notice::Started {
                let _ = tell.send(notice);
            }
        });
        client.start(Attempt(1), job);
        Once { client, told }
    }

    /// The daemon ends: what was given up has a second left.
    pub fn hurry(&self) {
        let _ = self.orders.send(Order::Hurry);
    }

    /// Answered when nothing runs any more that was given up or has a limit.
    pub fn settled(&self) -> oneshot::Receiver<()> {
        let (answer, answered) = oneshot::channel();
        let _ = self.orders.send(Order::Settled(answer));
        answered
    }

    /// Answered when the thread comes round.
    pub fn ping(&self) -> oneshot::Receiver<()> {
        let (answer, answered) = oneshot::channel();
        let _ = self.orders.send(Order::Ping(answer));
        answered
    }
}

/// One run; given up when dropped.
#[derive(Debug)]
pub struct Once {
    client: Client,
    told: mpsc::UnboundedReceiver<Notice>,
}

impl Once {
    /// How it ended: [`Notice::NotRun`] or [`Notice::Exited`]. `None`: there is no thread for it any more. Cancel-safe.
    pub async fn ended(&mut self) -> Option<Notice> {
        self.told.recv().await
    }
}

impl Drop for Once {
    fn drop(&mut self) {
        self.client.abandon(Attempt(1), LAST_PATIENCE);
    }
}

impl Client {
    /// Starts a program. `attempt` must be new among this client's.
    pub fn start(&self, attempt: Attempt, job: Job) {
        let _ = self.orders.send(Order::Start { key: (self.id, attempt), job: Box::new(job), tell: self.tell.clone() });
    }

    /// Signals a run, whose end is still told; nothing if it has ended.
    pub fn kill(&self, attempt: Attempt, signal: KillSignal) {
        let _ = self.orders.send(Order::Kill((self.id, attempt), signal));
    }

    /// Gives a run up: it is not told of any more, and is ended with TERM and, `patience` later, KILL.
    pub fn abandon(&self, attempt: Attempt, patience: Duration) {
        let _ = self.orders.send(Order::Abandon((self.id, attempt), patience));
    }

    /// Gives all of this client's runs up.
    pub fn abandon_all(&self) {
        let _ = self.orders.send(Order::AbandonAll(self.id));
    }
}

/// A program that goes on while its daemon becomes another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeftBehind {
    pub pid: i32,
    /// It is to end: a check, or something that was given up.
    pub doomed: bool,
    /// TERM has been sent already.
    #[serde(default)]
    pub told: bool,
    /// Its group does not end with it.
    #[serde(default)]
    pub itself: bool,
}

/// A run that waits for its turn.
struct Waiting {
    key: Key,
    job: Box<Job>,
    tell: Tell,
    since: Instant,
}

struct Running {
    pid: i32,
    /// `None`: it could not be watched, and its end is seen when the kernel says that a child has ended.
    ended: Option<Arc<AsyncFd<OwnedFd>>>,
    /// `None`: adopted.
    client: Option<u32>,
    attempt: Attempt,
    /// `None` when it was given up or adopted: nobody wants to know.
    tell: Option<Tell>,
    /// The next signal, and when.
    next: Option<(Instant, KillSignal)>,
    /// From TERM to KILL.
    patience: Duration,
    whom: Whom,
    outlives: bool,
    limited: bool,
    /// A signal has been sent: when the leader has ended, the rest of the group is to go too.
    signalled: bool,
    /// Why it could not be executed.
    error: Option<i32>,
}

impl Running {
    fn given_up(&self) -> bool {
        self.tell.is_none() && !self.outlives
    }
}

/// What the watcher of a run has seen.
#[derive(Debug)]
enum Seen {
    /// The program is executed, or could not be and why.
    Executed(io::Result<()>),
    Ended,
}

/// All programs of the process.
pub struct Programs {
    outfit: Outfit,
    next: u64,
    running: HashMap<RunId, Running>,
    by_key: HashMap<Key, RunId>,
    by_pid: HashMap<i32, RunId>,
    alarms: BTreeSet<(Instant, RunId)>,
    rooms: HashMap<u32, Room>,
    /// How many of a client's run.
    at_once: HashMap<u32, usize>,
    waiting: VecDeque<Waiting>,
    /// After a shortage nothing is started before this.
    not_before: Option<Instant>,
    settled: Vec<oneshot::Sender<()>>,
    /// Children that are nobody's run are reaped as well.
    all: bool,
    handle: Handle,
    orders: mpsc::UnboundedReceiver<Order>,
    seen: mpsc::UnboundedReceiver<(RunId, Seen)>,
    see: mpsc::UnboundedSender<(RunId, Seen)>,
    children: Signal,
}

impl Programs {
    /// Must be called inside a tokio runtime with I/O, time and signals, on the thread that will attend.
    ///
    /// # Errors
    /// No handler for SIGCHLD.
    pub fn new() -> io::Result<Programs> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let (see, seen) = mpsc::unbounded_channel();
        Ok(Programs {
            outfit: Outfit::default(),
            next: 0,
            running: HashMap::new(),
            by_key: HashMap::new(),
            by_pid: HashMap::new(),
            alarms: BTreeSet::new(),
            rooms: HashMap::new(),
            at_once: HashMap::new(),
            waiting: VecDeque::new(),
            not_before: None,
            settled: Vec::new(),
            all: false,
            handle: Handle { orders, clients: Arc::default() },
            orders: inbox,
            seen,
            see,
            children: signal(SignalKind::child())?,
        })
    }

    /// From here on every child of the process is reaped: for a process that has no others, and inherits them as process 1.
    pub fn reap_all(&mut self) {
        self.all = true;
    }

    /// To make clients with.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// How many run.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// What runs at this moment, for the program that this process becomes.
    pub fn left_behind(&self) -> Vec<LeftBehind> {
        let left = |run: &Running| LeftBehind {
            pid: run.pid,
            doomed: !run.outlives || run.signalled,
            told: run.signalled,
            itself: run.whom == Whom::Itself,
        };
        self.running.values().map(left).collect()
    }

    /// Takes on what a former program of this process left running: it is reaped when it ends, and whatever was to end
    /// anyway is helped along.
    pub fn adopt(&mut self, left: &[LeftBehind]) {
        for LeftBehind { pid, doomed, told, itself } in left {
            let Some(ended) = process::adopt(*pid) else { continue };
            let run = Running {
                pid: *pid,
                ended: None,
                client: None,
                attempt: Attempt::default(),
                tell: None,
                next: None,
                patience: PATIENCE,
                whom: if *itself { Whom::Itself } else { Whom::Group },
                outlives: !doomed,
                limited: false,
                signalled: *told,
                error: None,
            };
            let id = self.enter(run, ended, None);
            if *doomed {
                let first = if *told { KillSignal::Kill } else { KillSignal::Term };
                let at = Instant::now() + if *told { PATIENCE } else { Duration::ZERO };
                self.set_alarm(id, Some((at, first)));
            }
        }
        // Who ended while nobody was there to see it.
        self.reap_others();
    }

    /// Deals with one thing that happens to the programs. Cancel-safe.
    pub async fn attend(&mut self) {
        let alarm = self.alarms.first().map(|(at, _)| *at);
        let again = self.not_before.filter(|_| !self.waiting.is_empty());
        let next = [alarm, again].into_iter().flatten().min();
        let alarm = async {
            match next {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(order) = self.orders.recv() => self.order(order),
            Some((id, seen)) = self.seen.recv() => self.see(id, seen),
            Some(()) = self.children.recv() => self.reap_others(),
            () = alarm => self.ring(),
        }
        let left = || {
            self.running.values().any(|run| run.limited || run.given_up())
                || self.waiting.iter().any(|waiting| waiting.job.limit.is_some())
        };
        if !self.settled.is_empty() && !left() {
            for asker in self.settled.drain(..) {
                let _ = asker.send(());
            }
        }
    }

    fn order(&mut self, order: Order) {
        match order {
            Order::Client(id, room) => {
                self.rooms.insert(id, room);
            }
            Order::Start { key, job, tell } => self.ask(Waiting { key, job, tell, since: Instant::now() }),
            Order::Kill(key, signal) => match self.by_key.get(&key) {
                Some(id) => self.signal(*id, signal),
                None => self.forget_waiting(key, Some(signal)),
            },
            Order::Abandon(key, patience) => match self.by_key.get(&key) {
                Some(id) => self.abandon(*id, patience),
                None => self.forget_waiting(key, None),
            },
            Order::AbandonAll(client) => {
                self.waiting.retain(|waiting| waiting.key.0 != client);
                let of_client = |(id, run): (&RunId, &Running)| (run.client == Some(client)).then_some(*id);
                let all: Vec<RunId> = self.running.iter().filter_map(of_client).collect();
                for id in all {
                    self.abandon(id, PATIENCE);
                }
            }
            Order::Hurry => self.hurry(),
            Order::Settled(asker) => self.settled.push(asker),
            Order::Ping(asker) => {
                let _ = asker.send(());
            }
        }
    }

    /// A program that still waits for its turn is signalled: it ends as if it had been there.
    fn forget_waiting(&mut self, key: Key, signal: Option<KillSignal>) {
        let Some(at) = self.waiting.iter().position(|waiting| waiting.key == key) else { return };
        if let Some((waiting, signal)) = self.waiting.remove(at).zip(signal) {
            (waiting.tell)(key.1, Notice::Exited(Exit::Signal(number(signal))));
        }
    }

    /// Starts what was asked for, or lets it wait.
    fn ask(&mut self, asked: Waiting) {
        let client = asked.key.0;
        let room = self.rooms.get(&client).copied().unwrap_or(Room::BY_CONFIGURATION);
        let full = self.at_once.get(&client).copied().unwrap_or(0) >= room.running;
        if !full && self.not_before.is_none() {
            self.start(asked);
            return;
        }
        let mut waits = self.waiting.iter().filter(|waiting| waiting.key.0 == client).count();
        self.waiting.push_back(asked);
        while waits >= room.waiting {
            let Some(oldest) = self.waiting.iter().position(|waiting| waiting.key.0 == client) else { return };
            if let Some(dropped) = self.waiting.remove(oldest) {
                (dropped.tell)(dropped.key.1, Notice::NotRun(libc::EAGAIN));
            }
            waits -= 1;
        }
    }

    /// Gives those that wait their turn.
    fn start_waiting(&mut self) {
        let mut at = 0;
        while let Some(waiting) = self.waiting.get(at).filter(|_| self.not_before.is_none()) {
            let client = waiting.key.0;
            let room = self.rooms.get(&client).map_or(usize::MAX, |room| room.running);
            if self.at_once.get(&client).copied().unwrap_or(0) >= room {
                at += 1;
            } else if let Some(waiting) = self.waiting.remove(at) {
                self.start(waiting);
            }
        }
    }

    fn start(&mut self, asked: Waiting) {
        let Waiting { key, mut job, tell, since } = asked;
        let stderr = job.stderr.as_ref().map(AsFd::as_fd);
        match process::start(&mut self.outfit, &job.run, &job.extra, stderr) {
            Ok(Child { pid, ended, executed }) => {
                // The reader of what it says sees its end.
                job.stderr = None;
                let run = Running {
                    pid,
                    ended: None,
                    client: Some(key.0),
                    attempt: key.1,
                    tell: Some(tell),
                    next: None,
                    patience: job.limit.map_or(PATIENCE, |limit| limit.then),
                    whom: job.whom,
                    outlives: job.outlives,
                    limited: job.limit.is_some(),
                    signalled: false,
                    error: None,
                };
                let id = self.enter(run, ended, Some(executed));
                self.by_key.insert(key, id);
                *self.at_once.entry(key.0).or_default() += 1;
                self.set_alarm(id, job.limit.map(|limit| (since + limit.after, KillSignal::Term)));
            }
            Err(error)
                if process::is_shortage(&error)
                    && job.limit.is_none_or(|l| Instant::now() <= since + l.after + l.then) =>
            {
                // It says nothing about the program. A client that cannot wait gives it up.
                self.waiting.push_front(Waiting { key, job, tell, since });
                self.not_before = Some(Instant::now() + SHORTAGE);
            }
            Err(error) => tell(key.1, Notice::NotRun(error.raw_os_error().unwrap_or(libc::EINVAL))),
        }
    }

    /// Takes a run into the books and has it watched.
    fn enter(&mut self, mut run: Running, ended: OwnedFd, executed: Option<OwnedFd>) -> RunId {
        self.next += 1;
        let id = RunId(self.next);
        if let (Ok(ended), Ok(executed)) = (readable(ended), executed.map(readable).transpose()) {
            let ended = Arc::new(ended);
            run.ended = Some(ended.clone());
            tokio::spawn(watch(id, executed, ended, self.see.clone()));
        }
        self.by_pid.insert(run.pid, id);
        self.running.insert(id, run);
        id
    }

    fn see(&mut self, id: RunId, seen: Seen) {
        match seen {
            Seen::Executed(Err(error)) => {
                if let Some(run) = self.running.get_mut(&id) {
                    run.error = Some(error.raw_os_error().unwrap_or(libc::EIO));
                }
            }
            Seen::Executed(Ok(())) => {
                if let Some(run) = self.running.get(&id)
                    && let Some(tell) = &run.tell
                {
                    tell(run.attempt, Notice::Started);
                }
            }
            Seen::Ended => {
                self.finish(id);
                self.reap_others();
            }
        }
    }

    /// The leader has ended and is not reaped yet.
    fn finish(&mut self, id: RunId) {
        let Some(run) = self.running.remove(&id) else { return };
        if let Some((at, _)) = run.next {
            self.alarms.remove(&(at, id));
        }
        if run.signalled && run.whom == Whom::Group {
            // SAFETY: takes numbers only; the zombie keeps its group's number.
            unsafe { libc::killpg(run.pid, libc::SIGKILL) };
        }
        let exit = process::reap(run.pid).unwrap_or(Exit::NotRun);
        self.by_pid.remove(&run.pid);
        if let Some(client) = run.client {
            self.by_key.remove(&(client, run.attempt));
            if let Some(count) = self.at_once.get_mut(&client) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.at_once.remove(&client);
                }
            }
        }
        if let Some(tell) = run.tell {
            tell(run.attempt, run.error.map_or(Notice::Exited(exit), Notice::NotRun));
        }
        self.start_waiting();
    }

    /// Children that are nobody's run: left behind by programs, and made ours as process 1.
    fn reap_others(&mut self) {
        while let Some(pid) = self.all.then(process::any_ended).flatten() {
            match self.by_pid.get(&pid) {
                // Its watcher tells.
                Some(id) if self.running.get(id).is_some_and(|run| run.ended.is_some()) => return,
                Some(id) => self.finish(*id),
                None => {
                    if process::reap(pid).is_none() {
                        return;
                    }
                }
            }
        }
    }

    fn set_alarm(&mut self, id: RunId, next: Option<(Instant, KillSignal)>) {
        let Some(run) = self.running.get_mut(&id) else { return };
        if let Some((at, _)) = std::mem::replace(&mut run.next, next) {
            self.alarms.remove(&(at, id));
        }
        if let Some((at, _)) = next {
            self.alarms.insert((at, id));
        }
    }

    /// What is due of signals, and of those that wait.
    fn ring(&mut self) {
        let now = Instant::now();
        if self.not_before.is_some_and(|at| at <= now) {
            self.not_before = None;
            self.start_waiting();
        }
        while let Some((_, id)) = self.alarms.first().copied().filter(|(at, _)| *at <= now) {
            let Some((signal, patience)) = self.running.get(&id).and_then(|run| Some((run.next?.1, run.patience)))
            else {
                self.alarms.pop_first();
                continue;
            };
            self.signal(id, signal);
            let wait = if signal == KillSignal::Term { patience } else { KILL_AGAIN };
            self.set_alarm(id, Some((now + wait, KillSignal::Kill)));
        }
    }

    fn signal(&mut self, id: RunId, signal: KillSignal) {
        let Some(run) = self.running.get_mut(&id) else { return };
        run.signalled = true;
        let whom = match (signal, &run.ended) {
            (KillSignal::Term, Some(_)) => run.whom,
            _ => Whom::Group,
        };
        match &run.ended {
            Some(ended) => process::signal(run.pid, ended.get_ref(), whom, number(signal)),
            // SAFETY: takes numbers only; it is not reaped yet, so its group is its own.
            None => drop(unsafe { libc::killpg(run.pid, number(signal)) }),
        }
    }

    fn abandon(&mut self, id: RunId, patience: Duration) {
        let Some(run) = self.running.get_mut(&id) else { return };
        run.tell = None;
        run.outlives = false;
        run.patience = patience;
        let key = run.client.map(|client| (client, run.attempt));
        let killed = matches!(run.next, Some((_, KillSignal::Kill)));
        if let Some(key) = key {
            self.by_key.remove(&key);
        }
        if !killed {
            self.signal(id, KillSignal::Term);
            self.set_alarm(id, Some((Instant::now() + patience, KillSignal::Kill)));
        }
    }

    fn hurry(&mut self) {
        let soon = Instant::now() + LAST_PATIENCE;
        let late =
            |run: &Running| run.given_up() && run.whom == Whom::Group && run.next.is_none_or(|(at, _)| at > soon);
        let hurried: Vec<RunId> = self.running.iter().filter(|(_, run)| late(run)).map(|(id, _)| *id).collect();
        for id in hurried {
            self.set_alarm(id, Some((soon, KillSignal::Kill)));
        }
    }
}

fn number(signal: KillSignal) -> i32 {
    match signal {
        KillSignal::Term => libc::SIGTERM,
        KillSignal::Kill => libc::SIGKILL,
    }
}

/// Tells what becomes of one process. Its exec comes first, also when it ends without one: the pipe ends with it.
async fn watch(
    id: RunId,
    executed: Option<AsyncFd<OwnedFd>>,
    ended: Arc<AsyncFd<OwnedFd>>,
    tell: mpsc::UnboundedSender<(RunId, Seen)>,
) {
    if let Some(executed) = executed {
        let outcome = loop {
            let Ok(mut guard) = executed.readable().await else { break Ok(()) };
            match process::execution(executed.get_ref()) {
                Some(outcome) => break outcome,
                None => guard.clear_ready(),
            }
        };
        let _ = tell.send((id, Seen::Executed(outcome)));
    }
    let _ = ended.readable().await;
    let _ = tell.send((id, Seen::Ended));
}
