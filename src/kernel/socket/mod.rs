//! Raw VRRP sockets: one per distinct [`Port`], owned by the engine thread, never blocking.
//!
//! The kernel thread opens them ([`open`]) and drops them, since the kernel takes RTNL for both; here they are heard and
//! spoken through. What is called for is said with [`Sockets::want`]; what came of it comes with [`Sockets::answer`].
//!
//! All sockets hang in one epoll instance, and that one descriptor hangs in the tokio runtime. So a wake-up costs one
//! system call however many sockets there are, and each readable socket gives one datagram a round: a flood on one
//! interface cannot starve another. Nothing is parsed here beyond where a datagram came from; a classic BPF filter in
//! the kernel (see [`crate::kernel::filter`]) keeps out what cannot be an advert at all.

mod open;

pub use open::{Opening, SocketSettings, open};

use super::buffer;
use super::readiness::readable;
use crate::spec::InstanceId;
use crate::time::{Interval, Time};
use crate::vrrp::io::{Port, RxMeta, SocketState, Transmit};
use crate::wire::Family;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrStorage, recvmsg, sendmsg,
};
use rustix::event::{Timespec, epoll};
use socket2::Socket;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// All sockets of the engine thread.
#[derive(Debug)]
pub struct Sockets {
    settings: SocketSettings,
    /// `kernel_rx_buf_size` of the instances that have one.
    own_buffers: BTreeMap<InstanceId, u32>,
    epoll: AsyncFd<OwnedFd>,
    open: BTreeMap<u64, Opened>,
    by_port: HashMap<Port, u64>,
    by_instance: HashMap<InstanceId, Vec<u64>>,
    /// What is called for, and by whom.
    wanted: HashMap<Port, Vec<InstanceId>>,
    /// Asked for since then, and not answered.
    asked: HashMap<Port, Time>,
    /// Could not be opened when it was last tried, and why.
    refused: HashMap<Port, Box<str>>,
    /// Sockets that have something, in the order in which they are read.
    ready: VecDeque<u64>,
    next_token: u64,
    control: Vec<u8>,
    arrived: Option<Time>,
}

#[derive(Debug)]
struct Opened {
    port: Port,
    socket: Arc<Socket>,
    /// What its instances ask for.
    buffer: Option<u32>,
}

/// What the kernel thread has to do so that the sockets are those that are called for.
#[derive(Debug, Default)]
pub struct Changes {
    pub open: Vec<Opening>,
    /// To be dropped there.
    pub close: Vec<Arc<Socket>>,
}

impl Sockets {
    /// Without any socket yet. Must be called inside the tokio runtime that will receive.
    ///
    /// # Errors
    /// Out of descriptors or memory.
    pub fn new(settings: SocketSettings) -> io::Result<Sockets> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Sockets {
            settings,
            own_buffers: BTreeMap::new(),
            epoll: readable(epoll)?,
            open: BTreeMap::new(),
            by_port: HashMap::new(),
            by_instance: HashMap::new(),
            wanted: HashMap::new(),
            asked: HashMap::new(),
            refused: HashMap::new(),
            ready: VecDeque::new(),
            next_token: 0,
            control: nix::cmsg_space!(libc::in6_pktinfo, libc::c_int, libc::in_pktinfo, libc::c_int, libc::timespec),
            arrived: None,
        })
    }

    /// What `global_defs` says, for whoever opens.
    pub const fn settings(&self) -> SocketSettings {
        self.settings
    }

    /// What each instance asks for itself (`kernel_rx_buf_size`, bytes); takes hold at the next [`Sockets::want`].
    pub fn own_buffers(&mut self, own: BTreeMap<InstanceId, u32>) {
        self.own_buffers = own;
    }

    /// From here on these are called for. Keeps what is open (with what is queued in it), stops listening to what is not
    /// wanted any more, and answers what is to be opened and closed; what was refused is among it once more. `mtu` is
    /// that of an interface by index.
    pub fn want(&mut self, ports: &[(Port, Vec<InstanceId>)], mtu: impl Fn(u32) -> Option<u32>, now: Time) -> Changes {
        let mut changes = Changes::default();
        self.by_instance.clear();
        self.wanted = ports.iter().cloned().collect();
        for (port, instances) in ports {
            let buffer = buffer::of_port(port, instances, &self.own_buffers, &self.settings, &mtu);
            match self.by_port.get(port).copied() {
                Some(token) => {
                    self.resize(token, buffer);
                    self.give(token, instances);
                }
                None if self.asked.contains_key(port) => {}
                None => {
                    self.asked.insert(port.clone(), now);
                    changes.open.push(Opening { port: port.clone(), buffer });
                }
            }
        }
        let wanted = &self.wanted;
        self.refused.retain(|port, _| wanted.contains_key(port));
        let gone = self
            .by_port
            .extract_if(|port, _| !wanted.contains_key(port))
            .filter_map(|(_, token)| self.open.remove(&token));
        for opened in gone {
            // The kernel thread holds it until it is closed, and it must not be heard until then.
            let _ = epoll::delete(self.epoll.get_ref(), &opened.socket);
            changes.close.push(opened.socket);
        }
        changes
    }

    /// What came of an [`Opening`]. Answers a socket that nobody wants, which is to be closed elsewhere.
    pub fn answer(&mut self, opening: Opening, outcome: Result<Arc<Socket>, Box<str>>) -> Option<Arc<Socket>> {
        let Opening { port, buffer } = opening;
        self.asked.remove(&port);
        let Some(instances) = self.wanted.get(&port).filter(|_| !self.by_port.contains_key(&port)).cloned() else {
            return outcome.ok();
        };
        let added = outcome.and_then(|socket| {
            let token = epoll::EventData::new_u64(self.next_token);
            let added = epoll::add(self.epoll.get_ref(), &socket, token, epoll::EventFlags::IN);
            added.map(|()| socket).map_err(|e| io::Error::from(e).to_string().into())
        });
        match added {
            Ok(socket) => {
                let token = self.next_token;
                self.next_token += 1;
                self.refused.remove(&port);
                self.by_port.insert(port.clone(), token);
                self.open.insert(token, Opened { port, socket, buffer });
                self.give(token, &instances);
            }
            Err(reason) => drop(self.refused.insert(port, reason)),
        }
        None
    }

    fn give(&mut self, token: u64, instances: &[InstanceId]) {
        for instance in instances {
            self.by_instance.entry(*instance).or_default().push(token);
        }
    }

    /// Who hears and speaks through a port that is called for.
    pub fn instances(&self, port: &Port) -> &[InstanceId] {
        self.wanted.get(port).map(Vec::as_slice).unwrap_or_default()
    }

    /// What has become of a port that is called for. One that is asked for longer than `patience` counts as refused.
    pub fn state(&self, port: &Port, now: Time, patience: Interval) -> SocketState {
        if self.by_port.contains_key(port) {
            return SocketState::Open;
        }
        match (self.refused.get(port), self.asked.get(port)) {
            (Some(reason), _) => SocketState::Refused { reason: reason.clone() },
            (None, Some(since)) if now.since(*since) > patience => {
                SocketState::Refused { reason: format!("not opened within {} s", patience.as_secs()).into() }
            }
            _ => SocketState::Opening,
        }
    }

    /// Is there a port that is not open?
    pub fn lacks(&self) -> bool {
        self.by_port.len() < self.wanted.len()
    }

    /// The number of the socket that is open for `port`, for display.
    pub fn descriptor(&self, port: &Port) -> Option<i32> {
        let opened = self.by_port.get(port).and_then(|token| self.open.get(token))?;
        Some(opened.socket.as_raw_fd())
    }

    /// How many sockets are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Sends one datagram through the socket of its instance; never waits.
    ///
    /// # Errors
    /// `NotConnected` if the instance has no socket; otherwise what sendmsg(2) answers.
    pub fn send(&mut self, transmit: &Transmit) -> io::Result<()> {
        let opened = self.socket_for(transmit).ok_or(io::ErrorKind::NotConnected)?;
        let payload = [IoSlice::new(&transmit.bytes)];
        let mut flags = MsgFlags::MSG_DONTWAIT;
        if transmit.destination.is_multicast() {
            flags |= MsgFlags::from_bits_retain(libc::MSG_DONTROUTE);
        }
        let index = if transmit.ifindex == 0 { opened.port.ifindex.unwrap_or(0) } else { transmit.ifindex };
        let fd = opened.socket.as_raw_fd();
        match (transmit.destination, transmit.source) {
            (IpAddr::V4(destination), IpAddr::V4(_)) => {
                // The source stands in the header that we made; only the interface may have to be said.
                let info = libc::in_pktinfo {
                    ipi_ifindex: libc::c_int::try_from(index).unwrap_or(0),
                    ipi_spec_dst: libc::in_addr { s_addr: 0 },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                let control = [ControlMessage::Ipv4PacketInfo(&info)];
                let control = if index == 0 { &control[..0] } else { &control[..] };
                let to = SockaddrIn::from(SocketAddrV4::new(destination, 0));
                sendmsg(fd, &payload, control, flags, Some(&to))?;
            }
            (IpAddr::V6(destination), IpAddr::V6(source)) => {
                let info =
                    libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: source.octets() }, ipi6_ifindex: index };
                let hops = libc::c_int::from(transmit.ttl.unwrap_or(0));
                let control = [ControlMessage::Ipv6PacketInfo(&info), ControlMessage::Ipv6HopLimit(&hops)];
                let control = if transmit.ttl.is_none() { &control[..1] } else { &control[..] };
                let scope = if is_scoped(&IpAddr::V6(destination)) { index } else { 0 };
                let to = SockaddrIn6::from(SocketAddrV6::new(destination, 0, 0, scope));
                sendmsg(fd, &payload, control, flags, Some(&to))?;
            }
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        }
        Ok(())
    }

    /// Waits until some socket has something. Cancel-safe. Waits for ever without sockets.
    ///
    /// # Errors
    /// Only if the runtime is shutting down.
    pub async fn readable(&mut self) -> io::Result<()> {
        if !self.ready.is_empty() {
            return Ok(());
        }
        loop {
            let mut guard = self.epoll.readable().await?;
            match guard.try_io(|epoll| poll_ready(epoll.get_ref(), &mut self.ready)) {
                Ok(result) => return result,
                Err(_nothing_there) => {}
            }
        }
    }

    /// When the datagram that [`Sockets::try_recv`] answered last came in, by the kernel's stamp, if there is a credible
    /// one: a process that was stalled still learns what it would have heard in time.
    pub fn arrived(&self) -> Option<Time> {
        self.arrived
    }

    /// The next datagram that is already there, taking the sockets in turn; `None` when all are empty. IPv4: the packet
    /// from its IP header on; IPv6: the payload. A datagram longer than `buf` is cut.
    ///
    /// # Errors
    /// A socket error (network down …); it concerns one socket, go on with the next call.
    pub fn try_recv(&mut self, buf: &mut [u8]) -> io::Result<Option<(usize, RxMeta)>> {
        loop {
            let Some(token) = self.ready.pop_front() else {
                match poll_ready(self.epoll.get_ref(), &mut self.ready) {
                    Ok(()) => continue,
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                        // The runtime need not look again; what comes from here on it will be told.
                        let _ = self.epoll.try_io::<()>(Interest::READABLE, |_| Err(e.kind().into()));
                        return Ok(None);
                    }
                    Err(e) => return Err(e),
                }
            };
            let Some(opened) = self.open.get(&token) else { continue };
            match receive(opened, buf, &mut self.control) {
                Ok((length, meta, arrived)) => {
                    self.arrived = arrived;
                    if !self.reaches_a_closer_socket(opened, &meta) {
                        return Ok(Some((length, meta)));
                    }
                }
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// [`Sockets::readable`] and [`Sockets::try_recv`] in one. Cancel-safe.
    ///
    /// # Errors
    /// As [`Sockets::try_recv`].
    pub async fn recv(&mut self, buf: &mut [u8]) -> io::Result<(usize, RxMeta)> {
        loop {
            if let Some(got) = self.try_recv(buf)? {
                return Ok(got);
            }
            self.readable().await?;
        }
    }

    /// The kernel gives a datagram to every raw socket that fits. A unicast one is told once: by the socket bound to its
    /// destination, and among those by the one bound to its interface.
    fn reaches_a_closer_socket(&self, here: &Opened, meta: &RxMeta) -> bool {
        let closeness = |port: &Port| {
            let fits = port.family == here.port.family
                && port.protocol == here.port.protocol
                && port.ifindex.is_none_or(|index| index == meta.ifindex)
                && port.local.is_none_or(|local| local == meta.destination)
                && (port.group.is_none() || port.ifindex.is_some());
            fits.then(|| (port.local.is_some(), port.ifindex.is_some()))
        };
        if meta.destination.is_multicast() {
            return false;
        }
        let mine = closeness(&here.port);
        self.open.values().any(|other| other.port != here.port && closeness(&other.port) > mine)
    }

    /// Of the instance's sockets the one on the interface to send from; else one of anybody on that interface; else
    /// any of the instance's.
    fn socket_for(&self, transmit: &Transmit) -> Option<&Opened> {
        let family = Family::of(&transmit.destination);
        let own = || {
            self.by_instance
                .get(&transmit.instance)
                .into_iter()
                .flatten()
                .filter_map(|token| self.open.get(token))
                .filter(|opened| opened.port.family == family)
        };
        let on_it = |opened: &&Opened| transmit.ifindex != 0 && opened.port.ifindex == Some(transmit.ifindex);
        let same_protocol = |a: &Opened| own().next().is_none_or(|mine| mine.port.protocol == a.port.protocol);
        own()
            .find(on_it)
            .or_else(|| {
                let mut others = self.open.values().filter(|opened| opened.port.family == family);
                others.find(|opened| on_it(opened) && same_protocol(opened))
            })
            .or_else(|| own().next())
    }

    fn resize(&mut self, token: u64, wanted: Option<u32>) {
        if let Some(opened) = self.open.get_mut(&token)
            && let Some(bytes) = wanted.filter(|_| wanted != opened.buffer)
        {
            buffer::set(&opened.socket, bytes, true);
            opened.buffer = wanted;
        }
    }
}

/// Does this machine itself refuse to send (a firewall, a source address that it does not take)? Otherwise it is the
/// network that leads nowhere at present: no route, a dead host, an interface without carrier.
pub fn is_own_refusal(error: &io::Error) -> bool {
    const OF_THE_NETWORK: [i32; 4] = [libc::ENETUNREACH, libc::EHOSTUNREACH, libc::EHOSTDOWN, libc::ENETDOWN];
    !error.raw_os_error().is_some_and(|errno| OF_THE_NETWORK.contains(&errno))
}

/// Puts what is readable into `ready`; `WouldBlock` if nothing is.
fn poll_ready(epoll: &OwnedFd, ready: &mut VecDeque<u64>) -> io::Result<()> {
    let mut events = [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; 64];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let count = match epoll::wait(epoll, &mut events, Some(&at_once)) {
        Ok(count) => count,
        Err(rustix::io::Errno::INTR) => 0,
        Err(e) => return Err(e.into()),
    };
    if count == 0 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    ready.extend(events.iter().take(count).map(|event| event.data.u64()));
    Ok(())
}

fn receive(opened: &Opened, buf: &mut [u8], control: &mut Vec<u8>) -> io::Result<(usize, RxMeta, Option<Time>)> {
    let unspecified = match opened.port.family {
        Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::V6 => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    };
    let mut meta = RxMeta { ifindex: 0, source: unspecified, destination: unspecified, ttl: None };
    let mut arrived = None;
    let mut slices = [IoSliceMut::new(buf)];
    let capacity = control.capacity();
    control.resize(capacity, 0);
    let message = recvmsg::<SockaddrStorage>(
        opened.socket.as_raw_fd(),
        &mut slices,
        Some(control.as_mut_slice()),
        MsgFlags::MSG_DONTWAIT,
    )?;
    if let Some(address) = &message.address {
        if let Some(v4) = address.as_sockaddr_in() {
            meta.source = IpAddr::V4(v4.ip());
        } else if let Some(v6) = address.as_sockaddr_in6() {
            meta.source = IpAddr::V6(v6.ip());
        }
    }
    for item in message.cmsgs()? {
        match item {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                meta.ifindex = u32::try_from(info.ipi_ifindex).unwrap_or(0);
                meta.destination = IpAddr::V4(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()));
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                meta.ifindex = info.ipi6_ifindex;
                meta.destination = IpAddr::V6(info.ipi6_addr.s6_addr.into());
            }
            ControlMessageOwned::Ipv4Ttl(ttl) | ControlMessageOwned::Ipv6HopLimit(ttl) => {
                meta.ttl = u8::try_from(ttl).ok();
            }
            ControlMessageOwned::ScmTimestampns(stamp) => arrived = arrival(stamp),
            _ => {}
        }
    }
    Ok((message.bytes, meta, arrived))
}

/// The kernel stamps datagrams with the wall clock; the engine lives by the monotonic one. A stamp that lies ahead or far
/// back says that the wall clock was set meanwhile, and is not believed.
fn arrival(stamp: nix::sys::time::TimeSpec) -> Option<Time> {
    const OLDEST: Duration = Duration::from_secs(10);
    let now = super::clock::now();
    let age = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.checked_sub(Duration::from(stamp))?;
    (age < OLDEST).then(|| now.before(age.into()))
}

/// Does the address mean something only together with an interface?
fn is_scoped(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.is_unicast_link_local() || (v6.is_multicast() && v6.octets()[1] & 0x0f <= 2),
    }
}
