//! nftables for what addresses and MAC addresses alone cannot do (to be filled).

use super::netlink::NetlinkError;
use crate::engine::spec::Nftables;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What the firewall is to hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Screen {
    /// Addresses whose packets are dropped (`no_accept`), with the interface for link-local ones.
    pub denied: BTreeSet<(IpAddr, u32)>,
    /// VMACs, each with the index of its parent: IGMP and MLD do not leave by them.
    pub vmacs: BTreeSet<(u32, u32)>,
}

/// The tables that we hold.
#[derive(Debug, Default)]
pub struct Firewall {
    held: Screen,
}

impl Firewall {
    /// Makes the tables hold exactly `wanted`.
    ///
    /// # Errors
    /// A kernel without nftables, or one that refuses.
    pub fn hold(&mut self, settings: &Nftables, wanted: Screen) -> Result<(), NetlinkError> {
        let _ = settings;
        self.held = wanted;
        Ok(())
    }

    /// Removes the tables.
    pub fn remove(&mut self) {
        self.held = Screen::default();
    }
}
