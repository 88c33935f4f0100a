//! Text to text: comments, includes, conditions, definitions and sequences, until only plain lines are left.
//!
//! The result is one buffer, the [`Text`], which everything after borrows from. Positions in it are spans of
//! [`FileId::EXPANDED`](super::source::FileId::EXPANDED); the table that leads back to the files is given to
//! [`Sources`](super::source::Sources), so whoever holds a span needs nothing else to show it.
//!
//! Lines come from a stack: the file being read at the bottom, and on it whatever a line of it opened (an included file,
//! the rest of a definition of several lines, a sequence that still has rounds). The top is always read first. Lines
//! without anything to expand, nearly all, are copied as they are found; the others travel as a
//! [`Line`](line::Line), which knows for each part where it came from.
//!
//! This layer never knows keywords, except the few that act on text: `include*`, `include_check`, `random_seed`.
//! It never hangs: what is made out of little text is counted against a budget.

mod define;
mod include;
mod line;
mod physical;
mod pieces;
mod sequence;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::source::{FileId, Found, Loader, Origins, Span, Through};
use crate::config::report::{Class, Diagnostic, Diagnostics};
pub(crate) use define::{BUILTINS, definition, used};
use define::{Collecting, Definition, Random, Substituted, Value};
use include::Checks;
use line::{Line, decomment, is_blank};
pub(crate) use pieces::Pieces;
use pieces::{Bounds, split};
use sequence::{Fault, Rounds};

/// What the text may depend on beside files. Nothing else: the same environment gives the same text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TextEnv {
    /// `@id` lines and `${_INSTANCE}`: `-i ID`, or the host name up to the first dot.
    pub config_id: String,
    /// `${_ENV NAME}`.
    pub environment: BTreeMap<String, String>,
    /// `${_RANDOM}` without `random_seed` in the file: the time, for a daemon.
    pub random_seed: u64,
    /// `-e`: every include must find what it names.
    pub strict_includes: bool,
    /// Where relative names begin; seen in `${_PWD}` only.
    pub working_directory: PathBuf,
}

/// The configuration as plain lines.
#[derive(Clone, Debug, Default)]
pub struct Text {
    buffer: String,
    /// Where its pieces stand in it.
    bounds: Vec<Bounds>,
    /// Where lines begin whose unpaired quote has been complained about; ascending.
    complained: Vec<u32>,
    /// The main file (or the pattern given for it) does not exist: keepalived says so, and with `-t` calls that success.
    pub root_missing: bool,
    /// The files blow up when they are expanded: reading ended early.
    pub exhausted: bool,
}

impl Text {
    /// All of it. Read as a configuration, it means the same again.
    pub fn buffer(&self) -> &str {
        &self.buffer
    }
    /// Trimmed, not empty, without comments; a brace always stands alone.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.pieces().map(|(text, _)| text)
    }
    /// As [`Text::lines`], each with the place where it begins.
    pub(crate) fn pieces(&self) -> Pieces<'_> {
        Pieces::of(&self.buffer, &self.bounds)
    }
    /// Adds a line with its pieces.
    fn push_line(&mut self, line: &str) {
        let base = self.buffer.len() as u32;
        self.bounds.extend(split(line, base).map(|(_, bounds)| bounds));
        self.buffer.push_str(line);
        self.buffer.push('\n');
    }
    /// Has the unpaired quote of the line that begins at `start` been complained about?
    pub(crate) fn complained(&self, start: u32) -> bool {
        self.complained.binary_search(&start).is_ok()
    }
}

/// Reads the main file (`root` may be a pattern) and all that it includes.
pub fn read(root: &str, env: &TextEnv, loader: &dyn Loader, diagnostics: &mut Diagnostics) -> Text {
    let builtin = |(name, builtin): &(&str, define::Builtin)| {
        let name: Arc<str> = (*name).into();
        (name.clone(), Arc::new(Definition { name, value: Value::Builtin(*builtin) }))
    };
    let mut reader = Reader {
        env,
        loader,
        diagnostics,
        text: Text::default(),
        origins: Origins::default(),
        definitions: BUILTINS.iter().map(builtin).collect(),
        stack: Vec::new(),
        collecting: None,
        utf16: None,
        checks: if env.strict_includes { Checks::ALL } else { Checks::default() },
        random: Random::new(env.random_seed as u32),
        seen: HashSet::new(),
        circles: HashSet::new(),
        reading: HashSet::new(),
        depth: 0,
        in_globals: false,
        // A template of some ten thousand real servers, with definitions in each, is what people have.
        steps: 500_000,
        bytes: 24 << 20,
    };
    reader.root(root);
    reader.run();
    let Reader { text, origins, .. } = reader;
    diagnostics.sources.set_origins(origins);
    text
}

/// Where lines come from.
enum Frame {
    File(FileFrame),
    /// A file whose turn comes.
    Open {
        path: PathBuf,
        found: Option<Found>,
        at: Option<Span>,
        checks: Checks,
    },
    /// The rest of a definition of several lines, used at `at`.
    Lines {
        definition: Arc<Definition>,
        next: usize,
        at: Span,
        before: u32,
    },
    Sequence {
        rounds: Rounds,
        text: Line,
        head: Span,
    },
}

struct FileFrame {
    file: FileId,
    text: Arc<String>,
    /// The next byte to be read.
    at: usize,
    path: PathBuf,
    directory: PathBuf,
    included_at: Option<Span>,
    /// What `include_check` said when it was opened, to be so again when it ends.
    checks: Checks,
    /// End of the over-long line that has been complained about.
    too_long_until: usize,
}

struct Reader<'r> {
    env: &'r TextEnv,
    loader: &'r dyn Loader,
    diagnostics: &'r mut Diagnostics,
    text: Text,
    origins: Origins,
    definitions: HashMap<Arc<str>, Arc<Definition>>,
    stack: Vec<Frame>,
    collecting: Option<Collecting>,
    /// The file that was last found to be UTF-16, which is said once.
    utf16: Option<FileId>,
    checks: Checks,
    random: Random,
    /// Files that have been read.
    seen: HashSet<PathBuf>,
    /// Definitions whose circle has been complained about.
    circles: HashSet<usize>,
    /// Definitions of several lines that are on the stack.
    reading: HashSet<usize>,
    depth: usize,
    /// Inside `global_defs`.
    in_globals: bool,
    /// What may still be expanded.
    steps: u64,
    bytes: u64,
}

/// The longest line that keepalived reads holds 1022 bytes and its end.
const LINE_BUFFER: usize = 1024;

impl Reader<'_> {
    fn run(&mut self) {
        loop {
            let line = match self.stack.last_mut() {
                None => break,
                Some(Frame::File(_)) => match self.file_line() {
                    Some(line) => line,
                    None => continue,
                },
                Some(Frame::Open { .. }) => {
                    if let Some(Frame::Open { path, found, at, checks }) = self.stack.pop() {
                        self.open(path, found, at, checks);
                    }
                    continue;
                }
                Some(Frame::Lines { definition, next, at, before }) => {
                    let (definition, at, before) = (definition.clone(), *at, *before);
                    let Value::Lines(lines) = &definition.value else { break };
                    let Some(line) = lines.get(*next) else {
                        self.reading.remove(&(Arc::as_ptr(&definition) as usize));
                        self.stack.pop();
                        continue;
                    };
                    *next += 1;
                    if !self.spend(1, line.text.len() as u64) {
                        break;
                    }
                    self.moved(line, &definition, at, before)
                }
                Some(Frame::Sequence { rounds, text, head }) => {
                    let Some(values) = rounds.next() else {
                        self.stack.pop();
                        continue;
                    };
                    let (line, head) = (text.clone(), *head);
                    match self.round(values, line, head) {
                        Some(line) => line,
                        None => break,
                    }
                }
            };
            self.take(line);
        }
        self.collected();
    }

    /// One round of a sequence: its names take their values, and its text is a line.
    fn round(&mut self, values: Vec<(Arc<str>, Arc<str>)>, mut line: Line, head: Span) -> Option<Line> {
        if !self.spend(1, line.text.len() as u64) {
            return None;
        }
        let (mut before, mut way) = (u32::MAX, 0);
        for (_, place) in &mut line.runs {
            if before != place.way {
                before = place.way;
                way = 0;
                for (name, value) in &values {
                    way = self.way(
                        Through::Round(name.clone(), value.clone()),
                        head,
                        if way == 0 { before } else { way },
                    );
                }
            }
            place.way = way;
        }
        for (name, value) in values {
            self.set(name, Value::Line(Line::computed(&value, head, 0)));
        }
        Some(line)
    }

    /// Counts work that the size of the files does not bound. `false` when there is too much: reading ends.
    fn spend(&mut self, steps: u64, bytes: u64) -> bool {
        if self.text.exhausted {
            return false;
        }
        let left = self.steps.checked_sub(steps).and_then(|steps| Some((steps, self.bytes.checked_sub(bytes)?)));
        let Some((steps, bytes)) = left else {
            self.text.exhausted = true;
            self.stack.clear();
            let read = self.text.buffer.trim_end_matches('\n');
            let at = (!read.is_empty()).then(|| Span {
                file: FileId::EXPANDED,
                start: read.rfind('\n').map_or(0, |end| end + 1) as u32,
                end: read.len() as u32,
            });
            self.diagnostics.push(
                Diagnostic::new(Class::General, at, "the configuration grows out of bounds when it is expanded")
                    .label("reading ends about here")
                    .help("look for a ~SEQ with too many rounds, or definitions that use each other many times"),
            );
            return false;
        };
        (self.steps, self.bytes) = (steps, bytes);
        true
    }
    /// Each two bytes of a file may be a reason to expand something once: `$A`.
    fn allow(&mut self, bytes: u64) {
        self.steps = self.steps.saturating_add(bytes / 2);
    }

    /// Expands one line and adds what comes out of it to the text.
    fn take(&mut self, mut line: Line) {
        if self.collecting.is_some() {
            return self.collect(line);
        }
        loop {
            if let Some(rest) = line.text.strip_prefix('@') {
                let (id, reversed) = rest.strip_prefix('^').map_or((rest, false), |rest| (rest, true));
                let Some((id, then)) = id.split_once(is_blank) else { return };
                if (id == self.env.config_id) == reversed {
                    return;
                }
                line.behead(line.text.len() - then.trim_start_matches(is_blank).len());
            }
            if line.text.is_empty() || self.define(&line) {
                return;
            }
            if line.text.starts_with("~SEQ") || line.text.starts_with("~LST") {
                if let Err((message, help)) = self.sequence(&line) {
                    self.diagnostics.push(Diagnostic::new(Class::General, line.whole(), message).help(help));
                }
                return;
            }
            if line.text.contains('$') && !line.text.starts_with('~') {
                match self.substitute(&mut line, LINE_BUFFER) {
                    Substituted::Failed => return,
                    Substituted::Nothing => {}
                    Substituted::Changed => {
                        let odd_quote = decomment(&mut line).odd_quote;
                        if odd_quote {
                            self.report_quote(&line);
                        }
                        if line.text.contains('$') || line.text.starts_with(['@', '~']) {
                            continue;
                        }
                    }
                }
            }
            if line.text.is_empty() || self.include(&line) {
                return;
            }
            // The first piece is plain text or one brace; what follows is read as another line.
            let brace = first_brace(&line.text);
            let len = match brace {
                Some(0) => 1,
                Some(len) => len,
                None => line.text.len(),
            };
            let rest = line.slice(len..line.text.len());
            line.truncate(len);
            line.trim_end();
            line.record(self.text.buffer.len() as u32, &mut self.origins);
            let complained = self.complained(&line);
            self.push_piece(&line.text, complained);
            line = rest;
            line.behead(line.text.len() - line.text.trim_start_matches(is_blank).len());
            if line.text.is_empty() {
                return;
            }
        }
    }

    fn sequence(&mut self, line: &Line) -> Result<(), Fault> {
        let (rounds, text) = if line.text.starts_with("~LST") {
            sequence::lst(&line.text)?
        } else {
            let head = sequence::seq_head(&line.text)?;
            let start = head.numbers.as_ptr() as usize - line.text.as_ptr() as usize;
            let mut numbers = line.slice(start..start + head.numbers.len());
            let depth = self.stack.len();
            if self.substitute(&mut numbers, 64) == Substituted::Failed {
                return Ok(());
            }
            if self.stack.len() > depth {
                if let Some(Frame::Lines { definition, .. }) = self.stack.pop() {
                    self.reading.remove(&(Arc::as_ptr(&definition) as usize));
                }
                return Err((
                    "a number of a ~SEQ cannot be a definition of several lines",
                    "give the number its own definition",
                ));
            }
            (sequence::seq_rounds(head.name, head.hex, &numbers.text)?, head.text)
        };
        let start = line.text.len() - text.len();
        let head_len = line.text.get(..start).unwrap_or("").trim_end_matches(is_blank).len();
        let head = line.span(0..head_len);
        let text = line.slice(start..line.text.len());
        self.stack.push(Frame::Sequence { rounds, text, head });
        Ok(())
    }

    /// Adds one piece that was expanded.
    fn push_piece(&mut self, piece: &str, complained: bool) {
        self.follow(piece);
        if complained {
            self.text.complained.push(self.text.buffer.len() as u32);
        }
        // An environment variable may hold an end of line, which is as good as a blank.
        match piece.contains('\n') {
            true => self.text.push_line(&piece.replace('\n', " ")),
            false => self.text.push_line(piece),
        }
    }
    /// Notes where in the blocks the text has come.
    fn follow(&mut self, piece: &str) {
        match piece.as_bytes() {
            b"{" => self.depth += 1,
            b"}" => self.depth = self.depth.saturating_sub(1),
            _ if self.depth == 0 => self.in_globals = piece.split_whitespace().next() == Some("global_defs"),
            _ if self.in_globals => self.obey(piece),
            _ => {}
        }
    }
    /// The two keywords of `global_defs` that act while the text is read.
    fn obey(&mut self, piece: &str) {
        let words = |rest: &str| rest.split_whitespace().map(|w| w.trim_matches('"').to_string()).collect::<Vec<_>>();
        if let Some(rest) = piece
            .strip_prefix("include_check")
            .filter(|rest| !rest.starts_with(|c| c == '_' || char::is_alphanumeric(c)))
        {
            let words = words(rest);
            self.checks = self.checks.after(&words.iter().map(String::as_str).collect::<Vec<_>>());
        } else if let Some(seed) = piece.strip_prefix("random_seed ").and_then(|rest| words(rest).first()?.parse().ok())
        {
            self.random = Random::new(seed);
        }
    }

    fn report_quote(&mut self, line: &Line) {
        let at = line.text.rfind('"').unwrap_or(0);
        let span = line.span(at..line.text.len());
        self.diagnostics.push(
            Diagnostic::new(Class::Quote, span, "this quote is never closed")
                .label("from here to the end of the line")
                .help("write the second `\"` on the same line"),
        );
    }
    /// Whether the unpaired quote of this line was the last complaint.
    fn complained(&self, line: &Line) -> bool {
        let last = self.diagnostics.list.last();
        last.is_some_and(|d| {
            d.class == Class::Quote
                && d.span.is_some_and(|s| {
                    let whole = line.whole();
                    s.file == whole.file && s.start >= whole.start && s.start <= whole.end
                })
        })
    }
}

/// A line of a file without its comment and the blanks around, and where the comment begins: what the formatter sees.
pub(crate) fn decommented(line: &str) -> (String, Option<usize>) {
    let mut kept = Line::verbatim(line, FileId::FIRST, 0);
    decomment(&mut kept);
    let bytes = line.as_bytes();
    let (mut at, mut quoted) = (0, false);
    while let Some(byte) = bytes.get(at) {
        match (byte, bytes.get(at + 1)) {
            (b'"', _) => quoted = !quoted,
            (b'\\', Some(b'#' | b'!')) if !quoted => break,
            (b'\\', Some(_)) => at += 1,
            (b'#' | b'!', _) if !quoted => return (kept.text, Some(at)),
            _ => {}
        }
        at += 1;
    }
    (kept.text, None)
}

/// The first brace that is not in quotes.
fn first_brace(text: &str) -> Option<usize> {
    let mut quoted = false;
    text.bytes().position(|byte| {
        quoted ^= byte == b'"';
        !quoted && matches!(byte, b'{' | b'}')
    })
}
