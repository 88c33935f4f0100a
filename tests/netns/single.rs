//! Cases that are not a cell of the matrix: scripts, nopreempt, several addresses, leftovers.

use super::conf::{Conf, Tongue};
use super::lab::{Kind, Lab, skip, until};
use std::net::IpAddr;
use std::time::Instant;
use vipd::wire::{Family, Priority, advert, frames};

type Outcome = Result<(), String>;

fn pair(master: Kind, backup: Kind, tongue: Tongue, change: impl Fn(&Lab, usize, Conf) -> Conf) -> Lab {
    let mut lab = Lab::new(&[master, backup], 1);
    for (node, priority) in [(0, 150), (1, 100)] {
        let conf = change(&lab, node, Conf::new(tongue, node, 2, priority));
        lab.configure(node, &conf.text());
    }
    lab.start(1);
    lab.start(0);
    lab
}

/// Runs a case with vipd in each seat beside keepalived, and beside itself, at once.
pub fn in_all_seats(case: fn(Kind, Kind) -> Outcome) {
    if skip(&["ip", "keepalived"]) {
        return;
    }
    let seats = [(Kind::Vipd, Kind::Keepalived), (Kind::Keepalived, Kind::Vipd), (Kind::Vipd, Kind::Vipd)];
    let failures: Vec<String> = std::thread::scope(|scope| {
        let runs = seats.map(|(m, b)| (m, b, scope.spawn(move || case(m, b))));
        let told = runs.into_iter().filter_map(|(m, b, run)| {
            let text = run.join().unwrap_or_else(|_| Err("the case panicked".into())).err()?;
            Some(format!("{m} → {b}: {text}"))
        });
        told.collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Adverts in IPv4 frames: node, priority.
fn adverts(lab: &Lab, from: Instant) -> Vec<(usize, Priority)> {
    let read = |frame: super::lab::Frame| {
        if frame.bytes.get(12..14) != Some(&[0x08, 0x00]) {
            return None;
        }
        let ip = frames::ipv4(frame.bytes.get(14..)?).ok().filter(|ip| ip.protocol == 112)?;
        Some((frame.node, advert::parse(ip.payload, Family::V4).ok()?.priority))
    };
    lab.since(from).into_iter().filter_map(read).collect()
}

/// Gratuitous ARPs for an address: node.
fn announcements(lab: &Lab, from: Instant, address: IpAddr) -> Vec<usize> {
    let IpAddr::V4(v4) = address else { return Vec::new() };
    let own = |frame: &super::lab::Frame| {
        frame.bytes.get(12..14) == Some(&[0x08, 0x06])
            && frame.bytes.get(28..32) == Some(&v4.octets())
            && frame.bytes.get(38..42) == Some(&v4.octets())
    };
    lab.since(from).iter().filter(|frame| own(frame)).map(|frame| frame.node).collect()
}

#[test]
fn a_script_without_weight_takes_a_server_out() {
    in_all_seats(|master, backup| {
        let vip = Tongue::V3.address();
        let lab = pair(master, backup, Tongue::V3, |lab, node, conf| conf.script("check", &lab.file(node, "bad"), 0));
        lab.only(0, vip)?;
        std::fs::write(lab.file(0, "bad"), "").unwrap();
        lab.only(1, vip)?;
        std::fs::remove_file(lab.file(0, "bad")).unwrap();
        lab.only(0, vip).map(|_| ())
    });
}

#[test]
fn a_script_with_weight_changes_the_order() {
    in_all_seats(|master, backup| {
        let vip = Tongue::V3.address();
        let lab = pair(master, backup, Tongue::V3, |lab, node, conf| conf.script("check", &lab.file(node, "bad"), -80));
        lab.only(0, vip)?;
        let from = Instant::now();
        std::fs::write(lab.file(0, "bad"), "").unwrap();
        lab.only(1, vip)?;
        until("the lowered priority was told", || adverts(&lab, from).contains(&(0, Priority(70))))
            .map_err(|text| format!("{text}\n{}", lab.describe()))?;
        std::fs::remove_file(lab.file(0, "bad")).unwrap();
        lab.only(0, vip).map(|_| ())
    });
}

#[test]
fn nopreempt_leaves_the_address_where_it_is() {
    in_all_seats(|master, backup| {
        let vip = Tongue::V3.address();
        let mut lab =
            pair(master, backup, Tongue::V3, |_, _, conf| conf.slow(2).inside("state BACKUP").inside("nopreempt"));
        until("somebody is master", || lab.has(0, vip) || lab.has(1, vip))?;
        // Whoever won the race at the start: from here on it is node 1.
        lab.signal(0, libc::SIGTERM);
        lab.only(1, vip)?;
        lab.start(0);
        // The returned server must hear adverts for longer than it waits for a master, and stay where it is.
        let from = Instant::now();
        until("5 adverts of the master", || adverts(&lab, from).iter().filter(|(node, _)| *node == 1).count() >= 5)?;
        if adverts(&lab, from).iter().any(|(node, _)| *node == 0) || lab.has(0, vip) {
            return Err(format!("it was taken back\n{}", lab.describe()));
        }
        lab.signal(1, libc::SIGTERM);
        lab.only(0, vip).map(|_| ())
    });
}

#[test]
fn a_goodbye_and_announcements_are_on_the_wire() {
    in_all_seats(|master, backup| {
        let vip = Tongue::V2.address();
        let mut lab = pair(master, backup, Tongue::V2, |_, _, conf| conf);
        lab.only(0, vip)?;
        let from = Instant::now();
        lab.signal(0, libc::SIGTERM);
        lab.only(1, vip)?;
        until("a goodbye", || adverts(&lab, from).contains(&(0, Priority(0))))?;
        until("five announcements of the new master", || {
            announcements(&lab, from, vip).iter().filter(|node| **node == 1).count() >= 5
        })?;
        Ok(())
    });
}

#[test]
fn a_reload_without_a_change_is_not_seen() {
    in_all_seats(|master, backup| {
        let vip = Tongue::V3.address();
        let mut lab = pair(master, backup, Tongue::V3, |_, _, conf| conf.slow(2));
        lab.only(0, vip)?;
        let from = Instant::now();
        lab.signal(0, libc::SIGHUP);
        lab.signal(1, libc::SIGHUP);
        // Longer than a backup that had forgotten its master would wait for one.
        until("5 adverts", || adverts(&lab, from).iter().filter(|(node, _)| *node == 0).count() >= 5)?;
        let wrong: Vec<_> = adverts(&lab, from).into_iter().filter(|a| *a != (0, Priority(150))).collect();
        if !wrong.is_empty() {
            return Err(format!("{wrong:?}\n{}", lab.describe()));
        }
        lab.only(0, vip).map(|_| ())
    });
}

#[test]
fn a_reload_adds_and_removes_addresses() {
    in_all_seats(|master, backup| {
        let vip = Tongue::V3.address();
        let more: IpAddr = "192.0.2.101".parse().unwrap();
        let mut lab = pair(master, backup, Tongue::V3, |_, _, conf| conf);
        lab.only(0, vip)?;
        let with = |node: usize, priority: u8| {
            let text = Conf::new(Tongue::V3, node, 2, priority).text();
            text.replace("192.0.2.100/24", "192.0.2.100/24\n        192.0.2.101/24")
        };
        for (node, priority) in [(1, 100), (0, 150)] {
            lab.configure(node, &with(node, priority));
            lab.signal(node, libc::SIGHUP);
        }
        lab.only(0, more)?;
        lab.only(0, vip)?;
        for (node, priority) in [(1, 100), (0, 150)] {
            lab.configure(node, &Conf::new(Tongue::V3, node, 2, priority).text());
            lab.signal(node, libc::SIGHUP);
        }
        until("the added address is gone", || !lab.has(0, more))?;
        lab.only(0, vip).map(|_| ())
    });
}

/// An address that another program removes comes back, and nobody else takes over meanwhile.
#[test]
fn a_removed_address_comes_back() {
    if skip(&["ip"]) {
        return;
    }
    let vip = Tongue::V3.address();
    let lab = pair(Kind::Vipd, Kind::Vipd, Tongue::V3, |_, _, conf| conf);
    let case = || -> Outcome {
        lab.only(0, vip)?;
        super::lab::ip(&lab.nodes[0].namespace, &["addr", "del", "192.0.2.100/24", "dev", "eth0"])?;
        lab.only(0, vip).map(|_| ())
    };
    case().unwrap();
}

/// What a killed daemon left on its interface is gone once it runs again as a backup.
#[test]
fn leftovers_of_a_killed_daemon_are_cleared() {
    in_all_seats(|master, backup| {
        let vip = Tongue::V3.address();
        let mut lab =
            pair(master, backup, Tongue::V3, |_, _, conf| conf.slow(2).inside("state BACKUP").inside("nopreempt"));
        until("somebody is master", || lab.has(0, vip) || lab.has(1, vip))?;
        lab.signal(1, libc::SIGTERM);
        lab.only(0, vip)?;
        lab.start(1);
        lab.signal(0, libc::SIGKILL);
        lab.only(1, vip)?;
        if !lab.has(0, vip) {
            return Err("the killed daemon left nothing: the case shows nothing".into());
        }
        lab.start(0);
        lab.only(1, vip).map(|_| ())
    });
}
