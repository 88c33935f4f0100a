//! The state of virtual servers as `vipctl servers`, `explain` and programs read it: a JSON value of a snapshot and the
//! kernel's counters.
//!
//! Moments are microseconds since 1970 (`…_unix_micros`), lengths of time microseconds (`…_us`). What is not known is null.

use super::reasons;
use crate::balance::io::{Finding, ServiceKey, Stats, Traffic};
use crate::balance::snapshot::{CheckView, ServerView, ServiceView, Snapshot};
use crate::observe::words;
use crate::spec::balance::RealServer;
use crate::time::Time;
use serde_json::{Value, json};

/// Everything about all virtual servers. `traffic`: `None` where the kernel's table could not be read; `unix_micros`: the
/// snapshot's moment by the wall clock.
pub fn json(snapshot: &Snapshot, traffic: Option<&Traffic>, unix_micros: u64) -> Value {
    let view = View { now: snapshot.now, unix_micros, traffic };
    let services = snapshot.services.iter().zip(&snapshot.spec.services);
    let services: Vec<Value> = services.map(|(one, own)| view.service(one, &own.servers)).collect();
    json!({ "ipvs": traffic.is_some(), "services": services })
}

struct View<'a> {
    now: Time,
    unix_micros: u64,
    traffic: Option<&'a Traffic>,
}

impl View<'_> {
    /// Microseconds since 1970.
    fn unix(&self, at: Time) -> u64 {
        let ahead = self.unix_micros.saturating_add(at.since(self.now).as_micros());
        ahead.saturating_sub(self.now.since(at).as_micros())
    }

    fn service(&self, one: &ServiceView, real: &[RealServer]) -> Value {
        let refused =
            |(key, error): &(ServiceKey, i32)| json!({ "service": key.to_string(), "reason": words::refused(*error) });
        let stats = self.traffic.and_then(|traffic| traffic.service(&one.keys));
        let count = |of: fn(&Stats) -> u64| stats.as_ref().map(of);
        let servers = one.servers.iter().zip(real).map(|(server, real)| self.server(one, server, real));
        json!({
            "name": one.info.text,
            "protocol": one.info.protocol,
            "group": one.info.group,
            "keys": one.keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "quorum_met": one.quorum,
            "quorum": one.info.quorum,
            "hysteresis": one.info.hysteresis,
            "weight": one.weight,
            "since_unix_micros": self.unix(one.since),
            "why": reasons::quorum(&one.info, one.weight, one.quorum),
            "sorry_server": one.info.sorry.as_ref().map(|sorry| &sorry.text),
            "sorry_server_serves": one.sorry.is_some(),
            "checked": one.enabled,
            "refused": one.refused.iter().map(refused).collect::<Vec<_>>(),
            "in_kernel": self.traffic.map_or(0, |traffic| traffic.present(&one.keys)),
            "connections": count(|of| of.connections),
            "connections_per_second": count(|of| of.connection_rate),
            "bytes_in": count(|of| of.bytes_in),
            "bytes_out": count(|of| of.bytes_out),
            "servers": servers.collect::<Vec<_>>(),
        })
    }

    fn server(&self, of: &ServiceView, one: &ServerView, real: &RealServer) -> Value {
        let endpoint = one.info.endpoint;
        let seen = self.traffic.and_then(|traffic| traffic.server(&of.keys, endpoint, real.forwarding));
        let seen = seen.as_ref();
        let terms = reasons::terms(one).into_iter().map(|(amount, of)| json!({ "amount": amount, "of": of }));
        json!({
            "name": one.info.text,
            "address": endpoint.address,
            "port": endpoint.port,
            "up": one.up,
            "since_unix_micros": self.unix(one.since),
            "why": reasons::standing(one),
            "in_table": one.present,
            "back": reasons::back(of, one, self.now),
            "weight": one.weight,
            "weight_terms": terms.collect::<Vec<_>>(),
            "base_weight": one.base,
            "drained": one.drained,
            "set_by_operator": one.weighed,
            "failed_checks": one.failed,
            "refused": one.refused.map(words::refused),
            "inhibit_on_failure": one.info.inhibit,
            "weight_in_kernel": seen.map(|seen| seen.weight),
            "active_connections": seen.map(|seen| seen.active),
            "inactive_connections": seen.map(|seen| seen.inactive),
            "connections": seen.map(|seen| seen.stats.connections),
            "connections_per_second": seen.map(|seen| seen.stats.connection_rate),
            "bytes_in": seen.map(|seen| seen.stats.bytes_in),
            "bytes_out": seen.map(|seen| seen.stats.bytes_out),
            "checks": one.checks.iter().map(|check| self.check(check)).collect::<Vec<_>>(),
        })
    }

    fn check(&self, one: &CheckView) -> Value {
        let last = one.last.as_ref();
        json!({
            "kind": one.checker.kind.keyword(),
            "up": one.up,
            "ran": one.ran,
            "active": one.enabled,
            "running": one.running,
            "good": last.map(|(finding, ..)| !matches!(finding, Finding::Bad(_) | Finding::NotMade(_))),
            "found": last.map(|(finding, ..)| words::finding(finding)),
            "at_unix_micros": last.map(|(_, at, ..)| self.unix(*at)),
            "took_us": last.map(|(_, _, took, _)| took.as_micros()),
            "times_in_a_row": last.map(|(.., times)| *times),
            "retries_used": one.retries,
            "next_unix_micros": one.due.map(|at| self.unix(at)),
            "next": reasons::next(one, self.now),
            "out": reasons::out(one),
            "weight_part": one.part,
            "shared_by": one.shared,
            "failing_url": one.failing,
        })
    }
}
