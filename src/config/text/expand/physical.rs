//! Lines as they stand in a file: ends of either kind, lines too long for keepalived's buffer, NUL bytes; and the short
//! way for lines that hold nothing to expand, which are nearly all.

use super::super::source::{FileId, Place, Span, is_stray};
use super::Frame;
use super::LINE_BUFFER;
use super::Reader;
use super::line::{Line, decomment, is_blank};
use super::pieces::split;
use crate::config::report::{Class, Diagnostic};

impl Reader<'_> {
    /// The next line of the file on top that needs a closer look; the others go straight to the text. `None` at the end.
    pub(crate) fn file_line(&mut self) -> Option<Line> {
        let Some(Frame::File(frame)) = self.stack.last() else { return None };
        let (file, text, mut at) = (frame.file, frame.text.clone(), frame.at);
        while at < text.len() {
            let rest = text.get(at..).unwrap_or("");
            // The rest of an over-long line is taken in pieces, and its end is not looked for again each time.
            let skip = self.rest_of_long_line(at);
            // One pass finds the end of the line and whether it asks for a closer look.
            let bytes = rest.as_bytes();
            let (mut len, mut kinds) = (skip.min(bytes.len()), 0);
            while let Some(kind) = bytes.get(len).map(|byte| KIND[usize::from(*byte)]).filter(|kind| *kind != END) {
                kinds |= kind;
                len += 1;
            }
            let ended = len < bytes.len();
            let mut physical = rest.get(..len).unwrap_or("");
            let mut next = at + len + 1;
            if skip > 0 || len + 1 >= LINE_BUFFER || (kinds & ODD != 0 && physical.contains('\0')) {
                let (kept, read) = self.odd_line(file, at, physical, ended);
                (physical, next) = (kept, at + read);
            }
            let start = at;
            at = next;
            let physical = physical.trim_end_matches('\r');
            if physical.is_empty() {
                self.collected();
                continue;
            }
            if skip == 0 && self.collecting.is_none() && self.plain(file, start, physical, kinds) {
                continue;
            }
            let mut line = Line::verbatim(physical, file, start as u32);
            let odd_quote = decomment(&mut line).odd_quote;
            if odd_quote {
                self.report_quote(&line);
            }
            if self.collecting.is_some() || line.text.starts_with('$') {
                continue_behind_comment(&mut line, physical, file, start);
            }
            if line.text.is_empty() {
                self.nothing_left(file, start, physical);
                continue;
            }
            if let Some(Frame::File(frame)) = self.stack.last_mut() {
                frame.at = at;
            }
            return Some(line);
        }
        if let Some(Frame::File(frame)) = self.stack.pop() {
            self.checks = frame.checks;
        }
        None
    }

    /// A line of blanks or a comment: it ends a definition of several lines, as keepalived's VRRP and checker processes
    /// read it. They get the file with its comments taken out, and so see an empty line.
    fn nothing_left(&mut self, file: FileId, start: usize, physical: &str) {
        let Some(name) = self.collecting.as_ref().map(|collecting| collecting.name.clone()) else { return };
        self.collected();
        let comment = physical.trim_start_matches(is_blank);
        if !comment.is_empty() {
            let end = start + physical.len();
            let span = Span { file, start: (end - comment.len()) as u32, end: end as u32 };
            let message =
                format!("this comment ends the definition of ${name}; the lines after it do not belong to it");
            self.diagnostics
                .push(Diagnostic::new(Class::Note, span, message).help("put the comment above the definition"));
        }
    }

    /// A line that does not fit keepalived's buffer, or holds NUL: what of it is read, and where the next line begins.
    fn odd_line<'t>(&mut self, file: FileId, at: usize, line: &'t str, ended: bool) -> (&'t str, usize) {
        // As fgets would take it: 1023 bytes, or up to and with the newline.
        let (mut bytes, mut cut) = (0, None);
        for (index, c) in line.char_indices() {
            if bytes >= LINE_BUFFER - 1 {
                cut = Some(index);
                break;
            }
            bytes += if is_stray(c) { 1 } else { c.len_utf8() };
        }
        if cut.is_none() && bytes == LINE_BUFFER - 1 {
            cut = Some(line.len());
        }
        let chunk = line.get(..cut.unwrap_or(line.len())).unwrap_or(line);
        let read = cut.unwrap_or(line.len() + 1);
        let span = Span { file, start: at as u32, end: (at + chunk.len()) as u32 };
        if let Some(nul) = chunk.find('\0') {
            if cut.is_none() && !ended {
                return (chunk.get(..nul).unwrap_or(""), read);
            }
            let nul = Span { file, start: (at + nul) as u32, end: (at + nul + 1) as u32 };
            if chunk.bytes().filter(|byte| *byte == 0).count() * 3 > chunk.len() {
                if self.utf16 != Some(file) {
                    self.utf16 = Some(file);
                    let message = "this file is UTF-16: every line holds NUL bytes and is ignored";
                    let help = "save it as plain text, which is UTF-8 or ASCII";
                    self.diagnostics.push(Diagnostic::new(Class::General, nul, message).help(help));
                }
                return ("", read);
            }
            let message = "this line holds a NUL byte and is ignored";
            self.diagnostics.push(Diagnostic::new(Class::General, nul, message).help("save the file as plain text"));
            return ("", read);
        }
        if cut.is_none() {
            return (chunk, read);
        }
        if self.first_of_long_line(at, at + line.len()) {
            let message = "this line is longer than 1022 bytes";
            self.diagnostics.push(
                Diagnostic::new(Class::General, span, message)
                    .label("dropped; what follows is read as a line of its own")
                    .help("break the line; in a comment, begin each line with #"),
            );
        }
        ("", read)
    }

    /// How much is left at `at` of a line that is too long; 0 in any other line.
    fn rest_of_long_line(&self, at: usize) -> usize {
        let Some(Frame::File(frame)) = self.stack.last() else { return 0 };
        frame.too_long_until.saturating_sub(at)
    }

    /// Whether the over-long line that ends at `end` has not been complained about; it will have been then.
    fn first_of_long_line(&mut self, at: usize, end: usize) -> bool {
        let Some(Frame::File(frame)) = self.stack.last_mut() else { return false };
        let first = at >= frame.too_long_until;
        frame.too_long_until = frame.too_long_until.max(end);
        first
    }

    /// Copies a line with nothing to expand, and says whether it was one. `kinds` is what its bytes are.
    fn plain(&mut self, file: FileId, start: usize, physical: &str, kinds: u8) -> bool {
        let blanks = physical.bytes().position(|byte| !is_blank(char::from(byte))).unwrap_or(physical.len());
        let trimmed = physical.get(blanks..).unwrap_or("");
        let Some(first) = trimmed.bytes().next() else { return true };
        if matches!(first, b'#' | b'!') {
            return true;
        }
        let braces = kinds & BRACE != 0;
        if kinds & ODD != 0 || (first == b'i' && trimmed.starts_with("include")) {
            return false;
        }
        if braces && trimmed.contains("include") {
            return false;
        }
        let base = self.text.buffer.len() as u32;
        if braces || self.depth == 0 || self.in_globals {
            for (piece, bounds) in split(physical, base) {
                self.follow(piece);
                self.text.bounds.push(bounds);
            }
        } else {
            let end = physical.trim_end_matches(is_blank).len();
            self.text.bounds.push((base + blanks as u32, base + end as u32));
        }
        let place = Place { file, start: start as u32, end: 0, way: 0 };
        self.origins.add(base, place);
        self.text.buffer.push_str(physical);
        self.text.buffer.push('\n');
        true
    }
}

const BRACE: u8 = 1;
const ODD: u8 = 2;
const END: u8 = 4;

/// What a byte asks of the reader: nothing, to split the line, a closer look, or the next line.
const KIND: [u8; 256] = {
    let mut kind = [0; 256];
    let odd = b"\"\\#!$@~\0";
    let mut at = 0;
    while at < odd.len() {
        kind[odd[at] as usize] = ODD;
        at += 1;
    }
    kind[b'{' as usize] = BRACE;
    kind[b'}' as usize] = BRACE;
    kind[b'\n' as usize] = END;
    kind
};

/// A backslash at the end of a comment takes a definition on: so a line of it can be commented out, as 2.2.7 has it. In
/// 2.4.3 the definition ends there, and what is left of it stands outside.
fn continue_behind_comment(line: &mut Line, physical: &str, file: FileId, start: usize) {
    let end = physical.trim_end_matches(is_blank).len();
    if line.text.ends_with('\\') || !physical.get(..end).is_some_and(|text| text.ends_with('\\')) {
        return;
    }
    let backslash = Line::verbatim(physical, file, start as u32).slice(end - 1..end);
    let at = line.text.len();
    line.splice(at..at, &backslash.text, backslash.runs);
}
