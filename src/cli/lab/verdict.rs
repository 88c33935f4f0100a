//! How the rehearsal went, in sentences and in one JSON object.

use crate::cli::standing;
use crate::lab::verdict::{Gap, Judged, ServerStanding, ServerStep, Standing, Step, Verdict};
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
    if let Some(before) = verdict.servers.first().filter(|step| !step.good()) {
        servers(before).into_iter().for_each(&mut say);
    }
    let Some(deed) = &verdict.deed else {
        verdict.misled.iter().for_each(|text| say(format!("{text}.")));
        return out;
    };
    say(format!("Then {deed}."));
    if let Some(step) = verdict.servers.get(1) {
        servers(step).into_iter().for_each(&mut say);
    }
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
    if let Some(step) = verdict.servers.get(2) {
        say("Then it was well again.".into());
        servers(step).into_iter().for_each(&mut say);
    }
    verdict.misled.iter().for_each(|text| say(format!("{text}.")));
    // A real server that is well again moves no address.
    if let Some((step, gap)) = verdict.recovery.as_ref().filter(|(step, _)| verdict.servers.is_empty() || !step.good())
    {
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
    let stood = |row: &Judged| {
        json!({ "server": row.director, "virtual_server": row.service, "real_server": row.real, "good": row.good,
                "right": row.right, "why": row.why, "after_seconds": row.after.map(|after| after.as_secs_f64()) })
    };
    let answers = |step: &ServerStep| -> Value {
        let by = |all: &std::collections::BTreeMap<Option<String>, usize>| -> serde_json::Map<String, Value> {
            all.iter().map(|(by, count)| (by.clone().unwrap_or_else(|| "nobody".into()), json!(count))).collect()
        };
        step.answers
            .iter()
            .map(|(service, all)| (service.clone(), Value::Object(by(all))))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let servers = |step: &ServerStep| json!({ "ok": step.good(), "directors": step.rows.iter().map(stood).collect::<Vec<_>>(), "answered": answers(step) });
    json!({ "verdict": {
        "servers": verdict.servers.iter().zip(standing::MOMENTS).map(|(step, after)| {
            let mut value = servers(step);
            value["after"] = json!(after);
            value
        }).collect::<Vec<_>>(),
        "misled": verdict.misled,
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
    let seat = |s: &ServerStanding| standing::seat(&s.server, &s.service, &s.real, s.good, s.serves);
    let moments = verdict.standings.iter().zip(&verdict.seats).zip(standing::MOMENTS);
    moments.map(|((all, seats), after)| standing::moment(after, all.iter().map(row), seats.iter().map(seat))).collect()
}

/// What every director made of the real server, and who answered the client then.
fn servers(step: &ServerStep) -> Vec<String> {
    if step.rows.is_empty() {
        return vec!["No director said anything of the real server.".into()];
    }
    let of = |row: &Judged| {
        let what = match (row.good, row.after) {
            (false, Some(after)) => format!("took it out {} later ({})", seconds(after), row.why),
            (true, Some(after)) => format!("put it in {} later", seconds(after)),
            (false, None) => format!("has it out ({})", row.why),
            (true, None) => "has it in".to_owned(),
        };
        let wrong = if row.right == Some(false) { ", which is wrong by its checks" } else { "" };
        format!("{} {what}, of {}{wrong}.", row.director, row.service)
    };
    let mut said: Vec<String> = step.rows.iter().map(of).collect();
    for (service, by) in &step.answers {
        let name = |(by, count): (&Option<String>, &usize)| match by {
            Some(name) => format!("{name} ({count} times)"),
            None => format!("nobody ({count} times)"),
        };
        said.push(format!(
            "The client was then answered at {service} by {}.",
            by.iter().map(name).collect::<Vec<_>>().join(", ")
        ));
    }
    said
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
