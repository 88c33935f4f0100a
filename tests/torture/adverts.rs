//! Adverts that are wrong in one thing each, put on the wire in front of a master: each is counted under its reason, and
//! nothing else happens. The bytes are made here, from RFC 9568 section 5, not by vipd.

use super::crafted::{Crafted, put, sum};
use super::ground::{Ground, instance, ip, ready};
use super::lab::inside;

#[derive(Clone)]
struct Advert {
    version: u8,
    kind: u8,
    vrid: u8,
    priority: u8,
    count: u8,
    addresses: Vec<[u8; 4]>,
    surplus: usize,
    spoil: bool,
    ttl: u8,
    cut: Option<usize>,
}

const SOURCE: [u8; 4] = [10, 9, 0, 2];
const GROUP: [u8; 4] = [224, 0, 0, 18];

/// An advert that is right, and better than ours.
fn right() -> Advert {
    Advert {
        version: 3,
        kind: 1,
        vrid: 1,
        priority: 255,
        count: 1,
        addresses: vec![[10, 9, 0, 10]],
        surplus: 0,
        spoil: false,
        ttl: 255,
        cut: None,
    }
}

impl Advert {
    /// Version 3: ten centiseconds. Version 2: no authentication, one second.
    fn payload(&self) -> Vec<u8> {
        let (fifth, sixth) = if self.version == 2 { (0, 1) } else { (0, 10) };
        let mut bytes = vec![self.version << 4 | self.kind, self.vrid, self.priority, self.count, fifth, sixth, 0, 0];
        self.addresses.iter().for_each(|address| bytes.extend(address));
        if self.version == 2 {
            bytes.extend([0; 8]);
        }
        bytes.extend(vec![0xa5; self.surplus]);
        let mut pseudo = [SOURCE, GROUP].concat();
        pseudo.extend([0, 112, (bytes.len() >> 8) as u8, bytes.len() as u8]);
        let whole = if self.version == 2 { bytes.clone() } else { [pseudo, bytes.clone()].concat() };
        let checksum = sum(&whole) ^ if self.spoil { 0x0101 } else { 0 };
        bytes[6..8].copy_from_slice(&checksum.to_be_bytes());
        bytes.truncate(self.cut.unwrap_or(bytes.len()));
        bytes
    }

    fn frame(&self) -> Vec<u8> {
        let payload = self.payload();
        let length = (20 + payload.len()) as u16;
        let mut header = vec![0x45, 0xc0, (length >> 8) as u8, length as u8, 0, 1, 0, 0, self.ttl, 112, 0, 0];
        header.extend(SOURCE);
        header.extend(GROUP);
        let checksum = sum(&header);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        let ethernet = [0x01, 0x00, 0x5e, 0, 0, 0x12, 2, 0, 0, 0, 0, 2, 0x08, 0x00];
        [ethernet.to_vec(), header, payload].concat()
    }
}

fn send(ground: &Ground, frames: &[Vec<u8>]) {
    inside(&ground.name, || frames.iter().for_each(|frame| put("far", frame)));
}

#[test]
fn a_damaged_advert_is_counted_by_its_reason_and_changes_nothing() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let daemon = ground.start_master("");
    let many = Advert { count: 255, addresses: vec![[10, 9, 0, 10]; 255], ..right() };
    let cases: Vec<(&str, Advert)> = vec![
        ("truncated", Advert { cut: Some(1), ..right() }),
        ("truncated", Advert { cut: Some(7), ..right() }),
        ("length", Advert { cut: Some(11), ..right() }),
        ("length", Advert { surplus: 500, ..right() }),
        ("length", Advert { count: 200, ..right() }),
        ("length", Advert { surplus: 400, ..many.clone() }),
        ("checksum", Advert { spoil: true, ..right() }),
        ("checksum", Advert { spoil: true, ..many }),
        ("ttl", Advert { ttl: 254, ..right() }),
        ("ttl", Advert { ttl: 1, ..right() }),
        ("version", Advert { version: 2, ..right() }),
        ("version", Advert { version: 4, ..right() }),
        ("version", Advert { version: 15, ..right() }),
        ("version", Advert { version: 0, ..right() }),
        ("type", Advert { kind: 2, ..right() }),
        ("type", Advert { kind: 0, ..right() }),
        ("unknown_vrid", Advert { vrid: 77, ..right() }),
    ];
    let refusals = || {
        let status = daemon.ask(r#"{"request":"status"}"#)["status"].clone();
        let mut all = std::collections::BTreeMap::<String, u64>::new();
        for reasons in [&status["refused"], &status["instances"][0]["counters"]["refused"]] {
            for (reason, number) in reasons.as_object().unwrap() {
                *all.entry(reason.clone()).or_default() += number.as_u64().unwrap();
            }
        }
        (all, status["instances"][0].clone())
    };
    for (reason, advert) in &cases {
        let before = refusals().0;
        send(&ground, &[advert.frame()]);
        let total = |all: &std::collections::BTreeMap<String, u64>| all.values().sum::<u64>();
        daemon.wait_for(&format!("a count for {reason}"), || total(&refusals().0) > total(&before));
        let (mut after, mine) = refusals();
        *after.get_mut(*reason).unwrap_or_else(|| panic!("{reason}: counted as something else: {before:?} {mine}")) -=
            1;
        after.retain(|_, number| *number > 0);
        assert_eq!(after, before, "{reason}");
        assert_eq!((mine["state"].as_str(), mine["counters"]["advert_rcvd"].as_u64()), (Some("MASTER"), Some(0)));
    }
    // A flood of them all, and of noise.
    let mut noise: Vec<Vec<u8>> = (0..400_usize)
        .map(|n| {
            let payload: Vec<u8> = (0..n % 97).map(|i| (i * 31 + n * 7) as u8).collect();
            let mut frame = Advert { cut: Some(0), ..right() }.frame();
            frame.extend(&payload);
            frame
        })
        .collect();
    noise.extend(cases.iter().map(|(_, advert)| advert.frame()));
    send(&ground, &noise);
    assert_eq!(refusals().1["state"], "MASTER");
    assert!(ground.has("10.9.0.10/24"));
    assert_eq!(daemon.log_text().matches("(A) Entering").count(), 2, "{}", daemon.log_text());
    // The yardstick: the same advert unharmed does end the mastership.
    send(&ground, &[right().frame()]);
    daemon.wait_for_log("(A) Master received advert from 10.9.0.2 with higher priority 255");
    daemon.wait_for("the count of it", || refusals().1["counters"]["advert_rcvd"].as_u64() == Some(1));
}

/// Every server's file has the list of all. What goes to the own address is nobody's but another machine's, which has this
/// server's address too: the kernel lets it in where `accept_local` does, as keepalived has it on virtual interfaces.
#[test]
fn a_second_machine_with_our_address_is_named_although_that_stands_among_the_peers() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    ip(&format!("netns exec {} sysctl -qw net.ipv4.conf.all.accept_local=1", ground.name));
    let peers = "unicast_src_ip 10.9.0.1\n unicast_peer {\n  10.9.0.1\n  10.9.0.2\n }\n version 3";
    ground.configure(&instance("A", 1, "10.9.0.10/24").replace("version 3", peers));
    let daemon = ground.start("");
    let sent = || daemon.ask(r#"{"request":"status"}"#)["status"]["instances"][0]["counters"]["advert_sent"].as_u64();
    daemon.wait_for("adverts", || sent() > Some(10));
    let named = "equal priority advert received from remote host with our IP address";
    assert!(!daemon.log_text().contains(named), "by its own adverts: {}", daemon.log_text());
    let own = [10, 9, 0, 1];
    let rival = Crafted { priority: 200, destination: own, ..Crafted::new(3, 1, own, [10, 9, 0, 10]) };
    send(&ground, &[rival.frame()]);
    daemon.wait_for_log(named);
}
