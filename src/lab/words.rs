//! What the rehearsal and the agent of a server say to each other: one JSON object a line, over the agent's stdin and
//! stdout.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// What a server of the lab is; the argument of the agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodePlan {
    /// Host name inside.
    pub name: String,
    /// The network namespace to live in.
    pub netns: PathBuf,
    /// The configuration; it appears inside as /etc/keepalived/keepalived.conf.
    pub config: PathBuf,
    /// What else appears in /etc/keepalived: the files of these directories, the last one's where two have the same name.
    pub beside: Vec<PathBuf>,
    /// Further directories: (where from, where inside).
    pub places: Vec<(PathBuf, PathBuf)>,
    /// Set by the agent for its second half, which is process 1 of its own process namespace.
    #[serde(default)]
    pub inside: bool,
}

/// A program that runs inside.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    Daemon,
    Web,
    /// `vipctl watch`: what the daemon says of its real servers.
    Watch,
}

/// What the process of a server is told to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Start a program; its lines and its end are told.
    Start { who: Who, argv: Vec<String>, environment: BTreeMap<String, String> },
    /// Signal the program's process group.
    Signal { who: Who, signal: i32 },
    /// Write a file.
    Write { path: PathBuf, text: String },
    /// Put a program that fails in the place of this one.
    Break { path: PathBuf },
    /// Undo `Break`.
    Mend { path: PathBuf },
}

/// What the process of a server says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    Ready,
    Line { who: Who, text: String },
    Ended { who: Who, code: Option<i32>, signal: Option<i32> },
    Address { address: IpAddr, present: bool },
    Trouble { text: String },
}
