//! `~SEQ` and `~LST`: one line said many times.
//!
//! Only the head is read here; the rounds are played by the expander, one line at a time, so a sequence of four thousand
//! million rounds costs nothing until its budget is spent.

use std::sync::Arc;

use nom::bytes::complete::{tag, take_till, take_while};
use nom::character::complete::char;
use nom::combinator::opt;
use nom::{IResult, Parser};

use super::line::is_blank;

/// What a head says: which names take which values, round by round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rounds {
    Numbers { name: Arc<str>, next: i128, step: i128, last: i128, hex: bool },
    Rows { names: Vec<Arc<str>>, rows: Vec<Vec<Arc<str>>>, next: usize },
}

impl Rounds {
    /// The values of the next round; `None` when all are played.
    pub fn next(&mut self) -> Option<Vec<(Arc<str>, Arc<str>)>> {
        match self {
            Rounds::Numbers { name, next, step, last, hex } => {
                if (*step > 0 && *next > *last) || (*step < 0 && *next < *last) {
                    return None;
                }
                let value = if *hex { format!("{next:x}") } else { next.to_string() };
                *next += *step;
                Some(vec![(name.clone(), value.into())])
            }
            Rounds::Rows { names, rows, next } => {
                let row = rows.get(*next)?;
                *next += 1;
                Some(names.iter().cloned().zip(row.iter().cloned()).collect())
            }
        }
    }
}

/// The head of a `~SEQ` before its numbers, which may hold definitions, are known.
pub(crate) struct Head<'a> {
    pub hex: bool,
    pub name: &'a str,
    /// What stands between the name's comma and the closing parenthesis.
    pub numbers: &'a str,
    /// The line that is repeated.
    pub text: &'a str,
}

const SEQ_FORM: &str = "write ~SEQ(name, last), ~SEQ(name, first, last) or ~SEQ(name, first, step, last)";
const LST_FORM: &str = "write ~LST(name, a, b) or ~LST({x, y}, {1, 2}, {3, 4})";

/// What is wrong with a head, and how it should look.
pub(crate) type Fault = (&'static str, &'static str);

fn blanks(input: &str) -> IResult<&str, &str> {
    take_while(is_blank).parse(input)
}

/// Reads `~SEQ…` up to the text.
pub(crate) fn seq_head(line: &str) -> Result<Head<'_>, Fault> {
    let start = (tag("~SEQ"), opt(char('x')), blanks, char('('), blanks);
    let name = take_till(|c| is_blank(c) || c == ',' || c == ')');
    let parsed: IResult<&str, _> = (start, name, blanks, char(','), blanks).parse(line);
    let Ok((rest, ((_, hex, ..), name, ..))) = parsed else {
        return Err(("this ~SEQ names no variable", SEQ_FORM));
    };
    if name.is_empty() || name.starts_with('{') {
        return Err(("this ~SEQ names no variable", SEQ_FORM));
    }
    let Some((numbers, text)) = rest.split_once(')') else {
        return Err(("this ~SEQ has no closing parenthesis", SEQ_FORM));
    };
    Ok(Head { hex: hex.is_some(), name, numbers, text: text.trim_start_matches(is_blank) })
}

/// The numbers of a `~SEQ`, definitions replaced.
pub(crate) fn seq_rounds(name: &str, hex: bool, numbers: &str) -> Result<Rounds, Fault> {
    let mut read = Vec::new();
    for part in numbers.split(',') {
        let (value, rest) = number(part);
        if !rest.trim_start_matches(is_blank).is_empty() {
            return Err(("a ~SEQ counts with whole numbers only", SEQ_FORM));
        }
        read.push(value);
    }
    let (first, step, last) = match *read.as_slice() {
        // One number counts up from 1, or down: 0 gives 1 0, a negative end starts at -1.
        [last] => (if last < 0 { -1 } else { 1 }, if last < 1 { -1 } else { 1 }, last),
        [first, last] => (first, if first <= last { 1 } else { -1 }, last),
        [first, step, last] => (first, step, last),
        _ => return Err(("a ~SEQ has one to three numbers", SEQ_FORM)),
    };
    if step == 0 {
        return Err(("a ~SEQ cannot count in steps of 0", SEQ_FORM));
    }
    if (first < last && step < 0) || (first > last && step > 0) {
        return Err(("the step of this ~SEQ leads away from its end", "turn the sign of the step, or swap the ends"));
    }
    if hex && (first < 0 || last < 0) {
        return Err(("~SEQx counts with numbers from 0 up only", SEQ_FORM));
    }
    Ok(Rounds::Numbers { name: name.into(), next: first, step, last, hex })
}

/// As strtol does with base 0: blanks, a sign, `0x` or `0`, as many digits as there are; no digits are 0.
fn number(text: &str) -> (i128, &str) {
    let text = text.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
    let (sign, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (-1, &text[1..]),
        Some(b'+') => (1, &text[1..]),
        _ => (1, text),
    };
    let hexadecimal = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X"));
    let (radix, digits) = match hexadecimal {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_hexdigit()) => (16, rest),
        _ if unsigned.starts_with('0') => (8, unsigned),
        _ => (10, unsigned),
    };
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    if digits.is_empty() {
        return (0, text);
    }
    let value = i128::from_str_radix(digits, radix).unwrap_or(i128::MAX);
    ((sign * value).clamp(i64::MIN.into(), i64::MAX.into()), rest)
}

/// Reads `~LST…`: the rounds and the text.
pub(crate) fn lst(line: &str) -> Result<(Rounds, &str), Fault> {
    let not_a_list = ("this ~LST cannot be read", LST_FORM);
    let start: IResult<&str, _> = (tag("~LST"), blanks, char('('), blanks).parse(line);
    let Ok((rest, _)) = start else { return Err(not_a_list) };
    let Ok((mut rest, names)) = row(rest, " \t,}") else { return Err(not_a_list) };
    let mut rows = Vec::new();
    loop {
        let next: IResult<&str, _> = (char(','), blanks).parse(rest);
        let Ok((after, _)) = next else { return Err(not_a_list) };
        let Ok((after, mut values)) = row(after, " \t,})") else { return Err(not_a_list) };
        if values.len() > names.len() {
            return Err(("a row of this ~LST has more values than there are names", LST_FORM));
        }
        values.resize(names.len(), "".into());
        rows.push(values);
        rest = after;
        if let Some(text) = rest.strip_prefix(')') {
            return Ok((Rounds::Rows { names, rows, next: 0 }, text.trim_start_matches(is_blank)));
        }
    }
}

/// One value, or several in braces, and the blanks after.
fn row<'a>(input: &'a str, ends: &'static str) -> IResult<&'a str, Vec<Arc<str>>> {
    let value = |input: &'a str| -> IResult<&'a str, Arc<str>> {
        let (rest, (value, _)) = (take_till(|c| ends.contains(c)), blanks).parse(input)?;
        Ok((rest, value.into()))
    };
    let opened: IResult<&str, _> = (char('{'), blanks).parse(input);
    let Ok((mut rest, _)) = opened else {
        let (rest, only) = value(input)?;
        return Ok((rest, vec![only]));
    };
    let mut values = Vec::new();
    loop {
        let (after, one) = value(rest)?;
        values.push(one);
        let closed: IResult<&str, _> = (char('}'), blanks).parse(after);
        if let Ok((rest, _)) = closed {
            return Ok((rest, values));
        }
        let (after, _) = (char(','), blanks).parse(after)?;
        rest = after;
    }
}
