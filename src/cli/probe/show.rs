//! What `vipctl probe` prints.

use super::{Asked, Heard};
use crate::balance::io::Finding;
use crate::cli::paint::Paint;
use crate::observe::words;
use crate::probe::{Said, Utterance};
use crate::spec::balance::{Checker, CheckerKind, Means, Page};
use serde_json::json;
use std::net::SocketAddr;

/// What a check asks, as a person would say it.
fn question(checker: &Checker, heard: Option<&Heard>) -> String {
    let to = checker.connection.as_ref().map(|connection| match checker.kind.means() {
        Means::Echo => connection.to.address.to_string(),
        Means::Connection | Means::Datagram | Means::Program | Means::Told => {
            SocketAddr::new(connection.to.address, connection.to.port.unwrap_or(0)).to_string()
        }
    });
    let keyword = checker.kind.keyword();
    let what = match &checker.kind {
        CheckerKind::Http(http) => {
            let at = heard.map_or(0, |heard| heard.page);
            let path = http.pages.get(at).map(Page::shown_path).unwrap_or_default();
            match http.pages.len() {
                1 => format!(" {path}"),
                count => format!(" {path} (page {} of {count})", at + 1),
            }
        }
        CheckerKind::Dns { record, name } => format!(" {record} {name}"),
        CheckerKind::Misc { run, .. } => run.as_ref().map(|run| format!(" {}", run.program())).unwrap_or_default(),
        CheckerKind::File { file, .. } => format!(" {file}"),
        CheckerKind::Bfd { session } => format!(" {session}"),
        CheckerKind::Tcp | CheckerKind::Ping | CheckerKind::Udp { .. } | CheckerKind::Smtp { .. } => String::new(),
    };
    match to {
        Some(to) => format!("{keyword}{what} to {to}"),
        None => format!("{keyword}{what}"),
    }
}

/// What cannot be asked, in words.
fn untold(checker: &Checker) -> &'static str {
    match checker.kind {
        CheckerKind::File { .. } => "follows a file; nothing is asked",
        CheckerKind::Bfd { .. } => "follows a BFD session; nothing is asked",
        _ => "has nothing that can be asked",
    }
}

fn verdict(finding: &Finding) -> &'static str {
    match finding {
        Finding::Good | Finding::Weighted(_) => "good",
        Finding::Bad(_) => "bad",
        Finding::NotMade(_) => "not made",
    }
}

fn milliseconds(heard: &Heard) -> f64 {
    (heard.took.as_secs_f64() * 1e4).round() / 10.0
}

pub(crate) fn text(all: &[Asked<'_>], paint: Paint) -> String {
    let (mut out, mut service, mut server) = (String::new(), None, None);
    for asked in all {
        let target = asked.service.target.to_string();
        if service.as_ref() != Some(&target) {
            out += &format!("virtual_server {}\n", paint.strong(&target));
            (service, server) = (Some(target), None);
        }
        let endpoint = asked.server.endpoint;
        if server != Some(endpoint) {
            out += &format!("  real_server {}\n", paint.strong(&endpoint.to_string()));
            server = Some(endpoint);
        }
        let question = question(asked.checker, asked.outcome.as_ref());
        let Some(heard) = &asked.outcome else {
            out += &format!("    {question} {}\n", paint.dim(untold(asked.checker)));
            continue;
        };
        let after = format!("{} ms", milliseconds(heard));
        out += &match &heard.finding {
            Finding::Good => format!("    {question}: {} after {after}\n", paint.good("good")),
            finding @ Finding::Weighted(_) => {
                format!("    {question}: {} after {after}\n", paint.good(&words::finding(finding)))
            }
            finding => {
                let verdict = paint.bad(verdict(finding));
                format!("    {question}: {verdict} after {after}: {}\n", words::finding(finding))
            }
        };
        for utterance in heard.transcript.utterances() {
            out += &said(utterance, paint);
        }
        if heard.transcript.dropped() > 0 {
            out += &paint.dim(&format!("      … and {} more\n", heard.transcript.dropped()));
        }
    }
    out += &summary(all);
    out
}

/// The way of an utterance, and its lines.
fn parts(utterance: &Utterance) -> (&'static str, &str) {
    match &utterance.said {
        Said::Sent(text) => ("sent", text),
        Said::Received(text) => ("received", text),
        Said::Note(text) => ("note", text),
    }
}

fn said(utterance: &Utterance, paint: Paint) -> String {
    let (way, text) = parts(utterance);
    let sign = match way {
        "sent" => ">",
        "received" => "<",
        _ => "-",
    };
    text.lines().map(|line| paint.dim(&format!("      {sign} {line}")) + "\n").collect()
}

fn summary(all: &[Asked<'_>]) -> String {
    let count = |wanted: &str| {
        all.iter().filter_map(|asked| asked.outcome.as_ref()).filter(|heard| verdict(&heard.finding) == wanted).count()
    };
    let asked = all.iter().filter(|asked| asked.outcome.is_some()).count();
    let mut out = format!("{asked} checks: {} good, {} bad", count("good"), count("bad"));
    if count("not made") > 0 {
        out += &format!(", {} not made", count("not made"));
    }
    out + "\n"
}

/// One object a check, a line each.
pub fn json(all: &[Asked<'_>]) -> String {
    all.iter()
        .map(|asked| {
            let heard = asked.outcome.as_ref();
            let dialogue: Vec<_> = heard
                .iter()
                .flat_map(|heard| heard.transcript.utterances())
                .map(|utterance| {
                    let (way, text) = parts(utterance);
                    json!({ "way": way, "text": text })
                })
                .collect();
            let object = json!({
                "virtual_server": asked.service.target.to_string(),
                "real_server": asked.server.endpoint.to_string(),
                "check": question(asked.checker, heard),
                "finding": heard.map(|heard| verdict(&heard.finding)),
                "why": heard.map(|heard| words::finding(&heard.finding)),
                "ms": heard.map(milliseconds),
                "dialogue": dialogue,
            });
            crate::cli::steer::json_line(object)
        })
        .collect()
}
