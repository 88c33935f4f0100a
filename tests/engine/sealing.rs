//! Authentication header and `auth_hmac`: what is taken, what is refused, what is sent.

use crate::harness::*;
use std::net::IpAddr;
use vipd::spec::*;
use vipd::time::{Interval, Time};
use vipd::vrrp::io::{Command, *};
use vipd::vrrp::snapshot::Counters;
use vipd::wire::auth::{self, Bound};
use vipd::wire::checksum::ChecksumRule;
use vipd::wire::{PROTOCOL_AH, Version, frames};

/// A datagram sealed as keepalived seals it.
fn sealed(voice: &Voice, key: &[u8; 8], sequence: u32, unicast: bool) -> Vec<u8> {
    let (IpAddr::V4(from), IpAddr::V4(to)) = (voice.from, voice.to) else { panic!("AH is for IPv4") };
    let packet = voice.packet();
    let mut bytes = frames::ipv4_header(from, to, PROTOCOL_AH, voice.ttl, 9, packet.len() + auth::AH_HEAD).to_vec();
    bytes.extend_from_slice(&auth::ah_head(from.octets(), sequence));
    bytes.extend_from_slice(&packet);
    auth::seal_ah(&mut bytes, key, sequence, unicast);
    bytes
}

#[test]
fn authentication_header() {
    let of = InstanceSpec { auth: Auth::Ah(*b"secret\0\0"), ..v2(1, 100) };
    let mut voice = Voice::of(&of, "10.0.0.2", 200);
    voice.auth_type = 2;
    let good = sealed(&voice, b"secret\0\0", 5, false);
    let mut bench = Bench::new(spec(vec![of.clone()]));
    bench.hear_bytes(voice.meta(), &good);
    assert_eq!(bench.view(0).counters.advert_rcvd, 1);
    // Replayed, older, tampered with, another key.
    let mut tampered = sealed(&voice, b"secret\0\0", 9, false);
    tampered[46] ^= 1;
    for bytes in
        [good.clone(), sealed(&voice, b"secret\0\0", 4, false), tampered, sealed(&voice, b"wrong\0\0\0", 9, false)]
    {
        bench.hear_bytes(voice.meta(), &bytes);
    }
    assert_eq!((bench.view(0).counters.advert_rcvd, bench.view(0).counters.auth_failure), (1, 4));
    bench.hear(&Voice::of(&of, "10.0.0.2", 200));
    assert_eq!(bench.view(0).counters.authtype_mismatch, 1);
    // The counter goes on where the last master was: 5, so our first advert is 6.
    bench.wait(ms(4000));
    let sequence = |action: &Action| match action {
        Action::Transmit(sent) => Some(auth::read_ah(&sent.bytes[20..]).unwrap().0.sequence),
        _ => None,
    };
    assert_eq!(bench.take().iter().find_map(sequence), Some(6));
    // A worse master's sequence is continued from.
    voice.priority = 10;
    bench.hear_bytes(voice.meta(), &sealed(&voice, b"secret\0\0", 70, false));
    assert_eq!(bench.take().iter().find_map(sequence), Some(72));
    // An AH datagram where none is wanted, and a mutable field on the way.
    let mut plain = Bench::new(spec(vec![v2(1, 100)]));
    plain.hear_bytes(voice.meta(), &good);
    assert_eq!(plain.view(0).counters.authtype_mismatch, 1);
    let mut marked = good;
    marked[1] = 0x20;
    let mut bench = Bench::new(spec(vec![of]));
    bench.hear_bytes(voice.meta(), &marked);
    assert_eq!(bench.view(0).counters.advert_rcvd, 1);
}

/// keepalived counts what it sends and what it hears with one counter, so a master would take this for a replay.
#[test]
fn an_ah_sequence_below_our_own_is_no_replay() {
    let of = InstanceSpec { auth: Auth::Ah(*b"secret\0\0"), ..v2(1, 100) };
    let mut bench = Bench::as_master(spec(vec![of.clone()]));
    bench.wait(ms(5000));
    assert!(said(&bench.take()).len() >= 4, "its own sequence is beyond the other's");
    let mut voice = Voice::of(&of, "10.0.0.2", 200);
    voice.auth_type = 2;
    bench.hear_bytes(voice.meta(), &sealed(&voice, b"secret\0\0", 2, false));
    let counters = bench.view(0).counters;
    assert_eq!((counters.advert_rcvd, counters.auth_failure, bench.role(0)), (1, 0, Role::Backup));
}

/// At its end the counter stands still, since a receiver takes nothing lower; the next mastership starts over.
#[test]
fn an_ah_sequence_that_has_come_to_its_end() {
    let of = InstanceSpec { auth: Auth::Ah(*b"secret\0\0"), ..v2(1, 100) };
    let mut bench = Bench::new(spec(vec![of.clone()]));
    let mut voice = Voice::of(&of, "10.0.0.2", 200);
    voice.auth_type = 2;
    let sequences = |actions: Vec<Action>| -> Vec<u32> {
        let sent = actions.into_iter().filter_map(|action| match action {
            Action::Transmit(sent) => Some(auth::read_ah(&sent.bytes[20..]).unwrap().0.sequence),
            _ => None,
        });
        sent.collect()
    };
    bench.hear_bytes(voice.meta(), &sealed(&voice, b"secret\0\0", 0xFFFF_FFFC, false));
    bench.wait(ms(6000));
    let sent = sequences(bench.take());
    assert_eq!((sent[0], sent.last()), (0xFFFF_FFFD, Some(&0xFFFF_FFFE)), "{sent:?}");
    assert!(sent.is_sorted() && sent.len() >= 3, "it does not start over in the middle: {sent:?}");
    // Another master, who is in his rights with the highest one, and then is gone.
    bench.hear_bytes(voice.meta(), &sealed(&voice, b"secret\0\0", 0xFFFF_FFFF, false));
    assert_eq!(bench.role(0), Role::Backup);
    bench.take();
    bench.wait(ms(6000));
    assert_eq!(sequences(bench.take())[..2], [1, 2]);
    // Whoever starts over likewise is heard.
    bench.hear_bytes(voice.meta(), &sealed(&voice, b"secret\0\0", 1, false));
    assert_eq!(bench.role(0), Role::Backup);
}

fn hmac(mode: HmacMode, replay: Replay) -> InstanceSpec {
    let keys = vec![(1, Box::from(&b"first key"[..])), (2, Box::from(&b"second key"[..]))];
    InstanceSpec { auth: Auth::Hmac(HmacAuth { keys, active: 2, mode, replay }), ..instance(1, 100) }
}

/// Unix time at which the engine's zero lies.
const EPOCH: u64 = 1_700_000_000;

fn trailer_of(voice: &Voice, key_id: u8, key: &[u8], seconds: u64, counter: u64) -> Vec<u8> {
    let mut packet = voice.packet();
    let bound = Bound { version: voice.version, vrid: vrid(voice.vrid), source: voice.from };
    let sequence = auth::clock_sequence(seconds * 1_000_000) + counter;
    let trailer = auth::seal_trailer(bound, key_id, key, sequence, &packet);
    packet.extend_from_slice(&trailer);
    voice.wrap(&packet)
}

fn clocked(of: &InstanceSpec) -> Bench {
    let mut bench = Bench::new(spec(vec![of.clone()]));
    bench.give(Input::WallClock(Wall { at: Time::ZERO, unix_micros: EPOCH * 1_000_000 }));
    bench.take();
    bench
}

#[test]
fn hmac_trailer_is_checked_in_order() {
    let window = Replay::Time { window: Interval::from_secs(5) };
    let of = hmac(HmacMode::Enforce, window);
    let voice = Voice::of(&of, "10.0.0.2", 200);
    let (first, second): (&[u8], &[u8]) = (b"first key", b"second key");
    let changed = |at: usize| {
        let mut bytes = trailer_of(&voice, 2, second, EPOCH, 9);
        let from_end = bytes.len() - at;
        bytes[from_end] ^= 1;
        bytes
    };
    let table: Vec<(&str, Vec<u8>, fn(&Counters) -> u64)> = vec![
        ("missing", voice.datagram(), |c| c.auth_ext_missing),
        ("type", changed(28), |c| c.auth_ext_malformed),
        ("reserved", changed(25), |c| c.auth_ext_malformed),
        ("stale", trailer_of(&voice, 2, second, EPOCH - 6, 0), |c| c.auth_ext_stale),
        ("from the future", trailer_of(&voice, 2, second, EPOCH + 6, 0), |c| c.auth_ext_stale),
        ("unknown key", trailer_of(&voice, 3, second, EPOCH, 0), |c| c.auth_ext_unknown_key),
        ("other key", trailer_of(&voice, 2, first, EPOCH, 0), |c| c.auth_ext_invalid_hmac),
        ("digest", changed(1), |c| c.auth_ext_invalid_hmac),
        ("content", changed(30), |c| c.auth_ext_invalid_hmac),
    ];
    for (what, bytes, counter) in table {
        let mut bench = clocked(&of);
        let before = bench.engine.deadline();
        bench.now = at(10);
        bench.hear_bytes(voice.meta(), &bytes);
        let counters = bench.view(0).counters;
        assert_eq!((counter(&counters), counters.advert_rcvd), (1, 0), "{what}: {:?}", counters.refused);
        assert_eq!(bench.engine.deadline(), before, "{what}");
    }
    let mut bench = clocked(&of);
    let counted = |bench: &Bench| (bench.view(0).counters.advert_rcvd, bench.view(0).counters.auth_ext_replay);
    bench.hear_bytes(voice.meta(), &trailer_of(&voice, 1, first, EPOCH, 3));
    assert_eq!(counted(&bench), (1, 0), "any of the keys is good");
    bench.hear_bytes(voice.meta(), &trailer_of(&voice, 1, first, EPOCH, 3));
    bench.hear_bytes(voice.meta(), &trailer_of(&voice, 1, first, EPOCH, 2));
    assert_eq!(counted(&bench), (1, 2));
    bench.hear_bytes(voice.meta(), &trailer_of(&voice, 2, second, EPOCH, 4));
    assert_eq!(counted(&bench), (2, 2));
    // Another sender has a counter of its own.
    let other = Voice { from: ip("10.0.0.3"), ..voice.clone() };
    bench.hear_bytes(other.meta(), &trailer_of(&other, 2, second, EPOCH, 1));
    assert_eq!(counted(&bench), (3, 2));
}

#[test]
fn hmac_modes() {
    let window = Replay::Time { window: Interval::from_secs(5) };
    for (mode, takes_bare, sends) in
        [(HmacMode::Enforce, false, true), (HmacMode::Permissive, true, true), (HmacMode::ReceiveOnly, true, false)]
    {
        let of = hmac(mode, window);
        let voice = Voice::of(&of, "10.0.0.2", 200);
        let mut bench = clocked(&of);
        bench.hear(&voice);
        assert_eq!(bench.view(0).counters.advert_rcvd, u64::from(takes_bare), "{mode:?}");
        bench.hear_bytes(voice.meta(), &trailer_of(&voice, 2, b"no such key", EPOCH, 0));
        assert_eq!(bench.view(0).counters.auth_ext_invalid_hmac, 1, "{mode:?}: a present one must be right");
        bench.until(at(8000));
        let mut previous = None;
        for action in bench.take() {
            let Action::Transmit(sent) = action else { continue };
            let datagram = frames::ipv4(&sent.bytes).unwrap();
            assert_eq!(datagram.total_length, sent.bytes.len());
            let packet = datagram.payload;
            assert_eq!(packet.len(), if sends { 12 + 28 } else { 12 }, "{mode:?}");
            assert!(
                ChecksumRule::pseudo(sent.source, sent.destination).holds(&packet[..12]),
                "the trailer is not summed"
            );
            if sends {
                let bound = Bound { version: Version::V3, vrid: vrid(1), source: sent.source };
                assert!(auth::verify_trailer(bound, b"second key", &packet[..12], &packet[12..]));
                let trailer = auth::Trailer::read(&packet[12..]).unwrap();
                assert_eq!((trailer.kind, trailer.key, trailer.reserved), (1, 2, 0));
                assert!(previous.is_none_or(|before| auth::comes_after(trailer.sequence, before)));
                previous = Some(trailer.sequence);
            }
        }
    }
}

#[test]
fn hmac_and_clock_steps() {
    let sequences = |replay: Replay, steps: &[u64]| -> Vec<u32> {
        let of = hmac(HmacMode::Enforce, replay);
        let mut bench = clocked(&of);
        bench.until(at(4000));
        bench.take();
        let mut seconds = Vec::new();
        for unix in steps {
            bench.give(Input::WallClock(Wall { at: bench.now, unix_micros: unix * 1_000_000 }));
            bench.give(Input::Command(Command::Reassure));
            for action in bench.take() {
                let Action::Transmit(sent) = action else { continue };
                seconds.push(auth::Trailer::read(&sent.bytes[32..]).unwrap().seconds());
            }
        }
        seconds
    };
    let e = EPOCH as u32;
    let steps = [EPOCH + 100, EPOCH + 98, EPOCH + 50, EPOCH + 200];
    let window = Replay::Time { window: Interval::from_secs(5) };
    // Inside the window the old seconds are kept; beyond it the clock is followed back.
    assert_eq!(sequences(window, &steps), [e + 100, e + 100, e + 50, e + 200]);
    assert_eq!(sequences(Replay::Monotonic, &steps), [e + 100, e + 100, e + 100, e + 200]);
}

/// Both clocks go back by more than the window: what was heard before does not keep the sender out.
#[test]
fn a_mark_outside_the_window_keeps_nobody_out() {
    let of = hmac(HmacMode::Enforce, Replay::Time { window: Interval::from_secs(5) });
    let mut bench = clocked(&of);
    let voice = Voice::of(&of, "10.0.0.2", 200);
    for (step, unix) in [EPOCH + 100, EPOCH + 50].into_iter().enumerate() {
        bench.give(Input::WallClock(Wall { at: bench.now, unix_micros: unix * 1_000_000 }));
        bench.hear_bytes(voice.meta(), &trailer_of(&voice, 2, b"second key", unix as _, 0));
        assert_eq!(bench.view(0).counters.advert_rcvd, step as u64 + 1);
    }
}

#[test]
fn hmac_unicast_wants_a_peer() {
    let of = InstanceSpec {
        transport: unicast(1, 100, &["10.0.0.2"]).transport,
        ..hmac(HmacMode::Enforce, Replay::Monotonic)
    };
    let mut bench = clocked(&of);
    let stranger = Voice::of(&of, "10.0.0.9", 200);
    bench.hear_bytes(stranger.meta(), &trailer_of(&stranger, 2, b"second key", EPOCH, 0));
    assert_eq!(bench.view(0).counters.refused[&Refusal::UnknownPeer], 1);
    let peer = Voice::of(&of, "10.0.0.2", 200);
    // Monotonic does not compare clocks.
    bench.hear_bytes(peer.meta(), &trailer_of(&peer, 2, b"second key", 12, 0));
    assert_eq!(bench.view(0).counters.advert_rcvd, 1);
}

#[test]
fn a_clock_beyond_half_of_the_window_is_told_once() {
    let of = hmac(HmacMode::Enforce, Replay::Time { window: Interval::from_secs(10) });
    let voice = Voice::of(&of, "10.0.0.2", 200);
    let told = |bench: &mut Bench| -> Vec<u64> {
        let by = |event: Event| match event {
            Event::ClockDiffers { by, .. } => Some(by.as_secs()),
            _ => None,
        };
        events(&bench.take()).into_iter().filter_map(by).collect()
    };
    for skew in [-6_i64, 6] {
        let seconds = EPOCH.saturating_add_signed(skew);
        let mut bench = clocked(&of);
        bench.hear_bytes(voice.meta(), &trailer_of(&voice, 2, b"second key", EPOCH + 5, 0));
        assert_eq!(told(&mut bench), Vec::<u64>::new(), "half is not beyond half");
        let mut bench = clocked(&of);
        for count in 0..3 {
            bench.hear_bytes(voice.meta(), &trailer_of(&voice, 2, b"second key", seconds, count));
        }
        assert_eq!(told(&mut bench), [6]);
        assert_eq!(bench.view(0).counters.advert_rcvd, 3, "it is still heard");
    }
    let of = hmac(HmacMode::Enforce, Replay::Monotonic);
    let mut bench = clocked(&of);
    bench.hear_bytes(voice.meta(), &trailer_of(&voice, 2, b"second key", 12, 0));
    assert_eq!(told(&mut bench), Vec::<u64>::new(), "clocks are not compared");
}

/// Two routers on one wire for `span`: every advert of either is heard by the other at once.
fn talk(routers: &mut [Bench; 2], span: Interval) {
    let end = routers[0].now + span;
    loop {
        let due = routers.iter().filter_map(|router| router.engine.deadline()).map(|(at, _)| at).min().unwrap();
        let now = due.min(end);
        // Time passes for both before anything is heard.
        routers.iter_mut().for_each(|router| router.until(now));
        for me in [0, 1] {
            for action in routers[me].take() {
                let Action::Transmit(sent) = action else { continue };
                let (source, destination) = (sent.source, sent.destination);
                let meta = RxMeta { ifindex: ETH0, source, destination, ttl: sent.ttl };
                routers[1 - me].hear_bytes(meta, &sent.bytes);
            }
        }
        if now == end {
            return;
        }
    }
}

#[test]
fn keys_are_exchanged_without_anybody_noticing() {
    let key = |id: u8| (id, Box::from(format!("key number {id}").as_bytes()));
    let spec_of = |router: usize, mode: HmacMode, ids: &[u8], active: u8| {
        let keys = ids.iter().map(|id| key(*id)).collect();
        let auth = Auth::Hmac(HmacAuth { keys, active, mode, replay: Replay::Time { window: Interval::from_secs(5) } });
        spec(vec![InstanceSpec { auth, ..instance(1, [200, 100][router]) }])
    };
    let none = |router: usize| spec(vec![instance(1, [200, 100][router])]);
    let mut routers = [0, 1].map(|router: usize| {
        let own = ["10.0.0.1", "10.0.0.2"][router];
        let mut bench = Bench::on(none(router), vec![link(ETH0, "eth0", &[own])]);
        bench.give(Input::WallClock(Wall { at: Time::ZERO, unix_micros: EPOCH * 1_000_000 }));
        bench
    });
    talk(&mut routers, ms(10_000));
    use HmacMode::{Enforce, Permissive, ReceiveOnly};
    // From no seals to seals, from one key to another: one router after the other, never both at once.
    let steps: [(HmacMode, &[u8], u8); 6] = [
        (ReceiveOnly, &[1], 1),
        (Permissive, &[1], 1),
        (Enforce, &[1], 1),
        (Enforce, &[1, 2], 1),
        (Enforce, &[1, 2], 2),
        (Enforce, &[2], 2),
    ];
    for (mode, ids, active) in steps {
        for router in [1, 0] {
            let before = routers[1].view(0).counters.advert_rcvd;
            routers[router].reload(spec_of(router, mode, ids, active));
            talk(&mut routers, ms(5000));
            let what = format!("{mode:?} {ids:?} {active} on {router}");
            assert_eq!((routers[0].role(0), routers[1].role(0)), (Role::Master, Role::Backup), "{what}");
            assert!(routers[1].view(0).counters.advert_rcvd >= before + 5, "{what}");
            for router in &routers {
                assert!(router.view(0).counters.refused.is_empty(), "{what}: {:?}", router.view(0).counters.refused);
                assert_eq!(router.view(0).counters.become_master, u64::from(router.role(0) == Role::Master), "{what}");
            }
        }
    }
    // Who forgets the other's key hears nothing any more, and the wire has two masters.
    routers[1].reload(spec_of(1, Enforce, &[3], 3));
    talk(&mut routers, ms(10_000));
    assert_eq!(routers[1].role(0), Role::Master);
    assert!(routers[1].view(0).counters.auth_ext_unknown_key > 0);
}
