//! What an observer in the bridge makes of the frames that went by: who speaks for a virtual router, who says that an
//! address is his, and from which MAC address. It knows Ethernet, IP, ARP and neighbour discovery by itself.

use super::lab::Frame;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub type Mac = [u8; 6];

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seen {
    Advert {
        vrid: u8,
        priority: u8,
    },
    /// A gratuitous ARP or an unsolicited neighbour advertisement.
    Announcement(IpAddr),
}

/// Source MAC address and meaning of a frame, if it has one here.
pub fn read(frame: &Frame) -> Option<(Mac, Seen)> {
    let bytes = &frame.bytes;
    let mac = bytes.get(6..12)?.try_into().ok()?;
    let kind = u16::from_be_bytes(bytes.get(12..14)?.try_into().ok()?);
    let rest = bytes.get(14..)?;
    let advert = |payload: &[u8]| Some(Seen::Advert { vrid: *payload.get(1)?, priority: *payload.get(2)? });
    let seen = match kind {
        0x0800 => {
            let header = usize::from(rest.first()? & 0x0f) * 4;
            let payload = rest.get(header..)?;
            match rest.get(9)? {
                112 => advert(payload)?,
                // An AH header of 24 bytes (RFC 2402), and VRRP in it.
                51 if payload.first() == Some(&112) => advert(payload.get(24..)?)?,
                _ => return None,
            }
        }
        0x86dd => {
            let payload = rest.get(40..)?;
            match rest.get(6)? {
                112 => advert(payload)?,
                58 if payload.first() == Some(&136) => {
                    let target: [u8; 16] = payload.get(8..24)?.try_into().ok()?;
                    // To all nodes: the answer to a question goes to who asked.
                    let to_all = rest.get(24..26) == Some(&[0xff, 0x02]);
                    Seen::Announcement(IpAddr::V6(Ipv6Addr::from(target))).filter(to_all)?
                }
                _ => return None,
            }
        }
        0x0806 => {
            let address = |at: usize| rest.get(at..at + 4)?.try_into().ok().map(|four: [u8; 4]| Ipv4Addr::from(four));
            let (sender, target) = (address(14)?, address(24)?);
            Seen::Announcement(IpAddr::V4(sender)).filter(sender == target)?
        }
        _ => return None,
    };
    Some((mac, seen))
}

impl Seen {
    fn filter(self, holds: bool) -> Option<Seen> {
        holds.then_some(self)
    }
}

/// RFC 9568, section 7.3.
pub fn virtual_mac(six: bool, vrid: u8) -> Mac {
    [0, 0, 0x5e, 0, if six { 2 } else { 1 }, vrid]
}
