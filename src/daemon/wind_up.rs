//! How all ends: in order, or by leaving all to the next program, or by beginning once more after the engine was lost.
//!
//! Addresses go first, then the table of virtual servers, and what tells of it last. A thread that does not answer is not waited
//! for longer than it may take.

use super::again::{self, Will};
use super::options::Options;
use super::serve::Ended;
use super::signals::{self, StopSignals};
use crate::daemon::doors::socket::Server;
use crate::daemon::loops::bfd;
use crate::daemon::loops::checker;
use crate::daemon::loops::programs::End;
use crate::daemon::loops::services::EXIT_INTERNAL;
use crate::daemon::loops::vrrp::ToEngine;
use crate::kernel::aside::Writer;
use crate::kernel::netlink::{Kernel, ToKernel};
use crate::kernel::programs::Programs;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

/// How long the checker thread may take to end once it has been told to.
const CHECKER_ENDS: Duration = Duration::from_secs(6);
/// How long the end waits for files that are being written.
const LAST_FILES: Duration = Duration::from_secs(1);

/// The threads, and the ways to them, when all of them run.
pub(super) struct Parts {
    pub(super) kernel: Kernel,
    pub(super) engine: mpsc::UnboundedSender<ToEngine>,
    pub(super) checker: checker::Door,
    pub(super) checking: JoinHandle<()>,
    pub(super) bfd: bfd::Door,
    pub(super) bfd_thread: JoinHandle<()>,
    pub(super) driver: JoinHandle<()>,
    pub(super) server: Option<Server>,
    pub(super) writer: Writer,
    pub(super) services: JoinHandle<Ended>,
}

/// Ends what still runs: in order, to leave all to the next program, or to begin once more after the engine was lost.
pub(super) fn wind_up(
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
    bfd.send(bfd::ToBfd::Stop(oneshot::channel().0));
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

/// The kernel's table is emptied, or left as it is with `keep`; no more than that is waited for.
fn stop_checking(checker: &checker::Door, keep: bool, thread: &JoinHandle<()>) {
    let (answer, _) = oneshot::channel();
    checker.send(checker::ToChecker::Stop { keep, answer });
    let begun = Instant::now();
    while !thread.is_finished() && begun.elapsed() < CHECKER_ENDS {
        std::thread::sleep(Duration::from_millis(2));
    }
}
