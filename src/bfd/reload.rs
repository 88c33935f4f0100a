//! Going over to other settings without the peer noticing more than the difference.
//!
//! Sessions pair by what the peer knows them by: neighbour, source, kind of port, interface. The name is a label. A pair
//! keeps state, discriminators, deadlines and its socket; changed intervals go through a poll. What is gone says so to
//! its peer; changed addresses are another session.

use super::io::{Action, Event};
use super::session::Session;
use super::{Engine, demux::Index};
use crate::spec;
use crate::time::Time;
use std::collections::BTreeSet;

impl Engine {
    /// Goes over to these sessions. The same ones yield no action at all.
    pub fn reload(&mut self, specs: &[spec::bfd::Session], now: Time) {
        self.now = self.now.max(now);
        if self.stopped {
            return;
        }
        self.fire();
        self.go_over(specs);
        self.fire();
    }

    pub(super) fn go_over(&mut self, specs: &[spec::bfd::Session]) {
        let same = |session: &Session, spec: &spec::bfd::Session| session.spec == *spec;
        if self.sessions.len() == specs.len() && self.sessions.iter().zip(specs).all(|(s, spec)| same(s, spec)) {
            return self.settle_ports();
        }
        let keeps = |session: &Session| specs.iter().any(|spec| session.spec.same_session(spec));
        let gone: Vec<usize> =
            self.sessions.iter().enumerate().filter(|(_, s)| !keeps(s)).map(|(position, _)| position).collect();
        for position in gone {
            self.with(position, Session::bid_farewell);
            if let Some(session) = self.sessions.get(position) {
                self.out.push_back(Action::Close(session.id));
                self.out.push_back(Action::Report(Event::Removed { name: session.spec.name.clone() }));
            }
        }
        let mut old: Vec<Option<Session>> = std::mem::take(&mut self.sessions).into_iter().map(Some).collect();
        let mut fresh = BTreeSet::new();
        for spec in specs {
            let kept = old.iter_mut().find(|s| s.as_ref().is_some_and(|s| s.spec.same_session(spec)));
            match kept.and_then(Option::take) {
                Some(session) => self.sessions.push(session),
                None => {
                    fresh.insert(self.sessions.len());
                    let (id, discriminator) = (self.fresh_id(), self.fresh_discriminator());
                    self.sessions.push(Session::new(id, spec.clone(), discriminator, self.now));
                    // At once, so that the next one does not draw the same.
                    self.index.note(discriminator);
                    self.out.push_back(Action::Report(Event::Added { name: spec.name.clone() }));
                }
            }
        }
        self.rebuild();
        self.settle_ports();
        for (position, spec) in specs.iter().enumerate() {
            if fresh.contains(&position) {
                let Some(session) = self.sessions.get_mut(position) else { continue };
                session.scope = spec.interface.as_ref().map_or(0, |name| self.places.index(name));
                self.out.push_back(Action::Open(session.id, session.outlet(session.scope)));
            } else {
                let ttl = self.sessions.get(position).map(|session| session.spec.ttl);
                self.with(position, |session, cx| session.reconfigure(spec.clone(), cx));
                if let Some(session) = self.sessions.get(position).filter(|_| ttl != Some(spec.ttl)) {
                    self.out.push_back(Action::Retune(session.id, session.outlet(session.scope)));
                }
            }
            self.look_at(position);
        }
    }

    /// Tables and agenda, after the list of sessions has changed.
    pub(super) fn rebuild(&mut self) {
        self.index = Index::new(&self.sessions);
        self.agenda.clear();
        for (position, session) in self.sessions.iter().enumerate() {
            for (slot, at) in (position * super::SLOTS..).zip(session.deadlines()) {
                if let Ok(slot) = u32::try_from(slot) {
                    self.agenda.set(slot, at);
                }
            }
        }
    }

    /// Which ports are needed follows from the configuration alone.
    pub(super) fn settle_ports(&mut self) {
        let wanted = (
            self.sessions.iter().any(|session| !session.spec.multihop),
            self.sessions.iter().any(|session| session.spec.multihop),
        );
        if wanted != self.wanted {
            self.wanted = wanted;
            self.out.push_back(Action::Listen { single_hop: wanted.0, multihop: wanted.1 });
        }
    }
}
