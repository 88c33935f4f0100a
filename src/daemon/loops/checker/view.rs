//! The state of virtual servers as `vipctl servers` and programs read it: a JSON value of a snapshot and the kernel's
//! counters.
//!
//! Moments are microseconds since 1970 (`…_unix_micros`), lengths of time microseconds (`…_us`). What is not known is null.

use super::Picture;
use crate::balance::io::{Finding, ServiceKey, Why};
use crate::balance::snapshot::{CheckView, ServerView, ServiceView};
use crate::kernel::clock;
use crate::kernel::ipvs::dump::{Seen, SeenService};
use crate::observe::words;
use crate::spec::balance::Endpoint;
use crate::time::Time;
use serde_json::{Value, json};

/// Everything about all virtual servers.
pub fn json(picture: &Picture) -> Value {
    let wall = clock::wall();
    let unix = |at: Time| {
        wall.unix_micros.saturating_add(at.since(wall.at).as_micros()).saturating_sub(wall.at.since(at).as_micros())
    };
    let services = picture.snapshot.services.iter().map(|one| service(one, picture.table.as_ref(), &unix));
    json!({ "ipvs": picture.table.is_some(), "services": services.collect::<Vec<_>>() })
}

fn service(one: &ServiceView, table: Option<&Seen>, unix: &impl Fn(Time) -> u64) -> Value {
    let seen: Vec<&SeenService> = one.keys.iter().filter_map(|key| table?.services.get(key)).collect();
    let refused =
        |(key, error): &(ServiceKey, i32)| json!({ "service": key.to_string(), "reason": words::errno(*error) });
    json!({
        "name": one.info.text,
        "protocol": one.info.protocol,
        "group": one.info.group,
        "keys": one.keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "quorum_met": one.quorum,
        "quorum": one.info.quorum,
        "hysteresis": one.info.hysteresis,
        "weight": one.weight,
        "since_unix_micros": unix(one.since),
        "sorry_server": one.info.sorry.as_ref().map(|sorry| &sorry.text),
        "sorry_server_serves": one.sorry.is_some(),
        "checked": one.enabled,
        "refused": one.refused.iter().map(refused).collect::<Vec<_>>(),
        "in_kernel": seen.len(),
        "connections": counted(&seen, |of| of.stats.connections),
        "connections_per_second": counted(&seen, |of| of.stats.connection_rate),
        "bytes_in": counted(&seen, |of| of.stats.bytes_in),
        "bytes_out": counted(&seen, |of| of.stats.bytes_out),
        "servers": one.servers.iter().map(|server| self::server(server, &seen, unix)).collect::<Vec<_>>(),
    })
}

fn counted(seen: &[&SeenService], of: impl Fn(&SeenService) -> u64) -> Option<u64> {
    (!seen.is_empty()).then(|| seen.iter().map(|service| of(service)).sum())
}

fn server(one: &ServerView, seen: &[&SeenService], unix: &impl Fn(Time) -> u64) -> Value {
    let Endpoint { address, port } = one.info.endpoint;
    // The kernel knows a server behind DR or a tunnel under the service's port.
    let mine = |service: &&SeenService| {
        let exact = port.and_then(|port| service.destinations.get(&(address, port)));
        let any = || service.destinations.iter().find(|((at, _), _)| *at == address).map(|(_, seen)| seen);
        exact.or_else(any).map(|seen| (seen.active, seen.inactive, seen.destination.weight, seen.stats))
    };
    let found: Vec<_> = seen.iter().filter_map(mine).collect();
    let sum = |of: fn(&(u32, u32, u32, crate::kernel::ipvs::message::Stats)) -> u64| {
        (!found.is_empty()).then(|| found.iter().map(of).sum::<u64>())
    };
    json!({
        "name": one.info.text,
        "address": address,
        "port": port,
        "up": one.up,
        "since_unix_micros": unix(one.since),
        "why": why(&one.why),
        "weight": one.weight,
        "base_weight": one.base,
        "drained": one.drained,
        "set_by_operator": one.weighed,
        "failed_checks": one.failed,
        "refused": one.refused.map(words::errno),
        "inhibit_on_failure": one.info.inhibit,
        "weight_in_kernel": found.first().map(|found| found.2),
        "active_connections": sum(|found| found.0.into()),
        "inactive_connections": sum(|found| found.1.into()),
        "connections": sum(|found| found.3.connections),
        "connections_per_second": sum(|found| found.3.connection_rate),
        "bytes_in": sum(|found| found.3.bytes_in),
        "bytes_out": sum(|found| found.3.bytes_out),
        "checks": one.checks.iter().map(|check| self::check(check, unix)).collect::<Vec<_>>(),
    })
}

/// In words: what the server is in or out for.
fn why(why: &Why) -> String {
    match why {
        Why::Start => "so since the beginning".to_owned(),
        Why::Check(check, None) => format!("{} is good", check.checker.kind.keyword()),
        Why::Check(check, Some(symptom)) => format!("{}: {}", check.checker.kind.keyword(), words::symptom(symptom)),
        Why::Refused(error) => format!("the kernel refused it: {}", words::errno(*error)),
        Why::Accepted => "the kernel takes it again".to_owned(),
        Why::Reload => "by a reload".to_owned(),
    }
}

fn check(one: &CheckView, unix: &impl Fn(Time) -> u64) -> Value {
    let last = one.last.as_ref();
    json!({
        "kind": one.checker.kind.keyword(),
        "up": one.up,
        "ran": one.ran,
        "active": one.enabled,
        "running": one.running,
        "good": last.map(|(finding, ..)| !matches!(finding, Finding::Bad(_) | Finding::NotMade(_))),
        "found": last.map(|(finding, ..)| words::finding(finding)),
        "at_unix_micros": last.map(|(_, at, ..)| unix(*at)),
        "took_us": last.map(|(_, _, took, _)| took.as_micros()),
        "times_in_a_row": last.map(|(.., times)| *times),
        "retries_used": one.retries,
        "next_unix_micros": one.due.map(unix),
        "weight_part": one.part,
        "shared_by": one.shared,
        "failing_url": one.failing,
    })
}
