//! What operators ask for: stop, drain, fail over, announce once more.
//!
//! A command that moves a router moves its whole sync group, and every member says goodbye with priority 0, so that the
//! other side takes all of it over at once instead of waiting for timers.

use super::Engine;
use super::around::Different;
use super::garp::Rounds;
use super::io::{Action, Cause, Command, Event};
use super::snapshot::Counters;
use crate::spec::{InstanceId, ScriptId};
use crate::wire::Priority;
use std::collections::BTreeSet;

impl Engine {
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Stop { release } => self.stop(release),
            Command::ClearCounters => {
                for instance in self.instances.iter_mut() {
                    instance.counters = Counters::default();
                    instance.refused_speakers.clear();
                    instance.rivals.clear();
                }
                self.refused.clear();
                self.strangers.clear();
            }
            Command::Reassure => {
                for id in self.masters() {
                    self.with(id, |instance, cx| instance.advertise(instance.priority(), cx));
                }
            }
            Command::Announce { instance } => {
                for id in self.masters().into_iter().filter(|id| instance.is_none_or(|wanted| wanted == *id)) {
                    let over = self.instances.get(id.index()).map(|instance| instance.plan.ready.clone());
                    self.announce(id, &Rounds { over: over.unwrap_or_default(), times: 1, ..Rounds::default() });
                }
            }
            Command::Drain { instance } => {
                for id in self.concerned(instance) {
                    self.with(id, |instance, cx| instance.set_drained(true, cx));
                }
            }
            Command::Undrain { instance } => {
                for id in self.concerned(instance) {
                    self.with(id, |instance, cx| instance.set_drained(false, cx));
                }
            }
            Command::Failover { instance } => {
                let concerned = self.concerned(instance);
                for id in self.masters().into_iter().filter(|id| concerned.contains(id)) {
                    self.with(id, |instance, cx| instance.hand_over(Cause::Failover, cx));
                }
            }
        }
    }

    fn masters(&self) -> Vec<InstanceId> {
        let ids = (0..).map(InstanceId).zip(&self.instances);
        ids.filter(|(_, instance)| instance.is_master()).map(|(id, _)| id).collect()
    }

    /// One instance and the rest of its group, or all.
    fn concerned(&self, instance: Option<InstanceId>) -> BTreeSet<InstanceId> {
        let Some(id) = instance else { return (0..self.instances.len() as u32).map(InstanceId).collect() };
        let group = self.spec.instances.get(id.index()).and_then(|spec| spec.group);
        let group = group.and_then(|group| self.spec.groups.get(group.index()));
        group.into_iter().flat_map(|group| group.members.iter().copied()).chain([id]).collect()
    }

    /// The end: everybody is told first, then everything is given up. Nothing is due afterwards and no news is taken.
    fn stop(&mut self, release: bool) {
        let masters = self.masters();
        for id in &masters {
            self.with(*id, |instance, cx| instance.advertise(Priority::LEAVING, cx));
        }
        if release {
            self.out.extend(masters.into_iter().map(Action::Disown));
        }
        self.around.change(|facts| {
            for (id, monitor) in (0..).map(ScriptId).zip(&mut facts.scripts) {
                monitor.stop(id, &mut self.out);
            }
            Different
        });
        for position in 0..self.instances.len() as u32 {
            self.out.push_back(Action::Report(Event::Stopped { instance: InstanceId(position) }));
        }
        self.agenda.clear();
        self.unsettled.clear();
        self.stirred.clear();
        self.stopped = true;
    }
}
