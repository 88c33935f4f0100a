//! BFD on real sockets: vipd beside vipd, Debian's keepalived and FRR's bfdd, in network namespaces.
//!
//! Needs root and `ip`; where a program is missing a test says `skipped: …` and passes, unless `VIPD_REQUIRE_NETNS` is
//! set. Nothing is timed: states are awaited. What must not happen (a session that falls) is counted by the other side, FRR
//! or vipd, not by a clock. `VIPD_INTEROP=write` writes the table to docs/interop.md.
#![allow(clippy::unwrap_used)]

mod ground;
mod hitless;
mod hostile;
mod matrix;
#[path = "../netns/peers.rs"]
mod peers;
mod single;
