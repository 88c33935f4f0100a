//! What is known about interfaces, and what is believed of them: an interface with `interface_up_down_delays` is
//! believed to have changed only when the change has lasted.
//!
//! A mirror of facts, level-triggered: a dump replaces everything, and whoever asks sees the present picture. It decides
//! nothing about instances.

use super::io::{Link, LinkAddress, LinkFact};
use crate::spec::IfName;
use crate::time::{Interval, Time};
use rustc_hash::FxHashSet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// One interface: the fact, and what is made of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Known {
    pub(super) link: Link,
    /// Up and running, after debouncing.
    pub(super) running: bool,
    /// When the belief will follow the fact.
    flips_at: Option<Time>,
    /// Which addresses `link` has, to be asked without going through thousands of them.
    there: FxHashSet<(IpAddr, u8)>,
}

impl Known {
    /// The belief is about to follow the fact, and has not yet.
    pub(super) fn is_changing(&self) -> bool {
        self.flips_at.is_some()
    }

    /// True if this is news.
    fn put(&mut self, address: LinkAddress) -> bool {
        let addresses = &mut self.link.addresses;
        if self.there.insert((address.address, address.prefix)) {
            addresses.push(address);
            return true;
        }
        match addresses.iter_mut().find(|a| a.address == address.address && a.prefix == address.prefix) {
            Some(present) if *present != address => {
                *present = address;
                true
            }
            _ => false,
        }
    }

    /// True if it was there.
    fn drop(&mut self, address: IpAddr, prefix: u8) -> bool {
        if !self.there.remove(&(address, prefix)) {
            return false;
        }
        let addresses = &mut self.link.addresses;
        if let Some(at) = addresses.iter().position(|a| a.address == address && a.prefix == prefix) {
            addresses.remove(at);
        }
        true
    }
}

/// All interfaces, by index and by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Links {
    by_index: BTreeMap<u32, Known>,
    by_name: BTreeMap<IfName, u32>,
}

/// Delays of an interface: (down, up).
pub(super) type Delays<'a> = &'a dyn Fn(&IfName) -> (Interval, Interval);

impl Links {
    pub(super) fn new(links: Vec<Link>) -> Links {
        let mut all = Links::default();
        for mut link in links {
            dedup(&mut link.addresses);
            all.insert(link, None);
        }
        all
    }

    pub(super) fn named(&self, name: &IfName) -> Option<&Known> {
        self.by_name.get(name).and_then(|index| self.by_index.get(index))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Known> {
        self.by_index.values()
    }

    pub(super) fn mtu(&self, index: u32) -> Option<u32> {
        self.by_index.get(&index).map(|known| known.link.mtu)
    }

    /// Is it there, up and running, as far as is believed?
    pub(super) fn is_running(&self, name: &IfName) -> bool {
        self.named(name).is_some_and(|known| known.running)
    }

    /// Does any interface have this usable address?
    pub(super) fn has_address(&self, address: IpAddr) -> bool {
        self.iter().any(|known| known.link.addresses.iter().any(|a| a.address == address && a.usable))
    }

    /// Takes a fact in. Answers with the names of the interfaces about which something is different.
    pub(super) fn apply(&mut self, fact: LinkFact, now: Time, delays: Delays<'_>) -> BTreeSet<IfName> {
        let mut changed = BTreeSet::new();
        match fact {
            LinkFact::Dump(links) => {
                let before = std::mem::take(self);
                for mut link in links {
                    let old = before.by_index.get(&link.index).filter(|old| old.link.name == link.name);
                    let same = old.is_some_and(|old| old.link == link);
                    if !same {
                        changed.insert(link.name.clone());
                    }
                    dedup(&mut link.addresses);
                    let (index, name) = (link.index, link.name.clone());
                    self.insert(link, old);
                    self.believe(index, now, delays(&name));
                    // The fact may be old and the belief new: the delays are others since a reload.
                    if old.map(|old| old.running) != self.by_index.get(&index).map(|known| known.running) {
                        changed.insert(name);
                    }
                }
                changed.extend(before.by_name.into_keys().filter(|name| !self.by_name.contains_key(name)));
            }
            LinkFact::Changed(mut link) => {
                changed.insert(link.name.clone());
                let old = self.remove(link.index);
                if let Some(old) = &old {
                    changed.insert(old.link.name.clone());
                    link.addresses.clone_from(&old.link.addresses);
                }
                // Another index under the same name was recreated, and its going has not been told.
                if let Some(other) = self.by_name.get(&link.name).copied() {
                    self.remove(other);
                }
                let old = old.filter(|old| old.link.name == link.name);
                let (index, name) = (link.index, link.name.clone());
                self.insert(link, old.as_ref());
                self.believe(index, now, delays(&name));
            }
            LinkFact::Gone { index } => changed.extend(self.remove(index).map(|known| known.link.name)),
            LinkFact::Address { index, address } => {
                if let Some(known) = self.by_index.get_mut(&index)
                    && known.put(address)
                {
                    changed.insert(known.link.name.clone());
                }
            }
            LinkFact::AddressGone { index, address, prefix } => {
                if let Some(known) = self.by_index.get_mut(&index)
                    && known.drop(address, prefix)
                {
                    changed.insert(known.link.name.clone());
                }
            }
            LinkFact::Healed { .. } | LinkFact::Swept { .. } => {}
        }
        changed
    }

    /// The interfaces whose hardware address is another according to `fact`, which is not taken in yet.
    pub(super) fn readdressed(&self, fact: &LinkFact) -> Vec<IfName> {
        let links = match fact {
            LinkFact::Dump(links) => links.as_slice(),
            LinkFact::Changed(link) => std::slice::from_ref(link),
            _ => &[],
        };
        let other = |link: &&Link| {
            let before = self.by_index.get(&link.index).and_then(|known| known.link.mac);
            before.is_some() && link.mac.is_some() && before != link.mac
        };
        links.iter().filter(other).map(|link| link.name.clone()).collect()
    }

    /// When the next belief changes.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.by_index.values().filter_map(|known| known.flips_at).min()
    }

    /// Lets beliefs follow the facts that have lasted until `now`.
    pub(super) fn flip(&mut self, now: Time) -> BTreeSet<IfName> {
        let due = self.by_index.values_mut().filter(|known| known.flips_at.is_some_and(|at| at <= now));
        due.map(|known| {
            known.flips_at = None;
            known.running = known.link.running;
            known.link.name.clone()
        })
        .collect()
    }

    fn insert(&mut self, link: Link, old: Option<&Known>) {
        let (running, flips_at) = old.map_or((link.running, None), |old| (old.running, old.flips_at));
        self.by_name.insert(link.name.clone(), link.index);
        let there = link.addresses.iter().map(|a| (a.address, a.prefix)).collect();
        self.by_index.insert(link.index, Known { link, running, flips_at, there });
    }

    fn remove(&mut self, index: u32) -> Option<Known> {
        let known = self.by_index.remove(&index)?;
        if self.by_name.get(&known.link.name) == Some(&index) {
            self.by_name.remove(&known.link.name);
        }
        Some(known)
    }

    fn believe(&mut self, index: u32, now: Time, (down, up): (Interval, Interval)) {
        let Some(known) = self.by_index.get_mut(&index) else { return };
        if known.running == known.link.running {
            known.flips_at = None;
            return;
        }
        let delay = if known.link.running { up } else { down };
        if delay.is_zero() {
            known.running = known.link.running;
            known.flips_at = None;
        } else if known.flips_at.is_none() {
            known.flips_at = Some(now + delay);
        }
    }
}

fn dedup(addresses: &mut Vec<LinkAddress>) {
    let mut seen = BTreeSet::new();
    addresses.retain(|a| seen.insert((a.address, a.prefix)));
}
