//! Loading ip_vs where the kernel does not have it yet.
//!
//! Two ways. The kernel itself loads the match `ipvs` of iptables when nftables' compatibility layer is asked about it,
//! and with it ip_vs, on which it depends; for that CAP_NET_ADMIN is enough, so it also works for a daemon that systemd
//! does not let load modules. Else the program in /proc/sys/kernel/modprobe is run, as keepalived runs it. Both may take
//! long on a machine with a slow disk, so they run on a thread of their own. Schedulers need none of this: the kernel
//! loads them when a service names them.

use crate::kernel::aside;
use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket, sockopt,
};
use std::io;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::time::Duration;

const TIME_LIMIT: Duration = Duration::from_secs(10);
const MODULE: &str = "ip_vs";

/// Tries to load the module; whether it worked is seen by asking for the family again.
pub async fn load() {
    let tried = aside::ask("loading the module ip_vs".into(), || {
        let _ = by_match();
        let _ = by_program();
    });
    let _ = tokio::time::timeout(TIME_LIMIT, tried).await;
}

/// Asks nftables' compatibility layer which revisions of the match `ipvs` there are.
fn by_match() -> io::Result<()> {
    const SUBSYSTEM: u16 = 11;
    const GET: u16 = 0;
    const NAME: u16 = 1;
    const REVISION: u16 = 2;
    const TYPE: u16 = 3;
    const INET: u8 = 2;
    let mut message = vec![INET, 0, 0, 0];
    for (kind, value) in [(NAME, &b"ipvs\0\0\0\0"[..]), (REVISION, &[0; 4]), (TYPE, &[0; 4])] {
        let used = if kind == NAME { 5 } else { value.len() };
        message.extend(u16::try_from(used + 4).unwrap_or_default().to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(value);
    }
    let length = u32::try_from(message.len() + 16).unwrap_or_default();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend((SUBSYSTEM << 8 | GET).to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    bytes.extend(1u32.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    bytes.extend(message);
    let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkNetFilter)?;
    let limit = nix::sys::time::TimeVal::new(i64::try_from(TIME_LIMIT.as_secs()).unwrap_or(10), 0);
    setsockopt(&fd, sockopt::ReceiveTimeout, &limit)?;
    send(fd.as_raw_fd(), &bytes, MsgFlags::empty())?;
    recv(fd.as_raw_fd(), &mut [0; 4096], MsgFlags::empty())?;
    Ok(())
}

fn by_program() -> io::Result<()> {
    if std::path::Path::new("/sys/module").join(MODULE).exists() {
        return Ok(());
    }
    let program = std::fs::read_to_string("/proc/sys/kernel/modprobe").unwrap_or_default();
    let program = match program.trim() {
        "" => "/sbin/modprobe",
        program => program,
    };
    // How it ends is of no matter, and another one may have waited for it.
    Command::new(program)
        .args(["-q", MODULE])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map(drop)
}
