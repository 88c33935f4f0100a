//! Address lines: `virtual_ipaddress`, `virtual_ipaddress_excluded`, `static_ipaddress`.
//!
//! `ADDR[/PREFIX] [word…]`, as `ip address add` would take it, plus `no_track`, `use_vmac` and `track_group`. A mistake
//! either costs the line (it returns `None`) or the one word, as in keepalived 2.4.3 (vrrp_ipaddress.c). [`Collected`]
//! holds the rules between the lines of one instance: one family, no address twice, not more than an advert can carry.

use crate::config::line::{LineCx, List, Words, address_and_prefix, addresses_in, host_prefix, ip, unsigned, wrong};
use crate::config::report::{Class, Diagnostic};
use crate::config::table::block::nearest;
use crate::config::text::source::Span;
use crate::config::text::tree::{Node, Word};
use crate::spec::{IfName, VirtualAddress};
use crate::wire::Family;
use rustc_hash::FxHashMap;
use std::net::{IpAddr, Ipv4Addr};

/// How an address line is written, for those whose line is wrong.
pub const FORM: &str = "ADDRESS/PREFIX dev IFNAME label NAME …";

/// How a broadcast address is found.
#[derive(Clone, Copy)]
enum Broadcast {
    Given(Ipv4Addr),
    /// `+`: host bits one.
    Ones,
    /// `-`: host bits zero.
    Zeros,
}

/// An address line as far as it has been read.
struct Draft<'l> {
    new: VirtualAddress,
    /// The line's first word, which complaints name.
    first: &'l Word<'l>,
    family: Family,
    broadcast: Option<(Broadcast, Span)>,
    lifetime: Option<Option<u32>>,
    scope_at: Option<Span>,
    label_at: Option<Span>,
    group_at: Option<Span>,
}

/// `None` costs the line.
type Step = Option<()>;

/// Reads what follows a word.
type Reader = fn(&mut Draft<'_>, &Word<'_>, &mut Words<'_, '_>, &mut LineCx<'_>) -> Step;

/// The words of an address line, each with its reader.
const WORDS: [(&str, Reader); 15] = [
    ("dev", device),
    ("scope", scope),
    ("broadcast", broadcast),
    ("brd", broadcast),
    ("label", label),
    ("peer", |draft, word, words, cx| {
        let peer = value(words, word, draft.first, cx)?;
        read_peer(peer, draft.first, draft.family, &mut draft.new, cx);
        Some(())
    }),
    ("home", |draft, _, _, _| on(&mut draft.new.home)),
    ("-nodad", |draft, _, _, _| on(&mut draft.new.dad)),
    ("mngtmpaddr", |draft, _, _, _| on(&mut draft.new.mngtmpaddr)),
    ("noprefixroute", |draft, _, _, _| on(&mut draft.new.noprefixroute)),
    ("autojoin", |draft, _, _, _| on(&mut draft.new.autojoin)),
    ("no_track", |draft, _, _, _| on(&mut draft.new.no_track)),
    ("preferred_lft", lifetime),
    ("use_vmac", |draft, _, _, _| on(&mut draft.new.use_vmac)),
    ("track_group", track_group),
];

fn on(flag: &mut bool) -> Step {
    *flag = true;
    Some(())
}

/// Whether the word may stand in a list of this kind: statics have no VMAC, others no group.
fn may_stand(word: &str, list: List) -> bool {
    match word {
        "track_group" => list == List::Static,
        "use_vmac" => list != List::Static,
        _ => true,
    }
}

/// Reads one address line; `None` if it cannot be used.
pub fn address(node: &Node<'_>, cx: &mut LineCx<'_>) -> Option<VirtualAddress> {
    let first = &node.keyword;
    let Some((address, prefix)) = address_and_prefix(first, cx) else {
        let complaint = wrong(first.span, format!("`{}` is no address; the line is left out", first.text))
            .label("expected ADDRESS or ADDRESS/PREFIX");
        cx.push(match addresses_in(node) {
            Some(cure) => complaint.help(cure),
            None => complaint,
        });
        return None;
    };
    let mut draft = Draft {
        new: VirtualAddress::plain(address, prefix),
        first,
        family: Family::of(&address),
        broadcast: None,
        lifetime: None,
        scope_at: None,
        label_at: None,
        group_at: None,
    };
    let mut words = Words::arguments(node);
    let mut strange = false;
    while let Some(word) = words.next() {
        let known = WORDS.iter().find(|(name, _)| *name == word.text && may_stand(name, cx.list));
        match known {
            Some((_, read)) => read(&mut draft, word, &mut words, cx)?,
            // What follows an option that is not known may be its value.
            None if strange => {}
            None => {
                strange = true;
                unknown(word, first, cx);
            }
        }
    }
    finish(draft, cx)
}

/// Of a line with several addresses only the first is read: one complaint, also where a comma stands behind it.
fn unknown(word: &Word<'_>, first: &Word<'_>, cx: &mut LineCx<'_>) {
    let mut complaint = wrong(word.span, format!("`{}` is no option of an address; it is ignored", word.text));
    if let Some(meant) = nearest(word.text, WORDS.iter().map(|(name, _)| *name)) {
        complaint = complaint.help(format!("did you mean `{meant}`?"));
    } else if ip(word.text.split('/').next().unwrap_or(word.text)).is_some() {
        complaint = complaint.help("write one address a line");
        if cx.out.last().is_some_and(|told| told.span == Some(first.span)) {
            let comma = cx.out.pop();
            complaint.related.extend(comma.and_then(|told| Some((told.span?, "this one is read".to_owned()))));
        }
    }
    cx.push(complaint);
}

fn device(draft: &mut Draft<'_>, word: &Word<'_>, words: &mut Words<'_, '_>, cx: &mut LineCx<'_>) -> Step {
    let name = value(words, word, draft.first, cx)?;
    if draft.new.interface.is_some() {
        cx.say(name, format!("{} has two devices; the line is left out", draft.first.text), "second device");
        return None;
    }
    draft.new.interface = Some(cx.interface(name)?);
    Some(())
}

fn scope(draft: &mut Draft<'_>, word: &Word<'_>, words: &mut Words<'_, '_>, cx: &mut LineCx<'_>) -> Step {
    let name = value(words, word, draft.first, cx)?;
    match cx.names.scope(name.text) {
        Some(scope) => {
            draft.new.scope = Some(scope);
            draft.scope_at = Some(word.span);
        }
        None => cx.say(
            name,
            format!("there is no scope `{}`; it is ignored", name.text),
            "expected global, site, link, host, nowhere or 0 to 255",
        ),
    }
    Some(())
}

fn broadcast(draft: &mut Draft<'_>, word: &Word<'_>, words: &mut Words<'_, '_>, cx: &mut LineCx<'_>) -> Step {
    let first = draft.first.text;
    let given = value(words, word, draft.first, cx)?;
    if draft.family == Family::V6 {
        cx.say(word, format!("{first} is left out: IPv6 has no broadcast"), "IPv4 only");
        return None;
    }
    let how = match given.text {
        "+" => Broadcast::Ones,
        "-" => Broadcast::Zeros,
        text => match text.parse() {
            Ok(address) => Broadcast::Given(address),
            Err(_) => {
                let message = format!("`{text}` is no broadcast address; {first} is left out");
                cx.say(given, message, "expected an IPv4 address, + or -");
                return None;
            }
        },
    };
    draft.broadcast = Some((how, given.span));
    Some(())
}

fn label(draft: &mut Draft<'_>, word: &Word<'_>, words: &mut Words<'_, '_>, cx: &mut LineCx<'_>) -> Step {
    let label = value(words, word, draft.first, cx)?;
    if label.text.len() > 15 {
        let message = format!("label `{}` is too long; {} is left out", label.text, draft.first.text);
        cx.say(label, message, "at most 15 bytes");
        return None;
    }
    draft.new.label = Some(label.text.into());
    draft.label_at = Some(word.span);
    Some(())
}

fn lifetime(draft: &mut Draft<'_>, word: &Word<'_>, words: &mut Words<'_, '_>, cx: &mut LineCx<'_>) -> Step {
    let seconds = value(words, word, draft.first, cx)?;
    match (seconds.text, unsigned(seconds.text).and_then(|n| u32::try_from(n).ok())) {
        ("forever", _) | (_, Some(u32::MAX)) => draft.lifetime = Some(None),
        (_, Some(n)) => draft.lifetime = Some(Some(n)),
        (text, None) => cx.say(seconds, format!("`{text}` is no lifetime"), "expected seconds or `forever`"),
    }
    Some(())
}

fn track_group(draft: &mut Draft<'_>, word: &Word<'_>, words: &mut Words<'_, '_>, cx: &mut LineCx<'_>) -> Step {
    let name = value(words, word, draft.first, cx)?;
    if draft.new.track_group.is_some() {
        cx.say(name, "a second track_group; the rest of the line is not read", "second group");
        words.skip_rest();
        return Some(());
    }
    draft.new.track_group = cx.track_group(name);
    draft.group_at = Some(word.span);
    Some(())
}

/// What follows from several words together.
fn finish(draft: Draft<'_>, cx: &mut LineCx<'_>) -> Option<VirtualAddress> {
    let Draft { mut new, first, family, broadcast, lifetime, scope_at, label_at, group_at } = draft;
    if let Some((how, at)) = broadcast {
        new.broadcast = broadcast_of(&new, how, at, cx);
    }
    if cx.list == List::Static && new.interface.is_none() {
        new.interface = Some(static_interface(first, cx)?);
    }
    if family == Family::V6 {
        if new.scope.take().is_some_and(|scope| scope != 0)
            && let Some(at) = scope_at
        {
            cx.push(wrong(at, format!("scope of {} is ignored: IPv6 addresses have their own", first.text)));
        }
        if new.label.take().is_some()
            && let Some(at) = label_at
        {
            cx.push(wrong(at, format!("label of {} is ignored: only IPv4 addresses have one", first.text)));
        }
        // A host address of unlimited preference would be chosen as source by everything on this machine.
        new.preferred_lifetime = lifetime.unwrap_or((new.prefix == 128).then_some(0));
    } else {
        new.preferred_lifetime = lifetime.flatten();
    }
    if new.track_group.is_some() && new.interface.is_none() {
        new.track_group = None;
        if let Some(at) = group_at {
            cx.push(wrong(at, format!("track_group of {} is ignored: there is no interface", first.text)));
        }
    }
    Some(new)
}

/// The argument of a word: without it the line is dropped, no more.
fn value<'n, 's>(
    words: &mut Words<'n, 's>,
    keyword: &Word<'_>,
    first: &Word<'_>,
    cx: &mut LineCx<'_>,
) -> Option<&'n Word<'s>> {
    let next = words.next();
    if next.is_none() {
        let message = format!("`{}` of {} has no value; the line is left out", keyword.text, first.text);
        cx.say(keyword, message, "a value must follow");
    }
    next
}

fn read_peer(peer: &Word<'_>, first: &Word<'_>, family: Family, new: &mut VirtualAddress, cx: &mut LineCx<'_>) {
    if new.peer.is_some() {
        return cx.say(peer, format!("{} has two peers; the second is ignored", first.text), "second peer");
    }
    let Some(address) = ip(peer.text) else {
        return cx.say(peer, format!("`{}` is no peer address; it is ignored", peer.text), "expected ADDRESS");
    };
    if Family::of(&address) != family {
        return cx.say(
            peer,
            format!("peer {address} of {} is of the other family; it is ignored", first.text),
            "other family",
        );
    }
    let host = host_prefix(family);
    if new.prefix != host {
        let message = format!("the prefix length of {} is ignored since it has a peer", first.text);
        cx.push(wrong(first.span, message).help(format!("write {} peer {address}", new.address)));
    }
    new.prefix = host;
    new.peer = Some((address, host));
}

fn broadcast_of(new: &VirtualAddress, how: Broadcast, at: Span, cx: &mut LineCx<'_>) -> Option<Ipv4Addr> {
    if new.peer.is_some() {
        cx.push(wrong(at, "an address with a peer has no broadcast address; it is ignored"));
        return None;
    }
    let IpAddr::V4(own) = new.address else { return None };
    let host_bits = u32::MAX.checked_shr(u32::from(new.prefix)).unwrap_or(0);
    match how {
        Broadcast::Given(address) => Some(address),
        _ if new.prefix > 30 => {
            let message = format!("no broadcast address can be derived from a /{}", new.prefix);
            cx.push(wrong(at, message).label("needs a prefix of /30 or shorter"));
            None
        }
        Broadcast::Ones => Some(Ipv4Addr::from(u32::from(own) | host_bits)),
        Broadcast::Zeros => Some(Ipv4Addr::from(u32::from(own) & !host_bits)),
    }
}

fn static_interface(first: &Word<'_>, cx: &mut LineCx<'_>) -> Option<crate::spec::IfName> {
    let found = cx.fallback_interface();
    if found.is_none() {
        let name = cx.default_interface.unwrap_or("eth0").to_owned();
        cx.push(
            Diagnostic::new(Class::Fatal, first.span, format!("static address {} has no interface", first.text))
                .label(format!("no `dev`, and {name} does not exist"))
                .help("add `dev IFNAME`, or set `default_interface` in global_defs"),
        );
    }
    found
}

/// The addresses of one instance as they are read: the rules that hold between lines.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    /// `virtual_ipaddress` in order, each with its line.
    pub advertised: Vec<(VirtualAddress, Span)>,
    /// `virtual_ipaddress_excluded` in order, and what did not fit into the advert behind it.
    pub excluded: Vec<(VirtualAddress, Span)>,
    /// Where each was listed, once there are more than [`LOOKED_THROUGH`].
    seen: FxHashMap<(IpAddr, Option<IfName>), Span>,
}

/// So many addresses are looked through faster than a table of them is made.
const LOOKED_THROUGH: usize = 16;

impl Collected {
    /// Takes an address of `virtual_ipaddress`. `family` is the instance's, as far as it is known; the first address
    /// settles it.
    pub fn advertise(&mut self, new: VirtualAddress, at: Span, family: &mut Option<Family>, out: &mut Vec<Diagnostic>) {
        let own = Family::of(&new.address);
        let expected = *family.get_or_insert(own);
        if own != expected {
            return out.push(
                wrong(at, format!("{} is left out: the instance is {expected}", new.address))
                    .label(format!("this is {own}"))
                    .help("move it to virtual_ipaddress_excluded, or give it an instance of its own"),
            );
        }
        if self.is_new(&new, at, out) {
            self.advertised.push((new, at));
        }
    }
    /// Takes an address of `virtual_ipaddress_excluded`: any family.
    pub fn exclude(&mut self, new: VirtualAddress, at: Span, out: &mut Vec<Diagnostic>) {
        if self.is_new(&new, at, out) {
            self.excluded.push((new, at));
        }
    }
    fn is_new(&mut self, new: &VirtualAddress, at: Span, out: &mut Vec<Diagnostic>) -> bool {
        let listed = || self.advertised.iter().chain(&self.excluded);
        let first = if self.seen.is_empty() {
            let same = |a: &VirtualAddress| a.address == new.address && a.interface == new.interface;
            listed().find(|(a, _)| same(a)).map(|(_, span)| *span)
        } else {
            self.seen.get(&(new.address, new.interface.clone())).copied()
        };
        if let Some(first) = first {
            let message = format!("{} is listed twice; this one is left out", new.address);
            out.push(
                wrong(at, message).label("again here").related(first, "first here").help("keep one of the two lines"),
            );
            return false;
        }
        if !self.seen.is_empty() {
            self.seen.insert((new.address, new.interface.clone()), at);
        } else if self.advertised.len() + self.excluded.len() >= LOOKED_THROUGH {
            self.seen = listed().map(|(a, span)| ((a.address, a.interface.clone()), *span)).collect();
            self.seen.insert((new.address, new.interface.clone()), at);
        }
        true
    }
    /// Moves what does not fit into an advert (`limit` from [`most_addresses`]) to the front of the excluded ones.
    pub fn fit(&mut self, limit: usize, out: &mut Vec<Diagnostic>) {
        if self.advertised.len() <= limit {
            return;
        }
        let surplus = self.advertised.split_off(limit);
        if let Some((first, at)) = surplus.first() {
            let message = format!(
                "{} addresses do not fit into an advert of at most {limit}; from {} on they are treated as excluded",
                limit + surplus.len(),
                first.address
            );
            out.push(
                Diagnostic::new(Class::Crowded, *at, message)
                    .label("first that does not fit")
                    .help("move them to virtual_ipaddress_excluded"),
            );
        }
        self.excluded.splice(0..0, surplus);
    }
}

/// How an advert is sealed, as far as its size is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seal {
    /// VRRPv3 without trailer.
    Bare,
    /// VRRPv2 carries 8 bytes of authentication data, used or not.
    V2,
    /// VRRPv2 behind an authentication header: 24 bytes more.
    V2Ah,
    /// HMAC trailer: 28 bytes.
    Hmac,
    /// VRRPv2 with an HMAC trailer.
    V2Hmac,
}

/// How many addresses an advert can carry over an interface of that MTU: at most 255, the counter being one byte.
/// keepalived counts the Ethernet header into the MTU; so do we, or the two would advertise different lists.
pub fn most_addresses(mtu: u32, family: Family, seal: Seal) -> usize {
    let (ip_header, size) = match family {
        Family::V4 => (20, 4),
        Family::V6 => (40, 16),
    };
    let extra = match seal {
        Seal::Bare => 0,
        Seal::V2 => 8,
        Seal::V2Ah => 8 + 24,
        Seal::Hmac => 28,
        Seal::V2Hmac => 8 + 28,
    };
    let room = mtu.saturating_sub(14 + ip_header + 8 + extra);
    ((room / size) as usize).min(255)
}
