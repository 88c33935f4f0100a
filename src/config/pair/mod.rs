//! Two or more servers' configurations against each other: what one file cannot show.
//!
//! [`compare`] finds what will not work between them. It looks at resolved [`Spec`]s only, so defaults and repairs are in
//! already. What will happen is not computed here: [`crate::sim::outlook`] plays it through. Nothing here reads a file or
//! knows where in one a setting stands: findings name the file and the instance.
//!
//! The first question is which instances of different files are the same virtual router: [`routers`] answers it by
//! virtual router identifier, addresses, peers and names together, so that one wrong setting is found as a difference
//! and does not make two routers of one.

mod bfd;
mod rules;
mod services;
mod sources;
mod trackers;

pub(crate) use sources::{Guess, guessed};

use super::report::Level;
use crate::spec::{InstanceSpec, Spec, Transport};
use crate::wire::Family;
use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

/// Something that will not work between the servers, or not as one would think.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Finding {
    pub level: Level,
    /// Stable name of the rule, for programs: `version-differs`.
    pub rule: &'static str,
    /// What it is about; the first is where one would begin to look.
    pub places: Vec<Place>,
    /// What is wrong and what follows from it.
    pub message: String,
    /// The cure.
    pub help: Option<String>,
}

/// A file, and an instance in it if it is about one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize)]
pub struct Place {
    pub file: String,
    pub instance: Option<Box<str>>,
}

/// One instance as a member of a virtual router.
#[derive(Clone, Copy)]
pub(crate) struct Member<'a> {
    /// Position among the servers.
    pub server: usize,
    /// Position among the server's instances.
    pub place: usize,
    pub instance: &'a InstanceSpec,
}

/// The servers and what they are called in sentences.
pub(crate) struct Servers<'a> {
    list: &'a [(String, &'a Spec)],
    names: Vec<String>,
    /// All virtual addresses of each, gathered when they are first asked for.
    claimed: Vec<OnceCell<HashSet<IpAddr>>>,
}

impl<'a> Servers<'a> {
    /// Servers by name, each with its configuration.
    pub fn new(list: &'a [(String, &'a Spec)]) -> Self {
        let short = |file: &str| {
            let name = file.rsplit('/').next().unwrap_or(file);
            name.strip_suffix(".conf").filter(|stem| !stem.is_empty()).unwrap_or(name).to_owned()
        };
        let mut names: Vec<String> = list.iter().map(|(file, _)| short(file)).collect();
        let distinct: BTreeSet<&String> = names.iter().collect();
        if distinct.len() < names.len() {
            names = list.iter().map(|(file, _)| file.clone()).collect();
        }
        Servers { list, names, claimed: list.iter().map(|_| OnceCell::new()).collect() }
    }
    /// The name of a server; empty if there is no such position.
    pub fn name(&self, server: usize) -> &str {
        self.names.get(server).map_or("?", String::as_str)
    }
    /// The configuration of a server.
    pub fn spec(&self, server: usize) -> Option<&'a Spec> {
        self.list.get(server).map(|(_, spec)| *spec)
    }
    /// Where a member of a virtual router is configured.
    pub fn place(&self, member: Member<'_>) -> Place {
        Place { file: self.file(member.server), instance: Some(member.instance.name.clone()) }
    }
    /// The configuration file of a server, for a message.
    pub fn file(&self, server: usize) -> String {
        self.list.get(server).map(|(file, _)| file.clone()).unwrap_or_default()
    }
    /// Does `own` take the adverts of `other` for those of another installation with the same VRID?
    pub fn ignores(&self, own: Member<'_>, other: Member<'_>) -> bool {
        let Some((claimed, spec)) = self.claimed.get(own.server).zip(self.spec(own.server)) else { return false };
        let gather = || spec.instances.iter().flat_map(|i| &i.claim.addresses).map(|a| a.address).collect();
        own.instance.vrid == other.instance.vrid
            && own
                .instance
                .is_foreign(other.instance.advertised(), |address| claimed.get_or_init(gather).contains(address))
    }
    /// How many servers there are.
    pub fn count(&self) -> usize {
        self.list.len()
    }
}

/// What is wrong between the servers: (file, its configuration), the order of the files is the order of the places.
pub fn compare(servers: &[(String, &Spec)]) -> Vec<Finding> {
    let servers = Servers::new(servers);
    let routers = routers(&servers);
    let mut out = Vec::new();
    for router in &routers {
        rules::check(router, &servers, &mut out);
        trackers::check(router, &servers, &mut out);
    }
    rules::groups(&routers, &servers, &mut out);
    rules::crossed(&routers, &servers, &mut out);
    rules::across(&routers, &servers, &mut out);
    bfd::check(&servers, &mut out);
    for server in 0..servers.count() {
        services::alone(&servers, server, &mut out);
    }
    services::between(&servers, &mut out);
    out
}

/// What one configuration alone has of virtual servers that will not work as one would think, although the language allows
/// it.
pub fn of_one(file: &str, spec: &Spec) -> Vec<Finding> {
    let mut out = Vec::new();
    services::alone(&Servers::new(&[(file.to_owned(), spec)]), 0, &mut out);
    out
}

/// Members of the same virtual routers, in the order of the first file that has them.
pub(crate) fn routers<'a>(servers: &Servers<'a>) -> Vec<Vec<Member<'a>>> {
    let all: Vec<Member<'a>> = servers
        .list
        .iter()
        .enumerate()
        .flat_map(|(server, (_, spec))| {
            spec.instances.iter().enumerate().map(move |(place, instance)| Member { server, place, instance })
        })
        .collect();
    let mut pairs = candidates(&all);
    pairs.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));

    // Best pairs first; a router has at most one member a server.
    let mut router_of: Vec<usize> = (0..all.len()).collect();
    let mut members: Vec<Vec<usize>> = (0..all.len()).map(|at| vec![at]).collect();
    for (_, a, b) in pairs {
        let (Some(&into), Some(&from)) = (router_of.get(a), router_of.get(b)) else { continue };
        if into == from {
            continue;
        }
        let server = |at: &usize| all.get(*at).map(|member| member.server);
        let clash = match (members.get(into), members.get(from)) {
            (Some(x), Some(y)) => x.iter().any(|m| y.iter().any(|n| server(m) == server(n))),
            _ => true,
        };
        if clash {
            continue;
        }
        let moved = members.get_mut(from).map(std::mem::take).unwrap_or_default();
        for &member in &moved {
            if let Some(slot) = router_of.get_mut(member) {
                *slot = into;
            }
        }
        if let Some(list) = members.get_mut(into) {
            list.extend(moved);
        }
    }
    let mut routers: Vec<Vec<usize>> = members.into_iter().filter(|list| !list.is_empty()).collect();
    routers.iter_mut().for_each(|list| list.sort_unstable());
    routers.sort();
    routers.into_iter().map(|list| list.into_iter().filter_map(|at| all.get(at).copied()).collect()).collect()
}

/// Pairs that may be one router, with how much speaks for it.
fn candidates(all: &[Member<'_>]) -> Vec<(u32, usize, usize)> {
    #[derive(PartialEq, Eq, Hash)]
    enum Key<'k> {
        Id(Family, u8),
        Address(IpAddr),
        Name(Family, &'k str),
    }
    let mut shared: HashMap<Key<'_>, Vec<usize>> = HashMap::new();
    let mut each_family: HashMap<(usize, Family), usize> = HashMap::new();
    for (at, member) in all.iter().enumerate() {
        let own = member.instance;
        *each_family.entry((member.server, own.family)).or_default() += 1;
        shared.entry(Key::Id(own.family, own.vrid.get())).or_default().push(at);
        shared.entry(Key::Name(own.family, &own.name)).or_default().push(at);
        for address in advertised(own) {
            shared.entry(Key::Address(address)).or_default().push(at);
        }
    }
    let mut seen = HashSet::new();
    let mut pairs = Vec::new();
    for list in shared.values().filter(|list| list.len() <= CROWD) {
        for (n, &a) in list.iter().enumerate() {
            for &b in list.iter().skip(n + 1) {
                let (Some(left), Some(right)) = (all.get(a), all.get(b)) else { continue };
                if left.server == right.server || left.instance.family != right.instance.family || !seen.insert((a, b))
                {
                    continue;
                }
                let alone = |m: &Member<'_>| each_family.get(&(m.server, m.instance.family)) == Some(&1);
                let score = likeness(left.instance, right.instance);
                if score >= ENOUGH || (score == SAME_ID && alone(left) && alone(right)) {
                    pairs.push((score, a, b));
                }
            }
        }
    }
    pairs
}

/// What so many instances share says nothing about which of them belong together, and is not looked at pair by pair.
const CROWD: usize = 500;
const SAME_ID: u32 = 4;
/// The identifier and anything else, or an address, or the name.
const ENOUGH: u32 = 5;

fn likeness(a: &InstanceSpec, b: &InstanceSpec) -> u32 {
    let mut score = 0;
    if a.vrid == b.vrid {
        score += SAME_ID;
    }
    let addresses: HashSet<IpAddr> = advertised(b).collect();
    if advertised(a).any(|address| addresses.contains(&address)) {
        score += 6;
    }
    if a.name == b.name {
        score += 5;
    }
    if names(a, b) || names(b, a) {
        score += 4;
    }
    if same_network(a, b) {
        score += 2;
    }
    if a.interface.is_some() && a.interface == b.interface {
        score += 1;
    }
    score
}

/// Addresses that stand in the advert.
pub(crate) fn advertised(instance: &InstanceSpec) -> impl Iterator<Item = IpAddr> + '_ {
    instance.claim.addresses.iter().take(instance.claim.advertised).map(|a| a.address)
}

/// `a` has `b`'s source among its unicast peers.
pub(crate) fn names(a: &InstanceSpec, b: &InstanceSpec) -> bool {
    match (&a.transport, b.source) {
        (Transport::Unicast { peers, .. }, Some(source)) => peers.iter().any(|peer| peer.address == source),
        _ => false,
    }
}

/// Virtual addresses of both lie in one network, as far as their prefixes tell.
pub(crate) fn same_network(a: &InstanceSpec, b: &InstanceSpec) -> bool {
    let network = |address: IpAddr, prefix: u8| ipnet::IpNet::new(address, prefix).map(|net| net.trunc()).ok();
    let networks = |instance: &InstanceSpec| -> HashSet<ipnet::IpNet> {
        let host = if instance.family == Family::V4 { 32 } else { 128 };
        let claim = &instance.claim;
        let own = claim.addresses.iter().take(claim.advertised).filter(|a| a.prefix > 0 && a.prefix < host);
        let link_local = |address: &IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        own.filter(|a| !link_local(&a.address)).filter_map(|a| network(a.address, a.prefix)).collect()
    };
    // One of `inner` lies in one of `outer`: asked for each length of prefix that occurs, not for each pair of networks.
    let within = |inner: &HashSet<ipnet::IpNet>, outer: &HashSet<ipnet::IpNet>| {
        let lengths: BTreeSet<u8> = outer.iter().map(ipnet::IpNet::prefix_len).collect();
        let around =
            |net: &ipnet::IpNet, length: u8| network(net.addr(), length).is_some_and(|net| outer.contains(&net));
        inner.iter().any(|net| lengths.range(..=net.prefix_len()).any(|length| around(net, *length)))
    };
    let (left, right) = (networks(a), networks(b));
    within(&left, &right) || within(&right, &left)
}
