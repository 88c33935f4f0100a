//! ICMP echo for all PING_CHECKs: one socket for those that have family, mark, interface and source in common.
//!
//! The socket is a raw one with a filter that lets through echo replies to its identifier only, so other programs' pings,
//! and floods of them, cost nothing. keepalived uses ICMP datagram sockets instead, for which it widens a sysctl of the
//! machine; here they are the second choice, where raw sockets are not allowed and that sysctl already lets us.
//! A reply belongs to the ping with its sequence number if it comes from the address that was asked; all others are
//! dropped. The socket lives as long as a ping is under way.

use super::connect;
use crate::probe::{Heard, Numbers, echo_reply};
use crate::spec::IfName;
use crate::spec::balance::Connection;
use socket2::{Protocol, SockAddr, SockFilter, Socket, Type};
use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// Largest message that is taken in whole; an echo reply to us has 136 bytes, IP options may come on top.
const LONGEST: usize = 512;
/// Replies that wait for one ping: the right one, and duplicates.
const WAITING: usize = 4;
/// Receive buffer, in bytes, as keepalived asks for.
const BUFFER: usize = 128 * 1024;

/// What pings must have in common to share a socket.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Key {
    v6: bool,
    from: Option<IpAddr>,
    interface: Option<IfName>,
    mark: u32,
}

/// The sockets that are open.
#[derive(Debug, Default)]
pub struct Pings {
    rooms: Mutex<HashMap<Key, Weak<Room>>>,
}

/// One ping under way; dropping it gives it up.
#[derive(Debug)]
pub struct Echo {
    room: Arc<Room>,
    target: SocketAddr,
    pub numbers: Numbers,
    replies: mpsc::Receiver<Vec<u8>>,
}

/// One socket and the pings that wait at it.
#[derive(Debug)]
struct Room {
    desk: Arc<Desk>,
    reader: AbortHandle,
}

#[derive(Debug)]
struct Desk {
    socket: AsyncFd<Socket>,
    v6: bool,
    /// A raw IPv4 socket hands out the IP header too.
    with_header: bool,
    id: u16,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    last: u16,
    pings: HashMap<u16, (IpAddr, mpsc::Sender<Vec<u8>>)>,
}

/// A panic elsewhere leaves a map that is as good as before.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pings {
    /// A place at the socket for this connection, with the numbers of the request. `id` is random; it counts if the socket
    /// is opened now. Needs a tokio runtime.
    ///
    /// # Errors
    /// What is wrong on this machine; all 65,535 sequence numbers in use is [`io::ErrorKind::WouldBlock`].
    pub fn open(&self, connection: &Connection, id: u16) -> io::Result<Echo> {
        let target = connect::target(connection)?;
        let key = Key {
            v6: target.is_ipv6(),
            from: connection.from,
            interface: connection.interface.clone(),
            mark: connection.mark,
        };
        let mut rooms = locked(&self.rooms);
        rooms.retain(|_, room| room.strong_count() > 0);
        let room = match rooms.get(&key).and_then(Weak::upgrade) {
            Some(room) => room,
            None => {
                let room = Arc::new(Room::open(connection, id)?);
                rooms.insert(key, Arc::downgrade(&room));
                room
            }
        };
        drop(rooms);
        let (sender, replies) = mpsc::channel(WAITING);
        let sequence = locked(&room.desk.waiting).add(target.ip(), sender).ok_or(io::ErrorKind::WouldBlock)?;
        let numbers = Numbers { id: room.desk.id, sequence };
        // A ping is for a host: the port of a datagram to it is nothing.
        Ok(Echo { room, target: with_port(target, 0), numbers, replies })
    }
}

fn with_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

impl Waiting {
    /// The next sequence number that nobody waits for, beginning with 1.
    fn add(&mut self, target: IpAddr, sender: mpsc::Sender<Vec<u8>>) -> Option<u16> {
        if self.pings.len() >= usize::from(u16::MAX) {
            return None;
        }
        loop {
            self.last = self.last.wrapping_add(1);
            if self.last != 0 && !self.pings.contains_key(&self.last) {
                self.pings.insert(self.last, (target, sender));
                return Some(self.last);
            }
        }
    }
}

impl Room {
    fn open(connection: &Connection, id: u16) -> io::Result<Room> {
        let v6 = connection.to.address.is_ipv6();
        let protocol = if v6 { Protocol::ICMPV6 } else { Protocol::ICMPV4 };
        // What is bound is an address: a port would be an identifier to a datagram socket.
        let connection = Connection { from_port: None, ..connection.clone() };
        let (socket, raw, id) = match connect::prepare(&connection, Type::RAW, protocol) {
            Ok(socket) => {
                socket.attach_filter(&replies_only(v6, id))?;
                (socket, true, id)
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let socket = connect::prepare(&connection, Type::DGRAM, protocol)?;
                if connection.from.is_none() {
                    let anywhere: IpAddr = if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
                    socket.bind(&SockAddr::from(SocketAddr::new(anywhere, 0)))?;
                }
                // The kernel has chosen the identifier; it is called a port.
                let id = socket.local_addr()?.as_socket().map_or(0, |address| address.port());
                (socket, false, id)
            }
            Err(error) => return Err(error),
        };
        // Smaller than asked for is no reason not to ping.
        let _ = socket.set_recv_buffer_size(BUFFER);
        // SAFETY: a Socket owns its descriptor and closes it when the AsyncFd drops it, never before.
        let socket = unsafe { AsyncFd::register(socket) }?;
        let desk = Arc::new(Desk { socket, v6, with_header: raw && !v6, id, waiting: Mutex::default() });
        let reader = tokio::spawn(read(desk.clone())).abort_handle();
        Ok(Room { desk, reader })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Classic BPF: echo replies with this identifier. A raw IPv4 socket's filter sees the IP header, an IPv6 one's does not.
fn replies_only(v6: bool, id: u16) -> Vec<SockFilter> {
    const LOAD_HEADER_LENGTH: u16 = 0xb1;
    const LOAD_ZERO: u16 = 0x01;
    const LOAD_BYTE_INDEXED: u16 = 0x50;
    const LOAD_HALF_INDEXED: u16 = 0x48;
    const JUMP_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let (first, kind) = if v6 { (LOAD_ZERO, 129) } else { (LOAD_HEADER_LENGTH, 0) };
    vec![
        SockFilter::new(first, 0, 0, 0),
        SockFilter::new(LOAD_BYTE_INDEXED, 0, 0, 0),
        SockFilter::new(JUMP_EQUAL, 0, 3, kind),
        SockFilter::new(LOAD_HALF_INDEXED, 0, 0, 4),
        SockFilter::new(JUMP_EQUAL, 0, 1, u32::from(id)),
        SockFilter::new(RETURN, 0, 0, LONGEST as u32),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// Hands out replies for as long as there is the socket.
async fn read(desk: Arc<Desk>) {
    let mut buffer = [MaybeUninit::uninit(); LONGEST];
    loop {
        let Ok(mut ready) = desk.socket.readable().await else { return };
        match ready.try_io(|socket| socket.get_ref().recv_from(&mut buffer)) {
            Err(_) => {}
            Ok(Ok((length, source))) => {
                // SAFETY: the kernel has written the first `length` bytes.
                let bytes: Vec<u8> = buffer.iter().take(length).map(|byte| unsafe { byte.assume_init() }).collect();
                if let Some(source) = source.as_socket() {
                    desk.hand_out(&bytes, source.ip());
                }
                tokio::task::coop::consume_budget().await;
            }
            // An ICMP error to one of many pings; that one runs into its time-out.
            Ok(Err(_)) => tokio::task::yield_now().await,
        }
    }
}

impl Desk {
    fn hand_out(&self, bytes: &[u8], source: IpAddr) {
        let header = if self.with_header { bytes.first().map_or(0, |first| usize::from(first & 0x0f) * 4) } else { 0 };
        let Some(message) = bytes.get(header..) else { return };
        let Some(numbers) = echo_reply(message, self.v6).filter(|numbers| numbers.id == self.id) else { return };
        if let Some((target, sender)) = locked(&self.waiting).pings.get(&numbers.sequence)
            && *target == source
        {
            // Where there is no room for more duplicates, there is the first one.
            let _ = sender.try_send(message.to_vec());
        }
    }
}

impl Echo {
    /// Sends a request. An echo request never fills a buffer for long, so it is not waited for.
    ///
    /// # Errors
    /// What is told instead of a reply.
    pub fn send(&self, bytes: &[u8]) -> Result<(), Heard<'static>> {
        match self.room.desk.socket.get_ref().send_to(bytes, &SockAddr::from(self.target)) {
            Ok(_) => Ok(()),
            Err(error) => Err(connect::heard(&error)),
        }
    }

    /// The next reply with our numbers, from the right address.
    pub async fn reply(&mut self) -> Option<Vec<u8>> {
        self.replies.recv().await
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        locked(&self.room.desk.waiting).pings.remove(&self.numbers.sequence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{Numbers, echo_reply};
    use crate::spec::balance::Endpoint;
    use crate::time::Interval;

    fn connection(to: &str) -> Connection {
        Connection {
            to: Endpoint { address: to.parse().unwrap(), port: None },
            from: None,
            from_port: None,
            interface: None,
            timeout: Interval::from_secs(1),
            mark: 0,
        }
    }

    /// Needs root, as the raw socket does; the datagram socket needs the machine's sysctl.
    fn pings(test: impl AsyncFnOnce(Pings)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let pings = Pings::default();
            // The place is given back before the test begins.
            match pings.open(&connection("127.0.0.1"), 1).map(drop) {
                Ok(()) => test(pings).await,
                Err(error) => eprintln!("no ICMP socket here ({error}): not tried"),
            }
        });
    }

    fn reply_to(numbers: Numbers, header: bool) -> Vec<u8> {
        let mut bytes = if header { vec![0x45; 1] } else { Vec::new() };
        bytes.resize(if header { 20 } else { 0 }, 0);
        bytes.extend([0, 0, 0, 0]);
        bytes.extend(numbers.id.to_be_bytes());
        bytes.extend(numbers.sequence.to_be_bytes());
        assert!(echo_reply(&bytes[if header { 20 } else { 0 }..], false).is_some());
        bytes
    }

    #[test]
    fn pings_share_a_socket_and_take_what_is_theirs() {
        pings(async |pings| {
            let mut first = pings.open(&connection("192.0.2.1"), 7).unwrap();
            let mut second = pings.open(&connection("192.0.2.2"), 8).unwrap();
            assert!(Arc::ptr_eq(&first.room, &second.room));
            assert_eq!(second.numbers.sequence, first.numbers.sequence + 1);
            let desk = first.room.desk.clone();
            let header = desk.with_header;
            // From elsewhere, with another identifier, too short: nobody's.
            desk.hand_out(&reply_to(first.numbers, header), "192.0.2.9".parse().unwrap());
            desk.hand_out(&reply_to(second.numbers, header), "192.0.2.1".parse().unwrap());
            let other = Numbers { id: first.numbers.id ^ 1, ..first.numbers };
            desk.hand_out(&reply_to(other, header), "192.0.2.1".parse().unwrap());
            for length in 0..28 {
                desk.hand_out(&vec![0x4f; length], "192.0.2.1".parse().unwrap());
            }
            assert!(first.replies.try_recv().is_err() && second.replies.try_recv().is_err());
            for _ in 0..10 {
                desk.hand_out(&reply_to(second.numbers, header), "192.0.2.2".parse().unwrap());
            }
            assert!(second.replies.try_recv().is_ok() && first.replies.try_recv().is_err());
            drop(second);
            assert_eq!(locked(&desk.waiting).pings.len(), 1);
            drop(first);
            assert!(pings.rooms.lock().unwrap().values().all(|room| room.strong_count() == 0));
        });
    }

    #[test]
    fn a_mark_or_a_source_makes_another_socket() {
        pings(async |pings| {
            let plain = pings.open(&connection("127.0.0.1"), 7).unwrap();
            let from = Connection { from: Some("127.0.0.1".parse().unwrap()), ..connection("127.0.0.1") };
            let other = pings.open(&from, 8).unwrap();
            assert!(!Arc::ptr_eq(&plain.room, &other.room));
        });
    }
}
