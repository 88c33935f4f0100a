//! Wall clock times as people of this machine read them.

/// Local time of day and date: `14:03:12` today, `Nov 20 14:03:12` otherwise; empty for 0.
pub fn local(unix_micros: u64, now_micros: u64) -> String {
    if unix_micros == 0 {
        return String::new();
    }
    let (Some(then), Some(now)) = (broken_down(unix_micros), broken_down(now_micros)) else { return String::new() };
    let time = format!("{:02}:{:02}:{:02}", then.tm_hour, then.tm_min, then.tm_sec);
    if (then.tm_year, then.tm_yday) == (now.tm_year, now.tm_yday) {
        return time;
    }
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = usize::try_from(then.tm_mon).ok().and_then(|m| MONTHS.get(m)).copied().unwrap_or("");
    format!("{month} {:02} {time}", then.tm_mday)
}

fn broken_down(unix_micros: u64) -> Option<libc::tm> {
    let seconds = libc::time_t::try_from(unix_micros / 1_000_000).ok()?;
    // SAFETY: `tm` is plain data for which all zeroes is a value; localtime_r writes it and keeps no pointer.
    unsafe {
        let mut out: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&seconds, &mut out).is_null() { None } else { Some(out) }
    }
}
