//! The owner of the kernel's table of virtual servers: orders in, outcomes out, and a comparison every half minute.
//!
//! A task of its own, because the kernel may take its time. Orders are taken in their order; pictures that follow each
//! other are put in together, the last one of each service. A kernel without IPVS, or one that refuses it, costs the
//! virtual servers and nothing else: it is said with its reason and tried again.

use super::Told;
use crate::balance::io::{Action, Input, Marks, Outcome, Picture, ServiceKey, Sync, Traffic, Version};
use crate::kernel::ipvs::channel::Trouble;
use crate::kernel::ipvs::marks::MarkTables;
use crate::kernel::ipvs::{Applied, COMPARE_EVERY, Compared, Ipvs, Refusal, Settings};
use crate::spec::balance::{LvsSpec, MarkSettings, Timeouts};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

/// How long a kernel without IPVS is left alone before it is asked again.
const RETRY: Duration = Duration::from_secs(30);

/// What the task is asked beside the wishes of the balancer.
enum Order {
    Wish(Action),
    /// The first wishes are all there: now the table is made.
    Begin,
    Look(oneshot::Sender<Option<Traffic>>),
    Finish(oneshot::Sender<()>),
}

/// The way to the task.
pub struct Table {
    orders: mpsc::UnboundedSender<Order>,
    task: tokio::task::JoinHandle<()>,
}

impl Table {
    pub fn new(
        spec: &LvsSpec,
        record: PathBuf,
        answers: mpsc::UnboundedSender<Input>,
        services: mpsc::UnboundedSender<Told>,
    ) -> Table {
        let (orders, told) = mpsc::unbounded_channel();
        let keeper = Keeper {
            settings: Settings { namespace: spec.settings.namespace.clone(), record: Some(record) },
            flush: spec.settings.flush,
            marks_before: spec.settings.marks.clone(),
            orders: told,
            answers,
            services,
            wanted: BTreeMap::new(),
            marks: None,
            sync: None,
            timeouts: None,
            ipvs: None,
            tables: MarkTables::default(),
            said: None,
            begun: false,
        };
        let task = tokio::task::spawn_local(keeper.keep());
        Table { orders, task }
    }

    pub fn order(&self, wish: Action) {
        let _ = self.orders.send(Order::Wish(wish));
    }

    /// Comes back only if the keeper of the table panicked; then so does whoever asks, and begins again.
    pub async fn lives(&mut self) {
        match (&mut self.task).await {
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            _ => std::future::pending().await,
        }
    }

    pub fn begin(&self) {
        let _ = self.orders.send(Order::Begin);
    }

    /// The whole table with its counters; `None` without IPVS.
    pub fn look(&self) -> oneshot::Receiver<Option<Traffic>> {
        let (answer, answered) = oneshot::channel();
        let _ = self.orders.send(Order::Look(answer));
        answered
    }

    /// Comes back when everything that was ordered has been done.
    pub async fn finish(&self) {
        let (answer, answered) = oneshot::channel();
        let _ = self.orders.send(Order::Finish(answer));
        let _ = answered.await;
    }
}

type Wanted = BTreeMap<ServiceKey, (Version, Arc<Picture>)>;

struct Keeper {
    settings: Settings,
    flush: bool,
    /// Tables of marks that an earlier run may have left.
    marks_before: Option<MarkSettings>,
    orders: mpsc::UnboundedReceiver<Order>,
    answers: mpsc::UnboundedSender<Input>,
    services: mpsc::UnboundedSender<Told>,
    wanted: Wanted,
    marks: Option<Arc<Marks>>,
    sync: Option<Sync>,
    timeouts: Option<Timeouts>,
    ipvs: Option<Ipvs>,
    tables: MarkTables,
    /// The trouble that was told last: it is told once.
    said: Option<String>,
    begun: bool,
}

impl Keeper {
    async fn keep(mut self) {
        let mut next: Option<Instant> = None;
        loop {
            let due = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(Order::Wish(wish)) => self.wish(wish).await,
                    Some(Order::Begin) => {
                        self.begun = true;
                        next = self.open().await;
                    }
                    Some(Order::Look(answer)) => self.look(answer).await,
                    Some(Order::Finish(answer)) => drop(answer.send(())),
                    None => return,
                },
                () = due => next = match self.ipvs {
                    Some(_) => self.compare().await,
                    None => self.open().await,
                },
            }
            // The first service may come with a reload.
            if self.begun && next.is_none() && self.is_needed() {
                next = Some(Instant::now());
            }
        }
    }

    async fn look(&mut self, answer: oneshot::Sender<Option<Traffic>>) {
        let seen = match &mut self.ipvs {
            Some(ipvs) => ipvs.seen().await.ok().map(|seen| seen.traffic()),
            None => None,
        };
        let _ = answer.send(seen);
    }

    /// Is anything wanted of IPVS?
    fn is_needed(&self) -> bool {
        !self.wanted.is_empty() || self.timeouts.is_some() || self.sync.is_some() || self.flush
    }

    /// Opens the table and makes it as it is wanted; when to come back.
    async fn open(&mut self) -> Option<Instant> {
        if let Some(settings) = self.marks_before.take() {
            self.tables.clear(&settings);
        }
        if !self.is_needed() {
            // Nothing is wanted of IPVS: it need not even be there. What an earlier run left would need it.
            let left = self.settings.record.as_ref().is_some_and(|record| record.exists());
            if !left {
                return None;
            }
        }
        match Ipvs::open(self.settings.clone()).await {
            Ok(ipvs) => self.ipvs = Some(ipvs),
            Err(trouble) => {
                self.trouble(&trouble);
                for (service, (version, _)) in &self.wanted {
                    let outcome = Outcome { service: Some(errno(&trouble)), refused: Vec::new() };
                    let answer = Input::Applied { service: *service, version: *version, outcome };
                    let _ = self.answers.send(answer);
                }
                return Some(Instant::now() + RETRY);
            }
        }
        if self.said.take().is_some() {
            let _ = self.services.send(Told::Note("IPVS: the kernel has it now".into()));
        }
        self.set_timeouts().await;
        let wanted = self.wanted.iter().map(|(key, (_, picture))| (*key, picture.clone())).collect();
        let flush = std::mem::take(&mut self.flush);
        if let Some(ipvs) = &mut self.ipvs {
            match ipvs.start(wanted, flush).await {
                Ok(compared) => self.compared(&compared, true),
                Err(trouble) => self.trouble(&trouble),
            }
        }
        self.hold_marks();
        self.synchronise().await;
        Some(Instant::now() + COMPARE_EVERY)
    }

    async fn wish(&mut self, wish: Action) {
        let mut changes = BTreeMap::new();
        let mut wish = Some(wish);
        while let Some(action) = wish.take() {
            match action {
                Action::Serve { service, version, picture } => {
                    self.wanted.insert(service, (version, picture.clone()));
                    changes.insert(service, Some(picture));
                }
                Action::Withdraw(service) => {
                    self.wanted.remove(&service);
                    changes.insert(service, None);
                }
                other => {
                    self.change(std::mem::take(&mut changes)).await;
                    self.other(other).await;
                    return;
                }
            }
            // Pictures that wait already are put in together.
            match self.orders.try_recv() {
                Ok(Order::Wish(next)) => wish = Some(next),
                Ok(Order::Look(answer)) => {
                    self.change(std::mem::take(&mut changes)).await;
                    self.look(answer).await;
                    return;
                }
                Ok(Order::Begin) => {
                    // With nothing opened yet there is nothing to change either: all of it is wanted.
                    self.begun = true;
                    return;
                }
                Ok(Order::Finish(answer)) => {
                    self.change(changes).await;
                    let _ = answer.send(());
                    return;
                }
                Err(_) => {}
            }
        }
        self.change(changes).await;
    }

    async fn change(&mut self, changes: BTreeMap<ServiceKey, Option<Arc<Picture>>>) {
        if changes.is_empty() {
            return;
        }
        let Some(ipvs) = &mut self.ipvs else { return };
        for applied in ipvs.apply(changes).await {
            self.applied(&applied);
        }
    }

    fn applied(&self, applied: &Applied) {
        for refusal in &applied.refused {
            self.refused(refusal);
        }
        if let Some((version, _)) = self.wanted.get(&applied.service) {
            let outcome = applied.outcome();
            let _ = self.answers.send(Input::Applied { service: applied.service, version: *version, outcome });
        }
    }

    fn refused(&self, refusal: &Refusal) {
        let _ = self.services.send(Told::Warning(refusal.to_string()));
    }

    async fn other(&mut self, wish: Action) {
        match wish {
            Action::Marks(marks) => {
                self.marks = marks;
                if self.ipvs.is_some() || self.marks.is_none() {
                    self.hold_marks();
                }
            }
            Action::Flush => {
                self.wanted.clear();
                if let Some(ipvs) = &mut self.ipvs
                    && let Err(refusal) = ipvs.flush().await
                {
                    self.refused(&refusal);
                }
            }
            Action::SyncDaemon(sync) => {
                self.sync = sync;
                self.synchronise().await;
            }
            Action::Timeouts(timeouts) => {
                self.timeouts = timeouts;
                self.set_timeouts().await;
            }
            Action::Serve { .. } | Action::Withdraw(_) => {}
            Action::Probe { .. } | Action::Abandon(_) | Action::Report(_) => {}
        }
    }

    fn hold_marks(&mut self) {
        if let Err(error) = self.tables.hold(self.marks.as_deref()) {
            let _ = self.services.send(Told::Warning(format!("nftables_ipvs: {error}")));
        }
    }

    async fn synchronise(&mut self) {
        let Some(ipvs) = &mut self.ipvs else { return };
        if let Err(trouble) = ipvs.synchronise(self.sync.as_ref()).await {
            let _ = self.services.send(Told::Warning(format!("lvs_sync_daemon: {trouble}")));
        }
    }

    async fn set_timeouts(&mut self) {
        let Some(ipvs) = &mut self.ipvs else { return };
        if let Err(trouble) = ipvs.set_timeouts(self.timeouts).await {
            let _ = self.services.send(Told::Warning(format!("lvs_timeouts: {trouble}")));
        }
    }

    async fn compare(&mut self) -> Option<Instant> {
        let ipvs = self.ipvs.as_mut()?;
        match ipvs.compare().await {
            Ok(compared) => {
                self.said = None;
                self.compared(&compared, false);
            }
            Err(trouble) => self.trouble(&trouble),
        }
        Some(Instant::now() + COMPARE_EVERY)
    }

    /// Tells what was not as it had been left, and what became of everything that is wanted.
    fn compared(&self, compared: &Compared, first: bool) {
        for correction in &compared.corrected {
            let text = correction.to_string();
            let _ = self.services.send(if first { Told::Note(text) } else { Told::Warning(text) });
        }
        let mut refused: BTreeMap<ServiceKey, Outcome> = BTreeMap::new();
        for refusal in &compared.refused {
            if first {
                self.refused(refusal);
            }
            if refusal.is_removal() {
                continue;
            }
            let outcome = refused.entry(refusal.service()).or_default();
            match refusal.destination() {
                Some(place) => outcome.refused.push((place, refusal.errno())),
                None => outcome.service = Some(refusal.errno()),
            }
        }
        for (service, (version, _)) in &self.wanted {
            let outcome = refused.remove(service).unwrap_or_default();
            let _ = self.answers.send(Input::Applied { service: *service, version: *version, outcome });
        }
    }

    fn trouble(&mut self, trouble: &Trouble) {
        let text = format!("IPVS: Can't initialize ipvs: {trouble}");
        if self.said.as_ref() != Some(&text) {
            let _ = self.services.send(Told::Warning(text.clone()));
            self.said = Some(text);
        }
    }
}

/// The error number that stands for a table that could not be reached.
fn errno(trouble: &Trouble) -> i32 {
    match trouble {
        Trouble::NoModule | Trouble::Namespace { .. } => libc::ENOENT,
        Trouble::NotPermitted => libc::EPERM,
        Trouble::Refused(errno) => *errno,
        Trouble::Silent => libc::ETIMEDOUT,
        Trouble::Overrun => libc::ENOBUFS,
        Trouble::Io(error) => error.raw_os_error().unwrap_or(libc::EIO),
    }
}
