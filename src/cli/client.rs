//! The other end of the control socket: connect, ask, read answers line by line.
//!
//! A daemon answers at once or is in trouble: whoever asks is told so after [`PATIENCE`], with what the kernel knows of the
//! process. Only what is work for the daemon (a reload, an upgrade, the tale of thousands of servers) may take longer, and only
//! after it has said hello.

use super::Trouble;
use super::args::Daemon;
use super::view::Snapshot;
use crate::daemon::doors::socket::{GOING_OVER, Reply, Request, socket_path};
use crate::observe::words;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long an answer may take, and the connection before it.
pub const PATIENCE: Duration = Duration::from_millis(2_500);
/// How long work may take: a reload reads files and looks names up, an upgrade starts a program, and of ten thousand servers the
/// kernel is asked and ten megabytes are written.
const WORK: Duration = Duration::from_secs(120);
/// Between two attempts to connect to a daemon whose queue of connections is full.
const AGAIN: Duration = Duration::from_millis(50);
/// How long a daemon that has hung up is waited for.
const COMES_BACK: Duration = Duration::from_secs(3);
/// So long a look at a socket takes at most, before somebody waits for its daemon.
const GLANCE: Duration = Duration::from_millis(150);

/// A connection to one daemon.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    path: PathBuf,
    patience: Duration,
    /// The beginning of a line whose rest has not come yet.
    line: Vec<u8>,
    /// The daemon has hung up.
    gone: bool,
}

/// What came, or that nothing did.
#[derive(Debug)]
pub enum Heard {
    Reply(Reply),
    /// The daemon has hung up.
    Gone,
    /// Nothing came in time; the connection stands.
    Silence,
}

impl Client {
    /// Connects to the daemon that was asked for, or to the only one that listens in the usual place.
    ///
    /// # Errors
    /// Nobody listens, or this user may not ask.
    pub fn connect(daemon: &Daemon) -> Result<Client, Trouble> {
        Client::open(&path_of(daemon)?)
    }

    /// The same where the daemon may be going over to another program just now: for a moment nobody listens at its socket.
    ///
    /// # Errors
    /// As [`Client::connect`], after having waited for one that was there.
    pub fn connect_on(daemon: &Daemon) -> Result<Client, Trouble> {
        let begun = Instant::now();
        loop {
            let path = path_of(daemon)?;
            match Client::open(&path) {
                Err(_) if begun.elapsed() < COMES_BACK && is_left(&path) => std::thread::sleep(AGAIN),
                opened => return opened,
            }
        }
    }

    /// # Errors
    /// Nobody listens at `path`, or this user may not ask.
    pub fn open(path: &Path) -> Result<Client, Trouble> {
        let stream = connected(path, PATIENCE).map_err(|e| {
            let trouble = Trouble::new(format!("no daemon answers at {}: {}", path.display(), words::os(&e)));
            match e.kind() {
                ErrorKind::PermissionDenied => trouble.help("ask as root"),
                _ => {
                    trouble.help("`systemctl status keepalived` says whether vipd runs; --control names another socket")
                }
            }
        })?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client {
            stream: BufReader::new(stream),
            path: path.to_path_buf(),
            patience: PATIENCE,
            line: Vec::new(),
            gone: false,
        })
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// The daemon refused, hung up, did not answer in time, or answered in a way that is not understood.
    pub fn ask(&mut self, request: &Request) -> Result<Reply, Trouble> {
        match self.ask_whether(request)? {
            Reply::Refused { reason, diagnostics } => {
                Err(Trouble { what: reason, help: diagnostics.map(|d| format!("\n{d}")) })
            }
            reply => Ok(reply),
        }
    }

    /// Asks until the next program answers, where the daemon goes over to one meanwhile: that listens in the same place a moment
    /// later. What is asked must do no harm when it is asked twice.
    ///
    /// # Errors
    /// As [`Client::ask`], and that the daemon hung up and has not come back.
    pub fn ask_on(&mut self, request: &Request) -> Result<Reply, Trouble> {
        let begun = Instant::now();
        loop {
            let trouble = match self.ask(request) {
                Ok(reply) => return Ok(reply),
                Err(trouble) => trouble,
            };
            if begun.elapsed() >= COMES_BACK || (!self.gone && trouble.what != GOING_OVER) {
                return Err(trouble);
            }
            std::thread::sleep(AGAIN);
            if self.gone
                && let Ok(again) = Client::open(&self.path)
            {
                *self = again;
            }
        }
    }

    /// Where a refusal is an answer too.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub fn ask_whether(&mut self, request: &Request) -> Result<Reply, Trouble> {
        let works = matches!(request, Request::Reload | Request::Upgrade { .. } | Request::Servers);
        if works {
            // Alive it says hello at once, so that silence afterwards is work.
            self.ask(&Request::Hello)?;
            self.wait_for(WORK)?;
        }
        self.send(request)?;
        let answer = self.next();
        if works {
            self.wait_for(PATIENCE)?;
        }
        self.whole(answer?)
    }

    fn whole(&self, answer: Option<Reply>) -> Result<Reply, Trouble> {
        answer.ok_or_else(|| Trouble::new(format!("the daemon at {} hung up", self.path.display())))
    }

    /// # Errors
    /// The daemon hung up.
    pub fn send(&mut self, request: &Request) -> Result<(), Trouble> {
        let mut line = serde_json::to_vec(request).map_err(|e| Trouble::new(e.to_string()))?;
        line.push(b'\n');
        match self.stream.get_mut().write_all(&line) {
            // A daemon that has turned us away has said why before it hung up.
            Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
            sent => sent.map_err(|e| self.lost(&e)),
        }
    }

    /// The next answer; `None` when the daemon has hung up.
    ///
    /// # Errors
    /// No answer in time, or one that is not understood.
    pub fn next(&mut self) -> Result<Option<Reply>, Trouble> {
        match self.listen()? {
            Heard::Reply(reply) => Ok(Some(reply)),
            Heard::Gone => Ok(None),
            Heard::Silence => Err(self.lost(&ErrorKind::TimedOut.into())),
        }
    }

    /// What comes within the patience; what has come of a line so far is kept for the next call.
    ///
    /// # Errors
    /// An answer that is not understood.
    pub fn listen(&mut self) -> Result<Heard, Trouble> {
        match self.stream.read_until(b'\n', &mut self.line) {
            Ok(_) if self.line.last() == Some(&b'\n') => {
                let line = std::mem::take(&mut self.line);
                serde_json::from_slice(&line)
                    .map(Heard::Reply)
                    .map_err(|e| Trouble::new(format!("the daemon's answer is not understood: {e}")))
            }
            Ok(_) => Ok(self.gone()),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(Heard::Silence),
            Err(e) if e.kind() == ErrorKind::ConnectionReset => Ok(self.gone()),
            Err(e) => Err(self.lost(&e)),
        }
    }

    fn gone(&mut self) -> Heard {
        self.gone = true;
        Heard::Gone
    }

    fn wait_for(&mut self, patience: Duration) -> Result<(), Trouble> {
        self.patience = patience;
        Ok(self.stream.get_ref().set_read_timeout(Some(patience))?)
    }

    /// The daemon's snapshot, as it came and as it is read here.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub fn status(&mut self) -> Result<(serde_json::Value, Snapshot), Trouble> {
        match self.ask_on(&Request::Status)? {
            Reply::Status { status } => {
                let view = read(&status)?;
                Ok((status, view))
            }
            other => Err(unexpected(&other)),
        }
    }

    fn lost(&self, e: &std::io::Error) -> Trouble {
        match e.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                let seconds = self.patience.as_secs_f64();
                let text = format!(
                    "the daemon at {}{} does not answer: nothing came within {seconds} s",
                    self.path.display(),
                    self.process()
                );
                Trouble::new(text).help("`systemctl status keepalived` shows its process; the other servers take over from one that is silent")
            }
            _ => Trouble::new(format!("the daemon at {} hung up: {e}", self.path.display())),
        }
    }

    /// " (pid 17, which is stopped)", as far as the kernel says.
    fn process(&self) -> String {
        let Ok(peer) = getsockopt(self.stream.get_ref(), PeerCredentials) else { return String::new() };
        let pid = peer.pid();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The state follows the name, which may hold anything, in brackets.
        match stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).filter(|_| stat.contains(") ")) {
            Some('T' | 't') => format!(" (pid {pid}, which is stopped: `kill -CONT {pid}` lets it go on)"),
            Some('Z') => format!(" (pid {pid}, which has ended)"),
            Some('D') => format!(" (pid {pid}, which waits for a disk or a file system)"),
            Some(_) => format!(" (pid {pid})"),
            None => String::new(),
        }
    }
}

/// The socket that was asked for, or the only one that somebody listens at.
///
/// # Errors
/// Several daemons run here and none was named.
pub fn path_of(daemon: &Daemon) -> Result<PathBuf, Trouble> {
    // An empty variable is as good as none.
    match daemon.control.as_ref().filter(|path| !path.as_os_str().is_empty()) {
        Some(path) => Ok(path.clone()),
        None => usual_path(),
    }
}

/// Never waits for longer than that, as connect(2) does while the queue of a daemon that does not accept is full.
fn connected(path: &Path, patience: Duration) -> std::io::Result<UnixStream> {
    let begun = Instant::now();
    loop {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&socket2::SockAddr::unix(path)?) {
            Ok(()) => {
                socket.set_nonblocking(false)?;
                return Ok(std::os::fd::OwnedFd::from(socket).into());
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock && begun.elapsed() < patience => std::thread::sleep(AGAIN),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                return Err(std::io::Error::new(
                    ErrorKind::TimedOut,
                    "it does not take connections; is its process stopped?",
                ));
            }
            Err(e) => return Err(e),
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

pub(crate) fn unexpected(reply: &Reply) -> Trouble {
    let kind = serde_json::to_value(reply).ok().and_then(|value| value["reply"].as_str().map(str::to_owned));
    Trouble::new(format!("the daemon answered another question ({})", kind.unwrap_or_default()))
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
    match reach(path) {
        Ok(()) => true,
        Err(error) => matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::TimedOut),
    }
}

/// Is a socket there, and nobody behind it?
fn is_left(path: &Path) -> bool {
    reach(path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// Does somebody take connections there?
///
/// # Errors
/// `PermissionDenied`: another user's; `TimedOut`: somebody listens and does not take them; else nobody listens.
pub fn reach(path: &Path) -> std::io::Result<()> {
    connected(path, GLANCE).map(|_| ())
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::os::unix::net::UnixListener;

    /// A daemon that is alive and has ten thousand servers to tell of is silent for longer than an answer may take.
    #[test]
    fn the_tale_of_all_servers_may_take_longer_than_an_answer() {
        let path = std::env::temp_dir().join(format!("vipd-client-{}.sock", std::process::id()));
        let door = UnixListener::bind(&path).unwrap();
        let daemon = std::thread::spawn(move || {
            let (stream, _) = door.accept().unwrap();
            let mut asked = BufReader::new(&stream);
            let mut line = String::new();
            while asked.read_line(&mut line).unwrap_or(0) > 0 {
                let reply = match serde_json::from_str(&line).unwrap() {
                    Request::Servers => {
                        std::thread::sleep(PATIENCE + Duration::from_millis(200));
                        Reply::Servers { servers: "all".into() }
                    }
                    Request::Hello => {
                        Reply::Hello { name: "vipd".into(), version: "1".into(), pid: 1, config: PathBuf::new() }
                    }
                    other => panic!("{other:?}"),
                };
                // Whoever has given up is gone.
                let _ = writeln!(&stream, "{}", serde_json::to_string(&reply).unwrap());
                line.clear();
            }
        });
        let mut client = Client::open(&path).unwrap();
        for answer in [client.ask(&Request::Servers), client.ask_whether(&Request::Servers)] {
            assert!(matches!(answer, Ok(Reply::Servers { .. })), "{answer:?}");
        }
        drop(client);
        daemon.join().unwrap();
        std::fs::remove_file(path).unwrap();
    }
}
