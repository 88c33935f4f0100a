//! Raw VRRP sockets: one per distinct [`Port`], owned by the engine thread, never blocking.
//!
//! The kernel thread opens them ([`open`]) and drops them, since the kernel takes RTNL for both; here they are heard and
//! spoken through. What is called for is said with [`Sockets::want`]; what came of it comes with [`Sockets::answer`].
//!
//! All sockets hang in one [`Waiting`], which is the one place where the engine thread sleeps. So a wake-up costs one system
//! call however many sockets there are, and each readable socket gives one handful of datagrams a round: a flood on one
//! interface cannot starve another. Nothing is parsed here beyond where a datagram came from; a classic BPF filter in
//! the kernel (see [`crate::kernel::filter`]) keeps out what cannot be an advert at all.

mod open;

pub use open::{Opening, SocketSettings, open};

use super::arrivals::{Arrivals, Envelope};
use super::buffer;
use super::wait::{Bell, Waiting};
use crate::spec::InstanceId;
use crate::time::{Interval, Time};
use crate::vrrp::io::{Port, RxMeta, SocketState, Transmit};
use crate::wire::Family;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, SockaddrIn6, sendmsg};
use rustc_hash::FxHashMap;
use socket2::Socket;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::sync::Arc;

/// Longest datagram: the largest IPv4 packet.
const LONGEST: usize = 65_536;

/// Datagrams of one turn. IPv4: the packet from its IP header on; IPv6: the payload.
pub type Heard = Arrivals<RxMeta>;

/// Room for them.
pub fn heard() -> Heard {
    Arrivals::new(LONGEST)
}

/// All sockets of the engine thread.
#[derive(Debug)]
pub struct Sockets {
    settings: SocketSettings,
    /// `kernel_rx_buf_size` of the instances that have one.
    own_buffers: BTreeMap<InstanceId, u32>,
    waiting: Waiting,
    open: BTreeMap<u64, Opened>,
    by_port: HashMap<Port, u64>,
    by_instance: FxHashMap<InstanceId, Vec<u64>>,
    /// What is called for, and by whom.
    wanted: HashMap<Port, Vec<InstanceId>>,
    /// Asked for since then, and not answered.
    asked: HashMap<Port, Time>,
    /// Could not be opened when it was last tried, and why.
    refused: HashMap<Port, Box<str>>,
    /// Sockets that have something, in the order in which they are read.
    ready: VecDeque<u64>,
    /// The bell has rung in a wait, and nobody has asked since.
    rung: bool,
    next_token: u64,
}

#[derive(Debug)]
struct Opened {
    port: Port,
    socket: Arc<Socket>,
    /// What its instances ask for.
    buffer: Option<u32>,
    /// Datagrams that the kernel had no room for, as it was last asked.
    dropped: u32,
}

/// What the kernel thread has to do so that the sockets are those that are called for.
#[derive(Debug, Default)]
pub struct Changes {
    pub open: Vec<Opening>,
    /// To be dropped there.
    pub close: Vec<Arc<Socket>>,
}

impl Sockets {
    /// Without any socket yet. `bell` ends a wait.
    ///
    /// # Errors
    /// Out of descriptors or memory.
    pub fn new(settings: SocketSettings, bell: Bell) -> io::Result<Sockets> {
        Ok(Sockets {
            settings,
            own_buffers: BTreeMap::new(),
            waiting: Waiting::new(bell)?,
            open: BTreeMap::new(),
            by_port: HashMap::new(),
            by_instance: FxHashMap::default(),
            wanted: HashMap::new(),
            asked: HashMap::new(),
            refused: HashMap::new(),
            ready: VecDeque::new(),
            rung: false,
            next_token: 0,
        })
    }

    /// What `global_defs` says about opening one.
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
            self.waiting.remove(&opened.socket);
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
            let added = self.waiting.add(&socket, self.next_token);
            added.map(|()| socket).map_err(|error| error.to_string().into())
        });
        match added {
            Ok(socket) => {
                let token = self.next_token;
                self.next_token += 1;
                self.refused.remove(&port);
                self.by_port.insert(port.clone(), token);
                let dropped = buffer::dropped(&socket);
                self.open.insert(token, Opened { port, socket, buffer, dropped });
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

    /// No socket is open.
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
                // The source stands in the header that we made; the interface is said only to a socket that is not bound to it.
                let info = libc::in_pktinfo {
                    ipi_ifindex: libc::c_int::try_from(index).unwrap_or(0),
                    ipi_spec_dst: libc::in_addr { s_addr: 0 },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                let control = [ControlMessage::Ipv4PacketInfo(&info)];
                let is_bound = index == 0 || opened.port.ifindex == Some(index);
                let control = if is_bound { &control[..0] } else { &control[..] };
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

    /// Sleeps until some socket has something, the bell rings or `until` has come; a time that has passed only looks.
    /// Answers when it was woken.
    ///
    /// # Errors
    /// None in practice; those of epoll_pwait2(2).
    pub fn wait(&mut self, until: Time) -> io::Result<Time> {
        let ready = &mut self.ready;
        let woken = self.waiting.wait(until, |token| ready.push_back(token))?;
        self.rung |= woken.rung;
        Ok(woken.at)
    }

    /// Has the bell rung since this was asked last?
    pub fn has_rung(&mut self) -> bool {
        std::mem::take(&mut self.rung)
    }

    /// Has the last wait found a socket with something in it?
    pub fn has_heard(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes what is there in the sockets that the last wait has found, at most about `room` datagrams; with `all` it asks
    /// again until nothing is there in any of them. What is left is found by the next wait.
    pub fn receive(&mut self, heard: &mut Heard, room: usize, all: bool) {
        heard.clear();
        // A socket that tells of nothing but errors must not keep us here: each look counts.
        let mut room = room;
        while all || self.has_heard() {
            let Some(token) = self.ready.pop_front() else {
                if self.wait(Time::ZERO).is_err() || !self.has_heard() {
                    return;
                }
                continue;
            };
            if room == 0 {
                return self.ready.clear();
            }
            let before = heard.len();
            let Some(here) = self.open.get(&token) else { continue };
            let more = heard.read(&here.socket, |envelope| {
                let meta = meta(here.port.family, envelope);
                (!self.reaches_a_closer_socket(here, &meta)).then_some(meta)
            });
            room = room.saturating_sub((heard.len() - before).max(1));
            if more {
                self.ready.push_back(token);
            }
        }
    }

    /// Whether the kernel had no room for a datagram of any socket since this was asked last. It keeps those that came first.
    pub fn has_lost(&mut self) -> bool {
        let mut lost = false;
        for opened in self.open.values_mut() {
            let dropped = buffer::dropped(&opened.socket);
            lost |= std::mem::replace(&mut opened.dropped, dropped) != dropped;
        }
        lost
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
            buffer::force(&opened.socket, bytes);
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

fn meta(family: Family, envelope: &Envelope) -> RxMeta {
    let unspecified = match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let Envelope { source, destination, ifindex, ttl, cut: _ } = *envelope;
    RxMeta { ifindex, source, destination: destination.unwrap_or(unspecified), ttl }
}

/// Does the address mean something only together with an interface?
fn is_scoped(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.is_unicast_link_local() || (v6.is_multicast() && v6.octets()[1] & 0x0f <= 2),
    }
}
