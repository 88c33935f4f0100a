//! A packet socket that hears every VRRP datagram on one interface, also those that are for others or that a firewall drops.
//!
//! Neither does the interface go into promiscuous mode nor is a group joined, so no switch and no router notices: the
//! interface is asked for all multicast ([`libc::PACKET_MR_ALLMULTI`]), which the kernel takes back when the socket is
//! closed. What the switch does not send here is not heard: unicast between two others.

use crate::wire::link::{ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use crate::wire::{PROTOCOL_AH, PROTOCOL_VRRP};
use nix::sys::socket::{LinkAddr, recvfrom};
use socket2::SockFilter;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

const LOAD_WORD: u16 = 0x20; // A = 32 bits at k
const LOAD_BYTE: u16 = 0x30; // A = byte at k
const LOAD_BYTE_INDEXED: u16 = 0x50; // A = byte at X + k
const LOAD_HEADER_LENGTH: u16 = 0xb1; // X = 4 × (low nibble of byte k)
const AND: u16 = 0x54;
const JUMP_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
/// SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT: does the frame belong to a VLAN, whose interface is another?
const VLAN_TAG_PRESENT: u32 = 0xffff_f000 + 48;
const VRRP: u32 = PROTOCOL_VRRP as u32;
const AH: u32 = PROTOCOL_AH as u32;

/// From the network header on: protocol 112 over IPv4, also behind an authentication header, and over IPv6.
static ADVERTS: [SockFilter; 15] = [
    SockFilter::new(LOAD_WORD, 0, 0, VLAN_TAG_PRESENT),
    SockFilter::new(JUMP_EQUAL, 0, 12, 0),
    SockFilter::new(LOAD_BYTE, 0, 0, 0),
    SockFilter::new(AND, 0, 0, 0xf0),
    SockFilter::new(JUMP_EQUAL, 2, 0, 0x40),
    SockFilter::new(LOAD_BYTE, 0, 0, 6),
    SockFilter::new(JUMP_EQUAL, 6, 7, VRRP),
    SockFilter::new(LOAD_BYTE, 0, 0, 9),
    SockFilter::new(JUMP_EQUAL, 4, 0, VRRP),
    SockFilter::new(JUMP_EQUAL, 0, 4, AH),
    SockFilter::new(LOAD_HEADER_LENGTH, 0, 0, 0),
    SockFilter::new(LOAD_BYTE_INDEXED, 0, 0, 0),
    SockFilter::new(JUMP_EQUAL, 0, 1, VRRP),
    SockFilter::new(RETURN, 0, 0, u32::MAX),
    SockFilter::new(RETURN, 0, 0, 0),
];

/// A frame that was heard.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Who sent it, where the link has such addresses.
    pub mac: Option<[u8; 6]>,
    /// This machine sent it.
    pub own: bool,
    pub ethertype: u16,
    /// From the network header on.
    pub packet: &'a [u8],
}

/// Ears on one interface.
#[derive(Debug)]
pub struct Ears {
    socket: socket2::Socket,
    buffer: Vec<u8>,
}

impl Ears {
    /// # Errors
    /// No such interface, no CAP_NET_RAW.
    pub fn open(interface: &str) -> io::Result<Ears> {
        let index = nix::net::if_::if_nametoindex(interface)?;
        let index = libc::c_int::try_from(index).map_err(|_| io::ErrorKind::InvalidInput)?;
        // Protocol 0: nothing comes before there is a filter.
        let socket = socket2::Socket::new(socket2::Domain::PACKET, socket2::Type::DGRAM.cloexec(), None)?;
        socket.attach_filter(&ADVERTS)?;
        let _ = socket.set_recv_buffer_size(1 << 20);
        bind(&socket, index)?;
        hear_all_groups(&socket, index)?;
        Ok(Ears { socket, buffer: vec![0; 1 << 16] })
    }

    /// The next frame, or `None` when none came within `patience`.
    ///
    /// # Errors
    /// The interface has gone down or away.
    pub fn hear(&mut self, patience: Duration) -> io::Result<Option<Frame<'_>>> {
        // Zero would be for ever.
        self.socket.set_read_timeout(Some(patience.max(Duration::from_millis(1))))?;
        let (length, from) = match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut self.buffer) {
            Ok(heard) => heard,
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let Some((from, packet)) = from.zip(self.buffer.get(..length)) else { return Ok(None) };
        let ethertype = u16::from_be(from.protocol());
        if ![ETHERTYPE_IPV4, ETHERTYPE_IPV6].contains(&ethertype) {
            return Ok(None);
        }
        let mac = from.addr().filter(|_| from.halen() == 6);
        Ok(Some(Frame { mac, own: from.pkttype() == libc::PACKET_OUTGOING, ethertype, packet }))
    }
}

fn bind(socket: &socket2::Socket, index: libc::c_int) -> io::Result<()> {
    // SAFETY: sockaddr_ll is plain data, for which all zeroes is a value.
    let mut here: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    here.sll_family = libc::AF_PACKET as libc::c_ushort;
    here.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    here.sll_ifindex = index;
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the address is valid for the length given with it, and the call keeps neither.
    match unsafe { libc::bind(socket.as_raw_fd(), (&raw const here).cast(), length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn hear_all_groups(socket: &socket2::Socket, index: libc::c_int) -> io::Result<()> {
    let kind = libc::PACKET_MR_ALLMULTI as libc::c_ushort;
    let wanted = libc::packet_mreq { mr_ifindex: index, mr_type: kind, mr_alen: 0, mr_address: [0; 8] };
    let length = size_of::<libc::packet_mreq>() as libc::socklen_t;
    // SAFETY: the option's value is valid for the length given with it, and the call does not keep it.
    let done = unsafe {
        let option = libc::PACKET_ADD_MEMBERSHIP;
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, option, (&raw const wanted).cast(), length)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
