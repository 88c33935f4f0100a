//! Files as they were read, and where in them a word stands.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which file of a [`Sources`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileId(pub u32);

/// Bytes `start..end` of one file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Span {
    pub file: FileId,
    pub start: u32,
    pub end: u32,
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
