//! What can be said to vipctl: one variant a verb, one doc comment a line of help.
//!
//! Owned by the command line; from these types come the parser, the help, the completions and vipctl(1). Nothing here
//! acts.

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Check, rehearse, watch and steer vipd, and any keepalived.conf.
#[derive(Debug, Parser)]
#[command(name = "vipctl", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "See vipctl(1) for every verb, vipd.conf(5) for the configuration, vipd(8) for the daemon.")]
pub struct Vipctl {
    /// Whether output is coloured. NO_COLOR counts too.
    #[arg(long, global = true, value_enum, default_value_t = ColourChoice::Auto, value_name = "WHEN")]
    pub colour: ColourChoice,

    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Args)]
pub struct Servers {
    /// Only virtual servers whose name contains this, such as 10.0.0.10 or :443
    #[arg(value_name = "SERVICE")]
    pub service: Option<String>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub daemon: Daemon,
}

#[derive(Debug, Args)]
pub struct DrainServer {
    /// The real server: ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT
    #[arg(value_name = "SERVER")]
    pub server: String,
    /// Only in this virtual server, by its name in `vipctl servers`
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    #[command(flatten)]
    pub daemon: Daemon,
}

impl DrainServer {
    /// # Errors
    /// It is no address.
    pub fn endpoint(&self) -> Result<(std::net::IpAddr, Option<u16>), String> {
        let text = self.server.as_str();
        if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse() {
            return Ok((address, None));
        }
        match text.parse::<std::net::SocketAddr>() {
            Ok(both) => Ok((both.ip(), Some(both.port()))),
            Err(_) => Err(format!("{text} is no address: ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT")),
        }
    }
}

#[derive(Debug, Args)]
pub struct WeighServer {
    #[command(flatten)]
    pub server: DrainServer,
    /// The weight; without it the configured one holds again
    #[arg(value_name = "WEIGHT")]
    pub weight: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum ColourChoice {
    /// On a terminal.
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// What is wrong with a configuration, or what does not fit between the servers' configurations
    Check(Check),
    /// Every keyword: where it stands, what it takes, its default, whether it has an effect
    Keywords(Keywords),
    /// Lay a configuration out in the canonical way; comments and meaning stay
    Fmt(Fmt),
    /// Play a failure through in virtual time, with the engine that the daemon runs
    Simulate(Simulate),
    /// Rehearse with real daemons in network namespaces: a client, a failure, a recovery
    Lab(Lab),
    /// What state every instance is in, since when and why
    Status(Status),
    /// Is this server master of an instance, sync group or address? Exit code 0: yes, 1: no, 2: cannot be asked
    IsMaster(IsMaster),
    /// Show changes as they happen: on a terminal a whole screen, with keys to drain, undrain, failover and explain
    Watch(Watch),
    /// Who speaks VRRP on a wire, without a daemon: every speaker, two masters, VRIDs that are free
    Listen(Listen),
    /// Why an instance is master, or why it is not
    #[command(visible_alias = "why")]
    Explain(Explain),
    /// What happened to every instance lately, with times and causes
    History(History),
    /// BFD sessions: state, why, what was agreed with the peer
    Bfd(Bfd),
    /// Hand over, wait until another router has taken over, and stay backup while one lives, until `undrain`; interrupted
    /// before that, it takes the drain back
    Drain(Drain),
    /// End a `drain`
    Undrain(Which),
    /// Hand over once, wait until another router has taken over, then take part in elections as usual
    Failover(Which),
    /// Send gratuitous ARPs and neighbour advertisements once more
    Announce(Which),
    /// Read the configuration again, as SIGHUP does, and wait for the outcome
    Reload(Daemon),
    /// Put a new program in the place of the running one without giving an address up
    Upgrade(Upgrade),
    /// Counters and states in the Prometheus text format
    Metrics(Daemon),
    /// Every virtual server with its real servers: in or out, since when and why, weights, connections
    Servers(Servers),
    /// Give a real server no new connections (weight 0), until `undrain-server`
    DrainServer(DrainServer),
    /// End a `drain-server`
    UndrainServer(DrainServer),
    /// Give a real server a weight of your own, whatever checks and files say
    WeighServer(WeighServer),
    /// Look for what makes virtual addresses vanish or failovers fail on this machine
    Doctor(Doctor),
    /// Make the checks of the real servers of a configuration once each, and show what was said
    Probe(Probe),
    /// Print a manual page (roff): `vipctl man vipctl | man -l -`
    Man {
        /// Which page.
        page: ManPage,
    },
    /// Print the completions for a shell: `source <(vipctl completions bash)`
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
        /// Which program.
        #[arg(long, value_enum, default_value_t = Program::Vipctl)]
        program: Program,
    },
    /// One server of `vipctl lab`; started by it, inside a namespace
    #[command(hide = true)]
    LabNode(LabNode),
    /// The lab's own web server, where nginx is not installed
    #[command(hide = true)]
    LabWeb { name: String },
}

#[derive(Debug, Args)]
pub struct Check {
    /// One file: its own mistakes. Several: also what does not fit between the servers, and what will happen. `-`: the
    /// configuration comes on standard input. None: the file of the daemon here, or /etc/keepalived/keepalived.conf. Of the
    /// file that the daemon here runs with it is also said, as text, what is wrong with that daemon now.
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Fail on warnings too.
    #[arg(long)]
    pub strict: bool,
    /// Take every interface, user, script and host name to be there, as with several files: the file is for another machine.
    #[arg(long)]
    pub anywhere: bool,
    /// How it is said. json: one object a line. A mistake has level (note, warning or error), class, message, file, line,
    /// column, end_line and end_column (from 1), label, help, and related: a list of places with a message each. What does not
    /// fit between servers has level, rule, message, help, and places: a list of file and instance. The last line of
    /// several files has outlook: a list of sentences. Every object has schema, the number of this form.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// The same as `--format json`, as with the other commands.
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// The name that `@id` lines compare with, as `keepalived -i`.
    #[arg(short = 'i', long, value_name = "ID")]
    pub config_id: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

#[derive(Debug, Args)]
pub struct Keywords {
    /// Only this block, for example vrrp_instance.
    #[arg(value_name = "BLOCK")]
    pub block: Option<String>,
    /// A list of objects: block, keyword, arguments, default, repeat, status, doc.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Fmt {
    /// Write the result into the file.
    #[arg(long, conflicts_with = "check")]
    pub write: bool,
    /// Print nothing, fail if the file is not in the canonical layout.
    #[arg(long)]
    pub check: bool,
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Simulate {
    /// The servers' configurations; each server is called like its file.
    #[arg(required = true, num_args = 1.., value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// crash (power gone), kill (daemon killed), stop, pause, cut, link[:INTERFACE], script[:NAME], path[:SESSION]
    /// (nothing gets through to the peer of a BFD session, nor back), deaf[:SESSION] (nothing of that peer reaches it),
    /// mute[:SESSION] (nothing of it reaches that peer), frozen[:SESSION] (the gateway at that end stands still), or
    /// server[:ADDRESS[:PORT]][=HOW] (a real server refuses, or what HOW says: 503, slow, hang, dead, flap);
    /// @SERVER behind it if another server than the master is meant.
    #[arg(long, value_name = "HOW", default_value = "crash")]
    pub fail: String,
    /// Of the randomness: delays of the modelled network.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Seconds of virtual time.
    #[arg(long = "for", value_name = "SECONDS")]
    pub seconds: Option<f64>,
    /// Events from a file instead of --fail.
    #[arg(long, value_name = "FILE", conflicts_with = "fail")]
    pub scenario: Option<PathBuf>,
    /// Keep every datagram of the modelled network.
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<PathBuf>,
    /// One JSON object; `standings` says where every instance is after the start, the failure and the recovery.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Lab {
    /// A directory with one .conf file a server, or the files themselves.
    #[arg(required = true, num_args = 1.., value_name = "DIR|FILE")]
    pub files: Vec<PathBuf>,
    /// crash (power gone), kill (daemon killed), stop, pause, link[:INTERFACE], script[:NAME], path[:SESSION] (nothing gets
    /// through to the gateway that a BFD session watches, nor back), deaf[:SESSION] (nothing of that gateway reaches it),
    /// mute[:SESSION] (nothing of it reaches that gateway), frozen[:SESSION] (that gateway stands still), of the master; or
    /// server[:ADDRESS[:PORT]][=HOW] (a real server, also by its snmp_name, without one the first: it refuses, or is what HOW says:
    /// refuse, 503, slow, hang, dead, flap). Without it the lab only shows the start.
    #[arg(long, value_name = "HOW")]
    pub fail: Option<crate::lab::Failure>,
    /// The daemon to run, by default the vipd beside this program. keepalived works too.
    #[arg(long, value_name = "PATH")]
    pub daemon: Option<PathBuf>,
    /// Events and the verdict as JSON lines; its `standings` have the form of `vipctl simulate --json`.
    #[arg(long)]
    pub json: bool,
    /// Keep the lab after the rehearsal until Ctrl-C, and say how to look into it.
    #[arg(long)]
    pub hold: bool,
    /// Keep each server's log in this directory.
    #[arg(long, value_name = "DIR")]
    pub logs: Option<PathBuf>,
    /// Build the daemon with cargo first (in a clone of the source).
    #[arg(long, hide = true)]
    pub build: bool,
}

#[derive(Debug, Args)]
pub struct LabNode {
    /// The plan of the node, JSON.
    pub plan: String,
}

/// Any path, the empty one too, which stands for none.
fn maybe_empty() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// Which daemon to speak to.
#[derive(Debug, Args)]
pub struct Daemon {
    /// The daemon's control socket. An empty VIPD_CONTROL counts as none.
    #[arg(long, value_name = "SOCKET", env = "VIPD_CONTROL", value_parser = maybe_empty())]
    pub control: Option<PathBuf>,
}

/// An address, also as it is written in a configuration, with its prefix length.
///
/// # Errors
/// It is none.
pub fn plain_address(text: &str) -> Result<std::net::IpAddr, std::net::AddrParseError> {
    match text.split_once('/') {
        Some((address, length)) if length.bytes().all(|digit| digit.is_ascii_digit()) => address.parse(),
        _ => text.parse(),
    }
}

#[derive(Debug, Args)]
pub struct Status {
    /// Instances or sync groups; all if not given.
    pub names: Vec<String>,
    /// Only the instance with this virtual address.
    #[arg(long, value_name = "ADDRESS", value_parser = plain_address)]
    pub address: Option<std::net::IpAddr>,
    /// These servers instead of this one, over ssh: where each address is, whether exactly one has it, and what does not fit
    /// between their configurations. vipctl must be there, and ssh must need no password. Exit code 0: all is so, 1: it is not,
    /// 2: a server could not be asked, or its configuration could not be read and is not compared.
    #[arg(long, value_name = "HOST,...", value_delimiter = ',', num_args = 1)]
    pub on: Vec<String>,
    /// With --on: how many seconds each may take.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = super::listen::seconds)]
    pub within: f64,
    /// With --json, for root: also the files of the configuration with asterisks for secrets, and what these come to with
    /// this salt. For the other end of --on.
    #[arg(long, hide = true, requires = "json", value_name = "SALT", value_parser = super::sealed::salt)]
    pub configuration: Option<super::sealed::Salt>,
    #[command(flatten)]
    pub daemon: Daemon,
    /// The daemon's whole snapshot.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct IsMaster {
    /// An instance, a sync group, or a virtual address.
    #[arg(value_name = "NAME|ADDRESS")]
    pub what: String,
    #[command(flatten)]
    pub daemon: Daemon,
}

#[derive(Debug, Args)]
pub struct Watch {
    #[command(flatten)]
    pub daemon: Daemon,
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
    /// Line by line on a terminal too, as without one.
    #[arg(long)]
    pub lines: bool,
}

#[derive(Debug, Args)]
pub struct Listen {
    /// The interface to listen on; what is tagged for a VLAN on it is heard too. With --pcap: which interface of --config the capture was made on.
    #[arg(value_name = "INTERFACE")]
    pub interface: Option<String>,
    /// A capture of tcpdump, dumpcap or Wireshark instead of an interface.
    #[arg(long, value_name = "FILE", conflicts_with = "seconds")]
    pub pcap: Option<PathBuf>,
    /// What this configuration would refuse of what is heard, and why.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The name that `@id` lines of the configuration compare with.
    #[arg(long, value_name = "ID")]
    pub config_id: Option<String>,
    /// How long; by default until Ctrl-C on a terminal, 10 seconds otherwise.
    #[arg(long = "for", value_name = "SECONDS", value_parser = super::listen::seconds)]
    pub seconds: Option<f64>,
    /// One object at the end: speakers, routers (two_masters lists who else goes on speaking), vrids (taken and free, as
    /// ranges), unreadable.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct History {
    /// One instance, sync group, BFD session, virtual server or real server; all if not given.
    pub instance: Option<String>,
    #[command(flatten)]
    pub daemon: Daemon,
    /// One JSON object a line, as `vipctl watch --json` prints them.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Explain {
    /// One instance, sync group, virtual server or real server; all if not given.
    pub instance: Option<String>,
    #[command(flatten)]
    pub daemon: Daemon,
}

#[derive(Debug, Args)]
pub struct Bfd {
    /// One session, in full; all if not given.
    pub session: Option<String>,
    /// Shut it down: the peer is told not to judge by it, and trackers keep what they read. Or allow it again.
    #[arg(value_enum, requires = "session")]
    pub what: Option<BfdWhat>,
    #[command(flatten)]
    pub daemon: Daemon,
    /// Everything that is known, as JSON.
    #[arg(long, conflicts_with = "what")]
    pub json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum BfdWhat {
    Shutdown,
    NoShutdown,
}

#[derive(Debug, Args)]
pub struct Which {
    /// One instance, or a sync group; all if not given.
    pub instance: Option<String>,
    #[command(flatten)]
    pub daemon: Daemon,
}

#[derive(Debug, Args)]
pub struct Drain {
    #[command(flatten)]
    pub which: Which,
    /// Also after a restart of the daemon and a reboot of the machine. A reload and `vipctl upgrade` keep every drain.
    #[arg(long)]
    pub keep: bool,
}

#[derive(Debug, Args)]
pub struct Upgrade {
    /// The new program; by default the file that the daemon was started from.
    #[arg(value_name = "PATH")]
    pub program: Option<PathBuf>,
    #[command(flatten)]
    pub daemon: Daemon,
    /// Every daemon that listens in /run/vipd; it is well if there is none. This is what packages call.
    #[arg(long, conflicts_with = "control")]
    pub all: bool,
}

#[derive(Debug, Args)]
pub struct Probe {
    /// The configuration whose checks are made.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only this server: address and port of a real server, its address, or its virtual server.
    #[arg(value_name = "SERVER")]
    pub server: Option<String>,
    /// What `@` lines in the file compare with (default: host name up to the first dot).
    #[arg(long, value_name = "ID")]
    pub config_id: Option<String>,
    /// One object a check.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// The configuration to look at the machine with; /etc/keepalived/keepalived.conf by default, or that of the daemon
    /// that runs where there is no such file.
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub daemon: Daemon,
    /// A list of findings.
    #[arg(long)]
    pub json: bool,
    /// Look at a machine whose root is mounted here (files only; commands are not run).
    #[arg(long, value_name = "DIR", hide = true)]
    pub root: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum ManPage {
    #[value(name = "vipd.conf")]
    Conf,
    Vipctl,
    Vipd,
    Genhash,
    /// The language of `vipctl simulate --scenario`.
    #[value(name = "vipd.scenario")]
    Scenario,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Program {
    Vipctl,
    Vipd,
}
