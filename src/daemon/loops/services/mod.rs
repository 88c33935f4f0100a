//! The services thread's loop: everything that may be slow. Signals, observers, reload and the control socket meet here;
//! neither the engine thread nor the programs thread ever waits for any of it, and no script's health depends on it.
//! What touches a file system is done aside even from here, as a reload must not wait for a dump.
//!
//! This file has the loop, its phases from start to stop, and what the engine tells. `reloading` is the way of a
//! configuration into force, `questions` what comes over the control socket.

mod mails;
mod questions;
mod reloading;

use super::bfd;
use super::vrrp::{FromEngine, Punctuality, ToEngine};
use crate::balance::io::Input;
use crate::config::report::Class;
use crate::daemon::answers::LastReload;
use crate::daemon::doors::socket::{PrintKind, Question, Reply};
use crate::daemon::drains::Drains;
use crate::daemon::dumps;
use crate::daemon::loops::checker;
use crate::daemon::notifications::Notifications;
use crate::daemon::options::Options;
use crate::daemon::reload::Read;
use crate::daemon::schedule::Schedule;
use crate::daemon::signals::{Signals, Wish};
use crate::daemon::systemd;
use crate::daemon::trackers::Trackers;
use crate::kernel::aside::Writer;
use crate::kernel::clock;
use crate::kernel::perhaps::perhaps;
use crate::kernel::programs::Handle;
use crate::observe::tally::Underway;
use crate::observe::{self, History, Hub, Tally, Wishes, json};
use crate::vrrp::handover::Handover;
use crate::vrrp::io::{Event, Role};
use crate::vrrp::snapshot::Snapshot;
use mails::Mails;
use questions::{Fitting, Leaving};
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

/// How long an orderly stop may take before it is cut short: thousands of addresses take seconds to go.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// How long STOP notifications and mail may take after everything has been given up.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long the last events may take to reach those who watch.
const WATCHERS_READ: Duration = Duration::from_millis(50);
/// Exit code of a daemon that has lost a part of itself (sysexits' EX_SOFTWARE, as keepalived has it).
pub const EXIT_INTERNAL: u8 = 70;

/// What the thread is made of.
pub struct Setup {
    pub options: Arc<Options>,
    pub hub: Hub,
    /// The record of one of the hub's observers.
    pub history: History,
    /// The counts of another one.
    pub tally: Tally,
    pub programs: Handle,
    pub trackers: Trackers,
    pub writer: Writer,
    pub signals: Signals,
    /// SIGTERM, or SIGINT.
    pub stop: mpsc::UnboundedReceiver<()>,
    /// To be set as soon as this thread begins to end.
    pub stopping: Arc<AtomicBool>,
    pub told: mpsc::UnboundedReceiver<FromEngine>,
    pub bfd: bfd::Door,
    pub of_bfd: mpsc::UnboundedReceiver<bfd::FromBfd>,
    pub bfd_punctuality: Arc<Punctuality>,
    pub questions: mpsc::Receiver<Question>,
    pub engine: mpsc::UnboundedSender<ToEngine>,
    pub checker: checker::Door,
    pub of_checker: mpsc::UnboundedReceiver<checker::FromChecker>,
    pub punctuality: Arc<Punctuality>,
    /// Mistakes of the configuration that the daemon starts with.
    pub mistakes: BTreeSet<(Class, String)>,
    pub pid_file: PathBuf,
    /// Drains that outlive the process.
    pub drains: Drains,
    /// Notify programs that the program before this one of the process left running.
    pub notifies: Vec<Underway>,
}

/// Observers, reloads, mail and what is asked over the control socket.
pub struct Services {
    parts: Setup,
    watchers: Vec<mpsc::Sender<Reply>>,
    reading: Option<oneshot::Receiver<Read>>,
    /// Mistakes of a configuration on its way to the engine: the known ones as soon as it is in force.
    on_its_way: Option<BTreeSet<(Class, String)>>,
    /// To be told how the reload under way ends.
    askers: Vec<oneshot::Sender<Reply>>,
    /// A reload was asked for while one was under way.
    again: bool,
    notifications: Notifications,
    /// Answered when the programs that the end waits for have ended.
    settled: Option<oneshot::Receiver<()>>,
    mails: Mails,
    answers: JoinSet<()>,
    /// A program file that is tried out, to be gone over to.
    fitting: Option<Fitting>,
    /// It has been, and follows when the reload before it has ended.
    leaving: Option<Leaving>,
    schedule: Option<Schedule>,
    /// How the last reload ended, for later questions.
    last_reload: Option<LastReload>,
    /// The error of a script that could not be started, until it is.
    not_run: HashMap<Box<str>, i32>,
    /// Configurations read so far (`config_save_dir`).
    read: u32,
    /// Another program file that takes over, and what the engine leaves to it.
    will: Option<Successor>,
    /// Answered when the checker thread has ended; none before it is told to.
    checker_ends: Option<oneshot::Receiver<()>>,
    /// VRRP has ended, and the checker thread has not yet.
    waits_for_checker: bool,
    phase: Phase,
    /// An instance has another state than systemd was told.
    has_changed: bool,
    /// It has said its last word.
    engine_gone: bool,
    /// It had not been asked to end.
    engine_lost: bool,
}

/// Another program, and what the two engines leave to it.
struct Successor {
    program: PathBuf,
    engine: oneshot::Receiver<Box<Handover>>,
    sessions: oneshot::Receiver<Box<bfd::Left>>,
    /// `None`: the checker did not answer in time.
    checks: oneshot::Receiver<Option<Box<crate::balance::Handover>>>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Phase {
    Starting,
    Running,
    /// The engine gives everything up.
    Stopping {
        until: Instant,
    },
    /// Another program takes over as soon as the engine has ended.
    HandingOver,
    /// Only STOP notifications, mail about the end and readers of FIFOs are left.
    LastWords {
        mail: Instant,
        until: Instant,
    },
    Over(u8),
}

impl Services {
    pub(crate) fn new(mut parts: Setup) -> Services {
        Services {
            notifications: Notifications::new(
                parts.programs.clone(),
                parts.tally.clone(),
                std::mem::take(&mut parts.notifies),
            ),
            mails: Mails::new(parts.tally.clone()),
            parts,
            watchers: Vec::new(),
            reading: None,
            on_its_way: None,
            askers: Vec::new(),
            again: false,
            settled: None,
            answers: JoinSet::new(),
            fitting: None,
            leaving: None,
            schedule: None,
            last_reload: None,
            not_run: HashMap::new(),
            read: 0,
            will: None,
            checker_ends: None,
            waits_for_checker: false,
            phase: Phase::Starting,
            has_changed: false,
            engine_gone: false,
            engine_lost: false,
        }
    }

    /// Runs until the daemon has stopped; the exit code comes back. May be called again after a panic.
    pub async fn run(&mut self) -> u8 {
        loop {
            match self.phase {
                Phase::Over(code) => return code,
                Phase::LastWords { .. } if self.settled.is_none() && self.mails.is_empty() => {
                    // Those who watch get what is on its way to them.
                    if !self.watchers.is_empty() {
                        self.watchers.clear();
                        sleep(WATCHERS_READ).await;
                    }
                    return 0;
                }
                // Once for all changes that came together.
                Phase::Running if self.has_changed && self.parts.told.is_empty() => {
                    self.has_changed = false;
                    systemd::changed(&self.parts.hub.context(), self.last_reload.as_ref());
                }
                _ => {}
            }
            let limit = self.phase_ends();
            tokio::select! {
                told = self.parts.told.recv(), if !self.engine_gone => match told {
                    Some(told) => self.told(told),
                    None => self.engine_is_gone(),
                },
                Some(told) = self.parts.of_bfd.recv() => self.of_bfd(told),
                // Before a Spec is in force nobody knows the pipes and mail servers that hear of it.
                Some(told) = self.parts.of_checker.recv(), if self.phase != Phase::Starting => {
                    self.told_by_checker(told);
                }
                _ = perhaps(self.checker_ends.as_mut()) => self.checker_has_ended(),
                wish = self.parts.signals.next() => self.wish(wish),
                Some(question) = self.parts.questions.recv() => self.question(question),
                Some(()) = self.parts.stop.recv() => self.stop(),
                () = self.notifications.attend() => {}
                _ = perhaps(self.settled.as_mut()) => {
                    self.settled = None;
                    self.notifications.catch_up();
                }
                fitted = perhaps(self.fitting.as_mut().map(Fitting::done)) => self.fitted(fitted),
                read = perhaps(self.reading.as_mut()) => {
                    self.reading = None;
                    match read {
                        Ok(read) => self.read(read),
                        Err(_) => self.reload_refused("the configuration could not be read", None),
                    }
                }
                () = perhaps(self.schedule.as_mut().map(Schedule::due)) => {
                    tracing::info!(target: "parent", "Reload time has come");
                    self.reload(None);
                }
                () = perhaps(limit.map(sleep_until)) => self.out_of_time(),
                () = self.mails.sent() => {}
                Some(_) = self.answers.join_next() => {}
            }
        }
    }

    /// When the phase is cut short, if it may not last as long as it likes.
    fn phase_ends(&self) -> Option<Instant> {
        match self.phase {
            Phase::LastWords { mail, .. } if self.settled.is_none() => Some(mail),
            Phase::Stopping { until } | Phase::LastWords { until, .. } => Some(until),
            Phase::Starting | Phase::Running | Phase::HandingOver | Phase::Over(_) => None,
        }
    }

    /// The engine thread has ended, or is about to, without having been asked to.
    pub fn has_lost_the_engine(&self) -> bool {
        self.engine_lost
    }

    /// Gives everything up and ends; for signals and for whoever has lost a part of the daemon.
    pub fn stop(&mut self) {
        if matches!(self.phase, Phase::Starting | Phase::Running) {
            tracing::info!(target: "parent", "Stopping");
            systemd::stopping();
            self.parts.stopping.store(true, Ordering::Release);
            // Peers hear of it first: their clients act upon that, not upon a detection time that has to pass.
            self.parts.bfd.send(bfd::ToBfd::Stop(oneshot::channel().0));
            let _ = self.parts.engine.send(ToEngine::Stop { release: !self.parts.options.keep_claims });
            let (answer, ended) = oneshot::channel();
            self.parts.checker.send(checker::ToChecker::Stop { keep: self.parts.options.keep_table, answer });
            self.checker_ends = Some(ended);
            self.phase = Phase::Stopping { until: Instant::now() + self.stop_patience() };
            self.tell_all_that_it_stops();
        }
    }

    /// `child_wait_time`, but never less than what thousands of addresses may take.
    fn stop_patience(&self) -> Duration {
        STOP_PATIENCE.max(Duration::from_secs(self.parts.hub.spec().daemon.child_wait_secs.into()))
    }

    fn told(&mut self, told: FromEngine) {
        match told {
            FromEngine::Spec { spec, snapshot } => self.in_force(spec, &snapshot),
            FromEngine::NotRun(script, error) => {
                if let Some(script) = self.parts.hub.spec().scripts.get(script.index()) {
                    // Once for each reason, and not with every run.
                    if self.not_run.insert(script.name.clone(), error) == Some(error) {
                        return;
                    }
                    let (name, program) = (&script.name, script.run.program());
                    let why = match error {
                        libc::ENOENT => "it is not there, or the interpreter that its first line names is not".into(),
                        error => std::io::Error::from_raw_os_error(error).to_string(),
                    };
                    tracing::warn!(target: "vrrp", "VRRP_Script({name}) cannot be started: {program}: {why}");
                }
            }
            FromEngine::Ran(script, took) => {
                if let Some(script) = self.parts.hub.spec().scripts.get(script.index()) {
                    self.not_run.remove(&script.name);
                    self.parts.tally.script(&script.name, took);
                }
            }
            FromEngine::Event(event, at) => {
                let mut wishes = Wishes::default();
                let unix_micros = clock::wall_at(at);
                self.parts.hub.event(&event, unix_micros, &mut wishes);
                self.fulfil(wishes);
                if let Event::Became { instance, to, .. } = &event {
                    self.has_changed = true;
                    let instance = self.parts.hub.context().name(*instance).into();
                    let fact = Input::Role { instance, master: *to == Role::Master };
                    self.parts.checker.send(checker::ToChecker::Fact(fact));
                }
                if !self.watchers.is_empty() {
                    let event = json::event(&event, &self.parts.hub.context());
                    let reply = Reply::Event { unix_micros, event };
                    // Who does not keep up is hung up on.
                    self.watchers.retain(|watcher| watcher.try_send(reply.clone()).is_ok());
                }
            }
            FromEngine::Trouble(instance, text) => match instance {
                Some(id) => tracing::warn!(target: "vrrp", "({}) {text}", self.parts.hub.context().name(id)),
                None => tracing::warn!(target: "vrrp", "{text}"),
            },
            FromEngine::Address(text) => tracing::info!(target: "vrrp", "Netlink reflector reports IP {text}"),
            FromEngine::Stopped => {
                let mut wishes = Wishes::default();
                self.parts.hub.stopped(&mut wishes);
                self.fulfil(wishes);
                self.waits_for_checker = true;
                if self.checker_ends.is_none() {
                    self.last_words();
                }
            }
            FromEngine::KernelLost => {
                tracing::error!(target: "parent", "The kernel thread has ended: nothing can be owned any more. Exiting");
                self.engine_lost = true;
                self.phase = Phase::Over(EXIT_INTERNAL);
            }
        }
    }

    fn of_bfd(&mut self, told: bfd::FromBfd) {
        let (event, at) = match told {
            bfd::FromBfd::Trouble(text) => return tracing::warn!(target: "bfd", "{text}"),
            bfd::FromBfd::Event(event, at) => (event, at),
        };
        for (level, line) in observe::bfd::log(&event) {
            observe::log::say!("bfd", level, line);
        }
        let unix_micros = clock::wall_at(at);
        let json = observe::bfd::json(&event);
        if let Some(name) = observe::bfd::subject(&event) {
            self.parts.history.note(name, unix_micros, json.clone());
        }
        let reply = Reply::Event { unix_micros, event: json };
        self.watchers.retain(|watcher| watcher.try_send(reply.clone()).is_ok());
    }

    fn told_by_checker(&mut self, told: checker::FromChecker) {
        match told {
            checker::FromChecker::Event(event, at) => {
                let mut wishes = Wishes::default();
                let unix_micros = clock::wall_at(at);
                self.parts.hub.balance(&event, unix_micros, &mut wishes);
                self.fulfil(wishes);
                if !self.watchers.is_empty()
                    && let Some(event) = observe::balance::story::json(&event)
                {
                    let reply = Reply::Event { unix_micros, event };
                    self.watchers.retain(|watcher| watcher.try_send(reply.clone()).is_ok());
                }
            }
            checker::FromChecker::Warning(text) => tracing::warn!(target: "checker", "{text}"),
            checker::FromChecker::Note(text) => tracing::info!(target: "checker", "{text}"),
        }
    }

    fn checker_has_ended(&mut self) {
        self.checker_ends = None;
        while let Ok(told) = self.parts.of_checker.try_recv() {
            self.told_by_checker(told);
        }
        if self.waits_for_checker {
            self.last_words();
        }
    }

    /// Everything has been given up: what was said about it may still arrive.
    fn last_words(&mut self) {
        let (settled, readers) = self.notifications.stop();
        self.settled = Some(settled);
        let mail = Instant::now() + LAST_WORDS;
        self.phase = Phase::LastWords { mail, until: mail + readers };
    }

    fn fulfil(&mut self, wishes: Wishes) {
        for run in &wishes.runs {
            self.notifications.notify(run);
        }
        for message in wishes.mails {
            self.mails.send(message);
        }
    }

    fn wish(&mut self, wish: Wish) {
        match wish {
            Wish::Reload => self.reload(None),
            Wish::Data => {
                tracing::info!(target: "parent", "Printing parent data for process({}) on signal", std::process::id());
                tracing::info!(target: "vrrp", "Printing VRRP data for process({}) on signal", std::process::id());
                if self.has_checker() {
                    tracing::info!(target: "checker", "Printing checker data for process({}) on signal", std::process::id());
                }
                if self.has_bfd() {
                    tracing::info!(target: "bfd", "Printing BFD data for process({}) on signal", std::process::id());
                }
                self.print(PrintKind::Data);
            }
            Wish::Stats => {
                tracing::info!(target: "vrrp", "Printing VRRP stats for process({}) on signal", std::process::id());
                self.print(PrintKind::Stats);
            }
            Wish::StatsClear => {
                tracing::info!(target: "vrrp", "Printing and clearing VRRP stats for process({}) on signal", std::process::id());
                self.print(PrintKind::StatsClear);
            }
            Wish::Json => self.print(PrintKind::Json),
        }
    }

    /// Writes keepalived's files, whoever wants them.
    fn print(&mut self, what: PrintKind) {
        match what {
            PrintKind::Data => self.dump(dumps::Kind::Data),
            PrintKind::Stats => self.dump(dumps::Kind::Stats),
            PrintKind::StatsClear => {
                self.dump(dumps::Kind::Stats);
                self.clear_counters();
            }
            PrintKind::Json => self.dump(dumps::Kind::Json),
        }
    }

    fn clear_counters(&self) {
        let _ = self.parts.engine.send(ToEngine::ClearCounters);
        self.parts.bfd.send(bfd::ToBfd::ClearCounters);
    }

    fn dump(&mut self, kind: dumps::Kind) {
        if kind == dumps::Kind::Data && self.has_bfd() {
            let (spec, sessions, writer) = (self.parts.hub.spec().clone(), self.sessions(), self.parts.writer.clone());
            self.answers.spawn(async move {
                if let Ok(sessions) = sessions.await {
                    write(&writer, "a dump of BFD", move || dumps::write_bfd(&spec, &sessions));
                }
            });
        }
        if kind == dumps::Kind::Data && self.has_checker() {
            let (spec, servers, writer) = (self.parts.hub.spec().clone(), self.services(), self.parts.writer.clone());
            self.answers.spawn(async move {
                if let Ok(servers) = servers.await {
                    write(&writer, "a dump of virtual servers", move || dumps::write_check(&spec, &servers));
                }
            });
        }
        let (spec, snapshot, writer) = (self.parts.hub.spec().clone(), self.snapshot(), self.parts.writer.clone());
        self.answers.spawn(async move {
            if let Ok(snapshot) = snapshot.await {
                write(&writer, "a dump", move || dumps::write(kind, &spec, &snapshot));
            }
        });
    }

    fn snapshot(&self) -> oneshot::Receiver<Box<Snapshot>> {
        let (answer, answered) = oneshot::channel();
        let _ = self.parts.engine.send(ToEngine::Snapshot(answer));
        answered
    }

    /// Would keepalived have a process for BFD?
    fn has_bfd(&self) -> bool {
        let spec = self.parts.hub.spec();
        self.parts.options.parts.bfd
            && (!spec.bfds.is_empty() || !spec.sessions.is_empty() || self.parts.options.parts.all)
    }

    /// Would keepalived have a checker process?
    fn has_checker(&self) -> bool {
        let parts = &self.parts.options.parts;
        parts.checkers && (self.parts.hub.spec().daemon.virtual_servers > 0 || parts.all)
    }

    fn sessions(&self) -> oneshot::Receiver<Box<crate::bfd::snapshot::Snapshot>> {
        let (answer, answered) = oneshot::channel();
        self.parts.bfd.send(bfd::ToBfd::Snapshot(answer));
        answered
    }

    fn engine_is_gone(&mut self) {
        self.engine_gone = true;
        if self.waits_for_checker {
            // It has said its last word, and ended in order.
            return;
        }
        if self.phase == Phase::HandingOver {
            self.phase = Phase::Over(0);
            return;
        }
        if matches!(self.phase, Phase::Starting | Phase::Running | Phase::Stopping { .. }) {
            tracing::error!(target: "parent", "The engine has ended unexpectedly: everything is given up. Exiting");
            self.engine_lost = true;
            self.phase = Phase::Over(EXIT_INTERNAL);
        }
    }

    fn out_of_time(&mut self) {
        if matches!(self.phase, Phase::Stopping { .. }) {
            let patience = self.stop_patience().as_secs();
            tracing::error!(target: "parent", "Not everything could be given up within {patience} s");
        }
        self.phase = Phase::Over(0);
    }
}

/// Has a file written aside, after those before it.
fn write(writer: &Writer, what: &str, work: impl FnOnce() + Send + 'static) {
    if let Err(what) = writer.put(what.to_owned(), work) {
        tracing::warn!(target: "parent", "Not written: {what}. What is being written does not come to an end");
    }
}
