//! How a thread of the daemon begins, and how often it may begin again: the one place for all of them.

use std::ffi::CString;

/// So many panics of a thread are survived; a fault that comes back at once is not.
pub const LIVES: u32 = 5;

/// For the calling thread: it leaves all signals to the first one. Here one would only interrupt.
pub fn without_signals() {
    let _ = nix::sys::signal::SigSet::all().thread_block();
}

/// Names the calling thread as `ps -L` shows it: the process, if it is the first thread. The kernel cuts a name at 15 bytes; one
/// with a NUL in it is not taken.
pub fn named(name: Option<&str>) {
    if let Some(name) = name.and_then(|name| CString::new(name).ok()) {
        let _ = nix::sys::prctl::set_name(&name);
    }
}
