//! Who speaks beside the instance and is not obeyed: what makes two masters visible.

use crate::harness::*;
use vipd::spec::*;
use vipd::vrrp::io::{Command, *};
use vipd::wire::Priority;

fn told(actions: &[Action]) -> Vec<Event> {
    let rival = |event: &Event| matches!(event, Event::RivalStays { .. } | Event::RivalSilent { .. });
    events(actions).into_iter().filter(rival).collect()
}

#[test]
fn a_refused_speaker_stands_in_the_view_with_reason_and_count() {
    let of = InstanceSpec { auth: Auth::Pass(*b"secret\0\0"), ..v2(1, 150) };
    let theirs = Voice { auth_type: 1, password: *b"other\0\0\0", ..Voice::of(&v2(1, 100), "10.0.0.2", 100) };
    let mut bench = Bench::as_master(spec(vec![of]));
    for _ in 0..5 {
        bench.hear(&theirs);
        bench.wait(ms(1000));
    }
    let view = bench.view(0);
    let [speaker] = view.refused_speakers.as_slice() else { panic!("{:?}", view.refused_speakers) };
    assert_eq!((speaker.address, speaker.why, speaker.count), (ip("10.0.0.2"), Refusal::AuthFailure, 5));
    assert!(speaker.current);
    assert_eq!(view.rivals, []);
    bench.wait(ms(20_000));
    assert!(!bench.view(0).refused_speakers[0].current);
}

#[test]
fn a_master_that_does_not_yield_is_told_once_and_its_silence_too() {
    let of = v2(1, 150);
    let mut bench = Bench::as_master(spec(vec![of.clone()]));
    bench.take();
    let mut seen = Vec::new();
    for _ in 0..8 {
        bench.hear(&Voice::of(&of, "10.0.0.2", 100));
        bench.wait(ms(1000));
        seen.extend(told(&bench.take()));
    }
    let (instance, from) = (InstanceId(0), ip("10.0.0.2"));
    assert_eq!(seen, [Event::RivalStays { instance, from, priority: Priority(100) }]);
    let view = bench.view(0);
    assert!(view.rivals[0].current && view.rivals[0].count == 8, "{:?}", view.rivals);
    bench.wait(ms(10_000));
    assert_eq!(told(&bench.take()), [Event::RivalSilent { instance, from }]);
    assert!(!bench.view(0).rivals[0].current);
}

/// Whoever comes second speaks once or twice before it yields.
#[test]
fn a_master_that_yields_is_no_rival() {
    let of = v2(1, 150);
    let mut bench = Bench::as_master(spec(vec![of.clone()]));
    for _ in 0..2 {
        bench.hear(&Voice::of(&of, "10.0.0.2", 100));
        bench.wait(ms(1000));
    }
    assert_eq!(told(&bench.take()), []);
    assert!(!bench.view(0).rivals[0].current);
}

#[test]
fn a_stranger_with_our_addresses_is_told_of_the_instance_that_has_them() {
    let of = v2(1, 150);
    let theirs = InstanceSpec { vrid: vrid(2), claim: of.claim.clone(), ..of.clone() };
    let foreign = InstanceSpec { vrid: vrid(3), claim: claim(&["10.0.0.77"]), ..of.clone() };
    let mut bench = Bench::as_master(spec(vec![of]));
    bench.take();
    for _ in 0..3 {
        bench.hear(&Voice::of(&theirs, "10.0.0.2", 100));
        bench.hear(&Voice::of(&foreign, "10.0.0.3", 100));
        bench.wait(ms(1000));
    }
    let refused = events(&bench.take()).into_iter().filter(|event| matches!(event, Event::Refused { .. }));
    let (instance, from, why) = (Some(InstanceId(0)), ip("10.0.0.2"), Refusal::UnknownVrid);
    let refused: Vec<Event> = refused.collect();
    assert!(
        matches!(refused.as_slice(), [Event::Refused { instance: i, from: f, vrid: Some(v), why: w, .. }]
            if (*i, *f, *w, v.get()) == (instance, from, why, 2)),
        "{refused:?}"
    );
    let strangers = bench.engine.snapshot(bench.now).strangers;
    let of = |address: &str| strangers.iter().find(|s| s.address == ip(address)).unwrap();
    assert_eq!((of("10.0.0.2").count, of("10.0.0.2").instance.is_some()), (3, true));
    assert_eq!((of("10.0.0.3").count, of("10.0.0.3").instance.is_some()), (3, false));
}

/// The right number comes in beside the instance. From an address of this server it is its own advert: two interfaces in one network,
/// or two that have just changed their names.
#[test]
fn an_advert_of_this_server_that_comes_in_elsewhere_is_no_stranger_s() {
    let of = v2(1, 150);
    let mut bench = Bench::as_master(spec(vec![of.clone()]));
    bench.take();
    for (from, told) in [("10.0.0.1", 0), ("10.1.0.1", 0), ("10.1.0.2", 1)] {
        let mut voice = Voice::of(&of, from, 150);
        voice.ifindex = ETH1;
        bench.hear(&voice);
        let refused = events(&bench.take()).into_iter().filter(|event| matches!(event, Event::Refused { .. }));
        assert_eq!(refused.count(), told, "{from}");
        assert_eq!(bench.engine.snapshot(bench.now).strangers.len(), told, "{from}");
    }
}

/// Its own timer ends again and again, and nothing comes of it: the view names the member that holds it instead of a time.
#[test]
fn a_member_that_its_group_holds_back_says_which_member_it_is() {
    let other = InstanceSpec { interface: Some(name("eth1")), claim: claim(&["10.1.0.100"]), ..v2(2, 100) };
    let of = grouped(vec![v2(1, 100), other]);
    let mut voice = Voice::of(&of.instances[1], "10.1.0.2", 200);
    voice.ifindex = ETH1;
    let mut first = Voice::of(&of.instances[0], "10.0.0.2", 200);
    first.ifindex = ETH0;
    let mut bench = Bench::new(of);
    bench.hear(&first);
    for _ in 0..20 {
        bench.hear(&voice);
        bench.wait(ms(1000));
    }
    let (waits, holds) = (bench.view(0), bench.view(1));
    assert_eq!(waits.held_back_by, std::slice::from_ref(&holds.name));
    assert_eq!(waits.next, None);
    assert!(waits.master.unwrap().silent, "20 s ago is not now");
    assert_eq!(holds.held_back_by, []);
    assert!(!holds.master.unwrap().silent);
    assert!(holds.next.unwrap().what.contains("with its group"));
}

/// Nobody is there: two intervals at most (the longest skew of another, and its own), and not the whole down timer.
#[test]
fn a_hand_over_that_nobody_takes_is_taken_back_at_once() {
    for (command, within) in [(Command::Failover { instance: None }, 1500), (Command::Drain { instance: None }, 2000)] {
        let mut bench = Bench::as_master(spec(vec![v2(1, 150)]));
        bench.give(Input::Command(command));
        assert_eq!(bench.role(0), Role::Backup);
        bench.wait(ms(1000));
        assert_eq!(bench.role(0), Role::Backup, "another may take a whole interval");
        bench.wait(ms(within - 1000));
        assert_eq!(bench.role(0), Role::Master);
        assert_eq!(bench.view(0).why, Cause::NobodyTookOver);
        // Somebody who speaks keeps it behind for the whole down timer.
        let mut bench = Bench::as_master(spec(vec![v2(1, 150)]));
        bench.give(Input::Command(command));
        bench.wait(ms(600));
        bench.hear(&Voice::of(&v2(1, 150), "10.0.0.2", 200));
        bench.wait(ms(3000));
        assert_eq!(bench.role(0), Role::Backup);
    }
}

#[test]
fn a_master_that_speaks_for_other_addresses_is_seen_until_it_speaks_for_ours() {
    let of = InstanceSpec { claim: claim(&["10.0.0.100", "10.0.0.101"]), ..v2(1, 100) };
    let mut bench = Bench::new(spec(vec![of.clone()]));
    let right = Voice::of(&of, "10.0.0.2", 150);
    let other = Voice { addresses: vec![ip("10.0.0.100"), ip("10.9.9.9")], ..Voice::of(&of, "10.0.0.2", 150) };
    let differ = |bench: &Bench| bench.view(0).master.unwrap().addresses_differ;
    bench.hear(&right);
    assert!(!differ(&bench));
    bench.hear(&other);
    assert!(differ(&bench));
    bench.hear(&right);
    assert!(!differ(&bench));
}

/// The machine stood still, and when it goes on the master's advert comes behind the end of our patience, before we have done anything:
/// nobody is down who is heard. So it is with keepalived, which reads before it loses patience.
#[test]
fn a_master_that_is_heard_behind_the_end_of_patience_but_before_its_consequence_is_not_down() {
    let of = spec(vec![instance(1, 100), instance(2, 100)]);
    let mut bench = Bench::new(of.clone());
    let voices = [1, 2].map(|n: usize| Voice::of(&of.instances[n - 1], "10.0.0.2", 200));
    voices.iter().for_each(|voice| bench.hear(voice));
    let (since, _) = bench.engine.deadline().unwrap();
    bench.take();
    let awake = since + ms(2000);
    bench.engine.handle(Input::Slept { since }, awake);
    bench.now = since + ms(1980);
    // What else comes in between, as that an answer could not be sent, ends nobody's patience.
    let failure = Some(SendFailure { reason: "down".into(), ours: false });
    bench.give(Input::Sent { instance: InstanceId(1), destination: ip("224.0.0.18"), failure });
    // The first one speaks again, the second one does not.
    bench.now = since + ms(1990);
    bench.hear(&voices[0]);
    assert_eq!(bench.roles(), [Role::Backup; 2]);
    bench.now = awake;
    bench.give(Input::Tick);
    assert_eq!(bench.roles(), [Role::Backup, Role::Master]);
    // Its patience counts from that advert.
    let (next, _) = bench.engine.deadline().unwrap();
    assert!(next > awake);
    bench.until(since + ms(1990) + ms(3600));
    assert_eq!(bench.roles(), [Role::Backup, Role::Master]);
    bench.wait(ms(100));
    assert_eq!(bench.roles(), [Role::Master; 2]);
}

/// A daemon that was stopped and goes on: what it hears of the time between is that another router was MASTER, not that there
/// are two. One that goes on speaking is a rival from then on.
#[test]
fn a_master_of_the_time_in_which_nothing_ran_is_no_rival() {
    let of = spec(vec![instance(1, 150)]);
    let mut bench = Bench::as_master(of.clone());
    let (since, _) = bench.engine.deadline().unwrap();
    let awake = since + ms(8000);
    let voice = Voice::of(&of.instances[0], "10.0.0.2", 100);
    bench.engine.handle(Input::Slept { since }, awake);
    for step in 0..5 {
        bench.now = since + ms(3000) + ms(1000).times(step);
        bench.hear(&voice);
    }
    bench.now = awake;
    bench.give(Input::Tick);
    let told = events(&bench.take());
    assert_eq!(told[0], Event::Slept { by: ms(8000) }, "{told:?}");
    let replaced = told.iter().filter(|event| matches!(event, Event::Replaced { .. })).count();
    assert_eq!(replaced, 1, "{told:?}");
    assert!(!told.iter().any(|event| matches!(event, Event::RivalStays { .. })), "{told:?}");
    assert!(bench.view(0).rivals.is_empty() && bench.view(0).replaced.is_some());
    for _ in 0..3 {
        bench.wait(ms(500));
        bench.hear(&voice);
    }
    assert!(events(&bench.take()).iter().any(|event| matches!(event, Event::RivalStays { .. })));
    // Short times one after the other are one line.
    let mut quick = Bench::as_master(spec(vec![InstanceSpec { interval: ms(10), ..instance(1, 150) }]));
    let mut told = 0;
    for _ in 0..50 {
        let (since, _) = quick.engine.deadline().unwrap();
        quick.now = since + ms(25);
        quick.engine.handle(Input::Slept { since }, quick.now);
        quick.give(Input::Tick);
        told += events(&quick.take()).iter().filter(|event| matches!(event, Event::Slept { .. })).count();
    }
    assert_eq!(told, 1);
    // A little lateness costs nobody's patience.
    let (since, _) = bench.engine.deadline().unwrap();
    bench.engine.handle(Input::Slept { since }, since + ms(900));
    assert!(events(&bench.take()).is_empty());
}
