//! This machine, as the language may ask about it: files ([`Files`]) and users, paths, interfaces ([`Machine`]).
//!
//! Read-only and answered at the time of asking, apart from the interfaces, which are listed once when a [`Machine`] is
//! made. Used when a configuration is read, on the services thread; the engine thread never comes here.

use crate::config::source::{Found, Loader};
use crate::config::system::{FileKind, Link, Stat, System, User};
use crate::time::Interval;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVrf, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use std::collections::BTreeMap;
use std::io::Read;
use std::net::{IpAddr, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Nobody writes a configuration file longer than this; what is longer is not one.
const LONGEST_FILE: u64 = 256 << 20;
/// `file:` keys and tables of iproute2.
const LONGEST_SMALL_FILE: u64 = 64 << 10;

/// The real files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files;

impl Loader for Files {
    fn read(&self, path: &Path) -> Found {
        let mut file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Found::Missing,
            Err(e) => return Found::Unreadable(e.to_string()),
        };
        match file.metadata() {
            Ok(meta) if !meta.is_file() => return Found::NotRegular,
            Ok(meta) if meta.permissions().mode() & 0o111 != 0 => return Found::Executable,
            Ok(_) => {}
            Err(e) => return Found::Unreadable(e.to_string()),
        }
        let mut bytes = Vec::new();
        match file.by_ref().take(LONGEST_FILE).read_to_end(&mut bytes) {
            Ok(_) => Found::Text(bytes),
            Err(e) => Found::Unreadable(e.to_string()),
        }
    }

    fn glob(&self, pattern: &str) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = Vec::new();
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        for plain in braces(pattern, 0) {
            if let Ok(paths) = glob::glob_with(&plain, options) {
                found.extend(paths.flatten());
            }
        }
        found.sort();
        found.dedup();
        found
    }
}

/// `a{b,c}d` → `abd`, `acd`; nested braces too, to a depth that no one writes by hand.
fn braces(pattern: &str, depth: usize) -> Vec<String> {
    let whole = || vec![pattern.to_owned()];
    if depth > 8 {
        return whole();
    }
    let Some(open) = pattern.find('{') else { return whole() };
    let (mut level, mut cuts, mut close) = (0usize, vec![open], None);
    for (at, byte) in pattern.bytes().enumerate().skip(open) {
        match byte {
            b'{' => level += 1,
            b'}' if level == 1 => {
                close = Some(at);
                break;
            }
            b'}' => level -= 1,
            b',' if level == 1 => cuts.push(at),
            _ => {}
        }
    }
    let Some(close) = close else { return whole() };
    cuts.push(close);
    let (before, after) = (pattern.get(..open).unwrap_or(""), pattern.get(close + 1..).unwrap_or(""));
    let mut out = Vec::new();
    for pair in cuts.windows(2) {
        let &[from, to] = pair else { continue };
        let middle = pattern.get(from + 1..to).unwrap_or("");
        out.extend(braces(&format!("{before}{middle}{after}"), depth + 1));
    }
    out
}

/// The real machine, in the network namespace in which it was made.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    links: BTreeMap<String, Link>,
}

impl Machine {
    /// Lists the interfaces. Without them (no permission for netlink) every interface counts as missing, as it does for
    /// keepalived.
    pub fn look() -> Machine {
        Machine { links: interfaces().unwrap_or_default() }
    }
}

impl System for Machine {
    fn user(&self, name: &str) -> Option<User> {
        nix::unistd::User::from_name(name).ok().flatten().map(user)
    }
    fn user_by_id(&self, uid: u32) -> Option<User> {
        nix::unistd::User::from_uid(uid.into()).ok().flatten().map(user)
    }
    fn group(&self, name: &str) -> Option<u32> {
        nix::unistd::Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
    }
    fn groups_of(&self, user: &str, gid: u32) -> Vec<u32> {
        let Ok(name) = std::ffi::CString::new(user) else { return vec![gid] };
        nix::unistd::getgrouplist(&name, gid.into())
            .map_or_else(|_| vec![gid], |groups| groups.into_iter().map(nix::unistd::Gid::as_raw).collect())
    }
    fn identity(&self) -> (u32, u32) {
        (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw())
    }
    fn lstat(&self, path: &str) -> Option<Stat> {
        let meta = std::fs::symlink_metadata(path).ok()?;
        let kind = match meta.file_type() {
            t if t.is_file() => FileKind::Regular,
            t if t.is_dir() => FileKind::Directory,
            t if t.is_symlink() => FileKind::Link,
            t if t.is_fifo() => FileKind::Fifo,
            _ => FileKind::Other,
        };
        Some(Stat { kind, uid: meta.uid(), gid: meta.gid(), mode: meta.mode() & 0o7777, size: meta.len() })
    }
    fn read_link(&self, path: &str) -> Option<String> {
        std::fs::read_link(path).ok()?.into_os_string().into_string().ok()
    }
    fn executable(&self, path: &str, uid: u32, gid: u32) -> bool {
        let Ok(meta) = std::fs::metadata(path) else { return false };
        let mode = meta.mode();
        let bit = match () {
            () if uid == 0 => 0o111,
            () if uid == meta.uid() => 0o100,
            () if gid == meta.gid() => 0o010,
            () => 0o001,
        };
        meta.is_file() && mode & bit != 0
    }
    fn read_secret(&self, path: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        std::fs::File::open(path).ok()?.take(LONGEST_SMALL_FILE).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }
    fn search_path(&self) -> String {
        std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".into())
    }
    fn interface(&self, name: &str) -> Option<Link> {
        self.links.get(name).cloned()
    }
    fn host_name(&self) -> String {
        nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "localhost".into())
    }
    fn resolve(&self, host: &str) -> Option<IpAddr> {
        (host, 0).to_socket_addrs().ok()?.next().map(|address| address.ip())
    }
    fn uptime(&self) -> Interval {
        crate::kernel::clock::uptime()
    }
    fn cpus(&self) -> u32 {
        std::thread::available_parallelism().map_or(1, |n| n.get() as u32)
    }
    fn iproute_names(&self, file: &str, directories: &[&str]) -> String {
        let usual = ["/etc/iproute2", "/usr/share/iproute2", "/usr/lib/iproute2"];
        let directories = if directories.is_empty() { &usual[..] } else { directories };
        // What stands in the administrator's directory comes last and so wins.
        let mut text = String::new();
        for directory in directories.iter().rev() {
            if let Ok(opened) = std::fs::File::open(Path::new(directory).join(file)) {
                let _ = opened.take(LONGEST_SMALL_FILE).read_to_string(&mut text);
                text.push('\n');
            }
        }
        text
    }
}

fn user(user: nix::unistd::User) -> User {
    User { name: user.name.into(), uid: user.uid.as_raw(), gid: user.gid.as_raw() }
}

/// One RTM_GETLINK dump, waited for: the daemon has no thread and no runtime yet when it reads its configuration first.
fn interfaces() -> std::io::Result<BTreeMap<String, Link>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetLink(LinkMessage::default()));
    request.header.flags = NLM_F_DUMP | NLM_F_REQUEST;
    request.header.sequence_number = 1;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;

    let mut links = BTreeMap::new();
    loop {
        let (answer, _) = socket.recv_from_full()?;
        let mut rest = answer.as_slice();
        while !rest.is_empty() {
            let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest) else { break };
            let length = (message.header.length as usize).next_multiple_of(4);
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(links),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                    if let Some(link) = described(&link) {
                        links.insert(link.name.to_string(), link);
                    }
                }
                _ => {}
            }
            rest = match rest.get(length..) {
                Some(rest) if length > 0 => rest,
                _ => break,
            };
        }
    }
}

fn described(message: &LinkMessage) -> Option<Link> {
    let flags = message.header.flags;
    let mut link = Link {
        name: "".into(),
        loopback: flags.contains(LinkFlags::Loopback),
        multicast: flags.contains(LinkFlags::Multicast),
        ethernet: message.header.link_layer_type == LinkLayerType::Ether,
        mtu: 0,
        virtual_link: false,
        vrf_table: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name.as_str().into(),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(InfoKind::MacVlan | InfoKind::IpVlan) => link.virtual_link = true,
                        LinkInfo::Data(InfoData::Vrf(vrf)) => {
                            link.vrf_table = vrf.iter().find_map(|v| match v {
                                InfoVrf::TableId(table) => Some(*table),
                                _ => None,
                            });
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    (!link.name.is_empty()).then_some(link)
}
