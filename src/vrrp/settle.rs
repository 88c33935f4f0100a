//! Making everybody's standing agree with the facts, after every input, in one pass.
//!
//! Each marked instance is bound to its links again, its faults and priority are recomputed from nothing but the present
//! picture, and then the table of [`super::group`] is applied to every group with a changed member. Since an instance is
//! in one group at most, one pass over the groups is enough.

use super::Engine;
use super::bind::{Binding, Ours, bind};
use super::election;
use super::garp::Ranges;
use super::group::{self, Member, Verdict};
use super::index::Index;
use super::instance::Instance;
use super::io::{Action, Cause, Event, Fault, Role};
use super::state::{Patience, State};
use super::track::{Contribution, Reading, name_of, weigh};
use crate::spec::{GroupId, IfName, InstanceId, InstanceSpec, Spec, Tie, TieTarget, Transport};
use crate::time::Interval;
use crate::wire::Priority;
use std::collections::{BTreeSet, VecDeque};

/// Groups whose new state is told of before that of their members.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Groups {
    All,
    /// Those that have not been told of yet: while sockets are being opened.
    New,
}

impl Engine {
    /// Applies what follows from everything that was marked.
    pub(super) fn settle(&mut self) {
        // With nearly every advert nothing is.
        if self.unsettled.is_empty() && self.stirred.is_empty() {
            return;
        }
        let mut follow = BTreeSet::new();
        // An instance that begins or ceases to be faulty is told of first, then the members that it holds or lets go.
        let mut causes = VecDeque::new();
        // Rebinding one instance may concern another (a duplicate VRID), which is then marked; its own rebinding
        // changes nothing further, so the second round is the last.
        while !self.unsettled.is_empty() {
            for id in std::mem::take(&mut self.unsettled) {
                if self.recompute(id) {
                    let faulty = self.instances.get(id.index()).is_some_and(|member| !member.own_faults.is_empty());
                    // The first that fails takes the others along; they wait for the last that recovers.
                    if faulty { causes.push_back(id) } else { causes.push_front(id) }
                }
                follow.insert(id);
            }
        }
        for group in self.stirred.clone() {
            self.spread_faults(group, &mut follow);
        }
        for id in &causes {
            follow.remove(id);
        }
        for id in causes.into_iter().chain(follow) {
            if self.waits_for_a_socket(id) {
                continue;
            }
            let at_once = self.may_start_at_once(id);
            let patience = self.first_patience(id);
            self.with(id, |instance, cx| instance.follow_faults(at_once, patience, cx));
        }
        if self.stirred.is_empty() {
            return;
        }
        for group in std::mem::take(&mut self.stirred) {
            self.apply_table(group);
        }
        self.stirred.clear();
        self.leader = None;
    }

    /// Binds an instance to the links that are there, and computes its faults and priority. True when its sync group has
    /// to know: it has begun or ceased to be faulty.
    fn recompute(&mut self, id: InstanceId) -> bool {
        let Some((instance, spec)) = self.instances.get(id.index()).zip(self.spec.instances.get(id.index())) else {
            return false;
        };
        let (binding, mut faults) = {
            let ours = Ours { claimed: &self.index.claimed, statics: &self.index.statics };
            bind(spec, &self.around.links, ours, instance.binding.source)
        };
        if let Some(reason) = &spec.config_fault {
            faults.insert(0, Fault::Config(reason.clone()));
        }
        if self.is_duplicate(id, spec, &binding) {
            faults.push(Fault::DuplicateVrid);
        }
        faults.extend(instance.voice.fault());
        let mut parts = 0_i32;
        for tie in &spec.ties {
            let contribution = self.contribution(tie);
            parts = parts.saturating_add(contribution.amount);
            if contribution.pending {
                faults.push(Fault::Pending(name_of(&self.spec, tie).into()));
            } else if contribution.fault {
                faults.push(match &tie.on {
                    TieTarget::Interface(name) if self.around.links.named(name).is_none() => {
                        Fault::InterfaceMissing(name.clone())
                    }
                    TieTarget::Interface(name) => Fault::InterfaceDown(name.clone()),
                    _ => Fault::Tracker(name_of(&self.spec, tie).into()),
                });
            }
        }
        let mut seen = BTreeSet::new();
        faults.retain(|fault| seen.insert(fault.clone()));
        let standing = election::effective(spec.priority, std::iter::once(parts));
        if instance.binding != binding {
            self.rebound += 1;
            let before = instance.binding.clone();
            let own = ears(spec, &before).into_iter().chain(ears(spec, &binding)).flatten();
            let concerned = own.flat_map(|ifindex| self.index.hearers(ifindex, spec.family, spec.vrid.get()).to_vec());
            self.unsettled.extend(concerned.filter(|other| *other != id));
            for ifindex in ears(spec, &before).into_iter().flatten() {
                self.index.unhear(ifindex, spec.family, spec.vrid, id);
            }
            hear(&mut self.index, id, spec, &binding);
        }
        let group = spec.group;
        let stirs = self.with(id, |instance, cx| {
            instance.binding = binding;
            instance.set_standing(standing, cx);
            let before = (instance.own_faults.is_empty(), instance.own_faults_only_pending());
            instance.own_faults = faults;
            before != (instance.own_faults.is_empty(), instance.own_faults_only_pending())
        });
        self.stirred.extend(group.filter(|_| stirs == Some(true)));
        group.is_some() && stirs == Some(true)
    }

    /// [`Engine::settle`] at the start and after a reload, where `which` groups are told of before their members.
    pub(super) fn settle_groups_first(&mut self, which: Groups) {
        // Not copied: at the start of thousands this runs for each of them, with what all of them wish waiting.
        let before = std::mem::take(&mut self.out);
        self.settle();
        let told = std::mem::replace(&mut self.out, before);
        let of_group = |action: &Action| match action {
            Action::Report(Event::GroupBecame { from, .. }) => match which {
                Groups::All => true,
                Groups::New => *from == Role::Init,
            },
            _ => false,
        };
        let (groups, others): (Vec<Action>, Vec<Action>) = told.into_iter().partition(of_group);
        self.out.extend(groups.into_iter().chain(others));
    }

    /// What a tie adds at the moment.
    pub(super) fn contribution(&self, tie: &Tie) -> Contribution {
        let reading = match &tie.on {
            TieTarget::Interface(name) => Reading::Good(self.around.links.is_running(name)),
            TieTarget::Script(id) => match self.around.scripts.get(id.index()).zip(self.spec.scripts.get(id.index())) {
                Some((monitor, script)) => monitor.good(script).map_or(Reading::Pending, Reading::Good),
                None => Reading::Unknown,
            },
            other => self.around.board.reading(other),
        };
        weigh(tie.weight, tie.reverse, reading)
    }

    /// Does an instance before this one use the same VRID in the same place? That can come about only when interfaces
    /// change under a configuration that was right when it was read.
    fn is_duplicate(&self, id: InstanceId, spec: &InstanceSpec, binding: &Binding) -> bool {
        let Transport::Multicast { group } = &spec.transport else { return false };
        if binding.base == 0 {
            return false;
        }
        let earlier =
            self.index.hearers(binding.base, spec.family, spec.vrid.get()).iter().filter(|other| **other < id);
        let others =
            earlier.filter_map(|other| self.spec.instances.get(other.index()).zip(self.instances.get(other.index())));
        others.filter(|(_, other)| other.binding.base == binding.base).any(|(other, _)| match &other.transport {
            Transport::Multicast { group: theirs } => {
                theirs == group && other.virtual_link.is_some() == spec.virtual_link.is_some()
            }
            Transport::Unicast { .. } => false,
        })
    }

    /// A faulty member holds all others; its going lets them go.
    fn spread_faults(&mut self, group: GroupId, follow: &mut BTreeSet<InstanceId>) {
        let Some(group) = self.spec.groups.get(group.index()) else { return };
        let faulty: Vec<InstanceId> = group
            .members
            .iter()
            .filter(|id| self.instances.get(id.index()).is_some_and(|member| !member.own_faults.is_empty()))
            .copied()
            .collect();
        let pending = self.waits_for_scripts(&faulty);
        for id in &group.members {
            let because =
                faulty.iter().find(|other| *other != id).and_then(|other| self.spec.instances.get(other.index()));
            if let Some(member) = self.instances.get_mut(id.index()) {
                member.group_fault = because.map(|spec| spec.name.clone());
                member.group_pending = pending;
            }
            follow.insert(*id);
        }
    }

    /// Where there are groups all begin together, when the last of those that begin can hear and speak: every group is told of
    /// before every instance, in the order of the configuration.
    fn waits_for_a_socket(&self, id: InstanceId) -> bool {
        let Some(instance) = self.instances.get(id.index()) else { return false };
        instance.role() == Role::Init
            && instance.faults().is_empty()
            && !self.spec.groups.is_empty()
            && self.somebody_begins()
    }

    /// Is the first socket of an instance still to come?
    pub(super) fn somebody_begins(&self) -> bool {
        self.instances.iter().any(|instance| instance.role() == Role::Init && instance.is_opening())
    }

    /// Has none of these any other fault than scripts that have not reported?
    fn waits_for_scripts(&self, faulty: &[InstanceId]) -> bool {
        faulty.iter().filter_map(|id| self.instances.get(id.index())).all(Instance::own_faults_only_pending)
    }

    /// Brings a group to one state.
    fn apply_table(&mut self, group: GroupId) {
        let Some(members) = self.spec.groups.get(group.index()).map(|group| group.members.clone()) else { return };
        let facts = members.iter().filter_map(|id| self.instances.get(id.index())).map(|member| Member {
            role: member.role(),
            faulty: !member.own_faults.is_empty(),
            wants: member.wants_master(),
        });
        let verdict = group::judge(facts);
        let content = members.iter().find(|id| {
            self.instances.get(id.index()).is_some_and(|member| !member.is_master() && !member.wants_master())
        });
        let led_by = self.leader.filter(|id| members.contains(id)).or(content.copied());
        // The member that led the group here goes first: its segment has waited longest.
        let leader = led_by.filter(|_| verdict == Verdict::AllMaster);
        for id in leader.iter().chain(members.iter().filter(|id| Some(**id) != leader)) {
            let Some(member) = self.instances.get(id.index()) else { continue };
            match (verdict, member.state()) {
                (Verdict::AllBackup, State::Master(_)) => {
                    let why = led_by.map_or(Cause::Start, |led_by| Cause::Group { led_by });
                    self.with(*id, |instance, cx| instance.become_backup(why, None, cx));
                }
                (Verdict::AllMaster, State::Backup(backup)) => {
                    let why = match (&backup.wants, led_by) {
                        (Some(own), leader) if leader.is_none_or(|leader| leader == *id) => own.clone(),
                        (_, Some(led_by)) => Cause::Group { led_by },
                        (_, None) => Cause::MasterSilent,
                    };
                    self.with(*id, |instance, cx| instance.become_master(why, cx));
                }
                _ => {}
            }
        }
        let mut after = group::role(members.iter().filter_map(|id| self.instances.get(id.index())).map(Instance::role));
        let shown = self.groups.get(group.index()).copied();
        if after == Role::Fault && shown == Some(Role::Init) && self.waits_for_scripts(&members) {
            // It has not begun, and nobody is told of it.
            after = Role::Init;
        }
        if let Some(shown) = self.groups.get_mut(group.index()).filter(|shown| **shown != after) {
            let from = std::mem::replace(shown, after);
            self.out.push_back(Action::Report(Event::GroupBecame { group, from, to: after }));
        }
    }

    /// An owner starts as master at once, in a group only if every member was told to in so many words.
    fn may_start_at_once(&self, id: InstanceId) -> bool {
        let Some(spec) = self.spec.instances.get(id.index()) else { return false };
        let group = spec.group.and_then(|group| self.spec.groups.get(group.index()));
        starts_as_master(spec) && group.is_none_or(|group| group.starts_as_master)
    }

    /// A group of owners which was not told to start as master still does not wait long.
    fn first_patience(&self, id: InstanceId) -> Patience {
        let Some(spec) = self.spec.instances.get(id.index()) else { return Patience::Full };
        let owners = spec.group.is_some() && self.group_members(spec).all(starts_as_master);
        if owners { Patience::Owners } else { Patience::Full }
    }

    fn group_members<'a>(&'a self, spec: &InstanceSpec) -> impl Iterator<Item = &'a InstanceSpec> {
        let group = spec.group.and_then(|group| self.spec.groups.get(group.index()));
        group.into_iter().flat_map(|group| &group.members).filter_map(|id| self.spec.instances.get(id.index()))
    }
}

fn starts_as_master(spec: &InstanceSpec) -> bool {
    spec.priority == Priority::OWNER && spec.wants_master
}

/// Interfaces whose adverts are for an instance; 0 is any.
fn ears(spec: &InstanceSpec, binding: &Binding) -> [Option<u32>; 3] {
    let some = |index: u32| (index != 0).then_some(index);
    let anywhere = spec.interface.is_none().then_some(0);
    [some(binding.transmit), some(binding.base).filter(|base| *base != binding.transmit), anywhere]
}

/// Enters an instance into the receive table.
pub(super) fn hear(index: &mut Index, id: InstanceId, spec: &InstanceSpec, binding: &Binding) {
    for ifindex in ears(spec, binding).into_iter().flatten() {
        index.hear(ifindex, spec.family, spec.vrid, id);
    }
}

/// The delays (down, up) of an interface, cut to what the instances on it can bear.
pub(super) fn debounce(spec: &Spec, instances: &[Instance], name: &IfName) -> (Interval, Interval) {
    if spec.debounce.is_empty() {
        return (Interval::ZERO, Interval::ZERO);
    }
    let on_it = || {
        spec.instances.iter().zip(instances).filter(move |(spec, instance)| {
            spec.interface.as_ref() == Some(name) || instance.binding.link_name.as_ref() == Some(name)
        })
    };
    // A virtual link goes by its parent's delays.
    let parent = on_it().find_map(|(spec, _)| spec.interface.clone());
    let entry = spec.debounce.iter().find(|line| line.interface == *name);
    let Some(line) = entry.or_else(|| spec.debounce.iter().find(|line| Some(&line.interface) == parent.as_ref()))
    else {
        return (Interval::ZERO, Interval::ZERO);
    };
    let (mut down, mut up) = (line.down, line.up);
    for (spec, instance) in on_it() {
        if spec.down_adverts <= 1 {
            return (Interval::ZERO, Interval::ZERO);
        }
        let longest = election::longest_debounce(spec.interval.min(instance.learned), spec.down_adverts);
        if down > longest {
            if up == down {
                up = longest;
            }
            down = longest;
        }
    }
    (down, up)
}

/// The first ready address of each interface other than the instance's own: what `vmac_garp_intvl` keeps fresh.
pub(super) fn one_each_interface(spec: &InstanceSpec, ready: &Ranges) -> Vec<u32> {
    let mut seen: BTreeSet<&IfName> = BTreeSet::new();
    let mut chosen = Vec::new();
    for position in ready.iter().flatten() {
        let Some(address) = spec.claim.addresses.get(position as usize) else { continue };
        let Some(name) = address.interface.as_ref().filter(|name| Some(*name) != spec.interface.as_ref()) else {
            continue;
        };
        if (spec.garp.extra_all || address.use_vmac) && seen.insert(name) {
            chosen.push(position);
        }
    }
    chosen
}

/// Are adverts of these two sent and heard in the same manner?
pub(super) fn same_medium(a: &InstanceSpec, b: &InstanceSpec) -> bool {
    match (&a.transport, &b.transport) {
        (Transport::Multicast { group: one }, Transport::Multicast { group: other }) => {
            one == other && a.virtual_link.is_some() == b.virtual_link.is_some()
        }
        (Transport::Unicast { .. }, Transport::Unicast { .. }) => a.source == b.source,
        _ => false,
    }
}
