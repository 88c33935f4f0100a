//! A LAN of network namespaces, for `vipctl lab` and for the tests: made and taken down without a shell.
//!
//! Takes plain parameters (names, interfaces, addresses) and knows nothing of configurations or of the engine.

pub mod observer;
pub mod wire;
