//! Doors to the outside: each turns its protocol into a question to the daemon and the answer into its protocol.

#[cfg(feature = "snmp")]
pub mod agentx;
#[cfg(feature = "dbus")]
pub mod dbus;
pub mod metrics;
#[cfg(any(feature = "dbus", feature = "snmp"))]
mod peer;
pub mod socket;

/// How many connections a door may have at once: an eighth of the descriptors that the process may have, so that all
/// doors together leave most of them to sockets and programs; 2 at least, 64 at most. Who comes above that waits in the
/// kernel's queue, which takes no descriptor.
pub(crate) fn room() -> usize {
    let descriptors = usize::try_from(crate::kernel::privilege::descriptors()).unwrap_or(usize::MAX);
    (descriptors / 8).clamp(2, 64)
}
