//! Which sockets the instances need, from what they are told to be and where they find themselves.

use super::instance::Instance;
use super::io::Port;
use crate::spec::{Auth, InstanceId, InstanceSpec, Spec, Transport};
use crate::wire::{PROTOCOL_AH, PROTOCOL_VRRP};

/// One entry a distinct socket, in the order of the first instance that needs it. An instance without a link, or for
/// unicast without a source, needs none yet.
pub(super) fn ports(spec: &Spec, instances: &[Instance]) -> Vec<(Port, Vec<InstanceId>)> {
    let mut ports: Vec<(Port, Vec<InstanceId>)> = Vec::new();
    let mut places = std::collections::HashMap::<Port, usize>::new();
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
    let protocol = if matches!(spec.auth, Auth::Ah(_)) { PROTOCOL_AH } else { PROTOCOL_VRRP };
    let family = spec.family;
    match &spec.transport {
        Transport::Multicast { group } => {
            let ifindex = Some(binding.transmit).filter(|index| *index != 0)?;
            Some(Port { family, ifindex: Some(ifindex), group: Some(*group), local: None, protocol })
        }
        Transport::Unicast { .. } => {
            let ifindex = Some(binding.transmit).filter(|index| *index != 0);
            if ifindex.is_none() && (spec.interface.is_some() || spec.vrf.is_some()) {
                return None;
            }
            // The last goodbye comes from an address that is lost.
            let local = Some(binding.source.or(instance.spoke_from())?);
            Some(Port { family, ifindex, group: None, local, protocol })
        }
    }
}
