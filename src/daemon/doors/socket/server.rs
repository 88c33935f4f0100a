//! The listening side of the control socket: lines in, [`Question`]s to the services thread, lines out.
//!
//! Every client has a task of its own on the services thread's runtime; a client that does not read, or writes without
//! end, harms itself only. There is room for so many, and who neither asks nor reads is hung up on, so that nobody can
//! take the descriptors that others need.

use super::protocol::{Reply, Request};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

/// Longer requests are not understood.
const REQUEST_MAX: u64 = 64 << 10;
/// Events that a watcher may lag behind before it is hung up on.
const WATCH_QUEUE: usize = 4_096;

/// How long a client may be silent.
const IDLE: Duration = Duration::from_secs(30);
/// How long it may take to read what it is told.
const READS: Duration = Duration::from_secs(10);

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
}

impl Server {
    /// Listens at `path` (mode 0600, directories made as needed) and passes questions on. Must be called inside the
    /// runtime that will serve.
    ///
    /// # Errors
    /// `AddrInUse` when a living process listens there; otherwise what the file system says.
    pub fn start(path: &Path, questions: mpsc::Sender<Question>) -> io::Result<Server> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
            if directory == Path::new("/run/vipd") {
                std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755))?;
            }
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        tokio::spawn(async move {
            let places = super::super::room();
            let (room, watchers) = (Arc::new(Semaphore::new(places)), Arc::new(Semaphore::new(places / 2)));
            while let Ok(place) = room.clone().acquire_owned().await {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let (questions, watchers) = (questions.clone(), watchers.clone());
                        tokio::spawn(async move {
                            serve(stream, questions, &watchers).await;
                            drop(place);
                        });
                    }
                    // Out of descriptors: others must end first.
                    Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
                }
            }
        });
        Ok(Server { path: path.to_owned() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn serve(stream: UnixStream, questions: mpsc::Sender<Question>, watchers: &Semaphore) {
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
            while let Some(reply) = answers.recv().await {
                if say(&mut write, &reply).await.is_err() {
                    return;
                }
            }
            return;
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

async fn say(write: &mut tokio::net::unix::OwnedWriteHalf, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    timeout(READS, write.write_all(&line)).await?
}
