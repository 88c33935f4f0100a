//! The kernel's table of virtual servers (IPVS): what is wanted goes in, what others change is put right.
//!
//! [`Ipvs`] belongs to the `ipvs` thread. It is told what each service is to hold ([`Picture`]), sends the kernel only what
//! differs, in batches, and reports each refusal with its service, destination and reason. At the start and every 30
//! seconds it reads the whole table and compares: entries that a killed process left are corrected in place, which
//! costs no connection; entries that another program took away are put back, and that is said; entries that are not
//! ours are left alone ([`plan`]).
//!
//! There is no call for the end. To leave the table as it is, drop [`Ipvs`]: the record stays for the next process. To
//! empty the table, withdraw every service: the record is removed with the last one.
//!
//! Beside the table: the kernel's time-outs, which are remembered before they are set and restored at the end, and the
//! threads that tell another director of the connections (`lvs_sync_daemon`). [`marks`] gives packets the marks by which
//! a group of addresses becomes one service.

pub mod channel;
pub mod dump;
pub mod marks;
pub mod message;
mod module;
pub mod plan;
pub mod record;
mod refusal;

use crate::balance::io::{Outcome, Picture, ServiceKey, Sync};
use crate::spec::balance::Timeouts;
use channel::{Channel, Failure, Trouble};
use dump::{Seen, SeenDaemons, SeenService};
use message::{Daemon, Message, SyncRole};
use plan::{Op, Rules, plan};
use record::Record;
pub use refusal::{Correction, Refusal};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How often the table is worth comparing.
pub const COMPARE_EVERY: Duration = Duration::from_secs(30);

/// Where the table is.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `net_namespace_ipvs`; `None` is the namespace of the thread.
    pub namespace: Option<Box<str>>,
    /// File in which the [`Record`] is kept; `None` keeps none.
    pub record: Option<PathBuf>,
    /// `lvs_netlink_cmd_rcv_bufs`, bytes, 0 for a size of our own; and whether to exceed the machine's limit.
    pub buffer: (u32, bool),
}

/// What became of the changes of one service; all of them done if nothing is refused.
#[derive(Debug)]
pub struct Applied {
    pub service: ServiceKey,
    pub refused: Vec<Refusal>,
}
impl Applied {
    /// For the balancer; an answer that never came is ETIMEDOUT. What the kernel would not remove is of no matter to it.
    pub fn outcome(&self) -> Outcome {
        let mut outcome = Outcome::default();
        for refusal in self.refused.iter().filter(|refusal| !refusal.is_removal()) {
            match refusal.destination() {
                Some(place) => outcome.refused.push((place, refusal.errno())),
                None => outcome.service = Some(refusal.errno()),
            }
        }
        outcome
    }
}

/// What a comparison of the whole table came to.
#[derive(Debug, Default)]
pub struct Compared {
    /// What was not as it had been left, and is put right.
    pub corrected: Vec<Correction>,
    /// What the kernel refuses (still).
    pub refused: Vec<Refusal>,
}

/// A comparison, unless the table went away during it.
fn whole(compared: Compared) -> Result<Compared, Trouble> {
    match compared.refused.iter().any(Refusal::is_unloaded) {
        true => Err(Trouble::Unloaded),
        false => Ok(compared),
    }
}

/// The table of one network namespace.
#[derive(Debug)]
pub struct Ipvs {
    channel: Channel,
    settings: Settings,
    wanted: BTreeMap<ServiceKey, Arc<Picture>>,
    /// What we have put in, as the kernel said yes to it.
    held: Seen,
    /// Left by an earlier process and not wanted: to be removed.
    before: BTreeSet<ServiceKey>,
    /// The kernel's own, while ours are set.
    timeouts: Option<message::Timeouts>,
    daemons: SeenDaemons,
    written: Option<Record>,
}

/// What came of a run of steps.
#[derive(Default)]
struct Run {
    refused: Vec<Refusal>,
    /// Of these services nobody knows how they are.
    doubtful: BTreeSet<ServiceKey>,
    /// These were refused: so are all their destinations.
    missing: BTreeSet<ServiceKey>,
    /// A destination of these that was to get connections is not there.
    lacking: BTreeSet<ServiceKey>,
}

impl Ipvs {
    /// Opens the table, loading the module if the kernel has none, and reads what an earlier process left of itself.
    ///
    /// # Errors
    /// No IPVS in this kernel, no permission, no namespace of that name, no answer.
    pub async fn open(settings: Settings) -> Result<Ipvs, Trouble> {
        let namespace = settings.namespace.as_deref();
        let mut opened = Channel::open(namespace, settings.buffer).await?;
        if opened.is_none() {
            module::load().await;
            opened = Channel::open(namespace, settings.buffer).await?;
        }
        let mut channel = opened.ok_or(Trouble::NoModule)?;
        // Who may not ask for this may not change anything either.
        match channel.get(Message::get_info()).await {
            Err(Trouble::Refused(libc::EPERM | libc::EACCES)) => return Err(Trouble::NotPermitted),
            other => other?,
        };
        let left = settings.record.as_deref().map(Record::load).unwrap_or_default();
        Ok(Ipvs {
            channel,
            settings,
            wanted: BTreeMap::new(),
            held: Seen::default(),
            before: left.services,
            timeouts: left.timeouts,
            daemons: SeenDaemons::new(),
            written: None,
        })
    }

    /// Whether the kernel has a table for the calling thread's namespace, and lets this process see it.
    pub async fn is_there() -> bool {
        Ipvs::open(Settings::default()).await.is_ok()
    }

    /// Makes the table hold `wanted` and nothing else of ours, whatever stands in it: the start of the process. With
    /// `flush` (`lvs_flush`) everything in it counts as ours.
    ///
    /// # Errors
    /// The table cannot be read, and nothing has been changed then; or it has gone.
    pub async fn start(
        &mut self,
        wanted: BTreeMap<ServiceKey, Arc<Picture>>,
        flush: bool,
    ) -> Result<Compared, Trouble> {
        self.wanted = wanted;
        let seen = self.seen().await?;
        let rules = Rules { before: Some(&self.before), held: Some(&self.held), adopt: true, everything: flush };
        let steps = plan(&self.wanted, &seen, rules);
        // What stands there and is wanted is ours from now on.
        let ours = |key: &ServiceKey| self.wanted.contains_key(key) || self.before.contains(key) || flush;
        self.held.services = seen.services.into_iter().filter(|(key, _)| ours(key)).collect();
        self.write_record();
        let mut corrected: Vec<_> = steps.iter().filter_map(Correction::leftover).collect();
        let refused = self.carry_out(steps, false).await;
        Correction::deny(&mut corrected, &refused);
        self.before.retain(|key| self.held.services.contains_key(key) && !self.wanted.contains_key(key));
        self.write_record();
        whole(Compared { corrected, refused })
    }

    /// Changes services: what each is to hold from now on, `None` for one that goes. Answers for each service that was
    /// named, in the order of the keys.
    pub async fn apply(
        &mut self,
        changes: impl IntoIterator<Item = (ServiceKey, Option<Arc<Picture>>)>,
    ) -> Vec<Applied> {
        let mut wanted = BTreeMap::new();
        let mut named = BTreeSet::new();
        for (key, picture) in changes {
            named.insert(key);
            match picture {
                Some(picture) => {
                    self.wanted.insert(key, picture.clone());
                    wanted.insert(key, picture);
                }
                None => {
                    self.wanted.remove(&key);
                    wanted.remove(&key);
                }
            }
        }
        self.write_record();
        let held = self.held_of(&named);
        let steps = plan(&wanted, &held, Rules { held: Some(&held), ..Rules::default() });
        let mut applied: BTreeMap<ServiceKey, Vec<Refusal>> = named.into_iter().map(|key| (key, Vec::new())).collect();
        for refusal in self.carry_out(steps, true).await {
            applied.entry(refusal.service()).or_default().push(refusal);
        }
        self.write_record();
        applied.into_iter().map(|(service, refused)| Applied { service, refused }).collect()
    }

    /// Reads the whole table and puts right what is not as it was left.
    ///
    /// # Errors
    /// The table cannot be read, and nothing has been changed then; or it has gone.
    pub async fn compare(&mut self) -> Result<Compared, Trouble> {
        let seen = self.seen().await?;
        let rules = Rules { before: Some(&self.before), held: Some(&self.held), ..Rules::default() };
        let steps = plan(&self.wanted, &seen, rules);
        let mut corrected = Correction::list(&steps, &self.held);
        self.believe(seen, None);
        let refused = self.carry_out(steps, false).await;
        Correction::deny(&mut corrected, &refused);
        self.before.retain(|key| self.held.services.contains_key(key) && !self.wanted.contains_key(key));
        self.write_record();
        whole(Compared { corrected, refused })
    }

    /// The whole table as it is, with its counters, also what is not ours.
    ///
    /// # Errors
    /// The kernel refuses, or does not answer.
    pub async fn seen(&mut self) -> Result<Seen, Trouble> {
        let services = self.channel.dump(Message::get_services()).await?;
        self.with_destinations(services).await
    }

    /// Empties the table, whoever filled it (`lvs_flush_on_stop`).
    ///
    /// # Errors
    /// What the kernel says.
    pub async fn flush(&mut self) -> Result<(), Refusal> {
        match self.channel.batch([Message::flush()]).await.pop() {
            Some(Err(failure)) => Err(Refusal::flush(failure)),
            _ => {
                self.wanted.clear();
                self.held = Seen::default();
                self.before.clear();
                self.write_record();
                Ok(())
            }
        }
    }

    /// Sets the time-outs of connections (`lvs_timeouts`), those that are not given as the kernel had them; `None`
    /// restores what the kernel had before the first call, also before that of an earlier process that was killed.
    ///
    /// # Errors
    /// What the kernel says.
    pub async fn set_timeouts(&mut self, wanted: Option<Timeouts>) -> Result<(), Trouble> {
        let wanted = wanted.filter(Timeouts::is_anything);
        if wanted.is_none() && self.timeouts.is_none() {
            return Ok(());
        }
        let now = self.channel.get(Message::get_timeouts()).await?;
        let now = now.iter().find_map(Message::timeouts).ok_or(Trouble::Silent)?;
        let own = *self.timeouts.get_or_insert(now);
        self.write_record();
        let or = |wanted: Option<u32>, own| wanted.filter(|seconds| *seconds > 0).unwrap_or(own);
        let goal = wanted.map_or(own, |wanted| message::Timeouts {
            tcp: or(wanted.tcp, own.tcp),
            tcp_fin: or(wanted.tcp_fin, own.tcp_fin),
            udp: or(wanted.udp, own.udp),
        });
        if goal != now {
            self.channel.request(Message::set_timeouts(goal)).await?;
        }
        if wanted.is_none() {
            self.timeouts = None;
            self.write_record();
        }
        Ok(())
    }

    /// Has exactly these threads of the synchronisation running (`lvs_sync_daemon`), `None` none of ours; what runs so
    /// already goes on. Threads that this process did not start are left alone, unless their role is wanted.
    ///
    /// # Errors
    /// The first refusal; the threads after it were tried all the same.
    pub async fn synchronise(&mut self, wanted: Option<&Sync>) -> Result<(), Trouble> {
        if wanted.is_none() && self.daemons.is_empty() {
            return Ok(());
        }
        let running = self.daemons().await?;
        let daemon = wanted.map(|sync| Daemon::of(&sync.settings));
        let runs = |role| match role {
            SyncRole::Master => wanted.is_some_and(|sync| sync.master),
            SyncRole::Backup => wanted.is_some_and(|sync| sync.backup),
        };
        let (mut ends, mut begins, mut kept) = (Vec::new(), Vec::new(), SeenDaemons::new());
        for role in [SyncRole::Master, SyncRole::Backup] {
            let wanted = daemon.as_ref().filter(|_| runs(role));
            let own = self.daemons.get(&role);
            let seen = running.get(&role);
            let stays = match (wanted, seen) {
                (Some(wanted), Some(seen)) => match own {
                    Some(own) => own == wanted && seen.interface == wanted.interface && seen.id == wanted.id,
                    None => wanted.is(seen),
                },
                _ => false,
            };
            if let Some(seen) = seen.filter(|_| !stays && (wanted.is_some() || own.is_some())) {
                ends.push(Message::delete_daemon(role, seen.id));
            }
            if let Some(wanted) = wanted {
                kept.insert(role, wanted.clone());
                if !stays {
                    begins.push(Message::new_daemon(role, wanted));
                }
            }
        }
        ends.append(&mut begins);
        self.daemons = kept;
        let mut outcome = Ok(());
        for result in self.channel.batch(ends).await {
            let result = match result {
                Ok(()) | Err(Failure::Refused(libc::ESRCH)) => Ok(()),
                Err(Failure::Refused(errno)) => Err(Trouble::Refused(errno)),
                Err(Failure::Unloaded) => Err(Trouble::Unloaded),
                Err(Failure::Unknown) => Err(Trouble::Silent),
            };
            outcome = outcome.and(result);
        }
        outcome
    }

    /// The threads that the kernel runs, whoever started them.
    ///
    /// # Errors
    /// The kernel refuses, or does not answer.
    pub async fn daemons(&mut self) -> Result<SeenDaemons, Trouble> {
        let answers = self.channel.dump(Message::get_daemons()).await?;
        Ok(answers.iter().filter_map(Message::daemon).collect())
    }

    /// Carries steps out. Where the kernel says that the table is another one, these services are read and what they
    /// still lack is done; what is refused then is refused. With `hold` no service loses its last server because another
    /// one was refused.
    async fn carry_out(&mut self, steps: Vec<Op>, hold: bool) -> Vec<Refusal> {
        let Run { mut refused, doubtful, .. } = self.steps(steps, hold).await;
        if doubtful.is_empty() {
            return refused;
        }
        let mut services = Vec::new();
        for key in &doubtful {
            match self.channel.get(Message::get_service(*key)).await {
                Ok(answers) => services.extend(answers),
                Err(_) => return refused,
            }
        }
        let Ok(seen) = self.with_destinations(services).await else { return refused };
        let rules = Rules { held: Some(&self.held), ..Rules::default() };
        let wanted: BTreeMap<ServiceKey, Arc<Picture>> =
            doubtful.iter().filter_map(|key| Some((*key, self.wanted.get(key)?.clone()))).collect();
        let steps = plan(&wanted, &seen, rules);
        self.believe(seen, Some(&doubtful));
        refused.retain(|refusal| !doubtful.contains(&refusal.service()));
        refused.extend(self.steps(steps, hold).await.refused);
        refused
    }

    /// What begins, and then what ends.
    async fn steps(&mut self, steps: Vec<Op>, hold: bool) -> Run {
        let (mut ends, begins): (Vec<Op>, Vec<Op>) = steps.into_iter().partition(Op::is_end);
        let mut run = Run::default();
        self.round(begins, &mut run).await;
        if hold && !run.lacking.is_empty() {
            let ending: BTreeSet<_> = ends.iter().filter_map(|op| Some((op.service(), op.destination()?))).collect();
            let serves = |key: &ServiceKey| {
                let there = self.held.services.get(key).into_iter().flat_map(|service| &service.destinations);
                there.into_iter().any(|(at, held)| held.destination.weight > 0 && !ending.contains(&(*key, *at)))
            };
            run.lacking.retain(|key| !serves(key));
            // The picture that follows the refusal, or the next comparison, takes out what does not belong there.
            ends.retain(|op| op.destination().is_none() || !run.lacking.contains(&op.service()));
        }
        self.round(ends, &mut run).await;
        run
    }

    async fn round(&mut self, steps: Vec<Op>, run: &mut Run) {
        if steps.is_empty() {
            return;
        }
        let outcomes = self.channel.batch(steps.iter().map(Op::message)).await;
        for (step, outcome) in steps.into_iter().zip(outcomes) {
            let failure = match outcome {
                Ok(()) => {
                    step.note(&mut self.held);
                    continue;
                }
                Err(failure) => failure,
            };
            if step.weight().is_some_and(|weight| weight > 0) {
                run.lacking.insert(step.service());
            }
            match (&step, failure) {
                // It is gone, and that was the wish.
                (Op::DeleteService(_) | Op::DeleteDestination(..), Failure::Refused(errno)) if step.mistaken(errno) => {
                    step.note(&mut self.held);
                }
                (_, Failure::Refused(_)) if run.missing.contains(&step.service()) => {}
                (_, failure) => {
                    let doubt = match failure {
                        Failure::Refused(errno) => step.mistaken(errno),
                        Failure::Unloaded | Failure::Unknown => true,
                    };
                    if doubt {
                        run.doubtful.insert(step.service());
                    }
                    if matches!(step, Op::NewService(..)) && !doubt {
                        run.missing.insert(step.service());
                    }
                    run.refused.push(Refusal::of(step, failure));
                }
            }
        }
    }

    async fn with_destinations(&mut self, services: Vec<Message>) -> Result<Seen, Trouble> {
        let mut seen = Seen::default();
        for (key, service, stats) in services.iter().filter_map(Message::service) {
            let answers = match self.channel.dump(Message::get_destinations(key)).await {
                // Gone since.
                Err(Trouble::Refused(libc::ESRCH | libc::ENOENT)) => continue,
                answers => answers?,
            };
            let destinations = answers.iter().filter_map(|answer| answer.destination(key)).collect();
            seen.services.insert(key, SeenService { service, stats, destinations });
        }
        Ok(seen)
    }

    /// The table is as it was read: what of ours is not there is no longer held. Of `only` these services, else of all.
    fn believe(&mut self, mut seen: Seen, only: Option<&BTreeSet<ServiceKey>>) {
        let Ipvs { wanted, before, held, .. } = self;
        held.services.retain(|key, held| {
            let Some(there) = seen.services.remove(key) else {
                return only.is_some_and(|only| !only.contains(key));
            };
            let wanted = wanted.get(key);
            let ours = |place: &message::DestinationKey| {
                held.destinations.contains_key(place)
                    || wanted.is_some_and(|picture| picture.destinations.contains_key(place))
            };
            let destinations = there.destinations.into_iter().filter(|(place, _)| ours(place)).collect();
            *held = SeenService { destinations, ..there };
            true
        });
        // Another one has made what we want: it is ours now.
        for (key, mut there) in seen.services {
            let wanted = wanted.get(&key);
            if let Some(picture) = wanted {
                there.destinations.retain(|place, _| picture.destinations.contains_key(place));
            }
            if wanted.is_some() || before.contains(&key) {
                held.services.insert(key, there);
            }
        }
    }

    fn held_of(&self, keys: &BTreeSet<ServiceKey>) -> Seen {
        let services = keys.iter().filter_map(|key| Some((*key, self.held.services.get(key)?.clone()))).collect();
        Seen { services }
    }

    /// Says on disk what is ours, if it is not said so yet. A file system that refuses costs the record, nothing else.
    fn write_record(&mut self) {
        let Some(file) = &self.settings.record else { return };
        let mut services: BTreeSet<ServiceKey> = self.wanted.keys().copied().collect();
        services.extend(self.held.services.keys().copied());
        services.extend(self.before.iter().copied());
        let record = Record { services, timeouts: self.timeouts };
        if self.written.as_ref() != Some(&record) {
            let _ = record.store(file);
            self.written = Some(record);
        }
    }
}
