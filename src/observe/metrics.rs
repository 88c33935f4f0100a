//! OpenMetrics text (Prometheus) from a [`Snapshot`].
//!
//! Written by hand: a dozen families, and a scrape never touches the engine. Names begin with `vipd_`; the counters have
//! keepalived's names, so that a dashboard for a keepalived exporter needs another prefix and nothing else.

use super::describe;
use super::json;
use crate::spec::Spec;
use crate::vrrp::io::Role;
use crate::vrrp::snapshot::{InstanceView, Snapshot};
use std::fmt::Write as _;

/// What the process knows of itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Process {
    pub wakes: u64,
    pub late_sum_us: u64,
    pub late_max_us: u64,
    pub late_over_1ms: u64,
    pub log_lines_lost: u64,
}

struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# TYPE {name} {kind}\n# HELP {name} {help}\n");
    }
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        if !labels.is_empty() {
            let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}=\"{}\"", escaped(v))).collect();
            let _ = write!(self.0, "{{{}}}", labels.join(","));
        }
        let _ = writeln!(self.0, " {value}");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The exposition, with its end mark. `sessions`: that of the BFD sessions, which is put behind.
pub fn text(spec: &Spec, snapshot: &Snapshot, process: &Process, sessions: &str) -> String {
    let mut page = Page(String::new());
    page.family("vipd_build", "info", "Version of the daemon.");
    page.sample("vipd_build_info", &[("version", env!("CARGO_PKG_VERSION")), ("router_id", &spec.daemon.router_id)], 1);
    each(&mut page, snapshot, "vipd_vrrp_state", "State: 0 init, 1 backup, 2 master, 3 fault.", |v| {
        Some((v.state as u8).to_string())
    });
    each(&mut page, snapshot, "vipd_vrrp_wanted_state", "State that would be taken if nothing prevented it.", |v| {
        Some((v.wanted as u8).to_string())
    });
    each(&mut page, snapshot, "vipd_vrrp_owned", "1 when every claimed address is in place.", |v| {
        Some(u8::from(v.owned).to_string())
    });
    each(&mut page, snapshot, "vipd_vrrp_drained", "1 while drained by an operator.", |v| {
        Some(u8::from(v.drained).to_string())
    });
    each(&mut page, snapshot, "vipd_vrrp_priority", "Effective priority.", |v| Some(v.effective_priority.to_string()));
    each(&mut page, snapshot, "vipd_vrrp_base_priority", "Configured priority.", |v| Some(v.base_priority.to_string()));
    each(&mut page, snapshot, "vipd_vrrp_faults", "How many things keep it in FAULT.", |v| {
        Some(v.faults.len().to_string())
    });
    each(&mut page, snapshot, "vipd_vrrp_last_transition_seconds", "When the state was entered, Unix time.", |v| {
        Some(format!("{}.{:06}", v.since_unix_micros / 1_000_000, v.since_unix_micros % 1_000_000))
    });
    each(&mut page, snapshot, "vipd_vrrp_master_down_seconds", "How long a silent master is waited for.", |v| {
        Some(describe::short(v.master_down.as_secs_f64()))
    });
    counters(&mut page, snapshot);
    page.family("vipd_vrrp_group_state", "gauge", "State of a sync group.");
    for group in &snapshot.groups {
        page.sample("vipd_vrrp_group_state", &[("group", &group.name)], group.state as u8);
    }
    page.family("vipd_script_good", "gauge", "1 when a track script reports success.");
    for script in &snapshot.scripts {
        if let Some(good) = script.good {
            page.sample("vipd_script_good", &[("script", &script.name)], u8::from(good));
        }
    }
    page.family("vipd_tracker_value", "gauge", "Value of a tracked file or count of a tracked process.");
    for tracker in &snapshot.trackers {
        if let Some(value) = tracker.value {
            page.sample("vipd_tracker_value", &[("kind", tracker.kind), ("name", &tracker.name)], value);
        }
    }
    engine(&mut page, process);
    page.0.push_str(sessions);
    page.0.push_str("# EOF\n");
    page.0
}

fn labels(view: &InstanceView) -> [(&'static str, String); 4] {
    [
        ("instance", view.name.to_string()),
        ("interface", view.interface.as_deref().unwrap_or("").to_owned()),
        ("vrid", view.vrid.to_string()),
        ("family", view.family.to_string()),
    ]
}

fn each(page: &mut Page, snapshot: &Snapshot, name: &str, help: &str, value: fn(&InstanceView) -> Option<String>) {
    page.family(name, "gauge", help);
    for view in &snapshot.instances {
        if let Some(value) = value(view) {
            sample(page, name, view, &[], &value);
        }
    }
}

fn sample(page: &mut Page, name: &str, view: &InstanceView, more: &[(&str, &str)], value: &str) {
    let own = labels(view);
    let mut all: Vec<(&str, &str)> = own.iter().map(|(k, v)| (*k, v.as_str())).collect();
    all.extend_from_slice(more);
    page.sample(name, &all, value);
}

fn counters(page: &mut Page, snapshot: &Snapshot) {
    let names: Vec<&str> = json::numbers(&Default::default()).iter().map(|(name, _)| *name).collect();
    for (index, name) in names.iter().enumerate() {
        let family = format!("vipd_vrrp_{name}");
        page.family(&family, "counter", "As in keepalived's JSON.");
        for view in &snapshot.instances {
            if let Some((_, value)) = json::numbers(&view.counters).get(index) {
                sample(page, &format!("{family}_total"), view, &[], &value.to_string());
            }
        }
    }
    page.family("vipd_vrrp_refused", "counter", "Adverts that were not taken, by reason.");
    for view in &snapshot.instances {
        for (why, count) in &view.counters.refused {
            sample(page, "vipd_vrrp_refused_total", view, &[("reason", &reason(why))], &count.to_string());
        }
    }
    each(page, snapshot, "vipd_vrrp_refused_speakers", "Senders whose adverts are refused at present.", |view| {
        Some(view.refused_speakers.iter().filter(|speaker| speaker.current).count().to_string())
    });
    each(
        page,
        snapshot,
        "vipd_vrrp_rivals",
        "Others that speak as MASTER at present while this one is MASTER.",
        |view| Some(view.rivals.iter().filter(|rival| rival.current).count().to_string()),
    );
    each(
        page,
        snapshot,
        "vipd_vrrp_held_back",
        "1 while only other members of its sync group keep it from MASTER.",
        |view| Some(u8::from(!view.held_back_by.is_empty()).to_string()),
    );
    for (name, help, value) in [
        ("vipd_vrrp_announcements", "Gratuitous ARPs and neighbour advertisements.", 0),
        ("vipd_vrrp_healed", "Addresses put back after another program removed them.", 1),
    ] {
        page.family(name, "counter", help);
        for view in &snapshot.instances {
            let count = if value == 0 { view.counters.garps_sent } else { view.counters.healed };
            sample(page, &format!("{name}_total"), view, &[], &count.to_string());
        }
    }
    page.family("vipd_datagrams_refused", "counter", "Datagrams that belong to no instance, by reason.");
    for (why, count) in &snapshot.refused {
        page.sample("vipd_datagrams_refused_total", &[("reason", &reason(why))], count);
    }
    page.family("vipd_masters", "gauge", "Instances in MASTER state.");
    page.sample("vipd_masters", &[], snapshot.instances.iter().filter(|v| v.state == Role::Master).count());
}

fn reason(why: &crate::vrrp::io::Refusal) -> String {
    serde_json::to_value(why).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn engine(page: &mut Page, process: &Process) {
    page.family("vipd_engine_lateness_seconds", "summary", "Between a deadline and the moment it was acted on.");
    page.sample("vipd_engine_lateness_seconds_count", &[], process.wakes);
    page.sample("vipd_engine_lateness_seconds_sum", &[], micros(process.late_sum_us));
    page.family("vipd_engine_lateness_max_seconds", "gauge", "Greatest lateness since the start.");
    page.sample("vipd_engine_lateness_max_seconds", &[], micros(process.late_max_us));
    page.family("vipd_engine_late", "counter", "Deadlines acted on more than a millisecond late.");
    page.sample("vipd_engine_late_total", &[], process.late_over_1ms);
    page.family("vipd_log_lines_lost", "counter", "Log lines that did not fit into the queue.");
    page.sample("vipd_log_lines_lost_total", &[], process.log_lines_lost);
}

fn micros(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}
