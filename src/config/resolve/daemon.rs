//! What concerns the process: `global_defs` and the process keywords → [`Daemon`].

use super::shown::shown;
use crate::config::global::Global;
use crate::config::global::read::FifoLine;
use crate::config::report::{Class, Diagnostic};
use crate::config::resolve::{left_out_script, notify};
use crate::config::security::{Guard, SetScript};
use crate::config::table::block::{Cx, Set, given};
use crate::config::text::source::Span;
use crate::config::top::Top;
use crate::spec::{Daemon, Dbus, Dump, Fifo, Mail, NetlinkBuffers, Nftables, RxBuffer, Snmp, ThreadSpec};

fn text(set: &Set<Box<str>>) -> Option<Box<str>> {
    set.as_ref().map(|set| set.value.clone())
}

fn number<T: Copy>(set: &Set<T>) -> Option<T> {
    set.as_ref().map(|set| set.value)
}

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
    let rx_multiplier = given(&global.rx_multiplier, 3);
    let rx_buffer = match (global.rx_policy.bytes, global.rx_policy.mtu, global.rx_policy.advert) {
        (Some(bytes), _, _) => RxBuffer::Bytes(bytes),
        (None, true, _) => RxBuffer::Mtu { multiplier: rx_multiplier },
        (None, false, true) => RxBuffer::Advert { multiplier: rx_multiplier },
        _ => RxBuffer::Kernel,
    };
    let server = global.smtp_server.as_ref().map(|set| &set.value);
    let daemon = Daemon {
        router_id: text(&global.router_id).unwrap_or_else(|| host.into()),
        instance: text(&top.instance),
        net_namespace: text(&top.net_namespace),
        use_pid_dir: top.use_pid_dir.is_some() || top.instance.is_some() || top.net_namespace.is_some(),
        child_wait_secs: given(&top.child_wait_time, 5),
        process_name: text(&global.process_name),
        engine_name: text(&global.vrrp_process_name),
        rt_priority: number(&global.rt_priority),
        nice: number(&global.nice).map(|nice| nice as i8),
        cpu_affinity: global.cpu_affinity.as_ref().map_or(Vec::new(), |set| set.value.clone()),
        no_swap: global.no_swap.is_some() || global.bfd_no_swap.is_some() || global.checker_no_swap.is_some(),
        checker: ThreadSpec {
            name: text(&global.checker_process_name),
            nice: number(&global.checker_nice).map(|nice| nice as i8),
            rt_priority: number(&global.checker_rt_priority),
            cpu_affinity: global.checker_cpus.as_ref().map_or(Vec::new(), |set| set.value.clone()),
            rlimit_rttime_us: number(&global.checker_rlimit).map(|us| u64::from(us.max(2))),
        },
        bfd: ThreadSpec {
            name: text(&global.bfd_process_name),
            nice: number(&global.bfd_nice).map(|nice| nice as i8),
            rt_priority: number(&global.bfd_rt_priority),
            cpu_affinity: global.bfd_cpus.as_ref().map_or(Vec::new(), |set| set.value.clone()),
            rlimit_rttime_us: number(&global.bfd_rlimit).map(|us| u64::from(us.max(2))),
        },
        // A hard limit of 1 leaves no room for the soft limit below it.
        rlimit_rttime_us: number(&global.rlimit_rttime).map(|us| u64::from(us.max(2))),
        umask: number(&global.umask),
        mail: Mail {
            server: server.map(|s| s.host.clone()),
            port: server.map_or(25, |s| s.port),
            from: text(&global.email_from),
            to: global.emails.clone(),
            helo: text(&global.smtp_helo),
            timeout_secs: given(&global.smtp_timeout, 30),
            no_faults: global.no_email_faults.is_some(),
        },
        fifo,
        vrrp_fifo,
        fifo_states_on_reload: global.fifo_states_on_reload.is_some(),
        startup_script: startup.map(|run| (run, given(&global.startup_timeout, 10))),
        shutdown_script: shutdown.map(|run| (run, given(&global.shutdown_timeout, 10))),
        dump: Dump {
            state: text(&global.state_dump),
            stats: text(&global.stats_dump),
            json: text(&global.json_dump),
            json_version: given(&global.json_version, 1) as u8,
            use_instance: given(&global.data_use_instance, false),
        },
        reload_check: text(&global.reload_check),
        reload_time_file: text(&global.reload_time_file),
        reload_repeat: global.reload_repeat.is_some(),
        reload_file: text(&global.reload_file),
        config_save_dir: text(&global.config_save_dir),
        nftables: Nftables {
            table: text(&global.nftables).or(global.iptables.map(|_| "keepalived".into())),
            priority: number(&global.nftables_priority),
            counters: global.nftables_counters.is_some(),
            ifindex: global.nftables_ifindex.is_some(),
        },
        vmac_addr_prefix: text(&global.vmac_addr_prefix).or_else(|| text(&global.vmac_prefix)),
        max_auto_priority: number(&global.max_auto_priority).and_then(|n| u8::try_from(n).ok()).filter(|n| *n > 0),
        min_auto_priority_delay_us: given(&global.min_auto_delay, 1_000_000),
        netlink: NetlinkBuffers {
            command: number(&global.netlink_cmd).filter(|n| *n > 0),
            command_force: given(&global.netlink_cmd_force, false),
            monitor: number(&global.netlink_monitor).filter(|n| *n > 0),
            monitor_force: given(&global.netlink_monitor_force, false),
            process: number(&global.process_monitor).filter(|n| *n > 0),
            process_force: given(&global.process_monitor_force, false),
        },
        rx_buffer,
        disable_local_igmp: global.disable_local_igmp.is_some(),
        virtual_servers: top.lvs.services.len() as u32,
        snmp: Snmp { polled_carrier: top.linkbeat_polling.is_some(), ..snmp(&global) },
        dbus: Dbus {
            enabled: global.dbus.is_some(),
            service_name: text(&global.dbus_name),
            no_interface: text(&global.dbus_no_interface),
        },
        shown: Box::new(shown(&global, guard)),
    };
    cx.global = global;
    daemon
}

fn snmp(global: &Global) -> Snmp {
    let standard = Snmp::default();
    let services_every = given(&global.snmp_vs_stats, standard.services_every);
    Snmp {
        vrrp: global.snmp_vrrp.is_some(),
        checker: global.snmp_checker.is_some(),
        rfcv2: global.snmp_rfc.is_some() || global.snmp_rfcv2.is_some(),
        rfcv3: global.snmp_rfc.is_some() || global.snmp_rfcv3.is_some(),
        traps: global.enable_traps.is_some(),
        socket: text(&global.snmp_socket),
        services_every,
        servers_every: given(&global.snmp_rs_stats, services_every),
        ..standard
    }
}
