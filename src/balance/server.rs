//! One real server of one virtual server: its checks' states, its weight, and whether it counts.
//!
//! A server counts (`alive`) while none of its checks is bad and the kernel has refused its entry nowhere. [`Server::enter`]
//! is the one place that changes that. A weight is summed from its base each time, never added to and subtracted from.

use super::io::{CheckInfo, ServerInfo, ServiceKey, Why};
use crate::spec::balance::CheckerKind;
use crate::time::Time;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The largest weight that the kernel takes.
pub const WEIGHT_MAX: u32 = i32::MAX as u32;

/// `base` and what checks add to it or take away. May be negative.
pub fn weight(base: u32, parts: impl Iterator<Item = i64>) -> i64 {
    parts.fold(i64::from(base), i64::saturating_add)
}

/// A weight as the kernel takes it, 0..=2³¹−1, and as it counts for the quorum.
pub fn clamped(weight: i64) -> u32 {
    weight.clamp(0, i64::from(WEIGHT_MAX)) as u32
}

/// What exit code `code` of a dynamic MISC_CHECK adds to `base`: 2..=255 stand for the weights 0..=253.
pub fn misc_part(code: u8, base: u32) -> i64 {
    if code < 2 { 0 } else { i64::from(code) - 2 - i64::from(base) }
}

/// What a tracked file's number means to a FILE_CHECK: `None` is a fault, else what it adds to the weight.
pub fn file_part(value: i64, weight: i32, reverse: bool) -> Option<i64> {
    if weight == 0 {
        return ((value == 0) != reverse).then_some(0);
    }
    let product = value.saturating_mul(i64::from(weight)).saturating_mul(if reverse { -1 } else { 1 });
    let product = product.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
    (product != i64::from(i32::MIN)).then_some(product)
}

/// One check as it counts for one server.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) info: Arc<CheckInfo>,
    /// Position in the balancer's list of checks; `None` for files and BFD, which are told.
    pub(super) check: Option<u32>,
    pub(super) up: bool,
    /// Its state has been found out at least once.
    pub(super) ran: bool,
    /// What it adds to the weight.
    pub(super) part: i64,
}

impl Seat {
    pub(super) fn kind(&self) -> &CheckerKind {
        &self.info.checker.kind
    }
}

#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) info: Arc<ServerInfo>,
    pub(super) seats: Vec<Seat>,
    pub(super) base: u32,
    alive: bool,
    /// Where the kernel refused its entry, with the error number.
    pub(super) refused: BTreeMap<ServiceKey, i32>,
    pub(super) drained: bool,
    /// An operator's weight, which holds whatever the checks add.
    pub(super) weighed: Option<u32>,
    /// The weight that was told last, clamped.
    pub(super) shown: u32,
    /// The end of its first wait for a check was told.
    pub(super) confirmed: bool,
    pub(super) since: Time,
    pub(super) why: Why,
}

impl Server {
    pub(super) fn new(info: Arc<ServerInfo>, base: u32, now: Time) -> Server {
        Server {
            info,
            seats: Vec::new(),
            base,
            alive: false,
            refused: BTreeMap::new(),
            drained: false,
            weighed: None,
            shown: clamped(i64::from(base)),
            confirmed: false,
            since: now,
            why: Why::Start,
        }
    }

    pub(super) fn alive(&self) -> bool {
        self.alive
    }

    /// The one place that changes whether the server counts. True if that is news.
    pub(super) fn enter(&mut self, alive: bool, why: Why, now: Time) -> bool {
        if self.alive == alive {
            return false;
        }
        (self.alive, self.since, self.why) = (alive, now, why);
        true
    }

    /// Counts if it is fit to, and no longer if it is not. True if that is news.
    pub(super) fn change(&mut self, why: &Why, now: Time) -> bool {
        let changed = self.enter(self.fit(), why.clone(), now);
        self.confirmed |= changed;
        changed
    }

    /// Goes on as it was in another life or under another configuration.
    pub(super) fn resume(&mut self, alive: bool, why: Why, since: Time) {
        (self.alive, self.since, self.why) = (alive, since, why);
    }

    /// How many of its checks are bad.
    pub(super) fn failed(&self) -> usize {
        self.seats.iter().filter(|seat| !seat.up).count()
    }

    /// No check is bad: it belongs into the kernel's table.
    pub(super) fn good(&self) -> bool {
        self.seats.iter().all(|seat| seat.up)
    }

    /// Whether it ought to count.
    pub(super) fn fit(&self) -> bool {
        self.good() && self.refused.is_empty()
    }

    /// Base and all parts, or what the operator said.
    pub(super) fn weight(&self) -> i64 {
        match (self.drained, self.weighed) {
            (true, _) => 0,
            (false, Some(weight)) => i64::from(weight),
            (false, None) => weight(self.base, self.seats.iter().map(|seat| seat.part)),
        }
    }

    /// What it weighs for the quorum: nothing unless it counts.
    pub(super) fn counts(&self) -> u64 {
        if self.alive { u64::from(clamped(self.weight())) } else { 0 }
    }
}
