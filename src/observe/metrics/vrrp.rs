//! Families of virtual routers, sync groups and what they track.

use super::Sources;
use super::page::{Labels, Micros, Page};
use crate::observe::json;
use crate::spec::InstanceSpec;
use crate::time::Time;
use crate::vrrp::io::{Refusal, Role};
use crate::vrrp::snapshot::{InstanceView, Snapshot};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::IpAddr;

/// An instance with the labels that all its samples have. Not `instance`: that is Prometheus' word for what it scrapes.
struct Row<'a> {
    view: &'a InstanceView,
    labels: Labels,
}

type Rows<'a> = [Row<'a>];

pub(super) fn families(page: &mut Page, sources: &Sources<'_>) {
    let snapshot = sources.snapshot;
    let rows: Vec<Row<'_>> = snapshot.instances.iter().map(|view| row(view)).collect();
    states(page, &rows);
    addresses(page, &rows, sources);
    times(page, &rows, snapshot);
    transitions(page, &rows, sources);
    counters(page, &rows);
    others(page, &rows, snapshot);
    groups(page, snapshot);
    tracked(page, sources);
}

fn row(view: &InstanceView) -> Row<'_> {
    let interface = view.interface.as_deref().unwrap_or("");
    let labels = Labels::new(&[
        ("vrrp_instance", &view.name),
        ("interface", &interface),
        ("vrid", &view.vrid),
        ("family", &view.family),
    ]);
    Row { view, labels }
}

/// A gauge with a sample for each instance that has a value.
fn gauge<V: Display>(
    page: &mut Page,
    rows: &Rows<'_>,
    name: &str,
    help: &str,
    value: impl Fn(&InstanceView) -> Option<V>,
) {
    page.gauge(name, help);
    for row in rows {
        if let Some(value) = value(row.view) {
            page.sample(&row.labels, value);
        }
    }
}

fn counter(page: &mut Page, rows: &Rows<'_>, name: &str, help: &str, value: impl Fn(&InstanceView) -> u64) {
    page.counter(name, help);
    for row in rows {
        page.sample(&row.labels, value(row.view));
    }
}

fn states(page: &mut Page, rows: &Rows<'_>) {
    gauge(page, rows, "vipd_vrrp_state", "State of the instance: 0 INIT, 1 BACKUP, 2 MASTER, 3 FAULT.", |v| {
        Some(v.state as u8)
    });
    gauge(
        page,
        rows,
        "vipd_vrrp_wanted_state",
        "State that the instance would be in if its sync group did not keep it from it, in the numbers of vipd_vrrp_state.",
        |v| Some(v.wanted as u8),
    );
    gauge(
        page,
        rows,
        "vipd_vrrp_owned",
        "1 while everything that a MASTER owns (addresses, routes, rules) is in place.",
        |v| Some(u8::from(v.owned && v.lacking.is_none())),
    );
    gauge(
        page,
        rows,
        "vipd_vrrp_drained",
        "1 while an operator keeps the instance from being MASTER (vipctl drain).",
        |v| Some(u8::from(v.drained)),
    );
    gauge(
        page,
        rows,
        "vipd_vrrp_held_back",
        "1 while only other members of its sync group keep it from MASTER.",
        |v| Some(u8::from(!v.held_back_by.is_empty())),
    );
    gauge(
        page,
        rows,
        "vipd_vrrp_faults",
        "How many things keep the instance in FAULT; vipctl explain names them.",
        |v| Some(v.faults.len()),
    );
    gauge(
        page,
        rows,
        "vipd_vrrp_priority",
        "Priority in adverts now, 0 to 255: base priority and weights of trackers.",
        |v| Some(v.effective_priority),
    );
    gauge(page, rows, "vipd_vrrp_base_priority", "Priority as configured, 1 to 255.", |v| Some(v.base_priority));
}

fn addresses(page: &mut Page, rows: &Rows<'_>, sources: &Sources<'_>) {
    let here = sources.present.map(|present| present.iter().map(|(_, address)| *address).collect::<BTreeSet<IpAddr>>());
    page.gauge(
        "vipd_vrrp_address_held",
        "1 while the virtual address is on an interface of this server, as the kernel says; its sum over all servers is 1.",
    );
    for (row, of) in rows.iter().zip(&sources.spec.instances) {
        for address in names(of) {
            let held = here.as_ref().map_or(row.view.owned, |here| here.contains(&address));
            page.sample(&row.labels.and(&[("address", &address)]), u8::from(held));
        }
    }
    page.info(
        "vipd_vrrp_master_info",
        "Who is MASTER as far as this server knows, by the address that its adverts come from.",
    );
    for row in rows {
        let Some(master) = row.view.master.as_ref().filter(|master| !master.silent) else { continue };
        let address = if master.ourselves { row.view.source } else { master.address };
        if let Some(address) = address {
            page.sample(&row.labels.and(&[("master", &address)]), 1);
        }
    }
    gauge(page, rows, "vipd_vrrp_master_priority", "Priority of the MASTER that vipd_vrrp_master_info names.", |v| {
        v.master.as_ref().filter(|master| !master.silent).map(|master| master.priority)
    });
}

/// The addresses of an instance, each once: two samples with the same labels would spoil the page.
fn names(of: &InstanceSpec) -> BTreeSet<IpAddr> {
    of.claim.addresses.iter().map(|item| item.address).collect()
}

/// Wall clock of a moment of the engine's clock.
fn unix(snapshot: &Snapshot, at: Time) -> Option<Micros> {
    (snapshot.unix_micros > 0).then(|| Micros(snapshot.unix_micros.saturating_sub(snapshot.now.since(at).as_micros())))
}

fn times(page: &mut Page, rows: &Rows<'_>, snapshot: &Snapshot) {
    gauge(
        page,
        rows,
        "vipd_vrrp_last_transition_timestamp_seconds",
        "When the instance entered its present state, Unix time.",
        |v| (v.since_unix_micros > 0).then_some(Micros(v.since_unix_micros)),
    );
    gauge(
        page,
        rows,
        "vipd_vrrp_last_advert_received_timestamp_seconds",
        "When the last advert of another MASTER was taken, Unix time.",
        |v| {
            let master = v.master.as_ref().filter(|master| !master.ourselves)?;
            unix(snapshot, master.last_heard?)
        },
    );
    gauge(
        page,
        rows,
        "vipd_vrrp_last_advert_sent_timestamp_seconds",
        "When the last advert was sent, Unix time.",
        |v| unix(snapshot, v.last_advert_sent?),
    );
    gauge(page, rows, "vipd_vrrp_advert_interval_seconds", "Time between adverts that is in force.", |v| {
        Some(Micros(v.master_interval.as_micros()))
    });
    gauge(
        page,
        rows,
        "vipd_vrrp_master_down_interval_seconds",
        "How long a BACKUP waits for a silent MASTER before it takes over.",
        |v| Some(Micros(v.master_down.as_micros())),
    );
}

fn transitions(page: &mut Page, rows: &Rows<'_>, sources: &Sources<'_>) {
    page.counter(
        "vipd_vrrp_transitions_total",
        "Changes of state since the start of the program, by the state entered.",
    );
    for row in rows {
        let entered = sources.process.counts.entered.get(&row.view.name).copied().unwrap_or_default();
        for role in [Role::Backup, Role::Master, Role::Fault] {
            let count = entered.get(role as usize).copied().unwrap_or_default();
            page.sample(&row.labels.and(&[("to", &role.word().to_ascii_lowercase())]), count);
        }
    }
}

/// What the counters of keepalived's dump, JSON and MIB mean, in the order in which [`json::numbers`] has them.
fn meaning(name: &str) -> &'static str {
    match name {
        "advert_rcvd" => "Adverts received for this VRID.",
        "advert_sent" => "Adverts sent.",
        "become_master" => "Times that the instance became MASTER.",
        "release_master" => "Times that the instance stopped being MASTER.",
        "packet_len_err" => "Adverts refused because their length does not fit their contents.",
        "advert_interval_err" => "Adverts refused because their interval is not the configured one.",
        "ip_ttl_err" => {
            "Adverts refused because their TTL or hop limit is not 255: they may come from another network."
        }
        "invalid_type_rcvd" => "Packets refused because their VRRP type is not that of an advert.",
        "addr_list_err" => "Adverts whose virtual addresses are not the configured ones.",
        "invalid_authtype" => "Adverts refused because their type of authentication is not known.",
        "authtype_mismatch" => "Adverts refused because their type of authentication is not the configured one.",
        "auth_failure" => "Adverts refused because their password or key is not the configured one.",
        "auth_ext_missing" => "Adverts refused because they have no HMAC although one is configured.",
        "auth_ext_malformed" => "Adverts refused because the HMAC extension in them cannot be read.",
        "auth_ext_unknown_key" => "Adverts refused because their HMAC names a key that is not configured.",
        "auth_ext_invalid_hmac" => "Adverts refused because their HMAC is wrong.",
        "auth_ext_stale" => "Adverts refused because the time in their HMAC extension is too far from ours.",
        "auth_ext_replay" => "Adverts refused because they had been heard before.",
        "pri_zero_rcvd" => "Adverts of priority 0 received: a MASTER left.",
        "pri_zero_sent" => "Adverts of priority 0 sent: this server left.",
        _ => "",
    }
}

fn counters(page: &mut Page, rows: &Rows<'_>) {
    for (index, (name, _)) in json::numbers(&Default::default()).iter().enumerate() {
        page.counter(&format!("vipd_vrrp_{name}_total"), meaning(name));
        for row in rows {
            if let Some((_, value)) = json::numbers(&row.view.counters).get(index) {
                page.sample(&row.labels, value);
            }
        }
    }
    counter(
        page,
        rows,
        "vipd_vrrp_announcements_total",
        "Gratuitous ARPs and unsolicited neighbour advertisements sent.",
        |v| v.counters.garps_sent,
    );
    counter(
        page,
        rows,
        "vipd_vrrp_healed_total",
        "Times that another program took something of a MASTER away and it was put back.",
        |v| v.counters.healed,
    );
    counter(
        page,
        rows,
        "vipd_vrrp_swept_total",
        "Times that something of a MASTER was removed because the instance was none.",
        |v| v.counters.swept,
    );
}

fn others(page: &mut Page, rows: &Rows<'_>, snapshot: &Snapshot) {
    page.counter("vipd_vrrp_refused_total", "Adverts for this instance that were refused, by reason.");
    for row in rows {
        for (why, count) in &row.view.counters.refused {
            page.sample(&row.labels.and(&[("reason", &word(why))]), count);
        }
    }
    gauge(
        page,
        rows,
        "vipd_vrrp_refused_speakers",
        "Routers whose adverts are refused at present; vipctl status names them.",
        |v| Some(v.refused_speakers.iter().filter(|speaker| speaker.current).count()),
    );
    gauge(
        page,
        rows,
        "vipd_vrrp_rivals",
        "Other routers that speak as MASTER at present while this one is MASTER too.",
        |v| Some(v.rivals.iter().filter(|rival| rival.current).count()),
    );
    page.counter("vipd_datagrams_refused_total", "VRRP packets that belong to no instance here, by reason.");
    for (why, count) in &snapshot.refused {
        page.sample(&Labels::new(&[("reason", &word(why))]), count);
    }
    page.gauge("vipd_strangers", "Routers heard lately with a VRID that no instance here has.");
    page.only(Some(snapshot.strangers.iter().filter(|speaker| speaker.current).count()));
}

/// A reason as JSON has it.
fn word(why: &Refusal) -> String {
    serde_json::to_value(why).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn groups(page: &mut Page, snapshot: &Snapshot) {
    page.gauge("vipd_vrrp_group_state", "State of the sync group, in the numbers of vipd_vrrp_state.");
    for group in &snapshot.groups {
        page.sample(&Labels::new(&[("group", &group.name)]), group.state as u8);
    }
}

fn tracked(page: &mut Page, sources: &Sources<'_>) {
    let snapshot = sources.snapshot;
    let scripts: Vec<_> = snapshot.scripts.iter().map(|view| (view, Labels::new(&[("script", &view.name)]))).collect();
    page.gauge(
        "vipd_script_good",
        "1 while the track script counts as successful, after rise and fall; absent before its first result.",
    );
    for (view, labels) in &scripts {
        if let Some(good) = view.good {
            page.sample(labels, u8::from(good));
        }
    }
    page.gauge("vipd_script_last_start_timestamp_seconds", "When the track script was last started, Unix time.");
    for (view, labels) in &scripts {
        if let Some(at) = view.last_started.and_then(|at| unix(snapshot, at)) {
            page.sample(labels, at);
        }
    }
    page.summary("vipd_script_duration_seconds", "How long runs of the track script took, from start to end.");
    for (view, labels) in &scripts {
        let runs = sources.process.counts.scripts.get(&view.name).copied().unwrap_or_default();
        page.part("_sum", labels, Micros(runs.sum_us));
        page.part("_count", labels, runs.count);
    }
    page.gauge("vipd_script_last_duration_seconds", "How long the last run of the track script took.");
    for (view, labels) in &scripts {
        if let Some(runs) = sources.process.counts.scripts.get(&view.name).filter(|runs| runs.count > 0) {
            page.sample(labels, Micros(runs.last_us));
        }
    }
    let trackers: Vec<_> = snapshot
        .trackers
        .iter()
        .map(|view| (view, Labels::new(&[("kind", &view.kind), ("name", &view.name)])))
        .collect();
    page.gauge("vipd_tracker_value", "Number in a tracked file, or how many processes are counted.");
    for (view, labels) in &trackers {
        if let Some(value) = view.value {
            page.sample(labels, value);
        }
    }
    page.gauge("vipd_tracker_good", "1 while the tracked file, process or BFD session counts as good.");
    for (view, labels) in &trackers {
        if let Some(good) = view.good {
            page.sample(labels, u8::from(good));
        }
    }
}
