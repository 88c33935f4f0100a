//! What the daemon may do and how the scheduler treats it. Everything here concerns the calling thread unless it says
//! otherwise; the order of calls is the daemon's business.

use crate::spec::{Daemon, ThreadSpec};
use caps::{CapSet, Capability};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::Pid;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// What could not be set, and why: the daemon logs it and runs on, as keepalived does.
pub type Failures = Vec<(&'static str, io::Error)>;

/// For the engine thread.
pub fn engine_thread(daemon: &Daemon) -> Failures {
    thread(&ThreadSpec {
        name: None,
        nice: daemon.nice,
        rt_priority: daemon.rt_priority,
        cpu_affinity: daemon.cpu_affinity.clone(),
        rlimit_rttime_us: daemon.rlimit_rttime_us,
    })
}

/// How long a punctual thread wants to run at a time: the least that Linux grants (100 µs, in nanoseconds). It needs no more
/// between two sleeps.
const TURN: u64 = 100_000;

/// For a thread that must be punctual: SCHED_RR with reset-on-fork (or else nice, and short turns), CPU affinity,
/// RLIMIT_RTTIME, timer slack 1 ns. The limit is the process's: of several the last one set holds.
pub fn thread(spec: &ThreadSpec) -> Failures {
    let mut failures = Failures::new();
    let mut note = |what, done: io::Result<()>| {
        if let Err(error) = done {
            failures.push((what, error));
        }
    };
    // Timers may be late by the slack; the default is 50 µs.
    note("timer slack", nix::sys::prctl::set_timerslack(1).map_err(Into::into));
    if let Some(limit) = spec.rlimit_rttime_us {
        note("RLIMIT_RTTIME", limit_realtime(limit));
    }
    match (spec.rt_priority, spec.nice) {
        (Some(priority), _) => note("real-time priority", realtime(priority)),
        (None, Some(nice)) => note("nice value", set_nice(nice)),
        (None, None) => {}
    }
    if spec.rt_priority.is_none() {
        // Nobody asked for it, so nobody is told where a sandbox forbids it.
        let _ = short_turns();
    }
    if !spec.cpu_affinity.is_empty() {
        note("CPU affinity", set_affinity(&spec.cpu_affinity));
    }
    failures
}

/// For the whole process: memory lock (`vrrp_no_swap`).
pub fn process(daemon: &Daemon) -> Failures {
    let mut failures = Failures::new();
    if daemon.no_swap
        && let Err(error) = mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE)
    {
        failures.push(("memory lock", error.into()));
    }
    failures
}

/// The capabilities of which the daemon cannot do without that are missing, by name (CAP_NET_ADMIN, CAP_NET_RAW).
pub fn missing_capabilities() -> Vec<&'static str> {
    let needed = [(Capability::CAP_NET_ADMIN, "CAP_NET_ADMIN"), (Capability::CAP_NET_RAW, "CAP_NET_RAW")];
    needed
        .into_iter()
        .filter(|(capability, _)| !caps::has_cap(None, CapSet::Effective, *capability).unwrap_or(false))
        .map(|(_, name)| name)
        .collect()
}

/// One step more of SCHED_RR for the calling thread, `highest` at most (`max_auto_priority`). Answers the new priority.
///
/// # Errors
/// No CAP_SYS_NICE.
pub fn raise_realtime(highest: u8) -> io::Result<u8> {
    // SAFETY: sched_param is plain data; the call fills it.
    let mut now: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: 0 is the calling thread; `now` is valid for the call.
    if unsafe { libc::sched_getparam(0, &mut now) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let before = u8::try_from(now.sched_priority).unwrap_or(0);
    let next = before.saturating_add(1).min(highest);
    if next <= before {
        // As high as it may be, or configured higher.
        return Ok(before);
    }
    realtime(next)?;
    Ok(next)
}

/// SCHED_RR, 1..=99, for the calling thread; what it forks is ordinary again.
fn realtime(priority: u8) -> io::Result<()> {
    schedule(libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, priority)
}

fn schedule(policy: libc::c_int, priority: u8) -> io::Result<()> {
    // SAFETY: sched_param is plain data.
    let mut parameter: libc::sched_param = unsafe { std::mem::zeroed() };
    parameter.sched_priority = priority.into();
    // SAFETY: 0 is the calling thread; `parameter` is valid for the call.
    if unsafe { libc::sched_setscheduler(0, policy, &parameter) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn set_nice(nice: i8) -> io::Result<()> {
    // SAFETY: takes numbers only; 0 is the calling thread on Linux.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice.into()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The shorter the turns that a thread asks for, the sooner they come when it wakes beside others that would run all the
/// time (EEVDF, since Linux 6.12; before that it has no effect). It gets no more of the processor by it.
fn short_turns() -> io::Result<()> {
    // SAFETY: plain data, for which all zeroes is a value; SCHED_OTHER is 0.
    let mut wanted: libc::sched_attr = unsafe { std::mem::zeroed() };
    wanted.size = size_of::<libc::sched_attr>() as u32;
    wanted.sched_runtime = TURN;
    // SAFETY: 0 is the calling thread; `wanted` is valid for the call.
    unsafe {
        wanted.sched_nice = libc::getpriority(libc::PRIO_PROCESS, 0);
        if libc::syscall(libc::SYS_sched_setattr, 0, &raw const wanted, 0) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

fn set_affinity(cpus: &[u32]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(usize::try_from(*cpu).unwrap_or(usize::MAX))?;
    }
    sched_setaffinity(Pid::from_raw(0), &set)?;
    Ok(())
}

/// How often a real-time thread has used up `vrrp_rlimit_rttime` without sleeping.
static OVERRUNS: AtomicU32 = AtomicU32::new(0);

/// How often, since the start, the limit of `vrrp_rlimit_rttime` was reached.
pub fn realtime_overruns() -> u32 {
    OVERRUNS.load(Ordering::Relaxed)
}

extern "C" fn overrun(_: libc::c_int) {
    OVERRUNS.fetch_add(1, Ordering::Relaxed);
}

/// The soft limit is half of what was given, as keepalived has it, and its signal is counted. There is no hard limit:
/// the kernel would kill the daemon, and where keepalived has a parent that starts its child again, this has none.
fn limit_realtime(micros: u64) -> io::Result<()> {
    // SAFETY: the handler adds to an atomic number and does nothing else.
    unsafe { signal(Signal::SIGXCPU, SigHandler::Handler(overrun)) }?;
    setrlimit(Resource::RLIMIT_RTTIME, (micros / 2).max(1), RLIM_INFINITY)?;
    Ok(())
}

/// Resource limits as whoever started the daemon set them, in the kernel's form: its programs get them back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    descriptors: libc::rlimit,
    core: libc::rlimit,
}

/// More descriptors are of no use, and some systems have a hard limit of a thousand million.
const MOST_DESCRIPTORS: u64 = 1 << 20;

static FORMER: OnceLock<Limits> = OnceLock::new();

/// The limits as they were when this was called first.
pub(super) fn former_limits() -> Limits {
    *FORMER.get_or_init(|| Limits { descriptors: limit_of(libc::RLIMIT_NOFILE), core: limit_of(libc::RLIMIT_CORE) })
}

fn limit_of(resource: libc::__rlimit_resource_t) -> libc::rlimit {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `limit` is valid for the call, which fills it.
    unsafe { libc::getrlimit(resource, &raw mut limit) };
    limit
}

/// Raises the soft limit of descriptors to the hard one, as keepalived does: each socket, program and connection takes
/// some. To be called before anything else changes a limit.
///
/// # Errors
/// A sandbox forbids it.
pub fn raise_descriptors() -> io::Result<()> {
    let libc::rlimit { rlim_cur: soft, rlim_max: hard } = former_limits().descriptors;
    let wanted = hard.min(MOST_DESCRIPTORS);
    if wanted > soft {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
    }
    Ok(())
}

/// How many descriptors the process may have.
pub fn descriptors() -> u64 {
    limit_of(libc::RLIMIT_NOFILE).rlim_cur
}

/// May so many more descriptors be opened?
///
/// # Errors
/// No: the process or the machine has none left.
pub fn room_for(more: usize) -> io::Result<()> {
    let (one, _other) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let copies = (2..more).map(|_| one.try_clone());
    copies.collect::<io::Result<Vec<_>>>().map(drop)
}

/// Puts the limits back, for a program that this process is about to become.
pub fn restore_limits() {
    set_limits(&former_limits());
}

fn set_limits(limits: &Limits) {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let known = |value: libc::rlim_t| Some(value).filter(|value| *value != libc::RLIM_INFINITY);
    for (resource, limit) in [(Resource::Nofile, limits.descriptors), (Resource::Core, limits.core)] {
        let _ = setrlimit(resource, Rlimit { current: known(limit.rlim_cur), maximum: known(limit.rlim_max) });
    }
}

/// Undoes for a child what the daemon set for itself. Called between fork and exec: system calls only, and what may be
/// refused answers without `errno` (see [`super::guests`]).
pub(super) fn ordinary(limits: &Limits) {
    set_limits(limits);
    // SAFETY: 0 is the calling thread.
    if unsafe { libc::sched_getscheduler(0) } != libc::SCHED_OTHER {
        let _ = schedule(libc::SCHED_OTHER, 0);
    }
    let _ = rustix::process::setpriority_process(None, 0);
    let unlimited = rustix::process::Rlimit { current: None, maximum: None };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Rttime, unlimited);
    let _ = nix::sys::prctl::set_timerslack(0);
}
