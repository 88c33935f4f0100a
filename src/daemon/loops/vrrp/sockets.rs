//! The sockets that the instances need: which are asked for, what the engine is told of them, and what waits for one.

use super::carry::Driver;
use super::{FromEngine, PARKED, PORT_PATIENCE, PORT_RETRY};
use crate::kernel::netlink::ToKernel;
use crate::kernel::socket::{Opening, is_own_refusal};
use crate::spec::InstanceId;
use crate::time::Time;
use crate::vrrp::io::{Input, Port, SendFailure, SocketState, Transmit};
use socket2::Socket;
use std::collections::HashMap;
use std::sync::Arc;

impl Driver {
    /// What the instances ask for of their sockets; takes hold when the ports are settled next.
    pub(super) fn share_buffers(&mut self) {
        let instances = (0..).map(InstanceId).zip(&self.engine.spec().instances);
        self.sockets.own_buffers(instances.filter_map(|(id, spec)| Some((id, spec.rx_buffer?))).collect());
        self.ports_again = true;
    }

    pub(super) fn sync_ports(&mut self, now: Time) {
        let ports = self.engine.ports();
        let again = std::mem::take(&mut self.ports_again) || self.ports_retry <= now;
        self.ports_retry = Time::NEVER;
        let first = self.ports_version.replace(self.engine.ports_version()).is_none();
        if ports == self.ports && !again && !first {
            return;
        }
        self.ports = ports;
        let engine = &self.engine;
        let changes = self.sockets.want(&self.ports, |index| engine.mtu(index), now);
        if !changes.close.is_empty() {
            let _ = self.doors.orders.send(ToKernel::Close(changes.close));
        }
        if !changes.open.is_empty() {
            let _ = self.doors.orders.send(ToKernel::Open { sockets: changes.open, settings: self.sockets.settings() });
        }
        if self.sockets.lacks() {
            self.ports_retry = now + PORT_RETRY;
        }
        // Nobody is to wait for a socket that is not called for.
        let all = 0..if first { u32::try_from(self.engine.spec().instances.len()).unwrap_or(0) } else { 0 };
        let rest = all.map(InstanceId).chain(self.told.keys().copied());
        let mut states: HashMap<InstanceId, SocketState> = rest.map(|id| (id, SocketState::Open)).collect();
        for (port, instances) in &self.ports {
            let state = self.sockets.state(port, now, PORT_PATIENCE);
            states.extend(instances.iter().map(|instance| (*instance, state.clone())));
        }
        self.tell_sockets(states, first, now);
    }

    /// Tells the engine who can hear and speak, where that is different from what it was told or `all`.
    fn tell_sockets(&mut self, states: HashMap<InstanceId, SocketState>, all: bool, now: Time) {
        for (instance, state) in states {
            let before = match state {
                SocketState::Open => self.told.remove(&instance),
                SocketState::Opening | SocketState::Refused { .. } => self.told.insert(instance, state.clone()),
            };
            if all || before.unwrap_or_default() != state {
                self.engine.handle(Input::Socket { instance, state }, now);
            }
        }
    }

    /// The kernel thread has opened a socket, or could not.
    pub(super) fn opened(&mut self, opening: Opening, outcome: Result<Arc<Socket>, Box<str>>, now: Time) {
        let port = opening.port.clone();
        let refused = |state: SocketState| matches!(state, SocketState::Refused { .. });
        let before = refused(self.sockets.state(&port, now, PORT_PATIENCE));
        if let Err(reason) = &outcome
            && !before
        {
            let text = format!("Unable to open a {} socket{}: {reason}", port.family, on_interface(&port));
            let _ = self.doors.services.send(FromEngine::Trouble(None, text.into()));
        }
        if let Some(nobodys) = self.sockets.answer(opening, outcome) {
            let _ = self.doors.orders.send(ToKernel::Close(vec![nobodys]));
        }
        let state = self.sockets.state(&port, now, PORT_PATIENCE);
        let states = self.sockets.instances(&port).iter().map(|instance| (*instance, state.clone())).collect();
        self.tell_sockets(states, false, now);
        if self.sockets.lacks() {
            self.ports_retry = self.ports_retry.min(now + PORT_RETRY);
        }
        let waiting = std::mem::take(&mut self.parked);
        for (key, (since, transmit)) in waiting {
            if now.since(since) > PARKED {
                continue;
            }
            if self.told.contains_key(&key.0) {
                self.parked.insert(key, (since, transmit));
            } else {
                self.transmit(transmit, now);
            }
        }
    }

    pub(super) fn transmit(&mut self, transmit: Transmit, now: Time) {
        let (instance, destination) = (transmit.instance, transmit.destination);
        if self.told.get(&instance) == Some(&SocketState::Opening) {
            self.parked.insert((instance, destination), (now, transmit));
            return;
        }
        match self.sockets.send(&transmit) {
            // Nearly always there is none, and then none is looked for.
            Ok(()) if !self.unsent.is_empty() && self.unsent.remove(&(instance, destination)) => {
                self.engine.handle(Input::Sent { instance, destination, failure: None }, now);
            }
            Ok(()) => {}
            // That there is no socket has been told already.
            Err(error) if error.kind() == std::io::ErrorKind::NotConnected => {}
            Err(error) => {
                if self.unsent.insert((instance, destination)) {
                    let failure = SendFailure { reason: error.to_string().into(), ours: is_own_refusal(&error) };
                    self.engine.handle(Input::Sent { instance, destination, failure: Some(failure) }, now);
                }
            }
        }
    }
}

fn on_interface(port: &Port) -> String {
    port.ifindex.map_or(String::new(), |index| format!(" on interface index {index}"))
}
