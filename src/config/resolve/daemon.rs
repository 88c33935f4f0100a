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
use crate::spec::{Daemon, Dbus, Dump, Fifo, Mail, NetlinkBuffers, Nftables, Run, RxBuffer, Snmp, ThreadSpec};

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
    let startup = parent_script(&global, &global.startup_script, "startup_script", guard, cx);
    let shutdown = parent_script(&global, &global.shutdown_script, "shutdown_script", guard, cx);
    let run_vrrp = !top.instances.is_empty();
    let reader = |script| if run_vrrp { Some(script) } else { None };
    let fifo = notify_fifo(&global, &global.fifo, reader(&global.fifo_script), "notify_fifo", guard, cx);
    let vrrp_fifo =
        notify_fifo(&global, &global.vrrp_fifo, reader(&global.vrrp_fifo_script), "vrrp_notify_fifo", guard, cx);
    if global.emails.is_empty() {
        mail_in_vain(&global, top, cx);
    }
    let host = cx.env.system.host_name();
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
        checker: thread(
            &global.checker_process_name,
            &global.checker_nice,
            &global.checker_rt_priority,
            &global.checker_cpus,
            &global.checker_rlimit,
        ),
        bfd: thread(
            &global.bfd_process_name,
            &global.bfd_nice,
            &global.bfd_rt_priority,
            &global.bfd_cpus,
            &global.bfd_rlimit,
        ),
        rlimit_rttime_us: realtime_limit(&global.rlimit_rttime),
        umask: global.umask.value(),
        mail: mail(&global),
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
            // One socket hears of addresses for both: it is as large as the larger is to be.
            monitor: global.netlink_monitor.value().max(global.lvs_netlink_monitor.value()).filter(|n| *n > 0),
            monitor_force: global.netlink_monitor_force() || global.lvs_netlink_monitor_force(),
            process: global.process_monitor.value().filter(|n| *n > 0),
            process_force: global.process_monitor_force(),
        },
        rx_buffer: rx_buffer(&global),
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

/// A script that the daemon runs before and after everything. Of its user, unlike of other scripts', keepalived complains in a
/// way that counts.
fn parent_script(global: &Global, line: &SetScript, what: &str, guard: &mut Guard<'_>, cx: &mut Cx<'_>) -> Option<Run> {
    let line = line.as_deref()?;
    let told = line.value.user.is_none() && cx.spoilt("script_user");
    let no_user = |_: &mut Guard<'_>| if told { Class::Follows } else { Class::General };
    let ask = |guard: &mut Guard<'_>| left_out_script(Some(&line.value), what, no_user, guard, cx);
    as_read(global, line.span, guard, ask).map(|run| *run)
}

/// A FIFO and, with `script`, the program that reads it.
fn notify_fifo(
    global: &Global,
    line: &Set<FifoLine>,
    script: Option<&SetScript>,
    what: &str,
    guard: &mut Guard<'_>,
    cx: &mut Cx<'_>,
) -> Option<Fifo> {
    let line = line.as_ref()?;
    let account = match as_read(global, line.span, guard, |guard| guard.account_of(line.value.user.as_ref())) {
        Ok(account) => account,
        Err(problem) => {
            let class = guard.class_of_missing_user();
            let message = format!("{what} is not made: {problem}");
            let mut complaint = Diagnostic::new(class, line.span, message).help(crate::config::resolve::NO_USER);
            if let Some(below) = global.script_user.as_ref().filter(|user| is_below(user.span, line.span)) {
                complaint = complaint.related(below.span, "this comes too late for it; write it first");
            }
            cx.push(complaint);
            return None;
        }
    };
    let path = line.value.path.clone();
    let reader = script.and_then(Option::as_deref).and_then(|script| {
        let ask = |guard: &mut Guard<'_>| notify(Some(&script.value), &format!("{what}_script"), guard, cx);
        as_read(global, script.span, guard, ask)
    });
    Some(Fifo { reader: reader.map(|run| run.with_argument(&path)), path, uid: account.uid, gid: account.gid })
}

/// Microseconds. A hard limit of 1 leaves no room for the soft limit below it.
fn realtime_limit(set: &Set<u32>) -> Option<u64> {
    set.value().map(|us| u64::from(us.max(2)))
}

/// The attributes of a thread that is a process of its own in keepalived.
fn thread(
    name: &Set<Box<str>>,
    nice: &Set<i32>,
    rt_priority: &Set<u8>,
    cpus: &Set<Vec<u32>>,
    rlimit: &Set<u32>,
) -> ThreadSpec {
    ThreadSpec {
        name: name.value(),
        nice: nice.value().map(|nice| nice as i8),
        rt_priority: rt_priority.value(),
        cpu_affinity: cpus.or(Vec::new()),
        rlimit_rttime_us: realtime_limit(rlimit),
    }
}

fn mail(global: &Global) -> Mail {
    let server = global.smtp_server.get();
    Mail {
        server: server.map(|s| s.host.clone()),
        port: server.map_or(25, |s| s.port),
        from: global.email_from.value(),
        to: global.emails.clone(),
        helo: global.smtp_helo.value(),
        timeout_secs: global.smtp_timeout(),
        no_faults: global.no_email_faults.is_some(),
    }
}

fn rx_buffer(global: &Global) -> RxBuffer {
    let multiplier = global.rx_multiplier();
    match (global.rx_policy.bytes, global.rx_policy.mtu, global.rx_policy.advert) {
        (Some(bytes), _, _) => RxBuffer::Bytes(bytes),
        (None, true, _) => RxBuffer::Mtu { multiplier },
        (None, false, true) => RxBuffer::Advert { multiplier },
        _ => RxBuffer::Kernel,
    }
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

/// Mail that nobody gets: asked for, and `notification_email` names nobody. Said of the first keyword that asks.
fn mail_in_vain(global: &Global, top: &Top, cx: &mut Cx<'_>) {
    let of_all = [&global.smtp_alert, &global.smtp_alert_vrrp, &global.smtp_alert_checker];
    let own = top.instances.iter().map(|one| &one.settings.smtp_alert);
    let of_groups = top.sync_groups.iter().map(|group| &group.settings.smtp_alert);
    let mut asking = of_all.into_iter().chain(own).chain(of_groups).filter(|set| set.value() == Some(true));
    if let Some(span) = asking.next().and_then(|set| set.span()) {
        let message = "`smtp_alert` has no effect here: `notification_email` names nobody";
        let complaint = Diagnostic::new(Class::Idle, span, message);
        cx.push(complaint.help("list addresses in `notification_email { … }` of global_defs, or remove it"));
    }
}
