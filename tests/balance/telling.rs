//! What people are told of virtual servers: the history, `vipctl explain`, and the JSON of both, made of what the balancer did.

use crate::harness::*;
use std::sync::Arc;
use vipd::balance::io::{Beginning, Command, Input, NO_IPVS, Selection, Stage, Symptom, TrackValue, Tracker, Traffic};
use vipd::cli::explain_server;
use vipd::cli::paint::Paint;
use vipd::observe::balance::{story, view};
use vipd::observe::{History, Hub, Wishes};
use vipd::spec::Spec;
use vipd::vrrp::snapshot::Snapshot;

/// A history that heard everything up to now, under `text`'s configuration.
fn history(bench: &Bench, text: &str) -> History {
    let history = History::default();
    let mut hub = Hub::new(vec![Box::new(history.clone())]);
    let spec = Spec { balance: spec(text), ..Spec::default() };
    hub.reconfigure(Arc::new(spec), &Snapshot::default());
    for (at, event) in (1..).zip(&bench.events) {
        hub.balance(event, at, &mut Wishes::default());
    }
    history
}

fn remembered(history: &History, name: &str) -> Vec<String> {
    let moments = history.of_name(Some(name)).unwrap_or_default();
    short(moments.iter().map(|moment| moment.event["text"].as_str().unwrap().to_owned()).collect())
}

fn explained(bench: &Bench, only: Option<&str>) -> Option<String> {
    let value = view::json(&bench.balancer.snapshot(bench.now), Some(&Traffic::default()), 50_000_000);
    let services = value["services"].as_array().unwrap();
    explain_server::render(services, only, 50_000_000, Paint::plain())
}

fn of(which: u8) -> Selection {
    Selection { service: None, address: address(&format!("10.1.0.{which}")), port: Some(8080) }
}

#[test]
fn every_change_is_remembered_with_its_reason() {
    let text = service(&format!(
        "delay_loop 1\n sorry_server 10.1.0.9 80\n {}{}",
        server(2, &format!("retry 1\n delay_before_retry 1\n weight 5\n {TCP}")),
        server(3, "weight 10\n MISC_CHECK {\n misc_path /bin/true\n misc_dynamic\n }"),
    ));
    let mut bench = Bench::new(&text);
    bench.exit = Some(5);
    bench.run(2_000);
    bench.bad.insert(2, Symptom::TimedOut(Stage::Connect));
    bench.run(4_000);
    bench.exit = Some(1);
    bench.run(4_000);
    bench.tell(Input::Command(Command::Drain(of(3))));
    bench.bad.clear();
    bench.run(4_000);
    let history = history(&bench, &text);
    assert_eq!(
        remembered(&history, "10.1.0.2"),
        ["R2 of V is out: TCP_CHECK: no answer in time while connecting", "R2 of V is in: TCP_CHECK is good",]
    );
    assert_eq!(
        remembered(&history, "[10.1.0.3]:tcp:8080"),
        [
            "R3 of V weighs 3 instead of 10: the program of MISC_CHECK ended with exit code 5",
            "R3 of V is out: MISC_CHECK: the program ended with exit code 1",
            "service R3 of VS V is drained by an operator",
            "R3 of V weighs 0 instead of 10: an operator said so",
        ]
    );
    let service = remembered(&history, "10.0.0.1:80");
    let quorum: Vec<&String> = service.iter().filter(|line| line.starts_with("V ")).collect();
    assert_eq!(
        quorum,
        [
            "V has its quorum: the servers that count weigh 15; below 1 the quorum is lost",
            "V has lost its quorum: the servers that count weigh 0; 1 is needed; the sorry server S serves",
            "V has its quorum: the servers that count weigh 5; below 1 the quorum is lost; the sorry server S goes out",
        ]
    );
    assert_eq!(service.len(), 9, "those of its servers too, in their order");
    assert_eq!(history.of_name(Some("10.1.0.4")), None);
    assert_eq!(History::of(history.record()).of_name(None), history.of_name(None));
}

#[test]
fn a_name_that_two_configurations_do_not_have_is_forgotten() {
    let text = service(&server(2, TCP));
    let mut bench = Bench::new(&text);
    bench.bad.insert(2, Symptom::Refused);
    bench.run(5_000);
    let history = history(&bench, &text);
    let mut hub = Hub::new(vec![Box::new(history.clone())]);
    for (text, kept) in [(text.as_str(), true), ("", true), ("", false)] {
        hub.reconfigure(Arc::new(Spec { balance: spec(text), ..Spec::default() }), &Snapshot::default());
        assert_eq!(history.of_name(Some("10.1.0.2:8080")).is_some(), kept);
    }
}

#[test]
fn a_thousand_servers_that_flap_are_remembered_within_bounds() {
    let history = History::default();
    let event = serde_json::json!({ "text": "" });
    for at in 0..100 {
        for server in 0..2_000 {
            history.note(
                &format!("[10.0.0.1]:tcp:80 -> [10.1.{}.{}]:tcp:80", server / 250, server % 250),
                at,
                event.clone(),
            );
        }
    }
    let kept = history.of_name(None).unwrap().len();
    assert!((8_000..=40_000).contains(&kept), "{kept}");
}

#[test]
fn checks_that_are_suspended_are_remembered_once() {
    let text = service(&format!("ha_suspend\n delay_loop 1\n {}{}", server(2, TCP), server(3, TCP)));
    let mut bench = Bench::new(&text);
    let vip = |here| Input::Address { interface: 2, address: address("10.0.0.1"), here };
    for here in [true, false, true] {
        bench.tell(vip(here));
        bench.run(2_000);
    }
    let lines = remembered(&history(&bench, &text), "[10.0.0.1]:tcp:80");
    let checks: Vec<&str> = lines.iter().filter(|line| line.contains("the checks of")).map(String::as_str).collect();
    let not = "the checks of V are not made: its address is not here (ha_suspend)";
    assert_eq!(checks, [not, "the checks of V are made", not, "the checks of V are made"]);
}

#[test]
fn an_explanation_says_what_would_bring_a_server_back() {
    let page =
        "HTTP_GET {\n url {\n path /a\n status_code 200\n }\n url {\n path /b?key=secret\n status_code 200\n }\n }";
    let text = service(&format!(
        "delay_loop 5\n quorum 2\n sorry_server 10.1.0.9 80\n {}{}{}",
        server(2, page),
        server(3, &format!("retry 2\n {TCP}")),
        server(4, "FILE_CHECK {\n track_file load\n weight 2\n }"),
    ));
    let text = format!("track_file load {{\n file /tmp/load\n}}\n{text}");
    let mut bench = Bench::new(&text);
    bench.bad.insert(2, Symptom::Status(503));
    bench.run(3_000);
    bench.tell(Input::Tracked { tracker: Tracker::File("load".into()), value: TrackValue::Number(-1) });
    bench.run(20_000);
    let two = explained(&bench, Some("10.1.0.2")).unwrap();
    assert!(two.contains("[10.1.0.2]:tcp:8080 of [10.0.0.1]:tcp:80 is out since "), "{two}");
    assert!(two.contains("why       HTTP_GET: it answered with status 503."), "{two}");
    assert!(two.contains("HTTP_GET is bad: it answered with status 503 ("), "{two}");
    assert!(
        two.contains("back      HTTP_GET must be good for /a, and then all of its 2 pages; it is made in "),
        "{two}"
    );
    assert!(!two.contains("secret"), "{two}");
    let three = explained(&bench, Some("[10.1.0.3]:8080")).unwrap();
    assert!(three.contains("it is good, and waits for the quorum: the servers that count weigh"), "{three}");
    let four = explained(&bench, Some("[10.1.0.4]:tcp:8080")).unwrap();
    assert!(four.contains("weight    -1 = 1 configured - 2 FILE_CHECK of load."), "{four}");
    bench.tell(Input::Command(Command::Drain(of(3))));
    let three = explained(&bench, Some("10.1.0.3")).unwrap();
    assert!(three.contains("back      an operator must give it back: vipctl undrain-server 10.1.0.3:8080."), "{three}");
    assert!(three.contains("weight    0 = 0 drained by an operator; 1 configured."), "{three}");
    let whole = explained(&bench, Some("10.0.0.1")).unwrap();
    assert!(whole.contains("the sorry server [10.1.0.9]:tcp:80 serves."), "{whole}");
    assert_eq!(whole.matches(" of [10.0.0.1]:tcp:80 is ").count(), 3, "{whole}");
    assert_eq!(explained(&bench, Some("10.1.0.5")), None);
}

#[test]
fn what_needs_no_explanation_is_passed_over_where_nobody_asked_for_it() {
    let text = service(&format!("delay_loop 1\n {}{}", server(2, &format!("retry 2\n {TCP}")), server(3, TCP)));
    let mut bench = Bench::new(&text);
    bench.bad.insert(3, Symptom::Refused);
    bench.run(10_000);
    let all = explained(&bench, None).unwrap();
    assert!(all.contains("[10.1.0.3]:tcp:8080 of") && !all.contains("[10.1.0.2]:tcp:8080 of"), "{all}");
    assert!(all.contains("1 of 2 count"), "{all}");
    let good = explained(&bench, Some("10.1.0.2")).unwrap();
    assert!(good.contains("3 failures in a row take it out (TCP_CHECK)."), "{good}");
}

#[test]
fn watchers_hear_of_everything_that_is_said() {
    let text = service(&format!("delay_loop 1\n {}", server(2, TCP)));
    let mut bench = Bench::new(&text);
    bench.bad.insert(2, Symptom::Refused);
    bench.run(5_000);
    bench.reload("");
    let heard: Vec<_> = bench.events.iter().filter_map(story::json).collect();
    let kinds: Vec<&str> = heard.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    for kind in ["checks", "check_made", "server_down", "quorum_lost", "server_removed", "service_removed"] {
        assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
    }
    assert!(heard.iter().all(|event| event["text"].as_str().is_some_and(|text| !text.is_empty())));
    let down = heard.iter().find(|event| event["kind"] == "server_down").unwrap();
    assert_eq!(down["real_server"], "[10.1.0.2]:tcp:8080");
    assert_eq!(down["why"], "TCP_CHECK: the connection was refused");
}

#[test]
fn a_reload_says_what_it_changed() {
    let of = |text: &str| Spec { balance: spec(text), ..Spec::default() };
    let other = "virtual_server 10.0.0.2 80 {\n protocol TCP\n real_server 10.1.0.7 80 {\n }\n}\n";
    let before = of(&service(&format!("{}{}{}", server(2, ""), server(3, "weight 3"), server(4, TCP))));
    let after = of(&format!(
        "{}{other}",
        service(&format!("delay_loop 3\n quorum 2\n {}{}{}", server(3, "weight 4"), server(4, TCP), server(5, "")))
    ));
    let said = short(vipd::observe::changes::between(&before, &after));
    assert_eq!(
        said,
        [
            "V -> R2 is gone",
            "V -> R3: weight 3 → 4",
            "V -> R4: checks changed",
            "V -> R5 is new",
            "V: settings changed",
            "[10.0.0.2]:tcp:80 is new",
        ]
    );
    assert!(vipd::observe::changes::between(&after, &after).is_empty());
}

/// One that has never been in did not fall out for anything: what keeps it out is said all the same.
#[test]
fn what_has_never_been_in_says_what_keeps_it_out() {
    let text = service(&format!("delay_loop 1\n {}{}", server(2, TCP), server(3, TCP)));
    let world = Beginning { no_table: Some(NO_IPVS), ..Beginning::default() };
    let mut bench = Bench::of(spec(&text), world, |bench| bench.slow_kernel = true);
    bench.bad.insert(2, Symptom::Refused);
    bench.run(10_000);
    let value = view::json(&bench.balancer.snapshot(bench.now), None, 50_000_000);
    let why = |at: usize| value["services"][0]["servers"][at]["why"].as_str().unwrap().to_owned();
    assert_eq!(why(0), "so since the beginning; TCP_CHECK: the connection was refused");
    assert_eq!(why(1), "so since the beginning; the kernel has not got it: there is no IPVS in it (module ip_vs)");
}
