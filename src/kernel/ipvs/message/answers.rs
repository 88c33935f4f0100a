//! What the kernel answers, from bytes to meaning. An answer that lacks what it must have is no answer.

use super::attributes::{address, family, family_numbered, first, native16, native32, protocol_numbered, value, words};
use super::numbers::{
    METHOD_DIRECT, METHOD_NAT, METHOD_TUNNEL, METHODS, ONE_PACKET, PERSISTENT, SCHEDULER_FLAGS, command, daemon,
    destination, service, top,
};
use super::{Daemon, DestinationKey, Info, Message, SeenDestination, Service, SyncRole, Timeouts, plain};
use crate::balance::io::{Destination, ServiceKey, Stats};
use crate::spec::balance::{Forwarding, Granularity, Method, Persistence, SchedulerFlags, TunnelChecksum, TunnelKind};
use crate::wire::Family;

impl Message {
    /// The number of the command: NEW_SERVICE and its like in a dump, see [`command`].
    pub fn command(&self) -> u8 {
        self.command
    }

    /// A service of a dump.
    pub fn service(&self) -> Option<(ServiceKey, Service, Stats)> {
        let inside = self.attributes.value(top::SERVICE)?;
        let find = |kind| value(inside, kind);
        let family = family_numbered(native16(find(service::FAMILY)?)?)?;
        let key = match find(service::MARK).and_then(native32) {
            Some(mark) if mark != 0 => ServiceKey::Mark { family, mark },
            _ => ServiceKey::Address {
                protocol: protocol_numbered(native16(find(service::PROTOCOL)?)?)?,
                address: address(family, find(service::ADDRESS)?)?,
                port: u16::from_be_bytes(first(find(service::PORT)?)?),
            },
        };
        let flags = native32(find(service::FLAGS)?)?;
        let engine = find(service::ENGINE).map(words).filter(|name| !name.is_empty());
        let persistence = (flags & PERSISTENT != 0).then(|| Persistence {
            timeout: find(service::TIMEOUT).and_then(native32).unwrap_or(0),
            granularity: find(service::NETMASK).and_then(first).map_or(
                Granularity::Host,
                |mask: [u8; 4]| match family {
                    Family::V4 if mask == [255; 4] => Granularity::Host,
                    Family::V4 => Granularity::Mask(u32::from_be_bytes(mask)),
                    Family::V6 => u8::try_from(u32::from_ne_bytes(mask))
                        .ok()
                        .filter(|prefix| *prefix < 128)
                        .map_or(Granularity::Host, Granularity::Prefix),
                },
            ),
            engine,
        });
        let service = Service {
            scheduler: words(find(service::SCHEDULER)?),
            flags: SchedulerFlags {
                one_packet: flags & ONE_PACKET != 0,
                flags: SCHEDULER_FLAGS.map(|bit| flags & bit != 0),
            },
            persistence,
        };
        Some((key, service, stats(inside, service::STATS64, service::STATS)))
    }

    /// A destination of a dump of the destinations of `service`.
    pub fn destination(&self, service: ServiceKey) -> Option<(DestinationKey, SeenDestination)> {
        let inside = self.attributes.value(top::DESTINATION)?;
        let find = |kind| value(inside, kind);
        let count = |kind| find(kind).and_then(native32);
        // Kernels that know no mixed families say none.
        let family = match find(destination::FAMILY).and_then(native16) {
            Some(number) if number != 0 => family_numbered(number)?,
            _ => family(service),
        };
        let key = (address(family, find(destination::ADDRESS)?)?, u16::from_be_bytes(first(find(destination::PORT)?)?));
        let (method, other_method) = match count(destination::METHOD)? & METHODS {
            METHOD_NAT => (Method::Nat, false),
            METHOD_TUNNEL => (Method::Tunnel, false),
            METHOD_DIRECT => (Method::Direct, false),
            _ => (Method::Nat, true),
        };
        let tunnel = match find(destination::TUNNEL_KIND).and_then(<[u8]>::first) {
            Some(1) => TunnelKind::Gue(
                find(destination::TUNNEL_PORT).and_then(first).map(u16::from_be_bytes).unwrap_or_default(),
            ),
            Some(2) => TunnelKind::Gre,
            _ => TunnelKind::Ipip,
        };
        let checksum = match find(destination::TUNNEL_FLAGS).and_then(native16) {
            Some(1) => TunnelChecksum::Checksum,
            Some(2) => TunnelChecksum::Remote,
            _ => TunnelChecksum::None,
        };
        let destination = Destination {
            weight: count(destination::WEIGHT)?,
            forwarding: plain(Forwarding { method, tunnel, checksum }),
            upper_threshold: count(destination::UPPER).unwrap_or(0),
            lower_threshold: count(destination::LOWER).unwrap_or(0),
        };
        let seen = SeenDestination {
            destination,
            other_method,
            active: count(destination::ACTIVE).unwrap_or(0),
            inactive: count(destination::INACTIVE).unwrap_or(0),
            persistent: count(destination::PERSISTENT).unwrap_or(0),
            stats: stats(inside, destination::STATS64, destination::STATS),
        };
        Some((key, seen))
    }

    /// A thread of a dump of the threads of synchronisation.
    pub fn daemon(&self) -> Option<(SyncRole, Daemon)> {
        let inside = self.attributes.value(top::DAEMON)?;
        let find = |kind| value(inside, kind);
        let role = match native32(find(daemon::STATE)?)? {
            1 => SyncRole::Master,
            2 => SyncRole::Backup,
            _ => return None,
        };
        let group6 = find(daemon::GROUP6).and_then(|bytes| address(Family::V6, bytes));
        let group = group6.or_else(|| find(daemon::GROUP).and_then(|bytes| address(Family::V4, bytes)));
        let daemon = Daemon {
            interface: words(find(daemon::INTERFACE)?),
            id: find(daemon::ID).and_then(native32).and_then(|id| u8::try_from(id).ok()).unwrap_or(0),
            longest: find(daemon::LONGEST).and_then(native16),
            port: find(daemon::PORT).and_then(native16),
            ttl: find(daemon::TTL).and_then(<[u8]>::first).copied(),
            group: group.filter(|group| !group.is_unspecified()),
        };
        Some((role, daemon))
    }

    /// The answer to [`Message::get_timeouts`].
    pub fn timeouts(&self) -> Option<Timeouts> {
        let find = |kind| self.attributes.value(kind).and_then(native32);
        Some(Timeouts {
            tcp: find(top::TIMEOUT_TCP)?,
            tcp_fin: find(top::TIMEOUT_TCP_FIN)?,
            udp: find(top::TIMEOUT_UDP)?,
        })
    }

    /// The answer to [`Message::get_info`].
    pub fn info(&self) -> Option<Info> {
        if self.command != command::SET_INFO {
            return None;
        }
        let [_, major, minor, patch] = self.attributes.value(top::INFO_VERSION).and_then(native32)?.to_be_bytes();
        let connection_table = self.attributes.value(top::INFO_CONNECTION_TABLE).and_then(native32)?;
        Some(Info { version: (major, minor, patch), connection_table })
    }
}

/// Both sets of counters say the same; the wide one goes first. A set that lacks a member is none.
fn stats(inside: &[u8], wide: u16, narrow: u16) -> Stats {
    let read = |kind| {
        let members = value(inside, kind)?;
        let member = |kind| {
            let bytes = value(members, kind)?;
            first(bytes).map(u64::from_ne_bytes).or_else(|| native32(bytes).map(u64::from))
        };
        Some(Stats {
            connections: member(1)?,
            packets_in: member(2)?,
            packets_out: member(3)?,
            bytes_in: member(4)?,
            bytes_out: member(5)?,
            connection_rate: member(6)?,
            packet_rate_in: member(7)?,
            packet_rate_out: member(8)?,
            byte_rate_in: member(9)?,
            byte_rate_out: member(10)?,
        })
    };
    read(wide).or_else(|| read(narrow)).unwrap_or_default()
}
