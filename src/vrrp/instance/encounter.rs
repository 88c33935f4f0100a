//! What a virtual router makes of an advert that may speak: as a backup (accept it, or let the sender run into the down
//! timer), as a master (yield, insist, or settle who of two owners is one).
//!
//! Checks have been made before, by [`super::super::admit`]; the state is written by [`Instance::enter`].

use super::super::admit::Admitted;
use super::super::election::{self, Claimant, Verdict};
use super::super::io::{Cause, Event, Role};
use super::super::state::{Complaint, Heard, Patience, Rival, State};
use super::Aftermath;
use super::Cx;
use super::Instance;
use crate::spec::{Auth, HmacAuth, InstanceSpec, Replay, Transport};
use crate::time::Interval;
use crate::wire::{Priority, Version};
use std::net::IpAddr;

/// Adverts out of turn in one interval.
const ANSWERS: u32 = 5;
/// Adverts of our own that a rival owner is given before it has to be silent.
const RIVAL_ADVERTS: u8 = 2;

impl Instance {
    /// A valid advert from another sender than the last: complaints may be made once more, but once in a down timer at most,
    /// since senders are easily made up.
    pub(in super::super) fn meet(&mut self, from: IpAddr, cx: &Cx<'_>) {
        let other = self.last_heard.is_none_or(|last| last.from != from);
        if other && (self.last_heard.is_none() || cx.now.since(self.met) >= self.master_down(cx.spec)) {
            self.complained = 0;
            self.met = cx.now;
        }
    }

    /// An advert that may speak.
    pub(in super::super) fn on_advert(&mut self, admitted: &Admitted<'_>, from: IpAddr, cx: &mut Cx<'_>) -> Aftermath {
        let heard = Heard { from, priority: admitted.advert.priority, at: cx.now };
        if heard.priority == Priority::LEAVING {
            self.counters.pri_zero_rcvd += 1;
        }
        self.learn(admitted, from, cx);
        let aftermath = match self.role() {
            Role::Backup => {
                self.heard_as_backup(heard, admitted.advert.interval, cx);
                Aftermath::Nothing
            }
            Role::Master => self.heard_as_master(heard, admitted, cx),
            Role::Init | Role::Fault => Aftermath::Nothing,
        };
        (self.last_heard, self.followed) = (Some(heard), true);
        aftermath
    }

    /// Takes what seals and checksum of an admitted advert teach.
    fn learn(&mut self, admitted: &Admitted<'_>, from: IpAddr, cx: &mut Cx<'_>) {
        let theirs = admitted.advert.interval;
        if cx.spec.version == Version::V3 && theirs != cx.spec.interval && self.complain(Complaint::Interval) {
            cx.report(Event::IntervalLearned { instance: cx.id, from, theirs });
        }
        if admitted.old_style && is_peer(cx.spec, from) {
            self.sender.learn_old_style(from);
        }
        if let Some(sequence) = admitted.hmac_sequence {
            self.compare_clocks(sequence, from, cx);
            self.replay.accept(cx.spec, from, sequence);
        }
        if let Some(sequence) = admitted.ah_sequence {
            self.sender.ah_heard = sequence;
            self.sender.ah_sequence = self.sender.ah_sequence.max(sequence);
        }
    }

    /// Beyond half of the window it is time to say so: beyond the whole of it this router is heard no more.
    fn compare_clocks(&mut self, sequence: u64, from: IpAddr, cx: &mut Cx<'_>) {
        let Auth::Hmac(HmacAuth { replay: Replay::Time { window }, .. }) = &cx.spec.auth else { return };
        let ours = (cx.wall.unix(cx.now) / 1_000_000) as u32;
        let by = Interval::from_secs((ours.wrapping_sub((sequence >> 32) as u32) as i32).unsigned_abs().into());
        if by > window.scaled(1, 2) && self.complain(Complaint::Clock) {
            cx.report(Event::ClockDiffers { instance: cx.id, from, by, window: *window });
        }
    }

    fn heard_as_backup(&mut self, heard: Heard, interval: Interval, cx: &mut Cx<'_>) {
        let spec = cx.spec;
        let stranger = self.last_heard.is_none_or(|last| last.from != heard.from);
        if self.lowered && (stranger || heard.priority != Priority::OWNER) {
            self.set_lowered(false, cx);
        }
        let mine = self.priority();
        let State::Backup(backup) = &mut self.state else { return };
        if heard.priority == Priority::LEAVING {
            (backup.since, backup.patience, backup.worse) = (cx.now, Patience::Skew, None);
            return;
        }
        let delayed = !spec.preempt_delay.is_zero() && backup.preempt_at.is_none_or(|at| at > cx.now);
        if !spec.preempt || heard.priority >= mine || delayed {
            if heard.priority >= mine {
                backup.preempt_at = None;
            } else if !spec.preempt_delay.is_zero() && backup.preempt_at.is_none() {
                backup.preempt_at = Some(cx.now + spec.preempt_delay);
            }
            (backup.since, backup.patience) = (cx.now, Patience::Full);
            (backup.heard, backup.worse, backup.wants) = (Some(heard), None, None);
            if spec.version == Version::V3 {
                self.learned = interval;
            }
        } else {
            let first = backup.worse.is_none_or(|worse| worse.from != heard.from);
            backup.worse = Some(heard);
            if first {
                let Heard { from, priority, .. } = heard;
                cx.report(Event::WillPreempt { instance: cx.id, from, priority });
            }
        }
    }

    fn heard_as_master(&mut self, heard: Heard, admitted: &Admitted<'_>, cx: &mut Cx<'_>) -> Aftermath {
        let (spec, Heard { from, priority, .. }) = (cx.spec, heard);
        if cx.now <= cx.awake && priority != Priority::LEAVING {
            self.was_replaced(heard, cx);
        }
        let theirs = Claimant { priority, address: Some(from) };
        let mine = |me: &Instance| Claimant { priority: me.priority(), address: me.binding.source };
        let mut verdict = election::judge(mine(self), theirs);
        if verdict == Verdict::WeWin && priority == Priority::OWNER {
            self.rival_owner(heard, admitted.advert.interval, cx);
            verdict = election::judge(mine(self), theirs);
        } else if verdict == Verdict::TheyWin && priority == self.priority() && priority == Priority::OWNER {
            cx.report(Event::RivalMaster { instance: cx.id, from, priority });
        }
        match verdict {
            Verdict::TheyLeave if self.may_answer(cx) => {
                self.advertise(self.priority(), cx);
            }
            Verdict::TheyLeave => {}
            Verdict::Mirror => {
                self.meet_rival(heard, cx);
                if self.complain(Complaint::Mirror) {
                    cx.report(Event::RivalMaster { instance: cx.id, from, priority });
                }
            }
            Verdict::WeWin => {
                self.meet_rival(heard, cx);
                if let (Auth::Ah(_), Some(sequence)) = (&spec.auth, admitted.ah_sequence) {
                    self.sender.ah_sequence = self.sender.ah_sequence.max(sequence.saturating_add(1));
                }
                if !self.may_answer(cx) {
                    return Aftermath::Nothing;
                }
                cx.report(Event::HeardLower { instance: cx.id, from, priority });
                if !spec.lower_prio_no_advert {
                    self.advertise(self.priority(), cx);
                }
                return Aftermath::HeardLower;
            }
            Verdict::TheyWin => {
                if spec.higher_prio_send_advert {
                    self.advertise(self.priority(), cx);
                }
                if spec.version == Version::V3 {
                    self.learned = admitted.advert.interval;
                }
                let patience = if self.steps_aside(from, cx) { Patience::Clash } else { Patience::Full };
                self.become_backup_for(patience, Cause::Outranked { by: from, priority }, Some(heard), cx);
            }
        }
        Aftermath::Nothing
    }

    /// Two sync groups, each better than the other in one of its members, that lose patience at one moment are both MASTER and
    /// both yield; their timers then end at one moment again. Whoever has yielded as soon as it was MASTER lets the other go
    /// first, if it has the lower address; where that has not ended it (addresses need not be in one order on all segments),
    /// by a mix of its address and of how often it has happened. keepalived's timers are less exact, and part by chance.
    fn steps_aside(&mut self, from: IpAddr, cx: &Cx<'_>) -> bool {
        if cx.spec.group.is_none() || cx.now.since(self.since) >= cx.spec.interval {
            self.clashes = 0;
            return false;
        }
        self.clashes = self.clashes.saturating_add(1);
        match self.binding.source {
            Some(own) if self.clashes == 1 => own < from,
            Some(own) => mix(own, self.clashes) & 1 == 1,
            None => false,
        }
    }

    /// Another router speaks as MASTER and is not better: it has to hear us and yield, or there are two.
    fn meet_rival(&mut self, heard: Heard, cx: &mut Cx<'_>) {
        let Heard { from, priority, .. } = heard;
        // What it said while this daemon did not run it said to nobody: whether it yields is seen from now on.
        if cx.now <= cx.awake {
            return;
        }
        if self.rivals.heard(from, priority, self.master_down(cx.spec), cx.now) {
            cx.report(Event::RivalStays { instance: cx.id, from, priority });
        }
    }

    /// Another router was MASTER in place of this one, which did not run.
    fn was_replaced(&mut self, heard: Heard, cx: &mut Cx<'_>) {
        let known = self.replaced.is_some_and(|(by, until)| (by.from, until) == (heard.from, cx.awake));
        self.replaced = Some((heard, cx.awake));
        if !known {
            cx.report(Event::Replaced { instance: cx.id, from: heard.from, priority: heard.priority });
        }
    }

    /// May one more advert out of turn be sent? Adverts can be forged, and what a stranger can make this router say, and
    /// have logged, run and announced, is to have an end: some answers in each interval are enough for any rival to yield.
    fn may_answer(&mut self, cx: &Cx<'_>) -> bool {
        let (since, count) = &mut self.answered;
        if cx.now.since(*since) >= cx.spec.interval {
            (*since, *count) = (cx.now, 0);
        }
        *count = count.saturating_add(1);
        *count <= ANSWERS
    }

    /// Another owner with a lower address: it has to give in, and if it does not, we do.
    fn rival_owner(&mut self, heard: Heard, interval: Interval, cx: &mut Cx<'_>) {
        let State::Master(master) = &mut self.state else { return };
        match master.rival {
            Some(Rival::Watched { until }) if cx.now <= until => {
                self.set_lowered(true, cx);
            }
            Some(Rival::Warned { .. }) => {}
            _ => {
                master.rival = Some(Rival::Warned { adverts: RIVAL_ADVERTS, interval });
                cx.report(Event::RivalMaster { instance: cx.id, from: heard.from, priority: heard.priority });
            }
        }
    }
}

/// Bits that two addresses seldom have in common for several numbers in succession (FNV-1a, with its bits folded).
fn mix(address: IpAddr, number: u32) -> u64 {
    let bytes = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = bytes.into_iter().chain(number.to_be_bytes()).fold(0xcbf2_9ce4_8422_2325, step);
    hash ^ (hash >> 32) ^ (hash >> 17)
}

/// Is this one of the unicast peers? No other sender is answered, so nothing need be remembered of it.
fn is_peer(spec: &InstanceSpec, from: IpAddr) -> bool {
    matches!(&spec.transport, Transport::Unicast { peers, .. } if peers.iter().any(|peer| peer.address == from))
}
