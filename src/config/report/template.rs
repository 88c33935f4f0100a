//! Files that another program was to fill in first: Ansible, Salt, confd, Chef, Puppet. keepalived reads their marks as braces
//! and words, and complains of most lines; what is wrong is one thing, that the file is not yet the configuration.
//!
//! A placeholder that nobody but a person fills in (`<VIP>`, `%VIP%`) is one word of a line, and is named where it does harm.

use super::{Class, Diagnostic, Diagnostics};
use crate::config::text::source::{FileId, Span};
use std::ops::Range;

/// Marks of one kind.
struct Kind {
    open: &'static str,
    close: &'static str,
    /// Who writes such.
    whose: &'static str,
}

const KINDS: [Kind; 3] = [
    Kind { open: "{%", close: "%}", whose: JINJA },
    Kind { open: "{{", close: "}}", whose: JINJA },
    Kind { open: "<%", close: "%>", whose: "ERB, as Chef and Puppet fill them in" },
];
const JINJA: &str = "Jinja or Go, as Ansible, Salt and confd fill them in";

/// The first mark of a line.
fn mark(line: &str) -> Option<(Range<usize>, &'static Kind)> {
    let found = KINDS.iter().filter_map(|kind| {
        let start = line.find(kind.open)?;
        let inner = line.get(start + kind.open.len()..)?;
        let end = inner.find(kind.close).map(|end| start + kind.open.len() + end + kind.close.len());
        // A block of statements may end in another line; two braces without their end are a slip of another kind.
        let end = end.or_else(|| (kind.open != "{{").then_some(line.trim_end().len()))?;
        Some((start..end, kind))
    });
    found.min_by_key(|(range, _)| range.start)
}

/// The placeholders of a line: `<NAME>`, several words in it as well, `%NAME%` and `@NAME@`, and addresses out of letters,
/// `x.x.x.x` and `192.168.1.xxx`.
fn placeholders(line: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let behind = |(start, sign): (usize, &str)| {
        let (close, blanks) = if sign == "<" { (">", true) } else { (sign, false) };
        let inner = line.get(start + 1..)?;
        let end = inner.find(close)?;
        let name = inner.get(..end)?;
        let may_be = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/') || (blanks && c == ' ');
        let named = name.starts_with(char::is_alphabetic) && name.chars().all(may_be);
        named.then_some(start..start + end + 2)
    };
    let words = line.split(char::is_whitespace).scan(0, |at, word| {
        let start = *at;
        *at += word.len() + 1;
        Some((start, word))
    });
    let addresses = words.filter(|(_, word)| is_address_of_letters(word)).map(|(at, word)| at..at + word.len());
    line.match_indices(['<', '%', '@']).filter_map(behind).chain(addresses)
}

fn is_address_of_letters(word: &str) -> bool {
    let parts: Vec<&str> = word.split('/').next().unwrap_or_default().split('.').collect();
    let letters = |part: &&str| !part.is_empty() && part.bytes().all(|b| matches!(b, b'x' | b'X'));
    let digits = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    parts.len() == 4 && parts.iter().any(letters) && parts.iter().all(|part| letters(part) || digits(part))
}

/// The cure of whatever is complained of at a placeholder. It quotes nothing, for it may stand in the place of a password.
const FILL_IN: &str = "this looks like a placeholder that nobody has filled in: write the value in its place";

/// Says of each mistake in a placeholder that it is one.
pub fn name_placeholders(text: &str, diagnostics: &mut Diagnostics) {
    for complaint in &mut diagnostics.list {
        let Some(span) = complaint.span.filter(|span| span.file == FileId::EXPANDED) else { continue };
        // An unknown keyword is the name of a page's tag more often, and has that cure.
        if !complaint.class.is_mistake() || complaint.class == Class::UnknownKeyword {
            continue;
        }
        // Without a word of the line in it, it is about something else than what stands there.
        if !complaint.message.contains('`') {
            continue;
        }
        // One that is named already.
        if complaint.help.as_ref().is_some_and(|help| help.contains("stands for")) {
            continue;
        }
        let at = span.start as usize;
        let start = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
        let line = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let here = (at - start)..(span.end as usize).saturating_sub(start);
        if placeholders(line).any(|placeholder| placeholder.start < here.end && here.start < placeholder.end) {
            complaint.help = Some(FILL_IN.to_owned());
        }
    }
}

/// Makes one complaint of all if one of them is about a line with such a mark: marks that keepalived reads well, as in the
/// command of a script, are none. The exit code stays that of the worst.
pub fn fold(text: &str, diagnostics: &mut Diagnostics) {
    let mistaken = |d: &&Diagnostic| d.class.is_mistake() && d.span.is_some_and(|span| span.file == FileId::EXPANDED);
    let mut places: Vec<u32> = diagnostics.list.iter().filter(mistaken).filter_map(|d| Some(d.span?.start)).collect();
    // Nearly every text is without a mistake, and need not be gone through.
    if places.is_empty() {
        return;
    }
    places.sort_unstable();
    let (mut start, mut first, mut lines) = (0, None, 0_usize);
    for line in text.split_inclusive('\n') {
        let at = start;
        start += line.len();
        let Some((range, kind)) = mark(line) else { continue };
        lines += 1;
        let from = places.partition_point(|place| (*place as usize) < at);
        if first.is_none() && places.get(from).is_some_and(|place| (*place as usize) < start) {
            first = Some((
                Span { file: FileId::EXPANDED, start: (at + range.start) as u32, end: (at + range.end) as u32 },
                kind,
            ));
        }
    }
    let (Some((span, Kind { whose, .. })), Some(class)) = (first, diagnostics.worst()) else { return };
    let stop = diagnostics.list.iter().find(|d| d.class == Class::Abort).and_then(|d| d.span);
    // What does not follow from it would have to be told apart by reading the file that it becomes.
    diagnostics.list.retain(|d| d.class == Class::Include);
    // The marks themselves are not quoted: behind `auth_pass` they count as the password, which no message shows.
    let message = "this is a template that nobody has filled in";
    let more = match lines {
        1 => "one line has such a mark".to_owned(),
        lines => format!("{lines} lines have such marks"),
    };
    let mut complaint = Diagnostic::new(class, span, message)
        .label(more)
        .help(format!("check the file that becomes of it (the marks are {whose}), or write the values in their place"));
    if let Some(stop) = stop {
        complaint = complaint.related(stop, "nothing after this line is read");
    }
    diagnostics.push(complaint);
}
