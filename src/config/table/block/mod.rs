//! One keyword, one entry: field, default, parser, repeatability, status, arguments and documentation.
//!
//! [`block!`] makes out of a list of entries a settings struct and its [`Block`] table; from the table come reading
//! ([`read_block`]), the shapes that `tree` asks for, "unknown keyword" with the nearest name, and the listing of
//! `vipctl keywords`. How an entry reads its line is a [`Reader`], an ordinary value: [`last`], [`must`], [`first`],
//! [`toggle`], [`flag`], [`lines`], [`sub`], or [`by`] for what no other fits; they are in `block/readers.rs`. Kinds of
//! values are in `values`. [`Cx`], what reading carries along, is in `block/cx.rs`, and
//! what it says of a line that no entry is for in `block/unknown.rs`.
//!
//! Reading only takes in what is said. What follows from several settings together (inherited defaults, strict mode,
//! names) is `resolve`'s; nothing here looks at another entry.

mod cx;
mod example;
mod meant;
mod readers;
mod set;
mod unknown;

pub use cx::*;
pub use example::example;
pub use meant::nearest;
pub use readers::*;
pub use set::{Given, Set, Setting};

use crate::config::report::{Class, Diagnostic, Level, SECRET_KEYWORDS};
use crate::config::text::tree::{Node, undefined};
use rustc_hash::FxHashMap;
use std::borrow::Cow;

/// What happens when the keyword stands there again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Repeat {
    LastWins,
    /// The second is an error and ignored.
    FirstKept,
    /// The second is an error and taken.
    Replaced,
    /// Each adds to the others.
    Accumulates,
    Flag,
}

/// What braces after the keyword hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body {
    None,
    /// Lines that are no keywords.
    List,
    /// Keywords of the block with this path.
    Block(&'static str),
}

/// What can be said of an entry without reading anything.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Type and range of the arguments, as `keywords` shows them.
    pub arguments: Cow<'static, str>,
    pub repeat: Repeat,
    pub body: Body,
}

/// Whether a keyword acts in this program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    Works,
    /// Works; using it is a complaint. The text says what to write instead.
    Deprecated(&'static str),
    /// Works; another spelling is preferred, which is only noted.
    Renamed(&'static str),
    /// Read and checked, without effect; the text says why.
    Idle(&'static str),
}

/// One keyword of a block.
pub struct Entry<B: 'static> {
    pub keyword: &'static str,
    pub doc: &'static str,
    /// As shown.
    pub default: &'static str,
    /// Whether the field is in both as if both had been given the same, or neither: for keywords whose default is computed
    /// in the table ([`block!`]).
    pub same: Option<fn(&B, &B) -> bool>,
    pub status: Status,
    pub read: fn(&mut B, &Node<'_>, &mut Cx<'_>),
    pub facts: fn() -> Facts,
}

/// A settings struct with its keywords.
pub trait Block: Default + 'static {
    /// Path of the block: `vrrp_instance/authentication`; empty at the top level.
    const PATH: &'static str;
    const DOC: &'static str;
    fn entries() -> &'static [Entry<Self>];
    fn find(keyword: &str) -> Option<&'static Entry<Self>>;
}

/// Defines a settings struct and its keywords.
///
/// ```text
/// block! {
///     /// One virtual router on one interface.
///     "vrrp_instance" => Instance {
///         /// Seconds before the second burst of gratuitous ARP.
///         "garp_master_delay" => garp_delay: Set<u32> = must(uint(0, 4294)), default "vrrp_garp_master_delay";
///     }
///     also {   // further keywords for a field that is there already
///         /// Old spelling.
///         "vmac_garp_intvl" => garp_extra = by(…), deprecated "use garp_extra_if";
///     }
///     whole {  // keywords that touch several fields: a Reader<Instance>
///         /// …
///         "delay" => by(…);
///     }
/// }
/// ```
/// After the reader may follow, in this order: a default, and one of `deprecated "…"` (a complaint at each use),
/// `renamed "…"` (a note), `idle "why it has no effect"`, `door "…"` (acts where that cargo feature is built in). A default is a
/// value, as `default(5)`, with the words for it where they differ, as `default(Interval::from_secs(1), "1")`: then the
/// settings have a method of the field's name that answers with what was given, or the default. Or it is only words,
/// `default "…"`, where `resolve` has more to go by.
#[macro_export]
macro_rules! block {
    (@default default ($value:expr) $($more:tt)*) => { stringify!($value) };
    (@default default ($value:expr, $shown:literal) $($more:tt)*) => { $shown };
    (@default default $default:literal $($more:tt)*) => { $default };
    (@default $($more:tt)*) => { "-" };
    (@same $owner:ty, $field:ident default ($($default:tt)+) $($more:tt)*) => {
        Some(|one: &$owner, other: &$owner| one.$field() == other.$field())
    };
    (@same $owner:ty, $field:ident $($more:tt)*) => { None };
    (@computed $field:ident [$of:ty] default ($value:expr $(, $shown:literal)?) $($more:tt)*) => {
        /// What was given, or the default.
        pub fn $field(&self) -> <$of as $crate::config::table::block::Given>::Value {
            self.$field.or($value)
        }
    };
    (@computed $field:ident [$of:ty] $($more:tt)*) => {};
    (@status default $default:tt $($more:tt)*) => { block!(@status $($more)*) };
    (@status) => { $crate::config::table::block::Status::Works };
    (@status deprecated $why:literal) => { $crate::config::table::block::Status::Deprecated($why) };
    (@status renamed $why:literal) => { $crate::config::table::block::Status::Renamed($why) };
    (@status idle $why:literal) => { $crate::config::table::block::Status::Idle($why) };
    (@status door $feature:literal) => {
        if cfg!(feature = $feature) {
            $crate::config::table::block::Status::Works
        } else {
            $crate::config::table::block::Status::Idle(concat!("vipd was built without it (cargo feature ", $feature, ")"))
        }
    };
    (@entry $owner:ty, $of:ty, $block:ident => $field:expr,
        [$($doc:literal)+] $keyword:literal $how:expr, $same:expr, [$($more:tt)*]) => {
        $crate::config::table::block::Entry::<$owner> {
            keyword: $keyword,
            doc: concat!($($doc),+),
            default: block!(@default $($more)*),
            same: $same,
            status: block!(@status $($more)*),
            read: |$block, node, cx| $crate::config::table::block::Reader::<$of>::read(&$how, $field, node, cx),
            facts: || $crate::config::table::block::Reader::<$of>::facts(&$how),
        }
    };
    (
        $(#[doc = $about:literal])+
        $path:literal => $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $keyword:literal => $field:ident : $of:ty = $how:expr
                    $(, $word:ident $text:tt)* ;
            )*
        }
        $(also { $(
            $(#[doc = $adoc:literal])+
            $akeyword:literal => $afield:ident : $aof:ty = $ahow:expr
                $(, $aword:ident $atext:literal)* ;
        )* })?
        $(whole { $(
            $(#[doc = $wdoc:literal])+
            $wkeyword:literal => $whow:expr
                $(, $wword:ident $wtext:literal)* ;
        )* })?
        $(rest { $( $(#[doc = $rdoc:literal])+ $rfield:ident : $rof:ty; )* })?
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, Default)]
        pub struct $name {
            $( $(#[doc = $doc])+ pub $field: $of, )*
            $($( $(#[doc = $rdoc])+ pub $rfield: $rof, )*)?
        }
        impl $name {
            $( block!(@computed $field [$of] $($word $text)*); )*
        }
        impl $crate::config::table::block::Block for $name {
            const PATH: &'static str = $path;
            const DOC: &'static str = concat!($($about),+);
            fn entries() -> &'static [$crate::config::table::block::Entry<Self>] {
                static ENTRIES: &[$crate::config::table::block::Entry<$name>] = &[
                    $( block!(@entry $name, $of, block => &mut block.$field,
                        [$($doc)+] $keyword $how, block!(@same $name, $field $($word $text)*), [$($word $text)*]), )*
                    $($( block!(@entry $name, $aof, block => &mut block.$afield,
                        [$($adoc)+] $akeyword $ahow, None, [$($aword $atext)*]), )*)?
                    $($( block!(@entry $name, $name, block => block,
                        [$($wdoc)+] $wkeyword $whow, None, [$($wword $wtext)*]), )*)?
                ];
                ENTRIES
            }
            fn find(keyword: &str) -> Option<&'static $crate::config::table::block::Entry<Self>> {
                type Index = rustc_hash::FxHashMap<&'static str, usize>;
                static INDEX: std::sync::OnceLock<Index> = std::sync::OnceLock::new();
                let index = INDEX.get_or_init(|| Self::entries().iter().enumerate().map(|(at, e)| (e.keyword, at)).collect());
                index.get(keyword).and_then(|at| Self::entries().get(*at))
            }
        }
    };
}

/// How a keyword's line becomes (a part of) a field.
pub trait Reader<F> {
    fn read(&self, field: &mut F, node: &Node<'_>, cx: &mut Cx<'_>);
    fn facts(&self) -> Facts;
}

/// Reads the lines of a block's body into its settings.
pub fn read_block<B: Block>(block: &mut B, nodes: &[Node<'_>], cx: &mut Cx<'_>) {
    for node in nodes {
        if cx.aborted {
            return;
        }
        read_node(block, node, cx);
    }
    overridden::<B>(nodes, cx);
}

/// Keywords of which a second line adds something to the first.
const ADDING: [&str; 5] =
    ["vrrp_rx_bufs_policy", "vrrp_garp_extra_if", "vrrp_vmac_garp_intvl", "garp_extra_if", "vmac_garp_intvl"];

/// So many lines are compared with each other faster than a table of them is made.
const FEW_LINES: usize = 16;

fn repeats_a_keyword(nodes: &[Node<'_>]) -> bool {
    let mut before = nodes.iter().enumerate().filter_map(|(at, node)| Some((node, nodes.get(..at)?)));
    before.any(|(node, before)| before.iter().any(|other| other.keyword.text == node.keyword.text))
}

/// Names the lines of a block whose keyword stands there once more and then with another value, which holds.
fn overridden<B: Block>(nodes: &[Node<'_>], cx: &mut Cx<'_>) {
    if nodes.len() <= FEW_LINES && !repeats_a_keyword(nodes) {
        return;
    }
    let mut later: FxHashMap<&str, &Node<'_>> = FxHashMap::default();
    for node in nodes.iter().rev().filter(|node| !node.stray) {
        if node.body.is_some() {
            // It begins with what its service says up to there (`alloc_rs` of keepalived).
            if node.keyword.text == "real_server" {
                later.clear();
            }
            continue;
        }
        let Some(holds) = later.get(node.keyword.text) else {
            later.insert(node.keyword.text, node);
            continue;
        };
        let last_wins = |entry: &Entry<B>| entry.status == Status::Works && (entry.facts)().repeat == Repeat::LastWins;
        // A line that was complained about may not have been taken.
        let taken = !cx.is_spoilt(holds) && !ADDING.contains(&node.keyword.text);
        if taken && holds.raw != node.raw && B::find(node.keyword.text).is_some_and(last_wins) {
            cx.overridden(node, holds.span);
        }
    }
}

/// Reads one line of a block.
pub fn read_node<B: Block>(block: &mut B, node: &Node<'_>, cx: &mut Cx<'_>) {
    match B::find(node.keyword.text) {
        Some(entry) => {
            cx.belongs();
            let keyword = node.keyword.text;
            match entry.status {
                Status::Works => {}
                Status::Deprecated(cure) => cx.push(
                    Diagnostic::new(Class::Deprecated, node.keyword.span, format!("`{keyword}` is deprecated"))
                        .help(cure),
                ),
                Status::Renamed(cure) => cx.push(
                    Diagnostic::new(Class::Note, node.keyword.span, format!("`{keyword}` is an old spelling"))
                        .help(cure),
                ),
                Status::Idle(why) => cx.without_effect(node, why),
            }
            if node.body.is_some() && !node.spilt && !node.args.is_empty() && (entry.facts)().body == Body::List {
                words_before_list(node, cx);
            }
            let before = cx.diagnostics.list.len();
            (entry.read)(block, node, cx);
            if node.spilt && (entry.facts)().body == Body::List {
                cx.spill(node, before, |keyword| B::find(keyword).is_some());
            }
            cx.forget_lost(node, before);
            let new = cx.diagnostics.list.get(before..).unwrap_or_default();
            let mistaken = new.iter().any(|complaint| complaint.class.is_mistake());
            // The facts of an entry are written out each time: only of a line that somebody complained about.
            if mistaken && (node.body.is_none() || (entry.facts)().body == Body::List) {
                cx.spoil(node);
            }
            plain(entry, node, &mut cx.diagnostics.list, before);
            let complaints = cx.diagnostics.list.iter_mut().skip(before);
            // What stands inside a block has its own.
            cure(
                entry,
                node,
                complaints.filter(|d| d.span.is_none_or(|span| span.start <= node.span.end || node.body.is_none())),
            );
        }
        None => {
            let names: Vec<_> = B::entries().iter().map(|e| e.keyword).collect();
            cx.unknown(B::PATH, node, &names);
        }
    }
}

/// A value with a sign or a unit of other kinds of files gets one complaint, with the line as it has to be.
fn plain<B: Block>(entry: &Entry<B>, node: &Node<'_>, list: &mut Vec<Diagnostic>, before: usize) {
    if node.body.is_some() || list.len() == before {
        return;
    }
    let arguments = (entry.facts)().arguments;
    let about = |d: &Diagnostic| {
        d.class.is_mistake() && d.span.is_some_and(|span| node.args.first().is_some_and(|word| word.span == span))
    };
    let Some(at) = (before..list.len()).find(|at| list.get(*at).is_some_and(about)) else { return };
    // Nobody writes a unit where a name may stand.
    let number = arguments.starts_with("TIMER") || arguments.starts_with("UINT") || arguments.starts_with("INT");
    if let (Some(cure), true) = (meant::plain_value(node, arguments.starts_with("TIMER")), number)
        && let Some(complaint) = list.get_mut(at)
    {
        complaint.help = Some(cure);
        let mut at = 0;
        list.retain(|d| {
            at += 1;
            at <= before || d.class != Class::Note
        });
    }
}

/// Whoever complains of a line and has no cure of its own is given the keyword's: how it is written. A line that asks for what holds
/// without it is not needed.
fn cure<'d, B: Block>(entry: &Entry<B>, node: &Node<'_>, complaints: impl Iterator<Item = &'d mut Diagnostic>) {
    let mut lacking = complaints.filter(|d| d.help.is_none() && d.class.level() != Level::Note).peekable();
    if lacking.peek().is_some() {
        // What stands in a secret's place may be the secret.
        let open = !SECRET_KEYWORDS.contains(&entry.keyword);
        let unknown = node.args.iter().filter(|_| open).find_map(|word| undefined(word.text));
        let help = match (unknown, node.args.as_slice()) {
            (Some(cure), _) => cure,
            (None, [word]) if word.text == entry.default => {
                format!("remove the line: {} is what holds without it", word.text)
            }
            (None, _) => example(entry.keyword, &(entry.facts)().arguments, entry.default),
        };
        lacking.for_each(|complaint| complaint.help = Some(help.clone()));
    }
}

/// A list has no name (but for one): words between its keyword and its `{` are an error and ignored.
fn words_before_list(node: &Node<'_>, cx: &mut Cx<'_>) {
    let name = usize::from(node.keyword.text == "virtual_server_group");
    if let Some(word) = node.args.get(name) {
        let keyword = node.keyword.text;
        let message = format!("`{}` after `{keyword}` is ignored: its list begins with `{{`", word.text);
        cx.mistake(word.span, message, format!("write `{keyword} {{`, and one entry a line"));
    }
}
