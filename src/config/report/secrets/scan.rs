//! Secrets by their keywords: each line of a text is looked at with little memory of the one above, since whatever is wrong may be
//! wrong before it. Keywords that are written as they should be are found here with what they are in; those that a slip has changed,
//! by [`Meant`].

use super::definitions::{definition_in, is_name_char, is_weak};
use super::meant::Meant;
use super::{Ranges, merge};
use crate::config::table::block::nearest;
use crate::config::table::keywords;
use rustc_hash::FxHashSet;
use std::sync::LazyLock;

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
    /// Where keywords end that were meant, in the whole text.
    meant: Meant,
    /// Inside `authentication` or `auth_hmac`.
    within: bool,
    /// Inside `SSL`.
    ssl: bool,
    /// The line above ends in a secret keyword, or goes on here with a secret.
    continues: bool,
    /// The line above has a secret and ends in a backslash.
    broken: bool,
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
        || (lower.contains("auth") && !is_known_of_auth(&lower))
        || (lower.len() > 5 && nearest(&lower, MEANT.into_iter()).is_some())
}

/// Keywords that are none of a secret, nor of its block, nor like one. Nearly every line begins with one, so nothing more is asked
/// about it. One of up to four letters may have lost some.
fn is_plain_keyword(word: &str) -> bool {
    static PLAIN: LazyLock<FxHashSet<&str>> = LazyLock::new(|| {
        let plain = |word: &str| {
            word.len() > SHORT_KEYWORD && !secret_keyword(word) && nearest(word, BLOCKS.into_iter()).is_none()
        };
        keywords::all().iter().map(|keyword| keyword.keyword).filter(|word| plain(word)).collect()
    });
    PLAIN.contains(word)
}

/// Letters up to which a word in front may be `key`.
const SHORT_KEYWORD: usize = 4;

/// Whether a word with `auth` in it is a keyword, or a slip in one that has no secret: those that nobody has are meant to be
/// `auth_pass`, as `vrrp_auth` is.
fn is_known_of_auth(word: &str) -> bool {
    keywords::all().iter().any(|known| known.keyword == word)
        || nearest(word, ["auth_type", "authentication", "auth_hmac"].into_iter()).is_some()
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
    let mut scan = Scan { meant: Meant::find(text), ..Scan::default() };
    let mut start = 0_usize;
    for line in text.split('\n') {
        let at = start;
        start += line.len() + 1;
        if line.trim().is_empty() {
            continue;
        }
        let strange = scan.ssl && is_strange_in_ssl(line);
        let found = secret_in(at, line, &mut scan);
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
        self.ssl |= line.contains("SSL") && line.split(|c| !is_name_char(c)).any(|word| word == "SSL");
        self.ssl &= !line.contains('}');
    }
}

/// The places of these that are in a line which begins at `start`.
fn ends_in<'m>(ends: &'m [usize], start: usize, line: &str) -> &'m [usize] {
    let from = ends.partition_point(|end| *end <= start);
    let rest = ends.get(from..).unwrap_or_default();
    rest.get(..rest.partition_point(|end| *end <= start + line.len())).unwrap_or_default()
}

fn first_word(line: &str) -> &str {
    line.split(|c| !is_name_char(c)).find(|word| !word.is_empty()).unwrap_or_default()
}

/// Whether a line begins with a word that may stand beside a secret, or has none.
fn begins_as_known(line: &str) -> bool {
    let word = first_word(line);
    word.is_empty() || may_stand_beside(word)
}

/// Whether a word is one of a secret's block, or of others: a block that is not closed has keywords of others in it.
fn may_stand_beside(word: &str) -> bool {
    BESIDE.iter().any(|known| nearest(word, [*known].into_iter()).is_some())
        || keywords::all().iter().any(|keyword| keyword.keyword == word)
}

/// Whether a line begins with a sign that stands in front of no statement.
fn begins_with_sign(line: &str) -> bool {
    let of_language = |c: char| matches!(c, '$' | '@' | '~' | '#' | '!' | '{' | '}');
    line.trim_start().starts_with(|c: char| !is_name_char(c) && !of_language(c))
}

/// A line of the block `SSL` that begins with nothing that may stand there: a broken keyword, and its password with it.
fn is_strange_in_ssl(line: &str) -> bool {
    let first = first_word(line);
    let known = ["ca", "certificate", "key", "password", "include"];
    !first.is_empty() && nearest(&first.to_ascii_lowercase(), known.into_iter()).is_none()
}

/// Where the secret of a line begins, the line itself at `start` in its text; the end of the line if the secret is still to come.
fn secret_in(start: usize, line: &str, scan: &mut Scan) -> Option<usize> {
    let goes_on = line.contains('=') && line.contains('$');
    let broken = line.trim_end().ends_with('\\');
    if scan.continues || (scan.broken && !begins_as_known(line)) {
        (scan.continues, scan.broken) = (scan.continues && goes_on, broken);
        scan.within |= !ends_in(&scan.meant.blocks, start, line).is_empty();
        return Some(0);
    }
    let mut found = Earliest(definition_in(line).into_iter().chain(call_in(line)).min());
    for at in fronts(line) {
        let Front { word, end } = keyword_at(line, at);
        if word.is_empty() {
            continue;
        }
        in_comment(line, end, scan.within, &mut found);
        if !scan.within && is_plain_keyword(word) {
            continue;
        }
        if secret_keyword(word) {
            let meant = nearest(&word.to_ascii_lowercase(), MEANT.into_iter()).is_some();
            let alone = line.get(end..).is_none_or(|rest| rest.trim().is_empty());
            found.take(if alone && !meant { at } else { end });
        } else if scan.within || word.len() <= SHORT_KEYWORD {
            in_block(line, at, scan.within, &mut found);
        }
        if nearest(word, BLOCKS.into_iter()).is_some() {
            scan.within = true;
            // What should stand in the block, where its brace was forgotten.
            let rest = line.get(end..).unwrap_or_default().trim_start();
            found.take_if(!rest.is_empty() && !rest.starts_with(['{', '}']), end);
        }
    }
    if scan.within && begins_with_sign(line) && !begins_as_known(line) {
        found.take(0);
    }
    scan.within |= !ends_in(&scan.meant.blocks, start, line).is_empty();
    let meant = ends_in(&scan.meant.secrets, start, line);
    if let Some(end) = meant.first() {
        found.take(*end - start);
    }
    if let Some(at) = in_command(line) {
        found.take(at);
    }
    if line.contains('}') {
        scan.within = line.rfind('{') > line.rfind('}') && scan.within;
    }
    scan.broken = broken && found.0.is_some();
    if let Some(at) = found.0 {
        let keyword = meant.iter().map(|end| *end - start).find(|end| *end >= at).unwrap_or(at);
        scan.continues =
            goes_on || line.get(keyword..).is_none_or(is_weak) || call_in(line).is_some() && !line.contains(')');
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
    let sign = |byte: &u8| matches!(byte, b'#' | b'!');
    let Some(comment) = line.as_bytes().get(end..).and_then(|rest| rest.iter().position(sign)) else { return };
    let begins = || line.chars().filter(|c| is_name_char(*c)).take(4).eq("auth".chars());
    found.take_if(within || begins(), end + comment + 1);
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
    found.take_if(!may_stand_beside(word), at);
}

/// Where a secret begins that a program is given on its command line, in the ways of the programs that checks are made with, and
/// one in an address (`http://user:secret@host`).
fn in_command(line: &str) -> Option<usize> {
    const NAMES: [&str; 12] = [
        "token=",
        "secret=",
        "passwd=",
        "pwd=",
        "apikey=",
        "api_key=",
        "api-key=",
        "Bearer ",
        "Basic ",
        "-access-key ",
        "-access-key=",
        " -pass ",
    ];
    // Each of them, and each option and address below, has one of these.
    if !line.bytes().any(|byte| matches!(byte, b'=' | b'-' | b':' | b'B')) {
        return None;
    }
    let named = NAMES.iter().filter_map(|name| Some(line.find(name)? + name.len()));
    let option = |program: &str, sign: &str, glued: bool| {
        let after = line.find(program)? + program.len();
        let at = after + line.get(after..)?.find(sign)? + sign.len();
        (line.get(at..)?.starts_with(char::is_whitespace) != glued).then_some(at)
    };
    let options = [
        ("mysql", " -p", true),
        ("maria", " -p", true),
        ("redis-cli", " -a", false),
        ("curl", " -u", false),
        ("curl", " --user", false),
        ("curl", " --user=", true),
        ("ldap", " -w", false),
        ("sshpass", " -p", false),
    ];
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
        // Of `$NAMEVALUE)`, whose `(` is lost, nobody can tell where the name ends.
        if arguments.starts_with(')') && !line.contains('(') {
            return Some(at + 1);
        }
        (arguments.len() < name.len() && arguments.starts_with('(')).then_some(line.len() - arguments.len() + 1)
    })
}
