//! Seals on adverts: the IPsec authentication header of RFC 2338 (`auth_type AH`) and keepalived 2.4's `auth_hmac`
//! trailer. Makes and checks digests; what a good or bad digest means is the engine's business, and so are replay
//! windows and key choice.
//!
//! A plain password needs nothing from here: it is a field of the advert.

use super::Family;
use super::PROTOCOL_VRRP;
use super::Version;
use super::Vrid;
use super::checksum::internet;
use super::frames::IPV4_HEAD;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::Sha256;
use std::net::IpAddr;

/// Length of an authentication header with HMAC-MD5-96: 12 bytes fixed, 12 bytes digest.
pub const AH_HEAD: usize = 24;
/// Length of an `auth_hmac` trailer.
pub const TRAILER: usize = 28;
/// The only trailer type there is.
pub const TRAILER_KIND: u8 = 1;

const AH_DIGEST: usize = 12;
const AH_DIGEST_AT: usize = 12;
/// Length in 32-bit words minus 2 (RFC 2402 §2.2).
const AH_PAYLOAD_LENGTH: u8 = 4;
const TRAILER_DIGEST: usize = 16;
const TRAILER_DIGEST_AT: usize = TRAILER - TRAILER_DIGEST;

/// The authentication header of a received datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ah {
    /// Protocol behind it; 112 is ours.
    pub next: u8,
    /// keepalived writes the source address here.
    pub spi: [u8; 4],
    pub sequence: u32,
}

/// Reads an authentication header; the second part is what follows it.
pub fn read_ah(bytes: &[u8]) -> Option<(Ah, &[u8])> {
    let (head, rest) = bytes.split_at_checked(AH_HEAD)?;
    match *head {
        [next, _, _, _, p0, p1, p2, p3, s0, s1, s2, s3, ..] => {
            Some((Ah { next, spi: [p0, p1, p2, p3], sequence: u32::from_be_bytes([s0, s1, s2, s3]) }, rest))
        }
        _ => None,
    }
}

/// An authentication header with its digest still zero.
pub fn ah_head(spi: [u8; 4], sequence: u32) -> [u8; AH_HEAD] {
    let mut head = [0; AH_HEAD];
    head[0] = PROTOCOL_VRRP;
    head[1] = AH_PAYLOAD_LENGTH;
    head[4..8].copy_from_slice(&spi);
    head[8..12].copy_from_slice(&sequence.to_be_bytes());
    head
}

/// The digest over an IPv4 datagram of `header` and `rest` (authentication header, then advert). TOS, fragment bits,
/// checksum and, for unicast, TTL are mutable in transit and count as zero; so does the digest.
fn ah_mac(header: &[u8], rest: &[u8], key: &[u8; 8], unicast: bool) -> Option<Hmac<Md5>> {
    let mut mac = Hmac::<Md5>::new_from_slice(key).ok()?;
    let (fixed, options) = header.split_at_checked(IPV4_HEAD)?;
    let mut fixed: [u8; IPV4_HEAD] = fixed.try_into().ok()?;
    fixed[1] = 0;
    fixed[6] = 0;
    fixed[7] = 0;
    if unicast {
        fixed[8] = 0;
    }
    fixed[10] = 0;
    fixed[11] = 0;
    mac.update(&fixed);
    mac.update(options);
    mac.update(rest.get(..AH_DIGEST_AT)?);
    mac.update(&[0; AH_DIGEST]);
    mac.update(rest.get(AH_HEAD..)?);
    Some(mac)
}

/// Writes sequence and digest into a datagram of IPv4 header without options, authentication header, advert, and sets
/// the header checksum right.
pub fn seal_ah(datagram: &mut [u8], key: &[u8; 8], sequence: u32, unicast: bool) {
    let Some((header, rest)) = datagram.split_at_mut_checked(IPV4_HEAD) else { return };
    if let Some(field) = rest.get_mut(8..12) {
        field.copy_from_slice(&sequence.to_be_bytes());
    }
    let Some(mac) = ah_mac(header, rest, key, unicast) else { return };
    let digest = mac.finalize().into_bytes();
    if let (Some(field), Some(left)) = (rest.get_mut(AH_DIGEST_AT..AH_HEAD), digest.get(..AH_DIGEST)) {
        field.copy_from_slice(left);
    }
    if let Some(field) = header.get_mut(10..12) {
        field.fill(0);
    }
    let sum = internet(header).to_be_bytes();
    if let Some(field) = header.get_mut(10..12) {
        field.copy_from_slice(&sum);
    }
}

/// Is the digest of a received datagram right? `header` is its IP header, `rest` what follows it up to the total length.
pub fn verify_ah(header: &[u8], rest: &[u8], key: &[u8; 8], unicast: bool) -> bool {
    let Some(tag) = rest.get(AH_DIGEST_AT..AH_HEAD) else { return false };
    ah_mac(header, rest, key, unicast).is_some_and(|mac| mac.verify_truncated_left(tag).is_ok())
}

/// What an `auth_hmac` digest is bound to besides the bytes themselves, so that a sealed advert cannot be played
/// into another virtual router or under another name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bound {
    pub version: Version,
    pub vrid: Vrid,
    pub source: IpAddr,
}

impl Bound {
    /// The 20 bytes that are summed before the advert.
    fn pseudo_header(&self) -> [u8; 20] {
        let mut head = [0; 20];
        head[0] = match Family::of(&self.source) {
            Family::V4 => 4,
            Family::V6 => 6,
        };
        head[1] = self.version.number();
        head[2] = self.vrid.get();
        match self.source {
            IpAddr::V4(a) => head[4..8].copy_from_slice(&a.octets()),
            IpAddr::V6(a) => head[4..20].copy_from_slice(&a.octets()),
        }
        head
    }

    /// `advert` with its checksum as zero, then the trailer up to its digest, then zeros for the digest.
    fn mac(&self, key: &[u8], advert: &[u8], trailer: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
        mac.update(&self.pseudo_header());
        mac.update(advert.get(..6)?);
        mac.update(&[0; 2]);
        mac.update(advert.get(8..)?);
        mac.update(trailer.get(..TRAILER_DIGEST_AT)?);
        mac.update(&[0; TRAILER_DIGEST]);
        Some(mac)
    }
}

/// The `auth_hmac` trailer of a received advert.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trailer {
    pub kind: u8,
    pub key: u8,
    pub reserved: u16,
    /// Seconds (32 bits), fraction of a second (16 bits) and counter (16 bits) as one number.
    pub sequence: u64,
}

impl Trailer {
    /// Reads a trailer; `None` when `bytes` are not exactly as long as one.
    pub fn read(bytes: &[u8]) -> Option<Trailer> {
        let bytes: [u8; TRAILER] = bytes.try_into().ok()?;
        let [kind, key, r1, r0, s7, s6, s5, s4, s3, s2, s1, s0, ..] = bytes;
        let reserved = u16::from_be_bytes([r1, r0]);
        Some(Trailer { kind, key, reserved, sequence: u64::from_be_bytes([s7, s6, s5, s4, s3, s2, s1, s0]) })
    }

    /// The seconds of the sender's clock in the sequence.
    pub const fn seconds(&self) -> u32 {
        (self.sequence >> 32) as u32
    }
}

/// A trailer that seals `advert`. It covers the advert without its checksum field, which may be filled in later.
pub fn seal_trailer(bound: Bound, key_id: u8, key: &[u8], sequence: u64, advert: &[u8]) -> [u8; TRAILER] {
    let mut trailer = [0; TRAILER];
    trailer[0] = TRAILER_KIND;
    trailer[1] = key_id;
    trailer[4..12].copy_from_slice(&sequence.to_be_bytes());
    if let Some(mac) = bound.mac(key, advert, &trailer) {
        let digest = mac.finalize().into_bytes();
        if let Some(left) = digest.get(..TRAILER_DIGEST) {
            trailer[TRAILER_DIGEST_AT..].copy_from_slice(left);
        }
    }
    trailer
}

/// Is the digest in `trailer` (28 bytes as received) right for `advert`?
pub fn verify_trailer(bound: Bound, key: &[u8], advert: &[u8], trailer: &[u8]) -> bool {
    let Some(tag) = trailer.get(TRAILER_DIGEST_AT..TRAILER) else { return false };
    bound.mac(key, advert, trailer).is_some_and(|mac| mac.verify_truncated_left(tag).is_ok())
}

/// Does `a` come after `b` in serial number arithmetic (RFC 1982)?
pub const fn comes_after(a: u64, b: u64) -> bool {
    (a.wrapping_sub(b) as i64) > 0
}

/// A clock reading as the sequence of a trailer, its counter zero.
pub const fn clock_sequence(unix_micros: u64) -> u64 {
    let seconds = unix_micros / 1_000_000;
    let fraction = ((unix_micros % 1_000_000) << 16) / 1_000_000;
    ((seconds & 0xFFFF_FFFF) << 32) | (fraction << 16)
}
