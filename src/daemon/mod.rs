//! The loop that carries facts into the engine and wishes out of it, and everything a daemon needs around that loop:
//! start-up and shut-down order, files, signals, reload, control socket.
//!
//! *engine* ([`loops::vrrp`]) owns the [`Engine`](crate::vrrp::Engine), the VRRP sockets and one timer, and does nothing that
//! may block. *kernel* ([`crate::kernel::netlink`]) writes and watches netlink. The first thread of the process starts and
//! watches programs ([`loops::programs`]). *services* ([`loops::services`]) has all that may be slow. *files* and *processes*
//! ([`trackers`]) watch what is tracked, *log* writes log lines, *writer* other files, and each *aside* waits for a file
//! system.

mod again;
mod answers;

mod coredump;
pub mod doors;
pub mod drains;
pub mod dumps;
mod fork;

mod log;
mod logfile;
mod loops;
mod notifications;
mod options;
pub mod pidfile;
pub mod reading;
pub mod reload;
pub mod schedule;
mod serve;
mod signals;
mod start;
mod systemd;
mod trackers;
mod usage;
mod wind_up;

pub use options::*;
pub use signals::{hold as hold_signals, release as release_signals};
pub use start::start;
