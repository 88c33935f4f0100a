//! One virtual router: its state, and what it makes of adverts, time and its own standing.
//!
//! The state is written in one place, [`Instance::enter`], and what a state needs to know lives in its variant. Faults are
//! facts, recomputed elsewhere and only handed in; a router follows them in both directions. Deadlines are derived from
//! when something happened, never counted down, so a change of priority or interval moves them by itself.

mod encounter;
mod voice;

use super::admit::ReplayTable;
use super::bind::Binding;
use super::election;
use super::garp::{Plan, following};
use super::io::{Action, Cause, Event, Fault, Refusal, Role, Wake, Wall};
use super::snapshot::Counters;
use super::speakers::{Refused, Rival as OtherMaster, Table};
use super::state::{Backup, Claimed, Complaint, Heard, Master, Patience, Rival, State};
use super::transmit::{Sender, Speaker};
use crate::spec::{InstanceId, InstanceSpec, Transport};
use crate::time::{Interval, Time};
use crate::wire::{Priority, Version};
use std::collections::VecDeque;
use std::net::IpAddr;
use voice::Voice;

/// Two owners: how long the better one waits for the other to give in, as a multiple of the longer interval (12/10).
const RIVAL_PATIENCE: (u64, u64) = (12, 10);

/// What happens around a virtual router while it acts.
pub(super) struct Cx<'a> {
    pub(super) id: InstanceId,
    pub(super) spec: &'a InstanceSpec,
    pub(super) now: Time,
    pub(super) wall: Wall,
    /// No router becomes master before this.
    pub(super) not_before: Time,
    /// Until here the daemon did not run: what was heard before is the past.
    pub(super) awake: Time,
    pub(super) out: &'a mut VecDeque<Action>,
}

impl Cx<'_> {
    fn report(&mut self, event: Event) {
        self.out.push_back(Action::Report(event));
    }
}

/// What others have to know of what an advert did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Aftermath {
    Nothing,
    /// A master heard a worse one: announcements are called for, for the whole group.
    HeardLower,
}

/// One virtual router.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    state: State,
    pub(super) since: Time,
    pub(super) why: Cause,
    pub(super) binding: Binding,
    /// What of its own holds it in FAULT.
    pub(super) own_faults: Vec<Fault>,
    /// A faulty member of its group.
    pub(super) group_fault: Option<Box<str>>,
    /// That member, and every other that is faulty, waits for the first word of a script and for nothing else.
    pub(super) group_pending: bool,
    /// What was last told about its faults.
    told_faults: Vec<Fault>,
    /// In FAULT only because a script has not reported: nobody was told.
    silent: bool,
    /// As computed from base and trackers.
    pub(super) standing: (Priority, i32),
    /// It has been computed once: what every observer is shown at the beginning.
    weighed: bool,
    /// An owner that met another owner which would not give in.
    lowered: bool,
    /// Who spoke as MASTER while this daemon did not run and this router was MASTER, and until when that was.
    pub(super) replaced: Option<(Heard, Time)>,
    /// How often in succession its sync group yielded as soon as it was MASTER.
    clashes: u32,
    pub(super) drained: bool,
    /// The master's interval: learned from a version 3 master, else our own.
    pub(super) learned: Interval,
    /// The router that spoke as master last, in whatever state this one is.
    pub(super) last_heard: Option<Heard>,
    /// Its list of addresses was looked at then.
    pub(super) followed: bool,
    pub(super) last_sent: Option<Time>,
    /// The address that it spoke from last.
    spoke_from: Option<IpAddr>,
    pub(super) sender: Sender,
    pub(super) replay: ReplayTable,
    pub(super) plan: Plan,
    pub(super) counters: Counters,
    /// Whose adverts are not taken, and why.
    pub(super) refused_speakers: Table<Refused>,
    /// Who speaks as MASTER while this router is MASTER.
    pub(super) rivals: Table<OtherMaster>,
    /// Whether it can hear and speak.
    pub(super) voice: Voice,
    /// Adverts out of turn that others have called for: since when they are counted, and how many.
    answered: (Time, u32),
    /// Kinds of complaint that have been made since the last change of role or master.
    complained: u64,
    /// When another sender last made complaints possible once more.
    met: Time,
    /// The last valid advert spoke for other addresses than this router has.
    pub(super) addresses_differ: bool,
}

impl Instance {
    pub(super) fn new(spec: &InstanceSpec, opening: bool, now: Time) -> Instance {
        Instance {
            state: State::Init,
            since: now,
            why: Cause::Start,
            binding: Binding::default(),
            own_faults: Vec::new(),
            group_fault: None,
            group_pending: false,
            told_faults: Vec::new(),
            silent: false,
            standing: (spec.priority, i32::from(spec.priority.0)),
            weighed: false,
            lowered: false,
            replaced: None,
            clashes: 0,
            drained: false,
            learned: spec.interval,
            last_heard: None,
            followed: false,
            last_sent: None,
            spoke_from: None,
            sender: Sender::default(),
            replay: ReplayTable::default(),
            plan: Plan::default(),
            counters: Counters::default(),
            refused_speakers: Table::default(),
            rivals: Table::default(),
            voice: Voice::new(opening),
            answered: (now, 0),
            complained: 0,
            met: Time::ZERO,
            addresses_differ: false,
        }
    }

    /// Begins in a state that another engine entered; [`super::handover`] only.
    pub(super) fn resumed(spec: &InstanceSpec, opening: bool, now: Time, state: State, lowered: bool) -> Instance {
        Instance { state, lowered, ..Instance::new(spec, opening, now) }
    }

    /// One that was in FAULT, for these reasons, and of which everybody knows.
    pub(super) fn still_in_fault(mut self, told: Vec<Fault>) -> Instance {
        (self.state, self.told_faults) = (State::Fault, told);
        self
    }

    /// Why it is in FAULT, as everybody was told; `None` if it is not, or if nobody knows yet.
    pub(super) fn told_faults(&self) -> Option<Vec<Fault>> {
        (matches!(self.state, State::Fault) && !self.silent).then(|| self.told_faults.clone())
    }

    /// The address that it spoke from last, which it may have lost since.
    pub(super) const fn spoke_from(&self) -> Option<IpAddr> {
        self.spoke_from
    }

    pub(super) const fn is_lowered(&self) -> bool {
        self.lowered
    }

    pub(super) const fn state(&self) -> &State {
        &self.state
    }
    pub(super) const fn role(&self) -> Role {
        self.state.role()
    }
    pub(super) const fn is_master(&self) -> bool {
        matches!(self.state, State::Master(_))
    }
    /// Ready to be master as soon as its group is.
    pub(super) fn wants_master(&self) -> bool {
        matches!(&self.state, State::Backup(Backup { wants: Some(_), .. }))
    }

    /// Everything that holds it in FAULT.
    pub(super) fn faults(&self) -> Vec<Fault> {
        self.own_faults.iter().cloned().chain(self.group_fault.clone().map(Fault::Group)).collect()
    }

    /// The priority that it speaks with.
    pub(super) fn priority(&self) -> Priority {
        match self.standing.0 {
            // Anybody who lives is better.
            _ if self.drained => Priority(1),
            Priority::OWNER if self.lowered => Priority(254),
            other => other,
        }
    }

    /// The priority that its patience goes by: an owner stays an owner there although lowered.
    fn patience_priority(&self) -> Priority {
        if self.standing.0 == Priority::OWNER && !self.drained { Priority::OWNER } else { self.priority() }
    }

    /// The down timer's whole length.
    pub(super) fn master_down(&self, spec: &InstanceSpec) -> Interval {
        election::master_down(spec.version, self.patience_priority(), self.learned, spec.down_adverts)
    }

    /// When a backup's patience ends.
    pub(super) fn down_at(&self, backup: &Backup, spec: &InstanceSpec) -> Time {
        backup.since
            + match backup.patience {
                Patience::Full => self.master_down(spec),
                Patience::Skew => election::skew(spec.version, self.patience_priority(), self.learned),
                Patience::Owners => spec.interval + election::skew(spec.version, Priority::OWNER, spec.interval),
                Patience::HandedOver => {
                    self.learned + election::skew(spec.version, self.patience_priority(), self.learned)
                }
                Patience::Clash => self.master_down(spec) + spec.interval,
                Patience::Nothing => Interval::ZERO,
            }
    }

    /// Who hears nothing yet cannot say that nobody speaks; who cannot speak yet would not be heard as master.
    fn may_not_judge(&self) -> bool {
        self.voice.is_opening() || self.binding.speechless
    }

    /// What it waits for.
    pub(super) fn deadline(&self, id: InstanceId, spec: &InstanceSpec) -> Option<(Time, Wake)> {
        match &self.state {
            State::Init => None,
            State::Fault => self.voice.probe_at().map(|at| (at, Wake::Other)),
            State::Backup(_) if self.may_not_judge() => None,
            State::Backup(backup) => {
                let wake = if backup.worse.is_some() { Wake::Preempt(id) } else { Wake::MasterDown(id) };
                Some((self.down_at(backup, spec), wake))
            }
            State::Master(master) => match self.mute_at(spec) {
                Some(at) if at < master.advert_at => Some((at, Wake::Other)),
                _ => Some((master.advert_at, Wake::Advert(id))),
            },
        }
    }

    /// Puts one advert out. False when there is nothing to send it from.
    pub(super) fn advertise(&mut self, priority: Priority, cx: &mut Cx<'_>) -> bool {
        // A goodbye comes from an address that has just been lost, if need be: the others know this router by it, and
        // would wait the whole down timer without. IPv6 has no such way, as the kernel makes the header.
        let lost = self.spoke_from.filter(|address| priority == Priority::LEAVING && address.is_ipv4());
        let source = self.binding.source.or(lost).filter(|_| self.binding.can_send);
        let Some(source) = source else { return false };
        self.spoke_from = Some(source);
        self.sender.send(&self.speaker(priority, source, cx), cx.out);
        self.last_sent = Some(cx.now);
        self.counters.advert_sent += 1;
        if priority == Priority::LEAVING {
            self.counters.pri_zero_sent += 1;
        }
        true
    }

    fn speaker<'a>(&self, priority: Priority, source: IpAddr, cx: &Cx<'a>) -> Speaker<'a> {
        Speaker {
            id: cx.id,
            spec: cx.spec,
            priority,
            source,
            ifindex: self.binding.transmit,
            unix_micros: cx.wall.unix(cx.now),
        }
    }

    /// The one writer of the state. Leaving MASTER gives everything up; entering it says so first, then takes.
    pub(super) fn enter(&mut self, next: State, why: Cause, cx: &mut Cx<'_>) {
        let (from, to) = (self.role(), next.role());
        if from == Role::Master && to != Role::Master {
            self.counters.release_master += 1;
            self.plan.end();
            self.rivals.settled();
        }
        self.state = next;
        self.since = cx.now;
        self.why = why.clone();
        self.complained = 0;
        if to == Role::Master && from != Role::Master {
            self.counters.become_master += 1;
            self.learned = cx.spec.interval;
            self.set_lowered(false, cx);
            self.sender.take_over();
            self.plan.begin(&cx.spec.garp, cx.now);
            self.advertise(self.priority(), cx);
            cx.out.push_back(Action::Own(cx.id, cx.spec.claim.clone()));
        } else if from == Role::Master && to != Role::Master {
            cx.out.push_back(Action::Disown(cx.id));
        }
        let silent = to == Role::Fault && from == Role::Init && self.only_pending();
        if to == Role::Fault {
            self.silent = silent;
            self.told_faults = self.faults();
        } else {
            self.told_faults.clear();
        }
        if !silent {
            cx.report(Event::Became { instance: cx.id, from, to, why });
        }
    }

    /// It and its group are held by nothing but scripts that have not reported.
    fn only_pending(&self) -> bool {
        self.own_faults_only_pending() && (self.group_fault.is_none() || self.group_pending)
    }

    pub(super) fn own_faults_only_pending(&self) -> bool {
        self.own_faults.iter().all(|fault| matches!(fault, Fault::Pending(_)))
    }

    /// An owner that meets another owner steps down by one, and takes its priority again when that one is gone.
    fn set_lowered(&mut self, lowered: bool, cx: &mut Cx<'_>) {
        let before = self.priority();
        self.lowered = lowered;
        let after = self.priority();
        if before != after {
            cx.report(Event::PriorityChanged { instance: cx.id, from: before, to: after });
        }
    }

    pub(super) fn become_master(&mut self, why: Cause, cx: &mut Cx<'_>) {
        // What enters MASTER speaks at once and then in steps from here.
        let advert_at = cx.now + cx.spec.interval;
        self.enter(State::Master(Master { advert_at, claim: Claimed::OnItsWay, rival: None }), why, cx);
    }

    /// BACKUP with a fresh timer, which does not begin before the start-up delay has ended.
    pub(super) fn become_backup(&mut self, why: Cause, heard: Option<Heard>, cx: &mut Cx<'_>) {
        self.become_backup_for(Patience::Full, why, heard, cx);
    }

    /// As [`Instance::become_backup`], with that patience.
    fn become_backup_for(&mut self, patience: Patience, why: Cause, heard: Option<Heard>, cx: &mut Cx<'_>) {
        let backup = Backup { heard, patience, ..Backup::fresh(cx.now.max(cx.not_before)) };
        self.enter(State::Backup(backup), why, cx);
    }

    /// It has not begun, and its socket is being opened.
    pub(super) fn is_opening(&self) -> bool {
        self.role() == Role::Init && self.voice.is_opening()
    }

    /// Goes where its faults want it: into FAULT, out of it, or out of INIT. `at_once`: an owner that may start as master.
    pub(super) fn follow_faults(&mut self, at_once: bool, patience: Patience, cx: &mut Cx<'_>) {
        let faults = self.faults();
        match (self.role(), faults.is_empty()) {
            // It begins when it can hear and speak.
            (Role::Init, true) if self.voice.is_opening() => {}
            (Role::Init, true) if at_once && cx.now >= cx.not_before => self.become_master(Cause::Owner, cx),
            (Role::Init, true) => {
                let patience = if at_once { Patience::Nothing } else { patience };
                let backup = Backup { patience, ..Backup::fresh(cx.now.max(cx.not_before)) };
                self.enter(State::Backup(backup), Cause::Start, cx);
            }
            (Role::Fault, true) => {
                self.learned = cx.spec.interval;
                match self.silent && at_once {
                    // It has only waited for a script before it could start.
                    true if cx.now >= cx.not_before => self.become_master(Cause::Owner, cx),
                    waits => {
                        let patience = if waits { Patience::Nothing } else { Patience::Full };
                        let backup = Backup { patience, ..Backup::fresh(cx.now.max(cx.not_before)) };
                        self.enter(State::Backup(backup), Cause::Recovered, cx);
                    }
                }
                self.announce_source(cx);
            }
            (Role::Fault, false) => {
                if self.silent && !self.only_pending() {
                    self.silent = false;
                    let why = Cause::Faulted(faults.clone());
                    cx.report(Event::Became { instance: cx.id, from: Role::Init, to: Role::Fault, why });
                } else if !self.silent && faults != self.told_faults {
                    cx.report(Event::FaultsChanged { instance: cx.id, faults: faults.clone() });
                }
                self.told_faults = faults;
            }
            (role, false) => {
                if role == Role::Master {
                    self.advertise(Priority::LEAVING, cx);
                }
                self.enter(State::Fault, Cause::Faulted(faults), cx);
            }
            (Role::Backup | Role::Master, true) => {}
        }
    }

    /// Peers send to the address of a unicast router itself: they find it again at once when it is back.
    pub(super) fn announce_source(&self, cx: &mut Cx<'_>) {
        let (ifindex, unicast) = (self.binding.base, matches!(cx.spec.transport, Transport::Unicast { .. }));
        if let Some(address) = self.binding.source.filter(|_| unicast && ifindex != 0) {
            cx.out.push_back(Action::AnnounceSource { instance: cx.id, ifindex, address });
        }
    }

    /// Trackers or base priority changed. The next advert carries it, and a backup's deadline moves by itself.
    pub(super) fn set_standing(&mut self, standing: (Priority, i32), cx: &mut Cx<'_>) {
        let before = self.priority();
        self.standing = standing;
        let after = self.priority();
        if std::mem::replace(&mut self.weighed, true) && before != after {
            cx.report(Event::PriorityChanged { instance: cx.id, from: before, to: after });
        }
    }

    /// A master gives everything up, for any router to take.
    pub(super) fn hand_over(&mut self, why: Cause, cx: &mut Cx<'_>) {
        self.advertise(Priority::LEAVING, cx);
        let backup = Backup { patience: Patience::HandedOver, ..Backup::fresh(cx.now.max(cx.not_before)) };
        self.enter(State::Backup(backup), why, cx);
    }

    /// Hand over and stay behind, or come back.
    pub(super) fn set_drained(&mut self, drained: bool, cx: &mut Cx<'_>) {
        let hands_over = drained && !self.drained && self.is_master();
        if hands_over {
            self.hand_over(Cause::Drained, cx);
        }
        let before = self.priority();
        self.drained = drained;
        let after = self.priority();
        if before != after {
            cx.report(Event::PriorityChanged { instance: cx.id, from: before, to: after });
        }
    }

    /// Its time has come. True: what follows for its faults has to be recomputed.
    pub(super) fn on_deadline(&mut self, grouped: bool, cx: &mut Cx<'_>) -> bool {
        match &self.state {
            State::Backup(backup) if self.down_at(backup, cx.spec) <= cx.now && !self.may_not_judge() => {
                let why = match (backup.patience, backup.worse) {
                    (Patience::Skew, _) => Cause::MasterLeft,
                    (Patience::Nothing, _) => Cause::Owner,
                    (Patience::HandedOver, None) => Cause::NobodyTookOver,
                    (_, Some(worse)) => Cause::Preempts { over: worse.from, priority: worse.priority },
                    (_, None) => Cause::MasterSilent,
                };
                match &mut self.state {
                    State::Backup(backup) if grouped => {
                        (backup.since, backup.patience, backup.wants) = (cx.now, Patience::Full, Some(why));
                    }
                    _ => self.become_master(why, cx),
                }
            }
            State::Master(_) if self.mute_at(cx.spec).is_some_and(|at| at <= cx.now) => return self.falls_silent(cx),
            State::Master(master) if master.advert_at <= cx.now => self.advert_due(master.advert_at, cx),
            State::Fault if self.voice.probe_at().is_some_and(|at| at <= cx.now) => self.probe(cx),
            _ => {}
        }
        false
    }

    fn advert_due(&mut self, due: Time, cx: &mut Cx<'_>) {
        let (spec, late) = (cx.spec, cx.now.since(due));
        if let Some(assumed) = spec.timer_expired_backup.filter(|_| !spec.preempt) {
            let patience = election::master_down(spec.version, Priority(assumed), spec.interval, 3);
            if late >= patience.less(spec.interval) {
                // The backups have lost their patience meanwhile, and with nopreempt one of them is to stay master.
                cx.report(Event::Late { by: late });
                self.become_backup(Cause::Stalled, None, cx);
                return;
            }
        }
        if late >= spec.interval {
            cx.report(Event::Late { by: late });
        }
        self.advertise(self.priority(), cx);
        if !self.rivals.is_empty() {
            for from in self.rivals.fallen_silent(self.master_down(spec), cx.now) {
                cx.report(Event::RivalSilent { instance: cx.id, from });
            }
        }
        let State::Master(master) = &mut self.state else { return };
        master.advert_at =
            if late >= spec.interval { following(due, spec.interval, cx.now) } else { due + spec.interval };
        master.rival = match master.rival {
            Some(Rival::Warned { adverts, interval }) if adverts <= 1 => {
                let (n, d) = RIVAL_PATIENCE;
                Some(Rival::Watched { until: cx.now + interval.max(spec.interval).scaled(n, d) })
            }
            Some(Rival::Warned { adverts, interval }) => Some(Rival::Warned { adverts: adverts - 1, interval }),
            Some(Rival::Watched { until }) if until < cx.now => None,
            other => other,
        };
    }

    /// A refused datagram is counted, its sender remembered, and told once; nothing else changes.
    pub(super) fn on_refusal(&mut self, why: Refusal, from: IpAddr, ifindex: u32, cx: &mut Cx<'_>) {
        self.counters.count(why);
        if matches!(why, Refusal::NotListening | Refusal::OwnerIgnores) {
            return;
        }
        self.refused_speakers.refused(from, why, None, ifindex, std::iter::empty(), cx.now);
        if self.complain(Complaint::Refused(why)) {
            let (instance, vrid) = (Some(cx.id), Some(cx.spec.vrid));
            cx.report(Event::Refused { instance, from, ifindex, vrid, why });
        }
    }

    /// True the first time since the role changed or another router was heard.
    pub(super) fn complain(&mut self, complaint: Complaint) -> bool {
        let first = self.complained & complaint.bit() == 0;
        self.complained |= complaint.bit();
        first
    }

    /// The kernel has answered for everything of the claim.
    pub(super) fn set_claimed(&mut self, claim: Claimed) {
        if let State::Master(master) = &mut self.state {
            master.claim = claim;
        }
    }

    /// The start-up delay ends at another time: an instance that waits for its end waits for the new one.
    pub(super) fn move_start(&mut self, before: Time, after: Time) {
        if let State::Backup(backup) = &mut self.state
            && backup.since == before
        {
            backup.since = after;
        }
    }

    /// The configuration is another. `changed`: something that adverts say or how they are timed is different.
    pub(super) fn reloaded(&mut self, before: &InstanceSpec, changed: bool, cx: &mut Cx<'_>) {
        let spec = cx.spec;
        self.sender.forget();
        self.voice.reloaded(spec);
        // What a living master told of its interval is so whatever is configured here.
        let told =
            spec.version == before.version && matches!(&self.state, State::Backup(Backup { heard: Some(_), .. }));
        if spec.version == Version::V2 || (self.learned == before.interval && !told) {
            self.learned = spec.interval;
        }
        let timing = |spec: &InstanceSpec| (spec.version, spec.interval, spec.down_adverts);
        if let State::Backup(backup) = &mut self.state
            && timing(spec) != timing(before)
        {
            // A patience that has become shorter does not end because of that alone.
            backup.since = backup.since.max(cx.now);
        }
        if let State::Backup(backup) = &mut self.state
            && spec.preempt_delay != before.preempt_delay
        {
            backup.preempt_at = None;
        }
        if changed && self.is_master() {
            self.advertise(self.priority(), cx);
            if let State::Master(master) = &mut self.state
                && spec.interval != before.interval
            {
                master.advert_at = cx.now + spec.interval;
            }
        }
    }
}
