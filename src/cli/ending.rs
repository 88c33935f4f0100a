//! Signals that ask a command to end while it still has something to put back.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

/// SIGTERM, SIGHUP, SIGINT and SIGQUIT, without what whoever started this ignores (nohup): that ends nothing here either.
pub(super) fn signals() -> SigSet {
    let ignored = ignored(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
    let ends = |signal: &Signal| ignored >> (*signal as u32 - 1) & 1 == 0;
    [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT].into_iter().filter(ends).collect()
}

/// The signals that a process ignores, as `/proc/PID/status` has them: signal 1 is the lowest bit.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// The exit code of a command that a signal has ended: 128 and its number, as a shell has it.
pub(super) fn died_of(signal: Signal) -> ExitCode {
    ExitCode::from(u8::try_from(128 + signal as i32).unwrap_or(u8::MAX))
}

/// While it lives, [`signals`] do not end this process, which has one thread, but are told of.
pub(super) struct Held {
    before: SigSet,
    news: SignalFd,
}

impl Held {
    /// # Errors
    /// No descriptor is left.
    pub(super) fn new() -> io::Result<Held> {
        let signals = signals();
        let news = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Held { before: signals.thread_swap_mask(SigmaskHow::SIG_BLOCK)?, news })
    }

    /// The signal that has come, or comes within `time`.
    pub(super) fn within(&self, time: Duration) -> Option<Signal> {
        let time = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
        let _ = poll(&mut [PollFd::new(self.news.as_fd(), PollFlags::POLLIN)], time);
        let signal = self.news.read_signal().ok().flatten()?;
        Signal::try_from(i32::try_from(signal.ssi_signo).ok()?).ok()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.before.thread_set_mask();
    }
}

#[cfg(test)]
mod tests {
    /// What a signal that is ignored from the beginning (nohup) must not do is end anything.
    #[test]
    fn signals_that_are_ignored_are_read_from_the_kernel() {
        assert_eq!(super::ignored("Name:\tvipctl\nSigIgn:\t0000000000001001\nSigCgt:\t0\n"), 0x1001);
        assert_eq!(super::ignored(""), 0);
    }
}
