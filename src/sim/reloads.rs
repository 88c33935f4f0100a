//! A reload in a world: the configuration is edited, the engine goes over, and what the world keeps under an instance's id
//! goes over with it, as in the daemon.

use super::kernel::ORPHAN;
use super::scenario::Edit;
use super::world::{Happening, World};
use crate::spec::{GroupId, InstanceId, InstanceSpec, Spec, VirtualAddress};
use crate::vrrp::io::{Action, Event, Input};
use crate::vrrp::reload::continued;
use crate::wire::Priority;
use std::collections::BTreeMap;
use std::sync::Arc;

/// New ids by old ones.
pub(super) type Carried = BTreeMap<InstanceId, InstanceId>;

impl World<'_> {
    pub(super) fn reload(&mut self, node: usize, edits: &[Edit]) {
        let now = self.now;
        // What was due before is not the reload's doing, though a late wake-up left it to be done.
        if self.nodes.get(node).is_some_and(|n| n.awake()) {
            self.tell_now(node, Input::Tick);
        }
        let Some(n) = self.nodes.get_mut(node).filter(|n| !n.paused) else { return };
        let mut spec = (*n.spec).clone();
        edits.iter().for_each(|edit| apply(&mut spec, &n.origin, edit));
        let same = spec == *n.spec;
        let carried: Carried = continued(&n.spec, &spec).into_iter().collect();
        let spec = Arc::new(spec);
        self.reload_balance(node, spec.balance.clone());
        let Some(n) = self.nodes.get_mut(node) else { return };
        let Some(router) = n.router.as_mut() else {
            return self.switch(node, spec, &carried);
        };
        router.reload(spec.clone(), now);
        self.oracle.reloading(same);
        // Goodbyes bear the old ids, claims the new ones, and so does all that comes behind `Reloaded`.
        let mut claims = Vec::new();
        while let Some(action) = self.nodes.get_mut(node).and_then(|n| n.router.as_mut()?.poll()) {
            match action {
                Action::Own(..) | Action::Disown(_) => claims.push(action),
                Action::Report(Event::Reloaded) => {
                    claims.push(action);
                    break;
                }
                other => self.carry(node, other),
            }
        }
        if !same {
            self.switch(node, spec, &carried);
        }
        for action in claims {
            self.carry(node, action);
        }
        if self.nodes.get(node).is_some_and(|n| n.kernel.has_orphans()) {
            self.ask(node, ORPHAN, None);
        }
        self.drain(node);
        self.reload_sessions(node);
        self.oracle.reloaded();
        self.refresh_ports(node);
    }

    /// From here on ids are those of the new Spec.
    fn switch(&mut self, node: usize, spec: Arc<Spec>, carried: &Carried) {
        let now = self.now;
        if self.nodes.get(node).is_some_and(|n| n.router.is_some()) {
            self.oracle.rekey(node, &spec, carried, now);
        }
        for happening in self.queue.values_mut() {
            match happening {
                Happening::Kernel { node: of, request, .. } if *of == node => {
                    request.instance = carried.get(&request.instance).copied().unwrap_or(ORPHAN);
                }
                Happening::Heal { node: of, instance, .. } if *of == node => {
                    *instance = carried.get(instance).copied().unwrap_or(ORPHAN);
                }
                _ => {}
            }
        }
        if let Some(n) = self.nodes.get_mut(node) {
            n.kernel.rekey(carried);
            n.spec = spec;
        }
    }
}

fn apply(spec: &mut Spec, origin: &Spec, edit: &Edit) {
    let mut with = |name: &str, change: &mut dyn FnMut(&mut InstanceSpec)| {
        spec.instances.iter_mut().filter(|i| *i.name == *name).for_each(change);
    };
    match edit {
        Edit::Priority { instance, priority } => with(instance, &mut |i| i.priority = Priority(*priority)),
        Edit::Preempt { instance, preempt } => with(instance, &mut |i| i.preempt = *preempt),
        Edit::Add { instance, address } => with(instance, &mut |i| {
            let mut claim = (*i.claim).clone();
            if !claim.addresses.iter().any(|a| a.address == *address) {
                let prefix = if address.is_ipv4() { 32 } else { 128 };
                let at = claim.advertised.min(claim.addresses.len());
                claim.addresses.insert(at, VirtualAddress::plain(*address, prefix));
                claim.advertised += 1;
            }
            i.claim = Arc::new(claim);
        }),
        Edit::Remove { instance, address } => with(instance, &mut |i| {
            let mut claim = (*i.claim).clone();
            if let Some(at) = claim.addresses.iter().position(|a| a.address == *address) {
                claim.addresses.remove(at);
                claim.advertised -= usize::from(at < claim.advertised);
            }
            i.claim = Arc::new(claim);
        }),
        Edit::Gone { instance } => take_out(spec, instance),
        Edit::Back { instance } => put_back(spec, origin, instance),
    }
}

fn take_out(spec: &mut Spec, name: &str) {
    let Some(position) = spec.instances.iter().position(|i| *i.name == *name) else { return };
    spec.instances.remove(position);
    let gone = InstanceId(position as u32);
    for members in spec.groups.iter_mut().map(|group| &mut group.members) {
        members.retain(|member| *member != gone);
        members.iter_mut().filter(|member| **member > gone).for_each(|member| member.0 -= 1);
    }
    // A group without members is none.
    while let Some(empty) = spec.groups.iter().position(|group| group.members.is_empty()) {
        spec.groups.remove(empty);
        let groups = spec.instances.iter_mut().filter_map(|i| i.group.as_mut());
        groups.filter(|group| group.index() > empty).for_each(|group| group.0 -= 1);
    }
}

fn put_back(spec: &mut Spec, origin: &Spec, name: &str) {
    let Some(was) = origin.instances.iter().position(|i| *i.name == *name) else { return };
    if spec.instances.iter().any(|i| *i.name == *name) {
        return;
    }
    let before = origin.instances.iter().take(was);
    let position = before.filter(|i| spec.instances.iter().any(|there| there.name == i.name)).count();
    let id = InstanceId(position as u32);
    for member in spec.groups.iter_mut().flat_map(|group| &mut group.members).filter(|member| **member >= id) {
        member.0 += 1;
    }
    let Some(mut instance) = origin.instances.get(was).cloned() else { return };
    if let Some(group) = instance.group.and_then(|group| origin.groups.get(group.index())) {
        let place = spec.groups.iter().position(|there| there.name == group.name).unwrap_or_else(|| {
            spec.groups.push(crate::spec::GroupSpec { members: Vec::new(), ..group.clone() });
            spec.groups.len() - 1
        });
        if let Some(group) = spec.groups.get_mut(place) {
            group.members.push(id);
            group.members.sort();
        }
        instance.group = Some(GroupId(place as u32));
    }
    spec.instances.insert(position, instance);
}
