//! The loops of the daemon: one for each engine, and one for all that may be slow.

pub mod bfd;
pub mod services;
pub mod vrrp;
