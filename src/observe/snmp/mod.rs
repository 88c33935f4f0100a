//! What an SNMP manager sees: KEEPALIVED-MIB, VRRP-MIB (RFC 2787) and VRRPV3-MIB (RFC 6527), as keepalived fills them.
//!
//! [`tree`] is a pure function from a [`Spec`] and snapshots ([`Snapshot`], [`check::Servers`]) to a sorted map: a walk is its order, GETNEXT the next
//! key, and a column that keepalived leaves out is not in it. [`traps`] makes notifications of events. Nothing here
//! speaks AgentX and nothing asks the engine; `daemon/doors/agentx` does the one, and has a snapshot for the other.
//!
//! Numbers and types are those of the MIB files, which users have loaded. Where keepalived's value is plainly a
//! mistake the right one is given (docs/differences.md lists them all).

pub mod check;
mod global;
mod owned;
mod rfc;
mod tracked;
pub mod traps;
mod vrrp;

use crate::spec::Spec;
use crate::time::Time;
use crate::vrrp::io::Role;
use crate::vrrp::snapshot::Snapshot;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Bound;

/// KEEPALIVED-MIB: enterprises.9586.100.5.
pub const KEEPALIVED: &[u32] = &[1, 3, 6, 1, 4, 1, 9586, 100, 5];
/// VRRP-MIB of RFC 2787.
pub const RFC2787: &[u32] = &[1, 3, 6, 1, 2, 1, 68];
/// VRRPV3-MIB of RFC 6527.
pub const RFC6527: &[u32] = &[1, 3, 6, 1, 2, 1, 207];

/// A value as it goes over the wire (RFC 2578 §7.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// INTEGER, TruthValue (true 1, false 2) and enumerations.
    Integer(i32),
    /// Unsigned32 and Gauge32, which have the same tag.
    Unsigned(u32),
    Counter32(u32),
    Counter64(u64),
    Octets(Vec<u8>),
    /// Hundredths of a second.
    Ticks(u32),
    Address(Ipv4Addr),
    Oid(Vec<u32>),
}

impl Value {
    /// An octet string.
    pub fn text(text: impl AsRef<str>) -> Value {
        Value::Octets(text.as_ref().as_bytes().to_vec())
    }
    /// TruthValue: true 1, false 2.
    pub const fn truth(yes: bool) -> Value {
        Value::Integer(if yes { 1 } else { 2 })
    }
    /// InetAddress: 4 or 16 bytes.
    pub fn address(address: IpAddr) -> Value {
        Value::Octets(match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        })
    }
    /// InetAddressType: ipv4 1, ipv6 2, unknown 0.
    pub const fn address_type(address: Option<&IpAddr>) -> Value {
        Value::Integer(match address {
            Some(IpAddr::V4(_)) => 1,
            Some(IpAddr::V6(_)) => 2,
            None => 0,
        })
    }
    /// Counter32 of a 64-bit count: it wraps, as the type does.
    pub const fn counter(count: u64) -> Value {
        Value::Counter32(count as u32)
    }
}

/// All objects of one moment, by object identifier.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tree(BTreeMap<Vec<u32>, Value>);

impl Tree {
    pub(crate) fn get(&self, oid: &[u32]) -> Option<&Value> {
        self.0.get(oid)
    }

    /// The first object after `from` (or at it, with `include`) and before `end`; an empty `end` is no end.
    pub fn next(&self, from: &[u32], include: bool, end: &[u32]) -> Option<(&[u32], &Value)> {
        let start = if include { Bound::Included(from) } else { Bound::Excluded(from) };
        let (oid, value) = self.0.range::<[u32], _>((start, Bound::Unbounded)).next()?;
        (end.is_empty() || oid.as_slice() < end).then_some((oid.as_slice(), value))
    }

    /// Whether any instance of the object that `oid` is (an instance of) exists: tells noSuchInstance from noSuchObject.
    pub fn knows_object(&self, oid: &[u32]) -> bool {
        let under = |prefix: &[u32]| self.next(prefix, true, &[]).is_some_and(|(found, _)| found.starts_with(prefix));
        // Without a table of all objects: a column is known as long as one of its rows is there.
        (KEEPALIVED.len() + 2..=oid.len()).rev().any(|length| oid.get(..length).is_some_and(under))
    }

    fn set(&mut self, base: &[u32], tail: &[u32], value: Value) {
        self.0.insert([base, tail].concat(), value);
    }
}

/// One conceptual row being filled: columns by number, those without a value left out.
struct Row<'a> {
    tree: &'a mut Tree,
    /// The entry that the columns stand under.
    entry: Vec<u32>,
    index: Vec<u32>,
}

impl<'a> Row<'a> {
    fn new(tree: &'a mut Tree, table: &[u32], index: &[u32]) -> Row<'a> {
        Row { tree, entry: [table, &[1]].concat(), index: index.to_vec() }
    }
    fn set(&mut self, column: u32, value: Value) -> &mut Self {
        self.tree.set(&self.entry, &[&[column], self.index.as_slice()].concat(), value);
        self
    }
    fn maybe(&mut self, column: u32, value: Option<Value>) -> &mut Self {
        if let Some(value) = value {
            self.set(column, value);
        }
        self
    }
    fn integer(&mut self, column: u32, value: impl Into<i64>) -> &mut Self {
        let value: i64 = value.into();
        self.set(column, Value::Integer(i32::try_from(value).unwrap_or(i32::MAX)))
    }
    fn unsigned(&mut self, column: u32, value: impl Into<u64>) -> &mut Self {
        let value: u64 = value.into();
        self.set(column, Value::Unsigned(u32::try_from(value).unwrap_or(u32::MAX)))
    }
    fn truth(&mut self, column: u32, yes: bool) -> &mut Self {
        self.set(column, Value::truth(yes))
    }
    fn text(&mut self, column: u32, text: impl AsRef<str>) -> &mut Self {
        self.set(column, Value::text(text))
    }
}

/// What the tables are made of.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub spec: &'a Spec,
    pub now: &'a Snapshot,
    /// `None` where no servers are checked.
    pub servers: Option<check::Servers<'a>>,
    /// First line of `-v`.
    pub version: &'a str,
    /// When the master agent's sysUpTime was how much, in hundredths of a second: told at the opening of the session.
    pub uptime: (Time, u32),
}

impl Seen<'_> {
    /// sysUpTime at a point in time; 0 for what was before the master agent.
    fn sys_uptime(&self, at: Time) -> u32 {
        let (told_at, ticks) = self.uptime;
        let hundredths = |micros: u64| micros / 10_000;
        let later = u64::from(ticks) + hundredths(at.since(told_at).as_micros());
        later.saturating_sub(hundredths(told_at.since(at).as_micros())) as u32
    }

    fn index_of(&self, interface: Option<&str>) -> Option<u32> {
        let name = interface?;
        self.now.links.iter().find(|known| known.link.name.as_str() == name).map(|known| known.link.index)
    }
}

/// Every object that `seen` shows, with those of the MIBs that are switched on.
pub fn tree(seen: &Seen<'_>) -> Tree {
    let mut tree = Tree::default();
    let on = &seen.spec.daemon.snmp;
    let servers = seen.servers.as_ref().filter(|_| seen.spec.has_servers_on_show());
    if on.vrrp || servers.is_some() {
        global::fill(&mut tree, seen);
    }
    if let Some(servers) = servers {
        check::fill(&mut tree, servers);
    }
    if on.vrrp {
        vrrp::fill(&mut tree, seen);
        tracked::fill(&mut tree, seen);
        owned::fill(&mut tree, seen);
    }
    if on.rfcv2 {
        rfc::fill_2787(&mut tree, seen);
    }
    if on.rfcv3 {
        rfc::fill_6527(&mut tree, seen);
    }
    tree
}

/// VrrpState of KEEPALIVED-MIB.
const fn state(role: Role) -> i32 {
    role as i32
}

/// Rows count from 1, as all tables here do.
fn rows<'a, T>(list: impl IntoIterator<Item = T> + 'a) -> impl Iterator<Item = (u32, T)> + 'a {
    (1_u32..).zip(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Tree {
        let mut tree = Tree::default();
        for (oid, value) in [(vec![1, 3, 2], 1), (vec![1, 3], 2), (vec![1, 10], 3), (vec![1, 3, 2, 0], 4)] {
            tree.set(&oid, &[], Value::Integer(value));
        }
        tree
    }

    #[test]
    fn a_walk_is_the_sorted_map() {
        let tree = sample();
        let mut at: Vec<u32> = Vec::new();
        let mut walked = Vec::new();
        while let Some((oid, value)) = tree.next(&at, false, &[]) {
            walked.push((oid.to_vec(), value.clone()));
            at = oid.to_vec();
        }
        let sorted: Vec<_> = tree.0.iter().map(|(oid, value)| (oid.to_vec(), value.clone())).collect();
        assert_eq!(walked, sorted);
        assert_eq!(sorted.first().map(|(oid, _)| oid.as_slice()), Some([1, 3].as_slice()));
        assert_eq!(sorted.last().map(|(oid, _)| oid.as_slice()), Some([1, 10].as_slice()));
    }

    #[test]
    fn next_from_any_identifier_is_the_next_key_before_the_end() {
        let tree = sample();
        let oid = |found: Option<(&[u32], &Value)>| found.map(|(oid, _)| oid.to_vec());
        assert_eq!(oid(tree.next(&[1, 3, 1, 9], false, &[])), Some(vec![1, 3, 2]));
        assert_eq!(oid(tree.next(&[1, 3, 2], true, &[])), Some(vec![1, 3, 2]));
        assert_eq!(oid(tree.next(&[1, 3, 2], false, &[1, 3, 2, 0])), None);
        assert_eq!(oid(tree.next(&[1, 10], false, &[])), None);
    }
}
