//! Notify programs: which are run for an event, in keepalived's order and with its arguments.
//!
//! For a change of an instance or group the specific program comes first, then the generic one with `INSTANCE NAME STATE
//! PRIORITY` or `GROUP NAME STATE 0` appended. An instance whose sync group is in the same state already, and which has
//! notified before, stays silent: the group speaks for it. This module starts nothing; it puts [`NotifyRun`]s into
//! [`Wishes`].

use super::Context;
use super::NotifyRun;
use super::Observer;
use super::Wishes;
use super::telling::Telling;
use crate::spec::{GroupId, InstanceId, Notify, Spec};
use crate::vrrp::io::Role;
use std::collections::{HashMap, HashSet};

/// A state as notifications name it: the three roles, and two ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    Master,
    Backup,
    Fault,
    Stop,
    Deleted,
}

impl Told {
    /// What is told when an instance takes this role; `None` for what nobody is told of.
    pub const fn of(role: Role) -> Option<Told> {
        match role {
            Role::Master => Some(Told::Master),
            Role::Backup => Some(Told::Backup),
            Role::Fault => Some(Told::Fault),
            Role::Init => None,
        }
    }
    /// As programs, FIFOs and mail have it.
    pub const fn word(self) -> &'static str {
        match self {
            Told::Master => "MASTER",
            Told::Backup => "BACKUP",
            Told::Fault => "FAULT",
            Told::Stop => "STOP",
            Told::Deleted => "DELETED",
        }
    }
}

/// Which instance changes are told at all: shared by notify programs, FIFOs and mail, which keepalived gates together.
#[derive(Debug, Default)]
pub struct Gate {
    groups: HashMap<Box<str>, Role>,
    told: HashMap<Box<str>, bool>,
}

impl Gate {
    /// To be asked once for each thing, before it is told.
    pub fn open(&mut self, telling: &Telling<'_>, cx: &Context<'_>) -> bool {
        match *telling {
            Telling::Group { id, to } => {
                self.groups.insert(cx.group_name(id).into(), to);
                true
            }
            Telling::Instance { id, to, .. } => {
                let name: Box<str> = cx.name(id).into();
                let group = cx.instance(id).and_then(|i| i.group).map(|g| cx.group_name(g));
                let group_is_there = group.is_some_and(|g| self.groups.get(g) == Some(&to));
                let told = self.told.insert(name, true).unwrap_or(false);
                !(told && group_is_there)
            }
            Telling::Priority { .. }
            | Telling::HeardLower(_)
            | Telling::Refused { .. }
            | Telling::Stopped(_)
            | Telling::Deleted { .. } => true,
        }
    }

    /// After a reload everybody speaks for himself once more, as with keepalived: groups are told of before their members then, and
    /// a group that has just been made may have no program, where its members have theirs.
    pub fn reconfigured(&mut self, spec: &Spec) {
        self.told.clear();
        let groups: HashSet<&str> = spec.groups.iter().map(|group| &*group.name).collect();
        self.groups.retain(|name, _| groups.contains(&**name));
    }
}

/// Wishes for notify programs.
#[derive(Debug, Default)]
pub struct Notifier;

impl Observer for Notifier {
    fn told(&mut self, telling: &Telling<'_>, cx: &Context<'_>, wishes: &mut Wishes) {
        match *telling {
            Telling::Instance { id, to, .. } => {
                if let Some(told) = Told::of(to) {
                    instance_told(cx, id, told, wishes);
                }
            }
            Telling::Group { id, to } => {
                if let Some(told) = Told::of(to) {
                    group_told(cx, id, told, wishes);
                }
            }
            Telling::HeardLower(id) => {
                let program = cx.instance(id).and_then(|i| i.notify.master_rx_lower_pri.as_deref().cloned());
                let (of, event) = (cx.name(id), "MASTER_RX_LOWER_PRI");
                wishes.runs.extend(program.map(|run| NotifyRun {
                    run,
                    arguments: Vec::new(),
                    of: of.into(),
                    event,
                    limited: false,
                }));
            }
            Telling::Stopped(id) => instance_told(cx, id, Told::Stop, wishes),
            Telling::Deleted { name, was } => deleted(cx, name, was, wishes),
            Telling::Priority { .. } | Telling::Refused { .. } => {}
        }
    }

    fn balance(&mut self, event: &crate::balance::io::Event, _: &Context<'_>, wishes: &mut Wishes) {
        wishes.runs.extend(super::balance::run(event));
    }

    fn stopped(&mut self, cx: &Context<'_>, wishes: &mut Wishes) {
        for group in 0..cx.spec.groups.len() as u32 {
            group_told(cx, GroupId(group), Told::Stop, wishes);
        }
    }
}

/// What an instance that a reload removed is told to be: DELETED if it asked for that, else FAULT, and nothing if it was
/// in FAULT already.
pub(super) fn deleted_word(notify: &Notify, was: Role) -> Option<Told> {
    match (notify.tell_deleted, was) {
        (true, _) => Some(Told::Deleted),
        (false, Role::Fault) => None,
        (false, _) => Some(Told::Fault),
    }
}

fn instance_told(cx: &Context<'_>, id: InstanceId, told: Told, wishes: &mut Wishes) {
    let Some(instance) = cx.instance(id) else { return };
    let priority = cx.priority(id).0.to_string();
    run(&instance.notify, told, ["INSTANCE", &instance.name, told.word(), &priority], wishes);
}

fn group_told(cx: &Context<'_>, id: GroupId, told: Told, wishes: &mut Wishes) {
    let Some(group) = cx.spec.groups.get(id.index()) else { return };
    run(&group.notify, told, ["GROUP", &group.name, told.word(), "0"], wishes);
}

fn deleted(cx: &Context<'_>, name: &str, was: Role, wishes: &mut Wishes) {
    let Some(instance) = cx.deleted(name) else { return };
    let Some(told) = deleted_word(&instance.notify, was) else { return };
    let priority = instance.priority.0.to_string();
    run(&instance.notify, told, ["INSTANCE", name, told.word(), &priority], wishes);
}

fn run(notify: &Notify, told: Told, arguments: [&str; 4], wishes: &mut Wishes) {
    let limited = told == Told::Stop;
    let (of, event) = (arguments[1].to_owned(), told.word());
    let specific = match told {
        Told::Master => &notify.master,
        Told::Backup => &notify.backup,
        Told::Fault => &notify.fault,
        Told::Stop => &notify.stop,
        Told::Deleted => &notify.deleted,
    };
    if let Some(run) = specific.as_deref().cloned() {
        wishes.runs.push(NotifyRun { run, arguments: Vec::new(), of: of.clone(), event, limited });
    }
    if let Some(run) = notify.any.as_deref().cloned() {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        wishes.runs.push(NotifyRun { run, arguments, of, event, limited });
    }
}
