//! vipd: a keepalived-compatible VRRP failover engine.
//!
//! The house in five sentences. The [`vrrp`] is told facts with a time and answers with actions; it has no
//! socket, no clock, no randomness and no log. It is given a [`spec::Spec`], an immutable value that
//! [`config`] makes out of text and nothing else. The [`daemon`] is a loop that carries facts in and actions out
//! through a thin [`kernel`] layer. The simulator ([`sim`]) is another such loop, with a modelled LAN, kernel and
//! scripts in place of the real ones. Observers ([`observe`]) see only the stream of [`vrrp::io::Event`]s and a
//! [`vrrp::snapshot::Snapshot`].
//!
//! Who may use whom is held by `tests/layers.rs`; the reasons stand in `docs/architecture.md`.

pub mod agenda;
pub mod balance;
pub mod bfd;
pub mod cli;
pub mod config;
pub mod daemon;

pub mod handover;
pub mod kernel;
pub mod lab;
pub mod listen;
pub mod observe;
pub mod probe;
pub mod random;
pub mod sim;
pub mod spec;
pub mod time;
pub mod vrrp;
pub mod wire;
