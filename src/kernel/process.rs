//! One program as a process: started as another user in a process group of its own, signalled, reaped.
//!
//! [`start`] does not wait for exec. A program on a file system that does not answer stays between fork and exec for as
//! long as that lasts, and nobody else is to wait with it: the child leaves in a [`Note`] why it could not execute, to be read
//! when it has ended.
//!
//! The daemon has several threads, so the child may do nothing between fork and exec but system calls: every string,
//! every pointer and the shell's command line are made before. A program that runs as the daemon's own user is a guest in the
//! daemon's memory until exec ([`super::guests`]), for half of what a copy costs. Any other gets a copy, by clone(2) itself: glibc's fork
//! runs handlers, and glibc's setresuid wants to tell threads that the child does not have. Locked memory and real-time
//! priority are not inherited. A child that hangs before exec must not hold what the daemon closes: sockets, FIFOs, the lock
//! of the pid file. So it closes everything, instead of leaving that to exec.
//!
//! Must be called on a thread that lives as long as the daemon: the kernel sends the parent-death signal when the *thread*
//! that forked ends. Knows nothing of why a program runs.

use super::guests::{Errand, Guests};
use super::notes::{Note, Notes};
use super::privilege;
use crate::spec::{Command, Exit, Run};
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::ffi::{CStr, CString, OsStr, OsString, c_char, c_int, c_long};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::rc::Rc;
use std::sync::OnceLock;

/// Variables of the daemon's environment that programs do not get: they change what a shell or the linker does.
const WITHHELD: [&str; 3] = ["IFS", "LD_PRELOAD", "LD_LIBRARY_PATH"];
const SHELL: &str = "/bin/sh";
/// Exit code of a child that could not execute its program, as shells have it.
const NOT_EXECUTED: c_int = 127;
/// Signals are numbered 1..=64.
const SIGNALS: c_int = 64;

/// A process that was started and has not been reaped.
#[derive(Debug)]
pub struct Child {
    /// Also the number of its process group, which nobody else can have before it is reaped.
    pub pid: i32,
    /// Readable when it has ended; `None` where no descriptor was to be had for that.
    pub ended: Option<OwnedFd>,
    /// To be read with [`Outfit::read`] when it has been reaped.
    pub note: Note,
}

/// Whom a signal is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whom {
    Group,
    Itself,
}

/// What children need, made when it is needed first.
#[derive(Debug)]
pub struct Outfit {
    /// `/dev/null`.
    null: Option<File>,
    environment: Option<Rc<Words>>,
    notes: Notes,
    guests: Guests<Plan>,
}

impl Default for Outfit {
    fn default() -> Outfit {
        Outfit { null: None, environment: None, notes: Notes::default(), guests: Guests::new() }
    }
}

impl Outfit {
    /// Why a child that has been reaped could not execute its program: the kernel's error number, if it could not.
    pub fn read(&mut self, note: Note) -> Option<i32> {
        self.notes.read(note)
    }
}

/// Everything that execve(2) wants, ready before the fork.
#[derive(Debug)]
struct Image {
    /// One after the other, as long as nothing is at the path: what a link led to when the configuration was read may be gone, as with
    /// each change of a Kubernetes ConfigMap, and then the link is followed as it is now. Only root could have turned it, or the
    /// program is none that script security lets run.
    programs: Vec<Program>,
    arguments: Words,
    environment: Rc<Words>,
}

#[derive(Debug)]
struct Program {
    path: CString,
    /// For a text without a `#!` line, which the shell knows what to do with.
    shell: Option<(CString, Words)>,
}

/// Strings, and the array of pointers to them that ends with null.
#[derive(Debug)]
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

    /// The daemon's environment, as programs get it: it does not change while there are any.
    fn of_the_environment() -> io::Result<Words> {
        Words::new(std::env::vars_os().filter(|(name, _)| !withheld(name)).map(variable))
    }
}

impl Image {
    fn new(run: &Run, extra: &[String], environment: Rc<Words>) -> io::Result<Image> {
        match &run.command {
            Command::Exec { path, argv } => {
                let words = || argv.iter().map(|word| &**word).chain(extra.iter().map(String::as_str));
                let as_written = argv.first().filter(|written| written.starts_with('/') && *written != path);
                let program = |path: &str| -> io::Result<Program> {
                    let quoted: Vec<String> =
                        std::iter::once(quoted(path)).chain(words().skip(1).map(quoted)).collect();
                    Ok(Program { path: CString::new(path)?, shell: Some(shell(&quoted.join(" "))?) })
                };
                Ok(Image {
                    programs: [Some(path), as_written]
                        .into_iter()
                        .flatten()
                        .map(|path| program(path))
                        .collect::<io::Result<_>>()?,
                    arguments: Words::new(words().map(|word| word.as_bytes().to_vec()))?,
                    environment,
                })
            }
            Command::Shell(line) => {
                let line: Vec<String> =
                    std::iter::once(line.to_string()).chain(extra.iter().map(|word| quoted(word))).collect();
                let (path, arguments) = shell(&line.join(" "))?;
                Ok(Image { programs: vec![Program { path, shell: None }], arguments, environment })
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

/// Starts `run` with `extra` arguments appended; descriptors 0, 1 and 2 are `/dev/null`, unless `stderr` is given. `in_turn`: it
/// executes its program after the last one that was started so.
///
/// # Errors
/// No process, memory or descriptor to be had (see [`is_shortage`]), or a NUL byte in a word. That the program cannot be
/// executed is no error here: it comes out of [`Child::note`].
pub fn start(
    outfit: &mut Outfit,
    run: &Run,
    extra: &[String],
    stderr: Option<BorrowedFd<'_>>,
    in_turn: bool,
) -> io::Result<Child> {
    let environment = match &outfit.environment {
        Some(environment) => environment.clone(),
        None => outfit.environment.insert(Rc::new(Words::of_the_environment()?)).clone(),
    };
    let image = Image::new(run, extra, environment)?;
    let null = match &mut outfit.null {
        Some(null) => null,
        closed => closed.insert(OpenOptions::new().read(true).write(true).open("/dev/null")?),
    };
    let note = outfit.notes.blank()?;
    let groups: Vec<u32> = run.groups.clone().unwrap_or_else(|| vec![run.gid]);
    let plan = Plan {
        image,
        null: null.as_raw_fd(),
        stderr: stderr.map_or(null.as_raw_fd(), |fd| fd.as_raw_fd()),
        note: note.clone(),
        uid: rustix::process::Uid::from_raw(run.uid),
        gid: rustix::process::Gid::from_raw(run.gid),
        groups: groups.into_iter().map(rustix::process::Gid::from_raw).collect(),
        direct: matches!(run.command, Command::Exec { .. }),
        parent: rustix::process::getpid(),
        limits: privilege::former_limits(),
    };
    // Nobody's handler may run in the child: it would answer for the daemon.
    let held = block_signals();
    let started = if plan.may_be_a_guest() {
        outfit.guests.start(plan, in_turn).unwrap_or_else(|plan| copy_and_start(&plan))
    } else {
        copy_and_start(&plan)
    };
    restore_signals(&held);
    let (pid, pidfd) = match started {
        Ok(started) => started,
        Err(error) => {
            outfit.notes.read(note);
            return Err(error);
        }
    };
    // SAFETY: where there is one, clone made it for us.
    let ended = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
    // The child does so as well: whichever is first, the group is there for the first signal.
    // SAFETY: takes numbers only.
    unsafe { libc::setpgid(pid, pid) };
    Ok(Child { pid, ended, note })
}

/// As fork(2): the child has a copy of everything, and a pidfd if one is to be had; -1 is none. A healthy check must not fail
/// because descriptors are short. To be called with all signals blocked.
fn copy_and_start(plan: &Plan) -> io::Result<(i32, c_int)> {
    let copy = |flags: c_int| {
        let mut pidfd: c_int = -1;
        // SAFETY: without CLONE_VM the child has a copy of everything, its stack too; it does system calls only, and never
        // returns from `run`. `pidfd` outlives the call.
        match unsafe { fork(flags, &raw mut pidfd) }? {
            // SAFETY: this is the child.
            0 => unsafe { plan.run() },
            pid => Ok((pid, pidfd)),
        }
    };
    match copy(libc::CLONE_PIDFD) {
        Err(error) if lacks_descriptors(&error) => copy(0),
        started => started,
    }
}

/// Nothing can be opened: this process has too much open already, or the whole machine.
pub(super) fn lacks_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// Is this error a lack of the machine's, which may be over in a moment, and says nothing of the program?
pub fn is_shortage(error: &io::Error) -> bool {
    lacks_descriptors(error) || matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOMEM))
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

/// Has the kernel keep a child that has ended until it is reaped, also where whoever started the daemon ignored SIGCHLD.
///
/// # Errors
/// Those of sigaction(2), none in practice.
pub fn keep_the_ended() -> io::Result<()> {
    // SAFETY: all zeroes is a value of sigaction; both are filled before they are read, and outlive the calls.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGCHLD, std::ptr::null(), &raw mut now) != 0 {
            return Err(io::Error::last_os_error());
        }
        if now.sa_sigaction == libc::SIG_IGN {
            now.sa_sigaction = libc::SIG_DFL;
            if libc::sigaction(libc::SIGCHLD, &raw const now, std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
        }
    }
    Ok(())
}

/// May there be children that this program did not start? There are some before it has started any, or processes that others
/// leave behind become children of this one.
pub fn may_have_strangers() -> bool {
    let mut inherits: c_int = 0;
    // SAFETY: `inherits` is valid for the call; all zeroes is a value of siginfo_t, which the call fills.
    let any = unsafe {
        libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut inherits, 0, 0, 0);
        let mut info: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(libc::P_ALL, 0, &raw mut info, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT) == 0
    };
    any || inherits != 0 || std::process::id() == 1
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

/// What the child needs to know: only what was there before the fork.
#[derive(Debug)]
struct Plan {
    image: Image,
    null: RawFd,
    stderr: RawFd,
    note: Note,
    uid: rustix::process::Uid,
    gid: rustix::process::Gid,
    groups: Vec<rustix::process::Gid>,
    direct: bool,
    parent: rustix::process::Pid,
    limits: privilege::Limits,
}

impl Plan {
    /// Only where it stays who it is, and where all that can fail answers without `errno`.
    fn may_be_a_guest(&self) -> bool {
        use rustix::process::{getegid, geteuid, getgid, getuid};
        let same_user = [getuid(), geteuid()] == [self.uid; 2] && [getgid(), getegid()] == [self.gid; 2];
        same_user && EXECUTES_WITHOUT_ERRNO && closes_ranges()
    }
}

/// clone(2) as fork(2), with `more` flags: 0 in the child. With CLONE_PIDFD it writes to `pidfd`.
///
/// # Safety
/// The child must do system calls only. `pidfd` must be valid for a write. `more` may share nothing of this process.
unsafe fn fork(more: c_int, pidfd: *mut c_int) -> io::Result<i32> {
    let flags = c_long::from(more | libc::SIGCHLD);
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

impl Errand for Plan {
    /// The child, up to exec. The order counts: limits and priorities need the daemon's rights, the parent-death signal is
    /// cleared by every change of user. What can fail here answers without `errno`: a guest shares it with its parent.
    unsafe fn run(&self) -> ! {
        let _ = rustix::process::setpgid(None, None);
        // SAFETY: system calls on numbers, and on memory that was there before the fork; nothing is allocated, no lock taken.
        unsafe {
            // All of them: whoever started the daemon may have had some ignored, and that would be handed on.
            // The kernel's own call: the C library's would take a lock for one of them.
            let default = KernelAction::default();
            for number in (1..=SIGNALS).filter(|number| can_be_handled(*number)) {
                libc::syscall(
                    libc::SYS_rt_sigaction,
                    number,
                    &raw const default,
                    std::ptr::null::<u8>(),
                    size_of::<u64>(),
                );
            }
            libc::dup2(self.null, 0);
            libc::dup2(self.null, 1);
            libc::dup2(self.stderr, 2);
            close_from(3);
            privilege::ordinary(&self.limits);
            let mut none = std::mem::zeroed::<libc::sigset_t>();
            libc::sigemptyset(&raw mut none);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
            if let Err(error) = change_user(self) {
                self.give_up(error.raw_os_error());
            }
            if self.direct {
                let _ = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
                if rustix::process::getppid() != Some(self.parent) {
                    // The daemon ended before it could be told of.
                    libc::_exit(NOT_EXECUTED);
                }
            }
            let image = &self.image;
            let mut error = libc::ENOENT;
            for Program { path, shell } in &image.programs {
                if error == libc::ENOENT {
                    error = execute(path, &image.arguments, &image.environment);
                    if error == libc::ENOEXEC
                        && let Some((shell, arguments)) = shell
                    {
                        error = execute(shell, arguments, &image.environment);
                    }
                }
            }
            self.give_up(error)
        }
    }
}

impl Plan {
    /// # Safety
    /// Only in the child.
    unsafe fn give_up(&self, error: c_int) -> ! {
        self.note.write(error);
        // SAFETY: the process ends.
        unsafe { libc::_exit(NOT_EXECUTED) }
    }
}

/// The two that nobody may handle: to ask for them fails.
fn can_be_handled(number: c_int) -> bool {
    number != libc::SIGKILL && number != libc::SIGSTOP
}

/// What rt_sigaction(2) takes, with room for each architecture's form: all zeroes is SIG_DFL, without flags and mask.
#[derive(Default)]
struct KernelAction {
    _zeroes: [u64; 8],
}

const EXECUTES_WITHOUT_ERRNO: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// execve(2), and the kernel's error number if it comes back.
///
/// # Safety
/// Only in a child: what is executed takes the place of everything.
unsafe fn execute(path: &CStr, arguments: &Words, environment: &Words) -> c_int {
    let (path, arguments, environment) = (path.as_ptr(), arguments.pointers.as_ptr(), environment.pointers.as_ptr());
    #[cfg(target_arch = "x86_64")]
    {
        let answer: isize;
        // SAFETY: the caller's promise; rcx and r11 are what the instruction itself changes.
        unsafe {
            std::arch::asm!("syscall", inlateout("rax") libc::SYS_execve as isize => answer, in("rdi") path, in("rsi") arguments,
                in("rdx") environment, lateout("rcx") _, lateout("r11") _, options(nostack));
        }
        -answer as c_int
    }
    #[cfg(target_arch = "aarch64")]
    {
        let answer: isize;
        // SAFETY: the caller's promise.
        unsafe {
            std::arch::asm!("svc 0", in("x8") libc::SYS_execve, inlateout("x0") path => answer, in("x1") arguments,
                in("x2") environment, options(nostack));
        }
        -answer as c_int
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    // SAFETY: the caller's promise; `errno` is this child's own.
    unsafe {
        libc::execve(path, arguments, environment);
        *libc::__errno_location()
    }
}

/// The calls are the kernel's own, for this one thread: the C library's want to reach all threads of the daemon.
fn change_user(plan: &Plan) -> Result<(), rustix::io::Errno> {
    let (own, own_group) = (rustix::process::geteuid(), rustix::process::getegid());
    if own == plan.uid && own_group == plan.gid && !own.is_root() {
        return Ok(());
    }
    rustix::thread::set_thread_groups(&plan.groups)?;
    rustix::thread::set_thread_res_gid(plan.gid, plan.gid, plan.gid)?;
    rustix::thread::set_thread_res_uid(plan.uid, plan.uid, plan.uid)
}

/// Does the kernel know close_range(2), since 5.9? Otherwise a guest would try thousands of descriptors, which fail.
fn closes_ranges() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    let nothing = libc::c_uint::MAX;
    // SAFETY: numbers only; no descriptor has this one.
    *KNOWN.get_or_init(|| unsafe { libc::syscall(libc::SYS_close_range, nothing, nothing, 0) == 0 })
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
