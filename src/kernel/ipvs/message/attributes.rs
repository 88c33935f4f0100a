//! Attributes, and the values in them, from meaning to bytes and back.

use super::numbers::{FAMILY, INET, INET6, VERSION};
use super::{Attribute, Message, SyncRole};
use crate::balance::io::ServiceKey;
use crate::spec::balance::Protocol;
use crate::wire::Family;
use netlink_packet_core::{
    DecodeError, Emitable, NLA_F_NESTED, NLA_TYPE_MASK, Nla, NlasIterator, ParseableParametrized,
};
use netlink_packet_generic::{GenlFamily, GenlHeader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) fn nest(kind: u16, list: &[Attribute]) -> Attribute {
    let mut bytes = vec![0; list.buffer_len()];
    list.emit(&mut bytes);
    Attribute::new(kind | NLA_F_NESTED, bytes)
}
pub(super) fn number(kind: u16, value: u32) -> Attribute {
    Attribute::new(kind, value.to_ne_bytes().to_vec())
}
pub(super) fn short(kind: u16, value: u16) -> Attribute {
    Attribute::new(kind, value.to_ne_bytes().to_vec())
}
/// Longer names than the kernel takes are cut where it refuses them still.
pub(super) fn text(kind: u16, value: &str) -> Attribute {
    let mut bytes: Vec<u8> = value.bytes().take(64).collect();
    bytes.push(0);
    Attribute::new(kind, bytes)
}

/// The attributes that can be read; a broken one ends them.
pub(super) fn attributes(bytes: &[u8]) -> Vec<Attribute> {
    NlasIterator::new(bytes)
        .map_while(Result::ok)
        .map(|nla| Attribute { kind: nla.kind(), bytes: nla.value().to_vec() })
        .collect()
}

/// The bytes of an attribute, whatever its flags.
pub(super) fn value(list: &[Attribute], kind: u16) -> Option<&[u8]> {
    list.iter().find(|attribute| attribute.kind & NLA_TYPE_MASK == kind).map(|attribute| attribute.bytes.as_slice())
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

pub(super) fn sixteen(address: IpAddr) -> Vec<u8> {
    let mut bytes = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    bytes.resize(16, 0);
    bytes
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

impl Nla for Attribute {
    fn value_len(&self) -> usize {
        self.bytes.len()
    }
    fn kind(&self) -> u16 {
        self.kind
    }
    fn emit_value(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.bytes);
    }
}
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
        self.attributes.as_slice().buffer_len()
    }
    fn emit(&self, buffer: &mut [u8]) {
        self.attributes.as_slice().emit(buffer);
    }
}
impl ParseableParametrized<[u8], GenlHeader> for Message {
    fn parse_with_param(bytes: &[u8], header: GenlHeader) -> Result<Message, DecodeError> {
        Ok(Message { command: header.cmd, attributes: attributes(bytes) })
    }
}
