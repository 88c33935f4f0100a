//! Chance from a seed: SplitMix64 (Steele, Lea, Flood 2014), so that a run is the same on every machine and for ever.
//!
//! Each part that draws owns one; an engine is given its seed. Not for secrets.

use crate::time::Interval;

const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// A stream of numbers that its seed decides.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub const fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The stream that [`number`](Random::number) would be at after `count` numbers.
    pub const fn after(self, count: u64) -> Random {
        Random(self.0.wrapping_add(count.wrapping_mul(GAMMA)))
    }

    /// Any of the 2⁶⁴ numbers.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// 0..`end`; 0 when `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { ((u128::from(self.number()) * u128::from(end)) >> 64) as u64 }
    }

    /// `low..=high`; `low` when the range is empty.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// True in `parts` of a million cases.
    pub fn happens(&mut self, parts: u32) -> bool {
        parts > 0 && self.below(1_000_000) < u64::from(parts)
    }

    /// True once in `of` cases.
    pub fn one_in(&mut self, of: u64) -> bool {
        self.below(of.max(1)) == 0
    }

    /// Between these, both included.
    pub fn interval(&mut self, low: Interval, high: Interval) -> Interval {
        Interval::from_micros(self.within(low.as_micros(), high.as_micros()))
    }

    /// One of `list`; `None` when it is empty.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        list.get(self.below(list.len() as u64) as usize)
    }
}
