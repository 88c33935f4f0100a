//! MISC_CHECK, run once: as its user, in a process group of its own, with its time limit.
//!
//! Supplementary groups are those of the user's primary group only. What the program writes goes nowhere, as in the daemon.

use super::Heard;
use crate::balance::io::{Finding, Stage, Symptom};
use crate::kernel::clock;
use crate::probe::Transcript;
use crate::spec::{Command, Exit, Run};
use crate::time::Interval;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

pub(crate) async fn run(run: &Run, timeout: Interval, dynamic: bool) -> Heard {
    let began = clock::now();
    let mut transcript = Transcript::kept();
    transcript.note(began, || format!("running {}", run.program()));
    let finding = match start(run) {
        Err(error) => Finding::Bad(Symptom::NotRun(error.raw_os_error().unwrap_or(libc::EIO))),
        Ok(mut child) => match tokio::time::timeout(timeout.to_std(), child.wait()).await {
            Ok(Ok(status)) => {
                let exit = status.code().map_or(Exit::Signal(status.signal().unwrap_or(0)), Exit::Code);
                Finding::of_program(exit, dynamic)
            }
            Ok(Err(error)) => Finding::NotMade(error.raw_os_error().unwrap_or(libc::EIO)),
            Err(_) => {
                end(&child);
                let _ = child.wait().await;
                Finding::Bad(Symptom::TimedOut(Stage::Program))
            }
        },
    };
    Heard { finding, took: clock::now().since(began), page: 0, transcript }
}

fn start(run: &Run) -> io::Result<tokio::process::Child> {
    let mut command = match &run.command {
        Command::Exec { path, argv } => {
            let mut command = tokio::process::Command::new(&**path);
            if let Some((name, rest)) = argv.split_first() {
                command.arg0(&**name).args(rest.iter().map(|word| &**word));
            }
            command
        }
        Command::Shell(line) => {
            let mut command = tokio::process::Command::new("/bin/sh");
            command.arg("-c").arg(&**line);
            command
        }
    };
    for name in ["IFS", "LD_PRELOAD", "LD_LIBRARY_PATH"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).kill_on_drop(true);
    if nix::unistd::geteuid().is_root() {
        command.gid(run.gid).uid(run.uid);
    }
    command.spawn()
}

/// The whole group, since a script may have started others.
fn end(child: &tokio::process::Child) {
    if let Some(group) = child.id().and_then(|id| i32::try_from(id).ok()) {
        // One that has just ended by itself is what was wanted.
        let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(group), nix::sys::signal::Signal::SIGKILL);
    }
}
