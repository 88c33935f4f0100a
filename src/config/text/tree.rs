//! Blocks out of lines: the tree of nodes that the language is read from.
//!
//! Which keyword opens a block, which holds a list of entries and which stands alone is the language's knowledge, asked
//! through [`Schema`]; what a keyword means is not known here. Broken braces are taken as keepalived takes them (it never
//! gives up at one), so that everything after the mistake means the same in both:
//!
//! * a block without its `{` is read as if it were there; so is a list, which keepalived only mentions in its log;
//! * a `{` where none belongs is passed over, and its `}` then ends the block around it. That goes for the block of an
//!   unknown keyword too: its lines are read where the keyword stands (and marked, since most of them mean nothing there);
//! * a `}` is too many when more have closed than opened, whatever they belonged to.
//!
//! Nodes borrow from the [`Text`]; a word is a slice of it and copying one is free.

use super::expand::{Pieces, Text};
use super::lexer;
use super::source::{FileId, Span};
use crate::config::report::{Class, Diagnostic, Diagnostics};

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
    /// with [`lexer::shell_words`].
    pub raw: &'s str,
    pub raw_span: Span,
    /// `Some` for a block or a list. In a list each node is one line: keyword = first word, args = further words.
    pub body: Option<Vec<Node<'s>>>,
    /// The line from the keyword to its last word (not the body).
    pub span: Span,
    /// The `}` of a block or list, where there is one.
    pub close: Option<Span>,
    /// It stands in the braces of a keyword that nobody knows, or behind them in what they closed too early.
    pub stray: bool,
    /// Nobody knows it, and a `{` stands behind it, whose `}` ends the block around it.
    pub opens: bool,
    /// A list with words, or a block with a bracket, where its `{` belongs. That has been said.
    pub spilt: bool,
    /// From here on the lines belong to the block around this list, whose `}` is missing. That has been said.
    pub lost: Option<Span>,
    /// A `$` ends the line, and what follows is a name that was not replaced. That has been said.
    pub cut: bool,
}

impl<'s> Node<'s> {
    /// Keyword and arguments as one row of words: how a list entry is read.
    pub fn words(&self) -> impl Iterator<Item = Word<'s>> + '_ {
        std::iter::once(self.keyword).chain(self.args.iter().copied())
    }
}

/// The cure of a `$NAME` that was not replaced, of a `${NAME:-VALUE}`, which nothing replaces, or of a `@NAME@` that a template left.
pub fn undefined(word: &str) -> Option<String> {
    let inner = word.strip_prefix('@').and_then(|rest| rest.strip_suffix('@')).filter(|name| !name.is_empty());
    if inner.is_some_and(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')) {
        return Some(format!("write what `{word}` stands for: whatever makes this file has not filled it in"));
    }
    let (_, name) = word.split_once('$')?;
    let name = name.trim_start_matches('{');
    let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(name.len());
    let (name, rest) = name.split_at_checked(end).filter(|(name, _)| !name.is_empty())?;
    // Part of a word is not quoted: the whole may be a password, which would be hidden.
    let of_shell = [":-", ":="].iter().any(|sign| rest.starts_with(sign));
    if !of_shell && !matches!(rest, "" | "}") && !rest.starts_with('/') {
        return None;
    }
    if of_shell {
        return Some(format!(
            "only a shell gives a name its value like this: write `${{{name}}}`, and above it `${name}=VALUE`; a variable of the \
             environment is written `${{_ENV {name}}}`"
        ));
    }
    // Without braces a name ends at a blank only.
    let in_braces = rest.starts_with('/') && !word.contains("${");
    let define = if in_braces {
        format!(
            "write `${{{name}}}` in its place, for something follows it; above it, if nothing does yet: `${name}=VALUE`"
        )
    } else {
        define(name)
    };
    // Those of the language itself begin like that.
    let own = name.starts_with('_');
    Some(if own { define } else { define + &format!("; a variable of the environment is written `${{_ENV {name}}}`") })
}

/// The cure of a name that has no value.
fn define(name: &str) -> String {
    format!("define it on a line before: `${name}=VALUE`")
}

/// What is said of a `}` too many.
pub(crate) const SURPLUS: &str = "this `}` closes nothing";

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

    /// Whether two keywords outside all blocks belong to subsystems that read nothing of each other.
    fn are_strangers(&self, _one: &str, _other: &str) -> bool {
        false
    }

    /// Whether the keyword names a command and so reads its line again with the rules of [`lexer::shell_words`]:
    /// a quote that looks open to the first reading is then no mistake.
    fn reads_again(&self, _block: &str, keyword: &str) -> bool {
        keyword == "script"
            || keyword == "misc_path"
            || keyword.starts_with("quorum_")
            || keyword.starts_with("notify")
            || keyword.ends_with("_script")
    }
}

/// The tree of the whole text, kept. Never fails: what is wrong goes to `diagnostics`. Unknown keywords are in the tree,
/// as nodes without a body, and are not complained about here.
pub fn parse<'s>(text: &'s Text, schema: &dyn Schema, diagnostics: &mut Diagnostics) -> Vec<Node<'s>> {
    let mut nodes = Nodes::new(text, schema);
    std::iter::from_fn(|| nodes.next(diagnostics)).collect()
}

/// The nodes outside all blocks, one at a time: the tree of a large configuration takes more memory than what is read
/// from it, and nobody needs more of it at once than one node.
pub struct Nodes<'s, 'd> {
    text: &'s Text,
    pieces: Pieces<'s>,
    builder: Builder<'s, 'd>,
    words: Vec<Word<'s>>,
}

impl<'s, 'd> Nodes<'s, 'd> {
    pub(crate) fn new(text: &'s Text, schema: &'d dyn Schema) -> Self {
        let builder = Builder {
            schema,
            done: None,
            open: Vec::new(),
            depth: 0,
            after_unknown: false,
            after_leaf: None,
            after_dollar: false,
            unreplaced: None,
            misnamed: None,
            ignored: 0,
            unknown: 0,
            wrong: 0,
            braceless: Vec::new(),
        };
        Nodes { text, pieces: text.pieces(), builder, words: Vec::new() }
    }

    /// The next node; what is wrong up to its end goes to `diagnostics`.
    pub fn next(&mut self, diagnostics: &mut Diagnostics) -> Option<Node<'s>> {
        while let Some((line, start)) = self.pieces.next() {
            let span = Span { file: FileId::EXPANDED, start, end: start + line.len() as u32 };
            match line.as_bytes() {
                b"{" => self.builder.brace_opens(span, diagnostics),
                b"}" => self.builder.brace_closes(span, diagnostics),
                _ => {
                    self.words.clear();
                    let unclosed = lexer::words(line, start, &mut self.words);
                    let unclosed = unclosed.filter(|_| !self.text.complained(start));
                    self.builder.line(line, span, &self.words, unclosed, diagnostics);
                }
            }
            if let Some(node) = self.builder.done.take() {
                return Some(node);
            }
        }
        self.builder.finish(diagnostics)
    }

    /// How far the text has been read, in bytes.
    pub fn position(&self) -> usize {
        self.pieces.position()
    }

    /// Whether a line that has not been read begins with one of these words.
    pub fn has_line_of(&self, keywords: &[&str]) -> bool {
        let word = |line: &'s str| line.split(|c| lexer::is_space(c) || c == '"').find(|word| !word.is_empty());
        self.pieces.clone().any(|(line, _)| word(line).is_some_and(|word| keywords.contains(&word)))
    }

    /// Where the last line begins that may begin with one of these keywords, of those that have not been read; 0 without
    /// one.
    pub fn last_line_of(&self, keywords: &[&str]) -> usize {
        let mut firsts = [false; 256];
        keywords
            .iter()
            .filter_map(|keyword| keyword.bytes().next())
            .for_each(|first| firsts[usize::from(first)] = true);
        let mut last = 0;
        for (line, start) in self.pieces.clone() {
            // Most lines are told apart by their first letter.
            let may_be = line.bytes().next().is_some_and(|first| firsts[usize::from(first)] || first == b'"');
            if may_be && keywords.iter().any(|keyword| line.trim_start_matches('"').starts_with(keyword)) {
                last = start as usize;
            }
        }
        last
    }
}

/// A block or list whose end has not come.
struct Open<'s> {
    node: Node<'s>,
    kind: Kind,
    brace: Brace,
    /// A list in it that has no `{`, and the `}` at which that ended: it may have been this block's.
    robbed: Option<(Span, Span)>,
    /// Its `{` and `}` were meant to be those of a name, and its own are still to come.
    misnamed: bool,
}

enum Kind {
    List,
    Block(&'static str),
}

/// The `{` of an open block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Brace {
    Awaited,
    Seen,
    Missing,
}

struct Builder<'s, 'd> {
    schema: &'d dyn Schema,
    /// A node outside all blocks whose end has come.
    done: Option<Node<'s>>,
    open: Vec<Open<'s>>,
    /// Braces that opened minus braces that closed, whatever they belonged to: keepalived's own count.
    depth: usize,
    /// The last line was a keyword that nobody knows, so a `{` after it is its own.
    after_unknown: bool,
    /// The last line was a setting outside all blocks, which has no braces.
    after_leaf: Option<&'s str>,
    /// The last line ended in `$`, so a `{` after it belongs to a name that was not replaced.
    after_dollar: bool,
    /// The `{` of such a name; what follows it is the name.
    unreplaced: Option<Span>,
    /// The same of a `{` that has opened the block whose own name ends in `$`.
    misnamed: Option<Span>,
    /// Braces that were passed over, with or without a complaint, and whose `}` is still to come.
    ignored: usize,
    /// Those of them that stood behind a keyword that nobody knows.
    unknown: usize,
    /// Lines of one `)` or `]`: each was meant to close something.
    wrong: usize,
    /// Blocks and lists without their `{`, whose `}` has not yet been too many.
    braceless: Vec<Span>,
}

/// The line that opens a block, without a bracket of another kind and without the `=` of other programs' files.
fn written(node: &Node<'_>) -> String {
    let words = node.words().filter(|word| word.quoted || !matches!(word.text, "(" | "[" | "="));
    words
        .map(|word| if word.quoted { format!("\"{}\"", word.text) } else { word.text.to_owned() })
        .collect::<Vec<_>>()
        .join(" ")
}

impl<'s> Builder<'s, '_> {
    fn line(
        &mut self,
        line: &'s str,
        whole: Span,
        words: &[Word<'s>],
        unclosed: Option<Span>,
        diagnostics: &mut Diagnostics,
    ) {
        let Some((&keyword, args)) = words.split_first() else {
            if let Some(quote) = unclosed {
                self.report_quote(quote, diagnostics);
            }
            return;
        };
        if let Some(brace) = self.unreplaced.take() {
            self.report_unreplaced(brace, keyword, diagnostics);
        }
        if let Some(brace) = self.misnamed.take()
            && self.is_name_of_block(keyword, args, brace, diagnostics)
        {
            return;
        }
        self.after_dollar = line.ends_with('$');
        if !self.ends_before_stranger(keyword, diagnostics) {
            self.miss_brace(whole, diagnostics);
        }
        let block = match self.open.last().map(|open| &open.kind) {
            None => Some(""),
            Some(Kind::Block(path)) => Some(*path),
            Some(Kind::List) => None,
        };
        if args.is_empty() && !keyword.quoted && matches!(keyword.text, ")" | "]") {
            self.report_bracket(keyword, diagnostics);
            return;
        }
        let read_again = || block.is_some_and(|block| self.schema.reads_again(block, keyword.text));
        if let Some(quote) = unclosed.filter(|_| args.is_empty() || !read_again()) {
            self.report_quote(quote, diagnostics);
        }
        let shape = block.map_or(Shape::Leaf, |block| self.schema.shape(block, keyword.text));
        let behind = line.get((keyword.span.end - whole.start) as usize..).unwrap_or("");
        let behind = behind.trim_start_matches(lexer::is_space);
        let (raw, raw_at) = (behind.trim_end_matches(lexer::is_space), whole.end - behind.len() as u32);
        let end = args.last().map_or(keyword.span.end, |word| word.span.end);
        let outside = shape == Shape::Unknown && self.is_robbed_of(keyword, diagnostics);
        let node = Node {
            keyword,
            args: args.to_vec(),
            raw,
            raw_span: Span { start: raw_at, end: raw_at + raw.len() as u32, ..whole },
            body: None,
            span: Span { end, ..keyword.span },
            close: None,
            stray: self.unknown > 0 || outside,
            opens: false,
            spilt: false,
            lost: None,
            cut: false,
        };
        self.after_unknown = shape == Shape::Unknown;
        self.after_leaf = (block == Some("") && shape == Shape::Leaf).then_some(keyword.text);
        match shape {
            Shape::Leaf | Shape::Unknown => self.add(node),
            Shape::List => self.start(node, Kind::List),
            Shape::Block(path) => self.start(node, Kind::Block(path)),
        }
    }

    /// Ends a block without `{` before one that another subsystem reads. Each of keepalived's processes passes over what it does not
    /// read, so the other block is whole for its own process.
    fn ends_before_stranger(&mut self, keyword: Word<'_>, diagnostics: &mut Diagnostics) -> bool {
        let [open] = self.open.as_slice() else { return false };
        let head = &open.node;
        if open.brace != Brace::Awaited || !self.schema.are_strangers(head.keyword.text, keyword.text) {
            return false;
        }
        let message = format!("`{}` is not followed by `{{`", head.keyword.text);
        diagnostics.push(
            Diagnostic::new(Class::Brace, head.span, message)
                .label("a block begins here")
                .related(keyword.span, "it ends before this one, empty")
                .help(format!("write `{} {{`, what belongs into it, and `}}`", written(head))),
        );
        self.done = self.open.pop().map(|open| open.node);
        true
    }

    fn start(&mut self, mut node: Node<'s>, kind: Kind) {
        node.body = Some(Vec::new());
        self.open.push(Open { node, kind, brace: Brace::Awaited, robbed: None, misnamed: false });
    }
    fn add(&mut self, node: Node<'s>) {
        match self.open.last_mut().and_then(|open| open.node.body.as_mut()) {
            Some(body) => body.push(node),
            None => self.done = Some(node),
        }
    }

    fn brace_opens(&mut self, span: Span, diagnostics: &mut Diagnostics) {
        self.depth += 1;
        if let Some(open) = self.open.last_mut().filter(|open| open.brace == Brace::Awaited) {
            open.brace = Brace::Seen;
            self.misnamed = std::mem::take(&mut self.after_dollar).then_some(span);
            return;
        }
        self.ignored += 1;
        if std::mem::take(&mut self.after_dollar) {
            self.unreplaced = Some(span);
            self.after_unknown = false;
            self.unknown += 1;
            if let Some(node) = self.open.last_mut().and_then(|open| open.node.body.as_mut()?.last_mut()) {
                node.cut = true;
            }
            return;
        }
        // Of a block that nobody knows, the keyword is complained about; that is enough.
        if self.is_lost_from(span, diagnostics) {
            self.after_unknown = false;
        } else if std::mem::take(&mut self.after_unknown) {
            self.unknown += 1;
            let around = self.open.last_mut().and_then(|open| open.node.body.as_mut());
            if let Some(node) = around.and_then(|body| body.last_mut()) {
                node.opens = true;
            }
        } else if self.unknown > 0 {
            // Within such a block nobody can tell what its braces are for.
            self.unknown += 1;
        } else if !self.open.last().is_some_and(|open| open.node.spilt) {
            self.report_unexpected(span, diagnostics);
            // What stands in the braces of a setting is not complained about either.
            self.unknown += usize::from(self.after_leaf.is_some());
        }
    }

    /// Whether the list that is open lacks its `}`: the line before this `{` opens a block or list of the block around it. Said once.
    fn is_lost_from(&mut self, brace: Span, diagnostics: &mut Diagnostics) -> bool {
        let [.., around, open] = self.open.as_mut_slice() else { return false };
        let (Kind::Block(path), Kind::List, Brace::Seen) = (&around.kind, &open.kind, open.brace) else { return false };
        let Some(last) = open.node.body.as_ref().and_then(|body| body.last()) else { return false };
        if !matches!(self.schema.shape(path, last.keyword.text), Shape::List | Shape::Block(_)) {
            return false;
        }
        // Settings of the block around it that stand above are lost with it.
        let body = open.node.body.as_deref().unwrap_or_default();
        let is_setting = |line: &&Node<'_>| self.schema.shape(path, line.keyword.text) != Shape::Unknown;
        let first = body.iter().rev().take_while(is_setting).last().unwrap_or(last);
        let (list, next, at) = (open.node.keyword, first.keyword, first.span);
        if open.node.lost.replace(at).is_none() {
            let message = format!("the `}}` of `{}` is missing above `{}`", list.text, next.text);
            diagnostics.push(
                Diagnostic::new(Class::Brace, Span { end: brace.end, ..at }, message)
                    .label("read as a line of the list, and what follows with it")
                    .related(list.span, "the list that is not closed")
                    .help("write `}` on a line before it"),
            );
        }
        true
    }

    fn brace_closes(&mut self, span: Span, diagnostics: &mut Diagnostics) {
        self.after_dollar = false;
        if let Some(brace) = self.unreplaced.take() {
            self.report_unexpected(brace, diagnostics);
        }
        self.miss_brace(span, diagnostics);
        self.misnamed = None;
        self.after_unknown = self.open.last().is_some_and(|open| open.misnamed);
        self.after_leaf = None;
        let surplus = self.depth == 0;
        self.depth = self.depth.saturating_sub(1);
        match self.open.pop() {
            Some(mut open) => {
                open.node.close = Some(span);
                if surplus {
                    self.report_surplus(
                        span,
                        (open.brace == Brace::Missing).then_some(open.node.keyword.span),
                        diagnostics,
                    );
                } else if open.node.spilt && matches!(open.kind, Kind::List) && open.brace == Brace::Missing {
                    let list = open.node.span;
                    if let Some(around) = self.open.last_mut() {
                        around.robbed = Some((list, span));
                    }
                }
                self.add(open.node);
            }
            // The `}` of a `{` that was passed over has been explained there.
            None if self.ignored > 0 && !surplus => {
                self.ignored -= 1;
                self.unknown = self.unknown.saturating_sub(1);
            }
            None => self.report_surplus(span, None, diagnostics),
        }
    }

    /// Whether this keyword would stand outside all blocks if a list without its `{` had not ended at the `}` of the block that
    /// is open. Said at the list.
    fn is_robbed_of(&self, keyword: Word<'_>, diagnostics: &mut Diagnostics) -> bool {
        let Some((around, (list, close))) = self.open.last().and_then(|open| Some((open, open.robbed?))) else {
            return false;
        };
        let outside = self.schema.shape("", keyword.text) != Shape::Unknown;
        if let Some(told) = diagnostics.list.iter_mut().rev().find(|d| outside && d.span == Some(list))
            && told.related.iter().all(|(span, _)| *span != close)
        {
            let message =
                format!("so that this `}}` ends the list, and {} goes on behind it", around.node.keyword.text);
            told.related.push((close, message));
        }
        outside
    }

    /// Something other than `{` comes where a block has to begin.
    fn miss_brace(&mut self, at: Span, diagnostics: &mut Diagnostics) {
        let Some(open) = self.open.last_mut() else { return };
        if open.brace != Brace::Awaited {
            return;
        }
        open.brace = Brace::Missing;
        let keyword = open.node.keyword;
        let list = matches!(open.kind, Kind::List);
        let named = usize::from(keyword.text == "virtual_server_group");
        if list && open.node.args.len() > named {
            open.node.spilt = true;
            let message = format!("`{}` is not followed by `{{`", keyword.text);
            let label = "its list begins with `{`; all lines up to the next `}` are read as part of it";
            let help = format!("write `{} {{`, one entry a line, and `}}` on a line behind them", keyword.text);
            diagnostics.push(Diagnostic::new(Class::Brace, open.node.span, message).label(label).help(help));
            self.braceless.push(open.node.span);
            return;
        }
        let last = open.node.args.last();
        open.node.spilt = last.is_some_and(|word| !word.quoted && matches!(word.text, "(" | "["));
        // keepalived only mentions a list without braces in its log; the `}` that it lacks is the error.
        let class = if list { Class::Note } else { Class::Brace };
        let message = format!("`{}` is not followed by `{{`", keyword.text);
        diagnostics.push(
            Diagnostic::new(class, open.node.span, message)
                .label("a block begins here")
                .related(at, "read as if it were inside")
                .help(format!("write `{} {{`", written(&open.node))),
        );
        self.braceless.push(open.node.span);
    }

    fn report_unexpected(&self, span: Span, diagnostics: &mut Diagnostics) {
        if diagnostics.counts_only(Class::Brace) {
            return;
        }
        let mut diagnostic = Diagnostic::new(Class::Brace, span, "this `{` opens nothing")
            .label("ignored; its `}` will close the block around it")
            .help("remove it with its `}`, or write the keyword of the block in front of it");
        if let Some(open) = self.open.last() {
            diagnostic = diagnostic.related(open.node.keyword.span, "inside this block");
        }
        if let Some(keyword) = self.after_leaf {
            let meant = format!("vrrp_{keyword}");
            diagnostic = diagnostic.label("what stands in its braces is not read as a block").help(
                match self.schema.shape("", &meant) {
                    Shape::Block(_) => format!("did you mean `{meant}`? `{keyword}` is a setting, and has no block"),
                    _ => format!("`{keyword}` is a setting, and has no block: remove the `{{` with its `}}`"),
                },
            );
        }
        diagnostics.push(diagnostic);
    }

    /// `${NAME}` that stayed: the most likely cause of a `{` in the middle of a line.
    fn report_unreplaced(&self, brace: Span, name: Word<'_>, diagnostics: &mut Diagnostics) {
        let message = format!("`${{{}}}` is not replaced, so its braces are taken for those of a block", name.text);
        diagnostics.push(
            Diagnostic::new(Class::Brace, name.span, message)
                .label("not defined above")
                .related(brace, "ignored; its `}` closes the block around it")
                .help(undefined(&format!("${}", name.text)).unwrap_or_else(|| define(name.text))),
        );
    }

    /// Whether the first line of a block is no setting but the name that was meant to be a part of the block's own.
    fn is_name_of_block(
        &mut self,
        name: Word<'_>,
        args: &[Word<'_>],
        brace: Span,
        diagnostics: &mut Diagnostics,
    ) -> bool {
        let Some(open) = self.open.last_mut() else { return false };
        let known = match open.kind {
            Kind::Block(path) => self.schema.shape(path, name.text) != Shape::Unknown,
            Kind::List => true,
        };
        if known || !args.is_empty() {
            return false;
        }
        open.misnamed = true;
        self.report_unreplaced(brace, name, diagnostics);
        true
    }

    fn report_surplus(&mut self, span: Span, list: Option<Span>, diagnostics: &mut Diagnostics) {
        // What a block has no `{` for, its `}` is too many: one mistake, which keepalived sees here.
        let missing = self.braceless.pop();
        let told = |d: &&mut Diagnostic| d.span == missing && matches!(d.class, Class::Note | Class::Brace);
        if let Some(told) = missing.and_then(|_| diagnostics.list.iter_mut().rev().find(told)) {
            told.class = Class::Brace;
            told.related.push((span, "so that this `}` closes nothing".into()));
            return;
        }
        if diagnostics.counts_only(Class::Brace) {
            return;
        }
        let mut diagnostic = Diagnostic::new(Class::Brace, span, SURPLUS);
        if let Some(list) = list {
            diagnostic = diagnostic.related(list, "the `{` is missing here");
        }
        diagnostics.push(diagnostic.help("remove it, or look for a `{` that is missing above"));
    }

    fn report_bracket(&mut self, bracket: Word<'_>, diagnostics: &mut Diagnostics) {
        // Of its opening one the line that it stands in is complained about.
        if self.open.iter().any(|open| open.brace == Brace::Missing) {
            return;
        }
        self.wrong += 1;
        if let Some(open) = self.open.last_mut().filter(|open| matches!(open.kind, Kind::List)) {
            open.node.lost.get_or_insert(bracket.span);
        }
        diagnostics.push(
            Diagnostic::new(Class::Brace, bracket.span, format!("`{}` closes nothing", bracket.text))
                .label("blocks and lists end with `}`")
                .help("write `}`"),
        );
    }

    fn report_quote(&self, span: Span, diagnostics: &mut Diagnostics) {
        diagnostics.push(
            Diagnostic::new(Class::Quote, span, "this quote is never closed")
                .label("from here to the end of the line")
                .help("write the second `\"` on the same line"),
        );
    }

    /// The text has ended: what is open ends with it. Asked again, there is nothing more.
    fn finish(&mut self, diagnostics: &mut Diagnostics) -> Option<Node<'s>> {
        if let Some(span) = self.open.last().map(|open| open.node.span) {
            self.miss_brace(span, diagnostics);
        }
        if let Some(brace) = self.unreplaced.take() {
            self.report_unexpected(brace, diagnostics);
        }
        // What was passed over has been complained about.
        let depth = std::mem::take(&mut self.depth);
        if depth > self.ignored + self.wrong {
            let mut unclosed = self.open.iter().rev().filter(|open| open.brace == Brace::Seen);
            if let Some(innermost) = unclosed.next() {
                let message = match depth {
                    1 => "this block is never closed".to_string(),
                    depth => format!("this block is never closed; {depth} `}}` are missing at the end"),
                };
                let mut diagnostic =
                    Diagnostic::new(Class::Brace, innermost.node.span, message).help("add the missing `}`");
                for open in unclosed.take(8) {
                    diagnostic = diagnostic.related(open.node.keyword.span, "nor is this one");
                }
                diagnostics.push(diagnostic);
            }
        }
        while let Some(open) = self.open.pop() {
            self.add(open.node);
        }
        self.done.take()
    }
}
