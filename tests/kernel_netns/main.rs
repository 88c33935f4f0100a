//! The kernel layer against the real kernel, in network namespaces of its own. Needs root; without it each test says
//! that it is skipped, and with VIPD_REQUIRE_NETNS=1 that is a failure.

#![allow(clippy::unwrap_used)]

mod claim;
mod ground;
mod policy;
mod privilege;
mod probes;
mod process;
mod screening;
mod sockets;
mod sweep;
mod trackers;
mod virtual_link;
