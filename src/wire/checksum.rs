//! The Internet checksum (RFC 1071) and the three ways in which VRRP implementations cover an advert with it.
//!
//! Pure arithmetic. Which rule a virtual router uses is a matter of the engine's policy, not of this file.

use std::net::{IpAddr, Ipv4Addr};

/// What the checksum of an advert is made over.
///
/// VRRPv2 covers the VRRP packet alone (RFC 3768 §5.3.8). VRRPv3 covers a pseudo header as well (RFC 5798 §5.2.8 for
/// both families; for IPv4 many implementations left it out). keepalived up to 1.3.6 put the multicast group into
/// the pseudo header although it sent unicast; that form still travels.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ChecksumRule {
    /// Over the VRRP packet only.
    Plain,
    /// Over a pseudo header of these ends and the packet. Old unicast style: `destination` is the multicast group.
    Pseudo { source: IpAddr, destination: IpAddr },
}

impl ChecksumRule {
    /// Over the real ends of the datagram.
    pub const fn pseudo(source: IpAddr, destination: IpAddr) -> Self {
        ChecksumRule::Pseudo { source, destination }
    }

    /// The style of keepalived up to 1.3.6 for unicast IPv4.
    pub const fn old_unicast(source: IpAddr) -> Self {
        ChecksumRule::Pseudo { source, destination: IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18)) }
    }

    /// The sum to begin with before the packet's own bytes.
    fn seed(self, length: usize) -> u64 {
        match self {
            ChecksumRule::Plain => 0,
            ChecksumRule::Pseudo { source, destination } => {
                let ends = match source {
                    IpAddr::V4(a) => sum(&a.octets()),
                    IpAddr::V6(a) => sum(&a.octets()),
                } + match destination {
                    IpAddr::V4(a) => sum(&a.octets()),
                    IpAddr::V6(a) => sum(&a.octets()),
                };
                ends + u64::from(super::PROTOCOL_VRRP) + length as u64
            }
        }
    }

    /// Checksum of `bytes` under this rule, with the checksum field inside `bytes` zero. Over bytes that carry a
    /// right checksum the result is 0.
    pub fn over(self, bytes: &[u8]) -> u16 {
        fold(self.seed(bytes.len()) + sum(bytes))
    }

    /// Does the checksum inside `bytes` agree with this rule?
    pub fn holds(self, bytes: &[u8]) -> bool {
        self.over(bytes) == 0
    }
}

/// Checksum of `bytes` (RFC 1071); 0 over bytes that carry their own right checksum.
pub fn internet(bytes: &[u8]) -> u16 {
    fold(sum(bytes))
}

fn sum(bytes: &[u8]) -> u64 {
    let mut pairs = bytes.chunks_exact(2);
    let mut total = 0_u64;
    for pair in pairs.by_ref() {
        if let [high, low] = *pair {
            total += u64::from(u16::from_be_bytes([high, low]));
        }
    }
    if let [last] = *pairs.remainder() {
        total += u64::from(u16::from_be_bytes([last, 0]));
    }
    total
}

fn fold(mut total: u64) -> u16 {
    while total > 0xFFFF {
        total = (total & 0xFFFF) + (total >> 16);
    }
    !(total as u16)
}
