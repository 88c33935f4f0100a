//! nftables marks for groups of addresses (`nftables_ipvs`): instead of a service for each address of a group, one by mark.
//!
//! In a table of our own for each family, a chain at the input hook, before IPVS sees the packet, looks destination address
//! and port up in a map of the protocol and gives the packet the mark that it finds. Each entry of a group is one element,
//! however many addresses it spans.
//!
//! An entry without a port takes every port: it stands in a second map, which is asked after the first, so that an entry
//! that names the port goes before it, as in IPVS itself. What an earlier run left under our name is removed before the
//! first element, and all of it at the end. Elements come and go by difference; when another map is needed the table is
//! made again, in one transaction, so that no packet meets half of it.
//!
//! Blocks, as [`firewall`](super::super::firewall) does: it is called at the start, at a reload and at the end, not when
//! a server fails.

use crate::balance::io::{MarkElement, Marks};
use crate::kernel::firewall::rules::{equal, map, meta, payload, verdict};
use crate::kernel::firewall::{request, transact};
use crate::kernel::netlink::NetlinkError;
use crate::kernel::netlink::channel::{Channel, Request};
use crate::spec::balance::{MarkSettings, Protocol};
use netlink_packet_core::{DefaultNla, Emitable as _, NLA_F_NESTED, NLM_F_APPEND, NLM_F_CREATE};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, DataAttribute, ExpressionAttribute, Expressions, Hook, InetHookNumber, ListAttribute,
    Meta, MetaKey, NfTablesMessage, Register, RuleAttribute, RuleMessage, SetAttribute, SetDescription,
    SetElementAttribute, SetElementList, SetElementMessage, SetFlags, SetMessage, TableAttribute, TableMessage,
    Verdict,
};
use netlink_packet_netfilter::{NetfilterMessage, NetfilterProtoFamily};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// nft's numbers of types, six bits each in a concatenation; only for `nft list`.
const TYPE_IPV4: u32 = 7;
const TYPE_IPV6: u32 = 8;
const TYPE_PORT: u32 = 13;
const TYPE_MARK: u32 = 19;
/// Tells `nft list` that values (1) are numbers in the byte order of the machine (1).
const HOST_ORDER: [u8; 6] = {
    let [a, b, c, d] = 1u32.to_ne_bytes();
    [1, 4, a, b, c, d]
};
const ACCEPT: u32 = 1;
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;
/// Elements to a message: an attribute is 64 KiB at most.
const ELEMENTS: usize = 300;

/// One map: a protocol's entries with a port, then those without.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Map {
    protocol: Protocol,
    /// All ports.
    ports: bool,
}
impl Map {
    fn of(element: &MarkElement) -> Map {
        Map { protocol: element.protocol, ports: element.port.is_none() }
    }
    fn name(self) -> String {
        let protocol = self.protocol;
        if self.ports { format!("{protocol}_all_ports_map") } else { format!("{protocol}_map") }
    }
    fn number(self) -> u8 {
        match self.protocol {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        }
    }
}

/// What an element is, without its mark.
type Range = (Map, IpAddr, IpAddr, Option<u16>);
/// The elements of one family.
type Elements = BTreeMap<Range, u32>;

/// The tables that we hold.
#[derive(Debug, Default)]
pub struct MarkTables {
    channel: Option<Channel>,
    /// What is held and under which name; nothing if no table is.
    held: Option<(MarkSettings, Elements)>,
}

impl MarkTables {
    /// Removes what an earlier run left under that name; for the start, when nothing is held yet.
    pub fn clear(&mut self, settings: &MarkSettings) {
        for v6 in [false, true] {
            // To make a table that is there is no mistake, to remove one that is not is.
            let requests = vec![create(settings, v6), delete(settings, v6)];
            let _ = transact(&mut self.channel, requests);
        }
    }

    /// Makes the tables hold exactly `wanted`, and removes them for `None`.
    ///
    /// # Errors
    /// A kernel without nftables or older than 5.7, or one that refuses; that family's table is as it was then.
    pub fn hold(&mut self, wanted: Option<&Marks>) -> Result<(), NetlinkError> {
        let elements = |marks: &Marks| -> Elements {
            marks.elements.iter().map(|e| ((Map::of(e), e.first, e.last, e.port), e.mark)).collect()
        };
        let wanted = wanted.map(|marks| (marks.settings.clone(), elements(marks)));
        let (settings, after) = match (wanted, &self.held) {
            (Some(wanted), _) => wanted,
            (None, Some((settings, _))) => (settings.clone(), Elements::new()),
            (None, None) => return Ok(()),
        };
        if let Some((old, held)) = self.held.take_if(|(old, _)| *old != settings) {
            for v6 in [false, true] {
                if held.keys().any(|range| range.1.is_ipv6() == v6) {
                    let _ = transact(&mut self.channel, vec![delete(&old, v6)]);
                }
            }
        }
        let before = self.held.take().map(|(_, held)| held).unwrap_or_default();
        let mut held = before.clone();
        let mut outcome = Ok(());
        for v6 in [false, true] {
            let of = |all: &Elements| -> Elements {
                all.iter().filter(|(range, _)| range.1.is_ipv6() == v6).map(|(range, mark)| (*range, *mark)).collect()
            };
            let (before, after) = (of(&before), of(&after));
            if before == after {
                continue;
            }
            match transact(&mut self.channel, requests(&settings, v6, &before, &after)) {
                Ok(()) => {
                    held.retain(|range, _| range.1.is_ipv6() != v6);
                    held.extend(after);
                }
                Err(e) => outcome = outcome.and(Err(e)),
            }
        }
        self.held = (!held.is_empty()).then_some((settings, held));
        outcome
    }
}

fn requests(settings: &MarkSettings, v6: bool, before: &Elements, after: &Elements) -> Vec<Request<NetfilterMessage>> {
    let maps = |all: &Elements| -> BTreeSet<Map> { all.keys().map(|range| range.0).collect() };
    if after.is_empty() {
        return vec![delete(settings, v6)];
    }
    let needed = maps(after);
    if maps(before) != needed {
        let mut requests = vec![create(settings, v6), delete(settings, v6), create(settings, v6), chain(settings, v6)];
        for (id, map) in (1..).zip(&needed) {
            requests.push(new_map(settings, v6, *map, id));
            requests.push(rule(settings, v6, *map));
        }
        requests.extend(elements(settings, v6, after, false));
        return requests;
    }
    let differs = |one: &Elements, other: &Elements| -> Elements {
        one.iter().filter(|(range, mark)| other.get(range) != Some(mark)).map(|(r, m)| (*r, *m)).collect()
    };
    let mut requests = elements(settings, v6, &differs(before, after), true);
    requests.extend(elements(settings, v6, &differs(after, before), false));
    requests
}

fn create(settings: &MarkSettings, v6: bool) -> Request<NetfilterMessage> {
    request(family(v6), NfTablesMessage::NewTable(table(settings)), NLM_F_CREATE)
}

fn delete(settings: &MarkSettings, v6: bool) -> Request<NetfilterMessage> {
    request(family(v6), NfTablesMessage::DeleteTable(table(settings)), 0)
}

fn table(settings: &MarkSettings) -> TableMessage {
    TableMessage { attributes: vec![TableAttribute::Name(settings.table.to_string())] }
}

fn chain(settings: &MarkSettings, v6: bool) -> Request<NetfilterMessage> {
    let priority = u32::from_ne_bytes(settings.priority.to_ne_bytes());
    let attributes = vec![
        ChainAttribute::Table(settings.table.to_string()),
        ChainAttribute::Name("in".to_owned()),
        ChainAttribute::Hook(vec![Hook::Number(InetHookNumber::LocalIn.into()), Hook::Priority(priority)]),
        ChainAttribute::Type("filter".to_owned()),
        ChainAttribute::Policy(ACCEPT),
    ];
    request(family(v6), NfTablesMessage::NewChain(ChainMessage { attributes }), NLM_F_CREATE)
}

fn new_map(settings: &MarkSettings, v6: bool, map: Map, id: u32) -> Request<NetfilterMessage> {
    const FIELD: u16 = 1;
    const LENGTH: u16 = 1;
    let address: u32 = if v6 { 16 } else { 4 };
    let kind = if v6 { TYPE_IPV6 } else { TYPE_IPV4 };
    let field = |bytes: u32| {
        let mut length = 8u16.to_ne_bytes().to_vec();
        length.extend(LENGTH.to_ne_bytes());
        length.extend(bytes.to_be_bytes());
        DefaultNla::new(FIELD | NLA_F_NESTED, length)
    };
    let attributes = vec![
        SetAttribute::Table(settings.table.to_string()),
        SetAttribute::Name(map.name()),
        SetAttribute::Flags(SetFlags::Map | SetFlags::Interval | SetFlags::Concat),
        SetAttribute::KeyType(kind << 6 | TYPE_PORT),
        // Each part fills whole registers.
        SetAttribute::KeyLen(address + 4),
        SetAttribute::DataType(TYPE_MARK),
        SetAttribute::DataLen(4),
        SetAttribute::Id(id),
        SetAttribute::UserData(HOST_ORDER.to_vec()),
        SetAttribute::Description(vec![SetDescription::Concat(vec![field(address), field(2)])]),
    ];
    request(family(v6), NfTablesMessage::NewSet(SetMessage { attributes }), NLM_F_CREATE)
}

fn rule(settings: &MarkSettings, v6: bool, of: Map) -> Request<NetfilterMessage> {
    let (offset, length, next) = if v6 { (24, 16, Register::Reg32_04) } else { (16, 4, Register::Reg32_01) };
    let mut expressions = vec![
        meta(MetaKey::L4Proto, Register::Reg32_00),
        equal(of.number()),
        payload(NETWORK, offset, length, Register::Reg32_00),
        payload(TRANSPORT, 2, 2, next),
        map(&of.name(), Register::Reg32_00, Register::Reg32_00),
        Expressions::Meta(vec![Meta::Key(MetaKey::Mark), Meta::SourceRegister(Register::Reg32_00)]),
    ];
    if settings.counters {
        expressions.push(counter());
    }
    expressions.push(verdict(Verdict::Return.into()));
    let expressions: Vec<ListAttribute<ExpressionAttribute>> = expressions.into_iter().map(Into::into).collect();
    let attributes = vec![
        RuleAttribute::Table(settings.table.to_string()),
        RuleAttribute::Chain("in".to_owned()),
        RuleAttribute::Expressions(expressions),
    ];
    request(family(v6), NfTablesMessage::NewRule(RuleMessage { attributes }), NLM_F_CREATE | NLM_F_APPEND)
}

fn elements(settings: &MarkSettings, v6: bool, list: &Elements, gone: bool) -> Vec<Request<NetfilterMessage>> {
    let mut by_map: BTreeMap<Map, Vec<ListAttribute<SetElementAttribute>>> = BTreeMap::new();
    for (range, mark) in list {
        by_map.entry(range.0).or_default().push(element(settings, range, *mark, gone));
    }
    let mut requests = Vec::new();
    for (map, elements) in by_map {
        for part in elements.chunks(ELEMENTS) {
            let message = SetElementMessage {
                attributes: vec![
                    SetElementList::Table(settings.table.to_string()),
                    SetElementList::Set(map.name()),
                    SetElementList::Elements(part.to_vec()),
                ],
            };
            requests.push(if gone {
                request(family(v6), NfTablesMessage::DeleteSetElement(message), 0)
            } else {
                request(family(v6), NfTablesMessage::NewSetElement(message), NLM_F_CREATE)
            });
        }
    }
    requests
}

fn element(settings: &MarkSettings, range: &Range, mark: u32, gone: bool) -> ListAttribute<SetElementAttribute> {
    const VALUE: u16 = 1;
    const EXPRESSION: u16 = 7;
    let (_, first, last, port) = *range;
    let first = key(first, port.unwrap_or(0));
    let last = key(last, port.unwrap_or(u16::MAX));
    let mut attributes = vec![
        SetElementAttribute::Key(DataAttribute::Value(first)),
        SetElementAttribute::KeyEnd(vec![DefaultNla::new(VALUE, last)]),
    ];
    if !gone {
        attributes.push(SetElementAttribute::Data(DataAttribute::Value(mark.to_ne_bytes().to_vec())));
        if settings.counters {
            // An expression whole, which the library's own variant is not.
            let counter = [ExpressionAttribute::Name("counter".to_owned()), ExpressionAttribute::Data(counter())];
            let mut bytes = vec![0; counter.as_slice().buffer_len()];
            counter.as_slice().emit(&mut bytes);
            attributes.push(SetElementAttribute::Other(DefaultNla::new(EXPRESSION | NLA_F_NESTED, bytes)));
        }
    }
    ListAttribute::Element(attributes)
}
fn counter() -> Expressions {
    Expressions::Other { expression_type: "counter".to_owned(), attributes: Vec::new() }
}

fn family(v6: bool) -> NetfilterProtoFamily {
    if v6 { NetfilterProtoFamily::IPv6 } else { NetfilterProtoFamily::IPv4 }
}

/// Address, port, and zeroes to a whole register.
fn key(address: IpAddr, port: u16) -> Vec<u8> {
    let mut bytes = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    bytes.extend(port.to_be_bytes());
    bytes.extend([0; 2]);
    bytes
}
