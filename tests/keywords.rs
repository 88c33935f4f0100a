//! The tables of the language against the list of everything that keepalived 2.4.3 knows.
//!
//! `tests/data/keywords.txt` has one line a keyword, block and keyword, taken from keepalived's parsers; `(top)` is the
//! top level. A block without keywords of its own is written like its keyword.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use vipd::config::table::keywords::{Language, all};
use vipd::config::text::tree::{Schema, Shape};

fn listed() -> Vec<(&'static str, &'static str)> {
    include_str!("data/keywords.txt")
        .lines()
        .map(|line| {
            let (block, keyword) = line.split_once('\t').unwrap();
            let block = match block {
                "(top)" => "",
                // The old spelling opens the same block.
                "vrrp_track_file" => "track_file",
                other => other,
            };
            (block, keyword)
        })
        .collect()
}

#[test]
fn every_keyword_of_keepalived_is_known_where_it_belongs() {
    let missing: Vec<_> =
        listed().into_iter().filter(|(block, keyword)| Language.shape(block, keyword) == Shape::Unknown).collect();
    assert!(missing.is_empty(), "{} keywords are unknown: {missing:?}", missing.len());
    assert_eq!(listed().len(), 531);
}

#[test]
fn no_keyword_stands_twice_in_a_block() {
    let mut seen = BTreeSet::new();
    for k in all() {
        assert!(seen.insert((k.block, k.keyword)), "{} in {} is defined twice", k.keyword, k.block);
    }
}

#[test]
fn every_keyword_says_what_it_is_for_and_what_it_takes() {
    for k in all() {
        assert!(k.doc.len() > 2, "{} in {} has no doc", k.keyword, k.block);
        assert!(!k.arguments.is_empty(), "{} in {} has no arguments", k.keyword, k.block);
    }
}

#[test]
fn a_keyword_keepalived_does_not_know_is_not_in_the_tables() {
    let known: BTreeSet<_> = listed().into_iter().collect();
    let ours: BTreeMap<_, _> = all().iter().map(|k| ((k.block, k.keyword), k)).collect();
    // Keywords of our own say so by their names.
    let invented: Vec<_> = ours.keys().filter(|key| !known.contains(*key) && !key.1.starts_with("vipd_")).collect();
    assert!(invented.is_empty(), "keepalived knows nothing of {invented:?}");
}

#[test]
fn blocks_hold_blocks_that_have_tables() {
    let blocks: BTreeSet<_> = all().iter().map(|k| k.block).collect();
    for k in all() {
        if let Shape::Block(path) = Language.shape(k.block, k.keyword) {
            assert!(blocks.contains(path), "{} opens {path}, which has no table", k.keyword);
        }
    }
}

/// `docs/keywords-without-effect.md` is this table and nothing else. VIPD_DOCS=write makes it anew.
#[test]
fn the_page_of_keywords_without_effect_is_the_table() {
    let mut rows: Vec<_> = all()
        .iter()
        .filter_map(|k| Some((k, k.status.strip_prefix("no effect: ")?)))
        .map(|(k, why)| (if k.block.is_empty() { "top level" } else { k.block }, k.keyword, why))
        .collect();
    rows.sort_unstable();
    let mut page = String::from(
        "# Keywords without effect\n\n\
         They are read and checked as keepalived does, and each that a configuration uses is named once in the log at \
         start. `vipctl keywords` shows the status of every keyword.\n\n\
         | block | keyword | why it has no effect |\n|---|---|---|\n",
    );
    for (block, keyword, why) in rows {
        page += &format!("| {block} | `{keyword}` | {why} |\n");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/keywords-without-effect.md");
    if std::env::var("VIPD_DOCS").is_ok_and(|wish| wish == "write") {
        std::fs::write(path, &page).unwrap();
    }
    let there = std::fs::read_to_string(path).unwrap();
    assert!(there == page, "docs/keywords-without-effect.md is out of date: run this test with VIPD_DOCS=write");
}
