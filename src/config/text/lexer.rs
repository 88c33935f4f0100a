//! Words, quotes and escapes.
//!
//! Two readings of a line exist in the language. The first, for every keyword, knows double quotes only: [`words`]. The
//! second, for options that name a command, reads the same line again with rules like a shell's: [`script_words`] takes the
//! line apart, [`split_command`] the command.
//!
//! Lines come from [`expand`](super::expand) without comments and split at braces; nothing here looks at them again.

use nom::branch::alt;
use nom::bytes::complete::{take_while, take_while_m_n};
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

/// [`Node::raw`](super::tree::Node::raw) of a script option: the command line, the user, the group. Quotes are taken
/// off; backslash escapes are kept, for [`split_command`] reads the command line again.
///
/// # Errors
/// A quote that is never closed, or a backslash at the end.
pub fn script_words(raw: &str) -> Result<Vec<String>, Unreadable> {
    shell_words(raw, false)
}

/// A command line into its arguments: quotes taken off, escapes resolved.
///
/// # Errors
/// A quote that is never closed, or a backslash at the end.
pub fn split_command(command: &str) -> Result<Vec<String>, Unreadable> {
    shell_words(command, true)
}

/// keepalived's rules: `"` and `'` quote, also in the middle of a word, and a backslash escapes everywhere, in single
/// quotes too.
fn shell_words(line: &str, resolve: bool) -> Result<Vec<String>, Unreadable> {
    let mut words = Vec::new();
    let mut rest = line.trim_start_matches(is_space);
    while !rest.is_empty() {
        let mut word = Vec::new();
        let mut quote: Option<(char, usize)> = None;
        // Escaped quotes inside of quotes, of the kinds that quote when the command line is read again.
        let mut nested = [None; 2];
        // The same outside of quotes, up to the one that closes it.
        let mut escaped_open = None;
        while let Some(first) = rest.chars().next() {
            let at = line.len() - rest.len();
            rest = match (first, quote) {
                ('\\', Some(_)) if let Some((length, kept)) = nested_in(rest, nested) => {
                    word.extend_from_slice(kept.as_bytes());
                    rest.get(length..).unwrap_or("")
                }
                ('\\', None)
                    if !resolve
                        && let Some((open, after)) = escaped_quote(rest)
                        && (escaped_open == Some(open) || (escaped_open.is_none() && closes_in_word(after, open))) =>
                {
                    escaped_open = if escaped_open.is_none() { Some(open) } else { None };
                    word.push(open as u8);
                    after
                }
                ('\\', _) => {
                    let escaped: IResult<&str, Option<u8>> = escape(rest);
                    let Ok((after, byte)) = escaped else {
                        return Err(Unreadable {
                            start: at,
                            end: line.len(),
                            message: "nothing follows this backslash",
                        });
                    };
                    let as_written = rest.get(..rest.len() - after.len()).unwrap_or("");
                    match byte {
                        _ if !resolve => keep_escape(as_written, &mut word),
                        Some(byte) => word.push(byte),
                        None => word.extend_from_slice(as_written.get(1..).unwrap_or("").as_bytes()),
                    }
                    if resolve { after } else { after_escape_kept(rest) }
                }
                (c, Some((open, _))) if c == open => {
                    quote = None;
                    rest.get(1..).unwrap_or("")
                }
                ('"' | '\'', None) => {
                    quote = Some((first, at));
                    rest = rest.get(1..).unwrap_or("");
                    nested =
                        ['"', '\''].map(|kind| (!resolve && quotes_pair_inside(rest, first, kind)).then_some(kind));
                    rest
                }
                (c, None) if is_space(c) => break,
                (c, _) => {
                    word.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    rest.get(c.len_utf8()..).unwrap_or("")
                }
            };
        }
        if let Some((open, start)) = quote
            && (resolve || !ends_all_the_same(line.get(start + 1..).unwrap_or(""), open))
        {
            return Err(Unreadable { start, end: line.len(), message: "this quote is never closed" });
        }
        // A quote that stands alone at the end of the line is no word.
        if quote.is_none() || !word.is_empty() {
            words.push(super::source::text_of(word));
        }
        rest = rest.trim_start_matches(is_space);
    }
    Ok(words)
}

/// Whether 2.2.7 takes a quote that nothing closes for closed at the end of the line: one that stands last, as in `/bin/check"`,
/// and one behind which an escaped quote is the last, as in `"/bin/check\"`.
fn ends_all_the_same(after: &str, open: char) -> bool {
    let after = after.trim_end_matches(is_space);
    let before = after.strip_suffix(open).and_then(|before| before.strip_suffix('\\'));
    after.is_empty() || before.is_some_and(|before| !before.is_empty())
}

/// A command of [`script_words`] without the escaped quote at its end that no other pairs with, and that quote: 2.2.7 runs what
/// is before it.
pub fn lonely_quote(command: &str) -> Option<(&str, char)> {
    let quote = command.chars().next_back().filter(|last| matches!(last, '"' | '\''))?;
    let before = command.strip_suffix(quote)?.strip_suffix('\\')?;
    (!before.is_empty() && !before.ends_with('\\') && !before.contains(quote)).then_some((before, quote))
}

/// How many double quotes a line has that are not escaped.
pub fn quotes(mut rest: &str) -> usize {
    let mut quotes = 0;
    while let Some(at) = rest.find(['"', '\\']) {
        rest = rest.get(at..).unwrap_or("");
        quotes += usize::from(rest.starts_with('"'));
        rest = if rest.starts_with('"') { rest.get(1..).unwrap_or("") } else { after_escape_kept(rest) };
    }
    quotes
}

/// A command whose escaped blanks divide words, as with 2.2.7; `None` without such blanks.
pub fn divided(command: &str) -> Option<String> {
    let mut divided = String::with_capacity(command.len());
    let mut rest = command;
    while let Some(first) = rest.chars().next() {
        let after = if first == '\\' { after_escape_kept(rest) } else { rest.get(first.len_utf8()..).unwrap_or("") };
        let piece = rest.get(..rest.len() - after.len()).unwrap_or("");
        divided.push_str(piece.strip_prefix('\\').filter(|blank| blank.starts_with(is_space)).unwrap_or(piece));
        rest = after;
    }
    (divided.len() < command.len()).then_some(divided)
}

/// An escaped quote of this kind at the beginning: its length, and what is kept of it for the second reading. 2.2.7 resolves
/// escapes in both readings, so `"sh -c \"a b\""` has three arguments and `\\\"` is a quote that an argument holds.
fn nested_quote(rest: &str, open: char) -> Option<(usize, &str)> {
    let inner = |at: usize| rest.get(at..).is_some_and(|rest| rest.starts_with('\\') && rest[1..].starts_with(open));
    match () {
        () if inner(0) => Some((2, rest.get(1..2)?)),
        () if rest.starts_with("\\\\") && inner(2) => Some((4, rest.get(2..4)?)),
        () => None,
    }
}

/// A quote that a backslash stands before, and what follows it.
fn escaped_quote(rest: &str) -> Option<(char, &str)> {
    let after = rest.strip_prefix('\\')?;
    let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    Some((quote, after.get(1..)?))
}

/// Whether an escaped quote of this kind follows in the same word, as in `\"/bin/check\"`: nothing there is quoted at the first
/// reading, so a blank ends the word.
fn closes_in_word(mut rest: &str, open: char) -> bool {
    while let Some(first) = rest.chars().next().filter(|c| !is_space(*c) && !matches!(c, '"' | '\'')) {
        rest = match escaped_quote(rest) {
            Some((quote, _)) if quote == open => return true,
            _ if first == '\\' => after_escape_kept(rest),
            _ => rest.get(first.len_utf8()..).unwrap_or(""),
        };
    }
    false
}

/// The same of any of these kinds.
fn nested_in(rest: &str, kinds: [Option<char>; 2]) -> Option<(usize, &str)> {
    kinds.into_iter().flatten().find_map(|kind| nested_quote(rest, kind))
}

/// Whether the escaped quotes of this kind pair up before the closing one; a single one is data. So are all of the other kind
/// where one stands that is not escaped: they are inside of what that one quotes.
fn quotes_pair_inside(mut rest: &str, open: char, kind: char) -> bool {
    let mut quotes = 0;
    while let Some(first) = rest.chars().next().filter(|first| *first != open) {
        if first == kind {
            return false;
        }
        let length = match nested_quote(rest, kind) {
            Some((length, kept)) => {
                quotes += usize::from(kept.len() == 1);
                length
            }
            None if first == '\\' => rest.len() - after_escape_kept(rest).len(),
            None => first.len_utf8(),
        };
        rest = rest.get(length..).unwrap_or("");
    }
    quotes % 2 == 0
}

/// Unresolved, an escape is the backslash and one character, whatever follows.
fn keep_escape(written: &str, word: &mut Vec<u8>) {
    word.extend(written.chars().take(2).collect::<String>().into_bytes());
}

fn after_escape_kept(rest: &str) -> &str {
    let mut chars = rest.chars();
    chars.next();
    chars.next();
    chars.as_str()
}

/// A backslash and what it escapes: the byte meant, or `None` for a character that stands for itself.
fn escape(input: &str) -> IResult<&str, Option<u8>> {
    let is_hex = |c: char| c.is_ascii_hexdigit();
    let is_octal = |c: char| c.is_digit(8);
    let byte = |radix| move |digits: &str| Some(u16::from_str_radix(digits, radix).unwrap_or(0) as u8);
    let hexadecimal = preceded(char('x'), take_while_m_n(1, 2, is_hex)).map(byte(16));
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

/// The escapes of [`split_command`] in a text that is not split: for `regex`, which is resolved once. A backslash at the end
/// stays.
pub fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let run: IResult<&str, &str> = take_while(|c| c != '\\').parse(rest);
        let Ok((after, run)) = run else { break };
        bytes.extend_from_slice(run.as_bytes());
        let escaped: IResult<&str, Option<u8>> = escape(after);
        rest = match escaped {
            Ok((then, Some(byte))) => {
                bytes.push(byte);
                then
            }
            Ok((then, None)) => {
                bytes.extend_from_slice(after.get(1..after.len() - then.len()).unwrap_or("").as_bytes());
                then
            }
            Err(_) => {
                bytes.extend_from_slice(after.as_bytes());
                ""
            }
        };
    }
    super::source::text_of(bytes)
}
