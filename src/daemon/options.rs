//! What the command line asked of the daemon: a plain value, already checked, owned by whoever starts the daemon.
//! It never holds anything that a configuration file can say, apart from what the command line overrides.

use crate::observe::metrics::Names;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// The keepalived whose language, files and MIB these are, as `-v` and SNMP name it.
pub const COMPATIBLE: &str = "v2.4.3 (07/20,2026)";

/// Everything that keepalived(8)'s command line can say, decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// `-f`.
    pub config: PathBuf,
    /// Which subsystems may run: `-P`, `-C`, `-B`, `--all`.
    pub parts: Parts,
    pub log: LogOptions,
    /// `-n`: stay in the foreground.
    pub foreground: bool,
    /// `-d`: write what was read into the log.
    pub dump: bool,
    /// `-V`: leave addresses, routes and rules where they are when the daemon ends.
    pub keep_claims: bool,
    /// `-I`: leave the kernel's table of virtual servers as it is when the daemon ends.
    pub keep_table: bool,
    /// `-R`: a thread that dies is not started again, the daemon ends instead.
    pub no_respawn: bool,
    /// `-p`, `-r`, `-c`, `-b`.
    pub pids: PidOptions,
    /// `-a`: log every address that comes and goes.
    pub log_addresses: bool,
    /// `-x`: serve every part of the MIB.
    pub snmp: bool,
    /// `-A`: overrides `snmp_socket`.
    pub snmp_socket: Option<String>,
    /// `-s`: overrides `net_namespace`.
    pub namespace: Option<String>,
    /// `-i`: for lines that begin with `@id`; default is the host name up to the first dot.
    pub config_id: Option<String>,
    /// `-e`: a missing include is an error.
    pub all_config: bool,
    /// `-u`: wins over the keyword `umask`.
    pub umask: Option<u32>,
    /// `-m`, `-M`.
    pub core: CoreDump,
    pub ignore_sigint: bool,
    /// `-t`: check and leave; `Some(Some(file))` appends the reports to a file.
    pub test: Option<Option<PathBuf>>,
    /// `--metrics`: serve metrics there.
    pub metrics: Option<MetricsPlace>,
    /// `--metrics-names`.
    pub metrics_names: Names,
    /// `--control` or `VIPD_CONTROL`: the control socket in another place.
    pub control: Option<PathBuf>,
    /// `--restore`: descriptor of the state that the program before us left behind (`vipctl upgrade`).
    pub restore: Option<i32>,
    /// `--end-at-once`: begin, take off what an earlier run left behind, and end. For the systemd unit, after a daemon that
    /// was ended before it could.
    pub end_at_once: bool,
}

/// Where scrapers ask.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MetricsPlace {
    Address(SocketAddr),
    /// A unix socket.
    Path(PathBuf),
}

impl FromStr for MetricsPlace {
    type Err = String;

    /// `ADDRESS:PORT` or `unix:PATH`.
    fn from_str(text: &str) -> Result<MetricsPlace, String> {
        match text.strip_prefix("unix:") {
            Some("") => Err("a path is missing behind unix:".into()),
            Some(path) => Ok(MetricsPlace::Path(path.into())),
            None => text
                .parse()
                .map(MetricsPlace::Address)
                .map_err(|_| "neither ADDRESS:PORT, as in 127.0.0.1:9650 or [::]:9650, nor unix:/PATH".into()),
        }
    }
}

impl fmt::Display for MetricsPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetricsPlace::Address(address) => address.fmt(f),
            MetricsPlace::Path(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Subsystems; a subsystem that is not built counts as one without configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parts {
    pub vrrp: bool,
    pub checkers: bool,
    pub bfd: bool,
    /// `--all`: also those that have no configuration.
    pub all: bool,
}

/// Where log lines go (`-l`, `-G`, `-g`, `-u`, `-S`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogOptions {
    /// `-l`.
    pub console: bool,
    /// `-D` once or twice.
    pub detail: u8,
    /// `-S`, as a syslog facility number (daemon is 3).
    pub facility: u8,
    /// `-g`.
    pub file: Option<PathBuf>,
    /// `-G`.
    pub no_syslog: bool,
    /// `--log-format json`: console and file get an object a line.
    pub json: bool,
}

/// Where pid files are (`-p`, `-r`, `-c`, `-b`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PidOptions {
    pub main: Option<PathBuf>,
    pub vrrp: Option<PathBuf>,
    pub checkers: Option<PathBuf>,
    pub bfd: Option<PathBuf>,
}

/// What becomes of a core dump (`-m`, `-M`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CoreDump {
    /// Lift RLIMIT_CORE.
    pub allow: bool,
    /// Written to /proc/sys/kernel/core_pattern for as long as the daemon runs.
    pub pattern: Option<String>,
}

impl Options {
    /// Paths count from the directory in which the daemon was started, which it leaves: a reload and the removal of pid
    /// files come later.
    #[must_use]
    pub fn from_here(mut self) -> Options {
        let absolute = |path: &mut PathBuf| {
            if let Ok(whole) = std::path::absolute(&*path) {
                *path = whole;
            }
        };
        absolute(&mut self.config);
        let pids = &mut self.pids;
        for path in [&mut pids.main, &mut pids.vrrp, &mut pids.checkers, &mut pids.bfd, &mut self.control] {
            path.iter_mut().for_each(absolute);
        }
        if let Some(file) = &mut self.log.file {
            absolute(file);
        }
        if let Some(MetricsPlace::Path(path)) = &mut self.metrics {
            absolute(path);
        }
        self
    }
}
