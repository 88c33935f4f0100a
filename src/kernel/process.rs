//! Scripts and other programs: started as another user in a process group of their own, reaped, signalled.
//!
//! Lives on the services thread, which must live as long as the daemon: the kernel sends the parent-death signal when
//! the *thread* that forked ends. Knows nothing of why a program runs.

use crate::engine::io::{Exit, KillSignal};
use crate::engine::spec::Run;

/// A run of a program, unique for the life of the process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RunId(pub u64);

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    pub id: RunId,
    pub exit: Exit,
    /// Why it could not be started, for [`Exit::NotRun`].
    pub error: Option<Box<str>>,
}

/// All programs that run.
#[derive(Debug, Default)]
pub struct Processes {
    next: u64,
}

impl Processes {
    pub fn new() -> Processes {
        Processes::default()
    }

    /// Starts `run` with `extra` arguments appended. Never fails: what could not be started comes out of
    /// [`Processes::ended`] as [`Exit::NotRun`]. Must be called inside a tokio runtime.
    pub fn spawn(&mut self, run: &Run, extra: &[&str]) -> RunId {
        let _ = (run, extra);
        self.next += 1;
        RunId(self.next)
    }

    /// Signals the whole process group of a run; nothing if it has ended and its group is empty.
    pub fn kill(&mut self, id: RunId, signal: KillSignal) {
        let _ = (id, signal);
    }

    /// How many run.
    pub fn running(&self) -> usize {
        0
    }

    /// The next run that ends. Cancel-safe. Waits for ever when nothing runs.
    pub async fn ended(&mut self) -> Ended {
        std::future::pending().await
    }
}
