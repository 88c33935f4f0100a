//! Points in time and lengths of time, never bare numbers.
//!
//! [`Time`] is a count of microseconds from an arbitrary zero: the daemon feeds it from `CLOCK_MONOTONIC`, the
//! simulator from its own clock. [`Interval`] is a length. Both are total: arithmetic saturates, nothing panics.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// A point in time, in microseconds from an arbitrary zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Time(u64);

/// A length of time, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Interval(u64);

impl Time {
    /// The beginning: no time.
    pub const ZERO: Time = Time(0);
    /// Later than anything that can be scheduled.
    pub const NEVER: Time = Time(u64::MAX);

    /// From microseconds.
    pub const fn from_micros(us: u64) -> Self {
        Time(us)
    }
    /// In microseconds.
    pub const fn as_micros(self) -> u64 {
        self.0
    }
    /// The length from `earlier` to `self`; zero if `earlier` is later.
    pub const fn since(self, earlier: Time) -> Interval {
        Interval(self.0.saturating_sub(earlier.0))
    }
    /// `self` moved back by `by`; the zero at the earliest.
    pub const fn before(self, by: Interval) -> Time {
        Time(self.0.saturating_sub(by.0))
    }
}

impl Interval {
    /// The beginning: no time.
    pub const ZERO: Interval = Interval(0);

    /// From microseconds.
    pub const fn from_micros(us: u64) -> Self {
        Interval(us)
    }
    /// From milliseconds.
    pub const fn from_millis(ms: u64) -> Self {
        Interval(ms.saturating_mul(1_000))
    }
    /// From hundredths of a second, as VRRPv3 counts.
    pub const fn from_centis(cs: u64) -> Self {
        Interval(cs.saturating_mul(10_000))
    }
    /// From seconds.
    pub const fn from_secs(s: u64) -> Self {
        Interval(s.saturating_mul(1_000_000))
    }
    /// In microseconds.
    pub const fn as_micros(self) -> u64 {
        self.0
    }
    /// Whole milliseconds, rounded down.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }
    /// Whole centiseconds, rounded down: the unit of a VRRPv3 advert.
    pub const fn as_centis(self) -> u64 {
        self.0 / 10_000
    }
    /// Whole seconds, rounded down: the unit of a VRRPv2 advert.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000
    }
    /// In seconds.
    pub const fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }
    /// Whether it is no time at all.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
    /// `self` × `numerator` / `denominator`, rounded down; `denominator` 0 counts as 1.
    pub const fn scaled(self, numerator: u64, denominator: u64) -> Interval {
        let d = if denominator == 0 { 1 } else { denominator };
        let wide = self.0 as u128 * numerator as u128 / d as u128;
        Interval(if wide > u64::MAX as u128 { u64::MAX } else { wide as u64 })
    }
    /// So many times as long; at most the longest there is.
    pub const fn times(self, n: u64) -> Interval {
        Interval(self.0.saturating_mul(n))
    }
    /// `self` − `other`, zero at the least.
    pub const fn less(self, other: Interval) -> Interval {
        Interval(self.0.saturating_sub(other.0))
    }
    pub(crate) const fn to_std(self) -> Duration {
        Duration::from_micros(self.0)
    }
}

impl From<Duration> for Interval {
    fn from(d: Duration) -> Self {
        Interval(u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
    }
}
impl Add<Interval> for Time {
    type Output = Time;
    fn add(self, by: Interval) -> Time {
        Time(self.0.saturating_add(by.0))
    }
}
impl AddAssign<Interval> for Time {
    fn add_assign(&mut self, by: Interval) {
        *self = *self + by;
    }
}
impl Sub<Time> for Time {
    type Output = Interval;
    fn sub(self, earlier: Time) -> Interval {
        self.since(earlier)
    }
}
impl Add for Interval {
    type Output = Interval;
    fn add(self, other: Interval) -> Interval {
        Interval(self.0.saturating_add(other.0))
    }
}
impl AddAssign for Interval {
    fn add_assign(&mut self, other: Interval) {
        *self = *self + other;
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Time::NEVER {
            f.write_str("never")
        } else {
            write!(f, "@{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
        }
    }
}
/// Seconds with as many decimals as needed: `1`, `0.25`, `3.609375`.
impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, mut part) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if part == 0 {
            return write!(f, "{whole}");
        }
        let mut width = 6;
        while part.is_multiple_of(10) {
            part /= 10;
            width -= 1;
        }
        write!(f, "{whole}.{part:0width$}")
    }
}
impl fmt::Debug for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}s")
    }
}
/// As seconds, a JSON number.
impl serde::Serialize for Interval {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_f64(self.as_secs_f64())
    }
}
