//! When a check is made, and what its findings come to: retries, pages, warm-up.
//!
//! A [`Check`] is made for all servers that have the same one ([`Seat`](super::server::Seat)s point to it). Its
//! [`Machine`] is pure: a finding goes in, a [`Verdict`] and the pause until the next attempt come out. The pause of most
//! kinds begins when an attempt ends, that of MISC_CHECK when it was due; both as with keepalived.

use super::io::{Attempt, CheckId, Finding, Probe, Verdict};
use crate::random::Random;
use crate::spec::balance::{Checker, CheckerKind, LvsSpec, Timing};
use crate::time::{Interval, Time};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Until the first check, before the random part: keepalived's second.
const FIRST: Interval = Interval::from_secs(1);

/// The most that [`slack`] may be.
const SLACK_MOST: Interval = Interval::from_millis(20);

/// How much later than it is due a check may begin: what falls due within that is begun together, so that a thousand checks a
/// second wake the process some fifty times. A fiftieth of the shortest pause of the configuration, 20 ms at most.
pub(super) fn slack(spec: &LvsSpec) -> Interval {
    let checkers = spec.services.iter().flat_map(|service| &service.servers).flat_map(|server| &server.checkers);
    let pauses = checkers.filter_map(|checker| checker.timing).map(|own| own.delay_loop.min(own.delay_before_retry));
    let least = pauses.filter(|pause| !pause.is_zero()).min();
    least.map_or(SLACK_MOST, |pause| Interval::from_micros(pause.as_micros() / 50).min(SLACK_MOST))
}

/// The next moment, of those that are `slack` apart, at which something that is due at `at` may be begun.
pub(super) fn together(at: Time, slack: Interval) -> Time {
    let step = slack.as_micros().max(1);
    Time::from_micros(at.as_micros().div_ceil(step).saturating_mul(step))
}

/// What is known of a check.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Machine {
    pub(super) up: bool,
    /// It has been made at least once, all pages of it.
    pub(super) ran: bool,
    /// Retries that have been used up.
    #[serde(default)]
    pub(super) count: u32,
    /// The page that is next.
    #[serde(default)]
    pub(super) page: usize,
    /// The page that made it bad, until it is good.
    #[serde(default)]
    pub(super) failing: Option<usize>,
    /// The exit code that the server's weight comes from: a failure that is only tried again does not take it away.
    #[serde(default)]
    pub(super) weighted: Option<u8>,
}

impl Machine {
    /// At the start one failure is enough (`spent`): nobody knows that the server was ever good.
    pub(super) fn new(checker: &Checker, spent: bool) -> Machine {
        let retry = checker.timing.map_or(0, |timing| timing.retry);
        Machine { up: !checker.alpha, count: if spent { retry } else { 0 }, ..Machine::default() }
    }

    /// Takes in whether an attempt was good. Gives what that means, and how long until the next attempt.
    pub(super) fn take(&mut self, checker: &Checker, good: bool) -> (Verdict, Interval) {
        let timing = timing(checker);
        match (&checker.kind, good) {
            (CheckerKind::Http(http), true) => self.page_good(&timing, http.pages.len(), http.fast_recovery),
            (CheckerKind::Http(_), false) => self.page_bad(&timing),
            (_, true) => (self.succeed(), timing.delay_loop),
            (_, false) => self.plain_bad(&timing),
        }
    }

    fn succeed(&mut self) -> Verdict {
        let (first, was_up) = (!self.ran, self.up);
        (self.up, self.ran, self.count) = (true, true, 0);
        if first || !was_up { Verdict::Good { first, was_up } } else { Verdict::Same }
    }

    fn fail(&mut self) -> Verdict {
        let first = !self.ran;
        (self.up, self.ran, self.count) = (false, true, 0);
        Verdict::Bad { first }
    }

    fn retry(&mut self, timing: &Timing) -> (Verdict, Interval) {
        self.count += 1;
        (Verdict::Retrying { retry: self.count, of: timing.retry }, timing.delay_before_retry)
    }

    fn plain_bad(&mut self, timing: &Timing) -> (Verdict, Interval) {
        match (self.up, self.ran) {
            (false, true) => (Verdict::Same, timing.delay_loop),
            (true, _) if self.count < timing.retry => self.retry(timing),
            _ => (self.fail(), timing.delay_loop),
        }
    }

    fn page_good(&mut self, timing: &Timing, pages: usize, fast: bool) -> (Verdict, Interval) {
        if self.failing == Some(self.page) {
            // The whole pass must be good before the server is.
            (self.failing, self.page, self.count) = (None, 0, 0);
            return (Verdict::Page, if fast { Interval::ZERO } else { timing.delay_loop });
        }
        if self.page + 1 < pages {
            self.page += 1;
            self.count = if self.ran { 0 } else { timing.retry };
            let hurry = fast && !(self.ran && self.up) && self.failing.is_none();
            return (Verdict::Page, if hurry { Interval::ZERO } else { timing.delay_loop });
        }
        self.page = 0;
        (self.succeed(), timing.delay_loop)
    }

    fn page_bad(&mut self, timing: &Timing) -> (Verdict, Interval) {
        let while_down = timing.delay_before_retry.max(timing.delay_loop);
        match (self.up, self.ran) {
            (false, true) if self.failing == Some(self.page) => (Verdict::Same, while_down),
            // Another page than the one that made it bad: tried again, with a pause even under fast_recovery.
            (false, true) => (Verdict::Same, timing.delay_before_retry),
            (true, _) if self.count < timing.retry => self.retry(timing),
            _ => {
                self.failing = Some(self.page);
                (self.fail(), while_down)
            }
        }
    }
}

fn timing(checker: &Checker) -> Timing {
    // Checks without a timing are told, and never come here.
    let none = Interval::from_secs(60);
    let standard = Timing { retry: 0, delay_before_retry: none, warmup: none, delay_loop: none };
    let own = checker.timing.unwrap_or(standard);
    // A pause of nothing would be a check without end.
    let least = |pause: Interval| pause.max(Interval::from_millis(1));
    Timing { delay_before_retry: least(own.delay_before_retry), delay_loop: least(own.delay_loop), ..own }
}

/// An attempt under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Running {
    pub(super) attempt: Attempt,
    /// When it was wished for, and when it was due.
    pub(super) began: Time,
    due: Time,
}

/// Who a check counts for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Place {
    pub(super) service: u32,
    pub(super) server: u32,
    pub(super) seat: u32,
}

/// What the last attempt found.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Found {
    pub(super) finding: Finding,
    pub(super) at: Time,
    pub(super) took: Interval,
    /// How many times in a row it was good, or was not.
    pub(super) times: u64,
}

/// How often attempts ended how, for figures alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Made {
    pub good: u64,
    pub bad: u64,
    pub not_made: u64,
}

/// One check, made for all who have it.
#[derive(Clone, Debug)]
pub(super) struct Check {
    pub(super) id: CheckId,
    pub(super) checker: Arc<Checker>,
    pub(super) machine: Machine,
    pub(super) places: Vec<Place>,
    /// When the next attempt begins; none while one is under way.
    pub(super) due: Option<Time>,
    pub(super) running: Option<Running>,
    pub(super) found: Option<Found>,
    pub(super) made: Made,
}

impl Check {
    pub(super) fn probe(&self) -> Probe {
        Probe { checker: self.checker.clone(), page: self.machine.page }
    }

    /// The attempt that is due begins.
    pub(super) fn begin(&mut self, attempt: Attempt, now: Time) {
        let due = self.due.take().unwrap_or(now);
        self.running = Some(Running { attempt, began: now, due });
    }

    /// An attempt ends. Gives its verdict, and sets when the next begins. By how much it began late, up to `slack`, is not
    /// counted: the pauses would all be longer by that.
    pub(super) fn end(&mut self, finding: &Finding, now: Time, slack: Interval) -> Verdict {
        let running = self.running.take();
        let good = match finding {
            Finding::Good | Finding::Weighted(_) => {
                self.made.good += 1;
                true
            }
            Finding::Bad(_) => {
                self.made.bad += 1;
                false
            }
            Finding::NotMade(_) => {
                self.made.not_made += 1;
                self.due = Some(now + timing(&self.checker).delay_loop);
                return Verdict::Same;
            }
        };
        let took = running.map_or(Interval::ZERO, |running| now.since(running.began));
        let before = self.found.as_ref().filter(|found| matches!(found.finding, Finding::Bad(_)) != good);
        let times = before.map_or(0, |found| found.times) + 1;
        self.found = Some(Found { finding: finding.clone(), at: now, took, times });
        let (verdict, pause) = self.machine.take(&self.checker, good);
        self.machine.weighted = match finding {
            Finding::Weighted(code) => Some(*code),
            Finding::Good => None,
            Finding::Bad(_) | Finding::NotMade(_) => self.machine.weighted.filter(|_| self.machine.up),
        };
        let from = match (&self.checker.kind, running) {
            (CheckerKind::Misc { .. }, Some(running)) => running.due,
            (_, Some(running)) => now.before(running.began.since(running.due).min(slack)),
            (_, None) => now,
        };
        self.due = Some((from + pause).max(now));
        verdict
    }

    /// Nobody wants it at present: the clock goes on, as keepalived's does.
    pub(super) fn pass_over(&mut self, now: Time) {
        let pause = timing(&self.checker).delay_loop;
        let due = self.due.map_or(now + pause, |due| due + pause);
        self.due = Some(if due > now { due } else { now + pause });
    }

    /// When the first attempt is made: after a second and a random part of the warm-up.
    pub(super) fn first(checker: &Checker, chance: u64, now: Time) -> Time {
        let warmup = checker.timing.map_or(Interval::ZERO, |timing| timing.warmup);
        now + FIRST + warmup.scaled(chance, u64::from(u32::MAX))
    }

    /// A configuration with another pace: what is due later than a whole pause from now comes earlier.
    pub(super) fn repace(&mut self, now: Time) {
        let timing = timing(&self.checker);
        let longest =
            if self.machine.ran { timing.delay_loop.max(timing.delay_before_retry) } else { FIRST + timing.warmup };
        self.due = self.due.map(|due| due.min(now + longest));
        self.machine.count = self.machine.count.min(timing.retry);
        if let CheckerKind::Http(http) = &self.checker.kind
            && self.machine.page >= http.pages.len()
        {
            (self.machine.page, self.machine.failing) = (0, None);
        }
    }
}

/// A number of 0..2³²−1 that depends on `seed` and `number` alone.
pub(super) fn chance(seed: u64, number: u64) -> u64 {
    Random::new(seed).after(number).number() >> 32
}
