//! Answers to questions over the control socket, made from a [`Snapshot`]: nothing here asks the engine.

use super::dumps;
use super::options::Options;
use super::reading;
use crate::daemon::doors::socket::{DumpKind, Reply, Request};
use crate::daemon::loops::vrrp::Punctuality;
use crate::observe::{explain, metrics};
use crate::spec::Spec;
use crate::vrrp::snapshot::Snapshot;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What answers look at beside the snapshot.
#[derive(Clone, Debug)]
pub struct View {
    pub spec: Arc<Spec>,
    pub options: Arc<Options>,
    pub punctuality: Arc<Punctuality>,
}

pub fn hello(options: &Options) -> Reply {
    Reply::Hello {
        name: env!("CARGO_PKG_NAME").into(),
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        config: options.config.clone(),
    }
}

pub fn status(view: &View, snapshot: &Snapshot) -> Reply {
    let mut status = serde_json::to_value(snapshot).unwrap_or_default();
    if let Some(fields) = status.as_object_mut() {
        fields.insert("config_id".into(), reading::config_id(&view.options).into());
        fields.insert("router_id".into(), view.spec.daemon.router_id.to_string().into());
        fields.insert("pid".into(), std::process::id().into());
        fields.insert("late_us_max".into(), view.punctuality.latest_us.load(Ordering::Relaxed).into());
    }
    Reply::Status { status }
}

/// The answer to a request that needs the state of the engine.
pub fn to(request: &Request, view: &View, snapshot: &Snapshot) -> Reply {
    match request {
        Request::Explain { instance } => match explain::text(&view.spec, snapshot, instance.as_deref()) {
            Some(text) => Reply::Text { text },
            None => Reply::Refused { reason: "there is no such instance".into(), diagnostics: None },
        },
        Request::Dump { what } => {
            let kind = match what {
                DumpKind::Data => dumps::Kind::Data,
                DumpKind::Stats => dumps::Kind::Stats,
                DumpKind::Json => dumps::Kind::Json,
            };
            Reply::Text { text: dumps::text(kind, &view.spec, snapshot) }
        }
        Request::Metrics => Reply::Text { text: metrics_text(view, snapshot) },
        _ => status(view, snapshot),
    }
}

/// OpenMetrics text.
pub fn metrics_text(view: &View, snapshot: &Snapshot) -> String {
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let process = metrics::Process {
        wakes: load(&view.punctuality.wakes),
        late_sum_us: load(&view.punctuality.sum_us),
        late_max_us: load(&view.punctuality.latest_us),
        late_over_1ms: load(&view.punctuality.late_over_1ms),
        log_lines_lost: super::log::lost(),
    };
    metrics::text(&view.spec, snapshot, &process)
}
