//! Trackers: what files, processes and BFD sessions say, and what any tracker's word means for a priority.
//!
//! The board keeps readings; [`weigh`] turns a reading into a contribution, once and the same way for all kinds. The sum
//! is rebuilt each time where it is needed; nothing is ever added to or taken from a priority in place.

use super::io::{TrackValue, Tracker};
use crate::spec::{ProcessSpec, Spec, Tie, TieTarget};
use crate::time::Time;

/// What a tracker says at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reading {
    /// It has not reported yet, and nothing may be assumed.
    Pending,
    /// It has not reported yet, and counts for nothing until it does.
    Unknown,
    Good(bool),
    /// A file's number.
    Number(i32),
}

/// What a reading adds to one instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Contribution {
    /// `None`: not known.
    pub good: Option<bool>,
    /// Added to the base priority.
    pub amount: i32,
    /// Holds the instance in FAULT.
    pub fault: bool,
    /// Holds the instance in FAULT until it has reported, silently.
    pub pending: bool,
}

/// The one rule for all trackers (keepalived: weight, `reverse`, and the file's own arithmetic).
///
/// | weight | good | bad |
/// |---|---|---|
/// | 0 | nothing | FAULT (reverse: the other way round) |
/// | positive | +weight | nothing |
/// | negative | nothing | −\|weight\| |
///
/// `reverse` turns the sign of a contribution. A file contributes its number times the weight; a product of −254 or
/// less is FAULT, one above 253 counts as 253; with weight 0 any number but 0 is FAULT (reverse: 0 is).
pub fn weigh(weight: i32, reverse: bool, reading: Reading) -> Contribution {
    match reading {
        Reading::Pending => Contribution { pending: weight == 0, ..Contribution::default() },
        Reading::Unknown => Contribution::default(),
        Reading::Good(good) => {
            let amount = match (weight > 0, good) {
                (true, true) | (false, false) => weight,
                _ => 0,
            };
            let amount = if reverse { amount.saturating_neg() } else { amount };
            Contribution { good: Some(good), amount, fault: weight == 0 && good == reverse, pending: false }
        }
        Reading::Number(number) => {
            if weight == 0 {
                let fault = (number != 0) != reverse;
                return Contribution { good: Some(!fault), fault, ..Contribution::default() };
            }
            let product = i64::from(number) * i64::from(weight) * if reverse { -1 } else { 1 };
            let fault = product <= -254;
            let amount = if fault { 0 } else { product.min(253) as i32 };
            Contribution { good: Some(!fault), amount, fault, pending: false }
        }
    }
}

/// A tracked process group of which somebody wants at least `quorum` and at most `quorum_max`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Watch {
    pub(super) count: Option<u32>,
    /// As believed: a loss is believed after `terminate_delay`, a gain after `fork_delay`.
    pub(super) quorum: Option<bool>,
    flips_at: Option<Time>,
}

impl Watch {
    fn counted(&mut self, spec: &ProcessSpec, count: u32, now: Time) {
        let first = self.count.is_none();
        self.count = Some(count);
        let enough = has_quorum(spec, count);
        let delay = if enough { spec.fork_delay } else { spec.terminate_delay };
        if first || self.quorum == Some(enough) || delay.is_zero() {
            self.quorum = Some(enough);
            self.flips_at = None;
        } else if self.flips_at.is_none() {
            self.flips_at = Some(now + delay);
        }
    }
}

fn has_quorum(spec: &ProcessSpec, count: u32) -> bool {
    count >= spec.quorum && spec.quorum_max.is_none_or(|most| count <= most)
}

/// The present readings of everything but scripts and interfaces.
#[derive(Clone, Debug, Default)]
pub(super) struct Board {
    pub(super) files: Vec<Option<i32>>,
    pub(super) processes: Vec<Watch>,
    pub(super) bfds: Vec<Option<bool>>,
}

impl Board {
    pub(super) fn new(spec: &Spec) -> Board {
        Board {
            files: vec![None; spec.files.len()],
            processes: vec![Watch::default(); spec.processes.len()],
            bfds: vec![None; spec.bfds.len()],
        }
    }

    /// Takes a value in. True when a reading is different from before.
    pub(super) fn tell(&mut self, spec: &Spec, tracker: Tracker, value: TrackValue, now: Time) -> bool {
        match (tracker, value) {
            (Tracker::File(id), TrackValue::Number(number)) => {
                self.files.get_mut(id.index()).is_some_and(|file| file.replace(number) != Some(number))
            }
            (Tracker::Process(id), TrackValue::Count(count)) => {
                match (self.processes.get_mut(id.index()), spec.processes.get(id.index())) {
                    (Some(watch), Some(spec)) => {
                        let before = *watch;
                        watch.counted(spec, count, now);
                        *watch != before
                    }
                    _ => false,
                }
            }
            (Tracker::Bfd(id), TrackValue::Up(up)) => {
                self.bfds.get_mut(id.index()).is_some_and(|session| session.replace(up) != Some(up))
            }
            _ => false,
        }
    }

    /// When the belief about a process changes.
    pub(super) fn process_deadline(&self, index: usize) -> Option<Time> {
        self.processes.get(index).and_then(|watch| watch.flips_at)
    }

    /// A delay of a process has ended. True when more or fewer than its quorum are believed to run since.
    pub(super) fn process_due(&mut self, spec: &Spec, index: usize, now: Time) -> bool {
        if let (Some(watch), Some(spec)) = (self.processes.get_mut(index), spec.processes.get(index))
            && watch.flips_at.is_some_and(|at| at <= now)
        {
            watch.flips_at = None;
            let quorum = watch.count.map(|count| has_quorum(spec, count));
            return std::mem::replace(&mut watch.quorum, quorum) != quorum;
        }
        false
    }

    /// What a tie that is neither to a script nor to an interface reads.
    pub(super) fn reading(&self, on: &TieTarget) -> Reading {
        match on {
            TieTarget::File(id) => {
                self.files.get(id.index()).copied().flatten().map_or(Reading::Unknown, Reading::Number)
            }
            TieTarget::Process(id) => {
                self.processes.get(id.index()).and_then(|watch| watch.quorum).map_or(Reading::Unknown, Reading::Good)
            }
            // Before its first event a session counts as down.
            TieTarget::Bfd(id) => Reading::Good(self.bfds.get(id.index()).copied().flatten().unwrap_or(false)),
            TieTarget::Script(_) | TieTarget::Interface(_) => Reading::Unknown,
        }
    }
}

/// Name of what a tie is on, for people.
pub(super) fn name_of<'a>(spec: &'a Spec, tie: &'a Tie) -> &'a str {
    tie.on.name(spec).unwrap_or("")
}
