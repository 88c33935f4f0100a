//! Files that another program was to fill in first: Ansible, Salt, confd, Chef, Puppet. keepalived reads their marks as braces
//! and words, and complains of most lines; what is wrong is one thing, that the file is not yet the configuration.

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
