//! What the kernel thread sees of interfaces and addresses, in the words of BFD: the one place where the two vocabularies
//! meet.

use crate::bfd::io::{Address, Link, Local};
use crate::vrrp::io::{self, LinkFact};

/// `None`: sessions do not depend on it.
pub fn local(fact: &LinkFact) -> Option<Local> {
    Some(match fact {
        LinkFact::Dump(links) => Local::Dump(links.iter().map(link).collect()),
        LinkFact::Changed(link) => {
            Local::Changed { index: link.index, name: link.name.clone(), running: link.up && link.running }
        }
        LinkFact::Gone { index } => Local::Gone { index: *index },
        LinkFact::Address { index, address } => Local::Address { index: *index, address: self::address(address) },
        LinkFact::AddressGone { index, address, prefix } => {
            Local::AddressGone { index: *index, address: *address, prefix: *prefix }
        }
        LinkFact::Healed { .. } | LinkFact::Swept { .. } => return None,
    })
}

fn link(link: &io::Link) -> Link {
    Link {
        index: link.index,
        name: link.name.clone(),
        running: link.up && link.running,
        addresses: link.addresses.iter().map(address).collect(),
    }
}

fn address(address: &io::LinkAddress) -> Address {
    Address { address: address.address, prefix: address.prefix, usable: address.usable }
}
