//! The bfd thread: the loop that carries facts into the [`Engine`] of BFD sessions and its wishes out.
//!
//! It waits for datagrams, a point in time and the bell, and for nothing else. Datagrams that are there are told before
//! anything expires, each with the kernel's time of its arrival: a thread that was stopped for a while does not blame its
//! peers, and says how late it was ([`Engine::woken_late`]). A flood is read in bounded portions; time goes on only as far
//! as has been read.
//!
//! Who follows sessions subscribes ([`ToBfd::Subscribe`]) and is told every level at once and then every change, by name,
//! out of this thread: VRRP reacts in the turn in which a session falls. A reload tells them all again: a level, not an
//! edge.

mod driver;
mod local;

use local::local;

use crate::bfd::Engine;
use crate::bfd::handover::Handover;
use crate::bfd::io::{Beginning, Event, Input, Level, Link, Local};
use crate::bfd::snapshot::Snapshot;
use crate::daemon::loops::vrrp::Punctuality;
use crate::kernel::bfd::{Ground, Kept, StandIn, batch};
use crate::kernel::threads;
use crate::kernel::wait::Bell;
use crate::kernel::{clock, privilege};
use crate::spec::{Spec, bfd::Session};
use crate::time::{Interval, Time};
use crate::vrrp::io::LinkFact;
use driver::Driver;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{mpsc, oneshot};

/// Datagrams of one turn.
const DATAGRAMS_A_TURN: usize = 512;
/// News of one turn.
const NEWS_A_TURN: usize = 64;
/// Woken so late, the loop says so with what follows.
const LATE: Interval = Interval::from_millis(1);

/// Told the level of a session: every one when it subscribes and after a reload, then every change. Called from the bfd
/// thread, so it must not wait for anything.
pub type Subscriber = Box<dyn FnMut(&Session, Level) + Send>;

/// What the bfd thread is asked.
pub enum ToBfd {
    Subscribe(Subscriber),
    /// Interfaces and addresses, as the kernel thread saw them.
    Local(Vec<Local>),
    /// Go over to the sessions of another Spec; answered with the levels of all.
    Reload(Arc<Spec>, oneshot::Sender<Vec<(Box<str>, bool)>>),
    /// Tell every subscriber the level of each session again.
    Repeat,
    /// Shut a session down, or allow it again; answered with whether there is one of that name.
    Shutdown {
        name: Box<str>,
        down: bool,
        answer: oneshot::Sender<bool>,
    },
    Snapshot(oneshot::Sender<Box<Snapshot>>),
    ClearCounters,
    /// Who has the port that cannot be listened at.
    Holder {
        multihop: bool,
        text: Box<str>,
    },
    /// Write down what the next program of this process needs, and end without a word to anybody.
    HandOver(oneshot::Sender<Box<Left>>),
    /// Answered when the loop comes round.
    Ping(oneshot::Sender<()>),
    /// Tell all peers not to rely on us any more, and end.
    Stop(oneshot::Sender<()>),
}

/// What the bfd thread tells the services thread.
#[derive(Debug)]
pub enum FromBfd {
    Event(Event, Time),
    Trouble(Box<str>),
}

/// What one program of this process leaves to the next.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Left {
    pub handover: Handover,
    pub sockets: Kept,
    /// Who speaks for the sessions until the next program does.
    pub stand_in: Option<StandIn>,
}

/// The way to the bfd thread; cheap to clone.
#[derive(Clone)]
pub struct Door {
    sender: Sender<ToBfd>,
    bell: Bell,
}

impl Door {
    /// A way to nobody: what is sent is lost.
    #[cfg(test)]
    pub(in crate::daemon) fn nowhere() -> std::io::Result<Door> {
        Ok(Door { sender: channel().0, bell: Bell::new()? })
    }

    /// Interfaces and addresses, in the words of the kernel thread.
    pub fn tell_local(&self, facts: &[LinkFact]) {
        let facts: Vec<Local> = facts.iter().filter_map(local).collect();
        if !facts.is_empty() {
            self.send(ToBfd::Local(facts));
        }
    }

    /// Never waits. News to a thread that has ended are lost.
    pub fn send(&self, news: ToBfd) {
        if self.sender.send(news).is_ok() {
            self.bell.ring();
        }
    }
}

/// Everything that the thread owns from the start.
pub struct Setup {
    pub spec: Arc<Spec>,
    pub services: mpsc::UnboundedSender<FromBfd>,
    pub punctuality: Arc<Punctuality>,
    pub left: Option<Box<Left>>,
    /// Jitter and discriminators follow from it.
    pub seed: u64,
}

/// Starts the thread. It ends after [`ToBfd::Stop`] or [`ToBfd::HandOver`].
///
/// # Errors
/// The thread cannot be started, or no descriptor is left.
pub fn start(setup: Setup) -> std::io::Result<(Door, std::thread::JoinHandle<()>)> {
    let (sender, inbox) = channel();
    let bell = Bell::new()?;
    let door = Door { sender, bell };
    let own = door.clone();
    let thread = threads::start("bfd", move || live(setup, &inbox, &own))?;
    Ok((door, thread))
}

fn live(mut setup: Setup, inbox: &Receiver<ToBfd>, door: &Door) {
    let thread = setup.spec.daemon.bfd.clone();
    threads::named(thread.name.as_deref());
    for (what, error) in privilege::thread(&thread) {
        let _ =
            setup.services.send(FromBfd::Trouble(format!("Unable to set {what} of the bfd thread: {error}").into()));
    }
    let mut subscribers = Vec::new();
    for life in 0.. {
        match catch_unwind(AssertUnwindSafe(|| run(&mut setup, &mut subscribers, inbox, door))) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => {
                let _ = setup.services.send(FromBfd::Trouble(format!("The bfd loop cannot go on: {error}").into()));
                return;
            }
            Err(_) if life < threads::LIVES => {
                let text = "The bfd thread panicked: all sessions begin afresh";
                let _ = setup.services.send(FromBfd::Trouble(text.into()));
                setup.seed = setup.seed.wrapping_add(1);
            }
            Err(_) => {
                let text = "The bfd thread panicked too often: no session runs any more";
                let _ = setup.services.send(FromBfd::Trouble(text.into()));
                return;
            }
        }
    }
}

fn run(
    setup: &mut Setup,
    subscribers: &mut Vec<Subscriber>,
    inbox: &Receiver<ToBfd>,
    door: &Door,
) -> std::io::Result<()> {
    let left = setup.left.take();
    let mut ground = Ground::new(door.bell.clone(), setup.seed)?;
    let beginning = Beginning { seed: setup.seed, links: None::<Vec<Link>>, now: clock::now() };
    let specs = &setup.spec.sessions;
    let (engine, stand_in) = match left {
        Some(left) => {
            // SAFETY: the program before us left these descriptors open for this thread, and nobody else takes them.
            unsafe { ground.inherit(&left.sockets) };
            (Engine::inherit(specs, beginning, &left.handover), left.stand_in)
        }
        None => (Engine::begin(specs, beginning), None),
    };
    let mut driver = Driver::new(engine, ground, setup, subscribers, door);
    let mut batch = batch();
    // What waited in inherited sockets comes before anything that is due: the engine's time is that of the will.
    driver.settle(Time::ZERO);
    driver.ground.forget_inherited();
    let mut woken = crate::kernel::bfd::Woken { datagrams: true, bell: true };
    let mut due = Time::NEVER;
    if let Some(stand_in) = stand_in {
        stand_in.end();
    }
    loop {
        let now = clock::now();
        if due <= now {
            let late = now.since(due);
            driver.punctuality.note(late);
            if late > LATE {
                driver.engine.woken_late(now, late);
            }
        }
        let all = !woken.datagrams || driver.ground.receive(&mut batch, DATAGRAMS_A_TURN);
        let mut read_to = now;
        if woken.datagrams {
            for received in batch.in_order() {
                read_to = received.at;
                let input = Input::Packet { meta: received.meta, bytes: received.bytes };
                driver.engine.handle(input, received.at);
                driver.settle(received.at);
            }
        }
        let until = if all { now } else { read_to };
        driver.engine.handle(Input::Tick, until);
        driver.settle(until);
        if woken.bell {
            let mut taken = 0;
            while let Ok(news) = inbox.try_recv() {
                if driver.news(news) {
                    return Ok(());
                }
                taken += 1;
                if taken == NEWS_A_TURN {
                    // The rest comes in the next turn.
                    door.bell.ring();
                    break;
                }
            }
        }
        driver.retry(clock::now());
        due = driver.due();
        woken = driver.ground.wait(due)?;
    }
}
