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

mod client;
mod inherited;
mod ladder;
mod queue;

use super::notes::Note;
use super::perhaps::perhaps;
use super::process::{self, Child, Outfit, Whom};
use super::readiness::readable;
use crate::spec::{Attempt, Exit};
use crate::vrrp::io::KillSignal;
pub use client::{Client, Handle, Job, Limit, Notice, Once, Room};
use client::{Key, Order, Tell};
pub use inherited::LeftBehind;
pub use ladder::PATIENCE;
use ladder::{Ladder, number};
use queue::{Queue, Waiting};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

/// A run, unique for the life of the process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct RunId(u64);

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
    /// Why it could not be executed, if it could not. `None`: adopted.
    note: Option<Note>,
    /// It counts among those of its client that run.
    counted: bool,
}

/// All programs of the process.
pub struct Programs {
    outfit: Outfit,
    next: u64,
    running: HashMap<RunId, Running>,
    by_key: HashMap<Key, RunId>,
    by_pid: HashMap<i32, RunId>,
    ladder: Ladder,
    queue: Queue,
    /// When a run no longer counts among those of its client ([`Room::counts`]).
    uncounted: BTreeSet<(Instant, RunId)>,
    settled: Vec<oneshot::Sender<()>>,
    /// Children that are nobody's run are reaped as well.
    all: bool,
    handle: Handle,
    orders: mpsc::UnboundedReceiver<Order>,
    ended: mpsc::UnboundedReceiver<RunId>,
    end: mpsc::UnboundedSender<RunId>,
    /// `None` as long as every child is a run whose end is seen by itself: the signal would wake several threads for each.
    children: Option<Signal>,
}

impl Programs {
    /// Must be called inside a tokio runtime with I/O, time and signals, on the thread that will attend.
    ///
    /// # Errors
    /// None in practice; those of sigaction(2).
    pub fn new() -> io::Result<Programs> {
        process::keep_the_ended()?;
        let (orders, inbox) = mpsc::unbounded_channel();
        let (end, ended) = mpsc::unbounded_channel();
        Ok(Programs {
            outfit: Outfit::default(),
            next: 0,
            running: HashMap::new(),
            by_key: HashMap::new(),
            by_pid: HashMap::new(),
            ladder: Ladder::default(),
            queue: Queue::default(),
            uncounted: BTreeSet::new(),
            settled: Vec::new(),
            all: false,
            handle: Handle { orders, clients: Arc::default() },
            orders: inbox,
            ended,
            end,
            children: None,
        })
    }

    /// From here on every child of the process is reaped: for a process that has no others, and inherits them as process 1. To
    /// be called where [`Programs::new`] was.
    ///
    /// # Errors
    /// No handler for SIGCHLD.
    pub fn reap_all(&mut self) -> io::Result<()> {
        self.all = true;
        if process::may_have_strangers() { self.hear_of_children() } else { Ok(()) }
    }

    fn hear_of_children(&mut self) -> io::Result<()> {
        if self.children.is_none() {
            self.children = Some(signal(SignalKind::child())?);
        }
        Ok(())
    }

    /// To make clients with.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// How many run.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Deals with one thing that happens to the programs. Cancel-safe.
    pub async fn attend(&mut self) {
        let uncounted = self.uncounted.first().map(|(at, _)| *at);
        let next = [self.ladder.first(), self.queue.supply_at(), uncounted].into_iter().flatten().min();
        let child = perhaps(self.children.as_mut().map(Signal::recv));
        // Ends before beginnings: where more is asked for than the machine can do, what has ended is told in time, and what is
        // to begin waits.
        tokio::select! {
            biased;
            () = perhaps(next.map(sleep_until)) => self.ring(),
            Some(id) = self.ended.recv() => {
                self.finish(id);
                self.reap_others();
            }
            Some(()) = child => self.reap_others(),
            Some(order) = self.orders.recv() => self.order(order),
        }
        let left = || self.queue.has_limited() || self.running.values().any(|run| run.limited || run.given_up());
        if !self.settled.is_empty() && !left() {
            for asker in self.settled.drain(..) {
                let _ = asker.send(());
            }
        }
    }

    fn order(&mut self, order: Order) {
        match order {
            Order::Client(id, room) => self.queue.set_room(id, room),
            Order::Start { key, job, tell } => {
                if let Some(asked) = self.queue.ask(Waiting { key, job, tell, since: Instant::now() }) {
                    self.start(asked);
                }
            }
            Order::Kill(key, signal) => match self.by_key.get(&key).and_then(|id| self.running.get_mut(id)) {
                Some(run) => run.signal(signal),
                // One that still waits for its turn ends as if it had been there.
                None => {
                    if let Some(waiting) = self.queue.remove(key) {
                        (waiting.tell)(key.1, Notice::Exited(Exit::Signal(number(signal))));
                    }
                }
            },
            Order::TakeOver { key, pid, tell } => self.take_over(key, pid, tell),
            Order::Abandon(key, patience) => match self.by_key.get(&key) {
                Some(id) => self.abandon(*id, patience),
                None => drop(self.queue.remove(key)),
            },
            Order::AbandonAll(client) => {
                self.queue.remove_all(client);
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

    /// Starts those whose turn has come.
    fn start_waiting(&mut self) {
        while let Some(asked) = self.queue.next() {
            self.start(asked);
        }
    }

    fn start(&mut self, asked: Waiting) {
        let Waiting { key, mut job, tell, since } = asked;
        let stderr = job.stderr.as_ref().map(AsFd::as_fd);
        match process::start(&mut self.outfit, &job.run, &job.extra, stderr, job.in_turn) {
            Ok(Child { pid, ended, note }) => {
                tell(key.1, Notice::Started(pid));
                // The reader of what it says sees its end.
                job.stderr = None;
                // From the process on, as keepalived counts: what waited for its turn has run for no longer than others.
                let limit = job.limit.map(|limit| (Instant::now() + limit.after, KillSignal::Term));
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
                    note: Some(note),
                    counted: true,
                };
                let id = self.enter(run, ended);
                self.by_key.insert(key, id);
                self.queue.began(key.0);
                self.uncounted.extend(self.queue.counts(key.0).map(|counts| (Instant::now() + counts, id)));
                if let Some(run) = self.running.get_mut(&id) {
                    self.ladder.set(id, run, limit);
                    if run.ended.is_none() {
                        // It may have ended before anybody listened for that.
                        self.reap_others();
                    }
                }
            }
            Err(error)
                if process::is_shortage(&error)
                    && job.limit.is_none_or(|l| Instant::now() <= since + l.after + l.then) =>
            {
                // It says nothing about the program. A client that cannot wait gives it up.
                self.queue.wait_for_supply(Waiting { key, job, tell, since });
            }
            Err(error) => tell(key.1, Notice::NotRun(error.raw_os_error().unwrap_or(libc::EINVAL))),
        }
    }

    /// What is due: signals, and the next attempt after a shortage.
    fn ring(&mut self) {
        let now = Instant::now();
        if self.queue.is_supplied(now) {
            self.start_waiting();
        }
        while let Some((_, id)) = self.uncounted.first().copied().filter(|(at, _)| *at <= now) {
            self.uncounted.pop_first();
            let client =
                self.running.get_mut(&id).and_then(|run| run.client.filter(|_| std::mem::take(&mut run.counted)));
            if let Some(client) = client {
                self.queue.ended(client);
                self.start_waiting();
            }
        }
        self.climb(now);
    }

    /// Takes a run into the books and has it watched.
    fn enter(&mut self, mut run: Running, ended: Option<OwnedFd>) -> RunId {
        self.next += 1;
        let id = RunId(self.next);
        let pid = run.pid;
        match ended.map(readable) {
            Some(Ok(ended)) => {
                let ended = Arc::new(ended);
                run.ended = Some(ended.clone());
                tokio::spawn(watch(id, ended, self.end.clone()));
            }
            Some(Err(_)) | None => {
                if let Err(error) = self.hear_of_children() {
                    tracing::error!(target: "parent", "The end of process {pid} will not be seen: {error}");
                }
            }
        }
        self.by_pid.insert(pid, id);
        self.running.insert(id, run);
        id
    }

    /// The leader has ended and is not reaped yet.
    fn finish(&mut self, id: RunId) {
        let Some(mut run) = self.running.remove(&id) else { return };
        self.ladder.set(id, &mut run, None);
        if run.signalled && run.whom == Whom::Group {
            // SAFETY: takes numbers only; the zombie keeps its group's number.
            unsafe { libc::killpg(run.pid, libc::SIGKILL) };
        }
        let exit = process::reap(run.pid).unwrap_or(Exit::NotRun);
        self.by_pid.remove(&run.pid);
        if let Some(client) = run.client {
            self.by_key.remove(&(client, run.attempt));
            if run.counted {
                self.queue.ended(client);
            }
        }
        let error = run.note.and_then(|note| self.outfit.read(note));
        if let Some(tell) = run.tell {
            tell(run.attempt, error.map_or(Notice::Exited(exit), Notice::NotRun));
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
}

/// Tells the end of one process.
async fn watch(id: RunId, ended: Arc<AsyncFd<OwnedFd>>, tell: mpsc::UnboundedSender<RunId>) {
    let _ = ended.readable().await;
    let _ = tell.send(id);
}
