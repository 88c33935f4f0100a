//! Masters whose adverts are on the wire and do not reach the daemon: it has no ear for what they speak (AH beside PASS,
//! multicast beside unicast), or something on this machine takes the adverts away before it hears them.
//!
//! The daemon cannot tell, so it is listened here, beside it, for as long as an advert may take. Nothing is sent.

use super::running::Asked;
use super::{Case, Finding, Weight};
use crate::cli::{alarms, view};
use crate::kernel::clock;
use crate::kernel::overhear::Ears;
use crate::observe::words;
use crate::spec::{IfName, Spec};
use crate::vrrp::io::{Refusal, RxMeta};
use crate::vrrp::overhear::Bystander;
use crate::wire::link::{self, Carried};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An advert that was heard beside the daemon, for one of its instances.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Overheard {
    pub instance: Box<str>,
    pub source: IpAddr,
    /// Why the configuration would refuse it; `None`: it would be taken.
    pub refused: Option<Refusal>,
}

/// At most this long, whatever the interval: a person waits.
const MOST: Duration = Duration::from_millis(1500);
/// Interfaces that are listened on.
const INTERFACES: usize = 8;

/// Only for instances that believe to be alone: nobody else can be MASTER and say nothing.
pub fn masters_that_are_not_heard(case: &Case<'_>, found: &mut Vec<Finding>) {
    let Asked::Answers(snapshot) = &case.asked else { return };
    let alone = |instance: &&view::Instance| {
        let alarms = alarms::of(snapshot, instance);
        instance.state == "MASTER" && !alarms.iter().any(|a| matches!(a.kind, "refused" | "two-masters"))
    };
    let alone: Vec<&view::Instance> = snapshot.instances.iter().filter(alone).collect();
    let interfaces: BTreeSet<IfName> = case
        .instances()
        .iter()
        .filter(|own| alone.iter().any(|instance| *instance.name == *own.name))
        .filter_map(|own| own.interface.clone())
        .take(INTERFACES)
        .collect();
    let longest = alone.iter().map(|instance| instance.interval).fold(0.0, f64::max);
    let patience = Duration::from_secs_f64((longest * 1.2).clamp(0.0, MOST.as_secs_f64()));
    if interfaces.is_empty() {
        return;
    }
    let mut told = BTreeSet::new();
    for Overheard { instance, source, refused } in case.machine.overhear(&interfaces, case.spec, patience) {
        let Some(ours) = alone.iter().find(|own| *own.name == *instance) else { continue };
        let own = case.machine.addresses().iter().any(|(_, address)| *address == source);
        if own || ours.source.as_deref() == Some(&source.to_string()) || !told.insert((instance.clone(), source)) {
            continue;
        }
        let (what, cure) = match refused {
            Some(why) => (words::refusal(why), words::refusal_cure(why).unwrap_or("the same settings on all servers")),
            None => (
                "something on this machine takes them away",
                "look at firewalls here: `nft list ruleset`, `iptables -S INPUT`, `tc filter show`; VRRP is IP protocol 112",
            ),
        };
        found.push(
            Finding::new(
                Weight::Problem,
                "not-heard",
                format!("{instance}: {source} speaks as MASTER too, and the daemon does not hear it: {what}"),
            )
            .why("each of the two takes itself for the only MASTER: both hold the addresses")
            .cure(cure),
        );
    }
}

/// What is on these interfaces within `patience`, judged by `spec`. Interfaces that cannot be listened on are left out.
pub(super) fn listen(interfaces: &BTreeSet<IfName>, spec: &Spec, patience: Duration) -> Vec<Overheard> {
    let spec = Arc::new(spec.clone());
    let on = |name: &IfName| -> Vec<Overheard> {
        let Ok(mut ears) = Ears::open(name.as_str()) else { return Vec::new() };
        let mut bystander = Bystander::new(spec.clone());
        let (mut heard, end) = (Vec::new(), Instant::now() + patience);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return heard;
            }
            let Ok(frame) = ears.hear(left) else { return heard };
            let Some(frame) = frame.filter(|frame| !frame.own && frame.vlan.is_none()) else { continue };
            let Some(Ok(Carried { source, destination, ttl, datagram })) = link::carried(frame.ethertype, frame.packet)
            else {
                continue;
            };
            let meta = RxMeta { ifindex: 0, source, destination, ttl: Some(ttl) };
            let verdict = bystander.judge(Some(name), meta, datagram, clock::wall().unix_micros);
            let instance = verdict.instance.and_then(|id| spec.instances.get(id.index()));
            if let Some(instance) = instance.filter(|_| heard.len() < 64) {
                heard.push(Overheard { instance: instance.name.clone(), source, refused: verdict.refused });
            }
        }
    };
    std::thread::scope(|scope| {
        let ears: Vec<_> = interfaces.iter().map(|name| scope.spawn(move || on(name))).collect();
        ears.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    })
}
