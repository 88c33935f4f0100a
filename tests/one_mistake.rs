//! One mistake, one complaint: every keyword of the language gets a bad value in a file that is otherwise right.
//!
//! The file has every block. The line under test takes the place of the keyword's good line where there is one, so what a
//! block cannot do without is there in a bad form, and nowhere else.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use vipd::config::block::Body;
use vipd::config::diagnostic::{Class, Diagnostics};
use vipd::config::expand::TextEnv;
use vipd::config::keywords::{Keyword, all};
use vipd::config::source::MapLoader;
use vipd::config::system::{Link, TableSystem};
use vipd::config::{Env, load};

const FILE: &str = "/etc/keepalived/keepalived.conf";

/// A file with every block and without a mistake; `@` marks where the lines of a block begin, with its path.
const GOOD: &str = include_str!("whole.conf");

/// What nobody means: a word, numbers far below and above everything, nothing at all.
const BAD: [&str; 4] = ["%no-such-thing", "-99999999999999", "99999999999999999999", ""];

/// The file with one line in one block instead of the good line of the same keyword; the number of that line comes too.
fn file(block: &str, keyword: &str, line: &str) -> (String, u32) {
    let (mut text, mut number, mut at, mut inside) = (String::new(), 0, 0, None);
    let mut depth = 0i32;
    for good in GOOD.lines() {
        if let Some(path) = good.strip_prefix('@') {
            if path == block {
                inside = Some(depth);
                text += &format!("{line}\n");
                number += 1;
                at = number;
            }
            continue;
        }
        let replaced = inside == Some(depth) && good.split_whitespace().next() == Some(keyword) && !good.ends_with('{');
        depth += i32::from(good.ends_with('{')) - i32::from(good.trim() == "}");
        if inside.is_some_and(|outer| depth < outer) {
            inside = None;
        }
        if !replaced {
            text += &format!("{good}\n");
            number += 1;
        }
    }
    (text, at)
}

fn complaints(text: &str) -> Vec<(u32, String)> {
    let mut system = TableSystem { assume_interfaces: false, ..TableSystem::anywhere() };
    for name in ["eth0", "eth1"] {
        system.interfaces.insert(name.into(), Link::ethernet(name));
    }
    let files = MapLoader::default().with(FILE, text.to_owned());
    let env = Env { text: TextEnv::default(), system: &system };
    let (_, diagnostics) = load(FILE, &env, &files);
    let Diagnostics { list, sources, .. } = &diagnostics;
    let wrong = list.iter().filter(|complaint| complaint.class != Class::Note);
    wrong
        .map(|c| (c.span.map_or(0, |span| sources.position(span).0), format!("{:?}: {}", c.class, c.message)))
        .collect()
}

/// No value of theirs is bad: the rest of the file contradicts what they say.
const CONTRARY: [&str; 3] = ["vrrp_strict", "native_ipv6", "vrrp"];

fn leaves() -> impl Iterator<Item = &'static Keyword> {
    all().iter().filter(|keyword| {
        keyword.body == Body::None && !keyword.status.starts_with("deprecated") && !CONTRARY.contains(&keyword.keyword)
    })
}

#[test]
fn the_good_file_is_good() {
    assert_eq!(complaints(&GOOD.lines().filter(|l| !l.starts_with('@')).collect::<Vec<_>>().join("\n")), []);
    for keyword in leaves() {
        assert!(GOOD.contains(&format!("@{}\n", keyword.block)), "{} is not in the file", keyword.block);
    }
}

#[test]
fn one_bad_value_gives_one_complaint_where_it_stands() {
    let mut wrong = Vec::new();
    let mut noticed: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for keyword in leaves() {
        for bad in BAD {
            let line = format!("{} {bad}", keyword.keyword);
            let (text, at) = file(keyword.block, keyword.keyword, &line);
            let found = complaints(&text);
            *noticed.entry((keyword.block, keyword.keyword)).or_default() += u32::from(!found.is_empty());
            if found.len() > 1 || found.iter().any(|(line, _)| *line != at) {
                let found: Vec<String> = found.iter().map(|(line, said)| format!("\n    {line}: {said}")).collect();
                wrong.push(format!("{} `{line}` on line {at}:{}", keyword.block, found.concat()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
    let number =
        |keyword: &Keyword| ["0..", "TIMER", "INT", "PORT"].iter().any(|kind| keyword.arguments.starts_with(kind));
    for keyword in leaves().filter(|keyword| number(keyword)) {
        assert!(noticed[&(keyword.block, keyword.keyword)] > 0, "any value goes for {}", keyword.keyword);
    }
}
