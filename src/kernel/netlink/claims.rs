//! Who wants what in the kernel, what of it is there, and what is still to be done. Bookkeeping only: touches no socket.
//!
//! An item may have several holders (two instances with one route, an address that moves from one instance to another
//! in a reload): it stays while anybody holds it. Steps are checked against what is wanted when they are carried out,
//! not when they were queued, so a claim that is given up half-way leaves nothing behind.

use super::address::AddressKey;
use crate::kernel::reconcile::{Item, Key, Op, Seen, plan};
use crate::spec::InstanceId;
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::time::Instant;

/// An instance, or the statics.
pub type Owner = Option<InstanceId>;

/// Heals of one owner a second, at most; more means that somebody fights for the item.
pub const HEALS_A_SECOND: u32 = 20;

/// Something wanted, with the position of the address in its claim.
#[derive(Clone, PartialEq, Debug)]
pub struct Want {
    pub item: Item,
    pub position: Option<u32>,
    /// Put back when somebody else removes it.
    pub tracked: bool,
}

/// How an item stands between wish and kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Absent,
    /// IPv6, while duplicate address detection runs.
    Tentative,
    Present,
}

/// A step to be carried out.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    Add {
        key: Key,
        heal: bool,
    },
    /// `forced`: although an item with this key is wanted, since its content changes.
    Remove {
        item: Item,
        forced: bool,
    },
}

#[derive(Debug)]
struct Entry {
    item: Item,
    holders: Vec<(Owner, Option<u32>)>,
    tracked: bool,
    state: State,
    /// Not tracked, and removed by somebody else: not missed.
    given_up: bool,
    /// The LAN has been told since it came.
    announced: bool,
}

#[derive(Debug)]
struct Holding {
    keys: Vec<Key>,
    /// Of the addresses among them: position in the claim, and where in `keys`. Sorted.
    places: Vec<(u32, usize)>,
    /// How many of `keys` are not present.
    missing: usize,
    /// Why some items cannot even be asked for.
    problems: Vec<String>,
    /// Completion has been told.
    told: bool,
    failure: Option<String>,
    heals: u32,
    heals_since: Instant,
}

/// Everything that is wanted.
#[derive(Debug, Default)]
pub struct Claims {
    entries: FxHashMap<Key, Entry>,
    holdings: BTreeMap<Owner, Holding>,
    queue: VecDeque<Step>,
}

/// What has become known about an owner's claim.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    Ready(Owner, Range<u32>),
    Complete(Owner),
}

impl Claims {
    /// From here on `owner` wants exactly `wants`. Answers what of it is there already.
    pub fn set(&mut self, owner: Owner, wants: Vec<Want>, problems: Vec<String>) -> Vec<Progress> {
        let old = self.holdings.remove(&owner);
        let heals = old.as_ref().map_or((0, Instant::now()), |h| (h.heals, h.heals_since));
        let failure = old.as_ref().and_then(|h| h.failure.clone());
        let mut seen = Seen::new();
        for key in old.iter().flat_map(|holding| &holding.keys) {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.holders.retain(|(holder, _)| *holder != owner);
                // Of an item that others hold too the content is theirs to change.
                let known = entry.holders.is_empty().then(|| entry.item.clone());
                seen.insert(key.clone(), known);
            }
        }
        let items: Vec<Item> = wants.iter().map(|want| want.item.clone()).collect();
        let steps = plan(&items, &seen);

        let mut holding = Holding {
            keys: Vec::with_capacity(wants.len()),
            places: Vec::with_capacity(wants.len()),
            missing: 0,
            problems,
            told: false,
            failure,
            heals: heals.0,
            heals_since: heals.1,
        };
        for want in wants {
            let key = want.item.key();
            let entry = self.entries.entry(key.clone()).or_insert_with(|| Entry {
                item: want.item.clone(),
                holders: Vec::with_capacity(1),
                tracked: false,
                state: State::Absent,
                given_up: false,
                announced: false,
            });
            if entry.holders.iter().any(|(holder, _)| *holder == owner) {
                continue;
            }
            entry.tracked = want.tracked || (entry.tracked && !entry.holders.is_empty());
            if entry.holders.is_empty() && entry.item != want.item {
                entry.item = want.item;
                entry.state = State::Absent;
                entry.given_up = false;
            }
            holding.places.extend(want.position.map(|position| (position, holding.keys.len())));
            entry.holders.push((owner, want.position));
            if entry.state != State::Present && !entry.given_up {
                holding.missing += 1;
            }
            holding.keys.push(key);
        }
        holding.places.sort_unstable();
        self.holdings.insert(owner, holding);
        for step in steps {
            match step {
                Op::Remove(item) => {
                    let key = item.key();
                    let forced = self.entries.get(&key).is_some_and(|entry| !entry.holders.is_empty());
                    if !forced {
                        self.entries.remove(&key);
                    }
                    self.queue.push_back(Step::Remove { item, forced });
                }
                Op::Add(item) => self.queue.push_back(Step::Add { key: item.key(), heal: false }),
            }
        }
        if old.is_some() {
            // What was wanted before and is still not there is in no step of the plan.
            self.requeue(owner);
        }
        self.report(owner, None)
    }

    /// `owner` wants nothing any more.
    pub fn clear(&mut self, owner: Owner) {
        self.set(owner, Vec::new(), Vec::new());
        self.holdings.remove(&owner);
    }

    /// Forgets what `owner` wants without removing it.
    pub fn abandon(&mut self, owner: Owner) {
        if let Some(holding) = self.holdings.remove(&owner) {
            for key in holding.keys {
                if let Some(entry) = self.entries.get_mut(&key) {
                    entry.holders.retain(|(holder, _)| *holder != owner);
                    if entry.holders.is_empty() {
                        self.entries.remove(&key);
                    }
                }
            }
        }
    }

    /// Instances have new numbers. Owners that are not mentioned keep theirs, so clear those first.
    pub fn renumber(&mut self, new: &BTreeMap<InstanceId, InstanceId>) {
        let translate = |owner: Owner| owner.map(|id| new.get(&id).copied().unwrap_or(id));
        self.holdings = std::mem::take(&mut self.holdings).into_iter().map(|(o, h)| (translate(o), h)).collect();
        for entry in self.entries.values_mut() {
            for (holder, _) in &mut entry.holders {
                *holder = translate(*holder);
            }
        }
    }

    /// Everybody who wants or wanted something.
    pub fn owners(&self) -> Vec<Owner> {
        self.holdings.keys().copied().collect()
    }

    /// What is still there and is to be removed.
    pub fn going(&self) -> BTreeSet<Key> {
        let removed = self.queue.iter().filter_map(|step| match step {
            Step::Remove { item, .. } => Some(item.key()),
            Step::Add { .. } => None,
        });
        removed.collect()
    }

    /// Is this one of [`Claims::going`]? Looks through all steps that are to be done.
    pub fn is_going(&self, key: &Key) -> bool {
        self.queue.iter().any(|step| matches!(step, Step::Remove { item, .. } if item.key() == *key))
    }

    /// Nothing is to be done.
    pub fn idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many steps are to be done.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// The next steps that are still to be done, at most `limit`.
    pub fn next(&mut self, limit: usize) -> Vec<(Step, Item)> {
        let mut steps = Vec::new();
        while steps.len() < limit
            && let Some(step) = self.queue.pop_front()
        {
            match &step {
                Step::Add { key, .. } => {
                    if let Some(entry) = self.entries.get(key)
                        && entry.state == State::Absent
                    {
                        let item = entry.item.clone();
                        steps.push((step, item));
                    }
                }
                Step::Remove { item, forced } => {
                    if *forced || !self.entries.contains_key(&item.key()) {
                        let item = item.clone();
                        steps.push((step, item));
                    }
                }
            }
        }
        if self.queue.is_empty() {
            // Thousands of steps come once in a long while.
            self.queue = VecDeque::new();
        }
        steps
    }

    /// Writes down where an item stands; answers its holders.
    pub fn set_state(&mut self, key: &Key, state: State) -> Vec<(Owner, Option<u32>)> {
        let Some(entry) = self.entries.get_mut(key) else { return Vec::new() };
        let (was, is) = (entry.state == State::Present, state == State::Present);
        entry.state = state;
        entry.announced &= is;
        let holders = entry.holders.clone();
        for (owner, _) in &holders {
            if let Some(holding) = self.holdings.get_mut(owner) {
                match (was, is) {
                    (false, true) => holding.missing = holding.missing.saturating_sub(1),
                    (true, false) => holding.missing += 1,
                    _ => {}
                }
            }
        }
        holders
    }

    /// How an item stands; `None` if nobody wants it.
    pub fn state(&self, key: &Key) -> Option<State> {
        self.entries.get(key).map(|entry| entry.state)
    }

    /// Everything wanted, with its state and whether it is to be put back.
    pub fn wanted(&self) -> impl Iterator<Item = (&Key, State, bool)> {
        self.entries.iter().map(|(key, entry)| (key, entry.state, entry.tracked))
    }

    /// An item has gone without our doing. It is put back at once, before anything else; or, if its owner has had
    /// too many put back within a second, that owner is answered and it must wait.
    pub fn lost(&mut self, key: &Key, now: Instant) -> Option<Owner> {
        let entry = self.entries.get(key)?;
        if entry.state == State::Absent {
            return None;
        }
        let (tracked, owner) = (entry.tracked, entry.holders.first().map(|(owner, _)| *owner)?);
        let holders = self.set_state(key, State::Absent);
        if !tracked {
            self.give_up(key, &holders);
            return None;
        }
        let holding = self.holdings.get_mut(&owner)?;
        if now.duration_since(holding.heals_since).as_secs() >= 1 {
            holding.heals = 0;
            holding.heals_since = now;
        }
        // A whole claim flushed at once is one accident, not a fight: as many as it has items are free.
        let limit = HEALS_A_SECOND.max(u32::try_from(holding.keys.len()).unwrap_or(u32::MAX));
        if holding.heals >= limit {
            return Some(owner);
        }
        holding.heals += 1;
        self.queue.push_front(Step::Add { key: key.clone(), heal: true });
        None
    }

    fn give_up(&mut self, key: &Key, holders: &[(Owner, Option<u32>)]) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.given_up = true;
        }
        for (owner, _) in holders {
            if let Some(holding) = self.holdings.get_mut(owner) {
                holding.missing = holding.missing.saturating_sub(1);
            }
        }
    }

    /// What had been given up is wanted again; it is asked for when its owner is looked at next.
    pub fn ask_again(&mut self) {
        for entry in self.entries.values_mut() {
            if !std::mem::take(&mut entry.given_up) {
                continue;
            }
            for (owner, _) in &entry.holders {
                if let Some(holding) = self.holdings.get_mut(owner) {
                    holding.missing += 1;
                }
            }
        }
    }

    /// Has been put back; or turned out not to have been gone, which costs nothing.
    pub fn not_a_heal(&mut self, key: &Key) {
        let owner = self.entries.get(key).and_then(|entry| entry.holders.first()).map(|(owner, _)| *owner);
        if let Some(holding) = owner.and_then(|owner| self.holdings.get_mut(&owner)) {
            holding.heals = holding.heals.saturating_sub(1);
        }
    }

    /// Asks again for what is missing of an owner.
    pub fn requeue(&mut self, owner: Owner) {
        let Some(holding) = self.holdings.get(&owner) else { return };
        if holding.missing == 0 {
            return;
        }
        let queued: std::collections::HashSet<&Key> = self
            .queue
            .iter()
            .filter_map(|step| match step {
                Step::Add { key, .. } => Some(key),
                Step::Remove { .. } => None,
            })
            .collect();
        let absent =
            |key: &&Key| self.entries.get(*key).is_some_and(|entry| entry.state == State::Absent && !entry.given_up);
        let again: Vec<Key> = holding.keys.iter().filter(|key| !queued.contains(key)).filter(absent).cloned().collect();
        self.queue.extend(again.into_iter().map(|key| Step::Add { key, heal: false }));
    }

    /// A reason why an owner's claim is not whole. True if it is another one than last time.
    pub fn failed(&mut self, owner: Owner, reason: String) -> bool {
        let Some(holding) = self.holdings.get_mut(&owner) else { return false };
        holding.told = false;
        if holding.failure.as_ref() == Some(&reason) {
            return false;
        }
        holding.failure = Some(reason);
        true
    }

    /// Are items missing?
    pub fn is_whole(&self, owner: Owner) -> bool {
        self.holdings.get(&owner).is_none_or(|holding| holding.missing == 0 && holding.problems.is_empty())
    }

    /// What can be told of an owner's claim: the addresses among `positions` (of all, if `None`), and completion.
    pub fn report(&mut self, owner: Owner, positions: Option<Vec<u32>>) -> Vec<Progress> {
        let mut positions = positions.unwrap_or_else(|| self.present_positions(owner));
        positions.sort_unstable();
        positions.dedup();
        let mut told: Vec<Progress> =
            ranges(&positions).into_iter().map(|range| Progress::Ready(owner, range)).collect();
        if let Some(holding) = self.holdings.get_mut(&owner)
            && holding.missing == 0
            && holding.problems.is_empty()
            && !holding.told
        {
            holding.told = true;
            holding.failure = None;
            told.push(Progress::Complete(owner));
        }
        told
    }

    fn present_positions(&self, owner: Owner) -> Vec<u32> {
        let Some(holding) = self.holdings.get(&owner) else { return Vec::new() };
        let entries = holding.keys.iter().filter_map(|key| self.entries.get(key));
        entries
            .filter(|entry| entry.state == State::Present)
            .flat_map(|entry| entry.holders.iter().filter(|(holder, _)| *holder == owner).filter_map(|(_, at)| *at))
            .collect()
    }

    /// The addresses of `range` in an owner's claim that are there, which from here on count as announced: those that
    /// were not yet, and those that were.
    pub fn announcing(&mut self, owner: Owner, range: &Range<u32>) -> (Vec<AddressKey>, Vec<AddressKey>) {
        let (mut fresh, mut known) = (Vec::new(), Vec::new());
        let Some(holding) = self.holdings.get(&owner) else { return (fresh, known) };
        let from = holding.places.partition_point(|(position, _)| *position < range.start);
        let places = holding.places.iter().skip(from).take_while(|(position, _)| *position < range.end);
        for key in places.filter_map(|(_, place)| holding.keys.get(*place)) {
            if let (Key::Address(address), Some(entry)) = (key, self.entries.get_mut(key))
                && entry.state == State::Present
            {
                let list = if std::mem::replace(&mut entry.announced, true) { &mut known } else { &mut fresh };
                list.push(*address);
            }
        }
        (fresh, known)
    }
}

/// Sorted numbers as ranges.
fn ranges(sorted: &[u32]) -> Vec<Range<u32>> {
    let mut ranges: Vec<Range<u32>> = Vec::new();
    for &n in sorted {
        match ranges.last_mut() {
            Some(last) if last.end == n => last.end = n.saturating_add(1),
            _ => ranges.push(n..n.saturating_add(1)),
        }
    }
    ranges
}
