//! One engine ends, another goes on: the peer must not notice.

use crate::ground::*;
use vipd::bfd::Engine;
use vipd::bfd::handover::Handover;
use vipd::bfd::io::{Action, Beginning, Input, State};
use vipd::spec::bfd::Session;
use vipd::wire::bfd::Packet;

fn heir(bench: &Bench, specs: &[Session]) -> Bench {
    let text = serde_json::to_string(&bench.engine.hand_over()).unwrap();
    let handover: Handover = serde_json::from_str(&text).unwrap();
    let world = Beginning { seed: 9, links: None, now: bench.now + ms(300) };
    let engine = Engine::inherit(specs, world, &handover);
    Bench { engine, now: bench.now, sent: vec![], events: vec![], wishes: vec![] }
}

#[test]
fn the_heir_is_the_same_session() {
    let mut bench = Bench::new(defaults());
    bench.bring_up();
    bench.run_with_peer(ms(40), says(State::Up));
    let before = bench.view();
    let mut heir = heir(&bench, &[defaults()]);
    heir.settle();
    assert_eq!(heir.view(), before);
    assert!(heir.events.is_empty(), "{:?}", heir.events);
    assert!(heir.wishes.iter().any(|wish| matches!(wish, Action::Open(id, _) if *id == bench.id())));
    assert!(heir.wishes.iter().any(|wish| matches!(wish, Action::Listen { single_hop: true, multihop: false })));
}

/// 300 ms pass between the two; the peer's packets wait in the sockets that were handed over.
#[test]
fn what_waited_in_the_sockets_counts() {
    let mut bench = Bench::new(defaults());
    bench.bring_up();
    let begun = bench.now;
    let mut heir = heir(&bench, &[defaults()]);
    heir.settle();
    let packet = Packet { your_discriminator: bench.view().discriminator, ..says(State::Up) };
    for late in 1..30 {
        heir.engine.handle(Input::Packet { meta: meta(), bytes: &packet.emit() }, begun + ms(late * 10));
    }
    heir.now = begun + ms(300);
    heir.tell(Input::Tick);
    assert_eq!(heir.view().state, State::Up);
    assert!(heir.states().is_empty());
}

/// The program that takes over reads another configuration: changed intervals are polled for, gone sessions say so.
#[test]
fn a_changed_configuration_is_a_reload() {
    let mut bench = Bench::new(defaults());
    bench.bring_up();
    let mut next = heir(&bench, &[Session { min_tx: ms(30), ..defaults() }]);
    next.settle();
    next.run_with_peer(ms(60), says(State::Up));
    assert!(next.sent.iter().any(|(_, packet)| packet.poll && packet.min_tx == 30_000));
    assert_eq!(next.view().state, State::Up);
    // Nothing but the name is known of it.
    let strange: Handover = serde_json::from_str(r#"{"sessions":[{"name":"S"}],"later":3}"#).unwrap();
    let world = Beginning { seed: 9, links: None, now: bench.now };
    assert_eq!(Engine::inherit(&[defaults()], world, &strange).snapshot(bench.now).sessions[0].state, State::Down);
}
