//! Runs of keepalived 2.4.3, replayed: log, FIFO, table after each step. Each `expect` is what it wrote.

use crate::harness::*;
use vipd::balance::io::{Beginning, Command, Input, Symptom, TrackValue, Tracker};

fn alpha_pair() -> String {
    let checks = "TCP_CHECK {\n }";
    service(&format!(
        "alpha\n delay_loop 2\n retry 1\n delay_before_retry 1\n sorry_server 10.1.0.9 80\n {}{}",
        server(2, checks),
        server(3, checks)
    ))
}

#[test]
fn alpha_two_checkers_and_a_sorry_server() {
    let mut bench = Bench::with(&alpha_pair(), |bench| {
        bench.bad.insert(2, Symptom::Refused);
        bench.bad.insert(3, Symptom::Refused);
    });
    assert_eq!(
        short(bench.said()),
        [
            "Starting with quorum down 1-0=1 > 0 for VS V",
            "Adding sorry server S to VS V",
            "Removing alive servers from the pool for VS V",
            "Activating healthchecker for service R2 for VS V",
            "Activating healthchecker for service R3 for VS V",
        ]
    );
    assert_eq!(bench.held(), "9:80=1");
    bench.run(1000);
    assert_eq!(short(bench.said()), ["TCP_CHECK on service R2 failed.", "TCP_CHECK on service R3 failed."]);
    bench.bad.remove(&2);
    bench.run(2000);
    assert_eq!(
        short(bench.said()),
        [
            "TCP connection to R2 success.",
            "Adding service R2 to VS V",
            "Gained quorum 1+0=1 <= 1 for VS V",
            "Removing sorry server S from VS V",
            "Adding alive servers to the pool for VS V",
        ]
    );
    assert_eq!(bench.held(), "2:8080=1");
    bench.bad.remove(&3);
    bench.run(2000);
    assert_eq!(short(bench.said()), ["TCP connection to R3 success.", "Adding service R3 to VS V"]);
    assert_eq!(bench.held(), "2:8080=1 3:8080=1");
    bench.bad.insert(2, Symptom::Refused);
    bench.run(2000);
    assert_eq!(bench.held(), "2:8080=1 3:8080=1", "one retry is left");
    bench.run(1000);
    assert_eq!(
        short(bench.said()),
        ["TCP_CHECK on service R2 failed after 1 retries.", "Removing service R2 from VS V"]
    );
    assert_eq!(bench.held(), "3:8080=1");
    bench.bad.insert(3, Symptom::Refused);
    bench.run(3000);
    assert_eq!(
        short(bench.said()),
        [
            "TCP_CHECK on service R3 failed after 1 retries.",
            "Removing service R3 from VS V",
            "Lost quorum 1-0=1 > 0 for VS V",
            "Adding sorry server S to VS V",
            "Removing alive servers from the pool for VS V",
        ]
    );
    assert_eq!(bench.held(), "9:80=1");
    bench.bad.remove(&2);
    bench.run(2000);
    bench.said();
    bench.tell(Input::Command(Command::Stop { keep: false }));
    assert_eq!(short(bench.said()), ["Shutting down service R2 from VS V", "Shutting down service R3 from VS V"]);
    assert!(bench.table.is_empty());
    assert_eq!(
        short(bench.told()),
        [
            "VS V DOWN",
            "RS R2 V DOWN",
            "RS R3 V DOWN",
            "RS R2 V UP",
            "VS V UP",
            "RS R3 V UP",
            "RS R2 V DOWN",
            "RS R3 V DOWN",
            "VS V DOWN",
            "RS R2 V UP",
            "VS V UP",
        ]
    );
    assert_eq!(
        short(std::mem::take(&mut bench.mails)),
        [
            "[X] Realserver R2 of virtual server V - UP / => TCP CHECK succeed on service <=",
            "[X] Realserver R3 of virtual server V - UP / => TCP CHECK succeed on service <=",
            "[X] Realserver R2 of virtual server V - DOWN / => TCP CHECK failed on service <=",
            "[X] Realserver R3 of virtual server V - DOWN / => TCP CHECK failed on service <=",
            "[X] Realserver R2 of virtual server V - UP / => TCP CHECK succeed on service <=",
        ]
    );
}

#[test]
fn quorum_hysteresis_omega_and_an_inhibited_sorry_server() {
    let check = "TCP_CHECK {\n retry 1\n }";
    let servers: String = [2, 3, 4].map(|n| server(n, check)).concat();
    let text = service(&format!(
        "alpha\n omega\n quorum 2\n hysteresis 1\n delay_loop 1\n smtp_alert\n sorry_server 10.1.0.9 80\n sorry_server_inhibit\n {servers}"
    ));
    let mut bench = Bench::with(&text, |bench| {
        (2..5).for_each(|n| drop(bench.bad.insert(n, Symptom::Refused)));
    });
    let without_checks = |lines: Vec<String>| -> Vec<String> {
        short(lines).into_iter().filter(|line| !line.contains("TCP") && !line.contains("healthchecker")).collect()
    };
    assert_eq!(
        without_checks(bench.said()),
        [
            "Starting with quorum down 2-1=3 > 0 for VS V",
            "Enabling sorry server S to VS V",
            "Removing alive servers from the pool for VS V",
        ]
    );
    assert_eq!(bench.held(), "9:80=1");
    for last in [2, 3] {
        bench.bad.remove(&last);
        bench.run(1000);
        assert_eq!(without_checks(bench.said()), [format!("Adding service R{last} to VS V")]);
        assert_eq!(bench.held(), "9:80=1");
    }
    bench.bad.remove(&4);
    bench.run(1000);
    assert_eq!(
        without_checks(bench.said()),
        [
            "Adding service R4 to VS V",
            "Gained quorum 2+1=3 <= 3 for VS V",
            "Disabling sorry server S from VS V",
            "Adding alive servers to the pool for VS V",
        ]
    );
    assert_eq!(bench.held(), "2:8080=1 3:8080=1 4:8080=1 9:80=0");
    for last in [2, 3] {
        bench.bad.insert(last, Symptom::Refused);
        bench.run(2000);
        assert_eq!(without_checks(bench.said()), [format!("Removing service R{last} from VS V")]);
    }
    assert_eq!(bench.held(), "4:8080=1 9:80=0");
    bench.bad.insert(4, Symptom::Refused);
    bench.run(2000);
    assert_eq!(
        without_checks(bench.said()),
        [
            "Removing service R4 from VS V",
            "Lost quorum 2-1=1 > 0 for VS V",
            "Enabling sorry server S to VS V",
            "Removing alive servers from the pool for VS V",
        ]
    );
    assert_eq!(bench.held(), "9:80=1");
    bench.bad.clear();
    bench.run(1000);
    bench.said();
    bench.told();
    bench.tell(Input::Command(Command::Stop { keep: false }));
    assert_eq!(short(bench.said()), [2, 3, 4].map(|n| format!("Shutting down service R{n} from VS V")));
    assert_eq!(short(bench.told()), ["RS R2 V DOWN", "RS R3 V DOWN", "RS R4 V DOWN", "VS V DOWN"]);
}

#[test]
fn inhibited_servers_stay_with_weight_0() {
    let check = "TCP_CHECK {\n retry 1\n }";
    let servers = format!("{}{}", server(2, &format!("weight 5\n {check}")), server(3, check));
    let text = service(&format!("alpha\n inhibit_on_failure\n delay_loop 1\n sorry_server 10.1.0.9 80\n {servers}"));
    let mut bench = Bench::with(&text, |bench| {
        (2..4).for_each(|n| drop(bench.bad.insert(n, Symptom::Refused)));
    });
    assert_eq!(bench.held(), "2:8080=0 3:8080=0 9:80=1");
    bench.run(1000);
    bench.said();
    bench.bad.remove(&2);
    bench.run(1000);
    assert_eq!(
        short(bench.said())[1..],
        [
            "Enabling service R2 of VS V",
            "Gained quorum 1+0=1 <= 5 for VS V",
            "Removing sorry server S from VS V",
            "Adding alive servers to the pool for VS V",
        ]
    );
    assert_eq!(bench.held(), "2:8080=5 3:8080=0");
    bench.bad.insert(2, Symptom::Refused);
    bench.run(2000);
    assert_eq!(short(bench.said())[1..3], ["Disabling service R2 of VS V", "Lost quorum 1-0=1 > 0 for VS V"]);
    assert_eq!(bench.held(), "2:8080=0 3:8080=0 9:80=1");
    bench.tell(Input::Command(Command::Stop { keep: false }));
    assert_eq!(short(bench.said())[0], "Shutting down (inhibited) service R2 from VS V");
}

#[test]
fn exit_codes_of_a_dynamic_program_in_turn() {
    let check = "MISC_CHECK {\n misc_path \"/c/misc.sh -x\"\n misc_dynamic\n delay_loop 1\n }";
    let mut bench = Bench::with(&service(&server(2, &format!("weight 10\n {check}"))), |bench| bench.exit = Some(0));
    bench.said();
    let by = "Misc check for [R2 VS V] by [/c/misc.sh]";
    let gone = format!("{by} failed with retry disabled");
    let lost = "Lost quorum 1-0=1 > 0 for VS V";
    let steps: [(i32, Vec<String>, &str); 9] = [
        (0, vec![format!("{by} succeeded.")], "2:8080=10"),
        (5, vec!["Changing weight from 10 to 3 for active service R2 of VS V".into()], "2:8080=3"),
        (1, vec![format!("{gone} (exited with status 1)."), "Removing service R2 from VS V".into(), lost.into()], ""),
        (
            0,
            vec![
                format!("{by} succeeded."),
                "Adding service R2 to VS V".into(),
                "Gained quorum 1+0=1 <= 10 for VS V".into(),
            ],
            "2:8080=10",
        ),
        (255, vec!["Changing weight from 10 to 253 for active service R2 of VS V".into()], "2:8080=253"),
        (2, vec!["Changing weight from 253 to 0 for active service R2 of VS V".into(), lost.into()], "2:8080=0"),
        (
            12,
            vec![
                "Changing weight from 0 to 10 for active service R2 of VS V".into(),
                "Gained quorum 1+0=1 <= 10 for VS V".into(),
            ],
            "2:8080=10",
        ),
        (-10, vec![format!("{gone} (due to signal 10)."), "Removing service R2 from VS V".into(), lost.into()], ""),
        (
            7,
            vec![
                "Changing weight from 10 to 5 for inactive service R2 of VS V".into(),
                format!("{by} succeeded."),
                "Adding service R2 to VS V".into(),
                "Gained quorum 1+0=1 <= 5 for VS V".into(),
            ],
            "2:8080=5",
        ),
    ];
    for (code, said, held) in steps {
        bench.exit = Some(code);
        bench.run(1000);
        assert_eq!(short(bench.said()), said, "exit code {code}");
        assert_eq!(bench.held(), held, "exit code {code}");
    }
    let mails = short(bench.mails);
    assert_eq!(mails[0], "[X] Realserver R2 of virtual server V - DOWN / => MISC CHECK failed on service <=");
    assert_eq!(mails[1], "[X] Realserver R2 of virtual server V - UP / => MISC CHECK succeeded on service <=");
    assert_eq!(mails.len(), 4, "changes only");
}

#[test]
fn retries_of_a_program_are_logged_one_by_one_with_log_all_failures() {
    let check =
        "MISC_CHECK {\n misc_path /c/misc.sh\n retry 2\n delay_before_retry 0.5\n delay_loop 1\n log_all_failures\n }";
    let mut bench = Bench::with(&service(&server(2, check)), |bench| bench.exit = Some(0));
    bench.run(1000);
    bench.said();
    bench.exit = Some(255);
    bench.run(2000);
    let by = "Misc check for [R2 VS V] by [/c/misc.sh] failed";
    assert_eq!(
        short(bench.said())[..4],
        [
            format!("{by}, will do 2 retries (exited with status 255)."),
            format!("{by} on retry 1/2 (exited with status 255)."),
            format!("{by} after 2 retries (exited with status 255)."),
            "Removing service R2 from VS V".into(),
        ]
    );
}

fn http(inside: &str) -> String {
    let check = format!("HTTP_GET {{\n url {{\n path /\n status_code 200\n }}\n {inside}\n }}");
    service(&format!("delay_loop 2\n {}", server(2, &check)))
}

#[test]
fn a_page_that_was_bad_must_be_good_twice() {
    let mut bench = Bench::new(&http("retry 2\n delay_before_retry 1"));
    bench.run(1000);
    assert_eq!(short(bench.said()).last().unwrap(), "Remote Web server R2 succeed on service.");
    bench.bad.insert(2, Symptom::Status(500));
    // Three attempts, a second apart.
    bench.run(3999);
    assert_eq!(bench.said(), [""; 0]);
    bench.run(1);
    assert_eq!(
        short(bench.said())[..2],
        ["HTTP_CHECK on service R2 failed after 2 retries.", "Removing service R2 from VS V"]
    );
    bench.bad.clear();
    bench.run(2000);
    assert_eq!(short(bench.said()), ["HTTP status code success to R2 url(/)"]);
    bench.run(2000);
    assert_eq!(
        short(bench.said())[..3],
        [
            "HTTP status code success to R2 url(/)",
            "Remote Web server R2 succeed on service.",
            "Adding service R2 to VS V"
        ]
    );
    // With fast_recovery the second follows at once.
    let mut bench = Bench::new(&http("retry 0\n fast_recovery"));
    bench.run(1000);
    bench.bad.insert(2, Symptom::Status(500));
    bench.run(2000);
    bench.bad.clear();
    bench.said();
    bench.run(3000);
    assert_eq!(short(bench.said())[..2], ["HTTP status code success to R2 url(/)"; 2]);
    assert_eq!(bench.held(), "2:8080=1");
}

#[test]
fn what_a_page_found_is_logged_with_log_all_failures() {
    for (symptom, text) in [
        (Symptom::Status(404), "HTTP status code error to server R2."),
        (Symptom::Digest([0; 16]), "MD5 digest error to server R2."),
        (Symptom::Pattern, "Regex match failed server R2."),
        (Symptom::TimedOut(vipd::balance::io::Stage::Answer), "Timeout HTTP read server R2."),
        (Symptom::Closed(vipd::balance::io::Stage::Answer), "Read, no data received from  server R2."),
    ] {
        let mut bench = Bench::new(&http("retry 1\n log_all_failures"));
        bench.said();
        bench.bad.insert(2, symptom);
        bench.run(1000);
        assert_eq!(
            short(bench.said())[..3],
            [text, "HTTP_CHECK on service R2 failed after 1 retries.", "Removing service R2 from VS V"]
        );
    }
}

fn file_check(inside: &str) -> String {
    let check = format!("FILE_CHECK {{\n track_file t1\n {inside}\n }}");
    format!("track_file t1 {{\n file /t\n weight 1\n }}\n{}", service(&server(2, &format!("weight 10\n {check}"))))
}

fn file(value: i64) -> (Tracker, TrackValue) {
    (Tracker::File("t1".into()), TrackValue::Number(value))
}

#[test]
fn a_file_weighs_or_is_a_fault() {
    let begin = |inside: &str, value: i64| {
        let world = Beginning { trackers: [file(value)].into(), ..Beginning::default() };
        let mut bench = Bench::of(spec(&file_check(inside)), world, |_| {});
        bench.said();
        bench
    };
    assert_eq!(begin("weight 2", 5).held(), "2:8080=20");
    let mut bench = begin("weight 3 reverse", 5);
    assert_eq!(bench.held(), "2:8080=0");
    let (tracker, value) = file(-3);
    bench.tell(Input::Tracked { tracker, value });
    assert_eq!(
        short(bench.said()),
        ["Changing weight from 0 to 19 for active service R2 of VS V", "Gained quorum 1+0=1 <= 19 for VS V"]
    );
    let mut bench = begin("weight 0", 0);
    assert_eq!(bench.held(), "2:8080=10");
    for (value, said, held) in [
        (1, vec!["(R2): tracked file t1 now FAULT state", "Removing service R2 from VS V"], ""),
        (0, vec!["(R2): tracked file t1 leaving FAULT state", "Adding service R2 to VS V"], "2:8080=10"),
    ] {
        let (tracker, value) = file(value);
        bench.tell(Input::Tracked { tracker, value });
        assert_eq!(short(bench.said())[..2], said[..]);
        assert_eq!(bench.held(), held);
    }
    // At start too: keepalived forgets `reverse` there.
    assert_eq!(begin("weight 0 reverse", 1).held(), "2:8080=10");
    assert_eq!(begin("weight 0 reverse", 0).held(), "");
    // The track_file's own weight.
    assert_eq!(begin("", -4).held(), "2:8080=6");
}

#[test]
fn checks_sleep_while_the_address_is_elsewhere() {
    let text = service(&format!("alpha\n ha_suspend\n delay_loop 1\n {}", server(2, "TCP_CHECK {\n retry 1\n }")));
    let mut bench = Bench::new(&text);
    assert_eq!(short(bench.said()), ["Deactivating healthchecker for service R2 for VS V"]);
    bench.run(3000);
    assert!(bench.asked.is_empty());
    let here = |interface, here| Input::Address { interface, address: address("10.0.0.1"), here };
    bench.tell(here(1, true));
    assert_eq!(short(bench.said()), ["Activating healthchecker for service R2 for VS V"]);
    bench.run(1000);
    assert_eq!(
        short(bench.said()),
        ["TCP connection to R2 success.", "Adding service R2 to VS V", "Gained quorum 1+0=1 <= 1 for VS V"]
    );
    // The same address told twice, and on a second interface: it is here until the last is gone.
    bench.tell(here(1, true));
    bench.tell(here(2, true));
    bench.tell(here(1, false));
    assert_eq!(bench.said(), [""; 0]);
    bench.tell(here(2, false));
    assert_eq!(short(bench.said()), ["Suspending healthchecker for service R2 for VS V"]);
    bench.bad.insert(2, Symptom::Refused);
    bench.run(5000);
    assert_eq!((bench.said(), bench.held()), (vec![], "2:8080=1".to_owned()));
    bench.tell(Input::Addresses(vec![(3, address("10.0.0.1"))]));
    bench.run(3000);
    assert_eq!(
        short(bench.said())[..3],
        [
            "Activating healthchecker for service R2 for VS V",
            "TCP_CHECK on service R2 failed after 1 retries.",
            "Removing service R2 from VS V"
        ]
    );
    // A group is where one of its addresses is; keepalived never wakes its checks.
    let grouped = format!(
        "virtual_server_group G {{\n 10.0.0.1-5 80\n }}\nvirtual_server group G {{\n lb_algo rr\n lb_kind NAT\n protocol TCP\n warmup 0\n delay_loop 1\n ha_suspend\n {}\n}}\n",
        server(2, TCP)
    );
    let mut bench = Bench::new(&grouped);
    bench.run(2000);
    assert!(bench.asked.is_empty());
    bench.tell(Input::Address { interface: 1, address: address("10.0.0.4"), here: true });
    bench.run(1000);
    assert!(!bench.asked.is_empty());
}

#[test]
fn the_ways_to_stop() {
    let text =
        |global: &str| format!("global_defs {{\n {global}\n }}\n{}", service(&format!("omega\n {}", server(2, TCP))));
    let stop = |global: &str, keep: bool| {
        let mut bench = Bench::new(&text(global));
        bench.said();
        bench.told();
        bench.done();
        bench.tell(Input::Command(Command::Stop { keep }));
        (short(bench.said()), short(bench.told()), short(bench.done()))
    };
    let none: Vec<String> = Vec::new();
    let rows = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<String>>();
    let gone = rows(&["RS R2 V DOWN", "VS V DOWN"]);
    let shutting = rows(&["Shutting down service R2 from VS V"]);
    assert_eq!(stop("", false), (shutting, gone, rows(&["withdraw V"])));
    assert_eq!(stop("lvs_flush_on_stop VS", false), (none.clone(), rows(&["VS V DOWN"]), rows(&["withdraw V"])));
    assert_eq!(stop("lvs_flush_on_stop", false), (none.clone(), rows(&["VS V DOWN"]), rows(&["flush"])));
    assert_eq!(stop("", true), (none.clone(), none.clone(), none));
}

fn followed(inside: &str, of_service: &str) -> String {
    let session = "bfd_instance P {\n neighbor_ip 10.9.0.2\n source_ip 10.9.0.1\n}\n";
    let check = format!("weight 10\n BFD_CHECK {{\n name P\n {inside}\n }}");
    format!("{session}{}", service(&format!("{of_service}\n {}", server(2, &check))))
}

/// A BFD_CHECK has no schedule, no retry and no delay: the session's level is the check's.
#[test]
fn a_bfd_check_follows_its_session() {
    let level = |up: bool| Input::Tracked { tracker: Tracker::Bfd("P".into()), value: TrackValue::Up(up) };
    // Before the first word it counts as good, with `alpha` as bad.
    let mut bench = Bench::new(&followed("", "smtp_alert"));
    assert_eq!(bench.held(), "2:8080=10");
    bench.said();
    for (up, line, change, held, subject) in [
        (
            false,
            "BFD check of [P] RS(R2) is DOWN",
            "Removing service R2 from VS V",
            "",
            "=> BFD CHECK P failed on service <=",
        ),
        (
            true,
            "BFD check of [P] RS(R2) is UP",
            "Adding service R2 to VS V",
            "2:8080=10",
            "=> BFD CHECK P succeeded on service <=",
        ),
    ] {
        bench.tell(level(up));
        assert_eq!(short(bench.said())[..2], [line, change]);
        assert_eq!(bench.held(), held);
        let mails = std::mem::take(&mut bench.mails);
        assert!(mails.iter().any(|mail| mail.contains(subject)), "{mails:?}");
        // Sessions tell their level again after a reload: that is no news.
        bench.tell(level(up));
        assert_eq!(short(bench.said()), [] as [&str; 0]);
    }
    assert_eq!(bench.balancer.deadline(), None, "it has no schedule");
    let mut bench = Bench::new(&followed("alpha", ""));
    assert_eq!(bench.held(), "");
    bench.said();
    bench.tell(level(true));
    assert_eq!(short(bench.said())[..2], ["BFD check of [P] RS(R2) is UP", "Adding service R2 to VS V"]);
    assert_eq!(bench.held(), "2:8080=10");
    // The state is carried over a reload of the same server.
    bench.tell(level(false));
    bench.said();
    bench.reload(&followed("alpha", "").replace("weight 10", "weight 20"));
    assert_eq!(bench.held(), "");
    bench.tell(level(true));
    assert_eq!(bench.held(), "2:8080=20");
    // A session of another name is nobody's here.
    bench.said();
    bench.tell(Input::Tracked { tracker: Tracker::Bfd("Q".into()), value: TrackValue::Up(false) });
    assert_eq!((short(bench.said()), bench.held()), (Vec::new(), "2:8080=20".to_owned()));
}
