//! Kinds of arguments: what a word may be, what it means, and what a complaint about it says.
//!
//! A [`Value`] reads one word. A range error names the range; a word that is usable although something is wrong with it
//! (too many decimals) is complained about and used, as keepalived does.

use super::block::Cx;
use crate::config::report::{Class, Diagnostic};
use crate::config::text::tree::Word;
use crate::spec::IfName;
use crate::time::Interval;
use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A kind of argument.
pub trait Value {
    type Out: Clone;
    /// As the listing shows it: `UINT[0..4294]`.
    fn kind(&self) -> Cow<'static, str>;
    /// In words, after "expected": `a whole number from 0 to 4294`.
    fn expected(&self) -> String;
    fn read(&self, word: &str) -> Result<Self::Out, Wrong<Self::Out>>;
    /// Reads and complains; `None` when nothing usable was there.
    fn take(&self, word: Word<'_>, keyword: &str, cx: &mut Cx<'_>) -> Option<Self::Out> {
        self.take_or(word, keyword, " and is ignored", cx)
    }
    /// The same; `outcome` ends the sentence about a word of which nothing is usable.
    fn take_or(&self, word: Word<'_>, keyword: &str, outcome: &str, cx: &mut Cx<'_>) -> Option<Self::Out> {
        match self.read(word.text) {
            Ok(value) => Some(value),
            Err(wrong) => {
                let outcome = if wrong.usable.is_some() { "" } else { outcome };
                let message = match wrong.problem {
                    Some(problem) => format!("`{keyword}`: {problem}"),
                    None => format!("`{keyword}` cannot be `{}`{outcome}", word.text),
                };
                cx.push(
                    Diagnostic::new(wrong.class, word.span, message).label(format!("expected {}", self.expected())),
                );
                wrong.usable
            }
        }
    }
}

/// What is wrong with a word.
#[derive(Clone, Debug)]
pub struct Wrong<T> {
    pub class: Class,
    /// A sentence of its own, when "cannot be `word`" does not say it.
    pub problem: Option<String>,
    /// What is used all the same.
    pub usable: Option<T>,
}
impl<T> Wrong<T> {
    pub(crate) fn class(class: Class) -> Self {
        Wrong { class, problem: None, usable: None }
    }
    pub(crate) fn number() -> Self {
        Wrong::class(Class::InvalidNumber)
    }
    pub(crate) fn general() -> Self {
        Wrong::class(Class::General)
    }
    pub(crate) fn because(mut self, problem: impl Into<String>) -> Self {
        self.problem = Some(problem.into());
        self
    }
    pub(crate) fn but_used(mut self, value: T) -> Self {
        self.usable = Some(value);
        self
    }
}

/// `true`, `on`, `yes`; `false`, `off`, `no`. Lower case only.
#[derive(Clone, Copy, Debug)]
pub struct Bool;
impl Value for Bool {
    type Out = bool;
    fn kind(&self) -> Cow<'static, str> {
        "BOOL".into()
    }
    fn expected(&self) -> String {
        "true, on, yes, false, off or no".into()
    }
    fn read(&self, word: &str) -> Result<bool, Wrong<bool>> {
        match word {
            "true" | "on" | "yes" => Ok(true),
            "false" | "off" | "no" => Ok(false),
            _ => Err(Wrong::general()),
        }
    }
}

/// A decimal number as keepalived reads it: leading blanks (inside quotes) and a plus sign allowed, a minus sign only
/// where negative numbers are, nothing after the digits.
pub fn decimal(word: &str, signed: bool) -> Option<i64> {
    let word = word.trim_start();
    let digits = word.strip_prefix('+').or_else(|| word.strip_prefix('-').filter(|_| signed)).unwrap_or(word);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    word.strip_prefix('+').unwrap_or(word).parse().ok()
}

/// The number in front of a word like `5s`, which keepalived's daemon uses although it complains.
pub fn leading(word: &str, signed: bool) -> Option<i64> {
    let word = word.trim_start();
    let sign = usize::from(word.starts_with('+') || (signed && word.starts_with('-')));
    let digits = word.bytes().skip(sign).take_while(u8::is_ascii_digit).count();
    decimal(word.get(..sign + digits)?, signed)
}

/// Decimal number × 10^`places`, rounded half up, and whether nothing was lost. No exponent, no unit; a plus sign and blanks
/// in front are taken, as by keepalived.
pub fn fixed_point(text: &str, places: usize) -> Option<(u64, bool)> {
    let text = text.trim_start();
    let text = text.strip_prefix('+').unwrap_or(text);
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && part.is_empty()) || !digits(whole) || !digits(part) {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let (kept, lost) = part.split_at(part.len().min(places));
    let mut value = whole.checked_mul(10u64.checked_pow(places as u32)?)?;
    if !kept.is_empty() {
        let scale = 10u64.checked_pow((places - kept.len()) as u32)?;
        value = value.checked_add(kept.parse::<u64>().ok()?.checked_mul(scale)?)?;
    }
    value = value.checked_add(u64::from(lost.bytes().next().is_some_and(|b| b >= b'5')))?;
    Some((value, lost.is_empty()))
}

/// A whole number, 0 or more.
#[derive(Clone, Copy, Debug)]
pub struct Uint {
    pub min: u32,
    pub max: u32,
    lenient: bool,
}
impl Uint {
    /// Nothing of a word is used that is more than a number.
    pub const fn exact(mut self) -> Uint {
        self.lenient = false;
        self
    }
}
/// A whole number from `min` to `max`.
pub const fn uint(min: u32, max: u32) -> Uint {
    Uint { min, max, lenient: true }
}
impl Value for Uint {
    type Out = u32;
    fn kind(&self) -> Cow<'static, str> {
        format!("UINT[{}..{}]", self.min, self.max).into()
    }
    fn expected(&self) -> String {
        match self.max {
            u32::MAX => format!("a whole number, {} or more", self.min),
            max => format!("a whole number from {} to {max}", self.min),
        }
    }
    fn read(&self, word: &str) -> Result<u32, Wrong<u32>> {
        let in_range = |n: i64| u32::try_from(n).ok().filter(|n| (self.min..=self.max).contains(n));
        if let Some(number) = decimal(word, false) {
            return in_range(number).ok_or_else(Wrong::number);
        }
        Err(match leading(word, false).and_then(in_range).filter(|_| self.lenient) {
            Some(n) => Wrong::number().because(format!("`{word}` is no number; {n} is used")).but_used(n),
            None => Wrong::number(),
        })
    }
}

/// A whole number with a sign.
#[derive(Clone, Copy, Debug)]
pub struct Int {
    pub min: i32,
    pub max: i32,
}
/// A whole number from `min` to `max`, negative ones included.
pub const fn int(min: i32, max: i32) -> Int {
    Int { min, max }
}
impl Value for Int {
    type Out = i32;
    fn kind(&self) -> Cow<'static, str> {
        format!("INT[{}..{}]", self.min, self.max).into()
    }
    fn expected(&self) -> String {
        format!("a whole number from {} to {}", self.min, self.max)
    }
    fn read(&self, word: &str) -> Result<i32, Wrong<i32>> {
        let in_range = |n: i64| i32::try_from(n).ok().filter(|n| (self.min..=self.max).contains(n));
        if let Some(number) = decimal(word, true) {
            return in_range(number).ok_or_else(Wrong::number);
        }
        Err(match leading(word, true).and_then(in_range) {
            Some(n) => Wrong::number().because(format!("`{word}` is no number; {n} is used")).but_used(n),
            None => Wrong::number(),
        })
    }
}

/// Seconds with decimals.
#[derive(Clone, Copy, Debug)]
pub struct Timer {
    pub min: Interval,
    pub max: Interval,
    /// How many decimals are read; more are rounded with a complaint.
    pub decimals: u32,
}
/// Seconds with up to six decimals, both ends in microseconds.
pub const fn timer(min_us: u64, max_us: u64) -> Timer {
    Timer { min: Interval::from_micros(min_us), max: Interval::from_micros(max_us), decimals: 6 }
}
/// The longest time keepalived's counters hold: 4294.967295 s.
pub const LONGEST_US: u64 = 4_294_967_295;
impl Timer {
    /// Reads with fewer decimals.
    pub const fn decimals(mut self, decimals: u32) -> Timer {
        self.decimals = decimals;
        self
    }
}
impl Value for Timer {
    type Out = Interval;
    fn kind(&self) -> Cow<'static, str> {
        let places = if self.decimals == 6 { String::new() } else { format!(" {} decimals", self.decimals) };
        format!("TIMER[{}..{}]{places}", self.min, self.max).into()
    }
    fn expected(&self) -> String {
        format!("seconds from {} to {}, with up to {} decimals", self.min, self.max, self.decimals)
    }
    fn read(&self, word: &str) -> Result<Interval, Wrong<Interval>> {
        let (units, exact) = fixed_point(word, self.decimals as usize).ok_or_else(Wrong::number)?;
        let unit = 10u64.saturating_pow(6u32.saturating_sub(self.decimals));
        let interval = Interval::from_micros(units.saturating_mul(unit));
        if interval < self.min || interval > self.max {
            return Err(Wrong::number());
        }
        if exact {
            return Ok(interval);
        }
        Err(Wrong::number().because(format!("`{word}` has too many decimals; {interval} is used")).but_used(interval))
    }
}

/// A word, up to a length.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    kind: &'static str,
    /// Longer is cut with a complaint.
    longest: usize,
}
/// Any word.
pub const STR: Text = Text { kind: "STR", longest: usize::MAX };
/// A file name.
pub const PATH: Text = Text { kind: "PATH", longest: usize::MAX };
/// A directory name.
pub const DIR: Text = Text { kind: "DIR", longest: usize::MAX };
/// A word of at most `longest` bytes; what is longer is cut.
pub const fn text_up_to(longest: usize) -> Text {
    Text { kind: "STR", longest }
}
impl Value for Text {
    type Out = Box<str>;
    fn kind(&self) -> Cow<'static, str> {
        if self.longest == usize::MAX { self.kind.into() } else { format!("{}[<={}]", self.kind, self.longest).into() }
    }
    fn expected(&self) -> String {
        match self.kind {
            "PATH" => "a file name".into(),
            "DIR" => "a directory".into(),
            _ if self.longest == usize::MAX => "a word".into(),
            _ => format!("a word of at most {} bytes", self.longest),
        }
    }
    fn read(&self, word: &str) -> Result<Box<str>, Wrong<Box<str>>> {
        if word.len() <= self.longest {
            return Ok(word.into());
        }
        let cut = (0..=self.longest).rev().find_map(|end| word.get(..end)).unwrap_or("");
        Err(Wrong::general().because(format!("`{word}` is too long; `{cut}` is used")).but_used(cut.into()))
    }
}

/// A password: a word that is never told, of which only some bytes count.
#[derive(Clone, Copy, Debug)]
pub struct Password {
    /// What is longer is cut with a complaint.
    longest: usize,
}
/// A password of which at most `longest` bytes count.
pub const fn password_up_to(longest: usize) -> Password {
    Password { longest }
}
impl Value for Password {
    type Out = Box<str>;
    fn kind(&self) -> Cow<'static, str> {
        format!("STR[<={}]", self.longest).into()
    }
    fn expected(&self) -> String {
        format!("a word of at most {} bytes", self.longest)
    }
    fn read(&self, word: &str) -> Result<Box<str>, Wrong<Box<str>>> {
        text_up_to(self.longest).read(word).map_err(|wrong| {
            wrong.because(format!("the word is too long; only its first {} bytes count", self.longest))
        })
    }
}

/// The name of a network interface.
#[derive(Clone, Copy, Debug)]
pub struct InterfaceName;
/// The name of a network interface.
pub const IFNAME: InterfaceName = InterfaceName;
impl Value for InterfaceName {
    type Out = IfName;
    fn kind(&self) -> Cow<'static, str> {
        "IFNAME".into()
    }
    fn expected(&self) -> String {
        "an interface name of 1 to 15 bytes".into()
    }
    fn read(&self, word: &str) -> Result<IfName, Wrong<IfName>> {
        IfName::new(word).ok_or_else(Wrong::general)
    }
}

/// An address; a prefix length or the end of a range behind it is not read.
#[derive(Clone, Copy, Debug)]
pub struct Address {
    multicast: bool,
    family: Option<crate::wire::Family>,
}
/// An IPv4 or IPv6 address.
pub const IPADDR: Address = Address { multicast: false, family: None };
/// A multicast address of either family.
pub const GROUP: Address = Address { multicast: true, family: None };
/// An IPv4 multicast address.
pub const GROUP4: Address = Address { multicast: true, family: Some(crate::wire::Family::V4) };
/// An IPv6 multicast address.
pub const GROUP6: Address = Address { multicast: true, family: Some(crate::wire::Family::V6) };
impl Value for Address {
    type Out = IpAddr;
    fn kind(&self) -> Cow<'static, str> {
        match (self.multicast, self.family) {
            (false, _) => "IPADDR",
            (true, None) => "IPADDR(mcast)",
            (true, Some(crate::wire::Family::V4)) => "IPADDR(v4 mcast)",
            (true, Some(crate::wire::Family::V6)) => "IPADDR(v6 mcast)",
        }
        .into()
    }
    fn expected(&self) -> String {
        let family = self.family.map_or("IPv4 or IPv6".to_owned(), |f| f.to_string());
        format!("an {family} {}address", if self.multicast { "multicast " } else { "" })
    }
    fn read(&self, word: &str) -> Result<IpAddr, Wrong<IpAddr>> {
        let address = ip_address(without_range(word)).ok_or_else(Wrong::general)?;
        let family_fits = self.family.is_none_or(|f| f == crate::wire::Family::of(&address));
        if !family_fits || (self.multicast && !address.is_multicast()) {
            return Err(Wrong::general());
        }
        match unread(word) {
            None => Ok(address),
            Some(problem) => Err(Wrong::class(Class::Note).because(problem).but_used(address)),
        }
    }
}

/// An address as inet_pton reads it; a colon anywhere makes it IPv6.
pub fn ip_address(word: &str) -> Option<IpAddr> {
    if word.contains(':') {
        return word.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    word.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
}

/// An address without what may stand behind it: keepalived cuts a prefix length and the end of a range off before it reads one
/// in most places.
pub fn without_range(word: &str) -> &str {
    let end = word.bytes().position(|byte| matches!(byte, b'-' | b'/'));
    end.and_then(|end| word.get(..end)).unwrap_or(word)
}

/// The note for a word from which [`without_range`] cut something off. keepalived takes it without a word.
pub fn unread(word: &str) -> Option<String> {
    let rest = word.strip_prefix(without_range(word)).filter(|rest| !rest.is_empty())?;
    Some(format!("`{rest}` behind the address is not read"))
}

/// The older way to write an IPv4 address, of one to four numbers: octal after 0, hexadecimal after 0x, the last one
/// filling what is left (`inet_aton(3)`).
pub fn inet_aton(word: &str) -> Option<u32> {
    let number = |part: &str| {
        let (digits, radix) = match part.as_bytes() {
            [b'0', b'x' | b'X', ..] => (part.get(2..)?, 16),
            [b'0', _, ..] => (part.get(1..)?, 8),
            _ => (part, 10),
        };
        if digits.starts_with('+') { None } else { u32::from_str_radix(digits, radix).ok() }
    };
    let parts: Vec<u32> = word.split('.').map(number).collect::<Option<_>>()?;
    let (last, bytes) = parts.split_last()?;
    let room = 4u32.checked_sub(bytes.len() as u32).filter(|room| *room > 0)?;
    if bytes.iter().any(|byte| *byte > 255) || u64::from(*last) >= 1u64 << (8 * room) {
        return None;
    }
    Some(bytes.iter().zip([24, 16, 8]).fold(*last, |address, (byte, shift)| address | byte << shift))
}

/// One of some words.
pub struct OneOf<T: 'static> {
    words: &'static [(&'static str, T)],
    any_case: bool,
}
/// One of some words, each with what it means.
pub const fn one_of<T>(words: &'static [(&'static str, T)]) -> OneOf<T> {
    OneOf { words, any_case: false }
}
impl<T> OneOf<T> {
    /// Upper and lower case are the same.
    pub const fn any_case(mut self) -> Self {
        self.any_case = true;
        self
    }
}
impl<T: Clone> Value for OneOf<T> {
    type Out = T;
    fn kind(&self) -> Cow<'static, str> {
        self.words.iter().map(|w| w.0).collect::<Vec<_>>().join(" or ").into()
    }
    fn expected(&self) -> String {
        self.words.iter().map(|w| w.0).collect::<Vec<_>>().join(", ")
    }
    fn read(&self, word: &str) -> Result<T, Wrong<T>> {
        let same = |w: &str| if self.any_case { w.eq_ignore_ascii_case(word) } else { w == word };
        self.words.iter().find(|w| same(w.0)).map(|w| w.1.clone()).ok_or_else(Wrong::general)
    }
}
