//! The owner of the kernel's table of virtual servers: orders in, outcomes out, and a comparison every half minute.
//!
//! A thread of its own. The kernel carries a request out inside the call, and waits in it for whatever holds its table;
//! the record of what is ours, namespaces and modules are files. None of it may hold up a check: what is ordered waits
//! ([`orders`](super::orders)), bounded, and a kernel that does not come back is said, and so is that it did. While it is
//! about something that stands in the register of [`aside`], so that nobody becomes another program in the middle.
//!
//! Orders are taken in their order; pictures that follow each other are put in together, the last one of each service. A
//! kernel without IPVS, or one that refuses it, costs the virtual servers and nothing else: it is said with its reason and
//! tried again.

use super::FromChecker;
use super::access::Access;
use super::orders::{Changes, Order, Orders};
use crate::balance::io::{
    Action, Input, Marks, NO_IPVS, NO_NAMESPACE, Outcome, Picture, ServiceKey, Sync, Traffic, Version,
};
use crate::kernel::aside;
use crate::kernel::ipvs::channel::Trouble;
use crate::kernel::ipvs::marks::MarkTables;
use crate::kernel::ipvs::{Applied, COMPARE_EVERY, Compared, Ipvs, Refusal, Settings};
use crate::kernel::perhaps::perhaps;
use crate::kernel::threads;
use crate::spec::balance::{LvsSpec, MarkSettings, Timeouts};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

/// How long a kernel without IPVS is left alone before it is asked again.
const RETRY: Duration = Duration::from_secs(30);
/// The kernel has been about one order for so long that it is said. Longer than its answers are waited for.
const PATIENCE: Duration = Duration::from_secs(15);
/// What the kernel counts is read so often at most: it makes its rates over two seconds itself, and changes wait meanwhile.
const COUNTED_FOR: Duration = Duration::from_secs(1);

/// One keeper at a time: one that the kernel does not let go ends before the next one begins.
pub type Turn = Arc<Mutex<()>>;

/// The way to the keeper, who ends with it.
pub struct Table {
    orders: Orders,
    /// Answers when the keeper has ended, and fails if it panicked.
    ended: Option<oneshot::Receiver<()>>,
    services: mpsc::UnboundedSender<FromChecker>,
    said: bool,
}

impl Table {
    /// # Errors
    /// The thread cannot be started.
    pub fn new(
        spec: &LvsSpec,
        record: PathBuf,
        turn: &Turn,
        answers: mpsc::UnboundedSender<Input>,
        services: mpsc::UnboundedSender<FromChecker>,
    ) -> io::Result<Table> {
        let orders = Orders::default();
        let keeper = Keeper {
            settings: Settings {
                namespace: spec.settings.namespace.clone(),
                record: Some(record),
                buffer: spec.settings.netlink_buffer,
            },
            flush: spec.settings.flush,
            marks_before: spec.settings.marks.clone(),
            orders: orders.clone(),
            answers,
            services: services.clone(),
            wanted: BTreeMap::new(),
            marks: None,
            sync: None,
            timeouts: None,
            access: Access::Unknown,
            told: None,
            tables: MarkTables::default(),
            counted: None,
            said: None,
            begun: false,
            lost: false,
        };
        let (end, ended) = oneshot::channel();
        let turn = turn.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        threads::start("ipvs", move || {
            let turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            runtime.block_on(keeper.keep());
            drop(turn);
            let _ = end.send(());
        })?;
        Ok(Table { orders, ended: Some(ended), services, said: false })
    }

    /// Hands a wish over; it is carried out in its turn.
    pub fn order(&self, order: Order) {
        self.orders.put([order]);
    }

    /// Says it when the kernel does not come back, and when it does. Returns only if the keeper panicked: the caller then panics
    /// too, and begins again. Cancel-safe.
    pub async fn lives(&mut self) {
        let Some(ended) = &mut self.ended else { return std::future::pending().await };
        loop {
            let busy = self.orders.busy_for();
            let late = busy.is_some_and(|busy| busy >= PATIENCE);
            if late != self.said {
                self.said = late;
                let text = "IPVS: the kernel";
                let _ = self.services.send(if late {
                    let text = format!("{text} does not come back from a request; what follows waits, checks go on");
                    FromChecker::Warning(text)
                } else {
                    FromChecker::Note(format!("{text} answers again"))
                });
            }
            // Where nothing is under way, a comparison may begin by itself.
            let again = busy.and_then(|busy| PATIENCE.checked_sub(busy)).unwrap_or(PATIENCE);
            tokio::select! {
                end = &mut *ended => break if end.is_err() {
                    std::panic::resume_unwind(Box::new("the keeper of the table panicked"));
                },
                () = sleep(again) => {}
            }
        }
        self.ended = None;
        std::future::pending().await
    }

    /// Opens the table. Answers why there is none, as an error number.
    pub fn open(&self) -> oneshot::Receiver<Option<i32>> {
        let (answer, answered) = oneshot::channel();
        self.orders.put([Order::Open(answer)]);
        answered
    }

    /// Makes the table as the first wishes want it, opening it if it is not open, or says why there is none. Comes back when that
    /// has been done.
    pub async fn begin(&self, wishes: Vec<Order>) {
        let (answer, answered) = oneshot::channel();
        self.orders.put(wishes.into_iter().chain([Order::Begin, Order::Finish(answer)]));
        let _ = answered.await;
    }

    /// The whole table with its counters; `None` without IPVS.
    pub fn look(&self) -> oneshot::Receiver<Option<Arc<Traffic>>> {
        let (answer, answered) = oneshot::channel();
        self.orders.put([Order::Look(answer)]);
        answered
    }

    /// Comes back when everything that was ordered has been done.
    pub async fn finish(&self) {
        let (answer, answered) = oneshot::channel();
        self.orders.put([Order::Finish(answer)]);
        let _ = answered.await;
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.orders.close();
    }
}

type Wanted = BTreeMap<ServiceKey, (Version, Arc<Picture>)>;

struct Keeper {
    settings: Settings,
    flush: bool,
    /// Tables of marks that an earlier run may have left.
    marks_before: Option<MarkSettings>,
    orders: Orders,
    answers: mpsc::UnboundedSender<Input>,
    services: mpsc::UnboundedSender<FromChecker>,
    wanted: Wanted,
    marks: Option<Arc<Marks>>,
    sync: Option<Sync>,
    timeouts: Option<Timeouts>,
    access: Access<Ipvs>,
    /// What the balancer was told of it last: why there is none.
    told: Option<i32>,
    tables: MarkTables,
    /// What it counted (`None`: it did not say), and when that was asked.
    counted: Option<(Instant, Option<Arc<Traffic>>)>,
    /// The trouble that was told last: it is told once.
    said: Option<String>,
    begun: bool,
    /// The table has gone with its module: it is to be made again at once.
    lost: bool,
}

impl Keeper {
    async fn keep(mut self) {
        let mut next: Option<Instant> = None;
        let orders = self.orders.clone();
        loop {
            let due = perhaps(next.map(sleep_until));
            let order = tokio::select! {
                order = orders.next() => match order {
                    Some(order) => Some(order),
                    None => return,
                },
                () = due => None,
            };
            let under_way = UnderWay::new(&orders);
            match order {
                Some(Order::Change(changes)) => self.change(changes).await,
                Some(Order::Other(wish)) => self.other(wish).await,
                Some(Order::Open(answer)) => {
                    self.connect().await;
                    let _ = answer.send(self.access.absent());
                }
                Some(Order::Begin) => {
                    self.begun = true;
                    // What has just been asked need not be asked again at once.
                    if matches!(self.access, Access::Unknown) && self.is_wanted() {
                        self.connect().await;
                    }
                    next = self.open().await;
                }
                Some(Order::Look(answer)) => self.look(answer).await,
                Some(Order::Finish(answer)) => drop(answer.send(())),
                None => {
                    next = match self.access {
                        Access::Looked(_) => self.compare().await,
                        Access::Opened(_) => self.open().await,
                        Access::Unknown | Access::Absent(_) => {
                            if self.is_wanted() {
                                self.connect().await;
                            }
                            self.open().await
                        }
                    };
                }
            }
            drop(under_way);
            if std::mem::take(&mut self.lost) {
                next = Some(Instant::now());
            }
            // The first service may come with a reload.
            if self.begun && next.is_none() && self.is_needed() {
                next = Some(Instant::now());
            }
        }
    }

    /// Whoever asks: the table is walked through once for all that ask within [`COUNTED_FOR`].
    async fn look(&mut self, answer: oneshot::Sender<Option<Arc<Traffic>>>) {
        if answer.is_closed() {
            return;
        }
        if self.counted.as_ref().is_none_or(|(at, _)| at.elapsed() >= COUNTED_FOR) {
            let seen = match self.access.look_at() {
                Some(ipvs) => match ipvs.seen().await {
                    Ok(seen) => Some(seen),
                    Err(trouble) => {
                        self.is_lost(&trouble);
                        None
                    }
                },
                None => None,
            };
            self.counted = Some((Instant::now(), seen.map(|seen| Arc::new(seen.traffic()))));
        }
        let _ = answer.send(self.counted.as_ref().and_then(|(_, traffic)| traffic.clone()));
    }

    /// Is anything wanted of IPVS?
    fn is_needed(&self) -> bool {
        !self.wanted.is_empty() || self.timeouts.is_some() || self.sync.is_some() || self.flush
    }

    /// Is there anything to do with the table? What an earlier run left needs it too.
    fn is_wanted(&self) -> bool {
        self.is_needed() || self.settings.record.as_ref().is_some_and(|record| record.exists())
    }

    /// Makes the table as it is wanted, if it is open; when to come back.
    async fn open(&mut self) -> Option<Instant> {
        if let Some(settings) = self.marks_before.take() {
            self.tables.clear(&settings);
        }
        if !self.is_wanted() {
            // Nothing is wanted of IPVS: it need not even be there.
            return None;
        }
        if let Some(errno) = self.access.absent() {
            for (service, (version, _)) in &self.wanted {
                self.no_table(*service, *version, errno);
            }
            return Some(Instant::now() + RETRY);
        }
        let wanted = self.wanted.iter().map(|(key, (_, picture))| (*key, picture.clone())).collect();
        if let Some(ipvs) = self.access.look_at() {
            match ipvs.start(wanted, self.flush).await {
                Ok(compared) => {
                    self.flush = false;
                    self.access.looked();
                    if self.said.take().is_some() {
                        let _ = self.services.send(FromChecker::Note("IPVS: the kernel has it now".into()));
                    }
                    self.compared(&compared, true);
                }
                Err(Trouble::Unloaded) => {
                    self.is_lost(&Trouble::Unloaded);
                    return None;
                }
                Err(trouble) => {
                    // What an earlier process left is still to be taken over, or flushed.
                    self.trouble(&trouble);
                    self.access = Access::Unknown;
                    return Some(Instant::now() + RETRY);
                }
            }
        }
        self.set_timeouts().await;
        self.hold_marks();
        self.synchronise().await;
        Some(Instant::now() + COMPARE_EVERY)
    }

    /// Opens the table, or says why there is none, people and the balancer.
    async fn connect(&mut self) {
        self.access = match Ipvs::open(self.settings.clone()).await {
            Ok(ipvs) => Access::Opened(ipvs),
            Err(trouble) => {
                // For all virtual servers: none of them says it once more.
                self.say_once(format!(
                    "IPVS: Can't initialize ipvs: {trouble}; no virtual server serves, and it is tried again"
                ));
                Access::Absent(errno(&trouble))
            }
        };
        let absent = self.access.absent();
        if absent != self.told {
            self.told = absent;
            let _ = self.answers.send(Input::Table { absent });
        }
    }

    async fn change(&mut self, changes: Changes) {
        let mut pictures = BTreeMap::new();
        for (service, change) in changes {
            pictures.insert(service, change.as_ref().map(|(_, picture)| picture.clone()));
            match change {
                Some(picture) => drop(self.wanted.insert(service, picture)),
                None => drop(self.wanted.remove(&service)),
            }
        }
        let Some(ipvs) = self.access.writable() else {
            // Before the first attempt nobody knows yet. After one that failed, nothing of this is in any table.
            let Some(errno) = self.access.absent() else { return };
            for service in pictures.keys() {
                if let Some((version, _)) = self.wanted.get(service) {
                    self.no_table(*service, *version, errno);
                }
            }
            return;
        };
        let applied = ipvs.apply(pictures).await;
        // What becomes of all services is told once the table is made again, or is not to be had.
        if applied.iter().flat_map(|applied| &applied.refused).any(Refusal::is_unloaded) {
            self.is_lost(&Trouble::Unloaded);
            return;
        }
        for applied in applied {
            self.applied(&applied);
        }
    }

    /// Answers a wish that there is no table for.
    fn no_table(&self, service: ServiceKey, version: Version, errno: i32) {
        let outcome = Outcome { service: Some(errno), refused: Vec::new() };
        let _ = self.answers.send(Input::Applied { service, version, outcome });
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
        let _ = self.services.send(FromChecker::Warning(refusal.to_string()));
    }

    async fn other(&mut self, wish: Action) {
        match wish {
            Action::Marks(marks) => {
                self.marks = marks;
                if self.access.writable().is_some() || self.marks.is_none() {
                    self.hold_marks();
                }
            }
            Action::Flush => {
                self.wanted.clear();
                if let Some(ipvs) = self.access.writable()
                    && let Err(refusal) = ipvs.flush().await
                    && !refusal.is_unloaded()
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
            let _ = self.services.send(FromChecker::Warning(format!("nftables_ipvs: {error}")));
        }
    }

    async fn synchronise(&mut self) {
        let Some(ipvs) = self.access.writable() else { return };
        if let Err(trouble) = ipvs.synchronise(self.sync.as_ref()).await
            && !self.is_lost(&trouble)
        {
            let _ = self.services.send(FromChecker::Warning(format!("lvs_sync_daemon: {trouble}")));
        }
    }

    async fn set_timeouts(&mut self) {
        let Some(ipvs) = self.access.writable() else { return };
        if let Err(trouble) = ipvs.set_timeouts(self.timeouts).await
            && !self.is_lost(&trouble)
        {
            let _ = self.services.send(FromChecker::Warning(format!("lvs_timeouts: {trouble}")));
        }
    }

    async fn compare(&mut self) -> Option<Instant> {
        let ipvs = self.access.writable()?;
        match ipvs.compare().await {
            Ok(compared) => {
                self.said = None;
                self.compared(&compared, false);
            }
            Err(trouble) if self.is_lost(&trouble) => {}
            Err(trouble) => self.trouble(&trouble),
        }
        Some(Instant::now() + COMPARE_EVERY)
    }

    /// Whether the trouble is that the table has gone. It is opened anew then: the family is another one once the module has
    /// been loaded again, and the socket that was open would never find it.
    fn is_lost(&mut self, trouble: &Trouble) -> bool {
        let lost = matches!(trouble, Trouble::Unloaded);
        if lost {
            let text = "IPVS: the module ip_vs was unloaded, and the table with it; it is made again";
            let _ = self.services.send(FromChecker::Warning(text.into()));
            (self.access, self.lost) = (Access::Unknown, true);
        }
        lost
    }

    /// Tells what was not as it had been left, and what became of everything that is wanted.
    fn compared(&self, compared: &Compared, first: bool) {
        for correction in &compared.corrected {
            let text = correction.to_string();
            let _ = self.services.send(if first { FromChecker::Note(text) } else { FromChecker::Warning(text) });
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
        self.say_once(format!("IPVS: Can't initialize ipvs: {trouble}"));
    }

    fn say_once(&mut self, text: String) {
        if self.said.as_ref() != Some(&text) {
            let _ = self.services.send(FromChecker::Warning(text.clone()));
            self.said = Some(text);
        }
    }
}

/// The keeper is about something for as long as it lives.
struct UnderWay<'a> {
    orders: &'a Orders,
    /// In the register of slow work; a full one costs the place in it.
    _entry: Option<aside::Entry>,
}

impl UnderWay<'_> {
    fn new(orders: &Orders) -> UnderWay<'_> {
        orders.set_under_way(true);
        UnderWay { orders, _entry: aside::Entry::new("the kernel's table of virtual servers".into()) }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.orders.set_under_way(false);
    }
}

/// The error number that stands for a table that could not be reached.
fn errno(trouble: &Trouble) -> i32 {
    match trouble {
        Trouble::NoModule | Trouble::Unloaded => NO_IPVS,
        Trouble::Namespace { .. } => NO_NAMESPACE,
        Trouble::NotPermitted => libc::EPERM,
        Trouble::Refused(errno) => *errno,
        Trouble::Silent => libc::ETIMEDOUT,
        Trouble::Overrun => libc::ENOBUFS,
        Trouble::Io(error) => error.raw_os_error().unwrap_or(libc::EIO),
    }
}
