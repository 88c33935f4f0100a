//! `vipctl keywords`: the language's own table, as text or JSON.

use super::Outcome;
use super::Trouble;
use super::args::Keywords;
use super::paint::Paint;
use super::steer;
use crate::config::table::block::Repeat;
use crate::config::table::keywords::{Keyword, all};

pub(crate) fn run(args: &Keywords) -> Outcome {
    let chosen = match &args.block {
        None => all().iter().collect::<Vec<_>>(),
        Some(block) => inside(block)?,
    };
    if args.json {
        return steer::print(&steer::pretty(serde_json::json!({ "keywords": chosen })));
    }
    steer::print(&render(&chosen, Paint::stdout()))
}

/// The keywords of a block and of the blocks within it; a keyword's name does too.
fn inside(wanted: &str) -> Result<Vec<&'static Keyword>, Trouble> {
    let path = format!("{wanted}/");
    let found: Vec<_> = all()
        .iter()
        .filter(|k| k.block == wanted || k.block.starts_with(&path) || k.block.rsplit('/').next() == Some(wanted))
        .collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let named: Vec<_> = all().iter().filter(|k| k.keyword == wanted).collect();
    if !named.is_empty() {
        return Ok(named);
    }
    let mut names: Vec<&str> = all().iter().flat_map(|k| [k.block, k.keyword]).filter(|n| !n.is_empty()).collect();
    names.sort_unstable();
    names.dedup();
    let trouble = Trouble::new(format!("there is no block or keyword `{wanted}`"));
    Err(match crate::config::table::block::nearest(wanted, names.into_iter()) {
        Some(near) => trouble.help(format!("did you mean `{near}`?")),
        None => trouble.help("`vipctl keywords` lists all"),
    })
}

/// What a repetition does, in words.
pub fn repetition(repeat: Repeat) -> &'static str {
    match repeat {
        Repeat::LastWins => "the last one counts",
        Repeat::FirstKept => "once; a second one is an error and ignored",
        Repeat::Replaced => "once; a second one is an error and taken",
        Repeat::Accumulates => "may be repeated, each adds to the others",
        Repeat::Flag => "a switch",
    }
}

/// What follows the keyword; nothing for a switch.
pub fn arguments(k: &Keyword) -> &str {
    if k.arguments == "none" { "" } else { &k.arguments }
}

/// A block's name as a title.
pub fn title(block: &str) -> String {
    if block.is_empty() { "top level".to_owned() } else { block.replace('/', " / ") }
}

fn render(list: &[&Keyword], paint: Paint) -> String {
    let mut out = String::new();
    let mut block = None;
    for k in list {
        if block != Some(k.block) {
            if block.is_some() {
                out.push('\n');
            }
            out += &format!("{}\n", paint.strong(&title(k.block)));
            block = Some(k.block);
        }
        out += &format!("  {} {}\n", paint.name(k.keyword), arguments(k));
        for line in k.doc.lines().map(str::trim).filter(|l| !l.is_empty()) {
            out += &format!("      {line}\n");
        }
        let mut facts = vec![repetition(k.repeat).to_owned()];
        if !matches!(k.default, "" | "-") {
            facts.insert(0, format!("default: {}", k.default));
        }
        out += &format!("      {}\n", paint.dim(&facts.join("; ")));
        if k.status != "works" {
            out += &format!("      {}\n", paint.careful(&k.status));
        }
    }
    out
}
