//! The programs that the daemon runs: track scripts, notify programs, readers of FIFOs; which run is which.
//!
//! Lives on the services thread and must stay there: the kernel kills children when the *thread* that forked them ends.

use crate::daemon::loops::vrrp::News;
use crate::kernel::process::{Ended, Processes, RunId};
use crate::observe::{Fifos, NotifyRun};
use crate::spec::{Run, ScriptId, Spec};
use crate::vrrp::io::{Exit, KillSignal};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// What a STOP notification may take; then TERM, and KILL shortly after, as keepalived does.
const STOP_LIMIT: Duration = Duration::from_secs(1);
const KILL_AFTER_TERM: Duration = Duration::from_millis(100);

/// A program that goes on while its daemon becomes another one ([`super::again`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeftBehind {
    pub pid: i32,
    /// It has been told to end, or would be, were there time: a track script, a reader of a FIFO.
    pub doomed: bool,
}

/// All programs under way.
pub struct Programs {
    processes: Processes,
    runs: HashMap<RunId, Purpose>,
    /// The run under way of each track script, by name: identifiers change with a reload.
    scripts: HashMap<Box<str>, RunId>,
    limits: Vec<(Instant, RunId, KillSignal)>,
    engine: mpsc::UnboundedSender<News>,
}

#[derive(Debug)]
enum Purpose {
    Track(Box<str>),
    Notify {
        line: String,
        limited: bool,
    },
    Reader {
        path: String,
    },
    /// A former configuration's; nobody wants to know how it ends.
    Forgotten,
    /// A notify program that the program before us started.
    Inherited,
}

impl Programs {
    pub fn new(engine: mpsc::UnboundedSender<News>) -> Programs {
        Programs {
            processes: Processes::new(),
            runs: HashMap::new(),
            scripts: HashMap::new(),
            limits: Vec::new(),
            engine,
        }
    }

    /// What runs at this moment, for whoever this process becomes.
    pub fn left_behind(&self) -> Vec<LeftBehind> {
        let doomed = |id| !matches!(self.runs.get(&id), Some(Purpose::Notify { .. } | Purpose::Inherited));
        self.processes.pids().map(|(id, pid)| LeftBehind { pid, doomed: doomed(id) }).collect()
    }

    /// Takes on what a former program of this process left running: it is reaped when it ends, and whatever was to end
    /// anyway is helped along. Must be called inside a tokio runtime.
    pub fn adopt(&mut self, left: &[LeftBehind]) {
        for LeftBehind { pid, doomed } in left {
            let Some(run) = self.processes.adopt(*pid) else { continue };
            if *doomed {
                self.processes.kill(run, KillSignal::Term);
                self.runs.insert(run, Purpose::Forgotten);
                self.limit(run);
            } else {
                self.runs.insert(run, Purpose::Inherited);
            }
        }
    }

    pub fn run_script(&mut self, spec: &Spec, id: ScriptId) {
        let Some(script) = spec.scripts.get(id.index()) else { return };
        if let Some(former) = self.scripts.remove(&script.name) {
            // The engine has given up on it (a reload): its end means nothing.
            self.processes.kill(former, KillSignal::Term);
            self.runs.insert(former, Purpose::Forgotten);
        }
        let run = self.processes.spawn(&script.run, &[]);
        self.runs.insert(run, Purpose::Track(script.name.clone()));
        self.scripts.insert(script.name.clone(), run);
    }

    pub fn kill_script(&mut self, spec: &Spec, id: ScriptId, signal: KillSignal) {
        if let Some(run) = spec.scripts.get(id.index()).and_then(|script| self.scripts.get(&script.name)) {
            self.processes.kill(*run, signal);
        }
    }

    pub fn notify(&mut self, wish: &NotifyRun) {
        let arguments: Vec<&str> = wish.arguments.iter().map(String::as_str).collect();
        let run = self.processes.spawn(&wish.run, &arguments);
        self.runs.insert(run, Purpose::Notify { line: wish.run.line(), limited: wish.limited });
        if wish.limited {
            self.limit(run);
        }
    }

    /// Starts the readers of the FIFOs of `spec`; those of the last configuration are told to end.
    pub fn readers(&mut self, spec: &Spec) {
        self.end_readers();
        for (program, path) in Fifos::readers(spec) {
            let run = self.processes.spawn(&program, &[]);
            self.runs.insert(run, Purpose::Reader { path });
        }
    }

    fn end_readers(&mut self) {
        for (run, purpose) in &mut self.runs {
            if matches!(purpose, Purpose::Reader { .. }) {
                self.processes.kill(*run, KillSignal::Term);
                *purpose = Purpose::Forgotten;
            }
        }
    }

    /// The daemon ends: track scripts have no say any more.
    pub fn stop_scripts(&mut self) {
        for (_, run) in self.scripts.drain() {
            self.processes.kill(run, KillSignal::Term);
            self.runs.insert(run, Purpose::Forgotten);
        }
    }

    /// Readers are told to end; whatever else is under way has the time of a STOP notification.
    pub fn stop(&mut self) {
        self.end_readers();
        let left: Vec<RunId> =
            self.runs.iter().filter(|(_, p)| matches!(p, Purpose::Forgotten)).map(|(run, _)| *run).collect();
        for run in left {
            self.limit(run);
        }
    }

    fn limit(&mut self, run: RunId) {
        let at = Instant::now() + STOP_LIMIT;
        self.limits.push((at, run, KillSignal::Term));
        self.limits.push((at + KILL_AFTER_TERM, run, KillSignal::Kill));
    }

    /// Nothing is left that the end of the daemon has to wait for.
    pub fn finished(&self) -> bool {
        !self.runs.values().any(|purpose| matches!(purpose, Purpose::Notify { limited: true, .. } | Purpose::Forgotten))
    }

    /// Runs one program to its end or for `limit`, and answers how it ended: start-up and shut-down scripts.
    pub async fn run_alone(&mut self, run: &Run, limit: Duration) -> Option<Exit> {
        let id = self.processes.spawn(run, &[]);
        let mut signal = KillSignal::Term;
        let mut wait = limit;
        loop {
            match tokio::time::timeout(wait, self.processes.ended()).await {
                Ok(ended) if ended.id == id => return Some(ended.exit),
                Ok(_) => {}
                Err(_) => {
                    self.processes.kill(id, signal);
                    if signal == KillSignal::Kill {
                        return None;
                    }
                    (signal, wait) = (KillSignal::Kill, STOP_LIMIT);
                }
            }
        }
    }

    /// Deals with one thing that happens to the programs. Cancel-safe.
    pub async fn attend(&mut self) {
        let next = self.limits.iter().map(|(at, ..)| *at).min();
        let alarm = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = self.processes.ended() => self.ended(ended),
            () = alarm => {
                let now = Instant::now();
                let due: Vec<_> = self.limits.iter().filter(|(at, ..)| *at <= now).copied().collect();
                self.limits.retain(|(at, ..)| *at > now);
                for (_, run, signal) in due {
                    self.processes.kill(run, signal);
                }
            }
        }
    }

    fn ended(&mut self, ended: Ended) {
        let Ended { id, exit, error } = ended;
        self.limits.retain(|(_, run, _)| *run != id);
        match self.runs.remove(&id) {
            Some(Purpose::Track(name)) => {
                self.scripts.remove(&name);
                if let Some(error) = error {
                    tracing::warn!(target: "vrrp", "VRRP_Script({name}) cannot be started: {error}");
                }
                let _ = self.engine.send(News::ScriptExited(name, exit));
            }
            Some(Purpose::Notify { line, .. }) => match (error, exit) {
                (Some(error), _) => tracing::warn!(target: "vrrp", "Cannot start {line}: {error}"),
                (None, Exit::Code(0)) => {}
                (None, Exit::Code(code)) => tracing::debug!(target: "vrrp", "{line} exited with status {code}"),
                (None, Exit::Signal(signal)) => tracing::info!(target: "vrrp", "{line} ended by signal {signal}"),
                (None, Exit::NotRun) => {}
            },
            Some(Purpose::Reader { path }) => {
                tracing::warn!(target: "vrrp", "vrrp notify fifo script terminated ({path})");
            }
            Some(Purpose::Forgotten | Purpose::Inherited) | None => {}
        }
    }
}
