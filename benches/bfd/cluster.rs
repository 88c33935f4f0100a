//! What a session does for a virtual address: a path that dies, with and without BFD, and adverts beside a flood.

use super::*;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::Read;

/// The second server of the cluster.
const SECOND: &str = "vipdbfd-c";
const VIRTUAL: [u8; 4] = [10, 99, 9, 9];
const ETH_P_ARP: u16 = 0x0806;
const ETH_P_IP: u16 = 0x0800;

/// Two servers and a gateway, which is the switch between them: `a` and `c` on a bridge in the middle.
struct Cluster;

impl Cluster {
    fn new() -> Cluster {
        let [a, b] = SPACES;
        for space in [a, b, SECOND] {
            let _ = Command::new("ip").args(["netns", "del", space]).stderr(Stdio::null()).status();
            ip(&format!("netns add {space}"));
            ip(&format!("-n {space} link set lo up"));
        }
        ip(&format!("-n {b} link add br0 type bridge"));
        for (port, space, own) in [("to-a", a, address(0, 0)), ("to-c", SECOND, address(0, 100))] {
            ip(&format!("-n {b} link add {port} type veth peer name eth0 netns {space}"));
            ip(&format!("-n {b} link set {port} master br0 up"));
            ip(&format!("-n {space} addr add {own}/16 dev eth0"));
            ip(&format!("-n {space} link set eth0 up"));
        }
        ip(&format!("-n {b} addr add {}/16 dev br0", address(1, 0)));
        ip(&format!("-n {b} link set br0 up"));
        Cluster
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for space in SPACES.into_iter().chain([SECOND]) {
            let _ = Command::new("ip").args(["netns", "del", space]).stderr(Stdio::null()).status();
        }
    }
}

/// Frames of one kind as they come in on an interface of the middle, each with the time at which it was read.
fn frames(kind: u16, keep: impl Fn(&[u8]) -> bool + Send + 'static) -> (Arc<Mutex<Vec<Time>>>, Arc<AtomicBool>) {
    let (seen, end) = (Arc::<Mutex<Vec<Time>>>::default(), Arc::new(AtomicBool::new(false)));
    let (times, over) = (seen.clone(), end.clone());
    std::thread::spawn(move || {
        namespace::enter(SPACES[1]).unwrap();
        let protocol = Protocol::from(i32::from(kind.to_be()));
        let mut socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut frame = [0; 2048];
        while !over.load(Ordering::Relaxed) {
            if let Ok(length) = socket.read(&mut frame)
                && keep(&frame[..length])
            {
                times.lock().unwrap().push(clock::now());
            }
        }
    });
    (seen, end)
}

/// An instance of VRRPv3; `more` stands inside it.
fn instance(priority: u8, interval: f64, more: &str) -> String {
    let [a, b, c, d] = VIRTUAL;
    format!(
        "vrrp_instance V {{\n interface eth0\n virtual_router_id 9\n version 3\n advert_int {interval}\n priority {priority}\n \
         {more}\n virtual_ipaddress {{\n {a}.{b}.{c}.{d}/16\n }}\n}}\n"
    )
}

/// A path dies → the virtual address is announced by the other server: by BFD, and by silence alone.
pub fn failover(kinds: &[Kind], runs: usize) {
    for kind in kinds.iter().filter(|kind| **kind != Kind::Frr) {
        for bfd in [true, false] {
            let _cluster = Cluster::new();
            let announces = |frame: &[u8]| frame.get(28..32) == Some(&VIRTUAL[..]);
            let (announced, end) = frames(ETH_P_ARP, announces);
            let peer = Peer::start(vec![session(1, 0, 10, 5)]);
            let tracked = if bfd { "track_bfd {\n s0\n }" } else { "" };
            let _first = Daemon::start_in(*kind, &[session(0, 0, 10, 5)], SPACES[0], &instance(254, 1.0, tracked));
            let up = peer.wait_up(1);
            std::thread::sleep(Duration::from_secs(5));
            let _second = Daemon::start_in(*kind, &[], SECOND, &instance(253, 1.0, ""));
            std::thread::sleep(Duration::from_secs(2));
            let mut took = Vec::new();
            for _ in 0..runs {
                announced.lock().unwrap().clear();
                let cut = if bfd {
                    peer.silent.store(true, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(1));
                    Time::from_micros(peer.seen.last_sent.load(Ordering::Relaxed))
                } else {
                    let now = clock::now();
                    ip(&format!("-n {} link set to-a down", SPACES[1]));
                    now
                };
                let began = Instant::now();
                let first = || announced.lock().unwrap().iter().copied().find(|at| *at > cut);
                while first().is_none() && began.elapsed() < Duration::from_secs(10) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                took.extend(first().map(|at| (at - cut).as_micros() as f64 / 1000.0));
                if bfd {
                    peer.silent.store(false, Ordering::Relaxed);
                } else {
                    ip(&format!("-n {} link set to-a up", SPACES[1]));
                }
                // The first server takes the address back.
                std::thread::sleep(Duration::from_secs(7));
            }
            end.store(true, Ordering::Relaxed);
            let how = if bfd { "a tracked path dies (10 ms x 5)" } else { "the master is cut off, without BFD" };
            println!("failover, {how}, adverts every 1 s, {kind:?} (session up: {up}): {}", summary(took));
        }
    }
}

/// Gaps between adverts while nothing happens, and while a stranger sends `rate` packets a second to the port of BFD.
pub fn flood(kinds: &[Kind], rate: u64) {
    for kind in kinds.iter().filter(|kind| **kind != Kind::Frr) {
        let _ways = Ways::new(1);
        ip(&format!("-n {} addr add 10.99.66.66/16 dev eth0", SPACES[1]));
        let advert = |frame: &[u8]| frame.get(23) == Some(&112);
        let (adverts, end) = frames(ETH_P_IP, advert);
        let peer = Peer::start(vec![session(1, 0, 10, 5)]);
        let _daemon = Daemon::start_in(*kind, &[session(0, 0, 10, 5)], SPACES[0], &instance(100, 0.1, ""));
        let up = peer.wait_up(1);
        std::thread::sleep(Duration::from_secs(2));
        let gaps = || {
            let times = std::mem::take(&mut *adverts.lock().unwrap());
            times.windows(2).map(|pair| (pair[1] - pair[0]).as_micros() as f64 / 1000.0).collect::<Vec<f64>>()
        };
        drop(gaps());
        std::thread::sleep(Duration::from_secs(10));
        let (calm, downs) = (gaps(), peer.seen.downs.load(Ordering::Relaxed));
        let sent = std::thread::spawn(move || {
            namespace::enter(SPACES[1]).unwrap();
            let stranger = std::net::UdpSocket::bind("10.99.66.66:0").unwrap();
            stranger.set_ttl(255).unwrap();
            let forged = Packet { your_discriminator: 0xdead_beef, ..Packet::parse(&FORGED).unwrap() }.emit();
            let (began, mut sent) = (Instant::now(), 0_u64);
            while began.elapsed() < Duration::from_secs(10) {
                let due = (began.elapsed().as_micros() as u64).saturating_mul(rate) / 1_000_000;
                for _ in sent..due {
                    let _ = stranger.send_to(&forged, (address(0, 0), 3784));
                }
                sent = sent.max(due);
                std::thread::sleep(Duration::from_micros(200));
            }
            sent
        });
        let sent = sent.join().unwrap();
        let flooded = gaps();
        end.store(true, Ordering::Relaxed);
        let fell = peer.seen.downs.load(Ordering::Relaxed) - downs;
        println!("flood, adverts every 100 ms, {kind:?} (session up: {up}): calm {}", summary(calm));
        println!(
            "flood, {} packets/s for 10 s, {kind:?}: {}; the session fell {fell} times",
            sent / 10,
            summary(flooded)
        );
    }
}

/// A packet of a session that is down, from nobody.
const FORGED: [u8; 24] =
    [0x20, 0x40, 5, 24, 0, 0, 2, 0x9a, 0, 0, 0, 0, 0, 0x0f, 0x42, 0x40, 0, 0, 0x27, 0x10, 0, 0, 0, 0];
