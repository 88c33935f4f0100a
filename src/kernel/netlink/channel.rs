//! Requests to the kernel: many messages to a buffer, one acknowledgement for all of them.
//!
//! Blocking on purpose. The kernel carries a request out inside sendmsg and has queued the answer when it returns, so
//! there is nothing to wait for that a runtime could shorten; and this is the thread that may block. Not used for
//! events: a socket that listens to groups may lose acknowledgements.

use super::NetlinkError;
use super::answers::Answers;
use crate::kernel::buffer;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable, NlasIterator,
};
use nix::sys::socket::{MsgFlags, recv, send, setsockopt, sockopt};
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Messages to one sendmsg, at most: each may be refused, and a default receive buffer holds 256 answers.
pub const LARGEST_BATCH: usize = 128;
/// Room that a refusal with the kernel's words takes, with its bookkeeping.
const REFUSAL: usize = 2048;
const RECEIVE_BUFFER: u32 = 1 << 20;
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// The kernel fills a dump's messages up to 32 KiB if the reader takes as much.
const READ: usize = 1 << 16;

/// One netlink socket for requests.
#[derive(Debug)]
pub struct Channel {
    socket: netlink_sys::Socket,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
    /// Messages to one sendmsg: as many as the receive buffer holds refusals.
    at_once: usize,
}

/// A message and what becomes of equals that are there already (NLM_F_CREATE, NLM_F_EXCL, …).
#[derive(Clone, Debug)]
pub struct Request<T> {
    pub message: T,
    pub flags: u16,
}

impl Channel {
    /// `protocol` is one of NETLINK_ROUTE, NETLINK_NETFILTER. `bytes` and `force` are for the receive buffer
    /// (`vrrp_netlink_cmd_rcv_bufs`, `…_force`); without a size it is large enough for the largest batch.
    ///
    /// # Errors
    /// No such protocol in this kernel, or out of descriptors.
    pub fn open(protocol: isize, bytes: Option<u32>, force: bool) -> Result<Channel, NetlinkError> {
        let mut socket = netlink_sys::Socket::new(protocol)?;
        let port = socket.bind_auto()?.port_number();
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_netlink_get_strict_chk(true);
        buffer::set(&borrow(&socket), bytes.unwrap_or(RECEIVE_BUFFER), force || bytes.is_none());
        let at_once = (buffer::size(&borrow(&socket)) / REFUSAL).clamp(1, LARGEST_BATCH);
        let limit = nix::sys::time::TimeVal::new(i64::try_from(TIME_LIMIT.as_secs()).unwrap_or(5), 0);
        setsockopt(&borrow(&socket), sockopt::ReceiveTimeout, &limit).map_err(io::Error::from)?;
        Ok(Channel { socket, port, sequence: 0, buffer: vec![0; READ], at_once })
    }

    /// By what events name the socket that caused them.
    pub const fn port(&self) -> u32 {
        self.port
    }

    /// Sends all at once and answers what became of each, in order.
    pub fn batch<T>(&mut self, requests: Vec<Request<T>>) -> Vec<Result<(), NetlinkError>>
    where
        T: NetlinkSerializable + NetlinkDeserializable + std::fmt::Debug,
    {
        let mut outcomes = Vec::with_capacity(requests.len());
        let mut requests = requests.into_iter().peekable();
        while requests.peek().is_some() {
            let part: Vec<Request<T>> = requests.by_ref().take(self.at_once).collect();
            outcomes.extend(self.one_batch(part));
        }
        outcomes
    }

    /// One request, its outcome only.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn request<T>(&mut self, message: T, flags: u16) -> Result<(), NetlinkError>
    where
        T: NetlinkSerializable + NetlinkDeserializable + std::fmt::Debug,
    {
        self.batch(vec![Request { message, flags }]).pop().unwrap_or(Err(NetlinkError::Silent))
    }

    /// Asks for a whole table.
    ///
    /// # Errors
    /// What the kernel says; a dump that was disturbed by changes is asked for again, three times at most.
    pub fn dump<T>(&mut self, message: T) -> Result<Vec<T>, NetlinkError>
    where
        T: NetlinkSerializable + NetlinkDeserializable + std::fmt::Debug + Clone,
    {
        for _ in 0..3 {
            match self.exchange(message.clone(), NLM_F_DUMP) {
                Err(NetlinkError::Overrun) => {}
                other => return other,
            }
        }
        self.exchange(message, NLM_F_DUMP)
    }

    /// Asks for one object.
    ///
    /// # Errors
    /// What the kernel says; ENODEV if there is no such object.
    pub fn get<T>(&mut self, message: T) -> Result<Vec<T>, NetlinkError>
    where
        T: NetlinkSerializable + NetlinkDeserializable + std::fmt::Debug + Clone,
    {
        self.exchange(message, NLM_F_ACK)
    }

    /// Sends messages as one transaction: all are carried out, or none. `begin` and `end` frame it and are not answered.
    ///
    /// # Errors
    /// The first refusal.
    pub fn transaction<T>(&mut self, begin: T, requests: Vec<Request<T>>, end: T) -> Result<(), NetlinkError>
    where
        T: NetlinkSerializable,
    {
        let count = u32::try_from(requests.len()).unwrap_or(u32::MAX);
        let first = self.sequences(count.saturating_add(2));
        let mut bytes = Vec::new();
        append(&mut bytes, begin, 0, first);
        for (sequence, request) in (first.wrapping_add(1)..).zip(requests) {
            append(&mut bytes, request.message, request.flags | NLM_F_ACK, sequence);
        }
        append(&mut bytes, end, 0, first.wrapping_add(count).wrapping_add(1));
        self.write(&bytes)?;
        let mut open = count;
        while open > 0 {
            let length = self.read()?;
            for (header, payload) in Messages::new(self.buffer.get(..length).unwrap_or_default()) {
                // A refused transaction leaves answers behind that nobody waits for.
                let ours = header.sequence_number.wrapping_sub(first) <= count.saturating_add(1);
                if ours && header.message_type == netlink_packet_core::NLMSG_ERROR {
                    acknowledgement(&header, payload)?;
                    open = open.saturating_sub(1);
                }
            }
        }
        Ok(())
    }

    /// Reserves `count` sequence numbers for a buffer made elsewhere.
    pub fn sequences(&mut self, count: u32) -> u32 {
        let first = self.sequence.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(count);
        first
    }

    fn one_batch<T>(&mut self, requests: Vec<Request<T>>) -> Vec<Result<(), NetlinkError>>
    where
        T: NetlinkSerializable + NetlinkDeserializable + std::fmt::Debug,
    {
        let first = self.sequences(u32::try_from(requests.len()).unwrap_or(0));
        let mut bytes = Vec::with_capacity(requests.len() * 96);
        let mut answers = Answers::ask(&mut bytes, first, requests.into_iter());
        let mut trouble = self.write(&bytes).err();
        while !answers.is_complete() && trouble.is_none() {
            match self.read() {
                Ok(length) => {
                    for (header, payload) in Messages::new(self.buffer.get(..length).unwrap_or_default()) {
                        answers.take(&header, || acknowledgement(&header, payload));
                    }
                }
                Err(e) => trouble = Some(e),
            }
        }
        answers.outcomes(|| match &trouble {
            Some(NetlinkError::Io(e)) => NetlinkError::Io(io::Error::new(e.kind(), e.to_string())),
            Some(NetlinkError::Overrun) => NetlinkError::Overrun,
            _ => NetlinkError::Silent,
        })
    }

    fn exchange<T>(&mut self, message: T, flags: u16) -> Result<Vec<T>, NetlinkError>
    where
        T: NetlinkSerializable + NetlinkDeserializable + std::fmt::Debug,
    {
        let sequence = self.sequences(1);
        let mut bytes = Vec::new();
        append(&mut bytes, message, flags, sequence);
        self.write(&bytes)?;
        let mut found = Vec::new();
        let mut disturbed = false;
        loop {
            let length = self.read()?;
            let mut done = None;
            for (header, payload) in Messages::new(self.buffer.get(..length).unwrap_or_default()) {
                if header.sequence_number != sequence {
                    continue;
                }
                disturbed |= header.flags & netlink_packet_core::NLM_F_DUMP_INTR != 0;
                match header.message_type {
                    netlink_packet_core::NLMSG_DONE => done = Some(dump_end(payload)),
                    netlink_packet_core::NLMSG_ERROR => done = Some(acknowledgement(&header, payload)),
                    // What this library cannot read (a foreign attribute gone wrong) must not hide the rest.
                    _ => found.extend(T::deserialize(&header, payload).ok()),
                }
            }
            match done {
                Some(Err(e)) => return Err(e),
                Some(Ok(())) if disturbed => return Err(NetlinkError::Overrun),
                Some(Ok(())) => return Ok(found),
                None => {}
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), NetlinkError> {
        loop {
            match send(self.socket.as_raw_fd(), bytes, MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(nix::Error::EINTR) => {}
                Err(e) => return Err(io::Error::from(e).into()),
            }
        }
    }

    fn read(&mut self) -> Result<usize, NetlinkError> {
        loop {
            match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Ok(length) => return Ok(length),
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => return Err(NetlinkError::Silent),
                Err(nix::Error::ENOBUFS) => return Err(NetlinkError::Overrun),
                Err(e) => return Err(io::Error::from(e).into()),
            }
        }
    }
}

/// Lends a netlink-sys socket to what asks for `AsFd`.
pub fn borrow(socket: &netlink_sys::Socket) -> std::os::fd::BorrowedFd<'_> {
    // SAFETY: the socket owns its descriptor and outlives the loan.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(socket.as_raw_fd()) }
}

/// Puts a request behind those that are in `bytes` already.
pub(in crate::kernel) fn append<T>(bytes: &mut Vec<u8>, message: T, flags: u16, sequence: u32)
where
    T: NetlinkSerializable,
{
    let mut header = NetlinkHeader::default();
    header.flags = flags | NLM_F_REQUEST;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    message.finalize();
    let at = bytes.len();
    bytes.resize(at + message.buffer_len().next_multiple_of(4), 0);
    if let Some(room) = bytes.get_mut(at..) {
        message.serialize(room);
    }
}

/// NLMSG_DONE carries the outcome of a dump as a negative errno.
fn dump_end(payload: &[u8]) -> Result<(), NetlinkError> {
    let code = payload.get(..4).and_then(|b| b.try_into().ok()).map_or(0, i32::from_ne_bytes);
    if code < 0 { Err(NetlinkError::Refused { errno: -code, words: "".into() }) } else { Ok(()) }
}

/// Reads an NLMSG_ERROR: errno 0 is an acknowledgement; with extended acknowledgements the kernel's own words follow.
fn acknowledgement(header: &NetlinkHeader, payload: &[u8]) -> Result<(), NetlinkError> {
    const CAPPED: u16 = netlink_packet_core::NLM_F_CAPPED;
    const TLVS: u16 = netlink_packet_core::NLM_F_ACK_TLVS;
    const MESSAGE: u16 = 1;
    let code = payload.get(..4).and_then(|b| b.try_into().ok()).map_or(0, i32::from_ne_bytes);
    if code == 0 {
        return Ok(());
    }
    let mut words = String::new();
    if header.flags & TLVS != 0 {
        // Behind the errno stands the header of the request, and unless capped the whole request.
        let request = payload.get(4..8).and_then(|b| b.try_into().ok()).map_or(16, u32::from_ne_bytes);
        let request = usize::try_from(request).unwrap_or(16).next_multiple_of(4);
        let skip = 4 + if header.flags & CAPPED != 0 { 16 } else { request };
        for attribute in NlasIterator::new(payload.get(skip..).unwrap_or_default()).flatten() {
            if attribute.kind() == MESSAGE {
                words = String::from_utf8_lossy(attribute.value()).trim_end_matches('\0').to_owned();
            }
        }
    }
    Err(NetlinkError::Refused { errno: code.saturating_neg(), words: words.into() })
}

/// Cuts a buffer into netlink messages; stops at the first that does not fit.
pub struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Messages { rest: bytes }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = (NetlinkHeader, &'a [u8]);
    fn next(&mut self) -> Option<Self::Item> {
        const HEADER: usize = 16;
        let head: [u8; HEADER] = self.rest.get(..HEADER)?.try_into().ok()?;
        let [l0, l1, l2, l3, t0, t1, f0, f1, s0, s1, s2, s3, p0, p1, p2, p3] = head;
        let mut header = NetlinkHeader::default();
        header.length = u32::from_ne_bytes([l0, l1, l2, l3]);
        header.message_type = u16::from_ne_bytes([t0, t1]);
        header.flags = u16::from_ne_bytes([f0, f1]);
        header.sequence_number = u32::from_ne_bytes([s0, s1, s2, s3]);
        header.port_number = u32::from_ne_bytes([p0, p1, p2, p3]);
        let length = usize::try_from(header.length).ok()?;
        let payload = self.rest.get(HEADER..length)?;
        self.rest = self.rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((header, payload))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::kernel::netlink::answers::answer;
    use netlink_packet_route::RouteNetlinkMessage;
    use netlink_packet_route::address::AddressMessage;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

    /// A channel, and the end at which a kernel would sit.
    fn channel() -> (Channel, OwnedFd) {
        let flags = SockFlag::SOCK_NONBLOCK;
        let (own, kernel) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
        // SAFETY: the descriptor is this test's own, and given away here.
        let socket = unsafe { netlink_sys::Socket::from_raw_fd(own.into_raw_fd()) };
        (Channel { socket, port: 0, sequence: 6, buffer: vec![0; READ], at_once: LARGEST_BATCH }, kernel)
    }

    /// Sends three requests, numbered from 7, to a kernel that has answered already. The error number of each (0: nobody
    /// knows), and which of the requests asked to be answered.
    fn three(answers: &[(u32, i32)]) -> (Vec<Option<i32>>, Vec<bool>) {
        let (mut channel, kernel) = channel();
        for (sequence, errno) in answers {
            send(kernel.as_raw_fd(), &answer(*sequence, *errno), MsgFlags::empty()).unwrap();
        }
        let message = RouteNetlinkMessage::NewAddress(AddressMessage::default());
        let outcomes = channel.batch(vec![Request { message, flags: 0 }; 3]);
        let errnos = outcomes.into_iter().map(|outcome| match outcome {
            Ok(()) => None,
            Err(NetlinkError::Refused { errno, .. }) => Some(errno),
            Err(_) => Some(0),
        });
        let mut bytes = vec![0; READ];
        let length = recv(kernel.as_raw_fd(), &mut bytes, MsgFlags::empty()).unwrap();
        let asks = Messages::new(&bytes[..length]).map(|(header, _)| header.flags & NLM_F_ACK != 0).collect();
        (errnos.collect(), asks)
    }

    /// The one answer of a batch is the last one's: a thousand addresses are not a thousand answers to be read.
    #[test]
    fn only_the_last_request_of_a_batch_asks_for_its_answer() {
        assert_eq!(three(&[(9, 0)]), (vec![None; 3], vec![false, false, true]));
    }

    #[test]
    fn a_refusal_is_that_of_its_request_wherever_it_stands_in_a_batch() {
        let outcomes = |answers: &[(u32, i32)]| three(answers).0;
        let there = libc::EEXIST;
        assert_eq!(outcomes(&[(7, there), (9, 0)]), [Some(there), None, None]);
        assert_eq!(outcomes(&[(8, there), (9, 0)]), [None, Some(there), None]);
        assert_eq!(outcomes(&[(9, there)]), [None, None, Some(there)]);
        assert_eq!(outcomes(&[(7, there), (8, libc::EINVAL), (9, there)]), [there, libc::EINVAL, there].map(Some));
        assert_eq!(outcomes(&[(5, there), (6, 0), (9, 0)]), [None; 3], "what is left of another batch");
        assert_eq!(outcomes(&[(8, there)]), [Some(0), Some(there), Some(0)], "without the last answer nobody knows");
    }
}
