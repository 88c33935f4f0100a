//! What the kernel refuses does not count, and is tried again.

use crate::harness::*;
use vipd::balance::io::{Beginning, Event, Input, NO_IPVS, Outcome, Why};

#[test]
fn a_refused_server_does_not_count_and_comes_in_when_the_kernel_takes_it() {
    let text = service(&format!("{}{}", server(2, ""), server(3, "")));
    let mut bench = Bench::with(&text, |bench| {
        bench.refuses.insert(2);
        bench.refuses.insert(3);
    });
    assert_eq!(short(bench.told()), ["VS V UP", "RS R2 V DOWN", "RS R3 V DOWN", "VS V DOWN"]);
    let said = bench.said();
    let refused = "the kernel refuses real server [10.1.0.2]:tcp:8080";
    assert_eq!(said.iter().filter(|line| line.contains(refused)).count(), 1, "{said:?}");
    // It never was in, so it is not taken out.
    assert!(!said.iter().any(|line| line.contains("Removing service")), "{said:?}");
    bench.refuses.remove(&2);
    let served = bench.served;
    bench.run(1_000);
    assert_eq!(bench.served, served + 1);
    assert_eq!(short(bench.told()), ["RS R2 V UP", "VS V UP"]);
    assert_eq!(bench.held(), "2:8080=1");
    // It is tried less and less often, and a minute apart in the end.
    let served = bench.served;
    bench.run(600_000);
    assert!((10..=20).contains(&(bench.served - served)), "{}", bench.served - served);
    bench.refuses.clear();
    bench.run(60_000);
    assert_eq!(bench.held(), "2:8080=1 3:8080=1");
    assert_eq!(bench.balancer.deadline(), None, "nothing is left to be tried");
}

#[test]
fn behind_a_sorry_server_it_is_tried_without_traffic() {
    let text = service(&format!("sorry_server 10.1.0.9 80\n {}", server(2, "")));
    let mut bench = Bench::with(&text, |bench| {
        bench.refuses.insert(2);
    });
    assert_eq!(bench.held(), "9:80=1");
    bench.told();
    bench.run(300_000);
    assert_eq!((bench.told(), bench.held()), (vec![], "9:80=1".to_owned()), "it does not flap");
    bench.refuses.clear();
    bench.run(61_000);
    assert_eq!((short(bench.told()), bench.held()), (vec!["RS R2 V UP".into(), "VS V UP".into()], "2:8080=1".into()));
}

#[test]
fn without_a_service_in_the_kernel_there_is_no_quorum() {
    let mut bench = Bench::with(&service(&server(2, "")), |bench| bench.slow_kernel = true);
    let (service, version, _) = bench.waiting.pop().unwrap();
    let no_module = Outcome { service: Some(2), refused: Vec::new() };
    bench.tell(Input::Applied { service, version, outcome: no_module });
    assert_eq!(short(bench.told()), ["VS V UP", "RS R2 V DOWN", "VS V DOWN"]);
    assert!(bench.events.iter().any(|event| matches!(event, Event::ServiceRefused { error: 2, .. })));
    bench.slow_kernel = false;
    bench.run(1_000);
    assert_eq!(short(bench.told()), ["RS R2 V UP", "VS V UP"]);
}

/// What its check finds out is no news for scripts while nobody can be sent to it.
#[test]
fn a_server_that_becomes_good_while_there_is_no_table_does_not_count() {
    let text = service(&format!("alpha\n delay_loop 1\n warmup 0\n {}", server(2, TCP)));
    let mut bench = Bench::with(&text, |bench| bench.slow_kernel = true);
    let no_table = |bench: &mut Bench| {
        for (service, version, _) in std::mem::take(&mut bench.waiting) {
            let outcome = Outcome { service: Some(2), refused: Vec::new() };
            bench.tell(Input::Applied { service, version, outcome });
        }
    };
    no_table(&mut bench);
    for _ in 0..5 {
        bench.run(1_000);
        no_table(&mut bench);
    }
    let server = bench.balancer.snapshot(bench.now).services[0].servers[0].clone();
    assert_eq!((bench.told(), server.up, server.failed, server.refused), (vec![], false, 0, Some(2)));
    bench.slow_kernel = false;
    bench.run(61_000);
    assert_eq!((short(bench.told()), bench.held()), (vec!["RS R2 V UP".into(), "VS V UP".into()], "2:8080=1".into()));
}

#[test]
fn an_answer_to_an_older_wish_is_nobody_s() {
    let text = service(&format!("delay_loop 1\n {}{}", server(2, TCP), server(3, TCP)));
    let mut bench = Bench::with(&text, |bench| bench.slow_kernel = true);
    bench.bad.insert(3, vipd::balance::io::Symptom::Refused);
    bench.run(1_000);
    assert_eq!(bench.waiting.len(), 2);
    let (service, version, _) = bench.waiting.remove(0);
    let refused = vec![((address("10.1.0.2"), 8080), 34)];
    bench.told();
    bench.tell(Input::Applied { service, version, outcome: Outcome { service: None, refused } });
    assert_eq!(bench.told(), [""; 0]);
    bench.confirm();
    assert_eq!(bench.held(), "2:8080=1");
}

#[test]
fn a_refused_server_that_a_reload_takes_away_is_told_down_once() {
    let both = service(&format!("{}{}", server(2, ""), server(3, "inhibit_on_failure")));
    let mut bench = Bench::with(&both, |bench| {
        bench.refuses.insert(2);
        bench.refuses.insert(3);
    });
    assert_eq!(short(bench.told()), ["VS V UP", "RS R2 V DOWN", "RS R3 V DOWN", "VS V DOWN"]);
    let present = |bench: &Bench| -> Vec<bool> {
        bench.balancer.snapshot(bench.now).services[0].servers.iter().map(|server| server.present).collect()
    };
    assert_eq!(present(&bench), [false, false]);
    bench.refuses.remove(&3);
    bench.run(1_000);
    assert_eq!(
        (short(bench.told()), present(&bench)),
        (vec!["RS R3 V UP".into(), "VS V UP".into()], vec![false, true])
    );
    bench.said();
    bench.reload(&service(&server(3, "inhibit_on_failure")));
    assert_eq!((bench.told(), short(bench.said())), (vec![], vec!["service R2 no longer exist".to_owned()]));
    bench.reload("");
    assert_eq!(short(bench.told()), ["RS R3 V DOWN", "VS V DOWN"]);
}

/// A table that refuses everything for now is a table: what a reload brings begins as it does elsewhere.
#[test]
fn what_a_reload_brings_beside_refused_services_is_not_refused_yet() {
    let first = service(&server(2, ""));
    let mut bench = Bench::with(&first, |bench| bench.slow_kernel = true);
    let (own, version, _) = bench.waiting.remove(0);
    bench.tell(Input::Applied { service: own, version, outcome: Outcome { service: Some(12), refused: Vec::new() } });
    let second = service(&server(3, "")).replace("10.0.0.1", "10.0.0.2");
    bench.told();
    bench.reload(&format!("{first}{second}"));
    let up = |bench: &Bench| {
        let services = bench.balancer.snapshot(bench.now).services;
        services.iter().map(|view| view.servers[0].up).collect::<Vec<_>>()
    };
    assert_eq!(up(&bench), [false, true]);
    // Where there is none it does not count, until there is one.
    bench.tell(Input::Table { absent: Some(2) });
    let third = service(&server(4, "")).replace("10.0.0.1", "10.0.0.3");
    bench.reload(&format!("{first}{second}{third}"));
    assert_eq!(up(&bench), [false, true, false]);
    bench.tell(Input::Table { absent: None });
    let fourth = service(&server(5, "")).replace("10.0.0.1", "10.0.0.4");
    bench.reload(&format!("{first}{second}{third}{fourth}"));
    assert_eq!(up(&bench), [false, true, false, true]);
}

/// A script that is told up and down at once would be told an untruth.
#[test]
fn where_the_kernel_has_no_table_nobody_is_told_of_a_quorum() {
    let no_table = |bench: &mut Bench| {
        for (service, version, _) in std::mem::take(&mut bench.waiting) {
            let outcome = Outcome { service: Some(2), refused: Vec::new() };
            bench.tell(Input::Applied { service, version, outcome });
        }
    };
    let world = Beginning { no_table: Some(2), ..Beginning::default() };
    let init = format!("global_defs {{\n lvs_notify_fifo /f\n}}\n{}", service(&server(2, "")));
    let mut bench = Bench::of(spec(&init), world, |bench| bench.slow_kernel = true);
    no_table(&mut bench);
    assert_eq!(bench.told(), [""; 0]);
    assert!(bench.events.iter().any(|event| matches!(event, Event::ServiceRefused { error: 2, .. })));
    // Nor of what a reload brings while there is none.
    let second = service(&server(3, "")).replace("10.0.0.1", "10.0.0.2");
    bench.reload(&format!("{init}{second}"));
    no_table(&mut bench);
    assert_eq!(bench.told(), [""; 0]);
    bench.slow_kernel = false;
    bench.run(61_000);
    let told = short(bench.told());
    assert_eq!(told.iter().filter(|line| line.starts_with("VS ") && line.ends_with(" UP")).count(), 2, "{told:?}");
    assert!(told.iter().all(|line| line.ends_with(" UP")), "{told:?}");
}

/// Sentences about the table are about what the kernel has.
#[test]
fn nothing_moves_in_a_table_that_the_kernel_has_not_got() {
    let no_table = |bench: &mut Bench| {
        for (service, version, _) in std::mem::take(&mut bench.waiting) {
            let outcome = Outcome { service: Some(NO_IPVS), refused: Vec::new() };
            bench.tell(Input::Applied { service, version, outcome });
        }
    };
    let moves = |bench: &mut Bench| -> Vec<String> {
        let words = ["Adding", "Removing", "Enabling", "Disabling"];
        let is_move = |line: &String| words.iter().any(|word| line.starts_with(word));
        short(bench.said()).into_iter().filter(is_move).collect()
    };
    let text = service(&format!(
        "delay_loop 1\n sorry_server 10.1.0.9 80\n {}{}",
        server(2, TCP),
        server(3, &format!("inhibit_on_failure\n {TCP}"))
    ));
    for known in [None, Some(NO_IPVS)] {
        let world = Beginning { no_table: known, ..Beginning::default() };
        let mut bench = Bench::of(spec(&text), world, |bench| bench.slow_kernel = true);
        bench.tell(Input::Table { absent: Some(NO_IPVS) });
        no_table(&mut bench);
        // One line about the table itself says it for all services and servers.
        let refused = |line: &&String| line.contains("kernel refuses");
        assert_eq!(bench.said().iter().find(refused), None);
        bench.bad.insert(2, vipd::balance::io::Symptom::Refused);
        bench.bad.insert(3, vipd::balance::io::Symptom::Refused);
        for _ in 0..5 {
            bench.run(1_000);
            no_table(&mut bench);
        }
        assert_eq!(moves(&mut bench), [""; 0]);
        bench.bad.remove(&2);
        for _ in 0..5 {
            bench.run(1_000);
            no_table(&mut bench);
        }
        assert_eq!(moves(&mut bench), [""; 0]);
        // With the table comes what was wished for meanwhile; then it is as ever.
        bench.tell(Input::Table { absent: None });
        bench.slow_kernel = false;
        bench.run(61_000);
        let sorry =
            ["Adding sorry server", "Adding service R2 to VS V", "Removing sorry server", "Adding alive servers"];
        let found = moves(&mut bench);
        assert_eq!(found.len(), sorry.len(), "{found:?}");
        assert!(found.iter().zip(sorry).all(|(line, word)| line.starts_with(word)), "{found:?}");
        assert_eq!(bench.held(), "2:8080=1 3:8080=0");
        bench.bad.insert(2, vipd::balance::io::Symptom::Refused);
        bench.run(10_000);
        let found = moves(&mut bench);
        let sorry = ["Removing service R2", "Adding sorry server", "Removing alive servers"];
        assert!(found.len() == 3 && found.iter().zip(sorry).all(|(line, word)| line.starts_with(word)), "{found:?}");
        // Nor does each say it when the table goes while they serve.
        bench.slow_kernel = true;
        bench.bad.remove(&2);
        bench.run(2_000);
        bench.said();
        bench.tell(Input::Table { absent: Some(NO_IPVS) });
        no_table(&mut bench);
        assert_eq!(bench.said().iter().find(refused), None);
        let lost = |event: &Event| matches!(event, Event::ServerDown { why: Why::NoTable(NO_IPVS), .. });
        assert!(bench.events.iter().any(lost));
    }
}

/// One that serves from the moment on at which the kernel has its service is told of then, and of its end.
#[test]
fn a_sorry_server_comes_with_the_table() {
    let text = service(&format!("delay_loop 1\n sorry_server 10.1.0.9 80\n {}", server(2, TCP)));
    let world = Beginning { no_table: Some(NO_IPVS), ..Beginning::default() };
    let mut bench = Bench::of(spec(&text), world, |bench| bench.slow_kernel = true);
    bench.bad.insert(2, vipd::balance::io::Symptom::Refused);
    bench.run(5_000);
    bench.said();
    bench.tell(Input::Table { absent: None });
    bench.slow_kernel = false;
    bench.confirm();
    bench.run(61_000);
    let of_sorry = |bench: &mut Bench| {
        let is = |line: &&String| line.contains("sorry server");
        bench
            .said()
            .iter()
            .filter(is)
            .map(|line| line.split(' ').next().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!((of_sorry(&mut bench), bench.held()), (vec!["Adding".to_owned()], "9:80=1".to_owned()));
    bench.reload(&service(&format!("delay_loop 1\n {}", server(2, TCP))));
    assert_eq!(of_sorry(&mut bench), ["Removing"]);
}
