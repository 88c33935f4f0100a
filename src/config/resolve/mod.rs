//! Settings → [`Spec`]: names become indices, defaults are inherited, rules across blocks are applied.
//!
//! The order is that of keepalived's start (`start_vrrp`, `vrrp_complete_init`), because a rule that cannot be repaired
//! ends everything that comes after it. Rules about one instance are in [`instance`], about trackers in
//! [`ties`], about the process in [`daemon`](mod@daemon).

mod auth;
mod clashes;
mod daemon;
mod instance;
mod owned;
mod reach;
mod shown;
mod ties;
mod unfit;

use super::report::{Class, Diagnostic};
use super::security::{Danger, Guard, ScriptLine, SetScript};
use super::top::Top;
use crate::config::resolve::clashes::clashes;
use crate::config::resolve::daemon::daemon;
use crate::config::resolve::instance::{Surroundings, complete, has_the_least};
use crate::config::resolve::owned::Announcing;
use crate::config::resolve::ties::Trackers;
use crate::config::resolve::unfit::unfit_addresses;
use crate::config::table::block::{Cx, ENDS_AROUND};
use crate::config::text::source::Span;
use crate::config::vrrp::group::SyncGroup;
use crate::config::vrrp::instance::Instance;
use crate::config::vrrp::instance::read::Wanted;
use crate::config::vrrp::tracker::{FileBlock, Named, ProcessBlock, ScriptBlock, Weight};
use crate::spec::*;
use crate::time::Interval;
use crate::vrrp::election::longest_debounce;
use rustc_hash::{FxHashMap, FxHashSet};

/// Makes the [`Spec`]; `None` when the configuration cannot be run.
pub fn resolve(mut top: Top, cx: &mut Cx<'_>) -> Option<Spec> {
    let mut guard = Guard::of(&cx.global, cx.env.system);

    let mut spec = Spec { daemon: daemon(&top, &mut guard, cx), ..Spec::default() };
    if cx.missing_interface {
        // Named where it stands; nothing across blocks can be judged without it.
        guard.settle(cx);
        return None;
    }
    let mut trackers = Trackers::default();
    let mut notifies = Vec::new();
    let mut group_notifies = Vec::new();
    // Without an instance nothing runs a script, and keepalived does not look at them.
    let run = !top.instances.is_empty();
    for block in &top.scripts {
        let made = run.then(|| script(block, &mut guard, cx)).flatten();
        let entry = made.map(|(script, weight)| {
            spec.scripts.push(script);
            (ScriptId(spec.scripts.len() as u32 - 1), weight)
        });
        trackers.scripts.insert(block.name.clone(), entry);
    }
    if run {
        notifies = top.instances.iter().map(|own| instance_notify(own, &mut guard, cx)).collect();
        group_notifies = top.sync_groups.iter().map(|group| group_notify(group, &mut guard, cx)).collect();
    }
    guard.settle(cx);
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
    tracked_in_vain(&top, &spec, &trackers, cx);

    for own in &top.instances {
        if !has_the_least(own, cx) {
            return None;
        }
    }
    let ids = ids(&top);
    let membership = groups(&mut top, &ids, group_notifies, &mut spec, cx);

    unfit_addresses(&top, cx);
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

/// A notify script; one that cannot run is left out, which keepalived only logs.
pub fn notify(line: Option<&ScriptLine>, what: &str, guard: &mut Guard<'_>, cx: &mut Cx<'_>) -> Option<Box<Run>> {
    left_out_script(line, what, |guard| guard.class_of_missing_user(), guard, cx)
}

/// What to do about a program without a user.
pub const NO_USER: &str = "name a user of this machine with `script_user USER` in global_defs, or behind the command";

/// The same for a command line that names one: mostly that word is an argument, and the quotes are missing.
pub fn no_such_user(line: &ScriptLine) -> String {
    let Some(user) = &line.user else { return NO_USER.into() };
    let words = line.argv.join(" ");
    format!("if `{0}` is an argument, write `\"{words} {0}\"`; if it is a user, make it or name another one", user.user)
}

/// A script that is left out if it cannot run. `no_user` is the class of the complaint that its user does not exist.
pub fn left_out_script(
    line: Option<&ScriptLine>,
    what: &str,
    no_user: impl FnOnce(&mut Guard<'_>) -> Class,
    guard: &mut Guard<'_>,
    cx: &mut Cx<'_>,
) -> Option<Box<Run>> {
    let line = line?;
    let account = match guard.account_of(line.user.as_ref()) {
        Ok(account) => account,
        Err(reason) => {
            // What is wrong with `script_user` has been said there, for all that it concerns.
            let told = line.user.is_none() && cx.spoilt("script_user");
            let class = match no_user(guard) {
                class if class.is_mistake() => class,
                _ if told => Class::Follows,
                _ => Class::NotRun,
            };
            cx.push(
                Diagnostic::new(class, line.span, format!("{what} will not run: {reason}")).help(no_such_user(line)),
            );
            return None;
        }
    };
    match guard.check(&line.argv, &account, line.span) {
        Ok((run, _)) => Some(Box::new(run)),
        Err(danger) => {
            cx.push(
                Diagnostic::new(Class::NotRun, line.span, format!("{what} will not run: {}", danger.reason()))
                    .help(danger.cure()),
            );
            None
        }
    }
}

/// The command line of a setting.
pub fn line_of(set: &SetScript) -> Option<&ScriptLine> {
    set.as_ref().map(|set| &set.value)
}

fn instance_notify(own: &Named<Instance>, guard: &mut Guard<'_>, cx: &mut Cx<'_>) -> Notify {
    let s = &own.settings;
    let deleted = s.notify_deleted.as_ref().and_then(|set| set.value.as_deref());
    Notify {
        backup: notify(line_of(&s.notify_backup), "notify_backup", guard, cx),
        master: notify(line_of(&s.notify_master), "notify_master", guard, cx),
        fault: notify(line_of(&s.notify_fault), "notify_fault", guard, cx),
        stop: notify(line_of(&s.notify_stop), "notify_stop", guard, cx),
        deleted: notify(deleted, "notify_deleted", guard, cx),
        any: notify(line_of(&s.notify), "notify", guard, cx),
        master_rx_lower_pri: notify(line_of(&s.notify_rx_lower), "notify_master_rx_lower_pri", guard, cx),
        tell_deleted: s.notify_deleted.is_some(),
        // Settled with the defaults.
        mail: false,
        priority_changes: false,
    }
}

fn group_notify(group: &Named<SyncGroup>, guard: &mut Guard<'_>, cx: &mut Cx<'_>) -> Notify {
    let s = &group.settings;
    Notify {
        backup: notify(line_of(&s.notify_backup), "notify_backup", guard, cx),
        master: notify(line_of(&s.notify_master), "notify_master", guard, cx),
        fault: notify(line_of(&s.notify_fault), "notify_fault", guard, cx),
        stop: notify(line_of(&s.notify_stop), "notify_stop", guard, cx),
        any: notify(line_of(&s.notify), "notify", guard, cx),
        mail: s.smtp_alert.otherwise(&cx.global.smtp_alert_vrrp).otherwise(&cx.global.smtp_alert).or(false),
        priority_changes: s.notify_priority_changes.or(cx.global.notify_priority_changes()),
        ..Notify::default()
    }
}

fn script(block: &Named<ScriptBlock>, guard: &mut Guard<'_>, cx: &mut Cx<'_>) -> Option<(ScriptSpec, Weight)> {
    let s = &block.settings;
    let line = &s.script.as_ref()?.value;
    let user = s.user.get();
    let refuse = |reason: &str, cure: &str, class: Class, cx: &mut Cx<'_>| {
        let message = format!("vrrp_script {} is not run and not tracked: {reason}", block.name);
        cx.push(Diagnostic::new(class, line.span, message).help(cure).ends_at(block.close));
        None
    };
    let account = match guard.account_of(user) {
        Ok(account) => account,
        Err(reason) => {
            let told = cx.told(&reason) || (user.is_none() && cx.spoilt("script_user"));
            return refuse(&reason, &no_such_user(line), if told { Class::Follows } else { Class::General }, cx);
        }
    };
    let (run, insecure) = match guard.check(&line.argv, &account, line.span) {
        Ok(checked) => checked,
        // keepalived says this in its log only.
        Err(danger @ Danger::NotExecutable(_)) => return refuse(danger.reason(), danger.cure(), Class::NotRun, cx),
        Err(danger) => return refuse(danger.reason(), danger.cure(), Class::General, cx),
    };
    let interval = s.interval();
    let weight = s.weight();
    let spec = ScriptSpec {
        name: block.name.clone(),
        run,
        interval,
        timeout: s.timeout.or(interval),
        weight: weight.weight,
        reverse: weight.reverse,
        rise: s.rise(),
        fall: s.fall(),
        init_fail: s.init_fail.is_some(),
        insecure,
    };
    Some((spec, weight))
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

/// The instances by their names, where groups name any.
fn ids(top: &Top) -> FxHashMap<Box<str>, InstanceId> {
    if top.sync_groups.is_empty() && top.track_groups.is_empty() {
        return FxHashMap::default();
    }
    top.instances.iter().enumerate().map(|(at, own)| (own.name.clone(), InstanceId(at as u32))).collect()
}

/// Which instance is in which group, and which block each group came from.
struct Membership {
    of: Vec<Option<GroupId>>,
    blocks: Vec<usize>,
}

fn groups(
    top: &mut Top,
    ids: &FxHashMap<Box<str>, InstanceId>,
    notifies: Vec<Notify>,
    spec: &mut Spec,
    cx: &mut Cx<'_>,
) -> Membership {
    let mut membership = Membership { of: vec![None; top.instances.len()], blocks: Vec::new() };
    // Without an instance nobody has looked at the programs of groups.
    let notifies = notifies.into_iter().chain(std::iter::repeat_with(Notify::default));
    for (at, (group, notify)) in top.sync_groups.iter().zip(notifies).enumerate() {
        let id = GroupId(spec.groups.len() as u32);
        let mut members = Vec::new();
        let (mut all_owners, mut said) = (true, false);
        for (name, span) in group.settings.members.iter().flat_map(|(names, _)| names) {
            let Some(&member) = ids.get(name) else {
                let mut complaint = Diagnostic::new(
                    Class::General,
                    *span,
                    format!("there is no vrrp_instance `{name}`; {} goes without it", group.name),
                );
                complaint = complaint.help(match cx.nearest("vrrp_instance", name) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "correct the name, or remove it from the group".to_owned(),
                });
                cx.push(complaint);
                continue;
            };
            let (Some(slot), Some(own)) = (membership.of.get_mut(member.index()), top.instances.get(member.index()))
            else {
                continue;
            };
            if slot.is_some() {
                cx.mistake(
                    *span,
                    format!("`{name}` is in a sync group already; {} goes without it", group.name),
                    "list it in one group only",
                );
                continue;
            }
            *slot = Some(id);
            let state = own.settings.state.value();
            // Only what is written counts here, as with keepalived: `state MASTER` without a priority is an owner whose
            // group begins as BACKUP and takes over after an interval.
            let owner = state == Some(Wanted::Master) && own.settings.priority.value() == Some(255);
            if !members.is_empty() && all_owners && state == Some(Wanted::Backup) && !said {
                said = true;
                cx.mistake(
                    *span,
                    format!("{} has members with priority 255 and others; they cannot be master together", group.name),
                    "put instances with priority 255 into a group of their own",
                );
            }
            all_owners &= owner;
            members.push(member);
        }
        if members.is_empty() {
            cx.push(
                Diagnostic::new(
                    Class::General,
                    group.span,
                    format!("none of the members of {} exists; it is removed", group.name),
                )
                .help("list the names of vrrp_instance blocks, or remove the group"),
            );
            continue;
        }
        if members.len() == 1 {
            cx.push(
                Diagnostic::new(Class::General, group.span, format!("{} has only one member", group.name))
                    .help("remove the group, or list the instance that is to move with it"),
            );
        }
        membership.blocks.push(at);
        spec.groups.push(GroupSpec {
            name: group.name.clone(),
            members,
            starts_as_master: all_owners,
            tracking_weight: group.settings.tracking_weight.is_some(),
            notify,
            ties: Vec::new(),
        });
    }
    membership
}

/// If one member cannot start as master, none does.
fn settle_start(group: &GroupSpec, instances: &mut [InstanceSpec]) {
    let mut members = group.members.iter().filter_map(|id| instances.get(id.index()));
    let backup = members.any(|i| !i.wants_master || i.priority.0 != 255);
    if backup {
        for id in &group.members {
            if let Some(member) = instances.get_mut(id.index()) {
                member.wants_master = false;
            }
        }
    }
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
