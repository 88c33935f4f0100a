//! DNS_CHECK: one question over UDP, and an answer without an error (keepalived check_dns.c; RFC 1035 §4).
//!
//! The answer's sections are not looked at: a name server that says "no error" works, whatever it knows of the name.
//! Datagrams with another id, and those that are no response, are passed over, as many as may come.

use super::transcript::Transcript;
use super::{Dialogue, Heard, Patience, Step, bad, gave_up, malformed};
use crate::balance::io::{Finding, Stage, Symptom};
use crate::time::Time;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, TYPE, header_buffer};
use std::sync::Arc;

/// The bytes of a question whose id is 0, and how a person would say it; or why there is no such question.
pub type Question = Result<(Arc<[u8]>, Arc<str>), Arc<str>>;

/// Makes the question.
///
/// # Errors
/// A label is longer than 63 bytes, or the name longer than 255.
pub fn question(record: &str, name: &str) -> Question {
    let unfit = |_| Arc::from(format!("`{name}` cannot be asked for: a label or the name is too long"));
    let kind = match record {
        "A" => TYPE::A,
        "NS" => TYPE::NS,
        "CNAME" => TYPE::CNAME,
        "MX" => TYPE::MX,
        "TXT" => TYPE::TXT,
        "AAAA" => TYPE::AAAA,
        "RRSIG" => TYPE::RRSIG,
        "DNSKEY" => TYPE::DNSKEY,
        _ => TYPE::SOA,
    };
    let asked = Name::new(name.strip_suffix('.').unwrap_or(name)).map_err(unfit)?;
    let mut packet = Packet::new_query(0);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(simple_dns::Question::new(asked, QTYPE::TYPE(kind), CLASS::IN.into(), false));
    let bytes = packet.build_bytes_vec().map_err(unfit)?;
    Ok((bytes.into(), format!("{record} of {name}").into()))
}

/// A DNS_CHECK: one question, the answer with its number.
#[derive(Debug)]
pub struct Dns {
    question: Question,
    id: u16,
    patience: Patience,
    until: Time,
}

impl Dns {
    /// Asks `question` under the number `id`.
    pub fn new(question: &Question, id: u16, patience: Patience) -> Dns {
        Dns { question: question.clone(), id, patience, until: Time::ZERO }
    }

    /// The RCODE, if this is a response to our question.
    fn answer(&self, datagram: &[u8]) -> Option<u16> {
        let ours = header_buffer::id(datagram) == Ok(self.id)
            && header_buffer::has_flags(datagram, PacketFlag::RESPONSE) == Ok(true);
        // A header is whole or it is none (RFC 1035 §4.1.1: 12 bytes, the RCODE in the low half of the fourth).
        let [_, _, _, rcode, _, _, _, _, _, _, _, _, ..] = *datagram else { return None };
        ours.then_some(u16::from(rcode & 0x0f))
    }
}

impl Dialogue for Dns {
    fn next(&mut self, now: Time, heard: Heard<'_>, talk: &mut Transcript) -> Step {
        match heard {
            Heard::Begin => match &self.question {
                Ok(_) => Step::Connect { until: self.patience.stage_from(now) },
                Err(why) => malformed(&**why),
            },
            Heard::Connected => {
                let Ok((bytes, words)) = &self.question else { return malformed("there is no question") };
                let mut bytes = bytes.to_vec();
                for (to, from) in bytes.iter_mut().zip(self.id.to_be_bytes()) {
                    *to = from;
                }
                self.until = self.patience.stage_from(now);
                talk.sent(now, || format!("question {:#06x}: {words}", self.id));
                Step::Send { bytes, until: self.until }
            }
            Heard::Sent => Step::Listen { until: self.until },
            Heard::Bytes(datagram) => match self.answer(datagram) {
                None => {
                    talk.note(now, || format!("{} bytes that are no answer to the question", datagram.len()));
                    Step::Listen { until: self.until }
                }
                Some(rcode) => {
                    talk.received(now, || format!("answer of {} bytes, RCODE {rcode}", datagram.len()));
                    if rcode == 0 { Step::Done(Finding::Good) } else { bad(Symptom::Answer(rcode)) }
                }
            },
            other => gave_up(other, Stage::Answer),
        }
    }
}
