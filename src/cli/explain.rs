//! `vipctl explain`: why an instance is master, or why it is not, and what would change that.

use super::clock;
use super::paint::Paint;
use super::status;
use super::view::{self, Instance, Snapshot, span};

/// One paragraph an instance.
pub fn render(snapshot: &Snapshot, only: Option<&str>, paint: Paint) -> Option<String> {
    let chosen: Vec<&Instance> = snapshot.instances.iter().filter(|i| only.is_none_or(|name| i.name == name)).collect();
    if chosen.is_empty() {
        return None;
    }
    Some(chosen.iter().map(|i| paragraph(snapshot, i, paint)).collect::<Vec<_>>().join("\n"))
}

fn paragraph(snapshot: &Snapshot, instance: &Instance, paint: Paint) -> String {
    let mut out = headline(snapshot, instance, paint);
    let mut say = |label: &str, text: &str| out += &format!("  {} {text}\n", paint.dim(&format!("{label:<9}")));
    say("why", &format!("{}.", instance.reason()));
    for fault in &instance.faults {
        say("fault", &format!("{}.", view::fault(fault)));
        if let Some(cure) = view::cure(fault) {
            say("cure", &format!("{cure}."));
        }
    }
    say("priority", &format!("{}.", instance.sum()));
    for part in instance.contributions.iter().filter(|c| c.fault) {
        say("", &format!("{}, and without a weight that means FAULT.", part.words()));
    }
    say("master", &format!("{}.", status::master(snapshot, instance)));
    let next = status::next(snapshot, instance);
    if !next.is_empty() {
        say("next", &format!("{next}."));
    }
    for line in outlook(snapshot, instance) {
        say("outlook", &line);
    }
    out
}

fn headline(snapshot: &Snapshot, instance: &Instance, paint: Paint) -> String {
    let place = match (&instance.interface, &instance.link) {
        (Some(interface), Some(link)) if interface != link => format!(" on {interface} (through {link})"),
        (Some(interface), _) => format!(" on {interface}"),
        _ => String::new(),
    };
    let wall = clock::local(instance.since_unix_micros, snapshot.unix_micros);
    let since = if wall.is_empty() { String::new() } else { format!(" since {wall}") };
    format!(
        "{} is {}{place}{since}, for {} (VRID {}, VRRPv{}, {})\n",
        paint.strong(&instance.name),
        paint.state(&instance.state),
        span(snapshot.ago(instance.since)),
        instance.vrid,
        instance.version,
        instance.family,
    )
}

/// What would change the state.
fn outlook(snapshot: &Snapshot, instance: &Instance) -> Vec<String> {
    let mut lines = Vec::new();
    if snapshot.startup_delay_left.is_some_and(|left| left > 0.0) {
        lines.push("nothing is sent or taken over before the start-up delay is over.".into());
    }
    if instance.drained {
        lines.push(format!("`vipctl undrain {}` lets it take part in elections again.", instance.name));
    }
    match instance.state.as_str() {
        "BACKUP" => backup_outlook(instance, &mut lines),
        "MASTER" => {
            let losses = instance.contributions.iter().filter(|c| c.good != Some(false)).map(loss);
            let worst = (instance.total_priority - losses.sum::<i32>()).clamp(1, 254);
            if worst < i32::from(instance.effective_priority) {
                lines.push(format!("if everything that is tracked failed, the priority would be {worst}."));
            }
            lines.push(format!(
                "a backup takes over when it has heard nothing for about {}.",
                span(instance.master_down)
            ));
        }
        "FAULT" => lines.push("it returns by itself when the faults are gone.".into()),
        _ => {}
    }
    lines
}

fn backup_outlook(instance: &Instance, lines: &mut Vec<String>) {
    let Some(master) = instance.master.as_ref().filter(|m| !m.ourselves) else { return };
    let (ours, theirs) = (instance.effective_priority, master.priority);
    if ours < theirs {
        let missing: i32 = instance.contributions.iter().filter(|c| c.good == Some(false)).map(loss).sum();
        let repaired = i32::from(ours) + missing;
        if missing > 0 && repaired > i32::from(theirs) {
            let names: Vec<String> =
                instance.contributions.iter().filter(|c| c.good == Some(false)).map(|c| c.tracker.clone()).collect();
            lines.push(format!(
                "if {} were good, {repaired} would be more than the master's {theirs}.",
                names.join(" and ")
            ));
        } else {
            lines.push(format!("{ours} is less than the master's {theirs}."));
        }
    } else if ours > theirs {
        lines.push(format!("{ours} is more than the master's {theirs}: nopreempt or a preempt delay holds it back."));
    } else {
        lines.push("equal priorities: the higher address wins.".into());
    }
}

/// What the priority loses (or has lost) when this tracker is bad.
fn loss(part: &view::Contribution) -> i32 {
    if part.good == Some(false) && part.amount == 0 && part.weight > 0 {
        part.weight
    } else {
        part.weight.saturating_abs()
    }
}
