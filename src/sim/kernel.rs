//! The modelled kernel of one node: interfaces, what has been put on them, and a queue of requests that takes time and
//! can fail. It stands for the whole kernel side of the daemon: it retries what failed and puts back what others took.

use super::lan::{Lan, interfaces};
use super::reloads::Carried;
use super::scenario::Mood;
use crate::spec::{Claim, IfName, InstanceId, Spec, VirtualLink};
use crate::time::{Interval, Time};
use crate::vrrp::io::{Link, LinkAddress, LinkFact, Outcome};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Until a refused request is tried again.
pub(super) const RETRY: Interval = Interval::from_millis(500);
/// A request, and each address in it.
const REQUEST: Interval = Interval::from_micros(150);
const ADDRESS: Interval = Interval::from_micros(20);

/// A request under way.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub instance: InstanceId,
    /// `None` takes everything away.
    pub claim: Option<Arc<Claim>>,
    /// Only the newest request for an instance counts.
    pub generation: u64,
}

/// Who holds what an instance held that a reload took away.
pub(super) const ORPHAN: InstanceId = InstanceId(u32::MAX);

/// What carrying out a request led to.
#[derive(Default)]
pub(super) struct Done {
    pub outcomes: Vec<Outcome>,
    pub facts: Vec<LinkFact>,
    pub again: bool,
}

/// Interfaces and addresses of one node.
#[derive(Debug)]
pub(super) struct Kernel {
    pub links: Vec<Link>,
    pub mood: Mood,
    /// Virtual addresses that are on an interface, with the instance that asked for them.
    pub held: BTreeMap<IpAddr, InstanceId>,
    wishes: BTreeMap<InstanceId, (u64, Option<Arc<Claim>>)>,
    busy_until: Time,
    generation: u64,
    /// Removed by another program, and not yet put back.
    pub stolen: BTreeMap<IpAddr, InstanceId>,
    /// Refused, and to be tried again.
    refused: BTreeSet<InstanceId>,
}

/// More work ahead than this is a kernel that cannot keep up.
const BACKLOG: Interval = Interval::from_millis(20);

impl Kernel {
    /// The interfaces of a server, with no address of a claim.
    pub fn new(node: usize, spec: &Spec, lan: &Lan) -> Kernel {
        Kernel {
            links: links(node, spec, lan),
            mood: Mood::Well,
            held: BTreeMap::new(),
            wishes: BTreeMap::new(),
            busy_until: Time::ZERO,
            generation: 0,
            stolen: BTreeMap::new(),
            refused: BTreeSet::new(),
        }
    }

    /// Nothing is refused or held up.
    pub fn is_well(&self, now: Time) -> bool {
        self.mood == Mood::Well && self.refused.is_empty() && self.busy_until.since(now) < BACKLOG
    }

    /// Takes a request; it is carried out at the time given back.
    pub fn ask(&mut self, instance: InstanceId, claim: Option<Arc<Claim>>, now: Time) -> (Time, Request) {
        self.generation += 1;
        self.wishes.insert(instance, (self.generation, claim.clone()));
        let request = Request { instance, claim, generation: self.generation };
        (self.schedule(&request, now), request)
    }

    /// When a request that is ready at `now` will be carried out: requests wait for each other.
    pub fn schedule(&mut self, request: &Request, now: Time) -> Time {
        let size = request.claim.as_ref().map_or(1, |claim| claim.addresses.len() as u64);
        let takes = match self.mood {
            Mood::Slow(by) => by,
            Mood::Well | Mood::Failing => REQUEST + ADDRESS.times(size),
        };
        let at = if self.busy_until > now { self.busy_until } else { now } + takes;
        self.busy_until = at;
        at
    }

    /// Longest time that a request waits when `requests` of `addresses` each come at once and all is well.
    pub fn patience(requests: u64, addresses: u64) -> Interval {
        (REQUEST + ADDRESS.times(addresses)).times(requests)
    }

    /// Does what is asked, or refuses as the kernel would.
    pub fn carry_out(&mut self, request: &Request) -> Done {
        let mut done = Done::default();
        if self.wishes.get(&request.instance).is_none_or(|(newest, _)| *newest != request.generation) {
            return done;
        }
        if self.mood == Mood::Failing {
            done.again = true;
            self.refused.insert(request.instance);
            if request.claim.is_some() {
                done.outcomes.push(Outcome::Failed { reason: "the modelled kernel refuses".into() });
            }
            return done;
        }
        self.refused.remove(&request.instance);
        let wanted: Vec<IpAddr> =
            request.claim.iter().flat_map(|claim| claim.addresses.iter().map(|a| a.address)).collect();
        let gone: Vec<IpAddr> = self
            .held
            .iter()
            .filter(|(address, holder)| **holder == request.instance && !wanted.contains(address))
            .map(|(address, _)| *address)
            .collect();
        for address in gone {
            self.held.remove(&address);
            done.facts.extend(self.tell_gone(address));
        }
        for address in &wanted {
            if self.held.insert(*address, request.instance).is_none() {
                done.facts.extend(self.tell_come(*address));
            }
        }
        if request.claim.is_some() {
            let count = u32::try_from(wanted.len()).unwrap_or(u32::MAX);
            if count > 0 {
                done.outcomes.push(Outcome::Ready { addresses: 0..count, announced: false });
            }
            done.outcomes.push(Outcome::Complete);
        }
        done
    }

    /// The interface of most virtual addresses; which one it is matters little, that it is told matters.
    fn home(&mut self) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| !link.loopback)
    }

    fn tell_come(&mut self, address: IpAddr) -> Option<LinkFact> {
        let link = self.home()?;
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        let entry = LinkAddress { address, prefix, usable: true, tentative: false, secondary: false };
        link.addresses.push(entry);
        Some(LinkFact::Address { index: link.index, address: entry })
    }

    fn tell_gone(&mut self, address: IpAddr) -> Option<LinkFact> {
        let link = self.home()?;
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        link.addresses.retain(|a| a.address != address);
        Some(LinkFact::AddressGone { index: link.index, address, prefix })
    }

    /// Another program removes an address. Gives who held it and where it stands in its claim.
    pub fn steal(&mut self, address: IpAddr) -> Option<(InstanceId, u32)> {
        let holder = self.held.remove(&address)?;
        self.stolen.insert(address, holder);
        let _ = self.tell_gone(address);
        let claim = self.wishes.get(&holder)?.1.as_ref()?;
        let position = claim.addresses.iter().position(|a| a.address == address)?;
        Some((holder, u32::try_from(position).ok()?))
    }

    /// Puts a stolen address back, if it is still wanted.
    pub fn heal(&mut self, instance: InstanceId, position: u32) -> bool {
        let wish = self.wishes.get(&instance).and_then(|(_, claim)| claim.as_ref());
        let Some(address) = wish.and_then(|claim| claim.addresses.get(position as usize)).map(|a| a.address) else {
            return false;
        };
        self.stolen.remove(&address);
        let back = self.held.insert(address, instance).is_none();
        if back {
            let _ = self.tell_come(address);
        }
        back
    }

    /// A starting daemon removes what an earlier life left; a machine that comes up has nothing.
    pub fn clear(&mut self) {
        for address in self.held.keys().copied().collect::<Vec<_>>() {
            let _ = self.tell_gone(address);
        }
        self.held.clear();
        self.forget();
    }

    /// Requests that the daemon had made die with it.
    pub fn forget(&mut self) {
        self.wishes.clear();
        self.refused.clear();
        self.stolen.clear();
        self.busy_until = Time::ZERO;
    }

    /// Instances have other ids; what those hold that are no more is nobody's.
    pub fn rekey(&mut self, carried: &Carried) {
        let id = |old: &InstanceId| carried.get(old).copied();
        self.held.values_mut().for_each(|holder| *holder = id(holder).unwrap_or(ORPHAN));
        let stolen = std::mem::take(&mut self.stolen).into_iter();
        self.stolen = stolen.filter_map(|(address, holder)| Some((address, id(&holder)?))).collect();
        let wishes = std::mem::take(&mut self.wishes).into_iter();
        self.wishes = wishes.filter_map(|(holder, wish)| Some((id(&holder)?, wish))).collect();
        self.refused = self.refused.iter().filter_map(id).collect();
    }

    pub(crate) fn has_orphans(&self) -> bool {
        self.held.values().any(|holder| *holder == ORPHAN)
    }

    /// The interface with this index.
    pub fn link(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    /// Whether a VMAC with this hardware address is on an interface.
    pub fn has_vmac(&self, base: u32, mac: [u8; 6]) -> bool {
        self.links.iter().any(|link| link.lower == base && &*link.kind == "macvlan" && link.mac == Some(mac))
    }

    /// Index of the link with this name.
    pub fn index(&self, name: &str) -> Option<u32> {
        self.links.iter().find(|link| link.name.as_str() == name).map(|link| link.index)
    }

    /// Interface that an address is on.
    pub fn whose(&self, address: IpAddr) -> Option<u32> {
        self.links.iter().find(|link| link.addresses.iter().any(|a| a.address == address)).map(|link| link.index)
    }
}

/// The interfaces that a node must have for its configuration to make sense, each with an address of each family:
/// what the configuration names as source, else one of the model's own.
fn links(node: usize, spec: &Spec, lan: &Lan) -> Vec<Link> {
    let mut links = Vec::new();
    let number = u8::try_from(node + 1).unwrap_or(u8::MAX);
    for name in interfaces(spec) {
        let Some(ifname) = IfName::new(&name) else { continue };
        let place = lan.place(node, &name).unwrap_or_default();
        let index = u32::try_from(links.len()).unwrap_or(0) + 2;
        let mut link = plain(index, ifname, mac(number, index));
        let sources = spec.instances.iter().filter(|i| i.interface.as_ref().map_or("eth0", |n| n.as_str()) == &*name);
        let mut sources: Vec<IpAddr> = sources.filter_map(|i| i.source).chain(lan.told(node, &name)).collect();
        sources.dedup();
        if !sources.iter().any(IpAddr::is_ipv4) {
            sources.push(IpAddr::V4(own_v4(place, number)));
        }
        // As the kernel makes it of the hardware address; a virtual address does not look like that.
        let low = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00 | (place as u16 & 0xff), u16::from(number));
        sources.push(IpAddr::V6(low));
        for address in sources {
            let prefix = if address.is_ipv4() { 24 } else { 64 };
            let known = link.addresses.iter().any(|a| a.address == address);
            if !known {
                link.addresses.push(LinkAddress { address, prefix, usable: true, tentative: false, secondary: false });
            }
        }
        links.push(link);
    }
    let parents = links.clone();
    for instance in &spec.instances {
        let (Some(virtual_link), Some(parent)) = (&instance.virtual_link, &instance.interface) else { continue };
        let Some(parent) = parents.iter().find(|l| l.name == *parent) else { continue };
        let (name, kind, mac) = match virtual_link {
            VirtualLink::Vmac { name, prefix, mac, .. } => (name, prefix, Some(*mac)),
            VirtualLink::Ipvlan { name, prefix, .. } => (name, prefix, parent.mac),
        };
        let Some(name) = name.clone().or_else(|| IfName::new(&format!("{kind}.{}", instance.vrid))) else { continue };
        let index = u32::try_from(links.len()).unwrap_or(0) + 2;
        let mut link = plain(index, name, mac.unwrap_or_default());
        link.lower = parent.index;
        link.kind = if matches!(virtual_link, VirtualLink::Vmac { .. }) { "macvlan" } else { "ipvlan" }.into();
        links.push(link);
    }
    links
}

fn plain(index: u32, name: IfName, mac: [u8; 6]) -> Link {
    Link { mac: Some(mac), kind: "".into(), ..super::build::link(index, name.as_str(), &[]) }
}

fn own_v4(place: usize, number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, u8::try_from(place).unwrap_or(u8::MAX), number)
}

pub(super) fn mac(number: u8, index: u32) -> [u8; 6] {
    [0x02, 0, 0, 0, u8::try_from(index).unwrap_or(u8::MAX), number]
}
