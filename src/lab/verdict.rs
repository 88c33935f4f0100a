//! How a rehearsal went: facts and judgement. The sentences are the printer's.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// One wait for a holder.
#[derive(Clone, Debug)]
pub struct Step {
    /// Who answered steadily in the end, if anybody.
    pub holder: Option<usize>,
    /// Who would be right.
    pub right: Vec<usize>,
    /// From the beginning of the wait to the first answer of `holder`.
    pub after: Option<Duration>,
    pub start: Instant,
}

impl Step {
    /// Whether the rehearsal went as the timers promise.
    pub fn good(&self) -> bool {
        self.holder.is_some_and(|h| self.right.contains(&h))
    }
}

/// Silence that the client saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gap {
    pub longest: Duration,
    pub failed: usize,
    pub requests: usize,
}

/// Where one instance of one server stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    pub server: String,
    pub instance: String,
    /// As the daemon's log told it; `None` where no daemon runs.
    pub state: Option<String>,
    /// Virtual addresses of the instance that are on the server, in order.
    pub addresses: Vec<IpAddr>,
}

/// Where one real server of one director stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerStanding {
    pub server: String,
    /// The virtual server, and the real one, as the daemon calls them.
    pub service: String,
    pub real: String,
    /// None of its checks is bad.
    pub good: bool,
    /// It is in the pool, or would be where the kernel cannot balance.
    pub serves: bool,
}

/// What became of the real server that failed, on one director.
#[derive(Clone, Debug)]
pub struct Judged {
    pub director: String,
    pub service: String,
    pub real: String,
    pub good: bool,
    /// It is as its checks must find it; `None`: nobody can say.
    pub right: Option<bool>,
    /// What the last check that changed found.
    pub why: String,
    pub changed: Instant,
    /// From the deed to the change, if there was one.
    pub after: Option<Duration>,
}

/// One wait for real servers.
#[derive(Clone, Debug, Default)]
pub struct ServerStep {
    /// Of the real server that is about to fail, or has failed.
    pub rows: Vec<Judged>,
    /// Who answered the client in the end, by virtual server; `None`: nobody. Empty where the kernel does not balance.
    pub answers: BTreeMap<String, BTreeMap<Option<String>, usize>>,
}

impl ServerStep {
    /// Every director judges as its checks must.
    pub fn good(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|row| row.right != Some(false))
    }
}

/// All that is known at the end.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    pub names: Vec<String>,
    pub address: String,
    pub start: Option<Step>,
    pub failed_server: usize,
    /// What was done, in words.
    pub deed: Option<String>,
    pub takeover: Option<(Step, Gap)>,
    pub recovery: Option<(Step, Gap)>,
    /// Of every instance after the start, after the failure and after the recovery, as far as it came to them.
    pub standings: Vec<Vec<Standing>>,
    /// The same of every real server.
    pub seats: Vec<Vec<ServerStanding>>,
    /// Of a real server that fails: before, after the failure and after the recovery, as far as it came to them.
    pub servers: Vec<ServerStep>,
    /// What is wrong with who answered the client at the virtual servers, in sentences.
    pub misled: Vec<String>,
}

impl Verdict {
    /// The address answered before, moved to the right server, and came back to the right one.
    pub fn good(&self) -> bool {
        self.start.as_ref().is_some_and(Step::good)
            && self.servers.iter().all(ServerStep::good)
            && self.misled.is_empty()
            && (self.deed.is_none()
                || (self.takeover.as_ref().is_some_and(|(s, _)| s.good())
                    && self.recovery.as_ref().is_some_and(|(s, _)| s.good())))
    }

    /// A server's name, or "nobody".
    pub fn name(&self, server: Option<usize>) -> &str {
        server.and_then(|s| self.names.get(s)).map_or("nobody", String::as_str)
    }
}
