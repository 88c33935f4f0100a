//! Wanted against seen: which operations, in which order, make the one of the other. Pure.
//!
//! An [`Item`] is a netlink message that makes one address, route or rule; its [`Key`] is what the kernel tells equals
//! by, and is read off the message itself, so that a message that was built and a message that was dumped compare.

use super::netlink::address::AddressKey;
use super::netlink::route::RouteKey;
use super::netlink::rule::RuleKey;
use crate::spec::Insert;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::rule::RuleMessage;
use std::collections::{BTreeMap, BTreeSet};

/// Something that the kernel is to have.
#[derive(Clone, PartialEq, Debug)]
pub enum Item {
    Address(AddressMessage),
    Route(RouteMessage, Insert),
    Rule(RuleMessage),
}

/// What tells an item from others. The order is the order of adding: addresses, then the routes that need them, then
/// the rules that lead to the routes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Key {
    Address(AddressKey),
    /// Boxed, as rules are: addresses are the many, and a rule's key is five times theirs.
    Route(Box<RouteKey>),
    Rule(Box<RuleKey>),
}

impl Key {
    pub(crate) fn of_route(message: &RouteMessage) -> Key {
        Key::Route(Box::new(RouteKey::of(message)))
    }

    pub(crate) fn of_rule(message: &RuleMessage) -> Key {
        Key::Rule(Box::new(RuleKey::of(message)))
    }
}

impl Item {
    /// By what it is found again.
    pub fn key(&self) -> Key {
        match self {
            Item::Address(message) => Key::Address(AddressKey::of(message)),
            Item::Route(message, _) => Key::of_route(message),
            Item::Rule(message) => Key::of_rule(message),
        }
    }
}

/// What is there. `None`: something with this key, of unknown content, which is taken as right.
pub type Seen = BTreeMap<Key, Option<Item>>;

/// A step.
#[derive(Clone, PartialEq, Debug)]
pub enum Op {
    Add(Item),
    Remove(Item),
}

impl Op {
    fn class(&self) -> u8 {
        match self {
            Op::Remove(Item::Rule(_)) => 0,
            Op::Remove(Item::Route(..)) => 1,
            Op::Remove(Item::Address(_)) => 2,
            Op::Add(Item::Address(_)) => 3,
            Op::Add(Item::Route(..)) => 4,
            Op::Add(Item::Rule(_)) => 5,
        }
    }
}

/// The steps from `seen` to `wanted`. Removed are only items of known content: what is merely known to be there was
/// not put there by us. An item that is wanted with another content is removed and added. Within a class the order is
/// that of `wanted`; of two wanted items with one key the first counts.
pub fn plan(wanted: &[Item], seen: &Seen) -> Vec<Op> {
    let mut ops = Vec::new();
    let mut keys = BTreeSet::new();
    for item in wanted {
        let key = item.key();
        if !keys.insert(key.clone()) {
            continue;
        }
        match seen.get(&key) {
            None => ops.push(Op::Add(item.clone())),
            Some(Some(other)) if other != item => {
                ops.push(Op::Remove(other.clone()));
                ops.push(Op::Add(item.clone()));
            }
            Some(_) => {}
        }
    }
    for (key, item) in seen {
        if let Some(item) = item
            && !keys.contains(key)
        {
            ops.push(Op::Remove(item.clone()));
        }
    }
    ops.sort_by_key(Op::class);
    ops
}
