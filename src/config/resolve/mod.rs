//! Settings → [`Spec`]: names become indices, defaults are inherited, rules across blocks are applied.
//!
//! The order is that of keepalived's start (`start_vrrp`, `vrrp_complete_init`), because a rule that cannot be repaired
//! ends everything that comes after it. Rules about one instance are in [`instance`], about sync groups in [`groups`](mod@groups), about
//! trackers in [`ties`], about programs in [`programs`], about the process in [`daemon`](mod@daemon).

mod auth;
mod clashes;
mod daemon;
mod groups;
mod instance;
mod owned;
mod programs;
mod reach;
mod shown;
mod ties;
mod unfit;

use super::report::{Class, Diagnostic};
use super::security::Guard;
use super::top::Top;
use crate::config::resolve::clashes::clashes;
use crate::config::resolve::daemon::daemon;
use crate::config::resolve::groups::{Membership, groups, ids, settle_start};
use crate::config::resolve::instance::{Surroundings, complete, has_the_least};
use crate::config::resolve::owned::Announcing;
use crate::config::resolve::programs::{group_notify, instance_notify, script};
use crate::config::resolve::ties::Trackers;
use crate::config::resolve::unfit::unfit_addresses;
use crate::config::table::block::{Cx, ENDS_AROUND};
use crate::config::text::source::Span;
use crate::config::vrrp::tracker::{FileBlock, Named, ProcessBlock, Weight};
use crate::spec::*;
use crate::time::Interval;
use crate::vrrp::election::longest_debounce;
use rustc_hash::{FxHashMap, FxHashSet};

pub use programs::{NO_USER, left_out_script, no_such_user, notify};

/// Makes the [`Spec`]; `None` when the configuration cannot be run.
pub fn resolve(mut top: Top, cx: &mut Cx<'_>) -> Option<Spec> {
    let mut guard = Guard::of(&cx.global, cx.env.system);

    let mut spec = Spec { daemon: daemon(&top, &mut guard, cx), ..Spec::default() };
    if cx.missing_interface {
        // Named where it stands; nothing across blocks can be judged without it.
        guard.settle(cx);
        return None;
    }
    let trackers = trackers(&mut top, &mut spec, &mut guard, cx);
    let mut notifies = Vec::new();
    let mut group_notifies = Vec::new();
    // Without an instance nothing runs a program, and keepalived does not look at them.
    if !top.instances.is_empty() {
        notifies = top.instances.iter().map(|own| instance_notify(own, &mut guard, cx)).collect();
        group_notifies = top.sync_groups.iter().map(|group| group_notify(group, &mut guard, cx)).collect();
    }
    guard.settle(cx);
    tracked_in_vain(&top, &spec, &trackers, cx);

    for own in &top.instances {
        if !has_the_least(own, cx) {
            return None;
        }
    }
    let ids = ids(&top);
    let membership = groups(&mut top, &ids, group_notifies, &mut spec, cx);
    unfit_addresses(&top, cx);
    instances(&mut top, &mut spec, notifies, &membership, &trackers, cx)?;
    if clashes(&top, &mut spec, cx) {
        return None;
    }
    for (at, block) in membership.blocks.iter().enumerate() {
        let (Some(group), Some(block)) = (spec.groups.get_mut(at), top.sync_groups.get(*block)) else { continue };
        group.ties = trackers.of_group(block, &group.members, &mut spec.instances, cx);
        settle_start(group, &mut spec.instances);
    }
    unused_scripts(&mut spec, &top, cx);
    around_instances(top, &ids, &mut spec, cx);
    crate::config::resolve::ties::watch_statics(&mut spec);
    Some(spec)
}

/// Puts what is tracked into the Spec, and BFD's sessions with it; what lines of instances and groups name is found in what comes back.
fn trackers(top: &mut Top, spec: &mut Spec, guard: &mut Guard<'_>, cx: &mut Cx<'_>) -> Trackers {
    let mut trackers = Trackers::default();
    // Without an instance nothing runs a script, and keepalived does not look at them.
    let run = !top.instances.is_empty();
    for block in &top.scripts {
        let made = run.then(|| script(block, guard, cx)).flatten();
        let entry = made.map(|(script, weight)| {
            spec.scripts.push(script);
            (ScriptId(spec.scripts.len() as u32 - 1), weight)
        });
        trackers.scripts.insert(block.name.clone(), entry);
    }
    for block in &top.files {
        let weight = block.settings.weight();
        spec.files.push(file(block, weight));
        trackers.files.insert(block.name.clone(), (FileId(spec.files.len() as u32 - 1), weight));
    }
    for block in &top.processes {
        let weight = block.settings.weight();
        spec.processes.push(process(block, weight));
        trackers.processes.insert(block.name.clone(), (ProcessId(spec.processes.len() as u32 - 1), weight));
    }
    for session in std::mem::take(&mut top.bfd.trackable) {
        let weight = Weight { weight: session.weight, reverse: session.reverse };
        trackers.bfds.insert(session.name.clone(), (BfdId(spec.bfds.len() as u32), weight));
        spec.bfds.push(session);
    }
    spec.sessions = std::mem::take(&mut top.bfd.usable).into_iter().map(|(_, session)| session).collect();
    trackers
}

fn file(block: &Named<FileBlock>, weight: Weight) -> FileSpec {
    FileSpec {
        name: block.name.clone(),
        path: block.settings.file.or("".into()),
        weight: weight.weight,
        reverse: weight.reverse,
        init: block.settings.init.value(),
    }
}

fn process(block: &Named<ProcessBlock>, weight: Weight) -> ProcessSpec {
    let s = &block.settings;
    let mut words = s.process.iter().flat_map(|set| set.value.iter().cloned());
    let process = words.next().unwrap_or_default();
    let params: Vec<_> = words.collect();
    let default = if params.is_empty() { ParamMatch::None } else { ParamMatch::Exact };
    let quorum_max = s.quorum_max.value();
    ProcessSpec {
        name: block.name.clone(),
        process,
        full_command: s.full_command.is_some() || s.param_match.is_some() || !params.is_empty(),
        params,
        param_match: s.param_match.or(default),
        weight: weight.weight,
        reverse: weight.reverse,
        quorum: if quorum_max == Some(0) { 0 } else { s.quorum() },
        quorum_max,
        terminate_delay: s.terminate_delay(),
        fork_delay: s.fork_delay(),
    }
}

/// Puts the instances into the Spec, with their ties; `None` when one of them makes the configuration unusable.
fn instances(
    top: &mut Top,
    spec: &mut Spec,
    mut notifies: Vec<Notify>,
    membership: &Membership,
    trackers: &Trackers,
    cx: &mut Cx<'_>,
) -> Option<()> {
    let announcing = Announcing::of(&cx.global);
    let mut firewall = false;
    spec.instances.reserve(top.instances.len());
    for (at, own) in top.instances.iter_mut().enumerate() {
        let group = membership.of.get(at).copied().flatten();
        let block = group.and_then(|id| top.sync_groups.get(membership.blocks.get(id.index()).copied()?));
        let around = Surroundings {
            group,
            group_priority_changes: block.and_then(|b| b.settings.notify_priority_changes.value()),
            notify: notifies.get_mut(at)?,
            announcing: &announcing,
            firewall: &mut firewall,
        };
        let mut instance = complete(own, around, cx)?;
        let unweighted = block.is_some_and(|b| b.settings.tracking_weight.is_none());
        instance.ties =
            trackers.of_instance(own.settings.ties.as_deref(), (own.span, own.close), &instance, unweighted, cx);
        spec.instances.push(instance);
    }
    if firewall && spec.daemon.nftables.table.is_none() {
        spec.daemon.nftables.table = Some("keepalived".into());
    }
    Some(())
}

/// Whether the line that tracks a script may be among those that could not be read: then that nobody tracks it only follows.
fn tracking_may_be_lost(cx: &Cx<'_>) -> bool {
    const HOLDERS: [&str; 3] = ["track_script", "vrrp_instance", "vrrp_sync_group"];
    let meant = |d: &Diagnostic| {
        let texts = [Some(&d.message), d.label.as_ref(), d.help.as_ref()];
        texts.into_iter().flatten().any(|text| HOLDERS.iter().any(|holder| text.contains(&format!("`{holder}"))))
    };
    let structure = |d: &Diagnostic| match d.class {
        Class::Brace | Class::Quote | Class::MissingParameter | Class::Abort | Class::Include | Class::FileNotFound => {
            true
        }
        Class::UnknownKeyword => d.label.as_deref() == Some(ENDS_AROUND) || meant(d),
        _ => false,
    };
    cx.spoilt("track_script") || cx.diagnostics.list.iter().any(structure)
}

/// Scripts that nobody tracks are not run.
fn unused_scripts(spec: &mut Spec, top: &Top, cx: &mut Cx<'_>) {
    let mut used = vec![false; spec.scripts.len()];
    for tie in spec.instances.iter().flat_map(|i| &i.ties) {
        if let TieTarget::Script(id) = tie.on
            && let Some(slot) = used.get_mut(id.index())
        {
            *slot = true;
        }
    }
    if used.iter().all(|u| *u) {
        return;
    }
    let mut next = 0;
    let moved: Vec<ScriptId> = used
        .iter()
        .map(|used| {
            let id = ScriptId(next);
            next += u32::from(*used);
            id
        })
        .collect();
    let blocks: FxHashMap<&str, Span> = top.scripts.iter().map(|block| (&*block.name, block.span)).collect();
    // Why a line that tracks it has no effect is said there.
    let instances = top.instances.iter().filter_map(|i| i.settings.ties.as_deref());
    let ties = instances.chain(top.sync_groups.iter().filter_map(|g| g.settings.ties.as_deref()));
    let written: FxHashSet<&str> = ties.flat_map(|ties| &ties.scripts).map(|line| &*line.name).collect();
    let lost = tracking_may_be_lost(cx);
    let mut at = 0;
    spec.scripts.retain(|script| {
        let keep = used.get(at).copied().unwrap_or(true);
        at += 1;
        if !keep
            && !lost
            && !written.contains(&*script.name)
            && let Some(span) = blocks.get(&*script.name)
        {
            cx.note(*span, format!("vrrp_script {} is tracked by nobody and is not run", script.name));
        }
        keep
    });
    let ties =
        spec.instances.iter_mut().flat_map(|i| &mut i.ties).chain(spec.groups.iter_mut().flat_map(|g| &mut g.ties));
    for tie in ties {
        if let TieTarget::Script(id) = &mut tie.on
            && let Some(new) = moved.get(id.index())
        {
            *id = *new;
        }
    }
}

/// What stands beside instances: statics, pacing, debounce, delays.
fn around_instances(top: Top, ids: &FxHashMap<Box<str>, InstanceId>, spec: &mut Spec, cx: &mut Cx<'_>) {
    let mut track_groups = Vec::new();
    for group in top.track_groups {
        let mut members = Vec::new();
        for (name, span) in group.settings.members.iter().flat_map(|(names, _)| names) {
            match ids.get(name) {
                Some(id) => members.push(*id),
                None => cx.note(
                    *span,
                    format!("there is no vrrp_instance `{name}`; track_group {} goes without it", group.name),
                ),
            }
        }
        if !members.is_empty() {
            track_groups.push((group.name, members));
        }
    }
    spec.statics = Statics {
        addresses: top.static_addresses,
        routes: top.static_routes,
        rules: top.static_rules,
        groups: track_groups,
    };
    spec.pacing = top
        .garp_groups
        .iter()
        .map(|group| Pacing { interfaces: group.interfaces.clone(), garp: group.garp(), gna: group.gna() })
        .filter(|pacing| !pacing.interfaces.is_empty())
        .collect();
    let everywhere = Pacing { interfaces: Vec::new(), garp: cx.global.garp_interval(), gna: cx.global.gna_interval() };
    if !everywhere.garp.is_zero() || !everywhere.gna.is_zero() {
        spec.pacing.push(everywhere);
    }
    spec.linkbeat = top.linkbeat;
    if top.linkbeat_polling.is_some() {
        let mut polled: FxHashSet<IfName> = spec.linkbeat.iter().map(|beat| beat.interface.clone()).collect();
        for name in spec.instances.iter().filter_map(|i| i.interface.clone()) {
            if polled.insert(name.clone()) {
                spec.linkbeat.push(Beat { interface: name, method: None });
            }
        }
    }
    spec.debounce = top.debounce;
    shorten_debounce(spec);
    let after_boot = cx.global.delay_after_boot().less(cx.env.system.uptime());
    spec.startup_delay = cx.global.startup_delay().max(after_boot);
    spec.dynamic_interfaces = cx.global.dynamic_interfaces.is_some();
    spec.allow_if_changes = cx.global.dynamic_interfaces();
    spec.log_unknown_vrids = cx.global.log_unknown_vrids.is_some();
}

/// Debounce must end before a backup would take over: it is cut to the adverts that may be missed but one.
fn shorten_debounce(spec: &mut Spec) {
    if spec.debounce.is_empty() {
        return;
    }
    let mut limits: FxHashMap<&IfName, Interval> = FxHashMap::default();
    for instance in &spec.instances {
        let Some(name) = &instance.interface else { continue };
        let limit = longest_debounce(instance.interval, instance.down_adverts);
        limits.entry(name).and_modify(|known| *known = limit.min(*known)).or_insert(limit);
    }
    for debounce in &mut spec.debounce {
        let Some(&limit) = limits.get(&debounce.interface) else { continue };
        if debounce.up > limit || (debounce.up == debounce.down && debounce.down > limit) {
            debounce.up = limit;
        }
        debounce.down = debounce.down.min(limit);
    }
}

/// Instances that track a session without weight which cannot run: nothing would ever let them leave FAULT. What is wrong
/// with the session has been said where it stands.
fn tracked_in_vain(top: &Top, spec: &Spec, trackers: &Trackers, cx: &mut Cx<'_>) {
    for own in &top.instances {
        for line in own.settings.ties.iter().flat_map(|ties| &ties.bfds) {
            let Some((_, weight)) = trackers.bfds.get(&line.name) else { continue };
            let runs = spec.sessions.iter().any(|session| session.name == line.name);
            let reverse = line.reverse.unwrap_or(weight.reverse);
            if !runs && !reverse && line.weight.unwrap_or(weight.weight) == 0 {
                cx.note(
                    line.span,
                    format!("{} can never leave FAULT: the BFD session {} does not run", own.name, line.name),
                );
            }
        }
    }
}
