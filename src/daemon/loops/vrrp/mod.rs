//! The engine thread: the one loop that carries facts into the [`Engine`] and its wishes out.
//!
//! It waits for a datagram, a point in time, the kernel thread or the inbox, tells the engine, and carries out what the engine
//! answers before it waits again: datagrams are sent here and now, claims and announcements go to the kernel thread,
//! scripts to the programs thread, events to the services thread. It never opens a file or a socket, writes a log line,
//! resolves a name or writes netlink: whoever is late here makes every virtual router late.
//!
//! Identifiers change with a reload. Orders and reports cross between threads, so the switch is made in this order: the
//! kernel thread is told the new Spec ([`ToKernel::Configure`]); from then on what the old engine wishes is translated;
//! when the kernel thread has answered, the engine goes over, and [`FromEngine::Spec`] tells the services thread that the
//! identifiers behind it are new.

mod carry;
mod sockets;

use super::bfd;
use crate::daemon::loops::checker;
use crate::kernel::netlink::{FromKernel, ToKernel};
use crate::kernel::programs::{Client, Notice};
use crate::kernel::socket::{SocketSettings, Sockets, heard};
use crate::kernel::threads;
use crate::kernel::wait::Bell;
use crate::kernel::{clock, privilege};
use crate::observe::metrics::{LATENESS_BOUNDS, Lateness};
use crate::spec::{InstanceId, ScriptId, Spec};
use crate::time::{Interval, Time};
use crate::vrrp::Engine;
use crate::vrrp::handover::{self, Handover};
use crate::vrrp::io::{Attempt, Beginning, Command, Event, Input, LinkFact, Readings};
use crate::vrrp::snapshot::Snapshot;
use carry::{Driver, tell_troubles};
use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::sync::{mpsc, oneshot};

/// How often the engine is told where the wall clock stands, at most: only when it is awake anyway.
const WALL_EVERY: Interval = Interval::from_millis(100);
/// A port that could not be opened is tried again after this.
const PORT_RETRY: Interval = Interval::from_secs(1);
/// An instance that has waited so long for a socket is in FAULT: another program keeps the kernel from opening it.
const PORT_PATIENCE: Interval = Interval::from_secs(3);
/// An advert that waits for its socket goes out if that is there by then; a later one would tell what is not so any more.
const PARKED: Interval = Interval::from_millis(500);
/// Datagrams taken in one go before everything else gets its turn: several bursts of a thousand instances.
const DATAGRAMS_A_ROUND: usize = 4_096;
/// Reports and news taken in one go.
const NEWS_A_ROUND: usize = 256;
/// Woken so soon after a deadline, the loop has missed nothing that would have been heard before it.
const PUNCTUAL: Interval = Interval::from_millis(1);

/// What the engine thread is asked.
#[derive(Debug)]
pub enum ToEngine {
    ClearCounters,
    /// An operator's wish about one instance, or all.
    Steer(Steer, Option<Box<str>>),
    /// What became of the run of a script.
    Program(Attempt, Notice),
    /// News of trackers come by name: an identifier could have changed its meaning on the way.
    FileSays(Box<str>, i32),
    ProcessesRun(Box<str>, u32),
    /// A BFD session is up, or counts as up; straight from the bfd thread.
    SessionSays(Box<str>, bool),
    /// Go over to another Spec, of whose trackers this is known. Answered by [`FromEngine::Spec`].
    Reload(Arc<Spec>, Readings),
    Snapshot(oneshot::Sender<Box<Snapshot>>),
    /// Write the will and end, without a word to anybody on the wire and without giving anything up.
    HandOver(oneshot::Sender<Box<Handover>>),
    /// Answered when the loop comes round: the watchdog's question.
    Ping(oneshot::Sender<()>),
    /// Give everything up, in order; answered by [`FromEngine::Stopped`]. `release` false leaves addresses in place.
    Stop {
        release: bool,
    },
}

/// What an operator can ask of an instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Steer {
    Drain,
    Undrain,
    Failover,
    Announce,
}

/// What the engine thread tells the services thread, in order.
#[derive(Debug)]
pub enum FromEngine {
    /// Identifiers behind this one belong to `spec`. The first one says that the engine runs.
    Spec {
        spec: Arc<Spec>,
        snapshot: Box<Snapshot>,
    },
    /// A script could not be started: the kernel's error number.
    NotRun(ScriptId, i32),
    /// A script has ended after so long.
    Ran(ScriptId, Interval),
    Event(Event, Time),
    Trouble(Option<InstanceId>, Box<str>),
    /// A line for `-a`.
    Address(String),
    /// Nothing more comes from the engine; the kernel thread has given up what was to be given up.
    Stopped,
    /// The kernel thread ended by itself: nothing can be claimed any more.
    KernelLost,
}

/// How punctual the loop is; read by metrics.
#[derive(Debug, Default)]
pub struct Punctuality {
    /// Microseconds between a deadline and the moment it was acted on: greatest, and sum.
    pub latest_us: AtomicU64,
    sum_us: AtomicU64,
    /// Deadlines by lateness, as in [`Lateness::buckets`].
    buckets: [AtomicU64; LATENESS_BOUNDS.len() + 1],
}

impl Punctuality {
    pub(super) fn note(&self, late: Interval) {
        let late = late.as_micros();
        self.sum_us.fetch_add(late, Ordering::Relaxed);
        self.latest_us.fetch_max(late, Ordering::Relaxed);
        let bucket = LATENESS_BOUNDS.iter().position(|bound| late <= *bound).unwrap_or(LATENESS_BOUNDS.len());
        if let Some(count) = self.buckets.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What there is up to now.
    pub fn read(&self) -> Lateness {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Lateness {
            sum_us: load(&self.sum_us),
            max_us: load(&self.latest_us),
            buckets: self.buckets.each_ref().map(load),
        }
    }
}

/// Everything that the thread owns from the start.
pub struct Setup {
    pub spec: Arc<Spec>,
    pub readings: Readings,
    pub reports: mpsc::UnboundedReceiver<FromKernel>,
    pub inbox: mpsc::UnboundedReceiver<ToEngine>,
    pub doors: Doors,
    /// What another program of this process left behind.
    pub handover: Option<Box<Handover>>,
}

/// The doors of all who are told something by this thread. Nothing is waited for behind any of them.
pub struct Doors {
    pub orders: mpsc::UnboundedSender<ToKernel>,
    pub services: mpsc::UnboundedSender<FromEngine>,
    pub programs: Client,
    /// Told of interfaces and addresses: BFD sessions depend on them.
    pub bfd: bfd::Door,
    /// Told of every address that comes and goes.
    pub checker: checker::Door,
    /// Read for metrics.
    pub punctuality: Arc<Punctuality>,
    /// Whether `services` is told of every address, for `-a`.
    pub log_addresses: bool,
}

/// Starts the engine thread. It ends after [`ToEngine::Stop`] or [`ToEngine::HandOver`], or with a panic, which the caller sees
/// when it joins.
///
/// # Errors
/// The thread cannot be started.
pub fn start(setup: Setup) -> std::io::Result<std::thread::JoinHandle<()>> {
    threads::start("engine", move || {
        threads::named(setup.spec.daemon.engine_name.as_deref());
        let failures = privilege::engine_thread(&setup.spec.daemon);
        for (what, error) in failures {
            let _ =
                setup.doors.services.send(FromEngine::Trouble(None, format!("Unable to set {what}: {error}").into()));
        }
        if let Err(error) = run(setup) {
            tracing::error!(target: "vrrp", "The engine's loop cannot go on: {error}");
        }
    })
}

fn run(setup: Setup) -> std::io::Result<()> {
    let Setup { spec, readings, mut reports, inbox, doors, handover } = setup;
    let bell = Bell::new()?;
    let settings =
        SocketSettings { rx_buffer: spec.daemon.rx_buffer, disable_local_igmp: spec.daemon.disable_local_igmp };

    // Virtual links and statics first; what an earlier run left behind goes now.
    let (mut links, mut early, mut troubles) = (Vec::new(), Vec::new(), Vec::new());
    // An heir finds its own addresses there, which are no leftovers.
    let carried = if handover.is_some() { handover::everybody(&spec) } else { Vec::new() };
    let _ = doors.orders.send(ToKernel::Configure { spec, carried });
    let spec = loop {
        match reports.blocking_recv() {
            Some(FromKernel::Link(LinkFact::Dump(dump))) => {
                let fact = [LinkFact::Dump(dump)];
                doors.bfd.tell_local(&fact);
                doors.checker.tell_local(&fact);
                let [LinkFact::Dump(dump)] = fact else { continue };
                links = dump;
                early.clear();
            }
            Some(FromKernel::Link(fact)) => {
                doors.bfd.tell_local(std::slice::from_ref(&fact));
                doors.checker.tell_local(std::slice::from_ref(&fact));
                early.push(fact);
            }
            Some(FromKernel::Configured { spec, troubles: more, .. }) => {
                troubles.extend(more);
                break spec;
            }
            Some(FromKernel::Trouble(trouble)) => troubles.push(trouble),
            Some(FromKernel::Applied { .. } | FromKernel::Opened { .. }) => {}
            Some(FromKernel::Stopped) | None => {
                let _ = doors.services.send(FromEngine::KernelLost);
                return Ok(());
            }
        }
    };
    let now = clock::now();
    let beginning = Beginning { links, readings, wall: clock::wall(), opening: true };
    let engine = match handover {
        Some(handover) => Engine::inherit(spec, beginning, &handover, now),
        None => Engine::begin(spec, beginning, now),
    };
    let sockets = Sockets::new(settings, bell.clone())?;
    let mut driver = Driver::new(engine, sockets, doors, now);
    for fact in early {
        driver.engine.handle(Input::Link(fact), now);
    }
    driver.share_buffers();
    driver.tell_spec();
    // Before that nobody knows the names of the instances that they are of.
    tell_troubles(&driver.doors.services, troubles);
    driver.settle(now);

    live(driver, reports, inbox, &bell)
}

/// The loop itself.
fn live(
    mut driver: Driver,
    mut reports: mpsc::UnboundedReceiver<FromKernel>,
    mut inbox: mpsc::UnboundedReceiver<ToEngine>,
    bell: &Bell,
) -> std::io::Result<()> {
    let waker = bell.waker();
    let mut bell = Context::from_waker(&waker);
    let mut heard = heard();
    // The bell rings only for a loop that has found a channel empty.
    let mut may_sleep = false;
    // What was asked before it began comes before its sockets are open, and so before any instance becomes anything.
    if take_news(&mut driver, &mut inbox, &mut bell).is_break() {
        return Ok(());
    }
    loop {
        let due = driver.due();
        let now = driver.sockets.wait(if may_sleep { due } else { Time::ZERO })?;
        if due <= now {
            driver.doors.punctuality.note(now.since(due));
            driver.mind_lateness(now.since(due));
        }
        // What has been heard up to now comes before what is due now, whenever it was heard: after a stall the master's adverts
        // are in the socket, and a deadline that they would have moved must not pass. Who was woken in time and found the sockets
        // empty need not ask again.
        if driver.sockets.has_heard() || now.since(due) > PUNCTUAL {
            driver.receive(&mut heard, Some(due).filter(|due| *due <= now), now);
        }
        driver.engine.handle(Input::Tick, now);
        driver.tell_wall_if_due(now);
        driver.settle(now);

        // The bell rings for both channels: without it there is nothing in them, and most turns are an advert's.
        if may_sleep && !driver.sockets.has_rung() {
            continue;
        }
        let Continue(no_reports) = take_reports(&mut driver, &mut reports, &mut bell) else { return Ok(()) };
        driver.tell_local();
        let Continue(no_news) = take_news(&mut driver, &mut inbox, &mut bell) else { return Ok(()) };
        may_sleep = no_reports && no_news;
    }
}

/// Goes on with whether the channel is empty; breaks when the thread is to end.
type Turn = ControlFlow<(), bool>;

fn take_reports(
    driver: &mut Driver,
    reports: &mut mpsc::UnboundedReceiver<FromKernel>,
    bell: &mut Context<'_>,
) -> Turn {
    for taken in 0..NEWS_A_ROUND {
        match reports.poll_recv(bell) {
            Poll::Pending => {
                if taken > 0 {
                    driver.settle(clock::now());
                }
                return Continue(true);
            }
            Poll::Ready(Some(FromKernel::Stopped)) => {
                driver.finish();
                return Break(());
            }
            Poll::Ready(Some(report)) => driver.report(report),
            Poll::Ready(None) if driver.stopping.is_some() => {
                driver.finish();
                return Break(());
            }
            Poll::Ready(None) => {
                let _ = driver.doors.services.send(FromEngine::KernelLost);
                // Whoever hears us must know that the addresses are not served any more.
                driver.engine.handle(Input::Command(Command::Stop { release: true }), clock::now());
                driver.settle(clock::now());
                return Break(());
            }
        }
    }
    driver.settle(clock::now());
    Continue(false)
}

fn take_news(driver: &mut Driver, inbox: &mut mpsc::UnboundedReceiver<ToEngine>, bell: &mut Context<'_>) -> Turn {
    for _ in 0..NEWS_A_ROUND {
        match inbox.poll_recv(bell) {
            Poll::Pending => return Continue(true),
            Poll::Ready(None) => return Break(()),
            Poll::Ready(Some(ToEngine::HandOver(answer))) => {
                // The heir speaks some milliseconds later; nobody is to lose patience meanwhile.
                driver.engine.handle(Input::Command(Command::Reassure), clock::now());
                driver.settle(clock::now());
                let _ = answer.send(Box::new(driver.engine.hand_over()));
                return Break(());
            }
            Poll::Ready(Some(news)) => {
                driver.news(news);
                driver.settle(clock::now());
            }
        }
    }
    Continue(false)
}
