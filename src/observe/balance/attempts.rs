//! What keepalived's log says of single attempts, kind by kind.
//!
//! An attempt that will be repeated is logged only with `log_all_failures`, and only while the check was good; the last one
//! always is.

use crate::balance::io::{CheckInfo, Finding, Stage, Symptom, Verdict};
use crate::observe::words;
use crate::spec::Command;
use crate::spec::balance::{CheckerKind, Http};

/// The lines about an attempt; `page` is its page, `was_up` whether the check was good before.
pub fn attempt(check: &CheckInfo, page: usize, finding: &Finding, verdict: Verdict, was_up: bool) -> Vec<String> {
    let symptom = match finding {
        Finding::Bad(symptom) => Some(symptom),
        Finding::Good | Finding::Weighted(_) | Finding::NotMade(_) => None,
    };
    let all = check.checker.log_all_failures && was_up;
    let mut lines = Vec::new();
    match (verdict, symptom) {
        (Verdict::Good { first, was_up }, _) => {
            // Pages are told of while the server is down, the last one too.
            if !first && !was_up {
                lines.extend(page_line(check, page));
            }
            lines.extend(good(check));
        }
        (Verdict::Page, _) if !was_up => lines.extend(page_line(check, page)),
        (Verdict::Retrying { retry, of }, Some(symptom)) if all => {
            lines.extend(single(check, symptom));
            if matches!(check.checker.kind, CheckerKind::Misc { .. }) {
                lines.push(misc_failed(check, symptom, Some((retry, of))));
            }
        }
        (Verdict::Bad { first }, Some(symptom)) => {
            if all {
                lines.extend(single(check, symptom));
            }
            lines.extend(bad(check, symptom, first));
        }
        (Verdict::Same | Verdict::Page | Verdict::Retrying { .. } | Verdict::Bad { .. }, _) => {}
    }
    lines
}

/// The attempt could not be made.
pub fn not_made(check: &CheckInfo, error: i32) -> String {
    let text = &check.server.text;
    let what = match &check.checker.kind {
        CheckerKind::Tcp => "TCP socket bind failed. Rescheduling.".to_owned(),
        CheckerKind::Http(_) => "WEB socket bind failed. Rescheduling.".to_owned(),
        CheckerKind::Udp { .. } => "UDP connect fail to create socket. Rescheduling.".to_owned(),
        CheckerKind::Dns { .. } => format!("DNS_CHECK ({text}) UDP socket bind failed. Rescheduling."),
        CheckerKind::Smtp { .. } => "SMTP_CHECK socket bind failed. Rescheduling.".to_owned(),
        CheckerKind::Ping => "ICMP socket bind failed. Rescheduling.".to_owned(),
        CheckerKind::Misc { .. } | CheckerKind::File { .. } | CheckerKind::Bfd { .. } => {
            "The check could not be made. Rescheduling.".to_owned()
        }
    };
    format!("{what} ({text}: {})", words::errno(error))
}

/// ` after N retries` as most kinds say it: not of the first failure, when nothing was tried again.
fn after(check: &CheckInfo, first: bool) -> String {
    match retries(check) {
        retry if retry > 0 && !first => format!(" after {retry} retries"),
        _ => String::new(),
    }
}

fn retries(check: &CheckInfo) -> u32 {
    check.checker.timing.map_or(0, |timing| timing.retry)
}

fn good(check: &CheckInfo) -> Option<String> {
    let text = &check.server.text;
    Some(match &check.checker.kind {
        CheckerKind::Tcp => format!("TCP connection to {text} success."),
        CheckerKind::Udp { .. } => format!("UDP connection to {text} success."),
        CheckerKind::Ping => format!("ICMP connection to {text} success."),
        CheckerKind::Smtp { .. } => format!("Remote SMTP server {text} succeed on service."),
        CheckerKind::Http(_) => format!("Remote Web server {text} succeed on service."),
        CheckerKind::Misc { .. } => format!("{} succeeded.", misc(check)),
        CheckerKind::Bfd { session } => format!("BFD check of [{session}] RS({text}) is UP"),
        CheckerKind::Dns { .. } | CheckerKind::File { .. } => return None,
    })
}

fn bad(check: &CheckInfo, symptom: &Symptom, first: bool) -> Option<String> {
    let (text, of) = (&check.server.text, &check.server.service.text);
    let after = after(check, first);
    Some(match &check.checker.kind {
        CheckerKind::Tcp => format!("TCP_CHECK on service {text} failed{after}."),
        CheckerKind::Udp { .. } => format!("UDP_CHECK on service {text} failed{after}."),
        CheckerKind::Ping if after.is_empty() => format!("ICMP CHECK on service {text} failed."),
        CheckerKind::Ping => format!("ICMP CHECK on service {text} of {of} failed{after}."),
        CheckerKind::Http(http) => {
            let kind = if http.tls { "SSL_CHECK" } else { "HTTP_CHECK" };
            // keepalived says so even of the first failure.
            match retries(check) {
                0 => format!("{kind} on service {text} failed."),
                retry => format!("{kind} on service {text} failed after {retry} retries."),
            }
        }
        CheckerKind::Smtp { .. } if check.checker.log_all_failures => return None,
        CheckerKind::Smtp { .. } => format!("SMTP_CHECK {}", smtp(check, symptom)),
        CheckerKind::Dns { .. } => format!("DNS_CHECK ({text}) {}{after}", dns(symptom)),
        CheckerKind::Misc { .. } => misc_failed(check, symptom, None),
        CheckerKind::Bfd { session } => format!("BFD check of [{session}] RS({text}) is DOWN"),
        CheckerKind::File { .. } => return None,
    })
}

/// The line of one attempt, which most kinds have beside that of the verdict.
fn single(check: &CheckInfo, symptom: &Symptom) -> Option<String> {
    let (text, of) = (&check.server.text, &check.server.service.text);
    let timed_out = matches!(symptom, Symptom::TimedOut(_));
    Some(match &check.checker.kind {
        CheckerKind::Tcp => format!("TCP connection to {text} {}.", if timed_out { "timeout" } else { "failed" }),
        CheckerKind::Udp { .. } if *symptom == Symptom::Pattern => format!("UDP check to {text} reply data mismatch."),
        CheckerKind::Udp { .. } => format!("UDP connection to {text} failed."),
        CheckerKind::Ping if timed_out => format!("ICMP connection to address {text} timeout."),
        CheckerKind::Ping => format!("ICMP connection to {text} of {of} failed."),
        CheckerKind::Http(http) => format!("{} server {text}.", web(http, symptom)),
        CheckerKind::Smtp { .. } => format!("SMTP_CHECK {}", smtp(check, symptom)),
        CheckerKind::Dns { .. } => format!("DNS_CHECK ({text}) {}", dns(symptom)),
        CheckerKind::Misc { .. } | CheckerKind::File { .. } | CheckerKind::Bfd { .. } => return None,
    })
}

fn web(http: &Http, symptom: &Symptom) -> &'static str {
    match symptom {
        Symptom::Refused => "Error connecting",
        Symptom::Unreachable(_) => "HTTP/SSL_CHECK - network unreachable",
        Symptom::TimedOut(Stage::Connect) => "Timeout connecting",
        Symptom::TimedOut(Stage::Send) | Symptom::Closed(Stage::Send) => "Cannot send get request to",
        Symptom::TimedOut(Stage::Answer) if http.tls => "Timeout SSL read",
        Symptom::TimedOut(Stage::Answer | Stage::Program) => "Timeout HTTP read",
        Symptom::TimedOut(Stage::Tls) | Symptom::Closed(Stage::Tls) | Symptom::Tls(_) => {
            "SSL handshake/communication error connecting to"
        }
        Symptom::Closed(Stage::Connect) => "Connection failed",
        Symptom::Closed(Stage::Answer | Stage::Program) => "Read, no data received from ",
        Symptom::Status(_) => "HTTP status code error to",
        Symptom::Digest(_) => "MD5 digest error to",
        Symptom::Pattern => "Regex match failed",
        Symptom::Malformed(_)
        | Symptom::TooLong(_)
        | Symptom::Answer(_)
        | Symptom::Exit(_)
        | Symptom::Signal(_)
        | Symptom::NotRun(_)
        | Symptom::File(_)
        | Symptom::SessionDown => "Read, no data received from ",
    }
}

/// Of a page that is good while the server is down: by the last test that was made.
fn page_line(check: &CheckInfo, page: usize) -> Option<String> {
    let CheckerKind::Http(http) = &check.checker.kind else { return None };
    let own = http.pages.get(page)?;
    let test = match (&own.pattern, &own.digest) {
        (Some(_), _) => "Regex match",
        (None, Some(_)) => "MD5 digest",
        (None, None) => "HTTP status code",
    };
    Some(format!("{test} success to {} url({})", check.server.text, own.shown_path()))
}

/// What SMTP_CHECK says of a failure, without its name in front.
pub fn smtp(check: &CheckInfo, symptom: &Symptom) -> String {
    let to = check.checker.connection.as_ref().map(|connection| connection.to).unwrap_or(check.server.endpoint);
    let server = format!("[{}]:{}", to.address, to.port.unwrap_or(0));
    match symptom {
        Symptom::TimedOut(Stage::Connect) => format!("Connection timeout to server {server}"),
        Symptom::TimedOut(Stage::Send) => format!("Write timeout to server {server}"),
        Symptom::TimedOut(_) => format!("Read timeout from server {server}"),
        Symptom::Closed(Stage::Connect) => format!("Error connecting to server {server}"),
        Symptom::Closed(Stage::Send) => format!("Write failure to server {server}"),
        Symptom::Closed(_) => format!("Read failure from server {server}"),
        Symptom::Unreachable(_) => {
            format!("Network unreachable for server {} - real server {}", to.address, check.server.text)
        }
        // Errors of a command are answers to HELO; anything else that is not wanted is a greeting.
        Symptom::Answer(500..=504) => format!("Bad HELO response from server {server}"),
        Symptom::Answer(_) | Symptom::Malformed(_) | Symptom::TooLong(_) => {
            format!("Bad greeting banner from server {server}")
        }
        Symptom::Refused
        | Symptom::Tls(_)
        | Symptom::Status(_)
        | Symptom::Digest(_)
        | Symptom::Pattern
        | Symptom::Exit(_)
        | Symptom::Signal(_)
        | Symptom::NotRun(_)
        | Symptom::File(_)
        | Symptom::SessionDown => format!("Could not connect to server {server}"),
    }
}

fn dns(symptom: &Symptom) -> String {
    match symptom {
        Symptom::Answer(rcode) => format!("read error occurred. (rcode = {rcode})"),
        Symptom::Refused => {
            let refused = nix::errno::Errno::ECONNREFUSED as i32;
            format!("failed to read socket; errno {refused} ({})", words::errno(refused))
        }
        Symptom::Unreachable(error) => {
            format!("failed to read socket; errno {error} ({})", words::errno(*error))
        }
        Symptom::TimedOut(Stage::Connect) => "connection timeout.".into(),
        Symptom::TimedOut(Stage::Send) => "write timeout to socket.".into(),
        Symptom::TimedOut(_) => "read timeout from socket.".into(),
        Symptom::Closed(Stage::Send) => "failed to write socket.".into(),
        Symptom::Closed(_)
        | Symptom::Tls(_)
        | Symptom::Status(_)
        | Symptom::Digest(_)
        | Symptom::Pattern
        | Symptom::Malformed(_)
        | Symptom::TooLong(_)
        | Symptom::Exit(_)
        | Symptom::Signal(_)
        | Symptom::NotRun(_)
        | Symptom::File(_)
        | Symptom::SessionDown => "connection failure.".into(),
    }
}

/// `Misc check for [[10.1.0.2]:tcp:8080 VS [10.0.0.1]:tcp:80] by [/c/misc.sh]`: the path as it was written, as 2.4.3 has it,
/// and none of the arguments.
fn misc(check: &CheckInfo) -> String {
    let (text, of) = (&check.server.text, &check.server.service.text);
    let path = match &check.checker.kind {
        CheckerKind::Misc { run: Some(run), .. } => match &run.command {
            Command::Exec { argv, .. } => argv.first().map_or("", |written| written),
            Command::Shell(_) => run.program(),
        },
        _ => "",
    };
    format!("Misc check for [{text} VS {of}] by [{path}]")
}

/// `succeeded`, `failed`, `timed out`.
pub fn misc_word(symptom: Option<&Symptom>) -> &'static str {
    match symptom {
        None => "succeeded",
        Some(Symptom::TimedOut(_)) => "timed out",
        Some(_) => "failed",
    }
}

/// `retrying`: the number of the retry that follows, and of how many.
fn misc_failed(check: &CheckInfo, symptom: &Symptom, retrying: Option<(u32, u32)>) -> String {
    let plural = |n: u32| if n == 1 { "retry" } else { "retries" };
    let tries = match (retrying, retries(check)) {
        (Some((1, of)), _) => format!(", will do {of} {}", plural(of)),
        (Some((retry, of)), _) => format!(" on retry {}/{of}", retry.saturating_sub(1)),
        (None, 0) => " with retry disabled".to_owned(),
        (None, of) => format!(" after {of} {}", plural(of)),
    };
    let end = match symptom {
        Symptom::Exit(code) => format!(" (exited with status {code})"),
        Symptom::Signal(signal) => format!(" (due to signal {signal})"),
        Symptom::NotRun(error) => format!(" (it could not be started: {})", words::errno(*error)),
        _ => String::new(),
    };
    format!("{} {}{tries}{end}.", misc(check), misc_word(Some(symptom)))
}
