//! `keepalived_check.data`: what keepalived's checker process writes of virtual servers and real servers; their checks
//! stand in [`super::checker`].
//!
//! Labels, indents and order are those of 2.4.3. What is nowhere known here (which entry came with the last reload, how
//! often a pattern is referred to) stands as it is in a process that never reloaded, or is left out.

use super::checker::{self, Clock};
use super::{Page, put, yes};
use crate::balance::io::ServerInfo;
use crate::balance::snapshot::{ServerView, ServiceView, Snapshot};
use crate::observe::describe;
use crate::spec::balance::{
    CheckerKind, Defaults, Endpoint, Forwarding, Granularity, GroupEntry, LvsSpec, Method, Protocol, RealServer,
    ServerGroup, Target, TlsFiles, TunnelChecksum, TunnelKind, VirtualServer,
};
use crate::spec::{MASK, Run, Spec};
use crate::time::Interval;
use crate::wire::Family;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Everything behind the global definitions.
pub(super) fn topology<F: Fn(u64) -> String>(page: &mut Page, spec: &Spec, snapshot: &Snapshot, clock: &Clock<F>) {
    let lvs = &snapshot.spec;
    if let Some(tls) = tls(lvs) {
        put!(page, 0, "------< SSL definitions >------");
        tls_files(page, tls);
    }
    let services = || snapshot.services.iter().zip(&lvs.services);
    if !lvs.services.is_empty() {
        put!(page, 0, "------< LVS Topology >------");
        put!(page, 1, "System is compiled with LVS v1.2.1");
        for group in &lvs.groups {
            self::group(page, group, &lvs.services);
        }
        for (view, own) in services() {
            service(page, view, own);
            for (server, real) in view.servers.iter().zip(&own.servers) {
                real_server(page, server, real);
            }
        }
    }
    checker::all(page, snapshot, clock);
    files(page, spec, snapshot);
    sessions(page, snapshot);
}

/// The files of the block, or none of them where a check of SSL_GET needs a context all the same.
fn tls(lvs: &LvsSpec) -> Option<TlsFiles> {
    let mut checkers = lvs.services.iter().flat_map(|own| &own.servers).flat_map(|server| &server.checkers);
    let needed = checkers.any(|checker| matches!(&checker.kind, CheckerKind::Http(http) if http.tls));
    lvs.tls.clone().or_else(|| needed.then(TlsFiles::default))
}

/// The password is not written, unlike keepalived's.
fn tls_files(page: &mut Page, tls: TlsFiles) {
    if tls == TlsFiles::default() {
        put!(page, 1, "Using autogen SSL context");
    }
    if tls.password.is_some() {
        put!(page, 1, "Password : {MASK}");
    }
    for (label, file) in [("CA-file", tls.authorities), ("Certificate file", tls.certificate), ("Key file", tls.key)] {
        if let Some(file) = file {
            put!(page, 1, "{label} : {file}");
        }
    }
}

fn group(page: &mut Page, group: &ServerGroup, services: &[VirtualServer]) {
    let (v4, v6, _) = group.families();
    put!(page, 1, "------< Virtual server group >------");
    put!(page, 1, "Virtual Server Group = {}, IPv4 = {}, IPv6 = {}", group.name, yes(v4), yes(v6));
    let mine: Vec<&VirtualServer> = services.iter().filter(|own| own.target.is_group(&group.name)).collect();
    let is_mark = |entry: &&GroupEntry| matches!(entry, GroupEntry::Mark { .. });
    let marks = group.entries.iter().filter(is_mark);
    for entry in group.entries.iter().filter(|entry| !is_mark(entry)).chain(marks) {
        match entry {
            GroupEntry::Range { first, last, port } => {
                let port = port.unwrap_or(0);
                match first == last {
                    true => put!(page, 3, "VIP = {first}, VPORT = {port}"),
                    false => put!(page, 3, "VIP Range = {first}-{last}, VPORT = {port}"),
                }
                let of = |protocol| mine.iter().filter(|own| own.protocol.unwrap_or(Protocol::Udp) == protocol).count();
                let (tcp, udp, sctp) = (of(Protocol::Tcp), of(Protocol::Udp), of(Protocol::Sctp));
                put!(page, 5, "Alive: {tcp} tcp, {udp} udp, {sctp} sctp");
            }
            GroupEntry::Mark { mark, family } => {
                let word = match family {
                    Some(Family::V4) => " IPv4",
                    Some(Family::V6) => " IPv6",
                    None => "",
                };
                put!(page, 3, "FWMARK = {mark}{word}");
                let of = |wanted: Family| {
                    mine.iter().filter(|own| family.or(own.family).unwrap_or(Family::V4) == wanted).count()
                };
                put!(page, 5, "Alive: {} IPv4, {} IPv6", of(Family::V4), of(Family::V6));
            }
        }
        put!(page, 5, "reloaded = False");
    }
}

pub(super) fn on(on: bool) -> &'static str {
    if on { "ON" } else { "OFF" }
}
fn abled(on: bool) -> &'static str {
    if on { "enabled" } else { "disabled" }
}
pub(super) fn seconds(interval: Interval) -> String {
    format!("{}.{:06}", interval.as_secs(), interval.as_micros() % 1_000_000)
}

fn forwarding(page: &mut Page, prefix: &str, how: Forwarding) {
    let checksum = match how.checksum {
        TunnelChecksum::None => ", no checksum",
        TunnelChecksum::Checksum => ", checksum",
        TunnelChecksum::Remote => ", remote checksum",
    };
    let text = match (how.method, how.tunnel) {
        (Method::Nat, _) => "NAT".to_owned(),
        (Method::Direct, _) => "DR".to_owned(),
        (Method::Tunnel, TunnelKind::Ipip) => "TUN, type = IPIP".to_owned(),
        (Method::Tunnel, TunnelKind::Gue(port)) => format!("TUN, type = GUE, port = {port}{checksum}"),
        (Method::Tunnel, TunnelKind::Gre) => format!("TUN, type = GRE{checksum}"),
    };
    put!(page, 3, "{prefix}forwarding method = {text}");
}

fn retries(page: &mut Page, defaults: &Defaults) {
    if let Some(retry) = defaults.retry {
        put!(page, 3, "Retry count = {retry}");
    }
    if let Some(pause) = defaults.delay_before_retry {
        put!(page, 3, "Retry delay = {}", seconds(pause));
    }
    if let Some(warmup) = defaults.warmup {
        put!(page, 3, "Warmup = {}", seconds(warmup));
    }
}

fn script(page: &mut Page, what: &str, run: Option<&Run>) {
    if let Some(run) = run {
        put!(page, 3, "{what} notify script = {}, uid:gid {}:{}", describe::command(run), run.uid, run.gid);
    }
}

fn service(page: &mut Page, view: &ServiceView, own: &VirtualServer) {
    put!(page, 1, "------< Virtual server >------");
    match &own.target {
        Target::Group(_) => put!(page, 1, "VS GROUP = {}", view.info.text),
        Target::Mark(mark) => put!(page, 1, "VS FWMARK = {mark}"),
        Target::Address(Endpoint { address, port }) => {
            put!(page, 1, "VS VIP = {address}, VPORT = {}", port.unwrap_or(0));
        }
    }
    let defaults = &own.shown.defaults;
    if let Some(host) = &defaults.virtual_host {
        put!(page, 3, "VirtualHost = {host}");
    }
    if let Some(name) = &own.snmp_name {
        put!(page, 3, "SNMP name = '{name}'");
    }
    let family = match own.family {
        Some(Family::V4) => "inet",
        Some(Family::V6) => "inet6",
        None => "IPv4 & IPv6",
    };
    put!(page, 3, "Address family = {family}");
    put!(page, 3, "connection timeout = {}", seconds(defaults.connect_timeout));
    put!(page, 3, "delay_loop = {}", seconds(defaults.delay_loop));
    put!(page, 3, "lvs_sched = {}", own.scheduler);
    scheduling(page, own);
    put!(page, 3, "alpha is {}", on(own.shown.alpha));
    put!(page, 3, "omega is {}", on(own.omega));
    retries(page, defaults);
    put!(page, 3, "Inhibit on failure is {}", on(own.shown.inhibit));
    put!(page, 3, "quorum = {}, hysteresis = {}", own.quorum, own.hysteresis);
    script(page, "Quorum up", own.quorum_up.as_ref());
    script(page, "Quorum down", own.quorum_down.as_ref());
    if own.ha_suspend {
        put!(page, 3, "Using HA suspend");
    }
    put!(page, 3, "Using smtp notification = {}", yes(own.mail));
    forwarding(page, "default ", own.forwarding);
    if let (Some(sorry), Some(info)) = (&own.sorry, &view.info.sorry) {
        let twin = own.servers.iter().any(|server| server.endpoint == sorry.endpoint);
        put!(page, 3, "sorry server {}= {}", if twin { "(duplicates rs) " } else { "" }, info.text);
        forwarding(page, "  ", sorry.forwarding);
        let serves = view.sorry.is_some();
        put!(page, 5, "Inhibit on failure is {}", on(sorry.inhibit));
        put!(page, 5, "set = {}", u8::from(serves || sorry.inhibit));
        put!(page, 5, "alive = {}", u8::from(serves));
    }
    put!(page, 3, "VS alive = {}", u8::from(view.refused.len() < view.keys.len()));
    put!(page, 3, "quorum_state_up = {}", u8::from(view.quorum));
    put!(page, 3, "reloaded = 0");
}

fn scheduling(page: &mut Page, own: &VirtualServer) {
    let [first, second, third] = own.flags.flags;
    put!(page, 3, "Hashed = disabled");
    match own.scheduler {
        name @ ("sh" | "mh") => {
            put!(page, 3, "{name}-port = {}", abled(second));
            put!(page, 3, "{name}-fallback = {}", abled(first));
        }
        _ => {
            for (flag, set) in (1..).zip([first, second, third]) {
                put!(page, 3, "flag-{flag} = {}", abled(set));
            }
        }
    }
    put!(page, 3, "One packet scheduling = {}", abled(own.flags.one_packet));
    if let Some(persistence) = &own.persistence {
        put!(page, 3, "persistence timeout = {}", persistence.timeout);
        match persistence.granularity {
            Granularity::Mask(mask) => put!(page, 3, "persistence granularity = {}", Ipv4Addr::from(mask)),
            Granularity::Prefix(prefix) => put!(page, 3, "persistence granularity = {prefix}"),
            Granularity::Host => {}
        }
    }
    let protocol = match own.protocol {
        Some(Protocol::Tcp) => "TCP",
        Some(Protocol::Udp) => "UDP",
        Some(Protocol::Sctp) => "SCTP",
        None => "none",
    };
    put!(page, 3, "protocol = {protocol}");
}

fn real_server(page: &mut Page, view: &ServerView, own: &RealServer) {
    let Endpoint { address, port } = own.endpoint;
    put!(page, 3, "------< Real server >------");
    let port = port.unwrap_or(0);
    put!(page, 3, "RIP = {address}, RPORT = {port}, WEIGHT = {} EFF WEIGHT = {}", own.weight, view.weight);
    forwarding(page, "", own.forwarding);
    put!(page, 3, "Alpha is {}", on(own.alpha));
    put!(page, 3, "connection timeout = {}", seconds(own.shown.connect_timeout));
    put!(page, 3, "connection limit range = {} -> {}", own.lower_threshold, own.upper_threshold);
    put!(page, 3, "Delay loop = {}", seconds(own.shown.delay_loop));
    retries(page, &own.shown);
    put!(page, 3, "Inhibit on failure is {}", on(own.inhibit));
    script(page, "RS up", own.notify_up.as_ref());
    script(page, "RS down", own.notify_down.as_ref());
    if let Some(host) = &own.shown.virtual_host {
        put!(page, 4, "VirtualHost = '{host}'");
    }
    if let Some(name) = &own.snmp_name {
        put!(page, 3, "SNMP name = {name}");
    }
    put!(page, 3, "Using smtp notification = {}", yes(own.mail));
    put!(page, 3, "initial weight = {}", own.weight);
    put!(page, 3, "effective weight = {}", view.weight);
    put!(page, 3, "alive = {}", u8::from(view.up));
    put!(page, 3, "num failed checkers = {}", view.failed);
    put!(page, 3, "RS set = {}", u8::from(view.present));
    put!(page, 3, "reloaded = 0");
    let files = own.checkers.iter().filter_map(|checker| match &checker.kind {
        CheckerKind::File { file, weight, reverse } => Some(format!("{file}, {}", file_weight(*weight, *reverse))),
        _ => None,
    });
    list(page, "Tracked Files", files);
    let sessions = own.checkers.iter().filter_map(|checker| match &checker.kind {
        CheckerKind::Bfd { session } => Some(session.to_string()),
        _ => None,
    });
    list(page, "Tracked BFDs", sessions);
}

fn list(page: &mut Page, label: &str, items: impl Iterator<Item = String>) {
    for (number, item) in items.enumerate() {
        if number == 0 {
            put!(page, 3, "{label}");
        }
        put!(page, 5, "{item}");
    }
}

fn file_weight(weight: Option<i32>, reverse: bool) -> String {
    format!("weight {}{}", weight.unwrap_or(1), if reverse { " reverse" } else { "" })
}

/// `[10.0.0.1]:tcp:80 -> [10.1.0.2]:tcp:8080`
pub(super) fn pair(server: &ServerInfo) -> String {
    format!("{} -> {}", server.service.text, server.text)
}

fn files(page: &mut Page, spec: &Spec, snapshot: &Snapshot) {
    let mut tied: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let servers = snapshot.services.iter().flat_map(|service| &service.servers);
    for (server, check) in servers.flat_map(|server| server.checks.iter().map(move |check| (server, check))) {
        if let CheckerKind::File { file, weight, reverse } = &check.checker.kind {
            let line = format!("{}, {}", pair(&server.info), file_weight(*weight, *reverse));
            tied.entry(file).or_default().push(line);
        }
    }
    let mut first = true;
    for file in &spec.files {
        let Some(lines) = tied.remove(&*file.name) else { continue };
        if std::mem::take(&mut first) {
            put!(page, 0, "------< Checker track files >------");
        }
        put!(page, 1, "Track file = {}", file.name);
        put!(page, 3, "File = {}", file.path);
        put!(page, 3, "Status = {}", snapshot.files.get(&file.name).copied().unwrap_or(0));
        put!(page, 3, "Weight = {}{}", file.weight, if file.reverse { " reverse" } else { "" });
        put!(page, 3, "Tracking instances :");
        for line in lines {
            put!(page, 5, "{line}");
        }
    }
}

fn sessions(page: &mut Page, snapshot: &Snapshot) {
    let mut names: Vec<(&str, Vec<&str>)> = Vec::new();
    let servers = snapshot.services.iter().flat_map(|service| &service.servers);
    for (server, check) in servers.flat_map(|server| server.checks.iter().map(move |check| (server, check))) {
        let CheckerKind::Bfd { session } = &check.checker.kind else { continue };
        match names.iter_mut().find(|(name, _)| **name == **session) {
            Some((_, tied)) => tied.push(&server.info.text),
            None => names.push((session, vec![&server.info.text])),
        }
    }
    if !names.is_empty() {
        put!(page, 0, "------< Checker track BFDs >------");
    }
    for (name, tied) in names {
        put!(page, 1, "Checker Track BFD = {name}");
        put!(page, 3, "Tracking RS :");
        for server in tied {
            put!(page, 3, "{server}");
        }
    }
}
