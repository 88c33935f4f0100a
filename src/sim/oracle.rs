//! What must always hold, whatever happens to a world. The laws are about what can be seen from outside: what engines
//! report and send, what is on interfaces, who can hear whom. Each law can fail: `tests/simulate.rs` breaks an engine
//! or the world for every one of them and sees it caught.

use super::bounds::Bounds;
use super::circles::Circles;
use super::handover::{Handover, Hold};
use super::law::{Law, Violation};
use super::node::Node;
use super::reach::{connected, takes, unsettled};
use super::reloads::Carried;
use super::said;
use super::scenario::{Act, Scenario};
use super::world::World;
use crate::spec::{InstanceId, Spec, Transport};
use crate::time::{Interval, Time};
use crate::vrrp::io::{Action, Announce, Cause, Event, Role, RxMeta};
use crate::wire::Priority;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What is known of one instance by what its engine said and did.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    pub role: Role,
    interval: Interval,
    peers: u64,
    /// Since when adverts are due: last one sent, or the moment of becoming master.
    beat: Option<Time>,
    /// The last two adverts.
    pub(super) spoke: [Option<Time>; 2],
    window: Time,
    sent: u64,
    allowed: u64,
    vrid: u8,
    /// Highest AH sequence that it has heard.
    pub(super) ah_heard: u32,
    /// Since when it can have heard nobody, as a backup that waits.
    pub(super) quiet_since: Time,
    /// When it last said that it leaves.
    left: Option<Time>,
    /// What holds it back, if it does not preempt.
    hold: Option<Hold>,
    /// Priority and address that it speaks with.
    speaks_as: Option<(Priority, IpAddr)>,
}

impl Watch {
    fn waits_from(&mut self, now: Time) {
        self.quiet_since = self.quiet_since.max(now);
    }

    fn listens(&self) -> bool {
        matches!(self.role, Role::Backup | Role::Master)
    }
}

#[derive(Default)]
pub(super) struct Oracle {
    pub bounds: Bounds,
    pub violations: Vec<Violation>,
    pub(super) watches: Vec<Vec<Watch>>,
    names: Vec<Vec<Box<str>>>,
    /// End of each node's start-up delay.
    starts: BTreeMap<usize, Time>,
    pub(super) circles: Circles,
    pub(super) stale: bool,
    calm_since: Time,
    checked_at: Time,
    /// Since when an address is on two servers whose order has been the same.
    overlaps: BTreeMap<(IpAddr, Holder, Holder), Time>,
    reloading: Option<bool>,
    /// Backups that must take over, each list since when.
    pub(super) handovers: Vec<Handover>,
    /// The scenario drains somebody: who is drained need not take over.
    pub(super) drains: bool,
    /// Calm checks made: a run in which nothing was ever checked proves little.
    pub checks: u64,
}

/// An instance of a node that has an address.
type Holder = (usize, InstanceId);

/// Between two looks at the whole of a calm world.
const EVERY: Interval = Interval::from_millis(700);

impl Oracle {
    pub(crate) fn new(specs: &[&Spec], scenario: &Scenario) -> Oracle {
        Oracle {
            bounds: Bounds::of(specs, scenario),
            watches: specs.iter().map(|_| Vec::new()).collect(),
            names: specs.iter().map(|spec| spec.instances.iter().map(|i| i.name.clone()).collect()).collect(),
            stale: true,
            drains: scenario.acts.iter().any(|(_, act)| matches!(act, Act::Drain(_))),
            ..Oracle::default()
        }
    }

    pub(crate) fn broken(&self) -> bool {
        !self.violations.is_empty()
    }

    pub(super) fn blame(&mut self, law: Law, at: Time, text: String) {
        // The first is the cause; what follows from it says nothing more.
        if self.violations.is_empty() {
            self.violations.push(Violation { at, law, text });
        }
    }

    fn name(&self, node: usize, instance: InstanceId) -> &str {
        self.names.get(node).and_then(|n| n.get(instance.index())).map_or("?", |name| name)
    }

    pub(crate) fn began(&mut self, node: usize, spec: &Spec, now: Time) {
        self.stale = true;
        if let Some(watches) = self.watches.get_mut(node) {
            *watches = spec.instances.iter().map(|i| watch(i, now)).collect();
            watches.iter_mut().for_each(|watch| watch.waits_from(now + spec.startup_delay));
        }
        self.starts.insert(node, now + spec.startup_delay);
        self.rename(node, spec);
    }

    pub(crate) fn ended(&mut self, node: usize) {
        self.stale = true;
        if let Some(watches) = self.watches.get_mut(node) {
            watches.clear();
        }
    }

    pub(crate) fn resumed(&mut self, node: usize, now: Time) {
        for watch in self.watches.get_mut(node).into_iter().flatten() {
            watch.beat = watch.beat.map(|_| now);
            watch.waits_from(now);
        }
    }

    pub(crate) fn disturbed(&mut self, act: &Act, now: Time) {
        self.calm_since = now + act.aftermath();
        self.handovers.clear();
        for watch in self.watches.iter_mut().flatten() {
            watch.allowed += 2 * watch.peers;
        }
    }

    /// A datagram came to a node: a master may answer it, and a backup waits anew if it does not refuse it.
    pub fn heard(&mut self, (node, own): (usize, &Node), meta: &RxMeta, bytes: &[u8], now: Time) {
        let (sealed, head) = (said::ah_mark(bytes), said::head(bytes));
        let listens = self.starts.get(&node).is_some_and(|start| *start <= now);
        for (position, watch) in self.watches.get_mut(node).into_iter().flatten().enumerate() {
            watch.allowed += 2 * watch.peers;
            let for_it = head.filter(|head| head.vrid == watch.vrid);
            let taken = for_it.map(|head| (head, takes(own, InstanceId(position as u32), meta, bytes)));
            if let Some((head, taken)) = taken.filter(|(_, taken)| *taken != Some(false)) {
                watch.waits_from(now);
                if let (Some(hold), true) = (watch.hold.as_mut(), listens && watch.role == Role::Backup) {
                    hold.heard(&head, taken == Some(true), now);
                }
            }
            if let Some((_, sequence)) = sealed.filter(|(vrid, _)| *vrid == watch.vrid && watch.listens()) {
                watch.ah_heard = watch.ah_heard.max(sequence);
            }
        }
    }

    fn rename(&mut self, node: usize, spec: &Spec) {
        if let Some(names) = self.names.get_mut(node) {
            *names = spec.instances.iter().map(|i| i.name.clone()).collect();
        }
    }

    pub(crate) fn reloading(&mut self, same: bool) {
        self.reloading = Some(same);
    }

    /// The instances of a node whose daemon runs are others: what continues is watched on.
    pub fn rekey(&mut self, node: usize, spec: &Spec, carried: &Carried, now: Time) {
        self.stale = true;
        self.rename(node, spec);
        let Some(watches) = self.watches.get_mut(node) else { return };
        let before = std::mem::take(watches);
        *watches = spec.instances.iter().map(|i| watch(i, now)).collect();
        let start = self.starts.get(&node).copied().unwrap_or(now);
        watches.iter_mut().for_each(|watch| watch.waits_from(start));
        for (from, to) in carried {
            if let Some((old, new)) = before.get(from.index()).zip(watches.get_mut(to.index())) {
                *new = Watch { interval: new.interval, peers: new.peers, hold: new.hold, ..old.clone() };
                new.waits_from(now);
            }
        }
    }

    pub(crate) fn reloaded(&mut self) {
        self.reloading = None;
    }

    /// An engine wants something.
    pub fn answered(&mut self, node: usize, action: &Action, now: Time) {
        let moves = matches!(
            action,
            Action::Own(..) | Action::Disown(_) | Action::Transmit(_) | Action::Report(Event::Became { .. })
        );
        if moves && self.reloading == Some(true) {
            self.blame(Law::ReloadMovesNothing, now, format!("node {node}: a reload of the same gave {action:?}"));
        }
        let late = self.bounds.late;
        match action {
            Action::Transmit(transmit) => {
                let instance = transmit.instance;
                let Some(watch) = self.watches.get_mut(node).and_then(|w| w.get_mut(instance.index())) else { return };
                if now.since(watch.window) > Interval::from_secs(1) {
                    watch.window = now;
                    watch.sent = 0;
                    watch.allowed = watch.peers * (3 + 1_000_000 / watch.interval.as_micros().max(1));
                }
                watch.sent += 1;
                match said::priority(transmit) {
                    Some(Priority::LEAVING) => watch.left = Some(now),
                    Some(priority) => watch.speaks_as = Some((priority, transmit.source)),
                    None => {}
                }
                watch.spoke = [watch.spoke[1], Some(now)];
                let (sent, allowed) = (watch.sent, watch.allowed);
                let gap = watch.beat.map(|beat| now.since(beat));
                let most = watch.interval + late;
                watch.beat = watch.beat.map(|_| now);
                if sent > allowed {
                    let text = format!("{} sent {sent} adverts in a second", self.name(node, instance));
                    self.blame(Law::Bounded, now, text);
                }
                if let Some(gap) = gap.filter(|gap| *gap > most) {
                    let text = format!("node {node} {}: {gap}s between two adverts", self.name(node, instance));
                    self.blame(Law::Cadence, now, text);
                }
            }
            Action::Report(Event::Stopped { instance }) => self.ends(node, *instance, now),
            Action::Report(Event::Deleted { name, .. }) => {
                let position = self.names.get(node).and_then(|names| names.iter().position(|own| own == name));
                position.into_iter().for_each(|position| self.ends(node, InstanceId(position as u32), now));
            }
            Action::Report(Event::Became { instance, from: Role::Master, to: Role::Fault, .. }) => {
                self.ends(node, *instance, now);
                self.becomes(node, action, now);
            }
            Action::Report(Event::PriorityChanged { instance, to, .. }) => {
                if let Some(watch) = self.watches.get_mut(node).and_then(|w| w.get_mut(instance.index())) {
                    watch.speaks_as = watch.speaks_as.map(|(_, address)| (*to, address));
                    watch.waits_from(now);
                }
                self.heir_changes(node, *instance);
                // What the other has heard and left unanswered was said with another priority.
                let own = (node, *instance);
                let mine = self.overlaps.iter_mut().filter(|((_, x, y), _)| *x == own || *y == own);
                mine.for_each(|(_, since)| *since = now);
            }
            Action::Report(Event::Became { .. }) => self.becomes(node, action, now),
            _ => {}
        }
    }

    /// A report of another role is held against what is known.
    fn becomes(&mut self, node: usize, action: &Action, now: Time) {
        let Action::Report(Event::Became { instance, to, from, why }) = action else { return };
        let Some(watch) = self.watches.get_mut(node).and_then(|w| w.get_mut(instance.index())) else { return };
        let known = watch.role;
        let worse = match (why, watch.speaks_as) {
            (Cause::Outranked { by, priority }, Some(own)) if *from == Role::Master => (*priority, *by) <= own,
            _ => false,
        };
        watch.role = *to;
        let hurry = watch.hold.as_mut().and_then(|hold| hold.ends(why, now));
        watch.waits_from(now);
        watch.beat = (*to == Role::Master).then_some(now);
        watch.allowed += 3 * watch.peers;
        // FAULT while a script has not reported yet is entered without a word, as keepalived does.
        let silent = known == Role::Init && *from == Role::Fault;
        if known != *from && !silent {
            let text = format!("{} was {known}, yet it left {from}", self.name(node, *instance));
            self.blame(Law::ReportsAreTrue, now, text);
        }
        if let Some(early) = hurry {
            let text = format!("node {node} {} became master, {why:?}, {early}s too early", self.name(node, *instance));
            self.blame(Law::NoHurry, now, text);
        }
        if worse {
            let text = format!("node {node} {} yielded, {why:?}", self.name(node, *instance));
            self.blame(Law::YieldsToBetter, now, text);
        }
    }

    /// Nothing more comes from an instance, or not soon.
    fn ends(&mut self, node: usize, instance: InstanceId, now: Time) {
        let watch = self.watches.get(node).and_then(|w| w.get(instance.index()));
        if watch.is_some_and(|watch| watch.role == Role::Master && watch.left != Some(now)) {
            let text = format!("node {node} {} left without a word", self.name(node, instance));
            self.blame(Law::SaysGoodbye, now, text);
        }
    }

    pub(crate) fn announced(
        &mut self,
        node: usize,
        announce: &Announce,
        count: usize,
        unowned: Option<IpAddr>,
        now: Time,
    ) {
        let asked = announce.addresses.len();
        if let Some(address) = unowned {
            self.blame(Law::AnnounceOwned, now, format!("node {node} announced {address} without having it"));
        } else if count != asked {
            self.blame(Law::AnnounceOwned, now, format!("node {node} announced {asked} addresses, there are {count}"));
        }
    }

    pub(crate) fn endless(&mut self, node: usize, now: Time) {
        self.blame(Law::TimeAdvances, now, format!("node {node} never stops answering"));
    }

    /// An engine has answered all; `deadline` is when it wants to be woken.
    pub fn drained(&mut self, node: usize, deadline: Option<Time>, now: Time) {
        if let Some(at) = deadline.filter(|at| *at <= now) {
            let text =
                format!("node {node} was told {}s and wants to be woken at {}s", now - Time::ZERO, at - Time::ZERO);
            self.blame(Law::TimeAdvances, now, text);
        }
    }

    pub(crate) fn role(&self, node: usize, instance: InstanceId) -> Option<Role> {
        self.watches.get(node).and_then(|w| w.get(instance.index())).map(|watch| watch.role)
    }

    /// Looks at the world as it has stood since the last step and stands until `world.now`.
    pub fn look(&mut self, world: &World<'_>, last: bool) {
        if self.stale {
            self.circles = Circles::of(&world.nodes);
            self.stale = false;
        }
        self.look_at_nodes(world);
        self.look_at_handovers(world);
        self.look_at_patience(world);
        self.look_at_holders(world);
        if unsettled(world) {
            self.calm_since = self.calm_since.max(world.now);
        }
        let calm = world.now.since(self.calm_since) > self.bounds.settle;
        if calm && (last || world.now.since(self.checked_at) > EVERY) {
            self.checked_at = world.now;
            self.checks += 1;
            self.look_at_calm(world);
        }
    }

    fn look_at_nodes(&mut self, world: &World<'_>) {
        let late = self.bounds.late;
        for (number, node) in world.nodes.iter().enumerate().filter(|(_, node)| node.awake()) {
            for position in 0..node.spec.instances.len() {
                let instance = InstanceId(position as u32);
                let watch = self.watches.get(number).and_then(|w| w.get(position));
                let Some((spec, watch)) = node.spec.instances.get(position).zip(watch) else { continue };
                if watch.role != Role::Master {
                    continue;
                }
                let quiet = watch.beat.map(|beat| world.now.since(beat)).unwrap_or_default();
                let most = watch.interval + self.bounds.late;
                if let Some(down) = node.needs(instance).find(|index| node.has_lost(*index, late, world.now)) {
                    let name = node.kernel.link(down).map_or("?", |link| link.name.as_str());
                    let text = format!("{} {} is master although {name} is down", node.name, spec.name);
                    self.blame(Law::NoFaultyMaster, world.now, text);
                } else if quiet > most {
                    let text = format!("{} {}: master, and silent for {quiet}s", node.name, spec.name);
                    self.blame(Law::Cadence, world.now, text);
                }
            }
            for group in &node.spec.groups {
                let mut roles = group.members.iter().filter_map(|member| self.role(number, *member));
                let first = roles.next();
                if let Some(other) = roles.find(|role| Some(*role) != first) {
                    let text = format!("{}: group {} is split, {first:?} and {other:?}", node.name, group.name);
                    self.blame(Law::GroupAgrees, world.now, text);
                }
            }
        }
    }

    fn look_at_holders(&mut self, world: &World<'_>) {
        let mut holders: BTreeMap<IpAddr, Vec<(usize, InstanceId)>> = BTreeMap::new();
        for (number, node) in world.nodes.iter().enumerate() {
            if node.awake() && node.kernel.is_well(world.now) {
                node.kernel.held.iter().for_each(|(a, i)| holders.entry(*a).or_default().push((number, *i)));
            }
        }
        let mut overlaps = BTreeMap::new();
        for (address, holders) in holders.into_iter().filter(|(_, holders)| holders.len() > 1) {
            for (position, x) in holders.iter().enumerate() {
                for y in holders.iter().skip(position + 1) {
                    if world.lan.settings.loss > 0 || !self.circles.same(*x, *y) || !connected(world, *x, *y) {
                        continue;
                    }
                    let key = (address, *x, *y);
                    let since = self.overlaps.get(&key).copied().unwrap_or(world.now);
                    overlaps.insert(key, since);
                    let lasts = world.now.since(since);
                    if lasts > self.bounds.overlap {
                        let name = |n: usize| world.nodes.get(n).map_or("?", |n| &n.name);
                        let text = format!("{address} on {} and {} for {lasts}s", name(x.0), name(y.0));
                        self.blame(Law::OneHolder, world.now, text);
                    }
                }
            }
        }
        self.overlaps = overlaps;
    }

    fn look_at_calm(&mut self, world: &World<'_>) {
        let snapshots: Vec<_> = world
            .nodes
            .iter()
            .map(|node| node.router.as_ref().filter(|_| !node.paused).map(|router| router.snapshot(world.now)))
            .collect();
        for (number, (node, snapshot)) in world.nodes.iter().zip(&snapshots).enumerate() {
            let Some(snapshot) = snapshot else { continue };
            if snapshot.instances.len() != node.spec.instances.len() {
                let text = format!("{} shows {} instances", node.name, snapshot.instances.len());
                self.blame(Law::ReportsAreTrue, world.now, text);
            }
            let nobody = node.kernel.held.iter().find(|(_, holder)| holder.index() >= node.spec.instances.len());
            if let Some((address, _)) = nobody {
                self.blame(Law::KernelFollows, world.now, format!("{} has {address}, which is nobody's", node.name));
            }
            if let Some((law, text)) = world.judge_sessions(node, number, snapshot) {
                self.blame(law, world.now, text);
            }
            let mut holds: BTreeMap<InstanceId, usize> = BTreeMap::new();
            for holder in node.kernel.held.values() {
                *holds.entry(*holder).or_default() += 1;
            }
            for (position, view) in snapshot.instances.iter().enumerate() {
                let instance = InstanceId(position as u32);
                let role = self.role(number, instance).unwrap_or(Role::Init);
                let at = |what: &str| format!("{} {}: {what}", node.name, view.name);
                if role != view.state && (role, view.state) != (Role::Init, Role::Fault) {
                    self.blame(Law::ReportsAreTrue, world.now, at(&format!("reported {role}, shown {}", view.state)));
                }
                if !view.faults.is_empty() && view.state == Role::Master {
                    self.blame(Law::NoFaultyMaster, world.now, at(&format!("master with faults {:?}", view.faults)));
                }
                if let Some(fault) = view.faults.iter().find(|fault| node.denies(instance, fault)) {
                    self.blame(Law::FaultIsTrue, world.now, at(&format!("{}, {fault:?} is not so", view.state)));
                }
                let held = holds.get(&instance).copied().unwrap_or(0);
                let claimed = node.spec.instances.get(position).map_or(0, |i| i.claim.addresses.len());
                let wanted = if view.state == Role::Master { claimed } else { 0 };
                if held != wanted {
                    let text = at(&format!("{} with {held} of {claimed} addresses", view.state));
                    self.blame(Law::KernelFollows, world.now, text);
                }
            }
        }
        let circles = std::mem::take(&mut self.circles);
        for circle in circles.lists() {
            if let Err((law, text)) = super::circles::judge(&circles, circle, world, &snapshots) {
                self.blame(law, world.now, text);
            }
        }
        self.circles = circles;
    }
}

fn watch(instance: &crate::spec::InstanceSpec, now: Time) -> Watch {
    let peers = peers(&instance.transport);
    let allowed = peers * (5 + 1_000_000 / instance.interval.as_micros().max(1));
    Watch {
        role: Role::Init,
        interval: instance.interval,
        peers,
        beat: None,
        spoke: [None; 2],
        window: now,
        sent: 0,
        allowed,
        vrid: instance.vrid.get(),
        ah_heard: 0,
        quiet_since: now,
        left: None,
        hold: Hold::of(instance),
        speaks_as: None,
    }
}

fn peers(transport: &Transport) -> u64 {
    match transport {
        Transport::Multicast { .. } => 1,
        Transport::Unicast { peers, .. } => peers.len() as u64,
    }
}
