//! The listening side of the control socket: lines in, [`Question`]s to the services thread, lines out.
//!
//! Every client has a task of its own on the services thread's runtime; a client that does not read, or writes without
//! end, harms itself only. There is room for so many, and who neither asks nor reads is hung up on, so that nobody can
//! take the descriptors that others need. What a client may ask for depends on who it is ([`Access`]).

use super::protocol::{Access, Line, Reply, Request, SCHEMA};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

/// Longer requests are not understood.
const REQUEST_MAX: u64 = 64 << 10;
/// Events that a watcher may lag behind before it is hung up on.
const WATCH_QUEUE: usize = 4_096;

/// Members of this group may connect and read; there need not be one.
const READERS: &str = "vipd";
const GROUPS: &str = "/etc/group";

/// How long a client may be silent.
const IDLE: Duration = Duration::from_secs(30);
/// How long it may take to read what it is told.
const READS: Duration = Duration::from_secs(10);

/// How often it is seen to that the socket is where clients look for it.
const LOOK: Duration = Duration::from_secs(2);

/// A request and where its answers go.
#[derive(Debug)]
pub struct Question {
    pub request: Request,
    pub answer: Answer,
}

/// What a question is answered with.
#[derive(Debug)]
pub enum Answer {
    Once(oneshot::Sender<Reply>),
    /// For [`Request::Watch`].
    Stream(mpsc::Sender<Reply>),
}

/// The socket; its file is removed when dropped.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens at `path` (directories made as needed) and passes questions on. The socket's mode is 0600, or 0660 with the
    /// group [`READERS`] where the machine has it, and it is so before anybody can reach the socket. Must be called
    /// inside the runtime that will serve.
    ///
    /// # Errors
    /// `AddrInUse` when a living process listens there; otherwise what the file system says.
    pub fn start(path: &Path, questions: mpsc::Sender<Question>) -> io::Result<Server> {
        let directory = prepare(path)?;
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let listener = listen(directory, path)?;
        let task = tokio::spawn(accept(listener, path.to_owned(), questions));
        Ok(Server { path: path.to_owned(), task })
    }
}

/// Gives each connection a place and a task, and sees to it that the socket stays where it is looked for.
async fn accept(mut listener: UnixListener, path: PathBuf, questions: mpsc::Sender<Question>) {
    let places = super::super::room();
    let (room, watchers) = (Arc::new(Semaphore::new(places)), Arc::new(Semaphore::new(places / 2)));
    // Those who may only look cannot keep those out who have something to do, nor those who watch for them.
    let lookers = Arc::new(Semaphore::new((places / 4).max(1)));
    let mut look = Instant::now() + LOOK;
    while let Ok(place) = room.clone().acquire_owned().await {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = sleep_until(look) => {
                look = Instant::now() + LOOK;
                listener = put_back(&path).unwrap_or(listener);
                continue;
            }
        };
        match accepted {
            Ok((stream, _)) => {
                let may_change = may_change(&stream);
                let looker = if may_change { None } else { Some(lookers.clone().try_acquire_owned()) };
                if matches!(looker, Some(Err(_))) {
                    turn_away(stream);
                    continue;
                }
                let (questions, watchers) = (questions.clone(), watchers.clone());
                tokio::spawn(async move {
                    serve(stream, may_change, questions, &watchers).await;
                    drop((place, looker));
                });
            }
            // Out of descriptors: others must end first.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
    }
}

/// Another socket where somebody, or a program that tidies /run, has removed the one that was there. What stands there is left alone.
fn put_back(path: &Path) -> Option<UnixListener> {
    let gone = std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    let listener = gone.then(|| prepare(path).and_then(|directory| listen(directory, path)))?.ok()?;
    tracing::warn!(target: "parent", "The control socket {} was removed by another program, put back", path.display());
    Some(listener)
}

/// The folder of the socket, which is made as needed.
fn prepare(path: &Path) -> io::Result<&Path> {
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    if directory == Path::new("/run/vipd") {
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(directory)
}

impl Drop for Server {
    fn drop(&mut self) {
        // Before the file goes, so that it is not put back.
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The user at the other end, as the kernel says (SO_PEERCRED), decides what may be asked for. A user of another user
/// namespace has a number that no user here has.
fn may_change(stream: &UnixStream) -> bool {
    let own = nix::unistd::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}

/// Makes the socket where nobody else comes in, and puts it in its place when it has its mode: whoever finds it there
/// finds it as it is to be, whatever the process's umask is.
fn listen(directory: &Path, path: &Path) -> io::Result<UnixListener> {
    let closed = directory.join(format!(".{}", std::process::id()));
    let inside = closed.join("s");
    let clear = || {
        let _ = std::fs::remove_file(&inside);
        let _ = std::fs::remove_dir(&closed);
    };
    clear();
    std::fs::DirBuilder::new().mode(0o700).create(&closed)?;
    // The process's umask takes away what it needs to be entered.
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700))?;
    let made = UnixListener::bind(&inside)
        .and_then(|listener| protect(&inside).and_then(|()| std::fs::rename(&inside, path)).map(|()| listener));
    clear();
    made
}

/// Gives the socket the mode that it is to have.
fn protect(path: &Path) -> io::Result<()> {
    let readers = std::fs::read_to_string(GROUPS).ok().and_then(|groups| group(&groups, READERS));
    // Who may not give files away, or is in a container without that group, has no readers.
    let given = readers.is_some_and(|group| std::os::unix::fs::chown(path, None, Some(group)).is_ok());
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(if given { 0o660 } else { 0o600 }))
}

/// Number of a group. The file is read, not the name service, which may ask a network that is not there yet.
fn group(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    })
}

async fn serve(stream: UnixStream, may_change: bool, questions: mpsc::Sender<Question>, watchers: &Semaphore) {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        match timeout(IDLE, (&mut read).take(REQUEST_MAX).read_until(b'\n', &mut line)).await {
            Ok(Ok(n)) if n > 0 && line.last() == Some(&b'\n') => {}
            _ => return,
        }
        let request: Request = match serde_json::from_slice(&line) {
            Ok(request) => request,
            Err(error) => {
                let reply = Reply::Refused { reason: format!("not understood: {error}"), diagnostics: None };
                if say(&mut write, &reply).await.is_err() {
                    return;
                }
                continue;
            }
        };
        if request.access() == Access::Changing && !may_change {
            let reason = "only root may ask for this; this user may look".into();
            if say(&mut write, &Reply::Refused { reason, diagnostics: None }).await.is_err() {
                return;
            }
            continue;
        }
        if request == Request::Watch {
            // The others' places are for questions.
            let Ok(_place) = watchers.try_acquire() else {
                let reason = "as many are watching as may at once".into();
                let _ = say(&mut write, &Reply::Refused { reason, diagnostics: None }).await;
                return;
            };
            let (answer, mut answers) = mpsc::channel(WATCH_QUEUE);
            if questions.send(Question { request, answer: Answer::Stream(answer) }).await.is_err() {
                return;
            }
            let mut order = StatusFirst::default();
            loop {
                tokio::select! {
                    reply = answers.recv() => {
                        let Some(reply) = reply else { return };
                        for reply in order.next(reply) {
                            if say(&mut write, &reply).await.is_err() {
                                return;
                            }
                        }
                        if order.early.len() >= WATCH_QUEUE {
                            return;
                        }
                    }
                    // The client has gone: its place is free before something happens that could not be told to it.
                    _ = read.fill_buf() => return,
                }
            }
        }
        let (answer, answered) = oneshot::channel();
        if questions.send(Question { request, answer: Answer::Once(answer) }).await.is_err() {
            return;
        }
        let Ok(reply) = answered.await else { return };
        if say(&mut write, &reply).await.is_err() {
            return;
        }
    }
}

/// What a watcher is told: the status, and then every event. The status takes a moment to make, and what happens meanwhile waits
/// for it.
#[derive(Default)]
struct StatusFirst {
    told: bool,
    early: Vec<Reply>,
}

impl StatusFirst {
    /// What can be told when this has come, in order.
    fn next(&mut self, reply: Reply) -> Vec<Reply> {
        self.told |= matches!(reply, Reply::Status { .. });
        if !self.told {
            self.early.push(reply);
            return Vec::new();
        }
        let mut all = vec![reply];
        all.append(&mut self.early);
        all
    }
}

/// Says to whoever may only look that there is no place. A connection that has just been made has room for a line, and
/// nobody waits until it is read.
fn turn_away(stream: UnixStream) {
    let reason = "as many are looking as may at once; root has other places".into();
    let reply = Reply::Refused { reason, diagnostics: None };
    // The runtime does not know yet that it can be written to.
    if let (Ok(line), Ok(mut stream)) = (line(&reply), stream.into_std()) {
        let _ = std::io::Write::write(&mut stream, &line);
    }
}

/// An answer as it goes over the socket.
fn line(reply: &Reply) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(&Line { schema: SCHEMA, reply })?;
    line.push(b'\n');
    Ok(line)
}

async fn say(write: &mut tokio::net::unix::OwnedWriteHalf, reply: &Reply) -> io::Result<()> {
    timeout(READS, write.write_all(&line(reply)?)).await?
}

#[cfg(test)]
mod tests {
    use super::{Reply, StatusFirst, group};
    use serde_json::Value;

    #[test]
    fn a_watcher_is_told_the_status_before_what_happened_while_it_was_made() {
        let event = |unix_micros| Reply::Event { unix_micros, event: Value::Null };
        let times = |replies: Vec<Reply>| -> Vec<Option<u64>> {
            let time =
                |reply: &Reply| if let Reply::Event { unix_micros, .. } = reply { Some(*unix_micros) } else { None };
            replies.iter().map(time).collect()
        };
        let mut order = StatusFirst::default();
        assert_eq!(times(order.next(event(1))), []);
        assert_eq!(times(order.next(event(2))), []);
        assert_eq!(times(order.next(Reply::Status { status: Value::Null })), [None, Some(1), Some(2)]);
        assert_eq!(times(order.next(event(3))), [Some(3)]);
    }

    #[test]
    fn a_group_is_found_by_its_whole_name() {
        let groups = "root:x:0:\nvipdx:x:7:\nvipd:x:991:nagios,zabbix\nbroken\nvipd2:x:y:\n";
        assert_eq!(group(groups, "vipd"), Some(991));
        assert_eq!(group(groups, "vip"), None);
        assert_eq!(group(groups, "broken"), None);
        assert_eq!(group(groups, "vipd2"), None);
    }
}
