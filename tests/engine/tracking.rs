//! Scripts, files, processes, sessions and interfaces: what they do to priority and state.

use crate::harness::*;
use vipd::spec::*;
use vipd::time::{Interval, Time};
use vipd::vrrp::Engine;
use vipd::vrrp::io::*;
use vipd::wire::Priority;

fn scripted(change: impl FnOnce(&mut ScriptSpec), weight: i32) -> Spec {
    let mut check = script("check");
    change(&mut check);
    let mut of =
        spec(vec![InstanceSpec { ties: vec![tie(TieTarget::Script(ScriptId(0)), weight)], ..instance(1, 100) }]);
    of.scripts.push(check);
    of
}

const SCRIPT: ScriptId = ScriptId(0);

fn ends(bench: &mut Bench, code: i32) {
    bench.exits(SCRIPT, Exit::Code(code));
}

#[test]
fn a_script_runs_from_the_first_moment_at_an_absolute_cadence() {
    let mut bench = Bench::new(scripted(|_| {}, 10));
    assert_eq!(words(&bench.take()), ["BACKUP", "run 0"]);
    for second in 1..=3 {
        bench.wait(ms(400));
        ends(&mut bench, 0);
        bench.until(at(second * 1000) + Interval::from_micros(500));
        let mut runs = bench
            .log
            .iter()
            .filter(|(_, action)| matches!(action, Action::RunScript(SCRIPT, _)))
            .map(|(time, _)| *time);
        assert_eq!(runs.next_back(), Some(at(second * 1000)));
    }
}

#[test]
fn held_in_fault_until_the_first_result_without_a_word() {
    let mut bench = Bench::new(scripted(|_| {}, 0));
    assert_eq!(bench.role(0), Role::Fault);
    assert_eq!(words(&bench.take()), ["run 0"]);
    assert_eq!(bench.view(0).faults, [Fault::Pending("check".into())]);
    ends(&mut bench, 0);
    assert_eq!(words(&bench.take()), ["ScriptChanged", "BACKUP"]);
    // A first failure turns the silence into words, whatever `fall` says.
    let mut bench = Bench::new(scripted(|check| check.fall = 3, 0));
    bench.take();
    ends(&mut bench, 1);
    assert_eq!(words(&bench.take()), ["ScriptChanged", "FAULT"]);
    assert_eq!(bench.view(0).faults, [Fault::Tracker("check".into())]);
}

#[test]
fn rise_and_fall() {
    // rise, fall, exits (g good, b bad) → good after each
    let table = [
        (1, 1, "gbgb", "gbgb"),
        (1, 3, "gbbbg", "gggbg"),
        (3, 1, "gbgggb", "gbbbgb"),
        (2, 2, "gbbggbgbb", "ggbbggggb"),
        (2, 1, "bgg", "bbg"),
        (1, 2, "b", "b"),
    ]
    .map(|(rise, fall, exits, good): (u32, u32, &str, _)| (rise, fall, exits, String::from(good)));
    for (rise, fall, exits, good) in table {
        let mut bench = Bench::new(scripted(|check| (check.rise, check.fall) = (rise, fall), 10));
        let mut seen = String::new();
        for exit in exits.chars() {
            ends(&mut bench, if exit == 'g' { 0 } else { 1 });
            let view = bench.engine.snapshot(bench.now);
            assert!(view.scripts[0].result < rise + fall);
            seen.push(if view.scripts[0].good.unwrap() { 'g' } else { 'b' });
            let wanted = if seen.ends_with('g') { 110 } else { 100 };
            assert_eq!(view.instances[0].effective_priority, Priority(wanted));
            bench.wait(ms(1000));
        }
        assert_eq!(seen, good, "rise {rise} fall {fall} {exits}");
    }
}

/// keepalived adds the weight of a script that succeeds from the start with the wrong sign, until it has failed once.
#[test]
fn a_reversed_script_that_is_good_at_start_counts_as_it_does_later() {
    let mut of = scripted(|_| {}, 10);
    of.instances[0].ties[0].reverse = true;
    let mut bench = Bench::new(of);
    for (code, wanted) in [(0, 90), (1, 100), (0, 90)] {
        ends(&mut bench, code);
        assert_eq!(bench.view(0).effective_priority, Priority(wanted), "exit code {code}");
        bench.wait(ms(1000));
    }
}

#[test]
fn time_out_ladder() {
    let mut bench = Bench::new(scripted(|check| check.timeout = ms(500), 0));
    bench.take();
    let mut log = Vec::new();
    bench.until(at(18_000));
    for (time, action) in bench.log.drain(..) {
        if matches!(action, Action::KillScript(..) | Action::Report(Event::ScriptTimedOut { .. })) {
            log.push(format!("{} {}", time.as_micros() / 1000, words(&[action])[0]));
        }
    }
    assert_eq!(log, ["500 ScriptTimedOut", "500 Term 0", "2500 Kill 0", "4500 Kill 0", "14500 Kill 0"]);
    // Meanwhile every run was skipped, and said so.
    bench.exits(SCRIPT, Exit::Signal(9));
    assert_eq!(bench.view(0).faults, [Fault::Tracker("check".into())]);
    bench.until(at(19_000));
    assert!(words(&bench.take()).contains(&"run 0".into()));
    // Dead of TERM: its group still gets KILL.
    let late = |exit: Exit| {
        let mut bench = Bench::new(scripted(|check| check.timeout = ms(500), 0));
        bench.until(at(600));
        bench.take();
        bench.exits(SCRIPT, exit);
        (words(&bench.take())[..2].to_vec(), bench.view(0).faults.clone())
    };
    let fails = [Fault::Tracker("check".into())];
    assert_eq!(late(Exit::Signal(15)), (vec!["Kill 0".into(), "ScriptChanged".into()], fails.to_vec()));
    assert_eq!(late(Exit::Code(1)).1, fails);
    // One that answers TERM with 0 has succeeded, as 2.2.7 takes it.
    assert_eq!(late(Exit::Code(0)).1, []);
}

/// Without `timeout` it is the interval, so the time-out of a run that hangs and the next run are due together. keepalived makes
/// that run; skipped, it would take `fall` twice as long to tell a failure.
#[test]
fn a_script_that_hangs_for_its_interval_misses_no_run() {
    let mut bench = Bench::busy(scripted(|check| (check.timeout, check.fall) = (ms(1000), 3), 0));
    bench.give(Input::ScriptStarted { attempt: bench.runs[&SCRIPT] });
    ends(&mut bench, 0);
    bench.until(at(1_000));
    for second in 1..=3 {
        // The process is there a little after it was wished for.
        bench.until(at(second * 1000 + 3 * second));
        assert!(words(&bench.take()).contains(&"run 0".into()), "second {second}");
        bench.give(Input::ScriptStarted { attempt: bench.runs[&SCRIPT] });
        assert_eq!(bench.view(0).faults, [], "second {second}");
        bench.until(at((second + 1) * 1000 + 3 * second));
        let told = words(&bench.take());
        assert!(told.contains(&"ScriptTimedOut".into()) && !told.contains(&"ScriptOverrun".into()), "{told:?}");
        bench.exits(SCRIPT, Exit::Signal(15));
    }
    assert_eq!(bench.view(0).faults, [Fault::Tracker("check".into())]);
}

/// A thousand scripts that are due at once are started over a second, and keepalived counts each one's time-out from its fork.
#[test]
fn a_script_that_waits_for_its_turn_does_not_time_out() {
    let timed_out = |bench: &mut Bench| words(&bench.take()).contains(&"ScriptTimedOut".into());
    let mut bench = Bench::busy(scripted(|check| check.timeout = ms(500), 0));
    bench.until(at(3_200));
    assert!(!timed_out(&mut bench));
    bench.give(Input::ScriptStarted { attempt: bench.runs[&SCRIPT] });
    bench.until(at(3_699));
    assert!(!timed_out(&mut bench));
    ends(&mut bench, 0);
    assert_eq!(bench.role(0), Role::Backup);
    // Those that came in a crowd stay apart: the next run is due an interval after this one was started.
    bench.take();
    bench.until(at(4_199));
    assert_eq!(words(&bench.take()), Vec::<String>::new());
    bench.until(at(4_200));
    assert!(words(&bench.take()).contains(&"run 0".into()));
    // Its turn never comes: nothing is known of it any more.
    bench.until(at(9_699));
    assert!(!timed_out(&mut bench));
    bench.until(at(9_700));
    assert!(timed_out(&mut bench));
}

/// A run that hangs inside a system call does not die of KILL, and must not be waited for.
#[test]
fn a_run_that_does_not_die_of_kill_has_failed_all_the_same() {
    // fall, seconds at which KILL is sent, and what is thought of the script after each.
    for (fall, good) in [(1, [false, false, false]), (2, [true, false, false]), (3, [true, true, false])] {
        let mut bench = Bench::new(scripted(|check| (check.timeout, check.fall) = (ms(500), fall), 0));
        ends(&mut bench, 0);
        bench.until(at(1000));
        for (kill, good) in [3500, 5500, 15_500].into_iter().zip(good) {
            bench.until(at(kill));
            let faults = bench.view(0).faults;
            assert_eq!(faults.is_empty(), good, "fall {fall} at {kill} ms: {faults:?}");
        }
        // It dies at last: that was counted, and the next run is heard.
        let before = bench.view(0).faults;
        bench.exits(SCRIPT, Exit::Signal(9));
        assert_eq!(bench.view(0).faults, before);
        bench.until(at(16_000));
        ends(&mut bench, 0);
        assert_eq!(bench.view(0).faults, []);
    }
}

/// The end of a run that was given up counts for nothing, whatever runs when it comes.
#[test]
fn a_stale_exit_changes_nothing() {
    let spec = scripted(|_| {}, 0);
    let mut bench = Bench::new(spec.clone());
    ends(&mut bench, 0);
    bench.until(at(1000));
    let former = bench.runs[&SCRIPT];
    // A reload takes the script away and another one brings it back, while its run is under way.
    let mut without = spec.clone();
    without.scripts.clear();
    without.instances[0].ties.clear();
    bench.reload(without);
    assert!(words(&bench.take()).contains(&"abandon 0".into()));
    bench.reload(spec.clone());
    bench.until(at(1100));
    let present = bench.runs[&SCRIPT];
    assert!(present > former);
    bench.take();
    for stale in [former, Attempt::default(), Attempt(present.0 + 1)] {
        bench.give(Input::ScriptExited { attempt: stale, exit: Exit::Code(1) });
        assert_eq!((bench.view(0).faults, words(&bench.take())), (vec![], vec![]), "{stale:?}");
    }
    bench.exits(SCRIPT, Exit::Code(1));
    assert_eq!(bench.view(0).faults, [Fault::Tracker("check".into())]);
    // It has been told: twice is once.
    bench.take();
    bench.exits(SCRIPT, Exit::Code(0));
    assert_eq!(words(&bench.take()), Vec::<String>::new());
    // Who inherits from this engine begins behind its last number.
    let mut bench = Bench::new(spec.clone());
    let former = bench.runs[&SCRIPT];
    let handover = bench.engine.hand_over();
    let beginning = Beginning { links: links(), ..Beginning::default() };
    bench = Bench::of(Engine::inherit(std::sync::Arc::new(spec), beginning, &handover, bench.now));
    bench.until(at(1000));
    assert!(bench.runs[&SCRIPT] > former);
}

/// Whoever writes down priorities is shown them when the engine begins, and told of each change from then on: also of one before
/// the first socket is there, and not of what another program of the daemon has told already.
#[test]
fn a_priority_that_changes_before_the_beginning_is_told() {
    let mut of = spec(vec![InstanceSpec { ties: vec![tie(TieTarget::Bfd(BfdId(0)), 40)], ..instance(1, 100) }]);
    of.bfds.push(BfdSpec { name: "gw".into(), weight: 0, reverse: false });
    let up = || Input::Tracked { tracker: Tracker::Bfd(BfdId(0)), value: TrackValue::Up(true) };
    let changes = |bench: &mut Bench| {
        let events = events(&bench.take());
        events.into_iter().filter(|event| matches!(event, Event::PriorityChanged { .. })).count()
    };
    let world = Beginning { links: links(), opening: true, ..Beginning::default() };
    let mut bench = Bench::of(Engine::begin(std::sync::Arc::new(of.clone()), world, at(0)));
    assert_eq!((bench.role(0), changes(&mut bench)), (Role::Init, 0));
    bench.give(up());
    assert_eq!((bench.role(0), bench.view(0).effective_priority, changes(&mut bench)), (Role::Init, Priority(140), 1));
    let mut bench = Bench::new(of.clone());
    bench.give(up());
    bench.until(at(5_000));
    assert_eq!((bench.role(0), changes(&mut bench)), (Role::Master, 1));
    let readings = vec![(Tracker::Bfd(BfdId(0)), TrackValue::Up(true))];
    let world = Beginning { links: links(), readings, ..Beginning::default() };
    let mut bench = Bench::of(Engine::inherit(std::sync::Arc::new(of), world, &bench.engine.hand_over(), bench.now));
    assert_eq!(
        (bench.role(0), bench.view(0).effective_priority, changes(&mut bench)),
        (Role::Master, Priority(140), 0)
    );
}

/// A reload that gives a script another place in the list lets its run go on.
#[test]
fn a_run_goes_on_when_its_script_changes_its_place() {
    let of = |names: &[&str]| {
        let mut of = scripted(|_| {}, 0);
        let check = of.scripts[0].clone();
        of.scripts = names.iter().map(|name| ScriptSpec { name: (*name).into(), ..check.clone() }).collect();
        for (id, script) in of.scripts.iter_mut().enumerate() {
            script.run.command = vipd::spec::Command::Shell(names[id].into());
        }
        let place = names.iter().position(|name| *name == "check").unwrap();
        of.instances[0].ties = vec![tie(TieTarget::Script(ScriptId(place as u32)), 0)];
        of
    };
    let mut bench = Bench::new(of(&["check"]));
    let attempt = bench.runs[&SCRIPT];
    bench.take();
    bench.reload(of(&["first", "check"]));
    let said = words(&bench.take());
    assert!(!said.iter().any(|word| word.starts_with("abandon") || word == "run 1"), "{said:?}");
    bench.give(Input::ScriptExited { attempt, exit: Exit::Code(1) });
    assert_eq!(bench.view(0).faults, [Fault::Tracker("check".into())]);
}

#[test]
fn overlapping_runs_are_skipped() {
    let mut bench = Bench::new(scripted(|check| check.timeout = ms(10_000), 10));
    bench.take();
    bench.until(at(2000));
    assert_eq!(words(&bench.take()), ["ScriptOverrun", "ScriptOverrun"]);
    ends(&mut bench, 0);
    bench.until(at(3000));
    assert!(words(&bench.take()).contains(&"run 0".into()));
}

#[test]
fn a_script_that_cannot_run_is_bad() {
    for exit in [Exit::NotRun, Exit::Code(126), Exit::Code(127), Exit::Signal(11)] {
        let mut bench = Bench::new(scripted(|_| {}, 0));
        bench.exits(SCRIPT, exit);
        assert_eq!(bench.view(0).faults, [Fault::Tracker("check".into())], "{exit:?}");
    }
    // init_fail begins as bad and has to rise.
    let mut bench = Bench::new(scripted(|check| (check.init_fail, check.rise) = (true, 2), 0));
    assert_eq!(bench.view(0).faults, [Fault::Tracker("check".into())]);
    ends(&mut bench, 0);
    assert_eq!(bench.role(0), Role::Fault);
    bench.wait(ms(1000));
    ends(&mut bench, 0);
    assert_eq!(bench.role(0), Role::Backup);
}

#[test]
fn a_changed_priority_moves_the_deadline_and_stands_in_the_next_advert() {
    let mut bench = Bench::new(scripted(|_| {}, -40));
    ends(&mut bench, 0);
    bench.until(at(1000));
    // Down timer: 3 s + (256 − priority)/256 s, from the start.
    assert_eq!(due_as_backup(&bench), Time::from_micros(3_609_375));
    ends(&mut bench, 1);
    assert_eq!(bench.view(0).effective_priority, Priority(60));
    assert_eq!(due_as_backup(&bench), Time::from_micros(3_765_625));
    bench.until(at(2000));
    ends(&mut bench, 0);
    assert_eq!(due_as_backup(&bench), Time::from_micros(3_609_375));
    bench.until(at(3700));
    assert_eq!(said(&bench.take()), [100]);
    ends(&mut bench, 1);
    bench.wait(ms(1000));
    let actions = bench.take();
    assert_eq!(said(&actions), [60]);
    let changed = |from, to| Event::PriorityChanged { instance: InstanceId(0), from: Priority(from), to: Priority(to) };
    assert!(events(&actions).contains(&changed(100, 60)));
}

fn due_as_backup(bench: &Bench) -> Time {
    bench.view(0).next.unwrap().at
}

#[test]
fn a_fault_as_master_says_zero_once() {
    let mut bench = Bench::new(scripted(|check| check.timeout = ms(60_000), 0));
    ends(&mut bench, 0);
    bench.until(at(5000));
    assert_eq!(bench.role(0), Role::Master);
    bench.take();
    ends(&mut bench, 1);
    let told = words(&bench.take());
    assert_eq!(told, ["ScriptChanged", "advert 0", "disown 0", "FAULT"]);
    assert_eq!(bench.view(0).why, Cause::Faulted(vec![Fault::Tracker("check".into())]));
    bench.wait(ms(10_000));
    assert!(said(&bench.take()).is_empty());
}

#[test]
fn an_owner_s_weights_do_not_count_but_its_faults_do() {
    let mut of = scripted(|_| {}, -100);
    of.instances[0].priority = Priority(255);
    let mut bench = Bench::new(of.clone());
    ends(&mut bench, 1);
    assert_eq!(bench.view(0).effective_priority, Priority(255));
    of.instances[0].ties[0].weight = 0;
    let mut bench = Bench::new(of);
    ends(&mut bench, 1);
    assert_eq!(bench.role(0), Role::Fault);
    bench.wait(ms(1000));
    ends(&mut bench, 0);
    // Out of FAULT an owner too waits a whole down timer.
    assert_eq!(bench.role(0), Role::Backup);
    assert_eq!(due_as_backup(&bench), bench.now + Interval::from_micros(3_003_906));
}

#[test]
fn files_processes_and_sessions() {
    let ties = vec![
        tie(TieTarget::File(FileId(0)), 2),
        tie(TieTarget::Process(ProcessId(0)), -50),
        tie(TieTarget::Bfd(BfdId(0)), 5),
    ];
    let mut of = spec(vec![InstanceSpec { ties, ..instance(1, 100) }]);
    of.files.push(FileSpec { name: "f".into(), path: "/f".into(), weight: 1, reverse: false, init: None });
    of.bfds.push(BfdSpec { name: "b".into(), weight: 0, reverse: false });
    of.processes.push(ProcessSpec {
        name: "p".into(),
        process: "nginx".into(),
        params: Vec::new(),
        param_match: ParamMatch::None,
        weight: 0,
        reverse: false,
        quorum: 2,
        quorum_max: Some(3),
        terminate_delay: ms(500),
        fork_delay: ms(1000),
        full_command: false,
    });
    let mut bench = Bench::new(of);
    let priority = |bench: &Bench| bench.view(0).effective_priority.0;
    assert_eq!(priority(&bench), 100);
    let file = Tracker::File(FileId(0));
    let process = Tracker::Process(ProcessId(0));
    let tell = |bench: &mut Bench, tracker, value| bench.give(Input::Tracked { tracker, value });
    tell(&mut bench, file, TrackValue::Number(10));
    assert_eq!(priority(&bench), 120);
    tell(&mut bench, file, TrackValue::Number(-3));
    assert_eq!(priority(&bench), 94);
    tell(&mut bench, file, TrackValue::Number(-127));
    assert_eq!(bench.role(0), Role::Fault);
    tell(&mut bench, file, TrackValue::Number(0));
    assert_eq!((bench.role(0), priority(&bench)), (Role::Backup, 100));
    tell(&mut bench, Tracker::Bfd(BfdId(0)), TrackValue::Up(true));
    assert_eq!(priority(&bench), 105);
    // The first count counts at once; later a loss after half a second, a gain after one.
    tell(&mut bench, process, TrackValue::Count(1));
    assert_eq!(priority(&bench), 55);
    tell(&mut bench, process, TrackValue::Count(2));
    bench.wait(ms(999));
    assert_eq!(priority(&bench), 55);
    bench.wait(ms(1));
    assert_eq!(priority(&bench), 105);
    tell(&mut bench, process, TrackValue::Count(4));
    bench.wait(ms(400));
    tell(&mut bench, process, TrackValue::Count(3));
    bench.wait(ms(5000));
    assert_eq!(priority(&bench), 105, "an opposite change inside the delay cancels it");
    tell(&mut bench, process, TrackValue::Count(0));
    bench.wait(ms(500));
    assert_eq!(priority(&bench), 55);
    // A value of the wrong kind, or of a tracker that does not exist, is nothing.
    tell(&mut bench, process, TrackValue::Number(9));
    tell(&mut bench, Tracker::File(FileId(9)), TrackValue::Number(9));
    assert_eq!(priority(&bench), 55);
    let view = bench.view(0);
    assert_eq!(view.contributions.iter().map(|part| part.amount).collect::<Vec<_>>(), [0, -50, 5]);
}

#[test]
fn tracked_interfaces() {
    let of = |weight| {
        spec(vec![InstanceSpec { ties: vec![tie(TieTarget::Interface(name("eth1")), weight)], ..instance(1, 100) }])
    };
    let mut eth1 = links()[1].clone();
    eth1.running = false;
    let mut bench = Bench::new(of(-20));
    bench.give(Input::Link(LinkFact::Changed(eth1.clone())));
    assert_eq!(bench.view(0).effective_priority, Priority(80));
    let mut bench = Bench::new(of(0));
    bench.give(Input::Link(LinkFact::Changed(eth1)));
    assert_eq!(bench.view(0).faults, [Fault::InterfaceDown(name("eth1"))]);
    bench.give(Input::Link(LinkFact::Gone { index: ETH1 }));
    assert_eq!(bench.view(0).faults, [Fault::InterfaceMissing(name("eth1"))]);
    bench.give(Input::Link(LinkFact::Dump(links())));
    assert_eq!(bench.role(0), Role::Backup);
}

/// What files and processes said before the engine began is part of its first state, not a change that comes after it.
#[test]
fn the_first_state_and_the_first_advert_go_by_what_trackers_said_before() {
    let tied = |priority, weight| {
        let ties = vec![tie(TieTarget::File(FileId(0)), weight), tie(TieTarget::Process(ProcessId(0)), weight)];
        let mut of = spec(vec![InstanceSpec { ties, ..instance(1, priority) }]);
        let file = FileSpec { name: "level".into(), path: "/level".into(), weight: 0, reverse: false, init: None };
        of.files.push(file);
        of.processes.push(ProcessSpec {
            name: "haproxy".into(),
            process: "haproxy".into(),
            params: Vec::new(),
            param_match: ParamMatch::None,
            weight: 0,
            reverse: false,
            quorum: 1,
            quorum_max: None,
            terminate_delay: ms(9_000),
            fork_delay: ms(9_000),
            full_command: false,
        });
        of
    };
    let begin = |of: Spec, number, count| {
        let readings = vec![
            (Tracker::File(FileId(0)), TrackValue::Number(number)),
            (Tracker::Process(ProcessId(0)), TrackValue::Count(count)),
        ];
        let engine =
            Engine::begin(of.into(), Beginning { links: links(), readings, ..Beginning::default() }, Time::ZERO);
        Bench::of(engine)
    };
    let mut bench = begin(tied(100, 2), 7, 1);
    assert_eq!(words(&bench.take()), ["TrackerChanged", "TrackerChanged", "BACKUP"]);
    bench.until(at(4_000));
    assert_eq!(said(&bench.take())[0], 116);
    // An owner would speak in its first moment.
    for (number, count) in [(1, 1), (0, 0)] {
        let mut bench = begin(tied(255, 0), number, count);
        bench.until(at(9_000));
        assert_eq!(words(&bench.take()), ["TrackerChanged", "TrackerChanged", "FAULT"], "{number} {count}");
    }
    // A reload takes what it brings in the same way.
    let mut bench = Bench::as_master(spec(vec![instance(1, 100)]));
    let readings = vec![(Tracker::File(FileId(0)), TrackValue::Number(3))];
    bench.engine.reload_with(tied(101, 2).into(), &readings, bench.now);
    bench.give(Input::Tick);
    assert_eq!(said(&bench.take()), [107]);
}

/// `auth_hmac` signs the time: the first advert of an owner has it right.
#[test]
fn the_first_advert_knows_the_wall_clock() {
    let mut owner = instance(1, 255);
    owner.auth = Auth::Hmac(HmacAuth {
        keys: vec![(1, Box::from(&b"sixteen bytes at least"[..]))],
        active: 1,
        mode: HmacMode::Enforce,
        replay: Replay::Time { window: ms(5_000) },
    });
    let wall = Wall { at: Time::ZERO, unix_micros: 1_700_000_000_000_000 };
    let world = Beginning { links: links(), wall, ..Beginning::default() };
    let mut bench = Bench::of(Engine::begin(spec(vec![owner]).into(), world, Time::ZERO));
    let advert =
        bench.take().into_iter().find_map(|a| if let Action::Transmit(t) = a { Some(t) } else { None }).unwrap();
    let ip = vipd::wire::frames::ipv4(&advert.bytes).unwrap();
    let surplus = vipd::wire::advert::parse(ip.payload, vipd::wire::Family::V4).unwrap().surplus;
    assert_eq!(vipd::wire::auth::Trailer::read(surplus).unwrap().seconds(), 1_700_000_000);
}
