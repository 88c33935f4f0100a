//! Tracked files and processes: each kind watched on a thread of its own, and told to the engine by name.
//!
//! Nobody waits here for longer than a moment: files are read aside, and a process whose command line cannot be read (its
//! memory is locked while it waits for a file system) holds up the counting of processes and nothing else.

use crate::balance::io as balance;
use crate::daemon::loops::checker;
use crate::daemon::loops::vrrp::ToEngine;
use crate::kernel::perhaps::perhaps;
use crate::kernel::threads;
use crate::kernel::trackfile::{FileWatch, Standing};
use crate::kernel::trackprocess::ProcessWatch;
use crate::spec::{BfdId, FileId, ProcessId, Spec};
use crate::vrrp::io::{Readings, TrackValue, Tracker};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// What BFD sessions say, by name.
pub fn of_sessions<'a>(spec: &Spec, levels: impl Iterator<Item = (&'a str, bool)>) -> Readings {
    let position = |name: &str| spec.bfds.iter().position(|bfd| *bfd.name == *name);
    levels
        .filter_map(|(name, up)| Some((Tracker::Bfd(BfdId(u32::try_from(position(name)?).ok()?)), TrackValue::Up(up))))
        .collect()
}

/// How long a file system may take to answer before the daemon begins, or goes over, without the files on it.
const FILES_ANSWER: Duration = Duration::from_secs(2);
/// The same for both threads.
const PATIENCE: Duration = Duration::from_secs(4);

/// What is asked of either thread.
enum Order {
    Configure(Arc<Spec>, oneshot::Sender<Readings>),
    /// Tell the engine everything once more.
    Repeat,
}

/// What files say, by name, as the balancer is told.
pub fn of_files(spec: &Spec, readings: &Readings) -> Vec<(balance::Tracker, balance::TrackValue)> {
    let one = |(tracker, value): &(Tracker, TrackValue)| match (tracker, value) {
        (Tracker::File(id), TrackValue::Number(value)) => {
            let name = spec.files.get(id.index())?.name.clone();
            Some((balance::Tracker::File(name), balance::TrackValue::Number((*value).into())))
        }
        _ => None,
    };
    readings.iter().filter_map(one).collect()
}

/// The way to both threads, which are started when there is something to watch.
#[derive(Clone)]
pub struct Trackers(Arc<Mutex<Threads>>);

struct Threads {
    engine: mpsc::UnboundedSender<ToEngine>,
    checker: checker::Door,
    opened: Option<ProcessWatch>,
    files: Option<mpsc::UnboundedSender<Order>>,
    processes: Option<mpsc::UnboundedSender<Order>>,
}

impl Trackers {
    /// `processes` was opened before a network namespace was entered: the kernel tells about processes only in the first.
    pub fn new(
        processes: Option<ProcessWatch>,
        engine: mpsc::UnboundedSender<ToEngine>,
        checker: checker::Door,
    ) -> Trackers {
        Trackers(Arc::new(Mutex::new(Threads { engine, checker, opened: processes, files: None, processes: None })))
    }

    /// Watches what `spec` names, and answers how things stand, without what does not answer. What changes from here on
    /// is told to the engine by name.
    pub async fn configure(&self, spec: Arc<Spec>) -> Readings {
        let (files, processes) = {
            let mut threads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            threads.start(&spec);
            (ask(threads.files.as_ref(), &spec), ask(threads.processes.as_ref(), &spec))
        };
        let mut readings = Readings::new();
        for answered in [timeout(PATIENCE, files).await, timeout(PATIENCE, processes).await] {
            if let Ok(Ok(known)) = answered {
                readings.extend(known);
            }
        }
        readings
    }

    /// What changed while the engine went over may have come to it under a name that it did not know yet.
    pub fn repeat(&self) {
        let threads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.files.iter().chain(&threads.processes) {
            let _ = thread.send(Order::Repeat);
        }
    }
}

impl Threads {
    fn start(&mut self, spec: &Spec) {
        if self.files.is_none() && !spec.files.is_empty() {
            let (order, orders) = mpsc::unbounded_channel();
            let names = Names::new(self.engine.clone(), self.checker.clone());
            match thread("files", move || watch(orders, names, Files(None))) {
                Ok(()) => self.files = Some(order),
                Err(error) => tracing::warn!(target: "vrrp", "track files cannot be watched: {error}"),
            }
        }
        if self.processes.is_none() && !spec.processes.is_empty() {
            let (order, orders) = mpsc::unbounded_channel();
            let (names, opened) = (Names::new(self.engine.clone(), self.checker.clone()), self.opened.take());
            match thread("processes", move || watch(orders, names, Processes(opened))) {
                Ok(()) => self.processes = Some(order),
                Err(error) => tracing::warn!(target: "vrrp", "processes cannot be tracked: {error}"),
            }
        }
    }
}

fn ask(thread: Option<&mpsc::UnboundedSender<Order>>, spec: &Arc<Spec>) -> oneshot::Receiver<Readings> {
    let (answer, answered) = oneshot::channel();
    if let Some(thread) = thread {
        let _ = thread.send(Order::Configure(spec.clone(), answer));
    }
    answered
}

fn thread<F: Future<Output = ()>>(name: &str, run: impl FnOnce() -> F + Send + 'static) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    threads::start(name, move || runtime.block_on(run()))?;
    Ok(())
}

/// Names of what is watched, and the way to the engine.
struct Names {
    spec: Arc<Spec>,
    engine: mpsc::UnboundedSender<ToEngine>,
    checker: checker::Door,
}

impl Names {
    fn new(engine: mpsc::UnboundedSender<ToEngine>, checker: checker::Door) -> Names {
        Names { spec: Arc::default(), engine, checker }
    }

    /// Hands a reading on to those who go by it.
    fn tell(&self, (tracker, value): (Tracker, TrackValue)) {
        match (tracker, value) {
            (Tracker::File(id), TrackValue::Number(value)) => {
                if let Some(file) = self.spec.files.get(id.index()) {
                    let (tracker, number) =
                        (balance::Tracker::File(file.name.clone()), balance::TrackValue::Number(value.into()));
                    self.checker.send(checker::ToChecker::Fact(balance::Input::Tracked { tracker, value: number }));
                    let _ = self.engine.send(ToEngine::FileSays(file.name.clone(), value));
                }
            }
            (Tracker::Process(id), TrackValue::Count(count)) => {
                if let Some(process) = self.spec.processes.get(id.index()) {
                    let _ = self.engine.send(ToEngine::ProcessesRun(process.name.clone(), count));
                }
            }
            // Nothing else is watched here.
            (Tracker::Script(_) | Tracker::File(_) | Tracker::Process(_) | Tracker::Bfd(_), _) => {}
        }
    }
}

/// One kind of what is tracked.
trait Watch {
    /// The next reading that differs from the last. Cancel-safe; waits for ever while nothing is watched.
    async fn next(&mut self) -> (Tracker, TrackValue);

    /// All that is known.
    fn readings(&self) -> Readings;

    /// Watches what `spec` names from here on, and answers what is known of it.
    async fn configure(&mut self, spec: &Spec) -> Readings;
}

/// Carries out orders and tells what changes between them, until nobody is left to give one.
async fn watch(mut orders: mpsc::UnboundedReceiver<Order>, mut names: Names, mut watch: impl Watch) {
    loop {
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                None => return,
                Some(Order::Repeat) => watch.readings().into_iter().for_each(|reading| names.tell(reading)),
                Some(Order::Configure(spec, answer)) => {
                    names.spec = spec;
                    let _ = answer.send(watch.configure(&names.spec).await);
                }
            },
            reading = watch.next() => names.tell(reading),
        }
    }
}

/// Watched from the first file on.
struct Files(Option<FileWatch>);

impl Files {
    fn reading((file, value): (FileId, i32)) -> (Tracker, TrackValue) {
        (Tracker::File(file), TrackValue::Number(value))
    }

    fn warn(spec: &Spec, standing: &Standing) {
        let name = |file: &FileId| spec.files.get(file.index()).map_or("?", |f| &f.name);
        for (file, error) in &standing.failed {
            tracing::warn!(target: "vrrp", "track file {} cannot be watched: {error}", name(file));
        }
        for file in &standing.silent {
            tracing::warn!(
                target: "vrrp",
                "track file {} has not been read: its file system does not answer. It counts for nothing until it does",
                name(file)
            );
        }
    }
}

impl Watch for Files {
    async fn next(&mut self) -> (Tracker, TrackValue) {
        Files::reading(perhaps(self.0.as_mut().map(FileWatch::next)).await)
    }

    fn readings(&self) -> Readings {
        self.0.iter().flat_map(FileWatch::values).map(Files::reading).collect()
    }

    async fn configure(&mut self, spec: &Spec) -> Readings {
        if spec.files.is_empty() {
            self.0 = None;
        } else if self.0.is_none() {
            match FileWatch::new() {
                Ok(new) => self.0 = Some(new),
                Err(error) => tracing::warn!(target: "vrrp", "track files cannot be watched: {error}"),
            }
        }
        let Some(watch) = &mut self.0 else { return Readings::new() };
        let standing = watch.configure(&spec.files, FILES_ANSWER).await;
        Files::warn(spec, &standing);
        standing.values.into_iter().map(Files::reading).collect()
    }
}

/// Watched from the first process on, or from before a network namespace was entered ([`Trackers::new`]).
struct Processes(Option<ProcessWatch>);

impl Processes {
    fn reading((process, count): (ProcessId, u32)) -> (Tracker, TrackValue) {
        (Tracker::Process(process), TrackValue::Count(count))
    }
}

impl Watch for Processes {
    async fn next(&mut self) -> (Tracker, TrackValue) {
        Processes::reading(perhaps(self.0.as_mut().map(ProcessWatch::next)).await)
    }

    fn readings(&self) -> Readings {
        self.0.iter().flat_map(ProcessWatch::told).map(Processes::reading).collect()
    }

    async fn configure(&mut self, spec: &Spec) -> Readings {
        if !spec.processes.is_empty() && self.0.is_none() {
            self.0 = Some(ProcessWatch::open(&spec.daemon.netlink));
        }
        if let Some(error) = self.0.as_mut().and_then(ProcessWatch::without_events) {
            tracing::info!(
                target: "vrrp",
                "Processes are counted every second, as the kernel does not tell of them: {error}"
            );
        }
        let counts = self.0.as_mut().map(|watch| watch.configure(&spec.processes)).unwrap_or_default();
        counts.into_iter().map(Processes::reading).collect()
    }
}
