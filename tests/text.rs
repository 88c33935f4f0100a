//! The text level of the language, without its keywords: what lines come out of files, and what tree out of lines.

#![allow(clippy::unwrap_used)]

use vipd::config::report::{Class, Diagnostics};
use vipd::config::text::expand::{TextEnv, read};
use vipd::config::text::lexer::{Escapes, shell_words};
use vipd::config::text::source::{Found, MapLoader, bytes_of};
use vipd::config::text::tree::{Node, Schema, Shape, parse};

const MAIN: &str = "/etc/keepalived/keepalived.conf";

fn env() -> TextEnv {
    TextEnv {
        config_id: "node1".into(),
        environment: [("SITE".to_string(), "north".to_string())].into(),
        random_seed: 1,
        ..TextEnv::default()
    }
}

/// The expanded lines of one file, and `LINE:COLUMN message` of each complaint.
fn expand(text: &str) -> (Vec<String>, Vec<String>) {
    expand_files(MapLoader::default().with(MAIN, text))
}

fn expand_files(files: MapLoader) -> (Vec<String>, Vec<String>) {
    let mut diagnostics = Diagnostics::default();
    let text = read(MAIN, &env(), &files, &mut diagnostics);
    (text.lines().map(str::to_string).collect(), said(&diagnostics))
}

fn said(diagnostics: &Diagnostics) -> Vec<String> {
    let one = |d: &vipd::config::report::Diagnostic| {
        let (line, column) = d.span.map_or((0, 0), |span| diagnostics.sources.position(span));
        format!("{line}:{column} {}", d.message)
    };
    diagnostics.list.iter().map(one).collect()
}

#[track_caller]
fn lines(text: &str, wanted: &[&str]) {
    let (lines, said) = expand(text);
    assert_eq!(said, Vec::<String>::new());
    assert_eq!(lines, wanted);
}

#[track_caller]
fn complains(text: &str, wanted: &[&str]) {
    let (_, said) = expand(text);
    assert_eq!(said, wanted);
}

#[test]
fn comments_begin_anywhere_outside_quotes() {
    lines("alpha#one\nbeta ! two\n   # three\n!\n\tgamma\t\n", &["alpha", "beta", "gamma"]);
    lines("pass \"a#b !c\" # d\n", &["pass \"a#b !c\""]);
}

#[test]
fn an_escaped_comment_sign_is_a_comment_at_the_second_reading() {
    lines("alpha\\#beta\ngamma\\\\#delta\n", &["alpha", "gamma\\\\"]);
    lines("alpha \"x\\#y\"\n", &["alpha \"x\\#y\""]);
}

#[test]
fn a_backslash_at_the_end_is_glued_to_the_last_word() {
    lines("alpha beta   \\\n", &["alpha beta\\"]);
    lines("alpha \\ # note\n", &["alpha\\"]);
}

#[test]
fn a_line_is_split_at_braces_outside_quotes() {
    lines("one{two}three\n", &["one", "{", "two", "}", "three"]);
    lines("one \"{\" { \"}\" two }\n", &["one \"{\"", "{", "\"}\" two", "}"]);
}

#[test]
fn line_ends_may_be_of_either_kind_or_missing() {
    lines("one\r\ntwo\r\r\nthree\r\n\r\nfour\r", &["one", "two", "three", "four"]);
}

#[test]
fn a_line_has_at_most_1022_bytes() {
    let fits = "x".repeat(1022);
    lines(&format!("{fits}\ny\n"), &[&fits, "y"]);
    let (lines, said) = expand(&format!("{}tail\ny\n", "x".repeat(1023)));
    assert_eq!(lines, ["tail", "y"]);
    assert_eq!(said, ["1:1 this line is longer than 1022 bytes"]);
    let (lines, said) = expand(&format!("# {}", "x".repeat(5000)));
    assert_eq!(lines, ["x".repeat(1023), "x".repeat(1023), "x".repeat(1023), "x".repeat(910)][3..]);
    assert_eq!(said.len(), 1, "one complaint a line");
}

#[test]
fn nul_drops_its_line() {
    let (lines, said) = expand("one\ntw\0o\nthree # \0\nfour\nfive\0six");
    assert_eq!(lines, ["one", "four", "five"]);
    assert_eq!(
        said,
        ["2:3 this line holds a NUL byte and is ignored", "3:9 this line holds a NUL byte and is ignored"]
    );
}

#[test]
fn bytes_that_are_not_utf8_come_back() {
    let mut diagnostics = Diagnostics::default();
    let files = MapLoader::default().with(MAIN, b"auth_pass caf\xe9 \xff\n".to_vec());
    let text = read(MAIN, &env(), &files, &mut diagnostics);
    assert_eq!(bytes_of(text.lines().next().unwrap()).as_ref(), b"auth_pass caf\xe9 \xff");
}

#[test]
fn a_definition_is_used_by_its_name() {
    lines("$A=1\nx $A\ny${A}z\n$A,$A)\n", &["x 1", "y1z", "1,1)"]);
    lines("$A = 1\n$1=2\nx $A.5 $B ${B}\n", &["$A = 1", "$1=2", "x $A.5 $B $", "{", "B", "}"]);
    lines("$A=  one two # three\nx \"${A}\" \"$A\"\n", &["x \"one two\" \"$A\""]);
    lines("$A=\nx${A}y\n", &["xy"]);
    lines("$A=1\nx${A }y\n", &["x1y"]);
}

#[test]
fn a_value_is_taken_when_it_is_used() {
    lines("$A=$B\n$B=1\nx $A\n$B=2\nx $A\n", &["x 1", "x 2"]);
    lines("block {\n$A=1\n}\nx $A\n", &["block", "{", "}", "x 1"]);
    lines("$A=~SEQ(i,1,2) x $i\n$A\n", &["x 1", "x 2"]);
    lines("$A=$B=3\n$A\nx $B\n", &["x 3"]);
    lines("$A=x # no\n$H=${_HASH} no\ny $H\n", &["y"]);
}

#[test]
fn a_definition_may_have_several_lines() {
    lines("$A=one \\\n two   \\\n three\nx $A\ny\n", &["x one", "two", "three", "y"]);
    lines("$A=\\\n{ \\\n$X \\\n}\n$X=1\nb $A\n$X=2\nb $A\n", &["b", "{", "1", "}", "b", "{", "2", "}"]);
    lines("$A=\\\none \\\n\ntwo\n$A\n", &["two", "one"]);
    lines("$A=a \\\nb\nx $A y\n", &["x $A y"]);
    lines("$A=a1 \\\n$B \\\na3\n$B=b1 \\\nb2\n$A\n", &["a1", "b1", "b2", "a3"]);
    lines("$A=\\\none \\\n  \ntwo\n$A\n", &["two", "one"]);
    // A line that is commented out with its backslash takes the definition on, as with 2.2.7.
    lines("$A=\\\none \\\n# two \\\n! three \\\n four # five \\\nsix\n$A\n", &["one", "four", "six"]);
    lines("$A=one # two \\\nthree\n$A\n", &["one", "three"]);
    lines("x # two \\\nthree\n", &["x", "three"]);
    complains(
        "$A=\\\none \\\n# note\ntwo\n$A\n",
        &["3:1 this comment ends the definition of $A; the lines after it do not belong to it"],
    );
}

#[test]
fn a_circle_of_definitions_is_shown() {
    complains("$A=x$A\ny $A\ny $A\n", &["2:3 the definition of $A leads back to itself: $A → $A"]);
    complains(
        "$A=${B}\n$B=$C\n$C=1 ${A}\nx ${A}\n",
        &["4:3 the definition of $A leads back to itself: $A → $B → $C → $A"],
    );
    complains("$A=one \\\n$A\n$A\n", &["3:1 the definition of $A leads back to itself: $A → $A"]);
    complains("$A=one \\\n~SEQ(i,1,2) $A\n$A\n", &["3:1 the definition of $A leads back to itself: $A → $A"]);
    lines("$A=1\n$B=$A\n$A=2\nx $B\n", &["x 2"]);
}

#[test]
fn built_in_names() {
    lines("x ${_INSTANCE} ${_ENV SITE} \"${_HASH}${_BANG}\" ${_PWD}\n", &["x node1 north \"#!\" /etc/keepalived"]);
    lines("x${_ENV NOTSET}y\n${_RANDOM 7 7}\n", &["xy", "7"]);
    lines("$_PWD=here\n${_PWD}\n", &["here"]);
    complains("${_ENV}\n", &["1:1 ${_ENV} takes the name of one environment variable"]);
    complains("${_RANDOM a}\n", &["1:1 ${_RANDOM} takes numbers only"]);
    complains("${_RANDOM 9 3}\n", &["1:1 the least value 9 is greater than the greatest, 3"]);
}

/// What srandom(1) and srandom(42) of the GNU C library give, modulo 32768.
#[test]
fn random_numbers_are_those_of_the_c_library() {
    let all = "${_RANDOM 0 2147483647}";
    lines(&format!("{all}\n{all}\n{all}\n"), &["1804289383", "846930886", "1681692777"]);
    lines(
        &format!("global_defs {{\nrandom_seed 42\n}}\n{all}\n"),
        &["global_defs", "{", "random_seed 42", "}", "71876166"],
    );
}

#[test]
fn sequences() {
    lines("~SEQ(i,3) x $i\n", &["x 1", "x 2", "x 3"]);
    lines("~SEQ(i,0) x${i}\n~SEQ(i,-2) x${i}\n", &["x1", "x0", "x-1", "x-2"]);
    lines("~SEQ(i,5,3) x${i}\n~SEQ ( i , 1 , 2 , 4 ) y${i}\n", &["x5", "x4", "x3", "y1", "y3"]);
    lines("~SEQx(i,0x9,012) ${i}\n", &["9", "a"]);
    lines("~SEQ(i,2)~SEQ(j,2)x${i}${j}\n", &["x11", "x12", "x21", "x22"]);
    lines("$N=2\n~SEQ(i,$N) v${i} { w${i} }\n", &["v1", "{", "w1", "}", "v2", "{", "w2", "}"]);
    lines("$B=a${i} \\\nb${i}\n~SEQ(i,2) $B\nlast $i\n", &["a1", "b1", "a2", "b2", "last 2"]);
    lines("x ~SEQ(i,2)\n~other\n", &["x ~SEQ(i,2)", "~other"]);
    lines("~SEQ(i,2) @node1 x${i}\n~SEQ(i,2) @other y${i}\n", &["x1", "x2"]);
}

#[test]
fn lists() {
    lines("~LST(v,a,b) x ${v}\n", &["x a", "x b"]);
    lines("~LST({a,b},{1,2},{3}, 4) ${a}-${b}\n", &["1-2", "3-", "4-"]);
    complains("~LST({a,b},{1,2,3}) x\n", &["1:1 a row of this ~LST has more values than there are names"]);
    complains("~LST(v,a,b x\n", &["1:1 this ~LST cannot be read"]);
}

#[test]
fn wrong_sequences() {
    complains("~SEQ(i,1,-1,5) x\n", &["1:1 the step of this ~SEQ leads away from its end"]);
    complains("~SEQ(i,1,0,5) x\n", &["1:1 a ~SEQ cannot count in steps of 0"]);
    complains("~SEQ(i,1,5 x\n", &["1:1 this ~SEQ has no closing parenthesis"]);
    complains("~SEQ(,5) x\n", &["1:1 this ~SEQ names no variable"]);
    complains("~SEQ(i,a) x\n", &["1:1 a ~SEQ counts with whole numbers only"]);
    complains("~SEQx(i,-2) x\n", &["1:1 ~SEQx counts with numbers from 0 up only"]);
    complains("~SEQ(i,1,2,3,4) x\n", &["1:1 a ~SEQ has one to three numbers"]);
}

#[test]
fn lines_for_one_node_only() {
    lines("@node1 a\n@^node1 b\n@other c\n@^other   d\n@node1\n  @node1 e\n", &["a", "d", "e"]);
    lines("@node1 $A=1\n@other $A=2\nx $A\n", &["x 1"]);
}

#[test]
fn includes() {
    let files = MapLoader::default()
        .with(MAIN, "include one.conf\n$D=sub\ninclude ${D}/*.conf\nlast $X\n")
        .with("/etc/keepalived/one.conf", "in one {\n")
        .with("/etc/keepalived/sub/a.conf", "in a\ninclude b.inc\n")
        .with("/etc/keepalived/sub/b.inc", "in b ${_PWD}\n}\n")
        .with("/etc/keepalived/sub/c.conf", "$X=1\n")
        .with("/etc/keepalived/sub/.hidden.conf", "no\n");
    let (lines, said) = expand_files(files);
    assert_eq!(said, Vec::<String>::new());
    assert_eq!(lines, ["in one", "{", "in a", "in b /etc/keepalived/sub", "}", "last 1"]);
}

#[test]
fn include_variants_decide_what_fails() {
    let files = || {
        let mut files = MapLoader::default().with("/etc/keepalived/there.conf", "x\n");
        files.files.insert("/etc/keepalived/program.conf".into(), Found::Executable);
        files.files.insert("/etc/keepalived/folder".into(), Found::NotRegular);
        files.files.insert("/etc/keepalived/secret.conf".into(), Found::Unreadable("permission denied".into()));
        files
    };
    // name, then for `include` and its variants r m w b a: silent, a note or a failure
    let table = [
        ("missing.conf", "nnffnf"),
        ("*.none", "---f-f"),
        ("{there,missing}.conf", "nnnnff"),
        ("{other,missing}.conf", "nnnnff"),
        ("nofolder/*.conf", "nnffnf"),
        ("program.conf", "nfffff"),
        ("folder", "nfffff"),
        ("secret.conf", "nfffff"),
        ("there.conf", "------"),
    ];
    for (name, wanted) in table {
        for (letter, wanted) in " rmwba".chars().zip(wanted.chars()) {
            let line = format!("include{} {name}\n", String::from(letter).trim());
            let mut diagnostics = Diagnostics::default();
            read(MAIN, &env(), &files().with(MAIN, line.clone()), &mut diagnostics);
            let classes: Vec<Class> = diagnostics.list.iter().map(|d| d.class).collect();
            let got = match classes.as_slice() {
                [] => '-',
                [Class::Note] => 'n',
                [Class::Include] => 'f',
                _ => '?',
            };
            assert_eq!(got, wanted, "{line}");
        }
    }
}

#[test]
fn include_check_and_strict() {
    let failed = |text: &str, strict| {
        let mut diagnostics = Diagnostics::default();
        let env = TextEnv { strict_includes: strict, ..env() };
        read(MAIN, &env, &MapLoader::default().with(MAIN, text), &mut diagnostics);
        diagnostics.exit_code()
    };
    assert_eq!(failed("include no\n", false), 0);
    assert_eq!(failed("include no\n", true), 6);
    assert_eq!(failed("global_defs {\ninclude_check\n}\ninclude no\n", false), 6);
    assert_eq!(failed("global_defs {\ninclude_check read\n}\ninclude no\n", false), 0);
    assert_eq!(failed("global_defs {\ninclude_check +match\n}\ninclude no\n", false), 6);
    assert_eq!(failed("global_defs {\ninclude_check -match\n}\ninclude no\n", true), 0);
    assert_eq!(failed("include_check\ninclude no\n", false), 0, "only in global_defs");
}

#[test]
fn an_include_that_leads_back_ends() {
    let files = MapLoader::default()
        .with(MAIN, "a\ninclude b.conf\nz\n")
        .with("/etc/keepalived/b.conf", "b\ninclude keepalived.conf\ny\n");
    let (lines, said) = expand_files(files);
    assert_eq!(lines, ["a", "b", "y", "z"]);
    assert_eq!(said, ["2:9 `/etc/keepalived/keepalived.conf` includes itself"]);
}

#[test]
fn the_main_file_may_be_missing_or_several() {
    let mut diagnostics = Diagnostics::default();
    let text = read("/none.conf", &env(), &MapLoader::default(), &mut diagnostics);
    assert!(text.root_missing);
    assert_eq!(diagnostics.exit_code(), 0);
    let files = MapLoader::default().with("/e/1.conf", "one\n").with("/e/2.conf", "two\n");
    let mut diagnostics = Diagnostics::default();
    let text = read("/e/*.conf", &env(), &files, &mut diagnostics);
    assert_eq!(text.lines().collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(diagnostics.list.first().map(|d| d.class), Some(Class::MultipleFiles));
}

#[test]
fn quotes_that_stay_open() {
    complains("x \"a b\n", &["1:3 this quote is never closed"]);
    complains("x \\\"a\" b\n", &["1:6 this quote is never closed"]);
}

#[test]
fn a_template_of_many_real_servers_is_no_bomb() {
    let text = "$RS=real_server 22.22.221.${RS2} $PORT { \\\nweight ${_RANDOM 1 10} \\\n}\n$PORT=80\n\
                $VS=virtual_server 22.22.1.${VS2} 80 { \\\n~SEQ(RS2,1,100) $RS \\\n}\n~SEQ(VS2,0,299) $VS\n";
    let (lines, said) = expand(text);
    assert_eq!(said, [""; 0]);
    let count = |word: &str| lines.iter().filter(|line| line.starts_with(word)).count();
    assert_eq!((count("virtual_server "), count("real_server ")), (300, 30_000));
}

#[test]
fn bombs_end_in_a_complaint() {
    let out = |text: &str| expand(text).1.last().cloned().unwrap_or_default();
    let too_big = "the configuration grows out of bounds when it is expanded";
    assert_eq!(out("~SEQ(i,1,4294967296) x\n"), format!("1:22 {too_big}"));
    assert!(out("~SEQ(i,9223372036854775807)\n").ends_with(too_big));
    let mut doubling = String::from("$M0=x \\\nx\n");
    for n in 1..60 {
        doubling += &format!("$M{n}=\\\n$M{} \\\n$M{}\n", n - 1, n - 1);
    }
    assert!(out(&(doubling + "$M59\n")).ends_with(too_big));
    let mut empty = String::from("$E0=\n");
    for n in 1..20 {
        empty += &format!("$E{n}={}\n", format!("${{E{}}}", n - 1).repeat(8));
    }
    assert!(out(&(empty + "x $E19\n")).ends_with(too_big));
}

/// A language of its own, enough to see braces at work.
struct Small;
impl Schema for Small {
    fn shape(&self, block: &str, keyword: &str) -> Shape {
        match (block, keyword) {
            ("", "block") => Shape::Block("block"),
            ("block", "inner") => Shape::Block("block/inner"),
            ("" | "block" | "block/inner", "list") => Shape::List,
            ("" | "block" | "block/inner", "leaf" | "script") => Shape::Leaf,
            _ => Shape::Unknown,
        }
    }
}

/// The tree on one line, the complaints and the exit code.
fn tree(text: &str) -> (String, Vec<String>, u8) {
    fn show(nodes: &[Node<'_>]) -> String {
        let mut shown = Vec::new();
        for node in nodes {
            let mut text = String::new();
            text += &node.words().map(|word| word.text).collect::<Vec<_>>().join(" ");
            if let Some(body) = &node.body {
                text += &format!("({})", show(body));
            }
            shown.push(text);
        }
        shown.join("; ")
    }
    let mut diagnostics = Diagnostics::default();
    let text = read(MAIN, &env(), &MapLoader::default().with(MAIN, text), &mut diagnostics);
    let nodes = parse(&text, &Small, &mut diagnostics);
    (show(&nodes), said(&diagnostics), diagnostics.exit_code())
}

#[test]
fn blocks_and_lists() {
    let (shown, said, _) = tree("block B{inner\n\n{leaf 1}\nlist { a b\nc }}\nleaf \"x y\" z\n");
    assert_eq!(shown, "block B(inner(leaf 1); list(a b; c)); leaf x y z");
    assert_eq!(said, Vec::<String>::new());
}

#[test]
fn a_missing_opening_brace_is_supplied() {
    let (shown, said, code) = tree("block B\n leaf 1\n}\nleaf 2\n");
    assert_eq!(shown, "block B(leaf 1); leaf 2");
    // The one that is over at the end is the same mistake.
    assert_eq!(said, ["1:1 `block` is not followed by `{`"]);
    assert_eq!(code, 5);
}

#[test]
fn a_list_without_its_brace_is_only_noted_until_the_braces_run_out() {
    let (shown, said, code) = tree("block {\nlist\na\n}\n");
    assert_eq!(shown, "block(list(a))");
    assert_eq!((said.len(), code), (1, 0), "keepalived takes the end of the file for the end of the block");
    let (shown, said, code) = tree("block {\nlist\na\n}\n}\nleaf\n");
    assert_eq!(shown, "block(list(a)); leaf");
    assert_eq!(said, ["2:1 `list` is not followed by `{`"]);
    assert_eq!(code, 5);
}

#[test]
fn a_second_brace_is_passed_over_and_its_end_ends_the_block() {
    let (shown, said, _) = tree("block {\n{\nleaf 1\n}\nleaf 2\n}\nleaf 3\n");
    assert_eq!(shown, "block(leaf 1); leaf 2; leaf 3");
    assert_eq!(said, ["2:1 this `{` opens nothing"]);
}

#[test]
fn the_block_of_an_unknown_keyword_is_read_outside() {
    let (shown, said, _) = tree("block {\nstrange {\nleaf 1\n}\nleaf 2\n}\n");
    assert_eq!(shown, "block(strange; leaf 1); leaf 2");
    // The unknown keyword is the language's to complain about, and says it all.
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn surplus_and_missing_ends() {
    let (_, said, _) = tree("block {\n}\n}\n");
    assert_eq!(said, ["3:1 this `}` closes nothing"]);
    let (shown, said, code) = tree("block {\ninner {\nleaf\n");
    assert_eq!(shown, "block(inner(leaf))");
    assert_eq!(said, ["2:1 this block is never closed; 2 `}` are missing at the end"]);
    assert_eq!(code, 5);
}

#[test]
fn a_script_may_hold_a_quote_that_looks_open() {
    let (_, said, _) = tree("script \"/bin/sh -c \\\"x\\\"\" a\n");
    assert_eq!(said, Vec::<String>::new());
    let (_, said, _) = tree("leaf a\\\" b\n");
    assert_eq!(said, ["1:8 this quote is never closed"]);
}

#[test]
fn script_lines_are_read_as_a_shell_would() {
    let read = |line: &str| shell_words(line, Escapes::Resolved).unwrap();
    let words = |line: &str| read(line).words;
    // The command of a line, read once more.
    let command = |line: &str| words(&words(line)[0]);
    assert_eq!(words(r#""/bin/s a b" user group"#), ["/bin/s a b", "user", "group"]);
    assert_eq!(words(r#"'/bin/s "a b"' user"#), [r#"/bin/s "a b""#, "user"]);
    assert_eq!(words(r#"/bin/"s x"y"#), ["/bin/s xy"]);
    // Escaped quotes quote at the second reading, twice escaped ones are data; escaped blanks divide there.
    assert_eq!(command(r#""/bin/s \"a b\"""#), ["/bin/s", "a b"]);
    assert_eq!(command(r#""/bin/s \\\"a b\\\"""#), ["/bin/s", "\"a", "b\""]);
    assert_eq!(command(r#"'/bin/s \'a b\''"#), ["/bin/s", "a b"]);
    assert_eq!(command(r#""/bin/s 'a \"b' c""#), ["/bin/s", "a \"b", "c"]);
    assert_eq!(command(r#""/bin/s a\ b\\ c""#), ["/bin/s", "a", "b c"]);
    assert_eq!(command(r#""/bin/s a\nb""#), ["/bin/s", "a", "b"]);
    assert_eq!(words(r#"\"/bin/s\" user"#), [r#""/bin/s""#, "user"]);
    assert_eq!(command(r#"\"/bin/s\" user"#), ["/bin/s"]);
    // A quote that stands last is closed by the end, and so is one behind which an escape stands last.
    assert_eq!(read(r#"/bin/s""#).open, Some('"'));
    assert_eq!(words(r#"/bin/s""#), ["/bin/s"]);
    assert_eq!(words(r#""/bin/s a\""#), ["/bin/s a\""]);
    assert_eq!(command(r#""/bin/s a\""#), ["/bin/s", "a"]);
    assert_eq!(command(r#"/bin/s\" root"#), ["/bin/s"]);
    assert_eq!(words(r#""/bin/s" '"#), ["/bin/s", ""]);
    assert_eq!(read(r#""/bin/s" user"#).open, None);
    let wrong = |line| shell_words(line, Escapes::Resolved).unwrap_err().message;
    assert_eq!(wrong(r#""/bin/s a"#), "this quote is never closed");
    assert_eq!(wrong("'a"), "this quote is never closed");
    assert_eq!(wrong("a\\"), "nothing follows this backslash");
    assert_eq!(words(r"a\x41\102\tb \cA\E\q \x4142 a\0b"), ["aAB\tb", "\u{1}\u{1b}q", "B", "a"]);
    assert_eq!(words(r#"'' "" x"#), ["", "", "x"]);
    let kept = |line: &str| shell_words(line, Escapes::Kept).unwrap().words;
    assert_eq!(kept(r#""/bin/s\ a \"b" c\x41"#), [r#"/bin/s\ a \"b"#, r"c\x41"]);
}

#[test]
fn a_complaint_points_through_definitions_and_rounds() {
    let mut diagnostics = Diagnostics::default();
    let main = "$A=no\n~SEQ(i,2) leaf ${A}${i} x\n";
    let text = read(MAIN, &env(), &MapLoader::default().with(MAIN, main), &mut diagnostics);
    let nodes = parse(&text, &Small, &mut diagnostics);
    let word = nodes[1].args[0];
    assert_eq!(word.text, "no2");
    let (span, related) = diagnostics.sources.resolve(word.span);
    assert_eq!(&main[span.start as usize..span.end as usize], "${A}${i}");
    let related: Vec<(&str, String)> =
        related.iter().map(|(s, text)| (&main[s.start as usize..s.end as usize], text.said(&|_| false))).collect();
    assert_eq!(
        related,
        [("no", "from the definition of $A".to_owned()), ("~SEQ(i,2)", "in the round with i = 2".to_owned())]
    );
    let (span, _) = diagnostics.sources.resolve(nodes[1].args[1].span);
    assert_eq!(&main[span.start as usize..span.end as usize], "x");
}

#[test]
fn a_condition_may_come_out_of_a_definition() {
    let mut diagnostics = Diagnostics::default();
    let main = "$MINE=@test leaf a\n$OTHERS=@other leaf b\n$NOT=@^other leaf c\n$MINE\n$OTHERS\n$NOT\n";
    let env = TextEnv { config_id: "test".into(), ..env() };
    let text = read(MAIN, &env, &MapLoader::default().with(MAIN, main), &mut diagnostics);
    assert_eq!(text.lines().collect::<Vec<_>>(), ["leaf a", "leaf c"]);
    assert!(diagnostics.list.is_empty(), "{diagnostics:?}");
}
