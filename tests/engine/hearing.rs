//! Who may speak: every check of a received advert, its counter, and that a refused advert changes nothing.

use crate::harness::*;
use std::net::IpAddr;
use vipd::engine::io::{Command, *};
use vipd::engine::snapshot::Counters;
use vipd::engine::spec::*;
use vipd::time::{Interval, Time};
use vipd::wire::auth::{self, Bound};
use vipd::wire::checksum::ChecksumRule;
use vipd::wire::{PROTOCOL_AH, Version, Vrid, frames};

/// Everything that an advert could have changed, counters apart.
fn standing(bench: &Bench) -> (Role, Interval, Option<(Time, Wake)>, String) {
    let view = bench.view(0);
    (view.state, view.master_interval, bench.engine.deadline(), format!("{:?}", view.master))
}

/// Gives `bytes` to a backup and to a master of `spec`, and wants them refused.
fn refused(what: &str, of: &InstanceSpec, meta: RxMeta, bytes: &[u8], why: Refusal, counter: fn(&Counters) -> u64) {
    for master in [false, true] {
        let mut bench = Bench::new(spec(vec![of.clone()]));
        if master {
            bench.until(at(4000));
            assert_eq!(bench.role(0), Role::Master);
        }
        bench.take();
        let before = standing(&bench);
        bench.hear_bytes(meta, bytes);
        assert_eq!(standing(&bench), before, "{what}, master {master}");
        let counters = bench.view(0).counters;
        assert_eq!(counters.refused.get(&why), Some(&1), "{what}: {:?}", counters.refused);
        assert_eq!(counter(&counters), 1, "{what}");
        let actions = bench.take();
        assert!(
            matches!(&actions[..], [Action::Report(Event::Refused { instance: Some(InstanceId(0)), why: told, .. })] if *told == why),
            "{what}: {actions:?}"
        );
        // Told once only.
        bench.hear_bytes(meta, bytes);
        assert_eq!(bench.take(), [], "{what}");
        assert_eq!(bench.view(0).counters.refused[&why], 2, "{what}");
    }
}

fn uncounted(_: &Counters) -> u64 {
    1
}

#[test]
fn every_check_in_turn() {
    let three = instance(1, 100);
    let two = v2(1, 100);
    let pass = InstanceSpec { auth: Auth::Pass(*b"secret\0\0"), ..v2(1, 100) };
    let good = |of: &InstanceSpec| Voice::of(of, "10.0.0.2", 200);
    let with = |of: &InstanceSpec, change: &dyn Fn(&mut Voice)| {
        let mut voice = good(of);
        change(&mut voice);
        voice
    };
    let table: Vec<(&str, &InstanceSpec, Voice, Refusal, fn(&Counters) -> u64)> = vec![
        ("TTL", &three, with(&three, &|v| v.ttl = 254), Refusal::Ttl, |c| c.ip_ttl_err),
        ("version 2 at 3", &three, with(&three, &|v| v.version = Version::V2), Refusal::Version, uncounted),
        ("version 3 at 2", &two, with(&two, &|v| v.version = Version::V3), Refusal::Version, uncounted),
        ("auth type 3", &two, with(&two, &|v| v.auth_type = 3), Refusal::AuthTypeInvalid, |c| c.invalid_authtype),
        ("PASS at none", &two, with(&two, &|v| v.auth_type = 1), Refusal::AuthTypeMismatch, |c| c.authtype_mismatch),
        ("none at PASS", &pass, good(&pass), Refusal::AuthTypeMismatch, |c| c.authtype_mismatch),
        (
            "wrong password",
            &pass,
            with(&pass, &|v| (v.auth_type, v.password) = (1, *b"secrets\0")),
            Refusal::AuthFailure,
            |c| c.auth_failure,
        ),
        ("interval", &two, with(&two, &|v| v.interval = ms(2000)), Refusal::AdvertInterval, |c| c.advert_interval_err),
        ("no interval", &three, with(&three, &|v| v.interval = ms(0)), Refusal::AdvertInterval, |c| {
            c.advert_interval_err
        }),
        ("unicast", &three, with(&three, &|v| v.to = ip("10.0.0.1")), Refusal::Destination, |c| c.addr_list_err),
    ];
    for (what, of, voice, why, counter) in &table {
        refused(what, of, voice.meta(), &voice.datagram(), *why, *counter);
    }
    for of in [&three, &two] {
        let voice = good(of);
        let mut wrong = voice.packet();
        wrong[6] ^= 1;
        refused("checksum", of, voice.meta(), &voice.wrap(&wrong), Refusal::Checksum, uncounted);
        let mut short = voice.packet();
        short.truncate(short.len() - 1);
        refused("short", of, voice.meta(), &voice.wrap(&short), Refusal::Length, |c| c.packet_len_err);
        let mut long = voice.packet();
        long.extend_from_slice(&[0; 4]);
        refused("long", of, voice.meta(), &voice.wrap(&long), Refusal::Length, |c| c.packet_len_err);
        let mut kind = voice.packet();
        kind[0] = kind[0] & 0xF0 | 2;
        refused("type", of, voice.meta(), &voice.wrap(&kind), Refusal::Type, |c| c.invalid_type_rcvd);
        let mut version = voice.packet();
        version[0] = 0x41;
        refused("version 4", of, voice.meta(), &voice.wrap(&version), Refusal::Version, uncounted);
        let mut total = voice.datagram();
        total[3] += 4;
        refused("total length", of, voice.meta(), &total, Refusal::Length, |c| c.packet_len_err);
    }
    let owner = InstanceSpec { owner_ignore_adverts: true, ..instance(1, 255) };
    let mut bench = Bench::new(spec(vec![owner.clone()]));
    bench.hear(&Voice::of(&owner, "10.0.0.2", 255));
    assert_eq!((bench.role(0), bench.view(0).counters.refused[&Refusal::OwnerIgnores]), (Role::Master, 1));
}

#[test]
fn ethernet_padding_is_not_an_error() {
    // IPv4 20 + 8 + 4 = 32 for version 3 with one address: a frame is filled up by 14; two VLAN tags leave 6.
    for (padding, accepted) in [(14, 1), (10, 1), (6, 1), (2, 1), (12, 0), (4, 0), (1, 0)] {
        let mut bench = Bench::new(spec(vec![instance(1, 100)]));
        let voice = Voice::of(&instance(1, 100), "10.0.0.2", 200);
        let mut bytes = voice.datagram();
        bytes.extend(std::iter::repeat_n(0, padding));
        bench.hear_bytes(voice.meta(), &bytes);
        assert_eq!(bench.view(0).counters.advert_rcvd, accepted, "{padding} bytes of padding");
    }
}

#[test]
fn strays_are_counted_and_told_with_measure() {
    let mut all = spec(vec![instance(1, 100)]);
    all.log_unknown_vrids = true;
    let mut bench = Bench::new(all);
    bench.take();
    let voice = Voice::of(&instance(9, 100), "10.0.0.2", 200);
    for _ in 0..5 {
        bench.hear(&voice);
    }
    bench.hear_bytes(voice.meta(), &[]);
    bench.hear_bytes(voice.meta(), &[0x45; 19]);
    let told: Vec<_> = events(&bench.take());
    let of = |why, vrid| Event::Refused { instance: None, from: voice.from, ifindex: ETH0, vrid, why };
    assert_eq!(told, [of(Refusal::UnknownVrid, Vrid::new(9)), of(Refusal::Truncated, None)]);
    let refused = bench.engine.snapshot(bench.now).refused;
    assert_eq!((refused[&Refusal::UnknownVrid], refused[&Refusal::Truncated]), (5, 2));
    // Another interface has another VRID 1.
    let mut elsewhere = Voice::of(&instance(1, 100), "10.1.0.2", 200);
    elsewhere.ifindex = ETH1;
    bench.hear(&elsewhere);
    assert_eq!(bench.view(0).counters, Counters::default());
}

#[test]
fn address_lists_are_compared_and_the_advert_still_counts() {
    let of = InstanceSpec { claim: claim(&["10.0.0.100", "10.0.0.101"]), ..instance(1, 100) };
    let lists: [(&[&str], u64); 5] = [
        (&["10.0.0.100", "10.0.0.101"], 0),
        (&["10.0.0.101", "10.0.0.100"], 0),
        (&["10.0.0.100"], 1),
        (&["10.0.0.100", "10.0.0.102"], 1),
        (&["10.0.0.100", "10.0.0.101", "10.0.0.102"], 1),
    ];
    for (list, errors) in lists {
        let mut bench = Bench::new(spec(vec![of.clone()]));
        bench.take();
        let mut voice = Voice::of(&of, "10.0.0.2", 200);
        voice.addresses = list.iter().map(|text| ip(text)).collect();
        bench.hear(&voice);
        bench.hear(&voice);
        let counters = bench.view(0).counters;
        assert_eq!((counters.advert_rcvd, counters.addr_list_err), (2, errors * 2), "{list:?}");
        assert_eq!(bench.take().len() as u64, errors, "told once");
    }
    // With skip_check_adv_addr a known sender's addresses are not looked at, their number still is.
    let skipping = InstanceSpec { skip_check_adv_addr: true, ..of.clone() };
    let mut bench = Bench::new(spec(vec![skipping.clone()]));
    let mut voice = Voice::of(&skipping, "10.0.0.2", 200);
    voice.addresses = vec![ip("10.0.0.100"), ip("10.0.0.102")];
    bench.hear(&voice);
    bench.hear(&voice);
    assert_eq!(bench.view(0).counters.addr_list_err, 1);
    voice.from = ip("10.0.0.3");
    bench.hear(&voice);
    assert_eq!(bench.view(0).counters.addr_list_err, 2);
}

#[test]
fn both_checksums_of_version_3_are_taken() {
    let of = instance(1, 100);
    let peer = unicast(1, 100, &["10.0.0.2"]);
    let never =
        InstanceSpec { checksum: Checksum { old_unicast: OldUnicast::Never, ..Checksum::default() }, ..peer.clone() };
    let rules = |voice: &Voice| {
        [
            ("plain", ChecksumRule::Plain),
            ("pseudo", ChecksumRule::pseudo(voice.from, voice.to)),
            ("old", ChecksumRule::old_unicast(voice.from)),
        ]
    };
    for (label, of, old_is_taken) in [("multicast", &of, true), ("unicast", &peer, true), ("never", &never, false)] {
        let voice = Voice::of(of, "10.0.0.2", 200);
        for (rule_label, rule) in rules(&voice) {
            let mut packet = voice.packet();
            packet[6..8].fill(0);
            let sum = rule.over(&packet).to_be_bytes();
            packet[6..8].copy_from_slice(&sum);
            let mut bench = Bench::new(spec(vec![of.clone()]));
            bench.hear_bytes(voice.meta(), &voice.wrap(&packet));
            let taken = u64::from(rule_label != "old" || old_is_taken);
            assert_eq!(bench.view(0).counters.advert_rcvd, taken, "{label} {rule_label}");
        }
    }
}

#[test]
fn an_old_peer_is_answered_in_its_own_way() {
    let mut of = unicast(1, 100, &["10.0.0.2", "10.0.0.3"]);
    of.source = Some(ip("10.0.0.1"));
    let voice = Voice::of(&of, "10.0.0.2", 200);
    let mut packet = voice.packet();
    packet[6..8].fill(0);
    let sum = ChecksumRule::old_unicast(voice.from).over(&packet).to_be_bytes();
    packet[6..8].copy_from_slice(&sum);
    let mut bench = Bench::new(spec(vec![of]));
    bench.hear_bytes(voice.meta(), &voice.wrap(&packet));
    bench.wait(ms(4000));
    let mut seen = 0;
    for action in bench.take() {
        let Action::Transmit(sent) = action else { continue };
        let payload = frames::ipv4(&sent.bytes).unwrap().payload;
        let old = sent.destination == ip("10.0.0.2");
        let rule = if old {
            ChecksumRule::old_unicast(sent.source)
        } else {
            ChecksumRule::pseudo(sent.source, sent.destination)
        };
        assert!(rule.holds(payload), "to {}", sent.destination);
        seen += 1;
    }
    assert_eq!(seen, 2);
}

#[test]
fn version_3_without_pseudo_header_when_asked() {
    let of = InstanceSpec { checksum: Checksum { v3_as_v2: true, ..Checksum::default() }, ..instance(1, 100) };
    let mut bench = Bench::new(spec(vec![of]));
    bench.until(at(4000));
    let sent =
        bench.take().into_iter().find_map(|action| if let Action::Transmit(t) = action { Some(t) } else { None });
    assert!(ChecksumRule::Plain.holds(frames::ipv4(&sent.unwrap().bytes).unwrap().payload));
}

#[test]
fn unicast_peers_and_their_ttl() {
    let mut of = unicast(1, 100, &["10.0.0.2", "10.0.0.3"]);
    let rcvd = |of: &InstanceSpec, from: &str, ttl: u8| {
        let mut bench = Bench::new(spec(vec![of.clone()]));
        let mut voice = Voice::of(of, from, 200);
        voice.ttl = ttl;
        bench.wait(ms(1000));
        let before = bench.engine.deadline();
        bench.hear(&voice);
        let counters = bench.view(0).counters;
        let accepted = bench.engine.deadline() != before;
        (accepted, counters.ip_ttl_err, counters.refused.get(&Refusal::UnknownPeer).copied().unwrap_or(0))
    };
    // Without checking anybody may speak, with any TTL.
    assert_eq!(rcvd(&of, "10.0.0.9", 3), (true, 0, 0));
    if let Transport::Unicast { peers, check_source, .. } = &mut of.transport {
        *check_source = true;
        (peers[0].min_ttl, peers[0].max_ttl) = (250, 254);
    }
    assert_eq!(rcvd(&of, "10.0.0.9", 255), (false, 0, 1));
    assert_eq!(rcvd(&of, "10.0.0.2", 252), (true, 0, 0));
    assert_eq!(rcvd(&of, "10.0.0.2", 255), (false, 1, 0));
    assert_eq!(rcvd(&of, "10.0.0.2", 249), (false, 1, 0));
    assert_eq!(rcvd(&of, "10.0.0.3", 1), (true, 0, 0));
}

#[test]
fn one_vrid_several_instances_told_apart() {
    let all = vec![
        instance(1, 100),
        unicast(1, 100, &["10.0.0.2"]),
        unicast(1, 100, &["10.0.0.3"]),
        InstanceSpec { transport: Transport::Multicast { group: ip("224.0.0.77") }, ..instance(1, 100) },
    ];
    let mut bench = Bench::new(spec(all.clone()));
    let heard = |bench: &Bench| -> Vec<u64> { (0..4).map(|index| bench.view(index).counters.advert_rcvd).collect() };
    bench.hear(&Voice::of(&all[0], "10.0.0.2", 200));
    assert_eq!(heard(&bench), [1, 0, 0, 0]);
    bench.hear(&Voice::of(&all[1], "10.0.0.2", 200));
    bench.hear(&Voice::of(&all[2], "10.0.0.3", 200));
    bench.hear(&Voice::of(&all[3], "10.0.0.3", 200));
    assert_eq!(heard(&bench), [1, 1, 1, 1]);
}

#[test]
fn unicast_without_an_interface() {
    let mut of = unicast(1, 100, &["10.0.0.2"]);
    (of.interface, of.source) = (None, Some(ip("192.0.2.1")));
    let mut bench = Bench::on(spec(vec![of.clone()]), Vec::new());
    let ports = bench.engine.ports();
    assert_eq!((ports[0].0.ifindex, ports[0].0.local), (None, Some(ip("192.0.2.1"))));
    let mut voice = Voice::of(&of, "10.0.0.2", 50);
    voice.ifindex = 77;
    bench.hear(&voice);
    assert_eq!(bench.view(0).counters.advert_rcvd, 1);
    bench.until(at(4000));
    assert_eq!(bench.role(0), Role::Master);
}

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
