//! The other end of the control socket: connect, ask, read answers line by line.

use super::Trouble;
use super::args::Daemon;
use super::view::Snapshot;
use crate::daemon::doors::socket::{Reply, Request, socket_path};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an answer may take: a reload reads files, an upgrade starts a program.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to one daemon.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    path: PathBuf,
}

impl Client {
    /// Connects to the daemon that was asked for, or to the only one that listens in the usual place.
    ///
    /// # Errors
    /// Nobody listens, or this user may not ask.
    pub fn connect(daemon: &Daemon) -> Result<Client, Trouble> {
        let path = match &daemon.control {
            Some(path) => path.clone(),
            None => usual_path()?,
        };
        Client::open(&path)
    }

    /// # Errors
    /// Nobody listens at `path`, or this user may not ask.
    pub fn open(path: &Path) -> Result<Client, Trouble> {
        let stream = UnixStream::connect(path).map_err(|e| {
            let trouble = Trouble::new(format!("no daemon answers at {}: {e}", path.display()));
            match e.kind() {
                ErrorKind::PermissionDenied => trouble.help("ask as root"),
                _ => {
                    trouble.help("`systemctl status keepalived` says whether vipd runs; --control names another socket")
                }
            }
        })?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client { stream: BufReader::new(stream), path: path.to_path_buf() })
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// The daemon refused, hung up, did not answer in time, or answered in a way that is not understood.
    pub fn ask(&mut self, request: &Request) -> Result<Reply, Trouble> {
        self.send(request)?;
        match self.next()? {
            Some(Reply::Refused { reason, diagnostics }) => {
                Err(Trouble { what: reason, help: diagnostics.map(|d| format!("\n{d}")) })
            }
            Some(reply) => Ok(reply),
            None => Err(Trouble::new(format!("the daemon at {} hung up", self.path.display()))),
        }
    }

    /// # Errors
    /// The daemon hung up.
    pub fn send(&mut self, request: &Request) -> Result<(), Trouble> {
        let mut line = serde_json::to_vec(request).map_err(|e| Trouble::new(e.to_string()))?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).map_err(|e| self.lost(&e))
    }

    /// The next answer; `None` when the daemon has hung up.
    ///
    /// # Errors
    /// No answer in time, or one that is not understood.
    pub fn next(&mut self) -> Result<Option<Reply>, Trouble> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => Ok(None),
            Ok(_) => serde_json::from_str(&line)
                .map(Some)
                .map_err(|e| Trouble::new(format!("the daemon's answer is not understood: {e}"))),
            Err(e) => Err(self.lost(&e)),
        }
    }

    /// Waits for answers without a limit: for `watch`.
    ///
    /// # Errors
    /// Those of setsockopt(2).
    pub fn be_patient(&mut self) -> Result<(), Trouble> {
        Ok(self.stream.get_ref().set_read_timeout(None)?)
    }

    /// The daemon's snapshot, as it came and as it is read here.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub fn status(&mut self) -> Result<(serde_json::Value, Snapshot), Trouble> {
        match self.ask(&Request::Status)? {
            Reply::Status { status } => {
                let view = read(&status)?;
                Ok((status, view))
            }
            other => Err(unexpected(&other)),
        }
    }

    fn lost(&self, e: &std::io::Error) -> Trouble {
        match e.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Trouble::new(format!(
                "the daemon at {} did not answer within {} s",
                self.path.display(),
                PATIENCE.as_secs()
            )),
            _ => Trouble::new(format!("the daemon at {} hung up: {e}", self.path.display())),
        }
    }
}

/// A snapshot out of JSON.
///
/// # Errors
/// Its shape is not that of a snapshot.
pub fn read(status: &serde_json::Value) -> Result<Snapshot, Trouble> {
    serde_json::from_value(status.clone()).map_err(|e| Trouble::new(format!("the snapshot is not understood: {e}")))
}

pub fn unexpected(reply: &Reply) -> Trouble {
    Trouble::new(format!("the daemon gave an answer to another question: {reply:?}"))
}

/// The sockets in the usual directory behind which a daemon is, the plain one first.
pub fn listening() -> Vec<PathBuf> {
    let plain = socket_path(None, None, None);
    let list = plain.parent().and_then(|directory| std::fs::read_dir(directory).ok());
    let mut found: Vec<PathBuf> = list.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.retain(|path| path.to_string_lossy().ends_with("control.sock") && listens(path));
    found.sort_by_key(|path| (*path != plain, path.clone()));
    found
}

/// A socket whose daemon was killed stays in the file system: only an answer counts. Somebody who may not ask is told so
/// by the attempt to connect.
fn listens(path: &Path) -> bool {
    match UnixStream::connect(path) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::PermissionDenied,
    }
}

/// The plain path if somebody listens there, else the only other socket where somebody does.
fn usual_path() -> Result<PathBuf, Trouble> {
    let plain = socket_path(None, None, None);
    match listening().as_slice() {
        [] => Ok(plain),
        [first, ..] if *first == plain => Ok(plain),
        [only] => Ok(only.clone()),
        several => {
            let lines: Vec<String> =
                several.iter().map(|path| format!("\n  --control {}{}", path.display(), who(path))).collect();
            Err(Trouble::new("several daemons run here").help(format!("say which:{}", lines.concat())))
        }
    }
}

/// Which daemon it is, as far as it says.
fn who(path: &Path) -> String {
    let hello = Client::open(path).and_then(|mut client| client.ask(&Request::Hello));
    match hello {
        Ok(Reply::Hello { pid, config, .. }) => format!("  (pid {pid}, {})", config.display()),
        _ => String::new(),
    }
}
