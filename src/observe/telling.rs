//! What of the engine's events concerns the world outside: notify programs, FIFOs, mail and SNMP managers are told of the
//! same few things. Everything else is for the log, the history and the figures.

use crate::spec::{GroupId, InstanceId};
use crate::vrrp::io::{Cause, Event, Refusal, Role};
use crate::wire::Priority;
use std::net::IpAddr;

/// Something that is told outside. What it says of roles is keepalived's: INIT is told to nobody.
#[derive(Clone, Copy, Debug)]
pub enum Telling<'a> {
    Instance {
        id: InstanceId,
        to: Role,
        why: &'a Cause,
    },
    Group {
        id: GroupId,
        to: Role,
    },
    /// The effective priority.
    Priority {
        id: InstanceId,
        to: Priority,
    },
    /// A master heard somebody lower.
    HeardLower(InstanceId),
    /// A datagram of one of our virtual routers was refused.
    Refused {
        id: InstanceId,
        from: IpAddr,
        why: Refusal,
    },
    /// The daemon ends.
    Stopped(InstanceId),
    /// A reload took the instance away.
    Deleted {
        name: &'a str,
        was: Role,
    },
}

impl Telling<'_> {
    /// `None`: this stays inside.
    pub fn of(event: &Event) -> Option<Telling<'_>> {
        Some(match event {
            Event::Became { instance, to, why, .. } => Telling::Instance { id: *instance, to: *to, why },
            Event::GroupBecame { group, to, .. } => Telling::Group { id: *group, to: *to },
            Event::PriorityChanged { instance, to, .. } => Telling::Priority { id: *instance, to: *to },
            Event::HeardLower { instance, .. } => Telling::HeardLower(*instance),
            Event::Refused { instance: Some(id), from, why, .. } => {
                Telling::Refused { id: *id, from: *from, why: *why }
            }
            Event::Stopped { instance } => Telling::Stopped(*instance),
            Event::Deleted { name, was } => Telling::Deleted { name, was: *was },
            Event::WillPreempt { .. }
            | Event::Refused { instance: None, .. }
            | Event::AddressListDiffers { .. }
            | Event::IntervalLearned { .. }
            | Event::ClockDiffers { .. }
            | Event::RivalMaster { .. }
            | Event::RivalStays { .. }
            | Event::RivalSilent { .. }
            | Event::ScriptChanged { .. }
            | Event::ScriptTimedOut { .. }
            | Event::ScriptOverrun { .. }
            | Event::FaultsChanged { .. }
            | Event::Healed { .. }
            | Event::ClaimFailed { .. }
            | Event::TrackerChanged { .. }
            | Event::LinkChanged { .. }
            | Event::Slept { .. }
            | Event::Replaced { .. }
            | Event::Late { .. }
            | Event::Swept { .. }
            | Event::SendFailed { .. }
            | Event::ReloadRefused { .. }
            | Event::Reloaded => return None,
        })
    }
}
