//! `include` and its variants: which files a name means, and what happens when one of them cannot be read.

use std::path::{Path, PathBuf};

use super::super::source::{Found, Span, text_of};
use super::FileFrame;
use super::Frame;
use super::Reader;
use super::define::{include_head, normal};
use super::line::Line;
use crate::config::report::{Class, Diagnostic};

/// Which failures of an include are errors: a set of the four below.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Checks(u8);

impl Checks {
    /// A file that is there cannot be read.
    const READ: Checks = Checks(1);
    /// A plain name finds nothing.
    const MATCH: Checks = Checks(2);
    /// One of several names in braces finds nothing.
    const BRACE: Checks = Checks(4);
    /// A pattern finds nothing.
    const WILDCARD: Checks = Checks(8);
    /// Every check of `include_check`.
    pub const ALL: Checks = Checks(15);

    fn and(self, other: Checks) -> Checks {
        Checks(self.0 | other.0)
    }
    fn has(self, other: Checks) -> bool {
        self.0 & other.0 != 0
    }
    fn of_variant(letter: char) -> Checks {
        match letter {
            'r' => Checks::READ,
            'm' => Checks::READ.and(Checks::MATCH),
            'w' => Checks::READ.and(Checks::MATCH).and(Checks::WILDCARD),
            'b' => Checks::READ.and(Checks::BRACE),
            'a' => Checks::ALL,
            _ => Checks::default(),
        }
    }
    /// What the words after `include_check` leave of these checks. Words that it does not know are the language's to
    /// complain about.
    pub fn after(self, words: &[&str]) -> Checks {
        if words.is_empty() {
            return Checks::ALL;
        }
        let mut checks = self;
        for (at, word) in words.iter().enumerate() {
            let (sign, name) = match word.split_at_checked(1) {
                Some((sign @ ("+" | "-"), name)) => (sign, name),
                _ if at > 0 => continue,
                _ => {
                    checks = Checks::default();
                    ("", *word)
                }
            };
            let flag = match name {
                "read" => Checks::READ,
                "match" => Checks::MATCH,
                "wildcard_match" => Checks::WILDCARD,
                "brace_match" => Checks::BRACE,
                _ => continue,
            };
            checks = match sign {
                "+" => checks.and(flag),
                "-" => Checks(checks.0 & !flag.0),
                _ => Checks::READ.and(flag),
            };
        }
        checks
    }
}

/// How deep files may include files; keepalived ends at the number of files that it may have open.
const DEEPEST: usize = 200;

/// Steps that a look at one path counts for.
const LOOK: u64 = 16;

/// What a name, its braces opened, means.
#[derive(Default)]
struct Meant {
    files: Vec<(PathBuf, Option<Found>)>,
    missing: Vec<String>,
    patterns: bool,
}

impl Reader<'_> {
    /// An include line → its files on the stack; `false` when the line is none.
    pub(crate) fn include(&mut self, line: &Line) -> bool {
        let Some((letter, start)) = include_head(&line.text) else { return false };
        let name = line.text.get(start..).unwrap_or("");
        let at = line.span(start..line.text.len());
        let checks = self.checks.and(Checks::of_variant(letter));
        let directory = self.directory();
        let meant = self.meant(&directory, name);
        let fail = |failed: bool| if failed { Class::Include } else { Class::Note };
        let complain = |class: Class, message: String| {
            let diagnostic = Diagnostic::new(class, at, message);
            match class {
                Class::Note => diagnostic.label("read on without it"),
                _ if letter == ' ' => diagnostic
                    .label("every include must succeed here")
                    .help("put the file there, or leave -e and include_check out, which ask for it"),
                _ => diagnostic
                    .label("this include must succeed")
                    .help("put the file there, or write a plain `include`, which reads on without it"),
            }
        };
        if meant.files.is_empty() {
            let check = if name.contains('{') { Checks::BRACE } else { Checks::MATCH };
            if !meant.missing.is_empty() {
                self.diagnostics.push(complain(fail(checks.has(check)), format!("there is no file `{name}`")));
            } else if meant.patterns && checks.has(Checks::WILDCARD) {
                self.diagnostics.push(complain(Class::Include, format!("no file matches `{name}`")));
            }
            return true;
        }
        if !meant.missing.is_empty() {
            let failed = checks.has(Checks::BRACE);
            let missing = meant.missing.join(", ");
            self.diagnostics.push(complain(fail(failed), format!("there is no file `{missing}`")));
            if failed {
                return true;
            }
        }
        // The stack is read from its end.
        for (path, found) in meant.files.into_iter().rev() {
            self.stack.push(Frame::Open { path, found, at: Some(at), checks });
        }
        true
    }

    /// The main file; a pattern may match several.
    pub(crate) fn root(&mut self, name: &str) {
        let meant = self.meant(Path::new(""), name);
        let mut good = Vec::new();
        let mut bad = false;
        for (path, found) in meant.files {
            let found = found.unwrap_or_else(|| self.loader.read(&path));
            match &found {
                Found::Text(_) => good.push((path, found)),
                Found::Unreadable(why) => {
                    bad = true;
                    let message = format!("cannot read configuration file `{}`: {why}", path.display());
                    self.diagnostics.push(
                        Diagnostic::new(Class::FileNotFound, None, message)
                            .help("let it be read (chmod), or exclude it from the pattern"),
                    );
                }
                other => {
                    bad = true;
                    let message = format!("configuration file `{}` {}", path.display(), fault(other));
                    self.diagnostics.push(Diagnostic::new(Class::Note, None, message));
                }
            }
        }
        if bad || good.is_empty() {
            self.text.root_missing = true;
            if !bad {
                let class = if self.env.strict_includes { Class::FileNotFound } else { Class::Note };
                self.diagnostics.push(
                    Diagnostic::new(class, None, format!("there is no configuration file `{name}`"))
                        .help("name the file with -f FILE"),
                );
            }
            return;
        }
        if let [(first, _), _, ..] = good.as_slice() {
            let message = format!("{} files match `{name}`, read in order from `{}`", good.len(), first.display());
            let help = "name one file and let it include the others";
            self.diagnostics.push(Diagnostic::new(Class::MultipleFiles, None, message).help(help));
        }
        for (path, found) in good.into_iter().rev() {
            self.stack.push(Frame::Open { path, found: Some(found), at: None, checks: Checks::ALL });
        }
    }

    /// Opens one file that an include named, if it may be read.
    pub(crate) fn open(&mut self, path: PathBuf, found: Option<Found>, at: Option<Span>, checks: Checks) {
        let files = self.stack.iter().filter_map(|frame| if let Frame::File(file) = frame { Some(file) } else { None });
        let open: Vec<(PathBuf, Option<Span>)> = files.map(|file| (file.path.clone(), file.included_at)).collect();
        if let Some(first) = open.iter().position(|(other, _)| *other == path) {
            let message = format!("`{}` includes itself", path.display());
            let mut diagnostic =
                Diagnostic::new(Class::General, at, message).label("not read again").help("remove one of the includes");
            for (_, at) in open.get(first + 1..).unwrap_or(&[]) {
                if let Some(at) = at {
                    diagnostic = diagnostic.related(*at, "by way of this include");
                }
            }
            self.diagnostics.push(diagnostic);
            return;
        }
        if open.len() >= DEEPEST {
            let message = format!("files include each other more than {DEEPEST} deep");
            self.diagnostics.push(
                Diagnostic::new(Class::General, at, message)
                    .label("not read")
                    .help("include fewer files in each other"),
            );
            return;
        }
        let found = found.unwrap_or_else(|| self.loader.read(&path));
        let bytes = match found {
            Found::Text(bytes) => bytes,
            bad => {
                let class = if checks.has(Checks::READ) { Class::Include } else { Class::Note };
                let message = format!("`{}` {}", path.display(), fault(&bad));
                self.diagnostics.push(
                    Diagnostic::new(class, at, message)
                        .label("skipped")
                        .help("correct the pattern, or make it a plain file that can be read (chmod a-x)"),
                );
                return;
            }
        };
        // A file read again is text made from little, as a sequence is.
        if !self.seen.insert(path.clone()) && !self.spend(1 + bytes.len() as u64 / 16, bytes.len() as u64) {
            return;
        }
        self.allow(bytes.len() as u64);
        let text = std::sync::Arc::new(text_of(bytes));
        self.text.buffer.reserve(text.len() + 1);
        let file = self.diagnostics.sources.add(&path.to_string_lossy(), text.clone(), at);
        let directory = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let frame =
            FileFrame { file, text, at: 0, path, directory, included_at: at, checks: self.checks, too_long_until: 0 };
        self.stack.push(Frame::File(frame));
    }

    fn is_open(&self, path: &Path) -> bool {
        self.stack.iter().any(|frame| matches!(frame, Frame::File(file) if file.path == path))
    }

    /// Directory of the file that is being read.
    pub(crate) fn directory(&self) -> PathBuf {
        let file = self.stack.iter().rev().find_map(|f| if let Frame::File(file) = f { Some(file) } else { None });
        file.map(|file| file.directory.clone()).unwrap_or_default()
    }

    fn meant(&mut self, directory: &Path, name: &str) -> Meant {
        let mut meant = Meant::default();
        let mut names = Vec::new();
        alternatives(name, &mut names);
        // One name is paid for by its line; a line of braces may mean thousands.
        if names.len() > 1 && !self.spend(LOOK * names.len() as u64, 0) {
            return meant;
        }
        for name in names {
            if !is_pattern(&name) {
                let path = normal(&directory.join(unescaped(&name)));
                if self.is_open(&path) {
                    meant.files.push((path, None));
                    continue;
                }
                match self.loader.read(&path) {
                    Found::Missing => meant.missing.push(name),
                    found => meant.files.push((path, Some(found))),
                }
                continue;
            }
            meant.patterns = true;
            let (within, _) = name.rsplit_once('/').unwrap_or(("", &name));
            let folder = directory.join(within);
            let unknown = |folder: &Path| self.loader.read(folder) == Found::Missing;
            if !is_pattern(within) && !folder.as_os_str().is_empty() && unknown(&normal(&folder)) {
                meant.missing.push(name);
                continue;
            }
            let pattern =
                normal(&Path::new(&glob::Pattern::escape(&directory.to_string_lossy())).join(bracketed(&name)));
            let found = self.loader.glob(&pattern.to_string_lossy());
            meant.files.extend(found.into_iter().map(|path| (path, None)));
        }
        meant
    }
}

/// Why a path that exists is not read.
fn fault(found: &Found) -> String {
    match found {
        Found::Missing => "does not exist".into(),
        Found::NotRegular => "is not a regular file".into(),
        Found::Executable => "is executable: keepalived takes it for a program (chmod a-x)".into(),
        Found::Unreadable(why) => format!("cannot be read: {why}"),
        Found::Text(_) => "can be read".into(),
    }
}

fn is_pattern(name: &str) -> bool {
    let mut escaped = false;
    name.chars().any(|c| {
        let after_backslash = escaped;
        escaped = c == '\\' && !escaped;
        !after_backslash && matches!(c, '*' | '?' | '[')
    })
}

/// The name that a pattern without wildcards means: `\x` is `x`.
fn unescaped(name: &str) -> String {
    let mut plain = String::new();
    let mut chars = name.chars();
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    plain
}

/// `\x` as `[x]`: the one way of quoting that the matcher knows.
fn bracketed(name: &str) -> String {
    let mut pattern = String::new();
    let mut chars = name.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some(quoted)) => pattern.push_str(&glob::Pattern::escape(&quoted.to_string())),
            _ => pattern.push(c),
        }
    }
    pattern
}

/// Opens `{a,b}` from the left; at most some thousands of names.
fn alternatives(name: &str, all: &mut Vec<String>) {
    const MOST: usize = 4096;
    let mut waiting = vec![(name.to_string(), 0usize)];
    while let Some((name, from)) = waiting.pop() {
        if all.len() + waiting.len() >= MOST {
            all.push(name);
            continue;
        }
        let Some((open, commas, close)) = braces(&name, from) else {
            all.push(name);
            continue;
        };
        let mut ends: Vec<usize> = commas;
        ends.push(close);
        let mut start = open + 1;
        let mut found = Vec::new();
        for end in ends {
            let (before, inner) = (name.get(..open).unwrap_or(""), name.get(start..end).unwrap_or(""));
            found.push((format!("{before}{inner}{}", name.get(close + 1..).unwrap_or("")), open));
            start = end + 1;
        }
        waiting.extend(found.into_iter().rev());
    }
}

/// The first braces that close, at or after `from`: their places and the commas between.
fn braces(name: &str, from: usize) -> Option<(usize, Vec<usize>, usize)> {
    let (mut depth, mut open, mut commas, mut escaped) = (0usize, 0, Vec::new(), false);
    for (at, c) in name.char_indices().filter(|(at, _)| *at >= from) {
        let after_backslash = escaped;
        escaped = c == '\\' && !escaped;
        if after_backslash {
            continue;
        }
        match c {
            '{' => {
                if depth == 0 {
                    (open, commas) = (at, Vec::new());
                }
                depth += 1;
            }
            ',' if depth == 1 => commas.push(at),
            '}' if depth > 0 => {
                depth -= 1;
                if depth == 0 && at > open + 1 {
                    return Some((open, commas, at));
                }
            }
            _ => {}
        }
    }
    None
}
