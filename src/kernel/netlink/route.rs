//! A route as the kernel is told it and as it tells it back: everything that `ip route` can say.

use super::links::Links;
use crate::spec::{Encap, IfName, Insert, NextHop, Prefix, Route, rtax};
use crate::wire::Family;
use netlink_packet_core::{DefaultNla, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    MplsLabel, RouteAddress, RouteAttribute, RouteFlags, RouteIp6Tunnel, RouteIp6TunnelFlags, RouteIpTunnel,
    RouteIpTunnelFlags, RouteLwEnCapType, RouteLwTunnelEncap, RouteMessage, RouteMetric, RouteMplsIpTunnel,
    RouteMplsTtlPropagation, RouteNextHop, RouteNextHopFlags, RouteProtocol, RouteRealm, RouteScope, RouteType,
    RouteVia,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// RT_TABLE_COMPAT: the table does not fit the header's byte and stands in an attribute.
const TABLE_COMPAT: u8 = 252;
const ILA_LOCATOR: u16 = 1;
/// What the kernel takes for an IPv6 route without a metric (IP6_RT_PRIO_USER).
const IPV6_METRIC: u32 = 1024;

/// What the kernel tells routes by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RouteKey {
    pub v6: bool,
    pub table: u32,
    pub destination: IpAddr,
    pub length: u8,
    pub from: Option<(IpAddr, u8)>,
    pub tos: u8,
    pub metric: u32,
    /// Tells appended routes to one destination apart; `None` also for multipath.
    pub via: Option<IpAddr>,
}

impl RouteKey {
    pub(crate) fn of(message: &RouteMessage) -> RouteKey {
        let header = &message.header;
        let v6 = header.address_family == AddressFamily::Inet6;
        let any = if v6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
        let mut key = RouteKey {
            v6,
            table: header.table.into(),
            destination: any,
            length: header.destination_prefix_length,
            from: None,
            tos: header.tos,
            metric: 0,
            via: None,
        };
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(address) => key.destination = plain(address).unwrap_or(any),
                RouteAttribute::Source(address) => {
                    key.from = plain(address).map(|address| (address, header.source_prefix_length));
                }
                RouteAttribute::Gateway(address) => key.via = plain(address),
                RouteAttribute::Via(RouteVia::Inet(address)) => key.via = Some(IpAddr::V4(*address)),
                RouteAttribute::Via(RouteVia::Inet6(address)) => key.via = Some(IpAddr::V6(*address)),
                RouteAttribute::Priority(metric) => key.metric = *metric,
                RouteAttribute::Table(table) => key.table = *table,
                _ => {}
            }
        }
        if v6 && key.metric == 0 {
            key.metric = IPV6_METRIC;
        }
        key
    }
}

/// The message that makes a route.
///
/// # Errors
/// The name of an interface that is not there, or that is no VRF.
pub fn message(route: &Route, links: &Links) -> Result<RouteMessage, IfName> {
    let mut message = RouteMessage::default();
    let v6 = route.family == Family::V6;
    let kind = RouteType::from(route.kind);
    let header = &mut message.header;
    header.address_family = if v6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    header.tos = route.tos;
    header.protocol = RouteProtocol::from(route.protocol);
    header.kind = kind;
    header.scope = route.scope.map_or_else(|| usual_scope(route, kind), RouteScope::from);
    if route.onlink {
        header.flags |= RouteFlags::Onlink;
    }
    let attributes = &mut message.attributes;
    if let Some(Prefix { address, length }) = route.destination.map(masked) {
        header.destination_prefix_length = length;
        attributes.push(RouteAttribute::Destination(address.into()));
    }
    if let Some(Prefix { address, length }) = route.from.map(masked) {
        header.source_prefix_length = length;
        attributes.push(RouteAttribute::Source(address.into()));
    }
    let table = match &route.vrf {
        Some(vrf) => links.vrf_table(vrf).ok_or_else(|| vrf.clone())?,
        None => route.table,
    };
    header.table = u8::try_from(table).unwrap_or(TABLE_COMPAT);
    if header.table == TABLE_COMPAT {
        attributes.push(RouteAttribute::Table(table));
    }
    if let Some(source) = route.source {
        attributes.push(RouteAttribute::PrefSource(source.into()));
    }
    if let Some(via) = route.via {
        attributes.push(gateway(via, v6));
    }
    if let Some(interface) = &route.interface {
        attributes.push(RouteAttribute::Oif(links.index(interface).ok_or_else(|| interface.clone())?));
    }
    if let Some(metric) = route.metric {
        attributes.push(RouteAttribute::Priority(metric));
    }
    let metrics = metrics(route);
    if !metrics.is_empty() {
        attributes.push(RouteAttribute::Metrics(metrics));
    }
    if let Some(pref) = route.pref {
        attributes.push(RouteAttribute::Preference(pref.into()));
    }
    if let Some(expires) = route.expires {
        attributes.push(RouteAttribute::Expires(expires));
    }
    if let Some(propagate) = route.ttl_propagate {
        attributes.push(RouteAttribute::TtlPropagate(RouteMplsTtlPropagation::from(u8::from(propagate))));
    }
    attributes.extend(route.realms.map(realm));
    attributes.extend(route.encap.iter().flat_map(encap));
    if !route.nexthops.is_empty() {
        let hops: Result<Vec<RouteNextHop>, IfName> =
            route.nexthops.iter().map(|hop| next_hop(hop, v6, links)).collect();
        attributes.push(RouteAttribute::MultiPath(hops?));
    }
    Ok(message)
}

/// The message that takes a route away: what tells it from others, and of any scope.
pub fn removal(message: &RouteMessage) -> RouteMessage {
    let mut removal = RouteMessage::default();
    removal.header = message.header.clone();
    // RT_SCOPE_NOWHERE matches every scope.
    removal.header.scope = RouteScope::NoWhere;
    removal.header.flags = RouteFlags::empty();
    removal.attributes = message
        .attributes
        .iter()
        .filter(|attribute| {
            matches!(
                attribute,
                RouteAttribute::Destination(_)
                    | RouteAttribute::Source(_)
                    | RouteAttribute::Gateway(_)
                    | RouteAttribute::Via(_)
                    | RouteAttribute::Oif(_)
                    | RouteAttribute::Priority(_)
                    | RouteAttribute::Table(_)
                    | RouteAttribute::MultiPath(_)
            )
        })
        .cloned()
        .collect();
    removal
}

/// How an equal route that is there already is met.
pub fn insert_flags(insert: Insert) -> u16 {
    match insert {
        Insert::Prepend => NLM_F_CREATE,
        Insert::Append => NLM_F_CREATE | NLM_F_APPEND,
        Insert::Add => NLM_F_CREATE | NLM_F_EXCL,
    }
}

/// Scope of a route that gives none, as `ip route` chooses it.
fn usual_scope(route: &Route, kind: RouteType) -> RouteScope {
    if route.family == Family::V6 {
        return RouteScope::Universe;
    }
    match kind {
        RouteType::Local | RouteType::Nat => RouteScope::Host,
        RouteType::Broadcast | RouteType::Multicast | RouteType::Anycast => RouteScope::Link,
        RouteType::Unicast if route.via.is_none() && route.nexthops.is_empty() && route.encap.is_none() => {
            RouteScope::Link
        }
        _ => RouteScope::Universe,
    }
}

fn gateway(via: IpAddr, v6: bool) -> RouteAttribute {
    match via {
        IpAddr::V6(via) if !v6 => RouteAttribute::Via(RouteVia::Inet6(via)),
        IpAddr::V4(via) if v6 => RouteAttribute::Via(RouteVia::Inet(via)),
        via => RouteAttribute::Gateway(via.into()),
    }
}

fn realm(realms: u32) -> RouteAttribute {
    let [high1, high0, low1, low0] = realms.to_be_bytes();
    RouteAttribute::Realm(RouteRealm {
        source: u16::from_be_bytes([high1, high0]),
        destination: u16::from_be_bytes([low1, low0]),
    })
}

fn metrics(route: &Route) -> Vec<RouteMetric> {
    let number = |kind: u16, value: u32| RouteMetric::Other(DefaultNla::new(kind, value.to_ne_bytes().to_vec()));
    let mut lock = 0u32;
    let mut metrics = Vec::new();
    for (kind, value, locked) in &route.metrics {
        if *locked {
            lock |= 1u32.checked_shl(u32::from(*kind)).unwrap_or(0);
        }
        metrics.push(number(u16::from(*kind), *value));
    }
    if let Some((name, locked)) = &route.congctl {
        if *locked {
            lock |= 1 << rtax::CC_ALGO;
        }
        metrics.push(RouteMetric::CcAlgo(name.to_string()));
    }
    if lock != 0 {
        metrics.insert(0, number(u16::from(rtax::LOCK), lock));
    }
    metrics
}

fn next_hop(hop: &NextHop, v6: bool, links: &Links) -> Result<RouteNextHop, IfName> {
    let mut made = RouteNextHop::default();
    if hop.onlink {
        made.flags |= RouteNextHopFlags::Onlink;
    }
    // The kernel counts weights from 0.
    made.hops = u8::try_from(hop.weight.clamp(1, 256) - 1).unwrap_or(u8::MAX);
    if let Some(interface) = &hop.interface {
        made.interface_index = links.index(interface).ok_or_else(|| interface.clone())?;
    }
    made.attributes.extend(hop.via.map(|via| gateway(via, v6)));
    made.attributes.extend(hop.realms.map(realm));
    made.attributes.extend(hop.encap.iter().flat_map(encap));
    Ok(made)
}

fn encap(encap: &Encap) -> [RouteAttribute; 2] {
    let (kind, parts) = match encap {
        Encap::Ip { id, destination, source, tos, ttl, flags } => {
            let mut parts = Vec::new();
            parts.extend(id.map(RouteIpTunnel::Id));
            parts.extend(v4(destination).map(RouteIpTunnel::Destination));
            parts.extend(v4(source).map(RouteIpTunnel::Source));
            parts.push(RouteIpTunnel::Ttl(*ttl));
            parts.push(RouteIpTunnel::Tos(*tos));
            if *flags != 0 {
                parts.push(RouteIpTunnel::Flags(RouteIpTunnelFlags::from_bits_retain(*flags)));
            }
            (RouteLwEnCapType::Ip, parts.into_iter().map(RouteLwTunnelEncap::Ip).collect())
        }
        Encap::Ip6 { id, destination, source, tc, hoplimit, flags } => {
            let mut parts = Vec::new();
            parts.extend(id.map(RouteIp6Tunnel::Id));
            parts.extend(v6(destination).map(RouteIp6Tunnel::Destination));
            parts.extend(v6(source).map(RouteIp6Tunnel::Source));
            parts.push(RouteIp6Tunnel::Hoplimit(*hoplimit));
            parts.push(RouteIp6Tunnel::Tc(*tc));
            if *flags != 0 {
                parts.push(RouteIp6Tunnel::Flags(RouteIp6TunnelFlags::from_bits_retain(*flags)));
            }
            (RouteLwEnCapType::Ip6, parts.into_iter().map(RouteLwTunnelEncap::Ip6).collect())
        }
        Encap::Mpls { labels } => {
            let last = labels.len().saturating_sub(1);
            let labels = labels.iter().enumerate().map(|(at, label)| MplsLabel {
                label: *label,
                traffic_class: 0,
                bottom_of_stack: at == last,
                ttl: 0,
            });
            let part = RouteMplsIpTunnel::Destination(labels.collect());
            (RouteLwEnCapType::Mpls, vec![RouteLwTunnelEncap::Mpls(part)])
        }
        Encap::Ila { locator } => {
            let part = DefaultNla::new(ILA_LOCATOR, locator.to_be_bytes().to_vec());
            (RouteLwEnCapType::Ila, vec![RouteLwTunnelEncap::Other(part)])
        }
    };
    [RouteAttribute::EncapType(kind), RouteAttribute::Encap(parts)]
}

fn v4(address: &Option<IpAddr>) -> Option<Ipv4Addr> {
    match address {
        Some(IpAddr::V4(v4)) => Some(*v4),
        _ => None,
    }
}

fn v6(address: &Option<IpAddr>) -> Option<Ipv6Addr> {
    match address {
        Some(IpAddr::V6(v6)) => Some(*v6),
        _ => None,
    }
}

fn plain(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

/// The kernel refuses a prefix with host bits.
pub fn masked(prefix: Prefix) -> Prefix {
    let address = match prefix.address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.length.min(32))).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from(u32::from(v4) & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.length.min(128))).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask))
        }
    };
    Prefix { address, length: prefix.length }
}
