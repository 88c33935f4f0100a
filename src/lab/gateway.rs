//! Gateways: the far ends of BFD sessions that no server of the lab is. Each is a machine of its own that has the address of
//! the neighbour and runs the daemon with nothing but the mirrored sessions; its paths can die, and it can stand still.

use super::plan::{Network, Server, around, within};
use super::rehearsal::{Fact, Rehearsal};
use super::words::{Order, Who, Word};
use super::{Cut, Trouble};
use crate::spec::bfd::Session;
use crate::time::Interval;
use nix::sys::signal::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;
use std::time::Instant;

/// Where the daemon of a gateway finds its sessions, inside.
const CONFIG: &str = "/etc/keepalived/gateway.conf";

/// One far end, of one session or of several servers'.
#[derive(Clone, Debug)]
pub struct Gateway {
    pub address: Network,
    /// Position in [`super::plan::Plan::segments`].
    pub segment: usize,
    pub ends: Vec<End>,
}

/// The near end of a session: server, name, and the address that it speaks from.
#[derive(Clone, Debug)]
pub struct End {
    pub server: usize,
    pub session: Box<str>,
    pub near: IpAddr,
    settings: Session,
}

/// What each server has on each of its segments: (position of the segment, addresses).
type Ports = [Vec<(usize, Vec<Network>)>];

/// Position of the server that is the other end of a session, if one is. A session without a source speaks from whatever
/// address the server has.
pub(super) fn other_end(servers: &[Server], ports: &Ports, at: usize, session: &Session) -> Option<usize> {
    let has = |server: usize, address: IpAddr| {
        ports.get(server).into_iter().flatten().flat_map(|(_, own)| own).any(|network| network.0 == address)
    };
    let is = |(other, server): (usize, &Server)| {
        let meets =
            |theirs: &Session| theirs.meets(session) || has(other, session.neighbor) && has(at, theirs.neighbor);
        (other != at && server.spec.sessions.iter().any(meets)).then_some(other)
    };
    servers.iter().enumerate().find_map(is)
}

/// The gateways of all sessions whose neighbour is in a network that the server has.
pub(super) fn gateways(servers: &[Server], ports: &Ports) -> Vec<Gateway> {
    // Nobody gets the address of somebody else, whatever the sessions say.
    let of_servers = ports.iter().flatten().flat_map(|(_, own)| own.iter().map(|network| network.0));
    let instances = servers.iter().flat_map(|server| &server.spec.instances);
    let virtuals = instances.flat_map(|instance| instance.claim.addresses.iter().map(|address| address.address));
    let given: BTreeSet<IpAddr> = of_servers.chain(virtuals).collect();
    let mut all: Vec<Gateway> = Vec::new();
    for (at, server) in servers.iter().enumerate() {
        for session in &server.spec.sessions {
            if given.contains(&session.neighbor) || other_end(servers, ports, at, session).is_some() {
                continue;
            }
            let own = ports.get(at).into_iter().flatten();
            let fits = |(_, network): &(usize, Network)| {
                within(session.neighbor, around(network.0, network.1))
                    && session.source.is_none_or(|source| source == network.0)
            };
            let mut networks = own.flat_map(|(segment, networks)| networks.iter().map(|network| (*segment, *network)));
            let Some((segment, (near, prefix))) = networks.find(fits) else { continue };
            let end = End { server: at, session: session.name.clone(), near, settings: session.clone() };
            match all.iter_mut().find(|gateway| gateway.address.0 == session.neighbor) {
                Some(gateway) => gateway.ends.push(end),
                None => all.push(Gateway { address: (session.neighbor, prefix), segment, ends: vec![end] }),
            }
        }
    }
    all
}

impl Gateway {
    pub(super) fn name(&self) -> String {
        format!("gateway-{}", self.address.0.to_string().replace([':', '.'], "-"))
    }

    /// Its configuration, in keepalived's language.
    fn config(&self) -> String {
        let mut text = String::new();
        for (number, end) in self.ends.iter().enumerate() {
            let own = &end.settings;
            let millis = |interval: Interval| format!("{}", interval.as_micros() as f64 / 1000.0);
            let hops = if own.neighbor.is_ipv4() { "ttl" } else { "hoplimit" };
            let multihop = if own.multihop { " multihop\n" } else { "" };
            let _ = write!(
                text,
                "bfd_instance end{number} {{\n source_ip {}\n neighbor_ip {}\n min_rx {}\n min_tx {}\n idle_tx {}\n multiplier {}\n {hops} 255\n{multihop} max_hops 255\n}}\n",
                self.address.0,
                end.near,
                millis(own.min_rx),
                millis(own.min_tx),
                millis(own.idle_tx),
                own.multiplier
            );
        }
        text
    }
}

impl Rehearsal {
    /// Gateways begin before the servers.
    pub(super) async fn start_gateways(&mut self) -> Result<(), Trouble> {
        let daemon = self.daemon.to_string_lossy().into_owned();
        for (machine, gateway) in self.gateways.iter_mut().zip(&self.plan.gateways) {
            machine.order(&Order::Write { path: CONFIG.into(), text: gateway.config() }).await?;
            let argv = std::iter::once(daemon.as_str()).chain(["-n", "-l", "-f", CONFIG]).map(str::to_owned).collect();
            machine.order(&Order::Start { who: Who::Daemon, argv, environment: BTreeMap::new() }).await?;
        }
        Ok(())
    }

    /// What is heard of a gateway: only that it is in trouble is news.
    pub(super) fn of_gateway(&mut self, number: usize, fact: &Fact) -> Result<(), Trouble> {
        let Some(machine) = self.gateways.get_mut(number) else { return Ok(()) };
        match fact {
            Fact::Said(_, Word::Line { who, text }) => drop(machine.hear(*who, text)),
            Fact::Said(_, Word::Ended { .. }) => {
                let log = machine.log.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n");
                return Err(Trouble::new(format!("the daemon of {} ended", machine.name))
                    .help(format!("its last words:\n{log}")));
            }
            Fact::Said(_, Word::Trouble { text }) => {
                let name = machine.name.clone();
                self.audience.note(Instant::now(), &name, text);
            }
            Fact::Gone(_) => return Err(Trouble::new(format!("the agent of {} ended", machine.name))),
            Fact::Said(..) | Fact::Asked(_) | Fact::Answered(_) | Fact::Served(..) => {}
        }
        Ok(())
    }

    /// The session that is meant on a server: by name, else the first that its instance tracks; (gateway, end).
    fn session(&self, at: usize, wanted: Option<&str>) -> Result<(usize, usize), Trouble> {
        let spec = &self.plan.servers[at].spec;
        let tracked = self
            .plan
            .instance(at)
            .into_iter()
            .flat_map(|instance| &instance.ties)
            .find_map(|tie| tie.on.bfd(spec).map(|bfd| &*bfd.name));
        let name = wanted.or(tracked).ok_or_else(|| Trouble::new("the instance tracks no BFD session"))?;
        let place = self.plan.gateways.iter().enumerate().find_map(|(gateway, one)| {
            let end = one.ends.iter().position(|end| end.server == at && *end.session == *name)?;
            Some((gateway, end))
        });
        place.ok_or_else(|| {
            let own = self.plan.gateways.iter().flat_map(|gateway| &gateway.ends).filter(|end| end.server == at);
            let names: Vec<&str> = own.map(|end| &*end.session).collect();
            Trouble::new(format!("there is no BFD session {name} with a gateway"))
                .help(format!("sessions whose other end is a gateway: {}", names.join(", ")))
        })
    }

    /// The way between a server and a gateway is cut, or mended. What was done comes back in words.
    pub(super) async fn path(
        &mut self,
        at: usize,
        wanted: Option<&str>,
        cut: Cut,
        dead: bool,
    ) -> Result<String, Trouble> {
        let (gateway, end) = self.session(at, wanted)?;
        let one = &self.plan.gateways[gateway].ends[end];
        let (near, far, session) = (one.near, self.plan.gateways[gateway].address.0, one.session.clone());
        if dead {
            self.damage.paths.insert((at, session.clone()));
        }
        if cut.deafens() {
            self.gateways[gateway].net.mislead(far, near, dead).await?;
        }
        if cut.mutes() {
            self.machines[at].net.mislead(near, far, dead).await?;
        }
        let how = match (dead, cut) {
            (false, _) => "good again",
            (true, Cut::Both) => "dead",
            (true, Cut::Deaf) => "dead towards the server, which hears nothing",
            (true, Cut::Mute) => "dead towards the gateway, which hears nothing",
        };
        Ok(format!("the path of BFD session {session} is {how}"))
    }

    /// A gateway stands still (SIGSTOP) or goes on: every server loses it, or finds it again.
    pub(super) async fn freeze(&mut self, at: usize, wanted: Option<&str>, still: bool) -> Result<String, Trouble> {
        let (gateway, _) = self.session(at, wanted)?;
        let one = &self.plan.gateways[gateway];
        if still {
            let all: BTreeSet<_> = one.ends.iter().map(|end| (end.server, end.session.clone())).collect();
            self.damage.paths.extend(all);
        }
        let name = one.address.0;
        let signal = if still { Signal::SIGSTOP } else { Signal::SIGCONT };
        self.gateways[gateway].signal(Who::Daemon, signal).await?;
        Ok(format!("the gateway {name} {}", if still { "stands still (SIGSTOP)" } else { "goes on (SIGCONT)" }))
    }
}
