//! Group 4: what is refused, and what is sent.

use super::bench::*;
use std::net::Ipv4Addr;
use vipd::spec::{Auth, InstanceSpec};
use vipd::time::Interval;
use vipd::vrrp::io::{Refusal, Role};
use vipd::wire::advert::{self};
use vipd::wire::checksum::ChecksumRule;
use vipd::wire::{Family, PROTOCOL_VRRP, Priority, Version, Vrid, frames};

/// A datagram that must be refused: the router counts it and takes over as if it had not come.
fn refused(spec: InstanceSpec, from: Ipv4Addr, ttl: u8, bytes: &[u8], why: Refusal) {
    let (mut backup, _) = Bench::new(spec);
    backup.after(Interval::from_secs(1));
    let left = backup.deadline();
    let seen = backup.hear(from, ttl, bytes);
    let snapshot = backup.engine.snapshot(backup.now);
    let counted = snapshot.instances[0].counters.refused.get(&why).or(snapshot.refused.get(&why));
    assert_eq!(counted, Some(&1), "not counted as {why:?}: {:?} {:?}", seen.refused, snapshot.refused);
    assert_eq!(snapshot.instances[0].counters.advert_rcvd, 0);
    assert_eq!(backup.deadline(), left, "{why:?} moved the timer");
    backup.after(left);
    assert_eq!(backup.role(), Role::Master, "{why:?}");
    // A master is not moved by it either.
    let seen = backup.hear(from, ttl, bytes);
    assert!(seen.adverts.is_empty() && backup.role() == Role::Master, "{why:?}");
}

#[test]
fn case_4_1_reception_of_invalid_ttl() {
    for version in VERSIONS {
        let spec = instance(version, 100);
        for ttl in [0, 1, 64, 254] {
            let mut bytes = other(&spec, HIGHER, 200, |_| ());
            bytes[8] = ttl;
            refused(spec.clone(), HIGHER, ttl, &bytes, Refusal::Ttl);
        }
    }
}

#[test]
fn case_4_2_reception_of_invalid_version() {
    for version in VERSIONS {
        let spec = instance(version, 100);
        for number in [0, 1, 4, 15, 5 - version.number()] {
            let bytes = other(&spec, HIGHER, 200, |body| body[0] = number << 4 | 1);
            let (mut backup, _) = Bench::new(spec.clone());
            backup.after(Interval::from_secs(1));
            let left = backup.deadline();
            backup.hear(HIGHER, 255, &bytes);
            assert_eq!(backup.deadline(), left, "version {number} was taken");
            let snapshot = backup.engine.snapshot(backup.now);
            assert_eq!(snapshot.instances[0].counters.advert_rcvd, 0);
            let all = snapshot.instances[0].counters.refused.values().chain(snapshot.refused.values());
            assert_eq!(all.sum::<u64>(), 1, "version {number} was not counted");
        }
    }
}

#[test]
fn case_4_3_reception_of_invalid_length() {
    for version in VERSIONS {
        let spec = instance(version, 100);
        let whole = other(&spec, HIGHER, 200, |_| ());
        refused(spec.clone(), HIGHER, 255, &whole[..whole.len() - 1], Refusal::Length);
        // The count says three addresses, the packet has one.
        let bytes = other(&spec, HIGHER, 200, |body| body[3] = 3);
        refused(spec.clone(), HIGHER, 255, &bytes, Refusal::Length);
        // Too short for a VRRP header: not even the VRID is there.
        let (mut backup, _) = Bench::new(spec);
        let left = backup.deadline();
        for length in 0..28 {
            backup.hear(HIGHER, 255, &whole[..length]);
        }
        assert_eq!(backup.deadline(), left);
        let snapshot = backup.engine.snapshot(backup.now);
        let counted: u64 = snapshot.refused.values().chain(snapshot.instances[0].counters.refused.values()).sum();
        assert_eq!(counted, 28, "{snapshot:?}");
    }
}

#[test]
fn case_4_4_reception_of_invalid_checksum() {
    for version in VERSIONS {
        let spec = instance(version, 100);
        let mut bytes = other(&spec, HIGHER, 200, |_| ());
        bytes[27] ^= 1;
        refused(spec, HIGHER, 255, &bytes, Refusal::Checksum);
    }
}

#[test]
fn case_4_5_reception_of_invalid_vrid() {
    for version in VERSIONS {
        let spec = instance(version, 100);
        for vrid in [6, 8, 255] {
            let bytes = other(&spec, HIGHER, 200, |body| body[1] = vrid);
            refused(spec.clone(), HIGHER, 255, &bytes, Refusal::UnknownVrid);
        }
    }
    assert_eq!(Vrid::new(0), None);
}

#[test]
fn case_4_6_reception_of_invalid_authentication() {
    let none = instance(Version::V2, 100);
    let mut pass = none.clone();
    pass.auth = Auth::Pass(*b"s3cret\0\0");
    let of_kind = |kind: u8| other(&none, HIGHER, 200, move |body| body[4] = kind);
    refused(none.clone(), HIGHER, 255, &of_kind(1), Refusal::AuthTypeMismatch);
    refused(none.clone(), HIGHER, 255, &of_kind(3), Refusal::AuthTypeInvalid);
    refused(pass.clone(), HIGHER, 255, &of_kind(0), Refusal::AuthTypeMismatch);
    let wrong = other(&pass, HIGHER, 200, |body| body[12] ^= 1);
    refused(pass.clone(), HIGHER, 255, &wrong, Refusal::AuthFailure);
    let (mut backup, _) = Bench::new(pass);
    backup.advert(HIGHER, 200);
    assert_eq!(backup.engine.snapshot(backup.now).instances[0].counters.advert_rcvd, 1, "the right one is taken");
}

#[test]
fn case_4_7_reception_of_invalid_advertisement_interval() {
    let second = instance(Version::V2, 100);
    let bytes = other(&second, HIGHER, 200, |body| body[5] = 2);
    refused(second, HIGHER, 255, &bytes, Refusal::AdvertInterval);
    // Version 3 does not refuse another interval, it learns it (RFC 9568 §6.4.2); none at all would be madness.
    let spec = instance(Version::V3, 100);
    let (mut backup, _) = Bench::new(spec.clone());
    let bytes = other(&spec, HIGHER, 200, |body| body[4..6].copy_from_slice(&200_u16.to_be_bytes()));
    backup.hear(HIGHER, 255, &bytes);
    let skewed = Interval::from_micros(2_000_000 * 156 / 256);
    assert_eq!(backup.deadline(), Interval::from_secs(6) + skewed);
    let bytes = other(&spec, HIGHER, 200, |body| body[4..6].copy_from_slice(&[0, 0]));
    refused(spec, HIGHER, 255, &bytes, Refusal::AdvertInterval);
}

#[test]
fn case_4_8_reception_of_unknown_type() {
    for version in VERSIONS {
        let spec = instance(version, 100);
        for kind in [0, 2, 15] {
            let bytes = other(&spec, HIGHER, 200, |body| body[0] = version.number() << 4 | kind);
            refused(spec.clone(), HIGHER, 255, &bytes, Refusal::Type);
        }
    }
}

#[test]
fn case_4_9_proper_transmission() {
    for version in VERSIONS {
        let (mut router, _) = Bench::new(instance(version, 100));
        let seen = router.go_master();
        let [transmit] = &seen.adverts[..] else { panic!("{seen:?}") };
        assert_eq!((transmit.instance, transmit.ifindex), (ONLY, 2));
        assert_eq!((transmit.source, transmit.destination), (OWN.into(), GROUP.into()));
        let ip = frames::ipv4(&transmit.bytes).unwrap();
        assert_eq!((ip.source, ip.destination, ip.ttl, ip.protocol), (OWN, GROUP, 255, PROTOCOL_VRRP));
        assert_eq!(ip.total_length, transmit.bytes.len());
        let said = advert::parse(ip.payload, Family::V4).unwrap();
        assert_eq!((said.version, said.kind), (version, 1));
        assert_eq!((said.vrid, said.priority), (Vrid::new(7).unwrap(), Priority(100)));
        assert_eq!(said.interval, Interval::from_secs(1));
        assert_eq!(said.addresses.iter().collect::<Vec<_>>(), [VIP]);
        let rule = match version {
            Version::V2 => ChecksumRule::Plain,
            Version::V3 => ChecksumRule::pseudo(OWN.into(), GROUP.into()),
        };
        assert!(rule.holds(said.body));
        assert!(said.surplus.is_empty());
        assert_eq!(said.password, (version == Version::V2).then_some([0; 8]));
    }
}
