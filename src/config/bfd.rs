//! `bfd_instance`: BFD sessions.
//!
//! A session can be followed by VRRP (`track_bfd`), by checkers (`BFD_CHECK`) or both. Which, is remembered under the names
//! [`FOR_VRRP`] and [`FOR_CHECKERS`], where the lists that refer to it look.

use super::Subsystems;
use super::line::signed_in;
use super::report::{Class, Diagnostic};
use crate::config::table::block::{Cx, Repeat, Set, by, flag, must, read_block, toggle};
use crate::config::table::values::{IPADDR, fixed_point, int, ip_address, uint, without_range};
use crate::config::text::source::Span;
use crate::config::text::tree::Node;
use crate::spec::bfd::Session;
use crate::spec::{BfdSpec, IfName};
use crate::time::Interval;
use crate::wire::Family;
use std::net::IpAddr;

/// Kind of name under which sessions are known that VRRP may follow.
pub const FOR_VRRP: &str = "bfd_instance";
/// Kind of name under which sessions are known that checkers may follow.
pub const FOR_CHECKERS: &str = "BFD_CHECK";
/// Longest name, bytes.
const NAME: usize = 31;
/// Longest interval, microseconds: 4294.967 s.
const LONGEST: u64 = 4_294_967_000;
/// What keepalived sends, and takes, in an IPv6 session without `hoplimit`.
const KEEPALIVED_HOP_LIMIT: u8 = 64;
/// Above this an interval is hardly meant: 10 s.
const SENSIBLE: Interval = Interval::from_secs(10);

block! {
    /// One BFD session.
    "bfd_instance" => Bfd {
        /// Local address.
        "source_ip" => source: Set<IpAddr> = must(IPADDR), default "any";
        /// Address of the peer. A link-local one needs `%INTERFACE` behind it, which keepalived does not know.
        "neighbor_ip" => neighbor: Neighbor = by("IPADDR[%INTERFACE]", Repeat::LastWins, neighbor), default "required";
        /// Milliseconds: shortest interval at which packets can be received.
        "min_rx" => min_rx: Set<Interval> = by("DECIMAL[1..4294967] ms", Repeat::LastWins, milliseconds), default(Interval::from_millis(10), "10");
        /// Milliseconds: wanted interval between packets.
        "min_tx" => min_tx: Set<Interval> = by("DECIMAL[1..4294967] ms", Repeat::LastWins, milliseconds), default(Interval::from_millis(10), "10");
        /// Milliseconds: interval between packets while the session is not up.
        "idle_tx" => idle_tx: Set<Interval> = by("DECIMAL[1000..4294967] ms", Repeat::LastWins, idle), default(Interval::from_secs(1), "1000");
        /// Packets missed before the session is down.
        "multiplier" => multiplier: Set<u32> = must(uint(1, 255)), default(5);
        /// Waits for the peer to begin.
        "passive" => passive: Set<()> = flag(), default "off";
        /// TTL of sent packets, and what `max_hops` counts from on receipt. Without it an IPv6 session sends 255, as the RFC
        /// asks for, and takes 64 too, which keepalived sends.
        "ttl" => ttl: Set<u32> = must(uint(1, 255)), default(255);
        /// Hops that a received packet may have made; -1 is any number.
        "max_hops" => max_hops: Set<i32> = must(int(-1, 255)), default(0);
        /// The port of RFC 5883 is used.
        "multihop" => multihop: Set<bool> = toggle(), default(false, "off");
        /// Default weight of track_bfd.
        "weight" => weight: Set<(i32, bool)> = by("INT[-253..253] [reverse]", Repeat::LastWins, weight), default((0, false), "0");
        /// VRRP follows it; checkers do not, unless `checker` is given too.
        "vrrp" => vrrp: Set<()> = flag(), default "both";
        /// Checkers follow it; VRRP does not, unless `vrrp` is given too.
        "checker" => checker: Set<()> = flag(), default "both";
    }
    also {
        /// The same as neighbor_ip.
        "neighbour_ip" => neighbor: Neighbor = by("IPADDR[%INTERFACE]", Repeat::LastWins, neighbor), default "required";
        /// The same as ttl.
        "hoplimit" => ttl: Set<u32> = must(uint(1, 255)), default "255";
    }
}

/// The peer's address, or that it could not be read, which has been complained about.
#[derive(Clone, Debug, Default)]
pub struct Neighbor {
    address: Set<IpAddr>,
    interface: Option<IfName>,
    malformed: bool,
}

/// Sessions as they are read.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    /// What VRRP may refer to, usable or not: a session that cannot run still has a name and a weight.
    pub trackable: Vec<BfdSpec>,
    /// What could run.
    pub usable: Vec<(Span, Session)>,
}

/// Reads a `bfd_instance` block.
pub fn bfd_instance(sessions: &mut Sessions, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(name) = node.args.first().copied() else { return cx.abort(node, "a name") };
    if name.text.len() > NAME {
        let message = format!("the name `{}` is too long; the bfd_instance is left out", name.text);
        let complaint = Diagnostic::new(Class::General, name.span, message).label(format!("at most {NAME} bytes"));
        cx.push(complaint.help("give it a shorter name"));
        return;
    }
    if !cx.define("BFD session", name) {
        return;
    }
    let mut own = Bfd::default();
    let body = node.body.as_deref().unwrap_or_default();
    let run = cx.subsystems;
    if run.vrrp && run.bfd {
        read_block(&mut own, body, cx);
    } else {
        let read: Vec<_> = body.iter().filter(|line| is_read(line.keyword.text, run)).cloned().collect();
        read_block(&mut own, &read, cx);
    }
    if cx.aborted {
        return;
    }
    let both = own.vrrp.is_none() && own.checker.is_none();
    let (for_vrrp, for_checkers) = (both || own.vrrp.is_some(), both || own.checker.is_some());
    let (weight, reverse) = own.weight();
    if for_vrrp {
        cx.names.entry(FOR_VRRP).or_default().insert(name.text.into(), name.span);
        sessions.trackable.push(BfdSpec { name: name.text.into(), weight, reverse });
    }
    if for_checkers {
        cx.names.entry(FOR_CHECKERS).or_default().insert(name.text.into(), name.span);
    }

    if !run.bfd {
        return;
    }
    let followed_by = FollowedBy { vrrp: for_vrrp, checkers: for_checkers };
    let Some(session) = session(&own, name.text, followed_by, node, cx) else { return };
    if let Some((first, twin)) = sessions.usable.iter().find(|(_, other)| other.clashes(&session)) {
        let message = format!("bfd_instance {} is left out: {} has the same addresses", name.text, twin.name);
        let complaint = Diagnostic::new(Class::General, node.span, message).related(*first, "the first one");
        cx.push(complaint.help("one session does for both: use its name"));
        return;
    }
    sessions.usable.push((node.span, session));
}

/// Who is told of a session's state.
#[derive(Clone, Copy)]
struct FollowedBy {
    vrrp: bool,
    checkers: bool,
}

/// The session that a block describes; `None`, with a complaint, where it could not run.
fn session(own: &Bfd, name: &str, followed_by: FollowedBy, node: &Node<'_>, cx: &mut Cx<'_>) -> Option<Session> {
    let Some(neighbor) = own.neighbor.address.value() else {
        if !own.neighbor.malformed {
            let message = format!("bfd_instance {name} has no neighbor_ip; it is left out");
            let cure = "write `neighbor_ip ADDRESS` in it";
            cx.lacks(&["neighbor_ip", "neighbour_ip"], node.span, node.close, message, cure);
        }
        return None;
    };
    if let Some(other) = own.source.as_ref().filter(|s| Family::of(&s.value) != Family::of(&neighbor)) {
        let message =
            format!("bfd_instance {name} is left out: {} and {neighbor} are of different families", other.value);
        cx.block_error(other.span, node.close, message, "write source_ip and neighbor_ip of one family");
        return None;
    }
    let interface = own.neighbor.interface.clone();
    if matches!(neighbor, IpAddr::V6(v6) if v6.is_unicast_link_local()) && interface.is_none() {
        let message = format!("bfd_instance {name}: {neighbor} is link-local and reaches nobody without %INTERFACE");
        cx.note(node.span, message);
    }
    let ttl = own.ttl() as u8;
    let ttl_base = if own.ttl.is_none() && neighbor.is_ipv6() { KEEPALIVED_HOP_LIMIT } else { ttl };
    Some(Session {
        name: name.into(),
        source: own.source.value(),
        neighbor,
        interface,
        min_rx: own.min_rx(),
        min_tx: own.min_tx(),
        idle_tx: own.idle_tx(),
        multiplier: own.multiplier() as u8,
        passive: own.passive.is_some(),
        ttl,
        ttl_base,
        max_hops: max_hops(own, ttl_base, node, cx),
        multihop: own.multihop(),
        for_vrrp: followed_by.vrrp,
        for_checkers: followed_by.checkers,
    })
}

/// How many hops a packet may have made, at most as many as one that is sent with `ttl_base` can make.
fn max_hops(own: &Bfd, ttl_base: u8, node: &Node<'_>, cx: &mut Cx<'_>) -> Option<u8> {
    // 255 is the same byte as -1 to keepalived, and means the same.
    let hops = u8::try_from(own.max_hops()).ok().filter(|hops| *hops != u8::MAX)?;
    let Some(set) = own.max_hops.as_ref().filter(|_| hops > ttl_base) else { return Some(hops) };
    let message = format!("max_hops {hops} is above the TTL; {ttl_base} is used");
    cx.block_error(set.span, node.close, message, "lower max_hops, or raise ttl");
    Some(ttl_base)
}

/// Whether a line of a session is read where not everything runs: the weight is for VRRP's trackers, who follows the session for
/// those that follow, and all else for BFD alone.
fn is_read(keyword: &str, run: Subsystems) -> bool {
    match keyword {
        "weight" => run.vrrp,
        "vrrp" | "checker" => true,
        _ => run.bfd,
    }
}

fn neighbor(field: &mut Neighbor, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(word) = node.args.first() else {
        // keepalived's BFD process crashes here again and again; the one for VRRP does not look and lives.
        field.malformed = true;
        field.address = Set::default();
        let message = format!("`{}` has no argument; the bfd_instance is left out", node.keyword.text);
        return cx.mistake(node.span, message, format!("write `{} ADDRESS`", node.keyword.text));
    };
    let (text, interface) = match word.text.split_once('%') {
        Some((address, interface)) => (address, Some(interface)),
        None => (without_range(word.text), None),
    };
    field.interface = interface.and_then(IfName::new);
    match ip_address(text).filter(|_| interface.is_some() == field.interface.is_some()) {
        Some(value) => {
            field.malformed = false;
            if field.interface.is_none() {
                cx.unread(*word);
            }
            field.address = Set::at(value, word.span);
        }
        None => {
            field.malformed = true;
            field.address = Set::default();
            cx.error(word.span, format!("`{}` is no address; the bfd_instance is left out", word.text));
        }
    }
}

fn milliseconds(field: &mut Set<Interval>, node: &Node<'_>, cx: &mut Cx<'_>) {
    interval(field, 1_000, node, cx);
}
fn idle(field: &mut Set<Interval>, node: &Node<'_>, cx: &mut Cx<'_>) {
    interval(field, 1_000_000, node, cx);
}

/// Milliseconds with up to three decimals, `least` in microseconds.
fn interval(field: &mut Set<Interval>, least: u64, node: &Node<'_>, cx: &mut Cx<'_>) {
    let keyword = node.keyword.text;
    let Some(word) = node.args.first() else { return cx.abort(node, "milliseconds") };
    let Some((micros, exact)) = fixed_point(word.text, 3).filter(|(us, _)| (least..=LONGEST).contains(us)) else {
        let message = format!("`{keyword}` cannot be `{}` and is ignored", word.text);
        let label = format!("expected {} to {} milliseconds", least / 1000, LONGEST / 1000);
        return cx.push(Diagnostic::new(Class::InvalidNumber, word.span, message).label(label));
    };
    let value = Interval::from_micros(micros);
    if !exact {
        let message = format!("`{keyword}` {} is finer than a microsecond and is rounded", word.text);
        cx.push(Diagnostic::new(Class::InvalidNumber, word.span, message));
    }
    if value > SENSIBLE {
        cx.note(word.span, format!("`{keyword}` of {value} s makes a failure slow to notice"));
    }
    *field = Set::at(value, word.span);
}

fn weight(field: &mut Set<(i32, bool)>, node: &Node<'_>, cx: &mut Cx<'_>) {
    let Some(word) = node.args.first() else { return cx.abort(node, "-253 to 253") };
    let Some(value) = signed_in(word.text, -253, 253) else {
        let message = format!("weight `{}` is ignored", word.text);
        return cx.push(Diagnostic::new(Class::InvalidNumber, word.span, message).label("expected -253 to 253"));
    };
    let reverse = match node.args.get(1) {
        None => false,
        Some(option) if option.text == "reverse" => true,
        Some(option) => {
            cx.mistake(
                option.span,
                format!("`{}` cannot follow a weight: expected reverse", option.text),
                format!("remove `{0}`, or write `reverse` in its place", option.text),
            );
            false
        }
    };
    *field = Set::at((value as i32, reverse), word.span);
}
