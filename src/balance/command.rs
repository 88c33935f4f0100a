//! What operators ask for, and the end.
//!
//! An operator's weight and a drain stay with the server over reloads and hand-overs until they are taken back.

use super::Balancer;
use super::check::Place;
use super::io::{Action, Command, Event, Selection, Weighing};
use super::server::WEIGHT_MAX;
use crate::spec::balance::FlushOnStop;

impl Balancer {
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Stop { keep } => self.stop(keep),
            Command::Drain(which) => self.operate(&which, |server| server.drained = true),
            Command::Undrain(which) => self.operate(&which, |server| server.drained = false),
            Command::Weigh(which, weight) => {
                self.operate(&which, |server| server.weighed = weight.map(|weight| weight.min(WEIGHT_MAX)));
            }
        }
    }

    /// Does something to the chosen servers; those to which it is news are told of.
    fn operate(&mut self, which: &Selection, act: impl Fn(&mut super::server::Server)) {
        for place in self.chosen(which) {
            let Some(server) = self.server_mut(place) else { continue };
            let before = (server.drained, server.weighed);
            act(server);
            let after = (server.drained, server.weighed);
            if before == after {
                continue;
            }
            let weight = if after.0 { Some(0) } else { after.1 };
            let event = Event::Commanded { server: server.info.clone(), weight };
            self.events.push(event);
            self.weigh(place, Weighing::Operator);
        }
    }

    fn chosen(&self, which: &Selection) -> Vec<Place> {
        let mut found = Vec::new();
        for (service, own) in (0..).zip(&self.services) {
            if which.service.as_ref().is_some_and(|text| *text != own.info.text) {
                continue;
            }
            for (server, own) in (0..).zip(&own.servers) {
                let endpoint = own.info.endpoint;
                if endpoint.address == which.address && which.port.is_none_or(|port| endpoint.port == Some(port)) {
                    found.push(Place { service, server, seat: 0 });
                }
            }
        }
        found
    }

    /// How many servers a command would reach.
    pub fn reaches(&self, which: &Selection) -> usize {
        self.chosen(which).len()
    }

    fn stop(&mut self, keep: bool) {
        self.stopped = true;
        self.agenda.clear();
        for attempt in std::mem::take(&mut self.running).into_keys().collect::<std::collections::BTreeSet<_>>() {
            self.out.push_back(Action::Abandon(attempt));
        }
        let how = self.spec.settings.flush_on_stop;
        if !keep {
            self.out.extend(self.marks.withdraw());
            match how {
                FlushOnStop::All => self.out.push_back(Action::Flush),
                _ => self.out.extend(self.table.keys().map(|key| Action::Withdraw(*key))),
            }
            self.table.clear();
            for service in &self.services {
                let mut count = service.servers.count();
                if how == FlushOnStop::Each {
                    for server in &service.servers {
                        // Behind a sorry server it is not in the table, and so does not go out of it.
                        let (alive, present) = (server.alive(), service.holds(server));
                        let (server, told) = (server.info.clone(), service.info.omega && alive && present);
                        count.up -= u32::from(alive);
                        self.events.push(Event::ServerStopped { server, alive, present, told, count });
                    }
                }
                let (service, told) = (service.info.clone(), service.info.omega);
                self.events.push(Event::ServiceStopped { service, told, count });
            }
        }
        self.synchronise();
        if self.spec.settings.timeouts.is_anything() {
            self.out.push_back(Action::Timeouts(None));
        }
    }
}
