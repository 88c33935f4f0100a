//! The programs that the services thread has run: notify programs, and the readers of FIFOs.
//!
//! It says what is to run and why, and puts into the log what became of it. Starting, watching and ending are the
//! programs thread's.

use crate::kernel::clock;
use crate::kernel::perhaps::perhaps;
use crate::kernel::process::Whom;
use crate::kernel::programs::{Client, Handle, Job, Limit, Notice, Room};
use crate::observe::tally::{LONG, Underway};
use crate::observe::{Fifos, NotifyRun, Tally};
use crate::spec::{Attempt, Exit, Spec};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

/// What a STOP notification may take; then TERM, and KILL shortly after, as keepalived does.
const STOP_LIMIT: Limit = Limit { after: Duration::from_secs(1), then: Duration::from_millis(100) };
/// Notify programs at once: 1,000 instances that change together take turns. One that takes longer than a few seconds takes nobody's
/// turn, as keepalived runs all of them beside each other.
const ROOM: Room = Room { running: 128, waiting: 8_192, counts: Some(Duration::from_secs(5)) };

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
    /// When each of those that run is told of, if it still does.
    long_at: BTreeSet<(Instant, Attempt)>,
    /// Those that were told of.
    told: BTreeSet<Attempt>,
}

#[derive(Debug)]
enum Purpose {
    Notify { program: String, of: String, event: String, begun: bool },
    Reader { program: String, path: String },
}

impl Notifications {
    /// `tally` counts them; `left` are those that the program before this one of the process left running.
    pub fn new(programs: Handle, tally: Tally, left: Vec<Underway>) -> Notifications {
        let (tell, notices) = mpsc::unbounded_channel();
        let client = programs.client(ROOM, move |attempt, notice| {
            let _ = tell.send((attempt, notice));
        });
        let mut new = Notifications {
            programs,
            client,
            notices,
            runs: HashMap::new(),
            last: Attempt::default(),
            patience: Duration::ZERO,
            tally,
            long_at: BTreeSet::new(),
            told: BTreeSet::new(),
        };
        for underway in left {
            new.take_over(underway);
        }
        new
    }

    fn take_over(&mut self, underway: Underway) {
        let attempt = self.last.advance();
        let Underway { of, event, program, pid, since } = underway.clone();
        self.runs.insert(attempt, Purpose::Notify { program, of, event, begun: true });
        let so_far = Duration::from_micros(clock::now().since(since).as_micros());
        self.long_at.insert((Instant::now() + LONG.saturating_sub(so_far), attempt));
        self.tally.notify_goes_on(attempt, underway);
        self.client.take_over(attempt, pid);
    }

    /// Runs a notify program beside those that run, or when one of them has ended, where too many do ([`ROOM`]).
    pub fn notify(&mut self, wish: &NotifyRun) {
        let limit = wish.limited.then_some(STOP_LIMIT);
        let job =
            Job { extra: wish.arguments.clone(), limit, outlives: true, in_turn: true, ..Job::new(wish.run.clone()) };
        let (program, of) = (wish.run.program().to_owned(), wish.of.clone());
        self.tally.notify_waits();
        self.start(job, Purpose::Notify { program, of, event: wish.event.to_owned(), begun: false });
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
        let long_at = self.long_at.first().map(|(at, _)| *at);
        tokio::select! {
            Some((attempt, notice)) = self.notices.recv() => self.noticed(attempt, notice),
            () = perhaps(long_at.map(sleep_until)) => {
                for line in self.long(Instant::now()) {
                    tracing::warn!(target: "vrrp", "{line}");
                }
            }
        }
    }

    /// Names those that have run for [`LONG`]: each program once, until none of its runs is so long any more.
    fn long(&mut self, now: Instant) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some((_, attempt)) = self.long_at.first().copied().filter(|(at, _)| *at <= now) {
            self.long_at.pop_first();
            let counts = self.tally.read();
            let Some(long) = counts.underway.get(&attempt) else { continue };
            let known = |told: &Attempt| counts.underway.get(told).is_some_and(|told| told.program == long.program);
            if !self.told.iter().any(known) {
                let waiting = match counts.waiting {
                    0 => "others run beside it".to_owned(),
                    1 => "another one waits for its turn".to_owned(),
                    count => format!("{count} others wait for their turn"),
                };
                let Underway { of, event, program, pid, .. } = long;
                let took = LONG.as_secs();
                lines.push(format!(
                    "notify program {program} of {of} ({event}) has been running for {took} s and has not ended (pid {pid}): it is left alone, and {waiting}"
                ));
            }
            self.told.insert(attempt);
        }
        lines
    }

    /// Everything that is known by now gets into the log.
    pub fn catch_up(&mut self) {
        while let Ok((attempt, notice)) = self.notices.try_recv() {
            self.noticed(attempt, notice);
        }
    }

    /// Forgets a run, and says so if it was told of.
    fn ended(&mut self, attempt: Attempt) {
        self.long_at.retain(|(_, long)| *long != attempt);
        let Some(ended) = self.tally.notify_ended(attempt) else { return };
        if self.told.remove(&attempt) {
            let took = clock::now().since(ended.since);
            tracing::info!(
                target: "vrrp",
                "notify program {} of {} ({}) has ended after {} s (pid {})",
                ended.program,
                ended.of,
                ended.event,
                took.as_micros() / 1_000_000,
                ended.pid
            );
        }
    }

    fn noticed(&mut self, attempt: Attempt, notice: Notice) {
        if let Notice::Started(pid) = notice {
            if let Some(Purpose::Notify { program, of, event, begun }) = self.runs.get_mut(&attempt) {
                *begun = true;
                let (program, of, event) = (program.clone(), of.clone(), event.clone());
                let underway = Underway { of, event, program, pid, since: clock::now() };
                self.tally.notify_began(attempt, Some(underway));
                self.long_at.insert((Instant::now() + LONG, attempt));
            }
            return;
        }
        let purpose = self.runs.remove(&attempt);
        if let Some(Purpose::Notify { begun, .. }) = &purpose {
            if !begun {
                self.tally.notify_began(attempt, None);
            }
            self.ended(attempt);
            // What ended while nobody was there to see it is not counted.
            if notice != Notice::Exited(Exit::NotRun) {
                self.tally.notified(notice == Notice::Exited(Exit::Code(0)));
            }
        }
        match (purpose, notice) {
            (Some(Purpose::Notify { program, .. } | Purpose::Reader { program, .. }), Notice::NotRun(error)) => {
                tracing::warn!(target: "vrrp", "Cannot start {program}: {}", io::Error::from_raw_os_error(error));
            }
            (Some(Purpose::Reader { path, .. }), _) => {
                tracing::warn!(target: "vrrp", "vrrp notify fifo script terminated ({path})");
            }
            (Some(Purpose::Notify { program, .. }), Notice::Exited(Exit::Code(code))) if code != 0 => {
                tracing::debug!(target: "vrrp", "{program} exited with status {code}");
            }
            (Some(Purpose::Notify { program, .. }), Notice::Exited(Exit::Signal(signal))) => {
                tracing::info!(target: "vrrp", "{program} ended by signal {signal}");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::programs::Programs;
    use crate::spec::{Command, Run};

    #[test]
    fn a_program_that_does_not_end_is_named_once_and_when_it_ends() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _inside = runtime.enter();
        // Nobody attends to the programs: what becomes of them is told here.
        let programs = Programs::new().unwrap();
        let tally = Tally::default();
        let mut notifications = Notifications::new(programs.handle(), tally.clone(), Vec::new());
        let run = Run { command: Command::Shell("true".into()), uid: 0, gid: 0, groups: None };
        for (of, event) in [("VI_1", "BACKUP"), ("VI_1", "MASTER"), ("VI_2", "MASTER")] {
            notifications.notify(&NotifyRun {
                run: run.clone(),
                arguments: Vec::new(),
                of: of.into(),
                event,
                limited: false,
            });
        }
        notifications.noticed(Attempt(1), Notice::Started(71));
        notifications.noticed(Attempt(2), Notice::Started(72));
        assert!(notifications.long(Instant::now()).is_empty());
        let later = Instant::now() + LONG;
        let program = run.program();
        assert_eq!(
            notifications.long(later),
            [format!(
                "notify program {program} of VI_1 (BACKUP) has been running for 60 s and has not ended (pid 71): it is left alone, \
                 and another one waits for its turn"
            )]
        );
        assert!(notifications.long(later).is_empty(), "once");
        assert_eq!((tally.read().underway.len(), tally.read().waiting), (2, 1));
        notifications.noticed(Attempt(1), Notice::Exited(Exit::Code(0)));
        notifications.noticed(Attempt(2), Notice::Exited(Exit::Code(0)));
        assert!(notifications.told.is_empty() && notifications.long_at.is_empty());
        // The next one that hangs is named again.
        notifications.noticed(Attempt(3), Notice::Started(73));
        assert_eq!(notifications.long(Instant::now() + LONG).len(), 1);
    }
}
