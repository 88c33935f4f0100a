//! The only code that touches Linux: sockets, netlink, processes, privileges.
//!
//! Three parts, by the thread that owns them. [`socket`], [`timer`] and [`clock`] belong to the engine thread and never
//! block. [`netlink`] is a thread of its own: it carries out claims, watches the kernel's tables, heals what others
//! removed and sends announcements; it is spoken to by [`netlink::Order`] and speaks by [`netlink::Report`].
//! [`process`], [`trackfile`] and [`trackprocess`] belong to the services thread.
//!
//! Nothing here decides about the protocol: wishes come in as [`crate::engine::io`] vocabulary and facts go out so.

pub mod clock;
pub mod namespace;
pub mod netlink;
pub mod privilege;
pub mod process;
mod readiness;
pub mod socket;
pub mod timer;
pub mod trackfile;
pub mod trackprocess;
