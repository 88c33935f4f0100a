//! Moments as people write them: local time for logs, dumps and mail.

use std::time::{SystemTime, UNIX_EPOCH};

/// A moment, broken down in local time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    pub year: i32,
    /// 0..=11
    pub month: usize,
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
    /// 0 is Sunday.
    pub weekday: usize,
    /// Seconds east of Greenwich.
    pub offset: i32,
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

impl Local {
    /// The time of day here and now.
    pub fn now() -> Local {
        Local::at(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64))
    }

    /// `seconds` since the epoch, in the time zone of this machine.
    pub fn at(seconds: i64) -> Local {
        let time: libc::time_t = seconds;
        // SAFETY: `tm` is plain data for which all zeroes is a value; localtime_r writes only into it and reads only
        // `time`, both of which live until it returns.
        Local::of(unsafe {
            let mut tm: libc::tm = std::mem::zeroed();
            libc::localtime_r(&raw const time, &raw mut tm);
            tm
        })
    }

    /// `seconds` since the epoch, in UTC.
    pub fn utc(seconds: i64) -> Local {
        let time: libc::time_t = seconds;
        // SAFETY: as for localtime_r above.
        Local::of(unsafe {
            let mut tm: libc::tm = std::mem::zeroed();
            libc::gmtime_r(&raw const time, &raw mut tm);
            tm
        })
    }

    fn of(tm: libc::tm) -> Local {
        Local {
            year: tm.tm_year.saturating_add(1900),
            month: usize::try_from(tm.tm_mon).unwrap_or(0),
            day: tm.tm_mday.unsigned_abs(),
            hour: tm.tm_hour.unsigned_abs(),
            minute: tm.tm_min.unsigned_abs(),
            second: tm.tm_sec.unsigned_abs(),
            weekday: usize::try_from(tm.tm_wday).unwrap_or(0),
            offset: i32::try_from(tm.tm_gmtoff).unwrap_or(0),
        }
    }

    fn month_name(&self) -> &'static str {
        MONTHS.get(self.month).copied().unwrap_or("???")
    }
    fn day_name(&self) -> &'static str {
        DAYS.get(self.weekday).copied().unwrap_or("???")
    }

    /// As ctime(3) writes it, without the line end: `Fri Nov 20 22:36:46 2026`.
    pub fn ctime(&self) -> String {
        format!(
            "{} {} {:2} {:02}:{:02}:{:02} {}",
            self.day_name(),
            self.month_name(),
            self.day,
            self.hour,
            self.minute,
            self.second,
            self.year
        )
    }

    /// As the traditional syslog protocol writes it (RFC 3164): `Nov 20 22:36:46`.
    pub fn syslog(&self) -> String {
        format!("{} {:2} {:02}:{:02}:{:02}", self.month_name(), self.day, self.hour, self.minute, self.second)
    }

    /// As a mail header writes it (RFC 5322): `Fri, 20 Nov 2026 22:36:46 +0000`.
    pub fn mail(&self) -> String {
        let minutes = self.offset / 60;
        format!(
            "{}, {:02} {} {} {:02}:{:02}:{:02} {}{:02}{:02}",
            self.day_name(),
            self.day,
            self.month_name(),
            self.year,
            self.hour,
            self.minute,
            self.second,
            if minutes < 0 { '-' } else { '+' },
            minutes.abs() / 60,
            minutes.abs() % 60
        )
    }
}

/// A date and a time of day as they are written; `month` and `day` from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    pub year: i32,
    pub month: i32,
    pub day: i32,
    pub hour: i32,
    pub minute: i32,
    pub second: i32,
}

impl Moment {
    /// Seconds since the epoch, if it is meant in the time zone of this machine.
    pub fn from_local(self) -> i64 {
        let mut tm = self.tm();
        // SAFETY: mktime reads and normalises `tm`, which lives until it returns.
        unsafe { libc::mktime(&raw mut tm) }
    }

    /// Seconds since the epoch, if it is meant in UTC.
    pub fn from_utc(self) -> i64 {
        let mut tm = self.tm();
        // SAFETY: timegm reads and normalises `tm`, which lives until it returns.
        unsafe { libc::timegm(&raw mut tm) }
    }

    fn tm(self) -> libc::tm {
        // SAFETY: all zeroes is a value of this plain data.
        let mut tm: libc::tm = unsafe { std::mem::zeroed() };
        tm.tm_year = self.year.saturating_sub(1900);
        tm.tm_mon = self.month.saturating_sub(1);
        tm.tm_mday = self.day;
        tm.tm_hour = self.hour;
        tm.tm_min = self.minute;
        tm.tm_sec = self.second;
        tm.tm_isdst = -1;
        tm
    }
}
