//! Trackers of a virtual router: whose weight can never change the outcome, and whose haste moves addresses for nothing.

use super::Finding;
use super::Member;
use super::Servers;
use crate::config::report::Level;
use crate::spec::{InstanceSpec, ScriptSpec, Spec, Tie, TieTarget};
use crate::time::Interval;
use crate::wire::Priority;

/// What a tie adds to the priority while its object is good, and while it is bad; `None` for what has no such value
/// (weight 0 is a fault, a file adds what stands in it).
pub(super) fn contribution(tie: &Tie) -> Option<(i32, i32)> {
    if tie.weight == 0 || matches!(tie.on, TieTarget::File(_)) {
        return None;
    }
    let (good, bad) = if tie.weight > 0 { (tie.weight, 0) } else { (0, tie.weight) };
    Some(if tie.reverse { (-good, -bad) } else { (good, bad) })
}

/// Priority with everything good.
pub(super) fn priority(instance: &InstanceSpec) -> Priority {
    Priorities::of(instance).well
}

/// What the priority of an instance can be; its ties are summed once, for there may be thousands.
#[derive(Clone, Copy)]
pub(super) struct Priorities {
    /// With everything good.
    pub well: Priority,
    sum: i64,
}

impl Priorities {
    pub fn of(instance: &InstanceSpec) -> Priorities {
        let parts = instance.ties.iter().filter_map(|tie| contribution(tie).map(|(well, _)| i64::from(well)));
        let sum = i64::from(instance.priority.0) + parts.sum::<i64>();
        let well = if instance.priority == Priority::OWNER { Priority::OWNER } else { clamped(sum) };
        Priorities { well, sum }
    }
    /// With this one gone bad and everything else good.
    pub fn without(self, tie: &Tie) -> Priority {
        match contribution(tie) {
            Some((well, bad)) if self.well != Priority::OWNER => clamped(self.sum - i64::from(well) + i64::from(bad)),
            _ => self.well,
        }
    }
}

fn clamped(sum: i64) -> Priority {
    Priority(sum.clamp(1, 254) as u8)
}

/// "script chk_nginx", "interface eth1", …
pub(super) fn label(tie: &Tie, spec: &Spec) -> String {
    let named = |kind: &str, name: Option<&str>| format!("{kind} {}", name.unwrap_or("?"));
    match &tie.on {
        TieTarget::Interface(name) => format!("interface {name}"),
        TieTarget::Script(id) => named("script", spec.scripts.get(id.index()).map(|s| &*s.name)),
        TieTarget::File(id) => named("file", spec.files.get(id.index()).map(|f| &*f.name)),
        TieTarget::Process(id) => named("process", spec.processes.get(id.index()).map(|p| &*p.name)),
        TieTarget::Bfd(id) => named("BFD session", spec.bfds.get(id.index()).map(|b| &*b.name)),
    }
}

/// The script of a tie, if it is one.
pub(super) fn script<'s>(tie: &Tie, spec: &'s Spec) -> Option<&'s ScriptSpec> {
    match &tie.on {
        TieTarget::Script(id) => spec.scripts.get(id.index()),
        _ => None,
    }
}

/// Rules about the trackers of one router.
pub(super) fn check(router: &[Member<'_>], servers: &Servers<'_>, out: &mut Vec<Finding>) {
    for member in router {
        let Some(spec) = servers.spec(member.server) else { continue };
        for tie in &member.instance.ties {
            hasty(*member, tie, spec, servers, out);
        }
    }
    let mut order: Vec<&Member<'_>> = router.iter().collect();
    order.sort_by_key(|m| std::cmp::Reverse(priority(m.instance)));
    let [best, next, ..] = order.as_slice() else { return };
    let Some(spec) = servers.spec(best.server) else { return };
    let priorities = Priorities::of(best.instance);
    let (holds, waits) = (priorities.well, priority(next.instance));
    if holds == Priority::OWNER || holds == waits {
        return;
    }
    let name = &best.instance.name;
    let (strong, weak) = (servers.name(best.server), servers.name(next.server));
    let weighted: Vec<&Tie> =
        best.instance.ties.iter().filter(|tie| contribution(tie).is_some_and(|(well, ill)| ill < well)).collect();
    // Together they may still do what none does alone.
    let together = weighted
        .iter()
        .fold(i32::from(holds.0), |sum, tie| sum - contribution(tie).map_or(0, |(well, ill)| well.saturating_sub(ill)));
    for tie in &weighted {
        let left = priorities.without(tie);
        let places = vec![servers.place(**best), servers.place(**next)];
        let what = label(tie, spec);
        if left >= waits {
            let enough = together < i32::from(waits.0) && weighted.len() > 1;
            let also = if enough { "; only together with others it is enough" } else { "" };
            let gap = i32::from(holds.0) - i32::from(waits.0);
            out.push(Finding {
                level: if enough { Level::Note } else { Level::Warning },
                rule: "weight-idle",
                places,
                message: format!(
                    "{name}: {what} going bad on {strong} leaves its priority at {left}, {weak} has {waits}: nothing moves{also}"
                ),
                help: Some(format!("a weight of more than {gap} (or 0: a fault) makes {weak} take over")),
            });
        } else if !next.instance.preempt {
            out.push(Finding {
                level: Level::Warning,
                rule: "weight-nopreempt",
                places,
                message: format!(
                    "{name}: {what} going bad on {strong} lowers its priority to {left}, but {weak} has nopreempt and stays backup"
                ),
                help: Some(format!("use weight 0 (a fault) on {strong}, or drop nopreempt on {weak}")),
            });
        }
    }
}

/// A script of which one slow or unlucky run is enough.
fn hasty(member: Member<'_>, tie: &Tie, spec: &Spec, servers: &Servers<'_>, out: &mut Vec<Finding>) {
    let Some(script) = script(tie, spec) else { return };
    if script.fall <= 1 && script.timeout <= Interval::from_secs(1) {
        out.push(Finding {
            level: Level::Note,
            rule: "script-hasty",
            places: vec![servers.place(member)],
            message: format!(
                "{}: one run of {} slower than {} s on {} counts as a failure and moves the addresses",
                member.instance.name,
                script.name,
                script.timeout,
                servers.name(member.server)
            ),
            help: Some("set `fall 2` or a longer `timeout` for the script".into()),
        });
    }
}
