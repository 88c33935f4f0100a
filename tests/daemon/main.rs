//! The daemon as its consumers know it: command line, dump formats, notifications. No root, no namespaces.
//!
//! `golden/` holds what Debian's keepalived 2.2.7 wrote for `golden/keepalived.conf` in a network namespace with eth0
//! (10.9.0.1/24) and eth1.

#![allow(clippy::unwrap_used)]

mod command_line;
mod dumps;
mod ground;
mod mail;
mod metrics;
mod notifications;
mod schedule;
