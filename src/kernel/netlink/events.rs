//! What the kernel tells, and what the kernel thread makes of it: facts for the engine, and the healing of claims.

use super::FromKernel;
use super::NetlinkError;
use super::address::{self, AddressKey};
use super::channel::Channel;
use super::claims::State;
use super::links::Links;
use super::thread::Thread;
use crate::kernel::reconcile::Key;
use crate::spec::PROTOCOL_KEEPALIVED;
use crate::vrrp::io::LinkFact;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::route::{RouteMessage, RouteProtocol};
use netlink_packet_route::rule::RuleMessage;
use netlink_packet_route::{AddressFamily, link};
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// The interfaces with their addresses, all of them.
pub(super) fn dump_links(channel: &mut Channel) -> Result<Links, NetlinkError> {
    let links: Vec<LinkMessage> = channel
        .dump(Message::GetLink(LinkMessage::default()))?
        .into_iter()
        .filter_map(|message| match message {
            Message::NewLink(link) => Some(link),
            _ => None,
        })
        .collect();
    let addresses: Vec<AddressMessage> = channel
        .dump(Message::GetAddress(AddressMessage::default()))?
        .into_iter()
        .filter_map(|message| match message {
            Message::NewAddress(address) => Some(address),
            _ => None,
        })
        .collect();
    Ok(Links::new(&links, &addresses))
}

/// All routes of the protocol that marks ours: the kernel filters, so a full Internet table costs nothing.
pub(super) fn dump_routes(channel: &mut Channel) -> Result<Vec<RouteMessage>, NetlinkError> {
    let mut found = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut wanted = RouteMessage::default();
        wanted.header.address_family = family;
        wanted.header.protocol = RouteProtocol::from(PROTOCOL_KEEPALIVED);
        let routes = channel.dump(Message::GetRoute(wanted))?;
        found.extend(routes.into_iter().filter_map(|message| match message {
            Message::NewRoute(route) if u8::from(route.header.protocol) == PROTOCOL_KEEPALIVED => Some(route),
            _ => None,
        }));
    }
    Ok(found)
}

pub(super) fn dump_rules(channel: &mut Channel) -> Result<Vec<RuleMessage>, NetlinkError> {
    let mut found = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut wanted = RuleMessage::default();
        wanted.header.family = family;
        let rules = channel.dump(Message::GetRule(wanted))?;
        found.extend(rules.into_iter().filter_map(|message| match message {
            Message::NewRule(rule) => Some(rule),
            _ => None,
        }));
    }
    Ok(found)
}

/// How often events were lost.
#[derive(Debug, Default)]
pub(super) struct Overruns {
    untold: u64,
    told: Option<Instant>,
}

impl Overruns {
    /// One more. Answers how many are to be told, if it is time to tell.
    fn count(&mut self, now: Instant) -> Option<u64> {
        const QUIET: Duration = Duration::from_secs(10);
        self.untold += 1;
        let due = self.told.is_none_or(|told| now.duration_since(told) >= QUIET);
        due.then(|| {
            self.told = Some(now);
            std::mem::take(&mut self.untold)
        })
    }
}

impl Thread {
    pub(super) fn event(&mut self, message: Message) {
        match message {
            Message::NewLink(link) => self.link_event(&link),
            Message::DelLink(link) if link.header.interface_family == AddressFamily::Unspec => {
                self.link_gone(link.header.index);
            }
            Message::NewAddress(address) => self.address_event(&address),
            Message::DelAddress(address) => self.address_gone(&address),
            Message::NewRoute(route) => {
                self.retries.hurry(Instant::now());
                self.route_appeared(&route);
            }
            Message::NewRule(rule) => self.rule_appeared(&rule),
            Message::DelRoute(route) => self.gone(&Key::of_route(&route)),
            Message::DelRule(rule) => self.gone(&Key::of_rule(&rule)),
            _ => {}
        }
    }

    /// The kernel had to drop events: everything is read again, and said, but not once for each of a thousand.
    pub(super) fn overrun(&mut self) {
        let room = self.watch.room();
        self.start_over();
        self.sweep_all(false);
        if let Some(times) = self.overruns.count(Instant::now()) {
            let times = if times == 1 { String::new() } else { format!(" {times} times") };
            let text = format!(
                "Netlink: the receive buffer of {room} bytes was overrun{times}; all interfaces, addresses, routes and \
                 rules were read again (vrrp_netlink_monitor_rcv_bufs makes it larger)"
            );
            self.trouble(None, text);
        }
    }

    /// Everything is read again from a dump: events were lost, and with them every certainty.
    pub(super) fn start_over(&mut self) {
        if self.look_again() {
            self.remake_links();
            self.refresh_all();
        }
    }

    /// Reads everything again, for the engine as well; what had been told of it before is forgotten. False, with a word, if that is
    /// not possible.
    pub(super) fn look_again(&mut self) -> bool {
        // What is queued is older than the dump that follows.
        self.watch.forget();
        match dump_links(&mut self.channel) {
            Ok(links) => {
                self.links.renew(links);
                self.sweep.forget();
            }
            Err(e) => {
                self.trouble(None, format!("the interfaces cannot be read: {e}"));
                return false;
            }
        }
        self.report(FromKernel::Link(LinkFact::Dump(self.links.all())));
        let lost: Vec<Key> = self
            .claims
            .wanted()
            .filter(|(_, state, _)| *state != State::Absent)
            .filter(|(key, _, _)| matches!(key, Key::Address(address) if !self.links.has_address(address)))
            .map(|(key, _, _)| key.clone())
            .collect();
        for key in lost {
            self.lost(&key);
        }
        self.doubtful = true;
        true
    }

    /// Compares tracked routes and rules with what is there: some go without a word (IPv4 routes of an interface that
    /// goes down or loses the address they stand on).
    pub(super) fn verify(&mut self) {
        let routes: Vec<Key> = self.present(|key| matches!(key, Key::Route(_)));
        if !routes.is_empty()
            && let Ok(found) = dump_routes(&mut self.channel)
        {
            let found: HashSet<Key> = found.iter().map(Key::of_route).collect();
            for key in routes.iter().filter(|key| !found.contains(key)) {
                self.lost(key);
            }
        }
        let rules: Vec<Key> = self.present(|key| matches!(key, Key::Rule(_)));
        if !rules.is_empty()
            && let Ok(found) = dump_rules(&mut self.channel)
        {
            let found: HashSet<Key> = found.iter().map(Key::of_rule).collect();
            for key in rules.iter().filter(|key| !found.contains(key)) {
                self.lost(key);
            }
        }
    }

    fn present(&self, which: impl Fn(&Key) -> bool) -> Vec<Key> {
        let wanted = self.claims.wanted().filter(|(_, state, _)| *state == State::Present);
        wanted.filter(|(key, _, _)| which(key)).map(|(key, _, _)| key.clone()).collect()
    }

    fn gone(&mut self, key: &Key) {
        if self.claims.state(key).is_some_and(|state| state != State::Absent) {
            self.lost(key);
        }
    }

    fn link_event(&mut self, message: &link::LinkMessage) {
        let Some((before, now)) = self.links.take(message) else { return };
        let known_before = before.is_some();
        let came_up = now.link.up && !before.as_ref().is_some_and(|before| before.link.up);
        let renamed = before.as_ref().is_some_and(|before| before.link.name != now.link.name);
        let name = now.link.name.clone();
        self.report(FromKernel::Link(LinkFact::Changed(now.link)));
        if !known_before || renamed {
            // The kernel gives a new interface its defaults.
            let mut troubles = Vec::new();
            self.set_sysctls(Some(&name), &mut troubles);
            self.sysctls.keep();
            troubles.into_iter().for_each(|trouble| self.report(FromKernel::Trouble(trouble)));
            self.sweep.forget();
            self.remake_links();
        }
        if came_up || renamed || !known_before {
            // The kernel drops IPv6 addresses and routes of an interface that goes down.
            self.refresh_all();
            self.doubtful = true;
        }
    }

    fn link_gone(&mut self, index: u32) {
        if self.links.forget(index).is_none() {
            return;
        }
        self.sweep.forget();
        self.report(FromKernel::Link(LinkFact::Gone { index }));
        let lost: Vec<Key> = self.present(|key| matches!(key, Key::Address(address) if address.index == index));
        for key in lost {
            // Not to be put back: the interface is no more.
            self.claims.set_state(&key, State::Absent);
        }
        self.remake_links();
        self.refresh_all();
        self.doubtful = true;
    }

    fn address_event(&mut self, message: &AddressMessage) {
        let key = AddressKey::of(message);
        let fact = address::fact(message);
        if self.links.put_address(key, fact) {
            self.report(FromKernel::Link(LinkFact::Address { index: key.index, address: fact }));
        }
        let wanted = Key::Address(key);
        match self.claims.state(&wanted) {
            Some(State::Tentative) if fact.usable => {
                for (owner, position) in self.claims.set_state(&wanted, State::Present) {
                    self.arrived(owner, position.into_iter().collect());
                }
            }
            Some(State::Tentative) if has_failed(message) => {
                for (owner, _) in self.claims.set_state(&wanted, State::Tentative) {
                    self.fail(
                        owner,
                        format!("address {} is in use by another host (IPv6 duplicate address)", key.address),
                    );
                }
            }
            None => {
                // A route that leads through its network, a source: what somebody owns may have waited for it.
                self.retries.hurry(Instant::now());
                self.appeared(&wanted);
            }
            Some(_) => {}
        }
    }

    fn address_gone(&mut self, message: &AddressMessage) {
        let key = AddressKey::of(message);
        if self.links.drop_address(&key) {
            let (index, address, prefix) = (key.index, key.address, key.prefix);
            self.report(FromKernel::Link(LinkFact::AddressGone { index, address, prefix }));
        }
        let wanted = Key::Address(key);
        if self.claims.state(&wanted).is_none_or(|state| state == State::Absent) {
            return;
        }
        if key.address.is_ipv6() && !self.is_up(key.index) {
            // Taken by the kernel because the interface went down: comes back with it.
            self.claims.set_state(&wanted, State::Absent);
            return;
        }
        self.lost(&wanted);
        self.doubtful = true;
    }

    /// Asks the kernel: the event that says so may still be on its way.
    fn is_up(&mut self, index: u32) -> bool {
        self.flags(index).is_some_and(|flags| flags.contains(link::LinkFlags::Up))
    }

    /// Is there such an interface now, whatever has been heard of it?
    pub(super) fn is_known(&mut self, index: u32) -> bool {
        self.flags(index).is_some()
    }

    fn flags(&mut self, index: u32) -> Option<link::LinkFlags> {
        let mut wanted = LinkMessage::default();
        wanted.header.index = index;
        let found = self.channel.get(Message::GetLink(wanted)).ok()?;
        found.into_iter().find_map(|message| match message {
            Message::NewLink(link) => Some(link.header.flags),
            _ => None,
        })
    }
}

fn has_failed(message: &AddressMessage) -> bool {
    message
        .attributes
        .iter()
        .any(|attribute| matches!(attribute, AddressAttribute::Flags(flags) if flags.contains(AddressFlags::Dadfailed)))
}
