//! What one engine leaves to the next, so that another program file can go on without the peers noticing.
//!
//! A [`Handover`] holds facts by the sessions' addresses and in absolute monotonic time, which goes on across exec(2).
//! Sockets are not in it: the loop hands them over beside it. Every field has a default, so that a program that
//! knows one field more can still read what another has written; a session of which too little is known begins afresh.

use super::Engine;
use super::io::{Action, Beginning, Cause, Diag, LENGTH, Level, SessionId, State};
use super::session::{Counters, Peer, Poll, Session};
use crate::handover::{each, or_default};
use crate::spec;
use crate::time::{Interval, Time};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Everything worth keeping of the sessions.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Handover {
    #[serde(deserialize_with = "each")]
    sessions: Vec<SessionHandover>,
    next_id: u32,
    now: Time,
}

/// What is kept of one session.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct SessionHandover {
    id: Option<SessionId>,
    name: Box<str>,
    neighbor: Option<IpAddr>,
    source: Option<IpAddr>,
    interface: Option<Box<str>>,
    multihop: bool,
    discriminator: u32,
    state: Option<State>,
    #[serde(deserialize_with = "or_default")]
    diag: Diag,
    since: Time,
    #[serde(deserialize_with = "or_default")]
    why: Option<Cause>,
    peer_discriminator: u32,
    peer_state: Option<State>,
    #[serde(deserialize_with = "or_default")]
    peer_diag: Diag,
    peer_min_tx_us: u64,
    peer_min_rx_us: Option<u64>,
    peer_multiplier: u8,
    peer_demand: bool,
    tx_us: u64,
    rx_us: u64,
    /// Some(asked).
    polling: Option<bool>,
    last_heard: Option<Time>,
    last_sent: Option<Time>,
    drawn_us: u64,
    send_at: Option<Time>,
    silent_at: Option<Time>,
    detection_us: u64,
    #[serde(deserialize_with = "or_default")]
    level: Option<Level>,
    settled_at: Option<Time>,
    warned_of_ttl: bool,
    last_ttl: Option<u8>,
    #[serde(deserialize_with = "or_default")]
    counters: Counters,
}

impl Handover {
    /// What trackers read of each session, by name: VRRP's first state goes by it.
    pub fn levels(&self) -> impl Iterator<Item = (&str, bool)> {
        self.sessions.iter().map(|left| (&*left.name, left.level.is_some_and(|level| level.up)))
    }
}

impl Engine {
    /// Writes the will. The engine should not be used afterwards.
    pub fn hand_over(&self) -> Handover {
        Handover { sessions: self.sessions.iter().map(Session::left).collect(), next_id: self.next_id, now: self.now }
    }

    /// What the sessions that are up would say next, at which interval and when: for the stand-in that speaks for them while
    /// this process has no program.
    pub fn last_words(&self) -> impl Iterator<Item = (SessionId, [u8; LENGTH], Interval, Time)> {
        let up = self.sessions.iter().filter(|session| session.state == State::Up);
        up.filter_map(|session| {
            Some((session.id, session.repeated(), session.periodic()?, session.send_at.unwrap_or(self.now)))
        })
    }

    /// An engine that goes on where another ended: states, discriminators, sequence and deadlines are kept, and so are
    /// the numbers of the sessions, by which their sockets are known.
    ///
    /// Its time is that of the will, whatever `world` says: packets that came since then wait in the sockets, and are to
    /// be told before anything expires.
    pub fn inherit(specs: &[spec::bfd::Session], world: Beginning, handover: &Handover) -> Engine {
        let mut engine = Engine::blank(Beginning { now: handover.now, ..world });
        engine.next_id = handover.next_id;
        for left in &handover.sessions {
            let Some(spec) = specs.iter().find(|spec| left.is_of(spec)) else { continue };
            if let Some(session) = left.heir(spec) {
                engine.sessions.push(session);
            }
        }
        engine.rebuild();
        for session in &engine.sessions {
            engine.out.push_back(Action::Open(session.id, session.outlet(session.scope)));
        }
        // What is new, changed or gone since goes the way of a reload; the ports are asked for in any case.
        engine.go_over(specs);
        engine
    }
}

impl Session {
    fn left(&self) -> SessionHandover {
        SessionHandover {
            id: Some(self.id),
            name: self.spec.name.clone(),
            neighbor: Some(self.spec.neighbor),
            source: self.spec.source,
            interface: self.spec.interface.as_ref().map(|name| name.as_str().into()),
            multihop: self.spec.multihop,
            discriminator: self.discriminator,
            state: Some(self.state),
            diag: self.diag,
            since: self.since,
            why: Some(self.why.clone()),
            peer_discriminator: self.peer.discriminator,
            peer_state: Some(self.peer.state),
            peer_diag: self.peer.diag,
            peer_min_tx_us: self.peer.min_tx.as_micros(),
            peer_min_rx_us: Some(self.peer.min_rx.as_micros()),
            peer_multiplier: self.peer.multiplier,
            peer_demand: self.peer.demand,
            tx_us: self.tx_in_force.as_micros(),
            rx_us: self.rx_in_force.as_micros(),
            polling: match self.poll {
                Poll::None => None,
                Poll::Open { asked, again } => Some(asked && !again),
            },
            last_heard: self.last_heard,
            last_sent: self.last_sent,
            drawn_us: self.drawn.as_micros(),
            send_at: self.send_at,
            silent_at: self.silent_at,
            detection_us: self.detection.as_micros(),
            level: Some(self.level),
            settled_at: self.settled_at,
            warned_of_ttl: self.warned_of_ttl,
            last_ttl: self.last_ttl,
            counters: self.counters.clone(),
        }
    }
}

impl SessionHandover {
    fn is_of(&self, spec: &spec::bfd::Session) -> bool {
        (self.neighbor, self.source, self.multihop, self.interface.as_deref())
            == (Some(spec.neighbor), spec.source, spec.multihop, spec.interface.as_ref().map(|name| name.as_str()))
    }

    /// The session goes on under the settings that it is to have: a session whose intervals changed meanwhile polls.
    fn heir(&self, spec: &spec::bfd::Session) -> Option<Session> {
        let mut heir = Session::new(self.id?, spec.clone(), self.discriminator, self.since);
        if self.discriminator == 0 {
            return None;
        }
        heir.resume(self.state?, self.diag, self.why.clone().unwrap_or(Cause::Start));
        let micros = Interval::from_micros;
        heir.peer = Peer {
            discriminator: self.peer_discriminator,
            state: self.peer_state.unwrap_or(State::Down),
            diag: self.peer_diag,
            min_tx: micros(self.peer_min_tx_us),
            min_rx: micros(self.peer_min_rx_us.unwrap_or(1)),
            multiplier: self.peer_multiplier,
            demand: self.peer_demand,
        };
        heir.poll = self.polling.map_or(Poll::None, |asked| Poll::Open { asked, again: false });
        let up = self.state == Some(State::Up);
        if up && (micros(self.tx_us), micros(self.rx_us)) != (spec.min_tx, spec.min_rx) && heir.poll == Poll::None {
            heir.poll = Poll::Open { asked: false, again: false };
        }
        if up {
            // A longer interval of the sender's, a shorter one of the receiver's waits for the answer.
            heir.tx_in_force = micros(self.tx_us).min(spec.min_tx);
            heir.rx_in_force = micros(self.rx_us).max(spec.min_rx);
        }
        (heir.last_heard, heir.last_sent) = (self.last_heard, self.last_sent);
        (heir.send_at, heir.silent_at, heir.settled_at) = (self.send_at, self.silent_at, self.settled_at);
        (heir.detection, heir.drawn) = (micros(self.detection_us), micros(self.drawn_us));
        heir.told.detection = heir.detection;
        heir.level = self.level.unwrap_or(heir.level);
        (heir.warned_of_ttl, heir.last_ttl) = (self.warned_of_ttl, self.last_ttl);
        heir.counters = self.counters.clone();
        Some(heir)
    }
}
