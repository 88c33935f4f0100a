//! Classic BPF for the VRRP sockets: of protocol 112 everything gets through to the engine, which counts what is wrong by
//! its reason (a stump, another version, a length that cannot be), but no more of it than an advert can have. Of AH, which
//! others use for other ends, only what has VRRP behind it costs a wake-up.

use crate::wire::{Family, PROTOCOL_AH};
use socket2::SockFilter;

const LOAD_LENGTH: u16 = 0x80; // A = length of the packet
const LOAD_BYTE_INDEXED: u16 = 0x50; // A = byte at X + k
const LOAD_HEADER_LENGTH: u16 = 0xb1; // X = 4 × (low nibble of byte k)
const AND: u16 = 0x54;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35; // A ≥ k
const JUMP_GREATER: u16 = 0x25; // A > k
const RETURN: u16 = 0x06;

const DROP: u32 = 0;

const HEADER: u32 = 8;
const IPV4: u32 = 20;
const AH: u32 = 24;
/// IP options, AH, header, 255 addresses, authentication data or HMAC trailer, and some padding.
const LONGEST_V4: u32 = 60 + AH + HEADER + 255 * 4 + 8 + 28 + 64;
const LONGEST_V6: u32 = HEADER + 255 * 16 + 28 + 64;

/// A raw IPv4 socket's filter sees the packet from its IP header on. One byte more than an advert can have is let
/// through, so that the engine sees that it is too long.
static V4: [SockFilter; 1] = [SockFilter::new(RETURN, 0, 0, LONGEST_V4 + 1)];

/// A raw IPv6 socket's filter sees the payload.
static V6: [SockFilter; 1] = [SockFilter::new(RETURN, 0, 0, LONGEST_V6 + 1)];

/// Behind an authentication header: VRRP must be next, and only version 2 has it (RFC 2338).
static V4_AH: [SockFilter; 11] = [
    SockFilter::new(LOAD_LENGTH, 0, 0, 0),
    SockFilter::new(JUMP_GREATER, 8, 0, LONGEST_V4),
    SockFilter::new(JUMP_AT_LEAST, 0, 7, IPV4 + AH + HEADER),
    SockFilter::new(LOAD_HEADER_LENGTH, 0, 0, 0),
    SockFilter::new(LOAD_BYTE_INDEXED, 0, 0, 0),
    SockFilter::new(JUMP_EQUAL, 0, 4, 112),
    SockFilter::new(LOAD_BYTE_INDEXED, 0, 0, AH),
    SockFilter::new(AND, 0, 0, 0xf0),
    SockFilter::new(JUMP_EQUAL, 0, 1, 0x20),
    SockFilter::new(RETURN, 0, 0, LONGEST_V4 + 1),
    SockFilter::new(RETURN, 0, 0, DROP),
];

static NOTHING: [SockFilter; 1] = [SockFilter::new(RETURN, 0, 0, DROP)];

/// For a socket that only sends.
pub fn nothing() -> &'static [SockFilter] {
    &NOTHING
}

/// The program for a socket of this family and IP protocol.
pub fn adverts(family: Family, protocol: u8) -> &'static [SockFilter] {
    match (family, protocol) {
        (Family::V4, PROTOCOL_AH) => &V4_AH,
        (Family::V4, _) => &V4,
        (Family::V6, _) => &V6,
    }
}
