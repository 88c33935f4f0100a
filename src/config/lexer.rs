//! Lines, words, quotes and braces.
//!
//! Two readings of a line exist in the language. The first, for every keyword, knows double quotes only. The second, for
//! options that name a command, reads the same line again with rules like a shell's: [`script_words`], [`split_command`].

use super::expand::Text;
use super::source::Span;
use super::tree::Word;

/// A line is split at its braces; each piece is read as if it were a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece<'s> {
    Words { words: Vec<Word<'s>>, raw: &'s str, raw_span: Span },
    Open(Span),
    Close(Span),
}

/// All pieces of the text, in order.
pub fn pieces(text: &Text) -> impl Iterator<Item = Piece<'_>> {
    let mut all = Vec::new();
    for line in text.lines() {
        let base = line.as_ptr() as usize - text.buffer().as_ptr() as usize;
        let span = |s: &str| {
            let at = base + (s.as_ptr() as usize - line.as_ptr() as usize);
            Span { file: super::source::FileId::EXPANDED, start: at as u32, end: (at + s.len()) as u32 }
        };
        let mut rest = line;
        while !rest.is_empty() {
            let cut = rest.find(['{', '}']).unwrap_or(rest.len());
            let (part, after) = rest.split_at(cut);
            let words: Vec<_> = part
                .split_whitespace()
                .map(|w| Word { text: w.trim_matches('"'), span: span(w), quoted: w.starts_with('"') })
                .collect();
            if let Some(first) = words.first() {
                let raw = part.trim_start().get(first.span.len()..).unwrap_or("").trim();
                let raw_span = span(raw);
                all.push(Piece::Words { words, raw, raw_span });
            }
            if let Some(brace) = after.get(..1) {
                all.push(if brace == "{" { Piece::Open(span(brace)) } else { Piece::Close(span(brace)) });
            }
            rest = after.get(1..).unwrap_or("");
        }
    }
    all.into_iter()
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
/// off; in the first word backslash escapes are kept for [`split_command`].
pub fn script_words(raw: &str) -> Result<Vec<String>, Unreadable> {
    split_command(raw)
}

/// A command line into its arguments: quotes taken off, escapes resolved.
pub fn split_command(command: &str) -> Result<Vec<String>, Unreadable> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<(usize, char)> = None;
    for (at, c) in command.char_indices() {
        match (quote, c) {
            (Some((_, q)), c) if c == q => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some((at, c));
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    if let Some((start, _)) = quote {
        return Err(Unreadable { start, end: command.len(), message: "this quote is never closed" });
    }
    words.extend(word);
    Ok(words)
}
