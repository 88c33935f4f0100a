//! The loops of the daemon: one for each engine, one for the programs that are run, and one for all that may be slow.

pub mod bfd;
pub mod checker;
pub mod programs;
pub mod services;
pub mod vrrp;
