//! Sees what goes over a wire: adverts, gratuitous ARPs, unsolicited neighbour advertisements, each with the time at
//! which the kernel took it in.
//!
//! Listens on one interface of one namespace (the bridge of a lab sees everything) and changes nothing.

use crate::kernel::namespace;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::time::Duration;

const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VRRP: u8 = 112;
const AH: u8 = 51;
const ICMPV6: u8 = 58;

/// A frame that concerns a virtual router.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sighting {
    /// Wall clock, since the epoch, when the kernel took the frame in.
    pub at: Duration,
    pub mac: [u8; 6],
    pub what: What,
}

/// What was seen on a wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A VRRP packet; `bytes` from the VRRP header on.
    Advert { source: IpAddr, destination: IpAddr, ttl: u8, version: u8, vrid: u8, priority: u8, bytes: Box<[u8]> },
    /// An ARP packet about its sender's own address.
    GratuitousArp { address: Ipv4Addr },
    /// A neighbour advertisement to all nodes.
    NeighbourAdvertisement { address: Ipv6Addr },
}

/// One packet socket.
#[derive(Debug)]
pub struct Observer {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Observer {
    /// Listens on `interface` of `namespace`. Frames are kept by the kernel from here on.
    ///
    /// # Errors
    /// No such namespace or interface, or no permission.
    pub fn new(namespace: &str, interface: &str) -> io::Result<Observer> {
        namespace::inside(namespace, || {
            let index = nix::net::if_::if_nametoindex(interface)?;
            let all = Protocol::from(i32::from((libc::ETH_P_ALL as u16).to_be()));
            let socket = Socket::new(Domain::PACKET, Type::RAW.cloexec(), None)?;
            socket.attach_filter(&FILTER)?;
            let _ = setsockopt(&socket, sockopt::RcvBufForce, &(16 << 20));
            setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
            bind(&socket, index, all)?;
            Ok(Observer { socket, buffer: vec![0; 4096] })
        })
    }

    /// The next sighting; `None` when there is none within `patience`.
    ///
    /// # Errors
    /// The interface went away.
    pub fn next(&mut self, patience: Duration) -> io::Result<Option<Sighting>> {
        let end = std::time::Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(std::time::Instant::now());
            // Zero would mean for ever.
            self.socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            match self.receive() {
                Ok(Some(sighting)) => return Ok(Some(sighting)),
                Ok(None) => {}
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(e) => return Err(e),
            }
            if left.is_zero() {
                return Ok(None);
            }
        }
    }

    fn receive(&mut self) -> io::Result<Option<Sighting>> {
        let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
        let mut slices = [IoSliceMut::new(&mut self.buffer)];
        let message =
            recvmsg::<SockaddrStorage>(self.socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::empty())?;
        let mut at = Duration::ZERO;
        for item in message.cmsgs()? {
            if let ControlMessageOwned::ScmTimestampns(time) = item {
                at = Duration::new(
                    u64::try_from(time.tv_sec()).unwrap_or(0),
                    u32::try_from(time.tv_nsec()).unwrap_or(0),
                );
            }
        }
        let length = message.bytes;
        Ok(self.buffer.get(..length).and_then(|frame| sighting(at, frame)))
    }
}

/// Reads a frame; `None` if it concerns no virtual router.
pub fn sighting(at: Duration, frame: &[u8]) -> Option<Sighting> {
    let (head, payload) = frame.split_at_checked(14)?;
    let mac = head.get(6..12)?.try_into().ok()?;
    let kind = u16::from_be_bytes(head.get(12..14)?.try_into().ok()?);
    let what = match kind {
        ARP => arp(payload)?,
        IPV4 => ipv4(payload)?,
        IPV6 => ipv6(payload)?,
        _ => return None,
    };
    Some(Sighting { at, mac, what })
}

fn arp(packet: &[u8]) -> Option<What> {
    let sender: [u8; 4] = packet.get(14..18)?.try_into().ok()?;
    let target: [u8; 4] = packet.get(24..28)?.try_into().ok()?;
    (sender == target).then(|| What::GratuitousArp { address: sender.into() })
}

fn ipv4(packet: &[u8]) -> Option<What> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
    let destination: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    let length = usize::from(u16::from_be_bytes(packet.get(2..4)?.try_into().ok()?));
    let payload = packet.get(header..length.min(packet.len()))?;
    let payload = match *packet.get(9)? {
        VRRP => payload,
        // The authentication header tells its length in words, two too few.
        AH => payload.get((usize::from(*payload.get(1)?) + 2) * 4..)?,
        _ => return None,
    };
    advert(IpAddr::from(source), IpAddr::from(destination), *packet.get(8)?, payload)
}

fn ipv6(packet: &[u8]) -> Option<What> {
    let source: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
    let destination: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
    let payload = packet.get(40..)?;
    match *packet.get(6)? {
        VRRP => advert(IpAddr::from(source), IpAddr::from(destination), *packet.get(7)?, payload),
        ICMPV6 if *payload.first()? == 136 && destination == Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).octets() => {
            let target: [u8; 16] = payload.get(8..24)?.try_into().ok()?;
            Some(What::NeighbourAdvertisement { address: target.into() })
        }
        _ => None,
    }
}

fn advert(source: IpAddr, destination: IpAddr, ttl: u8, bytes: &[u8]) -> Option<What> {
    let [first, vrid, priority] = *bytes.first_chunk()?;
    Some(What::Advert { source, destination, ttl, version: first >> 4, vrid, priority, bytes: bytes.into() })
}

/// ARP, and of IP only what can be of interest: everything else on a busy wire stays in the kernel.
static FILTER: [SockFilter; 10] = [
    SockFilter::new(0x28, 0, 0, 12),
    SockFilter::new(0x15, 6, 0, ARP as u32),
    SockFilter::new(0x15, 0, 3, IPV4 as u32),
    SockFilter::new(0x30, 0, 0, 23),
    SockFilter::new(0x15, 3, 0, VRRP as u32),
    SockFilter::new(0x15, 2, 3, AH as u32),
    SockFilter::new(0x15, 1, 2, IPV6 as u32),
    SockFilter::new(0x30, 0, 0, 20),
    SockFilter::new(0x06, 0, 0, u32::MAX),
    SockFilter::new(0x06, 0, 0, 0),
];

fn bind(socket: &Socket, index: u32, protocol: Protocol) -> io::Result<()> {
    // SAFETY: sockaddr_ll is plain data, for which all zeroes is a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as libc::c_ushort;
    address.sll_protocol = u16::try_from(i32::from(protocol)).unwrap_or(0);
    address.sll_ifindex = libc::c_int::try_from(index).unwrap_or(0);
    // SAFETY: the address is valid for the length given with it.
    let done = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            std::ptr::from_ref(&address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if done != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
