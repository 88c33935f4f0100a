//! The read model: everything that is shown of sessions, made at one moment.

use super::Engine;
use super::io::{Cause, Diag, Level, Obstacle, Refusal, SessionId, State};
use super::session::{Counters, Poll};
use crate::time::{Interval, Time};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// All sessions at `now`.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Snapshot {
    pub now: Time,
    pub sessions: Vec<SessionView>,
    /// Datagrams that belong to no session, by reason.
    pub refused: BTreeMap<Refusal, u64>,
    /// Descriptors that are listened at: single-hop, multihop. Filled in by the loop that has them.
    pub listening: [Vec<i32>; 2],
    /// Worst delay of our own loop that is remembered.
    pub own_delay: Interval,
}

/// One session.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SessionView {
    pub name: Box<str>,
    pub neighbor: IpAddr,
    pub source: Option<IpAddr>,
    pub interface: Option<Box<str>>,
    pub multihop: bool,
    pub passive: bool,
    pub state: State,
    pub since: Time,
    pub why: Cause,
    pub why_text: String,
    pub obstacle: Option<Obstacle>,
    pub level: Level,
    pub diag: Diag,
    pub peer_state: State,
    pub peer_diag: Diag,
    /// Ours, never 0 (RFC 5880 §6.3).
    pub discriminator: u32,
    /// 0 while the peer is not known.
    pub peer_discriminator: u32,
    pub source_port: Option<u16>,
    pub id: SessionId,
    /// The socket to send from. Filled in by the loop that has it.
    pub descriptor: Option<i32>,
    /// As configured.
    pub min_tx: Interval,
    pub min_rx: Interval,
    pub idle_tx: Interval,
    pub multiplier: u8,
    pub ttl: u8,
    pub max_hops: Option<u8>,
    /// A packet with less is refused; 0 takes all.
    pub least_ttl: u8,
    pub for_vrrp: bool,
    pub for_checkers: bool,
    /// As the peer says.
    pub peer_min_tx: Interval,
    pub peer_min_rx: Interval,
    pub peer_multiplier: u8,
    pub peer_demand: bool,
    /// As both agreed. `None`: no periodic packets are sent.
    pub tx_interval: Option<Interval>,
    /// Shortest time between two packets that the peer may keep.
    pub rx_interval: Interval,
    /// The interval drawn for the next packet.
    pub drawn: Interval,
    /// After this much silence the peer is believed dead; zero before the first packet.
    pub detection_time: Interval,
    /// After this much silence the peer believes us dead.
    pub peer_detection_time: Interval,
    pub polling: bool,
    pub last_heard: Option<Time>,
    pub last_sent: Option<Time>,
    pub last_ttl: Option<u8>,
    /// When the next packet is due, and when the peer has been silent for too long: for the dump.
    pub send_at: Option<Time>,
    pub silent_at: Option<Time>,
    pub send_trouble: Option<Box<str>>,
    pub counters: Counters,
}

impl Engine {
    /// How all sessions stand at `now`.
    pub fn snapshot(&self, now: Time) -> Snapshot {
        let sessions = self.sessions.iter().map(|session| {
            let (spec, peer) = (&session.spec, &session.peer);
            SessionView {
                name: spec.name.clone(),
                neighbor: spec.neighbor,
                source: spec.source,
                interface: spec.interface.as_ref().map(|name| name.as_str().into()),
                multihop: spec.multihop,
                passive: spec.passive,
                state: session.state,
                since: session.since,
                why: session.why.clone(),
                why_text: session.why.to_string(),
                obstacle: session.obstacle.clone(),
                level: session.level,
                diag: session.diag,
                peer_state: peer.state,
                peer_diag: peer.diag,
                discriminator: session.discriminator,
                peer_discriminator: peer.discriminator,
                source_port: session.port,
                id: session.id,
                descriptor: None,
                min_tx: spec.min_tx,
                min_rx: spec.min_rx,
                idle_tx: spec.idle_tx,
                multiplier: spec.multiplier,
                ttl: spec.ttl,
                max_hops: spec.max_hops,
                least_ttl: spec.least_ttl(),
                for_vrrp: spec.for_vrrp,
                for_checkers: spec.for_checkers,
                peer_min_tx: peer.min_tx,
                peer_min_rx: peer.min_rx,
                peer_multiplier: peer.multiplier,
                peer_demand: peer.demand,
                tx_interval: session.periodic(),
                rx_interval: session.rx_in_force.max(peer.min_tx),
                drawn: session.drawn,
                detection_time: session.detection,
                peer_detection_time: session.tx_in_force.max(peer.min_rx).times(spec.multiplier.into()),
                polling: session.poll != Poll::None,
                last_heard: session.last_heard,
                last_sent: session.last_sent,
                last_ttl: session.last_ttl,
                send_at: session.send_at,
                silent_at: session.silent_at,
                send_trouble: session.mute.clone(),
                counters: session.counters.clone(),
            }
        });
        let own_delay = self.delays.iter().map(|(_, by)| *by).max().unwrap_or(Interval::ZERO);
        Snapshot {
            now,
            sessions: sessions.collect(),
            refused: self.refused.clone(),
            listening: [Vec::new(), Vec::new()],
            own_delay,
        }
    }
}
