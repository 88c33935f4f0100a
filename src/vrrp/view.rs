//! Making the [`Snapshot`]: a copy of the state in the words that people and tools see.

use super::Engine;
use super::instance::Instance;
use super::io::{Role, Wake};
use super::snapshot::{
    ContributionView, GroupView, InstanceView, LinkView, MasterView, NextView, PortView, ReplacedView, RivalView,
    ScriptView, SleptView, Snapshot, SpeakerView, TrackerView,
};
use super::speakers::{Refused, STAYS};
use super::state::{Claimed, Patience, State};
use super::track::name_of;
use crate::spec::{InstanceId, InstanceSpec, Transport};
use crate::time::{Interval, Time};
use crate::wire::Priority;
use std::net::IpAddr;
use std::sync::Arc;

impl Engine {
    pub(super) fn view(&self, now: Time) -> Snapshot {
        let name =
            |id: &InstanceId| self.spec.instances.get(id.index()).map(|spec| spec.name.clone()).unwrap_or_default();
        Snapshot {
            now,
            unix_micros: self.around.wall.unix(now),
            instances: self.view_instances(now),
            groups: self
                .spec
                .groups
                .iter()
                .zip(&self.groups)
                .map(|(group, state)| GroupView {
                    name: group.name.clone(),
                    state: *state,
                    members: group.members.iter().map(name).collect(),
                })
                .collect(),
            scripts: self
                .spec
                .scripts
                .iter()
                .zip(&self.around.scripts)
                .map(|(script, monitor)| ScriptView {
                    name: script.name.clone(),
                    good: monitor.good(script),
                    running: monitor.running(),
                    last_exit: monitor.last_exit,
                    last_started: monitor.last_started,
                    result: monitor.result,
                })
                .collect(),
            trackers: self.view_trackers(),
            refused: self.refused.clone(),
            strangers: self.view_strangers(now),
            links: self
                .around
                .links
                .iter()
                .map(|known| LinkView { link: known.link.clone(), changing: known.is_changing() })
                .collect(),
            ports: self
                .ports()
                .into_iter()
                .map(|(port, instances)| PortView { port, instances, descriptor: None })
                .collect(),
            slept: self.slept.map(|(until, by)| SleptView { until, by }),
            startup_delay_left: (now < self.not_before).then(|| self.not_before.since(now)),
        }
    }

    fn view_instances(&self, now: Time) -> Vec<Arc<InstanceView>> {
        self.instances.show(|position, instance, shown| {
            let id = InstanceId(u32::try_from(position).unwrap_or(u32::MAX));
            let spec = self.spec.instances.get(position)?;
            let known = shown.at(now, self.around.version()).cloned();
            if let Some(known) = known {
                debug_assert_eq!(*known, self.as_shown(self.view_instance(id, spec, instance, now), &known));
                return Some(known);
            }
            let view = Arc::new(self.view_instance(id, spec, instance, now));
            let until = self.holds_until(spec, instance, &view, now);
            shown.renew(view.clone(), self.around.version(), now, until);
            Some(view)
        })
    }

    /// With the other's time of day: two readings of the clocks differ by a little.
    fn as_shown(&self, view: InstanceView, known: &InstanceView) -> InstanceView {
        InstanceView { since_unix_micros: known.since_unix_micros, ..view }
    }

    /// When a view says something else although nothing has happened.
    fn holds_until(&self, spec: &InstanceSpec, instance: &Instance, view: &InstanceView, now: Time) -> Time {
        if spec.group.is_some() && instance.wants_master() {
            // It depends on the other members.
            return now;
        }
        let down = view.master_down;
        let after = |last: Time, patience: Interval| last + patience + Interval::from_micros(1);
        let heard =
            view.master.as_ref().filter(|master| !master.ourselves && !master.silent).and_then(|m| m.last_heard);
        let speakers = view.refused_speakers.iter().filter(|speaker| speaker.current).map(|speaker| speaker.last_heard);
        let rivals = view.rivals.iter().filter(|rival| rival.current).map(|rival| rival.last_heard);
        let ends = heard.into_iter().chain(speakers).chain(rivals).map(|last| after(last, down));
        ends.chain(view.preempt_at).min().unwrap_or(Time::NEVER)
    }

    fn view_instance(&self, id: InstanceId, spec: &InstanceSpec, instance: &Instance, now: Time) -> InstanceView {
        let role = instance.role();
        let priority = instance.priority();
        let down = instance.master_down(spec);
        let claim = match instance.state() {
            State::Master(master) => Some(&master.claim),
            State::Init | State::Backup(_) | State::Fault => None,
        };
        let grouped = spec.group.is_some();
        let held_back_by = if instance.wants_master() { self.content_members(spec) } else { Vec::new() };
        // The timer of an instance that only its group holds back changes nothing.
        let next = instance.deadline(id, spec).filter(|_| held_back_by.is_empty()).map(|(at, wake)| NextView {
            at,
            what: match wake {
                _ if matches!(instance.state(), State::Fault) => "find out whether it may send again",
                Wake::Advert(_) => "advert",
                Wake::Preempt(_) if grouped => "ready to become MASTER with its group: the present master is worse",
                Wake::Preempt(_) => "become MASTER: the present master is worse",
                _ if grouped => "ready to become MASTER with its group unless a master is heard",
                _ => "become MASTER unless a master is heard",
            }
            .into(),
        });
        let preempt_at = match instance.state() {
            State::Backup(backup) => backup.preempt_at.filter(|at| *at > now),
            State::Init | State::Fault | State::Master(_) => None,
        };
        InstanceView {
            name: spec.name.clone(),
            state: role,
            wanted: match role {
                Role::Backup if instance.wants_master() => Role::Master,
                other => other,
            },
            since: instance.since,
            since_unix_micros: self.around.wall.unix(instance.since),
            why: instance.why.clone(),
            faults: instance.faults(),
            interface: spec.interface.as_ref().map(|name| name.as_str().into()),
            link: instance.binding.link_name.as_ref().map(|name| name.as_str().into()),
            ifindex: instance.binding.link,
            vrid: spec.vrid,
            family: spec.family,
            version: spec.version,
            source: instance.binding.source,
            base_priority: spec.priority,
            effective_priority: priority,
            total_priority: instance.standing.1,
            contributions: self.view_contributions(spec),
            interval: spec.interval,
            master_interval: instance.learned,
            master_down: down,
            master: present_master(instance, down, now),
            next,
            owned: claim.is_some() && instance.plan.ready.count() == spec.claim.addresses.len() as u64,
            held: instance.plan.ready.clone(),
            lacking: claim.and_then(|claim| match claim {
                Claimed::Refused(reason) => Some(reason.clone()),
                Claimed::OnItsWay | Claimed::Whole => None,
            }),
            drained: instance.drained,
            preempt: spec.preempt,
            preempt_at,
            held_back_by,
            last_advert_sent: instance.last_sent,
            refused_speakers: instance.refused_speakers.iter().map(|entry| speaker(entry, None, down, now)).collect(),
            rivals: instance
                .rivals
                .iter()
                .map(|rival| RivalView {
                    address: rival.from,
                    priority: rival.priority,
                    count: rival.seen.count,
                    first_heard: rival.seen.first,
                    last_heard: rival.seen.last,
                    current: instance.is_master() && rival.seen.count >= STAYS && now.since(rival.seen.last) <= down,
                    is_peer: match &spec.transport {
                        Transport::Multicast { .. } => None,
                        Transport::Unicast { peers, .. } => Some(peers.iter().any(|peer| peer.address == rival.from)),
                    },
                })
                .collect(),
            replaced: instance.replaced.map(|(heard, until)| ReplacedView {
                address: heard.from,
                priority: heard.priority,
                until,
            }),
            counters: instance.counters.clone(),
        }
    }

    /// Members of the same group that are content to be BACKUP: they hear a master that they do not mean to replace.
    fn content_members(&self, spec: &InstanceSpec) -> Vec<Box<str>> {
        let group = spec.group.and_then(|group| self.spec.groups.get(group.index()));
        let members = group.into_iter().flat_map(|group| &group.members);
        let content = members.filter(|id| {
            self.instances.get(id.index()).is_some_and(|member| !member.is_master() && !member.wants_master())
        });
        content.filter_map(|id| self.spec.instances.get(id.index())).map(|spec| spec.name.clone()).collect()
    }

    fn view_strangers(&self, now: Time) -> Vec<SpeakerView> {
        let claims = |name: &IpAddr| {
            let mut all = self.spec.instances.iter();
            all.find(|spec| spec.claim.addresses.iter().any(|own| own.address == *name)).map(|spec| spec.name.clone())
        };
        self.strangers
            .iter()
            .map(|entry| {
                let ours = entry.names.iter().find(|name| self.index.claimed.contains(name)).and_then(claims);
                speaker(entry, ours, SpeakerView::RECENT, now)
            })
            .collect()
    }

    fn view_contributions(&self, spec: &InstanceSpec) -> Vec<ContributionView> {
        let of_owner = spec.priority == Priority::OWNER;
        spec.ties
            .iter()
            .map(|tie| {
                let contribution = self.contribution(tie);
                ContributionView {
                    tracker: name_of(&self.spec, tie).into(),
                    kind: tie.on.kind(),
                    weight: tie.weight,
                    reverse: tie.reverse,
                    good: contribution.good,
                    amount: if of_owner { 0 } else { contribution.amount },
                    fault: contribution.fault || contribution.pending,
                }
            })
            .collect()
    }

    fn view_trackers(&self) -> Vec<TrackerView> {
        let files = self.spec.files.iter().zip(&self.around.board.files).map(|(file, value)| TrackerView {
            kind: "file",
            name: file.name.clone(),
            value: value.map(i64::from),
            good: None,
        });
        let processes =
            self.spec.processes.iter().zip(&self.around.board.processes).map(|(process, watch)| TrackerView {
                kind: "process",
                name: process.name.clone(),
                value: watch.count.map(i64::from),
                good: watch.quorum,
            });
        let bfds = self.spec.bfds.iter().zip(&self.around.board.bfds).map(|(bfd, up)| TrackerView {
            kind: "bfd",
            name: bfd.name.clone(),
            value: None,
            good: *up,
        });
        files.chain(processes).chain(bfds).collect()
    }
}

/// Whom the instance knows as master: itself, or the one that it hears; `down` is its down timer.
fn present_master(instance: &Instance, down: Interval, now: Time) -> Option<MasterView> {
    match instance.state() {
        State::Master(_) => Some(MasterView {
            address: instance.binding.source,
            priority: instance.priority(),
            ourselves: true,
            last_heard: None,
            silent: false,
            addresses_differ: false,
        }),
        State::Backup(backup) => backup.heard.or(backup.worse).map(|heard| MasterView {
            address: Some(heard.from),
            priority: heard.priority,
            ourselves: false,
            last_heard: Some(heard.at),
            silent: backup.patience == Patience::Skew || now.since(heard.at) > down,
            addresses_differ: instance.addresses_differ,
        }),
        State::Init | State::Fault => None,
    }
}

fn speaker(entry: &Refused, instance: Option<Box<str>>, patience: Interval, now: Time) -> SpeakerView {
    SpeakerView {
        address: entry.from,
        why: entry.why,
        vrid: entry.vrid,
        ifindex: entry.ifindex,
        instance,
        count: entry.seen.count,
        first_heard: entry.seen.first,
        last_heard: entry.seen.last,
        current: now.since(entry.seen.last) <= entry.seen.patience(patience),
    }
}
