//! The modelled LAN: which interfaces share a wire, who hears whom, and how late, how often or whether a datagram
//! arrives. Knows nothing of VRRP; a wire carries bytes.

use super::scenario::{LanSettings, Segment};
use crate::config::pair::{Guess, guessed};
use crate::random::Random;
use crate::spec::Spec;
use crate::time::Interval;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// More than the model's own latency and wake-ups differ by, and less than a real network's and a busy machine's may.
pub(super) const LAG: Interval = Interval::from_millis(1);

/// Wires and what is wrong with them. Nodes and segments are positions in the world's lists.
#[derive(Clone, Debug)]
pub(super) struct Lan {
    pub settings: LanSettings,
    pub names: Vec<Box<str>>,
    /// Segment of an interface, by node and interface name.
    places: BTreeMap<(usize, Box<str>), usize>,
    /// From, to, and the segment, if not all.
    cuts: BTreeSet<(usize, usize, Option<usize>)>,
    /// Part of each node while there is a partition.
    parts: Option<Vec<usize>>,
    /// The part of what is no node.
    outside: usize,
    /// From, to: what takes longer by [`LAG`].
    slow: BTreeSet<(usize, usize)>,
    /// Addresses of nodes' interfaces, as the peers of other nodes tell them.
    told: Vec<(usize, Box<str>, IpAddr)>,
}

impl Lan {
    /// Joins interfaces as the scenario says; others by equal name, and by an instance of the same VRID and family
    /// when the other node has no interface of that name at all.
    pub fn new(settings: LanSettings, specs: &[&Spec], segments: &[Segment<usize>]) -> Lan {
        let mut lan = Lan {
            settings,
            names: Vec::new(),
            places: BTreeMap::new(),
            cuts: BTreeSet::new(),
            parts: None,
            outside: 0,
            slow: BTreeSet::new(),
            told: told(specs),
        };
        for (name, ends) in segments {
            let segment = lan.segment(name);
            for (node, interface) in ends {
                lan.places.insert((*node, interface.clone()), segment);
            }
        }
        let interfaces: Vec<BTreeSet<Box<str>>> = specs.iter().map(|spec| interfaces(spec)).collect();
        for (node, names) in interfaces.iter().enumerate() {
            for interface in names {
                if lan.places.contains_key(&(node, interface.clone())) {
                    continue;
                }
                let twin = lan.twin(node, interface, specs, &interfaces);
                let segment = twin.unwrap_or_else(|| lan.segment(interface));
                lan.places.insert((node, interface.clone()), segment);
            }
        }
        lan
    }

    /// Addresses of an interface that no file of its own node says, but those of others.
    pub fn told(&self, node: usize, interface: &str) -> impl Iterator<Item = IpAddr> {
        self.told
            .iter()
            .filter(move |(at, name, _)| (*at, &**name) == (node, interface))
            .map(|(_, _, address)| *address)
    }

    /// Segment of another node's interface that carries the same virtual router under another interface name.
    fn twin(&self, node: usize, interface: &str, specs: &[&Spec], interfaces: &[BTreeSet<Box<str>>]) -> Option<usize> {
        let mine = specs.get(node)?;
        let routers = |spec: &Spec, name: &str| -> Vec<_> {
            let here = |i: &&crate::spec::InstanceSpec| i.interface.as_ref().is_some_and(|n| n.as_str() == name);
            spec.instances.iter().filter(here).map(|i| (i.vrid, i.family)).collect()
        };
        let wanted = routers(mine, interface);
        (0..node).find_map(|other| {
            let names = interfaces.get(other).filter(|names| !names.contains(interface))?;
            let name = names.iter().find(|n| {
                !interfaces.get(node).is_some_and(|mine| mine.contains(*n))
                    && specs.get(other).is_some_and(|spec| routers(spec, n).iter().any(|r| wanted.contains(r)))
            })?;
            self.places.get(&(other, name.clone())).copied()
        })
    }

    fn segment(&mut self, name: &str) -> usize {
        self.find(name).unwrap_or_else(|| {
            self.names.push(name.into());
            self.names.len() - 1
        })
    }

    /// The position of the server of this name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| **n == *name)
    }

    /// Segment that an interface is on.
    pub fn place(&self, node: usize, interface: &str) -> Option<usize> {
        self.places.get(&(node, interface.into())).copied()
    }

    /// Would a datagram from one node reach another on this segment, loss aside?
    pub fn hears(&self, from: usize, to: usize, segment: usize) -> bool {
        let together = self.parts.as_ref().is_none_or(|parts| parts.get(from) == parts.get(to));
        together && !self.cuts.contains(&(from, to, None)) && !self.cuts.contains(&(from, to, Some(segment)))
    }

    /// Would it reach what is no node (a gateway)? That is with the nodes that a partition does not name.
    pub fn reaches_outside(&self, node: usize) -> bool {
        self.parts.as_ref().is_none_or(|parts| parts.get(node) == Some(&self.outside))
    }

    /// How long each copy of a datagram takes; none is lost, two is duplicated.
    pub fn fates(&self, random: &mut Random) -> impl Iterator<Item = Interval> + use<> {
        let (low, high) = self.settings.latency;
        let arrives = !random.happens(self.settings.loss);
        let again = arrives && random.happens(self.settings.duplicate);
        let first = arrives.then(|| random.interval(low, high));
        let second = again.then(|| random.interval(low, high.times(3)));
        first.into_iter().chain(second)
    }

    /// From now on all that one says reaches the other later than it reaches anybody else.
    pub fn slow(&mut self, from: usize, to: usize) {
        self.slow.insert((from, to));
    }

    /// How much longer that takes.
    pub fn lag(&self, from: usize, to: usize) -> Interval {
        if self.slow.contains(&(from, to)) { LAG } else { Interval::ZERO }
    }

    /// Nothing gets from one to the other, on one segment or on all.
    pub fn cut(&mut self, from: usize, to: usize, segment: Option<usize>) {
        self.cuts.insert((from, to, segment));
    }

    /// Undoes [`cut`](Lan::cut).
    pub fn mend(&mut self, from: usize, to: usize, segment: Option<usize>) {
        match segment {
            Some(_) => self.cuts.retain(|cut| *cut != (from, to, segment)),
            None => self.cuts.retain(|(f, t, _)| (*f, *t) != (from, to)),
        }
    }

    /// Servers hear those of their own part only: the part of each, and that of everything else.
    pub fn partition(&mut self, parts: Vec<usize>, outside: usize) {
        (self.parts, self.outside) = (Some(parts), outside);
    }

    /// Everybody hears everybody.
    pub fn heal(&mut self) {
        self.cuts.clear();
        self.parts = None;
    }
}

/// Every interface that a configuration speaks of.
pub(super) fn interfaces(spec: &Spec) -> BTreeSet<Box<str>> {
    let mut names = BTreeSet::new();
    for instance in &spec.instances {
        names.insert(instance.interface.as_ref().map_or("eth0", |n| n.as_str()).into());
        names.extend(instance.claim.addresses.iter().filter_map(|a| a.interface.as_ref()).map(|n| n.as_str().into()));
        names.extend(instance.ties.iter().filter_map(|tie| tie.on.interface()).map(|name| name.as_str().into()));
    }
    names
}

/// Own addresses of unicast instances without a source, by the interfaces that they are on.
fn told(specs: &[&Spec]) -> Vec<(usize, Box<str>, IpAddr)> {
    let place = |guess: Guess| {
        let spec = specs.get(guess.server)?;
        let instance = spec.instances.iter().find(|own| own.name == guess.instance)?;
        Some((guess.server, instance.interface.as_ref()?.as_str().into(), guess.address))
    };
    guessed(specs).into_iter().filter_map(place).collect()
}
