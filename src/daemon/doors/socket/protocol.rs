//! What is said over the control socket: one JSON object a line, a [`Request`] in, [`Reply`]s out.
//!
//! Every request is answered by one line, except [`Request::Watch`], which is answered by a [`Reply::Status`] and then
//! by a [`Reply::Event`] for everything that happens until the client hangs up. The client side lives in [`crate::cli`].

use crate::observe::history::Moment;
use crate::observe::metrics::Format;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Number of the form of every answer and of all JSON that vipctl prints: fields may be added under the same number; one
/// that goes, or means something else, makes it larger. docs/control.md describes it.
pub const SCHEMA: u32 = 1;

/// Why a change is refused between an upgrade's last word and the next program's first: whoever asks again finds that one.
pub const GOING_OVER: &str = "the daemon is going over to another program; ask again";

/// An answer as it goes over the socket.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    pub schema: u32,
    #[serde(flatten)]
    pub reply: &'a Reply,
}

/// What a request needs of whoever makes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Whoever may open the socket may ask.
    Reading,
    /// Only root, and the user that the daemon runs as: what changes something, or shows what only they may read.
    Changing,
}

/// What a client asks for. Where an instance may be named, `None` is all.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Who is there. Answered by [`Reply::Hello`].
    Hello,
    /// The whole [`Snapshot`](crate::vrrp::snapshot::Snapshot). Answered by [`Reply::Status`].
    Status,
    /// A [`Reply::Status`], then a [`Reply::Event`] for everything that happens.
    Watch,
    /// What happened lately, to one instance or group or to all. Answered by [`Reply::History`].
    History {
        instance: Option<String>,
    },
    /// Read the configuration again. Answered when it is in force or refused.
    Reload,
    /// Hand over and stay BACKUP while another router lives; with `keep` also after a restart and a reboot.
    Drain {
        instance: Option<String>,
        #[serde(default)]
        keep: bool,
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
    /// Have the files written that keepalived's signals write.
    Print {
        what: PrintKind,
    },
    /// The page of metrics. Answered by [`Reply::Text`].
    Metrics {
        #[serde(default)]
        format: Format,
    },
    ClearCounters,
    /// Change instances until the next reload, as an SNMP manager may: all of it or nothing. `by`: on whose behalf, for
    /// the log.
    Adjust {
        changes: Vec<Adjustment>,
        by: String,
    },
    /// BFD sessions. Answered by [`Reply::Bfd`].
    Bfd {
        session: Option<String>,
    },
    /// Shut a BFD session down, or allow it again.
    BfdShutdown {
        session: String,
        down: bool,
    },
    /// Every virtual server with its real servers. Answered by [`Reply::Servers`].
    Servers,
    /// An operator's wish about one real server.
    Server {
        /// Name of the virtual server, such as `[10.0.0.10]:tcp:80`; `None` is all that have the real server.
        service: Option<String>,
        address: IpAddr,
        /// `None`: on every port.
        port: Option<u16>,
        wish: ServerWish,
    },
    /// Go over to another program file in place, without giving anything up; `None` is the file vipd was started from.
    Upgrade {
        program: Option<PathBuf>,
    },
}

impl Request {
    /// What it needs.
    pub const fn access(&self) -> Access {
        match self {
            Request::Hello
            | Request::Status
            | Request::Watch
            | Request::History { .. }
            | Request::Dump { what: DumpKind::Stats }
            | Request::Metrics { .. }
            | Request::Bfd { .. }
            | Request::Servers => Access::Reading,
            Request::Reload
            // Command lines are in it, and those may hold a password.
            | Request::Dump { what: DumpKind::Data | DumpKind::Json }
            | Request::Drain { .. }
            | Request::Undrain { .. }
            | Request::Failover { .. }
            | Request::Announce { .. }
            | Request::Print { .. }
            | Request::ClearCounters
            | Request::Adjust { .. }
            | Request::BfdShutdown { .. }
            | Request::Server { .. }
            | Request::Upgrade { .. } => Access::Changing,
        }
    }
}

/// Another value for one instance; `None` leaves what is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Adjustment {
    pub instance: String,
    /// 1..=255.
    pub priority: Option<u8>,
    pub preempt: Option<bool>,
}

/// What is to be done with a real server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum ServerWish {
    /// Weight 0 until it is taken back; over reloads and upgrades too.
    Drain,
    Undrain,
    /// This weight whatever checks and files say; `None` ends that.
    Weigh {
        weight: Option<u32>,
    },
}

/// Which dump is asked for.
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

/// What keepalived's signals make it write into files.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrintKind {
    /// SIGUSR1: `keepalived.data`.
    Data,
    /// SIGUSR2: `keepalived.stats`.
    Stats,
    /// The same, and the counters are zero afterwards.
    StatsClear,
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
    /// A serialized [`Snapshot`](crate::vrrp::snapshot::Snapshot): `now`, `unix_micros`, `instances`, `groups`, …
    /// with `config_id` and `router_id` added.
    Status {
        status: Value,
    },
    /// `event` has the fields `kind` (the variant in snake_case), what it is about by name, and `text`, a sentence.
    Event {
        unix_micros: u64,
        event: Value,
    },
    /// Oldest first; see [`History`](crate::observe::History).
    History {
        moments: Vec<Moment>,
    },
    Text {
        text: String,
    },
    /// BFD sessions in words, and as a serialized [`Snapshot`](crate::bfd::snapshot::Snapshot).
    Bfd {
        text: String,
        sessions: Value,
    },
    /// `services`, each with its `servers`, each with its `checks`; `ipvs` is false when the kernel's table cannot be read.
    Servers {
        servers: Value,
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
/// configuration in front (`/run/vipd/NAMESPACE_INSTANCE.control.sock`) where they are set. With a pid file of one's own
/// (`-p`), which is what keeps two daemons of a machine apart, the socket is named after that: `/srv/a/k.pid` makes
/// `/run/vipd/srv-a-k.pid.control.sock`.
pub fn socket_path(namespace: Option<&str>, instance: Option<&str>, pid_file: Option<&Path>) -> PathBuf {
    let parts = [namespace.map(str::to_owned), instance.map(str::to_owned), pid_file.map(one_word)];
    let parts: Vec<String> = parts.into_iter().flatten().map(|part| part.replace('/', "_")).collect();
    if parts.is_empty() {
        return "/run/vipd/control.sock".into();
    }
    format!("/run/vipd/{}.control.sock", shortened(&parts.join("_"))).into()
}

fn one_word(path: &Path) -> String {
    path.to_string_lossy().trim_start_matches('/').replace('/', "-")
}

/// The address of a socket has 107 bytes: of a long name the end is kept, which tells more than its beginning, and a
/// number that tells it from others with the same end.
fn shortened(name: &str) -> String {
    const ROOM: usize = 80;
    if name.len() <= ROOM {
        return name.to_owned();
    }
    // FNV-1a: the same in every run and on every machine, unlike std's hashers.
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let start = (name.len() - (ROOM - 17)..name.len()).find(|at| name.is_char_boundary(*at)).unwrap_or(name.len());
    format!("{hash:016x}-{}", name.get(start..).unwrap_or_default())
}
