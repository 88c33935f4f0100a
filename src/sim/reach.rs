//! Who can hear whom, and when that cannot be said.

use super::clocks;
use super::node::Node;
use super::scenario::Conduct;
use super::world::World;
use crate::spec::{InstanceId, Transport};
use std::net::IpAddr;

/// Something goes on by which no law about calm can be asked for.
pub(super) fn unsettled(world: &World<'_>) -> bool {
    let restless =
        |node: &Node| node.awake() && (!node.kernel.is_well(world.now) || node.conduct.contains(&Conduct::Flap));
    world.lan.settings.loss > 0 || world.nodes.iter().any(restless) || clocks::unclear(&world.nodes, world.now)
}

/// Do these two instances hear each other, both ways?
pub(super) fn connected(world: &World<'_>, x: (usize, InstanceId), y: (usize, InstanceId)) -> bool {
    hears(world, x, y) && hears(world, y, x)
}

/// Does `to` hear what `from` says?
pub(super) fn hears(world: &World<'_>, from: (usize, InstanceId), to: (usize, InstanceId)) -> bool {
    let end = |(n, i): (usize, InstanceId)| {
        let node = world.nodes.get(n)?;
        let index = node.interface_of(i).filter(|index| node.carries(*index))?;
        Some((node, index, node.wire(index)?))
    };
    let (Some((a, _, segment)), Some((b, index, other))) = (end(from), end(to)) else { return false };
    if !world.lan.hears(from.0, to.0, segment) {
        return false;
    }
    if b.spec.instances.get(to.1.index()).is_some_and(|spec| !clocks::agree(a, b, &spec.auth, world.now)) {
        return false;
    }
    match a.spec.instances.get(from.1.index()).map(|i| &i.transport) {
        Some(Transport::Multicast { .. }) => segment == other,
        Some(Transport::Unicast { peers, .. }) => {
            let has = |address: IpAddr| b.kernel.whose(address).is_some_and(|own| own == index);
            peers.iter().any(|peer| has(peer.address))
        }
        None => false,
    }
}
