//! The laws by name, and what it is to break one. What each means stands in `docs/bounds.md`; who looks is the oracle.

use crate::time::Time;
use std::fmt;

/// The laws, in the order of their numbers in `docs/bounds.md`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Law {
    /// 1: once calm for T, every connected set of healthy routers has exactly one master.
    OneMaster,
    /// 2: no master while its interface is down or it has any other fault.
    NoFaultyMaster,
    /// 3: members of a sync group are in one state after every step.
    GroupAgrees,
    /// 4: after an engine was told the time, its next deadline is later; and it stops answering.
    TimeAdvances,
    /// 5: only addresses that are on the interface are announced.
    AnnounceOwned,
    /// 6: adverts per second are bounded.
    Bounded,
    /// 7: a reload without a change moves nothing.
    ReloadMovesNothing,
    /// 8: an address is not on two connected healthy servers longer than B.
    OneHolder,
    /// 9: once calm, exactly the masters have their addresses.
    KernelFollows,
    /// 10: a master's adverts keep their cadence.
    Cadence,
    /// 11: once calm, and with preemption everywhere, the master is a best router.
    BestMaster,
    /// 12: what was reported and what the snapshot says are the same.
    ReportsAreTrue,
    /// 13: after a master said that it leaves, a backup that heard it takes over within its skew.
    SwiftHandover,
    /// 14: a master yields only to a better one: higher priority or, if equal, higher address.
    YieldsToBetter,
    /// 15: a backup that hears nobody takes over when its down timer ends.
    Patience,
    /// 16: a master that is stopped, removed or has a fault says that it leaves.
    SaysGoodbye,
    /// 17: with nopreempt, nobody becomes master before the adverts that it may miss have been missed.
    NoHurry,
    /// 18: once calm, what holds a router in FAULT is so.
    FaultIsTrue,
    /// 19: a server whose check fails is out within its bound.
    ServerOut,
    /// 20: a server whose checks succeed is in within its bound.
    ServerIn,
    /// 21: quorum and sorry server agree with the table of quorum and hysteresis.
    QuorumAgrees,
    /// 22: the kernel's table of virtual servers is what the state says.
    TableFollows,
    /// A law of BFD sessions.
    Session(super::bfd::Law),
}

/// A law that did not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation<L = Law> {
    pub at: Time,
    pub law: L,
    pub text: String,
}

impl<L: fmt::Debug> fmt::Display for Violation<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}s: {}", self.law, self.at - Time::ZERO, self.text)
    }
}
