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

impl Signals {
    /// # Errors
    /// A handler cannot be installed.
    pub fn new(ignore_sigint: bool) -> std::io::Result<Signals> {
        let real_time = |number| signal(SignalKind::from_raw(number));
        let int = signal(SignalKind::interrupt())?;
        Ok(Signals {
            hup: signal(SignalKind::hangup())?,
            term: signal(SignalKind::terminate())?,
            // Also when ignored: with a handler that nobody listens to, SIGINT does nothing.
            int: (!ignore_sigint).then_some(int),
            data: signal(SignalKind::user_defined1())?,
            stats: signal(SignalKind::user_defined2())?,
            stats_clear: real_time(libc::SIGRTMAX() - 1)?,
            json: real_time(libc::SIGRTMIN() + 2)?,
        })
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
