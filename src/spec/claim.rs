//! What an instance owns while it is master, and what is kept always: addresses, routes, rules.

use super::IfName;
use super::InstanceId;
use crate::wire::Family;
use std::net::{IpAddr, Ipv4Addr};

/// Everything an instance owns while it is master.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Claim {
    /// `virtual_ipaddress` in configuration order, then `virtual_ipaddress_excluded`.
    pub addresses: Vec<VirtualAddress>,
    /// How many of `addresses`, from the front, stand in the advert.
    pub advertised: usize,
    pub routes: Vec<Route>,
    pub rules: Vec<Rule>,
    /// True: packets to `addresses` are dropped while owned (`no_accept`).
    pub deny: bool,
}

/// Address kept or claimed (`virtual_ipaddress`, `static_ipaddress`).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct VirtualAddress {
    pub address: IpAddr,
    pub prefix: u8,
    /// `None`: the instance's interface (its VMAC if it has one and the family is the same).
    pub interface: Option<IfName>,
    /// rt_scope number; `None` leaves it to the kernel (IPv6) or 0, universe (IPv4).
    pub scope: Option<u8>,
    pub broadcast: Option<Ipv4Addr>,
    pub label: Option<Box<str>>,
    /// Point-to-point peer and its prefix.
    pub peer: Option<(IpAddr, u8)>,
    pub home: bool,
    /// `-nodad`: let IPv6 duplicate address detection run. False, the default, switches it off.
    pub dad: bool,
    pub mngtmpaddr: bool,
    pub noprefixroute: bool,
    pub autojoin: bool,
    /// Neither watched nor put back.
    pub no_track: bool,
    /// IPv6 preferred lifetime in seconds; `None` is for ever.
    pub preferred_lifetime: Option<u32>,
    /// `use_vmac` of the line: the address gets its own VMAC.
    pub use_vmac: bool,
    /// `track_group` of a static address.
    pub track_group: Option<Box<str>>,
}

impl VirtualAddress {
    /// An address with nothing but itself said.
    pub fn plain(address: IpAddr, prefix: u8) -> Self {
        VirtualAddress {
            address,
            prefix,
            interface: None,
            scope: None,
            broadcast: None,
            label: None,
            peer: None,
            home: false,
            dad: false,
            mngtmpaddr: false,
            noprefixroute: false,
            autojoin: false,
            no_track: false,
            preferred_lifetime: None,
            use_vmac: false,
            track_group: None,
        }
    }
}

/// A network: address and prefix length.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Prefix {
    pub address: IpAddr,
    pub length: u8,
}

/// rtm_protocol of routes and rules that are watched and put back (RTPROT_KEEPALIVED).
pub const PROTOCOL_KEEPALIVED: u8 = 18;
/// Routing table `main` (RT_TABLE_MAIN).
pub const TABLE_MAIN: u32 = 254;
/// rtm_type unicast (RTN_UNICAST).
pub const UNICAST: u8 = 1;

/// `virtual_routes`, `static_routes`: what `ip route` can say.
#[derive(Clone, PartialEq, Debug)]
pub struct Route {
    pub family: Family,
    /// `None` is the default route.
    pub destination: Option<Prefix>,
    /// rtm_type number: 1 unicast, 6 blackhole, …
    pub kind: u8,
    pub source: Option<IpAddr>,
    pub via: Option<IpAddr>,
    /// `from`, IPv6 only.
    pub from: Option<Prefix>,
    pub tos: u8,
    /// 254 is main.
    pub table: u32,
    pub vrf: Option<IfName>,
    pub protocol: u8,
    pub scope: Option<u8>,
    pub metric: Option<u32>,
    pub interface: Option<IfName>,
    pub onlink: bool,
    pub encap: Option<Encap>,
    /// Seconds, IPv6.
    pub expires: Option<u32>,
    /// ([`rtax`] number, value, locked)
    pub metrics: Vec<(u8, u32, bool)>,
    /// Congestion control (name, locked).
    pub congctl: Option<(Box<str>, bool)>,
    pub pref: Option<u8>,
    pub ttl_propagate: Option<bool>,
    pub realms: Option<u32>,
    /// How an equal route already there is met.
    pub insert: Insert,
    pub nexthops: Vec<NextHop>,
    pub no_track: bool,
    pub track_group: Option<Box<str>>,
}

impl Route {
    /// The IPv4 default route of table `main`, with nothing but itself said.
    pub fn plain() -> Self {
        Route {
            family: Family::V4,
            destination: None,
            kind: UNICAST,
            source: None,
            via: None,
            from: None,
            tos: 0,
            table: TABLE_MAIN,
            vrf: None,
            protocol: PROTOCOL_KEEPALIVED,
            scope: None,
            metric: None,
            interface: None,
            onlink: false,
            encap: None,
            expires: None,
            metrics: Vec::new(),
            congctl: None,
            pref: None,
            ttl_propagate: None,
            realms: None,
            insert: Insert::Prepend,
            nexthops: Vec::new(),
            no_track: false,
            track_group: None,
        }
    }
}

/// Where a route is put among those for the same destination (`ip route add`, `append`, `prepend`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Insert {
    #[default]
    Prepend,
    Append,
    /// Fails if an equal route exists.
    Add,
}

/// One of a route's next hops.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct NextHop {
    pub via: Option<IpAddr>,
    pub interface: Option<IfName>,
    /// 1..=256.
    pub weight: u16,
    pub onlink: bool,
    pub encap: Option<Encap>,
    pub realms: Option<u32>,
}

/// Lightweight tunnel of a route.
#[derive(Clone, PartialEq, Debug)]
pub enum Encap {
    Ip { id: Option<u64>, destination: Option<IpAddr>, source: Option<IpAddr>, tos: u8, ttl: u8, flags: u16 },
    Ip6 { id: Option<u64>, destination: Option<IpAddr>, source: Option<IpAddr>, tc: u8, hoplimit: u8, flags: u16 },
    Mpls { labels: Vec<u32> },
    Ila { locator: u64 },
}

/// `virtual_rules`, `static_rules`: what `ip rule` can say.
#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    pub family: Family,
    pub action: RuleAction,
    pub from: Option<Prefix>,
    pub to: Option<Prefix>,
    pub invert: bool,
    pub priority: u32,
    pub tos: u8,
    pub fwmark: Option<(u32, u32)>,
    pub realms: Option<u32>,
    pub suppress_prefixlength: Option<u32>,
    pub suppress_ifgroup: Option<u32>,
    pub iif: Option<IfName>,
    pub oif: Option<IfName>,
    pub tunnel_id: Option<u64>,
    pub uid_range: Option<(u32, u32)>,
    pub protocol: u8,
    pub ip_proto: Option<u8>,
    pub sport: Option<(u16, u16)>,
    pub dport: Option<(u16, u16)>,
    pub no_track: bool,
    pub track_group: Option<Box<str>>,
}

impl Rule {
    /// An IPv4 rule of priority 0 that fits every packet and does nothing to it.
    pub fn plain() -> Self {
        Rule {
            family: Family::V4,
            action: RuleAction::Nop,
            from: None,
            to: None,
            invert: false,
            priority: 0,
            tos: 0,
            fwmark: None,
            realms: None,
            suppress_prefixlength: None,
            suppress_ifgroup: None,
            iif: None,
            oif: None,
            tunnel_id: None,
            uid_range: None,
            protocol: PROTOCOL_KEEPALIVED,
            ip_proto: None,
            sport: None,
            dport: None,
            no_track: false,
            track_group: None,
        }
    }
}

/// What becomes of a packet that a rule fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleAction {
    Table(u32),
    Goto(u32),
    Nop,
    L3mdev,
    Blackhole,
    Unreachable,
    Prohibit,
}

/// `static_ipaddress`, `static_routes`, `static_rules`: kept whatever the state.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Statics {
    pub addresses: Vec<VirtualAddress>,
    pub routes: Vec<Route>,
    pub rules: Vec<Rule>,
    /// `track_group NAME`: instances whose interface's return puts the static items of that name back.
    pub groups: Vec<(Box<str>, Vec<InstanceId>)>,
}

/// Numbers of a route's metrics, `RTAX_…` of include/uapi/linux/rtnetlink.h.
pub mod rtax {
    /// RTAX_LOCK.
    pub const LOCK: u8 = 1;
    /// RTAX_MTU.
    pub const MTU: u8 = 2;
    /// RTAX_WINDOW.
    pub const WINDOW: u8 = 3;
    /// RTAX_RTT.
    pub const RTT: u8 = 4;
    /// RTAX_RTTVAR.
    pub const RTTVAR: u8 = 5;
    /// RTAX_SSTHRESH.
    pub const SSTHRESH: u8 = 6;
    /// RTAX_CWND.
    pub const CWND: u8 = 7;
    /// RTAX_ADVMSS.
    pub const ADVMSS: u8 = 8;
    /// RTAX_REORDERING.
    pub const REORDERING: u8 = 9;
    /// RTAX_HOPLIMIT.
    pub const HOPLIMIT: u8 = 10;
    /// RTAX_INITCWND.
    pub const INITCWND: u8 = 11;
    /// RTAX_FEATURES.
    pub const FEATURES: u8 = 12;
    /// RTAX_RTO_MIN.
    pub const RTO_MIN: u8 = 13;
    /// RTAX_INITRWND.
    pub const INITRWND: u8 = 14;
    /// RTAX_QUICKACK.
    pub const QUICKACK: u8 = 15;
    /// RTAX_CC_ALGO.
    pub const CC_ALGO: u8 = 16;
    /// RTAX_FASTOPEN_NO_COOKIE.
    pub const FASTOPEN_NO_COOKIE: u8 = 17;
    /// Explicit congestion notification, a bit of [`FEATURES`].
    pub const FEATURE_ECN: u32 = 1;

    /// The word for a number in `ip route`; `None` for a number that is none of these.
    pub fn word(number: u8) -> Option<&'static str> {
        Some(match number {
            LOCK => "lock",
            MTU => "mtu",
            WINDOW => "window",
            RTT => "rtt",
            RTTVAR => "rttvar",
            SSTHRESH => "ssthresh",
            CWND => "cwnd",
            ADVMSS => "advmss",
            REORDERING => "reordering",
            HOPLIMIT => "hoplimit",
            INITCWND => "initcwnd",
            FEATURES => "features",
            RTO_MIN => "rto_min",
            INITRWND => "initrwnd",
            QUICKACK => "quickack",
            CC_ALGO => "congctl",
            FASTOPEN_NO_COOKIE => "fastopen_no_cookie",
            _ => return None,
        })
    }
}
