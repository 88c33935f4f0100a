//! Which sockets the instances need, from what they are told to be and where they find themselves.

use super::instance::Instance;
use super::io::Port;
use crate::spec::{Auth, InstanceId, InstanceSpec, Spec, Transport};
use crate::wire::{PROTOCOL_AH, PROTOCOL_VRRP};
use rustc_hash::{FxHashMap, FxHashSet};
use std::net::IpAddr;

/// One entry a distinct socket, in the order of the first instance that needs it. An instance without a link, or for
/// unicast without a source, needs none yet.
pub(super) fn ports(spec: &Spec, instances: &[Instance]) -> Vec<(Port, Vec<InstanceId>)> {
    let mut ports: Vec<(Port, Vec<InstanceId>)> = Vec::new();
    let mut places = FxHashMap::<Port, usize>::default();
    for (id, (spec, instance)) in (0..).map(InstanceId).zip(spec.instances.iter().zip(instances)) {
        let Some(port) = port(spec, instance) else { continue };
        let place = *places.entry(port.clone()).or_insert(ports.len());
        match ports.get_mut(place) {
            Some((_, users)) => users.push(id),
            None => ports.push((port, vec![id])),
        }
    }
    ports
}

fn port(spec: &InstanceSpec, instance: &Instance) -> Option<Port> {
    let binding = &instance.binding;
    let ifindex = Some(binding.transmit).filter(|index| *index != 0);
    match &spec.transport {
        Transport::Multicast { .. } => Some(port_on(spec, Some(ifindex?), None)),
        Transport::Unicast { .. } => {
            if ifindex.is_none() && (spec.interface.is_some() || spec.vrf.is_some()) {
                return None;
            }
            // The last goodbye comes from an address that is lost.
            Some(port_on(spec, ifindex, Some(binding.source.or(instance.spoke_from())?)))
        }
    }
}

/// The socket of an instance on that interface; `source` is what it speaks from.
fn port_on(spec: &InstanceSpec, ifindex: Option<u32>, source: Option<IpAddr>) -> Port {
    let protocol = if matches!(spec.auth, Auth::Ah(_)) { PROTOCOL_AH } else { PROTOCOL_VRRP };
    let (group, local) = match &spec.transport {
        Transport::Multicast { group } => (Some(*group), None),
        Transport::Unicast { .. } => (None, source),
    };
    Port { family: spec.family, ifindex, group, local, protocol }
}

/// How many sockets the instances need when all of their interfaces are there: an instance with a virtual link has one of its
/// own. Unicast instances without `unicast_src_ip` are taken to speak from one address where they share an interface.
pub fn most_ports(spec: &Spec) -> usize {
    // Interfaces have no numbers yet; those that will be different ones get different ones.
    let mut links = FxHashMap::default();
    let ports: FxHashSet<Port> = (0..)
        .map(InstanceId)
        .zip(&spec.instances)
        .map(|(id, instance)| {
            let own = instance.virtual_link.as_ref().map(|_| id);
            let next = u32::try_from(links.len()).unwrap_or(u32::MAX);
            let number = *links.entry((&instance.interface, own)).or_insert(next);
            port_on(instance, Some(number), instance.source)
        })
        .collect();
    ports.len()
}
