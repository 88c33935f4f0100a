//! Configurations from disk, as they mean on this machine or on the one they are for.

use super::Trouble;
use crate::config;
use crate::config::Env;
use crate::config::report::Diagnostics;
use crate::config::system::{FileKind, Link, Stat, System, TableSystem, User};
use crate::config::text::expand::TextEnv;
use crate::config::text::source::{Found, Loader};
use crate::kernel::files::OsLoader;
use crate::kernel::system::LinuxSystem;
use crate::spec::Spec;
use crate::time::Interval;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::IpAddr;
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
    let stdin = if file == Path::new(STDIN) { Some(Stdin::read()?) } else { None };
    if stdin.is_none()
        && let Err(e) = std::fs::File::open(file)
    {
        return Err(Trouble::new(format!("{}: {e}", file.display())));
    }
    let plain: &dyn Loader = stdin.as_ref().map_or(&OsLoader as &dyn Loader, |stdin| stdin as &dyn Loader);
    let here = LinuxSystem::new();
    let host = here.host_name();
    let name = config_id.unwrap_or_else(|| host.split('.').next().unwrap_or_default());
    Ok(match place {
        Where::Here => config::load(&file.to_string_lossy(), &Env { text: surroundings(name), system: &here }, plain),
        Where::Anywhere => load_elsewhere(file, name, plain),
    })
}

/// Reads a configuration that is for another machine, from whatever has its files.
pub fn load_elsewhere(file: &Path, config_id: &str, files: &dyn Loader) -> (Option<Spec>, Diagnostics) {
    let anywhere = Anywhere::new();
    let env = Env { text: surroundings(config_id), system: &anywhere };
    config::load(&file.to_string_lossy(), &env, &Learning(&anywhere, files))
}

fn surroundings(config_id: &str) -> TextEnv {
    TextEnv {
        config_id: config_id.to_owned(),
        environment: std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect(),
        random_seed: 0,
        strict_includes: false,
        working_directory: std::env::current_dir().unwrap_or_default(),
    }
}

/// A machine on which everything is there that a configuration names. Which paths are directories it learns from the
/// files as they are read: what stands before another part of a path is one.
#[derive(Clone, Debug)]
pub struct Anywhere {
    table: TableSystem,
    directories: RefCell<BTreeSet<String>>,
}

impl Anywhere {
    /// No file has been read yet.
    pub fn new() -> Anywhere {
        let anywhere = Anywhere { table: TableSystem::anywhere(), directories: RefCell::default() };
        for place in anywhere.table.search_path().split(':') {
            anywhere.learn(&format!("{place}/"));
        }
        anywhere
    }

    /// Takes note of every path in a text.
    fn learn(&self, text: &str) {
        let mut known = self.directories.borrow_mut();
        for word in text.split(|c: char| c.is_whitespace() || "\"'`<>|;&()=".contains(c)) {
            let path = word.find('/').and_then(|at| word.get(at..)).unwrap_or_default();
            for (at, _) in path.match_indices('/').filter(|(at, _)| *at > 0) {
                known.extend(path.get(..at).map(str::to_owned));
            }
        }
    }
}
impl Default for Anywhere {
    fn default() -> Self {
        Anywhere::new()
    }
}

/// Files as another loader reads them; what they say is learnt.
struct Learning<'a>(&'a Anywhere, &'a dyn Loader);

impl Loader for Learning<'_> {
    fn read(&self, path: &Path) -> Found {
        let found = self.1.read(path);
        if let Found::Text(bytes) = &found {
            self.0.learn(&String::from_utf8_lossy(bytes));
        }
        found
    }
    fn glob(&self, pattern: &str) -> Vec<PathBuf> {
        self.1.glob(pattern)
    }
}

/// The name under which standard input is read.
pub const STDIN: &str = "-";
/// Longer input is no configuration.
const STDIN_MAX: u64 = 64 << 20;

/// Standard input as the main file; what it includes comes from disk, relative to the working directory.
struct Stdin(Vec<u8>);

impl Stdin {
    fn read() -> Result<Stdin, Trouble> {
        use std::io::Read;
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .take(STDIN_MAX)
            .read_to_end(&mut bytes)
            .map_err(|e| Trouble::new(format!("standard input: {e}")))?;
        Ok(Stdin(bytes))
    }
    fn is_meant(path: &Path) -> bool {
        path.file_name().is_some_and(|name| name == STDIN)
    }
}

impl Loader for Stdin {
    fn read(&self, path: &Path) -> Found {
        if Stdin::is_meant(path) { Found::Text(self.0.clone()) } else { OsLoader.read(path) }
    }
    fn glob(&self, pattern: &str) -> Vec<PathBuf> {
        if Stdin::is_meant(Path::new(pattern)) { vec![pattern.into()] } else { OsLoader.glob(pattern) }
    }
}

const NOBODY: u32 = 65534;

impl System for Anywhere {
    fn user(&self, name: &str) -> Option<User> {
        if name.contains([':', ',', ';']) {
            return None;
        }
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
        self.table.groups_of(user, gid)
    }
    fn identity(&self) -> (u32, u32) {
        (0, 0)
    }
    fn lstat(&self, path: &str) -> Option<Stat> {
        // No machine has a program of such a name: it came with the quotes, or from another kind of file.
        let name = path.rsplit('/').next().unwrap_or(path);
        if name.contains(['“', '”', '„', '‘', '’', '«', '»', '`', '"', '=', ';', '<', '>', '&']) {
            return None;
        }
        let mut stat = self.table.lstat(path)?;
        if self.directories.borrow().contains(path) || Path::new(path).is_dir() {
            stat.kind = FileKind::Directory;
        }
        Some(stat)
    }
    fn read_link(&self, path: &str) -> Option<String> {
        self.table.read_link(path)
    }
    fn executable(&self, path: &str, uid: u32, gid: u32) -> bool {
        self.table.executable(path, uid, gid)
    }
    fn tells_changes(&self, directory: &str) -> bool {
        self.table.tells_changes(directory)
    }
    fn read_secret(&self, path: &str) -> Option<Vec<u8>> {
        self.table.read_secret(path)
    }
    fn search_path(&self) -> String {
        self.table.search_path()
    }
    fn interface(&self, name: &str) -> Option<Link> {
        let possible = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '+');
        self.table.interface(name).filter(|_| name.chars().all(possible))
    }
    fn name_is_taken(&self, name: &str) -> bool {
        self.table.name_is_taken(name)
    }
    fn host_name(&self) -> String {
        nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
    }
    /// Nobody is asked: on the machine that the file is for the name may be known. The address is one for documentation
    /// (RFC 5737), and is never used.
    fn resolve(&self, host: &str) -> Option<IpAddr> {
        self.table.resolve(host).or(Some(IpAddr::from([192, 0, 2, 1])))
    }
    fn uptime(&self) -> Interval {
        self.table.uptime()
    }
    fn cpus(&self) -> u32 {
        self.table.cpus()
    }
}
