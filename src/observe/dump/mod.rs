//! keepalived's text dumps: `keepalived.data` ([`data`]) and `keepalived.stats` ([`stats`]).
//!
//! Labels, indents and order are what exporters, VyOS and OpenShift read, down to keepalived's spelling. What vipd has no
//! such thing for (file descriptors of a pair of sockets) is left out rather than invented.

mod check;
mod checker;
mod globals;
mod instance;
mod machine;

pub use checker::Clock;

use super::describe;
use crate::spec::{GroupSpec, InstanceId, ParamMatch, ProcessSpec, ScriptSpec, Spec, Tie, TieTarget};
use crate::time::Interval;
use crate::vrrp::io::Fault;
use crate::vrrp::snapshot::{GroupView, InstanceView, ScriptView, Snapshot, TrackerView};
use globals::{Speaker, globals};
use instance::{instance, programs, ties};
use std::fmt::Write as _;
use std::sync::Arc;

/// Lines with an indent.
struct Page(String);

impl Page {
    fn line(&mut self, indent: usize, text: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{:indent$}{text}", "");
    }
}

/// A line of the page: indent in spaces, then a format.
macro_rules! put {
    ($page:expr, $indent:expr, $($text:tt)*) => { $page.line($indent, format_args!($($text)*)) };
}
use put;

/// Everything about the state, for people and for programs that grep.
pub fn data(spec: &Spec, snapshot: &Snapshot) -> String {
    let mut page = Page(String::new());
    globals(&mut page, spec, Speaker::Vrrp);
    machine::delays(&mut page, spec);
    statics(&mut page, spec, snapshot);
    if !spec.instances.is_empty() {
        put!(page, 0, "------< VRRP Topology >------");
    }
    for ((index, one), view) in spec.instances.iter().enumerate().zip(&snapshot.instances) {
        instance(&mut page, spec, snapshot, index, one, view);
    }
    machine::sockets(&mut page, spec, snapshot);
    if !spec.groups.is_empty() {
        put!(page, 0, "------< VRRP Sync groups >------");
    }
    for (one, view) in spec.groups.iter().zip(&snapshot.groups) {
        group(&mut page, spec, snapshot, one, view);
    }
    if !spec.scripts.is_empty() {
        put!(page, 0, "------< VRRP Scripts >------");
    }
    for (index, one) in spec.scripts.iter().enumerate() {
        let view = snapshot.scripts.iter().find(|view| view.name == one.name);
        let on = |on: &TieTarget| matches!(on, TieTarget::Script(id) if id.index() == index);
        script(&mut page, one, view, &tied(spec, on));
    }
    trackers(&mut page, spec, snapshot);
    machine::interfaces(&mut page, spec, snapshot);
    page.0
}

/// What keepalived's parent process says of itself (`keepalived_parent.data`).
pub fn parent(spec: &Spec) -> String {
    let mut page = Page(String::new());
    globals(&mut page, spec, Speaker::Parent);
    page.0
}

/// What keepalived's checker process says (`keepalived_check.data`).
pub fn check(
    spec: &Spec,
    snapshot: &crate::balance::snapshot::Snapshot,
    clock: &Clock<impl Fn(u64) -> String>,
) -> String {
    let mut page = Page(String::new());
    globals(&mut page, spec, Speaker::Checker);
    check::topology(&mut page, spec, snapshot, clock);
    page.0
}

/// The counters. Every value is a whole number, or exporters give up.
pub fn stats(snapshot: &Snapshot) -> String {
    let mut page = Page(String::new());
    for view in &snapshot.instances {
        let c = &view.counters;
        put!(page, 0, "VRRP Instance: {}", view.name);
        put!(page, 2, "Advertisements:");
        put!(page, 4, "Received: {}", c.advert_rcvd);
        put!(page, 4, "Sent: {}", c.advert_sent);
        put!(page, 2, "Became master: {}", c.become_master);
        put!(page, 2, "Released master: {}", c.release_master);
        put!(page, 2, "Packet Errors:");
        put!(page, 4, "Length: {}", c.packet_len_err);
        put!(page, 4, "TTL: {}", c.ip_ttl_err);
        put!(page, 4, "Invalid Type: {}", c.invalid_type_rcvd);
        put!(page, 4, "Advertisement Interval: {}", c.advert_interval_err);
        put!(page, 4, "Address List: {}", c.addr_list_err);
        put!(page, 2, "Authentication Errors:");
        put!(page, 4, "Invalid Type: {}", c.invalid_authtype);
        put!(page, 4, "Type Mismatch: {}", c.authtype_mismatch);
        put!(page, 4, "Failure: {}", c.auth_failure);
        put!(page, 2, "Authentication Extension Errors:");
        put!(page, 4, "Missing: {}", c.auth_ext_missing);
        put!(page, 4, "Malformed: {}", c.auth_ext_malformed);
        put!(page, 4, "Unknown Key: {}", c.auth_ext_unknown_key);
        put!(page, 4, "Invalid HMAC: {}", c.auth_ext_invalid_hmac);
        put!(page, 4, "Stale: {}", c.auth_ext_stale);
        put!(page, 4, "Replay: {}", c.auth_ext_replay);
        put!(page, 2, "Priority Zero:");
        put!(page, 4, "Received: {}", c.pri_zero_rcvd);
        put!(page, 4, "Sent: {}", c.pri_zero_sent);
    }
    page.0
}

fn yes(on: bool) -> &'static str {
    if on { "yes" } else { "no" }
}
fn truth(on: bool) -> &'static str {
    if on { "true" } else { "false" }
}
fn enabled(on: bool) -> &'static str {
    if on { "enabled" } else { "disabled" }
}

fn statics(page: &mut Page, spec: &Spec, snapshot: &Snapshot) {
    let s = &spec.statics;
    if !s.addresses.is_empty() {
        put!(page, 0, "------< Static Addresses >------");
        for item in &s.addresses {
            put!(page, 5, "{}", describe::address(item, "(null)", snapshot.has(item.address)));
        }
    }
    if !s.routes.is_empty() {
        put!(page, 0, "------< Static Routes >------");
        for item in &s.routes {
            put!(page, 5, "{}", describe::route(item));
        }
    }
    if !s.rules.is_empty() {
        put!(page, 0, "------< Static Rules >------");
        for item in &s.rules {
            put!(page, 5, "{}", describe::rule(item));
        }
    }
    if !s.groups.is_empty() {
        put!(page, 0, "------< Static Track groups >------");
        for (name, members) in &s.groups {
            put!(page, 1, "Static Track Group = {name}");
            put!(page, 3, "VRRP member instances :");
            for member in members {
                put!(page, 5, "{}", spec.instances.get(member.index()).map_or("?", |i| &i.name));
            }
        }
    }
}

fn group(page: &mut Page, spec: &Spec, now: &Snapshot, one: &GroupSpec, view: &GroupView) {
    put!(page, 1, "VRRP Sync Group = {}, {}", one.name, view.state);
    let member = |id: &InstanceId| now.instances.get(id.index()).map(Arc::as_ref);
    let members: Vec<&InstanceView> = one.members.iter().filter_map(member).collect();
    let own = |f: &Fault| !matches!(f, Fault::Group(_) | Fault::Pending(_));
    let faulty = members.iter().filter(|m| m.faults.iter().any(own)).count();
    let init = members.iter().filter(|m| m.faults.iter().any(|f| matches!(f, Fault::Pending(_)))).count();
    put!(page, 3, "Num member fault {faulty}, num member init {init}");
    put!(page, 3, "VRRP member instances :");
    for member in &members {
        put!(page, 5, "{}", member.name);
    }
    if one.tracking_weight {
        put!(page, 3, "sync group tracking weight set");
    }
    put!(page, 3, "Using smtp notification = {}", yes(one.notify.mail));
    let ours: Vec<Tie> = one.ties.iter().map(|tie| Tie { from_group: false, ..tie.clone() }).collect();
    ties(page, spec, &ours);
    programs(page, &one.notify);
}

/// Instances tied to a tracker, each with its weight.
fn tied(spec: &Spec, on: impl Fn(&TieTarget) -> bool) -> Vec<String> {
    let mut out = Vec::new();
    for instance in &spec.instances {
        for tie in instance.ties.iter().filter(|tie| on(&tie.on)) {
            out.push(format!("{}, weight {}{}", instance.name, tie.weight, if tie.reverse { " reverse" } else { "" }));
        }
    }
    out
}

fn seconds(interval: Interval) -> String {
    match interval.as_micros() % 1_000_000 {
        0 => format!("{} sec", interval.as_secs()),
        part => format!("{}.{:03} sec", interval.as_secs(), part / 1_000),
    }
}

fn script(page: &mut Page, one: &ScriptSpec, view: Option<&ScriptView>, tied: &[String]) {
    let reverse = if one.reverse { " reverse" } else { "" };
    put!(page, 1, "VRRP Script = {}", one.name);
    put!(page, 3, "Command = {}", describe::command(&one.run));
    put!(page, 3, "Interval = {}", seconds(one.interval));
    put!(page, 3, "Timeout = {}", seconds(one.timeout));
    put!(page, 3, "Weight = {}{reverse}", one.weight);
    put!(page, 3, "Rise = {}", one.rise);
    put!(page, 3, "Fall = {}", one.fall);
    let result = view.map_or(0, |view| view.result);
    put!(page, 3, "Result = {result}");
    put!(page, 3, "Insecure = {}", yes(one.insecure));
    let reported = view.and_then(|view| view.good).is_some();
    put!(
        page,
        3,
        "Init state = {}",
        match (reported, one.init_fail) {
            (true, _) => "unknown",
            (false, true) => "INIT/FAILED",
            (false, false) => "INIT",
        }
    );
    put!(page, 3, "Status = {}", if result >= one.rise { "GOOD" } else { "BAD" });
    put!(page, 3, "Script uid:gid = {}:{}", one.run.uid, one.run.gid);
    put!(page, 3, "VRRP instances :");
    if !tied.is_empty() {
        put!(page, 3, "Tracking instances :");
    }
    for line in tied {
        put!(page, 5, "{line}");
    }
    put!(page, 3, "State = {}", if view.is_some_and(|view| view.running) { "running" } else { "idle" });
}

fn trackers(page: &mut Page, spec: &Spec, now: &Snapshot) {
    let view = |kind: &str, name: &str| now.trackers.iter().find(|v: &&TrackerView| v.kind == kind && *v.name == *name);
    if !spec.files.is_empty() {
        put!(page, 0, "------< VRRP Track files >------");
    }
    for (index, one) in spec.files.iter().enumerate() {
        put!(page, 1, "Track file = {}", one.name);
        put!(page, 3, "File = {}", one.path);
        put!(page, 3, "Status = {}", view("file", &one.name).and_then(|v| v.value).unwrap_or(0));
        put!(page, 3, "Weight = {}{}", one.weight, if one.reverse { " reverse" } else { "" });
        put!(page, 3, "Tracking instances :");
        for line in tied(spec, |on| matches!(on, TieTarget::File(id) if id.index() == index)) {
            put!(page, 5, "{line}");
        }
    }
    if !spec.processes.is_empty() {
        put!(page, 0, "------< VRRP Track processes >------");
    }
    for (index, one) in spec.processes.iter().enumerate() {
        let lines = tied(spec, |on| matches!(on, TieTarget::Process(id) if id.index() == index));
        process(page, one, view("process", &one.name), &lines);
    }
    if !spec.bfds.is_empty() {
        put!(page, 0, "------< VRRP Track BFDs >------");
    }
    for (index, one) in spec.bfds.iter().enumerate() {
        put!(page, 1, "VRRP Track BFD = {}", one.name);
        put!(page, 3, "Weight = {}{}", one.weight, if one.reverse { " reverse" } else { "" });
        let up = view("bfd", &one.name).and_then(|v| v.good).unwrap_or(false);
        put!(page, 3, "Bfd is {}", if up { "up" } else { "down" });
        put!(page, 3, "Tracking VRRP instances :");
        for line in tied(spec, |on| matches!(on, TieTarget::Bfd(id) if id.index() == index)) {
            put!(page, 5, "{line}");
        }
    }
}

fn process(page: &mut Page, one: &ProcessSpec, view: Option<&TrackerView>, tied: &[String]) {
    put!(page, 1, "VRRP Track process = {}", one.name);
    put!(page, 3, "Process = {}", one.process);
    if !one.params.is_empty() {
        put!(page, 3, "Parameters = {}", one.params.join(" "));
    }
    match one.param_match {
        ParamMatch::None => {}
        ParamMatch::Exact => put!(page, 3, "Param match"),
        ParamMatch::Partial => put!(page, 3, "Param match = partial"),
        ParamMatch::Initial => put!(page, 3, "Param match = initial"),
    }
    put!(page, 3, "Min processes = {}", one.quorum);
    if let Some(most) = one.quorum_max {
        put!(page, 3, "Max processes = {most}");
    }
    put!(page, 3, "Current processes = {}", view.and_then(|v| v.value).unwrap_or(0));
    put!(page, 3, "Have quorum = {}", truth(view.and_then(|v| v.good).unwrap_or(false)));
    put!(page, 3, "Weight = {}{}", one.weight, if one.reverse { " reverse" } else { "" });
    put!(page, 3, "Terminate delay = {:.6}s", one.terminate_delay.as_secs_f64());
    put!(page, 3, "Fork delay = {:.6}s", one.fork_delay.as_secs_f64());
    put!(page, 3, "Full command = {}", truth(one.full_command));
    put!(page, 3, "Tracking instances :");
    for line in tied {
        put!(page, 5, "{line}");
    }
}
