//! What a reload changed, in sentences: from one Spec to the next, thing by thing and by name.
//!
//! No value of a secret is in it: about authentication it says that it changed. Settings that have no sentence of their own
//! are found by comparison of the whole and named as such, so that "nothing changed" is only said when it is so.

use crate::spec::{GroupSpec, InstanceSpec, Spec, Transport, first_few};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

/// Sentences that are shown; more are counted.
pub const SHOWN: usize = 12;

/// One sentence for everything that is different; empty if nothing is.
pub fn between(old: &Spec, new: &Spec) -> Vec<String> {
    let mut said = Vec::new();
    let before = by_name(&old.instances, |instance| &instance.name);
    let after = by_name(&new.instances, |instance| &instance.name);
    for gone in old.instances.iter().filter(|instance| !after.contains_key(&*instance.name)) {
        said.push(format!("{} is gone", gone.name));
    }
    for now in &new.instances {
        match before.get(&*now.name) {
            None => said.push(format!("{} is new", now.name)),
            Some(before) => said.extend(instance(old, before, new, now)),
        }
    }
    things(&mut said, "script", [&old.scripts, &new.scripts], |script| &script.name, |before, now| before == now);
    things(&mut said, "tracked file", [&old.files, &new.files], |file| &file.name, |before, now| before == now);
    things(
        &mut said,
        "tracked process",
        [&old.processes, &new.processes],
        |process| &process.name,
        |before, now| before == now,
    );
    let are_same =
        |before: &GroupSpec, now: &GroupSpec| members(old, before) == members(new, now) && before.notify == now.notify;
    things(&mut said, "sync group", [&old.groups, &new.groups], |group| &group.name, are_same);
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

/// Of two that are called alike the first.
fn by_name<'s, T>(list: &'s [T], name: impl Fn(&'s T) -> &'s str) -> BTreeMap<&'s str, &'s T> {
    let mut found = BTreeMap::new();
    for item in list {
        found.entry(name(item)).or_insert(item);
    }
    found
}

/// What has become of the things of one kind: which are gone, which are new and which are not the same.
fn things<'s, T>(
    said: &mut Vec<String>,
    kind: &str,
    lists: [&'s [T]; 2],
    name: impl Fn(&'s T) -> &'s str,
    are_same: impl Fn(&T, &T) -> bool,
) {
    let [before, now] = lists.map(|list| by_name(list, &name));
    said.extend(before.keys().filter(|name| !now.contains_key(*name)).map(|name| format!("{kind} {name} is gone")));
    said.extend(now.keys().filter(|name| !before.contains_key(*name)).map(|name| format!("{kind} {name} is new")));
    let changed = before.iter().filter(|(name, was)| now.get(*name).is_some_and(|now| !are_same(was, now)));
    said.extend(changed.map(|(name, _)| format!("{kind} {name} changed")));
}

fn members<'s>(spec: &'s Spec, group: &GroupSpec) -> Vec<&'s str> {
    let names = group.members.iter().filter_map(|id| spec.instances.get(id.index()));
    names.map(|instance| &*instance.name).collect()
}

fn instance(old: &Spec, before: &InstanceSpec, new: &Spec, now: &InstanceSpec) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    // Nearly always nothing of it has changed, and there may be thousands.
    if before == now && ties(old, before) == ties(new, now) {
        return parts;
    }
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
    let weight = |weight: i32| if weight == 0 { String::new() } else { format!(" weight {weight}") };
    instance.ties.iter().map(|tie| format!("{}{}", tie.on.name(spec).unwrap_or("?"), weight(tie.weight))).collect()
}
