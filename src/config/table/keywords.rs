//! All keywords of the language: the shapes that `tree` asks for, where a keyword belongs, and the listing.

use super::block::{Block, Body, Entry, Repeat, Status};
use crate::config::balance;
use crate::config::global::Global;
use crate::config::text::tree::{Schema, Shape};
use crate::config::top::Top;
use crate::config::vrrp::group::{GarpGroup, SyncGroup, TrackGroup};
use crate::config::vrrp::instance::{Authentication, Hmac, Instance};
use crate::config::vrrp::tracker::{FileBlock, ProcessBlock, ScriptBlock};
use rustc_hash::FxHashMap;
use std::sync::OnceLock;

/// One keyword as it is listed.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Keyword {
    /// Path of the block it stands in, such as `vrrp_instance/authentication`; empty at the top level.
    pub block: &'static str,
    pub keyword: &'static str,
    /// Type and range of its arguments.
    pub arguments: String,
    pub default: &'static str,
    pub repeat: Repeat,
    /// `works`, `deprecated: …`, `renamed: …` or `no effect: …`.
    pub status: String,
    pub doc: String,
    #[serde(skip)]
    pub body: Body,
}

fn collect<B: Block>(all: &mut Vec<Keyword>) {
    all.extend(B::entries().iter().map(|entry: &Entry<B>| {
        let facts = (entry.facts)();
        let status = match entry.status {
            Status::Works => "works".to_owned(),
            Status::Deprecated(cure) => format!("deprecated: {cure}"),
            Status::Renamed(cure) => format!("old spelling: {cure}"),
            Status::Idle(why) => format!("no effect: {why}"),
        };
        Keyword {
            block: B::PATH,
            keyword: entry.keyword,
            arguments: facts.arguments.into_owned(),
            default: entry.default,
            repeat: facts.repeat,
            status,
            doc: entry.doc.trim().to_owned(),
            body: facts.body,
        }
    }));
}

/// `$each` for every block. A new block is listed here and nowhere else.
macro_rules! tables {
    ($each:ident) => {
        &[
            $each::<Top>,
            $each::<Global>,
            $each::<TrackGroup>,
            $each::<SyncGroup>,
            $each::<GarpGroup>,
            $each::<Instance>,
            $each::<Authentication>,
            $each::<Hmac>,
            $each::<ScriptBlock>,
            $each::<ProcessBlock>,
            $each::<FileBlock>,
            $each::<balance::Ssl>,
            $each::<balance::server::Service>,
            $each::<balance::server::Server>,
            $each::<balance::checkers::Misc>,
            $each::<balance::checkers::Smtp>,
            $each::<balance::checkers::SmtpHost>,
            $each::<balance::checkers::Tcp>,
            $each::<balance::checkers::Ping>,
            $each::<balance::checkers::Udp>,
            $each::<balance::http::HttpGet>,
            $each::<balance::http::Url>,
            $each::<balance::http::SslGet>,
            $each::<balance::http::TlsUrl>,
            $each::<balance::checkers::Dns>,
            $each::<balance::checkers::File>,
            $each::<balance::checkers::Bfd>,
            $each::<crate::config::bfd::Bfd>,
        ]
    };
}

const TABLES: &[fn(&mut Vec<Keyword>)] = tables!(collect);

/// All keywords, block by block, in the order of the tables.
pub fn all() -> &'static [Keyword] {
    static ALL: OnceLock<Vec<Keyword>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all = Vec::new();
        for table in TABLES {
            table(&mut all);
        }
        all
    })
}

/// As many homes of a keyword are named.
const HOMES: usize = 3;

/// The blocks in which a keyword is known: those that most people mean first.
pub fn homes(path: &str, keyword: &str) -> Vec<&'static str> {
    let root = |block: &'static str| block.split('/').next().unwrap_or(block);
    let here = path.split('/').next().unwrap_or(path);
    let mut homes: Vec<_> = all().iter().filter(|k| k.keyword == keyword).map(|k| k.block).collect();
    // It was meant for a block around it, the nearest one first.
    let around = |home: &&str| !home.is_empty() && path.strip_prefix(*home).is_some_and(|rest| rest.starts_with('/'));
    if homes.iter().any(around) {
        homes.retain(around);
        homes.sort_by_key(|home| std::cmp::Reverse(home.len()));
        return homes;
    }
    // Those beside it mean the same; others only share the name.
    if !path.is_empty() && homes.iter().any(|home| root(home) == here) {
        homes.retain(|home| root(home) == here);
    }
    homes.sort_by_key(|home| {
        (*home != "vrrp_instance", home.matches('/').count(), matches!(*home, "garp_group" | "track_group"))
    });
    homes.truncate(HOMES);
    homes
}

/// The keyword of this block that says for all what `keyword` says for one instance, or the other way round: of the same
/// name but for `vrrp_` in front, with the same arguments. Of an old spelling that it never had, the new one.
pub fn of_the_same_meaning(block: &str, keyword: &str) -> Option<&'static str> {
    let arguments = &all().iter().find(|k| k.keyword == keyword)?.arguments;
    let same = |k: &&Keyword| k.block == block && k.arguments == *arguments;
    let named = |k: &&Keyword| {
        k.keyword.strip_prefix("vrrp_") == Some(keyword) || keyword.strip_prefix("vrrp_") == Some(k.keyword)
    };
    // An old name that this block never had stands for the new one.
    let renamed = || {
        let new = all().iter().filter(|k| k.keyword == keyword).find_map(|k| k.status.split('`').nth(1))?;
        all().iter().find(|k| k.block == block && k.keyword == new).map(|k| k.keyword)
    };
    all().iter().filter(same).find(named).map(|k| k.keyword).or_else(renamed)
}

/// Whether a keyword is an old spelling of the other one, wherever it stands.
pub fn is_renamed_to(keyword: &str, new: &str) -> bool {
    let mut same = all().iter().filter(|k| k.keyword == keyword).peekable();
    same.peek().is_some() && same.all(|k| k.status.split('`').nth(1) == Some(new))
}

/// What each keyword opens, for `tree`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Language;

impl Schema for Language {
    fn are_strangers(&self, one: &str, other: &str) -> bool {
        crate::config::top::are_strangers(one, other)
    }
    fn shape(&self, block: &str, keyword: &str) -> Shape {
        type Shapes = FxHashMap<(&'static str, &'static str), Shape>;
        static SHAPES: OnceLock<Shapes> = OnceLock::new();
        let shapes = SHAPES.get_or_init(|| {
            let mut shapes = Shapes::default();
            for k in all() {
                let shape = match k.body {
                    Body::None => Shape::Leaf,
                    Body::List => Shape::List,
                    Body::Block(path) => Shape::Block(path),
                };
                shapes.insert((k.block, k.keyword), shape);
            }
            shapes
        });
        shapes.get(&(block, keyword)).copied().unwrap_or(Shape::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Env;
    use crate::config::line::names::Names;
    use crate::config::report::Diagnostics;
    use crate::config::system::TableSystem;
    use crate::config::table::block::{Cx, read_block};
    use crate::config::text::expand::TextEnv;
    use crate::config::text::source::{FileId, Span};
    use crate::config::text::tree::{Node, Word};

    /// Defaults whose words name no value of the keyword: nobody could write them.
    const WORDS: &[(&str, &str)] = &[
        ("lvs_netlink_cmd_rcv_bufs", "kernel"),
        ("lvs_netlink_monitor_rcv_bufs", "kernel"),
        ("checker_rt_priority", "off"),
        ("bfd_rt_priority", "off"),
        ("lb_algo", "wlc, with an error"),
        ("name", "the root"),
        // To read it is what turns it on.
        ("nopreempt", "off"),
        ("dynamic_interfaces", "off"),
        // Less than the least that can be written.
        ("vrrp_garp_interval", "0"),
        ("vrrp_gna_interval", "0"),
        ("vrrp_startup_delay", "0"),
        ("vrrp_delay_after_boot", "0"),
        ("terminate_delay", "0"),
        ("fork_delay", "0"),
    ];

    fn check<B: Block>(wrong: &mut Vec<String>) {
        let system = TableSystem::anywhere();
        let env = Env { text: TextEnv::default(), system: &system };
        for entry in B::entries() {
            let Some(same) = entry.same else { continue };
            if WORDS.contains(&(entry.keyword, entry.default)) {
                continue;
            }
            let mut diagnostics = Diagnostics::default();
            let mut cx = Cx::new(&env, Names::customary(), &mut diagnostics);
            let span = Span { file: FileId::EXPANDED, start: 0, end: 0 };
            let word = |text| Word { text, span, quoted: false };
            let line = Node {
                keyword: word(entry.keyword),
                args: vec![word(entry.default)],
                raw: entry.default,
                raw_span: span,
                body: None,
                span,
                close: None,
                stray: false,
                opens: false,
                spilt: false,
                lost: None,
                cut: false,
            };
            let (mut written, unwritten) = (B::default(), B::default());
            read_block(&mut written, std::slice::from_ref(&line), &mut cx);
            drop(cx);
            let complaints = diagnostics.list.iter().filter(|d| d.class.is_mistake()).count();
            if complaints > 0 || !same(&written, &unwritten) {
                wrong.push(format!("{} `{} {}`", B::PATH, entry.keyword, entry.default));
            }
        }
    }

    /// What the manual calls a keyword's default does what the keyword's absence does.
    #[test]
    fn writing_a_default_changes_nothing() {
        let checks: &[fn(&mut Vec<String>)] = tables!(check);
        let mut wrong = Vec::new();
        for check in checks {
            check(&mut wrong);
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
