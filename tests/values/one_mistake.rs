//! One mistake, one complaint: every keyword of the language gets a bad value in a file that is otherwise right.

use super::whole::{WHOLE, file, judge};
use std::collections::BTreeMap;
use vipd::config::system::{Link, TableSystem};
use vipd::config::table::block::Body;
use vipd::config::table::keywords::{Keyword, all};

/// What nobody means: a word, numbers far below and above everything, nothing at all.
const BAD: [&str; 4] = ["%no-such-thing", "-99999999999999", "99999999999999999999", ""];

fn complaints(text: &str) -> Vec<(u32, String)> {
    let mut system = TableSystem { assume_interfaces: false, ..TableSystem::anywhere() };
    for name in ["eth0", "eth1"] {
        system.interfaces.insert(name.into(), Link::ethernet(name));
    }
    let wrong = judge(text, &system).said.into_iter().filter(|(_, class, _)| class.is_mistake());
    wrong.map(|(line, class, message)| (line, format!("{class:?}: {message}"))).collect()
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
    assert_eq!(complaints(&WHOLE.lines().filter(|l| !l.starts_with('@')).collect::<Vec<_>>().join("\n")), []);
    for keyword in leaves() {
        assert!(WHOLE.contains(&format!("@{}\n", keyword.block)), "{} is not in the file", keyword.block);
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
