//! The client: asks the virtual address for a page at a steady pace and notes who answered, if anybody did.
//!
//! A request is sent on time whatever became of the ones before it, so a gap is measured and not stretched by waiting.

use super::Trouble;
use super::plan::Asked;
use super::rehearsal::Fact;
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::UnboundedSender;

/// From request to request.
pub const PACE: Duration = Duration::from_millis(20);
/// The same at a virtual server.
const SERVICE_PACE: Duration = Duration::from_millis(50);
/// How long an answer may take before it counts as none.
const PATIENCE: Duration = Duration::from_millis(1000);

/// One request and what became of it.
#[derive(Clone, Debug)]
pub struct Answer {
    pub sent: Instant,
    pub done: Instant,
    /// Who answered.
    pub by: Option<String>,
}

/// Starts the client on a thread of its own inside a network namespace. It ends when nobody listens any more.
pub(super) fn start(
    door: File,
    target: SocketAddr,
    services: Vec<Asked>,
    tell: UnboundedSender<Fact>,
) -> Result<(), Trouble> {
    std::thread::Builder::new().name("client".into()).spawn(move || {
        if setns(door, CloneFlags::CLONE_NEWNET).is_err() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async move {
            for (number, asked) in services.into_iter().enumerate() {
                tokio::spawn(ask_service(number, asked, tell.clone()));
            }
            let mut beat = tokio::time::interval(PACE);
            beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
            while !tell.is_closed() {
                beat.tick().await;
                let tell = tell.clone();
                let sent = Instant::now();
                let _ = tell.send(Fact::Asked(sent));
                tokio::spawn(async move {
                    let by = tokio::time::timeout(PATIENCE, ask(target)).await.ok().flatten();
                    let _ = tell.send(Fact::Answered(Answer { sent, done: Instant::now(), by }));
                });
            }
        });
    })?;
    Ok(())
}

/// Asks a virtual server, steadily.
async fn ask_service(number: usize, asked: Asked, tell: UnboundedSender<Fact>) {
    let mut beat = tokio::time::interval(SERVICE_PACE);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    while !tell.is_closed() {
        beat.tick().await;
        let tell = tell.clone();
        let sent = Instant::now();
        tokio::spawn(async move {
            let asking = async { if asked.udp { ask_datagram(asked.at).await } else { ask(asked.at).await } };
            let by = tokio::time::timeout(PATIENCE, asking).await.ok().flatten();
            let _ = tell.send(Fact::Served(number, Answer { sent, done: Instant::now(), by }));
        });
    }
}

/// Who answers a datagram that asks for nothing.
async fn ask_datagram(target: SocketAddr) -> Option<String> {
    let any: SocketAddr = if target.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = tokio::net::UdpSocket::bind(any).await.ok()?;
    socket.connect(target).await.ok()?;
    socket.send(b"who").await.ok()?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).await.ok()?;
    Some(String::from_utf8_lossy(answer.get(..length)?).trim().to_owned())
}

/// `GET /`; the name of the server that answered with a page or a redirection, or `None`.
async fn ask(target: SocketAddr) -> Option<String> {
    let mut stream = tokio::net::TcpStream::connect(target).await.ok()?;
    let request = format!("GET / HTTP/1.0\r\nHost: {}\r\nConnection: close\r\n\r\n", target.ip());
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer).await.ok()?;
    let text = String::from_utf8_lossy(&answer);
    if let Some(greeting) = text.strip_prefix("220 ") {
        return greeting.split_whitespace().next().map(str::to_owned);
    }
    let mut lines = text.lines();
    let status: u16 = lines.next()?.split_whitespace().nth(1)?.parse().ok()?;
    if !(200..400).contains(&status) {
        return None;
    }
    let header = lines.take_while(|l| !l.is_empty()).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("x-served-by").then(|| value.trim().to_owned())
    });
    Some(header.unwrap_or_default())
}
