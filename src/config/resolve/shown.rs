//! `global_defs` → [`Shown`]: what the dump shows of them beyond what the program goes by.

use super::owned::Announcing;
use crate::config::global::Global;
use crate::config::security::Guard;
use crate::spec::{ProcessShown, Shown};

/// Pure: complains about nothing: `resolve` has complained where it used a value.
pub fn shown(global: &Global, guard: &mut Guard<'_>) -> Shown {
    let script_security = global.script_security.is_some();
    // With security on and nobody named there is no such account, and asking would be taken for a use of it.
    let account = if script_security && global.script_user.is_none() { None } else { guard.account_of(None).ok() };
    let garp = Announcing::of(global);
    Shown {
        process_names: [global.checker_process_name.value(), global.bfd_process_name.value()],
        use_symlink_paths: global.use_symlink_paths(),
        set_supplementary_groups: global.set_supplementary_groups(),
        smtp_alert: [&global.smtp_alert, &global.smtp_alert_vrrp, &global.smtp_alert_checker].map(|set| set.value()),
        checker_log_all_failures: global.checker_log_all(),
        default_interface: global.default_interface.value(),
        v3_checksum_as_v2: global.v3_checksum_as_v2.is_some(),
        sync_daemon: global
            .lvs_sync_daemon
            .as_ref()
            .map(|set| (set.value.interface.clone(), set.value.instance.clone())),
        lvs_flush: global.lvs_flush.is_some(),
        lvs_flush_on_stop: global.lvs_flush_on_stop.value(),
        notify_priority_changes: global.notify_priority_changes(),
        groups: (global.mcast_group4(), global.mcast_group6()),
        garp_delay: garp.delay,
        garp_repeat: garp.repeat,
        garp_refresh: garp.refresh,
        garp_refresh_repeat: garp.refresh_repeat,
        garp_lower_delay: garp.lower_delay,
        garp_lower_repeat: garp.lower_repeat,
        down_adverts: global.down_timer_adverts(),
        garp_extra: (global.garp_extra.all, global.garp_extra.period()),
        lower_prio_no_advert: global.lower_prio_no_advert(),
        higher_prio_send_advert: global.higher_prio_send_advert(),
        garp_interval: global.garp_interval(),
        gna_interval: global.gna_interval(),
        version: global.version(),
        check_unicast_src: global.check_unicast_src.is_some(),
        skip_check_adv_addr: global.skip_check_adv_addr(),
        strict: global.strict(),
        max_auto_priority: global.max_auto_priority(),
        vrrp_rlimit: global.rlimit_rttime(),
        checker: ProcessShown {
            nice: global.checker_nice(),
            no_swap: global.checker_no_swap.is_some(),
            realtime: global.checker_rt_priority(),
            cpus: global.checker_cpus.or(Vec::new()),
            rlimit: global.checker_rlimit(),
        },
        bfd: ProcessShown {
            nice: global.bfd_nice(),
            no_swap: global.bfd_no_swap.is_some(),
            realtime: global.bfd_rt_priority(),
            cpus: global.bfd_cpus.or(Vec::new()),
            rlimit: global.bfd_rlimit(),
        },
        script_security,
        script_account: account.map(|account| (account.uid, account.gid, account.groups.unwrap_or_default())),
        lvs_netlink: [
            (global.lvs_netlink_cmd(), global.lvs_netlink_cmd_force()),
            (global.lvs_netlink_monitor(), global.lvs_netlink_monitor_force()),
        ],
        rs_init_notifies: global.rs_init_notifies(),
        no_checker_emails: global.no_checker_emails(),
        rx_multiplier: global.rx_multiplier(),
        owner_ignore_adverts: global.owner_ignore_adverts(),
        vmac_prefix: global.vmac_prefix.value(),
        vmac_addr_prefix: global.vmac_addr_prefix.value(),
        iproute_usr_dir: global.iproute_usr_dir.value(),
        iproute_etc_dir: global.iproute_etc_dir.value(),
    }
}
