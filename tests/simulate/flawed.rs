//! A real engine with something wrong around it: what the oracle has to notice.

use std::collections::VecDeque;
use std::sync::Arc;
use vipd::sim::Router;
use vipd::spec::{InstanceId, Spec};
use vipd::time::{Interval, Time};
use vipd::vrrp::Engine;
use vipd::vrrp::io::{Action, Announce, Cause, Event, Input, LinkFact, Port, Role, Tracker, Wake};
use vipd::vrrp::snapshot::Snapshot;
use vipd::wire::Priority;

/// Puts a flaw around an engine that begins.
pub fn flawed(inner: Engine, flaw: Flaw, now: Time) -> Box<dyn Router> {
    Box::new(Flawed { inner, flaw, extra: VecDeque::new(), count: 0, now })
}

/// Ways in which an engine can be wrong, one for each law.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Flaw {
    Asleep,
    BlindToLinks,
    BlindToSessions,
    AnnouncesAtOnce,
    Babbles,
    ReloadsByDroppingAll,
    Deaf,
    KeepsAddresses,
    SkipsAdverts,
    DeadlineStands,
    HidesBackup,
    DeafToGoodbyes,
    NeverStopsTalking,
    YieldsToWorse,
    Oversleeps,
    LeavesInSilence,
    MissesLinksThatComeUp,
}

/// A real engine with something wrong around it.
struct Flawed {
    inner: Engine,
    flaw: Flaw,
    extra: VecDeque<Action>,
    count: u64,
    now: Time,
}

impl Router for Flawed {
    fn handle(&mut self, input: Input<'_>, now: Time) {
        self.now = now;
        let goodbye = match &input {
            Input::Datagram { bytes, .. } => bytes.get(22) == Some(&0),
            _ => false,
        };
        let lost = match (self.flaw, &input) {
            (Flaw::Asleep, Input::Tick | Input::Datagram { .. }) => true,
            (Flaw::Deaf, Input::Datagram { .. }) => true,
            (Flaw::DeafToGoodbyes, Input::Datagram { .. }) => goodbye,
            (Flaw::BlindToLinks, Input::Link(_)) => true,
            (Flaw::BlindToSessions, Input::Tracked { tracker, .. }) => matches!(tracker, Tracker::Bfd(_)),
            (Flaw::MissesLinksThatComeUp, Input::Link(LinkFact::Changed(link))) => link.running,
            _ => false,
        };
        if !lost {
            self.inner.handle(input, now);
        }
    }

    fn poll(&mut self) -> Option<Action> {
        if let Some(action) = self.extra.pop_front() {
            return Some(action);
        }
        let action = self.inner.poll();
        match (self.flaw, action?) {
            (Flaw::AnnouncesAtOnce, Action::Own(instance, claim)) => {
                self.extra.push_back(Action::Announce(Announce { instance, addresses: 0..1, begins: true }));
                Some(Action::Own(instance, claim))
            }
            (Flaw::Babbles, Action::Transmit(transmit)) => {
                self.extra.extend((0..40).map(|_| Action::Transmit(transmit.clone())));
                Some(Action::Transmit(transmit))
            }
            (Flaw::NeverStopsTalking, Action::Transmit(transmit)) => {
                self.extra.push_back(Action::Transmit(transmit.clone()));
                self.extra.extend((0..100_000).map(|_| Action::Report(Event::Reloaded)));
                Some(Action::Transmit(transmit))
            }
            (Flaw::KeepsAddresses, Action::Disown(_)) => self.poll(),
            (Flaw::LeavesInSilence, Action::Transmit(transmit)) if transmit.bytes.get(22) == Some(&0) => self.poll(),
            (Flaw::SkipsAdverts, Action::Transmit(transmit)) => {
                self.count += 1;
                if self.count.is_multiple_of(3) { self.poll() } else { Some(Action::Transmit(transmit)) }
            }
            (Flaw::HidesBackup, Action::Report(Event::Became { to: Role::Backup, .. })) => self.poll(),
            (Flaw::YieldsToWorse, Action::Report(Event::Became { instance, from, to, why })) => {
                let why = match why {
                    Cause::Outranked { by, .. } => Cause::Outranked { by, priority: Priority(1) },
                    other => other,
                };
                Some(Action::Report(Event::Became { instance, from, to, why }))
            }
            (_, action) => Some(action),
        }
    }

    fn deadline(&self) -> Option<(Time, Wake)> {
        let (at, wake) = self.inner.deadline()?;
        match self.flaw {
            Flaw::DeadlineStands => Some((self.now, wake)),
            Flaw::Asleep => None,
            Flaw::Oversleeps if matches!(wake, Wake::MasterDown(_)) => Some((at + Interval::from_secs(2), wake)),
            _ => Some((at, wake)),
        }
    }

    fn reload(&mut self, spec: Arc<Spec>, now: Time) {
        if self.flaw == Flaw::ReloadsByDroppingAll {
            self.extra.push_back(Action::Disown(InstanceId(0)));
            let claim = spec.instances[0].claim.clone();
            self.extra.push_back(Action::Own(InstanceId(0), claim));
        }
        self.inner.reload(spec, now);
    }

    fn snapshot(&self, now: Time) -> Snapshot {
        self.inner.snapshot(now)
    }

    fn ports(&self) -> Vec<(Port, Vec<InstanceId>)> {
        self.inner.ports()
    }
}
