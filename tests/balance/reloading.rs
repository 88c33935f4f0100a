//! Reloads: what is the same goes on, what changed is told as keepalived tells it.

use crate::harness::*;
use vipd::balance::io::{Command, Input, Selection, Symptom};

fn two(first: &str, second: &str) -> String {
    service(&format!("delay_loop 1\n {first}{second}"))
}

fn plain() -> String {
    two(&server(2, TCP), &server(3, TCP))
}

/// A bench whose servers have been checked, the log forgotten.
fn settled(text: &str) -> Bench {
    let mut bench = Bench::new(text);
    bench.run(3_000);
    bench.said();
    bench.told();
    bench.done();
    bench.asked.clear();
    bench
}

/// What is said, told and done by a reload.
fn reload(bench: &mut Bench, text: &str) -> (Vec<String>, Vec<String>, Vec<String>) {
    bench.reload(text);
    (short(bench.said()), short(bench.told()), short(bench.done()))
}

fn rows(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn the_same_file_moves_nothing() {
    let mut bench = settled(&plain());
    let before = bench.balancer.deadline();
    assert_eq!(reload(&mut bench, &plain()), (vec![], vec![], vec![]));
    assert_eq!(bench.balancer.deadline(), before);
}

#[test]
fn each_change_is_told_as_keepalived_tells_it() {
    let other = "virtual_server 10.0.0.2 80 {\n lb_algo rr\n lb_kind NAT\n protocol TCP\n warmup 0\n delay_loop 1\n real_server 10.1.0.5 8080 {\n }\n }\n";
    let serve = rows(&["serve V"]);
    for (what, text, said, told, done) in [
        (
            "weight",
            plain().replacen("TCP_CHECK", "weight 7\n TCP_CHECK", 1),
            rows(&["Changing weight from 1 to 7 for active service R2 of VS V"]),
            vec![],
            serve.clone(),
        ),
        (
            "server removed",
            two(&server(2, TCP), ""),
            rows(&["service R3 no longer exist", "Removing service R3 from VS V"]),
            rows(&["RS R3 V DOWN"]),
            serve.clone(),
        ),
        (
            "server added",
            two(&server(2, TCP), &(server(3, TCP) + &server(4, TCP))),
            rows(&["Activating healthchecker for service R4 for VS V"]),
            vec![],
            serve.clone(),
        ),
        ("scheduler", plain().replace("lb_algo rr", "lb_algo wrr"), vec![], vec![], serve.clone()),
        (
            "thresholds, which keepalived does not tell the kernel",
            plain().replacen("TCP_CHECK", "uthreshold 10\n lthreshold 5\n TCP_CHECK", 1),
            vec![],
            vec![],
            serve.clone(),
        ),
        (
            "forwarding with another port",
            plain().replace("lb_kind NAT", "lb_kind DR"),
            rows(&[
                "service R2 no longer exist",
                "Removing service R2 from VS V",
                "service R3 no longer exist",
                "Removing service R3 from VS V",
                "Activating healthchecker for service [10.1.0.2]:tcp:80 for VS V",
                "Activating healthchecker for service [10.1.0.3]:tcp:80 for VS V",
            ]),
            // keepalived also tells that the quorum is lost, and never that it is there.
            rows(&["RS R2 V DOWN", "RS R3 V DOWN"]),
            serve.clone(),
        ),
        (
            "service added",
            plain() + other,
            rows(&["Gained quorum 1+0=1 <= 1 for VS [10.0.0.2]:tcp:80"]),
            rows(&["VS [10.0.0.2]:tcp:80 UP"]),
            rows(&["serve [10.0.0.2]:tcp:80"]),
        ),
        (
            "service replaced",
            other.into(),
            rows(&[
                "Removing Virtual Server V",
                "Removing service R2 from VS V",
                "Removing service R3 from VS V",
                "Gained quorum 1+0=1 <= 1 for VS [10.0.0.2]:tcp:80",
            ]),
            rows(&["RS R2 V DOWN", "RS R3 V DOWN", "VS V DOWN", "VS [10.0.0.2]:tcp:80 UP"]),
            rows(&["serve [10.0.0.2]:tcp:80", "withdraw V"]),
        ),
        (
            "quorum above the weights that are there",
            two(&server(2, TCP), &(server(3, TCP))).replace("lb_algo rr", "lb_algo rr\n quorum 2\n hysteresis 1"),
            vec![],
            vec![],
            vec![],
        ),
    ] {
        let mut bench = settled(&plain());
        assert_eq!(reload(&mut bench, &text), (said, told, done), "{what}");
    }
}

#[test]
fn a_quorum_that_is_raised_is_lost() {
    let mut bench = settled(&plain());
    bench.bad.insert(3, Symptom::Refused);
    bench.run(3_000);
    bench.said();
    bench.told();
    bench.done();
    let raised = plain().replace("lb_algo rr", "lb_algo rr\n quorum 2");
    let said = rows(&["Starting with quorum down 2-0=2 > 1 for VS V"]);
    assert_eq!(reload(&mut bench, &raised), (said, rows(&["VS V DOWN"]), vec![]));
}

#[test]
fn sorry_servers_come_and_go() {
    let sorry = |last: u8| format!("sorry_server 10.1.0.{last} 80\n");
    let text = |sorry: &str| service(&format!("delay_loop 1\n {sorry} {}", server(2, TCP)));
    let down = || {
        let mut bench = Bench::with(&text(&sorry(9)), |bench| drop(bench.bad.insert(2, Symptom::Refused)));
        bench.run(3_000);
        bench.said();
        bench.told();
        bench.done();
        bench
    };
    let mut bench = down();
    assert_eq!(bench.held(), "9:80=1");
    let said = rows(&["Removing sorry server S from VS V", "Adding alive servers to the pool for VS V"]);
    assert_eq!(reload(&mut bench, &text("")), (said, vec![], rows(&["serve V"])));
    assert_eq!(bench.held(), "");
    let mut bench = down();
    let said = rows(&[
        "Removing sorry server S from VS V",
        "Starting with quorum down 1-0=1 > 0 for VS V",
        "Adding sorry server [10.1.0.8]:tcp:80 to VS V",
        "Removing alive servers from the pool for VS V",
    ]);
    assert_eq!(reload(&mut bench, &text(&sorry(8))), (said, rows(&["VS V DOWN"]), rows(&["serve V"])));
    assert_eq!(bench.held(), "8:80=1");
}

#[test]
fn entries_of_a_group_come_and_go() {
    let text = |entries: &str| {
        format!(
            "virtual_server_group GA {{\n {entries}\n }}\nvirtual_server group GA {{\n lb_algo rr\n lb_kind NAT\n protocol TCP\n {}\n}}\n",
            server(2, "")
        )
    };
    let mut bench = settled(&text("10.0.0.1-2 80\n 10.0.0.8 80\n fwmark 5"));
    let (said, told, done) = reload(&mut bench, &text("10.0.0.8 80\n 10.0.0.3-4 81\n 10.0.0.9 82\n fwmark 6"));
    assert_eq!(
        said,
        [
            "VS [V-10.0.0.2] in group GA no longer exists",
            "VS [5] in group GA no longer exists",
            "VS [[10.0.0.3]:tcp:81-10.0.0.4] added into group GA",
            "VS [[10.0.0.9]:tcp:82] added into group GA",
            "VS [FWM 6] added into group GA",
        ]
    );
    assert_eq!(told, [""; 0]);
    // New ones first.
    assert!(done[..4].iter().all(|line| line.starts_with("serve")), "{done:?}");
    assert_eq!(done[4..].len(), 3);
    assert!(bench.table.values().all(|picture| shown(picture) == "2:8080=1"));
}

#[test]
fn services_of_a_group_that_change_places_keep_their_servers() {
    let one = |protocol: &str, last: u8| {
        format!(
            "virtual_server group G {{\n lb_algo rr\n lb_kind NAT\n protocol {protocol}\n warmup 0\n delay_loop 1\n {}\n}}\n",
            server(last, TCP)
        )
    };
    let text = |first: String, second: String| format!("virtual_server_group G {{\n 10.0.0.1 80\n }}\n{first}{second}");
    let mut bench = settled(&text(one("TCP", 2), one("UDP", 3)));
    let (said, told, done) = reload(&mut bench, &text(one("UDP", 3), one("TCP", 2)));
    assert_eq!((said, told, done), (vec![], vec![], vec![]));
}

#[test]
fn retries_and_deadlines_survive() {
    let text = |more: &str| {
        service(&format!("delay_loop 10\n {more}\n {}", server(2, "TCP_CHECK {\n retry 2\n delay_before_retry 4\n }")))
    };
    let mut bench = Bench::new(&text(""));
    bench.run(1_000);
    bench.bad.insert(2, Symptom::Refused);
    bench.run(10_000);
    // One retry is used up; the next is due in 4 s. Each second a reload with another change.
    for round in 0..6 {
        bench.reload(&text(&format!("persistence_timeout {}", 100 + round)));
        bench.run(1_000);
    }
    let times: Vec<u64> = bench.asked.windows(2).map(|two| two[1].0.since(two[0].0).as_millis()).collect();
    assert_eq!(times, [10_000, 4_000]);
    assert_eq!(bench.held(), "2:8080=1");
    bench.run(2_000);
    assert_eq!(bench.held(), "", "the third failure is the one that counts");
}

#[test]
fn a_reload_makes_no_burst_of_checks() {
    let text = |more: &str| {
        service(&format!("warmup 30\n delay_loop 30\n {more}\n {}", (2..9).map(|n| server(n, TCP)).collect::<String>()))
    };
    let mut bench = Bench::new(&text(""));
    bench.run(40_000);
    bench.asked.clear();
    for round in 0..30 {
        bench.reload(&text(&format!("persistence_timeout {}", 100 + round)));
        bench.run(1_000);
    }
    assert_eq!(bench.asked.len(), 7, "each once in 30 s");
}

#[test]
fn another_pace_counts_at_once() {
    let text = |pause: u32| service(&format!("delay_loop {pause}\n {}", server(2, TCP)));
    let mut bench = Bench::new(&text(600));
    bench.run(2_000);
    bench.reload(&text(5));
    bench.asked.clear();
    bench.run(5_000);
    assert_eq!(bench.asked.len(), 1);
}

#[test]
fn attempts_go_on_and_those_of_checks_that_are_gone_are_given_up() {
    let mut bench = Bench::with(&plain(), |bench| bench.silent = true);
    bench.run(1_000);
    assert_eq!(bench.open.len(), 2);
    bench.reload(&two(&server(2, TCP), ""));
    assert_eq!((bench.open.len(), bench.abandoned.len()), (1, 1));
    let attempt = *bench.open.keys().next().unwrap();
    let finding = vipd::balance::io::Finding::Bad(Symptom::Refused);
    bench.tell(Input::Probed { attempt, finding });
    assert_eq!(bench.held(), "");
}

#[test]
fn new_servers_are_in_at_once_and_have_all_their_retries() {
    let retries = "TCP_CHECK {\n retry 2\n delay_before_retry 1\n }";
    let mut bench = settled(&two(&server(2, TCP), ""));
    bench.bad.insert(4, Symptom::Refused);
    bench.reload(&two(&server(2, TCP), &server(4, retries)));
    assert_eq!(bench.held(), "2:8080=1 4:8080=1");
    bench.run(2_000);
    assert_eq!(bench.held(), "2:8080=1 4:8080=1");
    bench.run(1_000);
    assert_eq!(short(bench.told()), ["RS R4 V DOWN"]);
    // Alpha: not before the first success.
    let mut bench = settled(&two(&server(2, TCP), ""));
    bench.reload(&two(&server(2, TCP), &server(4, &format!("alpha\n {retries}"))));
    assert_eq!(bench.held(), "2:8080=1");
    bench.run(1_000);
    assert_eq!(bench.held(), "2:8080=1 4:8080=1");
}

#[test]
fn a_server_whose_bad_check_is_taken_away_is_up() {
    let mut bench = settled(&two(&server(2, "TCP_CHECK {\n }\n PING_CHECK {\n }"), ""));
    bench.bad.insert(2, Symptom::Refused);
    bench.run(3_000);
    bench.said();
    bench.told();
    let (said, told, _) = reload(&mut bench, &two(&server(2, ""), ""));
    assert_eq!(said, ["Adding service R2 to VS V", "Gained quorum 1+0=1 <= 1 for VS V"]);
    assert_eq!(told, ["RS R2 V UP", "VS V UP"]);
}

#[test]
fn inhibit_is_switched_while_a_server_is_down() {
    let on = |text: String| text.replace("lb_algo rr", "lb_algo rr\n inhibit_on_failure");
    let mut bench = settled(&plain());
    bench.bad.insert(2, Symptom::Refused);
    bench.run(3_000);
    bench.said();
    let (said, ..) = reload(&mut bench, &on(plain()));
    assert_eq!((said, bench.held()), (vec![], "2:8080=0 3:8080=1".to_owned()));
    let (said, ..) = reload(&mut bench, &plain());
    assert_eq!((said, bench.held()), (vec![], "3:8080=1".to_owned()));
}

#[test]
fn what_an_operator_set_stays_over_reloads() {
    let which = |last: u8| Selection { service: None, address: address(&format!("10.1.0.{last}")), port: None };
    let mut bench = settled(&plain());
    assert_eq!(bench.balancer.reaches(&which(2)), 1);
    bench.tell(Input::Command(Command::Drain(which(2))));
    bench.tell(Input::Command(Command::Weigh(which(3), Some(40))));
    assert_eq!(bench.held(), "2:8080=0 3:8080=40");
    assert_eq!(
        short(bench.said()),
        [
            "service R2 of VS V is drained by an operator",
            "Changing weight from 1 to 0 for active service R2 of VS V",
            "service R3 of VS V is given weight 40 by an operator",
            "Changing weight from 1 to 40 for active service R3 of VS V",
        ]
    );
    bench.reload(&plain().replace("TCP_CHECK", "weight 5\n TCP_CHECK"));
    assert_eq!((bench.held(), bench.said()), ("2:8080=0 3:8080=40".to_owned(), vec![]));
    bench.tell(Input::Command(Command::Undrain(which(2))));
    bench.tell(Input::Command(Command::Weigh(which(3), None)));
    assert_eq!(bench.held(), "2:8080=5 3:8080=5");
    // All are drained: nobody is left to serve, and that is told.
    bench.tell(Input::Command(Command::Drain(which(2))));
    bench.tell(Input::Command(Command::Drain(which(3))));
    assert_eq!(short(bench.told()).last().unwrap(), "VS V DOWN");
}

#[test]
fn a_weight_of_a_program_survives_a_failure_that_is_tried_again() {
    let check =
        "MISC_CHECK {\n misc_path \"/c/misc.sh -x\"\n misc_dynamic\n delay_loop 1\n retry 5\n delay_before_retry 1\n }";
    let text = service(&server(2, &format!("weight 10\n {check}")));
    let mut bench = Bench::with(&text, |bench| bench.exit = Some(52));
    bench.run(1500);
    assert_eq!(bench.held(), "2:8080=50");
    bench.exit = Some(1);
    bench.run(1000);
    assert_eq!(bench.held(), "2:8080=50", "it is tried again first");
    bench.said();
    bench.reload(&text);
    assert_eq!((bench.held(), bench.said()), ("2:8080=50".to_owned(), vec![]));
    // A server that comes with the reload knows at once what the check of the other has found out.
    bench.exit = Some(52);
    bench.run(2000);
    let second = service(&server(2, &format!("weight 20\n {check}")))
        .replace("virtual_server 10.0.0.1 80", "virtual_server 10.0.0.9 80");
    bench.reload(&format!("{text}\n{second}"));
    let held: Vec<String> = bench.table.values().map(|picture| shown(picture)).collect();
    assert_eq!(held, ["2:8080=50", "2:8080=50"]);
}
