//! What is counted outside of the engines: changes of state by the state entered, reloads, and how scripts, notify programs
//! and mail fared; and what is under way of notify programs and FIFOs. For metrics and the status alone; nobody decides by it.
//!
//! [`Tally`] is an observer and the handle by which others count: clones share it. It begins with the program, as counters
//! do for Prometheus, and keeps nothing of instances and scripts that are no longer configured.

use super::Context;
use super::Observer;
use super::Wishes;
use crate::spec::Attempt;
use crate::time::{Interval, Time};
use crate::vrrp::io::Event;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A notify program that runs for so long is told of: by the log, and by whoever asks.
pub const LONG: Duration = Duration::from_secs(60);

/// A notify program that runs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Underway {
    /// The instance, group or server that it is about.
    pub of: String,
    /// What happened to that, in a word: `MASTER`, `UP`.
    pub event: String,
    /// Its file, without arguments.
    pub program: String,
    pub pid: i32,
    pub since: Time,
}

/// The counts at one moment.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// By instance: how often each state was entered, by the number of the state.
    pub entered: BTreeMap<Box<str>, [u64; 4]>,
    /// By track script.
    pub scripts: BTreeMap<Box<str>, Runs>,
    pub reloads: u64,
    pub reloads_refused: u64,
    pub last_reload_refused: bool,
    /// When the configuration in force came into force, microseconds since 1970; 0 before the first.
    pub in_force_unix_micros: u64,
    pub notifies: u64,
    pub notifies_failed: u64,
    /// Notify programs that run, the one that began first at the front.
    pub underway: BTreeMap<Attempt, Underway>,
    /// Notify programs that wait for their turn.
    pub waiting: usize,
    /// FIFOs that are full, each with the lines that found no room since it was last written to.
    pub full_fifos: BTreeMap<Box<str>, u64>,
    /// Lines that found no room in a FIFO.
    pub fifo_lines_lost: u64,
    pub mails: u64,
    pub mails_failed: u64,
}

/// How long runs of a script took.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Runs {
    pub count: u64,
    pub sum_us: u64,
    pub last_us: u64,
}

/// Counts for metrics; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Mutex<Counts>>);

impl Tally {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counts so far.
    pub fn read(&self) -> Counts {
        self.counts().clone()
    }

    /// A configuration came into force, by a reload or as the first.
    pub fn in_force(&self, unix_micros: u64, reload: bool) {
        let mut counts = self.counts();
        counts.in_force_unix_micros = unix_micros;
        counts.last_reload_refused = false;
        counts.reloads += u64::from(reload);
    }

    /// A reload was refused.
    pub fn reload_refused(&self) {
        let mut counts = self.counts();
        counts.last_reload_refused = true;
        counts.reloads_refused += 1;
    }

    /// A track script has ended.
    pub fn script(&self, name: &str, took: Interval) {
        let took = took.as_micros();
        let mut counts = self.counts();
        let runs = counts.scripts.entry(name.into()).or_default();
        runs.count += 1;
        runs.sum_us = runs.sum_us.saturating_add(took);
        runs.last_us = took;
    }

    /// A notify program has ended, or could not be started.
    pub fn notified(&self, well: bool) {
        let mut counts = self.counts();
        *if well { &mut counts.notifies } else { &mut counts.notifies_failed } += 1;
    }

    /// A notify program waits for its turn.
    pub fn notify_waits(&self) {
        self.counts().waiting += 1;
    }

    /// One that waited runs, or was given up without having begun (`None`).
    pub fn notify_began(&self, attempt: Attempt, underway: Option<Underway>) {
        let mut counts = self.counts();
        counts.waiting = counts.waiting.saturating_sub(1);
        counts.underway.extend(underway.map(|underway| (attempt, underway)));
    }

    /// The program before this one of the process had it running.
    pub fn notify_goes_on(&self, attempt: Attempt, underway: Underway) {
        self.counts().underway.insert(attempt, underway);
    }

    /// It runs no more; what it was.
    pub fn notify_ended(&self, attempt: Attempt) -> Option<Underway> {
        self.counts().underway.remove(&attempt)
    }

    /// What is still running, for the program that this process becomes.
    pub fn underway(&self) -> Vec<Underway> {
        self.counts().underway.values().cloned().collect()
    }

    /// A line found no room in a FIFO, or it was written and `lost` is 0: how many were lost of this FIFO before it.
    pub fn fifo_line(&self, path: &str, lost: u64) -> u64 {
        let mut counts = self.counts();
        counts.fifo_lines_lost += lost;
        if lost == 0 {
            return counts.full_fifos.remove(path).unwrap_or(0);
        }
        let before = counts.full_fifos.entry(path.into()).or_default();
        *before += lost;
        *before - lost
    }

    /// A mail was sent, or given up.
    pub fn mailed(&self, well: bool) {
        let mut counts = self.counts();
        *if well { &mut counts.mails } else { &mut counts.mails_failed } += 1;
    }
}

impl Observer for Tally {
    fn event(&mut self, event: &Event, cx: &Context<'_>, _: &mut Wishes) {
        let Event::Became { instance, to, .. } = event else { return };
        let Some(instance) = cx.instance(*instance) else { return };
        let mut counts = self.counts();
        if let Some(count) = counts.entered.entry(instance.name.clone()).or_default().get_mut(*to as usize) {
            *count += 1;
        }
    }

    fn reconfigured(&mut self, cx: &Context<'_>) {
        let instances: BTreeSet<&str> = cx.spec.instances.iter().map(|instance| &*instance.name).collect();
        let scripts: BTreeSet<&str> = cx.spec.scripts.iter().map(|script| &*script.name).collect();
        let mut counts = self.counts();
        counts.entered.retain(|name, _| instances.contains(&**name));
        counts.scripts.retain(|name, _| scripts.contains(&**name));
    }
}
