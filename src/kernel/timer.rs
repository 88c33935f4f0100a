//! The engine's alarm clock: one timerfd, armed for an absolute [`Time`].
//!
//! tokio's own timers tick in whole milliseconds, which would put two backups whose skew differs by microseconds in
//! random order. A timerfd with an absolute deadline keeps the order and cannot drift.

use crate::time::Time;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::unix::AsyncFd;

/// Owned by one thread, inside its tokio runtime.
#[derive(Debug)]
pub struct Timer {
    fd: AsyncFd<OwnedFd>,
    armed: Time,
}

impl Timer {
    /// Must be called inside a tokio runtime with its I/O driver on.
    ///
    /// # Errors
    /// Whatever timerfd_create(2) answers: out of descriptors or memory.
    pub fn new() -> io::Result<Timer> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Timer { fd: super::readiness::readable(fd)?, armed: Time::NEVER })
    }

    /// Fires at `at`, at once if that has passed, never at [`Time::NEVER`]. Arming again replaces; arming for the same
    /// time costs nothing.
    ///
    /// # Errors
    /// None in practice; those of timerfd_settime(2).
    pub fn arm(&mut self, at: Time) -> io::Result<()> {
        if self.armed == at {
            return Ok(());
        }
        let micros = at.as_micros().max(1); // zero would disarm
        let value = if at == Time::NEVER {
            Timespec { tv_sec: 0, tv_nsec: 0 }
        } else {
            Timespec {
                tv_sec: i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX),
                tv_nsec: i64::try_from(micros % 1_000_000).unwrap_or(0).saturating_mul(1_000),
            }
        };
        let spec = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(self.fd.get_ref(), TimerfdTimerFlags::ABSTIME, &spec)?;
        self.armed = at;
        Ok(())
    }

    /// Resolves when the armed time has come. Cancel-safe.
    ///
    /// # Errors
    /// Only if the runtime is shutting down.
    pub async fn fired(&mut self) -> io::Result<()> {
        loop {
            // Nobody reads the count of the timer: the watch tells each expiry anew, and arming it again takes the count
            // away. That is one call less for each advert.
            self.fd.readable().await?.clear_ready();
            // Else it was armed anew after it had become readable: nothing has expired.
            if self.armed <= super::clock::now() {
                self.armed = Time::NEVER;
                return Ok(());
            }
        }
    }
}
