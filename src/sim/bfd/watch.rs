//! The laws of sessions, and who looks: one [`Watch`] beside each engine.
//!
//! It is told every turn (what the engine was told, when, and what it answered) and keeps a [`Model`] of each session. It
//! knows the settings and the packets, never the engine's insides, apart from the snapshot that it compares.

use super::model::Model;
use crate::bfd::io::{Action, Command, Event, Input, RxMeta, SessionId, State};
use crate::bfd::snapshot::{SessionView, Snapshot};
use crate::spec::bfd::Session;
use crate::time::{Interval, Time};
use crate::wire::bfd::{Diag, Packet};
use std::collections::BTreeMap;

/// The laws by name; docs/bounds.md says what each means.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Law {
    /// 1: gaps between periodic packets are 75 to 100 % of the interval that both agreed to (90 % at multiplier 1).
    Cadence,
    /// 2: a session is in the state that the table and the detection time give, at every moment.
    Detection,
    /// 3: over a good path both ends are up within two idle intervals, and stay so.
    ComesUp,
    /// 4: one-way cuts end in rest, without swinging.
    Rests,
    /// 5: every poll is answered by one final in the same turn; no packet has both; nothing else makes a final.
    PollAnswered,
    /// 6: packets out of turn are not more than changes.
    NoPingPong,
    /// 7: who wants no packets gets none but finals and changes.
    Quiet,
    /// 8: a reload of the same says nothing, and moves no deadline of others.
    ReloadMovesNothing,
    /// 9: trackers read what the model reads.
    Level,
    /// 10: every change is told once, with its cause.
    OneCause,
    /// 11: a refused packet changes nothing but counters.
    RefusedChangesNothing,
    /// 12: a passive session says nothing before it is spoken to, nor after the peer fell silent.
    PassiveWaits,
    /// 13: facts that are told late, with their true times, give the same states.
    LateFacts,
}

/// A law that did not hold.
pub type Violation = crate::sim::law::Violation<Law>;

struct Watched {
    model: Model,
    id: Option<SessionId>,
    discriminator: u32,
    /// The last periodic packet or the last change, and the least and greatest interval since.
    anchor: Option<(Time, Option<Interval>, Interval)>,
    last: Option<(State, Diag)>,
    /// Changes that no packet has told yet.
    untold: u64,
    changes: u64,
    blocked: bool,
    /// So many of the next gaps say nothing: a packet was late, so the next one comes early.
    excused: u8,
}

/// Watches one engine.
pub struct Watch {
    sessions: Vec<Watched>,
    ids: BTreeMap<SessionId, Session>,
    /// How late the engine may be woken.
    tolerance: Interval,
    before: Snapshot,
    deadline: Option<Time>,
    /// What is told now happened earlier: see [`Watch::told_late`].
    late: bool,
    pub violations: Vec<Violation>,
    pub turns: u64,
}

impl Watch {
    /// `specs`: what the engine begins with. `tolerance`: how late it may be woken without it being a fault.
    pub fn new(specs: &[Session], tolerance: Interval) -> Watch {
        let mut watch = Watch {
            sessions: Vec::new(),
            ids: BTreeMap::new(),
            tolerance,
            before: Snapshot::default(),
            deadline: None,
            late: false,
            violations: Vec::new(),
            turns: 0,
        };
        watch.take_over(specs);
        watch
    }

    /// From here on (or no more) the facts are old ones, told with their true times, as after a stop of the process.
    pub fn told_late(&mut self, late: bool) {
        self.late = late;
    }

    fn take_over(&mut self, specs: &[Session]) {
        let mut old = std::mem::take(&mut self.sessions);
        for spec in specs {
            let kept = old.iter().position(|one| one.model.spec.same_session(spec)).map(|at| old.remove(at));
            let mut watched = kept.unwrap_or_else(|| Watched {
                model: Model::new(spec),
                id: None,
                discriminator: 0,
                anchor: None,
                last: None,
                untold: 0,
                changes: 0,
                blocked: false,
                excused: 0,
            });
            if watched.model.spec.multiplier != spec.multiplier {
                // What has been drawn has been drawn.
                watched.excused = watched.excused.max(1);
            }
            watched.model.reconfigure(spec);
            self.sessions.push(watched);
        }
    }

    /// The engine begins, with these first actions.
    pub fn began(&mut self, now: Time, actions: &[Action], after: Snapshot, deadline: Option<Time>) {
        self.answers(now, actions, &[], &after);
        (self.before, self.deadline) = (after, deadline);
    }

    /// The engine was told `input` at `at`.
    pub fn turn(&mut self, input: &Input<'_>, at: Time, actions: &[Action], after: Snapshot, deadline: Option<Time>) {
        self.turns += 1;
        let late = self.deadline.map_or(Interval::ZERO, |due| at.since(due)) > self.tolerance;
        for one in &mut self.sessions {
            one.excused = if late { 2 } else { one.excused };
            one.model.pass(at);
        }
        let mut polls = Vec::new();
        match input {
            Input::Packet { meta, bytes } => {
                let taken = self.hear(meta, bytes, at, &mut polls);
                if !taken {
                    self.unchanged(at, actions, &after, late);
                }
            }
            Input::Command(Command::Shutdown { session }) => {
                if let Some(one) = self.by_id(*session) {
                    one.model.shut_down();
                }
            }
            Input::Command(Command::NoShutdown { session }) => {
                if let Some(one) = self.by_id(*session) {
                    one.model.allow(at);
                }
            }
            _ => {}
        }
        for action in actions {
            match action {
                Action::Report(Event::Blocked { name, .. }) => {
                    if let Some(one) = self.sessions.iter_mut().find(|one| one.model.spec.name == *name) {
                        one.blocked = true;
                        one.model.obstructed();
                    }
                }
                Action::Report(Event::Unblocked { name }) => {
                    if let Some(one) = self.sessions.iter_mut().find(|one| one.model.spec.name == *name) {
                        (one.blocked, one.excused) = (false, 1);
                    }
                }
                _ => {}
            }
        }
        self.answers(at, actions, &polls, &after);
        (self.before, self.deadline) = (after, deadline);
    }

    /// The engine went over to other settings.
    pub fn reloaded(
        &mut self,
        specs: &[Session],
        at: Time,
        actions: &[Action],
        after: Snapshot,
        deadline: Option<Time>,
    ) {
        let same = self.sessions.len() == specs.len()
            && self.sessions.iter().zip(specs).all(|(one, spec)| one.model.spec == *spec);
        for one in &mut self.sessions {
            one.model.pass(at);
        }
        if same && self.deadline.is_none_or(|due| due > at) {
            if let Some(action) = actions.first() {
                self.wrong(at, Law::ReloadMovesNothing, format!("a reload of the same gives {action:?}"));
            }
            if deadline != self.deadline {
                self.wrong(at, Law::ReloadMovesNothing, "a reload of the same moves a deadline".into());
            }
        }
        self.take_over(specs);
        self.answers(at, actions, &[], &after);
        (self.before, self.deadline) = (after, deadline);
    }

    fn by_id(&mut self, id: SessionId) -> Option<&mut Watched> {
        self.sessions.iter_mut().find(|one| one.id == Some(id))
    }

    fn wrong(&mut self, at: Time, law: Law, text: String) {
        if self.violations.len() < 20 {
            self.violations.push(Violation { at, law, text });
        }
    }

    /// Would the packet have to be taken? Names the sessions whose polls want an answer.
    fn hear(&mut self, meta: &RxMeta, bytes: &[u8], at: Time, polls: &mut Vec<Box<str>>) -> bool {
        let Ok(packet) = Packet::parse(bytes) else { return false };
        let fits = |one: &&mut Watched| {
            let spec = &one.model.spec;
            let named = if packet.your_discriminator == 0 {
                spec.source.is_none() || meta.destination.is_none() || spec.source == meta.destination
            } else {
                packet.your_discriminator == one.discriminator
            };
            named && spec.neighbor == meta.source && spec.multihop == meta.multihop && !meta.cut
        };
        let Some(one) = self.sessions.iter_mut().find(fits) else { return false };
        let spec = &one.model.spec;
        let near = match (spec.max_hops, meta.ttl) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(hops), Some(ttl)) => u32::from(ttl) + u32::from(hops) >= u32::from(spec.ttl_base),
        };
        let taken = near && one.model.hear(&packet, at);
        if taken && packet.poll && !one.blocked {
            polls.push(one.model.spec.name.clone());
        }
        taken
    }

    /// Nothing but counters may differ after a refused packet.
    fn unchanged(&mut self, at: Time, actions: &[Action], after: &Snapshot, late: bool) {
        // Something may have been due just then.
        if late || self.deadline.is_some_and(|due| due <= at) {
            return;
        }
        let without = |snapshot: &Snapshot| -> Vec<SessionView> {
            let clean = |view: &SessionView| SessionView { counters: Default::default(), ..view.clone() };
            snapshot.sessions.iter().map(clean).collect()
        };
        let answered = actions.iter().find(|action| !matches!(action, Action::Report(Event::Refused { .. })));
        if without(&self.before) != without(after) {
            self.wrong(at, Law::RefusedChangesNothing, "a refused packet changed a session".into());
        } else if let Some(action) = answered {
            self.wrong(at, Law::RefusedChangesNothing, format!("a refused packet was answered: {action:?}"));
        }
    }

    fn answers(&mut self, at: Time, actions: &[Action], polls: &[Box<str>], after: &Snapshot) {
        let mut finals: BTreeMap<Box<str>, u32> = BTreeMap::new();
        let mut told: BTreeMap<Box<str>, u64> = BTreeMap::new();
        for action in actions {
            match action {
                Action::Open(id, outlet) => {
                    let here = |one: &&mut Watched| {
                        let spec = &one.model.spec;
                        (spec.neighbor, spec.source, spec.multihop) == (outlet.neighbor, outlet.source, outlet.multihop)
                    };
                    if let Some(one) = self.sessions.iter_mut().find(here) {
                        one.id = Some(*id);
                        let spec = one.model.spec.clone();
                        self.ids.insert(*id, spec);
                    }
                }
                Action::Report(Event::Became { name, from, to, .. }) => {
                    if from == to {
                        self.wrong(at, Law::OneCause, format!("{name}: {to} became {to}"));
                    }
                    *told.entry(name.clone()).or_default() += 1;
                    if let Some(one) = self.sessions.iter_mut().find(|one| one.model.spec.name == *name) {
                        one.untold += 1;
                    }
                }
                Action::Send(id, bytes) => match Packet::parse(bytes) {
                    Ok(packet) => self.sent(*id, &packet, at, &mut finals),
                    Err(malformed) => self.wrong(at, Law::PollAnswered, format!("a packet is malformed: {malformed}")),
                },
                _ => {}
            }
        }
        for name in polls {
            if finals.remove(name) != Some(1) {
                self.wrong(at, Law::PollAnswered, format!("{name}: a poll was not answered by one final"));
            }
        }
        if let Some(name) = finals.keys().next() {
            self.wrong(at, Law::PollAnswered, format!("{name}: a final that nobody asked for"));
        }
        self.compare(at, &told, after);
    }

    fn sent(&mut self, id: SessionId, packet: &Packet, at: Time, finals: &mut BTreeMap<Box<str>, u32>) {
        let tolerance = self.tolerance;
        let Some(one) = self.by_id(id) else { return };
        let name = one.model.spec.name.clone();
        let mut wrong = Vec::new();
        if one.model.spec.passive && one.model.forgotten {
            wrong.push((Law::PassiveWaits, format!("{name} is passive and speaks without having been spoken to")));
        }
        let said = (packet.state, packet.diag);
        let change = one.last != Some(said);
        if change && one.last.is_some() {
            match one.untold {
                0 => wrong.push((Law::NoPingPong, format!("{name}: a packet tells a change that was none"))),
                _ => one.untold = 0,
            }
        }
        one.last = Some(said);
        one.model.said(packet);
        let interval = one.model.interval();
        if packet.is_final {
            *finals.entry(name.clone()).or_default() += 1;
            if change && let Some(interval) = interval {
                one.anchor = Some((at, Some(interval), interval));
            }
        } else if change {
            one.excused = one.excused.min(1);
            one.anchor = Some((at, interval, interval.unwrap_or_default()));
        } else {
            // A periodic packet.
            let Some(interval) = interval else {
                let text = format!("{name}: a periodic packet, although none is wanted");
                let law = if one.model.spec.passive && one.model.forgotten { Law::PassiveWaits } else { Law::Quiet };
                wrong.push((law, text));
                return self.wrong_all(at, wrong);
            };
            if let (Some((before, least, most)), 0) = (one.anchor, one.excused) {
                let gap = at.since(before);
                let least = least.unwrap_or(interval).min(interval);
                let most = most.max(interval);
                let ceiling = if one.model.spec.multiplier == 1 { most.scaled(90, 100) } else { most };
                if gap + tolerance < least.scaled(3, 4) {
                    wrong
                        .push((Law::Cadence, format!("{name}: {gap} s after the last, with an interval of {least} s")));
                }
                if gap > ceiling + tolerance {
                    wrong.push((Law::Cadence, format!("{name}: {gap} s after the last, with an interval of {most} s")));
                }
            }
            one.excused = one.excused.saturating_sub(1);
            one.anchor = Some((at, Some(interval), interval));
        }
        self.wrong_all(at, wrong);
    }

    fn wrong_all(&mut self, at: Time, list: Vec<(Law, String)>) {
        for (law, text) in list {
            self.wrong(at, law, text);
        }
    }

    fn compare(&mut self, at: Time, told: &BTreeMap<Box<str>, u64>, after: &Snapshot) {
        let mut wrong = Vec::new();
        let of_state = if self.late { Law::LateFacts } else { Law::Detection };
        for one in &mut self.sessions {
            let name = one.model.spec.name.clone();
            let Some(view) = after.sessions.iter().find(|view| view.name == name) else { continue };
            one.discriminator = view.discriminator;
            if view.state != one.model.state {
                let (is, should) = (view.state, one.model.state);
                wrong.push((of_state, format!("{name} is {is} and should be {should}")));
                one.model.state = is;
            } else if (view.level.up, view.level.held) != (one.model.up, one.model.held) {
                let should = (one.model.up, one.model.held);
                wrong.push((Law::Level, format!("{name}: trackers read {:?} and should read {should:?}", view.level)));
            }
            let changes = std::mem::replace(&mut one.changes, one.model.changes);
            let happened = one.model.changes - changes;
            if told.get(&name).copied().unwrap_or(0) != happened {
                wrong.push((Law::OneCause, format!("{name}: {happened} changes, told {:?}", told.get(&name))));
            }
            // The interval may have changed: the next gap may be of the old one or of the new one.
            if let Some((_, least, most)) = &mut one.anchor {
                match one.model.interval() {
                    Some(interval) => {
                        *least = Some(least.map_or(interval, |least| least.min(interval)));
                        *most = (*most).max(interval);
                    }
                    None => one.excused = one.excused.max(1),
                }
            }
        }
        self.wrong_all(at, wrong);
    }
}
