//! The states of a virtual router and what each has to know.
//!
//! Data only; [`super::instance`] writes it.

use super::io::{Cause, Refusal, Role};
use crate::handover::or_default;
use crate::time::{Interval, Time};
use crate::wire::Priority;
use std::net::IpAddr;

/// Where a router stands, numbered and named as [`Role`].
#[derive(Clone, PartialEq, Debug)]
pub(super) enum State {
    Init,
    Fault,
    Backup(Backup),
    Master(Master),
}

impl State {
    pub(super) const fn role(&self) -> Role {
        match self {
            State::Init => Role::Init,
            State::Fault => Role::Fault,
            State::Backup(_) => Role::Backup,
            State::Master(_) => Role::Master,
        }
    }
}

/// A router that was heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Heard {
    pub(super) from: IpAddr,
    pub(super) priority: Priority,
    pub(super) at: Time,
}

/// How long a backup waits from `Backup::since` on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(super) enum Patience {
    /// The whole down timer.
    #[default]
    Full,
    /// The master said that it leaves: only the skew.
    Skew,
    /// All of a group's members are owners, yet the group did not ask to start as master: one interval and an owner's skew.
    Owners,
    /// It handed over because an operator asked: any other router speaks within one interval (the longest skew), and if none
    /// does, the addresses are nobody's until they are taken back.
    HandedOver,
    /// Its sync group and another one became MASTER at one moment, each the better one of another member, so that both
    /// yielded: this one lets the other go first.
    Clash,
    /// An owner that starts as master: not a moment longer than the start-up delay.
    Nothing,
}

#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Backup {
    /// The down timer runs from here.
    pub(super) since: Time,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) patience: Patience,
    /// The master, if one has been accepted.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) heard: Option<Heard>,
    /// A worse master that is being let run into the down timer.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) worse: Option<Heard>,
    /// End of `preempt_delay`, once it runs.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) preempt_at: Option<Time>,
    /// The down timer has ended, and why, but the group is not ready.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) wants: Option<Cause>,
}

impl Backup {
    pub(super) fn fresh(since: Time) -> Backup {
        Backup { since, patience: Patience::Full, heard: None, worse: None, preempt_at: None, wants: None }
    }
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Master {
    /// The next advert; the cadence is absolute.
    pub(super) advert_at: Time,
    /// What the kernel made of its claim.
    pub(super) claim: Claimed,
    pub(super) rival: Option<Rival>,
}

/// What the kernel made of addresses, routes and rules that a master owns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Claimed {
    /// Not all of it has been answered.
    OnItsWay,
    Whole,
    /// Some of it was refused; the kernel's reason.
    Refused(Box<str>),
}

/// Another owner of the same addresses that is worse than we are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rival {
    /// So many of our adverts are still to be sent before it has to be silent.
    Warned { adverts: u8, interval: Interval },
    /// If it speaks before this moment, it will not give in.
    Watched { until: Time },
}

/// Kinds of complaint that are made once and not with every advert.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Complaint {
    Interval,
    AddressList,
    Mirror,
    Clock,
    Refused(Refusal),
}

impl Complaint {
    /// A bit of its own.
    pub(super) const fn bit(self) -> u64 {
        match self {
            Complaint::Interval => 1,
            Complaint::AddressList => 2,
            Complaint::Mirror => 4,
            Complaint::Clock => 8,
            Complaint::Refused(why) => 16_u64 << (why as u8),
        }
    }
}
