//! Lines of the short lists: unicast peers, trackers, interface delays, polled interfaces.
//!
//! Each function reads one line. Rules between lines (a peer named twice, a tracker that does not exist) belong to who
//! holds the list; these functions see one line only.

use crate::config::line::{LineCx, Words, addresses_in, ip, signed_in, unsigned_in, wrong};
use crate::config::report::{Class, Diagnostic};
use crate::config::table::block::nearest;
use crate::config::table::values::{fixed_point, unread, without_range};
use crate::config::text::tree::{Node, Word};
use crate::spec::{Beat, BeatMethod, Debounce, IfName, Peer};
use crate::time::Interval;

/// How a line of `unicast_peer` is written.
pub const PEER: &str = "ADDRESS min_ttl N max_ttl N";
/// How a line of `interface_up_down_delays` is written.
pub const DELAYS: &str = "IFNAME SECONDS SECONDS";
/// How a line of `linkbeat_interfaces` is written.
pub const LINKBEAT: &str = "IFNAME MII";
/// How an interface is named.
pub const INTERFACE: &str = "IFNAME";

/// A line of `unicast_peer`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerLine {
    pub peer: Peer,
    /// A TTL was given, which also switches on the check of sources (`check_unicast_src`).
    pub check_source: bool,
}

/// `ADDR [min_ttl 0..255] [max_ttl 0..255]`
pub fn peer(node: &Node<'_>, cx: &mut LineCx<'_>) -> Option<PeerLine> {
    let mut words = Words::arguments(node);
    let Some(address) = ip(without_range(node.keyword.text)) else {
        let cure = addresses_in(node).unwrap_or_else(|| "write the address of the other router, one a line".to_owned());
        cx.push(
            wrong(node.keyword.span, format!("`{}` is no address; the peer is left out", node.keyword.text))
                .label("not an address")
                .help(cure),
        );
        return None;
    };
    if let Some(problem) = unread(node.keyword.text) {
        cx.push(Diagnostic::new(Class::Note, node.keyword.span, format!("peer {address}: {problem}")));
    }
    let mut line = PeerLine { peer: Peer { address, min_ttl: 0, max_ttl: 255 }, check_source: false };
    while let Some(option) = words.next() {
        let value = words.next().filter(|_| ip(without_range(option.text)).is_none());
        let Some(value) = value else {
            let message = format!("`{}` of peer {address} has no value", option.text);
            let more = option.text.starts_with(['/', ',', ';']) || ip(without_range(option.text)).is_some();
            match addresses_in(node).filter(|_| more) {
                Some(cure) => {
                    let message = format!("`{}` behind peer {address} is not read", option.text);
                    cx.push(wrong(option.span, message).label("nothing but its TTL may stand here").help(cure));
                }
                None => cx.say(option, message, "0 to 255 must follow"),
            }
            break;
        };
        let Some(ttl) = unsigned_in(value.text, 0, 255).map(|n| n as u8) else {
            cx.say(value, format!("`{}` is no TTL", value.text), "expected 0 to 255");
            continue;
        };
        match option.text {
            "min_ttl" => line.peer.min_ttl = ttl,
            "max_ttl" => line.peer.max_ttl = ttl,
            other => {
                let mut complaint = wrong(option.span, format!("`{other}` is no option of a peer"))
                    .label("expected min_ttl or max_ttl");
                if let Some(meant) = nearest(other, ["min_ttl", "max_ttl"].into_iter()) {
                    complaint = complaint.help(format!("did you mean `{meant}`?"));
                }
                cx.push(complaint);
                break;
            }
        }
        line.check_source = true;
    }
    if line.peer.min_ttl > line.peer.max_ttl {
        let (least, most) = (line.peer.min_ttl, line.peer.max_ttl);
        let message = format!("min_ttl {least} of peer {address} is above its max_ttl {most}: every packet is dropped");
        cx.push(wrong(node.span, message).help("exchange the two"));
    }
    Some(line)
}

/// What a track list tracks: the lists differ in the range of the weight and in the words after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tracked {
    Interface,
    Script,
    File,
    Process,
    Bfd,
}

impl Tracked {
    /// Keyword of the list.
    pub const fn keyword(self) -> &'static str {
        match self {
            Tracked::Interface => "track_interface",
            Tracked::Script => "track_script",
            Tracked::File => "track_file",
            Tracked::Process => "track_process",
            Tracked::Bfd => "track_bfd",
        }
    }
    /// How its lines are written. Behind the weight `reverse` may follow, which is no cure for anything.
    pub const fn form(self) -> &'static str {
        match self {
            Tracked::Interface => "IFNAME weight N",
            _ => "NAME weight N",
        }
    }
    const fn most(self) -> i64 {
        match self {
            Tracked::File | Tracked::Process => 254,
            _ => 253,
        }
    }
    /// ±254 was allowed once and is still read, as ±253, with a complaint.
    const fn takes_254(self) -> bool {
        matches!(self, Tracked::Interface | Tracked::Script)
    }
}

/// A line of a track list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TrackLine<'s> {
    pub name: Word<'s>,
    /// `None`: the tracked thing's own weight (interfaces: 0).
    pub weight: Option<i32>,
    /// `None`: the tracked thing's own direction (interfaces: not reversed).
    pub reverse: Option<bool>,
}

/// `NAME [weight N [reverse|noreverse]]`; `None` if the line cannot be used.
pub fn track_line<'s>(node: &Node<'s>, kind: Tracked, cx: &mut LineCx<'_>) -> Option<TrackLine<'s>> {
    let name = node.keyword;
    let mut line = TrackLine { name, weight: None, reverse: None };
    let mut words = Words::arguments(node);
    let Some(option) = words.next() else { return Some(line) };
    if option.text != "weight" {
        let message = format!("`{}` is no option of {}; {} is not tracked", option.text, kind.keyword(), name.text);
        let mut complaint = wrong(option.span, message).label("only `weight N` may follow the name");
        let glued = option.text.strip_prefix("weight").map(|rest| rest.trim_start_matches(['=', ':']));
        if let Some(weight) = glued.filter(|weight| weight.parse::<i32>().is_ok()) {
            complaint = complaint.help(format!("write `{} weight {weight}`", name.text));
        }
        cx.push(complaint);
        return None;
    }
    let Some(weight) = words.next() else {
        let message = format!("weight of {} has no value; it is not tracked", name.text);
        cx.say(option, message, &format!("-{0} to {0} must follow", kind.most()));
        return None;
    };
    let room = if kind.takes_254() { 254 } else { kind.most() };
    match signed_in(weight.text, -room, room) {
        Some(n) if n.abs() > kind.most() => {
            line.weight = Some((n.signum() * kind.most()) as i32);
            let message = format!("weight {n} of {} is too large; {} is used", name.text, n.signum() * kind.most());
            cx.say(weight, message, &format!("expected -{0} to {0}", kind.most()));
        }
        Some(n) => line.weight = Some(n as i32),
        None => {
            let message = format!("weight `{}` of {} is ignored", weight.text, name.text);
            cx.say(weight, message, &format!("expected -{0} to {0}", kind.most()));
        }
    }
    if let Some(direction) = words.next() {
        line.reverse = match direction.text {
            "reverse" => Some(true),
            "noreverse" if kind != Tracked::Interface => Some(false),
            other => {
                let known = if kind == Tracked::Interface { "reverse" } else { "reverse or noreverse" };
                cx.say(direction, format!("`{other}` cannot follow a weight here"), &format!("expected {known}"));
                if kind == Tracked::Bfd {
                    return None;
                }
                None
            }
        };
    }
    Some(line)
}

/// A line of `interface_up_down_delays`: `IFNAME DOWN [UP]`, seconds 0..=255 with decimals.
pub fn interface_delay(node: &Node<'_>, cx: &mut LineCx<'_>) -> Option<Debounce> {
    let interface = listed_interface(&node.keyword, cx)?;
    let Some(down) = node.args.first() else {
        cx.push(Diagnostic::new(Class::Note, node.span, format!("no delays are given for {interface}")));
        return None;
    };
    let down = delay(down, "down", cx)?;
    let up = node.args.get(1).map_or(Some(Interval::ZERO), |up| delay(up, "up", cx))?;
    if let Some(extra) = node.args.get(2) {
        cx.push(Diagnostic::new(Class::Note, extra.span, format!("`{}` after the delays is not read", extra.text)));
    }
    Some(Debounce { interface, down, up })
}

fn delay(word: &Word<'_>, which: &str, cx: &mut LineCx<'_>) -> Option<Interval> {
    let most = Interval::from_secs(255);
    let Some((interval, exact)) = seconds(word.text).filter(|(interval, _)| *interval <= most) else {
        let message = format!("{which} delay `{}` is out of range; the line is ignored", word.text);
        cx.say(word, message, "expected 0 to 255 seconds");
        return None;
    };
    if !exact {
        cx.say(word, format!("`{}` is finer than a microsecond and is rounded", word.text), "at most six decimals");
    }
    Some(interval)
}

/// A line of `linkbeat_interfaces`: `IFNAME [MII|ETHTOOL|IOCTL]`.
pub fn linkbeat(node: &Node<'_>, cx: &mut LineCx<'_>) -> Option<Beat> {
    let interface = listed_interface(&node.keyword, cx)?;
    let mut method = None;
    if let Some(word) = node.args.first() {
        method = match word.text {
            "MII" => Some(BeatMethod::Mii),
            "ETHTOOL" => Some(BeatMethod::Ethtool),
            "IOCTL" => Some(BeatMethod::Ioctl),
            _ => None,
        };
        if method.is_none() {
            cx.say(word, format!("`{}` is no way to poll {interface}", word.text), "expected MII, ETHTOOL or IOCTL");
        } else if let Some(extra) = node.args.get(1) {
            cx.say(extra, format!("`{}` is one word too many", extra.text), "nothing may follow");
        }
    }
    Some(Beat { interface, method })
}

/// In these two lists an unknown interface is of the fatal class (exit code 4), and does not stop the check.
fn listed_interface(word: &Word<'_>, cx: &mut LineCx<'_>) -> Option<IfName> {
    let known = cx.dynamic_interfaces || cx.host.has_interface(word.text);
    let name = IfName::new(word.text).filter(|_| known);
    if name.is_none() {
        let complaint = Diagnostic::new(Class::Fatal, word.span, format!("interface `{}` does not exist", word.text));
        cx.push(complaint.label("not on this machine"));
    }
    name
}

/// Seconds with decimals. The flag is false if there were more than six decimals: then it is rounded to microseconds.
pub fn seconds(text: &str) -> Option<(Interval, bool)> {
    fixed_point(text, 6).map(|(micros, exact)| (Interval::from_micros(micros), exact))
}
