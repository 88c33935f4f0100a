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
    /// Requests of the address.
    address: Requests,
    /// Requests of virtual servers, by name.
    services: BTreeMap<String, Requests>,
}

/// What the client asked at one place and who answered, until it is told.
#[derive(Debug, Default)]
struct Requests {
    /// By the second in which they were sent, counted from the start.
    counts: BTreeMap<u64, Second>,
    /// The last second that was told.
    shown: Gist,
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
        let requests = self.services.entry(service.to_owned()).or_default();
        requests.asked(second);
        requests.answered(second, answer);
    }

    /// A request has been sent.
    fn asked(&mut self, at: Instant) {
        let second = self.seconds(at) as u64;
        self.address.asked(second);
    }

    /// Takes one answer in.
    fn answer(&mut self, answer: &Answer) {
        let second = self.seconds(answer.sent) as u64;
        self.address.answered(second, answer);
    }

    /// Shows the seconds that are over, when they differ from the one before. What has not been answered a moment
    /// after its second counts as lost.
    fn passes(&mut self, now: Instant) {
        let now = self.seconds(now) - GRACE;
        let mut address = std::mem::take(&mut self.address);
        self.tell(&mut address, now, None);
        self.address = address;
        let mut services = std::mem::take(&mut self.services);
        for (name, requests) in &mut services {
            // What became of a request is known a second later at the latest.
            self.tell(requests, now - 1.0, Some(name));
        }
        self.services = services;
    }
}

impl Requests {
    fn asked(&mut self, second: u64) {
        self.counts.entry(second).or_default().asked += 1;
    }

    /// An answer to a request of a second that has been told comes too late to count.
    fn answered(&mut self, second: u64, answer: &Answer) {
        if let (Some(by), Some(counts)) = (&answer.by, self.counts.get_mut(&second)) {
            *counts.answered.entry(by.clone()).or_default() += 1;
        }
    }

    /// The first second that was over at `end`, seconds from the start; it is told once.
    fn next_over(&mut self, end: f64) -> Option<(u64, Second)> {
        let end = end.max(0.0) as u64;
        self.counts.first_entry().filter(|entry| *entry.key() < end).map(|entry| entry.remove_entry())
    }
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
        let (address, services) = (Requests::default(), BTreeMap::new());
        Timeline { start: Instant::now(), json, paint, width, address, services }
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

    /// Tells the seconds that were over at `end`, of the address or of a virtual server by its name.
    fn tell(&self, requests: &mut Requests, end: f64, service: Option<&str>) {
        while let Some((second, counts)) = requests.next_over(end) {
            let (text, gist) = self.told(&counts);
            // Steady seconds are not repeated: the same servers, nothing lost.
            if self.json || gist != requests.shown || gist.1 {
                let (event, front) = match service {
                    Some(name) => ("served", format!("{name}: ")),
                    None => ("requests", String::new()),
                };
                let mut value =
                    json!({ "event": event, "second": second, "answered": counts.answered, "failed": counts.lost() });
                if let Some(name) = service {
                    value["virtual_server"] = name.into();
                }
                let at = self.start + Duration::from_secs(second + 1);
                self.say(at, "client", &format!("{front}{} requests this second: {text}", counts.asked), value);
            }
            requests.shown = gist;
        }
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
