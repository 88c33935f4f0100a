//! Finds tables that an earlier run left, of this daemon or of keepalived: by what is in them, since the file that gave them
//! their name may be another one by now.
//!
//! It only reads; [`super::Firewall`] removes. A table counts if every set and chain in it has a name that VRRP's tables use,
//! and if it has one of the sets that no such table is without. One that an operator has put something of his own into is
//! left alone.

use super::request;
use crate::kernel::netlink::channel::Channel;
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, NfTablesMessage, SetAttribute, SetMessage, TableAttribute, TableMessage,
};
use netlink_packet_netfilter::{NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily};
use std::collections::{BTreeMap, BTreeSet};

/// Sets of which every table has at least one.
const TELLING: [&str; 3] = ["vips", "vmac_map", "vmac_set"];
const OTHERS: [&str; 5] =
    ["vips_link_local", "vips_link_local_name", "parent_link_local", "neighbor-discovery", "mld-report"];
const CHAINS: [&str; 4] = ["in", "out", "in_link_local", "out_link_local"];

/// What is in a table.
#[derive(Debug, Default)]
struct Contents {
    sets: Vec<String>,
    chains: Vec<String>,
}

impl Contents {
    fn is_of_vrrp(&self) -> bool {
        let known = |set: &String| TELLING.contains(&set.as_str()) || OTHERS.contains(&set.as_str());
        self.sets.iter().any(|set| TELLING.contains(&set.as_str()))
            && self.sets.iter().all(known)
            && !self.chains.is_empty()
            && self.chains.iter().all(|chain| CHAINS.contains(&chain.as_str()))
    }
}

/// The names of the tables in a family that are VRRP's or among `ours`; none where the kernel does not tell.
pub(super) fn find(channel: &mut Channel, family: NetfilterProtoFamily, ours: &BTreeSet<String>) -> Vec<String> {
    let mut tables: BTreeMap<String, Contents> = BTreeMap::new();
    for message in dump(channel, family, NfTablesMessage::GetTable(TableMessage { attributes: Vec::new() })) {
        if let NfTablesMessage::NewTable(TableMessage { attributes }) = message {
            let name = attributes.into_iter().find_map(|attribute| match attribute {
                TableAttribute::Name(name) => Some(name),
                _ => None,
            });
            tables.extend(name.map(|name| (name, Contents::default())));
        }
    }
    if tables.is_empty() {
        return Vec::new();
    }
    for message in dump(channel, family, NfTablesMessage::GetSet(SetMessage { attributes: Vec::new() })) {
        let NfTablesMessage::NewSet(SetMessage { attributes }) = message else { continue };
        let (table, set) = named(attributes, |attribute| match attribute {
            SetAttribute::Table(name) => Some(Named::Table(name)),
            SetAttribute::Name(name) => Some(Named::Own(name)),
            _ => None,
        });
        if let Some(contents) = tables.get_mut(&table) {
            contents.sets.push(set);
        }
    }
    for message in dump(channel, family, NfTablesMessage::GetChain(ChainMessage { attributes: Vec::new() })) {
        let NfTablesMessage::NewChain(ChainMessage { attributes }) = message else { continue };
        let (table, chain) = named(attributes, |attribute| match attribute {
            ChainAttribute::Table(name) => Some(Named::Table(name)),
            ChainAttribute::Name(name) => Some(Named::Own(name)),
            _ => None,
        });
        if let Some(contents) = tables.get_mut(&table) {
            contents.chains.push(chain);
        }
    }
    leftovers(tables, ours)
}

fn leftovers(tables: BTreeMap<String, Contents>, ours: &BTreeSet<String>) -> Vec<String> {
    tables
        .into_iter()
        .filter(|(name, contents)| ours.contains(name) || contents.is_of_vrrp())
        .map(|(name, _)| name)
        .collect()
}

/// A name that a set or a chain comes with.
enum Named {
    /// Of the table that it is in.
    Table(String),
    Own(String),
}

/// Table and name of a set or a chain; empty where the kernel has not told them.
fn named<A>(attributes: Vec<A>, which: impl Fn(A) -> Option<Named>) -> (String, String) {
    let mut names = (String::new(), String::new());
    for named in attributes.into_iter().filter_map(which) {
        match named {
            Named::Table(name) => names.0 = name,
            Named::Own(name) => names.1 = name,
        }
    }
    names
}

fn dump(channel: &mut Channel, family: NetfilterProtoFamily, what: NfTablesMessage) -> Vec<NfTablesMessage> {
    let found = channel.dump::<NetfilterMessage>(request(family, what, 0).message).unwrap_or_default();
    let tables = found.into_iter().filter_map(|message| match message.inner {
        NetfilterMessageInner::NfTables(message) => Some(message),
        _ => None,
    });
    tables.collect()
}

#[cfg(test)]
mod tests {
    use super::{Contents, leftovers};
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn no_table_is_removed_that_is_not_there() {
        let ours: BTreeSet<String> = ["keepalived", "other"].map(String::from).into();
        assert_eq!(leftovers(BTreeMap::new(), &ours), Vec::<String>::new());
        let there = ["filter", "other"].map(|name| (name.to_owned(), Contents::default()));
        assert_eq!(leftovers(there.into(), &ours), ["other"]);
    }

    #[test]
    fn only_what_holds_nothing_else_is_a_table_of_vrrp() {
        let of = |sets: &[&str], chains: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            Contents { sets: owned(sets), chains: owned(chains) }.is_of_vrrp()
        };
        assert!(of(&["vips", "vmac_map"], &["in", "out"]));
        // keepalived's for VMACs alone, on a kernel that cannot duplicate.
        assert!(of(&["vmac_set"], &["out"]));
        assert!(!of(&["vips", "blocked"], &["in", "out"]), "an operator's own set");
        assert!(!of(&["vips"], &["in", "out", "forward"]), "an operator's own chain");
        assert!(!of(&["neighbor-discovery"], &["in"]));
        assert!(!of(&[], &["in", "out"]) && !of(&["vips"], &[]));
    }
}
