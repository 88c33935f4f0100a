//! What the doors to snmpd and to the system bus have in common: a program at the other end that may hang.
//!
//! A door has a thread of its own once it is configured, and not before. What is to be told waits for it in a bounded
//! queue and is dropped beyond it; the configuration does not wait there, since the last one counts and none may be lost.
//! Nobody waits for the thread, and what it asks of the daemon has a limit.

use crate::kernel::threads;

use super::socket::{Answer, Question, Reply, Request};
use std::future::Future;
use std::io;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

/// How long connecting, one write, or an answer of the daemon's may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How long a lost peer is waited for before the next attempt: doubled each time.
pub(super) const RETRY_MIN: Duration = Duration::from_secs(1);
pub(super) const RETRY_MAX: Duration = Duration::from_secs(15);
/// What is told that may wait for the peer.
const QUEUE: usize = 1_024;
/// What is left to be said when the daemon stops may take so long.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The observer's end: `C` is what is configured, `N` what is told.
pub(super) struct Peer<C, N> {
    wanted: watch::Sender<C>,
    news: mpsc::Sender<N>,
    thread: std::thread::JoinHandle<()>,
    dropped: u64,
}

/// The thread's end.
pub(super) struct Inbox<C, N> {
    pub wanted: watch::Receiver<C>,
    /// Closed when the daemon stops.
    pub news: mpsc::Receiver<N>,
}

impl<C: Send + Sync + 'static, N: Send + 'static> Peer<C, N> {
    /// Starts the thread `name`, which is what `door` makes of its inbox. `what`: the door, for the log.
    ///
    /// # Errors
    /// No thread can be started, or no runtime on it, which is logged.
    pub fn start<D: Future<Output = ()>>(
        name: &'static str,
        what: &'static str,
        wanted: C,
        door: impl FnOnce(Inbox<C, N>) -> D + Send + 'static,
    ) -> io::Result<Peer<C, N>> {
        let (wanted, told) = watch::channel(wanted);
        let (news, waiting) = mpsc::channel(QUEUE);
        let inbox = Inbox { wanted: told, news: waiting };
        let thread =
            threads::start(name, move || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => {
                    runtime.block_on(door(inbox));
                    runtime.shutdown_background();
                }
                Err(error) => tracing::warn!(target: "vrrp", "No {what}: {error}"),
            })?;
        Ok(Peer { wanted, news, thread, dropped: 0 })
    }

    /// Another configuration.
    pub fn want(&self, wanted: C) {
        self.wanted.send_replace(wanted);
    }

    /// What is configured.
    pub fn wanted(&self) -> watch::Ref<'_, C> {
        self.wanted.borrow()
    }

    /// Has something told. `Some`: it was dropped, and so many were by now; for the log, which is told at powers of two.
    pub fn tell(&mut self, news: N) -> Option<u64> {
        self.news.try_send(news).err()?;
        self.dropped += 1;
        self.dropped.is_power_of_two().then_some(self.dropped)
    }

    /// Lets the thread say what is left, and waits for that a moment.
    pub fn last_words(self) {
        drop(self.news);
        drop(self.wanted);
        let until = Instant::now() + LAST_WORDS;
        while !self.thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl<C, N> Inbox<C, N> {
    /// While nobody could hear it: lets go what is told until another configuration comes (true) or the daemon stops
    /// (false). May be given up at any await.
    pub async fn changed(&mut self) -> bool {
        loop {
            tokio::select! {
                told = self.news.recv() => if told.is_none() { return false },
                changed = self.wanted.changed() => return changed.is_ok(),
            }
        }
    }

    /// The same for so long at most: `None` when the time is over.
    pub async fn changed_within(&mut self, by: Duration) -> Option<bool> {
        timeout(by, self.changed()).await.ok()
    }
}

/// Asks the daemon. `None`: it is stopping, or too busy to answer within [`PATIENCE`].
pub(super) async fn ask(questions: &mpsc::Sender<Question>, request: Request) -> Option<Reply> {
    timeout(PATIENCE, send(questions, request).await?).await.ok()?.ok()
}

/// Asks the daemon for what the answer is not waited for; `None` as with [`ask`].
pub(super) async fn send(questions: &mpsc::Sender<Question>, request: Request) -> Option<oneshot::Receiver<Reply>> {
    let (answer, answered) = oneshot::channel();
    let question = Question { request, answer: Answer::Once(answer) };
    timeout(PATIENCE, questions.send(question)).await.ok()?.ok()?;
    Some(answered)
}
