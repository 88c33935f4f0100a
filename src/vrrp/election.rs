//! Who wins and how long to wait: the arithmetic of RFC 9568 §6.1 and RFC 3768 §6.1, with keepalived's additions.
//!
//! Pure functions. No state, no clock, no configuration beyond what is passed in.

use crate::time::Interval;
use crate::wire::{Priority, Version};
use std::cmp::Ordering;
use std::net::IpAddr;

/// One side of an election.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claimant {
    pub priority: Priority,
    /// `None`: not known, which counts as no difference.
    pub address: Option<IpAddr>,
}

/// What a master has to make of another master's advert.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// They leave; nothing to yield to.
    TheyLeave,
    /// They are better: higher priority, or the same with a higher address.
    TheyWin,
    /// We are better.
    WeWin,
    /// Same priority, same address: ourselves, or somebody with our address.
    Mirror,
}

/// Compares by priority, then by address (RFC 9568 §6.4.3: the greater primary address wins a tie).
pub fn judge(mine: Claimant, theirs: Claimant) -> Verdict {
    if theirs.priority == Priority::LEAVING {
        return Verdict::TheyLeave;
    }
    let by_address = match (mine.address, theirs.address) {
        (Some(mine), Some(theirs)) => theirs.cmp(&mine),
        _ => Ordering::Equal,
    };
    match theirs.priority.cmp(&mine.priority).then(by_address) {
        Ordering::Greater => Verdict::TheyWin,
        Ordering::Less => Verdict::WeWin,
        Ordering::Equal => Verdict::Mirror,
    }
}

/// Skew time: (256 − priority)/256 of a second (version 2, RFC 3768 §6.1) or of the master's interval in whole
/// centiseconds (version 3, RFC 9568 §6.1).
pub fn skew(version: Version, priority: Priority, master_interval: Interval) -> Interval {
    let unit = match version {
        Version::V2 => Interval::from_secs(1),
        Version::V3 => Interval::from_centis(master_interval.as_centis()),
    };
    unit.scaled(256 - u64::from(priority.0), 256)
}

/// Master down interval: `adverts` intervals and the skew.
pub fn master_down(version: Version, priority: Priority, master_interval: Interval, adverts: u32) -> Interval {
    master_interval.times(u64::from(adverts)) + skew(version, priority, master_interval)
}

/// The priority that stands in adverts: 255 for an owner whatever happens, otherwise base plus `parts`, summed each time and
/// kept within 1..=254. The second part is the unclamped sum.
pub fn effective(base: Priority, parts: impl Iterator<Item = i32>) -> (Priority, i32) {
    if base == Priority::OWNER {
        return (base, i32::from(base.0));
    }
    let total = parts.fold(i32::from(base.0), i32::saturating_add);
    (Priority(total.clamp(1, 254) as u8), total)
}

/// How far an up or down delay of an interface may go without costing the mastership: a delay that outlasts the
/// backup's patience would keep a master whose link is dead (keepalived cuts it to the adverts that may be missed,
/// less a safety margin of 1/256 interval).
pub fn longest_debounce(interval: Interval, down_adverts: u32) -> Interval {
    interval.times(u64::from(down_adverts.saturating_sub(1))).less(interval.scaled(1, 256))
}
