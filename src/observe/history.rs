//! What happened to each instance, group, virtual server and real server lately: the answer of `vipctl history` to "what was
//! that, last night?"
//!
//! [`History`] is the observer and the handle by which its record is read: clones share it. It keeps the last [`MOST`]
//! changes under the name of what they happened to, so that they outlive a reload; an upgrade hands them on with the rest
//! of the daemon's belongings. It never grows with time: names that two configurations in turn do not have are forgotten. A
//! change is kept as text, a tenth of what the same is as a tree, and an instance with a thousand faults has the fewer of them.

use super::Context;
use super::Observer;
use super::Wishes;
use super::balance::story;
use super::json;
use crate::balance::io as balance;
use crate::vrrp::io::Event;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Changes kept for each name.
pub const MOST: usize = 64;
/// Changes kept together, more or less: where there are thousands of names, each has the fewer, but [`LEAST`].
const TOGETHER: usize = 32_768;
const LEAST: usize = 4;
/// Bytes kept for each name, more or less, but [`LEAST`] changes.
const TEXT: usize = 16_384;
/// Under this name stands what happened to the daemon as a whole; no instance can be called so.
const DAEMON: &str = "";

/// One change.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Moment {
    /// Microseconds since 1970, by the wall clock of that moment.
    pub unix_micros: u64,
    /// Its place among all that was noted: a clock that was set back does not put what came later before what came first.
    /// 0 in the record of a program that did not count.
    #[serde(default)]
    pub number: u64,
    /// As `vipctl watch --json` shows it.
    pub event: serde_json::Value,
}

/// What is handed from one program to the next.
type Record = BTreeMap<Box<str>, VecDeque<Moment>>;

/// A [`Moment`] whose event is JSON text.
#[derive(Debug)]
struct Kept {
    unix_micros: u64,
    number: u64,
    event: Box<str>,
    /// What it says of the checks of a virtual server, if it is about those: whether they are made.
    checks: Option<bool>,
}

impl Kept {
    fn new(moment: &Moment) -> Kept {
        let Moment { unix_micros, number, event } = moment;
        let checks = (event["kind"] == "checks").then(|| event["made"].as_bool()).flatten();
        Kept { unix_micros: *unix_micros, number: *number, event: event.to_string().into(), checks }
    }

    fn moment(&self) -> Moment {
        // It was written by us.
        let event = serde_json::from_str(&self.event).unwrap_or_default();
        Moment { unix_micros: self.unix_micros, number: self.number, event }
    }
}

/// What happened lately, for `vipctl history`; clones share the record.
#[derive(Clone, Default, Debug)]
pub struct History(Arc<Mutex<Notes>>);

#[derive(Default, Debug)]
struct Notes {
    kept: BTreeMap<Box<str>, VecDeque<Kept>>,
    /// Of the moment that was noted last.
    number: u64,
}

impl History {
    /// Goes on with the record of the program before.
    pub fn of(record: Record) -> History {
        let number = record.values().flatten().map(|moment| moment.number).max().unwrap_or(0);
        let kept = record.into_iter().map(|(name, moments)| (name, moments.iter().map(Kept::new).collect()));
        History(Arc::new(Mutex::new(Notes { kept: kept.collect(), number })))
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of it, to be handed on.
    pub fn record(&self) -> Record {
        let notes = self.notes();
        notes.kept.iter().map(|(name, moments)| (name.clone(), moments.iter().map(Kept::moment).collect())).collect()
    }

    /// A configuration came into force; `changes`: in words.
    pub fn reloaded(&self, unix_micros: u64, changes: &str) {
        let text = format!("Configuration reloaded: {changes}");
        let event = serde_json::json!({ "kind": "reloaded", "changes": changes, "text": text });
        self.note(DAEMON, unix_micros, event);
    }

    /// The changes of one name or of all, oldest first; `None` when nothing of that name is known. A virtual server's are
    /// those of its real servers too, and real servers are called as in [`story::is_called`].
    pub fn of_name(&self, name: Option<&str>) -> Option<Vec<Moment>> {
        let notes = self.notes();
        let record = &notes.kept;
        if let Some(name) = name {
            if let Some(moments) = record.get(name).filter(|_| !story::is_server(name)) {
                return Some(moments.iter().map(Kept::moment).collect());
            }
            let called = record.iter().filter(|(known, _)| story::is_called(known, name));
            let found: Vec<Moment> = called.flat_map(|(_, moments)| moments).map(Kept::moment).collect();
            return Some(in_order(found)).filter(|found| !found.is_empty());
        }
        Some(in_order(record.values().flatten().map(Kept::moment).collect()))
    }
}

impl History {
    /// Notes what happened to something that is no virtual router (a BFD session), under its name.
    pub fn note(&self, name: &str, unix_micros: u64, event: serde_json::Value) {
        let mut notes = self.notes();
        notes.number += 1;
        let number = notes.number;
        let most = (TOGETHER / (notes.kept.len() + 1)).clamp(LEAST, MOST);
        let moments = notes.kept.entry(name.into()).or_default();
        let bytes = |moments: &VecDeque<Kept>| moments.iter().map(|kept| kept.event.len()).sum::<usize>();
        while moments.len() >= most || (moments.len() >= LEAST && bytes(moments) > TEXT) {
            moments.pop_front();
        }
        moments.push_back(Kept::new(&Moment { unix_micros, number, event }));
    }

    /// Whether the checks of a virtual server were said to be made, or not to be, when that was said last.
    fn are_checks_made(&self, service: &str) -> bool {
        let notes = self.notes();
        let moments = notes.kept.get(service).into_iter().flatten().rev();
        moments.filter_map(|kept| kept.checks).next() != Some(false)
    }
}

fn in_order(mut moments: Vec<Moment>) -> Vec<Moment> {
    moments.sort_by_key(|moment| (moment.number, moment.unix_micros));
    moments
}

impl Observer for History {
    fn event(&mut self, event: &Event, cx: &Context<'_>, _: &mut Wishes) {
        let name = match event {
            Event::Became { instance, .. }
            | Event::PriorityChanged { instance, .. }
            | Event::RivalMaster { instance, .. }
            | Event::RivalStays { instance, .. }
            | Event::RivalSilent { instance, .. }
            | Event::Replaced { instance, .. }
            | Event::Refused { instance: Some(instance), .. }
            | Event::FaultsChanged { instance, .. }
            | Event::Healed { instance, .. }
            | Event::ClaimFailed { instance, .. }
            | Event::Swept { instance, .. }
            | Event::SendFailed { instance, .. }
            | Event::AddressListDiffers { instance, .. }
            | Event::Stopped { instance } => cx.name(*instance),
            Event::GroupBecame { group, .. } => cx.group_name(*group),
            Event::Deleted { name, .. } => name,
            Event::Slept { .. } | Event::ReloadRefused { .. } => DAEMON,
            // What comes with each advert, or what the changes above follow from.
            Event::HeardLower { .. }
            | Event::WillPreempt { .. }
            | Event::Refused { instance: None, .. }
            | Event::IntervalLearned { .. }
            | Event::ClockDiffers { .. }
            | Event::ScriptChanged { .. }
            | Event::ScriptTimedOut { .. }
            | Event::ScriptOverrun { .. }
            | Event::TrackerChanged { .. }
            | Event::LinkChanged { .. }
            | Event::Late { .. }
            // What it changed is told by whoever compared the two, in `reloaded`.
            | Event::Reloaded => return,
        };
        self.note(name, cx.unix_micros, json::event(event, cx));
    }

    fn balance(&mut self, event: &balance::Event, cx: &Context<'_>, _: &mut Wishes) {
        let Some((name, _)) = story::story(event) else { return };
        // Told for each check of a virtual server, and worth knowing once.
        if let balance::Event::Checker { activity, .. } = event
            && self.are_checks_made(&name) == (*activity == balance::Activity::Activating)
        {
            return;
        }
        if let Some(event) = story::json(event) {
            self.note(&name, cx.unix_micros, event);
        }
    }

    fn reconfigured(&mut self, cx: &Context<'_>) {
        let servers = cx.servers();
        let groups = cx.spec.groups.iter().map(|group| &*group.name);
        let sessions = cx.spec.sessions.iter().map(|session| &*session.name);
        let others = groups.chain(sessions).chain(servers.iter().map(String::as_str));
        let known: HashSet<&str> = cx.instances().chain(others).chain([DAEMON]).collect();
        self.notes().kept.retain(|name, _| known.contains(&**name));
    }
}
