//! Configurations from disk, as they mean on this machine or on the one they are for.

use super::Trouble;
use crate::config::diagnostic::Diagnostics;
use crate::config::expand::TextEnv;
use crate::config::source::{Found, Loader};
use crate::config::system::{Link, Stat, System, TableSystem, User};
use crate::config::{self, Env};
use crate::engine::spec::Spec;
use crate::time::Interval;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Which machine a configuration is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Where {
    /// This one: its interfaces, users and scripts count.
    Here,
    /// Another one: every interface, user and script is taken to be there.
    Anywhere,
}

/// Reads a configuration; `config_id` is what `@id` lines compare with (default: the host's name up to the first dot).
///
/// # Errors
/// The file is not there or cannot be read.
pub fn load(file: &Path, config_id: Option<&str>, place: Where) -> Result<(Option<Spec>, Diagnostics), Trouble> {
    if let Err(e) = std::fs::File::open(file) {
        return Err(Trouble::new(format!("{}: {e}", file.display())));
    }
    let system: &dyn System = match place {
        Where::Here => &Anywhere::new(),
        Where::Anywhere => &Anywhere::new(),
    };
    let host = system.host_name();
    let name = config_id.map_or_else(|| host.split('.').next().unwrap_or_default().to_owned(), str::to_owned);
    let text = TextEnv {
        config_id: name,
        environment: std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect(),
        random_seed: 0,
        strict_includes: false,
        working_directory: std::env::current_dir().unwrap_or_default(),
    };
    Ok(config::load(&file.to_string_lossy(), &Env { text, system }, &Disk))
}

/// Files as they are on disk.
#[derive(Clone, Copy, Debug)]
pub struct Disk;

impl Loader for Disk {
    fn read(&self, path: &Path) -> Found {
        let meta = match std::fs::metadata(path) {
            Ok(meta) => meta,
            Err(e) if e.kind() == ErrorKind::NotFound => return Found::Missing,
            Err(e) => return Found::Unreadable(e.to_string()),
        };
        if !meta.is_file() {
            return Found::NotRegular;
        }
        if meta.permissions().mode() & 0o111 != 0 {
            return Found::Executable;
        }
        match std::fs::read(path) {
            Ok(bytes) => Found::Text(bytes),
            Err(e) => Found::Unreadable(e.to_string()),
        }
    }
    fn glob(&self, pattern: &str) -> Vec<PathBuf> {
        glob::glob(pattern).map(|found| found.flatten().collect()).unwrap_or_default()
    }
}

/// A machine on which everything is there that a configuration names.
#[derive(Clone, Debug)]
pub struct Anywhere(TableSystem);

impl Anywhere {
    pub fn new() -> Anywhere {
        Anywhere(TableSystem::anywhere())
    }
}
impl Default for Anywhere {
    fn default() -> Self {
        Anywhere::new()
    }
}

const NOBODY: u32 = 65534;

impl System for Anywhere {
    fn user(&self, name: &str) -> Option<User> {
        let (uid, gid) = if name == "root" { (0, 0) } else { (NOBODY, NOBODY) };
        Some(User { name: name.into(), uid, gid })
    }
    fn user_by_id(&self, uid: u32) -> Option<User> {
        let name = if uid == 0 { "root" } else { "nobody" };
        Some(User { name: name.into(), uid, gid: uid })
    }
    fn group(&self, name: &str) -> Option<u32> {
        Some(if name == "root" { 0 } else { NOBODY })
    }
    fn groups_of(&self, user: &str, gid: u32) -> Vec<u32> {
        self.0.groups_of(user, gid)
    }
    fn identity(&self) -> (u32, u32) {
        (0, 0)
    }
    fn lstat(&self, path: &str) -> Option<Stat> {
        self.0.lstat(path)
    }
    fn read_link(&self, path: &str) -> Option<String> {
        self.0.read_link(path)
    }
    fn executable(&self, path: &str, uid: u32, gid: u32) -> bool {
        self.0.executable(path, uid, gid)
    }
    fn read_secret(&self, path: &str) -> Option<Vec<u8>> {
        self.0.read_secret(path)
    }
    fn search_path(&self) -> String {
        self.0.search_path()
    }
    fn interface(&self, name: &str) -> Option<Link> {
        self.0.interface(name)
    }
    fn host_name(&self) -> String {
        nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
    }
    fn resolve(&self, host: &str) -> Option<IpAddr> {
        self.0.resolve(host)
    }
    fn uptime(&self) -> Interval {
        self.0.uptime()
    }
    fn cpus(&self) -> u32 {
        self.0.cpus()
    }
    fn iproute_names(&self, file: &str, directories: &[&str]) -> String {
        directories
            .iter()
            .copied()
            .chain(["/etc/iproute2", "/usr/share/iproute2", "/usr/lib/iproute2"])
            .find_map(|d| std::fs::read_to_string(Path::new(d).join(file)).ok())
            .unwrap_or_default()
    }
}
