//! What holds whatever happens: random facts, times and configurations.

use crate::harness::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use vipd::spec::*;
use vipd::time::Interval;
use vipd::vrrp::io::{Command, *};
use vipd::wire::Priority;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    /// Goes past the next deadline by so many microseconds.
    Late(u64),
    Hear {
        instance: usize,
        from: u8,
        priority: u8,
    },
    Noise(Vec<u8>),
    Link {
        second: bool,
        running: bool,
    },
    Address {
        there: bool,
    },
    Dump {
        empty: bool,
    },
    Script(i32),
    File(i32),
    Ready,
    Command(u8),
    Reload(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u64..2_000).prop_map(Step::Wait),
        3 => (0_u64..6_000_000).prop_map(Step::Late),
        6 => (0..3_usize, 0_u8..4, any::<u8>()).prop_map(|(instance, from, priority)| Step::Hear { instance, from, priority }),
        1 => proptest::collection::vec(any::<u8>(), 0..80).prop_map(Step::Noise),
        2 => (any::<bool>(), any::<bool>()).prop_map(|(second, running)| Step::Link { second, running }),
        1 => any::<bool>().prop_map(|there| Step::Address { there }),
        1 => any::<bool>().prop_map(|empty| Step::Dump { empty }),
        2 => (0..2).prop_map(Step::Script),
        1 => (-300..300).prop_map(Step::File),
        2 => Just(Step::Ready),
        2 => (0_u8..10).prop_map(Step::Command),
        1 => any::<u8>().prop_map(Step::Reload),
    ]
}

/// Three routers, two of them in a group, with trackers. `variant` changes this and that.
fn world(variant: u8) -> Spec {
    let ties = vec![tie(TieTarget::Script(ScriptId(0)), if variant & 1 == 0 { 0 } else { -30 })];
    let garp = Garp { refresh: ms(if variant & 2 == 0 { 0 } else { 1500 }), ..Garp::default() };
    let second = InstanceSpec { interface: Some(name("eth1")), claim: claim(&["10.1.0.100"]), ..instance(2, 120) };
    let mut of = grouped(vec![InstanceSpec { ties, garp, ..instance(1, 100) }, second]);
    let file = vec![tie(TieTarget::File(FileId(0)), 1)];
    let claims: [&[&str]; 2] = [&["10.0.0.103"], &["10.0.0.104", "10.0.0.103"]];
    let third = InstanceSpec {
        ties: file,
        preempt: variant & 4 == 0,
        interval: ms(if variant & 8 == 0 { 300 } else { 1000 }),
        claim: claim(claims[usize::from(variant >> 4 & 1)]),
        ..instance(3, if variant & 32 == 0 { 90 } else { 255 })
    };
    of.instances.push(third);
    if variant & 64 != 0 {
        // The third comes first: every number is another.
        of.instances.rotate_right(1);
        of.groups[0].members = vec![InstanceId(1), InstanceId(2)];
    }
    if variant & 128 != 0 {
        of.pacing = vec![Pacing { interfaces: Vec::new(), garp: ms(70), gna: ms(0) }];
        of.debounce = vec![Debounce { interface: name("eth1"), down: ms(200), up: ms(200) }];
    }
    of.scripts.push(script("check"));
    of.files.push(FileSpec { name: "f".into(), path: "/f".into(), weight: 1, reverse: false, init: None });
    of
}

/// Plays steps on a bench and checks the laws after each.
struct Play {
    bench: Bench,
    variant: u8,
    /// Claims that the kernel was told to hold, by number.
    owned: BTreeMap<u32, usize>,
    /// Everything that came out, as text.
    transcript: String,
}

impl Play {
    fn new(variant: u8) -> Play {
        let mut bench = Bench::new(world(variant));
        bench.kernel = false;
        let mut play = Play { bench, variant, owned: BTreeMap::new(), transcript: String::new() };
        play.check();
        play
    }

    fn act(&mut self, step: &Step) {
        let bench = &mut self.bench;
        match step {
            Step::Wait(by) => bench.wait(ms(*by)),
            Step::Late(by) => {
                if let Some((due, _)) = bench.engine.deadline() {
                    bench.now = bench.now.max(due) + Interval::from_micros(*by);
                    bench.give(Input::Tick);
                }
            }
            Step::Hear { instance, from, priority } => {
                let of = bench.engine.spec().instances[*instance].clone();
                let second = of.interface == Some(name("eth1"));
                let mut voice = Voice::of(&of, &format!("10.{}.0.{from}", u8::from(second)), *priority);
                voice.ifindex = if second { ETH1 } else { ETH0 };
                bench.hear(&voice);
            }
            Step::Noise(bytes) => {
                let voice = Voice::of(&instance(1, 100), "10.0.0.2", 1);
                bench.hear_bytes(voice.meta(), bytes);
                bench.hear_bytes(voice.meta(), &voice.wrap(bytes));
            }
            Step::Link { second, running } => {
                let mut link = links()[usize::from(*second)].clone();
                link.running = *running;
                bench.give(Input::Link(LinkFact::Changed(link)));
            }
            Step::Address { there: true } => {
                bench.give(Input::Link(LinkFact::Address { index: ETH0, address: address("10.0.0.1", 24) }));
            }
            Step::Address { there: false } => {
                bench.give(Input::Link(LinkFact::AddressGone { index: ETH0, address: ip("10.0.0.1"), prefix: 24 }));
            }
            Step::Dump { empty } => bench.give(Input::Link(LinkFact::Dump(if *empty { Vec::new() } else { links() }))),
            Step::Script(code) => bench.exits(ScriptId(0), Exit::Code(*code)),
            Step::File(number) => {
                bench.give(Input::Tracked { tracker: Tracker::File(FileId(0)), value: TrackValue::Number(*number) });
            }
            Step::Ready => {
                for (id, count) in self.owned.clone() {
                    let instance = InstanceId(id);
                    bench.give(Input::Applied {
                        instance,
                        outcome: Outcome::Ready { addresses: 0..count as u32, announced: false },
                    });
                    bench.give(Input::Applied { instance, outcome: Outcome::Complete });
                }
            }
            Step::Command(number) => {
                let instance = [None, Some(InstanceId(0)), Some(InstanceId(2))][usize::from(number % 3)];
                bench.give(Input::Command(match number % 5 {
                    0 => Command::Drain { instance },
                    1 | 2 => Command::Undrain { instance },
                    3 => Command::Failover { instance },
                    _ => Command::Reassure,
                }));
            }
            Step::Reload(variant) => {
                self.variant = *variant;
                bench.reload(world(*variant));
            }
        }
        self.check();
    }

    fn check(&mut self) {
        let log = std::mem::take(&mut self.bench.log);
        let reloaded = log.iter().any(|(_, action)| matches!(action, Action::Report(Event::Deleted { .. })));
        assert!(!reloaded, "all variants have the same three routers");
        for (time, action) in &log {
            self.transcript += &format!("{time:?} {action:?}\n");
            match action {
                Action::Own(id, claim) => {
                    self.owned.insert(id.0, claim.addresses.len());
                }
                Action::Disown(id) => {
                    assert!(self.owned.remove(&id.0).is_some(), "{id:?} is disowned and was not owned");
                }
                Action::Announce(announce) => {
                    let count = self.owned.get(&announce.instance.0).copied().unwrap_or(0);
                    assert!((announce.addresses.end as usize) <= count, "{announce:?}, owned {count}");
                }
                Action::Transmit(sent) => assert!(!sent.bytes.is_empty()),
                _ => {}
            }
        }
        let snapshot = self.bench.engine.snapshot(self.bench.now);
        for (id, view) in (0_u32..).zip(&snapshot.instances) {
            assert_eq!(
                view.state == Role::Master,
                self.owned.contains_key(&id),
                "{}: masters own and nobody else does",
                view.name
            );
            assert_eq!(view.state == Role::Fault, !view.faults.is_empty(), "{}: FAULT follows the faults", view.name);
            assert!((1..=255).contains(&view.effective_priority.0));
            let next = view.next.as_ref().map(|next| next.at);
            assert!(next.is_none_or(|at| at > self.bench.now), "{}: {next:?} has passed", view.name);
        }
        let members = &self.bench.engine.spec().groups[0].members;
        let roles: Vec<Role> = members.iter().map(|id| snapshot.instances[id.index()].state).collect();
        assert!(roles.windows(2).all(|pair| pair[0] == pair[1]), "the group is of one mind: {roles:?}");
        // A group that waits for the first word of a script has not begun.
        let shown = snapshot.groups[0].state;
        assert!(shown == roles[0] || (shown, roles[0]) == (Role::Init, Role::Fault), "{shown} over {roles:?}");
        assert!(self.bench.engine.deadline().is_none_or(|(due, _)| due > self.bench.now), "deadlines lie ahead");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn laws_hold_whatever_happens(variant in any::<u8>(), steps in proptest::collection::vec(step(), 1..60)) {
        let mut play = Play::new(variant);
        for step in &steps {
            play.act(step);
        }
        // Whatever happened: with links, addresses and scripts back, nobody is in FAULT for good.
        play.act(&Step::Dump { empty: false });
        play.act(&Step::File(0));
        for _ in 0..20 {
            play.bench.wait(ms(100));
            play.act(&Step::Script(0));
        }
        prop_assert!(play.bench.roles().iter().all(|role| *role != Role::Fault), "{:?}", play.bench.engine.snapshot(play.bench.now));
        // And alone on the wire everybody is master in the end.
        for _ in 0..200 {
            play.bench.wait(ms(100));
            play.act(&Step::Script(0));
        }
        prop_assert!(play.bench.roles().iter().all(|role| *role == Role::Master));
        play.check();
    }

    #[test]
    fn the_same_facts_give_the_same_actions(variant in any::<u8>(), steps in proptest::collection::vec(step(), 1..40)) {
        let transcript = || {
            let mut play = Play::new(variant);
            steps.iter().for_each(|step| play.act(step));
            play.transcript
        };
        prop_assert_eq!(transcript(), transcript());
    }

    #[test]
    fn reloading_the_same_does_nothing(variant in any::<u8>(), steps in proptest::collection::vec(step(), 1..40)) {
        let mut play = Play::new(variant);
        for step in &steps {
            play.act(step);
            let (deadline, before) = (play.bench.engine.deadline(), play.bench.engine.snapshot(play.bench.now));
            play.bench.reload(world(play.variant));
            prop_assert_eq!(&play.bench.log, &[]);
            prop_assert_eq!(play.bench.engine.deadline(), deadline);
            prop_assert_eq!(play.bench.engine.snapshot(play.bench.now), before);
        }
    }

    #[test]
    fn any_bytes_are_survived_and_change_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..200), six in any::<bool>()) {
        let of = if six { v6(1, 100) } else { instance(1, 100) };
        let voice = Voice::of(&of, if six { "fe80::9" } else { "10.0.0.9" }, 1);
        let mut bench = Bench::new(spec(vec![of]));
        bench.hear_bytes(voice.meta(), &bytes);
        let heard = bench.view(0).counters.advert_rcvd;
        if heard == 0 {
            prop_assert_eq!(bench.view(0).master, None);
        }
        prop_assert!(bench.view(0).effective_priority == Priority(100));
    }
}
