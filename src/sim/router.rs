//! What the simulator needs of an engine. The real [`Engine`] is one; tests put a broken one in front of it to see that
//! the oracle notices.

use crate::spec::{InstanceId, Spec};
use crate::time::Time;
use crate::vrrp::Engine;
use crate::vrrp::io::{Action, Beginning, Input, Port, Wake};
use crate::vrrp::snapshot::Snapshot;
use std::sync::Arc;

/// The face of [`Engine`], method by method.
pub trait Router {
    fn handle(&mut self, input: Input<'_>, now: Time);
    fn poll(&mut self) -> Option<Action>;
    fn deadline(&self) -> Option<(Time, Wake)>;
    fn reload(&mut self, spec: Arc<Spec>, now: Time);
    fn snapshot(&self, now: Time) -> Snapshot;
    fn ports(&self) -> Vec<(Port, Vec<InstanceId>)>;
}

impl Router for Engine {
    fn handle(&mut self, input: Input<'_>, now: Time) {
        Engine::handle(self, input, now);
    }
    fn poll(&mut self) -> Option<Action> {
        Engine::poll(self)
    }
    fn deadline(&self) -> Option<(Time, Wake)> {
        Engine::deadline(self)
    }
    fn reload(&mut self, spec: Arc<Spec>, now: Time) {
        Engine::reload(self, spec, now);
    }
    fn snapshot(&self, now: Time) -> Snapshot {
        Engine::snapshot(self, now)
    }
    fn ports(&self) -> Vec<(Port, Vec<InstanceId>)> {
        Engine::ports(self)
    }
}

/// Makes the engine of a node that starts.
pub type Make<'a> = dyn Fn(Arc<Spec>, Beginning, Time) -> Box<dyn Router> + 'a;

/// Makes real engines.
pub fn real(spec: Arc<Spec>, world: Beginning, now: Time) -> Box<dyn Router> {
    Box::new(Engine::begin(spec, world, now))
}
