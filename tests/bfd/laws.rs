//! The laws in random lives, and the ones that need a life of their own.

use crate::ground::*;
use std::net::{IpAddr, Ipv4Addr};
use vipd::bfd::Engine;
use vipd::bfd::io::{Beginning, Input, State};
use vipd::sim::bfd::{Duo, Sessions, Weather, plain, storm};
use vipd::spec::bfd::Session;
use vipd::time::Interval;
use vipd::wire::bfd::Packet;

pub fn real(specs: &[Session], world: Beginning) -> Box<dyn Sessions> {
    Box::new(Engine::begin(specs, world))
}

/// How many random lives: `VIPD_SEEDS=N`, the first `VIPD_SEED=N`.
fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str, usual: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let first = number("VIPD_SEED", 1);
    first..first + number("VIPD_SEEDS", 400)
}

#[test]
fn random_lives_keep_every_law() {
    for seed in seeds() {
        let wrong = storm(seed, Weather::default(), &real);
        assert!(wrong.is_empty(), "VIPD_SEED={seed} VIPD_SEEDS=1: {wrong:#?}");
    }
}

pub const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
pub const B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

pub fn pair(seed: u64) -> Duo<'static> {
    Duo::new([vec![plain("s", A, B)], vec![plain("s", B, A)]], [A, B], seed, &real)
}

fn lawful(duo: &Duo<'_>) {
    assert!(duo.violations().is_empty(), "{:#?}", duo.violations());
}

/// 3: over a good path the second packet of the peer is enough, and nothing falls in an hour.
#[test]
fn both_come_up_and_stay_up() {
    for seed in 0..20 {
        let mut duo = pair(seed);
        duo.run(Interval::from_millis(5));
        assert!(duo.both_up(), "three packets are enough");
        let changes = duo.sides[0].changes;
        duo.run(Interval::from_secs(30));
        assert_eq!(duo.sides[0].changes, changes);
        lawful(&duo);
    }
}

/// 4: a one-way cut ends in Down at the deaf side, Init at the other, at once and for good.
#[test]
fn a_one_way_cut_comes_to_rest() {
    for seed in 0..20 {
        let mut duo = pair(seed);
        duo.run(Interval::from_secs(2));
        // 1 hears 0 no more.
        duo.paths[0].cut = true;
        duo.run(Interval::from_millis(51));
        assert_eq!(duo.state(1), Some(State::Down), "its detection time has passed");
        assert_ne!(duo.state(0), Some(State::Up), "it has been told at once");
        duo.run(Interval::from_secs(2));
        let changes = (duo.sides[0].changes, duo.sides[1].changes);
        duo.run(Interval::from_secs(60));
        assert_eq!((duo.sides[0].changes, duo.sides[1].changes), changes, "no swinging");
        assert_eq!((duo.state(0), duo.state(1)), (Some(State::Init), Some(State::Down)));
        duo.paths[0].cut = false;
        duo.run(Interval::from_secs(1));
        assert!(duo.both_up());
        lawful(&duo);
    }
}

/// 8: sessions of others do not notice a reload.
#[test]
fn a_reload_of_others_moves_nothing() {
    let other = plain("t", A, IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3)));
    let mut bench = Bench::of(vec![defaults(), Session { name: "t".into(), ..other.clone() }]);
    bench.bring_up();
    let before = bench.view();
    bench.engine.reload(&[defaults(), Session { min_tx: ms(77), ..other }], bench.now);
    bench.settle();
    assert_eq!(bench.view(), before);
}

/// 13: what is told late, in order and with its true times, gives the same states and the same moments.
#[test]
fn late_facts_give_the_same_states() {
    for seed in 0..200_u64 {
        let mut random = vipd::sim::Random::new(seed);
        let mut facts = Vec::new();
        let mut at = START;
        for _ in 0..60 {
            at += random.interval(Interval::ZERO, ms(70));
            let state = *random.pick(&State::ALL).unwrap();
            facts.push((at, Packet { your_discriminator: u32::from(state > State::Down), ..says(state) }));
        }
        let told = |late: bool| {
            let mut bench = Bench::new(defaults());
            let own = bench.view().discriminator;
            let mut moments = Vec::new();
            for chunk in facts.chunks(if late { 7 } else { 1 }) {
                if !late {
                    while let Some(due) = bench.engine.deadline().filter(|due| *due <= chunk[0].0) {
                        bench.engine.handle(Input::Tick, due);
                    }
                }
                for (at, packet) in chunk {
                    let packet = Packet { your_discriminator: packet.your_discriminator * own, ..*packet };
                    bench.engine.handle(Input::Packet { meta: meta(), bytes: &packet.emit() }, *at);
                    let view = bench.view();
                    moments.push((view.state, view.since, view.silent_at, view.level));
                }
            }
            moments
        };
        assert_eq!(told(false), told(true), "seed {seed}");
    }
}

/// Deadlines are kept over a stop of the process: 200 ms with the peer's packets in the socket are no silence.
#[test]
fn a_stopped_process_does_not_blame_its_peer() {
    let mut duo = pair(3);
    duo.sides[1].specs = vec![Session { min_rx: ms(100), ..plain("s", B, A) }];
    let specs = duo.sides[1].specs.clone();
    duo.reload(1, specs);
    duo.run(Interval::from_secs(2));
    let changes = duo.sides[0].changes;
    duo.stop_process(0);
    duo.run(ms(200));
    duo.resume_process(0);
    duo.run(ms(5));
    assert_eq!((duo.state(0), duo.sides[0].changes), (Some(State::Up), changes));
    lawful(&duo);
}
