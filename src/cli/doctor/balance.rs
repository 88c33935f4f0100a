//! Virtual servers: will the kernel balance, will packets pass, and does nobody else answer for a virtual address? Asked
//! only where virtual servers are configured.

use super::Case;
use super::Finding;
use super::Weight;
use super::firewall::note_no_json;
use super::ruleset::{Ruleset, Unread};
use crate::spec::balance::{Forwarding, Method, Protocol, Target, VirtualServer};
use crate::wire::Family;
use std::collections::BTreeSet;
use std::net::IpAddr;

fn services<'a>(case: &'a Case<'_>) -> &'a [VirtualServer] {
    &case.spec.balance.services
}

/// How each server, and sorry server, of a service is reached.
fn ways(service: &VirtualServer) -> impl Iterator<Item = (IpAddr, Forwarding)> + '_ {
    let servers = service.servers.iter().map(|server| (server.endpoint.address, server.forwarding));
    servers.chain(service.sorry.iter().map(|sorry| (sorry.endpoint.address, sorry.forwarding)))
}

/// Modules that the kernel must have: the table itself, and each scheduler.
pub(super) fn modules(case: &Case<'_>) -> Vec<(String, String)> {
    let schedulers: BTreeSet<&str> = services(case).iter().map(|service| service.scheduler).collect();
    let table = (!schedulers.is_empty()).then(|| ("ip_vs".to_owned(), "virtual_server".to_owned()));
    let of = |name: &str| (format!("ip_vs_{name}"), format!("lb_algo {name}"));
    table.into_iter().chain(schedulers.into_iter().map(of)).collect()
}

/// With NAT the answers of real servers come through this machine, which must forward them.
pub fn forwarding(case: &Case<'_>, found: &mut Vec<Finding>) {
    let ways = services(case).iter().flat_map(ways).filter(|(_, way)| way.method == Method::Nat);
    let families: BTreeSet<Family> = ways.map(|(address, _)| Family::of(&address)).collect();
    for family in families {
        let key = match family {
            Family::V4 => "net/ipv4/ip_forward",
            Family::V6 => "net/ipv6/conf/all/forwarding",
        };
        let name = key.replace('/', ".");
        if case.sysctl(key) == Some(0) {
            found.push(
                Finding::new(Weight::Problem, "forwarding", format!("{name} is 0, and virtual servers use NAT"))
                    .why("the answers of real servers come to this machine and go no further: clients get none")
                    .cure(format!("sysctl -w {name}=1   # and in /etc/sysctl.d")),
            );
        }
    }
}

/// Rules that look at the state of connections see nothing of balanced ones unless IPVS tells them.
pub fn conntrack(case: &Case<'_>, found: &mut Vec<Finding>) {
    let nat = services(case).iter().flat_map(ways).any(|(_, way)| way.method == Method::Nat);
    if !nat || case.sysctl("net/ipv4/vs/conntrack") != Some(0) {
        return;
    }
    if let Some(rule) = rule_about_connections(case, found) {
        found.push(
            Finding::new(
                Weight::Warning,
                "conntrack",
                format!("net.ipv4.vs.conntrack is 0, and the firewall looks at connections: {rule}"),
            )
            .why("connections that IPVS changes by NAT are unknown to such rules: their packets can be dropped, or keep their source")
            .cure("sysctl -w net.ipv4.vs.conntrack=1   # and in /etc/sysctl.d"),
        );
    }
}

/// The first rule that looks at the state of connections or changes their source, in its firewall's words.
fn rule_about_connections(case: &Case<'_>, found: &mut Vec<Finding>) -> Option<String> {
    let mut listings: Vec<[&str; 4]> = ["filter", "nat"].map(|table| ["iptables-legacy", "-t", table, "-S"]).into();
    let mut rules = Ruleset::default();
    match Ruleset::of(case.machine) {
        Ok(said) => {
            // What iptables-nft has set it can say better than nft can.
            let managed = ["filter", "nat"].into_iter().filter(|table| said.is_of_iptables(&format!("ip {table}")));
            listings.extend(managed.map(|table| ["iptables-nft", "-t", table, "-S"]));
            rules = said;
        }
        Err(Unread::NoJson) => note_no_json(found),
        Err(Unread::NotAllowed) => {}
    }
    let texts = listings.iter().filter_map(|argv| case.machine.run(argv)).filter(|ran| ran.ok);
    let mut lines: Vec<String> =
        texts.flat_map(|ran| ran.stdout.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.extend(rules.tables().flat_map(|(_, chains)| chains.values().flat_map(|chain| chain.rules.clone())));
    let minds = [
        "ct state",
        "--ctstate",
        "--state",
        "masquerade",
        "MASQUERADE",
        "snat to",
        "-j SNAT",
        "xt SNAT",
        "xt conntrack",
    ];
    lines.into_iter().find(|line| minds.iter().any(|word| line.contains(word)))
}

/// Connections to a server that has been taken out: by itself the kernel says nothing to their clients.
pub fn gone_servers(case: &Case<'_>, found: &mut Vec<Finding>) {
    let may_go = |service: &VirtualServer| service.servers.iter().any(|own| !own.inhibit && !own.checkers.is_empty());
    let tcp = |service: &&VirtualServer| service.protocol != Some(Protocol::Udp);
    let of = services(case).iter().filter(tcp).find(|service| may_go(service));
    let Some(service) = of.filter(|_| case.sysctl("net/ipv4/vs/expire_nodest_conn") == Some(0)) else { return };
    found.push(
        Finding::new(
            Weight::Note,
            "gone servers",
            format!("net.ipv4.vs.expire_nodest_conn is 0, and servers of virtual_server {} can be taken out", service.target),
        )
        .why("what clients send to a server that is gone is dropped without a word until they give up by themselves; with 1 they are told at once, and connect again")
        .cure("sysctl -w net.ipv4.vs.expire_nodest_conn=1   # and in /etc/sysctl.d"),
    );
}

/// A real server without NAT has the virtual address on its loopback, and must not answer ARP requests for it.
pub fn arp(case: &Case<'_>, found: &mut Vec<Finding>) {
    let addresses = case.machine.addresses();
    let mut here = addresses.iter().filter(|(name, address)| address.is_ipv4() && is_for_server(name));
    let Some((_, address)) = here.find(|(_, address)| is_without_nat(case, *address)) else { return };
    let mut links: Vec<&String> = addresses.iter().map(|(name, _)| name).filter(|name| !is_for_server(name)).collect();
    links.sort();
    links.dedup();
    let least = |key: &str, name: &str| {
        let of = |name: &str| case.sysctl(&format!("net/ipv4/conf/{name}/{key}"));
        of("all").into_iter().chain(of(name)).max()
    };
    let loud: Vec<&str> = links
        .into_iter()
        .filter(|name| least("arp_ignore", name) == Some(0) || least("arp_announce", name).is_some_and(|n| n < 2))
        .map(String::as_str)
        .collect();
    if !loud.is_empty() {
        found.push(
            Finding::new(
                Weight::Problem,
                "arp",
                format!("{address} is on the loopback, and this machine speaks ARP for it on {}", loud.join(", ")),
            )
            .why("clients learn the MAC address of this real server instead of the director's, and are balanced no longer")
            .cure("sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2   # and in /etc/sysctl.d"),
        );
    }
}

/// Is it a virtual server's address that real servers have as well?
pub(super) fn is_without_nat(case: &Case<'_>, address: IpAddr) -> bool {
    services(case).iter().any(|service| {
        matches!(&service.target, Target::Address(endpoint) if endpoint.address == address)
            && ways(service).any(|(_, way)| way.method != Method::Nat)
    })
}

/// Where a real server has the virtual address: on no link that others are on.
pub(super) fn is_for_server(interface: &str) -> bool {
    interface == "lo" || interface.starts_with("dummy") || interface.starts_with("tunl")
}
