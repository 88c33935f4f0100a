//! Checks of real servers as dialogues: bytes in, bytes out, and at the end a [`Finding`]. No socket, no clock.
//!
//! A [`Plan`] is made once for a check and holds what is costly: the compiled pattern, the TLS settings, the question's
//! bytes. Each attempt begins a [`Dialogue`], which is told what happened to its connection ([`Heard`]) with the time,
//! and says what is to be done next ([`Step`]). Deadlines in a step are points in time that follow from the start of the
//! stage, never from the moment at which somebody looked. Whoever carries the steps out (`kernel::probes`, a test, the
//! fuzzer) knows no protocol.
//!
//! A dialogue takes any bytes in any pieces, holds a bounded part of them, and ends: at the latest when
//! [`Patience::whole`] has passed. Requests, what counts as success and the times of each stage are keepalived's; where
//! that was plainly a defect the right thing is done, and docs/differences.md says so.

mod dns;
pub mod http;
mod pattern;
mod ping;
mod smtp;
mod tcp;
#[cfg(test)]
mod tests;
pub mod tls;
mod transcript;
mod udp;

pub use ping::reply as echo_reply;
pub use transcript::{Said, Transcript, Utterance};

use crate::balance::io::{Finding, Stage, Symptom};
use crate::spec::balance::{Checker, CheckerKind, Connection};
use crate::time::{Interval, Time};
use std::net::IpAddr;
use std::sync::Arc;

/// One attempt of one check.
pub trait Dialogue: Send {
    /// What happened, at what time, and what is to be done about it. The first call says [`Heard::Begin`]; after
    /// [`Step::Done`] there is no further call.
    fn next(&mut self, now: Time, heard: Heard<'_>, talk: &mut Transcript) -> Step;

    /// The page that the dialogue is at: its position among the pages of the check. 0 where there is only one question.
    fn page(&self) -> usize {
        0
    }
}

/// What happened to the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard<'a> {
    Begin,
    /// The answer to [`Step::Connect`].
    Connected,
    /// All bytes of [`Step::Send`] have gone to the kernel.
    Sent,
    /// A piece of the stream, one datagram, or one ICMP message; never empty for a stream.
    Bytes(&'a [u8]),
    /// The other side has ended the stream in order.
    Ended,
    /// The time of the step is over.
    TimedOut,
    Failed(Failure),
}

/// Why a connection is no good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Nobody listens there: a TCP reset to the first packet, or an ICMP port unreachable.
    Refused,
    /// Reset after it had been made.
    Reset,
    /// The kernel's error number: no route, host unreachable, administratively prohibited, ….
    Unreachable(i32),
    /// The kernel's error number of something that is wrong on this machine: no descriptor, the source address is not here.
    Local(i32),
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Open the connection; one that is open is closed first.
    Connect {
        until: Time,
    },
    /// All of it; one datagram where there are datagrams.
    Send {
        bytes: Vec<u8>,
        until: Time,
    },
    /// Wait for something to be heard.
    Listen {
        until: Time,
    },
    Done(Finding),
}

/// How long a check waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// `connect_timeout`: for the connection, and then for each answer.
    pub stage: Interval,
    /// For one page, or one conversation, as a whole: `delay_loop`, and three times `stage` at the least. Within each
    /// stage a server can be slow for ever, a byte at a time; keepalived waits as long as it is.
    pub whole: Interval,
}

impl Patience {
    /// From the configuration: the connection's time, and the check's interval for all the rest.
    pub fn new(connect_timeout: Interval, delay_loop: Interval) -> Patience {
        let thrice = connect_timeout.times(3);
        Patience { stage: connect_timeout, whole: delay_loop.max(thrice) }
    }

    /// The end of a stage that begins now.
    fn stage_from(self, now: Time) -> Time {
        now + self.stage
    }
}

/// What carries the bytes of a check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// TCP.
    Stream,
    /// UDP.
    Datagram,
    /// ICMP echo.
    Echo,
}

/// Numbers that make an answer this question's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Numbers {
    /// Id of a DNS message (random), identifier of an ICMP echo (the socket's).
    pub id: u16,
    /// Sequence number of an ICMP echo.
    pub sequence: u16,
}

/// A check that opens connections, prepared.
#[derive(Clone, Debug)]
pub struct Plan {
    question: Question,
    connection: Connection,
    patience: Patience,
}

#[derive(Clone, Debug)]
enum Question {
    Tcp,
    Ping,
    Udp(Arc<udp::Question>),
    Smtp(Arc<str>),
    Dns(dns::Question),
    Http(Arc<http::Site>),
}

impl Plan {
    /// `None` for checks that open no connection: MISC_CHECK, FILE_CHECK, BFD_CHECK.
    pub fn new(checker: &Checker, tls: &tls::Client) -> Option<Plan> {
        let connection = checker.connection.clone()?;
        let delay_loop = checker.timing.map_or(Interval::ZERO, |timing| timing.delay_loop);
        let question = match &checker.kind {
            CheckerKind::Tcp => Question::Tcp,
            CheckerKind::Ping => Question::Ping,
            CheckerKind::Udp { payload, reply, shortest, longest } => {
                Question::Udp(udp::Question::new(payload, reply.as_deref(), *shortest, *longest).into())
            }
            CheckerKind::Smtp { helo } => Question::Smtp(helo.as_ref().into()),
            CheckerKind::Dns { record, name } => Question::Dns(dns::question(record, name)),
            CheckerKind::Http(http) => Question::Http(http::Site::new(http, &connection, tls).into()),
            CheckerKind::Misc { .. } | CheckerKind::File { .. } | CheckerKind::Bfd { .. } => return None,
        };
        let patience = Patience::new(connection.timeout, delay_loop);
        Some(Plan { question, connection, patience })
    }

    /// What kind of socket it needs.
    pub fn transport(&self) -> Transport {
        match self.question {
            Question::Tcp | Question::Smtp(_) | Question::Http(_) => Transport::Stream,
            Question::Udp(_) | Question::Dns(_) => Transport::Datagram,
            Question::Ping => Transport::Echo,
        }
    }

    /// Where and how it connects.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// How long each stage may take.
    pub fn patience(&self) -> Patience {
        self.patience
    }

    /// How many pages the check has; 1 for all but HTTP_GET and SSL_GET.
    pub fn pages(&self) -> usize {
        match &self.question {
            Question::Http(site) => site.pages(),
            Question::Tcp | Question::Ping | Question::Udp(_) | Question::Smtp(_) | Question::Dns(_) => 1,
        }
    }

    /// An attempt that asks for everything, page after page.
    pub fn begin(&self, numbers: Numbers) -> Box<dyn Dialogue> {
        self.begin_pages(numbers, 0, usize::MAX)
    }

    /// An attempt that asks for one page only, by its position.
    pub fn begin_page(&self, numbers: Numbers, page: usize) -> Box<dyn Dialogue> {
        self.begin_pages(numbers, page, page.saturating_add(1))
    }

    fn begin_pages(&self, numbers: Numbers, first: usize, end: usize) -> Box<dyn Dialogue> {
        let patience = self.patience;
        match &self.question {
            Question::Tcp => Box::new(tcp::Tcp::new(patience)),
            Question::Ping => Box::new(ping::Ping::new(self.target(), numbers, patience)),
            Question::Udp(question) => Box::new(udp::Udp::new(question.clone(), patience)),
            Question::Smtp(helo) => Box::new(smtp::Smtp::new(helo.clone(), patience)),
            Question::Dns(question) => Box::new(dns::Dns::new(question, numbers.id, patience)),
            Question::Http(site) => Box::new(http::Visit::new(site.clone(), first, end, patience)),
        }
    }

    fn target(&self) -> IpAddr {
        self.connection.to.address
    }
}

fn bad(symptom: Symptom) -> Step {
    Step::Done(Finding::Bad(symptom))
}

fn malformed(what: impl Into<Box<str>>) -> Step {
    bad(Symptom::Malformed(what.into()))
}

/// What follows from anything that is no progress; `stage` is where the dialogue was.
fn gave_up(heard: Heard<'_>, stage: Stage) -> Step {
    match heard {
        Heard::TimedOut => bad(Symptom::TimedOut(stage)),
        Heard::Ended => bad(Symptom::Closed(stage)),
        Heard::Failed(Failure::Refused) => bad(Symptom::Refused),
        Heard::Failed(Failure::Reset) if stage == Stage::Connect => bad(Symptom::Refused),
        Heard::Failed(Failure::Reset) => bad(Symptom::Closed(stage)),
        Heard::Failed(Failure::Unreachable(error)) => bad(Symptom::Unreachable(error)),
        Heard::Failed(Failure::Local(error)) => Step::Done(Finding::NotMade(error)),
        // The caller told of a step that was not asked for; the attempt is worth nothing.
        Heard::Begin | Heard::Connected | Heard::Sent | Heard::Bytes(_) => malformed("the check lost its thread"),
    }
}

/// The text that keepalived fills packets with.
fn filler(length: usize) -> Vec<u8> {
    b"keepalived check - ".iter().copied().cycle().take(length).collect()
}
