//! keepalived(8)'s command line, word for word, turned into [`Options`].
//!
//! clap does the work; what getopt_long does differently is evened out before and after it: `-tFILE` and `-gFILE`
//! (optional argument glued on), an empty argument (`--use-file=`), words left over (named and ignored), the last of
//! several wins, exit code 1 instead of 2. This module prints and answers; it never starts anything but
//! [`crate::daemon::start`].

use super::genhash;
use crate::daemon;
use crate::daemon::COMPATIBLE;
use crate::daemon::CoreDump;
use crate::daemon::LogOptions;
use crate::daemon::MetricsPlace;
use crate::daemon::Options;
use crate::daemon::Parts;
use crate::daemon::PidOptions;
use crate::observe::metrics::Names;
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, ValueEnum};
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::process::ExitCode;

const DEFAULT_CONFIG: &str = "/etc/keepalived/keepalived.conf";
const LOG_FILE: &str = "keepalived.log";

/// The daemon's command line, to its end.
pub fn main() -> ExitCode {
    // First of all: whoever started this may end it at once, and a daemon that ends without having looked leaves the
    // addresses on the interface that one before it left behind.
    daemon::hold_signals();
    let args: Vec<OsString> = std::env::args_os().collect();
    if super::is_called(&args, "vipctl") {
        daemon::release_signals();
        return super::vipctl();
    }
    if let Some(arguments) = genhash::asked(&args) {
        daemon::release_signals();
        return genhash::main(arguments);
    }
    match parse(args) {
        Ok(Asked::Run(options)) => ExitCode::from(daemon::start(*options)),
        Ok(Asked::Answer { stdout, stderr, code }) => {
            // Nobody may be listening; that is no reason to fail.
            let _ = std::io::stdout().write_all(stdout.as_bytes());
            let _ = std::io::stderr().write_all(stderr.as_bytes());
            ExitCode::from(code)
        }
        Err(complaint) => {
            let _ = std::io::stderr().write_all(complaint.as_bytes());
            ExitCode::from(1)
        }
    }
}

/// The command line itself, for manual pages and completions.
pub fn command() -> clap::Command {
    Flags::command()
}

/// What the command line wants.
#[derive(Debug)]
pub enum Asked {
    Run(Box<Options>),
    Answer { stdout: String, stderr: String, code: u8 },
}

/// Reads a command line, program name first. `Err` is the complaint for stderr; the exit code is then 1.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Asked, String> {
    let mut args = args.into_iter();
    let program = args.next().unwrap_or_else(|| "vipd".into());
    let glued = unglue(args);
    let command = Flags::command().bin_name(program.to_string_lossy().into_owned());
    let matches = command
        .clone()
        .try_get_matches_from(std::iter::once(program).chain(glued))
        .map_err(|error| error.render().to_string())?;
    let flags = Flags::from_arg_matches(&matches).map_err(|error| error.render().to_string())?;
    if flags.version {
        return Ok(Asked::Answer { stdout: String::new(), stderr: version(), code: 0 });
    }
    if flags.help {
        return Ok(Asked::Answer { stdout: String::new(), stderr: command.clone().render_help().to_string(), code: 0 });
    }
    if let Some(word) = &flags.signum {
        return Ok(match signal_number(word) {
            Some(number) => Asked::Answer { stdout: format!("{number}\n"), stderr: String::new(), code: 0 },
            None => Asked::Answer { stdout: String::new(), stderr: format!("Unknown sigfunc {word}\n"), code: 1 },
        });
    }
    if flags.genhash {
        // It reads its own arguments, and has been looked for before (see `main`).
        return Err("--genhash is another program's command line\n".into());
    }
    if !flags.unexpected.is_empty() {
        println!("Unexpected argument(s): {} ", flags.unexpected.join(" "));
    }
    flags.decide().map(|options| Asked::Run(Box::new(options)))
}

/// The number that `--signum=WORD` prints (semantics of keepalived's signals; the real-time ones by the C library).
pub fn signal_number(word: &str) -> Option<i32> {
    Some(match word {
        "STOP" => libc::SIGTERM,
        "RELOAD" => libc::SIGHUP,
        "DATA" => libc::SIGUSR1,
        "STATS" => libc::SIGUSR2,
        "STATS_CLEAR" => libc::SIGRTMAX() - 1,
        "JSON" => libc::SIGRTMIN() + 2,
        _ => return None,
    })
}

/// The text of `-v`. The first line is the one that Ansible, Puppet and exporters take apart.
pub fn version() -> String {
    let running = std::fs::read_to_string("/proc/version").unwrap_or_default();
    let snmp = if cfg!(feature = "snmp") { " SNMP_VRRP SNMP_RFCV2 SNMP_RFCV3" } else { "" };
    let doors = format!("{snmp}{}", if cfg!(feature = "dbus") { " DBUS" } else { "" });
    format!(
        "Keepalived {COMPATIBLE}\n\n\
         {name} {version}: {description}, compatible with the keepalived of the line above\n\n\
         Running on {running}\n\
         configure options: --enable-json --enable-log-file --enable-auth-hmac --with-init=systemd\n\n\
         Config options:  NFTABLES LVS VRRP VRRP_AUTH VRRP_VMAC JSON BFD OLD_CHKSUM_COMPAT{doors} INIT=systemd SYSTEMD_NOTIFY\n\n\
         System options:  IPV6_MULTICAST_ALL RTA_ENCAP RTA_EXPIRES RTA_PREF FRA_SUPPRESS_PREFIXLEN FRA_SUPPRESS_IFGROUP \
         FRA_TUN_ID RTAX_CC_ALGO FRA_L3MDEV FRA_UID_RANGE RTA_VIA FRA_PROTOCOL FRA_IP_PROTO FRA_SPORT_RANGE \
         FRA_DPORT_RANGE RTA_TTL_PROPAGATE VRRP_IPVLAN VRF SO_MARK\n",
        name = env!("CARGO_PKG_NAME"),
        version = env!("CARGO_PKG_VERSION"),
        description = env!("CARGO_PKG_DESCRIPTION"),
    )
}

#[derive(Parser, Debug)]
#[command(
    name = "vipd",
    about = "Keeps virtual IP addresses on a healthy server: a drop-in for keepalived",
    disable_help_flag = true,
    disable_version_flag = true,
    infer_long_args = true,
    args_override_self = true,
    override_usage = "vipd [OPTION...]"
)]
struct Flags {
    /// Use the specified configuration file
    #[arg(short = 'f', long, value_name = "FILE", allow_hyphen_values = true, value_parser = filled(), default_value = DEFAULT_CONFIG)]
    use_file: String,
    /// Only run with VRRP subsystem
    #[arg(short = 'P', long)]
    vrrp: bool,
    /// Only run with Health-checker subsystem
    #[arg(short = 'C', long)]
    check: bool,
    /// Don't run BFD subsystem
    #[arg(short = 'B', long = "no_bfd")]
    no_bfd: bool,
    /// Run all subsystems, even if they have no configuration
    #[arg(long)]
    all: bool,
    /// Log messages to local console
    #[arg(short = 'l', long)]
    log_console: bool,
    /// Detailed log messages; twice: everything
    #[arg(short = 'D', long, action = ArgAction::Count)]
    log_detail: u8,
    /// Set syslog facility: 0-7, local0-local7, user or daemon (default)
    #[arg(short = 'S', long, value_name = "FACILITY", allow_hyphen_values = true, value_parser = filled())]
    log_facility: Option<String>,
    /// Also log to FILE
    #[arg(short = 'g', long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    log_file: Option<String>,
    /// Flush log file on write (it always is)
    #[arg(long)]
    flush_log_file: bool,
    /// Don't log via syslog
    #[arg(short = 'G', long)]
    no_syslog: bool,
    /// How lines on the console and in files are written. json: an object a line, with instance, state and reason where a line
    /// is about one; the systemd journal has these as VIPD_INSTANCE, VIPD_STATE and VIPD_REASON whatever is said here
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// umask for file creation (in numeric form)
    #[arg(short = 'u', long, value_name = "MASK", allow_hyphen_values = true, value_parser = filled())]
    umask: Option<String>,
    /// Drop VIP on transition from signal
    #[arg(short = 'X', long)]
    release_vips: bool,
    /// Don't remove VRRP VIPs and VROUTEs on daemon stop
    #[arg(short = 'V', long)]
    dont_release_vrrp: bool,
    /// Don't remove IPVS topology on daemon stop
    #[arg(short = 'I', long)]
    dont_release_ipvs: bool,
    /// Don't restart parts that fail, end instead
    #[arg(short = 'R', long)]
    dont_respawn: bool,
    /// Don't fork the daemon process
    #[arg(short = 'n', long)]
    dont_fork: bool,
    /// Dump the configuration data
    #[arg(short = 'd', long)]
    dump_conf: bool,
    /// Use specified pidfile for parent process
    #[arg(short = 'p', long, value_name = "FILE", allow_hyphen_values = true, value_parser = filled())]
    pid: Option<String>,
    /// Use specified pidfile for VRRP child process
    #[arg(short = 'r', long = "vrrp_pid", value_name = "FILE", allow_hyphen_values = true, value_parser = filled())]
    vrrp_pid: Option<String>,
    /// Use specified pidfile for checkers child process
    #[arg(short = 'c', long = "checkers_pid", value_name = "FILE", allow_hyphen_values = true, value_parser = filled())]
    checkers_pid: Option<String>,
    /// Use specified pidfile for BFD child process
    #[arg(short = 'b', long = "bfd_pid", value_name = "FILE", allow_hyphen_values = true, value_parser = filled())]
    bfd_pid: Option<String>,
    /// Be genhash(1): print the MD5 sum of a web page. What stands behind it is read as genhash's options
    #[arg(short = 'T', long)]
    genhash: bool,
    /// Report all address additions/deletions notified via netlink
    #[arg(short = 'a', long)]
    address_monitoring: bool,
    /// Serve everything over SNMP, as if every enable_snmp_ keyword were given
    #[arg(short = 'x', long)]
    snmp: bool,
    /// Socket of the SNMP master agent (overrides config)
    #[arg(short = 'A', long, value_name = "FILE", allow_hyphen_values = true, value_parser = filled())]
    snmp_agent_socket: Option<String>,
    /// Run in network namespace NAME (overrides config)
    #[arg(short = 's', long, value_name = "NAME", allow_hyphen_values = true, value_parser = filled())]
    namespace: Option<String>,
    /// Produce core dump if terminate abnormally
    #[arg(short = 'm', long)]
    core_dump: bool,
    /// Also set /proc/sys/kernel/core_pattern to PATN (default 'core')
    #[arg(short = 'M', long, value_name = "PATN", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    core_dump_pattern: Option<String>,
    /// Error if any configuration file missing (same as includet)
    #[arg(short = 'e', long)]
    all_config: bool,
    /// Skip any configuration lines beginning '@' that don't match id or any lines beginning @^ that do match;
    /// the default is the node name
    #[arg(short = 'i', long, value_name = "ID", allow_hyphen_values = true, value_parser = filled())]
    config_id: Option<String>,
    /// Ignore SIGINT (default means terminate)
    #[arg(long)]
    ignore_sigint: bool,
    /// Return signal number for STOP, RELOAD, DATA, STATS, STATS_CLEAR, JSON
    #[arg(long, value_name = "SIGFUNC", allow_hyphen_values = true, value_parser = filled())]
    signum: Option<String>,
    /// Check the configuration for obvious errors, output to stderr by default
    #[arg(short = 't', long, value_name = "LOG_FILE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    config_test: Option<String>,
    /// Serve metrics over HTTP there, for Prometheus: ADDRESS:PORT, e.g. 127.0.0.1:9650, or unix:/PATH
    #[arg(long, value_name = "PLACE")]
    metrics: Option<MetricsPlace>,
    /// Whose names metrics have: vipd's, those of the public exporters for keepalived, or both
    #[arg(long, value_enum, value_name = "NAMES", default_value_t = MetricsNames::Vipd, hide_default_value = true)]
    metrics_names: MetricsNames,
    /// Control socket, instead of /run/vipd/control.sock
    #[arg(long, value_name = "SOCKET")]
    control: Option<String>,
    /// Display the version number
    #[arg(short = 'v', long)]
    version: bool,
    /// Display this help message
    #[arg(short = 'h', long)]
    help: bool,

    #[arg(long, hide = true, value_name = "FD")]
    config_fd: Option<i32>,
    #[arg(long, hide = true, value_name = "FD")]
    restore: Option<i32>,
    #[arg(long, hide = true)]
    end_at_once: bool,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "")]
    perf: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "")]
    debug: Option<String>,
    #[arg(long, hide = true)]
    no_mem_check: bool,
    #[arg(short = 'L', long, hide = true)]
    mem_check_log: bool,
    #[arg(hide = true)]
    unexpected: Vec<String>,
}

/// [`Names`] as they are typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum MetricsNames {
    Vipd,
    KeepalivedExporter,
    Both,
}

impl From<MetricsNames> for Names {
    fn from(names: MetricsNames) -> Names {
        match names {
            MetricsNames::Vipd => Names::Vipd,
            MetricsNames::KeepalivedExporter => Names::Exporters,
            MetricsNames::Both => Names::Both,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl Flags {
    fn decide(self) -> Result<Options, String> {
        let facility = self.log_facility.as_deref().map(|word| {
            facility(word).unwrap_or_else(|| {
                eprintln!("Invalid log facility '{word}'");
                FACILITY_DAEMON
            })
        });
        let umask = self.umask.as_deref().and_then(|word| {
            let mask = number(word).filter(|mask| *mask <= 0o777);
            if mask.is_none() {
                eprintln!("Invalid --umask option {word}");
            }
            mask
        });
        Ok(Options {
            config: self.use_file.into(),
            parts: Parts {
                vrrp: self.all || !self.check,
                checkers: self.all || !self.vrrp,
                bfd: self.all || !self.no_bfd,
                all: self.all,
            },
            log: LogOptions {
                console: self.log_console,
                detail: self.log_detail,
                facility: facility.unwrap_or(FACILITY_DAEMON),
                file: self.log_file.map(|file| if file.is_empty() { LOG_FILE.into() } else { file.into() }),
                no_syslog: self.no_syslog,
                json: self.log_format == LogFormat::Json,
            },
            foreground: self.dont_fork,
            dump: self.dump_conf,
            keep_claims: self.dont_release_vrrp,
            keep_table: self.dont_release_ipvs,
            no_respawn: self.dont_respawn,
            pids: PidOptions {
                main: self.pid.map(PathBuf::from),
                vrrp: self.vrrp_pid.map(PathBuf::from),
                checkers: self.checkers_pid.map(PathBuf::from),
                bfd: self.bfd_pid.map(PathBuf::from),
            },
            log_addresses: self.address_monitoring,
            namespace: self.namespace,
            config_id: self.config_id,
            all_config: self.all_config,
            umask,
            core: CoreDump {
                allow: self.core_dump || self.core_dump_pattern.is_some(),
                pattern: self.core_dump_pattern.map(|p| if p.is_empty() { "core".into() } else { p }),
            },
            ignore_sigint: self.ignore_sigint,
            test: self.config_test.map(|file| (!file.is_empty()).then(|| file.into())),
            metrics: self.metrics,
            metrics_names: self.metrics_names.into(),
            snmp: self.snmp,
            snmp_socket: self.snmp_agent_socket,
            // An empty variable is as good as none.
            control: self
                .control
                .map(PathBuf::from)
                .or_else(|| std::env::var_os("VIPD_CONTROL").filter(|path| !path.is_empty()).map(PathBuf::from)),
            restore: self.restore,
            end_at_once: self.end_at_once,
        })
    }
}

/// A value that must not be empty: `--use-file=` is a missing argument.
fn filled() -> clap::builder::NonEmptyStringValueParser {
    clap::builder::NonEmptyStringValueParser::new()
}

const FACILITY_DAEMON: u8 = 3;

/// Syslog facility number of `-S`: 0-7 and local0-local7 are LOG_LOCAL0-7, or the names user and daemon.
fn facility(word: &str) -> Option<u8> {
    let digits = word.strip_prefix("local").unwrap_or(word);
    match number(digits) {
        Some(local @ 0..=7) => Some(16 + local as u8),
        _ => match word {
            "user" => Some(1),
            "daemon" => Some(FACILITY_DAEMON),
            _ => None,
        },
    }
}

/// A number as strtoul takes it with base 0: decimal, 0x…, or octal with a leading 0.
fn number(word: &str) -> Option<u32> {
    match word.as_bytes() {
        [b'0', b'x' | b'X', rest @ ..] if !rest.is_empty() => u32::from_str_radix(word.get(2..)?, 16).ok(),
        [b'0', rest @ ..] if !rest.is_empty() => u32::from_str_radix(word, 8).ok(),
        [b'0'..=b'9', ..] => word.parse().ok(),
        _ => None,
    }
}

/// Short options with an argument of their own, which the rest of the word or the next word is.
const TAKES_ARGUMENT: &[u8] = b"fSuprcbAsi";

/// Rewrites `-tFILE`, `-gFILE` and `-MPATTERN`, alone or at the end of a cluster (`-ntFILE`), to the long form.
fn unglue(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut out = Vec::new();
    let mut args = args;
    while let Some(arg) = args.next() {
        let bytes = arg.as_bytes();
        if bytes == b"--" {
            out.push(arg);
            out.extend(args);
            break;
        }
        let cluster = match bytes {
            [b'-', rest @ ..] if !rest.is_empty() && rest[0] != b'-' => rest,
            _ => {
                out.push(arg);
                continue;
            }
        };
        // The first letter that takes an argument ends the cluster.
        let end = cluster.iter().position(|c| TAKES_ARGUMENT.contains(c) || b"tgM".contains(c));
        match end {
            Some(at) if at + 1 < cluster.len() && b"tgM".contains(&cluster[at]) => {
                if at > 0 {
                    out.push(OsString::from_vec([b"-", &cluster[..at]].concat()));
                }
                let long: &[u8] = match cluster[at] {
                    b't' => b"--config-test=",
                    b'g' => b"--log-file=",
                    _ => b"--core-dump-pattern=",
                };
                let value = &cluster[at + 1..];
                out.push(OsString::from_vec([long, value.strip_prefix(b"=").unwrap_or(value)].concat()));
            }
            // An argument that is the next word is taken over unseen, whatever it looks like.
            Some(at) if at + 1 == cluster.len() && TAKES_ARGUMENT.contains(&cluster[at]) => {
                out.push(arg);
                out.extend(args.next());
            }
            _ => out.push(arg),
        }
    }
    out
}
