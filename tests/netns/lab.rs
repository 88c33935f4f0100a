//! Namespaces joined by a bridge, a daemon in each, and eyes on every wire.
//!
//! ```text
//!   switch ─ br0 ─┬─ p0 ═ eth0 (a) 192.0.2.1  fe80::1  2001:db8::1
//!                 ├─ p1 ═ eth0 (b) 192.0.2.2  fe80::2  2001:db8::2
//!                 └─ …
//!          ─ br1 ─┬─ q0 ═ eth1 (a) 198.51.100.1   (with two segments)
//! ```
//! Everything is unmade when a [`Lab`] is dropped. Names carry the process id, so runs do not meet.

pub use crate::peers::{Kind, skip};
use nix::sched::{CloneFlags, setns};
use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Generous: a state that does not come in this time does not come.
pub const LIMIT: Duration = Duration::from_secs(90);

/// Runs `ip` in a namespace (`""`: here).
pub fn ip(namespace: &str, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("ip");
    if !namespace.is_empty() {
        command.args(["-n", namespace]);
    }
    let output = command.args(arguments).output().map_err(|e| e.to_string())?;
    let error = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("ip {arguments:?}: {error}"))
    }
}

/// Many `ip` lines in one process.
fn batch(namespace: &str, lines: &str) {
    let mut command = Command::new("ip");
    let mut child =
        command.args(["-n", namespace, "-batch", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{lines}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Does something in a thread that has moved into a namespace.
pub fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    let handle = File::open(format!("/run/netns/{namespace}")).unwrap();
    std::thread::scope(|scope| {
        let moved = scope.spawn(move || {
            setns(handle.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        moved.join().unwrap()
    })
}

/// Waits until `holds` gives true.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) -> Result<Duration, String> {
    let began = Instant::now();
    loop {
        if holds() {
            return Ok(began.elapsed());
        }
        if began.elapsed() > LIMIT {
            return Err(format!("not within {LIMIT:?}: {what}"));
        }
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// A frame as it entered the switch.
#[derive(Clone, Debug)]
pub struct Frame {
    pub at: Instant,
    /// Node whose port it came in by.
    pub node: usize,
    pub bytes: Vec<u8>,
}

/// A server: its namespace, its files, its daemon.
pub struct Node {
    pub namespace: String,
    pub kind: Kind,
    pub directory: PathBuf,
    pub child: Option<Child>,
}

pub struct Lab {
    pub nodes: Vec<Node>,
    switch: String,
    directory: PathBuf,
    frames: Arc<Mutex<Vec<Frame>>>,
    stop: Arc<AtomicBool>,
    watcher: Option<std::thread::JoinHandle<()>>,
}

static COUNT: AtomicUsize = AtomicUsize::new(0);

impl Lab {
    /// A lab with a daemon seat for each kind, on one segment or two.
    pub fn new(kinds: &[Kind], segments: usize) -> Lab {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let stem = format!("vipdt{}x{number}", std::process::id());
        let directory = std::env::temp_dir().join(&stem);
        std::fs::create_dir_all(&directory).unwrap();
        let switch = format!("{stem}s");
        ip("", &["netns", "add", &switch]).unwrap();
        let bridge =
            |s: usize| format!("link add br{s} type bridge mcast_snooping 0 forward_delay 0\nlink set br{s} up\n");
        batch(&switch, &(0..segments).map(bridge).collect::<String>());
        let mut nodes = Vec::new();
        for (position, kind) in kinds.iter().enumerate() {
            let namespace = format!("{stem}n{position}");
            ip("", &["netns", "add", &namespace]).unwrap();
            inside(&namespace, || {
                for knob in ["all/accept_dad", "default/accept_dad", "default/dad_transmits"] {
                    let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{knob}"), "0");
                }
            });
            let host = position + 1;
            for s in 0..segments {
                let mac = format!("02:00:00:00:{s:02x}:{host:02x}");
                let line = format!(
                    "link add {}{position} type veth peer name eth{s} address {mac} netns {namespace}\n\
                     link set {}{position} master br{s} up\n",
                    ["p", "q"][s],
                    ["p", "q"][s]
                );
                batch(&switch, &line);
                let (v4, v6) = [("192.0.2", "2001:db8:"), ("198.51.100", "2001:db8:1:")][s];
                let low = if s == 0 { "fe80:" } else { "fe80::1" };
                batch(
                    &namespace,
                    &format!(
                        "link set lo up\nlink set eth{s} addrgenmode none\naddr add {v4}.{host}/24 dev eth{s}\n\
                         addr add {low}:{host}/64 dev eth{s} nodad\naddr add {v6}:{host}/64 dev eth{s} nodad\n\
                         link set eth{s} up\n"
                    ),
                );
                // A master that has forgotten where a peer is, which is unplugged, has nothing more to put on the wire: the
                // observer could not see that it speaks.
                let peers = (1..=kinds.len()).filter(|peer| *peer != host).map(|peer| {
                    let to = format!("lladdr 02:00:00:00:{s:02x}:{peer:02x} nud permanent dev eth{s}\n");
                    format!("neigh replace {v4}.{peer} {to}neigh replace {low}:{peer} {to}")
                });
                batch(&namespace, &peers.collect::<String>());
            }
            let own = directory.join(format!("n{position}"));
            std::fs::create_dir_all(&own).unwrap();
            nodes.push(Node { namespace, kind: *kind, directory: own, child: None });
        }
        // The kernel tells of the carrier in its own time, and a daemon that is there before begins with a fault.
        for node in &nodes {
            let down = |entry: nix::ifaddrs::InterfaceAddress| {
                let running = entry.flags.contains(nix::net::if_::InterfaceFlags::IFF_RUNNING);
                entry.interface_name.starts_with("eth") && !running
            };
            let all_up = || inside(&node.namespace, || !nix::ifaddrs::getifaddrs().unwrap().any(down));
            until("carrier", all_up).unwrap();
        }
        let frames = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let watcher = Some(watch(&switch, frames.clone(), stop.clone()));
        Lab { nodes, switch, directory, frames, stop, watcher }
    }

    /// The namespace of the bridges, whose ports are p0, p1, … and q0, q1, …
    #[allow(dead_code)]
    pub fn switch(&self) -> &str {
        &self.switch
    }

    /// Writes a node's configuration.
    pub fn configure(&self, node: usize, text: &str) {
        std::fs::write(self.nodes[node].directory.join("keepalived.conf"), text).unwrap();
    }

    /// A path that belongs to a node.
    pub fn file(&self, node: usize, name: &str) -> PathBuf {
        self.nodes[node].directory.join(name)
    }

    pub fn start(&mut self, node: usize) {
        let lab = &mut self.nodes[node];
        let directory = lab.directory.display().to_string();
        // A zombie that nobody has reaped counts as running for keepalived.
        for name in ["pid", "vrrp.pid"] {
            let _ = std::fs::remove_file(lab.directory.join(name));
        }
        let program = match lab.kind {
            Kind::Vipd => env!("CARGO_BIN_EXE_vipd"),
            Kind::Keepalived => "keepalived",
            Kind::Frr => unreachable!("FRR needs to be told more"),
        };
        let log = File::options().create(true).append(true).open(lab.directory.join("log")).unwrap();
        let handle = File::open(format!("/run/netns/{}", lab.namespace)).unwrap();
        let mut command = Command::new(program);
        command.args(["-n", "-l", "-D", "-P", "-f", &format!("{directory}/keepalived.conf")]);
        command.args(["-p", &format!("{directory}/pid"), "-r", &format!("{directory}/vrrp.pid")]);
        // Labs run side by side: dumps and the control socket are a node's own.
        command.env("TMPDIR", &lab.directory).env("VIPD_CONTROL", lab.directory.join("control"));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        // SAFETY: setns is async-signal-safe, and nothing is allocated between fork and exec.
        unsafe {
            command.pre_exec(move || setns(handle.as_fd(), CloneFlags::CLONE_NEWNET).map_err(std::io::Error::from));
        }
        lab.child = Some(command.spawn().unwrap());
    }

    /// Starts FRR's zebra and vrrpd in a seat instead: VRID 51, 0.2 s, on a macvlan that FRR expects.
    #[allow(dead_code)]
    pub fn start_frr(&mut self, node: usize, six: bool, vip: &str, mac: &str, priority: u8) {
        let lab = &mut self.nodes[node];
        let directory = lab.directory.display().to_string();
        let (length, low) = if six { (128, "addr add fe80::100/64 dev vrrp nodad\n") } else { (32, "") };
        let nodad = if six { " nodad" } else { "" };
        // It outlives the daemons.
        let there = ip(&lab.namespace, &["link", "show", "vrrp"]).is_ok();
        let lines = if there {
            "link set vrrp up\n".to_owned()
        } else {
            format!(
                "link add vrrp link eth0 address {mac} type macvlan mode bridge\nlink set vrrp addrgenmode none\n{low}\
                 addr add {vip}/{length} dev vrrp{nodad}\nlink set vrrp up\n"
            )
        };
        batch(&lab.namespace, &lines);
        let family = if six { "ipv6" } else { "ip" };
        let own = if six { " vrrp 51 ipv6 fe80::100\n" } else { "" };
        let text = format!(
            "interface eth0\n vrrp 51 version 3\n vrrp 51 priority {priority}\n vrrp 51 advertisement-interval 200\n{own} \
             vrrp 51 {family} {vip}\n!\n"
        );
        std::fs::write(lab.directory.join("frr.conf"), text).unwrap();
        // FRR drops its privileges, and its sockets live in this directory.
        let _ = Command::new("chown").args(["-R", "frr:frr", &directory]).status();
        // One process group of a shell, so that a signal to it ends both.
        let script = format!(
            "/usr/lib/frr/zebra -z {directory}/z --vty_socket {directory} -i {directory}/zebra.pid & z=$!; \
             until [ -S {directory}/z ]; do sleep 0.1; done; \
             /usr/lib/frr/vrrpd -z {directory}/z --vty_socket {directory} -i {directory}/vrrpd.pid -f {directory}/frr.conf & \
             v=$!; trap 'kill -TERM $v; wait $v; kill -TERM $z; wait' TERM; wait"
        );
        let log = File::options().create(true).append(true).open(lab.directory.join("log")).unwrap();
        let handle = File::open(format!("/run/netns/{}", lab.namespace)).unwrap();
        let mut command = Command::new("bash");
        command.args(["-c", &script]).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        // SAFETY: as in `start`.
        unsafe {
            command.pre_exec(move || setns(handle.as_fd(), CloneFlags::CLONE_NEWNET).map_err(std::io::Error::from));
        }
        lab.child = Some(command.spawn().unwrap());
    }

    /// Sends a signal to a node's daemon, and waits for its end if it must end by it.
    pub fn signal(&mut self, node: usize, signal: i32) {
        let Some(child) = self.nodes[node].child.as_mut() else { return };
        let own = child.id() as i32;
        // Killed means killed: keepalived's children would otherwise say goodbye for it.
        let target = if signal == libc::SIGKILL { -own } else { own };
        // SAFETY: a signal to a process (group) that this test started.
        unsafe { libc::kill(target, signal) };
        if signal == libc::SIGKILL || signal == libc::SIGTERM {
            let began = Instant::now();
            while child.try_wait().unwrap().is_none() {
                if began.elapsed() > LIMIT {
                    // SAFETY: as above.
                    unsafe { libc::kill(-own, libc::SIGKILL) };
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            self.nodes[node].child = None;
        }
    }

    /// Pulls or plugs the cable of a node: its own interface loses carrier.
    pub fn cable(&self, node: usize, segment: usize, plugged: bool) {
        let port = format!("{}{node}", ["p", "q"][segment]);
        ip(&self.switch, &["link", "set", &port, if plugged { "up" } else { "down" }]).unwrap();
    }

    /// Addresses in a node's namespace, with the name of their interface.
    pub fn addresses(&self, node: usize) -> Vec<(String, IpAddr)> {
        inside(&self.nodes[node].namespace, || {
            let Ok(all) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
            let read = |entry: nix::ifaddrs::InterfaceAddress| {
                let address = entry.address?;
                let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
                let v6 = || address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip()));
                Some((entry.interface_name, v4.or_else(v6)?))
            };
            all.filter_map(read).collect()
        })
    }

    pub fn has(&self, node: usize, address: IpAddr) -> bool {
        self.addresses(node).iter().any(|(_, a)| *a == address)
    }

    /// Waits until of the nodes with a running daemon exactly this one has the address.
    pub fn only(&self, node: usize, address: IpAddr) -> Result<Duration, String> {
        let alone = || {
            (0..self.nodes.len()).all(|n| {
                let dead = self.nodes[n].child.is_none();
                if n == node { self.has(n, address) } else { dead || !self.has(n, address) }
            })
        };
        let what = format!("{address} on node {node} ({}) alone", self.nodes[node].kind);
        until(&what, alone).map_err(|text| format!("{text}\n{}", self.describe()))
    }

    /// keepalived ends its own child the hard way, which then leaves things behind, when it is interrupted while it waits.
    pub fn cut_its_child_short(&self, node: usize) -> bool {
        let log = std::fs::read_to_string(self.nodes[node].directory.join("log")).unwrap_or_default();
        self.nodes[node].kind == Kind::Keepalived && log.contains("failed to die - forcing termination")
    }

    /// Frames seen since a moment.
    pub fn since(&self, from: Instant) -> Vec<Frame> {
        self.frames.lock().unwrap().iter().filter(|frame| frame.at >= from).cloned().collect()
    }

    /// What there is to see when something went wrong.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for (number, node) in self.nodes.iter().enumerate() {
            let log = std::fs::read_to_string(node.directory.join("log")).unwrap_or_default();
            let conf = std::fs::read_to_string(node.directory.join("keepalived.conf")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            text += &format!(
                "── node {number}, {}\naddresses {:?}\n{conf}\n{}\n",
                node.kind,
                self.addresses(number),
                tail.join("\n")
            );
        }
        text
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(mut child) = node.child.take() {
                // SAFETY: the process group of a daemon that this test started.
                unsafe { libc::kill(-(child.id() as i32), libc::SIGKILL) };
                let _ = child.wait();
            }
        }
        self.stop.store(true, Ordering::Relaxed);
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
        for node in &self.nodes {
            let _ = ip("", &["netns", "del", &node.namespace]);
        }
        let _ = ip("", &["netns", "del", &self.switch]);
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

/// What is announced once and is dropped here would be missed for ever: room for many seconds of a busy machine.
fn make_room(socket: &socket2::Socket) {
    let bytes: libc::c_int = 8 << 20;
    let length = size_of_val(&bytes) as libc::socklen_t;
    let from = (&raw const bytes).cast();
    // SAFETY: the option's value is a number of the length given, which lives through the call.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, from, length) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// Reads every frame that enters the switch through a node's port.
fn watch(switch: &str, frames: Arc<Mutex<Vec<Frame>>>, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    let (socket, ports) = inside(switch, || {
        let kind = socket2::Type::RAW;
        let protocol = socket2::Protocol::from(i32::from((libc::ETH_P_ALL as u16).to_be()));
        let socket = socket2::Socket::new(socket2::Domain::PACKET, kind, Some(protocol)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        make_room(&socket);
        let names = nix::net::if_::if_nameindex().unwrap();
        let port = |name: &str| name.strip_prefix(['p', 'q']).and_then(|n| n.parse::<usize>().ok());
        let ports: HashMap<u32, usize> =
            names.iter().filter_map(|link| Some((link.index(), port(link.name().to_str().ok()?)?))).collect();
        (socket, ports)
    });
    std::thread::spawn(move || {
        let mut buffer = vec![0_u8; 65_536];
        while !stop.load(Ordering::Relaxed) {
            // SAFETY: an all-zero sockaddr_ll is a valid one to be written over.
            let mut from: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
            let mut length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            // SAFETY: buffer and address are valid for the lengths given, and live through the call.
            let got = unsafe {
                libc::recvfrom(
                    socket.as_raw_fd(),
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                    0,
                    (&raw mut from).cast(),
                    &mut length,
                )
            };
            let Ok(got) = usize::try_from(got) else { continue };
            let outgoing = from.sll_pkttype == libc::PACKET_OUTGOING;
            if let (false, Some(node)) = (outgoing, ports.get(&(from.sll_ifindex as u32))) {
                let frame = Frame { at: Instant::now(), node: *node, bytes: buffer[..got].to_vec() };
                frames.lock().unwrap().push(frame);
            }
        }
    })
}
