//! Where log lines go: console, syslog, file.
//!
//! Any thread may log through `tracing`; a line is made there and put into a bounded queue, and a thread of its own
//! writes it. A stuck syslog daemon or a full disk therefore costs lines (they are counted and the loss is logged), never
//! an advert. Before the process has forked there is no thread: lines are written at once, and where that would have to
//! wait they are kept for the thread, since the program that an upgrade goes over to has adverts to send.
//!
//! Lines of the target `parent` carry the name "Keepalived", those of `bfd` "Keepalived_bfd", those of `checker`
//! "Keepalived_healthcheckers", all others "Keepalived_vrrp", as rsyslog rules expect it of
//! keepalived's processes.
//!
//! Where systemd's journal takes lines itself, they go there in its own protocol, with what they are about in fields
//! (`VIPD_INSTANCE`, `VIPD_STATE`, `VIPD_REASON`); else to /dev/log. `--log-format json` makes objects of the lines on the
//! console and in files.

use super::logfile::LogFile;
use super::options::LogOptions;
use crate::kernel::threads;
use crate::observe::calendar::Local;
use crate::observe::words;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc::{self, Receiver, Sender, error::TrySendError};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// Lines that may wait: a burst of state changes of a thousand instances. The queue is tokio's, which grows with what waits; the
/// standard library's is made whole, a megabyte for so many.
const QUEUE: usize = 8_192;
const DEV_LOG: &str = "/dev/log";
const JOURNAL: &str = "/run/systemd/journal/socket";
/// Where nobody took lines, somebody is looked for again after so long: a burst of lines does not ask for each of them.
const AGAIN: Duration = Duration::from_millis(100);
/// How long the end of the program waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);
/// How long another beginning of it does: nobody sends adverts meanwhile.
const LINES_BETWEEN: Duration = Duration::from_millis(50);

static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    sinks: Mutex<Sinks>,
    queue: OnceLock<Sender<Line>>,
    lost: AtomicU64,
    detail: u8,
}

enum Line {
    Text {
        level: Level,
        process: Process,
        said: Said,
    },
    /// Everything before this has been written when the answer comes.
    Flush(SyncSender<()>),
    Rename(String),
}

/// Opens what the command line asks for and makes it the destination of all `tracing` events. Once a process.
pub fn open(options: &LogOptions) {
    let log = Log {
        sinks: Mutex::new(Sinks::open(options)),
        queue: OnceLock::new(),
        lost: AtomicU64::new(0),
        detail: options.detail,
    };
    if LOG.set(log).is_ok() {
        let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Queue));
        log_panics();
    }
}

/// A daemon in the background has no stderr: the log is where a panic can be read.
fn log_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let thread = std::thread::current().name().unwrap_or("?").to_owned();
        let place = info.location().map_or_else(|| "?".to_owned(), ToString::to_string);
        let said = info.payload();
        let text = said.downcast_ref::<String>().map(String::as_str);
        let why = text.or_else(|| said.downcast_ref::<&str>().copied()).unwrap_or("?");
        tracing::error!(target: "parent", "Thread {thread} panicked at {place}: {why}");
        usual(info);
    }));
}

/// From here on lines are written by a thread. To be called after the last fork.
pub fn start_thread() {
    let Some(log) = LOG.get() else { return };
    let (sender, receiver) = mpsc::channel(QUEUE);
    let started = threads::start("log", move || drain(receiver));
    if started.is_ok() {
        let _ = log.queue.set(sender);
    }
}

/// The name in front of every line changes with `instance` and `net_namespace`: `Keepalived_vrrp_NAME`.
pub fn rename(suffix: &str) {
    let Some(log) = LOG.get() else { return };
    put(log, Line::Rename(suffix.to_owned()));
}

/// Waits until what has been logged is written, a second at most.
pub fn flush() {
    flush_within(LAST_LINES);
}

/// The same before another program begins in this process: it does not wait long for a console or syslog that hangs.
pub fn flush_between() {
    flush_within(LINES_BETWEEN);
}

fn flush_within(patience: Duration) {
    let Some(log) = LOG.get() else { return };
    if log.queue.get().is_none() {
        return lock(&log.sinks).write_kept(Instant::now() + patience);
    }
    let (answer, answered) = sync_channel(1);
    if put(log, Line::Flush(answer)) {
        let _ = answered.recv_timeout(patience);
    }
}

/// For the process that has forked the daemon: of the lines that are still kept it writes those of the console, which the daemon
/// has not got. All others are the daemon's to write.
pub fn leave_to_the_daemon() {
    let Some(log) = LOG.get() else { return };
    let mut sinks = lock(&log.sinks);
    (sinks.syslog, sinks.file, sinks.vrrp_file) = (None, None, None);
    sinks.write_kept(Instant::now());
}

/// Lines that could not be queued since the start.
pub fn lost() -> u64 {
    LOG.get().map_or(0, |log| log.lost.load(Ordering::Relaxed))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether there was room for it.
fn put(log: &Log, line: Line) -> bool {
    let taken = match log.queue.get() {
        None => lock(&log.sinks).write_or_keep(line),
        Some(queue) => match queue.try_send(line) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => false,
        },
    };
    if !taken {
        log.lost.fetch_add(1, Ordering::Relaxed);
    }
    taken
}

fn drain(mut receiver: Receiver<Line>) {
    let Some(log) = LOG.get() else { return };
    let mut told = 0;
    let kept = std::mem::take(&mut lock(&log.sinks).kept);
    for line in kept {
        lock(&log.sinks).take(line);
    }
    while let Some(line) = receiver.blocking_recv() {
        let mut sinks = lock(&log.sinks);
        sinks.take(line);
        let lost = log.lost.load(Ordering::Relaxed);
        if lost > told {
            let text = format!("{} log lines were lost", lost - told);
            sinks.write(Level::WARN, Process::Parent, &Said { text, ..Said::default() });
            told = lost;
        }
    }
}

/// The layer between `tracing` and the queue.
struct Queue;

impl<S: Subscriber> Layer<S> for Queue {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let detail = LOG.get().map_or(0, |log| log.detail);
        *metadata.level()
            <= if detail > 1 {
                Level::TRACE
            } else if detail == 1 {
                Level::DEBUG
            } else {
                Level::INFO
            }
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(log) = LOG.get() else { return };
        let mut said = Said::default();
        event.record(&mut said);
        let (level, process) = (*event.metadata().level(), Process::of(event.metadata().target()));
        put(log, Line::Text { level, process, said });
    }
}

/// A line: the sentence, with whatever unknown fields behind it, and what it is about.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Said {
    text: String,
    instance: Option<String>,
    state: Option<String>,
    reason: Option<String>,
}

impl Said {
    /// Name and value of what is there.
    fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [("instance", &self.instance), ("state", &self.state), ("reason", &self.reason)];
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "instance" => self.instance = Some(value.to_owned()),
            "state" => self.state = Some(value.to_owned()),
            "reason" => self.reason = Some(value.to_owned()),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            let rest = std::mem::take(&mut self.text);
            let _ = write!(self.text, "{}{rest}", words::unnumbered(&format!("{value:?}")));
        } else {
            let _ = write!(self.text, " {}={value:?}", field.name());
        }
    }
}

/// Which of keepalived's processes would have written a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Process {
    Parent,
    Vrrp,
    Bfd,
    Checker,
}

impl Process {
    fn of(target: &str) -> Process {
        match target {
            "parent" => Process::Parent,
            "bfd" => Process::Bfd,
            "checker" => Process::Checker,
            _ => Process::Vrrp,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Process::Parent => "Keepalived",
            Process::Vrrp => "Keepalived_vrrp",
            Process::Bfd => "Keepalived_bfd",
            Process::Checker => "Keepalived_healthcheckers",
        }
    }
}

struct Sinks {
    console: bool,
    syslog: Option<Syslog>,
    /// keepalived writes the lines of its VRRP process to a file of their own beside the first.
    file: Option<LogFile>,
    vrrp_file: Option<LogFile>,
    suffix: String,
    /// Lines of console and files are JSON objects.
    json: bool,
    /// What could not be written at once before there was a thread, in order.
    kept: Vec<Line>,
}

impl Sinks {
    fn open(options: &LogOptions) -> Sinks {
        let file = options.file.as_deref();
        Sinks {
            console: options.console,
            syslog: (!options.no_syslog).then(|| Syslog { facility: options.facility, socket: None, missed: None }),
            file: file.map(|path| LogFile::open(path.to_owned())),
            vrrp_file: file.map(|path| LogFile::open(beside(path, "_vrrp"))),
            suffix: String::new(),
            json: options.json,
            kept: Vec::new(),
        }
    }

    fn take(&mut self, line: Line) {
        match line {
            Line::Text { level, process, said } => self.write(level, process, &said),
            Line::Flush(answer) => {
                let _ = answer.send(());
            }
            Line::Rename(suffix) => self.suffix = suffix,
        }
    }

    /// Waits for nobody, but where a line is longer than the 4,096 bytes that a pipe with room is sure to take. False: there is no
    /// room to keep it.
    fn write_or_keep(&mut self, line: Line) -> bool {
        if self.kept.is_empty() && self.are_ready() {
            self.take(line);
        } else if self.kept.len() < QUEUE {
            self.kept.push(line);
        } else {
            return false;
        }
        true
    }

    /// Writes what is kept. A console or syslog that takes nothing until then is given up; the other one and the files get it all.
    fn write_kept(&mut self, until: Instant) {
        for line in std::mem::take(&mut self.kept) {
            while !self.are_ready() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(10));
            }
            self.console = self.console && self.console_is_ready();
            if !self.syslog_is_ready() {
                self.syslog = None;
            }
            self.take(line);
        }
    }

    /// Whether console and syslog take a line at once.
    fn are_ready(&mut self) -> bool {
        self.console_is_ready() && self.syslog_is_ready()
    }

    fn console_is_ready(&self) -> bool {
        !self.console || is_ready(std::io::stderr().as_fd())
    }

    fn syslog_is_ready(&mut self) -> bool {
        let socket = self.syslog.as_mut().and_then(Syslog::socket);
        socket.is_none_or(|socket| is_ready(socket.as_fd()))
    }

    fn write(&mut self, level: Level, process: Process, said: &Said) {
        let now = Local::now();
        let (name, parent) = (format!("{}{}", process.name(), self.suffix), process == Process::Parent);
        for line in said.text.lines() {
            let written = layout(self.json, level, &name, &now, said, line);
            let file = if parent { &mut self.file } else { &mut self.vrrp_file };
            let told = file.as_mut().and_then(|file| {
                let about = |text: &str| layout(self.json, Level::WARN, &name, &now, &Said::default(), text);
                let outcome = file.write(&written, about);
                trouble(file, outcome)
            });
            self.show(level, &now, &name, said, line, &written);
            if let Some(text) = told {
                let (said, name) = (Said::default(), format!("{}{}", Process::Parent.name(), self.suffix));
                let written = layout(self.json, Level::WARN, &name, &now, &said, &text);
                self.show(Level::WARN, &now, &name, &said, &text, &written);
            }
        }
    }

    /// Everywhere but in files.
    fn show(&mut self, level: Level, now: &Local, name: &str, said: &Said, line: &str, written: &str) {
        if self.console {
            // One write, so that lines of several threads do not mix.
            let _ = std::io::stderr().write_all(format!("{written}\n").as_bytes());
        }
        if let Some(syslog) = &mut self.syslog {
            syslog.write(level, now, name, said, line);
        }
    }
}

/// What is to be said of a file after an attempt to write to it.
fn trouble(file: &LogFile, written: Result<u64, Option<String>>) -> Option<String> {
    let path = file.path().display();
    match written {
        Ok(0) | Err(None) => None,
        Ok(missing) => Some(format!("Log file {path} is written again. Lines missing in it: {missing}")),
        Err(Some(why)) => {
            Some(format!("Unable to write log file {path}: {why}. Its lines are lost until that is mended"))
        }
    }
}

/// A line as console and files show it.
fn layout(json: bool, level: Level, name: &str, now: &Local, said: &Said, line: &str) -> String {
    if json { object(level, name, said, line) } else { format!("{}: {line}", now.ctime()) }
}

/// A line as one JSON object: `time` (RFC 3339, UTC), `level`, `name`, `pid`, `message`, and what it is about.
fn object(level: Level, name: &str, said: &Said, line: &str) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = Local::utc(i64::try_from(since.as_secs()).unwrap_or(0));
    let time = format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        at.year,
        at.month + 1,
        at.day,
        at.hour,
        at.minute,
        at.second,
        since.subsec_micros()
    );
    let level = match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        _ => "debug",
    };
    let pid = std::process::id();
    let mut object = serde_json::json!({ "time": time, "level": level, "name": name, "pid": pid, "message": line });
    for (name, value) in said.fields() {
        object[name] = value.into();
    }
    object.to_string()
}

/// `dir/name.log` → `dir/name_vrrp.log`.
fn beside(path: &Path, insert: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}{insert}{extension}"))
}

/// The datagram protocol of /dev/log (RFC 3164 without host name), which syslog daemons speak, and that of systemd's journal. libc's
/// syslog(3) would do the first, but has one name for the whole process.
struct Syslog {
    facility: u8,
    socket: Option<Socket>,
    /// When nobody was found who takes lines.
    missed: Option<Instant>,
}

enum Socket {
    Journal(UnixDatagram),
    DevLog(UnixDatagram),
}

impl Socket {
    fn connect() -> Option<Socket> {
        let to = |path: &str| {
            let socket = UnixDatagram::unbound().ok()?;
            socket.connect(path).ok()?;
            let _ = socket.set_write_timeout(Some(LAST_LINES));
            Some(socket)
        };
        to(JOURNAL).map(Socket::Journal).or_else(|| to(DEV_LOG).map(Socket::DevLog))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Journal(socket) | Socket::DevLog(socket) => socket.as_fd(),
        }
    }
}

/// Whether a line can be written without waiting. What cannot be asked is written to: that says what is wrong.
fn is_ready(to: BorrowedFd<'_>) -> bool {
    poll(&mut [PollFd::new(to, PollFlags::POLLOUT)], PollTimeout::ZERO) != Ok(0)
}

impl Syslog {
    /// Somebody who takes lines: looked for where nobody is known.
    fn socket(&mut self) -> Option<&Socket> {
        if self.socket.is_none() && self.missed.is_none_or(|at| at.elapsed() >= AGAIN) {
            self.socket = Socket::connect();
            self.missed = self.socket.is_none().then(Instant::now);
        }
        self.socket.as_ref()
    }

    fn write(&mut self, level: Level, now: &Local, name: &str, said: &Said, line: &str) {
        let severity = match level {
            Level::ERROR => 3,
            Level::WARN => 4,
            // What `-D` adds is information to keepalived too; only what a second one adds is for debugging.
            Level::INFO | Level::DEBUG => 6,
            _ => 7,
        };
        for _ in 0..2 {
            let facility = self.facility;
            let sent = match self.socket() {
                None => return,
                Some(Socket::Journal(socket)) => socket.send(entry(severity, facility, name, said, line).as_bytes()),
                Some(Socket::DevLog(socket)) => {
                    let priority = u32::from(facility) * 8 + severity;
                    let pid = std::process::id();
                    socket.send(format!("<{priority}>{} {name}[{pid}]: {line}", now.syslog()).as_bytes())
                }
            };
            if sent.is_ok() {
                return;
            }
            // The syslog daemon has been restarted: its socket is another one.
            self.socket = None;
        }
    }
}

/// A line as the journal takes it (systemd's "Native Journal Protocol"): a field a line. No value has a line end.
fn entry(severity: u32, facility: u8, name: &str, said: &Said, line: &str) -> String {
    let pid = std::process::id();
    let mut entry = format!(
        "PRIORITY={severity}\nSYSLOG_FACILITY={facility}\nSYSLOG_IDENTIFIER={name}\nSYSLOG_PID={pid}\nMESSAGE={line}\n"
    );
    for (name, value) in said.fields() {
        let value = value.replace('\n', " ");
        let _ = writeln!(entry, "VIPD_{}={value}", name.to_uppercase());
    }
    entry
}
