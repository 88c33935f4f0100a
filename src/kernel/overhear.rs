//! A packet socket that hears every VRRP datagram on one interface, also those that are for others or that a firewall drops.
//!
//! Neither does the interface go into promiscuous mode nor is a group joined, so no switch and no router notices: the
//! interface is asked for all multicast ([`libc::PACKET_MR_ALLMULTI`]), which the kernel takes back when the socket is
//! closed. What the switch does not send here is not heard: unicast between two others.

use crate::wire::link::{ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use crate::wire::{PROTOCOL_AH, PROTOCOL_VRRP};
use socket2::SockFilter;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

const LOAD_BYTE: u16 = 0x30; // A = byte at k
const LOAD_BYTE_INDEXED: u16 = 0x50; // A = byte at X + k
const LOAD_HEADER_LENGTH: u16 = 0xb1; // X = 4 × (low nibble of byte k)
const AND: u16 = 0x54;
const JUMP_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
const VRRP: u32 = PROTOCOL_VRRP as u32;
const AH: u32 = PROTOCOL_AH as u32;

/// From the network header on: protocol 112 over IPv4, also behind an authentication header, and over IPv6. The kernel has
/// taken a VLAN's tag off before.
static ADVERTS: [SockFilter; 13] = [
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
    /// The VLAN that the frame is tagged with.
    pub vlan: Option<u16>,
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
        bind(&socket, libc::ETH_P_ALL, index)?;
        hear_all_groups(&socket, index)?;
        set::<libc::c_int>(&socket, libc::PACKET_AUXDATA, &1)?;
        Ok(Ears { socket, buffer: vec![0; 1 << 16] })
    }

    /// The next frame, or `None` when none came within `patience`.
    ///
    /// # Errors
    /// The interface has gone down or away.
    pub fn hear(&mut self, patience: Duration) -> io::Result<Option<Frame<'_>>> {
        // Zero would be for ever.
        self.socket.set_read_timeout(Some(patience.max(Duration::from_millis(1))))?;
        let (length, from, vlan) = match receive(&self.socket, &mut self.buffer) {
            Ok(heard) => heard,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let Some(packet) = self.buffer.get(..length) else { return Ok(None) };
        let ethertype = u16::from_be(from.sll_protocol);
        if ![ETHERTYPE_IPV4, ETHERTYPE_IPV6].contains(&ethertype) {
            return Ok(None);
        }
        let mac = from.sll_addr.first_chunk().copied().filter(|_| from.sll_halen == 6);
        Ok(Some(Frame { mac, vlan, own: from.sll_pkttype == libc::PACKET_OUTGOING, ethertype, packet }))
    }
}

/// What the kernel tells beside a packet, where such messages may stand.
#[repr(C, align(8))]
struct Beside([u8; 128]);

/// The next packet: its length, where it comes from, and the VLAN whose tag the kernel has taken off.
fn receive(socket: &socket2::Socket, buffer: &mut [u8]) -> io::Result<(usize, libc::sockaddr_ll, Option<u16>)> {
    let mut beside = Beside([0; 128]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: both are plain data, for which all zeroes is a value.
    let (mut from, mut message): (libc::sockaddr_ll, libc::msghdr) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    message.msg_name = (&raw mut from).cast();
    message.msg_namelen = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    (message.msg_control, message.msg_controllen) = (beside.0.as_mut_ptr().cast(), beside.0.len() as _);
    // SAFETY: every pointer in the message is valid for the length beside it, and the call keeps none.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    let mut vlan = None;
    // SAFETY: the kernel has filled the message, whose control part is still there; the macros stay within its length.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !next.is_null() {
        // SAFETY: a header that is not null is whole; what it holds is read without regard to its alignment.
        let one = unsafe { &*next };
        let whole = one.cmsg_len as usize >= size_of::<libc::cmsghdr>() + size_of::<libc::tpacket_auxdata>();
        if (one.cmsg_level, one.cmsg_type) == (libc::SOL_PACKET, libc::PACKET_AUXDATA) && whole {
            // SAFETY: as above, and the message is as long as the structure.
            let told: libc::tpacket_auxdata =
                unsafe { libc::CMSG_DATA(next).cast::<libc::tpacket_auxdata>().read_unaligned() };
            vlan = (told.tp_status & libc::TP_STATUS_VLAN_VALID != 0).then_some(told.tp_vlan_tci & 0x0FFF);
        }
        // SAFETY: as with the first one.
        next = unsafe { libc::CMSG_NXTHDR(&raw const message, next) };
    }
    Ok((length, from, vlan))
}

/// Has a packet socket hear `protocol` (`ETH_P_…`) on the interface of this number.
pub(super) fn bind(socket: &socket2::Socket, protocol: libc::c_int, index: libc::c_int) -> io::Result<()> {
    // SAFETY: sockaddr_ll is plain data, for which all zeroes is a value.
    let mut here: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    here.sll_family = libc::AF_PACKET as libc::c_ushort;
    here.sll_protocol = (protocol as u16).to_be();
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
    set(socket, libc::PACKET_ADD_MEMBERSHIP, &wanted)
}

/// Sets an option of the packet layer.
fn set<T>(socket: &socket2::Socket, option: libc::c_int, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the option's value is valid for the length given with it, and the call does not keep it.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, option, std::ptr::from_ref(value).cast(), length)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
