//! Going over to another Spec without anybody noticing more than the difference.
//!
//! Instances pair by identity, which is what the other routers know them by: VRID, family, interface, manner of
//! transport. The name is not part of it. A pair keeps state, counters and deadlines; trackers keep their readings when
//! they watch the same thing.

use super::Engine;
use super::around::Different;
use super::garp::{Ranges, Rounds, Waiting};
use super::instance::{Cx, Instance};
use super::io::{Action, Event, Readings, Role};
use super::script::Monitor;
use super::settle::{Groups, same_medium};
use super::track::Board;
use crate::spec::{IfName, InstanceId, InstanceSpec, ScriptId, ScriptSpec, Spec, VirtualAddress};
use crate::wire::Priority;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Which position of the old list each position of the new one continues.
type Pairs = Vec<Option<usize>>;

/// Pairs the entries of two lists: `exact` matches first, then `loose` ones. No entry is continued twice.
fn pair<T>(old: &[T], new: &[T], exact: impl Fn(&T, &T) -> bool, loose: impl Fn(&T, &T) -> bool) -> Pairs {
    let mut taken = vec![false; old.len()];
    let mut pairs = vec![None; new.len()];
    for strict in [true, false] {
        let fits = |a: &T, b: &T| if strict { exact(a, b) } else { loose(a, b) };
        // Behind the one that was continued last.
        let mut next = 0;
        for (position, entry) in new.iter().enumerate() {
            if pairs.get(position) != Some(&None) {
                continue;
            }
            // Configurations mostly keep their order: the same position is tried first, then the next one, where something
            // came or went before. Only what is new is looked for among all.
            let free =
                |at: &usize| taken.get(*at) == Some(&false) && old.get(*at).is_some_and(|other| fits(other, entry));
            let found = [position, next].into_iter().find(free).or_else(|| (0..old.len()).find(free));
            if let (Some(at), Some(pair)) = (found, pairs.get_mut(position)) {
                *pair = Some(at);
                next = at + 1;
                if let Some(taken) = taken.get_mut(at) {
                    *taken = true;
                }
            }
        }
    }
    pairs
}

/// Are these the same virtual router to the rest of the world?
fn same_router(a: &InstanceSpec, b: &InstanceSpec) -> bool {
    a.vrid == b.vrid && a.family == b.family && a.interface == b.interface && same_medium(a, b)
}

fn same_script(a: &ScriptSpec, b: &ScriptSpec) -> bool {
    a.run == b.run
}

/// Do adverts, or their timing, come out differently?
fn speaks_differently(a: &InstanceSpec, b: &InstanceSpec) -> bool {
    let said = |spec: &InstanceSpec| -> Vec<_> {
        spec.claim.addresses.iter().take(spec.claim.advertised).map(|a| a.address).collect()
    };
    a.version != b.version
        || a.priority != b.priority
        || a.interval != b.interval
        || a.source != b.source
        || a.transport != b.transport
        || a.auth != b.auth
        || a.checksum != b.checksum
        || a.transmit_base != b.transmit_base
        || said(a) != said(b)
}

/// Which instance of `old` goes on as which of `new` when an engine goes over: for those who keep something beside the
/// engine under an instance's id.
pub fn continued(old: &Spec, new: &Spec) -> Vec<(InstanceId, InstanceId)> {
    let pairs = pair(&old.instances, &new.instances, same_name_and_router, same_router);
    let ids = pairs.iter().enumerate().filter_map(|(to, from)| Some(((*from)?, to)));
    ids.map(|(from, to)| (InstanceId(from as u32), InstanceId(to as u32))).collect()
}

fn same_name_and_router(a: &InstanceSpec, b: &InstanceSpec) -> bool {
    a.name == b.name && same_router(a, b)
}

impl Engine {
    pub(super) fn go_over(&mut self, new: Arc<Spec>, readings: &Readings) {
        if *new == *self.spec {
            self.spec = new;
            for (tracker, value) in readings {
                self.reread(*tracker, *value);
            }
            return;
        }
        let old = std::mem::replace(&mut self.spec, new);
        let new = Arc::clone(&self.spec);
        if self.now < self.not_before {
            let before = self.not_before;
            self.not_before = before.before(old.startup_delay) + new.startup_delay;
            for instance in self.instances.iter_mut() {
                instance.move_start(before, self.not_before.max(self.now));
            }
        }
        let waiting = self.lanes.clear();
        self.go_over_trackers(&old, &new);
        let changed = self.go_over_instances(&old, &new);
        // Ids behind this one are those of the new Spec.
        self.out.push_back(Action::Report(Event::Reloaded));
        self.take_readings(readings);
        let shown = |name: &str| old.groups.iter().position(|group| &*group.name == name);
        let before = std::mem::take(&mut self.groups);
        self.groups = new
            .groups
            .iter()
            .map(|group| shown(&group.name).and_then(|at| before.get(at)).copied().unwrap_or(Role::Init))
            .collect();
        self.unsettled.clear();
        self.stirred.clear();
        self.rebuild();
        self.wait_again(&old, &waiting);
        self.settle_groups_first(Groups::All);
        self.run_lanes();
        for (id, before) in changed {
            let Some(before) = old.instances.get(before) else { continue };
            self.with(id, |instance, cx| {
                let differently = speaks_differently(before, cx.spec);
                instance.reloaded(before, differently, cx);
            });
            // Who refreshes caches does so at once under the new settings; otherwise only what is added is announced.
            let again = self.instances.get(id.index()).zip(self.spec.instances.get(id.index()));
            let again = again.filter(|(instance, spec)| instance.is_master() && !spec.garp.refresh.is_zero());
            let rounds = again.map(|(instance, spec)| Rounds {
                over: instance.plan.ready.clone(),
                times: spec.garp.repeat,
                ..Rounds::default()
            });
            self.announce(id, &rounds.unwrap_or_default());
        }
    }

    /// Announcements that waited for their turn take their places again, under the numbers of the new Spec.
    fn wait_again(&mut self, old: &Spec, waiting: &[Waiting]) {
        if waiting.is_empty() {
            return;
        }
        let new = Arc::clone(&self.spec);
        let ids: BTreeMap<InstanceId, InstanceId> = continued(old, &new).into_iter().collect();
        let mut places: BTreeMap<InstanceId, BTreeMap<_, u32>> = BTreeMap::new();
        for one in waiting {
            let Some(id) = ids.get(&one.instance).copied() else { continue };
            let Some(after) = new.instances.get(id.index()) else { continue };
            let places = places
                .entry(id)
                .or_insert_with(|| (0..).zip(&after.claim.addresses).map(|(at, a)| (identity(a), at)).collect());
            let before = old.instances.get(one.instance.index());
            let address = before.and_then(|before| before.claim.addresses.get(one.position as usize));
            let Some(position) = address.and_then(|address| places.get(&identity(address)).copied()) else { continue };
            match self.index.lane(id, position) {
                Some(lane) => self.lanes.wait_again(lane, id, position, *one),
                None => {
                    let mut over = Ranges::default();
                    over.add(position..position + 1);
                    self.announce(id, &Rounds { over, times: one.times, goes_on: !one.begins, extra: false });
                }
            }
        }
    }

    /// Moves the instances over; answers with the changed ones and where they were.
    fn go_over_instances(&mut self, old: &Spec, new: &Spec) -> Vec<(InstanceId, usize)> {
        let pairs = pair(&old.instances, &new.instances, same_name_and_router, same_router);
        let mut before: Vec<Option<Instance>> = self.instances.take().into_iter().map(Some).collect();
        let masters = |instances: &[Option<Instance>]| -> BTreeSet<u32> {
            let ids = (0..).zip(instances);
            ids.filter(|(_, instance)| instance.as_ref().is_some_and(Instance::is_master)).map(|(id, _)| id).collect()
        };
        let owned_before = masters(&before);
        let kept: BTreeSet<usize> = pairs.iter().flatten().copied().collect();
        for (position, spec) in old.instances.iter().enumerate().filter(|(position, _)| !kept.contains(position)) {
            let Some(Some(instance)) = before.get_mut(position) else { continue };
            if instance.is_master() {
                let id = InstanceId(position as u32);
                let awake = self.awake();
                let (now, wall, not_before, out) = (self.now, self.around.wall, self.not_before, &mut self.out);
                instance.advertise(Priority::LEAVING, &mut Cx { id, spec, now, wall, not_before, awake, out });
            }
            self.out.push_back(Action::Report(Event::Deleted { name: spec.name.clone(), was: instance.role() }));
        }
        let mut changed = Vec::new();
        let mut owned_after = BTreeSet::new();
        for ((position, spec), pair) in new.instances.iter().enumerate().zip(&pairs) {
            let id = InstanceId(position as u32);
            let continued = pair.and_then(|at| Some((at, old.instances.get(at)?, before.get_mut(at)?.take()?)));
            let Some((at, old_spec, mut instance)) = continued else {
                self.instances.push(Instance::new(spec, self.opening, self.now));
                continue;
            };
            // Each member determines again who is faulty in its group; nobody is to be held by a member that has left.
            (instance.group_fault, instance.group_pending) = (None, false);
            if old_spec != spec {
                changed.push((id, at));
                if instance.is_master() {
                    let kept = carried(old_spec, spec, &instance.plan.ready);
                    instance.plan.reloaded(&old_spec.garp, &spec.garp, kept, self.now);
                }
            }
            if instance.is_master() {
                owned_after.insert(id.0);
                if at != position || old_spec.claim != spec.claim {
                    self.out.push_back(Action::Own(id, spec.claim.clone()));
                }
            }
            self.instances.push(instance);
        }
        let stale = owned_before.difference(&owned_after).map(|id| Action::Disown(InstanceId(*id)));
        self.out.extend(stale);
        changed
    }

    fn go_over_trackers(&mut self, old: &Spec, new: &Spec) {
        let pairs = pair(&old.scripts, &new.scripts, |a, b| a.name == b.name && same_script(a, b), same_script);
        let (now, out) = (self.now, &mut self.out);
        self.around.change(|facts| {
            let mut before: Vec<Option<Monitor>> = std::mem::take(&mut facts.scripts).into_iter().map(Some).collect();
            for (spec, pair) in new.scripts.iter().zip(&pairs) {
                let continued = pair.and_then(|at| Some((old.scripts.get(at)?, before.get_mut(at)?.take()?)));
                let monitor = match continued {
                    // Its run goes on, whatever its new place in the list: it is known by its own number.
                    Some((was, mut monitor)) => {
                        if was != spec {
                            monitor.reloaded(was, spec, now);
                        }
                        monitor
                    }
                    None => Monitor::new(spec, now, true),
                };
                facts.scripts.push(monitor);
            }
            for (id, monitor) in (0..).map(ScriptId).zip(&mut before) {
                if let Some(monitor) = monitor {
                    monitor.stop(id, out);
                }
            }
            facts.board = facts.board.carried(old, new);
            Different
        });
    }
}

impl Board {
    /// What goes over to another configuration: the readings of what both watch alike.
    fn carried(&self, old: &Spec, new: &Spec) -> Board {
        let mut board = Board::new(new);
        let files = pair(&old.files, &new.files, |a, b| a.name == b.name && a.path == b.path, |a, b| a.path == b.path);
        carry(&files, &self.files, &mut board.files);
        let same = |a: &crate::spec::ProcessSpec, b: &crate::spec::ProcessSpec| {
            (&a.process, &a.params, a.param_match, a.full_command, a.quorum, a.quorum_max)
                == (&b.process, &b.params, b.param_match, b.full_command, b.quorum, b.quorum_max)
        };
        let processes = pair(&old.processes, &new.processes, |a, b| a.name == b.name && same(a, b), same);
        carry(&processes, &self.processes, &mut board.processes);
        let bfds = pair(&old.bfds, &new.bfds, |a, b| a.name == b.name, |_, _| false);
        carry(&bfds, &self.bfds, &mut board.bfds);
        board
    }
}

/// Copies what is continued.
fn carry<T: Clone>(pairs: &Pairs, old: &[T], new: &mut [T]) {
    for (entry, pair) in new.iter_mut().zip(pairs) {
        if let Some(value) = pair.and_then(|at| old.get(at)) {
            entry.clone_from(value);
        }
    }
}

/// What makes an address the same one in two configurations.
fn identity(address: &VirtualAddress) -> (IpAddr, u8, Option<IfName>) {
    (address.address, address.prefix, address.interface.clone())
}

/// Positions in the new claim of addresses that were ready under the old one.
fn carried(old: &InstanceSpec, new: &InstanceSpec, ready: &Ranges) -> Ranges {
    let there: BTreeSet<_> = ready
        .iter()
        .flatten()
        .filter_map(|position| old.claim.addresses.get(position as usize))
        .map(identity)
        .collect();
    let mut kept = Ranges::default();
    for (position, address) in (0_u32..).zip(&new.claim.addresses) {
        if there.contains(&identity(address)) {
            kept.add(position..position + 1);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// The engine's thread pairs thousands while adverts wait.
    #[test]
    fn one_that_came_or_went_does_not_have_all_compared_with_all() {
        let all: Vec<u32> = (1..=1_000).collect();
        let behind_a_new_one: Vec<u32> = (0..=1_000).collect();
        for (old, new) in [(&all, &behind_a_new_one), (&behind_a_new_one, &all)] {
            let compared = Cell::new(0);
            let same = |a: &u32, b: &u32| {
                compared.set(compared.get() + 1);
                a == b
            };
            let pairs = pair(old, new, same, |_, _| false);
            let expected: Pairs = new.iter().map(|number| old.iter().position(|other| other == number)).collect();
            assert_eq!(pairs, expected);
            assert!(compared.get() < 5_000, "{}", compared.get());
        }
    }
}
