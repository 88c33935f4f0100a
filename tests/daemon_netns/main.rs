//! The daemon in a network namespace: pid files, signals, reload, what a killed one leaves behind.
//!
//! Needs root and iproute2. Without them every test says so and passes, unless `VIPD_REQUIRE_NETNS=1` asks for a failure.

#![allow(clippy::unwrap_used)]

mod again;
mod beginnings;
mod dead_mount;
mod endings;
mod goodbyes;
mod ground;
mod hardship;
mod life;
mod logs;
#[cfg(target_arch = "x86_64")]
mod panics;
mod programs;
mod reload;
mod senses;
mod servers;
mod told;
