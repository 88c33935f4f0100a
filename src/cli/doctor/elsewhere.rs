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

/// What is asked on an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// An address of this machine's own there, or none (unspecified).
    pub from: Ipv4Addr,
    /// Who has these?
    pub addresses: BTreeSet<Ipv4Addr>,
}

/// What answered: the interface, the address, the hardware address.
pub type Answer = (IfName, Ipv4Addr, [u8; 6]);

/// What is known of the instances: what the daemon says of each, and what is on this machine.
struct Known<'k> {
    states: BTreeMap<&'k str, &'k view::Instance>,
    present: Vec<(String, IpAddr)>,
}

impl Known<'_> {
    /// The address that an instance speaks from.
    fn own(&self, spec: &InstanceSpec) -> Option<Ipv4Addr> {
        self.states.get(&*spec.name)?.source.as_ref()?.parse().ok()
    }
    /// Who speaks to it, or should.
    fn speakers(&self, spec: &InstanceSpec) -> Vec<Ipv4Addr> {
        let said = self.states.get(&*spec.name).into_iter().flat_map(|instance| {
            let refused = instance.refused_speakers.iter().map(|speaker| speaker.address.clone());
            refused.chain(instance.master.as_ref().and_then(|master| master.address.clone()))
        });
        let said = said.filter_map(|text| text.parse().ok());
        peers(spec).chain(said).collect()
    }
    fn is_here(&self, address: Ipv4Addr) -> bool {
        self.present.iter().any(|(_, known)| *known == IpAddr::V4(address))
    }

    /// The addresses that machines speak from first: who they are is worth more than one virtual address more.
    fn questions(&self, case: &Case<'_>) -> BTreeMap<IfName, Question> {
        let mut questions: BTreeMap<IfName, Question> = BTreeMap::new();
        let from = case.instances().iter().filter_map(|spec| Some((spec.interface.clone()?, spec)));
        let from = from.flat_map(|(interface, spec)| {
            let all = self.own(spec).into_iter().chain(self.speakers(spec));
            all.map(move |address| (interface.clone(), address, spec))
        });
        for (interface, address, spec) in from.chain(claimed(case)) {
            if questions.len() < INTERFACES || questions.contains_key(&interface) {
                let there = |own: &Ipv4Addr| self.present.contains(&(interface.as_str().to_owned(), IpAddr::V4(*own)));
                let from = self.own(spec).filter(there).unwrap_or(Ipv4Addr::UNSPECIFIED);
                let question = questions.entry(interface).or_insert(Question { from, addresses: BTreeSet::new() });
                if question.from.is_unspecified() {
                    question.from = from;
                }
                if question.addresses.len() < ADDRESSES {
                    question.addresses.insert(address);
                }
            }
        }
        questions
    }
}

/// The IPv4 addresses of an instance's peers.
fn peers(spec: &InstanceSpec) -> impl Iterator<Item = Ipv4Addr> + '_ {
    let peers = match &spec.transport {
        Transport::Multicast { .. } => &[][..],
        Transport::Unicast { peers, .. } => peers.as_slice(),
    };
    peers.iter().filter_map(|peer| match peer.address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    })
}

/// Another machine has the address that an instance speaks from.
fn double_sources(case: &Case<'_>, known: &Known<'_>, answers: &[Answer], found: &mut Vec<Finding>) {
    let mut told = BTreeSet::new();
    for spec in case.instances() {
        let (Some(interface), Some(address)) = (&spec.interface, known.own(spec)) else { continue };
        let others: BTreeSet<[u8; 6]> = answered(answers, interface, address).collect();
        let said = found.iter().any(|finding| finding.check == "double-source");
        if !others.is_empty() && known.is_here(address) && !said && told.insert(address) {
            found.push(double_source(&spec.name, IpAddr::V4(address), &others));
        }
    }
}

/// Peers that no machine on the link is.
fn absent_peers(
    case: &Case<'_>,
    known: &Known<'_>,
    (questions, answers): (&BTreeMap<IfName, Question>, &[Answer]),
    found: &mut Vec<Finding>,
) {
    for spec in case.instances() {
        let Some(interface) = &spec.interface else { continue };
        for address in peers(spec) {
            let asked = questions.get(interface).is_some_and(|question| question.addresses.contains(&address));
            let silent = asked && answered(answers, interface, address).next().is_none() && !known.is_here(address);
            if silent && is_on_link(case, interface, address) {
                found.push(
                    Finding::new(
                        Weight::Warning,
                        "peer-absent",
                        format!("{}: no machine on {interface} has {address}, which is in its unicast_peer", spec.name),
                    )
                    .why("that server is down, or it has another address: then it does not hear this one, and both become MASTER")
                    .cure(format!("`ping {address}`; correct unicast_peer, or start that server")),
                );
            }
        }
    }
}

/// Only beside a daemon: without one, who else has an address is no contradiction.
pub fn addresses_that_another_has(case: &Case<'_>, found: &mut Vec<Finding>) {
    let Asked::Answers(snapshot) = &case.asked else { return };
    let states = snapshot.instances.iter().map(|instance| (instance.name.as_str(), instance)).collect();
    let here = Known { states, present: case.machine.addresses() };
    let questions = here.questions(case);
    let mut answers = case.machine.who_has(&questions, PATIENCE);
    clones(case, &mut answers, found);
    double_sources(case, &here, &answers, found);
    absent_peers(case, &here, (&questions, &answers), found);
    for (interface, address, spec) in claimed(case) {
        let name = &*spec.name;
        let Some(instance) = here.states.get(name) else { continue };
        // Two masters that are known of have both the address: that is said already.
        let of_it = |f: &&Finding| f.what.strip_prefix(name).is_some_and(|rest| rest.starts_with(": "));
        let said = found.iter().filter(of_it).any(|f| matches!(f.check, "not-heard" | "double-source"));
        if said
            || alarms::of(snapshot, instance)
                .iter()
                .any(|a| matches!(a.kind, "refused" | "two-masters" | "address-here"))
        {
            continue;
        }
        let master = instance.state == "MASTER";
        let others: BTreeSet<[u8; 6]> = answered(&answers, &interface, address).collect();
        if others.len() < if master { 1 } else { 2 } {
            continue;
        }
        let speaker_at = |mac: &[u8; 6]| {
            here.speakers(spec)
                .into_iter()
                .find(|of| *of != address && answered(&answers, &interface, *of).any(|one| one == *mac))
        };
        let named = |mac: &[u8; 6]| match speaker_at(mac) {
            Some(speaker) => format!("{speaker} ({})", words::mac(*mac)),
            None => words::mac(*mac),
        };
        let names = first_few(others.iter().map(named), 4, ", ");
        let what = match master {
            true => format!("{name}: {address} is here, and another machine answers for it too: {names}"),
            false => format!("{name}: {} hardware addresses answer for {address}: {names}", others.len()),
        };
        let peer = others.iter().find_map(speaker_at);
        let (weight, why) = match (&spec.transport, peer) {
            (Transport::Unicast { .. }, Some(_)) if master => {
                (Weight::Problem, "each of the two takes itself for the only MASTER: both hold the addresses")
            }
            (Transport::Multicast { .. }, _) => {
                (Weight::Problem, "clients reach now one, now the other: whoever answered their last ARP request")
            }
            // Many clouds answer every ARP request themselves, and are where unicast is for.
            (Transport::Unicast { .. }, _) => (
                Weight::Note,
                "in a cloud that may be the network itself, which answers for every address; elsewhere clients reach now one, now \
                 the other",
            ),
        };
        found.push(Finding::new(weight, "address-elsewhere", what).why(why).cure(cure(instance, spec, peer, master)));
    }
}

/// What to do about another machine that has a virtual address; `peer`: what it is called in adverts or in the file.
fn cure(instance: &view::Instance, spec: &InstanceSpec, peer: Option<Ipv4Addr>, master: bool) -> String {
    const STRANGER: &str = "find the machine by its hardware address (`ip neigh` beside it, the table of the switch) and take the \
                            address away there; a real server keeps it on its loopback with arp_ignore=1 and arp_announce=2; \
                            one machine with two interfaces on this network needs arp_ignore=1";
    let refused = instance.refused_speakers.iter().max_by_key(|speaker| speaker.last_heard);
    let refused = refused.filter(|speaker| peer.is_none_or(|peer| speaker.address == peer.to_string()));
    match (refused, peer, &spec.transport) {
        (Some(speaker), Some(_), _) if view::is_foreign(&speaker.why) => format!(
            "{0} belongs to another installation with this VRID and has this address besides, which no advert of its says: take it \
             out of the configuration of one of the two",
            speaker.address
        ),
        (Some(speaker), ..) if master && !view::is_foreign(&speaker.why) => {
            let (why, cure) = view::refusal(&speaker.why);
            let cure = cure.unwrap_or("the same settings on all servers");
            format!("adverts of {} were refused before: {why}: {cure}", speaker.address)
        }
        (_, Some(peer), Transport::Unicast { .. }) if master => {
            let from = instance.source.as_deref().unwrap_or("this server's address");
            format!("on {peer}: `vipctl status`; {from} has to be in its unicast_peer; look at firewalls on both")
        }
        (_, _, Transport::Multicast { .. }) if master => format!(
            "is it the other server of this pair, and MASTER too (`vipctl status` there)? Then the two do not hear each other: a \
             firewall, or a switch or cloud that drops multicast (unicast_peer goes without). Else {STRANGER}"
        ),
        _ => STRANGER.to_owned(),
    }
}

/// Whether the machine with this address would be in the network of an interface, so that no router answers for it.
fn is_on_link(case: &Case<'_>, interface: &IfName, address: Ipv4Addr) -> bool {
    let Some(way) = case.machine.run(&["ip", "-o", "route", "get", &address.to_string()]) else { return false };
    let words: Vec<&str> = way.stdout.split_whitespace().collect();
    !words.contains(&"via") && words.windows(2).any(|pair| pair == ["dev", interface.as_str()])
}

/// Who answered for an address.
fn answered(answers: &[Answer], interface: &IfName, address: Ipv4Addr) -> impl Iterator<Item = [u8; 6]> {
    answers.iter().filter(move |(on, of, _)| (on, *of) == (interface, address)).map(|(.., mac)| *mac)
}

/// Takes out, and tells of, a machine that answers with a hardware address of this one: a copied virtual machine.
fn clones(case: &Case<'_>, answers: &mut Vec<Answer>, found: &mut Vec<Finding>) {
    let hardware = case.machine.hardware();
    let is_own = |(on, _, mac): &Answer| hardware.get(on.as_str()) == Some(mac);
    if let Some((on, address, mac)) = answers.iter().find(|answer| is_own(answer)) {
        found.push(same_hardware(on, IpAddr::V4(*address), *mac));
    }
    answers.retain(|answer| !is_own(answer));
}

/// That another machine has the hardware address of an interface here.
pub(super) fn same_hardware(interface: &IfName, address: IpAddr, mac: [u8; 6]) -> Finding {
    let mac = words::mac(mac);
    Finding::new(
        Weight::Problem,
        "double-mac",
        format!("{address} is on another machine that has the hardware address of {interface} here too: {mac}"),
    )
    .why("switches send what is for one of the two now here, now there: adverts and clients are lost")
    .cure(
        "give each machine a hardware address of its own, as for a copied virtual machine: `ip link set`, or its host",
    )
}

/// That another machine has the address which this one speaks from.
pub(super) fn double_source(instance: &str, address: IpAddr, others: &BTreeSet<[u8; 6]>) -> Finding {
    let names = first_few(others.iter().map(|mac| words::mac(*mac)), 4, ", ");
    Finding::new(
        Weight::Problem,
        "double-source",
        format!("{instance}: {address}, from which this server speaks, is on another machine as well: {names}"),
    )
    .why("a kernel drops what comes from an address of its own: where that is the other server, both become MASTER")
    .cure("give each server an address of its own")
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

/// As [`super::Machine::who_has`], on this machine. Interfaces that cannot be asked on are left out.
pub(super) fn ask(questions: &BTreeMap<IfName, Question>, patience: Duration) -> Vec<Answer> {
    let (present, hardware) = (addresses::present().unwrap_or_default(), addresses::hardware());
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let threads: Vec<_> = questions
            .iter()
            .filter_map(|(name, question)| Some((name, *hardware.get(name.as_str())?, question)))
            .map(|(name, mac, question)| {
                scope.spawn(move || {
                    let asked: Vec<Ipv4Addr> = question.addresses.iter().copied().collect();
                    let answers = who_has::ask(name.as_str(), (mac, question.from), &asked, patience);
                    let named = |(address, mac)| (name.clone(), address, mac);
                    answers.unwrap_or_default().into_iter().map(named).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    // Its own answers come back through another interface on the same network. One with the very hardware address that it was
    // asked from, for what is not here, is another machine's; routers of one VRID share theirs (RFC 9568 §7.3).
    let own = |(on, address, mac): &Answer| {
        let here = present.iter().any(|(_, known)| *known == IpAddr::V4(*address));
        let shared = mac.starts_with(&[0, 0, 0x5e, 0, 1]);
        hardware.values().any(|own| own == mac) && (here || shared || hardware.get(on.as_str()) != Some(mac))
    };
    answers.into_iter().filter(|answer| !own(answer)).collect()
}
