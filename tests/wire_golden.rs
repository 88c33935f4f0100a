//! Packets of real keepalived and FRR (`tests/golden`, made by `capture.sh` there) against `wire`: what is read from
//! them is what their configuration says, their checksums hold under the expected rule and under no other, and the
//! same facts make the same bytes.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use vipd::time::Interval;
use vipd::wire::advert::{self, Advert, Saying};
use vipd::wire::checksum::ChecksumRule;
use vipd::wire::{Family, PROTOCOL_AH, PROTOCOL_VRRP, Priority, Version, Vrid, auth, frames};

const SENDER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const GROUP4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Frames of a capture, in order.
fn frames_of(case: &str) -> Vec<Vec<u8>> {
    let path = format!("{}/tests/golden/{case}/sent.pcap", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(file[..4], [0xD4, 0xC3, 0xB2, 0xA1], "{path} is not a little-endian pcap");
    let mut frames = Vec::new();
    let mut rest = &file[24..];
    while rest.len() >= 16 {
        let length = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        frames.push(rest[16..16 + length].to_vec());
        rest = &rest[16 + length..];
    }
    frames
}

fn ether_type(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[12], frame[13]])
}

/// IPv4 datagrams of VRRP (or AH) in a capture.
fn datagrams(case: &str) -> Vec<Vec<u8>> {
    let control = |p: u8| p == PROTOCOL_VRRP || p == PROTOCOL_AH;
    frames_of(case)
        .into_iter()
        .filter(|f| ether_type(f) == 0x0800 && control(f[23]))
        .map(|f| f[14..].to_vec())
        .collect()
}

/// IPv6 datagrams of VRRP: source, destination, hop limit, payload.
fn datagrams6(case: &str) -> Vec<(Ipv6Addr, Ipv6Addr, u8, Vec<u8>)> {
    let six = |f: &Vec<u8>| ether_type(f) == 0x86DD && f[20] == PROTOCOL_VRRP;
    let read = |f: Vec<u8>| {
        let address = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&f[at..at + 16]).unwrap());
        (address(22), address(38), f[21], f[54..].to_vec())
    };
    frames_of(case).into_iter().filter(six).map(read).collect()
}

struct Expected {
    case: &'static str,
    version: Version,
    vrid: u8,
    priority: u8,
    interval: Interval,
    auth_type: u8,
    password: &'static [u8],
    addresses: Vec<IpAddr>,
}

fn v4(last: [u8; 4]) -> IpAddr {
    IpAddr::V4(last.into())
}

impl Expected {
    fn new(case: &'static str, version: Version, vrid: u8, priority: u8, interval: Interval) -> Expected {
        let addresses = vec![v4([192, 0, 2, 100])];
        Expected { case, version, vrid, priority, interval, auth_type: 0, password: b"", addresses }
    }

    fn password(&self) -> [u8; 8] {
        let mut padded = [0; 8];
        padded[..self.password.len()].copy_from_slice(self.password);
        padded
    }

    fn check(&self, advert: &Advert<'_>) {
        let case = self.case;
        assert_eq!(advert.version, self.version, "{case}");
        assert_eq!(advert.kind, 1, "{case}");
        assert_eq!(advert.vrid, Vrid::new(self.vrid).unwrap(), "{case}");
        assert_eq!(advert.interval, self.interval, "{case}");
        assert_eq!(advert.auth_type, self.auth_type, "{case}");
        assert_eq!(advert.addresses.iter().collect::<Vec<_>>(), self.addresses, "{case}");
        assert!(advert.priority == Priority(self.priority) || advert.priority == Priority(0), "{case}");
        assert!(advert.surplus.is_empty(), "{case}");
        match (self.version, Family::of(&self.addresses[0])) {
            (Version::V2, Family::V4) => assert_eq!(advert.password, Some(self.password()), "{case}"),
            _ => assert_eq!(advert.password, None, "{case}"),
        }
    }

    fn saying(&self, priority: Priority) -> Saying<'_> {
        Saying {
            family: Family::of(&self.addresses[0]),
            version: self.version,
            vrid: Vrid::new(self.vrid).unwrap(),
            priority,
            interval: self.interval,
            auth_type: self.auth_type,
            password: self.password(),
            addresses: &self.addresses,
        }
    }
}

/// All adverts of one IPv4 capture without AH.
fn check_v4(expected: &Expected, destination: Ipv4Addr, ttl: u8, rule: ChecksumRule, wrong: &[ChecksumRule]) {
    let case = expected.case;
    let packets = datagrams(case);
    assert!(packets.len() >= 3, "{case}: {} adverts", packets.len());
    for (number, packet) in packets.iter().enumerate() {
        let ip = frames::ipv4(packet).unwrap();
        assert_eq!(
            (ip.source, ip.destination, ip.ttl, ip.protocol),
            (SENDER, destination, ttl, PROTOCOL_VRRP),
            "{case}"
        );
        assert_eq!(ip.total_length, packet.len(), "{case}");
        let advert = advert::parse(ip.payload, Family::V4).unwrap();
        expected.check(&advert);
        let leaving = number + 1 == packets.len();
        assert_eq!(advert.priority, Priority(if leaving { 0 } else { expected.priority }), "{case}: {number}");
        assert!(rule.holds(advert.body), "{case}: checksum");
        wrong.iter().for_each(|rule| assert!(!rule.holds(advert.body), "{case}: holds under {rule:?} too"));
        let mut own = Vec::new();
        expected.saying(advert.priority).emit(Some(rule), &mut own);
        assert_eq!(own, advert.body, "{case}: other bytes than the real ones");
        let mut datagram = frames::ipv4_header(SENDER, destination, PROTOCOL_VRRP, ttl, 0, ip.payload.len()).to_vec();
        datagram.extend_from_slice(&own);
        frames::set_ipv4_id(&mut datagram, ip.id);
        // FRR lets the kernel make the header: Don't Fragment is set there, and that is no business of VRRP.
        if !case.starts_with("frr") {
            assert_eq!(datagram, *packet, "{case}: other header");
        }
    }
}

fn pseudo(destination: Ipv4Addr) -> ChecksumRule {
    ChecksumRule::pseudo(SENDER.into(), destination.into())
}

#[test]
fn v2_over_ipv4() {
    let second = Interval::from_secs(1);
    let plain = Expected::new("v2", Version::V2, 51, 150, second);
    check_v4(&plain, GROUP4, 255, ChecksumRule::Plain, &[pseudo(GROUP4)]);
    let unicast = Expected::new("v2-unicast", Version::V2, 55, 90, second);
    check_v4(&unicast, PEER, 64, ChecksumRule::Plain, &[pseudo(PEER)]);
    let mut many = Expected::new("v2-many", Version::V2, 56, 254, Interval::from_secs(2));
    many.addresses =
        [[192, 0, 2, 100], [192, 0, 2, 101], [198, 51, 100, 1], [203, 0, 113, 7], [10, 0, 0, 1]].map(v4).to_vec();
    check_v4(&many, GROUP4, 255, ChecksumRule::Plain, &[pseudo(GROUP4)]);
    let mut pass = Expected::new("v2-pass", Version::V2, 52, 101, second);
    (pass.auth_type, pass.password) = (advert::AUTH_PASS, b"s3cret");
    check_v4(&pass, GROUP4, 255, ChecksumRule::Plain, &[pseudo(GROUP4)]);
    let mut frr = Expected::new("frr-v2", Version::V2, 5, 180, second);
    frr.addresses = vec![v4([192, 0, 2, 50])];
    check_v4(&frr, GROUP4, 255, ChecksumRule::Plain, &[pseudo(GROUP4)]);
}

#[test]
fn v3_over_ipv4() {
    let half = Interval::from_millis(500);
    let plain = Expected::new("v3", Version::V3, 61, 150, half);
    check_v4(&plain, GROUP4, 255, pseudo(GROUP4), &[ChecksumRule::Plain, pseudo(PEER)]);
    let mut many = Expected::new("v3-many", Version::V3, 62, 255, Interval::from_millis(1250));
    many.addresses = [[192, 0, 2, 100], [192, 0, 2, 101], [198, 51, 100, 1]].map(v4).to_vec();
    check_v4(&many, GROUP4, 255, pseudo(GROUP4), &[ChecksumRule::Plain]);
    let unicast = Expected::new("v3-unicast", Version::V3, 63, 100, half);
    check_v4(&unicast, PEER, 255, pseudo(PEER), &[ChecksumRule::Plain, pseudo(GROUP4)]);
    let old = Expected::new("v3-old-unicast", Version::V3, 65, 100, half);
    check_v4(&old, PEER, 255, ChecksumRule::old_unicast(SENDER.into()), &[ChecksumRule::Plain, pseudo(PEER)]);
    let mut frr = Expected::new("frr-v3", Version::V3, 5, 180, half);
    frr.addresses = vec![v4([192, 0, 2, 50])];
    check_v4(&frr, GROUP4, 255, pseudo(GROUP4), &[ChecksumRule::Plain]);
}

#[test]
fn v3_over_ipv6() {
    let half = Interval::from_millis(500);
    let low = |n: u16| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, n);
    let doc = |n: u16| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n);
    let cases = [
        ("v3-ipv6", 66, 150, low(1), GROUP6, vec![low(0x100), doc(0x100)]),
        ("v3-ipv6-unicast", 67, 120, doc(1), doc(2), vec![doc(0x100)]),
        ("frr-v3", 5, 180, low(0x50), GROUP6, vec![low(0x50), doc(0x50)]),
    ];
    for (case, vrid, priority, source, destination, addresses) in cases {
        let mut expected = Expected::new(case, Version::V3, vrid, priority, half);
        expected.addresses = addresses.into_iter().map(IpAddr::V6).collect();
        let packets = datagrams6(case);
        assert!(packets.len() >= 3, "{case}");
        let rule = ChecksumRule::pseudo(source.into(), destination.into());
        for (number, (from, to, hops, payload)) in packets.iter().enumerate() {
            assert_eq!((*from, *to), (source, destination), "{case}");
            assert!(destination != GROUP6 || *hops == 255, "{case}: hop limit {hops}");
            let advert = advert::parse(payload, Family::V6).unwrap();
            expected.check(&advert);
            let leaving = number + 1 == packets.len();
            assert_eq!(advert.priority, Priority(if leaving { 0 } else { priority }), "{case}");
            assert!(rule.holds(payload), "{case}: checksum");
            assert!(!ChecksumRule::Plain.holds(payload), "{case}");
            let mut own = Vec::new();
            expected.saying(advert.priority).emit(Some(rule), &mut own);
            assert_eq!(own, *payload, "{case}: other bytes than the real ones");
        }
    }
}

/// keepalived's AH: the digest verifies with the right key only, and sealing the same facts gives the same packet.
#[test]
fn v2_with_ah() {
    let mut multicast = Expected::new("v2-ah", Version::V2, 53, 102, Interval::from_secs(1));
    multicast.addresses.push(v4([192, 0, 2, 101]));
    let unicast = Expected::new("v2-ah-unicast", Version::V2, 54, 102, Interval::from_secs(1));
    let cases = [(multicast, GROUP4, *b"s3cret\0\0", false), (unicast, PEER, *b"12345678", true)];
    for (mut expected, destination, key, unicast) in cases {
        expected.auth_type = advert::AUTH_AH;
        let case = expected.case;
        let packets = datagrams(case);
        assert!(packets.len() >= 3, "{case}");
        for (number, packet) in packets.iter().enumerate() {
            let ip = frames::ipv4(packet).unwrap();
            assert_eq!((ip.source, ip.destination, ip.protocol), (SENDER, destination, PROTOCOL_AH), "{case}");
            let (ah, payload) = auth::read_ah(ip.payload).unwrap();
            let sequence = number as u32 + 1;
            assert_eq!(ah, auth::Ah { next: PROTOCOL_VRRP, spi: SENDER.octets(), sequence }, "{case}");
            expected.check(&advert::parse(payload, Family::V4).unwrap());
            assert!(auth::verify_ah(ip.header, ip.payload, &key, unicast), "{case}: digest {number}");
            assert!(!auth::verify_ah(ip.header, ip.payload, b"s3creT\0\0", unicast), "{case}: any key will do");
            for at in 0..ip.payload.len() {
                let mut damaged = ip.payload.to_vec();
                damaged[at] ^= 0x40;
                assert!(!auth::verify_ah(ip.header, &damaged, &key, unicast), "{case}: byte {at} is not covered");
            }
            let mut body = Vec::new();
            let advert = advert::parse(payload, Family::V4).unwrap();
            expected.saying(advert.priority).emit(Some(ChecksumRule::Plain), &mut body);
            let length = auth::AH_HEAD + body.len();
            let mut own = frames::ipv4_header(SENDER, destination, PROTOCOL_AH, 255, 0, length).to_vec();
            own.extend_from_slice(&auth::ah_head(SENDER.octets(), 0));
            own.extend_from_slice(&body);
            frames::set_ipv4_id(&mut own, ip.id);
            auth::seal_ah(&mut own, &key, sequence, unicast);
            assert_eq!(own, *packet, "{case}: other bytes than the real ones");
        }
    }
}

/// Announcements are the same frames, byte by byte, and one for each address in each round.
#[test]
fn gratuitous_arp_and_neighbour_advertisements() {
    for (case, rounds) in [("v2", 4), ("v2-many", 4), ("v3", 4), ("v3-many", 4), ("v2-pass", 4)] {
        let gratuitous = |f: &&Vec<u8>| ether_type(f) == 0x0806 && f[28..32] == f[38..42];
        let all = frames_of(case);
        let arps: Vec<_> = all.iter().filter(gratuitous).collect();
        let count = match case {
            "v2-many" => 6,
            "v3-many" => 3,
            _ => 1,
        };
        assert_eq!(arps.len(), rounds * count, "{case}");
        for frame in arps {
            let address = Ipv4Addr::new(frame[28], frame[29], frame[30], frame[31]);
            assert_eq!(frames::gratuitous_arp(MAC, address)[..], frame[..], "{case}");
        }
    }
    for (case, mac, count) in
        [("v3-ipv6", MAC, 8), ("v3-ipv6-unicast", MAC, 4), ("v2-many", MAC, 4), ("frr-v3", [0, 0, 0x5E, 0, 2, 5], 2)]
    {
        let neighbour = |f: &&Vec<u8>| ether_type(f) == 0x86DD && f[20] == 58 && f[54] == 136 && f[38] == 0xFF;
        let all = frames_of(case);
        let adverts: Vec<_> = all.iter().filter(neighbour).collect();
        assert_eq!(adverts.len(), count, "{case}");
        for frame in adverts {
            let target = Ipv6Addr::from(<[u8; 16]>::try_from(&frame[62..78]).unwrap());
            let router = frame[58] & 0x80 != 0;
            assert_eq!(frames::unsolicited_na(mac, target, router)[..], frame[..], "{case}");
        }
    }
}

/// Each single bit of a real packet matters to its checksum, and no truncation of it makes `parse` stumble.
#[test]
fn damage_is_seen() {
    for (case, rule) in [("v2", ChecksumRule::Plain), ("v3", pseudo(GROUP4)), ("v3-unicast", pseudo(PEER))] {
        let packet = datagrams(case).remove(0);
        let body = frames::ipv4(&packet).unwrap().payload.to_vec();
        for bit in 0..body.len() * 8 {
            let mut damaged = body.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(!rule.holds(&damaged), "{case}: bit {bit}");
        }
        for length in 0..body.len() {
            assert!(advert::parse(&body[..length], Family::V4).is_err(), "{case}: {length} bytes");
        }
    }
}
