//! The control socket: what `vipctl` talks to.

mod protocol;

pub use protocol::*;
