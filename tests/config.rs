//! A folder a case: `tests/config/CASE/` holds `keepalived.conf`, whatever it includes, and `expected.txt`: the exit code
//! of `-t`, every complaint as a log shows it, and the lines that came out of definitions, sequences and includes.
//!
//! `case.txt`, where there is one, says what is special, a line each: `id NAME` (config id), `env NAME=VALUE`, `strict`
//! (`-e`), `root NAME` (another main file, or a pattern), `executable FILE`, `directory FILE`, `unreadable FILE`.
//!
//! The machine is always the same: interfaces lo, eth0, eth1 and eth2, root the only user, every script in its place.
//!
//! `VIPD_BLESS=1 cargo test --test config` writes what comes out into expected.txt, for a person to review.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use vipd::config::Env;
use vipd::config::load;
use vipd::config::report::{Diagnostics, Style};
use vipd::config::system::{Link, TableSystem};
use vipd::config::text::expand::{TextEnv, read};
use vipd::config::text::source::{Found, MapLoader};

const FOLDER: &str = "/etc/keepalived/";

fn machine() -> TableSystem {
    let mut system = TableSystem { assume_interfaces: false, ..TableSystem::anywhere() };
    for name in ["eth0", "eth1", "eth2"] {
        system.interfaces.insert(name.into(), Link::ethernet(name));
    }
    let loopback = Link { loopback: true, multicast: false, ethernet: false, mtu: 65536, ..Link::ethernet("lo") };
    system.interfaces.insert("lo".into(), loopback);
    system
}

/// Every file of the case, by the path that it would have on a machine.
fn files(case: &Path) -> MapLoader {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { collect(&path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    collect(case, &mut found);
    let mut files = MapLoader::default();
    for path in found {
        let name = path.strip_prefix(case).unwrap();
        if name != Path::new("expected.txt") && name != Path::new("case.txt") {
            files = files.with(Path::new(FOLDER).join(name), std::fs::read(&path).unwrap());
        }
    }
    files
}

fn outcome(case: &Path) -> String {
    let mut files = files(case);
    let mut text = TextEnv { config_id: "test".into(), random_seed: 1, ..TextEnv::default() };
    let mut root = "keepalived.conf".to_string();
    for line in std::fs::read_to_string(case.join("case.txt")).unwrap_or_default().lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let path = PathBuf::from(format!("{FOLDER}{rest}"));
        match word {
            "id" => text.config_id = rest.into(),
            "env" => {
                let (name, value) = rest.split_once('=').unwrap();
                text.environment.insert(name.into(), value.into());
            }
            "strict" => text.strict_includes = true,
            "root" => root = rest.into(),
            "executable" => drop(files.files.insert(path, Found::Executable)),
            "directory" => drop(files.files.insert(path, Found::NotRegular)),
            "unreadable" => drop(files.files.insert(path, Found::Unreadable("permission denied".into()))),
            other => panic!("{}: case.txt: {other}", case.display()),
        }
    }
    let root = format!("{FOLDER}{root}");
    let mut alone = Diagnostics::default();
    let expanded = read(&root, &text, &files, &mut alone);
    let (_, diagnostics) = load(&root, &Env { text, system: &machine() }, &files);
    let mut shown = format!("exit {}\n", diagnostics.exit_code());
    shown += &diagnostics.show(Style::Plain).replace(FOLDER, "");
    if mentions_expansion(&files) {
        shown += "--- expanded\n";
        for line in expanded.lines() {
            let line: String = line.chars().map(|c| if c.is_ascii_control() { '?' } else { c }).collect();
            shown += &format!("{line}\n");
        }
    }
    shown
}

/// Whether the lines of the files are not simply the lines that the language sees.
fn mentions_expansion(files: &MapLoader) -> bool {
    files.files.values().any(|found| match found {
        Found::Text(text) => ["$", "~", "@", "include", "\\"]
            .iter()
            .any(|sign| text.windows(sign.len()).any(|window| window == sign.as_bytes())),
        _ => false,
    })
}

#[test]
fn cases() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let bless = std::env::var_os("VIPD_BLESS").is_some();
    let mut cases: Vec<PathBuf> = std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.is_dir());
    cases.sort();
    assert!(cases.len() >= 100, "{} cases in {}", cases.len(), root.display());
    let mut wrong = Vec::new();
    for case in &cases {
        let got = outcome(case);
        let path = case.join("expected.txt");
        if bless {
            std::fs::write(&path, &got).unwrap();
            continue;
        }
        let wanted = std::fs::read_to_string(&path).unwrap_or_default();
        if got != wanted {
            wrong.push(format!("== {}\n-- expected\n{wanted}-- got\n{got}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases differ\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
