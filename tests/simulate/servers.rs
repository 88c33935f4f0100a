//! Virtual servers in worlds: backends, and each law about them with a balancer that breaks it.

use super::read;
use std::sync::Arc;
use vipd::balance::Balancer;
use vipd::balance::io::{Action, Beginning, Finding, Input, Symptom};
use vipd::balance::snapshot::Snapshot;
use vipd::sim::balance::{Direct, Director, direct};
use vipd::sim::{Law, Report, Scenario, play_with, real, rehearse, weather};
use vipd::spec::Spec;
use vipd::spec::balance::LvsSpec;
use vipd::time::Time;

const CONF: &str = "vrrp_instance V1 {\n interface eth0\n virtual_router_id 51\n priority 150\n advert_int 1\n virtual_ipaddress {\n 192.0.2.100\n }\n}\n\
virtual_server 192.0.2.100 80 {\n lb_algo rr\n lb_kind NAT\n protocol TCP\n delay_loop 2\n warmup 1\n retry 1\n delay_before_retry 1\n \
connect_timeout 2\n quorum 2\n sorry_server 10.9.0.99 80\n real_server 10.9.0.1 8080 {\n snmp_name first\n HTTP_GET {\n url {\n path /\n }\n }\n }\n \
real_server 10.9.0.2 8080 {\n TCP_CHECK {\n }\n }\n real_server 10.9.0.3 8080 {\n MISC_CHECK {\n misc_path \"/bin/check 3\"\n }\n }\n}\n";

fn world() -> Vec<(String, Arc<Spec>)> {
    vec![
        ("a".into(), Arc::new(read(CONF))),
        ("b".into(), Arc::new(read(&CONF.replace("priority 150", "priority 100")))),
    ]
}

fn run(scenario: &str, direct: &Direct<'_>) -> Report {
    play_with(&world(), &scenario.parse().unwrap(), &real, direct, true).unwrap()
}

fn said(report: &Report, node: &str, text: &str) -> Vec<u64> {
    let of_node = |entry: &&vipd::sim::Entry| entry.node.as_deref() == Some(node) && entry.text == text;
    report.timeline.iter().filter(of_node).map(|entry| entry.at.since(Time::ZERO).as_secs()).collect()
}

#[test]
fn backends_go_and_come_and_the_log_says_so() {
    for (health, removed) in [
        ("refuse", vec![1, 2, 3]),
        ("503", vec![1, 3]),
        ("slow 3s", vec![1, 3]),
        ("slow 1s", vec![]),
        ("hang", vec![1, 3]),
    ] {
        let acts: String =
            (1..4).map(|n| format!("at 20s server 10.9.0.{n} {health}\nat 50s server 10.9.0.{n} up\n")).collect();
        let report = run(&format!("run 90s\n{acts}"), &direct);
        assert_eq!(report.violations, vec![], "{health}: {report}");
        for node in ["a", "b"] {
            for n in 1..4 {
                let of = format!("service [10.9.0.{n}]:tcp:8080");
                let gone = said(&report, node, &format!("Removing {of} from VS [192.0.2.100]:tcp:80"));
                let back = said(&report, node, &format!("Adding {of} to VS [192.0.2.100]:tcp:80"));
                assert_eq!(
                    (gone.len(), back.len()),
                    if removed.contains(&n) { (1, 1) } else { (0, 0) },
                    "{health} {n}: {report}"
                );
            }
        }
        let sorry = said(&report, "a", "Adding sorry server [10.9.0.99]:tcp:80 to VS [192.0.2.100]:tcp:80");
        assert_eq!(sorry.len(), usize::from(removed.len() > 1), "{health}");
    }
}

#[test]
fn a_server_is_taken_away_in_a_rehearsal() {
    let specs: Vec<(String, Spec)> = world().into_iter().map(|(name, spec)| (name, (*spec).clone())).collect();
    for (fail, text) in [
        ("server", "server 10.9.0.1:8080 refuse"),
        ("server:10.9.0.2", "server 10.9.0.2 refuse"),
        ("server:10.9.0.3:8080", "server 10.9.0.3:8080 refuse"),
        ("server=503", "server 10.9.0.1:8080 503"),
        ("server=slow", "server 10.9.0.1:8080 slow 4s"),
        ("server=hang@b", "server 10.9.0.1:8080 hang"),
        ("server:10.9.0.2=dead", "server 10.9.0.2 dead"),
        ("server:first=dead", "server 10.9.0.1:8080 dead"),
    ] {
        let scenario = rehearse(fail, &specs).unwrap();
        assert!(scenario.to_string().contains(text), "{scenario}");
        let report = vipd::sim::run(specs.clone(), &scenario, None).unwrap();
        assert_eq!(report.violations, vec![], "{report}");
        assert!(report.timeline.iter().any(|entry| entry.text.starts_with("Removing service")), "{report}");
        assert!(report.timeline.iter().any(|entry| entry.text.starts_with("Adding service")), "{report}");
    }
    assert!(rehearse("server=flap", &specs).unwrap().to_string().contains("server 10.9.0.1:8080 flap"));
    assert!(rehearse("server=gone", &specs).unwrap_err().contains("gone is none of: refuse, 503"));
    // The lab takes the same words.
    for (word, rest) in
        [("server", ""), ("server:10.9.0.1", "10.9.0.1"), ("server=503", "=503"), ("server:first=dead", "first=dead")]
    {
        assert_eq!(word.parse::<vipd::lab::Failure>().unwrap(), vipd::lab::Failure::Server(rest.into()));
    }
    assert!(rehearse("server:10.9.0.7", &specs).unwrap_err().contains("a has no real_server 10.9.0.7"));
    let stranger: Scenario = "at 1s server 10.9.0.7 hang".parse().unwrap();
    assert!(vipd::sim::run(specs, &stranger, None).unwrap_err().contains("there is no real_server 10.9.0.7"));
}

#[test]
fn many_random_worlds_have_virtual_servers() {
    let mut with = 0;
    for seed in 0..300 {
        let world = weather::world(seed);
        let services: Vec<usize> = world.specs.iter().map(|(_, spec)| spec.balance.services.len()).collect();
        with += usize::from(services.iter().all(|count| *count > 0));
        let texts = world.configurations();
        for ((_, spec), (_, text)) in
            world.specs.iter().zip(&texts).filter(|((_, spec), _)| !spec.balance.services.is_empty())
        {
            assert_eq!(read(text).balance, spec.balance, "seed {seed}");
        }
    }
    assert!((60..150).contains(&with), "{with} of 300");
}

#[derive(Clone, Copy, Debug)]
enum Flaw {
    /// Every finding is good, or bad.
    Optimist,
    Pessimist,
    /// What is shown of the quorum is the opposite.
    Contrary,
    /// Only the first picture of a service is wished for.
    Lazy,
    /// A reload begins everything anew.
    Forgetful,
    /// The tick does nothing, so that a deadline stands.
    Asleep,
}

struct Flawed {
    inner: Balancer,
    flaw: Flaw,
    served: std::collections::BTreeSet<vipd::balance::io::ServiceKey>,
}

impl Director for Flawed {
    fn handle(&mut self, input: Input, now: Time) {
        let input = match (self.flaw, input) {
            (Flaw::Optimist, Input::Probed { attempt, .. }) => Input::Probed { attempt, finding: Finding::Good },
            (Flaw::Pessimist, Input::Probed { attempt, .. }) => {
                Input::Probed { attempt, finding: Finding::Bad(Symptom::Refused) }
            }
            (Flaw::Asleep, Input::Tick) => return,
            (_, input) => input,
        };
        self.inner.handle(input, now);
    }
    fn poll(&mut self) -> Option<Action> {
        loop {
            match (self.flaw, self.inner.poll()?) {
                (Flaw::Lazy, Action::Serve { service, .. }) if !self.served.insert(service) => {}
                (_, action) => return Some(action),
            }
        }
    }
    fn deadline(&self) -> Option<Time> {
        self.inner.deadline()
    }
    fn reload(&mut self, spec: Arc<LvsSpec>, now: Time) {
        match self.flaw {
            Flaw::Forgetful => self.inner = Balancer::begin(spec, Beginning::default(), 1, now),
            _ => self.inner.reload(spec, Vec::new(), now),
        }
    }
    fn snapshot(&self, now: Time) -> Snapshot {
        let mut snapshot = self.inner.snapshot(now);
        if matches!(self.flaw, Flaw::Contrary) {
            snapshot.services.iter_mut().for_each(|view| view.quorum = !view.quorum);
        }
        snapshot
    }
}

#[test]
fn every_law_about_servers_can_be_broken_and_is_then_noticed() {
    let down = "run 120s\nat 20s server 10.9.0.2 refuse";
    let reload = "run 60s\nat 30s reload a";
    for (flaw, scenario, law) in [
        (Flaw::Optimist, down, Law::ServerOut),
        (Flaw::Pessimist, "run 120s", Law::ServerIn),
        (Flaw::Contrary, "run 60s", Law::QuorumAgrees),
        (Flaw::Lazy, down, Law::TableFollows),
        (Flaw::Forgetful, reload, Law::ReloadMovesNothing),
        (Flaw::Asleep, "run 60s", Law::TimeAdvances),
    ] {
        let right = run(scenario, &direct);
        assert_eq!(right.violations, vec![], "{flaw:?}: a real balancer is blamed\n{right}");
        let make = |spec: Arc<LvsSpec>, world: Beginning, seed: u64, now: Time| -> Box<dyn Director> {
            Box::new(Flawed { inner: Balancer::begin(spec, world, seed, now), flaw, served: Default::default() })
        };
        let report = run(scenario, &make);
        assert_eq!(report.violations.first().map(|violation| violation.law), Some(law), "{flaw:?}\n{report}");
    }
}
