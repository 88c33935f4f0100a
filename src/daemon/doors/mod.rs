//! Doors to the outside: each turns its protocol into a question to the daemon and the answer into its protocol.

pub mod agentx;
pub mod metrics;
pub mod socket;
