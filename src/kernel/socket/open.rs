//! Opening a VRRP socket, with everything that must be so before it is read: the kernel thread's part.
//!
//! To join a group, to leave it and to close a socket that is in one, the kernel takes RTNL, which any program that
//! changes the network may hold for as long as it likes. So none of that happens on the engine thread.

use super::is_scoped;
use crate::kernel::{buffer, filter};
use crate::spec::RxBuffer;
use crate::vrrp::io::Port;
use crate::wire::Family;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, RawFd};

/// A socket that is to be opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opening {
    pub port: Port,
    /// Size of the receive buffer in bytes; `None` leaves it to the kernel.
    pub buffer: Option<u32>,
}

/// What `global_defs` says about sockets.
#[derive(Clone, Copy, Debug, Default)]
pub struct SocketSettings {
    /// `vrrp_rx_bufs_policy`.
    pub rx_buffer: RxBuffer,
    /// `disable_local_igmp`: groups are not joined; somebody else does it.
    pub disable_local_igmp: bool,
}

nix::setsockopt_impl!(
    Ipv6Checksum,
    libc::IPPROTO_IPV6,
    libc::IPV6_CHECKSUM,
    libc::c_int,
    nix::sys::socket::sockopt::SetStruct<libc::c_int>
);
nix::setsockopt_impl!(
    BindToIndex,
    libc::SOL_SOCKET,
    libc::SO_BINDTOIFINDEX,
    libc::c_int,
    nix::sys::socket::sockopt::SetStruct<libc::c_int>
);
#[derive(Clone)]
struct Ipv6Checksum;
#[derive(Clone)]
struct BindToIndex;

/// Internetwork control, the class of routing protocols (RFC 4594): TOS and traffic class of every advert.
const CLASS: u32 = 0xC0;
/// TC_PRIO_CONTROL: adverts leave the queue before other traffic.
const PRIORITY: u32 = 7;
/// Offset of the checksum in a VRRP header, which the kernel fills and verifies for IPv6 (RFC 3542 §3.1).
const CHECKSUM_OFFSET: libc::c_int = 6;

/// Opens one. It may wait for RTNL.
///
/// # Errors
/// Out of descriptors, no such interface, a group that cannot be joined, an address that cannot be bound to.
pub fn open(opening: &Opening, settings: &SocketSettings) -> io::Result<Socket> {
    let Opening { port, buffer } = opening;
    let domain = match port.family {
        Family::V4 => Domain::IPV4,
        Family::V6 => Domain::IPV6,
    };
    // A raw socket hears from its first moment on; what comes before filter and binding are in place is drained below.
    let socket =
        Socket::new(domain, Type::RAW.nonblocking().cloexec(), Some(Protocol::from(i32::from(port.protocol))))?;
    if is_of_the_last(socket.as_raw_fd()) {
        return Err(io::Error::from_raw_os_error(libc::EMFILE));
    }
    socket.attach_filter(filter::adverts(port.family, port.protocol))?;
    if let Some(index) = port.ifindex {
        setsockopt(&socket, BindToIndex, &libc::c_int::try_from(index).unwrap_or(0))?;
    }
    if let Some(bytes) = *buffer {
        buffer::force(&socket, bytes);
    }
    match port.family {
        Family::V4 => prepare_v4(&socket, port, settings)?,
        Family::V6 => prepare_v6(&socket, port, settings)?,
    }
    // Without stamps datagrams count from the moment at which they are read: no reason to fail.
    let _ = setsockopt(&socket, sockopt::ReceiveTimestampns, &true);
    // After the class, which sets a priority of its own.
    socket.set_priority(PRIORITY)?;
    if let Some(local) = port.local {
        let scope = if is_scoped(&local) { port.ifindex.unwrap_or(0) } else { 0 };
        let address = match local {
            IpAddr::V4(v4) => SocketAddr::V4(SocketAddrV4::new(v4, 0)),
            IpAddr::V6(v6) => SocketAddr::V6(SocketAddrV6::new(v6, 0, 0, scope)),
        };
        socket.bind(&address.into())?;
    }
    drain(&socket);
    Ok(socket)
}

/// Scripts, dumps and the control socket need descriptors too: without them nobody could ask what is wrong.
fn is_of_the_last(descriptor: RawFd) -> bool {
    const KEPT_FREE: u64 = 16;
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
    u64::try_from(descriptor).is_ok_and(|number| number >= limit.saturating_sub(KEPT_FREE.min(limit / 4)))
}

fn prepare_v4(socket: &Socket, port: &Port, settings: &SocketSettings) -> io::Result<()> {
    socket.set_header_included_v4(true)?;
    socket.set_tos_v4(CLASS)?;
    socket.set_multicast_loop_v4(false)?;
    setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?;
    setsockopt(socket, sockopt::Ipv4RecvTtl, &true)?;
    socket.set_freebind_v4(true)?;
    // Only groups joined by this very socket, not by any program on the machine.
    socket.set_multicast_all_v4(settings.disable_local_igmp)?;
    let Some(IpAddr::V4(group)) = port.group else { return Ok(()) };
    let Some(index) = port.ifindex else { return Ok(()) };
    socket.set_multicast_ttl_v4(255)?;
    rustix::net::sockopt::set_ip_multicast_if_with_ifindex(
        socket,
        &Ipv4Addr::UNSPECIFIED,
        &Ipv4Addr::UNSPECIFIED,
        index,
    )?;
    if !settings.disable_local_igmp {
        socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))?;
    }
    Ok(())
}

fn prepare_v6(socket: &Socket, port: &Port, settings: &SocketSettings) -> io::Result<()> {
    socket.set_tclass_v6(CLASS)?;
    socket.set_multicast_loop_v6(false)?;
    setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    socket.set_recv_hoplimit_v6(true)?;
    socket.set_freebind_v6(true)?;
    socket.set_multicast_all_v6(settings.disable_local_igmp)?;
    if port.protocol == crate::wire::PROTOCOL_VRRP {
        setsockopt(socket, Ipv6Checksum, &CHECKSUM_OFFSET)?;
    }
    let Some(IpAddr::V6(group)) = port.group else { return Ok(()) };
    let Some(index) = port.ifindex else { return Ok(()) };
    socket.set_multicast_hops_v6(255)?;
    socket.set_multicast_if_v6(index)?;
    if !settings.disable_local_igmp {
        socket.join_multicast_v6(&group, index)?;
    }
    Ok(())
}

/// Throws away what came between the opening of the socket and its filter and membership.
fn drain(socket: &Socket) {
    let mut scrap = [std::mem::MaybeUninit::<u8>::uninit(); 1];
    for _ in 0..1024 {
        if socket.recv_with_flags(&mut scrap, libc::MSG_DONTWAIT | libc::MSG_TRUNC).is_err() {
            return;
        }
    }
}
