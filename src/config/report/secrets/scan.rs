//! Secrets by their keywords: each line of a text is looked at with little memory of the one above, since whatever is wrong may be
//! wrong before it.

use super::definitions::{definition_in, is_name_char, is_weak, stands_behind};
use super::{Ranges, merge};
use crate::config::table::block::nearest;
use crate::config::table::keywords;

/// Keywords whose last argument is secret. `key` is one in `auth_hmac` only.
pub const KEYWORDS: [&str; 3] = ["auth_pass", "password", "key"];

/// Blocks that hold secrets.
const BLOCKS: [&str; 2] = ["authentication", "auth_hmac"];

/// What a misspelt keyword of a secret may have been meant to be.
const MEANT: [&str; 2] = ["auth_pass", "password"];

/// What may stand in `authentication` and `auth_hmac` without being secret.
const BESIDE: [&str; 8] =
    ["auth_type", "auth_pass", "time_window", "anti_replay", "mode", "key", "active_key", "authentication"];

/// What the scan of one text carries from line to line.
#[derive(Default)]
struct Scan {
    /// Inside `authentication` or `auth_hmac`.
    within: bool,
    /// Inside `SSL`.
    ssl: bool,
    /// The line above ends in a secret keyword, or goes on here with a secret.
    continues: bool,
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
    let mut before = ' ';
    let closed = line.rfind(')');
    line.char_indices().filter_map(move |(at, c)| {
        let sign = matches!(c, '#' | '!' | '"' | '\'') && !in_word;
        let behind_sign = in_word && c.is_alphanumeric() && matches!(before, '~' | '(' | '/' | '[');
        before = c;
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
            let front = fresh && depth == 0 && (c.is_alphanumeric() || c == '_');
            // `@id`, `~SEQ(` and what makes no word stand in front of a statement and are none.
            fresh = fresh && !c.is_alphanumeric();
            return front.then_some(at);
        }
        // A sign too many in front of the keyword.
        (behind_sign && fresh && depth == 0).then_some(at)
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
        || lower.contains("community")
        || lower.contains("token")
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
pub(super) fn scan(text: &str) -> Ranges {
    let mut ranges = lines(text);
    // Written on a machine that ends lines with a carriage return alone: to the language all of it is one line.
    if text.split('\r').skip(1).any(|line| !line.starts_with('\n')) {
        ranges.extend(lines(&text.replace('\r', "\n")));
        merge(&mut ranges);
    }
    ranges
}

/// The same, of a text whose lines end as the language's do.
fn lines(text: &str) -> Ranges {
    let mut ranges = Ranges::new();
    let mut scan = Scan::default();
    let mut start = 0_usize;
    for line in text.split('\n') {
        let at = start;
        start += line.len() + 1;
        if line.trim().is_empty() {
            continue;
        }
        let strange = scan.ssl && is_strange_in_ssl(line);
        let found = secret_in(text.get(..at).unwrap_or_default(), line, &mut scan);
        scan.enter_ssl(line);
        if let Some(from) = if strange { Some(0) } else { found } {
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

impl Scan {
    fn enter_ssl(&mut self, line: &str) {
        self.ssl |= line.split(|c| !is_name_char(c)).any(|word| word == "SSL");
        self.ssl &= !line.contains('}');
    }
}

/// A line of the block `SSL` that begins with nothing that may stand there: a broken keyword, and its password with it.
fn is_strange_in_ssl(line: &str) -> bool {
    let first = line.split(|c| !is_name_char(c)).find(|word| !word.is_empty()).unwrap_or_default();
    let known = ["ca", "certificate", "key", "password", "include"];
    !first.is_empty() && nearest(&first.to_ascii_lowercase(), known.into_iter()).is_none()
}

/// Where the secret of a line begins; the end of the line if it is still to come.
fn secret_in(before: &str, line: &str, scan: &mut Scan) -> Option<usize> {
    let goes_on = line.contains('=');
    if scan.continues {
        scan.continues = goes_on && line.contains("$");
        scan.within |= BLOCKS.iter().any(|block| line.contains(block));
        return Some(0);
    }
    let mut found = Earliest(definition_in(line).into_iter().chain(call_in(line)).min());
    for at in fronts(line) {
        let Front { word, end } = keyword_at(line, at);
        if word.is_empty() {
            continue;
        }
        in_comment(line, end, scan.within, &mut found);
        let glued = |keyword: &&str| {
            word.get(..keyword.len())
                .is_some_and(|front| front.len() < word.len() && front.eq_ignore_ascii_case(keyword))
        };
        if let Some(keyword) = MEANT.iter().find(|keyword| glued(keyword)) {
            found.take(at + keyword.len());
        } else if secret_keyword(word) {
            let meant = nearest(&word.to_ascii_lowercase(), MEANT.into_iter()).is_some();
            let alone = line.get(end..).is_none_or(|rest| rest.trim().is_empty());
            found.take(if alone && !meant { at } else { end });
        } else if let Some(end) = interrupted(line, at) {
            found.take(end);
        } else if broken_keyword(line.get(..at).filter(|front| !front.trim().is_empty()).unwrap_or(before), word) {
            found.take(end);
        } else if scan.within || word.len() <= 4 {
            in_block(line, at, scan.within, &mut found);
        }
        if nearest(word, BLOCKS.into_iter()).is_some() {
            scan.within = true;
            // What should stand in the block, where its brace was forgotten.
            let rest = line.get(end..).unwrap_or_default().trim_start();
            found.take_if(!rest.is_empty() && !rest.starts_with(['{', '}']), end);
        }
    }
    scan.within |= BLOCKS.iter().any(|block| line.contains(block));
    behind_split_keyword(line, &mut found);
    behind_names(line, &mut found);
    if let Some(at) = in_command(line) {
        found.take(at);
    }
    if line.contains('}') {
        scan.within = line.rfind('{') > line.rfind('}') && scan.within;
    }
    if let Some(at) = found.0 {
        scan.continues = goes_on && line.contains("$")
            || line.get(at..).is_none_or(is_weak)
            || call_in(line).is_some() && !line.contains(')');
    }
    found.0
}

/// The first place of a line from which on nothing may be shown.
struct Earliest(Option<usize>);

impl Earliest {
    fn take(&mut self, at: usize) {
        self.0 = Some(self.0.map_or(at, |first| first.min(at)));
    }

    fn take_if(&mut self, condition: bool, at: usize) {
        if condition {
            self.take(at);
        }
    }
}

/// Old passwords are kept in comments, behind the keyword that ends at `end`.
fn in_comment(line: &str, end: usize, within: bool, found: &mut Earliest) {
    let letters: String = line.chars().filter(|c| is_name_char(*c)).take(4).collect();
    if (within || letters == "auth")
        && let Some(comment) = line.get(end..).and_then(|rest| rest.find(['#', '!']))
    {
        found.take(end + comment + 1);
    }
}

/// What stands in `authentication` or `auth_hmac` (`within`), or may have lost its block: `key N SECRET`, the type and what follows
/// it, and words that nobody knows.
fn in_block(line: &str, at: usize, within: bool, found: &mut Earliest) {
    let Front { word, end } = keyword_at(line, at);
    let rest = line.get(end..).unwrap_or_default();
    let argument = rest.split_whitespace().next().unwrap_or_default();
    let behind_argument = rest.len() - rest.trim_start().len() + argument.len();
    if nearest(word, ["key"].into_iter()).is_some() {
        // Within its block also without the number.
        let numbered = !argument.is_empty() && argument.bytes().all(|b| b.is_ascii_digit());
        found
            .take_if(!rest.contains("file:") && (numbered || within), end + if numbered { behind_argument } else { 0 });
        return;
    }
    if !within {
        return;
    }
    if nearest(word, ["auth_type"].into_iter()).is_some() {
        // What follows the type, and what cannot be one.
        let more = rest.get(behind_argument..).unwrap_or_default();
        found.take_if(!more.trim_matches([' ', '\t', '\r', '}']).is_empty(), end + behind_argument);
        let may_be = argument.len() <= 6 || argument.bytes().all(|b| b.is_ascii_alphabetic() || b == b'"');
        found.take_if(!may_be, end);
        return;
    }
    let known = BESIDE.iter().any(|known| nearest(word, [*known].into_iter()).is_some())
        // A block that is not closed has keywords of others in it.
        || keywords::all().iter().any(|keyword| keyword.keyword == word);
    found.take_if(!known, at);
}

/// A keyword with a blank in its middle.
fn behind_split_keyword(line: &str, found: &mut Earliest) {
    for (blank, sign) in line.trim_end().match_indices(char::is_whitespace) {
        let (front, rest) = (line.get(..blank).unwrap_or_default(), line.get(blank + sign.len()..).unwrap_or_default());
        let word = rest.split(char::is_whitespace).next().unwrap_or_default();
        let joined = front.split_whitespace().next_back().map(|last| format!("{last}{word}").to_ascii_lowercase());
        let Some(joined) = joined.filter(|_| !word.is_empty()) else { continue };
        if broken_keyword(front, word) || nearest(&joined, MEANT.into_iter()).is_some() {
            found.take(blank + sign.len() + word.len());
        }
    }
}

/// These names are a secret's wherever they stand: in a command line, behind another word.
fn behind_names(line: &str, found: &mut Earliest) {
    for name in KEYWORDS.iter().filter(|name| name.contains("pass")) {
        for (at, _) in line.match_indices(*name) {
            let alone = line
                .get(..at)
                .and_then(|text| text.chars().next_back())
                .is_none_or(|c| !c.is_alphanumeric() && c != '_');
            let Front { word, end } = keyword_at(line, at);
            found.take_if(alone && word == *name, end);
        }
    }
}

/// Where a secret begins that a program is given on its command line, in the ways of the programs that checks are made with, and
/// one in an address (`http://user:secret@host`).
fn in_command(line: &str) -> Option<usize> {
    const NAMES: [&str; 4] = ["token=", "secret=", "passwd=", "pwd="];
    let named = NAMES.iter().filter_map(|name| Some(line.find(name)? + name.len()));
    let option = |program: &str, sign: &str, glued: bool| {
        let after = line.find(program)? + program.len();
        let at = after + line.get(after..)?.find(sign)? + sign.len();
        (line.get(at..)?.starts_with(char::is_whitespace) != glued).then_some(at)
    };
    let options = [("mysql", " -p", true), ("maria", " -p", true), ("redis-cli", " -a", false), ("curl", " -u", false)];
    let options = options.into_iter().filter_map(|(program, sign, glued)| option(program, sign, glued));
    let address = line.match_indices("://").find_map(|(at, sign)| {
        let host = line.get(at + sign.len()..)?.split(|c: char| c.is_whitespace() || c == '/').next()?;
        let (user, _) = host.rsplit_once('@')?;
        Some(at + sign.len() + user.find(':')? + 1)
    });
    named.chain(options).chain(address).min()
}

/// Where the arguments of `$NAME(…)` begin: the language has no such thing, and whoever believes it has gives a password that way.
fn call_in(line: &str) -> Option<usize> {
    line.match_indices('$').find_map(|(at, _)| {
        let name = line.get(at + 1..)?;
        let arguments = name.trim_start_matches(is_name_char);
        (arguments.len() < name.len() && arguments.starts_with('(')).then_some(line.len() - arguments.len() + 1)
    })
}
