//! The numbers of linux/ip_vs.h: commands, attributes, flags.

/// What the controller of generic netlink knows the family by.
pub const FAMILY: &str = "IPVS";
pub const VERSION: u8 = 1;

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
pub mod top {
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
pub mod service {
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
pub mod destination {
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
pub mod daemon {
    pub const STATE: u16 = 1;
    pub const INTERFACE: u16 = 2;
    pub const ID: u16 = 3;
    pub const LONGEST: u16 = 4;
    pub const GROUP: u16 = 5;
    pub const GROUP6: u16 = 6;
    pub const PORT: u16 = 7;
    pub const TTL: u16 = 8;
}

pub const PERSISTENT: u32 = 0x01;
pub const ONE_PACKET: u32 = 0x04;
pub const SCHEDULER_FLAGS: [u32; 3] = [0x08, 0x10, 0x20];

pub const INET: u16 = 2;
pub const INET6: u16 = 10;
pub const METHOD_NAT: u32 = 0;
pub const METHOD_TUNNEL: u32 = 2;
pub const METHOD_DIRECT: u32 = 3;
pub const METHODS: u32 = 7;
