//! How an instance reaches the other routers: its interface, unicast peers or a multicast group, and what goes together.

use super::instance::{Rules, say};
use crate::config::report::{Class, Diagnostic};
use crate::config::system::Link;
use crate::config::table::block::Cx;
use crate::config::vrrp::instance::Instance;
use crate::config::vrrp::instance::read::says_unicast;
use crate::config::vrrp::tracker::Named;
use crate::spec::Transport;
use crate::wire::Family;
use std::net::{IpAddr, Ipv6Addr};

/// An instance without unicast peers, but with keywords that are for unicast: the reason for which it stays in FAULT, if it
/// does.
pub fn without_peers(own: &Named<Instance>, cx: &mut Cx<'_>) -> Option<Box<str>> {
    let span = says_unicast(&own.settings)?;
    if let Some(refused) = own.settings.refused_peer {
        // keepalived goes over to multicast here, where nobody may listen: in a cloud both routers become MASTER.
        // One slip is one complaint: what is wrong with the line has been said there.
        let told = |d: &&mut Diagnostic| d.class.is_mistake() && d.span.is_some_and(|s| s.start == refused.start);
        if let Some(told) = cx.diagnostics.list.iter_mut().rev().find(told) {
            told.message += &format!(", and {} has no other one: it stays in FAULT", own.name);
            return Some("none of the unicast peers can be used".into());
        }
        let message = format!("{} has no unicast peer that can be used and stays in FAULT", own.name);
        let complaint = Diagnostic::new(Class::General, span, message).related(refused, "this peer is left out");
        cx.push(complaint.help("correct the lines of unicast_peer, or remove the block to use multicast"));
        return Some("none of the unicast peers can be used".into());
    }
    if own.settings.fault_no_peer.is_some() {
        cx.note(span, format!("{} has no unicast peers and stays in FAULT", own.name));
        return Some("unicast without peers (unicast_fault_no_peer)".into());
    }
    let message = format!("{} has a unicast keyword but no unicast peer; it uses multicast", own.name);
    let known = cx.class_without(&["unicast_src_ip"], (own.span, own.close)) == Class::Follows;
    let class = if known { Class::Follows } else { Class::Deprecated };
    cx.push(Diagnostic::new(class, span, message).help("add a unicast_peer block, or remove it"));
    None
}

/// The rules between an instance and `link`, its interface, where that is there. What cannot work becomes `fault`; false
/// where nothing can be run with it.
pub fn fits_interface(
    own: &mut Named<Instance>,
    link: Option<&Link>,
    rules: Rules,
    fault: &mut Option<Box<str>>,
    cx: &mut Cx<'_>,
) -> bool {
    let Rules { family, strict, .. } = rules;
    let unicast = !own.settings.peers.is_empty();
    if strict && unicast && link.is_some_and(|link| link.multicast) {
        let span = own.settings.peers.first().map(|p| p.1);
        let message = "strict mode allows no unicast peers where multicast is possible; they are used all the same";
        say(cx, own, span, message, "remove vrrp_strict and strict_mode, or unicast_peer on all servers");
    }
    if own.settings.interface.is_none() && !goes_without_interface(own, cx) {
        return false;
    }
    if let Some(vmac) = own.settings.vmac.as_mut().filter(|vmac| strict && vmac.mac.is_some()) {
        vmac.mac = None;
        let span = vmac.span;
        let message = "strict mode allows no MAC address of one's own; it is ignored";
        say(cx, own, span, message, "remove the MAC address behind use_vmac");
    }
    let made = own.settings.vmac.is_some() || own.settings.ipvlan.is_some();
    if made && link.is_some_and(|link| !link.ethernet) {
        let message = "a VMAC needs an Ethernet interface; the instance stays in FAULT";
        let cure = "remove use_vmac and use_ipvlan, or name an Ethernet interface";
        say(cx, own, own.settings.interface.span(), message, cure);
        *fault = Some("VMAC on an interface that is not Ethernet".into());
        (own.settings.vmac, own.settings.ipvlan) = (None, None);
    }
    if !unicast && link.is_some_and(|link| !link.multicast) {
        let message = "this interface cannot multicast; give unicast peers. It stays in FAULT";
        let cure = "write a `unicast_peer` list with the addresses of the other routers";
        say(cx, own, own.settings.interface.span(), message, cure);
        *fault = Some("the interface cannot multicast".into());
    }
    first_v6_address(own, family, unicast, strict, cx);
    if let Some(vrf) = own.settings.vrf.take_if(|_| own.settings.interface.is_some() || !unicast) {
        let message = "`vrf` is for unicast instances without interface; ignored";
        say(cx, own, Some(vrf.span), message, "remove `vrf`, or `interface`");
    }
    true
}

/// Without an interface the source address must say which way adverts go.
fn goes_without_interface(own: &Named<Instance>, cx: &mut Cx<'_>) -> bool {
    match own.settings.source.value() {
        None => {
            let cure = "write `unicast_src_ip ADDRESS`, or `interface IFNAME`";
            say(cx, own, None, "without interface, unicast_src_ip is needed", cure);
            false
        }
        Some(IpAddr::V6(source)) if is_link_local(source) => {
            let message = "without interface, the source must not be link-local";
            let cure = "write `interface IFNAME`, or another source address";
            say(cx, own, own.settings.source.span(), message, cure);
            false
        }
        Some(_) => true,
    }
}

fn is_link_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

fn first_v6_address(own: &Named<Instance>, family: Family, unicast: bool, strict: bool, cx: &mut Cx<'_>) {
    let Some((first, span)) = own.settings.addresses.advertised.first() else { return };
    let IpAddr::V6(address) = first.address else { return };
    if family == Family::V6 && !unicast && !is_link_local(address) {
        let message = format!("{}: the first IPv6 address must be link-local (RFC 9568)", own.name);
        let class = if strict { Class::General } else { Class::Note };
        cx.push(Diagnostic::new(class, *span, message).help("put an address of fe80::/10 in front"));
    }
}

/// Whom adverts go to.
pub fn transport(own: &Named<Instance>, family: Family, cx: &mut Cx<'_>) -> Transport {
    let settings = &own.settings;
    if !settings.peers.is_empty() {
        if let Some(group) = settings.group.as_ref() {
            say(
                cx,
                own,
                Some(group.span),
                "`mcast_dst_ip` has no meaning with unicast peers; ignored",
                "remove `mcast_dst_ip`",
            );
        }
        return Transport::Unicast {
            peers: settings.peers.iter().map(|(line, _)| line.peer).collect(),
            ttl: settings.unicast_ttl.map(|set| set.value as u8),
            check_source: settings.check_unicast_src.is_some()
                || cx.global.check_unicast_src.is_some()
                || settings.peers.iter().any(|(line, _)| line.check_source),
        };
    }
    let default = match family {
        Family::V4 => cx.global.mcast_group4(),
        Family::V6 => cx.global.mcast_group6(),
    };
    Transport::Multicast { group: settings.group.or(default) }
}
