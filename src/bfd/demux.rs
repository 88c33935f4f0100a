//! Which session a packet is for, and whether it may speak to it: the checks of RFC 5880 §6.8.6 in its order, then
//! those that need a session.
//!
//! A discriminator alone is not believed: the sender must be the session's neighbour, through its interface and its kind
//! of port. A packet with `your discriminator` 0 finds its session by addresses. TTLs come last, so that a packet which
//! came over a router is counted at the session that it was meant for.

use super::io::{Refusal, RxMeta, State};
use super::session::Session;
use crate::spec::IfName;
use crate::wire::bfd::Packet;
use std::collections::HashMap;
use std::net::IpAddr;

/// Sessions by what packets name them by; rebuilt whenever the list changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    by_discriminator: HashMap<u32, usize>,
    by_neighbor: HashMap<IpAddr, Vec<usize>>,
}

/// A refusal, and whose packet it would have been.
pub(super) type Refused = (Refusal, Option<usize>);

impl Index {
    pub(super) fn new(sessions: &[Session]) -> Index {
        let mut index = Index::default();
        for (position, session) in sessions.iter().enumerate() {
            index.by_discriminator.insert(session.discriminator, position);
            index.by_neighbor.entry(session.spec.neighbor).or_default().push(position);
        }
        index
    }

    /// A discriminator that is given away before its session stands in the tables.
    pub(super) fn note(&mut self, discriminator: u32) {
        self.by_discriminator.insert(discriminator, usize::MAX);
    }

    pub(super) fn has(&self, discriminator: u32) -> bool {
        self.by_discriminator.contains_key(&discriminator)
    }

    /// The session of a datagram and what the datagram says.
    pub(super) fn find(
        &self,
        sessions: &[Session],
        meta: &RxMeta,
        bytes: &[u8],
        index_of: impl Fn(&IfName) -> u32,
    ) -> Result<(usize, Packet), Refused> {
        if meta.cut {
            return Err((Refusal::TooLong, None));
        }
        let packet = Packet::parse(bytes).map_err(|malformed| (Refusal::from(malformed), None))?;
        let through = |session: &Session| {
            session.spec.interface.as_ref().is_none_or(|name| meta.ifindex == 0 || index_of(name) == meta.ifindex)
        };
        let to = |session: &Session| match (session.spec.source, meta.destination) {
            (Some(source), Some(destination)) => source == destination,
            _ => true,
        };
        let position = if packet.your_discriminator == 0 {
            let candidates = self.by_neighbor.get(&meta.source).into_iter().flatten().copied();
            let fits = |at: &usize| {
                sessions
                    .get(*at)
                    .is_some_and(|session| session.spec.multihop == meta.multihop && to(session) && through(session))
            };
            candidates.into_iter().find(fits).ok_or((Refusal::NoSession, None))?
        } else {
            let at = self.by_discriminator.get(&packet.your_discriminator).copied();
            at.ok_or((Refusal::NoSession, None))?
        };
        let Some(session) = sessions.get(position) else { return Err((Refusal::NoSession, None)) };
        let refuse = |why| Err((why, Some(position)));
        if session.spec.neighbor != meta.source || !through(session) {
            return refuse(Refusal::Source);
        }
        if session.spec.multihop != meta.multihop {
            return refuse(Refusal::Port);
        }
        let least = session.spec.least_ttl();
        if session.spec.max_hops.is_some() {
            match meta.ttl {
                None => return refuse(Refusal::NoTtl),
                Some(ttl) if ttl < least => return refuse(Refusal::Ttl),
                Some(_) => {}
            }
        }
        if session.state == State::AdminDown {
            return refuse(Refusal::Shutdown);
        }
        Ok((position, packet))
    }
}
