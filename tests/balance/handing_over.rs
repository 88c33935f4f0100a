//! One program leaves, the next goes on.

use crate::harness::*;
use vipd::balance::io::{Beginning, Command, Input, Selection, Symptom, TrackValue, Tracker};
use vipd::balance::{Balancer, Handover};

fn text() -> String {
    let file = "FILE_CHECK {\n track_file t\n weight 2\n }\n TCP_CHECK {\n }";
    let retries = "TCP_CHECK {\n retry 3\n delay_before_retry 4\n }";
    let misc = "weight 10\n MISC_CHECK {\n misc_path /c/m\n misc_dynamic\n }";
    format!(
        "track_file t {{\n file /t\n }}\n{}",
        service(&format!(
            "quorum 2\n hysteresis 1\n delay_loop 10\n sorry_server 10.1.0.9 80\n {}{}{}{}",
            server(2, file),
            server(3, retries),
            server(4, TCP),
            server(5, misc)
        ))
    )
}

fn old() -> Bench {
    let world =
        Beginning { trackers: [(Tracker::File("t".into()), TrackValue::Number(3))].into(), ..Beginning::default() };
    let mut bench = Bench::of(spec(&text()), world, |bench| bench.exit = Some(7));
    bench.run(1_000);
    bench.bad.insert(4, Symptom::Status(503));
    bench.bad.insert(3, Symptom::Refused);
    bench.run(12_000);
    let which = Selection { service: None, address: address("10.1.0.2"), port: None };
    bench.tell(Input::Command(Command::Drain(which)));
    bench
}

fn next(bench: &Bench, left: &Handover) -> Bench {
    let balancer = Balancer::inherit(spec(&text()), Beginning::default(), left, 9, bench.now);
    let exit = bench.exit;
    let bad = bench.bad.clone();
    Bench::around(balancer, bench.now, |next| {
        next.exit = exit;
        next.bad = bad;
    })
}

/// By way of the text in which it goes over.
fn through_text(left: &Handover) -> Handover {
    serde_json::from_str(&serde_json::to_string(left).unwrap()).unwrap()
}

#[test]
fn health_retries_schedules_and_drains_are_inherited() {
    let before = old();
    assert_eq!(before.held(), "2:8080=0 3:8080=1 5:8080=5");
    let mut after = next(&before, &through_text(&before.balancer.hand_over()));
    assert_eq!(after.held(), before.held());
    assert_eq!((after.said(), after.told()), (vec![], vec![]), "nobody is told what he knows");
    assert_eq!(after.balancer.deadline(), before.balancer.deadline());
    let (was, is) = (before.balancer.snapshot(before.now), after.balancer.snapshot(after.now));
    for (was, is) in was.services[0].servers.iter().zip(&is.services[0].servers) {
        assert_eq!((was.up, was.weight, was.since, was.drained), (is.up, is.weight, is.since, is.drained));
        assert_eq!(was.why, is.why);
        let checks = |view: &vipd::balance::snapshot::ServerView| {
            let one = |c: &vipd::balance::snapshot::CheckView| (c.up, c.ran, c.part, c.retries, c.due, c.last.clone());
            view.checks.iter().map(one).collect::<Vec<_>>()
        };
        assert_eq!(checks(was), checks(is));
    }
    // The third server has used up one of three retries.
    after.run(11_000);
    assert_eq!(short(after.told()), ["RS R3 V DOWN"]);
}

#[test]
fn numbers_are_not_used_again() {
    let mut before = Bench::with(&text(), |bench| bench.silent = true);
    before.run(1_000);
    let left = through_text(&before.balancer.hand_over());
    let balancer = Balancer::inherit(spec(&text()), Beginning::default(), &left, 9, before.now);
    let mut after = Bench::around(balancer, before.now, |next| next.silent = true);
    after.run(0);
    assert_eq!(after.open.len(), before.open.len(), "what was under way is asked once more, at once");
    assert!(after.open.keys().all(|attempt| !before.open.contains_key(attempt)));
}

#[test]
fn what_cannot_be_read_begins_afresh_alone() {
    let before = old();
    let mut left = serde_json::to_value(before.balancer.hand_over()).unwrap();
    let servers = left["services"][0]["servers"].as_array_mut().unwrap();
    servers[2] = serde_json::json!({ "endpoint": 7 });
    servers[3]["checks"][0]["machine"] = serde_json::json!("later");
    left["later"] = serde_json::json!([1, 2]);
    let left: Handover = serde_json::from_value(left).unwrap();
    let mut after = next(&before, &left);
    // R4 is new and so in; R5 keeps its state and is checked anew.
    assert_eq!(after.held(), "2:8080=0 3:8080=1 4:8080=1 5:8080=10");
    after.run(11_000);
    assert_eq!(after.held(), "2:8080=0 5:8080=5");
    let nothing: Handover = serde_json::from_str("{}").unwrap();
    assert_eq!(next(&before, &nothing).held(), "2:8080=1 3:8080=1 4:8080=1 5:8080=10");
}
