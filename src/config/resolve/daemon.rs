//! What concerns the process: `global_defs` and the process keywords → [`Daemon`].

use super::shown::shown;
use crate::config::global::Global;
use crate::config::global::read::FifoLine;
use crate::config::report::{Class, Diagnostic};
use crate::config::resolve::{left_out_script, notify};
use crate::config::security::{Guard, SetScript};
use crate::config::table::block::{Cx, Set};
use crate::config::text::source::Span;
use crate::config::top::Top;
use crate::spec::{Daemon, Dbus, Dump, Fifo, Mail, NetlinkBuffers, Nftables, RxBuffer, Snmp, ThreadSpec};

fn is_below(one: Span, other: Span) -> bool {
    one.start > other.start
}

/// Asks `guard` about a line of `global_defs` as keepalived does while it reads: `script_user` and
/// `enable_script_security` below the line do not count for who it is for.
fn as_read<T>(global: &Global, line: Span, guard: &mut Guard<'_>, ask: impl FnOnce(&mut Guard<'_>) -> T) -> T {
    let user_below = global.script_user.as_ref().is_some_and(|user| is_below(user.span, line));
    let security_below = global.script_security.as_ref().is_some_and(|set| is_below(set.span, line));
    guard.with_default(!user_below, !security_below, ask)
}

/// The process's settings; scripts of the parent are checked with `guard`.
pub fn daemon(top: &Top, guard: &mut Guard<'_>, cx: &mut Cx<'_>) -> Daemon {
    // Taken out while scripts are checked, which also complain through `cx`.
    let global = std::mem::take(&mut cx.global);
    let script = |line: &SetScript, what: &str, guard: &mut Guard<'_>, cx: &mut Cx<'_>| {
        let line = line.as_deref()?;
        as_read(&global, line.span, guard, |guard| notify(Some(&line.value), what, guard, cx)).map(|run| *run)
    };
    // Unlike other scripts, for which keepalived only logs that their user does not exist.
    let of_parent = |line: &SetScript, what: &str, guard: &mut Guard<'_>, cx: &mut Cx<'_>| {
        let line = line.as_deref()?;
        let told = line.value.user.is_none() && cx.spoilt("script_user");
        let no_user = |_: &mut Guard<'_>| if told { Class::Note } else { Class::General };
        let ask = |guard: &mut Guard<'_>| left_out_script(Some(&line.value), what, no_user, guard, cx);
        as_read(&global, line.span, guard, ask).map(|run| *run)
    };
    let startup = of_parent(&global.startup_script, "startup_script", guard, cx);
    let shutdown = of_parent(&global.shutdown_script, "shutdown_script", guard, cx);
    let run_vrrp = !top.instances.is_empty();
    let fifo_of = |line: &Set<FifoLine>, reader: &SetScript, what: &str, guard: &mut Guard<'_>, cx: &mut Cx<'_>| {
        let line = line.as_ref()?;
        let account = match as_read(&global, line.span, guard, |guard| guard.account_of(line.value.user.as_ref())) {
            Ok(account) => account,
            Err(problem) => {
                let class = guard.class_of_missing_user();
                let mut complaint = Diagnostic::new(class, line.span, format!("{what} is not made: {problem}"))
                    .help(crate::config::resolve::NO_USER);
                if let Some(below) = global.script_user.as_ref().filter(|user| is_below(user.span, line.span)) {
                    complaint = complaint.related(below.span, "this comes too late for it; write it first");
                }
                cx.push(complaint);
                return None;
            }
        };
        let reader = if run_vrrp { script(reader, &format!("{what}_script"), guard, cx) } else { None };
        let path = line.value.path.clone();
        Some(Fifo { reader: reader.map(|run| run.with_argument(&path)), path, uid: account.uid, gid: account.gid })
    };
    let fifo = fifo_of(&global.fifo, &global.fifo_script, "notify_fifo", guard, cx);
    let vrrp_fifo = fifo_of(&global.vrrp_fifo, &global.vrrp_fifo_script, "vrrp_notify_fifo", guard, cx);
    let host = cx.env.system.host_name();
    let rx_multiplier = global.rx_multiplier();
    let rx_buffer = match (global.rx_policy.bytes, global.rx_policy.mtu, global.rx_policy.advert) {
        (Some(bytes), _, _) => RxBuffer::Bytes(bytes),
        (None, true, _) => RxBuffer::Mtu { multiplier: rx_multiplier },
        (None, false, true) => RxBuffer::Advert { multiplier: rx_multiplier },
        _ => RxBuffer::Kernel,
    };
    let server = global.smtp_server.get();
    let daemon = Daemon {
        router_id: global.router_id.value().unwrap_or_else(|| host.into()),
        instance: top.instance.value(),
        net_namespace: top.net_namespace.value(),
        use_pid_dir: top.use_pid_dir.is_some() || top.instance.is_some() || top.net_namespace.is_some(),
        child_wait_secs: top.child_wait_time(),
        process_name: global.process_name.value(),
        engine_name: global.vrrp_process_name.value(),
        rt_priority: global.rt_priority.value(),
        nice: global.nice.value().map(|nice| nice as i8),
        cpu_affinity: global.cpu_affinity.or(Vec::new()),
        no_swap: global.no_swap.is_some() || global.bfd_no_swap.is_some() || global.checker_no_swap.is_some(),
        checker: ThreadSpec {
            name: global.checker_process_name.value(),
            nice: global.checker_nice.value().map(|nice| nice as i8),
            rt_priority: global.checker_rt_priority.value(),
            cpu_affinity: global.checker_cpus.or(Vec::new()),
            rlimit_rttime_us: global.checker_rlimit.value().map(|us| u64::from(us.max(2))),
        },
        bfd: ThreadSpec {
            name: global.bfd_process_name.value(),
            nice: global.bfd_nice.value().map(|nice| nice as i8),
            rt_priority: global.bfd_rt_priority.value(),
            cpu_affinity: global.bfd_cpus.or(Vec::new()),
            rlimit_rttime_us: global.bfd_rlimit.value().map(|us| u64::from(us.max(2))),
        },
        // A hard limit of 1 leaves no room for the soft limit below it.
        rlimit_rttime_us: global.rlimit_rttime.value().map(|us| u64::from(us.max(2))),
        umask: global.umask.value(),
        mail: Mail {
            server: server.map(|s| s.host.clone()),
            port: server.map_or(25, |s| s.port),
            from: global.email_from.value(),
            to: global.emails.clone(),
            helo: global.smtp_helo.value(),
            timeout_secs: global.smtp_timeout(),
            no_faults: global.no_email_faults.is_some(),
        },
        fifo,
        vrrp_fifo,
        fifo_states_on_reload: global.fifo_states_on_reload.is_some(),
        startup_script: startup.map(|run| (run, global.startup_timeout())),
        shutdown_script: shutdown.map(|run| (run, global.shutdown_timeout())),
        dump: Dump {
            state: global.state_dump.value(),
            stats: global.stats_dump.value(),
            json: global.json_dump.value(),
            json_version: global.json_version() as u8,
            use_instance: global.data_use_instance(),
        },
        reload_check: global.reload_check.value(),
        reload_time_file: global.reload_time_file.value(),
        reload_repeat: global.reload_repeat.is_some(),
        reload_file: global.reload_file.value(),
        config_save_dir: global.config_save_dir.value(),
        nftables: Nftables {
            table: global.nftables.value().or(global.iptables.map(|_| "keepalived".into())),
            priority: global.nftables_priority.value(),
            counters: global.nftables_counters.is_some(),
            ifindex: global.nftables_ifindex.is_some(),
        },
        vmac_addr_prefix: global.vmac_addr_prefix.value().or_else(|| global.vmac_prefix.value()),
        max_auto_priority: global.max_auto_priority.value().and_then(|n| u8::try_from(n).ok()).filter(|n| *n > 0),
        min_auto_priority_delay_us: global.min_auto_delay(),
        netlink: NetlinkBuffers {
            command: global.netlink_cmd.value().filter(|n| *n > 0),
            command_force: global.netlink_cmd_force(),
            monitor: global.netlink_monitor.value().filter(|n| *n > 0),
            monitor_force: global.netlink_monitor_force(),
            process: global.process_monitor.value().filter(|n| *n > 0),
            process_force: global.process_monitor_force(),
        },
        rx_buffer,
        disable_local_igmp: global.disable_local_igmp.is_some(),
        virtual_servers: top.lvs.services.len() as u32,
        snmp: Snmp { polled_carrier: top.linkbeat_polling.is_some(), ..snmp(&global) },
        dbus: Dbus {
            enabled: global.dbus.is_some(),
            service_name: global.dbus_name.value(),
            no_interface: global.dbus_no_interface.value(),
        },
        shown: Box::new(shown(&global, guard)),
    };
    cx.global = global;
    daemon
}

fn snmp(global: &Global) -> Snmp {
    let standard = Snmp::default();
    let services_every = global.snmp_vs_stats();
    Snmp {
        vrrp: global.snmp_vrrp.is_some(),
        checker: global.snmp_checker.is_some(),
        rfcv2: global.snmp_rfc.is_some() || global.snmp_rfcv2.is_some(),
        rfcv3: global.snmp_rfc.is_some() || global.snmp_rfcv3.is_some(),
        traps: global.enable_traps.is_some(),
        socket: global.snmp_socket.value(),
        services_every,
        servers_every: global.snmp_rs_stats.or(services_every),
        ..standard
    }
}
