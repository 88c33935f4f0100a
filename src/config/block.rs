//! One keyword, one entry: field, default, parser, repeatability, status, arguments and documentation.
//!
//! [`block!`] makes out of a list of entries a settings struct and its [`Block`] table; from the table come reading
//! ([`read_block`]), the shapes that `tree` asks for, "unknown keyword" with the nearest name, and the listing of
//! `vipctl keywords`. How an entry reads its line is a [`Reader`], an ordinary value: [`last`], [`must`], [`first`],
//! [`toggle`], [`flag`], [`lines`], [`sub`], or [`by`] for what no other fits. Kinds of values are in `values`.
//!
//! Reading only takes in what is said. What follows from several settings together (inherited defaults, strict mode,
//! names) is `resolve`'s; nothing here looks at another entry.

use super::Env;
use super::diagnostic::{Class, Diagnostic, Diagnostics};
use super::global::Global;
use super::line::{Host, LineCx, List};
use super::names::Names;
use super::rule::Preferences;
use super::source::Span;
use super::system::System;
use super::tree::{Node, Word};
use super::values::{Bool, Value};
use rustc_hash::FxHashMap;
use std::borrow::Cow;
use std::cell::Cell;

/// A value and where it was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setting<T> {
    pub value: T,
    pub span: Span,
}

/// A setting that may not have been given.
pub type Set<T> = Option<Setting<T>>;

/// The value of a setting, or what holds without it.
pub fn given<T: Copy>(set: &Set<T>, otherwise: T) -> T {
    set.as_ref().map_or(otherwise, |s| s.value)
}

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
    /// As shown; the value itself is applied by `resolve`.
    pub default: &'static str,
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
/// After the reader may follow, in this order: `default "…"`, and one of `deprecated "…"` (a complaint at each use),
/// `renamed "…"` (a note), `idle "why it has no effect"`.
#[macro_export]
macro_rules! block {
    (@default default $default:literal $($more:tt)*) => { $default };
    (@default $($more:tt)*) => { "-" };
    (@status default $default:literal $($more:tt)*) => { block!(@status $($more)*) };
    (@status) => { $crate::config::block::Status::Works };
    (@status deprecated $why:literal) => { $crate::config::block::Status::Deprecated($why) };
    (@status renamed $why:literal) => { $crate::config::block::Status::Renamed($why) };
    (@status idle $why:literal) => { $crate::config::block::Status::Idle($why) };
    (@entry $owner:ty, $of:ty, $block:ident => $field:expr,
        [$($doc:literal)+] $keyword:literal $how:expr, [$($more:tt)*]) => {
        $crate::config::block::Entry::<$owner> {
            keyword: $keyword,
            doc: concat!($($doc),+),
            default: block!(@default $($more)*),
            status: block!(@status $($more)*),
            read: |$block, node, cx| $crate::config::block::Reader::<$of>::read(&$how, $field, node, cx),
            facts: || $crate::config::block::Reader::<$of>::facts(&$how),
        }
    };
    (
        $(#[doc = $about:literal])+
        $path:literal => $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $keyword:literal => $field:ident : $of:ty = $how:expr
                    $(, $word:ident $text:literal)* ;
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
        impl $crate::config::block::Block for $name {
            const PATH: &'static str = $path;
            const DOC: &'static str = concat!($($about),+);
            fn entries() -> &'static [$crate::config::block::Entry<Self>] {
                static ENTRIES: &[$crate::config::block::Entry<$name>] = &[
                    $( block!(@entry $name, $of, block => &mut block.$field,
                        [$($doc)+] $keyword $how, [$($word $text)*]), )*
                    $($( block!(@entry $name, $aof, block => &mut block.$afield,
                        [$($adoc)+] $akeyword $ahow, [$($aword $atext)*]), )*)?
                    $($( block!(@entry $name, $name, block => block,
                        [$($wdoc)+] $wkeyword $whow, [$($wword $wtext)*]), )*)?
                ];
                ENTRIES
            }
            fn find(keyword: &str) -> Option<&'static $crate::config::block::Entry<Self>> {
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

/// What reading carries along.
pub struct Cx<'a> {
    pub env: &'a Env<'a>,
    pub diagnostics: &'a mut Diagnostics,
    /// `global_defs` and the process keywords; they are read before everything else, wherever they stand.
    pub global: Global,
    /// An argument that cannot be done without is missing: nothing more is read.
    pub aborted: bool,
    /// The configuration cannot be run, whatever else is right.
    pub fatal: bool,
    /// Names defined so far, by the block that defines them: `vrrp_script`, `track_file`, … with their places.
    pub names: FxHashMap<&'static str, FxHashMap<Box<str>, Span>>,
    /// Names of tables, scopes, groups.
    pub iproute: Names<'a>,
    /// The preferences that rules get which name none.
    pub preferences: Preferences,
    /// `track_group`s defined so far.
    pub track_groups: Vec<Box<str>>,
    /// An interface was named that does not exist: keepalived then stops before its checks across blocks.
    pub missing_interface: bool,
    /// What was read and has no effect, one line each.
    pub idle: Vec<Box<str>>,
    /// Where a complaint about a whole block points: the line that opened it.
    pub block: Option<Span>,
    /// The name of the block being read, where it has one.
    pub name: Box<str>,
    /// How many names may still be compared to find what was meant.
    comparisons: Cell<usize>,
}

/// [`System`] as the line languages ask it.
struct HostOf<'a>(&'a dyn System);
impl Host for HostOf<'_> {
    fn has_interface(&self, name: &str) -> bool {
        self.0.interface(name).is_some()
    }
    fn vrf_table(&self, name: &str) -> Option<u32> {
        self.0.interface(name).and_then(|link| link.vrf_table)
    }
}

impl<'a> Cx<'a> {
    pub fn new(env: &'a Env<'a>, iproute: Names<'a>, diagnostics: &'a mut Diagnostics) -> Self {
        Cx {
            env,
            diagnostics,
            global: Global::default(),
            aborted: false,
            fatal: false,
            names: FxHashMap::default(),
            iproute,
            preferences: Preferences::default(),
            track_groups: Vec::new(),
            missing_interface: false,
            idle: Vec::new(),
            block: None,
            name: "".into(),
            comparisons: Cell::new(100_000),
        }
    }
    /// Reads a line of a list: lends what the line languages need, and takes over what they found.
    pub fn line<T>(&mut self, list: List, read: impl FnOnce(&mut LineCx<'_>) -> T) -> T {
        let before = self.diagnostics.list.len();
        let mut cx = LineCx {
            list,
            out: &mut self.diagnostics.list,
            host: &HostOf(self.env.system),
            names: &self.iproute,
            dynamic_interfaces: self.global.dynamic_interfaces.is_some(),
            default_interface: self.global.default_interface.as_ref().map(|set| set.value.as_str()),
            track_groups: &self.track_groups,
            missing_interface: false,
        };
        let value = read(&mut cx);
        self.missing_interface |= cx.missing_interface;
        let new = self.diagnostics.list.get(before..).unwrap_or_default();
        self.aborted |= new.iter().any(|d| d.class == Class::Abort);
        self.diagnostics.keep_most();
        value
    }
}

impl Cx<'_> {
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }
    /// An ordinary mistake: exit code 5.
    pub fn error(&mut self, span: Span, message: impl Into<String>) {
        self.push(Diagnostic::new(Class::General, span, message));
    }
    /// A mistake of a whole block, seen at its end, which is where keepalived reports it.
    pub fn error_of(&mut self, block: &Node<'_>, message: impl Into<String>) {
        let complaint = Diagnostic::new(Class::General, block.span, message);
        self.push(match block.close {
            Some(close) => complaint.related(close, "the block ends here"),
            None => complaint,
        });
    }
    /// Worth a word, no mistake.
    pub fn note(&mut self, span: Span, message: impl Into<String>) {
        self.push(Diagnostic::new(Class::Note, span, message));
    }
    /// The argument that `node` cannot do without is missing: reading stops, exit code 2.
    pub fn abort(&mut self, node: &Node<'_>, expected: &str) {
        self.aborted = true;
        let message = format!("`{}` has no argument; nothing after this line is read", node.keyword.text);
        self.push(Diagnostic::new(Class::Abort, node.span, message).label(format!("expected {expected}")));
    }
    /// The argument is missing, and the keyword is ignored for it.
    pub fn missing(&mut self, node: &Node<'_>, expected: &str) {
        let message = format!("`{}` has no argument and is ignored", node.keyword.text);
        self.push(Diagnostic::new(Class::MissingParameter, node.span, message).label(format!("expected {expected}")));
    }
    /// A mistake of a block as a whole: said at `span`, with the place where the block ends.
    pub fn block_error(&mut self, span: Span, close: Option<Span>, message: impl Into<String>) {
        let complaint = Diagnostic::new(Class::General, span, message);
        self.push(match close {
            Some(close) => complaint.related(close, "the block ends here"),
            None => complaint,
        });
    }
    /// Complains about a second one; `kept` says which of them holds.
    pub fn again(&mut self, span: Span, keyword: &str, first: Span, kept: &str) {
        let message = format!("`{keyword}` is given twice; {kept}");
        self.push(Diagnostic::new(Class::General, span, message).related(first, "first given here"));
    }
    /// Remembers a name; false, with a complaint, when it is taken. keepalived says nothing of a second tracker, and ties
    /// go to the first: a note.
    pub fn define(&mut self, kind: &'static str, name: Word<'_>) -> bool {
        let class = match kind {
            "vrrp_script" | "track_file" | "vrrp_track_process" => Class::Note,
            _ => Class::General,
        };
        if let Some(first) = self.names.get(kind).and_then(|names| names.get(name.text)).copied() {
            let message = format!("there is a {kind} `{}` already; this one is skipped", name.text);
            self.push(Diagnostic::new(class, name.span, message).related(first, "the first one"));
            return false;
        }
        self.names.entry(kind).or_default().insert(name.text.into(), name.span);
        true
    }
    /// Is there such a name so far? keepalived wants most things defined before they are used.
    pub fn defined(&self, kind: &str, name: &str) -> bool {
        self.names.get(kind).is_some_and(|names| names.contains_key(name))
    }
    /// The nearest name of a kind, for "did you mean".
    pub fn nearest(&self, kind: &str, name: &str) -> Option<&str> {
        let names = self.names.get(kind)?;
        // Comparing takes time: a file of thousands of unknown names among thousands of known ones gets no advice.
        let left = self.comparisons.get().checked_sub(names.len())?;
        self.comparisons.set(left);
        nearest(name, names.keys().map(|k| &**k))
    }
    fn unknown(&mut self, path: &str, node: &Node<'_>, names: &[&'static str]) {
        let keyword = node.keyword.text;
        let place = if path.is_empty() { "here, outside all blocks".into() } else { format!("in {path}") };
        let mut complaint =
            Diagnostic::new(Class::UnknownKeyword, node.keyword.span, format!("unknown keyword `{keyword}` {place}"));
        // Looking for what was meant takes time; a file of rubbish has no use for it.
        if self.diagnostics.list.len() > 500 {
            return self.push(complaint);
        }
        let homes = super::keywords::homes(keyword);
        if let Some(near) = nearest(keyword, names.iter().copied()) {
            complaint = complaint.help(format!("did you mean `{near}`?"));
        } else if let Some(home) = homes.first() {
            let home = if home.is_empty() { "outside all blocks" } else { home };
            complaint = complaint.help(match home {
                "outside all blocks" => "this keyword belongs outside all blocks".to_owned(),
                _ => format!("this keyword belongs in {home}"),
            });
        }
        self.push(complaint);
    }
}

/// The candidate nearest to `word`, if it is near enough to be a slip of the keyboard.
pub fn nearest<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let limit = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .filter(|c| c.len().abs_diff(word.len()) <= limit)
        .map(|c| (strsim::damerau_levenshtein(word, c), c))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, c)| c)
}

/// Reads the lines of a block's body into its settings.
pub fn read_block<B: Block>(block: &mut B, nodes: &[Node<'_>], cx: &mut Cx<'_>) {
    for node in nodes {
        if cx.aborted {
            return;
        }
        read_node(block, node, cx);
    }
}

/// Reads one line of a block.
pub fn read_node<B: Block>(block: &mut B, node: &Node<'_>, cx: &mut Cx<'_>) {
    match B::find(node.keyword.text) {
        Some(entry) => {
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
                Status::Idle(why) => cx.idle.push(format!("`{keyword}` has no effect: {why}").into()),
            }
            if node.body.is_some() && !node.args.is_empty() && (entry.facts)().body == Body::List {
                words_before_list(node, cx);
            }
            (entry.read)(block, node, cx);
        }
        None => {
            let names: Vec<_> = B::entries().iter().map(|e| e.keyword).collect();
            cx.unknown(B::PATH, node, &names);
        }
    }
}

/// A list has no name (but for one): words between its keyword and its `{` are an error and ignored.
fn words_before_list(node: &Node<'_>, cx: &mut Cx<'_>) {
    let name = usize::from(node.keyword.text == "virtual_server_group");
    if let Some(word) = node.args.get(name) {
        cx.error(
            word.span,
            format!("`{}` after `{}` is ignored: its list begins with `{{`", word.text, node.keyword.text),
        );
    }
}

/// What a missing argument means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Missing {
    /// keepalived stops reading: exit code 2.
    Abort,
    /// An error; the keyword is ignored.
    Error,
    /// Nothing: the keyword does not count.
    Silent,
}

/// Reads one value into a [`Set`].
pub struct One<V: Value> {
    value: V,
    missing: Missing,
    repeat: Repeat,
    bare: Option<V::Out>,
    fallback: Option<V::Out>,
}

const fn one<V: Value>(value: V, missing: Missing, repeat: Repeat) -> One<V> {
    One { value, missing, repeat, bare: None, fallback: None }
}
/// One value; the last one given wins; without an argument an error.
pub const fn last<V: Value>(value: V) -> One<V> {
    one(value, Missing::Error, Repeat::LastWins)
}
/// One value; the last one given wins; without an argument reading stops (exit code 2).
pub const fn must<V: Value>(value: V) -> One<V> {
    one(value, Missing::Abort, Repeat::LastWins)
}
/// One value; a second one is an error; without an argument an error.
pub const fn first<V: Value>(value: V) -> One<V> {
    one(value, Missing::Error, Repeat::FirstKept)
}
/// One value; a second one is an error; without an argument reading stops (exit code 2).
pub const fn must_first<V: Value>(value: V) -> One<V> {
    one(value, Missing::Abort, Repeat::FirstKept)
}
/// `true`/`on`/`yes`/`false`/`off`/`no`; no word is true.
pub fn toggle() -> One<Bool> {
    last(Bool).bare(true)
}
impl<V: Value> One<V> {
    /// What the keyword means without an argument.
    pub fn bare(mut self, value: V::Out) -> Self {
        self.bare = Some(value);
        self
    }
    /// What a bad argument sets; without this it leaves the setting alone.
    pub fn or(mut self, value: V::Out) -> Self {
        self.fallback = Some(value);
        self
    }
    /// A second one is an error, and taken.
    pub fn replaced(mut self) -> Self {
        self.repeat = Repeat::Replaced;
        self
    }
    /// Without an argument the keyword is silently ignored.
    pub fn silent(mut self) -> Self {
        self.missing = Missing::Silent;
        self
    }
}

impl<V: Value> Reader<Set<V::Out>> for One<V> {
    fn read(&self, field: &mut Set<V::Out>, node: &Node<'_>, cx: &mut Cx<'_>) {
        let keyword = node.keyword.text;
        let word = node.args.first().copied();
        if word.is_none() && self.bare.is_none() && self.missing == Missing::Abort {
            return cx.abort(node, &self.value.expected());
        }
        if let Some(first) = field.as_ref().map(|f| f.span) {
            match self.repeat {
                Repeat::FirstKept => return cx.again(node.span, keyword, first, "the first one holds"),
                Repeat::Replaced => cx.again(node.span, keyword, first, "this one holds"),
                _ => {}
            }
        }
        match (word, &self.bare) {
            (Some(word), _) => {
                let outcome = if self.fallback.is_some() { "; the default is used" } else { " and is ignored" };
                let read = self.value.take_or(word, keyword, outcome, cx);
                if let Some(value) = read.or_else(|| self.fallback.clone()) {
                    *field = Some(Setting { value, span: word.span });
                }
                surplus(node, 1, cx);
            }
            (None, Some(bare)) => *field = Some(Setting { value: bare.clone(), span: node.span }),
            (None, None) => {
                if self.missing == Missing::Error {
                    cx.missing(node, &self.value.expected());
                }
                if let Some(value) = self.fallback.clone() {
                    *field = Some(Setting { value, span: node.span });
                }
            }
        }
    }
    fn facts(&self) -> Facts {
        let kind = self.value.kind();
        let arguments = if self.bare.is_some() { format!("[{kind}]").into() } else { kind };
        Facts { arguments, repeat: self.repeat, body: Body::None }
    }
}

/// Notes words that keepalived ignores without a word.
pub fn surplus(node: &Node<'_>, used: usize, cx: &mut Cx<'_>) {
    if let Some(extra) = node.args.get(used) {
        let end = node.args.last().map_or(extra.span.end, |w| w.span.end);
        let message = format!(
            "`{}` takes {used} argument{}; the rest is ignored",
            node.keyword.text,
            if used == 1 { "" } else { "s" }
        );
        cx.note(Span { end, ..extra.span }, message);
    }
}

/// A keyword without arguments: there or not.
#[derive(Clone, Copy, Debug)]
pub struct Flag;
/// A keyword without arguments: there or not.
pub const fn flag() -> Flag {
    Flag
}
impl Reader<Set<()>> for Flag {
    fn read(&self, field: &mut Set<()>, node: &Node<'_>, cx: &mut Cx<'_>) {
        *field = Some(Setting { value: (), span: node.span });
        surplus(node, 0, cx);
    }
    fn facts(&self) -> Facts {
        Facts { arguments: "none".into(), repeat: Repeat::Flag, body: Body::None }
    }
}

/// A function of its own for what no other reader fits.
pub struct By<F: 'static> {
    function: fn(&mut F, &Node<'_>, &mut Cx<'_>),
    arguments: &'static str,
    repeat: Repeat,
    body: Body,
}
/// Reads with `function`; `arguments` is what the listing shows.
pub const fn by<F>(arguments: &'static str, repeat: Repeat, function: fn(&mut F, &Node<'_>, &mut Cx<'_>)) -> By<F> {
    By { function, arguments, repeat, body: Body::None }
}
/// Braces with one entry a line: `function` gets the whole node, the entries are its body.
pub const fn list<F>(arguments: &'static str, repeat: Repeat, function: fn(&mut F, &Node<'_>, &mut Cx<'_>)) -> By<F> {
    By { function, arguments, repeat, body: Body::List }
}
/// Braces with keywords: `function` gets the whole node; `path` names the block.
pub const fn block_by<F>(
    path: &'static str,
    arguments: &'static str,
    repeat: Repeat,
    function: fn(&mut F, &Node<'_>, &mut Cx<'_>),
) -> By<F> {
    By { function, arguments, repeat, body: Body::Block(path) }
}
impl<F> Reader<F> for By<F> {
    fn read(&self, field: &mut F, node: &Node<'_>, cx: &mut Cx<'_>) {
        (self.function)(field, node, cx);
    }
    fn facts(&self) -> Facts {
        Facts { arguments: self.arguments.into(), repeat: self.repeat, body: self.body }
    }
}

/// Braces with one entry a line, each read alone by a function that gets the line as a node.
pub struct Lines<T: 'static> {
    function: fn(&Node<'_>, &mut Cx<'_>) -> Option<T>,
    arguments: &'static str,
}
/// One entry a line; `function` complains and answers `None` for a bad one.
pub const fn lines<T>(arguments: &'static str, function: fn(&Node<'_>, &mut Cx<'_>) -> Option<T>) -> Lines<T> {
    Lines { function, arguments }
}
impl<T> Reader<Vec<T>> for Lines<T> {
    fn read(&self, field: &mut Vec<T>, node: &Node<'_>, cx: &mut Cx<'_>) {
        for line in node.body.iter().flatten() {
            if cx.aborted {
                return;
            }
            field.extend((self.function)(line, cx));
        }
    }
    fn facts(&self) -> Facts {
        Facts { arguments: format!("LIST({})", self.arguments).into(), repeat: Repeat::Accumulates, body: Body::List }
    }
}

/// A block of keywords without a name, read into one struct however often it stands there.
#[derive(Clone, Copy, Debug)]
pub struct Sub;
/// A block of keywords without a name; several accumulate.
pub const fn sub() -> Sub {
    Sub
}
impl<B: Block> Reader<B> for Sub {
    fn read(&self, field: &mut B, node: &Node<'_>, cx: &mut Cx<'_>) {
        read_block(field, node.body.as_deref().unwrap_or_default(), cx);
    }
    fn facts(&self) -> Facts {
        Facts { arguments: "BLOCK".into(), repeat: Repeat::Accumulates, body: Body::Block(B::PATH) }
    }
}
