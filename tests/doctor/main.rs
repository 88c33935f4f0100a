//! `vipctl doctor`, check by check: the fault is made, doctor names it with a cure, the cure is typed as it was printed,
//! and doctor is content.
//!
//! `live` does that on machines made of namespaces, with the kernel's own settings, nftables and haproxy; `mounted` with
//! directories that look like another machine's root, for what a test must not do to this one.

#![allow(clippy::unwrap_used)]

mod broken;
mod live;
#[path = "../examples/machine.rs"]
#[allow(dead_code)]
mod machine;
mod mounted;
mod screen;
mod servers;
mod steering;

use serde_json::Value;

/// A finding that is worse than a note.
#[derive(Clone, Debug)]
struct Complaint {
    check: String,
    weight: String,
    what: String,
    why: String,
    cure: String,
}

/// What `vipctl doctor --json` complains of.
fn complaints(json: &str, also_notes: bool) -> Vec<Complaint> {
    let said: Value = serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {json}"));
    let findings = said["findings"].as_array().unwrap_or_else(|| panic!("no findings: {json}"));
    let text = |f: &Value, key: &str| f[key].as_str().unwrap_or_default().to_owned();
    let bad = |f: &&Value| match f["weight"].as_str().unwrap() {
        "warning" | "problem" => true,
        "note" => also_notes,
        _ => false,
    };
    let complaint = |f: &Value| Complaint {
        check: text(f, "check"),
        weight: text(f, "weight"),
        what: text(f, "what"),
        why: text(f, "why"),
        cure: text(f, "cure"),
    };
    findings.iter().filter(bad).map(complaint).collect()
}
