//! Makes a scenario that breaks a law smaller while it still breaks one: fewer acts, a shorter run, a plainer LAN.
//! What is left is what has to be understood.

use super::scenario::{LanSettings, Scenario};
use crate::time::{Interval, Time};

/// The smallest scenario found that `fails` still holds for. `scenario` itself must fail. The number of trials is
/// bounded, so it ends.
pub fn shrink(scenario: &Scenario, fails: &mut dyn FnMut(&Scenario) -> bool) -> Scenario {
    let mut best = scenario.clone();
    let mut trials = 400;
    let mut try_one = |candidate: Scenario, best: &mut Scenario| -> bool {
        if trials == 0 || candidate == *best {
            return false;
        }
        trials -= 1;
        let smaller = fails(&candidate);
        if smaller {
            *best = candidate;
        }
        smaller
    };
    loop {
        let mut progress = false;
        // Halves, quarters, … down to single acts.
        let mut size = best.acts.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < best.acts.len() {
                let mut candidate = best.clone();
                let end = (at + size).min(candidate.acts.len());
                candidate.acts.drain(at..end);
                if try_one(candidate, &mut best) {
                    progress = true;
                } else {
                    at += size;
                }
            }
            size /= 2;
        }
        let plain = Scenario { lan: LanSettings::default(), ..best.clone() };
        progress |= try_one(plain, &mut best);
        let present = Scenario { absent: Vec::new(), ..best.clone() };
        progress |= try_one(present, &mut best);
        let shorter = Scenario { run: best.run.scaled(3, 4), ..best.clone() };
        progress |= try_one(shorter, &mut best);
        for position in 0..best.acts.len() {
            let mut rounded = best.clone();
            if let Some((at, _)) = rounded.acts.get_mut(position) {
                *at = Time::ZERO + Interval::from_millis((*at - Time::ZERO).as_millis());
            }
            progress |= try_one(rounded, &mut best);
        }
        if !progress {
            return best;
        }
    }
}
