//! `vipctl fmt`: print a configuration in the canonical layout, write it, or say whether it is in it.

use super::Outcome;
use super::Trouble;
use super::args::Fmt;
use super::files::STDIN;
use super::steer;
use crate::config::text::fmt::format;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub(crate) fn run(args: &Fmt) -> Outcome {
    let mut different = false;
    for file in &args.files {
        let trouble = |e: std::io::Error| Trouble::new(format!("{}: {e}", file.display()));
        let stdin = file == Path::new(STDIN);
        if stdin && args.write {
            return Err(Trouble::new("standard input cannot be written in place").help("leave --write out"));
        }
        let before = if stdin {
            let mut all = Vec::new();
            std::io::stdin().lock().read_to_end(&mut all).map(|_| all)
        } else {
            std::fs::read(file)
        };
        let before = before.map_err(trouble)?;
        let after = format(&before);
        if args.check {
            if before != after {
                different = true;
                eprintln!("{} is not in the canonical layout", file.display());
            }
        } else if args.write {
            if before != after {
                replace(file, &after).map_err(trouble)?;
            }
        } else {
            std::io::stdout().lock().write_all(&after).or_else(steer::gone)?;
        }
    }
    Ok(if different { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// Puts new contents in the place of a file, whole or not at all, with its mode and owner. A link stays one.
fn replace(file: &Path, contents: &[u8]) -> std::io::Result<()> {
    let file = file.canonicalize()?;
    let meta = std::fs::metadata(&file)?;
    let mut name: OsString = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new: PathBuf = file.with_file_name(name);
    let written = (|| {
        let mut out = std::fs::File::options().write(true).create_new(true).open(&new)?;
        out.write_all(contents)?;
        out.set_permissions(meta.permissions())?;
        // Only root can give a file away; where that is refused the owner is the one who writes.
        let _ = std::os::unix::fs::fchown(
            &out,
            Some(std::os::unix::fs::MetadataExt::uid(&meta)),
            Some(std::os::unix::fs::MetadataExt::gid(&meta)),
        );
        out.sync_all()?;
        std::fs::rename(&new, &file)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    written
}
