//! The verbs that ask a running daemon for something and print what it answers.

use super::Outcome;
use super::Trouble;
use super::args::{Bfd, BfdWhat, Daemon, Explain, History, Status, Upgrade, Watch, Which};
use super::client::{Client, listening, read, unexpected};
use super::clock;
use super::explain;
use super::paint::Paint;
use super::status;
use crate::daemon::doors::socket::{Reply, Request};
use serde_json::{Value, json};
use std::io::Write;
use std::process::ExitCode;

pub fn status(args: &Status) -> Outcome {
    let (raw, view) = Client::connect(&args.daemon)?.status()?;
    if args.json { print(&pretty(&raw)) } else { print(&status::render(&view, Paint::stdout())) }
}

pub fn explain(args: &Explain) -> Outcome {
    let (_, view) = Client::connect(&args.daemon)?.status()?;
    match explain::render(&view, args.instance.as_deref(), Paint::stdout()) {
        Some(text) => print(&text),
        None => {
            let wanted = args.instance.as_deref().unwrap_or("");
            let names: Vec<&str> = view.instances.iter().map(|i| i.name.as_str()).collect();
            let trouble = Trouble::new(if names.is_empty() {
                "no VRRP instance is configured".to_owned()
            } else {
                format!("there is no instance {wanted}")
            });
            Err(if names.is_empty() { trouble } else { trouble.help(format!("there are: {}", names.join(", "))) })
        }
    }
}

/// Runs until the daemon hangs up or the reader does.
pub fn watch(args: &Watch) -> Outcome {
    let mut client = Client::connect(&args.daemon)?;
    client.send(&Request::Watch)?;
    client.be_patient()?;
    let paint = Paint::stdout();
    while let Some(reply) = client.next()? {
        let line = match reply {
            Reply::Status { status } if args.json => json!({ "status": status }).to_string() + "\n",
            Reply::Status { status } => status::render(&read(&status)?, paint) + "\n",
            Reply::Event { unix_micros, event } if args.json => {
                json!({ "unix_micros": unix_micros, "event": event }).to_string() + "\n"
            }
            Reply::Event { unix_micros, event } => event_line(unix_micros, unix_micros, &event, paint),
            Reply::Refused { reason, .. } => return Err(Trouble::new(reason)),
            other => return Err(unexpected(&other)),
        };
        let mut out = std::io::stdout().lock();
        if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
            // Whoever read this has gone: that ends a watch.
            return Ok(ExitCode::SUCCESS);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What the daemon remembers, oldest first.
pub fn history(args: &History) -> Outcome {
    let mut client = Client::connect(&args.daemon)?;
    let moments = match client.ask(&Request::History { instance: args.instance.clone() })? {
        Reply::History { moments } => moments,
        other => return Err(unexpected(&other)),
    };
    let (paint, now) = (Paint::stdout(), crate::kernel::clock::wall().unix_micros);
    let lines: Vec<String> = moments
        .iter()
        .map(|moment| match args.json {
            true => json!(moment).to_string() + "\n",
            false => event_line(moment.unix_micros, now, &moment.event, paint),
        })
        .collect();
    print(&lines.concat())
}

/// With the date where it was not the day of `now`.
fn event_line(unix_micros: u64, now: u64, event: &Value, paint: Paint) -> String {
    let wall = clock::local(unix_micros, now);
    let text = event["text"].as_str().map_or_else(|| event.to_string(), str::to_owned);
    let text = ["MASTER", "BACKUP", "FAULT"].iter().fold(text, |t, word| t.replace(word, &paint.state(word)));
    format!("{} {text}\n", paint.dim(&format!("{wall}.{:03}", unix_micros / 1000 % 1000)))
}

pub fn bfd(args: Bfd) -> Outcome {
    if let (Some(what), Some(session)) = (args.what, args.session.clone()) {
        return ask(&args.daemon, &Request::BfdShutdown { session, down: what == BfdWhat::Shutdown });
    }
    match Client::connect(&args.daemon)?.ask(&Request::Bfd { session: args.session.clone() })? {
        Reply::Bfd { mut sessions, .. } if args.json => {
            if let (Some(name), Some(list)) = (&args.session, sessions["sessions"].as_array_mut()) {
                list.retain(|session| session["name"] == name.as_str());
            }
            print(&pretty(&sessions))
        }
        Reply::Bfd { text, .. } => print(&text),
        other => Err(unexpected(&other)),
    }
}

/// A request of one line and its answer of one.
pub fn ask(daemon: &Daemon, request: &Request) -> Outcome {
    match Client::connect(daemon)?.ask(request)? {
        Reply::Done { message } if message.is_empty() => print("done\n"),
        Reply::Done { message } => print(&format!("{message}\n")),
        Reply::Text { text } => print(&text),
        other => Err(unexpected(&other)),
    }
}

pub fn each(which: Which, request: impl FnOnce(Option<String>) -> Request) -> Outcome {
    ask(&which.daemon, &request(which.instance))
}

/// With `--all`, one after the other: a daemon that stays what it is keeps none of the others from going over.
pub fn upgrade(args: Upgrade) -> Outcome {
    let request = Request::Upgrade { program: args.program };
    if !args.all {
        return ask(&args.daemon, &request);
    }
    let mut code = ExitCode::SUCCESS;
    for path in listening() {
        let answer = Client::open(&path).and_then(|mut client| client.ask(&request));
        match answer {
            Ok(Reply::Done { message }) => print(&format!("{}: {message}\n", path.display()))?,
            Ok(other) => return Err(unexpected(&other)),
            Err(trouble) => {
                eprintln!("{} {}: {trouble}", Paint::stderr().bad("vipctl:"), path.display());
                code = ExitCode::FAILURE;
                continue;
            }
        };
    }
    Ok(code)
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string()) + "\n"
}

/// A reader that has gone is no trouble.
///
/// # Errors
/// Anything else.
pub fn gone(e: std::io::Error) -> std::io::Result<()> {
    if e.kind() == std::io::ErrorKind::BrokenPipe { Ok(()) } else { Err(e) }
}

/// Writes to stdout; a reader that has gone is no trouble.
pub fn print(text: &str) -> Outcome {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    Ok(ExitCode::SUCCESS)
}
