//! What a session does, one behaviour a test. Where keepalived does otherwise, docs/differences.md names the test.

use crate::ground::*;
use std::net::{IpAddr, Ipv4Addr};
use vipd::bfd::io::{
    Action, Address, Beginning, Cause, Command, Event, Hold, Input, Level, Link, Local, Obstacle, Refusal, RxMeta,
    State,
};
use vipd::bfd::{Engine, judge};
use vipd::spec::IfName;
use vipd::spec::bfd::Session;
use vipd::time::Interval;
use vipd::wire::bfd::{Diag, Packet};

/// RFC 5880 §6.8.6, every pair.
#[test]
fn the_table_of_states() {
    use State::{AdminDown, Down, Init, Up};
    let rows = [
        (Down, [Down, Init, Up, Down]),
        (Init, [Down, Init, Up, Up]),
        (Up, [Down, Down, Up, Up]),
        (AdminDown, [AdminDown; 4]),
    ];
    for (here, then) in rows {
        for (heard, then) in State::ALL.into_iter().zip(then) {
            assert_eq!(judge(here, heard), then, "{here} hears {heard}");
        }
    }
}

#[test]
fn the_first_packet_is_keepalived_s() {
    let bench = Bench::new(defaults());
    let (at, packet) = bench.sent[0];
    assert_eq!(at, START);
    let hex: String = packet.emit().iter().map(|byte| format!("{byte:02x}")).collect();
    // Captured from keepalived, with its discriminator in the middle.
    assert_eq!((&hex[..8], &hex[16..]), ("20400518", "00000000000f42400000271000000000"));
}

#[test]
fn a_change_is_told_at_once() {
    let mut bench = Bench::new(defaults());
    bench.run(ms(300));
    bench.sent.clear();
    bench.hear_from(meta(), says(State::Down));
    assert_eq!(bench.sent.len(), 1);
    assert_eq!((bench.sent[0].0, bench.sent[0].1.state), (bench.now, State::Init));
    bench.hear(says(State::Init));
    let (at, up) = bench.sent[1];
    assert_eq!((at, up.state, up.poll, up.min_tx), (bench.now, State::Up, true, 10_000));
    assert_eq!(bench.states(), [State::Init, State::Up]);
}

/// The fast interval is used as soon as it is announced: one lost final is no flap.
#[test]
fn the_fast_interval_is_used_at_once() {
    let mut bench = Bench::new(defaults());
    bench.hear_from(meta(), says(State::Down));
    bench.hear(says(State::Init));
    bench.sent.clear();
    bench.run(ms(45));
    assert!(bench.sent.len() >= 4, "{:?}", bench.sent);
    assert!(bench.sent.iter().all(|(_, packet)| packet.poll), "the poll goes on until it is answered");
    let discriminator = bench.view().discriminator;
    bench.hear(Packet { is_final: true, ..says(State::Up) });
    bench.sent.clear();
    bench.run(ms(20));
    assert!(bench.sent.iter().all(|(_, packet)| !packet.poll && packet.my_discriminator == discriminator));
}

#[test]
fn silence_ends_a_session_at_the_detection_time() {
    let mut bench = Bench::new(defaults());
    bench.bring_up();
    let (heard, discriminator) = (bench.now, bench.view().discriminator);
    bench.run(ms(49));
    assert_eq!(bench.view().state, State::Up);
    bench.run(ms(10));
    let view = bench.view();
    assert_eq!((view.state, view.diag, view.since), (State::Down, Diag::EXPIRED, heard + ms(50)));
    assert_eq!(view.why, Cause::Expired { detection_us: 50_000 });
    assert!(!bench.level().up);
    // The peer knows us by the same number still, and hears of it at once.
    assert_eq!(view.discriminator, discriminator);
    let (at, last) = *bench.sent.last().unwrap();
    assert_eq!((at, last.state, last.diag, last.your_discriminator), (heard + ms(50), State::Down, Diag::EXPIRED, 0));
}

/// 50/60 ms × 4 against 40/70 ms × 5, as seen between two keepalived: 350 ms and 240 ms.
#[test]
fn both_detection_times() {
    let spec = Session { min_rx: ms(50), min_tx: ms(60), multiplier: 4, ..defaults() };
    let mut bench = Bench::new(spec);
    bench.bring_up();
    bench.hear(Packet { min_tx: 70_000, min_rx: 40_000, ..says(State::Up) });
    assert_eq!((bench.view().detection_time, bench.view().peer_detection_time), (ms(350), ms(240)));
    // 255 × 900 s do not fit 32 bits of microseconds.
    bench.hear(Packet { min_tx: 900_000_000, multiplier: 255, ..says(State::Up) });
    assert_eq!(bench.view().detection_time, Interval::from_secs(229_500));
}

/// One way is dead: we hear the peer, it does not hear us. That is rest, not swinging.
#[test]
fn init_lasts_while_the_peer_is_heard() {
    let mut bench = Bench::new(defaults());
    for _ in 0..20 {
        bench.hear_from(meta(), says(State::Down));
        bench.run(ms(900));
    }
    assert_eq!(bench.states(), [State::Init]);
    bench.run(Interval::from_secs(6));
    assert_eq!(bench.view().state, State::Down);
}

#[test]
fn a_final_answers_a_poll_at_once() {
    let mut bench = Bench::new(defaults());
    bench.bring_up();
    bench.hear(Packet { poll: true, ..says(State::Up) });
    let finals: Vec<_> = bench.sent.iter().filter(|(_, packet)| packet.is_final).collect();
    assert_eq!(finals.len(), 1);
    assert!(!finals[0].1.poll);
}

#[test]
fn who_wants_no_packets_gets_none() {
    for quiet in [Packet { min_rx: 0, ..says(State::Up) }, Packet { demand: true, ..says(State::Up) }] {
        let mut bench = Bench::new(defaults());
        bench.bring_up();
        bench.hear(quiet);
        bench.sent.clear();
        bench.run_with_peer(ms(200), quiet);
        assert!(bench.sent.is_empty(), "{:?}", bench.sent);
        // A poll is answered all the same, and the schedule comes back with the wish.
        bench.hear(Packet { poll: true, ..quiet });
        assert_eq!(bench.sent.len(), 1);
        bench.run_with_peer(ms(100), says(State::Up));
        assert!(bench.sent.len() > 8);
    }
}

/// A poll of ours goes on while the peer wants no periodic packets.
#[test]
fn a_poll_survives_demand() {
    let mut bench = Bench::new(defaults());
    bench.bring_up();
    let demand = Packet { demand: true, ..says(State::Up) };
    bench.hear(demand);
    bench.sent.clear();
    bench.engine.reload(&[Session { min_tx: ms(20), ..defaults() }], bench.now);
    bench.settle();
    bench.run_with_peer(ms(100), demand);
    assert!(bench.sent.iter().filter(|(_, packet)| packet.poll).count() > 3);
    bench.hear(Packet { is_final: true, ..demand });
    bench.sent.clear();
    bench.run_with_peer(ms(100), demand);
    assert!(bench.sent.is_empty());
}

#[test]
fn passive_sessions_wait() {
    let mut bench = Bench::new(Session { passive: true, ..defaults() });
    bench.run(Interval::from_secs(10));
    assert!(bench.sent.is_empty());
    bench.hear_from(meta(), says(State::Down));
    assert_eq!(bench.sent.len(), 1);
    bench.run(Interval::from_secs(4));
    assert!(bench.sent.len() >= 4);
    bench.run(Interval::from_secs(2));
    let silent = bench.sent.len();
    bench.run(Interval::from_secs(10));
    assert_eq!(bench.sent.len(), silent, "the peer has been silent for the detection time");
}

#[test]
fn refusals_by_reason() {
    let mut bench =
        Bench::of(vec![defaults(), Session { name: "M".into(), multihop: true, max_hops: Some(3), ..defaults() }]);
    bench.bring_up();
    let own = bench.view().discriminator;
    let before = bench.view();
    let named = Packet { your_discriminator: own, ..says(State::Down) };
    let other = IpAddr::V4(Ipv4Addr::new(10, 9, 9, 22));
    let rows: &[(RxMeta, Packet, Refusal)] = &[
        (RxMeta { cut: true, ..meta() }, named, Refusal::TooLong),
        (meta(), Packet { your_discriminator: 0xdead_beef, ..named }, Refusal::NoSession),
        (RxMeta { source: other, ..meta() }, Packet { your_discriminator: 0, ..named }, Refusal::NoSession),
        (RxMeta { source: other, ..meta() }, named, Refusal::Source),
        (RxMeta { multihop: true, ..meta() }, named, Refusal::Port),
        (RxMeta { ttl: Some(254), ..meta() }, named, Refusal::Ttl),
        (RxMeta { ttl: None, ..meta() }, named, Refusal::NoTtl),
        (RxMeta { multihop: true, ttl: Some(251), ..meta() }, Packet { your_discriminator: 0, ..named }, Refusal::Ttl),
    ];
    for (meta, packet, why) in rows {
        bench.hear_from(*meta, *packet);
        let told = |event: &Event| matches!(event, Event::Refused { why: told, .. } if told == why);
        assert!(bench.events.iter().any(told), "{why:?}: {:?}", bench.events);
    }
    let counted = bench.view().counters.refused.clone();
    let expected = [Refusal::Source, Refusal::Port, Refusal::NoTtl, Refusal::Ttl].map(|why| (why, 1));
    assert_eq!(counted.into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(bench.engine.snapshot(bench.now).refused[&Refusal::NoSession], 2);
    let after = bench.view();
    assert_eq!((after.state, after.last_heard, after.peer_state), (before.state, before.last_heard, before.peer_state));
    // A flood is told once a minute, and counted.
    bench.events.clear();
    for _ in 0..1000 {
        bench.hear_from(RxMeta { ttl: Some(254), ..meta() }, named);
    }
    assert!(bench.events.is_empty());
    assert_eq!(bench.view().counters.refused[&Refusal::Ttl], 1001);
}

#[test]
fn ipv6_takes_keepalived_s_64_and_says_so_once() {
    let (us, peer): (IpAddr, IpAddr) = ("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap());
    let spec = Session { source: Some(us), neighbor: peer, ttl_base: 64, ..defaults() };
    let mut bench = Bench::new(spec);
    let outlet = |action: &Action| match action {
        Action::Open(_, outlet) => Some(outlet.ttl),
        _ => None,
    };
    assert_eq!(bench.wishes.iter().find_map(outlet), Some(255));
    let meta = RxMeta { source: peer, destination: Some(us), ttl: Some(64), ..meta() };
    bench.hear_from(meta, says(State::Down));
    bench.hear_from(meta, says(State::Down));
    assert_eq!(bench.view().state, State::Init);
    assert_eq!(bench.events.iter().filter(|e| matches!(e, Event::LowTtl { ttl: 64, .. })).count(), 1);
    bench.hear_from(RxMeta { ttl: Some(63), ..meta }, says(State::Down));
    assert_eq!(bench.view().counters.refused[&Refusal::Ttl], 1);
}

/// RFC 5882 §4.2: an administrative down is no failure. Trackers keep what they had until the session has spoken again.
#[test]
fn the_peer_s_shutdown_keeps_the_level() {
    let mut bench = Bench::new(defaults());
    bench.bring_up();
    bench.hear(says(State::AdminDown));
    assert_eq!(bench.view().state, State::Down);
    assert_eq!(bench.level(), Level { up: true, held: Some(Hold::Peer) });
    // FRR says it once and is silent from then on.
    bench.run(Interval::from_secs(3600));
    assert_eq!(bench.level(), Level { up: true, held: Some(Hold::Peer) });
    // It comes back: up again without a moment of "down".
    bench.hear_from(meta(), says(State::Down));
    bench.hear(says(State::Init));
    assert_eq!(bench.level(), Level { up: true, held: None });
    let levels: Vec<_> =
        bench.events.iter().filter(|e| matches!(e, Event::LevelChanged { level, .. } if !level.up)).collect();
    assert!(levels.is_empty(), "{levels:?}");
}

#[test]
fn a_kept_level_does_not_outlive_a_peer_that_does_not_come_up() {
    let mut bench = Bench::new(defaults());
    bench.bring_up();
    bench.hear(says(State::AdminDown));
    bench.hear_from(meta(), says(State::Down));
    bench.run(Interval::from_secs(2));
    assert!(bench.level().up);
    bench.hear_from(meta(), says(State::Down));
    bench.run(Interval::from_secs(2));
    assert_eq!(bench.level(), Level { up: false, held: None });
}

#[test]
fn an_operator_s_shutdown_says_admin_down_for_as_long_as_it_lasts() {
    let mut bench = Bench::new(defaults());
    bench.bring_up();
    let session = bench.id();
    bench.tell(Input::Command(Command::Shutdown { session }));
    assert_eq!((bench.sent[0].1.state, bench.sent[0].1.diag), (State::AdminDown, Diag::ADMIN_DOWN));
    assert_eq!(bench.level(), Level { up: true, held: Some(Hold::Operator) });
    bench.run(Interval::from_secs(10));
    assert!(bench.sent.len() >= 11 && bench.sent.iter().all(|(_, packet)| packet.state == State::AdminDown));
    bench.hear(says(State::Down));
    assert_eq!(bench.view().counters.refused[&Refusal::Shutdown], 1);
    bench.tell(Input::Command(Command::NoShutdown { session }));
    assert_eq!(bench.sent.last().unwrap().1.state, State::Down);
    assert!(bench.level().up, "kept until it is up");
    bench.hear_from(meta(), says(State::Down));
    bench.hear(says(State::Init));
    assert_eq!(bench.level(), Level { up: true, held: None });
}

/// Stopping is no shutdown: peers are to act at once.
#[test]
fn stopping_says_down_twice() {
    let mut bench = Bench::new(defaults());
    bench.bring_up();
    bench.tell(Input::Command(Command::Stop));
    let said: Vec<_> = bench.sent.iter().map(|(_, packet)| (packet.state, packet.diag)).collect();
    assert_eq!(said, [(State::Down, Diag::ADMIN_DOWN); 2]);
    assert_eq!(bench.engine.deadline(), None);
}

fn link(running: bool, addresses: &[(&str, bool)]) -> Link {
    let address =
        |(text, usable): &(&str, bool)| Address { address: text.parse().unwrap(), prefix: 24, usable: *usable };
    Link { index: 4, name: IfName::new("eth0").unwrap(), running, addresses: addresses.iter().map(address).collect() }
}

/// What keepalived notices after a minute, or after the detection time, is known at once.
#[test]
fn a_lost_link_or_address_is_path_down_at_once() {
    let mut bench = Bench::new(defaults());
    bench.tell(Input::Local(Local::Dump(vec![link(true, &[("10.9.9.1", true)])])));
    bench.bring_up();
    let name = IfName::new("eth0").unwrap();
    bench.tell(Input::Local(Local::Changed { index: 4, name: name.clone(), running: false }));
    let view = bench.view();
    assert_eq!((view.state, view.diag), (State::Down, Diag::PATH_DOWN));
    assert_eq!(view.why, Cause::Obstacle(Obstacle::LinkDown(name.clone())));
    bench.run(Interval::from_secs(5));
    assert!(bench.sent.is_empty(), "nothing can be sent");
    bench.tell(Input::Local(Local::Changed { index: 4, name, running: true }));
    assert_eq!((bench.sent.len(), bench.sent[0].0), (1, bench.now));
    let gone = Local::AddressGone { index: 4, address: US, prefix: 24 };
    bench.tell(Input::Local(gone));
    assert_eq!(bench.view().obstacle, Some(Obstacle::NoSource(US)));
    bench.sent.clear();
    let tentative = Address { address: US, prefix: 24, usable: false };
    bench.tell(Input::Local(Local::Address { index: 4, address: tentative }));
    assert!(bench.sent.is_empty());
    bench.tell(Input::Local(Local::Address { index: 4, address: Address { usable: true, ..tentative } }));
    assert_eq!(bench.sent.len(), 1);
}

/// The port is somebody else's: the session says so, and comes back when it is free.
#[test]
fn a_port_in_use_blocks_its_kind_of_session_only() {
    let multihop = Session { name: "M".into(), multihop: true, ..defaults() };
    let mut bench = Bench::of(vec![defaults(), multihop]);
    let why: Box<str> = "port 3784 is in use by bfdd (312)".into();
    bench.tell(Input::Listening { multihop: false, outcome: Err(why.clone()) });
    bench.sent.clear();
    let snapshot = bench.engine.snapshot(bench.now);
    assert_eq!(snapshot.sessions[0].obstacle, Some(Obstacle::CannotListen(why)));
    assert_eq!(snapshot.sessions[1].obstacle, None);
    bench.run(Interval::from_secs(3));
    assert!(
        bench.sent.len() >= 3
            && bench.sent.iter().all(|(_, p)| p.my_discriminator == snapshot.sessions[1].discriminator)
    );
    bench.tell(Input::Listening { multihop: false, outcome: Ok(()) });
    assert_eq!(bench.view().obstacle, None);
    assert!(bench.sent.iter().any(|(_, p)| p.my_discriminator == snapshot.sessions[0].discriminator));
}

#[test]
fn reload_of_the_same_says_nothing() {
    let mut bench = Bench::new(defaults());
    bench.bring_up();
    let deadline = bench.engine.deadline();
    bench.engine.reload(&[defaults()], bench.now);
    bench.settle();
    assert!(bench.wishes.is_empty(), "{:?}", bench.wishes);
    assert_eq!(bench.engine.deadline(), deadline);
}

/// A longer interval waits for the peer's answer, a shorter one does not; the session stays up.
#[test]
fn reload_of_intervals_polls() {
    let mut bench = Bench::new(defaults());
    bench.bring_up();
    bench.engine.reload(&[Session { min_tx: ms(40), min_rx: ms(5), ..defaults() }], bench.now);
    bench.settle();
    bench.run_with_peer(ms(100), says(State::Up));
    assert!(bench.sent.len() >= 9, "10 ms are kept until the final: {:?}", bench.sent);
    assert!(bench.sent.iter().all(|(_, packet)| packet.poll && packet.min_tx == 40_000 && packet.min_rx == 5_000));
    assert_eq!(bench.view().detection_time, ms(50), "a shorter min_rx waits as well");
    bench.hear(Packet { is_final: true, ..says(State::Up) });
    bench.sent.clear();
    bench.run_with_peer(ms(200), says(State::Up));
    assert!((4..=7).contains(&bench.sent.len()), "{:?}", bench.sent);
    assert!(bench.states().is_empty());
}

#[test]
fn reload_knows_sessions_by_their_addresses() {
    let mut bench = Bench::new(defaults());
    bench.bring_up();
    let discriminator = bench.view().discriminator;
    bench.engine.reload(&[Session { name: "T".into(), ..defaults() }], bench.now);
    bench.settle();
    assert_eq!((bench.view().state, bench.view().discriminator), (State::Up, discriminator));
    assert!(bench.sent.is_empty());
    // Another neighbour is another session, and the old one is told.
    let other = IpAddr::V4(Ipv4Addr::new(10, 9, 9, 3));
    bench.engine.reload(&[Session { name: "T".into(), neighbor: other, ..defaults() }], bench.now);
    bench.settle();
    assert_eq!(bench.view().state, State::Down);
    assert_ne!(bench.view().discriminator, discriminator);
    let farewell: Vec<_> = bench.sent.iter().filter(|(_, p)| p.my_discriminator == discriminator).collect();
    assert_eq!(farewell.len(), 2);
    assert!(farewell.iter().all(|(_, packet)| (packet.state, packet.diag) == (State::Down, Diag::ADMIN_DOWN)));
    assert!(!bench.level().up);
}

/// A loop that was woken late says so with the change that follows.
#[test]
fn own_delay_is_told_with_the_change() {
    let mut bench = Bench::new(defaults());
    bench.bring_up();
    bench.now += ms(200);
    bench.engine.woken_late(bench.now, ms(190));
    // What waited in the socket was sent in time: nothing expires.
    let heard = bench.now.before(ms(160));
    let packet = Packet { your_discriminator: bench.view().discriminator, ..says(State::Up) };
    for at in [heard, heard + ms(40), heard + ms(80), heard + ms(120), heard + ms(155)] {
        bench.engine.handle(Input::Packet { meta: meta(), bytes: &packet.emit() }, at);
    }
    bench.tell(Input::Tick);
    assert_eq!(bench.view().state, State::Up);
    // But the peer has missed ours.
    bench.hear(Packet { diag: Diag::EXPIRED, ..says(State::Down) });
    let delay = |event: &Event| match event {
        Event::Became { own_delay, .. } => Some(*own_delay),
        _ => None,
    };
    assert_eq!(bench.events.iter().find_map(delay), Some(ms(190)));
}

/// Two servers that start in the same second draw differently; one seed repeats a run.
#[test]
fn discriminators_come_from_the_seed() {
    let drawn = |seed: u64| {
        let world = vipd::bfd::io::Beginning { seed, links: None, now: START };
        let engine = vipd::bfd::Engine::begin(&[defaults()], world);
        engine.snapshot(START).sessions[0].discriminator
    };
    assert_eq!(drawn(1), drawn(1));
    assert_ne!(drawn(1), drawn(2));
    assert_ne!(drawn(1), 0);
}

/// There was no socket at first, as at boot before the address is there: a reload meanwhile changes nothing of that, and once
/// there is one the session speaks at once, comes up, and lives over further reloads.
#[test]
fn a_session_whose_socket_comes_late_comes_up_and_lives_over_reloads() {
    let world = Beginning { seed: 7, links: None, now: START };
    let mut bench =
        Bench { engine: Engine::begin(&[defaults()], world), now: START, sent: vec![], events: vec![], wishes: vec![] };
    while bench.engine.poll().is_some() {}
    let session = bench.id();
    bench.tell(Input::Opened { session, outcome: Err("Cannot assign requested address".into()) });
    assert_eq!((bench.view().state, bench.sent.len()), (State::Down, 0));
    assert!(bench.events.iter().any(|event| matches!(event, Event::Blocked { .. })), "{:?}", bench.events);
    bench.engine.reload(&[Session { min_tx: ms(20), ..defaults() }], bench.now);
    bench.settle();
    bench.run(ms(70_000));
    assert_eq!((bench.view().state, bench.sent.len()), (State::Down, 0), "no socket, no packet, and no other state");
    bench.tell(Input::Opened { session, outcome: Ok(50_000) });
    assert_eq!(bench.sent.iter().map(|(_, packet)| packet.state).collect::<Vec<_>>(), [State::Down], "at once");
    bench.hear_from(meta(), says(State::Down));
    bench.hear(says(State::Init));
    assert_eq!(bench.view().state, State::Up);
    for _ in 0..3 {
        bench.engine.reload(&[defaults()], bench.now);
        bench.settle();
        bench.run_with_peer(ms(100), Packet { is_final: true, ..says(State::Up) });
        assert_eq!(bench.view().state, State::Up);
    }
}

/// A peer whose interval is another one with each packet: what holds is told, and the log is not flooded.
#[test]
fn a_peer_that_changes_its_mind_with_each_packet_is_told_of_a_few_times() {
    let mut bench = Bench::new(defaults());
    bench.bring_up();
    let told = |bench: &Bench| {
        let times = bench.events.iter().filter_map(|event| match event {
            Event::DetectionTime { is, was, .. } => Some((*is, *was)),
            _ => None,
        });
        times.collect::<Vec<_>>()
    };
    let before = told(&bench).len();
    for n in 0..1_000_u32 {
        bench.hear(Packet { min_tx: 100_000 + 1_000 * n, ..says(State::Up) });
        bench.run(ms(1));
    }
    assert!((1..=6).contains(&(told(&bench).len() - before)), "{:?}", told(&bench));
    let last = told(&bench).last().unwrap().0;
    bench.run_with_peer(Interval::from_secs(11), Packet { min_tx: 50_000, ..says(State::Up) });
    assert_eq!(told(&bench).last(), Some(&(bench.view().detection_time, last)));
}
