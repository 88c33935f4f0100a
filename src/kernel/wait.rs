//! Where a thread waits that must not be late: for descriptors, for a bell and for a point in time, in one system call.
//!
//! Each advert that is heard moves a deadline back, and each one that is sent sets the next. So there is no timer that
//! would have to be set every time: the time goes along with the call that waits. tokio's timers tick in whole
//! milliseconds, which would put two backups whose skew differs by microseconds in random order.

use super::clock;
use crate::time::{Interval, Time};
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

const BELL: u64 = u64::MAX;
/// Descriptors told by one call; the rest is told by the next one.
const READY: usize = 64;
/// The kernel may end a wait later than it was told to, by a thousandth of its length, to save wake-ups
/// (`select_estimate_accuracy` in its fs/select.c; a two-hundredth for a nice process, nothing for a real-time one).
/// That is of no account in a wait that is not longer than this; a longer one is waited for in goes, each of which ends
/// too early by more than the kernel may be late.
const EXACT: Interval = Interval::from_millis(20);

/// Rings for the thread that waits; cheap, from any thread. Between two waits it rings once, however often it is asked to.
#[derive(Clone, Debug)]
pub struct Bell(Arc<Clapper>);

#[derive(Debug)]
struct Clapper {
    eventfd: OwnedFd,
    rung: AtomicBool,
}

impl Bell {
    /// # Errors
    /// Out of descriptors or memory.
    pub fn new() -> io::Result<Bell> {
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Bell(Arc::new(Clapper { eventfd, rung: AtomicBool::new(false) })))
    }

    /// To be called when the news is where the thread will find it.
    pub fn ring(&self) {
        if !self.0.rung.swap(true, Ordering::AcqRel) {
            let _ = rustix::io::write(&self.0.eventfd, &1_u64.to_ne_bytes());
        }
    }

    /// The thread that waits looks for news from here on; later ones ring again.
    fn heard(&self) {
        self.0.rung.swap(false, Ordering::AcqRel);
    }

    /// Rings when a tokio channel that was polled with it has something.
    pub fn waker(&self) -> Waker {
        Arc::new(self.clone()).into()
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }
}

/// Descriptors and a bell. Owned by the one thread that waits.
#[derive(Debug)]
pub struct Waiting {
    epoll: OwnedFd,
    bell: Bell,
}

impl Waiting {
    /// # Errors
    /// Out of descriptors or memory.
    pub fn new(bell: Bell) -> io::Result<Waiting> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        // Nobody reads the count of the bell: with the edge each ringing is told anew.
        let edge = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, &bell.0.eventfd, epoll::EventData::new_u64(BELL), edge)?;
        Ok(Waiting { epoll, bell })
    }

    /// From here on `descriptor` ends a wait while it is readable, and is told as `token` (any number but the greatest).
    ///
    /// # Errors
    /// Out of memory or of watches.
    pub fn add(&self, descriptor: impl AsFd, token: u64) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, descriptor, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?)
    }

    /// Never waited for again. Whoever closes the last descriptor of a socket need not call this.
    pub fn remove(&self, descriptor: impl AsFd) {
        let _ = epoll::delete(&self.epoll, descriptor);
    }

    /// Sleeps until something is readable, the bell rings or `until` has come; a time that has passed only looks. Tells the
    /// tokens of what is readable, and answers whether the bell has rung.
    ///
    /// # Errors
    /// None in practice; those of epoll_pwait2(2).
    pub fn wait(&self, until: Time, mut ready: impl FnMut(u64)) -> io::Result<bool> {
        let mut events =
            [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; READY];
        loop {
            let left = until.since(clock::now());
            let limit = (until != Time::NEVER).then(|| timespec(go(left)));
            let count = match epoll::wait(&self.epoll, &mut events, limit.as_ref()) {
                Ok(count) => count,
                Err(rustix::io::Errno::INTR) => 0,
                Err(error) => return Err(error.into()),
            };
            if count == 0 && !left.is_zero() && clock::now() < until {
                continue;
            }
            let mut rung = false;
            for token in events.iter().take(count).map(|event| event.data.u64()) {
                if token == BELL { rung = true } else { ready(token) }
            }
            if rung {
                self.bell.heard();
            }
            return Ok(rung);
        }
    }
}

/// How long to wait at most in one call when so much is left.
fn go(left: Interval) -> Interval {
    if left <= EXACT { left } else { left.less(left.scaled(1, 128)) }
}

fn timespec(length: Interval) -> Timespec {
    let micros = length.as_micros();
    Timespec {
        tv_sec: i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(micros % 1_000_000).unwrap_or(0).saturating_mul(1_000),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn waiting() -> (Bell, Waiting) {
        let bell = Bell::new().unwrap();
        (bell.clone(), Waiting::new(bell).unwrap())
    }

    #[test]
    fn a_wait_in_several_goes_does_not_end_before_its_time() {
        let (_bell, waiting) = waiting();
        for length in [EXACT.times(3), EXACT, Interval::ZERO] {
            let until = clock::now() + length;
            assert!(!waiting.wait(until, |_| unreachable!()).unwrap());
            assert!(clock::now() >= until);
        }
    }

    #[test]
    fn a_go_ends_earlier_than_the_kernel_may_be_late() {
        for left in [Interval::from_millis(21), Interval::from_secs(4), Interval::from_secs(40_000)] {
            let latest_nice = go(left) + go(left).scaled(1, 200).min(Interval::from_millis(100));
            assert!(latest_nice <= left, "{left}");
        }
    }

    #[test]
    fn the_bell_is_heard_once_however_often_and_whenever_it_was_rung() {
        let (bell, waiting) = waiting();
        bell.ring();
        bell.waker().wake();
        assert!(waiting.wait(Time::NEVER, |_| unreachable!()).unwrap());
        assert!(!waiting.wait(Time::ZERO, |_| unreachable!()).unwrap());
        let other = bell.clone();
        let ringer = std::thread::spawn(move || other.ring());
        assert!(waiting.wait(Time::NEVER, |_| unreachable!()).unwrap());
        ringer.join().unwrap();
    }

    #[test]
    fn what_is_readable_is_told_until_it_has_been_read() {
        let (_bell, waiting) = waiting();
        let (here, there) = std::os::unix::net::UnixDatagram::pair().unwrap();
        waiting.add(&here, 7).unwrap();
        there.send(b"an advert").unwrap();
        for _ in 0..2 {
            let mut told = Vec::new();
            assert!(!waiting.wait(Time::NEVER, |token| told.push(token)).unwrap());
            assert_eq!(told, [7]);
        }
        here.recv(&mut [0; 16]).unwrap();
        assert!(!waiting.wait(Time::ZERO, |_| unreachable!()).unwrap());
    }
}
