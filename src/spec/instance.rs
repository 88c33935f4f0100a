//! One `vrrp_instance`, resolved.

use super::Claim;
use super::GroupId;
use super::IfName;
use super::Notify;
use super::Tie;
use crate::time::Interval;
use crate::wire::checksum::ChecksumRule;
use crate::wire::{Family, Priority, Version, Vrid};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// One virtual router.
#[derive(Clone, PartialEq, Debug)]
pub struct InstanceSpec {
    pub name: Box<str>,
    pub vrid: Vrid,
    pub family: Family,
    pub version: Version,
    /// As configured; `None` only for unicast with a configured source.
    pub interface: Option<IfName>,
    /// `vrf`, unicast without interface only.
    pub vrf: Option<IfName>,
    /// The interface made for this instance, if any: adverts and addresses are there instead of on `interface`.
    pub virtual_link: Option<VirtualLink>,
    /// `vmac_xmit_base`: adverts go through `interface` although the addresses are on the VMAC.
    pub transmit_base: bool,
    /// Base priority, 1..=255; 255 is the address owner.
    pub priority: Priority,
    /// `state MASTER` was wanted. It shortens nothing (keepalived: only defaults depend on it), but is shown.
    pub wants_master: bool,
    pub interval: Interval,
    /// Adverts missed before a backup takes over (`down_timer_adverts`), 1..=100.
    pub down_adverts: u32,
    pub preempt: bool,
    pub preempt_delay: Interval,
    /// False: packets to the virtual addresses are dropped while master (`no_accept`).
    pub accept: bool,
    pub strict: bool,
    /// `mcast_src_ip` / `unicast_src_ip`.
    pub source: Option<IpAddr>,
    /// `track_src_ip`: FAULT while the configured source is on no interface.
    pub track_source: bool,
    pub transport: Transport,
    pub auth: Auth,
    pub checksum: Checksum,
    pub skip_check_adv_addr: bool,
    pub lower_prio_no_advert: bool,
    pub higher_prio_send_advert: bool,
    pub owner_ignore_adverts: bool,
    /// `timer_expired_backup`: priority whose patience is assumed (needs nopreempt).
    pub timer_expired_backup: Option<u8>,
    /// False with `dont_track_primary`.
    pub track_primary: bool,
    pub promote_secondaries: bool,
    /// What is owned while master. The first [`Claim::advertised`] addresses stand in the advert, in that order.
    pub claim: Arc<Claim>,
    pub garp: Garp,
    /// Trackers of the instance and of its group, merged.
    pub ties: Vec<Tie>,
    pub group: Option<GroupId>,
    pub notify: Notify,
    /// Why this instance can never leave FAULT with this configuration.
    pub config_fault: Option<Box<str>>,
    /// 0..=4; shown in the dump and nothing else.
    pub debug: u8,
    /// `kernel_rx_buf_size`: its share of its socket's receive buffer, bytes; `None` leaves it to `vrrp_rx_bufs_policy`.
    pub rx_buffer: Option<u32>,
}

impl InstanceSpec {
    /// The addresses that stand in its adverts, in their order.
    pub fn advertised(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.claim.addresses.iter().take(self.claim.advertised).map(|a| a.address)
    }

    /// Is an advert for this VRID with the addresses `theirs` another installation's, to which it speaks of nothing that this
    /// server has? `claimed`: every virtual address of this server, of whatever instance.
    ///
    /// Each of the two then has its own addresses, and nothing that one of them does concerns the other. It is not so where both
    /// being MASTER could put one thing on two servers: addresses that no advert names (`virtual_ipaddress_excluded`) may be the
    /// same in both, a VMAC's hardware address is, and of an advert or an instance without addresses nothing can be said. Nor is
    /// it so with `unicast_peer`: nobody names a server of another installation there.
    pub fn is_foreign(&self, mut theirs: impl Iterator<Item = IpAddr>, claimed: impl Fn(&IpAddr) -> bool) -> bool {
        let hidden = self.claim.addresses.len() > self.claim.advertised;
        let shared_mac = matches!(self.virtual_link, Some(VirtualLink::Vmac { .. }))
            || self.claim.addresses.iter().any(|address| address.use_vmac);
        let named = matches!(self.transport, Transport::Unicast { .. });
        let may_be = self.claim.advertised > 0 && !hidden && !shared_mac && !named;
        let Some(first) = theirs.next().filter(|_| may_be) else {
            return false;
        };
        !claimed(&first) && !theirs.any(|address| claimed(&address))
    }

    /// What `config` gives for a `vrrp_instance` block with an interface and a VRID and nothing else: VRID 1 on `eth0`, VRRPv2
    /// over IPv4 multicast, priority 100, an advert a second. Fixtures say by `..InstanceSpec::plain()` what matters to them;
    /// `tests/ties.rs` holds it to the language.
    pub fn plain() -> InstanceSpec {
        InstanceSpec {
            name: "VI_1".into(),
            vrid: Vrid::ONE,
            family: Family::V4,
            version: Version::V2,
            interface: IfName::new("eth0"),
            vrf: None,
            virtual_link: None,
            transmit_base: false,
            priority: Priority::DEFAULT,
            wants_master: false,
            interval: Interval::from_secs(1),
            down_adverts: 3,
            preempt: true,
            preempt_delay: Interval::ZERO,
            accept: true,
            strict: false,
            source: None,
            track_source: false,
            transport: Transport::Multicast { group: Family::V4.multicast_group() },
            auth: Auth::None,
            checksum: Checksum::default(),
            skip_check_adv_addr: false,
            lower_prio_no_advert: false,
            higher_prio_send_advert: false,
            owner_ignore_adverts: false,
            timer_expired_backup: None,
            track_primary: true,
            promote_secondaries: false,
            claim: Arc::default(),
            garp: Garp::default(),
            ties: Vec::new(),
            group: None,
            notify: Notify::default(),
            config_fault: None,
            debug: 0,
            rx_buffer: None,
        }
    }

    /// The virtual router's MAC address: as configured, else 00-00-5E-00-01-VRID (IPv4) or …-02-VRID (IPv6), RFC 9568
    /// §7.3. Only with a VMAC is it on the wire.
    pub fn virtual_mac(&self) -> [u8; 6] {
        match &self.virtual_link {
            Some(VirtualLink::Vmac { mac, .. }) => *mac,
            _ => [0, 0, 0x5e, 0, if self.family == Family::V4 { 1 } else { 2 }, self.vrid.get()],
        }
    }
}

/// `use_vmac`, `use_ipvlan`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VirtualLink {
    /// A private macvlan; `mac` is 00:00:5e:00:01:VRID (IPv4) or …:02:VRID (IPv6) unless configured.
    /// `name` as configured; `None` lets the daemon choose (`vrrp.VRID`).
    Vmac { name: Option<IfName>, prefix: Box<str>, mac: [u8; 6], netlink_notify: bool, group: Option<u32> },
    Ipvlan {
        name: Option<IfName>,
        prefix: Box<str>,
        address: Option<(IpAddr, u8)>,
        mode: IpvlanMode,
        group: Option<u32>,
    },
}

impl VirtualLink {
    /// Where no name is configured, it has the one that the daemon chose for `other`.
    pub fn called_as(&mut self, other: &VirtualLink) {
        let (VirtualLink::Vmac { name, .. } | VirtualLink::Ipvlan { name, .. }) = self;
        let (VirtualLink::Vmac { name: known, .. } | VirtualLink::Ipvlan { name: known, .. }) = other;
        if name.is_none() {
            name.clone_from(known);
        }
    }

    /// Is `name` one that a virtual link without a configured name may be given: the prefix, cut to what fits, a number
    /// or none, and the VRID?
    pub fn is_given_name(prefix: &str, vrid: Vrid, name: &IfName) -> bool {
        let Some((front, tail)) = name.as_str().rsplit_once('.') else { return false };
        let number = |rest: &str| rest.chars().all(|c| c.is_ascii_digit());
        let cut = || {
            let front = front.trim_end_matches(|c: char| c.is_ascii_digit());
            name.as_str().len() == 15 && !front.is_empty() && prefix.starts_with(front)
        };
        tail.parse() == Ok(vrid.get()) && (front.strip_prefix(prefix).is_some_and(number) || cut())
    }
}

/// How ipvlans of one interface hear each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IpvlanMode {
    #[default]
    Bridge,
    Private,
    Vepa,
}

/// How adverts travel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Transport {
    Multicast {
        group: IpAddr,
    },
    Unicast {
        peers: Vec<Peer>,
        /// `unicast_ttl`; `None` is 255 for IPv4 and the kernel's choice for IPv6.
        ttl: Option<u8>,
        /// `check_unicast_src` or any TTL range: adverts of others are refused.
        check_source: bool,
    },
}

impl InstanceSpec {
    /// Interfaces that its addresses, routes and rules need to be there, unless told `no_track`: beside its own, which it
    /// needs anyhow, and without the one that it makes. With `dont_track_primary` routes and rules still need the own one
    /// (keepalived: `add_vrrp_to_interface`).
    pub fn needed_interfaces(&self) -> BTreeSet<&IfName> {
        let claim = &self.claim;
        let addresses = claim.addresses.iter().filter(|a| !a.no_track).filter_map(|a| a.interface.as_ref());
        let routes = claim.routes.iter().filter(|r| !r.no_track);
        // Several ways are there so that one may fail: keepalived does not watch the interfaces of next hops either.
        let routes = routes.filter_map(|r| r.interface.as_ref());
        let rules = claim.rules.iter().filter(|r| !r.no_track).flat_map(|r| r.iif.iter().chain(r.oif.iter()));
        let own = |name: &&IfName| Some(*name) == self.interface.as_ref();
        let made = self.virtual_link.as_ref().and_then(|link| match link {
            VirtualLink::Vmac { name, .. } | VirtualLink::Ipvlan { name, .. } => name.as_ref(),
        });
        let others = addresses.filter(|name| !own(name));
        let always = routes.chain(rules).filter(|name| !own(name) || !self.track_primary);
        others.chain(always).filter(|name| Some(*name) != made).collect()
    }
}

/// A line of `unicast_peer`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer {
    pub address: IpAddr,
    pub min_ttl: u8,
    pub max_ttl: u8,
}

/// Authentication of adverts.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Auth {
    #[default]
    None,
    /// Plain text in a VRRPv2 packet, zero padded (RFC 2338).
    Pass([u8; 8]),
    /// IPsec AH with HMAC-MD5-96 (RFC 2338); the key, zero padded to 8 bytes.
    Ah([u8; 8]),
    Hmac(HmacAuth),
}

/// Without the password or the keys, which must not come into a log by way of a panic.
impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Auth::None => "None",
            Auth::Pass(_) => "Pass(…)",
            Auth::Ah(_) => "Ah(…)",
            Auth::Hmac(hmac) => return hmac.fmt(f),
        })
    }
}

/// `auth_hmac` of keepalived 2.4.
#[derive(Clone, PartialEq, Eq)]
pub struct HmacAuth {
    /// (id, key bytes)
    pub keys: Vec<(u8, Box<[u8]>)>,
    /// Id of the key that adverts are sealed with, 1..=255.
    pub active: u8,
    pub mode: HmacMode,
    pub replay: Replay,
}

/// Without the bytes of the keys.
impl std::fmt::Debug for HmacAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids: Vec<u8> = self.keys.iter().map(|(id, _)| *id).collect();
        let HmacAuth { active, mode, replay, .. } = self;
        write!(f, "Hmac {{ keys: {ids:?}, active: {active}, mode: {mode:?}, replay: {replay:?} }}")
    }
}

/// What becomes of adverts without a valid HMAC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HmacMode {
    #[default]
    Enforce,
    Permissive,
    ReceiveOnly,
}

/// `anti_replay`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replay {
    /// The sender's clock may differ by at most this much.
    Time {
        window: Interval,
    },
    /// The sequence must grow; clocks are not compared.
    Monotonic,
    Off,
}

/// How the checksum of VRRPv3 over IPv4 is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Checksum {
    /// `v3_checksum_as_v2`: send without the pseudo header, accept both.
    pub v3_as_v2: bool,
    pub old_unicast: OldUnicast,
    /// The group that the old style sums over (`vrrp_mcast_group4`); `None` is 224.0.0.18.
    pub old_group: Option<Ipv4Addr>,
}
impl Checksum {
    /// The rule of the old unicast style.
    pub const fn old_rule(&self, source: IpAddr) -> ChecksumRule {
        match self.old_group {
            Some(group) => ChecksumRule::Pseudo { source, destination: IpAddr::V4(group) },
            None => ChecksumRule::old_unicast(source),
        }
    }
}

/// `old_unicast_checksum`: keepalived up to 1.3.6 summed over the multicast group although it sent unicast.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OldUnicast {
    #[default]
    Auto,
    Always,
    Never,
}

/// Gratuitous ARP and unsolicited neighbour advertisement plan of an instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Garp {
    /// Rounds at once, and again after `delay`.
    pub repeat: u32,
    /// Zero: no second block.
    pub delay: Interval,
    /// Zero: never again.
    pub refresh: Interval,
    /// Announcements of each address in a refresh.
    pub refresh_repeat: u32,
    /// Announcements of each address when a lower router was heard; 0 is none.
    pub lower_prio_repeat: u32,
    /// Zero: no second block after a lower router was heard.
    pub lower_prio_delay: Interval,
    /// `garp_extra_if`: period, zero is off; and on all interfaces, not just VMACs.
    pub extra: Interval,
    pub extra_all: bool,
}
impl Default for Garp {
    fn default() -> Self {
        Garp {
            repeat: 5,
            delay: Interval::from_secs(5),
            refresh: Interval::ZERO,
            refresh_repeat: 1,
            lower_prio_repeat: 5,
            lower_prio_delay: Interval::from_secs(5),
            extra: Interval::ZERO,
            extra_all: false,
        }
    }
}
