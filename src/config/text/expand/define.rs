//! `$NAME=` and its uses.
//!
//! A value is kept as it was written and expanded each time that it is used, until nothing changes. keepalived never ends
//! when a value leads back to itself; here that is an error which shows the way round.

use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use nom::branch::alt;
use nom::bytes::complete::{take_while, take_while1};
use nom::character::complete::{char, satisfy};
use nom::combinator::{peek, recognize, verify};
use nom::sequence::{delimited, pair, terminated};
use nom::{IResult, Parser};

use super::super::source::{Place, Through, Way};
use super::Frame;
use super::Reader;
use super::line::{Line, is_blank};
use crate::config::report::{Class, Diagnostic};

/// One `$NAME=VALUE`, as it was when it was given. A later one with the same name is another.
#[derive(Debug)]
pub(crate) struct Definition {
    pub name: Arc<str>,
    pub value: Value,
}

#[derive(Debug)]
pub(crate) enum Value {
    /// A value of one line.
    Line(Line),
    /// A value that ended in a backslash: the rest of its lines are read after the one that uses it.
    Lines(Vec<Line>),
    Builtin(Builtin),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Builtin {
    Directory,
    Instance,
    Random,
    Environment,
    Hash,
    Bang,
}

pub(crate) const BUILTINS: &[(&str, Builtin)] = &[
    ("_PWD", Builtin::Directory),
    ("_INSTANCE", Builtin::Instance),
    ("_RANDOM", Builtin::Random),
    ("_ENV", Builtin::Environment),
    ("_HASH", Builtin::Hash),
    ("_BANG", Builtin::Bang),
];

/// A definition whose further lines are being collected.
pub(crate) struct Collecting {
    pub name: Arc<str>,
    pub lines: Vec<Line>,
}

/// How many definitions may lead to each other on one line.
const DEEPEST: usize = 100;

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn name(input: &str) -> IResult<&str, &str> {
    recognize(pair(satisfy(|c| c.is_ascii_alphabetic() || c == '_'), take_while(is_name))).parse(input)
}

/// `$NAME=` at the start of a line: the name, and what follows the sign and its blanks.
pub(crate) fn definition(line: &str) -> Option<(&str, &str)> {
    let head: IResult<&str, &str> = delimited(char('$'), name, pair(char('='), take_while(is_blank))).parse(line);
    head.ok().map(|(rest, name)| (name, rest))
}

/// `$NAME` or `${NAME}` at the beginning of a text, whether or not there is such a definition: the name, and how many bytes
/// the use has.
pub(crate) fn used(text: &str) -> Option<(&str, usize)> {
    let used = usage(text.strip_prefix('$')?)?;
    Some((used.name, 1 + used.len))
}

/// A use of a definition, read behind its `$`.
#[derive(Debug, PartialEq, Eq)]
struct Use<'a> {
    name: &'a str,
    parameters: &'a str,
    /// Bytes behind the `$`.
    len: usize,
}

fn usage(input: &str) -> Option<Use<'_>> {
    let parameters = verify(take_while(|c| is_name(c) || is_blank(c)), |text: &str| {
        text.trim_matches(is_blank).is_empty() || !text.ends_with(is_blank)
    });
    let braced = delimited(char('{'), pair(name, parameters), char('}'));
    let plain = terminated(
        name,
        peek(alt((recognize(satisfy(|c| is_blank(c) || c == ',' || c == ')')), nom::combinator::eof))),
    );
    let plain = plain.map(|name| (name, ""));
    let parsed: IResult<&str, (&str, &str)> = alt((braced, plain)).parse(input);
    let (rest, (name, parameters)) = parsed.ok()?;
    Some(Use { name, parameters: parameters.trim_matches(is_blank), len: input.len() - rest.len() })
}

/// What came of a try to replace the names of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Substituted {
    /// There was nothing to replace, or no room for it.
    Nothing,
    Changed,
    /// It has been complained about; the line is to be dropped.
    Failed,
}

impl Reader<'_> {
    /// `$NAME=VALUE` → the table; `false` when the line is none.
    pub(crate) fn define(&mut self, line: &Line) -> bool {
        let Some((name, value)) = definition(&line.text) else { return false };
        let name: Arc<str> = name.into();
        let start = line.text.len() - value.len();
        match value.strip_suffix('\\') {
            Some(first) => {
                let first = first.trim_end_matches(is_blank);
                let lines = match first {
                    "" => Vec::new(),
                    _ => vec![line.slice(start..start + first.len())],
                };
                self.collecting = Some(Collecting { name, lines });
            }
            None => self.set(name, Value::Line(line.slice(start..line.text.len()))),
        }
        true
    }
    /// A line that belongs to the definition being collected.
    pub(crate) fn collect(&mut self, mut line: Line) {
        let Some(collecting) = &mut self.collecting else { return };
        let more = line.text.ends_with('\\');
        if more {
            line.truncate(line.text.len() - 1);
            line.trim_end();
        }
        if !line.text.is_empty() {
            collecting.lines.push(line);
        }
        if !more {
            self.collected();
        }
    }
    /// The definition is whole: a line without a backslash, or an empty one, ended it.
    pub(crate) fn collected(&mut self) {
        let Some(Collecting { name, lines }) = self.collecting.take() else { return };
        let value = if lines.is_empty() { Value::Line(Line::default()) } else { Value::Lines(lines) };
        self.set(name, value);
    }
    pub(crate) fn set(&mut self, name: Arc<str>, value: Value) {
        self.definitions.insert(name.clone(), Arc::new(Definition { name, value }));
    }

    /// Replaces every name in the line, again and again, as long as it stays shorter than `limit`.
    pub(crate) fn substitute(&mut self, line: &mut Line, limit: usize) -> Substituted {
        let mut at = 0;
        let mut outcome = Substituted::Nothing;
        // Values that the scan is inside of, with the number of bytes that follow them.
        let mut inside: Vec<(Arc<Definition>, usize)> = Vec::new();
        while let Some(found) = line.text.get(at..).and_then(|rest| rest.find('$')) {
            at += found;
            let Some(used) = line.text.get(at + 1..).and_then(usage) else {
                at += 1;
                continue;
            };
            let range = at..at + 1 + used.len;
            let Some(definition) = self.definitions.get(used.name).cloned() else {
                at += 1;
                continue;
            };
            let last = range.end == line.text.len();
            if !self.usable(&definition, used.parameters, last, || line.span(range.clone())) {
                at += 1;
                continue;
            }
            let after = line.text.len() - range.end;
            while inside.last().is_some_and(|(_, tail)| *tail > after) {
                inside.pop();
            }
            let reading = self.reading.contains(&(Arc::as_ptr(&definition) as usize));
            if reading || inside.iter().any(|(d, _)| Arc::ptr_eq(d, &definition)) {
                self.report_circle(&definition, &inside, line.span(range));
                return Substituted::Failed;
            }
            if inside.len() >= DEEPEST {
                let message = format!("definitions lead to each other more than {DEEPEST} times in a row");
                self.diagnostics.push(
                    Diagnostic::new(Class::General, line.span(range), message)
                        .label("this line is ignored")
                        .help("define it with fewer names in it"),
                );
                return Substituted::Failed;
            }
            if !self.spend(1, 0) {
                return Substituted::Failed;
            }
            let parameters = used.parameters.to_string();
            let value = self.value(&definition, &parameters, line, range.clone());
            if line.text.len() + value.text.len() - range.len() >= limit {
                let span = line.span(range);
                self.diagnostics.push(
                    Diagnostic::new(
                        Class::Note,
                        span,
                        "the line would grow over 1023 characters, so this name stays as it is",
                    )
                    .help("keepalived leaves it unreplaced too; split the definition"),
                );
                return Substituted::Nothing;
            }
            outcome = Substituted::Changed;
            line.splice(range, &value.text, value.runs);
            // Names in the text of a sequence wait for its rounds.
            if value.text.trim_start_matches(is_blank).starts_with('~') {
                break;
            }
            if let Value::Line(_) = definition.value {
                inside.push((definition, after));
            }
        }
        outcome
    }

    /// Whether this use of a definition may be replaced; says so when it is wrong.
    fn usable(
        &mut self,
        definition: &Definition,
        parameters: &str,
        last: bool,
        span: impl Fn() -> super::Span,
    ) -> bool {
        let count = parameters.split(is_blank).filter(|word| !word.is_empty()).count();
        let Value::Builtin(builtin) = definition.value else {
            return parameters.is_empty() && (last || matches!(definition.value, Value::Line(_)));
        };
        let fault = match builtin {
            Builtin::Random if parameters.contains(|c: char| !c.is_ascii_digit() && !is_blank(c)) => {
                "takes numbers only"
            }
            Builtin::Random if count > 2 => "takes at most two numbers: the least and the greatest",
            Builtin::Environment if count != 1 => "takes the name of one environment variable",
            Builtin::Random | Builtin::Environment => return true,
            _ => return parameters.is_empty(),
        };
        let message = format!("${{{}}} {fault}", definition.name);
        self.diagnostics.push(
            Diagnostic::new(Class::General, span(), message)
                .label("stays as it is")
                .help("write `${_RANDOM LEAST GREATEST}` or `${_ENV NAME}`"),
        );
        false
    }

    /// The text that takes the place of `range`, its runs leading back to the use and on to the definition.
    fn value(&mut self, definition: &Arc<Definition>, parameters: &str, line: &Line, range: Range<usize>) -> Line {
        let (at, before) = (line.span(range.clone()), line.way(range.start));
        match &definition.value {
            Value::Line(value) => self.moved(value, definition, at, before),
            Value::Lines(lines) => {
                let frame = Frame::Lines { definition: definition.clone(), next: 1, at, before };
                self.stack.push(frame);
                self.reading.insert(Arc::as_ptr(definition) as usize);
                lines.first().map(|first| self.moved(first, definition, at, before)).unwrap_or_default()
            }
            Value::Builtin(builtin) => Line::computed(&self.builtin(*builtin, parameters, at), at, before),
        }
    }

    /// A line of a value, to be shown at the place where it is used.
    pub(crate) fn moved(&mut self, value: &Line, definition: &Definition, at: super::Span, before: u32) -> Line {
        let mut runs = Vec::with_capacity(value.runs.len());
        let mut offset = 0;
        for (len, _) in &value.runs {
            let from = value.span(offset..offset + *len as usize);
            offset += *len as usize;
            let way = self.way(Through::Definition(definition.name.clone()), from, before);
            runs.push((*len, Place { file: at.file, start: at.start, end: at.end.max(1), way }));
        }
        Line { text: value.text.clone(), runs }
    }
    pub(crate) fn way(&mut self, through: Through, at: super::Span, before: u32) -> u32 {
        self.origins.ways.push(Way { through, at, before });
        self.origins.ways.len() as u32
    }

    fn builtin(&mut self, builtin: Builtin, parameters: &str, at: super::Span) -> String {
        match builtin {
            Builtin::Hash => "#".into(),
            Builtin::Bang => "!".into(),
            Builtin::Instance => self.env.config_id.clone(),
            Builtin::Environment => self.env.environment.get(parameters).cloned().unwrap_or_default(),
            Builtin::Directory => {
                let directory = normal(&self.env.working_directory.join(self.directory()));
                directory.to_string_lossy().into_owned()
            }
            Builtin::Random => {
                let mut numbers = parameters.split(is_blank).filter(|w| !w.is_empty());
                let mut number = |default| numbers.next().map_or(default, |n| n.parse().unwrap_or(u64::MAX));
                let (least, greatest) = (number(0), number(32767));
                if least > greatest {
                    let message = format!("the least value {least} is greater than the greatest, {greatest}");
                    self.diagnostics.push(
                        Diagnostic::new(Class::General, at, message)
                            .label(format!("{least} is taken"))
                            .help("write the least value first"),
                    );
                    return least.to_string();
                }
                let random = u64::from(self.random.next());
                match (greatest - least).checked_add(1) {
                    Some(width) => (least + random % width).to_string(),
                    None => random.to_string(),
                }
            }
        }
    }

    fn report_circle(&mut self, definition: &Arc<Definition>, inside: &[(Arc<Definition>, usize)], at: super::Span) {
        let key = Arc::as_ptr(definition) as usize;
        if !self.circles.insert(key) {
            return;
        }
        let frames = self.stack.iter().filter_map(|frame| match frame {
            Frame::Lines { definition, .. } => Some(definition),
            _ => None,
        });
        let chain: Vec<&Arc<Definition>> = frames.chain(inside.iter().map(|(d, _)| d)).collect();
        let from = chain.iter().position(|d| Arc::ptr_eq(d, definition)).unwrap_or(0);
        let circle = chain.get(from..).unwrap_or(&[]);
        let mut names: Vec<String> = circle.iter().map(|d| format!("${}", d.name)).collect();
        names.push(format!("${}", definition.name));
        let message = format!("the definition of ${} leads back to itself: {}", definition.name, names.join(" → "));
        let mut diagnostic = Diagnostic::new(Class::General, at, message)
            .label("this line is ignored")
            .help("keepalived would never finish reading this; give one of them a value without the others");
        for d in circle {
            let value = match &d.value {
                Value::Line(line) => line.whole(),
                Value::Lines(lines) => match lines.first() {
                    Some(line) => line.whole(),
                    None => continue,
                },
                Value::Builtin(_) => continue,
            };
            diagnostic = diagnostic.related(value, format!("${} is defined here", d.name));
        }
        self.diagnostics.push(diagnostic);
    }
}

/// The path without `.` and `..`.
pub(crate) fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if normal.file_name().is_some() => {
                normal.pop();
            }
            Component::ParentDir if normal.has_root() => {}
            part => normal.push(part),
        }
    }
    normal
}

/// The additive feedback generator that random(3) of the GNU C library documents as its default (31 words of state, the
/// third and the last added), so that `random_seed` gives the same numbers as it gives keepalived.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: [u32; 31],
    front: usize,
}

impl Random {
    /// The sequence of this seed, keepalived's generator.
    pub fn new(seed: u32) -> Random {
        let mut state = [0u32; 31];
        let mut word = i64::from(if seed == 0 { 1 } else { seed as i32 });
        for slot in &mut state {
            *slot = word as u32;
            word = (16807 * word) % 2_147_483_647;
            if word < 0 {
                word += 2_147_483_647;
            }
        }
        let mut random = Random { state, front: 3 };
        for _ in 0..310 {
            random.next();
        }
        random
    }
    /// The next number.
    pub fn next(&mut self) -> u32 {
        let rear = self.state[(self.front + 28) % 31];
        let slot = &mut self.state[self.front];
        *slot = slot.wrapping_add(rear);
        let value = *slot >> 1;
        self.front = (self.front + 1) % 31;
        value
    }
}

/// Whether `text` begins with the word `include` or one of its variants; which checks that word asks for, and where the
/// name of the file begins.
pub(crate) fn include_head(text: &str) -> Option<(char, usize)> {
    let parsed: IResult<&str, (char, &str)> = (
        delimited(
            nom::bytes::complete::tag("include"),
            nom::combinator::opt(satisfy(|c| "rmwba".contains(c))).map(|c| c.unwrap_or(' ')),
            peek(satisfy(is_space)),
        ),
        take_while1(is_space),
    )
        .parse(text);
    let (rest, (kind, _)) = parsed.ok()?;
    Some((kind, text.len() - rest.len()))
}

fn is_space(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\x0b'
}
