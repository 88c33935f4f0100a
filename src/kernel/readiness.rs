//! Descriptors in a tokio runtime: the one place that vouches for them.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A value that owns its descriptor: it keeps the same one open until it is dropped.
///
/// # Safety
/// `as_raw_fd` always answers the same open descriptor, which nobody else closes.
pub unsafe trait Owning: AsRawFd {}
// SAFETY: an OwnedFd is the descriptor's only owner and never changes it.
unsafe impl Owning for OwnedFd {}
// SAFETY: a socket2 socket is an OwnedFd inside.
unsafe impl Owning for socket2::Socket {}

/// Registers for readability. Must be called inside a runtime with its I/O driver on.
///
/// # Errors
/// The runtime cannot take another descriptor.
pub fn readable<T: Owning>(inner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: `Owning` promises what AsyncFd asks for, and AsyncFd owns `inner`, deregistering before it drops it.
    unsafe { AsyncFd::register_with_interest(inner, Interest::READABLE) }.map_err(io::Error::from)
}
