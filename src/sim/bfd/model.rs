//! A session that is nothing but tables: RFC 5880 §6.8.6 and the detection time, written a second time and in another way
//! than the engine's. It schedules nothing and sends nothing; it says what state a session has to be in, what trackers
//! have to read, and from which interval the next packet may be drawn.

use crate::bfd::io::{Hold, State};
use crate::spec::bfd::Session;
use crate::time::{Interval, Time};
use crate::wire::bfd::Packet;

const SLOW: Interval = Interval::from_secs(1);

/// (here, heard, then): every pair that changes something.
const TABLE: &[(State, State, State)] = &[
    (State::Down, State::Down, State::Init),
    (State::Down, State::Init, State::Up),
    (State::Init, State::AdminDown, State::Down),
    (State::Init, State::Init, State::Up),
    (State::Init, State::Up, State::Up),
    (State::Up, State::AdminDown, State::Down),
    (State::Up, State::Down, State::Down),
];

#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) spec: Session,
    pub(super) state: State,
    /// What trackers read.
    pub(super) up: bool,
    pub(super) held: Option<Hold>,
    settled_at: Option<Time>,
    /// The peer's last word.
    pub(super) peer: Option<Packet>,
    /// Since when the peer has been silent for the detection time.
    pub(super) forgotten: bool,
    heard_at: Option<Time>,
    silent_at: Option<Time>,
    /// Own intervals in force.
    pub(super) tx: Interval,
    rx: Interval,
    /// A poll is open; whether it has been asked; whether something changed after that.
    pub(super) poll: Option<(bool, bool)>,
    pub(super) changes: u64,
}

impl Model {
    pub(super) fn new(spec: &Session) -> Model {
        Model {
            state: State::Down,
            up: false,
            held: None,
            settled_at: None,
            peer: None,
            forgotten: true,
            heard_at: None,
            silent_at: None,
            tx: spec.idle_tx.max(SLOW),
            rx: spec.min_rx,
            poll: None,
            changes: 0,
            spec: spec.clone(),
        }
    }

    fn turn(&mut self, to: State) {
        self.changes += u64::from(to != self.state);
        self.state = to;
        if to == State::Up {
            (self.up, self.held, self.settled_at) = (true, None, None);
            self.poll = (self.tx != self.spec.min_tx).then_some((false, false));
            self.tx = self.tx.min(self.spec.min_tx);
        } else {
            (self.tx, self.rx, self.poll) = (self.spec.idle_tx.max(SLOW), self.spec.min_rx, None);
        }
    }

    fn lower(&mut self) {
        (self.up, self.held, self.settled_at) = (false, None, None);
    }

    fn await_silence(&mut self) {
        let (Some(peer), Some(heard)) = (self.peer, self.heard_at) else { return };
        let slowest = Interval::from_micros(peer.min_tx.into()).max(self.rx);
        self.silent_at = Some(heard + Interval::from_micros(slowest.as_micros() * u64::from(peer.multiplier)));
    }

    /// What time alone does up to `now`.
    pub(super) fn pass(&mut self, now: Time) {
        loop {
            let silent = self.silent_at.unwrap_or(Time::NEVER);
            let settled = self.settled_at.unwrap_or(Time::NEVER);
            if silent.min(settled) > now {
                return;
            }
            if silent <= settled {
                self.silent_at = None;
                self.forgotten = true;
                if matches!(self.state, State::Up | State::Init) {
                    self.turn(State::Down);
                    self.lower();
                }
            } else {
                self.settled_at = None;
                (self.up, self.held) = (self.state == State::Up, None);
            }
        }
    }

    /// A packet that nothing is wrong with. False: it has to be refused.
    pub(super) fn hear(&mut self, packet: &Packet, now: Time) -> bool {
        if self.state == State::AdminDown {
            return false;
        }
        (self.peer, self.forgotten, self.heard_at) = (Some(*packet), false, Some(now));
        if packet.is_final {
            match self.poll {
                Some((true, true)) => self.poll = Some((false, false)),
                Some((true, false)) => {
                    self.poll = None;
                    self.rx = self.spec.min_rx;
                    self.tx = if self.state == State::Up { self.spec.min_tx } else { self.tx };
                }
                _ => {}
            }
        }
        let was = self.state;
        if let Some((_, _, to)) = TABLE.iter().find(|(here, heard, _)| (*here, *heard) == (was, packet.state)) {
            self.turn(*to);
            match (packet.state, was) {
                (State::AdminDown, State::Up) => self.held = Some(Hold::Peer),
                (State::Down, State::Up) => self.lower(),
                _ => {}
            }
        }
        if self.held.is_some() {
            if packet.state == State::AdminDown {
                (self.held, self.settled_at) = (Some(Hold::Peer), None);
            } else if self.settled_at.is_none() {
                self.settle(now);
            }
        }
        self.await_silence();
        true
    }

    fn settle(&mut self, now: Time) {
        let theirs = self.peer.map_or(Interval::ZERO, |peer| Interval::from_micros(peer.min_tx.into()));
        self.settled_at = Some(now + self.spec.idle_tx.max(SLOW).max(theirs).times(3));
    }

    pub(super) fn shut_down(&mut self) {
        if self.state != State::AdminDown {
            self.turn(State::AdminDown);
            (self.held, self.settled_at) = (Some(Hold::Operator), None);
        }
    }

    pub(super) fn allow(&mut self, now: Time) {
        if self.state == State::AdminDown {
            self.turn(State::Down);
            self.settle(now);
        }
    }

    /// The way is known to be broken here.
    pub(super) fn obstructed(&mut self) {
        if matches!(self.state, State::Up | State::Init) {
            self.turn(State::Down);
            self.lower();
        } else if self.held == Some(Hold::Peer) {
            self.lower();
        }
    }

    pub(super) fn reconfigure(&mut self, spec: &Session) {
        let old = std::mem::replace(&mut self.spec, spec.clone());
        if old == *spec {
            return;
        }
        if self.state == State::Up {
            (self.tx, self.rx) = (self.tx.min(spec.min_tx), self.rx.max(spec.min_rx));
            if (old.min_tx, old.min_rx) != (spec.min_tx, spec.min_rx) {
                let asked = matches!(self.poll, Some((true, _)));
                self.poll = Some((asked, asked));
            }
        } else {
            (self.tx, self.rx) = (spec.idle_tx.max(SLOW), spec.min_rx);
        }
        if self.silent_at.is_some() {
            self.await_silence();
        }
    }

    pub(super) fn said(&mut self, packet: &Packet) {
        if let (true, Some((asked, _))) = (packet.poll, &mut self.poll) {
            *asked = true;
        }
    }

    /// The interval that periodic packets are drawn from; `None`: there are none.
    pub(super) fn interval(&self) -> Option<Interval> {
        let theirs = match self.peer {
            // A side that was silent for long starts over, also if it wanted no packets.
            Some(peer) if peer.min_rx == 0 && self.forgotten => 1,
            Some(peer) => peer.min_rx,
            None => 1,
        };
        let demands = self.peer.is_some_and(|peer| peer.demand && peer.state == State::Up) && !self.forgotten;
        let quiet = demands && self.state == State::Up && self.poll.is_none();
        if theirs == 0 || quiet || (self.spec.passive && self.forgotten) {
            return None;
        }
        Some(self.tx.max(Interval::from_micros(theirs.into())))
    }
}
