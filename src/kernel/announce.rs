//! Gratuitous ARPs and unsolicited neighbour advertisements, put on the wire as whole frames.
//!
//! One packet socket that never receives serves all interfaces: a plain non-blocking send costs about a microsecond, and
//! sending several in one system call measured no faster. The frames come from [`crate::wire::frames`].

use crate::wire::frames;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// Sends announcements. Owned by the kernel thread.
#[derive(Debug)]
pub struct Announcer {
    socket: socket2::Socket,
}

/// What a frame needs to know about the interface that it leaves by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct From {
    pub ifindex: u32,
    pub mac: [u8; 6],
    /// The interface forwards IPv6: the advertisement says that a router speaks.
    pub router: bool,
}

impl Announcer {
    /// # Errors
    /// No CAP_NET_RAW.
    pub fn open() -> io::Result<Announcer> {
        // Protocol 0: this socket hears nothing.
        let kind = socket2::Type::RAW.nonblocking().cloexec();
        let socket = socket2::Socket::new(socket2::Domain::PACKET, kind, None)?;
        let _ = socket.set_send_buffer_size(1 << 20);
        let _ = socket.set_priority(7);
        Ok(Announcer { socket })
    }

    /// One frame for one address.
    ///
    /// # Errors
    /// `WouldBlock` when the interface's queue is full; ENETDOWN, ENXIO when the interface is down or gone.
    pub fn announce(&self, from: &From, address: IpAddr) -> io::Result<()> {
        match address {
            IpAddr::V4(address) => self.send(from.ifindex, ETHERTYPE_ARP, &frames::gratuitous_arp(from.mac, address)),
            IpAddr::V6(address) => {
                self.send(from.ifindex, ETHERTYPE_IPV6, &frames::unsolicited_na(from.mac, address, from.router))
            }
        }
    }

    fn send(&self, ifindex: u32, protocol: u16, frame: &[u8]) -> io::Result<()> {
        // SAFETY: sockaddr_ll is plain data, for which all zeroes is a value.
        let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        to.sll_family = libc::AF_PACKET as libc::c_ushort;
        to.sll_protocol = protocol.to_be();
        to.sll_ifindex = libc::c_int::try_from(ifindex).unwrap_or(0);
        to.sll_halen = 6;
        // SAFETY: the frame and the address are valid for the lengths given with them, and the call keeps neither.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                libc::MSG_DONTWAIT,
                std::ptr::from_ref(&to).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
