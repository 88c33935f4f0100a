//! The loop that carries facts into the engine and wishes out of it, and everything a daemon needs around that loop:
//! start-up and shut-down order, files, signals, reload, control socket.
//!
//! Three threads. *engine* ([`loops::vrrp`]) owns the [`Engine`](crate::vrrp::Engine), the VRRP sockets and one timer, and
//! does nothing that may block. *kernel* ([`crate::kernel::netlink`]) writes and watches netlink. *services*
//! ([`loops::services`]), the first thread of the process, runs scripts, writes dumps, reads configuration, and may be slow. A
//! fourth writes log lines.

mod again;
mod answers;

mod coredump;
pub mod doors;
pub mod drains;
pub mod dumps;
mod fork;

mod log;
mod loops;
mod options;
pub mod pidfile;
mod programs;
pub mod reading;
pub mod reload;
pub mod schedule;

mod signals;
mod start;
mod systemd;
mod trackers;

pub use options::*;
pub use signals::{hold as hold_signals, release as release_signals};
pub use start::start;
