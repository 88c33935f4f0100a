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
use super::reading;
use super::reload;
use super::reload::Marker;
use super::signals::{self, Signals, StopSignals};
use super::trackers::{self, Trackers};
use crate::balance::io as balance;
use crate::config::report::Diagnostics;
#[cfg(feature = "snmp")]
use crate::daemon::doors::agentx::Agent;
#[cfg(feature = "dbus")]
use crate::daemon::doors::dbus::Teller;
use crate::daemon::doors::metrics;
use crate::daemon::doors::socket;
use crate::daemon::doors::socket::Server;
use crate::daemon::loops::bfd;
use crate::daemon::loops::checker;
use crate::daemon::loops::programs::{self, Alone, End};
use crate::daemon::loops::services::{self, EXIT_INTERNAL, Services};
use crate::daemon::loops::vrrp::{self, News, Punctuality};
use crate::kernel::aside::{self, Writer};
use crate::kernel::netlink::{Kernel, Settings, ToKernel};
use crate::kernel::programs::{Programs, Room};
use crate::kernel::threads;
use crate::kernel::trackprocess::ProcessWatch;
use crate::kernel::{clock, memory, namespace, privilege};
use crate::observe::{Fifos, History, Hub, Notifier, Tally, mail::Mailer};
use crate::spec::{Daemon, Run, Spec};
use nix::sys::signal::SigSet;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

const EXIT_FATAL: u8 = 1;
const DEFAULT_UMASK: u32 = 0o177;
const QUESTIONS: usize = 64;
/// What the loops, the doors and the kernel's sockets take, with one instance and a program that is being started. With less
/// it would begin anew for ever; what else it needs grows with the configuration.
const DESCRIPTORS: usize = 48;
/// How long reading the configuration may go on after SIGTERM, and how often it is looked whether that has come.
const READING_ENDS: Duration = Duration::from_secs(3);
/// How long the checker thread may take to end once it has been told to.
const CHECKER_ENDS: Duration = Duration::from_secs(6);
const LOOK: Duration = Duration::from_millis(50);
/// How long the end waits for files that are being written.
const LAST_FILES: Duration = Duration::from_secs(1);

/// Runs the daemon (or the configuration test) to its end; the exit code of the process comes back.
pub fn start(options: Options) -> u8 {
    memory::take_much_at_once();
    again::note_start();
    if let Some(file) = options.test.clone() {
        signals::release();
        return reading::test(&options, file.as_deref());
    }
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
    let before = super::usage::open_descriptors().unwrap_or_default();
    if let Err(error) = privilege::room_for(DESCRIPTORS) {
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

/// Up to the fork.
fn prepare(mut options: Arc<Options>) -> u8 {
    if let Ok(directory) = std::env::current_dir() {
        // A daemon in the background works in `/`, and is to find its configuration again at a reload.
        let options = Arc::make_mut(&mut options);
        options.config = directory.join(&options.config);
    }
    tracing::info!(target: "parent", "Configuration file {}", options.config.display());
    let Some((spec, diagnostics)) = read(&options) else {
        tracing::warn!(target: "parent", "Told to stop while the configuration cannot be read to its end. Exiting");
        return 0;
    };
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
    let paths = Paths::of(&spec.daemon, &options.pids);
    if pidfile::uses_directory(&spec.daemon) {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(pidfile::PID_DIRECTORY);
        if let Err(error) = made {
            tracing::error!(target: "parent", "Unable to make {}: {error}", pidfile::PID_DIRECTORY);
        }
        open_to_all(pidfile::PID_DIRECTORY);
    }
    let main_file = match PidFile::lock(&paths.main) {
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
    diagnostics: &Diagnostics,
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
    let mut others = Vec::new();
    pidfile::remove_stale(paths, &paths.of_children(&spec, options));
    for path in paths.of_children(&spec, options) {
        match PidFile::lock(&path).and_then(|mut file| file.write().map(|()| file)) {
            Ok(file) => others.push(file),
            Err(PidError::Running) => {
                tracing::warn!(target: "parent", "pid file {}: another daemon holds it", path.display())
            }
            Err(error) => without_pid_file(&error),
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
    if paths.of_children(&spec, options).contains(&paths.checkers) {
        tracing::info!(target: "parent", "Starting Healthcheck child process, pid={}", std::process::id());
    }
    let parts = {
        let _inside = runtime.enter();
        StopSignals::new(options.ignore_sigint).and_then(|stop| Ok((stop, Programs::new()?)))
    };
    let (mut stop, mut programs) = match parts {
        Ok(parts) => parts,
        Err(error) => {
            tracing::error!(target: "parent", "No signal handlers: {error}");
            return EXIT_FATAL;
        }
    };
    programs.reap_all();
    stop.let_in();
    let core_pattern = super::coredump::arrange(&options.core);
    let shutdown = spec.daemon.shutdown_script.clone();
    if let Some((script, seconds)) = spec.daemon.startup_script.as_ref().filter(|_| options.restore.is_none()) {
        // Whoever is told to stop meanwhile begins all the same, and ends at once: only so does it take off what an
        // earlier run left behind.
        if alone(&runtime, &mut programs, Some(&mut stop), "Startup", script, *seconds) == Alone::Stop {
            signals::hold();
            signals::ask_to_stop();
        }
    }
    let code = serve(options, spec, diagnostics, processes, paths.main.clone(), &runtime, &mut programs, &mut stop);
    if let Some((script, seconds)) = &shutdown {
        alone(&runtime, &mut programs, None, "Shutdown", script, *seconds);
    }
    drop(core_pattern);
    drop(others);
    drop(main_file);
    runtime.shutdown_background();
    code
}

/// Starts the threads and is the programs thread until all is over.
#[allow(clippy::too_many_arguments)]
fn serve(
    options: &Arc<Options>,
    spec: Spec,
    diagnostics: &Diagnostics,
    processes: Option<ProcessWatch>,
    pid_file: std::path::PathBuf,
    runtime: &Runtime,
    programs: &mut Programs,
    stop: &mut StopSignals,
) -> u8 {
    let fatal = |what: &str, error: &std::io::Error| {
        tracing::error!(target: "parent", "{what}: {error}");
        EXIT_FATAL
    };
    let beside = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(beside) => beside,
        Err(error) => return fatal("No runtime", &error),
    };
    let inside = beside.enter();
    let signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return fatal("No signal handlers", &error),
    };
    // Threads that are started from here on leave all signals to this one.
    threads::without_signals();
    let writer = match Writer::start() {
        Ok(writer) => writer,
        Err(error) => return fatal("The thread that writes files cannot be started", &error),
    };
    let sysctl_record = Some(record_path(&pid_file, "sysctl"));
    let settings = Settings { buffers: spec.daemon.netlink, sysctl_record, ..Settings::default() };
    let (kernel, reports) = match Kernel::start(settings) {
        Ok(started) => started,
        Err(error) => return fatal("The kernel cannot be spoken to", &std::io::Error::other(error)),
    };
    let give_up = |kernel: Kernel, what: &str, error: &std::io::Error| {
        let code = fatal(what, error);
        kernel.order(ToKernel::Stop { release: true });
        kernel.join();
        code
    };
    let spec = Arc::new(spec);
    let (engine, inbox) = mpsc::unbounded_channel();
    let Will { handover, balance: checks, programs: left, fifos, history, bfd: sessions, version: _ } =
        options.restore.map(again::inherited).unwrap_or_default();
    {
        let _inside = runtime.enter();
        programs.adopt(&left);
    }
    let (services, told) = mpsc::unbounded_channel();
    let punctuality = Arc::new(Punctuality::default());
    let (checker, of_door) = checker::door();
    let trackers = Trackers::new(processes, engine.clone(), checker.clone());
    // The first state and the first advert go by what files and processes say, as keepalived's do.
    let mut readings = beside.block_on(trackers.configure(spec.clone()));
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
        Err(error) => return give_up(kernel, "The bfd thread cannot be started", &error),
    };
    subscribe(&bfd, &engine, &checker);
    let socket = control_socket(options, &spec, &pid_file);
    let drains = Drains::of(&socket);
    if handover.is_none() {
        drain(&drains, &spec, &engine);
    }
    let (checker_told, of_checker) = mpsc::unbounded_channel();
    let checking = checker::start(
        checker::Setup {
            spec: spec.clone(),
            services: checker_told,
            programs: programs.handle(),
            world: balance::Beginning { trackers: trackers::of_files(&spec, &readings), ..Default::default() },
            left: checks,
            wishes: Vec::new(),
            record: record_path(&pid_file, "ipvs"),
            seed: clock::wall().unix_micros,
        },
        of_door,
    );
    let checking = match checking {
        Ok(thread) => thread,
        Err(error) => return give_up(kernel, "The checker thread cannot be started", &error),
    };
    let scripts = engine.clone();
    let driver = vrrp::start(vrrp::Setup {
        spec: spec.clone(),
        readings,
        orders: kernel.orders(),
        reports,
        inbox,
        services,
        programs: programs.handle().client(Room::BY_CONFIGURATION, move |attempt, notice| {
            let _ = scripts.send(News::Program(attempt, notice));
        }),
        punctuality: punctuality.clone(),
        log_addresses: options.log_addresses,
        checker: checker.clone(),
        handover,
        bfd: bfd.clone(),
    });
    let driver = match driver {
        Ok(driver) => driver,
        Err(error) => return give_up(kernel, "The engine thread cannot be started", &error),
    };
    let (ask, questions) = mpsc::channel(QUESTIONS);
    let server = Server::start(&socket, ask.clone())
        .map_err(|error| {
            tracing::warn!(target: "parent", "No control socket at {}: {error}", socket.display());
        })
        .ok();
    if let Some(place) = &options.metrics {
        metrics::start(place, options.metrics_names, ask.clone());
    }
    // SAFETY: the program before us left these descriptors open for us, and nothing here has opened or taken them.
    let fifos = unsafe { Fifos::inheriting(fifos) };
    let tally = Tally::default();
    let history = History::of(history);
    let mut observers: Vec<Box<dyn crate::observe::Observer + Send>> = vec![
        Box::new(crate::observe::log::Log::default()),
        Box::new(Notifier),
        Box::new(fifos),
        Box::new(Mailer::default()),
        Box::new(history.clone()),
        Box::new(tally.clone()),
    ];
    observers.extend(doors(&engine, &checker, ask));
    let (tell_stop, told_stop) = mpsc::unbounded_channel();
    let stopping = Arc::new(AtomicBool::new(false));
    let services = Services::new(services::Setup {
        options: options.clone(),
        hub: Hub::new(observers),
        history,
        tally,
        programs: programs.handle(),
        trackers,
        writer: writer.clone(),
        signals,
        stop: told_stop,
        stopping: stopping.clone(),
        told,
        bfd: bfd.clone(),
        of_bfd,
        bfd_punctuality,
        questions,
        engine: engine.clone(),
        checker: checker.clone(),
        of_checker,
        punctuality,
        mistakes: reload::mistakes(diagnostics),
        pid_file,
        drains,
    });
    drop(inside);
    let (tell_end, ended) = oneshot::channel();
    let no_respawn = options.no_respawn;
    let thread = std::thread::Builder::new().name("services".into()).spawn(move || {
        threads::without_signals();
        let mut services = services;
        let code = survive(&mut services, &beside, no_respawn);
        let _ = tell_end.send(());
        (code, services, beside)
    });
    let thread = match thread {
        Ok(thread) => thread,
        Err(error) => return give_up(kernel, "The services thread cannot be started", &error),
    };
    let setup = programs::Setup {
        engine: engine.clone(),
        bfd: bfd.clone(),
        checker: checker.clone(),
        stop: tell_stop,
        stopping,
        ended,
        release: !options.keep_claims,
    };
    let _ = SigSet::all().thread_unblock();
    let end = programs::run(runtime, programs, stop, setup, || driver.is_finished());
    let parts = Parts { kernel, engine, checker, checking, bfd, bfd_thread, driver, server, writer, services: thread };
    wind_up(parts, end, options, runtime, programs, stop)
}

/// A session's level goes straight from the bfd thread to those whom it concerns.
fn subscribe(bfd: &bfd::Door, engine: &mpsc::UnboundedSender<News>, checker: &checker::Door) {
    let (to_vrrp, to_checker) = (engine.clone(), checker.clone());
    bfd.send(bfd::News::Subscribe(Box::new(move |session, level| {
        if session.for_vrrp {
            let _ = to_vrrp.send(vrrp::News::SessionSays(session.name.clone(), level.up));
        }
        if session.for_checkers {
            let (tracker, value) = (balance::Tracker::Bfd(session.name.clone()), balance::TrackValue::Up(level.up));
            to_checker.send(checker::News::Fact(balance::Input::Tracked { tracker, value }));
        }
    })));
}

/// Where the control socket is: as the command line says, else by the names of the instance and of the pid file.
fn control_socket(options: &Options, spec: &Spec, pid_file: &std::path::Path) -> std::path::PathBuf {
    options.control.clone().unwrap_or_else(|| {
        let usual = Paths::of(&spec.daemon, &PidOptions::default()).main;
        let own = Some(pid_file).filter(|path| *path != usual);
        socket::socket_path(spec.daemon.net_namespace.as_deref(), spec.daemon.instance.as_deref(), own)
    })
}

/// Instances that an operator has drained stay behind from their first moment, before anything is heard or said.
fn drain(drains: &Drains, spec: &Spec, engine: &mpsc::UnboundedSender<News>) {
    for name in drains.names().filter(|name| spec.instances.iter().any(|i| *i.name == **name)) {
        tracing::info!(target: "vrrp", "({name}) is drained until `vipctl undrain`");
        let _ = engine.send(vrrp::News::Steer(vrrp::Steer::Drain, Some(name.into())));
    }
}

/// The threads, and the ways to them, when all of them run.
struct Parts {
    kernel: Kernel,
    engine: mpsc::UnboundedSender<News>,
    checker: checker::Door,
    checking: std::thread::JoinHandle<()>,
    bfd: bfd::Door,
    bfd_thread: std::thread::JoinHandle<()>,
    driver: std::thread::JoinHandle<()>,
    server: Option<Server>,
    writer: Writer,
    services: std::thread::JoinHandle<(u8, Services, Runtime)>,
}

/// Ends what still runs: in order, to leave all to the next program, or to begin once more after the engine was lost.
fn wind_up(
    parts: Parts,
    end: End,
    options: &Arc<Options>,
    runtime: &Runtime,
    programs: &mut Programs,
    stop: &mut StopSignals,
) -> u8 {
    let Parts { kernel, engine, checker, checking, bfd, bfd_thread, driver, server, writer, services } = parts;
    let outcome = (end == End::Services).then(|| services.join());
    let Some(Ok((code, mut services, beside))) = outcome else {
        stop_checking(&checker, options.keep_table, &checking);
        // Stuck, or a panic beyond the last that was survived: what can be given up is given up without it.
        kernel.order(ToKernel::Stop { release: !options.keep_claims });
        kernel.join();
        drop(server);
        return if end == End::WithoutServices { 0 } else { EXIT_INTERNAL };
    };
    if let Some((program, will)) = services.will() {
        let will = Will { programs: programs.left_behind(), ..will };
        signals::hold();
        if runtime.block_on(stop.heard()) {
            // The next program is to give up what this one owns.
            signals::ask_to_stop();
        }
        // Never comes back, unless there is no program to go over to: then this one starts over.
        again::go_over(&program, options, &will);
    }
    // A thread that panics lets go of its channels a little before it has ended.
    let lost = services.has_lost_the_engine();
    if lost && !options.no_respawn {
        let panicked = driver.join().is_err();
        tracing::error!(target: "parent", "The engine thread {}", if panicked { "panicked" } else { "ended" });
        kernel.order(ToKernel::Stop { release: true });
        kernel.join();
        let bfd = services.sessions_left();
        let balance = services.checks_left();
        let will = Will { programs: programs.left_behind(), bfd, ..services.belongings(balance) };
        return if again::respawn(options, &will, runtime, stop) { 0 } else { code };
    }
    writer.flush(LAST_FILES);
    drop(server);
    {
        let _inside = beside.enter();
        drop(services);
    }
    beside.shutdown_background();
    bfd.send(bfd::News::Stop(oneshot::channel().0));
    let _ = bfd_thread.join();
    drop(engine);
    if (lost || driver.is_finished()) && driver.join().is_err() {
        tracing::error!(target: "parent", "The engine thread panicked");
    }
    // In order this has been done already, and the second time does nothing.
    stop_checking(&checker, options.keep_table, &checking);
    kernel.order(ToKernel::Stop { release: !options.keep_claims });
    kernel.join();
    code
}

/// The doors that watch what happens, as far as they are built in.
#[cfg_attr(
    not(all(feature = "snmp", feature = "dbus")),
    allow(unused_mut, unused_variables, clippy::needless_pass_by_value)
)]
fn doors(
    engine: &mpsc::UnboundedSender<News>,
    checker: &checker::Door,
    ask: mpsc::Sender<socket::Question>,
) -> Vec<Box<dyn crate::observe::Observer + Send>> {
    let mut doors: Vec<Box<dyn crate::observe::Observer + Send>> = Vec::new();
    #[cfg(feature = "snmp")]
    doors.push(Box::new(Agent::new(engine.clone(), checker.clone(), ask.clone(), &format!("Keepalived {COMPATIBLE}"))));
    #[cfg(feature = "dbus")]
    doors.push(Box::new(Teller::new(ask)));
    doors
}

/// Where a record for the process after this one is kept, of what it finds in the kernel: named after the pid file, so that
/// two daemons of a machine have one each.
fn record_path(pid_file: &std::path::Path, of: &str) -> std::path::PathBuf {
    let mut name = pid_file.file_stem().unwrap_or_default().to_owned();
    name.push(".");
    name.push(of);
    std::path::Path::new("/run/vipd").join(name)
}

/// The kernel's table is emptied, or left as it is with `keep`; no more than that is waited for.
fn stop_checking(checker: &checker::Door, keep: bool, thread: &std::thread::JoinHandle<()>) {
    let (answer, _) = oneshot::channel();
    checker.send(checker::News::Stop { keep, answer });
    let begun = Instant::now();
    while !thread.is_finished() && begun.elapsed() < CHECKER_ENDS {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Runs the services loop; a panic there is logged and survived a few times, since the engine works without it.
fn survive(services: &mut Services, runtime: &Runtime, no_respawn: bool) -> u8 {
    let mut lives = if no_respawn { 0 } else { threads::LIVES };
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
        let _ = answer.send(reading::read(&of));
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
