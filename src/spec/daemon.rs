//! Settings that concern the process, not the protocol.

use super::Fifo;
use super::Mail;
use super::Run;
use super::Shown;
use crate::time::Interval;

/// Begins the names of VMACs, unless `vmac_prefix` says otherwise.
pub const VMAC_PREFIX: &str = "vrrp";

/// Process-level settings from the top level and `global_defs`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Daemon {
    pub router_id: Box<str>,
    /// `instance`: suffix of pid files, dump files and syslog ident.
    pub instance: Option<Box<str>>,
    pub net_namespace: Option<Box<str>>,
    pub use_pid_dir: bool,
    /// Seconds to wait for children at stop; scripts are children here.
    pub child_wait_secs: u32,
    pub process_name: Option<Box<str>>,
    /// `vrrp_process_name`: name of the engine thread, at most 15 bytes.
    pub engine_name: Option<Box<str>>,
    /// SCHED_RR priority 1..=99.
    pub rt_priority: Option<u8>,
    pub nice: Option<i8>,
    pub cpu_affinity: Vec<u32>,
    /// `vrrp_no_swap`, `bfd_no_swap` or `checker_no_swap`: memory is the process's.
    pub no_swap: bool,
    /// `checker_process_name`, `checker_priority`, `checker_rt_priority`, …
    pub checker: ThreadSpec,
    /// `bfd_process_name`, `bfd_priority`, `bfd_rt_priority`, …
    pub bfd: ThreadSpec,
    pub rlimit_rttime_us: Option<u64>,
    pub umask: Option<u32>,
    pub mail: Mail,
    /// `notify_fifo`.
    pub fifo: Option<Fifo>,
    /// `vrrp_notify_fifo`.
    pub vrrp_fifo: Option<Fifo>,
    pub fifo_states_on_reload: bool,
    pub startup_script: Option<(Run, u32)>,
    pub shutdown_script: Option<(Run, u32)>,
    pub dump: Dump,
    /// `reload_check_config`: file for the reports of the check.
    pub reload_check: Option<Box<str>>,
    pub reload_time_file: Option<Box<str>>,
    pub reload_repeat: bool,
    /// `reload_file`; `Some("")` is the default path.
    pub reload_file: Option<Box<str>>,
    pub config_save_dir: Option<Box<str>>,
    pub nftables: Nftables,
    /// `vmac_addr_prefix`: begins the names of VMACs that are made for single addresses; `None` is [`VMAC_PREFIX`].
    pub vmac_addr_prefix: Option<Box<str>>,
    /// `max_auto_priority`: how far an engine that was woken late raises its SCHED_RR priority by itself, 1..=99.
    pub max_auto_priority: Option<u8>,
    /// `min_auto_priority_delay`: lateness in microseconds that makes it do so.
    pub min_auto_priority_delay_us: u32,
    pub netlink: NetlinkBuffers,
    pub rx_buffer: RxBuffer,
    /// `disable_local_igmp`.
    pub disable_local_igmp: bool,
    /// How many `virtual_server`s there are: keepalived would have a checker process.
    pub virtual_servers: u32,
    pub snmp: Snmp,
    pub dbus: Dbus,
    /// What the dump shows of `global_defs` beyond all this.
    pub shown: Box<Shown>,
}

/// Which parts of the MIB an SNMP master agent is served (`enable_snmp_…`), and where it listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snmp {
    /// KEEPALIVED-MIB, its VRRP branch.
    pub vrrp: bool,
    /// KEEPALIVED-MIB, its branch of virtual servers.
    pub checker: bool,
    /// VRRP-MIB (RFC 2787).
    pub rfcv2: bool,
    /// VRRPV3-MIB (RFC 6527).
    pub rfcv3: bool,
    /// `enable_traps`.
    pub traps: bool,
    /// `linkbeat_use_polling`, which the MIB shows.
    pub polled_carrier: bool,
    /// `snmp_socket`: net-snmp's address of the AgentX master; `None` is unix:/var/agentx/master.
    pub socket: Option<Box<str>>,
    /// How old the kernel's statistics of a virtual server may be.
    pub services_every: Interval,
    /// The same of a real server.
    pub servers_every: Interval,
}

impl Default for Snmp {
    fn default() -> Self {
        let every = Interval::from_secs(5);
        Snmp {
            vrrp: false,
            checker: false,
            rfcv2: false,
            rfcv3: false,
            traps: false,
            polled_carrier: false,
            socket: None,
            services_every: every,
            servers_every: every,
        }
    }
}

impl Snmp {
    /// Is anything served at all?
    pub fn is_on(&self) -> bool {
        self.vrrp || self.checker || self.rfcv2 || self.rfcv3
    }
}

/// `enable_dbus` and the names of the service.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Dbus {
    pub enabled: bool,
    /// `dbus_service_name`; `None` is org.keepalived.Vrrp1.
    pub service_name: Option<Box<str>>,
    /// `dbus_no_interface_name`: stands in object paths for the interface of an instance without one; `None` is none.
    pub no_interface: Option<Box<str>>,
}

/// How the scheduler treats a thread for which keepalived has a process.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ThreadSpec {
    /// At most 15 bytes.
    pub name: Option<Box<str>>,
    pub nice: Option<i8>,
    /// SCHED_RR priority 1..=99.
    pub rt_priority: Option<u8>,
    pub cpu_affinity: Vec<u32>,
    pub rlimit_rttime_us: Option<u64>,
}

/// `state_dump_file`, `json_version`, `data_use_instance`, …
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Dump {
    pub state: Option<Box<str>>,
    pub stats: Option<Box<str>>,
    pub json: Option<Box<str>>,
    /// 1 or 2; 0 counts as 1.
    pub json_version: u8,
    pub use_instance: bool,
}

/// The table of `nftables` for VMACs and `no_accept`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Nftables {
    /// Table name, when nftables is wanted or needed.
    pub table: Option<Box<str>>,
    pub priority: Option<i32>,
    pub counters: bool,
    pub ifindex: bool,
}

/// Receive buffers of the netlink sockets, bytes; and whether to exceed rmem_max.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NetlinkBuffers {
    /// `vrrp_netlink_cmd_rcv_bufs`; `None` is the kernel's size.
    pub command: Option<u32>,
    pub command_force: bool,
    /// `vrrp_netlink_monitor_rcv_bufs`.
    pub monitor: Option<u32>,
    pub monitor_force: bool,
    /// `process_monitor_rcv_bufs`.
    pub process: Option<u32>,
    pub process_force: bool,
}

/// `vrrp_rx_bufs_policy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RxBuffer {
    #[default]
    Kernel,
    Bytes(u32),
    Mtu {
        multiplier: u32,
    },
    Advert {
        multiplier: u32,
    },
}
