//! The datagrams of a run as a classic pcap file, so that tcpdump and Wireshark show what the simulator did.
//!
//! Bytes in, bytes out: no file is opened here.

use crate::time::Time;
use crate::wire::{PROTOCOL_VRRP, checksum::ChecksumRule, frames};
use std::net::{IpAddr, Ipv6Addr};

/// A pcap file in the making: Ethernet frames with microsecond times.
#[derive(Clone, Debug)]
pub struct Pcap(Vec<u8>);

impl Default for Pcap {
    fn default() -> Self {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&0xA1B2_C3D4_u32.to_le_bytes());
        bytes.extend_from_slice(&2_u16.to_le_bytes());
        bytes.extend_from_slice(&4_u16.to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&65_535_u32.to_le_bytes());
        bytes.extend_from_slice(&1_u32.to_le_bytes());
        Pcap(bytes)
    }
}

impl Pcap {
    /// The file as it stands.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// A whole Ethernet frame.
    pub fn frame(&mut self, at: Time, frame: &[u8]) {
        let seconds = u32::try_from(at.as_micros() / 1_000_000).unwrap_or(u32::MAX);
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&seconds.to_le_bytes());
        self.0.extend_from_slice(&((at.as_micros() % 1_000_000) as u32).to_le_bytes());
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(frame);
    }

    /// A VRRP datagram as the engine gives it: IPv4 with its header, IPv6 without.
    pub fn datagram(&mut self, at: Time, mac: [u8; 6], source: IpAddr, destination: IpAddr, hops: u8, bytes: &[u8]) {
        let mut frame = destination_mac(destination).to_vec();
        frame.extend_from_slice(&mac);
        match (source, destination) {
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                frame.extend_from_slice(&[0x86, 0xDD]);
                frame.extend_from_slice(&ipv6(from, to, hops, bytes));
            }
            _ => {
                frame.extend_from_slice(&[0x08, 0x00]);
                frame.extend_from_slice(bytes);
            }
        }
        self.frame(at, &frame);
    }

    /// A gratuitous ARP or an unsolicited neighbour advertisement.
    pub fn announcement(&mut self, at: Time, mac: [u8; 6], address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.frame(at, &frames::gratuitous_arp(mac, address)),
            IpAddr::V6(address) => self.frame(at, &frames::unsolicited_na(mac, address, false)),
        }
    }
}

/// What the kernel would have made of an IPv6 payload: header in front, checksum filled in.
fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, hops: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x6C, 0, 0, 0];
    packet.extend_from_slice(&u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes());
    packet.extend_from_slice(&[PROTOCOL_VRRP, hops]);
    packet.extend_from_slice(&source.octets());
    packet.extend_from_slice(&destination.octets());
    let mut filled = payload.to_vec();
    if let Some(field) = filled.get_mut(6..8) {
        field.copy_from_slice(&[0, 0]);
    }
    let sum = ChecksumRule::pseudo(source.into(), destination.into()).over(&filled);
    if let Some(field) = filled.get_mut(6..8) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
    packet.extend_from_slice(&filled);
    packet
}

fn destination_mac(address: IpAddr) -> [u8; 6] {
    match address {
        IpAddr::V4(a) if a.is_multicast() => {
            let [_, b, c, d] = a.octets();
            [0x01, 0x00, 0x5E, b & 0x7F, c, d]
        }
        IpAddr::V6(a) if a.is_multicast() => {
            let [.., w, x, y, z] = a.octets();
            [0x33, 0x33, w, x, y, z]
        }
        IpAddr::V4(a) => {
            let [_, _, c, d] = a.octets();
            [0x02, 0, 0, 0, c, d]
        }
        IpAddr::V6(a) => {
            let [.., y, z] = a.octets();
            [0x02, 0, 0, 0, y, z]
        }
    }
}
