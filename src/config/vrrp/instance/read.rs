//! Keywords of `vrrp_instance` with a grammar of their own, and those that depend on what stands before them.
//!
//! The first address of any kind settles the family of an instance; what does not fit it is left out where it stands.
//! So these functions work on the whole [`Instance`], in the order of the text.

use crate::config::global::read::GarpExtra;
use crate::config::line::{List, address, lists, route, rule};
use crate::config::report::{Class, Diagnostic};
use crate::config::security::{ScriptLine, script_line};
use crate::config::table::block::{Cx, Reader, Set, must};
use crate::config::table::values::{IFNAME, IPADDR, Value, int, uint};
use crate::config::text::source::Span;
use crate::config::text::tree::{Node, Word};
use crate::config::vrrp::instance::Instance;
use crate::config::vrrp::tracker::{Named, named, only_name};
use crate::spec::{HmacMode, IfName, OldUnicast, Route, Rule};
use crate::wire::Family;
use rustc_hash::FxHashMap;
use std::net::IpAddr;

/// `state`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    Master,
    Backup,
}

/// `auth_type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthKind {
    Pass,
    Ah,
}
pub(crate) const AUTH_KINDS: &[(&str, AuthKind)] = &[("PASS", AuthKind::Pass), ("AH", AuthKind::Ah)];
pub(crate) const HMAC_MODES: &[(&str, HmacMode)] =
    &[("enforce", HmacMode::Enforce), ("permissive", HmacMode::Permissive), ("receive-only", HmacMode::ReceiveOnly)];

/// `vrrp_instance NAME`.
pub fn read_instance(list: &mut Vec<Named<Instance>>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(name) = only_name(node, cx) else { return };
    if !cx.define("vrrp_instance", name) {
        return;
    }
    let Some(mut instance) = named::<Instance>(node, cx) else { return };
    let settings = &mut instance.settings;
    let made = settings.vmac.as_ref().and_then(|v| v.span).or(settings.ipvlan.as_ref().and_then(|v| v.span));
    if let (Some(_), Some(at), false) = (says_unicast(settings), made, cx.aborted) {
        if settings.interface.is_none() {
            cx.block_error(
                at,
                node.close,
                format!("{} has no interface to make a VMAC or ipvlan on; none is made", instance.name),
                "write `interface IFNAME`, or remove use_vmac and use_ipvlan",
            );
            (settings.vmac, settings.ipvlan) = (None, None);
        } else if settings.xmit_base.is_none() {
            let message = format!("{} is unicast with a VMAC or ipvlan; vmac_xmit_base is set", instance.name);
            cx.block_error(at, node.close, message, "write `vmac_xmit_base`");
            settings.xmit_base = Set::at((), at);
        }
    }
    if settings.peers.is_empty()
        && let Some(ttl) = settings.unicast_ttl.filter(|_| !cx.aborted)
    {
        let message = format!("`unicast_ttl` of {} has no effect without unicast peers", instance.name);
        cx.block_error(ttl.span, node.close, message, "add a unicast_peer list, or remove `unicast_ttl`");
        settings.unicast_ttl = Set::default();
    }
    list.push(instance);
}

pub(crate) fn complain(cx: &mut Cx<'_>, word: Word<'_>, message: String) {
    cx.error(word.span, message);
}

/// Does this family fit the instance? The first one settles it; another one is complained about.
pub(crate) fn fits(instance: &mut Instance, family: Family, word: Word<'_>, what: &str, cx: &mut Cx<'_>) -> bool {
    let own = *instance.family.get_or_insert(family);
    if own != family {
        let message = format!("{what} is {family}, but the instance is {own}; ignored");
        let complaint = Diagnostic::new(Class::General, word.span, message).label(format!("expected {own}"));
        cx.push(complaint.help("make an instance for each family"));
    }
    own == family
}

pub(crate) fn unicast_peer(instance: &mut Instance, node: &Node<'_>, cx: &mut Cx<'_>) {
    instance.unicast.get_or_insert(node.span);
    let mut listed: FxHashMap<IpAddr, Span> =
        instance.peers.iter().map(|(known, span)| (known.peer.address, *span)).collect();
    for line in node.body.iter().flatten() {
        let Some(peer) = cx.line(List::Virtual, lists::PEER, |cx| lists::peer(line, cx)) else {
            instance.refused_peer.get_or_insert(line.span);
            continue;
        };
        let address = peer.peer.address;
        if !fits(instance, Family::of(&address), line.keyword, "the peer", cx) {
            instance.refused_peer.get_or_insert(line.span);
            continue;
        }
        if let Some(first) = listed.get(&address) {
            let message = format!("peer {address} is listed twice; the first one holds");
            let complaint = Diagnostic::new(Class::General, line.span, message).related(*first, "first here");
            cx.push(complaint.help("keep one of the two lines"));
            continue;
        }
        listed.insert(address, line.span);
        instance.peers.push((peer, line.span));
    }
}

pub(crate) fn native_ipv6(instance: &mut Instance, node: &Node<'_>, cx: &mut Cx<'_>) {
    if instance.family == Some(Family::V4) {
        return cx.mistake(
            node.span,
            "`native_ipv6` comes after IPv4 addresses and is ignored",
            "remove `native_ipv6`, or the IPv4 addresses above it",
        );
    }
    instance.family = Some(Family::V6);
    instance.version = Set::at(3, node.span);
}

fn interface_word<'s>(node: &Node<'s>, cx: &mut Cx<'_>) -> Option<(Word<'s>, IfName)> {
    let Some(word) = node.args.first().copied() else {
        cx.abort(node, "an interface name");
        return None;
    };
    let name = IFNAME.take(word, node.keyword.text, cx)?;
    Some((word, name))
}

pub(crate) fn interface(instance: &mut Instance, node: &Node<'_>, cx: &mut Cx<'_>) {
    instance.interface_line = Some(node.span);
    let Some((word, name)) = interface_word(node, cx) else { return };
    instance.interface = Set::default();
    match cx.env.system.interface(word.text) {
        Some(link) if link.loopback => cx.push(
            Diagnostic::new(
                Class::General,
                word.span,
                format!("`{name}` is a loopback interface; VRRP cannot run on it"),
            )
            .help("name the interface that the other routers are on"),
        ),
        None if cx.global.dynamic_interfaces.is_none() => cx.push(
            Diagnostic::new(Class::General, word.span, format!("interface `{name}` does not exist"))
                .label("not on this machine")
                .help("correct the name, or set `dynamic_interfaces` in global_defs if it is made later"),
        ),
        _ => instance.interface = Set::at(name, word.span),
    }
    if instance.interface.is_none() && cx.env.system.interface(word.text).is_none() {
        cx.missing_interface = true;
    }
}

pub(crate) fn vrf(instance: &mut Instance, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some((word, name)) = interface_word(node, cx) else { return };
    if instance.interface.is_some() {
        return cx.mistake(
            word.span,
            "`vrf` is for instances without `interface`; ignored",
            "remove `vrf`, or `interface`",
        );
    }
    if let Some(first) = instance.vrf.as_ref() {
        return cx.again(word.span, "vrf", first.span, "the first one holds");
    }
    match cx.env.system.interface(word.text) {
        None if cx.global.dynamic_interfaces.is_none() => {
            cx.missing_interface = true;
            cx.mistake(
                word.span,
                format!("VRF interface `{name}` does not exist"),
                "correct the name, or set `dynamic_interfaces` in global_defs if it is made later",
            );
        }
        Some(link) if link.loopback => {
            cx.mistake(word.span, format!("`{name}` is a loopback interface; ignored"), "name a VRF device")
        }
        _ => instance.vrf = Set::at(name, word.span),
    }
}

pub(crate) fn source(instance: &mut Instance, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(word) = node.args.first().copied() else { return cx.abort(node, &IPADDR.expected()) };
    let Some(address) = IPADDR.take(word, node.keyword.text, cx) else { return };
    instance.source = Set::default();
    if fits(instance, Family::of(&address), word, "the source address", cx) {
        instance.source = Set::at(address, word.span);
    }
}

pub(crate) fn unicast_source(instance: &mut Instance, node: &Node<'_>, cx: &mut Cx<'_>) {
    instance.unicast.get_or_insert(node.span);
    source(instance, node, cx);
}

pub(crate) fn mcast_dst(instance: &mut Instance, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(word) = node.args.first().copied() else { return cx.abort(node, "a multicast address") };
    let Some(address) = IPADDR.take(word, node.keyword.text, cx) else { return };
    instance.group = Set::default();
    if !fits(instance, Family::of(&address), word, "the multicast group", cx) {
        return;
    }
    let usable = match address {
        IpAddr::V4(v4) => v4.is_multicast(),
        IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
    };
    if !usable {
        let expected = if address.is_ipv4() { "224.0.0.0 to 239.255.255.255" } else { "an address in ff02::/16" };
        let message = format!("`mcast_dst_ip` cannot be {address}");
        return cx.push(Diagnostic::new(Class::General, word.span, message).label(format!("expected {expected}")));
    }
    instance.group = Set::at(address, word.span);
}

pub(crate) fn old_unicast_checksum(field: &mut Set<OldUnicast>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let value = match node.args.first() {
        None => OldUnicast::Always,
        Some(w) if w.text == "never" => OldUnicast::Never,
        Some(w) => {
            let message = format!("`old_unicast_checksum` cannot be `{}` and is ignored", w.text);
            return cx.push(Diagnostic::new(Class::General, w.span, message).label("expected never or nothing"));
        }
    };
    *field = Set::at(value, node.span);
}

pub(crate) fn state(field: &mut Set<Wanted>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(word) = node.args.first().copied() else { return cx.abort(node, "MASTER or BACKUP") };
    let value = match word.text {
        "MASTER" => Wanted::Master,
        "BACKUP" => match field.as_ref() {
            Some(first) if first.value == Wanted::Master => {
                return cx.again(word.span, "state", first.span, "MASTER holds");
            }
            _ => Wanted::Backup,
        },
        other => {
            let message = format!("`state` cannot be `{other}`; BACKUP is used");
            cx.push(Diagnostic::new(Class::General, word.span, message).label("expected MASTER or BACKUP"));
            Wanted::Backup
        }
    };
    *field = Set::at(value, word.span);
}

/// The first version holds, and 2 cannot be chosen once the addresses are IPv6.
pub fn version(instance: &mut Instance, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(word) = node.args.first().copied() else { return cx.abort(node, "2 or 3") };
    let Some(value) = int(2, 3).take(word, "version", cx) else { return };
    match *instance.version {
        Some(first) if first.value != value => cx.again(word.span, "version", first.span, "the first one holds"),
        _ if value == 2 && instance.family == Some(Family::V6) => cx.push(
            Diagnostic::new(Class::General, word.span, "`version 2` is ignored: the addresses before it are IPv6")
                .help("remove the line: VRRP for IPv6 is version 3"),
        ),
        _ => instance.version = Set::at(value, word.span),
    }
}

pub(crate) fn accept(field: &mut Set<bool>, node: &Node<'_>, _: &mut Cx<'_>) {
    *field = Set::at(true, node.span);
}
pub(crate) fn no_accept(field: &mut Set<bool>, node: &Node<'_>, _: &mut Cx<'_>) {
    *field = Set::at(false, node.span);
}
pub(crate) fn nopreempt(field: &mut Set<bool>, node: &Node<'_>, _: &mut Cx<'_>) {
    *field = Set::at(true, node.span);
}
pub(crate) fn preempt(field: &mut Set<bool>, node: &Node<'_>, _: &mut Cx<'_>) {
    *field = Set::at(false, node.span);
}

/// keepalived turns it on whatever valid word follows; that `off` does so is worth a word.
pub fn skip_check(field: &mut Set<bool>, node: &Node<'_>, cx: &mut Cx<'_>) {
    if let Some(word) = node.args.first().copied() {
        match crate::config::table::values::Bool.take(word, "skip_check_adv_addr", cx) {
            None => return,
            Some(true) => {}
            Some(false) => {
                cx.note(word.span, "`skip_check_adv_addr` is on in keepalived even with this word, so here too")
            }
        }
    }
    *field = Set::at(true, node.span);
}

pub(crate) fn notify_deleted(field: &mut Set<Option<Box<ScriptLine>>>, node: &Node<'_>, cx: &mut Cx<'_>) {
    if let Some(first) = field.as_ref() {
        return cx.again(node.span, "notify_deleted", first.span, "the first one holds");
    }
    let value = if node.args.is_empty() { None } else { script_line(node, Class::Note, cx).map(Box::new) };
    *field = Set::at(value, node.span);
}

pub(crate) fn garp_extra_if(field: &mut GarpExtra, node: &Node<'_>, cx: &mut Cx<'_>) {
    crate::config::global::read::garp_extra(field, node, cx, 0);
}

pub(crate) fn routes(field: &mut Vec<Route>, node: &Node<'_>, cx: &mut Cx<'_>) {
    for line in node.body.iter().flatten() {
        field.extend(cx.line(List::Virtual, route::FORM, |cx| route::route(line, cx)));
        if cx.aborted {
            return;
        }
    }
}

pub(crate) fn rules(field: &mut Vec<Rule>, node: &Node<'_>, cx: &mut Cx<'_>) {
    read_rules(field, List::Virtual, node, cx);
}

/// Rules without a preference get one by counting down, over the whole configuration.
pub fn read_rules(field: &mut Vec<Rule>, list: List, node: &Node<'_>, cx: &mut Cx<'_>) {
    let mut preferences = std::mem::take(&mut cx.preferences);
    for line in node.body.iter().flatten() {
        field.extend(cx.line(list, rule::FORM, |cx| rule::rule(line, &mut preferences, cx)));
        if cx.aborted {
            break;
        }
    }
    cx.preferences = preferences;
}

pub(crate) fn virtual_ipaddress(instance: &mut Instance, node: &Node<'_>, cx: &mut Cx<'_>) {
    for line in node.body.iter().flatten() {
        let Some(new) = cx.line(List::Virtual, address::FORM, |cx| address::address(line, cx)) else {
            if cx.aborted {
                return;
            }
            continue;
        };
        instance.addresses.advertise(new, line.span, &mut instance.family, &mut cx.diagnostics.list);
    }
}

pub(crate) fn virtual_ipaddress_excluded(instance: &mut Instance, node: &Node<'_>, cx: &mut Cx<'_>) {
    for line in node.body.iter().flatten() {
        let Some(new) = cx.line(List::Excluded, address::FORM, |cx| address::address(line, cx)) else {
            if cx.aborted {
                return;
            }
            continue;
        };
        instance.addresses.exclude(new, line.span, &mut cx.diagnostics.list);
    }
}

/// `virtual_router_id`; whether there was any decides what is said when none can be used.
pub fn vrid(instance: &mut Instance, node: &Node<'_>, cx: &mut Cx<'_>) {
    instance.vrid_line = Some(node.span);
    must(uint(1, 255).exact()).read(&mut instance.vrid, node, cx);
}

/// Did the instance ask for unicast with any keyword?
pub fn says_unicast(instance: &Instance) -> Option<Span> {
    let flag = |set: &Set<()>| set.span();
    instance
        .unicast
        .or(flag(&instance.fault_no_peer))
        .or(flag(&instance.check_unicast_src))
        .or(instance.old_checksum.span())
}

/// Is a boolean setting there and true?
pub fn on(set: &Set<bool>) -> bool {
    set.or(false)
}
