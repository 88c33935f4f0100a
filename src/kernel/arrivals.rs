//! Datagrams, many in one system call: each with its sender, its TTL, its interface and the kernel's time of arrival.
//!
//! Bytes and control messages land in buffers that are made once; nothing is allocated for a datagram. Nothing of their
//! meaning is known here.

use super::clock;
use crate::time::{Interval, Time};
use socket2::Socket;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::os::fd::AsRawFd;

/// Datagrams of one system call.
const MANY: usize = 16;
/// Datagrams of the first call of a turn: nearly always there is one, and then there is no need to make room for the others.
const FIRST_CALL: usize = 2;
/// Room for an address, a TTL and a stamp, with what the kernel puts around them.
const CONTROL: usize = 192;
/// A stamp that is older than this, and than the last look into the sockets, says that the wall clock was set meanwhile.
const OLDEST: Interval = Interval::from_secs(10);

/// What the kernel says of a datagram beside its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Envelope {
    pub source: IpAddr,
    pub destination: Option<IpAddr>,
    /// 0 if it was not told.
    pub ifindex: u32,
    pub ttl: Option<u8>,
    /// It was longer than what there is room for; the rest is lost.
    pub cut: bool,
}

/// One datagram, with what its reader has made of the envelope.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a, M> {
    pub at: Time,
    pub meta: M,
    pub bytes: &'a [u8],
}

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL]);

/// The datagrams of one turn.
pub struct Arrivals<M> {
    /// Longest datagram that is read whole, bytes.
    longest: usize,
    /// Where the kernel puts them: [`MANY`] × `longest`. What is never reached never takes memory.
    buffers: Vec<u8>,
    control: Box<[Control; MANY]>,
    names: Box<[libc::sockaddr_storage; MANY]>,
    /// The last call has filled all of its room.
    burst: bool,
    /// When this turn began, and the one before: what is there now came later than that.
    began: Time,
    before: Time,
    /// What is kept, and where each datagram stands in `bytes`.
    list: Vec<(Time, M, Range<usize>)>,
    bytes: Vec<u8>,
}

impl<M: Copy> Arrivals<M> {
    /// `longest`: bytes of the longest datagram that is read whole.
    pub fn new(longest: usize) -> Arrivals<M> {
        // SAFETY: sockaddr_storage is plain data, for which all zeroes is a value.
        let name: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        Arrivals {
            longest,
            buffers: vec![0; MANY * longest],
            control: Box::new([Control([0; CONTROL]); MANY]),
            names: Box::new([name; MANY]),
            burst: false,
            began: clock::now(),
            before: clock::now(),
            list: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// How many datagrams it holds.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Holds none from here on.
    pub fn clear(&mut self) {
        self.before = std::mem::replace(&mut self.began, clock::now());
        self.list.clear();
        self.bytes.clear();
    }

    /// In the order of their arrival, whatever socket they came through.
    pub fn in_order(&mut self) -> impl Iterator<Item = Arrival<'_, M>> {
        // Not the stable sort, which takes memory for many.
        self.list.sort_unstable_by_key(|(at, _, place)| (*at, place.start));
        let bytes = &self.bytes;
        self.list.iter().map(|(at, meta, place)| {
            let bytes = bytes.get(place.clone()).unwrap_or_default();
            Arrival { at: *at, meta: *meta, bytes }
        })
    }

    /// Reads once, without waiting, and keeps what `keep` answers something for. True when there may be more.
    pub fn read(&mut self, socket: &Socket, keep: impl FnMut(&Envelope) -> Option<M>) -> bool {
        let full = if self.burst { self.call::<MANY>(socket, keep) } else { self.call::<FIRST_CALL>(socket, keep) };
        self.burst = full;
        full
    }

    /// [`Arrivals::read`] with room for `N` datagrams.
    fn call<const N: usize>(&mut self, socket: &Socket, mut keep: impl FnMut(&Envelope) -> Option<M>) -> bool {
        // SAFETY: plain data; every field that the kernel reads is set below.
        let mut headers: [libc::mmsghdr; N] = unsafe { std::mem::zeroed() };
        // SAFETY: plain data.
        let mut vectors: [libc::iovec; N] = unsafe { std::mem::zeroed() };
        let room = self.buffers.chunks_exact_mut(self.longest).zip(self.control.iter_mut()).zip(self.names.iter_mut());
        for ((header, vector), ((bytes, control), name)) in headers.iter_mut().zip(&mut vectors).zip(room) {
            *vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
            let message = &mut header.msg_hdr;
            message.msg_iov = vector;
            message.msg_iovlen = 1;
            message.msg_name = std::ptr::from_mut(name).cast();
            message.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            message.msg_control = control.0.as_mut_ptr().cast();
            message.msg_controllen = CONTROL as _;
        }
        // SAFETY: every header points to buffers of the stated sizes, which live until the call has returned.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                N as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let Ok(count) = usize::try_from(count) else {
            // An error that an earlier packet of ours provoked, or one that the link watch tells better (network down).
            return std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted;
        };
        let wall = clock::wall();
        let oldest = wall.at.since(self.before).max(OLDEST);
        let parts = self.buffers.chunks_exact(self.longest).zip(self.names.iter());
        for (header, (bytes, name)) in headers.iter().take(count).zip(parts) {
            let Some(source) = address(name) else { continue };
            let cut = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            let mut envelope = Envelope { source, destination: None, ifindex: 0, ttl: None, cut };
            let stamp = told(&header.msg_hdr, &mut envelope);
            let at = stamp.and_then(|stamp| arrival(stamp, wall.at, wall.unix_micros, oldest)).unwrap_or(wall.at);
            if let Some(meta) = keep(&envelope) {
                let start = self.bytes.len();
                let length = (header.msg_len as usize).min(self.longest);
                self.bytes.extend_from_slice(bytes.get(..length).unwrap_or_default());
                self.list.push((at, meta, start..self.bytes.len()));
            }
        }
        count == N
    }
}

/// What the kernel says beside the bytes; answers its stamp, microseconds since the epoch.
fn told(message: &libc::msghdr, envelope: &mut Envelope) -> Option<u64> {
    let mut stamp = None;
    // SAFETY: the kernel has filled the control buffer of this message up to msg_controllen.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !next.is_null() {
        // SAFETY: not null, so it points to a whole header within the buffer; data is read unaligned and only where the
        // kernel says that there is so much.
        unsafe {
            let (level, kind, data) = ((*next).cmsg_level, (*next).cmsg_type, libc::CMSG_DATA(next));
            let room = ((*next).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
            match (level, kind) {
                (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT)
                    if room >= size_of::<libc::c_int>() =>
                {
                    envelope.ttl = u8::try_from(data.cast::<libc::c_int>().read_unaligned()).ok();
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) if room >= size_of::<libc::in_pktinfo>() => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    envelope.ifindex = u32::try_from(info.ipi_ifindex).unwrap_or(0);
                    envelope.destination = Some(IpAddr::V4(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes())));
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if room >= size_of::<libc::in6_pktinfo>() => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    envelope.ifindex = info.ipi6_ifindex;
                    envelope.destination = Some(IpAddr::V6(info.ipi6_addr.s6_addr.into()));
                }
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) if room >= size_of::<libc::timespec>() => {
                    let time = data.cast::<libc::timespec>().read_unaligned();
                    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
                    let micros = u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000;
                    stamp = Some(seconds.saturating_mul(1_000_000).saturating_add(micros));
                }
                _ => {}
            }
            next = libc::CMSG_NXTHDR(message, next);
        }
    }
    stamp
}

/// Stamps are of the wall clock, the engine lives by the monotonic one. What lies ahead or far back says that the wall
/// clock was set meanwhile, and is not believed.
fn arrival(stamp: u64, now: Time, wall: u64, oldest: Interval) -> Option<Time> {
    let age = Interval::from_micros(wall.checked_sub(stamp)?);
    (age <= oldest).then(|| now.before(age))
}

fn address(name: &libc::sockaddr_storage) -> Option<IpAddr> {
    let pointer = std::ptr::from_ref(name);
    // SAFETY: sockaddr_storage has room and alignment for every kind of address, and its family says which one it is.
    unsafe {
        match i32::from(name.ss_family) {
            libc::AF_INET => {
                let v4 = &*pointer.cast::<libc::sockaddr_in>();
                Some(IpAddr::V4(Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes())))
            }
            libc::AF_INET6 => {
                let v6 = &*pointer.cast::<libc::sockaddr_in6>();
                Some(IpAddr::V6(Ipv6Addr::from(v6.sin6_addr.s6_addr)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_believed_as_far_back_as_nobody_has_looked() {
        let (now, wall) = (Time::from_micros(100_000_000), 5_000_000_000);
        let at = |age: u64, oldest: Interval| arrival(wall - age, now, wall, oldest);
        assert_eq!(at(3_000_000, OLDEST), Some(Time::from_micros(97_000_000)));
        assert_eq!(at(11_000_000, OLDEST), None, "the clock was set");
        assert_eq!(at(11_000_000, Interval::from_secs(12)), Some(Time::from_micros(89_000_000)));
        assert_eq!(arrival(wall + 1, now, wall, OLDEST), None);
    }
}
