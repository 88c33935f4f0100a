//! Configurations have the same effect on the keepalived that is installed and on vipd, as both dumps tell it: those of
//! `tests/data/effect`, each for something that once had not, and a sample of what keepalived has judged in `tests/config`.
//! `tests/differential/effect.py` does it, by hand also over all that one has. Needs root, keepalived and python3.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

/// Folders of `tests/config`.
const SAMPLE: &[&str] = &[
    "brace-after-setting",
    "brace-surplus",
    "define-braces",
    "define-hash-in-quotes",
    "define-two-on-a-line",
    "include-check-other",
    "include-nothing",
    "includea-no-match",
    "includer-no-match",
    "lang-advert-int-fraction-v3",
    "lang-bool-words",
    "lang-email-empty",
    "lang-file-owner-weight-1",
    "lang-group-no-members",
    "lang-interface-long",
    "lang-ipvlan-twice",
    "lang-nopreempt-owner",
    "lang-process-name-long",
    "lang-script-no-security",
    "lang-state-unknown",
    "lang-track-interface-unknown",
    "lang-unicast-ttl-no-peer",
    "lang-vip-none-v3",
    "lang-vrid-256",
    "lines-first-line-glued",
    "quote-words",
    "sequence-letters",
];

#[test]
fn a_sample_of_configurations_has_the_same_effect() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["nginx-pair/primary.conf", "nginx-pair/secondary.conf", "master-spare-daemon/spare.conf"];
    let mut command = Command::new("python3");
    command.arg(root.join("tests/differential/effect.py")).arg("-v");
    command.args(["--jobs", "4", "--ours", env!("CARGO_BIN_EXE_vipd")]);
    command.args(files.map(|file| root.join("conf-examples").join(file)));
    command.args(SAMPLE.iter().map(|name| root.join("tests/config").join(name).join("keepalived.conf")));
    command.arg(root.join("tests/data/effect"));
    let Ok(output) = command.output() else {
        assert!(std::env::var_os("VIPD_REQUIRE_NETNS").is_none(), "there is no python3");
        return println!("skipped: there is no python3");
    };
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.code() == Some(77) {
        assert!(std::env::var_os("VIPD_REQUIRE_NETNS").is_none(), "skipped where it must not be: {said}");
        return println!("{said}");
    }
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let count =
        |what: &str| said.split(what).next().and_then(|front| front.split(' ').next_back()?.parse::<usize>().ok());
    let (same, known) = (count(" have the same effect"), count(" but for what is known"));
    assert!(same.zip(known).is_some_and(|(same, known)| same + known >= 38), "nearly all can be compared: {said}");
}

/// The kinds of difference that `effect.py` lets pass are each a row of the document.
#[test]
fn what_is_known_to_differ_is_a_row_of_the_docs() {
    let read = |path: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let (script, docs) = (read("tests/differential/effect.py"), read("docs/differences.md"));
    let known = script.split("KNOWN = [").nth(1).unwrap().split("\n]").next().unwrap();
    let about: Vec<&str> = known.lines().filter_map(|line| line.strip_prefix("    (\"")?.split('"').next()).collect();
    assert!(about.len() > 10, "{about:?}");
    for about in about {
        assert!(docs.contains(&format!("\n| {about} |")), "docs/differences.md has no row about: {about}");
    }
}
