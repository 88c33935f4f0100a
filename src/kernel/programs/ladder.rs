//! How a run is ended: TERM, then KILL, then KILL again for what does not die of it. Whom a signal is for, and when the next
//! one is due.

use super::{Programs, RunId, Running};
use crate::kernel::process::{self, Whom};
use crate::vrrp::io::KillSignal;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// From TERM to KILL for what was given up.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// The same when the daemon ends.
pub(super) const LAST_PATIENCE: Duration = Duration::from_secs(1);
/// How often KILL is sent again to what does not die of it.
const KILL_AGAIN: Duration = Duration::from_secs(10);

/// The next signal of each run, by time.
#[derive(Default)]
pub(super) struct Ladder {
    due: BTreeSet<(Instant, RunId)>,
}

impl Ladder {
    /// When the next signal is due.
    pub(super) fn first(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The run whose signal is due at `now`.
    fn due(&self, now: Instant) -> Option<RunId> {
        self.due.first().filter(|(at, _)| *at <= now).map(|(_, id)| *id)
    }

    /// What this run is sent next and when; `None`: nothing more.
    pub(super) fn set(&mut self, id: RunId, run: &mut Running, next: Option<(Instant, KillSignal)>) {
        if let Some((at, _)) = std::mem::replace(&mut run.next, next) {
            self.due.remove(&(at, id));
        }
        self.due.extend(next.map(|(at, _)| (at, id)));
    }
}

impl Running {
    /// Nobody wants to know of it any more, and it is to end.
    pub(super) fn given_up(&self) -> bool {
        self.tell.is_none() && !self.outlives
    }

    /// Sends a signal now.
    pub(super) fn signal(&mut self, signal: KillSignal) {
        self.signalled = true;
        let whom = match (signal, &self.ended) {
            (KillSignal::Term, Some(_)) => self.whom,
            _ => Whom::Group,
        };
        match &self.ended {
            Some(ended) => process::signal(self.pid, ended.get_ref(), whom, number(signal)),
            // SAFETY: takes numbers only; it is not reaped yet, so its group is its own.
            None => drop(unsafe { libc::killpg(self.pid, number(signal)) }),
        }
    }
}

impl Programs {
    /// Sends every signal that is due, and sets the next one.
    pub(super) fn climb(&mut self, now: Instant) {
        while let Some(id) = self.ladder.due(now) {
            // A run leaves the ladder when it ends.
            let Some(run) = self.running.get_mut(&id) else { return };
            let Some((_, signal)) = run.next else { return };
            run.signal(signal);
            let wait = if signal == KillSignal::Term { run.patience } else { KILL_AGAIN };
            self.ladder.set(id, run, Some((now + wait, KillSignal::Kill)));
        }
    }

    /// Gives a run up: it is told of no more, gets TERM now and KILL after `patience`.
    pub(super) fn abandon(&mut self, id: RunId, patience: Duration) {
        let Some(run) = self.running.get_mut(&id) else { return };
        run.tell = None;
        run.outlives = false;
        run.patience = patience;
        if let Some(client) = run.client {
            self.by_key.remove(&(client, run.attempt));
        }
        if !matches!(run.next, Some((_, KillSignal::Kill))) {
            run.signal(KillSignal::Term);
            self.ladder.set(id, run, Some((Instant::now() + patience, KillSignal::Kill)));
        }
    }

    /// The daemon ends: KILL comes no later than [`LAST_PATIENCE`] from now.
    pub(super) fn hurry(&mut self) {
        let soon = Instant::now() + LAST_PATIENCE;
        for (id, run) in &mut self.running {
            if run.given_up() && run.whom == Whom::Group && run.next.is_none_or(|(at, _)| at > soon) {
                self.ladder.set(*id, run, Some((soon, KillSignal::Kill)));
            }
        }
    }
}

pub(super) fn number(signal: KillSignal) -> i32 {
    match signal {
        KillSignal::Term => libc::SIGTERM,
        KillSignal::Kill => libc::SIGKILL,
    }
}
