//! The state in sentences: what it is, why, what the priority is made of, and what has to happen for it to change.

use super::log::fault;
use crate::spec::Spec;
use crate::time::{Interval, Time};
use crate::vrrp::io::{Cause, Role};
use crate::vrrp::snapshot::{InstanceView, Snapshot};
use std::fmt::Write as _;

/// All instances, or the one of that name; `None` if there is none.
pub fn text(spec: &Spec, snapshot: &Snapshot, name: Option<&str>) -> Option<String> {
    let mut out = String::new();
    for view in snapshot.instances.iter().filter(|view| name.is_none_or(|name| *view.name == *name)) {
        one(&mut out, spec, snapshot, view);
    }
    (!out.is_empty() || name.is_none()).then_some(out)
}

fn one(out: &mut String, spec: &Spec, snapshot: &Snapshot, view: &InstanceView) {
    let for_long = snapshot.now.since(view.since);
    let _ = writeln!(out, "{} is {} since {} s: {}.", view.name, view.state, seconds(for_long), cause(spec, &view.why));
    if view.drained {
        let _ = writeln!(out, "  It is drained: it stays backup while another router lives.");
    }
    for one in &view.faults {
        let _ = writeln!(out, "  Fault: {}.", fault(one));
    }
    let mut parts = format!("{}", view.base_priority);
    for part in &view.contributions {
        let what = match part.good {
            None => "not known yet",
            Some(true) => "good",
            Some(false) => "bad",
        };
        let _ = write!(parts, ", {:+} {} ({what})", part.amount, part.tracker);
    }
    let _ = writeln!(out, "  Priority {} = {parts}.", view.effective_priority);
    match &view.master {
        Some(master) if master.ourselves => {
            let held = if view.owned { "all addresses are in place" } else { "not all addresses are in place yet" };
            let _ = writeln!(out, "  We are master; {held}.");
        }
        Some(master) => {
            let who = master.address.map_or("somebody".to_owned(), |address| address.to_string());
            let heard =
                master.last_heard.map_or(String::new(), |at| format!(", last heard {} s ago", ago(snapshot, at)));
            let _ = writeln!(out, "  Master is {who} with priority {}{heard}.", master.priority);
        }
        None => {}
    }
    if view.state == Role::Backup {
        let _ = writeln!(out, "  It takes over when the master is silent for {} s.", seconds(view.master_down));
    }
    if let Some(next) = &view.next {
        let _ = writeln!(out, "  Next: {} in {} s.", next.what, seconds(next.at.since(snapshot.now)));
    }
    for (why, count) in &view.counters.refused {
        let _ = writeln!(out, "  {count} adverts refused: {}.", super::log::refusal(*why));
    }
}

fn cause(spec: &Spec, why: &Cause) -> String {
    match why {
        Cause::Start => "it has been so from the start".into(),
        Cause::MasterSilent => "the master had not been heard for the whole down timer".into(),
        Cause::MasterLeft => "the master said that it leaves (priority 0)".into(),
        Cause::Owner => "it owns the addresses (priority 255)".into(),
        Cause::Preempts { over, priority } => format!("the master {over} has only priority {priority}"),
        Cause::Outranked { by, priority } => format!("{by} has the better priority, {priority}"),
        Cause::Faulted(faults) => faults.iter().map(fault).collect::<Vec<_>>().join(", "),
        Cause::Recovered => "the last fault is gone".into(),
        Cause::Group { led_by } => {
            let name = spec.instances.get(led_by.index()).map_or("another member", |i| &i.name);
            format!("{name} of the same sync group led the way")
        }
        Cause::Stalled => "this machine had stalled".into(),
        Cause::Drained => "an operator drained it".into(),
        Cause::Failover => "an operator asked for a failover".into(),
        Cause::Reload => "a reload changed it".into(),
        Cause::Stopping => "the daemon is stopping".into(),
    }
}

fn ago(snapshot: &Snapshot, at: Time) -> String {
    seconds(snapshot.now.since(at))
}

fn seconds(interval: Interval) -> String {
    format!("{}.{:03}", interval.as_secs(), interval.as_millis() % 1_000)
}
