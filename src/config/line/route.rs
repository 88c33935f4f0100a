//! Route lines: `virtual_routes` and `static_routes`.
//!
//! Like the arguments of `ip route`, in any order; the destination is whatever is no other word. A mistake costs the line
//! unless it is said otherwise; a word without its value stops the reading of the configuration, as in keepalived 2.4.3
//! (vrrp_iproute.c). What rules have in common with it is in [`super::family`], tunnels in [`super::encap`], metrics in
//! [`super::metric`].

use super::encap::encap;
use super::family::{LineFamily, Network, need, network, number, place, table, unknown};
use super::metric::metric_of;
use crate::config::line::{LineCx, List, Words, ip, realms, unsigned_in, wrong};
use crate::config::report::Diagnostic;
use crate::config::text::source::Span;
use crate::config::text::tree::{Node, Word};
use crate::spec::{Insert, NextHop, PROTOCOL_KEEPALIVED, Route, rtax};
use crate::wire::Family;

/// How a route line is written, for those whose line is wrong.
pub const FORM: &str = "ADDRESS/PREFIX via GATEWAY dev IFNAME …";

/// A route line as far as it has been read.
struct Draft {
    new: Route,
    family: LineFamily,
    /// A destination was there.
    destination: bool,
    protocol: Option<(u8, Span)>,
    group_at: Option<Span>,
}

/// `None` costs the line.
type Step = Option<()>;

/// Reads what follows a word.
type Reader = fn(&mut Draft, &Word<'_>, &mut Words<'_, '_>, &mut LineCx<'_>) -> Step;

/// The words of a route line, each with its reader. Whatever is not here is a type of route or a destination.
static WORDS: [(&str, Reader); 47] = [
    ("inet", |draft, word, words, cx| draft.family.word(word, words, is_word, cx)),
    ("inet6", |draft, word, words, cx| draft.family.word(word, words, is_word, cx)),
    ("src", |draft, word, words, cx| {
        let value = words.value(word, cx)?;
        draft.new.source = Some(address(value, "source address", &mut draft.family, cx)?);
        Some(())
    }),
    ("via", |draft, word, words, cx| {
        draft.new.via = Some(gateway(word, words, &mut draft.family, cx)?);
        Some(())
    }),
    ("gw", |draft, word, words, cx| {
        cx.push(deprecated(word, "via"));
        draft.new.via = Some(gateway(word, words, &mut draft.family, cx)?);
        Some(())
    }),
    ("from", from),
    ("tos", dsfield),
    ("dsfield", dsfield),
    ("table", |draft, word, words, cx| {
        draft.new.table = table(words.value(word, cx)?, cx)?;
        Some(())
    }),
    ("vrf", |draft, word, words, cx| {
        let value = words.value(word, cx)?;
        let found = cx.host.vrf_table(value.text);
        draft.new.table = need(found, value, "a VRF", "no VRF of this name is there", cx)?;
        draft.new.vrf = crate::spec::IfName::new(value.text);
        Some(())
    }),
    ("protocol", |draft, word, words, cx| {
        let value = words.value(word, cx)?;
        let found = cx.names.protocol(value.text);
        let number = need(found, value, "a routing protocol", "expected 0 to 255 or a name of rt_protos", cx)?;
        draft.protocol = Some((number, value.span));
        Some(())
    }),
    ("scope", |draft, word, words, cx| {
        let value = words.value(word, cx)?;
        let found = cx.names.scope(value.text);
        draft.new.scope = Some(need(found, value, "a scope", "expected 0 to 255 or a name of rt_scopes", cx)?);
        Some(())
    }),
    ("metric", preference),
    ("priority", preference),
    ("preference", preference),
    ("dev", device),
    ("oif", device),
    ("onlink", |draft, _, _, _| on(&mut draft.new.onlink)),
    ("encap", |draft, word, words, cx| {
        draft.new.encap = encap(word, words, cx).or(draft.new.encap.take());
        Some(())
    }),
    ("expires", |draft, word, words, cx| {
        only_v6(word, &mut draft.family, cx)?;
        let value = words.value(word, cx)?;
        draft.new.expires = Some(number(value, u32::MAX, word.text, cx)?);
        Some(())
    }),
    ("mtu", metric),
    ("advmss", metric),
    ("reordering", metric),
    ("cwnd", metric),
    ("ssthresh", metric),
    ("rtt", metric),
    ("rttvar", metric),
    ("rto_min", metric),
    ("hoplimit", metric),
    ("window", metric),
    ("initcwnd", metric),
    ("initrwnd", metric),
    ("quickack", metric),
    ("fastopen_no_cookie", metric),
    ("features", |draft, word, words, cx| {
        let value = words.value(word, cx)?;
        if value.text == "ecn" {
            draft.new.metrics.push((rtax::FEATURES, rtax::FEATURE_ECN, false));
        } else {
            cx.say(value, format!("`{}` is no feature of a route; it is ignored", value.text), "expected ecn");
        }
        Some(())
    }),
    ("congctl", |draft, word, words, cx| {
        let lock = words.take_word("lock");
        draft.new.congctl = Some((words.value(word, cx)?.text.into(), lock));
        Some(())
    }),
    ("pref", |draft, word, words, cx| {
        only_v6(word, &mut draft.family, cx)?;
        let value = words.value(word, cx)?;
        draft.new.pref = Some(match value.text {
            "low" => 3,
            "medium" => 0,
            "high" => 1,
            _ => number(value, 255, "pref", cx)? as u8,
        });
        Some(())
    }),
    ("ttl-propagate", |draft, word, words, cx| {
        let value = words.value(word, cx)?;
        match value.text {
            "enabled" => draft.new.ttl_propagate = Some(true),
            "disabled" => draft.new.ttl_propagate = Some(false),
            other => cx.say(value, format!("ttl-propagate `{other}` is ignored"), "expected enabled or disabled"),
        }
        Some(())
    }),
    ("realms", |draft, word, words, cx| {
        let value = words.value(word, cx)?;
        draft.new.realms = Some(route_realms(word, value, &mut draft.family, cx)?);
        Some(())
    }),
    ("as", |_, word, words, cx| {
        words.take_word("to");
        words.value(word, cx)?;
        cx.push(wrong(word.span, "`as to` is for MPLS only; it is ignored"));
        Some(())
    }),
    ("add", |draft, _, _, _| insert(draft, Insert::Add)),
    ("append", |draft, _, _, _| insert(draft, Insert::Append)),
    ("prepend", |draft, _, _, _| insert(draft, Insert::Prepend)),
    ("or", |draft, word, words, cx| {
        let both = "write `nexthop via` in front of both gateways, in the place of `via` and of `or`";
        cx.push(wrong(word.span, format!("`{}` is an old spelling", word.text)).help(both));
        let value = words.value(word, cx)?;
        if draft.new.nexthops.is_empty() {
            let second = address(value, "gateway", &mut draft.family, cx)?;
            let hop = |via| NextHop { via, weight: 1, ..NextHop::default() };
            draft.new.nexthops = vec![hop(draft.new.via.take()), hop(Some(second))];
        }
        Some(())
    }),
    ("nexthop", |draft, word, words, cx| {
        if draft.new.nexthops.is_empty() {
            next_hops(words, &mut draft.new, &mut draft.family, cx);
        } else {
            cx.push(wrong(word.span, "`nexthop` and `or` in one route; the next hops are not read"));
            words.skip_rest();
        }
        Some(())
    }),
    ("no_track", |draft, _, _, _| on(&mut draft.new.no_track)),
    ("track_group", |draft, word, words, cx| {
        let value = words.value(word, cx)?;
        if draft.new.track_group.is_some() {
            cx.say(value, "a second track_group; the route is left out", "second group");
            return None;
        }
        draft.new.track_group = cx.track_group(value);
        draft.group_at = Some(word.span);
        Some(())
    }),
];

/// Types of routes, which stand in front of the destination, as does `to`.
const TYPES: [&str; 13] = [
    "to",
    "unicast",
    "local",
    "broadcast",
    "brd",
    "anycast",
    "multicast",
    "blackhole",
    "unreachable",
    "prohibit",
    "throw",
    "nat",
    "xresolve",
];

fn is_word(text: &str) -> bool {
    WORDS.iter().any(|(name, _)| *name == text) || TYPES.contains(&text)
}

fn on(flag: &mut bool) -> Step {
    *flag = true;
    Some(())
}

fn insert(draft: &mut Draft, how: Insert) -> Step {
    draft.new.insert = how;
    Some(())
}

fn from(draft: &mut Draft, word: &Word<'_>, words: &mut Words<'_, '_>, cx: &mut LineCx<'_>) -> Step {
    let value = words.value(word, cx)?;
    match network(value, cx) {
        Some(Network::Prefix(prefix)) if prefix.address.is_ipv6() => {
            draft.family.settle(Family::V6, value.span, cx)?;
            draft.new.from = Some(prefix);
            Some(())
        }
        Some(Network::Everything(Some(_))) => draft.family.settle(Family::V6, value.span, cx),
        _ => {
            cx.say(value, format!("`{}` is no IPv6 prefix; the route is left out", value.text), "IPv6 only");
            None
        }
    }
}

fn dsfield(draft: &mut Draft, word: &Word<'_>, words: &mut Words<'_, '_>, cx: &mut LineCx<'_>) -> Step {
    let value = words.value(word, cx)?;
    let found = cx.names.dsfield(value.text);
    draft.new.tos = need(found, value, "a DS field", "expected 0 to 255 or a name of rt_dsfield", cx)?;
    Some(())
}

fn preference(draft: &mut Draft, word: &Word<'_>, words: &mut Words<'_, '_>, cx: &mut LineCx<'_>) -> Step {
    let value = words.value(word, cx)?;
    draft.new.metric = Some(number(value, u32::MAX, word.text, cx)?);
    Some(())
}

fn device(draft: &mut Draft, word: &Word<'_>, words: &mut Words<'_, '_>, cx: &mut LineCx<'_>) -> Step {
    let value = words.value(word, cx)?;
    draft.new.interface = Some(cx.interface(value)?);
    Some(())
}

/// A metric of the kernel's; the last one of a kind holds.
fn metric(draft: &mut Draft, word: &Word<'_>, words: &mut Words<'_, '_>, cx: &mut LineCx<'_>) -> Step {
    let Some(metric) = metric_of(word, words, cx) else { return destination(draft, word, words, cx) };
    let metric = metric?;
    draft.new.metrics.retain(|known| known.0 != metric.0);
    draft.new.metrics.push(metric);
    Some(())
}

/// `[TYPE|to] DESTINATION`.
fn destination(draft: &mut Draft, word: &Word<'_>, words: &mut Words<'_, '_>, cx: &mut LineCx<'_>) -> Step {
    let mut target = *word;
    if word.text == "to" {
        target = *words.value(word, cx)?;
    } else if let Some(kind) = cx.names.route_type(word.text) {
        draft.new.kind = kind;
        target = *words.value(word, cx)?;
    }
    let Some(found) = network(&target, cx) else {
        let known = WORDS.iter().map(|(name, _)| *name);
        cx.push(unknown(&target, known, "a route", "expected a destination or a word of `ip route`"));
        return None;
    };
    draft.new.destination = place(found, &target, &mut draft.family, cx)?;
    draft.destination = true;
    Some(())
}

/// Reads one route line; `None` if it cannot be used.
pub fn route(node: &Node<'_>, cx: &mut LineCx<'_>) -> Option<Route> {
    let mut draft = Draft {
        new: Route::plain(),
        family: LineFamily::default(),
        destination: false,
        protocol: None,
        group_at: None,
    };
    let mut words = Words::of(node);
    while let Some(word) = words.next() {
        // Only statics are in a group; elsewhere the word is none.
        let here = word.text != "track_group" || cx.list == List::Static;
        let known = WORDS.iter().find(|(name, _)| *name == word.text && here);
        known.map_or(metric as Reader, |(_, read)| *read)(&mut draft, word, &mut words, cx)?;
    }
    finish(draft, node, cx)
}

/// What follows from several words together.
fn finish(draft: Draft, node: &Node<'_>, cx: &mut LineCx<'_>) -> Option<Route> {
    let Draft { mut new, family, destination, protocol, group_at } = draft;
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
                let message = format!("`{}` cannot follow the next hops; the rest of the line is not read", word.text);
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
