//! Questions from the control socket: what is answered here, what the engine is asked for, and the way to another program.
//!
//! The words of answers are made in [`answers`]; nobody here waits for the engine, whose snapshots come to tasks of their
//! own.

use super::Phase;
use super::WATCHERS_READ;
use super::{Services, Successor};
use crate::balance::io::{Command, Selection};
use crate::daemon::again::{self, Will};
use crate::daemon::answers::{self, Surroundings};
use crate::daemon::doors::socket::{Access, Adjustment, Answer, GOING_OVER, Question, Reply, Request, ServerWish};
use crate::daemon::drains::Drains;
use crate::daemon::loops::bfd;
use crate::daemon::loops::checker;
use crate::daemon::loops::vrrp::{Steer, ToEngine};
use crate::daemon::reading;
use crate::daemon::reload::{self, Read};
use crate::daemon::systemd;
use crate::handover;
use crate::kernel::addresses;
use crate::kernel::aside;
use crate::observe::balance::story;
use crate::observe::words;
use crate::spec::{GroupId, InstanceSpec, Spec, first_few};
use crate::wire::Priority;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

/// How long file systems may take to answer before an upgrade, and how often it is looked whether they have.
const FILES_ANSWER: Duration = Duration::from_secs(2);
/// How often that is asked once more, when the checker has left.
const ASKED_AGAIN: u32 = 5;
/// What a thread has time for to say what it leaves behind.
const LAST_WORDS: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(20);
/// How long an answer waits for what the checker thread knows; it asks the kernel, which has a second.
const CHECKER_PATIENCE: Duration = Duration::from_secs(2);
/// The same where nothing else is asked for.
const SERVERS_PATIENCE: Duration = Duration::from_secs(10);

/// A program file that is gone over to as soon as what has changed in the configuration is in force, and who asked for it.
pub(super) struct Leaving {
    program: PathBuf,
    asker: oneshot::Sender<Reply>,
}

/// A program file that is tried out, and who asked for it.
pub(super) struct Fitting {
    told: oneshot::Receiver<Result<(PathBuf, Read), String>>,
    asker: Option<oneshot::Sender<Reply>>,
}

impl Fitting {
    /// Cancel-safe.
    pub(super) async fn done(&mut self) -> Result<(PathBuf, Read), String> {
        (&mut self.told).await.unwrap_or_else(|_| Err("the program file could not be tried out".into()))
    }
}

/// execve waits for every thread, and while it does nobody speaks for the addresses: what waits for a file system has a
/// moment to end.
async fn nothing_is_waited_for() -> Result<(), String> {
    let begun = Instant::now();
    while let Some((what, since)) = aside::busy() {
        if begun.elapsed() >= FILES_ANSWER {
            let since = since.as_secs();
            return Err(format!("{what} has not been answered for {since} s, and the next program would wait for it"));
        }
        sleep(LOOK).await;
    }
    Ok(())
}

impl Services {
    /// A watcher is told all that is so, and from here on what happens.
    fn watched_by(&mut self, stream: mpsc::Sender<Reply>) {
        let (snapshot, view, beside) = (self.snapshot(), self.view(), self.beside());
        let (sessions, servers) = (self.sessions(), self.picture());
        self.watchers.push(stream.clone());
        self.answers.spawn(async move {
            if let Ok(snapshot) = snapshot.await {
                let around = around(beside, sessions).await;
                let mut reply = answers::status(&view, &snapshot, &around);
                // A checker that is stuck holds up nobody.
                let servers = timeout(CHECKER_PATIENCE, servers).await.ok().and_then(Result::ok);
                if let (Reply::Status { status }, Some(picture)) = (&mut reply, servers)
                    && let Some(fields) = status.as_object_mut()
                {
                    fields.insert("servers".into(), picture.json());
                }
                let _ = stream.send(reply).await;
            }
        });
    }

    /// Shuts a BFD session down, or lets it come up again, and answers whether there is one.
    fn shut_session(&mut self, name: Box<str>, down: bool, answer: oneshot::Sender<Reply>) {
        let (found, was) = oneshot::channel();
        self.parts.bfd.send(bfd::ToBfd::Shutdown { name: name.clone(), down, answer: found });
        self.answers.spawn(async move {
            let reply = match was.await {
                Ok(true) if down => Reply::Done { message: format!("{name} is shut down, and says so to its peer") },
                Ok(true) => Reply::Done { message: format!("{name} may come up again") },
                _ => Reply::Refused { reason: format!("there is no BFD session `{name}`"), diagnostics: None },
            };
            let _ = answer.send(reply);
        });
    }

    pub(super) fn question(&mut self, question: Question) {
        let Question { request, answer } = question;
        // It would be half done: what the engine leaves may have been written already, and files are not waited for.
        if self.phase == Phase::HandingOver
            && request.access() == Access::Changing
            && let Answer::Once(answer) = answer
        {
            let _ = answer.send(Reply::Refused { reason: GOING_OVER.into(), diagnostics: None });
            return;
        }
        let answer = match (request, answer) {
            (Request::Reload, Answer::Once(asker)) => return self.reload(Some(asker)),
            (_, Answer::Stream(stream)) => return self.watched_by(stream),
            (request, Answer::Once(answer)) => (request, answer),
        };
        let (request, answer) = answer;
        let done = |message: &str| Reply::Done { message: message.to_owned() };
        let reply = match request {
            Request::Hello => answers::hello(&self.parts.options),
            Request::History { instance } => self.history(instance.as_deref()),
            Request::Drain { instance, keep } => {
                let reply = self.steer(Steer::Drain, instance.clone());
                if keep && matches!(reply, Reply::Done { .. }) {
                    let drains = self.parts.drains.with(self.concerned(instance.as_deref()));
                    return self.keep_drains(drains, reply, answer);
                }
                reply
            }
            Request::Undrain { instance } => {
                let reply = self.steer(Steer::Undrain, instance.clone());
                let drains = self.parts.drains.without(&self.concerned(instance.as_deref()));
                if drains != self.parts.drains && matches!(reply, Reply::Done { .. }) {
                    return self.keep_drains(drains, reply, answer);
                }
                reply
            }
            Request::Failover { instance } => self.steer(Steer::Failover, instance),
            Request::Announce { instance } => self.steer(Steer::Announce, instance),
            Request::ClearCounters => {
                self.clear_counters();
                done("the counters are zero")
            }
            Request::Print { what } => {
                self.print(what);
                done("it is being written")
            }
            Request::Adjust { changes, by } => self.adjust(&changes, &by),
            Request::Bfd { session } => {
                let (sessions, known) = (self.sessions(), self.parts.hub.spec().clone());
                self.answers.spawn(async move {
                    let _ = answer.send(answers::sessions(session.as_deref(), &known, sessions.await.ok().as_deref()));
                });
                return;
            }
            Request::BfdShutdown { session, down } => return self.shut_session(session.into(), down, answer),
            Request::Servers => return self.servers(answer),
            Request::Server { service, address, port, wish } => {
                let which = Selection { service: service.map(Into::into), address, port };
                return self.server(which, wish, answer);
            }
            Request::Upgrade { program } => {
                self.upgrade(program, answer);
                return;
            }
            request => {
                let (snapshot, view, beside) = (self.snapshot(), self.view(), self.beside());
                let sessions = self.sessions();
                let services = matches!(request, Request::Metrics { .. }).then(|| self.picture());
                self.answers.spawn(async move {
                    let reply = match snapshot.await {
                        Ok(snapshot) => {
                            let mut around = around(beside, sessions).await;
                            if let Some(services) = services {
                                let services = timeout(CHECKER_PATIENCE, services).await;
                                around.services = services.ok().and_then(Result::ok);
                            }
                            answers::to(&request, &view, &snapshot, &around)
                        }
                        Err(_) => Reply::Refused { reason: "the daemon is stopping".into(), diagnostics: None },
                    };
                    let _ = answer.send(reply);
                });
                return;
            }
        };
        let _ = answer.send(reply);
    }

    fn steer(&self, steer: Steer, instance: Option<String>) -> Reply {
        let spec = self.parts.hub.spec();
        let Some(name) = instance else {
            let count = spec.instances.len();
            let message = format!("{count} instance{}", if count == 1 { "" } else { "s" });
            let _ = self.parts.engine.send(ToEngine::Steer(steer, None));
            return Reply::Done { message };
        };
        let called = |name: &str| spec.instances.iter().any(|one| *one.name == *name);
        // What an instance is called means that instance, whatever else is called so.
        let group = spec.groups.iter().find(|group| *group.name == *name).filter(|_| !called(&name));
        let of_group = group.iter().flat_map(|group| &group.members).filter_map(|id| spec.instances.get(id.index()));
        let named = spec.instances.iter().filter(|one| *one.name == *name);
        let meant: Vec<Box<str>> = named.chain(of_group).map(|one| one.name.clone()).collect();
        if meant.is_empty() {
            let groups = spec.groups.iter().map(|group| &*group.name).filter(|name| !called(name));
            let names = spec.instances.iter().map(|one| &*one.name).chain(groups);
            let there = match spec.instances.is_empty() {
                true => "no VRRP instance is configured".to_owned(),
                false => format!("there are {}", first_few(names, 20, ", ")),
            };
            return Reply::Refused {
                reason: format!("there is no instance or group `{name}`; {there}"),
                diagnostics: None,
            };
        }
        // A group moves as a whole, whichever member leads it; what is announced is each member's own.
        let most = if matches!(steer, Steer::Announce) { meant.len() } else { 1 };
        for one in meant.into_iter().take(most) {
            let _ = self.parts.engine.send(ToEngine::Steer(steer, Some(one)));
        }
        Reply::Done { message: name }
    }

    /// Other base priorities or preemption, until the next reload: all of them, or none.
    fn adjust(&mut self, changes: &[Adjustment], by: &str) -> Reply {
        let refuse = |reason: String| Reply::Refused { reason, diagnostics: None };
        if self.phase != Phase::Running || self.is_reloading() {
            return refuse("the daemon is starting, reloading or stopping; ask again".into());
        }
        let mut spec = Spec::clone(self.parts.hub.spec());
        let mut said = Vec::new();
        for Adjustment { instance: name, priority, preempt } in changes {
            let Some(one) = spec.instances.iter_mut().find(|one| *one.name == **name) else {
                return refuse(format!("there is no instance `{name}`"));
            };
            if let Some(priority) = *priority {
                if priority == 0 {
                    return refuse("a priority is 1 to 255".into());
                }
                let from = std::mem::replace(&mut one.priority, Priority(priority)).0;
                said.push(format!("({name}) base priority changed from {from} to {priority} via {by}."));
            }
            if let Some(preempt) = *preempt {
                one.preempt = preempt;
                let word = if preempt { "enabled" } else { "disabled" };
                said.push(format!("({name}) preemption {word} with {by}"));
            }
        }
        for line in said {
            tracing::info!(target: "vrrp", "{line}");
        }
        // Nothing was read, so what is known of mistakes stays.
        self.on_its_way = Some(self.parts.mistakes.clone());
        self.go_over(Arc::new(spec));
        let names: Vec<&str> = changes.iter().map(|change| &*change.instance).collect();
        Reply::Done { message: names.join(", ") }
    }

    /// Names of one instance and the rest of its group, or of all: a drain moves a group as a whole.
    fn concerned(&self, instance: Option<&str>) -> BTreeSet<Box<str>> {
        let spec = self.parts.hub.spec();
        let own = spec.instances.iter().find(|i| Some(&*i.name) == instance);
        let named = || spec.groups.iter().position(|group| Some(&*group.name) == instance);
        let group = match own {
            Some(own) => own.group,
            None => named().map(|at| GroupId(at as u32)),
        };
        let wanted =
            |i: &&InstanceSpec| instance.is_none_or(|name| *i.name == *name) || (group.is_some() && i.group == group);
        spec.instances.iter().filter(wanted).map(|i| i.name.clone()).collect()
    }

    /// Writes the kept drains down; the answer comes when they are on the disk.
    fn keep_drains(&mut self, drains: Drains, reply: Reply, answer: oneshot::Sender<Reply>) {
        self.parts.drains = drains.clone();
        let (tell, saved) = oneshot::channel();
        let put = self.parts.writer.put("the kept drains".into(), move || drop(tell.send(drains.save())));
        self.answers.spawn(async move {
            let why = match (put, saved.await) {
                (Ok(()), Ok(Ok(()))) => None,
                (Ok(()), Ok(Err(error))) => Some(words::os(&error)),
                (Err(_), _) | (_, Err(_)) => Some("files that were to be written before are still waiting".to_owned()),
            };
            let reply = why.map_or(reply, |why| Reply::Refused {
                reason: format!("it is done, but a restart will not know of it: {why}"),
                diagnostics: None,
            });
            let _ = answer.send(reply);
        });
    }

    fn history(&self, name: Option<&str>) -> Reply {
        let spec = self.parts.hub.spec();
        let known = |name: &str| {
            let group = || spec.groups.iter().any(|group| *group.name == *name);
            let session = || spec.sessions.iter().any(|session| *session.name == *name);
            let server = || story::names(&spec.balance).any(|known| story::is_called(&known, name));
            spec.instances.iter().any(|instance| *instance.name == *name) || group() || session() || server()
        };
        match self.parts.history.of_name(name) {
            Some(moments) => Reply::History { moments },
            None if name.is_some_and(known) => Reply::History { moments: Vec::new() },
            None => Reply::Refused { reason: "there is no such instance, group or server".into(), diagnostics: None },
        }
    }

    /// Leaves in favour of another program file; [`Services::run`] returns when the engine has written its will.
    fn upgrade(&mut self, program: Option<PathBuf>, asker: oneshot::Sender<Reply>) {
        let refuse = |asker: oneshot::Sender<Reply>, reason: String| {
            let _ = asker.send(Reply::Refused { reason, diagnostics: None });
        };
        if self.phase != Phase::Running || self.is_reloading() || self.fitting.is_some() {
            return refuse(asker, "the daemon is starting, reloading or stopping; ask again".into());
        }
        let (programs, options) = (self.parts.programs.clone(), self.parts.options.clone());
        let (tell, told) = oneshot::channel();
        self.answers.spawn(async move {
            let fitted = match again::fit(&programs, program, &options).await {
                Ok(fits) => nothing_is_waited_for().await.map(|()| fits),
                Err(reason) => Err(reason),
            };
            let _ = tell.send(fitted);
        });
        self.fitting = Some(Fitting { told, asker: Some(asker) });
    }

    /// The program file has been tried out.
    pub(super) fn fitted(&mut self, fitted: Result<(PathBuf, Read), String>) {
        let Some(asker) = self.fitting.take().and_then(|fitting| fitting.asker) else { return };
        let refuse = |asker: oneshot::Sender<Reply>, reason: String| {
            let _ = asker.send(Reply::Refused { reason, diagnostics: None });
        };
        let (program, read) = match fitted {
            Ok(fits) => fits,
            Err(reason) => return refuse(asker, reason),
        };
        // The next program would begin with it, whatever it has lost since it was read last: a package must not do what a reload
        // is refused for.
        if let Some(reason) = reload::refuse(self.parts.hub.spec(), &self.parts.mistakes, &read) {
            let diagnostics = Some(reading::plain(&read.diagnostics)).filter(|report| !report.is_empty());
            let _ = asker.send(Reply::Refused { reason, diagnostics });
            return;
        }
        if self.phase != Phase::Running || self.is_reloading() {
            return refuse(asker, "the daemon is reloading or stopping; ask again".into());
        }
        // What is not in the file any more is given up by whoever has it: the next program knows nothing of a router that it has
        // to say goodbye for, nor that another name is the same one.
        self.leaving = Some(Leaving { program, asker });
        match read.spec.map(|spec| reading::within(spec, &self.parts.options)) {
            Some(spec) if reload::changes(self.parts.hub.spec(), &spec) => {
                tracing::info!(target: "parent", "The configuration has changed: reloading before the upgrade");
                systemd::reloading();
                self.on_its_way = Some(reload::mistakes(&read.diagnostics));
                self.go_over(Arc::new(spec));
            }
            _ => self.leave(),
        }
    }

    /// Answers whoever waits for a reload or an upgrade that will not be: otherwise the end would hang up on him.
    pub(super) fn tell_all_that_it_stops(&mut self) {
        let upgrades = [
            self.leaving.take().map(|leaving| leaving.asker),
            self.fitting.as_mut().and_then(|fitting| fitting.asker.take()),
        ];
        self.askers.extend(upgrades.into_iter().flatten());
        self.tell_askers(&Reply::Refused { reason: "the daemon is stopping".into(), diagnostics: None });
    }

    /// Goes over to another program, if one is waited for.
    pub(super) fn leave(&mut self) {
        let Some(Leaving { program, asker }) = self.leaving.take() else { return };
        if self.phase != Phase::Running {
            let _ = asker.send(Reply::Refused { reason: "the daemon is stopping".into(), diagnostics: None });
            return;
        }
        tracing::info!(target: "parent", "Going over to {}", program.display());
        systemd::reloading();
        let (answer, answered) = oneshot::channel();
        let (sessions, left) = oneshot::channel();
        let (checks, checks_left) = oneshot::channel();
        let (engine, bfd, checker) = (self.parts.engine.clone(), self.parts.bfd.clone(), self.parts.checker.clone());
        self.answers.spawn(async move {
            // The engine is silent from its will to its own's first word: what can be done before is done before. A
            // checker that is busy, or stuck, does not keep VRRP silent.
            sleep(WATCHERS_READ).await;
            let (ask, asked) = oneshot::channel();
            checker.send(checker::ToChecker::HandOver(ask));
            let _ = checks.send(timeout(LAST_WORDS, asked).await.ok().and_then(Result::ok));
            // Something may have begun to wait for a file system meanwhile. There is no way back without checks, so it goes
            // on in the end; until then adverts and sessions go on as well.
            for _ in 0..ASKED_AGAIN {
                match nothing_is_waited_for().await {
                    Ok(()) => break,
                    Err(reason) => tracing::warn!(target: "parent", "{reason}"),
                }
            }
            // VRRP last: when its loop has ended, everything is written.
            bfd.send(bfd::ToBfd::HandOver(sessions));
            let _ = engine.send(ToEngine::HandOver(answer));
        });
        self.parts.stopping.store(true, Ordering::Release);
        // Scripts end with the engine; whoever reads a FIFO is told now.
        drop(self.notifications.stop());
        let _ = asker.send(Reply::Done { message: format!("going over to {}", program.display()) });
        self.will = Some(Successor { program, engine: answered, sessions: left, checks: checks_left });
        self.phase = Phase::HandingOver;
    }

    /// What [`Services::run`] ended for, if it was not for good.
    pub fn will(&mut self) -> Option<(PathBuf, Will)> {
        let Successor { program, engine, sessions, checks } = self.will.take()?;
        let handover = Some(engine.blocking_recv().ok()?);
        let balance = within(LAST_WORDS, checks).flatten();
        Some((program, Will { handover, bfd: within(LAST_WORDS, sessions), ..self.belongings(balance) }))
    }

    /// What this thread leaves to another program of the process, without anything of the engine's or the programs'.
    pub fn belongings(&mut self, balance: Option<Box<crate::balance::Handover>>) -> Will {
        let history = self.parts.history.record();
        let fifos = self.parts.hub.hand_over();
        let notifies = self.parts.tally.underway();
        Will { version: handover::VERSION, balance, notifies, fifos, history, ..Will::default() }
    }

    /// What the bfd thread leaves, which ends by that.
    pub fn sessions_left(&mut self) -> Option<Box<bfd::Left>> {
        let (answer, answered) = oneshot::channel();
        self.parts.bfd.send(bfd::ToBfd::HandOver(answer));
        within(LAST_WORDS, answered)
    }

    /// What this thread knows beside the engine.
    fn beside(&self) -> Surroundings {
        let drains_kept = self.parts.drains.names().map(str::to_owned).collect();
        Surroundings { reload: self.last_reload.clone(), drains_kept, ..Surroundings::default() }
    }

    /// What the balancer leaves. Its thread ends with that, and the kernel's table stays as it is.
    pub fn checks_left(&self) -> Option<Box<crate::balance::Handover>> {
        let (answer, answered) = oneshot::channel();
        self.parts.checker.send(checker::ToChecker::HandOver(answer));
        within(LAST_WORDS, answered)
    }

    /// The state of virtual servers; breaks where none are checked.
    pub(super) fn services(&self) -> oneshot::Receiver<Box<crate::balance::snapshot::Snapshot>> {
        let (answer, answered) = oneshot::channel();
        self.parts.checker.send(checker::ToChecker::State(answer));
        answered
    }

    /// The same with the kernel's counters.
    fn picture(&self) -> oneshot::Receiver<Box<checker::Picture>> {
        let (ask, asked) = oneshot::channel();
        self.parts.checker.send(checker::ToChecker::Snapshot(ask));
        asked
    }

    fn servers(&mut self, answer: oneshot::Sender<Reply>) {
        let asked = self.picture();
        self.answers.spawn(async move {
            let refused = |reason: String| Reply::Refused { reason, diagnostics: None };
            let reply = match timeout(SERVERS_PATIENCE, asked).await {
                Ok(Ok(picture)) => Reply::Servers { servers: picture.json() },
                Ok(Err(_)) => refused("the daemon checks no servers".into()),
                Err(_) => {
                    let seconds = SERVERS_PATIENCE.as_secs();
                    refused(format!("the thread that checks servers has not answered for {seconds} s"))
                }
            };
            let _ = answer.send(reply);
        });
    }

    fn server(&mut self, which: Selection, wish: ServerWish, answer: oneshot::Sender<Reply>) {
        let text = match which.port {
            Some(port) => format!("{}:{port}", which.address),
            None => which.address.to_string(),
        };
        let (command, done) = match wish {
            ServerWish::Drain => (Command::Drain(which), format!("{text} gets no new connections")),
            ServerWish::Undrain => (Command::Undrain(which), format!("{text} serves again")),
            ServerWish::Weigh { weight: Some(weight) } => {
                (Command::Weigh(which, Some(weight)), format!("{text} has weight {weight}"))
            }
            ServerWish::Weigh { weight: None } => {
                (Command::Weigh(which, None), format!("{text} has its configured weight"))
            }
        };
        let (ask, asked) = oneshot::channel();
        self.parts.checker.send(checker::ToChecker::Command(command, ask));
        self.answers.spawn(async move {
            let reply = match asked.await {
                Ok(0) => Reply::Refused { reason: format!("there is no real server `{text}`"), diagnostics: None },
                Ok(1) => Reply::Done { message: done },
                Ok(services) => Reply::Done { message: format!("{done} in {services} virtual servers") },
                Err(_) => Reply::Refused { reason: "the daemon checks no servers".into(), diagnostics: None },
            };
            let _ = answer.send(reply);
        });
    }

    fn view(&self) -> answers::View {
        answers::View {
            spec: self.parts.hub.spec().clone(),
            options: self.parts.options.clone(),
            punctuality: self.parts.punctuality.clone(),
            bfd_punctuality: self.parts.bfd_punctuality.clone(),
            tally: self.parts.tally.clone(),
        }
    }
}

/// Asked of the kernel aside: it may wait for the routing lock.
async fn around(
    beside: Surroundings,
    sessions: oneshot::Receiver<Box<crate::bfd::snapshot::Snapshot>>,
) -> Surroundings {
    let present = aside::ask("which addresses there are".into(), addresses::present).await.ok().flatten();
    Surroundings { present, bfd: sessions.await.ok(), ..beside }
}

/// An answer from a thread that may be stuck, where there is no runtime to wait with.
fn within<T>(limit: Duration, mut answer: oneshot::Receiver<T>) -> Option<T> {
    let end = std::time::Instant::now() + limit;
    loop {
        match answer.try_recv() {
            Ok(answer) => return Some(answer),
            Err(oneshot::error::TryRecvError::Empty) if std::time::Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(_) => return None,
        }
    }
}
