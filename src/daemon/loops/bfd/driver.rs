//! What the bfd thread does with each fact and each wish: the loop around it is [`super::start`]'s.

use super::{Door, FromBfd, Left, Setup, Subscriber, ToBfd};
use crate::bfd::Engine;
use crate::bfd::io::{Action, Command, Event, Input, Level, Outlet, SessionId};
use crate::daemon::loops::vrrp::Punctuality;
use crate::kernel::aside::aside;
use crate::kernel::bfd::{Ground, StandIn, Word, holder};
use crate::kernel::clock;
use crate::spec::Spec;
use crate::time::{Interval, Time};
use crate::wire::bfd::{MULTIHOP_PORT, PORT};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::mpsc;

/// What could not be opened is tried again after this, then after twice as long, …
const FIRST_RETRY: Interval = Interval::from_secs(1);
const LAST_RETRY: Interval = Interval::from_secs(60);

/// Something that is tried again and again.
#[derive(Clone, Copy, Debug)]
struct Retry {
    at: Time,
    after: Interval,
}

impl Retry {
    fn again(before: Option<Retry>, now: Time) -> Retry {
        let after = before.map_or(FIRST_RETRY, |retry| retry.after.times(2).min(LAST_RETRY));
        Retry { at: now + after, after }
    }
}

/// The engine and its surroundings.
pub(super) struct Driver<'a> {
    pub(super) engine: Engine,
    pub(super) ground: Ground,
    pub(super) punctuality: Arc<Punctuality>,
    services: mpsc::UnboundedSender<FromBfd>,
    spec: &'a mut Arc<Spec>,
    subscribers: &'a mut Vec<Subscriber>,
    door: &'a Door,
    /// Ports that cannot be listened at, by kind.
    deaf: BTreeMap<bool, Retry>,
    unopened: BTreeMap<SessionId, (Outlet, Retry)>,
    /// Sessions whose last packet could not be sent.
    mute: BTreeSet<SessionId>,
}

impl<'a> Driver<'a> {
    pub(super) fn new(
        engine: Engine,
        ground: Ground,
        setup: &'a mut Setup,
        subscribers: &'a mut Vec<Subscriber>,
        door: &'a Door,
    ) -> Driver<'a> {
        let mut driver = Driver {
            engine,
            ground,
            punctuality: setup.punctuality.clone(),
            services: setup.services.clone(),
            spec: &mut setup.spec,
            subscribers,
            door,
            deaf: BTreeMap::new(),
            unopened: BTreeMap::new(),
            mute: BTreeSet::new(),
        };
        driver.tell_levels();
        driver
    }

    /// When to come back at the latest.
    pub(super) fn due(&self) -> Time {
        let retries = self.deaf.values().chain(self.unopened.values().map(|(_, retry)| retry)).map(|retry| retry.at);
        retries.chain(self.engine.deadline()).min().unwrap_or(Time::NEVER)
    }

    /// Carries out everything that the engine wishes.
    pub(super) fn settle(&mut self, now: Time) {
        while let Some(action) = self.engine.poll() {
            match action {
                Action::Send(session, bytes) => {
                    let outcome = self.ground.send(session, &bytes);
                    let was_mute = self.mute.contains(&session);
                    match outcome {
                        Ok(()) if was_mute => {
                            self.mute.remove(&session);
                            self.engine.handle(Input::SendFailed { session, reason: None }, now);
                        }
                        Ok(()) => {}
                        Err(error) => {
                            self.mute.insert(session);
                            let reason = Some(error.to_string().into());
                            self.engine.handle(Input::SendFailed { session, reason }, now);
                        }
                    }
                }
                Action::Listen { single_hop, multihop } => {
                    for (kind, wanted) in [(false, single_hop), (true, multihop)] {
                        if wanted {
                            self.listen(kind, now);
                        } else {
                            self.deaf.remove(&kind);
                            self.ground.unlisten(kind);
                        }
                    }
                }
                Action::Open(session, outlet) | Action::Retune(session, outlet) => self.open(session, outlet, now),
                Action::Close(session) => {
                    self.ground.close(session);
                    self.unopened.remove(&session);
                    self.mute.remove(&session);
                }
                Action::Report(event) => self.event(event, now),
            }
        }
    }

    fn event(&mut self, event: Event, now: Time) {
        if let Event::LevelChanged { name, level } = &event {
            let session = self.spec.sessions.iter().find(|session| session.name == *name);
            if let Some(session) = session {
                for subscriber in self.subscribers.iter_mut() {
                    subscriber(session, *level);
                }
            }
        }
        let at = if now == Time::ZERO { clock::now() } else { now };
        let _ = self.services.send(FromBfd::Event(event, at));
    }

    fn tell_levels(&mut self) {
        for (session, level) in self.engine.levels() {
            for subscriber in self.subscribers.iter_mut() {
                subscriber(session, level);
            }
        }
    }

    fn listen(&mut self, multihop: bool, now: Time) {
        let outcome = match self.ground.listen(multihop) {
            Ok(()) => {
                self.deaf.remove(&multihop);
                Ok(())
            }
            Err(error) => {
                let retry = Retry::again(self.deaf.get(&multihop).copied(), clock::now());
                let first = self.deaf.insert(multihop, retry).is_none();
                let port = port_of(multihop);
                if error.kind() == std::io::ErrorKind::AddrInUse {
                    self.ask_for_holder(multihop);
                    // Its name comes later; what is known already is not unsaid meanwhile.
                    if !first {
                        return;
                    }
                }
                Err(format!("port {port} cannot be listened at: {error}").into())
            }
        };
        self.engine.handle(Input::Listening { multihop, outcome }, now);
    }

    /// All of /proc is read for it, which takes its time: not here.
    fn ask_for_holder(&self, multihop: bool) {
        let door = self.door.clone();
        let port = port_of(multihop);
        let look = move || {
            let text = match holder(port) {
                Some(holder) => format!("port {port} is in use by {holder}"),
                None => format!("port {port} is in use by another program"),
            };
            door.send(ToBfd::Holder { multihop, text: text.into() });
        };
        let _ = aside(format!("who holds UDP port {port}"), look);
    }

    fn open(&mut self, session: SessionId, outlet: Outlet, now: Time) {
        let outcome = match self.ground.open(session, &outlet) {
            Ok(port) => {
                self.unopened.remove(&session);
                Ok(port)
            }
            Err(error) => {
                let retry = Retry::again(self.unopened.get(&session).map(|(_, retry)| *retry), clock::now());
                self.unopened.insert(session, (outlet, retry));
                Err(error.to_string().into())
            }
        };
        self.engine.handle(Input::Opened { session, outcome }, now);
    }

    /// Tries again what could not be done.
    pub(super) fn retry(&mut self, now: Time) {
        let deaf: Vec<bool> = self.deaf.iter().filter(|(_, retry)| retry.at <= now).map(|(kind, _)| *kind).collect();
        for kind in deaf {
            self.listen(kind, now);
        }
        let due = |(_, (_, retry)): &(&SessionId, &(Outlet, Retry))| retry.at <= now;
        let unopened: Vec<_> =
            self.unopened.iter().filter(due).map(|(id, (outlet, _))| (*id, outlet.clone())).collect();
        for (session, outlet) in unopened {
            self.open(session, outlet, now);
        }
        self.settle(now);
    }

    /// True when the loop is to end.
    pub(super) fn news(&mut self, news: ToBfd) -> bool {
        let now = clock::now();
        match news {
            ToBfd::Subscribe(mut subscriber) => {
                for (session, level) in self.engine.levels() {
                    subscriber(session, level);
                }
                self.subscribers.push(subscriber);
            }
            ToBfd::Local(facts) => {
                for fact in facts {
                    self.engine.handle(Input::Local(fact), now);
                }
            }
            ToBfd::Reload(spec, answer) => {
                self.engine.reload(&spec.sessions, now);
                *self.spec = spec;
                self.settle(now);
                self.tell_levels();
                let name_and_level =
                    |(session, level): (&crate::spec::bfd::Session, Level)| (session.name.clone(), level.up);
                let _ = answer.send(self.engine.levels().map(name_and_level).collect());
            }
            ToBfd::Repeat => self.tell_levels(),
            ToBfd::Shutdown { name, down, answer } => {
                let found = self.engine.find(&name);
                if let Some(session) = found {
                    let command = if down { Command::Shutdown { session } } else { Command::NoShutdown { session } };
                    self.engine.handle(Input::Command(command), now);
                }
                let _ = answer.send(found.is_some());
            }
            ToBfd::Snapshot(answer) => {
                let mut snapshot = self.engine.snapshot(now);
                snapshot.listening = self.ground.listening();
                for view in &mut snapshot.sessions {
                    view.descriptor = self.ground.descriptor(view.id);
                }
                let _ = answer.send(Box::new(snapshot));
            }
            ToBfd::ClearCounters => self.engine.handle(Input::Command(Command::ClearCounters), now),
            ToBfd::Holder { multihop, text } => {
                if self.deaf.contains_key(&multihop) {
                    self.engine.handle(Input::Listening { multihop, outcome: Err(text) }, now);
                }
            }
            ToBfd::HandOver(answer) => {
                let word = |(session, bytes, interval, next)| {
                    Some(Word { relay: self.ground.relay(session)?, bytes, interval, next })
                };
                let words: Vec<Word> = self.engine.last_words().filter_map(word).collect();
                // At once: what other threads still have to do may take longer than a peer waits.
                let stand_in = (!words.is_empty()).then(|| StandIn::begin(words)).and_then(|begun| match begun {
                    Ok(stand_in) => Some(stand_in),
                    Err(error) => {
                        let text = format!("Nobody speaks for the sessions meanwhile: {error}");
                        let _ = self.services.send(FromBfd::Trouble(text.into()));
                        None
                    }
                });
                let handover = self.engine.hand_over();
                let left = Left { handover, sockets: self.ground.hand_over(), stand_in };
                let _ = answer.send(Box::new(left));
                return true;
            }
            ToBfd::Ping(answer) => {
                let _ = answer.send(());
            }
            ToBfd::Stop(answer) => {
                self.engine.handle(Input::Command(Command::Stop), now);
                self.settle(now);
                let _ = answer.send(());
                return true;
            }
        }
        self.settle(now);
        false
    }
}

const fn port_of(multihop: bool) -> u16 {
    if multihop { MULTIHOP_PORT } else { PORT }
}
