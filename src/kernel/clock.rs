//! The two clocks. [`now`] is what the engine lives by; [`wall`] is only for `auth_hmac` and for people.

use crate::time::Time;
use crate::vrrp::io::Wall;
use rustix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC as a [`Time`]: the clock that [`super::wait`] waits by.
pub fn now() -> Time {
    Time::from_micros(micros_by(ClockId::Monotonic))
}

/// The wall clock, together with the monotonic time at which it was read.
pub fn wall() -> Wall {
    Wall { unix_micros: micros_by(ClockId::Realtime), at: now() }
}

/// 0 before the clock's beginning.
fn micros_by(clock: ClockId) -> u64 {
    let t = clock_gettime(clock);
    let seconds = u64::try_from(t.tv_sec).unwrap_or(0);
    let micros = u64::try_from(t.tv_nsec / 1_000).unwrap_or(0);
    seconds.saturating_mul(1_000_000).saturating_add(micros)
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
