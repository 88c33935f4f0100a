//! Attributes, and the values in them, from meaning to bytes and back.

use super::numbers::{FAMILY, INET, INET6, VERSION};
use super::{Message, SyncRole};
use crate::balance::io::ServiceKey;
use crate::spec::balance::Protocol;
use crate::wire::Family;
use netlink_packet_core::{DecodeError, Emitable, NLA_F_NESTED, NLA_TYPE_MASK, ParseableParametrized};
use netlink_packet_generic::{GenlFamily, GenlHeader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Attributes one behind the other, as they go over the wire: a list of a thousand servers is one piece of memory for each request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    /// Those that a message came with.
    pub(super) fn read(bytes: &[u8]) -> Attributes {
        Attributes(bytes.to_vec())
    }

    pub(super) fn add(&mut self, kind: u16, value: &[u8]) -> &mut Attributes {
        self.framed(kind, |bytes| bytes.extend_from_slice(value))
    }

    /// One with others inside.
    pub(super) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes)) -> &mut Attributes {
        self.framed(kind | NLA_F_NESTED, |bytes| {
            let mut inside = Attributes(std::mem::take(bytes));
            fill(&mut inside);
            *bytes = inside.0;
        })
    }

    /// `struct nlattr`, what `fill` adds, and what brings the next one to its border.
    fn framed(&mut self, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) -> &mut Attributes {
        let begin = self.0.len();
        self.0.extend_from_slice(&[0; 2]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
        fill(&mut self.0);
        let length = u16::try_from(self.0.len() - begin).unwrap_or(u16::MAX);
        if let Some(place) = self.0.get_mut(begin..).and_then(<[u8]>::first_chunk_mut) {
            *place = length.to_ne_bytes();
        }
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(super) fn number(&mut self, kind: u16, value: u32) -> &mut Attributes {
        self.add(kind, &value.to_ne_bytes())
    }

    pub(super) fn short(&mut self, kind: u16, value: u16) -> &mut Attributes {
        self.add(kind, &value.to_ne_bytes())
    }

    pub(super) fn port(&mut self, kind: u16, port: u16) -> &mut Attributes {
        self.add(kind, &port.to_be_bytes())
    }

    /// Longer names than the kernel takes are cut where it refuses them still.
    pub(super) fn text(&mut self, kind: u16, value: &str) -> &mut Attributes {
        self.framed(kind, |bytes| {
            bytes.extend(value.bytes().take(64));
            bytes.push(0);
        })
    }

    pub(super) fn value(&self, kind: u16) -> Option<&[u8]> {
        value(&self.0, kind)
    }
}

/// The value of an attribute among those that can be read, whatever its flags; a broken one ends them.
pub(super) fn value(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    let mut rest = attributes;
    loop {
        let length = usize::from(native16(rest)?);
        let found = native16(rest.get(2..)?)?;
        // No value where the length is less than that of its head.
        let value = rest.get(4..length)?;
        if found & NLA_TYPE_MASK == kind {
            return Some(value);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}

pub(super) fn first<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.first_chunk().copied()
}
pub(super) fn native16(bytes: &[u8]) -> Option<u16> {
    first(bytes).map(u16::from_ne_bytes)
}
pub(super) fn native32(bytes: &[u8]) -> Option<u32> {
    first(bytes).map(u32::from_ne_bytes)
}
/// Text up to its NUL.
pub(super) fn words(bytes: &[u8]) -> Box<str> {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into()
}

pub(super) fn sixteen(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address.octets());
            bytes
        }
        IpAddr::V6(address) => address.octets(),
    }
}
pub(super) fn address(family: Family, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        Family::V4 => first::<4>(bytes).map(|octets| Ipv4Addr::from(octets).into()),
        Family::V6 => first::<16>(bytes).map(|octets| Ipv6Addr::from(octets).into()),
    }
}

/// The family that a service's own address or mark has.
pub fn family(key: ServiceKey) -> Family {
    match key {
        ServiceKey::Address { address, .. } if address.is_ipv4() => Family::V4,
        ServiceKey::Address { .. } => Family::V6,
        ServiceKey::Mark { family, .. } => family,
    }
}
pub(super) fn host_mask(key: ServiceKey) -> [u8; 4] {
    match family(key) {
        Family::V4 => [255; 4],
        Family::V6 => 128u32.to_ne_bytes(),
    }
}
pub(super) fn number_of(family: Family) -> u16 {
    match family {
        Family::V4 => INET,
        Family::V6 => INET6,
    }
}
pub(super) fn family_of(address: IpAddr) -> u16 {
    number_of(if address.is_ipv4() { Family::V4 } else { Family::V6 })
}
pub(super) fn family_numbered(number: u16) -> Option<Family> {
    match number {
        INET => Some(Family::V4),
        INET6 => Some(Family::V6),
        _ => None,
    }
}
pub(super) fn protocol_number(protocol: Protocol) -> u16 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}
pub(super) fn protocol_numbered(number: u16) -> Option<Protocol> {
    match number {
        6 => Some(Protocol::Tcp),
        17 => Some(Protocol::Udp),
        132 => Some(Protocol::Sctp),
        _ => None,
    }
}
pub(super) fn state(role: SyncRole) -> u32 {
    match role {
        SyncRole::Master => 1,
        SyncRole::Backup => 2,
    }
}

// ---- for netlink-packet-generic

impl GenlFamily for Message {
    fn family_name() -> &'static str {
        FAMILY
    }
    fn command(&self) -> u8 {
        self.command
    }
    fn version(&self) -> u8 {
        VERSION
    }
}
impl Emitable for Message {
    fn buffer_len(&self) -> usize {
        self.attributes.0.len()
    }
    fn emit(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.attributes.0);
    }
}
impl ParseableParametrized<[u8], GenlHeader> for Message {
    fn parse_with_param(bytes: &[u8], header: GenlHeader) -> Result<Message, DecodeError> {
        Ok(Message { command: header.cmd, attributes: Attributes::read(bytes) })
    }
}
