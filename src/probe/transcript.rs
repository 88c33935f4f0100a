//! What was said in a dialogue, for people: bounded, and without what is nobody's business.
//!
//! A transcript that nobody wants costs nothing: the words are made only when they are kept. Bodies are counted, not
//! shown; values of header lines that grant access are replaced, and so is everything behind `?` in a path.

use crate::spec::balance::shown_path;
use crate::time::Time;

/// Most utterances that are kept.
const MOST: usize = 64;
/// Most bytes of one of them.
const LONGEST: usize = 300;

/// What was said to a server and what it said, for `vipctl probe`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Transcript {
    wanted: bool,
    said: Vec<Utterance>,
    dropped: u64,
}

/// One thing that was said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Utterance {
    pub at: Time,
    pub said: Said,
}

/// Who said it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// By the check.
    Sent(Box<str>),
    /// By the server.
    Received(Box<str>),
    /// By neither: what happened.
    Note(Box<str>),
}

impl Transcript {
    /// One that keeps what is said.
    pub fn kept() -> Transcript {
        Transcript { wanted: true, ..Transcript::default() }
    }

    /// In their order.
    pub fn utterances(&self) -> &[Utterance] {
        &self.said
    }

    /// How many utterances there was no room for.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// What this side sends. `words` is asked only if somebody wants a transcript.
    pub fn sent(&mut self, at: Time, words: impl FnOnce() -> String) {
        self.add(at, words, Said::Sent);
    }

    /// What the server sends.
    pub fn received(&mut self, at: Time, words: impl FnOnce() -> String) {
        self.add(at, words, Said::Received);
    }

    /// What happened beside.
    pub fn note(&mut self, at: Time, words: impl FnOnce() -> String) {
        self.add(at, words, Said::Note);
    }

    fn add(&mut self, at: Time, words: impl FnOnce() -> String, said: impl FnOnce(Box<str>) -> Said) {
        if !self.wanted {
            return;
        }
        if self.said.len() >= MOST {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let mut words = words();
        if words.len() > LONGEST {
            let end = (0..=LONGEST).rev().find(|at| words.is_char_boundary(*at)).unwrap_or(0);
            words.truncate(end);
            words.push('…');
        }
        self.said.push(Utterance { at, said: said(words.into()) });
    }
}

/// A line of text from a stranger: what cannot be printed is escaped.
pub fn text(bytes: &[u8]) -> String {
    let bytes = bytes.get(..LONGEST).unwrap_or(bytes);
    bytes.trim_ascii_end().escape_ascii().to_string()
}

pub(crate) fn length(bytes: &[u8]) -> String {
    match bytes.len() {
        1 => "1 byte".into(),
        n => format!("{n} bytes"),
    }
}

/// The length, and the first bytes in hexadecimal.
pub fn bytes(bytes: &[u8]) -> String {
    let shown = bytes.get(..16).unwrap_or(bytes);
    let digits: String = shown.iter().map(|byte| format!("{byte:02x}")).collect();
    let more = if bytes.len() > shown.len() { "…" } else { "" };
    format!("{}: {digits}{more}", length(bytes))
}

/// Does a header line of this name grant access?
fn secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["cookie", "authorization", "authenticate", "token", "secret", "api-key", "session"]
        .iter()
        .any(|word| name.contains(word))
}

/// Request or response line and header lines, one a line, without secrets.
pub fn head(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for (at, line) in bytes.split(|byte| *byte == b'\n').map(text).filter(|line| !line.is_empty()).enumerate() {
        if at > 0 {
            shown.push('\n');
        }
        match line.split_once(':') {
            Some((name, _)) if at > 0 && secret(name) => shown += &format!("{name}: …"),
            _ if at == 0 => shown += &without_query(&line),
            _ => shown += &line,
        }
    }
    shown
}

/// A request's first line with [`shown_path`].
fn without_query(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    if line.starts_with("GET ")
        && let Some(path) = words.get_mut(1)
    {
        *path = shown_path(path).into_owned();
    }
    words.join(" ")
}
