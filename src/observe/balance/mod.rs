//! Virtual servers for observers: keepalived's log sentences, FIFO lines, notify programs and mails, each made of one event
//! and nothing else.
//!
//! The functions here are pure; the observers of VRRP call them ([`super::Observer::balance`]), since log, pipes, programs
//! and mail are the same for both. An event that says nothing to one of them is named there all the same, so that a new
//! one asks everywhere.

mod attempts;
pub mod changes;
pub mod reasons;
pub mod story;
pub mod view;

use super::NotifyRun;
use super::mail::Message;
use super::words;
use crate::balance::io::{Activity, CheckInfo, Event, ServerInfo, ServiceInfo, ServiceKey, SorryInfo, Symptom, Why};
use crate::spec::balance::CheckerKind;
use crate::spec::{Mail, Run};
use tracing::Level;

pub use attempts::attempt;

/// What is to be said about an event, in keepalived's words where it has any.
pub fn sentences(event: &Event) -> Vec<(Level, String)> {
    let info = |text: String| vec![(Level::INFO, text)];
    let warn = |text: String| vec![(Level::WARN, text)];
    match event {
        Event::Probed { check, page, finding, verdict, was_up } => {
            attempt(check, *page, finding, *verdict, *was_up).into_iter().map(|text| (Level::INFO, text)).collect()
        }
        Event::NotMade { check, error } => info(attempts::not_made(check, *error)),
        Event::FileFault { check, fault } => {
            let CheckerKind::File { file, .. } = &check.checker.kind else { return Vec::new() };
            let state = if *fault { "now" } else { "leaving" };
            vec![(Level::DEBUG, format!("({}): tracked file {file} {state} FAULT state", check.server.text))]
        }
        Event::CheckChanged { .. } | Event::ServerConfirmed { .. } | Event::Reloaded => Vec::new(),
        Event::ServerUp { server, .. } => info(coming(server)),
        // One line about the table itself says it for all.
        Event::ServerDown { why: Why::NoTable(_), .. } | Event::ServiceRefused { no_table: true, .. } => Vec::new(),
        Event::ServerDown { server, why, .. } => {
            // What the kernel has not taken is not taken out of its table.
            let Why::Refused(error) = why else { return info(going(server)) };
            let (text, of) = (&server.text, &server.service.text);
            let reason = words::refused(*error);
            warn(format!("the kernel refuses real server {text} of VS {of}: {reason}; it is tried again"))
        }
        Event::WeightChanged { server, from, to, active, .. } => {
            let active = if *active { "active" } else { "inactive" };
            let (text, of) = (&server.text, &server.service.text);
            info(format!("Changing weight from {from} to {to} for {active} service {text} of VS {of}"))
        }
        Event::QuorumGained { service, weight, sorry, .. } => {
            let mut lines = info(format!("Gained {}", gained(service, *weight)));
            if let Some(own) = service.sorry.as_ref().filter(|_| *sorry) {
                lines.extend(sorry_goes(service, &own.text, own.inhibit, true));
            }
            lines
        }
        Event::QuorumLost { service, weight, begin, sorry, .. } => quorum_lost(service, *weight, *begin, *sorry),
        Event::SorryAdded { service } => sorry_comes(service),
        Event::SorryRemoved { service, sorry, inhibit, pool } => sorry_goes(service, sorry, *inhibit, *pool),
        Event::Checker { check, activity } => {
            let word = match activity {
                Activity::Activating => "Activating",
                Activity::Deactivating => "Deactivating",
                Activity::Suspending => "Suspending",
            };
            let server = &check.server;
            info(format!("{word} healthchecker for service {} for VS {}", server.text, server.service.text))
        }
        Event::ServiceRefused { service, error, .. } => warn(service_refused(service, *error)),
        Event::Restored { service, destination, .. } => {
            let gone = destination.map(|(address, port)| format!(" -> [{address}]:{port}")).unwrap_or_default();
            warn(format!("IPVS entry {service}{gone} was removed by another program, put back"))
        }
        Event::Commanded { server, weight } => {
            let (text, of) = (&server.text, &server.service.text);
            info(match weight {
                Some(0) => format!("service {text} of VS {of} is drained by an operator"),
                Some(weight) => format!("service {text} of VS {of} is given weight {weight} by an operator"),
                None => format!("service {text} of VS {of} has its configured weight again, by an operator"),
            })
        }
        Event::ServerRemoved { server, present, whole, .. } => {
            let mut lines = Vec::new();
            if !whole {
                lines.extend(info(format!("service {} no longer exist", server.text)));
            }
            if *present {
                lines.extend(info(format!("Removing service {} from VS {}", server.text, server.service.text)));
            }
            lines
        }
        Event::ServiceRemoving { service } => info(match &service.group {
            Some(group) => format!("Removing Virtual Server Group [{group}]"),
            None => format!("Removing Virtual Server {}", service.text),
        }),
        Event::ServiceRemoved { .. } | Event::ServiceStopped { .. } => Vec::new(),
        Event::EntryChanged { group, entry, added: true } => info(format!("VS [{entry}] added into group {group}")),
        Event::EntryChanged { group, entry, added: false } => {
            info(format!("VS [{entry}] in group {group} no longer exists"))
        }
        Event::GroupCut { group, taken } => {
            warn(format!("virtual_server_group {group} has more than {taken} addresses; only so many are served"))
        }
        Event::ServerStopped { server, alive, .. } => {
            let inhibited = if server.inhibit && !alive { "(inhibited) " } else { "" };
            info(format!("Shutting down {inhibited}service {} from VS {}", server.text, server.service.text))
        }
    }
}

/// The sorry server is taken out of the table, with `pool` for the real servers, which come in.
fn sorry_goes(service: &ServiceInfo, sorry: &str, inhibit: bool, pool: bool) -> Vec<(Level, String)> {
    let word = if inhibit { "Disabling" } else { "Removing" };
    let mut lines = vec![(Level::INFO, format!("{word} sorry server {sorry} from VS {}", service.text))];
    if pool {
        lines.push((Level::INFO, format!("Adding alive servers to the pool for VS {}", service.text)));
    }
    lines
}

/// `begin`: the service starts without its quorum; `sorry`: its sorry server comes in for the real servers.
fn quorum_lost(service: &ServiceInfo, weight: u64, begin: bool, sorry: bool) -> Vec<(Level, String)> {
    let (quorum, hysteresis) = (service.quorum, service.hysteresis);
    let total = if begin { quorum.saturating_add(hysteresis) } else { quorum.saturating_sub(hysteresis) };
    let word = if begin { "Starting with quorum down" } else { "Lost quorum" };
    let mut lines =
        vec![(Level::INFO, format!("{word} {quorum}-{hysteresis}={total} > {weight} for VS {}", service.text))];
    if sorry {
        lines.extend(sorry_comes(service));
        lines.push((Level::INFO, format!("Removing alive servers from the pool for VS {}", service.text)));
    }
    lines
}

/// The sorry server is put into the table.
fn sorry_comes(service: &ServiceInfo) -> Vec<(Level, String)> {
    let line = |own: &SorryInfo| {
        let word = if own.inhibit { "Enabling" } else { "Adding" };
        (Level::INFO, format!("{word} sorry server {} to VS {}", own.text, service.text))
    };
    service.sorry.iter().map(line).collect()
}

fn coming(server: &ServerInfo) -> String {
    let (text, of) = (&server.text, &server.service.text);
    match server.inhibit {
        true => format!("Enabling service {text} of VS {of}"),
        false => format!("Adding service {text} to VS {of}"),
    }
}

fn going(server: &ServerInfo) -> String {
    let (text, of) = (&server.text, &server.service.text);
    match server.inhibit {
        true => format!("Disabling service {text} of VS {of}"),
        false => format!("Removing service {text} from VS {of}"),
    }
}

/// `quorum 1+0=1 <= 3 for VS …`
fn gained(service: &ServiceInfo, weight: u64) -> String {
    let (quorum, hysteresis) = (service.quorum, service.hysteresis);
    let total = quorum.saturating_add(hysteresis);
    format!("quorum {quorum}+{hysteresis}={total} <= {weight} for VS {}", service.text)
}

/// Who is told by programs, pipes and mail that something is up or down.
#[derive(Clone, Copy, Debug)]
enum Subject<'a> {
    Server(&'a ServerInfo),
    Service(&'a ServiceInfo),
}

/// Why they are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Occasion {
    /// A check or a quorum said so.
    Changed,
    /// A reload took it away.
    Removed,
    /// The daemon ends: the programs of these get a second.
    Stopped,
}

/// The kernel has not got a virtual server, and why.
fn service_refused(service: &ServiceKey, error: i32) -> String {
    format!("the kernel refuses virtual server {service}: {}; it is tried again", words::refused(error))
}

/// What programs, pipes and mail tell of an event: of whom, up or down, and why. Everything else that happens is named here
/// as none of their business.
fn notification(event: &Event) -> Option<(Subject<'_>, bool, Occasion)> {
    use Occasion::{Changed, Removed, Stopped};
    match event {
        Event::ServerUp { server, .. } => Some((Subject::Server(server), true, Changed)),
        Event::ServerDown { server, .. } => Some((Subject::Server(server), false, Changed)),
        Event::ServerConfirmed { server, up, .. } => Some((Subject::Server(server), *up, Changed)),
        Event::QuorumGained { service, .. } => Some((Subject::Service(service), true, Changed)),
        Event::QuorumLost { service, .. } => Some((Subject::Service(service), false, Changed)),
        Event::ServerRemoved { server, present: true, .. } => Some((Subject::Server(server), false, Removed)),
        Event::ServiceRemoved { service, had: true, .. } => Some((Subject::Service(service), false, Removed)),
        Event::ServerStopped { server, told: true, .. } => Some((Subject::Server(server), false, Stopped)),
        Event::ServiceStopped { service, told: true, .. } => Some((Subject::Service(service), false, Stopped)),
        Event::ServerRemoved { present: false, .. }
        | Event::ServiceRemoved { had: false, .. }
        | Event::ServerStopped { told: false, .. }
        | Event::ServiceStopped { told: false, .. }
        | Event::Probed { .. }
        | Event::NotMade { .. }
        | Event::FileFault { .. }
        | Event::CheckChanged { .. }
        | Event::WeightChanged { .. }
        | Event::SorryAdded { .. }
        | Event::SorryRemoved { .. }
        | Event::Checker { .. }
        | Event::ServiceRefused { .. }
        | Event::Restored { .. }
        | Event::Commanded { .. }
        | Event::ServiceRemoving { .. }
        | Event::EntryChanged { .. }
        | Event::GroupCut { .. }
        | Event::Reloaded => None,
    }
}

/// The FIFO line of an event, with its LF: `RS [A]:tcp:80 [V]:tcp:80 UP`, `VS [V]:tcp:80 DOWN`.
pub fn line(event: &Event) -> Option<String> {
    let (subject, up, _) = notification(event)?;
    let word = state(up);
    Some(match subject {
        Subject::Server(server) => format!("RS {} {} {word}\n", server.text, server.service.text),
        Subject::Service(service) => format!("VS {} {word}\n", service.text),
    })
}

/// The notify program of an event: exactly the arguments that were written, as keepalived has it.
pub fn run(event: &Event) -> Option<NotifyRun> {
    let (subject, up, occasion) = notification(event)?;
    let program: &Option<Run> = match (subject, up) {
        (Subject::Server(server), true) => &server.notify_up,
        (Subject::Server(server), false) => &server.notify_down,
        (Subject::Service(service), true) => &service.quorum_up,
        (Subject::Service(service), false) => &service.quorum_down,
    };
    let of = match subject {
        Subject::Server(server) => format!("{} of {}", server.text, server.service.text),
        Subject::Service(service) => service.text.to_string(),
    };
    let limited = occasion == Occasion::Stopped;
    program.clone().map(|run| NotifyRun { run, arguments: Vec::new(), of, event: state(up), limited })
}

fn state(up: bool) -> &'static str {
    if up { "UP" } else { "DOWN" }
}

/// The mail about an event. Of real servers there is one for each change of a check, with the server's state in its
/// subject; under `no_checker_emails` only when that changed as well.
pub fn mail(event: &Event, router: &str, settings: &Mail, no_checker_emails: bool) -> Option<Message> {
    if settings.server.is_none() || settings.to.is_empty() {
        return None;
    }
    let (subject, body) = match event {
        Event::CheckChanged { check, symptom, good, up, moved } => {
            if !check.server.mail || (no_checker_emails && !moved) {
                return None;
            }
            (of_server(&check.server, *up), body(check, *good, symptom.as_ref())?)
        }
        Event::QuorumGained { service, weight, begin, .. } if service.mail => {
            let words = if *begin { "Starting with quorum up" } else { "Gained quorum" };
            (of_service(service, true), quorum(words, service, *weight))
        }
        Event::QuorumLost { service, weight, begin, .. } if service.mail => {
            let words = if *begin { "Starting with quorum down" } else { "Lost quorum" };
            (of_service(service, false), quorum(words, service, *weight))
        }
        end => {
            let (subject, up, occasion) = notification(end)?;
            let body = match occasion {
                // Of these there is the mail about the check or the quorum.
                Occasion::Changed => return None,
                Occasion::Removed => "=> Removing <=",
                Occasion::Stopped => "=> Shutting down <=",
            };
            let subject = match subject {
                Subject::Server(server) if server.mail => of_server(server, up),
                Subject::Service(service) if service.mail => of_service(service, up),
                Subject::Server(_) | Subject::Service(_) => return None,
            };
            (subject, body.into())
        }
    };
    Some(Message { settings: settings.clone(), subject: format!("[{router}] {subject}"), body })
}

fn of_server(server: &ServerInfo, up: bool) -> String {
    format!("Realserver {} of virtual server {} - {}", server.text, server.service.text, state(up))
}

fn of_service(service: &ServiceInfo, up: bool) -> String {
    format!("Virtualserver {} - {}", service.text, state(up))
}

/// keepalived has `+` and `<=` here for losses as well.
fn quorum(words: &str, service: &ServiceInfo, weight: u64) -> String {
    let (quorum, hysteresis) = (service.quorum, service.hysteresis);
    format!("=> {words} {quorum}+{hysteresis}={} <= {weight} <=", quorum.saturating_add(hysteresis))
}

/// FILE_CHECK never mails.
fn body(check: &CheckInfo, good: bool, symptom: Option<&Symptom>) -> Option<String> {
    let word = if good { "succeed" } else { "failed" };
    Some(match &check.checker.kind {
        CheckerKind::Tcp => format!("=> TCP CHECK {word} on service <="),
        CheckerKind::Udp { .. } => format!("=> UDP CHECK {word} on service <="),
        CheckerKind::Ping => format!("=> ICMP CHECK {word} on service <="),
        CheckerKind::Dns { .. } => format!("=> DNS_CHECK: {word} on service <="),
        CheckerKind::Http(_) | CheckerKind::Smtp { .. } if good => "=> CHECK succeed on service <=".into(),
        CheckerKind::Http(_) => "=> CHECK failed on service : HTTP/SSL request failed <=".into(),
        CheckerKind::Smtp { .. } => {
            let text = symptom.map(|symptom| attempts::smtp(check, symptom)).unwrap_or_default();
            format!("=> CHECK failed on service : {text} <=")
        }
        CheckerKind::Misc { .. } => format!("=> MISC CHECK {} on service <=", attempts::misc_word(symptom)),
        CheckerKind::Bfd { session } => {
            format!("=> BFD CHECK {session} {} on service <=", if good { "succeeded" } else { "failed" })
        }
        CheckerKind::File { .. } => return None,
    })
}
