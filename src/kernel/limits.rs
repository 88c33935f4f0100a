//! The time limits of all probes of a thread, behind one timer.
//!
//! A probe sets a limit with each of its steps and gives it up a moment later. The runtime writes to a descriptor of its own
//! for each timer that is nearer than those it went to sleep with: a system call for almost every step. Here a limit is an
//! entry in a list. The one timer is set when a limit is nearer than it, and is otherwise left to run out, be the limit that
//! it was set for long given up: with a thousand checks a second and five seconds for each it is set every five seconds.

use super::clock;
use crate::agenda::{Agenda, Slot};
use crate::time::Time;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Poll, Waker};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, unconstrained};
use tokio::time::sleep_until;

/// Which limits are set, who waits with each, and for when the timer is set.
#[derive(Debug)]
struct Book<W> {
    agenda: Agenda,
    /// By slot.
    entries: Vec<Entry<W>>,
    free: Vec<Slot>,
    timer: Option<Time>,
}

#[derive(Debug)]
enum Entry<W> {
    Free,
    Waits(W),
    /// It has come.
    Over,
}

impl<W> Default for Book<W> {
    fn default() -> Book<W> {
        Book { agenda: Agenda::default(), entries: Vec::new(), free: Vec::new(), timer: None }
    }
}

impl<W> Book<W> {
    /// Sets a limit. True: the timer comes too late for it.
    fn set(&mut self, at: Time, who: W) -> (Slot, bool) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry::Free);
            Slot::try_from(self.entries.len() - 1).unwrap_or(Slot::MAX - 1)
        });
        if let Some(entry) = self.entry(slot) {
            *entry = Entry::Waits(who);
        }
        self.agenda.set(slot, Some(at));
        (slot, at != Time::NEVER && self.timer.is_none_or(|timer| at < timer))
    }

    /// Gives a limit up, whether it has come or not.
    fn clear(&mut self, slot: Slot) {
        if let Some(entry) = self.entry(slot) {
            *entry = Entry::Free;
        }
        self.agenda.set(slot, None);
        self.free.push(slot);
    }

    /// Who waits with this limit; `None` when it has come.
    fn waiting(&mut self, slot: Slot) -> Option<&mut W> {
        match self.entry(slot) {
            Some(Entry::Waits(who)) => Some(who),
            _ => None,
        }
    }

    /// One that waits with a limit that has come.
    fn due(&mut self, now: Time) -> Option<W> {
        let (_, slot) = self.agenda.next().filter(|(at, _)| *at <= now)?;
        self.agenda.set(slot, None);
        match std::mem::replace(self.entry(slot)?, Entry::Over) {
            Entry::Waits(who) => Some(who),
            Entry::Free | Entry::Over => None,
        }
    }

    /// When the timer is to run out from here on; `None` while there is no limit.
    fn wind(&mut self) -> Option<Time> {
        self.timer = self.agenda.next().map(|(at, _)| at);
        self.timer
    }

    fn entry(&mut self, slot: Slot) -> Option<&mut Entry<W>> {
        self.entries.get_mut(usize::try_from(slot).ok()?)
    }
}

/// The limits of one runtime's probes.
#[derive(Debug, Default)]
pub(super) struct Limits {
    shared: Arc<Shared>,
    timer: OnceLock<AbortHandle>,
}

#[derive(Debug, Default)]
struct Shared {
    book: Mutex<Book<Waker>>,
    nearer: Notify,
}

impl Shared {
    /// A panic elsewhere leaves a book that is as good as before.
    fn book(&self) -> MutexGuard<'_, Book<Waker>> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn keep_time(&self) {
        loop {
            let now = clock::now();
            // Not locked while somebody is woken.
            while let Some(who) = { self.book().due(now) } {
                who.wake();
            }
            let timer = { self.book().wind() };
            let runs_out = async {
                match timer {
                    Some(at) => sleep_until(clock::instant(at).into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = runs_out => {}
                () = self.nearer.notified() => {}
            }
        }
    }
}

/// The time was over first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Late;

impl Limits {
    /// What `wanted` comes to, until then. What has come counts, however late it is looked at. Needs a tokio runtime, the same
    /// each time.
    pub(super) async fn within<F: Future>(&self, until: Time, wanted: F) -> Result<F::Output, Late> {
        let mut wanted = pin!(wanted);
        let mut limit: Option<Limit<'_>> = None;
        std::future::poll_fn(|context| {
            if limit.as_ref().is_some_and(Limit::is_over) {
                // What has come is not to wait for its turn any more.
                return Poll::Ready(match pin!(unconstrained(wanted.as_mut())).poll(context) {
                    Poll::Ready(got) => Ok(got),
                    Poll::Pending => Err(Late),
                });
            }
            if let Poll::Ready(got) = wanted.as_mut().poll(context) {
                return Poll::Ready(Ok(got));
            }
            match &limit {
                None => limit = Some(self.set(until, context.waker())),
                Some(limit) => limit.wakes(context.waker()),
            }
            Poll::Pending
        })
        .await
    }

    fn set(&self, until: Time, who: &Waker) -> Limit<'_> {
        let (slot, is_nearer) = self.shared.book().set(until, who.clone());
        self.timer.get_or_init(|| {
            let shared = self.shared.clone();
            tokio::spawn(async move { shared.keep_time().await }).abort_handle()
        });
        if is_nearer {
            self.shared.nearer.notify_one();
        }
        Limit { shared: &self.shared, slot }
    }
}

impl Drop for Limits {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.get() {
            timer.abort();
        }
    }
}

/// A limit that is set; dropping it gives it up.
struct Limit<'a> {
    shared: &'a Shared,
    slot: Slot,
}

impl Limit<'_> {
    fn is_over(&self) -> bool {
        self.shared.book().waiting(self.slot).is_none()
    }

    /// Whoever looks last is woken.
    fn wakes(&self, who: &Waker) {
        if let Some(known) = self.shared.book().waiting(self.slot) {
            known.clone_from(who);
        }
    }
}

impl Drop for Limit<'_> {
    fn drop(&mut self) {
        self.shared.book().clear(self.slot);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::time::Interval;

    fn ms(millis: u64) -> Time {
        Time::from_micros(millis * 1_000)
    }

    /// What is done to a book, and what comes of it.
    enum Act {
        /// A limit of this name; does the timer have to be set?
        Set(&'static str, u64, bool),
        Clear(&'static str),
        /// The timer has run out, or was to be set: whose limits have come, and for when it is set.
        Look(u64, &'static [&'static str], Option<u64>),
    }

    fn play(acts: &[Act]) {
        let mut book = Book::default();
        let mut slots = std::collections::HashMap::new();
        for (at, act) in acts.iter().enumerate() {
            match *act {
                Act::Set(name, until, is_nearer) => {
                    let (slot, told) = book.set(ms(until), name);
                    assert_eq!(told, is_nearer, "act {at}");
                    assert!(slots.insert(name, slot).is_none());
                    assert_eq!(book.waiting(slot).copied(), Some(name), "act {at}");
                }
                Act::Clear(name) => book.clear(slots.remove(name).unwrap()),
                Act::Look(now, names, next) => {
                    let due: Vec<_> = std::iter::from_fn(|| book.due(ms(now))).collect();
                    assert_eq!(due, names, "act {at}");
                    assert!(names.iter().all(|name| book.waiting(slots[name]).is_none()), "act {at}");
                    assert_eq!(book.wind(), next.map(ms), "act {at}");
                }
            }
        }
        // Slots are used again.
        assert!(book.entries.len() <= acts.len());
        slots.into_values().for_each(|slot| book.clear(slot));
        assert_eq!((book.agenda.next(), book.free.len()), (None, book.entries.len()));
    }

    use Act::{Clear, Look, Set};

    #[test]
    fn limits_come_in_their_order_and_those_given_up_do_not() {
        play(&[
            Set("c", 30, true),
            Look(0, &[], Some(30)),
            Set("a", 10, true),
            Set("b", 20, true),
            Set("d", 40, false),
            Look(0, &[], Some(10)),
            Clear("b"),
            Look(30, &["a", "c"], Some(40)),
            Clear("a"),
            Set("e", 40, false),
            Look(39, &[], Some(40)),
            Look(40, &["e", "d"], None),
        ]);
    }

    #[test]
    fn a_limit_that_has_passed_comes_at_the_next_look() {
        play(&[Look(50, &[], None), Set("late", 10, true), Look(50, &["late"], None)]);
    }

    #[test]
    fn the_timer_runs_out_for_a_limit_given_up_and_is_then_set_for_the_nearest() {
        play(&[
            Set("first", 10, true),
            Look(0, &[], Some(10)),
            Clear("first"),
            Set("second", 15, false),
            Clear("second"),
            Set("third", 20, false),
            Look(10, &[], Some(20)),
            Clear("third"),
            Look(20, &[], None),
        ]);
    }

    /// The point of it: a thousand probes a second with four steps each, and five seconds for each of them.
    #[test]
    fn the_timer_is_set_once_in_the_time_of_a_limit_however_many_are_set_and_given_up() {
        let (mut book, mut times) = (Book::default(), 0);
        for step in 0..40_000 {
            let now = Time::from_micros(step * 250);
            if book.timer.is_some_and(|timer| timer <= now) {
                assert_eq!(book.due(now), None);
                times += 1;
                book.wind();
            }
            let (slot, is_nearer) = book.set(now + Interval::from_secs(5), ());
            if is_nearer {
                times += 1;
                book.wind();
            }
            book.clear(slot);
        }
        assert!(times <= 6, "{times}");
        assert_eq!(book.entries.len(), 1);
    }

    #[test]
    fn no_limit_is_never() {
        let mut book = Book::default();
        let (slot, is_nearer) = book.set(Time::NEVER, "never");
        assert!(!is_nearer);
        assert_eq!((book.due(ms(u64::MAX / 2_000)), book.wind()), (None, None));
        assert!(book.waiting(slot).is_some());
    }

    #[test]
    fn what_has_come_counts_and_what_does_not_is_late() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let limits = Limits::default();
            assert_eq!(limits.within(Time::ZERO, async { 1 }).await, Ok(1));
            assert_eq!(limits.within(Time::ZERO, std::future::pending::<()>()).await, Err(Late));
            let (sender, receiver) = tokio::sync::oneshot::channel();
            let waits = limits.within(Time::NEVER, receiver);
            let (got, ()) = tokio::join!(waits, async { sender.send(2).unwrap() });
            assert_eq!(got, Ok(Ok(2)));
            // Each is woken, in any order.
            let now = clock::now();
            let pending = |millis| limits.within(now + Interval::from_millis(millis), std::future::pending::<()>());
            assert_eq!(tokio::join!(pending(3), pending(1), pending(2)), (Err(Late), Err(Late), Err(Late)));
            assert!(clock::now() >= now + Interval::from_millis(3));
            let book = limits.shared.book();
            assert_eq!((book.agenda.next(), book.free.len()), (None, book.entries.len()));
        });
    }
}
