//! The programs loop: the first thread of the process starts, watches and ends programs, and does nothing that can wait.
//!
//! It is the first thread because the kernel tells children that their parent is gone when the *thread* that forked them
//! ends, and because it is the one that becomes another program. The health of everything that scripts check depends on
//! it, so it is what the service manager's watchdog asks, together with the engines: files, names, mail and dumps are
//! others' business.
//!
//! It hears SIGTERM and SIGINT as well, from the first moment to the last, and passes them on. Should the services
//! thread not begin to stop, because it waits for something that never comes, the engine is told to give everything up
//! without it.

use super::bfd;
use super::vrrp::ToEngine;
use crate::daemon::loops::checker;
use crate::daemon::signals::StopSignals;
use crate::daemon::systemd::Watchdog;
use crate::kernel::perhaps::perhaps;
use crate::kernel::programs::{Job, Limit, Notice, Programs};
use crate::kernel::threads;
use crate::spec::Run;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

/// How long the services thread may take to begin to stop.
const SERVICES_BEGIN: Duration = Duration::from_secs(5);
/// How long everything may take to be given up without it.
const GIVE_UP: Duration = Duration::from_secs(30);
/// How often it is looked whether the engine has ended.
const LOOK: Duration = Duration::from_millis(50);
/// From TERM to KILL for a start-up or shut-down script that takes too long.
const ALONE_PATIENCE: Duration = Duration::from_secs(1);

/// What the loop is connected with.
pub struct Setup {
    pub engine: mpsc::UnboundedSender<ToEngine>,
    pub bfd: bfd::Door,
    pub checker: checker::Door,
    /// To the services thread: the daemon is to end.
    pub stop: mpsc::UnboundedSender<()>,
    /// The services thread has begun to stop, or to do something else that ends it.
    pub stopping: Arc<AtomicBool>,
    /// Answers or breaks when the services thread has ended.
    pub ended: oneshot::Receiver<()>,
    /// [`ToEngine::Stop`]'s, should it come from here.
    pub release: bool,
}

/// Why the loop has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The services thread has: it knows more.
    Services,
    /// It did not answer, and the engine has been told to stop without it.
    WithoutServices,
}

/// Serves until the services thread has ended. A panic here is a defect that costs what was being done, and is survived a
/// few times.
pub fn run(
    runtime: &Runtime,
    programs: &mut Programs,
    signals: &mut StopSignals,
    mut setup: Setup,
    engine_ended: impl Fn() -> bool,
) -> End {
    let mut watchdog = Watchdog::from_environment();
    let mut lost_patience = None;
    let mut lives = threads::LIVES;
    loop {
        let attended = std::panic::catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(serve(programs, signals, &mut setup, &mut watchdog, &mut lost_patience, &engine_ended))
        }));
        match attended {
            Ok(end) => return end,
            Err(_) => tracing::error!(target: "parent", "The programs thread panicked and goes on"),
        }
        if lives == 0 {
            // A fault that comes back at once is not survived: everything is given up in order, as well as that goes.
            let _ = setup.stop.send(());
            std::thread::sleep(LOOK);
        }
        lives = lives.saturating_sub(1);
        if !matches!(setup.ended.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
            return End::Services;
        }
    }
}

async fn serve(
    programs: &mut Programs,
    signals: &mut StopSignals,
    setup: &mut Setup,
    watchdog: &mut Option<Watchdog>,
    lost_patience: &mut Option<Instant>,
    engine_ended: &impl Fn() -> bool,
) -> End {
    loop {
        let beat = perhaps(watchdog.as_mut().map(|dog| dog.due(&setup.engine, &setup.bfd, &setup.checker)));
        let out_of_patience = perhaps(lost_patience.map(sleep_until));
        tokio::select! {
            () = programs.attend() => {}
            () = signals.next() => {
                let _ = setup.stop.send(());
                lost_patience.get_or_insert_with(|| Instant::now() + SERVICES_BEGIN);
            }
            _ = &mut setup.ended => return End::Services,
            () = beat => {}
            () = out_of_patience => {
                *lost_patience = None;
                if !setup.stopping.load(Ordering::Acquire) {
                    tracing::error!(target: "parent", "The services thread does not answer: stopping without it");
                    let _ = setup.engine.send(ToEngine::Stop { release: setup.release });
                    let begun = Instant::now();
                    while !engine_ended() && begun.elapsed() < GIVE_UP {
                        tokio::select! {
                            () = programs.attend() => {}
                            () = sleep(LOOK) => {}
                        }
                    }
                    return End::WithoutServices;
                }
            }
        }
    }
}

/// How a program that everything else waits for has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Alone {
    Ended(Notice),
    TimedOut,
    /// SIGTERM came first.
    Stop,
}

/// Runs one program to its end, for `limit`, or until the daemon is told to end: start-up and shut-down scripts.
/// `signals` is `None` where there is nothing left to be told.
pub fn alone(
    runtime: &Runtime,
    programs: &mut Programs,
    mut signals: Option<&mut StopSignals>,
    run: &Run,
    limit: Duration,
) -> Alone {
    runtime.block_on(async {
        let limits = Limit { after: limit, then: ALONE_PATIENCE };
        let mut ended = programs.handle().once(Job { limit: Some(limits), ..Job::new(run.clone()) });
        // It need not have died of it: a process that waits inside the kernel does not.
        let deadline = Instant::now() + limit + 2 * ALONE_PATIENCE;
        let timed_out = Instant::now() + limit;
        loop {
            let stop = perhaps(signals.as_mut().map(|signals| signals.next()));
            tokio::select! {
                () = programs.attend() => {}
                notice = ended.ended() => return match notice {
                    Some(notice) if Instant::now() < timed_out => Alone::Ended(notice),
                    _ => Alone::TimedOut,
                },
                () = stop => return Alone::Stop,
                () = sleep_until(deadline) => return Alone::TimedOut,
            }
        }
    })
}
