//! The kernel thread's loop: orders, one batch of steps, events, and again; it sleeps only when there is nothing of
//! each.
//!
//! Orders are looked at between batches, so an announcement of addresses that are there goes out while the rest of a
//! large claim is still on its way; batches shrink when the kernel is slow with them (IPv6 addresses on an interface
//! that has thousands).

use super::FromKernel;
use super::NetlinkError;
use super::Settings;
use super::ToKernel;
use super::Trouble;
use super::address;
use super::channel::{Channel, LARGEST_BATCH, Request};
use super::claims::{Claims, Owner, Progress, State, Step};
use super::events::Overruns;
use super::linkbeat::Linkbeat;
use super::links::Links;
use super::repeats::Repeats;
use super::resolve::{self, Names, Resolved};
use super::retries::Retries;
use super::route;
use super::sweep::Sweep;
use super::watch::{Heard, Watch};
use crate::kernel::announce::{Announcer, From};
use crate::kernel::firewall::Place;
use crate::kernel::reconcile::{Item, Key};
use crate::kernel::socket::{self, Opening, SocketSettings};
use crate::kernel::sysctl::{self, Sysctls};
use crate::spec::{Claim, InstanceId, Spec};
use crate::vrrp::io::{Announce, LinkFact, Outcome};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage as Message;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// A batch is to take about this long: the time for which an announcement may have to wait.
const BATCH_TIME: Duration = Duration::from_millis(4);
const SMALLEST_BATCH: usize = 8;
const FIRST_BATCH: usize = 64;
/// After a fight for an item it is left alone this long.
const TRUCE: Duration = Duration::from_secs(1);
/// What happens again and again is said this often.
const QUIET: Duration = Duration::from_secs(60);
/// Buffers of events read before orders get their turn again.
const BUFFERS_A_ROUND: usize = 64;
/// Repeated announcements sent before orders get their turn again.
const REPEATS_A_ROUND: usize = 256;
/// Addresses that have come or are still to be claimed: with more of them claiming goes before announcing.
const ANNOUNCED_AT_ONCE: usize = 64;
/// Of one round of announcements so many are said one by one; the queue of log lines has room for other things too.
const ANNOUNCED: usize = 64;

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
    announcer: Option<Announcer>,
    /// Addresses to be announced once more, when everything that is claimed is there and has been announced once.
    repeats: Repeats,
    inbox: mpsc::UnboundedReceiver<ToKernel>,
    reports: mpsc::UnboundedSender<FromKernel>,
    /// What has been said under the numbers of a Spec that the engine does not know yet; `None`: it knows the present one.
    held: Option<Vec<FromKernel>>,
    batch: usize,
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

    /// One batch of steps and what came of it.
    pub(super) fn step(&mut self) {
        let steps = self.claims.next(self.batch);
        if steps.is_empty() {
            return;
        }
        let requests = steps.iter().map(|(step, item)| request(step, item)).collect();
        let begun = Instant::now();
        let going = steps.iter().filter_map(|(step, item)| match (step, item) {
            (Step::Remove { .. }, Item::Address(message)) => Some(address::AddressKey::of(message)),
            _ => None,
        });
        let promoting = self.promote_secondaries(going.collect());
        let outcomes = self.channel.batch(requests);
        drop(promoting);
        let took = begun.elapsed();
        if took > BATCH_TIME {
            self.batch = (self.batch / 2).max(SMALLEST_BATCH);
        } else if took < BATCH_TIME / 2 {
            self.batch = (self.batch * 2).min(LARGEST_BATCH);
        }

        let mut ready: BTreeMap<Owner, Vec<u32>> = BTreeMap::new();
        // Of what is put back the engine has not lost sight: it is announced as [`LinkFact::Healed`].
        let mut back: BTreeMap<Owner, Vec<u32>> = BTreeMap::new();
        let mut healed: BTreeMap<Owner, Vec<u32>> = BTreeMap::new();
        let mut failures: BTreeMap<Owner, String> = BTreeMap::new();
        for ((step, item), outcome) in steps.into_iter().zip(outcomes) {
            match (step, outcome) {
                (Step::Remove { .. }, Ok(())) => {}
                (Step::Remove { item, .. }, Err(e)) => {
                    if !is_gone(&e) {
                        self.trouble(None, format!("{} cannot be removed: {e}", describe(&item)));
                    }
                }
                (Step::Add { key, heal }, Ok(())) => {
                    let state = first_state(&item);
                    for (owner, position) in self.claims.set_state(&key, state) {
                        let there = position.filter(|_| state == State::Present);
                        if !heal {
                            ready.entry(owner).or_default().extend(there);
                        } else {
                            back.entry(owner).or_default().extend(there);
                            healed.entry(owner).or_default().extend(position);
                            if position.is_none() {
                                self.trouble(
                                    owner,
                                    format!("{} was removed by another program; put back", describe(&item)),
                                );
                            }
                        }
                    }
                }
                (Step::Add { key, heal }, Err(e)) if is_there(&e) => {
                    if heal {
                        self.claims.not_a_heal(&key);
                    }
                    for (owner, position) in self.claims.set_state(&key, State::Present) {
                        ready.entry(owner).or_default().extend(position);
                    }
                }
                (Step::Add { key: key @ Key::Address(address), .. }, Err(e))
                    if is_gone(&e) && !self.is_known(address.index) =>
                {
                    // The news of its end is on the way, and says what is lacking.
                    self.claims.set_state(&key, State::Absent);
                }
                (Step::Add { key, .. }, Err(e)) => {
                    for (owner, _) in self.claims.set_state(&key, State::Absent) {
                        failures.entry(owner).or_insert_with(|| format!("{}: {e}", describe(&item)));
                    }
                }
            }
        }
        for (owner, positions) in ready {
            self.arrived(owner, positions);
        }
        for (owner, positions) in back {
            let news = self.claims.report(owner, Some(positions));
            self.tell(news, false);
        }
        for (owner, mut positions) in healed {
            positions.sort_unstable();
            if let (Some(instance), Some(first), Some(last)) = (owner, positions.first(), positions.last()) {
                let addresses = *first..last.saturating_add(1);
                self.report(FromKernel::Link(LinkFact::Healed { instance, addresses }));
            }
        }
        for (owner, reason) in failures {
            self.fail(owner, reason);
        }
    }

    /// Carries out everything that is queued.
    pub(super) fn flush(&mut self) {
        while !self.claims.idle() {
            self.step();
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

    /// What announcements that leave by an interface say of it; `None` if they cannot.
    fn sender(&self, ifindex: u32, six: bool) -> Option<From> {
        let link = &self.links.get(ifindex)?.link;
        let mac = link.mac.filter(|_| link.arp && link.up)?;
        let forwards = || sysctl::read(&sysctl::path("ipv6", link.name.as_str(), "forwarding"));
        let router = six && forwards().is_some_and(|value| value != "0");
        Some(From { ifindex, mac, router })
    }

    /// What nobody has been told yet is told now; what has been announced before waits for that of everybody.
    fn announce(&mut self, announce: &Announce) {
        let (fresh, known) = self.claims.announcing(Some(announce.instance), &announce.addresses);
        self.speak(fresh, Some(announce.instance));
        if announce.begins && tracing::enabled!(target: "vrrp", tracing::Level::DEBUG) {
            known.iter().take(ANNOUNCED).for_each(|key| self.tell_block(announce.instance, key.index, key.address));
        }
        self.repeats.extend(known);
    }

    /// A round of [`Thread::repeats`]. What is not there any more is passed over.
    fn repeat(&mut self) {
        let round = self.repeats.next(REPEATS_A_ROUND);
        let is_there = |key: &address::AddressKey| self.claims.state(&Key::Address(*key)) == Some(State::Present);
        let there = round.into_iter().filter(is_there).collect();
        self.speak(there, None);
    }

    /// `first`: the instance whose addresses these are, when nobody has been told of them yet.
    fn speak(&mut self, addresses: Vec<address::AddressKey>, first: Option<InstanceId>) {
        if self.announcer.is_none() {
            // It may have been descriptors that were lacking.
            self.announcer = Announcer::open().ok();
        }
        let Some(announcer) = &self.announcer else { return };
        let mut senders: BTreeMap<u32, Option<From>> = BTreeMap::new();
        let (told_of, mut told) = (tracing::enabled!(target: "vrrp", tracing::Level::DEBUG), 0_usize);
        for key in addresses {
            let sender = senders.entry(key.index).or_insert_with(|| self.sender(key.index, key.address.is_ipv6()));
            let Some(from) = sender else { continue };
            if told_of {
                told += 1;
                if told <= ANNOUNCED {
                    self.tell_announcement(key.index, key.address, first);
                }
            }
            for _ in 0..3 {
                match announcer.announce(from, key.address) {
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock || e.raw_os_error() == Some(libc::ENOBUFS) => {
                        // The interface's queue is full of announcements; it drains within milliseconds.
                        std::thread::sleep(Duration::from_micros(500));
                    }
                    _ => break,
                }
            }
        }
        if let Some(more) = told.checked_sub(ANNOUNCED).filter(|more| *more > 0) {
            tracing::debug!(target: "vrrp", "Sending gratuitous ARPs and Neighbour Adverts for {more} more addresses");
        }
    }

    /// As keepalived says it with `-D`, once for each block of announcements and address: it is announced, or waits to be.
    fn tell_block(&self, instance: InstanceId, ifindex: u32, address: IpAddr) {
        let Some(one) = self.spec.instances.get(instance.index()) else { return };
        let name = self.links.get(ifindex).map_or("?", |known| known.link.name.as_str());
        let kind = if address.is_ipv4() { "gratuitous ARPs" } else { "Unsolicited Neighbour Adverts" };
        tracing::debug!(target: "vrrp", "({}) Sending/queueing {kind} on {name} for {address}", one.name);
    }

    /// As keepalived says it with `-D`, and as guides tell people to look for it: the first time with the instance.
    fn tell_announcement(&self, ifindex: u32, address: IpAddr, first: Option<InstanceId>) {
        let name = self.links.get(ifindex).map_or("?", |known| known.link.name.as_str());
        if let Some(instance) = first {
            self.tell_block(instance, ifindex, address);
        }
        match address {
            IpAddr::V4(address) => {
                tracing::debug!(target: "vrrp", "Sending gratuitous ARP on {name} for {address}");
            }
            IpAddr::V6(address) => {
                tracing::debug!(target: "vrrp", "Sending unsolicited Neighbour Advert on {name} for {address}");
            }
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

fn request(step: &Step, item: &Item) -> Request<Message> {
    match (step, item) {
        (Step::Add { .. }, Item::Address(message)) => {
            Request { message: Message::NewAddress(message.clone()), flags: NLM_F_CREATE | NLM_F_EXCL }
        }
        (Step::Add { .. }, Item::Route(message, insert)) => {
            Request { message: Message::NewRoute(message.clone()), flags: route::insert_flags(*insert) }
        }
        (Step::Add { .. }, Item::Rule(message)) => {
            Request { message: Message::NewRule(message.clone()), flags: NLM_F_CREATE | NLM_F_EXCL }
        }
        (Step::Remove { .. }, Item::Address(message)) => {
            let key = address::AddressKey::of(message);
            Request { message: Message::DelAddress(address::removal(&key)), flags: 0 }
        }
        (Step::Remove { .. }, Item::Route(message, _)) => {
            Request { message: Message::DelRoute(route::removal(message)), flags: 0 }
        }
        (Step::Remove { .. }, Item::Rule(message)) => Request { message: Message::DelRule(message.clone()), flags: 0 },
    }
}

/// Where an item stands when the kernel has taken it: an IPv6 address with duplicate address detection is not usable yet.
fn first_state(item: &Item) -> State {
    use netlink_packet_route::address::AddressHeaderFlags;
    match item {
        Item::Address(message)
            if message.header.family == netlink_packet_route::AddressFamily::Inet6
                && !message.header.flags.contains(AddressHeaderFlags::Nodad) =>
        {
            State::Tentative
        }
        _ => State::Present,
    }
}

pub(super) fn is_gone(error: &NetlinkError) -> bool {
    const GONE: [i32; 5] = [libc::ENOENT, libc::EADDRNOTAVAIL, libc::ESRCH, libc::ENODEV, libc::ENXIO];
    matches!(error, NetlinkError::Refused { errno, .. } if GONE.contains(errno))
}

fn is_there(error: &NetlinkError) -> bool {
    matches!(error, NetlinkError::Refused { errno: libc::EEXIST, .. })
}

/// In words, for messages.
pub(super) fn describe(item: &Item) -> String {
    describe_key(&item.key())
}

pub(super) fn describe_key(key: &Key) -> String {
    match key {
        Key::Address(key) => format!("address {}/{}", key.address, key.prefix),
        Key::Route(key) if key.length == 0 => format!("default route in table {}", key.table),
        Key::Route(key) => format!("route {}/{} in table {}", key.destination, key.length, key.table),
        Key::Rule(key) => format!("rule with preference {}", key.priority),
    }
}
