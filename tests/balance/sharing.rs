//! Checks that are equal run once and count for everybody.

use crate::harness::*;
use vipd::balance::io::{Event, Symptom};

fn services(count: u8, global: &str, check: &str) -> String {
    let one = |n: u8| {
        format!(
            "virtual_server 10.0.0.{n} 80 {{\n lb_algo rr\n lb_kind NAT\n protocol TCP\n warmup 0\n delay_loop 1\n {}{} }}\n",
            server(2, check),
            server(3, check)
        )
    };
    format!("global_defs {{\n {global}\n }}\n{}", (1..=count).map(one).collect::<String>())
}

#[test]
fn ten_services_with_the_same_servers_make_two_checks() {
    let mut bench = Bench::new(&services(10, "", TCP));
    bench.run(1_000);
    assert_eq!(bench.asked.len(), 2);
    bench.told();
    bench.bad.insert(2, Symptom::Refused);
    bench.run(3_000);
    let told = bench.told();
    assert_eq!(told.len(), 10, "each service is told: {told:?}");
    let logged = bench.said().iter().filter(|line| line.starts_with("TCP_CHECK on service")).count();
    assert_eq!(logged, 10);
    assert!(bench.table.values().all(|picture| shown(picture) == "3:8080=1"));
    let shared: Vec<usize> =
        bench.balancer.snapshot(bench.now).services[4].servers.iter().map(|own| own.checks[0].shared).collect();
    assert_eq!(shared, [10, 10]);
}

#[test]
fn the_switch_makes_each_check_its_own() {
    let mut bench = Bench::new(&services(10, "vipd_share_checks off", TCP));
    bench.run(1_000);
    assert_eq!(bench.asked.len(), 20);
    // A reload with the other setting keeps what is known.
    bench.told();
    bench.asked.clear();
    bench.reload(&services(10, "", TCP));
    bench.run(1_000);
    assert_eq!((bench.asked.len(), bench.told()), (2, vec![]));
    bench.reload(&services(10, "vipd_share_checks off", TCP));
    bench.run(1_000);
    assert_eq!((bench.asked.len(), bench.told()), (22, vec![]));
}

#[test]
fn what_is_asked_otherwise_is_asked_apart() {
    let apart = |check: &str| {
        let text = services(1, "", TCP) + &services(1, "", check).replace("10.0.0.1 80", "10.0.0.2 80");
        let mut bench = Bench::new(&text);
        bench.run(1_000);
        bench.asked.len()
    };
    assert_eq!(apart("TCP_CHECK {\n log_all_failures\n }"), 2, "what is logged is no other question");
    for check in [
        "TCP_CHECK {\n connect_port 81\n }",
        "TCP_CHECK {\n fwmark 3\n }",
        "TCP_CHECK {\n connect_timeout 2\n }",
        "TCP_CHECK {\n bindto 10.1.0.1\n }",
        "TCP_CHECK {\n retry 4\n }",
        "PING_CHECK {\n }",
        "DNS_CHECK {\n }",
    ] {
        assert_eq!(apart(check), 4, "{check}");
    }
}

#[test]
fn a_service_that_comes_later_knows_at_once_what_others_found_out() {
    let mut bench = Bench::with(&services(1, "", TCP), |bench| drop(bench.bad.insert(2, Symptom::Refused)));
    bench.run(5_000);
    bench.told();
    bench.asked.clear();
    bench.reload(&services(2, "", TCP));
    let held: Vec<String> = bench.table.values().map(|picture| shown(picture)).collect();
    assert_eq!(held, ["3:8080=1", "3:8080=1"]);
    assert_eq!(bench.told(), ["VS [10.0.0.2]:tcp:80 UP"]);
    bench.run(1_000);
    assert_eq!(bench.asked.len(), 2, "no check more");
    bench.bad.clear();
    bench.run(2_000);
    assert_eq!(
        bench.told(),
        ["RS [10.1.0.2]:tcp:8080 [10.0.0.1]:tcp:80 UP", "RS [10.1.0.2]:tcp:8080 [10.0.0.2]:tcp:80 UP"]
    );
}

#[test]
fn a_service_that_sleeps_does_not_hear_what_others_find_out() {
    let text = services(2, "", TCP).replacen("delay_loop 1", "delay_loop 1\n ha_suspend", 1);
    let mut bench = Bench::new(&text);
    bench.bad.insert(2, Symptom::Refused);
    bench.run(3_000);
    let held: Vec<String> = bench.table.values().map(|picture| shown(picture)).collect();
    assert_eq!(held, ["2:8080=1 3:8080=1", "3:8080=1"]);
    bench.tell(vipd::balance::io::Input::Address { interface: 1, address: address("10.0.0.1"), here: true });
    bench.run(1_000);
    assert_eq!(bench.held(), "3:8080=1", "it hears with the next answer");
    let changed = bench.events.iter().filter(|event| matches!(event, Event::ServerDown { .. })).count();
    assert_eq!(changed, 2);
}
