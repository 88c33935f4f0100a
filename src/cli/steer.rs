//! The verbs that ask a running daemon for something and print what it answers.

use super::Outcome;
use super::Trouble;
use super::args::{Bfd, BfdWhat, Daemon, Explain, History, IsMaster, Status, Upgrade, Which};
use super::client::{Client, listening, unexpected};
use super::clock;
use super::explain;
use super::explain_server;
use super::paint::Paint;
use super::remote;
use super::sealed;
use super::servers;
use super::status;
use super::view::Snapshot;
use crate::daemon::doors::socket::{Reply, Request, SCHEMA};
use crate::spec::first_few;
use serde_json::{Value, json};
use std::io::Write;
use std::process::ExitCode;

pub(crate) fn status(args: &Status) -> Outcome {
    if !args.on.is_empty() {
        return remote::run(args, &args.on);
    }
    let mut client = Client::connect(&args.daemon)?;
    let (mut raw, view) = client.status()?;
    // What the file says is for those who may read it, whatever its mode is.
    if let Some(salt) = args.configuration.filter(|_| nix::unistd::geteuid().is_root())
        && let Reply::Hello { config, .. } = client.ask(&Request::Hello)?
    {
        let config_id = raw["config_id"].as_str().unwrap_or_default().to_owned();
        raw["configuration"] = json!(sealed::Files::seal(&config, &config_id, salt));
    }
    let which = status::Chosen { names: &args.names, address: args.address };
    if args.json {
        return print(&pretty(chosen(raw, &view, &which)?));
    }
    print(&status::render_chosen(&view, &which, Paint::stdout()).map_err(|reason| unknown(reason, &view))?)
}

/// The snapshot with the instances that were asked for.
fn chosen(mut raw: Value, view: &Snapshot, which: &status::Chosen<'_>) -> Result<Value, Trouble> {
    let wanted = which.instances(view).map_err(|reason| unknown(reason, view))?;
    if let Some(list) = raw.get_mut("instances").and_then(Value::as_array_mut) {
        list.retain(|row| wanted.iter().any(|instance| row["name"] == *instance.name));
    }
    Ok(raw)
}

/// What there is instead.
fn unknown(reason: String, view: &Snapshot) -> Trouble {
    if view.instances.is_empty() {
        return Trouble::new("no VRRP instance is configured");
    }
    let groups = view.groups.iter().map(|group| group.name.as_str()).filter(|name| view.group(name).is_some());
    let names = view.instances.iter().map(|i| i.name.as_str()).chain(groups);
    Trouble::new(reason).help(format!("there are: {}", first_few(names, 20, ", ")))
}

/// For scripts: the exit code is the answer.
pub fn is_master(args: &IsMaster) -> Outcome {
    let (_, view) = Client::connect(&args.daemon)?.status()?;
    let names = [args.what.clone()];
    let which = match super::args::plain_address(&args.what) {
        Ok(address) => status::Chosen { names: &[], address: Some(address) },
        Err(_) => status::Chosen { names: &names, address: None },
    };
    let instances = which.instances(&view).map_err(|reason| unknown(reason, &view))?;
    let yes = instances.iter().all(|instance| instance.state == "MASTER");
    let states: Vec<String> =
        instances.iter().map(|i| format!("{} is {}: {}\n", i.name, i.state, i.reason(&view))).collect();
    print(&states.concat())?;
    Ok(if yes { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(crate) fn explain(args: &Explain) -> Outcome {
    let mut client = Client::connect(&args.daemon)?;
    let (_, view) = client.status()?;
    let services = servers::known(&mut client)?;
    let (only, paint, now) = (args.instance.as_deref(), Paint::stdout(), crate::kernel::clock::wall().unix_micros);
    let texts: Vec<String> = [explain::render(&view, only, paint), explain_server::render(&services, only, now, paint)]
        .into_iter()
        .flatten()
        .collect();
    if texts.is_empty() {
        let reason = only.map_or_else(
            || "nothing is configured".to_owned(),
            |name| format!("there is no instance, group or server `{name}`"),
        );
        let mut names: Vec<String> = view.instances.iter().map(|i| i.name.clone()).collect();
        names.extend(explain_server::names(&services));
        return Err(match names.is_empty() {
            true => Trouble::new(reason),
            false => Trouble::new(reason).help(format!("there are: {}", names.join(", "))),
        });
    }
    print(&texts.join("\n"))
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
            true => json_line(json!(moment)),
            false => event_line(moment.unix_micros, now, &moment.event, paint),
        })
        .collect();
    print(&lines.concat())
}

/// With the date where it was not the day of `now`.
pub fn event_line(unix_micros: u64, now: u64, event: &Value, paint: Paint) -> String {
    let wall = clock::local(unix_micros, now);
    let text = event["text"].as_str().map_or_else(|| event.to_string(), str::to_owned);
    let text = ["MASTER", "BACKUP", "FAULT"].iter().fold(text, |t, word| t.replace(word, &paint.state(word)));
    format!("{} {text}\n", paint.dim(&format!("{wall}.{:03}", unix_micros / 1000 % 1000)))
}

pub(crate) fn bfd(args: Bfd) -> Outcome {
    if let (Some(what), Some(session)) = (args.what, args.session.clone()) {
        return ask(&args.daemon, &Request::BfdShutdown { session, down: what == BfdWhat::Shutdown });
    }
    match Client::connect(&args.daemon)?.ask(&Request::Bfd { session: args.session.clone() })? {
        Reply::Bfd { mut sessions, .. } if args.json => {
            if let (Some(name), Some(list)) =
                (&args.session, sessions.get_mut("sessions").and_then(Value::as_array_mut))
            {
                list.retain(|session| session["name"] == name.as_str());
            }
            print(&pretty(sessions))
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

pub(crate) fn each(which: Which, request: impl FnOnce(Option<String>) -> Request) -> Outcome {
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

/// JSON for people, with the number of its form.
pub fn pretty(value: Value) -> String {
    let value = versioned(value);
    serde_json::to_string_pretty(&value).unwrap_or_else(|_| value.to_string()) + "\n"
}

/// An object with the number of its form (docs/control.md): every one that vipctl prints has it.
pub fn versioned(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.insert("schema".into(), SCHEMA.into());
    }
    value
}

/// One object on a line of its own.
pub fn json_line(value: Value) -> String {
    versioned(value).to_string() + "\n"
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
