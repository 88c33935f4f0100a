//! Where in a configuration passwords and keys stand, so that no complaint tells one.
//!
//! Whoever complains quotes the words that are wrong, and [`show`](super::show) prints the lines they stand in. Both go
//! through [`Secrets`], which knows the secret words by the text alone, not by what reading made of it: a password must not
//! be told where its keyword is misspelt, its quote never closed, its block the wrong one, or where it came out of a
//! definition, an include or the environment. When in doubt a word counts as secret.
//!
//! Nothing here judges a configuration, and nothing else hides anything.

use crate::config::table::block::nearest;
use crate::config::table::keywords;
use crate::config::text::source::{FileId, Source, Span};
use crate::spec::MASK;
use rustc_hash::FxHashSet;
use std::ops::Range;

/// Bytes from which on a word hardly is a part of another one by chance.
const SHORT: usize = 5;

/// Keywords whose last argument is secret. `key` is one in `auth_hmac` only.
pub const KEYWORDS: [&str; 3] = ["auth_pass", "password", "key"];

/// Blocks that hold secrets.
const BLOCKS: [&str; 2] = ["authentication", "auth_hmac"];

/// What a misspelt keyword of a secret may have been meant to be.
const MEANT: [&str; 2] = ["auth_pass", "password"];

/// What may stand in `authentication` and `auth_hmac` without being secret.
const BESIDE: [&str; 8] =
    ["auth_type", "auth_pass", "time_window", "anti_replay", "mode", "key", "active_key", "authentication"];

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

/// What the scan of one text carries from line to line.
#[derive(Default)]
struct Scan {
    /// Inside `authentication` or `auth_hmac`.
    within: bool,
    /// The line above ends in a secret keyword, or goes on here with a secret.
    continues: bool,
}

impl Secrets {
    /// Looks for all secrets of these files and of the text that they became.
    pub fn find(files: &[Source], expanded: &str) -> Secrets {
        let mut found = Secrets { files: files.iter().map(|file| scan(&file.text)).collect(), ..Secrets::default() };
        found.expanded = scan(expanded);
        for range in &found.expanded {
            let (start, line) = line_of(expanded, range.start);
            if found.lines.last().is_none_or(|(last, _)| *last != start) {
                found.lines.push((start, line.into()));
            }
        }
        found.follow_definitions(files);
        found
    }

    /// A definition that is used where a secret belongs holds one, and so do those that it uses.
    fn follow_definitions(&mut self, files: &[Source]) {
        let mut new: Vec<Box<str>> = Vec::new();
        for (file, ranges) in files.iter().zip(&self.files) {
            ranges.iter().filter_map(|range| file.text.get(bytes(range))).for_each(|secret| names_in(secret, &mut new));
        }
        while let Some(name) = new.pop() {
            if !self.names.insert(name.clone()) {
                continue;
            }
            let mut known = false;
            for (file, ranges) in files.iter().zip(&mut self.files) {
                let defined = definitions_of(&name, &file.text);
                known |= !defined.is_empty();
                for range in defined {
                    file.text.get(bytes(&range)).into_iter().for_each(|value| names_in(value, &mut new));
                    ranges.push(range);
                }
            }
            if !known && !name.starts_with('_') {
                // Nobody can tell which definition was meant, so that each may hold the secret.
                files.iter().zip(&mut self.files).for_each(|(file, ranges)| ranges.extend(all_definitions(&file.text)));
            }
        }
        self.files.iter_mut().for_each(merge);
    }

    fn ranges(&self, file: FileId) -> &[Range<u32>] {
        if file == FileId::EXPANDED { &self.expanded } else { self.files.get(file.0 as usize).map_or(&[], |r| r) }
    }

    /// The words that a complaint about these places must not quote: what is secret in their lines.
    pub fn words_near(&self, files: &[Source], spans: &[Span]) -> Vec<Box<str>> {
        let mut words: Vec<Box<str>> = Vec::new();
        for span in spans {
            let ranges = self.ranges(span.file);
            if ranges.is_empty() {
                continue;
            }
            let (start, text) = match files.get(span.file.0 as usize) {
                _ if span.file == FileId::EXPANDED => {
                    let at = self.lines.partition_point(|(start, _)| *start <= span.start).checked_sub(1);
                    let Some((start, line)) = at.and_then(|at| self.lines.get(at)) else { continue };
                    (*start, &**line)
                }
                Some(file) => line_of(&file.text, span.start),
                None => continue,
            };
            let end = start + text.len() as u32;
            for range in ranges.iter().filter(|range| range.start < end && range.end > start) {
                let from = range.start.saturating_sub(start)..range.end.min(end) - start;
                let Some(secret) = text.get(bytes(&from)) else { continue };
                words.push(secret.into());
                let parts = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '{' | '}');
                words.extend(secret.split_whitespace().map(Into::into));
                words.extend(secret.split(parts).filter(|word| !word.is_empty()).map(Into::into));
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
        for range in self.ranges(file).iter().filter(|range| range.start < end && range.end > start) {
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
        for range in self.ranges(FileId(file)) {
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

/// A sentence without these words; a short one that is part of a longer word stays what it is.
pub fn hide(sentence: &str, words: &[Box<str>]) -> String {
    let mut sentence = sentence.to_owned();
    for word in words {
        let inner = |c: char| c.is_alphanumeric() || c == '_';
        let mut from = 0;
        while let Some(at) = sentence.get(from..).and_then(|rest| rest.find(&**word)).map(|at| from + at) {
            let end = at + word.len();
            let before = sentence.get(..at).and_then(|text| text.chars().next_back());
            let after = sentence.get(end..).and_then(|text| text.chars().next());
            let first = word.chars().next().is_some_and(inner) && before.is_some_and(inner);
            let last = word.chars().next_back().is_some_and(inner) && after.is_some_and(inner);
            if word.len() < SHORT && (first || last) {
                from = end;
                continue;
            }
            sentence.replace_range(at..end, MASK);
            from = at + MASK.len();
        }
    }
    sentence
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

/// A word at the front of a statement, and where it and what follows it stand in the line.
struct Front<'t> {
    word: &'t str,
    end: usize,
}

/// The characters that keywords are made of. Whatever else follows is an argument, though no blank stands between.
fn keyword_at(line: &str, at: usize) -> Front<'_> {
    let rest = line.get(at..).unwrap_or_default();
    let length =
        rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))).unwrap_or(rest.len());
    Front { word: rest.get(..length).unwrap_or_default(), end: at + length }
}

/// Where the words of a line begin that may be the keyword of a statement: the first one, those behind a brace, and those
/// behind what may stand in front of a line (`@id`, `~SEQ(…)`, a comment sign).
fn fronts(line: &str) -> impl Iterator<Item = usize> + '_ {
    let mut fresh = true;
    let mut in_word = false;
    let mut depth = 0_u32;
    let closed = line.rfind(')');
    line.char_indices().filter_map(move |(at, c)| {
        let sign = matches!(c, '#' | '!' | '"' | '\'') && !in_word;
        match c {
            '(' if closed.is_some_and(|closed| closed > at) => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if matches!(c, '{' | '}' | ')') {
            (fresh, in_word) = (true, false);
        } else if c.is_whitespace() || c == '\u{feff}' {
            in_word = false;
        } else if !sign && !in_word {
            in_word = true;
            let front = fresh && depth == 0 && c.is_alphanumeric();
            // `@id`, `~SEQ(` and what makes no word stand in front of a statement and are none.
            fresh = fresh && !c.is_alphanumeric();
            return front.then_some(at);
        }
        None
    })
}

/// Whether a first word is a keyword of a secret, or is meant to be one.
fn secret_keyword(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    if lower == "passive" || lower.starts_with("auth_type") {
        return false;
    }
    lower.contains("pass")
        || lower.contains("secret")
        || (lower.len() > 5 && nearest(&lower, MEANT.into_iter()).is_some())
}

/// Whether a line begins with the end of a keyword of a secret whose beginning is what the text before it ends in: a line
/// break, a backslash or a sign stands in its middle.
fn broken_keyword(before: &str, word: &str) -> bool {
    !word.is_empty()
        && MEANT.iter().any(|keyword| {
            keyword.strip_suffix(word).is_some_and(|begun| !begun.is_empty() && stands_behind(before, begun))
        })
}

/// Where a keyword of a secret ends in a word that has a sign in its middle; what is glued to it is a value.
fn interrupted(line: &str, at: usize) -> Option<usize> {
    let rest = line.get(at..)?;
    let word = rest.split_whitespace().next()?;
    let letter = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    let letters: String = word.chars().filter(letter).collect();
    if letters.len() == word.len() {
        return None;
    }
    let lower = letters.to_ascii_lowercase();
    if let Some(keyword) = MEANT.into_iter().find(|keyword| lower.starts_with(keyword)) {
        let last = word.char_indices().filter(|(_, c)| letter(c)).nth(keyword.len() - 1);
        return last.map(|(last, c)| at + last + c.len_utf8());
    }
    nearest(&letters, MEANT.into_iter()).map(|_| at + word.len())
}

/// The secret parts of a text.
fn scan(text: &str) -> Ranges {
    let mut ranges = Ranges::new();
    let mut scan = Scan::default();
    let mut start = 0_usize;
    for line in text.split('\n') {
        let at = start;
        start += line.len() + 1;
        if line.trim().is_empty() {
            continue;
        }
        if let Some(from) = secret_in(text.get(..at).unwrap_or_default(), line, &mut scan) {
            let from = from + (line.len() - from - line.get(from..).unwrap_or_default().trim_start().len());
            let end = line.trim_end().len();
            if from < end {
                ranges.push((at + from) as u32..(at + end) as u32);
            }
            // In a line with a sequence the values stand in front.
            for sequence in line.match_indices('~').map(|(at, _)| at).filter(|at| *at < from) {
                let open = line.get(sequence..from).and_then(|part| part.find('(')).map(|open| sequence + open + 1);
                let close = line.get(..from).and_then(|part| part.rfind(')'));
                if let (Some(open), Some(close)) = (open, close)
                    && open < close
                {
                    ranges.push((at + open) as u32..(at + close) as u32);
                }
            }
        }
    }
    merge(&mut ranges);
    ranges
}

/// Where the secret of a line begins; the end of the line if it is still to come.
fn secret_in(before: &str, line: &str, scan: &mut Scan) -> Option<usize> {
    let goes_on = line.contains('=');
    if scan.continues {
        scan.continues = goes_on;
        return Some(0);
    }
    let mut found = definition_in(line);
    let mut take = |at: usize| found = Some(found.map_or(at, |first: usize| first.min(at)));
    for at in fronts(line) {
        let Front { word, end } = keyword_at(line, at);
        if word.is_empty() {
            continue;
        }
        if word.len() > 9 && word.get(..9).is_some_and(|front| front.eq_ignore_ascii_case("auth_pass")) {
            take(at + 9);
        } else if secret_keyword(word) {
            let meant = nearest(&word.to_ascii_lowercase(), MEANT.into_iter()).is_some();
            let alone = line.get(end..).is_none_or(|rest| rest.trim().is_empty());
            take(if alone && !meant { at } else { end });
        } else if let Some(end) = interrupted(line, at) {
            take(end);
        } else if broken_keyword(line.get(..at).filter(|front| !front.trim().is_empty()).unwrap_or(before), word) {
            take(end);
        } else if scan.within || word.len() <= 4 {
            // `key N SECRET`; within its block also without the number.
            let rest = line.get(end..).unwrap_or_default();
            let number = rest.split_whitespace().next().unwrap_or_default();
            let numbered = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
            let key = nearest(word, ["key"].into_iter()).is_some();
            let file = rest.contains("file:");
            if key && !file && (numbered || scan.within) {
                let skip = if numbered { rest.len() - rest.trim_start().len() + number.len() } else { 0 };
                take(end + skip);
            } else if scan.within && !key {
                let known = BESIDE.iter().any(|known| nearest(word, [*known].into_iter()).is_some());
                let kind = nearest(word, ["auth_type"].into_iter()).is_some();
                if kind {
                    // What follows the type, and what cannot be one.
                    let typed = rest.len() - rest.trim_start().len() + number.len();
                    let may_be = number.len() <= 6 || number.bytes().all(|b| b.is_ascii_alphabetic() || b == b'"');
                    take_if(
                        rest.get(typed..).is_some_and(|more| !more.trim_matches([' ', '\t', '\r', '}']).is_empty()),
                        end + typed,
                        &mut take,
                    );
                    take_if(!may_be, end, &mut take);
                } else if !known {
                    take(at);
                }
            }
        }
        if nearest(word, BLOCKS.into_iter()).is_some() {
            scan.within = true;
        }
    }
    scan.within |= BLOCKS.iter().any(|block| line.contains(block));
    // A keyword with a blank in its middle.
    for (blank, sign) in line.trim_end().match_indices(char::is_whitespace) {
        let (front, rest) = (line.get(..blank).unwrap_or_default(), line.get(blank + sign.len()..).unwrap_or_default());
        let word = rest.split(char::is_whitespace).next().unwrap_or_default();
        let joined = front.split_whitespace().next_back().map(|last| format!("{last}{word}").to_ascii_lowercase());
        let Some(joined) = joined.filter(|_| !word.is_empty()) else { continue };
        if broken_keyword(front, word) || nearest(&joined, MEANT.into_iter()).is_some() {
            take(blank + sign.len() + word.len());
        }
    }
    // These names are a secret's wherever they stand: in a command line, behind another word.
    for name in KEYWORDS.iter().filter(|name| name.contains("pass")) {
        for (at, _) in line.match_indices(*name) {
            let alone = line
                .get(..at)
                .and_then(|text| text.chars().next_back())
                .is_none_or(|c| !c.is_alphanumeric() && c != '_');
            let Front { word, end } = keyword_at(line, at);
            if alone && word == *name {
                take(end);
            }
        }
    }
    if line.contains('}') {
        scan.within = line.rfind('{') > line.rfind('}') && scan.within;
    }
    if let Some(at) = found {
        scan.continues = goes_on || !line.get(at..).is_some_and(|rest| rest.contains(char::is_alphanumeric));
    }
    found
}

fn take_if(condition: bool, at: usize, take: &mut impl FnMut(usize)) {
    if condition {
        take(at);
    }
}

/// The names of definitions that a text uses: `$NAME`, `${NAME}`.
fn names_in(text: &str, names: &mut Vec<Box<str>>) {
    for (at, _) in text.match_indices('$') {
        let name = text.get(at + 1..).unwrap_or_default().trim_start_matches('{').trim_start();
        let length = name.find(|c: char| !is_name_char(c)).unwrap_or(name.len());
        if let Some(name) = name.get(..length).filter(|name| !name.is_empty()) {
            names.push(name.into());
        }
    }
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where the value begins if this line gives the name one, wherever in it: behind `@id`, a sequence, an odd sign, or with
/// parameters in parentheses.
fn given_in(name: &str, line: &str) -> Option<usize> {
    line.match_indices(name).find_map(|(at, _)| {
        let before = line.get(..at)?;
        let after = line.get(at + name.len()..)?;
        if before.chars().next_back().is_some_and(is_name_char) || after.chars().next().is_some_and(is_name_char) {
            return None;
        }
        // The values of a sequence stand behind its variable.
        let sequence = before.rfind(['~', '(']).filter(|_| before.contains('~') || before.trim_end().ends_with('('));
        if let Some(open) = sequence.filter(|_| after.trim_start().starts_with(',')) {
            return (open < at).then_some(line.len() - after.len());
        }
        let after = after.trim_start().trim_start_matches('}').trim_start();
        let after = match after.strip_prefix('(') {
            Some(parameters) => parameters.split_once(')').map_or(parameters, |(_, after)| after).trim_start(),
            None => after,
        };
        after.strip_prefix('=').map(|value| line.len() - value.trim_start_matches(['=', ' ', '\t']).len())
    })
}

/// The values of all lines that may be meant to be definitions: one word, that is no keyword, and `=`.
fn all_definitions(text: &str) -> Ranges {
    let mut start = 0;
    let mut ranges = Ranges::new();
    for line in text.split_inclusive('\n') {
        let at = start;
        start += line.len();
        let Some((front, value)) = line.split_once('=').filter(|(_, value)| !value.trim().is_empty()) else { continue };
        let front = front.rsplit_once(')').map_or(front, |(_, behind)| behind);
        let mut words = front.split_whitespace().filter(|word| !word.trim_start().starts_with('@'));
        let word = words.next().unwrap_or_default();
        if words.next().is_none() && keywords::all().iter().all(|keyword| keyword.keyword != word) {
            ranges.push((at + line.len() - value.len()) as u32..to_end_of_value(text, at));
        }
    }
    ranges
}

/// Where a value ends that begins in this line: each line that ends in a backslash goes on in the next.
fn to_end_of_value(text: &str, line: usize) -> u32 {
    let mut end = line;
    for line in text.get(line..).unwrap_or_default().split_inclusive('\n') {
        end += line.len();
        if !line.trim_end().ends_with('\\') {
            break;
        }
    }
    text.get(..end.min(text.len())).unwrap_or_default().trim_end().len() as u32
}

/// The values that a name is given in a text, each to the end of its last line. Whatever else follows the name at the
/// beginning of a line was meant to be one.
fn definitions_of(name: &str, text: &str) -> Ranges {
    let mut ranges = Ranges::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let at = start;
        start += line.len();
        // With its sign anywhere in the first word, for the rest may be glued to it; without, as a word of its own.
        let before = text.get(..at).unwrap_or_default();
        let glued = line.trim_start();
        // The whole name stands above, and its `=` here.
        let above = glued.starts_with('=') && stands_behind(before, &format!("${name}"));
        // The end of the name, where a line break stands in its middle.
        let broken = if above { Some(0) } else { broken_name(name, before, glued) };
        let plain = line.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '$');
        let first = if broken.is_some() { glued } else { plain };
        let word = first.find([' ', '\t']).and_then(|end| first.get(..end)).unwrap_or(first);
        let signed = ["$", "${"].iter().find_map(|sign| word.find(&format!("{sign}{name}")).map(|at| at + sign.len()));
        let bare = || first.strip_prefix(name).filter(|after| after.starts_with([' ', '\t', '='])).map(|_| 0);
        let front = signed.or_else(bare).map(|front| front + name.len()).or(broken);
        let from = match front {
            Some(front) => {
                at + line.len() - first.get(front..).unwrap_or_default().trim_start_matches(['}', ' ', '\t', '=']).len()
            }
            None => match given_in(name, line) {
                Some(from) => at + from,
                None => continue,
            },
        };
        let range = from as u32..to_end_of_value(text, at);
        if range.start < range.end {
            ranges.push(range);
        }
    }
    ranges
}

/// Where a name ends in a line that begins with the rest of it, the text before with `$` and its beginning: each line may
/// hold a part, and a backslash may stand behind it.
fn broken_name(name: &str, before: &str, line: &str) -> Option<usize> {
    let inner = |c: char| c.is_alphanumeric() || c == '_';
    let end = line.find(|c: char| !inner(c)).unwrap_or(line.len());
    let rest = line.get(..end)?;
    // With the whole name above, what follows it here is what makes it a definition.
    let goes_on = line.contains('=');
    let begun = name.strip_suffix(rest).filter(|begun| begun.len() < name.len() || goes_on)?;
    stands_behind(before, &format!("${begun}")).then_some(end)
}

/// Whether a text ends in this one when blanks, line ends and backslashes in it count for nothing.
fn stands_behind(text: &str, end: &str) -> bool {
    let said = text.chars().rev().filter(|c| !c.is_whitespace() && *c != '\\');
    said.take(end.chars().count()).eq(end.chars().rev())
}

/// Where the value begins in a line that is meant to be a definition, and either says that it holds a secret or is none, so
/// that nobody can tell where it is used.
fn definition_in(line: &str) -> Option<usize> {
    let (front, rest) = line.split_once('$').filter(|(front, _)| !front.contains(char::is_alphanumeric))?;
    let (name, _) = rest.split_once('=')?;
    let name = name.trim();
    if name.is_empty() {
        return Some(front.len() + 1);
    }
    // A sign in front of it makes it none as well.
    let odd = name.contains(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) || !front.trim().is_empty();
    let lower = name.to_ascii_lowercase();
    (odd || ["pass", "secret", "pwd"].iter().any(|word| lower.contains(word)))
        .then_some(front.len() + 1 + rest.find('=')? + 1)
}
