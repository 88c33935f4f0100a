//! `vipctl watch` where no terminal is: what happens, line by line, as it happens; also that the daemon goes, is silent, and
//! comes back. On a terminal it is a whole [`screen`](super::screen).

use super::Outcome;
use super::args::Watch;
use super::client::{Client, Heard, path_of, read, unexpected};
use super::paint::Paint;
use super::servers;
use super::steer::{event_line, json_line};
use super::{screen, status};
use crate::daemon::doors::socket::{Reply, Request};
use crate::kernel::clock::wall;
use serde_json::json;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Between two attempts to reach a daemon that has gone.
const AGAIN: Duration = Duration::from_secs(1);

/// What is known of the daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Daemon {
    Answers,
    Silent,
    Gone,
}

impl Daemon {
    const fn word(self) -> &'static str {
        match self {
            Daemon::Answers => "back",
            Daemon::Silent => "silent",
            Daemon::Gone => "gone",
        }
    }
    fn sentence(self, path: &Path) -> String {
        let path = path.display();
        match self {
            Daemon::Answers => format!("the daemon at {path} answers again"),
            Daemon::Silent => format!("the daemon at {path} does not answer; its process may be stopped"),
            Daemon::Gone => format!("the daemon at {path} has gone; waiting for it to come back"),
        }
    }
}

/// Runs until the reader has gone.
///
/// # Errors
/// No daemon answers when it begins, or one says what is not understood.
pub fn run(args: &Watch) -> Outcome {
    let path = path_of(&args.daemon)?;
    let dumb = std::env::var_os("TERM").is_some_and(|kind| kind == "dumb");
    let on_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && !dumb;
    if on_terminal && !args.json && !args.lines {
        return screen::run(&path);
    }
    let mut client = Client::open(&path)?;
    client.send(&Request::Watch)?;
    let mut known = Daemon::Answers;
    let mut first = true;
    loop {
        let now = match client.listen()? {
            Heard::Reply(reply) => {
                // The daemon that came back tells where everything stands, which says it all.
                if known == Daemon::Silent && !tell(Daemon::Answers, &path, args.json) {
                    return Ok(ExitCode::SUCCESS);
                }
                known = Daemon::Answers;
                first = false;
                if !show(reply, args.json)? {
                    return Ok(ExitCode::SUCCESS);
                }
                continue;
            }
            Heard::Gone => Daemon::Gone,
            Heard::Silence if !first && answers(&path) => Daemon::Answers,
            // Nothing, not even where things stand: it never took the question.
            Heard::Silence => Daemon::Silent,
        };
        if now != known {
            known = now;
            if !tell(now, &path, args.json) {
                return Ok(ExitCode::SUCCESS);
            }
        }
        if now == Daemon::Gone {
            client = loop {
                std::thread::sleep(AGAIN);
                let again = Client::open(&path).and_then(|mut client| client.send(&Request::Watch).map(|()| client));
                if let Ok(client) = again {
                    break client;
                }
            };
            first = true;
            known = Daemon::Answers;
            if !tell(known, &path, args.json) {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

/// Nothing happens for hours in a healthy daemon: whether it lives is asked beside the watch.
fn answers(path: &Path) -> bool {
    Client::open(path).and_then(|mut client| client.ask(&Request::Hello)).is_ok()
}

fn tell(daemon: Daemon, path: &Path, json: bool) -> bool {
    let (unix_micros, text) = (wall().unix_micros, daemon.sentence(path));
    let line = match json {
        true => json_line(json!({ "unix_micros": unix_micros, "daemon": daemon.word() })),
        false => event_line(unix_micros, unix_micros, &json!({ "text": text }), Paint::stdout()),
    };
    put(&line)
}

/// False when whoever read this has gone, which ends a watch.
fn put(line: &str) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_ok()
}

fn show(reply: Reply, json: bool) -> Result<bool, super::Trouble> {
    let paint = Paint::stdout();
    let line = match reply {
        Reply::Status { status } if json => json_line(json!({ "status": status })),
        Reply::Status { status } => {
            let servers = status.get("servers").map(|all| {
                let ipvs = servers::yes(all, "ipvs");
                servers::render(servers::list(all, "services"), ipvs, wall().unix_micros, paint)
            });
            status::render(&read(&status)?, paint) + "\n" + &servers.unwrap_or_default()
        }
        Reply::Event { unix_micros, event } if json => json_line(json!({ "unix_micros": unix_micros, "event": event })),
        Reply::Event { unix_micros, event } => event_line(unix_micros, unix_micros, &event, paint),
        Reply::Refused { reason, .. } => return Err(super::Trouble::new(reason)),
        other => return Err(unexpected(&other)),
    };
    Ok(put(&line))
}
