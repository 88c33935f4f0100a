//! Names that iproute2 gives to numbers: tables, scopes, protocols, realms, DS fields, interface groups.
//!
//! The files are read once, when the first name of their kind is asked for, through [`Loader`] and from the same places
//! as iproute2: `FILE` in the etc directory if it is there, else in the usr directory; then `FILE.d/*.conf` of both, an
//! etc file hiding the usr file of the same name. Numbers need no file. What the files do not name keeps its customary
//! name.

use crate::config::line::any_base;
use crate::config::text::source::{Found, Loader};
use std::cell::OnceCell;
use std::path::{Path, PathBuf};

type Entries = Vec<(u32, Box<str>)>;
type Customary = &'static [(u32, &'static str)];

const TABLES: Customary = &[(253, "default"), (254, "main"), (255, "local")];
const SCOPES: Customary = &[(0, "global"), (255, "nowhere"), (254, "host"), (253, "link"), (200, "site")];
const PROTOCOLS: Customary = &[
    (0, "none"),
    (1, "redirect"),
    (2, "kernel"),
    (3, "boot"),
    (4, "static"),
    (8, "gated"),
    (9, "ra"),
    (10, "mrt"),
    (11, "zebra"),
    (12, "bird"),
    (42, "babel"),
    (13, "dnrouted"),
    (14, "xorp"),
    (15, "ntk"),
    (16, "dhcp"),
];
/// The commonest of /etc/protocols, for machines without that file.
const IP_PROTOCOLS: Customary = &[
    (1, "icmp"),
    (2, "igmp"),
    (4, "ipencap"),
    (6, "tcp"),
    (17, "udp"),
    (33, "dccp"),
    (41, "ipv6"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (58, "ipv6-icmp"),
    (89, "ospf"),
    (103, "pim"),
    (112, "vrrp"),
    (132, "sctp"),
    (136, "udplite"),
];
/// Route types by the names of `ip route`; these are fixed in the kernel's interface, no file renames them.
const ROUTE_TYPES: Customary = &[
    (1, "unicast"),
    (2, "local"),
    (3, "broadcast"),
    (3, "brd"),
    (4, "anycast"),
    (5, "multicast"),
    (6, "blackhole"),
    (7, "unreachable"),
    (8, "prohibit"),
    (9, "throw"),
    (10, "nat"),
    (11, "xresolve"),
];

/// Where iproute2's names come from, and those read so far.
pub struct Names<'l> {
    files: Option<&'l dyn Loader>,
    etc: PathBuf,
    usr: Option<PathBuf>,
    tables: OnceCell<Entries>,
    scopes: OnceCell<Entries>,
    protocols: OnceCell<Entries>,
    realms: OnceCell<Entries>,
    dsfields: OnceCell<Entries>,
    groups: OnceCell<Entries>,
    ip_protocols: OnceCell<Entries>,
}

impl<'l> Names<'l> {
    /// Customary names only.
    pub fn customary() -> Names<'static> {
        Names::build(None, PathBuf::new(), None)
    }
    /// Names from files: `iproute_etc_dir` (default /etc/iproute2) and `iproute_usr_dir` (default /usr/share/iproute2).
    pub fn from_files(files: &'l dyn Loader, etc: Option<&Path>, usr: Option<&Path>) -> Names<'l> {
        let etc = etc.unwrap_or(Path::new("/etc/iproute2")).to_path_buf();
        Names::build(Some(files), etc, Some(usr.unwrap_or(Path::new("/usr/share/iproute2")).to_path_buf()))
    }
    fn build<'x>(files: Option<&'x dyn Loader>, etc: PathBuf, usr: Option<PathBuf>) -> Names<'x> {
        Names {
            files,
            etc,
            usr,
            tables: OnceCell::new(),
            scopes: OnceCell::new(),
            protocols: OnceCell::new(),
            realms: OnceCell::new(),
            dsfields: OnceCell::new(),
            groups: OnceCell::new(),
            ip_protocols: OnceCell::new(),
        }
    }

    /// Routing table, 0..=2³²−1.
    pub fn table(&self, word: &str) -> Option<u32> {
        self.find(word, &self.tables, "rt_tables", TABLES, u32::MAX)
    }
    /// Address or route scope.
    pub fn scope(&self, word: &str) -> Option<u8> {
        self.find(word, &self.scopes, "rt_scopes", SCOPES, 255).map(|n| n as u8)
    }
    /// Routing protocol.
    pub fn protocol(&self, word: &str) -> Option<u8> {
        self.find(word, &self.protocols, "rt_protos", PROTOCOLS, 255).map(|n| n as u8)
    }
    /// DS field, the TOS byte.
    pub fn dsfield(&self, word: &str) -> Option<u8> {
        self.find(word, &self.dsfields, "rt_dsfield", &[], 255).map(|n| n as u8)
    }
    pub(crate) fn realm(&self, word: &str) -> Option<u32> {
        self.find(word, &self.realms, "rt_realms", &[], 255)
    }
    /// Interface group.
    pub fn group(&self, word: &str) -> Option<u32> {
        self.find(word, &self.groups, "group", &[], i32::MAX as u32)
    }
    /// Route type by name or number.
    pub fn route_type(&self, word: &str) -> Option<u8> {
        let named = ROUTE_TYPES.iter().find(|(_, name)| *name == word).map(|(number, _)| *number as u8);
        named.or_else(|| any_base(word).and_then(|n| u8::try_from(n).ok()))
    }
    /// IP protocol by number, by customary name or by a name or alias in /etc/protocols.
    pub fn ip_protocol(&self, word: &str) -> Option<u8> {
        if word.bytes().all(|b| b.is_ascii_digit()) {
            return word.parse().ok();
        }
        let listed = self.ip_protocols.get_or_init(|| self.protocols_file());
        let found = listed.iter().find(|(_, name)| **name == *word).map(|(number, _)| *number);
        let found = found.or_else(|| IP_PROTOCOLS.iter().find(|(_, name)| *name == word).map(|(number, _)| *number));
        found.and_then(|n| u8::try_from(n).ok())
    }
    /// Every name of a routing table, for hints.
    pub fn table_names(&self) -> impl Iterator<Item = &str> {
        self.tables.get_or_init(|| self.entries("rt_tables", TABLES, u32::MAX)).iter().map(|(_, name)| &**name)
    }

    fn find(&self, word: &str, cell: &OnceCell<Entries>, file: &str, customary: Customary, most: u32) -> Option<u32> {
        if let Some(number) = any_base(word) {
            return u32::try_from(number).ok().filter(|n| *n <= most);
        }
        let entries = cell.get_or_init(|| self.entries(file, customary, most));
        entries.iter().find(|(_, name)| **name == *word).map(|(number, _)| *number)
    }

    fn entries(&self, file: &str, customary: Customary, most: u32) -> Entries {
        let mut entries = Entries::new();
        if let Some(files) = self.files {
            if !self.take(files, &self.etc.join(file), most, &mut entries)
                && let Some(usr) = &self.usr
            {
                self.take(files, &usr.join(file), most, &mut entries);
            }
            let folder = format!("{file}.d");
            let own = files.glob(&format!("{}/*.conf", self.etc.join(&folder).display()));
            let shared = self.usr.as_ref().map(|usr| files.glob(&format!("{}/*.conf", usr.join(&folder).display())));
            let hidden = |path: &PathBuf| own.iter().any(|o| o.file_name() == path.file_name());
            for path in shared.unwrap_or_default().iter().filter(|path| !hidden(path)).chain(&own) {
                self.take(files, path, most, &mut entries);
            }
        }
        for (number, name) in customary {
            if !entries.iter().any(|(known, _)| known == number) {
                entries.push((*number, (*name).into()));
            }
        }
        entries
    }

    /// Adds the lines `NUMBER NAME` of one file; false if there is no such file.
    fn take(&self, files: &dyn Loader, path: &Path, most: u32, into: &mut Entries) -> bool {
        let Found::Text(bytes) = files.read(path) else { return false };
        for line in String::from_utf8_lossy(&bytes).lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
            let (Some(number), Some(name), None) = (words.next(), words.next(), words.next()) else { continue };
            if let Some(number) = any_base(number).and_then(|n| u32::try_from(n).ok()).filter(|n| *n <= most) {
                into.push((number, name.into()));
            }
        }
        true
    }

    fn protocols_file(&self) -> Entries {
        let Some(Found::Text(bytes)) = self.files.map(|files| files.read(Path::new("/etc/protocols"))) else {
            return Entries::new();
        };
        let mut entries = Entries::new();
        for line in String::from_utf8_lossy(&bytes).lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
            let (Some(name), Some(number)) = (words.next(), words.next().and_then(|n| n.parse().ok())) else {
                continue;
            };
            entries.extend(std::iter::once(name).chain(words).map(|name| (number, name.into())));
        }
        entries
    }
}
