//! Against captures of real keepalived: the same configuration gives the same bytes, and what it sends is understood.

use crate::harness::*;
use std::fs;
use std::net::IpAddr;
use vipd::spec::*;
use vipd::vrrp::io::{Action, Command, Input};
use vipd::wire::advert::parse;
use vipd::wire::checksum::ChecksumRule;
use vipd::wire::{Family, Version, frames};

/// Ethernet frames of a classic little-endian pcap file.
fn frames_of(case: &str) -> Vec<Vec<u8>> {
    let bytes = fs::read(format!("{}/tests/golden/{case}/sent.pcap", env!("CARGO_MANIFEST_DIR"))).unwrap();
    assert_eq!(bytes[..4], 0xA1B2_C3D4_u32.to_le_bytes(), "{case}: not a classic pcap file");
    let mut frames = Vec::new();
    let mut rest = &bytes[24..];
    while rest.len() >= 16 {
        let length = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        frames.push(rest[16..16 + length].to_vec());
        rest = &rest[16 + length..];
    }
    assert!(!frames.is_empty(), "{case}: empty");
    frames
}

/// A captured advert: its datagram in the engine's form (IPv4 with header, IPv6 payload) and its ends.
struct Captured {
    from: IpAddr,
    to: IpAddr,
    ttl: u8,
    bytes: Vec<u8>,
}

fn adverts_of(case: &str) -> Vec<Captured> {
    let advert = |frame: &Vec<u8>| -> Option<Captured> {
        match frame[12..14] {
            [0x08, 0x00] => {
                let ip = frames::ipv4(&frame[14..]).unwrap();
                let bytes = frame[14..14 + ip.total_length].to_vec();
                matches!(ip.protocol, 112 | 51).then_some(Captured {
                    from: ip.source.into(),
                    to: ip.destination.into(),
                    ttl: ip.ttl,
                    bytes,
                })
            }
            [0x86, 0xDD] if frame[20] == 112 => {
                let of = |range: std::ops::Range<usize>| IpAddr::from(<[u8; 16]>::try_from(&frame[range]).unwrap());
                let length = usize::from(u16::from_be_bytes([frame[18], frame[19]]));
                Some(Captured {
                    from: of(22..38),
                    to: of(38..54),
                    ttl: frame[21],
                    bytes: frame[54..54 + length].to_vec(),
                })
            }
            _ => None,
        }
    };
    frames_of(case).iter().filter_map(advert).collect()
}

fn golden(id: u8, priority: u8, addresses: &[&str], more: impl FnOnce(&mut InstanceSpec)) -> InstanceSpec {
    let mut spec = InstanceSpec { claim: claim(addresses), ..instance(id, priority) };
    more(&mut spec);
    spec
}

/// The configuration of each case, as the language gives it.
fn cases() -> Vec<(&'static str, InstanceSpec)> {
    let peers = |list: &[&str]| Transport::Unicast {
        peers: list.iter().map(|text| Peer { address: ip(text), min_ttl: 0, max_ttl: 255 }).collect(),
        ttl: None,
        check_source: false,
    };
    let one = ["192.0.2.100"];
    vec![
        ("v2", golden(51, 150, &one, |s| s.version = Version::V2)),
        ("v2-pass", golden(52, 101, &one, |s| (s.version, s.auth) = (Version::V2, Auth::Pass(*b"s3cret\0\0")))),
        (
            "v2-ah",
            golden(53, 102, &["192.0.2.100", "192.0.2.101"], |s| {
                (s.version, s.auth) = (Version::V2, Auth::Ah(*b"s3cret\0\0"));
            }),
        ),
        (
            "v2-ah-unicast",
            golden(54, 102, &one, |s| {
                (s.version, s.auth, s.transport) = (Version::V2, Auth::Ah(*b"12345678"), peers(&["192.0.2.2"]));
                s.source = Some(ip("192.0.2.1"));
            }),
        ),
        (
            "v2-many",
            golden(56, 254, &["192.0.2.100", "192.0.2.101", "198.51.100.1", "203.0.113.7", "10.0.0.1"], |s| {
                (s.version, s.interval) = (Version::V2, ms(2000));
            }),
        ),
        ("v3", golden(61, 150, &one, |s| s.interval = ms(500))),
        ("v3-many", golden(62, 255, &["192.0.2.100", "192.0.2.101", "198.51.100.1"], |s| s.interval = ms(1250))),
        (
            "v3-unicast",
            golden(63, 100, &one, |s| {
                (s.interval, s.transport) = (ms(500), peers(&["192.0.2.2", "192.0.2.3"]));
                s.source = Some(ip("192.0.2.1"));
            }),
        ),
        // The folder v3-as-v2 is left out: keepalived 2.2.7 does not know the keyword and sends the usual checksum.
        (
            "v3-old-unicast",
            golden(65, 100, &one, |s| {
                (s.interval, s.transport) = (ms(500), peers(&["192.0.2.2"]));
                (s.source, s.checksum.old_unicast) = (Some(ip("192.0.2.1")), OldUnicast::Always);
            }),
        ),
        (
            "v3-ipv6",
            golden(66, 150, &["fe80::100", "2001:db8::100"], |s| {
                (s.family, s.interval) = (Family::V6, ms(500));
                s.transport = Transport::Multicast { group: ip("ff02::12") };
            }),
        ),
        (
            "v3-ipv6-unicast",
            golden(67, 120, &["2001:db8::100"], |s| {
                (s.family, s.interval, s.transport) = (Family::V6, ms(500), peers(&["2001:db8::2"]));
                s.source = Some(ip("2001:db8::1"));
            }),
        ),
    ]
}

#[test]
fn every_advert_is_what_keepalived_sends() {
    for (case, spec_of_case) in cases() {
        let wanted = adverts_of(case);
        assert!(wanted.len() >= 2, "{case}: {} adverts", wanted.len());
        let eth0 = link(ETH0, "eth0", &["192.0.2.1", "fe80::1", "2001:db8::1"]);
        let mut bench = Bench::on(spec(vec![spec_of_case.clone()]), vec![eth0]);
        let copies = match &spec_of_case.transport {
            Transport::Unicast { peers, .. } => peers.len(),
            Transport::Multicast { .. } => 1,
        };
        // Copies to a peer that was not in the neighbour table are missing or late in a capture, hence "same
        // destination, in order".
        let rounds = wanted.iter().filter(|advert| advert.to == wanted[0].to).count();
        let mut sent = Vec::new();
        while sent.len() < (rounds - 1) * copies {
            let (due, _) = bench.engine.deadline().unwrap();
            bench.until(due);
            sent.extend(bench.take().into_iter().filter_map(transmit));
        }
        bench.give(Input::Command(Command::Stop { release: true }));
        sent.extend(bench.take().into_iter().filter_map(transmit));
        let destinations: std::collections::BTreeSet<IpAddr> = wanted.iter().map(|advert| advert.to).collect();
        for to in destinations {
            let theirs: Vec<&Captured> = wanted.iter().filter(|advert| advert.to == to).collect();
            let ours: Vec<_> = sent.iter().filter(|transmit| transmit.destination == to).collect();
            for (number, captured) in theirs.iter().enumerate() {
                // The last advert of a capture is the one with priority 0, whatever was lost before it.
                let transmit = if number + 1 == theirs.len() { ours[ours.len() - 1] } else { ours[number] };
                let mut bytes = captured.bytes.clone();
                if spec_of_case.family == Family::V6 {
                    assert!(
                        ChecksumRule::pseudo(captured.from, captured.to).holds(&bytes),
                        "{case}: checksum of advert {number}"
                    );
                    bytes[6..8].fill(0);
                }
                assert_eq!(transmit.source, captured.from, "{case}: source of advert {number} to {to}");
                assert_eq!(transmit.bytes[..], bytes[..], "{case}: advert {number} to {to}");
                assert!(transmit.ttl.is_none_or(|ttl| ttl == captured.ttl), "{case}: hop limit {}", captured.ttl);
            }
        }
    }
}

fn transmit(action: Action) -> Option<vipd::vrrp::io::Transmit> {
    if let Action::Transmit(transmit) = action { Some(transmit) } else { None }
}

#[test]
fn a_backup_takes_what_keepalived_sends() {
    for (case, mut spec_of_case) in cases() {
        let other = if spec_of_case.family == Family::V4 { "192.0.2.2" } else { "fe80::2" };
        spec_of_case.priority = vipd::wire::Priority(10);
        spec_of_case.source =
            spec_of_case.source.map(|_| ip(if other.contains(':') { "2001:db8::2" } else { "192.0.2.2" }));
        if let Transport::Unicast { peers, .. } = &mut spec_of_case.transport {
            peers[0].address = ip(if other.contains(':') { "2001:db8::1" } else { "192.0.2.1" });
        }
        let own: Vec<String> = spec_of_case.source.iter().map(ToString::to_string).collect();
        let own: Vec<&str> = own.iter().map(String::as_str).chain([other]).collect();
        let mut bench = Bench::on(spec(vec![spec_of_case]), vec![link(ETH0, "eth0", &own)]);
        let mut zero = 0;
        let captured = adverts_of(case);
        for advert in &captured {
            bench.wait(ms(100));
            let meta = vipd::vrrp::io::RxMeta {
                ifindex: ETH0,
                source: advert.from,
                destination: advert.to,
                ttl: Some(advert.ttl),
            };
            bench.hear_bytes(meta, &advert.bytes);
            let packet = if advert.from.is_ipv4() {
                let ip = frames::ipv4(&advert.bytes).unwrap();
                if ip.protocol == 51 { &ip.payload[24..] } else { ip.payload }
            } else {
                &advert.bytes
            };
            let read = parse(packet, Family::of(&advert.from)).unwrap();
            zero += u64::from(read.priority.0 == 0);
        }
        let counters = bench.view(0).counters;
        // A second peer's copy of the same AH or IP id is not replayed here: every copy counts.
        assert_eq!(counters.advert_rcvd, captured.len() as u64, "{case}: {counters:?}");
        assert_eq!(counters.pri_zero_rcvd, zero, "{case}");
        assert!(zero > 0, "{case}: no priority 0 in the capture");
        assert_eq!(counters.addr_list_err, 0, "{case}");
        assert!(counters.refused.is_empty(), "{case}: {:?}", counters.refused);
    }
}

#[test]
fn announcements_are_byte_for_byte_keepalived_s() {
    let mac = [2, 0, 0, 0, 0, 1];
    let (mut arps, mut advertisements) = (0, 0);
    for case in ["v2", "v3-many", "v3-ipv6", "v3-ipv6-unicast"] {
        for frame in frames_of(case) {
            match frame[12..14] {
                [0x08, 0x06] if frame[..6] == [0xFF; 6] && frame[28..32] == frame[38..42] => {
                    let address: [u8; 4] = frame[28..32].try_into().unwrap();
                    assert_eq!(frame[..42], frames::gratuitous_arp(mac, address.into())[..], "{case}");
                    arps += 1;
                }
                [0x86, 0xDD] if frame[20] == 58 && frame[..6] == [0x33, 0x33, 0, 0, 0, 1] => {
                    let address: [u8; 16] = frame[22..38].try_into().unwrap();
                    assert_eq!(frame[..], frames::unsolicited_na(mac, address.into(), false)[..], "{case}");
                    advertisements += 1;
                }
                _ => {}
            }
        }
    }
    assert!(arps > 4 && advertisements > 4, "{arps} ARPs, {advertisements} neighbour advertisements");
}

#[test]
fn frr_is_understood() {
    for (case, version) in [("frr-v2", Version::V2), ("frr-v3", Version::V3)] {
        for advert in adverts_of(case) {
            let ipv4 = matches!(advert.from, IpAddr::V4(_));
            let packet = if ipv4 { frames::ipv4(&advert.bytes).unwrap().payload } else { &advert.bytes };
            let read = parse(packet, Family::of(&advert.from)).unwrap();
            assert_eq!(read.vrid.get(), 5, "{case}");
            if ipv4 {
                assert_eq!(read.version, version, "{case}");
                let plain = ChecksumRule::Plain.holds(read.body);
                let pseudo = ChecksumRule::pseudo(advert.from, advert.to).holds(read.body);
                assert!(plain || pseudo, "{case}: a checksum of a third kind");
            }
        }
    }
}
