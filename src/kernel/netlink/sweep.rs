//! Removes what only a master has and an instance that is none has all the same, whatever program put it there. This is the
//! other direction of the healing in [`super::claims`], so that the kernel follows the state both ways.
//!
//! Looked at as a whole at every configuration and after events were lost, and one by one when something appears. Routes
//! and rules count only if they carry our protocol number: another program's may look alike and be its own. The items of
//! an address owner (priority 255) are the machine's own and are left alone; so is every address that an instance is
//! configured to speak from.
//!
//! Once, at the first configuration, what an earlier run left is removed by what is there and not by what the
//! configuration says: addresses, routes and rules with our protocol number, virtual links of our making, firewall tables
//! under our name. Not if another program speaks VRRP in this network namespace, which may be the one that they belong to.

use super::FromKernel;
use super::address::{self, AddressKey};
use super::batch::{describe, describe_key, is_gone};
use super::channel::Request;
use super::claims::HEALS_A_SECOND;
use super::events::{dump_routes, dump_rules};
use super::resolve;
use super::route;
use super::rule;
use super::thread::Thread;
use super::virtual_link;
use crate::kernel::reconcile::{Item, Key};
use crate::kernel::sysctl;
use crate::spec::{InstanceId, PROTOCOL_KEEPALIVED};
use crate::vrrp::io::LinkFact;
use crate::wire::{PROTOCOL_AH, PROTOCOL_VRRP, Priority};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::rule::RuleMessage;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// After a fight for an item all is left alone this long, and twice as long each time.
const REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);
/// A fight that has been over for this long is forgotten.
const PEACE: Duration = Duration::from_secs(60);
/// An heir's masters have said by then what they own.
const OF_AN_HEIR: Duration = Duration::from_secs(2);

/// The network of an IPv4 address, and its length.
fn network(address: IpAddr, prefix: u8) -> Option<(u32, u8)> {
    let IpAddr::V4(address) = address else { return None };
    let host = 32_u32.checked_sub(prefix.into())?;
    Some((u32::from(address).checked_shr(host).unwrap_or(0), prefix))
}

/// What no instance but a master may have.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    items: BTreeMap<Key, Claimed>,
    /// `items` is to be rebuilt before it is used.
    stale: bool,
    /// When everything is to be compared.
    due: Option<Instant>,
    fights: BTreeMap<InstanceId, Fight>,
    /// Another program here speaks VRRP, so what is found at the start may be its.
    beside_others: bool,
}

/// An item of some claims.
#[derive(Debug)]
struct Claimed {
    /// `None` for an address, of which the key says enough: they are the many.
    item: Option<Box<Item>>,
    by: Vec<InstanceId>,
    /// Looked at when it appears, and not only at a configuration.
    tracked: bool,
}

impl Claimed {
    fn removal(&self, key: &Key) -> Option<Message> {
        match key {
            Key::Address(key) => Some(Message::DelAddress(address::removal(key))),
            Key::Route(_) | Key::Rule(_) => self.item.as_deref().map(removal),
        }
    }
}

/// Removals of an instance's items.
#[derive(Debug)]
struct Fight {
    since: Instant,
    count: u32,
    rest: Duration,
    last: Instant,
}

impl Sweep {
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The configuration, or the indices of interfaces, are others.
    pub(super) fn forget(&mut self) {
        self.stale = true;
    }

    /// May another item of this instance be removed now? Otherwise how long it is left alone.
    fn may_remove(&mut self, instance: InstanceId, now: Instant) -> Result<(), Duration> {
        let fight = self.fights.entry(instance).or_insert(Fight { since: now, count: 0, rest: REST, last: now });
        if now.duration_since(fight.last) > PEACE {
            fight.rest = REST;
        }
        fight.last = now;
        if now.duration_since(fight.since) >= Duration::from_secs(1) {
            (fight.since, fight.count) = (now, 0);
        }
        fight.count += 1;
        if fight.count <= HEALS_A_SECOND {
            return Ok(());
        }
        let rest = fight.rest;
        (fight.since, fight.count) = (now + rest, 0);
        fight.rest = (rest * 2).min(LONGEST_REST);
        Err(rest)
    }
}

impl Thread {
    /// A configuration has been taken. `heir`: what is there was owned by the program before this one.
    pub(super) fn sweep_at_configuration(&mut self, first: bool, heir: bool) {
        self.sweep.stale = true;
        if heir {
            self.sweep.due = Some(Instant::now() + OF_AN_HEIR);
            return;
        }
        self.sweep.beside_others = first && others_speak();
        self.sweep_all(first);
        if first && !self.sweep.beside_others {
            self.sweep_marked();
        }
    }

    pub(super) fn sweep_due(&mut self, now: Instant) {
        if self.sweep.due.is_some_and(|due| due <= now) {
            self.sweep.due = None;
            self.sweep_all(false);
        }
    }

    /// Compares all that there is with what may be there.
    pub(super) fn sweep_all(&mut self, first: bool) {
        self.renew_sweep();
        let any = |which: fn(&Key) -> bool| self.sweep.items.keys().any(which);
        let mut there: BTreeSet<Key> = BTreeSet::new();
        if any(|key| matches!(key, Key::Route(_)))
            && let Ok(routes) = dump_routes(&mut self.channel)
        {
            there.extend(routes.iter().map(Key::of_route));
        }
        if any(|key| matches!(key, Key::Rule(_)))
            && let Ok(rules) = dump_rules(&mut self.channel)
        {
            there.extend(rules.iter().filter(|r| rule::is_ours(r)).map(Key::of_rule));
        }
        // What an instance gives up goes with the next step, and nobody else has put it there.
        let going = self.claims.going();
        let mut left: Vec<(Key, InstanceId)> = self
            .sweep
            .items
            .keys()
            .filter(|key| !going.contains(key))
            .filter(|key| match key {
                Key::Address(address) => self.links.has_address(address),
                key => there.contains(key),
            })
            .filter_map(|key| Some((key.clone(), self.is_unwelcome(key)?)))
            .collect();
        // In the order of removal: rules, routes, addresses.
        left.sort_by(|(a, _), (b, _)| b.cmp(a));
        for (key, instance) in left {
            self.remove_unwelcome(&key, instance, first);
        }
    }

    /// Something has appeared.
    pub(super) fn appeared(&mut self, key: &Key) {
        if !self.configured || self.sweep.due.is_some() {
            // It will be seen then.
            return;
        }
        self.renew_sweep();
        let unwelcome = self.is_unwelcome(key).filter(|_| self.sweep.items.get(key).is_some_and(|i| i.tracked));
        // The news of what was set for a MASTER may come when that one is BACKUP again: it goes with the next step.
        if let Some(instance) = unwelcome.filter(|_| !self.claims.is_going(key)) {
            match self.sweep.may_remove(instance, Instant::now()) {
                Ok(()) => self.remove_unwelcome(key, instance, false),
                Err(rest) => {
                    self.sweep.due = Some(Instant::now() + rest);
                    let what = describe_key(key);
                    let text = format!(
                        "another program keeps putting {what} back, which only a MASTER has; left alone for {} s",
                        rest.as_secs()
                    );
                    self.trouble(Some(instance), text);
                }
            }
        }
    }

    /// A route or a rule has appeared that carries our number.
    pub(super) fn route_appeared(&mut self, message: &RouteMessage) {
        if u8::from(message.header.protocol) == PROTOCOL_KEEPALIVED {
            self.appeared(&Key::of_route(message));
        }
    }

    pub(super) fn rule_appeared(&mut self, message: &RuleMessage) {
        if rule::is_ours(message) {
            self.appeared(&Key::of_rule(message));
        }
    }

    /// Whose it is, if nobody who may have it wants it.
    fn is_unwelcome(&self, key: &Key) -> Option<InstanceId> {
        let claimed = self.sweep.items.get(key)?;
        let wanted = self.claims.state(key).is_some() || claimed.by.iter().any(|id| self.owned.contains_key(id));
        claimed.by.first().copied().filter(|_| !wanted)
    }

    fn remove_unwelcome(&mut self, key: &Key, instance: InstanceId, first: bool) {
        let Some(claimed) = self.sweep.items.get(key) else { return };
        let (what, removal) = (describe_key(key), claimed.removal(key));
        let Some(removal) = removal else { return };
        let promoting = match key {
            Key::Address(address) => self.promote_secondaries(BTreeSet::from([*address])),
            _ => Vec::new(),
        };
        let removed = self.channel.request(removal, 0);
        self.end_promoting(&promoting);
        match removed {
            Ok(()) if first && self.sweep.beside_others => {
                let text = format!(
                    "{what} was here at the start, and only a MASTER has it; removed. Another program here speaks VRRP and may have \
                     set it: of two that have one address one only may be configured for it"
                );
                self.trouble(Some(instance), text);
            }
            Ok(()) if first => self.trouble(None, format!("{what} was left by an earlier run; removed")),
            Ok(()) => {
                let name = match key {
                    Key::Address(address) => self.links.get(address.index).map(|known| known.link.name.clone()),
                    _ => None,
                };
                let item = name.map_or_else(|| what.clone(), |name| format!("{what} from {name}")).into();
                self.report(FromKernel::Link(LinkFact::Swept { instance, item }));
            }
            Err(e) if is_gone(&e) => {}
            Err(e) => self.trouble(Some(instance), format!("{what} is not to be here and cannot be removed: {e}")),
        }
    }

    /// With the first IPv4 address of a network the kernel removes all others of it from the interface. Where one among them is to
    /// stay, as this server's own that was set anew while a virtual one was there, the kernel makes that the first one until
    /// [`Thread::end_promoting`] has what is answered. It is no setting of the daemon's, and not recorded as one: it lasts for a
    /// request, and what a kill in that moment leaves does no harm.
    #[must_use]
    pub(super) fn promote_secondaries(&mut self, going: BTreeSet<AddressKey>) -> Vec<String> {
        let links: BTreeSet<u32> = going.iter().filter(|key| key.address.is_ipv4()).map(|key| key.index).collect();
        let mut promoting = Vec::new();
        for index in links {
            let Some(known) = self.links.get(index) else { continue };
            let (all, own) = ("all", known.link.name.as_str().to_owned());
            let paths = [all, &own].map(|link| sysctl::path("ipv4", link, "promote_secondaries"));
            if paths.iter().any(|path| sysctl::read(path).is_none_or(|value| value != "0")) {
                continue;
            }
            self.renew_sweep();
            let Some(known) = self.links.get(index) else { continue };
            // Of a claim that goes as a whole nothing stays: there the kernel may take what it wants.
            let stays = |address: IpAddr, prefix: u8| {
                let key = AddressKey { index, address, prefix, peer: None };
                let item = Key::Address(key);
                !going.contains(&key) && (!self.sweep.items.contains_key(&item) || self.claims.state(&item).is_some())
            };
            let staying = known.link.addresses.iter().filter(|one| one.secondary && stays(one.address, one.prefix));
            let networks: BTreeSet<(u32, u8)> = staying.filter_map(|one| network(one.address, one.prefix)).collect();
            let touched = |key: &AddressKey| network(key.address, key.prefix).is_some_and(|of| networks.contains(&of));
            if going.iter().any(|key| key.index == index && touched(key)) {
                promoting.extend(paths.into_iter().nth(1));
            }
        }
        promoting.retain(|path| sysctl::write(path, "1", &mut self.channel).is_ok());
        promoting
    }

    pub(super) fn end_promoting(&mut self, promoting: &[String]) {
        for path in promoting {
            let _ = sysctl::write(path, "0", &mut self.channel);
        }
    }

    fn renew_sweep(&mut self) {
        if !std::mem::take(&mut self.sweep.stale) {
            return;
        }
        let spoken_from: BTreeSet<IpAddr> = self.spec.instances.iter().filter_map(|i| i.source).collect();
        let mut items: BTreeMap<Key, Claimed> = BTreeMap::new();
        for (number, instance) in (0u32..).zip(&self.spec.instances) {
            if instance.priority == Priority::OWNER {
                continue;
            }
            let id = InstanceId(number);
            for want in resolve::claim(id, instance, &instance.claim, &self.names, &self.links).wants {
                let key = want.item.key();
                if matches!(&key, Key::Address(address) if spoken_from.contains(&address.address)) {
                    continue;
                }
                let item = Some(want.item).filter(|item| !matches!(item, Item::Address(_))).map(Box::new);
                let fresh = Claimed { item, by: Vec::with_capacity(1), tracked: false };
                let claimed = items.entry(key).or_insert(fresh);
                claimed.by.push(id);
                claimed.tracked |= want.tracked;
            }
        }
        // There may be thousands, and one by one they have left its nodes half empty.
        self.sweep.items = items.into_iter().collect();
    }

    /// What an earlier run left, whatever its configuration was.
    fn sweep_marked(&mut self) {
        let statics = resolve::statics(&self.spec.statics, &self.links);
        let mut kept: BTreeSet<Key> = statics.wants.iter().map(|want| want.item.key()).collect();
        kept.extend(self.claims.wanted().map(|(key, _, _)| key.clone()));
        let mut left: Vec<(String, Message)> = Vec::new();
        let rules = dump_rules(&mut self.channel).unwrap_or_default();
        for message in rules.into_iter().filter(rule::is_ours) {
            if !kept.contains(&Key::of_rule(&message)) {
                left.push((describe(&Item::Rule(message.clone())), Message::DelRule(message)));
            }
        }
        for message in dump_routes(&mut self.channel).unwrap_or_default() {
            if !kept.contains(&Key::of_route(&message)) {
                let item = Item::Route(message.clone(), Default::default());
                left.push((describe(&item), removal(&item)));
            }
        }
        let own: BTreeSet<IpAddr> = self.spec.instances.iter().filter_map(|i| i.source).collect();
        for key in self.links.marked() {
            if !kept.contains(&Key::Address(key)) && self.links.has_address(&key) && !own.contains(&key.address) {
                let message: AddressMessage = address::removal(&key);
                left.push((format!("address {}/{}", key.address, key.prefix), Message::DelAddress(message)));
            }
        }
        let requests = left.iter().map(|(_, message)| Request { message: message.clone(), flags: 0 }).collect();
        let outcomes = self.channel.batch(requests);
        for ((what, _), outcome) in left.iter().zip(outcomes) {
            if outcome.is_ok() {
                self.trouble(None, format!("{what} was left by an earlier run; removed"));
            }
        }
        let wanted: BTreeSet<u32> = self.virtual_links.values().copied().collect();
        let links: Vec<(u32, String)> = self
            .links
            .known()
            .filter(|known| virtual_link::is_ours(known) && !wanted.contains(&known.link.index))
            .map(|known| (known.link.index, known.link.name.to_string()))
            .collect();
        for (index, name) in links {
            match virtual_link::remove(index, &mut self.channel) {
                Ok(()) => self.trouble(None, format!("interface {name} was left by an earlier run; removed")),
                Err(e) => self.trouble(None, format!("interface {name} of an earlier run cannot be removed: {e}")),
            }
        }
        for table in self.firewall.remove_leftovers(&self.spec.daemon.nftables) {
            self.trouble(None, format!("nftables table {table} was left by an earlier run; removed"));
        }
    }
}

fn removal(item: &Item) -> Message {
    match item {
        Item::Address(message) => Message::DelAddress(address::removal(&AddressKey::of(message))),
        Item::Route(message, _) => Message::DelRoute(route::removal(message)),
        Item::Rule(message) => Message::DelRule(message.clone()),
    }
}

/// Does another program of this network namespace have a socket for VRRP? Ours are not open yet.
fn others_speak() -> bool {
    let speaks = |file: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines().skip(1).any(|line| {
            // The protocol stands where other sockets have their port.
            let local = line.split_whitespace().nth(1).and_then(|local| local.rsplit_once(':'));
            let protocol = local.and_then(|(_, number)| u16::from_str_radix(number, 16).ok());
            protocol.is_some_and(|number| [PROTOCOL_VRRP, PROTOCOL_AH].map(u16::from).contains(&number))
        })
    };
    ["/proc/thread-self/net/raw", "/proc/thread-self/net/raw6"].into_iter().any(speaks)
}
