//! When wall clocks that were stepped let `auth_hmac` understand again: what the laws may not ask meanwhile.
//!
//! With time-based protection a receiver refuses a sender whose clock differs by more than the window, for as long as it
//! does. A step within the window makes a sender go on from its last sequence until its clock has caught up with that; a
//! longer one, or a restart, makes it go back, and receivers refuse what lies behind their mark until that is outside the
//! window. Either takes two windows at most. With monotonic protection nothing but the sender's own mark counts, which a
//! restart forgets: it is refused until its clock has come to where it has been.

use super::node::Node;
use crate::spec::{Auth, HmacAuth, HmacMode, Replay, Spec};
use crate::time::{Interval, Time};

/// Sequences count fractions of a second, windows whole seconds: so near to a limit it is anybody's guess.
const BLURRED: Interval = Interval::from_secs(2);

fn seals(spec: &Spec) -> impl Iterator<Item = &HmacAuth> {
    spec.instances.iter().filter_map(|instance| match &instance.auth {
        Auth::Hmac(hmac) if hmac.mode != HmacMode::ReceiveOnly => Some(hmac),
        _ => None,
    })
}

/// Two windows, of the longest: zero where no clock counts.
pub(super) fn longest(spec: &Spec) -> Interval {
    let window = |hmac: &HmacAuth| match hmac.replay {
        Replay::Time { window } => window.times(2) + BLURRED,
        Replay::Monotonic | Replay::Off => BLURRED,
    };
    seals(spec).map(window).max().unwrap_or_default()
}

/// What is known of one node's wall clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// Where it stands at world time zero, microseconds since the epoch.
    pub wall: u64,
    /// The farthest it has been.
    farthest: u64,
    /// Until then others may refuse what this node says for reasons that lie in the past.
    settled: Time,
}

impl Clock {
    /// One that agrees with the world's.
    pub fn new() -> Clock {
        let wall = 1_700_000_000_000_000;
        Clock { wall, farthest: wall, settled: Time::ZERO }
    }

    /// Its owner's clock jumps.
    pub fn step(&mut self, forward: bool, by: Interval, spec: &Spec, now: Time) {
        let by = by.as_micros();
        self.wall = if forward { self.wall.saturating_add(by) } else { self.wall.saturating_sub(by) };
        self.farthest = self.farthest.max(self.wall);
        self.settled = self.settled.max(now + longest(spec));
        // A router that has not spoken since it began is as one that begins.
        self.begin(spec, now);
    }

    /// The daemon begins: it has forgotten how far it had come.
    pub fn begin(&mut self, spec: &Spec, now: Time) {
        let behind = Interval::from_micros(self.farthest - self.wall);
        let patience = |hmac: &HmacAuth| match hmac.replay {
            Replay::Time { window } => window.times(2).min(behind),
            Replay::Monotonic => behind,
            Replay::Off => Interval::ZERO,
        };
        if let Some(longest) = seals(spec).map(patience).max().filter(|_| !behind.is_zero()) {
            self.settled = self.settled.max(now + longest + BLURRED);
        }
    }

    fn apart(&self, other: &Clock) -> Interval {
        Interval::from_micros(self.wall.abs_diff(other.wall))
    }
}

/// Do the clocks of these two let them understand each other?
pub(super) fn agree(a: &Node, b: &Node, auth: &Auth, now: Time) -> bool {
    let Auth::Hmac(hmac) = auth else { return true };
    if hmac.mode == HmacMode::ReceiveOnly {
        return true;
    }
    let near = match hmac.replay {
        Replay::Time { window } => a.clock.apart(&b.clock) <= window,
        Replay::Monotonic | Replay::Off => true,
    };
    near && a.clock.settled <= now && b.clock.settled <= now
}

/// Is there anybody of whom one cannot say whether clocks let him be understood?
pub(super) fn unclear(nodes: &[Node], now: Time) -> bool {
    let sealed = |node: &&Node| seals(&node.spec).next().is_some();
    let blurred = |a: &Node, b: &Node| {
        seals(&a.spec).any(|hmac| match hmac.replay {
            Replay::Time { window } => {
                let apart = a.clock.apart(&b.clock);
                apart + BLURRED > window && apart < window + BLURRED && !apart.is_zero()
            }
            Replay::Monotonic | Replay::Off => false,
        })
    };
    nodes.iter().filter(sealed).any(|a| a.clock.settled > now || nodes.iter().filter(sealed).any(|b| blurred(a, b)))
}
