//! This machine's interfaces and addresses, as far as sessions depend on them: a lost link or source address is known
//! here in milliseconds, while packets would take the detection time to say so.

use super::io::{Address, Link, Local, Obstacle};
use crate::spec::IfName;
use crate::spec::bfd::Session;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// All interfaces by index; nothing is concluded before the first [`Local::Dump`].
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    known: bool,
    links: BTreeMap<u32, Place>,
}

#[derive(Clone, Debug)]
struct Place {
    name: IfName,
    running: bool,
    /// By address and prefix length: there may be thousands.
    addresses: BTreeMap<(IpAddr, u8), Address>,
}

impl Places {
    pub(super) fn new(links: Option<Vec<Link>>) -> Places {
        let mut places = Places::default();
        if let Some(links) = links {
            places.take(Local::Dump(links));
        }
        places
    }

    pub(super) fn take(&mut self, fact: Local) {
        match fact {
            Local::Dump(links) => {
                self.known = true;
                let keyed = |address: Address| ((address.address, address.prefix), address);
                let place = |link: Link| Place {
                    name: link.name,
                    running: link.running,
                    addresses: link.addresses.into_iter().map(keyed).collect(),
                };
                self.links = links.into_iter().map(|link| (link.index, place(link))).collect();
            }
            Local::Changed { index, name, running } => {
                let place = self.links.entry(index).or_insert_with(|| Place {
                    name: name.clone(),
                    running,
                    addresses: BTreeMap::new(),
                });
                (place.name, place.running) = (name, running);
            }
            Local::Gone { index } => {
                self.links.remove(&index);
            }
            Local::Address { index, address } => {
                let Some(place) = self.links.get_mut(&index) else { return };
                place.addresses.insert((address.address, address.prefix), address);
            }
            Local::AddressGone { index, address, prefix } => {
                if let Some(place) = self.links.get_mut(&index) {
                    place.addresses.remove(&(address, prefix));
                }
            }
        }
    }

    /// Index of a named interface; 0 if there is none.
    pub(super) fn index(&self, name: &IfName) -> u32 {
        self.links.iter().find(|(_, place)| place.name == *name).map_or(0, |(index, _)| *index)
    }

    /// What keeps a session from running. A multihop session's way is routing's affair: only its source has to be here.
    pub(super) fn obstacle(&self, session: &Session) -> Option<Obstacle> {
        if !self.known {
            return None;
        }
        if let Some(name) = &session.interface {
            let Some(place) = self.links.values().find(|place| place.name == *name) else {
                return Some(Obstacle::NoInterface(name.clone()));
            };
            if !place.running {
                return Some(Obstacle::LinkDown(name.clone()));
            }
        }
        if let Some(source) = session.source {
            let mut holders = self.links.values().filter(|place| holds(place, source)).peekable();
            if holders.peek().is_none() {
                return Some(Obstacle::NoSource(source));
            }
            // An address of a loopback or dummy interface is spoken from through another one.
            let on_link = holders.find(|place| reaches(place, session.neighbor));
            if let Some(place) = on_link.filter(|place| !session.multihop && !place.running) {
                return Some(Obstacle::LinkDown(place.name.clone()));
            }
        } else if session.interface.is_none() && !session.multihop {
            let mut reaching = self.links.values().filter(|place| reaches(place, session.neighbor)).peekable();
            if let Some(first) = reaching.peek().map(|place| place.name.clone())
                && reaching.all(|place| !place.running)
            {
                return Some(Obstacle::LinkDown(first));
            }
        }
        None
    }
}

fn holds(place: &Place, address: IpAddr) -> bool {
    place.addresses.values().any(|known| known.address == address && known.usable)
}

/// Is `neighbor` on the subnet of one of the interface's addresses?
fn reaches(place: &Place, neighbor: IpAddr) -> bool {
    place.addresses.values().any(|known| same_subnet(known.address, neighbor, known.prefix))
}

fn same_subnet(one: IpAddr, two: IpAddr, prefix: u8) -> bool {
    let shifted = |bits: u128, width: u32| bits.checked_shr(width.saturating_sub(prefix.into())).unwrap_or(0);
    match (one, two) {
        (IpAddr::V4(one), IpAddr::V4(two)) => shifted(u32::from(one).into(), 32) == shifted(u32::from(two).into(), 32),
        (IpAddr::V6(one), IpAddr::V6(two)) => shifted(one.into(), 128) == shifted(two.into(), 128),
        _ => false,
    }
}
