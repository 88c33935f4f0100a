//! The protocol; deterministic. See [`io`] for the whole vocabulary and [`spec`] for what it is told to be.
//!
//! The engine is told facts with a time ([`Engine::handle`]) and answers with actions ([`Engine::poll`]). It has no
//! socket, no clock, no randomness and no log: what it answers depends on what it was told and on nothing else.

pub mod io;
pub mod snapshot;
pub mod spec;

use crate::time::Time;
use io::{Action, Input, Link, Port, Wake};
use snapshot::Snapshot;
use spec::{InstanceId, Spec};
use std::sync::Arc;

/// All virtual routers of one process.
pub struct Engine {
    spec: Arc<Spec>,
}

impl Engine {
    /// Starts every instance of `spec` with `links` as the whole truth about the interfaces.
    pub fn new(spec: Arc<Spec>, links: Vec<Link>, now: Time) -> Engine {
        let _ = (links, now);
        Engine { spec }
    }

    /// Fires everything that is due up to `now`, in order, then takes the news.
    pub fn handle(&mut self, input: Input<'_>, now: Time) {
        let _ = (input, now);
    }

    /// The next thing to do; to be called until `None`. The order is the order that the world must see.
    pub fn poll(&mut self) -> Option<Action> {
        None
    }

    /// When to come back, and why. `None`: only news can change anything.
    pub fn deadline(&self) -> Option<(Time, Wake)> {
        None
    }

    /// Goes over to another Spec: what is the same router by identity keeps its state, counters and deadlines.
    pub fn reload(&mut self, spec: Arc<Spec>, now: Time) {
        let _ = now;
        self.spec = spec;
    }

    /// The read model at `now`.
    pub fn snapshot(&self, now: Time) -> Snapshot {
        Snapshot {
            now,
            unix_micros: 0,
            instances: Vec::new(),
            groups: Vec::new(),
            scripts: Vec::new(),
            trackers: Vec::new(),
            refused: Default::default(),
            startup_delay_left: None,
        }
    }

    /// The sockets that Spec and links call for, each with the instances that hear and speak through it.
    pub fn ports(&self) -> Vec<(Port, Vec<InstanceId>)> {
        Vec::new()
    }

    /// What the engine is told to be at present.
    pub fn spec(&self) -> &Arc<Spec> {
        &self.spec
    }
}
