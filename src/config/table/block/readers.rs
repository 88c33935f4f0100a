//! The [`Reader`]s: how a keyword's line becomes a field. An entry of a [`block!`](super::block) table picks one.

use super::Block;
use super::Body;
use super::Cx;
use super::Facts;
use super::Reader;
use super::Repeat;
use super::Set;
use super::read_block;
use crate::config::table::values::{Bool, Value};
use crate::config::text::source::Span;
use crate::config::text::tree::Node;

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
        if let Some(first) = field.span() {
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
                    *field = Set::at(value, word.span);
                }
                surplus(node, 1, cx);
            }
            (None, Some(bare)) => *field = Set::at(bare.clone(), node.span),
            (None, None) => {
                if self.missing == Missing::Error {
                    cx.missing(node, &self.value.expected());
                }
                if let Some(value) = self.fallback.clone() {
                    *field = Set::at(value, node.span);
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
        *field = Set::at((), node.span);
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
