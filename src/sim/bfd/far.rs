//! The far ends of sessions that no modelled server is: gateways, each a real engine with the mirrored settings, which
//! lives as long as the world.
//!
//! What the other side really has configured stands in no file here, so it is taken to have the same intervals and the same
//! multiplier, and to begin first if ours is passive. `path NODE SESSION` of a scenario makes both directions or one of them
//! dead, for sessions between two servers too, or lets a gateway stand still: then what it is sent waits in its socket.

use super::plain;
use crate::bfd::Engine;
use crate::bfd::io::{Action, Beginning, Input, RxMeta};
use crate::sim::node::{News, Node};
use crate::sim::scenario::Way;
use crate::sim::world::{Happening, World};
use crate::spec::bfd::Session;
use crate::spec::{BfdId, Spec};
use crate::time::Time;
use crate::vrrp::io::{TrackValue, Tracker};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// One far end.
pub(in crate::sim) struct Far {
    node: usize,
    /// Of the near end.
    name: Box<str>,
    session: Session,
    engine: Engine,
    wake: Option<Time>,
    /// It stands still: what has come since, and when.
    waiting: Option<Vec<(Time, RxMeta, Vec<u8>)>>,
}

impl Way {
    /// Nothing reaches the node.
    pub(super) fn is_deaf(self) -> bool {
        matches!(self, Way::Down | Way::Deaf)
    }

    /// Nothing of the node arrives.
    pub(super) fn is_mute(self) -> bool {
        matches!(self, Way::Down | Way::Mute)
    }
}

/// May this be done to the path of this session? Only a gateway can stand still by an act on a path.
pub(in crate::sim) fn check_way(
    specs: &[(String, Arc<Spec>)],
    node: &str,
    session: &str,
    way: Way,
) -> Result<(), String> {
    let own = specs.iter().find(|(name, _)| name == node);
    let own = own.and_then(|(_, spec)| spec.sessions.iter().find(|own| *own.name == *session));
    let other =
        own.and_then(|own| specs.iter().find(|(name, spec)| name != node && meets(own, std::iter::once(&**spec))));
    match other {
        Some((other, _)) if way == Way::Frozen => {
            Err(format!("the other end of {session} is {other}, which `pause {other}` stops"))
        }
        _ => Ok(()),
    }
}

/// A session as it is modelled: with a source, which routing would choose.
pub(super) fn sourced(session: &Session) -> Session {
    let nowhere = match session.neighbor {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    Session { source: session.source.or(Some(nowhere)), ..session.clone() }
}

/// What the peer of a session has to be configured with.
fn mirror(session: &Session) -> Session {
    let here = sourced(session).source.unwrap_or(session.neighbor);
    Session {
        min_rx: session.min_rx,
        min_tx: session.min_tx,
        idle_tx: session.idle_tx,
        multiplier: session.multiplier,
        multihop: session.multihop,
        max_hops: None,
        ..plain("far", session.neighbor, here)
    }
}

/// Is the other end of this session one of these servers'?
pub(super) fn meets<'s>(session: &Session, mut others: impl Iterator<Item = &'s Spec>) -> bool {
    others.any(|spec| spec.sessions.iter().any(|other| other.meets(session)))
}

impl World<'_> {
    /// Every gateway begins, before any server.
    pub(in crate::sim) fn begin_far_ends(&mut self) {
        let specs: Vec<_> = self.nodes.iter().map(|n| n.spec.clone()).collect();
        for (node, spec) in specs.iter().enumerate() {
            for session in &spec.sessions {
                let others = specs.iter().enumerate().filter(|(other, _)| *other != node).map(|(_, spec)| &**spec);
                if meets(session, others) {
                    continue;
                }
                let mirrored = mirror(session);
                let world = Beginning { seed: self.random.number(), links: None, now: self.now };
                let engine = Engine::begin(std::slice::from_ref(&mirrored), world);
                let name = session.name.clone();
                self.fars.push(Far { node, name, session: mirrored, engine, wake: None, waiting: None });
                self.settle_far(self.fars.len() - 1);
            }
        }
    }

    /// Carries out what a gateway wants, and sees when it wants to be woken.
    fn settle_far(&mut self, far: usize) {
        while let Some(one) = self.fars.get_mut(far) {
            let Some(action) = one.engine.poll() else { break };
            match action {
                Action::Open(session, _) => {
                    one.engine.handle(Input::Opened { session, outcome: Ok(49_152) }, self.now);
                }
                Action::Send(_, bytes) => self.far_speaks(far, &bytes),
                _ => {}
            }
        }
        let Some(one) = self.fars.get_mut(far) else { return };
        let wake = one.engine.deadline().map(|at| at.max(self.now));
        if wake != one.wake {
            one.wake = wake;
            if let Some(at) = wake {
                self.at(at, Happening::Far { far, packet: None });
            }
        }
    }

    fn far_speaks(&mut self, far: usize, bytes: &[u8]) {
        let Some(one) = self.fars.get(far) else { return };
        let (node, session) = (one.node, &one.session);
        if self.way(node, &one.name).is_deaf() || !self.lan.reaches_outside(node) {
            return;
        }
        let Some(source) = session.source else { return };
        let (ttl, multihop) = (Some(session.ttl), session.multihop);
        let destination = Some(session.neighbor);
        let meta = RxMeta { source, destination, ifindex: 0, ttl, multihop, cut: false };
        let delays: Vec<_> = self.lan.fates(&mut self.random).collect();
        for delay in delays {
            let at = self.now + delay;
            self.at(at, Happening::Packet { node, meta, bytes: bytes.to_vec() });
        }
    }

    /// A packet of a server goes to a gateway, if it is for one.
    pub(super) fn send_far(&mut self, node: usize, neighbor: IpAddr, meta: RxMeta, bytes: &[u8]) {
        let same =
            |far: &Far| far.node == node && far.session.source == Some(neighbor) && far.session.neighbor == meta.source;
        let Some(far) = self.fars.iter().position(same) else { return };
        let reached = self.fars.get(far).is_some_and(|one| !self.way(node, &one.name).is_mute());
        if !reached || !self.lan.reaches_outside(node) {
            return;
        }
        let delays: Vec<_> = self.lan.fates(&mut self.random).collect();
        for delay in delays {
            let at = self.now + delay;
            self.at(at, Happening::Far { far, packet: Some((meta, bytes.to_vec())) });
        }
    }

    /// A gateway's alarm clock, or a packet that reaches it.
    pub(in crate::sim) fn far_end(&mut self, far: usize, packet: Option<(RxMeta, Vec<u8>)>) {
        let now = self.now;
        let Some(one) = self.fars.get_mut(far) else { return };
        if let Some(waiting) = &mut one.waiting {
            waiting.extend(packet.map(|(meta, bytes)| (now, meta, bytes)));
            return;
        }
        match packet {
            Some((meta, bytes)) => one.engine.handle(Input::Packet { meta, bytes: &bytes }, now),
            // Another wake-up is already in the queue.
            None if one.wake.is_none_or(|wake| wake > now) => return,
            None => {
                one.wake = None;
                one.engine.handle(Input::Tick, now);
            }
        }
        self.settle_far(far);
    }

    /// How the path of this session is.
    pub(super) fn way(&self, node: usize, session: &str) -> Way {
        let own = self.paths.iter().find(|((of, name), _)| *of == node && **name == *session);
        own.map(|(_, way)| *way).unwrap_or_default()
    }

    /// An act of the scenario. Whatever it is, it ends what was before, also the stillness of the gateway.
    pub(in crate::sim) fn set_path(&mut self, node: usize, session: Box<str>, way: Way) {
        let own = self.fars.iter().find(|far| far.node == node && far.name == session);
        let gateway = own.and_then(|far| far.session.source);
        let now = self.now;
        for far in 0..self.fars.len() {
            let Some(one) = self.fars.get_mut(far).filter(|one| gateway.is_some() && one.session.source == gateway)
            else {
                continue;
            };
            if way == Way::Frozen {
                one.waiting.get_or_insert_default();
            } else if let Some(waiting) = one.waiting.take() {
                for (at, meta, bytes) in waiting {
                    one.engine.handle(Input::Packet { meta, bytes: &bytes }, at);
                }
                one.wake = None;
                one.engine.handle(Input::Tick, now);
                self.settle_far(far);
            }
        }
        if way == Way::Up {
            self.paths.remove(&(node, session));
        } else {
            self.paths.insert((node, session), way);
        }
    }

    /// Is there nothing between the two ends of this session that would keep it from being up, and nobody at its other
    /// end who is not there? The delays of the network are another matter.
    pub(in crate::sim) fn could_be_up(&self, node: usize, session: &Session) -> bool {
        let good = |n: usize| {
            let carries = |own: &Node| own.session_link().is_none_or(|index| own.carries(index));
            self.nodes.get(n).is_some_and(|own| own.awake() && own.seat.is_some() && carries(own))
        };
        if !good(node) {
            return false;
        }
        if let Some(far) = self.fars.iter().find(|far| far.node == node && far.name == session.name) {
            return far.waiting.is_none() && self.way(node, &session.name) == Way::Up && self.lan.reaches_outside(node);
        }
        let Some(source) = session.source else { return false };
        let meets = |n: &Node| n.spec.sessions.iter().any(|other| other.meets(session));
        let wire = |n: usize| self.nodes.get(n).and_then(|own| own.wire(own.session_link()?));
        let (Some(other), Some(segment)) = (self.nodes.iter().position(meets), wire(node)) else { return false };
        let heard = self.lan.hears(node, other, segment) && self.lan.hears(other, node, segment);
        let passes = self.passes(source, session.neighbor) && self.passes(session.neighbor, source);
        good(other) && wire(other) == Some(segment) && heard && passes
    }

    /// What everybody who follows a session on a node reads from now on.
    pub(super) fn tell_level(&mut self, node: usize, name: &str, up: bool) {
        let Some(n) = self.nodes.get(node) else { return };
        let session = n.spec.sessions.iter().find(|session| *session.name == *name);
        let (for_vrrp, for_checkers) = session.map_or((true, true), |own| (own.for_vrrp, own.for_checkers));
        let position = n.spec.bfds.iter().position(|bfd| *bfd.name == *name);
        if let Some(id) = position.and_then(|at| u32::try_from(at).ok()).filter(|_| for_vrrp) {
            self.tell(node, News::Tracked(Tracker::Bfd(BfdId(id)), TrackValue::Up(up)));
        }
        if for_checkers {
            let (tracker, value) =
                (crate::balance::io::Tracker::Bfd(name.into()), crate::balance::io::TrackValue::Up(up));
            self.tell_director(node, crate::balance::io::Input::Tracked { tracker, value });
        }
    }
}
