//! How complaints are shown: underlined, as one line, as JSON.

#![allow(clippy::unwrap_used)]

use vipd::config::diagnostic::{Class, Diagnostic, Diagnostics, Style};
use vipd::config::expand::{TextEnv, read};
use vipd::config::source::{FileId, MapLoader, Span};

/// Complains about every line that holds `bad`, at that word.
fn complaints(files: MapLoader) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    let text = read("/etc/keepalived.conf", &TextEnv::default(), &files, &mut diagnostics);
    for (at, found) in text.buffer().match_indices("bad") {
        let span = Span { file: FileId::EXPANDED, start: at as u32, end: (at + found.len()) as u32 };
        diagnostics
            .push(Diagnostic::new(Class::General, span, "this word is bad").label("here").help("write a good one"));
    }
    diagnostics
}

fn one(text: &str) -> Diagnostics {
    complaints(MapLoader::default().with("/etc/keepalived.conf", text))
}

#[test]
fn full() {
    let shown = one("first\n$WORD=bad\n\tsecond { word ${WORD} }\n").show(Style::Full { colour: false });
    println!("{shown}");
    assert_eq!(shown, "");
}

#[test]
fn full_far() {
    let files = MapLoader::default()
        .with("/etc/keepalived.conf", format!("$WORD=bad\n{}include a.conf\n", "\n".repeat(30)))
        .with("/etc/a.conf", "~SEQ(i,2) word ${WORD}\n");
    let shown = complaints(files).show(Style::Full { colour: false });
    println!("{shown}");
    assert_eq!(shown, "");
}

#[test]
fn plain() {
    let shown = one("first\n$WORD=bad\n\tsecond { word ${WORD} }\n").show(Style::Plain);
    assert_eq!(shown, "");
}

#[test]
fn json() {
    let shown = one("first\n$WORD=bad\n\tsecond { word ${WORD} }\n").show(Style::Json);
    assert_eq!(shown, "");
}
