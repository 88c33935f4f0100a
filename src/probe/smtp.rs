//! SMTP_CHECK: greeting 220, HELO, 250, QUIT, and any line (keepalived check_smtp.c; RFC 5321 §4.2).
//!
//! A reply may have several lines, each but the last with a hyphen behind its code; the last one's code counts.

use super::transcript::{self, Transcript};
use super::{Dialogue, Heard, Patience, Step, bad, gave_up, malformed};
use crate::balance::io::{Finding, Stage, Symptom};
use crate::time::Time;
use std::sync::Arc;

/// Longest line, in bytes. RFC 5321 §4.5.3.1.5 has 512; servers are known that go beyond.
const LONGEST_LINE: usize = 4096;
/// Longest reply, in bytes, all lines together.
const LONGEST_REPLY: usize = 16 * 1024;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Await {
    Connection,
    Greeting,
    Hello,
    Farewell,
}

/// An SMTP_CHECK: greeting, HELO, QUIT.
#[derive(Debug)]
pub struct Smtp {
    name: Arc<str>,
    patience: Patience,
    until: Time,
    end: Time,
    awaited: Await,
    line: Vec<u8>,
    /// Bytes of the reply up to now.
    heard: usize,
}

/// What one line of a reply says.
enum Line {
    More,
    Last(u16),
    Odd,
}

fn read(line: &[u8]) -> Line {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let Some((digits, rest)) = line.split_at_checked(3) else { return Line::Odd };
    let Some(code) = std::str::from_utf8(digits)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
    else {
        return Line::Odd;
    };
    match rest.first() {
        None | Some(b' ') => Line::Last(code),
        Some(b'-') => Line::More,
        Some(_) => Line::Odd,
    }
}

impl Smtp {
    /// Says `name` in its HELO.
    pub fn new(name: Arc<str>, patience: Patience) -> Smtp {
        Smtp {
            name,
            patience,
            until: Time::ZERO,
            end: Time::ZERO,
            awaited: Await::Connection,
            line: Vec::new(),
            heard: 0,
        }
    }

    fn stage(&self) -> Stage {
        if self.awaited == Await::Connection { Stage::Connect } else { Stage::Answer }
    }

    fn wait(&mut self, now: Time) -> Step {
        self.until = self.patience.stage_from(now).min(self.end);
        Step::Listen { until: self.until }
    }

    fn say(&mut self, now: Time, text: String, awaited: Await, talk: &mut Transcript) -> Step {
        talk.sent(now, || transcript::text(text.as_bytes()));
        self.awaited = awaited;
        self.line.clear();
        self.heard = 0;
        Step::Send { bytes: text.into_bytes(), until: self.patience.stage_from(now).min(self.end) }
    }

    fn hear(&mut self, now: Time, mut bytes: &[u8], talk: &mut Transcript) -> Step {
        while let Some(at) = bytes.iter().position(|byte| *byte == b'\n') {
            let (piece, rest) = bytes.split_at(at);
            bytes = rest.get(1..).unwrap_or_default();
            if self.line.len().saturating_add(piece.len()) > LONGEST_LINE {
                return bad(Symptom::TooLong(LONGEST_LINE as u64));
            }
            self.line.extend_from_slice(piece);
            self.heard = self.heard.saturating_add(piece.len() + 1);
            if self.heard > LONGEST_REPLY {
                return bad(Symptom::TooLong(LONGEST_REPLY as u64));
            }
            let line = std::mem::take(&mut self.line);
            talk.received(now, || transcript::text(&line));
            match (self.awaited, read(&line)) {
                (Await::Farewell, _) => return Step::Done(Finding::Good),
                (_, Line::More) => {}
                (_, Line::Odd) => return malformed("a line without a reply code"),
                (Await::Greeting, Line::Last(220)) => {
                    let hello = format!("HELO {}\r\n", self.name);
                    return self.say(now, hello, Await::Hello, talk);
                }
                (Await::Hello, Line::Last(250)) => return self.say(now, "QUIT\r\n".into(), Await::Farewell, talk),
                (_, Line::Last(code)) => return bad(Symptom::Answer(code)),
            }
        }
        if self.line.len().saturating_add(bytes.len()) > LONGEST_LINE {
            return bad(Symptom::TooLong(LONGEST_LINE as u64));
        }
        self.line.extend_from_slice(bytes);
        if now >= self.end { bad(Symptom::TimedOut(Stage::Answer)) } else { self.wait(now) }
    }
}

impl Dialogue for Smtp {
    fn next(&mut self, now: Time, heard: Heard<'_>, talk: &mut Transcript) -> Step {
        match heard {
            Heard::Begin => {
                self.end = now + self.patience.whole;
                Step::Connect { until: self.patience.stage_from(now) }
            }
            Heard::Connected => {
                self.awaited = Await::Greeting;
                self.wait(now)
            }
            Heard::Sent => self.wait(now),
            Heard::Bytes(bytes) => self.hear(now, bytes, talk),
            other => gave_up(other, self.stage()),
        }
    }
}
