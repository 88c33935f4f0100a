//! The attempts under way: a task for each probe, a run of the programs thread for each MISC_CHECK.
//!
//! Every attempt is answered by exactly one [`Input::Probed`], or was given up. Prepared probes are kept by the checker
//! that they were made of: a digest or a pattern is not compiled again each time.

use super::FromChecker;
use crate::balance::io::{Attempt, CheckId, Finding, Input, Probe, Symptom};
use crate::kernel::aside;
use crate::kernel::probes::{Manner, Prober, tls};
use crate::kernel::process::is_shortage;
use crate::kernel::programs::{self, Client, Job, Limit, Notice, Room};
use crate::probe::Plan;
use crate::probe::tls::Client as TlsClient;
use crate::spec::balance::{Checker, CheckerKind, LvsSpec, TlsFiles};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

/// From SIGTERM to SIGKILL of a program that takes too long, as keepalived has it.
const LADDER: Duration = Duration::from_secs(2);

/// What is known of a program under way, for its notice.
#[derive(Clone, Copy, Debug)]
struct Misc {
    dynamic: bool,
}

type Runs = Arc<Mutex<HashMap<Attempt, Misc>>>;

/// Files of the block SSL that are being read.
struct Reading {
    client: oneshot::Receiver<Result<TlsClient, Box<str>>>,
    /// Is there a check that presents them?
    wanted: bool,
}

/// An attempt that has to be answered: one that panics says nothing of its server, and must not be waited for either.
struct Promise {
    attempt: Attempt,
    answers: mpsc::UnboundedSender<Input>,
}

impl Drop for Promise {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let finding = Finding::NotMade(libc::EIO);
            let _ = self.answers.send(Input::Probed { attempt: self.attempt, finding });
        }
    }
}

/// The attempts that are under way, those that wait, and how each kind of check is asked.
pub struct Probing {
    prober: Rc<Prober>,
    tls: Option<TlsClient>,
    tls_files: Option<TlsFiles>,
    reading: Option<Reading>,
    plans: HashMap<CheckId, (Arc<Checker>, Rc<Plan>)>,
    tasks: HashMap<Attempt, AbortHandle>,
    programs: Client,
    runs: Runs,
    answers: mpsc::UnboundedSender<Input>,
    services: mpsc::UnboundedSender<FromChecker>,
}

impl Probing {
    pub(crate) fn new(
        spec: &LvsSpec,
        programs: &programs::Handle,
        answers: mpsc::UnboundedSender<Input>,
        services: mpsc::UnboundedSender<FromChecker>,
    ) -> Probing {
        let runs = Runs::default();
        let (known, tell) = (runs.clone(), answers.clone());
        let programs = programs.client(Room::BY_CONFIGURATION, move |attempt, notice| {
            let mut runs = known.lock().unwrap_or_else(PoisonError::into_inner);
            let finding = match (notice, runs.get(&attempt)) {
                (Notice::Started(_), _) | (_, None) => return,
                // This machine's shortage says nothing about the server.
                (Notice::NotRun(error), Some(_)) if is_shortage(&std::io::Error::from_raw_os_error(error)) => {
                    Finding::NotMade(error)
                }
                (Notice::NotRun(error), Some(_)) => Finding::Bad(Symptom::NotRun(error)),
                (Notice::Exited(exit), Some(misc)) => Finding::of_program(exit, misc.dynamic),
            };
            runs.remove(&attempt);
            let _ = tell.send(Input::Probed { attempt, finding });
        });
        let mut probing = Probing {
            prober: Rc::new(Prober::default()),
            tls: None,
            tls_files: None,
            reading: None,
            plans: HashMap::new(),
            tasks: HashMap::new(),
            programs,
            runs,
            answers,
            services,
        };
        probing.tls_of(spec);
        probing
    }

    /// Another configuration: other TLS files, perhaps, and other checks.
    pub fn reconfigure(&mut self, spec: &LvsSpec) {
        if spec.tls != self.tls_files {
            self.tls_of(spec);
            self.plans.clear();
        }
    }

    /// Takes a client without a certificate, or goes on with the one before, and has the files read aside: a file system
    /// that does not answer holds up no check.
    fn tls_of(&mut self, spec: &LvsSpec) {
        self.tls_files.clone_from(&spec.tls);
        self.reading = None;
        if self.tls.is_none() || spec.tls.is_none() {
            self.tls = tls(None).ok();
        }
        let Some(files) = spec.tls.clone() else { return };
        let checks = spec.services.iter().flat_map(|service| &service.servers).flat_map(|server| &server.checkers);
        let wanted = checks.into_iter().any(|check| matches!(&check.kind, CheckerKind::Http(http) if http.tls));
        let client = aside::ask("the files of the block SSL".into(), move || tls(Some(&files)));
        self.reading = Some(Reading { client, wanted });
    }

    pub(crate) const fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// Comes back when the files of the block SSL have been read; never where none are.
    ///
    /// # Errors
    /// A file cannot be read or is no key or certificate: a sentence.
    pub async fn read(&mut self) -> Result<TlsClient, Box<str>> {
        match &mut self.reading {
            Some(reading) => (&mut reading.client).await.unwrap_or_else(|_| Err("its files could not be read".into())),
            None => std::future::pending().await,
        }
    }

    /// What [`Probing::read`] came back with; `None`: it has not for so long that the checks begin without.
    pub fn have_read(&mut self, client: Option<Result<TlsClient, Box<str>>>) {
        let Some(reading) = &self.reading else { return };
        let wanted = reading.wanted;
        let why = match client {
            Some(Ok(client)) => {
                (self.tls, self.reading) = (Some(client), None);
                self.plans.clear();
                return;
            }
            Some(Err(why)) => {
                (self.tls, self.reading) = (tls(None).ok(), None);
                self.plans.clear();
                why
            }
            None => "the file system of its files does not answer".into(),
        };
        if wanted {
            let text = format!("SSL: {why}; servers are checked without a client certificate");
            let _ = self.services.send(FromChecker::Warning(text));
        }
    }

    pub(crate) fn probe(&mut self, check: CheckId, attempt: Attempt, probe: &Probe) {
        if let CheckerKind::Misc { run, timeout, dynamic } = probe.kind() {
            let Some(run) = run else { return self.not_made(attempt, libc::ENOENT) };
            let limit = if timeout.is_zero() {
                probe.checker.timing.map(|timing| timing.delay_loop).unwrap_or_default()
            } else {
                *timeout
            };
            let limit = (!limit.is_zero()).then(|| Limit { after: limit.to_std(), then: LADDER });
            let misc = Misc { dynamic: *dynamic };
            self.runs.lock().unwrap_or_else(PoisonError::into_inner).insert(attempt, misc);
            self.programs.start(attempt, Job { limit, ..Job::new(run.clone()) });
            return;
        }
        let Some(plan) = self.plan(check, &probe.checker) else { return self.not_made(attempt, libc::EINVAL) };
        let (prober, page) = (self.prober.clone(), probe.page);
        let promise = Promise { attempt, answers: self.answers.clone() };
        let pages = matches!(probe.kind(), CheckerKind::Http(_));
        let task = tokio::task::spawn_local(async move {
            let manner = Manner { page: pages.then_some(page), transcript: false };
            let report = prober.probe(&plan, attempt, manner).await;
            let _ = promise.answers.send(Input::Probed { attempt, finding: report.finding });
        });
        self.tasks.insert(attempt, task.abort_handle());
    }

    fn plan(&mut self, check: CheckId, checker: &Arc<Checker>) -> Option<Rc<Plan>> {
        if let Some((made_of, plan)) = self.plans.get(&check)
            && (Arc::ptr_eq(made_of, checker) || made_of == checker)
        {
            return Some(plan.clone());
        }
        let plan = Rc::new(Plan::new(checker, self.tls.as_ref()?)?);
        self.plans.insert(check, (checker.clone(), plan.clone()));
        Some(plan)
    }

    fn not_made(&self, attempt: Attempt, error: i32) {
        let _ = self.answers.send(Input::Probed { attempt, finding: Finding::NotMade(error) });
    }

    pub(crate) fn abandon(&mut self, attempt: Attempt) {
        if let Some(task) = self.tasks.remove(&attempt) {
            task.abort();
        } else if self.runs.lock().unwrap_or_else(PoisonError::into_inner).remove(&attempt).is_some() {
            self.programs.abandon(attempt, programs::PATIENCE);
        }
    }

    /// An answer has come.
    pub fn answered(&mut self, input: &Input) {
        if let Input::Probed { attempt, .. } = input {
            self.tasks.remove(attempt);
        }
    }

    /// Ends everything that is under way.
    pub fn give_up(&mut self) {
        for (_, task) in self.tasks.drain() {
            task.abort();
        }
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.programs.abandon_all();
    }
}

impl Drop for Probing {
    fn drop(&mut self) {
        self.give_up();
    }
}
