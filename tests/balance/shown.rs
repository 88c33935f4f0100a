//! `keepalived_check.data` and the branch of KEEPALIVED-MIB about virtual servers, line by line against keepalived's own.
//!
//! `dumps/servers.data` and `dumps/servers.walk` are what Debian's keepalived 2.2.7 wrote and answered (through snmpd) for
//! `dumps/servers.conf`, before any check. Its checker process needs IPVS, which the machine of the capture had not:
//! `dumps/ipvs.c`, preloaded, stands for a kernel that takes everything. From the dump the global definitions are cut off,
//! from the walk what the kernel counts.

use crate::harness::*;
use std::collections::{BTreeMap, BTreeSet};
use vipd::balance::io::{Beginning, Command, Event, Input, Selection, TrackValue, Tracker, Traffic};
use vipd::observe::dump;
use vipd::observe::snmp::check::Servers;
use vipd::observe::snmp::{self, KEEPALIVED, Seen, Value};
use vipd::observe::{Context, Hub, Observer, Wishes};
use vipd::spec::Spec;
use vipd::time::Time;
use vipd::vrrp::snapshot::Snapshot;

const CONF: &str = include_str!("dumps/servers.conf");

fn bench(spec: &Spec) -> Bench {
    let trackers =
        [(Tracker::File("load".into()), TrackValue::Number(0)), (Tracker::Bfd("peer".into()), TrackValue::Up(false))]
            .into();
    Bench::of(spec.balance.clone(), Beginning { trackers, ..Beginning::default() }, |_| {})
}

/// What 2.2.7 has otherwise than 2.4.3, or vipd than both, and why.
const LEFT_OUT: [(&str, &str); 11] = [
    ("   previous effective_weight", "the weight before is not kept"),
    ("     Regex options", "keepalived lists all that there are"),
    ("     Regex ref count", "a pattern belongs to its page"),
    ("   Virtualhost =", "a page has the host that it asks for"),
    ("     Virtual host =", "as above"),
    ("   tls_compliant", "not in 2.2.7"),
    ("     tls_compliant", "as above"),
    ("   Last ran", "ctime in another zone"),
    ("     set =", "of a sorry server: not in 2.2.7"),
    ("     alive =", "as above"),
    ("   script =", "compared with its path as written"),
];

fn comparable(text: &str) -> Vec<String> {
    let kept = text.lines().filter(|line| !LEFT_OUT.iter().any(|(label, _)| line.starts_with(label)));
    let mut lines: Vec<String> = kept.map(str::to_owned).collect();
    for at in 1..lines.len() {
        // 2.4.3's label.
        if lines[at].starts_with("   quorum_state_up") {
            lines[at - 1] = lines[at - 1].replace("   alive", "   VS alive");
        }
        // 2.4.3's indent.
        if lines[at].starts_with("     RS ") {
            lines[at].drain(..2);
        }
    }
    lines
}

#[test]
fn the_dump_has_keepalived_s_lines() {
    let spec = whole(CONF);
    let bench = bench(&spec);
    let clock = dump::Clock { unix_micros: 0, ctime: |_| String::new() };
    let ours = dump::check(&spec, &bench.balancer.snapshot(bench.now), &clock);
    let (globals, ours) = ours.split_at(ours.find("------< SSL definitions").unwrap());
    assert!(globals.starts_with("------< Global definitions >------\n"));
    let (theirs, ours) = (comparable(include_str!("dumps/servers.data")), comparable(ours));
    for (at, (theirs, ours)) in theirs.iter().zip(&ours).enumerate() {
        assert_eq!(ours, theirs, "line {at}");
    }
    assert_eq!(ours.len(), theirs.len());
}

#[test]
fn no_password_is_in_the_dump() {
    let spec = whole(&format!("SSL {{\n password geheim\n}}\n{}", service(&server(2, TCP))));
    let bench = bench(&spec);
    let clock = dump::Clock { unix_micros: 0, ctime: |_| String::new() };
    let text = dump::check(&spec, &bench.balancer.snapshot(bench.now), &clock);
    assert!(text.contains(" Password : ***") && !text.contains("geheim"), "{text}");
}

/// As snmpwalk writes it.
fn written(value: &Value) -> String {
    match value {
        Value::Integer(number) => format!("INTEGER: {number}"),
        Value::Unsigned(number) => format!("Gauge32: {number}"),
        Value::Octets(bytes) if bytes.iter().all(|byte| (0x20..0x7f).contains(byte)) => {
            format!("STRING: \"{}\"", String::from_utf8_lossy(bytes))
        }
        Value::Octets(bytes) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02X} ")).collect();
            format!("Hex-STRING: {digits}")
        }
        Value::Counter32(number) => format!("Counter32: {number}"),
        Value::Counter64(number) => format!("Counter64: {number}"),
        other => format!("{other:?}"),
    }
}

/// The branch of virtual servers: identifiers behind the MIB's own, and values.
fn walk(spec: &Spec, bench: &Bench, traffic: Option<&Traffic>) -> BTreeMap<String, String> {
    let snapshot = bench.balancer.snapshot(bench.now);
    let servers = Some(Servers { snapshot: &snapshot, of_services: traffic, of_servers: traffic });
    let now = Snapshot::default();
    let tree = snmp::tree(&Seen { spec, now: &now, servers, version: "v", uptime: (Time::default(), 0) });
    // A walk with GETNEXT is the map, in its order.
    let mut at = KEEPALIVED.to_vec();
    let mut walked = Vec::new();
    while let Some((oid, value)) = tree.next(&at, false, &[]) {
        assert!(oid > at.as_slice());
        at = oid.to_vec();
        walked.push((at.clone(), value.clone()));
    }
    assert!(walked.iter().all(|(oid, value)| tree.next(oid, true, &[]) == Some((oid.as_slice(), value))));
    let text = |oid: &[u32]| oid[KEEPALIVED.len()..].iter().map(u32::to_string).collect::<Vec<_>>().join(".");
    walked.iter().map(|(oid, value)| (text(oid), written(value))).filter(|(oid, _)| oid.starts_with("3.")).collect()
}

/// `3.3.1.27.1` → `3.3.1.27`
fn column(oid: &str) -> String {
    oid.split('.').take(4).collect::<Vec<_>>().join(".")
}

#[test]
fn a_manager_sees_keepalived_s_rows() {
    let spec = whole(CONF);
    let ours = walk(&spec, &bench(&spec), None);
    let theirs: BTreeMap<String, String> = include_str!("dumps/servers.walk")
        .lines()
        .map(|line| line.split_once(" = ").unwrap())
        .map(|(oid, value)| (oid.to_owned(), value.to_owned()))
        .collect();
    for (oid, value) in &theirs {
        let right = match (oid.as_str(), value.as_str()) {
            // Not set, and a prefix that was shown as if it were a mask.
            ("3.3.1.51.2" | "3.3.1.51.4", _) => "Gauge32: 128",
            ("3.3.1.15.3", _) => "Hex-STRING: FF FF FF FF ",
            (_, value) => value,
        };
        assert_eq!(ours.get(oid).map(String::as_str), Some(right), "{oid}");
    }
    // Paths of scripts and the count of checks that have not run came after 2.2.7.
    let later = ["3.3.1.72", "3.3.1.73", "3.4.1.56", "3.4.1.57", "3.4.1.63"].map(str::to_owned);
    let columns: BTreeSet<String> = theirs.keys().map(|oid| column(oid)).chain(later).collect();
    for oid in ours.keys() {
        let known = theirs.contains_key(oid) || !theirs.keys().any(|known| column(known) == column(oid));
        assert!(known && columns.contains(&column(oid)), "{oid} is not in keepalived's walk");
    }
}

#[test]
fn what_the_kernel_counts_is_shown_and_summed_over_a_group() {
    use vipd::balance::io::{DestinationTraffic, ServiceTraffic, Stats};
    let spec = whole(CONF);
    let bench = bench(&spec);
    let snapshot = bench.balancer.snapshot(bench.now);
    let stats = Stats { connections: 1 << 33, packets_in: 3, byte_rate_out: (7 << 32) + 1, ..Stats::default() };
    let group = &snapshot.services[1];
    let destination = DestinationTraffic { active: 4, persistent: 2, stats, ..DestinationTraffic::default() };
    let of = |key: &vipd::balance::io::ServiceKey| {
        let place = vipd::balance::service::in_kernel(
            key,
            snapshot.spec.services[1].servers[0].endpoint,
            snapshot.spec.services[1].servers[0].forwarding,
        );
        (*key, ServiceTraffic { stats, destinations: [(place, destination)].into() })
    };
    assert_eq!(group.keys.len(), 6);
    let traffic = Traffic { services: group.keys.iter().map(of).collect() };
    let seen = walk(&spec, &bench, Some(&traffic));
    let value = |oid: &str| seen.get(oid).map(String::as_str);
    assert_eq!(value("3.3.1.28.2"), Some("Counter32: 18"));
    assert_eq!(value("3.3.1.38.2"), Some("Counter64: 51539607552"));
    assert_eq!((value("3.3.1.49.2"), value("3.3.1.50.2")), (Some("Gauge32: 6"), Some("Gauge32: 42")));
    assert_eq!(value("3.4.1.15.2.1"), Some("Gauge32: 24"));
    assert_eq!(value("3.4.1.17.2.1"), Some("Gauge32: 12"));
    assert_eq!(value("3.3.1.27.1"), Some("Gauge32: 0"), "a service that the kernel has not got has counted nothing");
    assert_eq!(walk(&spec, &bench, None).get("3.3.1.27.1"), None, "nobody looked");
}

#[derive(Clone, Default)]
struct Traps(std::sync::Arc<std::sync::Mutex<Vec<snmp::traps::Trap>>>, snmp::traps::Rows);
impl Observer for Traps {
    fn balance(&mut self, event: &Event, cx: &Context<'_>, _: &mut Wishes) {
        self.0.lock().unwrap().extend(snmp::traps::of_servers(event, cx, &self.1));
    }
    fn reconfigured(&mut self, cx: &Context<'_>) {
        self.1 = snmp::traps::Rows::of(cx);
    }
}

/// The last two numbers of what it is, and the objects.
fn told(spec: &Spec, events: &[Event]) -> Vec<String> {
    let traps = Traps::default();
    let mut hub = Hub::new(vec![Box::new(traps.clone())]);
    hub.reconfigure(std::sync::Arc::new(spec.clone()), &Snapshot::default());
    for event in events {
        hub.balance(event, 0, &mut Wishes::default());
    }
    let text = |oid: &[u32]| oid[KEEPALIVED.len()..].iter().map(u32::to_string).collect::<Vec<_>>().join(".");
    let one = |trap: &snmp::traps::Trap| {
        let objects = trap.objects.iter().map(|(oid, value)| format!(" {}={}", text(oid), written(value).trim_end()));
        text(&trap.oid) + &objects.collect::<String>()
    };
    let heard: Vec<String> = traps.0.lock().unwrap().iter().map(one).collect();
    heard
}

/// The objects are keepalived's in its order (seen with snmptrapd); they carry the index of their row, which it leaves out.
#[test]
fn a_manager_is_told_of_servers_and_quorums() {
    let spec = whole(&CONF.replace("  alpha\n", ""));
    let mut bench = bench(&spec);
    bench.events.clear();
    bench.bad.insert(6, vipd::balance::io::Symptom::Refused);
    bench.run(200_000);
    let mark = |event: &&Event| format!("{event:?}").contains("FWM 7");
    let events: Vec<Event> = bench.events.iter().filter(mark).cloned().collect();
    let heard = told(&spec, &events);
    assert_eq!(
        heard,
        [
            "3.5.0.1 3.4.1.3.4.1=INTEGER: 1 3.4.1.4.4.1=Hex-STRING: 0A 01 00 06 3.4.1.5.4.1=Gauge32: 0 \
             3.4.1.6.4.1=INTEGER: 2 3.3.1.2.4=INTEGER: 1 3.3.1.4.4=Gauge32: 7 3.3.1.8.4=INTEGER: 4 \
             3.3.1.21.4=Gauge32: 0 3.3.1.20.4=Gauge32: 1 1.2.0=STRING: \"X\"",
            "3.5.0.2 3.3.1.2.4=INTEGER: 1 3.3.1.4.4=Gauge32: 7 3.3.1.8.4=INTEGER: 4 3.3.1.23.4=INTEGER: 2 \
             3.3.1.22.4=Gauge32: 1 3.3.1.21.4=Gauge32: 0 3.3.1.20.4=Gauge32: 1 1.2.0=STRING: \"X\"",
        ]
    );
    // At the end: every server that is in, each counted out, and the quorum of its service as shut down.
    bench.events.clear();
    bench.tell(Input::Command(Command::Stop { keep: false }));
    let end = told(&spec, &bench.events);
    let dns: Vec<&String> = end.iter().filter(|line| line.contains("3.3.1.2.5=")).collect();
    assert_eq!(dns.len(), 3, "{end:#?}");
    assert!(dns[0].contains("3.3.1.21.5=Gauge32: 1 ") && dns[1].contains("3.3.1.21.5=Gauge32: 0 "), "{dns:#?}");
    assert!(dns[2].starts_with("3.5.0.2 ") && dns[2].contains("3.3.1.23.5=INTEGER: 3 "), "{dns:#?}");
    let quiet = whole(&CONF.replace("enable_traps", ""));
    assert!(told(&quiet, &events).is_empty());
    let off = whole(&CONF.replace("enable_snmp_checker", ""));
    assert!(told(&off, &events).is_empty());
}

#[test]
fn a_row_is_the_server_that_a_weight_is_written_to() {
    let spec = whole(CONF);
    let at =
        |service, server| snmp::check::server_at(&spec.balance, service, server).map(|(at, real)| (at, real.endpoint));
    assert_eq!(at(1, 1), None, "the sorry server has no weight");
    assert_eq!(at(1, 2).map(|(at, endpoint)| (at, endpoint.address)), Some((0, address("10.1.0.2"))));
    assert_eq!(at(2, 1).map(|(at, endpoint)| (at, endpoint.address)), Some((1, address("10.1.0.4"))));
    for (service, server) in [(0, 1), (1, 0), (1, 4), (9, 1), (u32::MAX, u32::MAX)] {
        assert_eq!(at(service, server), None);
    }
    let mut bench = bench(&spec);
    let which = Selection { service: Some("[web]:0".into()), address: address("10.1.0.4"), port: None };
    bench.tell(Input::Command(Command::Weigh(which, Some(300))));
    assert_eq!(walk(&spec, &bench, None).get("3.4.1.7.2.1").map(String::as_str), Some("INTEGER: 300"));
}

#[test]
fn one_socket_hears_of_addresses_for_both() {
    let of = |vrrp: u32, lvs: u32| {
        let sizes = format!("vrrp_netlink_monitor_rcv_bufs {vrrp}\n lvs_netlink_monitor_rcv_bufs {lvs}\n");
        whole(&format!("global_defs {{\n {sizes} lvs_netlink_cmd_rcv_bufs 70000\n}}\n{}", service(&server(2, TCP))))
    };
    assert_eq!(of(1_000, 2_000).daemon.netlink.monitor, Some(2_000));
    assert_eq!(of(3_000, 2_000).daemon.netlink.monitor, Some(3_000));
    assert_eq!(of(1, 1).balance.settings.netlink_buffer, (70_000, false));
}
