//! The control socket: what `vipctl` talks to.

mod protocol;
mod server;

pub use protocol::*;
pub(crate) use server::{Answer, Question, Server};
