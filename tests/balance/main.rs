//! The engine of virtual servers against what keepalived 2.4.3 was seen to do: its tables, its log, its FIFO lines, step by
//! step; and laws that hold for any input.
#![allow(clippy::unwrap_used)]

mod goldens;
mod handing_over;
mod harness;
mod laws;
mod machine;
mod refusals;
mod reloading;
mod sharing;
mod shown;
mod tables;
mod telling;
