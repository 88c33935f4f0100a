//! Group 3: timers and preemption.

use super::bench::*;
use vipd::time::Interval;
use vipd::vrrp::io::Role;
use vipd::wire::advert::{self};
use vipd::wire::{Family, Priority, Version, frames};

#[test]
fn case_3_1_advertisement_interval() {
    for (version, interval) in [
        (Version::V2, Interval::from_secs(1)),
        (Version::V2, Interval::from_secs(255)),
        (Version::V3, Interval::from_millis(10)),
        (Version::V3, Interval::from_millis(40_950)),
    ] {
        let mut spec = instance(version, 255);
        spec.interval = interval;
        let (mut owner, first) = Bench::new(spec);
        assert_eq!(first.adverts.len(), 1);
        for _ in 0..20 {
            assert!(owner.after(interval.less(Interval::from_micros(1))).adverts.is_empty());
            let seen = owner.after(Interval::from_micros(1));
            assert_eq!(seen.adverts.len(), 1, "v{version} {interval}");
            let bytes = seen.adverts[0].bytes.clone();
            let said = advert::parse(frames::ipv4(&bytes).unwrap().payload, Family::V4).unwrap().interval;
            assert_eq!(said, interval);
        }
    }
}

#[test]
fn case_3_2_skew_time() {
    for version in VERSIONS {
        for priority in [1, 2, 50, 100, 128, 200, 253, 254] {
            let (mut backup, _) = Bench::new(instance(version, priority));
            backup.advert(HIGHER, 0);
            assert_eq!(backup.deadline(), skew(version, priority), "v{version} {priority}");
            backup.after(skew(version, priority).less(Interval::from_micros(1)));
            assert_eq!(backup.role(), Role::Backup);
            backup.after(Interval::from_micros(1));
            assert_eq!(backup.role(), Role::Master);
        }
    }
}

#[test]
fn case_3_3_master_down_interval() {
    for version in VERSIONS {
        for (priority, seconds) in [(1, 1), (100, 1), (254, 1), (100, 5), (100, 30)] {
            let mut spec = instance(version, priority);
            spec.interval = Interval::from_secs(seconds);
            let (mut backup, _) = Bench::new(spec);
            backup.advert(HIGHER, 255);
            // Version 2 skews by a share of a second, version 3 by a share of the interval.
            let share = if version == Version::V2 { 1 } else { seconds };
            let skew = Interval::from_micros(1_000_000 * share * (256 - u64::from(priority)) / 256);
            let expected = Interval::from_secs(3 * seconds) + skew;
            assert_eq!(backup.deadline(), expected, "v{version} {priority} {seconds}s");
        }
    }
}

#[test]
fn case_3_4_preempt_mode() {
    let with = |preempt: bool, priority: u8| {
        two(move |node, spec| {
            let instance = &mut spec.instances[0];
            // The configuration never says nopreempt of an owner: the language clears it (semantics of keepalived, too).
            instance.preempt = preempt || (node == 0 && priority == 255);
            if node == 0 {
                instance.priority = Priority(priority);
            }
        })
    };
    let late = "run 60s\nabsent a\nat 20s start a";
    assert_eq!(holders(with(true, 200), late), [on("192.0.2.100", "a")]);
    assert_eq!(holders(with(false, 200), late), [on("192.0.2.100", "b")]);
    // The owner of the addresses preempts whatever the mode says.
    assert_eq!(holders(with(false, 255), late), [on("192.0.2.100", "a")]);
}
