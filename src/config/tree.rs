//! Blocks out of lines: the tree of nodes that the language is read from.
//!
//! Which keyword opens a block, which holds a list of entries and which stands alone is the language's knowledge, asked
//! through [`Schema`]; what a keyword means is not known here. Broken braces are taken as keepalived takes them (it never
//! gives up at one), so that everything after the mistake means the same in both.
//!
//! Nodes borrow from the [`Text`]; a word is a slice of it and copying one is free.

use super::diagnostic::{Class, Diagnostic, Diagnostics};
use super::expand::Text;
use super::lexer;
use super::source::Span;

/// One word of a line, quotes taken off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Word<'s> {
    pub text: &'s str,
    /// Where it stands, quotes included. May point into the expanded text:
    /// [`Sources::resolve`](super::source::Sources::resolve) leads to the file and through definitions.
    pub span: Span,
    /// It stood in double quotes, so it may be empty or hold blanks.
    pub quoted: bool,
}

/// One keyword with its words and, for a block or a list, what its braces hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node<'s> {
    pub keyword: Word<'s>,
    pub args: Vec<Word<'s>>,
    /// The line after the keyword, trimmed, quotes and backslashes kept: script options read it again
    /// with [`lexer::script_words`].
    pub raw: &'s str,
    pub raw_span: Span,
    /// `Some` for a block or a list. In a list each node is one line: keyword = first word, args = further words.
    pub body: Option<Vec<Node<'s>>>,
    /// The line from the keyword to its last word (not the body).
    pub span: Span,
}

impl<'s> Node<'s> {
    /// Keyword and arguments as one row of words: how a list entry is read.
    pub fn words(&self) -> impl Iterator<Item = Word<'s>> + '_ {
        std::iter::once(self.keyword).chain(self.args.iter().copied())
    }
}

/// What a keyword opens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// Nothing: the line is all.
    Leaf,
    /// Braces with entries, one a line (or several names a line; the reader decides).
    List,
    /// Braces with keywords; the path that [`Schema::shape`] is asked with inside, such as `vrrp_instance/authentication`.
    Block(&'static str),
    /// No such keyword here.
    Unknown,
}

/// The language's knowledge of which keyword opens what.
pub trait Schema {
    /// `block` is the path of the block that the keyword stands in; "" at the top level.
    fn shape(&self, block: &str, keyword: &str) -> Shape;
}

/// The tree of the whole text. Never fails: what is wrong goes to `diagnostics`. Unknown keywords are in the tree, as
/// nodes without a body, and are not complained about here.
pub fn parse<'s>(text: &'s Text, schema: &dyn Schema, diagnostics: &mut Diagnostics) -> Vec<Node<'s>> {
    let mut top = Vec::new();
    let mut open: Vec<(Node<'s>, Option<&'static str>)> = Vec::new();
    let mut pending: Option<(Node<'s>, Option<&'static str>)> = None;
    for piece in lexer::pieces(text) {
        match piece {
            lexer::Piece::Open(_) => {
                if let Some(opened) = pending.take() {
                    open.push(opened);
                }
            }
            lexer::Piece::Close(span) => match open.pop() {
                Some((node, _)) => open.last_mut().map_or(&mut top, |o| o.0.body.get_or_insert_default()).push(node),
                None => diagnostics.push(Diagnostic::new(Class::Brace, span, "this `}` closes nothing")),
            },
            lexer::Piece::Words { words, raw, raw_span } => {
                let Some((&keyword, rest)) = words.split_first() else { continue };
                let block = open.last().map_or(Some(""), |o| o.1);
                let shape = block.map_or(Shape::Leaf, |b| schema.shape(b, keyword.text));
                let end = words.last().map_or(keyword.span.end, |w| w.span.end);
                let span = Span { end, ..keyword.span };
                let mut node = Node { keyword, args: rest.to_vec(), raw, raw_span, body: None, span };
                match shape {
                    Shape::Block(path) => {
                        node.body = Some(Vec::new());
                        pending = Some((node, Some(path)));
                    }
                    Shape::List => {
                        node.body = Some(Vec::new());
                        pending = Some((node, None));
                    }
                    _ => open.last_mut().map_or(&mut top, |o| o.0.body.get_or_insert_default()).push(node),
                }
            }
        }
    }
    while let Some((node, _)) = open.pop() {
        diagnostics.push(Diagnostic::new(Class::Brace, node.keyword.span, "this block is never closed"));
        open.last_mut().map_or(&mut top, |o| o.0.body.get_or_insert_default()).push(node);
    }
    top
}
