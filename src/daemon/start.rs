//! From the command line to a running daemon and back: the order in which things begin and end, and exit codes.
//!
//! What can fail for reasons of the user (configuration, permissions, "already running") comes before the fork, so that
//! whoever started the daemon sees it.

use super::again;
use super::fork::{self, Ready, Side};
use super::log;
use super::options::{COMPATIBLE, Options};
use super::pidfile::{self, Paths, PidError, PidFile};
use super::reading;
use super::reload::{self, Marker};
use super::serve::{Given, serve};
use super::signals::{self, StopSignals};
use super::usage;
use crate::config::report::{Class, Diagnostics};
use crate::daemon::loops::programs::{self, Alone};
use crate::kernel::aside;
use crate::kernel::programs::Programs;
use crate::kernel::trackprocess::ProcessWatch;
use crate::kernel::{memory, namespace, privilege, threads};
use crate::spec::{Daemon, Run, Spec};
use std::collections::BTreeSet;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const EXIT_FATAL: u8 = 1;
const DEFAULT_UMASK: u32 = 0o177;
/// What the loops, the doors and the kernel's sockets take, with one instance and a program that is being started; sixty
/// instances that share their socket take no more. With less it would start over for ever. What grows with the configuration
/// is [`usage::wanted_descriptors`]: without it there is no end, but there are instances in FAULT.
const DESCRIPTORS: usize = 48;
/// How long reading the configuration may go on after SIGTERM, and how often it is looked whether that has come.
const READING_ENDS: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(50);

/// Runs the daemon (or the configuration test) to its end; the exit code of the process comes back.
pub fn start(options: Options) -> u8 {
    memory::take_much_at_once();
    again::note_start();
    if let Some(file) = options.test.clone() {
        signals::release();
        return reading::test(&options, file.as_deref());
    }
    signals::ignore_the_rest();
    let options = options.from_here();
    if let Err(error) = privilege::raise_descriptors() {
        tracing::warn!(target: "parent", "Unable to set the number of file descriptors: {error}");
    }
    // Also for another program of a daemon in the background: what waited for it is not to end it.
    if options.foreground || options.restore.is_some() {
        signals::hold();
        if options.end_at_once {
            signals::ask_to_stop();
        }
    } else {
        signals::release();
    }
    set_umask(options.umask.unwrap_or(DEFAULT_UMASK));
    log::open(&options.log);
    tracing::info!(
        target: "parent",
        "Starting Keepalived {COMPATIBLE}, as {} {}",
        env!("CARGO_PKG_NAME"),
        env!("CARGO_PKG_VERSION")
    );
    tracing::info!(target: "parent", "Command line:{}", command_line());
    let before = usage::open_descriptors().unwrap_or_default();
    if let Err(error) = privilege::room_for(DESCRIPTORS)
        // The program before this one lived with what there is, and what it owned is on this server: nobody else gives that up.
        && options.restore.is_none()
    {
        let (may, needs) = (privilege::descriptors(), before + DESCRIPTORS);
        tracing::error!(
            target: "parent",
            "Cannot run with {may} file descriptors, {needs} are needed (ulimit -n): {error}. Exiting"
        );
        log::flush();
        return EXIT_FATAL;
    }
    let code = prepare(Arc::new(options));
    log::flush();
    code
}

/// What the configuration came to at the start.
struct Beginning {
    spec: Spec,
    mistakes: BTreeSet<(Class, String)>,
    /// Set where the daemon only gives up what the program before it left: the code that it then ends with.
    gives_up: Option<u8>,
}

impl Beginning {
    /// Reads the configuration and says what is wrong with it.
    ///
    /// # Errors
    /// The exit code, where there is nothing to begin with and nothing to give up.
    fn read(options: &Arc<Options>) -> Result<Beginning, u8> {
        let (spec, diagnostics, unread) = match read(options) {
            Some((spec, diagnostics)) => (spec, diagnostics, false),
            None => {
                tracing::warn!(target: "parent", "Told to stop while the configuration cannot be read to its end. Exiting");
                if options.restore.is_none() {
                    return Err(0);
                }
                (None, Diagnostics::default(), true)
            }
        };
        let report = reading::plain(&diagnostics);
        for line in report.lines() {
            tracing::warn!(target: "parent", "{line}");
        }
        // What the program before us left has to be given up: the addresses are here, and the others will have them too.
        let (spec, gives_up) = match spec {
            Some(spec) => (spec, None),
            None if unread => (Spec::default(), Some(0)),
            None => {
                tracing::error!(target: "parent", "The configuration cannot be used. Exiting");
                let code = reading::exit_code(&diagnostics);
                if options.restore.is_none() {
                    return Err(code);
                }
                signals::ask_to_stop();
                (Spec::default(), Some(code))
            }
        };
        // The text of all files ends here, with the diagnostics.
        Ok(Beginning { spec, mistakes: reload::mistakes(&diagnostics), gives_up })
    }
}

/// Up to the fork.
fn prepare(mut options: Arc<Options>) -> u8 {
    if let Ok(directory) = std::env::current_dir() {
        // A daemon in the background works in `/`, and is to find its configuration again at a reload.
        let options = Arc::make_mut(&mut options);
        options.config = directory.join(&options.config);
    }
    tracing::info!(target: "parent", "Configuration file {}", options.config.display());
    let Beginning { spec, mistakes, gives_up } = match Beginning::read(&options) {
        Ok(beginning) => beginning,
        Err(code) => return code,
    };
    let mut spec = reading::within(spec, &options);
    if options.umask.is_none()
        && let Some(umask) = spec.daemon.umask
    {
        set_umask(umask);
    }
    threads::named(spec.daemon.process_name.as_deref());
    if spec.daemon.instance.is_some() || spec.daemon.net_namespace.is_some() {
        log::rename(&suffix(&spec.daemon));
    }
    // Asked for before the namespace is entered: the kernel tells about processes only in the first.
    let processes = (!spec.processes.is_empty() && spec.daemon.net_namespace.is_some())
        .then(|| ProcessWatch::open(&spec.daemon.netlink));
    // Another program of this process has been through this already.
    if options.restore.is_none()
        && let Err(error) = enter_namespace(&spec.daemon)
    {
        tracing::error!(target: "parent", "Unable to set network namespace: {error} - exiting");
        return EXIT_FATAL;
    }
    if spec.daemon.net_namespace.is_some() {
        // Interfaces are others here.
        if let Some((Some(again), _)) = read(&options) {
            spec = reading::within(again, &options);
        }
    }
    warn_of_descriptors(&spec);
    let paths = Paths::of(&spec.daemon, &options.pids);
    if pidfile::uses_directory(&spec.daemon) {
        make_pid_directory();
    }
    let mut main_file = match PidFile::lock(&paths.main) {
        Ok(file) => Some(file),
        Err(PidError::Running) => {
            tracing::info!(target: "parent", "daemon is already running");
            return 0;
        }
        Err(error) => {
            without_pid_file(&error);
            None
        }
    };
    let missing = privilege::missing_capabilities();
    if !missing.is_empty() {
        tracing::error!(target: "parent", "Cannot run without the capabilities {}", missing.join(" "));
        return 4;
    }
    let ready = match leave_the_starter(&options, &mut main_file) {
        Ok(ready) => ready,
        Err(code) => return code,
    };
    log::start_thread();
    let code = live(&options, spec, mistakes, processes, main_file, &paths, ready);
    tracing::info!(target: "parent", "Stopped Keepalived {COMPATIBLE}");
    gives_up.unwrap_or(code)
}

/// Goes to the background, unless it is to stay in the foreground or has been there already.
///
/// # Errors
/// The exit code of the starter, which ends here, and of a daemon that cannot become one.
fn leave_the_starter(options: &Options, main_file: &mut Option<PidFile>) -> Result<Ready, u8> {
    if options.foreground || options.restore.is_some() {
        return Ok(Ready::nobody());
    }
    match fork::detach() {
        Ok(Side::Starter(code)) => {
            // The lock, the files and what is still to be logged belong to the daemon.
            std::mem::forget(main_file.take());
            log::leave_to_the_daemon();
            Err(code)
        }
        Ok(Side::Daemon(ready)) => {
            signals::hold();
            Ok(ready)
        }
        Err(error) => {
            tracing::error!(target: "parent", "Unable to become a daemon: {error}");
            Err(EXIT_FATAL)
        }
    }
}

/// The limit has been raised as far as it may be. Too few are no reason not to begin: not all are needed at once.
fn warn_of_descriptors(spec: &Spec) {
    let (may, needs) = (privilege::descriptors(), (DESCRIPTORS + usage::wanted_descriptors(spec)) as u64);
    if may < needs {
        tracing::warn!(
            target: "parent",
            "{may} file descriptors are allowed and {needs} may be needed: instances without a socket are in FAULT (ulimit -n)"
        );
    }
}

/// From the pid files to the last of them.
fn live(
    options: &Arc<Options>,
    spec: Spec,
    mistakes: BTreeSet<(Class, String)>,
    processes: Option<ProcessWatch>,
    mut main_file: Option<PidFile>,
    paths: &Paths,
    ready: Ready,
) -> u8 {
    // Whoever finds the pid file may send a signal: it waits until there are handlers.
    threads::without_signals();
    let marker = reload::marker_path(&spec, &paths.main).map(Marker::set);
    // It stays locked, and tells others that there is a daemon, even where there is no room for a number.
    if let Some(Err(error)) = main_file.as_mut().map(PidFile::write) {
        without_pid_file(&error);
    }
    let children = paths.of_children(&spec, options);
    let others = files_of_children(paths, &children);
    drop(marker);
    ready.tell(0);
    for (what, error) in privilege::process(&spec.daemon) {
        tracing::warn!(target: "parent", "Unable to set {what}: {error}");
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(target: "parent", "No runtime: {error}");
            return EXIT_FATAL;
        }
    };
    tell_of_children(paths, &children);
    let (mut stop, mut programs) = match listen(&runtime, options) {
        Ok(listening) => listening,
        Err(error) => {
            tracing::error!(target: "parent", "No signal handlers: {error}");
            return EXIT_FATAL;
        }
    };
    stop.let_in();
    let core_pattern = super::coredump::arrange(&options.core);
    let shutdown = spec.daemon.shutdown_script.clone();
    let mut ends = false;
    if let Some((script, seconds)) = spec.daemon.startup_script.as_ref().filter(|_| options.restore.is_none()) {
        // A daemon that is told to stop meanwhile begins all the same, and ends at once: only so does it take off what an
        // earlier run left behind.
        if alone(&runtime, &mut programs, Some(&mut stop), "Startup", script, *seconds) == Alone::Stop {
            signals::hold();
            signals::ask_to_stop();
            ends = true;
        }
    }
    let given = Given { options, spec, mistakes, processes, pid_file: paths.main.clone(), ends };
    let code = serve(given, &runtime, &mut programs, &mut stop);
    if let Some((script, seconds)) = &shutdown {
        alone(&runtime, &mut programs, None, "Shutdown", script, *seconds);
    }
    drop(core_pattern);
    drop(others);
    drop(main_file);
    runtime.shutdown_background();
    code
}

/// The pid files that keepalived's children have, held for as long as they are kept.
fn files_of_children(paths: &Paths, children: &[PathBuf]) -> Vec<PidFile> {
    let mut files = Vec::new();
    pidfile::remove_stale(paths, children);
    for path in children {
        match PidFile::lock(path).and_then(|mut file| file.write().map(|()| file)) {
            Ok(file) => files.push(file),
            Err(PidError::Running) => {
                tracing::warn!(target: "parent", "pid file {}: another daemon holds it", path.display())
            }
            Err(error) => without_pid_file(&error),
        }
    }
    files
}

/// There is no other process, but there are scripts that wait for these lines.
fn tell_of_children(paths: &Paths, children: &[PathBuf]) {
    let pid = std::process::id();
    if children.contains(&paths.vrrp) {
        tracing::info!(target: "parent", "Starting VRRP child process, pid={pid}");
    }
    if children.contains(&paths.bfd) {
        tracing::info!(target: "parent", "Starting BFD child process, pid={pid}");
    }
    if children.contains(&paths.checkers) {
        tracing::info!(target: "parent", "Starting Healthcheck child process, pid={pid}");
    }
}

/// From here on signals are heard and programs can be started.
fn listen(runtime: &Runtime, options: &Options) -> std::io::Result<(StopSignals, Programs)> {
    let _inside = runtime.enter();
    let stop = StopSignals::new(options.ignore_sigint)?;
    let mut programs = Programs::new()?;
    programs.reap_all()?;
    Ok((stop, programs))
}

fn alone(
    runtime: &Runtime,
    programs: &mut Programs,
    stop: Option<&mut StopSignals>,
    what: &str,
    script: &Run,
    seconds: u32,
) -> Alone {
    tracing::info!(target: "parent", "{what} script: {}", script.program());
    let limit = Duration::from_secs(u64::from(if seconds == 0 { 10 } else { seconds }));
    let ended = programs::alone(runtime, programs, stop, script, limit);
    match ended {
        Alone::Ended(notice) => tracing::info!(target: "parent", "{what} script ended: {notice:?}"),
        Alone::TimedOut => tracing::warn!(target: "parent", "{what} script timed out"),
        Alone::Stop => tracing::info!(target: "parent", "{what} script is left: told to stop"),
    }
    ended
}

/// Reads the configuration; `None` when the daemon is told to stop while it cannot be read to its end.
fn read(options: &Arc<Options>) -> Option<(Option<Spec>, Diagnostics)> {
    if !options.foreground && options.restore.is_none() {
        // Signals have their usual effect, and there is to be one thread before the fork.
        return Some(reading::read(options));
    }
    let (answer, answered) = std::sync::mpsc::sync_channel(1);
    let of = options.clone();
    let begun = aside::aside(format!("the configuration {}", options.config.display()), move || {
        let _ = answer.send(reading::read_telling(&of));
    });
    if begun.is_err() {
        return Some(reading::read(options));
    }
    let mut asked = None;
    loop {
        match answered.recv_timeout(LOOK) {
            Ok(read) => return Some(read),
            // It panicked, which here is as good a reason as any not to begin.
            Err(RecvTimeoutError::Disconnected) => return Some(reading::read(options)),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if signals::is_asked_to_stop(options.ignore_sigint) {
            let since: &mut Instant = asked.get_or_insert_with(Instant::now);
            if since.elapsed() >= READING_ENDS {
                return None;
            }
        }
    }
}

fn without_pid_file(error: &PidError) {
    tracing::warn!(target: "parent", "{error}; going on without it");
}

fn enter_namespace(daemon: &Daemon) -> std::io::Result<()> {
    let Some(name) = &daemon.net_namespace else { return Ok(()) };
    namespace::enter(name)?;
    namespace::private_run_directory(name)
}

/// Makes the directory of pid files, open to all whatever the umask is.
fn make_pid_directory() {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(pidfile::PID_DIRECTORY);
    if let Err(error) = made {
        tracing::error!(target: "parent", "Unable to make {}: {error}", pidfile::PID_DIRECTORY);
    }
    let _ = std::fs::set_permissions(pidfile::PID_DIRECTORY, std::fs::Permissions::from_mode(0o755));
}

fn set_umask(mask: u32) {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(mask));
}

/// What is added to the name in log lines: `_NAMESPACE_INSTANCE`.
fn suffix(daemon: &Daemon) -> String {
    [&daemon.net_namespace, &daemon.instance].into_iter().flatten().map(|name| format!("_{name}")).collect()
}

fn command_line() -> String {
    std::env::args_os().map(|arg| format!(" '{}'", arg.to_string_lossy())).collect()
}
