//! Tracked files and processes: watched on the services thread, told to the engine by name.

use crate::daemon::loops::vrrp::News;
use crate::kernel::trackfile::FileWatch;
use crate::kernel::trackprocess::ProcessWatch;
use crate::spec::{BfdId, FileId, ProcessId, Spec};
use crate::vrrp::io::{Readings, TrackValue, Tracker};
use std::sync::Arc;
use tokio::sync::mpsc;

/// What BFD sessions say, by name.
pub fn of_sessions<'a>(spec: &Spec, levels: impl Iterator<Item = (&'a str, bool)>) -> Readings {
    let position = |name: &str| spec.bfds.iter().position(|bfd| *bfd.name == *name);
    levels
        .filter_map(|(name, up)| Some((Tracker::Bfd(BfdId(u32::try_from(position(name)?).ok()?)), TrackValue::Up(up))))
        .collect()
}

/// What is watched for the present configuration.
pub struct Trackers {
    spec: Arc<Spec>,
    files: Option<FileWatch>,
    /// Opened before a network namespace is entered: the kernel tells about processes only in the first.
    processes: Option<ProcessWatch>,
    engine: mpsc::UnboundedSender<News>,
}

impl Trackers {
    pub fn new(processes: Option<ProcessWatch>, engine: mpsc::UnboundedSender<News>) -> Trackers {
        Trackers { spec: Arc::default(), files: None, processes, engine }
    }

    /// Watches what `spec` names, and answers how things stand. What changes from here on is told to the engine by name.
    pub fn configure(&mut self, spec: &Arc<Spec>) -> Readings {
        let mut readings = Readings::new();
        self.spec = spec.clone();
        self.files = None;
        if !spec.files.is_empty() {
            match FileWatch::new(&spec.files) {
                Ok((watch, values, unwatched)) => {
                    for (file, error) in unwatched {
                        let name = spec.files.get(file.index()).map_or("?", |f| &f.name);
                        tracing::warn!(target: "vrrp", "track file {name} cannot be watched: {error}");
                    }
                    self.files = Some(watch);
                    let told = |(file, value)| (Tracker::File(file), TrackValue::Number(value));
                    readings.extend(values.into_iter().map(told));
                }
                Err(error) => tracing::warn!(target: "vrrp", "track files cannot be watched: {error}"),
            }
        }
        if !spec.processes.is_empty() && self.processes.is_none() {
            self.processes = Some(ProcessWatch::open(&spec.daemon.netlink));
        }
        if let Some(error) = self.processes.as_mut().and_then(ProcessWatch::without_events) {
            tracing::info!(target: "vrrp", "Processes are counted every second, as the kernel does not tell of them: {error}");
        }
        let counts = self.processes.as_mut().map(|watch| watch.configure(&spec.processes)).unwrap_or_default();
        readings
            .extend(counts.into_iter().map(|(process, count)| (Tracker::Process(process), TrackValue::Count(count))));
        readings
    }

    /// Tells the engine what these are.
    pub fn tell(&self, readings: Readings) {
        for (tracker, value) in readings {
            match (tracker, value) {
                (Tracker::File(file), TrackValue::Number(value)) => self.file_says(file, value),
                (Tracker::Process(process), TrackValue::Count(count)) => self.processes_run(process, count),
                _ => {}
            }
        }
    }

    fn file_says(&self, file: FileId, value: i32) {
        if let Some(file) = self.spec.files.get(file.index()) {
            let _ = self.engine.send(News::FileSays(file.name.clone(), value));
        }
    }

    fn processes_run(&self, process: ProcessId, count: u32) {
        if let Some(process) = self.spec.processes.get(process.index()) {
            let _ = self.engine.send(News::ProcessesRun(process.name.clone(), count));
        }
    }

    /// Passes on the next change. Cancel-safe.
    pub async fn attend(&mut self) {
        let files = async {
            match &mut self.files {
                Some(watch) => watch.next().await,
                None => std::future::pending().await,
            }
        };
        let processes = async {
            match &mut self.processes {
                Some(watch) => watch.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            (file, value) = files => self.file_says(file, value),
            (process, count) = processes => self.processes_run(process, count),
        }
    }
}
