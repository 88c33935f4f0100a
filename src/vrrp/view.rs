//! Making the [`Snapshot`]: a copy of the state in the words that people and tools see.

use super::Engine;
use super::instance::Instance;
use super::io::{Role, Wake};
use super::snapshot::{
    ContributionView, GroupView, InstanceView, LinkView, MasterView, NextView, PortView, ScriptView, Snapshot,
    TrackerView,
};
use super::state::State;
use super::track::name_of;
use crate::spec::{InstanceId, InstanceSpec};
use crate::time::Time;
use crate::wire::Priority;

impl Engine {
    pub(super) fn view(&self, now: Time) -> Snapshot {
        let instances = (0..).map(InstanceId).zip(self.spec.instances.iter().zip(&self.instances));
        let name =
            |id: &InstanceId| self.spec.instances.get(id.index()).map(|spec| spec.name.clone()).unwrap_or_default();
        Snapshot {
            now,
            unix_micros: self.unix(now),
            instances: instances.map(|(id, (spec, instance))| self.view_instance(id, spec, instance)).collect(),
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
                .zip(&self.scripts)
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
            links: self
                .links
                .iter()
                .map(|known| LinkView { link: known.link.clone(), changing: known.is_changing() })
                .collect(),
            ports: self
                .ports()
                .into_iter()
                .map(|(port, instances)| PortView { port, instances, descriptor: None })
                .collect(),
            startup_delay_left: (now < self.not_before).then(|| self.not_before.since(now)),
        }
    }

    /// The wall clock at a point in time, before or after the moment at which it was told; 0 if it never was.
    fn unix(&self, at: Time) -> u64 {
        match self.wall.unix_micros {
            0 => 0,
            told => (told + at.since(self.wall.at).as_micros()).saturating_sub(self.wall.at.since(at).as_micros()),
        }
    }

    fn view_instance(&self, id: InstanceId, spec: &InstanceSpec, instance: &Instance) -> InstanceView {
        let role = instance.role();
        let priority = instance.priority();
        let down = instance.master_down(spec);
        let (master, owned) = match instance.state() {
            State::Master(master) => {
                let ourselves =
                    MasterView { address: instance.binding.source, priority, ourselves: true, last_heard: None };
                (Some(ourselves), master.owned)
            }
            State::Backup(backup) => {
                let known = backup.heard.or(backup.worse);
                let view = known.map(|heard| MasterView {
                    address: Some(heard.from),
                    priority: heard.priority,
                    ourselves: false,
                    last_heard: Some(heard.at),
                });
                (view, false)
            }
            State::Init | State::Fault => (None, false),
        };
        let next = instance.deadline(id, spec).map(|(at, wake)| NextView {
            at,
            what: match wake {
                Wake::Advert(_) => "advert",
                Wake::Preempt(_) => "become MASTER: the present master is worse",
                _ => "become MASTER unless a master is heard",
            }
            .into(),
        });
        InstanceView {
            name: spec.name.clone(),
            state: role,
            wanted: match role {
                Role::Backup if instance.wants_master() => Role::Master,
                other => other,
            },
            since: instance.since,
            since_unix_micros: self.unix(instance.since),
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
            master,
            next,
            owned,
            drained: instance.drained,
            last_advert_sent: instance.last_sent,
            counters: instance.counters.clone(),
        }
    }

    fn view_contributions(&self, spec: &InstanceSpec) -> Vec<ContributionView> {
        let of_owner = spec.priority == Priority::OWNER;
        spec.ties
            .iter()
            .map(|tie| {
                let contribution = self.contribution(tie);
                ContributionView {
                    tracker: name_of(&self.spec, tie).into(),
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
        let files = self.spec.files.iter().zip(&self.board.files).map(|(file, value)| TrackerView {
            kind: "file",
            name: file.name.clone(),
            value: value.map(i64::from),
            good: None,
        });
        let processes = self.spec.processes.iter().zip(&self.board.processes).map(|(process, watch)| TrackerView {
            kind: "process",
            name: process.name.clone(),
            value: watch.count.map(i64::from),
            good: watch.quorum,
        });
        let bfds = self.spec.bfds.iter().zip(&self.board.bfds).map(|(bfd, up)| TrackerView {
            kind: "bfd",
            name: bfd.name.clone(),
            value: None,
            good: *up,
        });
        files.chain(processes).chain(bfds).collect()
    }
}
