//! `vipctl status`: one line an instance, then groups, scripts and other trackers.

use super::clock;
use super::paint::Paint;
use super::table::Table;
use super::view::{Instance, Snapshot, span};

/// The whole answer of `vipctl status`, ready to be printed.
pub fn render(snapshot: &Snapshot, paint: Paint) -> String {
    let mut out = String::new();
    if let Some(left) = snapshot.startup_delay_left.filter(|left| *left > 0.0) {
        out += &format!("{}\n\n", paint.careful(&format!("Start-up delay: {} left", span(left))));
    }
    if snapshot.instances.is_empty() {
        out += "No VRRP instance is configured.\n";
    } else {
        let mut table = Table::new(&["INSTANCE", "STATE", "SINCE", "PRIORITY", "MASTER", "NEXT"]);
        for instance in &snapshot.instances {
            table.row([
                paint.strong(&instance.name),
                state(instance, paint),
                since(snapshot, instance),
                instance.sum(),
                master(snapshot, instance),
                next(snapshot, instance),
            ]);
        }
        out += &table.render(paint);
        for instance in &snapshot.instances {
            out += &format!("{}: {}\n", paint.strong(&instance.name), instance.reason());
        }
    }
    if !snapshot.groups.is_empty() {
        let mut table = Table::new(&["GROUP", "STATE", "MEMBERS"]);
        for group in &snapshot.groups {
            table.row([paint.strong(&group.name), paint.state(&group.state), group.members.join(", ")]);
        }
        out += &format!("\n{}", table.render(paint));
    }
    if !snapshot.scripts.is_empty() || !snapshot.trackers.is_empty() {
        let mut table = Table::new(&["TRACKER", "KIND", "HEALTH", "LAST"]);
        for script in &snapshot.scripts {
            let last = match (&script.last_exit, script.last_started) {
                _ if script.running => "running".to_owned(),
                (Some(exit), Some(at)) => {
                    format!("{}, started {} ago", super::view::exit(exit), span(snapshot.ago(at)))
                }
                (Some(exit), None) => super::view::exit(exit),
                _ => "has not run".to_owned(),
            };
            table.row([paint.strong(&script.name), "script".into(), health(script.good, paint), last]);
        }
        for tracker in &snapshot.trackers {
            let value = tracker.value.map_or_else(String::new, |v| v.to_string());
            table.row([paint.strong(&tracker.name), tracker.kind.clone(), health(tracker.good, paint), value]);
        }
        out += &format!("\n{}", table.render(paint));
    }
    out
}

fn state(instance: &Instance, paint: Paint) -> String {
    let mut text = paint.state(&instance.state);
    if instance.drained {
        text += &paint.careful(" (drained)");
    } else if instance.state == "MASTER" && !instance.owned {
        text += &paint.careful(" (addresses not there yet)");
    }
    text
}

fn since(snapshot: &Snapshot, instance: &Instance) -> String {
    let length = span(snapshot.ago(instance.since));
    let wall = clock::local(instance.since_unix_micros, snapshot.unix_micros);
    if wall.is_empty() { length } else { format!("{wall} ({length})") }
}

/// Who is master as far as this server knows.
pub fn master(snapshot: &Snapshot, instance: &Instance) -> String {
    match &instance.master {
        None => "nobody heard".into(),
        Some(master) if master.ourselves => "this server".into(),
        Some(master) => {
            let address = master.address.as_deref().unwrap_or("?");
            let heard =
                master.last_heard.map_or_else(String::new, |at| format!(", heard {} ago", span(snapshot.ago(at))));
            format!("{address}, priority {}{heard}", master.priority)
        }
    }
}

/// What happens next if nothing else does.
pub fn next(snapshot: &Snapshot, instance: &Instance) -> String {
    instance
        .next
        .as_ref()
        .map_or_else(String::new, |next| format!("in {}: {}", span(snapshot.until(next.at)), next.what))
}

fn health(good: Option<bool>, paint: Paint) -> String {
    match good {
        Some(true) => paint.good("good"),
        Some(false) => paint.bad("bad"),
        None => paint.dim("unknown"),
    }
}
