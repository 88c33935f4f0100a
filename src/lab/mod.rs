//! Network namespaces joined by wires, and an eye on the wire: the ground under the tests that need a real kernel.
//!
//! Made and taken down by netlink and system calls alone, without a shell. Takes plain parameters (names, interfaces,
//! addresses) and knows nothing of configurations or of the engine. [`wire`] builds, [`observer`] watches; the rehearsal
//! that `vipctl lab` plays on such ground is `cli::lab`.

pub mod observer;
pub mod wire;
