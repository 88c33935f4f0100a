//! The protocol; deterministic. See `io` for the whole vocabulary and `spec` for what it is told to be.

pub mod io;
pub mod snapshot;
pub mod spec;
