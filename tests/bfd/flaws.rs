//! A real engine with something wrong around it, one flaw a law: a law that nothing can break proves nothing.

use crate::laws::real;
use std::collections::VecDeque;
use vipd::bfd::io::{Action, Beginning, Event, Input, Level, SessionId, State};
use vipd::bfd::snapshot::Snapshot;
use vipd::sim::bfd::{Law, Sessions, Weather, storm};
use vipd::spec::bfd::Session;
use vipd::time::{Interval, Time};
use vipd::wire::bfd::Packet;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Flaw {
    SpeaksTwice,
    SleepsTooLong,
    NeverSaysInit,
    SwallowsFinals,
    Chatters,
    IgnoresQuiet,
    ReloadSaysAll,
    HidesDown,
    NoCause,
    TakesAnyTtl,
    PassiveSpeaks,
    /// Announces the fast interval while it speaks slowly, as keepalived does around a change.
    PromisesTooMuch,
    /// Packets that waited in the socket count from when they were read.
    IgnoresStamps,
}

struct Flawed {
    inner: Box<dyn Sessions>,
    flaw: Flaw,
    extra: VecDeque<Action>,
    last: Option<(SessionId, Packet)>,
    now: Time,
    /// When the process went on after a stop.
    woken: Option<Time>,
}

impl Sessions for Flawed {
    fn handle(&mut self, input: Input<'_>, now: Time) {
        self.now = now;
        match (self.flaw, &input) {
            (Flaw::SleepsTooLong, Input::Tick) => return self.inner.handle(input, now + Interval::from_millis(7)),
            (Flaw::TakesAnyTtl, Input::Packet { meta, bytes }) => {
                let meta = vipd::bfd::io::RxMeta { ttl: Some(255), ..*meta };
                return self.inner.handle(Input::Packet { meta, bytes }, now);
            }
            (Flaw::IgnoresQuiet, Input::Packet { meta, bytes }) if bytes.len() == 24 => {
                let mut bytes = bytes.to_vec();
                bytes[1] &= !2;
                return self.inner.handle(Input::Packet { meta: *meta, bytes: &bytes }, now);
            }
            (Flaw::Chatters, Input::Packet { .. }) => {
                if let Some((id, packet)) = self.last {
                    let other = if packet.state == State::Up { State::Init } else { State::Down };
                    let echo = Packet { state: other, poll: false, is_final: false, ..packet };
                    self.extra.push_back(Action::Send(id, echo.emit()));
                }
            }
            (Flaw::IgnoresStamps, Input::Packet { .. }) => {
                let read = self.woken.unwrap_or(now);
                return self.inner.handle(input, read.max(now));
            }
            _ => {}
        }
        self.woken = None;
        self.inner.handle(input, now);
    }

    fn poll(&mut self) -> Option<Action> {
        if let Some(action) = self.extra.pop_front() {
            return Some(action);
        }
        let action = self.inner.poll()?;
        if let Action::Send(id, bytes) = &action
            && let Ok(packet) = Packet::parse(bytes)
        {
            self.last = Some((*id, packet));
            match self.flaw {
                Flaw::SwallowsFinals if packet.is_final => return self.poll(),
                Flaw::SpeaksTwice if packet.state == State::Up && !packet.is_final => {
                    self.extra.push_back(action.clone());
                }
                Flaw::PromisesTooMuch if packet.state != State::Up => {
                    return Some(Action::Send(*id, Packet { min_tx: 10_000, ..packet }.emit()));
                }
                // The peer never learns that it is heard.
                Flaw::NeverSaysInit if packet.state == State::Init => return self.poll(),
                _ => {}
            }
        }
        match (self.flaw, &action) {
            (Flaw::NoCause, Action::Report(Event::Became { to: State::Down, .. })) => return self.poll(),
            (Flaw::PassiveSpeaks, Action::Open(id, _)) => {
                let silent =
                    Packet::parse(&[0x20, 0x40, 5, 24, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0]);
                if let Ok(packet) = silent {
                    self.extra.push_back(Action::Send(*id, packet.emit()));
                }
            }
            _ => {}
        }
        Some(action)
    }

    fn deadline(&self) -> Option<Time> {
        self.inner.deadline()
    }

    fn reload(&mut self, specs: &[Session], now: Time) {
        self.inner.reload(specs, now);
        if let (Flaw::ReloadSaysAll, Some((id, packet))) = (self.flaw, self.last) {
            self.extra.push_back(Action::Send(id, Packet { poll: false, is_final: false, ..packet }.emit()));
        }
    }

    fn snapshot(&self, now: Time) -> Snapshot {
        let mut snapshot = self.inner.snapshot(now);
        if self.flaw == Flaw::HidesDown {
            for view in &mut snapshot.sessions {
                view.level = Level { up: true, held: None };
            }
        }
        snapshot
    }

    fn woken_late(&mut self, at: Time, by: Interval) {
        self.woken = Some(at);
        self.inner.woken_late(at, by);
    }

    fn find(&self, name: &str) -> Option<SessionId> {
        self.inner.find(name)
    }

    fn levels(&self) -> Vec<(Box<str>, Level)> {
        self.inner.levels()
    }
}

#[test]
fn every_flaw_breaks_its_law() {
    let rows = [
        (Flaw::SpeaksTwice, Law::Cadence),
        (Flaw::SleepsTooLong, Law::Detection),
        (Flaw::NeverSaysInit, Law::ComesUp),
        (Flaw::SwallowsFinals, Law::PollAnswered),
        (Flaw::Chatters, Law::NoPingPong),
        (Flaw::IgnoresQuiet, Law::Quiet),
        (Flaw::ReloadSaysAll, Law::ReloadMovesNothing),
        (Flaw::HidesDown, Law::Level),
        (Flaw::NoCause, Law::OneCause),
        (Flaw::TakesAnyTtl, Law::RefusedChangesNothing),
        (Flaw::PassiveSpeaks, Law::PassiveWaits),
        (Flaw::PromisesTooMuch, Law::Rests),
        (Flaw::IgnoresStamps, Law::LateFacts),
    ];
    for (flaw, law) in rows {
        let make = |specs: &[Session], world: Beginning| -> Box<dyn Sessions> {
            let inner = real(specs, world);
            let now = Time::ZERO;
            Box::new(Flawed { inner, flaw, extra: VecDeque::new(), last: None, now, woken: None })
        };
        let mut broken = Vec::new();
        for seed in 0..400 {
            broken.extend(storm(seed, Weather::default(), &make).into_iter().map(|(_, violation)| violation.law));
            if broken.contains(&law) {
                break;
            }
        }
        assert!(broken.contains(&law), "{flaw:?} does not break {law:?}: {broken:?}");
    }
}
