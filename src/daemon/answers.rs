//! Answers to questions over the control socket, made from a [`Snapshot`]: nothing here asks the engine.

use super::dumps;
use super::options::Options;
use super::reading;
use crate::bfd;
use crate::daemon::doors::socket::{DumpKind, Reply, Request, SCHEMA};
use crate::daemon::loops::checker::Picture;
use crate::daemon::loops::vrrp::Punctuality;
use crate::observe::tally::Tally;
use crate::observe::{self, metrics, words};
use crate::spec::{InstanceId, Spec};
use crate::vrrp::snapshot::Snapshot;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What answers look at beside the snapshot.
#[derive(Clone, Debug)]
pub struct View {
    pub spec: Arc<Spec>,
    pub options: Arc<Options>,
    pub punctuality: Arc<Punctuality>,
    pub bfd_punctuality: Arc<Punctuality>,
    pub tally: Tally,
}

pub(crate) fn hello(options: &Options) -> Reply {
    Reply::Hello {
        name: env!("CARGO_PKG_NAME").into(),
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        config: options.config.clone(),
    }
}

/// What a status says beside the engine's snapshot.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// (interface, address) of everything that is on this machine; `None` if that could not be asked.
    pub present: Option<Vec<(String, IpAddr)>>,
    /// How the last reload ended.
    pub reload: Option<LastReload>,
    /// BFD sessions.
    pub bfd: Option<Box<bfd::snapshot::Snapshot>>,
    /// Virtual servers; only metrics ask for them.
    pub services: Option<Box<Picture>>,
    /// Instances whose drain outlives the process.
    pub drains_kept: Vec<String>,
}

/// How a reload ended.
#[derive(Clone, PartialEq, Debug, serde::Serialize)]
pub struct LastReload {
    pub unix_micros: u64,
    pub accepted: bool,
    /// What changed, or why it was refused.
    pub message: String,
}

pub(crate) fn status(view: &View, snapshot: &Snapshot, around: &Surroundings) -> Reply {
    let mut status = serde_json::to_value(snapshot).unwrap_or_default();
    if let Some(fields) = status.as_object_mut() {
        fields.insert("schema".into(), SCHEMA.into());
        // Of `now` and of every other point in time that is not called unix_micros.
        fields.insert("clock".into(), json!({ "name": "CLOCK_MONOTONIC", "unit": "microseconds" }));
        fields.insert("config_id".into(), reading::config_id(&view.options).into());
        fields.insert("router_id".into(), view.spec.daemon.router_id.to_string().into());
        fields.insert("pid".into(), std::process::id().into());
        fields.insert("late_us_max".into(), view.punctuality.latest_us.load(Ordering::Relaxed).into());
        fields.insert("bfd".into(), sessions_json(around.bfd.as_deref()));
        fields.insert("drains_kept".into(), around.drains_kept.clone().into());
        fields.insert("reload".into(), serde_json::to_value(&around.reload).unwrap_or_default());
        let counts = view.tally.read();
        let running: Vec<_> = counts.underway.values().collect();
        let full = counts.full_fifos.iter().map(|(path, lost)| json!({ "path": path, "lost": lost }));
        let full: Vec<Value> = full.collect();
        fields.insert("notify".into(), json!({ "running": running, "waiting": counts.waiting, "full_fifos": full }));
    }
    let rows = status.get_mut("instances").and_then(|list| list.as_array_mut()).into_iter().flatten();
    let here = around.present.as_ref().map(|present| {
        present.iter().fold(HashMap::<IpAddr, Vec<&str>>::new(), |mut map, (name, address)| {
            map.entry(*address).or_default().push(name);
            map
        })
    });
    let name = |id: InstanceId| view.spec.instances.get(id.index()).map_or("?".to_owned(), |i| i.name.to_string());
    for ((row, instance), of) in rows.zip(&snapshot.instances).zip(&view.spec.instances) {
        let Some(fields) = row.as_object_mut() else { continue };
        let link = instance.link.as_deref().or(instance.interface.as_deref()).unwrap_or_default();
        let addresses: Vec<Value> = of
            .claim
            .addresses
            .iter()
            .map(|item| {
                let interface = item.interface.as_ref().map_or(link, |name| name.as_str());
                let on = here.as_ref().map(|here| here.get(&item.address).cloned().unwrap_or_default());
                json!({ "address": item.address, "prefix": item.prefix, "interface": interface, "on": on })
            })
            .collect();
        fields.insert("addresses".into(), addresses.into());
        let faults: Vec<String> = instance.faults.iter().map(words::fault).collect();
        fields.insert("words".into(), json!({ "why": words::cause(&instance.why, name), "faults": faults }));
    }
    Reply::Status { status }
}

/// The answer to a request that needs the state of the engine.
pub fn to(request: &Request, view: &View, snapshot: &Snapshot, around: &Surroundings) -> Reply {
    match request {
        Request::Dump { what } => {
            let kind = match what {
                DumpKind::Data => dumps::Kind::Data,
                DumpKind::Stats => dumps::Kind::Stats,
                DumpKind::Json => dumps::Kind::Json,
            };
            let text = dumps::text(kind, &view.spec, snapshot);
            Reply::Text { text }
        }
        Request::Metrics { format } => Reply::Text { text: metrics_text(view, snapshot, around, *format) },
        _ => status(view, snapshot, around),
    }
}

fn sessions_json(sessions: Option<&bfd::snapshot::Snapshot>) -> Value {
    let Some(sessions) = sessions else { return Value::Null };
    let mut value = serde_json::to_value(sessions).unwrap_or_default();
    let rows = value.get_mut("sessions").and_then(Value::as_array_mut).into_iter().flatten();
    for (row, session) in rows.zip(&sessions.sessions) {
        if let Some(fields) = row.as_object_mut() {
            fields.insert("reason".into(), observe::bfd::reason(session, sessions.now).into());
        }
    }
    value
}

/// `vipctl bfd`.
pub fn sessions(name: Option<&str>, spec: &Spec, snapshot: Option<&bfd::snapshot::Snapshot>) -> Reply {
    let refused = |reason: String| Reply::Refused { reason, diagnostics: None };
    let Some(snapshot) = snapshot else { return refused("no BFD session can be asked".into()) };
    match observe::bfd::text(snapshot, name) {
        Some(text) => Reply::Bfd { text, sessions: sessions_json(Some(snapshot)) },
        None => {
            let name = name.unwrap_or_default();
            let names: Vec<&str> = snapshot.sessions.iter().map(|session| &*session.name).collect();
            refused(match (spec.bfds.iter().any(|bfd| *bfd.name == *name), names.is_empty()) {
                (true, _) => {
                    format!("the BFD session {name} does not run: see the log of the start, or `vipctl check`")
                }
                (false, true) => "no BFD session is configured".into(),
                (false, false) => format!("there is no BFD session {name}; there are {}", names.join(", ")),
            })
        }
    }
}

/// The page of `vipctl metrics` and of the metrics door.
pub fn metrics_text(view: &View, snapshot: &Snapshot, around: &Surroundings, format: metrics::Format) -> String {
    let process = metrics::Process {
        engine: view.punctuality.read(),
        bfd: view.bfd_punctuality.read(),
        log_lines_lost: super::log::lost(),
        counts: view.tally.read(),
        usage: super::usage::now(),
    };
    let sources = metrics::Sources {
        spec: &view.spec,
        snapshot,
        sessions: around.bfd.as_deref(),
        services: around.services.as_deref().map(|picture| &picture.snapshot),
        traffic: around.services.as_deref().and_then(|picture| picture.traffic.as_deref()),
        present: around.present.as_deref(),
        process: &process,
    };
    metrics::text(&sources, view.options.metrics_names, format)
}
