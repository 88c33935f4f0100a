//! What is wrong with configurations taken together: seen in them, or in how a run of them ends.

use super::report::Owner;
use crate::spec::Spec;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// One sentence for each address that several servers are told to speak from: each takes the adverts of the other for its
/// own that came back, and no law can be asked of them.
pub(super) fn findings(specs: &[(String, Arc<Spec>)]) -> Vec<String> {
    let mut speakers: BTreeMap<IpAddr, Vec<&str>> = BTreeMap::new();
    for (name, spec) in specs {
        for address in spec.instances.iter().filter_map(|instance| instance.source) {
            let names = speakers.entry(address).or_default();
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
    }
    let several = speakers.into_iter().filter(|(_, names)| names.len() > 1);
    several
        .map(|(address, names)| {
            let count = if names.len() == 2 { "two".to_owned() } else { names.len().to_string() };
            let list = names.join(" and ");
            format!(
                "{count} servers speak from {address}: {list}; they cannot tell each other's adverts from their own"
            )
        })
        .collect()
}

/// One sentence for each address that several servers have at the end. No law forbids it where they cannot hear each other,
/// which is what a run of their configurations is to show.
pub(super) fn split(owners: &[Owner]) -> Vec<String> {
    let split = owners.iter().filter(|owner| owner.holders.len() > 1);
    split
        .map(|owner| {
            let list = owner.holders.join(" and ");
            format!(
                "{} is on {list} in the end: clients reach now one, now the other (`vipctl check` says why)",
                owner.address
            )
        })
        .collect()
}
