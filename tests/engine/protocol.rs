//! The state machine, row by row.

use crate::harness::*;
use vipd::spec::*;
use vipd::time::{Interval, Time};
use vipd::vrrp::io::{Command, *};
use vipd::wire::{Priority, Version};

fn one(spec_of_one: InstanceSpec) -> Bench {
    Bench::new(spec(vec![spec_of_one]))
}

fn micros(us: u64) -> Time {
    Time::from_micros(us)
}

#[test]
fn starts_as_backup_and_waits_the_whole_down_timer() {
    for wants_master in [false, true] {
        let mut bench = one(InstanceSpec { wants_master, ..instance(1, 100) });
        assert_eq!(words(&bench.take()), ["BACKUP"]);
        assert_eq!(bench.engine.deadline(), Some((micros(3_609_375), Wake::MasterDown(InstanceId(0)))));
        bench.until(micros(3_609_374));
        assert_eq!(bench.role(0), Role::Backup);
        bench.until(micros(3_609_375));
        assert_eq!(words(&bench.take())[..3], ["advert 100", "own 0", "MASTER"]);
        assert_eq!(bench.view(0).why, Cause::MasterSilent);
        assert_eq!(bench.engine.deadline(), Some((micros(4_609_375), Wake::Advert(InstanceId(0)))));
    }
}

#[test]
fn announces_only_what_the_kernel_has() {
    let mut bench = one(InstanceSpec { claim: claim(&["10.0.0.100", "10.0.0.101", "10.0.0.102"]), ..instance(1, 100) });
    bench.kernel = false;
    bench.until(at(10_000));
    assert_eq!(bench.role(0), Role::Master);
    assert!(announced(&bench.take()).is_empty());
    let ready = |range: std::ops::Range<u32>| Input::Applied {
        instance: InstanceId(0),
        outcome: Outcome::Ready { addresses: range, announced: false },
    };
    bench.give(ready(0..2));
    assert_eq!(announced(&bench.take()), [0..2]);
    bench.give(ready(0..2));
    assert!(announced(&bench.take()).is_empty());
    bench.give(ready(2..3));
    bench.give(Input::Applied { instance: InstanceId(0), outcome: Outcome::Complete });
    let rounds = announced(&bench.take());
    assert_eq!(rounds, [vec![2..3], vec![0..3; 4]].concat());
    assert!(bench.view(0).owned);
    assert_eq!(bench.view(0).counters.garps_sent, 3 + 4 * 3);
    // A claim that is not there in full is announced as far as it is.
    bench.give(Input::Applied { instance: InstanceId(0), outcome: Outcome::Failed { reason: "no".into() } });
    // Its addresses are there all the same: something else of the claim was refused.
    assert!(bench.view(0).owned);
    assert_eq!(bench.view(0).lacking.as_deref(), Some("no"));
    bench.give(Input::Applied { instance: InstanceId(0), outcome: Outcome::Complete });
    assert_eq!(bench.view(0).lacking, None);
    assert!(matches!(&events(&bench.take())[..], [Event::ClaimFailed { .. }]));
}

#[test]
fn adverts_keep_an_absolute_cadence() {
    let mut bench = Bench::as_master(spec(vec![InstanceSpec { interval: ms(10), ..instance(1, 100) }]));
    let (first, _) = bench.engine.deadline().unwrap();
    for step in 1..=300_u64 {
        // Always three milliseconds late.
        bench.now = first + ms(10).times(step - 1) + ms(3);
        bench.give(Input::Tick);
        assert_eq!(said(&bench.take()), [100]);
        assert_eq!(bench.engine.deadline().unwrap().0, first + ms(10).times(step), "step {step}");
    }
}

#[test]
fn a_late_master_skips_and_does_not_burst() {
    let mut bench = Bench::as_master(spec(vec![instance(1, 100)]));
    let (due, _) = bench.engine.deadline().unwrap();
    bench.now = due + ms(2500);
    bench.give(Input::Tick);
    let actions = bench.take();
    assert_eq!(said(&actions), [100]);
    assert!(events(&actions).contains(&Event::Late { by: ms(2500) }));
    assert_eq!(bench.engine.deadline().unwrap().0, due + ms(3000));
}

#[test]
fn all_that_are_due_together_are_served_in_one_call() {
    let mut bench = Bench::new(spec((1..=20).map(|id| instance(id, 100)).collect()));
    bench.take();
    bench.now = at(3700);
    bench.give(Input::Tick);
    assert_eq!(said(&bench.take()).len(), 20);
}

#[test]
fn a_backup_and_adverts() {
    // configuration, priority heard, what the deadline does, and which Cause follows when it ends
    enum Then {
        Restarts,
        Goes,
        Skews,
    }
    let plain = || instance(1, 100);
    let nopreempt = || InstanceSpec { preempt: false, ..instance(1, 100) };
    let delayed = || InstanceSpec { preempt_delay: ms(60_000), ..instance(1, 100) };
    let table = [
        (plain(), 100, Then::Restarts),
        (plain(), 101, Then::Restarts),
        (plain(), 255, Then::Restarts),
        (plain(), 99, Then::Goes),
        (plain(), 1, Then::Goes),
        (plain(), 0, Then::Skews),
        (nopreempt(), 99, Then::Restarts),
        (nopreempt(), 0, Then::Skews),
        (delayed(), 99, Then::Restarts),
        (delayed(), 0, Then::Skews),
    ];
    for (row, (spec_of_one, heard, then)) in table.into_iter().enumerate() {
        let voice = Voice::of(&spec_of_one, "10.0.0.2", heard);
        let mut bench = one(spec_of_one);
        bench.until(at(2000));
        bench.hear(&voice);
        let wanted = match then {
            Then::Restarts => 2_000_000 + 3_609_375,
            Then::Goes => 3_609_375,
            Then::Skews => 2_000_000 + 609_375,
        };
        let (due, wake) = bench.engine.deadline().unwrap();
        assert_eq!(due, micros(wanted), "row {row}");
        let preempts = matches!(then, Then::Goes);
        assert_eq!(wake == Wake::Preempt(InstanceId(0)), preempts, "row {row}");
        bench.until(due);
        let why = bench.view(0).why;
        let from = ip("10.0.0.2");
        match then {
            Then::Restarts => assert_eq!(why, Cause::MasterSilent, "row {row}"),
            Then::Goes => assert_eq!(why, Cause::Preempts { over: from, priority: Priority(heard) }, "row {row}"),
            Then::Skews => assert_eq!(why, Cause::MasterLeft, "row {row}"),
        }
    }
}

#[test]
fn preempt_delay_runs_from_the_first_lower_advert() {
    let mut bench = one(InstanceSpec { preempt_delay: ms(5000), ..instance(1, 100) });
    let voice = |priority| Voice::of(&instance(1, 100), "10.0.0.2", priority);
    // Hearing an equal or higher one stops the delay.
    bench.hear(&voice(99));
    bench.wait(ms(4000).less(ms(1000)));
    bench.hear(&voice(100));
    for _ in 0..5 {
        bench.wait(ms(1000));
        bench.hear(&voice(99));
        assert_eq!(bench.engine.deadline().unwrap().1, Wake::MasterDown(InstanceId(0)));
    }
    bench.wait(ms(1000));
    bench.hear(&voice(99));
    assert_eq!(bench.engine.deadline().unwrap().1, Wake::Preempt(InstanceId(0)));
    // A silent start is not delayed.
    let mut alone = one(InstanceSpec { preempt_delay: ms(60_000), ..instance(1, 100) });
    alone.until(at(3700));
    assert_eq!(alone.role(0), Role::Master);
}

#[test]
fn a_master_and_adverts() {
    // Our address is 10.0.0.1. Heard priority, from; wanted words.
    let table: [(u8, &str, &[&str]); 7] = [
        (0, "10.0.0.2", &["advert 100"]),
        (99, "10.0.0.2", &["HeardLower", "advert 100"]),
        (101, "10.0.0.2", &["disown 0", "BACKUP"]),
        (100, "10.0.0.2", &["disown 0", "BACKUP"]),
        (100, "10.0.0.0", &["HeardLower", "advert 100"]),
        (255, "10.0.0.0", &["disown 0", "BACKUP"]),
        (100, "10.0.0.1", &["RivalMaster"]),
    ];
    for (priority, from, wanted) in table {
        let mut bench = Bench::as_master(spec(vec![instance(1, 100)]));
        let before = bench.engine.deadline();
        bench.hear(&Voice::of(&instance(1, 100), from, priority));
        let said = words(&bench.take());
        assert_eq!(said[..wanted.len()], *wanted, "{priority} from {from}");
        assert!(said[wanted.len()..].iter().all(|word| word.starts_with("announce")), "{said:?}");
        if bench.role(0) == Role::Master {
            assert_eq!(bench.engine.deadline(), before, "an advert in between does not shift the cadence");
        } else {
            assert_eq!(bench.engine.deadline().unwrap().0, bench.now + Interval::from_micros(3_609_375));
            assert_eq!(bench.view(0).why, Cause::Outranked { by: ip(from), priority: Priority(priority) });
        }
    }
}

#[test]
fn lower_and_higher_advert_switches() {
    let quiet = InstanceSpec { lower_prio_no_advert: true, ..instance(1, 100) };
    let mut bench = Bench::as_master(spec(vec![quiet.clone()]));
    bench.hear(&Voice::of(&quiet, "10.0.0.2", 50));
    assert!(said(&bench.take()).is_empty());
    let loud = InstanceSpec { higher_prio_send_advert: true, ..instance(1, 100) };
    let mut bench = Bench::as_master(spec(vec![loud.clone()]));
    bench.hear(&Voice::of(&loud, "10.0.0.2", 200));
    assert_eq!(words(&bench.take())[..3], ["advert 100", "disown 0", "BACKUP"]);
}

#[test]
fn version_3_learns_the_master_s_interval() {
    let mut bench = one(instance(1, 100));
    let mut voice = Voice::of(&instance(1, 100), "10.0.0.2", 200);
    voice.interval = ms(200);
    bench.hear(&voice);
    // 3 × 0.2 s + 156/256 × 0.2 s
    assert_eq!(bench.engine.deadline().unwrap().0, micros(600_000 + 121_875));
    assert_eq!(bench.view(0).master_interval, ms(200));
    bench.until(at(1000));
    assert_eq!(bench.role(0), Role::Master);
    // A master's own interval is its own again.
    assert_eq!(bench.view(0).master_interval, ms(1000));
    // So is what it learns when it yields.
    voice.interval = ms(300);
    bench.hear(&voice);
    assert_eq!(bench.role(0), Role::Backup);
    assert_eq!(bench.view(0).master_interval, ms(300));
    // And leaving FAULT forgets it.
    let mut down = links()[0].clone();
    down.running = false;
    bench.give(Input::Link(LinkFact::Changed(down.clone())));
    assert_eq!(bench.role(0), Role::Fault);
    down.running = true;
    bench.give(Input::Link(LinkFact::Changed(down)));
    assert_eq!((bench.role(0), bench.view(0).master_interval), (Role::Backup, ms(1000)));
}

#[test]
fn an_owner_starts_at_once() {
    let mut bench = one(instance(1, 255));
    assert_eq!(words(&bench.take())[..3], ["advert 255", "own 0", "MASTER"]);
    assert_eq!(bench.view(0).why, Cause::Owner);
    let mut reluctant = one(InstanceSpec { wants_master: false, ..instance(1, 255) });
    assert_eq!(words(&reluctant.take()), ["BACKUP"]);
    assert_eq!(reluctant.engine.deadline().unwrap().0, micros(3_000_000 + 3_906));
}

#[test]
fn two_owners() {
    // The lower address yields at once.
    let owner = instance(1, 255);
    let mut bench = one(owner.clone());
    bench.take();
    bench.hear(&Voice::of(&owner, "10.0.0.2", 255));
    assert_eq!(bench.role(0), Role::Backup);
    assert!(events(&bench.take()).iter().any(|event| matches!(event, Event::RivalMaster { .. })));

    // The higher address gives the other two of its own adverts and 1.2 intervals; then it lowers itself.
    let mut bench = one(owner.clone());
    let rival = Voice::of(&owner, "10.0.0.0", 255);
    bench.hear(&rival);
    bench.take();
    for _ in 0..2 {
        bench.wait(ms(1000));
        bench.hear(&Voice::of(&owner, "10.0.0.0", 255));
        assert_eq!(bench.role(0), if bench.now < at(2000) { Role::Master } else { Role::Backup });
    }
    assert_eq!(bench.view(0).effective_priority, Priority(254));
    // Alone again it is an owner, and whoever follows the priority is told before it speaks.
    let mut alone = Bench { now: bench.now, ..Bench::of(bench.engine.clone()) };
    alone.wait(ms(3100));
    let told = words(&alone.take());
    assert_eq!(told[..4], ["PriorityChanged", "advert 255", "own 0", "MASTER"]);
    // As backup it is an owner again as soon as the rival changes.
    bench.hear(&Voice::of(&owner, "10.0.0.7", 255));
    assert_eq!(bench.view(0).effective_priority, Priority(255));

    // A rival that falls silent is forgotten.
    let mut bench = one(owner.clone());
    bench.hear(&rival);
    bench.wait(ms(4500));
    bench.hear(&rival);
    assert_eq!((bench.role(0), bench.view(0).effective_priority), (Role::Master, Priority(255)));
}

#[test]
fn down_timer_adverts_count() {
    let bench = one(InstanceSpec { down_adverts: 5, ..instance(1, 100) });
    assert_eq!(bench.engine.deadline().unwrap().0, micros(5_609_375));
}

#[test]
fn a_startup_delay_keeps_everybody_deaf() {
    let mut both = spec(vec![instance(1, 100), instance(2, 255)]);
    both.startup_delay = ms(10_000);
    let mut bench = Bench::new(both);
    assert_eq!(bench.roles(), [Role::Backup, Role::Backup]);
    bench.until(at(9000));
    bench.hear(&Voice::of(&instance(1, 100), "10.0.0.2", 200));
    assert_eq!(bench.view(0).counters.advert_rcvd, 0);
    assert_eq!(bench.view(0).counters.refused[&Refusal::NotListening], 1);
    assert_eq!(bench.engine.snapshot(bench.now).startup_delay_left, Some(ms(1000)));
    // An owner does not wait longer than that; the others have their down timer before them.
    bench.until(at(10_000));
    assert_eq!(bench.roles(), [Role::Backup, Role::Master]);
    assert_eq!(bench.view(1).why, Cause::Owner);
    bench.until(at(13_600));
    assert_eq!(bench.roles(), [Role::Backup, Role::Master]);
    bench.until(at(13_610));
    assert_eq!(bench.roles(), [Role::Master, Role::Master]);
}

#[test]
fn an_owner_that_waits_for_a_script_starts_with_its_first_word() {
    let mut of = spec(vec![InstanceSpec { ties: vec![tie(TieTarget::Script(ScriptId(0)), 0)], ..instance(1, 255) }]);
    of.scripts.push(script("check"));
    let mut bench = Bench::new(of);
    assert_eq!(bench.role(0), Role::Fault);
    bench.exits(ScriptId(0), Exit::Code(0));
    assert_eq!((bench.role(0), bench.view(0).why.clone()), (Role::Master, Cause::Owner));
    // Out of a real FAULT it waits like anybody else.
    bench.wait(ms(1000));
    bench.exits(ScriptId(0), Exit::Code(1));
    bench.wait(ms(1000));
    bench.exits(ScriptId(0), Exit::Code(0));
    assert_eq!(bench.role(0), Role::Backup);
}

#[test]
fn a_stalled_master_that_must_not_preempt_goes_back() {
    let patient = InstanceSpec { preempt: false, timer_expired_backup: Some(254), ..instance(1, 100) };
    // Last advert older than 3 × interval + skew with priority 254 = 3.0078 s.
    for (late, wanted) in [(2_007, Role::Master), (2_008, Role::Backup)] {
        let mut bench = Bench::as_master(spec(vec![patient.clone()]));
        let (due, _) = bench.engine.deadline().unwrap();
        bench.now = due + ms(late);
        bench.give(Input::Tick);
        assert_eq!(bench.role(0), wanted, "{late} ms late");
    }
}

#[test]
fn stop_says_goodbye_first() {
    let mut bench = Bench::as_master(spec(vec![instance(1, 100), instance(2, 100)]));
    bench.give(Input::Command(Command::Stop { release: true }));
    let said = words(&bench.take());
    assert_eq!(said, ["advert 0", "advert 0", "disown 0", "disown 1", "Stopped", "Stopped"]);
    assert_eq!(bench.view(0).counters.pri_zero_sent, 1);
    assert_eq!(bench.engine.deadline(), None);
    bench.hear(&Voice::of(&instance(1, 100), "10.0.0.2", 1));
    assert_eq!(bench.take(), []);
    let mut bench = Bench::as_master(spec(vec![instance(1, 100)]));
    bench.give(Input::Command(Command::Stop { release: false }));
    assert_eq!(words(&bench.take()), ["advert 0", "Stopped"]);
}

#[test]
fn drain_failover_and_their_like() {
    let mut bench = Bench::as_master(spec(vec![instance(1, 100)]));
    bench.give(Input::Command(Command::Drain { instance: None }));
    assert_eq!(words(&bench.take()), ["advert 0", "disown 0", "BACKUP", "PriorityChanged"]);
    assert_eq!(bench.view(0).effective_priority, Priority(1));
    // Anybody who lives keeps it back.
    for _ in 0..10 {
        bench.wait(ms(1000));
        bench.hear(&Voice::of(&instance(1, 100), "10.0.0.2", 2));
        assert_eq!(bench.role(0), Role::Backup);
    }
    // When nobody lives it serves, and yields to anybody.
    bench.wait(ms(4000));
    assert_eq!(bench.role(0), Role::Master);
    bench.hear(&Voice::of(&instance(1, 100), "10.0.0.2", 2));
    assert_eq!(bench.role(0), Role::Backup);
    bench.take();
    bench.give(Input::Command(Command::Undrain { instance: Some(InstanceId(0)) }));
    assert_eq!(bench.view(0).effective_priority, Priority(100));
    bench.wait(ms(4000));
    bench.take();
    bench.give(Input::Command(Command::Failover { instance: Some(InstanceId(0)) }));
    assert_eq!(words(&bench.take()), ["advert 0", "disown 0", "BACKUP"]);
    assert_eq!(bench.view(0).effective_priority, Priority(100));
    bench.wait(ms(4000));
    bench.take();
    bench.give(Input::Command(Command::Reassure));
    assert_eq!(words(&bench.take()), ["advert 100"]);
    bench.give(Input::Command(Command::Announce { instance: None }));
    assert_eq!(words(&bench.take()), ["announce 0..1"]);
    bench.give(Input::Command(Command::ClearCounters));
    assert_eq!(bench.view(0).counters, Default::default());
    // An instance that does not exist is nobody.
    bench.give(Input::Command(Command::Failover { instance: Some(InstanceId(77)) }));
    bench.give(Input::Applied { instance: InstanceId(77), outcome: Outcome::Complete });
    assert_eq!(bench.take(), []);
}

#[test]
fn a_healed_address_is_announced_and_mastership_kept() {
    let mut bench = Bench::as_master(spec(vec![instance(1, 100)]));
    bench.give(Input::Link(LinkFact::Healed { instance: InstanceId(0), addresses: 0..1 }));
    let actions = bench.take();
    assert_eq!(announced(&actions), vec![0..1; 5]);
    assert!(events(&actions).contains(&Event::Healed { instance: InstanceId(0), addresses: 0..1 }));
    assert_eq!((bench.role(0), bench.view(0).counters.healed), (Role::Master, 1));
}

/// keepalived says nothing, and neighbours speak to a hardware address that nobody has until their caches forget it.
#[test]
fn another_hardware_address_is_announced() {
    let with_mac = |index, label: &str, mac: u8, addresses: &[&str]| Link {
        mac: Some([2, 0, 0, 0, 0, mac]),
        ..link(index, label, addresses)
    };
    let mut elsewhere = instance(2, 100);
    elsewhere.interface = Some(name("eth1"));
    let mut both = instance(1, 100);
    let mut owned = Claim::clone(&claim(&["10.0.0.100", "10.0.0.101", "10.0.0.102"]));
    owned.addresses[1].interface = Some(name("eth1"));
    both.claim = owned.into();
    let mut bench = Bench::as_master(spec(vec![both, elsewhere]));
    let before = with_mac(ETH0, "eth0", 1, &["10.0.0.1", "fe80::1"]);
    bench.give(Input::Link(LinkFact::Changed(before.clone())));
    bench.give(Input::Command(Command::Announce { instance: None }));
    bench.take();
    let moved = Link { mac: Some([2, 0, 0, 0, 0, 9]), ..before.clone() };
    bench.give(Input::Link(LinkFact::Changed(moved.clone())));
    let actions = bench.take();
    let expected: Vec<_> = (0..5).flat_map(|_| [0..1, 2..3]).collect();
    assert_eq!(announced(&actions), expected, "only what is on eth0: {actions:?}");
    assert_eq!(bench.role(0), Role::Master);
    // The same once more, and a change of anything else, say nothing.
    bench.give(Input::Link(LinkFact::Changed(moved.clone())));
    bench.give(Input::Link(LinkFact::Changed(Link { mtu: 9000, ..moved })));
    assert_eq!(announced(&bench.take()), []);
}

#[test]
fn the_source_of_a_unicast_backup_is_announced_with_its_new_hardware_address() {
    let mut bench = Bench::new(spec(vec![unicast(1, 100, &["10.0.0.2"])]));
    let moved = Link { mac: Some([2, 0, 0, 0, 0, 9]), ..link(ETH0, "eth0", &["10.0.0.1", "fe80::1"]) };
    bench.take();
    bench.give(Input::Link(LinkFact::Changed(moved)));
    let said = bench.take();
    let source = |action: &&Action| matches!(action, Action::AnnounceSource { ifindex: ETH0, address, .. } if *address == ip("10.0.0.1"));
    assert_eq!(said.iter().filter(source).count(), 1, "{said:?}");
    assert_eq!(bench.role(0), Role::Backup);
}

#[test]
fn version_2_over_ipv4_and_version_3_over_ipv6() {
    for one_of in [v2(1, 100), v6(1, 100), InstanceSpec { version: Version::V2, ..v6(1, 100) }] {
        let (from, version, family) = (
            if one_of.family == vipd::wire::Family::V4 { "10.0.0.2" } else { "fe80::5" },
            one_of.version,
            one_of.family,
        );
        let voice = Voice::of(&one_of, from, 200);
        let mut bench = Bench::as_master(spec(vec![one_of]));
        bench.hear(&voice);
        assert_eq!(bench.role(0), Role::Backup, "{version:?} {family}");
        assert_eq!(bench.view(0).counters.advert_rcvd, 1);
    }
}
