//! The SNMP door: an AgentX subagent (RFC 2741) of the machine's snmpd, on a thread of its own.
//!
//! It serves what [`crate::observe::snmp`] makes of a snapshot, which is at most a second old, and passes notifications
//! on. snmpd may be absent, slow or gone at any time: the door waits and comes back, and nobody waits for the door. The
//! queue to it is bounded; what does not fit is dropped and counted. A reload switches it on and off.

mod pdu;
mod session;

use super::socket::{Adjustment, Answer, Question, Reply, Request, ServerWish};
use crate::balance::io::Traffic;
use crate::daemon::loops::checker;
use crate::daemon::loops::vrrp::News;
use crate::kernel::clock;
use crate::observe::snmp::check::{self, Servers};
use crate::observe::snmp::traps::{Places, Trap};
use crate::observe::snmp::{self, KEEPALIVED, RFC2787, RFC6527, Seen, Tree};
use crate::observe::{Context, Observer, Telling, Wishes};
use crate::spec::{Snmp, Spec};
use crate::time::{Interval, Time};
use pdu::{Body, HEADER, Header, Kind};
use session::{Session, Write, committed};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Where net-snmp's master agent listens by default.
const MASTER: &str = "/var/agentx/master";
/// Notifications that may wait for snmpd.
const QUEUE: usize = 1_024;
/// A snapshot is shown for so long.
const FRESH: Interval = Interval::from_secs(1);
/// How long connecting, or one write, may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the engine may take for a snapshot; an older one is shown otherwise.
const ENGINE_PATIENCE: Duration = Duration::from_secs(2);
/// As net-snmp: how often it is looked whether the master lives, and how long a lost one is waited for at most.
const PING_EVERY: Duration = Duration::from_secs(120);
const RETRY_MAX: Duration = Duration::from_secs(15);
const RETRY_MIN: Duration = Duration::from_secs(1);
/// The last notifications of a stopping daemon may take so long.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What the door is told.
enum ToDoor {
    Configured(Arc<Spec>),
    Trap(Trap),
}

/// The observer's end. Notifications of a stopping daemon are waited for when it is dropped.
pub struct Agent {
    door: mpsc::Sender<ToDoor>,
    places: Arc<Mutex<Places>>,
    thread: Option<std::thread::JoinHandle<()>>,
    dropped: u64,
}

impl Agent {
    /// `version`: the first line of `-v`.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        engine: mpsc::UnboundedSender<News>,
        checker: checker::Door,
        questions: mpsc::Sender<Question>,
        version: &str,
    ) -> io::Result<Agent> {
        let (door, told) = mpsc::channel(QUEUE);
        let places = Arc::new(Mutex::new(Places::default()));
        let (here, version) = (places.clone(), version.into());
        let thread = std::thread::Builder::new().name("agentx".into()).spawn(move || {
            let (spec, servers) = (Arc::default(), Looks::default());
            let mut door = Door { engine, checker, questions, version, told, places: here, spec, servers, seen: None };
            // Descriptors are for those who use SNMP.
            if !door.is_switched_on() {
                return;
            }
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(door.serve()),
                Err(error) => tracing::warn!(target: "parent", "No SNMP: {error}"),
            }
        })?;
        Ok(Agent { door, places, thread: Some(thread), dropped: 0 })
    }

    fn send(&mut self, traps: Vec<Trap>) {
        for trap in traps {
            if self.door.try_send(ToDoor::Trap(trap)).is_err() {
                self.dropped += 1;
                if self.dropped.is_power_of_two() {
                    tracing::warn!(target: "vrrp", "{} SNMP notifications were dropped: snmpd does not take them", self.dropped);
                }
            }
        }
    }
}

impl Observer for Agent {
    fn told(&mut self, telling: &Telling<'_>, cx: &Context<'_>, _: &mut Wishes) {
        let traps = {
            let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            snmp::traps::of_telling(*telling, cx, &places)
        };
        self.send(traps);
    }

    fn balance(&mut self, event: &crate::balance::io::Event, cx: &Context<'_>, _: &mut Wishes) {
        self.send(snmp::traps::of_servers(event, cx));
    }

    fn reconfigured(&mut self, cx: &Context<'_>) {
        let _ = self.door.try_send(ToDoor::Configured(cx.spec.clone()));
    }

    fn stopped(&mut self, cx: &Context<'_>, _: &mut Wishes) {
        self.send(snmp::traps::of_the_end(cx));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // A closed channel is the sign for the door to say its last words.
        self.door = mpsc::channel(1).0;
        let Some(thread) = self.thread.take() else { return };
        let until = std::time::Instant::now() + LAST_WORDS;
        while !thread.is_finished() && std::time::Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

trait Stream: AsyncRead + AsyncWrite {}
impl<T: AsyncRead + AsyncWrite> Stream for T {}

/// A connection and what has come over it so far: a wait that is given up loses nothing.
struct Connection {
    stream: Pin<Box<dyn Stream>>,
    came: Vec<u8>,
}

/// What is known of virtual servers: their state at the last look, and what the kernel had counted at its own.
#[derive(Default)]
struct Looks {
    state: Option<Box<crate::balance::snapshot::Snapshot>>,
    /// For virtual servers and for real servers, each with its moment.
    of_services: Option<(Time, Arc<Traffic>)>,
    of_servers: Option<(Time, Arc<Traffic>)>,
}

impl Looks {
    fn servers(&self) -> Option<Servers<'_>> {
        fn counted(look: &Option<(Time, Arc<Traffic>)>) -> Option<&Traffic> {
            look.as_ref().map(|(_, traffic)| &**traffic)
        }
        let (of_services, of_servers) = (counted(&self.of_services), counted(&self.of_servers));
        Some(Servers { snapshot: self.state.as_deref()?, of_services, of_servers })
    }
}

/// The door's end.
struct Door {
    engine: mpsc::UnboundedSender<News>,
    checker: checker::Door,
    questions: mpsc::Sender<Question>,
    version: Box<str>,
    told: mpsc::Receiver<ToDoor>,
    places: Arc<Mutex<Places>>,
    spec: Arc<Spec>,
    servers: Looks,
    /// The objects, and when they were so.
    seen: Option<(Time, Tree)>,
}

/// Why a session ended.
enum End {
    /// The daemon stops.
    Stopped,
    /// Another configuration: perhaps another socket, or other parts.
    Reconfigured,
    Lost(io::Error),
}

impl Door {
    /// Waits for a configuration with SNMP; false if the daemon ends without one.
    fn is_switched_on(&mut self) -> bool {
        while let Some(told) = self.told.blocking_recv() {
            if let ToDoor::Configured(spec) = told {
                self.spec = spec;
                if self.spec.daemon.snmp.is_on() {
                    return true;
                }
            }
        }
        false
    }

    async fn serve(mut self) {
        let mut retry = RETRY_MIN;
        loop {
            let on = self.spec.daemon.snmp.clone();
            if !on.is_on() {
                match self.told.recv().await {
                    Some(ToDoor::Configured(spec)) => self.spec = spec,
                    Some(ToDoor::Trap(_)) => {}
                    None => return,
                }
                continue;
            }
            match self.session(&on, &mut retry).await {
                End::Stopped => return,
                End::Reconfigured => retry = RETRY_MIN,
                End::Lost(error) => {
                    tracing::warn!(target: "vrrp", "No AgentX master at {}: {error}; trying again in {} s", address(&on), retry.as_secs());
                    if self.wait(retry).await {
                        return;
                    }
                    retry = (retry * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// Waits; true if the daemon stops meanwhile. Notifications of the time are lost, as keepalived's are.
    async fn wait(&mut self, by: Duration) -> bool {
        let until = tokio::time::Instant::now() + by;
        loop {
            match tokio::time::timeout_at(until, self.told.recv()).await {
                Ok(Some(ToDoor::Configured(spec))) => {
                    let same = spec.daemon.snmp == self.spec.daemon.snmp;
                    self.spec = spec;
                    if !same {
                        return false;
                    }
                }
                Ok(Some(ToDoor::Trap(_))) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    async fn session(&mut self, on: &Snmp, retry: &mut Duration) -> End {
        match self.speak(on, retry).await {
            Ok(end) => end,
            Err(error) => End::Lost(error),
        }
    }

    async fn speak(&mut self, on: &Snmp, retry: &mut Duration) -> io::Result<End> {
        let mut master = timeout(PATIENCE, connect(on)).await.map_err(|_| io::ErrorKind::TimedOut)??;
        let mut session = Session::default();
        say(&mut master, &session.open("vipd")).await?;
        let uptime = match timeout(PATIENCE, hear(&mut master)).await.map_err(|_| io::ErrorKind::TimedOut)?? {
            (header, Body::Response { uptime, error: 0 }) => {
                session.opened(header.session);
                (clock::now(), uptime)
            }
            (_, Body::Response { error, .. }) => return Err(io::Error::other(format!("it refuses us, error {error}"))),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        for (region, description) in regions(&self.spec) {
            say(&mut master, &session.register(&region)).await?;
            say(&mut master, &session.describe(&region, description)).await?;
        }
        tracing::info!(target: "vrrp", "AgentX subagent connected");
        *retry = RETRY_MIN;
        self.seen = None;
        // Notifications need to know interfaces and addresses before the first question.
        self.refresh(uptime).await;
        let mut unanswered = 0_u32;
        loop {
            tokio::select! {
                pdu = hear(&mut master) => {
                    let (header, body) = pdu?;
                    unanswered = 0;
                    if header.kind == Kind::Close {
                        return Err(io::Error::other("it closed the session"));
                    }
                    if let Some(answer) = self.answer(&mut session, &header, &body, uptime).await {
                        say(&mut master, &answer).await?;
                    }
                }
                told = self.told.recv() => match told {
                    Some(ToDoor::Trap(trap)) => say(&mut master, &session.notify(&trap)).await?,
                    Some(ToDoor::Configured(spec)) => {
                        let same = *on == spec.daemon.snmp && regions(&spec) == regions(&self.spec);
                        (self.spec, self.seen) = (spec, None);
                        if !same {
                            say(&mut master, &session.close()).await?;
                            return Ok(End::Reconfigured);
                        }
                        self.refresh(uptime).await;
                    }
                    None => {
                        say(&mut master, &session.close()).await?;
                        return Ok(End::Stopped);
                    }
                },
                () = tokio::time::sleep(PING_EVERY) => {
                    unanswered += 1;
                    if unanswered > 2 {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    say(&mut master, &session.ping()).await?;
                }
            }
        }
    }

    async fn answer(
        &mut self,
        session: &mut Session,
        header: &Header,
        body: &Body,
        uptime: (Time, u32),
    ) -> Option<Vec<u8>> {
        match header.kind {
            Kind::Get | Kind::GetNext | Kind::GetBulk | Kind::TestSet => {
                self.refresh(uptime).await;
                let empty = Tree::default();
                session.answer(header, body, self.seen.as_ref().map_or(&empty, |(_, tree)| tree))
            }
            Kind::CommitSet => {
                let done = self.write(&session.writes(header.transaction)).await;
                // A walk right after the answer shows what was written.
                self.seen = None;
                Some(committed(header, done))
            }
            Kind::UndoSet => {
                session.forget();
                Some(committed(header, true))
            }
            Kind::CleanupSet => {
                session.forget();
                None
            }
            _ => None,
        }
    }

    /// Asks for all changes of a SET at once, as they stand or fall together (RFC 3416 §4.2.5); true when they are accepted.
    /// What cannot be asked for is found before anything is; the weights of servers, which are never refused while the
    /// server is there, come last.
    async fn write(&self, writes: &[Write]) -> bool {
        let (mut changes, mut weights) = (Vec::new(), Vec::new());
        for write in writes {
            let (row, priority, preempt) = match *write {
                Write::Priority { row, priority } => (row, Some(priority), None),
                Write::Preempt { row, preempt } => (row, None, Some(preempt)),
                Write::Weight { service, server, weight } => {
                    let Some(request) = self.weigh(service, server, weight) else { return false };
                    weights.push(request);
                    continue;
                }
            };
            let Some(one) = (row as usize).checked_sub(1).and_then(|index| self.spec.instances.get(index)) else {
                return false;
            };
            changes.push(Adjustment { instance: one.name.to_string(), priority, preempt });
        }
        let adjust = (!changes.is_empty()).then(|| Request::Adjust { changes, by: "SNMP".into() });
        for request in adjust.into_iter().chain(weights) {
            if !self.ask(request).await {
                return false;
            }
        }
        true
    }

    /// True when it is done.
    async fn ask(&self, request: Request) -> bool {
        let (answer, answered) = oneshot::channel();
        if self.questions.send(Question { request, answer: Answer::Once(answer) }).await.is_err() {
            return false;
        }
        matches!(timeout(PATIENCE, answered).await, Ok(Ok(Reply::Done { .. })))
    }

    /// As `vipctl weigh-server` asks.
    fn weigh(&self, service: u32, server: u32, weight: u32) -> Option<Request> {
        let snapshot = self.servers.state.as_deref()?;
        let (at, real) = check::server_at(&snapshot.spec, service, server)?;
        Some(Request::Server {
            service: Some(snapshot.services.get(at)?.info.text.to_string()),
            address: real.endpoint.address,
            port: real.endpoint.port,
            wish: ServerWish::Weigh { weight: Some(weight) },
        })
    }

    /// A new look at virtual servers, and at what the kernel counts if that is older than it may be.
    async fn look_at_servers(&mut self, now: Time) {
        if !self.spec.has_servers_on_show() {
            self.servers = Looks::default();
            return;
        }
        let on = &self.spec.daemon.snmp;
        let old = |look: &Option<(Time, Arc<Traffic>)>, every: Interval| {
            look.as_ref().is_none_or(|(at, _)| now.since(*at) >= every)
        };
        let services = old(&self.servers.of_services, on.services_every);
        let servers = old(&self.servers.of_servers, on.servers_every);
        if !services && !servers {
            let (answer, answered) = oneshot::channel();
            self.checker.send(checker::News::State(answer));
            if let Ok(Ok(state)) = timeout(ENGINE_PATIENCE, answered).await {
                self.servers.state = Some(state);
            }
            return;
        }
        let (answer, answered) = oneshot::channel();
        self.checker.send(checker::News::Snapshot(answer));
        let Ok(Ok(picture)) = timeout(ENGINE_PATIENCE, answered).await else { return };
        let checker::Picture { snapshot, traffic } = *picture;
        self.servers.state = Some(Box::new(snapshot));
        let look = traffic.map(|traffic| (now, traffic));
        if services {
            self.servers.of_services.clone_from(&look);
        }
        if servers {
            self.servers.of_servers = look;
        }
    }

    /// Takes a new look if the last one is too old.
    async fn refresh(&mut self, uptime: (Time, u32)) {
        let now = clock::now();
        if self.seen.as_ref().is_some_and(|(at, _)| now.since(*at) < FRESH) {
            return;
        }
        let (answer, answered) = oneshot::channel();
        if self.engine.send(News::Snapshot(answer)).is_err() {
            return;
        }
        let Ok(Ok(snapshot)) = timeout(ENGINE_PATIENCE, answered).await else { return };
        // A reload that is not known here yet would pair instances with the views of others.
        let same = snapshot.instances.iter().map(|view| &view.name).eq(self.spec.instances.iter().map(|one| &one.name));
        if !same {
            return;
        }
        self.look_at_servers(now).await;
        let servers = self.servers.servers();
        let seen = Seen { spec: &self.spec, now: &snapshot, servers, version: &self.version, uptime };
        *self.places.lock().unwrap_or_else(PoisonError::into_inner) = Places::of(&seen);
        // As old as its answers, not as the questions: a slow table would make each request look again.
        self.seen = Some((clock::now(), snmp::tree(&seen)));
    }
}

fn address(on: &Snmp) -> &str {
    on.socket.as_deref().unwrap_or(MASTER)
}

/// net-snmp's addresses: a path, `unix:PATH`, `tcp:HOST:PORT`, `HOST:PORT`.
async fn connect(on: &Snmp) -> io::Result<Connection> {
    let address = address(on);
    let path = address.strip_prefix("unix:").or_else(|| address.starts_with('/').then_some(address));
    let stream: Pin<Box<dyn Stream>> = match path {
        Some(path) => Box::pin(UnixStream::connect(path).await?),
        None => Box::pin(TcpStream::connect(address.strip_prefix("tcp:").unwrap_or(address)).await?),
    };
    Ok(Connection { stream, came: Vec::new() })
}

/// What is served, with keepalived's words for sysORTable.
fn regions(spec: &Spec) -> Vec<(Vec<u32>, &'static str)> {
    let (on, servers) = (&spec.daemon.snmp, spec.has_servers_on_show());
    let mut regions = Vec::new();
    if servers {
        regions.push(([KEEPALIVED, &[3]].concat(), "The MIB module for Healthchecker"));
    }
    if on.vrrp {
        regions.push(([KEEPALIVED, &[2]].concat(), "The MIB module for KEEPALIVED-VRRP"));
    }
    if on.rfcv2 {
        regions.push((RFC2787.to_vec(), "The MIB module for VRRP"));
    }
    if on.rfcv3 {
        regions.push((RFC6527.to_vec(), "The MIB module for VRRPV3"));
    }
    if on.vrrp || servers {
        regions.push(([KEEPALIVED, &[1]].concat(), "The MIB module for Keepalived"));
    }
    regions
}

async fn say(master: &mut Connection, bytes: &[u8]) -> io::Result<()> {
    timeout(PATIENCE, master.stream.write_all(bytes)).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// The next PDU. May be given up at any await: what has come stays.
async fn hear(master: &mut Connection) -> io::Result<(Header, Body)> {
    loop {
        if master.came.len() >= HEADER {
            let header = Header::read(&master.came).ok_or(io::ErrorKind::InvalidData)?;
            let whole = HEADER + header.length as usize;
            if master.came.len() >= whole {
                let pdu: Vec<u8> = master.came.drain(..whole).collect();
                return pdu::read(&pdu).ok_or_else(|| io::ErrorKind::InvalidData.into());
            }
        }
        if master.stream.read_buf(&mut master.came).await? == 0 {
            return Err(io::Error::other("it hung up"));
        }
    }
}
