//! What a datagram says, as far as laws ask. Read with the codec alone: what engines make of it is not asked here.

use crate::vrrp::io::Transmit;
use crate::wire::{Family, PROTOCOL_AH, PROTOCOL_VRRP, Priority, advert, auth, frames};
use std::net::IpAddr;

/// Priority of an advert on its way out.
pub(super) fn priority(transmit: &Transmit) -> Option<Priority> {
    let payload = match transmit.source {
        IpAddr::V4(_) => frames::ipv4(&transmit.bytes).ok().map(|ip| match ip.protocol {
            PROTOCOL_VRRP => ip.payload,
            _ => ip.payload.get(auth::AH_HEAD..).unwrap_or_default(),
        }),
        IpAddr::V6(_) => Some(&transmit.bytes[..]),
    };
    payload.and_then(advert::Head::read).map(|head| head.priority)
}

/// Head of an advert as it comes in: with its IP header, or without, if IPv6.
pub(super) fn head(bytes: &[u8]) -> Option<advert::Head> {
    if bytes.first()? >> 4 != 4 {
        return advert::Head::read(bytes);
    }
    let ip = frames::ipv4(bytes).ok()?;
    let before = if ip.protocol == PROTOCOL_AH { auth::AH_HEAD } else { 0 };
    advert::Head::read(ip.payload.get(before..)?)
}

/// The addresses that an advert speaks for.
pub(super) fn addresses(bytes: &[u8]) -> Vec<IpAddr> {
    let all = |payload: &[u8], family| Some(advert::parse(payload, family).ok()?.addresses.iter().collect());
    if bytes.first().is_none_or(|first| first >> 4 != 4) {
        return all(bytes, Family::V6).unwrap_or_default();
    }
    let Ok(ip) = frames::ipv4(bytes) else { return Vec::new() };
    let before = if ip.protocol == PROTOCOL_AH { auth::AH_HEAD } else { 0 };
    ip.payload.get(before..).and_then(|payload| all(payload, Family::V4)).unwrap_or_default()
}

/// Authentication of a version 2 advert over IPv4: its type, and the data behind it.
pub(super) fn credentials(bytes: &[u8]) -> Option<(u8, Option<[u8; 8]>)> {
    let ip = frames::ipv4(bytes).ok().filter(|ip| ip.protocol == PROTOCOL_VRRP)?;
    let advert = advert::parse(ip.payload, Family::V4).ok()?;
    Some((advert.auth_type, advert.password))
}

/// VRID and sequence of an advert that is sealed with AH.
pub(super) fn ah_mark(bytes: &[u8]) -> Option<(u8, u32)> {
    let ip = frames::ipv4(bytes).ok().filter(|ip| ip.protocol == PROTOCOL_AH)?;
    let (ah, advert) = auth::read_ah(ip.payload)?;
    Some((*advert.get(1)?, ah.sequence))
}
