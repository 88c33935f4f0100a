//! Receive buffers of sockets: how large they are asked to be, and how large the kernel made them.
//!
//! Sizes are in bytes as SO_RCVBUF takes them; the kernel doubles them for its own bookkeeping and keeps them within
//! `net.core.rmem_max` unless it is forced (SO_RCVBUFFORCE, CAP_NET_ADMIN). Never an error: a small buffer costs
//! messages under load, and the reader of the socket learns of that.

use super::socket::SocketSettings;
use crate::spec::{InstanceId, RxBuffer};
use crate::vrrp::io::Port;
use crate::wire::Family;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd};

/// Asks for a size, beyond the machine's limit if the process may.
pub fn force(socket: &impl AsFd, bytes: u32) {
    set(socket, bytes, true);
}

/// Asks for a size; with `force` beyond the machine's limit, if the process may.
pub fn set(socket: &impl AsFd, bytes: u32, force: bool) {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(usize::try_from(i32::MAX).unwrap_or(usize::MAX));
    if !force || setsockopt(socket, sockopt::RcvBufForce, &bytes).is_err() {
        let _ = setsockopt(socket, sockopt::RcvBuf, &bytes);
    }
}

/// What the kernel made of it: twice what was asked for, within its limits.
pub fn size(socket: &impl AsFd) -> usize {
    getsockopt(socket, sockopt::RcvBuf).unwrap_or(0)
}

/// How many datagrams the kernel had no room for since the socket was opened; 0 where it does not tell (before Linux 4.12, and in
/// sandboxes).
pub(super) fn dropped(socket: &impl AsFd) -> u32 {
    const DROPS: usize = libc::SK_MEMINFO_DROPS as usize;
    // What is not filled in stays 0: a kernel that knows fewer of these figures answers fewer.
    let mut figures = [0_u32; DROPS + 1];
    let mut length = size_of_val(&figures) as libc::socklen_t;
    let descriptor = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes `length` bytes at the most, which are there.
    let done = unsafe {
        libc::getsockopt(descriptor, libc::SOL_SOCKET, libc::SO_MEMINFO, figures.as_mut_ptr().cast(), &raw mut length)
    };
    if done == 0 { figures[DROPS] } else { 0 }
}

/// What the instances of a VRRP socket ask for together (`kernel_rx_buf_size` of each, else `vrrp_rx_bufs_policy`);
/// `None` leaves it to the kernel.
pub(super) fn of_port(
    port: &Port,
    instances: &[InstanceId],
    own: &BTreeMap<InstanceId, u32>,
    settings: &SocketSettings,
    mtu: &impl Fn(u32) -> Option<u32>,
) -> Option<u32> {
    /// Room for one queued advert with the kernel's own bookkeeping around it.
    const QUEUED: u32 = 4096;
    /// The kernel's default holds some 50 adverts; where more instances share a socket it would lose some of a burst.
    const DEFAULT_HOLDS: usize = 50;
    let share = match settings.rx_buffer {
        RxBuffer::Kernel => None,
        RxBuffer::Bytes(bytes) => Some(bytes),
        RxBuffer::Mtu { multiplier } => {
            let mtu = port.ifindex.and_then(mtu).unwrap_or(1500);
            Some(mtu.saturating_mul(multiplier))
        }
        // The longest legal advert of the family: 255 addresses and the longest trailer.
        RxBuffer::Advert { multiplier } => {
            let longest: u32 = match port.family {
                Family::V4 => 20 + 24 + 8 + 255 * 4 + 8 + 28,
                Family::V6 => 8 + 255 * 16 + 28,
            };
            Some(longest.saturating_mul(multiplier))
        }
    };
    let asks = || instances.iter().map(|id| own.get(id).copied().or(share));
    if asks().all(|ask| ask.is_none()) {
        let many = u32::try_from(instances.len()).unwrap_or(u32::MAX);
        return (instances.len() > DEFAULT_HOLDS).then(|| QUEUED.saturating_mul(many));
    }
    Some(asks().map(|ask| ask.unwrap_or(QUEUED)).fold(0, u32::saturating_add))
}
