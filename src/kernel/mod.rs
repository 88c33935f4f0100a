//! The only code that touches Linux: sockets, netlink, processes, privileges.
//!
//! Three parts, by the thread that owns them. [`socket`], [`timer`] and [`clock`] belong to the engine thread and never
//! block. [`netlink`] is a thread of its own: it carries out claims, watches the kernel's tables, heals what others
//! removed and sends announcements; it is spoken to by [`netlink::Order`] and speaks by [`netlink::Report`].
//! [`process`], [`trackfile`] and [`trackprocess`] belong to the services thread.
//!
//! Nothing here decides about the protocol: wishes come in as [`crate::engine::io`] vocabulary and facts go out so.

pub mod clock;
pub mod files;
mod filter;
pub mod namespace;
pub mod netlink;
pub mod privilege;
pub mod process;
mod readiness;
pub mod socket;
pub mod system;
pub mod timer;
pub mod trackfile;
pub mod trackprocess;

use std::os::fd::AsRawFd;

/// The name of an interface, if there is one of that index.
pub fn link_name(index: u32) -> Option<String> {
    nix::net::if_::if_indextoname(index).ok().and_then(|name| name.into_string().ok())
}

nix::ioctl_readwrite_bad!(get_mtu, libc::SIOCGIFMTU, libc::ifreq);

/// The MTU of an interface.
pub fn mtu(name: &str) -> Option<u32> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).ok()?;
    // SAFETY: ifreq is plain data, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return None;
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    // SAFETY: SIOCGIFMTU reads the zero-terminated name and fills ifru_mtu of the ifreq that it is given.
    let mtu = unsafe {
        get_mtu(socket.as_raw_fd(), &mut request).ok()?;
        request.ifr_ifru.ifru_mtu
    };
    u32::try_from(mtu).ok()
}
