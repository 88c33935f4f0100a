//! The top level: process keywords, and which block is read by whom.
//!
//! keepalived reads `global_defs` and the process keywords first, in its parent, whatever stands before them; its children
//! then read the rest. So does [`read`]; where they do stand first, as usual, no node is kept longer than it takes to read.

use super::Subsystems;
use super::balance::{self, Lvs};
use super::bfd::{Sessions, bfd_instance};
use super::global::Global;
use super::line::List;
use crate::config::line::names::Names;
use crate::config::line::{address, lists, route};
use crate::config::table::block::{Cx, Repeat, Set, block_by, first, flag, list, must, read_node, sub};
use crate::config::table::values::{STR, uint};
use crate::config::text::source::Loader;
use crate::config::text::tree::{Node, Nodes};
use crate::config::vrrp::group::{
    GarpGroup, SyncGroup, TrackGroup, read_garp_group, read_sync_group, read_track_group,
};
use crate::config::vrrp::instance::Instance;
use crate::config::vrrp::instance::read::{read_instance, read_rules};
use crate::config::vrrp::tracker::{FileBlock, Named, ProcessBlock, ScriptBlock, read_file, read_process, read_script};
use crate::spec::{Beat, Debounce, Route, Rule, VirtualAddress};
use std::path::Path;

block! {
    /// Outside all blocks.
    "" => Top {
        /// Poll the link state of every interface used.
        "linkbeat_use_polling" => linkbeat_polling: Set<()> = flag(), default "off";
        /// Run in this network namespace.
        "net_namespace" => net_namespace: Set<Box<str>> = first(STR), default "the daemon's own";
        /// Namespace for IPVS.
        "net_namespace_ipvs" => net_namespace_ipvs: Set<Box<str>> = first(STR).bare("".into()), default "net_namespace";
        /// Allow ipsets in a namespace of an old kernel.
        "namespace_with_ipsets" => namespace_with_ipsets: Set<()> = flag(), default "off", idle "ipsets are not used";
        /// Put pid files into a directory of their own.
        "use_pid_dir" => use_pid_dir: Set<()> = flag(), default "off";
        /// Name of this daemon, if several run: it is part of the names of pid and dump files.
        "instance" => instance: Set<Box<str>> = first(STR), default "none";
        /// Seconds to wait for scripts at stop.
        "child_wait_time" => child_wait_time: Set<u32> = must(uint(0, u32::MAX)), default(5);
        /// Global settings; several blocks accumulate.
        "global_defs" => global: Global = sub();
        /// Instances whose interfaces keep static items alive.
        "track_group" => track_groups: Vec<Named<TrackGroup>> = block_by("track_group", "STR BLOCK", Repeat::FirstKept, read_track_group);
        /// Addresses that are kept always.
        "static_ipaddress" => static_addresses: Vec<VirtualAddress> = list("LIST(address line)", Repeat::Accumulates, static_addresses);
        /// Routes that are kept always.
        "static_routes" => static_routes: Vec<Route> = list("LIST(route line)", Repeat::Accumulates, static_routes);
        /// Policy rules that are kept always.
        "static_rules" => static_rules: Vec<Rule> = list("LIST(rule line)", Repeat::Accumulates, static_rules);
        /// Instances that change state together.
        "vrrp_sync_group" => sync_groups: Vec<Named<SyncGroup>> = block_by("vrrp_sync_group", "STR BLOCK", Repeat::FirstKept, read_sync_group);
        /// How far announcements on some interfaces are spaced.
        "garp_group" => garp_groups: Vec<GarpGroup> = block_by("garp_group", "BLOCK", Repeat::Accumulates, read_garp_group);
        /// Interfaces whose carrier is polled.
        "linkbeat_interfaces" => linkbeat: Vec<Beat> = list("LIST(IFNAME [MII or ETHTOOL or IOCTL])", Repeat::Accumulates, linkbeat);
        /// One virtual router on one interface.
        "vrrp_instance" => instances: Vec<Named<Instance>> = block_by("vrrp_instance", "STR BLOCK", Repeat::FirstKept, read_instance);
        /// Health script, run again and again.
        "vrrp_script" => scripts: Vec<Named<ScriptBlock>> = block_by("vrrp_script", "STR BLOCK", Repeat::FirstKept, read_script);
        /// How many processes of a kind run.
        "vrrp_track_process" => processes: Vec<Named<ProcessBlock>> = block_by("vrrp_track_process", "STR BLOCK", Repeat::FirstKept, read_process);
        /// How long an interface must be down, and up, before that counts.
        "interface_up_down_delays" => debounce: Vec<Debounce> = list("LIST(IFNAME TIMER[0..255] [TIMER[0..255]])", Repeat::Accumulates, debounce);
        /// A file that holds a number.
        "track_file" => files: Vec<Named<FileBlock>> = block_by("track_file", "STR BLOCK", Repeat::Accumulates, read_file);
        /// One BFD session.
        "bfd_instance" => bfd: Sessions = block_by("bfd_instance", "STR[<=31] BLOCK", Repeat::FirstKept, bfd_instance);
        /// One load-balanced service.
        "virtual_server" => lvs: Lvs = block_by("virtual_server", "(IPADDR [PORT] or fwmark UINT or group STR) BLOCK", Repeat::Accumulates, balance::virtual_server);
    }
    also {
        /// Addresses and firewall marks that make one service.
        "virtual_server_group" => lvs: Lvs = list("STR LIST(ADDR [PORT] or ADDR/MASK [PORT] or ADDR-END [PORT] or fwmark UINT [inet or inet6])", Repeat::Accumulates, balance::virtual_server_group);
        /// TLS files of SSL_GET checkers.
        "SSL" => lvs: Lvs = block_by("SSL", "BLOCK", Repeat::Replaced, balance::ssl);
        /// As `track_file`.
        "vrrp_track_file" => files: Vec<Named<FileBlock>> = block_by("track_file", "STR BLOCK", Repeat::Accumulates, read_file), renamed "use track_file";
    }
}

/// What keepalived's parent reads.
const FIRST: &[&str] = &[
    "linkbeat_use_polling",
    "net_namespace",
    "net_namespace_ipvs",
    "namespace_with_ipsets",
    "use_pid_dir",
    "instance",
    "child_wait_time",
    "global_defs",
];

/// What only VRRP reads.
const OF_VRRP: &[&str] = &[
    "track_group",
    "static_ipaddress",
    "static_routes",
    "static_rules",
    "vrrp_sync_group",
    "garp_group",
    "linkbeat_interfaces",
    "vrrp_instance",
    "vrrp_script",
    "vrrp_track_process",
    "interface_up_down_delays",
];
/// Blocks that make keepalived start its VRRP process.
pub(crate) const RUN_BY_VRRP: &[&str] =
    &["vrrp_instance", "vrrp_sync_group", "static_ipaddress", "static_routes", "static_rules"];
/// What only checkers read.
const OF_CHECKERS: &[&str] = &["virtual_server", "virtual_server_group", "SSL"];

/// Whether a block outside all others is read for one of `subsystems`. Tracked files and BFD sessions are read for several.
fn is_read(keyword: &str, subsystems: Subsystems) -> bool {
    match keyword {
        _ if OF_VRRP.contains(&keyword) => subsystems.vrrp,
        _ if OF_CHECKERS.contains(&keyword) => subsystems.checkers,
        "track_file" | "vrrp_track_file" => subsystems.vrrp || subsystems.checkers,
        _ => true,
    }
}

/// Whether two blocks outside all others are never read by the same subsystem.
pub(crate) fn are_strangers(one: &str, other: &str) -> bool {
    let both = [OF_VRRP, OF_CHECKERS].map(|own| (own.contains(&one), own.contains(&other)));
    matches!(both, [(true, false), (false, true)] | [(false, true), (true, false)])
}

/// Reads all nodes; stops where keepalived stops ([`Cx::aborted`]).
pub fn read<'a>(nodes: &mut Nodes<'_, '_>, files: &'a dyn Loader, cx: &mut Cx<'a>) -> Top {
    let mut top = Top::default();
    // What does not go first but stands before something that does has to wait.
    let mut waiting = Vec::new();
    let mut last_process_line = None;
    while let Some(node) = nodes.next(cx.diagnostics) {
        if FIRST.contains(&node.keyword.text) {
            read_node(&mut top, &node, cx);
            if cx.aborted {
                return top;
            }
        } else {
            waiting.push(node);
            if nodes.position() >= *last_process_line.get_or_insert_with(|| nodes.last_line_of(FIRST)) {
                break;
            }
        }
    }
    cx.global = std::mem::take(&mut top.global);
    let directory = |set: &Set<Box<str>>| set.as_ref().map(|s| s.value.to_string());
    let (etc, usr) = (directory(&cx.global.iproute_etc_dir), directory(&cx.global.iproute_usr_dir));
    cx.iproute = Names::from_files(files, etc.as_deref().map(Path::new), usr.as_deref().map(Path::new));
    let mut waiting = waiting.into_iter();
    while let Some(node) = waiting.next().or_else(|| nodes.next(cx.diagnostics)) {
        if !is_read(node.keyword.text, cx.subsystems) {
            continue;
        }
        read_node(&mut top, &node, cx);
        if cx.aborted {
            return top;
        }
    }
    cx.join_surplus();
    cx.join_misdefined();
    top
}

fn static_addresses(field: &mut Vec<VirtualAddress>, node: &Node<'_>, cx: &mut Cx<'_>) {
    for line in node.body.iter().flatten() {
        field.extend(cx.line(List::Static, address::FORM, |cx| address::address(line, cx)));
    }
}

fn static_routes(field: &mut Vec<Route>, node: &Node<'_>, cx: &mut Cx<'_>) {
    for line in node.body.iter().flatten() {
        field.extend(cx.line(List::Static, route::FORM, |cx| route::route(line, cx)));
    }
}

fn static_rules(field: &mut Vec<Rule>, node: &Node<'_>, cx: &mut Cx<'_>) {
    read_rules(field, List::Static, node, cx);
}

fn linkbeat(field: &mut Vec<Beat>, node: &Node<'_>, cx: &mut Cx<'_>) {
    for line in node.body.iter().flatten() {
        field.extend(cx.line(List::Static, lists::LINKBEAT, |cx| lists::linkbeat(line, cx)));
    }
}

fn debounce(field: &mut Vec<Debounce>, node: &Node<'_>, cx: &mut Cx<'_>) {
    for line in node.body.iter().flatten() {
        field.extend(cx.line(List::Static, lists::DELAYS, |cx| lists::interface_delay(line, cx)));
    }
}
