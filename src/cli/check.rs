//! `vipctl check`: the mistakes of each file, then what does not fit between several, then what will happen.
//!
//! With one file the exit code is that of `keepalived -t`; what is found between files counts as a mistake if it is an
//! error, and with `--strict` if it is a warning.

use super::Outcome;
use super::alarms;
use super::args::{Check, Daemon, Format};
use super::client::{self, Client};
use super::files::{Where, load};
use super::paint::Paint;
use super::simulate::server_names;
use super::steer;
use crate::config::pair::{self, Finding};
use crate::config::report::{Class, Level, Style, printable};
use crate::daemon::doors::socket::{Reply, Request};
use crate::sim::outlook;
use crate::sim::outlook::servers::deaths;
use crate::spec::Spec;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Exit code when only what is between the files is wrong, or only `--strict` makes it wrong.
const NO: u8 = 1;

pub(crate) fn run(args: &Check) -> Outcome {
    // Several files are for several machines, and this is at most one of them.
    let files = if args.files.is_empty() { vec![file_here()] } else { args.files.clone() };
    let place = if args.anywhere || files.len() > 1 { Where::Anywhere } else { Where::Here };
    let format = if args.json { Format::Json } else { args.format };
    let paint = Paint::stdout();
    let (mut code, mut out) = (0, String::new());
    let mut specs: Vec<(String, Spec)> = Vec::new();
    for file in &files {
        let (spec, diagnostics) = load(file, args.config_id.as_deref(), place)?;
        code = code.max(diagnostics.exit_code());
        if args.strict && diagnostics.list.iter().any(|d| d.class.is_against_strict()) {
            code = code.max(NO);
        }
        match spec {
            Some(spec) => specs.push((file.display().to_string(), spec)),
            None => code = code.max(Class::Abort.exit_code()),
        }
        let shown = match format {
            Format::Json => numbered(&diagnostics.show(Style::Json)),
            Format::Text => diagnostics.show(Style::Full { colour: paint.on() }),
        };
        if shown.is_empty() && format == Format::Text {
            out += &format!("{}: {}\n", file.display(), paint.good("no mistakes"));
        }
        out += &shown;
    }
    if let [(file, spec)] = specs.as_slice() {
        let findings = pair::of_one(file, spec);
        let lines = deaths(&spec.balance);
        if findings.iter().any(|f| f.level == Level::Error || args.strict && f.level == Level::Warning) {
            code = code.max(NO);
        }
        if !findings.is_empty() || !lines.is_empty() {
            out += &match format {
                Format::Json => json_lines(&findings, &lines),
                Format::Text => text(&findings, &lines, paint, false),
            };
        }
    }
    if specs.len() > 1 {
        let servers: Vec<(String, &Spec)> = specs.iter().map(|(file, spec)| (file.clone(), spec)).collect();
        let mut findings = pair::compare(&servers);
        let files: Vec<String> = specs.iter().map(|(file, _)| file.clone()).collect();
        // Sentences name servers as simulate and lab do.
        let paths: Vec<&Path> = files.iter().map(Path::new).collect();
        let named: Vec<(String, Spec)> =
            server_names(&paths).into_iter().zip(specs.into_iter().map(|(_, spec)| spec)).collect();
        let mut outlook = outlook(&named, &files);
        outlook.lines.extend(deaths_of(&named));
        let played = outlook.findings_beside(&findings);
        findings.extend(played);
        let worst = |level| findings.iter().any(|f| f.level == level);
        if worst(Level::Error) || args.strict && worst(Level::Warning) {
            code = code.max(NO);
        }
        out += &match format {
            Format::Json => json_lines(&findings, &outlook.lines),
            Format::Text => text(&findings, &outlook.lines, paint, true),
        };
    }
    if format == Format::Text {
        out += &of_the_daemon(&files, paint);
    }
    steer::print(&out)?;
    Ok(ExitCode::from(code))
}

/// The file that is meant when none is named.
fn file_here() -> PathBuf {
    let control = std::env::var_os("VIPD_CONTROL").map(PathBuf::from);
    match client::path_of(&Daemon { control }).and_then(|path| Client::open(&path)?.ask(&Request::Hello)) {
        Ok(Reply::Hello { config, .. }) => config,
        _ => PathBuf::from("/etc/keepalived/keepalived.conf"),
    }
}

/// What is wrong now with the daemon here, if it runs with one of the files: whoever checks a file that is in force wants to know
/// why it does not work, and most of that does not stand in it. It leaves the exit code alone.
fn of_the_daemon(files: &[PathBuf], paint: Paint) -> String {
    let control = std::env::var_os("VIPD_CONTROL").map(PathBuf::from);
    let Ok(mut client) = client::path_of(&Daemon { control }).and_then(|path| Client::open(&path)) else {
        return String::new();
    };
    let (file, wrong) = match client.ask(&Request::Hello) {
        Ok(Reply::Hello { config, .. }) => {
            let config = std::fs::canonicalize(&config).unwrap_or(config);
            let of_it = |file: &&PathBuf| std::fs::canonicalize(file).is_ok_and(|file| file == config);
            let Some(file) = files.iter().find(of_it) else { return String::new() };
            let Ok((_, snapshot)) = client.status() else { return String::new() };
            (format!("the daemon here, which runs with {}", file.display()), alarms::of_daemon(&snapshot))
        }
        Ok(_) => return String::new(),
        // With which file it runs it does not say either.
        Err(trouble) => ("the daemon here".into(), vec![trouble.what]),
    };
    let list: String = wrong.iter().map(|what| format!("  {what}\n")).collect();
    if list.is_empty() { list } else { format!("{} {file}:\n{list}", paint.bad("wrong now with")) }
}

/// Lines of JSON with the number of their form.
fn numbered(lines: &str) -> String {
    let value = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| json!({ "message": line }));
    lines.lines().map(|line| steer::json_line(value(line))).collect()
}

fn json_lines(findings: &[Finding], outlook: &[String]) -> String {
    let mut out: String = findings.iter().map(|f| steer::json_line(json!(f))).collect();
    out += &steer::json_line(json!({ "outlook": outlook }));
    out
}

/// What becomes of dead real servers; on whom, where it is not the same everywhere.
fn deaths_of(named: &[(String, Spec)]) -> Vec<String> {
    let all: Vec<Vec<String>> = named.iter().map(|(_, spec)| deaths(&spec.balance)).collect();
    let told = || all.iter().filter(|lines| !lines.is_empty());
    match told().next() {
        Some(first) if told().all(|lines| lines == first) => first.clone(),
        _ => {
            let of = |((name, _), lines): (&(String, Spec), &Vec<String>)| -> Vec<String> {
                lines.iter().map(|line| format!("on {name}, {line}")).collect()
            };
            named.iter().zip(&all).flat_map(of).collect()
        }
    }
}

/// What does not fit, and what will happen, for people. `several`: they are of several servers. Names and words of files may be
/// another machine's: all are made printable.
pub(super) fn text(findings: &[Finding], outlook: &[String], paint: Paint, several: bool) -> String {
    let mut out = String::new();
    for finding in findings {
        let level = match finding.level {
            Level::Error => paint.bad("error"),
            Level::Warning => paint.careful("warning"),
            Level::Note => paint.name("note"),
        };
        out += &format!("{level}: {} [{}]\n", paint.strong(&printable(&finding.message)), finding.rule);
        for place in &finding.places {
            let instance =
                place.instance.as_deref().map_or(String::new(), |i| format!(", vrrp_instance {}", printable(i)));
            out += &format!("  {} {}{instance}\n", paint.dim("-->"), printable(&place.file));
        }
        if let Some(help) = &finding.help {
            out += &format!("  {} {}\n", paint.dim("= help:"), printable(help));
        }
    }
    if findings.is_empty() && several {
        out += &format!("{}\n", paint.good("The configurations fit together."));
    }
    if !outlook.is_empty() {
        out += &format!("\n{}\n", paint.strong("What will happen:"));
        for line in outlook {
            out += &format!("  {}\n", printable(line));
        }
    }
    out
}
