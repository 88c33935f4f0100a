//! How the rehearsal went, in sentences and in one JSON object.

use crate::cli::standing;
use crate::lab::verdict::{Gap, Standing, Step, Verdict};
use serde_json::{Value, json};
use std::time::Duration;

pub(crate) fn sentences(verdict: &Verdict) -> String {
    let mut out = String::new();
    let mut say = |text: String| out += &format!("{text}\n");
    let Some(start) = &verdict.start else { return "The rehearsal did not begin.\n".into() };
    let address = &verdict.address;
    if !start.good() {
        say(format!(
            "Before the failure {address} was answered by {}, not by {}.",
            verdict.name(start.holder),
            right(verdict, start)
        ));
        return out;
    }
    say(format!("Before the failure {} answered at {address}.", verdict.name(start.holder)));
    let Some(deed) = &verdict.deed else { return out };
    say(format!("Then {deed}."));
    if let Some((step, gap)) = &verdict.takeover {
        if step.good() && step.holder == start.holder {
            say(format!("{} kept the address, as the configurations say. {}", verdict.name(step.holder), silence(gap)));
        } else if step.good() {
            let after = step.after.map_or(String::new(), |a| format!(" {} later", seconds(a)));
            say(format!("{} took over; its first answer came{after}. {}", verdict.name(step.holder), silence(gap)));
        } else {
            say(format!(
                "Afterwards {address} was answered by {}, not by {}.",
                verdict.name(step.holder),
                right(verdict, step)
            ));
        }
    }
    if let Some((step, gap)) = &verdict.recovery {
        let failed = verdict.name(Some(verdict.failed_server));
        if step.good() && step.holder == Some(verdict.failed_server) {
            say(format!("When {failed} was well again it had the address again. {}", silence(gap)));
        } else if step.good() {
            let holder = verdict.name(step.holder);
            say(format!(
                "When {failed} was well again {holder} kept the address, as the configurations say. {}",
                silence(gap)
            ));
        } else {
            say(format!(
                "When {failed} was well again {address} was answered by {}, not by {}.",
                verdict.name(step.holder),
                right(verdict, step)
            ));
        }
    }
    out
}

pub(crate) fn json(verdict: &Verdict) -> Value {
    let step = |step: &Step, gap: Option<&Gap>| {
        let right: Vec<&str> = step.right.iter().map(|s| verdict.name(Some(*s))).collect();
        let mut value = json!({
            "ok": step.good(),
            "holder": step.holder.map(|h| verdict.name(Some(h))),
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
        "ok": verdict.good(),
        "address": verdict.address,
        "start": verdict.start.as_ref().map(|s| step(s, None)),
        "failure": verdict.deed,
        "takeover": verdict.takeover.as_ref().map(|(s, g)| step(s, Some(g))),
        "recovery": verdict.recovery.as_ref().map(|(s, g)| step(s, Some(g))),
        "standings": standings(verdict),
    }})
}

fn standings(verdict: &Verdict) -> Vec<Value> {
    let row = |s: &Standing| standing::row(&s.server, &s.instance, s.state.as_deref(), &s.addresses);
    let moments = verdict.standings.iter().zip(standing::MOMENTS);
    moments.map(|(all, after)| standing::moment(after, all.iter().map(row))).collect()
}

fn right(verdict: &Verdict, step: &Step) -> String {
    let names: Vec<&str> = step.right.iter().map(|s| verdict.name(Some(*s))).collect();
    if names.is_empty() { "nobody".into() } else { names.join(" or ") }
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
