//! "Global definitions" of `keepalived.data` and `keepalived_parent.data`, label by label in keepalived's order.

use super::Page;
use super::put;
use super::truth;
use super::yes;
use crate::observe::describe;
use crate::observe::mail::host_name;
use crate::spec::{Daemon, ProcessShown, RxBuffer, Shown, Spec};

/// Which of keepalived's processes speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Speaker {
    Vrrp,
    Checker,
    Parent,
}

fn unset(switch: Option<bool>) -> &'static str {
    match switch {
        None => "unset",
        Some(true) => "on",
        Some(false) => "off",
    }
}

fn enabled(on: bool) -> &'static str {
    if on { "enabled" } else { "disabled" }
}

pub(super) fn globals(page: &mut Page, spec: &Spec, speaker: Speaker) {
    let (daemon, shown) = (&spec.daemon, &spec.daemon.shown);
    put!(page, 0, "------< Global definitions >------");
    if let Some(directory) = &daemon.config_save_dir {
        put!(page, 1, "Config save dir = {directory}");
    }
    put!(page, 1, "Network namespace = {}", daemon.net_namespace.as_deref().unwrap_or("(default)"));
    put!(page, 1, "Network namespace ipvs = (main namespace)");
    names(page, spec);
    mail(page, spec);
    reloading(page, spec);
    put!(page, 1, "keep script symlinks = {}", truth(shown.use_symlink_paths));
    if speaker == Speaker::Parent {
        for (what, comma, script) in
            [("Startup", ",", &daemon.startup_script), ("Shutdown", "", &daemon.shutdown_script)]
        {
            if let Some((run, seconds)) = script {
                let line = describe::command(run);
                put!(page, 1, "{what} script = {line}, uid:gid {}:{}{comma} timeout {seconds}", run.uid, run.gid);
            }
        }
    }
    put!(page, 1, "Dynamic interfaces = {}", truth(spec.dynamic_interfaces));
    if spec.dynamic_interfaces {
        put!(page, 1, "Allow interface changes = {}", truth(spec.allow_if_changes));
    }
    if daemon.mail.no_faults {
        put!(page, 1, "Send emails for fault transitions = off");
    }
    if speaker == Speaker::Vrrp {
        let interface = shown.default_interface.as_ref().map_or("eth0", |name| name.as_str());
        put!(page, 1, "Default interface = {interface}");
    }
    put!(page, 1, "Disable local IGMP = {}", yes(daemon.disable_local_igmp));
    put!(page, 1, "Use VRRPv2 checksum for VRRPv3 IPv4 = {}", yes(shown.v3_checksum_as_v2));
    if let Some((interface, instance)) = &shown.sync_daemon {
        if let Some(instance) = instance {
            put!(page, 1, "LVS syncd vrrp instance = {instance}");
        }
        put!(page, 1, "LVS syncd interface = {interface}");
    }
    put!(page, 1, "LVS flush = {}", truth(shown.lvs_flush));
    let on_stop = shown.lvs_flush_on_stop.map_or("disabled", |only_vs| if only_vs { "VS" } else { "full" });
    put!(page, 1, "LVS flush on stop = {on_stop}");
    for (label, fifo) in [("Global", &daemon.fifo), ("VRRP", &daemon.vrrp_fifo)] {
        if let Some(fifo) = fifo {
            put!(page, 1, "{label} notify fifo = {}, uid:gid {}:{}", fifo.path, fifo.uid, fifo.gid);
        }
    }
    put!(page, 1, "FIFO write vrrp states on reload = {}", truth(daemon.fifo_states_on_reload));
    protocol(page, shown);
    firewall(page, spec);
    processes(page, spec);
    agents(page, daemon);
    scripts(page, shown);
    buffers(page, spec);
    rest(page, spec, speaker);
}

fn names(page: &mut Page, spec: &Spec) {
    let (daemon, shown) = (&spec.daemon, &spec.daemon.shown);
    if let Some(instance) = &daemon.instance {
        put!(page, 1, "Instance name = {instance}");
    }
    if let Some(name) = &daemon.process_name {
        put!(page, 1, "Parent process name = {name}");
    }
    let others = shown.process_names.iter();
    for (label, name) in ["VRRP", "LVS", "BFD"].into_iter().zip([&daemon.engine_name].into_iter().chain(others)) {
        if let Some(name) = name {
            put!(page, 1, "{label} process name = {name}");
        }
    }
    put!(page, 1, "{} symlinks in script paths", if shown.use_symlink_paths { "Keep" } else { "Replace" });
    if shown.set_supplementary_groups {
        put!(page, 1, "Set supplementary groups for all scripts");
    }
    put!(page, 1, "Router ID = {}", daemon.router_id);
}

fn mail(page: &mut Page, spec: &Spec) {
    let (mail, shown) = (&spec.daemon.mail, &spec.daemon.shown);
    if let Some(server) = &mail.server {
        put!(page, 1, "Smtp server = {server}");
        put!(page, 1, "Smtp server port = {}", if mail.port == 0 { 25 } else { mail.port });
    }
    if mail.helo.is_some() || mail.server.is_some() {
        put!(page, 1, "Smtp HELO name = {}", mail.helo.as_deref().map_or_else(host_name, str::to_owned));
    }
    if mail.server.is_some() {
        put!(page, 1, "Smtp server connection timeout = {}", mail.timeout_secs);
    }
    if let Some(from) = &mail.from {
        put!(page, 1, "Email notification from = {from}");
        put!(page, 1, "Email notification to:");
        for to in &mail.to {
            put!(page, 3, "{to}");
        }
    }
    for (label, switch) in ["", "_vrrp", "_checker"].into_iter().zip(shown.smtp_alert) {
        put!(page, 1, "Default smtp_alert{label} = {}", unset(switch));
    }
    put!(page, 1, "Checkers log all failures = {}", truth(shown.checker_log_all_failures));
}

fn reloading(page: &mut Page, spec: &Spec) {
    let daemon = &spec.daemon;
    match &daemon.reload_check {
        Some(file) => put!(page, 1, "Test config before reload, log to {file}"),
        None => put!(page, 1, "No test config before reload"),
    }
    if let Some(file) = &daemon.reload_time_file {
        put!(page, 1, "Reload time file = {file}{}", if daemon.reload_repeat { " (repeat)" } else { "" });
    }
    if let Some(file) = daemon.reload_file.as_deref().filter(|file| !file.is_empty()) {
        put!(page, 1, "Reload_file = {file}");
    }
    if daemon.dump.use_instance {
        put!(page, 1, "Use instance name in data dumps");
    }
}

fn protocol(page: &mut Page, shown: &Shown) {
    put!(page, 1, "VRRP notify priority changes = {}", truth(shown.notify_priority_changes));
    put!(page, 1, "VRRP IPv4 mcast group = {}", shown.groups.0);
    put!(page, 1, "VRRP IPv6 mcast group = {}", shown.groups.1);
    put!(page, 1, "Gratuitous ARP delay = {}", shown.garp_delay);
    put!(page, 1, "Gratuitous ARP repeat = {}", shown.garp_repeat);
    put!(page, 1, "Gratuitous ARP refresh timer = {}", shown.garp_refresh);
    put!(page, 1, "Gratuitous ARP refresh repeat = {}", shown.garp_refresh_repeat);
    put!(page, 1, "Gratuitous ARP lower priority delay = {}", shown.garp_lower_delay);
    put!(page, 1, "Gratuitous ARP lower priority repeat = {}", shown.garp_lower_repeat);
    put!(page, 1, "Num adverts before down = {}", shown.down_adverts);
    let (all, seconds) = shown.garp_extra;
    put!(page, 1, "Gratuitous ARP for each secondary {} = {seconds}s", if all { "i/f" } else { "VMAC" });
    put!(page, 1, "Send advert after receive lower priority advert = {}", truth(!shown.lower_prio_no_advert));
    put!(page, 1, "Send advert after receive higher priority advert = {}", truth(shown.higher_prio_send_advert));
    put!(page, 1, "Gratuitous ARP interval = {:.6}", shown.garp_interval.as_secs_f64());
    put!(page, 1, "Gratuitous NA interval = {:.6}", shown.gna_interval.as_secs_f64());
    put!(page, 1, "VRRP default protocol version = {}", shown.version);
}

fn firewall(page: &mut Page, spec: &Spec) {
    let (tables, shown) = (&spec.daemon.nftables, &spec.daemon.shown);
    if let Some(table) = &tables.table {
        put!(page, 1, "nftables table name = {table}");
        put!(page, 1, "nftables base chain priority = {}", tables.priority.unwrap_or(-1));
        let word = if tables.ifindex { "" } else { "don't " };
        put!(page, 1, "nftables {word}force use ifindex for link local IPv6");
    }
    put!(page, 1, "nftables with{} counters", if tables.counters { "" } else { "out" });
    put!(page, 1, "VRRP check unicast_src = {}", truth(shown.check_unicast_src));
    put!(page, 1, "VRRP skip check advert addresses = {}", truth(shown.skip_check_adv_addr));
    put!(page, 1, "VRRP strict mode = {}", truth(shown.strict));
}

fn processes(page: &mut Page, spec: &Spec) {
    let (daemon, shown) = (&spec.daemon, &spec.daemon.shown);
    match shown.max_auto_priority {
        -1 => put!(page, 1, "Max auto priority = Disabled"),
        priority => put!(page, 1, "Max auto priority = {priority}"),
    }
    put!(page, 1, "Min auto priority delay = {} usecs", daemon.min_auto_priority_delay_us);
    let own = ProcessShown {
        nice: daemon.nice.unwrap_or(0).into(),
        no_swap: daemon.no_swap,
        realtime: daemon.rt_priority.unwrap_or(0),
        cpus: daemon.cpu_affinity.clone(),
        rlimit: shown.vrrp_rlimit,
    };
    for (name, process) in [("VRRP", &own), ("Checker", &shown.checker), ("BFD", &shown.bfd)] {
        put!(page, 1, "{name} process priority = {}", process.nice);
        put!(page, 1, "{name} don't swap = {}", truth(process.no_swap));
        put!(page, 1, "{name} realtime priority = {}", process.realtime);
        if !process.cpus.is_empty() {
            let cpus: Vec<String> = process.cpus.iter().map(ToString::to_string).collect();
            put!(page, 1, "{name} CPU Affinity = {}", cpus.join(" "));
        }
        put!(page, 1, "{name} realtime limit = {}", process.rlimit);
    }
}

fn agents(page: &mut Page, daemon: &Daemon) {
    let (snmp, dbus) = (&daemon.snmp, &daemon.dbus);
    let parts = [("vrrp", snmp.vrrp), ("checker", snmp.checker), ("RFCv2", snmp.rfcv2), ("RFCv3", snmp.rfcv3)];
    for (label, on) in parts {
        put!(page, 1, "SNMP {label} {}", enabled(on));
    }
    put!(page, 1, "SNMP traps {}", enabled(snmp.traps));
    let socket = snmp.socket.as_deref().unwrap_or("default (unix:/var/agentx/master)");
    put!(page, 1, "SNMP socket = {socket}");
    for (label, every) in [("VS", snmp.services_every), ("RS", snmp.servers_every)] {
        put!(page, 1, "SNMP {label} stats update interval = {:.6}", every.as_secs_f64());
    }
    put!(page, 1, "DBus {}", enabled(dbus.enabled));
    put!(page, 1, "DBus service name = {}", dbus.service_name.as_deref().unwrap_or(""));
    put!(page, 1, "DBus no interface name = {}", dbus.no_interface.as_deref().unwrap_or("none"));
}

fn scripts(page: &mut Page, shown: &Shown) {
    put!(page, 1, "Script security {}", enabled(shown.script_security));
    let Some((uid, gid, groups)) = &shown.script_account else { return };
    put!(page, 1, "Default script uid:gid {uid}:{gid}");
    if !groups.is_empty() {
        put!(page, 3, "Supplementary groups:");
        for group in groups {
            put!(page, 5, "{group}");
        }
    }
}

fn buffers(page: &mut Page, spec: &Spec) {
    let (netlink, shown) = (&spec.daemon.netlink, &spec.daemon.shown);
    let lines = [
        ("vrrp_netlink_cmd", netlink.command.unwrap_or(0), netlink.command_force),
        ("vrrp_netlink_monitor", netlink.monitor.unwrap_or(0), netlink.monitor_force),
        ("process_monitor", netlink.process.unwrap_or(0), netlink.process_force),
        ("lvs_netlink_cmd", shown.lvs_netlink[0].0, shown.lvs_netlink[0].1),
        ("lvs_netlink_monitor", shown.lvs_netlink[1].0, shown.lvs_netlink[1].1),
    ];
    for (name, bytes, force) in lines {
        put!(page, 1, "{name}_rcv_bufs = {bytes}");
        put!(page, 1, "{name}_rcv_bufs_force = {}", u8::from(force));
    }
    put!(page, 1, "rs_init_notifies = {}", u8::from(shown.rs_init_notifies));
    put!(page, 1, "no_checker_emails = {}", u8::from(shown.no_checker_emails));
    match spec.daemon.rx_buffer {
        RxBuffer::Mtu { .. } => put!(page, 1, "rx_bufs_policy = MTU"),
        RxBuffer::Advert { .. } => put!(page, 1, "rx_bufs_policy = ADVERT"),
        RxBuffer::Bytes(bytes) => put!(page, 1, "rx_bufs_size = {bytes}"),
        RxBuffer::Kernel => {}
    }
    put!(page, 1, "rx_bufs_multiples = {}", shown.rx_multiplier);
}

fn rest(page: &mut Page, spec: &Spec, speaker: Speaker) {
    let (daemon, shown) = (&spec.daemon, &spec.daemon.shown);
    put!(page, 1, "umask = 0{:o}", daemon.umask.unwrap_or(0o177));
    if !spec.startup_delay.is_zero() {
        put!(page, 1, "vrrp_startup_delay = {}", describe::short(spec.startup_delay.as_secs_f64()));
    }
    if spec.log_unknown_vrids {
        put!(page, 1, "log_unknown_vrids");
    }
    if shown.owner_ignore_adverts {
        put!(page, 1, "vrrp_owner_ignore_adverts");
    }
    if let Some(prefix) = &shown.vmac_prefix {
        put!(page, 1, "VMAC prefix = {prefix}");
    }
    if let Some(prefix) = &shown.vmac_addr_prefix {
        put!(page, 1, "VMAC address prefix = {prefix}");
    }
    if speaker == Speaker::Vrrp
        && let Some(priority) = daemon.rt_priority
    {
        put!(page, 1, "current realtime priority = {priority}");
        put!(page, 1, "current realtime time limit = {}", shown.vrrp_rlimit);
    }
    put!(page, 1, "json_version {}", daemon.dump.json_version.max(1));
    put!(page, 1, "iproute usr directory {}", shown.iproute_usr_dir.as_deref().unwrap_or("/usr/share/iproute2"));
    put!(page, 1, "iproute etc directory {}", shown.iproute_etc_dir.as_deref().unwrap_or("/etc/iproute2"));
    for (label, path) in [("state", &daemon.dump.state), ("stats", &daemon.dump.stats), ("json", &daemon.dump.json)] {
        if let Some(path) = path {
            put!(page, 1, "{label} dump file {path}");
        }
    }
}
