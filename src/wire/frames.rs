//! Headers around an advert and the two frames that tell a LAN where an address went: IPv4 header, gratuitous ARP,
//! unsolicited neighbour advertisement. And the question who has an address, with its answers.
//!
//! Makes and reads bytes; sends nothing and knows no interface.

use super::advert::Malformed;
use super::checksum;
use pnet_base::MacAddr;
use pnet_packet::arp::{ArpHardwareTypes, ArpOperations, ArpPacket, MutableArpPacket};
use pnet_packet::ethernet::{EtherTypes, MutableEthernetPacket};
use pnet_packet::icmpv6::ndp::{
    MutableNdpOptionPacket, MutableNeighborAdvertPacket, NdpOptionTypes, NeighborAdvertFlags,
};
use pnet_packet::icmpv6::{self, Icmpv6Packet, Icmpv6Types};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv6::MutableIpv6Packet;
use std::net::{Ipv4Addr, Ipv6Addr};

/// TOS byte of an advert: precedence "internetwork control".
pub const TOS_CONTROL: u8 = 0xC0;
/// TTL and hop limit that prove that an advert comes from this link (RFC 9568 §5.1.1.3).
pub const TTL: u8 = 255;
/// Length of an IPv4 header without options.
pub const IPV4_HEAD: usize = 20;

/// Length of a gratuitous ARP frame, Ethernet header included.
pub const ARP_FRAME: usize = 42;
/// Length of an unsolicited neighbour advertisement frame, Ethernet header included.
pub const NA_FRAME: usize = 86;

/// The IPv4 header of a received datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv4<'a> {
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub ttl: u8,
    pub protocol: u8,
    pub id: u16,
    /// As written in the header; the caller decides what to make of padding behind it.
    pub total_length: usize,
    /// The header itself, with its options.
    pub header: &'a [u8],
    /// Everything behind the header, padding included.
    pub payload: &'a [u8],
}

/// Reads the IPv4 header at the front of `bytes`.
///
/// # Errors
/// Fewer bytes than a header, or than the header says it has, or another version than 4.
pub fn ipv4(bytes: &[u8]) -> Result<Ipv4<'_>, Malformed> {
    let truncated = Malformed::Truncated { have: bytes.len(), need: IPV4_HEAD };
    let fixed: [u8; IPV4_HEAD] = bytes.get(..IPV4_HEAD).and_then(|h| h.try_into().ok()).ok_or(truncated)?;
    let [first, _, l1, l0, i1, i0, _, _, ttl, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = fixed;
    let length = usize::from(first & 0x0F) * 4;
    if first >> 4 != 4 || length < IPV4_HEAD {
        return Err(Malformed::IpHeader);
    }
    let truncated = Malformed::Truncated { have: bytes.len(), need: length };
    let (header, payload) = bytes.split_at_checked(length).ok_or(truncated)?;
    Ok(Ipv4 {
        source: Ipv4Addr::new(s0, s1, s2, s3),
        destination: Ipv4Addr::new(d0, d1, d2, d3),
        ttl,
        protocol,
        id: u16::from_be_bytes([i1, i0]),
        total_length: usize::from(u16::from_be_bytes([l1, l0])),
        header,
        payload,
    })
}

/// An IPv4 header as keepalived writes it: no options, TOS 0xC0, fragmentation allowed. `payload` is the number of
/// bytes that will follow.
pub fn ipv4_header(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    ttl: u8,
    id: u16,
    payload: usize,
) -> [u8; IPV4_HEAD] {
    let [l1, l0] = u16::try_from(payload + IPV4_HEAD).unwrap_or(u16::MAX).to_be_bytes();
    let [i1, i0] = id.to_be_bytes();
    let [s0, s1, s2, s3] = source.octets();
    let [d0, d1, d2, d3] = destination.octets();
    let mut header = [0x45, TOS_CONTROL, l1, l0, i1, i0, 0, 0, ttl, protocol, 0, 0, s0, s1, s2, s3, d0, d1, d2, d3];
    let [c1, c0] = checksum::internet(&header).to_be_bytes();
    header[10] = c1;
    header[11] = c0;
    header
}

/// Gives an IPv4 datagram made by [`ipv4_header`] another identification and sets its header checksum right.
pub fn set_ipv4_id(datagram: &mut [u8], id: u16) {
    let Some(header) = datagram.get_mut(..IPV4_HEAD) else { return };
    let [i1, i0] = id.to_be_bytes();
    header[4] = i1;
    header[5] = i0;
    header[10] = 0;
    header[11] = 0;
    let [c1, c0] = checksum::internet(header).to_be_bytes();
    header[10] = c1;
    header[11] = c0;
}

/// Gratuitous ARP in keepalived's form: a broadcast request whose sender and target protocol address are the virtual
/// address and whose target hardware address is the broadcast address.
pub fn gratuitous_arp(mac: [u8; 6], address: Ipv4Addr) -> [u8; ARP_FRAME] {
    let mut frame = [0; ARP_FRAME];
    let (ethernet, arp) = frame.split_at_mut(MutableEthernetPacket::minimum_packet_size());
    if let Some(mut packet) = MutableEthernetPacket::new(ethernet) {
        packet.set_destination(MacAddr::broadcast());
        packet.set_source(mac.into());
        packet.set_ethertype(EtherTypes::Arp);
    }
    if let Some(mut packet) = MutableArpPacket::new(arp) {
        packet.set_hardware_type(ArpHardwareTypes::Ethernet);
        packet.set_protocol_type(EtherTypes::Ipv4);
        packet.set_hw_addr_len(6);
        packet.set_proto_addr_len(4);
        packet.set_operation(ArpOperations::Request);
        packet.set_sender_hw_addr(mac.into());
        packet.set_sender_proto_addr(address);
        packet.set_target_hw_addr(MacAddr::broadcast());
        packet.set_target_proto_addr(address);
    }
    frame
}

/// An ARP request for `address`, from everybody's point of view an ordinary one. `source` unspecified: an ARP probe (RFC 5227
/// §1.1).
pub fn arp_request(mac: [u8; 6], source: Ipv4Addr, address: Ipv4Addr) -> [u8; ARP_FRAME] {
    let mut frame = gratuitous_arp(mac, address);
    if let Some(mut packet) =
        frame.get_mut(MutableEthernetPacket::minimum_packet_size()..).and_then(MutableArpPacket::new)
    {
        packet.set_sender_proto_addr(source);
        packet.set_target_hw_addr(MacAddr::zero());
    }
    frame
}

/// Who says in this Ethernet frame that it has which address: in an ARP reply, or in a request, announcements among them.
pub fn arp_sender(frame: &[u8]) -> Option<(Ipv4Addr, [u8; 6])> {
    let arp = frame.get(MutableEthernetPacket::minimum_packet_size()..).and_then(ArpPacket::new)?;
    let ethernet = (arp.get_hardware_type(), arp.get_protocol_type()) == (ArpHardwareTypes::Ethernet, EtherTypes::Ipv4);
    let sizes = (arp.get_hw_addr_len(), arp.get_proto_addr_len()) == (6, 4);
    (ethernet && sizes).then(|| (arp.get_sender_proto_addr(), arp.get_sender_hw_addr().octets()))
}

/// Unsolicited neighbour advertisement for `address` to all nodes: Override set, Solicited clear, the target
/// link-layer address as option (RFC 4861 §4.4, §7.2.6). `router`: the interface forwards IPv6.
pub fn unsolicited_na(mac: [u8; 6], address: Ipv6Addr, router: bool) -> [u8; NA_FRAME] {
    const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mut frame = [0; NA_FRAME];
    let (ethernet, rest) = frame.split_at_mut(MutableEthernetPacket::minimum_packet_size());
    if let Some(mut packet) = MutableEthernetPacket::new(ethernet) {
        packet.set_destination(MacAddr::new(0x33, 0x33, 0, 0, 0, 1));
        packet.set_source(mac.into());
        packet.set_ethertype(EtherTypes::Ipv6);
    }
    let (header, advert) = rest.split_at_mut(MutableIpv6Packet::minimum_packet_size());
    if let Some(mut packet) = MutableIpv6Packet::new(header) {
        packet.set_version(6);
        packet.set_payload_length(advert.len() as u16);
        packet.set_next_header(IpNextHeaderProtocols::Icmpv6);
        packet.set_hop_limit(TTL);
        packet.set_source(address);
        packet.set_destination(ALL_NODES);
    }
    let (fixed, option) = advert.split_at_mut(MutableNeighborAdvertPacket::minimum_packet_size());
    if let Some(mut packet) = MutableNeighborAdvertPacket::new(fixed) {
        packet.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
        packet.set_flags(NeighborAdvertFlags::Override | if router { NeighborAdvertFlags::Router } else { 0 });
        packet.set_target_addr(address);
    }
    if let Some(mut packet) = MutableNdpOptionPacket::new(option) {
        packet.set_option_type(NdpOptionTypes::TargetLLAddr);
        packet.set_length(1);
        packet.set_data(&mac);
    }
    let sum =
        Icmpv6Packet::new(advert).map(|packet| icmpv6::checksum(&packet, &address, &ALL_NODES)).unwrap_or_default();
    if let Some(field) = advert.get_mut(2..4) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
    frame
}
