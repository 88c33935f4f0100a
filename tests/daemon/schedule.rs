//! What may stand in `reload_time_file`.

use vipd::daemon::schedule::{Schedule, moment};

#[test]
fn times_are_read_in_all_three_forms() {
    // 2026-11-20 22:36:46 UTC
    let now = 1_795_214_206;
    assert_eq!(moment("2026-11-20 22:36:46Z", now), Some((now, true)));
    assert_eq!(moment("26-11-20 22:36:47Z", now), Some((now + 1, true)));
    assert_eq!(moment("22:37:46Z", now), Some((now + 60, false)));
    assert_eq!(moment("00:00:00Z", now), Some((now - now % 86_400, false)));
}

#[test]
fn nonsense_is_refused() {
    for line in ["", "now", "25:00:00", "12:60:00", "12:00", "2026-13-01 00:00:00", "1-2-3-4 00:00:00", "12:00:00:00"] {
        assert_eq!(moment(line, 0), None, "{line}");
    }
}

/// A machine whose clock was years ahead at the start: the reload of each day is not put off until then.
#[test]
fn a_clock_that_is_set_back_does_not_put_the_daily_reload_off() {
    let path = std::env::temp_dir().join(format!("reload_time_{}", std::process::id()));
    std::fs::write(&path, "22:37:46Z\n").unwrap();
    // 2026-11-20 22:36:46 UTC, and nine years later.
    let (now, ahead) = (1_795_214_206, 1_795_214_206 + 9 * 365 * 86_400);
    let mut schedule = Schedule::new(path.to_str().unwrap(), true);
    assert!(!schedule.look_at(ahead));
    assert!(!schedule.look_at(now));
    assert!(!schedule.look_at(now + 59));
    assert!(schedule.look_at(now + 60));
    // A second of it is no other time, and the next one is tomorrow.
    assert!(!schedule.look_at(now + 59));
    assert!(!schedule.look_at(now + 60));
    assert!(schedule.look_at(now + 60 + 86_400));
    std::fs::remove_file(path).unwrap();
}
