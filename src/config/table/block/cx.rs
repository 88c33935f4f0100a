//! [`Cx`]: what goes along while a configuration is read, and every way to complain about a line of it.
//!
//! It knows names, the machine and where reading stands; it never looks at settings. Wording that several keywords share
//! stands here, so that one kind of mistake has one sentence.

use crate::config::global::Global;
use crate::config::line::names::Names;
use crate::config::line::rule::Preferences;
use crate::config::line::{Host, LineCx, List};
use crate::config::report::{Class, Diagnostic, Diagnostics, Level};
use crate::config::system::System;
use crate::config::table::block::nearest;
use crate::config::text::source::Span;
use crate::config::text::tree::{Node, Word};
use crate::config::{Env, Subsystems};
use rustc_hash::{FxHashMap, FxHashSet};
use std::cell::Cell;

/// Said of a block that nobody knows: what stands behind it in the block around it is lost.
pub(crate) const ENDS_AROUND: &str = "its `}` ends the block around it: what follows is not read";

/// Stands among the keywords of a block that were complained about when one that nobody knows ended the block too early: it may
/// have held anything.
pub(super) const CUT_SHORT: &str = "{";

/// What reading carries along.
pub struct Cx<'a> {
    pub env: &'a Env<'a>,
    pub diagnostics: &'a mut Diagnostics,
    /// What is read for whom.
    pub subsystems: Subsystems,
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
    /// Keywords without effect that have been named.
    idle: FxHashSet<Box<str>>,
    /// Where a complaint about a whole block points: the line that opened it.
    pub block: Option<Span>,
    /// The name of the block being read, where it has one.
    pub name: Box<str>,
    /// Keywords whose line was complained about, with where these lines begin, in order.
    pub(super) spoilt_lines: FxHashMap<Box<str>, Vec<u32>>,
    /// How many names may still be compared to find what was meant.
    comparisons: Cell<usize>,
    /// The blocks that the lines read last belong to, where they stand in another one: one brace too many or too few puts a whole row
    /// of them there.
    pub(super) stranded: Vec<&'static str>,
    /// The first of them outside all blocks, behind a block that may have ended too early.
    pub(super) thrown_out: Option<Span>,
    /// Names whose definition has a blank before its `=`.
    pub(super) misdefined: Vec<Box<str>>,
    /// Where the last line of such a definition ends, if it has further ones.
    pub(super) runs_on: Option<u32>,
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
    pub(crate) fn new(env: &'a Env<'a>, iproute: Names<'a>, diagnostics: &'a mut Diagnostics) -> Self {
        Cx {
            env,
            diagnostics,
            subsystems: Subsystems::ALL,
            global: Global::default(),
            aborted: false,
            fatal: false,
            names: FxHashMap::default(),
            iproute,
            preferences: Preferences::default(),
            track_groups: Vec::new(),
            missing_interface: false,
            idle: FxHashSet::default(),
            block: None,
            name: "".into(),
            spoilt_lines: FxHashMap::default(),
            comparisons: Cell::new(100_000),
            stranded: Vec::new(),
            thrown_out: None,
            misdefined: Vec::new(),
            runs_on: None,
        }
    }
    /// Reads a line of a list: lends what the line languages need, and takes over what they found. `form` is how such a line
    /// is written, which is the cure of a complaint that has none of its own.
    pub fn line<T>(&mut self, list: List, form: &str, read: impl FnOnce(&mut LineCx<'_>) -> T) -> T {
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
        for complaint in self.diagnostics.list.iter_mut().skip(before) {
            self.aborted |= complaint.class == Class::Abort;
            if complaint.help.is_none() && complaint.class.level() != Level::Note {
                complaint.help = Some(format!("write `{form}`"));
            }
        }
        self.diagnostics.keep_most();
        value
    }
}

/// What a block is called among the spoilt lines: no keyword has a blank.
pub(super) fn named(keyword: &str, name: &str) -> Box<str> {
    format!("{keyword} {name}").into()
}

impl Cx<'_> {
    /// Says it, unless reading has ended: what is missing then may stand where nobody looks.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if !self.aborted || diagnostic.class == Class::Abort {
            self.diagnostics.push(diagnostic);
        }
    }
    /// A line of this keyword has been complained about.
    pub(crate) fn spoil(&mut self, node: &Node<'_>) {
        self.spoilt_lines.entry(node.keyword.text.into()).or_default().push(node.span.start);
    }
    /// Class of the complaint that a block is without one of these keywords: it only follows if there is a line of it that was
    /// wrong, which has been said there. `block`: from its head to its end.
    pub fn class_without(&self, keywords: &[&str], (head, close): (Span, Option<Span>)) -> Class {
        let inside = head.start..close.map_or(u32::MAX, |close| close.start);
        let spoilt = |keyword: &&str| {
            let starts = self.spoilt_lines.get(*keyword)?;
            starts.get(starts.partition_point(|start| *start < inside.start)).filter(|start| **start < inside.end)
        };
        if keywords.iter().chain(&[CUT_SHORT]).any(|keyword| spoilt(keyword).is_some()) {
            Class::Follows
        } else {
            Class::General
        }
    }
    /// This line has been complained about.
    pub(crate) fn is_spoilt(&self, node: &Node<'_>) -> bool {
        self.spoilt_lines.get(node.keyword.text).is_some_and(|starts| starts.contains(&node.span.start))
    }
    /// A block of this name stands where it is not read, and why has been said there.
    pub(crate) fn is_lost(&self, keyword: &str, name: &str) -> bool {
        self.spoilt_lines.contains_key(&*named(keyword, name))
    }
    /// Any line of this keyword has been complained about.
    pub fn spoilt(&self, keyword: &str) -> bool {
        self.spoilt_lines.contains_key(keyword)
    }
    /// Lets the complaint about a misspelt `keyword`, or about the list that it has gone into, stand for what follows from it, which counts as much as `class`: false where
    /// there is none.
    pub fn stands_for(&mut self, keyword: &str, class: Class) -> bool {
        let Some(starts) = self.spoilt_lines.get(keyword) else { return false };
        let of_it = |d: &&mut Diagnostic| {
            matches!(d.class, Class::UnknownKeyword | Class::Brace)
                && d.span.is_some_and(|span| starts.contains(&span.start))
        };
        let told = self.diagnostics.list.iter_mut().find(of_it);
        told.map(|told| told.class = told.class.max(class)).is_some()
    }
    /// This reason has been given for another complaint.
    pub fn told(&self, reason: &str) -> bool {
        self.diagnostics.list.iter().any(|d| d.class.is_mistake() && d.message.ends_with(reason))
    }
    /// As [`Cx::block_error`], for a block that is without one of `keywords`.
    pub fn lacks(
        &mut self,
        keywords: &[&str],
        head: Span,
        close: Option<Span>,
        message: impl Into<String>,
        cure: impl Into<String>,
    ) {
        self.left_out(self.class_without(keywords, (head, close)), (head, close), message, cure);
    }
    /// A block is left out, for a reason that counts as much as `class` says.
    pub fn left_out(
        &mut self,
        class: Class,
        (head, close): (Span, Option<Span>),
        message: impl Into<String>,
        cure: impl Into<String>,
    ) {
        self.push(Diagnostic::new(class, head, message).help(cure).ends_at(close));
    }
    /// An ordinary mistake of a keyword's line: exit code 5. Its cure is how the keyword is written.
    pub fn error(&mut self, span: Span, message: impl Into<String>) {
        self.push(Diagnostic::new(Class::General, span, message));
    }
    /// An ordinary mistake with a cure of its own.
    pub fn mistake(&mut self, span: Span, message: impl Into<String>, cure: impl Into<String>) {
        self.push(Diagnostic::new(Class::General, span, message).help(cure));
    }
    /// A mistake of a whole block, seen at its end, which is where keepalived reports it.
    pub fn error_of(&mut self, block: &Node<'_>, message: impl Into<String>, cure: impl Into<String>) {
        self.block_error(block.span, block.close, message, cure);
    }
    /// Worth a word, no mistake.
    pub fn note(&mut self, span: Span, message: impl Into<String>) {
        self.push(Diagnostic::new(Class::Note, span, message));
    }
    /// Notes what stands behind an address in one word with it, which keepalived passes over.
    pub fn unread(&mut self, word: Word<'_>) {
        if let Some(problem) = crate::config::table::values::unread(word.text) {
            self.note(word.span, problem);
        }
    }
    /// The argument that `node` cannot do without is missing: reading stops, exit code 2.
    pub fn abort(&mut self, node: &Node<'_>, expected: &str) {
        self.aborted = true;
        if lost_to_quote(node) {
            let told = self.diagnostics.list.iter_mut().rev();
            let inside = |span: Span| (node.span.start..=node.raw_span.end).contains(&span.start);
            if let Some(quote) = told.into_iter().find(|d| d.class == Class::Quote && d.span.is_some_and(inside)) {
                quote.class = Class::Abort;
                quote.message = format!("{}, and nothing after this line is read", quote.message);
                return;
            }
        }
        if let Some(told) = self.unreplaced(node) {
            told.class = Class::Abort;
            told.message = format!("{}, and nothing after this line is read", told.message);
            return;
        }
        let brace = |d: &Diagnostic| {
            d.class == Class::Brace && d.span.is_some_and(|s| (node.span.end..=node.span.end + 2).contains(&s.start))
        };
        if let Some(at) = self.diagnostics.list.iter().position(brace) {
            // Of a template that nobody filled in, or a block where a value belongs.
            let after = |d: &Diagnostic| d.span.is_some_and(|span| span.start > node.span.end);
            let mut place = 0;
            self.diagnostics.list.retain(|d| {
                place += 1;
                place - 1 == at || !(after(d) && matches!(d.class, Class::Brace | Class::Note))
            });
            if let Some(told) = self.diagnostics.list.iter_mut().find(|d| brace(d)) {
                told.class = Class::Abort;
                told.message =
                    format!("`{}` has a `{{` for its argument; nothing after this line is read", node.keyword.text);
                told.label = Some(format!("expected {expected}"));
                told.help = Some("write the value behind the keyword, without braces".to_owned());
                return;
            }
        }
        let message = format!("`{}` has no argument; nothing after this line is read", node.keyword.text);
        self.push(Diagnostic::new(Class::Abort, node.span, message).label(format!("expected {expected}")));
    }
    /// The complaint that a definition is not there whose name is this line's keyword, which it was not meant to be.
    fn unreplaced(&mut self, node: &Node<'_>) -> Option<&mut Diagnostic> {
        let about = |d: &&mut Diagnostic| d.class == Class::Brace && d.span == Some(node.keyword.span);
        if node.args.is_empty() { self.diagnostics.list.iter_mut().rev().find(about) } else { None }
    }
    /// Names a keyword that nothing acts on, once a file.
    pub(crate) fn without_effect(&mut self, node: &Node<'_>, why: &str) {
        let keyword = node.keyword.text;
        if self.idle.insert(keyword.into()) {
            let message = format!("`{keyword}` has no effect here: {why}");
            self.push(Diagnostic::new(Class::Idle, node.keyword.span, message));
        }
    }
    /// Names a line whose keyword is given once more, with another value, at `holds`.
    pub(crate) fn overridden(&mut self, node: &Node<'_>, holds: Span) {
        let message = format!("`{}` has no effect here: it is given once more below", node.keyword.text);
        let complaint = Diagnostic::new(Class::Idle, node.span, message).related(holds, "this one holds");
        self.push(complaint.help("remove one of the two"));
    }
    /// The argument is missing, and the keyword is ignored for it. One that was lost to a quote has been told there.
    pub fn missing(&mut self, node: &Node<'_>, expected: &str) {
        if lost_to_quote(node) || self.unreplaced(node).is_some() {
            return self.spoil(node);
        }
        let message = format!("`{}` has no argument and is ignored", node.keyword.text);
        self.push(Diagnostic::new(Class::MissingParameter, node.span, message).label(format!("expected {expected}")));
    }
    /// A mistake of a block as a whole: said at `span`, with the place where the block ends.
    pub fn block_error(
        &mut self,
        span: Span,
        close: Option<Span>,
        message: impl Into<String>,
        cure: impl Into<String>,
    ) {
        self.left_out(Class::General, (span, close), message, cure);
    }
    /// Complains about a second one; `kept` says which of them holds.
    pub fn again(&mut self, span: Span, keyword: &str, first: Span, kept: &str) {
        let message = format!("`{keyword}` is given twice; {kept}");
        let complaint = Diagnostic::new(Class::General, span, message).related(first, "first given here");
        self.push(complaint.help("keep one of the two"));
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
            let complaint = Diagnostic::new(class, name.span, message).related(first, "the first one");
            self.push(complaint.help(match kind {
                // Under another name alone it would be a second router beside the first.
                "vrrp_instance" => "remove it, or give it another name, and another virtual_router_id and addresses",
                _ => "remove it, or give it another name",
            }));
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
    /// A line has been read that belongs where it stands.
    pub(crate) fn belongs(&mut self) {
        self.stranded.clear();
    }
    /// Takes back what was complained about inside a list without its `{`, from this complaint on: it follows from that, as does what
    /// the block lacks because its lines went into the list.
    pub(crate) fn spill(&mut self, node: &Node<'_>, before: usize, keyword: impl Fn(&str) -> bool) {
        self.diagnostics.list.truncate(before);
        self.spoil(node);
        for line in node.body.iter().flatten().filter(|line| keyword(line.keyword.text)) {
            // Of the list, since that is where it is said, and of the line.
            self.spoilt_lines.entry(line.keyword.text.into()).or_default().push(node.span.start);
            self.spoil(line);
        }
    }
    /// Takes back what was complained about, from this complaint on, in lines that broken braces put where they are.
    pub(crate) fn forget_lost(&mut self, node: &Node<'_>, before: usize) {
        if node.cut {
            self.diagnostics.list.truncate(before);
            self.spoilt_lines.entry(CUT_SHORT.into()).or_default().push(node.span.start);
            self.spoil(node);
        }
        let Some(lost) = node.lost else { return };
        let mut at = 0;
        self.diagnostics.list.retain(|complaint| {
            at += 1;
            at <= before || complaint.span.is_none_or(|span| span.start < lost.start)
        });
        self.spoil(node);
        for line in node.body.iter().flatten().filter(|line| line.span.start >= lost.start) {
            self.spoil(line);
        }
    }
}

/// The line has an argument, but no word could be made of it: its quote is never closed.
pub fn lost_to_quote(node: &Node<'_>) -> bool {
    node.args.is_empty() && node.raw.contains(['"', '\''])
}
