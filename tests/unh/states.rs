//! Groups 1 and 2: interoperability, and the three states.

use super::bench::*;
use std::net::IpAddr;
use vipd::sim::build;
use vipd::time::Interval;
use vipd::vrrp::io::{Command, Input, Role};

#[test]
fn case_1_1_basic_interoperability() {
    let plain = || two(|_, _| ());
    assert_eq!(holders(plain(), "run 20s"), [on("192.0.2.100", "a")]);
    assert_eq!(holders(plain(), "run 30s\nat 10s crash a"), [on("192.0.2.100", "b")]);
    assert_eq!(holders(plain(), "run 30s\nat 10s link a eth0 down"), [on("192.0.2.100", "b")]);
    assert_eq!(holders(plain(), "run 60s\nat 10s crash a\nat 30s start a"), [on("192.0.2.100", "a")]);
}

#[test]
fn case_1_2_advanced_interoperability() {
    // Two virtual routers, each server master of one, and both together when the other fails.
    let second: IpAddr = "192.0.2.101".parse().unwrap();
    let shared = || two(|node, spec| spec.instances.push(build::instance("V2", 2, [100, 200][node], &[second])));
    assert_eq!(holders(shared(), "run 20s"), [on("192.0.2.100", "a"), on("192.0.2.101", "b")]);
    assert_eq!(holders(shared(), "run 30s\nat 10s crash a"), [on("192.0.2.100", "b"), on("192.0.2.101", "b")]);
    assert_eq!(holders(shared(), "run 30s\nat 10s stop b"), [on("192.0.2.100", "a"), on("192.0.2.101", "a")]);
    let back = "run 60s\nat 10s crash a\nat 25s start a";
    assert_eq!(holders(shared(), back), [on("192.0.2.100", "a"), on("192.0.2.101", "b")]);
}

#[test]
fn case_2_1_the_initialize_state() {
    for version in VERSIONS {
        let (mut owner, seen) = Bench::new(instance(version, 255));
        assert_eq!(owner.role(), Role::Master);
        assert_eq!(seen.priorities(), [255], "an owner says so at once");
        assert!(seen.owned && seen.announced > 0, "and announces its address");
        assert_eq!(owner.deadline(), Interval::from_secs(1));
        assert_eq!(owner.after(Interval::from_secs(3)).priorities(), [255; 3]);
        let (other, seen) = Bench::new(instance(version, 100));
        assert_eq!(other.role(), Role::Backup);
        assert!(seen.adverts.is_empty() && !seen.owned);
        assert_eq!(other.deadline(), other.down());
    }
}

#[test]
fn case_2_2_packet_reception_in_the_backup_state() {
    // No ARP reply, no forwarding, nothing accepted for the virtual address: a backup does not have it at all.
    for version in VERSIONS {
        let (mut backup, _) = Bench::new(instance(version, 100));
        for _ in 0..10 {
            let heard = backup.advert(HIGHER, 200);
            let waited = backup.after(Interval::from_secs(1));
            for seen in [heard, waited] {
                assert!(!seen.owned && seen.announced == 0 && seen.adverts.is_empty(), "{seen:?}");
            }
            assert_eq!(backup.role(), Role::Backup);
        }
    }
}

#[test]
fn case_2_3_master_down_in_the_backup_state() {
    for version in VERSIONS {
        let (mut backup, _) = Bench::new(instance(version, 100));
        let almost = backup.down().less(Interval::from_micros(1));
        let silent = backup.after(almost);
        assert!(silent.adverts.is_empty() && backup.role() == Role::Backup);
        let seen = backup.after(Interval::from_micros(1));
        assert_eq!(backup.role(), Role::Master);
        assert_eq!(seen.priorities(), [100]);
        assert!(seen.owned && seen.announced > 0);
        assert_eq!(backup.deadline(), Interval::from_secs(1));
    }
}

#[test]
fn case_2_4_advertisement_reception_in_the_backup_state() {
    for version in VERSIONS {
        // Priority 0: the timer becomes the skew.
        let (mut backup, _) = Bench::new(instance(version, 100));
        backup.advert(HIGHER, 200);
        backup.advert(HIGHER, 0);
        assert_eq!(backup.deadline(), skew(version, 100));
        // Equal or higher: the whole timer again.
        for priority in [100, 101, 255] {
            let (mut backup, _) = Bench::new(instance(version, 100));
            backup.after(Interval::from_millis(2_500));
            backup.advert(LOWER, priority);
            assert_eq!(backup.deadline(), backup.down(), "{priority}");
        }
        // Lower, with preemption: discarded, the timer goes on.
        let (mut backup, _) = Bench::new(instance(version, 100));
        backup.after(Interval::from_secs(1));
        let left = backup.deadline();
        backup.advert(HIGHER, 99);
        assert_eq!(backup.deadline(), left);
        // Lower, without preemption: the whole timer again.
        let mut patient = instance(version, 100);
        patient.preempt = false;
        let (mut backup, _) = Bench::new(patient);
        backup.after(Interval::from_secs(1));
        backup.advert(HIGHER, 99);
        assert_eq!(backup.deadline(), backup.down());
    }
}

#[test]
fn case_2_5_packet_reception_in_the_master_state() {
    // Answering ARP, forwarding and accepting follow from having the address; announcements tell whose it is.
    for version in VERSIONS {
        let (mut router, _) = Bench::new(instance(version, 100));
        let seen = router.go_master();
        assert!(seen.owned);
        assert_eq!(seen.announced, router.spec.garp.repeat as usize);
        let view = &router.engine.snapshot(router.now).instances[0];
        assert!(view.owned, "the kernel has the whole claim");
    }
}

#[test]
fn case_2_6_shutdown_event_in_the_master_state() {
    for version in VERSIONS {
        let (mut master, _) = Bench::new(instance(version, 100));
        master.go_master();
        let stop = Input::Command(Command::Stop { release: true });
        master.engine.handle(stop.clone(), master.now);
        let seen = master.drain();
        assert_eq!(seen.priorities(), [0]);
        assert!(seen.disowned);
        assert!(master.after(Interval::from_secs(10)).adverts.is_empty());
        let (mut backup, _) = Bench::new(instance(version, 100));
        backup.engine.handle(stop, backup.now);
        assert!(backup.drain().adverts.is_empty(), "a backup has nothing to take back");
    }
}

#[test]
fn case_2_7_advertisement_reception_in_the_master_state() {
    for version in VERSIONS {
        let master = || {
            let (mut master, _) = Bench::new(instance(version, 100));
            master.go_master();
            master
        };
        // Priority 0: an advert at once.
        let mut router = master();
        assert_eq!(router.advert(HIGHER, 0).priorities(), [100]);
        assert_eq!(router.role(), Role::Master);
        // Higher; or equal from a higher address.
        for (from, priority) in [(LOWER, 101), (HIGHER, 255), (HIGHER, 100)] {
            let mut router = master();
            let seen = router.advert(from, priority);
            assert_eq!(router.role(), Role::Backup, "{from} {priority}");
            assert!(seen.disowned && seen.adverts.is_empty());
            assert_eq!(router.deadline(), router.down());
        }
        // Lower; or equal from a lower address. The RFC discards it; keepalived speaks up at once, and so do we.
        for (from, priority) in [(HIGHER, 99), (LOWER, 1), (LOWER, 100)] {
            let mut router = master();
            assert_eq!(router.advert(from, priority).priorities(), [100], "{from} {priority}");
            assert_eq!(router.role(), Role::Master);
            let mut quiet = instance(version, 100);
            quiet.lower_prio_no_advert = true;
            let (mut router, _) = Bench::new(quiet);
            router.go_master();
            assert!(router.advert(from, priority).adverts.is_empty());
        }
    }
}
