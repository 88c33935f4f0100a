//! The socket that speaks to IPVS: many messages to a buffer, what became of each of them, nothing that blocks.
//!
//! It belongs to the `ipvs` thread and is used from that thread's current-thread runtime. The kernel carries a request out
//! inside send(2), and the answer is there when send(2) returns. An answer that does not come is given up after
//! [`TIME_LIMIT`] and reported; checks have a thread of their own and go on.
//!
//! Requests and dumps share the socket and nothing else does: it listens to no group, so nobody else's messages can push
//! an answer out. At most [`LARGEST_BATCH`] requests are under way at once, whose answers the buffer holds many times.

use super::message::{self, Message};
use crate::kernel::netlink::answers::Answers;
use crate::kernel::netlink::channel::{Messages, Request, append};
use crate::kernel::{buffer, namespace, readiness};
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NetlinkDeserializable};
use netlink_packet_generic::GenlMessage;
use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, connect, recv, send, socket,
};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, timeout_at};

/// Requests in one send.
pub const LARGEST_BATCH: usize = 64;
/// How long an answer is waited for.
pub const TIME_LIMIT: Duration = Duration::from_secs(5);
/// For answers that nobody has read yet; far more than those of a batch.
const RECEIVE_BUFFER: u32 = 1 << 20;
/// A dump comes in parts of at most 32 KiB.
const READ: usize = 1 << 16;
/// Messages of a dump; a kernel that sends more is out of its mind.
const LONGEST_DUMP: usize = 1 << 20;

/// Why IPVS cannot be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("this kernel has no IPVS: the module ip_vs is not loaded and could not be loaded")]
    NoModule,
    #[error("the module ip_vs was unloaded")]
    Unloaded,
    #[error("IPVS needs the capability CAP_NET_ADMIN")]
    NotPermitted,
    #[error("network namespace {name}: {error}")]
    Namespace { name: Box<str>, error: io::Error },
    #[error("IPVS does not answer within {} s", TIME_LIMIT.as_secs())]
    Silent,
    #[error("IPVS: answers of the kernel were lost")]
    Overrun,
    #[error("IPVS: {}", io::Error::from_raw_os_error(*.0))]
    Refused(i32),
    #[error("IPVS: {0}")]
    Io(#[from] io::Error),
}

/// What became of a request that was not carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The kernel's error number.
    Refused(i32),
    /// There is no table any more: the module was unloaded.
    Unloaded,
    /// Nobody knows whether it was carried out: no answer, or no way to ask.
    Unknown,
}

/// One socket to IPVS.
#[derive(Debug)]
pub struct Channel {
    socket: AsyncFd<OwnedFd>,
    sequence: u32,
    buffer: Vec<u8>,
    family: u16,
}

impl Channel {
    /// Opens a socket in the network namespace /run/netns/NAME, or in that of the calling thread, and finds the family.
    /// `Ok(None)`: the kernel does not know it (yet). `buffer`: bytes to receive into, 0 for a size that is large enough, and
    /// whether to exceed the machine's limit (`lvs_netlink_cmd_rcv_bufs`, `…_force`).
    ///
    /// # Errors
    /// No namespace of that name, no permission, no answer.
    pub async fn open(namespace: Option<&str>, buffer: (u32, bool)) -> Result<Option<Channel>, Trouble> {
        let socket = match namespace {
            Some(name) => namespace::inside(name, || open(buffer))
                .map_err(|error| Trouble::Namespace { name: name.into(), error })?,
            None => open(buffer)?,
        };
        let socket = readiness::readable(socket)?;
        let mut channel = Channel { socket, sequence: 0, buffer: vec![0; READ], family: 0 };
        match channel.resolve(message::FAMILY).await {
            Ok(family) => {
                channel.family = family;
                Ok(Some(channel))
            }
            Err(Trouble::NoModule) => Ok(None),
            Err(trouble) => Err(permission(trouble)),
        }
    }

    /// Sends the requests, [`LARGEST_BATCH`] at a time, and answers what became of each, in order. Each is asked for when its batch
    /// is sent: none of thousands waits until all are made.
    pub async fn batch(&mut self, requests: impl IntoIterator<Item = Message>) -> Vec<Result<(), Failure>> {
        let mut requests = requests.into_iter().peekable();
        let mut outcomes = Vec::with_capacity(requests.size_hint().0);
        while requests.peek().is_some() {
            let part = requests.by_ref().take(LARGEST_BATCH).collect();
            outcomes.extend(self.one_batch(part).await);
        }
        // A scheduler that is not there is answered with the same number as a family that is not.
        let missing = Err(Failure::Refused(libc::ENOENT));
        if outcomes.contains(&missing) && self.is_unloaded(message::FAMILY).await {
            let unloaded = |outcome: &mut Result<(), Failure>| *outcome = Err(Failure::Unloaded);
            outcomes.iter_mut().filter(|outcome| **outcome == missing).for_each(unloaded);
        }
        outcomes
    }

    /// One request, its outcome only.
    ///
    /// # Errors
    /// What the kernel says, or that it says nothing.
    pub async fn request(&mut self, request: Message) -> Result<(), Trouble> {
        match self.batch([request]).await.pop() {
            Some(Ok(())) => Ok(()),
            Some(Err(Failure::Refused(errno))) => Err(permission(Trouble::Refused(errno))),
            Some(Err(Failure::Unloaded)) => Err(Trouble::Unloaded),
            Some(Err(Failure::Unknown)) | None => Err(Trouble::Silent),
        }
    }

    /// Asks for a list. One that changed while it was told is asked for again, three times at most, and then taken as it
    /// is: the next comparison sees what it lacks.
    ///
    /// # Errors
    /// What the kernel says, or that it says nothing.
    pub async fn dump(&mut self, request: Message) -> Result<Vec<Message>, Trouble> {
        for _ in 0..3 {
            let (found, disturbed) = self.ask(request.clone(), NLM_F_DUMP).await?;
            if !disturbed {
                return Ok(found);
            }
        }
        self.ask(request, NLM_F_DUMP).await.map(|(found, _)| found)
    }

    /// Asks for one thing; nothing comes if there is none.
    ///
    /// # Errors
    /// What the kernel says, or that it says nothing.
    pub async fn get(&mut self, request: Message) -> Result<Vec<Message>, Trouble> {
        match self.ask(request, NLM_F_ACK).await {
            Ok((found, _)) => Ok(found),
            Err(Trouble::Refused(libc::ESRCH | libc::ENOENT)) => Ok(Vec::new()),
            Err(trouble) => Err(trouble),
        }
    }

    /// Whether the family has gone, or is another one by now: after the module was unloaded, this socket never finds it
    /// again. The kernel itself is asked, since it answers a family that is not there as many things inside of one.
    async fn is_unloaded(&mut self, family: &str) -> bool {
        match self.resolve(family).await {
            Ok(now) => now != self.family,
            Err(trouble) => matches!(trouble, Trouble::NoModule),
        }
    }

    /// The number of a family by its name.
    async fn resolve(&mut self, family: &str) -> Result<u16, Trouble> {
        match self.family_of(family).await {
            Err(Trouble::Refused(libc::ENOENT | libc::EOPNOTSUPP | libc::EPROTONOSUPPORT)) => Err(Trouble::NoModule),
            other => other,
        }
    }

    async fn family_of(&mut self, family: &str) -> Result<u16, Trouble> {
        let ask = GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![GenlCtrlAttrs::FamilyName(family.to_owned())] };
        let sequence = self.next();
        let mut bytes = Vec::new();
        append(&mut bytes, GenlMessage::from_payload(ask), NLM_F_ACK, sequence);
        let deadline = Instant::now() + TIME_LIMIT;
        self.write(&bytes, deadline).await?;
        let mut family = None;
        loop {
            let length = self.read(deadline).await?;
            for (header, payload) in Messages::new(self.buffer.get(..length).unwrap_or_default()) {
                if header.sequence_number != sequence {
                    continue;
                }
                if header.message_type == NLMSG_ERROR {
                    return match (errno(payload), family) {
                        (0, Some(family)) => Ok(family),
                        (0, None) => Err(Trouble::Refused(libc::ENOENT)),
                        (errno, _) => Err(Trouble::Refused(errno)),
                    };
                }
                let answer = GenlMessage::<GenlCtrl>::deserialize(&header, payload).ok();
                let attributes = answer.into_iter().flat_map(|answer| answer.payload.nlas);
                family = attributes.fold(family, |known, attribute| match attribute {
                    GenlCtrlAttrs::FamilyId(id) => Some(id),
                    _ => known,
                });
            }
        }
    }

    async fn one_batch(&mut self, requests: Vec<Message>) -> Vec<Result<(), Failure>> {
        let first = self.sequence.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(u32::try_from(requests.len()).unwrap_or(0));
        let mut bytes = Vec::with_capacity(requests.len() * 128);
        let family = self.family;
        let framed = |request: Message| GenlMessage::new(head(&request), request, family);
        let requests = requests.into_iter().map(|request| Request { message: framed(request), flags: 0 });
        let mut answers = Answers::ask(&mut bytes, first, requests);
        let deadline = Instant::now() + TIME_LIMIT;
        if self.write(&bytes, deadline).await.is_ok() {
            while !answers.is_complete() {
                let Ok(length) = self.read(deadline).await else { break };
                for (header, payload) in Messages::new(self.buffer.get(..length).unwrap_or_default()) {
                    answers.take(&header, || match errno(payload) {
                        0 => Ok(()),
                        errno => Err(Failure::Refused(errno)),
                    });
                }
            }
        }
        answers.outcomes(|| Failure::Unknown)
    }

    /// As [`Channel::exchange`]; a table that has gone is told from something that is not in it.
    async fn ask(&mut self, request: Message, flags: u16) -> Result<(Vec<Message>, bool), Trouble> {
        match self.exchange(request, flags).await {
            Err(Trouble::Refused(libc::ENOENT)) if self.is_unloaded(message::FAMILY).await => Err(Trouble::Unloaded),
            answer => answer,
        }
    }

    /// The answers, and whether the table changed meanwhile.
    async fn exchange(&mut self, request: Message, flags: u16) -> Result<(Vec<Message>, bool), Trouble> {
        let sequence = self.next();
        let mut bytes = Vec::new();
        append(&mut bytes, GenlMessage::new(head(&request), request, self.family), flags, sequence);
        // Every part of a long list gets its time.
        let mut deadline = Instant::now() + TIME_LIMIT;
        self.write(&bytes, deadline).await?;
        let (mut found, mut disturbed) = (Vec::new(), false);
        loop {
            let length = self.read(deadline).await?;
            deadline = Instant::now() + TIME_LIMIT;
            for (header, payload) in Messages::new(self.buffer.get(..length).unwrap_or_default()) {
                if header.sequence_number != sequence {
                    continue;
                }
                disturbed |= header.flags & NLM_F_DUMP_INTR != 0;
                match header.message_type {
                    NLMSG_DONE | NLMSG_ERROR => match errno(payload) {
                        0 => return Ok((found, disturbed)),
                        errno => return Err(Trouble::Refused(errno)),
                    },
                    // What cannot be read must not hide the rest.
                    _ if found.len() < LONGEST_DUMP => {
                        found.extend(GenlMessage::<Message>::deserialize(&header, payload).ok().map(|m| m.payload));
                    }
                    _ => {}
                }
            }
        }
    }

    fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// The kernel takes a request at once; were it not to, it is offered again.
    async fn write(&mut self, bytes: &[u8], deadline: Instant) -> Result<(), Trouble> {
        const AGAIN: Duration = Duration::from_millis(5);
        loop {
            match send(self.socket.get_ref().as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT) {
                Ok(_) => return Ok(()),
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) if Instant::now() >= deadline => return Err(Trouble::Silent),
                Err(nix::Error::EAGAIN) => tokio::time::sleep(AGAIN).await,
                Err(e) => return Err(lost(e.into())),
            }
        }
    }

    async fn read(&mut self, deadline: Instant) -> Result<usize, Trouble> {
        loop {
            let mut ready = timeout_at(deadline, self.socket.readable()).await.map_err(|_| Trouble::Silent)??;
            let buffer = &mut self.buffer;
            let received = ready
                .try_io(|socket| recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT).map_err(io::Error::from));
            match received {
                Ok(Ok(length)) => return Ok(length),
                Ok(Err(e)) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(e)) => return Err(lost(e)),
                // Not readable after all.
                Err(_) => {}
            }
        }
    }
}

fn open((bytes, force): (u32, bool)) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkGeneric)?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    // Only the kernel is heard.
    connect(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    match bytes {
        0 => buffer::force(&fd, RECEIVE_BUFFER),
        bytes => buffer::set(&fd, bytes, force),
    }
    Ok(fd)
}

fn head(message: &Message) -> netlink_packet_generic::GenlHeader {
    use netlink_packet_generic::GenlFamily as _;
    netlink_packet_generic::GenlHeader { cmd: message.command(), version: message.version() }
}

/// The error number of an NLMSG_ERROR or NLMSG_DONE, which begin with it, negative; 0 is success.
fn errno(payload: &[u8]) -> i32 {
    payload.first_chunk().copied().map_or(0, i32::from_ne_bytes).saturating_neg()
}

fn lost(error: io::Error) -> Trouble {
    if error.raw_os_error() == Some(libc::ENOBUFS) { Trouble::Overrun } else { Trouble::Io(error) }
}

fn permission(trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Refused(libc::EPERM | libc::EACCES) => Trouble::NotPermitted,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::kernel::netlink::answers::answer;
    use nix::sys::socket::socketpair;

    /// The number of the controller, the one family that every kernel has.
    const CONTROLLER: u16 = 16;
    /// One that none has.
    const NOBODY: u16 = 1000;

    fn with_family<T>(family: u16, work: impl AsyncFnOnce(&mut Channel) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let socket = readiness::readable(open((0, false)).unwrap()).unwrap();
            work(&mut Channel { socket, sequence: 0, buffer: vec![0; READ], family }).await
        })
    }

    #[test]
    fn a_table_that_has_gone_is_told_from_something_that_is_not_in_it() {
        with_family(NOBODY, async |channel| {
            assert!(matches!(channel.dump(Message::get_services()).await, Err(Trouble::Unloaded)));
            assert!(matches!(channel.get(Message::get_info()).await, Err(Trouble::Unloaded)));
            assert_eq!(channel.batch([Message::flush(), Message::flush()]).await, [Err(Failure::Unloaded); 2]);
            assert!(channel.is_unloaded("nlctrl").await, "it has another number");
            assert!(channel.is_unloaded("vipd-nobody").await);
        });
        with_family(CONTROLLER, async |channel| {
            assert!(!channel.is_unloaded("nlctrl").await);
        });
    }

    /// One request of a batch as the kernel sees it: its number, and whether it asks for an answer.
    fn requests(bytes: &[u8]) -> Vec<(u32, bool)> {
        Messages::new(bytes).map(|(header, _)| (header.sequence_number, header.flags & NLM_F_ACK != 0)).collect()
    }

    /// Sends `count` requests to a kernel that refuses those at the positions of `refusals` and answers what asks for it.
    fn outcomes(count: usize, refusals: &[(usize, i32)]) -> Vec<Option<i32>> {
        let (own, kernel) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_NONBLOCK).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let socket = readiness::readable(own).unwrap();
            let mut channel = Channel { socket, sequence: 7, buffer: vec![0; READ], family: 40 };
            let play = async {
                let kernel = readiness::readable(kernel).unwrap();
                let mut bytes = vec![0; READ];
                let mut seen = 0;
                while seen < count {
                    let mut ready = kernel.readable().await.unwrap();
                    let come = ready.try_io(|socket| Ok(recv(socket.as_raw_fd(), &mut bytes, MsgFlags::empty())?));
                    let Ok(Ok(length)) = come else { continue };
                    for (sequence, asks) in requests(&bytes[..length]) {
                        let refusal = refusals.iter().find(|(at, _)| *at == seen).map(|(_, errno)| *errno);
                        if asks || refusal.is_some() {
                            let bytes = answer(sequence, refusal.unwrap_or(0));
                            send(kernel.get_ref().as_raw_fd(), &bytes, MsgFlags::empty()).unwrap();
                        }
                        seen += 1;
                    }
                }
            };
            let messages = vec![Message::flush(); count];
            let (outcomes, ()) = tokio::join!(channel.batch(messages), play);
            outcomes
                .into_iter()
                .map(|outcome| match outcome {
                    Ok(()) => None,
                    Err(Failure::Refused(errno)) => Some(errno),
                    Err(Failure::Unloaded | Failure::Unknown) => Some(0),
                })
                .collect()
        })
    }

    #[test]
    fn a_refusal_is_that_of_its_request_wherever_it_stands_in_a_batch() {
        for at in [0, 1, LARGEST_BATCH - 1, LARGEST_BATCH, 2 * LARGEST_BATCH + 9] {
            let count = 2 * LARGEST_BATCH + 10;
            let expected: Vec<_> = (0..count).map(|number| (number == at).then_some(libc::EEXIST)).collect();
            assert_eq!(outcomes(count, &[(at, libc::EEXIST)]), expected, "position {at}");
        }
        let all: Vec<_> = (0..3).map(|at| (at, libc::EINVAL)).collect();
        assert_eq!(outcomes(3, &all), [Some(libc::EINVAL); 3]);
    }

    /// The one answer of a batch is the last one's: a thousand servers are not a thousand answers to be read.
    #[test]
    fn only_the_last_request_of_a_batch_asks_for_its_answer() {
        let (own, kernel) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_NONBLOCK).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let asked = runtime.block_on(async {
            let socket = readiness::readable(own).unwrap();
            let mut channel = Channel { socket, sequence: 0, buffer: vec![0; READ], family: 40 };
            send(kernel.as_raw_fd(), &answer(3, 0), MsgFlags::empty()).unwrap();
            assert!(channel.batch(vec![Message::flush(); 3]).await.iter().all(Result::is_ok));
            let mut bytes = vec![0; READ];
            let length = recv(kernel.as_raw_fd(), &mut bytes, MsgFlags::empty()).unwrap();
            requests(&bytes[..length])
        });
        assert_eq!(asked, [(1, false), (2, false), (3, true)]);
    }
}
