//! What goes on while the daemon becomes another program, and how that one takes it on.

use super::client::{Key, Tell};
use super::ladder::PATIENCE;
use super::{Notice, Programs, Running};
use crate::kernel::process::{self, Whom};
use crate::spec::{Attempt, Exit};
use crate::vrrp::io::KillSignal;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::Instant;

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

impl Programs {
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
                note: None,
                counted: false,
            };
            let id = self.enter(run, Some(ended));
            if *doomed {
                let first = if *told { KillSignal::Kill } else { KillSignal::Term };
                let at = Instant::now() + if *told { PATIENCE } else { Duration::ZERO };
                if let Some(run) = self.running.get_mut(&id) {
                    self.ladder.set(id, run, Some((at, first)));
                }
            }
        }
        // Who ended while nobody was there to see it.
        self.reap_others();
    }

    /// See [`Client::take_over`](super::Client::take_over).
    pub(super) fn take_over(&mut self, key: Key, pid: i32, tell: Tell) {
        let id = self.by_pid.get(&pid).copied();
        match id.and_then(|id| Some((id, self.running.get_mut(&id).filter(|run| run.client.is_none())?))) {
            Some((id, run)) => {
                (run.client, run.attempt, run.tell) = (Some(key.0), key.1, Some(tell));
                self.by_key.insert(key, id);
            }
            None => tell(key.1, Notice::Exited(Exit::NotRun)),
        }
    }
}
