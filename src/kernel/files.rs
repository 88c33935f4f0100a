//! Configuration files from the disk: the [`Loader`] that daemon and command line give to the language.
//!
//! It reads and never writes, and knows nothing of what the files mean. What keepalived refuses to read as configuration
//! (directories, devices, anything with an execute bit) is told apart here and judged by the language.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::config::text::source::{Found, GLOB_OPTIONS, Loader};

/// The real file system; relative paths begin at the working directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OsLoader;

impl Loader for OsLoader {
    fn read(&self, path: &Path) -> Found {
        // Looked at before it is opened: opening a FIFO would wait for a writer.
        let metadata = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Found::Missing;
            }
            Err(error) => return Found::Unreadable(error.to_string()),
        };
        if !metadata.is_file() {
            return Found::NotRegular;
        }
        if metadata.permissions().mode() & 0o111 != 0 {
            return Found::Executable;
        }
        match std::fs::read(path) {
            Ok(bytes) => Found::Text(bytes),
            Err(error) => Found::Unreadable(error.to_string()),
        }
    }
    fn glob(&self, pattern: &str) -> Vec<PathBuf> {
        let Ok(paths) = glob::glob_with(pattern, GLOB_OPTIONS) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = paths.flatten().collect();
        paths.sort();
        paths
    }
}
