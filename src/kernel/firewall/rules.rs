//! The chains, sets and rules of one table, as messages.

use super::Place;
use super::Screen;
use crate::spec::Nftables;
use netlink_packet_core::{DefaultNla, NLM_F_APPEND, NLM_F_CREATE};
use netlink_packet_netfilter::nftables::{
    Bitwise, ChainAttribute, ChainMessage, Cmp, DataAttribute, ExpressionAttribute, Expressions, Hook, Immediate,
    InetHookNumber, ListAttribute, Lookup, Meta, MetaKey, NfTablesMessage, Operator, Payload, Register, RuleAttribute,
    RuleMessage, SetAttribute, SetElementAttribute, SetElementList, SetElementMessage, SetFlags, SetMessage,
    TableAttribute, TableMessage, Verdict, VerdictAttribute,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// nft's numbers of types, only for `nft list` to show elements readably.
const TYPE_IPV4: u32 = 7;
const TYPE_IPV6: u32 = 8;
const TYPE_IFINDEX: u32 = 20;
const TYPE_ICMPV6: u32 = 29;
const TYPE_IFNAME: u32 = 41;
/// In a concatenation each type takes six bits.
const TYPE_IPV6_IFINDEX: u32 = TYPE_IPV6 << 6 | TYPE_IFINDEX;
const TYPE_IPV6_IFNAME: u32 = TYPE_IPV6 << 6 | TYPE_IFNAME;
/// Tells `nft list` that keys (0) and values (1) are numbers in the byte order of the machine (1).
const HOST_ORDER: [u8; 12] = {
    let [a, b, c, d] = 1u32.to_ne_bytes();
    [0, 4, a, b, c, d, 1, 4, a, b, c, d]
};
const ACCEPT: u32 = 1;
const DROP: u32 = 0;
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;
const PROTOCOL_IGMP: u8 = 2;
const PROTOCOL_ICMPV6: u8 = 58;
const ROUTER_SOLICITATION: u8 = 133;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// MLD reports and done, versions 1 and 2.
const MLD: [u8; 3] = [131, 132, 143];

/// One table, of one family.
#[derive(Debug)]
pub struct Table {
    name: String,
    priority: i32,
    counters: bool,
    v6: bool,
    /// IGMP and MLD of a VMAC leave by its parent; otherwise they are only dropped.
    duplicate: bool,
}

/// An element: its key, and in a map its value.
pub type Element = (Vec<u8>, Option<Vec<u8>>);

impl Table {
    /// The table of a family, with its name and priority from the configuration.
    pub fn new(settings: &Nftables, v6: bool, duplicate: bool) -> Table {
        Table {
            name: settings.table.as_deref().unwrap_or("keepalived").to_owned(),
            priority: settings.priority.unwrap_or(-1),
            counters: settings.counters,
            v6,
            duplicate,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The message that makes it.
    pub fn create(&self) -> NfTablesMessage {
        NfTablesMessage::NewTable(self.table())
    }

    /// The message that removes it with all that it holds.
    pub fn delete(&self) -> NfTablesMessage {
        NfTablesMessage::DeleteTable(self.table())
    }

    /// Sets, chains and rules, in the order in which they can be made.
    pub fn contents(&self) -> Vec<(NfTablesMessage, u16)> {
        let address = if self.v6 { (TYPE_IPV6, 16) } else { (TYPE_IPV4, 4) };
        let index = (TYPE_IFINDEX, 4);
        let mut sets = vec![self.set(1, "vips", address, None), self.set(2, "vmac_map", index, Some(index))];
        if self.v6 {
            sets.push(self.set(3, "vips_link_local", (TYPE_IPV6_IFINDEX, 20), None));
            sets.push(self.set(4, "parent_link_local", address, None));
            sets.push(self.set(5, "vips_link_local_name", (TYPE_IPV6_IFNAME, 32), None));
            sets.push(self.set(6, "neighbor-discovery", (TYPE_ICMPV6, 1), None));
            let kinds = [NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT].map(|kind| (vec![kind], None));
            sets.push(self.add_elements("neighbor-discovery", &kinds));
        }
        let chains = [("in", InetHookNumber::LocalIn), ("out", InetHookNumber::LocalOut)];
        let mut chains: Vec<_> = chains.map(|(name, hook)| self.chain(name, Some(hook))).into();
        if self.v6 {
            chains.extend(["in_link_local", "out_link_local"].map(|name| self.chain(name, None)));
        }
        let rules = if self.v6 { self.rules_v6() } else { self.rules_v4() };
        let rules = rules.into_iter().map(|(chain, expressions)| self.rule(chain, expressions));
        sets.into_iter()
            .chain(chains)
            .map(|message| (message, NLM_F_CREATE))
            .chain(rules.map(|message| (message, NLM_F_CREATE | NLM_F_APPEND)))
            .collect()
    }

    /// What each set is to hold. Sets that hold nothing are named too.
    pub fn elements(&self, screen: &Screen) -> BTreeMap<&'static str, BTreeSet<Element>> {
        let mut vips = BTreeSet::new();
        let (mut local, mut local_by_name) = (BTreeSet::new(), BTreeSet::new());
        for (address, on) in &screen.denied {
            match address {
                IpAddr::V4(v4) if !self.v6 => drop(vips.insert((v4.octets().to_vec(), None))),
                IpAddr::V6(v6) if self.v6 && v6.is_unicast_link_local() => {
                    let mut key = v6.octets().to_vec();
                    match on {
                        Place::Index(index) => {
                            key.extend(index.to_ne_bytes());
                            local.insert((key, None));
                        }
                        Place::Name(name) => {
                            key.extend(name.as_str().bytes());
                            key.resize(32, 0);
                            local_by_name.insert((key, None));
                        }
                    }
                }
                IpAddr::V6(v6) if self.v6 => drop(vips.insert((v6.octets().to_vec(), None))),
                _ => {}
            }
        }
        let bytes = |index: u32| index.to_ne_bytes().to_vec();
        let vmacs = screen.vmacs.iter().map(|(vmac, parent)| (bytes(*vmac), Some(bytes(*parent))));
        let mut sets = BTreeMap::from([("vips", vips), ("vmac_map", vmacs.collect())]);
        if self.v6 {
            sets.insert("vips_link_local", local);
            sets.insert("vips_link_local_name", local_by_name);
            let parents = screen.parents.iter().map(|address| (address.octets().to_vec(), None));
            sets.insert("parent_link_local", parents.collect());
        }
        sets
    }

    pub(crate) fn add_elements(&self, set: &str, elements: &[Element]) -> NfTablesMessage {
        NfTablesMessage::NewSetElement(self.element_message(set, elements))
    }

    pub(crate) fn remove_elements(&self, set: &str, elements: &[Element]) -> NfTablesMessage {
        NfTablesMessage::DeleteSetElement(self.element_message(set, elements))
    }

    fn rules_v4(&self) -> Vec<(&'static str, Vec<Expressions>)> {
        let address = |offset| payload(NETWORK, offset, 4, Register::Reg32_00);
        let mut igmp = vec![payload(NETWORK, 9, 1, Register::Reg32_00), equal(PROTOCOL_IGMP)];
        igmp.extend(self.leave_by_parent(16, 4));
        vec![
            ("in", vec![address(16), lookup("vips"), verdict(DROP)]),
            ("out", vec![address(12), lookup("vips"), verdict(DROP)]),
            ("out", igmp),
        ]
    }

    fn rules_v6(&self) -> Vec<(&'static str, Vec<Expressions>)> {
        let address = |offset| payload(NETWORK, offset, 16, Register::Reg32_00);
        let icmp = |kind: u8| {
            vec![
                meta(MetaKey::L4Proto, Register::Reg32_00),
                equal(PROTOCOL_ICMPV6),
                payload(TRANSPORT, 0, 1, Register::Reg32_00),
                equal(kind),
            ]
        };
        let by_vmac =
            || vec![meta(MetaKey::Oif, Register::Reg32_04), map("vmac_map", Register::Reg32_04, Register::Reg32_05)];
        let mut rules = Vec::new();
        // The other routers of the link must find the address, accepted or not.
        let discovery = |verdict| {
            vec![
                meta(MetaKey::L4Proto, Register::Reg32_00),
                equal(PROTOCOL_ICMPV6),
                payload(TRANSPORT, 0, 1, Register::Reg32_00),
                lookup("neighbor-discovery"),
                verdict,
            ]
        };
        let mut shared = icmp(NEIGHBOUR_ADVERTISEMENT);
        shared.extend(by_vmac());
        shared.extend([payload(TRANSPORT, 8, 16, Register::Reg32_00), lookup("parent_link_local"), verdict(DROP)]);
        rules.push(("in", discovery(verdict(ACCEPT))));
        rules.push(("out", shared));
        rules.push(("out", discovery(verdict(ACCEPT))));
        let mut solicitation = icmp(ROUTER_SOLICITATION);
        solicitation.extend(by_vmac());
        solicitation.push(verdict(DROP));
        rules.push(("out", solicitation));
        for kind in MLD {
            let mut rule = icmp(kind);
            rule.extend(self.leave_by_parent(24, 16));
            rules.push(("out", rule));
        }
        let ends = [
            ("in", "in_link_local", 24, MetaKey::Iif, MetaKey::Iifname),
            ("out", "out_link_local", 8, MetaKey::Oif, MetaKey::Oifname),
        ];
        for (chain, local, offset, index, name) in ends {
            rules.push((chain, vec![address(offset), lookup("vips"), verdict(DROP)]));
            rules.push((chain, vec![address(offset), link_local_part(), equal_to(&LINK_LOCAL), jump(local)]));
            for (interface, set) in [(index, "vips_link_local"), (name, "vips_link_local_name")] {
                rules.push((
                    local,
                    vec![address(offset), meta(interface, Register::Reg32_04), lookup(set), verdict(DROP)],
                ));
            }
        }
        rules
    }

    /// If the packet leaves by a VMAC: a copy of it by the parent, to the same destination, and the packet is dropped.
    fn leave_by_parent(&self, destination: u32, length: u32) -> Vec<Expressions> {
        let mut expressions =
            vec![meta(MetaKey::Oif, Register::Reg32_04), map("vmac_map", Register::Reg32_04, Register::Reg32_05)];
        if self.duplicate {
            expressions.push(payload(NETWORK, destination, length, Register::Reg32_00));
            let register = |kind, register: Register| DefaultNla::new(kind, u32::from(register).to_be_bytes().to_vec());
            expressions.push(Expressions::Other {
                expression_type: "dup".to_owned(),
                attributes: vec![register(1, Register::Reg32_00), register(2, Register::Reg32_05)],
            });
        }
        expressions.push(verdict(DROP));
        expressions
    }

    fn table(&self) -> TableMessage {
        TableMessage { attributes: vec![TableAttribute::Name(self.name.clone())] }
    }

    /// A base chain on a hook, or one to be jumped to.
    fn chain(&self, name: &str, hook: Option<InetHookNumber>) -> NfTablesMessage {
        let mut attributes = vec![ChainAttribute::Table(self.name.clone()), ChainAttribute::Name(name.to_owned())];
        if let Some(hook) = hook {
            attributes.extend([
                ChainAttribute::Hook(vec![
                    Hook::Number(hook.into()),
                    Hook::Priority(u32::from_ne_bytes(self.priority.to_ne_bytes())),
                ]),
                ChainAttribute::Type("filter".to_owned()),
                ChainAttribute::Policy(ACCEPT),
            ]);
        }
        NfTablesMessage::NewChain(ChainMessage { attributes })
    }

    fn set(&self, id: u32, name: &str, key: (u32, u32), data: Option<(u32, u32)>) -> NfTablesMessage {
        let mut attributes = vec![
            SetAttribute::Table(self.name.clone()),
            SetAttribute::Name(name.to_owned()),
            SetAttribute::Flags(if data.is_some() { SetFlags::Map } else { SetFlags::empty() }),
            SetAttribute::KeyType(key.0),
            SetAttribute::KeyLen(key.1),
            SetAttribute::Id(id),
        ];
        if let Some((kind, length)) = data {
            attributes.extend([SetAttribute::DataType(kind), SetAttribute::DataLen(length)]);
        }
        if key.0 == TYPE_IFINDEX {
            attributes.push(SetAttribute::UserData(HOST_ORDER.to_vec()));
        }
        NfTablesMessage::NewSet(SetMessage { attributes })
    }

    fn rule(&self, chain: &str, mut expressions: Vec<Expressions>) -> NfTablesMessage {
        if self.counters {
            let at = expressions.len().saturating_sub(1);
            let counter = Expressions::Other { expression_type: "counter".to_owned(), attributes: Vec::new() };
            expressions.insert(at, counter);
        }
        let expressions: Vec<ListAttribute<ExpressionAttribute>> = expressions.into_iter().map(Into::into).collect();
        NfTablesMessage::NewRule(RuleMessage {
            attributes: vec![
                RuleAttribute::Table(self.name.clone()),
                RuleAttribute::Chain(chain.to_owned()),
                RuleAttribute::Expressions(expressions),
            ],
        })
    }

    fn element_message(&self, set: &str, elements: &[Element]) -> SetElementMessage {
        let element = |(key, value): &Element| {
            let mut attributes = vec![SetElementAttribute::Key(DataAttribute::Value(key.clone()))];
            attributes.extend(value.clone().map(|value| SetElementAttribute::Data(DataAttribute::Value(value))));
            ListAttribute::Element(attributes)
        };
        SetElementMessage {
            attributes: vec![
                SetElementList::Table(self.name.clone()),
                SetElementList::Set(set.to_owned()),
                SetElementList::Elements(elements.iter().map(element).collect()),
            ],
        }
    }
}

pub(in crate::kernel) fn payload(base: u32, offset: u32, length: u32, to: Register) -> Expressions {
    Expressions::Payload(vec![
        Payload::DestinationRegister(to),
        Payload::Base(base),
        Payload::Offset(offset),
        Payload::Len(length),
    ])
}

pub(in crate::kernel) fn meta(key: MetaKey, to: Register) -> Expressions {
    Expressions::Meta(vec![Meta::Key(key), Meta::DestinationRegister(to)])
}

/// Is the first register this byte?
pub(in crate::kernel) fn equal(byte: u8) -> Expressions {
    equal_to(&[byte])
}

/// Are these the bytes from the first register on?
fn equal_to(bytes: &[u8]) -> Expressions {
    Expressions::Cmp(vec![
        Cmp::SourceRegister(Register::Reg32_00),
        Cmp::Op(Operator::Equal),
        Cmp::Data(DataAttribute::Value(bytes.to_vec())),
    ])
}

/// fe80::/10 and its mask.
const LINK_LOCAL: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const LINK_LOCAL_MASK: [u8; 16] = [0xff, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Only the ten bits of the address in the first registers that make it link-local, there again.
fn link_local_part() -> Expressions {
    Expressions::Bitwise(vec![
        Bitwise::SourceRegister(Register::Reg32_00),
        Bitwise::DestinationRegister(Register::Reg32_00),
        Bitwise::Length(16),
        Bitwise::Mask(DataAttribute::Value(LINK_LOCAL_MASK.to_vec())),
        Bitwise::Xor(DataAttribute::Value(vec![0; 16])),
    ])
}

fn jump(chain: &str) -> Expressions {
    Expressions::Immediate(vec![
        Immediate::DestinationRegister(Register::Verdict),
        Immediate::Data(DataAttribute::Verdict(vec![
            VerdictAttribute::Code(Verdict::Jump),
            VerdictAttribute::Chain(chain.to_owned()),
        ])),
    ])
}

/// Is what begins in the first register in the set?
fn lookup(set: &str) -> Expressions {
    Expressions::Lookup(vec![Lookup::Set(set.to_owned()), Lookup::SourceRegister(Register::Reg32_00)])
}

pub(in crate::kernel) fn map(set: &str, from: Register, to: Register) -> Expressions {
    Expressions::Lookup(vec![
        Lookup::Set(set.to_owned()),
        Lookup::SourceRegister(from),
        Lookup::DestinationRegister(to),
    ])
}

pub(in crate::kernel) fn verdict(code: u32) -> Expressions {
    Expressions::Immediate(vec![
        Immediate::DestinationRegister(Register::Verdict),
        Immediate::Data(DataAttribute::Verdict(vec![VerdictAttribute::Code(Verdict::Other(code))])),
    ])
}
