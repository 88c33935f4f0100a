//! The codecs: whatever is written is read back, whatever bytes come nothing breaks, and known digests are met.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use vipd::time::Interval;
use vipd::wire::advert::{Head, Malformed, Saying, parse};
use vipd::wire::auth::{self, Bound, Trailer};
use vipd::wire::checksum::{ChecksumRule, internet};
use vipd::wire::{Family, Priority, Version, Vrid, frames};

fn address(family: Family) -> BoxedStrategy<IpAddr> {
    match family {
        Family::V4 => any::<[u8; 4]>().prop_map(|octets| IpAddr::V4(octets.into())).boxed(),
        Family::V6 => any::<[u8; 16]>().prop_map(|octets| IpAddr::V6(octets.into())).boxed(),
    }
}

#[derive(Clone, Debug)]
struct Said {
    family: Family,
    version: Version,
    vrid: u8,
    priority: u8,
    interval: Interval,
    auth_type: u8,
    password: [u8; 8],
    addresses: Vec<IpAddr>,
}

fn said() -> impl Strategy<Value = Said> {
    (any::<bool>(), any::<bool>()).prop_flat_map(|(six, three)| {
        let family = if six { Family::V6 } else { Family::V4 };
        let version = if three { Version::V3 } else { Version::V2 };
        let interval = if three {
            (0_u64..4096).prop_map(Interval::from_centis).boxed()
        } else {
            (0_u64..256).prop_map(Interval::from_secs).boxed()
        };
        let addresses = proptest::collection::vec(address(family), 0..256);
        let auth = if three { Just(0).boxed() } else { any::<u8>().boxed() };
        (1_u8..=255, any::<u8>(), interval, auth, any::<[u8; 8]>(), addresses).prop_map(
            move |(vrid, priority, interval, auth_type, password, addresses)| Said {
                family,
                version,
                vrid,
                priority,
                interval,
                auth_type,
                password,
                addresses,
            },
        )
    })
}

fn emit(said: &Said, rule: Option<ChecksumRule>) -> Vec<u8> {
    let saying = Saying {
        family: said.family,
        version: said.version,
        vrid: Vrid::new(said.vrid).unwrap(),
        priority: Priority(said.priority),
        interval: said.interval,
        auth_type: said.auth_type,
        password: said.password,
        addresses: &said.addresses,
    };
    let mut bytes = vec![0xAA; 3];
    saying.emit(rule, &mut bytes);
    bytes.split_off(3)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(said in said(), surplus in proptest::collection::vec(any::<u8>(), 0..40)) {
        let ends = (said.addresses.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), IpAddr::V4(Ipv4Addr::BROADCAST));
        for rule in [ChecksumRule::Plain, ChecksumRule::pseudo(ends.0, ends.1)] {
            let mut bytes = emit(&said, Some(rule));
            let length = bytes.len();
            bytes.extend_from_slice(&surplus);
            let read = parse(&bytes, said.family).unwrap();
            prop_assert_eq!(read.version, said.version);
            prop_assert_eq!(read.kind, 1);
            prop_assert_eq!(read.vrid.get(), said.vrid);
            prop_assert_eq!(read.priority, Priority(said.priority));
            prop_assert_eq!(read.auth_type, said.auth_type);
            prop_assert_eq!(read.interval, said.interval);
            prop_assert_eq!(read.addresses.iter().collect::<Vec<_>>(), &said.addresses[..]);
            prop_assert_eq!(read.addresses.len(), said.addresses.len());
            let with_password = said.version == Version::V2 && said.family == Family::V4;
            prop_assert_eq!(read.password, with_password.then_some(said.password));
            prop_assert_eq!((read.body.len(), read.surplus), (length, &surplus[..]));
            prop_assert!(rule.holds(read.body));
            // Any single bit that flips is noticed.
            let mut broken = read.body.to_vec();
            let at = usize::from(said.priority) % broken.len();
            broken[at] ^= 1 << (said.vrid % 8);
            prop_assert!(!rule.holds(&broken));
        }
    }

    #[test]
    fn no_bytes_break_a_reader(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        for family in [Family::V4, Family::V6] {
            if let Ok(advert) = parse(&bytes, family) {
                prop_assert_eq!(advert.body.len() + advert.surplus.len(), bytes.len());
                prop_assert_eq!(advert.addresses.iter().count(), advert.addresses.len());
                let _ = (0..60).any(|before| advert.padding_is_plausible(before));
            }
        }
        prop_assert_eq!(Head::read(&bytes).is_some(), bytes.len() >= 8);
        if let Ok(ip) = frames::ipv4(&bytes) {
            prop_assert_eq!(ip.header.len() + ip.payload.len(), bytes.len());
        }
        let _ = (auth::read_ah(&bytes), Trailer::read(&bytes));
        let (front, back) = bytes.split_at(bytes.len() / 2);
        prop_assert!(!auth::verify_ah(front, back, b"password", true));
        let bound = Bound { version: Version::V3, vrid: Vrid::new(1).unwrap(), source: IpAddr::V6(Ipv6Addr::LOCALHOST) };
        prop_assert!(!auth::verify_trailer(bound, b"key", front, back));
        let mut copy = bytes.clone();
        auth::seal_ah(&mut copy, b"password", 7, false);
        frames::set_ipv4_id(&mut copy, 7);
    }

    #[test]
    fn an_ipv4_header_is_read_back(source in any::<[u8; 4]>(), to in any::<[u8; 4]>(), ttl in any::<u8>(), id in any::<u16>(), new in any::<u16>(), length in 0_usize..1400) {
        let mut bytes = frames::ipv4_header(source.into(), to.into(), 112, ttl, id, length).to_vec();
        bytes.resize(20 + length, 7);
        for id in [id, new] {
            frames::set_ipv4_id(&mut bytes, id);
            let read = frames::ipv4(&bytes).unwrap();
            prop_assert_eq!((read.source.octets(), read.destination.octets(), read.ttl, read.id), (source, to, ttl, id));
            prop_assert_eq!((read.protocol, read.total_length, read.payload.len()), (112, 20 + length, length));
            prop_assert_eq!(internet(read.header), 0);
            prop_assert_eq!(read.header[1], 0xC0);
            prop_assert_eq!(read.header[6..8].to_vec(), vec![0, 0]);
        }
    }

    #[test]
    fn seals_hold_and_break(said in said(), key in proptest::collection::vec(any::<u8>(), 1..100), sequence in any::<u64>(), flip in any::<u16>()) {
        let advert = emit(&said, None);
        let source = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
        let bound = Bound { version: said.version, vrid: Vrid::new(said.vrid).unwrap(), source };
        let trailer = auth::seal_trailer(bound, 9, &key, sequence, &advert);
        prop_assert!(auth::verify_trailer(bound, &key, &advert, &trailer));
        let read = Trailer::read(&trailer).unwrap();
        prop_assert_eq!((read.kind, read.key, read.reserved, read.sequence), (1, 9, 0, sequence));
        // The checksum is written by the kernel after the seal; everything else is covered.
        let mut touched = advert.clone();
        let at = usize::from(flip) % touched.len();
        touched[at] ^= 0x10;
        prop_assert_eq!(auth::verify_trailer(bound, &key, &touched, &trailer), (6..8).contains(&at));
        let elsewhere = Bound { source: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), ..bound };
        prop_assert!(!auth::verify_trailer(elsewhere, &key, &advert, &trailer));
    }
}

#[test]
fn malformed_is_named() {
    let table: [(&[u8], Malformed); 5] = [
        (&[0x31, 1, 100], Malformed::Truncated { have: 3, need: 8 }),
        (&[0x41, 1, 100, 0, 0, 100, 0, 0], Malformed::Version(4)),
        (&[0x31, 0, 100, 0, 0, 100, 0, 0], Malformed::Vrid),
        (&[0x31, 1, 100, 1, 0, 100, 0, 0], Malformed::Length { have: 8, need: 12 }),
        (&[0x21, 1, 100, 0, 0, 1, 0, 0], Malformed::Length { have: 8, need: 16 }),
    ];
    for (bytes, wanted) in table {
        assert_eq!(parse(bytes, Family::V4), Err(wanted));
    }
    assert_eq!(frames::ipv4(&[0x45; 8]), Err(Malformed::Truncated { have: 8, need: 20 }));
    assert_eq!(frames::ipv4(&[0x65; 20]), Err(Malformed::IpHeader));
    assert_eq!(frames::ipv4(&[0x44; 20]), Err(Malformed::IpHeader));
    assert_eq!(frames::ipv4(&[0x4F; 20]), Err(Malformed::Truncated { have: 20, need: 60 }));
}

#[test]
fn checksums_of_the_books() {
    // RFC 1071 §3.
    assert_eq!(internet(&[0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7]), !0xDDF2);
    assert_eq!(internet(&[0xFF]), !0xFF00);
    assert_eq!(internet(&[]), 0xFFFF);
    // Long enough for the carry to overflow more than once.
    assert_eq!(internet(&[0xFF; 65_536]), 0);
}

/// The trailer against a digest made elsewhere:
/// Python's hmac and hashlib, over pseudo header, advert with zero checksum, trailer
/// with zero digest.
#[test]
fn a_trailer_made_elsewhere() {
    let advert = [0x31, 51, 100, 1, 0, 100, 0xAB, 0xCD, 192, 0, 2, 100];
    let bound = Bound { version: Version::V3, vrid: Vrid::new(51).unwrap(), source: "192.0.2.1".parse().unwrap() };
    let trailer = auth::seal_trailer(bound, 1, b"secret", 0x6553_F100_8000_0001, &advert);
    assert_eq!(trailer[..12], [1, 1, 0, 0, 0x65, 0x53, 0xF1, 0x00, 0x80, 0x00, 0x00, 0x01]);
    let digest: String = trailer[12..].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, "9d56003892b7b6c7bb0967714c66baff");
}

#[test]
fn sequences() {
    assert_eq!(auth::clock_sequence(1_700_000_000_500_000), 0x6553_F100_8000_0000);
    for (a, b, after) in [(2, 1, true), (1, 1, false), (1, 2, false), (0, u64::MAX, true), (u64::MAX, 0, false)] {
        assert_eq!(auth::comes_after(a, b), after, "{a} after {b}");
    }
}
