//! The machine as the language asks about it: accounts, paths, interfaces, uptime.
//!
//! A [`LinuxSystem`] answers from the operating system, nothing is changed. Interfaces are asked for once, when the
//! first one is, with one netlink dump: a configuration of thousands of instances asks thousands of times. So a value
//! lives for one reading of the configuration and is rebuilt for the next.

use crate::config::system::{FileKind, Link, Stat, System, User};
use crate::time::Interval;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVrf, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustc_hash::FxHashMap;
use std::cell::OnceCell;
use std::ffi::CString;
use std::io::Read;
use std::net::{IpAddr, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

/// File systems that this machine keeps itself: reading a file never waits for anybody else.
const KEPT_HERE: [&str; 12] =
    ["bcachefs", "btrfs", "erofs", "ext2", "ext3", "ext4", "f2fs", "overlay", "squashfs", "tmpfs", "xfs", "zfs"];

/// This machine.
#[derive(Debug, Default)]
pub struct LinuxSystem {
    links: OnceCell<FxHashMap<Arc<str>, Link>>,
    /// /proc/self/mountinfo.
    mounts: OnceCell<String>,
}

impl LinuxSystem {
    /// As the machine is now.
    pub fn new() -> Self {
        LinuxSystem::default()
    }

    /// Whether `path` is on one of [`KEPT_HERE`]. Asks no file system, since one that does not answer would hold up a reload, and
    /// the end of the process with it; where it cannot be found out, the answer is no.
    fn is_kept_here(&self, path: &str) -> bool {
        use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
        let Ok(found) = statx(CWD, path, AtFlags::STATX_DONT_SYNC, StatxFlags::MNT_ID) else { return false };
        let mounts = self.mounts.get_or_init(|| std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default());
        let own = found.stx_mnt_id.to_string();
        // proc_pid_mountinfo(5): the number first; the type behind a lonely dash.
        let line = mounts.lines().find(|line| line.split(' ').next() == Some(&own));
        let kind = line.and_then(|line| line.split(" - ").nth(1)?.split(' ').next());
        kind.is_some_and(|kind| KEPT_HERE.contains(&kind))
    }
}

impl System for LinuxSystem {
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
        let Ok(user) = CString::new(user) else { return vec![gid] };
        let groups = nix::unistd::getgrouplist(&user, gid.into());
        groups.map_or(vec![gid], |groups| groups.into_iter().map(|g| g.as_raw()).collect())
    }
    fn identity(&self) -> (u32, u32) {
        (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw())
    }
    fn lstat(&self, path: &str) -> Option<Stat> {
        let found = std::fs::symlink_metadata(path).ok()?;
        use std::os::unix::fs::FileTypeExt;
        let kind = match found.file_type() {
            t if t.is_file() => FileKind::Regular,
            t if t.is_dir() => FileKind::Directory,
            t if t.is_symlink() => FileKind::Link,
            t if t.is_fifo() => FileKind::Fifo,
            _ => FileKind::Other,
        };
        Some(Stat { kind, uid: found.uid(), gid: found.gid(), mode: found.mode() & 0o7777, size: found.size() })
    }
    fn read_link(&self, path: &str) -> Option<String> {
        std::fs::read_link(path).ok().and_then(|target| target.into_os_string().into_string().ok())
    }
    fn executable(&self, path: &str, uid: u32, gid: u32) -> bool {
        let Ok(found) = std::fs::metadata(path) else { return false };
        let bit = match () {
            () if uid == 0 => 0o111,
            () if uid == found.uid() => 0o100,
            () if gid == found.gid() => 0o010,
            () => 0o001,
        };
        found.mode() & bit != 0
    }
    fn head(&self, path: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        if !self.is_kept_here(path) {
            return bytes;
        }
        let file = std::fs::File::open(path);
        // What cannot be read has no beginning that anybody could complain about.
        let _ = file.and_then(|file| file.take(256).read_to_end(&mut bytes));
        bytes
    }
    fn tells_changes(&self, directory: &str) -> bool {
        use nix::sys::statfs;
        // Their files change without anybody writing to them.
        let made_up = [
            statfs::PROC_SUPER_MAGIC,
            statfs::SYSFS_MAGIC,
            statfs::DEBUGFS_MAGIC,
            statfs::TRACEFS_MAGIC,
            statfs::SECURITYFS_MAGIC,
            statfs::BPF_FS_MAGIC,
        ];
        statfs::statfs(directory).map_or(true, |found| !made_up.contains(&found.filesystem_type()))
    }
    fn read_secret(&self, path: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        // A key is a few dozen bytes; what is longer is no key, and what never ends must not be read.
        std::fs::File::open(path).ok()?.take(64 * 1024).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }
    fn search_path(&self) -> String {
        std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/bin:/usr/bin".into())
    }
    fn interface(&self, name: &str) -> Option<Link> {
        self.links.get_or_init(|| links().unwrap_or_default()).get(name).cloned()
    }
    fn host_name(&self) -> String {
        nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "localhost".into())
    }
    fn resolve(&self, host: &str) -> Option<IpAddr> {
        (host, 0).to_socket_addrs().ok()?.next().map(|address| address.ip())
    }
    fn uptime(&self) -> Interval {
        let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
        let seconds: f64 = text.split_whitespace().next().and_then(|s| s.parse().ok()).unwrap_or(0.0);
        Interval::from_millis((seconds * 1000.0) as u64)
    }
    fn cpus(&self) -> u32 {
        let online = nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN).ok().flatten();
        online.and_then(|n| u32::try_from(n).ok()).unwrap_or(1)
    }
}

fn user(found: nix::unistd::User) -> User {
    User { name: found.name.into(), uid: found.uid.as_raw(), gid: found.gid.as_raw() }
}

/// All interfaces, by one dump.
fn links() -> std::io::Result<FxHashMap<Arc<str>, Link>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
    let mut packet = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(request));
    packet.header.flags = NLM_F_DUMP | NLM_F_REQUEST;
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut found = FxHashMap::default();
    loop {
        let (answer, _) = socket.recv_from_full()?;
        let mut rest = answer.as_slice();
        while !rest.is_empty() {
            let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest) else { return Ok(found) };
            let length = (message.header.length as usize).next_multiple_of(4);
            rest = rest.get(length.max(4)..).unwrap_or_default();
            match message.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message)) => {
                    if let Some(link) = link(&message) {
                        found.insert(link.name.clone(), link);
                    }
                }
                NetlinkPayload::Done(_) | NetlinkPayload::Error(_) => return Ok(found),
                _ => {}
            }
        }
    }
}

fn link(message: &LinkMessage) -> Option<Link> {
    let flags = message.header.flags;
    let mut link = Link {
        name: "".into(),
        loopback: flags.contains(LinkFlags::Loopback),
        multicast: flags.contains(LinkFlags::Multicast),
        ethernet: message.header.link_layer_type == LinkLayerType::Ether,
        mtu: 1500,
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use nix::sys::statfs::{self, statfs};

    /// statfs(2) says by a number what mountinfo says by a name.
    #[test]
    fn only_file_systems_of_this_machine_are_kept_here() {
        let kept = [
            statfs::BTRFS_SUPER_MAGIC,
            statfs::EXT4_SUPER_MAGIC,
            statfs::OVERLAYFS_SUPER_MAGIC,
            statfs::TMPFS_MAGIC,
            statfs::XFS_SUPER_MAGIC,
        ];
        let system = LinuxSystem::new();
        for path in ["/proc", "/proc/self/status", "/sys", "/there/is/no/such/file"] {
            assert!(!system.is_kept_here(path), "{path}");
        }
        let kept_by_number = |path: &str| kept.contains(&statfs(path).unwrap().filesystem_type());
        let own = env!("CARGO_MANIFEST_DIR");
        for path in ["/", "/dev/pts", "/dev/shm", "/sys/fs/cgroup", own] {
            assert_eq!(system.is_kept_here(path), kept_by_number(path), "{path}");
        }
        assert!(["/", "/dev/shm", own].into_iter().any(kept_by_number), "none of these is kept here");
    }
}
