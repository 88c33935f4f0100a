//! When what could not be carried out is tried again. Bookkeeping only: its callers say what time it is.

use super::claims::Owner;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A claim that could not be carried out is tried again after this, and then after twice as long each time.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// Who is to be tried again: when, and how long was waited before that.
#[derive(Debug, Default)]
pub(super) struct Retries(BTreeMap<Owner, (Instant, Duration)>);

impl Retries {
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().map(|(at, _)| *at).min()
    }

    /// It was tried, in vain.
    pub(super) fn failed(&mut self, owner: Owner, now: Instant) {
        let wait = match self.0.get(&owner) {
            Some((at, wait)) if *at > now => *wait,
            Some((_, wait)) => (*wait * 2).min(LONGEST),
            None => FIRST,
        };
        self.0.insert(owner, (now + wait, wait));
    }

    /// It is not to be tried before then, unless there is a time already.
    pub(super) fn not_before(&mut self, owner: Owner, now: Instant, wait: Duration) {
        self.0.entry(owner).or_insert((now + wait, wait));
    }

    pub(super) fn over(&mut self, owner: Owner) {
        self.0.remove(&owner);
    }

    /// Whose turn it is.
    pub(super) fn due(&self, now: Instant) -> Vec<Owner> {
        self.0.iter().filter(|(_, (at, _))| *at <= now).map(|(owner, _)| *owner).collect()
    }

    /// It has been tried. Whatever comes of that sets the next time; nothing at all does too.
    pub(super) fn tried(&mut self, owner: Owner, now: Instant) {
        if self.0.get(&owner).is_some_and(|(at, _)| *at <= now) {
            self.failed(owner, now);
        }
    }

    /// Something has come that may have been what was lacking: nobody waits for longer than at the beginning. What comes in
    /// thousands makes no more than one try of each in that time.
    pub(super) fn hurry(&mut self, now: Instant) {
        for (at, wait) in self.0.values_mut().filter(|(_, wait)| *wait > FIRST) {
            *at = (*at).min(now + FIRST);
            *wait = FIRST;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_wait_is_twice_as_long_up_to_half_a_minute() {
        let (mut retries, mut now) = (Retries::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..7 {
            retries.failed(None, now);
            let next = retries.next().unwrap();
            waits.push(next.duration_since(now).as_secs());
            assert_eq!(retries.due(next), [None]);
            now = next;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        // A second failure of the same moment is the same one.
        retries.failed(None, now);
        retries.failed(None, now);
        assert_eq!(retries.next(), Some(now + 30 * SECOND));
        retries.tried(None, now + 30 * SECOND);
        assert_eq!(retries.next(), Some(now + 60 * SECOND), "nothing came of it");
        retries.over(None);
        assert_eq!(retries.next(), None);
    }

    #[test]
    fn news_shorten_a_long_wait_and_do_not_put_it_off() {
        let (mut retries, begun) = (Retries::default(), Instant::now());
        let mut now = begun;
        for _ in 0..6 {
            retries.failed(None, now);
            now = retries.next().unwrap();
        }
        retries.failed(None, now);
        for millisecond in 0..900 {
            retries.hurry(now + Duration::from_millis(millisecond));
        }
        assert_eq!(retries.next(), Some(now + SECOND), "half a minute otherwise, and never if each had put it off");
        // And so it goes on from there.
        now += SECOND;
        retries.failed(None, now);
        assert_eq!(retries.next(), Some(now + 2 * SECOND));
    }
}
