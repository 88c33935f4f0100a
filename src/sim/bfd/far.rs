//! The far ends of sessions that no modelled server is: gateways, each a real engine with the mirrored settings, which
//! lives as long as the world.
//!
//! What the other side really has configured stands in no file here, so it is taken to have the same intervals and the same
//! multiplier, and to begin first if ours is passive. `path NODE SESSION down` of a scenario makes both directions dead, for
//! sessions between two servers too.

use super::plain;
use crate::bfd::Engine;
use crate::bfd::io::{Action, Beginning, Input, RxMeta};
use crate::sim::node::News;
use crate::sim::world::{Happening, World};
use crate::spec::bfd::Session;
use crate::spec::{BfdId, Spec};
use crate::time::Time;
use crate::vrrp::io::{TrackValue, Tracker};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One far end.
pub(in crate::sim) struct Far {
    node: usize,
    /// Of the near end.
    name: Box<str>,
    session: Session,
    engine: Engine,
    wake: Option<Time>,
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
    let other = |other: &Session| other.source == Some(session.neighbor) && session.source == Some(other.neighbor);
    others.any(|spec| spec.sessions.iter().any(other))
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
                self.fars.push(Far { node, name, session: mirrored, engine, wake: None });
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
        if !self.path_is_good(node, &one.name) || !self.lan.reaches_outside(node) {
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
        let reached = self.fars.get(far).is_some_and(|one| self.path_is_good(node, &one.name));
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

    /// Does anything get through between the ends of this session?
    pub(super) fn path_is_good(&self, node: usize, session: &str) -> bool {
        !self.dead_paths.iter().any(|(of, name)| *of == node && **name == *session)
    }

    /// An act of the scenario.
    pub(in crate::sim) fn set_path(&mut self, node: usize, session: Box<str>, up: bool) {
        if up {
            self.dead_paths.remove(&(node, session));
        } else {
            self.dead_paths.insert((node, session));
        }
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
