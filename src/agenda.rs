//! What is due when: a heap of slots, each with at most one time.
//!
//! Every timed thing of the engine (an instance, a script, a debounced link, …) has a slot of its own, a small number.
//! Setting, moving and clearing a slot costs a few swaps and no allocation, and the earliest is known exactly: there are
//! no stale entries that would wake the process for nothing. Equal times come out in slot order, which makes the
//! engine's order of events a law and not an accident.

use crate::time::Time;

/// Number of a timed thing.
pub(crate) type Slot = u32;

const ABSENT: u32 = u32::MAX;

/// An indexed binary heap of (time, slot).
#[derive(Clone, Debug, Default)]
pub(crate) struct Agenda {
    heap: Vec<(Time, Slot)>,
    /// Where each slot stands in `heap`.
    place: Vec<u32>,
}

impl Agenda {
    /// The earliest time and whose it is.
    pub(crate) fn next(&self) -> Option<(Time, Slot)> {
        self.heap.first().copied()
    }

    /// Sets, moves or (with `None` or [`Time::NEVER`]) clears the time of `slot`.
    pub(crate) fn set(&mut self, slot: Slot, at: Option<Time>) {
        let index = slot as usize;
        if index >= self.place.len() {
            self.place.resize(index + 1, ABSENT);
        }
        let at = at.filter(|t| *t != Time::NEVER);
        match (self.place[index], at) {
            (ABSENT, None) => {}
            (ABSENT, Some(at)) => {
                self.heap.push((at, slot));
                self.rise(self.heap.len() - 1);
            }
            (place, Some(at)) => {
                let place = place as usize;
                let before = self.heap[place].0;
                self.heap[place].0 = at;
                if at < before {
                    self.rise(place);
                } else if at > before {
                    self.sink(place);
                }
            }
            (place, None) => {
                let place = place as usize;
                self.place[index] = ABSENT;
                let last = self.heap.len() - 1;
                if place == last {
                    self.heap.pop();
                } else {
                    self.heap.swap_remove(place);
                    self.place[self.heap[place].1 as usize] = place as u32;
                    self.rise(place);
                    self.sink(place);
                }
            }
        }
        debug_assert!(self.heap.iter().enumerate().take(4).all(|(i, (_, s))| self.place[*s as usize] == i as u32));
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.heap.clear();
        self.place.clear();
    }

    fn rise(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if self.heap[parent] <= self.heap[at] {
                break;
            }
            self.heap.swap(parent, at);
            self.place[self.heap[at].1 as usize] = at as u32;
            at = parent;
        }
        self.place[self.heap[at].1 as usize] = at as u32;
    }

    fn sink(&mut self, mut at: usize) {
        loop {
            let mut least = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heap.len() && self.heap[child] < self.heap[least] {
                    least = child;
                }
            }
            if least == at {
                break;
            }
            self.heap.swap(least, at);
            self.place[self.heap[at].1 as usize] = at as u32;
            at = least;
        }
        self.place[self.heap[at].1 as usize] = at as u32;
    }
}
