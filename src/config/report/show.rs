//! Complaints as people and tools read them: with the line and the words underlined, as one line each, or as JSON.
//!
//! All three are in the order of the files, say a complaint that a sequence repeats only once, and tell no secret.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Element, Group, Level as Mark, Renderer, Snippet};
use serde::Serialize;

use super::Class;
use super::Diagnostic;
use super::Diagnostics;
use super::Level;
use super::odd::unseen;
use super::secrets::hide;
use crate::config::text::source::{FileId, Span, is_stray};

/// How complaints are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// The line, the words underlined, related places, the cure. For terminals.
    Full { colour: bool },
    /// `FILE:LINE:COLUMN: error: message (label; help: cure)`, a line each. For logs.
    Plain,
    /// A JSON object each: level, class, message, file, line, column, end_line, end_column, label, help, related.
    Json,
}

/// A line longer than this is not shown; the complaint is written as one line.
const LONGEST_SHOWN: usize = 2000;

/// As many includes are named between a file and the main file.
const DEEPEST_SHOWN: usize = 5;

/// Related places this near to the words complained of are shown in the same piece of the file.
const NEAR: u32 = 6;

impl Diagnostics {
    /// All complaints, each ended by a newline.
    pub fn show(&self, style: Style) -> String {
        let mut shown = String::new();
        for diagnostic in self.in_order() {
            let diagnostic = &self.discreet(diagnostic);
            let one = match style {
                Style::Full { colour } => self.full(diagnostic, colour),
                Style::Plain => self.plain(diagnostic),
                Style::Json => self.json(diagnostic),
            };
            shown.push_str(&one);
            shown.push('\n');
        }
        if self.more > 0 && style != Style::Json {
            shown.push_str(&format!("note: {} more complaints are not shown\n", self.more));
        }
        shown
    }

    /// In the order of the files; what points nowhere comes first. Equal ones once.
    fn in_order(&self) -> Vec<&Diagnostic> {
        let place = |d: &Diagnostic| d.span.map(|span| self.sources.resolve(span).0);
        let mut placed: Vec<(Option<Span>, &Diagnostic)> = self.list.iter().map(|d| (place(d), d)).collect();
        placed.sort_by_key(|(span, _)| *span);
        let mut seen = HashSet::new();
        placed.retain(|(span, d)| seen.insert((*span, d.message.as_str())));
        placed.into_iter().map(|(_, d)| d).collect()
    }

    /// The message of the first complaint that `counts`, in the order of the files, as it may be told anywhere: without secrets
    /// and control characters.
    pub fn first(&self, counts: impl Fn(&Diagnostic) -> bool) -> Option<String> {
        let first = self.in_order().into_iter().find(|diagnostic| counts(diagnostic))?;
        Some(printable(&self.discreet(first).message))
    }

    /// What this complaint must not quote.
    fn secret_words(&self, diagnostic: &Diagnostic) -> Vec<Box<str>> {
        let mut spans: Vec<Span> = Vec::new();
        for span in diagnostic.span.iter().chain(diagnostic.related.iter().map(|(span, _)| span)) {
            let (resolved, way) = self.sources.resolve(*span);
            spans.extend([*span, resolved]);
            spans.extend(way.iter().map(|(span, _)| *span));
        }
        self.secrets.words_near(&self.sources.files, &spans)
    }

    /// The same complaint without secret words.
    fn discreet<'d>(&self, diagnostic: &'d Diagnostic) -> Cow<'d, Diagnostic> {
        let words = self.secret_words(diagnostic);
        if words.is_empty() {
            return Cow::Borrowed(diagnostic);
        }
        let mut diagnostic = diagnostic.clone();
        diagnostic.message = hide(&diagnostic.message, &words);
        for text in diagnostic.label.iter_mut().chain(&mut diagnostic.help) {
            *text = hide(text, &words);
        }
        for (_, text) in &mut diagnostic.related {
            *text = hide(text, &words);
        }
        Cow::Owned(diagnostic)
    }

    /// Related places, those of the diagnostic first, then the definitions and rounds that its words came by.
    fn related(&self, diagnostic: &Diagnostic) -> Vec<(Span, String)> {
        let mut related: Vec<(Span, String)> = Vec::new();
        for (span, text) in &diagnostic.related {
            related.push((self.sources.resolve(*span).0, text.clone()));
        }
        if let Some(span) = diagnostic.span {
            let secret = |name: &str| self.secrets.is_name(name);
            let way = self.sources.resolve(span).1;
            // A round says the value that it has.
            let words = if way.is_empty() { Vec::new() } else { self.secret_words(diagnostic) };
            related.extend(way.into_iter().map(|(span, text)| (span, hide(&text.said(&secret), &words))));
        }
        related
    }

    fn name(&self, file: FileId) -> String {
        self.sources.get(file).map_or_else(String::new, |source| printable(&source.name))
    }

    /// `FILE:LINE:COLUMN`.
    fn at(&self, span: Span) -> String {
        let (line, column) = self.sources.position(span);
        format!("{}:{line}:{column}", self.name(span.file))
    }

    /// One complaint on one line.
    fn plain(&self, diagnostic: &Diagnostic) -> String {
        let mut line = match diagnostic.span.map(|span| self.sources.resolve(span).0) {
            Some(span) => format!("{}: ", self.at(span)),
            None => String::new(),
        };
        line.push_str(&format!("{}: {}", word(diagnostic.class), printable(&diagnostic.message)));
        let mut notes: Vec<String> = Vec::new();
        notes.extend(diagnostic.label.as_deref().map(printable));
        for (span, text) in self.related(diagnostic) {
            notes.push(format!("{}: {}", self.at(span), printable(&text)));
        }
        notes.extend(diagnostic.help.as_deref().map(|help| format!("help: {}", printable(help))));
        if !notes.is_empty() {
            line.push_str(&format!(" ({})", notes.join("; ")));
        }
        line
    }

    fn json(&self, diagnostic: &Diagnostic) -> String {
        #[derive(Serialize)]
        struct Place {
            file: String,
            line: u32,
            column: u32,
            end_line: u32,
            end_column: u32,
        }
        #[derive(Serialize)]
        struct Related {
            #[serde(flatten)]
            place: Place,
            message: String,
        }
        #[derive(Serialize)]
        struct Object {
            level: Level,
            class: Class,
            message: String,
            file: Option<String>,
            line: Option<u32>,
            column: Option<u32>,
            end_line: Option<u32>,
            end_column: Option<u32>,
            label: Option<String>,
            help: Option<String>,
            related: Vec<Related>,
        }
        let place = |span: Span| {
            let (span, _) = self.sources.resolve(span);
            let ((line, column), (end_line, end_column)) =
                (self.sources.position(span), self.sources.end_position(span));
            Place { file: self.name(span.file), line, column, end_line, end_column }
        };
        let at = diagnostic.span.map(place);
        let related = self.related(diagnostic);
        let object = Object {
            level: diagnostic.class.level(),
            class: diagnostic.class,
            message: printable(&diagnostic.message),
            line: at.as_ref().map(|at| at.line),
            column: at.as_ref().map(|at| at.column),
            end_line: at.as_ref().map(|at| at.end_line),
            end_column: at.as_ref().map(|at| at.end_column),
            file: at.map(|at| at.file),
            label: diagnostic.label.as_deref().map(printable),
            help: diagnostic.help.as_deref().map(printable),
            related: related.into_iter().map(|(span, message)| Related { place: place(span), message }).collect(),
        };
        serde_json::to_string(&object).unwrap_or_default()
    }

    /// One complaint with the lines that it is about, without a newline at its end.
    fn full(&self, diagnostic: &Diagnostic, colour: bool) -> String {
        let mark = match diagnostic.class.level() {
            Level::Note => Mark::NOTE,
            Level::Warning => Mark::WARNING,
            Level::Error => Mark::ERROR,
        };
        let Some(pieces) = self.pieces(diagnostic) else { return self.plain(diagnostic) };
        let mut group: Group<'_> =
            mark.primary_title(printable(&diagnostic.message)).elements(Vec::<Element<'_>>::new());
        for piece in &pieces {
            let mut snippet =
                Snippet::source(piece.text.as_str()).path(piece.name.as_str()).line_start(piece.line as usize);
            for (kind, range, label) in &piece.marks {
                snippet = snippet.annotation(kind.span(range.clone()).label(label.as_deref()));
            }
            group = group.element(snippet);
        }
        let included = |span: Span| self.sources.get(span.file)?.included_at;
        let mut file = diagnostic.span.and_then(|span| included(self.sources.resolve(span).0));
        for _ in 0..DEEPEST_SHOWN {
            let Some(at) = file else { break };
            group = group.element(Mark::NOTE.message(format!("included at {}", self.at(at))));
            file = included(at);
        }
        if let Some(help) = &diagnostic.help {
            group = group.element(Mark::HELP.message(printable(help)));
        }
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group])
    }

    /// The pieces of files that show a complaint. `None` when they cannot be shown.
    fn pieces(&self, diagnostic: &Diagnostic) -> Option<Vec<Shown>> {
        let mut pieces: Vec<Shown> = Vec::new();
        let Some(span) = diagnostic.span else { return Some(pieces) };
        let (span, _) = self.sources.resolve(span);
        let primary = (AnnotationKind::Primary, span, diagnostic.label.as_deref().map(printable));
        let others =
            self.related(diagnostic).into_iter().map(|(s, text)| (AnnotationKind::Context, s, Some(printable(&text))));
        let mut marks = vec![primary];
        marks.extend(others);
        while !marks.is_empty() {
            // The first mark left opens a piece; those near to it join.
            let (first, line) = (marks.first()?.1, self.sources.position(marks.first()?.1).0);
            let joins = |span: Span| span.file == first.file && self.sources.position(span).0.abs_diff(line) <= NEAR;
            let (here, rest): (Vec<_>, Vec<_>) = marks.into_iter().partition(|(_, span, _)| joins(*span));
            marks = rest;
            let numbers = here.iter().map(|(_, span, _)| self.sources.position(*span).0);
            let (top, bottom) = (numbers.clone().min()?, numbers.max()?);
            let (start, text) = self.lines(first.file, top, bottom)?;
            let within = |span: Span| {
                let from = (span.start.saturating_sub(start) as usize).min(text.len());
                let to = (span.end.saturating_sub(start) as usize).clamp(from, text.len());
                let end_of_line =
                    text.get(from..).and_then(|rest| rest.find('\n')).map_or(text.len(), |len| from + len);
                from..to.min(end_of_line)
            };
            let marked: Vec<(AnnotationKind, Range<usize>, Option<String>)> =
                here.into_iter().map(|(kind, span, label)| (kind, within(span), label)).collect();
            let masked = self.secrets.masked(first.file, start, text);
            let marks = marked.into_iter().map(|(kind, range, label)| (kind, masked.place(range), label)).collect();
            pieces.push(Shown { name: self.name(first.file), line: top, text: readable(&masked.text), marks });
        }
        Some(pieces)
    }

    /// Some lines of a file and where they begin; `None` when one of them is too long to be shown.
    fn lines(&self, file: FileId, top: u32, bottom: u32) -> Option<(u32, &str)> {
        let source = self.sources.get(file)?;
        let starts = self.sources.line_starts(file);
        let start = *starts.get(top as usize - 1)?;
        let end = starts.get(bottom as usize).map_or(source.text.len(), |next| *next as usize - 1);
        let text = source.text.get(start as usize..end)?;
        text.lines().all(|line| line.len() <= LONGEST_SHOWN).then_some((start, text))
    }
}

/// Some lines of one file.
struct Shown {
    name: String,
    line: u32,
    text: String,
    marks: Vec<(AnnotationKind, Range<usize>, Option<String>)>,
}

fn word(class: Class) -> &'static str {
    match class.level() {
        Level::Note => "note",
        Level::Warning => "warning",
        Level::Error => "error",
    }
}

/// Text of a file for a terminal; as many bytes as before.
fn readable(text: &str) -> String {
    let plain = |c: char| match c {
        c if is_stray(c) => char::REPLACEMENT_CHARACTER,
        '\r' => ' ',
        '\t' | '\n' => c,
        c if c.is_ascii_control() => '?',
        c => c,
    };
    text.chars().map(plain).collect()
}

/// Words of a file or of another machine as a log or a terminal may have them: on one line, without control characters and without
/// characters that cannot be seen.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if is_stray(c) => shown.push(char::REPLACEMENT_CHARACTER),
            c if c.is_control() => shown.push('?'),
            c => match unseen(c) {
                Some(name) => shown.push_str(&name),
                None => shown.push(c),
            },
        }
    }
    shown
}
