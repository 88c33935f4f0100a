//! A policy rule as the kernel is told it and as it tells it back: everything that `ip rule` can say.

use crate::spec::{PROTOCOL_KEEPALIVED, Prefix, Rule, RuleAction};
use crate::wire::Family;
use netlink_packet_route::route::{RouteProtocol, RouteRealm};
use netlink_packet_route::rule::{
    RuleAction as Action, RuleAttribute, RuleFlags, RuleMessage, RulePortRange, RuleUidRange,
};
use netlink_packet_route::{AddressFamily, IpProtocol};
use std::net::IpAddr;

const TABLE_UNSPEC: u8 = 0;

/// What the kernel tells rules by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct RuleKey {
    pub v6: bool,
    pub priority: u32,
    action: u8,
    table: u32,
    goto: Option<u32>,
    from: Option<(IpAddr, u8)>,
    to: Option<(IpAddr, u8)>,
    invert: bool,
    tos: u8,
    mark: (u32, u32),
    iif: Option<String>,
    oif: Option<String>,
    l3mdev: bool,
    tunnel_id: u64,
    uid_range: Option<(u32, u32)>,
    ip_proto: i32,
    sport: Option<(u16, u16)>,
    dport: Option<(u16, u16)>,
    realms: Option<(u16, u16)>,
    suppress_prefixlength: Option<u32>,
    suppress_ifgroup: Option<u32>,
}

impl RuleKey {
    pub(crate) fn of(message: &RuleMessage) -> RuleKey {
        let header = &message.header;
        let mut key = RuleKey {
            v6: header.family == AddressFamily::Inet6,
            action: u8::from(header.action),
            table: header.table.into(),
            invert: header.flags.contains(RuleFlags::Invert),
            tos: header.tos,
            ..RuleKey::default()
        };
        let mut mask = None;
        // The kernel tells "none" of these as all ones.
        let some = |value: u32| (value != u32::MAX).then_some(value);
        for attribute in &message.attributes {
            match attribute {
                RuleAttribute::Source(address) => key.from = Some((*address, header.src_len)),
                RuleAttribute::Destination(address) => key.to = Some((*address, header.dst_len)),
                RuleAttribute::Iifname(name) => key.iif = Some(name.clone()),
                RuleAttribute::Oifname(name) => key.oif = Some(name.clone()),
                RuleAttribute::Goto(priority) => key.goto = Some(*priority),
                RuleAttribute::Priority(priority) => key.priority = *priority,
                RuleAttribute::FwMark(mark) => key.mark.0 = *mark,
                RuleAttribute::FwMask(value) => mask = Some(*value),
                RuleAttribute::Realm(realm) => key.realms = Some((realm.source, realm.destination)),
                RuleAttribute::TunId(id) => key.tunnel_id = *id,
                RuleAttribute::SuppressIfGroup(group) => key.suppress_ifgroup = some(*group),
                RuleAttribute::SuppressPrefixLen(length) => key.suppress_prefixlength = some(*length),
                RuleAttribute::Table(table) => key.table = *table,
                RuleAttribute::L3MDev(on) => key.l3mdev = *on,
                RuleAttribute::UidRange(range) => key.uid_range = Some((range.start, range.end)),
                RuleAttribute::IpProtocol(protocol) => key.ip_proto = i32::from(*protocol),
                RuleAttribute::SourcePortRange(range) => key.sport = Some((range.start, range.end)),
                RuleAttribute::DestinationPortRange(range) => key.dport = Some((range.start, range.end)),
                _ => {}
            }
        }
        key.mark.1 = mask.unwrap_or(if key.mark.0 == 0 { 0 } else { u32::MAX });
        key
    }
}

/// Does it carry our protocol number?
pub fn is_ours(message: &RuleMessage) -> bool {
    let ours = |attribute: &RuleAttribute| matches!(attribute, RuleAttribute::Protocol(protocol) if u8::from(*protocol) == PROTOCOL_KEEPALIVED);
    message.attributes.iter().any(ours)
}

/// The message that makes a rule.
pub fn message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    let header = &mut message.header;
    let attributes = &mut message.attributes;
    header.family = if rule.family == Family::V6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    header.tos = rule.tos;
    header.flags.set(RuleFlags::Invert, rule.invert);
    header.table = TABLE_UNSPEC;
    match rule.action {
        RuleAction::Table(table) => {
            header.action = Action::ToTable;
            header.table = u8::try_from(table).unwrap_or(TABLE_UNSPEC);
            attributes.push(RuleAttribute::Table(table));
        }
        RuleAction::Goto(priority) => {
            header.action = Action::Goto;
            attributes.push(RuleAttribute::Goto(priority));
        }
        RuleAction::Nop => header.action = Action::Nop,
        RuleAction::L3mdev => {
            header.action = Action::ToTable;
            attributes.push(RuleAttribute::L3MDev(true));
        }
        RuleAction::Blackhole => header.action = Action::Blackhole,
        RuleAction::Unreachable => header.action = Action::Unreachable,
        RuleAction::Prohibit => header.action = Action::Prohibit,
    }
    if let Some(Prefix { address, length }) = rule.from.map(super::route::masked) {
        header.src_len = length;
        attributes.push(RuleAttribute::Source(address));
    }
    if let Some(Prefix { address, length }) = rule.to.map(super::route::masked) {
        header.dst_len = length;
        attributes.push(RuleAttribute::Destination(address));
    }
    attributes.push(RuleAttribute::Priority(rule.priority));
    if let Some((mark, mask)) = rule.fwmark {
        attributes.push(RuleAttribute::FwMark(mark));
        attributes.push(RuleAttribute::FwMask(mask));
    }
    if let Some(realms) = rule.realms {
        let [high1, high0, low1, low0] = realms.to_be_bytes();
        attributes.push(RuleAttribute::Realm(RouteRealm {
            source: u16::from_be_bytes([high1, high0]),
            destination: u16::from_be_bytes([low1, low0]),
        }));
    }
    attributes.extend(rule.suppress_prefixlength.map(RuleAttribute::SuppressPrefixLen));
    attributes.extend(rule.suppress_ifgroup.map(RuleAttribute::SuppressIfGroup));
    attributes.extend(rule.iif.as_ref().map(|name| RuleAttribute::Iifname(name.as_str().to_owned())));
    attributes.extend(rule.oif.as_ref().map(|name| RuleAttribute::Oifname(name.as_str().to_owned())));
    attributes.extend(rule.tunnel_id.map(RuleAttribute::TunId));
    attributes.extend(rule.uid_range.map(|(start, end)| RuleAttribute::UidRange(RuleUidRange { start, end })));
    attributes.extend(rule.ip_proto.map(|protocol| RuleAttribute::IpProtocol(IpProtocol::from(protocol))));
    let ports = |(start, end)| RulePortRange { start, end };
    attributes.extend(rule.sport.map(|range| RuleAttribute::SourcePortRange(ports(range))));
    attributes.extend(rule.dport.map(|range| RuleAttribute::DestinationPortRange(ports(range))));
    attributes.push(RuleAttribute::Protocol(RouteProtocol::from(rule.protocol)));
    message
}
