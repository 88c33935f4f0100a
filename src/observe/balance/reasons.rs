//! Why a real server is in or out, what its weight is made of, and what would bring it back: in words, for `vipctl`, the
//! history and whoever reads the JSON of `vipctl servers`.
//!
//! Pure functions of the read model. A sentence has no capital and no full stop, as everywhere in [`words`].

use crate::balance::io::{CheckInfo, Finding, ServiceInfo, Symptom, Weighing, Why};
use crate::balance::snapshot::{CheckView, ServerView, ServiceView};
use crate::observe::words;
use crate::spec::balance::{Checker, CheckerKind};
use crate::time::Time;

/// What a server is in or out for.
pub fn why(why: &Why) -> String {
    match why {
        Why::Start => "so since the beginning".to_owned(),
        Why::Check(check, symptom) => found(check, symptom.as_ref()),
        Why::Refused(error) => format!("the kernel refused it: {}", words::refused(*error)),
        Why::NoTable(error) => format!("the kernel has no table for it: {}", words::refused(*error)),
        Why::Accepted => "the kernel takes it again".to_owned(),
        Why::Reload => "by a reload".to_owned(),
    }
}

/// Why a server is in or out at present: of one that has never been in also what keeps it out.
pub fn standing(view: &ServerView) -> String {
    let since = why(&view.why);
    if view.up || !matches!(view.why, Why::Start | Why::Reload) {
        return since;
    }
    let bad = |check: &&CheckView| check.ran && !check.up;
    let of_check = |check: &CheckView| {
        let found =
            check.last.as_ref().map(|(finding, ..)| finding).filter(|finding| !matches!(finding, Finding::Good));
        format!("{}: {}", name(&check.checker), found.map_or_else(|| "bad".to_owned(), words::finding))
    };
    let of_kernel = || Some(format!("the kernel has not got it: {}", words::refused(view.refused?)));
    match view.checks.iter().find(bad).map(of_check).or_else(of_kernel) {
        Some(cause) => format!("{since}; {cause}"),
        None => since,
    }
}

/// A check and what it says.
pub fn found(check: &CheckInfo, symptom: Option<&Symptom>) -> String {
    let check = name(&check.checker);
    match symptom {
        None => format!("{check} is good"),
        Some(symptom) => format!("{check}: {}", words::symptom(symptom)),
    }
}

/// What a check is called among those of its server: its keyword, and what a tracked one is told by.
fn name(checker: &Checker) -> String {
    let keyword = checker.kind.keyword();
    match &checker.kind {
        CheckerKind::File { file, .. } => format!("{keyword} of {file}"),
        CheckerKind::Bfd { session } => format!("{keyword} of {session}"),
        CheckerKind::Tcp
        | CheckerKind::Ping
        | CheckerKind::Udp { .. }
        | CheckerKind::Smtp { .. }
        | CheckerKind::Http(_)
        | CheckerKind::Dns { .. }
        | CheckerKind::Misc { .. } => keyword.to_owned(),
    }
}

/// Why a server weighs something else.
pub fn weighing(why: &Weighing) -> String {
    match why {
        Weighing::Program(check, 0) => format!("the program of {} asks for nothing any more", name(&check.checker)),
        Weighing::Program(check, code) => {
            format!("the program of {} ended with exit code {code}", name(&check.checker))
        }
        Weighing::File(check, number) => match &check.checker.kind {
            CheckerKind::File { file, .. } => format!("the tracked file {file} holds {number}"),
            _ => format!("a tracked file holds {number}"),
        },
        Weighing::Operator => "an operator said so".to_owned(),
        Weighing::Reload => "by a reload".to_owned(),
    }
}

/// What a weight is made of, each with its amount; the sum is [`ServerView::weight`]. What an operator set holds alone.
pub fn terms(view: &ServerView) -> Vec<(i64, String)> {
    match (view.drained, view.weighed) {
        (true, _) => return vec![(0, format!("drained by an operator; {} configured", view.base))],
        (false, Some(weight)) => return vec![(weight.into(), format!("set by an operator; {} configured", view.base))],
        (false, None) => {}
    }
    let part = |check: &CheckView| (check.part, name(&check.checker));
    let parts = view.checks.iter().filter(|check| check.part != 0).map(part);
    std::iter::once((i64::from(view.base), "configured".to_owned())).chain(parts).collect()
}

/// What a service's quorum says at present.
pub fn quorum(service: &ServiceInfo, weight: u64, met: bool) -> String {
    let (quorum, hysteresis) = (u64::from(service.quorum), u64::from(service.hysteresis));
    match met {
        // Without any weight it is lost whatever the numbers say.
        true => {
            let least = quorum.saturating_sub(hysteresis).max(1);
            format!("the servers that count weigh {weight}; below {least} the quorum is lost")
        }
        false => format!("the servers that count weigh {weight}; {} is needed", (quorum + hysteresis).max(1)),
    }
}

/// What would bring back a server that gets no traffic, one sentence for each thing that must be; empty if it gets some.
pub fn back(service: &ServiceView, server: &ServerView, now: Time) -> Vec<String> {
    let mut needed: Vec<String> =
        server.checks.iter().filter(|check| !check.up).map(|check| recovery(check, now)).collect();
    if server.refused.is_some() {
        let next = service.retry.map(|at| format!("; it is asked again {}", when(at, now))).unwrap_or_default();
        needed.push(format!("the kernel must take it{next}"));
    }
    if server.drained {
        needed.push(format!("an operator must give it back: vipctl undrain-server {}", server.info.endpoint));
    }
    if !needed.is_empty() {
        return needed;
    }
    if service.sorry.is_some() {
        return vec![format!(
            "it is good, and waits for the quorum: {}",
            quorum(&service.info, service.weight, service.quorum)
        )];
    }
    if server.weight <= 0 {
        return vec![format!("its weight must be more than {}: with that it gets no new connections", server.weight)];
    }
    needed
}

/// What makes a bad check good.
fn recovery(check: &CheckView, now: Time) -> String {
    match &check.checker.kind {
        CheckerKind::Bfd { session } => return format!("the BFD session {session} must come up"),
        CheckerKind::File { file, weight: Some(0), reverse: false } => {
            return format!("the tracked file {file} must hold 0");
        }
        CheckerKind::File { file, weight: Some(0), reverse: true } => {
            return format!("the tracked file {file} must hold something else than 0");
        }
        CheckerKind::File { file, .. } => return format!("the tracked file {file} must hold another number"),
        CheckerKind::Tcp
        | CheckerKind::Ping
        | CheckerKind::Udp { .. }
        | CheckerKind::Smtp { .. }
        | CheckerKind::Http(_)
        | CheckerKind::Dns { .. }
        | CheckerKind::Misc { .. } => {}
    }
    let what = name(&check.checker);
    if !check.enabled {
        return format!("{what} must be good, and is not made: the virtual address is not here (ha_suspend)");
    }
    let whole = match &check.checker.kind {
        CheckerKind::Http(http) if http.pages.len() > 1 => {
            let failing = check.failing.and_then(|at| http.pages.get(at)).map(|page| page.shown_path());
            let first = failing.map(|path| format!("{path}, and then ")).unwrap_or_default();
            format!("{what} must be good for {first}all of its {} pages", http.pages.len())
        }
        CheckerKind::Http(_) if check.failing.is_some() => format!("{what} must be good twice in a row"),
        _ => format!("{what} must be good once"),
    };
    format!("{whole}; {}", next(check, now))
}

/// When a check is made next.
pub fn next(check: &CheckView, now: Time) -> String {
    match (check.running, check.due) {
        (true, _) => "it is being made".to_owned(),
        (false, Some(at)) => format!("it is made {}", when(at, now)),
        (false, None) => "it is told, not made".to_owned(),
    }
}

fn when(at: Time, now: Time) -> String {
    let left = at.since(now);
    if left.is_zero() { "at once".to_owned() } else { format!("in {}", words::span(left.as_secs_f64())) }
}

/// What takes out a server whose check is good.
pub fn out(check: &CheckView) -> Option<String> {
    let timing = check.checker.timing.filter(|_| check.up && check.enabled)?;
    let left = timing.retry.saturating_sub(check.retries).saturating_add(1);
    let failures = if left == 1 { "one failure takes".to_owned() } else { format!("{left} failures in a row take") };
    Some(format!("{failures} it out"))
}
