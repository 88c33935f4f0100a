//! What observers are told of. An event brings along what has to be known of its server or service ([`ServerInfo`],
//! [`ServiceInfo`]), so that it can still be told after a reload has taken them away.

use super::{Finding, ServiceKey, Symptom};
use crate::spec::Run;
use crate::spec::balance::{Checker, Endpoint};
use std::net::IpAddr;
use std::sync::Arc;

/// A virtual server, as far as observers need to know it. Made once a configuration.
#[derive(Clone, PartialEq, Debug)]
pub struct ServiceInfo {
    /// `[10.0.0.1]:tcp:80`, `FWM 7`, `[GROUP]:0`: keepalived's name of it everywhere.
    pub text: Box<str>,
    /// `tcp`, `udp`, `sctp`, `none`.
    pub protocol: &'static str,
    /// Name of the group, if it is by group.
    pub group: Option<Box<str>>,
    /// Sum of weights that must be alive.
    pub quorum: u32,
    /// By so much the sum must exceed `quorum` to gain it, and fall short of it to lose it.
    pub hysteresis: u32,
    pub omega: bool,
    pub mail: bool,
    pub quorum_up: Option<Run>,
    pub quorum_down: Option<Run>,
    pub sorry: Option<SorryInfo>,
}

/// The sorry server of a service, as an event names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SorryInfo {
    /// `[10.1.0.9]:tcp:80`
    pub text: Box<str>,
    pub inhibit: bool,
}

/// A real server of one virtual server.
#[derive(Clone, PartialEq, Debug)]
pub struct ServerInfo {
    pub service: Arc<ServiceInfo>,
    /// `[10.1.0.2]:tcp:8080`
    pub text: Box<str>,
    pub endpoint: Endpoint,
    pub inhibit: bool,
    pub mail: bool,
    pub notify_up: Option<Run>,
    pub notify_down: Option<Run>,
}

/// One check of a real server.
#[derive(Clone, PartialEq, Debug)]
pub struct CheckInfo {
    pub server: Arc<ServerInfo>,
    pub checker: Arc<Checker>,
}

/// How many of a virtual server's real servers count, and how many there are, the sorry server not among them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    /// Those that count.
    pub up: u32,
    /// All of them.
    pub all: u32,
}

impl Count {
    /// One server counted or not before, and does or does not now.
    pub(crate) fn moved(&mut self, was: bool, is: bool) {
        self.up = (self.up + u32::from(is)).saturating_sub(u32::from(was));
    }
}

/// Why a server is in or out.
#[derive(Clone, PartialEq, Debug)]
pub enum Why {
    /// It has been so since the beginning.
    Start,
    /// A check decided it; without a symptom it was good.
    Check(Arc<CheckInfo>, Option<Symptom>),
    /// The kernel refused its entry, with this error number.
    Refused(i32),
    /// The kernel has no table that it could be in, for the reason of this error number.
    NoTable(i32),
    /// The kernel has taken the entry that it refused before.
    Accepted,
    /// A reload changed what it depends on.
    Reload,
}

/// Why a server weighs something else.
#[derive(Clone, PartialEq, Debug)]
pub enum Weighing {
    /// The program of a dynamic MISC_CHECK ended with this exit code.
    Program(Arc<CheckInfo>, u8),
    /// A tracked file holds this number.
    File(Arc<CheckInfo>, i64),
    Operator,
    Reload,
}

/// What a finding means for a check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing new: good still, or bad still.
    Same,
    /// A page is good, and the whole check not yet.
    Page,
    /// The check is good, for the first time or again.
    Good { first: bool, was_up: bool },
    /// Failed, and it will be tried again before it counts: this is retry `retry` of `of` that follows.
    Retrying { retry: u32, of: u32 },
    /// The check is bad. `first`: nothing is known from before, so one failure was enough.
    Bad { first: bool },
}

/// Whether a check is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activity {
    /// It begins, or the virtual address has come.
    Activating,
    /// It does not begin: the virtual address is not here.
    Deactivating,
    /// The virtual address has gone.
    Suspending,
}

/// What happened.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// What an attempt found, told for each server that it counts for; `page` as in [`super::Probe`]. `was_up`: the check
    /// was good before.
    Probed {
        check: Arc<CheckInfo>,
        page: usize,
        finding: Finding,
        verdict: Verdict,
        was_up: bool,
    },
    /// The attempt could not be made for a reason on this machine.
    NotMade {
        check: Arc<CheckInfo>,
        error: i32,
    },
    /// A tracked file has become a fault, or is one no longer.
    FileFault {
        check: Arc<CheckInfo>,
        fault: bool,
    },
    /// A check has become good or bad, after all that followed from it for the server: `up` is the server's state now,
    /// `moved` whether it changed.
    CheckChanged {
        check: Arc<CheckInfo>,
        symptom: Option<Symptom>,
        good: bool,
        up: bool,
        moved: bool,
    },
    /// The server counts, and is in the kernel's table unless the sorry server serves.
    ServerUp {
        server: Arc<ServerInfo>,
        why: Why,
        count: Count,
    },
    ServerDown {
        server: Arc<ServerInfo>,
        why: Why,
        count: Count,
    },
    /// The state is as it was assumed to be, and is told for the first time.
    ServerConfirmed {
        server: Arc<ServerInfo>,
        up: bool,
        count: Count,
    },
    /// Clamped to what the kernel takes. `active`: it is in use.
    WeightChanged {
        server: Arc<ServerInfo>,
        from: u32,
        to: u32,
        active: bool,
        why: Weighing,
    },
    /// `weight`: of all servers that count, together. `begin`: at start or reload. `sorry`: the sorry server goes out.
    QuorumGained {
        service: Arc<ServiceInfo>,
        count: Count,
        weight: u64,
        begin: bool,
        sorry: bool,
    },
    /// As above; `sorry`: the sorry server comes in.
    QuorumLost {
        service: Arc<ServiceInfo>,
        count: Count,
        weight: u64,
        begin: bool,
        sorry: bool,
    },
    /// The kernel has the service now, and with it the sorry server that serves: before, there was no table that it could
    /// be in.
    SorryAdded {
        service: Arc<ServiceInfo>,
    },
    /// A reload has taken an active sorry server out. `pool`: its servers serve again.
    SorryRemoved {
        service: Arc<ServiceInfo>,
        sorry: Box<str>,
        inhibit: bool,
        pool: bool,
    },
    /// A check begins, pauses or goes on.
    Checker {
        check: Arc<CheckInfo>,
        activity: Activity,
    },
    /// The kernel has not got the service.
    ServiceRefused {
        service: ServiceKey,
        /// Whose it is.
        of: Option<Arc<ServiceInfo>>,
        error: i32,
        /// There is no table at all: that is one trouble, and said as one.
        no_table: bool,
    },
    /// What another program took out of the kernel's table is there again.
    Restored {
        service: ServiceKey,
        /// Whose it is.
        of: Option<Arc<ServiceInfo>>,
        destination: Option<(IpAddr, u16)>,
    },
    /// An operator's command took effect; `weight` is what he set, 0 if he drained it.
    Commanded {
        server: Arc<ServerInfo>,
        weight: Option<u32>,
    },
    /// A reload has taken the server away; `present`: it was in the kernel's table. `whole`: its service goes too.
    ServerRemoved {
        server: Arc<ServerInfo>,
        present: bool,
        whole: bool,
        count: Count,
    },
    /// A reload has taken the service away, after its servers; `had`: it had its quorum.
    ServiceRemoved {
        service: Arc<ServiceInfo>,
        had: bool,
        count: Count,
    },
    /// A reload takes the service away: what follows is about it.
    ServiceRemoving {
        service: Arc<ServiceInfo>,
    },
    /// An entry of a group came (`added`) or went with a reload; the entry in keepalived's form.
    EntryChanged {
        group: Box<str>,
        entry: Box<str>,
        added: bool,
    },
    /// The group has more addresses than are taken, which is told.
    GroupCut {
        group: Box<str>,
        taken: usize,
    },
    /// Everything from here on belongs to the new configuration.
    Reloaded,
    /// The end: told once a server, unless the table is flushed. `alive`: it counted.
    ServerStopped {
        server: Arc<ServerInfo>,
        alive: bool,
        /// It is in the table, and so goes out of it.
        present: bool,
        told: bool,
        count: Count,
    },
    /// The end of a service, after its servers.
    ServiceStopped {
        service: Arc<ServiceInfo>,
        told: bool,
        count: Count,
    },
}
