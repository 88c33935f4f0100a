//! One line on its way through the expander, and where each part of it came from.

use std::ops::Range;

use super::super::source::{FileId, Origins, Place, Span};

/// Text and, run by run, its places. The lengths of the runs add up to the length of the text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    pub text: String,
    pub runs: Vec<(u32, Place)>,
}

impl Line {
    /// Text that stands in a file as it is.
    pub fn verbatim(text: &str, file: FileId, start: u32) -> Line {
        let place = Place { file, start, end: 0, way: 0 };
        Line { text: text.to_string(), runs: vec![(text.len() as u32, place)] }
    }
    /// Text that comes from nowhere but one place: a computed value.
    pub fn computed(text: &str, at: Span, way: u32) -> Line {
        let place = Place { file: at.file, start: at.start, end: at.end.max(1), way };
        Line { text: text.to_string(), runs: vec![(text.len() as u32, place)] }
    }
    /// Keeps the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        if len >= self.text.len() {
            return;
        }
        self.text.truncate(len);
        let mut left = len as u32;
        self.runs.retain_mut(|(run, _)| {
            *run = left.min(*run);
            left -= *run;
            *run > 0
        });
    }
    /// Takes the first `len` bytes off.
    pub fn behead(&mut self, len: usize) {
        if len == 0 {
            return;
        }
        self.text.drain(..len.min(self.text.len()));
        let mut off = len as u32;
        self.runs.retain_mut(|(run, place)| {
            let cut = off.min(*run);
            off -= cut;
            *run -= cut;
            if place.end == 0 {
                place.start += cut;
            }
            *run > 0
        });
    }
    /// Without blanks at its end.
    pub fn trim_end(&mut self) {
        self.truncate(self.text.trim_end_matches(is_blank).len());
    }
    /// A copy of a part.
    pub fn slice(&self, range: Range<usize>) -> Line {
        let mut line = self.clone();
        line.truncate(range.end);
        line.behead(range.start);
        line
    }
    /// Puts `runs` of `text` where `range` was.
    pub fn splice(&mut self, range: Range<usize>, text: &str, runs: impl IntoIterator<Item = (u32, Place)>) {
        let tail = self.slice(range.end..self.text.len());
        self.truncate(range.start);
        self.text.push_str(text);
        self.runs.extend(runs);
        self.text.push_str(&tail.text);
        self.runs.extend(tail.runs);
    }
    /// The place in a file of a part of the line.
    pub fn span(&self, range: Range<usize>) -> Span {
        let (mut at, mut found) = (0u32, None::<Span>);
        for (run, place) in &self.runs {
            let end = at + run;
            if end as usize > range.start || found.is_some() {
                let span = place.span((range.start as u32).saturating_sub(at), (range.end as u32).min(end) - at);
                match &mut found {
                    None => found = Some(span),
                    Some(first) if first.file == span.file && span.end > first.end => first.end = span.end,
                    Some(_) => {}
                }
            }
            at = end;
            if at as usize >= range.end && found.is_some() {
                break;
            }
        }
        let last = || self.runs.last().map(|(run, place)| place.span(*run, *run));
        found.or_else(last).unwrap_or(Span { file: FileId::FIRST, start: 0, end: 0 })
    }
    /// The way by which the byte at `at` came, as in [`Place::way`].
    pub fn way(&self, at: usize) -> u32 {
        let mut end = 0;
        self.runs
            .iter()
            .find(|(run, _)| {
                end += *run as usize;
                end > at
            })
            .map_or(0, |(_, place)| place.way)
    }
    /// From its first byte to its last.
    pub fn whole(&self) -> Span {
        self.span(0..self.text.len())
    }
    /// Adds the runs to the table of the expanded text, for text that begins at `at` there.
    pub fn record(&self, mut at: u32, origins: &mut Origins) {
        for (run, place) in &self.runs {
            origins.add(at, *place);
            at += run;
        }
    }
}

/// keepalived trims only these two.
pub(crate) fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t'
}

/// What a look for comments found.
pub(crate) struct Decommented {
    /// The quotes do not pair up.
    pub odd_quote: bool,
}

/// Takes off comments and the blanks at both ends, and those before a backslash at the end.
///
/// keepalived strips a line twice, once in the parent and once in the process that acts on it, so the mark that `\#`
/// saved the first time begins a comment the second time: here it does so at once.
pub(crate) fn decomment(line: &mut Line) -> Decommented {
    line.behead(line.text.len() - line.text.trim_start_matches(is_blank).len());
    let bytes = line.text.as_bytes();
    let (mut at, mut quoted, mut continues) = (0, false, false);
    let end = loop {
        let Some(byte) = bytes.get(at) else { break at };
        match (byte, bytes.get(at + 1)) {
            (b'"', _) => quoted = !quoted,
            (b'\\', Some(b'#' | b'!')) if !quoted => break at,
            (b'\\', Some(_)) => at += 1,
            (b'\\', None) => {
                continues = true;
                break at;
            }
            (b'#' | b'!', _) if !quoted => break at,
            _ => {}
        }
        at += 1;
    };
    let end = end.min(bytes.len());
    let kept = line.text.get(..end).unwrap_or(&line.text).trim_end_matches(is_blank);
    let kept_len = kept.len();
    let trailing = kept.bytes().rev().take_while(|b| *b == b'\\').count();
    // `word \ # note`: once the note is gone the backslash is the last thing.
    let uncovered = !continues && trailing % 2 == 1 && kept_len < bytes.len();
    if continues {
        let backslash = line.slice(end..end + 1);
        line.truncate(kept_len);
        line.splice(kept_len..kept_len, &backslash.text, backslash.runs);
    } else {
        line.truncate(kept_len);
        if uncovered {
            decomment(line);
        }
    }
    Decommented { odd_quote: quoted }
}
