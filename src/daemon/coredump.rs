//! Core dumps: `-m` lifts the limit, `-M` also names the files, for as long as the daemon runs.

use super::options::CoreDump;
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

const PATTERN: &str = "/proc/sys/kernel/core_pattern";

/// Puts the system's core pattern back when dropped.
#[derive(Debug)]
pub struct FormerPattern(Vec<u8>);

impl Drop for FormerPattern {
    fn drop(&mut self) {
        let _ = std::fs::write(PATTERN, &self.0);
    }
}

/// Does what the command line asks; trouble is logged.
pub fn arrange(wanted: &CoreDump) -> Option<FormerPattern> {
    if !wanted.allow {
        return None;
    }
    if let Err(error) = setrlimit(Resource::RLIMIT_CORE, RLIM_INFINITY, RLIM_INFINITY) {
        tracing::warn!(target: "parent", "Unable to allow core dumps: {error}");
    }
    let pattern = wanted.pattern.as_ref()?;
    let former = std::fs::read(PATTERN).ok()?;
    match std::fs::write(PATTERN, pattern) {
        Ok(()) => Some(FormerPattern(former)),
        Err(error) => {
            tracing::warn!(target: "parent", "Unable to set {PATTERN}: {error}");
            None
        }
    }
}
