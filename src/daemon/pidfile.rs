//! Pid files: where they are, and the lock that says "already running".
//!
//! keepalived has up to four processes and a file for each. vipd is one process; it writes its pid into every file that
//! keepalived would have with this configuration, because tools look there. A file is locked for as long as the daemon
//! lives (an open-file-description lock over the whole file), is readable by everybody and goes when the daemon goes.

use super::options::{Options, PidOptions};
use crate::spec::{Daemon, Spec};
use nix::fcntl::{FcntlArg, fcntl};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

const RUN: &str = "/run";
/// Used with `use_pid_dir`, `instance` or a network namespace.
pub const PID_DIRECTORY: &str = "/run/keepalived";

/// Where the files are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Paths {
    pub main: PathBuf,
    pub vrrp: PathBuf,
    pub checkers: PathBuf,
    pub bfd: PathBuf,
}

/// Whether the files stand in [`PID_DIRECTORY`], which must then be made.
pub fn uses_directory(daemon: &Daemon) -> bool {
    daemon.use_pid_dir || daemon.instance.is_some() || daemon.net_namespace.is_some()
}

impl Paths {
    /// What the command line names, else keepalived's places.
    pub fn of(daemon: &Daemon, chosen: &PidOptions) -> Paths {
        let directory = Path::new(if uses_directory(daemon) { PID_DIRECTORY } else { RUN });
        let path = |chosen: &Option<PathBuf>, name: &str| {
            chosen.clone().unwrap_or_else(|| match &daemon.instance {
                Some(instance) => directory.join(format!("{name}_{instance}.pid")),
                None => directory.join(format!("{name}.pid")),
            })
        };
        Paths {
            main: path(&chosen.main, "keepalived"),
            vrrp: path(&chosen.vrrp, "vrrp"),
            checkers: path(&chosen.checkers, "checkers"),
            bfd: path(&chosen.bfd, "bfd"),
        }
    }

    /// The files beside the main one: those of the processes that keepalived would start.
    pub fn of_children(&self, spec: &Spec, options: &Options) -> Vec<PathBuf> {
        let parts = options.parts;
        let statics = &spec.statics;
        let empty = spec.instances.is_empty()
            && statics.addresses.is_empty()
            && statics.routes.is_empty()
            && statics.rules.is_empty();
        let mut files = Vec::new();
        if parts.vrrp && (!empty || parts.all) {
            files.push(self.vrrp.clone());
        }
        if parts.checkers && (spec.daemon.virtual_servers > 0 || parts.all) {
            files.push(self.checkers.clone());
        }
        if parts.bfd && (!spec.bfds.is_empty() || !spec.sessions.is_empty() || parts.all) {
            files.push(self.bfd.clone());
        }
        files
    }
}

/// Removes what a killed daemon has left at the places in `paths` that are not in `needed`: keepalived removes the files of
/// processes that are no more before it starts. A file that somebody holds, or that is no pid file, is left alone.
pub fn remove_stale(paths: &Paths, needed: &[PathBuf]) {
    for path in [&paths.vrrp, &paths.checkers, &paths.bfd] {
        let is_pid = |text: &String| text.trim().parse::<u32>().is_ok();
        if !needed.contains(path)
            && std::fs::read_to_string(path).is_ok_and(|text| is_pid(&text))
            && PidFile::lock(path).is_ok()
        {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A pid file that is ours; gone when dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: File,
    /// The process that wrote it: a fork that ends early must not remove it.
    owner: u32,
}

/// Why there is no pid file.
#[derive(Debug, thiserror::Error)]
pub enum PidError {
    #[error("daemon is already running")]
    Running,
    #[error("pid file {}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
}

impl PidFile {
    /// Opens and locks, and writes nothing yet.
    ///
    /// # Errors
    /// [`PidError::Running`] if another process holds the lock.
    pub fn lock(path: &Path) -> Result<PidFile, PidError> {
        let io = |error| PidError::Io { path: path.to_owned(), error };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(path)
            .map_err(io)?;
        // The umask does not apply to pid files: monitoring reads them as another user.
        file.set_permissions(Permissions::from_mode(0o644)).map_err(io)?;
        let whole = libc::flock {
            l_type: libc::F_WRLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole)) {
            Ok(_) => Ok(PidFile { path: path.to_owned(), file, owner: 0 }),
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => Err(PidError::Running),
            Err(error) => Err(io(error.into())),
        }
    }

    /// Writes the pid of this process.
    ///
    /// # Errors
    /// The file system is full or read-only.
    pub fn write(&mut self) -> Result<(), PidError> {
        self.owner = std::process::id();
        let line = format!("{}\n", self.owner);
        let mut all = || {
            self.file.set_len(0)?;
            self.file.rewind()?;
            self.file.write_all(line.as_bytes())
        };
        all().map_err(|error| PidError::Io { path: self.path.clone(), error })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if self.owner == std::process::id() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
