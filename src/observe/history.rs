//! What happened to each instance and group lately: the answer of `vipctl history` to "what was that, last night?"
//!
//! [`History`] is the observer and the handle by which its record is read: clones share it. It keeps the last [`MOST`]
//! changes under the name of what they happened to, so that they outlive a reload; an upgrade hands them on with the rest
//! of the daemon's belongings. It never grows with time: names that two configurations in turn do not have are forgotten.

use super::Context;
use super::Observer;
use super::Wishes;
use super::json;
use crate::vrrp::io::Event;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// Changes kept for each name.
pub const MOST: usize = 64;
/// Under this name stands what happened to the daemon as a whole; no instance can be called so.
const DAEMON: &str = "";

/// One change.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Moment {
    /// Microseconds since 1970, by the wall clock of that moment.
    pub unix_micros: u64,
    /// As `vipctl watch --json` shows it.
    pub event: serde_json::Value,
}

type Record = BTreeMap<Box<str>, VecDeque<Moment>>;

#[derive(Clone, Default, Debug)]
pub struct History(Arc<Mutex<Record>>);

impl History {
    /// Goes on with the record of the program before.
    pub fn of(record: Record) -> History {
        History(Arc::new(Mutex::new(record)))
    }

    /// All of it, to be handed on.
    pub fn record(&self) -> Record {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A configuration came into force; `changes`: in words.
    pub fn reloaded(&self, unix_micros: u64, changes: &str) {
        let text = format!("Configuration reloaded: {changes}");
        let event = serde_json::json!({ "kind": "reloaded", "changes": changes, "text": text });
        self.note(DAEMON, unix_micros, event);
    }

    /// The changes of one name or of all, oldest first; `None` when nothing of that name is known.
    pub fn of_name(&self, name: Option<&str>) -> Option<Vec<Moment>> {
        let record = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = name {
            return record.get(name).map(|moments| moments.iter().cloned().collect());
        }
        let mut all: Vec<Moment> = record.values().flatten().cloned().collect();
        all.sort_by_key(|moment| moment.unix_micros);
        Some(all)
    }
}

impl History {
    /// Notes what happened to something that is no virtual router (a BFD session), under its name.
    pub fn note(&self, name: &str, unix_micros: u64, event: serde_json::Value) {
        let mut record = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let moments = record.entry(name.into()).or_default();
        if moments.len() >= MOST {
            moments.pop_front();
        }
        moments.push_back(Moment { unix_micros, event });
    }
}

impl Observer for History {
    fn event(&mut self, event: &Event, cx: &Context<'_>, _: &mut Wishes) {
        let name = match event {
            Event::Became { instance, .. }
            | Event::PriorityChanged { instance, .. }
            | Event::RivalMaster { instance, .. }
            | Event::RivalStays { instance, .. }
            | Event::RivalSilent { instance, .. }
            | Event::Refused { instance: Some(instance), .. }
            | Event::FaultsChanged { instance, .. }
            | Event::Healed { instance, .. }
            | Event::ClaimFailed { instance, .. }
            | Event::Swept { instance, .. }
            | Event::SendFailed { instance, .. }
            | Event::Stopped { instance } => cx.name(*instance),
            Event::GroupBecame { group, .. } => cx.group_name(*group),
            Event::Deleted { name, .. } => name,
            Event::ReloadRefused { .. } => DAEMON,
            // What comes with each advert, or what the changes above follow from.
            Event::HeardLower { .. }
            | Event::WillPreempt { .. }
            | Event::Refused { instance: None, .. }
            | Event::AddressListDiffers { .. }
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

    fn reconfigured(&mut self, cx: &Context<'_>) {
        let mut record = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let group = |name: &str| cx.spec.groups.iter().any(|group| *group.name == *name);
        let session = |name: &str| cx.spec.sessions.iter().any(|session| *session.name == *name);
        record.retain(|name, _| **name == *DAEMON || cx.deleted(name).is_some() || group(name) || session(name));
    }
}
