//! What a link carries: from a captured frame to the VRRP datagram in it.
//!
//! For whoever looks on from beside, with frames of a packet socket or of a capture file. The daemon's own sockets get
//! datagrams from the kernel and need none of this. Fragments are not put together: of a datagram in pieces nothing is read.

use super::advert::Malformed;
use super::frames::{self, IPV4_HEAD};
use super::{PROTOCOL_AH, PROTOCOL_VRRP};
use std::net::{IpAddr, Ipv6Addr};

/// Ethertype of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// Ethertype of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86DD;
/// Ethertypes of VLAN tags: IEEE 802.1Q, 802.1ad, and the older double tag.
const TAGS: [u16; 3] = [0x8100, 0x88A8, 0x9100];
const ETHERNET_HEAD: usize = 14;
const IPV6_HEAD: usize = 40;

/// How frames of a capture begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    Ethernet,
    /// Linux "cooked" capture, as of the interface `any` (LINKTYPE_LINUX_SLL).
    Cooked,
    /// Its second version (LINKTYPE_LINUX_SLL2).
    Cooked2,
    /// The IP header stands first.
    Ip,
}

/// What stands in front of the network header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outer<'a> {
    /// Who sent the frame; unknown where the link has no such addresses.
    pub mac: Option<[u8; 6]>,
    /// VLAN of the outermost tag, 0..=4095.
    pub vlan: Option<u16>,
    /// Sent by the machine that captured it, where the capture says so.
    pub outgoing: bool,
    pub ethertype: u16,
    /// From the network header on.
    pub packet: &'a [u8],
}

/// A VRRP datagram, as the engine takes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Carried<'a> {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// IPv4: from the IP header on. IPv6: what follows the headers.
    pub datagram: &'a [u8],
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

fn mac(bytes: &[u8], at: usize) -> Option<[u8; 6]> {
    bytes.get(at..at + 6)?.try_into().ok()
}

/// Takes the link's header and VLAN tags off. `None`: too short to have them.
pub fn outer(framing: Framing, frame: &[u8]) -> Option<Outer<'_>> {
    let (mac, outgoing, mut ethertype, mut packet) = match framing {
        Framing::Ethernet => (mac(frame, 6), false, word(frame, 12)?, frame.get(ETHERNET_HEAD..)?),
        // Packet type (4: sent by us), kind and length of the address, address, protocol.
        Framing::Cooked => {
            let own = (word(frame, 4)? == 6).then(|| mac(frame, 6)).flatten();
            (own, word(frame, 0)? == 4, word(frame, 14)?, frame.get(16..)?)
        }
        // Protocol, interface, kind of address, packet type, length of the address, address.
        Framing::Cooked2 => {
            let own = (*frame.get(11)? == 6).then(|| mac(frame, 12)).flatten();
            (own, *frame.get(10)? == 4, word(frame, 0)?, frame.get(20..)?)
        }
        Framing::Ip => {
            let ethertype = if frame.first()? >> 4 == 6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
            (None, false, ethertype, frame)
        }
    };
    let mut vlan = None;
    while TAGS.contains(&ethertype) {
        vlan = vlan.or(Some(word(packet, 0)? & 0x0FFF));
        ethertype = word(packet, 2)?;
        packet = packet.get(4..)?;
    }
    Some(Outer { mac, vlan, outgoing, ethertype, packet })
}

/// The VRRP datagram in a packet. `None`: it carries something else, or a piece of a datagram.
///
/// # Errors
/// It says that it is VRRP, and its IP header cannot be right or the packet is cut short.
pub fn carried(ethertype: u16, packet: &[u8]) -> Option<Result<Carried<'_>, Malformed>> {
    match ethertype {
        ETHERTYPE_IPV4 => ipv4(packet),
        ETHERTYPE_IPV6 => ipv6(packet),
        _ => None,
    }
}

fn ipv4(packet: &[u8]) -> Option<Result<Carried<'_>, Malformed>> {
    let protocol = *packet.get(9)?;
    // More fragments to come, or not the first one.
    if !matches!(protocol, PROTOCOL_VRRP | PROTOCOL_AH) || word(packet, 6)? & 0x3FFF != 0 {
        return None;
    }
    let ip = match frames::ipv4(packet) {
        Ok(ip) => ip,
        Err(malformed) => return Some(Err(malformed)),
    };
    // Others use the authentication header as well.
    if protocol == PROTOCOL_AH && ip.payload.first() != Some(&PROTOCOL_VRRP) {
        return None;
    }
    // As the kernel does before it hands a datagram on.
    Some(match packet.get(..ip.total_length) {
        Some(datagram) if ip.total_length >= IPV4_HEAD => {
            Ok(Carried { source: ip.source.into(), destination: ip.destination.into(), ttl: ip.ttl, datagram })
        }
        _ => Err(Malformed::Truncated { have: packet.len(), need: ip.total_length }),
    })
}

fn ipv6(packet: &[u8]) -> Option<Result<Carried<'_>, Malformed>> {
    let head: &[u8; IPV6_HEAD] = packet.get(..IPV6_HEAD)?.try_into().ok()?;
    if head[6] != PROTOCOL_VRRP {
        return None;
    }
    let address = |at: usize| head.get(at..at + 16).and_then(|b| <[u8; 16]>::try_from(b).ok()).map(Ipv6Addr::from);
    let (source, destination) = (address(8)?.into(), address(24)?.into());
    let need = IPV6_HEAD + usize::from(word(packet, 4)?);
    Some(match packet.get(IPV6_HEAD..need) {
        Some(datagram) => Ok(Carried { source, destination, ttl: head[7], datagram }),
        None => Err(Malformed::Truncated { have: packet.len(), need }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frames::ipv4_header;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn packet() -> Vec<u8> {
        let (from, to) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(224, 0, 0, 18));
        let mut bytes = ipv4_header(from, to, PROTOCOL_VRRP, 255, 7, 8).to_vec();
        bytes.extend_from_slice(&[0x31, 51, 100, 0, 0, 100, 0, 0]);
        bytes
    }

    #[test]
    fn two_tags_and_padding_come_off() {
        let mut frame = vec![1, 0, 0x5e, 0, 0, 18, 2, 0, 0, 0, 0, 9];
        frame.extend_from_slice(&[0x88, 0xA8, 0x20, 0x0A, 0x81, 0x00, 0x00, 0x0B, 0x08, 0x00]);
        frame.extend_from_slice(&packet());
        frame.extend_from_slice(&[0; 10]);
        let outer = outer(Framing::Ethernet, &frame).unwrap();
        assert_eq!((outer.mac, outer.vlan, outer.ethertype), (Some([2, 0, 0, 0, 0, 9]), Some(10), ETHERTYPE_IPV4));
        let carried = carried(outer.ethertype, outer.packet).unwrap().unwrap();
        assert_eq!((carried.ttl, carried.datagram), (255, &packet()[..]));
    }

    #[test]
    fn cut_short_is_an_error_and_a_fragment_is_nothing() {
        let whole = packet();
        assert!(matches!(
            carried(ETHERTYPE_IPV4, &whole[..24]),
            Some(Err(Malformed::Truncated { have: 24, need: 28 }))
        ));
        let mut piece = whole.clone();
        piece[6] = 0x20;
        assert_eq!(carried(ETHERTYPE_IPV4, &piece), None);
        let mut other = whole;
        other[9] = 17;
        assert_eq!(carried(ETHERTYPE_IPV4, &other), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120), kind in 0..4_usize) {
            let framing = [Framing::Ethernet, Framing::Cooked, Framing::Cooked2, Framing::Ip][kind];
            if let Some(outer) = outer(framing, &bytes) {
                let _ = carried(outer.ethertype, outer.packet);
            }
            let _ = carried(ETHERTYPE_IPV4, &bytes);
            let _ = carried(ETHERTYPE_IPV6, &bytes);
        }
    }
}
