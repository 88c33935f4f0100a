//! Reloads and upgrades with FRR as peer: its counter of falls must not move.
//!
//! A few of each in every run; `VIPD_BFD_HITLESS=1` plays a hundred reloads and twenty upgrades at 50 ms detection.

use crate::ground::{Kind, Pair, frr, skip};

#[test]
fn reloads_and_upgrades_do_not_move_the_peer_s_counter() {
    if skip(&["ip", "bfdd", "zebra", "vtysh"]) {
        return;
    }
    let all = std::env::var_os("VIPD_BFD_HITLESS").is_some();
    // A detection time that a machine with other work can keep, unless the whole is asked for: 1.2 s.
    let (interval, multiplier, reloads, upgrades) = if all { (10, 5, 100, 20) } else { (60, 20, 10, 3) };
    let mut pair = Pair::new([Kind::Vipd, Kind::Frr], false);
    let session = pair.session(0, false, &format!(" min_rx {interval}\n min_tx {interval}\n multiplier {multiplier}"));
    pair.configure(0, &session);
    let lines =
        format!("  detect-multiplier {multiplier}\n  receive-interval {interval}\n  transmit-interval {interval}\n");
    pair.configure(1, &frr(&pair, 1, false, "", &lines));
    pair.start(0);
    pair.start(1);
    pair.both(true).unwrap();
    let own = || pair.session_of(0).unwrap();
    let (before, discriminator, port) =
        (pair.frr_downs(1), own()["discriminator"].clone(), own()["source_port"].clone());
    // It may have taken more than one start to come up on a busy machine.
    let downs = own()["counters"]["downs"].clone();
    for done in 0..reloads {
        let other = if done % 2 == 0 { "bfd_instance other {\n neighbor_ip 10.9.9.77\n}\n" } else { "" };
        pair.configure(0, &format!("{session}{other}"));
        let answer = pair.ask(0, r#"{"request":"reload"}"#).unwrap();
        assert_eq!(answer["reply"], "done", "{answer}");
    }
    assert_eq!(pair.frr_downs(1), before, "after {reloads} reloads\n{}", pair.describe());
    for _ in 0..upgrades {
        let stands = pair.log(0).matches("Startup complete").count();
        let answer = pair.ask(0, r#"{"request":"upgrade","program":null}"#).unwrap();
        assert_eq!(answer["reply"], "done", "{answer}");
        pair.until("the next program", || pair.log(0).matches("Startup complete").count() > stands).unwrap();
        pair.until("its sessions", || pair.session_of(0).is_some()).unwrap();
    }
    pair.both(true).unwrap();
    assert_eq!(pair.frr_downs(1), before, "after {upgrades} upgrades\n{}", pair.describe());
    assert_eq!(own()["discriminator"], discriminator);
    assert_eq!(own()["source_port"], port);
    assert_eq!(own()["counters"]["downs"], downs);
    println!("{reloads} reloads and {upgrades} upgrades at {} ms: session-down stays {before}", interval * multiplier);
}
