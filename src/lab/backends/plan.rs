//! Which real servers there are, where they are, and what they answer; out of the configurations alone.

use crate::lab::gateway::Gateway;
use crate::lab::plan::{Network, Server, around, free, within};
use crate::spec::balance::{Checker, CheckerKind, Endpoint, Means, Method, Page, Protocol, Target};
use crate::time::Interval;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// The wire on which real servers are whose network no virtual address is in.
pub(in crate::lab) const WIRE: &str = "real0";
/// Host number of the machine of real servers in each network, where it is free.
const HOST: u32 = 240;

/// Everything about real servers.
#[derive(Clone, Debug, Default)]
pub struct Farm {
    /// What their machine has: (position in the plan's segments, its own addresses, those of real servers).
    pub ports: Vec<(usize, Vec<Network>, Vec<IpAddr>)>,
    pub stands: Vec<Stand>,
    /// Real servers whose answers must come back through the director (`NAT`).
    pub behind: BTreeSet<IpAddr>,
    /// What the lab does not play, in sentences.
    pub notes: Vec<String>,
}

/// Who has the address of a real server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Place {
    /// The machine of real servers.
    Farm,
    /// By position in the plan's gateways.
    Gateway(usize),
    /// By position in the plan's servers.
    Server(usize),
}

/// One listener.
#[derive(Clone, Debug)]
pub struct Stand {
    pub place: Place,
    pub at: SocketAddr,
    pub udp: bool,
    /// As answers call it: address and port of its real server.
    pub name: String,
    pub talk: Talk,
}

/// What a listener answers beside its name.
#[derive(Clone, Debug, Default)]
pub struct Talk {
    /// It speaks first, as mail servers do.
    pub smtp: bool,
    pub dns: bool,
    pub pages: Vec<Page>,
    /// Payloads of UDP_CHECK with the reply that is expected.
    pub replies: Vec<(Box<[u8]>, Vec<u8>)>,
    /// While it flaps, it is up and down for so long in turn.
    pub turn: Interval,
}

/// What listens where, before it is known who has the address.
type Found = BTreeMap<(SocketAddr, bool), (String, Talk)>;

/// All addresses of real servers that a machine must have; loopback is everywhere.
pub(in crate::lab) fn addresses(servers: &[Server]) -> BTreeSet<IpAddr> {
    let services = servers.iter().flat_map(|server| &server.spec.balance.services);
    let ends = services.flat_map(|service| {
        let checked = service.servers.iter().flat_map(|real| &real.checkers).filter_map(|own| own.connection.as_ref());
        let real = service.servers.iter().map(|real| real.endpoint);
        real.chain(service.sorry.iter().map(|sorry| sorry.endpoint)).chain(checked.map(|connection| connection.to))
    });
    ends.map(|end| end.address).filter(|address| !address.is_loopback() && !address.is_unspecified()).collect()
}

/// Networks of real servers in which a server has no address yet.
pub(in crate::lab) fn strange(servers: &[Server], own: &[(usize, Vec<Network>)]) -> BTreeSet<Network> {
    let known = |address: IpAddr| {
        own.iter().flat_map(|(_, networks)| networks).any(|network| within(address, around(network.0, network.1)))
    };
    let whole = |address: IpAddr| around(address, if address.is_ipv4() { 32 } else { 128 });
    addresses(servers).into_iter().filter(|address| !known(*address)).map(whole).collect()
}

/// The real servers, on the segments that `ports` have networks on.
pub(in crate::lab) fn farm(
    servers: &[Server],
    ports: &[Vec<(usize, Vec<Network>)>],
    gateways: &[Gateway],
    taken: &BTreeSet<IpAddr>,
    given: &mut BTreeSet<IpAddr>,
) -> Farm {
    let mut farm = Farm::default();
    let owner = |address: IpAddr| {
        let has =
            |own: &Vec<(usize, Vec<Network>)>| own.iter().flat_map(|(_, all)| all).any(|network| network.0 == address);
        let gateway = || gateways.iter().position(|gateway| gateway.address.0 == address).map(Place::Gateway);
        ports.iter().position(has).map(Place::Server).or_else(gateway).unwrap_or(Place::Farm)
    };
    for address in addresses(servers).into_iter().filter(|address| owner(*address) == Place::Farm) {
        let networks = || ports.iter().flatten().flat_map(|(segment, all)| all.iter().map(|one| (*segment, *one)));
        let home = networks().find(|(_, network)| within(address, around(network.0, network.1)));
        let Some((segment, network)) = home else { continue };
        let at = match farm.ports.iter().position(|(own, ..)| *own == segment) {
            Some(at) => at,
            None => {
                farm.ports.push((segment, Vec::new(), Vec::new()));
                farm.ports.len() - 1
            }
        };
        let network = around(network.0, network.1);
        if !farm.ports[at].1.iter().any(|own| within(own.0, network)) {
            let Some(base) = free(network, HOST, taken, given) else { continue };
            given.insert(base);
            farm.ports[at].1.push((base, network.1));
        }
        farm.ports[at].2.push(address);
    }
    for ((at, udp), (name, talk)) in found(servers, &mut farm) {
        let places = match at.ip().is_loopback() {
            true => (0..servers.len()).map(Place::Server).collect(),
            false => vec![owner(at.ip())],
        };
        farm.stands.extend(places.into_iter().map(|place| Stand {
            place,
            at,
            udp,
            name: name.clone(),
            talk: talk.clone(),
        }));
    }
    farm
}

/// What must listen, by address, port and whether it is UDP.
fn found(servers: &[Server], farm: &mut Farm) -> Found {
    let mut found = Found::new();
    let mut notes = BTreeSet::new();
    for service in servers.iter().flat_map(|server| &server.spec.balance.services) {
        let port = match &service.target {
            Target::Address(end) => end.port,
            Target::Mark(_) | Target::Group(_) => None,
        };
        let udp = service.protocol == Some(Protocol::Udp);
        if service.protocol == Some(Protocol::Sctp) {
            notes.insert(format!("{}: nobody speaks SCTP here; its servers are checked, not asked", service.target));
        }
        let ends = service.servers.iter().map(|real| (real.endpoint, real.forwarding.method));
        for (end, method) in ends.chain(service.sorry.iter().map(|sorry| (sorry.endpoint, sorry.forwarding.method))) {
            match method {
                Method::Nat => drop(farm.behind.insert(end.address)),
                Method::Direct => {
                    let text = "real servers listen at their own addresses only, so the client does not ask it (DR)";
                    notes.insert(format!("{}: {text}; they are checked", service.target));
                }
                Method::Tunnel => {
                    notes.insert(format!("{}: real servers have no end of a tunnel here", service.target));
                }
            }
            listen(&mut found, Endpoint { port: end.port.or(port), ..end }, udp, &end.to_string());
        }
        for real in &service.servers {
            for checker in &real.checkers {
                checked(&mut found, checker, &real.endpoint.to_string(), &mut notes);
            }
        }
    }
    farm.notes.extend(notes);
    found
}

fn listen<'f>(found: &'f mut Found, at: Endpoint, udp: bool, name: &str) -> Option<&'f mut Talk> {
    let at = SocketAddr::new(at.address, at.port.filter(|port| *port != 0)?);
    Some(&mut found.entry((at, udp)).or_insert_with(|| (name.to_owned(), Talk::default())).1)
}

/// What a check asks must be answered.
fn checked(found: &mut Found, checker: &Checker, name: &str, notes: &mut BTreeSet<String>) {
    let Some(connection) = &checker.connection else { return };
    let udp = match checker.kind.means() {
        Means::Connection => false,
        Means::Datagram => true,
        Means::Echo | Means::Program | Means::Told => return,
    };
    let Some(talk) = listen(found, connection.to, udp, name) else { return };
    if let Some(timing) = checker.timing {
        talk.turn = talk.turn.max(timing.delay_loop);
    }
    match &checker.kind {
        CheckerKind::Smtp { .. } => talk.smtp = true,
        CheckerKind::Dns { .. } => talk.dns = true,
        CheckerKind::Http(http) => {
            for page in http.pages.iter().filter(|page| page.digest.is_some()) {
                let path = page.shown_path();
                notes.insert(format!(
                    "{name}: nobody can make a page up that has the digest of `{path}`: it stays bad here"
                ));
            }
            talk.pages.extend(http.pages.iter().cloned());
        }
        CheckerKind::Udp { payload, reply: Some(reply), shortest, .. } => {
            let mut bytes: Vec<u8> = reply.iter().map(|(byte, mask)| byte & mask).collect();
            bytes.resize(bytes.len().max(usize::from(*shortest)), 0);
            talk.replies.push((payload.clone(), bytes));
        }
        // To be there is enough.
        CheckerKind::Tcp | CheckerKind::Udp { reply: None, .. } => {}
        CheckerKind::Ping | CheckerKind::Misc { .. } | CheckerKind::File { .. } | CheckerKind::Bfd { .. } => {}
    }
}
