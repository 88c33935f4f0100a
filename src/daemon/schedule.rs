//! `reload_time_file`: a file whose first line says when the configuration is to be read again.
//!
//! `HH:MM:SS`, `YY-MM-DD HH:MM:SS` or `YYYY-MM-DD HH:MM:SS`, with `Z` behind it for UTC. A time of day that is past means
//! tomorrow; a date that is past means nothing. The file is removed after use, unless `reload_repeat` is set and it names
//! no date. It is looked at once a second, and only when there is such a keyword.

use crate::kernel::aside;
use crate::observe::calendar::{Local, Moment};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

const DAY: i64 = 86_400;
/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The clock was set back when it shows so much less than before, in seconds.
const BACK: i64 = 2;

/// The file and what it says.
#[derive(Debug)]
pub struct Schedule {
    path: PathBuf,
    repeat: bool,
    seen: Option<(SystemTime, u64)>,
    /// The wall clock when the file was looked at last, in seconds since the epoch.
    looked: i64,
    /// Seconds since the epoch.
    due: Option<i64>,
    dated: bool,
    /// When to look next.
    next: Instant,
    /// It is being looked at.
    asked: Option<oneshot::Receiver<(Schedule, bool)>>,
}

impl Schedule {
    /// `reload_time_file` and `reload_repeat`; the file is not looked at yet.
    pub fn new(path: &str, repeat: bool) -> Schedule {
        Schedule {
            path: path.into(),
            repeat,
            seen: None,
            looked: 0,
            due: None,
            dated: false,
            next: Instant::now(),
            asked: None,
        }
    }

    /// Waits until it is time. Cancel-safe; the file is looked at aside.
    pub async fn due(&mut self) {
        loop {
            if let Some(asked) = &mut self.asked {
                let looked = asked.await;
                self.asked = None;
                let due = looked.is_ok_and(|(schedule, due)| {
                    *self = schedule;
                    due
                });
                self.next = Instant::now() + LOOK;
                if due {
                    return;
                }
            }
            sleep_until(self.next).await;
            let mut schedule = self.copy();
            self.asked = Some(aside::ask(format!("reload_time_file {}", self.path.display()), move || {
                let due = schedule.look();
                (schedule, due)
            }));
        }
    }

    fn copy(&self) -> Schedule {
        let Schedule { path, repeat, seen, looked, due, dated, next, .. } = self;
        Schedule {
            path: path.clone(),
            repeat: *repeat,
            seen: *seen,
            looked: *looked,
            due: *due,
            dated: *dated,
            next: *next,
            asked: None,
        }
    }

    /// To be asked once a second: is it time?
    pub fn look(&mut self) -> bool {
        self.look_at(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64))
    }

    /// As [`Schedule::look`]; `now`: seconds since the epoch.
    pub fn look_at(&mut self, now: i64) -> bool {
        let before = std::mem::replace(&mut self.looked, now);
        // A clock that was far ahead and is right now: what it made of a time of day is days or years away.
        if now < before - BACK {
            self.seen = None;
        }
        let stamp = std::fs::metadata(&self.path).ok().and_then(|meta| Some((meta.modified().ok()?, meta.len())));
        if stamp != self.seen {
            self.seen = stamp;
            let text = stamp.and_then(|_| std::fs::read_to_string(&self.path).ok()).unwrap_or_default();
            self.read(text.lines().next().unwrap_or(""), now);
        }
        if self.due.is_none_or(|due| due > now) {
            return false;
        }
        if self.repeat && !self.dated {
            self.due = self.due.map(|due| due + DAY * ((now - due) / DAY + 1));
        } else {
            self.due = None;
            self.seen = None;
            let _ = std::fs::remove_file(&self.path);
        }
        true
    }

    fn read(&mut self, line: &str, now: i64) {
        (self.due, self.dated) = (None, false);
        if line.trim().is_empty() {
            return;
        }
        match moment(line.trim(), now) {
            Some((at, dated)) if at > now => {
                (self.due, self.dated) = (Some(at), dated);
                tracing::info!(target: "parent", "Reload scheduled for {}", Local::at(at).ctime());
            }
            Some((at, false)) => self.due = Some(at + DAY),
            Some(_) => tracing::warn!(target: "parent", "Reload time '{line}' is in the past, ignored"),
            None => tracing::warn!(target: "parent", "Reload time '{line}' is not understood, ignored"),
        }
    }
}

/// Seconds since the epoch, and whether a date was given; a bare time of day is that of today.
pub fn moment(line: &str, now: i64) -> Option<(i64, bool)> {
    let (line, utc) = match line.strip_suffix(['Z', 'z']) {
        Some(rest) => (rest.trim_end(), true),
        None => (line, false),
    };
    let (date, time) = match line.split_once([' ', 'T']) {
        Some((date, time)) => (Some(date), time.trim()),
        None => (None, line),
    };
    let [hour, minute, second] = numbers(time, ':')?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (year, month, day) = match date {
        Some(date) => {
            let [year, month, day] = numbers(date, '-')?;
            let century = if date.find('-') == Some(2) { 2000 } else { 0 };
            (year.checked_add(century)?, month, day)
        }
        None => {
            let today = if utc { Local::utc(now) } else { Local::at(now) };
            (today.year, today.month as i32 + 1, today.day as i32)
        }
    };
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || !(1970..=9999).contains(&year) {
        return None;
    }
    let at = Moment { year, month, day, hour, minute, second };
    Some((if utc { at.from_utc() } else { at.from_local() }, date.is_some()))
}

fn numbers(text: &str, separator: char) -> Option<[i32; 3]> {
    let mut parts = text.split(separator).map(|part| part.parse::<u16>().ok().map(i32::from));
    let all = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(all)
}
