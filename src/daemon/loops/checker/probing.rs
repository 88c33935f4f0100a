//! The attempts under way: a task for each probe, a run of the programs thread for each MISC_CHECK.
//!
//! Every attempt is answered by exactly one [`Input::Probed`], or was given up. Prepared probes are kept by the checker
//! that they were made of: a digest or a pattern is not compiled again each time.

use super::Told;
use crate::balance::io::{Attempt, CheckId, Finding, Input, Probe, Symptom};
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
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// From SIGTERM to SIGKILL of a program that takes too long, as keepalived has it.
const LADDER: Duration = Duration::from_secs(2);

/// What is known of a program under way, for its notice.
#[derive(Clone, Copy, Debug)]
struct Misc {
    dynamic: bool,
}

type Runs = Arc<Mutex<HashMap<Attempt, Misc>>>;

pub struct Probing {
    prober: Rc<Prober>,
    tls: Option<TlsClient>,
    tls_files: Option<TlsFiles>,
    plans: HashMap<CheckId, (Arc<Checker>, Rc<Plan>)>,
    tasks: HashMap<Attempt, AbortHandle>,
    programs: Client,
    runs: Runs,
    answers: mpsc::UnboundedSender<Input>,
    services: mpsc::UnboundedSender<Told>,
}

impl Probing {
    pub fn new(
        spec: &LvsSpec,
        programs: &programs::Handle,
        answers: mpsc::UnboundedSender<Input>,
        services: mpsc::UnboundedSender<Told>,
    ) -> Probing {
        let runs = Runs::default();
        let (known, tell) = (runs.clone(), answers.clone());
        let programs = programs.client(Room::BY_CONFIGURATION, move |attempt, notice| {
            let mut runs = known.lock().unwrap_or_else(PoisonError::into_inner);
            let finding = match (notice, runs.get(&attempt)) {
                (Notice::Started, _) | (_, None) => return,
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

    fn tls_of(&mut self, spec: &LvsSpec) {
        self.tls_files.clone_from(&spec.tls);
        let wanted = spec.services.iter().flat_map(|service| &service.servers).flat_map(|server| &server.checkers);
        let wanted = wanted.into_iter().any(|check| matches!(&check.kind, CheckerKind::Http(http) if http.tls));
        self.tls = match tls(spec.tls.as_ref()) {
            Ok(client) => Some(client),
            Err(why) => {
                if wanted {
                    let text = format!("SSL: {why}; servers are checked without a client certificate");
                    let _ = self.services.send(Told::Warning(text));
                }
                TlsClient::new(None).ok()
            }
        };
    }

    pub fn probe(&mut self, check: CheckId, attempt: Attempt, probe: &Probe) {
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
        let (prober, answers, page) = (self.prober.clone(), self.answers.clone(), probe.page);
        let pages = matches!(probe.kind(), CheckerKind::Http(_));
        let task = tokio::task::spawn_local(async move {
            let manner = Manner { page: pages.then_some(page), transcript: false };
            let report = prober.probe(&plan, attempt, manner).await;
            let _ = answers.send(Input::Probed { attempt, finding: report.finding });
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

    pub fn abandon(&mut self, attempt: Attempt) {
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
