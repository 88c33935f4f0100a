//! Route lines: `virtual_routes` and `static_routes`.
//!
//! Like the arguments of `ip route`, in any order; the destination is whatever is no other word. A mistake costs the line
//! unless it is said otherwise; a word without its value stops the reading of the configuration, as in keepalived 2.4.3
//! (vrrp_iproute.c). What rules have in common with it is in [`super::family`], tunnels in [`super::encap`], metrics in
//! [`super::metric`].

use super::encap::encap;
use super::family::{LineFamily, Network, PROTOCOL_KEEPALIVED, need, network, number, place, table, unknown};
use super::metric::{FEATURE_ECN, FEATURES, metric_of};
use crate::config::line::{LineCx, List, Words, ip, realms, unsigned_in, wrong};
use crate::config::report::Diagnostic;
use crate::config::text::tree::{Node, Word};
use crate::spec::{Insert, NextHop, Route};
use crate::wire::Family;

/// Routing table `main`.
pub const TABLE_MAIN: u32 = 254;
/// rtm_type unicast.
pub const UNICAST: u8 = 1;

/// Words with a meaning of their own, for hints.
const WORDS: [&str; 35] = [
    "src",
    "via",
    "from",
    "tos",
    "dsfield",
    "table",
    "vrf",
    "protocol",
    "scope",
    "metric",
    "priority",
    "preference",
    "dev",
    "oif",
    "onlink",
    "encap",
    "expires",
    "mtu",
    "advmss",
    "reordering",
    "cwnd",
    "ssthresh",
    "rtt",
    "rttvar",
    "rto_min",
    "hoplimit",
    "window",
    "initcwnd",
    "initrwnd",
    "features",
    "quickack",
    "congctl",
    "nexthop",
    "no_track",
    "track_group",
];

/// Reads one route line; `None` if it cannot be used.
pub fn route(node: &Node<'_>, cx: &mut LineCx<'_>) -> Option<Route> {
    let mut new = Route {
        family: Family::V4,
        destination: None,
        kind: UNICAST,
        source: None,
        via: None,
        from: None,
        tos: 0,
        table: TABLE_MAIN,
        vrf: None,
        protocol: PROTOCOL_KEEPALIVED,
        scope: None,
        metric: None,
        interface: None,
        onlink: false,
        encap: None,
        expires: None,
        metrics: Vec::new(),
        congctl: None,
        pref: None,
        ttl_propagate: None,
        realms: None,
        insert: Insert::Prepend,
        nexthops: Vec::new(),
        no_track: false,
        track_group: None,
    };
    let mut family = LineFamily::default();
    let mut destination = false;
    let (mut protocol, mut group_at) = (None, None);
    let mut words = Words::of(node);

    while let Some(word) = words.next() {
        match word.text {
            "inet" | "inet6" => family.word(word, &mut words, is_word, cx)?,
            "src" => {
                let value = words.value(word, cx)?;
                new.source = Some(address(value, "source address", &mut family, cx)?);
            }
            "via" | "gw" => {
                if word.text == "gw" {
                    cx.push(deprecated(word, "via"));
                }
                new.via = Some(gateway(word, &mut words, &mut family, cx)?);
            }
            "from" => {
                let value = words.value(word, cx)?;
                match network(value, cx) {
                    Some(Network::Prefix(prefix)) if prefix.address.is_ipv6() => {
                        family.settle(Family::V6, value.span, cx)?;
                        new.from = Some(prefix);
                    }
                    Some(Network::Everything(Some(_))) => family.settle(Family::V6, value.span, cx)?,
                    _ => {
                        cx.say(
                            value,
                            format!("'{}' is no IPv6 prefix; the route is left out", value.text),
                            "IPv6 only",
                        );
                        return None;
                    }
                }
            }
            "tos" | "dsfield" => {
                let value = words.value(word, cx)?;
                let found = cx.names.dsfield(value.text);
                new.tos = need(found, value, "a DS field", "expected 0 to 255 or a name of rt_dsfield", cx)?;
            }
            "table" => {
                let value = words.value(word, cx)?;
                new.table = table(value, cx)?;
            }
            "vrf" => {
                let value = words.value(word, cx)?;
                let found = cx.host.vrf_table(value.text);
                new.table = need(found, value, "a VRF", "no VRF of this name is there", cx)?;
                new.vrf = crate::spec::IfName::new(value.text);
            }
            "protocol" => {
                let value = words.value(word, cx)?;
                let found = cx.names.protocol(value.text);
                let number = need(found, value, "a routing protocol", "expected 0 to 255 or a name of rt_protos", cx)?;
                protocol = Some((number, value.span));
            }
            "scope" => {
                let value = words.value(word, cx)?;
                let found = cx.names.scope(value.text);
                new.scope = Some(need(found, value, "a scope", "expected 0 to 255 or a name of rt_scopes", cx)?);
            }
            "metric" | "priority" | "preference" => {
                let value = words.value(word, cx)?;
                new.metric = Some(number(value, u32::MAX, word.text, cx)?);
            }
            "dev" | "oif" => {
                let value = words.value(word, cx)?;
                new.interface = Some(cx.interface(value)?);
            }
            "onlink" => new.onlink = true,
            "encap" => new.encap = encap(word, &mut words, cx).or(new.encap),
            "expires" => {
                only_v6(word, &mut family, cx)?;
                let value = words.value(word, cx)?;
                new.expires = Some(number(value, u32::MAX, word.text, cx)?);
            }
            "features" => {
                let value = words.value(word, cx)?;
                if value.text == "ecn" {
                    new.metrics.push((FEATURES, FEATURE_ECN, false));
                } else {
                    cx.say(value, format!("'{}' is no feature of a route; it is ignored", value.text), "expected ecn");
                }
            }
            "congctl" => {
                let lock = words.take_word("lock");
                new.congctl = Some((words.value(word, cx)?.text.into(), lock));
            }
            "pref" => {
                only_v6(word, &mut family, cx)?;
                let value = words.value(word, cx)?;
                new.pref = Some(match value.text {
                    "low" => 3,
                    "medium" => 0,
                    "high" => 1,
                    _ => number(value, 255, "pref", cx)? as u8,
                });
            }
            "ttl-propagate" => {
                let value = words.value(word, cx)?;
                match value.text {
                    "enabled" => new.ttl_propagate = Some(true),
                    "disabled" => new.ttl_propagate = Some(false),
                    other => {
                        cx.say(value, format!("ttl-propagate '{other}' is ignored"), "expected enabled or disabled")
                    }
                }
            }
            "realms" => {
                let value = words.value(word, cx)?;
                new.realms = Some(route_realms(word, value, &mut family, cx)?);
            }
            "as" => {
                words.take_word("to");
                words.value(word, cx)?;
                cx.push(wrong(word.span, "`as to` is for MPLS only; it is ignored"));
            }
            "add" => new.insert = Insert::Add,
            "append" => new.insert = Insert::Append,
            "prepend" => new.insert = Insert::Prepend,
            "or" => {
                cx.push(deprecated(word, "nexthop"));
                let value = words.value(word, cx)?;
                if new.nexthops.is_empty() {
                    let second = address(value, "gateway", &mut family, cx)?;
                    let hop = |via| NextHop { via, weight: 1, ..NextHop::default() };
                    new.nexthops = vec![hop(new.via.take()), hop(Some(second))];
                }
            }
            "nexthop" => {
                if new.nexthops.is_empty() {
                    next_hops(&mut words, &mut new, &mut family, cx);
                } else {
                    cx.push(wrong(word.span, "`nexthop` and `or` in one route; the next hops are not read"));
                    words.skip_rest();
                }
            }
            "no_track" => new.no_track = true,
            "track_group" if cx.list == List::Static => {
                let value = words.value(word, cx)?;
                if new.track_group.is_some() {
                    cx.say(value, "a second track_group; the route is left out", "second group");
                    return None;
                }
                new.track_group = cx.track_group(value);
                group_at = Some(word.span);
            }
            other => {
                if let Some(metric) = metric_of(word, &mut words, cx) {
                    let metric = metric?;
                    new.metrics.retain(|known| known.0 != metric.0);
                    new.metrics.push(metric);
                    continue;
                }
                let mut target = word;
                if other == "to" {
                    target = words.value(word, cx)?;
                } else if let Some(kind) = cx.names.route_type(other) {
                    new.kind = kind;
                    target = words.value(word, cx)?;
                }
                let Some(found) = network(target, cx) else {
                    cx.push(unknown(target, &WORDS, "a route", "expected a destination or a word of `ip route`"));
                    return None;
                };
                new.destination = place(found, target, &mut family, cx)?;
                destination = true;
            }
        }
    }

    if !destination {
        cx.push(
            wrong(node.span, "a route needs a destination; the line is left out")
                .help("add `default` or ADDRESS/PREFIX"),
        );
        return None;
    }
    match protocol {
        Some((number, at)) if number != PROTOCOL_KEEPALIVED && !new.no_track => cx.push(
            wrong(at, format!("a watched route has protocol {PROTOCOL_KEEPALIVED}, not {number}"))
                .help("add `no_track` to keep the protocol, or leave it out"),
        ),
        Some((number, _)) => new.protocol = number,
        None => {}
    }
    if new.track_group.is_some() && new.interface.is_none() {
        new.track_group = None;
        if let Some(at) = group_at {
            cx.push(wrong(at, "track_group of a route without `dev` is ignored"));
        }
    }
    new.family = family.or_v4();
    Some(new)
}

fn is_word(text: &str) -> bool {
    WORDS.contains(&text)
        || matches!(text, "gw" | "as" | "to" | "add" | "append" | "prepend" | "or" | "pref" | "inet" | "inet6")
        || matches!(text, "realms" | "ttl-propagate" | "fastopen_no_cookie")
        || matches!(
            text,
            "unicast" | "local" | "broadcast" | "brd" | "anycast" | "multicast" | "blackhole" | "unreachable"
        )
        || matches!(text, "prohibit" | "throw" | "nat" | "xresolve")
}

fn deprecated(word: &Word<'_>, instead: &str) -> Diagnostic {
    wrong(word.span, format!("`{}` is an old spelling", word.text)).help(format!("write `{instead}`"))
}

fn address(word: &Word<'_>, what: &str, family: &mut LineFamily, cx: &mut LineCx<'_>) -> Option<std::net::IpAddr> {
    let found = need(ip(word.text), word, &format!("a {what}"), "expected an address without prefix", cx)?;
    family.settle(Family::of(&found), word.span, cx)?;
    Some(found)
}

/// `[inet|inet6] ADDRESS` after `via`.
fn gateway(
    word: &Word<'_>,
    words: &mut Words<'_, '_>,
    family: &mut LineFamily,
    cx: &mut LineCx<'_>,
) -> Option<std::net::IpAddr> {
    let mut value = words.value(word, cx)?;
    if let "inet" | "inet6" = value.text {
        let said = if value.text == "inet6" { Family::V6 } else { Family::V4 };
        family.settle(said, value.span, cx)?;
        value = words.value(value, cx)?;
    }
    address(value, "gateway", family, cx)
}

fn only_v6(word: &Word<'_>, family: &mut LineFamily, cx: &mut LineCx<'_>) -> Option<()> {
    if family.get() == Some(Family::V4) {
        cx.say(word, format!("`{}` is for IPv6 only; the route is left out", word.text), "this is an IPv4 route");
        return None;
    }
    family.settle(Family::V6, word.span, cx)
}

fn route_realms(word: &Word<'_>, value: &Word<'_>, family: &mut LineFamily, cx: &mut LineCx<'_>) -> Option<u32> {
    let found = realms(value.text, cx.names);
    let found = need(found, value, "a realm", "expected REALM or FROM/TO, each 0 to 255 or a name of rt_realms", cx)?;
    if family.get() == Some(Family::V6) {
        cx.say(word, "realms are for IPv4 only; the line is left out", "this is an IPv6 route");
        return None;
    }
    family.settle(Family::V4, word.span, cx)?;
    Some(found)
}

/// `nexthop …`, as often as it comes. A mistake ends the reading of the line but keeps the route.
fn next_hops(words: &mut Words<'_, '_>, new: &mut Route, family: &mut LineFamily, cx: &mut LineCx<'_>) {
    while let Some(hop) = next_hop(words, family, cx) {
        new.nexthops.push(hop);
        match words.next() {
            None => return,
            Some(word) if word.text == "nexthop" => {}
            Some(word) => {
                let message = format!("'{}' cannot follow the next hops; the rest of the line is not read", word.text);
                cx.say(word, message, "only via, dev, weight, onlink, encap and realms");
                return words.skip_rest();
            }
        }
    }
    words.skip_rest();
}

fn next_hop(words: &mut Words<'_, '_>, family: &mut LineFamily, cx: &mut LineCx<'_>) -> Option<NextHop> {
    let mut hop = NextHop { weight: 1, ..NextHop::default() };
    while let Some(word) = words.peek() {
        match word.text {
            "via" => {
                words.next();
                hop.via = Some(gateway(word, words, family, cx)?);
            }
            "dev" => {
                words.next();
                let value = words.value(word, cx)?;
                hop.interface = Some(cx.interface(value)?);
            }
            "weight" => {
                words.next();
                let value = words.value(word, cx)?;
                let weight = unsigned_in(value.text, 1, 256).map(|n| n as u16);
                hop.weight = need(weight, value, "a weight", "expected 1 to 256", cx)?;
            }
            "onlink" => {
                words.next();
                hop.onlink = true;
            }
            "encap" => {
                words.next();
                hop.encap = encap(word, words, cx);
            }
            "realms" => {
                words.next();
                let value = words.value(word, cx)?;
                hop.realms = Some(route_realms(word, value, family, cx)?);
            }
            "as" => {
                cx.push(wrong(word.span, "`as to` of a next hop is not possible; the next hop is left out"));
                return None;
            }
            _ => break,
        }
    }
    Some(hop)
}
