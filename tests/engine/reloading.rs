//! Going over to another Spec.

use crate::harness::*;
use vipd::spec::*;
use vipd::vrrp::io::*;
use vipd::wire::Priority;

#[test]
fn the_same_again_is_nothing() {
    let mut of = grouped(vec![instance(1, 100), InstanceSpec { interface: Some(name("eth1")), ..instance(2, 100) }]);
    of.scripts.push(script("check"));
    of.instances[0].ties.push(tie(TieTarget::Script(ScriptId(0)), 5));
    for time in [0, 100, 2000, 5000] {
        let mut bench = Bench::new(of.clone());
        bench.until(at(time));
        bench.take();
        let (deadline, before) = (bench.engine.deadline(), bench.engine.snapshot(bench.now));
        bench.reload(of.clone());
        assert_eq!(bench.take(), [], "at {time} ms");
        assert_eq!(bench.engine.deadline(), deadline);
        assert_eq!(bench.engine.snapshot(bench.now), before);
    }
}

/// keepalived counts it from each reload again: reloads that follow each other faster keep it from ever preempting.
#[test]
fn a_preempt_delay_goes_on_over_a_reload() {
    let of = spec(vec![InstanceSpec { preempt_delay: ms(5000), ..instance(1, 100) }]);
    let voice = Voice::of(&of.instances[0], "10.0.0.2", 99);
    let mut bench = Bench::new(of.clone());
    for second in 0..6 {
        bench.hear(&voice);
        let mut other = of.clone();
        other.daemon.router_id = format!("r{second}").into();
        bench.reload(other);
        assert_eq!(bench.role(0), Role::Backup);
        bench.wait(ms(1000));
    }
    bench.hear(&voice);
    assert_eq!(bench.engine.deadline().unwrap().1, Wake::Preempt(InstanceId(0)));
}

#[test]
fn what_does_not_concern_an_instance_leaves_it_alone() {
    let of = spec(vec![instance(1, 100)]);
    let mut bench = Bench::as_master(of.clone());
    let deadline = bench.engine.deadline();
    let mut other = of;
    other.daemon.router_id = "elsewhere".into();
    other.instances[0].name = "renamed".into();
    other.instances[0].debug = 3;
    bench.reload(other);
    assert_eq!(words(&bench.take()), ["Reloaded"]);
    assert_eq!(bench.engine.deadline(), deadline);
    assert_eq!((&*bench.view(0).name, bench.role(0)), ("renamed", Role::Master));
}

#[test]
fn addresses_change_by_difference() {
    let of = InstanceSpec { claim: claim(&["10.0.0.100", "10.0.0.101"]), ..instance(1, 100) };
    let mut bench = Bench::as_master(spec(vec![of.clone()]));
    bench.wait(ms(10_000));
    bench.take();
    let next = InstanceSpec { claim: claim(&["10.0.0.101", "10.0.0.102"]), ..of };
    bench.reload(spec(vec![next.clone()]));
    let actions = bench.take();
    // Only the new one is announced, though the kernel reports both; and the peers hear of it at once.
    assert_eq!(words(&actions), [vec!["own 0", "Reloaded", "advert 100"], vec!["announce 1..2"; 5]].concat());
    assert!(actions.contains(&Action::Own(InstanceId(0), next.claim)));
    assert_eq!(bench.view(0).counters.become_master, 1);
}

#[test]
fn the_wire_changes_at_once_and_the_cadence_stays() {
    let mut bench = Bench::as_master(spec(vec![instance(1, 100)]));
    let (due, _) = bench.engine.deadline().unwrap();
    bench.reload(spec(vec![instance(1, 120)]));
    assert_eq!(words(&bench.take()), ["Reloaded", "PriorityChanged", "advert 120"]);
    assert_eq!(bench.engine.deadline().unwrap().0, due);
    bench.reload(spec(vec![InstanceSpec { interval: ms(200), ..instance(1, 120) }]));
    assert_eq!(words(&bench.take()), ["Reloaded", "advert 120"]);
    assert_eq!(bench.engine.deadline().unwrap().0, bench.now + ms(200));
    // A backup's deadline follows its new priority and interval.
    let mut bench = Bench::new(spec(vec![instance(1, 100)]));
    bench.until(at(1000));
    bench.reload(spec(vec![instance(1, 200)]));
    assert_eq!(bench.engine.deadline().unwrap().0, at(3218) + vipd::time::Interval::from_micros(750));
    assert_eq!(bench.role(0), Role::Backup);
}

#[test]
fn gone_and_come() {
    let all = spec(vec![instance(1, 100), instance(2, 100), instance(3, 100)]);
    let mut bench = Bench::as_master(all);
    bench.reload(spec(vec![instance(2, 100), instance(4, 100)]));
    let actions = bench.take();
    // 1 and 3 say goodbye; 2 is owned under its new number before the old ones are let go.
    assert_eq!(words(&actions)[..5], ["advert 0", "Deleted", "advert 0", "Deleted", "own 0"]);
    let disowned: Vec<_> = actions.iter().filter(|action| matches!(action, Action::Disown(_))).collect();
    assert_eq!(disowned, [&Action::Disown(InstanceId(1)), &Action::Disown(InstanceId(2))]);
    assert_eq!(bench.roles(), [Role::Master, Role::Backup]);
    assert_eq!(bench.view(0).counters.become_master, 1);
    bench.hear(&Voice::of(&instance(2, 100), "10.0.0.2", 200));
    assert_eq!(bench.roles(), [Role::Backup, Role::Backup]);
}

#[test]
fn an_address_moves_between_instances_in_one_reload() {
    let with = |one: &[&str], two: &[&str]| {
        spec(vec![
            InstanceSpec { claim: claim(one), ..instance(1, 100) },
            InstanceSpec { claim: claim(two), ..instance(2, 100) },
        ])
    };
    let mut bench = Bench::as_master(with(&["10.0.0.100", "10.0.0.101"], &["10.0.0.102"]));
    bench.reload(with(&["10.0.0.100"], &["10.0.0.102", "10.0.0.101"]));
    let actions = bench.take();
    let owned: Vec<usize> = actions
        .iter()
        .filter_map(|a| if let Action::Own(_, claim) = a { Some(claim.addresses.len()) } else { None })
        .collect();
    assert_eq!(owned, [1, 2]);
    assert!(!actions.iter().any(|action| matches!(action, Action::Disown(_))));
    assert_eq!(bench.roles(), [Role::Master, Role::Master]);
}

#[test]
fn another_identity_is_another_router() {
    let base = instance(1, 100);
    let table: Vec<(&str, InstanceSpec, bool)> = vec![
        ("name", InstanceSpec { name: "other".into(), ..base.clone() }, true),
        ("priority", InstanceSpec { priority: Priority(7), ..base.clone() }, true),
        ("vrid", instance(2, 100), false),
        ("interface", InstanceSpec { interface: Some(name("eth1")), ..base.clone() }, false),
        ("unicast", unicast(1, 100, &["10.0.0.2"]), false),
        ("group", InstanceSpec { transport: Transport::Multicast { group: ip("224.0.0.77") }, ..base.clone() }, false),
        ("family", v6(1, 100), false),
    ];
    for (what, next, kept) in table {
        let mut bench = Bench::as_master(spec(vec![base.clone()]));
        bench.reload(spec(vec![next]));
        assert_eq!(bench.role(0) == Role::Master, kept, "{what}");
    }
}

#[test]
fn trackers_keep_their_word() {
    let of = |scripts: &[&str]| {
        let mut of = spec(vec![InstanceSpec {
            ties: vec![tie(TieTarget::Script(ScriptId(scripts.len() as u32 - 1)), 0)],
            ..instance(1, 100)
        }]);
        of.scripts = scripts.iter().map(|label| script(label)).collect();
        of
    };
    let mut bench = Bench::new(of(&["check"]));
    bench.exits(ScriptId(0), Exit::Code(1));
    assert_eq!(bench.role(0), Role::Fault);
    bench.wait(ms(500));
    bench.take();
    bench.reload(of(&["new", "check"]));
    assert_eq!(bench.view(0).faults, [Fault::Tracker("check".into())]);
    // A script that came with the reload is good until it reports otherwise.
    bench.reload(of(&["check", "newer"]));
    assert_eq!(bench.role(0), Role::Backup);
    bench.wait(ms(600));
    bench.exits(ScriptId(1), Exit::Code(1));
    assert_eq!(bench.role(0), Role::Fault);
    // A running script that is not wanted any more is told to end.
    bench.wait(ms(1000));
    bench.take();
    bench.reload(spec(vec![instance(1, 100)]));
    assert!(words(&bench.take()).contains(&"abandon 0".into()));
}

#[test]
fn deadlines_are_set_up_again() {
    let mut bench = Bench::as_master(spec(vec![instance(1, 100)]));
    let garp = Garp { refresh: ms(700), ..Garp::default() };
    bench.reload(spec(vec![InstanceSpec { garp, ..instance(1, 100) }]));
    bench.take();
    bench.wait(ms(750));
    assert_eq!(announced(&bench.take()).len(), 1);
}

#[test]
fn who_leaves_a_group_leaves_its_faults_behind() {
    let other = InstanceSpec { interface: Some(name("eth1")), claim: claim(&["10.1.0.100"]), ..instance(2, 100) };
    let (apart, together) = (spec(vec![instance(1, 100), other.clone()]), grouped(vec![instance(1, 100), other]));
    let mut bench = Bench::as_master(together);
    let mut eth1 = links()[1].clone();
    eth1.running = false;
    bench.give(Input::Link(LinkFact::Changed(eth1)));
    assert_eq!(bench.roles(), [Role::Fault, Role::Fault]);
    bench.reload(apart);
    assert_eq!(bench.roles(), [Role::Backup, Role::Fault]);
    bench.wait(ms(4000));
    assert_eq!(bench.roles(), [Role::Master, Role::Fault]);
}

#[test]
fn a_start_up_delay_that_is_changed_moves_everybody() {
    let delayed = |by: u64| Spec { startup_delay: ms(by), ..spec(vec![instance(1, 100), instance(2, 255)]) };
    let mut bench = Bench::new(delayed(60_000));
    bench.until(at(1000));
    bench.reload(delayed(5_000));
    bench.until(at(5_000));
    assert_eq!(bench.roles(), [Role::Backup, Role::Master]);
    bench.until(at(8_700));
    assert_eq!(bench.roles(), [Role::Master, Role::Master]);
    // Over already: it ends at the reload.
    let mut bench = Bench::new(delayed(60_000));
    bench.until(at(10_000));
    bench.reload(delayed(5_000));
    bench.until(at(13_700));
    assert_eq!(bench.roles(), [Role::Master, Role::Master]);
    // And later.
    let mut bench = Bench::new(delayed(5_000));
    bench.until(at(1000));
    bench.reload(delayed(20_000));
    bench.until(at(19_000));
    assert_eq!(bench.roles(), [Role::Backup, Role::Backup]);
}

#[test]
fn what_a_reload_added_gets_its_second_block() {
    let with = |list: &[&str]| spec(vec![InstanceSpec { claim: claim(list), ..instance(1, 100) }]);
    let mut bench = Bench::as_master(with(&["10.0.0.100"]));
    bench.wait(ms(10_000));
    bench.reload(with(&["10.0.0.100", "10.0.0.101"]));
    bench.take();
    bench.wait(ms(4900));
    assert_eq!(announced(&bench.take()).len(), 0);
    bench.wait(ms(200));
    assert_eq!(announced(&bench.take()), vec![0..2; 5]);
}

#[test]
fn a_shorter_interval_takes_nothing_from_a_master_that_lives() {
    let slow = InstanceSpec { interval: ms(10_000), ..instance(1, 100) };
    let mut bench = Bench::new(spec(vec![slow.clone()]));
    bench.hear(&Voice::of(&slow, "10.0.0.2", 200));
    bench.wait(ms(9_000));
    bench.reload(spec(vec![instance(1, 100)]));
    // It speaks every ten seconds still, as it has said.
    bench.wait(ms(1_000));
    bench.hear(&Voice::of(&slow, "10.0.0.2", 200));
    bench.wait(ms(29_000));
    assert_eq!(bench.role(0), Role::Backup);
    // Where nobody was heard, the new patience begins with the reload.
    let mut bench = Bench::new(spec(vec![slow]));
    bench.wait(ms(9_000));
    bench.reload(spec(vec![instance(1, 100)]));
    assert_eq!(bench.role(0), Role::Backup);
    bench.wait(ms(3_700));
    assert_eq!(bench.role(0), Role::Master);
}
