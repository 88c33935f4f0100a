//! `vipctl fmt`: one layout for every file, with every comment kept and the meaning unchanged.
//!
//! The layout: four blanks for each block; `{` at the end of its keyword's line, `}` on a line of its own; one entry a
//! line; one blank between words; at most one empty line in a row, none at the ends of a block, one after a block of the
//! top level.
//!
//! It works on the text of one file and never looks at another. So it does not touch what it cannot see through: lines
//! that include, define, repeat, hold for one node only or use a definition keep their words and blanks; the lines of a
//! definition are not even indented; neither is a line near the limit of 1022 bytes, for a blank more could cut it in two.

use super::expand::{decommented, definition};
use super::lexer::is_space;
use super::source::{bytes_of, text_of};

/// Blanks a block is set in by.
const STEP: usize = 4;
/// Deeper blocks are not set in further.
const DEEPEST: usize = 16;
/// keepalived reads lines of 1022 bytes at most; from here on a line stays as it is.
const LONG: usize = 900;

/// The file in the canonical layout.
pub fn format(file: &[u8]) -> Vec<u8> {
    let text = text_of(file.to_vec());
    let mut writer = Writer::default();
    // Lines of a definition that has not ended.
    let mut defining = false;
    for physical in text.split_inclusive('\n') {
        let (unended, end) = physical.strip_suffix('\n').map_or((physical, ""), |line| (line, "\n"));
        let line = unended.trim_end_matches('\r');
        if bytes_of(unended).len() > LONG || line.contains('\0') {
            writer.verbatim(unended, end, !defining);
            defining = line.contains('\\');
        } else if defining {
            let (content, _) = decommented(line);
            writer.verbatim(line, "\n", false);
            defining = !line.is_empty() && (content.is_empty() || content.ends_with('\\') || goes_on("$", line));
        } else {
            defining = writer.line(line);
        }
    }
    writer.finish()
}

#[derive(Default)]
struct Writer {
    out: String,
    depth: usize,
    /// A line that may still get a `{`: its words and its comment.
    held: Option<(String, String)>,
    /// An empty line was seen before the held one.
    gap_before_held: bool,
    /// An empty line was seen since the last line.
    gap: bool,
    last: Last,
}

/// What was written last, for the empty lines.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Last {
    #[default]
    Start,
    Opened,
    /// A `}` that ended a block of the top level.
    Ended,
    Other,
}

impl Writer {
    /// Takes a line of the file; says whether the lines after it belong to a definition.
    fn line(&mut self, line: &str) -> bool {
        let (content, comment_at) = decommented(line);
        let comment = comment_at.and_then(|at| line.get(at..)).unwrap_or("").trim_end_matches(is_space);
        if content.is_empty() {
            match comment {
                "" => self.gap = true,
                comment => self.put(comment),
            }
            return false;
        }
        if stays(&content) {
            let whole = line.trim_start_matches([' ', '\t']).trim_end_matches([' ', '\t', '\r']);
            let (closes, opens) = braces(&content);
            let said = match content.starts_with('@') {
                true => content.split_once([' ', '\t']).map_or("", |(_, rest)| rest.trim_start()),
                false => &content,
            };
            let leading = usize::from(said.starts_with('}'));
            self.flush();
            self.depth = self.depth.saturating_sub(leading);
            self.put(whole);
            self.depth = (self.depth + opens).saturating_sub(closes - leading.min(closes));
            return goes_on(&content, line);
        }
        let mut pieces = pieces(&content).into_iter().peekable();
        while let Some(piece) = pieces.next() {
            let comment = if pieces.peek().is_none() { comment } else { "" };
            match piece.as_str() {
                "{" => self.open(comment),
                "}" => self.close(comment),
                _ => {
                    self.flush();
                    self.held = Some((piece, comment.to_string()));
                    self.gap_before_held = std::mem::take(&mut self.gap);
                }
            }
        }
        false
    }

    fn open(&mut self, comment: &str) {
        let (words, comment) = match self.held.take() {
            Some((words, held)) if held.is_empty() || comment.is_empty() => {
                self.gap = self.gap_before_held;
                (words + " {", if held.is_empty() { comment.to_string() } else { held })
            }
            held => {
                self.held = held;
                self.flush();
                ("{".to_string(), comment.to_string())
            }
        };
        self.put(with_comment(&words, &comment).as_str());
        self.depth += 1;
        self.last = Last::Opened;
    }

    fn close(&mut self, comment: &str) {
        self.flush();
        self.gap = false;
        self.depth = self.depth.saturating_sub(1);
        self.put(&with_comment("}", comment));
        if self.depth == 0 {
            self.last = Last::Ended;
        }
    }

    /// Writes the held line: nothing that follows belongs to it.
    fn flush(&mut self) {
        if let Some((words, comment)) = self.held.take() {
            let gap = std::mem::replace(&mut self.gap, self.gap_before_held);
            self.write(&with_comment(&words, &comment));
            self.gap = gap;
        }
    }

    /// Writes a line, after the held one.
    fn put(&mut self, line: &str) {
        self.flush();
        self.write(line);
    }
    fn write(&mut self, line: &str) {
        self.space(line);
        let indent = STEP * self.depth.min(DEEPEST);
        self.out.extend(std::iter::repeat_n(' ', indent.min(LONG.saturating_sub(bytes_of(line).len()))));
        self.out.push_str(line);
        self.out.push('\n');
    }
    /// The empty line before a line, where one belongs.
    fn space(&mut self, line: &str) {
        let wanted = self.gap && self.last != Last::Opened || self.last == Last::Ended;
        if wanted && self.last != Last::Start && !line.trim_start().starts_with('}') {
            self.out.push('\n');
        }
        self.gap = false;
        self.last = Last::Other;
    }

    /// Copies a line as it is; in a definition an empty line before it would end the definition.
    fn verbatim(&mut self, line: &str, end: &str, spaced: bool) {
        self.flush();
        if spaced {
            self.space(line);
            let (content, _) = decommented(line);
            let (closes, opens) = braces(&content);
            self.depth = (self.depth + opens).saturating_sub(closes);
            self.last = match content.as_bytes().last() {
                Some(b'{') => Last::Opened,
                Some(b'}') if self.depth == 0 => Last::Ended,
                _ => Last::Other,
            };
        }
        self.out.push_str(line);
        self.out.push_str(end);
        self.gap = false;
    }

    fn finish(mut self) -> Vec<u8> {
        self.flush();
        bytes_of(&self.out).into_owned()
    }
}

/// Whether a definition goes on in the next line; the backslash may be the last of a comment.
fn goes_on(content: &str, line: &str) -> bool {
    content.ends_with('\\') || content.starts_with('$') && line.trim_end_matches(is_space).ends_with('\\')
}

fn with_comment(words: &str, comment: &str) -> String {
    if comment.is_empty() { words.to_string() } else { format!("{words} {comment}") }
}

/// Whether a line keeps its words and blanks.
fn stays(content: &str) -> bool {
    let odd = content.contains(['$', '\\', '\'']) || content.starts_with(['@', '~']);
    let acts = |piece: &String| piece.starts_with(['@', '~']) || includes(piece);
    odd || content.matches('"').count() % 2 == 1 || definition(content).is_some() || pieces(content).iter().any(acts)
}

/// Whether a piece begins with the word `include` or a variant: the rest of the line, braces too, is then a name.
fn includes(piece: &str) -> bool {
    let word = piece.split(is_space).next().unwrap_or("");
    matches!(word.strip_prefix("include"), Some("" | "r" | "m" | "w" | "b" | "a"))
}

/// The words of a line, one blank between them, split at braces.
fn pieces(content: &str) -> Vec<String> {
    let (mut pieces, mut piece, mut quoted, mut blank) = (Vec::new(), String::new(), false, false);
    for c in content.chars() {
        match c {
            c if is_space(c) && !quoted => blank = true,
            '{' | '}' if !quoted => {
                if !piece.is_empty() {
                    pieces.push(std::mem::take(&mut piece));
                }
                pieces.push(c.to_string());
                blank = false;
            }
            c => {
                if std::mem::take(&mut blank) && !piece.is_empty() {
                    piece.push(' ');
                }
                quoted ^= c == '"';
                piece.push(c);
            }
        }
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

/// How many blocks a line that stays as it is closes and opens, as far as can be told: for the indentation only.
fn braces(content: &str) -> (usize, usize) {
    if includes(content) {
        return (0, 0);
    }
    let (mut closes, mut opens, mut quoted, mut named, mut head) =
        (0usize, 0usize, false, false, content.starts_with('~'));
    let mut before = ' ';
    for c in content.chars() {
        match c {
            _ if head => head = c != ')',
            '"' => quoted = !quoted,
            _ if quoted => {}
            '{' if before == '$' => named = true,
            '}' if named => named = false,
            '{' => opens += 1,
            '}' if opens > 0 => opens -= 1,
            '}' => closes += 1,
            _ => {}
        }
        before = c;
    }
    (closes, opens)
}
