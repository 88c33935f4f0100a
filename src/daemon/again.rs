//! The same process, another program: `vipctl upgrade`, and a new beginning after the engine was lost.
//!
//! exec(2) keeps the process identifier, so that systemd, pid files and whoever supervises see one daemon that never
//! ended. What the engine leaves ([`Handover`]) travels in an unlinked file whose descriptor is named on the command line;
//! monotonic time goes on, so deadlines in it hold. Everything else is read and opened again.

use super::log;
use super::loops::bfd;
use super::options::Options;
use super::reload;
use super::signals::{self, StopSignals};
use crate::handover;
use crate::kernel::privilege;
use crate::kernel::programs::{Handle, Job, LeftBehind, Limit, Notice};
use crate::observe::fifo::KeptFifo;
use crate::observe::history::Moment;
use crate::observe::tally::Underway;
use crate::spec::{self, Exit, Run};
use crate::vrrp::handover::Handover;
use rustix::fs::MemfdFlags;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::{CString, OsString};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};

/// How often the daemon has started over without living for a minute; keepalived's back-off follows it.
const RESPAWNS: &str = "VIPD_RESPAWNS";
const LONG_LIFE_SECS: u64 = 60;
/// Options that a new beginning must not inherit.
const RESTORE: &str = "--restore";

/// What it says of itself with `-v`, beside keepalived's line: Debian's keepalived has that line too, and would begin with nothing
/// of what we leave.
const OURS: &str = concat!(env!("CARGO_PKG_NAME"), " ");

/// How long the program file may take to say its version, and to read the configuration.
const VERSION_LIMIT: Duration = Duration::from_secs(10);
const CHECK_LIMIT: Duration = Duration::from_secs(60);
/// As much as is taken of what it says.
const SAID_MOST: u64 = 64 << 10;

/// The program file to go over to, tried out: it must start, say a version and like the configuration. With it comes what the
/// configuration is now, since the next program has no other to go on with.
///
/// # Errors
/// In words for the operator.
pub async fn fit(
    programs: &Handle,
    program: Option<PathBuf>,
    options: &Arc<Options>,
) -> Result<(PathBuf, reload::Read), String> {
    let program = match program {
        Some(program) => program,
        None => own_file().ok_or("the program file cannot be found; name it")?,
    };
    let (exit, said) = say(programs, &program, &["-v"], VERSION_LIMIT).await?;
    let is_ours = said.starts_with("Keepalived v") && said.lines().any(|line| line.starts_with(OURS));
    if exit != Exit::Code(0) || !is_ours {
        return Err(format!("{} is no vipd", program.display()));
    }
    let config = options.config.to_str().ok_or("the name of the configuration file is no UTF-8")?;
    let mut args = vec!["-t", "-f", config];
    if let Some(id) = &options.config_id {
        args.extend(["-i", id]);
    }
    match say(programs, &program, &args, CHECK_LIMIT).await? {
        (Exit::Code(2) | Exit::Signal(_) | Exit::NotRun, said) => {
            return Err(format!("{} cannot use the configuration: {}", program.display(), said.trim_end()));
        }
        (Exit::Code(_), _) => {}
    }
    match timeout(CHECK_LIMIT, reload::read_aside(options.clone(), None, None)).await {
        Ok(Ok(read)) => Ok((program, read)),
        Ok(Err(_)) | Err(_) => Err(format!("the configuration {config} cannot be read to its end")),
    }
}

/// How the program ends, and what it says on descriptor 2.
async fn say(programs: &Handle, program: &Path, args: &[&str], limit: Duration) -> Result<(Exit, String), String> {
    let name = program.display();
    let path = program.to_str().ok_or_else(|| format!("the name of {name} is no UTF-8"))?;
    let no_pipe = |error| format!("no pipe for {name}: {error}");
    let (speak, listen) = pipe::pipe().map_err(no_pipe)?;
    let speak = speak.into_blocking_fd().map_err(no_pipe)?;
    let argv = [path].into_iter().chain(args.iter().copied()).map(Into::into).collect();
    let groups = nix::unistd::getgroups().map(|groups| groups.iter().map(|group| group.as_raw()).collect()).ok();
    let run = Run {
        command: spec::Command::Exec { path: path.into(), argv },
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
        groups,
    };
    let limits = Limit { after: limit, then: Duration::from_secs(1) };
    let mut ended = programs.once(Job { limit: Some(limits), stderr: Some(speak), ..Job::new(run) });
    let both = async {
        let mut said = Vec::new();
        // To its end, or to the end of what is taken; what comes after that finds nobody.
        let _ = listen.take(SAID_MOST).read_to_end(&mut said).await;
        (ended.ended().await, String::from_utf8_lossy(&said).into_owned())
    };
    // It is told to end a little before: a program that hangs in the kernel does not hear it.
    match timeout(limit + 2 * limits.then, both).await {
        Ok((Some(Notice::Exited(Exit::Signal(libc::SIGTERM | libc::SIGKILL))), _)) | Err(_) => {
            Err(format!("{name} does not answer within {} s", limit.as_secs()))
        }
        Ok((Some(Notice::Exited(exit)), said)) => Ok((exit, said)),
        Ok((Some(Notice::NotRun(error)), _)) => {
            Err(format!("{name} cannot be started: {}", std::io::Error::from_raw_os_error(error)))
        }
        Ok((Some(Notice::Started(_)) | None, _)) => Err("the daemon is stopping".into()),
    }
}

/// The file that this process was started from, also when it has been replaced since (a package upgrade does that).
fn own_file() -> Option<PathBuf> {
    let link = std::fs::read_link("/proc/self/exe").ok()?;
    let text = link.to_string_lossy();
    Some(text.strip_suffix(" (deleted)").map_or_else(|| link.clone(), PathBuf::from))
}

/// What one program of this process leaves to the next.
#[derive(Default, Serialize, Deserialize)]
pub struct Will {
    /// [`handover::VERSION`] of the program that wrote it; 0 before there was one.
    #[serde(default)]
    pub version: u32,
    /// The engine's part; `None` if the engine was lost.
    #[serde(default, alias = "legacy")]
    pub handover: Option<Box<Handover>>,
    /// The balancer's part.
    #[serde(default, deserialize_with = "handover::or_default")]
    pub balance: Option<Box<crate::balance::Handover>>,
    /// Children stay children: a child that nobody waits for becomes a zombie.
    #[serde(default, deserialize_with = "handover::each")]
    pub programs: Vec<LeftBehind>,
    /// What is known of notify programs among them.
    #[serde(default, deserialize_with = "handover::each")]
    pub notifies: Vec<Underway>,
    /// FIFOs stay open, so that their readers do not see an end.
    #[serde(default, deserialize_with = "handover::each")]
    pub fifos: Vec<KeptFifo>,
    /// What happened so far, for `vipctl history`.
    #[serde(default, deserialize_with = "handover::or_default")]
    pub history: BTreeMap<Box<str>, VecDeque<Moment>>,
    /// Sessions and their sockets.
    #[serde(default, deserialize_with = "handover::or_default")]
    pub bfd: Option<Box<bfd::Left>>,
}

/// Becomes `program`. Comes back only if that is impossible.
pub fn go_over(program: &Path, options: &Options, will: &Will) {
    let will = match write(will) {
        Ok(file) => Some(file),
        Err(error) => {
            tracing::error!(target: "parent", "The state cannot be written down: {error}");
            None
        }
    };
    log::flush_between();
    let mut args: Vec<OsString> = Vec::new();
    let mut own = std::env::args_os().skip(1);
    while let Some(arg) = own.next() {
        if arg == RESTORE {
            own.next();
        } else if !arg.to_string_lossy().starts_with("--restore=") {
            args.push(arg);
        }
    }
    // The last of several wins; a relative path would not be found again.
    let config: [OsString; 2] = ["-f".into(), options.config.clone().into_os_string()];
    if !args.ends_with(&config) {
        args.extend(config);
    }
    if let Some(file) = &will {
        args.push(format!("{RESTORE}={}", file.as_raw_fd()).into());
    } else {
        args.push(format!("{RESTORE}=-1").into());
    }
    ignore_signals();
    // What asks to stop waits for the next program: by default it would end it before it could give anything up.
    signals::hold();
    privilege::restore_limits();
    args.insert(0, std::env::args_os().next().unwrap_or_else(|| "vipd".into()));
    let words: Vec<CString> = args.into_iter().filter_map(|word| CString::new(word.into_vec()).ok()).collect();
    for program in [program, Path::new("/proc/self/exe")] {
        let Ok(path) = CString::new(program.as_os_str().to_owned().into_vec()) else { continue };
        // The library's own way would let the signals in.
        let Err(error) = nix::unistd::execv(&path, &words);
        tracing::error!(target: "parent", "Cannot go over to {}: {error}", program.display());
    }
}

/// Until the next program has its handlers, a signal that asks for a dump or a reload must not kill it.
fn ignore_signals() {
    for number in [libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2, libc::SIGRTMIN() + 2, libc::SIGRTMAX() - 1] {
        // SAFETY: SIG_IGN runs no code.
        unsafe { libc::signal(number, libc::SIG_IGN) };
    }
}

fn write(will: &Will) -> std::io::Result<std::fs::File> {
    // Without CLOEXEC: it has to survive exec.
    let mut file = std::fs::File::from(rustix::fs::memfd_create("vipd-will", MemfdFlags::empty())?);
    file.write_all(&serde_json::to_vec(will)?)?;
    file.rewind()?;
    Ok(file)
}

/// What the program before us left, from the descriptor named by `--restore`; empty if there is none.
pub fn inherited(descriptor: i32) -> Will {
    if descriptor <= 2 {
        return Will::default();
    }
    // SAFETY: the descriptor is ours alone: it was opened for us by the program that this process was, which is gone, and
    // this is the only place that takes it. If the number is a lie, reading fails and closing it does no harm here.
    let mut file = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(descriptor) });
    let mut text = Vec::new();
    let read = file.read_to_end(&mut text).map_err(|error| error.to_string());
    let will = read.and_then(|_| serde_json::from_slice(&text).map_err(|error| error.to_string()));
    will.unwrap_or_else(|error| {
        tracing::error!(target: "parent", "What the former program left cannot be read, starting afresh: {error}");
        Will::default()
    })
}

/// Starts over in the same process, at once the first time, then after 1, 2, 4 … 60 s, as keepalived's parent does with
/// its child. Comes back if that is impossible, and with true when it is told to end meanwhile.
pub fn respawn(options: &Options, will: &Will, runtime: &Runtime, stop: &mut StopSignals) -> bool {
    let uptime = || crate::kernel::clock::now().since(started()).as_secs();
    let before: u32 = std::env::var(RESPAWNS).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let before = if uptime() >= LONG_LIFE_SECS { 0 } else { before };
    let delay = if before == 0 { 0 } else { 1u64 << (before - 1).min(6) };
    tracing::error!(target: "parent", "Beginning anew in {} s", delay.min(LONG_LIFE_SECS));
    log::flush_between();
    let told = runtime.block_on(async {
        tokio::select! {
            () = stop.next() => true,
            () = sleep(Duration::from_secs(delay.min(LONG_LIFE_SECS))) => false,
        }
    });
    if told {
        return true;
    }
    // SAFETY: all other threads have been joined or only write logs; nobody reads the environment meanwhile.
    unsafe { std::env::set_var(RESPAWNS, (before + 1).to_string()) };
    if let Some(program) = own_file() {
        go_over(&program, options, will);
    }
    false
}

/// A number that nobody can guess: two servers that start in the same moment draw others.
pub fn unguessable() -> u64 {
    let mut bytes = [0; 8];
    // SAFETY: the kernel writes at most so many bytes to where the pointer points.
    match unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) } {
        8 => u64::from_ne_bytes(bytes),
        _ => crate::kernel::clock::wall().unix_micros ^ (u64::from(std::process::id()) << 40),
    }
}

/// When this program began.
fn started() -> crate::time::Time {
    static STARTED: std::sync::OnceLock<crate::time::Time> = std::sync::OnceLock::new();
    *STARTED.get_or_init(crate::kernel::clock::now)
}

/// Notes when the program began.
pub fn note_start() {
    started();
}
