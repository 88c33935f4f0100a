//! Who can hear whom, who takes what he hears, and when that cannot be said.

use super::clocks;
use super::node::Node;
use super::said;
use super::scenario::Conduct;
use super::world::World;
use crate::spec::{Auth, InstanceId, InstanceSpec, Transport, VirtualLink};
use crate::time::Interval;
use crate::vrrp::io::RxMeta;
use crate::wire::advert::{AUTH_NONE, AUTH_PASS, Head};
use crate::wire::{Family, Priority, Version};
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

/// Does `from` count for `to`: heard, and not taken for another installation's?
pub(super) fn heeds(world: &World<'_>, from: (usize, InstanceId), to: (usize, InstanceId)) -> bool {
    let of = |(node, instance): (usize, InstanceId)| {
        let spec = &world.nodes.get(node)?.spec;
        Some((spec, spec.instances.get(instance.index())?))
    };
    let foreign = of(from)
        .zip(of(to))
        .is_some_and(|((_, theirs), (spec, own))| own.is_foreign(theirs.advertised(), |address| spec.claims(address)));
    !foreign && hears(world, from, to)
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
        Some(Transport::Multicast { .. }) => segment == other && !kept_by_vmac(a, from.1, b, to.1, index),
        Some(Transport::Unicast { peers, .. }) => {
            let has = |address: IpAddr| b.kernel.whose(address).is_some_and(|own| own == index);
            peers.iter().any(|peer| has(peer.address))
        }
        None => false,
    }
}

/// The kernel gives what comes from the hardware address of a VMAC to the VMAC with that address, and to nobody on the interface
/// below it: who has such a VMAC and listens below (`vmac_xmit_base`) does not hear who speaks through his.
fn kept_by_vmac(from: &Node, speaker: InstanceId, to: &Node, listener: InstanceId, index: u32) -> bool {
    let speaks = from.spec.instances.get(speaker.index()).filter(|own| !own.transmit_base);
    let mac = speaks.and_then(|own| match &own.virtual_link {
        Some(VirtualLink::Vmac { mac, .. }) => Some(*mac),
        _ => None,
    });
    let below = |own: &InstanceSpec| own.virtual_link.is_none() || own.transmit_base;
    to.spec.instances.get(listener.index()).is_some_and(below) && mac.is_some_and(|mac| to.kernel.has_vmac(index, mac))
}

/// Does this instance of a node take an advert that reaches the node? `None`: that depends on what was said before (AH,
/// `auth_hmac`, `skip_check_adv_addr`), or on which of several instances it is for.
pub(super) fn takes(node: &Node, instance: InstanceId, meta: &RxMeta, bytes: &[u8]) -> Option<bool> {
    let own = |instance: &InstanceId| fits(node, *instance, meta, bytes) != Some(false);
    let all = (0..node.spec.instances.len()).map(|position| InstanceId(position as u32));
    match fits(node, instance, meta, bytes) {
        Some(true) if all.filter(own).count() > 1 => None,
        answer => answer,
    }
}

/// As [`takes`], with nobody else on the node that it could be for.
fn fits(node: &Node, instance: InstanceId, meta: &RxMeta, bytes: &[u8]) -> Option<bool> {
    let (spec, head) = (node.spec.instances.get(instance.index())?, said::head(bytes)?);
    let below = node.kernel.link(meta.ifindex).map(|link| if link.lower == 0 { link.index } else { link.lower });
    let here = spec.interface.is_none() || below == node.interface_of(instance);
    let meant = match &spec.transport {
        Transport::Multicast { group } => meta.destination == *group,
        Transport::Unicast { peers, check_source, .. } => {
            let peer = || peers.iter().any(|peer| peer.address == meta.source);
            !meta.destination.is_multicast() && (!check_source || peer())
        }
    };
    let deaf = spec.owner_ignore_adverts && spec.priority == Priority::OWNER;
    let same = head.vrid == spec.vrid.get() && Family::of(&meta.source) == spec.family && says(spec, &head);
    let names = || said::addresses(bytes).into_iter();
    let foreign = same && spec.is_foreign(names(), |address| node.spec.claims(address));
    if !here || !meant || deaf || !same {
        return Some(false);
    }
    if foreign {
        // Who was followed before is followed with another list too.
        return None;
    }
    let (kind, word) = match (spec.version, spec.family) {
        (Version::V2, Family::V4) => said::credentials(bytes).unwrap_or_default(),
        _ => (AUTH_NONE, None),
    };
    match &spec.auth {
        Auth::None => Some(kind == AUTH_NONE),
        Auth::Pass(own) => Some(kind == AUTH_PASS && word == Some(*own)),
        Auth::Ah(_) | Auth::Hmac(_) => None,
    }
}

/// Version, and of version 2 the interval, are those of the instance.
fn says(spec: &InstanceSpec, head: &Head) -> bool {
    match spec.version {
        Version::V2 => head.version == 2 && Interval::from_secs(head.sixth.into()) == spec.interval,
        Version::V3 => head.version == 3,
    }
}
