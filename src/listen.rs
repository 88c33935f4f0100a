//! Who speaks VRRP on a wire: frames in, a table out. For whoever looks on without taking part.
//!
//! Deterministic, without socket or clock: [`Census::hear`] is told each datagram with its time, the rest is asked of the
//! table. What a configuration would say to a speaker is not decided here but by the engine
//! ([`crate::vrrp::overhear`]). No password is kept, not even for comparison.

use crate::time::{Interval, Time};
use crate::wire::advert::{self, AUTH_AH, AUTH_NONE, AUTH_PASS, Advert, Malformed};
use crate::wire::auth::{self, Trailer};
use crate::wire::checksum::ChecksumRule;
use crate::wire::link::Carried;
use crate::wire::{Family, PROTOCOL_AH, Priority, Version, Vrid, frames};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

/// Speakers kept at most; when there are more, whoever has been silent for longest gives way.
pub const MOST: usize = 4096;
/// Kinds of unreadable datagrams kept at most.
const MOST_STRAYS: usize = 256;
/// Intervals of which the middle one is taken as measured.
const GAPS: usize = 9;
/// Intervals without an advert after which a speaker counts as silent: a backup waits for three and less than one more.
const PATIENCE: u64 = 4;
/// How often a speaker must have taken the word from another that speaks too. A takeover needs one turn, and one more if an
/// advert of the old master was on its way.
const TURNS: u32 = 2;

/// A virtual router: what a VRID means on a wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Router {
    pub vlan: Option<u16>,
    pub family: Family,
    pub vrid: Vrid,
}

/// How an advert is authenticated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Authentication {
    None,
    /// A password in the clear (RFC 2338).
    Password,
    /// IPsec authentication header (RFC 2338).
    Ah,
    /// keepalived's `auth_hmac` trailer, with the number of its key.
    Hmac {
        key: u8,
    },
    /// A type that nobody has defined.
    Unknown(u8),
}

/// What the checksum of an advert covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sum {
    /// The VRRP packet: version 2, and version 3 over IPv4 as some implementations make it.
    Packet,
    /// A pseudo header as well: version 3.
    PseudoHeader,
    /// Unicast with a pseudo header to 224.0.0.18: keepalived up to 1.3.6.
    OldUnicast,
    /// None of these.
    Wrong,
}

/// When something was heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    pub at: Time,
    /// Microseconds since 1970.
    pub unix_micros: u64,
}

/// Somebody who sends adverts for a virtual router. What it says is what it said last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Speaker {
    pub router: Router,
    pub address: IpAddr,
    pub version: Version,
    /// Unknown in captures of links without such addresses.
    pub mac: Option<[u8; 6]>,
    /// A multicast group, or the peer spoken to.
    pub destination: IpAddr,
    pub ttl: u8,
    pub priority: Priority,
    /// As announced.
    pub interval: Interval,
    pub authentication: Authentication,
    pub sum: Sum,
    pub addresses: Vec<IpAddr>,
    /// It is the machine that listens.
    pub own: bool,
    pub adverts: u64,
    pub first: Moment,
    pub last: Moment,
    gaps: VecDeque<Interval>,
    turns: u32,
}

impl Speaker {
    /// The middle one of the last intervals between its adverts; `None` before its second one.
    pub fn measured(&self) -> Option<Interval> {
        let mut gaps: Vec<Interval> = self.gaps.iter().copied().collect();
        gaps.sort_unstable();
        gaps.get(gaps.len() / 2).copied()
    }

    /// How long it may be silent before it counts as gone.
    fn patience(&self) -> Interval {
        self.interval.max(self.measured().unwrap_or_default()).times(PATIENCE)
    }

    /// It has said that it leaves, or has not been heard for so long that a backup would have taken over.
    pub fn is_silent(&self, now: Time) -> bool {
        self.priority == Priority::LEAVING || now.since(self.last.at) > self.patience()
    }
}

/// A datagram that says that it is VRRP and cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stray {
    /// Unknown where not even the IP header could be read.
    pub source: Option<IpAddr>,
    pub why: Malformed,
    pub count: u64,
    pub last: Moment,
}

/// Where and when something was heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heard {
    pub moment: Moment,
    pub mac: Option<[u8; 6]>,
    pub vlan: Option<u16>,
    /// Sent by the machine that listens.
    pub own: bool,
}

type Key = (Router, IpAddr, Version);

/// Everybody who was heard.
#[derive(Clone, Debug, Default)]
pub struct Census {
    speakers: BTreeMap<Key, Speaker>,
    strays: Vec<Stray>,
    /// Who spoke last of each virtual router.
    word: BTreeMap<Router, Key>,
}

impl Census {
    /// Takes a datagram in. Answers with what it is the advert of; `None` if it could not be read.
    pub fn hear(&mut self, heard: &Heard, carried: &Carried<'_>) -> Option<&Speaker> {
        let family = Family::of(&carried.source);
        let (payload, under_ah) = match unwrap(carried) {
            Ok(parts) => parts,
            Err(why) => return self.unreadable(heard, Some(carried.source), why),
        };
        let advert = match advert::parse(payload, family) {
            Ok(advert) => advert,
            Err(why) => return self.unreadable(heard, Some(carried.source), why),
        };
        let router = Router { vlan: heard.vlan, family, vrid: advert.vrid };
        let key = (router, carried.source, advert.version);
        self.make_room(&key);
        let speaker = self.speakers.entry(key).or_insert_with(|| fresh(router, heard, carried, &advert));
        let returned = speaker.adverts > 0 && speaker.is_silent(heard.moment.at);
        if returned {
            speaker.gaps.clear();
            speaker.turns = 0;
        } else if speaker.adverts > 0 {
            speaker.gaps.truncate(GAPS - 1);
            speaker.gaps.push_front(heard.moment.at.since(speaker.last.at));
        }
        speaker.adverts = speaker.adverts.saturating_add(1);
        (speaker.mac, speaker.destination, speaker.ttl) = (heard.mac, carried.destination, carried.ttl);
        (speaker.priority, speaker.interval, speaker.own) = (advert.priority, advert.interval, heard.own);
        speaker.authentication = authentication(&advert, under_ah);
        speaker.sum = sum(&advert, carried);
        if !advert.addresses.iter().eq(speaker.addresses.iter().copied()) {
            speaker.addresses = advert.addresses.iter().collect();
        }
        speaker.last = heard.moment;
        self.take_word(key, heard.moment.at);
        self.speakers.get(&key)
    }

    /// Counts a datagram that cannot be read.
    pub fn unreadable(&mut self, heard: &Heard, source: Option<IpAddr>, why: Malformed) -> Option<&Speaker> {
        let same = |stray: &&mut Stray| stray.source == source && kind(stray.why) == kind(why);
        if let Some(stray) = self.strays.iter_mut().find(same) {
            (stray.count, stray.last, stray.why) = (stray.count.saturating_add(1), heard.moment, why);
        } else if self.strays.len() < MOST_STRAYS {
            self.strays.push(Stray { source, why, count: 1, last: heard.moment });
        }
        None
    }

    /// A flood of senders, or of virtual routers, costs no more than a full table.
    fn make_room(&mut self, key: &Key) {
        if self.speakers.len() < MOST || self.speakers.contains_key(key) {
            return;
        }
        let longest = self.speakers.iter().min_by_key(|(_, speaker)| speaker.last.at).map(|(key, _)| *key);
        if let Some(longest) = longest {
            self.speakers.remove(&longest);
            if self.word.get(&longest.0) == Some(&longest) {
                self.word.remove(&longest.0);
            }
        }
    }

    /// Notes that this speaker took the word from another one that has not fallen silent.
    fn take_word(&mut self, key: Key, now: Time) {
        let before = self.word.insert(key.0, key).filter(|before| *before != key);
        let from = before.and_then(|before| self.speakers.get(&before)).filter(|other| !other.is_silent(now));
        let taken = from.is_some();
        if let Some(speaker) = self.speakers.get_mut(&key).filter(|_| taken) {
            speaker.turns = speaker.turns.saturating_add(1);
        }
    }

    /// Everybody, by VLAN, family, VRID and address.
    pub fn speakers(&self) -> impl Iterator<Item = &Speaker> {
        self.speakers.values()
    }
    /// Whether this speaker is in the table: it may have given way to others.
    pub(crate) fn holds(&self, router: Router, address: IpAddr, version: Version) -> bool {
        self.speakers.contains_key(&(router, address, version))
    }
    /// Adverts that belong to no virtual router of the table.
    pub fn strays(&self) -> &[Stray] {
        &self.strays
    }
    /// Whether nobody has been heard.
    pub fn is_empty(&self) -> bool {
        self.speakers.is_empty() && self.strays.is_empty()
    }

    /// Every virtual router of which somebody spoke.
    pub fn routers(&self) -> BTreeSet<Router> {
        self.speakers.keys().map(|(router, ..)| *router).collect()
    }

    /// Who speaks for a virtual router beside somebody else, and goes on: two masters, or more. Empty if all is well.
    pub fn rivals(&self, router: Router, now: Time) -> Vec<&Speaker> {
        let rivals: Vec<&Speaker> = self
            .speakers
            .values()
            .filter(|speaker| speaker.router == router && speaker.turns >= TURNS && !speaker.is_silent(now))
            .collect();
        if rivals.len() < 2 { Vec::new() } else { rivals }
    }

    /// [`Census::rivals`], an installation each: those of two speak for addresses that have nothing in common, so that nothing which
    /// one does concerns the other. Several of one are its masters. As for an instance, it is one installation where a virtual
    /// router's hardware address is spoken from, where a list is empty and in unicast.
    pub fn installations(&self, router: Router, now: Time) -> Vec<Vec<&Speaker>> {
        let mut all: Vec<Vec<&Speaker>> = Vec::new();
        for speaker in self.rivals(router, now) {
            let (of_it, mut others): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|one| one.iter().any(|other| may_be_of_one(speaker, other)));
            others.push(of_it.into_iter().flatten().chain([speaker]).collect());
            all = others;
        }
        all
    }

    /// VRIDs that nobody was heard to use, as ranges.
    pub fn free(&self, vlan: Option<u16>, family: Family) -> Vec<(u8, u8)> {
        let taken: BTreeSet<u8> = self
            .speakers
            .keys()
            .filter(|(router, ..)| router.vlan == vlan && router.family == family)
            .map(|(router, ..)| router.vrid.get())
            .collect();
        let mut ranges: Vec<(u8, u8)> = Vec::new();
        for vrid in (1..=u8::MAX).filter(|vrid| !taken.contains(vrid)) {
            match ranges.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(vrid) => *last = vrid,
                _ => ranges.push((vrid, vrid)),
            }
        }
        ranges
    }
}

fn may_be_of_one(one: &Speaker, other: &Speaker) -> bool {
    let hides = |speaker: &Speaker| {
        let shared_mac = matches!(speaker.mac, Some([0, 0, 0x5e, 0, 1 | 2, _]));
        shared_mac || speaker.addresses.is_empty() || !speaker.destination.is_multicast()
    };
    hides(one) || hides(other) || one.addresses.iter().any(|address| other.addresses.contains(address))
}

fn fresh(router: Router, heard: &Heard, carried: &Carried<'_>, advert: &Advert<'_>) -> Speaker {
    Speaker {
        router,
        address: carried.source,
        version: advert.version,
        mac: heard.mac,
        destination: carried.destination,
        ttl: carried.ttl,
        priority: advert.priority,
        interval: advert.interval,
        authentication: Authentication::None,
        sum: Sum::Wrong,
        addresses: Vec::new(),
        own: heard.own,
        adverts: 0,
        first: heard.moment,
        last: heard.moment,
        gaps: VecDeque::new(),
        turns: 0,
    }
}

/// The advert with what follows it, and whether it stood behind an authentication header.
fn unwrap<'a>(carried: &Carried<'a>) -> Result<(&'a [u8], bool), Malformed> {
    if carried.source.is_ipv6() {
        return Ok((carried.datagram, false));
    }
    let ip = frames::ipv4(carried.datagram)?;
    if ip.protocol != PROTOCOL_AH {
        return Ok((ip.payload, false));
    }
    let short = Malformed::Truncated { have: ip.payload.len(), need: auth::AH_HEAD };
    let (_, payload) = auth::read_ah(ip.payload).ok_or(short)?;
    Ok((payload, true))
}

fn authentication(advert: &Advert<'_>, under_ah: bool) -> Authentication {
    let trailer = || Trailer::read(advert.surplus).filter(|trailer| trailer.kind == auth::TRAILER_KIND);
    match advert.auth_type {
        _ if under_ah => Authentication::Ah,
        AUTH_NONE => trailer().map_or(Authentication::None, |trailer| Authentication::Hmac { key: trailer.key }),
        AUTH_PASS => Authentication::Password,
        AUTH_AH => Authentication::Ah,
        other => Authentication::Unknown(other),
    }
}

fn sum(advert: &Advert<'_>, carried: &Carried<'_>) -> Sum {
    let pseudo = || ChecksumRule::pseudo(carried.source, carried.destination).holds(advert.body);
    let plain = || ChecksumRule::Plain.holds(advert.body);
    let old = || ChecksumRule::old_unicast(carried.source).holds(advert.body);
    let to_group = carried.destination == IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18));
    match (Family::of(&carried.source), advert.version) {
        (Family::V4, Version::V2) if plain() => Sum::Packet,
        (Family::V4, Version::V2) => Sum::Wrong,
        // The kernel sums with a trailer, if there is one.
        (Family::V6, _) if ChecksumRule::pseudo(carried.source, carried.destination).holds(carried.datagram) => {
            Sum::PseudoHeader
        }
        (_, _) if pseudo() => Sum::PseudoHeader,
        (Family::V4, Version::V3) if plain() => Sum::Packet,
        (Family::V4, Version::V3) if !to_group && old() => Sum::OldUnicast,
        _ => Sum::Wrong,
    }
}

/// The kind of an error without its numbers, by which strays are told apart.
fn kind(why: Malformed) -> std::mem::Discriminant<Malformed> {
    std::mem::discriminant(&why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::advert::Saying;

    const GROUP: [u8; 4] = [224, 0, 0, 18];

    fn advert(vrid: u8, priority: u8, list: &[u16]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let addresses: Vec<IpAddr> =
            list.iter().map(|last| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, *last])).collect();
        let saying = Saying {
            family: Family::V6,
            version: Version::V3,
            vrid: Vrid::new(vrid).unwrap(),
            priority: Priority(priority),
            interval: Interval::from_secs(1),
            auth_type: 0,
            password: [0; 8],
            addresses: &addresses,
        };
        saying.emit(None, &mut bytes);
        bytes
    }

    fn say(census: &mut Census, at: u64, from: u16, vrid: u8, priority: u8) {
        say_for(census, at, from, vrid, priority, &[]);
    }

    fn say_for(census: &mut Census, at: u64, from: u16, vrid: u8, priority: u8, list: &[u16]) {
        let moment = Moment { at: Time::from_micros(at * 1000), unix_micros: at * 1000 };
        let heard = Heard { moment, mac: None, vlan: None, own: false };
        let source = IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, from]);
        let destination = IpAddr::from([0xff02, 0, 0, 0, 0, 0, 0, 0x12]);
        census.hear(&heard, &Carried { source, destination, ttl: 255, datagram: &advert(vrid, priority, list) });
    }

    fn rivals(census: &Census, at: u64) -> usize {
        census.routers().into_iter().map(|r| census.rivals(r, Time::from_micros(at * 1000)).len()).sum()
    }

    #[test]
    fn two_who_go_on_are_two_masters_and_a_takeover_is_none() {
        let mut census = Census::default();
        // 2 takes over, one advert of 1 being on its way.
        for (at, from) in [(0, 1), (1000, 1), (2000, 1), (2100, 2), (2101, 1), (3100, 2), (4100, 2), (5100, 2)] {
            say(&mut census, at, from, 51, 100);
            assert_eq!(rivals(&census, at), 0, "at {at}");
        }
        // 1 comes back and does not yield.
        for (at, from) in [(8000, 1), (8100, 2), (9000, 1), (9100, 2), (10_000, 1), (10_100, 2)] {
            say(&mut census, at, from, 51, 100);
        }
        assert_eq!(rivals(&census, 10_100), 2);
        // One of the two leaves.
        say(&mut census, 10_500, 1, 51, 0);
        assert_eq!(rivals(&census, 10_500), 0);
    }

    #[test]
    fn installations_with_one_vrid_are_no_two_masters() {
        let of = |lists: &[&[u16]]| {
            let mut census = Census::default();
            for at in 0..8 {
                for (from, list) in (1..).zip(lists) {
                    say_for(&mut census, at * 1000 + u64::from(from) * 10, from, 51, 100, list);
                }
            }
            let router = *census.routers().first().unwrap();
            let installations = census.installations(router, Time::from_micros(7_100_000));
            installations.iter().map(|one| one.iter().map(|s| s.address).collect()).collect::<Vec<Vec<IpAddr>>>()
        };
        let speaker = |from: u16| IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, from]);
        assert_eq!(of(&[&[7], &[8]]), [[speaker(1)], [speaker(2)]]);
        assert_eq!(of(&[&[7, 8], &[8]]), [[speaker(1), speaker(2)]]);
        assert_eq!(of(&[&[7], &[8], &[7, 8]]), [[speaker(1), speaker(2), speaker(3)]]);
        assert_eq!(of(&[&[7], &[8], &[7]]), [vec![speaker(2)], vec![speaker(1), speaker(3)]]);
        assert_eq!(of(&[&[7], &[]]), [[speaker(1), speaker(2)]], "of no addresses nothing can be said");
        assert_eq!(of(&[&[7]]), Vec::<Vec<IpAddr>>::new());
    }

    #[test]
    fn a_slow_speaker_beside_a_fast_one_is_seen() {
        let mut census = Census::default();
        for at in 0..90_u64 {
            say(&mut census, at * 100, 1, 51, 100);
            if at % 30 == 7 {
                say(&mut census, at * 100 + 50, 2, 51, 100);
            }
        }
        assert_eq!(rivals(&census, 9000), 2);
        let slow = census.speakers().find(|speaker| speaker.adverts == 3).unwrap();
        assert_eq!(slow.measured(), Some(Interval::from_secs(3)));
    }

    #[test]
    fn what_is_free_is_what_nobody_was_heard_to_use() {
        let mut census = Census::default();
        assert_eq!(census.free(None, Family::V6), [(1, 255)]);
        for vrid in [1, 2, 51, 255] {
            say(&mut census, 0, 1, vrid, 100);
        }
        assert_eq!(census.free(None, Family::V6), [(3, 50), (52, 254)]);
        assert_eq!(census.free(None, Family::V4), [(1, 255)]);
        assert_eq!(census.free(Some(7), Family::V6), [(1, 255)]);
    }

    #[test]
    fn a_flood_of_senders_is_bounded() {
        let mut census = Census::default();
        for from in 0..MOST as u64 * 2 {
            say(&mut census, from, from as u16, 51, 100);
        }
        assert_eq!(census.speakers().count(), MOST);
        assert_eq!(census.word.len(), 1);
        for vlan in 0..MOST as u16 * 2 {
            let at = MOST as u64 * 2 + u64::from(vlan);
            let moment = Moment { at: Time::from_micros(at * 1000), unix_micros: at * 1000 };
            let heard = Heard { moment, mac: None, vlan: Some(vlan), own: false };
            let source = IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 1]);
            let destination = IpAddr::from([0xff02, 0, 0, 0, 0, 0, 0, 0x12]);
            census.hear(&heard, &Carried { source, destination, ttl: 255, datagram: &advert(51, 100, &[]) });
        }
        assert_eq!((census.speakers().count(), census.word.len()), (MOST, MOST));
        let heard = Heard { moment: Moment { at: Time::ZERO, unix_micros: 0 }, mac: None, vlan: None, own: false };
        for n in 0..2 * MOST_STRAYS as u32 {
            let source = IpAddr::from(n.to_be_bytes());
            let destination = IpAddr::from(GROUP);
            census.hear(&heard, &Carried { source, destination, ttl: 255, datagram: &[] });
        }
        assert_eq!(census.strays().len(), MOST_STRAYS);
    }
}
