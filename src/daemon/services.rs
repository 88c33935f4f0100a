//! The services thread's loop: everything that may be slow. Signals, programs, trackers, observers, reload, the control
//! socket and the watchdog meet here; the engine thread never waits for any of it.

use super::again::Will;
use super::control::{Answer, Question, Reply, Request};
use super::driver::{News, Punctuality, Steer, Told};
use super::options::Options;
use super::programs::Programs;
use super::reload::{self, Read};
use super::schedule::Schedule;
use super::signals::{Signals, Wish};
use super::trackers::Trackers;
use super::{again, answers, dumps, reading, systemd};
use crate::config::diagnostic::Class;
use crate::engine::legacy::Legacy;
use crate::engine::snapshot::Snapshot;
use crate::engine::spec::Spec;
use crate::kernel::clock;
use crate::observe::{History, Hub, Wishes, json, mail};
use std::collections::BTreeSet;
use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
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
/// How often `reload_time_file` is looked at.
const SCHEDULE_LOOK: Duration = Duration::from_secs(1);
/// Exit code of a daemon that has lost a part of itself (sysexits' EX_SOFTWARE, as keepalived has it).
pub const EXIT_INTERNAL: u8 = 70;

/// What the thread is made of.
pub struct Setup {
    pub options: Arc<Options>,
    pub hub: Hub,
    /// The record of one of the hub's observers.
    pub history: History,
    pub programs: Programs,
    pub trackers: Trackers,
    pub signals: Signals,
    pub told: mpsc::UnboundedReceiver<Told>,
    pub questions: mpsc::Receiver<Question>,
    pub engine: mpsc::UnboundedSender<News>,
    pub punctuality: Arc<Punctuality>,
    /// Mistakes of the configuration that the daemon starts with.
    pub mistakes: BTreeSet<(Class, String)>,
    pub pid_file: PathBuf,
}

pub struct Services {
    parts: Setup,
    watchers: Vec<mpsc::Sender<Reply>>,
    reading: Option<oneshot::Receiver<Read>>,
    /// Mistakes of a configuration on its way to the engine: the known ones as soon as it is in force.
    on_its_way: Option<BTreeSet<(Class, String)>>,
    /// Who is to be told how the reload under way ends.
    askers: Vec<oneshot::Sender<Reply>>,
    /// A reload was asked for while one was under way.
    again: bool,
    mails: JoinSet<()>,
    answers: JoinSet<()>,
    watchdog: Option<systemd::Watchdog>,
    schedule: Option<Schedule>,
    /// Configurations read so far (`config_save_dir`).
    read: u32,
    /// Another program file that takes over, and what the engine leaves to it.
    will: Option<(PathBuf, oneshot::Receiver<Box<Legacy>>)>,
    phase: Phase,
    /// It has said its last word.
    engine_gone: bool,
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
    /// Only STOP notifications are left.
    LastWords {
        until: Instant,
    },
    Over(u8),
}

impl Services {
    pub fn new(parts: Setup) -> Services {
        Services {
            parts,
            watchers: Vec::new(),
            reading: None,
            on_its_way: None,
            askers: Vec::new(),
            again: false,
            mails: JoinSet::new(),
            answers: JoinSet::new(),
            watchdog: systemd::Watchdog::from_environment(),
            schedule: None,
            read: 0,
            will: None,
            phase: Phase::Starting,
            engine_gone: false,
        }
    }

    /// Runs until the daemon has stopped; the exit code comes back. May be called again after a panic.
    pub async fn run(&mut self) -> u8 {
        loop {
            match self.phase {
                Phase::Over(code) => return code,
                Phase::LastWords { .. } if self.parts.programs.finished() && self.mails.is_empty() => {
                    // Those who watch get what is on its way to them.
                    if !self.watchers.is_empty() {
                        self.watchers.clear();
                        sleep(WATCHERS_READ).await;
                    }
                    return 0;
                }
                _ => {}
            }
            let limit = match self.phase {
                Phase::Stopping { until } | Phase::LastWords { until } => Some(until),
                _ => None,
            };
            let reading = async {
                match &mut self.reading {
                    Some(reading) => reading.await,
                    None => pending().await,
                }
            };
            let watchdog = async {
                match &mut self.watchdog {
                    Some(watchdog) => watchdog.due(&self.parts.engine).await,
                    None => pending().await,
                }
            };
            let out_of_time = async {
                match limit {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            let scheduled = async {
                match &mut self.schedule {
                    Some(schedule) => {
                        while !schedule.look() {
                            sleep(SCHEDULE_LOOK).await;
                        }
                    }
                    None => pending().await,
                }
            };
            tokio::select! {
                told = self.parts.told.recv(), if !self.engine_gone => match told {
                    Some(told) => self.told(told),
                    None => self.engine_is_gone(),
                },
                wish = self.parts.signals.next() => self.wish(wish),
                Some(question) = self.parts.questions.recv() => self.question(question),
                () = self.parts.programs.attend() => {}
                () = self.parts.trackers.attend() => {}
                read = reading => {
                    self.reading = None;
                    match read {
                        Ok(read) => self.read(read),
                        Err(_) => self.reload_refused("the configuration could not be read", None),
                    }
                }
                () = watchdog => {}
                () = scheduled => {
                    tracing::info!(target: "parent", "Reload time has come");
                    self.reload(None);
                }
                () = out_of_time => self.out_of_time(),
                Some(_) = self.mails.join_next() => {}
                Some(_) = self.answers.join_next() => {}
            }
        }
    }

    /// Gives everything up and ends; for signals and for whoever has lost a part of the daemon.
    pub fn stop(&mut self) {
        if matches!(self.phase, Phase::Starting | Phase::Running) {
            tracing::info!(target: "parent", "Stopping");
            systemd::stopping();
            self.parts.programs.stop_scripts();
            let _ = self.parts.engine.send(News::Stop { release: !self.parts.options.keep_claims });
            self.phase = Phase::Stopping { until: Instant::now() + self.stop_patience() };
        }
    }

    /// `child_wait_time`, but never less than what thousands of addresses may take.
    fn stop_patience(&self) -> Duration {
        STOP_PATIENCE.max(Duration::from_secs(self.parts.hub.spec().daemon.child_wait_secs.into()))
    }

    fn told(&mut self, told: Told) {
        match told {
            Told::Spec { spec, snapshot } => self.in_force(spec, &snapshot),
            Told::Run(script) => self.parts.programs.run_script(self.parts.hub.spec(), script),
            Told::Kill(script, signal) => self.parts.programs.kill_script(self.parts.hub.spec(), script, signal),
            Told::Event(event, at) => {
                let mut wishes = Wishes::default();
                let wall = clock::wall();
                let unix_micros = wall.unix_micros.saturating_sub(wall.at.since(at).as_micros());
                self.parts.hub.event(&event, unix_micros, &mut wishes);
                self.fulfil(wishes);
                if !self.watchers.is_empty() {
                    let event = json::event(&event, &self.parts.hub.context());
                    let reply = Reply::Event { unix_micros, event };
                    // Who does not keep up is hung up on.
                    self.watchers.retain(|watcher| watcher.try_send(reply.clone()).is_ok());
                }
            }
            Told::Trouble(instance, text) => match instance {
                Some(id) => tracing::warn!(target: "vrrp", "({}) {text}", self.parts.hub.context().name(id)),
                None => tracing::warn!(target: "vrrp", "{text}"),
            },
            Told::Address(text) => tracing::info!(target: "vrrp", "Netlink reflector reports IP {text}"),
            Told::Stopped => {
                let mut wishes = Wishes::default();
                self.parts.hub.stopped(&mut wishes);
                self.fulfil(wishes);
                self.parts.programs.stop();
                self.phase = Phase::LastWords { until: Instant::now() + LAST_WORDS };
            }
            Told::KernelLost => {
                tracing::error!(target: "parent", "The kernel thread has ended: nothing can be owned any more. Exiting");
                self.phase = Phase::Over(EXIT_INTERNAL);
            }
        }
    }

    fn fulfil(&mut self, wishes: Wishes) {
        for run in &wishes.runs {
            self.parts.programs.notify(run);
        }
        for message in wishes.mails {
            self.mails.spawn(async move {
                if let Err(error) = mail::send(&message).await {
                    tracing::warn!(target: "vrrp", "mail \"{}\" not sent: {error}", message.subject);
                }
            });
        }
    }

    /// A Spec is in force: the first, or another one after a reload.
    fn in_force(&mut self, spec: Arc<Spec>, snapshot: &Snapshot) {
        self.parts.hub.reconfigure(spec.clone(), snapshot);
        self.parts.programs.readers(&spec);
        if self.phase == Phase::Starting {
            self.phase = Phase::Running;
            tracing::info!(target: "parent", "Startup complete");
        } else if let Some(mistakes) = self.on_its_way.take() {
            // What changed while the engine went over may have come to it under a name that it did not know yet.
            let readings = self.parts.trackers.configure(&spec);
            self.parts.trackers.tell(readings);
            self.parts.mistakes = mistakes;
            tracing::info!(target: "parent", "Reload complete");
            self.tell_askers(&Reply::Done { message: format!("{} instances", spec.instances.len()) });
        }
        systemd::ready(&spec);
        self.keep(&spec, snapshot);
        if std::mem::take(&mut self.again) {
            self.reload(None);
        }
    }

    /// What is written down or watched because of a configuration that has come into force.
    fn keep(&mut self, spec: &Spec, snapshot: &Snapshot) {
        let daemon = &spec.daemon;
        self.schedule = daemon.reload_time_file.as_deref().map(|path| Schedule::new(path, daemon.reload_repeat));
        if let Some(directory) = &daemon.config_save_dir {
            reading::save(directory, self.read, &self.parts.options);
            dumps::save(directory, self.read, spec, snapshot);
        }
        self.read += 1;
        if self.parts.options.dump {
            for line in dumps::text(dumps::Kind::Data, spec, snapshot).lines() {
                tracing::info!(target: "vrrp", "{line}");
            }
        }
    }

    fn wish(&mut self, wish: Wish) {
        match wish {
            Wish::Stop => self.stop(),
            Wish::Reload => self.reload(None),
            Wish::Data => {
                tracing::info!(target: "parent", "Printing parent data for process({}) on signal", std::process::id());
                tracing::info!(target: "vrrp", "Printing VRRP data for process({}) on signal", std::process::id());
                self.dump(dumps::Kind::Data);
            }
            Wish::Stats => {
                tracing::info!(target: "vrrp", "Printing VRRP stats for process({}) on signal", std::process::id());
                self.dump(dumps::Kind::Stats);
            }
            Wish::StatsClear => {
                tracing::info!(target: "vrrp", "Printing and clearing VRRP stats for process({}) on signal", std::process::id());
                self.dump(dumps::Kind::Stats);
                let _ = self.parts.engine.send(News::ClearCounters);
            }
            Wish::Json => self.dump(dumps::Kind::Json),
        }
    }

    fn dump(&mut self, kind: dumps::Kind) {
        let (spec, snapshot) = (self.parts.hub.spec().clone(), self.snapshot());
        self.answers.spawn(async move {
            if let Ok(snapshot) = snapshot.await {
                dumps::write(kind, &spec, &snapshot);
            }
        });
    }

    fn snapshot(&self) -> oneshot::Receiver<Box<Snapshot>> {
        let (answer, answered) = oneshot::channel();
        let _ = self.parts.engine.send(News::Snapshot(answer));
        answered
    }

    fn reload(&mut self, asker: Option<oneshot::Sender<Reply>>) {
        self.askers.extend(asker);
        if self.reading.is_some() || self.on_its_way.is_some() || self.phase == Phase::Starting {
            self.again = true;
            return;
        }
        if self.phase != Phase::Running {
            return;
        }
        tracing::info!(target: "parent", "Reloading ...");
        systemd::reloading();
        let marker = reload::marker_path(self.parts.hub.spec(), &self.parts.pid_file);
        self.reading = Some(reload::read_aside(self.parts.options.clone(), marker));
    }

    fn read(&mut self, read: Read) {
        let running = self.parts.hub.spec().clone();
        let report = reading::plain(&read.diagnostics);
        if let Some(path) = &running.daemon.reload_check {
            reading::save_report(path, &report);
        }
        for line in report.lines() {
            tracing::warn!(target: "parent", "{line}");
        }
        if let Some(reason) = reload::refuse(&running, &self.parts.mistakes, &read) {
            self.reload_refused(&reason, (!report.is_empty()).then_some(report));
            return;
        }
        tracing::debug!(target: "parent", "The configuration was read in {:?}", read.took);
        self.on_its_way = Some(reload::mistakes(&read.diagnostics));
        if let Some(spec) = read.spec {
            let spec = Arc::new(reading::within(spec, &self.parts.options));
            let readings = self.parts.trackers.configure(&spec);
            let _ = self.parts.engine.send(News::Reload(spec, readings));
        }
    }

    fn reload_refused(&mut self, reason: &str, diagnostics: Option<String>) {
        let event = crate::engine::io::Event::ReloadRefused { reason: reason.into() };
        self.told(Told::Event(event, clock::now()));
        self.tell_askers(&Reply::Refused { reason: reason.to_owned(), diagnostics });
        systemd::ready(&self.parts.hub.spec().clone());
        if std::mem::take(&mut self.again) {
            self.reload(None);
        }
    }

    fn tell_askers(&mut self, reply: &Reply) {
        for asker in self.askers.drain(..) {
            let _ = asker.send(reply.clone());
        }
    }

    fn question(&mut self, question: Question) {
        let Question { request, answer } = question;
        let answer = match (request, answer) {
            (Request::Reload, Answer::Once(asker)) => return self.reload(Some(asker)),
            (_, Answer::Stream(stream)) => {
                let (snapshot, view) = (self.snapshot(), self.view());
                self.watchers.push(stream.clone());
                self.answers.spawn(async move {
                    if let Ok(snapshot) = snapshot.await {
                        let _ = stream.send(answers::status(&view, &snapshot)).await;
                    }
                });
                return;
            }
            (request, Answer::Once(answer)) => (request, answer),
        };
        let (request, answer) = answer;
        let done = |message: &str| Reply::Done { message: message.to_owned() };
        let reply = match request {
            Request::Hello => answers::hello(&self.parts.options),
            Request::History { instance } => self.history(instance.as_deref()),
            Request::Drain { instance } => self.steer(Steer::Drain, instance),
            Request::Undrain { instance } => self.steer(Steer::Undrain, instance),
            Request::Failover { instance } => self.steer(Steer::Failover, instance),
            Request::Announce { instance } => self.steer(Steer::Announce, instance),
            Request::ClearCounters => {
                let _ = self.parts.engine.send(News::ClearCounters);
                done("the counters are zero")
            }
            Request::Upgrade { program } => {
                self.upgrade(program, answer);
                return;
            }
            request => {
                let (snapshot, view) = (self.snapshot(), self.view());
                self.answers.spawn(async move {
                    let reply = match snapshot.await {
                        Ok(snapshot) => answers::to(&request, &view, &snapshot),
                        Err(_) => Reply::Refused { reason: "the daemon is stopping".into(), diagnostics: None },
                    };
                    let _ = answer.send(reply);
                });
                return;
            }
        };
        let _ = answer.send(reply);
    }

    /// Leaves in favour of another program file; [`Services::run`] returns when the engine has written its will.
    fn upgrade(&mut self, program: Option<PathBuf>, asker: oneshot::Sender<Reply>) {
        let refuse = |asker: oneshot::Sender<Reply>, reason: String| {
            let _ = asker.send(Reply::Refused { reason, diagnostics: None });
        };
        if self.phase != Phase::Running || self.reading.is_some() || self.on_its_way.is_some() {
            return refuse(asker, "the daemon is starting, reloading or stopping; ask again".into());
        }
        let program = match again::fit(program.as_deref(), &self.parts.options) {
            Ok(program) => program,
            Err(reason) => return refuse(asker, reason),
        };
        tracing::info!(target: "parent", "Going over to {}", program.display());
        systemd::reloading();
        let (answer, answered) = oneshot::channel();
        let engine = self.parts.engine.clone();
        self.answers.spawn(async move {
            // The engine is silent from its will to its heir's first word: what can be done before is done before.
            sleep(WATCHERS_READ).await;
            let _ = engine.send(News::HandOver(answer));
        });
        self.parts.programs.stop_scripts();
        self.parts.programs.stop();
        let _ = asker.send(Reply::Done { message: format!("going over to {}", program.display()) });
        self.will = Some((program, answered));
        self.phase = Phase::HandingOver;
    }

    /// What [`Services::run`] ended for, if it was not for good.
    pub fn will(&mut self) -> Option<(PathBuf, Will)> {
        let (program, answered) = self.will.take()?;
        let legacy = Some(answered.blocking_recv().ok()?);
        Some((program, Will { legacy, ..self.belongings() }))
    }

    /// What this thread leaves to another program of the process, without anything of the engine's.
    pub fn belongings(&mut self) -> Will {
        let history = self.parts.history.record();
        Will { legacy: None, programs: self.parts.programs.left_behind(), fifos: self.parts.hub.hand_over(), history }
    }

    fn history(&self, name: Option<&str>) -> Reply {
        let spec = self.parts.hub.spec();
        let known = |name: &str| {
            let group = || spec.groups.iter().any(|group| *group.name == *name);
            spec.instances.iter().any(|instance| *instance.name == *name) || group()
        };
        match self.parts.history.of_name(name) {
            Some(moments) => Reply::History { moments },
            None if name.is_some_and(known) => Reply::History { moments: Vec::new() },
            None => Reply::Refused { reason: "there is no such instance or group".into(), diagnostics: None },
        }
    }

    fn steer(&self, steer: Steer, instance: Option<String>) -> Reply {
        let spec = self.parts.hub.spec();
        if let Some(name) = &instance
            && !spec.instances.iter().any(|i| *i.name == **name)
        {
            let names: Vec<&str> = spec.instances.iter().map(|i| &*i.name).collect();
            let reason = format!("there is no instance {name}; there are {}", names.join(", "));
            return Reply::Refused { reason, diagnostics: None };
        }
        let message = instance.clone().unwrap_or_else(|| format!("{} instances", spec.instances.len()));
        let _ = self.parts.engine.send(News::Steer(steer, instance.map(Into::into)));
        Reply::Done { message }
    }

    fn view(&self) -> answers::View {
        answers::View {
            spec: self.parts.hub.spec().clone(),
            options: self.parts.options.clone(),
            punctuality: self.parts.punctuality.clone(),
        }
    }

    fn engine_is_gone(&mut self) {
        self.engine_gone = true;
        if self.phase == Phase::HandingOver {
            self.phase = Phase::Over(0);
            return;
        }
        if matches!(self.phase, Phase::Starting | Phase::Running | Phase::Stopping { .. }) {
            tracing::error!(target: "parent", "The engine has ended unexpectedly: everything is given up. Exiting");
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
