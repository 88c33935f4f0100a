//! PING_CHECK: an ICMP echo request, and its reply (keepalived check_ping.c; RFC 792, RFC 4443 §4.1 and §4.2).
//!
//! Identifier and sequence number come from whoever owns the socket, since all pings of a family share one; that one also
//! drops what comes from elsewhere. What is no reply to this very request is no reason to fail: the wait goes on.

use super::transcript::{self, Transcript};
use super::{Dialogue, Heard, Numbers, Patience, Step, filler, gave_up};
use crate::balance::io::{Finding, Stage};
use crate::time::Time;
use crate::wire::checksum;
use std::net::IpAddr;

const ECHO_REQUEST_V4: u8 = 8;
const ECHO_REPLY_V4: u8 = 0;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;
/// Bytes behind the header, as keepalived has them.
const DATA: usize = 128;

/// A PING_CHECK: one echo request, its reply.
#[derive(Debug)]
pub struct Ping {
    target: IpAddr,
    numbers: Numbers,
    patience: Patience,
    until: Time,
}

impl Ping {
    /// With the numbers by which the reply is known.
    pub fn new(target: IpAddr, numbers: Numbers, patience: Patience) -> Ping {
        Ping { target, numbers, patience, until: Time::ZERO }
    }
}

/// Identifier and sequence number of an echo reply; `None` for any other message.
pub fn reply(message: &[u8], v6: bool) -> Option<Numbers> {
    let [kind, 0, _, _, id_high, id_low, high, low, ..] = *message else { return None };
    let wanted = if v6 { ECHO_REPLY_V6 } else { ECHO_REPLY_V4 };
    (kind == wanted)
        .then_some(Numbers { id: u16::from_be_bytes([id_high, id_low]), sequence: u16::from_be_bytes([high, low]) })
}

/// An echo request. The checksum of ICMPv6 needs addresses: the kernel fills it in.
fn request(v6: bool, numbers: Numbers) -> Vec<u8> {
    let mut packet = vec![if v6 { ECHO_REQUEST_V6 } else { ECHO_REQUEST_V4 }, 0, 0, 0];
    packet.extend(numbers.id.to_be_bytes());
    packet.extend(numbers.sequence.to_be_bytes());
    packet.extend(filler(DATA));
    if !v6 {
        let [high, low] = checksum::internet(&packet).to_be_bytes();
        if let [_, _, first, second, ..] = packet.as_mut_slice() {
            (*first, *second) = (high, low);
        }
    }
    packet
}

impl Dialogue for Ping {
    fn next(&mut self, now: Time, heard: Heard<'_>, talk: &mut Transcript) -> Step {
        let v6 = self.target.is_ipv6();
        match heard {
            Heard::Begin => Step::Connect { until: self.patience.stage_from(now) },
            Heard::Connected => {
                self.until = self.patience.stage_from(now);
                let bytes = request(v6, self.numbers);
                talk.sent(now, || {
                    format!("ICMP echo request {}, {}", self.numbers.sequence, transcript::length(&bytes))
                });
                Step::Send { bytes, until: self.until }
            }
            Heard::Bytes(message) if reply(message, v6) == Some(self.numbers) => {
                talk.received(now, || format!("ICMP echo reply {}", self.numbers.sequence));
                Step::Done(Finding::Good)
            }
            Heard::Bytes(_) | Heard::Sent => Step::Listen { until: self.until },
            other => gave_up(other, Stage::Answer),
        }
    }
}
