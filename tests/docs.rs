//! The documentation against the sources: every `vipctl` command in it is one that vipctl takes, every log line that it
//! explains is one that vipd can say, every warning and error of vipd is explained, what CONTRIBUTING.md refers to is there,
//! and every difference from keepalived names a test that there is.

#![allow(clippy::unwrap_used)]

use clap::Parser;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use vipd::cli::args::Vipctl;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn below(directory: &Path, ends: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            below(&path, ends, found);
        } else if path.to_string_lossy().ends_with(ends) {
            found.push(path);
        }
    }
}

fn documents() -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md"].iter().map(|name| root().join(name)).collect();
    for directory in ["docs", "conf-examples"] {
        below(&root().join(directory), ".md", &mut paths);
    }
    below(&root().join("packaging/examples"), "README", &mut paths);
    paths.into_iter().map(|p| (p.display().to_string(), std::fs::read_to_string(&p).unwrap())).collect()
}

/// What stands behind "vipctl" in a line of code or between backticks, up to what the shell would take for itself.
fn commands(line: &str) -> Vec<Vec<String>> {
    let code = line.starts_with("    ");
    let parts: Vec<&str> = if code { vec![line] } else { line.split('`').skip(1).step_by(2).collect() };
    let mut found = Vec::new();
    for part in parts {
        let part = part.trim().trim_start_matches("$ ").trim_start_matches("sudo ");
        for command in part.split(['|', ';', '#', '>']).flat_map(|c| c.split("&&")) {
            let mut words = command.split_whitespace().map(|w| w.trim_matches('\'').to_owned()).peekable();
            if words.next().is_none_or(|first| first != "vipctl") || words.peek().is_none() {
                continue;
            }
            // Two blanks and prose follow in lists of verbs; brackets and dots say what may be left out.
            let typed = command.trim();
            let typed = typed.split("   ").next().unwrap();
            let words = typed.split_whitespace().map(|w| w.trim_matches(['\'', '[', ']']).to_owned());
            found.push(words.filter(|w| w != "…").collect());
        }
    }
    found
}

/// Who reads the README on a server finds what it points at beside it, and so on from page to page.
#[test]
fn the_package_has_every_page_that_is_pointed_at() {
    let list = std::fs::read_to_string(root().join("packaging/debian/vipd.docs")).unwrap();
    let shipped: BTreeSet<&str> = list.lines().collect();
    for page in shipped.iter().filter(|page| page.ends_with(".md")) {
        let text = std::fs::read_to_string(root().join(page)).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap();
            let place = if page.starts_with("docs/") { format!("docs/{target}") } else { target.to_owned() };
            let is_page = place.starts_with("docs/") && place.ends_with(".md") && !place.contains("..");
            assert!(!is_page || shipped.contains(&*place), "{page} points at {place}, which is not in the package");
        }
    }
}

#[test]
fn every_command_is_one() {
    let mut count = 0;
    for (name, text) in documents() {
        for line in text.lines() {
            for words in commands(line) {
                count += 1;
                if let Err(e) = Vipctl::try_parse_from(&words) {
                    // A verb that is only spoken of has no arguments.
                    let named = words.len() == 2 && e.kind() == clap::error::ErrorKind::MissingRequiredArgument;
                    assert!(named || !e.use_stderr(), "{name}: {words:?}: {e}");
                }
            }
        }
    }
    assert!(count > 60, "only {count} commands were found");
}

#[test]
fn a_wrong_command_would_be_found() {
    let words = &commands("see `vipctl chek a.conf` there")[0];
    assert_eq!(words, &["vipctl", "chek", "a.conf"]);
    assert!(Vipctl::try_parse_from(words).is_err());
    assert_eq!(commands("    $ vipctl check A B   # fits?")[0], ["vipctl", "check", "A", "B"]);
}

/// The fixed parts of a format string.
fn fixed(literal: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for c in literal.replace("\\\"", "\"").chars() {
        match c {
            '{' => {
                depth += 1;
                parts.push(String::new());
            }
            '}' => depth -= 1,
            _ if depth == 0 => parts.last_mut().unwrap().push(c),
            _ => {}
        }
    }
    parts.retain(|p| p.trim_matches(|c: char| !c.is_alphanumeric()).len() > 1);
    parts
}

/// Could this line have been made from these parts?
fn fits(line: &str, parts: &[String]) -> bool {
    let mut rest = line;
    for part in parts {
        match rest.find(part.trim()) {
            Some(at) => rest = &rest[at + part.trim().len()..],
            None => return false,
        }
    }
    parts.iter().map(|p| p.trim().len()).sum::<usize>() >= 8
}

/// Is the line made of these parts, but for what it leaves open?
fn made_of(line: &str, parts: &[String]) -> bool {
    let covered = parts.iter().map(|p| p.trim().len()).sum::<usize>();
    // What stands for something else in the documents (WHY, X, N s) is nobody's literal; of the rest two thirds have to be.
    let stands =
        |word: &&str| word.trim_matches(|c: char| !c.is_alphanumeric()).chars().any(|c| c.is_ascii_lowercase());
    let own = line.split_whitespace().filter(stands).map(|word| word.len() + 1).sum::<usize>();
    fits(line, parts) && covered * 3 >= own * 2
}

#[test]
fn a_line_that_only_resembles_one_is_not_said() {
    let said = |literal: &str| fixed(literal);
    assert!(made_of("track files cannot be watched: WHY", &said("track files cannot be watched: {error}")));
    assert!(!made_of("processes cannot be counted on any machine: WHY", &said("cannot be {verb}: {error}")));
}

fn literals(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines().filter(|l| !l.trim_start().starts_with("//")) {
        let line = line.replace("\\\"", "\u{1}");
        found.extend(line.split('"').skip(1).step_by(2).map(|l| l.replace('\u{1}', "\"")));
    }
    found
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut paths = Vec::new();
    for part in ["src/observe", "src/daemon", "src/kernel/netlink"] {
        below(&root().join(part), ".rs", &mut paths);
    }
    paths.into_iter().map(|p| (p.clone(), std::fs::read_to_string(p).unwrap())).collect()
}

/// First cells of the table with this heading.
fn indexed(heading: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    let rows = text.lines().skip_while(|l| !l.starts_with(&format!("| {heading} |"))).skip(2);
    let rows = rows.take_while(|l| l.starts_with("| "));
    rows.map(|l| l.split('`').nth(1).unwrap_or_else(|| panic!("{l}")).to_owned()).collect()
}

#[test]
fn every_log_line_that_is_explained_can_be_said() {
    let said: Vec<Vec<String>> = sources().iter().flat_map(|(_, t)| literals(t)).map(|l| fixed(&l)).collect();
    for line in indexed("line").iter().chain(&indexed("reason")) {
        assert!(said.iter().any(|parts| made_of(line, parts)), "nobody says: {line}");
    }
    assert!(!said.iter().any(|parts| fits("the moon is made of green cheese", parts)));
}

#[test]
fn every_warning_and_error_is_explained() {
    let lines = indexed("line");
    let mut missing = Vec::new();
    for (path, text) in sources() {
        // The string behind each call that makes a warning or an error, wherever the line breaks.
        let calls = ["warn!(", "error!(", "warn(format!(", "Level::WARN, format!(", "Level::WARN, \""];
        for call in calls {
            for (at, _) in text.match_indices(call) {
                let from = if call.ends_with('"') { at + call.len() - 1 } else { at + call.len() };
                let rest: String = text[from..].chars().take(300).collect();
                let rest = rest.replace("target: \"vrrp\"", "").replace("target: \"parent\"", "");
                let Some(literal) = literals(&rest.replace('\n', " ")).into_iter().next() else { continue };
                let parts = fixed(&literal);
                if parts.iter().map(|p| p.trim().len()).sum::<usize>() >= 8 && !lines.iter().any(|l| fits(l, &parts)) {
                    missing.push(format!("{}: {literal}", path.display()));
                }
            }
        }
    }
    assert!(missing.is_empty(), "not in docs/troubleshooting.md:\n{}", missing.join("\n"));
}

/// Packages, crate and history name the same people.
#[test]
fn one_maintainer_everywhere() {
    let read = |name: &str| std::fs::read_to_string(root().join(name)).unwrap();
    let maintainer = env!("CARGO_PKG_AUTHORS");
    assert!(maintainer.ends_with('>') && !maintainer.contains(':'), "one name and address: {maintainer}");
    for (file, begins) in [
        ("packaging/debian/control", "Maintainer: "),
        ("packaging/debian/changelog", " -- "),
        ("packaging/rpm/vipd.spec", "* "),
    ] {
        let text = read(file);
        let mut lines = text.lines().filter(|line| line.starts_with(begins) && line.contains('@')).peekable();
        assert!(lines.peek().is_some(), "nobody is named in {file}");
        for line in lines {
            assert!(line.contains(maintainer), "{file} names somebody else than Cargo.toml's {maintainer}: {line}");
        }
    }
}

/// Words that begin with VIPD_ in a text.
fn variables(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| c != '_' && !c.is_ascii_alphanumeric());
    let words = words.filter(|word| word.len() > 5 && word.starts_with("VIPD_"));
    words.map(str::to_owned).collect()
}

#[test]
fn every_variable_of_the_tests_is_explained() {
    let mut paths = vec![root().join("test"), root().join("fuzz/run")];
    for (directory, ends) in [("tests", ".rs"), ("tests/vm", ""), ("benches", ".rs"), (".ci", "")] {
        below(&root().join(directory), ends, &mut paths);
    }
    let read = |path: &PathBuf| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    let used: BTreeSet<String> = paths.iter().flat_map(|path| variables(&read(path))).collect();
    let explained = variables(&read(&root().join("CONTRIBUTING.md")));
    assert!(used.len() > 12, "{used:?}");
    let differ: Vec<&String> = used.symmetric_difference(&explained).collect();
    assert!(differ.is_empty(), "used and not explained, or explained and not used: {differ:?}");
}

#[test]
fn every_commit_that_is_referred_to_is_there() {
    let git = |arguments: &[&str]| {
        let out = Command::new("git").arg("-C").arg(root()).args(arguments).output().ok()?;
        out.status.success().then(|| String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let whole = git(&["rev-parse", "--is-shallow-repository"]).is_some_and(|shallow| shallow.trim() == "false");
    // An export, a shallow clone or a history pressed into one commit has nothing to refer to.
    let subjects = whole.then(|| git(&["log", "--format=%s"])).flatten();
    let Some(subjects) = subjects.filter(|subjects| subjects.lines().count() > 100) else {
        eprintln!("skipped: the history is not here");
        return;
    };
    let text = std::fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let wanted: Vec<&str> = text.split("--grep='^").skip(1).map(|rest| rest.split('\'').next().unwrap()).collect();
    assert!(wanted.len() >= 6, "{wanted:?}");
    for begin in wanted {
        let found = subjects.lines().filter(|subject| subject.starts_with(begin)).count();
        assert_eq!(found, 1, "commits that begin with: {begin}");
    }
}

/// Rows of all tables, the heading and the line below it among them, cells trimmed.
fn tables(text: &str) -> Vec<Vec<Vec<&str>>> {
    let mut tables: Vec<Vec<Vec<&str>>> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        let Some(row) = line.strip_prefix('|') else {
            inside = false;
            continue;
        };
        if !std::mem::replace(&mut inside, true) {
            tables.push(Vec::new());
        }
        let cells = row.trim_end().trim_end_matches('|').split('|').map(str::trim).collect();
        tables.last_mut().unwrap().push(cells);
    }
    tables
}

/// Every function with `#[test]` or `#[tokio::test]` in these sources.
fn tests_in(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if line == "#[test]" || line.starts_with("#[tokio::test") {
            let function = lines.find(|line| !line.starts_with("#[") && !line.starts_with("//")).unwrap_or_default();
            let name =
                function.trim_start_matches("async ").strip_prefix("fn ").and_then(|rest| rest.split('(').next());
            found.extend(name.map(str::to_owned));
        }
    }
    found
}

#[test]
fn every_difference_from_keepalived_names_a_test_that_holds_it() {
    let mut paths = Vec::new();
    ["tests", "src"].iter().for_each(|part| below(&root().join(part), ".rs", &mut paths));
    let known: BTreeSet<String> =
        paths.iter().flat_map(|path| tests_in(&std::fs::read_to_string(path).unwrap())).collect();
    let scenarios = std::fs::read_to_string(root().join("tests/vm/lvs/scenarios")).unwrap();
    let is_test = |name: &str| {
        known.contains(name)
            || scenarios.contains(&format!("=== {name}: "))
            || (name.contains('-') && root().join("tests/config").join(name).join("expected.txt").exists())
    };
    assert!(is_test("cases") && is_test("brace-surplus") && !is_test("held_by_nothing") && !is_test("no-such-case"));
    let text = std::fs::read_to_string(root().join("docs/differences.md")).unwrap();
    let (mut rows, mut wrong) = (0, Vec::new());
    for table in tables(&text) {
        assert_eq!(table[0].last(), Some(&"held by"), "a table without its heading: {:?}", table[0]);
        for row in &table[2..] {
            rows += 1;
            let held = row.last().unwrap();
            let names: Vec<&str> = held.split('`').skip(1).step_by(2).collect();
            let reason = held.strip_prefix('—').is_some_and(|reason| !reason.trim().is_empty());
            if row.len() != table[0].len() || !(reason || (1..=2).contains(&names.len())) {
                wrong.push(format!("nothing holds: {}", row.join(" | ")));
            }
            wrong.extend(names.iter().filter(|name| !is_test(name)).map(|name| format!("there is no test {name}")));
        }
    }
    assert!(rows > 70, "only {rows} rows were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A scenario that is not in the page was not played, and one that is red is not what README promises.
#[test]
fn the_page_of_virtual_servers_has_every_scenario_green() {
    let scenarios = std::fs::read_to_string(root().join("tests/vm/lvs/scenarios")).unwrap();
    let played: Vec<(&str, &str)> =
        scenarios.lines().filter_map(|line| line.strip_prefix("=== ")?.split_once(": ")).collect();
    let text = std::fs::read_to_string(root().join("docs/lvs.md")).unwrap();
    let all = tables(&text);
    let table = all.iter().find(|table| table[0] == ["scenario", "what is shown", "keepalived", "vipd"]).unwrap();
    let rows = &table[2..];
    let named: Vec<(&str, &str)> = rows.iter().map(|row| (row[0], row[1])).collect();
    assert_eq!(named, played);
    assert!(named.len() > 40, "{named:?}");
    let red: Vec<_> = rows.iter().filter(|row| !row[2..].iter().all(|cell| cell.starts_with("green"))).collect();
    assert!(red.is_empty(), "{red:?}");
}
