//! Dump files: where they stand and how they are written.
//!
//! The order of writing serves everybody who watches (inotify on the exact name, pollers of the content): a file under
//! another name is written and closed, renamed over the old one, then opened for writing and closed once more. So the
//! final name is never partial, and sees a close-after-write event.

use crate::observe::calendar::Local;
use crate::observe::{self, dump, json, words};
use crate::spec::Spec;
use crate::vrrp::snapshot::Snapshot;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Which dump it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Data,
    Stats,
    Json,
}

/// Writes one dump; trouble is logged.
pub fn write(kind: Kind, spec: &Spec, snapshot: &Snapshot) {
    let text = text(kind, spec, snapshot);
    // keepalived writes no JSON when there is nothing to say.
    if kind == Kind::Json && snapshot.instances.is_empty() {
        return;
    }
    put(&path(kind, spec), &text);
    if kind == Kind::Data {
        // keepalived's parent answers the same signal with a file of its own.
        let parent = path(Kind::Data, spec);
        put(&beside(&parent, "_parent"), &dump::parent(spec));
    }
}

/// `keepalived_bfd.data`, beside the dump of VRRP.
pub fn write_bfd(spec: &Spec, sessions: &crate::bfd::snapshot::Snapshot) {
    put(&beside(&path(Kind::Data, spec), "_bfd"), &bfd(spec, sessions));
}

/// `keepalived_check.data`, beside the dump of VRRP.
pub fn write_check(spec: &Spec, servers: &crate::balance::snapshot::Snapshot) {
    put(&beside(&path(Kind::Data, spec), "_check"), &check(spec, servers));
}

/// The text of BFD's dump.
pub fn bfd(spec: &Spec, sessions: &crate::bfd::snapshot::Snapshot) -> String {
    let wall = crate::kernel::clock::wall();
    let ctime = |seconds: u64| Local::at(i64::try_from(seconds).unwrap_or(0)).ctime();
    dump::parent(spec) + &observe::bfd::dump(sessions, wall.unix_micros, ctime)
}

/// The text of the virtual servers' dump.
pub fn check(spec: &Spec, servers: &crate::balance::snapshot::Snapshot) -> String {
    let wall = crate::kernel::clock::wall();
    let unix_micros = wall.unix_micros.saturating_sub(wall.at.since(servers.now).as_micros());
    let ctime = |seconds: u64| Local::at(i64::try_from(seconds).unwrap_or(0)).ctime();
    dump::check(spec, servers, &dump::Clock { unix_micros, ctime })
}

fn put(path: &Path, text: &str) {
    if let Err(error) = replace(path, text.as_bytes()) {
        tracing::warn!(target: "vrrp", "Can't open {} ({})", path.display(), words::os(&error));
    }
}

/// `dir/name.data` → `dir/name` + `insert` + `.data`.
fn beside(path: &Path, insert: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}{insert}{extension}"))
}

/// `config_save_dir`: the state of one part (keepalived: of one process) before or after reload `number`.
pub fn save(directory: &str, number: u32, part: &str, when: &str, text: &str) {
    let name = format!("keepalived_{part}.{}.{number}.{when}", std::process::id());
    let path = Path::new(directory).join(name);
    if let Err(error) = replace(&path, text.as_bytes()) {
        tracing::warn!(target: "parent", "Unable to write {}: {}", path.display(), words::os(&error));
    }
}

/// The text of a dump.
pub fn text(kind: Kind, spec: &Spec, snapshot: &Snapshot) -> String {
    match kind {
        Kind::Data => dump::data(spec, snapshot),
        Kind::Stats => dump::stats(snapshot),
        Kind::Json => json::dump(spec, snapshot),
    }
}

/// `/tmp/keepalived.data` and so on: `TMPDIR` moves the directory, `state_dump_file` names another place for the first,
/// `data_use_instance` adds the network namespace and the instance name.
pub fn path(kind: Kind, spec: &Spec) -> PathBuf {
    let dump = &spec.daemon.dump;
    let (default, chosen) = match kind {
        Kind::Data => ("keepalived.data", &dump.state),
        Kind::Stats => ("keepalived.stats", &dump.stats),
        Kind::Json => ("keepalived.json", &dump.json),
    };
    let path = match chosen.as_deref() {
        Some(chosen) if chosen.ends_with('/') => Path::new(chosen).join(default),
        Some(chosen) => temporary_directory().join(chosen),
        None => temporary_directory().join(default),
    };
    if !dump.use_instance {
        return path;
    }
    let mut between = String::new();
    if let Some(namespace) = &spec.daemon.net_namespace {
        between.push_str(namespace);
    }
    if let Some(instance) = &spec.daemon.instance {
        between.push('_');
        between.push_str(instance);
    }
    if between.is_empty() {
        return path;
    }
    beside(&path, &format!(".{between}"))
}

/// `TMPDIR` if it is an absolute path of a directory, else `/tmp`.
pub fn temporary_directory() -> PathBuf {
    std::env::var_os("TMPDIR")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute() && path.is_dir())
        .unwrap_or_else(|| "/tmp".into())
}

/// # Errors
/// The directory is not there, not writable or full.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with_mode(path, bytes, 0o644)
}

/// As [`replace`], for a file that not everybody may read. It is a new one, whatever stood at the path.
///
/// # Errors
/// The directory is not there, not writable or full.
pub fn replace_with_mode(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Exporters clear away everything that begins with the final name: begin otherwise.
    let temporary = path.with_file_name(format!(".vipd-{}-{name}", std::process::id()));
    let written = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(&temporary)?;
        file.write_all(bytes)
    };
    let _ = std::fs::remove_file(&temporary);
    if let Err(error) = written().and_then(|()| std::fs::rename(&temporary, path)) {
        let _ = std::fs::remove_file(&temporary);
        return Err(error);
    }
    drop(OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC).open(path)?);
    Ok(())
}
