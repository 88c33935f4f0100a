//! Who should hold the address, by the configurations alone.

use super::plan::Plan;
use crate::engine::spec::TieTarget;
use std::collections::BTreeSet;

/// What is wrong with which server at the moment.
#[derive(Clone, Debug, Default)]
pub struct Damage {
    /// Servers that cannot take part: dead, stopped, unplugged.
    pub out: BTreeSet<usize>,
    /// (server, script) whose check fails.
    pub failing: BTreeSet<(usize, usize)>,
}

/// Servers that may rightly hold the address, the holder so far given. More than one with equal priorities.
pub fn holders(plan: &Plan, damage: &Damage, holder: Option<usize>) -> Vec<usize> {
    let standing: Vec<(usize, i32)> =
        (0..plan.servers.len()).filter_map(|s| Some((s, priority(plan, damage, s)?))).collect();
    let Some(best) = standing.iter().map(|(_, p)| *p).max() else { return Vec::new() };
    let winners: Vec<usize> = standing.iter().filter(|(_, p)| *p == best).map(|(s, _)| *s).collect();
    let Some(holder) = holder.filter(|h| standing.iter().any(|(s, _)| s == h)) else { return winners };
    if winners.contains(&holder) {
        // Equal ones do not take it from each other, unless the address decides: either is right.
        return winners;
    }
    let taking: Vec<usize> = winners.into_iter().filter(|w| plan.instance(*w).is_some_and(|i| i.preempt)).collect();
    if taking.is_empty() { vec![holder] } else { taking }
}

/// Effective priority, or `None` when it cannot be master.
pub fn priority(plan: &Plan, damage: &Damage, server: usize) -> Option<i32> {
    let instance = plan.instance(server)?;
    if damage.out.contains(&server) {
        return None;
    }
    let mut sum = i32::from(instance.priority.0);
    for tie in &instance.ties {
        let TieTarget::Script(id) = &tie.on else { continue };
        let failed = damage.failing.contains(&(server, id.index())) != tie.reverse;
        match tie.weight {
            0 if failed => return None,
            weight if weight > 0 && !failed => sum += weight,
            weight if weight < 0 && failed => sum += weight,
            _ => {}
        }
    }
    Some(if instance.priority.0 == 255 { 255 } else { sum.clamp(1, 254) })
}
