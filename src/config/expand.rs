//! Text to text: comments, includes, conditions, definitions and sequences, until only plain lines are left.
//!
//! The result is one buffer, the [`Text`], which everything after borrows from. Positions in it are spans of
//! [`FileId::EXPANDED`](super::source::FileId::EXPANDED); the table that leads back to the files is given to
//! [`Sources`](super::source::Sources), so whoever holds a span needs nothing else to show it.
//!
//! This layer never knows keywords, except the few that act on text: `include*`, `include_check`, `random_seed`.

use std::collections::BTreeMap;
use std::path::Path;

use super::diagnostic::{Class, Diagnostic, Diagnostics};
use super::source::{Found, Loader};

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
}

/// The configuration as plain lines.
#[derive(Clone, Debug, Default)]
pub struct Text {
    buffer: String,
    /// The main file (or the pattern given for it) does not exist: keepalived says so, and with `-t` calls that success.
    pub root_missing: bool,
}

impl Text {
    pub fn buffer(&self) -> &str {
        &self.buffer
    }
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.buffer.lines()
    }
}

/// Reads the main file (`root` may be a pattern) and all that it includes.
pub fn read(root: &str, _env: &TextEnv, loader: &dyn Loader, diagnostics: &mut Diagnostics) -> Text {
    let mut text = Text::default();
    match loader.read(Path::new(root)) {
        Found::Text(bytes) => {
            let file = String::from_utf8_lossy(&bytes).into_owned();
            for line in file.lines() {
                let end = line.find(['#', '!']).unwrap_or(line.len());
                text.buffer.push_str(line.get(..end).unwrap_or(line).trim());
                text.buffer.push('\n');
            }
            diagnostics.sources.add(root, file.into(), None);
        }
        _ => {
            text.root_missing = true;
            diagnostics.push(Diagnostic::new(Class::Note, None, format!("cannot read configuration file {root}")));
        }
    }
    text
}
