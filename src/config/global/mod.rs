//! `global_defs`: what holds for the whole program, and the defaults of instances.
//!
//! The table only; functions for keywords with a grammar of their own are in [`read`].

pub mod read;

use super::security::{SetScript, UserLine, parent_script, script, user};
use crate::config::global::read::*;
use crate::config::table::block::{Repeat, Set, by, first, flag, last, list, must, must_first, toggle};
use crate::config::table::values::*;
use crate::spec::balance::{SyncDaemon, Timeouts};
use crate::spec::{IfName, VMAC_PREFIX};
use crate::time::Interval;
use crate::wire::Family;
use std::net::IpAddr;

const LOCAL: u64 = 1_000;

block! {
    /// Global settings; several blocks accumulate.
    "global_defs" => Global {
        /// The processes are named after what they do; here there is one process, named `vipd`.
        "process_names" => process_names: Set<()> = flag(), default "off", idle "there is only one process";
        /// Name of the process as `ps` and `pidof` show it.
        "process_name" => process_name: Set<Box<str>> = must(text_up_to(15)), default "vipd";
        /// Name of the thread that does VRRP, as `ps -L` and `top -H` show it; keepalived has a process for it.
        "vrrp_process_name" => vrrp_process_name: Set<Box<str>> = must(text_up_to(15)), default "engine";
        /// Name of the checker process.
        "checker_process_name" => checker_process_name: Set<Box<str>> = must(text_up_to(15));
        /// Name of the thread that BFD sessions run in.
        "bfd_process_name" => bfd_process_name: Set<Box<str>> = must(text_up_to(15));
        /// Run scripts by the path given, not by what its links lead to.
        "use_symlink_paths" => use_symlink_paths: Set<bool> = toggle(), default(false, "off");
        /// Give every script the supplementary groups of its user.
        "set_supplementary_groups" => set_supplementary_groups: Set<bool> = toggle(), default(false, "off");
        /// Name of this machine in mail subjects and in SNMP.
        "router_id" => router_id: Set<Box<str>> = last(STR), default "host name";
        /// Sender of mail.
        "notification_email_from" => email_from: Set<Box<str>> = by("STR", Repeat::LastWins, email_from), default "user@host";
        /// Mail relay; without one no mail is sent.
        "smtp_server" => smtp_server: Set<SmtpServer> = by("(IPADDR or HOST) [PORT]", Repeat::LastWins, smtp_server), default "none; port 25";
        /// Name given in HELO.
        "smtp_helo_name" => smtp_helo: Set<Box<str>> = last(STR).silent(), default "host name";
        /// Seconds allowed for connecting to the mail relay and for each of its replies.
        "smtp_connect_timeout" => smtp_timeout: Set<u32> = by("UINT[1..4294] (s)", Repeat::LastWins, smtp_timeout), default(30);
        /// Recipients of mail.
        "notification_email" => emails: Vec<Box<str>> = list("LIST(STR)", Repeat::Accumulates, emails), default "none";
        /// Default of every `smtp_alert`.
        "smtp_alert" => smtp_alert: Set<bool> = toggle(), default "unset";
        /// Run once before anything starts; the start waits for it.
        "startup_script" => startup_script: SetScript = parent_script();
        /// Seconds after which `startup_script` is ended.
        "startup_script_timeout" => startup_timeout: Set<u32> = last(uint(1, 1000)), default(10);
        /// Run once after everything has stopped.
        "shutdown_script" => shutdown_script: SetScript = parent_script();
        /// Seconds after which `shutdown_script` is ended.
        "shutdown_script_timeout" => shutdown_timeout: Set<u32> = last(uint(1, 1000)), default(10);
        /// How far real-time priority may be raised by itself; -1 never.
        "max_auto_priority" => max_auto_priority: Set<i32> = last(int(-1, 99)).bare(99), default(0);
        /// Microseconds of lateness that raise the priority.
        "min_auto_priority_delay" => min_auto_delay: Set<u32> = last(uint(1, 10_000_000)), default(1_000_000, "1000000");
        /// Default of `smtp_alert` for instances and groups.
        "smtp_alert_vrrp" => smtp_alert_vrrp: Set<bool> = toggle(), default "smtp_alert";
        /// Default of `smtp_alert` for virtual and real servers.
        "smtp_alert_checker" => smtp_alert_checker: Set<bool> = toggle(), default "smtp_alert";
        /// Log every failed check.
        "checker_log_all_failures" => checker_log_all: Set<bool> = toggle(), default(false, "off");
        /// Interfaces may be absent, and come and go; with `allow_if_changes` also change their kind.
        "dynamic_interfaces" => dynamic_interfaces: Set<bool> = by("[allow_if_changes]", Repeat::Flag, dynamic_interfaces), default(false, "off");
        /// No mail when an instance enters FAULT.
        "no_email_faults" => no_email_faults: Set<()> = flag(), default "off";
        /// Interface of static addresses that name none.
        "default_interface" => default_interface: Set<IfName> = by("IFNAME", Repeat::LastWins, default_interface), default "eth0";
        /// Turn off the kernel's IGMP reports for link-local groups.
        "disable_local_igmp" => disable_local_igmp: Set<()> = flag(), default "off";
        /// Default: the IPv4 VRRPv3 checksum leaves out the pseudo header.
        "v3_checksum_as_v2" => v3_checksum_as_v2: Set<()> = flag(), default "off";
        /// IPVS connection timeouts.
        "lvs_timeouts" => lvs_timeouts: Set<Timeouts> = by("(tcp UINT) (tcpfin UINT) (udp UINT), each [0..2678400] s", Repeat::Accumulates, lvs_timeouts), default "kernel";
        /// Clear the IPVS table at start.
        "lvs_flush" => lvs_flush: Set<()> = flag(), default "off";
        /// Clear the IPVS table, or the configured services, at stop.
        "lvs_flush_on_stop" => lvs_flush_on_stop: Set<bool> = by("[VS]", Repeat::LastWins, lvs_flush_on_stop), default "off";
        /// IPVS connection synchronisation, bound to an instance.
        "lvs_sync_daemon" => lvs_sync_daemon: Set<SyncDaemon> = by("IFNAME [inst STR] [id 0..255] [maxlen 1..65507] [port 1..65535] [ttl 1..255] [group MCAST]; old: IFNAME INST [ID]", Repeat::FirstKept, lvs_sync_daemon), default "off";
        /// Default VRRP group of IPv4.
        "vrrp_mcast_group4" => mcast_group4: Set<IpAddr> = must(GROUP4), default(Family::V4.multicast_group(), "224.0.0.18");
        /// Default VRRP group of IPv6.
        "vrrp_mcast_group6" => mcast_group6: Set<IpAddr> = by("IPADDR(v6 mcast)", Repeat::LastWins, mcast_group6), default(Family::V6.multicast_group(), "ff02::12");
        /// Seconds before the second burst of gratuitous ARP after becoming master; 0 is none.
        "vrrp_garp_master_delay" => garp_delay: Set<u32> = must(uint(0, 4294)), default(5);
        /// Gratuitous ARPs or unsolicited NAs in a burst.
        "vrrp_garp_master_repeat" => garp_repeat: Set<u32> = by("UINT[1..4294967295]", Repeat::LastWins, at_least_one), default(5);
        /// Seconds between refreshing announcements while master; 0 is none.
        "vrrp_garp_master_refresh" => garp_refresh: Set<u32> = must(uint(0, u32::MAX)).or(0), default(0);
        /// Announcements in a refresh.
        "vrrp_garp_master_refresh_repeat" => garp_refresh_repeat: Set<u32> = by("UINT[1..4294967295]", Repeat::LastWins, at_least_one), default(1);
        /// Seconds before the second burst after a lower priority advert was seen as master.
        "vrrp_garp_lower_prio_delay" => garp_lower_delay: Set<u32> = must(uint(0, 4294)), default "vrrp_garp_master_delay; 0 if strict";
        /// Announcements after a lower priority advert was seen as master.
        "vrrp_garp_lower_prio_repeat" => garp_lower_repeat: Set<u32> = must(uint(0, 2_147_483_647)), default "vrrp_garp_master_repeat; 0 if strict";
        /// Adverts missed before a backup takes over.
        "vrrp_down_timer_adverts" => down_timer_adverts: Set<u32> = must(uint(1, 100)), default(3);
        /// Seconds between gratuitous ARPs on one interface.
        "vrrp_garp_interval" => garp_interval: Set<Interval> = must(timer(1, LONGEST_US)), default(Interval::ZERO, "0");
        /// Seconds between unsolicited neighbour advertisements on one interface.
        "vrrp_gna_interval" => gna_interval: Set<Interval> = must(timer(1, LONGEST_US)), default(Interval::ZERO, "0");
        /// Few announcements: repeat 1, refresh 0, delay 0 where nothing else is given.
        "vrrp_min_garp" => min_garp: Set<bool> = toggle(), default(false, "off");
        /// Seconds between gratuitous ARPs on further VMAC (`all`: on all further) interfaces.
        "vrrp_garp_extra_if" => garp_extra: GarpExtra = by("[all] UINT[1..86400] (s)", Repeat::LastWins, global_garp_extra), default "off";
        /// As master stay silent when a lower priority advert comes.
        "vrrp_lower_prio_no_advert" => lower_prio_no_advert: Set<bool> = toggle(), default(false, "off");
        /// As master send one more advert before yielding to a higher priority.
        "vrrp_higher_prio_send_advert" => higher_prio_send_advert: Set<bool> = toggle(), default(false, "off");
        /// Default VRRP version of IPv4 instances.
        "vrrp_version" => version: Set<i32> = must(int(2, 3)), default(2);
        /// Firewalling with iptables, which this program never uses: nftables is used.
        "vrrp_iptables" => iptables: Set<()> = by("[CHAIN [CHAIN]]", Repeat::LastWins, iptables), default "off", deprecated "write `nftables` in its place";
        /// Names of ipsets for iptables.
        "vrrp_ipsets" => ipsets: Set<()> = by("[NAME]{0..6}", Repeat::LastWins, ipsets), default "off", deprecated "remove the line, and write `nftables`";
        /// Use nftables, in a table of this name.
        "nftables" => nftables: Set<Box<str>> = by("[TABLE]", Repeat::FirstKept, nftables), default "off; `keepalived` when needed";
        /// Priority of the nftables base chains.
        "nftables_priority" => nftables_priority: Set<i32> = must(int(i32::MIN, i32::MAX)), default "-1";
        /// Match link-local addresses by interface index, not by name.
        "nftables_ifindex" => nftables_ifindex: Set<()> = flag(), default "off";
        /// Unicast instances drop adverts from addresses that are no peers.
        "vrrp_check_unicast_src" => check_unicast_src: Set<()> = flag(), default "off";
        /// Default: addresses in adverts of an unchanged master are not checked again.
        "vrrp_skip_check_adv_addr" => skip_check_adv_addr: Set<bool> = toggle(), default(false, "off");
        /// Default strict RFC compliance of instances.
        "vrrp_strict" => strict: Set<bool> = toggle(), default(false, "off");
        /// Nice value.
        "vrrp_priority" => nice: Set<i32> = last(int(-20, 19)).or(0), default "0";
        /// Lock memory.
        "vrrp_no_swap" => no_swap: Set<()> = flag(), default "off";
        /// SCHED_RR priority.
        "vrrp_rt_priority" => rt_priority: Set<u8> = by("INT[1..99]", Repeat::LastWins, rt_priority), default "off";
        /// CPUs to run on.
        "vrrp_cpu_affinity" => cpu_affinity: Set<Vec<u32>> = by("UINT[0..CPUs-1]...", Repeat::LastWins, cpu_affinity), default "all";
        /// Microseconds that may be computed without a blocking call under a real-time priority.
        "vrrp_rlimit_rttime" => rlimit_rttime: Set<u32> = must(uint(1, u32::MAX)), default(10000);
        /// Use nftables for virtual server groups with ranges.
        "nftables_ipvs" => nftables_ipvs: Set<Box<str>> = by("[TABLE]", Repeat::FirstKept, nftables), default "keepalived_ipvs";
        /// Priority of the nftables chains for IPVS.
        "nftables_ipvs_priority" => nftables_ipvs_priority: Set<i32> = must(int(i32::MIN, i32::MAX)), default(-1);
        /// First firewall mark for IPVS.
        "nftables_ipvs_start_fwmark" => nftables_fwmark: Set<u32> = must(uint(1, u32::MAX)), default(1000);
        /// Count packets in nftables rules.
        "nftables_counters" => nftables_counters: Set<()> = flag(), default "off";
        /// FIFO that gets a line for every state change.
        "notify_fifo" => fifo: Set<FifoLine> = by("PATH [USER [GROUP]]", Repeat::FirstKept, fifo);
        /// Reader of `notify_fifo`; started with the path as last argument.
        "notify_fifo_script" => fifo_script: SetScript = script();
        /// FIFO that gets a line for every VRRP state change.
        "vrrp_notify_fifo" => vrrp_fifo: Set<FifoLine> = by("PATH [USER [GROUP]]", Repeat::FirstKept, fifo);
        /// Reader of `vrrp_notify_fifo`.
        "vrrp_notify_fifo_script" => vrrp_fifo_script: SetScript = script();
        /// Default: priority changes are written to the FIFOs.
        "vrrp_notify_priority_changes" => notify_priority_changes: Set<bool> = toggle(), default(false, "off");
        /// Write the states to the FIFOs again after a reload.
        "fifo_write_vrrp_states_on_reload" => fifo_states_on_reload: Set<()> = flag(), default "off";
        /// FIFO of checkers.
        "lvs_notify_fifo" => lvs_fifo: Set<FifoLine> = by("PATH [USER [GROUP]]", Repeat::FirstKept, fifo);
        /// Reader of `lvs_notify_fifo`.
        "lvs_notify_fifo_script" => lvs_fifo_script: SetScript = script();
        /// Nice value of the checker process.
        "checker_priority" => checker_nice: Set<i32> = last(int(-20, 19)).or(0), default(0);
        /// Lock the checker's memory.
        "checker_no_swap" => checker_no_swap: Set<()> = flag(), default "off";
        /// SCHED_RR priority of the checker process.
        "checker_rt_priority" => checker_rt_priority: Set<u8> = by("INT[1..99]", Repeat::LastWins, rt_priority), default(0, "off");
        /// CPUs of the checker process.
        "checker_cpu_affinity" => checker_cpus: Set<Vec<u32>> = by("UINT[0..CPUs-1]...", Repeat::LastWins, cpu_affinity), default "all";
        /// Real-time limit of the checker process.
        "checker_rlimit_rttime" => checker_rlimit: Set<u32> = must(uint(1, u32::MAX)), default(10000);
        /// Nice value of the BFD thread.
        "bfd_priority" => bfd_nice: Set<i32> = last(int(-20, 19)).or(0), default(0);
        /// Lock the memory of the process that BFD runs in.
        "bfd_no_swap" => bfd_no_swap: Set<()> = flag(), default "off";
        /// SCHED_RR priority of the BFD thread.
        "bfd_rt_priority" => bfd_rt_priority: Set<u8> = by("INT[1..99]", Repeat::LastWins, rt_priority), default(0, "off");
        /// CPUs of the BFD thread.
        "bfd_cpu_affinity" => bfd_cpus: Set<Vec<u32>> = by("UINT[0..CPUs-1]...", Repeat::LastWins, cpu_affinity), default "all";
        /// Microseconds that the BFD thread may run in real time without a pause; past them it is counted and said.
        "bfd_rlimit_rttime" => bfd_rlimit: Set<u32> = must(uint(1, u32::MAX)), default(10000);
        /// Address of the AgentX master.
        "snmp_socket" => snmp_socket: Set<Box<str>> = by("STR", Repeat::FirstKept, snmp_socket), default "unix:/var/agentx/master", door "snmp";
        /// Send SNMP notifications.
        "enable_traps" => enable_traps: Set<()> = flag(), default "off", door "snmp";
        /// Serve the VRRP part of KEEPALIVED-MIB.
        "enable_snmp_vrrp" => snmp_vrrp: Set<()> = flag(), default "off", door "snmp";
        /// Serve VRRP-MIB and VRRPV3-MIB.
        "enable_snmp_rfc" => snmp_rfc: Set<()> = flag(), default "off", door "snmp";
        /// Serve VRRP-MIB (RFC 2787).
        "enable_snmp_rfcv2" => snmp_rfcv2: Set<()> = flag(), default "off", door "snmp";
        /// Serve VRRPV3-MIB (RFC 6527).
        "enable_snmp_rfcv3" => snmp_rfcv3: Set<()> = flag(), default "off", door "snmp";
        /// Serve the checker part of KEEPALIVED-MIB.
        "enable_snmp_checker" => snmp_checker: Set<()> = flag(), default "off", door "snmp";
        /// How long statistics of virtual servers are kept for SNMP.
        "snmp_vs_stats_update_interval" => snmp_vs_stats: Set<Interval> = must(timer(LOCAL, 30_000_000)), default(Interval::from_secs(5), "5");
        /// How long statistics of real servers are kept for SNMP.
        "snmp_rs_stats_update_interval" => snmp_rs_stats: Set<Interval> = must(timer(LOCAL, 30_000_000)), default "snmp_vs_stats_update_interval";
        /// Serve D-Bus.
        "enable_dbus" => dbus: Set<()> = flag(), default "off", door "dbus";
        /// Name on the bus.
        "dbus_service_name" => dbus_name: Set<Box<str>> = last(STR), default "org.keepalived.Vrrp1", door "dbus";
        /// Path element of instances without interface.
        "dbus_no_interface_name" => dbus_no_interface: Set<Box<str>> = last(STR), default "none", door "dbus";
        /// User of scripts that name none; `:GROUP` also gives supplementary groups.
        "script_user" => script_user: Set<UserLine> = user(), default "keepalived_script if there is such a user, else the daemon's";
        /// Refuse scripts that others could change and that would run as root.
        "enable_script_security" => script_security: Set<()> = flag(), default "off";
        /// Receive buffer of the netlink command socket, bytes.
        "vrrp_netlink_cmd_rcv_bufs" => netlink_cmd: Set<u32> = last(uint(0, u32::MAX)), default "kernel";
        /// Exceed the system's limit for that buffer.
        "vrrp_netlink_cmd_rcv_bufs_force" => netlink_cmd_force: Set<bool> = toggle(), default(false, "off");
        /// Receive buffer of the netlink socket that watches, bytes.
        "vrrp_netlink_monitor_rcv_bufs" => netlink_monitor: Set<u32> = last(uint(0, u32::MAX)), default "kernel";
        /// Exceed the system's limit for that buffer.
        "vrrp_netlink_monitor_rcv_bufs_force" => netlink_monitor_force: Set<bool> = toggle(), default(false, "off");
        /// Receive buffer of the process event socket, bytes.
        "process_monitor_rcv_bufs" => process_monitor: Set<u32> = last(uint(0, u32::MAX)), default "kernel";
        /// Exceed the system's limit for that buffer.
        "process_monitor_rcv_bufs_force" => process_monitor_force: Set<bool> = toggle(), default(false, "off");
        /// Checker's netlink command buffer.
        "lvs_netlink_cmd_rcv_bufs" => lvs_netlink_cmd: Set<u32> = last(uint(0, u32::MAX)), default(0, "kernel");
        /// Exceed the system's limit for that buffer.
        "lvs_netlink_cmd_rcv_bufs_force" => lvs_netlink_cmd_force: Set<bool> = toggle(), default(false, "off");
        /// Checker's netlink watch buffer.
        "lvs_netlink_monitor_rcv_bufs" => lvs_netlink_monitor: Set<u32> = last(uint(0, u32::MAX)), default(0, "kernel");
        /// Exceed the system's limit for that buffer.
        "lvs_netlink_monitor_rcv_bufs_force" => lvs_netlink_monitor_force: Set<bool> = toggle(), default(false, "off");
        /// Run notify scripts of real servers at start too.
        "rs_init_notifies" => rs_init_notifies: Set<bool> = toggle(), default(false, "off");
        /// Checks that are equal in destination, connection options and dialogue run once for all servers that have them;
        /// log lines and notifications stay with each server. A keyword of vipd's own.
        "vipd_share_checks" => share_checks: Set<bool> = toggle(), default(true, "on");
        /// Mail only when a real server really changed.
        "no_checker_emails" => no_checker_emails: Set<bool> = toggle(), default(false, "off");
        /// How large VRRP receive buffers are: by MTU, by advert, or bytes.
        "vrrp_rx_bufs_policy" => rx_policy: RxPolicy = by("MTU or ADVERT or UINT", Repeat::LastWins, rx_policy), default "kernel";
        /// Multiplier of the MTU or advert policy.
        "vrrp_rx_bufs_multiplier" => rx_multiplier: Set<u32> = by("UINT[1..4294967295]", Repeat::LastWins, rx_multiplier), default(3);
        /// Seconds after start in which nobody becomes master.
        "vrrp_startup_delay" => startup_delay: Set<Interval> = must(timer(LOCAL, LONGEST_US)), default(Interval::ZERO, "0");
        /// The same, measured from the system's boot.
        "vrrp_delay_after_boot" => delay_after_boot: Set<Interval> = must(timer(LOCAL, LONGEST_US)), default(Interval::ZERO, "0");
        /// Log adverts of virtual routers that are not configured.
        "log_unknown_vrids" => log_unknown_vrids: Set<()> = flag(), default "off";
        /// Default: an address owner drops adverts.
        "vrrp_owner_ignore_adverts" => owner_ignore_adverts: Set<bool> = toggle(), default(false, "off");
        /// Front of the names of VMAC interfaces that are made.
        "vmac_prefix" => vmac_prefix: Set<Box<str>> = must_first(STR), default(VMAC_PREFIX.into(), "vrrp");
        /// Front of the names of VMAC interfaces made for `use_vmac_addr`.
        "vmac_addr_prefix" => vmac_addr_prefix: Set<Box<str>> = must_first(STR), default "vmac_prefix";
        /// File creation mask; the command line wins.
        "umask" => umask: Set<u32> = by("OCTAL or DEC or HEX, or IRUSR-style names joined by |", Repeat::LastWins, umask), default "0177";
        /// Seed of `_RANDOM`, from the next reading on.
        "random_seed" => random_seed: Set<u32> = must(uint(0, u32::MAX)), default "time of day";
        /// Check a new configuration before reloading; the report goes to this file.
        "reload_check_config" => reload_check: Set<Box<str>> = last(PATH).bare("/dev/null".into()), default "off";
        /// File with the time of a planned reload.
        "reload_time_file" => reload_time_file: Set<Box<str>> = by("PATH", Repeat::LastWins, exactly_one), default "none";
        /// Repeat the planned reload every day.
        "reload_repeat" => reload_repeat: Set<()> = flag(), default "off";
        /// File that exists while configuration is being read.
        "reload_file" => reload_file: Set<Box<str>> = last(PATH).bare("".into()), default "off";
        /// Includes after this line must find what they name.
        "include_check" => include_check: Set<()> = by("[+ or -](read, match, wildcard_match, brace_match)...", Repeat::Accumulates, include_check), default "off";
        /// Directory for copies of the configuration that was read.
        "config_save_dir" => config_save_dir: Set<Box<str>> = by("DIR", Repeat::LastWins, config_save_dir), default "none";
        /// Directory for the consolidated configuration.
        "tmp_config_directory" => tmp_config_dir: Set<Box<str>> = first(DIR), default "memory", idle "the configuration is kept in memory";
        /// Put namespace and instance into the names of dump files.
        "data_use_instance" => data_use_instance: Set<bool> = toggle(), default(false, "off");
        /// Layout of the JSON dump: 1 array, 2 object.
        "json_version" => json_version: Set<u32> = last(uint(1, 2)), default(1);
        /// Where the vendor's rt_tables and the like are.
        "iproute_usr_dir" => iproute_usr_dir: Set<Box<str>> = by("DIR", Repeat::LastWins, exactly_one), default "/usr/share/iproute2";
        /// Where the administrator's rt_tables and the like are.
        "iproute_etc_dir" => iproute_etc_dir: Set<Box<str>> = by("DIR", Repeat::LastWins, exactly_one), default "/etc/iproute2";
        /// Name of the state dump.
        "state_dump_file" => state_dump: Set<Box<str>> = by("PATH", Repeat::LastWins, exactly_one), default "/tmp/keepalived.data";
        /// Name of the statistics dump.
        "stats_dump_file" => stats_dump: Set<Box<str>> = by("PATH", Repeat::LastWins, exactly_one), default "/tmp/keepalived.stats";
        /// Name of the JSON dump.
        "json_dump_file" => json_dump: Set<Box<str>> = by("PATH", Repeat::LastWins, exactly_one), default "/tmp/keepalived.json";
    }
    also {
        /// As `checker_process_name`.
        "lvs_process_name" => checker_process_name: Set<Box<str>> = must(text_up_to(15)), renamed "use checker_process_name";
        /// As `lvs_flush_on_stop`.
        "lvs_flush_onstop" => lvs_flush_on_stop: Set<bool> = by("[VS]", Repeat::LastWins, lvs_flush_on_stop);
        /// As `vrrp_garp_extra_if`.
        "vrrp_vmac_garp_intvl" => garp_extra: GarpExtra = by("[all] UINT[1..86400] (s)", Repeat::LastWins, global_garp_extra), deprecated "use vrrp_garp_extra_if";
        /// As `vrrp_rlimit_rttime`.
        "vrrp_rlimit_rtime" => rlimit_rttime: Set<u32> = must(uint(1, u32::MAX)), renamed "use vrrp_rlimit_rttime";
        /// As `checker_rlimit_rttime`.
        "checker_rlimit_rtime" => checker_rlimit: Set<u32> = must(uint(1, u32::MAX)), renamed "use checker_rlimit_rttime";
        /// As `bfd_rlimit_rttime`.
        "bfd_rlimit_rtime" => bfd_rlimit: Set<u32> = must(uint(1, u32::MAX)), renamed "use bfd_rlimit_rttime";
        /// As `enable_snmp_vrrp`.
        "enable_snmp_keepalived" => snmp_vrrp: Set<()> = flag(), door "snmp";
    }
}
