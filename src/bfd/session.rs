//! One session: its state and the one function that writes it, its timers, its polls, and what its packets say.
//!
//! What follows from a received packet is RFC 5880 §6.8.6, in [`Session::hear`]; the table of states is [`judge`]. Times
//! are absolute: a session is [`silent_at`](Session::deadlines) a detection time after the last packet that was taken,
//! however late that is noticed. A packet is made when it is sent; there is none lying about.

use super::io::{Action, Cause, Diag, Event, Hold, LENGTH, Level, Obstacle, Outlet, Refusal, SessionId, State};
use crate::random::Random;
use crate::spec;
use crate::time::{Interval, Time};
use crate::wire::bfd::Packet;
use std::collections::{BTreeMap, VecDeque};

/// Shortest interval between packets of a session that is not up (RFC 5880 §6.8.3).
const SLOW: Interval = Interval::from_secs(1);
/// After a shutdown has ended, the session has so many idle intervals to come up before it counts as down.
const SETTLING: u64 = 3;

/// The table of RFC 5880 §6.8.6: the state after a packet of a peer in state `heard`.
///
/// | here \ heard | AdminDown | Down | Init | Up |
/// |---|---|---|---|---|
/// | AdminDown | – | – | – | – |
/// | Down | – | Init | Up | – |
/// | Init | Down | – | Up | Up |
/// | Up | Down | Down | – | – |
pub const fn judge(here: State, heard: State) -> State {
    match (here, heard) {
        (State::AdminDown, _) => State::AdminDown,
        (_, State::AdminDown) => State::Down,
        (State::Down, State::Down) => State::Init,
        (State::Down | State::Init, State::Init) | (State::Init, State::Up) => State::Up,
        (State::Down, State::Up) => State::Down,
        (State::Init, State::Down) => State::Init,
        (State::Up, State::Down) => State::Down,
        (State::Up, State::Init | State::Up) => State::Up,
    }
}

/// What the peer said last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Peer {
    /// 0: not heard, or not for a detection time.
    pub(super) discriminator: u32,
    pub(super) state: State,
    pub(super) diag: Diag,
    pub(super) min_tx: Interval,
    /// Zero: wants no periodic packets.
    pub(super) min_rx: Interval,
    pub(super) multiplier: u8,
    pub(super) demand: bool,
}

impl Peer {
    /// As RFC 5880 §6.8.1 begins.
    const UNHEARD: Peer = Peer {
        discriminator: 0,
        state: State::Down,
        diag: Diag::NONE,
        min_tx: Interval::ZERO,
        min_rx: Interval::from_micros(1),
        multiplier: 0,
        demand: false,
    };
}

/// A poll sequence (RFC 5880 §6.5): what changed holds when the peer has answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Poll {
    #[default]
    None,
    /// P goes into every packet.
    Open {
        /// One has gone out: a final that comes may be its answer.
        asked: bool,
        /// Something changed after that: another poll follows.
        again: bool,
    },
}

/// Since the session began; a reload that keeps it keeps them.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Counters {
    pub sent: u64,
    pub send_failures: u64,
    /// Packets taken.
    pub received: u64,
    /// Times that it came up, and that it left Up.
    pub ups: u64,
    pub downs: u64,
    pub refused: BTreeMap<Refusal, u64>,
}

/// What a session needs while something happens to it.
pub(super) struct Cx<'a> {
    pub(super) now: Time,
    pub(super) random: &'a mut Random,
    pub(super) out: &'a mut VecDeque<Action>,
    /// How late our own loop was at worst since that time.
    pub(super) own_delay: &'a dyn Fn(Time) -> Interval,
}

#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) spec: spec::bfd::Session,
    /// Ours, for the life of the session.
    pub(super) discriminator: u32,
    // Written by `enter` alone.
    pub(super) state: State,
    pub(super) diag: Diag,
    pub(super) since: Time,
    pub(super) why: Cause,
    pub(super) peer: Peer,
    /// Own intervals that are in force: those of `spec`, unless a poll has yet to be answered.
    pub(super) tx_in_force: Interval,
    pub(super) rx_in_force: Interval,
    pub(super) poll: Poll,
    pub(super) last_heard: Option<Time>,
    pub(super) last_sent: Option<Time>,
    /// The interval that was drawn for the next packet.
    pub(super) drawn: Interval,
    pub(super) send_at: Option<Time>,
    /// When the peer has been silent for the detection time.
    pub(super) silent_at: Option<Time>,
    pub(super) detection: Interval,
    pub(super) told: Told,
    pub(super) level: Level,
    /// When a level that was kept over a shutdown counts no more.
    pub(super) settled_at: Option<Time>,
    pub(super) obstacle: Option<Obstacle>,
    /// Index of the configured interface; 0: none is configured, or it is not there.
    pub(super) scope: u32,
    /// Source port, once there is a socket.
    pub(super) port: Option<u16>,
    pub(super) socket_trouble: Option<Box<str>>,
    pub(super) mute: Option<Box<str>>,
    pub(super) warned_of_ttl: bool,
    pub(super) last_ttl: Option<u8>,
    pub(super) counters: Counters,
}

/// What was told of the detection time. A peer that changes its mind with each packet is told of so often that it is seen, and
/// the log stays readable: [`Told::MOST`] times in [`Told::WINDOW`], what holds then with the first packet after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) detection: Interval,
    count: u32,
    since: Time,
}

impl Told {
    const MOST: u32 = 6;
    const WINDOW: Interval = Interval::from_secs(10);

    /// What was told last, if `is` is to be told now.
    fn is_news(&mut self, is: Interval, now: Time) -> Option<Interval> {
        if now.since(self.since) >= Told::WINDOW {
            (self.since, self.count) = (now, 0);
        }
        if is == self.detection || self.count >= Told::MOST {
            return None;
        }
        self.count += 1;
        Some(std::mem::replace(&mut self.detection, is))
    }
}

impl Session {
    pub(super) fn new(id: SessionId, spec: spec::bfd::Session, discriminator: u32, now: Time) -> Session {
        Session {
            id,
            discriminator,
            state: State::Down,
            diag: Diag::NONE,
            since: now,
            why: Cause::Start,
            peer: Peer::UNHEARD,
            tx_in_force: spec.idle_tx.max(SLOW),
            rx_in_force: spec.min_rx,
            poll: Poll::None,
            last_heard: None,
            last_sent: None,
            drawn: Interval::ZERO,
            send_at: None,
            silent_at: None,
            detection: Interval::ZERO,
            told: Told { detection: Interval::ZERO, count: 0, since: now },
            level: Level { up: false, held: None },
            settled_at: None,
            obstacle: None,
            scope: 0,
            port: None,
            socket_trouble: None,
            mute: None,
            warned_of_ttl: false,
            last_ttl: None,
            counters: Counters::default(),
            spec,
        }
    }

    /// When something is to be done: believe the peer silent, stop waiting after a shutdown, send. At equal times in that
    /// order, so that a packet says how things stand at that moment.
    pub(super) fn deadlines(&self) -> [Option<Time>; 3] {
        [self.silent_at, self.settled_at, self.send_at]
    }

    /// Interval that we announce to send at.
    pub(super) fn announced_tx(&self) -> Interval {
        if self.state == State::Up { self.spec.min_tx } else { self.spec.idle_tx.max(SLOW) }
    }

    /// The one writer of the state. What follows from a change follows here, whatever the reason.
    fn enter(&mut self, to: State, diag: Diag, why: Cause, cx: &mut Cx<'_>) {
        let from = std::mem::replace(&mut self.state, to);
        (self.diag, self.since) = (diag, cx.now);
        if from == State::Up && to != State::Up {
            self.counters.downs += 1;
            self.poll = Poll::None;
        }
        if to == State::Up {
            self.counters.ups += 1;
            // A shorter interval is used at once; a longer one waits for the peer's answer (RFC 5880 §6.8.3).
            let before = self.tx_in_force;
            self.tx_in_force = before.min(self.spec.min_tx);
            if self.spec.min_tx != before {
                self.begin_poll(cx);
            }
        } else {
            self.tx_in_force = self.announced_tx();
            self.rx_in_force = self.spec.min_rx;
        }
        if from != to {
            let own_delay = (cx.own_delay)(cx.now.before(self.detection));
            cx.out.push_back(Action::Report(Event::Became {
                name: self.spec.name.clone(),
                from,
                to,
                diag,
                peer_diag: self.peer.diag,
                why: why.clone(),
                own_delay,
            }));
        }
        self.relevel(from, &why, cx);
        self.why = why;
    }

    /// Goes on in a state that another program of this process was in: nothing happens by that.
    pub(super) fn resume(&mut self, state: State, diag: Diag, why: Cause) {
        (self.state, self.diag, self.why) = (state, diag, why);
        self.tx_in_force = self.announced_tx();
    }

    /// The level follows the state, except where somebody said not to judge by it.
    fn relevel(&mut self, from: State, why: &Cause, cx: &mut Cx<'_>) {
        let was = self.level;
        match (self.state, why) {
            (State::Up, _) => {
                self.level = Level { up: true, held: None };
                self.settled_at = None;
            }
            (State::AdminDown, _) => {
                self.level.held = Some(Hold::Operator);
                self.settled_at = None;
            }
            (_, Cause::NoShutdown) => self.settle_later(cx.now),
            // Nobody follows it any more, or is about to be told of the end by other means.
            (_, Cause::Stopping) => {}
            (_, Cause::PeerShutdown) => {
                // A session that had not come up has nothing to keep.
                if from == State::Up || was.held.is_some() {
                    self.level.held = Some(Hold::Peer);
                    self.settled_at = None;
                }
            }
            (_, Cause::Heard(_)) => {}
            _ => {
                self.level = Level { up: false, held: None };
                self.settled_at = None;
            }
        }
        self.tell_level(was, cx);
    }

    fn settle_later(&mut self, now: Time) {
        let patience = self.spec.idle_tx.max(SLOW).max(self.peer.min_tx).times(SETTLING);
        self.settled_at = Some(now + patience);
    }

    fn tell_level(&self, was: Level, cx: &mut Cx<'_>) {
        if self.level != was {
            cx.out.push_back(Action::Report(Event::LevelChanged { name: self.spec.name.clone(), level: self.level }));
        }
    }

    fn begin_poll(&mut self, cx: &mut Cx<'_>) {
        self.poll = match self.poll {
            Poll::Open { asked: true, .. } => Poll::Open { asked: true, again: true },
            Poll::Open { asked: false, .. } => return,
            Poll::None => Poll::Open { asked: false, again: false },
        };
        if self.poll == (Poll::Open { asked: false, again: false }) {
            cx.out.push_back(Action::Report(Event::PollStarted { name: self.spec.name.clone() }));
        }
    }

    /// The peer has answered: what was announced is in force, unless it changed meanwhile.
    fn end_poll(&mut self, cx: &mut Cx<'_>) {
        match self.poll {
            Poll::Open { asked: true, again: true } => self.poll = Poll::Open { asked: false, again: false },
            Poll::Open { asked: true, again: false } => {
                self.poll = Poll::None;
                self.tx_in_force = self.announced_tx();
                self.rx_in_force = self.spec.min_rx;
                cx.out.push_back(Action::Report(Event::PollEnded { name: self.spec.name.clone() }));
            }
            // A final that nobody asked for.
            Poll::Open { asked: false, .. } | Poll::None => {}
        }
    }

    /// How long the peer may be silent: its multiplier times the interval that both agreed to (RFC 5880 §6.8.4).
    fn detection_time(&self) -> Interval {
        self.rx_in_force.max(self.peer.min_tx).times(self.peer.multiplier.into())
    }

    fn set_detection(&mut self, cx: &mut Cx<'_>) {
        let is = self.detection_time();
        self.detection = is;
        if let Some(was) = self.told.is_news(is, cx.now) {
            cx.out.push_back(Action::Report(Event::DetectionTime { name: self.spec.name.clone(), is, was }));
        }
        self.silent_at = self.last_heard.map(|at| at + self.detection);
    }

    /// A packet of the peer that has passed every check.
    pub(super) fn hear(&mut self, packet: &Packet, ttl: Option<u8>, cx: &mut Cx<'_>) {
        let before = self.periodic();
        let (was_state, was_diag) = (self.state, self.diag);
        self.counters.received += 1;
        self.last_heard = Some(cx.now);
        self.last_ttl = ttl;
        self.peer = Peer {
            discriminator: packet.my_discriminator,
            state: packet.state,
            diag: packet.diag,
            min_tx: Interval::from_micros(packet.min_tx.into()),
            min_rx: Interval::from_micros(packet.min_rx.into()),
            multiplier: packet.multiplier,
            demand: packet.demand,
        };
        if packet.is_final {
            self.end_poll(cx);
        }
        let to = judge(self.state, packet.state);
        if to != self.state {
            let (diag, why) = match (to, packet.state) {
                (State::Down, State::AdminDown) => (Diag::NEIGHBOR_DOWN, Cause::PeerShutdown),
                (State::Down, _) => (Diag::NEIGHBOR_DOWN, Cause::PeerDown { diag: packet.diag }),
                (_, heard) => (Diag::NONE, Cause::Heard(heard)),
            };
            self.enter(to, diag, why, cx);
        }
        if self.level.held.is_some() {
            let was = self.level;
            match packet.state {
                State::AdminDown => (self.level.held, self.settled_at) = (Some(Hold::Peer), None),
                // The shutdown has ended by this packet, or by one before.
                _ if self.settled_at.is_none() => self.settle_later(cx.now),
                _ => {}
            }
            self.tell_level(was, cx);
        }
        self.set_detection(cx);
        let changed = (self.state, self.diag) != (was_state, was_diag);
        if packet.poll {
            self.answer(cx);
        } else if changed {
            self.send(cx);
        }
        if changed {
            self.plan_anew(cx);
        } else {
            self.reschedule(before, cx);
        }
    }

    /// The interval of periodic packets; `None`: there are none (RFC 5880 §6.8.7).
    pub(super) fn periodic(&self) -> Option<Interval> {
        if self.is_blocked() || (self.spec.passive && self.peer.discriminator == 0) || self.peer.min_rx.is_zero() {
            return None;
        }
        let both_up = self.state == State::Up && self.peer.state == State::Up;
        if both_up && self.peer.demand && self.poll == Poll::None {
            return None;
        }
        Some(self.tx_in_force.max(self.peer.min_rx))
    }

    /// Nothing can be sent.
    fn is_blocked(&self) -> bool {
        self.obstacle.is_some() || self.port.is_none()
    }

    /// Places the next packet after the conditions for it may have changed. A shorter interval pulls it nearer, a longer
    /// one counts from the packet after it.
    fn reschedule(&mut self, before: Option<Interval>, cx: &mut Cx<'_>) {
        let Some(interval) = self.periodic() else {
            self.send_at = None;
            return;
        };
        let sooner = before.is_none_or(|before| interval < before);
        if sooner || self.send_at.is_none() {
            let at = self.after_the_last(interval, cx);
            self.send_at = Some(self.send_at.map_or(at, |planned| planned.min(at)));
        }
    }

    /// Places the next packet after the state has changed, whatever had been planned before.
    fn plan_anew(&mut self, cx: &mut Cx<'_>) {
        self.send_at = self.periodic().map(|interval| self.after_the_last(interval, cx));
    }

    fn after_the_last(&mut self, interval: Interval, cx: &mut Cx<'_>) -> Time {
        let jittered = self.draw(interval, cx.random);
        (self.last_sent.unwrap_or(cx.now) + jittered).max(cx.now)
    }

    /// 75 to 100 % of the interval, at most 90 % where one missed packet is too many (RFC 5880 §6.8.7).
    fn draw(&mut self, interval: Interval, random: &mut Random) -> Interval {
        let quarter = interval.as_micros() / 4;
        let least = if self.spec.multiplier == 1 { interval.as_micros().div_ceil(10) } else { 0 };
        let off = least + random.within(0, quarter.saturating_sub(least));
        self.drawn = interval.less(Interval::from_micros(off));
        self.drawn
    }

    /// The time of the next periodic packet has come.
    pub(super) fn due(&mut self, due: Time, cx: &mut Cx<'_>) {
        let Some(interval) = self.periodic() else {
            self.send_at = None;
            return;
        };
        self.send(cx);
        let jittered = self.draw(interval, cx.random);
        // Deadlines follow from deadlines; who was much too late starts over.
        let late = cx.now.since(due);
        let from = if late > interval.scaled(1, 8) { cx.now } else { due };
        self.send_at = Some(from + jittered);
    }

    /// One packet, now; a poll, while one is open.
    pub(super) fn send(&mut self, cx: &mut Cx<'_>) {
        if !self.may_speak() {
            return;
        }
        let poll = match &mut self.poll {
            Poll::Open { asked, .. } => {
                *asked = true;
                true
            }
            Poll::None => false,
        };
        self.emit(self.packet(poll, false), cx);
    }

    /// The final packet that answers a poll, now. It cannot be a poll itself (RFC 5880 §6.5).
    fn answer(&mut self, cx: &mut Cx<'_>) {
        if self.may_speak() {
            self.emit(self.packet(false, true), cx);
        }
    }

    /// There is a way to the peer, and it need not be heard first.
    fn may_speak(&self) -> bool {
        !self.is_blocked() && (!self.spec.passive || self.peer.discriminator != 0)
    }

    fn emit(&mut self, packet: [u8; LENGTH], cx: &mut Cx<'_>) {
        self.last_sent = Some(cx.now);
        self.counters.sent += 1;
        cx.out.push_back(Action::Send(self.id, packet));
    }

    /// The packet that would be sent next, were nothing to happen.
    pub(super) fn repeated(&self) -> [u8; LENGTH] {
        self.packet(self.poll != Poll::None, false)
    }

    fn packet(&self, poll: bool, is_final: bool) -> [u8; LENGTH] {
        let micros = |interval: Interval| u32::try_from(interval.as_micros()).unwrap_or(u32::MAX);
        let packet = Packet {
            diag: self.diag,
            state: self.state,
            poll,
            is_final,
            independent: false,
            demand: false,
            multiplier: self.spec.multiplier,
            my_discriminator: self.discriminator,
            your_discriminator: self.peer.discriminator,
            min_tx: micros(self.announced_tx()),
            min_rx: micros(self.spec.min_rx),
            min_echo_rx: 0,
        };
        packet.emit()
    }

    /// Nothing was heard for the detection time.
    pub(super) fn silent(&mut self, cx: &mut Cx<'_>) {
        self.silent_at = None;
        let before = self.periodic();
        let detection_us = self.detection.as_micros();
        // What it wanted may not be what it wants when it comes back.
        self.peer.discriminator = 0;
        (self.peer.state, self.peer.demand) = (State::Down, false);
        if self.peer.min_rx.is_zero() {
            self.peer.min_rx = Peer::UNHEARD.min_rx;
        }
        if matches!(self.state, State::Init | State::Up) {
            self.enter(State::Down, Diag::EXPIRED, Cause::Expired { detection_us }, cx);
            self.send(cx);
            self.plan_anew(cx);
        } else {
            self.reschedule(before, cx);
        }
    }

    /// A level that was kept over a shutdown has been kept long enough.
    pub(super) fn settle(&mut self, cx: &mut Cx<'_>) {
        self.settled_at = None;
        let was = self.level;
        self.level = Level { up: self.state == State::Up, held: None };
        self.tell_level(was, cx);
    }

    pub(super) fn shut_down(&mut self, cx: &mut Cx<'_>) {
        if self.state != State::AdminDown {
            self.change(State::AdminDown, Diag::ADMIN_DOWN, Cause::Shutdown, cx);
        }
    }

    pub(super) fn allow(&mut self, cx: &mut Cx<'_>) {
        if self.state == State::AdminDown {
            self.change(State::Down, Diag::ADMIN_DOWN, Cause::NoShutdown, cx);
        }
    }

    fn change(&mut self, to: State, diag: Diag, why: Cause, cx: &mut Cx<'_>) {
        self.enter(to, diag, why, cx);
        self.send(cx);
        self.plan_anew(cx);
    }

    /// The obstacle is there, or gone, or another one.
    pub(super) fn obstructed(&mut self, by: Option<Obstacle>, cx: &mut Cx<'_>) {
        if self.obstacle == by {
            return;
        }
        let name = self.spec.name.clone();
        let event = match &by {
            Some(by) => Event::Blocked { name, by: by.clone() },
            None => Event::Unblocked { name },
        };
        let was_blocked = std::mem::replace(&mut self.obstacle, by.clone()).is_some();
        cx.out.push_back(Action::Report(event));
        match by {
            Some(by) => {
                self.send_at = None;
                if matches!(self.state, State::Init | State::Up) {
                    self.enter(State::Down, Diag::PATH_DOWN, Cause::Obstacle(by), cx);
                } else if self.level.held == Some(Hold::Peer) {
                    self.settle(cx);
                }
            }
            None if was_blocked => self.begin(cx),
            None => {}
        }
    }

    /// Nothing stands in the way (any more): speaks at once.
    pub(super) fn begin(&mut self, cx: &mut Cx<'_>) {
        if self.periodic().is_some() {
            self.send(cx);
            self.plan_anew(cx);
        }
    }

    /// Says "do not rely on me": Down, twice, since one packet may be lost and nobody will repeat it. AdminDown would say
    /// the opposite: peers do not act upon that.
    pub(super) fn bid_farewell(&mut self, cx: &mut Cx<'_>) {
        self.enter(State::Down, Diag::ADMIN_DOWN, Cause::Stopping, cx);
        for _ in 0..2 {
            self.send(cx);
        }
        (self.send_at, self.silent_at, self.settled_at) = (None, None, None);
    }

    /// Goes over to other settings of the same session.
    pub(super) fn reconfigure(&mut self, spec: spec::bfd::Session, cx: &mut Cx<'_>) {
        let old = std::mem::replace(&mut self.spec, spec);
        if old == self.spec {
            return;
        }
        if old.name != self.spec.name {
            let (from, to) = (old.name.clone(), self.spec.name.clone());
            cx.out.push_back(Action::Report(Event::Renamed { from, to }));
        }
        let periodic = self.periodic();
        if self.state == State::Up {
            let changed = (old.min_tx, old.min_rx) != (self.spec.min_tx, self.spec.min_rx);
            self.tx_in_force = self.tx_in_force.min(self.spec.min_tx);
            self.rx_in_force = self.rx_in_force.max(self.spec.min_rx);
            if changed {
                self.begin_poll(cx);
            }
        } else {
            self.tx_in_force = self.announced_tx();
            self.rx_in_force = self.spec.min_rx;
        }
        if self.last_heard.is_some() && self.silent_at.is_some() {
            self.set_detection(cx);
        }
        // What was drawn for more than one packet may be too long for one.
        let stricter = self.spec.multiplier == 1 && old.multiplier != 1;
        self.reschedule(periodic.filter(|_| !stricter), cx);
        if self.periodic().is_some() && old.passive && !self.spec.passive && self.peer.discriminator == 0 {
            self.begin(cx);
        }
    }

    pub(super) fn outlet(&self, scope: u32) -> Outlet {
        let spec = &self.spec;
        Outlet { source: spec.source, neighbor: spec.neighbor, scope, ttl: spec.ttl, multihop: spec.multihop }
    }

    pub(super) fn refuse(&mut self, why: Refusal) {
        let count = self.counters.refused.entry(why).or_default();
        *count = count.saturating_add(1);
    }
}
