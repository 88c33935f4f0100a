//! `--metrics`: the page of metrics over HTTP, on a TCP address or a unix socket; just enough of it for a scraper (RFC 9112:
//! GET, one answer, close).
//!
//! However many ask, the daemon makes a page at most every [`FRESH`], and so many are served at once as any door has room
//! for: the others wait in the kernel's queue. A slow scraper loses its connection after [`PATIENCE`]; one that has yet to say what
//! it wants loses it after [`GRACE`] where another needs the place, so that no stranger keeps the scrapers out.

use super::socket::{Answer, Question, Reply, Request};
use crate::daemon::options::MetricsPlace;
use crate::observe::metrics::{Format, Names};
use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};

const PATIENCE: Duration = Duration::from_secs(10);
const REQUEST_MAX: usize = 8 << 10;
/// How long a connection may say nothing where others wait for its place.
const GRACE: Duration = Duration::from_secs(1);
/// More header lines than any scraper sends.
const HEADERS_MAX: usize = 64;
/// For so long a page that has been made serves others too.
const FRESH: Duration = Duration::from_millis(100);

/// Listens and answers on the runtime of the caller; trouble is logged.
pub fn start(place: &MetricsPlace, names: Names, questions: mpsc::Sender<Question>) {
    let room = Arc::new(Semaphore::new(super::room()));
    let door = Arc::new(Door { questions, names, room, silent: Default::default(), pages: Default::default() });
    let started = match place {
        MetricsPlace::Address(address) => std::net::TcpListener::bind(address)
            .and_then(|listener| {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener)
            })
            .map(|listener| {
                tokio::spawn(async move {
                    loop {
                        door.admit(listener.accept().await.map(|(stream, _)| stream)).await;
                    }
                });
            }),
        MetricsPlace::Path(path) => Socket::bind(path).map(|socket| {
            tokio::spawn(async move {
                loop {
                    door.admit(socket.listener.accept().await.map(|(stream, _)| stream)).await;
                }
            });
        }),
    };
    if let Err(error) = started {
        tracing::warn!(target: "parent", "No metrics at {place}: {error}");
    }
}

/// A listening unix socket; its file is removed when dropped.
struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Everybody on this machine may connect, as to a TCP port. A socket that nobody listens at any more gives way;
    /// anything else that has this name does not.
    fn bind(path: &Path) -> io::Result<Socket> {
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => return Err(io::ErrorKind::AlreadyExists.into()),
            Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            Ok(_) => fs::remove_file(path)?,
            Err(_) => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
        Ok(Socket { listener, path: path.to_owned() })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// A page, and when it was made.
type Made = Option<(Instant, Arc<str>)>;

struct Door {
    questions: mpsc::Sender<Question>,
    names: Names,
    room: Arc<Semaphore>,
    /// Those whose request is not there yet, oldest first: what is sent ends their connection.
    silent: std::sync::Mutex<VecDeque<(Instant, oneshot::Sender<()>)>>,
    /// The last page of each format. A request that waits for the lock gets the page that the one before it asked for.
    pages: [Mutex<Made>; 2],
}

impl Door {
    /// Waits until one more can be served. Where there is no place, the connection that has been silent longest gives way.
    async fn room(&self) -> Option<OwnedSemaphorePermit> {
        let mut place = std::pin::pin!(self.room.clone().acquire_owned());
        loop {
            let look = self.oldest().unwrap_or_else(Instant::now) + GRACE;
            tokio::select! {
                biased;
                place = &mut place => return place.ok(),
                () = sleep_until(look) => {
                    if self.turn_out() {
                        return place.await.ok();
                    }
                }
            }
        }
    }

    /// Since when the connection that has been silent longest is so.
    fn oldest(&self) -> Option<Instant> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner).front().map(|(since, _)| *since)
    }

    /// Ends the connection that has been silent longest, if it is so for long enough.
    fn turn_out(&self) -> bool {
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.retain(|(_, one)| !one.is_closed());
        let due = silent.front().is_some_and(|(since, _)| since.elapsed() >= GRACE);
        due && silent.pop_front().is_some_and(|(_, one)| one.send(()).is_ok())
    }

    /// Writes down a connection that has not asked for anything yet; what comes out is told when another needs its place.
    fn silent(&self) -> oneshot::Receiver<()> {
        let (end, ended) = oneshot::channel();
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.retain(|(_, one)| !one.is_closed());
        silent.push_back((Instant::now(), end));
        ended
    }

    async fn admit<S>(self: &Arc<Door>, accepted: io::Result<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match accepted {
            Ok(stream) => {
                let Some(room) = self.room().await else { return };
                let (door, turned_out) = (self.clone(), self.silent());
                tokio::spawn(async move {
                    let _ = timeout(PATIENCE, door.answer(stream, turned_out)).await;
                    drop(room);
                });
            }
            // Out of descriptors: others must end first.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }

    async fn answer(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin, turned_out: oneshot::Receiver<()>) {
        let request = tokio::select! {
            biased;
            request = head(&mut stream) => request,
            _ = turned_out => return,
        };
        let Some(request) = request else { return };
        let (status, kind, body) = self.reply(&request).await;
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let body = if request.starts_with(b"HEAD ") { "" } else { &body };
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(body.as_bytes()).await;
        let _ = stream.shutdown().await;
    }

    /// Status, content type and body.
    async fn reply(&self, request: &[u8]) -> (&'static str, &'static str, Arc<str>) {
        const PLAIN: &str = "text/plain; charset=utf-8";
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Request::new(&mut headers);
        if parsed.parse(request).is_err() {
            return ("400 Bad Request", PLAIN, "not understood\n".into());
        }
        if !matches!(parsed.method, Some("GET" | "HEAD")) {
            return ("405 Method Not Allowed", PLAIN, "".into());
        }
        let path = parsed.path.unwrap_or_default().split('?').next().unwrap_or_default();
        if !matches!(path, "/metrics" | "/") {
            return ("404 Not Found", PLAIN, "see /metrics\n".into());
        }
        let accept = parsed.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("accept"));
        let accept: Vec<_> = accept.map(|header| String::from_utf8_lossy(header.value)).collect();
        let format = self.names.format(Format::accepted(&accept.join(",")));
        match self.page(format).await {
            Some(page) => ("200 OK", format.content_type(), page),
            None => ("503 Service Unavailable", PLAIN, "stopping\n".into()),
        }
    }

    async fn page(&self, format: Format) -> Option<Arc<str>> {
        let [text, open] = &self.pages;
        let mut made = match format {
            Format::Text => text.lock().await,
            Format::OpenMetrics => open.lock().await,
        };
        if let Some((at, page)) = &*made
            && at.elapsed() < FRESH
        {
            return Some(page.clone());
        }
        let (answer, answered) = oneshot::channel();
        let request = Request::Metrics { format };
        self.questions.send(Question { request, answer: Answer::Once(answer) }).await.ok()?;
        let Reply::Text { text } = answered.await.ok()? else { return None };
        let page: Arc<str> = text.into();
        *made = Some((Instant::now(), page.clone()));
        Some(page)
    }
}

/// What stands before the body of a request, as it came.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut request = Vec::new();
    while !request.windows(4).any(|four| four == b"\r\n\r\n") {
        let mut buffer = [0u8; 1024];
        match stream.read(&mut buffer).await {
            Ok(n) if n > 0 && request.len() < REQUEST_MAX => {
                request.extend_from_slice(buffer.get(..n).unwrap_or_default());
            }
            _ => return None,
        }
    }
    Some(request)
}
