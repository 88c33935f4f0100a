//! Adverts out: from an instance as it is at the moment of sending to datagrams.
//!
//! The bytes are kept between adverts and are made again whenever anything that they say is different; on the steady path
//! only the IP identification and the seals are rewritten. A stale advert cannot be sent, since what the kept bytes say
//! is compared with the instance.

use super::io::{Action, Transmit};
use crate::spec::{Auth, HmacMode, InstanceId, InstanceSpec, OldUnicast, Replay, Transport};
use crate::wire::advert::{AUTH_AH, AUTH_NONE, AUTH_PASS, Saying};
use crate::wire::auth::{self, Bound};
use crate::wire::checksum::ChecksumRule;
use crate::wire::{Family, PROTOCOL_AH, PROTOCOL_VRRP, Priority, Version, frames};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

/// An AH sequence number beyond this is not used: the sender has "cycled" (keepalived's rule).
const AH_LAST: u32 = 0xFFFF_FFFD;

/// What the kept datagrams say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Says {
    priority: Priority,
    source: IpAddr,
    ifindex: u32,
}

/// A datagram ready but for its identification and seal.
#[derive(Clone, Debug)]
struct Packet {
    destination: IpAddr,
    /// Shared with what was sent last, which is gone by the time of the next: so there is no copy for each advert.
    bytes: Arc<[u8]>,
}

/// What an instance needs to remember in order to send.
#[derive(Clone, Debug, Default)]
pub(super) struct Sender {
    kept: Option<(Says, Vec<Packet>)>,
    ip_id: u16,
    /// Last sequence sent, or heard if that was higher.
    pub(super) ah_sequence: u32,
    /// Highest sequence heard. Our own sending does not raise it: of two masters that began together each would else take
    /// the other's adverts for replays, for ever.
    pub(super) ah_heard: u32,
    cycled: bool,
    hmac_sequence: u64,
    /// Unicast peers that were heard to use keepalived's old checksum.
    old_style: Vec<IpAddr>,
}

/// The sequence numbers of a [`Sender`].
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub(super) struct Marks {
    ah_sequence: u32,
    ah_heard: u32,
    cycled: bool,
    hmac_sequence: u64,
}

/// An instance at the moment of sending.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speaker<'a> {
    pub(super) id: InstanceId,
    pub(super) spec: &'a InstanceSpec,
    pub(super) priority: Priority,
    pub(super) source: IpAddr,
    pub(super) ifindex: u32,
    /// Wall clock, for `auth_hmac`; 0 when it was never told.
    pub(super) unix_micros: u64,
}

impl Sender {
    /// Sequence numbers that a successor goes on from.
    pub(super) const fn marks(&self) -> Marks {
        Marks {
            ah_sequence: self.ah_sequence,
            ah_heard: self.ah_heard,
            cycled: self.cycled,
            hmac_sequence: self.hmac_sequence,
        }
    }

    /// Goes on where another sender of the same router ended.
    pub(super) fn resume(marks: Marks) -> Sender {
        Sender {
            ah_sequence: marks.ah_sequence,
            ah_heard: marks.ah_heard,
            cycled: marks.cycled,
            hmac_sequence: marks.hmac_sequence,
            ..Sender::default()
        }
    }

    /// Forgets the kept bytes: the configuration is another.
    pub(super) fn forget(&mut self) {
        self.kept = None;
    }

    /// A peer uses the checksum of keepalived up to 1.3.6. True when that is news.
    pub(super) fn learn_old_style(&mut self, peer: IpAddr) -> bool {
        let news = !self.old_style.contains(&peer);
        if news {
            self.old_style.push(peer);
            self.kept = None;
        }
        news
    }

    /// Becoming master: a counter that has come to its end starts over.
    pub(super) fn take_over(&mut self) {
        if std::mem::take(&mut self.cycled) {
            self.ah_sequence = 0;
            self.ah_heard = 0;
        }
    }

    /// Puts one advert, a copy to each destination, into `out`.
    pub(super) fn send(&mut self, speaker: &Speaker<'_>, out: &mut VecDeque<Action>) {
        let says = Says { priority: speaker.priority, source: speaker.source, ifindex: speaker.ifindex };
        if self.kept.as_ref().is_none_or(|(kept, _)| *kept != says) {
            self.kept = Some((says, build(speaker, &self.old_style)));
        }
        self.ip_id = self.ip_id.checked_add(1).unwrap_or(1);
        let spec = speaker.spec;
        if let Auth::Ah(_) = spec.auth {
            if self.ah_sequence > AH_LAST {
                self.cycled = true;
            } else {
                self.ah_sequence += 1;
            }
        }
        let trailer_sequence = match &spec.auth {
            Auth::Hmac(hmac) if hmac.mode != HmacMode::ReceiveOnly => {
                self.hmac_sequence =
                    next_sequence(self.hmac_sequence, auth::clock_sequence(speaker.unix_micros), &hmac.replay);
                Some((hmac, self.hmac_sequence))
            }
            _ => None,
        };
        let Some((_, packets)) = &mut self.kept else { return };
        let unicast = matches!(spec.transport, Transport::Unicast { .. });
        let mut trailer = None;
        for packet in packets {
            let bytes = Arc::make_mut(&mut packet.bytes);
            if spec.family == Family::V4 {
                frames::set_ipv4_id(bytes, self.ip_id);
            }
            if let Auth::Ah(key) = &spec.auth {
                auth::seal_ah(bytes, key, self.ah_sequence, unicast);
            }
            if let Some((hmac, sequence)) = trailer_sequence {
                let end = bytes.len().saturating_sub(auth::TRAILER);
                let (before, tail) = bytes.split_at_mut(end);
                let advert =
                    before.get(if spec.family == Family::V4 { frames::IPV4_HEAD } else { 0 }..).unwrap_or_default();
                // The destination is not sealed: every copy carries the same trailer.
                let sealed = trailer.get_or_insert_with(|| {
                    let bound = Bound { version: spec.version, vrid: spec.vrid, source: speaker.source };
                    let key =
                        hmac.keys.iter().find(|(id, _)| *id == hmac.active).map(|(_, key)| &**key).unwrap_or_default();
                    auth::seal_trailer(bound, hmac.active, key, sequence, advert)
                });
                if tail.len() == sealed.len() {
                    tail.copy_from_slice(sealed);
                }
            }
            out.push_back(Action::Transmit(Transmit {
                instance: speaker.id,
                ifindex: speaker.ifindex,
                source: speaker.source,
                destination: packet.destination,
                ttl: time_to_live(spec),
                bytes: packet.bytes.clone(),
            }));
        }
    }
}

impl Sender {
    /// Puts datagrams into `out` that leave as an advert would and that no router takes for one: their VRID is 0.
    pub(super) fn probe(&self, speaker: &Speaker<'_>, out: &mut VecDeque<Action>) {
        for mut packet in build(speaker, &self.old_style) {
            let before = match (speaker.spec.family, &speaker.spec.auth) {
                (Family::V6, _) => 0,
                (Family::V4, Auth::Ah(_)) => frames::IPV4_HEAD + auth::AH_HEAD,
                (Family::V4, _) => frames::IPV4_HEAD,
            };
            if let Some(vrid) = Arc::make_mut(&mut packet.bytes).get_mut(before + 1) {
                *vrid = 0;
            }
            out.push_back(Action::Transmit(Transmit {
                instance: speaker.id,
                ifindex: speaker.ifindex,
                source: speaker.source,
                destination: packet.destination,
                ttl: time_to_live(speaker.spec),
                bytes: packet.bytes,
            }));
        }
    }
}

/// TTL or hop limit of an instance's adverts; `None` leaves it to the kernel.
fn time_to_live(spec: &InstanceSpec) -> Option<u8> {
    match (&spec.transport, spec.family) {
        (Transport::Multicast { .. }, _) => Some(frames::TTL),
        (Transport::Unicast { ttl, .. }, Family::V4) => Some(ttl.unwrap_or(frames::TTL)),
        (Transport::Unicast { ttl, .. }, Family::V6) => *ttl,
    }
}

/// The datagrams of an instance, unsealed.
fn build(speaker: &Speaker<'_>, old_style: &[IpAddr]) -> Vec<Packet> {
    let spec = speaker.spec;
    let addresses: Vec<IpAddr> = spec.advertised().collect();
    let (auth_type, password) = match (&spec.auth, spec.version) {
        (Auth::Pass(password), Version::V2) => (AUTH_PASS, *password),
        (Auth::Ah(_), Version::V2) => (AUTH_AH, [0; 8]),
        _ => (AUTH_NONE, [0; 8]),
    };
    let saying = Saying {
        family: spec.family,
        version: spec.version,
        vrid: spec.vrid,
        priority: speaker.priority,
        interval: spec.interval,
        auth_type,
        password,
        addresses: &addresses,
    };
    let trailer = matches!(&spec.auth, Auth::Hmac(hmac) if hmac.mode != HmacMode::ReceiveOnly);
    let destinations: Vec<IpAddr> = match &spec.transport {
        Transport::Multicast { group } => vec![*group],
        // An own address among the peers is nobody to speak to.
        Transport::Unicast { peers, .. } => {
            peers.iter().map(|peer| peer.address).filter(|peer| *peer != speaker.source).collect()
        }
    };
    let packet = |destination: IpAddr| {
        let mut body = Vec::with_capacity(64 + addresses.len() * 16);
        saying.emit(rule(speaker, destination, old_style), &mut body);
        if trailer {
            body.extend_from_slice(&[0; auth::TRAILER]);
        }
        let bytes = match (speaker.source, destination) {
            (IpAddr::V4(source), IpAddr::V4(to)) => {
                let is_ah = auth_type == AUTH_AH;
                let length = body.len() + if is_ah { auth::AH_HEAD } else { 0 };
                let protocol = if is_ah { PROTOCOL_AH } else { PROTOCOL_VRRP };
                let ttl = time_to_live(spec).unwrap_or(frames::TTL);
                let mut bytes = Vec::with_capacity(length + frames::IPV4_HEAD);
                bytes.extend_from_slice(&frames::ipv4_header(source, to, protocol, ttl, 0, length));
                if is_ah {
                    bytes.extend_from_slice(&auth::ah_head(source.octets(), 0));
                }
                bytes.extend_from_slice(&body);
                bytes
            }
            _ => body,
        };
        Packet { destination, bytes: bytes.into() }
    };
    // A source or peer of the other family cannot be spoken to.
    let fitting = |address: &IpAddr| Family::of(address) == spec.family && Family::of(&speaker.source) == spec.family;
    let mut packets: Vec<Packet> = destinations.into_iter().filter(fitting).map(packet).collect();
    // It stays, and most often it is one.
    packets.shrink_to_fit();
    packets
}

/// How the checksum to `destination` is made; `None` leaves it to the kernel, which knows the IPv6 pseudo header.
fn rule(speaker: &Speaker<'_>, destination: IpAddr, old_style: &[IpAddr]) -> Option<ChecksumRule> {
    let spec = speaker.spec;
    match (spec.family, spec.version) {
        (Family::V6, _) => None,
        (Family::V4, Version::V2) => Some(ChecksumRule::Plain),
        (Family::V4, Version::V3) if spec.checksum.v3_as_v2 => Some(ChecksumRule::Plain),
        (Family::V4, Version::V3) => {
            let old = match (&spec.transport, spec.checksum.old_unicast) {
                (Transport::Multicast { .. }, _) | (_, OldUnicast::Never) => false,
                (_, OldUnicast::Always) => true,
                (_, OldUnicast::Auto) => old_style.contains(&destination),
            };
            Some(if old {
                spec.checksum.old_rule(speaker.source)
            } else {
                ChecksumRule::pseudo(speaker.source, destination)
            })
        }
    }
}

/// The next `auth_hmac` sequence: the clock if it is ahead, else one more than the last. A clock that was set back by
/// more than the window strands the sequence where no receiver takes it, so with time-based protection it begins again
/// from the clock.
pub(super) fn next_sequence(last: u64, clock: u64, replay: &Replay) -> u64 {
    if auth::comes_after(clock, last) {
        return clock;
    }
    let ahead = ((last >> 32) as u32).wrapping_sub((clock >> 32) as u32) as i32;
    match replay {
        Replay::Time { window } if i64::from(ahead) > i64::try_from(window.as_secs()).unwrap_or(i64::MAX) => clock,
        _ => last.wrapping_add(1),
    }
}

/// Is this a group address?
pub(super) fn is_group(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => a.is_multicast(),
        IpAddr::V6(a) => a.is_multicast(),
    }
}
