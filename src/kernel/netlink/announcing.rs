//! Announcements: which addresses the LAN is told of now, which wait for those of everybody, and what the log says of it.

use super::address;
use super::claims::State;
use super::thread::Thread;
use crate::kernel::announce::{Announcer, From};
use crate::kernel::reconcile::Key;
use crate::kernel::sysctl;
use crate::spec::InstanceId;
use crate::vrrp::io::Announce;
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// Repeated announcements sent before orders get their turn again.
const REPEATS_A_ROUND: usize = 256;
/// Of one round of announcements so many are said one by one; the queue of log lines has room for other things too.
const ANNOUNCED: usize = 64;

impl Thread {
    /// What announcements that leave by an interface say of it; `None` if they cannot.
    pub(super) fn sender(&self, ifindex: u32, six: bool) -> Option<From> {
        let link = &self.links.get(ifindex)?.link;
        let mac = link.mac.filter(|_| link.arp && link.up)?;
        let forwards = || sysctl::read(&sysctl::path("ipv6", link.name.as_str(), "forwarding"));
        let router = six && forwards().is_some_and(|value| value != "0");
        Some(From { ifindex, mac, router })
    }

    /// What nobody has been told yet is told now; what has been announced before waits for that of everybody.
    pub(super) fn announce(&mut self, announce: &Announce) {
        let (fresh, known) = self.claims.announcing(Some(announce.instance), &announce.addresses);
        self.speak(fresh, Some(announce.instance));
        if announce.begins && tracing::enabled!(target: "vrrp", tracing::Level::DEBUG) {
            known.iter().take(ANNOUNCED).for_each(|key| self.tell_block(announce.instance, key.index, key.address));
        }
        self.repeats.extend(known);
    }

    /// A round of [`Thread::repeats`]. What is not there any more is passed over.
    pub(super) fn repeat(&mut self) {
        let round = self.repeats.next(REPEATS_A_ROUND);
        let is_there = |key: &address::AddressKey| self.claims.state(&Key::Address(*key)) == Some(State::Present);
        let there = round.into_iter().filter(is_there).collect();
        self.speak(there, None);
    }

    /// `first`: the instance whose addresses these are, when nobody has been told of them yet.
    fn speak(&mut self, addresses: Vec<address::AddressKey>, first: Option<InstanceId>) {
        if self.announcer.is_none() {
            // It may have been descriptors that were lacking.
            self.announcer = Announcer::open().ok();
        }
        let Some(announcer) = &self.announcer else { return };
        let mut senders: BTreeMap<u32, Option<From>> = BTreeMap::new();
        let (told_of, mut told) = (tracing::enabled!(target: "vrrp", tracing::Level::DEBUG), 0_usize);
        for key in addresses {
            let sender = senders.entry(key.index).or_insert_with(|| self.sender(key.index, key.address.is_ipv6()));
            let Some(from) = sender else { continue };
            if told_of {
                told += 1;
                if told <= ANNOUNCED {
                    self.tell_announcement(key.index, key.address, first);
                }
            }
            for _ in 0..3 {
                match announcer.announce(from, key.address) {
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock || e.raw_os_error() == Some(libc::ENOBUFS) => {
                        // The interface's queue is full of announcements; it drains within milliseconds.
                        std::thread::sleep(Duration::from_micros(500));
                    }
                    _ => break,
                }
            }
        }
        if let Some(more) = told.checked_sub(ANNOUNCED).filter(|more| *more > 0) {
            tracing::debug!(target: "vrrp", "Sending gratuitous ARPs and Neighbour Adverts for {more} more addresses");
        }
    }

    /// As keepalived says it with `-D`, once for each block of announcements and address: it is announced, or waits to be.
    fn tell_block(&self, instance: InstanceId, ifindex: u32, address: IpAddr) {
        let Some(one) = self.spec.instances.get(instance.index()) else { return };
        let name = self.links.get(ifindex).map_or("?", |known| known.link.name.as_str());
        let kind = if address.is_ipv4() { "gratuitous ARPs" } else { "Unsolicited Neighbour Adverts" };
        tracing::debug!(target: "vrrp", "({}) Sending/queueing {kind} on {name} for {address}", one.name);
    }

    /// As keepalived says it with `-D`, and as guides tell people to look for it: the first time with the instance.
    fn tell_announcement(&self, ifindex: u32, address: IpAddr, first: Option<InstanceId>) {
        let name = self.links.get(ifindex).map_or("?", |known| known.link.name.as_str());
        if let Some(instance) = first {
            self.tell_block(instance, ifindex, address);
        }
        match address {
            IpAddr::V4(address) => {
                tracing::debug!(target: "vrrp", "Sending gratuitous ARP on {name} for {address}");
            }
            IpAddr::V6(address) => {
                tracing::debug!(target: "vrrp", "Sending unsolicited Neighbour Advert on {name} for {address}");
            }
        }
    }
}
