//! The formatter: what the layout is, that it settles at once, and that it never changes a meaning.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use vipd::config::report::Diagnostics;
use vipd::config::text::expand::{TextEnv, read};
use vipd::config::text::fmt::format;
use vipd::config::text::lexer::{Escapes, shell_words, words};
use vipd::config::text::source::MapLoader;

#[track_caller]
fn formats(text: &str, wanted: &str) {
    let formatted = String::from_utf8(format(text.as_bytes())).unwrap();
    assert_eq!(formatted, wanted);
    means_the_same(text.as_bytes(), "the text");
}

/// Every line as the language will see it: its words, and the words of its shell-like reading.
type Meaning = Vec<(Vec<(String, bool)>, Option<Vec<String>>)>;

fn meaning(file: &[u8]) -> (Meaning, u8) {
    let mut diagnostics = Diagnostics::default();
    let files = MapLoader::default().with("/k.conf", file);
    let env = TextEnv { config_id: "node1".into(), ..TextEnv::default() };
    let text = read("/k.conf", &env, &files, &mut diagnostics);
    if text.exhausted {
        // How far the reader comes depends on the size of the file.
        return (Meaning::new(), diagnostics.exit_code());
    }
    let line = |line: &str| {
        let mut found = Vec::new();
        words(line, 0, &mut found);
        (
            found.iter().map(|w| (w.text.to_string(), w.quoted)).collect::<Vec<_>>(),
            shell_words(line, Escapes::Kept).ok().map(|read| read.words),
        )
    };
    let lines: Meaning = text.lines().map(line).filter(|(words, _)| !words.is_empty()).collect();
    (lines, diagnostics.exit_code())
}

#[track_caller]
fn means_the_same(file: &[u8], name: &str) {
    let once = format(file);
    let twice = format(&once);
    assert_eq!(String::from_utf8_lossy(&twice), String::from_utf8_lossy(&once), "{name}: not settled at once");
    let (before, after) = (meaning(file), meaning(&once));
    for (line, (a, b)) in before.0.iter().zip(&after.0).enumerate() {
        assert_eq!(b, a, "{name}: line {line} of the expanded text");
    }
    assert_eq!(after.0.len(), before.0.len(), "{name}");
    assert_eq!(after.1, before.1, "{name}: exit code");
}

#[test]
fn layout() {
    formats(
        "! first\n\n\n\nglobal_defs {\n\n  router_id   a\t# name\n\n}\nvrrp_instance V1\n# why\n{\nvirtual_ipaddress{10.0.0.1\n\n\n10.0.0.2 }}\nvrrp_instance V2 # two\n\n{ }\n",
        "! first\n\nglobal_defs {\n    router_id a # name\n}\n\nvrrp_instance V1\n# why\n{\n    virtual_ipaddress {\n        10.0.0.1\n\n        10.0.0.2\n    }\n}\n\nvrrp_instance V2 { # two\n}\n",
    );
}

#[test]
fn what_is_not_seen_through_stays() {
    formats("$A=x   y\n  ${A}   z {\nb\n}\n", "$A=x   y\n${A}   z {\n    b\n}\n");
    formats("$A=x \\\n\ta  {  b \\\n\n c  {\n}\n", "$A=x \\\n\ta  {  b \\\n\nc {\n}\n");
    formats("$A=x \\\n  \n\ta  b\n c  d\n", "$A=x \\\n  \n\ta  b\nc d\n");
    formats("  include   a  b {c,d}\n } include  x\n", "include   a  b {c,d}\n} include  x\n");
    formats("@node1 a  {\n @node1  }\n", "@node1 a  {\n@node1  }\n");
    formats("~SEQ(i,2)   x  {  y\n", "~SEQ(i,2)   x  {  y\n");
    formats("script  'a  b'\nscript  \"a  b\"  c\n", "script  'a  b'\nscript \"a  b\" c\n");
    formats("a\\  b\\#c\n", "a\\  b\\#c\n");
    formats("a  $A\t\r\t\r\t\n", "a  $A\n");
    formats("\r@id a\n", "\r@id a\n");
}

#[test]
fn words_that_touch_quotes_keep_touching_them() {
    formats("a\"b  c\"d   e\n", "a\"b  c\"d e\n");
}

#[test]
fn long_lines_stay() {
    let long = format!("   x {}\n", "y  ".repeat(400));
    formats(&long, &long);
    formats(&format!("a {{\n{{{}\n", "x".repeat(890)), &format!("a {{\n    {{\n        {}\n", "x".repeat(890)));
    formats(&format!("a {{\nb{}\n", "x".repeat(898)), &format!("a {{\n b{}\n", "x".repeat(898)));
}

#[test]
fn odd_bytes_stay() {
    let formatted = format(b"a\xe9  \xff\r\nb\0  c\n");
    assert_eq!(formatted, b"a\xe9 \xff\nb\0  c\n");
}

/// Every configuration in the repository.
#[test]
fn no_file_changes_its_meaning() {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            match entry.unwrap().path() {
                path if path.is_dir() => collect(&path, found),
                path => found.push(path),
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["conf-examples", "tests/config", "fuzz/corpus"] {
        let before = files.len();
        collect(&root.join(folder), &mut files);
        assert!(files.len() > before + 10, "{folder} has {} files", files.len() - before);
    }
    // Any other folder of configurations, for whoever has one.
    if let Some(folders) = std::env::var_os("VIPD_CONFIGURATIONS") {
        for folder in std::env::split_paths(&folders) {
            collect(&folder, &mut files);
        }
    }
    for file in files {
        means_the_same(&std::fs::read(&file).unwrap(), &file.display().to_string());
    }
}
