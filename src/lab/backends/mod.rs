//! The real servers of the lab: every `real_server` and `sorry_server` of the configurations has its address on a machine of
//! their own (or on the gateway or the server that has it anyway), and a listener that says its name there.
//!
//! [`plan`] is pure: which addresses, on which wires, who listens for what. [`stand`] listens, in the lab's own process, on a
//! thread in the network namespace; [`answer`] is what is said. What checks find there is found by the daemon's own probes.
//! [`machine`] makes the machine: addresses, the way back through the director, the virtual addresses of `DR`.

mod answer;
pub(super) mod machine;
pub(super) mod plan;
mod stand;

pub use plan::{Farm, Place, Stand, Talk};

use crate::spec::backend::Health;
use crate::spec::balance::Endpoint;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Real servers that something was done to. Without a port: everything at the address.
pub(super) type Ailing = BTreeMap<Endpoint, Health>;

/// How the listener at an address and port is.
fn health(ailing: &Ailing, address: IpAddr, port: u16) -> Health {
    let at = |port| ailing.get(&Endpoint { address, port }).copied();
    at(Some(port)).or_else(|| at(None)).unwrap_or_default()
}
