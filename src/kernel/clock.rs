//! The two clocks. [`now`] is what the engine lives by; [`wall`] is only for `auth_hmac` and for people.

use crate::time::Time;
use crate::vrrp::io::Wall;
use rustix::time::{ClockId, clock_gettime};
use std::sync::OnceLock;
use std::time::Instant;

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

/// `at` for the timers of a runtime, which tell the same clock by values of their own: how the two go together is asked once.
/// Where the machine's clock is a device, which virtual machines have, each look at it is a system call, and a thousand checks
/// a second have two times each to wait for.
pub fn instant(at: Time) -> Instant {
    static PAIR: OnceLock<(Time, Instant)> = OnceLock::new();
    let (time, instant) = *PAIR.get_or_init(|| {
        let look = || {
            let before = Instant::now();
            let time = now();
            (before.elapsed(), time, before)
        };
        // A thread that is held up between the two would make all timers late by that.
        let (apart, time, before) = (0..4).map(|_| look()).min().unwrap_or_else(look);
        (time, before + apart)
    });
    let moved = match at >= time {
        true => instant.checked_add(at.since(time).to_std()),
        false => instant.checked_sub(time.since(at).to_std()),
    };
    moved.unwrap_or(instant)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Interval;
    use std::time::Duration;

    #[test]
    fn the_clock_of_a_runtime_goes_with_ours() {
        let at = now();
        for pause in [0, 1, 999, 1_000_000, 3_600_000_000].map(Interval::from_micros) {
            assert_eq!(instant(at + pause) - instant(at), pause.to_std());
        }
        assert!(instant(now() + Interval::from_secs(3600)) > Instant::now());
        assert!(instant(Time::from_micros(0)) <= Instant::now());
        // A daemon lives longer than a year, and what is never due is not due.
        assert_eq!(
            instant(at + Interval::from_secs(100 * 86_400 * 365)) - instant(at),
            Duration::from_secs(100 * 86_400 * 365)
        );
        assert!(instant(Time::NEVER) > Instant::now() + Duration::from_secs(86_400 * 365));
    }
}
