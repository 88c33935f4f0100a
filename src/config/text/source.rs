//! Files as they were read, and where in them a word stands.
//!
//! A [`Span`] points either into a file or into the expanded text ([`FileId::EXPANDED`]), which is what the language is
//! read from. The second kind costs nothing while reading and is led back by [`Sources::resolve`]: to the place in a file
//! that the user would look at, and through the definitions and sequences that the word came by.
//!
//! Bytes that are not UTF-8 are kept: each stands in the text as one character of a private range ([`text_of`]), and
//! [`bytes_of`] gives the byte back, so a Latin-1 password means what it means to keepalived.

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Which file of a [`Sources`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileId(NonZeroU32);

impl FileId {
    /// Not a file: the expanded text. [`Sources::resolve`] leads from there to a file.
    pub const EXPANDED: FileId = FileId(NonZeroU32::MAX);
    /// The file that the daemon was started with, unless a configuration has none.
    pub const FIRST: FileId = FileId(NonZeroU32::MIN);

    /// The file of this position among all. Counted from one inside, so that a setting that was not given is no larger than
    /// one that was: a large configuration is read into little else.
    pub const fn nth(position: usize) -> FileId {
        match NonZeroU32::new((position as u32).saturating_add(1)) {
            Some(number) => FileId(number),
            None => FileId::EXPANDED,
        }
    }

    /// Its position among all files.
    pub const fn position(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// Bytes `start..end` of one file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Span {
    pub file: FileId,
    pub start: u32,
    pub end: u32,
}

impl Span {
    /// In bytes.
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }
    /// Whether it is a place between two bytes.
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }
}

/// One file of a configuration.
#[derive(Clone, Debug)]
pub struct Source {
    /// As the user would name it: the path given, or the path an include resolved to.
    pub name: Arc<str>,
    /// The text, as [`text_of`] makes it from the bytes.
    pub text: Arc<String>,
    /// The include line that brought it in.
    pub included_at: Option<Span>,
}

/// All files of one configuration, and how the expanded text came out of them.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub files: Vec<Source>,
    /// First byte of each line of each file, found when first asked for.
    starts: Vec<OnceLock<Arc<[u32]>>>,
    origins: Origins,
}

impl Sources {
    /// A further file, with the line that included it.
    pub fn add(&mut self, name: &str, text: impl Into<Arc<String>>, included_at: Option<Span>) -> FileId {
        self.files.push(Source { name: name.into(), text: text.into(), included_at });
        self.starts.push(OnceLock::new());
        FileId::nth(self.files.len() - 1)
    }
    /// A file that was added.
    pub fn get(&self, file: FileId) -> Option<&Source> {
        self.files.get(file.position())
    }
    /// The place in a file that a span means, and through which definitions and sequences it came there (innermost
    /// first).
    pub fn resolve(&self, span: Span) -> (Span, Vec<(Span, Through)>) {
        if span.file == FileId::EXPANDED { self.origins.resolve(span) } else { (span, Vec::new()) }
    }
    /// Line and column, both from 1; the column counts characters.
    pub fn position(&self, span: Span) -> (u32, u32) {
        let (span, _) = self.resolve(span);
        self.locate(span.file, span.start)
    }
    /// Line and column of the last character and one: where an underline ends.
    pub fn end_position(&self, span: Span) -> (u32, u32) {
        let (span, _) = self.resolve(span);
        self.locate(span.file, span.end)
    }
    /// Line and column of one byte of a real file.
    fn locate(&self, file: FileId, at: u32) -> (u32, u32) {
        let Some(source) = self.get(file) else { return (1, 1) };
        let starts = self.line_starts(file);
        let line = starts.partition_point(|start| *start <= at).max(1);
        let start = starts.get(line - 1).copied().unwrap_or(0) as usize;
        let upto = source.text.get(start..at as usize).unwrap_or("");
        (line as u32, upto.chars().count() as u32 + 1)
    }
    /// First byte of each line of a file; empty for a file that is not there.
    pub fn line_starts(&self, file: FileId) -> Arc<[u32]> {
        let (Some(source), Some(cell)) = (self.get(file), self.starts.get(file.position())) else { return [].into() };
        let find = || {
            let ends = source.text.match_indices('\n').map(|(at, _)| at as u32 + 1);
            std::iter::once(0).chain(ends).collect()
        };
        cell.get_or_init(find).clone()
    }
    /// The table of the expanded text; the expander fills it.
    pub(crate) fn set_origins(&mut self, origins: Origins) {
        self.origins = origins;
    }
}

/// Where a run of text comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub file: FileId,
    pub start: u32,
    /// 0: byte for byte from `start`. Else every byte means `start..end`, the `$NAME` that was replaced.
    pub end: u32,
    /// Index into [`Origins::ways`] and one; 0: straight from the file.
    pub way: u32,
}

impl Place {
    /// The bytes `from..to`, counted from the start of the run.
    pub fn span(self, from: u32, to: u32) -> Span {
        match self.end {
            0 => Span { file: self.file, start: self.start.saturating_add(from), end: self.start.saturating_add(to) },
            end => Span { file: self.file, start: self.start, end },
        }
    }
}

/// A step on the way of a word into the text.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub through: Through,
    /// The value in the definition, or the head of the sequence.
    pub at: Span,
    /// The step before, as in [`Place::way`].
    pub before: u32,
}

/// What a word came through on its way into the text.
#[derive(Clone, Debug)]
pub enum Through {
    Definition(Arc<str>),
    /// Variable and value.
    Round(Arc<str>, Arc<str>),
}

impl Through {
    /// In words; the value of a variable that is `secret` is not told.
    pub fn said(&self, secret: &dyn Fn(&str) -> bool) -> String {
        match self {
            Through::Definition(name) => format!("from the definition of ${name}"),
            Through::Round(name, _) if secret(name) => format!("in a round with another value of {name}"),
            Through::Round(name, value) => format!("in the round with {name} = {value}"),
        }
    }
}

/// How the expanded text came about: runs of text in order, each with its place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins {
    pub runs: Vec<(u32, Place)>,
    pub ways: Vec<Way>,
}

impl Origins {
    /// Text that begins at `at` comes from `place`. What follows in one file and here alike is one run.
    pub fn add(&mut self, at: u32, place: Place) {
        let goes_on = self.runs.last().is_some_and(|(before, run)| {
            run.end == 0 && Place { start: run.start.saturating_add(at.saturating_sub(*before)), ..*run } == place
        });
        if !goes_on {
            self.runs.push((at, place));
        }
    }
    fn resolve(&self, span: Span) -> (Span, Vec<(Span, Through)>) {
        let first = self.runs.partition_point(|(at, _)| *at <= span.start).saturating_sub(1);
        let last = self.runs.partition_point(|(at, _)| *at < span.end).saturating_sub(1).max(first);
        let runs = self.runs.get(first..=last).unwrap_or(&[]);
        let Some(&(at, place)) = runs.first() else {
            return (Span { file: FileId::FIRST, start: 0, end: 0 }, Vec::new());
        };
        let mut found = place.span(span.start.saturating_sub(at), span.end.saturating_sub(at));
        if let (Some(&(last_at, last_place)), true) = (runs.last(), runs.len() > 1) {
            // Within one line of one file the underline may grow over what lies between.
            let end = last_place.span(0, span.end.saturating_sub(last_at)).end;
            found.end = runs.get(1).map_or(found.end, |(next, _)| place.span(0, next.saturating_sub(at)).end);
            if last_place.file == found.file && end >= found.end {
                found.end = end;
            }
        }
        let mut related: Vec<(Span, Through)> = Vec::new();
        let mut way = runs.iter().map(|(_, place)| place.way).find(|way| *way != 0).unwrap_or(0);
        while let Some(step) = way.checked_sub(1).and_then(|at| self.ways.get(at as usize)) {
            if related.last().is_none_or(|(span, _)| *span != step.at) {
                related.push((step.at, step.through.clone()));
            }
            way = if step.before < way { step.before } else { 0 };
        }
        (found, related)
    }
}

/// Stand-ins for bytes that are not UTF-8: byte `b` is the character `STRAY + b`.
const STRAY: u32 = 0xF700;

/// Bytes as text: each byte that is not UTF-8 becomes one character of a private range; so does each byte of a character
/// of that range, for [`bytes_of`] to give back what was there.
pub fn text_of(bytes: Vec<u8>) -> String {
    let bytes = match String::from_utf8(bytes) {
        Ok(text) if text.is_ascii() || !text.contains(is_stray) => return text,
        Ok(text) => text.into_bytes(),
        Err(error) => error.into_bytes(),
    };
    let stand_in = |byte: &u8| char::from_u32(STRAY + u32::from(*byte));
    let mut text = String::with_capacity(bytes.len() + 64);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match is_stray(c) {
                true => text.extend(c.encode_utf8(&mut [0; 4]).as_bytes().iter().filter_map(stand_in)),
                false => text.push(c),
            }
        }
        text.extend(chunk.invalid().iter().filter_map(stand_in));
    }
    text
}

/// The bytes that a word stands for: [`text_of`] undone.
pub fn bytes_of(text: &str) -> Cow<'_, [u8]> {
    if text.is_ascii() || !text.chars().any(is_stray) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match is_stray(c) {
            true => bytes.push((u32::from(c) - STRAY) as u8),
            false => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Cow::Owned(bytes)
}

pub(crate) fn is_stray(c: char) -> bool {
    (STRAY + 0x80..STRAY + 0x100).contains(&u32::from(c))
}

/// What a look at a path found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Text(Vec<u8>),
    Missing,
    /// A directory, a device, a FIFO.
    NotRegular,
    /// Any execute bit: keepalived does not read such a file as configuration.
    Executable,
    Unreadable(String),
}

/// The only way from the language to files. Tests and the fuzzer give it a map, the daemon the real thing.
pub trait Loader {
    fn read(&self, path: &Path) -> Found;
    /// Paths that match a pattern of `*?[]`, sorted. Braces never come here: the expander opens them itself.
    fn glob(&self, pattern: &str) -> Vec<PathBuf>;
}

/// Files from memory, for tests, the fuzzer and the simulator.
#[derive(Clone, Debug, Default)]
pub struct MapLoader {
    pub files: std::collections::BTreeMap<PathBuf, Found>,
}

impl MapLoader {
    /// The same, with a file.
    pub fn with(mut self, path: impl Into<PathBuf>, text: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.into(), Found::Text(text.into()));
        self
    }
}

impl Loader for MapLoader {
    fn read(&self, path: &Path) -> Found {
        let within = || self.files.keys().any(|file| file != path && file.starts_with(path));
        self.files.get(path).cloned().unwrap_or_else(|| if within() { Found::NotRegular } else { Found::Missing })
    }
    fn glob(&self, pattern: &str) -> Vec<PathBuf> {
        let Ok(pattern) = glob::Pattern::new(pattern) else { return Vec::new() };
        let options = GLOB_OPTIONS;
        self.files.keys().filter(|path| pattern.matches_path_with(path, options)).cloned().collect()
    }
}

/// As glob(3) matches: a `*` stops at a slash and does not begin with a dot.
pub const GLOB_OPTIONS: glob::MatchOptions =
    glob::MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
