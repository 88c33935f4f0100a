//! A configuration comes, interfaces come and go, the thread ends: the slow changes of the kernel thread.

use super::FromKernel;
use super::NetlinkError;
use super::Trouble;
use super::address;
use super::claims::Owner;
use super::events::dump_links;
use super::resolve::{self, Names};
use super::thread::Thread;
use super::virtual_link::{self, Kind, Wanted};
use crate::kernel::firewall::{Place, Screen};
use crate::kernel::reconcile::Key;
use crate::kernel::sysctl;
use crate::spec::{Claim, IfName, InstanceId, Spec, VirtualLink};
use crate::wire::{Family, Priority};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// What came of the virtual links that are wanted.
#[derive(Default)]
struct MadeLinks {
    names: Names,
    /// Each link once, whoever shares it.
    shared: Vec<(Wanted, IfName)>,
    taken: BTreeSet<IfName>,
    /// Parents of new ones that are to be told of.
    told: BTreeSet<u32>,
    any_new: bool,
}

impl Thread {
    pub(super) fn configure(&mut self, spec: Arc<Spec>, carried: &[(InstanceId, InstanceId)]) {
        let first = !self.configured;
        self.configured = true;
        self.hold_back();
        if !first {
            let owned = std::mem::take(&mut self.owned);
            let denied: Vec<_> = owned.iter().flat_map(|(id, claim)| self.denied(*id, claim)).collect();
            self.leaving.extend(denied);
            self.owned = owned;
            self.carry_over(carried);
        }
        self.spec = spec;
        self.poll_carriers();
        let mut troubles = Vec::new();
        self.make_links(&mut troubles);
        self.set_sysctls(None, &mut troubles);
        self.sysctls.keep();
        if !(first && self.settings.keep_leftovers) {
            // What appeared a moment ago may not have been heard of yet.
            if let Ok(links) = dump_links(&mut self.channel) {
                self.links.renew(links);
            }
            self.sweep_at_configuration(first, first && !carried.is_empty());
        }
        let statics = &self.spec.statics;
        let claims = || self.spec.instances.iter().map(|instance| &instance.claim);
        let routes = claims().flat_map(|c| &c.routes).chain(&statics.routes).any(|route| !route.no_track);
        let rules = claims().flat_map(|c| &c.rules).chain(&statics.rules).any(|rule| !rule.no_track);
        if let Err(e) = self.watch.follow(routes, rules) {
            let text = format!("routes and rules cannot be watched: {e}").into();
            troubles.push(Trouble { instance: None, text });
        }
        // What is not tracked and somebody removed is asked for again: the operator asks for it once more.
        self.claims.ask_again();
        self.refresh_all();
        self.refresh(None);
        // No address comes to where it is to be dropped before the firewall knows, nor stays behind after it has forgotten.
        self.screen();
        self.flush();
        self.open_screen();
        // The engine is to begin with the virtual links, the statics and without leftovers.
        self.start_over();
        let of_instances = self.names.iter().filter(|((_, address), _)| address.is_none());
        let links: Vec<(InstanceId, IfName)> = of_instances.map(|((id, _), name)| (*id, name.clone())).collect();
        self.report(FromKernel::Configured { spec: named_links(&self.spec, &links), links, troubles });
        self.say_held();
    }

    /// Instances have new numbers; those that are no more give up what they own.
    fn carry_over(&mut self, carried: &[(InstanceId, InstanceId)]) {
        let map: BTreeMap<InstanceId, InstanceId> = carried.iter().copied().collect();
        for owner in self.claims.owners() {
            if let Some(id) = owner
                && !map.contains_key(&id)
            {
                self.claims.clear(owner);
            }
        }
        self.claims.renumber(&map);
        let owned = std::mem::take(&mut self.owned);
        self.owned = owned.into_iter().filter_map(|(id, claim)| Some((*map.get(&id)?, claim))).collect();
        let names = std::mem::take(&mut self.names);
        self.names = names.into_iter().filter_map(|((id, of), name)| Some(((*map.get(&id)?, of), name))).collect();
    }

    /// Interfaces came or went: virtual links that were waiting for their parent, or went with it.
    pub(super) fn remake_links(&mut self) {
        let wants_any = self.spec.instances.iter().any(|instance| {
            instance.virtual_link.is_some() || instance.claim.addresses.iter().any(|address| address.use_vmac)
        });
        if !wants_any {
            return;
        }
        let mut troubles = Vec::new();
        let before = self.names.clone();
        let any_made = self.make_links(&mut troubles);
        if self.names != before {
            for trouble in troubles {
                self.report(FromKernel::Trouble(trouble));
            }
        }
        self.sweep.forget();
        if any_made {
            // How they came into being, and went before, still waits to be heard: on top of a picture that is newer it would take
            // instances through states that are over.
            self.look_again();
            self.sweep_all(false);
            self.screen();
        }
    }

    /// Makes every virtual link that the Spec wants and notes those of ours that it does not. True if one was made.
    fn make_links(&mut self, troubles: &mut Vec<Trouble>) -> bool {
        let MadeLinks { names, shared, taken, told, any_new } = self.ensure_links(troubles);
        self.names = names;
        if any_new {
            match dump_links(&mut self.channel) {
                Ok(links) => self.links.renew(links),
                Err(e) => {
                    let text = format!("the interfaces cannot be read: {e}").into();
                    troubles.push(Trouble { instance: None, text });
                }
            }
        }
        for (wanted, name) in &shared {
            if let Err(e) = self.give_own_addresses(wanted, name) {
                let text = format!("{name} gets no address of its own: {e}").into();
                troubles.push(Trouble { instance: None, text });
            }
        }
        self.unwanted.extend(self.virtual_links.iter().filter(|(name, _)| !taken.contains(*name)).map(|(_, at)| *at));
        for parent in told {
            self.tell_of_parent(parent);
        }
        self.virtual_links =
            taken.into_iter().filter_map(|name| Some((name.clone(), self.links.index(&name)?))).collect();
        // Wanted again before it went.
        self.unwanted.retain(|index| !self.virtual_links.values().any(|wanted| wanted == index));
        let notify = shared.iter().filter(|(wanted, _)| wanted.notify);
        let of = |(wanted, name): &(Wanted, IfName)| Some((self.links.index(name)?, self.links.index(&wanted.parent)?));
        let told_of: BTreeMap<u32, u32> = notify.filter_map(of).collect();
        self.tell_of.retain(|index, _| self.unwanted.contains(index));
        self.tell_of.extend(told_of);
        let parents: BTreeSet<IfName> = shared
            .iter()
            .filter(|(wanted, _)| matches!(wanted.kind, Kind::Vmac { .. }))
            .map(|(wanted, _)| wanted.parent.clone())
            .collect();
        self.restore_sysctls(&parents);
        self.sysctls.keep();
        any_new
    }

    /// The virtual links that instances and their addresses want, and for what; the names that are given come before those that
    /// are made up.
    fn wished_links(&self) -> Vec<(resolve::LinkOf, Wanted)> {
        let mut wishes: Vec<(resolve::LinkOf, Wanted)> = Vec::new();
        for (number, instance) in (0u32..).zip(&self.spec.instances) {
            let id = InstanceId(number);
            wishes.extend(virtual_link::wanted(instance).map(|wanted| ((id, None), wanted)));
            for address in instance.claim.addresses.iter().filter(|address| address.use_vmac) {
                let Some(parent) = address.interface.as_ref().or(instance.interface.as_ref()) else { continue };
                let family = Family::of(&address.address);
                let key = (id, Some((parent.clone(), family)));
                if !wishes.iter().any(|(other, _)| *other == key) {
                    let prefix = self.spec.daemon.vmac_addr_prefix.as_deref();
                    wishes.push((key, virtual_link::wanted_by_address(instance, parent, family, prefix)));
                }
            }
        }
        if wishes.iter().any(|(_, wanted)| wanted.name.is_some()) {
            // A name that is made up must not be one that another asks for; who has one keeps it.
            wishes.sort_by_cached_key(|(_, wanted)| {
                wanted.name.is_none() && !virtual_link::is_there(wanted, &self.links)
            });
        }
        wishes
    }

    fn ensure_links(&mut self, troubles: &mut Vec<Trouble>) -> MadeLinks {
        let mut made = MadeLinks::default();
        for (key, mut wanted) in self.wished_links() {
            if wanted.name.is_none() && matches!(wanted.kind, Kind::Ipvlan { .. }) {
                // Nothing else tells two of them on one parent apart: each keeps the name that it was given.
                wanted.name = self.names.get(&key).cloned();
            }
            // Two addresses, or an instance and its address, with the same parent and MAC live on one VMAC.
            let same = |other: &Wanted| other.parent == wanted.parent && other.kind == wanted.kind;
            if let Some((_, name)) = made.shared.iter().find(|(other, _)| same(other)) {
                made.names.insert(key, name.clone());
                continue;
            }
            match virtual_link::ensure(&wanted, &self.links, &made.taken, &mut self.channel, &mut self.sysctls) {
                Ok(result) => {
                    let text = result.note.map(|note| format!("{}: {note}", result.name).into());
                    troubles.extend(text.map(|text| Trouble { instance: Some(key.0), text }));
                    made.any_new |= result.new;
                    if result.new && wanted.notify {
                        made.told.extend(self.links.index(&wanted.parent));
                    }
                    made.taken.insert(result.name.clone());
                    made.shared.push((wanted, result.name.clone()));
                    made.names.insert(key, result.name);
                }
                Err(e) => {
                    let text = format!("its virtual interface on {} cannot be made: {e}", wanted.parent).into();
                    troubles.push(Trouble { instance: Some(key.0), text });
                }
            }
        }
        made
    }

    /// Removes the virtual links that the last configuration left out.
    pub(super) fn tidy(&mut self) {
        let mut told = BTreeSet::new();
        for index in std::mem::take(&mut self.unwanted) {
            if let Err(e) = virtual_link::remove(index, &mut self.channel) {
                self.trouble(None, format!("virtual interface {index} cannot be removed: {e}"));
            }
            told.extend(self.tell_of.remove(&index));
        }
        for parent in told {
            self.tell_of_parent(parent);
        }
    }

    /// Nobody's trouble if it fails: a parent that is gone is told of by the kernel itself.
    fn tell_of_parent(&mut self, parent: u32) {
        if let Some(known) = self.links.get(parent) {
            let _ = virtual_link::tell_of(parent, known.group, &mut self.channel);
        }
    }

    /// Puts back what was set for virtual links and instances that are no more.
    fn restore_sysctls(&mut self, parents: &BTreeSet<IfName>) {
        let promoting: BTreeSet<&IfName> = self
            .spec
            .instances
            .iter()
            .filter(|instance| instance.promote_secondaries)
            .filter_map(|instance| instance.interface.as_ref())
            .collect();
        let keep = |path: &str| {
            let mut parts = path.rsplit('/');
            let (setting, link) = (parts.next().unwrap_or_default(), parts.next().and_then(IfName::new));
            match setting {
                "promote_secondaries" => link.is_some_and(|link| promoting.contains(&link)),
                "rp_filter" => !parents.is_empty(),
                _ => link.is_some_and(|link| parents.contains(&link)),
            }
        };
        self.sysctls.restore_except(keep, &mut self.channel);
    }

    /// An IPv6 VMAC speaks with its parent's link-local address; an ipvlan with the one configured.
    fn give_own_addresses(&mut self, wanted: &Wanted, name: &IfName) -> Result<(), NetlinkError> {
        let (Some(index), Some(parent)) = (self.links.index(name), self.links.named(&wanted.parent)) else {
            return Ok(());
        };
        let mut own = Vec::new();
        if wanted.family == Family::V6
            && wanted.speaks
            && let Some(address) = virtual_link::speaking_address(wanted, parent, |one| self.is_virtual((*one).into()))
        {
            own.push((address.into(), 64));
        }
        if let Kind::Ipvlan { address: Some(address), .. } = &wanted.kind {
            own.push(*address);
        }
        for (ip, prefix) in own {
            let mut own = crate::spec::VirtualAddress::plain(ip, prefix);
            if ip.is_ipv6() && matches!(wanted.kind, Kind::Vmac { .. }) {
                // Deprecated, as with keepalived: nothing else on this machine is to speak from it.
                own.preferred_lifetime = Some(0);
            }
            let mut message = address::message(&own, index);
            // Of the interface's own, not one of the virtual ones: without our mark.
            message.attributes.retain(|attribute| !matches!(attribute, AddressAttribute::Protocol(_)));
            if ip.is_ipv6() {
                message.header.flags |= AddressHeaderFlags::from_bits_retain(AddressFlags::Nodad.bits() as u8);
            }
            let flags = netlink_packet_core::NLM_F_CREATE | netlink_packet_core::NLM_F_EXCL;
            match self.channel.request(Message::NewAddress(message), flags) {
                Err(NetlinkError::Refused { errno: libc::EEXIST, .. }) | Ok(()) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Does an instance have this address only while it is master, or is it on its way out?
    fn is_virtual(&self, address: IpAddr) -> bool {
        let is = |key: &Key| matches!(key, Key::Address(key) if key.address == address);
        let claims = self.spec.instances.iter().filter(|instance| instance.priority != Priority::OWNER);
        claims.flat_map(|instance| &instance.claim.addresses).any(|one| one.address == address)
            || self.claims.going().iter().any(is)
    }

    /// `promote_secondaries`, of all interfaces or of `only` one.
    pub(super) fn set_sysctls(&mut self, only: Option<&IfName>, troubles: &mut Vec<Trouble>) {
        for (number, instance) in (0u32..).zip(&self.spec.instances) {
            let wanted = |name: &&IfName| instance.promote_secondaries && only.is_none_or(|only| only == *name);
            let Some(interface) = instance.interface.as_ref().filter(wanted) else {
                continue;
            };
            let path = sysctl::path("ipv4", interface.as_str(), "promote_secondaries");
            if let Err(e) = self.sysctls.set(&path, "1", &mut self.channel) {
                let text = format!("promote_secondaries cannot be set on {interface}: {e}").into();
                troubles.push(Trouble { instance: Some(InstanceId(number)), text });
            }
        }
    }

    /// The addresses of a claim that nobody may reach; none unless it says `deny`.
    pub(super) fn denied(&self, id: InstanceId, claim: &Claim) -> Vec<(IpAddr, Place)> {
        let Some(instance) = self.spec.instances.get(id.index()).filter(|_| claim.deny) else { return Vec::new() };
        let place = |address| match resolve::link_of(id, instance, address, &self.names) {
            // The interface may go and come back while the address stays claimed.
            Some(name) if !instance.track_primary && !self.spec.daemon.nftables.ifindex => Place::Name(name),
            name => Place::Index(name.and_then(|name| self.links.index(&name)).unwrap_or(0)),
        };
        claim.addresses.iter().map(|address| (address.address, place(address))).collect()
    }

    /// Brings the firewall up to what is owned and what virtual links there are.
    pub(super) fn screen(&mut self) {
        let mut wanted = Screen::default();
        // What is on its way out is still there, and must not be answered for a moment.
        wanted.denied.clone_from(&self.leaving);
        for (id, claim) in &self.owned {
            wanted.denied.extend(self.denied(*id, claim));
        }
        for index in self.virtual_links.values() {
            if let Some(known) = self.links.get(*index)
                && &*known.link.kind == "macvlan"
            {
                wanted.vmacs.insert((*index, known.link.lower));
                let Some(parent) = self.links.get(known.link.lower) else { continue };
                wanted.parents.extend(virtual_link::link_locals(parent));
                wanted.parents.extend(parent.link.mac.map(virtual_link::link_local));
            }
        }
        // A kernel without nftables would refuse at every change of state: said once.
        let refused = self.firewall.hold(&self.spec.daemon.nftables, wanted).err().map(|e| format!("nftables: {e}"));
        if refused != self.firewall_refused {
            if let Some(text) = &refused {
                self.trouble(None, text.clone());
            }
            self.firewall_refused = refused;
        }
    }

    pub(super) fn stop(mut self, release: bool) {
        self.take_on();
        let owners: Vec<Owner> = self.claims.owners();
        for owner in owners {
            if owner.is_none() || release {
                self.claims.clear(owner);
            } else {
                self.claims.abandon(owner);
            }
        }
        self.flush();
        self.tidy();
        if release {
            // With -V the addresses stay, so the interfaces that carry them must.
            for index in self.virtual_links.clone().into_values() {
                if let Err(e) = virtual_link::remove(index, &mut self.channel) {
                    self.trouble(None, format!("virtual interface {index} cannot be removed: {e}"));
                }
            }
            for parent in std::mem::take(&mut self.tell_of).into_values().collect::<BTreeSet<u32>>() {
                self.tell_of_parent(parent);
            }
            self.firewall.remove();
        }
        self.sysctls.restore(&mut self.channel);
        self.report(FromKernel::Stopped);
    }
}

/// The Spec with the names that were chosen for virtual links without one.
fn named_links(spec: &Arc<Spec>, links: &[(InstanceId, IfName)]) -> Arc<Spec> {
    if links.is_empty() {
        return spec.clone();
    }
    let mut spec = Spec::clone(spec);
    for (instance, chosen) in links {
        let Some(instance) = spec.instances.get_mut(instance.index()) else { continue };
        match &mut instance.virtual_link {
            Some(VirtualLink::Vmac { name, .. } | VirtualLink::Ipvlan { name, .. }) => *name = Some(chosen.clone()),
            None => {}
        }
    }
    Arc::new(spec)
}
