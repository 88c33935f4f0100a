//! MISC_CHECK, run once as the daemon runs it: as its user with its groups, in a process group of its own, with its time
//! limit, and without the variables that the daemon withholds. Who is not root runs it as himself.

use super::Heard;
use crate::balance::io::{Finding, Stage, Symptom};
use crate::kernel::clock;
use crate::kernel::process::{self, Child, Outfit, Whom};
use crate::kernel::readiness;
use crate::probe::Transcript;
use crate::spec::{Exit, Run};
use crate::time::Interval;
use std::io;

pub(crate) async fn run(run: &Run, timeout: Interval, dynamic: bool) -> Heard {
    let began = clock::now();
    let mut transcript = Transcript::kept();
    transcript.note(began, || format!("running {}", run.program()));
    let mut outfit = Outfit::default();
    let finding = match process::start(&mut outfit, &possible(run), &[], None, false) {
        Err(error) if process::is_shortage(&error) => Finding::NotMade(number(&error)),
        Err(error) => Finding::Bad(Symptom::NotRun(number(&error))),
        Ok(child) => match outcome(&mut outfit, child, timeout).await {
            Ok(Some(exit)) => Finding::of_program(exit, dynamic),
            Ok(None) => Finding::Bad(Symptom::TimedOut(Stage::Program)),
            Err(error) => Finding::Bad(Symptom::NotRun(number(&error))),
        },
    };
    Heard { finding, took: clock::now().since(began), page: 0, transcript }
}

fn number(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

/// As the caller where he may not become anybody else.
fn possible(run: &Run) -> Run {
    let (own, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
    match own.is_root() {
        true => run.clone(),
        false => Run { uid: own.as_raw(), gid: group.as_raw(), ..run.clone() },
    }
}

/// How the program ended; `None`: it took too long, and was ended with all that it started.
async fn outcome(
    outfit: &mut Outfit,
    Child { pid, ended, note }: Child,
    timeout: Interval,
) -> io::Result<Option<Exit>> {
    let ended = readiness::readable(ended.ok_or(io::Error::from_raw_os_error(libc::EMFILE))?)?;
    let in_time = tokio::time::timeout(timeout.to_std(), ended.readable()).await.is_ok();
    if !in_time {
        process::signal(pid, ended.get_ref(), Whom::Group, libc::SIGKILL);
        drop(ended.readable().await?);
    }
    let exit = process::reap(pid).unwrap_or(Exit::NotRun);
    if let Some(error) = outfit.read(note) {
        return Err(io::Error::from_raw_os_error(error));
    }
    Ok(in_time.then_some(exit))
}
