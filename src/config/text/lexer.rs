//! Words, quotes and escapes.
//!
//! Two readings of a line exist in the language. The first, for every keyword, knows double quotes only: [`words`]. The
//! second, for options that name a command, reads the same line again with rules like a shell's, [`shell_words`], and then the command
//! line that it found.
//!
//! Lines come from [`expand`](super::expand) without comments and split at braces; nothing here looks at them again.

use nom::branch::alt;
use nom::bytes::complete::{take_while_m_n, take_while1};
use nom::character::complete::{anychar, char, satisfy};
use nom::combinator::recognize;
use nom::sequence::preceded;
use nom::{IResult, Parser};

use super::source::{FileId, Span};
use super::tree::Word;

/// What separates words: as isspace() of the C locale.
pub fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c' | '\n' | '\r' | '\x0b')
}

/// Adds the words of a line to `found`. `base` is where the line begins in the expanded text. Returns the place of a quote
/// that is never closed; the word that it begins is lost.
pub fn words<'s>(line: &'s str, base: u32, found: &mut Vec<Word<'s>>) -> Option<Span> {
    let span = |from: usize, to: usize| Span {
        file: FileId::EXPANDED,
        start: base.saturating_add(from as u32),
        end: base.saturating_add(to as u32),
    };
    let bytes = line.as_bytes();
    let mut end = 0;
    loop {
        let start = find(bytes, end, |byte| !is_space(char::from(byte)));
        let quoted = match bytes.get(start) {
            None => return None,
            Some(byte) => *byte == b'"',
        };
        let text = if quoted {
            let close = find(bytes, start + 1, |byte| byte == b'"');
            if close == bytes.len() {
                return Some(span(start, close));
            }
            end = close + 1;
            start + 1..close
        } else {
            end = find(bytes, start, |byte| is_space(char::from(byte)) || byte == b'"');
            start..end
        };
        found.push(Word { text: line.get(text).unwrap_or_default(), span: span(start, end), quoted });
    }
}

/// The first byte from `from` on of which `ends` is true, or the end. Bytes will do: whatever ends a word is ASCII.
#[inline]
fn find(bytes: &[u8], from: usize, ends: impl Fn(u8) -> bool) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    rest.iter().position(|byte| ends(*byte)).map_or(bytes.len(), |at| from + at)
}

/// What is wrong in a line read with the shell-like rules.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unreadable {
    /// Bytes from the start of the text that was given.
    pub start: usize,
    pub end: usize,
    /// A sentence without a full stop, e.g. "this quote is never closed".
    pub message: &'static str,
}

/// What one reading made of a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reading {
    /// Quotes are taken off, escapes resolved. A zero byte ends a word.
    pub words: Vec<String>,
    /// The quote that the end of the line closed: it stood last, or an escape did.
    pub open: Option<char>,
}

/// What keepalived does with escapes where it takes a script's line apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Escapes {
    /// Up to 2.2.7: they are resolved, and the command line is read once more as it is then, so that `"sh -c \"a b\""` has
    /// three arguments and `"a\ b"` two.
    Resolved,
    /// Later: they stay for the reading of the command line.
    Kept,
}

/// One reading of keepalived's of a line that names a command: `"` and `'` quote, also in the middle of a word, and a backslash
/// escapes everywhere, in single quotes too. The line is read by it, and then its first word, which is the command line; the second
/// and third are the user and the group.
///
/// # Errors
/// A quote that is never closed, or a backslash at the end.
pub fn shell_words(line: &str, escapes: Escapes) -> Result<Reading, Unreadable> {
    let mut words = Vec::new();
    let mut quote: Option<(char, usize)> = None;
    let mut rest = line.trim_start_matches(is_space);
    while !rest.is_empty() {
        let mut word = Vec::new();
        while !rest.is_empty() {
            let ends = |c| match quote {
                Some((open, _)) => c == open || c == '\\',
                None => matches!(c, '"' | '\'' | '\\') || is_space(c),
            };
            let (plain, special) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
            word.extend_from_slice(plain.as_bytes());
            let at = line.len() - special.len();
            let unreadable = |start, message| Err(Unreadable { start, end: line.len(), message });
            rest = match (special.chars().next(), quote) {
                (None, Some((_, start))) => return unreadable(start, "this quote is never closed"),
                (None, None) => "",
                (Some('\\'), _) => {
                    let Ok((after, byte)) = escape(special) else {
                        return unreadable(at, "nothing follows this backslash");
                    };
                    let after = if escapes == Escapes::Kept { after_pair(special) } else { after };
                    let written = special.get(..special.len() - after.len()).unwrap_or("");
                    match byte.filter(|_| escapes == Escapes::Resolved) {
                        Some(byte) => word.push(byte),
                        None if escapes == Escapes::Kept => word.extend_from_slice(written.as_bytes()),
                        None => word.extend_from_slice(written.get(1..).unwrap_or("").as_bytes()),
                    }
                    after
                }
                (Some(first @ ('"' | '\'')), _) => {
                    quote = if quote.is_none() { Some((first, at)) } else { None };
                    special.get(1..).unwrap_or("")
                }
                (Some(_), _) => {
                    rest = special;
                    break;
                }
            };
        }
        word.truncate(find(&word, 0, |byte| byte == 0));
        words.push(super::source::text_of(word));
        rest = rest.trim_start_matches(is_space);
    }
    Ok(Reading { words, open: quote.map(|(open, _)| open) })
}

/// Whether the double quotes of a line pair up without those that a backslash stands before.
pub fn quotes_pair(mut line: &str) -> bool {
    let mut pair = true;
    while let Some(at) = line.find(['"', '\\']) {
        let found = line.get(at..).unwrap_or("");
        pair ^= found.starts_with('"');
        line = if found.starts_with('"') { found.get(1..).unwrap_or("") } else { after_pair(found) };
    }
    pair
}

/// What follows a backslash and one character.
fn after_pair(text: &str) -> &str {
    let mut chars = text.chars();
    chars.next();
    chars.next();
    chars.as_str()
}

/// A backslash and what it escapes: the byte meant, or `None` for a character that stands for itself.
fn escape(input: &str) -> IResult<&str, Option<u8>> {
    let is_hex = |c: char| c.is_ascii_hexdigit();
    let is_octal = |c: char| c.is_digit(8);
    let byte = |radix| move |digits: &str| Some(u16::from_str_radix(digits, radix).unwrap_or(0) as u8);
    // Of more than two digits the last ones count.
    let hexadecimal = preceded(char('x'), take_while1(is_hex)).map(|digits: &str| {
        let last = digits.get(digits.len().saturating_sub(2)..).unwrap_or(digits);
        Some(u8::from_str_radix(last, 16).unwrap_or(0))
    });
    let control = preceded(char('c'), satisfy(|c| c.is_ascii())).map(|c| Some(c as u8 & 0x1f));
    let octal = take_while_m_n(1, 3, is_octal).map(byte(8));
    let named = satisfy(|c| "abEfnrtv".contains(c)).map(|c| {
        Some(match c {
            'a' => 0x07,
            'b' => 0x08,
            'E' => 0x1b,
            'f' => 0x0c,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            _ => 0x0b,
        })
    });
    let itself = recognize(anychar).map(|_| None);
    preceded(char('\\'), alt((hexadecimal, control, octal, named, itself))).parse(input)
}
