//! `use_vmac` and `use_ipvlan`: the interface that an instance makes for itself.

use super::read::{complain, fits};
use crate::config::report::{Class, Diagnostic};
use crate::config::table::block::{Cx, Set, Setting};
use crate::config::table::values::ip_address;
use crate::config::text::source::Span;
use crate::config::text::tree::{Node, Word};
use crate::config::vrrp::instance::Instance;
use crate::spec::{IfName, IpvlanMode};
use crate::wire::Family;
use std::net::IpAddr;

/// `use_vmac`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VmacLine {
    pub name: Set<IfName>,
    /// Configured address; with five octets the VRID is the sixth.
    pub mac: Option<([u8; 6], bool)>,
    pub netlink_notify: bool,
    pub group: Option<u32>,
    pub span: Option<Span>,
}

/// `use_ipvlan`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IpvlanLine {
    pub name: Set<IfName>,
    pub address: Option<(IpAddr, u8)>,
    pub mode: Option<IpvlanMode>,
    pub group: Option<u32>,
    pub span: Option<Span>,
}

/// Six octets in hexadecimal, or five and the VRID.
fn mac_address(text: &str) -> Option<([u8; 6], bool)> {
    let parts: Vec<&str> = text.strip_suffix(':').unwrap_or(text).split(':').collect();
    if !matches!(parts.len(), 5 | 6) || (text.ends_with(':') && parts.len() != 5) {
        return None;
    }
    let mut mac = [0; 6];
    for (octet, part) in mac.iter_mut().zip(&parts) {
        if part.is_empty() || part.len() > 2 {
            return None;
        }
        *octet = u8::from_str_radix(part, 16).ok()?;
    }
    Some((mac, parts.len() == 5))
}

fn valid_interface_name(name: &str) -> Option<IfName> {
    let bad = name == "." || name == ".." || name.contains(['/', ':']) || name.contains(char::is_whitespace);
    IfName::new(name).filter(|_| !bad)
}

/// Takes the name of an interface to be made; it must not be taken by another instance.
fn new_interface(cx: &mut Cx<'_>, word: Word<'_>, keyword: &str, field: &mut Set<IfName>) {
    if field.is_some() {
        return cx.mistake(
            word.span,
            format!("`{keyword}` names two interfaces; `{}` is ignored", word.text),
            format!("remove `{}`", word.text),
        );
    }
    let Some(name) = valid_interface_name(word.text) else {
        return cx.mistake(
            word.span,
            format!("`{keyword}`: `{}` cannot be the name of an interface", word.text),
            "write 1 to 15 characters without blanks, `/` and `:`, for example `vrrp51`",
        );
    };
    if let Some(first) = cx.names.get("made interface").and_then(|names| names.get(word.text)).copied() {
        let message = format!("`{keyword}`: another instance makes `{name}` already; the name is ignored");
        return cx.push(
            Diagnostic::new(Class::General, word.span, message)
                .related(first, "there")
                .help("write another name, or none: one is chosen then"),
        );
    }
    if cx.env.system.name_is_taken(word.text) {
        return cx.mistake(
            word.span,
            format!("`{keyword}`: `{name}` exists and was not made for this; the name is ignored"),
            "write the name of an interface that is not there, or none: one is chosen then",
        );
    }
    cx.names.entry("made interface").or_default().insert(word.text.into(), word.span);
    *field = Set::at(name, word.span);
}

fn group_number(cx: &mut Cx<'_>, node: &Node<'_>, option: Word<'_>, value: Option<Word<'_>>) -> Option<u32> {
    let Some(value) = value else {
        cx.abort(node, "an interface group after group");
        return None;
    };
    let found = cx.iproute.group(value.text);
    if found.is_none() {
        complain(cx, option, format!("`{}`: there is no interface group `{}`", node.keyword.text, value.text));
    }
    found
}

pub(crate) fn use_vmac(field: &mut Option<Box<VmacLine>>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let mut vmac = field.take().unwrap_or_default();
    vmac.span.get_or_insert(node.span);
    let mut words = node.args.iter().copied();
    while let Some(word) = words.next() {
        match word.text {
            text if text.contains(':') => match mac_address(text) {
                _ if vmac.mac.is_some() => {
                    cx.mistake(word.span, "`use_vmac` has two MAC addresses", format!("remove `{text}`"));
                }
                None => cx.mistake(
                    word.span,
                    format!("`use_vmac`: `{text}` is no MAC address of five or six octets"),
                    "for example `use_vmac 02:00:5e:00:01:33`",
                ),
                Some((mac, _)) if mac[0] & 1 != 0 => {
                    cx.mistake(
                        word.span,
                        format!("`use_vmac`: `{text}` is a multicast address and is ignored"),
                        "write an even first octet, for example `use_vmac 02:00:5e:00:01:33`",
                    );
                }
                Some(([0, 0, 0x5e, 0, 1 | 2, _], _)) => {
                    cx.mistake(
                        word.span,
                        format!("`use_vmac`: `{text}` is reserved for the protocol itself and is ignored"),
                        "remove the MAC address: the one of the protocol is used anyhow",
                    );
                }
                Some(mac) => vmac.mac = Some(mac),
            },
            "netlink_notify_msg" => vmac.netlink_notify = true,
            "group" => match group_number(cx, node, word, words.next()) {
                Some(group) => vmac.group = Some(group),
                None if cx.aborted => return,
                None => {}
            },
            "name" => match words.next() {
                Some(name) => new_interface(cx, name, "use_vmac", &mut vmac.name),
                None => return cx.abort(node, "an interface name after name"),
            },
            _ => new_interface(cx, word, "use_vmac", &mut vmac.name),
        }
    }
    *field = Some(vmac);
}

pub(crate) fn use_ipvlan(instance: &mut Instance, node: &Node<'_>, cx: &mut Cx<'_>) {
    if let Some(first) = instance.ipvlan.as_ref().and_then(|line| line.span) {
        return cx.again(node.span, "use_ipvlan", first, "the first one holds");
    }
    let mut ipvlan = IpvlanLine { span: Some(node.span), ..IpvlanLine::default() };
    let mut words = node.args.iter().copied();
    while let Some(word) = words.next() {
        let mode = match word.text {
            "bridge" => Some(IpvlanMode::Bridge),
            "private" => Some(IpvlanMode::Private),
            "vepa" => Some(IpvlanMode::Vepa),
            _ => None,
        };
        if mode.is_some() {
            if ipvlan.mode.is_some() {
                complain(cx, word, format!("`use_ipvlan` has two modes; `{}` is ignored", word.text));
            } else {
                ipvlan.mode = mode;
            }
            continue;
        }
        let (text, prefix) = word.text.split_once('/').map_or((word.text, None), |(a, p)| (a, Some(p)));
        match (word.text, ip_address(text)) {
            ("group", _) => match group_number(cx, node, word, words.next()) {
                Some(group) => ipvlan.group = Some(group),
                None if cx.aborted => return,
                None => {}
            },
            ("name", _) => match words.next() {
                Some(name) => new_interface(cx, name, "use_ipvlan", &mut ipvlan.name),
                None => return cx.abort(node, "an interface name after name"),
            },
            (_, Some(address)) => {
                let host = if address.is_ipv4() { 32 } else { 128 };
                let length = prefix.map_or(Some(host), |p| p.parse().ok().filter(|p| *p <= host));
                if ipvlan.address.is_some() {
                    complain(cx, word, format!("`use_ipvlan` has two addresses; `{}` is ignored", word.text));
                } else if fits(instance, Family::of(&address), word, "the address of use_ipvlan", cx) {
                    ipvlan.address = Some((address, length.unwrap_or(host)));
                    instance.source.get_or_insert(Setting { value: address, span: word.span });
                }
            }
            _ => new_interface(cx, word, "use_ipvlan", &mut ipvlan.name),
        }
    }
    instance.ipvlan = Some(Box::new(ipvlan));
}
