//! From the command line to a running daemon and back: the order in which things begin and end, and exit codes.
//!
//! What can fail for reasons of the user (configuration, permissions, "already running") comes before the fork, so that
//! whoever started the daemon sees it.

use super::again;
use super::again::Will;
use super::drains::Drains;
use super::fork::{self, Ready, Side};
use super::log;
use super::options::{COMPATIBLE, Options, PidOptions};
use super::pidfile::{self, Paths, PidError, PidFile};
use super::programs::Programs;
use super::reading;
use super::reload;
use super::reload::Marker;
use super::signals::{self, Signals};
use super::trackers;
use super::trackers::Trackers;
use crate::daemon::doors::agentx::Agent;
use crate::daemon::doors::metrics;
use crate::daemon::doors::socket;
use crate::daemon::doors::socket::Server;
use crate::daemon::loops::bfd;
use crate::daemon::loops::services::{self, EXIT_INTERNAL, Services};
use crate::daemon::loops::vrrp::{self, Punctuality};
use crate::kernel::netlink::{Kernel, Order, Settings};
use crate::kernel::trackprocess::ProcessWatch;
use crate::kernel::{namespace, privilege};
use crate::observe::{Fifos, History, Hub, Notifier, mail::Mailer};
use crate::spec::{Daemon, Run, Spec};
use nix::sys::signal::SigSet;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

const EXIT_FATAL: u8 = 1;
const DEFAULT_UMASK: u32 = 0o177;
/// The services thread is started again this often after a panic; a fault that comes back at once is not survived.
const LIVES: u32 = 5;
const QUESTIONS: usize = 64;

/// Runs the daemon (or the configuration test) to its end; the exit code of the process comes back.
pub fn start(options: Options) -> u8 {
    again::note_start();
    if let Some(file) = options.test.clone() {
        signals::release();
        return reading::test(&options, file.as_deref());
    }
    let options = options.from_here();
    if options.foreground {
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
    let code = prepare(Arc::new(options));
    log::flush();
    code
}

/// Up to the fork.
fn prepare(mut options: Arc<Options>) -> u8 {
    if let Ok(directory) = std::env::current_dir() {
        // A daemon in the background works in `/`, and is to find its configuration again at a reload.
        let options = Arc::make_mut(&mut options);
        options.config = directory.join(&options.config);
    }
    tracing::info!(target: "parent", "Configuration file {}", options.config.display());
    let (spec, diagnostics) = reading::read(&options);
    let report = reading::plain(&diagnostics);
    for line in report.lines() {
        tracing::warn!(target: "parent", "{line}");
    }
    let Some(spec) = spec else {
        tracing::error!(target: "parent", "The configuration cannot be used. Exiting");
        return reading::exit_code(&diagnostics);
    };
    let mut spec = reading::within(spec, &options);
    if options.umask.is_none()
        && let Some(umask) = spec.daemon.umask
    {
        set_umask(umask);
    }
    if let Some(name) = &spec.daemon.process_name
        && let Ok(name) = std::ffi::CString::new(&**name)
    {
        let _ = nix::sys::prctl::set_name(&name);
    }
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
        if let (Some(again), _) = reading::read(&options) {
            spec = reading::within(again, &options);
        }
    }
    let paths = Paths::of(&spec.daemon, &options.pids);
    if pidfile::uses_directory(&spec.daemon) {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(pidfile::PID_DIRECTORY);
        if let Err(error) = made {
            tracing::error!(target: "parent", "Unable to make {}: {error}", pidfile::PID_DIRECTORY);
        }
        open_to_all(pidfile::PID_DIRECTORY);
    }
    let main_file = match PidFile::lock(&paths.main) {
        Ok(file) => file,
        Err(PidError::Running) => {
            tracing::info!(target: "parent", "daemon is already running");
            return 0;
        }
        Err(error) => {
            tracing::error!(target: "parent", "{error}");
            return EXIT_FATAL;
        }
    };
    let missing = privilege::missing_capabilities();
    if !missing.is_empty() {
        tracing::error!(target: "parent", "Cannot run without the capabilities {}", missing.join(" "));
        return 4;
    }
    let ready = if options.foreground || options.restore.is_some() {
        Ready::nobody()
    } else {
        match fork::detach() {
            Ok(Side::Starter(code)) => {
                // The lock and the files belong to the daemon.
                std::mem::forget(main_file);
                return code;
            }
            Ok(Side::Daemon(ready)) => {
                signals::hold();
                ready
            }
            Err(error) => {
                tracing::error!(target: "parent", "Unable to become a daemon: {error}");
                return EXIT_FATAL;
            }
        }
    };
    log::start_thread();
    let code = live(&options, spec, &diagnostics, processes, main_file, &paths, ready);
    tracing::info!(target: "parent", "Stopped Keepalived {COMPATIBLE}");
    code
}

/// From the pid files to the last of them.
fn live(
    options: &Arc<Options>,
    spec: Spec,
    diagnostics: &crate::config::report::Diagnostics,
    processes: Option<ProcessWatch>,
    mut main_file: PidFile,
    paths: &Paths,
    ready: Ready,
) -> u8 {
    // Whoever finds the pid file may send a signal: it waits until there are handlers.
    let _ = SigSet::all().thread_block();
    let marker = reload::marker_path(&spec, main_file.path()).map(Marker::set);
    if let Err(error) = main_file.write() {
        tracing::error!(target: "parent", "{error}");
        return EXIT_FATAL;
    }
    let mut others = Vec::new();
    for path in paths.of_children(&spec, options) {
        match PidFile::lock(&path).and_then(|mut file| file.write().map(|()| file)) {
            Ok(file) => others.push(file),
            Err(error) => tracing::warn!(target: "parent", "{}: {error}", path.display()),
        }
    }
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
    if paths.of_children(&spec, options).contains(&paths.vrrp) {
        // There is no other process, but there are scripts that wait for this line.
        tracing::info!(target: "parent", "Starting VRRP child process, pid={}", std::process::id());
    }
    if paths.of_children(&spec, options).contains(&paths.bfd) {
        tracing::info!(target: "parent", "Starting BFD child process, pid={}", std::process::id());
    }
    let core_pattern = super::coredump::arrange(&options.core);
    let shutdown = spec.daemon.shutdown_script.clone();
    if let Some((script, seconds)) = spec.daemon.startup_script.as_ref().filter(|_| options.restore.is_none()) {
        alone(&runtime, "Startup", script, *seconds);
    }
    let code = serve(options, spec, diagnostics, processes, main_file.path().to_owned(), &runtime);
    if let Some((script, seconds)) = &shutdown {
        alone(&runtime, "Shutdown", script, *seconds);
    }
    drop(core_pattern);
    drop(others);
    drop(main_file);
    runtime.shutdown_background();
    code
}

/// Starts the threads and is the services thread until all is over.
fn serve(
    options: &Arc<Options>,
    spec: Spec,
    diagnostics: &crate::config::report::Diagnostics,
    processes: Option<ProcessWatch>,
    pid_file: std::path::PathBuf,
    runtime: &tokio::runtime::Runtime,
) -> u8 {
    let _inside = runtime.enter();
    let signals = match Signals::new(options.ignore_sigint) {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!(target: "parent", "No signal handlers: {error}");
            return EXIT_FATAL;
        }
    };
    let _ = SigSet::all().thread_unblock();
    let settings = Settings { buffers: spec.daemon.netlink, ..Settings::default() };
    let (kernel, reports) = match Kernel::start(settings) {
        Ok(started) => started,
        Err(error) => {
            tracing::error!(target: "parent", "The kernel cannot be spoken to: {error}");
            return EXIT_FATAL;
        }
    };
    let spec = Arc::new(spec);
    let (engine, inbox) = mpsc::unbounded_channel();
    let Will { handover, programs: left, fifos, history, bfd: sessions, version: _ } =
        options.restore.map(again::inherited).unwrap_or_default();
    let (services, told) = mpsc::unbounded_channel();
    let punctuality = Arc::new(Punctuality::default());
    let mut trackers = Trackers::new(processes, engine.clone());
    // The first state and the first advert go by what files and processes say, as keepalived's do.
    let mut readings = trackers.configure(&spec);
    if let Some(sessions) = &sessions {
        readings.extend(trackers::of_sessions(&spec, sessions.handover.levels()));
    }
    let (bfd_told, of_bfd) = mpsc::unbounded_channel();
    let bfd_punctuality = Arc::new(Punctuality::default());
    let started = bfd::start(bfd::Setup {
        spec: spec.clone(),
        services: bfd_told,
        punctuality: bfd_punctuality.clone(),
        left: sessions,
        seed: again::unguessable(),
    });
    let (bfd, bfd_thread) = match started {
        Ok(started) => started,
        Err(error) => {
            tracing::error!(target: "parent", "The bfd thread cannot be started: {error}");
            kernel.order(Order::Stop { release: true });
            kernel.join();
            return EXIT_FATAL;
        }
    };
    let to_vrrp = engine.clone();
    bfd.send(bfd::News::Subscribe(Box::new(move |session, level| {
        if session.for_vrrp {
            let _ = to_vrrp.send(vrrp::News::SessionSays(session.name.clone(), level.up));
        }
    })));
    let socket = options.control.clone().unwrap_or_else(|| {
        let usual = Paths::of(&spec.daemon, &PidOptions::default()).main;
        let own = Some(pid_file.as_path()).filter(|path| *path != usual);
        socket::socket_path(spec.daemon.net_namespace.as_deref(), spec.daemon.instance.as_deref(), own)
    });
    let drains = Drains::of(&socket);
    if handover.is_none() {
        // Before anything is heard or said: a drained server stays behind from its first moment.
        for name in drains.names().filter(|name| spec.instances.iter().any(|i| *i.name == **name)) {
            tracing::info!(target: "vrrp", "({name}) is drained until `vipctl undrain`");
            let _ = engine.send(vrrp::News::Steer(vrrp::Steer::Drain, Some(name.into())));
        }
    }
    let driver = vrrp::start(vrrp::Setup {
        spec: spec.clone(),
        readings,
        orders: kernel.orders(),
        reports,
        inbox,
        services,
        punctuality: punctuality.clone(),
        log_addresses: options.log_addresses,
        handover,
        bfd: bfd.clone(),
    });
    let driver = match driver {
        Ok(driver) => driver,
        Err(error) => {
            tracing::error!(target: "parent", "The engine thread cannot be started: {error}");
            kernel.order(Order::Stop { release: true });
            kernel.join();
            return EXIT_FATAL;
        }
    };
    let (ask, questions) = mpsc::channel(QUESTIONS);
    let server = Server::start(&socket, ask.clone())
        .map_err(|error| {
            tracing::warn!(target: "parent", "No control socket at {}: {error}", socket.display());
        })
        .ok();
    if let Some(address) = options.metrics {
        metrics::start(address, ask.clone());
    }
    // SAFETY: the program before us left these descriptors open for us, and nothing here has opened or taken them.
    let fifos = unsafe { Fifos::inheriting(fifos) };
    let mut programs = Programs::new(engine.clone());
    programs.adopt(&left);
    let history = History::of(history);
    let mut observers: Vec<Box<dyn crate::observe::Observer + Send>> = vec![
        Box::new(crate::observe::log::Log::default()),
        Box::new(Notifier::default()),
        Box::new(fifos),
        Box::new(Mailer::default()),
        Box::new(history.clone()),
    ];
    match Agent::start(engine.clone(), ask, &format!("Keepalived {COMPATIBLE}")) {
        Ok(agent) => observers.push(Box::new(agent)),
        Err(error) => tracing::warn!(target: "parent", "No SNMP: {error}"),
    }
    let mut services = Services::new(services::Setup {
        options: options.clone(),
        hub: Hub::new(observers),
        history,
        programs,
        trackers,
        signals,
        told,
        bfd: bfd.clone(),
        of_bfd,
        bfd_punctuality,
        questions,
        engine: engine.clone(),
        punctuality,
        mistakes: reload::mistakes(diagnostics),
        pid_file,
        drains,
    });
    let code = survive(&mut services, runtime, options.no_respawn);
    if let Some((program, mut will)) = services.will() {
        // Never comes back, unless there is no program to go over to: then this one starts anew.
        again::go_over(&program, options, &mut will);
    }
    // A thread that panics lets go of its channels a little before it has ended.
    let lost = services.has_lost_the_engine();
    if lost && !options.no_respawn {
        let panicked = driver.join().is_err();
        tracing::error!(target: "parent", "The engine thread {}", if panicked { "panicked" } else { "ended" });
        kernel.order(Order::Stop { release: true });
        kernel.join();
        let mut will = Will { bfd: services.sessions_left(), ..services.belongings() };
        again::respawn(options, &mut will);
        return code;
    }
    drop(server);
    drop(services);
    bfd.send(bfd::News::Stop(tokio::sync::oneshot::channel().0));
    let _ = bfd_thread.join();
    drop(engine);
    if (lost || driver.is_finished()) && driver.join().is_err() {
        tracing::error!(target: "parent", "The engine thread panicked");
    }
    // In order this has been done already, and the second time does nothing.
    kernel.order(Order::Stop { release: !options.keep_claims });
    kernel.join();
    code
}

/// Runs the services loop; a panic there is logged and survived a few times, since the engine works without it.
fn survive(services: &mut Services, runtime: &tokio::runtime::Runtime, no_respawn: bool) -> u8 {
    let mut lives = if no_respawn { 0 } else { LIVES };
    loop {
        match catch_unwind(AssertUnwindSafe(|| runtime.block_on(services.run()))) {
            Ok(code) => return code,
            Err(_) if lives > 0 => {
                lives -= 1;
                tracing::error!(target: "parent", "The services thread panicked and goes on");
            }
            Err(_) => {
                tracing::error!(target: "parent", "The services thread panicked: stopping in order");
                let ended = catch_unwind(AssertUnwindSafe(|| {
                    services.stop();
                    runtime.block_on(services.run())
                }));
                let _ = ended;
                return EXIT_INTERNAL;
            }
        }
    }
}

fn alone(runtime: &tokio::runtime::Runtime, what: &str, script: &Run, seconds: u32) {
    tracing::info!(target: "parent", "{what} script: {}", script.line());
    let (nobody, _) = mpsc::unbounded_channel();
    runtime.block_on(async {
        let limit = Duration::from_secs(u64::from(if seconds == 0 { 10 } else { seconds }));
        match Programs::new(nobody).run_alone(script, limit).await {
            Some(exit) => tracing::info!(target: "parent", "{what} script ended: {exit:?}"),
            None => tracing::warn!(target: "parent", "{what} script timed out"),
        }
    });
}

fn enter_namespace(daemon: &Daemon) -> std::io::Result<()> {
    let Some(name) = &daemon.net_namespace else { return Ok(()) };
    namespace::enter(name)?;
    namespace::private_run_directory(name)
}

fn open_to_all(directory: &str) {
    use std::os::unix::fs::PermissionsExt;
    let _ = std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755));
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
