//! The machine that doctor looks at: files, links, commands. The real one may be mounted somewhere else.

use super::elsewhere::Question;
use super::{Asked, Overheard};
use crate::cli::args::Daemon;
use crate::cli::client::{Client, path_of, reach};
use crate::spec::{IfName, Spec};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What a command said.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ran {
    pub ok: bool,
    pub stdout: String,
    pub stderr: String,
}

/// The questions that the checks ask.
pub trait Machine {
    /// What a symbolic link says; `None` when it cannot be read.
    fn link(&self, path: &str) -> Option<String> {
        let _ = path;
        None
    }
    /// What the daemon that runs here says.
    fn ask(&self) -> Asked {
        Asked::NotHere
    }
    /// Adverts for instances of `spec` on these interfaces within `patience`.
    fn overhear(&self, interfaces: &BTreeSet<IfName>, spec: &Spec, patience: Duration) -> Vec<Overheard> {
        let _ = (interfaces, spec, patience);
        Vec::new()
    }
    /// Which other machines answer on these interfaces for these addresses within `patience`: the interface, the address, the
    /// hardware address, which is this machine's own where the other one has the same.
    fn who_has(&self, questions: &BTreeMap<IfName, Question>, patience: Duration) -> Vec<(IfName, Ipv4Addr, [u8; 6])> {
        let _ = (questions, patience);
        Vec::new()
    }
    /// The hardware addresses of Ethernet interfaces.
    fn hardware(&self) -> BTreeMap<String, [u8; 6]> {
        BTreeMap::new()
    }
    /// A file's text; `None` when it is absent or may not be read.
    fn read(&self, path: &str) -> Option<String>;
    fn exists(&self, path: &str) -> bool;
    /// Names in a directory, sorted; empty when it is absent.
    fn list(&self, path: &str) -> Vec<String>;
    /// Names of the network interfaces of this network namespace, sorted.
    fn links(&self) -> Vec<String> {
        self.list(LINKS)
    }
    /// Whether an interface is up, in the kernel's words (`operstate`); `None` where it does not say.
    fn link_state(&self, name: &str) -> Option<String> {
        self.read(&format!("{LINKS}/{name}/operstate")).map(|state| state.trim().to_owned())
    }
    /// The kernel's number of an interface.
    fn link_index(&self, name: &str) -> Option<String> {
        self.read(&format!("{LINKS}/{name}/ifindex")).map(|index| index.trim().to_owned())
    }
    /// Runs a command; `None` when it is not installed or must not be run.
    fn run(&self, argv: &[&str]) -> Option<Ran>;
    /// (interface, address) of everything configured.
    fn addresses(&self) -> Vec<(String, IpAddr)>;
    /// `None` when the kernel does not say.
    fn clock_synchronised(&self) -> Option<bool>;
    /// `uname -r`.
    fn kernel(&self) -> String;
}

/// What sysfs says of interfaces. It is that of the namespace in which it was mounted, which `nsenter` and containers may have left.
const LINKS: &str = "/sys/class/net";

/// This machine, or one whose root is mounted at a directory (then nothing is run and no address is known).
#[derive(Clone, Debug)]
pub struct Mounted {
    root: Option<PathBuf>,
    /// The control socket to ask at; the usual one if none.
    control: Option<PathBuf>,
}

impl Mounted {
    pub(crate) fn new(root: Option<PathBuf>, control: Option<PathBuf>) -> Mounted {
        Mounted { root, control }
    }
    fn path(&self, path: &str) -> PathBuf {
        match &self.root {
            Some(root) => root.join(path.trim_start_matches('/')),
            None => Path::new(path).to_path_buf(),
        }
    }
}

impl Machine for Mounted {
    fn link(&self, path: &str) -> Option<String> {
        std::fs::read_link(self.path(path)).ok().map(|target| target.to_string_lossy().into_owned())
    }
    fn ask(&self) -> Asked {
        if self.root.is_some() {
            return Asked::NotHere;
        }
        let daemon = Daemon { control: self.control.clone() };
        let path = match path_of(&daemon) {
            Ok(path) => path,
            Err(trouble) => return Asked::NotAllowed(trouble.what, trouble.help),
        };
        let reached = reach(&path).map_err(|error| error.kind());
        match (Client::open(&path).and_then(|mut client| client.status()), reached) {
            (Ok((_, snapshot)), _) => Asked::Answers(Box::new(snapshot)),
            (Err(trouble), Err(ErrorKind::PermissionDenied)) => Asked::NotAllowed(trouble.what, trouble.help),
            (Err(trouble), Ok(()) | Err(ErrorKind::TimedOut)) => Asked::Trouble(trouble.what, trouble.help),
            // A socket that nobody listens at, or none.
            (Err(_), Err(_)) => Asked::Nobody,
        }
    }
    fn overhear(&self, interfaces: &BTreeSet<IfName>, spec: &Spec, patience: Duration) -> Vec<Overheard> {
        if self.root.is_some() { Vec::new() } else { super::overheard::listen(interfaces, spec, patience) }
    }
    fn who_has(&self, questions: &BTreeMap<IfName, Question>, patience: Duration) -> Vec<(IfName, Ipv4Addr, [u8; 6])> {
        if self.root.is_some() { Vec::new() } else { super::elsewhere::ask(questions, patience) }
    }
    fn hardware(&self) -> BTreeMap<String, [u8; 6]> {
        if self.root.is_some() { BTreeMap::new() } else { crate::kernel::addresses::hardware() }
    }
    fn read(&self, path: &str) -> Option<String> {
        std::fs::read(self.path(path)).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
    fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }
    fn list(&self, path: &str) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.path(path))
            .map(|list| list.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect())
            .unwrap_or_default();
        names.sort();
        names
    }
    fn links(&self) -> Vec<String> {
        match &self.root {
            Some(_) => self.list(LINKS),
            None => crate::kernel::addresses::links().into_keys().collect(),
        }
    }
    fn link_state(&self, name: &str) -> Option<String> {
        let said = || std::fs::read_to_string(self.path(&format!("{LINKS}/{name}/operstate"))).ok();
        if self.root.is_some()
            || self.link_index(name) == self.read(&format!("{LINKS}/{name}/ifindex")).map(|i| i.trim().to_owned())
        {
            return said().map(|state| state.trim().to_owned());
        }
        let runs = *crate::kernel::addresses::links().get(name)?;
        Some(if runs { "up" } else { "down" }.to_owned())
    }
    fn link_index(&self, name: &str) -> Option<String> {
        match &self.root {
            Some(_) => self.read(&format!("{LINKS}/{name}/ifindex")).map(|index| index.trim().to_owned()),
            None => nix::net::if_::if_nametoindex(name).ok().map(|index| index.to_string()),
        }
    }
    fn run(&self, argv: &[&str]) -> Option<Ran> {
        let (program, rest) = argv.split_first()?;
        if self.root.is_some() {
            return None;
        }
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        let output =
            Command::new(program).args(rest).env("PATH", path).env("LC_ALL", "C").stdin(Stdio::null()).output().ok()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some(Ran { ok: output.status.success(), stdout: text(&output.stdout), stderr: text(&output.stderr) })
    }
    fn addresses(&self) -> Vec<(String, IpAddr)> {
        if self.root.is_some() {
            return Vec::new();
        }
        crate::kernel::addresses::present().unwrap_or_default()
    }
    fn clock_synchronised(&self) -> Option<bool> {
        if self.root.is_some() {
            return None;
        }
        // SAFETY: `timex` is plain data for which all zeroes is a value and means "read only"; the kernel writes it
        // and keeps no pointer.
        let (state, status) = unsafe {
            let mut timex: libc::timex = std::mem::zeroed();
            (libc::adjtimex(&mut timex), timex.status)
        };
        (state >= 0).then_some(state != libc::TIME_ERROR && status & libc::STA_UNSYNC == 0)
    }
    fn kernel(&self) -> String {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        match &self.root {
            None => release.trim().to_owned(),
            Some(_) => self.list("/lib/modules").pop().unwrap_or_default(),
        }
    }
}
