//! `vipctl status --on A,B`: several servers asked over ssh, all at once, and held against each other.
//!
//! Nothing listens on the network for this: `ssh`, as the user has set it up, runs `vipctl status --json --configuration`
//! there. What comes back is the snapshot of the daemon and the files of its configuration, which are compared here as `vipctl
//! check` compares files. Passwords stay there: what comes of them says no more than whether they are equal ([`super::sealed`]).

use super::args::Status;
use super::paint::Paint;
use super::sealed::{Files, Salt};
use super::table::Table;
use super::view::Snapshot;
use super::{Outcome, Trouble, check, client, steer};
use crate::config::pair::{self, Finding};
use crate::config::report::{Level, printable};
use crate::spec::Spec;
use serde_json::{Value, json};
use std::io::Read;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// What is run there.
const QUESTION: &str = "vipctl status --json --configuration=";
/// Bytes read at once.
const PIECE: usize = 64 << 10;
/// A longer answer is none.
const LONGEST: u64 = 64 << 20;
/// Between two looks whether ssh has ended.
const AGAIN: Duration = Duration::from_millis(20);

/// What one server said.
struct Server {
    name: String,
    answer: Result<Answer, String>,
}

struct Answer {
    raw: Value,
    snapshot: Snapshot,
    /// `None`: it cannot be read there, or has mistakes.
    spec: Option<Spec>,
}

/// Is a virtual address on exactly one of the servers?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Held {
    Yes,
    No,
    /// A server that has it perhaps could not be asked.
    Unknown,
}

/// One virtual address over all servers.
struct Row {
    address: String,
    /// Names of the instances that it belongs to.
    instances: Vec<String>,
    holders: Vec<String>,
    held: Held,
    /// Of some server it is not known whether it has it.
    in_doubt: bool,
}

/// Exit code 0: every address is held by exactly one, and the configurations fit. 1: they do not. 2: a server could not be
/// asked, or its configuration not be read, so that it is not compared.
///
/// # Errors
/// Names that are none; no server has what was asked for.
pub(super) fn run(args: &Status, names: &[String]) -> Outcome {
    if let Some(bad) = names.iter().find(|name| name.is_empty() || name.starts_with('-')) {
        return Err(Trouble::new(format!("`{bad}` is no host that ssh could go to")));
    }
    let patience = Duration::from_secs_f64(args.within);
    let salt = Salt::fresh()?;
    let servers: Vec<Server> = std::thread::scope(|scope| {
        let asked: Vec<_> = names.iter().map(|name| (name, scope.spawn(move || ask(name, salt, patience)))).collect();
        let come = |(name, thread): (&String, std::thread::ScopedJoinHandle<'_, _>)| Server {
            name: name.clone(),
            answer: thread.join().unwrap_or_else(|_| Err("asking it failed here".into())),
        };
        asked.into_iter().map(come).collect()
    });
    let rows = rows(&servers, args);
    let findings = findings(&servers);
    let text = if args.json { as_json(&servers, &rows, &findings) } else { text(&servers, &rows, &findings) };
    steer::print(&text)?;
    let all_asked = servers.iter().all(|server| server.answer.is_ok());
    if rows.is_empty() && all_asked {
        let chosen = !args.names.is_empty() || args.address.is_some();
        let what = if chosen { "such an instance or address" } else { "a virtual address" };
        return Err(Trouble::new(format!("no server has {what}")));
    }
    let compared = |server: &Server| server.answer.as_ref().is_ok_and(|answer| answer.spec.is_some());
    let worse = |finding: &Finding| finding.level == Level::Error;
    Ok(if rows.iter().any(|row| row.held == Held::No) || findings.iter().any(worse) {
        ExitCode::FAILURE
    } else if servers.iter().all(compared) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(2)
    })
}

fn ask(name: &str, salt: Salt, patience: Duration) -> Result<Answer, String> {
    let bytes = over_ssh(name, &format!("{QUESTION}{}", salt.text()), patience)?;
    let mut raw: Value = serde_json::from_slice(&bytes).map_err(|e| format!("its answer is not understood: {e}"))?;
    let files = raw.as_object_mut().and_then(|fields| fields.remove("configuration"));
    let snapshot = client::read(&raw).map_err(|trouble| trouble.what)?;
    let files: Option<Files> = files.and_then(|files| serde_json::from_value(files).ok());
    let config_id = raw["config_id"].as_str().unwrap_or_default();
    let spec = files.and_then(|files| files.open(config_id));
    Ok(Answer { raw, snapshot, spec })
}

/// What the question came to there, at the latest after `patience`, whatever holds the pipes of ssh open.
fn over_ssh(name: &str, question: &str, patience: Duration) -> Result<Vec<u8>, String> {
    let seconds = patience.as_secs().max(1);
    let mut child = Command::new("ssh")
        // Nobody is asked for a password or about a key: it goes, or it says why not.
        .args(["-T", "-o", "BatchMode=yes", "-o", &format!("ConnectTimeout={seconds}"), "--", name, question])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("ssh cannot be started: {e}"))?;
    let begun = Instant::now();
    let (out, err) = (pieces(child.stdout.take()), pieces(child.stderr.take()));
    let late = || format!("no answer within {} s", patience.as_secs_f64());
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if begun.elapsed() < patience => std::thread::sleep(AGAIN),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                // What ssh has started may keep the pipes open: they are left to themselves.
                return Err(late());
            }
            Err(e) => return Err(format!("ssh: {e}")),
        }
    };
    // The process that keeps connections for ssh (ControlPersist) has its pipes too, and keeps them.
    let left = || patience.saturating_sub(begun.elapsed());
    if status.success() {
        return whole(&out, left).map_err(|_| late());
    }
    let said = whole(&err, left).unwrap_or_else(|part| part);
    let text = String::from_utf8_lossy(&said);
    let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("ssh failed and said nothing").trim();
    Err(printable(last).chars().take(300).collect())
}

/// What comes out of a pipe, as it comes; disconnected at its end.
fn pieces(stream: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (tell, come) = channel();
    std::thread::spawn(move || {
        let Some(mut stream) = stream.map(|stream| stream.take(LONGEST)) else { return };
        let mut buffer = vec![0; PIECE];
        loop {
            let piece = match stream.read(&mut buffer) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Ok(length) if length > 0 => buffer.get(..length).unwrap_or_default().to_vec(),
                _ => return,
            };
            if tell.send(piece).is_err() {
                return;
            }
        }
    });
    come
}

/// All that a pipe gives.
///
/// # Errors
/// It has not ended when nothing is `left` of the time: what came until then.
fn whole(pieces: &Receiver<Vec<u8>>, left: impl Fn() -> Duration) -> Result<Vec<u8>, Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        match pieces.recv_timeout(left()) {
            Ok(piece) => bytes.extend(piece),
            Err(RecvTimeoutError::Disconnected) => return Ok(bytes),
            Err(RecvTimeoutError::Timeout) => return Err(bytes),
        }
    }
}

/// Every virtual address of every server, in their order.
fn rows(servers: &[Server], args: &Status) -> Vec<Row> {
    let all_asked = servers.iter().all(|server| server.answer.is_ok());
    let mut rows: Vec<Row> = Vec::new();
    for server in servers {
        let Ok(answer) = &server.answer else { continue };
        let groups = &answer.snapshot.groups;
        for instance in &answer.snapshot.instances {
            let of_group = |name: &String| {
                groups.iter().any(|group| group.name == *name && group.members.contains(&instance.name))
            };
            if !args.names.is_empty() && !args.names.iter().any(|name| *name == instance.name || of_group(name)) {
                continue;
            }
            for address in &instance.addresses {
                if args.address.is_some_and(|wanted| wanted.to_string() != address.address) {
                    continue;
                }
                let at = rows.iter().position(|row| row.address == address.address).unwrap_or_else(|| {
                    let (instances, holders) = (Vec::new(), Vec::new());
                    let held = Held::Unknown;
                    rows.push(Row { address: address.address.clone(), instances, holders, held, in_doubt: !all_asked });
                    rows.len() - 1
                });
                let Some(row) = rows.get_mut(at) else { continue };
                if !row.instances.contains(&instance.name) {
                    row.instances.push(instance.name.clone());
                }
                if address.is_here() == Some(true) && !row.holders.contains(&server.name) {
                    row.holders.push(server.name.clone());
                }
                row.in_doubt |= address.is_here().is_none();
            }
        }
    }
    for row in &mut rows {
        row.held = match (row.holders.len(), row.in_doubt) {
            (1, false) => Held::Yes,
            (0 | 1, true) => Held::Unknown,
            _ => Held::No,
        };
    }
    rows
}

/// What does not fit between the configurations that could be read.
fn findings(servers: &[Server]) -> Vec<Finding> {
    let specs: Vec<(String, &Spec)> = servers
        .iter()
        .filter_map(|server| Some((server.name.clone(), server.answer.as_ref().ok()?.spec.as_ref()?)))
        .collect();
    if specs.len() < 2 { Vec::new() } else { pair::compare(&specs) }
}

fn text(servers: &[Server], rows: &[Row], findings: &[Finding]) -> String {
    let paint = Paint::stdout();
    let mut out = String::new();
    for server in servers {
        let name = printable(&server.name);
        let said = match &server.answer {
            Err(why) => paint.bad(&format!("{name} cannot be asked: {}", printable(why))),
            Ok(answer) if answer.spec.is_none() => {
                paint.careful(&format!("{name}: its configuration cannot be read, so it is not compared"))
            }
            Ok(_) => continue,
        };
        out += &format!("{said}\n");
    }
    let mut table = Table::new(&["ADDRESS", "INSTANCE", "HELD BY", "HELD BY EXACTLY ONE"]);
    for row in rows {
        let holders = if row.holders.is_empty() { "nobody".into() } else { printable(&row.holders.join(", ")) };
        let held = match row.held {
            Held::Yes => paint.good("yes"),
            Held::No => paint.bad("no"),
            Held::Unknown => paint.careful("unknown"),
        };
        table.row([paint.strong(&printable(&row.address)), printable(&row.instances.join(", ")), holders, held]);
    }
    if !rows.is_empty() {
        out += &table.render(paint);
    }
    if !findings.is_empty() {
        out += &format!("\n{}", check::text(findings, &[], paint, true));
    }
    out
}

fn as_json(servers: &[Server], rows: &[Row], findings: &[Finding]) -> String {
    let servers: Vec<Value> = servers
        .iter()
        .map(|server| match &server.answer {
            Ok(answer) => json!({ "name": server.name, "status": answer.raw, "compared": answer.spec.is_some() }),
            Err(why) => json!({ "name": server.name, "trouble": why }),
        })
        .collect();
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            let exactly_one = match row.held {
                Held::Yes => Some(true),
                Held::No => Some(false),
                Held::Unknown => None,
            };
            json!({
                "address": row.address, "instances": row.instances, "holders": row.holders,
                "held_by_exactly_one": exactly_one,
            })
        })
        .collect();
    let whole = json!({ "servers": servers, "addresses": rows, "findings": findings });
    super::steer::pretty(whole)
}
