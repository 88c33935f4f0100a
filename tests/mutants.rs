//! Deliberate defects of the engine, and what notices them: a test suite that nothing can fail proves nothing.
//!
//! Each entry of [`MUTANTS`] is one place in the sources and what stands there instead. The ignored test applies them one
//! after another to a copy of the tree under `target/`, builds it in a target directory of its own, runs the engine's
//! tests, the exhaustive walk and a thousand random worlds, and prints who noticed. It takes a minute or two for each:
//!
//! ```text
//! cargo test --test mutants -- --ignored --nocapture        # VIPD_MUTANTS=skew,tie takes those that contain a word
//! ```
//!
//! The table of the last run stands in `docs/bounds.md`. The other test sees to it that every entry still fits.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Mutant {
    name: &'static str,
    file: &'static str,
    is: &'static str,
    becomes: &'static str,
}

const fn mutant(name: &'static str, file: &'static str, is: &'static str, becomes: &'static str) -> Mutant {
    Mutant { name, file, is, becomes }
}

const MUTANTS: &[Mutant] = &[
    mutant(
        "skew grows with priority",
        "election.rs",
        "scaled(256 - u64::from(priority.0), 256)",
        "scaled(u64::from(priority.0), 256)",
    ),
    mutant("tie goes to the lower address", "election.rs", "theirs.cmp(&mine),", "mine.cmp(&theirs),"),
    mutant(
        "one advert more is waited for",
        "election.rs",
        "master_interval.times(u64::from(adverts)) +",
        "master_interval.times(u64::from(adverts) + 1) +",
    ),
    mutant(
        "nopreempt is ignored",
        "instance/encounter.rs",
        "if !spec.preempt || heard.priority >= mine",
        "if heard.priority >= mine",
    ),
    mutant(
        "nobody preempts",
        "instance/encounter.rs",
        "if !spec.preempt || heard.priority >= mine",
        "if spec.vrid.get() > 0 || heard.priority >= mine",
    ),
    mutant(
        "preempt_delay is ignored",
        "instance/encounter.rs",
        "let delayed = !spec.preempt_delay.is_zero()",
        "let delayed = false && !spec.preempt_delay.is_zero()",
    ),
    mutant(
        "a goodbye does not shorten the wait",
        "instance/encounter.rs",
        "(backup.since, backup.patience, backup.worse) = (cx.now, Patience::Skew, None);",
        "backup.worse = None;",
    ),
    mutant(
        "a longer interval is not learned",
        "instance/encounter.rs",
        "self.learned = interval;",
        "let _ = interval;",
    ),
    mutant(
        "a master does not yield to a better one",
        "instance/encounter.rs",
        "self.become_backup_for(patience, Cause::Outranked { by: from, priority }, Some(heard), cx);",
        "let _ = (patience, heard);",
    ),
    mutant(
        "no goodbye when a fault appears",
        "instance/mod.rs",
        "if role == Role::Master {\n                    self.advertise(Priority::LEAVING, cx);",
        "if role == Role::Init {\n                    self.advertise(Priority::LEAVING, cx);",
    ),
    mutant("no goodbye at stop", "command.rs", "for id in &masters {", "for id in masters.iter().take(0) {"),
    mutant(
        "the cadence drifts",
        "instance/mod.rs",
        "following(due, spec.interval, cx.now) } else { due + spec.interval }",
        "following(due, spec.interval, cx.now) } else { cx.now + spec.interval }",
    ),
    mutant(
        "a new master says nothing at first",
        "instance/mod.rs",
        "self.plan.begin(&cx.spec.garp, cx.now);\n            self.advertise(self.priority(), cx);",
        "self.plan.begin(&cx.spec.garp, cx.now);",
    ),
    mutant(
        "addresses stay when mastership goes",
        "instance/mod.rs",
        "cx.out.push_back(Action::Disown(cx.id));",
        "cx.spec.name.len();",
    ),
    mutant(
        "FAULT is not left once a link flapped",
        "links.rs",
        "if delay.is_zero() {\n            known.running = known.link.running;",
        "if delay.is_zero() {\n            known.running = known.running && known.link.running;",
    ),
    mutant("a delay begins anew with each fact", "links.rs", "} else if known.flips_at.is_none() {", "} else {"),
    mutant(
        "members do not follow into FAULT",
        "settle.rs",
        "member.group_fault = because.map(|spec| spec.name.clone());",
        "let _ = because;",
    ),
    mutant(
        "members do not follow into BACKUP",
        "settle.rs",
        "self.with(*id, |instance, cx| instance.become_backup(why, None, cx));",
        "let _ = why;",
    ),
    mutant(
        "one ready member takes the group along",
        "group.rs",
        "content |= match member.role {",
        "content &= match member.role {",
    ),
    mutant(
        "an HMAC trailer may come twice",
        "admit.rs",
        "if hmac.replay != Replay::Off && !me.replay.is_fresh(",
        "if hmac.mode == HmacMode::ReceiveOnly && !me.replay.is_fresh(",
    ),
    mutant(
        "the window of auth_hmac is not looked at",
        "admit.rs",
        "&& !within(seconds, trailer.seconds(), window)",
        "&& !within(seconds, seconds, window)",
    ),
    mutant(
        "a mark outside the window still counts",
        "admit.rs",
        "expired || auth::comes_after",
        "(expired && false) || auth::comes_after",
    ),
    mutant(
        "a clock that goes back strands the sequence",
        "transmit.rs",
        "i64::try_from(window.as_secs()).unwrap_or(i64::MAX) => clock,",
        "i64::MAX - i64::try_from(window.as_secs()).unwrap_or(0) => clock,",
    ),
    mutant("an AH advert may come twice", "admit.rs", "&& ah.sequence > me.ah_heard", ""),
    mutant(
        "sending raises what AH has heard",
        "transmit.rs",
        "self.ah_sequence += 1;",
        "self.ah_sequence += 1;\n                self.ah_heard = self.ah_sequence;",
    ),
    mutant(
        "a gone instance says no goodbye",
        "reload.rs",
        "if instance.is_master() {\n                let id",
        "if instance.is_master() && false {\n                let id",
    ),
    mutant("reloads pair whatever stands there", "reload.rs", "a.vrid == b.vrid && a.family", "a.family"),
    mutant(
        "a shorter patience ends with the reload",
        "instance/mod.rs",
        "backup.since = backup.since.max(cx.now);",
        "backup.preempt_at = None;",
    ),
    mutant(
        "a reload of the same forgets cadence",
        "reload.rs",
        "if *new == *self.spec {",
        "if *new == *self.spec && self.instances.is_empty() {",
    ),
    mutant(
        "fall is not counted",
        "script.rs",
        "} else if result > rise {\n            result - 1",
        "} else if result > rise {\n            result",
    ),
    mutant(
        "rise is not counted",
        "script.rs",
        "if result.saturating_add(1) >= rise { top }",
        "if result.saturating_add(rise) >= rise { top }",
    ),
    mutant(
        "good and bad are mixed up",
        "track.rs",
        "(true, true) | (false, false) => weight,",
        "(true, false) | (false, true) => weight,",
    ),
    mutant(
        "processes have no delays",
        "track.rs",
        "if first || self.quorum == Some(enough) || delay.is_zero() {",
        "if first || self.quorum == Some(enough) || !delay.is_zero() {",
    ),
    mutant("the start-up delay is ignored", "mod.rs", "not_before: now + spec.startup_delay,", "not_before: now,"),
    mutant(
        "quorum is lost at once below it",
        "../balance/quorum.rs",
        "alive >= quorum.saturating_sub(hysteresis)",
        "alive >= quorum",
    ),
    mutant("a quorum of nothing counts", "../balance/quorum.rs", "alive > 0 &&", "(alive > 0 || had) &&"),
    mutant(
        "retries are not counted",
        "../balance/check.rs",
        "(true, _) if self.count < timing.retry => self.retry(timing),\n            _ => (self.fail()",
        "(true, _) if self.count < 1 => self.retry(timing),\n            _ => (self.fail()",
    ),
    mutant(
        "a success keeps the count",
        "../balance/check.rs",
        "(self.up, self.ran, self.count) = (true, true, 0);",
        "(self.up, self.ran) = (true, true);",
    ),
    mutant(
        "one good page makes a server good",
        "../balance/check.rs",
        "if self.page + 1 < pages {",
        "if self.page + 1 < pages && false {",
    ),
    mutant("the warm-up is forgotten", "../balance/check.rs", "now + FIRST + warmup", "now + warmup"),
    mutant(
        "weights drift",
        "../balance/server.rs",
        "(false, None) => weight(self.base,",
        "(false, None) => weight(self.shown,",
    ),
    mutant(
        "what is drained is served",
        "../balance/server.rs",
        "(true, _) => 0,",
        "(true, _) => i64::from(self.base),",
    ),
    mutant("a refused server counts", "../balance/server.rs", "self.good() && self.refused.is_empty()", "self.good()"),
    mutant(
        "the sorry server serves beside the others",
        "../balance/service.rs",
        "let serving = self.sorry.is_none();",
        "let serving = self.sorry.is_none() || self.servers.len() > 1;",
    ),
    mutant(
        "without NAT the server's port is kept",
        "../balance/service.rs",
        "(ServiceKey::Address { port, .. }, _) => *port,",
        "(ServiceKey::Address { .. }, _) => endpoint.port.unwrap_or(0),",
    ),
    mutant(
        "an old answer of the kernel counts",
        "../balance/mod.rs",
        "entry.version == version",
        "entry.version >= version",
    ),
    mutant(
        "checks that sleep hear",
        "../balance/mod.rs",
        "is_some_and(|service| service.enabled) {\n                continue;",
        "is_some() {\n                continue;",
    ),
    mutant(
        "a reload begins all checks anew",
        "../balance/reload.rs",
        "due: check.due,\n                running",
        "due: None,\n                running",
    ),
    mutant("readings before the beginning are lost", "mod.rs", "engine.take_readings(&world.readings);", ""),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn source(of: &Mutant) -> String {
    std::fs::read_to_string(root().join("src/vrrp").join(of.file)).unwrap()
}

#[test]
fn every_mutant_has_its_one_place() {
    for mutant in MUTANTS {
        assert_eq!(source(mutant).matches(mutant.is).count(), 1, "{}: {} in {}", mutant.name, mutant.is, mutant.file);
        assert_ne!(mutant.is, mutant.becomes);
    }
    let names: BTreeSet<_> = MUTANTS.iter().map(|mutant| mutant.name).collect();
    assert_eq!(names.len(), MUTANTS.len());
}

/// A copy of what is built: sources and tests as files, all else as links to what is here.
fn lay_out(tree: &Path) {
    let _ = std::fs::remove_dir_all(tree);
    std::fs::create_dir_all(tree).unwrap();
    for entry in std::fs::read_dir(root()).unwrap().flatten() {
        let name = entry.file_name();
        if !["target", "src", "tests", ".git"].iter().any(|other| *other == name) {
            std::os::unix::fs::symlink(entry.path(), tree.join(name)).unwrap();
        }
    }
    for folder in ["src", "tests"] {
        let copied = Command::new("cp").arg("-r").arg(root().join(folder)).arg(tree).status().unwrap();
        assert!(copied.success());
    }
    // No suite needs the programs, and they take longest to build.
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let blocks = manifest.split("\n\n").filter(|block| !block.starts_with("[[bin]]"));
    std::fs::remove_file(tree.join("Cargo.toml")).unwrap();
    std::fs::write(tree.join("Cargo.toml"), blocks.collect::<Vec<_>>().join("\n\n")).unwrap();
    std::fs::remove_dir_all(tree.join("src/bin")).unwrap();
}

/// Runs one of the suites on the tree as it stands; gives what failed, or that it did not end or does not build.
fn failures(tree: &Path, suite: &str) -> Vec<String> {
    let mut command = Command::new("timeout");
    command.args(["600", env!("CARGO"), "test", "-q", "--offline", "--no-fail-fast", "--test", suite]);
    // Numbers of states change with any change of the engine: that is no law.
    command.args(["--", "--skip", "documented"]);
    let out = command.current_dir(tree).env("CARGO_TARGET_DIR", root().join("target/mutants/build")).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    if out.status.success() {
        return Vec::new();
    }
    if out.status.code() == Some(124) {
        return vec!["does not end".into()];
    }
    let laws: BTreeSet<&str> =
        text.split("breaks a law: ").skip(1).filter_map(|rest| rest.split_whitespace().next()).collect();
    // The list of failures at the end: a name a line.
    let named = |line: &&str| line.starts_with("    ") && !line.trim().contains([' ', '(']) && line.trim().len() > 3;
    let list = text.rsplit("\nfailures:\n").next().unwrap_or_default();
    let tests: BTreeSet<&str> = list.lines().filter(named).map(str::trim).collect();
    if laws.is_empty() && tests.is_empty() {
        let error = text.lines().find(|line| line.starts_with("error") || line.contains("panicked")).unwrap_or("?");
        return vec![format!("broken: {error}")];
    }
    if suite == "simulate" && !laws.is_empty() {
        laws.into_iter().map(Into::into).collect()
    } else {
        tests.into_iter().map(Into::into).collect()
    }
}

fn shown(failures: &[String]) -> String {
    match failures {
        [] => "–".into(),
        [one] => format!("`{one}`"),
        [one, two] => format!("`{one}`, `{two}`"),
        [first, rest @ ..] => format!("`{first}` and {} more", rest.len()),
    }
}

#[test]
#[ignore = "builds the engine once for each defect"]
fn every_mutant_is_noticed() {
    let tree = root().join("target/mutants/tree");
    lay_out(&tree);
    for suite in ["engine", "model", "simulate", "balance"] {
        assert_eq!(failures(&tree, suite), Vec::<String>::new(), "{suite} fails without any defect");
    }
    let wanted = std::env::var("VIPD_MUTANTS").unwrap_or_default();
    let chosen = |mutant: &&Mutant| wanted.is_empty() || wanted.split(',').any(|word| mutant.name.contains(word));
    let mut survivors = Vec::new();
    println!(
        "| defect | random worlds (laws) | exhaustive walk | engine's tests | balancer's tests |\n|---|---|---|---|---|"
    );
    for mutant in MUTANTS.iter().filter(chosen) {
        let path = tree.join("src/vrrp").join(mutant.file);
        std::fs::write(&path, source(mutant).replace(mutant.is, mutant.becomes)).unwrap();
        let found = ["simulate", "model", "engine", "balance"].map(|suite| failures(&tree, suite));
        std::fs::write(&path, source(mutant)).unwrap();
        println!(
            "| {} | {} | {} | {} | {} |",
            mutant.name,
            shown(&found[0]),
            shown(&found[1]),
            shown(&found[2]),
            shown(&found[3])
        );
        if found.iter().all(Vec::is_empty) {
            survivors.push(mutant.name);
        }
        assert!(
            !found.iter().flatten().any(|text| text.starts_with("broken: error")),
            "{} does not build: {found:?}",
            mutant.name
        );
    }
    assert!(survivors.is_empty(), "nobody noticed: {survivors:?}");
}
