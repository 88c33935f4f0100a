//! conf-examples/haproxy-nginx-three-hosts: two addresses in use, haproxy's status page, a fourth host, instances.

use super::client::{Client, seconds};
use super::ground::{stays, until};
use super::machine::{Machine, Switch};
use super::readme::Readme;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const A: &str = "10.1.0.100";
const B: &str = "10.1.0.200";

pub fn play() {
    let readme = Readme::of("haproxy-nginx-three-hosts");
    let switch = Switch::new("three-hosts");
    let hosts: Vec<Machine> =
        (1..=3).map(|n| switch.server(&format!("host{n}"), &format!("10.1.0.1{n}"), None)).collect();
    let customer = switch.plain("customer", "10.1.0.250");
    let all: Vec<&Machine> = hosts.iter().collect();
    let [host1, host2, host3] = all[..] else { unreachable!() };
    for host in &all {
        readme.install(host);
        host.systemctl("enable --now app@9001 app@9002 haproxy nginx");
        until("haproxy is ready", &all, || host.run("/etc/keepalived/chk_haproxy").status.success());
        host.systemctl("enable --now keepalived.service");
    }
    let a = Client::http(&customer, "10.1.0.100:80", "/");
    let b = Client::http(&customer, "10.1.0.200:80", "/");
    let shared = |first: &Machine, second: &Machine| {
        until(&format!("{} has {A}, {} has {B}, both answer", first.name, second.name), &all, || {
            a.steadily_by(&first.name) && b.steadily_by(&second.name)
        });
    };
    let alone = |hosts: &[&Machine]| {
        let owners = |address| hosts.iter().filter(|h| h.has(address)).count();
        until("each address is on one host", &all, || owners(A) == 1 && owners(B) == 1);
    };
    shared(host1, host2);
    alone(&all);

    let start = Instant::now();
    watch_addresses(host2);
    host1.power_off();
    shared(host2, host2);
    readme.measured("host1 loses power", a.since(start).measured());
    let other = b.since(start);
    assert_eq!(other.refused, 0, "the other address is not concerned: {other:?}");
    assert_eq!(other.servers(), ["host2"]);
    let changes = host2.read("/run/address-changes");
    assert!(changes.contains(A) && !changes.contains(B), "{changes}");
    let start = Instant::now();
    host1.power_on();
    host1.systemctl("start app@9001 app@9002 haproxy nginx keepalived");
    shared(host1, host2);
    readme.measured("host1 comes back", a.since(start).measured());
    alone(&all);

    let start = Instant::now();
    host1.must("kill -9 -- -$(cat /run/unit-haproxy.pid); rm /run/unit-haproxy.pid");
    shared(host2, host2);
    readme.measured("haproxy on host1 stops answering", a.since(start).measured());
    assert!(host1.vipctl("explain WEB_A").contains("FAULT"));
    let start = Instant::now();
    host1.systemctl("start haproxy");
    shared(host1, host2);
    readme.measured("haproxy on host1 answers again", a.since(start).measured());
    alone(&all);

    let start = Instant::now();
    host1.power_off();
    host2.power_off();
    shared(host3, host3);
    readme.measured("host1 and host2 are gone", longer(&a, &b, start));
    for host in [host1, host2] {
        host.power_on();
        host.systemctl("start app@9001 app@9002 haproxy nginx keepalived");
    }
    shared(host1, host2);
    alone(&all);

    instances(&readme, &a, host1, &all);
    fourth(&readme, &switch, &a, &b, &all);
    readme.finish();
}

/// Whoever gets or gives up an address from here on, for however short a time, is heard in /run/address-changes.
fn watch_addresses(host: &Machine) {
    host.must("[ ! -e /run/watch ] || kill $(cat /run/watch)");
    host.must("ip -o monitor address >/run/address-changes 2>/dev/null & echo $! >/run/watch; sleep 0.2");
}

fn longer(a: &Client, b: &Client, start: Instant) -> String {
    let (a, b) = (a.since(start), b.since(start));
    if a.gap > b.gap { a.measured() } else { b.measured() }
}

/// An instance stops and starts behind haproxy: the client is answered by the other one all the time.
fn instances(readme: &Readme, a: &Client, host1: &Machine, all: &[&Machine]) {
    let both = |since| {
        let seen = a.since(since);
        let bodies: BTreeSet<&str> = seen.bodies().into_iter().collect();
        bodies.len() == 2
    };
    let start = Instant::now();
    until("both instances answer", all, || both(start));
    let start = Instant::now();
    host1.systemctl("stop app@9001");
    let quiet = Instant::now();
    stays("the address is where it was", Duration::from_secs(3), || host1.has(A));
    assert!(!a.since(quiet).bodies().iter().any(|b| b.contains("9001")), "the stopped one answers");
    assert_eq!(a.since(start).refused, 0, "{:?}", a.since(start));
    readme.measured("one instance of the application stops", a.since(start).measured());
    let start = Instant::now();
    host1.systemctl("start app@9001");
    until("both instances answer again", all, || both(start));
    assert_eq!(a.since(start).refused, 0, "{:?}", a.since(start));
    readme.measured("the instance starts again", a.since(start).measured());
    assert!(host1.has(A));
}

/// The README's steps, typed as they stand there.
fn fourth(readme: &Readme, switch: &Switch, a: &Client, b: &Client, all: &[&Machine]) {
    let host4 = switch.server("host4", "10.1.0.14", None);
    readme.install(&host4);
    host4.systemctl("enable --now app@9001 app@9002 haproxy nginx");
    until("haproxy is ready", all, || host4.run("/etc/keepalived/chk_haproxy").status.success());
    for host in all {
        watch_addresses(host);
    }
    let start = Instant::now();
    let steps = std::fs::read_to_string(readme.directory.join("README.md")).unwrap();
    let steps: Vec<&str> = steps.lines().filter_map(|l| l.strip_prefix("       ")).map(str::trim).collect();
    assert!(steps.len() == 4 && steps[0].starts_with("sed "), "{steps:?}");
    for host in all {
        for step in &steps {
            let typed = step.replace("vipctl ", concat!(env!("CARGO_BIN_EXE_vipctl"), " "));
            host.must(&typed);
        }
        until("the reload is done", all, || host.read("/var/log/unit-keepalived.log").contains("eload"));
    }
    host4.systemctl("enable --now keepalived.service");
    until("host4 knows the masters", all, || {
        let asked = host4.run(concat!(env!("CARGO_BIN_EXE_vipctl"), " explain"));
        let told = String::from_utf8_lossy(&asked.stdout);
        told.contains("10.1.0.11") && told.contains("10.1.0.12")
    });
    stays("the addresses are where they were", Duration::from_secs(5), || {
        all[0].has(A) && all[1].has(B) && !host4.has(A) && !host4.has(B)
    });
    let (seen, other) = (a.since(start), b.since(start));
    assert_eq!((seen.refused, other.refused), (0, 0), "{seen:?}\n{other:?}");
    assert_eq!((seen.servers(), other.servers()), (vec!["host1"], vec!["host2"]));
    for host in all {
        assert_eq!(host.read("/run/address-changes"), "", "{}: an address came or went", host.name);
    }
    readme.measured("a fourth host is added", seen.measured());

    let start = Instant::now();
    for host in all {
        host.power_off();
    }
    let taken = until("host4 has both addresses", all, || a.steadily_by("host4") && b.steadily_by("host4"));
    println!("all but host4 gone: steady after {}", seconds(taken));
    readme.measured("all but the fourth host are gone", longer(a, b, start));
}
