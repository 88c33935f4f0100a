//! What a reload changed, in sentences: from one Spec to the next, thing by thing and by name.
//!
//! No value of a secret is in it: about authentication it says that it changed. Settings that have no sentence of their own
//! are found by comparison of the whole and named as such, so that "nothing changed" is only said when it is so.

use crate::spec::{GroupSpec, InstanceSpec, Spec, TieTarget, Transport, first_few};
use std::collections::BTreeSet;
use std::fmt::Display;

/// Sentences that are shown; more are counted.
pub const SHOWN: usize = 12;

/// One sentence for everything that is different; empty if nothing is.
pub fn between(old: &Spec, new: &Spec) -> Vec<String> {
    let mut said = Vec::new();
    for gone in old.instances.iter().filter(|i| !new.instances.iter().any(|n| n.name == i.name)) {
        said.push(format!("{} is gone", gone.name));
    }
    for now in &new.instances {
        match old.instances.iter().find(|before| before.name == now.name) {
            None => said.push(format!("{} is new", now.name)),
            Some(before) => said.extend(instance(old, before, new, now)),
        }
    }
    let named = |list: &mut dyn Iterator<Item = &Box<str>>| list.cloned().collect::<BTreeSet<_>>();
    let mut things = |kind: &str, before: BTreeSet<Box<str>>, now: BTreeSet<Box<str>>, same: &dyn Fn(&str) -> bool| {
        said.extend(before.difference(&now).map(|name| format!("{kind} {name} is gone")));
        said.extend(now.difference(&before).map(|name| format!("{kind} {name} is new")));
        said.extend(before.intersection(&now).filter(|name| !same(name)).map(|name| format!("{kind} {name} changed")));
    };
    things(
        "script",
        named(&mut old.scripts.iter().map(|s| &s.name)),
        named(&mut new.scripts.iter().map(|s| &s.name)),
        &|name| find(&old.scripts, name, |s| &s.name) == find(&new.scripts, name, |s| &s.name),
    );
    things(
        "tracked file",
        named(&mut old.files.iter().map(|f| &f.name)),
        named(&mut new.files.iter().map(|f| &f.name)),
        &|name| find(&old.files, name, |f| &f.name) == find(&new.files, name, |f| &f.name),
    );
    things(
        "tracked process",
        named(&mut old.processes.iter().map(|p| &p.name)),
        named(&mut new.processes.iter().map(|p| &p.name)),
        &|name| find(&old.processes, name, |p| &p.name) == find(&new.processes, name, |p| &p.name),
    );
    things(
        "sync group",
        named(&mut old.groups.iter().map(|g| &g.name)),
        named(&mut new.groups.iter().map(|g| &g.name)),
        &|name| match (find(&old.groups, name, |g| &g.name), find(&new.groups, name, |g| &g.name)) {
            (Some(before), Some(now)) => members(old, before) == members(new, now) && before.notify == now.notify,
            _ => false,
        },
    );
    said.extend(super::balance::changes::between(&old.balance, &new.balance));
    if old.daemon != new.daemon {
        said.push("global settings changed".into());
    }
    if said.is_empty() && old != new {
        said.push("other settings changed".into());
    }
    said
}

/// The first few and how many more, in one line.
pub fn line(sentences: &[String]) -> String {
    match sentences {
        [] => "nothing changed".into(),
        all => first_few(all, SHOWN, "; "),
    }
}

fn find<'s, T>(list: &'s [T], name: &str, of: impl Fn(&T) -> &Box<str>) -> Option<&'s T> {
    list.iter().find(|item| **of(item) == *name)
}

fn members<'s>(spec: &'s Spec, group: &GroupSpec) -> Vec<&'s str> {
    let names = group.members.iter().filter_map(|id| spec.instances.get(id.index()));
    names.map(|instance| &*instance.name).collect()
}

fn instance(old: &Spec, before: &InstanceSpec, new: &Spec, now: &InstanceSpec) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    value(&mut parts, "virtual_router_id", before.vrid, now.vrid);
    value(&mut parts, "priority", before.priority, now.priority);
    value(&mut parts, "advert_int", before.interval, now.interval);
    value(&mut parts, "version", before.version, now.version);
    let interface = |i: &InstanceSpec| i.interface.as_ref().map_or("none".to_owned(), |name| name.to_string());
    value(&mut parts, "interface", interface(before), interface(now));
    let source = |i: &InstanceSpec| i.source.map_or("the interface's".to_owned(), |address| address.to_string());
    value(&mut parts, "source", source(before), source(now));
    let preempt = |i: &InstanceSpec| if i.preempt { "preempt" } else { "nopreempt" };
    if before.preempt != now.preempt {
        parts.push(format!("{} → {}", preempt(before), preempt(now)));
    }
    value(&mut parts, "preempt_delay", before.preempt_delay, now.preempt_delay);
    let addresses =
        |i: &InstanceSpec| i.claim.addresses.iter().map(|a| format!("{}/{}", a.address, a.prefix)).collect();
    set(&mut parts, "", addresses(before), addresses(now));
    let peers = |i: &InstanceSpec| match &i.transport {
        Transport::Unicast { peers, .. } => peers.iter().map(|peer| peer.address.to_string()).collect(),
        Transport::Multicast { group } => BTreeSet::from([group.to_string()]),
    };
    set(&mut parts, "peer ", peers(before), peers(now));
    set(&mut parts, "tracks ", ties(old, before), ties(new, now));
    if before.auth != now.auth {
        parts.push("authentication changed".into());
    }
    if before.notify != now.notify {
        parts.push("notify programs changed".into());
    }
    if before.claim.routes != now.claim.routes || before.claim.rules != now.claim.rules {
        parts.push("routes or rules changed".into());
    }
    if parts.is_empty() && !alike(before, now) {
        parts.push("other settings changed".into());
    }
    parts.into_iter().map(|part| format!("{}: {part}", now.name)).collect()
}

/// The same but for numbers that only mean something within one Spec.
fn alike(before: &InstanceSpec, now: &InstanceSpec) -> bool {
    let plain = |i: &InstanceSpec| InstanceSpec { ties: Vec::new(), group: None, ..i.clone() };
    plain(before) == plain(now)
}

fn value<T: PartialEq + Display>(parts: &mut Vec<String>, what: &str, before: T, now: T) {
    if before != now {
        parts.push(format!("{what} {before} → {now}"));
    }
}

fn set(parts: &mut Vec<String>, what: &str, before: BTreeSet<String>, now: BTreeSet<String>) {
    parts.extend(before.difference(&now).map(|item| format!("{what}{item} is gone")));
    parts.extend(now.difference(&before).map(|item| format!("{what}{item} is new")));
}

/// What an instance tracks, with weights, by name.
fn ties(spec: &Spec, instance: &InstanceSpec) -> BTreeSet<String> {
    let name = |on: &TieTarget| match on {
        TieTarget::Interface(name) => name.to_string(),
        TieTarget::Script(id) => spec.scripts.get(id.index()).map_or("?".into(), |s| s.name.to_string()),
        TieTarget::File(id) => spec.files.get(id.index()).map_or("?".into(), |f| f.name.to_string()),
        TieTarget::Process(id) => spec.processes.get(id.index()).map_or("?".into(), |p| p.name.to_string()),
        TieTarget::Bfd(id) => spec.bfds.get(id.index()).map_or("?".into(), |b| b.name.to_string()),
    };
    let weight = |weight: i32| if weight == 0 { String::new() } else { format!(" weight {weight}") };
    instance.ties.iter().map(|tie| format!("{}{}", name(&tie.on), weight(tie.weight))).collect()
}
