//! What people (or programs, with --json) see while the rehearsal runs.

use crate::cli::paint::Paint;
use crate::lab::Audience;
use crate::lab::client::Answer;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Prints events with the time since the start, and once a second what the client got.
#[derive(Debug)]
pub struct Timeline {
    start: Instant,
    json: bool,
    paint: Paint,
    width: usize,
    /// By second.
    counts: BTreeMap<u64, Second>,
    shown: String,
}

#[derive(Debug, Default)]
struct Second {
    asked: u32,
    answered: BTreeMap<String, u32>,
}

/// How long after its second an answer still counts, in seconds.
const GRACE: f64 = 0.1;

impl Audience for Timeline {
    fn state(&mut self, at: Instant, node: &str, instance: &str, state: &str) {
        let text = format!("{instance} is {}", self.paint.state(state));
        self.say(at, node, &text, json!({ "event": "state", "server": node, "instance": instance, "state": state }));
    }
    fn address(&mut self, at: Instant, node: &str, address: IpAddr, present: bool) {
        let text = if present { format!("has {address}") } else { format!("gives {address} up") };
        self.say(
            at,
            node,
            &text,
            json!({ "event": "address", "server": node, "address": address, "present": present }),
        );
    }
    fn note(&mut self, at: Instant, node: &str, text: &str) {
        self.say(at, node, text, json!({ "event": "note", "server": node, "text": text }));
    }
    /// Something that the rehearsal does.
    fn act(&mut self, at: Instant, node: &str, text: &str) {
        let shown = self.paint.careful(text);
        self.say(at, node, &shown, json!({ "event": "act", "server": node, "text": text }));
    }

    /// A request has been sent.
    fn asked(&mut self, at: Instant) {
        let second = self.seconds(at) as u64;
        self.counts.entry(second).or_default().asked += 1;
    }

    /// Takes one answer in.
    fn answer(&mut self, answer: &Answer) {
        let second = self.seconds(answer.sent) as u64;
        if let (Some(by), Some(counts)) = (&answer.by, self.counts.get_mut(&second)) {
            *counts.answered.entry(by.clone()).or_default() += 1;
        }
    }

    /// Shows the seconds that are over, when they differ from the one before. What has not been answered a moment
    /// after its second counts as lost.
    fn passes(&mut self, now: Instant) {
        let over = (self.seconds(now) - GRACE).max(0.0) as u64;
        while let Some(entry) = self.counts.first_entry().filter(|e| *e.key() < over) {
            let (second, counts) = entry.remove_entry();
            self.second(second, &counts);
        }
    }
}

impl Timeline {
    pub(crate) fn new(json: bool, names: impl Iterator<Item = usize>) -> Timeline {
        let width = names.max().unwrap_or(0).max("client".len());
        let paint = if json { Paint::plain() } else { Paint::stdout() };
        Timeline { start: Instant::now(), json, paint, width, counts: BTreeMap::new(), shown: String::new() }
    }

    pub(crate) fn seconds(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.start).as_secs_f64()
    }

    fn second(&mut self, second: u64, counts: &Second) {
        let lost = counts.asked.saturating_sub(counts.answered.values().sum());
        let by: Vec<String> = counts.answered.iter().map(|(name, n)| format!("{n} answered by {name}")).collect();
        let mut text = by.join(", ");
        if lost > 0 {
            let failed = self.paint.bad(&format!("{lost} without an answer"));
            text += &format!("{}{failed}", if text.is_empty() { "" } else { ", " });
        }
        // Steady seconds are not repeated: the same servers, nothing lost.
        let gist = format!("{:?} {}", counts.answered.keys(), lost > 0);
        if !self.json && gist == self.shown && lost == 0 {
            return;
        }
        self.shown = gist;
        let value = json!({ "event": "requests", "second": second, "answered": counts.answered, "failed": lost });
        let at = self.start + Duration::from_secs(second + 1);
        self.say(at, "client", &format!("{} requests this second: {text}", counts.asked), value);
    }

    fn say(&self, at: Instant, who: &str, text: &str, mut value: Value) {
        let seconds = self.seconds(at);
        let mut out = std::io::stdout().lock();
        let _ = if self.json {
            value["at"] = json!((seconds * 1000.0).round() / 1000.0);
            write!(out, "{}", crate::cli::steer::json_line(value))
        } else {
            let who = format!("{who:<width$}", width = self.width);
            writeln!(out, "{} {}  {text}", self.paint.dim(&format!("{seconds:8.3} s")), self.paint.name(&who))
        };
        let _ = out.flush();
    }
}
