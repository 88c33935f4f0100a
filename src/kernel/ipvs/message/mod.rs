//! Messages of the kernel's IPVS family (generic netlink, "IPVS", version 1): meaning to bytes and back.
//!
//! A request is made by one function for each command and carries its attributes ready to be sent, in the order in which
//! keepalived sends them. Commands that only name a service or a destination carry only the name: the kernel reads no
//! more of them. What the kernel answers is read by [`Message::service`] and its like. Nothing here opens a socket, and
//! no bytes, however wrong, make it panic: an answer that lacks what it must have is no answer.
//!
//! Numbers: linux/ip_vs.h. Addresses are always 16 bytes, an IPv4 address the first four of them. Ports of services,
//! destinations and tunnels are in network order, the port of the synchronisation in that of the machine.

use crate::balance::io::{Destination, Picture, ServiceKey, Stats};
use crate::spec::balance::{
    Forwarding, Granularity, Method, Persistence, SchedulerFlags, SyncDaemon, TunnelChecksum, TunnelKind,
};
use crate::wire::Family;
use std::net::{IpAddr, Ipv4Addr};

mod answers;
mod attributes;
mod numbers;

pub use attributes::family;
pub use numbers::{FAMILY, command};

use attributes::{Attributes, family_of, host_mask, number_of, protocol_number, sixteen, state};
use numbers::{
    METHOD_DIRECT, METHOD_NAT, METHOD_TUNNEL, ONE_PACKET, PERSISTENT, SCHEDULER_FLAGS, daemon, destination, service,
    top,
};

/// A message as it goes over the wire; see the functions that make one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    command: u8,
    attributes: Attributes,
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
    /// As the configuration has it.
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
    /// IPVS_CMD_NEW_SERVICE.
    pub fn new_service(key: ServiceKey, service: &Service) -> Message {
        Message::about(command::NEW_SERVICE, |list| entry(list, key, service))
    }
    /// Changes all of a service but its name and its destinations.
    pub fn set_service(key: ServiceKey, service: &Service) -> Message {
        Message::about(command::SET_SERVICE, |list| entry(list, key, service))
    }
    /// The destinations go with it.
    pub fn delete_service(key: ServiceKey) -> Message {
        Message::about(command::DELETE_SERVICE, |list| identity(list, key))
    }
    pub(crate) fn get_service(key: ServiceKey) -> Message {
        Message::about(command::GET_SERVICE, |list| identity(list, key))
    }
    /// A dump.
    pub fn get_services() -> Message {
        Message { command: command::GET_SERVICE, attributes: Attributes::default() }
    }
    /// IPVS_CMD_NEW_DEST.
    pub fn new_destination(service: ServiceKey, key: DestinationKey, destination: &Destination) -> Message {
        Message::of_destination(command::NEW_DESTINATION, service, |list| target(list, key, destination))
    }
    /// IPVS_CMD_SET_DEST: weight, thresholds and forwarding of one that is there.
    pub fn set_destination(service: ServiceKey, key: DestinationKey, destination: &Destination) -> Message {
        Message::of_destination(command::SET_DESTINATION, service, |list| target(list, key, destination))
    }
    /// IPVS_CMD_DEL_DEST.
    pub fn delete_destination(service: ServiceKey, key: DestinationKey) -> Message {
        Message::of_destination(command::DELETE_DESTINATION, service, |list| place(list, key))
    }
    /// A dump.
    pub fn get_destinations(service: ServiceKey) -> Message {
        Message::about(command::GET_DESTINATION, |list| identity(list, service))
    }
    /// IPVS_CMD_NEW_DAEMON.
    pub fn new_daemon(role: SyncRole, daemon: &Daemon) -> Message {
        Message::of_daemon(command::NEW_DAEMON, |list| {
            list.number(daemon::STATE, state(role));
            list.text(daemon::INTERFACE, &daemon.interface);
            list.number(daemon::ID, u32::from(daemon.id));
            if let Some(longest) = daemon.longest {
                list.short(daemon::LONGEST, longest);
            }
            if let Some(port) = daemon.port {
                list.short(daemon::PORT, port);
            }
            if let Some(ttl) = daemon.ttl {
                list.add(daemon::TTL, &[ttl]);
            }
            match daemon.group {
                Some(IpAddr::V4(group)) => {
                    list.add(daemon::GROUP, &group.octets());
                }
                Some(IpAddr::V6(group)) => {
                    list.add(daemon::GROUP6, &group.octets());
                }
                None => {}
            }
        })
    }
    /// IPVS_CMD_DEL_DAEMON.
    pub fn delete_daemon(role: SyncRole, id: u8) -> Message {
        Message::of_daemon(command::DELETE_DAEMON, |list| {
            list.number(daemon::STATE, state(role)).number(daemon::ID, u32::from(id));
        })
    }
    /// A dump.
    pub fn get_daemons() -> Message {
        Message { command: command::GET_DAEMON, attributes: Attributes::default() }
    }
    /// IPVS_CMD_SET_CONFIG, seconds.
    pub fn set_timeouts(timeouts: Timeouts) -> Message {
        Message::with(command::SET_CONFIG, |list| {
            list.number(top::TIMEOUT_TCP, timeouts.tcp);
            list.number(top::TIMEOUT_TCP_FIN, timeouts.tcp_fin);
            list.number(top::TIMEOUT_UDP, timeouts.udp);
        })
    }
    /// IPVS_CMD_GET_CONFIG.
    pub fn get_timeouts() -> Message {
        Message { command: command::GET_CONFIG, attributes: Attributes::default() }
    }
    /// IPVS_CMD_GET_INFO: the version, and whether there is IPVS at all.
    pub fn get_info() -> Message {
        Message { command: command::GET_INFO, attributes: Attributes::default() }
    }
    /// Empties the table, also of what other programs put there.
    pub fn flush() -> Message {
        Message { command: command::FLUSH, attributes: Attributes::default() }
    }

    fn with(command: u8, fill: impl FnOnce(&mut Attributes)) -> Message {
        let mut attributes = Attributes::default();
        fill(&mut attributes);
        Message { command, attributes }
    }
    fn about(command: u8, service: impl FnOnce(&mut Attributes)) -> Message {
        Message::with(command, |list| {
            list.nest(top::SERVICE, service);
        })
    }
    fn of_destination(command: u8, service: ServiceKey, destination: impl FnOnce(&mut Attributes)) -> Message {
        Message::with(command, |list| {
            list.nest(top::SERVICE, |inside| identity(inside, service)).nest(top::DESTINATION, destination);
        })
    }
    fn of_daemon(command: u8, daemon: impl FnOnce(&mut Attributes)) -> Message {
        Message::with(command, |list| {
            list.nest(top::DAEMON, daemon);
        })
    }
}

/// The name of a service.
fn identity(list: &mut Attributes, key: ServiceKey) {
    match key {
        ServiceKey::Address { protocol, address, port } => {
            list.short(service::FAMILY, family_of(address));
            list.short(service::PROTOCOL, protocol_number(protocol));
            list.add(service::ADDRESS, &sixteen(address));
            list.port(service::PORT, port);
        }
        ServiceKey::Mark { family, mark } => {
            list.short(service::FAMILY, number_of(family)).number(service::MARK, mark);
        }
    }
}

/// All of a service.
fn entry(list: &mut Attributes, key: ServiceKey, service: &Service) {
    identity(list, key);
    list.text(service::SCHEDULER, &service.scheduler);
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
        if let Some(engine) = &persistence.engine {
            list.text(service::ENGINE, engine);
        }
    }
    if service.flags.one_packet {
        flags |= ONE_PACKET;
    }
    for (set, bit) in service.flags.flags.into_iter().zip(SCHEDULER_FLAGS) {
        flags |= if set { bit } else { 0 };
    }
    list.add(service::FLAGS, [flags, u32::MAX].map(u32::to_ne_bytes).as_flattened());
    list.number(service::TIMEOUT, timeout);
    list.add(service::NETMASK, &netmask);
}

/// The name of a destination.
fn place(list: &mut Attributes, (address, port): DestinationKey) {
    list.short(destination::FAMILY, family_of(address));
    list.add(destination::ADDRESS, &sixteen(address));
    list.port(destination::PORT, port);
}

/// All of a destination.
fn target(list: &mut Attributes, key: DestinationKey, target: &Destination) {
    place(list, key);
    let way = plain(target.forwarding);
    let method = match way.method {
        Method::Nat => METHOD_NAT,
        Method::Tunnel => METHOD_TUNNEL,
        Method::Direct => METHOD_DIRECT,
    };
    list.number(destination::METHOD, method);
    // The kernel reads it as a signed number and refuses what is below zero.
    list.number(destination::WEIGHT, target.weight.min(i32::MAX.unsigned_abs()));
    if way.method == Method::Tunnel {
        let (kind, port) = match way.tunnel {
            TunnelKind::Ipip => (0, None),
            TunnelKind::Gue(port) => (1, Some(port)),
            TunnelKind::Gre => (2, None),
        };
        list.add(destination::TUNNEL_KIND, &[kind]);
        if let Some(port) = port {
            list.port(destination::TUNNEL_PORT, port);
        }
        if kind != 0 {
            let flags = match way.checksum {
                TunnelChecksum::None => 0,
                TunnelChecksum::Checksum => 1,
                TunnelChecksum::Remote => 2,
            };
            list.short(destination::TUNNEL_FLAGS, flags);
        }
    }
    list.number(destination::UPPER, target.upper_threshold);
    list.number(destination::LOWER, target.lower_threshold);
}
