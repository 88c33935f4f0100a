//! Carries a probe from its start to its finding, over real sockets. It knows no protocol: see [`crate::probe`].
//!
//! Lives in a current-thread tokio runtime, the checker's. A probe is a future; to drop it is to give it up, and closes
//! its socket. All times are points in time that the dialogue has named: what is late by a stall of the thread is read
//! before it is called late. A probe waits for a slot when there are too many at once; the time for that is not the
//! server's, so its dialogue begins only then, and a probe that waits longer than it could ever take is not made.

use super::connect;
use super::limits::{Late, Limits};
use super::ping::{Echo, Pings};
use super::{clock, connect::heard};
use crate::balance::io::{Attempt, Finding};
use crate::probe::tls::{Client, Identity};
use crate::probe::{Dialogue, Failure, Heard, Numbers, Plan, Step, Transcript, Transport};
use crate::spec::balance::TlsFiles;
use crate::time::{Interval, Time};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustls::crypto::SecureRandom;
use socket2::Socket;
use std::cell::RefCell;
use std::future::Future;
use std::io::{self, Read};
use std::net::SocketAddr;
use tokio::io::Interest;
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::{coop::consume_budget, yield_now};

/// Most probes at once. Each has a descriptor, up to 64 KiB of header and 256 KiB of a body that a pattern is sought in.
/// A thousand servers that hang until their time-out must not hold up the checks of those that live.
pub const AT_ONCE: usize = 1024;

/// A UDP datagram is no longer.
const BUFFER: usize = 64 * 1024;

thread_local! {
    /// What has just been read; handed on before anything else is read.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into());
}

/// Makes probes. One for all checks of a process.
#[derive(Debug)]
pub struct Prober {
    slots: Semaphore,
    pings: Pings,
    limits: Limits,
    random: &'static dyn SecureRandom,
}

/// How a probe is to be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Manner {
    /// Only this page, by position; else all of them, one after the other.
    pub page: Option<usize>,
    /// What is said is kept for people.
    pub transcript: bool,
}

/// What a probe came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    pub attempt: Attempt,
    pub finding: Finding,
    /// From the first packet to the finding; waiting for a slot is not in it.
    pub took: Interval,
    /// The page at which it ended, by position.
    pub page: usize,
    pub transcript: Transcript,
}

impl Default for Prober {
    fn default() -> Prober {
        Prober::new(AT_ONCE)
    }
}

impl Prober {
    /// Makes at most `at_once` attempts at a time; the others wait in their order.
    pub fn new(at_once: usize) -> Prober {
        let random = rustls::crypto::ring::default_provider().secure_random;
        Prober {
            slots: Semaphore::new(at_once.clamp(1, Semaphore::MAX_PERMITS)),
            pings: Pings::default(),
            limits: Limits::default(),
            random,
        }
    }

    /// Probes once. Dropping the future gives the probe up.
    pub async fn probe(&self, plan: &Plan, attempt: Attempt, manner: Manner) -> Report {
        let mut transcript = if manner.transcript { Transcript::kept() } else { Transcript::default() };
        let mut began = clock::now();
        let slot = match self.slots.try_acquire() {
            Ok(slot) => Some(slot),
            Err(_) => {
                let slot = self.limits.within(began + plan.patience().whole, self.slots.acquire()).await;
                began = clock::now();
                slot.ok().and_then(Result::ok)
            }
        };
        let (finding, page) = match slot {
            Some(_slot) => self.converse(plan, manner, began, &mut transcript).await,
            None => (Finding::NotMade(libc::EAGAIN), 0),
        };
        Report { attempt, finding, took: clock::now().since(began), page, transcript }
    }

    async fn converse(&self, plan: &Plan, manner: Manner, began: Time, talk: &mut Transcript) -> (Finding, usize) {
        let begin = |numbers| match manner.page {
            Some(page) => plan.begin_page(numbers, page),
            None => plan.begin(numbers),
        };
        // A stream needs none: a system call that a thousand checks a second do without.
        let id = if plan.transport() == Transport::Stream { 0 } else { self.id() };
        let mut numbers = Numbers { id, sequence: 1 };
        let mut echo = None;
        if plan.transport() == Transport::Echo {
            match self.pings.open(plan.connection(), id) {
                Ok(place) => {
                    numbers = place.numbers;
                    echo = Some(place);
                }
                Err(error) => return (Finding::NotMade(error.raw_os_error().unwrap_or(libc::EAGAIN)), 0),
            }
        }
        let mut dialogue = begin(numbers);
        let mut line = Line::Closed;
        let mut step = dialogue.next(began, Heard::Begin, talk);
        loop {
            step = match step {
                Step::Done(finding) => return (finding, dialogue.page()),
                Step::Connect { until } => {
                    // The old one is closed before the new one is made.
                    drop(std::mem::replace(&mut line, Line::Closed));
                    let opened = Line::open(plan, echo.take(), &self.limits, until).await;
                    let now = clock::now();
                    let heard = match opened {
                        Ok(open) => {
                            line = open;
                            talk.note(now, || line.told(plan));
                            Heard::Connected
                        }
                        Err(heard) => heard,
                    };
                    dialogue.next(now, heard, talk)
                }
                Step::Send { bytes, until } => {
                    let heard = line.send(&bytes, &self.limits, until).await;
                    dialogue.next(clock::now(), heard, talk)
                }
                Step::Listen { until } => line.listen(&self.limits, until, dialogue.as_mut(), talk).await,
            };
        }
    }

    fn id(&self) -> u16 {
        let mut bytes = [0; 2];
        // Without randomness from the kernel nothing else would run either; the id is then merely known.
        let _ = self.random.fill(&mut bytes);
        u16::from_be_bytes(bytes)
    }
}

/// Raises the process's limit of descriptors, as far as it may, so that [`AT_ONCE`] probes have theirs; gives how many
/// have. `others`: descriptors that the process needs for other ends.
pub fn make_room(others: usize) -> usize {
    let wanted = u64::try_from(AT_ONCE.saturating_add(others)).unwrap_or(u64::MAX);
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return AT_ONCE };
    let raised = wanted.min(hard);
    let limit = match soft < raised && setrlimit(Resource::RLIMIT_NOFILE, raised, hard).is_ok() {
        true => raised,
        false => soft,
    };
    usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(others).clamp(1, AT_ONCE)
}

/// The TLS of a configuration's checks. `ca` is not read: no server's certificate is verified, as in keepalived.
///
/// # Errors
/// What is wrong with the files of the block `SSL`, without a word of what is in them.
pub fn tls(files: Option<&TlsFiles>) -> Result<Client, Box<str>> {
    let read = |path: &str| std::fs::read(path).map_err(|error| format!("{path}: {error}"));
    let Some((files, certificate)) = files.and_then(|files| Some((files, files.certificate.as_deref()?))) else {
        return Client::new(None);
    };
    // Both may be in one file.
    let key = files.key.as_deref().unwrap_or(certificate);
    let identity = Identity::new(&read(certificate)?, &read(key)?, files.password.as_deref())
        .map_err(|why| format!("{certificate}, {key}: {why}"))?;
    Client::new(Some(identity)).map_err(|why| format!("{certificate}, {key}: {why}").into())
}

/// What a dialogue runs over.
#[derive(Debug)]
enum Line {
    Closed,
    /// A connection on which nothing has had to be waited for: the runtime does not know it, which is two system calls less.
    Connected(Socket),
    Stream(TcpStream),
    Datagram(UdpSocket),
    Echo(Echo),
}

impl Line {
    async fn open(plan: &Plan, echo: Option<Echo>, limits: &Limits, until: Time) -> Result<Line, Heard<'static>> {
        match plan.transport() {
            Transport::Echo => echo.map(Line::Echo).ok_or(Heard::Failed(Failure::Local(libc::EBADF))),
            Transport::Datagram => {
                let socket = connect::datagram(plan.connection())?;
                Ok(Line::Datagram(UdpSocket::from_std(socket.into()).map_err(connect::local)?))
            }
            Transport::Stream => {
                let socket = connect::stream(plan.connection())?;
                // Where the way is short, the answer is there by the time that all that are due together have asked. A check
                // that wants no more than a connection is then never waited for.
                yield_now().await;
                if connect::is_made(plan.connection(), &socket)? {
                    return Ok(Line::Connected(socket));
                }
                let stream = TcpStream::from_std(socket.into()).map_err(connect::local)?;
                if let Some(heard) = waited(stream.writable(), limits, until).await {
                    return Err(heard);
                }
                match stream.take_error() {
                    Ok(None) => Ok(Line::Stream(stream)),
                    Ok(Some(error)) | Err(error) => Err(heard(&error)),
                }
            }
        }
    }

    fn told(&self, plan: &Plan) -> String {
        let connection = plan.connection();
        let to = SocketAddr::new(connection.to.address, connection.to.port.unwrap_or(0));
        let connected = |from: io::Result<SocketAddr>| match from {
            Ok(from) => format!("connected to {to} from {from}"),
            Err(_) => format!("connected to {to}"),
        };
        match self {
            Line::Closed => "not connected".into(),
            Line::Connected(socket) => {
                connected(socket.local_addr().and_then(|from| from.as_socket().ok_or(io::ErrorKind::Other.into())))
            }
            Line::Stream(stream) => connected(stream.local_addr()),
            Line::Datagram(_) => format!("to {to} by UDP"),
            Line::Echo(_) => format!("to {} by ICMP", to.ip()),
        }
    }

    /// Has the runtime wait for it from here on.
    fn register(&mut self) -> Result<(), Heard<'static>> {
        *self = match std::mem::replace(self, Line::Closed) {
            Line::Connected(socket) => Line::Stream(TcpStream::from_std(socket.into()).map_err(connect::local)?),
            line => line,
        };
        Ok(())
    }

    async fn send(&mut self, bytes: &[u8], limits: &Limits, until: Time) -> Heard<'static> {
        let mut rest = bytes;
        if let Line::Connected(socket) = self {
            match socket.send_with_flags(rest, libc::MSG_NOSIGNAL) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return heard(&error),
            }
            if rest.is_empty() {
                return Heard::Sent;
            }
            if let Err(heard) = self.register() {
                return heard;
            }
        }
        match self {
            Line::Closed | Line::Connected(_) => Heard::Failed(Failure::Reset),
            Line::Echo(echo) => match echo.send(bytes) {
                Ok(()) => Heard::Sent,
                Err(heard) => heard,
            },
            Line::Datagram(socket) => loop {
                match socket.try_send(bytes) {
                    Ok(_) => return Heard::Sent,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return heard(&error),
                }
                if let Some(late) = waited(socket.writable(), limits, until).await {
                    return late;
                }
            },
            Line::Stream(stream) => {
                while !rest.is_empty() {
                    match stream.try_write(rest) {
                        Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            if let Some(late) = waited(stream.writable(), limits, until).await {
                                return late;
                            }
                        }
                        Err(error) => return heard(&error),
                    }
                }
                Heard::Sent
            }
        }
    }

    /// Waits for what comes next and tells the dialogue. What has come already counts, however late it is read.
    async fn listen(
        &mut self,
        limits: &Limits,
        until: Time,
        dialogue: &mut dyn Dialogue,
        talk: &mut Transcript,
    ) -> Step {
        let mut tell = |heard: Heard<'_>| dialogue.next(clock::now(), heard, talk);
        if let Line::Connected(socket) = self {
            // As with the connection itself: an answer that comes at once is never waited for.
            yield_now().await;
            let step = READ.with_borrow_mut(|buffer| came(socket.read(buffer), buffer, &mut tell));
            if let Some(step) = step {
                return step;
            }
            if let Err(heard) = self.register() {
                return tell(heard);
            }
        }
        match self {
            Line::Closed | Line::Connected(_) => tell(Heard::Failed(Failure::Reset)),
            Line::Echo(echo) => match limits.within(until, echo.reply()).await {
                Ok(Some(message)) => tell(Heard::Bytes(&message)),
                Ok(None) => tell(Heard::Failed(Failure::Reset)),
                Err(Late) => tell(Heard::TimedOut),
            },
            Line::Stream(stream) => loop {
                // One that never stops talking shares the thread with others.
                consume_budget().await;
                let step = READ.with_borrow_mut(|buffer| came(stream.try_read(buffer), buffer, &mut tell));
                if let Some(step) = step {
                    return step;
                }
                if let Some(late) = waited(stream.readable(), limits, until).await {
                    return tell(late);
                }
            },
            Line::Datagram(socket) => loop {
                consume_budget().await;
                let step = READ.with_borrow_mut(|buffer| match socket.try_recv(buffer) {
                    Ok(length) => Some(tell(Heard::Bytes(buffer.get(..length).unwrap_or_default()))),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
                    Err(error) => match connect::unreachable(socket) {
                        Ok(said) => said.map(&mut tell),
                        // Not by ICMP: what the call itself says.
                        Err(_) => Some(tell(heard(&error))),
                    },
                });
                if let Some(step) = step {
                    return step;
                }
                // An ICMP error makes a socket neither readable nor writable.
                let news = Interest::READABLE | Interest::ERROR;
                let ready = match limits.within(until, socket.ready(news)).await {
                    Err(Late) => return tell(Heard::TimedOut),
                    Ok(Err(error)) => return tell(connect::local(error)),
                    Ok(Ok(ready)) => ready,
                };
                if ready.is_error() {
                    let seen = socket.try_io(Interest::ERROR, || match connect::unreachable(socket) {
                        Ok(said) => Ok(said),
                        Err(_) => match socket.take_error()? {
                            Some(error) => Ok(Some(heard(&error))),
                            None => Err(io::ErrorKind::WouldBlock.into()),
                        },
                    });
                    if let Ok(Some(heard)) = seen {
                        return tell(heard);
                    }
                }
            },
        }
    }
}

/// What reading from a connection has come to; `None` where nothing has come yet.
fn came(read: io::Result<usize>, buffer: &[u8], tell: &mut impl FnMut(Heard<'_>) -> Step) -> Option<Step> {
    match read {
        Ok(0) => Some(tell(Heard::Ended)),
        Ok(length) => Some(tell(Heard::Bytes(buffer.get(..length).unwrap_or_default()))),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) => Some(tell(heard(&error))),
    }
}

/// What is heard instead of what was waited for.
async fn waited(ready: impl Future<Output = io::Result<()>>, limits: &Limits, until: Time) -> Option<Heard<'static>> {
    match limits.within(until, ready).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(connect::local(error)),
        Err(Late) => Some(Heard::TimedOut),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream as Peer};

    /// Asks once, and is content with the first bytes of an answer.
    struct Asks;

    impl Dialogue for Asks {
        fn next(&mut self, now: Time, heard: Heard<'_>, _: &mut Transcript) -> Step {
            let until = now + Interval::from_secs(60);
            match heard {
                Heard::Begin => Step::Connect { until },
                Heard::Connected => Step::Send { bytes: b"?".to_vec(), until },
                Heard::Sent => Step::Listen { until },
                Heard::Bytes(b"!") => Step::Done(Finding::Good),
                _ => Step::Done(Finding::NotMade(0)),
            }
        }
    }

    fn connected() -> (Line, Peer) {
        let door = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let own = Peer::connect(door.local_addr().unwrap()).unwrap();
        own.set_nonblocking(true).unwrap();
        (Line::Connected(own.into()), door.accept().unwrap().0)
    }

    fn asked(line: &mut Line, beside: impl Future<Output = ()>) -> Step {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (limits, mut asks, mut talk) = (Limits::default(), Asks, Transcript::default());
        let until = clock::now() + Interval::from_secs(60);
        runtime.block_on(async {
            assert!(matches!(line.send(b"?", &limits, until).await, Heard::Sent));
            let listens = line.listen(&limits, until, &mut asks, &mut talk);
            tokio::join!(listens, beside).0
        })
    }

    #[test]
    fn an_answer_that_is_there_at_once_is_never_waited_for() {
        let (mut line, mut peer) = connected();
        peer.write_all(b"!").unwrap();
        // On the same machine what was sent is there.
        assert!(matches!(asked(&mut line, async {}), Step::Done(Finding::Good)));
        assert!(matches!(line, Line::Connected(_)), "{line:?}");
    }

    #[test]
    fn an_answer_that_comes_later_is_waited_for() {
        let (mut line, mut peer) = connected();
        let later = async {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            peer.write_all(b"!").unwrap();
        };
        assert!(matches!(asked(&mut line, later), Step::Done(Finding::Good)));
        assert!(matches!(line, Line::Stream(_)), "{line:?}");
    }

    #[test]
    fn a_connection_that_ends_before_it_is_asked_is_no_answer() {
        let (mut line, peer) = connected();
        drop(peer);
        assert!(matches!(asked(&mut line, async {}), Step::Done(Finding::NotMade(0))));
    }
}
