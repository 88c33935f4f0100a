//! What all line languages share: the words of one line in order, what is known about the machine, where complaints go.
//!
//! Addresses, routes, rules, peers and trackers are written one to a line, as `ip` would take them, not as keyword and
//! block. Their readers ([`address`], [`route`], [`rule`], [`lists`]) take a [`Node`] and a
//! [`LineCx`] and give a value or nothing; whatever is wrong is said here, once, at the word that is wrong.
//!
//! This file knows no grammar of its own and touches no file and no kernel: interfaces come through [`Host`], names of
//! tables and scopes through [`Names`].

pub mod address;
pub mod encap;
pub mod family;
pub mod lists;
pub mod metric;
pub mod names;
pub mod route;
pub mod rule;

use super::report::{Class, Diagnostic};
use crate::config::line::names::Names;
pub use crate::config::table::values::ip_address as ip;
use crate::config::text::source::Span;
use crate::config::text::tree::{Node, Word, undefined};
use crate::spec::IfName;
use crate::wire::Family;
use std::net::IpAddr;

/// What the language may ask about the machine it is read for.
pub trait Host {
    /// Is there such an interface (or one that the configuration itself makes)? True when nobody can know.
    fn has_interface(&self, name: &str) -> bool;
    /// Routing table of a VRF device; `None` if there is no such device or it is no VRF.
    fn vrf_table(&self, name: &str) -> Option<u32>;
}

/// A machine of which nothing is known: every interface may be there.
pub struct AnyHost;
impl Host for AnyHost {
    fn has_interface(&self, _: &str) -> bool {
        true
    }
    fn vrf_table(&self, _: &str) -> Option<u32> {
        None
    }
}

/// In which list a line stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum List {
    /// `virtual_ipaddress`, `virtual_routes`, `virtual_rules`.
    Virtual,
    /// `virtual_ipaddress_excluded`.
    Excluded,
    /// `static_ipaddress`, `static_routes`, `static_rules`.
    Static,
}

/// Surroundings of a line.
pub struct LineCx<'a> {
    pub list: List,
    /// Complaints, in the order of the text.
    pub out: &'a mut Vec<Diagnostic>,
    pub host: &'a dyn Host,
    pub names: &'a Names<'a>,
    /// `dynamic_interfaces`: an unknown interface may come later.
    pub dynamic_interfaces: bool,
    /// `default_interface`; `eth0` when absent.
    pub default_interface: Option<&'a str>,
    /// Names of the `track_group`s defined so far.
    pub track_groups: &'a [Box<str>],
    /// Set when a line names an interface that is not there: keepalived then stops before its checks across blocks.
    pub missing_interface: bool,
}

/// A complaint of the ordinary kind: exit code 5.
pub fn wrong(span: Span, message: impl Into<String>) -> Diagnostic {
    Diagnostic::new(Class::General, span, message)
}

impl LineCx<'_> {
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        self.out.push(diagnostic);
    }
    /// A complaint at a word; `message` stands for the whole, `label` at the word.
    pub fn say(&mut self, word: &Word<'_>, message: impl Into<String>, label: &str) {
        self.push(wrong(word.span, message).label(label));
    }

    /// The interface that a word names, if it is there or may come.
    pub fn interface(&mut self, word: &Word<'_>) -> Option<IfName> {
        let Some(name) = IfName::new(word.text) else {
            self.say(word, format!("`{}` cannot be the name of an interface", word.text), "1 to 15 bytes");
            self.missing_interface |= !self.dynamic_interfaces;
            return None;
        };
        if !self.dynamic_interfaces && !self.host.has_interface(word.text) {
            self.missing_interface = true;
            self.push(
                wrong(word.span, format!("interface `{}` does not exist", word.text))
                    .label("not on this machine")
                    .help("correct the name, or set `dynamic_interfaces` in global_defs if it is made later"),
            );
            return None;
        }
        Some(name)
    }

    /// Interface for static items that name none: `default_interface`, else eth0.
    pub fn fallback_interface(&mut self) -> Option<IfName> {
        let name = self.default_interface.unwrap_or("eth0");
        let known = self.dynamic_interfaces || self.host.has_interface(name);
        self.missing_interface |= !known;
        IfName::new(name).filter(|_| known)
    }

    /// A `track_group` named by a static item.
    pub fn track_group(&mut self, word: &Word<'_>) -> Option<Box<str>> {
        if self.track_groups.iter().any(|known| **known == *word.text) {
            return Some(word.text.into());
        }
        self.push(
            wrong(word.span, format!("there is no track_group `{}` before this line", word.text))
                .label("unknown here")
                .help("define the track_group above the static block that uses it"),
        );
        None
    }
}

/// The words of a line, one after the other.
pub struct Words<'n, 's> {
    node: &'n Node<'s>,
    at: usize,
}

impl<'n, 's> Words<'n, 's> {
    /// All words of a line.
    pub fn of(node: &'n Node<'s>) -> Self {
        Words { node, at: 0 }
    }
    /// All words but the first: the arguments of a keyword.
    pub fn arguments(node: &'n Node<'s>) -> Self {
        Words { node, at: 1 }
    }
    /// The next word, without going past it.
    pub fn peek(&self) -> Option<&'n Word<'s>> {
        match self.at {
            0 => Some(&self.node.keyword),
            n => self.node.args.get(n - 1),
        }
    }
    /// How many words are left.
    pub fn left(&self) -> usize {
        (self.node.args.len() + 1).saturating_sub(self.at)
    }
    /// Takes the next word if it is `text`.
    pub fn take_word(&mut self, text: &str) -> bool {
        let found = self.peek().is_some_and(|word| word.text == text);
        self.at += usize::from(found);
        found
    }
    /// Passes over everything that is left.
    pub fn skip_rest(&mut self) {
        self.at = self.node.args.len() + 1;
    }
    /// The word after `keyword`, without which keepalived reads nothing further ([`Class::Abort`], exit code 2).
    pub fn value(&mut self, keyword: &Word<'_>, cx: &mut LineCx<'_>) -> Option<&'n Word<'s>> {
        let next = self.next();
        if next.is_none() {
            cx.push(
                Diagnostic::new(
                    Class::Abort,
                    keyword.span,
                    format!("`{}` needs a value; nothing after this line is read", keyword.text),
                )
                .label("a value must follow"),
            );
        }
        next
    }
}

impl<'n, 's> Iterator for Words<'n, 's> {
    type Item = &'n Word<'s>;
    fn next(&mut self) -> Option<&'n Word<'s>> {
        let word = self.peek();
        self.at += usize::from(word.is_some());
        word
    }
}

/// Decimal digits only: no sign, no 0x, nothing behind; blanks in front (quoted words) are passed over.
pub fn unsigned(text: &str) -> Option<u64> {
    let digits = text.trim_start_matches([' ', '\t']);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// [`unsigned`] within `least..=most`.
pub fn unsigned_in(text: &str, least: u64, most: u64) -> Option<u64> {
    unsigned(text).filter(|n| (least..=most).contains(n))
}

/// Decimal with an optional sign, within `least..=most`.
pub fn signed_in(text: &str, least: i64, most: i64) -> Option<i64> {
    let text = text.trim_start_matches([' ', '\t']);
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let size = i64::try_from(unsigned(digits).filter(|_| !digits.starts_with([' ', '\t']))?).ok()?;
    let value = if text.starts_with('-') { -size } else { size };
    (least..=most).contains(&value).then_some(value)
}

/// As C's `strtoul(…, 0)`: 0x hexadecimal, leading 0 octal, else decimal; no sign.
pub fn any_base(text: &str) -> Option<u64> {
    let text = text.trim_start_matches([' ', '\t']);
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return clean(hex, 16);
    }
    match text.strip_prefix('0') {
        Some("") => Some(0),
        Some(octal) => clean(octal, 8),
        None => clean(text, 10),
    }
}
fn clean(digits: &str, base: u32) -> Option<u64> {
    if digits.starts_with(['+', '-']) { None } else { u64::from_str_radix(digits, base).ok() }
}

/// The cure of a line that is to be an address and has signs or names of other kinds of files: the addresses that stand in it.
pub fn addresses_in(node: &Node<'_>) -> Option<String> {
    let parts = node.words().flat_map(|word| word.text.split([',', ';', '"', '\'', '[', ']', '(', ')', '<', '>']));
    let plain = |part: &str| {
        let part = part.rsplit("//").next().unwrap_or(part);
        let host = part.split('/').next().unwrap_or(part);
        if ip(host).is_some() {
            return Some(part.to_owned());
        }
        let (host, port) = host.rsplit_once(':')?;
        let is_port = ip(host).is_some_and(|host| host.is_ipv4()) && port.bytes().all(|b| b.is_ascii_digit());
        is_port.then(|| host.to_owned())
    };
    let found: Vec<String> = parts.filter_map(plain).collect();
    match found.as_slice() {
        [] => {
            let first = node.keyword.text;
            if let Some(cure) = undefined(first) {
                return Some(cure);
            }
            let name = first.contains('.') && first.contains(|c: char| c.is_ascii_alphabetic());
            name.then(|| "names are not looked up here: write the address".to_owned())
        }
        [one] => Some(format!("write `{one}`, and nothing else in the line")),
        several => Some(format!("write one address a line: `{}`", several.join("`, `"))),
    }
}

/// Length of a prefix that names one host.
pub const fn host_prefix(family: Family) -> u8 {
    match family {
        Family::V4 => 32,
        Family::V6 => 128,
    }
}

/// `ADDR[/PREFIX]`. A prefix out of range is complained about and the host prefix used; a bad address is `None`.
pub fn address_and_prefix(word: &Word<'_>, cx: &mut LineCx<'_>) -> Option<(IpAddr, u8)> {
    let (text, prefix) = match word.text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (word.text, None),
    };
    let address = ip(text)?;
    let most = host_prefix(Family::of(&address));
    let Some(prefix) = prefix else { return Some((address, most)) };
    let within = |text: &str| unsigned_in(text, 0, u64::from(most)).map(|n| n as u8);
    let length = within(prefix);
    // 2.2.7 takes the number at the beginning: `/24,` is /24.
    let digits = prefix.find(|c: char| !c.is_ascii_digit()).and_then(|end| within(prefix.get(..end)?));
    let taken = length.or(digits).unwrap_or(most);
    if length.is_none() {
        let message = format!("prefix length `{prefix}` of {text} is out of range; /{taken} is used");
        let cure =
            if digits.is_some() { format!("write {text}/{taken}") } else { format!("write {text}/N, N up to {most}") };
        cx.push(wrong(word.span, message).label(format!("0 to {most}")).help(cure));
    }
    Some((address, taken))
}

/// `REALM[/REALM]`: the source realm in the upper half.
pub fn realms(text: &str, names: &Names<'_>) -> Option<u32> {
    match text.split_once('/') {
        None => names.realm(text),
        Some((from, to)) => Some(names.realm(from)? << 16 | names.realm(to)?),
    }
}
