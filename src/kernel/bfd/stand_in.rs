//! Somebody who speaks for the sessions while this process has no program: between exec(2) and the first packet of the
//! program after it lie tens of milliseconds, more than a peer with a short detection time waits.
//!
//! A child with the same sockets repeats each session's last word at its interval, and knows nothing else. The next
//! program ends it before it speaks itself; it ends by itself with its parent, and after
//! [`LONGEST`] in any case.

use crate::bfd::io::LENGTH;
use crate::time::{Interval, Time};
use socket2::SockAddr;
use std::io::{self, Read};
use std::os::fd::RawFd;

/// A program that takes longer to begin has failed.
const LONGEST: Interval = Interval::from_secs(5);

/// Where one session's packets go.
#[derive(Clone, Debug)]
pub struct Relay {
    pub(super) descriptor: RawFd,
    pub(super) to: SockAddr,
}

/// One session's last word.
#[derive(Clone, Debug)]
pub struct Word {
    pub relay: Relay,
    pub bytes: [u8; LENGTH],
    pub interval: Interval,
    pub next: Time,
}

/// The child, by its process identifier.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct StandIn(i32);

impl StandIn {
    /// Begins to speak, while the process that this is called in lives.
    ///
    /// # Errors
    /// No child can be made.
    pub fn begin(mut words: Vec<Word>) -> io::Result<StandIn> {
        let end = crate::kernel::clock::now() + LONGEST;
        words.sort_by_key(|word| word.relay.descriptor);
        let (heard, said) = std::io::pipe()?;
        let parent = std::process::id();
        // SAFETY: the child makes system calls and nothing else: no memory is asked for, no lock is taken, nothing that
        // another thread may have been in the middle of is touched.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => speak(&mut words, end, parent),
            pid => {
                // The child has let go of everything that is not its own (a lock on a pid file that the next program wants)
                // when its end of the pipe is closed.
                drop(said);
                let _ = (&heard).read(&mut [0]);
                Ok(StandIn(pid))
            }
        }
    }

    /// Ends the child, if it is one of this process, and sees to it that it has ended.
    pub fn end(self) {
        if self.0 > 1 {
            let mut status = 0;
            // SAFETY: numbers only; waitpid waits for this one child, which cannot refuse the signal. Where it is no child
            // of ours both do nothing that matters: it is asked first whether it is one.
            unsafe {
                if libc::waitpid(self.0, &raw mut status, libc::WNOHANG) == 0 {
                    libc::kill(self.0, libc::SIGKILL);
                    libc::waitpid(self.0, &raw mut status, 0);
                }
            }
        }
    }
}

fn speak(words: &mut [Word], end: Time, parent: u32) -> ! {
    // SAFETY: system calls with values and pointers to memory of this process.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, 1);
        let mut from = 0;
        for word in words.iter() {
            let own = word.relay.descriptor as libc::c_uint;
            if own > from {
                libc::close_range(from, own - 1, 0);
            }
            from = own + 1;
        }
        libc::close_range(from, libc::c_uint::MAX, 0);
    }
    loop {
        let due = words.iter().map(|word| word.next).min().unwrap_or(Time::NEVER);
        if due >= end {
            // SAFETY: ends the child without running anything of its parent's.
            unsafe { libc::_exit(0) };
        }
        let micros = due.as_micros();
        let at = libc::timespec {
            tv_sec: (micros / 1_000_000) as libc::time_t,
            tv_nsec: ((micros % 1_000_000) * 1_000) as libc::c_long,
        };
        // SAFETY: `at` lives until the call has returned.
        unsafe {
            libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &raw const at, std::ptr::null_mut())
        };
        // SAFETY: takes nothing. Whose parent has died has another one.
        if u32::try_from(unsafe { libc::getppid() }) != Ok(parent) {
            // SAFETY: as above.
            unsafe { libc::_exit(0) };
        }
        let now = crate::kernel::clock::now();
        for word in words.iter_mut().filter(|word| word.next <= now) {
            let to = &word.relay.to;
            // SAFETY: bytes and address live until the call has returned.
            unsafe {
                libc::sendto(
                    word.relay.descriptor,
                    word.bytes.as_ptr().cast(),
                    LENGTH,
                    libc::MSG_DONTWAIT,
                    to.as_ptr().cast(),
                    to.len(),
                );
            }
            // The middle of what jitter allows.
            word.next = now + word.interval.scaled(85, 100);
        }
    }
}
