//! The SNMP door: an AgentX subagent (RFC 2741) of the machine's snmpd, on a thread of its own.
//!
//! It serves what [`crate::observe::snmp`] makes of a snapshot, which is at most a second old, and passes notifications
//! on. snmpd may be absent, slow or gone at any time: the door waits and comes back, and nobody waits for the door
//! ([`super::peer`]). A reload switches it on and off.

mod pdu;
mod session;

use super::peer::{self, Inbox, PATIENCE, Peer, RETRY_MAX, RETRY_MIN};
use super::socket::{Adjustment, Question, Reply, Request, ServerWish};
use crate::balance::io::Traffic;
use crate::daemon::loops::checker;
use crate::daemon::loops::vrrp::ToEngine;
use crate::kernel::clock;
use crate::observe::snmp::check::{self, Servers};
use crate::observe::snmp::traps::{Places, Rows, Trap};
use crate::observe::snmp::{self, KEEPALIVED, RFC2787, RFC6527, Seen, Tree};
use crate::observe::{Context, Observer, Telling, Wishes};
use crate::spec::{Snmp, Spec};
use crate::time::{Interval, Time};
use pdu::{Body, HEADER, Header, Kind};
use session::{Session, Write, committed, undone};
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
/// A snapshot is shown for so long.
const FRESH: Interval = Interval::from_secs(1);
/// How long the engine may take for a snapshot; an older one is shown otherwise.
const ENGINE_PATIENCE: Duration = Duration::from_secs(2);
/// As net-snmp: how often it is looked whether the master lives.
const PING_EVERY: Duration = Duration::from_secs(120);
/// Between two attempts to take back what was written, while the change itself is still on its way.
const AGAIN: Duration = Duration::from_millis(50);

/// The observer's end. Notifications of a stopping daemon are waited for when it is dropped.
pub struct Agent {
    engine: mpsc::UnboundedSender<ToEngine>,
    checker: checker::Door,
    questions: mpsc::Sender<Question>,
    version: Box<str>,
    places: Arc<Mutex<Places>>,
    rows: Rows,
    door: Option<Peer<Arc<Spec>, Trap>>,
}

impl Agent {
    /// `version`: the first line of `-v`. No thread is made before SNMP is configured.
    pub fn new(
        engine: mpsc::UnboundedSender<ToEngine>,
        checker: checker::Door,
        questions: mpsc::Sender<Question>,
        version: &str,
    ) -> Agent {
        let (places, rows) = (Arc::default(), Rows::default());
        Agent { engine, checker, questions, version: version.into(), places, rows, door: None }
    }

    fn start(&self, spec: Arc<Spec>) -> io::Result<Peer<Arc<Spec>, Trap>> {
        let (engine, checker, questions) = (self.engine.clone(), self.checker.clone(), self.questions.clone());
        let (version, places) = (self.version.clone(), self.places.clone());
        Peer::start("agentx", "SNMP", spec, move |told| {
            let spec = told.wanted.borrow().clone();
            let (servers, seen, back) = (Looks::default(), None, None);
            Door { engine, checker, questions, version, told, places, spec, servers, seen, back }.serve()
        })
    }

    fn send(&mut self, traps: Vec<Trap>) {
        let Some(door) = self.door.as_mut().filter(|_| !traps.is_empty()) else { return };
        for trap in traps {
            if let Some(dropped) = door.tell(trap) {
                tracing::warn!(target: "vrrp", "{dropped} SNMP notifications were dropped: snmpd does not take them");
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
        self.send(snmp::traps::of_servers(event, cx, &self.rows));
    }

    fn reconfigured(&mut self, cx: &Context<'_>) {
        self.rows = Rows::of(cx);
        match &self.door {
            Some(door) => door.want(cx.spec.clone()),
            // Descriptors are for those who use SNMP.
            None if cx.spec.daemon.snmp.is_on() => match self.start(cx.spec.clone()) {
                Ok(door) => self.door = Some(door),
                Err(error) => tracing::warn!(target: "vrrp", "No SNMP: {error}"),
            },
            None => {}
        }
    }

    fn stopped(&mut self, cx: &Context<'_>, _: &mut Wishes) {
        self.send(snmp::traps::of_the_end(cx));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(door) = self.door.take() {
            door.last_words();
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

/// What the kernel had counted, and when it was asked; `None` if it did not say.
type Counted = (Time, Option<Arc<Traffic>>);

/// What is known of virtual servers: their state at the last look, and what the kernel had counted at its own.
#[derive(Default)]
struct Looks {
    state: Option<Box<crate::balance::snapshot::Snapshot>>,
    /// For virtual servers and for real servers, each with its moment.
    of_services: Option<Counted>,
    of_servers: Option<Counted>,
}

impl Looks {
    fn servers(&self) -> Option<Servers<'_>> {
        fn counted(look: &Option<Counted>) -> Option<&Traffic> {
            look.as_ref().and_then(|(_, traffic)| traffic.as_deref())
        }
        let (of_services, of_servers) = (counted(&self.of_services), counted(&self.of_servers));
        Some(Servers { snapshot: self.state.as_deref()?, of_services, of_servers })
    }
}

/// The door's end.
struct Door {
    engine: mpsc::UnboundedSender<ToEngine>,
    checker: checker::Door,
    questions: mpsc::Sender<Question>,
    version: Box<str>,
    told: Inbox<Arc<Spec>, Trap>,
    places: Arc<Mutex<Places>>,
    spec: Arc<Spec>,
    servers: Looks,
    /// The objects, and when they were so.
    seen: Option<(Time, Tree)>,
    /// What takes back what the SET with this transaction number wrote.
    back: Option<Back>,
}

/// A SET that was written.
struct Back {
    transaction: u32,
    /// Of instances.
    written: Vec<Adjustment>,
    /// What takes it back.
    requests: Vec<Request>,
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
    async fn serve(mut self) {
        let mut retry = RETRY_MIN;
        loop {
            self.spec = self.told.wanted.borrow_and_update().clone();
            let on = self.spec.daemon.snmp.clone();
            if !on.is_on() {
                if !self.told.changed().await {
                    return;
                }
                continue;
            }
            match self.session(&on, &mut retry).await {
                End::Stopped => return,
                End::Reconfigured => retry = RETRY_MIN,
                End::Lost(error) => {
                    tracing::warn!(target: "vrrp", "No AgentX master at {}: {error}; trying again in {} s", address(&on), retry.as_secs());
                    if !self.wait(&on, retry).await {
                        return;
                    }
                    retry = (retry * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// Waits, or until SNMP is configured otherwise; false if the daemon stops meanwhile. Notifications of the time are
    /// lost, as keepalived's are.
    async fn wait(&mut self, on: &Snmp, by: Duration) -> bool {
        let until = tokio::time::Instant::now() + by;
        loop {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            match self.told.changed_within(left).await {
                Some(false) => return false,
                Some(true) if self.told.wanted.borrow_and_update().daemon.snmp == *on => {}
                Some(true) | None => return true,
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
                // What has happened is told before what is configured, and both before what is asked.
                biased;
                trap = self.told.news.recv() => match trap {
                    Some(trap) => say(&mut master, &session.notify(&trap)).await?,
                    None => {
                        say(&mut master, &session.close()).await?;
                        return Ok(End::Stopped);
                    }
                },
                changed = self.told.wanted.changed() => {
                    if changed.is_err() {
                        continue;
                    }
                    let spec = self.told.wanted.borrow_and_update().clone();
                    let same = *on == spec.daemon.snmp && regions(&spec) == regions(&self.spec);
                    self.overtake(&mut session, &spec);
                    (self.spec, self.seen) = (spec, None);
                    if !same {
                        say(&mut master, &session.close()).await?;
                        return Ok(End::Reconfigured);
                    }
                    self.refresh(uptime).await;
                }
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
                let done = match session.writes(header.transaction) {
                    Some(writes) => self.write(header.transaction, &writes).await,
                    None => false,
                };
                // A walk right after the answer shows what was written.
                self.seen = None;
                Some(committed(header, done))
            }
            Kind::UndoSet => {
                session.forget();
                let done = self.take_back(header.transaction).await;
                self.seen = None;
                Some(undone(header, done))
            }
            Kind::CleanupSet => {
                session.forget();
                self.back = None;
                None
            }
            _ => None,
        }
    }

    /// Asks for all changes of a SET at once, as they stand or fall together (RFC 3416 §4.2.5); true when they are accepted.
    /// What cannot be asked for is found before anything is; the weights of servers, which are never refused while the
    /// server is there, come last.
    async fn write(&mut self, transaction: u32, writes: &[Write]) -> bool {
        let Some((requests, back)) = self.requests(writes) else { return false };
        let adjusted = |request: &Request| match request {
            Request::Adjust { changes, .. } => changes.clone(),
            _ => Vec::new(),
        };
        let written = requests.iter().flat_map(adjusted).collect();
        self.back = Some(Back { transaction, written, requests: back });
        for request in requests {
            if !self.ask(request).await {
                return false;
            }
        }
        true
    }

    /// What to ask the daemon for, and what takes it back; `None` if one of the objects is not there any more.
    fn requests(&self, writes: &[Write]) -> Option<(Vec<Request>, Vec<Request>)> {
        let (mut changes, mut former, mut weights, mut former_weights) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for write in writes {
            let (row, priority, preempt) = match *write {
                Write::Priority { row, priority } => (row, Some(priority), None),
                Write::Preempt { row, preempt } => (row, None, Some(preempt)),
                Write::Weight { service, server, weight } => {
                    let (now, before) = self.weigh(service, server, weight)?;
                    weights.push(now);
                    former_weights.push(before);
                    continue;
                }
            };
            let one = (row as usize).checked_sub(1).and_then(|index| self.spec.instances.get(index))?;
            let of = |priority, preempt| Adjustment { instance: one.name.to_string(), priority, preempt };
            changes.push(of(priority, preempt));
            former.push(of(priority.map(|_| one.priority.0), preempt.map(|_| one.preempt)));
        }
        let adjust = |changes: Vec<Adjustment>| {
            (!changes.is_empty()).then(|| Request::Adjust { changes, by: "SNMP".into() }).into_iter()
        };
        Some((adjust(changes).chain(weights).collect(), adjust(former).chain(former_weights).collect()))
    }

    /// What of a SET under way does not outlive a new configuration. Where rows have other numbers, what was tested would be
    /// written into others. What was written is over unless the new configuration is the one that it made.
    fn overtake(&mut self, session: &mut Session, spec: &Spec) {
        let same_rows = names(&self.spec).eq(names(spec)) && self.spec.balance.services == spec.balance.services;
        if !same_rows {
            session.forget();
        }
        let is_so = |change: &Adjustment| {
            let one = spec.instances.iter().find(|one| *one.name == *change.instance);
            one.is_some_and(|one| {
                change.priority.is_none_or(|priority| priority == one.priority.0)
                    && change.preempt.is_none_or(|preempt| preempt == one.preempt)
            })
        };
        self.back = self.back.take().filter(|back| same_rows && back.written.iter().all(is_so));
    }

    /// Another agent could not write its part of a SET: ours is taken back (RFC 2741 §7.2.4.3). The change may still be on
    /// its way, and is then waited for.
    async fn take_back(&mut self, transaction: u32) -> bool {
        let back = self.back.take().filter(|back| back.transaction == transaction);
        let ask = async {
            for request in back.map(|back| back.requests).unwrap_or_default() {
                while !self.ask(request.clone()).await {
                    tokio::time::sleep(AGAIN).await;
                }
            }
        };
        timeout(PATIENCE, ask).await.is_ok()
    }

    /// True when it is done.
    async fn ask(&self, request: Request) -> bool {
        matches!(peer::ask(&self.questions, request).await, Some(Reply::Done { .. }))
    }

    /// As `vipctl weigh-server` asks, and what takes it back.
    fn weigh(&self, service: u32, server: u32, weight: u32) -> Option<(Request, Request)> {
        let snapshot = self.servers.state.as_deref()?;
        let (at, real) = check::server_at(&snapshot.spec, service, server)?;
        let own = snapshot.services.get(at)?;
        let before = own.servers.iter().find(|view| view.info.endpoint == real.endpoint)?.weighed;
        let of = |weight| Request::Server {
            service: Some(own.info.text.to_string()),
            address: real.endpoint.address,
            port: real.endpoint.port,
            wish: ServerWish::Weigh { weight },
        };
        Some((of(Some(weight)), of(before)))
    }

    /// A new look at virtual servers, and at what the kernel counts if that is older than it may be.
    async fn look_at_servers(&mut self, now: Time) {
        if !self.spec.has_servers_on_show() {
            self.servers = Looks::default();
            return;
        }
        let on = &self.spec.daemon.snmp;
        let old = |look: &Option<Counted>, every: Interval| look.as_ref().is_none_or(|(at, _)| now.since(*at) >= every);
        let services = old(&self.servers.of_services, on.services_every);
        let servers = old(&self.servers.of_servers, on.servers_every);
        if !services && !servers {
            let (answer, answered) = oneshot::channel();
            self.checker.send(checker::ToChecker::State(answer));
            if let Ok(Ok(state)) = timeout(ENGINE_PATIENCE, answered).await {
                self.servers.state = Some(state);
            }
            return;
        }
        let (answer, answered) = oneshot::channel();
        self.checker.send(checker::ToChecker::Snapshot(answer));
        let Ok(Ok(picture)) = timeout(ENGINE_PATIENCE, answered).await else { return };
        let checker::Picture { snapshot, traffic } = *picture;
        self.servers.state = Some(Box::new(snapshot));
        // A kernel that did not say is not asked again before its time either.
        if services {
            self.servers.of_services = Some((now, traffic.clone()));
        }
        if servers {
            self.servers.of_servers = Some((now, traffic));
        }
    }

    /// Takes a new look if the last one is too old.
    async fn refresh(&mut self, uptime: (Time, u32)) {
        let now = clock::now();
        if self.seen.as_ref().is_some_and(|(at, _)| now.since(*at) < FRESH) {
            return;
        }
        let (answer, answered) = oneshot::channel();
        if self.engine.send(ToEngine::Snapshot(answer)).is_err() {
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

fn names(spec: &Spec) -> impl Iterator<Item = &str> {
    spec.instances.iter().map(|one| &*one.name)
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
