//! Addresses, routes, rules and command lines as keepalived's dumps and JSON write them: one line each.
//!
//! Pure functions; the words are those of `ip`(8), in the order in which keepalived's readers know them.

use crate::spec::{
    Command, Encap, Insert, InstanceSpec, NextHop, Prefix, Route, Rule, RuleAction, Run, Spec, VirtualAddress, rtax,
};
use crate::wire::Family;
use std::fmt::Write as _;
use std::net::IpAddr;

/// Main routing table.
const MAIN: u32 = 254;
const UNICAST: u8 = 1;

/// `10.0.0.10/24 brd 10.0.0.255 dev eth0 scope global label eth0:1 set`. `interface` is where it goes when the line names
/// none; `set`: it is there at present.
pub fn address(item: &VirtualAddress, interface: &str, set: bool) -> String {
    let mut line = host(item.address, item.prefix);
    if let Some(broadcast) = item.broadcast {
        put(&mut line, format_args!(" brd {broadcast}"));
    }
    put(&mut line, format_args!(" dev {}", item.interface.as_ref().map_or(interface, |name| name.as_str())));
    flag(&mut line, item.use_vmac, "use_vmac");
    put(&mut line, format_args!(" scope {}", scope(item.scope.unwrap_or(0))));
    if let Some(label) = &item.label {
        put(&mut line, format_args!(" label {label}"));
    }
    if let Some((peer, prefix)) = item.peer {
        put(&mut line, format_args!(" peer {peer}/{prefix}"));
    }
    flag(&mut line, item.home, "home");
    flag(&mut line, item.dad, "-nodad");
    flag(&mut line, item.mngtmpaddr, "mngtmpaddr");
    flag(&mut line, item.noprefixroute, "noprefixroute");
    flag(&mut line, item.autojoin, "autojoin");
    flag(&mut line, item.no_track, "no_track");
    track_group(&mut line, item.track_group.as_deref());
    if item.address.is_ipv6() {
        match item.preferred_lifetime {
            Some(0) => line.push_str(" deprecated"),
            None => line.push_str(" preferred_lft forever"),
            Some(seconds) => put(&mut line, format_args!(" preferred_lft {seconds}")),
        }
    }
    flag(&mut line, set, "set");
    line
}

/// `prepend 10.77.0.0/16 via inet 10.9.0.1 dev eth0 proto 18 metric 5`.
pub fn route(item: &Route) -> String {
    let mut line = String::from(match item.insert {
        Insert::Prepend => "prepend ",
        Insert::Append => "append ",
        Insert::Add => "add ",
    });
    if item.kind != UNICAST {
        put(&mut line, format_args!("{} ", route_kind(item.kind)));
    }
    line.push_str(&item.destination.map_or("default".to_owned(), network));
    if let Some(from) = item.from {
        put(&mut line, format_args!(" from {}", network(from)));
    }
    if let Some(source) = item.source {
        put(&mut line, format_args!(" src {source}"));
    }
    if item.tos != 0 {
        put(&mut line, format_args!(" tos {}", item.tos));
    }
    if let Some(encap) = &item.encap {
        put(&mut line, format_args!(" encap {}", encapsulation(encap)));
    }
    via(&mut line, item.via);
    if let Some(interface) = &item.interface {
        put(&mut line, format_args!(" dev {interface}"));
    }
    if item.table != MAIN {
        put(&mut line, format_args!(" table {}", item.table));
    }
    put(&mut line, format_args!(" proto {}", item.protocol));
    if let Some(scope) = item.scope {
        put(&mut line, format_args!(" scope {scope}"));
    }
    if let Some(metric) = item.metric {
        put(&mut line, format_args!(" metric {metric}"));
    }
    flag(&mut line, item.onlink, "onlink");
    realms(&mut line, item.realms);
    if let Some(seconds) = item.expires {
        put(&mut line, format_args!(" expires {seconds}sec"));
    }
    if let Some((name, locked)) = &item.congctl {
        put(&mut line, format_args!(" congctl {}{name}", lock(*locked)));
    }
    for (number, value, locked) in &item.metrics {
        put(&mut line, format_args!(" {} {}{value}", metric_name(*number), lock(*locked)));
    }
    if let Some(pref) = item.pref {
        // RFC 4191 §2.1: 01 high, 00 medium, 11 low.
        let word = match pref {
            0 => "medium",
            1 => "high",
            3 => "low",
            _ => "unknown",
        };
        put(&mut line, format_args!(" pref {word}"));
    }
    if let Some(enabled) = item.ttl_propagate {
        put(&mut line, format_args!(" ttl-propagate {}abled", if enabled { "en" } else { "dis" }));
    }
    for hop in &item.nexthops {
        next_hop(&mut line, hop);
    }
    flag(&mut line, item.no_track, "no_track");
    track_group(&mut line, item.track_group.as_deref());
    line
}

fn next_hop(line: &mut String, hop: &NextHop) {
    line.push_str(" nexthop");
    via(line, hop.via);
    if let Some(interface) = &hop.interface {
        put(line, format_args!(" dev {interface}"));
    }
    if hop.weight > 1 {
        put(line, format_args!(" weight {}", hop.weight));
    }
    flag(line, hop.onlink, "onlink");
    if let Some(encap) = &hop.encap {
        put(line, format_args!(" encap {}", encapsulation(encap)));
    }
    realms(line, hop.realms);
}

/// `from 10.9.0.10 priority 999 tos 0x0 protocol 18 lookup 100`.
pub fn rule(item: &Rule) -> String {
    let mut line = String::new();
    if item.from.is_none() && item.to.is_none() && item.family == crate::wire::Family::V6 {
        line.push_str("inet6 ");
    }
    if item.invert {
        line.push_str("not ");
    }
    put(&mut line, format_args!("from {}", item.from.map_or("all".to_owned(), network)));
    if let Some(to) = item.to {
        put(&mut line, format_args!(" to {}", network(to)));
    }
    put(&mut line, format_args!(" priority {} tos 0x{:x}", item.priority, item.tos));
    if let Some((mark, mask)) = item.fwmark {
        put(&mut line, format_args!(" fwmark 0x{mark:x}"));
        if mask != u32::MAX {
            put(&mut line, format_args!("/0x{mask:x}"));
        }
    }
    if let Some(name) = &item.iif {
        put(&mut line, format_args!(" iif {name}"));
    }
    if let Some(name) = &item.oif {
        put(&mut line, format_args!(" oif {name}"));
    }
    if let Some(length) = item.suppress_prefixlength {
        put(&mut line, format_args!(" suppress_prefixlength {length}"));
    }
    if let Some(group) = item.suppress_ifgroup {
        put(&mut line, format_args!(" suppress_ifgroup {group}"));
    }
    if let Some(id) = item.tunnel_id {
        put(&mut line, format_args!(" tunnel-id {id}"));
    }
    if let Some((first, last)) = item.uid_range {
        put(&mut line, format_args!(" uidrange {first}-{last}"));
    }
    flag(&mut line, item.action == RuleAction::L3mdev, "l3mdev");
    put(&mut line, format_args!(" protocol {}", item.protocol));
    if let Some(protocol) = item.ip_proto {
        put(&mut line, format_args!(" ipproto {protocol}"));
    }
    if let Some((first, last)) = item.sport {
        put(&mut line, format_args!(" sport {first}-{last}"));
    }
    if let Some((first, last)) = item.dport {
        put(&mut line, format_args!(" dport {first}-{last}"));
    }
    if let Some(realms) = item.realms {
        put(&mut line, format_args!(" realms {}/{}", realms >> 16, realms & 0xffff));
    }
    match item.action {
        RuleAction::Table(table) => put(&mut line, format_args!(" lookup {table}")),
        RuleAction::Goto(target) => put(&mut line, format_args!(" goto {target}")),
        RuleAction::Nop => line.push_str(" nop"),
        RuleAction::L3mdev => line.push_str(" lookup 0"),
        RuleAction::Blackhole => line.push_str(" type blackhole"),
        RuleAction::Unreachable => line.push_str(" type unreachable"),
        RuleAction::Prohibit => line.push_str(" type prohibit"),
    }
    flag(&mut line, item.no_track, "no_track");
    track_group(&mut line, item.track_group.as_deref());
    line
}

/// The command line of a program, every word in single quotes.
pub fn command(run: &Run) -> String {
    match &run.command {
        Command::Exec { argv, .. } => argv.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
        Command::Shell(line) => format!("'{line}'"),
    }
}

/// The interface that the addresses of an instance are on.
pub fn interface(spec: &Spec, index: usize, link: Option<&str>) -> String {
    let base = spec.instances.get(index).and_then(|i| i.interface.as_ref()).map_or("(null)", |name| name.as_str());
    match link {
        Some(link) if link != base => format!("{link}@{base}"),
        _ => base.to_owned(),
    }
}

/// A virtual address as keepalived's dump and JSON tell it, with what its firewall knows. `interface`: the instance's own;
/// `there`: it is on this machine.
pub fn virtual_address(one: &InstanceSpec, item: &VirtualAddress, interface: &str, there: bool) -> String {
    let firewall = if there && !one.accept { " nftable_set" } else { "" };
    address(item, home(one, item, interface), there) + firewall
}

/// Where an address goes that names no interface: a virtual link has addresses of its instance's family only.
fn home<'a>(one: &'a InstanceSpec, item: &VirtualAddress, interface: &'a str) -> &'a str {
    let other = one.virtual_link.is_some() && Family::of(&item.address) != one.family;
    one.interface.as_ref().filter(|_| other).map_or(interface, |name| name.as_str())
}

/// A number as C's `%g` writes it: six digits at most, no trailing zeros; `5` and not `5.0`.
pub fn short(number: f64) -> String {
    if number == 0.0 {
        return "0".into();
    }
    let exponent = number.abs().log10().floor() as i32;
    if !(-4..6).contains(&exponent) {
        let text = format!("{number:.5e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        return format!("{}e{}{:02}", trimmed(mantissa), if exponent < 0 { '-' } else { '+' }, exponent.abs());
    }
    let decimals = usize::try_from(5 - exponent).unwrap_or(0);
    trimmed(&format!("{number:.decimals$}")).to_owned()
}

fn trimmed(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

fn put(line: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = line.write_fmt(text);
}

fn flag(line: &mut String, on: bool, word: &str) {
    if on {
        line.push(' ');
        line.push_str(word);
    }
}

fn lock(locked: bool) -> &'static str {
    if locked { "lock " } else { "" }
}

fn via(line: &mut String, via: Option<IpAddr>) {
    if let Some(via) = via {
        put(line, format_args!(" via inet{} {via}", if via.is_ipv6() { "6" } else { "" }));
    }
}

fn track_group(line: &mut String, group: Option<&str>) {
    if let Some(group) = group {
        put(line, format_args!(" track_group {group}"));
    }
}

fn realms(line: &mut String, realms: Option<u32>) {
    match realms {
        None | Some(0) => {}
        Some(realms) if realms >> 16 != 0 => put(line, format_args!(" realms {}/{}", realms >> 16, realms & 0xffff)),
        Some(realms) => put(line, format_args!(" realm {realms}")),
    }
}

/// Without the prefix length of a single host.
fn host(address: IpAddr, prefix: u8) -> String {
    let whole = if address.is_ipv6() { 128 } else { 32 };
    if prefix == whole { address.to_string() } else { format!("{address}/{prefix}") }
}

fn network(prefix: Prefix) -> String {
    host(prefix.address, prefix.length)
}

fn scope(number: u8) -> String {
    match number {
        0 => "global".into(),
        200 => "site".into(),
        253 => "link".into(),
        254 => "host".into(),
        255 => "nowhere".into(),
        other => other.to_string(),
    }
}

fn route_kind(number: u8) -> String {
    match number {
        0 => "none".into(),
        1 => "unicast".into(),
        2 => "local".into(),
        3 => "broadcast".into(),
        4 => "anycast".into(),
        5 => "multicast".into(),
        6 => "blackhole".into(),
        7 => "unreachable".into(),
        8 => "prohibit".into(),
        9 => "throw".into(),
        10 => "nat".into(),
        11 => "xresolve".into(),
        other => other.to_string(),
    }
}

fn metric_name(number: u8) -> String {
    rtax::word(number).map_or_else(|| number.to_string(), str::to_owned)
}

fn encapsulation(encap: &Encap) -> String {
    let mut line = String::new();
    match encap {
        Encap::Ip { id, destination, source, tos, ttl, flags } => {
            line.push_str("ip");
            tunnel(&mut line, *id, *destination, *source);
            put(&mut line, format_args!(" tos {tos} ttl {ttl} flags 0x{flags:x}"));
        }
        Encap::Ip6 { id, destination, source, tc, hoplimit, flags } => {
            line.push_str("ip6");
            tunnel(&mut line, *id, *destination, *source);
            put(&mut line, format_args!(" tc {tc} hoplimit {hoplimit} flags 0x{flags:x}"));
        }
        Encap::Mpls { labels } => {
            let labels: Vec<String> = labels.iter().map(ToString::to_string).collect();
            put(&mut line, format_args!("mpls {}", labels.join("/")));
        }
        Encap::Ila { locator } => put(&mut line, format_args!("ila {locator:x}")),
    }
    line
}

fn tunnel(line: &mut String, id: Option<u64>, destination: Option<IpAddr>, source: Option<IpAddr>) {
    if let Some(id) = id {
        put(line, format_args!(" id {id}"));
    }
    if let Some(destination) = destination {
        put(line, format_args!(" dst {destination}"));
    }
    if let Some(source) = source {
        put(line, format_args!(" src {source}"));
    }
}
