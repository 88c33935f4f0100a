//! May this advert speak here? The checks of keepalived's `vrrp_check_packet`, in its order, as one function that changes
//! nothing: what an admitted advert teaches (sequence numbers, checksum style) is handed back for the instance to take.

use super::io::{Refusal, Role, RxMeta};
use super::transmit::is_group;
use crate::spec::{Auth, HmacAuth, HmacMode, InstanceSpec, OldUnicast, Replay, Transport};
use crate::time::Interval;
use crate::wire::advert::{AUTH_AH, AUTH_NONE, AUTH_PASS, Advert, Malformed, TYPE_ADVERTISEMENT, parse};
use crate::wire::auth::{self, Ah, Bound, Trailer};
use crate::wire::checksum::ChecksumRule;
use crate::wire::frames::{self, Ipv4};
use crate::wire::{Family, PROTOCOL_AH, PROTOCOL_VRRP, Priority, Version};
use std::net::IpAddr;
use subtle::ConstantTimeEq;

/// A datagram taken apart as far as it must be in order to find the instance that it is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram<'a> {
    pub(super) meta: RxMeta,
    pub(super) family: Family,
    ip: Option<Ipv4<'a>>,
    ah: Option<Ah>,
    /// From the VRRP header on, with whatever stands behind the advert.
    pub(super) payload: &'a [u8],
    /// Bytes in front of `payload`.
    before: usize,
}

impl<'a> Datagram<'a> {
    /// Takes the IP and authentication headers off.
    pub(super) fn open(meta: RxMeta, bytes: &'a [u8]) -> Result<Datagram<'a>, Malformed> {
        let family = Family::of(&meta.source);
        if family == Family::V6 {
            return Ok(Datagram { meta, family, ip: None, ah: None, payload: bytes, before: 0 });
        }
        let ip = frames::ipv4(bytes)?;
        let mut meta = meta;
        // The header is the better witness: a socket option may have been lost.
        meta.ttl = Some(ip.ttl);
        meta.destination = IpAddr::V4(ip.destination);
        if ip.protocol != PROTOCOL_AH {
            return Ok(Datagram { meta, family, ip: Some(ip), ah: None, payload: ip.payload, before: ip.header.len() });
        }
        let short = Malformed::Truncated { have: ip.payload.len(), need: auth::AH_HEAD };
        let (ah, payload) = auth::read_ah(ip.payload).ok_or(short)?;
        Ok(Datagram { meta, family, ip: Some(ip), ah: Some(ah), payload, before: ip.header.len() + auth::AH_HEAD })
    }
}

/// The instance that the advert is for, as it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listener<'a> {
    pub(super) spec: &'a InstanceSpec,
    pub(super) role: Role,
    /// A start-up delay is running.
    pub(super) deaf: bool,
    pub(super) priority: Priority,
    pub(super) ah_heard: u32,
    pub(super) replay: &'a ReplayTable,
    /// Wall clock in microseconds.
    pub(super) unix_micros: u64,
}

/// An advert that may speak, and what it teaches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admitted<'a> {
    pub(super) advert: Advert<'a>,
    pub(super) ah_sequence: Option<u32>,
    pub(super) hmac_sequence: Option<u64>,
    /// The sender sums in the style of keepalived up to 1.3.6.
    pub(super) old_style: bool,
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Refusal {
        match malformed {
            Malformed::Truncated { .. } | Malformed::IpHeader => Refusal::Truncated,
            Malformed::Version(_) => Refusal::Version,
            Malformed::Vrid => Refusal::UnknownVrid,
            Malformed::Length { .. } => Refusal::Length,
        }
    }
}

/// Longest datagram that Ethernet pads.
const ETHERNET_MINIMUM: usize = 46;

/// Checks a datagram against the instance that it is for.
pub(super) fn admit<'a>(me: &Listener<'_>, datagram: &Datagram<'a>) -> Result<Admitted<'a>, Refusal> {
    let (spec, meta) = (me.spec, &datagram.meta);
    if me.deaf || matches!(me.role, Role::Init | Role::Fault) {
        return Err(Refusal::NotListening);
    }
    if datagram.family == Family::V4 && datagram.ah.is_some() != matches!(spec.auth, Auth::Ah(_)) {
        return Err(Refusal::AuthTypeMismatch);
    }
    let advert = parse(datagram.payload, spec.family)?;
    let trailer = match &spec.auth {
        Auth::Hmac(_) => Trailer::read(advert.surplus),
        _ => None,
    };
    if trailer.is_none() && !advert.padding_is_plausible(datagram.before) {
        return Err(Refusal::Length);
    }
    let unicast = matches!(spec.transport, Transport::Unicast { .. });
    if !unicast && meta.ttl.is_some_and(|ttl| ttl != frames::TTL) {
        return Err(Refusal::Ttl);
    }
    if advert.version != spec.version {
        return Err(Refusal::Version);
    }
    let mut hmac_sequence = None;
    if let Auth::Hmac(hmac) = &spec.auth {
        hmac_sequence = check_trailer(me, hmac, datagram, &advert, trailer)?;
    }
    let mut ah_sequence = None;
    if spec.version == Version::V2 {
        ah_sequence = check_v2_auth(me, datagram, &advert, unicast)?;
        if advert.interval != spec.interval {
            return Err(Refusal::AdvertInterval);
        }
    } else if advert.interval.is_zero() {
        // Learned, it would make the down timer nothing and us master at once.
        return Err(Refusal::AdvertInterval);
    }
    if advert.kind != TYPE_ADVERTISEMENT {
        return Err(Refusal::Type);
    }
    if let Some(ip) = &datagram.ip {
        let received = ip.header.len() + ip.payload.len();
        let padding = received.checked_sub(ip.total_length).ok_or(Refusal::Length)?;
        if padding != 0 && (received > ETHERNET_MINIMUM || padding % 4 != 2) {
            return Err(Refusal::Length);
        }
    }
    let old_style = check_checksum(spec, datagram, &advert)?;
    if is_group(&meta.destination) == unicast {
        return Err(Refusal::Destination);
    }
    if spec.owner_ignore_adverts && me.priority == Priority::OWNER {
        return Err(Refusal::OwnerIgnores);
    }
    Ok(Admitted { advert, ah_sequence, hmac_sequence, old_style })
}

/// The last check, made after the advert has been counted as received: with source checking the sender has to be a
/// peer and its TTL in that peer's range.
pub(super) fn admit_source(spec: &InstanceSpec, meta: &RxMeta) -> Result<(), Refusal> {
    let Transport::Unicast { peers, check_source: true, .. } = &spec.transport else { return Ok(()) };
    let peer = peers.iter().find(|peer| peer.address == meta.source).ok_or(Refusal::UnknownPeer)?;
    match meta.ttl {
        Some(ttl) if ttl < peer.min_ttl || ttl > peer.max_ttl => Err(Refusal::Ttl),
        _ => Ok(()),
    }
}

/// VRRPv2's own authentication (RFC 2338 §5.3.6). The AH sequence number is handed back if there is one.
fn check_v2_auth(
    me: &Listener<'_>,
    datagram: &Datagram<'_>,
    advert: &Advert<'_>,
    unicast: bool,
) -> Result<Option<u32>, Refusal> {
    if !matches!(advert.auth_type, AUTH_NONE | AUTH_PASS | AUTH_AH) {
        return Err(Refusal::AuthTypeInvalid);
    }
    let wanted = match me.spec.auth {
        Auth::Pass(_) => AUTH_PASS,
        Auth::Ah(_) => AUTH_AH,
        Auth::None | Auth::Hmac(_) => AUTH_NONE,
    };
    if advert.auth_type != wanted {
        return Err(Refusal::AuthTypeMismatch);
    }
    match (&me.spec.auth, datagram.ah, &datagram.ip) {
        (Auth::Pass(password), _, _) => {
            let given = advert.password.unwrap_or_default();
            if bool::from(given.ct_eq(password)) { Ok(None) } else { Err(Refusal::AuthFailure) }
        }
        (Auth::Ah(key), Some(ah), Some(ip)) => {
            if ah.next != PROTOCOL_VRRP {
                return Err(Refusal::AuthTypeMismatch);
            }
            let rest = ip.payload.get(..ip.total_length.saturating_sub(ip.header.len())).unwrap_or(ip.payload);
            let genuine = auth::verify_ah(ip.header, rest, key, unicast);
            if genuine && ah.spi == ip.source.octets() && ah.sequence > me.ah_heard {
                Ok(Some(ah.sequence))
            } else {
                Err(Refusal::AuthFailure)
            }
        }
        _ => Ok(None),
    }
}

/// `auth_hmac` in keepalived's order: present, from a peer, form, window, key, digest, replay.
fn check_trailer(
    me: &Listener<'_>,
    hmac: &HmacAuth,
    datagram: &Datagram<'_>,
    advert: &Advert<'_>,
    trailer: Option<Trailer>,
) -> Result<Option<u64>, Refusal> {
    let Some(trailer) = trailer else {
        return if hmac.mode == HmacMode::Enforce { Err(Refusal::AuthExtMissing) } else { Ok(None) };
    };
    let sender = datagram.meta.source;
    if let Transport::Unicast { peers, .. } = &me.spec.transport
        && !peers.iter().any(|peer| peer.address == sender)
    {
        return Err(Refusal::UnknownPeer);
    }
    if trailer.kind != auth::TRAILER_KIND || trailer.reserved != 0 {
        return Err(Refusal::AuthExtMalformed);
    }
    let seconds = (me.unix_micros / 1_000_000) as u32;
    if let Replay::Time { window } = hmac.replay
        && !within(seconds, trailer.seconds(), window)
    {
        return Err(Refusal::AuthExtStale);
    }
    let (_, key) = hmac.keys.iter().find(|(id, _)| *id == trailer.key).ok_or(Refusal::AuthExtUnknownKey)?;
    let bound = Bound { version: advert.version, vrid: advert.vrid, source: sender };
    if !auth::verify_trailer(bound, key, advert.body, advert.surplus) {
        return Err(Refusal::AuthExtInvalidHmac);
    }
    if hmac.replay != Replay::Off && !me.replay.is_fresh(sender, trailer.sequence, seconds, &hmac.replay) {
        return Err(Refusal::AuthExtReplay);
    }
    Ok(Some(trailer.sequence))
}

/// Does the clock of a sender differ from ours by no more than `window`?
fn within(ours: u32, theirs: u32, window: Interval) -> bool {
    u64::from((ours.wrapping_sub(theirs) as i32).unsigned_abs()) <= window.as_secs()
}

/// IPv4 only; the kernel has seen to IPv6. VRRPv3 is taken with or without the pseudo header, whichever the peer makes,
/// and unicast also in keepalived's old form; true is answered for that one.
fn check_checksum(spec: &InstanceSpec, datagram: &Datagram<'_>, advert: &Advert<'_>) -> Result<bool, Refusal> {
    let Some(ip) = &datagram.ip else { return Ok(false) };
    let source = IpAddr::V4(ip.source);
    let plain = ChecksumRule::Plain.holds(advert.body);
    if spec.version == Version::V2 {
        return if plain { Ok(false) } else { Err(Refusal::Checksum) };
    }
    if ChecksumRule::pseudo(source, IpAddr::V4(ip.destination)).holds(advert.body) || plain {
        return Ok(false);
    }
    let unicast = matches!(spec.transport, Transport::Unicast { .. });
    let tolerant = unicast && spec.checksum.old_unicast != OldUnicast::Never;
    if tolerant && spec.checksum.old_rule(source).holds(advert.body) { Ok(true) } else { Err(Refusal::Checksum) }
}

/// Highest sequence number of each sender: one slot a unicast peer, four for multicast, of which the one that was used
/// least recently gives way.
#[derive(Clone, Debug, Default)]
pub(super) struct ReplayTable {
    slots: Vec<Slot>,
    clock: u64,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    sender: IpAddr,
    sequence: u64,
    used: u64,
}

/// How many multicast senders are remembered.
const MULTICAST_SLOTS: usize = 4;

impl ReplayTable {
    /// Each sender with its highest sequence, the least recently used first.
    pub(super) fn marks(&self) -> Vec<(IpAddr, u64)> {
        let mut slots = self.slots.clone();
        slots.sort_by_key(|slot| slot.used);
        slots.iter().map(|slot| (slot.sender, slot.sequence)).collect()
    }

    /// Has this sender not used this sequence or a later one? A mark outside the window orders only what the window
    /// refuses anyway, so it does not count: a sender whose clock was stepped can come back.
    fn is_fresh(&self, sender: IpAddr, sequence: u64, seconds: u32, replay: &Replay) -> bool {
        let Some(slot) = self.slots.iter().find(|slot| slot.sender == sender) else { return true };
        let expired = match replay {
            Replay::Time { window } => !within(seconds, (slot.sequence >> 32) as u32, *window),
            Replay::Monotonic | Replay::Off => false,
        };
        expired || auth::comes_after(sequence, slot.sequence)
    }

    /// Remembers an accepted sequence.
    pub(super) fn accept(&mut self, spec: &InstanceSpec, sender: IpAddr, sequence: u64) {
        self.clock += 1;
        let used = self.clock;
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.sender == sender) {
            (slot.sequence, slot.used) = (sequence, used);
            return;
        }
        let room = match &spec.transport {
            Transport::Multicast { .. } => MULTICAST_SLOTS,
            Transport::Unicast { peers, .. } => peers.len().max(1),
        };
        let fresh = Slot { sender, sequence, used };
        if self.slots.len() < room {
            self.slots.push(fresh);
        } else if let Some(oldest) = self.slots.iter_mut().min_by_key(|slot| slot.used) {
            *oldest = fresh;
        }
    }
}
