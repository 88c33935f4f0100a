//! The only code that touches Linux: sockets, netlink, processes, privileges.
//!
//! Three parts, by the thread that owns them. [`socket`] and [`clock`] belong to the engine thread and never block but in
//! [`wait`] (and in [`socket::open`], which is the kernel thread's). [`netlink`] is a thread of its own: it carries out claims, watches the kernel's tables, heals what others
//! removed and sends announcements; it is spoken to by [`netlink::ToKernel`] and speaks by [`netlink::FromKernel`].
//! [`probes`] carries checks of real servers and [`ipvs`] keeps the table of virtual servers, for the checker thread;
//! [`bfd`] has the sockets of the bfd thread. [`process`], [`trackfile`] and [`trackprocess`] belong to the services
//! thread.
//!
//! Nothing here decides about the protocol: wishes come in as [`crate::vrrp::io`] vocabulary and facts go out so.

pub mod addresses;
mod announce;
pub mod arrivals;
pub mod aside;
pub mod bfd;
pub mod buffer;
mod carrier;
pub mod clock;
pub mod connect;
pub mod files;
mod filter;
pub mod firewall;
mod guests;
pub mod ipvs;
mod limits;
pub mod memory;
pub mod namespace;
pub mod netlink;
mod notes;
pub mod overhear;
pub mod perhaps;
mod ping;
pub mod privilege;
pub mod probes;
pub mod process;
pub mod programs;
pub(crate) mod readiness;
pub mod reconcile;
pub mod socket;
mod sysctl;
pub mod system;
pub mod threads;
pub mod trackfile;
pub mod trackprocess;
pub mod wait;
pub mod who_has;

use std::io;
use std::os::fd::AsRawFd;

nix::ioctl_readwrite_bad!(get_flags, libc::SIOCGIFFLAGS, libc::ifreq);
nix::ioctl_write_ptr_bad!(set_flags, libc::SIOCSIFFLAGS, libc::ifreq);

/// Sets an interface of the calling thread's namespace up.
///
/// # Errors
/// No such interface, or no permission.
pub fn bring_up(name: &str) -> io::Result<()> {
    let (socket, mut request) = interface_request(name)?;
    // SAFETY: both read the zero-terminated name; the first fills ifru_flags, the second reads it.
    unsafe {
        get_flags(socket.as_raw_fd(), &mut request)?;
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        set_flags(socket.as_raw_fd(), &request)?;
    }
    Ok(())
}

fn interface_request(name: &str) -> io::Result<(socket2::Socket, libc::ifreq)> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    // SAFETY: ifreq is plain data, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    Ok((socket, request))
}
