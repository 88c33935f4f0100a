//! Drains that outlive the process: names of instances in a file of the machine's own, /var/lib/vipd/NAME.drained, where NAME
//! is that of the daemon's control socket.
//!
//! An upgrade in place and a reload keep every drain without this file; a restart and a reboot keep those that were asked for
//! with `--keep`. The file is read once, when the daemon starts, and written whole and durably at each change.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where the file is.
const DIRECTORY: &str = "/var/lib/vipd";
/// Larger files are not ours.
const SIZE_MAX: u64 = 1 << 20;

/// The kept drains of one daemon.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Drains {
    path: PathBuf,
    names: BTreeSet<Box<str>>,
}

impl Drains {
    /// Of the daemon with this control socket; empty when there is no file, or none that can be read.
    pub fn of(socket: &Path) -> Drains {
        let name = socket.to_string_lossy().trim_start_matches("/run/vipd/").trim_start_matches('/').replace('/', "-");
        Drains::at(Path::new(DIRECTORY).join(format!("{name}.drained")))
    }

    fn at(path: PathBuf) -> Drains {
        let fits = std::fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() <= SIZE_MAX);
        let text = if fits { std::fs::read_to_string(&path).unwrap_or_default() } else { String::new() };
        let names = text.lines().filter(|line| !line.is_empty()).map(Into::into).collect();
        Drains { path, names }
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// Another set of names, to be [saved](Drains::save) by a thread that may wait for a disk.
    pub fn with(&self, names: impl IntoIterator<Item = Box<str>>) -> Drains {
        Drains { path: self.path.clone(), names: self.names.iter().cloned().chain(names).collect() }
    }

    pub(crate) fn without(&self, names: &BTreeSet<Box<str>>) -> Drains {
        Drains { path: self.path.clone(), names: self.names.difference(names).cloned().collect() }
    }

    /// Writes the file; without a name in it, it is removed. It is there after a loss of power once this has returned.
    ///
    /// # Errors
    /// What the file system says.
    pub fn save(&self) -> io::Result<()> {
        if self.names.is_empty() {
            return match std::fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        if !directory.exists() {
            std::fs::create_dir_all(directory)?;
            // Also where the daemon's umask takes the right to look into folders, and its unit the right to do without.
            std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755))?;
        }
        let fresh = self.path.with_extension("new");
        if let Err(error) = self.write(&fresh).and_then(|()| std::fs::rename(&fresh, &self.path)) {
            let _ = std::fs::remove_file(&fresh);
            return Err(error);
        }
        std::fs::File::open(directory)?.sync_all()
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let mut file = std::fs::File::create(path)?;
        for name in &self.names {
            writeln!(file, "{name}")?;
        }
        file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_kept_is_there_for_the_next_process_and_gone_after_the_last_undrain() {
        let directory = std::env::temp_dir().join(format!("vipd-drains-{}", std::process::id()));
        let path = directory.join("control.sock.drained");
        let none = Drains::at(path.clone());
        assert_eq!(none.names().count(), 0);
        let some = none.with(["VI 1".into(), "VI_2".into()]);
        some.save().unwrap();
        assert_eq!(Drains::at(path.clone()), some);
        some.without(&BTreeSet::from(["VI 1".into(), "VI_2".into()])).save().unwrap();
        assert!(!path.exists());
        std::fs::remove_dir_all(directory).unwrap();
    }
}
