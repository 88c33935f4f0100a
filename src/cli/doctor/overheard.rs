//! Masters whose adverts are on the wire and do not reach the daemon: it has no ear for what they speak (AH beside PASS,
//! multicast beside unicast), or something on this machine takes the adverts away before it hears them.
//!
//! The daemon cannot tell, so it is listened here, beside it, for as long as an advert may take. Nothing is sent.

use super::running::Asked;
use super::{Case, Finding, Weight, elsewhere, network};
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
    /// The hardware address that it came from.
    pub mac: Option<[u8; 6]>,
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
    let (present, hardware) = (case.machine.addresses(), case.machine.hardware());
    for Overheard { instance, source, refused, mac } in case.machine.overhear(&interfaces, case.spec, patience) {
        let Some(ours) = alone.iter().find(|own| *own.name == *instance) else { continue };
        // What the daemon hears and leaves alone it tells of itself.
        if refused == Some(Refusal::Foreign) {
            continue;
        }
        let own = present.iter().any(|(_, address)| *address == source)
            || ours.source.as_deref() == Some(&source.to_string());
        // What comes back of its own adverts has a hardware address of this machine.
        let reflected = mac.is_none_or(|mac| hardware.values().any(|known| *known == mac));
        if own && reflected || !told.insert((instance.clone(), source)) {
            continue;
        }
        if own {
            found.push(elsewhere::double_source(&instance, source, &mac.into_iter().collect()));
            continue;
        }
        let on = case.instances().iter().find(|spec| spec.name == instance).and_then(|spec| spec.interface.as_ref());
        let vmac = mac.and_then(|mac| hardware.iter().find(|(_, known)| **known == mac)).map(|(name, _)| name);
        let dropped = || match (on, vmac) {
            (Some(on), Some(vmac)) if vmac != on.as_str() => Some((
                format!(
                    "they come from the hardware address of {vmac} here, and the kernel gives them to {vmac} alone"
                ),
                "vmac_xmit_base on all servers or on none".to_owned(),
            )),
            (Some(on), _) => forged(case, on, source).or_else(|| taken(case, on)),
            (None, _) => None,
        };
        let (what, cure) = match (refused, dropped()) {
            (Some(why), _) => {
                let cure = words::refusal_cure(why).unwrap_or("the same settings on all servers");
                (words::refusal(why).to_owned(), cure.to_owned())
            }
            (None, Some(said)) => said,
            (None, None) => (
                "something on this machine takes them away".to_owned(),
                "look at firewalls here: `nft list ruleset`, `iptables -S INPUT`, `tc filter show`; VRRP is IP protocol 112"
                    .to_owned(),
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

/// Where what arrives on this interface goes to the bridge or bond that it belongs to: that, and the cure.
fn taken(case: &Case<'_>, on: &IfName) -> Option<(String, String)> {
    let above = network::port_of(case, on.as_str())?;
    Some((format!("what arrives on {on} goes to {above}, whose port it is"), format!("`interface {above}`")))
}

/// Where the kernel drops what comes from this sender on this interface, since its way back is another one: that, and the cure.
fn forged(case: &Case<'_>, on: &IfName, source: IpAddr) -> Option<(String, String)> {
    let filter = |key: &str| case.sysctl(&format!("net/ipv4/conf/{key}/rp_filter")).unwrap_or(0);
    let way = case.machine.run(&["ip", "-o", "route", "get", &source.to_string()])?;
    let words: Vec<&str> = way.stdout.split_whitespace().collect();
    let through = words.windows(2).find_map(|pair| match pair {
        ["dev", name] => Some(*name),
        _ => None,
    });
    let strict = source.is_ipv4() && filter("all").max(filter(on.as_str())) == 1;
    let local = words.first() == Some(&"local");
    let (way, hint) = match through {
        Some(name) if name != on.as_str() && (strict || local) => (format!("through {name}"), strict && !local),
        Some(_) => return None,
        None if source.is_ipv4() && filter("all").max(filter(on.as_str())) != 0 => ("nowhere".to_owned(), true),
        None => return None,
    };
    let filter = if hint { format!(", or sysctl -w net.ipv4.conf.{on}.rp_filter=2") } else { String::new() };
    Some((
        format!("the kernel takes what comes from there on {on} for forged, as the way to {source} goes {way}"),
        format!("correct the route: `ip route get {source}` has to say dev {on}{filter}"),
    ))
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
            let mac = frame.mac;
            let meta = RxMeta { ifindex: 0, source, destination, ttl: Some(ttl) };
            let verdict = bystander.judge(Some(name), meta, datagram, clock::wall().unix_micros);
            let instance = verdict.instance.and_then(|id| spec.instances.get(id.index()));
            if let Some(instance) = instance.filter(|_| heard.len() < 64) {
                heard.push(Overheard { instance: instance.name.clone(), source, refused: verdict.refused, mac });
            }
        }
    };
    std::thread::scope(|scope| {
        let ears: Vec<_> = interfaces.iter().map(|name| scope.spawn(move || on(name))).collect();
        ears.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    })
}
