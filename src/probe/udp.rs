//! UDP_CHECK: a datagram goes out, and nobody says that it cannot be delivered (keepalived check_udp.c, layer4.c).
//!
//! Without `require_reply` silence is good, since many servers answer nothing to what they do not understand; an ICMP
//! "unreachable" is bad. With it there must be a reply, of a length within `min_reply_length` and `max_reply_length`; with
//! digits behind it the reply must begin with them. A reply shorter than those digits does not match.

use super::transcript::{self, Transcript};
use super::{Dialogue, Failure, Heard, Patience, Step, bad, filler, gave_up, malformed};
use crate::balance::io::{Finding, Stage, Symptom};
use crate::time::Time;
use std::sync::Arc;

/// Bytes that are sent without `payload`.
const FILLER: usize = 32;

/// What a UDP_CHECK sends and what it wants back.
#[derive(Debug)]
pub struct Question {
    payload: Vec<u8>,
    /// `None`: no reply is needed.
    reply: Option<Box<[(u8, u8)]>>,
    shortest: u16,
    longest: u16,
}

impl Question {
    /// An empty payload stands for keepalived's filler text.
    pub fn new(payload: &[u8], reply: Option<&[(u8, u8)]>, shortest: u16, longest: u16) -> Question {
        let payload = if payload.is_empty() { filler(FILLER) } else { payload.to_vec() };
        Question { payload, reply: reply.map(Into::into), shortest, longest }
    }

    fn judge(&self, reply: &[u8]) -> Step {
        let Some(pattern) = &self.reply else { return Step::Done(Finding::Good) };
        if reply.len() > usize::from(self.longest) {
            return bad(Symptom::TooLong(reply.len() as u64));
        }
        if reply.len() < usize::from(self.shortest) {
            let least = self.shortest;
            return malformed(format!("a reply of {} bytes, and {least} are the least", reply.len()));
        }
        let matches = reply.len() >= pattern.len()
            && reply.iter().zip(pattern).all(|(byte, (wanted, mask))| byte & mask == wanted & mask);
        if matches { Step::Done(Finding::Good) } else { bad(Symptom::Pattern) }
    }
}

/// A UDP_CHECK.
#[derive(Debug)]
pub struct Udp {
    question: Arc<Question>,
    patience: Patience,
    until: Time,
}

impl Udp {
    /// Asks this question.
    pub fn new(question: Arc<Question>, patience: Patience) -> Udp {
        Udp { question, patience, until: Time::ZERO }
    }
}

impl Dialogue for Udp {
    fn next(&mut self, now: Time, heard: Heard<'_>, talk: &mut Transcript) -> Step {
        match heard {
            Heard::Begin => Step::Connect { until: self.patience.stage_from(now) },
            Heard::Connected => {
                self.until = self.patience.stage_from(now);
                talk.sent(now, || transcript::bytes(&self.question.payload));
                Step::Send { bytes: self.question.payload.clone(), until: self.until }
            }
            Heard::Sent => Step::Listen { until: self.until },
            Heard::Bytes(reply) => {
                talk.received(now, || transcript::bytes(reply));
                self.question.judge(reply)
            }
            Heard::TimedOut if self.question.reply.is_none() => {
                talk.note(now, || "nothing came back, and nothing has to".into());
                Step::Done(Finding::Good)
            }
            // No socket to be had: that is this machine's trouble. Bad is what comes after there is one.
            other @ Heard::Failed(Failure::Local(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)) => {
                gave_up(other, Stage::Answer)
            }
            // As keepalived: whatever keeps the datagram from going out is a failure of the check.
            Heard::Failed(Failure::Local(error)) => bad(Symptom::Unreachable(error)),
            other => gave_up(other, Stage::Answer),
        }
    }
}
