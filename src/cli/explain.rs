//! `vipctl explain`: why an instance is master, or why it is not, and what would change that.

use super::alarms::{self, Alarm};
use super::clock;
use super::paint::Paint;
use super::status;
use super::view::{self, Instance, Snapshot, span};
use crate::vrrp::election::effective;
use crate::vrrp::track::{Contribution, Reading, weigh};
use crate::wire::Priority;

/// One paragraph an instance.
pub fn render(snapshot: &Snapshot, only: Option<&str>, paint: Paint) -> Option<String> {
    let group = only.and_then(|name| snapshot.group(name));
    let member = |i: &Instance| group.is_some_and(|group| group.members.contains(&i.name));
    let wanted = |i: &&Instance| only.is_none_or(|name| i.name == name || member(i));
    let chosen: Vec<&Instance> = snapshot.instances.iter().filter(wanted).collect();
    if chosen.is_empty() {
        return session(snapshot, only?, paint);
    }
    Some(chosen.iter().map(|i| paragraph(snapshot, i, paint)).collect::<Vec<_>>().join("\n"))
}

fn paragraph(snapshot: &Snapshot, instance: &Instance, paint: Paint) -> String {
    let mut out = headline(snapshot, instance, paint);
    let mut say = |label: &str, text: &str| out += &format!("  {} {text}\n", paint.dim(&format!("{label:<9}")));
    say("why", &format!("{}.", instance.reason(snapshot)));
    for alarm in alarms::of(snapshot, instance) {
        say("wrong", &format!("{}.", alarm.what));
        if let Some(why) = &alarm.why {
            say("", &format!("{why}."));
        }
        if let Some(cure) = &alarm.cure {
            say("cure", &format!("{cure}."));
        }
    }
    for alarm in notifications(snapshot, instance) {
        say("wrong", &format!("{}.", alarm.what));
        say("", &format!("{}.", alarm.why.unwrap_or_default()));
        say("cure", &format!("{}.", alarm.cure.unwrap_or_default()));
    }
    for line in formerly(snapshot, instance) {
        say("earlier", &format!("{line}."));
    }
    say("priority", &format!("{}.", instance.sum()));
    for part in instance.contributions.iter().filter(|c| c.fault) {
        say("", &format!("{}, and without a weight that means FAULT.", part.words()));
    }
    for session in instance.contributions.iter().filter_map(|part| snapshot.session(&part.tracker)) {
        say("session", &format!("{} to {} is {}.", session.name, session.neighbor, session.words(snapshot)));
    }
    say("master", &format!("{}.", status::master(snapshot, instance)));
    let next = status::next(snapshot, instance);
    if !next.is_empty() {
        say("next", &format!("{next}."));
    }
    if let Some(at) = instance.preempt_at {
        say(
            "",
            &format!("preempt_delay ends in {}; until then a worse master is left alone.", span(snapshot.until(at))),
        );
    }
    for line in outlook(snapshot, instance) {
        say("outlook", &line);
    }
    out
}

/// What was started for this instance or its group and does not end.
fn notifications(snapshot: &Snapshot, instance: &Instance) -> Vec<Alarm> {
    let group = |of: &str| snapshot.groups.iter().any(|g| g.name == of && g.members.contains(&instance.name));
    alarms::hanging(snapshot, |of| of == instance.name || group(of))
}

/// A BFD session, and who goes by it.
fn session(snapshot: &Snapshot, name: &str, paint: Paint) -> Option<String> {
    let session = snapshot.sessions().iter().find(|session| session.name == name)?;
    let mut out =
        format!("BFD session {} to {} is {}.\n", paint.strong(name), session.neighbor, session.words(snapshot));
    for instance in &snapshot.instances {
        for part in instance.contributions.iter().filter(|part| part.tracker == name) {
            if snapshot.session(name).is_none() {
                continue;
            }
            let effect = match (part.fault, part.weight) {
                (true, _) => "is in FAULT by it".to_owned(),
                (false, 0) => "goes into FAULT when it changes".to_owned(),
                (false, _) => format!("has {} of its priority by it", part.amount),
            };
            out += &format!("  {} tracks it and {effect}.\n", instance.name);
        }
    }
    Some(out)
}

/// What is over, but worth knowing for who looks into the past.
fn formerly(snapshot: &Snapshot, instance: &Instance) -> Vec<String> {
    let ago = |at| span(snapshot.ago(at));
    let rivals = instance.rivals.iter().filter(|rival| !rival.current && rival.count > 2).map(|rival| {
        format!(
            "{} spoke as MASTER too ({} adverts, the last {} ago)",
            rival.address,
            rival.count,
            ago(rival.last_heard)
        )
    });
    let refused = instance.refused_speakers.iter().filter(|speaker| !speaker.current).map(|speaker| {
        let (why, _) = view::refusal(&speaker.why);
        format!(
            "adverts of {} were refused: {why} ({}, the last {} ago)",
            speaker.address,
            speaker.count,
            ago(speaker.last_heard)
        )
    });
    let slept = snapshot.slept.iter().map(|slept| status::slept(snapshot, slept));
    let replaced = instance.replaced.iter().map(|by| {
        let address = &by.address;
        format!(
            "{address}, priority {}, was MASTER while this daemon did not run, until {} ago",
            by.priority,
            ago(by.until)
        )
    });
    slept.chain(replaced).chain(rivals).chain(refused).collect()
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
    match instance.state.as_str() {
        "BACKUP" => backup_outlook(instance, &mut lines),
        "MASTER" => {
            lines.extend(if_all_failed(instance));
            lines.push(format!(
                "a backup takes over when it has heard nothing for about {}.",
                span(instance.master_down)
            ));
        }
        _ => {}
    }
    lines
}

fn backup_outlook(instance: &Instance, lines: &mut Vec<String>) {
    let Some(master) = instance.master.as_ref().filter(|m| !m.ourselves && !m.silent) else { return };
    let (ours, theirs) = (instance.effective_priority, master.priority);
    if ours < theirs {
        let repaired = priority(instance, |part| if costs(part) { if_it_were(part, true).amount } else { part.amount });
        if !instance.drained && repaired > theirs {
            let names: Vec<String> =
                instance.contributions.iter().filter(|part| costs(part)).map(|part| part.tracker.clone()).collect();
            lines.push(format!(
                "if {} were good, {repaired} would be more than the master's {theirs}.",
                names.join(" and ")
            ));
        } else {
            lines.push(format!("{ours} is less than the master's {theirs}."));
        }
    } else if ours > theirs {
        lines.push(match (instance.preempt, instance.preempt_at) {
            (Some(false), _) => format!("{ours} is more than the master's {theirs}: nopreempt holds it back."),
            (_, Some(_)) => format!("{ours} is more than the master's {theirs}: preempt_delay holds it back."),
            (None, None) => {
                format!("{ours} is more than the master's {theirs}: nopreempt or a preempt delay holds it back.")
            }
            (Some(true), None) if instance.held_back_by.is_empty() => {
                format!("{ours} is more than the master's {theirs}: it takes over when its down timer ends.")
            }
            (Some(true), None) => format!("{ours} is more than the master's {theirs}: its sync group holds it back."),
        });
    } else {
        lines.push(
            "the priorities are equal: the master stays it, and only of two masters the one with the greater address does."
                .into(),
        );
    }
}

/// What would become of a master whose trackers all failed. A file does not fail, it says a number, and is left as it is.
fn if_all_failed(instance: &Instance) -> Option<String> {
    let parts = &instance.contributions;
    let all = if parts.iter().any(is_file) {
        "everything that is tracked failed, and the files stayed as they are"
    } else {
        "everything that is tracked failed"
    };
    if parts.iter().any(|part| if_it_were(part, false).fault) {
        return Some(format!("if {all}, it would be in FAULT."));
    }
    let worst = priority(instance, |part| if_it_were(part, false).amount);
    (worst < instance.effective_priority).then(|| format!("if {all}, the priority would be {worst}."))
}

/// The priority with other contributions.
fn priority(instance: &Instance, amount: impl Fn(&view::Contribution) -> i32) -> u8 {
    effective(Priority(instance.base_priority), instance.contributions.iter().map(amount)).0.0
}

fn is_file(part: &view::Contribution) -> bool {
    part.kind == "file"
}

/// What a tracker adds when it is good, or bad. A file stays as it is: what it would say is not known.
fn if_it_were(part: &view::Contribution, good: bool) -> Contribution {
    if is_file(part) {
        return Contribution { good: part.good, amount: part.amount, fault: part.fault, pending: false };
    }
    weigh(part.weight, part.reverse, Reading::Good(good))
}

/// Does it fail, and would the priority be greater if it did not?
fn costs(part: &view::Contribution) -> bool {
    part.good == Some(false) && if_it_were(part, true).amount > part.amount
}
