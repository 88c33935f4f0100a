//! Who else speaks here and is not obeyed: routers whose adverts are refused, and masters that are heard beside ourselves.
//!
//! Each virtual router has a table of both, and the engine has one of routers that speak with a VRID of nobody here. The
//! tables are what makes two masters visible to an operator; no decision of the protocol reads them. They are bounded
//! ([`MOST`]), so that a stranger with many addresses costs a scan of a few dozen entries and no memory.

use super::io::Refusal;
use crate::time::{Interval, Time};
use crate::wire::{Priority, Vrid};
use std::net::IpAddr;

/// Entries kept in each table.
pub(super) const MOST: usize = 32;
/// Who has been silent for longer is the first to give way.
const FORGOTTEN: Interval = Interval::from_secs(60);
/// Addresses remembered of one advert of a stranger; an advert has up to 255.
const NAMES: usize = 16;
/// A worse router yields to the first advert that it hears: one that speaks this often does not hear, or does not obey.
pub(super) const STAYS: u64 = 3;

/// How often and when somebody was heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    pub(super) count: u64,
    pub(super) first: Time,
    pub(super) last: Time,
}

impl Seen {
    fn once(now: Time) -> Seen {
        Seen { count: 1, first: now, last: now }
    }
    /// For how long a silence it still counts as speaking: `least`, and longer where it speaks seldom, for its interval may be
    /// what is refused. Bounded, so that who was heard twice in a day is gone in between.
    pub(super) fn patience(&self, least: Interval) -> Interval {
        let cadence = self.last.since(self.first).as_micros() / self.count.saturating_sub(1).max(1);
        least.max(Interval::from_micros(cadence.saturating_mul(3)).min(FORGOTTEN))
    }
    fn again(&mut self, now: Time) {
        self.count = self.count.saturating_add(1);
        self.last = now;
    }
}

/// A sender whose adverts are refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refused {
    pub(super) from: IpAddr,
    pub(super) why: Refusal,
    /// The VRID in its adverts, where that is why nobody here takes them.
    pub(super) vrid: Option<Vrid>,
    pub(super) ifindex: u32,
    /// Virtual addresses that it speaks for; kept of strangers only, and at most [`NAMES`].
    pub(super) names: Vec<IpAddr>,
    pub(super) seen: Seen,
}

/// Another router that speaks as MASTER while this one is MASTER.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Rival {
    pub(super) from: IpAddr,
    pub(super) priority: Priority,
    pub(super) seen: Seen,
    /// Observers know that it does not yield.
    pub(super) told: bool,
}

/// A table of one kind.
#[derive(Clone, Debug)]
pub(super) struct Table<T>(Vec<T>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table(Vec::new())
    }
}

pub(super) trait Entry {
    fn seen(&self) -> &Seen;
}
impl Entry for Refused {
    fn seen(&self) -> &Seen {
        &self.seen
    }
}
impl Entry for Rival {
    fn seen(&self) -> &Seen {
        &self.seen
    }
}

impl<T: Entry> Table<T> {
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// A new sender. When the table is full, one that has long been silent gives way, else the one that spoke least: a flood of
    /// senders that speak once each does not hide the one that goes on speaking.
    fn insert(&mut self, entry: T, now: Time) {
        if self.0.len() >= MOST {
            let rank = |e: &T| (now.since(e.seen().last) <= FORGOTTEN, e.seen().count, e.seen().last);
            if let Some(place) = self.0.iter_mut().min_by_key(|e| rank(e)) {
                *place = entry;
            }
        } else {
            self.0.push(entry);
        }
    }
}

impl Table<Refused> {
    /// A datagram of `from` was refused. True when it is a sender or a reason that is not in the table yet.
    pub(super) fn refused(
        &mut self,
        from: IpAddr,
        why: Refusal,
        vrid: Option<Vrid>,
        ifindex: u32,
        names: impl Iterator<Item = IpAddr>,
        now: Time,
    ) -> bool {
        let known = self.0.iter_mut().find(|e| e.from == from && e.why == why && e.vrid == vrid);
        if let Some(entry) = known {
            entry.seen.again(now);
            entry.ifindex = ifindex;
            return false;
        }
        let names = names.take(NAMES).collect();
        self.insert(Refused { from, why, vrid, ifindex, names, seen: Seen::once(now) }, now);
        true
    }
}

impl Table<Rival> {
    /// Another MASTER was heard. `patience`: after so long a silence it is heard for the first time again. True when it is
    /// to be told, once, that it does not yield.
    pub(super) fn heard(&mut self, from: IpAddr, priority: Priority, patience: Interval, now: Time) -> bool {
        let Some(rival) = self.0.iter_mut().find(|rival| rival.from == from) else {
            self.insert(Rival { from, priority, seen: Seen::once(now), told: false }, now);
            return false;
        };
        rival.priority = priority;
        if now.since(rival.seen.last) > patience {
            (rival.seen, rival.told) = (Seen::once(now), false);
            return false;
        }
        rival.seen.again(now);
        let stays = rival.seen.count >= STAYS && !rival.told;
        rival.told |= stays;
        stays
    }

    /// Speakers that were reported as not yielding and have been silent for `patience` now. Each is answered once.
    pub(super) fn fallen_silent(&mut self, patience: Interval, now: Time) -> Vec<IpAddr> {
        let silent = self.0.iter_mut().filter(|rival| rival.told && now.since(rival.seen.last) > patience);
        silent
            .map(|rival| {
                rival.told = false;
                rival.from
            })
            .collect()
    }

    /// This router is not MASTER any longer: no speaker is a rival.
    pub(super) fn settled(&mut self) {
        self.0.iter_mut().for_each(|rival| rival.told = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    #[test]
    fn a_flood_does_not_hide_who_goes_on_speaking() {
        let (mut table, mut now) = (Table::<Refused>::default(), Time::ZERO);
        let refuse = |table: &mut Table<Refused>, from, now| {
            table.refused(from, Refusal::AuthFailure, None, 2, std::iter::empty(), now)
        };
        assert!(refuse(&mut table, address(1), now));
        assert!(!refuse(&mut table, address(1), now));
        for n in 1000..101_000 {
            now += Interval::from_micros(10);
            refuse(&mut table, address(n), now);
        }
        assert_eq!(table.iter().count(), MOST);
        assert!(table.iter().any(|e| e.from == address(1) && e.seen.count == 2));
        // Long silent, it gives way after all.
        now += FORGOTTEN + Interval::from_secs(1);
        for n in 0..MOST as u32 {
            refuse(&mut table, address(500 + n), now);
        }
        assert!(table.iter().all(|e| e.from != address(1)));
    }

    #[test]
    fn who_speaks_seldom_speaks_still_between_two_adverts() {
        let (down, second) = (Interval::from_millis(3400), Interval::from_secs(1));
        let heard =
            |every: u64| Seen { count: 4, first: Time::ZERO, last: Time::ZERO + Interval::from_secs(3 * every) };
        assert_eq!(heard(1).patience(down), down);
        assert_eq!(heard(6).patience(down), Interval::from_secs(18));
        assert_eq!(heard(20_000).patience(down), FORGOTTEN);
        assert_eq!(Seen::once(Time::ZERO + second).patience(down), down);
    }

    #[test]
    fn a_rival_is_told_of_when_it_stays_and_when_it_is_gone() {
        let (mut table, mut now) = (Table::<Rival>::default(), Time::ZERO);
        let patience = Interval::from_secs(3);
        let mut told = Vec::new();
        for _ in 0..5 {
            told.push(table.heard(address(7), Priority(100), patience, now));
            now += Interval::from_secs(1);
        }
        assert_eq!(told, [false, false, true, false, false]);
        assert!(table.fallen_silent(patience, now).is_empty());
        now += patience;
        assert_eq!(table.fallen_silent(patience, now), [address(7)]);
        assert!(table.fallen_silent(patience, now).is_empty());
        // It begins again: once is no rivalry.
        assert!(!table.heard(address(7), Priority(100), patience, now));
    }
}
