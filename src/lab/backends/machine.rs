//! The machine of real servers: its addresses, and the way back of `NAT`, which leads through the director that has the virtual
//! address.

use super::plan::{Place, Stand};
use super::{Ailing, stand};
use crate::lab::Trouble;
use crate::lab::net::Net;
use crate::lab::plan::{Network, Plan, around, within};
use crate::lab::server::Machine;
use crate::spec::backend::Health;
use crate::spec::balance::Endpoint;
use std::collections::BTreeMap;
use std::net::IpAddr;
use tokio::sync::watch;

/// Routing tables of what goes back through the director: one a segment, from here on.
const TABLE: u32 = 100;
/// What a machine is told that forwards, or has addresses which it must not speak of. keepalived's users set the same.
const QUIET: &[(&str, &str)] = &[
    ("ipv4/conf/all/arp_ignore", "1"),
    ("ipv4/conf/all/arp_announce", "2"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
];
const FORWARDS: &[(&str, &str)] = &[
    ("ipv4/ip_forward", "1"),
    ("ipv6/conf/all/forwarding", "1"),
    // One wire for both sides: nobody is to be told of a shorter way.
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
];

/// All real servers, while the lab lives.
pub(in crate::lab) struct RealServers {
    net: Option<Net>,
    ailing: watch::Sender<Ailing>,
    /// The director through which answers go.
    through: Option<usize>,
}

/// What a server of the lab that balances is told.
///
/// # Errors
/// The kernel refuses.
pub(in crate::lab) fn forwards(net: &Net) -> Result<(), Trouble> {
    net.settings(FORWARDS)
}

impl RealServers {
    /// There are none.
    pub(in crate::lab) fn nobody() -> RealServers {
        RealServers { net: None, ailing: watch::channel(Ailing::new()).0, through: None }
    }

    /// Makes the machine and lets everybody listen.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(in crate::lab) async fn build(
        plan: &Plan,
        switch: &Net,
        bridges: &[u32],
        machines: &[Machine],
        gateways: &[Machine],
    ) -> Result<RealServers, Trouble> {
        let farm = &plan.farm;
        let (ailing, told) = watch::channel(Ailing::new());
        let mut net = None;
        if !farm.ports.is_empty() {
            let own = Net::new().await?;
            own.settings(QUIET)?;
            for (segment, bases, addresses) in &farm.ports {
                let whole = |address: &IpAddr| (*address, if address.is_ipv4() { 32 } else { 128 });
                let all: Vec<Network> = bases.iter().copied().chain(addresses.iter().map(whole)).collect();
                let port = format!("prs{segment}");
                let Some(bridge) = bridges.get(*segment) else { continue };
                switch.plug(*bridge, &own, &plan.segments[*segment], &all, &port).await?;
                for address in addresses.iter().filter(|address| farm.behind.contains(address)) {
                    own.from(*address, TABLE + *segment as u32).await?;
                }
            }
            net = Some(own);
        }
        let mut by_place: BTreeMap<Place, Vec<Stand>> = BTreeMap::new();
        for stand in &farm.stands {
            by_place.entry(stand.place).or_default().push(stand.clone());
        }
        for (place, stands) in by_place {
            let there = match place {
                Place::Farm => net.as_ref(),
                Place::Gateway(at) => gateways.get(at).map(|machine| &machine.net),
                Place::Server(at) => machines.get(at).map(|machine| &machine.net),
            };
            if let Some(there) = there {
                stand::open(there.door()?, stands, told.clone())?;
            }
        }
        Ok(RealServers { net, ailing, through: None })
    }

    /// From here on a real server is so. One without power gives its address up.
    ///
    /// # Errors
    /// Its address is a server's or a gateway's, which cannot be without power for one port; or the kernel refuses.
    pub(in crate::lab) async fn set(&self, plan: &Plan, at: Endpoint, health: Health) -> Result<(), Trouble> {
        let before = self.ailing.borrow().get(&at).copied().unwrap_or_default();
        let home = plan.farm.ports.iter().find(|(_, _, addresses)| addresses.contains(&at.address));
        if [before, health].contains(&Health::Dead) && before != health {
            let (Some(net), Some((segment, ..))) = (&self.net, home) else {
                let what = format!("{at} is on a machine of the lab that does more than this");
                return Err(Trouble::new(what).help("--fail crash, or server=hang"));
            };
            match health {
                Health::Dead => net.forget(&[at.address]).await?,
                _ => net.remember(&plan.segments[*segment], at.address).await?,
            }
        }
        self.ailing.send_modify(|ailing| {
            ailing.insert(at, health);
        });
        Ok(())
    }

    /// What real servers behind `NAT` answer goes back through this server.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(in crate::lab) async fn answer_through(&mut self, plan: &Plan, server: usize) -> Result<(), Trouble> {
        if self.through == Some(server) || plan.farm.behind.is_empty() {
            return Ok(());
        }
        let Some(net) = &self.net else { return Ok(()) };
        let clients = || plan.client.iter().flat_map(|(_, own)| own).map(|network| network.0);
        for (segment, bases, _) in &plan.farm.ports {
            let own = plan.ports.get(server).into_iter().flatten().filter(|(at, _)| at == segment);
            for (director, _) in own.flat_map(|(_, all)| all) {
                if !bases.iter().any(|base| within(*director, around(base.0, base.1))) {
                    continue;
                }
                for client in clients().filter(|client| client.is_ipv4() == director.is_ipv4()) {
                    net.route(&plan.segments[*segment], client, *director, TABLE + *segment as u32).await?;
                }
            }
        }
        self.through = Some(server);
        Ok(())
    }
}
