//! Listening: one thread a network namespace, a task a listener, as many connections as [`AT_ONCE`] and none longer than
//! [`LONGEST`]. The thread ends when the lab does.

use super::answer;
use super::plan::Stand;
use super::{Ailing, health};
use crate::lab::Trouble;
use crate::spec::backend::Health;
use crate::time::Interval;
use nix::sched::{CloneFlags, setns};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection};
use std::fs::File;
use std::io::Read as _;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

/// Connections of one namespace at once.
const AT_ONCE: usize = 512;
/// No connection lives longer.
const LONGEST: Duration = Duration::from_secs(60);
/// Who connects and says nothing is not waited for longer.
const SILENCE: Duration = Duration::from_secs(10);
/// Until an address or a port that cannot be had is tried once more.
const AGAIN: Duration = Duration::from_millis(500);
/// The first byte of a TLS handshake record.
const HANDSHAKE: u8 = 22;

/// A certificate that is known to everybody, its key as well: it protects nothing, and checks of real servers trust anybody.
const CERTIFICATE: &[u8] = include_bytes!("certificate.der");
const KEY: &[u8] = include_bytes!("key.der");

/// Everything that the listeners of a namespace share.
struct Room {
    ailing: watch::Receiver<Ailing>,
    slots: Arc<Semaphore>,
    tls: Arc<ServerConfig>,
}

/// Listens inside a network namespace, until the sender of `ailing` is gone.
///
/// # Errors
/// No thread, or TLS does not take its own certificate.
pub(super) fn open(door: File, stands: Vec<Stand>, ailing: watch::Receiver<Ailing>) -> Result<(), Trouble> {
    let room = Room { ailing, slots: Arc::new(Semaphore::new(AT_ONCE)), tls: Arc::new(tls()?) };
    std::thread::Builder::new().name("real servers".into()).spawn(move || {
        if setns(door, CloneFlags::CLONE_NEWNET).is_err() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        let room = Arc::new(room);
        runtime.block_on(async {
            for stand in stands {
                let (stand, room) = (Arc::new(stand), Arc::clone(&room));
                tokio::spawn(async move {
                    if stand.udp { datagrams(stand, room).await } else { connections(stand, room).await }
                });
            }
            let mut ailing = room.ailing.clone();
            while ailing.changed().await.is_ok() {}
        });
    })?;
    Ok(())
}

fn tls() -> Result<ServerConfig, Trouble> {
    let wrong = |error: rustls::Error| Trouble::new(format!("TLS of the lab's real servers: {error}"));
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(KEY));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(wrong)?;
    config.with_no_client_auth().with_single_cert(vec![CertificateDer::from(CERTIFICATE)], key).map_err(wrong)
}

/// Follows how one listener is meant to be.
struct Mood {
    ailing: watch::Receiver<Ailing>,
    /// Of a listener that flaps: it is down, and when that changes.
    down: bool,
    until: Instant,
}

impl Mood {
    fn new(room: &Room) -> Mood {
        Mood { ailing: room.ailing.clone(), down: false, until: Instant::now() }
    }

    /// Does anybody listen?
    fn listens(&mut self, stand: &Stand) -> bool {
        let now = health(&self.ailing.borrow_and_update(), stand.at.ip(), stand.at.port());
        match now {
            Health::Refuse => false,
            Health::Flap => !self.down,
            Health::Up | Health::Error | Health::Slow(_) | Health::Hang | Health::Dead => true,
        }
    }
    /// Waits until it may be another one. `false`: the lab is gone.
    async fn turns(&mut self, stand: &Stand) -> bool {
        let now = health(&self.ailing.borrow(), stand.at.ip(), stand.at.port());
        let turn = stand.talk.turn.max(Interval::from_millis(200)).to_std();
        if now != Health::Flap {
            (self.down, self.until) = (false, Instant::now());
            return self.ailing.changed().await.is_ok();
        }
        match tokio::time::timeout_at(self.until, self.ailing.changed()).await {
            Ok(changed) => changed.is_ok(),
            Err(_) => {
                (self.down, self.until) = (!self.down, Instant::now() + turn);
                true
            }
        }
    }

    /// Waits until the stand is to listen; false when there is nobody left who could say so.
    async fn comes_to_listen(&mut self, stand: &Stand) -> bool {
        while !self.listens(stand) {
            if !self.turns(stand).await {
                return false;
            }
        }
        true
    }
}

async fn connections(stand: Arc<Stand>, room: Arc<Room>) {
    let mut mood = Mood::new(&room);
    loop {
        if !mood.comes_to_listen(&stand).await {
            return;
        }
        let Ok(listener) = TcpListener::bind(stand.at).await else {
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    let Ok(slot) = Arc::clone(&room.slots).acquire_owned().await else { return };
                    let (stand, room) = (Arc::clone(&stand), Arc::clone(&room));
                    tokio::spawn(async move {
                        let _slot = slot;
                        let _ = tokio::time::timeout(LONGEST, serve(stream, &stand, &room)).await;
                    });
                }
                lives = mood.turns(&stand) => {
                    if !lives {
                        return;
                    }
                    if !mood.listens(&stand) {
                        break;
                    }
                }
            }
        }
    }
}

/// One connection.
async fn serve(mut stream: TcpStream, stand: &Stand, room: &Room) -> std::io::Result<()> {
    let now = health(&room.ailing.borrow(), stand.at.ip(), stand.at.port());
    match now {
        Health::Hang => {
            tokio::time::sleep(LONGEST).await;
            return Ok(());
        }
        Health::Slow(by) => tokio::time::sleep(by.to_std()).await,
        Health::Up | Health::Refuse | Health::Error | Health::Dead | Health::Flap => {}
    }
    if stand.talk.smtp {
        return mail(&mut stream, &stand.name).await;
    }
    let mut first = [0];
    let asked = tokio::time::timeout(SILENCE, stream.peek(&mut first)).await;
    if !matches!(asked, Ok(Ok(1))) {
        return Ok(());
    }
    let reply = |request: &[u8]| answer::http(&stand.name, &stand.talk, request, now == Health::Error);
    if first[0] == HANDSHAKE {
        return sealed(&mut stream, room.tls.clone(), reply).await;
    }
    let mut request = Vec::new();
    while !answer::is_whole(&request) && request.len() < answer::LONGEST {
        let mut piece = [0; 2048];
        match tokio::time::timeout(SILENCE, stream.read(&mut piece)).await {
            Ok(Ok(length)) if length > 0 => request.extend_from_slice(&piece[..length]),
            _ => return Ok(()),
        }
    }
    stream.write_all(&reply(&request)).await?;
    stream.shutdown().await
}

async fn mail(stream: &mut TcpStream, name: &str) -> std::io::Result<()> {
    stream.write_all(answer::greeting(name).as_bytes()).await?;
    let mut held = Vec::new();
    loop {
        let mut piece = [0; 512];
        match tokio::time::timeout(SILENCE, stream.read(&mut piece)).await {
            Ok(Ok(length)) if length > 0 && held.len() < answer::LONGEST => held.extend_from_slice(&piece[..length]),
            _ => return Ok(()),
        }
        while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = held.drain(..=end).collect();
            let (said, ends) = answer::smtp(name, &String::from_utf8_lossy(&line));
            stream.write_all(said.as_bytes()).await?;
            if ends {
                return stream.shutdown().await;
            }
        }
    }
}

/// One request inside TLS.
async fn sealed(
    stream: &mut TcpStream,
    config: Arc<ServerConfig>,
    reply: impl Fn(&[u8]) -> Vec<u8>,
) -> std::io::Result<()> {
    let mut tls = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let (mut request, mut done) = (Vec::new(), false);
    loop {
        let mut out = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut out)?;
        }
        stream.write_all(&out).await?;
        if done {
            return stream.shutdown().await;
        }
        let mut piece = [0; 4096];
        let length = match tokio::time::timeout(SILENCE, stream.read(&mut piece)).await {
            Ok(Ok(length)) if length > 0 => length,
            _ => return Ok(()),
        };
        let mut bytes = &piece[..length];
        while !bytes.is_empty() {
            tls.read_tls(&mut bytes)?;
            if let Err(error) = tls.process_new_packets() {
                // The alert says why.
                let mut out = Vec::new();
                while tls.wants_write() {
                    tls.write_tls(&mut out)?;
                }
                stream.write_all(&out).await?;
                return Err(std::io::Error::other(error));
            }
        }
        let mut plain = [0; 4096];
        while let Ok(length) = tls.reader().read(&mut plain)
            && length > 0
        {
            request.extend_from_slice(&plain[..length]);
        }
        if answer::is_whole(&request) || request.len() > answer::LONGEST {
            tls.writer().write_all(&reply(&request))?;
            tls.send_close_notify();
            done = true;
        }
    }
}

async fn datagrams(stand: Arc<Stand>, room: Arc<Room>) {
    let mut mood = Mood::new(&room);
    loop {
        if !mood.comes_to_listen(&stand).await {
            return;
        }
        let Ok(socket) = UdpSocket::bind(stand.at).await.map(Arc::new) else {
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        let mut bytes = vec![0; 64 * 1024];
        loop {
            tokio::select! {
                heard = socket.recv_from(&mut bytes) => {
                    let Ok((length, from)) = heard else { continue };
                    let said = answer::datagram(&stand.name, &stand.talk, &bytes[..length]);
                    let now = health(&room.ailing.borrow(), stand.at.ip(), stand.at.port());
                    match now {
                        Health::Hang | Health::Dead => {}
                        Health::Slow(by) => {
                            let Ok(slot) = Arc::clone(&room.slots).try_acquire_owned() else { continue };
                            let socket = Arc::clone(&socket);
                            tokio::spawn(async move {
                                let _slot = slot;
                                tokio::time::sleep(by.to_std().min(LONGEST)).await;
                                let _ = socket.send_to(&said, from).await;
                            });
                        }
                        Health::Up | Health::Refuse | Health::Error | Health::Flap => {
                            let _ = socket.send_to(&said, from).await;
                        }
                    }
                }
                lives = mood.turns(&stand) => {
                    if !lives {
                        return;
                    }
                    if !mood.listens(&stand) {
                        break;
                    }
                }
            }
        }
    }
}
