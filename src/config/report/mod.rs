//! What is wrong with a configuration, where, and how to cure it.
//!
//! A [`Diagnostic`] carries a [`Class`]; the highest class of all reports gives `-t` its exit code, as in keepalived
//! (semantics: the class with the largest number wins, not the first report).

pub mod odd;
mod secrets;
mod show;
pub mod template;

use crate::config::text::source::{Sources, Span};
pub use secrets::{KEYWORDS as SECRET_KEYWORDS, Secrets};
pub use show::Style;
pub(crate) use show::printable;

/// Kinds of complaint, in keepalived's rank order: a later one outranks an earlier one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Follows from a mistake that has been said elsewhere: it is not said at all.
    Follows,
    /// Worth a word, no mistake: leaves the exit code alone.
    Note,
    /// A keyword that nothing acts on: leaves the exit code alone, but `check --strict` wants none.
    Idle,
    /// A program that was asked for will not run. keepalived only logs it, so it leaves the exit code alone.
    NotRun,
    /// What the kernel takes and nobody can use. keepalived says nothing, so it leaves the exit code alone.
    Unfit,
    FileNotFound,
    Fatal,
    MultipleFiles,
    UnknownKeyword,
    Brace,
    Quote,
    MissingParameter,
    InvalidNumber,
    /// More addresses than an advert can carry over the interface as it is now. All of them are owned all the same, so that no
    /// reload is refused for it.
    Crowded,
    General,
    Warning,
    Deprecated,
    Security,
    /// An argument that keepalived cannot do without is missing: it stops reading at once, exit code 2.
    Abort,
    /// An include that must not fail failed: no start, exit code 6. keepalived finds it in its first pass over the file,
    /// before most of what makes it abort.
    Include,
}

impl Class {
    /// Exit code of `-t` when this is the highest class seen.
    pub const fn exit_code(self) -> u8 {
        match self {
            Class::Follows | Class::Note | Class::Idle | Class::NotRun | Class::Unfit => 0,
            Class::FileNotFound | Class::Fatal => 4,
            Class::Security | Class::Include => 6,
            Class::Abort => 2,
            Class::MultipleFiles
            | Class::UnknownKeyword
            | Class::Brace
            | Class::Quote
            | Class::MissingParameter
            | Class::InvalidNumber
            | Class::Crowded
            | Class::General
            | Class::Warning
            | Class::Deprecated => 5,
        }
    }
    /// Whether keepalived takes this for a mistake too, so that what follows from it need not be said again.
    pub const fn is_mistake(self) -> bool {
        self.exit_code() != 0
    }
    /// Whether `check --strict` wants none of it.
    pub const fn is_against_strict(self) -> bool {
        matches!(self, Class::Idle) || !matches!(self.level(), Level::Note)
    }
    /// The word in front of the message.
    pub const fn level(self) -> Level {
        match self {
            Class::Follows | Class::Note | Class::Idle => Level::Note,
            Class::NotRun | Class::Unfit | Class::Warning | Class::Deprecated => Level::Warning,
            Class::FileNotFound
            | Class::Fatal
            | Class::MultipleFiles
            | Class::UnknownKeyword
            | Class::Brace
            | Class::Quote
            | Class::MissingParameter
            | Class::InvalidNumber
            | Class::Crowded
            | Class::General
            | Class::Security
            | Class::Abort
            | Class::Include => Level::Error,
        }
    }
}

/// How much a diagnostic weighs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Note,
    Warning,
    Error,
}

/// One complaint: one mistake, said once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    pub class: Class,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// The offending words; `None` when nothing in a file can be pointed at.
    pub span: Option<Span>,
    /// What is said at the underlined words, e.g. "expected 1 to 255".
    pub label: Option<String>,
    /// Other places that explain it: the first definition, the `$NAME=` it came through.
    pub related: Vec<(Span, String)>,
    /// The cure.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A complaint at a place, or about the whole.
    pub fn new(class: Class, span: impl Into<Option<Span>>, message: impl Into<String>) -> Self {
        Diagnostic { class, message: message.into(), span: span.into(), label: None, related: Vec::new(), help: None }
    }
    /// What is written at the place itself.
    pub fn label(mut self, text: impl Into<String>) -> Self {
        self.label = Some(text.into());
        self
    }
    /// The cure: what to write or do.
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }
    /// Points at the end of the block that it is about, which is where keepalived sees what a block lacks.
    pub fn ends_at(self, close: Option<Span>) -> Self {
        match close {
            Some(close) => self.related(close, "the block ends here"),
            None => self,
        }
    }
    /// Another place that belongs to it, with what is there.
    pub fn related(mut self, span: Span, text: impl Into<String>) -> Self {
        self.related.push((span, text.into()));
        self
    }
}

/// All complaints about one configuration, with the files they point into.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    pub sources: Sources,
    pub list: Vec<Diagnostic>,
    /// How many were not kept, so that a file of rubbish does not fill the memory with complaints.
    more: usize,
    /// The highest class among those.
    worst_of_more: Option<Class>,
    /// What no complaint may tell.
    pub secrets: Secrets,
}

/// As many complaints are kept.
const MOST: usize = 10_000;

impl Diagnostics {
    /// Takes a complaint; from the ten thousandth on only its class and the fact that there are more.
    /// What follows from another one is none.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if diagnostic.class != Class::Follows && !self.counts_only(diagnostic.class) {
            self.list.push(diagnostic);
        }
    }
    /// Whether there are so many that another one of this class is only counted, which is done with this. For those who make
    /// millions of them out of rubbish: words that nobody will read take most of the time.
    pub fn counts_only(&mut self, class: Class) -> bool {
        let full = self.list.len() >= MOST;
        if full {
            self.more += 1;
            self.worst_of_more = self.worst_of_more.max(Some(class));
        }
        full
    }
    /// Lets go of what is too many: for those who wrote into [`Diagnostics::list`] itself.
    pub fn keep_most(&mut self) {
        for diagnostic in self.list.drain(self.list.len().min(MOST)..) {
            self.more += 1;
            self.worst_of_more = self.worst_of_more.max(Some(diagnostic.class));
        }
    }
    /// The highest class of all.
    pub fn worst(&self) -> Option<Class> {
        self.list.iter().map(|d| d.class).max().max(self.worst_of_more)
    }
    /// Exit code of `-t`: the highest class decides.
    pub fn exit_code(&self) -> u8 {
        self.worst().map_or(0, Class::exit_code)
    }
}
