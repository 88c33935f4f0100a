//! Virtual addresses that another machine has too, and speaks no VRRP for them: a host that was given the same address by
//! hand, a real server that answers ARP although it is none of its business, a second master that nobody hears.
//!
//! No daemon can see that in adverts, so the network is asked, as a client would ask it ([`crate::kernel::who_has`]). IPv4
//! only.

use super::running::Asked;
use super::{Case, Finding, Weight};
use crate::cli::{alarms, view};
use crate::kernel::{addresses, who_has};
use crate::observe::words;
use crate::spec::{IfName, InstanceSpec, Transport, first_few};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// A person waits; a machine on the same link answers within milliseconds.
const PATIENCE: Duration = Duration::from_millis(300);
/// Interfaces, and addresses of each, that are asked for.
const INTERFACES: usize = 8;
const ADDRESSES: usize = 64;

/// Only beside a daemon: without one, who else has an address is no contradiction.
pub fn addresses_that_another_has(case: &Case<'_>, found: &mut Vec<Finding>) {
    let Asked::Answers(snapshot) = &case.asked else { return };
    let states: BTreeMap<&str, &view::Instance> =
        snapshot.instances.iter().map(|instance| (instance.name.as_str(), instance)).collect();
    let mut questions: BTreeMap<IfName, BTreeSet<Ipv4Addr>> = BTreeMap::new();
    for (interface, address, _) in claimed(case) {
        if questions.len() < INTERFACES || questions.contains_key(&interface) {
            let list = questions.entry(interface).or_default();
            if list.len() < ADDRESSES {
                list.insert(address);
            }
        }
    }
    let answers = case.machine.who_has(&questions, PATIENCE);
    for (interface, address, spec) in claimed(case) {
        let name = &*spec.name;
        let Some(instance) = states.get(name) else { continue };
        // Two masters that the daemon knows of have both the address: that is said already.
        if alarms::of(snapshot, instance).iter().any(|a| matches!(a.kind, "refused" | "two-masters" | "address-here")) {
            continue;
        }
        let here = instance.state == "MASTER";
        let others: BTreeSet<&[u8; 6]> =
            answers.iter().filter(|(on, of, _)| (on, *of) == (&interface, address)).map(|(.., mac)| mac).collect();
        if others.len() < if here { 1 } else { 2 } {
            continue;
        }
        let names = first_few(others.iter().map(|mac| words::mac(**mac)), 4, ", ");
        let what = match here {
            true => format!("{name}: {address} is here, and another machine answers for it too: {names}"),
            false => format!("{name}: {} hardware addresses answer for {address}: {names}", others.len()),
        };
        let (weight, why) = match spec.transport {
            Transport::Multicast { .. } => {
                (Weight::Problem, "clients reach now one, now the other: whoever answered their last ARP request")
            }
            // Many clouds answer every ARP request themselves, and are where unicast is for.
            Transport::Unicast { .. } => (
                Weight::Note,
                "in a cloud that may be the network itself, which answers for every address; elsewhere clients reach now one, now \
                 the other",
            ),
        };
        found.push(
            Finding::new(weight, "address-elsewhere", what)
                .why(why)
                .cure(
                    "find the machine by its hardware address (`ip neigh` beside it, the table of the switch) and take the address \
                     away there; a real server keeps it on its loopback with arp_ignore=1 and arp_announce=2; one machine with \
                     two interfaces on this network needs arp_ignore=1",
                ),
        );
    }
}

/// IPv4 addresses of all instances: the interface where clients ask for them, and the instance.
fn claimed<'a>(case: &'a Case<'_>) -> impl Iterator<Item = (IfName, Ipv4Addr, &'a InstanceSpec)> {
    case.instances().iter().flat_map(|instance| {
        instance.claim.addresses.iter().filter_map(move |own| {
            let IpAddr::V4(address) = own.address else { return None };
            let interface = own.interface.as_ref().or(instance.interface.as_ref())?;
            Some((interface.clone(), address, instance))
        })
    })
}

/// An interface, what is asked from there, and the addresses that are asked for.
type Question<'a> = (&'a IfName, ([u8; 6], Ipv4Addr), Vec<Ipv4Addr>);

/// As [`super::Machine::who_has`], on this machine. Interfaces that cannot be asked on are left out.
pub(super) fn ask(
    questions: &BTreeMap<IfName, BTreeSet<Ipv4Addr>>,
    patience: Duration,
) -> Vec<(IfName, Ipv4Addr, [u8; 6])> {
    let (present, hardware) = (addresses::present(), addresses::hardware());
    let sources: Vec<Question<'_>> = questions
        .iter()
        .filter_map(|(name, asked)| {
            // From an address of this machine's own, where it has one: some answer only to their own network.
            let own = present.iter().find_map(|(on, address)| match address {
                IpAddr::V4(own) if on == name.as_str() && !asked.contains(own) => Some(*own),
                _ => None,
            });
            let mac = *hardware.get(name.as_str())?;
            Some((name, (mac, own.unwrap_or(Ipv4Addr::UNSPECIFIED)), asked.iter().copied().collect()))
        })
        .collect();
    std::thread::scope(|scope| {
        let threads: Vec<_> = sources
            .iter()
            .map(|(name, own, asked)| {
                scope.spawn(move || {
                    let answers = who_has::ask(name.as_str(), *own, asked, patience);
                    let named = |(address, mac)| ((*name).clone(), address, mac);
                    answers.unwrap_or_default().into_iter().map(named).collect::<Vec<_>>()
                })
            })
            .collect();
        let answers = threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default());
        answers.filter(|(.., mac)| !hardware.values().any(|own| own == mac)).collect()
    })
}
