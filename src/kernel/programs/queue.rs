//! Who runs at once and who waits: so many of a client's, in the order in which they were asked for, and nobody for a moment
//! after the kernel had no process or descriptor left. It starts nothing itself.

use super::client::{Job, Key, Notice, Room, Tell};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// After a lack of processes or descriptors, when to try again.
const SHORTAGE: Duration = Duration::from_millis(100);

/// A run that waits for its turn.
pub(super) struct Waiting {
    pub(super) key: Key,
    pub(super) job: Box<Job>,
    pub(super) tell: Tell,
    pub(super) since: Instant,
}

/// The turns of all clients.
#[derive(Default)]
pub(super) struct Queue {
    /// [`Room::BY_CONFIGURATION`] for a client that is not here.
    rooms: HashMap<u32, Room>,
    /// How many of a client's run.
    at_once: HashMap<u32, usize>,
    waiting: VecDeque<Waiting>,
    /// After a shortage nothing is started before this.
    not_before: Option<Instant>,
}

impl Queue {
    pub(super) fn set_room(&mut self, client: u32, room: Room) {
        self.rooms.insert(client, room);
    }

    fn room(&self, client: u32) -> Room {
        self.rooms.get(&client).copied().unwrap_or(Room::BY_CONFIGURATION)
    }

    /// For how long a run of this client's counts among those that run.
    pub(super) fn counts(&self, client: u32) -> Option<Duration> {
        self.room(client).counts
    }

    fn is_full(&self, client: u32) -> bool {
        self.at_once.get(&client).copied().unwrap_or(0) >= self.room(client).running
    }

    /// Gives back what can be started now. Otherwise it waits; where the client has no room for that either, the run that has
    /// waited longest is not made, which is told.
    pub(super) fn ask(&mut self, asked: Waiting) -> Option<Waiting> {
        let client = asked.key.0;
        if !self.is_full(client) && self.not_before.is_none() {
            return Some(asked);
        }
        let room = self.room(client).waiting;
        self.waiting.push_back(asked);
        let mut waits = self.waiting.iter().filter(|waiting| waiting.key.0 == client).count();
        while waits > room {
            let oldest = self.waiting.iter().position(|waiting| waiting.key.0 == client);
            if let Some(dropped) = oldest.and_then(|at| self.waiting.remove(at)) {
                (dropped.tell)(dropped.key.1, Notice::NotRun(libc::EAGAIN));
            }
            waits -= 1;
        }
        None
    }

    /// The longest-waiting run whose client has room. To be called until `None`, with [`Queue::began`] for each that was started.
    pub(super) fn next(&mut self) -> Option<Waiting> {
        let open = self.not_before.is_none();
        let at = self.waiting.iter().position(|waiting| open && !self.is_full(waiting.key.0))?;
        self.waiting.remove(at)
    }

    pub(super) fn began(&mut self, client: u32) {
        *self.at_once.entry(client).or_default() += 1;
    }

    pub(super) fn ended(&mut self, client: u32) {
        if let Some(count) = self.at_once.get_mut(&client) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.at_once.remove(&client);
            }
        }
    }

    /// It could not be started for want of processes or descriptors: it is first when there are some.
    pub(super) fn wait_for_supply(&mut self, asked: Waiting) {
        self.waiting.push_front(asked);
        self.not_before = Some(Instant::now() + SHORTAGE);
    }

    /// When a shortage is taken to be over, if anything waits for that.
    pub(super) fn supply_at(&self) -> Option<Instant> {
        self.not_before.filter(|_| !self.waiting.is_empty())
    }

    /// True when a shortage is over with this.
    pub(super) fn is_supplied(&mut self, now: Instant) -> bool {
        self.not_before.take_if(|at| *at <= now).is_some()
    }

    /// Takes a run out that has not begun.
    pub(super) fn remove(&mut self, key: Key) -> Option<Waiting> {
        let at = self.waiting.iter().position(|waiting| waiting.key == key)?;
        self.waiting.remove(at)
    }

    pub(super) fn remove_all(&mut self, client: u32) {
        self.waiting.retain(|waiting| waiting.key.0 != client);
    }

    /// Does a run wait that has a limit?
    pub(super) fn has_limited(&self) -> bool {
        self.waiting.iter().any(|waiting| waiting.job.limit.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Attempt, Command, Run};
    use std::sync::{Arc, Mutex};

    fn asked(client: u32, number: u64, told: &Arc<Mutex<Vec<(u64, Notice)>>>) -> Waiting {
        let told = told.clone();
        let tell: Tell = Arc::new(move |attempt: Attempt, notice| told.lock().unwrap().push((attempt.0, notice)));
        let job = Box::new(Job::new(Run { command: Command::Shell("true".into()), uid: 0, gid: 0, groups: None }));
        Waiting { key: (client, Attempt(number)), job, tell, since: Instant::now() }
    }

    fn number(waiting: Option<Waiting>) -> Option<u64> {
        waiting.map(|waiting| waiting.key.1.0)
    }

    #[test]
    fn what_finds_no_room_is_told_and_the_others_keep_their_order() {
        let told = Arc::default();
        let mut queue = Queue::default();
        queue.set_room(1, Room { running: 1, waiting: 2, counts: None });
        assert_eq!(number(queue.ask(asked(1, 1, &told))), Some(1));
        queue.began(1);
        for late in 2..=4 {
            assert_eq!(number(queue.ask(asked(1, late, &told))), None);
        }
        assert_eq!(*told.lock().unwrap(), [(2, Notice::NotRun(libc::EAGAIN))], "the longest-waiting goes");
        assert_eq!(number(queue.next()), None, "no room yet");
        assert_eq!(number(queue.ask(asked(2, 9, &told))), Some(9), "another client has its own room");
        queue.ended(1);
        assert_eq!(number(queue.next()), Some(3));
        queue.began(1);
        assert_eq!(number(queue.next()), None);
        assert_eq!(number(queue.remove((1, Attempt(4)))), Some(4));
        queue.ended(1);
        assert_eq!(number(queue.next()), None, "it was taken out");
    }

    #[test]
    fn after_a_shortage_nobody_begins_and_the_one_that_failed_is_first() {
        let told = Arc::default();
        let mut queue = Queue::default();
        let failed = queue.ask(asked(1, 1, &told)).unwrap();
        queue.wait_for_supply(failed);
        assert_eq!(number(queue.ask(asked(1, 2, &told))), None);
        assert_eq!(number(queue.next()), None);
        let at = queue.supply_at().unwrap();
        assert!(!queue.is_supplied(at - Duration::from_millis(1)) && queue.is_supplied(at));
        assert_eq!((number(queue.next()), number(queue.next())), (Some(1), Some(2)));
        assert!(told.lock().unwrap().is_empty());
    }
}
