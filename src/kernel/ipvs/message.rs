//! Messages of the kernel's IPVS family (generic netlink, "IPVS", version 1): meaning to bytes and back.
//!
//! A request is made by one function for each command and carries its attributes ready to be sent, in the order in which
//! keepalived sends them. Commands that only name a service or a destination carry only the name: the kernel reads no
//! more of them. What the kernel answers is read by [`Message::service`] and its like. Nothing here opens a socket, and
//! no bytes, however wrong, make it panic: an answer that lacks what it must have is no answer.
//!
//! Numbers: linux/ip_vs.h. Addresses are always 16 bytes, an IPv4 address the first four of them. Ports of services,
//! destinations and tunnels are in network order, the port of the synchronisation in that of the machine.

use crate::balance::io::{Destination, Picture, ServiceKey};
use crate::spec::balance::{
    Forwarding, Granularity, Method, Persistence, Protocol, SchedulerFlags, SyncDaemon, TunnelChecksum, TunnelKind,
};
use crate::wire::Family;
use netlink_packet_core::{
    DecodeError, Emitable, NLA_F_NESTED, NLA_TYPE_MASK, Nla, NlasIterator, ParseableParametrized,
};
use netlink_packet_generic::{GenlFamily, GenlHeader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What the controller of generic netlink knows the family by.
pub const FAMILY: &str = "IPVS";
const VERSION: u8 = 1;

/// Commands of the family.
pub mod command {
    pub const NEW_SERVICE: u8 = 1;
    pub const SET_SERVICE: u8 = 2;
    pub const DELETE_SERVICE: u8 = 3;
    pub const GET_SERVICE: u8 = 4;
    pub const NEW_DESTINATION: u8 = 5;
    pub const SET_DESTINATION: u8 = 6;
    pub const DELETE_DESTINATION: u8 = 7;
    pub const GET_DESTINATION: u8 = 8;
    pub const NEW_DAEMON: u8 = 9;
    pub const DELETE_DAEMON: u8 = 10;
    pub const GET_DAEMON: u8 = 11;
    pub const SET_CONFIG: u8 = 12;
    pub const GET_CONFIG: u8 = 13;
    pub const SET_INFO: u8 = 14;
    pub const GET_INFO: u8 = 15;
    pub const FLUSH: u8 = 17;
}

/// Attributes of a message.
mod top {
    pub const SERVICE: u16 = 1;
    pub const DESTINATION: u16 = 2;
    pub const DAEMON: u16 = 3;
    pub const TIMEOUT_TCP: u16 = 4;
    pub const TIMEOUT_TCP_FIN: u16 = 5;
    pub const TIMEOUT_UDP: u16 = 6;
    /// Of SET_INFO, which has numbers of its own.
    pub const INFO_VERSION: u16 = 1;
    pub const INFO_CONNECTION_TABLE: u16 = 2;
}
mod service {
    pub const FAMILY: u16 = 1;
    pub const PROTOCOL: u16 = 2;
    pub const ADDRESS: u16 = 3;
    pub const PORT: u16 = 4;
    pub const MARK: u16 = 5;
    pub const SCHEDULER: u16 = 6;
    pub const FLAGS: u16 = 7;
    pub const TIMEOUT: u16 = 8;
    pub const NETMASK: u16 = 9;
    pub const STATS: u16 = 10;
    pub const ENGINE: u16 = 11;
    pub const STATS64: u16 = 12;
}
mod destination {
    pub const ADDRESS: u16 = 1;
    pub const PORT: u16 = 2;
    pub const METHOD: u16 = 3;
    pub const WEIGHT: u16 = 4;
    pub const UPPER: u16 = 5;
    pub const LOWER: u16 = 6;
    pub const ACTIVE: u16 = 7;
    pub const INACTIVE: u16 = 8;
    pub const PERSISTENT: u16 = 9;
    pub const STATS: u16 = 10;
    pub const FAMILY: u16 = 11;
    pub const STATS64: u16 = 12;
    pub const TUNNEL_KIND: u16 = 13;
    pub const TUNNEL_PORT: u16 = 14;
    pub const TUNNEL_FLAGS: u16 = 15;
}
mod daemon {
    pub const STATE: u16 = 1;
    pub const INTERFACE: u16 = 2;
    pub const ID: u16 = 3;
    pub const LONGEST: u16 = 4;
    pub const GROUP: u16 = 5;
    pub const GROUP6: u16 = 6;
    pub const PORT: u16 = 7;
    pub const TTL: u16 = 8;
}

const PERSISTENT: u32 = 0x01;
const ONE_PACKET: u32 = 0x04;
const SCHEDULER_FLAGS: [u32; 3] = [0x08, 0x10, 0x20];

const INET: u16 = 2;
const INET6: u16 = 10;
const METHOD_NAT: u32 = 0;
const METHOD_TUNNEL: u32 = 2;
const METHOD_DIRECT: u32 = 3;
const METHODS: u32 = 7;

/// A message as it goes over the wire; see the functions that make one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    command: u8,
    attributes: Vec<Attribute>,
}

/// One attribute; of a nested one the bytes of those inside.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Attribute {
    kind: u16,
    bytes: Vec<u8>,
}
impl Attribute {
    fn new(kind: u16, bytes: Vec<u8>) -> Attribute {
        Attribute { kind, bytes }
    }
}

/// Address and port of a destination as the kernel has them; port 0 keeps the client's.
pub type DestinationKey = (IpAddr, u16);

/// What the kernel holds of a service besides its destinations.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    pub scheduler: Box<str>,
    pub flags: SchedulerFlags,
    pub persistence: Option<Persistence>,
}
impl Service {
    /// In the one form in which equal services are equal: a mask or prefix of all bits is a host, and so is one of the
    /// other family.
    pub fn of(key: ServiceKey, picture: &Picture) -> Service {
        let persistence = picture.persistence.clone().map(|persistence| Persistence {
            granularity: match (persistence.granularity, family(key)) {
                (Granularity::Mask(mask), Family::V4) if mask != u32::MAX => Granularity::Mask(mask),
                (Granularity::Prefix(prefix), Family::V6) if prefix < 128 => Granularity::Prefix(prefix),
                _ => Granularity::Host,
            },
            ..persistence
        });
        Service { scheduler: picture.scheduler.clone(), flags: picture.flags, persistence }
    }
}

/// In the one form in which equal ways are equal: only a tunnel has options of a tunnel, and IPIP none.
pub fn plain(forwarding: Forwarding) -> Forwarding {
    let tunnel = if forwarding.method == Method::Tunnel { forwarding.tunnel } else { TunnelKind::Ipip };
    let checksum = if tunnel == TunnelKind::Ipip { TunnelChecksum::None } else { forwarding.checksum };
    Forwarding { method: forwarding.method, tunnel, checksum }
}

/// Counters since the service or destination was made, and rates of about the last two seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    pub connections: u64,
    pub packets_in: u64,
    pub packets_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Each second, this and the next four.
    pub connection_rate: u64,
    pub packet_rate_in: u64,
    pub packet_rate_out: u64,
    pub byte_rate_in: u64,
    pub byte_rate_out: u64,
}

/// A destination as the kernel tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SeenDestination {
    pub destination: Destination,
    /// Forwarding methods that nobody can ask for (local delivery of old kernels, bypass): then `forwarding` is NAT.
    pub other_method: bool,
    pub active: u32,
    pub inactive: u32,
    pub persistent: u32,
    pub stats: Stats,
}

/// Time-outs of connections, seconds; 0 leaves the kernel's as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Timeouts {
    pub tcp: u32,
    pub tcp_fin: u32,
    pub udp: u32,
}

/// What one end of the synchronisation of connections does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SyncRole {
    /// Tells its connections.
    Master,
    /// Hears those of the master.
    Backup,
}

/// The kernel's thread that tells or hears connections. What is `None` is left to the kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Daemon {
    pub interface: Box<str>,
    /// Both ends have the same; 0 to 255.
    pub id: u8,
    /// Bytes of a datagram.
    pub longest: Option<u16>,
    pub port: Option<u16>,
    pub ttl: Option<u8>,
    pub group: Option<IpAddr>,
}

impl Daemon {
    pub fn of(settings: &SyncDaemon) -> Daemon {
        Daemon {
            interface: settings.interface.as_str().into(),
            id: settings.id.unwrap_or(0),
            longest: settings.max_length,
            port: settings.port,
            ttl: settings.ttl,
            group: settings.group,
        }
    }

    /// What runs is what is asked for, the kernel's choice where nothing is.
    pub fn is(&self, running: &Daemon) -> bool {
        const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81));
        const PORT: u16 = 8848;
        const TTL: u8 = 1;
        self.interface == running.interface
            && self.id == running.id
            // As long as the interface allows, whatever that is.
            && (self.longest.is_none() || self.longest == running.longest)
            && self.port.unwrap_or(PORT) == running.port.unwrap_or(PORT)
            && self.ttl.unwrap_or(TTL) == running.ttl.unwrap_or(TTL)
            && self.group.unwrap_or(GROUP) == running.group.unwrap_or(GROUP)
    }
}

/// Version of IPVS and size of its table of connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Info {
    pub version: (u8, u8, u8),
    pub connection_table: u32,
}

// ---- requests

impl Message {
    pub fn new_service(key: ServiceKey, service: &Service) -> Message {
        Message::about(command::NEW_SERVICE, entry(key, service))
    }
    /// Changes all of a service but its name and its destinations.
    pub fn set_service(key: ServiceKey, service: &Service) -> Message {
        Message::about(command::SET_SERVICE, entry(key, service))
    }
    /// The destinations go with it.
    pub fn delete_service(key: ServiceKey) -> Message {
        Message::about(command::DELETE_SERVICE, identity(key))
    }
    pub fn get_service(key: ServiceKey) -> Message {
        Message::about(command::GET_SERVICE, identity(key))
    }
    /// A dump.
    pub fn get_services() -> Message {
        Message { command: command::GET_SERVICE, attributes: Vec::new() }
    }
    pub fn new_destination(service: ServiceKey, key: DestinationKey, destination: &Destination) -> Message {
        Message::of_destination(command::NEW_DESTINATION, service, target(key, destination))
    }
    pub fn set_destination(service: ServiceKey, key: DestinationKey, destination: &Destination) -> Message {
        Message::of_destination(command::SET_DESTINATION, service, target(key, destination))
    }
    pub fn delete_destination(service: ServiceKey, key: DestinationKey) -> Message {
        Message::of_destination(command::DELETE_DESTINATION, service, place(key))
    }
    /// A dump.
    pub fn get_destinations(service: ServiceKey) -> Message {
        Message::about(command::GET_DESTINATION, identity(service))
    }
    pub fn new_daemon(role: SyncRole, daemon: &Daemon) -> Message {
        let mut list = vec![
            number(daemon::STATE, state(role)),
            text(daemon::INTERFACE, &daemon.interface),
            number(daemon::ID, u32::from(daemon.id)),
        ];
        list.extend(daemon.longest.map(|longest| short(daemon::LONGEST, longest)));
        list.extend(daemon.port.map(|port| short(daemon::PORT, port)));
        list.extend(daemon.ttl.map(|ttl| Attribute::new(daemon::TTL, vec![ttl])));
        list.extend(daemon.group.map(|group| match group {
            IpAddr::V4(group) => Attribute::new(daemon::GROUP, group.octets().to_vec()),
            IpAddr::V6(group) => Attribute::new(daemon::GROUP6, group.octets().to_vec()),
        }));
        Message { command: command::NEW_DAEMON, attributes: vec![nest(top::DAEMON, &list)] }
    }
    pub fn delete_daemon(role: SyncRole, id: u8) -> Message {
        let list = [number(daemon::STATE, state(role)), number(daemon::ID, u32::from(id))];
        Message { command: command::DELETE_DAEMON, attributes: vec![nest(top::DAEMON, &list)] }
    }
    /// A dump.
    pub fn get_daemons() -> Message {
        Message { command: command::GET_DAEMON, attributes: Vec::new() }
    }
    pub fn set_timeouts(timeouts: Timeouts) -> Message {
        let attributes = vec![
            number(top::TIMEOUT_TCP, timeouts.tcp),
            number(top::TIMEOUT_TCP_FIN, timeouts.tcp_fin),
            number(top::TIMEOUT_UDP, timeouts.udp),
        ];
        Message { command: command::SET_CONFIG, attributes }
    }
    pub fn get_timeouts() -> Message {
        Message { command: command::GET_CONFIG, attributes: Vec::new() }
    }
    pub fn get_info() -> Message {
        Message { command: command::GET_INFO, attributes: Vec::new() }
    }
    /// Empties the table, whoever filled it.
    pub fn flush() -> Message {
        Message { command: command::FLUSH, attributes: Vec::new() }
    }

    fn about(command: u8, service: Vec<Attribute>) -> Message {
        Message { command, attributes: vec![nest(top::SERVICE, &service)] }
    }
    fn of_destination(command: u8, service: ServiceKey, destination: Vec<Attribute>) -> Message {
        let attributes = vec![nest(top::SERVICE, &identity(service)), nest(top::DESTINATION, &destination)];
        Message { command, attributes }
    }
}

/// The name of a service.
fn identity(key: ServiceKey) -> Vec<Attribute> {
    match key {
        ServiceKey::Address { protocol, address, port } => vec![
            short(service::FAMILY, family_of(address)),
            short(service::PROTOCOL, protocol_number(protocol)),
            Attribute::new(service::ADDRESS, sixteen(address)),
            Attribute::new(service::PORT, port.to_be_bytes().to_vec()),
        ],
        ServiceKey::Mark { family, mark } => {
            vec![short(service::FAMILY, number_of(family)), number(service::MARK, mark)]
        }
    }
}

/// All of a service.
fn entry(key: ServiceKey, service: &Service) -> Vec<Attribute> {
    let mut list = identity(key);
    list.push(text(service::SCHEDULER, &service.scheduler));
    let mut flags = 0;
    let (mut timeout, mut netmask) = (0, host_mask(key));
    if let Some(persistence) = &service.persistence {
        flags |= PERSISTENT;
        timeout = persistence.timeout;
        netmask = match (persistence.granularity, family(key)) {
            (Granularity::Mask(mask), Family::V4) => mask.to_be_bytes(),
            (Granularity::Prefix(prefix), Family::V6) => u32::from(prefix).to_ne_bytes(),
            _ => netmask,
        };
        list.extend(persistence.engine.as_deref().map(|engine| text(service::ENGINE, engine)));
    }
    if service.flags.one_packet {
        flags |= ONE_PACKET;
    }
    for (set, bit) in service.flags.flags.into_iter().zip(SCHEDULER_FLAGS) {
        flags |= if set { bit } else { 0 };
    }
    let mut both = flags.to_ne_bytes().to_vec();
    both.extend(u32::MAX.to_ne_bytes());
    list.push(Attribute::new(service::FLAGS, both));
    list.push(number(service::TIMEOUT, timeout));
    list.push(Attribute::new(service::NETMASK, netmask.to_vec()));
    list
}

/// The name of a destination.
fn place((address, port): DestinationKey) -> Vec<Attribute> {
    vec![
        short(destination::FAMILY, family_of(address)),
        Attribute::new(destination::ADDRESS, sixteen(address)),
        Attribute::new(destination::PORT, port.to_be_bytes().to_vec()),
    ]
}

/// All of a destination.
fn target(key: DestinationKey, target: &Destination) -> Vec<Attribute> {
    let mut list = place(key);
    let way = plain(target.forwarding);
    list.push(number(
        destination::METHOD,
        match way.method {
            Method::Nat => METHOD_NAT,
            Method::Tunnel => METHOD_TUNNEL,
            Method::Direct => METHOD_DIRECT,
        },
    ));
    // The kernel reads it as a signed number and refuses what is below zero.
    list.push(number(destination::WEIGHT, target.weight.min(i32::MAX.unsigned_abs())));
    if way.method == Method::Tunnel {
        let (kind, port) = match way.tunnel {
            TunnelKind::Ipip => (0, None),
            TunnelKind::Gue(port) => (1, Some(port)),
            TunnelKind::Gre => (2, None),
        };
        list.push(Attribute::new(destination::TUNNEL_KIND, vec![kind]));
        list.extend(port.map(|port| Attribute::new(destination::TUNNEL_PORT, port.to_be_bytes().to_vec())));
        if kind != 0 {
            let flags = match way.checksum {
                TunnelChecksum::None => 0,
                TunnelChecksum::Checksum => 1,
                TunnelChecksum::Remote => 2,
            };
            list.push(short(destination::TUNNEL_FLAGS, flags));
        }
    }
    list.push(number(destination::UPPER, target.upper_threshold));
    list.push(number(destination::LOWER, target.lower_threshold));
    list
}

// ---- answers

impl Message {
    /// The number of the command: NEW_SERVICE and its like in a dump, see [`command`].
    pub fn command(&self) -> u8 {
        self.command
    }

    /// A service of a dump.
    pub fn service(&self) -> Option<(ServiceKey, Service, Stats)> {
        let inside = self.nested(top::SERVICE)?;
        let find = |kind| value(&inside, kind);
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
        Some((key, service, stats(&inside, service::STATS64, service::STATS)))
    }

    /// A destination of a dump of the destinations of `service`.
    pub fn destination(&self, service: ServiceKey) -> Option<(DestinationKey, SeenDestination)> {
        let inside = self.nested(top::DESTINATION)?;
        let find = |kind| value(&inside, kind);
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
            stats: stats(&inside, destination::STATS64, destination::STATS),
        };
        Some((key, seen))
    }

    /// A thread of a dump of the threads of synchronisation.
    pub fn daemon(&self) -> Option<(SyncRole, Daemon)> {
        let inside = self.nested(top::DAEMON)?;
        let find = |kind| value(&inside, kind);
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
        let find = |kind| value(&self.attributes, kind).and_then(native32);
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
        let [_, major, minor, patch] = value(&self.attributes, top::INFO_VERSION).and_then(native32)?.to_be_bytes();
        let connection_table = value(&self.attributes, top::INFO_CONNECTION_TABLE).and_then(native32)?;
        Some(Info { version: (major, minor, patch), connection_table })
    }

    fn nested(&self, kind: u16) -> Option<Vec<Attribute>> {
        value(&self.attributes, kind).map(attributes)
    }
}

/// Both sets of counters say the same; the wide one goes first. A set that lacks a member is none.
fn stats(inside: &[Attribute], wide: u16, narrow: u16) -> Stats {
    let read = |kind| {
        let members = attributes(value(inside, kind)?);
        let member = |kind| {
            let bytes = value(&members, kind)?;
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

// ---- attributes

fn nest(kind: u16, list: &[Attribute]) -> Attribute {
    let mut bytes = vec![0; list.buffer_len()];
    list.emit(&mut bytes);
    Attribute::new(kind | NLA_F_NESTED, bytes)
}
fn number(kind: u16, value: u32) -> Attribute {
    Attribute::new(kind, value.to_ne_bytes().to_vec())
}
fn short(kind: u16, value: u16) -> Attribute {
    Attribute::new(kind, value.to_ne_bytes().to_vec())
}
/// Longer names than the kernel takes are cut where it refuses them still.
fn text(kind: u16, value: &str) -> Attribute {
    let mut bytes: Vec<u8> = value.bytes().take(64).collect();
    bytes.push(0);
    Attribute::new(kind, bytes)
}

/// The attributes that can be read; a broken one ends them.
fn attributes(bytes: &[u8]) -> Vec<Attribute> {
    NlasIterator::new(bytes)
        .map_while(Result::ok)
        .map(|nla| Attribute { kind: nla.kind(), bytes: nla.value().to_vec() })
        .collect()
}

/// The bytes of an attribute, whatever its flags.
fn value(list: &[Attribute], kind: u16) -> Option<&[u8]> {
    list.iter().find(|attribute| attribute.kind & NLA_TYPE_MASK == kind).map(|attribute| attribute.bytes.as_slice())
}

fn first<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.first_chunk().copied()
}
fn native16(bytes: &[u8]) -> Option<u16> {
    first(bytes).map(u16::from_ne_bytes)
}
fn native32(bytes: &[u8]) -> Option<u32> {
    first(bytes).map(u32::from_ne_bytes)
}
/// Text up to its NUL.
fn words(bytes: &[u8]) -> Box<str> {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into()
}

fn sixteen(address: IpAddr) -> Vec<u8> {
    let mut bytes = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    bytes.resize(16, 0);
    bytes
}
fn address(family: Family, bytes: &[u8]) -> Option<IpAddr> {
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
fn host_mask(key: ServiceKey) -> [u8; 4] {
    match family(key) {
        Family::V4 => [255; 4],
        Family::V6 => 128u32.to_ne_bytes(),
    }
}
fn number_of(family: Family) -> u16 {
    match family {
        Family::V4 => INET,
        Family::V6 => INET6,
    }
}
fn family_of(address: IpAddr) -> u16 {
    number_of(if address.is_ipv4() { Family::V4 } else { Family::V6 })
}
fn family_numbered(number: u16) -> Option<Family> {
    match number {
        INET => Some(Family::V4),
        INET6 => Some(Family::V6),
        _ => None,
    }
}
fn protocol_number(protocol: Protocol) -> u16 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}
fn protocol_numbered(number: u16) -> Option<Protocol> {
    match number {
        6 => Some(Protocol::Tcp),
        17 => Some(Protocol::Udp),
        132 => Some(Protocol::Sctp),
        _ => None,
    }
}
fn state(role: SyncRole) -> u32 {
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
