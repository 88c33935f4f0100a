//! The loop that carries facts into the engine and wishes out of it, and everything a daemon needs around that loop:
//! start-up and shut-down order, files, signals, reload, control socket.
//!
//! Three threads. *engine* ([`driver`]) owns the [`Engine`](crate::engine), the VRRP sockets and one timer, and does
//! nothing that may block. *kernel* writes and watches netlink. *services* runs scripts, logs, dumps, reads
//! configuration, and may be slow.

pub mod control;
mod options;

pub use options::*;

/// Runs the daemon (or the configuration test) to its end; the exit code of the process comes back.
pub fn start(options: Options) -> u8 {
    let _ = options;
    0
}
