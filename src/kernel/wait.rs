//! Where a thread waits that must not be late: for descriptors, for a bell and for a point in time, in one system call.
//!
//! Each advert that is heard moves a deadline back, and each one that is sent sets the next. So there is no timer that
//! would have to be set every time: the time goes along with the call that waits. tokio's timers tick in whole
//! milliseconds, which would put two backups whose skew differs by microseconds in random order.

use super::clock;
use crate::time::{Interval, Time};
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};
use std::cell::{Cell, OnceCell};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Wake, Waker};

const BELL: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;
/// Descriptors told by one call; the rest is told by the next one. Nearly always there is one: room for more is written to each time.
const READY: usize = 16;
/// The kernel may end a wait later than it was told to, by a thousandth of its length, to save wake-ups
/// (`select_estimate_accuracy` in its fs/select.c; a two-hundredth for a nice process, nothing for a real-time one).
/// That is of no account in a wait that is not longer than this; a longer one is waited for in goes, each of which ends
/// too early by more than the kernel may be late. Who has slept to the end of his last wait has a timer set instead, which
/// ends on time and wakes him once.
const EXACT: Interval = Interval::from_millis(20);

/// Rings for the thread that waits; cheap, from any thread. Between two waits it rings once, however often it is asked to.
#[derive(Clone, Debug)]
pub struct Bell(Arc<Clapper>);

#[derive(Debug)]
struct Clapper {
    eventfd: OwnedFd,
    /// Grows by two with each ringing that was heard; odd: it has rung, and has not been heard yet.
    count: AtomicU64,
}

impl Bell {
    /// # Errors
    /// Out of descriptors or memory.
    pub fn new() -> io::Result<Bell> {
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Bell(Arc::new(Clapper { eventfd, count: AtomicU64::new(0) })))
    }

    /// To be called when the news is where the thread will find it.
    ///
    /// That it has rung is written down when it has: a ringer that is stopped half-way by the scheduler keeps nobody else from
    /// ringing. Two at once ring twice, which does no harm.
    pub fn ring(&self) {
        // A change, if of nothing: so it is ordered with that of the thread that waits, and what was left for it is seen.
        let before = self.0.count.fetch_add(0, Ordering::AcqRel);
        if before.is_multiple_of(2) {
            let _ = rustix::io::write(&self.0.eventfd, &1_u64.to_ne_bytes());
            // Heard meanwhile: then the next one rings again.
            let _ = self.0.count.compare_exchange(before, before | 1, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// The thread that waits looks for news from here on; later ones ring again.
    fn heard(&self) {
        let _ =
            self.0.count.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| Some((count | 1).wrapping_add(1)));
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

/// How a wait has ended.
#[derive(Clone, Copy, Debug)]
pub struct Woken {
    /// When: whoever was woken need not read the clock again.
    pub at: Time,
    /// The bell has rung.
    pub rung: bool,
}

/// Descriptors and a bell. Owned by the one thread that waits.
#[derive(Debug)]
pub struct Waiting {
    epoll: OwnedFd,
    bell: Bell,
    /// Made when it is needed first.
    timer: OnceCell<OwnedFd>,
    /// False with kernels before 5.11, and in sandboxes that know no later one: there a wait is as precise only with a timer that
    /// is set before each.
    has_limits: bool,
    /// The last wait has lasted as long as it might.
    slept_through: Cell<bool>,
}

impl Waiting {
    /// # Errors
    /// Out of descriptors or memory.
    pub fn new(bell: Bell) -> io::Result<Waiting> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        // Nobody reads the count of the bell: with the edge each ringing is told by itself.
        let edge = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, &bell.0.eventfd, epoll::EventData::new_u64(BELL), edge)?;
        let tried = epoll::wait(&epoll, &mut [NOTHING; 0], Some(&timespec(Interval::ZERO)));
        let has_limits = !matches!(tried, Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM));
        let waiting = Waiting { epoll, bell, timer: OnceCell::new(), has_limits, slept_through: Cell::new(false) };
        if !has_limits {
            waiting.timer()?;
        }
        Ok(waiting)
    }

    fn timer(&self) -> io::Result<&OwnedFd> {
        if let Some(timer) = self.timer.get() {
            return Ok(timer);
        }
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        // As with the bell: setting it once more takes an expiry away that was not read.
        let edge = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&self.epoll, &timer, epoll::EventData::new_u64(TIMER), edge)?;
        Ok(self.timer.get_or_init(|| timer))
    }

    /// From here on `descriptor` ends a wait while it is readable, and is told as `token` (any number but the two greatest).
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
    /// tokens of what is readable.
    ///
    /// # Errors
    /// None in practice; those of epoll_pwait2(2).
    pub fn wait(&self, until: Time, mut ready: impl FnMut(u64)) -> io::Result<Woken> {
        let mut events = [NOTHING; READY];
        let begun = clock::now();
        let mut now = begun;
        loop {
            let left = until.since(now);
            let limit = (until != Time::NEVER).then_some(left);
            let is_long = limit.is_some_and(|left| left > EXACT);
            let by_timer = !self.has_limits || (is_long && self.slept_through.get());
            let count = match by_timer.then(|| self.timer()) {
                Some(Ok(timer)) => wait_for(timer, &self.epoll, &mut events, limit),
                // Out of descriptors it does without.
                Some(Err(_)) | None => {
                    epoll::wait(&self.epoll, &mut events, limit.map(|left| timespec(go(left))).as_ref())
                }
            };
            let count = match count {
                Ok(count) => count,
                Err(rustix::io::Errno::INTR) => 0,
                Err(error) => return Err(error.into()),
            };
            let (mut rung, mut any) = (false, false);
            for token in events.iter().take(count).map(|event| event.data.u64()).filter(|token| *token != TIMER) {
                any = true;
                if token == BELL { rung = true } else { ready(token) }
            }
            now = clock::now();
            if !any && now < until {
                continue;
            }
            if rung {
                self.bell.heard();
            }
            if until > begun {
                self.slept_through.set(!any);
            }
            return Ok(Woken { at: now, rung });
        }
    }
}

const NOTHING: epoll::Event = epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) };

/// Waits in two system calls, for `left` at most; a timer is not late by a part of its length.
fn wait_for(
    timer: &OwnedFd,
    epoll: &OwnedFd,
    events: &mut [epoll::Event],
    left: Option<Interval>,
) -> Result<usize, rustix::io::Errno> {
    // All zeroes would be no limit at all, which is what `None` asks for.
    let value = left.map_or(timespec(Interval::ZERO), timespec);
    let setting = Itimerspec { it_interval: timespec(Interval::ZERO), it_value: value };
    timerfd_settime(timer, TimerfdTimerFlags::empty(), &setting)?;
    let millis = if left.is_some_and(Interval::is_zero) { 0 } else { -1 };
    let most = libc::c_int::try_from(events.len()).unwrap_or(libc::c_int::MAX);
    // SAFETY: `events` outlives the call and has room for `most`; rustix's event is laid out as the kernel's.
    let count = unsafe { libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr().cast(), most, millis) };
    usize::try_from(count)
        .map_err(|_| rustix::io::Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(rustix::io::Errno::INVAL))
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

    /// With epoll_pwait2, and as on a kernel that has none.
    fn both() -> [(Bell, Waiting); 2] {
        let (one, two) = (Bell::new().unwrap(), Bell::new().unwrap());
        [
            (one.clone(), Waiting::new(one).unwrap()),
            (two.clone(), Waiting { has_limits: false, ..Waiting::new(two).unwrap() }),
        ]
    }

    #[test]
    fn a_wait_in_several_goes_does_not_end_before_its_time() {
        for (_bell, waiting) in both() {
            for length in [EXACT.times(3), EXACT, Interval::ZERO] {
                let until = clock::now() + length;
                assert!(!waiting.wait(until, |_| unreachable!()).unwrap().rung);
                assert!(clock::now() >= until);
            }
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
        for (bell, waiting) in both() {
            bell.ring();
            bell.waker().wake();
            assert!(waiting.wait(Time::NEVER, |_| unreachable!()).unwrap().rung);
            assert!(!waiting.wait(Time::ZERO, |_| unreachable!()).unwrap().rung);
            let other = bell.clone();
            let ringer = std::thread::spawn(move || other.ring());
            assert!(waiting.wait(Time::NEVER, |_| unreachable!()).unwrap().rung);
            ringer.join().unwrap();
        }
    }

    #[test]
    fn no_ringing_is_lost_however_many_ring_at_once() {
        const RINGERS: u64 = 3;
        const NEWS: u64 = 3_000;
        for (bell, waiting) in both() {
            let told = Arc::new(AtomicU64::new(0));
            let ringers: Vec<_> = (0..RINGERS)
                .map(|_| {
                    let (bell, told) = (bell.clone(), told.clone());
                    std::thread::spawn(move || {
                        for _ in 0..NEWS {
                            told.fetch_add(1, Ordering::Relaxed);
                            bell.ring();
                        }
                    })
                })
                .collect();
            // A ringing that was lost would leave this waiting for ever.
            while told.load(Ordering::Relaxed) < RINGERS * NEWS {
                assert!(waiting.wait(Time::NEVER, |_| unreachable!()).unwrap().rung);
            }
            for ringer in ringers {
                ringer.join().unwrap();
            }
        }
    }

    #[test]
    fn who_has_slept_to_the_end_is_woken_once_the_next_time() {
        const WAITS: i64 = 5;
        let wakings = || nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_THREAD);
        let [(_bell, waiting), _] = both();
        let wait = || waiting.wait(clock::now() + EXACT.times(2), |_| unreachable!()).unwrap();
        wait();
        let before = wakings().unwrap().voluntary_context_switches();
        for _ in 0..WAITS {
            wait();
        }
        let woken = wakings().unwrap().voluntary_context_switches() - before;
        // The machine may have had a thread wait for something else once.
        assert!(woken <= WAITS + 2, "{woken}");
    }

    #[test]
    fn a_timer_that_has_run_out_unread_does_not_end_the_next_wait() {
        let [_, (bell, waiting)] = both();
        let (here, there) = std::os::unix::net::UnixDatagram::pair().unwrap();
        waiting.add(&here, 7).unwrap();
        there.send(b"an advert").unwrap();
        // It has run out when this looks, and something is readable too.
        assert!(!waiting.wait(clock::now() + Interval::from_micros(1), |token| assert_eq!(token, 7)).unwrap().rung);
        here.recv(&mut [0; 16]).unwrap();
        let until = clock::now() + Interval::from_millis(5);
        assert!(!waiting.wait(until, |_| unreachable!()).unwrap().rung);
        assert!(clock::now() >= until);
        drop(bell);
    }

    #[test]
    fn what_is_readable_is_told_until_it_has_been_read() {
        for (_bell, waiting) in both() {
            let (here, there) = std::os::unix::net::UnixDatagram::pair().unwrap();
            waiting.add(&here, 7).unwrap();
            there.send(b"an advert").unwrap();
            for _ in 0..2 {
                let mut told = Vec::new();
                assert!(!waiting.wait(Time::NEVER, |token| told.push(token)).unwrap().rung);
                assert_eq!(told, [7]);
            }
            here.recv(&mut [0; 16]).unwrap();
            assert!(!waiting.wait(Time::ZERO, |_| unreachable!()).unwrap().rung);
        }
    }
}
