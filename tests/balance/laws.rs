//! Laws for any input: random configurations, findings, kernels, reloads, commands.

use crate::harness::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use vipd::balance::Balancer;
use vipd::balance::io::*;
use vipd::balance::quorum::judge;
use vipd::spec::balance::LvsSpec;

#[derive(Clone, Debug)]
enum Step {
    Run(u16),
    Bad(u8),
    Good(u8),
    Exit(u8),
    Refuse(u8),
    Take(u8),
    Here(bool),
    File(i8),
    Drain(u8),
    Undrain(u8),
    Reload(u8),
    Inherit,
}

fn step() -> impl Strategy<Value = Step> {
    let last = 2..6_u8;
    prop_oneof![
        4 => (1..6_000_u16).prop_map(Step::Run),
        2 => last.clone().prop_map(Step::Bad),
        2 => last.clone().prop_map(Step::Good),
        1 => (0..20_u8).prop_map(Step::Exit),
        1 => last.clone().prop_map(Step::Refuse),
        1 => last.clone().prop_map(Step::Take),
        1 => any::<bool>().prop_map(Step::Here),
        1 => (-3..3_i8).prop_map(Step::File),
        1 => last.clone().prop_map(Step::Drain),
        1 => last.prop_map(Step::Undrain),
        1 => (0..6_u8).prop_map(Step::Reload),
        1 => Just(Step::Inherit),
    ]
}

/// One of several configurations that resemble each other.
fn configuration(number: u8) -> String {
    let n = u32::from(number);
    let check = [
        "TCP_CHECK {\n retry 2\n }",
        "HTTP_GET {\n url {\n path /\n }\n url {\n path /b\n }\n fast_recovery\n }",
        "MISC_CHECK {\n misc_path /m\n misc_dynamic\n }",
        "FILE_CHECK {\n track_file t\n }\n TCP_CHECK {\n }",
    ];
    let servers = |first: u32, count: u32| -> String {
        (first..first + count)
            .map(|at| server(at as u8, &format!("weight {at}\n {}", check[((at + n) % 4) as usize])))
            .collect()
    };
    let options = ["alpha", "inhibit_on_failure", "", "ha_suspend", "alpha\n omega", "quorum 4\n hysteresis 2"];
    let sorry = ["", "sorry_server 10.1.0.9 80", "sorry_server 10.1.0.9 80\n sorry_server_inhibit"];
    let one = service(&format!(
        "delay_loop 2\n {}\n {}\n {}",
        options[(n % 6) as usize],
        sorry[(n % 3) as usize],
        servers(2, 2 + n % 3)
    ));
    let two = service(&format!("delay_loop 2\n {}", servers(2, 4))).replace("10.0.0.1 80", "10.0.0.2 80");
    format!("track_file t {{\n file /t\n }}\n{one}{}", if n.is_multiple_of(2) { two } else { String::new() })
}

/// What must be so after every step.
fn judge_all(bench: &Bench) {
    let snapshot = bench.balancer.snapshot(bench.now);
    let spec: &LvsSpec = bench.balancer.spec();
    assert_eq!(snapshot.services.len(), spec.services.len());
    for (view, own) in snapshot.services.iter().zip(&spec.services) {
        // The state follows from what is below it, summed anew.
        let weight: u64 =
            view.servers.iter().filter(|s| s.up).map(|s| s.weight.clamp(0, i64::from(i32::MAX)) as u64).sum();
        assert_eq!(weight, view.weight);
        assert_eq!(judge(weight, own.quorum, own.hysteresis, view.quorum), view.quorum, "{}", view.info.text);
        assert_eq!(view.sorry.is_some(), !view.quorum && own.sorry.is_some());
        for server in &view.servers {
            assert_eq!(server.failed, server.checks.iter().filter(|check| !check.up).count());
            assert_eq!(server.up, server.failed == 0 && server.refused.is_none());
            let parts: i64 = server.checks.iter().map(|check| check.part).sum();
            let plain = i64::from(server.base) + parts;
            assert_eq!(server.weight, if server.drained { 0 } else { plain });
            assert!(server.checks.iter().all(|check| check.shared == 0 || check.due.is_some() != check.running));
        }
        // The kernel has what the state says: nothing lies about.
        for key in &view.keys {
            let picture = &bench.table[key];
            for (server, own) in view.servers.iter().zip(&own.servers) {
                let at = vipd::balance::service::in_kernel(key, own.endpoint, own.forwarding);
                let held = picture.destinations.get(&at).map(|destination| destination.weight);
                let good = server.failed == 0;
                let weight = server.weight.clamp(0, i64::from(i32::MAX)) as u32;
                match (good && view.sorry.is_none(), own.inhibit) {
                    // What the kernel refused it has not got, until it is asked again.
                    _ if server.refused.is_some() => {}
                    (true, _) => assert_eq!(held, Some(weight)),
                    (false, true) => assert_eq!(held, Some(0)),
                    (false, false) => assert_eq!(held, None),
                }
            }
        }
    }
    assert_eq!(bench.table.len(), snapshot.services.iter().map(|view| view.keys.len()).sum::<usize>());
}

/// States as the events told them, against the states that are.
fn told(bench: &Bench) {
    let mut servers: BTreeMap<(Box<str>, Box<str>), bool> = BTreeMap::new();
    for event in &bench.events {
        match event {
            Event::ServerUp { server, .. } => {
                let before = servers.insert((server.service.text.clone(), server.text.clone()), true);
                assert_ne!(before, Some(true), "{} came up twice", server.text);
            }
            Event::ServerDown { server, .. } => {
                let before = servers.insert((server.service.text.clone(), server.text.clone()), false);
                assert_ne!(before, Some(false), "{} went down twice", server.text);
            }
            Event::ServerRemoved { server, .. } => {
                servers.remove(&(server.service.text.clone(), server.text.clone()));
            }
            _ => {}
        }
    }
    for view in &bench.balancer.snapshot(bench.now).services {
        for server in &view.servers {
            if let Some(told) = servers.get(&(view.info.text.clone(), server.info.text.clone())) {
                assert_eq!(*told, server.up, "{}", server.info.text);
            }
        }
    }
}

fn play(first: u8, steps: &[Step]) -> Bench {
    let mut number = first;
    let mut bench = Bench::with(&configuration(number), |bench| bench.exit = Some(0));
    judge_all(&bench);
    let which = |last: u8| Selection { service: None, address: address(&format!("10.1.0.{last}")), port: None };
    for step in steps {
        match step {
            Step::Run(millis) => bench.run(u64::from(*millis)),
            Step::Bad(last) => drop(bench.bad.insert(*last, Symptom::Refused)),
            Step::Good(last) => drop(bench.bad.remove(last)),
            Step::Exit(code) => bench.exit = Some(i32::from(*code)),
            Step::Refuse(last) => drop(bench.refuses.insert(*last)),
            Step::Take(last) => drop(bench.refuses.remove(last)),
            Step::Here(here) => {
                bench.tell(Input::Address { interface: 1, address: address("10.0.0.1"), here: *here });
            }
            Step::File(value) => bench.tell(Input::Tracked {
                tracker: Tracker::File("t".into()),
                value: TrackValue::Number(i64::from(*value)),
            }),
            Step::Drain(last) => bench.tell(Input::Command(Command::Drain(which(*last)))),
            Step::Undrain(last) => bench.tell(Input::Command(Command::Undrain(which(*last)))),
            Step::Reload(next) => {
                number = *next;
                bench.reload(&configuration(number));
            }
            Step::Inherit => {
                let left = bench.balancer.hand_over();
                let spec = bench.balancer.spec().clone();
                let held = bench.table.clone();
                let snapshot = bench.balancer.snapshot(bench.now);
                let mut servers = snapshot.services.iter().flat_map(|view| &view.servers);
                let refused = servers.any(|server| server.refused.is_some());
                let here = [(1, address("10.0.0.1"))].into();
                bench.balancer =
                    Balancer::inherit(spec, Beginning { addresses: here, ..Beginning::default() }, &left, 3, bench.now);
                bench.told();
                bench.drain();
                if bench.refuses.is_empty() && !refused {
                    assert_eq!(bench.table, held, "an inheritance moves something");
                    assert_eq!(bench.told(), [""; 0]);
                }
            }
        }
        if !matches!(step, Step::Refuse(_) | Step::Take(_)) {
            // What the kernel began to refuse is known with the next picture.
            if bench.refuses.is_empty() {
                judge_all(&bench);
            }
        }
        told(&bench);
    }
    bench
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn state_table_and_events_agree(first in 0..6_u8, steps in prop::collection::vec(step(), 1..40)) {
        play(first, &steps);
    }

    #[test]
    fn once_everything_is_well_everybody_is_in(first in 0..6_u8, steps in prop::collection::vec(step(), 1..30)) {
        let mut bench = play(first, &steps);
        bench.bad.clear();
        bench.refuses.clear();
        bench.exit = Some(0);
        for last in 2..6 {
            let which = Selection { service: None, address: address(&format!("10.1.0.{last}")), port: None };
            bench.tell(Input::Command(Command::Undrain(which)));
        }
        bench.tell(Input::Address { interface: 1, address: address("10.0.0.1"), here: true });
        bench.tell(Input::Tracked { tracker: Tracker::File("t".into()), value: TrackValue::Number(0) });
        bench.run(80_000);
        judge_all(&bench);
        for view in &bench.balancer.snapshot(bench.now).services {
            prop_assert!(view.quorum && view.servers.iter().all(|server| server.up), "{view:?}");
        }
    }

    #[test]
    fn the_same_input_gives_the_same_answers(first in 0..6_u8, steps in prop::collection::vec(step(), 1..20)) {
        let (one, two) = (play(first, &steps), play(first, &steps));
        prop_assert_eq!(one.log, two.log);
        prop_assert_eq!(one.fifo, two.fifo);
        prop_assert_eq!(one.asked.len(), two.asked.len());
    }
}

/// Work is counted in actions: what a server more costs does not depend on how many there are.
#[test]
fn work_grows_with_the_number_of_servers_and_no_faster() {
    let work = |services: u32| {
        let one = |n: u32| {
            let target = format!("virtual_server 10.{}.{}.1 80", n / 250, n % 250);
            let servers: String = (1..21)
                .map(|at| {
                    format!(
                        "real_server 172.16.{}.{at} 80 {{\n TCP_CHECK {{\n connect_port {}\n }}\n }}\n",
                        n % 250,
                        1 + n / 250
                    )
                })
                .collect();
            format!("{target} {{\n lb_algo rr\n lb_kind NAT\n protocol TCP\n warmup 5\n delay_loop 5\n {servers} }}\n")
        };
        let text: String = (0..services).map(one).collect();
        let mut bench = Bench::new(&text);
        bench.run(30_000);
        bench.events.clear();
        bench.log.clear();
        (bench.served, bench.asked.len() as u64)
    };
    let (few, many) = (work(50), work(1_000));
    assert_eq!(many.0, few.0 * 20);
    assert!(many.1.abs_diff(few.1 * 20) < few.1, "{few:?} {many:?}");
}

/// What hundreds of findings change that come together is one wish, not hundreds of whole pictures.
#[test]
fn findings_that_come_together_are_one_picture() {
    let servers: String = (2..202).map(|last| server(last, TCP)).collect();
    let text = service(&format!("delay_loop 1\n retry 0\n quorum 150\n {servers}"));
    let mut bench = Bench::with(&text, |bench| bench.silent = true);
    bench.run(1_000);
    assert_eq!((bench.open.len(), bench.served), (200, 1));
    for attempt in std::mem::take(&mut bench.open).into_keys() {
        bench.balancer.handle(Input::Probed { attempt, finding: Finding::Bad(Symptom::Refused) }, bench.now);
    }
    bench.drain();
    assert_eq!((bench.served, bench.held()), (2, String::new()));
    let told = bench.told();
    assert_eq!((told.len(), told.iter().filter(|line| line.starts_with("VS ")).count()), (201 + 1, 2), "{told:?}");
}
