//! `plan`: applied to what is seen, it gives what is wanted, in an order in which the kernel can do it.

#![allow(clippy::unwrap_used)]

use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::route::{RouteAttribute, RouteMessage};
use netlink_packet_route::rule::{RuleAttribute, RuleMessage};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};
use vipd::kernel::reconcile::{Item, Key, Op, Seen, plan};
use vipd::spec::Insert;

/// Few keys and few contents, so that they meet.
fn item() -> impl Strategy<Value = Item> {
    (0u8..3, 0u8..5, 0u8..3).prop_map(|(class, key, content)| {
        let ip = Ipv4Addr::new(10, 0, 0, key);
        match class {
            0 => {
                let mut message = AddressMessage::default();
                message.attributes.push(AddressAttribute::Local(IpAddr::V4(ip)));
                message.attributes.push(AddressAttribute::Label(format!("l{content}")));
                Item::Address(message)
            }
            1 => {
                let mut message = RouteMessage::default();
                message.attributes.push(RouteAttribute::Destination(ip.into()));
                message.attributes.push(RouteAttribute::Oif(content.into()));
                Item::Route(message, Insert::Prepend)
            }
            _ => {
                let mut message = RuleMessage::default();
                message.attributes.push(RuleAttribute::Priority(key.into()));
                message.attributes.push(RuleAttribute::Protocol(content.into()));
                Item::Rule(message)
            }
        }
    })
}

/// A kernel that does what it is told and refuses what the real one refuses.
fn apply(seen: &Seen, ops: &[Op]) -> Seen {
    let mut state = seen.clone();
    for op in ops {
        match op {
            Op::Add(item) => assert!(state.insert(item.key(), Some(item.clone())).is_none(), "EEXIST {item:?}"),
            Op::Remove(item) => assert!(state.remove(&item.key()).is_some(), "ENOENT {item:?}"),
        }
    }
    state
}

fn class(key: &Key) -> u8 {
    match key {
        Key::Address(_) => 0,
        Key::Route(_) => 1,
        Key::Rule(_) => 2,
    }
}

proptest! {
    #[test]
    fn applying_the_plan_gives_what_is_wanted(
        wanted in prop::collection::vec(item(), 0..14),
        seen in prop::collection::vec((item(), any::<bool>()), 0..14),
    ) {
        let seen: Seen = seen.into_iter().map(|(item, known)| (item.key(), known.then_some(item))).collect();
        let ops = plan(&wanted, &seen);
        let after = apply(&seen, &ops);
        // Everything wanted is there, with its content where the content is ours; the first of equals counts.
        for (at, item) in wanted.iter().enumerate() {
            let first = wanted.iter().position(|other| other.key() == item.key()) == Some(at);
            let there = after.get(&item.key()).unwrap();
            prop_assert!(!first || there.as_ref().is_none_or(|there| there == item));
        }
        // Nothing else is, but what was not ours.
        for (key, there) in &after {
            prop_assert!(there.is_none() || wanted.iter().any(|item| item.key() == *key));
        }
        // Planned again there is nothing to do.
        prop_assert!(plan(&wanted, &after).is_empty());
    }

    #[test]
    fn removals_go_down_and_additions_up(
        wanted in prop::collection::vec(item(), 0..14),
        seen in prop::collection::vec(item(), 0..14),
    ) {
        let seen: Seen = seen.into_iter().map(|item| (item.key(), Some(item))).collect();
        let order: Vec<u8> = plan(&wanted, &seen)
            .iter()
            .map(|op| match op {
                Op::Remove(item) => 2 - class(&item.key()),
                Op::Add(item) => 3 + class(&item.key()),
            })
            .collect();
        prop_assert!(order.is_sorted(), "{order:?}");
    }
}
