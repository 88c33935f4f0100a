//! Instances in each other's way on one server: the same VRID on one interface, the same VMAC for two.

use crate::config::report::{Class, Diagnostic};
use crate::config::table::block::Cx;
use crate::config::text::source::Span;
use crate::config::top::Top;
use crate::config::vrrp::instance::Instance;
use crate::config::vrrp::tracker::Named;
use crate::spec::*;
use rustc_hash::FxHashMap;
use std::net::IpAddr;

/// Unicast instances that nothing but their interface tells apart; one without an interface is not told apart from any.
#[derive(Default)]
struct Talkers {
    first: Option<usize>,
    without_interface: Option<usize>,
    on: FxHashMap<IfName, usize>,
}

impl Talkers {
    /// The first one that is like this one, which joins if there is none.
    fn join(&mut self, interface: Option<&IfName>, at: usize) -> Option<usize> {
        let found = match interface {
            None => self.first,
            Some(name) => self.on.get(name).copied().or(self.without_interface),
        };
        if found.is_none() {
            self.first.get_or_insert(at);
            match interface {
                None => self.without_interface = Some(at),
                Some(name) => drop(self.on.insert(name.clone(), at)),
            }
        }
        found
    }
}

/// Two instances with one VRID in one place: true when that cannot be run.
pub fn clashes(top: &Top, spec: &mut Spec, cx: &mut Cx<'_>) -> bool {
    let mut clash = false;
    let mut complain = |one: usize, other: usize, place: &str, cx: &mut Cx<'_>| {
        let (Some(first), Some(second)) = (top.instances.get(one), top.instances.get(other)) else { return };
        let span = |own: &Named<Instance>| own.settings.vrid.span().unwrap_or(own.span);
        let vrid = second.settings.vrid.or(0);
        let message = format!("{} and {} both use VRID {vrid} {place}", first.name, second.name);
        let complaint = Diagnostic::new(Class::General, span(second), message).related(span(first), "used here first");
        cx.push(complaint.help("give one of them another virtual_router_id, on all routers alike"));
        clash = true;
    };
    let mut multicast: FxHashMap<(u8, bool, IpAddr, Option<IfName>), usize> = FxHashMap::default();
    // By whom they speak as and to: VRID, family, source, peer.
    let mut unicast: FxHashMap<(u8, bool, Option<IpAddr>, IpAddr), Talkers> = FxHashMap::default();
    for (at, instance) in spec.instances.iter().enumerate() {
        let v4 = instance.family == crate::wire::Family::V4;
        match &instance.transport {
            Transport::Multicast { group } => {
                let key = (instance.vrid.get(), v4, *group, instance.interface.clone());
                let exists = instance.interface.as_ref().is_some_and(|i| cx.env.system.interface(i.as_str()).is_some());
                match multicast.get(&key) {
                    Some(first) if exists => {
                        let place =
                            format!("with {} on {}", instance.family, key.3.as_ref().map_or("", |i| i.as_str()));
                        complain(*first, at, &place, cx);
                    }
                    Some(_) => {}
                    None => drop(multicast.insert(key, at)),
                }
            }
            Transport::Unicast { peers, .. } => {
                let mut told = false;
                for peer in peers {
                    let talkers = unicast.entry((instance.vrid.get(), v4, instance.source, peer.address)).or_default();
                    let first = talkers.join(instance.interface.as_ref(), at);
                    if let Some(first) = first.filter(|_| !told) {
                        complain(first, at, &format!("with the peer {}", peer.address), cx);
                        told = true;
                    }
                }
            }
        }
    }
    if !clash {
        shared_vmacs(top, spec, cx);
    }
    clash
}

/// Instances that are not in one sync group must not put addresses on the same VMAC.
fn shared_vmacs(top: &Top, spec: &mut Spec, cx: &mut Cx<'_>) {
    let mut makers: FxHashMap<(u8, bool, IfName), Vec<usize>> = FxHashMap::default();
    for (at, instance) in spec.instances.iter().enumerate() {
        if let (Some(VirtualLink::Vmac { .. }), Some(base)) = (&instance.virtual_link, &instance.interface) {
            let v4 = instance.family == crate::wire::Family::V4;
            makers.entry((instance.vrid.get(), v4, base.clone())).or_default().push(at);
        }
    }
    let mut faults: Vec<(usize, Span, String)> = Vec::new();
    for (at, instance) in spec.instances.iter().enumerate() {
        for address in instance.claim.addresses.iter().filter(|a| a.use_vmac) {
            let Some(base) = address.interface.as_ref().or(instance.interface.as_ref()) else { continue };
            let key = (instance.vrid.get(), address.address.is_ipv4(), base.clone());
            for &maker in makers.get(&key).into_iter().flatten().filter(|maker| **maker != at) {
                let Some(other) = spec.instances.get(maker) else { continue };
                if other.group.is_some() && other.group == instance.group {
                    continue;
                }
                let span = top.instances.get(at).map(|own| own.span);
                let message = format!(
                    "{} of {} is on the VMAC of {}, which stays in FAULT",
                    address.address, instance.name, other.name
                );
                faults.extend(span.map(|span| (maker, span, message)));
            }
        }
    }
    for (at, span, message) in faults {
        if let Some(instance) = spec.instances.get_mut(at).filter(|i| i.config_fault.is_none()) {
            instance.config_fault = Some("another instance has addresses on its VMAC".into());
            cx.mistake(span, message, "put both instances into one sync group, or give them different VRIDs");
        }
    }
}
