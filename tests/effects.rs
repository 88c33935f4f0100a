//! What a configuration says has a reader: every field of the Spec is used by something that acts, and every setting of
//! a keyword that is said to work is used by what makes the Spec.
//!
//! It reads the sources and compares names, so it cannot tell two fields of one name apart; it finds the field that
//! nobody reads at all, which is how a keyword without effect begins.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn sources(under: &str, except: &[&str]) -> String {
    fn walk(directory: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(under);
    let mut files = Vec::new();
    walk(&root, &mut files);
    let kept = files.iter().filter(|file| !except.iter().any(|part| file.to_string_lossy().contains(part)));
    kept.map(|file| fs::read_to_string(file).unwrap()).collect()
}

/// Words of a source, with a mark for those that follow a dot or stand in a pattern (`name,` `name:` `name }`).
fn used_names(text: &str) -> BTreeSet<&str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut names = BTreeSet::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        let mut rest = line;
        while let Some(start) = rest.find(is_word) {
            let (before, from) = rest.split_at(start);
            let end = from.find(|c| !is_word(c)).unwrap_or(from.len());
            let (word, after) = from.split_at(end);
            let read = before.ends_with('.');
            let matched =
                after.starts_with(',') || after.starts_with(':') && !after.starts_with("::") || after.starts_with(" }");
            if read || matched {
                names.insert(word);
            }
            rest = after;
        }
    }
    names
}

/// (struct, field) of the structs in a source.
fn fields(text: &str) -> Vec<(String, String)> {
    let (mut fields, mut of) = (Vec::new(), None);
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("pub struct ") {
            of = rest.split([' ', '<', '(', ';']).next().map(str::to_owned);
        } else if line == "}" {
            of = None;
        } else if let (Some(of), Some(rest)) = (&of, line.strip_prefix("    pub "))
            && let Some((name, _)) = rest.split_once(':')
            && !rest.starts_with("fn ")
        {
            fields.push((of.clone(), name.to_owned()));
        }
    }
    fields
}

/// Fields that nothing outside of config and of the dumps reads, and why that is right.
const SHOWN_ONLY: [(&str, &str, &str); 10] = [
    ("Session", "ttl_base", "max_hops and ttl are worked out of it when the file is read"),
    ("TlsFiles", "authorities", "no certificate of a real server is verified, as in keepalived"),
    ("InstanceSpec", "debug", "keepalived shows it in its dump and nowhere else"),
    ("Spec", "dynamic_interfaces", "without it a missing interface is refused when the file is read"),
    ("Spec", "allow_if_changes", "interfaces may change in any case; the dump says what was configured"),
    ("GroupSpec", "tracking_weight", "the weights of the members' ties are settled when the file is read"),
    ("ScriptSpec", "insecure", "scripts that may not run are left out when the file is read"),
    ("Statics", "groups", "their members have ties to the interfaces, made when the file is read"),
    ("VirtualAddress", "track_group", "as above"),
    ("Checksum", "old_group", "read by Checksum::old_rule, beside it"),
];

#[test]
fn every_field_of_the_spec_is_read_by_something_that_acts() {
    let parts = ["vrrp", "bfd", "balance", "probe", "kernel", "daemon", "observe"];
    let text = parts.map(|part| sources(part, &["observe/dump"]));
    let text = text.concat();
    let names = used_names(&text);
    // What is carried along only for the dumps has a test of its own.
    let fields = fields(&sources("spec", &["spec/shown.rs"]));
    assert!(fields.len() > 200, "only {} fields were found", fields.len());
    let excused = |of: &str, field: &str| SHOWN_ONLY.iter().any(|(o, f, _)| *o == of && *f == field);
    let unread: Vec<_> =
        fields.iter().filter(|(of, field)| !names.contains(field.as_str()) && !excused(of, field)).collect();
    assert!(unread.is_empty(), "nothing reads {unread:?}");
    let gone: Vec<_> = SHOWN_ONLY.iter().filter(|(of, f, _)| !fields.iter().any(|(o, n)| o == of && n == f)).collect();
    assert!(gone.is_empty(), "these fields are no more: {gone:?}");
}

#[test]
fn what_is_carried_for_the_dumps_is_in_a_dump() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fields = fields(&fs::read_to_string(root.join("src/spec/shown.rs")).unwrap());
    assert!(fields.len() > 30, "only {} fields were found", fields.len());
    let text = sources("observe/dump", &[]);
    let names = used_names(&text);
    let unread: Vec<_> = fields.iter().filter(|(_, field)| !names.contains(field.as_str())).collect();
    assert!(unread.is_empty(), "no dump has {unread:?}");
}

/// Settings with an entry that works, and that nothing in config looks at.
const SETTINGS_WITHOUT_READER: [(&str, &str); 3] = [
    ("include_check", "done by the text level, which sees the word before there are settings"),
    ("vrrp_ipsets", "deprecated: there is no iptables, so there are no ipsets"),
    ("lvs_process_name", "old spelling of a keyword without effect"),
];

#[test]
fn every_setting_of_a_keyword_that_works_is_read() {
    let text = sources("config", &[]);
    let mut entries = 0;
    let mut unread = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| line.starts_with('"')) {
        let Some((keyword, rest)) = line[1..].split_once("\" => ") else { continue };
        let Some((field, rest)) = rest.split_once(": ") else { continue };
        if !field.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit()) || !rest.contains(" = ") {
            continue;
        }
        entries += 1;
        let idle = rest.contains(" idle \"") || rest.contains("renamed \"");
        let excused = SETTINGS_WITHOUT_READER.iter().any(|(known, _)| *known == keyword);
        if !idle && !excused && !text.contains(&format!(".{field}")) {
            unread.push(keyword);
        }
    }
    assert!(entries > 150, "only {entries} entries were found");
    assert!(unread.is_empty(), "nothing reads what these keywords set: {unread:?}");
}
