//! One program as a process: started as another user in a process group of its own, signalled, reaped.
//!
//! [`start`] does not wait for exec. A program on a file system that does not answer stays between fork and exec for as
//! long as that lasts, and nobody else is to wait with it: the child says through a pipe why it could not execute, and
//! the pipe's end without a word means that it did. The owner of the [`Child`] reads it when there is something to read.
//!
//! The daemon has several threads, so the child may do nothing between fork and exec but system calls: every string,
//! every pointer and the shell's command line are made before. It is forked by clone(2) itself: glibc's fork runs handlers,
//! and glibc's setresuid wants to tell threads that the child does not have. Memory is copied on write and not shared as
//! with vfork, which would stop the forking thread until exec; locked memory and real-time priority are not inherited. A
//! child that hangs before exec must not hold what the daemon closes: sockets, FIFOs, the lock of the pid file. So it
//! closes everything, instead of leaving that to exec.
//!
//! Must be called on a thread that lives as long as the daemon: the kernel sends the parent-death signal when the *thread*
//! that forked ends. Knows nothing of why a program runs.

use super::privilege;
use crate::spec::{Command, Exit, Run};
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::ffi::{CString, OsStr, OsString, c_char, c_int, c_long};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Variables of the daemon's environment that programs do not get: they change what a shell or the linker does.
const WITHHELD: [&str; 3] = ["IFS", "LD_PRELOAD", "LD_LIBRARY_PATH"];
const SHELL: &str = "/bin/sh";
/// Exit code of a child that could not execute its program, as shells have it.
const NOT_EXECUTED: c_int = 127;
/// The only descriptor beside 0, 1 and 2 that a child keeps up to exec.
const ERRORS: RawFd = 3;
/// Signals are numbered 1..=64.
const SIGNALS: c_int = 64;

/// A process that was started and has not been reaped.
#[derive(Debug)]
pub struct Child {
    /// Also the number of its process group, which nobody else can have before it is reaped.
    pub pid: i32,
    /// Readable when it has ended.
    pub ended: OwnedFd,
    /// The kernel's error number (four bytes) when it could not be executed; then, or when it could be, the end.
    pub executed: OwnedFd,
}

/// Whom a signal is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whom {
    Group,
    Itself,
}

/// What every child gets.
#[derive(Debug, Default)]
pub struct Outfit {
    /// `/dev/null`, opened when it is needed first.
    null: Option<File>,
}

/// Everything that execve(2) wants, ready before the fork.
struct Image {
    path: CString,
    arguments: Words,
    /// For a text without a `#!` line, which the shell knows what to do with.
    shell: Option<(CString, Words)>,
    environment: Words,
}

/// Strings, and the array of pointers to them that ends with null.
struct Words {
    _strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Words {
    fn new(strings: impl Iterator<Item = Vec<u8>>) -> io::Result<Words> {
        let strings = strings.map(CString::new).collect::<Result<Vec<_>, _>>()?;
        // The text of a CString does not move with it.
        let pointers = strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect();
        Ok(Words { _strings: strings, pointers })
    }
}

impl Image {
    fn new(run: &Run, extra: &[String]) -> io::Result<Image> {
        let environment = Words::new(std::env::vars_os().filter(|(name, _)| !withheld(name)).map(variable))?;
        match &run.command {
            Command::Exec { path, argv } => {
                let words = || argv.iter().map(|word| &**word).chain(extra.iter().map(String::as_str));
                let quoted: Vec<String> = std::iter::once(&**path).chain(words().skip(1)).map(quoted).collect();
                Ok(Image {
                    path: CString::new(&**path)?,
                    arguments: Words::new(words().map(|word| word.as_bytes().to_vec()))?,
                    shell: Some(shell(&quoted.join(" "))?),
                    environment,
                })
            }
            Command::Shell(line) => {
                let line: Vec<String> =
                    std::iter::once(line.to_string()).chain(extra.iter().map(|word| quoted(word))).collect();
                let (path, arguments) = shell(&line.join(" "))?;
                Ok(Image { path, arguments, shell: None, environment })
            }
        }
    }
}

fn withheld(name: &OsStr) -> bool {
    WITHHELD.iter().any(|withheld| name == *withheld)
}

fn variable((name, value): (OsString, OsString)) -> Vec<u8> {
    let mut text = name.into_vec();
    text.push(b'=');
    text.extend_from_slice(value.as_bytes());
    text
}

fn shell(line: &str) -> io::Result<(CString, Words)> {
    let words = [SHELL, "-c", line].map(|word| word.as_bytes().to_vec());
    Ok((CString::new(SHELL)?, Words::new(words.into_iter())?))
}

/// In single quotes, which for a shell take everything literally but themselves.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Starts `run` with `extra` arguments appended; descriptors 0, 1 and 2 are `/dev/null`, unless `stderr` is given.
///
/// # Errors
/// No process, memory or descriptor to be had (see [`is_shortage`]), or a NUL byte in a word. That the program cannot be
/// executed is no error here: it comes out of [`Child::executed`].
pub fn start(outfit: &mut Outfit, run: &Run, extra: &[String], stderr: Option<BorrowedFd<'_>>) -> io::Result<Child> {
    let image = Image::new(run, extra)?;
    let null = match &mut outfit.null {
        Some(null) => null,
        closed => closed.insert(OpenOptions::new().read(true).write(true).open("/dev/null")?),
    };
    let (executed, errors) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK)?;
    let groups: Vec<u32> = run.groups.clone().unwrap_or_else(|| vec![run.gid]);
    let groups: Vec<rustix::process::Gid> = groups.into_iter().map(rustix::process::Gid::from_raw).collect();
    let direct = matches!(run.command, Command::Exec { .. });
    let plan = Plan {
        image: &image,
        null: null.as_raw_fd(),
        stderr: stderr.map_or(null.as_raw_fd(), |fd| fd.as_raw_fd()),
        errors: errors.as_raw_fd(),
        uid: rustix::process::Uid::from_raw(run.uid),
        gid: rustix::process::Gid::from_raw(run.gid),
        groups: &groups,
        direct,
        parent: rustix::process::getpid().as_raw_pid(),
        limits: privilege::former_limits(),
    };
    let mut pidfd: c_int = -1;
    // Nobody's handler may run in the child: it would answer for the daemon.
    let held = block_signals();
    // SAFETY: without CLONE_VM the child has a copy of everything, its stack too; it does system calls only, and never
    // returns from `become_program`. `pidfd` outlives the call.
    let forked = unsafe { fork(&raw mut pidfd) };
    let pid = match forked {
        // SAFETY: this is the child.
        Ok(0) => unsafe { become_program(&plan) },
        other => other,
    };
    restore_signals(&held);
    let pid = pid?;
    // SAFETY: clone made the descriptor for us.
    let ended = unsafe { OwnedFd::from_raw_fd(pidfd) };
    // The child does so as well: whichever is first, the group is there for the first signal.
    // SAFETY: takes numbers only.
    unsafe { libc::setpgid(pid, pid) };
    Ok(Child { pid, ended, executed })
}

/// Is this error a lack of the machine's, which may be over in a moment, and says nothing of the program?
pub fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE))
}

/// The child of a former program of this process (`vipctl upgrade`); `None` if there is no such child.
pub fn adopt(pid: i32) -> Option<OwnedFd> {
    // Asked without reaping: only a child of ours may ever be signalled or waited for.
    // SAFETY: all zeroes is a value of siginfo_t; the call fills it.
    let known = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let id = libc::id_t::try_from(pid).ok()?;
        libc::waitid(libc::P_PID, id, &raw mut info, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT)
    };
    let pid = rustix::process::Pid::from_raw(pid).filter(|_| known == 0)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// Signals a child that has not been reaped: until then neither it nor its group can be a stranger.
pub fn signal(pid: i32, ended: &impl AsFd, whom: Whom, number: c_int) {
    match whom {
        Whom::Group => {
            // SAFETY: takes numbers only.
            unsafe { libc::killpg(pid, number) };
        }
        Whom::Itself => {
            if let Some(signal) = Signal::from_named_raw(number) {
                let _ = pidfd_send_signal(ended, signal);
            }
        }
    }
}

/// Reaps a child that has ended, without ever waiting for it; `None` if it has not, or is no child.
pub fn reap(pid: i32) -> Option<Exit> {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    let reaped = unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) };
    if reaped != pid {
        return None;
    }
    Some(if libc::WIFEXITED(status) {
        Exit::Code(libc::WEXITSTATUS(status))
    } else {
        Exit::Signal(libc::WTERMSIG(status))
    })
}

/// A child that has ended and is not reaped yet, whosoever it is: processes left behind by others become children of
/// process 1.
pub fn any_ended() -> Option<i32> {
    // SAFETY: all zeroes is a value of siginfo_t; the call fills it, and leaves the zero if there is nobody.
    let pid = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        if libc::waitid(libc::P_ALL, 0, &raw mut info, flags) != 0 {
            return None;
        }
        info.si_pid()
    };
    (pid != 0).then_some(pid)
}

/// What [`Child::executed`] says; to be asked when it is readable. `None`: nothing yet.
///
/// # Errors
/// The program could not be executed, and why.
pub fn execution(executed: &impl AsFd) -> Option<io::Result<()>> {
    let mut number = [0u8; 4];
    match rustix::io::read(executed, &mut number) {
        Ok(4) => Some(Err(io::Error::from_raw_os_error(i32::from_ne_bytes(number)))),
        Ok(_) => Some(Ok(())),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => None,
        Err(error) => Some(Err(error.into())),
    }
}

/// What the child needs to know: only what was there before the fork.
struct Plan<'a> {
    image: &'a Image,
    null: RawFd,
    stderr: RawFd,
    errors: RawFd,
    uid: rustix::process::Uid,
    gid: rustix::process::Gid,
    groups: &'a [rustix::process::Gid],
    direct: bool,
    parent: i32,
    limits: privilege::Limits,
}

/// clone(2) as fork(2), with a pidfd: 0 in the child.
///
/// # Safety
/// The child must do system calls only. `pidfd` must be valid for a write.
unsafe fn fork(pidfd: *mut c_int) -> io::Result<i32> {
    let flags = c_long::from(libc::CLONE_PIDFD | libc::SIGCHLD);
    let no_stack: c_long = 0;
    let (first, second) = if cfg!(target_arch = "s390x") { (no_stack, flags) } else { (flags, no_stack) };
    let zero: c_long = 0;
    // SAFETY: the caller's promise.
    let pid = unsafe { libc::syscall(libc::SYS_clone, first, second, pidfd, zero, zero) };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(pid as i32)
}

fn block_signals() -> libc::sigset_t {
    // SAFETY: both sets are filled before they are read; the mask is this thread's.
    unsafe {
        let (mut all, mut before) = (std::mem::zeroed::<libc::sigset_t>(), std::mem::zeroed::<libc::sigset_t>());
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        before
    }
}

fn restore_signals(before: &libc::sigset_t) {
    // SAFETY: a set that pthread_sigmask filled.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, std::ptr::null_mut()) };
}

/// The child, up to exec. The order counts: limits and priorities need the daemon's rights, the parent-death signal is
/// cleared by every change of user.
///
/// # Safety
/// Only in a child that was just forked, with all signals blocked.
unsafe fn become_program(plan: &Plan<'_>) -> ! {
    // SAFETY: system calls on numbers, and on memory that was there before the fork; nothing is allocated, no lock taken.
    unsafe {
        libc::setpgid(0, 0);
        // All of them: whoever started the daemon may have had some ignored, and that would be handed on.
        let mut default: libc::sigaction = std::mem::zeroed();
        default.sa_sigaction = libc::SIG_DFL;
        for number in 1..=SIGNALS {
            libc::sigaction(number, &raw const default, std::ptr::null_mut());
        }
        libc::dup2(plan.null, 0);
        libc::dup2(plan.null, 1);
        libc::dup2(plan.stderr, 2);
        if plan.errors != ERRORS {
            libc::dup3(plan.errors, ERRORS, libc::O_CLOEXEC);
        }
        close_from(ERRORS + 1);
        privilege::ordinary(&plan.limits);
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        if let Err(error) = change_user(plan) {
            give_up(error.raw_os_error());
        }
        if plan.direct {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM as libc::c_ulong, 0, 0, 0);
            if libc::getppid() != plan.parent {
                // The daemon ended before it could be told of.
                libc::_exit(NOT_EXECUTED);
            }
        }
        let image = plan.image;
        let environment = image.environment.pointers.as_ptr();
        libc::execve(image.path.as_ptr(), image.arguments.pointers.as_ptr(), environment);
        let mut error = *libc::__errno_location();
        if error == libc::ENOEXEC
            && let Some((shell, arguments)) = &image.shell
        {
            libc::execve(shell.as_ptr(), arguments.pointers.as_ptr(), environment);
            error = *libc::__errno_location();
        }
        give_up(error)
    }
}

/// The calls are the kernel's own, for this one thread: the C library's want to reach all threads of the daemon.
fn change_user(plan: &Plan<'_>) -> Result<(), rustix::io::Errno> {
    let (own, own_group) = (rustix::process::geteuid(), rustix::process::getegid());
    if own == plan.uid && own_group == plan.gid && !own.is_root() {
        return Ok(());
    }
    rustix::thread::set_thread_groups(plan.groups)?;
    rustix::thread::set_thread_res_gid(plan.gid, plan.gid, plan.gid)?;
    rustix::thread::set_thread_res_uid(plan.uid, plan.uid, plan.uid)
}

/// # Safety
/// Only in the child.
unsafe fn give_up(error: c_int) -> ! {
    let bytes = error.to_ne_bytes();
    // SAFETY: the bytes live here; the descriptor is the pipe's, and the process ends.
    unsafe {
        libc::write(ERRORS, bytes.as_ptr().cast(), bytes.len());
        libc::_exit(NOT_EXECUTED)
    }
}

/// # Safety
/// Only in the child, which owns none of the descriptors in the daemon's sense.
unsafe fn close_from(first: RawFd) {
    // SAFETY: numbers only; in the child nothing uses these descriptors any more.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) != 0 {
            for fd in first..4096 {
                libc::close(fd);
            }
        }
    }
}
