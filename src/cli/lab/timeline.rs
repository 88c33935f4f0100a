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
    shown: Gist,
    /// By virtual server.
    services: BTreeMap<String, Served>,
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

    fn server(&mut self, at: Instant, node: &str, service: &str, real: &str, good: bool, text: &str) {
        let shown = if good { self.paint.good(text) } else { self.paint.bad(text) };
        let value = json!({ "event": "server", "server": node, "virtual_server": service, "real_server": real, "good": good, "text": text });
        self.say(at, node, &shown, value);
    }
    /// A request at a virtual server has its answer, or none.
    fn served(&mut self, service: &str, answer: &Answer) {
        let second = self.seconds(answer.sent) as u64;
        let of = self.services.entry(service.to_owned()).or_default();
        let counts = of.counts.entry(second).or_default();
        counts.asked += 1;
        if let Some(by) = &answer.by {
            *counts.answered.entry(by.clone()).or_default() += 1;
        }
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
        let mut services = std::mem::take(&mut self.services);
        // What became of a request is known a second later at the latest.
        let over = (self.seconds(now) - GRACE - 1.0).max(0.0) as u64;
        for (name, of) in &mut services {
            while let Some(entry) = of.counts.first_entry().filter(|e| *e.key() < over) {
                let (second, counts) = entry.remove_entry();
                let (text, gist) = self.told(&counts);
                if self.json || gist != of.shown || gist.1 {
                    let value = json!({ "event": "served", "virtual_server": name, "second": second, "answered": counts.answered, "failed": counts.lost() });
                    let at = self.start + Duration::from_secs(second + 1);
                    self.say(at, "client", &format!("{name}: {} requests this second: {text}", counts.asked), value);
                }
                of.shown = gist;
            }
        }
        self.services = services;
    }
}

/// What the client got at one virtual server.
#[derive(Debug, Default)]
struct Served {
    counts: BTreeMap<u64, Second>,
    shown: Gist,
}

/// Who answered in a second, and whether something was lost.
type Gist = (Vec<String>, bool);

impl Second {
    fn lost(&self) -> u32 {
        self.asked.saturating_sub(self.answered.values().sum())
    }
}

impl Timeline {
    pub(crate) fn new(json: bool, names: impl Iterator<Item = usize>) -> Timeline {
        let width = names.max().unwrap_or(0).max("client".len());
        let paint = if json { Paint::plain() } else { Paint::stdout() };
        let (counts, shown, services) = (BTreeMap::new(), Gist::default(), BTreeMap::new());
        Timeline { start: Instant::now(), json, paint, width, counts, shown, services }
    }

    pub(crate) fn seconds(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.start).as_secs_f64()
    }

    /// Who answered in a second, in words and in short.
    fn told(&self, counts: &Second) -> (String, Gist) {
        let lost = counts.lost();
        let by: Vec<String> = counts.answered.iter().map(|(name, n)| format!("{n} answered by {name}")).collect();
        let mut text = by.join(", ");
        if lost > 0 {
            let failed = self.paint.bad(&format!("{lost} without an answer"));
            text += &format!("{}{failed}", if text.is_empty() { "" } else { ", " });
        }
        (text, (counts.answered.keys().cloned().collect(), lost > 0))
    }

    fn second(&mut self, second: u64, counts: &Second) {
        let (text, gist) = self.told(counts);
        // Steady seconds are not repeated: the same servers, nothing lost.
        if !self.json && gist == self.shown && !gist.1 {
            return;
        }
        self.shown = gist;
        let value =
            json!({ "event": "requests", "second": second, "answered": counts.answered, "failed": counts.lost() });
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
