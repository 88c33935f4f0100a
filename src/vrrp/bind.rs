//! Where an instance stands in the world of interfaces: which links it uses, which address it speaks from, and what is
//! wrong with that.
//!
//! Recomputed from the present picture of the links whenever that changes; nothing is remembered, so that every
//! fault can be left again.

use super::io::{Fault, Link, LinkAddress};
use super::links::{Known, Links};
use crate::spec::{IfName, InstanceSpec, Transport, VirtualLink};
use crate::wire::{Family, Priority};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Links and address of an instance at the moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Binding {
    /// Index of the configured interface (or of the VRF of a unicast instance without interface); 0 if there is none.
    pub(super) base: u32,
    /// Index of the link that addresses are put on: the VMAC or ipvlan, else `base`.
    pub(super) link: u32,
    /// Index of the link that adverts go through.
    pub(super) transmit: u32,
    /// Name of the virtual link, if the instance has one and it is there.
    pub(super) link_name: Option<IfName>,
    /// Where adverts are sent from.
    pub(super) source: Option<IpAddr>,
    /// The source is tentative: nothing can be sent from it yet.
    pub(super) speechless: bool,
    /// Adverts have a link to go through, if they need one.
    pub(super) can_send: bool,
}

/// Addresses that this configuration sets.
#[derive(Clone, Copy)]
pub(super) struct Ours<'a> {
    /// Virtual somewhere, and therefore nobody's own.
    pub claimed: &'a BTreeSet<IpAddr>,
    /// There for good. keepalived looks for its source before it sets them, so they are the last choice.
    pub statics: &'a BTreeSet<IpAddr>,
}

/// Binds `spec` to the links that are there, and names what stands against it.
pub(super) fn bind(
    spec: &InstanceSpec,
    links: &Links,
    ours: Ours<'_>,
    before: Option<IpAddr>,
) -> (Binding, Vec<Fault>) {
    let mut faults = Vec::new();
    let mut binding = Binding::default();
    let base = spec.interface.as_ref().or(spec.vrf.as_ref()).and_then(|name| match links.named(name) {
        Some(known) => Some(known),
        None => {
            faults.push(Fault::InterfaceMissing(name.clone()));
            None
        }
    });
    binding.base = base.map_or(0, |known| known.link.index);
    binding.link = binding.base;
    let mut link = base;
    if let (Some(kind), Some(known)) = (&spec.virtual_link, base) {
        link = virtual_link(spec, kind, &known.link, links);
        // Before its own: a virtual link does not run without the one below it, and this is what can be helped.
        if spec.track_primary && !known.running {
            faults.push(Fault::BaseInterfaceDown(known.link.name.clone()));
        }
        match link {
            Some(own) => {
                binding.link = own.link.index;
                binding.link_name = Some(own.link.name.clone());
                if spec.track_primary && !own.running {
                    faults.push(Fault::InterfaceDown(own.link.name.clone()));
                }
            }
            None => {
                binding.link = 0;
                faults.extend(expected_name(spec, kind).map(Fault::InterfaceMissing));
            }
        }
    } else if let (Some(known), true) = (base, spec.track_primary)
        && !known.running
    {
        faults.push(Fault::InterfaceDown(known.link.name.clone()));
    }
    binding.transmit = if spec.transmit_base { binding.base } else { binding.link };
    binding.can_send = binding.transmit != 0 || (spec.interface.is_none() && spec.vrf.is_none());
    binding.source = source(spec, base, link, ours, before, |address| address.usable);
    if binding.source.is_none() && waits_for_its_address(spec) {
        binding.source = source(spec, base, link, ours, before, |address| address.tentative);
        binding.speechless = binding.source.is_some();
    }
    match spec.source {
        None if binding.source.is_none() && base.is_some() => faults.push(Fault::NoSourceAddress),
        // One that is virtual here comes and goes with mastership.
        Some(address) if (spec.track_source || !ours.claimed.contains(&address)) && !links.has_address(address) => {
            faults.push(Fault::SourceAbsent(address));
        }
        _ => {}
    }
    for name in spec.needed_interfaces() {
        match links.named(name) {
            None => faults.push(Fault::InterfaceMissing(name.clone())),
            Some(known) if !known.running => faults.push(Fault::InterfaceDown(name.clone())),
            Some(_) => {}
        }
    }
    (binding, faults)
}

/// The name that a virtual link without a configured one is given first.
fn expected_name(spec: &InstanceSpec, kind: &VirtualLink) -> Option<IfName> {
    let (VirtualLink::Vmac { name, prefix, .. } | VirtualLink::Ipvlan { name, prefix, .. }) = kind;
    match name {
        Some(name) => Some(name.clone()),
        None => {
            let tail = format!(".{}", spec.vrid);
            let room = 15_usize.saturating_sub(tail.len());
            let front: String = prefix.chars().take(room).collect();
            IfName::new(&format!("{front}{tail}"))
        }
    }
}

/// The virtual link of an instance among those that are there. A VMAC is known by its parent and its address whatever
/// its name. An ipvlan has its parent's address: it is known by its name, and where none was configured by a name of
/// the form that one is given (`vrrp.51`, or `vrrp1.51` where that was taken).
fn virtual_link<'a>(spec: &InstanceSpec, kind: &VirtualLink, base: &Link, links: &'a Links) -> Option<&'a Known> {
    let on_base = |known: &&Known| known.link.lower == base.index;
    match kind {
        VirtualLink::Vmac { mac, .. } => {
            let mut own = links.iter().filter(|known| &*known.link.kind == "macvlan").filter(on_base);
            if let Some(known) = own.find(|known| known.link.mac == Some(*mac)) {
                return Some(known);
            }
        }
        VirtualLink::Ipvlan { name: None, prefix, .. } => {
            let mut own = links.iter().filter(|known| &*known.link.kind == "ipvlan").filter(on_base);
            return own.find(|known| VirtualLink::is_given_name(prefix, spec.vrid, &known.link.name));
        }
        VirtualLink::Ipvlan { .. } => {}
    }
    let name = expected_name(spec, kind)?;
    links.named(&name).filter(|known| on_base(known) || known.link.lower == 0)
}

/// May it be a backup while its address is tentative, as one of keepalived's is? An address owner would speak at once, and a
/// unicast socket is bound to the address.
fn waits_for_its_address(spec: &InstanceSpec) -> bool {
    let multicast = !matches!(spec.transport, Transport::Unicast { .. });
    spec.family == Family::V6 && multicast && spec.priority != Priority::OWNER
}

/// The address that adverts come from: as configured, else the first own one of the interface (link-local for IPv6) that `will_do`.
fn source(
    spec: &InstanceSpec,
    base: Option<&Known>,
    link: Option<&Known>,
    ours: Ours<'_>,
    before: Option<IpAddr>,
    will_do: impl Fn(&LinkAddress) -> bool,
) -> Option<IpAddr> {
    if let Some(address) = spec.source {
        return Some(address);
    }
    if let Some(VirtualLink::Ipvlan { address: Some((address, _)), .. }) = &spec.virtual_link {
        return Some(*address);
    }
    let owner = spec.priority == Priority::OWNER;
    let fitting = |address: &IpAddr| match (spec.family, address) {
        (Family::V4, IpAddr::V4(_)) => true,
        (Family::V6, IpAddr::V6(a)) => a.is_unicast_link_local(),
        _ => false,
    };
    let of = |known: &Known| {
        let own = || known.link.addresses.iter().filter(|a| will_do(a) && fitting(&a.address)).map(|a| a.address);
        let free = || own().filter(|a| !ours.claimed.contains(a));
        let first = || free().find(|a| !ours.statics.contains(a)).or_else(|| free().next());
        let kept = before.filter(|old| free().any(|a| a == *old));
        // The address owner's virtual addresses are its real ones.
        kept.or_else(first).or_else(|| owner.then(|| own().next()).flatten())
    };
    // They go when it is in FAULT, and must not be what keeps it there.
    let of_owner = || {
        let here = spec.claim.addresses.iter().filter(|a| a.interface.is_none() || a.interface == spec.interface);
        here.map(|a| a.address).find(fitting).filter(|_| owner && base.is_some())
    };
    let found = match (spec.family, link, base) {
        // What leaves through a virtual link needs that link's own link-local address.
        (Family::V6, Some(link), Some(base)) if !spec.transmit_base => of(link).or_else(|| of(base)),
        (_, _, Some(base)) => of(base),
        // Unicast without interface always has a configured source; a missing interface has none.
        _ => None,
    };
    found.or_else(of_owner)
}
