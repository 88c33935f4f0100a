//! How long backups may wait. Law 13: after a master said that it leaves, one of the backups that heard it takes over
//! within its skew. Law 15: a backup that hears nobody takes over when its down timer ends.
//! Law 17: one that does not preempt does not take over before.
//!
//! All backups that heard wait for their own skew, so the one with the highest priority is first: its skew is the bound.
//! The skew is worked out here once more, from RFC 3768 and RFC 9568 §6.1, since the engine's own arithmetic is on trial.

use super::circles::Circles;
use super::law::Law;
use super::node::Node;
use super::oracle::Oracle;
use super::reach::{heeds, unsettled};
use super::said;
use super::world::World;
use crate::spec::{Auth, InstanceId, InstanceSpec};
use crate::time::{Interval, Time};
use crate::vrrp::io::{Cause, Role, Transmit};
use crate::wire::advert::Head;
use crate::wire::{Priority, Version};

/// Backups that must take over.
pub(super) struct Handover {
    since: Time,
    within: Interval,
    heirs: Vec<(usize, InstanceId)>,
}

impl Oracle {
    /// Somebody says that it leaves: which backups hear that, and must take over?
    pub fn leaves(&mut self, world: &World<'_>, node: usize, goodbye: &Transmit) {
        let instance = goodbye.instance;
        let grouped = |n: &Node| !n.spec.groups.is_empty() || !n.spec.startup_delay.is_zero();
        if self.drains || unsettled(world) || world.nodes.iter().any(grouped) {
            return;
        }
        if self.stale {
            self.circles = Circles::of(&world.nodes);
            self.stale = false;
        }
        // A restarted AH router counts from 0: who has heard more takes its goodbye for a replay, like all that it says.
        let sequence = said::ah_mark(&goodbye.bytes).map_or(u32::MAX, |(_, sequence)| sequence);
        let fresh = |to: (usize, InstanceId)| {
            self.watches.get(to.0).and_then(|w| w.get(to.1.index())).is_some_and(|watch| watch.ah_heard < sequence)
        };
        let from = (node, instance);
        // On a wire that reorders, an advert sent just before may come after, and take the goodbye back.
        let before = self.watches.get(node).and_then(|w| w.get(instance.index())).and_then(|watch| watch.spoke[0]);
        if before.is_some_and(|before| world.now.since(before) <= self.bounds.arrival) {
            return;
        }
        let hear = |to: &&(usize, InstanceId)| {
            to.0 != node
                && world.nodes.get(to.0).is_some_and(Node::awake)
                && self.role(to.0, to.1) == Some(Role::Backup)
                && heeds(world, from, **to)
                && fresh(**to)
        };
        let circle = self.circles.lists().find(|members| members.contains(&from));
        let heirs: Vec<_> = circle.into_iter().flatten().filter(hear).copied().collect();
        let first = heirs.iter().filter_map(|heir| skew(world, *heir, self.bounds.interval)).min();
        if let Some(first) = first {
            self.handovers.push(Handover { since: world.now, within: first + self.bounds.arrival, heirs });
        }
    }

    pub(super) fn look_at_handovers(&mut self, world: &World<'_>) {
        let mut open = std::mem::take(&mut self.handovers);
        open.retain(|Handover { since, within, heirs }| {
            // One of them having become something else, or a master anywhere among them, settles it.
            let waiting = heirs.iter().all(|(n, i)| self.role(*n, *i) == Some(Role::Backup));
            let circle = self.circles.lists().find(|members| heirs.iter().all(|heir| members.contains(heir)));
            let master = circle.into_iter().flatten().any(|(n, i)| self.role(*n, *i) == Some(Role::Master));
            if !waiting || master {
                return false;
            }
            let lasts = world.now.since(*since);
            if lasts > *within {
                let names: Vec<&str> =
                    heirs.iter().filter_map(|(n, _)| world.nodes.get(*n)).map(|n| &*n.name).collect();
                let text = format!("{} heard a goodbye and waited {lasts}s", names.join(", "));
                self.blame(Law::SwiftHandover, world.now, text);
            }
            true
        });
        self.handovers = open;
    }

    /// Law 15. Members of groups wait for each other, and are not asked.
    pub(super) fn look_at_patience(&mut self, world: &World<'_>) {
        for (number, node) in world.nodes.iter().enumerate().filter(|(_, node)| node.awake()) {
            for (position, spec) in node.spec.instances.iter().enumerate().filter(|(_, spec)| spec.group.is_none()) {
                let watch = self.watches.get(number).and_then(|watches| watches.get(position));
                let Some(watch) = watch.filter(|watch| watch.role == Role::Backup) else { continue };
                let interval = if spec.version == Version::V2 { spec.interval } else { self.bounds.interval };
                let adverts = interval.times(u64::from(spec.down_adverts)) + self.bounds.late;
                let quiet = world.now.since(watch.quiet_since);
                if quiet <= adverts {
                    continue;
                }
                let skew = skew(world, (number, InstanceId(position as u32)), self.bounds.interval);
                if skew.is_some_and(|skew| quiet > adverts + skew) {
                    let text = format!("{} {}: BACKUP, and nobody was heard for {quiet}s", node.name, spec.name);
                    self.blame(Law::Patience, world.now, text);
                }
            }
        }
    }

    /// Somebody's priority is another: how long he has to wait is not known any more.
    pub(super) fn heir_changes(&mut self, node: usize, instance: InstanceId) {
        self.handovers.retain(|handover| !handover.heirs.contains(&(node, instance)));
    }
}

/// Law 17: the last advert that an instance without preemption has certainly accepted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    version: Version,
    interval: Interval,
    adverts: u32,
    /// When it was heard, and the interval that counts from then on.
    told: Option<(Time, Interval)>,
}

impl Hold {
    /// `None`: it preempts, or it may rightly refuse what it hears.
    pub fn of(spec: &InstanceSpec) -> Option<Hold> {
        let plain = matches!(spec.auth, Auth::None | Auth::Pass(_));
        let hold = Hold { version: spec.version, interval: spec.interval, adverts: spec.down_adverts, told: None };
        (plain && !spec.preempt).then_some(hold)
    }

    /// An advert came in that is not refused; `surely`: and that cannot be refused for anything said before.
    pub fn heard(&mut self, head: &Head, surely: bool, now: Time) {
        let centis = u64::from(head.fifth & 0x0f) << 8 | u64::from(head.sixth);
        let theirs = match (head.version, self.version) {
            (2, Version::V2) => Interval::from_secs(head.sixth.into()),
            (3, Version::V3) => Interval::from_centis(centis),
            _ => return,
        };
        if head.priority == Priority::LEAVING {
            self.told = None;
        } else if surely && (self.version == Version::V3 || theirs == self.interval) {
            self.told = Some((now, theirs));
        }
    }

    /// The role changes. How much too early that is, if it is.
    pub fn ends(&mut self, why: &Cause, now: Time) -> Option<Interval> {
        let (at, interval) = self.told.take()?;
        let until = at + interval.times(self.adverts.into());
        (matches!(why, Cause::MasterSilent | Cause::Preempts { .. }) && now < until).then(|| until - now)
    }
}

/// The longest skew that an instance may have.
fn skew(world: &World<'_>, (node, instance): (usize, InstanceId), longest: Interval) -> Option<Interval> {
    let node = world.nodes.get(node)?;
    let view = node.router.as_ref()?.snapshot(world.now).instances.into_iter().nth(instance.index())?;
    let second = match node.spec.instances.get(instance.index())?.version {
        Version::V2 => Interval::from_secs(1),
        // It may have learned the interval of anybody.
        Version::V3 => longest,
    };
    Some(second.scaled(256 - u64::from(view.effective_priority.0), 256))
}
