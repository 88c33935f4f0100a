//! When checks are made.

use crate::harness::*;
use vipd::balance::io::{Finding, Input, Symptom};
use vipd::time::Time;

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
