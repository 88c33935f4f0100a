//! Bytes ⇄ meaning. Total functions, no state: whatever bytes come, a value or a [`Malformed`](advert::Malformed)
//! goes out, never a panic. This layer knows nothing of instances, policy or sockets.

pub mod advert;
pub mod auth;
pub mod bfd;
pub mod checksum;
pub mod frames;
pub mod link;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Address family of a virtual router.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub enum Family {
    #[serde(rename = "IPv4")]
    V4,
    #[serde(rename = "IPv6")]
    V6,
}

impl Family {
    /// The family of an address.
    pub const fn of(address: &IpAddr) -> Family {
        match address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    /// VRRP's group: 224.0.0.18 (RFC 9568 §5.1.1.2) or ff02::12 (§5.1.2.2).
    pub const fn multicast_group(self) -> IpAddr {
        match self {
            Family::V4 => IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18)),
            Family::V6 => IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12)),
        }
    }
}
impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        })
    }
}

/// VRRP protocol version: 2 is RFC 3768, 3 is RFC 9568 (which replaces RFC 5798).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Version {
    V2,
    V3,
}
impl Version {
    /// As a packet has it.
    pub const fn number(self) -> u8 {
        match self {
            Version::V2 => 2,
            Version::V3 => 3,
        }
    }
}
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number())
    }
}
impl serde::Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u8(self.number())
    }
}

/// Virtual router identifier, 1..=255 (RFC 9568 §5.2.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize)]
#[serde(transparent)]
pub struct Vrid(u8);
impl Vrid {
    /// The first.
    pub const ONE: Vrid = Vrid(1);

    /// `None` for 0.
    pub const fn new(id: u8) -> Option<Vrid> {
        if id == 0 { None } else { Some(Vrid(id)) }
    }
    /// 1 to 255.
    pub const fn get(self) -> u8 {
        self.0
    }
}
impl fmt::Display for Vrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A priority as it stands in an advert: 0 "I leave", 1..=254, 255 "address owner" (RFC 9568 §5.2.4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Priority(pub u8);
impl Priority {
    /// 0: a master that leaves (RFC 9568 §5.2.4).
    pub const LEAVING: Priority = Priority(0);
    /// 255: the router whose own addresses they are (RFC 9568 §5.2.4).
    pub const OWNER: Priority = Priority(255);
    /// 100 (RFC 9568 §5.2.4).
    pub const DEFAULT: Priority = Priority(100);
}
impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// IP protocol number of VRRP.
pub const PROTOCOL_VRRP: u8 = 112;
/// IP protocol number of the IPsec authentication header, which `auth_type AH` puts in front of VRRP.
pub const PROTOCOL_AH: u8 = 51;
