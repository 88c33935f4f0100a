//! Announcements: who tells the LAN, when, and how often.
//!
//! A [`Plan`] belongs to one master: a first block of rounds as soon as addresses are there, a second block after a
//! delay, a refresh, and a block when a lower router was heard. [`Lanes`] space single announcements on interfaces with
//! `garp_interval` or `gna_interval`. Neither ever announces what has not been told to be on an interface.

use super::io::{Action, Announce};
use crate::spec::{Garp, InstanceId};
use crate::time::{Interval, Time};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

/// Positions in a claim's list of addresses, as few ranges as possible.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ranges(Vec<Range<u32>>);

impl Ranges {
    pub(super) fn iter(&self) -> impl Iterator<Item = Range<u32>> + '_ {
        self.0.iter().cloned()
    }
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|r| u64::from(r.end - r.start)).sum()
    }
    pub(crate) fn contains(&self, position: u32) -> bool {
        self.0.iter().any(|r| r.contains(&position))
    }
    /// Adds `range`; answers with what of it was not there before.
    pub(super) fn add(&mut self, range: Range<u32>) -> Ranges {
        let mut fresh = Ranges::default();
        let mut at = range.start;
        for present in &self.0 {
            if present.start >= range.end {
                break;
            }
            if present.start > at {
                fresh.0.push(at..present.start);
            }
            at = at.max(present.end);
        }
        if at < range.end {
            fresh.0.push(at..range.end);
        }
        if !fresh.is_empty() {
            self.0.extend(fresh.0.iter().cloned());
            self.0.sort_unstable_by_key(|r| r.start);
            let mut joined: Vec<Range<u32>> = Vec::with_capacity(self.0.len());
            for range in self.0.drain(..) {
                match joined.last_mut() {
                    Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
                    _ => joined.push(range),
                }
            }
            self.0 = joined;
        }
        fresh
    }
}

/// What a master still has to announce.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Plan {
    /// Addresses that are on their interfaces and usable.
    pub(super) ready: Ranges,
    /// The first block is not complete: further rounds follow when all addresses are there.
    opening: bool,
    second_at: Option<Time>,
    refresh_at: Option<Time>,
    lower_at: Option<Time>,
    /// When the last one of them spoke.
    lower_last: Option<Time>,
    extra_at: Option<Time>,
}

/// So many rounds over these addresses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Rounds {
    pub(super) over: Ranges,
    pub(super) times: u32,
    /// One announcement a further interface instead (`vmac_garp_intvl`).
    pub(super) extra: bool,
    /// The first round of their block has been made before.
    pub(super) goes_on: bool,
}

impl Plan {
    /// Mastership began.
    pub(super) fn begin(&mut self, garp: &Garp, now: Time) {
        let positive = |interval: Interval| (!interval.is_zero()).then_some(interval);
        *self = Plan {
            ready: Ranges::default(),
            opening: true,
            second_at: positive(garp.delay).map(|delay| now + delay),
            refresh_at: positive(garp.refresh).map(|period| now + garp.delay + period),
            lower_at: None,
            extra_at: positive(garp.extra).map(|period| now + garp.delay + period),
            lower_last: None,
        };
    }

    /// Mastership ended.
    pub(super) fn end(&mut self) {
        *self = Plan::default();
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        [self.second_at, self.refresh_at, self.lower_at, self.extra_at].into_iter().flatten().min()
    }

    /// These addresses are usable. Everything is announced once the moment it is there; the rest of the opening block
    /// waits for the last address, so that a long list is not held up by repetitions.
    ///
    /// What comes later than that, by a reload or with its interface, begins a second block of its own.
    pub(super) fn arrived(&mut self, range: Range<u32>, total: u32, garp: &Garp, now: Time) -> Rounds {
        let fresh = self.ready.add(range.start.min(total)..range.end.min(total));
        if fresh.is_empty() {
            return Rounds::default();
        }
        if !self.opening && !garp.delay.is_zero() {
            self.second_at = self.second_at.or(Some(now + garp.delay));
        }
        let all_at_once = fresh == self.ready && self.ready.count() == u64::from(total);
        let times = if self.opening && !all_at_once { garp.repeat.min(1) } else { garp.repeat };
        if all_at_once {
            self.opening = false;
        }
        Rounds { over: fresh, times, ..Rounds::default() }
    }

    /// All that will come has come.
    pub(super) fn complete(&mut self, total: u32, failed: bool, garp: &Garp) -> Rounds {
        if !self.opening || (self.ready.count() < u64::from(total) && !failed) {
            return Rounds::default();
        }
        self.opening = false;
        let over = self.ready.clone();
        Rounds { over, times: garp.repeat.saturating_sub(1), goes_on: true, ..Rounds::default() }
    }

    /// A router with a lower priority spoke as master: it may have poisoned caches.
    pub(super) fn lower_heard(&mut self, garp: &Garp, now: Time) -> Rounds {
        if garp.lower_prio_repeat == 0 {
            return Rounds::default();
        }
        if !garp.lower_prio_delay.is_zero() {
            self.lower_last = Some(now);
            self.lower_at = self.lower_at.or(Some(now + garp.lower_prio_delay));
        }
        Rounds { over: self.ready.clone(), times: garp.lower_prio_repeat, ..Rounds::default() }
    }

    /// What is due, in order.
    pub(super) fn due(&mut self, garp: &Garp, now: Time) -> Vec<Rounds> {
        let mut rounds = Vec::new();
        let passed = |at: &Option<Time>| at.is_some_and(|at| at <= now);
        let mut all = |times| rounds.push(Rounds { over: self.ready.clone(), times, ..Rounds::default() });
        if passed(&self.second_at) {
            self.second_at = None;
            all(garp.repeat);
        }
        if passed(&self.lower_at) {
            // Once more for the last that spoke meanwhile, however many there were in between.
            let last = self.lower_last.map(|last| last + garp.lower_prio_delay);
            self.lower_at = last.filter(|at| *at > now);
            all(garp.lower_prio_repeat);
        }
        if passed(&self.refresh_at) {
            self.refresh_at = self.refresh_at.map(|at| following(at, garp.refresh, now));
            all(garp.refresh_repeat);
        }
        if passed(&self.extra_at) {
            self.extra_at = self.extra_at.map(|at| following(at, garp.extra, now));
            rounds.push(Rounds { over: self.ready.clone(), times: 1, extra: true, goes_on: false });
        }
        rounds
    }

    /// The configuration changed under a master: periods start over where they changed, what is still to come stays to
    /// come, and `kept` says which addresses are known to be there under their new positions.
    pub(super) fn reloaded(&mut self, before: &Garp, garp: &Garp, kept: Ranges, now: Time) {
        let period = |changed: bool, at: Option<Time>, period: Interval| match (changed, period.is_zero()) {
            (_, true) => None,
            (false, false) => at,
            (true, false) => Some(now + period),
        };
        self.refresh_at = period(before.refresh != garp.refresh, self.refresh_at, garp.refresh);
        self.extra_at = period(before.extra != garp.extra, self.extra_at, garp.extra);
        self.ready = kept;
    }
}

/// The first point after `now` of the cadence that `at` is on.
pub(super) fn following(at: Time, period: Interval, now: Time) -> Time {
    let step = period.as_micros().max(1);
    at + period.times(now.since(at).as_micros() / step + 1)
}

/// Which lane: position in `Spec::pacing`, interface, IPv6.
pub(super) type LaneKey = (usize, Option<crate::spec::IfName>, bool);

/// Whose turn it is on a line.
#[derive(Clone, Copy, Debug)]
struct Turn {
    of: (InstanceId, u32),
    /// As [`Announce::begins`].
    begins: bool,
}

/// One spaced line of announcements.
#[derive(Clone, Debug, Default)]
struct Lane {
    spacing: Interval,
    free_at: Time,
    queue: VecDeque<Turn>,
    left: BTreeMap<(InstanceId, u32), u32>,
}

/// One address that waited for its turn on a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) instance: InstanceId,
    pub(super) position: u32,
    pub(super) times: u32,
    /// As [`Announce::begins`].
    pub(super) begins: bool,
    /// When its line lets the next one go.
    free_at: Time,
}

/// All spaced lines.
#[derive(Clone, Debug, Default)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    keys: BTreeMap<LaneKey, u32>,
}

impl Lanes {
    /// The lane for `key`, made if it is not there.
    pub(super) fn lane(&mut self, key: LaneKey, spacing: Interval) -> u32 {
        let next = self.lanes.len() as u32;
        let lane = *self.keys.entry(key).or_insert(next);
        if lane == next {
            self.lanes.push(Lane::default());
        }
        if let Some(lane) = self.lanes.get_mut(lane as usize) {
            lane.spacing = spacing;
        }
        lane
    }

    /// `times` announcements of one address; no more than `times` are ever waiting.
    pub(super) fn add(&mut self, lane: u32, instance: InstanceId, position: u32, times: u32, begins: bool) {
        let Some(lane) = self.lanes.get_mut(lane as usize) else { return };
        if times == 0 {
            return;
        }
        let left = lane.left.entry((instance, position)).or_insert(0);
        if *left == 0 {
            lane.queue.push_back(Turn { of: (instance, position), begins });
        }
        *left = times.max(*left);
    }

    /// The instance has nothing to announce any more.
    pub(super) fn remove(&mut self, instance: InstanceId) {
        for lane in &mut self.lanes {
            lane.queue.retain(|turn| turn.of.0 != instance);
            lane.left.retain(|(id, _), _| *id != instance);
        }
    }

    /// Takes all lines away, as instances are about to be renumbered; answers with what was waiting, in its order.
    pub(super) fn clear(&mut self) -> Vec<Waiting> {
        self.keys.clear();
        let mut waiting = Vec::new();
        for lane in self.lanes.drain(..) {
            let (free_at, left) = (lane.free_at, lane.left);
            waiting.extend(lane.queue.into_iter().map(|Turn { of, begins }| {
                let times = left.get(&of).copied().unwrap_or(0);
                Waiting { instance: of.0, position: of.1, times, begins, free_at }
            }));
        }
        waiting
    }

    /// Lets it wait again, under the number that it has by now and not for less time than before.
    pub(super) fn wait_again(&mut self, lane: u32, instance: InstanceId, position: u32, waiting: Waiting) {
        if let Some(lane) = self.lanes.get_mut(lane as usize) {
            lane.free_at = lane.free_at.max(waiting.free_at);
        }
        self.add(lane, instance, position, waiting.times, waiting.begins);
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.lanes.iter().filter(|lane| !lane.queue.is_empty()).map(|lane| lane.free_at).min()
    }

    /// Lets go what may go at `now`; each is told to `sent`.
    pub(super) fn run(&mut self, now: Time, out: &mut VecDeque<Action>, mut sent: impl FnMut(InstanceId)) {
        for lane in &mut self.lanes {
            while lane.free_at <= now {
                let Some(Turn { of: (instance, position), begins }) = lane.queue.pop_front() else { break };
                let left = lane.left.get(&(instance, position)).copied().unwrap_or(0).saturating_sub(1);
                if left > 0 {
                    lane.left.insert((instance, position), left);
                    lane.queue.push_back(Turn { of: (instance, position), begins: false });
                } else {
                    lane.left.remove(&(instance, position));
                }
                out.push_back(Action::Announce(Announce { instance, addresses: position..position + 1, begins }));
                sent(instance);
                lane.free_at = now + lane.spacing;
            }
        }
    }
}
