//! From a claim that the kernel has taken to announcements on the wire: what came of a wish, what was put back after
//! somebody took it, and the rounds that follow, at once or spaced.
//!
//! When a round is due is the business of [`super::garp`]; which state an instance is in, of [`super::instance`].

use super::Alarm;
use super::Engine;
use super::garp::{self, Rounds};
use super::io::{Action, Announce, Event, Outcome};
use super::settle;
use super::state::Claimed;
use crate::spec::{IfName, InstanceId};

impl Engine {
    pub(super) fn applied(&mut self, id: InstanceId, outcome: Outcome) {
        let Some(spec) = self.spec.instances.get(id.index()) else { return };
        let (total, garp) = (spec.claim.addresses.len() as u32, spec.garp);
        if let Outcome::Failed { reason } = &outcome {
            self.out.push_back(Action::Report(Event::ClaimFailed { instance: id, reason: reason.clone() }));
        }
        let now = self.now;
        let rounds = self.with(id, |instance, _| {
            if !instance.is_master() {
                return Rounds::default();
            }
            match outcome {
                Outcome::Ready { addresses, announced } => {
                    let mut rounds = instance.plan.arrived(addresses, total, &garp, now);
                    if announced {
                        instance.counters.garps_sent += rounds.over.count();
                        (rounds.times, rounds.goes_on) = (rounds.times.saturating_sub(1), true);
                    }
                    rounds
                }
                Outcome::Complete => {
                    instance.set_claimed(Claimed::Whole);
                    instance.plan.complete(total, false, &garp)
                }
                Outcome::Failed { reason } => {
                    instance.set_claimed(Claimed::Refused(reason));
                    instance.plan.complete(total, true, &garp)
                }
            }
        });
        self.announce(id, &rounds.unwrap_or_default());
    }

    /// Another program took addresses away and the kernel layer has put them back: the LAN has to hear of it.
    pub(super) fn healed(&mut self, id: InstanceId, addresses: std::ops::Range<u32>) {
        let Some(spec) = self.spec.instances.get(id.index()) else { return };
        let repeat = spec.garp.repeat;
        let known = self.with(id, |instance, _| {
            instance.counters.healed += 1;
            let mut known = garp::Ranges::default();
            for position in addresses.clone().take(u16::MAX.into()).filter(|p| instance.plan.ready.contains(*p)) {
                known.add(position..position + 1);
            }
            known
        });
        self.out.push_back(Action::Report(Event::Healed { instance: id, addresses }));
        self.announce(id, &Rounds { over: known.unwrap_or_default(), times: repeat, ..Rounds::default() });
    }

    /// These interfaces have another hardware address: who knew the old one speaks to nobody until its cache forgets it. What a
    /// master owns there is announced; so is the source of a unicast instance, which a backup is sent adverts to.
    pub(super) fn readdressed(&mut self, names: &[IfName]) {
        for id in (0..self.instances.len() as u32).map(InstanceId) {
            let Some(spec) = self.spec.instances.get(id.index()) else { continue };
            let (repeat, base) = (spec.garp.repeat, spec.interface.as_ref());
            let on_base = base.is_some_and(|base| names.contains(base));
            let over = self.instances.get(id.index()).filter(|instance| instance.is_master()).map(|instance| {
                let own = instance.binding.link_name.as_ref().or(base);
                let mut over = garp::Ranges::default();
                for position in instance.plan.ready.iter().flatten() {
                    let address = spec.claim.addresses.get(position as usize);
                    let interface = address.and_then(|address| address.interface.as_ref()).or(own);
                    if interface.is_some_and(|name| names.contains(name)) {
                        over.add(position..position + 1);
                    }
                }
                over
            });
            if on_base {
                self.with(id, |instance, cx| instance.announce_source(cx));
            }
            self.announce(id, &Rounds { over: over.unwrap_or_default(), times: repeat, ..Rounds::default() });
        }
    }

    /// The kernel layer has removed what only a master has.
    pub(super) fn swept(&mut self, id: InstanceId, item: Box<str>) {
        let role = self.with(id, |instance, _| {
            instance.counters.swept += 1;
            instance.role()
        });
        if let Some(role) = role {
            self.out.push_back(Action::Report(Event::Swept { instance: id, item, role }));
        }
    }

    /// Puts rounds of announcements out, spaced where that is asked for.
    pub(super) fn announce(&mut self, id: InstanceId, rounds: &Rounds) {
        if rounds.times == 0 || rounds.over.is_empty() {
            return;
        }
        let paced = self.index.is_paced(id);
        let Some((instance, spec)) = self.instances.get_mut(id.index()).zip(self.spec.instances.get(id.index())) else {
            return;
        };
        let mut single = Vec::new();
        if rounds.extra {
            single = settle::one_each_interface(spec, &rounds.over);
        } else if paced {
            single = rounds.over.iter().flatten().collect();
        }
        if single.is_empty() && !rounds.extra {
            for round in 0..rounds.times {
                let begins = round == 0 && !rounds.goes_on;
                for addresses in rounds.over.iter() {
                    instance.counters.garps_sent += u64::from(addresses.end - addresses.start);
                    self.out.push_back(Action::Announce(Announce { instance: id, addresses, begins }));
                }
            }
            return;
        }
        for position in single {
            match self.index.lane(id, position) {
                Some(lane) => self.lanes.add(lane, id, position, rounds.times, !rounds.goes_on),
                None => {
                    for round in 0..rounds.times {
                        let (addresses, begins) = (position..position + 1, round == 0 && !rounds.goes_on);
                        instance.counters.garps_sent += 1;
                        self.out.push_back(Action::Announce(Announce { instance: id, addresses, begins }));
                    }
                }
            }
        }
        if paced {
            self.run_lanes();
        }
    }

    pub(super) fn run_lanes(&mut self) {
        let instances = &mut self.instances;
        self.lanes.run(self.now, &mut self.out, |id| {
            if let Some(instance) = instances.get_mut(id.index()) {
                instance.counters.garps_sent += 1;
            }
        });
        let at = self.lanes.deadline();
        self.agenda.set(self.slot(Alarm::Lanes), at);
    }
}
