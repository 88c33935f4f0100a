//! Scripts and other programs: started as another user in a process group of their own, reaped, signalled.
//!
//! Lives on the services thread, which must live as long as the daemon: the kernel sends the parent-death signal when
//! the *thread* that forked ends. Knows nothing of why a program runs.
//!
//! A program that ends is seen through its pidfd before it is reaped. While it is a zombie its process group keeps its
//! number, so what is left of the group can be killed without ever hitting a stranger.

use super::readiness::readable;
use crate::spec::{Command, Run};
use crate::vrrp::io::{Exit, KillSignal};
use nix::sys::signal::{SigHandler, SigSet, Signal, killpg, signal};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Gid, Pid, Uid};
use rustix::process::{PidfdFlags, pidfd_open};
use std::collections::HashMap;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus, Stdio};
use tokio::sync::mpsc;

/// A run of a program, unique for the life of the process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RunId(pub u64);

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    pub id: RunId,
    pub exit: Exit,
    /// Why it could not be started, for [`Exit::NotRun`].
    pub error: Option<Box<str>>,
}

/// All programs that run.
#[derive(Debug)]
pub struct Processes {
    next: u64,
    running: HashMap<RunId, Running>,
    failed: Vec<Ended>,
    ended: mpsc::UnboundedReceiver<(RunId, Body)>,
    tell: mpsc::UnboundedSender<(RunId, Body)>,
}

/// What is waited for when a run has ended.
#[derive(Debug)]
enum Body {
    Ours(Child),
    /// Started by the program that this process was before (`vipctl upgrade`).
    Adopted(Pid),
}

impl Body {
    /// Reaps; the process has ended already.
    fn exit(self) -> Exit {
        match self {
            Body::Ours(mut child) => child.wait().map_or(Exit::NotRun, exit_of),
            Body::Adopted(pid) => match waitpid(pid, None) {
                Ok(WaitStatus::Exited(_, code)) => Exit::Code(code),
                Ok(WaitStatus::Signaled(_, signal, _)) => Exit::Signal(signal as i32),
                _ => Exit::NotRun,
            },
        }
    }
}

#[derive(Debug)]
struct Running {
    group: Pid,
    /// A signal has been sent: when the leader has ended, the rest of the group is to go too.
    signalled: bool,
}

impl Default for Processes {
    fn default() -> Self {
        let (tell, ended) = mpsc::unbounded_channel();
        Processes { next: 0, running: HashMap::new(), failed: Vec::new(), ended, tell }
    }
}

impl Processes {
    pub fn new() -> Processes {
        Processes::default()
    }

    /// Starts `run` with `extra` arguments appended. Never fails: what could not be started comes out of
    /// [`Processes::ended`] as [`Exit::NotRun`]. Must be called inside a tokio runtime.
    pub fn spawn(&mut self, run: &Run, extra: &[&str]) -> RunId {
        self.next += 1;
        let id = RunId(self.next);
        let watched = start(run, extra).and_then(|child| {
            let pid = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
            self.watch(id, pid, Body::Ours(child))
        });
        match watched {
            Ok(group) => {
                self.running.insert(id, Running { group, signalled: false });
            }
            Err(error) => {
                let error = Some(format!("{}: {error}", run.line()).into());
                self.failed.push(Ended { id, exit: Exit::NotRun, error });
            }
        }
        id
    }

    /// Signals the whole process group of a run; nothing if it has ended.
    pub fn kill(&mut self, id: RunId, signal: KillSignal) {
        if let Some(running) = self.running.get_mut(&id) {
            running.signalled = true;
            let signal = match signal {
                KillSignal::Term => Signal::SIGTERM,
                KillSignal::Kill => Signal::SIGKILL,
            };
            let _ = killpg(running.group, signal);
        }
    }

    /// Takes on a child of this process that another program of it started; `None` if there is no such child.
    pub fn adopt(&mut self, pid: i32) -> Option<RunId> {
        let pid = Pid::from_raw(pid);
        // Asked without reaping: only a child of ours may ever be signalled or waited for.
        waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT).ok()?;
        self.next += 1;
        let id = RunId(self.next);
        let group = self.watch(id, pid, Body::Adopted(pid)).ok()?;
        self.running.insert(id, Running { group, signalled: false });
        Some(id)
    }

    /// Process identifiers of all runs.
    pub fn pids(&self) -> impl Iterator<Item = (RunId, i32)> + '_ {
        self.running.iter().map(|(id, running)| (*id, running.group.as_raw()))
    }

    /// How many run.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// The next run that ends. Cancel-safe. Waits for ever when nothing runs.
    pub async fn ended(&mut self) -> Ended {
        if let Some(ended) = self.failed.pop() {
            return ended;
        }
        loop {
            let Some((id, body)) = self.ended.recv().await else { return std::future::pending().await };
            let Some(running) = self.running.remove(&id) else { continue };
            if running.signalled {
                let _ = killpg(running.group, Signal::SIGKILL);
            }
            return Ended { id, exit: body.exit(), error: None };
        }
    }

    /// Has the end of `pid` told; answers its process group, which it leads.
    fn watch(&self, id: RunId, pid: Pid, body: Body) -> io::Result<Pid> {
        let fd = rustix::process::Pid::from_raw(pid.as_raw())
            .ok_or(io::ErrorKind::NotFound.into())
            .and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::NONBLOCK)?))
            .and_then(readable);
        let fd = match fd {
            Ok(fd) => fd,
            Err(error) => {
                // Nobody would ever know that it has ended.
                let _ = killpg(pid, Signal::SIGKILL);
                let _ = body.exit();
                return Err(error);
            }
        };
        let tell = self.tell.clone();
        tokio::spawn(async move {
            let _ = fd.readable().await;
            let _ = tell.send((id, body));
        });
        Ok(pid)
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::NotRun,
    }
}

fn start(run: &Run, extra: &[&str]) -> io::Result<Child> {
    match &run.command {
        Command::Exec { path, argv } => {
            let mut command = std::process::Command::new(&**path);
            if let Some((name, arguments)) = argv.split_first() {
                command.arg0(&**name).args(arguments.iter().map(|argument| &**argument));
            }
            match prepare(command.args(extra), run, true).spawn() {
                // A text without a "#!" line: the shell knows what to do with it.
                Err(e) if e.raw_os_error() == Some(libc::ENOEXEC) => {
                    let words =
                        std::iter::once(&**path).chain(argv.iter().skip(1).map(|a| &**a)).chain(extra.iter().copied());
                    shell(&words.map(quoted).collect::<Vec<_>>().join(" "), run)
                }
                other => other,
            }
        }
        Command::Shell(line) => {
            let words = std::iter::once(line.to_string()).chain(extra.iter().map(|word| quoted(word)));
            shell(&words.collect::<Vec<_>>().join(" "), run)
        }
    }
}

fn shell(line: &str, run: &Run) -> io::Result<Child> {
    prepare(std::process::Command::new("/bin/sh").args(["-c", line]), run, false).spawn()
}

/// In single quotes, which for a shell take everything literally but themselves.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn prepare<'a>(command: &'a mut std::process::Command, run: &Run, direct: bool) -> &'a mut std::process::Command {
    for name in ["IFS", "LD_PRELOAD", "LD_LIBRARY_PATH"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).process_group(0);
    let groups: Vec<Gid> = match &run.groups {
        Some(groups) => groups.iter().copied().map(Gid::from_raw).collect(),
        None => vec![Gid::from_raw(run.gid)],
    };
    let (uid, gid) = (Uid::from_raw(run.uid), Gid::from_raw(run.gid));
    // SAFETY: between fork and exec only system calls are made: no allocation, no lock, nothing of the parent's.
    unsafe { command.pre_exec(move || become_child(uid, gid, &groups, direct)) }
}

/// Runs in the child. The order counts: limits and priorities need the daemon's rights, the parent-death signal is
/// cleared by every change of user.
fn become_child(uid: Uid, gid: Gid, groups: &[Gid], direct: bool) -> io::Result<()> {
    // All of them: whoever started the daemon may have had some ignored, and that would be handed on.
    for any in Signal::iterator() {
        // SAFETY: the default disposition runs no code of ours; signals that have no other are refused.
        let _ = unsafe { signal(any, SigHandler::SigDfl) };
    }
    let _ = SigSet::empty().thread_set_mask();
    super::privilege::ordinary();
    // Marked, not closed: std's own pipe, by which a failed exec is told, must live until exec.
    close_on_exec_from(3);
    let same = uid == Uid::effective() && gid == Gid::effective();
    if !same || Uid::effective().is_root() {
        nix::unistd::setgroups(groups)?;
        nix::unistd::setresgid(gid, gid, gid)?;
        nix::unistd::setresuid(uid, uid, uid)?;
    }
    if direct {
        nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
    }
    Ok(())
}

fn close_on_exec_from(first: libc::c_uint) {
    // SAFETY: changes flags of descriptors only; takes numbers, no memory.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done != 0 {
        for fd in 3..1024 {
            // SAFETY: as above; a number that is no descriptor is refused.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
}
