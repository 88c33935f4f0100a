//! The lab's network: a namespace a server, one for the client, and one with a bridge a segment in the middle.
//!
//! Made by netlink alone. The namespaces have no names: they live as long as this process holds them or something runs
//! inside, so that nothing is left behind however the rehearsal ends.

use super::Trouble;
use futures_util::TryStreamExt;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::{InfoData, InfoVeth, LinkMessage};
use netlink_packet_route::neighbour::NeighbourState;
use netlink_packet_route::rule::RuleAction;
use nix::sched::{CloneFlags, setns, unshare};
use rtnetlink::{Handle, LinkBridge, LinkUnspec, LinkVeth, RouteMessageBuilder, new_connection};
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

/// The hardware address of no station: locally administered, and nothing here has it.
const NOBODY: [u8; 6] = [0x02, 0, 0, 0xff, 0xff, 0xff];

/// One network namespace, with a netlink connection into it.
#[derive(Debug)]
pub struct Net {
    file: File,
    handle: Handle,
}

/// A cable: the port of the switch that it is plugged into.
#[derive(Clone, Debug)]
pub struct Cable {
    port: u32,
}

impl Net {
    /// A new, empty namespace with its loopback up. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Not root, or the kernel refuses.
    pub async fn new() -> Result<Net, Trouble> {
        let runtime = tokio::runtime::Handle::current();
        // A thread of its own enters the namespace; what it opens there stays there.
        let made = std::thread::spawn(move || -> Result<_, Trouble> {
            let _reactor = runtime.enter();
            unshare(CloneFlags::CLONE_NEWNET).map_err(|e| {
                Trouble::new(format!("cannot make a network namespace: {e}")).help("the lab needs root")
            })?;
            let file = File::open("/proc/thread-self/ns/net")?;
            // IPv6 addresses are there at once, not after a second of duplicate address detection.
            for place in ["default", "all"] {
                let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{place}/accept_dad"), "0");
            }
            let (connection, handle, _) = new_connection()?;
            Ok((file, connection, handle))
        })
        .join();
        let (file, connection, handle) = match made {
            Ok(made) => made?,
            Err(_) => return Err(Trouble::new("cannot make a network namespace")),
        };
        tokio::spawn(connection);
        let net = Net { file, handle };
        let lo = net.index("lo").await?;
        net.set(LinkUnspec::new_with_index(lo).up().build()).await?;
        Ok(net)
    }

    /// A path that leads into the namespace while this process lives.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()))
    }

    /// Lets another thread enter.
    ///
    /// # Errors
    /// Those of dup(2).
    pub fn door(&self) -> Result<File, Trouble> {
        Ok(self.file.try_clone()?)
    }

    /// Makes a switch.
    ///
    /// # Errors
    /// The kernel has no bridges.
    pub async fn bridge(&self, name: &str) -> Result<u32, Trouble> {
        self.handle.link().add(LinkBridge::new(name).build()).execute().await.map_err(|e| netlink("bridge", &e))?;
        self.index(name).await
    }

    /// Runs a cable from the switch `bridge` here to `interface` in `there`, and gives that its addresses.
    ///
    /// # Errors
    /// Those of netlink.
    pub async fn plug(
        &self,
        bridge: u32,
        there: &Net,
        interface: &str,
        addresses: &[(IpAddr, u8)],
        port_name: &str,
    ) -> Result<Cable, Trouble> {
        let mut message: LinkMessage = LinkVeth::new(port_name, interface).controller(bridge).up().build();
        // The far end is born in the other namespace: its name cannot meet another one here.
        for attribute in &mut message.attributes {
            use netlink_packet_route::link::{LinkAttribute, LinkInfo};
            let LinkAttribute::LinkInfo(infos) = attribute else { continue };
            for info in infos {
                if let LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))) = info {
                    peer.attributes.push(LinkAttribute::NetNsFd(there.file.as_raw_fd()));
                }
            }
        }
        self.handle.link().add(message).execute().await.map_err(|e| netlink(interface, &e))?;
        let index = there.index(interface).await?;
        there.set(LinkUnspec::new_with_index(index).up().build()).await?;
        for (address, prefix) in addresses {
            let add = there.handle.address().add(index, *address, *prefix);
            add.execute().await.map_err(|e| netlink(&address.to_string(), &e))?;
        }
        Ok(Cable { port: self.index(port_name).await? })
    }

    /// Pulls a cable out of its switch here, or puts it back.
    ///
    /// # Errors
    /// Those of netlink.
    pub async fn carrier(&self, cable: &Cable, on: bool) -> Result<(), Trouble> {
        let link = LinkUnspec::new_with_index(cable.port);
        self.set(if on { link.up() } else { link.down() }.build()).await
    }

    /// Takes addresses off, wherever they are; those that are not there are no trouble.
    ///
    /// # Errors
    /// Those of netlink.
    pub async fn forget(&self, addresses: &[IpAddr]) -> Result<(), Trouble> {
        let mut all = self.handle.address().get().execute();
        let mut gone = Vec::new();
        while let Some(message) = all.try_next().await.map_err(|e| netlink("addresses", &e))? {
            let is = |a: &AddressAttribute| matches!(a, AddressAttribute::Local(ip) | AddressAttribute::Address(ip) if addresses.contains(ip));
            if message.attributes.iter().any(is) {
                gone.push(message);
            }
        }
        for message in gone {
            let _ = self.handle.address().del(message).execute().await;
        }
        Ok(())
    }

    /// What the interface with the address `here` sends to the address `there` goes to a station that does not exist, or to the
    /// right one again. The sender does not notice: a route that refuses would tell it.
    ///
    /// # Errors
    /// Those of netlink.
    pub async fn mislead(&self, here: IpAddr, there: IpAddr, on: bool) -> Result<(), Trouble> {
        let interface = self.interface_of(here).await?;
        let neighbours = self.handle.neighbours();
        let wrong =
            neighbours.add(interface, there).link_layer_address(&NOBODY).state(NeighbourState::Permanent).replace();
        if on {
            return wrong.execute().await.map_err(|e| netlink("neighbour", &e));
        }
        let mut wrong = wrong;
        let message = std::mem::take(wrong.message_mut());
        neighbours.del(message).execute().await.map_err(|e| netlink("neighbour", &e))
    }

    /// Gives an interface an address without a network.
    ///
    /// # Errors
    /// Those of netlink.
    pub async fn remember(&self, interface: &str, address: IpAddr) -> Result<(), Trouble> {
        let index = self.index(interface).await?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let add = self.handle.address().add(index, address, whole).execute();
        add.await.map_err(|e| netlink(&address.to_string(), &e))
    }

    /// What comes from an address is routed by a table of its own first.
    ///
    /// # Errors
    /// Those of netlink.
    pub async fn from(&self, address: IpAddr, table: u32) -> Result<(), Trouble> {
        let rule = self.handle.rule().add().table_id(table).action(RuleAction::ToTable);
        let added = match address {
            IpAddr::V4(own) => rule.v4().source_prefix(own, 32).execute().await,
            IpAddr::V6(own) => rule.v6().source_prefix(own, 128).execute().await,
        };
        added.map_err(|e| netlink("rule", &e))
    }

    /// In `table`, the way to one address leads through another, instead of what led there before.
    ///
    /// # Errors
    /// Those of netlink.
    pub async fn route(&self, interface: &str, to: IpAddr, via: IpAddr, table: u32) -> Result<(), Trouble> {
        let index = self.index(interface).await?;
        let builder = RouteMessageBuilder::<IpAddr>::new().output_interface(index).table_id(table);
        let whole = if to.is_ipv4() { 32 } else { 128 };
        let message = builder.destination_prefix(to, whole).and_then(|builder| builder.gateway(via));
        let message = message.map_err(|e| Trouble::new(format!("the lab's network, route: {e}")))?.build();
        self.handle.route().add(message).replace().execute().await.map_err(|e| netlink("route", &e))
    }

    /// Writes settings below /proc/sys/net: (path, value).
    ///
    /// # Errors
    /// The namespace cannot be entered; a setting that this kernel does not have is passed over.
    pub fn settings(&self, all: &'static [(&str, &str)]) -> Result<(), Trouble> {
        let door = self.door()?;
        let entered = std::thread::spawn(move || {
            setns(door, CloneFlags::CLONE_NEWNET)?;
            for (path, value) in all {
                let _ = std::fs::write(format!("/proc/sys/net/{path}"), value);
            }
            Ok::<(), nix::Error>(())
        });
        match entered.join() {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(Trouble::new(format!("cannot enter the network namespace: {e}"))),
            Err(_) => Err(Trouble::new("cannot enter the network namespace")),
        }
    }

    /// The index of the interface that has an address.
    async fn interface_of(&self, address: IpAddr) -> Result<u32, Trouble> {
        let mut all = self.handle.address().get().set_address_filter(address).execute();
        match all.try_next().await {
            Ok(Some(message)) => Ok(message.header.index),
            Ok(None) => Err(Trouble::new(format!("no interface has {address}"))),
            Err(e) => Err(netlink("addresses", &e)),
        }
    }

    async fn index(&self, name: &str) -> Result<u32, Trouble> {
        let mut found = self.handle.link().get().match_name(name.to_owned()).execute();
        match found.try_next().await {
            Ok(Some(link)) => Ok(link.header.index),
            Ok(None) => Err(Trouble::new(format!("interface {name} is not there"))),
            Err(e) => Err(netlink(name, &e)),
        }
    }

    async fn set(&self, message: LinkMessage) -> Result<(), Trouble> {
        self.handle.link().set(message).execute().await.map_err(|e| netlink("link", &e))
    }
}

fn netlink(what: &str, e: &rtnetlink::Error) -> Trouble {
    Trouble::new(format!("the lab's network, {what}: {e}"))
}
