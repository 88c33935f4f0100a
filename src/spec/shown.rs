//! `global_defs` as keepalived's dump shows them: the values behind which nothing in this program stands, or which have
//! long been handed down to the instances. For display only; nothing may decide by them.

use super::IfName;
use crate::time::Interval;
use crate::wire::Family;
use std::net::IpAddr;

/// See the module. Every field is named as its keyword or as the label in the dump.
#[derive(Clone, PartialEq, Debug)]
pub struct Shown {
    /// `checker_process_name`, `bfd_process_name`.
    pub process_names: [Option<Box<str>>; 2],
    pub use_symlink_paths: bool,
    pub set_supplementary_groups: bool,
    /// `smtp_alert`, `smtp_alert_vrrp`, `smtp_alert_checker`.
    pub smtp_alert: [Option<bool>; 3],
    pub checker_log_all_failures: bool,
    pub default_interface: Option<IfName>,
    pub v3_checksum_as_v2: bool,
    /// Interface and instance of `lvs_sync_daemon`.
    pub sync_daemon: Option<(IfName, Option<Box<str>>)>,
    pub lvs_flush: bool,
    /// `lvs_flush_on_stop`: `Some(true)` is `VS`.
    pub lvs_flush_on_stop: Option<bool>,
    pub notify_priority_changes: bool,
    pub groups: (IpAddr, IpAddr),
    /// Seconds.
    pub garp_delay: u32,
    pub garp_repeat: u32,
    pub garp_refresh: u32,
    pub garp_refresh_repeat: u32,
    pub garp_lower_delay: u32,
    pub garp_lower_repeat: u32,
    pub down_adverts: u32,
    /// `vrrp_garp_extra_if`: whether on all interfaces, and every how many seconds.
    pub garp_extra: (bool, u32),
    pub lower_prio_no_advert: bool,
    pub higher_prio_send_advert: bool,
    pub garp_interval: Interval,
    pub gna_interval: Interval,
    pub version: i32,
    pub check_unicast_src: bool,
    pub skip_check_adv_addr: bool,
    pub strict: bool,
    pub max_auto_priority: i32,
    pub vrrp_rlimit: u32,
    pub checker: ProcessShown,
    pub bfd: ProcessShown,
    pub script_security: bool,
    /// uid, gid and supplementary groups of scripts that name nobody.
    pub script_account: Option<(u32, u32, Vec<u32>)>,
    /// `lvs_netlink_cmd_rcv_bufs`, `lvs_netlink_monitor_rcv_bufs`, each with its `_force`.
    pub lvs_netlink: [(u32, bool); 2],
    pub rs_init_notifies: bool,
    pub no_checker_emails: bool,
    pub rx_multiplier: u32,
    pub owner_ignore_adverts: bool,
    pub vmac_prefix: Option<Box<str>>,
    pub vmac_addr_prefix: Option<Box<str>>,
    pub iproute_usr_dir: Option<Box<str>>,
    pub iproute_etc_dir: Option<Box<str>>,
}

/// What is configured for a process that this program does not have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProcessShown {
    pub nice: i32,
    pub no_swap: bool,
    pub realtime: u8,
    pub cpus: Vec<u32>,
    /// Microseconds.
    pub rlimit: u32,
}

impl Default for ProcessShown {
    fn default() -> Self {
        ProcessShown { nice: 0, no_swap: false, realtime: 0, cpus: Vec::new(), rlimit: 10_000 }
    }
}

/// keepalived's defaults.
impl Default for Shown {
    fn default() -> Self {
        Shown {
            process_names: [None, None],
            use_symlink_paths: false,
            set_supplementary_groups: false,
            smtp_alert: [None; 3],
            checker_log_all_failures: false,
            default_interface: None,
            v3_checksum_as_v2: false,
            sync_daemon: None,
            lvs_flush: false,
            lvs_flush_on_stop: None,
            notify_priority_changes: false,
            groups: (Family::V4.multicast_group(), Family::V6.multicast_group()),
            garp_delay: 5,
            garp_repeat: 5,
            garp_refresh: 0,
            garp_refresh_repeat: 1,
            garp_lower_delay: 5,
            garp_lower_repeat: 5,
            down_adverts: 3,
            garp_extra: (false, 0),
            lower_prio_no_advert: false,
            higher_prio_send_advert: false,
            garp_interval: Interval::ZERO,
            gna_interval: Interval::ZERO,
            version: 2,
            check_unicast_src: false,
            skip_check_adv_addr: false,
            strict: false,
            max_auto_priority: 0,
            vrrp_rlimit: 10_000,
            checker: ProcessShown::default(),
            bfd: ProcessShown::default(),
            script_security: false,
            script_account: None,
            lvs_netlink: [(0, false); 2],
            rs_init_notifies: false,
            no_checker_emails: false,
            rx_multiplier: 3,
            owner_ignore_adverts: false,
            vmac_prefix: None,
            vmac_addr_prefix: None,
            iproute_usr_dir: None,
            iproute_etc_dir: None,
        }
    }
}
