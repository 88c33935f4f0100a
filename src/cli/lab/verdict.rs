//! How the rehearsal went, in sentences and in one JSON object.

use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// One wait for a holder.
#[derive(Clone, Debug)]
pub struct Step {
    /// Who answered steadily in the end, if anybody.
    pub holder: Option<usize>,
    /// Who would be right.
    pub right: Vec<usize>,
    /// From the beginning of the wait to the first answer of `holder`.
    pub after: Option<Duration>,
    pub start: Instant,
}

impl Step {
    pub fn good(&self) -> bool {
        self.holder.is_some_and(|h| self.right.contains(&h))
    }
}

/// Silence that the client saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gap {
    pub longest: Duration,
    pub failed: usize,
    pub requests: usize,
}

/// All that is known at the end.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    pub names: Vec<String>,
    pub address: String,
    pub start: Option<Step>,
    pub failed_server: usize,
    /// What was done, in words.
    pub deed: Option<String>,
    pub takeover: Option<(Step, Gap)>,
    pub recovery: Option<(Step, Gap)>,
}

impl Verdict {
    /// The address answered before, moved to the right server, and came back to the right one.
    pub fn good(&self) -> bool {
        self.start.as_ref().is_some_and(Step::good)
            && (self.deed.is_none()
                || (self.takeover.as_ref().is_some_and(|(s, _)| s.good())
                    && self.recovery.as_ref().is_some_and(|(s, _)| s.good())))
    }

    fn name(&self, server: Option<usize>) -> &str {
        server.and_then(|s| self.names.get(s)).map_or("nobody", String::as_str)
    }
    fn right(&self, step: &Step) -> String {
        let names: Vec<&str> = step.right.iter().map(|s| self.name(Some(*s))).collect();
        if names.is_empty() { "nobody".into() } else { names.join(" or ") }
    }

    pub fn sentences(&self) -> String {
        let mut out = String::new();
        let mut say = |text: String| out += &format!("{text}\n");
        let Some(start) = &self.start else { return "The rehearsal did not begin.\n".into() };
        let address = &self.address;
        if !start.good() {
            say(format!(
                "Before the failure {address} was answered by {}, not by {}.",
                self.name(start.holder),
                self.right(start)
            ));
            return out;
        }
        say(format!("Before the failure {} answered at {address}.", self.name(start.holder)));
        let Some(deed) = &self.deed else { return out };
        say(format!("Then {deed}."));
        if let Some((step, gap)) = &self.takeover {
            if step.good() && step.holder == start.holder {
                say(format!(
                    "{} kept the address, as the configurations say. {}",
                    self.name(step.holder),
                    silence(gap)
                ));
            } else if step.good() {
                let after = step.after.map_or(String::new(), |a| format!(" {} later", seconds(a)));
                say(format!("{} took over; its first answer came{after}. {}", self.name(step.holder), silence(gap)));
            } else {
                say(format!(
                    "Afterwards {address} was answered by {}, not by {}.",
                    self.name(step.holder),
                    self.right(step)
                ));
            }
        }
        if let Some((step, gap)) = &self.recovery {
            let failed = self.name(Some(self.failed_server));
            if step.good() && step.holder == Some(self.failed_server) {
                say(format!("When {failed} was well again it had the address again. {}", silence(gap)));
            } else if step.good() {
                let holder = self.name(step.holder);
                say(format!(
                    "When {failed} was well again {holder} kept the address, as the configurations say. {}",
                    silence(gap)
                ));
            } else {
                say(format!(
                    "When {failed} was well again {address} was answered by {}, not by {}.",
                    self.name(step.holder),
                    self.right(step)
                ));
            }
        }
        out
    }

    pub fn json(&self) -> Value {
        let step = |step: &Step, gap: Option<&Gap>| {
            let right: Vec<&str> = step.right.iter().map(|s| self.name(Some(*s))).collect();
            let mut value = json!({
                "ok": step.good(),
                "holder": step.holder.map(|h| self.name(Some(h))),
                "right": right,
                "first_answer_after_seconds": step.after.map(|a| a.as_secs_f64()),
            });
            if let Some(gap) = gap {
                value["longest_silence_seconds"] = json!(gap.longest.as_secs_f64());
                value["failed_requests"] = json!(gap.failed);
                value["requests"] = json!(gap.requests);
            }
            value
        };
        json!({ "verdict": {
            "ok": self.good(),
            "address": self.address,
            "start": self.start.as_ref().map(|s| step(s, None)),
            "failure": self.deed,
            "takeover": self.takeover.as_ref().map(|(s, g)| step(s, Some(g))),
            "recovery": self.recovery.as_ref().map(|(s, g)| step(s, Some(g))),
        }})
    }
}

fn seconds(length: Duration) -> String {
    format!("{:.2} s", length.as_secs_f64())
}

fn silence(gap: &Gap) -> String {
    if gap.failed == 0 {
        "The client saw no gap.".to_owned()
    } else {
        format!(
            "The client saw no answer for {} ({} of {} requests failed).",
            seconds(gap.longest),
            gap.failed,
            gap.requests
        )
    }
}
