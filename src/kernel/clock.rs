//! The two clocks. [`now`] is what the engine lives by; [`wall`] is only for `auth_hmac` and for people.

use crate::time::Time;
use crate::vrrp::io::Wall;
use rustix::time::{ClockId, clock_gettime};
use std::time::{SystemTime, UNIX_EPOCH};

/// CLOCK_MONOTONIC as a [`Time`]: the clock that [`super::wait`] waits by.
pub fn now() -> Time {
    let t = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(t.tv_sec).unwrap_or(0);
    let micros = u64::try_from(t.tv_nsec / 1_000).unwrap_or(0);
    Time::from_micros(seconds.saturating_mul(1_000_000).saturating_add(micros))
}

/// The wall clock, together with the monotonic time at which it was read.
pub fn wall() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall { at: now(), unix_micros: u64::try_from(since.as_micros()).unwrap_or(u64::MAX) }
}

/// When `at` was by the wall clock as it stands now: microseconds since 1970.
pub fn wall_at(at: Time) -> u64 {
    let wall = wall();
    wall.unix_micros.saturating_sub(wall.at.since(at).as_micros())
}

/// How long the machine has been up, suspended time included (`vrrp_delay_after_boot` is reduced by it).
pub fn uptime() -> crate::time::Interval {
    let t = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(t.tv_sec).unwrap_or(0);
    crate::time::Interval::from_secs(seconds)
}
