//! How a thread of the daemon begins, and how often it may begin again: the one place for all of them.

use std::ffi::CString;
use std::io;
use std::thread::{Builder, JoinHandle};

/// So many panics of a thread are survived; a fault that comes back at once is not.
pub const LIVES: u32 = 5;

/// Starts a thread of this name, which leaves all signals to the first one of the process.
///
/// # Errors
/// The kernel has no room for a thread.
pub fn start<T: Send + 'static>(
    name: impl Into<String>,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name.into()).spawn(move || {
        without_signals();
        work()
    })
}

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
