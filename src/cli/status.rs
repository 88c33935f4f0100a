//! `vipctl status`: one line an instance, what is wrong, where the addresses are, then groups, scripts and other trackers,
//! and BFD sessions.

use super::alarms;
use super::clock;
use super::paint::Paint;
use super::table::Table;
use super::view::{Instance, Slept, Snapshot, span};

/// Addresses shown of one instance; more are counted.
const ADDRESSES: usize = 20;
/// So long after it, in seconds, it is shown that the daemon did not run.
const SLEPT_SHOWN: f64 = 3600.0;

/// Which part of a snapshot was asked for. Everything if both are empty.
#[derive(Clone, Debug, Default)]
pub struct Chosen<'a> {
    /// Instances or sync groups.
    pub names: &'a [String],
    pub address: Option<std::net::IpAddr>,
}

impl Chosen<'_> {
    fn is_all(&self) -> bool {
        self.names.is_empty() && self.address.is_none()
    }
    /// The instances meant. Errors: the name or address that nobody here has.
    pub fn instances<'s>(&self, snapshot: &'s Snapshot) -> Result<Vec<&'s Instance>, String> {
        for name in self.names {
            let known = snapshot.instances.iter().any(|i| i.name == *name)
                || snapshot.groups.iter().any(|group| group.name == *name);
            if !known {
                return Err(format!("there is no instance or group `{name}`"));
            }
        }
        let address = self.address.map(|address| address.to_string());
        let wanted = |instance: &&Instance| {
            let member = |name: &String| {
                instance.name == *name
                    || snapshot.group(name).is_some_and(|group| group.members.contains(&instance.name))
            };
            let named = self.names.is_empty() || self.names.iter().any(member);
            named && address.as_ref().is_none_or(|wanted| instance.addresses.iter().any(|a| a.address == *wanted))
        };
        let found: Vec<&Instance> = snapshot.instances.iter().filter(wanted).collect();
        match (found.is_empty(), self.address) {
            (true, Some(address)) => Err(format!("no instance here has the address {address}")),
            _ => Ok(found),
        }
    }
}

/// The whole answer of `vipctl status`, ready to be printed.
pub fn render(snapshot: &Snapshot, paint: Paint) -> String {
    let all: Vec<&Instance> = snapshot.instances.iter().collect();
    chosen(snapshot, &all, true, paint)
}

/// Of what was asked for.
///
/// # Errors
/// A name or an address that nobody here has.
pub fn render_chosen(snapshot: &Snapshot, which: &Chosen<'_>, paint: Paint) -> Result<String, String> {
    Ok(chosen(snapshot, &which.instances(snapshot)?, which.is_all(), paint))
}

fn chosen(snapshot: &Snapshot, instances: &[&Instance], whole: bool, paint: Paint) -> String {
    let mut out = String::new();
    if let Some(left) = snapshot.startup_delay_left.filter(|left| *left > 0.0) {
        out += &format!("{}\n\n", paint.careful(&format!("Start-up delay: {} left", span(left))));
    }
    if let Some(refused) = snapshot.reload.as_ref().filter(|reload| !reload.accepted) {
        let when = clock::local(refused.unix_micros, snapshot.unix_micros);
        let text =
            format!("The reload of {when} was refused, the configuration before it goes on: {}", refused.message);
        out += &format!("{}\n\n", paint.bad(&text));
    }
    if let Some(slept) = snapshot.slept.as_ref().filter(|slept| snapshot.ago(slept.until) < SLEPT_SHOWN) {
        out += &format!("{}\n\n", paint.careful(&format!("{}.", self::slept(snapshot, slept))));
    }
    for alarm in alarms::of_notifications(snapshot) {
        out += &format!("{} {}\n\n", paint.bad("notify:"), alarm.what);
    }
    if instances.is_empty() {
        out += "No VRRP instance is configured.\n";
    } else {
        out += &table(snapshot, instances, paint);
        for instance in instances {
            out += &format!("{}: {}\n", paint.strong(&instance.name), instance.reason(snapshot));
        }
        let mut wrong = String::new();
        for instance in instances {
            for alarm in alarms::of(snapshot, instance) {
                wrong += &format!("{} {}\n", paint.bad(&format!("{}:", instance.name)), alarm.what);
            }
        }
        if !wrong.is_empty() {
            out += &format!("\n{wrong}");
        }
        out += &addresses(instances, paint);
    }
    if !whole {
        return out;
    }
    if !snapshot.groups.is_empty() {
        let mut table = Table::new(&["GROUP", "STATE", "MEMBERS"]);
        for group in &snapshot.groups {
            table.row([paint.strong(&group.name), paint.state(&group.state), group.members.join(", ")]);
        }
        out += &format!("\n{}", table.render(paint));
    }
    if !snapshot.scripts.is_empty() || !snapshot.trackers.is_empty() {
        out += &format!("\n{}", trackers(snapshot, paint));
    }
    if !snapshot.sessions().is_empty() {
        out += &format!("\n{}", sessions(snapshot, paint));
    }
    out
}

fn table(snapshot: &Snapshot, instances: &[&Instance], paint: Paint) -> String {
    let mut table = Table::new(&["INSTANCE", "STATE", "INTERFACE", "VRID", "SINCE", "PRIORITY", "MASTER", "NEXT"]);
    for instance in instances {
        let link = instance.link.as_ref().or(instance.interface.as_ref());
        table.row([
            paint.strong(&instance.name),
            state(instance, paint),
            link.cloned().unwrap_or_default(),
            instance.vrid.to_string(),
            since(snapshot, instance),
            instance.sum(),
            master(snapshot, instance),
            next(snapshot, instance),
        ]);
    }
    table.render(paint)
}

/// Where the virtual addresses are; nothing if the daemon does not say.
fn addresses(instances: &[&Instance], paint: Paint) -> String {
    let mut table = Table::new(&["ADDRESS", "INSTANCE", "INTERFACE", "HERE"]);
    let mut rows = 0;
    for instance in instances {
        let master = instance.state == "MASTER";
        for address in instance.addresses.iter().take(ADDRESSES) {
            rows += 1;
            let here = match (master, address.on.as_deref()) {
                (_, None) => "unknown".to_owned(),
                (true, Some([])) => paint.bad("missing"),
                (true, Some(_)) => paint.good("held"),
                (false, Some([])) => "no".to_owned(),
                (false, Some(on)) => paint.bad(&format!("here although {} (on {})", instance.state, on.join(", "))),
            };
            let name = format!("{}/{}", address.address, address.prefix);
            table.row([paint.strong(&name), instance.name.clone(), address.interface.clone(), here]);
        }
        if let Some(more) = instance.addresses.len().checked_sub(ADDRESSES).filter(|more| *more > 0) {
            let here = instance.addresses.iter().skip(ADDRESSES).filter(|a| a.is_here() == Some(true)).count();
            table.row([
                format!("and {more} more"),
                instance.name.clone(),
                String::new(),
                format!("{here} of them here"),
            ]);
        }
    }
    if rows == 0 { String::new() } else { format!("\n{}", table.render(paint)) }
}

fn trackers(snapshot: &Snapshot, paint: Paint) -> String {
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
        // Whether a number is good depends on each instance's weight, and stands in its sum.
        let health = match tracker.value {
            Some(_) if tracker.kind == "file" => String::new(),
            _ => health(tracker.good, paint),
        };
        table.row([paint.strong(&tracker.name), tracker.kind.clone(), health, value]);
    }
    table.render(paint)
}

fn sessions(snapshot: &Snapshot, paint: Paint) -> String {
    let mut table = Table::new(&["SESSION", "NEIGHBOR", "STATE", "SINCE", "DETECTION", "WHY"]);
    for session in snapshot.sessions() {
        let mut state = match session.state.as_str() {
            "Up" => paint.good("Up"),
            "AdminDown" => paint.careful("AdminDown"),
            other => paint.bad(other),
        };
        if session.level.held.is_some() {
            state += &paint.careful(if session.level.up { " (counts as up)" } else { " (counts as down)" });
        }
        let detection = if session.detection_time > 0.0 { span(session.detection_time) } else { String::new() };
        table.row([
            paint.strong(&session.name),
            session.neighbor.clone(),
            state,
            span(snapshot.ago(session.since)),
            detection,
            session.reason.clone(),
        ]);
    }
    table.render(paint)
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

/// That the daemon did not run, and what to look for.
pub fn slept(snapshot: &Snapshot, slept: &Slept) -> String {
    format!(
        "The daemon did not run for {}, until {} ago: something stopped it (a signal, a debugger) or the machine (a suspended or \
         moved VM), or it had no processor time; another router may have been MASTER meanwhile",
        span(slept.by),
        span(snapshot.ago(slept.until))
    )
}

/// Who is master as far as this server knows.
pub fn master(snapshot: &Snapshot, instance: &Instance) -> String {
    match &instance.master {
        None => "nobody heard".into(),
        Some(master) if master.ourselves => match instance.rivals_now().next() {
            Some(rival) => format!("this server, and {} too", rival.address),
            None => "this server".into(),
        },
        Some(master) => {
            let address = master.address.as_deref().unwrap_or("?");
            match master.last_heard {
                Some(at) if master.silent => {
                    format!("nobody heard; {address} has been silent for {}", span(snapshot.ago(at)))
                }
                Some(at) => format!("{address}, priority {}, heard {} ago", master.priority, span(snapshot.ago(at))),
                None => format!("{address}, priority {}", master.priority),
            }
        }
    }
}

/// What happens next if nothing else does.
pub fn next(snapshot: &Snapshot, instance: &Instance) -> String {
    if !instance.held_back_by.is_empty() {
        return format!("waits for {} of its group", instance.held_back_by.join(" and "));
    }
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
