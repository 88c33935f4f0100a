//! What holds for any text: the reader ends, never panics, and every place it names lies in a file.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use vipd::config::report::{Diagnostics, Style};
use vipd::config::text::expand::{TextEnv, read};
use vipd::config::text::fmt::format;
use vipd::config::text::lexer::{Escapes, shell_words, words};
use vipd::config::text::source::{MapLoader, Span, bytes_of, text_of};
use vipd::config::text::tree::{Node, Schema, Shape, parse};

const MAIN: &str = "/k.conf";

/// Some keywords of each shape.
struct Small;
impl Schema for Small {
    fn shape(&self, _block: &str, keyword: &str) -> Shape {
        match keyword {
            "block" => Shape::Block("block"),
            "list" => Shape::List,
            "leaf" | "script" => Shape::Leaf,
            _ => Shape::Unknown,
        }
    }
}

/// Pieces that mean something to the reader, so that random text is not all plain words.
fn piece() -> impl Strategy<Value = String> {
    const FIXED: &[&str] = &[
        "{",
        "}",
        "\n",
        "\n",
        " ",
        "\"",
        "\\",
        "\\\n",
        "#",
        "!",
        "$A=",
        "$B=",
        "$A",
        "${A}",
        "${B}",
        "$",
        "@id ",
        "@^id ",
        "~SEQ(i,3) ",
        "~SEQ(i,1,2,5)",
        "~SEQx(A,9,11)",
        "~LST(A,x,y) ",
        "~LST({A,B},{1,2},{3}) ",
        "${i}",
        "${_PWD}",
        "${_RANDOM 1 3}",
        "${_ENV HOME}",
        "${_HASH}",
        "include b.conf\n",
        "includea *.conf\n",
        "include {b,c}.conf\n",
        "block ",
        "list ",
        "leaf ",
        "script ",
        "global_defs {\ninclude_check\n}\n",
        "\r",
        "\0",
        "\u{e9}",
        "'",
    ];
    prop_oneof![4 => proptest::sample::select(FIXED).prop_map(str::to_string), 1 => "[ -~]{0,12}", 1 => "\\PC{0,4}"]
}

fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(piece(), 0..60).prop_map(|pieces| pieces.concat())
}

fn nodes_are_in(nodes: &[Node<'_>], check: &mut dyn FnMut(Span)) {
    for node in nodes {
        check(node.span);
        check(node.raw_span);
        node.words().for_each(|word| check(word.span));
        nodes_are_in(node.body.as_deref().unwrap_or(&[]), check);
    }
}

proptest! {
    #[test]
    fn any_text_is_read(main in text(), other in text()) {
        let files = MapLoader::default().with(MAIN, main).with("/b.conf", other);
        let env = TextEnv { config_id: "id".into(), random_seed: 3, ..TextEnv::default() };
        let mut diagnostics = Diagnostics::default();
        let text = read(MAIN, &env, &files, &mut diagnostics);
        let nodes = parse(&text, &Small, &mut diagnostics);
        let sources = diagnostics.sources.clone();
        let mut check = |span: Span| {
            let (span, related) = sources.resolve(span);
            for span in std::iter::once(span).chain(related.into_iter().map(|(span, _)| span)) {
                let source = sources.get(span.file).unwrap();
                assert!(source.text.get(span.start as usize..span.end as usize).is_some(), "{span:?}");
            }
        };
        nodes_are_in(&nodes, &mut check);
        for diagnostic in &diagnostics.list {
            diagnostic.span.into_iter().for_each(&mut check);
            diagnostic.related.iter().for_each(|(span, _)| check(*span));
        }
        for style in [Style::Full { colour: true }, Style::Plain, Style::Json] {
            diagnostics.show(style);
        }
        // The same environment gives the same text.
        let again = read(MAIN, &env, &files, &mut Diagnostics::default());
        prop_assert_eq!(again.buffer(), text.buffer());
    }

    /// A word that comes straight from a file is what stands at its place.
    #[test]
    fn plain_words_are_where_they_say(lines in proptest::collection::vec("[a-z]{1,5}( [a-z0-9.]{1,5}){0,3}( #.{0,3})?", 1..20)) {
        let main = lines.join("\n");
        let mut diagnostics = Diagnostics::default();
        let text = read(MAIN, &TextEnv::default(), &MapLoader::default().with(MAIN, main.clone()), &mut diagnostics);
        for node in parse(&text, &Small, &mut diagnostics) {
            for word in node.words() {
                let (span, related) = diagnostics.sources.resolve(word.span);
                // Not `main`: characters of the range that stands for stray bytes are written as several.
                let main = &diagnostics.sources.get(span.file).unwrap().text;
                prop_assert_eq!(main.get(span.start as usize..span.end as usize), Some(word.text));
                prop_assert!(related.is_empty());
            }
        }
    }

    #[test]
    fn the_formatter_settles_and_keeps_the_words(main in text()) {
        let once = format(main.as_bytes());
        let twice = format(&once);
        prop_assert_eq!(String::from_utf8_lossy(&twice), String::from_utf8_lossy(&once));
        let lines = |file: &[u8]| {
            let env = TextEnv { config_id: "id".into(), ..TextEnv::default() };
            let text = read(MAIN, &env, &MapLoader::default().with(MAIN, file), &mut Diagnostics::default());
            let mut lines = Vec::new();
            for line in text.lines() {
                let mut found = Vec::new();
                words(line, 0, &mut found);
                if !found.is_empty() {
                    lines.push(found.iter().map(|word| word.text.to_string()).collect::<Vec<_>>());
                }
            }
            lines
        };
        prop_assert_eq!(lines(&once), lines(main.as_bytes()));
    }

    #[test]
    fn any_line_is_read_as_a_shell_would(line in "([ -~]|\\PC|\\\\){0,40}") {
        for reading in [Escapes::Kept, Escapes::Resolved].map(|escapes| shell_words(&line, escapes)) {
            if let Err(unreadable) = reading {
                prop_assert!(unreadable.start <= unreadable.end && unreadable.end <= line.len());
            }
        }
        let mut found = Vec::new();
        words(&line, 7, &mut found);
        for word in found {
            let (start, end) = (word.span.start as usize - 7, word.span.end as usize - 7);
            prop_assert!(line.get(start..end).unwrap().contains(word.text));
        }
    }

    #[test]
    fn any_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let text = text_of(bytes.clone());
        prop_assert_eq!(bytes_of(&text).into_owned(), bytes);
    }
}
