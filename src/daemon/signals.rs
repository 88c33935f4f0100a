//! keepalived's signals, as one stream of wishes on the services thread.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    Stop,
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
    term: Signal,
    int: Option<Signal>,
    data: Signal,
    stats: Signal,
    stats_clear: Signal,
    json: Signal,
}

/// Keeps all of [`Signals`] back until [`Signals::new`] lets them in: before there are handlers SIGHUP and the dump
/// signals would end the process, and whoever finds it by its pid file or as a unit's main process may send them at once.
/// To be called while there is one thread.
pub fn hold() {
    mask(libc::SIG_BLOCK);
}

/// The end of [`hold`] for what is not going to be a daemon with handlers.
pub fn release() {
    mask(libc::SIG_UNBLOCK);
}

/// SIGTERM to this process itself, which waits with the others that are held.
pub fn ask_to_stop() {
    let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGTERM);
}

/// nix has no real-time signals in its sets.
fn mask(how: libc::c_int) {
    let numbers = [
        libc::SIGHUP,
        libc::SIGTERM,
        libc::SIGINT,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGRTMAX() - 1,
        libc::SIGRTMIN() + 2,
    ];
    // SAFETY: sigemptyset makes a set of what is only memory before, and the numbers are valid signals; the mask is
    // this thread's.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut set);
        for number in numbers {
            libc::sigaddset(&mut set, number);
        }
        libc::pthread_sigmask(how, &set, std::ptr::null_mut());
    }
}

impl Signals {
    /// # Errors
    /// A handler cannot be installed.
    pub fn new(ignore_sigint: bool) -> std::io::Result<Signals> {
        let real_time = |number| signal(SignalKind::from_raw(number));
        let int = signal(SignalKind::interrupt())?;
        let signals = Signals {
            hup: signal(SignalKind::hangup())?,
            term: signal(SignalKind::terminate())?,
            // Also when ignored: with a handler that nobody listens to, SIGINT does nothing.
            int: (!ignore_sigint).then_some(int),
            data: signal(SignalKind::user_defined1())?,
            stats: signal(SignalKind::user_defined2())?,
            stats_clear: real_time(libc::SIGRTMAX() - 1)?,
            json: real_time(libc::SIGRTMIN() + 2)?,
        };
        mask(libc::SIG_UNBLOCK);
        Ok(signals)
    }

    /// Cancel-safe.
    pub async fn next(&mut self) -> Wish {
        let Signals { hup, term, int, data, stats, stats_clear, json } = self;
        let int = async {
            match int {
                Some(int) => int.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = term.recv() => Wish::Stop,
            _ = int => Wish::Stop,
            _ = hup.recv() => Wish::Reload,
            _ = data.recv() => Wish::Data,
            _ = stats.recv() => Wish::Stats,
            _ = stats_clear.recv() => Wish::StatsClear,
            _ = json.recv() => Wish::Json,
        }
    }
}
