//! What is to be done so that the kernel's table holds what is wanted. Pure: a table that was seen and one that is wanted
//! come in, a list of steps goes out.
//!
//! Three things are kept. Whatever can be changed where it stands is changed there, so that its connections stay. What is
//! put in is put in before anything is taken out, so that a service that has a server before and after has one all the
//! time. And what is not ours is left alone.
//!
//! **Ours** are the services that are wanted, and those that were wanted before ([`Rules::held`], [`Rules::before`]): by this process, by
//! the one that it replaced, or by one that was killed, which left a [record](super::record) of them. Destinations need no such record:
//! the service is ours, so at the start all that it has is ours too ([`Rules::adopt`]), and what another program puts into
//! it later stays there, as it does with keepalived.

use super::dump::{Seen, SeenService};
use super::message::{DestinationKey, Message, Service, plain};
use crate::balance::io::{Destination, Picture, ServiceKey};
use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

/// One step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    NewService(ServiceKey, Service),
    /// All but the name and the destinations.
    SetService(ServiceKey, Service),
    /// With its destinations.
    DeleteService(ServiceKey),
    NewDestination(ServiceKey, DestinationKey, Destination),
    SetDestination(ServiceKey, DestinationKey, Destination),
    DeleteDestination(ServiceKey, DestinationKey),
}

/// What is ours besides what is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules<'a> {
    /// Services that another process left behind that was ours.
    pub before: Option<&'a BTreeSet<ServiceKey>>,
    /// Services and destinations that this process has put in.
    pub held: Option<&'a Seen>,
    /// All destinations of a service that is wanted are ours.
    pub adopt: bool,
    /// All services are ours (`lvs_flush`).
    pub everything: bool,
}
impl Rules<'_> {
    fn service(&self, key: &ServiceKey) -> bool {
        self.everything
            || self.before.is_some_and(|before| before.contains(key))
            || self.held.is_some_and(|held| held.services.contains_key(key))
    }
    fn destination(&self, service: &ServiceKey, key: &DestinationKey) -> bool {
        let held = self.held.and_then(|held| held.services.get(service));
        self.adopt || self.everything || held.is_some_and(|held| held.destinations.contains_key(key))
    }
}

/// The steps from `seen` to `wanted`, in the order in which they must be done; none if nothing differs.
pub fn plan<P: Borrow<Picture>>(wanted: &BTreeMap<ServiceKey, P>, seen: &Seen, rules: Rules<'_>) -> Vec<Op> {
    let mut steps = Vec::new();
    for (key, picture) in wanted {
        one(*key, picture.borrow(), seen.services.get(key), rules, &mut steps);
    }
    let gone = seen.services.keys().filter(|key| !wanted.contains_key(key) && rules.service(key));
    steps.extend(gone.map(|key| Op::DeleteService(*key)));
    steps
}

fn one(key: ServiceKey, picture: &Picture, seen: Option<&SeenService>, rules: Rules<'_>, steps: &mut Vec<Op>) {
    let service = Service::of(key, picture);
    match seen {
        None => steps.push(Op::NewService(key, service)),
        Some(seen) if seen.service != service => steps.push(Op::SetService(key, service)),
        Some(_) => {}
    }
    let there = |place: &DestinationKey| seen.and_then(|seen| seen.destinations.get(place));
    // Weights that end are set after what begins is there, and what goes goes last.
    let (mut began, mut ended) = (Vec::new(), Vec::new());
    for (place, destination) in &picture.destinations {
        let destination = normal(destination);
        match there(place) {
            None => began.push(Op::NewDestination(key, *place, destination)),
            Some(seen) if seen.destination == destination => {}
            // A method that cannot be asked for is the kernel's way to say that the address is its own.
            Some(seen)
                if seen.other_method
                    && Destination { forwarding: destination.forwarding, ..seen.destination } == destination => {}
            Some(_) if destination.weight == 0 => ended.push(Op::SetDestination(key, *place, destination)),
            Some(_) => began.push(Op::SetDestination(key, *place, destination)),
        }
    }
    let places = seen.into_iter().flat_map(|seen| seen.destinations.keys());
    let gone = places.filter(|place| !picture.destinations.contains_key(place) && rules.destination(&key, place));
    ended.extend(gone.map(|place| Op::DeleteDestination(key, *place)));
    // What changes in its place before what is new: nothing is refused for what another step has yet to change.
    began.sort_by_key(|step| matches!(step, Op::NewDestination(..)));
    steps.append(&mut began);
    steps.append(&mut ended);
}

/// In the one form in which equal destinations are equal, and as the kernel can hold it.
pub fn normal(destination: &Destination) -> Destination {
    Destination {
        weight: destination.weight.min(i32::MAX.unsigned_abs()),
        forwarding: plain(destination.forwarding),
        ..*destination
    }
}

impl Op {
    /// The request that carries it out.
    pub fn message(&self) -> Message {
        match self {
            Op::NewService(key, service) => Message::new_service(*key, service),
            Op::SetService(key, service) => Message::set_service(*key, service),
            Op::DeleteService(key) => Message::delete_service(*key),
            Op::NewDestination(key, place, destination) => Message::new_destination(*key, *place, destination),
            Op::SetDestination(key, place, destination) => Message::set_destination(*key, *place, destination),
            Op::DeleteDestination(key, place) => Message::delete_destination(*key, *place),
        }
    }

    /// It takes something out, or gives it no new connections.
    pub fn is_end(&self) -> bool {
        match self {
            Op::DeleteService(_) | Op::DeleteDestination(..) => true,
            Op::SetDestination(_, _, destination) => destination.weight == 0,
            Op::NewService(..) | Op::SetService(..) | Op::NewDestination(..) => false,
        }
    }

    /// The weight that it gives to a destination.
    pub fn weight(&self) -> Option<u32> {
        match self {
            Op::NewDestination(_, _, destination) | Op::SetDestination(_, _, destination) => Some(destination.weight),
            Op::NewService(..) | Op::SetService(..) | Op::DeleteService(_) | Op::DeleteDestination(..) => None,
        }
    }

    /// The service that it changes.
    pub fn service(&self) -> ServiceKey {
        match self {
            Op::NewService(key, _)
            | Op::SetService(key, _)
            | Op::DeleteService(key)
            | Op::NewDestination(key, ..)
            | Op::SetDestination(key, ..)
            | Op::DeleteDestination(key, _) => *key,
        }
    }

    /// The destination that it changes, if it changes one.
    pub fn destination(&self) -> Option<DestinationKey> {
        match self {
            Op::NewService(..) | Op::SetService(..) | Op::DeleteService(_) => None,
            Op::NewDestination(_, place, _) | Op::SetDestination(_, place, _) | Op::DeleteDestination(_, place) => {
                Some(*place)
            }
        }
    }

    /// Writes into `seen` what the step does, once the kernel has said yes to it.
    pub fn note(&self, seen: &mut Seen) {
        match self {
            Op::NewService(key, service) => {
                seen.services.insert(*key, SeenService { service: service.clone(), ..SeenService::default() });
            }
            Op::SetService(key, service) => {
                seen.services.entry(*key).or_default().service = service.clone();
            }
            Op::DeleteService(key) => {
                seen.services.remove(key);
            }
            Op::NewDestination(key, place, destination) | Op::SetDestination(key, place, destination) => {
                let service = seen.services.entry(*key).or_default();
                let there = service.destinations.entry(*place).or_default();
                there.destination = *destination;
                there.other_method = false;
            }
            Op::DeleteDestination(key, place) => {
                if let Some(service) = seen.services.get_mut(key) {
                    service.destinations.remove(place);
                }
            }
        }
    }

    /// The kernel says that what the step is to make is there, or what it is to change or remove is not: the table is not
    /// the one that was seen.
    pub fn mistaken(&self, errno: i32) -> bool {
        match self {
            Op::NewService(..) | Op::NewDestination(..) if errno == libc::EEXIST => true,
            // A service's missing is ESRCH, a destination's ENOENT; of a NewService ENOENT is about the scheduler.
            Op::NewService(..) => false,
            Op::SetService(..) => errno == libc::ESRCH,
            Op::NewDestination(..) => errno == libc::ESRCH,
            Op::DeleteService(_) | Op::SetDestination(..) | Op::DeleteDestination(..) => {
                errno == libc::ENOENT || errno == libc::ESRCH
            }
        }
    }
}
