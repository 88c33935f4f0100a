//! The pure rules, against tables from RFC 9568, RFC 3768 and semantics of keepalived.

use crate::harness::*;
use vipd::time::Interval;
use vipd::vrrp::election::*;
use vipd::vrrp::group::{self, Member};
use vipd::vrrp::io::Role;
use vipd::vrrp::track::{Reading, weigh};
use vipd::wire::{Priority, Version};

#[test]
fn skew_and_down_timer() {
    // version, priority, interval ms, adverts → skew µs, down µs. RFC 3768 §6.1: (256 − priority)/256 s.
    // RFC 9568 §6.1: (256 − priority) × interval / 256.
    let table = [
        (Version::V2, 100, 1000, 3, 609_375, 3_609_375),
        (Version::V2, 254, 1000, 3, 7_812, 3_007_812),
        (Version::V2, 1, 1000, 3, 996_093, 3_996_093),
        (Version::V2, 255, 1000, 3, 3_906, 3_003_906),
        (Version::V2, 100, 5000, 3, 609_375, 15_609_375),
        (Version::V3, 100, 1000, 3, 609_375, 3_609_375),
        (Version::V3, 100, 10, 3, 6_093, 36_093),
        (Version::V3, 255, 10, 3, 39, 30_039),
        (Version::V3, 100, 5000, 3, 3_046_875, 18_046_875),
        (Version::V3, 1, 40_950, 3, 40_790_039, 163_640_039),
        (Version::V3, 100, 1000, 1, 609_375, 1_609_375),
        (Version::V3, 100, 1000, 5, 609_375, 5_609_375),
        // The skew goes by whole centiseconds.
        (Version::V3, 128, 25, 3, 10_000, 85_000),
    ];
    for (version, priority, interval, adverts, wanted_skew, wanted_down) in table {
        let (priority, interval) = (Priority(priority), ms(interval));
        assert_eq!(skew(version, priority, interval).as_micros(), wanted_skew, "{version:?} {priority} {interval}");
        let down = master_down(version, priority, interval, adverts);
        assert_eq!(down.as_micros(), wanted_down, "{version:?} {priority} {interval} × {adverts}");
    }
}

#[test]
fn who_wins() {
    let claimant = |priority, address: &str| Claimant { priority: Priority(priority), address: Some(ip(address)) };
    // RFC 9568 §6.4.3, Active state.
    let table = [
        (100, "10.0.0.1", 0, "10.0.0.2", Verdict::TheyLeave),
        (100, "10.0.0.1", 101, "10.0.0.2", Verdict::TheyWin),
        (100, "10.0.0.9", 101, "10.0.0.2", Verdict::TheyWin),
        (100, "10.0.0.1", 100, "10.0.0.2", Verdict::TheyWin),
        (100, "10.0.0.2", 100, "10.0.0.1", Verdict::WeWin),
        (100, "10.0.0.1", 99, "10.0.0.2", Verdict::WeWin),
        (100, "10.0.0.1", 100, "10.0.0.1", Verdict::Mirror),
        // Addresses are numbers, not text.
        (100, "10.0.0.9", 100, "10.0.0.10", Verdict::TheyWin),
        (100, "fe80::9", 100, "fe80::a", Verdict::TheyWin),
        (255, "10.0.0.2", 255, "10.0.0.1", Verdict::WeWin),
    ];
    for (mine, my_address, theirs, their_address, wanted) in table {
        let verdict = judge(claimant(mine, my_address), claimant(theirs, their_address));
        assert_eq!(verdict, wanted, "{mine} {my_address} against {theirs} {their_address}");
    }
    let unknown = Claimant { priority: Priority(100), address: None };
    assert_eq!(judge(unknown, claimant(100, "10.0.0.2")), Verdict::Mirror);
}

#[test]
fn effective_priority() {
    let table: [(u8, &[i32], u8, i32); 8] = [
        (100, &[], 100, 100),
        (100, &[10, -30], 80, 80),
        (100, &[253], 254, 353),
        (100, &[-253], 1, -153),
        (100, &[-253, 253], 100, 100),
        (254, &[1], 254, 255),
        (255, &[-253], 255, 255),
        (1, &[i32::MIN, i32::MIN], 1, i32::MIN),
    ];
    for (base, parts, wanted, total) in table {
        assert_eq!(effective(Priority(base), parts.iter().copied()), (Priority(wanted), total), "{base} {parts:?}");
    }
}

#[test]
fn debounce_never_outlasts_the_backup() {
    assert_eq!(longest_debounce(ms(1000), 3), Interval::from_micros(1_996_094));
    assert_eq!(longest_debounce(ms(1000), 1), Interval::ZERO);
}

#[test]
fn weights() {
    use Reading::{Good, Number, Pending, Unknown};
    // weight, reverse, reading → amount, fault, pending
    let table = [
        (0, false, Good(true), 0, false, false),
        (0, false, Good(false), 0, true, false),
        (0, true, Good(true), 0, true, false),
        (0, true, Good(false), 0, false, false),
        (10, false, Good(true), 10, false, false),
        (10, false, Good(false), 0, false, false),
        (-10, false, Good(true), 0, false, false),
        (-10, false, Good(false), -10, false, false),
        (10, true, Good(true), -10, false, false),
        (10, true, Good(false), 0, false, false),
        (-10, true, Good(true), 0, false, false),
        (-10, true, Good(false), 10, false, false),
        (0, false, Pending, 0, false, true),
        (10, false, Pending, 0, false, false),
        (0, false, Unknown, 0, false, false),
        (1, false, Number(7), 7, false, false),
        (2, false, Number(7), 14, false, false),
        (-2, false, Number(7), -14, false, false),
        (1, true, Number(7), -7, false, false),
        (1, false, Number(400), 253, false, false),
        (1, false, Number(253), 253, false, false),
        (1, false, Number(-253), -253, false, false),
        (1, false, Number(-254), 0, true, false),
        (2, false, Number(-127), 0, true, false),
        (254, false, Number(i32::MAX), 253, false, false),
        (254, false, Number(i32::MIN), 0, true, false),
        (0, false, Number(0), 0, false, false),
        (0, false, Number(1), 0, true, false),
        (0, false, Number(-1), 0, true, false),
        (0, true, Number(0), 0, true, false),
        (0, true, Number(5), 0, false, false),
    ];
    for (weight, reverse, reading, amount, fault, pending) in table {
        let made = weigh(weight, reverse, reading);
        assert_eq!((made.amount, made.fault, made.pending), (amount, fault, pending), "{weight} {reverse} {reading:?}");
    }
}

#[test]
fn the_group_table() {
    use group::Verdict::{AllBackup, AllFault, AllMaster};
    let member = |word: &str| match word {
        "faulty" => Member { role: Role::Fault, faulty: true, wants: false },
        "failing" => Member { role: Role::Master, faulty: true, wants: false },
        "held" => Member { role: Role::Fault, faulty: false, wants: false },
        "new" => Member { role: Role::Init, faulty: false, wants: false },
        "content" => Member { role: Role::Backup, faulty: false, wants: false },
        "wanting" => Member { role: Role::Backup, faulty: false, wants: true },
        "master" => Member { role: Role::Master, faulty: false, wants: false },
        other => panic!("{other}"),
    };
    let table: [(&[&str], group::Verdict); 16] = [
        (&[], AllBackup),
        (&["master"], AllMaster),
        (&["content"], AllBackup),
        (&["wanting"], AllMaster),
        (&["faulty"], AllFault),
        (&["master", "master"], AllMaster),
        (&["master", "wanting"], AllMaster),
        (&["wanting", "wanting"], AllMaster),
        (&["master", "content"], AllBackup),
        (&["wanting", "content"], AllBackup),
        (&["content", "content"], AllBackup),
        (&["master", "faulty"], AllFault),
        (&["failing", "master"], AllFault),
        (&["faulty", "content"], AllFault),
        (&["held", "held"], AllBackup),
        (&["new", "master"], AllBackup),
    ];
    for (words, wanted) in table {
        assert_eq!(group::judge(words.iter().map(|word| member(word))), wanted, "{words:?}");
        let mut backwards: Vec<_> = words.iter().map(|word| member(word)).collect();
        backwards.reverse();
        assert_eq!(group::judge(backwards), wanted, "{words:?} backwards");
    }
    assert_eq!(group::role([Role::Master, Role::Master]), Role::Master);
    assert_eq!(group::role([Role::Master, Role::Fault]), Role::Fault);
    assert_eq!(group::role([Role::Init, Role::Init]), Role::Init);
    assert_eq!(group::role([]), Role::Init);
}
