//! Files as they were read, and where in them a word stands.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which file of a [`Sources`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileId(pub u32);

impl FileId {
    /// Not a file: the expanded text. [`Sources::resolve`] leads from there to a file.
    pub const EXPANDED: FileId = FileId(u32::MAX);
}

/// Bytes `start..end` of one file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Span {
    pub file: FileId,
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }
}

/// One file of a configuration.
#[derive(Clone, Debug)]
pub struct Source {
    /// As the user would name it: the path given, or the path an include resolved to.
    pub name: Arc<str>,
    /// The text; bytes that are not UTF-8 have been replaced one by one, so that positions hold.
    pub text: Arc<str>,
    /// The include line that brought it in.
    pub included_at: Option<Span>,
}

/// All files of one configuration.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub files: Vec<Source>,
}

impl Sources {
    pub fn add(&mut self, name: &str, text: Arc<str>, included_at: Option<Span>) -> FileId {
        self.files.push(Source { name: name.into(), text, included_at });
        FileId(self.files.len() as u32 - 1)
    }
    pub fn get(&self, file: FileId) -> Option<&Source> {
        self.files.get(file.0 as usize)
    }
    /// The place in a file that a span means, and through which definitions, sequences and includes it came there
    /// (innermost first), ready for [`Diagnostic::related`](super::diagnostic::Diagnostic::related).
    pub fn resolve(&self, span: Span) -> (Span, Vec<(Span, String)>) {
        (span, Vec::new())
    }
    /// Line and column, both from 1; the column counts characters.
    pub fn position(&self, span: Span) -> (u32, u32) {
        let Some(source) = self.get(span.file) else { return (1, 1) };
        let upto = source.text.get(..span.start as usize).unwrap_or(&source.text);
        let line = upto.bytes().filter(|b| *b == b'\n').count() as u32 + 1;
        let start = upto.rfind('\n').map_or(0, |at| at + 1);
        (line, upto[start..].chars().count() as u32 + 1)
    }
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
    /// Paths that match a pattern of `*?[]{}`, sorted.
    fn glob(&self, pattern: &str) -> Vec<PathBuf>;
}

/// Files from memory, for tests, the fuzzer and the simulator.
#[derive(Clone, Debug, Default)]
pub struct MapLoader {
    pub files: std::collections::BTreeMap<PathBuf, Found>,
}

impl MapLoader {
    pub fn with(mut self, path: impl Into<PathBuf>, text: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.into(), Found::Text(text.into()));
        self
    }
}

impl Loader for MapLoader {
    fn read(&self, path: &Path) -> Found {
        self.files.get(path).cloned().unwrap_or(Found::Missing)
    }
    fn glob(&self, pattern: &str) -> Vec<PathBuf> {
        let Ok(pattern) = glob::Pattern::new(pattern) else { return Vec::new() };
        self.files.keys().filter(|path| pattern.matches_path(path)).cloned().collect()
    }
}
