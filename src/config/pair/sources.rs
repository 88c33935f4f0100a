//! From which addresses servers speak that do not say it themselves: a unicast instance without `unicast_src_ip` speaks from
//! its interface's address, which stands in no file of its own but among the peers of the others.

use super::{Member, Servers, routers};
use crate::spec::{Spec, Transport};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// The address of an instance's interface, as the other servers call it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Guess {
    /// Position among the servers.
    pub server: usize,
    /// Name of the instance.
    pub instance: Box<str>,
    pub address: IpAddr,
}

/// Own addresses of unicast instances that do not name one: what the others name and they themselves do not; where every
/// server's file has the same list, one of the list each.
pub(crate) fn guessed(specs: &[&Spec]) -> Vec<Guess> {
    let nameless = |spec: &&&Spec| spec.instances.iter().any(|own| own.source.is_none() && peers(own).next().is_some());
    if !specs.iter().any(|spec| nameless(&spec)) {
        return Vec::new();
    }
    let list: Vec<(String, &Spec)> = specs.iter().map(|spec| (String::new(), *spec)).collect();
    routers(&Servers::new(&list)).iter().flat_map(|router| of_router(router)).collect()
}

fn of_router(router: &[Member<'_>]) -> Vec<Guess> {
    let mut free: BTreeSet<IpAddr> = router.iter().flat_map(|member| peers(member.instance)).collect();
    for source in router.iter().filter_map(|member| member.instance.source) {
        free.remove(&source);
    }
    let mut left: Vec<&Member<'_>> =
        router.iter().filter(|m| m.instance.source.is_none() && peers(m.instance).next().is_some()).collect();
    let mut found = Vec::new();
    let mut take = |member: &Member<'_>, address: IpAddr, free: &mut BTreeSet<IpAddr>| {
        free.remove(&address);
        found.push(Guess { server: member.server, instance: member.instance.name.clone(), address });
    };
    // Who names all but one of them is that one; each that is found may leave one only to another.
    while let Some((at, address)) = left.iter().enumerate().find_map(|(at, member)| {
        let own: BTreeSet<IpAddr> = peers(member.instance).collect();
        let mut rest = free.difference(&own);
        Some((at, *rest.next()?)).filter(|_| rest.next().is_none())
    }) {
        take(left.remove(at), address, &mut free);
    }
    // All have the same list, or the lists do not fit: the last of them has what is left, which others send to.
    for member in left.into_iter().rev() {
        let Some(address) = free.last().copied() else { break };
        take(member, address, &mut free);
    }
    found
}

fn peers(instance: &crate::spec::InstanceSpec) -> impl Iterator<Item = IpAddr> + '_ {
    let peers = match &instance.transport {
        Transport::Unicast { peers, .. } => peers.as_slice(),
        Transport::Multicast { .. } => &[],
    };
    peers.iter().map(|peer| peer.address)
}
