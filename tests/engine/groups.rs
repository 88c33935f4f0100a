//! Sync groups: the table of facts → state, in action.

use crate::harness::*;
use vipd::spec::*;
use vipd::vrrp::io::{Command, *};
use vipd::wire::Priority;

fn pair_of(first: u8, second: u8) -> Spec {
    let other = InstanceSpec { interface: Some(name("eth1")), claim: claim(&["10.1.0.100"]), ..instance(2, second) };
    grouped(vec![instance(1, first), other])
}

/// An advert for the second member, on its interface.
fn second(spec: &Spec, priority: u8) -> Voice {
    let mut voice = Voice::of(&spec.instances[1], "10.1.0.2", priority);
    voice.ifindex = ETH1;
    voice
}

fn group_state(bench: &Bench) -> Role {
    bench.engine.snapshot(bench.now).groups[0].state
}

#[test]
fn all_rise_together_and_only_when_all_want_to() {
    let of = pair_of(100, 100);
    let mut bench = Bench::new(of.clone());
    assert_eq!(bench.roles(), [Role::Backup, Role::Backup]);
    // The second segment has a master, the first is silent.
    for _ in 0..10 {
        bench.wait(ms(1000));
        bench.hear(&second(&of, 200));
        assert_eq!(bench.roles(), [Role::Backup, Role::Backup]);
    }
    assert_eq!(bench.view(0).wanted, Role::Master);
    assert_eq!(bench.view(1).wanted, Role::Backup);
    bench.take();
    // It leaves: after the skew both are masters at once.
    bench.hear(&second(&of, 0));
    bench.wait(ms(700));
    assert_eq!(bench.roles(), [Role::Master, Role::Master]);
    assert_eq!(bench.view(1).why, Cause::MasterLeft);
    assert_eq!(bench.view(0).why, Cause::Group { led_by: InstanceId(1) });
    assert_eq!(group_state(&bench), Role::Master);
    let told = words(&bench.take());
    assert_eq!(told.iter().filter(|word| *word == "group MASTER").count(), 1, "{told:?}");
}

#[test]
fn a_better_advert_takes_the_wish_back() {
    let of = pair_of(100, 100);
    let mut bench = Bench::new(of.clone());
    bench.wait(ms(1000));
    bench.hear(&second(&of, 200));
    bench.until(at(3700));
    assert_eq!(bench.view(0).wanted, Role::Master);
    bench.hear(&Voice::of(&of.instances[0], "10.0.0.2", 200));
    assert_eq!(bench.view(0).wanted, Role::Backup);
}

#[test]
fn one_yields_all_yield() {
    let of = pair_of(100, 100);
    let mut bench = Bench::as_master(of.clone());
    bench.hear(&second(&of, 200));
    assert_eq!(bench.roles(), [Role::Backup, Role::Backup]);
    let actions = bench.take();
    assert!(said(&actions).is_empty(), "no priority 0: {:?}", words(&actions));
    assert_eq!(bench.view(0).why, Cause::Group { led_by: InstanceId(1) });
    assert_eq!(words(&actions), ["disown 1", "BACKUP", "disown 0", "BACKUP", "group BACKUP"]);
}

#[test]
fn one_faulty_all_faulty_and_back() {
    let of = pair_of(100, 100);
    let mut bench = Bench::as_master(of);
    let mut eth1 = links()[1].clone();
    eth1.running = false;
    bench.give(Input::Link(LinkFact::Changed(eth1.clone())));
    assert_eq!(bench.roles(), [Role::Fault, Role::Fault]);
    assert_eq!(bench.view(0).faults, [Fault::Group("VI_2".into())]);
    assert_eq!(bench.view(1).faults, [Fault::InterfaceDown(name("eth1"))]);
    let actions = bench.take();
    assert_eq!(said(&actions), [0, 0], "each says goodbye once");
    assert_eq!(group_state(&bench), Role::Fault);
    eth1.running = true;
    bench.give(Input::Link(LinkFact::Changed(eth1)));
    assert_eq!(bench.roles(), [Role::Backup, Role::Backup]);
    bench.wait(ms(4000));
    assert_eq!(bench.roles(), [Role::Master, Role::Master]);
}

#[test]
fn an_unreported_script_of_one_holds_all() {
    let mut of = pair_of(100, 100);
    of.scripts.push(script("check"));
    of.instances[1].ties.push(tie(TieTarget::Script(ScriptId(0)), 0));
    let mut bench = Bench::new(of.clone());
    assert_eq!(bench.roles(), [Role::Fault, Role::Fault]);
    // Nobody is told of it: neither of the one that waits, nor of the one beside it, nor of the group.
    assert_eq!(words(&bench.take()), ["run 0"]);
    assert_eq!(group_state(&bench), Role::Init);
    bench.exits(ScriptId(0), Exit::Code(0));
    assert_eq!(bench.roles(), [Role::Backup, Role::Backup]);
    assert_eq!(words(&bench.take()), ["ScriptChanged", "BACKUP", "BACKUP", "group BACKUP"]);
    // What it reports may be bad; then everybody is told.
    let mut bench = Bench::new(of.clone());
    bench.take();
    bench.exits(ScriptId(0), Exit::Code(1));
    assert_eq!(words(&bench.take()), ["ScriptChanged", "FAULT", "FAULT", "group FAULT"]);
    // So they are when another fault comes before its word.
    let mut bench = Bench::new(of);
    bench.take();
    let mut eth0 = links()[0].clone();
    eth0.running = false;
    bench.give(Input::Link(LinkFact::Changed(eth0)));
    assert_eq!(words(&bench.take()), ["LinkChanged", "FAULT", "FAULT", "group FAULT"]);
}

#[test]
fn whoever_leads_a_group_goes_first() {
    let of = pair_of(200, 100);
    let mut bench = Bench::new(of);
    bench.until(at(4000));
    // The first was ready first; the second, whose down timer is longer, brought them there.
    let told = words(&bench.take());
    let order: Vec<_> = told.iter().filter(|word| word.starts_with("own")).collect();
    assert_eq!(order, ["own 1", "own 0"], "{told:?}");
}

#[test]
fn a_lower_rival_of_one_has_all_announce() {
    let of = pair_of(100, 100);
    let mut bench = Bench::as_master(of.clone());
    bench.hear(&second(&of, 50));
    let announcing = |action: &Action| if let Action::Announce(a) = action { Some(a.instance.0) } else { None };
    let who: Vec<u32> = bench.take().iter().filter_map(announcing).collect();
    assert_eq!(who, [[0; 5], [1; 5]].concat());
}

#[test]
fn owners_in_groups() {
    // Both told to start as master: at once, and whoever follows the group is told.
    let mut both = Bench::new(pair_of(255, 255));
    assert_eq!(both.roles(), [Role::Master, Role::Master]);
    assert!(words(&both.take()).contains(&"group MASTER".into()));
    // An owner beside another: neither.
    let mut mixed = Bench::new(pair_of(255, 100));
    assert_eq!(mixed.roles(), [Role::Backup, Role::Backup]);
    mixed.until(at(4000));
    assert_eq!(mixed.roles(), [Role::Master, Role::Master]);
    // All owners, but not told in so many words: an interval and 1/256.
    let mut of = pair_of(255, 255);
    of.groups[0].starts_as_master = false;
    let mut bench = Bench::new(of);
    assert_eq!(bench.roles(), [Role::Backup, Role::Backup]);
    bench.until(at(1003));
    assert_eq!(bench.roles(), [Role::Backup, Role::Backup]);
    bench.until(at(1004));
    assert_eq!(bench.roles(), [Role::Master, Role::Master]);
    // Told to be BACKUP: the whole down timer.
    let mut of = pair_of(255, 255);
    of.groups[0].starts_as_master = false;
    of.instances.iter_mut().for_each(|own| own.wants_master = false);
    let mut bench = Bench::new(of);
    bench.until(at(3003));
    assert_eq!(bench.roles(), [Role::Backup, Role::Backup]);
    bench.until(at(3004));
    assert_eq!(bench.roles(), [Role::Master, Role::Master]);
}

#[test]
fn commands_move_the_whole_group() {
    let of = pair_of(100, 100);
    let mut bench = Bench::as_master(of);
    bench.give(Input::Command(Command::Failover { instance: Some(InstanceId(1)) }));
    assert_eq!(bench.roles(), [Role::Backup, Role::Backup]);
    assert_eq!(said(&bench.take()), [0, 0]);
    bench.wait(ms(4000));
    bench.take();
    bench.give(Input::Command(Command::Drain { instance: Some(InstanceId(0)) }));
    assert_eq!(bench.roles(), [Role::Backup, Role::Backup]);
    assert_eq!(said(&bench.take()), [0, 0]);
    assert!((0..2).all(|index| bench.view(index).effective_priority == Priority(1)));
}

#[test]
fn priority_below_the_peer_in_one_segment_only() {
    // One member is outranked for ever: the group never splits.
    let of = pair_of(150, 50);
    let mut bench = Bench::new(of.clone());
    for step in 0..60 {
        bench.wait(ms(500));
        bench.hear(&Voice::of(&of.instances[0], "10.0.0.2", 100));
        bench.hear(&second(&of, 100));
        assert_eq!(bench.roles(), [Role::Backup, Role::Backup], "step {step}");
    }
}

/// Both groups became MASTER at one moment, and each yields to the other in one member: who has the lower address waits an
/// interval longer than before, so the other is there first.
#[test]
fn of_two_groups_that_throw_each_other_out_one_goes_first() {
    let takes_over = |rival: &str| {
        let of = pair_of(150, 100);
        let mut bench = Bench::as_master(of.clone());
        let mut theirs = second(&of, 150);
        theirs.from = rival.parse().unwrap();
        bench.hear(&theirs);
        assert_eq!(bench.roles(), [Role::Backup, Role::Backup]);
        let yielded = bench.now;
        while bench.roles()[0] != Role::Master {
            bench.wait(ms(10));
        }
        bench.now.since(yielded)
    };
    let (first, last) = (takes_over("10.1.0.0"), takes_over("10.1.0.200"));
    assert!(first < ms(3700) && last >= first + ms(900), "{first} {last}");
}

/// A master of long standing that is outranked waits no longer than it ever did.
#[test]
fn a_group_that_was_master_for_long_does_not_step_aside() {
    let of = pair_of(150, 100);
    let mut bench = Bench::as_master(of.clone());
    bench.wait(ms(5000));
    bench.hear(&Voice { from: "10.1.0.200".parse().unwrap(), ..second(&of, 150) });
    assert_eq!(bench.roles(), [Role::Backup, Role::Backup]);
    bench.wait(ms(3700));
    assert_eq!(bench.roles(), [Role::Master, Role::Master]);
}
