//! Health scripts: when to run, when to give up waiting, and what rise and fall make of the results.
//!
//! The monitor only decides; running, signalling and waiting happen outside and come back as facts. Cadence is from start
//! to start and absolute, so a slow script does not shift the ones after it; only a crowd that the machine could not start at
//! once moves apart. Each run has a number: the end of a run that
//! was given up counts for nothing.

use super::handover::Health;
use super::io::{Action, Attempt, Event, Exit, KillSignal};
use crate::spec::{ScriptId, ScriptSpec};
use crate::time::{Interval, Time};
use std::collections::VecDeque;

/// How long a signalled script may take to die before the next signal.
const PATIENCE: Interval = Interval::from_secs(2);
/// The same, after two KILLs.
const RESIGNED: Interval = Interval::from_secs(10);

/// How long a run may wait to be started, beside its time-out: a machine takes seconds to start thousands of programs.
const ITS_TURN: Interval = Interval::from_secs(5);
/// A program that was started later than this after it was due came in a crowd.
const CROWDED: Interval = Interval::from_millis(10);

/// How a run that KILL was sent to is taken to have ended. It may live on, inside a system call that never returns
/// (a file system whose server is gone), but it cannot say anything any more.
const KILLED: Exit = Exit::Signal(9);

/// A run in progress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Run {
    Idle,
    Running {
        attempt: Attempt,
        /// Until it has been started this has [`ITS_TURN`] on top.
        gives_up_at: Time,
    },
    /// It took too long and was signalled so many times.
    Dying {
        attempt: Attempt,
        signals: u32,
        again_at: Time,
    },
}

/// One script's schedule and health.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Monitor {
    run: Run,
    next_start: Option<Time>,
    /// A run was due just when the one in progress had taken too long: it begins when that one has ended.
    owed: Option<Time>,
    pub(super) last_started: Option<Time>,
    pub(super) last_exit: Option<Exit>,
    /// Position in 0..rise+fall; good from `rise` up.
    pub(super) result: u32,
    /// No result yet.
    pub(super) pending: bool,
}

/// When a run that begins at `start` has taken too long.
fn gives_up_at(spec: &ScriptSpec, start: Time) -> Time {
    if spec.timeout.is_zero() { Time::NEVER } else { start + spec.timeout }
}

impl Monitor {
    /// A script that begins at `now`. At start one success is enough and the first failure acts at once; a script that a
    /// reload brought is taken for good until it reports; `init_fail` is bad until it has risen.
    pub(super) fn new(spec: &ScriptSpec, now: Time, at_reload: bool) -> Monitor {
        let (result, pending) = match (spec.init_fail, at_reload) {
            (true, _) => (0, false),
            (false, true) => (spec.rise, false),
            (false, false) => (spec.rise.saturating_sub(1), true),
        };
        let next_start = Some(now);
        Monitor { run: Run::Idle, next_start, owed: None, last_started: None, last_exit: None, result, pending }
    }

    /// What a successor has to know.
    pub(super) const fn health(&self) -> Health {
        Health { result: self.result, pending: self.pending, last_exit: self.last_exit, next_start: self.next_start }
    }

    /// Goes on in the cadence of another engine's monitor. Its run, if one was under way, has been given up.
    pub(super) fn resume(health: Health, spec: &ScriptSpec, now: Time) -> Monitor {
        let next_start = health.next_start.map(|at| at.max(now));
        let result = health.result.min((spec.rise + spec.fall).saturating_sub(1));
        let Health { pending, last_exit, .. } = health;
        Monitor { next_start, last_exit, result, pending, ..Monitor::new(spec, now, false) }
    }

    /// `None`: not known yet.
    pub(super) fn good(&self, spec: &ScriptSpec) -> Option<bool> {
        (!self.pending).then_some(self.result >= spec.rise)
    }

    pub(super) fn running(&self) -> bool {
        self.run != Run::Idle
    }

    /// The number of the run in progress.
    pub(super) fn attempt(&self) -> Option<Attempt> {
        match self.run {
            Run::Idle => None,
            Run::Running { attempt, .. } | Run::Dying { attempt, .. } => Some(attempt),
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        let ladder = match self.run {
            Run::Idle => None,
            Run::Running { gives_up_at, .. } => Some(gives_up_at),
            Run::Dying { again_at, .. } => Some(again_at),
        };
        match (ladder, self.next_start) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Something is due. True when the health that others see is different from before. `attempts`: the last number
    /// that was used for a run.
    pub(super) fn due(
        &mut self,
        id: ScriptId,
        spec: &ScriptSpec,
        now: Time,
        attempts: &mut Attempt,
        out: &mut VecDeque<Action>,
    ) -> bool {
        let mut differs = false;
        match self.run {
            Run::Running { attempt, gives_up_at } if gives_up_at <= now => {
                out.push_back(Action::Report(Event::ScriptTimedOut { script: id }));
                out.push_back(Action::KillScript(id, attempt, KillSignal::Term));
                self.run = Run::Dying { attempt, signals: 1, again_at: now + PATIENCE };
            }
            Run::Dying { attempt, signals, again_at } if again_at <= now => {
                out.push_back(Action::KillScript(id, attempt, KillSignal::Kill));
                let patience = if signals < 2 { PATIENCE } else { RESIGNED };
                self.run = Run::Dying { attempt, signals: signals.saturating_add(1), again_at: now + patience };
                // Its death is not waited for: where KILL cannot reach it, it would never be told, and each KILL that
                // had no effect stands for runs that could not be made.
                differs = self.count(id, spec, KILLED, false, out);
            }
            _ => {}
        }
        self.start_if_due(id, spec, now, attempts, out);
        differs
    }

    fn start_if_due(
        &mut self,
        id: ScriptId,
        spec: &ScriptSpec,
        now: Time,
        attempts: &mut Attempt,
        out: &mut VecDeque<Action>,
    ) {
        let Some(at) = self.next_start.filter(|at| *at <= now) else { return };
        let interval = spec.interval.max(Interval::from_millis(1));
        let mut next = at + interval;
        if next <= now {
            // Late by whole intervals: keep the cadence, drop what was missed.
            let missed = now.since(at).as_micros() / interval.as_micros();
            next = at + interval.times(missed + 1);
        }
        self.next_start = Some(next);
        self.owed = None;
        if self.run == Run::Idle {
            let attempt = attempts.advance();
            self.run = Run::Running { attempt, gives_up_at: gives_up_at(spec, now + ITS_TURN) };
            self.last_started = Some(now);
            out.push_back(Action::RunScript(id, attempt));
        } else if self.gives_up_about(now) {
            // Where the time-out is the interval, as it is unless the file says otherwise, every second run would be lost, and
            // `fall` would take twice as long.
            self.owed = Some(at);
        } else {
            out.push_back(Action::Report(Event::ScriptOverrun { script: id }));
        }
    }

    /// The run in progress has just taken too long, or will have in a moment: its time-out counts from the process, which is there
    /// a little after the run was due.
    fn gives_up_about(&self, now: Time) -> bool {
        match self.run {
            Run::Idle => false,
            Run::Running { gives_up_at, .. } => gives_up_at <= now + CROWDED,
            Run::Dying { signals, again_at, .. } => signals == 1 && again_at + CROWDED >= now + PATIENCE,
        }
    }

    /// There is a process for the run in progress. Its time-out counts from here, as keepalived's does from the fork.
    ///
    /// Where a crowd was due at once, the cadence begins again here, so that its members stay apart from now on. Answers
    /// false: nobody sees a difference in its health.
    pub(super) fn started(&mut self, spec: &ScriptSpec, now: Time) -> bool {
        if let Run::Running { attempt, .. } = self.run {
            self.run = Run::Running { attempt, gives_up_at: gives_up_at(spec, now) };
            if self.last_started.is_some_and(|due| now.since(due) > CROWDED) {
                self.last_started = Some(now);
                self.next_start = self.next_start.map(|next| next.max(now + spec.interval));
            }
        }
        false
    }

    /// The run in progress has ended. True when the health that others see is different from before.
    pub(super) fn ended(&mut self, id: ScriptId, spec: &ScriptSpec, exit: Exit, out: &mut VecDeque<Action>) -> bool {
        if let Some(owed) = self.owed.take().filter(|_| self.run != Run::Idle) {
            self.next_start = Some(owed);
        }
        match self.run {
            Run::Idle => return false,
            Run::Running { .. } => {}
            Run::Dying { attempt, signals: 1, .. } => {
                if exit == Exit::Signal(15) {
                    // TERM ended the script itself; what it left behind in its group has to go as well.
                    out.push_back(Action::KillScript(id, attempt, KillSignal::Kill));
                }
            }
            Run::Dying { .. } => {
                // It was counted when KILL was sent.
                self.run = Run::Idle;
                return false;
            }
        }
        self.run = Run::Idle;
        // One that ends with 0 after TERM is good, as with keepalived: either it says so itself, or it had ended before TERM
        // came and a busy machine told of it late.
        self.count(id, spec, exit, exit == Exit::Code(0), out)
    }

    /// What rise and fall make of one result. True when the health that others see is different from before.
    fn count(
        &mut self,
        id: ScriptId,
        spec: &ScriptSpec,
        exit: Exit,
        success: bool,
        out: &mut VecDeque<Action>,
    ) -> bool {
        let before = self.good(spec);
        let exit_before = self.last_exit.replace(exit);
        self.pending = false;
        let top = spec.rise.saturating_add(spec.fall).saturating_sub(1);
        let (rise, result) = (spec.rise, self.result);
        self.result = if success {
            if result.saturating_add(1) >= rise { top } else { result + 1 }
        } else if result > rise {
            result - 1
        } else {
            0
        };
        let after = self.good(spec);
        if before != after || exit_before != Some(exit) {
            out.push_back(Action::Report(Event::ScriptChanged { script: id, good: after == Some(true), exit }));
        }
        before != after
    }

    /// Ends the schedule; a run in progress is given up, and its result will not count.
    pub(super) fn stop(&mut self, id: ScriptId, out: &mut VecDeque<Action>) {
        (self.next_start, self.owed) = (None, None);
        if let Some(attempt) = self.attempt() {
            out.push_back(Action::AbandonScript(id, attempt));
            self.run = Run::Idle;
        }
    }

    /// The same command under other settings: health is kept, the schedule follows the new interval.
    pub(super) fn reloaded(&mut self, before: &ScriptSpec, spec: &ScriptSpec, now: Time) {
        if (before.rise, before.fall) != (spec.rise, spec.fall) {
            let top = spec.rise.saturating_add(spec.fall).saturating_sub(1);
            self.result = match (self.pending, self.result >= before.rise) {
                (true, _) => spec.rise.saturating_sub(1),
                (false, true) => top,
                (false, false) => 0,
            };
        }
        if before.interval != spec.interval {
            self.next_start = Some(self.last_started.map_or(now, |last| (last + spec.interval).max(now)));
        }
    }
}
