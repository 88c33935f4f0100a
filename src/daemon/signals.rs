//! keepalived's signals: those that ask for something, as one stream of wishes on the services thread, and those that ask
//! the daemon to end, on the first thread, which hears them at any time.

use crate::kernel::perhaps::perhaps;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    Reload,
    Data,
    Stats,
    StatsClear,
    Json,
}

/// The handlers; installed when made, for the life of the process. SIGPIPE is ignored by every Rust program.
#[derive(Debug)]
pub struct Signals {
    hup: Signal,
    data: Signal,
    stats: Signal,
    stats_clear: Signal,
    json: Signal,
}

/// SIGTERM and SIGINT; the handlers are installed when made.
#[derive(Debug)]
pub struct StopSignals {
    term: Signal,
    int: Option<Signal>,
    heard: bool,
}

impl StopSignals {
    /// Must be called inside a runtime.
    ///
    /// # Errors
    /// A handler cannot be installed.
    pub fn new(ignore_sigint: bool) -> std::io::Result<StopSignals> {
        let int = signal(SignalKind::interrupt())?;
        // Also when ignored: with a handler that nobody listens to, SIGINT does nothing.
        Ok(StopSignals { term: signal(SignalKind::terminate())?, int: (!ignore_sigint).then_some(int), heard: false })
    }

    /// Lets those in that were held back, and the news of children that have ended.
    pub fn let_in(&self) {
        mask(libc::SIG_UNBLOCK, &[libc::SIGTERM, libc::SIGINT, libc::SIGCHLD]);
    }

    /// Cancel-safe.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = perhaps(self.int.as_mut().map(Signal::recv)) => {}
        }
        self.heard = true;
    }

    /// Has one come?
    pub async fn heard(&mut self) -> bool {
        // What the handler has taken note of comes through the runtime's own pipe.
        let _ = tokio::time::timeout(std::time::Duration::from_millis(1), self.next()).await;
        self.heard
    }
}

/// Keeps all of them back until their handlers are there: before that SIGHUP and the dump signals would end the process,
/// and whoever finds it by its pid file or as a unit's main process may send them at once. For the calling thread and
/// those that it starts.
pub fn hold() {
    mask(libc::SIG_BLOCK, &all());
}

/// The end of [`hold`] for what is not going to be a daemon with handlers.
pub fn release() {
    mask(libc::SIG_UNBLOCK, &all());
}

/// Does SIGTERM, or SIGINT where it counts, wait while they are held?
pub fn is_asked_to_stop(ignore_sigint: bool) -> bool {
    // SAFETY: sigpending fills the set before it is read.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigpending(&mut set) == 0
            && (libc::sigismember(&set, libc::SIGTERM) == 1
                || (!ignore_sigint && libc::sigismember(&set, libc::SIGINT) == 1))
    }
}

/// SIGTERM to the calling thread, which waits with the others that are held, also for another program of this thread. Sent
/// to the process, a thread that holds nothing back would take it.
pub fn ask_to_stop() {
    let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM);
}

/// What asks for nothing here does nothing, as with keepalived: by default SIGQUIT, SIGALRM or a real-time signal that was meant for
/// another program would end the process and leave its addresses here, and Ctrl-Z would keep a master silent. What tells of a
/// fault of the program itself, and what systemd's watchdog sends, is left alone. Handlers of our own come later.
pub fn ignore_the_rest() {
    let faults = [libc::SIGILL, libc::SIGTRAP, libc::SIGABRT, libc::SIGBUS, libc::SIGFPE, libc::SIGSEGV, libc::SIGSYS];
    let others = [libc::SIGKILL, libc::SIGSTOP, libc::SIGCHLD];
    let kept = [&faults[..], &others, &all()].concat();
    // Between the named ones and these are the C library's own.
    for number in (1..=libc::SIGSYS).chain(libc::SIGRTMIN()..=libc::SIGRTMAX()).filter(|number| !kept.contains(number))
    {
        // SAFETY: SIG_IGN runs no code.
        unsafe { libc::signal(number, libc::SIG_IGN) };
    }
}

/// nix has no real-time signals in its sets.
fn all() -> [libc::c_int; 7] {
    let (stats_clear, json) = (libc::SIGRTMAX() - 1, libc::SIGRTMIN() + 2);
    [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2, stats_clear, json]
}

fn mask(how: libc::c_int, numbers: &[libc::c_int]) {
    // SAFETY: sigemptyset makes a set of what is only memory before, and the numbers are valid signals; the mask is
    // this thread's.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut set);
        for number in numbers {
            libc::sigaddset(&mut set, *number);
        }
        libc::pthread_sigmask(how, &set, std::ptr::null_mut());
    }
}

impl Signals {
    /// # Errors
    /// A handler cannot be installed.
    pub fn new() -> std::io::Result<Signals> {
        let real_time = |number| signal(SignalKind::from_raw(number));
        let signals = Signals {
            hup: signal(SignalKind::hangup())?,
            data: signal(SignalKind::user_defined1())?,
            stats: signal(SignalKind::user_defined2())?,
            stats_clear: real_time(libc::SIGRTMAX() - 1)?,
            json: real_time(libc::SIGRTMIN() + 2)?,
        };
        Ok(signals)
    }

    /// Cancel-safe.
    pub async fn next(&mut self) -> Wish {
        let Signals { hup, data, stats, stats_clear, json } = self;
        tokio::select! {
            _ = hup.recv() => Wish::Reload,
            _ = data.recv() => Wish::Data,
            _ = stats.recv() => Wish::Stats,
            _ = stats_clear.recv() => Wish::StatsClear,
            _ = json.recv() => Wish::Json,
        }
    }
}
