//! nftables for what addresses and MAC addresses alone cannot do.
//!
//! Two things, in tables `ip` and `ip6` of our own: packets to and from claimed addresses are dropped where the router
//! must not accept them (`no_accept`, RFC 9568 §6.4.3), and what would teach switches the virtual MAC address on a
//! backup (IGMP, MLD, router solicitations) does not leave by a VMAC but by its parent.
//!
//! A table appears with the first need and is filled by differences, each change one transaction. What an earlier run
//! left under our name is replaced.

mod guard;
mod leftovers;
pub(in crate::kernel) mod rules;

use super::netlink::NetlinkError;
use super::netlink::channel::{Channel, Request};
use crate::spec::{IfName, Nftables};
use guard::Guard;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_netfilter::nftables::NfTablesMessage;
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily};
use rules::Table;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

/// NFNL_SUBSYS_NFTABLES, which a transaction names in its header.
const SUBSYSTEM: u16 = 10;
/// Elements to a message: an attribute is 64 KiB at most.
const ELEMENTS: usize = 500;

/// What the firewall is to hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Screen {
    /// Addresses whose packets are dropped (`no_accept`), with the interface, which counts for link-local ones.
    pub denied: BTreeSet<(IpAddr, Place)>,
    /// VMACs, each with the index of its parent.
    pub vmacs: BTreeSet<(u32, u32)>,
    /// Link-local addresses that VMACs share with their parents: no neighbour advertisement for them leaves by a VMAC.
    pub parents: BTreeSet<Ipv6Addr>,
}

/// The interface of a denied address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Place {
    Index(u32),
    /// Whatever index it has at the moment (`dont_track_primary`).
    Name(IfName),
}

/// The tables that we hold.
#[derive(Debug, Default)]
pub struct Firewall {
    channel: Option<Channel>,
    v4: Option<Table>,
    v6: Option<Table>,
    held: Screen,
    /// Hears when another program removes something of the tables; `None` without tables.
    guard: Option<Guard>,
    /// It has heard so beside a change of our own.
    heard: bool,
}

impl Firewall {
    /// Makes the tables hold exactly `wanted`.
    ///
    /// # Errors
    /// A kernel without nftables, or one that refuses; nothing has changed then.
    pub fn hold(&mut self, settings: &Nftables, wanted: Screen) -> Result<(), NetlinkError> {
        if wanted == self.held {
            return Ok(());
        }
        let v6 = |(address, _): &(IpAddr, Place)| address.is_ipv6();
        let needs_v4 = !wanted.vmacs.is_empty() || !wanted.denied.iter().all(v6);
        let needs_v6 = !wanted.vmacs.is_empty() || wanted.denied.iter().any(v6);
        for (needed, family) in [(needs_v4, NetfilterProtoFamily::IPv4), (needs_v6, NetfilterProtoFamily::IPv6)] {
            if needed && self.table(family).is_none() {
                self.make(settings, family)?;
            }
        }
        let mut requests = Vec::new();
        for family in [NetfilterProtoFamily::IPv4, NetfilterProtoFamily::IPv6] {
            let Some(table) = self.table(family) else { continue };
            let before = table.elements(&self.held);
            let after = table.elements(&wanted);
            for (set, elements) in &after {
                let old = before.get(set).cloned().unwrap_or_default();
                let gone: Vec<_> = old.difference(elements).cloned().collect();
                let new: Vec<_> = elements.difference(&old).cloned().collect();
                for part in gone.chunks(ELEMENTS) {
                    requests.push(request(family, table.remove_elements(set, part), 0));
                }
                for part in new.chunks(ELEMENTS) {
                    requests.push(request(family, table.add_elements(set, part), NLM_F_CREATE));
                }
            }
        }
        if !requests.is_empty() {
            self.transact(requests)?;
        }
        self.held = wanted;
        Ok(())
    }

    /// Another program has removed what was there: the next [`Firewall::hold`] makes all of it.
    pub fn forget(&mut self) {
        self.v4 = None;
        self.v6 = None;
        self.held = Screen::default();
        self.heard = false;
    }

    /// Waits until another program has removed something of the tables; for ever without tables. Cancel-safe.
    pub async fn disturbed(&mut self) {
        if std::mem::take(&mut self.heard) {
            return;
        }
        let (own, tables) = self.watched();
        match &mut self.guard {
            Some(guard) if !tables.is_empty() => guard.disturbed(own, &tables).await,
            _ => std::future::pending().await,
        }
    }

    /// Has another program removed something of the tables? Waits for nothing.
    pub fn is_disturbed(&mut self) -> bool {
        if std::mem::take(&mut self.heard) {
            return true;
        }
        let (own, tables) = self.watched();
        self.guard.as_mut().is_some_and(|guard| !tables.is_empty() && guard.is_disturbed(own, &tables))
    }

    /// The socket whose changes are our own, and the tables: family and name.
    fn watched(&self) -> (u32, Vec<(u8, String)>) {
        let own = self.channel.as_ref().map_or(0, Channel::port);
        let tables = [(libc::NFPROTO_IPV4, &self.v4), (libc::NFPROTO_IPV6, &self.v6)];
        let named = |(family, table): (i32, &Option<Table>)| {
            Some((u8::try_from(family).ok()?, table.as_ref()?.name().to_owned()))
        };
        (own, tables.into_iter().filter_map(named).collect())
    }

    /// Removes the tables that an earlier run left and that are not needed: under our name, under the one of the
    /// configuration, and under any other. Answers what went, as `ip NAME`. That nothing is there, or that the kernel has
    /// no nftables, is no trouble.
    pub fn remove_leftovers(&mut self, settings: &Nftables) -> Vec<String> {
        let mut went = Vec::new();
        for v6 in [false, true] {
            let (family, word) =
                if v6 { (NetfilterProtoFamily::IPv6, "ip6") } else { (NetfilterProtoFamily::IPv4, "ip") };
            let usual = Nftables { table: None, ..settings.clone() };
            let ours = [&usual, settings].map(|settings| Table::new(settings, v6, false).name().to_owned());
            let Ok(channel) = opened(&mut self.channel) else { return went };
            // Only what is there: the kernel takes as long to refuse a transaction as to carry it out, many milliseconds.
            for name in leftovers::find(channel, family, &ours.into()) {
                if self.table(family).is_some_and(|held| held.name() == name) {
                    continue;
                }
                let table = Table::new(&Nftables { table: Some(name.as_str().into()), ..settings.clone() }, v6, false);
                if self.transact(vec![request(family, table.delete(), 0)]).is_ok() {
                    went.push(format!("{word} {name}"));
                }
            }
        }
        went
    }

    /// Removes the tables.
    pub fn remove(&mut self) {
        for family in [NetfilterProtoFamily::IPv4, NetfilterProtoFamily::IPv6] {
            if let Some(table) = self.table(family) {
                let requests = vec![request(family, table.delete(), 0)];
                let _ = self.transact(requests);
            }
        }
        self.forget();
        self.guard = None;
    }

    fn table(&self, family: NetfilterProtoFamily) -> Option<&Table> {
        if family == NetfilterProtoFamily::IPv4 { self.v4.as_ref() } else { self.v6.as_ref() }
    }

    /// Makes an empty table with its rules. A kernel that cannot duplicate packets drops them only.
    fn make(&mut self, settings: &Nftables, family: NetfilterProtoFamily) -> Result<(), NetlinkError> {
        let v6 = family == NetfilterProtoFamily::IPv6;
        if self.guard.is_none() {
            // Without it a table that is flushed comes back at the next configuration.
            self.guard = Guard::open().ok();
        }
        let mut last = Ok(());
        for duplicate in [true, false] {
            let table = Table::new(settings, v6, duplicate);
            // To delete a table that is not there is refused, to make one that is there is not.
            let mut requests = vec![
                request(family, table.create(), NLM_F_CREATE),
                request(family, table.delete(), 0),
                request(family, table.create(), NLM_F_CREATE | NLM_F_EXCL),
            ];
            requests.extend(table.contents().into_iter().map(|(message, flags)| request(family, message, flags)));
            last = self.transact(requests);
            if last.is_ok() {
                if v6 {
                    self.v6 = Some(table);
                } else {
                    self.v4 = Some(table);
                }
                return Ok(());
            }
        }
        last
    }

    fn transact(&mut self, requests: Vec<Request<NetfilterMessage>>) -> Result<(), NetlinkError> {
        let outcome = transact(&mut self.channel, requests);
        let (own, tables) = self.watched();
        // A transaction of thousands of elements may be told of in more messages than the guard has room for.
        self.heard |= self.guard.as_mut().is_some_and(|guard| guard.is_disturbed_beside_ours(own, &tables));
        outcome
    }
}

/// Carries out all of `requests`, or none, on a channel that is opened if there is none.
pub(in crate::kernel) fn transact(
    channel: &mut Option<Channel>,
    requests: Vec<Request<NetfilterMessage>>,
) -> Result<(), NetlinkError> {
    let channel = opened(channel)?;
    let frame = |message: ControlMessage| {
        NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, SUBSYSTEM), message)
    };
    channel.transaction(frame(ControlMessage::BatchBegin), requests, frame(ControlMessage::BatchEnd))
}

fn opened(channel: &mut Option<Channel>) -> Result<&mut Channel, NetlinkError> {
    match channel {
        Some(channel) => Ok(channel),
        none => Ok(none.insert(Channel::open(netlink_sys::protocols::NETLINK_NETFILTER, None, false)?)),
    }
}

pub(in crate::kernel) fn request(
    family: NetfilterProtoFamily,
    message: NfTablesMessage,
    flags: u16,
) -> Request<NetfilterMessage> {
    Request { message: NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), message), flags }
}
