//! What is said over the control socket: one JSON object a line, a [`Request`] in, [`Reply`]s out.
//!
//! Every request is answered by one line, except [`Request::Watch`], which is answered by a [`Reply::Status`] and then
//! by a [`Reply::Event`] for everything that happens until the client hangs up. The client side lives in [`crate::cli`].

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;

/// What a client asks for. Where an instance may be named, `None` is all.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Who is there. Answered by [`Reply::Hello`].
    Hello,
    /// The whole [`Snapshot`](crate::engine::snapshot::Snapshot). Answered by [`Reply::Status`].
    Status,
    /// A [`Reply::Status`], then a [`Reply::Event`] for everything that happens.
    Watch,
    /// In sentences: the state, why, and what has to happen for it to change. Answered by [`Reply::Text`].
    Explain {
        instance: Option<String>,
    },
    /// Read the configuration again. Answered when it is in force or refused.
    Reload,
    /// Hand over and stay BACKUP while another router lives.
    Drain {
        instance: Option<String>,
    },
    Undrain {
        instance: Option<String>,
    },
    /// Priority 0 once: the best backup takes over, normal election afterwards.
    Failover {
        instance: Option<String>,
    },
    /// Announce every owned address once more.
    Announce {
        instance: Option<String>,
    },
    /// Text that the signals of keepalived write to files. Answered by [`Reply::Text`].
    Dump {
        what: DumpKind,
    },
    /// OpenMetrics text. Answered by [`Reply::Text`].
    Metrics,
    ClearCounters,
    /// Go over to another program file in place, without giving anything up; `None` is the file vipd was started from.
    Upgrade {
        program: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DumpKind {
    /// `keepalived.data`.
    Data,
    /// `keepalived.stats`.
    Stats,
    /// `keepalived.json`.
    Json,
}

/// What the daemon answers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    Hello {
        name: String,
        version: String,
        pid: u32,
        config: PathBuf,
    },
    /// A serialized [`Snapshot`](crate::engine::snapshot::Snapshot): `now`, `unix_micros`, `instances`, `groups`, …
    /// with `config_id` and `router_id` added.
    Status {
        status: Value,
    },
    /// `event` has the fields `kind` (the variant in snake_case), what it is about by name, and `text`, a sentence.
    Event {
        unix_micros: u64,
        event: Value,
    },
    Text {
        text: String,
    },
    /// It has been done; `message` may add something worth a word.
    Done {
        message: String,
    },
    /// It has not been done. `diagnostics`: what is wrong with the configuration, as `-t` would print it.
    Refused {
        reason: String,
        diagnostics: Option<String>,
    },
}

/// Where the daemon listens: /run/vipd/control.sock, with the network namespace and the instance name of the
/// configuration in front (`/run/vipd/NAMESPACE_INSTANCE.control.sock`) where they are set.
pub fn socket_path(namespace: Option<&str>, instance: Option<&str>) -> PathBuf {
    let prefix = match (namespace, instance) {
        (None, None) => return "/run/vipd/control.sock".into(),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (Some(namespace), Some(instance)) => format!("{namespace}_{instance}"),
    };
    format!("/run/vipd/{}.control.sock", prefix.replace('/', "_")).into()
}
