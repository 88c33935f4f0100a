//! The sockets of BFD and the one place where its thread waits: listening sockets, a socket to send from for each
//! session, a bell and the time.
//!
//! Owned by the bfd thread. Nothing here waits for anything but [`Ground::wait`], and nothing takes the kernel's
//! configuration lock: no group is joined, no interface is asked. A source port is kept for a session's life, over reloads
//! and over `vipctl upgrade` ([`Ground::hand_over`]). Datagrams are read many at once, each with the kernel's time of its
//! arrival; nothing of their meaning is known here.

mod holder;
mod stand_in;

pub use holder::holder;
pub use stand_in::{Relay, StandIn, Word};

use super::arrivals::{Arrivals, Envelope};
use super::wait::{Bell, Waiting};
use crate::bfd::io::{LENGTH, Outlet, RxMeta, SessionId};
use crate::time::Time;
use crate::wire::bfd::{FIRST_SOURCE_PORT, MULTIHOP_PORT, PORT};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};

/// Internetwork control, the class of routing protocols (RFC 4594).
const CLASS: u32 = 0xC0;
/// TC_PRIO_INTERACTIVE: packets leave the queue before bulk traffic; needs no capability.
const PRIORITY: u32 = 6;
/// Receive buffer of a listening socket: what comes while the thread is stopped for a moment must not be lost.
const BUFFER: u32 = 1 << 20;

/// Longest datagram that is read whole: far more than any BFD packet, authenticated ones included.
const LONGEST: usize = 256;

/// The datagrams of one turn.
pub type Batch = Arrivals<RxMeta>;

/// Room for them.
pub fn batch() -> Batch {
    Arrivals::new(LONGEST)
}

/// What ended a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Woken {
    pub datagrams: bool,
    pub bell: bool,
}

#[derive(Debug)]
struct Listener {
    multihop: bool,
    socket: Socket,
    ready: bool,
}

#[derive(Debug)]
struct Outgoing {
    socket: Socket,
    to: SockAddr,
    port: u16,
}

/// Descriptors that outlive this program, by number.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Kept {
    /// (multihop, descriptor)
    pub listeners: Vec<(bool, RawFd)>,
    /// (session, descriptor, source port)
    pub outgoing: Vec<(SessionId, RawFd, u16)>,
}

/// See the module.
#[derive(Debug)]
pub struct Ground {
    waiting: Waiting,
    listeners: BTreeMap<u64, Listener>,
    next_token: u64,
    outgoing: BTreeMap<SessionId, Outgoing>,
    /// Sockets that another program of this process left, until their sessions ask for them.
    inherited: BTreeMap<SessionId, (Socket, u16)>,
    /// Where the search for a free port begins.
    port: u16,
}

impl Ground {
    /// # Errors
    /// Out of descriptors or memory.
    pub fn new(bell: Bell, random: u64) -> io::Result<Ground> {
        let span = u64::from(u16::MAX - FIRST_SOURCE_PORT) + 1;
        Ok(Ground {
            waiting: Waiting::new(bell)?,
            listeners: BTreeMap::new(),
            next_token: 0,
            outgoing: BTreeMap::new(),
            inherited: BTreeMap::new(),
            port: FIRST_SOURCE_PORT.saturating_add(u16::try_from(random % span).unwrap_or(0)),
        })
    }

    /// Waits until something is there or `due` has come.
    ///
    /// # Errors
    /// None in practice; those of epoll_pwait2(2).
    pub fn wait(&mut self, due: Time) -> io::Result<Woken> {
        let mut datagrams = false;
        let ended = self.waiting.wait(due, |token| {
            if let Some(listener) = self.listeners.get_mut(&token) {
                listener.ready = true;
                datagrams = true;
            }
        })?;
        Ok(Woken { datagrams, bell: ended.rung })
    }

    /// Reads what is there, at most `room` datagrams; true when everything that was there has been read.
    pub fn receive(&mut self, batch: &mut Batch, room: usize) -> bool {
        batch.clear();
        for listener in self.listeners.values_mut() {
            while listener.ready {
                if batch.len() >= room {
                    return false;
                }
                let multihop = listener.multihop;
                listener.ready = batch.read(&listener.socket, |envelope| {
                    let Envelope { source, destination, ifindex, ttl, cut } = *envelope;
                    Some(RxMeta { source, destination, ifindex, ttl, multihop, cut })
                });
            }
        }
        true
    }

    /// Listens at the port of single-hop or multihop sessions, in both families. IPv6 may be missing on this machine.
    ///
    /// # Errors
    /// Somebody else has the port, or no descriptor is left.
    pub fn listen(&mut self, multihop: bool) -> io::Result<()> {
        if self.listeners.values().any(|listener| listener.multihop == multihop) {
            return Ok(());
        }
        let v4 = open_listener(Domain::IPV4, multihop)?;
        let v6 = match open_listener(Domain::IPV6, multihop) {
            Ok(socket) => Some(socket),
            Err(error) if error.raw_os_error() == Some(libc::EADDRINUSE) => return Err(error),
            Err(_) => None,
        };
        for socket in [Some(v4), v6].into_iter().flatten() {
            self.watch(multihop, socket)?;
        }
        Ok(())
    }

    fn watch(&mut self, multihop: bool, socket: Socket) -> io::Result<()> {
        let token = self.next_token;
        self.next_token += 1;
        self.waiting.add(&socket, token)?;
        self.listeners.insert(token, Listener { multihop, socket, ready: false });
        Ok(())
    }

    /// Listens no more.
    pub fn unlisten(&mut self, multihop: bool) {
        self.listeners.retain(|_, listener| listener.multihop != multihop);
    }

    /// A socket for a session, or the one that it has, with these settings. Answers the source port.
    ///
    /// # Errors
    /// No free port, no descriptor.
    pub fn open(&mut self, session: SessionId, outlet: &Outlet) -> io::Result<u16> {
        let (socket, port) = match (self.outgoing.remove(&session), self.inherited.remove(&session)) {
            (Some(open), _) => (open.socket, open.port),
            (None, Some(kept)) => kept,
            (None, None) => self.bind_new(outlet)?,
        };
        set_ttl(&socket, outlet)?;
        let destination = if outlet.multihop { MULTIHOP_PORT } else { PORT };
        let to = endpoint(outlet.neighbor, destination, outlet.scope).into();
        self.outgoing.insert(session, Outgoing { socket, to, port });
        Ok(port)
    }

    /// Closes the socket that a session sends from.
    pub fn close(&mut self, session: SessionId) {
        self.outgoing.remove(&session);
    }

    fn bind_new(&mut self, outlet: &Outlet) -> io::Result<(Socket, u16)> {
        let domain = if outlet.neighbor.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
        // Nothing is read from it.
        socket.attach_filter(super::filter::nothing())?;
        let _ = socket.set_recv_buffer_size(0);
        if outlet.neighbor.is_ipv4() {
            socket.set_tos_v4(CLASS)?;
            socket.set_freebind_v4(true)?;
        } else {
            socket.set_tclass_v6(CLASS)?;
            socket.set_freebind_v6(true)?;
            socket.set_only_v6(true)?;
        }
        // After the class, which sets a priority of its own.
        socket.set_priority(PRIORITY)?;
        let unspecified = match outlet.neighbor {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let source = outlet.source.unwrap_or(unspecified);
        let mut failure = io::Error::from(io::ErrorKind::AddrInUse);
        for _ in FIRST_SOURCE_PORT..=u16::MAX {
            let port = self.port;
            self.port = port.checked_add(1).unwrap_or(FIRST_SOURCE_PORT);
            if self.outgoing.values().any(|other| other.port == port)
                || self.inherited.values().any(|(_, other)| *other == port)
            {
                continue;
            }
            match socket.bind(&endpoint(source, port, outlet.scope).into()) {
                Ok(()) => return Ok((socket, port)),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => failure = error,
                Err(error) => return Err(error),
            }
        }
        Err(failure)
    }

    /// Sends one packet; never waits.
    ///
    /// # Errors
    /// `NotConnected` without a socket; otherwise what sendto(2) answers.
    pub fn send(&self, session: SessionId, bytes: &[u8; LENGTH]) -> io::Result<()> {
        let outgoing = self.outgoing.get(&session).ok_or(io::ErrorKind::NotConnected)?;
        outgoing.socket.send_to_with_flags(bytes, &outgoing.to, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL).map(|_| ())
    }

    /// For the process that speaks for these sessions while this one has no program: see [`StandIn`].
    pub fn relay(&self, session: SessionId) -> Option<Relay> {
        let outgoing = self.outgoing.get(&session)?;
        Some(Relay { descriptor: outgoing.socket.as_raw_fd(), to: outgoing.to.clone() })
    }

    /// Makes the descriptors outlive exec(2) and forgets them.
    pub fn hand_over(&mut self) -> Kept {
        let keep = |socket: Socket| {
            let _ = socket.set_cloexec(false);
            let descriptor = socket.as_raw_fd();
            std::mem::forget(socket);
            descriptor
        };
        let listeners = std::mem::take(&mut self.listeners).into_values();
        let outgoing = std::mem::take(&mut self.outgoing);
        Kept {
            listeners: listeners.map(|listener| (listener.multihop, keep(listener.socket))).collect(),
            outgoing: outgoing.into_iter().map(|(session, one)| (session, keep(one.socket), one.port)).collect(),
        }
    }

    /// Takes what another program of this process has left.
    ///
    /// # Safety
    /// The descriptors are open, nobody else has taken them, and nobody will.
    pub unsafe fn inherit(&mut self, kept: &Kept) {
        let take = |descriptor: RawFd| {
            // A number that is none of ours must not be closed by accident.
            // SAFETY: a number and nothing else; a descriptor that is not open is an error.
            let known = descriptor > 2 && unsafe { libc::fcntl(descriptor, libc::F_GETFD) } >= 0;
            // SAFETY: open, as has just been seen, and ours alone, as the caller promises.
            let socket = known.then(|| unsafe { Socket::from_raw_fd(descriptor) })?;
            let _ = socket.set_cloexec(true);
            Some(socket)
        };
        for (multihop, descriptor) in &kept.listeners {
            if let Some(socket) = take(*descriptor) {
                let _ = self.watch(*multihop, socket);
            }
        }
        for (session, descriptor, port) in &kept.outgoing {
            if let Some(socket) = take(*descriptor) {
                self.inherited.insert(*session, (socket, *port));
            }
        }
        // What waits in them is read before anything is done.
        for listener in self.listeners.values_mut() {
            listener.ready = true;
        }
    }

    /// Sockets whose sessions are no more are closed.
    pub fn forget_inherited(&mut self) {
        self.inherited.clear();
    }

    /// Descriptors that are listened at: single-hop, multihop.
    pub fn listening(&self) -> [Vec<RawFd>; 2] {
        let of = |kind: bool| {
            let listeners = self.listeners.values().filter(|listener| listener.multihop == kind);
            listeners.map(|listener| listener.socket.as_raw_fd()).collect()
        };
        [of(false), of(true)]
    }

    /// Descriptor that a session sends from.
    pub fn descriptor(&self, session: SessionId) -> Option<RawFd> {
        self.outgoing.get(&session).map(|outgoing| outgoing.socket.as_raw_fd())
    }
}

fn set_ttl(socket: &Socket, outlet: &Outlet) -> io::Result<()> {
    if outlet.neighbor.is_ipv4() {
        socket.set_ttl_v4(outlet.ttl.into())
    } else {
        socket.set_unicast_hops_v6(outlet.ttl.into())
    }
}

fn endpoint(address: IpAddr, port: u16, scope: u32) -> SocketAddr {
    match address {
        IpAddr::V4(v4) => SocketAddr::V4(SocketAddrV4::new(v4, port)),
        IpAddr::V6(v6) => {
            let scope = if v6.is_unicast_link_local() { scope } else { 0 };
            SocketAddr::V6(SocketAddrV6::new(v6, port, 0, scope))
        }
    }
}

fn open_listener(domain: Domain, multihop: bool) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    super::buffer::force(&socket, BUFFER);
    let any = if domain == Domain::IPV4 {
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?;
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    } else {
        socket.set_only_v6(true)?;
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        socket.set_recv_hoplimit_v6(true)?;
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    };
    // Without stamps datagrams count from the moment at which they are read: no reason to fail.
    let _ = setsockopt(&socket, sockopt::ReceiveTimestampns, &true);
    socket.bind(&endpoint(any, if multihop { MULTIHOP_PORT } else { PORT }, 0).into())?;
    Ok(socket)
}
