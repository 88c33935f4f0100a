//! Work that may wait for a file system that does not answer: done on a thread of its own, so that only whoever wants its
//! result waits, and may stop waiting.
//!
//! A thread that waits in the kernel cannot be ended, and execve(2) waits for all threads: [`busy`] names what is under
//! way, so that nobody becomes another program meanwhile. How many pieces there may be at once is limited.

use super::threads;
use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Pieces of work at once: every one takes a thread.
const AT_ONCE: usize = 128;
/// Pieces that may wait for a [`Writer`].
const QUEUE: usize = 32;

static UNDER_WAY: Mutex<Register> = Mutex::new(Register { next: 0, works: BTreeMap::new() });

struct Register {
    next: u64,
    works: BTreeMap<u64, (String, Instant)>,
}

fn register() -> std::sync::MutexGuard<'static, Register> {
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// In the register for as long as it lives: for a thread that has a place of its own and does slow work there.
#[derive(Debug)]
pub struct Entry(u64);

impl Entry {
    /// `None` if too much is under way already.
    pub fn new(what: String) -> Option<Entry> {
        let mut register = register();
        if register.works.len() >= AT_ONCE {
            return None;
        }
        register.next += 1;
        let number = register.next;
        register.works.insert(number, (what, Instant::now()));
        Some(Entry(number))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        register().works.remove(&self.0);
    }
}

/// Does `work` on a thread of its own. `what` says what it does, for people.
///
/// # Errors
/// No thread to be had, or too much under way already.
pub fn aside(what: String, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let entry = Entry::new(what).ok_or(io::ErrorKind::ResourceBusy)?;
    let work = move || {
        let entry = entry;
        work();
        drop(entry);
    };
    threads::start("aside", work).map(drop)
}

/// As [`aside`], with the result. An error of the receiver means that there is none and will be none.
pub fn ask<T: Send + 'static>(what: String, work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    let (answer, answered) = oneshot::channel();
    let _ = aside(what, move || {
        let _ = answer.send(work());
    });
    answered
}

/// What has been under way longest, and for how long.
pub fn busy() -> Option<(String, Duration)> {
    let register = register();
    register.works.values().min_by_key(|(_, since)| *since).map(|(what, since)| (what.clone(), since.elapsed()))
}

type Work = Box<dyn FnOnce() + Send>;

/// One thread that does one piece after the other, for what must keep its order: files that are written.
#[derive(Debug, Clone)]
pub struct Writer {
    works: SyncSender<(String, Work)>,
}

impl Writer {
    /// # Errors
    /// No thread to be had.
    pub fn start() -> io::Result<Writer> {
        let (works, queue) = sync_channel(QUEUE);
        threads::start("writer", move || write_all(&queue))?;
        Ok(Writer { works })
    }

    /// Does `work` when everything before it is done.
    ///
    /// # Errors
    /// Too much waits already: what is written now does not come to an end. `what` comes back.
    pub fn put(&self, what: String, work: impl FnOnce() + Send + 'static) -> Result<(), String> {
        match self.works.try_send((what, Box::new(work))) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full((what, _)) | TrySendError::Disconnected((what, _))) => Err(what),
        }
    }

    /// Waits until everything that was put is done, `limit` at most.
    pub fn flush(&self, limit: Duration) {
        let (done, is_done) = sync_channel(1);
        let told = self.put("the last of the files".into(), move || {
            let _ = done.send(());
        });
        if told.is_ok() {
            let _ = is_done.recv_timeout(limit);
        }
    }
}

fn write_all(queue: &Receiver<(String, Work)>) {
    while let Ok((what, work)) = queue.recv() {
        let entry = Entry::new(what);
        // A defect in one file must not cost those behind it.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        drop(entry);
    }
}
