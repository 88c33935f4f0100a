//! The page of metrics: its form, in both formats, by Prometheus' own checker; what stands in it; and that the rules, the
//! dashboard and the documentation of the monitoring kit ask for metrics that there are.

use crate::ground::{GOLDEN_CONF, engine, spec};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use vipd::balance::io::{DestinationTraffic, ServiceKey, ServiceTraffic, Stats, Traffic};
use vipd::daemon::MetricsPlace;
use vipd::observe::metrics::{Format, LATENESS_BOUNDS, Names, Process, Sources, text};
use vipd::observe::tally::Underway;
use vipd::observe::{Hub, Tally, Wishes, json};
use vipd::spec::balance::Protocol;
use vipd::spec::{Attempt, InstanceId, Spec};
use vipd::time::Interval;
use vipd::vrrp::io::{Cause, Event, Input, Outcome, Role};
use vipd::vrrp::snapshot::Snapshot;

struct Page {
    spec: Arc<Spec>,
    snapshot: Snapshot,
    sessions: vipd::bfd::snapshot::Snapshot,
    services: vipd::balance::snapshot::Snapshot,
    traffic: Traffic,
    present: Vec<(String, IpAddr)>,
    process: Process,
}

impl Page {
    /// An engine that owns what it claims, a BFD session, and counts.
    fn new() -> Page {
        // Its own instance is in a group, where scripts do not count.
        let spec = spec(&GOLDEN_CONF.replace("priority 90", "priority 90\n  track_script { chk }"));
        let (mut engine, now) = engine(&spec, 6);
        for instance in 0..spec.instances.len() as u32 {
            engine.handle(Input::Applied { instance: InstanceId(instance), outcome: Outcome::Complete }, now);
        }
        let snapshot = engine.snapshot(now);
        let sessions = sessions();
        let mut process = Process::default();
        process.engine.buckets[0] = 7;
        process.engine.buckets[LATENESS_BOUNDS.len()] = 1;
        process.engine.sum_us = 2_000_001;
        let tally = Tally::default();
        tally.in_force(1_795_215_445_229_559, false);
        tally.reload_refused();
        tally.notified(true);
        tally.notified(false);
        tally.mailed(false);
        tally.notify_waits();
        tally.notify_waits();
        let underway = Underway {
            of: "A".into(),
            event: "MASTER".into(),
            program: "/n".into(),
            pid: 7,
            since: now.before(Interval::from_secs(5)),
        };
        tally.notify_began(Attempt(1), Some(underway));
        tally.fifo_line("/run/f", 1);
        tally.fifo_line("/run/f", 1);
        for took in [250, 750] {
            tally.script("chk", vipd::time::Interval::from_millis(took));
        }
        let mut hub = Hub::new(vec![Box::new(tally.clone())]);
        hub.reconfigure(spec.clone(), &snapshot);
        let event =
            Event::Became { instance: InstanceId(0), from: Role::Backup, to: Role::Master, why: Cause::MasterSilent };
        hub.event(&event, 0, &mut Wishes::default());
        process.counts = tally.read();
        process.usage.open_descriptors = Some(9);
        process.usage.cpu_seconds = Some(0.25);
        let present = vec![("eth0".to_owned(), "10.9.0.10".parse().unwrap())];
        Page { spec, snapshot, sessions, services: services(), traffic: traffic(), present, process }
    }

    fn text(&self, names: Names, format: Format) -> String {
        let sources = Sources {
            spec: &self.spec,
            snapshot: &self.snapshot,
            sessions: Some(&self.sessions),
            services: Some(&self.services),
            traffic: Some(&self.traffic),
            present: Some(&self.present),
            process: &self.process,
        };
        text(&sources, names, format)
    }
}

/// One session, as an engine has it that has heard nobody.
fn sessions() -> vipd::bfd::snapshot::Snapshot {
    let text = "bfd_instance gw {\n neighbor_ip 10.9.0.254\n source_ip 10.9.0.1\n}\n";
    let spec = spec(&format!("{text}{GOLDEN_CONF}"));
    let now = vipd::time::Time::from_micros(1_000_000);
    let world = vipd::bfd::io::Beginning { seed: 1, links: None, now };
    vipd::bfd::Engine::begin(&spec.sessions, world).snapshot(now)
}

/// A virtual server of two real servers, before any check; one of the two is there twice.
fn services() -> vipd::balance::snapshot::Snapshot {
    let server = |address: &str| format!(" real_server {address} 80 {{\n  weight 3\n  TCP_CHECK {{\n  }}\n }}\n");
    let servers = ["10.1.0.2", "10.1.0.3", "10.1.0.2"].map(server).concat();
    let spec = spec(&format!("virtual_server 10.9.0.10 80 {{\n protocol TCP\n{servers}}}\n{GOLDEN_CONF}"));
    let world = vipd::balance::io::Beginning::default();
    let now = vipd::time::Time::from_micros(1_000_000);
    vipd::balance::Balancer::begin(spec.balance.clone(), world, 1, now).snapshot(now)
}

/// What a kernel may have counted of it.
fn traffic() -> Traffic {
    let stats = Stats { connections: 12, bytes_in: 5_000, connection_rate: 2, ..Stats::default() };
    let destination = DestinationTraffic { weight: 3, active: 4, stats, ..DestinationTraffic::default() };
    let key = ServiceKey::Address { protocol: Protocol::Tcp, address: "10.9.0.10".parse().unwrap(), port: 80 };
    let destinations = [(("10.1.0.2".parse().unwrap(), 80), destination)].into();
    Traffic { services: [(key, ServiceTraffic { stats, destinations })].into() }
}

/// Family → kind, as declared.
fn declared(page: &str) -> BTreeMap<String, String> {
    let lines = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    lines.map(|line| line.split_once(' ').unwrap()).map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

/// Every sample belongs to the family above it, has a number, and is there once; every family is declared once, in whole.
fn well_formed(page: &str, format: Format) {
    let (mut family, mut kind) = (String::new(), String::new());
    let (mut families, mut series) = (BTreeSet::new(), BTreeSet::new());
    for line in page.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(help.len() > 10 && help.ends_with('.') && !help.contains('"'), "{line}");
            assert!(!help.contains("keepalived's JSON") || name.starts_with("keepalived_"), "{line}");
            assert!(families.insert(name.to_owned()), "{name} is declared twice");
            family = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, word) = rest.split_once(' ').unwrap();
            assert_eq!(name, family, "TYPE without its HELP");
            kind = word.to_owned();
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(series.insert(sample.to_owned()), "{sample} is there twice");
            let name = sample.split('{').next().unwrap();
            let suffixes: &[&str] = match (&*kind, format) {
                ("counter", Format::OpenMetrics) => &["_total"],
                ("info", _) => &["_info"],
                ("histogram", _) => &["_bucket", "_sum", "_count"],
                ("summary", _) => &["_sum", "_count"],
                _ => &[""],
            };
            let fits = suffixes.iter().any(|suffix| name == format!("{family}{suffix}"));
            assert!(fits, "{line} does not belong to the {kind} {family}");
        }
    }
    assert!(families.len() > 50, "{families:?}");
}

#[test]
fn a_page_is_well_formed_in_both_formats() {
    let page = Page::new();
    for names in [Names::Vipd, Names::Exporters, Names::Both] {
        let text = page.text(names, Format::Text);
        if names != Names::Exporters {
            well_formed(&text, Format::Text);
        }
        assert!(!text.contains("# EOF"));
    }
    let open = page.text(Names::Vipd, Format::OpenMetrics);
    well_formed(&open, Format::OpenMetrics);
    assert!(open.ends_with("# EOF\n"));
    // The exporters' counters without `_total` are not allowed there: everybody gets text.
    assert_eq!(page.text(Names::Both, Format::OpenMetrics), page.text(Names::Both, Format::Text));
    // The samples are the same.
    let samples =
        |text: &str| -> Vec<String> { text.lines().filter(|l| !l.starts_with('#')).map(str::to_owned).collect() };
    assert_eq!(samples(&open), samples(&page.text(Names::Vipd, Format::Text)));
}

/// The numbers that people ask for first.
#[test]
fn a_page_says_who_holds_what_and_since_when() {
    let page = Page::new().text(Names::Vipd, Format::Text);
    let has = |line: &str| assert!(page.lines().any(|known| known == line), "no {line} in\n{page}");
    let own = "vrrp_instance=\"V6\",interface=\"eth0\",vrid=\"54\",family=\"IPv6\"";
    has(&format!("vipd_vrrp_state{{{own}}} 2"));
    let first = "vrrp_instance=\"VI_1\",interface=\"eth0\",vrid=\"51\",family=\"IPv4\"";
    has(&format!("vipd_vrrp_address_held{{{first},address=\"10.9.0.10\"}} 1"));
    has(&format!("vipd_vrrp_address_held{{{first},address=\"10.9.0.11\"}} 0"));
    has(&format!("vipd_vrrp_transitions_total{{{first},to=\"master\"}} 1"));
    has(&format!("vipd_vrrp_transitions_total{{{first},to=\"fault\"}} 0"));
    assert!(page.contains(&format!("vipd_vrrp_last_transition_timestamp_seconds{{{own}}} 17952154")), "{page}");
    assert!(page.contains(&format!("vipd_vrrp_last_advert_sent_timestamp_seconds{{{own}}} 17952154")), "{page}");
    assert!(page.contains(&format!("vipd_vrrp_master_info{{{own},master=\"fe80::1\"}} 1")), "{page}");
    has("vipd_config_last_reload_successful 0");
    has("vipd_config_last_reload_success_timestamp_seconds 1795215445.229559");
    has("vipd_config_reloads_total{outcome=\"refused\"} 1");
    has("vipd_notify_runs_total{outcome=\"failed\"} 1");
    has("vipd_notify_running 1");
    has("vipd_notify_waiting 1");
    has("vipd_notify_longest_seconds 5.000000");
    has("vipd_notify_fifo_lines_lost_total 2");
    has("vipd_mails_total{outcome=\"failed\"} 1");
    has("vipd_script_duration_seconds_sum{script=\"chk\"} 1.000000");
    has("vipd_script_duration_seconds_count{script=\"chk\"} 2");
    has("vipd_script_last_duration_seconds{script=\"chk\"} 0.750000");
    has("vipd_engine_lateness_seconds_bucket{le=\"0.0001\"} 7");
    has("vipd_engine_lateness_seconds_bucket{le=\"1.0\"} 7");
    has("vipd_engine_lateness_seconds_bucket{le=\"+Inf\"} 8");
    has("vipd_engine_lateness_seconds_count 8");
    has("process_open_fds 9");
    let service = "virtual_server=\"[10.9.0.10]:tcp:80\",protocol=\"tcp\"";
    has(&format!("vipd_virtual_server_sorry{{{service}}} 0"));
    has(&format!("vipd_real_server_weight{{{service},real_server=\"[10.1.0.2]:tcp:80\"}} 3"));
    has(&format!("vipd_virtual_server_real_servers_up{{{service}}} 2"));
    has(&format!("vipd_virtual_server_connections_total{{{service}}} 12"));
    let server = format!("{service},real_server=\"[10.1.0.2]:tcp:80\"");
    has(&format!("vipd_real_server_active_connections{{{server}}} 4"));
    has(&format!("vipd_real_server_connection_rate{{{server}}} 2"));
    has(&format!("vipd_real_server_checks_total{{{server},check=\"TCP_CHECK\",result=\"good\"}} 0"));
    has("vipd_bfd_up{session=\"gw\",neighbor=\"10.9.0.254\"} 0");
    // Prometheus renames a label `instance` to `exported_instance`.
    assert!(!page.contains("{instance=") && !page.contains(",instance="));
}

#[test]
fn a_client_gets_the_format_that_it_prefers() {
    for (accept, format) in [
        ("", Format::Text),
        ("*/*", Format::Text),
        ("text/plain", Format::Text),
        ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Text),
        // Prometheus 2.42, and one told to take text only.
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            Format::OpenMetrics,
        ),
        ("text/plain;version=0.0.4;q=1,*/*;q=0.1", Format::Text),
        ("text/plain;version=0.0.4, application/openmetrics-text; version=1.0.0; q=0.4", Format::Text),
        ("application/openmetrics-text;q=0", Format::Text),
        ("application/openmetrics-text;q=rubbish", Format::Text),
        ("Application/OpenMetrics-Text", Format::OpenMetrics),
    ] {
        assert_eq!(Format::accepted(accept), format, "{accept}");
    }
}

#[test]
fn a_place_for_metrics_is_an_address_or_a_path() {
    assert_eq!("127.0.0.1:9650".parse(), Ok(MetricsPlace::Address("127.0.0.1:9650".parse().unwrap())));
    assert_eq!("unix:/run/m.sock".parse(), Ok(MetricsPlace::Path("/run/m.sock".into())));
    for wrong in ["", "unix:", "9650", "localhost:9650", "/run/m.sock"] {
        assert!(wrong.parse::<MetricsPlace>().is_err(), "{wrong}");
    }
}

/// What mehdy/keepalived-exporter's dashboard (grafana/dashboards/keepalived-exporter.json) asks for, apart from the
/// exporter's own script, and what gen2brain/keepalived_exporter documents.
const ASKED: [&str; 33] = [
    "keepalived_up",
    "keepalived_vrrp_state",
    "keepalived_script_state",
    "keepalived_script_status",
    "keepalived_address_list_errors_total",
    "keepalived_advertisements_interval_errors_total",
    "keepalived_advertisements_received_total",
    "keepalived_advertisements_sent_total",
    "keepalived_authentication_failure_total",
    "keepalived_authentication_invalid_total",
    "keepalived_authentication_mismatch_total",
    "keepalived_become_master_total",
    "keepalived_gratuitous_arp_delay_total",
    "keepalived_invalid_type_received_total",
    "keepalived_ip_ttl_errors_total",
    "keepalived_packet_length_errors_total",
    "keepalived_priority_zero_received_total",
    "keepalived_priority_zero_sent_total",
    "keepalived_release_master_total",
    "keepalived_vrrp_advert_rcvd",
    "keepalived_vrrp_advert_sent",
    "keepalived_vrrp_become_master",
    "keepalived_vrrp_release_master",
    "keepalived_vrrp_packet_len_err",
    "keepalived_vrrp_advert_interval_err",
    "keepalived_vrrp_ip_ttl_err",
    "keepalived_vrrp_invalid_type_rcvd",
    "keepalived_vrrp_addr_list_err",
    "keepalived_vrrp_invalid_authtype",
    "keepalived_vrrp_authtype_mismatch",
    "keepalived_vrrp_auth_failure",
    "keepalived_vrrp_pri_zero_rcvd",
    "keepalived_vrrp_pri_zero_sent",
];

#[test]
fn dashboards_of_the_public_exporters_find_their_metrics() {
    let page = Page::new();
    let text = page.text(Names::Exporters, Format::Text);
    let there = declared(&text);
    for name in ASKED {
        assert!(there.contains_key(name), "{name} is missing");
        assert!(text.lines().any(|line| line.starts_with(name)), "{name} has no sample");
    }
    assert!(!text.contains("vipd_"));
    let has = |line: &str| assert!(text.lines().any(|known| known == line), "no {line} in\n{text}");
    // Labels and values as the exporters make them of keepalived's data file.
    has("keepalived_vrrp_state{iname=\"V6\",intf=\"eth0\",vrid=\"54\",ip_address=\"fe80::54\"} 2");
    has("keepalived_vrrp_state{iname=\"VI_1\",intf=\"eth0\",vrid=\"51\",ip_address=\"10.9.0.11/24\"} 2");
    let good = u8::from(page.snapshot.scripts[0].good.unwrap());
    has(&format!("keepalived_script_status{{name=\"chk\"}} {good}"));
    let view = page.snapshot.instances.iter().find(|view| &*view.name == "V6").unwrap();
    let sent = json::numbers(&view.counters).iter().find(|(name, _)| *name == "advert_sent").unwrap().1;
    assert!(sent > 0);
    has(&format!("keepalived_advertisements_sent_total{{iname=\"V6\",intf=\"eth0\",vrid=\"54\"}} {sent}"));
    has(&format!("keepalived_vrrp_advert_sent{{name=\"V6\",intf=\"eth0\",vrid=\"54\",state=\"MASTER\"}} {sent}"));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// promtool with these words, and something on its standard input.
fn promtool(words: &[&str], input: &str) -> Option<(bool, String)> {
    let started = Command::new("promtool")
        .args(words)
        .current_dir(root().join("packaging/prometheus"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = started else {
        assert!(std::env::var("VIPD_REQUIRE_NETNS").as_deref() != Ok("1"), "needs promtool");
        eprintln!("skipped: needs promtool");
        return None;
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let said = [out.stdout, out.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    Some((out.status.success(), said))
}

#[test]
fn promtool_has_nothing_to_say_about_a_page() {
    let page = Page::new().text(Names::Vipd, Format::Text);
    let Some((fine, said)) = promtool(&["check", "metrics"], &page) else { return };
    assert!(fine && said.is_empty(), "{said}");
    let (fine, said) = promtool(&["check", "metrics"], &page.replace("_total", "_tot")).unwrap();
    assert!(!fine && said.contains("_total"), "it says everything is fine: {said}");
}

#[test]
fn promtool_accepts_the_rules_and_their_cases() {
    for words in [
        &["check", "rules", "rules.yml"][..],
        &["test", "rules", "rules_test.yml"],
        &["check", "config", "prometheus.yml"],
    ] {
        let Some((fine, said)) = promtool(words, "") else { return };
        assert!(fine, "promtool {words:?}: {said}");
    }
}

/// Words of a text that are names of metrics.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| c != '_' && !c.is_ascii_alphanumeric());
    let named =
        |word: &&str| word.starts_with("vipd_") || word.starts_with("process_") || word.starts_with("keepalived_vrrp_");
    words.filter(named).map(str::to_owned).collect()
}

#[test]
fn every_metric_of_the_kit_is_one_that_vipd_writes() {
    let text = Page::new().text(Names::Both, Format::Text);
    let mut there: BTreeSet<String> = BTreeSet::new();
    for (name, kind) in declared(&text) {
        if matches!(&*kind, "histogram" | "summary") {
            there.extend(["_bucket", "_sum", "_count"].map(|suffix| format!("{name}{suffix}")));
        }
        there.insert(name);
    }
    let kit: [PathBuf; 4] = [
        "packaging/prometheus/rules.yml",
        "packaging/prometheus/rules_test.yml",
        "packaging/grafana/vipd.json",
        "docs/monitoring.md",
    ]
    .map(|name| root().join(name));
    for path in kit {
        let named = metrics_in(&std::fs::read_to_string(&path).unwrap());
        // `vipd_vrrp_` and a star: a group of names.
        let unknown: Vec<&String> = named
            .iter()
            .filter(|name| {
                if name.ends_with('_') { !there.iter().any(|t| t.starts_with(*name)) } else { !there.contains(*name) }
            })
            .collect();
        assert!(named.len() > 7 && unknown.is_empty(), "{}: {unknown:?} of {}", path.display(), named.len());
    }
    // Every alert has a case that fires it.
    let read = |name: &str| std::fs::read_to_string(root().join("packaging/prometheus").join(name)).unwrap();
    let (rules, cases) = (read("rules.yml"), read("rules_test.yml"));
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    for alert in alerts {
        let fires = cases
            .split(&format!("alertname: {alert}\n"))
            .skip(1)
            .any(|case| case.split("alertname:").next().unwrap().contains("exp_labels"));
        assert!(fires, "no case fires {alert}");
    }
}
