//! The checks of `keepalived_check.data`, one by one: what they share, how they connect, and what each kind asks.

use super::check::{on, pair, seconds};
use super::{Page, put, yes};
use crate::balance::io::{CheckInfo, Finding, Symptom};
use crate::balance::snapshot::{CheckView, Snapshot};
use crate::observe::describe;
use crate::spec::balance::{CheckerKind, Connection, Http, HttpProtocol};
use crate::time::Interval;
use std::net::IpAddr;

/// keepalived's "not set" of a time and of a number, which it shows for checks that have none.
const NO_TIME: u64 = u64::MAX;
const NO_COUNT: u32 = u32::MAX;

/// How a moment is written; `unix_micros` is the snapshot's.
pub struct Clock<F: Fn(u64) -> String> {
    pub unix_micros: u64,
    /// Seconds since 1970 as ctime(3) has them.
    pub ctime: F,
}

/// Those of files come last, since keepalived adds them when all has been read.
pub(super) fn all<F: Fn(u64) -> String>(page: &mut Page, snapshot: &Snapshot, clock: &Clock<F>) {
    let is_file = |view: &CheckView| matches!(view.checker.kind, CheckerKind::File { .. });
    let every = || {
        let servers = snapshot.services.iter().flat_map(|service| &service.servers);
        servers.flat_map(|server| server.checks.iter().map(move |check| (server, check)))
    };
    if every().next().is_some() {
        put!(page, 0, "------< Health checkers >------");
    }
    for (server, view) in every().filter(|(_, view)| !is_file(view)).chain(every().filter(|(_, view)| is_file(view))) {
        let info = CheckInfo { server: server.info.clone(), checker: view.checker.clone() };
        check(page, &info, view, snapshot, clock);
    }
}

fn check<F: Fn(u64) -> String>(
    page: &mut Page,
    info: &CheckInfo,
    view: &CheckView,
    snapshot: &Snapshot,
    clock: &Clock<F>,
) {
    let own = &info.checker;
    put!(page, 1, "{}", pair(&info.server));
    put!(page, 3, "Enabled = {}", yes(view.enabled));
    put!(page, 3, "Up = {}", yes(view.up));
    put!(page, 3, "Has run = {}", yes(view.ran));
    put!(page, 3, "Current weight = {}", view.part);
    if !matches!(own.kind, CheckerKind::File { .. }) {
        let us = |of: fn(&crate::spec::balance::Timing) -> Interval| {
            own.timing.as_ref().map_or(NO_TIME, |timing| of(timing).as_micros())
        };
        let retry = own.timing.map_or(NO_COUNT, |timing| timing.retry);
        put!(page, 3, "Alpha = {}", yes(own.alpha));
        put!(page, 3, "Delay loop = {} us", us(|timing| timing.delay_loop));
        put!(page, 3, "Warmup = {} us", us(|timing| timing.warmup));
        put!(page, 3, "Retries = {retry}");
        if retry > 0 {
            put!(page, 3, "Delay before retry = {} us", us(|timing| timing.delay_before_retry));
            put!(page, 3, "Retries iterations = {}", own.timing.map_or(NO_COUNT, |_| view.retries));
        }
        let default: u32 = match own.kind {
            CheckerKind::Http(_) => 3_000_000,
            CheckerKind::Dns { .. } => 0,
            CheckerKind::Tcp
            | CheckerKind::Ping
            | CheckerKind::Udp { .. }
            | CheckerKind::Smtp { .. }
            | CheckerKind::Misc { .. }
            | CheckerKind::File { .. }
            | CheckerKind::Bfd { .. } => 1_000_000,
        };
        put!(page, 3, "Default delay before retry = {default} us");
    }
    put!(page, 3, "Log all failures = {}", yes(own.log_all_failures));
    if let Some(connection) = &own.connection {
        put!(page, 3, "Connection");
        self::connection(page, connection, view);
    }
    kind(page, &own.kind, view);
    if let CheckerKind::Misc { .. } = own.kind {
        let last = view.last.as_ref();
        let began = last.map_or(0, |(_, at, took, _)| {
            clock.unix_micros.saturating_sub(snapshot.now.since(*at).as_micros()).saturating_sub(took.as_micros())
        });
        let (whole, part) = (began / 1_000_000, began % 1_000_000);
        put!(page, 3, "Last ran = {whole}.{part:06} ({}.{part:06})", (clock.ctime)(whole));
        put!(page, 3, "Last status = {}", last.map_or(0, |(finding, ..)| exit_code(finding)));
    }
}

fn exit_code(finding: &Finding) -> i32 {
    match finding {
        Finding::Weighted(code) => i32::from(*code),
        Finding::Bad(Symptom::Exit(code)) => *code,
        Finding::Good | Finding::Bad(_) | Finding::NotMade(_) => 0,
    }
}

fn socket(address: IpAddr, port: Option<u16>) -> String {
    format!("[{address}]:{}", port.unwrap_or(0))
}

fn connection(page: &mut Page, own: &Connection, view: &CheckView) {
    put!(page, 5, "Dest = {}", socket(own.to.address, own.to.port));
    if let Some(from) = own.from {
        put!(page, 5, "Bind to = {}", socket(from, own.from_port));
    }
    if let Some(interface) = &own.interface {
        put!(page, 5, "Bind i/f = {interface}");
    }
    if own.mark != 0 {
        put!(page, 5, "Mark = {}", own.mark);
    }
    put!(page, 5, "Timeout = {}", seconds(own.timeout));
    let error = match view.last.as_ref().map(|(finding, ..)| finding) {
        Some(Finding::Bad(Symptom::Refused)) => libc::ECONNREFUSED,
        Some(Finding::Bad(Symptom::Unreachable(error)) | Finding::NotMade(error)) => *error,
        _ => 0,
    };
    if error != 0 {
        put!(page, 5, "Last errno = {error}");
    }
}

fn kind(page: &mut Page, kind: &CheckerKind, view: &CheckView) {
    let keyword = kind.keyword();
    if let CheckerKind::Http(http) = kind {
        return self::http(page, http, view);
    }
    put!(page, 3, "Keepalive method = {keyword}");
    match kind {
        CheckerKind::Tcp | CheckerKind::Ping | CheckerKind::Http(_) => {}
        CheckerKind::Udp { payload, reply, shortest, longest } => {
            match payload.is_empty() {
                true => put!(page, 3, "Payload specified = no"),
                false => put!(page, 3, "Payload len = {}", payload.len()),
            }
            put!(page, 3, "Require reply = {}", yes(reply.is_some()));
            if let Some(reply) = reply {
                put!(page, 5, "Min reply length = {shortest}");
                put!(page, 5, "Max reply length = {longest}");
                put!(page, 5, "Reply data len = {}", reply.len());
                if !reply.is_empty() {
                    let masked = reply.iter().any(|(_, mask)| *mask != 0xff);
                    put!(page, 5, "Reply data mask = {}", yes(masked));
                }
            }
        }
        CheckerKind::Smtp { helo } => put!(page, 3, "helo = {helo}"),
        CheckerKind::Dns { record, name } => {
            put!(page, 3, "Type = {record}");
            // keepalived's default, the root, has no letters.
            put!(page, 3, "Name = {}", if &**name == "." { "" } else { name });
        }
        CheckerKind::Misc { run, timeout, dynamic } => {
            if let Some(run) = run {
                put!(page, 3, "script = {}", describe::command(run));
            }
            put!(page, 3, "timeout = {}", timeout.as_secs());
            put!(page, 3, "dynamic = {}", if *dynamic { "YES" } else { "NO" });
            if let Some(run) = run {
                put!(page, 3, "uid:gid = {}:{}", run.uid, run.gid);
            }
        }
        CheckerKind::File { file, .. } => {
            put!(page, 5, "Tracked file = {file}");
            put!(page, 5, "Reloaded = No");
        }
        CheckerKind::Bfd { session } => {
            put!(page, 3, "Name = {session}");
            put!(page, 3, "Alpha is {}", on(view.checker.alpha));
        }
    }
}

fn http(page: &mut Page, http: &Http, view: &CheckView) {
    let protocol = match http.protocol {
        HttpProtocol::V10 => "1.0",
        HttpProtocol::V10Close => "1.0C",
        HttpProtocol::V11 => "1.1",
    };
    put!(page, 3, "Keepalive method = {}, http protocol {protocol}", if http.tls { "SSL_GET" } else { "HTTP_GET" });
    put!(page, 3, "Enable SNI {}", set(http.server_name.is_some()));
    if let Some(name) = http.server_name.as_ref().filter(|name| !name.is_empty()) {
        put!(page, 5, "SNI name = {name}");
    }
    put!(page, 3, "Fast recovery {}", set(http.fast_recovery));
    for one in &http.pages {
        put!(page, 3, "Checked url = {}", one.shown_path());
        if let Some(digest) = one.digest {
            let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            put!(page, 5, "digest = {digits}");
        }
        if http.tls {
            put!(page, 5, "tls_compliant {}", set(one.tls_compliant));
        }
        put!(page, 5, "HTTP Status Code(s)");
        for (first, last) in &one.status {
            match first == last {
                true => put!(page, 7, "{first}"),
                false => put!(page, 7, "{first}-{last}"),
            }
        }
        if let Some(host) = &one.virtual_host {
            put!(page, 5, "Virtual host = {host}");
        }
        if let Some(pattern) = &one.pattern {
            put!(page, 5, "Regex = \"{}\"", pattern.text);
            if pattern.must_not_match {
                put!(page, 5, "Regex no match");
            }
            match (pattern.first_offset, pattern.last_offset) {
                (0, None) => {}
                (first, None) => put!(page, 5, "Regex min offset = {first}"),
                (first, Some(last)) => put!(page, 5, "Regex min offset = {first}, max_offset = {last}"),
            }
            let options: String = pattern.options.iter().map(|option| format!(" {option}")).collect();
            put!(page, 5, "Regex options:{options}");
            if let Some((start, most)) = pattern.stack {
                put!(page, 5, "Regex stack start {start}, max {most}");
            }
        }
    }
    if let Some(failing) = view.failing.and_then(|at| http.pages.get(at)) {
        put!(page, 3, "Failed URL = {}", failing.shown_path());
    }
}

fn set(is: bool) -> &'static str {
    if is { "set" } else { "unset" }
}
