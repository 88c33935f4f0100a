//! `vrrp_instance`: the table. Keywords that depend on what was said before them (the family!) are in [`read`],
//! those with an interface of their own in [`vmac`], keys in [`hmac`].

pub mod hmac;
pub mod read;
pub mod vmac;

use super::tracker::{Ties, track_bfd, track_files, track_interface, track_process, track_script};
use crate::config::global::read::GarpExtra;
use crate::config::line::address::Collected;
use crate::config::line::lists::PeerLine;
use crate::config::security::{ScriptLine, SetScript, must_script};
use crate::config::table::block::{Repeat, Set, by, flag, last, list, must, must_first, sub, toggle};
use crate::config::table::values::*;
use crate::config::text::source::Span;
use crate::config::vrrp::instance::hmac::*;
use crate::config::vrrp::instance::read::*;
use crate::config::vrrp::instance::vmac::*;
use crate::spec::{HmacMode, IfName, OldUnicast, Route, Rule};
use crate::time::Interval;
use crate::wire::Family;
use std::net::IpAddr;

block! {
    /// One virtual router on one interface.
    "vrrp_instance" => Instance {
        /// Run VRRP on a macvlan with the virtual router's MAC address.
        "use_vmac" => vmac: Option<Box<VmacLine>> = by("[[name] IFNAME] [MAC (6 or 5 octets)] [netlink_notify_msg] [group NAME]", Repeat::Flag, use_vmac), default "off";
        /// Macvlans also for addresses on other interfaces or of the other family.
        "use_vmac_addr" => vmac_addr: Set<()> = flag(), default "off";
        /// Send and receive adverts on the interface below the macvlan.
        "vmac_xmit_base" => xmit_base: Set<()> = flag(), default "off";
        /// Unicast instances without a peer are in FAULT, not multicast.
        "unicast_fault_no_peer" => fault_no_peer: Set<()> = flag(), default "off";
        /// Drop adverts from addresses that are no peers.
        "check_unicast_src" => check_unicast_src: Set<()> = flag(), default "vrrp_check_unicast_src";
        /// Checksum of keepalived up to 1.3.6 for VRRPv3 unicast over IPv4: bare always, `never` not even accepted.
        "old_unicast_checksum" => old_checksum: Set<OldUnicast> = by("[never]", Repeat::LastWins, old_unicast_checksum), default "detected";
        /// Wanted state at start; it shortens nothing unless the priority is 255.
        "state" => state: Set<Wanted> = by("MASTER or BACKUP", Repeat::LastWins, state), default "MASTER if priority 255, else BACKUP";
        /// Faults of the own interface are ignored.
        "dont_track_primary" => dont_track_primary: Set<()> = flag(), default "off";
        /// Interfaces whose loss is a fault or changes the priority.
        "track_interface" => ties: Option<Box<Ties>> = list("LIST(IFNAME [weight INT[-253..253] [reverse]])", Repeat::Accumulates, track_interface), default "none";
        /// FAULT while the configured source address is missing.
        "track_src_ip" => track_source: Set<()> = flag(), default "off";
        /// TTL or hop limit of unicast adverts.
        "unicast_ttl" => unicast_ttl: Set<u32> = must(uint(0, 255).exact()), default "255; IPv6 the kernel's";
        /// Priority; 255 means that the virtual addresses are this router's own.
        "priority" => priority: Set<u32> = must(uint(1, 255).exact()).or(100), default "100; 255 if state MASTER";
        /// Seconds between adverts.
        "advert_int" => advert_int: Set<Interval> = must(timer(10_000, 255_000_000)), default(Interval::from_secs(1), "1");
        /// No complaint when there is no virtual address.
        "no_virtual_ipaddress" => no_vips: Set<()> = flag(), default "off";
        /// Set promote_secondaries on the interface.
        "promote_secondaries" => promote_secondaries: Set<()> = flag(), default "off";
        /// Poll the interface.
        "linkbeat_use_polling" => linkbeat: Set<()> = flag(), default "off", deprecated "use a linkbeat_interfaces block";
        /// The IPv4 VRRPv3 checksum leaves out the pseudo header.
        "v3_checksum_as_v2" => v3_checksum_as_v2: Set<bool> = toggle(), default "v3_checksum_as_v2 of global_defs";
        /// Routes that are there while master.
        "virtual_routes" => routes: Vec<Route> = list("LIST(route line)", Repeat::Accumulates, routes), default "none";
        /// Policy rules that are there while master.
        "virtual_rules" => rules: Vec<Rule> = list("LIST(rule line)", Repeat::Accumulates, rules), default "none";
        /// Packets to the virtual addresses are accepted.
        "accept" => accept: Set<bool> = by("none", Repeat::Flag, accept), default "on; off if strict and not priority 255";
        /// Addresses in adverts of an unchanged master are not checked again.
        "skip_check_adv_addr" => skip_check_adv_addr: Set<bool> = by("BOOL (any means on)", Repeat::Flag, skip_check), default "vrrp_skip_check_adv_addr";
        /// Strict RFC compliance.
        "strict_mode" => strict: Set<bool> = toggle(), default "vrrp_strict";
        /// A master with a lower priority is kept.
        "nopreempt" => nopreempt: Set<bool> = by("none", Repeat::LastWins, nopreempt), default(false, "off");
        /// Seconds before a master with a lower priority is replaced.
        "preempt_delay" => preempt_delay: Set<Interval> = must(timer(0, 1_000_000_000)).or(Interval::ZERO), default(Interval::ZERO, "0");
        /// Debug level; it has no visible effect.
        "debug" => debug: Set<u32> = must(uint(0, 4)), default(0);
        /// Run on entering BACKUP.
        "notify_backup" => notify_backup: SetScript = must_script();
        /// Run on entering MASTER.
        "notify_master" => notify_master: SetScript = must_script();
        /// Run on entering FAULT.
        "notify_fault" => notify_fault: SetScript = must_script();
        /// Run when the daemon stops.
        "notify_stop" => notify_stop: SetScript = must_script();
        /// Removal by a reload is reported as DELETED, not FAULT; with a script, run it then.
        "notify_deleted" => notify_deleted: Set<Option<Box<ScriptLine>>> = by("[SCRIPT [USER [GROUP]]]", Repeat::FirstKept, notify_deleted), default "FAULT is reported";
        /// Run at every change, with INSTANCE, name, state and priority as last arguments.
        "notify" => notify: SetScript = must_script();
        /// Run when a lower priority advert comes while master.
        "notify_master_rx_lower_pri" => notify_rx_lower: SetScript = must_script();
        /// Mail at changes of state.
        "smtp_alert" => smtp_alert: Set<bool> = toggle(), default "smtp_alert_vrrp, else smtp_alert";
        /// Priority changes are written to the FIFOs.
        "notify_priority_changes" => notify_priority_changes: Set<bool> = toggle(), default "sync group's, else vrrp_notify_priority_changes";
        /// Bind IPVS connection synchronisation to this instance.
        "lvs_sync_daemon_interface" => lvs_sync: Set<IfName> = must_first(IFNAME), deprecated "write `lvs_sync_daemon`, with this interface and the name of the instance, into global_defs in its place";
        /// Seconds before the second burst of gratuitous ARP after becoming master; 0 is none.
        "garp_master_delay" => garp_delay: Set<u32> = must(uint(0, 4294)), default "vrrp_garp_master_delay";
        /// Seconds between refreshing announcements while master; 0 is none.
        "garp_master_refresh" => garp_refresh: Set<u32> = must(uint(0, u32::MAX)).or(0), default "vrrp_garp_master_refresh";
        /// Gratuitous ARPs or unsolicited NAs in a burst.
        "garp_master_repeat" => garp_repeat: Set<u32> = by("UINT[1..4294967295]", Repeat::LastWins, crate::config::global::read::at_least_one), default "vrrp_garp_master_repeat";
        /// Announcements in a refresh.
        "garp_master_refresh_repeat" => garp_refresh_repeat: Set<u32> = by("UINT[1..4294967295]", Repeat::LastWins, crate::config::global::read::at_least_one), default "vrrp_garp_master_refresh_repeat";
        /// Seconds before the second burst after a lower priority advert was seen as master.
        "garp_lower_prio_delay" => garp_lower_delay: Set<u32> = must(uint(0, 4294)), default "vrrp_garp_lower_prio_delay";
        /// Announcements after a lower priority advert was seen as master.
        "garp_lower_prio_repeat" => garp_lower_repeat: Set<u32> = must(uint(0, 2_147_483_647)), default "vrrp_garp_lower_prio_repeat";
        /// Adverts missed before a backup takes over.
        "down_timer_adverts" => down_timer_adverts: Set<u32> = must(uint(1, 100)), default "vrrp_down_timer_adverts";
        /// A master that was stalled so long that a router of this priority has taken over steps down; needs nopreempt.
        "timer_expired_backup" => timer_expired: Set<u32> = last(uint(1, 254).exact()).bare(254), default "off";
        /// Seconds between gratuitous ARPs on further VMAC (`all`: on all further) interfaces; 0 is off.
        "garp_extra_if" => garp_extra: GarpExtra = by("[all] UINT[0..86400] (s)", Repeat::LastWins, garp_extra_if), default "vrrp_garp_extra_if";
        /// As master stay silent when a lower priority advert comes.
        "lower_prio_no_advert" => lower_prio_no_advert: Set<bool> = toggle(), default "vrrp_lower_prio_no_advert; on if strict";
        /// As master send one more advert before yielding to a higher priority.
        "higher_prio_send_advert" => higher_prio_send_advert: Set<bool> = toggle(), default "vrrp_higher_prio_send_advert; off if strict";
        /// An address owner drops adverts.
        "owner_ignore_adverts" => owner_ignore_adverts: Set<bool> = toggle(), default "vrrp_owner_ignore_adverts; on if strict";
        /// Receive buffer of this instance, bytes.
        "kernel_rx_buf_size" => rx_buffer: Set<u32> = by("UINT (bytes)", Repeat::LastWins, crate::config::global::read::bytes), default "vrrp_rx_bufs_policy";
        /// Authentication of VRRPv2.
        "authentication" => auth: Authentication = sub(), default "none";
        /// HMAC-SHA256 trailer behind the advert.
        "auth_hmac" => hmac: Option<Box<Hmac>> = crate::config::table::block::block_by("vrrp_instance/auth_hmac", "BLOCK", Repeat::Accumulates, auth_hmac), default "none";
    }
    also {
        /// Scripts whose result counts.
        "track_script" => ties: Option<Box<Ties>> = list("LIST(NAME [weight INT[-253..253] [reverse or noreverse]])", Repeat::Accumulates, track_script), default "none";
        /// Files whose number counts.
        "track_file" => ties: Option<Box<Ties>> = list("LIST(NAME [weight INT[-254..254] [reverse or noreverse]])", Repeat::Accumulates, track_files), default "none";
        /// Processes whose number counts.
        "track_process" => ties: Option<Box<Ties>> = list("LIST(NAME [weight INT[-254..254] [reverse or noreverse]])", Repeat::Accumulates, track_process), default "none";
        /// BFD sessions that count.
        "track_bfd" => ties: Option<Box<Ties>> = list("LIST(NAME [weight INT[-253..253] [reverse or noreverse]])", Repeat::Accumulates, track_bfd), default "none";
        /// Packets to the virtual addresses are dropped while master and not their owner.
        "no_accept" => accept: Set<bool> = by("none", Repeat::Flag, no_accept), default "off";
        /// Undoes `nopreempt`.
        "preempt" => nopreempt: Set<bool> = by("none", Repeat::LastWins, preempt), default "on";
        /// Misspelling of `timer_expired_backup`.
        "thread_timer_expired" => timer_expired: Set<u32> = last(uint(1, 254).exact()).bare(254), default "off", deprecated "use timer_expired_backup";
        /// As `garp_extra_if`.
        "vmac_garp_intvl" => garp_extra: GarpExtra = by("[all] UINT[0..86400] (s)", Repeat::LastWins, garp_extra_if), default "vrrp_garp_extra_if", deprecated "use garp_extra_if";
    }
    whole {
        /// Virtual router identifier.
        "virtual_router_id" => by("UINT[1..255]", Repeat::LastWins, vrid), default "required";
        /// VRRP version.
        "version" => by("INT[2..3]", Repeat::FirstKept, version), default "vrrp_version; 3 for IPv6";
        /// Run VRRP on an ipvlan interface.
        "use_ipvlan" => by("[IFNAME or name IFNAME] [IPADDR[/PREFIX]] [bridge or private or vepa] [group NAME]", Repeat::FirstKept, use_ipvlan), default "off";
        /// Routers that adverts are sent to; makes the instance unicast.
        "unicast_peer" => list("LIST(IPADDR [min_ttl 0..255] [max_ttl 0..255])", Repeat::Accumulates, unicast_peer), default "none";
        /// Use IPv6 and version 3 whatever the addresses say.
        "native_ipv6" => by("none", Repeat::Flag, native_ipv6), default "from the addresses";
        /// Interface to run on.
        "interface" => by("IFNAME", Repeat::LastWins, interface), default "required unless unicast with a source";
        /// VRF of a unicast instance without interface.
        "vrf" => by("IFNAME", Repeat::FirstKept, vrf), default "none";
        /// Source of adverts.
        "mcast_src_ip" => by("IPADDR", Repeat::LastWins, source), default "first address of the interface";
        /// Source of adverts; marks the instance as unicast.
        "unicast_src_ip" => by("IPADDR", Repeat::LastWins, unicast_source), default "first address of the interface";
        /// Multicast group of this instance.
        "mcast_dst_ip" => by("IPADDR(mcast)", Repeat::LastWins, mcast_dst), default "vrrp_mcast_group4, vrrp_mcast_group6";
        /// Addresses held while master, and advertised.
        "virtual_ipaddress" => list("LIST(address line)", Repeat::Accumulates, virtual_ipaddress), default "none";
        /// Addresses held while master, not advertised, of any family.
        "virtual_ipaddress_excluded" => list("LIST(address line)", Repeat::Accumulates, virtual_ipaddress_excluded), default "none";
    }
    rest {
        /// The family as far as it is known.
        family: Option<Family>;
        /// `version`, or 3 by `native_ipv6`.
        version: Set<i32>;
        /// `interface`.
        interface: Set<crate::spec::IfName>;
        /// `virtual_router_id`.
        vrid: Set<u32>;
        /// A `virtual_router_id` line was there, good or not.
        vrid_line: Option<Span>;
        /// An `interface` line was there, good or not.
        interface_line: Option<Span>;
        /// `vrf`.
        vrf: Set<crate::spec::IfName>;
        /// `mcast_src_ip`, `unicast_src_ip`, or the address of `use_ipvlan`.
        source: Set<IpAddr>;
        /// `mcast_dst_ip`.
        group: Set<IpAddr>;
        /// `unicast_peer`.
        peers: Vec<(PeerLine, Span)>;
        /// The first line of `unicast_peer` that could not be used.
        refused_peer: Option<Span>;
        /// The first unicast keyword.
        unicast: Option<Span>;
        /// `use_ipvlan`.
        ipvlan: Option<Box<IpvlanLine>>;
        /// `virtual_ipaddress`, `virtual_ipaddress_excluded`.
        addresses: Collected;
    }
}

block! {
    /// Authentication of VRRPv2 (RFC 2338).
    "vrrp_instance/authentication" => Authentication {
        /// Plain password, or IPsec AH.
        "auth_type" => kind: Set<AuthKind> = must(one_of(AUTH_KINDS)), default "none";
        /// The password or key; eight bytes count.
        "auth_pass" => pass: Set<Box<str>> = must(password_up_to(8)), default "none";
    }
}

block! {
    /// HMAC-SHA256 trailer of keepalived 2.4.
    "vrrp_instance/auth_hmac" => Hmac {
        /// Allowed difference of clocks in seconds.
        "time_window" => window: Set<u32> = must(uint(1, 300).exact()), default "3 times the whole seconds of advert_int, 5..300";
        /// Replays are found by time, or by a growing counter.
        "anti_replay" => by_time: Set<bool> = must(one_of(&[("time", true), ("monotonic", false)])), default(true, "time");
        /// What happens to adverts without trailer, and whether ours have one.
        "mode" => mode: Set<HmacMode> = must(one_of(HMAC_MODES)), default(HmacMode::Enforce, "enforce");
    }
    whole {
        /// A key by number.
        "key" => by("UINT[1..255] (STR or hex:HEX or file:PATH), 32..64 bytes", Repeat::Accumulates, hmac_key);
        /// Number of the key that signs.
        "active_key" => by("UINT[1..255]", Repeat::LastWins, active_key), default "required";
    }
    rest {
        /// The line that opened the block.
        opened: Option<Span>;
        /// `key`.
        keys: Vec<KeyLine>;
        /// `active_key`.
        active: Set<u32>;
        /// A `key` or `active_key` that cannot be used has been complained about.
        refused: bool;
    }
}
