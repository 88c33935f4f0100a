//! Announcements that are repeated, in rounds, so that thousands of them hold up nothing that is ordered meanwhile.

use super::address::AddressKey;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// Addresses that wait to be announced once more, each as often as was asked for (`garp_master_repeat` asks for all of its
/// rounds at once), but not without bound where announcing is slower than asking: [`u8::MAX`] times, at most.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    queue: VecDeque<AddressKey>,
    waiting: FxHashMap<AddressKey, u8>,
}

impl Repeats {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn extend(&mut self, keys: Vec<AddressKey>) {
        for key in keys {
            let times = self.waiting.entry(key).or_default();
            if let Some(more) = times.checked_add(1) {
                *times = more;
                self.queue.push_back(key);
            }
        }
    }

    /// The next ones, `most` at most. The room of a great round is given back at its end.
    pub(super) fn next(&mut self, most: usize) -> Vec<AddressKey> {
        let round: Vec<_> = self.queue.drain(..self.queue.len().min(most)).collect();
        for key in &round {
            if let Some(times) = self.waiting.get_mut(key) {
                *times = times.saturating_sub(1);
            }
        }
        if self.queue.is_empty() {
            *self = Repeats::default();
        }
        round
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(last: u8) -> AddressKey {
        AddressKey { index: 2, address: [10, 0, 0, last].into(), prefix: 24, peer: None }
    }

    fn drained(repeats: &mut Repeats, most: usize) -> Vec<AddressKey> {
        std::iter::from_fn(|| (!repeats.is_empty()).then(|| repeats.next(most))).flatten().collect()
    }

    #[test]
    fn an_address_is_announced_as_often_as_it_was_asked_for() {
        let mut repeats = Repeats::default();
        for _ in 0..4 {
            repeats.extend(vec![key(1), key(2)]);
        }
        assert_eq!(repeats.next(3), [key(1), key(2), key(1)], "in the order in which it was asked, no more than fit");
        let rest = drained(&mut repeats, 2);
        assert_eq!(rest, [2, 1, 2, 1, 2].map(key));
        repeats.extend(vec![key(1)]);
        assert_eq!(drained(&mut repeats, 9), [key(1)], "what is done counts no longer");
    }

    #[test]
    fn announcing_that_is_slower_than_asking_has_a_bound_for_each_address() {
        let mut repeats = Repeats::default();
        (0..1_000).for_each(|_| repeats.extend(vec![key(1)]));
        repeats.extend(vec![key(2)]);
        let all = drained(&mut repeats, 64);
        let of = |last| all.iter().filter(|address| **address == key(last)).count();
        assert_eq!((of(1), of(2)), (usize::from(u8::MAX), 1));
    }
}
