//! Where in a configuration passwords and keys stand, so that no complaint tells one.
//!
//! Whoever complains quotes the words that are wrong, and [`show`](super::show) prints the lines they stand in. Both go
//! through [`Secrets`], which knows the secret words by the text alone, not by what reading made of it: a password must not
//! be told where its keyword is misspelt, its quote never closed, its block the wrong one, or where it came out of a
//! definition, an include or the environment. When in doubt a word counts as secret.
//!
//! `scan` finds them by keyword, line by line, with what `meant` says of keywords that a slip has changed; `definitions` follows the
//! names that they are written by.
//! Nothing here judges a configuration, and nothing else hides anything.

mod definitions;
mod meant;
mod scan;

use crate::config::table::keywords;
use crate::config::text::expand::decommented;
use crate::config::text::source::{FileId, Source, Span};
use crate::spec::MASK;
use definitions::{
    Lines, all_definitions, bare_names, defined_in, definitions_of, glued_to, is_builtin, is_name_char, names_in,
    references,
};
use rustc_hash::FxHashSet;
pub use scan::KEYWORDS;
use scan::scan;
use std::ops::Range;

/// Bytes from which on a word hardly is a part of another one by chance.
const SHORT: usize = 5;

/// The secret parts of one text: byte ranges in order, none touching another's line end.
type Ranges = Vec<Range<u32>>;

/// The secret words of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    files: Vec<Ranges>,
    /// Of the text that the language is read from; see [`FileId::EXPANDED`].
    expanded: Ranges,
    /// The expanded text's secret lines, each where it begins: that text itself is gone when complaints are shown.
    lines: Vec<(u32, Box<str>)>,
    /// Definitions and variables of sequences that hold a secret.
    names: FxHashSet<Box<str>>,
}

impl Secrets {
    /// Looks for all secrets of these files and of the text that they became.
    pub fn find(files: &[Source], expanded: &str) -> Secrets {
        let mut found = Secrets { files: files.iter().map(|file| scan(&file.text)).collect(), ..Secrets::default() };
        found.expanded = scan(expanded);
        found.follow_definitions(files);
        found.show_references(files, expanded);
        for range in &found.expanded {
            let (start, line) = line_of(expanded, range.start);
            if found.lines.last().is_none_or(|(last, _)| *last != start) {
                found.lines.push((start, line.into()));
            }
        }
        found
    }

    /// The name of a definition is no secret, what it stands for is: without the name nobody could be told what to define.
    fn show_references(&mut self, files: &[Source], expanded: &str) {
        if self.expanded.is_empty() && self.files.iter().all(Vec::is_empty) {
            return;
        }
        let defined: FxHashSet<&str> = files.iter().flat_map(|file| defined_in(&file.text)).collect();
        let mut used: FxHashSet<&str> = FxHashSet::default();
        for (file, ranges) in files.iter().zip(&mut self.files) {
            let text = file.text.as_str();
            let found = references(text, |_| false).into_iter().filter_map(|reference| text.get(reference));
            used.extend(found.map(|reference| reference.trim_matches(|c| !is_name_char(c))));
            *ranges = std::mem::take(ranges)
                .into_iter()
                .flat_map(|range| without_references(text, range, &defined))
                .collect();
        }
        // There a brace stands on a line of its own.
        let shown = |range: &mut Range<u32>| {
            let (before, rest) = expanded.split_at_checked(range.start as usize).unwrap_or_default();
            let end = rest.find(|c| !is_name_char(c)).unwrap_or(rest.len());
            let behind = before.trim_end().strip_suffix('{').is_some_and(|before| before.trim_end().ends_with('$'));
            if behind && rest.get(..end).is_some_and(|name| used.contains(name)) {
                range.start = range.end.min(range.start + end as u32);
            }
        };
        self.expanded.iter_mut().for_each(shown);
        self.expanded.retain(|range| range.start < range.end);
    }

    /// A definition that is used where a secret belongs holds one, and so do those that it uses.
    fn follow_definitions(&mut self, files: &[Source]) {
        let mut new: Vec<Box<str>> = Vec::new();
        let defined: FxHashSet<&str> = files.iter().flat_map(|file| defined_in(&file.text)).collect();
        for (file, ranges) in files.iter().zip(&self.files) {
            for secret in ranges.iter().filter_map(|range| file.text.get(bytes(range))) {
                names_in(secret, &mut new);
                new.extend(bare_names(secret, |name| defined.contains(name)).into_iter().map(Into::into));
            }
        }
        if new.is_empty() {
            return;
        }
        let lines: Vec<Lines<'_>> = files.iter().map(|file| Lines::new(&file.text)).collect();
        let mut unknown = false;
        while let Some(name) = new.pop() {
            if !self.names.insert(name.clone()) {
                continue;
            }
            let mut known = false;
            for ((file, lines), ranges) in files.iter().zip(&lines).zip(&mut self.files) {
                let defined = definitions_of(&name, lines);
                known |= !defined.is_empty();
                for range in defined {
                    file.text.get(bytes(&range)).into_iter().for_each(|value| names_in(value, &mut new));
                    ranges.push(range);
                }
            }
            if !known && !is_builtin(&name) {
                unknown = true;
                files.iter().zip(&mut self.files).for_each(|(file, ranges)| ranges.extend(glued_to(&name, &file.text)));
            }
        }
        if unknown {
            // Nobody can tell which definition was meant, so that each may hold the secret.
            files.iter().zip(&mut self.files).for_each(|(file, ranges)| ranges.extend(all_definitions(&file.text)));
        }
        self.files.iter_mut().for_each(merge);
    }

    fn ranges(&self, file: FileId) -> &[Range<u32>] {
        if file == FileId::EXPANDED { &self.expanded } else { self.files.get(file.position()).map_or(&[], |r| r) }
    }

    /// The secret parts of a file that have a byte in this range.
    fn ranges_in(&self, file: FileId, start: u32, end: u32) -> impl Iterator<Item = &Range<u32>> {
        let ranges = self.ranges(file);
        let from = ranges.partition_point(|range| range.end <= start);
        ranges.iter().skip(from).take_while(move |range| range.start < end)
    }

    /// The words that a complaint about these places must not quote: what is secret in their lines.
    pub fn words_near(&self, files: &[Source], spans: &[Span]) -> Vec<Box<str>> {
        let mut words: Vec<Box<str>> = Vec::new();
        for span in spans {
            let ranges = self.ranges(span.file);
            if ranges.is_empty() {
                continue;
            }
            let (start, text) = match files.get(span.file.position()) {
                _ if span.file == FileId::EXPANDED => {
                    let at = self.lines.partition_point(|(start, _)| *start <= span.start).checked_sub(1);
                    let Some((start, line)) = at.and_then(|at| self.lines.get(at)) else { continue };
                    (*start, &**line)
                }
                Some(file) => line_of(&file.text, span.start),
                None => continue,
            };
            // Nobody reads a comment, so that no complaint quotes one.
            let read = decommented(text).1.unwrap_or(text.len());
            let end = start + read as u32;
            for range in self.ranges_in(span.file, start, end) {
                let from = range.start.saturating_sub(start)..range.end.min(end) - start;
                let Some(secret) = text.get(bytes(&from)) else { continue };
                // With a keyword in it, it is hidden word by word.
                if !secret.split_whitespace().any(is_keyword) {
                    words.push(secret.into());
                }
                let parts = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '{' | '}' | '$' | '@');
                words.extend(secret.split_whitespace().map(Into::into));
                words.extend(secret.split(parts).filter(|word| !word.is_empty()).map(Into::into));
                // What a cure names of it is no more than a name may be.
                words.extend(secret.split(|c| !is_name_char(c)).filter(|word| word.len() >= SHORT).map(Into::into));
            }
        }
        // A lone quote or brace is no secret, and in the words of most complaints.
        words.retain(|word| word.len() > 1 || word.contains(char::is_alphanumeric));
        words.sort_by_key(|word| std::cmp::Reverse(word.len()));
        words.dedup();
        words
    }

    /// Lines of a file with the secrets replaced, and where a byte of them has gone.
    pub fn masked(&self, file: FileId, start: u32, text: &str) -> Masked {
        let mut masked = Masked { text: String::with_capacity(text.len()), moved: Vec::new() };
        let end = start + text.len() as u32;
        let mut done = 0;
        for range in self.ranges_in(file, start, end) {
            let from = range.start.saturating_sub(start) as usize;
            let to = (range.end.min(end) - start) as usize;
            let (Some(before), true) = (text.get(done..from), to > from) else { continue };
            masked.text.push_str(before);
            masked.moved.push((from..to, masked.text.len()));
            masked.text.push_str(MASK);
            done = to;
        }
        masked.text.push_str(text.get(done..).unwrap_or_default());
        masked
    }

    /// The whole text of a file (its place among those given to [`Secrets::find`]), each secret part as `with` makes it.
    pub fn replaced(&self, file: u32, text: &str, with: impl Fn(&str) -> String) -> String {
        let mut out = String::with_capacity(text.len());
        let mut done = 0;
        for range in self.ranges(FileId::nth(file as usize)) {
            let (Some(before), Some(secret)) = (text.get(done..range.start as usize), text.get(bytes(range))) else {
                continue;
            };
            out += before;
            out += &with(secret);
            done = range.end as usize;
        }
        out + text.get(done..).unwrap_or_default()
    }

    /// Whether a definition or a variable holds a secret.
    pub fn is_name(&self, name: &str) -> bool {
        self.names.contains(name.trim_matches(|c: char| !is_name_char(c)))
    }
}

/// See [`Secrets::masked`].
pub struct Masked {
    pub text: String,
    /// Secret bytes of the text before, and where the mask begins in the text now.
    moved: Vec<(Range<usize>, usize)>,
}

impl Masked {
    /// Where this byte of the text before is now: the bytes of a secret are all of its mask.
    pub fn place(&self, range: Range<usize>) -> Range<usize> {
        let (mut start, mut end) = (range.start, range.end);
        for (secret, mask) in &self.moved {
            let behind = |at: usize| mask + MASK.len() + (at - secret.end);
            if range.start >= secret.end {
                start = behind(range.start);
            } else if range.start >= secret.start {
                start = *mask;
            }
            if range.end >= secret.end {
                end = behind(range.end);
            } else if range.end > secret.start {
                end = mask + MASK.len();
            }
        }
        start..end.max(start)
    }
}

/// A sentence without these words; a short one that is part of a longer word stays what it is, and so does a keyword of the
/// language.
///
/// Words of a file stand in backquotes, but for names and numbers. So what looks like a word of an English sentence is one outside
/// of them, with blanks around it, unless a backquote in a file makes it doubtful which is which.
pub fn hide(sentence: &str, words: &[Box<str>]) -> String {
    let mut sentence = sentence.to_owned();
    let doubtful = sentence.contains("``")
        || sentence.matches('`').count() % 2 == 1
        || words.iter().any(|word| word.contains('`'));
    for word in words {
        let plain = !doubtful && is_plain(word);
        let mut from = 0;
        while let Some(at) = sentence.get(from..).and_then(|rest| rest.find(&**word)).map(|at| from + at) {
            let end = at + word.len();
            let whole = whole_word(&sentence, at..end);
            let part = whole.len() > word.len();
            let outside = |before: &str| before.matches('`').count().is_multiple_of(2) && before.ends_with([' ', '(']);
            let alone = |after: &str| after.is_empty() || after.starts_with([' ', ',', '.', ';', ')']);
            let own = plain && sentence.get(..at).is_some_and(outside) && sentence.get(end..).is_some_and(alone);
            if own || (part && word.len() < SHORT) || sentence.get(whole).is_some_and(is_keyword) {
                from = end;
                continue;
            }
            sentence.replace_range(at..end, MASK);
            from = at + MASK.len();
        }
    }
    sentence
}

/// Whether a word could stand in an English sentence.
fn is_plain(word: &str) -> bool {
    word.bytes().all(|b| b.is_ascii_lowercase()) || (word.len() < 3 && word.bytes().all(|b| b.is_ascii_digit()))
}

fn is_keyword(word: &str) -> bool {
    keywords::all().iter().any(|keyword| keyword.keyword == word)
}

/// The word of letters, digits and `_` that this part of a sentence belongs to; the part itself where it ends in other signs.
fn whole_word(sentence: &str, part: Range<usize>) -> Range<usize> {
    let inner = |c: char| c.is_alphanumeric() || c == '_';
    let (Some(before), Some(text), Some(after)) =
        (sentence.get(..part.start), sentence.get(part.clone()), sentence.get(part.end..))
    else {
        return part;
    };
    let start = match text.starts_with(inner) {
        true => before.trim_end_matches(inner).len(),
        false => part.start,
    };
    let end = match text.ends_with(inner) {
        true => sentence.len() - after.trim_start_matches(inner).len(),
        false => part.end,
    };
    start..end
}

/// What is left of a secret part when the names of definitions in it are shown.
fn without_references(text: &str, range: Range<u32>, defined: &FxHashSet<&str>) -> Ranges {
    // The part may begin right behind the `$`.
    let sign = text.get(..range.start as usize).is_some_and(|before| before.ends_with('$'));
    let (start, mut left) = (range.start - u32::from(sign), range.clone());
    let mut parts = Ranges::new();
    for reference in
        references(text.get(start as usize..range.end as usize).unwrap_or_default(), |name| defined.contains(name))
    {
        parts.push(left.start..start + reference.start as u32);
        left.start = start + reference.end as u32;
    }
    parts.push(left);
    parts.retain(|part| part.start < part.end);
    parts
}

fn bytes(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

/// The line that a byte stands in, and where it begins.
fn line_of(text: &str, at: u32) -> (u32, &str) {
    let at = (at as usize).min(text.len());
    let start = text.as_bytes().get(..at).and_then(|before| before.iter().rposition(|b| *b == b'\n'));
    let start = start.map_or(0, |newline| newline + 1);
    let rest = text.get(start..).unwrap_or_default();
    (start as u32, rest.split('\n').next().unwrap_or_default())
}

fn merge(ranges: &mut Ranges) {
    ranges.sort_by_key(|range| range.start);
    let mut merged: Ranges = Vec::with_capacity(ranges.len());
    for range in ranges.drain(..).filter(|range| range.start < range.end) {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    *ranges = merged;
}
