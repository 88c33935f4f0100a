//! The programs that the services thread has run: notify programs, and the readers of FIFOs.
//!
//! It says what is to run and why, and puts into the log what became of it. Starting, watching and ending are the
//! programs thread's.

use crate::kernel::process::Whom;
use crate::kernel::programs::{Client, Handle, Job, Limit, Notice, Room};
use crate::observe::{Fifos, NotifyRun, Tally};
use crate::spec::{Attempt, Exit, Spec};
use std::collections::HashMap;
use std::io;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// What a STOP notification may take; then TERM, and KILL shortly after, as keepalived does.
const STOP_LIMIT: Limit = Limit { after: Duration::from_secs(1), then: Duration::from_millis(100) };
/// Notify programs at once. One that never ends takes a place for ever; 1,000 instances that change together take turns.
const ROOM: Room = Room { running: 128, waiting: 8_192 };

/// Notify programs and readers under way.
pub struct Notifications {
    programs: Handle,
    client: Client,
    notices: mpsc::UnboundedReceiver<(Attempt, Notice)>,
    runs: HashMap<Attempt, Purpose>,
    last: Attempt,
    /// How long a reader has to clean up (`child_wait_time`).
    patience: Duration,
    /// How notify programs fare is counted there.
    tally: Tally,
}

#[derive(Debug)]
enum Purpose {
    Notify { program: String },
    Reader { program: String, path: String },
}

impl Notifications {
    /// None runs yet; `tally` counts them.
    pub fn new(programs: Handle, tally: Tally) -> Notifications {
        let (tell, notices) = mpsc::unbounded_channel();
        let client = programs.client(ROOM, move |attempt, notice| {
            let _ = tell.send((attempt, notice));
        });
        let (runs, last) = (HashMap::new(), Attempt::default());
        Notifications { programs, client, notices, runs, last, patience: Duration::ZERO, tally }
    }

    /// Runs a notify program beside those that run, or when one of them has ended, where too many do ([`ROOM`]).
    pub fn notify(&mut self, wish: &NotifyRun) {
        let limit = wish.limited.then_some(STOP_LIMIT);
        let job = Job { extra: wish.arguments.clone(), limit, outlives: true, ..Job::new(wish.run.clone()) };
        self.start(job, Purpose::Notify { program: wish.run.program().to_owned() });
    }

    /// Starts the readers of the FIFOs of `spec`; those of the last configuration are told to end.
    pub fn readers(&mut self, spec: &Spec) {
        self.end_readers();
        self.patience = Duration::from_secs(spec.daemon.child_wait_secs.into());
        for (run, path) in Fifos::readers(spec) {
            let purpose = Purpose::Reader { program: run.program().to_owned(), path };
            // It may have programs of its own under way, which it is to end itself.
            self.start(Job { whom: Whom::Itself, ..Job::new(run) }, purpose);
        }
    }

    fn start(&mut self, job: Job, purpose: Purpose) {
        let attempt = self.last.advance();
        self.runs.insert(attempt, purpose);
        self.client.start(attempt, job);
    }

    fn end_readers(&mut self) {
        let (client, patience) = (&self.client, self.patience);
        self.runs.retain(|attempt, purpose| {
            let reads = matches!(purpose, Purpose::Reader { .. });
            if reads {
                client.abandon(*attempt, patience);
            }
            !reads
        });
    }

    /// The daemon ends: readers are told to, and whatever else was given up has a second left. Answered when nothing of
    /// it runs any more, and no STOP notification. The second part is what readers may take of that.
    pub fn stop(&mut self) -> (oneshot::Receiver<()>, Duration) {
        let reads = self.runs.values().any(|purpose| matches!(purpose, Purpose::Reader { .. }));
        self.end_readers();
        self.programs.hurry();
        (self.programs.settled(), if reads { self.patience } else { Duration::ZERO })
    }

    /// Deals with one thing that happens to them. Cancel-safe.
    pub async fn attend(&mut self) {
        match self.notices.recv().await {
            Some((attempt, notice)) => self.noticed(attempt, notice),
            None => std::future::pending().await,
        }
    }

    /// Everything that is known by now gets into the log.
    pub fn catch_up(&mut self) {
        while let Ok((attempt, notice)) = self.notices.try_recv() {
            self.noticed(attempt, notice);
        }
    }

    fn noticed(&mut self, attempt: Attempt, notice: Notice) {
        if notice == Notice::Started {
            return;
        }
        let purpose = self.runs.remove(&attempt);
        if let Some(Purpose::Notify { .. }) = purpose {
            self.tally.notified(notice == Notice::Exited(Exit::Code(0)));
        }
        match (purpose, notice) {
            (Some(Purpose::Notify { program } | Purpose::Reader { program, .. }), Notice::NotRun(error)) => {
                tracing::warn!(target: "vrrp", "Cannot start {program}: {}", io::Error::from_raw_os_error(error));
            }
            (Some(Purpose::Reader { path, .. }), _) => {
                tracing::warn!(target: "vrrp", "vrrp notify fifo script terminated ({path})");
            }
            (Some(Purpose::Notify { program }), Notice::Exited(Exit::Code(code))) if code != 0 => {
                tracing::debug!(target: "vrrp", "{program} exited with status {code}");
            }
            (Some(Purpose::Notify { program }), Notice::Exited(Exit::Signal(signal))) => {
                tracing::info!(target: "vrrp", "{program} ended by signal {signal}");
            }
            _ => {}
        }
    }
}
