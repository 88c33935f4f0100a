//! `global_defs` → [`Shown`]: what the dump shows of them beyond what the program goes by.

use super::owned::Announcing;
use crate::config::global::Global;
use crate::config::security::Guard;
use crate::config::table::block::{Set, given};
use crate::spec::{ProcessShown, Shown};

fn text(set: &Set<Box<str>>) -> Option<Box<str>> {
    set.as_ref().map(|set| set.value.clone())
}

/// Pure: complains about nothing, since whoever uses a value has complained already.
pub fn shown(global: &Global, guard: &mut Guard<'_>) -> Shown {
    let standard = Shown::default();
    let script_security = global.script_security.is_some();
    // With security on and nobody named there is no such account, and asking would be taken for a use of it.
    let account = if script_security && global.script_user.is_none() { None } else { guard.account_of(None).ok() };
    let garp = Announcing::of(global);
    Shown {
        process_names: [text(&global.checker_process_name), text(&global.bfd_process_name)],
        use_symlink_paths: given(&global.use_symlink_paths, false),
        set_supplementary_groups: given(&global.set_supplementary_groups, false),
        smtp_alert: [&global.smtp_alert, &global.smtp_alert_vrrp, &global.smtp_alert_checker]
            .map(|set| set.as_ref().map(|set| set.value)),
        checker_log_all_failures: given(&global.checker_log_all, false),
        default_interface: global.default_interface.as_ref().map(|set| set.value.clone()),
        v3_checksum_as_v2: global.v3_checksum_as_v2.is_some(),
        sync_daemon: global
            .lvs_sync_daemon
            .as_ref()
            .map(|set| (set.value.interface.clone(), set.value.instance.clone())),
        lvs_flush: global.lvs_flush.is_some(),
        lvs_flush_on_stop: global.lvs_flush_on_stop.as_ref().map(|set| set.value),
        notify_priority_changes: given(&global.notify_priority_changes, false),
        groups: (given(&global.mcast_group4, standard.groups.0), given(&global.mcast_group6, standard.groups.1)),
        garp_delay: garp.delay,
        garp_repeat: garp.repeat,
        garp_refresh: garp.refresh,
        garp_refresh_repeat: garp.refresh_repeat,
        garp_lower_delay: garp.lower_delay,
        garp_lower_repeat: garp.lower_repeat,
        down_adverts: given(&global.down_timer_adverts, 3),
        garp_extra: (global.garp_extra.all, given(&global.garp_extra.seconds, 0)),
        lower_prio_no_advert: given(&global.lower_prio_no_advert, false),
        higher_prio_send_advert: given(&global.higher_prio_send_advert, false),
        garp_interval: given(&global.garp_interval, standard.garp_interval),
        gna_interval: given(&global.gna_interval, standard.gna_interval),
        version: given(&global.version, 2),
        check_unicast_src: global.check_unicast_src.is_some(),
        skip_check_adv_addr: given(&global.skip_check_adv_addr, false),
        strict: given(&global.strict, false),
        max_auto_priority: given(&global.max_auto_priority, 0),
        vrrp_rlimit: given(&global.rlimit_rttime, 10_000),
        checker: ProcessShown {
            nice: given(&global.checker_nice, 0),
            no_swap: global.checker_no_swap.is_some(),
            realtime: given(&global.checker_rt_priority, 0),
            cpus: global.checker_cpus.as_ref().map_or(Vec::new(), |set| set.value.clone()),
            rlimit: given(&global.checker_rlimit, 10_000),
        },
        bfd: ProcessShown {
            nice: given(&global.bfd_nice, 0),
            no_swap: global.bfd_no_swap.is_some(),
            realtime: given(&global.bfd_rt_priority, 0),
            cpus: global.bfd_cpus.as_ref().map_or(Vec::new(), |set| set.value.clone()),
            rlimit: given(&global.bfd_rlimit, 10_000),
        },
        script_security,
        script_account: account.map(|account| (account.uid, account.gid, account.groups.unwrap_or_default())),
        lvs_netlink: [
            (given(&global.lvs_netlink_cmd, 0), given(&global.lvs_netlink_cmd_force, false)),
            (given(&global.lvs_netlink_monitor, 0), given(&global.lvs_netlink_monitor_force, false)),
        ],
        rs_init_notifies: given(&global.rs_init_notifies, false),
        no_checker_emails: given(&global.no_checker_emails, false),
        rx_multiplier: given(&global.rx_multiplier, 3),
        owner_ignore_adverts: given(&global.owner_ignore_adverts, false),
        vmac_prefix: text(&global.vmac_prefix),
        vmac_addr_prefix: text(&global.vmac_addr_prefix),
        iproute_usr_dir: text(&global.iproute_usr_dir),
        iproute_etc_dir: text(&global.iproute_etc_dir),
    }
}
