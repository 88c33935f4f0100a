//! The numbers of linux/ip_vs.h: commands, attributes, flags.
#![allow(dead_code, reason = "every number of the header stands here, used or not")]

/// What the controller of generic netlink knows the family by.
pub const FAMILY: &str = "IPVS";
pub(crate) const VERSION: u8 = 1;

/// Commands of the family.
pub mod command {
    /// IPVS_CMD_NEW_SERVICE.
    pub const NEW_SERVICE: u8 = 1;
    pub(crate) const SET_SERVICE: u8 = 2;
    pub(crate) const DELETE_SERVICE: u8 = 3;
    pub(crate) const GET_SERVICE: u8 = 4;
    pub(crate) const NEW_DESTINATION: u8 = 5;
    pub(crate) const SET_DESTINATION: u8 = 6;
    pub(crate) const DELETE_DESTINATION: u8 = 7;
    pub(crate) const GET_DESTINATION: u8 = 8;
    pub(crate) const NEW_DAEMON: u8 = 9;
    pub(crate) const DELETE_DAEMON: u8 = 10;
    pub(crate) const GET_DAEMON: u8 = 11;
    pub(crate) const SET_CONFIG: u8 = 12;
    pub(crate) const GET_CONFIG: u8 = 13;
    pub(crate) const SET_INFO: u8 = 14;
    pub(crate) const GET_INFO: u8 = 15;
    pub(crate) const FLUSH: u8 = 17;
}

/// Attributes of a message.
pub mod top {
    pub(crate) const SERVICE: u16 = 1;
    pub(crate) const DESTINATION: u16 = 2;
    pub(crate) const DAEMON: u16 = 3;
    pub(crate) const TIMEOUT_TCP: u16 = 4;
    pub(crate) const TIMEOUT_TCP_FIN: u16 = 5;
    pub(crate) const TIMEOUT_UDP: u16 = 6;
    /// Of SET_INFO, which has numbers of its own.
    pub const INFO_VERSION: u16 = 1;
    pub(crate) const INFO_CONNECTION_TABLE: u16 = 2;
}
pub mod service {
    pub(crate) const FAMILY: u16 = 1;
    pub(crate) const PROTOCOL: u16 = 2;
    pub(crate) const ADDRESS: u16 = 3;
    pub(crate) const PORT: u16 = 4;
    pub(crate) const MARK: u16 = 5;
    pub(crate) const SCHEDULER: u16 = 6;
    pub(crate) const FLAGS: u16 = 7;
    pub(crate) const TIMEOUT: u16 = 8;
    pub(crate) const NETMASK: u16 = 9;
    pub(crate) const STATS: u16 = 10;
    pub(crate) const ENGINE: u16 = 11;
    pub(crate) const STATS64: u16 = 12;
}
pub mod destination {
    pub(crate) const ADDRESS: u16 = 1;
    pub(crate) const PORT: u16 = 2;
    pub(crate) const METHOD: u16 = 3;
    pub(crate) const WEIGHT: u16 = 4;
    pub(crate) const UPPER: u16 = 5;
    pub(crate) const LOWER: u16 = 6;
    pub(crate) const ACTIVE: u16 = 7;
    pub(crate) const INACTIVE: u16 = 8;
    pub(crate) const PERSISTENT: u16 = 9;
    pub(crate) const STATS: u16 = 10;
    pub(crate) const FAMILY: u16 = 11;
    pub(crate) const STATS64: u16 = 12;
    pub(crate) const TUNNEL_KIND: u16 = 13;
    pub(crate) const TUNNEL_PORT: u16 = 14;
    pub(crate) const TUNNEL_FLAGS: u16 = 15;
}
pub mod daemon {
    pub(crate) const STATE: u16 = 1;
    pub(crate) const INTERFACE: u16 = 2;
    pub(crate) const ID: u16 = 3;
    pub(crate) const LONGEST: u16 = 4;
    pub(crate) const GROUP: u16 = 5;
    pub(crate) const GROUP6: u16 = 6;
    pub(crate) const PORT: u16 = 7;
    pub(crate) const TTL: u16 = 8;
}

pub(crate) const PERSISTENT: u32 = 0x01;
pub(crate) const ONE_PACKET: u32 = 0x04;
pub(crate) const SCHEDULER_FLAGS: [u32; 3] = [0x08, 0x10, 0x20];

pub(crate) const INET: u16 = 2;
pub(crate) const INET6: u16 = 10;
pub(crate) const METHOD_NAT: u32 = 0;
pub(crate) const METHOD_TUNNEL: u32 = 2;
pub(crate) const METHOD_DIRECT: u32 = 3;
pub(crate) const METHODS: u32 = 7;
