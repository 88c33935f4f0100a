//! How complaints are shown: underlined, as one line, as JSON.

#![allow(clippy::unwrap_used)]

use vipd::config::report::{Class, Diagnostic, Diagnostics, Style};
use vipd::config::text::expand::{TextEnv, read};
use vipd::config::text::source::{FileId, MapLoader, Span};

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
    let wanted = "\
error: this word is bad
 --> /etc/keepalived.conf:3:16
  |
2 | $WORD=bad
  |       --- from the definition of $WORD
3 |     second { word ${WORD} }
  |                   ^^^^^^^ here
  |
  = help: write a good one
";
    assert_eq!(shown, wanted);
}

#[test]
fn full_far() {
    let files = MapLoader::default()
        .with("/etc/keepalived.conf", format!("$WORD=bad\n{}include a.conf\n", "\n".repeat(30)))
        .with("/etc/a.conf", "~SEQ(i,2) word ${WORD}\n");
    let shown = complaints(files).show(Style::Full { colour: false });
    let wanted = "\
error: this word is bad
 --> /etc/a.conf:1:16
  |
1 | ~SEQ(i,2) word ${WORD}
  | ---------      ^^^^^^^ here
  | |
  | in the round with i = 1
  |
 ::: /etc/keepalived.conf:1:7
  |
1 | $WORD=bad
  |       --- from the definition of $WORD
  |
  = note: included at /etc/keepalived.conf:32:9
  = help: write a good one
";
    assert_eq!(shown, wanted, "the second round says nothing new");
}

#[test]
fn plain() {
    let shown = one("first\n$WORD=bad\n\tsecond { word ${WORD} }\n").show(Style::Plain);
    let wanted = "/etc/keepalived.conf:3:16: error: this word is bad \
        (here; /etc/keepalived.conf:2:7: from the definition of $WORD; help: write a good one)\n";
    assert_eq!(shown, wanted);
}

#[test]
fn json() {
    let shown = one("first\n$WORD=bad\n\tsecond { word ${WORD} }\n").show(Style::Json);
    let wanted = concat!(
        r#"{"level":"error","class":"general","message":"this word is bad","file":"/etc/keepalived.conf","#,
        r#""line":3,"column":16,"end_line":3,"end_column":23,"label":"here","help":"write a good one","#,
        r#""related":[{"file":"/etc/keepalived.conf","line":2,"column":7,"end_line":2,"end_column":10,"#,
        r#""message":"from the definition of $WORD"}]}"#,
    );
    assert_eq!(shown.trim_end(), wanted);
}

#[test]
fn control_characters_and_odd_bytes_do_not_reach_the_terminal() {
    let files = MapLoader::default().with("/etc/keepalived.conf", b"x \x1b[31m caf\xe9 bad\n".to_vec());
    for style in [Style::Full { colour: false }, Style::Plain, Style::Json] {
        let shown = complaints(files.clone()).show(style);
        assert!(!shown.contains('\x1b'), "{shown:?}");
        assert!(shown.contains(if style == Style::Json { "\"column\":14" } else { "keepalived.conf:1:14" }), "{shown}");
    }
}

#[test]
fn a_line_without_end_is_not_shown() {
    let mut diagnostics = Diagnostics::default();
    let text = format!("{}bad\n", "x ".repeat(4000));
    let file = diagnostics.sources.add("/etc/keepalived.conf", text.to_owned(), None);
    diagnostics.push(Diagnostic::new(Class::General, Span { file, start: 8000, end: 8003 }, "this word is bad"));
    let shown = diagnostics.show(Style::Full { colour: false });
    assert_eq!(shown, "/etc/keepalived.conf:1:8001: error: this word is bad\n");
}

#[test]
fn what_points_nowhere_is_said_too() {
    let mut diagnostics = Diagnostics::default();
    diagnostics.push(Diagnostic::new(Class::Warning, None, "no instance is configured").help("add a vrrp_instance"));
    assert_eq!(diagnostics.show(Style::Plain), "warning: no instance is configured (help: add a vrrp_instance)\n");
    let wanted = "warning: no instance is configured\n |\n = help: add a vrrp_instance\n";
    assert_eq!(diagnostics.show(Style::Full { colour: false }), wanted);
}

#[test]
fn a_flood_is_counted_and_keeps_its_worst_class() {
    let mut diagnostics = Diagnostics::default();
    for n in 0..20_000 {
        diagnostics.push(Diagnostic::new(Class::Note, None, format!("complaint {n}")));
    }
    diagnostics.push(Diagnostic::new(Class::Security, None, "the last one"));
    assert_eq!(diagnostics.exit_code(), 6);
    assert!(diagnostics.show(Style::Plain).ends_with("note: 10001 more complaints are not shown\n"));
}
