//! The connections that checks of real servers run over: made without waiting, with the options of the configuration.
//!
//! Order as keepalived has it (layer4.c): mark, interface, source, connect. What fails before the first packet leaves is
//! this machine's fault and says nothing of the server ([`Failure::Local`]); a refusal, a reset and a missing route are
//! the server's, or the way's to it. Every socket is close-on-exec and never blocks; a connection is closed by dropping it,
//! which ends it with FIN where nothing is left unread.
//!
//! With UDP an ICMP error comes as an error of the next call, and its kind stands in the socket's error queue: only
//! "destination unreachable" counts ([`unreachable`]).

use crate::probe::{Failure, Heard};
use crate::spec::balance::Connection;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd};

/// RFC 792 type 3; RFC 4443 type 1.
const UNREACHABLE_V4: u8 = 3;
const UNREACHABLE_V6: u8 = 1;

/// A TCP connection that is being made: writable, or in error, once it is decided.
///
/// # Errors
/// What happened at once.
pub fn stream(connection: &Connection) -> Result<Socket, Heard<'static>> {
    let target = target(connection).map_err(local)?;
    let socket = prepare(connection, Type::STREAM, Protocol::TCP).map_err(local)?;
    connect(&socket, &target)?;
    Ok(socket)
}

/// Whether a connection that [`stream`] began has come about. To ask for it once more is the one call that says so.
///
/// # Errors
/// It has failed.
pub fn is_made(connection: &Connection, socket: &Socket) -> Result<bool, Heard<'static>> {
    let target = target(connection).map_err(local)?;
    match socket.connect(&SockAddr::from(target)) {
        Ok(()) => Ok(true),
        Err(error) => match error.raw_os_error().unwrap_or(0) {
            libc::EISCONN => Ok(true),
            libc::EALREADY | libc::EINPROGRESS => Ok(false),
            _ => Err(heard(&error)),
        },
    }
}

/// A UDP socket that sends to the server and hears from nobody else.
///
/// # Errors
/// What happened at once.
pub fn datagram(connection: &Connection) -> Result<Socket, Heard<'static>> {
    let target = target(connection).map_err(local)?;
    let socket = prepare(connection, Type::DGRAM, Protocol::UDP).map_err(local)?;
    let told = match target {
        SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true),
        SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true),
    };
    told.map_err(|error| local(error.into()))?;
    connect(&socket, &target)?;
    Ok(socket)
}

/// Where to: a link-local address is one only together with its interface.
///
/// # Errors
/// The interface is not there.
pub fn target(connection: &Connection) -> io::Result<SocketAddr> {
    let port = connection.to.port.unwrap_or(0);
    scoped(connection, SocketAddr::new(connection.to.address, port))
}

fn scoped(connection: &Connection, address: SocketAddr) -> io::Result<SocketAddr> {
    match (address, &connection.interface) {
        (SocketAddr::V6(v6), Some(interface)) if v6.ip().is_unicast_link_local() => {
            let scope = nix::net::if_::if_nametoindex(interface.as_str())?;
            Ok(SocketAddrV6::new(*v6.ip(), v6.port(), 0, scope).into())
        }
        _ => Ok(address),
    }
}

/// A socket with mark, interface and source, ready to connect.
///
/// # Errors
/// No descriptor, no permission, no such interface, the source is not here.
pub fn prepare(connection: &Connection, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let v6 = connection.to.address.is_ipv6();
    let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, kind.nonblocking(), Some(protocol))?;
    if connection.mark != 0 {
        socket.set_mark(connection.mark)?;
    }
    if let Some(interface) = &connection.interface {
        socket.bind_device(Some(interface.as_str().as_bytes()))?;
    }
    if connection.from.is_some() || connection.from_port.is_some() {
        if connection.from_port.is_some() {
            // The connection of the last check may still wait for its last packet (TIME_WAIT).
            socket.set_reuse_address(true)?;
        }
        let anywhere = if v6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
        let source = SocketAddr::new(connection.from.unwrap_or(anywhere), connection.from_port.unwrap_or(0));
        socket.bind(&SockAddr::from(scoped(connection, source)?))?;
    }
    Ok(socket)
}

fn connect(socket: &Socket, target: &SocketAddr) -> Result<(), Heard<'static>> {
    match socket.connect(&SockAddr::from(*target)) {
        Ok(()) => Ok(()),
        Err(error) => match error.raw_os_error().unwrap_or(0) {
            libc::EINPROGRESS => Ok(()),
            code @ (libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::ECONNREFUSED
            | libc::EHOSTDOWN
            | libc::ENETDOWN
            | libc::ECONNRESET
            | libc::ECONNABORTED
            | libc::ETIMEDOUT) => Err(of_code(code)),
            // keepalived: any other error at once is this machine's.
            code => Err(Heard::Failed(Failure::Local(code))),
        },
    }
}

/// An error that is this machine's.
pub fn local(error: io::Error) -> Heard<'static> {
    Heard::Failed(Failure::Local(error.raw_os_error().unwrap_or(libc::EIO)))
}

/// An error of a connection that had left this machine.
pub fn heard(error: &io::Error) -> Heard<'static> {
    of_code(error.raw_os_error().unwrap_or(libc::EIO))
}

fn of_code(code: i32) -> Heard<'static> {
    match code {
        // A queue of this machine is full, or its memory: no packet has left.
        libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM => Heard::Failed(Failure::Local(code)),
        libc::ETIMEDOUT => Heard::TimedOut,
        libc::ECONNREFUSED => Heard::Failed(Failure::Refused),
        libc::ECONNRESET | libc::ECONNABORTED | libc::EPIPE => Heard::Failed(Failure::Reset),
        code => Heard::Failed(Failure::Unreachable(code)),
    }
}

/// What the error queue of a UDP socket says. `Ok(None)`: there was something, and it says nothing of the server.
///
/// # Errors
/// The queue is empty, or cannot be read.
pub fn unreachable(socket: &impl AsFd) -> io::Result<Option<Heard<'static>>> {
    let mut payload = [0; 64];
    let mut control = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
    let mut parts = [IoSliceMut::new(&mut payload)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(socket.as_fd().as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    for part in message.cmsgs()? {
        let (error, kind) = match part {
            ControlMessageOwned::Ipv4RecvErr(error, _) if error.ee_origin == libc::SO_EE_ORIGIN_ICMP => {
                (error, UNREACHABLE_V4)
            }
            ControlMessageOwned::Ipv6RecvErr(error, _) if error.ee_origin == libc::SO_EE_ORIGIN_ICMP6 => {
                (error, UNREACHABLE_V6)
            }
            _ => continue,
        };
        if error.ee_type == kind {
            return Ok(Some(of_code(i32::try_from(error.ee_errno).unwrap_or(libc::EHOSTUNREACH))));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device whose queue is full lets a datagram fall with ENOBUFS, a socket whose buffer is full with EAGAIN: the server
    /// was not asked. What a firewall refuses (EPERM) is as bad as a way that is not there, as for keepalived.
    #[test]
    fn a_shortage_of_this_machine_is_no_fault_of_the_server() {
        let failure = |code| match heard(&io::Error::from_raw_os_error(code)) {
            Heard::Failed(failure) => failure,
            other => panic!("{code}: {other:?}"),
        };
        for code in [libc::EAGAIN, libc::ENOBUFS, libc::ENOMEM] {
            assert_eq!(failure(code), Failure::Local(code));
        }
        for code in [libc::EPERM, libc::EHOSTUNREACH, libc::ENETUNREACH] {
            assert_eq!(failure(code), Failure::Unreachable(code));
        }
        assert_eq!(failure(libc::ECONNREFUSED), Failure::Refused);
    }
}
