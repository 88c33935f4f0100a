//! Who should hold the address, by the configurations alone.

use super::plan::Plan;
use crate::spec::{InstanceSpec, Tie, TieTarget};
use crate::vrrp::election::effective;
use crate::vrrp::track::{Contribution, Reading, weigh};
use std::collections::BTreeSet;

/// What is wrong with which server at the moment.
#[derive(Clone, Debug, Default)]
pub struct Damage {
    /// Servers that cannot take part: dead, stopped, unplugged.
    pub out: BTreeSet<usize>,
    /// (server, script) whose check fails.
    pub failing: BTreeSet<(usize, usize)>,
    /// (server, interface) whose cable is pulled, of a server that has others.
    pub unplugged: BTreeSet<(usize, String)>,
    /// (server, BFD session) whose path is dead.
    pub paths: BTreeSet<(usize, Box<str>)>,
    /// The server without power.
    pub dark: Option<usize>,
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
pub fn priority(plan: &Plan, damage: &Damage, at: usize) -> Option<i32> {
    let instance = plan.instance(at)?;
    let server = plan.servers.get(at)?;
    let together = instance.group.and_then(|id| server.spec.groups.get(id.index()));
    let members = together.iter().flat_map(|group| &group.members);
    let mut members = members.filter_map(|id| server.spec.instances.get(id.index())).chain(Some(instance));
    if damage.out.contains(&at) || members.any(|member| faulty(plan, damage, at, member)) {
        return None;
    }
    let amounts = instance.ties.iter().filter_map(|tie| Some(contribution(plan, damage, at, tie)?.amount));
    Some(effective(instance.priority, amounts).0.0.into())
}

fn faulty(plan: &Plan, damage: &Damage, at: usize, instance: &InstanceSpec) -> bool {
    let cut = instance.interface.as_ref().is_some_and(|name| damage.unplugged.contains(&(at, name.to_string())));
    cut || instance.ties.iter().any(|tie| contribution(plan, damage, at, tie).is_some_and(|part| part.fault))
}

/// What a tie adds. `None`: the lab does nothing to what is tracked.
fn contribution(plan: &Plan, damage: &Damage, at: usize, tie: &Tie) -> Option<Contribution> {
    let server = plan.servers.get(at)?;
    let bad = match &tie.on {
        TieTarget::Script(id) => {
            let hopeless = server.spec.scripts.get(id.index()).is_some_and(|script| script.run.always_fails());
            hopeless || damage.failing.contains(&(at, id.index()))
        }
        TieTarget::Interface(name) => damage.unplugged.contains(&(at, name.to_string())),
        TieTarget::Bfd(id) => {
            let name = server.spec.bfds.get(id.index()).map(|bfd| bfd.name.clone()).unwrap_or_default();
            match plan.far_end(at, &name) {
                Some(Some(other)) => damage.out.contains(&other),
                Some(None) => damage.paths.contains(&(at, name)),
                // Nobody answers it here.
                None => true,
            }
        }
        TieTarget::File(_) | TieTarget::Process(_) => return None,
    };
    Some(weigh(tie.weight, tie.reverse, Reading::Good(!bad)))
}
