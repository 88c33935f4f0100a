//! Groups: `vrrp_sync_group`, `track_group`, `garp_group`.

use super::tracker::{
    Named, Ties, named, only_name, track_bfd, track_files, track_interface, track_process, track_script,
};
use crate::config::line::List;
use crate::config::line::lists::INTERFACE;
use crate::config::report::{Class, Diagnostic};
use crate::config::security::{SetScript, must_script};
use crate::config::table::block::{Cx, Repeat, Set, by, flag, list, must, toggle};
use crate::config::table::values::{LONGEST_US, timer};
use crate::config::text::source::Span;
use crate::config::text::tree::Node;
use crate::spec::IfName;
use crate::time::Interval;

/// Names, each with its place; `None` until the list was given.
pub type Members = Option<(Vec<(Box<str>, Span)>, Span)>;

block! {
    /// Instances that change state together.
    "vrrp_sync_group" => SyncGroup {
        /// The instances.
        "group" => members: Members = list("LIST(INSTANCE)", Repeat::FirstKept, members), default "required";
        /// Interfaces tracked for every member.
        "track_interface" => ties: Option<Box<Ties>> = list("LIST(IFNAME [weight INT[-253..253] [reverse]])", Repeat::Accumulates, track_interface), default "none";
        /// Run when the group becomes BACKUP.
        "notify_backup" => notify_backup: SetScript = must_script();
        /// Run when the group becomes MASTER.
        "notify_master" => notify_master: SetScript = must_script();
        /// Run when the group enters FAULT.
        "notify_fault" => notify_fault: SetScript = must_script();
        /// Run when the daemon stops.
        "notify_stop" => notify_stop: SetScript = must_script();
        /// Run at every change, with GROUP, name, state and 0 as last arguments.
        "notify" => notify: SetScript = must_script();
        /// Mail at changes of the group.
        "smtp_alert" => smtp_alert: Set<bool> = toggle(), default "smtp_alert_vrrp, else smtp_alert";
        /// Members may track with weights.
        "sync_group_tracking_weight" => tracking_weight: Set<()> = flag(), default "off";
        /// Default of `notify_priority_changes` for the members.
        "notify_priority_changes" => notify_priority_changes: Set<bool> = toggle(), default "vrrp_notify_priority_changes";
    }
    also {
        /// Scripts tracked for every member.
        "track_script" => ties: Option<Box<Ties>> = list("LIST(NAME [weight INT[-253..253] [reverse or noreverse]])", Repeat::Accumulates, track_script), default "none";
        /// Files tracked for every member.
        "track_file" => ties: Option<Box<Ties>> = list("LIST(NAME [weight INT[-254..254] [reverse or noreverse]])", Repeat::Accumulates, track_files), default "none";
        /// Processes tracked for every member.
        "track_process" => ties: Option<Box<Ties>> = list("LIST(NAME [weight INT[-254..254] [reverse or noreverse]])", Repeat::Accumulates, track_process), default "none";
        /// BFD sessions tracked for every member.
        "track_bfd" => ties: Option<Box<Ties>> = list("LIST(NAME [weight INT[-253..253] [reverse or noreverse]])", Repeat::Accumulates, track_bfd), default "none";
        /// As `sync_group_tracking_weight`.
        "global_tracking" => tracking_weight: Set<()> = flag(), default "off", deprecated "track on the group itself, or use sync_group_tracking_weight";
    }
}

block! {
    /// Instances whose interfaces keep static items alive.
    "track_group" => TrackGroup {
        /// The instances.
        "group" => members: Members = list("LIST(INSTANCE)", Repeat::FirstKept, members), default "required";
    }
}

block! {
    /// How far announcements on some interfaces are spaced.
    "garp_group" => GarpGroup {
        /// Seconds between gratuitous ARPs.
        "garp_interval" => garp: Set<Interval> = must(timer(0, LONGEST_US)), default(Interval::ZERO, "0");
        /// Seconds between unsolicited neighbour advertisements.
        "gna_interval" => gna: Set<Interval> = must(timer(0, LONGEST_US)), default(Interval::ZERO, "0");
        /// One interface of the group.
        "interface" => interfaces: Vec<IfName> = by("IFNAME", Repeat::Accumulates, garp_interface), default "none";
    }
    also {
        /// Interfaces that share one delay.
        "interfaces" => interfaces: Vec<IfName> = list("LIST(IFNAME)", Repeat::Accumulates, garp_interfaces), default "none";
    }
}

fn members(field: &mut Members, node: &Node<'_>, cx: &mut Cx<'_>) {
    if let Some((_, first)) = field {
        return cx.again(node.span, "group", *first, "the first list holds");
    }
    let names: Vec<_> =
        node.body.iter().flatten().flat_map(|line| line.words()).map(|word| (word.text.into(), word.span)).collect();
    if names.is_empty() {
        // Without members the group is removed; that is said there.
        return;
    }
    *field = Some((names, node.span));
}

/// Lists that name nobody, above the one that holds.
fn empty_lists(node: &Node<'_>, kind: &str, name: &str, members: &Members, cx: &mut Cx<'_>) {
    let Some((_, holds)) = members else { return };
    let above = node.body.iter().flatten().filter(|line| line.span.start < holds.start);
    for list in above.filter(|line| line.keyword.text == "group") {
        cx.mistake(
            list.span,
            format!("this list of {kind} `{name}` names nobody"),
            "list the names of vrrp_instance blocks in it, or remove it",
        );
    }
}

fn memberless<T>(node: &Node<'_>, kind: &str, group: &Named<T>, cx: &mut Cx<'_>) {
    let message = format!("{kind} `{}` has no members and is removed", group.name);
    let class = cx.class_without(&["group"], (group.span, group.close));
    if class == Class::Follows {
        // What was to be the list has been complained about.
        return;
    }
    let mut complaint = Diagnostic::new(class, group.span, message)
        .help("list the names of vrrp_instance blocks in `group { … }`, or remove it");
    let empty = node.body.iter().flatten().find(|line| line.keyword.text == "group").and_then(|list| list.close);
    for (end, what) in [(empty, "nobody is in this list"), (group.close, "the block ends here")] {
        if let Some(end) = end {
            complaint = complaint.related(end, what);
        }
    }
    cx.push(complaint);
}

/// `vrrp_sync_group NAME` and `track_group NAME`: without members they are removed.
pub fn read_sync_group(list: &mut Vec<Named<SyncGroup>>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(name) = only_name(node, cx) else { return };
    if !cx.define("vrrp_sync_group", name) {
        return;
    }
    let Some(group) = named::<SyncGroup>(node, cx) else { return };
    if group.settings.members.is_none() && !cx.aborted {
        return memberless(node, "vrrp_sync_group", &group, cx);
    }
    empty_lists(node, "vrrp_sync_group", &group.name, &group.settings.members, cx);
    list.push(group);
}

pub(crate) fn read_track_group(list: &mut Vec<Named<TrackGroup>>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(name) = only_name(node, cx) else { return };
    if !cx.define("track_group", name) {
        return;
    }
    let Some(group) = named::<TrackGroup>(node, cx) else { return };
    if group.settings.members.is_none() && !cx.aborted {
        return memberless(node, "track_group", &group, cx);
    }
    empty_lists(node, "track_group", &group.name, &group.settings.members, cx);
    cx.track_groups.push(group.name.clone());
    list.push(group);
}

pub(crate) fn read_garp_group(list: &mut Vec<GarpGroup>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let mut group = GarpGroup::default();
    crate::config::table::block::read_block(&mut group, node.body.as_deref().unwrap_or_default(), cx);
    if cx.aborted {
        return;
    }
    if group.garp.is_none() && group.gna.is_none() {
        for name in &group.interfaces {
            if let Some(names) = cx.names.get_mut("garp_group") {
                names.remove(name.as_str());
            }
        }
        let message = "this garp_group has neither garp_interval nor gna_interval and is removed";
        return cx.lacks(
            &["garp_interval", "gna_interval"],
            node.span,
            node.close,
            message,
            "write `garp_interval SECONDS` in it",
        );
    }
    list.push(group);
}

fn garp_interface(field: &mut Vec<IfName>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(word) = node.args.first().copied() else { return cx.abort(node, "an interface name") };
    add_interface(field, word, cx);
}

fn garp_interfaces(field: &mut Vec<IfName>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let lines = node.body.as_deref().unwrap_or_default();
    if lines.is_empty() {
        return cx.block_error(
            node.span,
            node.close,
            "`interfaces` names no interface",
            "list the names of interfaces in it, or remove it",
        );
    }
    for word in lines.iter().flat_map(|line| line.words()) {
        add_interface(field, word, cx);
    }
}

fn add_interface(field: &mut Vec<IfName>, word: crate::config::text::tree::Word<'_>, cx: &mut Cx<'_>) {
    let Some(name) = cx.line(List::Virtual, INTERFACE, |cx| cx.interface(&word)) else { return };
    if cx.env.system.interface(word.text).is_some_and(|link| link.virtual_link) {
        let message = format!("`{name}` is a VMAC; its announcements are paced with those of the interface below it");
        return cx.push(Diagnostic::new(Class::General, word.span, message).label("ignored"));
    }
    if let Some(first) = cx.names.get("garp_group").and_then(|names| names.get(word.text)).copied() {
        let message = format!("`{name}` is in a garp_group already; ignored here");
        return cx.push(
            Diagnostic::new(Class::General, word.span, message)
                .related(first, "it was put there")
                .help("remove it from one of the two"),
        );
    }
    cx.names.entry("garp_group").or_default().insert(word.text.into(), word.span);
    field.push(name);
}
