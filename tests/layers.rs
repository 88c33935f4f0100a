//! Who may use whom: the direction rules of docs/architecture.md, held by a test because tables in prose rot.
//!
//! For every part of the house, the modules that its files name through `crate::` must be on its list, and words
//! that belong to another thread or another world must not occur at all.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// (part, parts it may use besides itself, words that must not occur in it)
const RULES: &[(&str, &[&str], &[&str])] = &[
    ("time.rs", &[], &["tokio", "Instant::now"]),
    ("random.rs", &["time"], &["tokio", "tracing::", "std::fs", "Instant::now", "SystemTime", "rand::"]),
    ("spec", &["wire", "time"], &["tokio", "tracing::", "std::fs", "Instant::now"]),
    ("handover.rs", &[], &["tokio", "tracing::", "std::fs", "Instant::now"]),
    ("agenda.rs", &["time"], &["tokio", "tracing::", "std::fs", "Instant::now"]),
    ("wire", &["time"], &["tokio", "tracing::", "std::fs", "Instant::now"]),
    ("listen.rs", &["wire", "time"], &["tokio", "tracing::", "std::fs", "Instant::now", "SystemTime"]),
    (
        "vrrp",
        &["spec", "agenda", "handover", "wire", "time"],
        &["tokio", "tracing::", "std::fs", "UdpSocket", "TcpStream", "socket2", "Instant::now", "SystemTime", "rand::"],
    ),
    (
        "bfd",
        &["spec", "agenda", "handover", "random", "wire", "time"],
        &["tokio", "tracing::", "std::fs", "UdpSocket", "TcpStream", "socket2", "Instant::now", "SystemTime", "rand::"],
    ),
    (
        "balance",
        &["spec", "agenda", "handover", "random", "wire", "time"],
        &["tokio", "tracing::", "std::fs", "UdpSocket", "TcpStream", "socket2", "Instant::now", "SystemTime", "rand::"],
    ),
    (
        "probe",
        &["spec", "balance::io", "wire", "time"],
        &["tokio", "tracing::", "std::fs", "UdpSocket", "TcpStream", "socket2", "Instant::now", "SystemTime", "rand::"],
    ),
    ("config", &["spec", "vrrp::election", "wire", "time"], &["tokio", "std::fs", "nix::", "Instant::now"]),
    (
        "kernel",
        &[
            "vrrp::io",
            "balance::io",
            "bfd::io",
            "probe",
            "spec",
            "agenda",
            "wire",
            "time",
            "config::text::source",
            "config::security",
            "config::system",
        ],
        &["vrrp::Engine", "bfd::Engine"],
    ),
    (
        "observe",
        &[
            "vrrp::io",
            "balance::io",
            "balance::snapshot",
            "bfd::io",
            "spec",
            "vrrp::snapshot",
            "bfd::snapshot",
            "wire",
            "time",
        ],
        &["vrrp::Engine", "bfd::Engine", "Instant::now"],
    ),
    // Its timeline says things in the words of the log.
    (
        "sim",
        &["vrrp", "bfd", "balance", "spec", "config", "observe::words", "observe::balance", "random", "wire", "time"],
        &["tokio", "Instant::now", "SystemTime", "std::thread"],
    ),
    // The rehearsal's address plan and its expectations come out of Specs; the engine itself is the daemon's.
    (
        "lab",
        &["kernel", "vrrp::election", "vrrp::track", "spec", "balance::quorum", "wire", "time"],
        &["println!", "print!", "vrrp::Engine"],
    ),
];

/// The table of docs/architecture.md and the rules here are one.
#[test]
fn the_documented_table_is_the_one_that_is_held() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md")).unwrap();
    let table = text.split("| part | what it is | may use |").nth(1).unwrap();
    let rows: Vec<(String, BTreeSet<String>)> = table
        .lines()
        .skip(2)
        .map_while(|line| line.strip_prefix("| `"))
        .map(|line| {
            let mut cells = line.trim_end_matches(" |").split(" | ");
            let part = cells.next().unwrap().trim_end_matches('`').to_owned();
            let uses = cells.last().unwrap().split('`').skip(1).step_by(2).map(str::to_owned);
            (part, uses.collect())
        })
        .collect();
    let held = |(part, uses, _): &(&str, &[&str], &[&str])| {
        (part.trim_end_matches(".rs").to_owned(), uses.iter().map(|name| (*name).to_owned()).collect())
    };
    let mut expected: Vec<(String, BTreeSet<String>)> = RULES.iter().map(held).collect();
    expected.push(("daemon".to_owned(), BTreeSet::from(["cli".to_owned()])));
    expected.push(("cli".to_owned(), BTreeSet::new()));
    assert_eq!(rows, expected);
    // All but that one.
    let mut list = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/daemon"), &mut list);
    let users: Vec<_> =
        list.iter().filter(|file| code(&std::fs::read_to_string(file).unwrap()).contains("crate::cli")).collect();
    assert!(users.is_empty(), "the daemon uses the command line: {users:?}");
}

fn files(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_file() {
        found.push(path.to_path_buf());
        return;
    }
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() || path.extension().is_some_and(|e| e == "rs") {
            files(&path, found);
        }
    }
}

/// The text without line comments: only what the compiler follows counts.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

/// Every path that begins with `crate::`, groups opened: `crate::{a::b, c}` is `a::b` and `c`.
fn crate_paths(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':').collect());
            continue;
        };
        let (mut depth, mut item) = (1, String::new());
        for c in group.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 || (depth == 1 && c == ',') {
                found.insert(item.trim().to_string());
                item.clear();
                if depth == 0 {
                    break;
                }
            } else {
                item.push(c);
            }
        }
    }
    found.remove("");
    found
}

fn offences(part: &str, allowed: &[&str], banned: &[&str], text: &str) -> Vec<String> {
    let code = code(text);
    let own = part.trim_end_matches(".rs");
    let within = |path: &str, door: &str| path == door || path.starts_with(&format!("{door}::"));
    let mut wrong = Vec::new();
    for path in crate_paths(&code) {
        // An exported macro lives at the crate's root whatever file defines it.
        let is_macro = code.contains(&format!("crate::{path}!")) || code.contains(&format!("macro_rules! {path} "));
        if !is_macro && !within(&path, own) && !allowed.iter().any(|door| within(&path, door)) {
            wrong.push(format!("uses crate::{path}"));
        }
    }
    wrong.extend(banned.iter().filter(|word| code.contains(**word)).map(|word| format!("names {word}")));
    wrong
}

#[test]
fn every_part_keeps_to_its_doors() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for (part, allowed, banned) in RULES {
        let mut list = Vec::new();
        files(&src.join(part), &mut list);
        assert!(!list.is_empty(), "{part} has no files: the rule watches nothing");
        for file in list {
            let text = std::fs::read_to_string(&file).unwrap();
            for offence in offences(part, allowed, banned, &text) {
                wrong.push(format!("{}: {offence}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "the direction rules are broken:\n{}", wrong.join("\n"));
}

/// The rule can fail: a text that breaks it is caught, one that keeps it is not.
#[test]
fn an_offence_is_seen() {
    let bad = "use crate::kernel::socket;\nfn f() { tokio::spawn(x) }\nuse crate::{wire::Family, daemon};";
    let seen = offences("vrrp", &["wire"], &["tokio"], bad);
    assert_eq!(seen, ["uses crate::daemon", "uses crate::kernel::socket", "names tokio"]);
    let good = "use crate::wire::Vrid; // tokio is not for us\nuse crate::vrrp::io;";
    assert!(offences("vrrp", &["wire"], &["tokio"], good).is_empty());
}

/// Arms of the matches on `Event` and `Telling` in a text that take whatever is left. A new event must ask every observer.
fn wildcards_on_events(text: &str) -> Vec<usize> {
    let code = code(text);
    let lines: Vec<&str> = code.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let begins = ["match event ", "match telling "].iter().any(|head| line.contains(head));
        if !begins && !["Event::", "Telling::"].iter().any(|arm| line.trim_start().starts_with(arm)) {
            continue;
        }
        // Arms of one match stand in one column; it ends with the first line further to the left.
        let column = if begins { indent(line) + 4 } else { indent(line) };
        let arms =
            lines.iter().enumerate().skip(at + 1).take_while(|(_, l)| l.trim().is_empty() || indent(l) >= column);
        found.extend(arms.filter(|(_, l)| indent(l) == column && l.trim_start().starts_with("_ ")).map(|(n, _)| n + 1));
    }
    found.sort_unstable();
    found.dedup();
    found
}

#[test]
fn observers_have_no_wildcard_arm_on_events() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut list = Vec::new();
    ["observe", "sim/report.rs", "daemon"].iter().for_each(|part| files(&src.join(part), &mut list));
    let mut wrong = Vec::new();
    for file in list {
        let text = std::fs::read_to_string(&file).unwrap();
        wrong.extend(wildcards_on_events(&text).into_iter().map(|line| format!("{}:{line}", file.display())));
    }
    assert!(wrong.is_empty(), "a new event would not ask here:\n{}", wrong.join("\n"));
    let bad = "match event {\n    Event::Late { .. } => 1,\n    _ => 2,\n}\n";
    assert_eq!(wildcards_on_events(bad), [3]);
    assert!(
        wildcards_on_events("match event {\n    Event::Late { .. } => match x {\n        _ => 2,\n    },\n}\n")
            .is_empty()
    );
}

/// Public things without a sentence that says what they are. What only the crate uses is `pub(crate)`. Fields and variants are not
/// counted; the doc comments of `cli/args.rs` are the help, and stand at its verbs and flags.
fn undocumented(name: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let kinds =
        ["fn ", "const fn ", "async fn ", "unsafe fn ", "struct ", "enum ", "trait ", "const ", "static ", "type "];
    let public = |line: &str| {
        line.trim_start().strip_prefix("pub ").is_some_and(|rest| kinds.iter().any(|kind| rest.starts_with(kind)))
    };
    let documented = |at: usize| {
        let mut above = lines[..at].iter().rev().map(|line| line.trim_start());
        above.find(|line| !line.starts_with("#[")).is_some_and(|line| {
            // The end of an attribute of several lines: it is not looked behind.
            line.starts_with("///") || line == ")]" || line == "]"
        })
    };
    let missing = (0..lines.len()).filter(|at| public(lines[*at]) && !lines[*at].contains('$') && !documented(*at));
    missing.map(|at| format!("{name}:{}: {}", at + 1, lines[at].trim())).collect()
}

#[test]
fn public_things_say_what_they_are() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut list = Vec::new();
    files(&src, &mut list);
    let missing: Vec<String> = list
        .iter()
        .filter(|file| !file.ends_with("cli/args.rs"))
        .flat_map(|file| undocumented(&file.display().to_string(), &std::fs::read_to_string(file).unwrap()))
        .collect();
    assert!(missing.is_empty(), "say what they are, or make them pub(crate):\n{}", missing.join("\n"));
    let text = "/// A.\n#[derive(Debug)]\npub struct A;\npub fn b() {}\npub(crate) fn c() {}\n";
    assert_eq!(undocumented("x", text), ["x:4: pub fn b() {}"], "the rule can fail");
}
