//! Becoming a daemon: two forks before the first thread, and a pipe by which the first process learns how it went.

use nix::unistd::{ForkResult, fork, pipe, setsid};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

/// What a fork makes of a process.
pub enum Side {
    /// The process that was started; it ends with this exit code.
    Starter(u8),
    /// The daemon.
    Daemon(Ready),
}

/// By which the daemon says that it stands.
#[derive(Debug)]
pub struct Ready(Option<OwnedFd>);

impl Ready {
    /// For a daemon in the foreground: nobody waits.
    pub fn nobody() -> Ready {
        Ready(None)
    }

    /// The starter ends with `code`: 0 once the pid files are written.
    pub fn tell(self, code: u8) {
        if let Some(pipe) = self.0 {
            let _ = std::fs::File::from(pipe).write_all(&[code]);
        }
    }
}

/// Forks twice, so that the daemon has no terminal and can never get one. The starter waits until the daemon stands, so
/// that whoever started it finds its pid files.
///
/// # Errors
/// No process or descriptor to be had.
pub fn detach() -> io::Result<Side> {
    let (read, write) = pipe()?;
    // SAFETY: the process has one thread, so the child may do anything that the parent may.
    match unsafe { fork()? } {
        ForkResult::Parent { .. } => {
            drop(write);
            let mut code = [1u8];
            // Without an answer the daemon has died on its way.
            let _ = std::fs::File::from(read).read_exact(&mut code);
            return Ok(Side::Starter(code[0]));
        }
        ForkResult::Child => {}
    }
    drop(read);
    setsid()?;
    // SAFETY: as above.
    if let ForkResult::Parent { .. } = unsafe { fork()? } {
        // Nothing is to be cleaned up here: it all belongs to the daemon.
        // SAFETY: _exit ends the process and returns to nobody.
        unsafe { libc::_exit(0) }
    }
    std::env::set_current_dir("/")?;
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    rustix::io::fcntl_setfd(&write, rustix::io::FdFlags::CLOEXEC)?;
    Ok(Side::Daemon(Ready(Some(write))))
}
