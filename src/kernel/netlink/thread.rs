//! The kernel thread's loop: orders, one batch of steps, events, and again; it sleeps only when there is nothing of
//! each.
//!
//! Orders are looked at between batches ([`batch`](super::batch)), so an announcement of addresses that are there
//! ([`announcing`](super::announcing)) goes out while the rest of a large claim is still on its way.

use super::FromKernel;
use super::NetlinkError;
use super::Settings;
use super::ToKernel;
use super::Trouble;
use super::batch::FIRST_BATCH;
use super::channel::Channel;
use super::claims::{Claims, Owner, Progress};
use super::events::Overruns;
use super::linkbeat::Linkbeat;
use super::links::Links;
use super::repeats::Repeats;
use super::resolve::{self, Names, Resolved};
use super::retries::Retries;
use super::sweep::Sweep;
use super::watch::{Heard, Watch};
use crate::kernel::announce::Announcer;
use crate::kernel::firewall::Place;
use crate::kernel::reconcile::Key;
use crate::kernel::socket::{self, Opening, SocketSettings};
use crate::kernel::sysctl::Sysctls;
use crate::spec::{Claim, InstanceId, Spec};
use crate::vrrp::io::{Announce, LinkFact, Outcome};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// After a fight for an item it is left alone this long.
const TRUCE: Duration = Duration::from_secs(1);
/// What happens again and again is said this often.
const QUIET: Duration = Duration::from_secs(60);
/// Buffers of events read before orders get their turn again.
const BUFFERS_A_ROUND: usize = 64;
/// Addresses that have come or are still to be claimed: with more of them claiming goes before announcing.
const ANNOUNCED_AT_ONCE: usize = 64;
pub(super) struct Thread {
    pub(super) channel: Channel,
    pub(super) watch: Watch,
    pub(super) links: Links,
    pub(super) claims: Claims,
    pub(super) spec: Arc<Spec>,
    pub(super) names: Names,
    pub(super) sysctls: Sysctls,
    pub(super) virtual_links: BTreeMap<crate::spec::IfName, u32>,
    /// Virtual links that nobody wants, until [`ToKernel::Tidy`].
    pub(super) unwanted: BTreeSet<u32>,
    /// Virtual links whose parents are to be told of when they go: their index, and their parent's.
    pub(super) tell_of: BTreeMap<u32, u32>,
    pub(super) firewall: crate::kernel::firewall::Firewall,
    pub(super) firewall_refused: Option<String>,
    pub(super) settings: Settings,
    /// What each instance was last told to own.
    pub(super) owned: BTreeMap<InstanceId, Arc<Claim>>,
    pub(super) configured: bool,
    pub(super) announcer: Option<Announcer>,
    /// Addresses to be announced once more, when everything that is claimed is there and has been announced once.
    pub(super) repeats: Repeats,
    inbox: mpsc::UnboundedReceiver<ToKernel>,
    reports: mpsc::UnboundedSender<FromKernel>,
    /// What has been said under the numbers of a Spec that the engine does not know yet; `None`: it knows the present one.
    held: Option<Vec<FromKernel>>,
    /// How many steps the next batch has.
    pub(super) batch: usize,
    pub(super) retries: Retries,
    /// Routes or rules may have gone without a word; when to look.
    pub(super) doubtful: bool,
    /// Told what to own since they were looked at last.
    told: BTreeSet<InstanceId>,
    /// The firewall is to be opened when the last step has been carried out.
    screen_due: bool,
    /// Until then it is closed for these too: they may still be there.
    pub(super) leaving: BTreeSet<(IpAddr, Place)>,
    pub(super) linkbeat: Linkbeat,
    pub(super) overruns: Overruns,
    pub(super) sweep: Sweep,
    /// When the firewall may be made again, if another program has removed it, and when that was said last.
    rescreen: Option<Instant>,
    rescreened: Option<Instant>,
    rescreen_told: Option<Instant>,
}

impl Thread {
    pub(super) fn open(
        settings: Settings,
        inbox: mpsc::UnboundedReceiver<ToKernel>,
        reports: mpsc::UnboundedSender<FromKernel>,
    ) -> Result<Thread, NetlinkError> {
        let watch = Watch::open(&settings)?;
        let mut channel = Channel::open(
            netlink_sys::protocols::NETLINK_ROUTE,
            settings.buffers.command,
            settings.buffers.command_force,
        )?;
        let links = super::events::dump_links(&mut channel)?;
        let announcer = Announcer::open();
        if let Err(e) = &announcer {
            let text = format!("no packet socket, so nothing can be announced: {e}");
            let _ = reports.send(FromKernel::Trouble(Trouble { instance: None, text: text.into() }));
        }
        let _ = reports.send(FromKernel::Link(LinkFact::Dump(links.all())));
        Ok(Thread {
            channel,
            watch,
            links,
            claims: Claims::default(),
            spec: Arc::default(),
            names: Names::new(),
            sysctls: Sysctls::recorded(settings.sysctl_record.clone()),
            virtual_links: BTreeMap::new(),
            unwanted: BTreeSet::new(),
            tell_of: BTreeMap::new(),
            firewall: crate::kernel::firewall::Firewall::default(),
            firewall_refused: None,
            settings,
            owned: BTreeMap::new(),
            configured: false,
            announcer: announcer.ok(),
            repeats: Repeats::default(),
            inbox,
            reports,
            held: None,
            batch: FIRST_BATCH,
            retries: Retries::default(),
            doubtful: false,
            told: BTreeSet::new(),
            screen_due: false,
            leaving: BTreeSet::new(),
            linkbeat: Linkbeat::default(),
            overruns: Overruns::default(),
            sweep: Sweep::default(),
            rescreen: None,
            rescreened: None,
            rescreen_told: None,
        })
    }

    pub(super) async fn run(mut self) {
        loop {
            loop {
                match self.inbox.try_recv() {
                    Ok(ToKernel::Stop { release }) => return self.stop(release),
                    Ok(order) => self.carry_out(order),
                    Err(mpsc::error::TryRecvError::Empty) => break,
                    Err(mpsc::error::TryRecvError::Disconnected) => return,
                }
            }
            self.take_on();
            self.hear();
            if !self.claims.idle() && self.firewall.is_disturbed() {
                // Not only when everything that waits has been done: that may take seconds.
                self.firewall_disturbed();
            }
            self.due();
            if !self.claims.idle() {
                self.step();
                continue;
            }
            if self.screen_due {
                self.open_screen();
            }
            if !self.repeats.is_empty() {
                self.repeat();
                continue;
            }
            let wake = self.retries.next();
            let others = [self.linkbeat.due(), self.sweep.due(), self.rescreen];
            let wake = wake.into_iter().chain(others.into_iter().flatten()).min();
            let wake = wake.map_or_else(|| tokio::time::Instant::now() + Duration::from_secs(3600), Into::into);
            tokio::select! {
                order = self.inbox.recv() => match order {
                    Some(ToKernel::Stop { release }) => return self.stop(release),
                    Some(order) => self.carry_out(order),
                    None => return,
                },
                heard = self.watch.readable() => match heard {
                    Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => self.overrun(),
                    Err(_) => return,
                    Ok(()) => {}
                },
                () = self.firewall.disturbed() => self.firewall_disturbed(),
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    /// Tells the engine, at once or behind the [`FromKernel::Configured`] that says whose numbers these are.
    pub(super) fn report(&mut self, report: FromKernel) {
        match &mut self.held {
            Some(held) if is_numbered(&report) => held.push(report),
            _ => drop(self.reports.send(report)),
        }
    }

    /// Instances have new numbers: what is said of them waits for [`Thread::say_held`].
    pub(super) fn hold_back(&mut self) {
        self.held.get_or_insert_default();
    }

    pub(super) fn say_held(&mut self) {
        for report in self.held.take().unwrap_or_default() {
            self.report(report);
        }
    }

    pub(super) fn trouble(&mut self, instance: Option<InstanceId>, text: String) {
        self.report(FromKernel::Trouble(Trouble { instance, text: text.into() }));
    }

    fn carry_out(&mut self, order: ToKernel) {
        if !matches!(order, ToKernel::Own(..)) {
            self.take_on();
        }
        match order {
            ToKernel::Configure { spec, carried } => self.configure(spec, &carried),
            ToKernel::Tidy => self.tidy(),
            ToKernel::Open { sockets, settings } => self.open_sockets(sockets, settings),
            ToKernel::Close(sockets) => drop(sockets),
            ToKernel::Own(instance, claim) => {
                if let Some(old) = self.owned.insert(instance, claim) {
                    self.leave(instance, &old);
                }
                self.retries.over(Some(instance));
                self.told.insert(instance);
            }
            ToKernel::Disown(instance) => {
                if let Some(old) = self.owned.remove(&instance) {
                    self.leave(instance, &old);
                }
                self.retries.over(Some(instance));
                self.claims.clear(Some(instance));
            }
            ToKernel::Announce(announce) => self.announce(&announce),
            ToKernel::AnnounceSource { ifindex, address } => {
                if let (Some(announcer), Some(from)) = (&self.announcer, self.sender(ifindex, address.is_ipv6())) {
                    // Nobody repeats it, and nothing depends on it.
                    let _ = announcer.announce(&from, address);
                }
            }
            ToKernel::Stop { .. } => {}
        }
    }

    /// What was dropped must not be answered for a moment: the firewall opens when the addresses are gone.
    fn leave(&mut self, instance: InstanceId, old: &Claim) {
        let denied = self.denied(instance, old);
        self.leaving.extend(denied);
        self.screen_due = true;
    }

    /// What was on its way out is gone: it need not be dropped any more.
    pub(super) fn open_screen(&mut self) {
        self.screen_due = false;
        self.leaving.clear();
        self.screen();
    }

    /// Looks at everybody who has been told what to own: the firewall is asked once for all that came together, and before
    /// anybody hears that its claim is complete.
    pub(super) fn take_on(&mut self) {
        if self.told.is_empty() {
            return;
        }
        self.screen();
        for instance in std::mem::take(&mut self.told) {
            self.refresh(Some(instance));
        }
    }

    fn open_sockets(&mut self, sockets: Vec<Opening>, settings: SocketSettings) {
        for opening in sockets {
            let outcome = socket::open(&opening, &settings).map(Arc::new).map_err(|e| e.to_string().into());
            self.report(FromKernel::Opened { opening, outcome });
        }
    }

    /// Recomputes what an owner wants, with the interfaces as they are.
    pub(super) fn refresh(&mut self, owner: Owner) {
        let resolved = match owner {
            None => resolve::statics(&self.spec.statics, &self.links),
            Some(id) => {
                let (Some(claim), Some(instance)) = (self.owned.get(&id), self.spec.instances.get(id.index())) else {
                    self.claims.clear(owner);
                    return;
                };
                resolve::claim(id, instance, claim, &self.names, &self.links)
            }
        };
        let Resolved { wants, problems } = resolved;
        let reason = problems.first().cloned();
        let news = self.claims.set(owner, wants, problems);
        self.tell(news, false);
        if let Some(reason) = reason {
            self.fail(owner, reason);
        }
    }

    pub(super) fn refresh_all(&mut self) {
        for owner in self.claims.owners() {
            self.refresh(owner);
        }
    }

    /// These addresses of `owner`, by their positions in its claim, are there now. Where they are few the LAN hears of them first:
    /// the engine would answer with just that, and whoever sends to the address does not wait for two threads.
    pub(super) fn arrived(&mut self, owner: Owner, positions: Vec<u32>) {
        let are_few = positions.len() + self.claims.waiting() <= ANNOUNCED_AT_ONCE;
        let at_once = owner.filter(|instance| are_few && self.spec.announces_at_once(*instance));
        let news = self.claims.report(owner, Some(positions));
        for item in &news {
            if let (Progress::Ready(_, addresses), Some(instance)) = (item, at_once) {
                self.announce(&Announce { instance, addresses: addresses.clone(), begins: true });
            }
        }
        self.tell(news, at_once.is_some());
    }

    /// `announced`: the LAN knows of the addresses in it.
    pub(super) fn tell(&mut self, progress: Vec<Progress>, announced: bool) {
        for item in progress {
            match item {
                Progress::Ready(Some(instance), addresses) => {
                    self.report(FromKernel::Applied { instance, outcome: Outcome::Ready { addresses, announced } });
                }
                Progress::Complete(owner) => {
                    self.retries.over(owner);
                    if let Some(instance) = owner {
                        self.report(FromKernel::Applied { instance, outcome: Outcome::Complete });
                    }
                }
                Progress::Ready(None, _) => {}
            }
        }
    }

    /// Tells a failure, once for each new reason, and sets a time to try again.
    pub(super) fn fail(&mut self, owner: Owner, reason: String) {
        self.retries.failed(owner, Instant::now());
        if self.claims.failed(owner, reason.clone()) {
            match owner {
                Some(instance) => {
                    self.report(FromKernel::Applied { instance, outcome: Outcome::Failed { reason: reason.into() } });
                }
                None => self.trouble(None, format!("static: {reason}")),
            }
        }
    }

    fn due(&mut self) {
        let now = Instant::now();
        for owner in self.retries.due(now) {
            if self.claims.is_whole(owner) {
                self.retries.over(owner);
            } else {
                self.refresh(owner);
                self.claims.requeue(owner);
                self.retries.tried(owner, now);
            }
        }
        if self.linkbeat.due().is_some_and(|due| due <= now) {
            self.poll_carriers();
        }
        self.sweep_due(now);
        if self.rescreen.is_some_and(|due| due <= now) {
            self.rescreen = None;
            self.screen_again(now);
        }
        if self.doubtful {
            self.doubtful = false;
            self.verify();
        }
    }

    /// Another program has removed something of our firewall tables: made again at once, but no more than once a second.
    fn firewall_disturbed(&mut self) {
        let now = Instant::now();
        let free_at = self.rescreened.map_or(now, |last| last + TRUCE);
        self.rescreen.get_or_insert(free_at.max(now));
    }

    fn screen_again(&mut self, now: Instant) {
        self.rescreened = Some(now);
        self.firewall.forget();
        self.screen();
        if self.rescreen_told.is_none_or(|told| now.duration_since(told) > QUIET) {
            self.rescreen_told = Some(now);
            self.trouble(None, "nftables: another program removed our rules; made again".to_owned());
        }
    }

    fn hear(&mut self) {
        for _ in 0..BUFFERS_A_ROUND {
            match self.watch.hear() {
                Heard::Messages(messages) => {
                    for message in messages {
                        self.event(message);
                    }
                }
                Heard::Lost => self.overrun(),
                Heard::Nothing => return,
            }
        }
    }

    /// An item went without our doing.
    pub(super) fn lost(&mut self, key: &Key) {
        if let Some(owner) = self.claims.lost(key, Instant::now()) {
            self.retries.not_before(owner, Instant::now(), TRUCE);
            self.fail(owner, "another program keeps removing what is claimed".to_owned());
        }
    }
}

/// Does it name an instance by its number?
fn is_numbered(report: &FromKernel) -> bool {
    match report {
        FromKernel::Applied { .. } => true,
        FromKernel::Link(fact) => matches!(fact, LinkFact::Healed { .. } | LinkFact::Swept { .. }),
        FromKernel::Trouble(trouble) => trouble.instance.is_some(),
        FromKernel::Opened { .. } | FromKernel::Configured { .. } | FromKernel::Stopped => false,
    }
}
