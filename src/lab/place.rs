//! Files put where a configuration expects them, inside a private mount namespace: copies owned by root on a tmpfs.
//!
//! Where the directory does not exist on the machine, its nearest parent that does is covered by a tmpfs of links to
//! what was there. So nothing on the machine itself is ever made, not even an empty directory.

use super::Trouble;
use nix::mount::{MsFlags, mount};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// One file to be placed.
#[derive(Clone, Debug)]
pub struct File {
    pub mode: u32,
    pub bytes: Vec<u8>,
}

/// Larger files than this are not configuration.
const LARGEST: u64 = 1 << 20;
const MOST: usize = 1000;
const DEEPEST: usize = 4;

/// Regular files below a directory, by relative path. Not the whole of a large tree: a rehearsal needs configurations
/// and scripts.
pub fn gather(root: &Path) -> BTreeMap<PathBuf, File> {
    let mut found = BTreeMap::new();
    let mut open = vec![(root.to_path_buf(), 0)];
    while let Some((directory, depth)) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            let (path, Ok(meta)) = (entry.path(), std::fs::metadata(entry.path())) else { continue };
            if meta.is_dir() && depth < DEEPEST && !entry.file_name().to_string_lossy().starts_with('.') {
                open.push((path, depth + 1));
            } else if meta.is_file() && meta.len() <= LARGEST && found.len() < MOST {
                let (Ok(bytes), Ok(name)) = (std::fs::read(&path), path.strip_prefix(root)) else { continue };
                found.insert(name.to_path_buf(), File { mode: meta.permissions().mode() & 0o755, bytes });
            }
        }
    }
    found
}

/// Makes `target` hold exactly these files.
///
/// # Errors
/// Those of mount(2) and of writing.
pub fn furnish(target: &Path, files: &BTreeMap<PathBuf, File>) -> Result<(), Trouble> {
    if !target.is_dir() {
        make_room(target)?;
    }
    tmpfs(target)?;
    for (name, file) in files {
        let path = target.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&path, &file.bytes)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(file.mode))?;
    }
    Ok(())
}

/// Makes the directory `target` exist without touching the machine's file system.
fn make_room(target: &Path) -> Result<(), Trouble> {
    let Some(ground) = target.ancestors().find(|a| a.is_dir()).filter(|a| a.parent().is_some()) else {
        return Err(Trouble::new(format!("{} has no parent that could be covered", target.display())));
    };
    let name = ground.to_string_lossy().replace('/', "_");
    let under = PathBuf::from(format!("/run/lab/under/{name}"));
    std::fs::create_dir_all(&under)?;
    mount(Some(ground), &under, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .map_err(|e| Trouble::new(format!("{}: {e}", under.display())))?;
    tmpfs(ground)?;
    for entry in std::fs::read_dir(&under)?.flatten() {
        std::os::unix::fs::symlink(entry.path(), ground.join(entry.file_name()))?;
    }
    std::fs::create_dir_all(target)?;
    Ok(())
}

fn tmpfs(target: &Path) -> Result<(), Trouble> {
    mount(Some("tmpfs"), target, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
        .map_err(|e| Trouble::new(format!("{}: {e}", target.display())))
}
