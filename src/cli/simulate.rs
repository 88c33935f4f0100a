//! `vipctl simulate`: the engine that the daemon runs, in virtual time, on a modelled network.

use super::Outcome;
use super::Trouble;
use super::args::Simulate;
use super::files::{Where, load};
use super::paint::Paint;
use super::standing;
use super::steer;
use crate::sim::{Report, Scenario, ServerStanding, Standing, rehearse, run as play};
use crate::spec::Spec;
use crate::time::{Interval, Time};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub(crate) fn run(args: &Simulate) -> Outcome {
    let specs = specs(&args.files)?;
    let mut scenario = match &args.scenario {
        Some(file) => {
            let text = std::fs::read_to_string(file).map_err(|e| Trouble::new(format!("{}: {e}", file.display())))?;
            text.parse::<Scenario>().map_err(|e| Trouble::new(format!("{}: {e}", file.display())))?
        }
        None => rehearse(&args.fail, &specs).map_err(Trouble::new)?,
    };
    if let Some(seconds) = args.seconds.filter(|s| s.is_finite() && *s > 0.0) {
        scenario.run = Interval::from_micros((seconds * 1e6) as u64);
    }
    let report = play(specs, &scenario, args.seed).map_err(Trouble::new)?;
    if let Some(file) = &args.pcap {
        std::fs::write(file, &report.pcap).map_err(|e| Trouble::new(format!("{}: {e}", file.display())))?;
    }
    if args.json {
        steer::print(&steer::json_line(machine(&report, &scenario, args.scenario.is_none())))?;
    } else {
        steer::print(&people(&report, Paint::stdout()))?;
    }
    Ok(if report.violations.is_empty() && report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The configurations with their servers' names: the file's, or its directory's for keepalived.conf.
fn specs(files: &[PathBuf]) -> Result<Vec<(String, Spec)>, Trouble> {
    let mut found: Vec<Spec> = Vec::new();
    for file in files {
        let (spec, _) = load(file, None, Where::Anywhere)?;
        let Some(spec) = spec else {
            let trouble = Trouble::new(format!("{} cannot be used", file.display()));
            return Err(trouble.help(format!("vipctl check {}", file.display())));
        };
        found.push(spec);
    }
    let paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    Ok(server_names(&paths).into_iter().zip(found).collect())
}

/// [`server_name`] of each, made different by a number where two are the same.
pub fn server_names(files: &[&Path]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for file in files {
        let plain = server_name(file);
        let number = names.iter().filter(|n| **n == plain || n.starts_with(&format!("{plain}-"))).count();
        names.push(if number == 0 { plain } else { format!("{plain}-{}", number + 1) });
    }
    names
}

/// What a server is called after its configuration file.
pub fn server_name(file: &Path) -> String {
    let stem = |p: &Path| p.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let name = stem(file);
    let parent = file.canonicalize().ok().and_then(|p| p.parent().map(stem));
    if name == "keepalived" { parent.unwrap_or(name) } else { name }
}

fn people(report: &Report, paint: Paint) -> String {
    let mut out = String::new();
    let width = report.timeline.iter().filter_map(|e| e.node.as_ref()).map(|n| n.len()).max().unwrap_or(0);
    for entry in &report.timeline {
        let at = entry.at.since(Time::ZERO).as_secs_f64();
        let who = format!("{:<width$}", entry.node.as_deref().unwrap_or(""));
        let words = ["MASTER", "BACKUP", "FAULT"];
        let text = words.iter().fold(entry.text.clone(), |t, word| t.replace(word, &paint.state(word)));
        out += &format!("{} {}  {text}\n", paint.dim(&format!("{at:9.3} s")), paint.name(&who));
    }
    out.push('\n');
    for owner in &report.owners {
        let holders = if owner.holders.is_empty() {
            paint.bad("on no server")
        } else {
            format!("on {}", owner.holders.join(" and "))
        };
        out += &format!("After {} s {} is {holders}. ", report.length, owner.address);
        out += &match owner.gaps.len() {
            0 => "It was always on a server.".to_owned(),
            1 => format!("It was on no server for {} s.", owner.longest_gap()),
            n => format!("It was on no server {n} times, for {} s at the longest.", owner.longest_gap()),
        };
        out += &match owner.doubles.len() {
            0 => "\n".to_owned(),
            1 => format!(" It was on several for {} s.\n", owner.longest_double()),
            n => format!(" It was on several {n} times, for {} s at the longest.\n", owner.longest_double()),
        };
    }
    for finding in &report.findings {
        out += &format!("{} {finding}\n", paint.bad("finding:"));
    }
    for violation in &report.violations {
        out += &format!("{} {violation}\n", paint.bad("broken law:"));
    }
    out
}

fn machine(report: &Report, scenario: &Scenario, rehearsal: bool) -> Value {
    let row = |s: &Standing| {
        let state = s.state.map(|state| state.to_string());
        standing::row(&s.server, &s.instance, state.as_deref(), &s.addresses)
    };
    let standings: Vec<Value> = report
        .moments
        .iter()
        .enumerate()
        .map(|(number, moment)| {
            let word = standing::MOMENTS.get(number).filter(|_| rehearsal);
            let seat = |s: &ServerStanding| standing::seat(&s.server, &s.service, &s.real, s.good, s.serves);
            let after = word.copied().unwrap_or(&moment.after);
            standing::moment(after, moment.standings.iter().map(row), moment.servers.iter().map(seat))
        })
        .collect();
    let timeline: Vec<Value> = report
        .timeline
        .iter()
        .map(|e| json!({ "at": e.at.since(Time::ZERO), "server": e.node, "text": e.text }))
        .collect();
    let owners: Vec<Value> = report
        .owners
        .iter()
        .map(|o| {
            let gaps: Vec<Value> =
                o.gaps.iter().map(|(at, length)| json!({ "at": at.since(Time::ZERO), "seconds": length })).collect();
            let doubles: Vec<Value> =
                o.doubles.iter().map(|(at, length)| json!({ "at": at.since(Time::ZERO), "seconds": length })).collect();
            json!({ "address": o.address, "holders": o.holders, "gaps": gaps, "longest_gap": o.longest_gap(),
                    "doubles": doubles, "longest_double": o.longest_double() })
        })
        .collect();
    let violations: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    json!({
        "seconds": report.length,
        "scenario": scenario.to_string(),
        "timeline": timeline,
        "addresses": owners,
        "standings": standings,
        "violations": violations,
        "findings": report.findings,
    })
}
