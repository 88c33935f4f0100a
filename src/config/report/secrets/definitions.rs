//! Definitions that hold a secret: what a secret's place is given by name, and where that name gets its value.

use super::Ranges;
use crate::config::table::block::nearest;
use crate::config::table::keywords;
use crate::config::text::expand::BUILTINS;
use rustc_hash::FxHashMap;
use std::ops::Range;

/// The names of definitions that a secret uses: `$NAME`, `${NAME}`, and with other signs between the two.
pub(super) fn names_in(text: &str, names: &mut Vec<Box<str>>) {
    for (at, _) in text.match_indices(['$', '{']) {
        let name = text.get(at + 1..).unwrap_or_default().trim_start_matches(|c: char| !is_name_char(c) && c != '$');
        let length = name.find(|c: char| !is_name_char(c)).unwrap_or(name.len());
        // One that is broken off is no name, so that nobody knows it.
        names.extend(name.get(..length).map(Into::into));
    }
}

/// Where a text surely uses a definition: `${NAME}`, `${NAME` of `${NAME:-…}`, and `$NAME` of one that there is. `$NAME` alone may
/// be a password with a `$` in it.
pub(super) fn references(text: &str, defined: impl Fn(&str) -> bool) -> Vec<Range<usize>> {
    let reference = |at: usize| {
        let behind = text.get(at + 1..)?;
        let (braced, name) = match behind.strip_prefix('{') {
            Some(name) => (true, name),
            None => (false, behind),
        };
        let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(name.len());
        let (name, rest) =
            name.split_at_checked(end).filter(|(name, _)| name.starts_with(|c: char| !c.is_ascii_digit()))?;
        let closed = usize::from(rest.starts_with('}'));
        let sure = if braced { closed == 1 || rest.starts_with(":-") } else { defined(name) };
        sure.then_some(at..at + 1 + usize::from(braced) * (1 + closed) + name.len())
    };
    text.match_indices('$').filter_map(|(at, _)| reference(at)).collect()
}

/// Words of a secret that are names of definitions, though no `$` stands right before them.
pub(super) fn bare_names(text: &str, defined: impl Fn(&str) -> bool) -> Vec<&str> {
    let words = text.split(|c| !is_name_char(c)).filter(|word| !word.is_empty());
    words.filter(|word| defined(word)).collect()
}

/// The names that a text has a definition of (`$NAME=`) or a sequence over (`(NAME,`).
pub(super) fn defined_in(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(['$', '(']).filter_map(|(at, sign)| {
        let behind = text.get(at + sign.len()..)?;
        let end = behind.find(|c: char| !is_name_char(c))?;
        let (name, rest) = behind.split_at(end);
        let by = if sign == "$" { '=' } else { ',' };
        rest.trim_start_matches([' ', '\t']).starts_with(by).then_some(name)
    })
}

pub(super) fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether the language gives this name its value.
pub(super) fn is_builtin(name: &str) -> bool {
    BUILTINS.iter().any(|(known, _)| *known == name)
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
            Some(parameters) => parameters.split_once(')').map_or(parameters, |(_, after)| after),
            None => after,
        };
        let after = after.trim_start_matches(|c: char| !is_name_char(c) && !matches!(c, '=' | '$'));
        after.strip_prefix('=').map(|value| line.len() - value.trim_start_matches(['=', ' ', '\t']).len())
    })
}

/// The values of all lines that may be meant to be definitions: with a `$` or a `~` in front of everything else and all that follows
/// it, or one word, that is no keyword, and `=`.
pub(super) fn all_definitions(text: &str) -> Ranges {
    let mut start = 0;
    let mut ranges = Ranges::new();
    for line in text.split_inclusive('\n') {
        let at = start;
        start += line.len();
        let first = line.split(|c| !is_name_char(c)).find(|word| !word.is_empty()).unwrap_or_default();
        if keywords::all().iter().any(|keyword| keyword.keyword == first) || is_address_in(line) {
            continue;
        }
        let from = match (line.find(['$', '~']), line.find('=')) {
            (Some(sign), Some(equals)) if sign < equals => equals + 1,
            (Some(sign), _) => sign + 1,
            (None, Some(equals)) => equals + 1,
            (None, None) => continue,
        };
        ranges.push((at + from) as u32..to_end_of_value(text, at, at + from));
    }
    ranges
}

/// What follows a name in the first word of a line, which is no keyword: its `$` and its `=` are lost.
pub(super) fn glued_to(name: &str, text: &str) -> Ranges {
    let mut start = 0;
    let mut ranges = Ranges::new();
    for line in text.split_inclusive('\n') {
        let at = start;
        start += line.len();
        let Some(first) = line.find(is_name_char) else { continue };
        let glued =
            line.get(first..).and_then(|line| line.strip_prefix(name)).filter(|rest| rest.starts_with(is_name_char));
        let word = line.get(first..).and_then(|line| line.split(|c| !is_name_char(c)).next()).unwrap_or_default();
        if glued.is_some() && !name.is_empty() && !keywords::all().iter().any(|keyword| keyword.keyword == word) {
            ranges.push((at + first + name.len()) as u32..(at + line.trim_end().len()) as u32);
        }
    }
    ranges
}

/// Where a value ends that begins at `from` in this line: each line that ends in a backslash goes on in the next, and so does one
/// with nothing that could be a value, for a slip may stand in for the backslash.
fn to_end_of_value(text: &str, line: usize, from: usize) -> u32 {
    let (mut end, mut empty) = (line, 0);
    for line in text.get(line..).unwrap_or_default().split_inclusive('\n') {
        let value = line.get(from.saturating_sub(end)..).unwrap_or_default();
        end += line.len();
        let odd = is_weak(value) && empty < 3;
        empty += 1;
        if !line.trim_end().ends_with('\\') && !odd {
            break;
        }
    }
    text.get(..end.min(text.len())).unwrap_or_default().trim_end().len() as u32
}

/// Whether this is too little to be a whole secret, so that the rest may stand in the next line.
pub(super) fn is_weak(value: &str) -> bool {
    let value = ["include", "~SEQ", "~LST"].iter().fold(value.to_owned(), |value, odd| value.replace(odd, ""));
    value.chars().filter(|c| c.is_alphanumeric()).count() < 2
}

/// Bytes from which on what stands behind a `$` over several lines is no name any more.
const NAME_MAX: usize = 1024;

/// The lines of a text by the names that they may give a value, so that each name need not look at all of them.
pub(super) struct Lines<'t> {
    text: &'t str,
    /// Each word with the line that it stands in (where that begins), in the order of the words.
    words: Vec<(&'t str, usize)>,
    /// Lines that go on with a name that was begun above, by the whole of it.
    broken: FxHashMap<String, Vec<usize>>,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str) -> Lines<'t> {
        let (mut words, mut broken) = (Vec::new(), FxHashMap::<String, Vec<usize>>::default());
        // What stands behind the last `$`, while it may be the beginning of a name; see [`stands_behind`].
        let mut begun: Option<String> = None;
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            if let Some(begun) = &begun {
                let glued = line.trim_start();
                let rest = glued.find(|c: char| !is_name_char(c)).and_then(|end| glued.get(..end)).unwrap_or(glued);
                if !rest.is_empty() || glued.contains('=') {
                    broken.entry(format!("{begun}{rest}")).or_default().push(start);
                }
            }
            for word in line.split(|c| !is_name_char(c)).filter(|word| !word.is_empty()) {
                words.push((word, start));
                let plain = word.trim_start_matches('_');
                if plain.len() < word.len() {
                    words.push((plain, start));
                }
            }
            for c in line.chars() {
                match &mut begun {
                    _ if c == '$' => begun = Some(String::new()),
                    Some(name) if is_name_char(c) && name.len() < NAME_MAX => name.push(c),
                    Some(_) if !c.is_whitespace() && c != '\\' => begun = None,
                    _ => {}
                }
            }
            start += line.len();
        }
        words.sort_unstable();
        Lines { text, words, broken }
    }

    /// Where the lines begin that may give this name a value, in their order.
    fn of(&self, name: &str) -> Vec<usize> {
        let from = self.words.partition_point(|(word, _)| *word < name);
        let words = self.words.get(from..).unwrap_or_default().iter().take_while(|(word, _)| word.starts_with(name));
        let mut lines: Vec<usize> = words.map(|(_, line)| *line).collect();
        lines.extend(self.broken.get(name).into_iter().flatten());
        lines.sort_unstable();
        lines.dedup();
        lines
    }
}

/// The values that a name is given in a text, each to the end of its last line. Whatever else follows the name at the
/// beginning of a line was meant to be one.
pub(super) fn definitions_of(name: &str, lines: &Lines<'_>) -> Ranges {
    let text = lines.text;
    if name.is_empty() {
        return Ranges::new();
    }
    let mut ranges = Ranges::new();
    for at in lines.of(name) {
        let (before, rest) = text.split_at(at);
        let line = rest.split_inclusive('\n').next().unwrap_or_default();
        // With its sign anywhere in the first word, for the rest may be glued to it; without, as a word of its own.
        let glued = line.trim_start();
        // The whole name stands above, and its `=` here.
        let above = glued.starts_with('=') && stands_behind(before, &format!("${name}"));
        // The end of the name, where a line break stands in its middle.
        let broken = if above { Some(0) } else { broken_name(name, before, glued) };
        let plain = line.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '$');
        let first = if broken.is_some() { glued } else { plain };
        let word = first.find([' ', '\t']).and_then(|end| first.get(..end)).unwrap_or(first);
        let signed = ["$", "${"].iter().find_map(|sign| word.find(&format!("{sign}{name}")).map(|at| at + sign.len()));
        let bare = || {
            let after = first.strip_prefix(name)?;
            (after.starts_with([' ', '\t', '=']) && !after.trim_start().starts_with('{')).then_some(0)
        };
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
        let range = from as u32..to_end_of_value(text, at, from);
        if range.start < range.end {
            ranges.push(range);
        }
    }
    ranges
}

/// Where a name ends in a line that begins with the rest of it, the text before with `$` and its beginning: each line may
/// hold a part, and a backslash may stand behind it.
fn broken_name(name: &str, before: &str, line: &str) -> Option<usize> {
    let end = line.find(|c: char| !is_name_char(c)).unwrap_or(line.len());
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
pub(super) fn definition_in(line: &str) -> Option<usize> {
    let Some((front, rest)) = line.split_once('$').filter(|(front, _)| !front.contains(char::is_alphanumeric)) else {
        return odd_definition_in(line);
    };
    let Some((name, _)) = rest.split_once('=') else {
        // `$NAME`, and more in the same word: its `=` was lost.
        let word = rest.trim_start_matches('{').split_whitespace().next().unwrap_or_default();
        let more = word.trim_start_matches(is_name_char).trim_start_matches('}');
        return (front.trim().is_empty() && more.contains(is_name_char) && !is_address_in(line))
            .then_some(front.len() + 1);
    };
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

/// Whether a line begins with an address by name, `$NAME/24`: a prefix length is no value.
fn is_address_in(line: &str) -> bool {
    let word = line.split_whitespace().next().unwrap_or_default();
    let name = word.strip_prefix('$').unwrap_or_default();
    let length = name.trim_start_matches(['{', '}']).trim_start_matches(is_name_char).trim_start_matches('}');
    let digits = length.strip_prefix('/').unwrap_or_default();
    !line.contains('=') && matches!(digits.len(), 1..=3) && digits.bytes().all(|b| b.is_ascii_digit())
}

/// The same of `WORD $NAME=VALUE`, where the word is no keyword, nor the `@id` that may stand there, or the name is none.
fn behind_stranger(line: &str) -> Option<usize> {
    let (front, rest) = line.split_once('$')?;
    let (name, value) = rest.split_once('=').filter(|(name, _)| !name.trim().contains(char::is_whitespace))?;
    let first = front.split(|c| !is_name_char(c)).find(|word| !word.is_empty())?;
    let at_id = front.trim_start().starts_with('@') && name.trim().chars().all(is_name_char);
    let known = at_id || keywords::all().iter().any(|keyword| keyword.keyword == first);
    (!known).then_some(line.len() - value.len())
}

/// The same of `NAME=VALUE`, `NA$ME=VALUE` and `=VALUE`, which are no definitions; what is meant to be a keyword is none of them.
fn odd_definition_in(line: &str) -> Option<usize> {
    if !line.as_bytes().contains(&b'=') {
        return None;
    }
    let sequence =
        line.find('~').and_then(|sign| line.get(sign..)?.find(')').map(|close| sign + close + 1)).unwrap_or(0);
    let behind = line.get(sequence..)?;
    let start = sequence + behind.len() - behind.trim_start().len();
    let word = line.get(start..)?.split_whitespace().next()?;
    if word.starts_with('=') {
        return word.contains(is_name_char).then_some(start + 1);
    }
    let Some((name, _)) = word.split_once('=').filter(|(name, _)| name.contains(is_name_char)) else {
        return behind_stranger(line);
    };
    let keyword = || {
        name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
            && nearest(name, keywords::all().iter().map(|keyword| keyword.keyword)).is_some()
    };
    (name.contains('$') || !keyword()).then_some(start + name.len() + 1)
}
