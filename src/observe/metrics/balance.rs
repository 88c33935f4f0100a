//! Families of virtual servers and their real servers; only where virtual servers are configured.

use super::page::{Labels, Page};
use crate::balance::io::{DestinationTraffic, Stats, Traffic};
use crate::balance::snapshot::{Made, ServerView, ServiceView, Snapshot};
use crate::time::Interval;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

pub(super) fn families(page: &mut Page, snapshot: &Snapshot, traffic: Option<&Traffic>) {
    let services = services(snapshot);
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(&ServiceView) -> Box<dyn Display>| {
        page.gauge(name, help);
        for (view, labels) in &services {
            page.sample(labels, value(view));
        }
    };
    gauge("vipd_virtual_server_quorum_met", "1 while enough real servers of the virtual server are up.", &|view| {
        Box::new(u8::from(view.quorum))
    });
    gauge("vipd_virtual_server_weight", "What the real servers that count weigh together.", &|view| {
        Box::new(view.weight)
    });
    gauge("vipd_virtual_server_sorry", "1 while the sorry server serves in place of the real servers.", &|view| {
        Box::new(u8::from(view.sorry.is_some()))
    });
    gauge("vipd_virtual_server_real_servers", "How many real servers the virtual server has.", &|view| {
        Box::new(view.servers.len())
    });
    gauge("vipd_virtual_server_real_servers_up", "How many of them count.", &|view| {
        Box::new(view.servers.iter().filter(|server| server.up).count())
    });
    gauge("vipd_virtual_server_refused", "How many of its services the kernel refuses.", &|view| {
        Box::new(view.refused.len())
    });
    if let Some(traffic) = traffic {
        let seen: Vec<(Stats, &Labels)> =
            services.iter().filter_map(|(view, labels)| Some((traffic.service(&view.keys)?, labels))).collect();
        counters(page, "vipd_virtual_server", "virtual server", &seen);
    }
    let servers = servers(&services);
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(&ServerView) -> Box<dyn Display>| {
        page.gauge(name, help);
        for (view, labels) in &servers {
            page.sample(labels, value(view));
        }
    };
    gauge("vipd_real_server_up", "1 while the checks of the real server are good and the kernel takes it.", &|view| {
        Box::new(u8::from(view.up))
    });
    gauge(
        "vipd_real_server_weight",
        "Weight of the real server: the configured one, or what an operator set, and what its checks add.",
        &|view| Box::new(view.weight),
    );
    gauge(
        "vipd_real_server_drained",
        "1 while an operator keeps new connections from the real server (vipctl drain-server).",
        &|view| Box::new(u8::from(view.drained)),
    );
    gauge("vipd_real_server_failed_checks", "How many checks of the real server are bad.", &|view| {
        Box::new(view.failed)
    });
    checks(page, &servers);
    if let Some(traffic) = traffic {
        connections(page, snapshot, &servers, traffic);
    }
}

/// The end of a family's name, what it says, and how it is read off.
type Column<T, N> = (&'static str, &'static str, fn(&T) -> N);

/// What the kernel counts of a service or a destination.
fn counters(page: &mut Page, prefix: &str, what: &str, seen: &[(Stats, &Labels)]) {
    let all: [Column<Stats, u64>; 5] = [
        ("connections", "Connections", |of| of.connections),
        ("packets_in", "Packets from clients", |of| of.packets_in),
        ("packets_out", "Packets to clients", |of| of.packets_out),
        ("bytes_in", "Bytes from clients", |of| of.bytes_in),
        ("bytes_out", "Bytes to clients", |of| of.bytes_out),
    ];
    for (name, words, of) in all {
        page.counter(&format!("{prefix}_{name}_total"), &format!("{words} through the {what}, as the kernel counts."));
        for (stats, labels) in seen {
            page.sample(labels, of(stats));
        }
    }
    page.gauge(
        &format!("{prefix}_connection_rate"),
        &format!("New connections a second of the {what}, as the kernel reckons over some seconds."),
    );
    for (stats, labels) in seen {
        page.sample(labels, stats.connection_rate);
    }
}

/// Attempts by kind and result, and how long the last one took.
fn checks(page: &mut Page, servers: &[(&ServerView, Labels)]) {
    let mut kinds: Vec<(&Labels, &'static str, Made, Option<Interval>)> = Vec::new();
    for (view, labels) in servers {
        let mut of: BTreeMap<&'static str, (Made, Option<Interval>)> = BTreeMap::new();
        for check in view.checks.iter().filter(|check| check.shared > 0) {
            let (made, took) = of.entry(check.checker.kind.keyword()).or_default();
            made.good += check.made.good;
            made.bad += check.made.bad;
            made.not_made += check.made.not_made;
            *took = (*took).max(check.last.as_ref().map(|(_, _, took, _)| *took));
        }
        kinds.extend(of.into_iter().map(|(kind, (made, took))| (labels, kind, made, took)));
    }
    page.counter("vipd_real_server_checks_total", "Checks of the real server by kind and result.");
    for (labels, kind, made, _) in &kinds {
        for (result, count) in [("good", made.good), ("bad", made.bad), ("not_made", made.not_made)] {
            page.sample(&labels.and(&[("check", kind), ("result", &result)]), count);
        }
    }
    page.gauge("vipd_real_server_check_seconds", "How long the last check of the real server took, by kind.");
    for (labels, kind, _, took) in &kinds {
        if let Some(took) = took {
            page.sample(&labels.and(&[("check", kind)]), took.as_secs_f64());
        }
    }
}

/// What the kernel says of each server that it has.
fn connections(page: &mut Page, snapshot: &Snapshot, servers: &[(&ServerView, Labels)], traffic: &Traffic) {
    let mut forwardings = BTreeMap::new();
    for (view, own) in snapshot.services.iter().zip(&snapshot.spec.services) {
        for (server, real) in view.servers.iter().zip(&own.servers) {
            let name = (&view.info.text, &server.info.text);
            forwardings.entry(name).or_insert((&view.keys, real.forwarding));
        }
    }
    let seen: Vec<(DestinationTraffic, &Labels)> = servers
        .iter()
        .filter_map(|(view, labels)| {
            let (keys, forwarding) = forwardings.get(&(&view.info.service.text, &view.info.text))?;
            Some((traffic.server(keys, view.info.endpoint, *forwarding)?, labels))
        })
        .collect();
    let gauges: [Column<DestinationTraffic, u32>; 4] = [
        ("kernel_weight", "Weight of the real server in the kernel's table.", |of| of.weight),
        ("active_connections", "Open connections to the real server.", |of| of.active),
        ("inactive_connections", "Closed connections to the real server that the kernel still knows.", |of| {
            of.inactive
        }),
        ("persistent_connections", "Clients that come back to the real server.", |of| of.persistent),
    ];
    for (name, help, of) in gauges {
        page.gauge(&format!("vipd_real_server_{name}"), help);
        for (traffic, labels) in &seen {
            page.sample(labels, of(traffic));
        }
    }
    let stats: Vec<(Stats, &Labels)> = seen.iter().map(|(traffic, labels)| (traffic.stats, *labels)).collect();
    counters(page, "vipd_real_server", "real server", &stats);
}

/// Each once: two samples with the same labels would spoil the page.
fn services(snapshot: &Snapshot) -> Vec<(&ServiceView, Labels)> {
    let mut known = BTreeSet::new();
    let once = snapshot.services.iter().filter(|view| known.insert((&view.info.text, view.info.protocol)));
    let labels =
        |view: &ServiceView| Labels::new(&[("virtual_server", &view.info.text), ("protocol", &view.info.protocol)]);
    once.map(|view| (view, labels(view))).collect()
}

fn servers<'a>(services: &[(&'a ServiceView, Labels)]) -> Vec<(&'a ServerView, Labels)> {
    let mut found = Vec::new();
    for (service, labels) in services {
        let mut known = BTreeSet::new();
        for view in service.servers.iter().filter(|view| known.insert(&view.info.text)) {
            found.push((view, labels.and(&[("real_server", &view.info.text)])));
        }
    }
    found
}
