//! Virtual servers: what of one director's file will not work as one would think, and where two directors differ.
//!
//! A client is balanced by whichever director holds the address, so what the two have of a virtual server must be the same;
//! which services are the same is told by address and port, by mark, or by what a group holds.

use super::{Finding, Place, Servers};
use crate::config::report::Level;
use crate::spec::balance::{
    Checker, Endpoint, GroupEntry, LvsSpec, Method, RealServer, ServerGroup, SyncDaemon, Target, VirtualServer,
};
use crate::spec::{Spec, first_few};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

/// Addresses of a group that are looked at one by one.
const LOOKED_AT: usize = 512;
/// Things of a kind that are named before the rest is counted.
const NAMED: usize = 3;

/// What one file shows.
pub(super) fn alone(servers: &Servers<'_>, server: usize, out: &mut Vec<Finding>) {
    let Some(spec) = servers.spec(server) else { return };
    let place = Place { file: servers.file(server), instance: None };
    let mut say = |level, rule, message: String, help: &str| {
        out.push(Finding { level, rule, places: vec![place.clone()], message, help: Some(help.into()) });
    };
    let name = servers.name(server);
    for service in &spec.balance.services {
        let target = &service.target;
        let bare = unheld(spec, service);
        if !bare.is_empty() {
            let message = format!("virtual_server {target}: no vrrp_instance of {name} holds {}", list(bare.iter()));
            let help = "put it into `virtual_ipaddress` of the instance that the clients come to; an address that this \
                        machine always has needs none";
            say(Level::Warning, "address-unheld", message, help);
        }
        let sum: u64 = service.servers.iter().map(|own| u64::from(own.weight)).sum();
        let (quorum, hysteresis) = (u64::from(service.quorum), u64::from(service.hysteresis));
        if sum > 0 && quorum + hysteresis > sum {
            let message = format!(
                "virtual_server {target}: a quorum that is lost is never reached again: it takes {quorum} + hysteresis \
                 {hysteresis}, and all weights together are {sum}"
            );
            say(Level::Error, "quorum-unreachable", message, "lower `hysteresis` or `quorum`, or raise the weights");
        } else if let Some(least) = service.servers.iter().map(|own| u64::from(own.weight)).filter(|w| *w > 0).min()
            && service.servers.len() > 1
            && sum - least < quorum.saturating_sub(hysteresis)
        {
            let follows = if service.sorry.is_some() { "the sorry server alone serves" } else { "nobody serves" };
            let message =
                format!("virtual_server {target}: its quorum {quorum} needs every server: when one fails, {follows}");
            say(Level::Warning, "quorum-needs-all", message, "lower `quorum`");
        }
        if let Some(sorry) = &service.sorry
            && !is_checked(&spec.balance, sorry.endpoint)
        {
            let message = format!(
                "virtual_server {target}: its sorry_server {} is checked nowhere: whether it answers shows only when the \
                 quorum is lost",
                sorry.endpoint
            );
            let help =
                "watch it by other means, or have it as a `real_server` with a check in a virtual_server of its own";
            say(Level::Note, "sorry-unchecked", message, help);
        }
    }
}

/// Virtual addresses of the service that no instance has. Nothing where there is no VRRP: then somebody else keeps them.
fn unheld(spec: &Spec, service: &VirtualServer) -> Vec<IpAddr> {
    if spec.instances.is_empty() {
        return Vec::new();
    }
    let held: HashSet<IpAddr> =
        spec.instances.iter().flat_map(|own| &own.claim.addresses).map(|address| address.address).collect();
    let addresses: Vec<IpAddr> = match &service.target {
        Target::Address(endpoint) => vec![endpoint.address],
        Target::Mark(_) => Vec::new(),
        Target::Group(name) => group(&spec.balance, name).map(addresses).unwrap_or_default(),
    };
    addresses.into_iter().filter(|address| !held.contains(address)).collect()
}

fn group<'a>(spec: &'a LvsSpec, name: &str) -> Option<&'a ServerGroup> {
    spec.groups.iter().find(|group| *group.name == *name)
}

/// The addresses of a group, each once; of one without end the first.
fn addresses(group: &ServerGroup) -> Vec<IpAddr> {
    let of = |entry: &GroupEntry| -> Box<dyn Iterator<Item = IpAddr>> {
        match *entry {
            GroupEntry::Range { first: IpAddr::V4(first), last: IpAddr::V4(last), .. } => {
                Box::new((u32::from(first)..=u32::from(last)).map(|bits| IpAddr::V4(bits.into())))
            }
            GroupEntry::Range { first: IpAddr::V6(first), last: IpAddr::V6(last), .. } => {
                Box::new((u128::from(first)..=u128::from(last)).map(|bits| IpAddr::V6(bits.into())))
            }
            GroupEntry::Range { .. } | GroupEntry::Mark { .. } => Box::new(std::iter::empty()),
        }
    };
    let all: BTreeSet<IpAddr> = group.entries.iter().flat_map(of).take(LOOKED_AT).collect();
    all.into_iter().collect()
}

fn is_checked(spec: &LvsSpec, sorry: Endpoint) -> bool {
    let of = |own: &RealServer| {
        let same = |at: Endpoint| at.address == sorry.address && (sorry.port.is_none() || at.port == sorry.port);
        let asked =
            |check: &Checker| check.connection.as_ref().map_or(same(own.endpoint), |connection| same(connection.to));
        own.checkers.iter().any(asked)
    };
    spec.services.iter().flat_map(|service| &service.servers).any(of)
}

/// "a, b, c and 4 more".
fn list(items: impl Iterator<Item = impl std::fmt::Display>) -> String {
    first_few(items, NAMED, ", ")
}

/// What makes a service the same one on two directors.
fn key(spec: &LvsSpec, service: &VirtualServer) -> String {
    let protocol = service.protocol.map(|protocol| protocol.to_string()).unwrap_or_default();
    match &service.target {
        Target::Group(name) => {
            let entry = |entry: &GroupEntry| format!("{entry:?}");
            let mut entries: Vec<String> =
                group(spec, name).into_iter().flat_map(|group| &group.entries).map(entry).collect();
            entries.sort();
            format!("{} {protocol}", entries.join(" "))
        }
        Target::Mark(_) => format!("{} {:?}", service.target, service.family),
        Target::Address(_) => format!("{} {protocol}", service.target),
    }
}

/// Where two directors differ. Servers without any virtual server balance nothing, and are left out.
pub(super) fn between(servers: &Servers<'_>, out: &mut Vec<Finding>) {
    let directors: Vec<(usize, &Spec)> = (0..servers.count())
        .filter_map(|server| Some((server, servers.spec(server)?)))
        .filter(|(_, spec)| !spec.balance.services.is_empty())
        .collect();
    let Some(((first, one), others)) = directors.split_first().map(|(first, others)| (*first, others)) else { return };
    for (second, other) in others {
        let both = Two { servers, at: [first, *second], specs: [one, other] };
        both.services(out);
        both.synchronisation(out);
    }
}

struct Two<'t> {
    servers: &'t Servers<'t>,
    at: [usize; 2],
    specs: [&'t Spec; 2],
}

impl Two<'_> {
    fn say(&self, out: &mut Vec<Finding>, level: Level, rule: &'static str, message: String, help: &str) {
        let place = |server: &usize| Place { file: self.servers.file(*server), instance: None };
        let places = self.at.iter().map(place).collect();
        out.push(Finding { level, rule, places, message, help: Some(help.into()) });
    }

    fn names(&self) -> [&str; 2] {
        self.at.map(|server| self.servers.name(server))
    }

    fn services(&self, out: &mut Vec<Finding>) {
        let all = self.specs.map(|spec| -> BTreeMap<String, &VirtualServer> {
            spec.balance.services.iter().map(|service| (key(&spec.balance, service), service)).collect()
        });
        let [ours, theirs] = &all;
        let [here, there] = self.names();
        for (known, lacking, on, off) in [(ours, theirs, here, there), (theirs, ours, there, here)] {
            for (_, service) in known.iter().filter(|(key, _)| !lacking.contains_key(*key)) {
                let message = format!(
                    "virtual_server {} is on {on} only: while {off} holds the address, nobody balances it",
                    service.target
                );
                self.say(
                    out,
                    Level::Warning,
                    "service-missing",
                    message,
                    "write the same virtual_server on every director",
                );
            }
        }
        for (key, own) in ours {
            if let Some(other) = theirs.get(key) {
                self.service(own, other, out);
            }
        }
    }

    /// One service as the two have it.
    fn service(&self, own: &VirtualServer, other: &VirtualServer, out: &mut Vec<Finding>) {
        let (target, [here, there]) = (&own.target, self.names());
        let endpoints = |service: &VirtualServer| -> BTreeSet<Endpoint> {
            service.servers.iter().map(|server| server.endpoint).collect()
        };
        let (ours, theirs) = (endpoints(own), endpoints(other));
        let mut lacks = Vec::new();
        for (only, name) in [(ours.difference(&theirs), here), (theirs.difference(&ours), there)] {
            let only: Vec<&Endpoint> = only.collect();
            if !only.is_empty() {
                lacks.push(format!("{} only on {name}", list(only.into_iter())));
            }
        }
        if !lacks.is_empty() {
            let message = format!("virtual_server {target}: the real servers differ: {}", lacks.join(", "));
            self.say(
                out,
                Level::Warning,
                "real-servers-differ",
                message,
                "write the same real_servers on every director",
            );
        }
        let method = |service: &VirtualServer| match service.forwarding.method {
            Method::Nat => "NAT",
            Method::Direct => "DR",
            Method::Tunnel => "TUN",
        };
        let sorry =
            |service: &VirtualServer| service.sorry.as_ref().map_or("none".into(), |sorry| sorry.endpoint.to_string());
        let persistence =
            |service: &VirtualServer| service.persistence.as_ref().map_or("none".into(), |own| own.timeout.to_string());
        let facts: [(&str, String, String); 5] = [
            ("lb_algo", own.scheduler.into(), other.scheduler.into()),
            ("lb_kind", method(own).into(), method(other).into()),
            ("persistence_timeout", persistence(own), persistence(other)),
            ("quorum", own.quorum.to_string(), other.quorum.to_string()),
            ("sorry_server", sorry(own), sorry(other)),
        ];
        let mut differ: Vec<String> = facts
            .into_iter()
            .filter(|(_, ours, theirs)| ours != theirs)
            .map(|(word, ours, theirs)| format!("{word} {ours} on {here}, {theirs} on {there}"))
            .collect();
        for server in &own.servers {
            let Some(twin) = other.servers.iter().find(|twin| twin.endpoint == server.endpoint) else { continue };
            if server.weight != twin.weight {
                let (ours, theirs) = (server.weight, twin.weight);
                differ.push(format!("weight of {} {ours} on {here}, {theirs} on {there}", server.endpoint));
            }
            if !same_checks(server, twin) {
                differ.push(format!("the checks of {}", server.endpoint));
            }
        }
        if !differ.is_empty() {
            let message =
                format!("virtual_server {target} is balanced otherwise after a takeover: {}", list(differ.into_iter()));
            self.say(
                out,
                Level::Warning,
                "service-differs",
                message,
                "write the virtual_server alike on every director",
            );
        }
    }

    /// `lvs_sync_daemon`: who tells of connections, and who hears.
    fn synchronisation(&self, out: &mut Vec<Finding>) {
        let [ours, theirs] = self.specs.map(|spec| spec.balance.settings.sync_daemon.as_ref());
        let [here, there] = self.names();
        let id = |daemon: &SyncDaemon| daemon.id.unwrap_or(0);
        match (ours, theirs) {
            (Some(ours), Some(theirs)) if id(ours) != id(theirs) => {
                let message = format!(
                    "lvs_sync_daemon: the id is {} on {here}, {} on {there}: neither hears of the other's connections, and a \
                     takeover breaks them",
                    id(ours),
                    id(theirs)
                );
                self.say(
                    out,
                    Level::Error,
                    "sync-differs",
                    message,
                    "give `lvs_sync_daemon` the same `id` on every director",
                );
            }
            (Some(ours), Some(theirs)) if (ours.group, ours.port) != (theirs.group, theirs.port) => {
                let message = format!(
                    "lvs_sync_daemon: group or port differ between {here} and {there}: neither hears of the other's \
                     connections, and a takeover breaks them"
                );
                let help = "give `lvs_sync_daemon` the same `group` and `port` on every director";
                self.say(out, Level::Error, "sync-differs", message, help);
            }
            (Some(_), None) | (None, Some(_)) => {
                let (on, off) = if ours.is_some() { (here, there) } else { (there, here) };
                let message = format!(
                    "lvs_sync_daemon is on {on} only: {off} neither tells nor hears of connections, and a takeover breaks them"
                );
                self.say(out, Level::Warning, "sync-differs", message, "write `lvs_sync_daemon` on every director");
            }
            _ => {}
        }
    }
}

/// Where a check speaks from is each director's own.
fn same_checks(own: &RealServer, twin: &RealServer) -> bool {
    let plain = |server: &RealServer| -> Vec<Checker> {
        let mut checks = server.checkers.clone();
        for connection in checks.iter_mut().filter_map(|check| check.connection.as_mut()) {
            (connection.from, connection.from_port, connection.interface, connection.mark) = (None, None, None, 0);
        }
        checks
    };
    plain(own) == plain(twin)
}
