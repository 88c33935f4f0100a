//! What the lab builds for a set of configurations: servers, segments, addresses, and what the client asks.
//!
//! Everything comes out of the configurations: an interface name is a segment that all servers with that name share; a
//! source or peer address belongs to a server; other addresses are chosen beside the virtual ones. Pure: makes nothing.

use super::Trouble;
use super::backends::plan::{WIRE, addresses as real_addresses, farm, strange};
use super::backends::{Farm, Place, Stand, Talk};
use super::gateway::{Gateway, gateways, other_end};
use crate::spec::balance::{Method, Protocol, Target};
use crate::spec::{InstanceSpec, Spec, TieTarget, Transport};
use crate::time::Interval;
use crate::wire::Family;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// One server's configuration, read.
#[derive(Clone, Debug)]
pub struct Server {
    pub name: String,
    pub config: PathBuf,
    pub spec: Spec,
}

impl Server {
    /// Has it virtual servers?
    pub fn balances(&self) -> bool {
        !self.spec.balance.services.is_empty()
    }
}

/// The whole lab.
#[derive(Clone, Debug)]
pub struct Plan {
    pub servers: Vec<Server>,
    /// Interface names; each is a switch.
    pub segments: Vec<String>,
    /// For each server: (position in `segments`, addresses).
    pub ports: Vec<Vec<(usize, Vec<Network>)>>,
    /// Far ends of BFD sessions.
    pub gateways: Vec<Gateway>,
    /// The client's place: (position in `segments`, addresses).
    pub client: Vec<(usize, Vec<Network>)>,
    /// The virtual address that is asked, and the instance that has it on each server (`None`: not there).
    pub target: SocketAddr,
    pub instances: Vec<Option<usize>>,
    /// Where the real servers of virtual servers are.
    pub farm: Farm,
    pub checks: Checks,
    /// Virtual servers that the client asks as well; none where the kernel cannot balance.
    pub asked: Vec<Asked>,
}

/// What becomes of virtual servers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checks {
    /// There are none, or they are left out (`-P`).
    Left,
    /// Real servers are checked; the kernel has no IPVS and balances nothing.
    Checked,
    Balanced,
}

/// A virtual server that the client asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    pub at: SocketAddr,
    pub udp: bool,
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.at, if self.udp { "udp" } else { "tcp" })
    }
}

/// Where the client asks for the director itself, when port 80 is balanced: the first of these that is not.
const DIRECTORS: std::ops::Range<u16> = 8079..8179;

/// An address and the length of its network's prefix.
pub type Network = (IpAddr, u8);

impl Plan {
    /// # Errors
    /// There is nothing to rehearse: no virtual address that a client could use.
    pub fn new(servers: Vec<Server>) -> Result<Plan, Trouble> {
        let (target, home) = target(&servers)?;
        let mut segments = segments(&servers);
        let taken = taken(&servers);
        let mut given = BTreeSet::new();
        let mut ports = Vec::new();
        for at in 0..servers.len() {
            let mut own = Vec::new();
            for (position, segment) in segments.iter().enumerate() {
                if uses(&servers[at].spec, segment) {
                    own.push((position, addresses(&servers, Some(at), segment, &taken, &mut given)));
                }
            }
            ports.push(own);
        }
        let home = segments.iter().position(|s| *s == home).unwrap_or(0);
        let client = segments
            .iter()
            .enumerate()
            .filter(|(position, segment)| *position == home || !virtual_networks(&servers, segment).is_empty())
            .map(|(position, segment)| (position, addresses(&servers, None, segment, &taken, &mut given)))
            .collect();
        let instances = servers
            .iter()
            .map(|s| s.spec.instances.iter().position(|i| i.claim.addresses.iter().any(|a| a.address == target)))
            .collect();
        let wire = segments.len();
        for (at, own) in ports.iter_mut().enumerate().filter(|(at, _)| servers[*at].balances()) {
            let there = strange(&servers, own).into_iter().filter_map(|network| {
                let address = free(network, 101 + at as u32, &taken, &given)?;
                given.insert(address);
                Some((address, network.1))
            });
            let there: Vec<Network> = there.collect();
            if !there.is_empty() {
                own.push((wire, there));
            }
        }
        if ports.iter().flatten().any(|(segment, _)| *segment == wire) {
            segments.push(WIRE.into());
        }
        let gateways = gateways(&servers, &ports);
        let farm = farm(&servers, &ports, &gateways, &taken, &mut given);
        let checks = if servers.iter().any(Server::balances) { Checks::Checked } else { Checks::Left };
        let (target, asked) = (SocketAddr::new(target, 80), Vec::new());
        Ok(Plan { servers, segments, ports, gateways, client, target, instances, farm, checks, asked })
    }

    /// From here on the kernel balances: the client asks the virtual servers too, and the directors at a port that is not
    /// balanced. `false`, and nothing is changed: every port is, so the client could not tell the directors apart.
    pub fn balance(&mut self) -> bool {
        let mut all: Vec<(IpAddr, Option<u16>, bool)> = Vec::new();
        for service in self.servers.iter().flat_map(|server| &server.spec.balance.services) {
            if let Target::Address(end) = &service.target
                && let Some(protocol @ (Protocol::Tcp | Protocol::Udp)) = service.protocol
            {
                all.push((end.address, end.port.filter(|port| *port != 0), protocol == Protocol::Udp));
            }
        }
        let taken = |port: u16| {
            let here = |(address, own, udp): &(IpAddr, Option<u16>, bool)| {
                *address == self.target.ip() && !udp && own.is_none_or(|own| own == port)
            };
            all.iter().any(here)
        };
        let Some(port) = std::iter::once(80).chain(DIRECTORS).find(|port| !taken(*port)) else { return false };
        let held: BTreeSet<IpAddr> = (0..self.servers.len()).flat_map(|at| self.virtual_addresses(at)).collect();
        // Only what comes back through the director finds somebody who listens.
        let played = |at: IpAddr, port: u16| {
            let services = self.servers.iter().flat_map(|server| &server.spec.balance.services);
            let here = services.filter(
                |own| matches!(&own.target, Target::Address(end) if end.address == at && end.port == Some(port)),
            );
            let mut reals = here.flat_map(|own| &own.servers).map(|real| real.forwarding.method);
            reals.all(|method| method == Method::Nat)
        };
        let all: Vec<_> = all.into_iter().filter(|own| own.1.is_none_or(|port| played(own.0, port))).collect();
        for (address, port, udp) in all.into_iter().filter(|(address, ..)| held.contains(address)) {
            let Some(port) = port else { continue };
            let asked = Asked { at: SocketAddr::new(address, port), udp };
            if !self.asked.contains(&asked) {
                self.asked.push(asked);
            }
        }
        if port != self.target.port() {
            self.target.set_port(port);
            let stand = |(at, server): (usize, &Server)| Stand {
                place: Place::Server(at),
                at: SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port),
                udp: false,
                name: server.name.clone(),
                talk: Talk::default(),
            };
            self.farm.stands.extend(self.servers.iter().enumerate().map(stand));
        }
        self.checks = Checks::Balanced;
        true
    }

    /// The instance of a server that holds the address that is asked.
    pub fn instance(&self, server: usize) -> Option<&InstanceSpec> {
        self.servers.get(server)?.spec.instances.get((*self.instances.get(server)?)?)
    }

    /// The server that is the other end of a session of this name, or whether a gateway is; `None`: nobody is.
    pub fn far_end(&self, server: usize, session: &str) -> Option<Option<usize>> {
        let own = self.servers.get(server)?.spec.sessions.iter().find(|own| *own.name == *session)?;
        let mut ends = self.gateways.iter().flat_map(|gateway| &gateway.ends);
        match other_end(&self.servers, &self.ports, server, own) {
            Some(other) => Some(Some(other)),
            None => ends.any(|end| end.server == server && *end.session == *session).then_some(None),
        }
    }

    /// All virtual addresses of a server.
    pub fn virtual_addresses(&self, server: usize) -> Vec<IpAddr> {
        let Some(server) = self.servers.get(server) else { return Vec::new() };
        server.spec.instances.iter().flat_map(|i| i.claim.addresses.iter().map(|a| a.address)).collect()
    }

    /// How long a takeover may take by the configurations, doubled, and some for the machine: web servers and daemons
    /// start in this time too, and whoever has it in use for other things is not to be told that nobody took over.
    pub fn patience(&self) -> Interval {
        self.takeover().times(2) + Interval::from_secs(15)
    }

    /// Whoever has said nothing new for so long has seen everybody's adverts and has nothing to object.
    pub fn calm(&self) -> Interval {
        let instances = self.servers.iter().flat_map(|server| &server.spec.instances);
        instances.map(|i| i.interval.times(2)).max().unwrap_or_default() + Interval::from_millis(300)
    }

    /// How long a takeover may take by the configurations: silence, checks, delays.
    pub fn takeover(&self) -> Interval {
        let mut longest = Interval::ZERO;
        for (at, server) in self.servers.iter().enumerate() {
            let Some(instance) = self.instance(at) else { continue };
            let silence = instance.interval.times(u64::from(instance.down_adverts) + 1);
            let checks = instance.ties.iter().filter_map(|tie| tie.on.script(&server.spec));
            let check = checks.map(|s| s.interval.times(u64::from(s.rise.max(s.fall)) + 1) + s.timeout).max();
            let detection =
                server.spec.sessions.iter().map(|s| s.min_rx.max(s.min_tx).times(s.multiplier.into())).max();
            let total = silence
                + detection.unwrap_or_default()
                + check.unwrap_or_default()
                + instance.preempt_delay
                + server.spec.startup_delay;
            longest = longest.max(total);
        }
        longest
    }
}

/// The address to ask, and the interface it is on: the first that is not link-local, IPv4 before IPv6.
fn target(servers: &[Server]) -> Result<(IpAddr, String), Trouble> {
    let all = servers.iter().flat_map(|s| &s.spec.instances).flat_map(|i| {
        i.claim.addresses.iter().filter_map(|a| {
            let interface = a.interface.as_ref().or(i.interface.as_ref())?;
            Some((a.address, interface.to_string()))
        })
    });
    let usable = |address: &IpAddr| match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 != 0xfe80,
    };
    all.filter(|(address, _)| usable(address)).min_by_key(|(address, _)| Family::of(address)).ok_or_else(|| {
        Trouble::new("these configurations have no virtual address that a client could ask")
            .help("the lab needs a vrrp_instance with an interface and a virtual_ipaddress")
    })
}

fn segments(servers: &[Server]) -> Vec<String> {
    let mut names = Vec::new();
    for server in servers {
        for instance in &server.spec.instances {
            let interfaces =
                instance.interface.iter().chain(instance.claim.addresses.iter().filter_map(|a| a.interface.as_ref()));
            let tracked = instance.ties.iter().filter_map(|tie| tie.on.interface());
            for name in interfaces.chain(tracked) {
                if !names.contains(&name.to_string()) && name.as_str() != "lo" {
                    names.push(name.to_string());
                }
            }
        }
    }
    names
}

fn uses(spec: &Spec, segment: &str) -> bool {
    spec.instances.iter().any(|i| {
        let tracked = |tie: &crate::spec::Tie| matches!(&tie.on, TieTarget::Interface(n) if n.as_str() == segment);
        i.interface.as_ref().is_some_and(|n| n.as_str() == segment)
            || i.claim.addresses.iter().any(|a| a.interface.as_ref().is_some_and(|n| n.as_str() == segment))
            || i.ties.iter().any(tracked)
    })
}

/// Every address that the configurations name: not to be chosen for anybody.
fn taken(servers: &[Server]) -> BTreeSet<IpAddr> {
    let mut all = BTreeSet::new();
    for instance in servers.iter().flat_map(|s| &s.spec.instances) {
        all.extend(instance.claim.addresses.iter().map(|a| a.address));
        all.extend(instance.source);
        if let Transport::Unicast { peers, .. } = &instance.transport {
            all.extend(peers.iter().map(|p| p.address));
        }
    }
    for session in servers.iter().flat_map(|s| &s.spec.sessions) {
        all.extend(session.source);
        all.insert(session.neighbor);
    }
    for service in servers.iter().flat_map(|s| &s.spec.balance.services) {
        if let Target::Address(end) = &service.target {
            all.insert(end.address);
        }
    }
    all.extend(real_addresses(servers));
    all
}

/// Networks of the virtual addresses on a segment; a host address stands for the network around it.
fn virtual_networks(servers: &[Server], segment: &str) -> Vec<Network> {
    let mut found: Vec<Network> = Vec::new();
    for instance in servers.iter().flat_map(|s| &s.spec.instances) {
        for address in &instance.claim.addresses {
            let on = address.interface.as_ref().or(instance.interface.as_ref());
            if on.is_none_or(|n| n.as_str() != segment) {
                continue;
            }
            let network = around(address.address, address.prefix);
            let link_local = matches!(network.0, IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfe80);
            if !link_local && !found.contains(&network) {
                found.push(network);
            }
        }
    }
    found
}

/// The network of an address; /32 and /128 count as /24 and /64, so that there is room for servers.
pub(super) fn around(address: IpAddr, prefix: u8) -> Network {
    match address {
        IpAddr::V4(v4) => {
            let prefix = if prefix > 29 { 24 } else { prefix };
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            (IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask)), prefix)
        }
        IpAddr::V6(v6) => {
            let prefix = if prefix > 120 { 64 } else { prefix };
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            (IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask)), prefix)
        }
    }
}

pub(super) fn within(address: IpAddr, network: Network) -> bool {
    Family::of(&address) == Family::of(&network.0) && around(address, network.1).0 == network.0
}

/// The addresses of one server (or the client) on one segment: those that the configurations give it, then one in
/// every network of virtual addresses in which it has none.
fn addresses(
    servers: &[Server],
    at: Option<usize>,
    segment: &str,
    taken: &BTreeSet<IpAddr>,
    given: &mut BTreeSet<IpAddr>,
) -> Vec<Network> {
    let networks = virtual_networks(servers, segment);
    let prefix_of = |address: IpAddr| {
        let home = networks.iter().find(|n| within(address, **n));
        home.map_or(if address.is_ipv4() { 24 } else { 64 }, |n| n.1)
    };
    let mut own: Vec<Network> = Vec::new();
    if let Some(at) = at {
        for address in named(servers, at, segment) {
            if given.insert(address) {
                own.push((address, prefix_of(address)));
            }
        }
        // What sessions speak from, where a virtual address has its network.
        for source in servers[at].spec.sessions.iter().filter_map(|session| session.source) {
            if networks.iter().any(|network| within(source, *network)) && given.insert(source) {
                own.push((source, prefix_of(source)));
            }
        }
    }
    for network in networks {
        if own.iter().any(|(a, _)| within(*a, network)) {
            continue;
        }
        let wanted = at.map_or(200, |at| 101 + at as u32);
        if let Some(address) = free(network, wanted, taken, given) {
            given.insert(address);
            own.push((address, network.1));
        }
    }
    if own.is_empty() && at.is_some() {
        // Without virtual addresses on the segment adverts still need a source.
        let position = servers.len() as u32;
        let network = (IpAddr::V4(Ipv4Addr::new(192, 168, (100 + position % 100) as u8, 0)), 24);
        if let Some(address) = free(network, at.map_or(200, |at| 101 + at as u32), taken, given) {
            given.insert(address);
            own.push((address, 24));
        }
    }
    own
}

/// Addresses that must be this server's: its sources, or what the others call their peer and nobody else can be.
fn named(servers: &[Server], at: usize, segment: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for instance in &servers[at].spec.instances {
        if instance.interface.as_ref().is_some_and(|n| n.as_str() != segment) {
            continue;
        }
        if let Some(source) = instance.source {
            found.push(source);
            continue;
        }
        let Transport::Unicast { peers, .. } = &instance.transport else { continue };
        let others = servers.iter().enumerate().filter(|(other, _)| *other != at);
        let called: BTreeSet<IpAddr> = others
            .flat_map(|(_, s)| &s.spec.instances)
            .filter(|i| i.vrid == instance.vrid && i.family == instance.family)
            .flat_map(|i| match &i.transport {
                Transport::Unicast { peers, .. } => peers.iter().map(|p| p.address).collect::<Vec<_>>(),
                Transport::Multicast { .. } => Vec::new(),
            })
            .collect();
        found.extend(called.into_iter().find(|a| !peers.iter().any(|p| p.address == *a)));
    }
    found.dedup();
    found
}

pub(super) fn free(
    network: Network,
    wanted: u32,
    taken: &BTreeSet<IpAddr>,
    given: &BTreeSet<IpAddr>,
) -> Option<IpAddr> {
    let hosts: u32 = match network.0 {
        IpAddr::V4(_) => (1u32.checked_shl(32 - u32::from(network.1)).unwrap_or(u32::MAX)).saturating_sub(2).min(4000),
        IpAddr::V6(_) => 4000,
    };
    let at = |host: u32| match network.0 {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits().wrapping_add(host))),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits().wrapping_add(u128::from(host)))),
    };
    let first = if wanted <= hosts { wanted } else { 1 };
    (first..=hosts).chain(1..first).map(at).find(|a| !taken.contains(a) && !given.contains(a))
}
