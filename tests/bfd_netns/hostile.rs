//! A LAN with somebody hostile on it: forged packets change nothing, a flood does not touch adverts.

use crate::ground::{Kind, Pair, ip, skip};
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use vipd::wire::bfd::{Diag, Packet, State};

/// In a thread that has moved into a namespace.
fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    let handle = std::fs::File::open(format!("/run/netns/{namespace}")).unwrap();
    std::thread::scope(|scope| {
        let moved = scope.spawn(move || {
            nix::sched::setns(handle.as_fd(), nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        moved.join().unwrap()
    })
}

struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn forged_packets_and_floods() {
    if skip(&["ip"]) {
        return;
    }
    let mut pair = Pair::new([Kind::Vipd, Kind::Vipd], false);
    for side in 0..2 {
        let vrrp = "vrrp_instance V {\n interface eth0\n virtual_router_id 9\n version 3\n advert_int 0.2\n priority 100\n track_bfd {\n  S weight 20\n }\n virtual_ipaddress {\n  10.9.9.100/24\n }\n}\n";
        let session = pair.session(side, false, " min_rx 60\n min_tx 60\n multiplier 5");
        pair.configure(side, &format!("{session}{}", if side == 0 { vrrp } else { "" }));
        pair.start(side);
    }
    pair.both(true).unwrap();
    pair.until("the address", || ip(&format!("-n {} addr", pair.nodes[0].namespace)).unwrap().contains("10.9.9.100"))
        .unwrap();
    let peer = pair.nodes[1].namespace.clone();
    ip(&format!("-n {peer} addr add 10.9.9.66/24 dev eth0")).unwrap();
    let discriminator = pair.session_of(0).unwrap()["discriminator"].as_u64().unwrap() as u32;
    let down = Packet {
        diag: Diag::EXPIRED,
        state: State::Down,
        poll: true,
        is_final: false,
        independent: false,
        demand: false,
        multiplier: 5,
        my_discriminator: 666,
        your_discriminator: discriminator,
        min_tx: 1_000_000,
        min_rx: 0,
        min_echo_rx: 0,
    };
    // It may have taken more than one start to come up on a busy machine.
    let downs = pair.session_of(0).unwrap()["counters"]["downs"].clone();
    inside(&peer, || {
        let target = "10.9.9.1:3784";
        // Another source with the right discriminator; the right source over a router; the right source and a wrong number.
        let stranger = UdpSocket::bind("10.9.9.66:0").unwrap();
        stranger.set_ttl(255).unwrap();
        let near = UdpSocket::bind("10.9.9.2:0").unwrap();
        near.set_ttl(254).unwrap();
        for _ in 0..50 {
            stranger.send_to(&down.emit(), target).unwrap();
            near.send_to(&down.emit(), target).unwrap();
            stranger.send_to(&Packet { your_discriminator: 0, ..down }.emit(), target).unwrap();
        }
        near.set_ttl(255).unwrap();
        near.send_to(&Packet { your_discriminator: 5, ..down }.emit(), target).unwrap();
        near.send_to(&[0; 300], target).unwrap();
        near.send_to(&[0; 7], target).unwrap();
    });
    let refused = |why: &str| pair.session_of(0).unwrap()["counters"]["refused"][why].as_u64().unwrap_or(0);
    pair.until("the forged packets are counted", || refused("source") >= 50 && refused("ttl") >= 50).unwrap();
    let session = pair.session_of(0).unwrap();
    assert_eq!((&session["state"], &session["counters"]["downs"]), (&"Up".into(), &downs), "{session}");
    let strays = || pair.ask(0, r#"{"request":"bfd","session":null}"#).unwrap()["sessions"]["refused"].clone();
    let stray = |why: &str| strays()[why].as_u64().unwrap_or(0);
    let all = || stray("no_session") >= 51 && stray("too_long") == 1 && stray("short") == 1;
    pair.until("what belongs to no session is counted by its reason", all).unwrap();

    // A flood of packets that belong to nobody: both loops keep their work.
    let adverts = || {
        let status = pair.ask(0, r#"{"request":"status"}"#).unwrap();
        status["status"]["instances"][0]["counters"]["advert_sent"].as_u64().unwrap()
    };
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let seen = std::thread::scope(|scope| {
        scope.spawn(|| {
            inside(&peer, || {
                let stranger = UdpSocket::bind("10.9.9.66:0").unwrap();
                stranger.set_ttl(255).unwrap();
                let bytes = down.emit();
                while !stop.load(Ordering::Relaxed) {
                    for _ in 0..100 {
                        let _ = stranger.send_to(&bytes, "10.9.9.1:3784");
                    }
                    sent.fetch_add(100, Ordering::Relaxed);
                }
            });
        });
        // Whatever happens here, the flood ends.
        let _end = OnDrop(&stop);
        let before = adverts();
        // Adverts go on while it lasts: at 0.2 s each, so many take a while on any machine.
        let went_on = pair.until("adverts beside the flood", || adverts() >= before + 15);
        std::thread::sleep(Duration::from_millis(100));
        stop.store(true, Ordering::Relaxed);
        went_on
    });
    seen.unwrap();
    println!("{} packets flooded", sent.load(Ordering::Relaxed));
    assert!(sent.load(Ordering::Relaxed) > 10_000);
    pair.both(true).unwrap();
    let status = pair.ask(0, r#"{"request":"status"}"#).unwrap();
    assert_eq!(status["status"]["instances"][0]["state"], "MASTER");
    // A kind of refusal is told once a minute, however many there are.
    let told = pair.log(0).matches("Discarding packet").count();
    assert!((1..=20).contains(&told), "{told} lines");
    assert!(refused("source") > 1_000, "the flood was counted");
}
