//! Real daemons on real sockets: vipd beside vipd and beside Debian's keepalived and FRR's vrrpd, in network namespaces.
//!
//! Needs root, `ip`, and for most cases keepalived; where something is missing a test says `skipped: …` and passes,
//! unless `VIPD_REQUIRE_NETNS` is set. Nothing is timed: states are awaited, with limits that only an error reaches.
//! With `VIPD_INTEROP=write` the matrix also writes its table to `docs/interop.md`.
#![allow(clippy::unwrap_used)]

mod conf;
mod crafted;
mod lab;
mod listen;
mod matrix;
mod owned;
mod peers;
mod remote;
mod seen;
mod single;
mod special;
