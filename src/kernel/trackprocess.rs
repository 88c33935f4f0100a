//! Tracked processes: how many run that match, kept up by the kernel's process events.
//!
//! A scan of /proc gives the first picture; fork, exec, name change and exit events keep it. When events were lost, it is
//! scanned again. Inside a network namespace, so in most containers, the kernel gives no events: there it is scanned every
//! second. A process is looked at in /proc at the moment of its event, so what is counted is what is there.

use super::readiness::{Owning, readable};
use crate::spec::{NetlinkBuffers, ParamMatch, ProcessId, ProcessSpec};
use proc_connector::{Error, NetlinkMessageIter, ProcConnector, ProcEvent};
use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

/// The kernel keeps 15 bytes of a program's name.
const COMM: usize = 15;
const READ: usize = 16 * 1024;
/// How often processes are counted where there are no events.
const POLL: Duration = Duration::from_secs(1);

/// Counts processes. Opened before a network namespace is entered: the kernel gives process events only in the first.
#[derive(Debug)]
pub struct ProcessWatch {
    events: Events,
    wanted: Vec<ProcessSpec>,
    /// Which of `wanted` each process matches, for those that match any.
    matches: HashMap<u32, Vec<usize>>,
    told: Vec<u32>,
    news: VecDeque<(ProcessId, u32)>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
enum Events {
    /// Not yet in a runtime.
    Idle(Option<Connector>),
    Live(AsyncFd<Connector>),
    /// There are none: when to look next, and why there are none, until that has been told.
    Polled(Option<Instant>, Option<io::Error>),
}

struct Connector(ProcConnector);

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connector({})", self.0.as_raw_fd())
    }
}
impl AsRawFd for Connector {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
// SAFETY: the connector owns its socket and keeps the same one until it is dropped.
unsafe impl Owning for Connector {}

impl ProcessWatch {
    /// Without permission (CAP_NET_ADMIN), in a network namespace or on a kernel without the process connector it goes
    /// without events; see [`ProcessWatch::without_events`].
    pub fn open(buffers: &NetlinkBuffers) -> ProcessWatch {
        let connect = || -> Result<ProcConnector, Error> {
            let connector = ProcConnector::new()?;
            connector.set_nonblocking()?;
            Ok(connector)
        };
        let events = match connect() {
            Ok(connector) => {
                if let Some(bytes) = buffers.process {
                    // SAFETY: the connector owns its descriptor and outlives the loan.
                    let socket = unsafe { std::os::fd::BorrowedFd::borrow_raw(connector.as_raw_fd()) };
                    super::buffer::set(&socket, bytes, buffers.process_force);
                }
                Events::Idle(Some(Connector(connector)))
            }
            Err(error) => Events::Polled(None, Some(io::Error::other(error))),
        };
        ProcessWatch {
            events,
            wanted: Vec::new(),
            matches: HashMap::new(),
            told: Vec::new(),
            news: VecDeque::new(),
            buffer: vec![0; READ],
        }
    }

    /// Why processes are counted every second instead of being told of by the kernel, if they are; answers once.
    pub fn without_events(&mut self) -> Option<io::Error> {
        match &mut self.events {
            Events::Polled(_, error) => error.take(),
            Events::Idle(_) | Events::Live(_) => None,
        }
    }

    /// What to count from here on; answers the present counts. Must be called inside a tokio runtime.
    pub fn configure(&mut self, processes: &[ProcessSpec]) -> Vec<(ProcessId, u32)> {
        if let Events::Idle(connector) = &mut self.events
            && let Some(connector) = connector.take()
            && let Ok(live) = readable(connector)
        {
            self.events = Events::Live(live);
        }
        self.wanted = processes.to_vec();
        self.told = vec![0; processes.len()];
        self.news.clear();
        self.scan();
        self.told = self.counts();
        (0u32..).map(ProcessId).zip(self.told.iter().copied()).collect()
    }

    /// What each count was when it was told last.
    pub fn told(&self) -> Vec<(ProcessId, u32)> {
        (0u32..).map(ProcessId).zip(self.told.iter().copied()).collect()
    }

    /// The next count that differs from the last told. Delays (`terminate_delay`, `fork_delay`) are the engine's
    /// business. Cancel-safe.
    pub async fn next(&mut self) -> (ProcessId, u32) {
        loop {
            if let Some(news) = self.news.pop_front() {
                return news;
            }
            let live = match &mut self.events {
                Events::Live(live) => live,
                Events::Idle(_) => return std::future::pending().await,
                Events::Polled(next, _) => {
                    // Kept outside, as this future is dropped whenever anything else happens first.
                    tokio::time::sleep_until(*next.get_or_insert_with(|| Instant::now() + POLL)).await;
                    *next = None;
                    self.scan();
                    self.compare();
                    continue;
                }
            };
            let mut guard = match live.readable().await {
                Ok(guard) => guard,
                Err(_) => return std::future::pending().await,
            };
            let received = guard.get_inner().0.recv_raw(&mut self.buffer);
            match received {
                Ok(length) => {
                    drop(guard);
                    self.take(length);
                }
                Err(Error::Overrun) => {
                    drop(guard);
                    self.scan();
                }
                Err(_) => {
                    guard.clear_ready();
                    continue;
                }
            }
            self.compare();
        }
    }

    fn take(&mut self, length: usize) {
        let mut changed = Vec::new();
        let mut gone = Vec::new();
        for event in NetlinkMessageIter::new(&self.buffer, length).filter_map(|event| event.ok().flatten()) {
            match event {
                ProcEvent::Exec { tgid, .. } => changed.push(tgid),
                ProcEvent::Fork { child_pid, child_tgid, .. } if child_pid == child_tgid => changed.push(child_tgid),
                ProcEvent::Comm { pid, tgid, .. } if pid == tgid => changed.push(tgid),
                // The leader's exit: it is a zombie from here on, and zombies do not count.
                ProcEvent::Exit { pid, tgid, .. } if pid == tgid => gone.push(tgid),
                _ => {}
            }
        }
        for process in changed {
            self.look(process);
        }
        for process in gone {
            self.matches.remove(&process);
        }
    }

    fn scan(&mut self) {
        self.matches.clear();
        let Ok(folder) = fs::read_dir("/proc") else { return };
        for entry in folder.flatten() {
            if let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                self.look(process);
            }
        }
    }

    fn look(&mut self, process: u32) {
        let found = Seen::read(process).map_or_else(Vec::new, |seen| {
            let fits = self.wanted.iter().enumerate().filter(|(_, wanted)| seen.fits(wanted));
            fits.map(|(at, _)| at).collect()
        });
        if found.is_empty() {
            self.matches.remove(&process);
        } else {
            self.matches.insert(process, found);
        }
    }

    fn counts(&self) -> Vec<u32> {
        let mut counts = vec![0u32; self.wanted.len()];
        for at in self.matches.values().flatten() {
            if let Some(count) = counts.get_mut(*at) {
                *count += 1;
            }
        }
        counts
    }

    fn compare(&mut self) {
        let counts = self.counts();
        for ((id, count), told) in (0u32..).map(ProcessId).zip(&counts).zip(&self.told) {
            if count != told {
                self.news.push_back((id, *count));
            }
        }
        self.told = counts;
    }
}

/// A process as /proc shows it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// The kernel's name of it, 15 bytes at most.
    pub comm: Vec<u8>,
    /// Its command line, word by word.
    pub words: Vec<Vec<u8>>,
}

impl Seen {
    /// `None` if it is gone or a zombie.
    fn read(process: u32) -> Option<Seen> {
        let stat = fs::read(format!("/proc/{process}/stat")).ok()?;
        // The name stands in parentheses and may hold anything, parentheses too.
        let open = stat.iter().position(|b| *b == b'(')?;
        let close = stat.iter().rposition(|b| *b == b')')?;
        let state = stat.get(close + 2)?;
        if matches!(state, b'Z' | b'X' | b'x') {
            return None;
        }
        let comm = stat.get(open + 1..close)?.to_vec();
        let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        let words = line.split(|b| *b == 0).map(<[u8]>::to_vec);
        let mut words: Vec<Vec<u8>> = words.collect();
        if words.last().is_some_and(Vec::is_empty) {
            words.pop();
        }
        Some(Seen { comm, words })
    }

    /// Does it match? By the kernel's name; by the first word of the command line where that is asked for or parameters
    /// are compared.
    pub fn fits(&self, wanted: &ProcessSpec) -> bool {
        let name = wanted.process.as_bytes();
        let by_line = wanted.full_command || !wanted.params.is_empty() || wanted.param_match != ParamMatch::None;
        if !by_line {
            return self.comm == name.get(..COMM).unwrap_or(name);
        }
        let Some((first, rest)) = self.words.split_first() else { return false };
        if first != name {
            return false;
        }
        let params: Vec<&[u8]> = wanted.params.iter().map(|param| param.as_bytes()).collect();
        let starts = |word: &Vec<u8>, param: &&[u8]| word.starts_with(param);
        match wanted.param_match {
            ParamMatch::None => true,
            ParamMatch::Exact => rest.len() == params.len() && rest.iter().zip(&params).all(|(a, b)| a == b),
            // The first words are these, others may follow.
            ParamMatch::Initial => rest.len() >= params.len() && rest.iter().zip(&params).all(|(a, b)| a == b),
            // As Initial, and of the last only the beginning need be there.
            ParamMatch::Partial => {
                let Some((last, before)) = params.split_last() else { return true };
                rest.len() >= params.len()
                    && rest.iter().zip(before).all(|(a, b)| a == b)
                    && rest.get(before.len()).is_some_and(|word| starts(word, last))
            }
        }
    }
}
