//! Addresses, routes and rules of KEEPALIVED-MIB: the static ones (owner 0) and those of each instance (its number).

use super::{KEEPALIVED, Row, Seen, Tree, Value, rows};
use crate::spec::{Encap, IfName, NextHop, Prefix, Route, Rule, RuleAction, VirtualAddress, rtax};
use crate::wire::Family;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// keepalived adds one to a route's protocol number.
const PROTOCOL_SHIFT: u32 = 1;
const MAIN_TABLE_DEFAULT: [u32; 2] = [0, 254];

/// Who owns the things of one part of the tables.
struct Owner<'a> {
    number: u32,
    /// Interface of addresses that name none.
    interface: Option<&'a str>,
    held: bool,
    advertised: usize,
}

pub(super) fn fill(tree: &mut Tree, seen: &Seen<'_>) {
    let statics = &seen.spec.statics;
    let everyone = Owner { number: 0, interface: None, held: true, advertised: 0 };
    addresses(tree, seen, &everyone, &statics.addresses, |_, _| true);
    routes(tree, seen, &everyone, &statics.routes);
    rules(tree, &everyone, &statics.rules);
    for (number, (one, view)) in rows(seen.spec.instances.iter().zip(&seen.now.instances)) {
        let interface = view.link.as_deref().or(view.interface.as_deref());
        let owner =
            Owner { number, interface, held: view.owned && view.lacking.is_none(), advertised: one.claim.advertised };
        addresses(tree, seen, &owner, &one.claim.addresses, |position, address| {
            seen.now.has_set(view, position, address)
        });
        routes(tree, seen, &owner, &one.claim.routes);
        rules(tree, &owner, &one.claim.rules);
    }
}

/// set 1, unset 2.
fn status(held: bool) -> i32 {
    if held { 1 } else { 2 }
}

/// Scope numbers of the MIB for those of rtnetlink.
fn scope(number: Option<u8>) -> i32 {
    match number.unwrap_or(0) {
        0 => 14,
        253 => 2,
        254 => 1,
        200 => 5,
        _ => 0,
    }
}

fn named<'a>(interface: Option<&'a IfName>, owner: &Owner<'a>) -> Option<&'a str> {
    interface.map(IfName::as_str).or(owner.interface)
}

fn addresses(
    tree: &mut Tree,
    seen: &Seen<'_>,
    owner: &Owner<'_>,
    list: &[VirtualAddress],
    held: impl Fn(u32, IpAddr) -> bool,
) {
    let table = [KEEPALIVED, &[2, 6]].concat();
    for (position, item) in rows(list) {
        let interface = named(item.interface.as_ref(), owner);
        let broadcast = item.address.is_ipv4().then(|| item.broadcast.unwrap_or(Ipv4Addr::UNSPECIFIED));
        Row::new(tree, &table, &[owner.number, position])
            .set(2, Value::address_type(Some(&item.address)))
            .set(3, Value::address(item.address))
            .maybe(4, broadcast.map(|address| Value::address(address.into())))
            .unsigned(5, item.prefix)
            .integer(6, scope(item.scope))
            .integer(7, seen.index_of(interface).unwrap_or(0))
            .maybe(8, interface.map(Value::text))
            .maybe(9, item.label.as_ref().map(Value::text))
            .integer(10, status(held(position - 1, item.address)))
            .integer(11, if (position as usize) <= owner.advertised { 1 } else { 2 })
            .maybe(12, item.peer.map(|(address, _)| Value::address(address)));
    }
}

fn any_of(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn routes(tree: &mut Tree, seen: &Seen<'_>, owner: &Owner<'_>, list: &[Route]) {
    let (table, hops) = ([KEEPALIVED, &[2, 7]].concat(), [KEEPALIVED, &[2, 11]].concat());
    for (position, item) in rows(list) {
        route(&mut Row::new(tree, &table, &[owner.number, position]), seen, owner, item);
        for (hop, one) in rows(&item.nexthops) {
            next_hop(&mut Row::new(tree, &hops, &[owner.number, position, hop]), seen, one);
        }
    }
}

/// The MIB's number for a route type (`RTN_…`).
fn route_type(item: &Route) -> i32 {
    match item.kind {
        _ if !item.nexthops.is_empty() => 2,
        6 => 3,
        4 => 4,
        5 => 5,
        3 => 6,
        7 => 7,
        8 => 8,
        9 => 9,
        10 => 10,
        11 => 11,
        _ => 1,
    }
}

fn route(row: &mut Row<'_>, seen: &Seen<'_>, owner: &Owner<'_>, item: &Route) {
    let destination = item.destination.unwrap_or(Prefix { address: any_of(item.family), length: 0 });
    let interface = item.interface.as_ref().map(IfName::as_str);
    let second = match item.nexthops.as_slice() {
        [only] if only.encap.is_none() => only.via,
        _ => None,
    };
    row.set(2, Value::address_type(Some(&destination.address)))
        .set(3, Value::address(destination.address))
        .unsigned(4, destination.length)
        .maybe(5, item.via.map(Value::address))
        .maybe(6, second.map(Value::address))
        .maybe(7, item.source.map(Value::address))
        .unsigned(8, item.metric.unwrap_or(0))
        .integer(9, scope(item.scope))
        .integer(10, route_type(item))
        .maybe(11, interface.map(|name| Value::Integer(seen.index_of(Some(name)).unwrap_or(0) as i32)))
        .maybe(12, interface.map(Value::text))
        .unsigned(13, item.table)
        .integer(14, status(owner.held))
        .maybe(15, item.from.map(|from| Value::address(from.address)))
        .maybe(16, item.from.map(|from| Value::Unsigned(from.length.into())))
        .maybe(17, (item.tos != 0).then(|| Value::Unsigned(item.tos.into())))
        .integer(18, u32::from(item.protocol) + PROTOCOL_SHIFT);
    metrics(row, item);
    row.maybe(21, item.expires.map(|seconds| Value::Integer(seconds as i32)))
        .maybe(42, item.congctl.as_ref().map(|(name, _)| Value::text(name)))
        // low 3, medium 0, high 1 in the kernel (RFC 4191).
        .maybe(
            43,
            item.pref.map(|pref| {
                Value::Integer(match pref {
                    1 => 3,
                    3 => 1,
                    _ => 2,
                })
            }),
        )
        .maybe(44, item.realms.map(|realms| Value::Unsigned(realms & 0xffff)))
        .maybe(45, item.realms.map(|realms| Value::Unsigned(realms >> 16)));
    if let Some(encap) = &item.encap {
        encapsulation(row, 46, encap);
    }
}

fn metrics(row: &mut Row<'_>, item: &Route) {
    let of =
        |number: u8| item.metrics.iter().find(|(metric, ..)| *metric == number).map(|(_, value, lock)| (*value, *lock));
    row.truth(19, of(rtax::FEATURES).is_some_and(|(bits, _)| bits & rtax::FEATURE_ECN != 0))
        .truth(20, of(rtax::QUICKACK).is_some_and(|(value, _)| value != 0));
    // Column of the value, column of its lock, the kernel's unit against the MIB's.
    let locked: [(u8, u32, u32, u32); 9] = [
        (rtax::MTU, 22, 23, 1),
        (rtax::ADVMSS, 25, 26, 1),
        (rtax::RTT, 27, 28, 8),
        (rtax::RTTVAR, 29, 30, 4),
        (rtax::REORDERING, 31, 32, 1),
        (rtax::CWND, 34, 35, 1),
        (rtax::SSTHRESH, 36, 37, 1),
        (rtax::RTO_MIN, 38, 39, 1),
        (rtax::HOPLIMIT, 24, 0, 1),
    ];
    for (number, column, lock_column, unit) in locked {
        if let Some((value, lock)) = of(number) {
            row.unsigned(column, value / unit);
            if lock_column != 0 {
                row.truth(lock_column, lock);
            }
        }
    }
    for (number, column) in [(rtax::WINDOW, 33), (rtax::INITCWND, 40), (rtax::INITRWND, 41)] {
        row.maybe(column, of(number).map(|(value, _)| Value::Unsigned(value)));
    }
    row.maybe(55, of(rtax::FASTOPEN_NO_COOKIE).map(|(value, _)| Value::truth(value != 0)));
}

/// Nine columns from `first` on: type, labels, id, destination, source, TOS, TTL, flags, locator.
fn encapsulation(row: &mut Row<'_>, first: u32, encap: &Encap) {
    // mpls 1, ip 2, ila 3, ip6 4, as the MIB says.
    match encap {
        Encap::Mpls { labels } => {
            let text: Vec<String> = labels.iter().map(u32::to_string).collect();
            row.integer(first, 1).text(first + 1, text.join("/"));
        }
        Encap::Ip { id, destination, source, tos, ttl, flags } => {
            row.integer(first, 2);
            tunnel(row, first, (*id, *destination, *source), (*tos, *ttl, *flags));
        }
        Encap::Ila { locator } => {
            row.integer(first, 3).set(first + 8, Value::Counter64(*locator));
        }
        Encap::Ip6 { id, destination, source, tc, hoplimit, flags } => {
            row.integer(first, 4);
            tunnel(row, first, (*id, *destination, *source), (*tc, *hoplimit, *flags));
        }
    }
}

type Ends = (Option<u64>, Option<IpAddr>, Option<IpAddr>);

fn tunnel(row: &mut Row<'_>, first: u32, (id, destination, source): Ends, (tos, ttl, flags): (u8, u8, u16)) {
    let given = |value: u32| (value != 0).then_some(Value::Unsigned(value));
    row.maybe(first + 2, id.map(Value::Counter64))
        .maybe(first + 3, destination.map(Value::address))
        .maybe(first + 4, source.map(Value::address))
        .maybe(first + 5, given(tos.into()))
        .maybe(first + 6, given(ttl.into()))
        .maybe(first + 7, given(flags.into()));
}

fn next_hop(row: &mut Row<'_>, seen: &Seen<'_>, hop: &NextHop) {
    let interface = hop.interface.as_ref().map(IfName::as_str);
    row.set(2, Value::address_type(hop.via.as_ref()))
        .maybe(3, hop.via.map(Value::address))
        .maybe(4, interface.map(|name| Value::Integer(seen.index_of(Some(name)).unwrap_or(0) as i32)))
        .maybe(5, interface.map(Value::text))
        .maybe(6, (hop.weight > 1).then(|| Value::Unsigned(hop.weight.into())))
        .truth(7, hop.onlink)
        .maybe(8, hop.realms.map(|realms| Value::Unsigned(realms & 0xffff)))
        .maybe(9, hop.realms.map(|realms| Value::Unsigned(realms >> 16)));
    if let Some(encap) = &hop.encap {
        encapsulation(row, 10, encap);
    }
}

fn rules(tree: &mut Tree, owner: &Owner<'_>, list: &[Rule]) {
    let table = [KEEPALIVED, &[2, 8]].concat();
    for (position, item) in rows(list) {
        rule(&mut Row::new(tree, &table, &[owner.number, position]), owner, item);
    }
}

fn rule(row: &mut Row<'_>, owner: &Owner<'_>, item: &Rule) {
    let direction = match (item.from, item.to) {
        (Some(_), Some(_)) => "both",
        (None, Some(_)) => "to",
        (Some(_), None) => "from",
        (None, None) => "",
    };
    row.text(2, direction);
    let prefix = |row: &mut Row<'_>, first: u32, prefix: Option<Prefix>| {
        if let Some(prefix) = prefix {
            row.set(first, Value::address_type(Some(&prefix.address)))
                .set(first + 1, Value::address(prefix.address))
                .unsigned(first + 2, prefix.length);
        }
    };
    prefix(row, 3, item.to.or(item.from));
    prefix(row, 9, item.to);
    prefix(row, 12, item.from);
    let (action, looked_up, target) = match item.action {
        RuleAction::Table(number) => (1, Some(number), None),
        RuleAction::L3mdev => (1, None, None),
        RuleAction::Goto(to) => (2, None, Some(to)),
        RuleAction::Nop => (3, None, None),
        RuleAction::Blackhole => (6, None, None),
        RuleAction::Unreachable => (7, None, None),
        RuleAction::Prohibit => (8, None, None),
    };
    let looked_up =
        looked_up.map(|number| if number == MAIN_TABLE_DEFAULT[0] { MAIN_TABLE_DEFAULT[1] } else { number });
    row.maybe(6, looked_up.map(Value::Unsigned))
        .integer(7, status(owner.held))
        .truth(8, item.invert)
        .unsigned(15, item.tos)
        .maybe(16, item.fwmark.map(|(mark, _)| Value::Unsigned(mark)))
        .maybe(17, item.fwmark.map(|(_, mask)| Value::Unsigned(mask)))
        .maybe(18, item.realms.map(|realms| Value::Unsigned(realms & 0xffff)))
        .maybe(19, item.realms.map(|realms| Value::Unsigned(realms >> 16)))
        .maybe(20, item.iif.as_ref().map(|name| Value::text(name.as_str())))
        .maybe(21, item.oif.as_ref().map(|name| Value::text(name.as_str())))
        .maybe(22, target.map(Value::Unsigned))
        .integer(23, action)
        .maybe(24, looked_up.map(Value::Unsigned))
        .maybe(25, (item.priority != 0).then_some(Value::Unsigned(item.priority)))
        .maybe(26, item.suppress_prefixlength.map(Value::Unsigned))
        .maybe(27, item.suppress_ifgroup.map(|group| Value::text(group.to_string())))
        .maybe(28, item.tunnel_id.map(|id| Value::Unsigned((id >> 32) as u32)))
        .maybe(29, item.tunnel_id.map(|id| Value::Unsigned(id as u32)))
        .maybe(30, item.uid_range.map(|(from, _)| Value::Unsigned(from)))
        .maybe(31, item.uid_range.map(|(_, to)| Value::Unsigned(to)))
        .maybe(32, (item.action == RuleAction::L3mdev).then_some(Value::Integer(1)))
        .integer(33, u32::from(item.protocol) + PROTOCOL_SHIFT)
        .maybe(34, item.ip_proto.map(|number| Value::Unsigned(number.into())))
        .maybe(35, item.sport.map(|(from, _)| Value::Unsigned(from.into())))
        .maybe(36, item.sport.map(|(_, to)| Value::Unsigned(to.into())))
        .maybe(37, item.dport.map(|(from, _)| Value::Unsigned(from.into())))
        .maybe(38, item.dport.map(|(_, to)| Value::Unsigned(to.into())));
}
