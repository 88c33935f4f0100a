//! Random worlds against the oracle, and the oracle against broken engines.
//!
//! `VIPD_SEED=N cargo test --test simulate one_seed -- --ignored --nocapture` shows one world;
//! `VIPD_SEEDS=1000000 cargo test --release --test simulate many -- --ignored --nocapture` plays as many as one likes.
#![allow(clippy::unwrap_used)]

#[path = "simulate/flawed.rs"]
mod flawed;
#[path = "simulate/servers.rs"]
mod servers;

use flawed::{Flaw, flawed};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use vipd::config::Env;
use vipd::config::system::TableSystem;
use vipd::config::text::expand::TextEnv;
use vipd::config::text::source::MapLoader;
use vipd::sim::bfd::{self, plain};
use vipd::sim::{Law, Make, Report, Router, Scenario, build, play, real, shrink, weather};
use vipd::spec::bfd::Session;
use vipd::spec::{
    Auth, BfdId, BfdSpec, FileId, FileSpec, GroupId, GroupSpec, IfName, InstanceId, Spec, Tie, TieTarget,
};
use vipd::time::{Interval, Time};
use vipd::vrrp::Engine;
use vipd::vrrp::io::Beginning;
use vipd::wire::Version;

/// Plays one random world; on a broken law, a text with everything needed to see it again.
fn try_seed(seed: u64) -> Result<u64, String> {
    let world = weather::world(seed);
    let report = play(&world.specs, &world.scenario, &real, false).map_err(|e| format!("seed {seed}: {e}"))?;
    let Some(violation) = report.violations.first() else { return Ok(report.checks) };
    let law = violation.law;
    let fails = |scenario: &Scenario| {
        let report = play(&world.specs, scenario, &real, false);
        report.is_ok_and(|report| report.violations.first().is_some_and(|v| v.law == law))
    };
    let small = shrink(&world.scenario, &mut { fails });
    let report = play(&world.specs, &small, &real, true).map_err(|e| format!("seed {seed}: {e}"))?;
    let mut text = format!("seed {seed} breaks a law: {violation}\n\n--- scenario\n{small}");
    for (name, configuration) in world.configurations() {
        text += &format!("\n--- {name}.conf\n{configuration}");
    }
    Err(format!("{text}\n--- timeline\n{report}"))
}

/// Plays many seeds on all processors; gives how often calm worlds were looked at, or the first failures.
fn sweep(seeds: std::ops::Range<u64>) -> Result<u64, Vec<String>> {
    let next = AtomicU64::new(seeds.start);
    let checks = AtomicU64::new(0);
    let failures = std::sync::Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failures.lock().unwrap().len() >= 3 {
                        return;
                    }
                    match try_seed(seed) {
                        Ok(looked) => _ = checks.fetch_add(looked, Ordering::Relaxed),
                        Err(text) => failures.lock().unwrap().push(text),
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    if failures.is_empty() { Ok(checks.into_inner()) } else { Err(failures) }
}

#[test]
fn a_thousand_random_worlds_keep_all_laws() {
    match sweep(0..1_000) {
        // A sweep in which calm worlds were hardly ever looked at would prove nothing.
        Ok(checks) => assert!(checks > 1_000, "only {checks} looks at calm worlds"),
        Err(failures) => panic!("{}", failures.join("\n\n")),
    }
}

#[test]
#[ignore = "as many seeds as VIPD_SEEDS says, a million if unset"]
fn many_random_worlds_keep_all_laws() {
    let count = std::env::var("VIPD_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let first = std::env::var("VIPD_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000);
    let began = std::time::Instant::now();
    match sweep(first..first + count) {
        Ok(checks) => println!("{count} worlds, {checks} looks at calm ones, {:.0?}", began.elapsed()),
        Err(failures) => panic!("{}", failures.join("\n\n")),
    }
}

#[test]
#[ignore = "shows the world of VIPD_SEED"]
fn one_seed() {
    let seed = std::env::var("VIPD_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    let world = weather::world(seed);
    println!("{}", world.scenario);
    let report = play(&world.specs, &world.scenario, &real, true).unwrap();
    println!("{report}");
    if let Err(text) = try_seed(seed) {
        println!("{text}");
    }
}

#[test]
fn a_seed_always_gives_the_same_run() {
    for seed in 0..40 {
        let world = weather::world(seed);
        let once = play(&world.specs, &world.scenario, &real, true).unwrap();
        let twice = play(&world.specs, &world.scenario, &real, true).unwrap();
        assert_eq!(once.timeline, twice.timeline, "seed {seed}");
        assert_eq!(once.pcap, twice.pcap, "seed {seed}");
    }
}

#[test]
fn scenarios_survive_being_written_and_read() {
    for seed in 0..1_000 {
        let scenario = weather::world(seed).scenario;
        let text = scenario.to_string();
        assert_eq!(text.parse::<Scenario>().unwrap(), scenario, "seed {seed}:\n{text}");
    }
}

#[test]
fn scenario_mistakes_are_named() {
    for (text, problem) in [
        ("run 10s\nat 3s explode a", "line 2: explode is none of: kill, crash"),
        ("at soon kill a", "line 1: soon is not a time"),
        ("lan loss 5", "line 1: 5 is not a share"),
        ("at 1s link a eth0 sideways", "line 1: sideways is neither up nor down"),
        ("at 1s kill a b", "line 1: b is one word too many"),
        ("segment office a", "line 1: a is not NODE.INTERFACE"),
    ] {
        let error = text.parse::<Scenario>().unwrap_err().to_string();
        assert!(error.starts_with(problem), "{text:?} gave {error:?}");
    }
    let specs = pair(Version::V2);
    let stranger: Scenario = "at 1s kill nobody".parse().unwrap();
    let error = play(&specs, &stranger, &real, false).unwrap_err();
    assert!(error.contains("no node is named nobody; there are: a, b"), "{error}");
}

// ── The oracle notices ──────────────────────────────────────────────────────────────────────────────────────────────

type Specs = Vec<(String, Arc<Spec>)>;

fn pair(version: Version) -> Specs {
    let node = |name: &str, priority| {
        let address: IpAddr = "192.0.2.100".parse().unwrap();
        let mut instance = build::instance("V1", 51, priority, &[address]);
        instance.version = version;
        if version == Version::V3 {
            instance.interval = Interval::from_millis(200);
        }
        (name.to_string(), Arc::new(build::spec(vec![instance])))
    };
    vec![node("a", 150), node("b", 100)]
}

/// Two instances on two interfaces in one sync group.
fn grouped() -> Specs {
    let node = |name: &str, priority| {
        let instances = (0..2).map(|n| {
            let address: IpAddr = format!("192.0.2.{}", 100 + n).parse().unwrap();
            let mut instance = build::instance(&format!("V{n}"), 51 + n, priority, &[address]);
            instance.interface = IfName::new(&format!("eth{n}"));
            instance.group = Some(GroupId(0));
            instance
        });
        let mut spec = build::spec(instances.collect());
        let members = vec![InstanceId(0), InstanceId(1)];
        spec.groups.push(GroupSpec { name: "G".into(), members, ..GroupSpec::default() });
        (name.to_string(), Arc::new(spec))
    };
    vec![node("a", 150), node("b", 100)]
}

fn first_law(specs: &Specs, scenario: &str, make: &Make<'_>) -> Option<Law> {
    let report = play(specs, &scenario.parse().unwrap(), make, true).unwrap();
    report.violations.first().map(|v| v.law)
}

/// The world is right with a real engine, and the law trips with the flawed one.
fn caught(flaw: Flaw, specs: &Specs, scenario: &str) -> Option<Law> {
    assert_eq!(first_law(specs, scenario, &real), None, "{flaw:?}: a real engine is blamed");
    let make = |spec: Arc<Spec>, world: Beginning, now: Time| -> Box<dyn Router> {
        let inner = Engine::begin(spec, world, now);
        flawed(inner, flaw, now)
    };
    first_law(specs, scenario, &make)
}

#[test]
fn every_law_can_be_broken_and_is_then_noticed() {
    let (v2, v3) = (pair(Version::V2), pair(Version::V3));
    // Members of groups may wait for each other, so it is only known at last that nobody takes over.
    assert_eq!(caught(Flaw::Asleep, &grouped(), "run 60s"), Some(Law::OneMaster));
    assert_eq!(caught(Flaw::BlindToLinks, &v2, "run 60s\nat 15s link a eth0 down"), Some(Law::NoFaultyMaster));
    assert_eq!(caught(Flaw::DeadlineStands, &v3, "run 20s"), Some(Law::TimeAdvances));
    assert_eq!(caught(Flaw::NeverStopsTalking, &v3, "run 20s"), Some(Law::TimeAdvances));
    assert_eq!(caught(Flaw::AnnouncesAtOnce, &v3, "run 20s"), Some(Law::AnnounceOwned));
    assert_eq!(caught(Flaw::Babbles, &v3, "run 20s"), Some(Law::Bounded));
    assert_eq!(caught(Flaw::ReloadsByDroppingAll, &v3, "run 20s\nat 10s reload a"), Some(Law::ReloadMovesNothing));
    assert_eq!(caught(Flaw::Deaf, &v2, "run 60s"), Some(Law::OneHolder));
    assert_eq!(caught(Flaw::KeepsAddresses, &v3, "run 60s\nat 15s link a eth0 down"), Some(Law::KernelFollows));
    assert_eq!(caught(Flaw::SkipsAdverts, &v3, "run 20s"), Some(Law::Cadence));
    assert_eq!(caught(Flaw::HidesBackup, &v3, "run 20s"), Some(Law::ReportsAreTrue));
    let late = "run 60s\nabsent a\nat 10s start a";
    for leaves in ["stop a", "link a eth0 down", "reload a V1 gone"] {
        let scenario = format!("run 60s\nat 20s {leaves}");
        assert_eq!(caught(Flaw::LeavesInSilence, &v2, &scenario), Some(Law::SaysGoodbye));
    }
    assert_eq!(caught(Flaw::Oversleeps, &v2, "run 60s"), Some(Law::Patience));
    assert_eq!(caught(Flaw::YieldsToWorse, &v2, late), Some(Law::YieldsToBetter));
    assert_eq!(caught(Flaw::DeafToGoodbyes, &v2, "run 60s\nat 20s stop a"), Some(Law::SwiftHandover));
}

#[test]
fn a_group_that_splits_is_noticed() {
    let scenario = "run 40s\nat 20s link a eth1 down";
    assert_eq!(first_law(&grouped(), scenario, &real), None);
    let forgets_groups = |spec: Arc<Spec>, world: Beginning, now: Time| -> Box<dyn Router> {
        let mut spec = (*spec).clone();
        spec.groups.clear();
        spec.instances.iter_mut().for_each(|instance| instance.group = None);
        Box::new(Engine::begin(Arc::new(spec), world, now))
    };
    assert_eq!(first_law(&grouped(), scenario, &forgets_groups), Some(Law::GroupAgrees));
}

#[test]
fn a_master_that_is_not_the_best_is_noticed() {
    let scenario = "run 60s\nabsent a\nat 10s start a";
    assert_eq!(first_law(&pair(Version::V2), scenario, &real), None);
    let never_preempts = |spec: Arc<Spec>, world: Beginning, now: Time| -> Box<dyn Router> {
        let mut spec = (*spec).clone();
        spec.instances.iter_mut().for_each(|instance| instance.preempt = false);
        Box::new(Engine::begin(Arc::new(spec), world, now))
    };
    assert_eq!(first_law(&pair(Version::V2), scenario, &never_preempts), Some(Law::BestMaster));
}

/// Both ends of one session of 100 ms × 3, each tracked without a weight.
fn tracking() -> Specs {
    let mut specs = pair(Version::V3);
    let ends = [1, 2].map(|last| std::net::IpAddr::from([10, 78, 0, last]));
    for ((_, spec), (own, other)) in specs.iter_mut().zip([(ends[0], ends[1]), (ends[1], ends[0])]) {
        let spec = Arc::make_mut(spec);
        let interval = Interval::from_millis(100);
        let session = plain("peer", own, other);
        spec.sessions.push(Session { min_rx: interval, min_tx: interval, multiplier: 3, ..session });
        spec.bfds.push(BfdSpec { name: "peer".into(), weight: 0, reverse: false });
        let on = TieTarget::Bfd(BfdId(0));
        spec.instances[0].ties.push(Tie { on, weight: 0, reverse: false, from_group: false, asked: Some(0) });
    }
    specs
}

#[test]
fn a_router_that_does_not_follow_its_session_is_noticed() {
    let scenario = "run 60s\nat 20s path a peer deaf";
    assert_eq!(caught(Flaw::BlindToSessions, &tracking(), scenario), Some(Law::Session(bfd::Law::Level)));
}

#[test]
fn a_session_that_stays_down_over_a_good_path_is_noticed() {
    let scenario = "run 60s\nat 20s path a peer down\nat 25s path a peer up";
    let mut specs = tracking();
    assert_eq!(first_law(&specs, scenario, &real), None);
    // The other end is at another port.
    Arc::make_mut(&mut specs[1].1).sessions[0].multihop = true;
    assert_eq!(first_law(&specs, scenario, &real), Some(Law::Session(bfd::Law::ComesUp)));
}

#[test]
fn a_fault_that_stays_without_a_reason_is_noticed() {
    let scenario = "run 60s\nat 20s link a eth0 down\nat 25s link a eth0 up";
    assert_eq!(caught(Flaw::MissesLinksThatComeUp, &pair(Version::V2), scenario), Some(Law::FaultIsTrue));
}

#[test]
fn one_that_takes_over_in_spite_of_nopreempt_is_noticed() {
    let mut specs = pair(Version::V2);
    specs.iter_mut().for_each(|(_, spec)| Arc::make_mut(spec).instances[0].preempt = false);
    let scenario = "run 60s\nabsent a\nat 10s start a";
    assert_eq!(first_law(&specs, scenario, &real), None);
    let preempts = |spec: Arc<Spec>, world: Beginning, now: Time| -> Box<dyn Router> {
        let mut spec = (*spec).clone();
        spec.instances.iter_mut().for_each(|instance| instance.preempt = true);
        Box::new(Engine::begin(Arc::new(spec), world, now))
    };
    assert_eq!(first_law(&specs, scenario, &preempts), Some(Law::NoHurry));
}

/// Adverts with another password, or of the same VRID on another interface, say nothing to an instance, and it may take over in
/// spite of them.
#[test]
fn adverts_that_are_for_nobody_here_hold_nobody() {
    let mut words = pair(Version::V2);
    for ((_, spec), word) in words.iter_mut().zip([b"onewords", b"twowords"]) {
        Arc::make_mut(spec).instances[0].auth = Auth::Pass(*word);
    }
    let mut wires = pair(Version::V3);
    for (_, spec) in &mut wires {
        let spec = Arc::make_mut(spec);
        let mut other = build::instance("V2", 51, spec.instances[0].priority.0, &["192.0.3.100".parse().unwrap()]);
        (other.version, other.interface) = (Version::V3, IfName::new("eth1"));
        other.interval = spec.instances[0].interval;
        spec.instances.push(other);
    }
    for (mut specs, what) in [(words, "crash a\nat 40s start a"), (wires, "cut a b on eth0")] {
        for (_, spec) in &mut specs {
            Arc::make_mut(spec).instances.iter_mut().for_each(|instance| instance.preempt = false);
        }
        let report = play(&specs, &format!("run 60s\nat 20s {what}").parse().unwrap(), &real, true).unwrap();
        assert_eq!(report.violations, vec![], "{report}");
        let both = report.timeline.iter().any(|entry| entry.text == "192.0.2.100 is on a and b");
        assert!(both, "they heard each other:\n{report}");
    }
}

/// Two installations with one VRID: each has its own addresses whatever happens to the other, and no law is broken by it.
#[test]
fn two_installations_with_one_vrid_have_each_its_own_addresses() {
    for (version, preempt) in [(Version::V2, true), (Version::V3, true), (Version::V2, false)] {
        let mut specs = pair(version);
        let twins: Specs = specs.iter().map(|(name, spec)| (format!("{name}2"), spec.clone())).collect();
        for (_, spec) in &mut specs {
            let spec = Arc::make_mut(spec);
            spec.instances[0].claim = Arc::new(build::claim(&["192.0.2.101".parse().unwrap()]));
        }
        specs.extend(twins);
        for (_, spec) in &mut specs {
            Arc::make_mut(spec).instances[0].preempt = preempt;
        }
        let scenario = "run 90s\nat 20s crash a\nat 40s start a\nat 60s stop a2".parse().unwrap();
        let report = play(&specs, &scenario, &real, true).unwrap();
        assert_eq!(report.violations, vec![], "{report}");
        let first = if preempt { "a" } else { "b" };
        let expected =
            [("192.0.2.100", "b2"), ("192.0.2.101", first)].map(|(a, n)| (a.to_string(), vec![n.to_string()]));
        assert_eq!(holders(&report), BTreeMap::from(expected), "{report}");
        // No longer than one that preempts takes to be heard.
        assert!(report.owners.iter().all(|owner| owner.longest_double() < Interval::from_millis(5)), "{report}");
    }
}

/// A backup that no advert of its own router reaches has to take over, however many others come in.
#[test]
fn one_that_takes_a_stranger_s_adverts_for_a_master_s_is_noticed() {
    let mut specs = pair(Version::V2);
    for ((_, spec), word) in specs.iter_mut().zip([b"onewords", b"twowords"]) {
        Arc::make_mut(spec).instances[0].auth = Auth::Pass(*word);
    }
    let scenario = "run 60s";
    assert_eq!(first_law(&specs, scenario, &real), None);
    let credulous = |spec: Arc<Spec>, world: Beginning, now: Time| -> Box<dyn Router> {
        let mut spec = (*spec).clone();
        spec.instances.iter_mut().for_each(|instance| instance.auth = Auth::Pass(*b"onewords"));
        Box::new(Engine::begin(Arc::new(spec), world, now))
    };
    assert_eq!(first_law(&specs, scenario, &credulous), Some(Law::Patience));
}

/// While two meet the priority of the worse one rises above the other's, which has just heard it as the lower one.
#[test]
fn a_priority_that_changes_while_two_meet_begins_their_time_anew() {
    let mut specs = pair(Version::V2);
    for (_, spec) in &mut specs {
        let spec = Arc::make_mut(spec);
        spec.instances[0].lower_prio_no_advert = true;
        spec.files.push(FileSpec { name: "f".into(), path: "/run/f".into(), weight: 1, reverse: false, init: None });
        let on = TieTarget::File(FileId(0));
        spec.instances[0].ties.push(Tie { on, weight: 1, reverse: false, from_group: false, asked: Some(1) });
    }
    let scenario = "run 60s\nat 15s partition a | b\nat 16s file a f -100\nat 40200ms heal\nat 40201ms heal\nat 40700ms file a f 0";
    let report = play(&specs, &scenario.parse().unwrap(), &real, true).unwrap();
    assert_eq!(report.violations, vec![], "{report}");
    assert_eq!(holders(&report), BTreeMap::from([("192.0.2.100".into(), vec!["a".into()])]));
}

#[test]
fn two_masters_that_cannot_hear_each_other_are_nobodys_fault() {
    for cut in ["cut a b", "partition a | b"] {
        let scenario = format!("run 60s\nat 15s {cut}\nat 40s heal");
        let report = play(&pair(Version::V2), &scenario.parse().unwrap(), &real, true).unwrap();
        assert_eq!(report.violations, vec![], "{report}");
        let both = report.timeline.iter().any(|entry| entry.text.ends_with("is on a and b"));
        assert!(both, "the cut cut nothing:\n{report}");
        assert_eq!(holders(&report), BTreeMap::from([("192.0.2.100".into(), vec!["a".into()])]));
        // From the cut to what is heard after it, less what the second one takes to notice.
        let double = report.owners[0].longest_double();
        assert!(double > Interval::from_secs(20) && double < Interval::from_secs(26), "{double}");
        assert_eq!(report.findings, Vec::<String>::new());
    }
    // A rehearsal that ends with two is one that went wrong, whoever's fault it is.
    let report = play(&pair(Version::V2), &"run 60s\nat 15s cut a b".parse().unwrap(), &real, true).unwrap();
    assert_eq!(report.violations, vec![], "{report}");
    assert!(report.findings[0].starts_with("192.0.2.100 is on a and b in the end"), "{report}");
}

#[test]
fn a_failing_scenario_is_made_small() {
    let scenario: Scenario =
        "run 90s\nlan latency 1ms..5ms\nat 3s late b 5ms\nat 4s clock a +5s\nat 15s link a eth0 down\n\
                              at 16s reload b\nat 20s steal b 192.0.2.100\nat 25s pause a\nat 26s resume a"
            .parse()
            .unwrap();
    let make = |spec: Arc<Spec>, world: Beginning, now: Time| -> Box<dyn Router> {
        let inner = Engine::begin(spec, world, now);
        flawed(inner, Flaw::BlindToLinks, now)
    };
    let mut fails = |scenario: &Scenario| {
        let report = play(&pair(Version::V2), scenario, &make, false).unwrap();
        report.violations.first().is_some_and(|v| v.law == Law::NoFaultyMaster)
    };
    assert!(fails(&scenario));
    let small = shrink(&scenario, &mut fails);
    assert_eq!(small.acts.len(), 1, "{small}");
    assert!(small.to_string().contains("link a eth0 down"), "{small}");
}

fn holders(report: &Report) -> BTreeMap<String, Vec<String>> {
    let names = |names: &[Box<str>]| names.iter().map(|name| name.to_string()).collect();
    report.owners.iter().map(|owner| (owner.address.to_string(), names(&owner.holders))).collect()
}

fn read(text: &str) -> Spec {
    let files = MapLoader::default().with("/k.conf", text.to_owned());
    let system = TableSystem::anywhere();
    let env = Env { text: TextEnv::default(), system: &system };
    let (spec, diagnostics) = vipd::config::load("/k.conf", &env, &files);
    spec.unwrap_or_else(|| panic!("{diagnostics:?}\n{text}"))
}

/// A world printed as keepalived.conf files is the same world: read back, it goes the same way to the microsecond.
#[test]
fn configurations_of_random_worlds_play_as_their_specs_do() {
    (0..150).for_each(plays_the_same);
}

#[test]
#[ignore = "as many seeds as VIPD_SEEDS says, ten thousand if unset"]
fn all_configurations_play_as_their_specs_do() {
    let count = std::env::var("VIPD_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let first = std::env::var("VIPD_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000);
    let next = AtomicU64::new(first);
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < first + count) {
                    says_the_same(seed);
                    plays_the_same(seed);
                }
            });
        }
    });
    println!("{count} worlds read back from their configurations");
}

fn plays_the_same(seed: u64) {
    let world = weather::world(seed);
    let read: Specs = world.configurations().into_iter().map(|(name, text)| (name, Arc::new(read(&text)))).collect();
    let made = play(&world.specs, &world.scenario, &real, true).unwrap();
    let replayed = play(&read, &world.scenario, &real, true).unwrap();
    assert_eq!(replayed.violations, vec![], "seed {seed}\n{replayed}");
    assert_eq!(made.timeline, replayed.timeline, "seed {seed}\n{made}\n{replayed}");
    assert_eq!(made.pcap, replayed.pcap, "seed {seed}");
}

/// What the two say of election, tracking and timing is the same to the letter.
#[test]
fn configurations_of_random_worlds_say_what_their_specs_say() {
    (0..400).for_each(says_the_same);
}

fn says_the_same(seed: u64) {
    let world = weather::world(seed);
    for ((name, made), (_, text)) in world.specs.iter().zip(world.configurations()) {
        let read = read(&text);
        assert_eq!(read.instances.len(), made.instances.len(), "seed {seed} {name}\n{text}");
        for (read, made) in read.instances.iter().zip(&made.instances) {
            let lines = |spec| format!("{spec:#?}").lines().map(str::to_owned).collect::<Vec<_>>();
            if read != made {
                let differ: Vec<_> = lines(read).into_iter().zip(lines(made)).filter(|(a, b)| a != b).collect();
                panic!("seed {seed} {name}: {differ:?}\n{text}");
            }
        }
        assert_eq!(read.files, made.files, "seed {seed} {name}\n{text}");
        assert_eq!(read.processes, made.processes, "seed {seed} {name}\n{text}");
        assert_eq!(read.debounce, made.debounce, "seed {seed} {name}\n{text}");
        let timing = |spec: &Spec| -> Vec<_> {
            spec.scripts.iter().map(|s| (s.name.clone(), s.interval, s.timeout, s.rise, s.fall)).collect()
        };
        assert_eq!(timing(&read), timing(made), "seed {seed} {name}\n{text}");
        let group = |spec: &Spec| spec.groups.first().map(|g| (g.members.clone(), g.ties.clone(), g.starts_as_master));
        assert_eq!(group(&read), group(made), "seed {seed} {name}\n{text}");
    }
}

#[test]
fn servers_that_speak_from_one_address_are_named() {
    let mut specs = pair(Version::V3);
    assert_eq!(play(&specs, &Scenario::default(), &real, false).unwrap().findings, Vec::<String>::new());
    for (_, spec) in &mut specs {
        Arc::make_mut(spec).instances[0].source = Some("10.77.0.9".parse().unwrap());
    }
    let report = play(&specs, &Scenario::default(), &real, true).unwrap();
    assert!(report.to_string().contains("finding: two servers speak from 10.77.0.9: a and b"), "{report}");
}

/// The document about scenarios names every act, and what it shows can be played.
#[test]
fn the_documented_scenario_is_one() {
    let document = include_str!("../docs/scenarios.md");
    let text = document.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    let scenario: Scenario = text.parse().unwrap();
    let error = "at 1s no-such-act".parse::<Scenario>().unwrap_err().to_string();
    let verbs: Vec<&str> = error.rsplit(": ").next().unwrap().split(", ").collect();
    for verb in &verbs {
        assert!(scenario.acts.iter().any(|(_, act)| act.to_string().split(' ').next() == Some(verb)), "{verb}");
    }
    assert!(verbs.len() > 20);
    let mut specs = pair(Version::V2);
    for (_, spec) in &mut specs {
        let spec = Arc::make_mut(spec);
        spec.scripts.push(build::script("check", Interval::from_secs(1), 1, 1));
        spec.files.push(FileSpec { name: "switch".into(), path: "/s".into(), weight: 1, reverse: false, init: None });
        let process = "vrrp_track_process haproxy {\n process haproxy\n}\nvrrp_instance V {\n interface eth0\n \
                       virtual_router_id 1\n virtual_ipaddress {\n 192.0.2.1\n }\n track_process {\n haproxy\n }\n}\n";
        spec.processes = read(process).processes;
        let servers = "virtual_server 192.0.2.100 80 {\n lb_algo rr\n lb_kind NAT\n protocol TCP\n delay_loop 1\n \
                       real_server 10.1.0.2 8080 {\n TCP_CHECK {\n }\n }\n}\n";
        spec.balance = read(servers).balance;
        let session = read("bfd_instance gw {\n source_ip 192.0.2.1\n neighbor_ip 192.0.2.254\n}\n");
        (spec.bfds, spec.sessions) = (session.bfds, session.sessions);
    }
    let scenario: Scenario = text.replace("b.ens3", "b.eth0").parse().unwrap();
    let report = play(&specs, &scenario, &real, true).unwrap();
    assert_eq!(report.violations, vec![], "{report}");
}
