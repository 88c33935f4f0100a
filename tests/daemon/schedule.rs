//! What may stand in `reload_time_file`.

use vipd::daemon::schedule::moment;

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
