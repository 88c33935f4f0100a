//! `vipctl explain` of virtual servers and real servers: why one is in or out, what its weight is made of, when it is checked
//! next, and what would bring it back.
//!
//! The sentences are the daemon's; what an older daemon does not say is left out.

use super::clock;
use super::paint::Paint;
use super::servers::{list, number, word, yes};
use super::view::span;
use crate::observe::balance::story;
use serde_json::Value;

/// One paragraph each for what `only` means; without it every virtual server, and the real servers that get no traffic.
/// `None`: nothing is called so. `now`: microseconds since 1970.
pub fn render(services: &[Value], only: Option<&str>, now: u64, paint: Paint) -> Option<String> {
    let mut paragraphs = Vec::new();
    for service in services {
        let whole = only.is_some_and(|name| is_meant(service, name));
        if only.is_none() || whole {
            paragraphs.push(of_service(service, now, paint));
        }
        for server in list(service, "servers") {
            let meant = match only {
                Some(name) => whole || story::means(&word(server, "name"), name),
                None => !list(server, "back").is_empty(),
            };
            if meant {
                paragraphs.push(of_server(service, server, now, paint));
            }
        }
    }
    (!paragraphs.is_empty()).then(|| paragraphs.join("\n"))
}

/// Whether a name, as somebody wrote it, means this virtual server.
pub fn is_meant(service: &Value, name: &str) -> bool {
    story::means(&word(service, "name"), name)
        || word(service, "group") == name
        || list(service, "keys").iter().filter_map(Value::as_str).any(|key| story::means(key, name))
}

/// Names of everything that can be explained here.
pub fn names(services: &[Value]) -> Vec<String> {
    services.iter().map(|service| word(service, "name")).collect()
}

fn label(paint: Paint, label: &str, text: &str) -> String {
    format!("  {} {text}\n", paint.dim(&format!("{label:<9}")))
}

fn since(of: &Value, now: u64) -> String {
    let at = number(of, "since_unix_micros").unwrap_or(now);
    format!("since {}, for {}", clock::local(at, now), span(now.saturating_sub(at) as f64 / 1e6))
}

fn of_service(service: &Value, now: u64, paint: Paint) -> String {
    let met = yes(service, "quorum_met");
    let state = if met { paint.good("has its quorum") } else { paint.bad("is without its quorum") };
    let mut out = format!("{} {state} {}\n", paint.strong(&word(service, "name")), since(service, now));
    let mut say = |name: &str, text: &str| out += &label(paint, name, text);
    let why = word(service, "why");
    if !why.is_empty() {
        say("why", &format!("{why}."));
    }
    let servers = list(service, "servers");
    let up = servers.iter().filter(|server| yes(server, "up")).count();
    say("servers", &format!("{up} of {} count.", servers.len()));
    let sorry = word(service, "sorry_server");
    if yes(service, "sorry_server_serves") {
        say("sorry", &paint.bad(&format!("the sorry server {sorry} serves.")));
    } else if !sorry.is_empty() {
        say("sorry", &format!("{sorry} would serve without the quorum."));
    }
    if service.get("checked") == Some(&Value::Bool(false)) {
        say("checks", "none is made: the virtual address is not on this machine (ha_suspend).");
    }
    for refused in list(service, "refused") {
        let text = format!("the kernel refuses {}: {}.", word(refused, "service"), word(refused, "reason"));
        say("kernel", &paint.bad(&text));
    }
    out
}

fn of_server(service: &Value, server: &Value, now: u64, paint: Paint) -> String {
    let state = match (yes(server, "up"), yes(server, "drained")) {
        (true, false) => paint.good("is in"),
        (true, true) => paint.bad("is in and drained"),
        (false, _) => paint.bad("is out"),
    };
    let (name, of) = (word(server, "name"), word(service, "name"));
    let mut out = format!("{} of {of} {state} {}\n", paint.strong(&name), since(server, now));
    let mut say = |name: &str, text: &str| out += &label(paint, name, text);
    say("why", &format!("{}.", word(server, "why")));
    let mut first = "checks";
    for check in list(server, "checks") {
        say(std::mem::take(&mut first), &check_line(check, now));
    }
    say("weight", &weight(server));
    say("kernel", &kernel(server));
    let back = list(server, "back");
    for (number, needed) in back.iter().enumerate() {
        say(if number == 0 { "back" } else { "" }, &format!("{}.", needed.as_str().unwrap_or_default()));
    }
    if back.is_empty() {
        let mut first = "out";
        for check in list(server, "checks").iter().filter(|check| !word(check, "out").is_empty()) {
            say(std::mem::take(&mut first), &format!("{} ({}).", word(check, "out"), word(check, "kind")));
        }
    }
    out
}

/// `TCP_CHECK is bad: the connection was refused (3 times in a row, the last 2 s ago, after 1 ms); it is made in 3 s.`
fn check_line(check: &Value, now: u64) -> String {
    let mut text = word(check, "kind");
    text += if yes(check, "up") { " is good" } else { " is bad" };
    if let (Some(at), Some(times)) = (number(check, "at_unix_micros"), number(check, "times_in_a_row")) {
        let ago = span(now.saturating_sub(at) as f64 / 1e6);
        let took = number(check, "took_us").map_or(0, |took| took / 1_000);
        let found = word(check, "found");
        let found = if found == "good" { "the last answer was good".into() } else { found };
        let times = if times == 1 { "once".into() } else { format!("{times} times in a row") };
        text += &format!(": {found} ({times}, last {ago} ago after {took} ms)");
    }
    let next = word(check, "next");
    if !next.is_empty() && yes(check, "active") {
        text += &format!("; {next}");
    }
    let shared = number(check, "shared_by").unwrap_or(0);
    if shared > 1 {
        text += &format!("; it is made once for {shared} servers");
    }
    text + "."
}

/// `3 = 10 configured - 7 MISC_CHECK.`
fn weight(server: &Value) -> String {
    let sum = word(server, "weight");
    let amount = |term: &Value| term.get("amount").and_then(Value::as_i64).unwrap_or(0);
    let parts: Vec<String> = list(server, "weight_terms")
        .iter()
        .enumerate()
        .map(|(number, term)| match (number, amount(term)) {
            (0, amount) => format!("{amount} {}", word(term, "of")),
            (_, amount) if amount < 0 => format!("- {} {}", amount.unsigned_abs(), word(term, "of")),
            (_, amount) => format!("+ {amount} {}", word(term, "of")),
        })
        .collect();
    match parts.as_slice() {
        [] => format!("{sum}."),
        parts => format!("{sum} = {}.", parts.join(" ")),
    }
}

fn kernel(server: &Value) -> String {
    if let Some(reason) = server.get("refused").and_then(Value::as_str) {
        return format!("it refuses the server: {reason}.");
    }
    let Some(weight) = number(server, "weight_in_kernel") else { return "not in the table.".into() };
    let (active, idle) = (number(server, "active_connections"), number(server, "inactive_connections"));
    let rate = number(server, "connections_per_second").unwrap_or(0);
    format!(
        "in the table with weight {weight}; {} active connections, {} inactive, {rate} new ones a second.",
        active.unwrap_or(0),
        idle.unwrap_or(0)
    )
}
