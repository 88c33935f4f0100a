//! When checks are made.

use crate::harness::*;
use std::collections::{BTreeMap, VecDeque};
use vipd::balance::Balancer;
use vipd::balance::io::{Action, Beginning, Finding, Input, Symptom};
use vipd::time::{Interval, Time};

fn times(bench: &Bench) -> Vec<u64> {
    let start = Time::from_micros(1_000_000_000);
    bench.asked.iter().map(|(at, _)| at.since(start).as_millis()).collect()
}

#[test]
fn the_first_check_comes_within_the_warm_up_and_the_seed_decides() {
    let text = service(&format!("warmup 10\n delay_loop 60\n {}", (2..9).map(|n| server(n, TCP)).collect::<String>()));
    let first = |seed: &str| {
        let mut bench = Bench::new(&format!("global_defs {{\n random_seed {seed}\n }}\n{text}"));
        bench.run(11_000);
        times(&bench)
    };
    let (one, again, other) = (first("1"), first("1"), first("2"));
    assert_eq!(one.len(), 7);
    assert!(one.iter().all(|at| (1_000..=11_000).contains(at)), "{one:?}");
    assert!(one.windows(2).any(|pair| pair[1] - pair[0] > 200), "they are spread: {one:?}");
    assert_eq!(one, again);
    assert_ne!(one, other);
}

#[test]
fn pauses_begin_when_an_attempt_ends_and_those_of_programs_when_it_was_due() {
    let check = |inside: &str| service(&format!("delay_loop 2\n {}", server(2, inside)));
    for (inside, second) in [(TCP, 3_500), ("MISC_CHECK {\n misc_path /c/m\n }", 3_000)] {
        let mut bench = Bench::with(&check(inside), |bench| bench.silent = true);
        bench.run(1_500);
        let attempt = *bench.open.keys().next().unwrap();
        bench.tell(Input::Probed { attempt, finding: Finding::Good });
        bench.run(5_000);
        assert_eq!(times(&bench), [1_000, second], "{inside}");
    }
}

/// Checks that are due at almost the same time begin together, where the clock is a real one.
#[test]
fn no_check_begins_later_than_its_bound_and_none_falls_behind_with_the_rounds() {
    const ROUNDS: u64 = 200;
    // The pause, the bound, and how long an attempt takes, in microseconds.
    for (pause, bound, took) in [
        (1_000_000, 20_000, 0),
        (1_000_000, 20_000, 700),
        (1_000_000, 20_000, 19_999),
        (1_000_000, 20_000, 333_333),
        (100_000, 2_000, 350),
        (7_000_000, 20_000, 41),
    ] {
        let what = format!("a pause of {pause} and attempts of {took} µs");
        let pace = format!("{}.{:06}", pause / 1_000_000, pause % 1_000_000);
        let servers: String = (2..12).map(|last| server(last, TCP)).collect();
        let text = service(&format!("warmup 5\n delay_loop {pace}\n delay_before_retry {pace}\n {servers}"));
        let (bound, took) = (Interval::from_micros(bound), Interval::from_micros(took));
        let mut now = Time::from_micros(1_000_000_000);
        let mut balancer = Balancer::begin(spec(&text), Beginning::default(), 7, now);
        let mut begun: BTreeMap<_, Vec<Time>> = BTreeMap::new();
        let (mut due, mut under_way) = (BTreeMap::new(), VecDeque::new());
        while begun.len() < 10 || begun.values().any(|times| times.len() as u64 <= ROUNDS) {
            let dues = balancer.snapshot(now).services.into_iter().flat_map(|service| service.servers);
            due.extend(dues.filter_map(|server| Some((server.info.endpoint, server.checks[0].due?))));
            let wake = balancer.wake().unwrap_or(Time::NEVER);
            match under_way.front() {
                Some(&(at, attempt)) if at <= wake => {
                    (now, _) = under_way.pop_front().unwrap();
                    balancer.handle(Input::Probed { attempt, finding: Finding::Good }, now);
                }
                _ => {
                    now = wake;
                    balancer.handle(Input::Tick, now);
                }
            }
            while let Some(action) = balancer.poll() {
                let Action::Probe { attempt, probe, .. } = action else { continue };
                let server = probe.checker.connection.as_ref().unwrap().to;
                assert!(
                    now >= due[&server] && now <= due[&server] + bound,
                    "{what}: {server} of {:?} at {now:?}",
                    due[&server]
                );
                begun.entry(server).or_default().push(now);
                under_way.push_back((now + took, attempt));
            }
        }
        for (server, times) in begun {
            let round = Interval::from_micros(pause) + took;
            for (rounds, at) in (0..).zip(&times) {
                let planned = times[0] + round.times(rounds);
                assert!(*at + bound >= planned && *at <= planned + bound, "{what}: {server}, round {rounds}");
            }
        }
    }
}

#[test]
fn one_failure_is_enough_at_the_start_and_retries_count_afterwards() {
    let text = service(&format!("delay_loop 10\n {}", server(2, "TCP_CHECK {\n retry 2\n delay_before_retry 3\n }")));
    let mut bench = Bench::with(&text, |bench| drop(bench.bad.insert(2, Symptom::Refused)));
    assert_eq!(bench.held(), "2:8080=1", "it is in until a check says otherwise");
    bench.run(1_000);
    assert_eq!(bench.held(), "");
    bench.run(20_000);
    assert_eq!(times(&bench), [1_000, 11_000, 21_000], "while it is down there are no retries");
    bench.bad.clear();
    bench.run(10_000);
    bench.bad.insert(2, Symptom::Refused);
    bench.run(16_000);
    assert_eq!(times(&bench)[3..], [31_000, 41_000, 44_000, 47_000]);
    assert_eq!(bench.held(), "");
    // A success clears the count.
    bench.bad.clear();
    bench.run(10_000);
    bench.bad.insert(2, Symptom::Refused);
    bench.run(13_000);
    bench.bad.clear();
    bench.run(3_000);
    bench.bad.insert(2, Symptom::Refused);
    bench.run(13_000);
    assert_eq!(bench.held(), "2:8080=1", "one good answer, and all retries are there again");
}

#[test]
fn several_pages_are_asked_for_one_after_the_other() {
    let pages: String =
        ["/a", "/b", "/c"].map(|path| format!("url {{\n path {path}\n status_code 200\n }}\n")).concat();
    let text = |more: &str| {
        service(&format!("alpha\n delay_loop 2\n {}", server(2, &format!("HTTP_GET {{\n {pages} {more}\n }}"))))
    };
    let mut bench = Bench::new(&text(""));
    bench.run(4_999);
    assert_eq!(bench.held(), "", "a pass is good when its last page was");
    bench.run(1);
    assert_eq!(bench.held(), "2:8080=1");
    assert_eq!(times(&bench), [1_000, 3_000, 5_000]);
    let asked: Vec<usize> = bench.asked.iter().map(|(_, probe)| probe.page).collect();
    assert_eq!(asked, [0, 1, 2]);
    // With fast_recovery there is no pause in the first pass.
    let mut bench = Bench::new(&text("fast_recovery"));
    bench.run(1_000);
    assert_eq!((times(&bench), bench.held()), (vec![1_000; 3], "2:8080=1".to_owned()));
}

#[test]
fn while_down_only_the_page_that_failed_is_asked_for() {
    let pages: String = ["/a", "/b"].map(|path| format!("url {{\n path {path}\n status_code 200\n }}\n")).concat();
    let text = service(&format!(
        "delay_loop 1\n {}",
        server(2, &format!("HTTP_GET {{\n {pages} retry 0\n delay_before_retry 3\n }}"))
    ));
    let mut bench = Bench::new(&text);
    bench.run(2_000);
    bench.asked.clear();
    bench.bad.insert(2, Symptom::Status(500));
    // The page that is next is /a.
    bench.run(7_000);
    let asked: Vec<usize> = bench.asked.iter().map(|(_, probe)| probe.page).collect();
    assert_eq!(asked, [0, 0, 0]);
    let gaps: Vec<u64> = bench.asked.windows(2).map(|two| two[1].0.since(two[0].0).as_millis()).collect();
    assert_eq!(gaps, [3_000, 3_000], "the longer of delay_loop and delay_before_retry");
    // In the recovery pass another page is bad: that pauses too, even with fast_recovery.
    bench.bad.clear();
    bench.run(3_000);
    bench.bad.insert(2, Symptom::Status(500));
    let before = bench.asked.len();
    bench.run(10_000);
    assert!(bench.asked.len() - before <= 4, "{}", bench.asked.len() - before);
}

#[test]
fn a_check_that_could_not_be_made_says_nothing_of_the_server() {
    let text = service(&format!("delay_loop 2\n {}", server(2, TCP)));
    let mut bench = Bench::with(&text, |bench| bench.silent = true);
    bench.run(1_000);
    bench.said();
    let attempt = *bench.open.keys().next().unwrap();
    bench.tell(Input::Probed { attempt, finding: Finding::NotMade(24) });
    assert_eq!(short(bench.said()), ["TCP socket bind failed. Rescheduling. (R2: Too many open files)"]);
    assert_eq!(bench.held(), "2:8080=1");
    // The same answer again is nobody's.
    bench.tell(Input::Probed { attempt, finding: Finding::Bad(Symptom::Refused) });
    assert_eq!(bench.held(), "2:8080=1");
    bench.run(2_000);
    assert_eq!(times(&bench), [1_000, 3_000]);
    assert_eq!(bench.balancer.deadline(), None, "no second attempt while one is under way");
}

#[test]
fn every_kind_of_check_has_the_same_beginning() {
    for kind in [
        "TCP_CHECK {\n retry 2",
        "SMTP_CHECK {\n retry 2",
        "PING_CHECK {\n retry 2",
        "UDP_CHECK {\n retry 2",
        "DNS_CHECK {\n retry 2",
        "HTTP_GET {\n url {\n path /\n }\n retry 2",
        "MISC_CHECK {\n misc_path /m\n retry 2",
    ] {
        for (alpha, told) in [("", "RS R2 V DOWN"), ("alpha\n", "RS R2 V DOWN")] {
            let check = format!("{alpha}{kind}\n }}");
            let mut bench = Bench::with(&service(&format!("delay_loop 5\n {}", server(2, &check))), |bench| {
                bench.bad.insert(2, Symptom::Refused);
                bench.exit = Some(1);
            });
            bench.run(1_000);
            assert!(short(bench.told()).contains(&told.to_owned()), "{check}");
            bench.run(15_000);
            assert_eq!(bench.asked.len(), 4, "{check}: one attempt a delay_loop while it is down");
        }
    }
}
