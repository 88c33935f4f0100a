//! vipd beside keepalived and FRR, in the same run on the same machine: how late is a dead path noticed, how even are the
//! intervals, how many false alarms, what does a packet cost.
//!
//! ```text
//! cargo bench --bench bfd                                all of it
//! cargo bench --bench bfd -- detection cost              some of it
//! cargo bench --bench bfd -- --runs 200 detection
//! cargo bench --bench bfd -- --minutes 10 false-alarms
//! cargo bench --bench bfd -- --runs 10 failover          a path dies → the address is on the other server
//! cargo bench --bench bfd -- --rate 100000 flood         adverts beside forged packets
//! ```
//! As root. Each daemon in turn sits in one namespace; the peer in the other is this program: it speaks BFD with vipd's
//! engine, falls silent when it is told to, and stamps what it hears with the kernel's time of arrival. "late" is counted
//! from the last packet that was sent to the daemon plus the detection time that both agreed to, up to the arrival of the
//! daemon's word that the session is down; keepalived says it with its next periodic packet. What is not installed is left
//! out.

#![allow(clippy::unwrap_used)]

#[path = "bfd/cluster.rs"]
mod cluster;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use vipd::bfd::Engine;
use vipd::bfd::io::{Action, Beginning, Input};
use vipd::kernel::bfd::{Ground, batch};
use vipd::kernel::wait::Bell;
use vipd::kernel::{clock, namespace};
use vipd::sim::bfd::plain;
use vipd::spec::bfd::Session;
use vipd::time::{Interval, Time};
use vipd::wire::bfd::{Packet, State};

const SPACES: [&str; 2] = ["vipdbfd-a", "vipdbfd-b"];

fn ip(line: &str) {
    let done = Command::new("ip").args(line.split_whitespace()).stderr(Stdio::null()).status().unwrap();
    assert!(done.success(), "ip {line}");
}

/// The two namespaces and a cable; gone when dropped.
struct Ways;

impl Ways {
    fn new(sessions: usize) -> Ways {
        for space in SPACES {
            let _ = Command::new("ip").args(["netns", "del", space]).stderr(Stdio::null()).status();
            ip(&format!("netns add {space}"));
        }
        let [a, b] = SPACES;
        ip(&format!("-n {a} link add eth0 type veth peer name eth0 netns {b}"));
        for (side, space) in SPACES.into_iter().enumerate() {
            ip(&format!("-n {space} link set lo up"));
            for number in 0..sessions {
                ip(&format!("-n {space} addr add {}/16 dev eth0", address(side, number)));
            }
            ip(&format!("-n {space} link set eth0 up"));
        }
        Ways
    }
}

impl Drop for Ways {
    fn drop(&mut self) {
        for space in SPACES {
            let _ = Command::new("ip").args(["netns", "del", space]).stderr(Stdio::null()).status();
        }
    }
}

fn address(side: usize, number: usize) -> std::net::Ipv4Addr {
    std::net::Ipv4Addr::new(10, 99, side as u8, number as u8 + 1)
}

fn session(side: usize, number: usize, millis: u64, multiplier: u8) -> Session {
    let interval = Interval::from_millis(millis);
    let name = format!("s{number}");
    Session {
        min_rx: interval,
        min_tx: interval,
        multiplier,
        ..plain(&name, address(side, number).into(), address(1 - side, number).into())
    }
}

/// What the peer has seen; the key is the session's number in its list.
#[derive(Default)]
struct Seen {
    up: AtomicU64,
    downs: AtomicU64,
    /// Times of arrival of Up packets, of the first session.
    arrivals: Mutex<Vec<Time>>,
    last_sent: AtomicU64,
    /// When the daemon said that its session is down after we fell silent.
    said_down: AtomicU64,
}

/// The peer: vipd's engine over real sockets, with a switch.
struct Peer {
    seen: Arc<Seen>,
    silent: Arc<AtomicBool>,
    end: Arc<AtomicBool>,
    bell: Bell,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Peer {
    fn start(sessions: Vec<Session>) -> Peer {
        let (seen, silent, end) =
            (Arc::<Seen>::default(), Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let bell = Bell::new().unwrap();
        let thread = {
            let (seen, silent, end, bell) = (seen.clone(), silent.clone(), end.clone(), bell.clone());
            std::thread::spawn(move || {
                namespace::enter(SPACES[1]).unwrap();
                let _ = nix::sys::prctl::set_timerslack(1);
                speak(&sessions, &seen, &silent, &end, bell);
            })
        };
        Peer { seen, silent, end, bell, thread: Some(thread) }
    }

    fn wait_up(&self, count: u64) -> bool {
        let began = Instant::now();
        while self.seen.up.load(Ordering::Relaxed) < count {
            if began.elapsed() > Duration::from_secs(30) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        self.bell.ring();
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

fn speak(sessions: &[Session], seen: &Seen, silent: &AtomicBool, end: &AtomicBool, bell: Bell) {
    let seed = clock::wall().unix_micros;
    let mut ground = Ground::new(bell, seed).unwrap();
    let mut engine = Engine::begin(sessions, Beginning { seed, links: None, now: clock::now() });
    let mut batch = batch();
    let mut states: BTreeMap<Box<str>, State> = BTreeMap::new();
    loop {
        while let Some(action) = engine.poll() {
            match action {
                Action::Listen { single_hop: true, .. } => ground.listen(false).unwrap(),
                Action::Open(session, outlet) => {
                    let port = ground.open(session, &outlet).unwrap();
                    engine.handle(Input::Opened { session, outcome: Ok(port) }, clock::now());
                }
                Action::Send(session, bytes) if !silent.load(Ordering::Relaxed) => {
                    seen.last_sent.store(clock::now().as_micros(), Ordering::Relaxed);
                    let _ = ground.send(session, &bytes);
                }
                Action::Report(vipd::bfd::io::Event::Became { name, from, to, .. }) => {
                    states.insert(name, to);
                    seen.downs.fetch_add(u64::from(from == State::Up), Ordering::Relaxed);
                    let up = states.values().filter(|state| **state == State::Up).count();
                    seen.up.store(up as u64, Ordering::Relaxed);
                }
                _ => {}
            }
        }
        if end.load(Ordering::Relaxed) {
            return;
        }
        let woken = ground.wait(engine.deadline().unwrap_or(Time::NEVER)).unwrap();
        if woken.datagrams {
            ground.receive(&mut batch, 512);
            for received in batch.in_order() {
                if let Ok(packet) = Packet::parse(received.bytes) {
                    if packet.state == State::Up && received.meta.source == sessions[0].neighbor {
                        seen.arrivals.lock().unwrap().push(received.at);
                    } else if packet.state < State::Init && silent.load(Ordering::Relaxed) {
                        let at = received.at.as_micros();
                        let _ = seen.said_down.compare_exchange(0, at, Ordering::Relaxed, Ordering::Relaxed);
                    }
                }
                engine.handle(Input::Packet { meta: received.meta, bytes: received.bytes }, received.at);
            }
        }
        engine.handle(Input::Tick, clock::now());
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    Vipd,
    Keepalived,
    Frr,
}

fn installed() -> Vec<Kind> {
    let there = |path: &str| Path::new(path).exists();
    let mut kinds = vec![Kind::Vipd];
    if there("/usr/sbin/keepalived") {
        kinds.push(Kind::Keepalived);
    }
    if there("/usr/lib/frr/bfdd") {
        kinds.push(Kind::Frr);
    }
    kinds
}

/// A daemon with so many sessions; ended when dropped.
struct Daemon {
    child: Child,
    directory: PathBuf,
    kind: Kind,
}

impl Daemon {
    fn start(kind: Kind, sessions: &[Session]) -> Daemon {
        Daemon::start_in(kind, sessions, SPACES[0], "")
    }

    /// In another namespace, with more in its configuration.
    fn start_in(kind: Kind, sessions: &[Session], space: &str, more: &str) -> Daemon {
        let directory = std::env::temp_dir().join(format!("vipd-bench-{space}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let d = directory.display().to_string();
        let millis = |interval: Interval| interval.as_millis();
        let script = if kind == Kind::Frr {
            let peers: String = sessions
                .iter()
                .map(|s| {
                    let (own, tx, rx) = (s.source.unwrap(), millis(s.min_tx), millis(s.min_rx));
                    format!(
                        " peer {} local-address {own}\n  detect-multiplier {}\n  receive-interval {rx}\n  transmit-interval {tx}\n !\n",
                        s.neighbor, s.multiplier
                    )
                })
                .collect();
            std::fs::write(directory.join("frr.conf"), format!("bfd\n{peers}!\n")).unwrap();
            format!(
                "chown -R frr:frr {d}; /usr/lib/frr/zebra -z {d}/z --vty_socket {d} -i {d}/zebra.pid & z=$!; \
                 until [ -S {d}/z ]; do sleep 0.1; done; \
                 /usr/lib/frr/bfdd -z {d}/z --vty_socket {d} -i {d}/bfdd.pid --bfdctl {d}/bfdctl -f {d}/frr.conf & b=$!; \
                 trap 'kill $b; wait $b; kill $z; wait' TERM; wait"
            )
        } else {
            let text: String = sessions
                .iter()
                .map(|s| {
                    let (own, tx, rx) = (s.source.unwrap(), millis(s.min_tx), millis(s.min_rx));
                    format!(
                        "bfd_instance {} {{\n source_ip {own}\n neighbor_ip {}\n min_tx {tx}\n min_rx {rx}\n multiplier {}\n}}\n",
                        s.name, s.neighbor, s.multiplier
                    )
                })
                .collect();
            std::fs::write(directory.join("keepalived.conf"), text + more).unwrap();
            let program = if kind == Kind::Vipd { env!("CARGO_BIN_EXE_vipd") } else { "keepalived" };
            format!(
                "exec {program} -n -l -f {d}/keepalived.conf -p {d}/pid -r {d}/vrrp.pid -c {d}/checkers.pid -b {d}/bfd.pid"
            )
        };
        let child = Command::new("ip")
            .args(["netns", "exec", space, "bash", "-c", &script])
            .env("VIPD_CONTROL", directory.join("control"))
            .env("TMPDIR", &directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Daemon { child, directory, kind }
    }

    /// Processor time of the process that speaks BFD, nanoseconds.
    fn cpu(&self) -> u64 {
        let file = match self.kind {
            Kind::Frr => "bfdd.pid",
            Kind::Vipd => "pid",
            Kind::Keepalived => "bfd.pid",
        };
        let Ok(pid) = std::fs::read_to_string(self.directory.join(file)) else { return 0 };
        let tasks =
            std::fs::read_dir(format!("/proc/{}/task", pid.trim())).into_iter().flatten().filter_map(Result::ok);
        let of = |path: PathBuf| -> Option<u64> {
            std::fs::read_to_string(path.join("schedstat")).ok()?.split_whitespace().next()?.parse().ok()
        };
        tasks.filter_map(|task| of(task.path())).sum()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // SAFETY: a signal to a process that this program started.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
        let began = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            if began.elapsed() > Duration::from_secs(10) {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn summary(mut values: Vec<f64>) -> String {
    if values.is_empty() {
        return "nothing was seen".into();
    }
    values.sort_by(f64::total_cmp);
    let at = |part: f64| values[((values.len() - 1) as f64 * part) as usize];
    format!("median {:.2}, p99 {:.2}, max {:.2} ms (n {})", at(0.5), at(0.99), at(1.0), values.len())
}

/// Last packet delivered → "down", less the detection time.
fn detection(kinds: &[Kind], runs: usize) {
    for (millis, multiplier) in [(10, 5), (50, 3), (300, 3)] {
        let _ways = Ways::new(1);
        for kind in kinds {
            let daemon = Daemon::start(*kind, &[session(0, 0, millis, multiplier)]);
            let mut late = Vec::new();
            for _ in 0..runs {
                let peer = Peer::start(vec![session(1, 0, millis, multiplier)]);
                if !peer.wait_up(1) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(200 + millis * 3));
                peer.silent.store(true, Ordering::Relaxed);
                let began = Instant::now();
                while peer.seen.said_down.load(Ordering::Relaxed) == 0 && began.elapsed() < Duration::from_secs(10) {
                    std::thread::sleep(Duration::from_millis(2));
                }
                let down = peer.seen.said_down.load(Ordering::Relaxed);
                let last = peer.seen.last_sent.load(Ordering::Relaxed);
                if down > last {
                    let detection = millis * u64::from(multiplier) * 1000;
                    late.push(((down - last) as f64 - detection as f64) / 1000.0);
                }
            }
            println!("detection {millis} ms x {multiplier}, {kind:?}: late by {}", summary(late));
            drop(daemon);
        }
    }
}

/// Gaps between the packets of a session that is up.
fn intervals(kinds: &[Kind]) {
    for kind in kinds {
        let _ways = Ways::new(1);
        let daemon = Daemon::start(*kind, &[session(0, 0, 10, 5)]);
        let peer = Peer::start(vec![session(1, 0, 10, 5)]);
        if peer.wait_up(1) {
            std::thread::sleep(Duration::from_secs(30));
        }
        let arrivals = peer.seen.arrivals.lock().unwrap().clone();
        let gaps: Vec<f64> = arrivals.windows(2).map(|pair| (pair[1] - pair[0]).as_micros() as f64 / 1000.0).collect();
        let (count, sum) = (gaps.len().max(1) as f64, gaps.iter().sum::<f64>());
        let inside = gaps.iter().filter(|gap| (7.4..=10.1).contains(*gap)).count() as f64;
        println!(
            "intervals 10 ms, {kind:?}: mean {:.2} ms, {:.1} % within 74..101 %, {}",
            sum / count,
            inside * 100.0 / count,
            summary(gaps)
        );
        drop(daemon);
    }
}

/// Falls of a session that nothing is wrong with, idle and beside four hogs.
fn false_alarms(kinds: &[Kind], minutes: f64) {
    for hogs in [0, 4] {
        for kind in kinds {
            let _ways = Ways::new(1);
            let daemon = Daemon::start(*kind, &[session(0, 0, 10, 5)]);
            let peer = Peer::start(vec![session(1, 0, 10, 5)]);
            let up = peer.wait_up(1);
            let before = peer.seen.downs.load(Ordering::Relaxed);
            let mut load: Vec<Child> =
                (0..hogs).map(|_| Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap()).collect();
            std::thread::sleep(Duration::from_secs_f64(minutes * 60.0));
            for hog in &mut load {
                let _ = hog.kill();
                let _ = hog.wait();
            }
            let downs = peer.seen.downs.load(Ordering::Relaxed) - before;
            println!("false alarms 10 ms x 5, {kind:?}, {hogs} hogs, {minutes} min: {downs} (came up: {up})");
            drop(daemon);
        }
    }
}

/// Processor time of one packet, sent or received, and of a second.
fn cost(kinds: &[Kind]) {
    for sessions in [1, 10, 100] {
        for kind in kinds {
            let _ways = Ways::new(sessions);
            let list = |side: usize| (0..sessions).map(|number| session(side, number, 10, 20)).collect::<Vec<_>>();
            let daemon = Daemon::start(*kind, &list(0));
            let peer = Peer::start(list(1));
            let up = peer.wait_up(sessions as u64);
            std::thread::sleep(Duration::from_secs(2));
            let (before, began) = (daemon.cpu(), peer.seen.arrivals.lock().unwrap().len());
            std::thread::sleep(Duration::from_secs(10));
            let used = (daemon.cpu() - before) as f64 / 1000.0;
            // Of the first session; the others send as much, and as much comes back.
            let packets = (peer.seen.arrivals.lock().unwrap().len() - began) * sessions * 2;
            let each = used / packets.max(1) as f64;
            println!(
                "cost of {sessions} sessions at 10 ms, {kind:?}: {each:.1} us a packet, {:.1} % of a processor (all up: {up})",
                used / 100_000.0
            );
            drop(daemon);
        }
    }
}

fn main() {
    let (mut runs, mut minutes, mut rate, mut chosen) = (50, 0.5, 100_000, Vec::new());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--runs" => runs = words.next().and_then(|n| n.parse().ok()).unwrap_or(runs),
            "--minutes" => minutes = words.next().and_then(|n| n.parse().ok()).unwrap_or(minutes),
            "--rate" => rate = words.next().and_then(|n| n.parse().ok()).unwrap_or(rate),
            "--bench" | "--test" => {}
            other => chosen.push(other.to_owned()),
        }
    }
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: not root");
        return;
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let date =
        Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]).output().map(|out| out.stdout).unwrap_or_default();
    println!("{}, load {}", String::from_utf8_lossy(&date).trim(), load.split_whitespace().next().unwrap_or("?"));
    let kinds = installed();
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|c| c == name);
    if wanted("detection") {
        detection(&kinds, runs);
    }
    if wanted("intervals") {
        intervals(&kinds);
    }
    if wanted("cost") {
        cost(&kinds);
    }
    if wanted("failover") {
        cluster::failover(&kinds, runs);
    }
    if wanted("flood") {
        cluster::flood(&kinds, rate);
    }
    if wanted("false-alarms") {
        false_alarms(&kinds, minutes);
    }
}
