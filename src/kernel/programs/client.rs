//! What the rest of the house sees of the programs: a [`Job`], a [`Client`] that asks for it, [`Notice`]s that come back.

use super::ladder::LAST_PATIENCE;
use crate::kernel::process::Whom;
use crate::spec::{Attempt, Exit, Run};
use crate::vrrp::io::KillSignal;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

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
    /// It executes its program after the one that was started before it in its turn.
    pub in_turn: bool,
}

impl Job {
    /// Without limit, for its group, and ended with the daemon.
    pub fn new(run: Run) -> Job {
        Job { run, extra: Vec::new(), limit: None, stderr: None, whom: Whom::Group, outlives: false, in_turn: false }
    }
}

/// TERM `after` there is a process for it, and KILL `then` later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    pub after: Duration,
    pub then: Duration,
}

/// What becomes of a run. The last one is [`Notice::NotRun`] or [`Notice::Exited`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice {
    /// There is a process for it, with this number. It may hang yet in the exec of the program, or fail there, which is told.
    Started(i32),
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
    /// A run that takes longer goes on, and no longer counts among those that run. `None`: each counts until it ends.
    pub counts: Option<Duration>,
}

impl Room {
    /// For a client that has one run a check, and no more checks than its configuration.
    pub const BY_CONFIGURATION: Room = Room { running: usize::MAX, waiting: usize::MAX, counts: None };
}

pub(super) type Tell = Arc<dyn Fn(Attempt, Notice) + Send + Sync>;

/// What is asked of the thread.
pub(super) enum Order {
    Client(u32, Room),
    Start { key: Key, job: Box<Job>, tell: Tell },
    Kill(Key, KillSignal),
    TakeOver { key: Key, pid: i32, tell: Tell },
    Abandon(Key, Duration),
    AbandonAll(u32),
    Hurry,
    Settled(oneshot::Sender<()>),
    Ping(oneshot::Sender<()>),
}

/// A run as its client knows it.
pub(super) type Key = (u32, Attempt);

/// Makes clients.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) orders: mpsc::UnboundedSender<Order>,
    pub(super) clients: Arc<AtomicU32>,
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
            if !matches!(notice, Notice::Started(_)) {
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

    /// A program that the program before this one started, and left running, is a run of this client's: its end is told.
    /// One that has ended meanwhile is told of as [`Exit::NotRun`].
    pub fn take_over(&self, attempt: Attempt, pid: i32) {
        let _ = self.orders.send(Order::TakeOver { key: (self.id, attempt), pid, tell: self.tell.clone() });
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
