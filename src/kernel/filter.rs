//! Classic BPF for the VRRP sockets: what cannot be an advert is dropped in the kernel and costs no wake-up.
//!
//! Only shape is looked at: protocol version 2 or 3 and a length that an advert can have. Everything that an operator
//! may want to be told about (wrong type, TTL, checksum, authentication) gets through to the engine.

use crate::wire::{Family, PROTOCOL_AH};
use socket2::SockFilter;

const LOAD_LENGTH: u16 = 0x80; // A = length of the packet
const LOAD_BYTE: u16 = 0x30; // A = byte at k
const LOAD_BYTE_INDEXED: u16 = 0x50; // A = byte at X + k
const LOAD_HEADER_LENGTH: u16 = 0xb1; // X = 4 × (low nibble of byte k)
const AND: u16 = 0x54;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35; // A ≥ k
const JUMP_GREATER: u16 = 0x25; // A > k
const RETURN: u16 = 0x06;

const DROP: u32 = 0;
const WHOLE: u32 = u32::MAX;

const HEADER: u32 = 8;
const IPV4: u32 = 20;
const AH: u32 = 24;
/// IP options, AH, header, 255 addresses, authentication data or HMAC trailer, and some padding.
const LONGEST_V4: u32 = 60 + AH + HEADER + 255 * 4 + 8 + 28 + 64;
const LONGEST_V6: u32 = HEADER + 255 * 16 + 28 + 64;

/// A raw IPv4 socket's filter sees the packet from its IP header on.
static V4: [SockFilter; 9] = [
    SockFilter::new(LOAD_LENGTH, 0, 0, 0),
    SockFilter::new(JUMP_GREATER, 6, 0, LONGEST_V4),
    SockFilter::new(JUMP_AT_LEAST, 0, 5, IPV4 + HEADER),
    SockFilter::new(LOAD_HEADER_LENGTH, 0, 0, 0),
    SockFilter::new(LOAD_BYTE_INDEXED, 0, 0, 0),
    // 0x20 and 0x30 differ in one bit.
    SockFilter::new(AND, 0, 0, 0xe0),
    SockFilter::new(JUMP_EQUAL, 0, 1, 0x20),
    SockFilter::new(RETURN, 0, 0, WHOLE),
    SockFilter::new(RETURN, 0, 0, DROP),
];

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
    SockFilter::new(RETURN, 0, 0, WHOLE),
    SockFilter::new(RETURN, 0, 0, DROP),
];

/// A raw IPv6 socket's filter sees the payload.
static V6: [SockFilter; 8] = [
    SockFilter::new(LOAD_LENGTH, 0, 0, 0),
    SockFilter::new(JUMP_GREATER, 5, 0, LONGEST_V6),
    SockFilter::new(JUMP_AT_LEAST, 0, 4, HEADER),
    SockFilter::new(LOAD_BYTE, 0, 0, 0),
    SockFilter::new(AND, 0, 0, 0xe0),
    SockFilter::new(JUMP_EQUAL, 0, 1, 0x20),
    SockFilter::new(RETURN, 0, 0, WHOLE),
    SockFilter::new(RETURN, 0, 0, DROP),
];

/// The program for a socket of this family and IP protocol.
pub fn adverts(family: Family, protocol: u8) -> &'static [SockFilter] {
    match (family, protocol) {
        (Family::V4, PROTOCOL_AH) => &V4_AH,
        (Family::V4, _) => &V4,
        (Family::V6, _) => &V6,
    }
}
