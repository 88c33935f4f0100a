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

/// Every block's table. A new block is listed here and nowhere else.
const TABLES: &[fn(&mut Vec<Keyword>)] = &[
    collect::<Top>,
    collect::<Global>,
    collect::<TrackGroup>,
    collect::<SyncGroup>,
    collect::<GarpGroup>,
    collect::<Instance>,
    collect::<Authentication>,
    collect::<Hmac>,
    collect::<ScriptBlock>,
    collect::<ProcessBlock>,
    collect::<FileBlock>,
    collect::<balance::Ssl>,
    collect::<balance::server::Service>,
    collect::<balance::server::Server>,
    collect::<balance::checkers::Misc>,
    collect::<balance::checkers::Smtp>,
    collect::<balance::checkers::SmtpHost>,
    collect::<balance::checkers::Tcp>,
    collect::<balance::checkers::Ping>,
    collect::<balance::checkers::Udp>,
    collect::<balance::http::HttpGet>,
    collect::<balance::http::Url>,
    collect::<balance::http::SslGet>,
    collect::<balance::http::TlsUrl>,
    collect::<balance::checkers::Dns>,
    collect::<balance::checkers::File>,
    collect::<balance::checkers::Bfd>,
    collect::<crate::config::bfd::Bfd>,
];

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
pub fn homes(keyword: &str) -> Vec<&'static str> {
    let mut homes: Vec<_> = all().iter().filter(|k| k.keyword == keyword).map(|k| k.block).collect();
    homes.sort_by_key(|home| {
        (*home != "vrrp_instance", home.matches('/').count(), matches!(*home, "garp_group" | "track_group"))
    });
    homes.truncate(HOMES);
    homes
}

/// The keyword of this block that says for all what `keyword` says for one instance, or the other way round: of the same
/// name but for `vrrp_` in front, with the same arguments.
pub fn of_the_same_meaning(block: &str, keyword: &str) -> Option<&'static str> {
    let arguments = &all().iter().find(|k| k.keyword == keyword)?.arguments;
    let same = |k: &&Keyword| k.block == block && k.arguments == *arguments;
    let named = |k: &&Keyword| {
        k.keyword.strip_prefix("vrrp_") == Some(keyword) || keyword.strip_prefix("vrrp_") == Some(k.keyword)
    };
    all().iter().filter(same).find(named).map(|k| k.keyword)
}

/// What each keyword opens, for `tree`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Language;

impl Schema for Language {
    fn shape(&self, block: &str, keyword: &str) -> Shape {
        type Shapes = FxHashMap<&'static str, FxHashMap<&'static str, Shape>>;
        static SHAPES: OnceLock<Shapes> = OnceLock::new();
        let shapes = SHAPES.get_or_init(|| {
            let mut shapes = Shapes::default();
            for k in all() {
                let shape = match k.body {
                    Body::None => Shape::Leaf,
                    Body::List => Shape::List,
                    Body::Block(path) => Shape::Block(path),
                };
                shapes.entry(k.block).or_default().insert(k.keyword, shape);
            }
            shapes
        });
        shapes.get(block).and_then(|b| b.get(keyword)).copied().unwrap_or(Shape::Unknown)
    }
}
