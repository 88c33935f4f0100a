//! BFD sessions in the simulator: what it needs of an engine, the model that every session is compared with, the laws,
//! and a world of two servers that have nothing but sessions.
//!
//! [`Watch`] is fed with what one engine is told and what it answers, and compares it with the table-only session of
//! [`model`]; whoever runs engines (the worlds of this simulator, [`Duo`]) has one for each. It never touches the engine.

mod duo;
pub(super) mod far;
mod model;
pub(super) mod seat;
mod watch;
mod weather;

pub use duo::{Duo, Make, Path, Side};
pub use watch::{Law, Violation, Watch};
pub use weather::{Weather, plain, storm};

use crate::bfd::Engine;
use crate::bfd::io::{Action, Input, Level, SessionId};
use crate::bfd::snapshot::Snapshot;
use crate::spec::bfd::Session;
use crate::time::{Interval, Time};

/// The face of [`Engine`], method by method: tests put a broken one in front of it to see that the laws notice.
pub trait Sessions {
    fn handle(&mut self, input: Input<'_>, now: Time);
    fn poll(&mut self) -> Option<Action>;
    fn deadline(&self) -> Option<Time>;
    fn reload(&mut self, specs: &[Session], now: Time);
    fn snapshot(&self, now: Time) -> Snapshot;
    fn woken_late(&mut self, at: Time, by: Interval);
    fn find(&self, name: &str) -> Option<SessionId>;
    fn levels(&self) -> Vec<(Box<str>, Level)>;
}

impl Sessions for Engine {
    fn handle(&mut self, input: Input<'_>, now: Time) {
        Engine::handle(self, input, now);
    }
    fn poll(&mut self) -> Option<Action> {
        Engine::poll(self)
    }
    fn deadline(&self) -> Option<Time> {
        Engine::deadline(self)
    }
    fn reload(&mut self, specs: &[Session], now: Time) {
        Engine::reload(self, specs, now);
    }
    fn snapshot(&self, now: Time) -> Snapshot {
        Engine::snapshot(self, now)
    }
    fn woken_late(&mut self, at: Time, by: Interval) {
        Engine::woken_late(self, at, by);
    }
    fn find(&self, name: &str) -> Option<SessionId> {
        Engine::find(self, name)
    }
    fn levels(&self) -> Vec<(Box<str>, Level)> {
        Engine::levels(self).map(|(spec, level)| (spec.name.clone(), level)).collect()
    }
}
