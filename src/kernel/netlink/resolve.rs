//! From a claim, which speaks of interface names, to netlink messages, which speak of indices.

use super::address;
use super::claims::Want;
use super::links::Links;
use super::route;
use super::rule;
use crate::kernel::reconcile::Item;
use crate::spec::{Claim, IfName, InstanceId, InstanceSpec, Route, Rule, Statics, VirtualAddress, VirtualLink};
use crate::wire::Family;
use std::collections::BTreeMap;

/// Whom a virtual link is for: an instance itself (`None`), or single addresses of it, by parent and family.
pub type LinkOf = (InstanceId, Option<(IfName, Family)>);

/// Names of the virtual links that were made.
pub type Names = BTreeMap<LinkOf, IfName>;

/// What is wanted, and what cannot be asked for because an interface is missing.
#[derive(Debug, Default)]
pub struct Resolved {
    pub wants: Vec<Want>,
    pub problems: Vec<String>,
}

/// The claim of an instance.
pub fn claim(id: InstanceId, instance: &InstanceSpec, claim: &Claim, names: &Names, links: &Links) -> Resolved {
    let mut resolved = Resolved::default();
    for (position, address) in (0u32..).zip(&claim.addresses) {
        let Some(name) = link_of(id, instance, address, names) else { continue };
        match links.index(&name) {
            Some(index) => resolved.wants.push(Want {
                item: Item::Address(address::message(address, index)),
                position: Some(position),
                tracked: !address.no_track,
            }),
            None => resolved.missing(&name),
        }
    }
    resolved.routes_and_rules(&claim.routes, &claim.rules, links);
    resolved
}

/// The statics.
pub fn statics(statics: &Statics, links: &Links) -> Resolved {
    let mut resolved = Resolved::default();
    for address in &statics.addresses {
        let Some(name) = &address.interface else { continue };
        match links.index(name) {
            Some(index) => resolved.wants.push(Want {
                item: Item::Address(address::message(address, index)),
                position: None,
                tracked: !address.no_track,
            }),
            None => resolved.missing(name),
        }
    }
    resolved.routes_and_rules(&statics.routes, &statics.rules, links);
    resolved
}

/// The interface that an address of an instance goes to.
pub fn link_of(id: InstanceId, instance: &InstanceSpec, address: &VirtualAddress, names: &Names) -> Option<IfName> {
    let family = Family::of(&address.address);
    if address.use_vmac
        && let Some(parent) = address.interface.as_ref().or(instance.interface.as_ref())
        && let Some(own) = names.get(&(id, Some((parent.clone(), family))))
    {
        return Some(own.clone());
    }
    if let Some(named) = &address.interface {
        return Some(named.clone());
    }
    if family == instance.family
        && let Some(link) = &instance.virtual_link
    {
        // One that could not be made must not let the addresses slip onto its parent: its name is missed instead.
        let (VirtualLink::Vmac { name, prefix, .. } | VirtualLink::Ipvlan { name, prefix, .. }) = link;
        let usual = || IfName::new(&format!("{prefix}.{}", instance.vrid));
        return names.get(&(id, None)).cloned().or_else(|| name.clone()).or_else(usual);
    }
    instance.interface.clone()
}

impl Resolved {
    fn missing(&mut self, name: &IfName) {
        let problem = format!("interface {name} is not there");
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    fn routes_and_rules(&mut self, routes: &[Route], rules: &[Rule], links: &Links) {
        for wanted in routes {
            match route::message(wanted, links) {
                Ok(message) => self.wants.push(Want {
                    item: Item::Route(message, wanted.insert),
                    position: None,
                    tracked: !wanted.no_track,
                }),
                Err(name) => self.missing(&name),
            }
        }
        for wanted in rules {
            let item = Item::Rule(rule::message(wanted));
            self.wants.push(Want { item, position: None, tracked: !wanted.no_track });
        }
    }
}
