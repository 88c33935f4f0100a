//! What `vipctl simulate` calculates is what `vipctl lab` plays: over fifty generated sets of configurations with a
//! failure each, both say the same of every instance on every server and of where its addresses are, after the start,
//! after the failure and after the recovery.
//!
//! The lab needs root. Without it the test says so and passes, unless VIPD_REQUIRE_NETNS=1 asks for a failure. Nothing
//! is timed here. A real machine can stall for longer than a tenth of a second, and then somebody takes over whom no
//! calculation can foresee: what disagrees is played up to three times more, alone.
//!
//! `VIPD_CASE=N cargo test --test agreement` plays one of them.
#![allow(clippy::unwrap_used)]

#[path = "agreement/cases.rs"]
mod cases;

use cases::Case;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Labs that run side by side: each mostly waits.
const ABREAST: usize = 16;
/// More than so many that have to be played again is no accident of the machine.
const ACCIDENTS: usize = 10;
/// How often what disagrees is played again, alone, before it counts.
const AGAIN: usize = 3;

/// One program's answer.
struct Told {
    standings: Value,
    code: Option<i32>,
    whole: String,
}

fn vipctl(arguments: &[&str], files: &[String]) -> Told {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vipctl"));
    let output = command.args(arguments).args(files).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = text.lines().last().and_then(|line| serde_json::from_str::<Value>(line).ok()).unwrap_or_default();
    let standings = last.get("verdict").unwrap_or(&last).get("standings").cloned().unwrap_or_default();
    Told { standings, code: output.status.code(), whole: text + &String::from_utf8_lossy(&output.stderr) }
}

/// One line an instance and one a real server, for comparing and for reading.
fn lines(standings: &Value) -> Vec<String> {
    let moments = standings.as_array().map(Vec::as_slice).unwrap_or_default();
    let line = |after: &Value, row: &Value| {
        let word = |key: &str| row[key].as_str().unwrap_or("gone").to_owned();
        let addresses: Vec<&str> = row["addresses"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let after = after.as_str().unwrap();
        format!("{after}: {} {} {} {}", word("server"), word("instance"), word("state"), addresses.join(" "))
    };
    let server = |after: &Value, row: &Value| {
        let word = |key: &str| row[key].as_str().unwrap().to_owned();
        let (after, good, serves) = (after.as_str().unwrap(), &row["good"], &row["serves"]);
        format!(
            "{after}: {} {} {} good {good} serves {serves}",
            word("server"),
            word("virtual_server"),
            word("real_server")
        )
    };
    let rows = |moment: &Value, key: &str| moment[key].as_array().unwrap().clone();
    let all = |moment: &Value| -> Vec<String> {
        let after = &moment["after"];
        let instances: Vec<String> = rows(moment, "instances").iter().map(|row| line(after, row)).collect();
        instances.into_iter().chain(rows(moment, "real_servers").iter().map(|row| server(after, row))).collect()
    };
    moments.iter().flat_map(all).collect()
}

/// Plays a case both ways; what differs, if something does.
fn disagreement(case: &Case, directory: &Path) -> Option<String> {
    std::fs::create_dir_all(directory).unwrap();
    let mut files = Vec::new();
    for (name, text) in &case.servers {
        let file = directory.join(format!("{name}.conf"));
        std::fs::write(&file, text).unwrap();
        files.push(file.to_string_lossy().into_owned());
    }
    let simulated = vipctl(&["simulate", "--json", "--fail", &case.fail], &files);
    let played = vipctl(&["lab", "--json", "--fail", &case.fail, "--daemon", env!("CARGO_BIN_EXE_vipd")], &files);
    let (calculated, real) = (lines(&simulated.standings), lines(&played.standings));
    let expected = case.servers.len() * (case.instances + case.reals) * 3;
    let whole = calculated.len() == expected;
    let well = simulated.code == Some(0) && (played.code == Some(0) || !case.visible);
    if whole && well && calculated == real {
        return None;
    }
    let only = |these: &[String], those: &[String]| -> String {
        these.iter().filter(|line| !those.contains(line)).map(|line| format!("  {line}\n")).collect()
    };
    let mut text = format!("{}, --fail {}\n", case.what, case.fail);
    text += &format!("only the simulation (exit code {:?}):\n{}", simulated.code, only(&calculated, &real));
    text += &format!("only the lab (exit code {:?}):\n{}", played.code, only(&real, &calculated));
    for (name, conf) in &case.servers {
        text += &format!("--- {name}.conf\n{conf}");
    }
    let events = played.whole.lines().filter(|line| !line.contains("\"event\":\"requests\""));
    text += &format!("--- the lab\n{}\n", events.collect::<Vec<_>>().join("\n"));
    if calculated.len() != expected || simulated.code != Some(0) {
        text += &format!("--- the simulation\n{}\n", simulated.whole);
    }
    Some(text)
}

#[test]
fn the_lab_and_the_simulation_end_with_the_same_master() {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("VIPD_REQUIRE_NETNS").is_none(), "the lab needs root");
        eprintln!("skipped: not root");
        return;
    }
    let chosen: Option<usize> = std::env::var("VIPD_CASE").ok().map(|number| number.parse().unwrap());
    let directory = std::env::temp_dir().join(format!("vipd-agreement-{}", std::process::id()));
    let all: Vec<Case> = (0..cases::COUNT).map(cases::case).collect();
    let mut wanted: Vec<usize> = (0..all.len()).filter(|n| chosen.is_none_or(|c| c == *n)).collect();
    wanted.sort_by_key(|number| !all[*number].slow);
    let (next, differing) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..ABREAST {
            scope.spawn(|| {
                while let Some(number) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let place = directory.join(format!("case{number}"));
                    if let Some(text) = disagreement(&all[*number], &place) {
                        differing.lock().unwrap().push((*number, text));
                    }
                }
            });
        }
    });
    let differing = differing.into_inner().unwrap();
    let show = |list: &[(usize, String)]| -> String {
        list.iter().map(|(number, text)| format!("\n=== case {number}: {text}")).collect()
    };
    assert!(differing.len() <= ACCIDENTS, "{} of {} disagree{}", differing.len(), wanted.len(), show(&differing));
    let mut lasting = Vec::new();
    for (number, first) in differing {
        eprintln!("case {number} is played again:\n{first}");
        // Once in agreement is enough: what is wrong in either is wrong every time.
        let again =
            (0..AGAIN).map(|round| disagreement(&all[number], &directory.join(format!("again{number}-{round}"))));
        let texts: Option<Vec<String>> = again.collect();
        lasting.extend(texts.and_then(|texts| texts.into_iter().last()).map(|text| (number, text)));
    }
    std::fs::remove_dir_all(&directory).unwrap();
    assert!(lasting.is_empty(), "{} disagree every time{}", lasting.len(), show(&lasting));
}

/// Of up to so many rounds, each in a folder of its own, one ends alike.
fn agree_once(case: &Case, folder: impl Fn(usize) -> PathBuf) {
    let texts: Option<Vec<String>> = (0..=AGAIN).map(|round| disagreement(case, &folder(round))).collect();
    assert!(texts.is_none(), "{}", texts.unwrap().last().unwrap());
}

/// Sessions with a gateway: the one that has the address has lost the way to it, or one direction of that, or it stands still
/// for all.
#[test]
fn a_gateway_that_is_not_there_has_the_same_end_in_both() {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("VIPD_REQUIRE_NETNS").is_none(), "the lab needs root");
        eprintln!("skipped: not root");
        return;
    }
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf-examples/bfd-to-the-router");
    let server = |name: &str| (name.to_owned(), std::fs::read_to_string(example.join(format!("{name}.conf"))).unwrap());
    let directory = std::env::temp_dir().join(format!("vipd-gateway-{}", std::process::id()));
    std::thread::scope(|scope| {
        for fail in ["path", "deaf", "mute", "frozen"] {
            let (server, directory) = (&server, &directory);
            scope.spawn(move || {
                let servers = vec![server("balancer-a"), server("balancer-b")];
                let what = "conf-examples/bfd-to-the-router".to_owned();
                let case = Case {
                    kind: "bfd",
                    what,
                    servers,
                    instances: 1,
                    reals: 0,
                    fail: fail.into(),
                    slow: false,
                    visible: true,
                };
                agree_once(&case, |round| directory.join(format!("{fail}{round}")));
            });
        }
    });
    std::fs::remove_dir_all(&directory).unwrap();
}

/// Two directors whose real servers are asked in every way that asks over a network.
const DIRECTOR: &str = include_str!("agreement/director.conf");
/// How many of them there are.
const REALS: usize = 8;

/// A real server fails in each way, as each kind of check meets it: both say who has it out, and who gets the connections.
#[test]
fn a_real_server_that_fails_has_the_same_end_in_both() {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("VIPD_REQUIRE_NETNS").is_none(), "the lab needs root");
        eprintln!("skipped: not root");
        return;
    }
    let directory = std::env::temp_dir().join(format!("vipd-real-{}", std::process::id()));
    std::thread::scope(|scope| {
        for (number, fail) in [
            // HTTP_GET; the quorum holds.
            "server",
            "server:10.9.0.1:8080=503",
            // SSL_GET, and UDP_CHECK at the same address.
            "server:10.9.0.2=hang",
            // TCP_CHECK does not mind what is answered.
            "server:10.9.0.3=503",
            "server:10.9.0.3=dead",
            // SMTP_CHECK, PING_CHECK.
            "server:192.0.2.11=slow",
            "server:192.0.2.12=refuse",
            "server:192.0.2.12=dead",
            // DNS_CHECK, by its name.
            "server:names=refuse",
            // The only one of its service: the sorry server serves.
            "server:10.9.0.5",
        ]
        .into_iter()
        .enumerate()
        {
            let directory = &directory;
            scope.spawn(move || {
                let backup = DIRECTOR.replace("priority 150", "priority 100");
                let servers = vec![("a".to_owned(), DIRECTOR.to_owned()), ("b".to_owned(), backup)];
                let (what, fail) = ("two directors".to_owned(), fail.to_owned());
                let case = Case {
                    kind: "server",
                    what,
                    servers,
                    instances: 1,
                    reals: REALS,
                    fail,
                    slow: false,
                    visible: true,
                };
                agree_once(&case, |round| directory.join(format!("{number}-{round}")));
            });
        }
    });
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn the_cases_are_many_and_the_same_every_time() {
    let once: Vec<Case> = (0..cases::COUNT).map(cases::case).collect();
    let kinds: std::collections::BTreeSet<&str> = once.iter().map(|case| case.kind).collect();
    let failures: std::collections::BTreeSet<&str> =
        once.iter().map(|case| case.fail.split(':').next().unwrap()).collect();
    assert_eq!(kinds.len(), cases::KINDS.len());
    assert_eq!(failures.into_iter().collect::<Vec<_>>(), ["crash", "kill", "link", "pause", "script", "stop"]);
    assert!(once.iter().filter(|case| case.servers.len() == 3).count() >= 4);
    let texts: std::collections::BTreeSet<_> = once.iter().map(|case| (&case.servers, &case.fail)).collect();
    assert_eq!(texts.len(), once.len(), "two cases are the same");
    for (number, case) in once.iter().enumerate() {
        assert_eq!(case.servers, cases::case(number).servers);
    }
}
