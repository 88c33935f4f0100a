//! The daemon's threads: which there are, what each is given, and how they are joined with one another.
//!
//! The order is that of what they need: the kernel thread before the engines that ask it, all of them before the services thread
//! that tells of them. What cannot be started gives up what has been. How all ends is [`super::wind_up`]'s.

use super::again::{self, Will};
use super::drains::Drains;
use super::options::{Options, PidOptions};
use super::pidfile::Paths;
use super::signals::{Signals, StopSignals};
use super::trackers::{self, Trackers};
use super::wind_up::{Parts, wind_up};
use crate::balance::io as balance;
use crate::config::report::Class;
#[cfg(feature = "snmp")]
use crate::daemon::doors::agentx::Agent;
#[cfg(feature = "dbus")]
use crate::daemon::doors::dbus::Teller;
use crate::daemon::doors::metrics;
use crate::daemon::doors::socket::{self, Server};
use crate::daemon::loops::bfd;
use crate::daemon::loops::checker;
use crate::daemon::loops::programs;
use crate::daemon::loops::services::{self, EXIT_INTERNAL, Services};
use crate::daemon::loops::vrrp::{self, Punctuality, ToEngine};
use crate::kernel::aside::Writer;
use crate::kernel::netlink::{FromKernel, Kernel, Settings, ToKernel};
use crate::kernel::programs::{Handle, Programs, Room};
use crate::kernel::trackprocess::ProcessWatch;
use crate::kernel::{clock, threads};
use crate::observe::{Fifos, History, Hub, Notifier, Observer, Tally, mail::Mailer};
use crate::spec::Spec;
use nix::sys::signal::SigSet;
use std::collections::BTreeSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

const EXIT_FATAL: u8 = 1;
const QUESTIONS: usize = 64;

/// What the start has made ready.
pub(super) struct Given<'a> {
    pub(super) options: &'a Arc<Options>,
    pub(super) spec: Spec,
    /// Of the configuration that it starts with.
    pub(super) mistakes: BTreeSet<(Class, String)>,
    /// Opened before the network namespace was entered, if there is one.
    pub(super) processes: Option<ProcessWatch>,
    pub(super) pid_file: PathBuf,
    /// It has been told to end already, and begins only to take off what an earlier run left: it becomes nothing and says nothing of it.
    pub(super) ends: bool,
}

/// What could not be started, and why.
type Failure = (&'static str, io::Error);

/// What every thread stands on.
struct Base {
    /// The services thread's.
    beside: Runtime,
    signals: Signals,
    writer: Writer,
    kernel: Kernel,
    reports: mpsc::UnboundedReceiver<FromKernel>,
}

/// The engines, and the ways to and from them.
struct Engines {
    engine: mpsc::UnboundedSender<ToEngine>,
    driver: JoinHandle<()>,
    told: mpsc::UnboundedReceiver<vrrp::FromEngine>,
    punctuality: Arc<Punctuality>,
    bfd: bfd::Door,
    bfd_thread: JoinHandle<()>,
    of_bfd: mpsc::UnboundedReceiver<bfd::FromBfd>,
    bfd_punctuality: Arc<Punctuality>,
    checker: checker::Door,
    checking: JoinHandle<()>,
    of_checker: mpsc::UnboundedReceiver<checker::FromChecker>,
    trackers: Trackers,
    socket: PathBuf,
    drains: Drains,
}

/// Starts the threads and is the programs thread until all is over; the exit code of the process comes back.
pub(super) fn serve(given: Given<'_>, runtime: &Runtime, programs: &mut Programs, stop: &mut StopSignals) -> u8 {
    let heir = given.options.restore.is_some();
    let Base { beside, signals, writer, kernel, reports } = match Base::new(&given.spec, &given.pid_file) {
        Ok(base) => base,
        Err(failure) => {
            let code = fatal(&failure);
            if heir {
                take_off_alone(given.spec, &given.pid_file);
            }
            return code;
        }
    };
    let give_up = |kernel: Kernel, failure: &Failure| {
        let code = fatal(failure);
        take_off(kernel, heir.then(Arc::default));
        code
    };
    let (options, mistakes, pid_file, ends) =
        (given.options, given.mistakes.clone(), given.pid_file.clone(), given.ends);
    let mut will = options.restore.map(again::inherited).unwrap_or_default();
    {
        let _inside = runtime.enter();
        programs.adopt(&will.programs);
    }
    let tally = Tally::default();
    // SAFETY: the program before us left these descriptors open for us, and nothing here has opened or taken them.
    let fifos = unsafe { Fifos::inheriting(std::mem::take(&mut will.fifos), tally.clone()) };
    let history = History::of(std::mem::take(&mut will.history));
    let notifies = std::mem::take(&mut will.notifies);
    let inside = beside.enter();
    let engines = match Engines::start(given, will, &beside, &kernel, reports, &programs.handle()) {
        Ok(engines) => engines,
        Err(failure) => return give_up(kernel, &failure),
    };
    let Engines { engine, driver, told, punctuality, bfd, bfd_thread, .. } = engines;
    let Engines { of_bfd, bfd_punctuality, checker, checking, of_checker, trackers, socket, drains, .. } = engines;
    let (ask, questions) = mpsc::channel(QUESTIONS);
    let server = Server::start(&socket, ask.clone())
        .map_err(|error| {
            tracing::warn!(target: "parent", "No control socket at {}: {error}", socket.display());
        })
        .ok();
    if let Some(place) = &options.metrics {
        metrics::start(place, options.metrics_names, ask.clone());
    }
    let mut observers = observers(fifos, &history, &tally);
    observers.extend(doors(&engine, &checker, ask));
    let (tell_stop, told_stop) = mpsc::unbounded_channel();
    let stopping = Arc::new(AtomicBool::new(false));
    let mut services = Services::new(services::Setup {
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
        mistakes,
        pid_file,
        drains,
        notifies,
    });
    if ends {
        services.stop();
    }
    drop(inside);
    let (ended, services) = match begin(services, beside, options.no_respawn) {
        Ok(begun) => begun,
        Err(error) => return give_up(kernel, &("The services thread cannot be started", error)),
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
    let parts = Parts { kernel, engine, checker, checking, bfd, bfd_thread, driver, server, writer, services };
    wind_up(parts, end, options, runtime, programs, stop)
}

/// Ends the kernel thread. What the program before this one owned is nobody's when this one cannot begin: with `left` it goes as what
/// a killed daemon left does, by what that says and by its marks.
fn take_off(kernel: Kernel, left: Option<Arc<Spec>>) {
    if let Some(spec) = left {
        kernel.order(ToKernel::Configure { spec, carried: Vec::new() });
    }
    kernel.order(ToKernel::Stop { release: true });
    kernel.join();
}

/// [`take_off`] where nothing could be started: what has been begun is gone again, so there may be room for the kernel thread alone.
fn take_off_alone(spec: Spec, pid_file: &Path) {
    match Kernel::start(settings(&spec, pid_file)) {
        Ok((kernel, _)) => take_off(kernel, Some(Arc::new(spec))),
        Err(error) => {
            tracing::error!(target: "parent", "What the program before this one owned stays on this server: {error}");
        }
    }
}

fn settings(spec: &Spec, pid_file: &Path) -> Settings {
    let sysctl_record = Some(record_path(pid_file, "sysctl"));
    Settings { buffers: spec.daemon.netlink, sysctl_record, ..Settings::default() }
}

fn fatal((what, error): &Failure) -> u8 {
    tracing::error!(target: "parent", "{what}: {error}");
    EXIT_FATAL
}

/// The exit code, and what is to be taken apart in the runtime that it ran in.
pub(super) type Ended = (u8, Services, Runtime);

/// Starts the services thread. The first of the pair answers or breaks when it has ended.
fn begin(
    mut services: Services,
    beside: Runtime,
    no_respawn: bool,
) -> io::Result<(oneshot::Receiver<()>, JoinHandle<Ended>)> {
    let (tell_end, ended) = oneshot::channel();
    let thread = threads::start("services", move || {
        let code = survive(&mut services, &beside, no_respawn);
        let _ = tell_end.send(());
        (code, services, beside)
    })?;
    Ok((ended, thread))
}

impl Base {
    fn new(spec: &Spec, pid_file: &Path) -> Result<Base, Failure> {
        let beside =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| ("No runtime", e))?;
        let signals = {
            let _inside = beside.enter();
            Signals::new().map_err(|e| ("No signal handlers", e))?
        };
        // Threads that are started from here on leave all signals to this one.
        threads::without_signals();
        let writer = Writer::start().map_err(|e| ("The thread that writes files cannot be started", e))?;
        let (kernel, reports) = Kernel::start(settings(spec, pid_file))
            .map_err(|e| ("The kernel cannot be spoken to", io::Error::other(e)))?;
        Ok(Base { beside, signals, writer, kernel, reports })
    }
}

impl Engines {
    /// Starts the bfd, the checker and the engine thread. To be called inside `beside`.
    fn start(
        given: Given<'_>,
        will: Will,
        beside: &Runtime,
        kernel: &Kernel,
        reports: mpsc::UnboundedReceiver<FromKernel>,
        programs: &Handle,
    ) -> Result<Engines, Failure> {
        let Given { options, spec, processes, pid_file, ends, mistakes: _ } = given;
        let Will { handover, balance: left, bfd: sessions, .. } = will;
        let spec = Arc::new(spec);
        let (engine, inbox) = mpsc::unbounded_channel();
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
        let (bfd, bfd_thread) = bfd::start(bfd::Setup {
            spec: spec.clone(),
            services: bfd_told,
            punctuality: bfd_punctuality.clone(),
            left: sessions,
            seed: again::unguessable(),
        })
        .map_err(|e| ("The bfd thread cannot be started", e))?;
        subscribe(&bfd, &engine, &checker);
        let socket = control_socket(options, &spec, &pid_file);
        let drains = Drains::of(&socket);
        if handover.is_none() {
            drain(&drains, &spec, &engine);
        }
        if ends {
            let _ = engine.send(ToEngine::Stop { release: !options.keep_claims });
        }
        let world = balance::Beginning {
            trackers: trackers::of_files(&spec, &readings).into_iter().collect(),
            masters: handover.iter().flat_map(|left| left.masters()).collect(),
            ..Default::default()
        };
        let (checker_told, of_checker) = mpsc::unbounded_channel();
        let checking = checker::start(
            checker::Setup {
                spec: spec.clone(),
                services: checker_told,
                programs: programs.clone(),
                world,
                left,
                wishes: Vec::new(),
                record: record_path(&pid_file, "ipvs"),
                seed: clock::wall().unix_micros,
            },
            of_door,
        )
        .map_err(|e| ("The checker thread cannot be started", e))?;
        let scripts = engine.clone();
        let driver = vrrp::start(vrrp::Setup {
            spec,
            readings,
            reports,
            inbox,
            doors: vrrp::Doors {
                orders: kernel.orders(),
                services,
                programs: programs.client(Room::BY_CONFIGURATION, move |attempt, notice| {
                    let _ = scripts.send(ToEngine::Program(attempt, notice));
                }),
                bfd: bfd.clone(),
                checker: checker.clone(),
                punctuality: punctuality.clone(),
                log_addresses: options.log_addresses,
            },
            handover,
        })
        .map_err(|e| ("The engine thread cannot be started", e))?;
        Ok(Engines {
            engine,
            driver,
            told,
            punctuality,
            bfd,
            bfd_thread,
            of_bfd,
            bfd_punctuality,
            checker,
            checking,
            of_checker,
            trackers,
            socket,
            drains,
        })
    }
}

/// A session's level goes straight from the bfd thread to those whom it concerns.
fn subscribe(bfd: &bfd::Door, engine: &mpsc::UnboundedSender<ToEngine>, checker: &checker::Door) {
    let (to_vrrp, to_checker) = (engine.clone(), checker.clone());
    bfd.send(bfd::ToBfd::Subscribe(Box::new(move |session, level| {
        if session.for_vrrp {
            let _ = to_vrrp.send(vrrp::ToEngine::SessionSays(session.name.clone(), level.up));
        }
        if session.for_checkers {
            let (tracker, value) = (balance::Tracker::Bfd(session.name.clone()), balance::TrackValue::Up(level.up));
            to_checker.send(checker::ToChecker::Fact(balance::Input::Tracked { tracker, value }));
        }
    })));
}

/// Where the control socket is: as the command line says, else by the names of the instance and of the pid file.
fn control_socket(options: &Options, spec: &Spec, pid_file: &Path) -> PathBuf {
    options.control.clone().unwrap_or_else(|| {
        let usual = Paths::of(&spec.daemon, &PidOptions::default()).main;
        let own = Some(pid_file).filter(|path| *path != usual);
        socket::socket_path(spec.daemon.net_namespace.as_deref(), spec.daemon.instance.as_deref(), own)
    })
}

/// Instances that an operator has drained stay behind from their first moment, before anything is heard or said.
fn drain(drains: &Drains, spec: &Spec, engine: &mpsc::UnboundedSender<ToEngine>) {
    for name in drains.names().filter(|name| spec.instances.iter().any(|i| *i.name == **name)) {
        tracing::info!(target: "vrrp", "({name}) is drained until `vipctl undrain`");
        let _ = engine.send(vrrp::ToEngine::Steer(vrrp::Steer::Drain, Some(name.into())));
    }
}

/// Those that watch what happens and are always there.
fn observers(fifos: Fifos, history: &History, tally: &Tally) -> Vec<Box<dyn Observer + Send>> {
    vec![
        Box::new(crate::observe::log::Log::default()),
        Box::new(Notifier),
        Box::new(fifos),
        Box::new(Mailer::default()),
        Box::new(history.clone()),
        Box::new(tally.clone()),
    ]
}

/// The doors that watch what happens, as far as they are built in.
#[cfg_attr(
    not(all(feature = "snmp", feature = "dbus")),
    allow(
        unused_mut,
        unused_variables,
        clippy::needless_pass_by_value,
        reason = "what a door takes is not used where it is not built in"
    )
)]
fn doors(
    engine: &mpsc::UnboundedSender<ToEngine>,
    checker: &checker::Door,
    ask: mpsc::Sender<socket::Question>,
) -> Vec<Box<dyn Observer + Send>> {
    let mut doors: Vec<Box<dyn Observer + Send>> = Vec::new();
    #[cfg(feature = "snmp")]
    doors.push(Box::new(Agent::new(
        engine.clone(),
        checker.clone(),
        ask.clone(),
        &format!("Keepalived {}", super::options::COMPATIBLE),
    )));
    #[cfg(feature = "dbus")]
    doors.push(Box::new(Teller::new(ask)));
    doors
}

/// Where a record for the process after this one is kept, of what it finds in the kernel: named after the pid file, so that
/// two daemons of a machine have one each.
fn record_path(pid_file: &Path, of: &str) -> PathBuf {
    let mut name = pid_file.file_stem().unwrap_or_default().to_owned();
    name.push(".");
    name.push(of);
    Path::new("/run/vipd").join(name)
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
