//! Checks that are told instead of made: tracked files and BFD sessions.

use super::Balancer;
use super::check::Place;
use super::io::{Event, Symptom, TrackValue, Tracker, Weighing};
use super::server::{clamped, file_part};
use crate::spec::balance::CheckerKind;

/// Who tells this kind of check, if it is told.
pub(super) fn teller(kind: &CheckerKind) -> Option<Tracker> {
    match kind {
        CheckerKind::File { file, .. } => Some(Tracker::File(file.clone())),
        CheckerKind::Bfd { session } => Some(Tracker::Bfd(session.clone())),
        CheckerKind::Tcp
        | CheckerKind::Ping
        | CheckerKind::Udp { .. }
        | CheckerKind::Smtp { .. }
        | CheckerKind::Http(_)
        | CheckerKind::Dns { .. }
        | CheckerKind::Misc { .. } => None,
    }
}

/// Whether a value is good, and what it adds to the weight. `None`: it is not a value of this kind.
pub(super) fn meaning(kind: &CheckerKind, value: TrackValue) -> Option<(bool, i64)> {
    match (kind, value) {
        (CheckerKind::File { weight, reverse, .. }, TrackValue::Number(number)) => {
            let part = file_part(number, weight.unwrap_or(1), *reverse);
            Some((part.is_some(), part.unwrap_or(0)))
        }
        (CheckerKind::Bfd { .. }, TrackValue::Up(up)) => Some((up, 0)),
        _ => None,
    }
}

impl Balancer {
    pub(super) fn tracked(&mut self, tracker: Tracker, value: TrackValue) {
        // A BFD session tells its state again now and then; only a change, or the first word, is news.
        if self.trackers.insert(tracker.clone(), value) == Some(value) {
            return;
        }
        for place in self.told.get(&tracker).cloned().unwrap_or_default() {
            self.seat_told(place, value);
        }
    }

    fn seat_told(&mut self, place: Place, value: TrackValue) {
        let Some(server) = self.server_mut(place) else { return };
        let Some(seat) = server.seats.get_mut(place.seat as usize) else { return };
        let Some((good, part)) = meaning(seat.kind(), value) else { return };
        let was = std::mem::replace(&mut seat.part, part);
        let (check, changed) = (seat.info.clone(), seat.up != good);
        let symptom = match value {
            _ if good => None,
            TrackValue::Number(number) => Some(Symptom::File(number)),
            TrackValue::Up(_) => Some(Symptom::SessionDown),
        };
        match (changed, seat.kind()) {
            (true, CheckerKind::File { .. }) => {
                // What it weighs is told by its coming and going.
                server.shown = clamped(server.weight());
                self.events.push(Event::FileFault { check, fault: !good });
            }
            (true, _) => {
                let verdict = match good {
                    true => super::Verdict::Good { first: !seat.ran, was_up: seat.up },
                    false => super::Verdict::Bad { first: !seat.ran },
                };
                let finding = symptom.clone().map_or(super::Finding::Good, super::Finding::Bad);
                let was_up = seat.up;
                self.events.push(Event::Probed { check, page: 0, finding, verdict, was_up });
            }
            (false, _) if was != part => {
                let number = if let TrackValue::Number(number) = value { number } else { 0 };
                self.weigh(place, Weighing::File(check, number));
            }
            (false, _) => {}
        }
        self.report(place, good, symptom);
    }
}
