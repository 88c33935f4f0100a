//! What the language may ask about the machine that a configuration is for: users, groups, paths, interfaces, time.
//!
//! A configuration means different things on different machines (is `eth1` there, is the script's path safe), so these
//! questions cannot be avoided; but the language never asks the operating system itself. It asks a [`System`], which is
//! `kernel::system` in the daemon and a table in tests, the simulator and the fuzzer. Nothing here changes anything.

use crate::time::Interval;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// An account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    pub name: Box<str>,
    pub uid: u32,
    pub gid: u32,
}

/// What kind of thing a path is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    Regular,
    Directory,
    Link,
    Fifo,
    Other,
    /// Away from its machine: whatever it has to be.
    Any,
}

/// `lstat` of one path: links are not followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    pub kind: FileKind,
    pub uid: u32,
    pub gid: u32,
    /// Permission bits with set-uid, set-gid and sticky: `0o7777` at most.
    pub mode: u32,
    pub size: u64,
}

/// A network interface as far as a configuration depends on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Shared: an interface is asked for by thousands of instances.
    pub name: Arc<str>,
    pub loopback: bool,
    pub multicast: bool,
    pub ethernet: bool,
    pub mtu: u32,
    /// It is a macvlan or ipvlan that was made on top of another interface.
    pub virtual_link: bool,
    /// The routing table if it is a VRF device.
    pub vrf_table: Option<u32>,
}

impl FileKind {
    pub(crate) fn is_directory(self) -> bool {
        matches!(self, FileKind::Directory | FileKind::Any)
    }
    /// Whether it is an ordinary file.
    pub fn is_file(self) -> bool {
        matches!(self, FileKind::Regular | FileKind::Any)
    }
}

impl Link {
    /// An Ethernet interface with nothing special about it.
    pub fn ethernet(name: &str) -> Link {
        let name = name.into();
        Link { name, loopback: false, multicast: true, ethernet: true, mtu: 1500, virtual_link: false, vrf_table: None }
    }
}

/// The questions. Every answer is a fact at the time of asking; no method may block for long.
pub trait System {
    fn user(&self, name: &str) -> Option<User>;
    fn user_by_id(&self, uid: u32) -> Option<User>;
    fn group(&self, name: &str) -> Option<u32>;
    /// All groups of an account, `gid` included (getgrouplist).
    fn groups_of(&self, user: &str, gid: u32) -> Vec<u32>;
    /// Effective uid and gid of this process.
    fn identity(&self) -> (u32, u32);
    /// `None` when there is nothing at the path or it cannot be looked at.
    fn lstat(&self, path: &str) -> Option<Stat>;
    fn read_link(&self, path: &str) -> Option<String>;
    /// May `uid`/`gid` execute the file?
    fn executable(&self, path: &str, uid: u32, gid: u32) -> bool;
    /// The beginning of a program, by which the kernel knows how to execute it: 256 bytes at most, empty if it cannot be read.
    fn head(&self, _path: &str) -> Vec<u8> {
        Vec::new()
    }
    /// Does the kernel tell of changes to files in this directory? False on file systems that are made up as they are read,
    /// such as /proc and /sys.
    fn tells_changes(&self, directory: &str) -> bool;
    /// A small file, for `file:` keys. At most 64 KiB are read.
    fn read_secret(&self, path: &str) -> Option<Vec<u8>>;
    /// `PATH`, for commands without a slash.
    fn search_path(&self) -> String;
    fn interface(&self, name: &str) -> Option<Link>;
    /// Whether no interface can be made under this name: there is one that is no macvlan or ipvlan. Where every interface is
    /// taken to be there, that tells nothing of those that are still to be made.
    fn name_is_taken(&self, name: &str) -> bool {
        self.interface(name).is_some_and(|link| !link.virtual_link)
    }
    fn host_name(&self) -> String;
    /// Address of a host name, for `smtp_server`.
    fn resolve(&self, host: &str) -> Option<IpAddr>;
    /// Time since boot.
    fn uptime(&self) -> Interval;
    /// How many CPUs there are.
    fn cpus(&self) -> u32;
}

/// A machine out of tables: what is not in them does not exist. `assume_interfaces` makes every interface exist.
#[derive(Clone, Debug, Default)]
pub struct TableSystem {
    pub users: Vec<User>,
    pub groups: BTreeMap<String, u32>,
    pub files: BTreeMap<String, Stat>,
    pub links: BTreeMap<String, String>,
    pub secrets: BTreeMap<String, Vec<u8>>,
    /// What programs begin with.
    pub heads: BTreeMap<String, Vec<u8>>,
    pub interfaces: BTreeMap<String, Link>,
    pub assume_interfaces: bool,
    /// Every absolute path that is not in `files` is an executable of root's in directories of root's.
    pub assume_scripts: bool,
    pub uptime: Interval,
}

impl TableSystem {
    /// Any interface, any script, user root: for looking at a configuration away from its machine.
    pub fn anywhere() -> Self {
        let users = vec![User { name: "root".into(), uid: 0, gid: 0 }];
        let groups = BTreeMap::from([("root".to_owned(), 0)]);
        TableSystem { users, groups, assume_interfaces: true, assume_scripts: true, ..TableSystem::default() }
    }
}

impl System for TableSystem {
    fn user(&self, name: &str) -> Option<User> {
        self.users.iter().find(|u| &*u.name == name).cloned()
    }
    fn user_by_id(&self, uid: u32) -> Option<User> {
        self.users.iter().find(|u| u.uid == uid).cloned()
    }
    fn group(&self, name: &str) -> Option<u32> {
        self.groups.get(name).copied()
    }
    fn groups_of(&self, _user: &str, gid: u32) -> Vec<u32> {
        vec![gid]
    }
    fn identity(&self) -> (u32, u32) {
        (0, 0)
    }
    fn lstat(&self, path: &str) -> Option<Stat> {
        if let Some(stat) = self.files.get(path) {
            return Some(*stat);
        }
        let root_owned = |kind, mode| Some(Stat { kind, uid: 0, gid: 0, mode, size: 0 });
        let inside = format!("{}/", path.trim_end_matches('/'));
        if self.files.keys().chain(self.links.keys()).any(|known| known.starts_with(&inside)) || path == "/" {
            return root_owned(FileKind::Directory, 0o755);
        }
        if self.links.contains_key(path) {
            return root_owned(FileKind::Link, 0o777);
        }
        self.assume_scripts.then(|| root_owned(FileKind::Any, 0o755)).flatten()
    }
    fn read_link(&self, path: &str) -> Option<String> {
        self.links.get(path).cloned()
    }
    fn executable(&self, path: &str, uid: u32, _gid: u32) -> bool {
        match self.files.get(path) {
            Some(stat) if uid == 0 => stat.mode & 0o111 != 0,
            Some(stat) if uid == stat.uid => stat.mode & 0o100 != 0,
            Some(stat) => stat.mode & 0o001 != 0,
            None => self.assume_scripts,
        }
    }
    fn head(&self, path: &str) -> Vec<u8> {
        self.heads.get(path).cloned().unwrap_or_default()
    }
    fn tells_changes(&self, directory: &str) -> bool {
        !["/proc", "/sys"]
            .iter()
            .any(|root| directory.strip_prefix(root).is_some_and(|d| d.is_empty() || d.starts_with('/')))
    }
    fn read_secret(&self, path: &str) -> Option<Vec<u8>> {
        self.secrets.get(path).cloned()
    }
    fn search_path(&self) -> String {
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()
    }
    fn interface(&self, name: &str) -> Option<Link> {
        self.interfaces.get(name).cloned().or_else(|| self.assume_interfaces.then(|| Link::ethernet(name)))
    }
    fn name_is_taken(&self, name: &str) -> bool {
        self.interfaces.get(name).is_some_and(|link| !link.virtual_link)
    }
    fn host_name(&self) -> String {
        "localhost".into()
    }
    fn resolve(&self, host: &str) -> Option<IpAddr> {
        host.parse().ok()
    }
    fn uptime(&self) -> Interval {
        self.uptime
    }
    fn cpus(&self) -> u32 {
        1024
    }
}
