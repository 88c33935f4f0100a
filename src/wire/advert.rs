//! The VRRP advertisement: bytes ⇄ meaning, version 2 (RFC 3768, with the RFC 2338 authentication field) and version 3
//! (RFC 9568), both families.
//!
//! [`Head`] reads what is needed to find the virtual router even in a packet that is otherwise broken; [`parse`] reads
//! the whole. Neither judges: a wrong checksum, password or type is somebody else's business. No panic on any bytes.

use super::Family;
use super::Priority;
use super::Version;
use super::Vrid;
use super::checksum::ChecksumRule;
use super::frames::IPV4_HEAD;
use crate::time::Interval;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The only packet type there is (RFC 9568 §5.2.2).
pub const TYPE_ADVERTISEMENT: u8 = 1;
/// VRRPv2 authentication type: none.
pub const AUTH_NONE: u8 = 0;
/// VRRPv2 authentication type: plain text password (RFC 2338 §5.3.6.2).
pub const AUTH_PASS: u8 = 1;
/// VRRPv2 authentication type: IP authentication header (RFC 2338 §5.3.6.3).
pub const AUTH_AH: u8 = 2;

const HEAD: usize = 8;
const PASSWORD: usize = 8;
/// Payload of the shortest Ethernet frame: shorter datagrams arrive with padding behind them.
const ETHERNET_MINIMUM: usize = 46;

/// Why bytes are not an advert.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Malformed {
    /// Fewer bytes than the fixed part of the header in question.
    Truncated { have: usize, need: usize },
    /// IP header with a version or length that cannot be.
    IpHeader,
    /// Neither 2 nor 3.
    Version(u8),
    /// VRID 0.
    Vrid,
    /// The number of addresses does not go with the number of bytes.
    Length { have: usize, need: usize },
}

/// The fixed eight bytes that both versions begin with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// As on the wire; may be any of 0..=15.
    pub version: u8,
    pub kind: u8,
    pub vrid: u8,
    pub priority: Priority,
    pub count: u8,
    /// Version 2: authentication type and interval in seconds. Version 3: four reserved bits and twelve of centiseconds.
    pub fifth: u8,
    pub sixth: u8,
    pub checksum: u16,
}

impl Head {
    /// `None` when there are fewer than eight bytes.
    pub fn read(bytes: &[u8]) -> Option<Head> {
        match *bytes {
            [first, vrid, priority, count, fifth, sixth, high, low, ..] => Some(Head {
                version: first >> 4,
                kind: first & 0x0F,
                vrid,
                priority: Priority(priority),
                count,
                fifth,
                sixth,
                checksum: u16::from_be_bytes([high, low]),
            }),
            _ => None,
        }
    }
}

/// A whole advert as received. Borrows the bytes that it was read from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Advert<'a> {
    pub version: Version,
    /// 1 is the only one defined.
    pub kind: u8,
    pub vrid: Vrid,
    pub priority: Priority,
    /// 0 for version 3.
    pub auth_type: u8,
    /// 0..=255 s (version 2) or 0..=40.95 s (version 3).
    pub interval: Interval,
    pub checksum: u16,
    pub addresses: Addresses<'a>,
    /// The authentication data that ends a version 2 packet over IPv4.
    pub password: Option<[u8; 8]>,
    /// Exactly the advert: header, addresses, authentication data; no trailer, no padding.
    pub body: &'a [u8],
    /// Whatever stands behind `body`: an `auth_hmac` trailer, Ethernet padding, or both.
    pub surplus: &'a [u8],
}

impl Advert<'_> {
    /// True when there is nothing behind the advert, or nothing but Ethernet padding. A frame is filled up to 46 bytes
    /// of payload, less 4 for each VLAN tag, and everything in a VRRP datagram is a multiple of 4 long; so padding
    /// follows only a datagram shorter than 46 and is 2 more than a multiple of 4. `before` is the length of the headers
    /// in front of the advert.
    pub fn padding_is_plausible(&self, before: usize) -> bool {
        let expected = self.body.len() + before;
        self.surplus.is_empty() || (expected < ETHERNET_MINIMUM && self.surplus.len() % 4 == 2)
    }
}

/// The addresses of an advert, in their order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addresses<'a> {
    family: Family,
    bytes: &'a [u8],
}

impl<'a> Addresses<'a> {
    /// How many.
    pub fn len(&self) -> usize {
        self.bytes.len() / width(self.family)
    }
    /// Whether there is no address.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
    /// The addresses as they stand on the wire.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }
    /// In the order of the advert.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + 'a {
        let family = self.family;
        self.bytes.chunks_exact(width(family)).filter_map(move |chunk| match family {
            Family::V4 => <[u8; 4]>::try_from(chunk).ok().map(|octets| IpAddr::V4(Ipv4Addr::from(octets))),
            Family::V6 => <[u8; 16]>::try_from(chunk).ok().map(|octets| IpAddr::V6(Ipv6Addr::from(octets))),
        })
    }
}

/// Bytes an address takes in an advert.
const fn width(family: Family) -> usize {
    match family {
        Family::V4 => 4,
        Family::V6 => 16,
    }
}

/// Reads the VRRP payload of a datagram (what follows the IP header and, with `auth_type AH`, the AH header).
///
/// Bytes behind the advert are left in [`Advert::surplus`]; fewer bytes than the count of addresses wants are an error.
pub fn parse(bytes: &[u8], family: Family) -> Result<Advert<'_>, Malformed> {
    let head = Head::read(bytes).ok_or(Malformed::Truncated { have: bytes.len(), need: HEAD })?;
    let version = match head.version {
        2 => Version::V2,
        3 => Version::V3,
        other => return Err(Malformed::Version(other)),
    };
    let vrid = Vrid::new(head.vrid).ok_or(Malformed::Vrid)?;
    let with_password = version == Version::V2 && family == Family::V4;
    let list = usize::from(head.count) * width(family);
    let need = HEAD + list + if with_password { PASSWORD } else { 0 };
    let short = Malformed::Length { have: bytes.len(), need };
    let (body, surplus) = bytes.split_at_checked(need).ok_or(short)?;
    let addresses = body.get(HEAD..HEAD + list).ok_or(short)?;
    let password = if with_password { body.get(HEAD + list..).and_then(|p| <[u8; 8]>::try_from(p).ok()) } else { None };
    let (auth_type, interval) = match version {
        Version::V2 => (head.fifth, Interval::from_secs(u64::from(head.sixth))),
        Version::V3 => (0, Interval::from_centis(u64::from(u16::from_be_bytes([head.fifth & 0x0F, head.sixth])))),
    };
    Ok(Advert {
        version,
        kind: head.kind,
        vrid,
        priority: head.priority,
        auth_type,
        interval,
        checksum: head.checksum,
        addresses: Addresses { family, bytes: addresses },
        password,
        body,
        surplus,
    })
}

/// What an advert to be sent says. Addresses of another family than `family` are left out, and so is everything
/// beyond the 255th.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Saying<'a> {
    pub family: Family,
    pub version: Version,
    pub vrid: Vrid,
    pub priority: Priority,
    /// Cut to whole seconds 0..=255 (version 2) or centiseconds 0..=4095 (version 3).
    pub interval: Interval,
    pub auth_type: u8,
    /// Zero unless the authentication type is a password.
    pub password: [u8; 8],
    pub addresses: &'a [IpAddr],
}

impl Saying<'_> {
    /// Appends the advert to `out`, its checksum made under `rule`. `None` leaves the checksum zero, for the kernel
    /// (IPv6) or for a later hand to fill.
    pub fn emit(&self, rule: Option<ChecksumRule>, out: &mut Vec<u8>) {
        let start = out.len();
        let of_family = || self.addresses.iter().filter(|a| Family::of(a) == self.family).take(255);
        let (fifth, sixth) = match self.version {
            Version::V2 => (self.auth_type, u8::try_from(self.interval.as_secs()).unwrap_or(u8::MAX)),
            Version::V3 => {
                let [high, low] = u16::try_from(self.interval.as_centis()).unwrap_or(0x0FFF).min(0x0FFF).to_be_bytes();
                (high, low)
            }
        };
        let count = of_family().count() as u8;
        let first = self.version.number() << 4 | TYPE_ADVERTISEMENT;
        out.extend_from_slice(&[first, self.vrid.get(), self.priority.0, count, fifth, sixth, 0, 0]);
        for address in of_family() {
            match address {
                IpAddr::V4(a) => out.extend_from_slice(&a.octets()),
                IpAddr::V6(a) => out.extend_from_slice(&a.octets()),
            }
        }
        if self.version == Version::V2 && self.family == Family::V4 {
            out.extend_from_slice(&self.password);
        }
        if let (Some(rule), Some(bytes)) = (rule, out.get_mut(start..)) {
            let sum = rule.over(bytes).to_be_bytes();
            if let Some(field) = bytes.get_mut(6..8) {
                field.copy_from_slice(&sum);
            }
        }
    }
}

/// Bytes in front of the advert in an IPv4 datagram without options: what padding has to be reckoned with.
pub const BEFORE_IPV4: usize = IPV4_HEAD;
