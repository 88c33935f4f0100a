//! Two servers, their namespaces joined by a cable or by a router, and a program in each.
//!
//! ```text
//!   a  eth0 10.9.9.1/24  fd00:9::1  ═══════════════  eth0 10.9.9.2/24  fd00:9::2  b
//!   a  eth0 10.9.1.1/24  ═══  r0 router r1  ═══  eth0 10.9.2.2/24  b          (`Place::Routed`)
//! ```

pub use crate::peers::{Kind, skip};
use nix::net::if_::InterfaceFlags;
use nix::sched::{CloneFlags, setns};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Generous: what does not come in this time does not come.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn ip(line: &str) -> Result<String, String> {
    let out = Command::new("ip").args(line.split_whitespace()).output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    if out.status.success() { Ok(text) } else { Err(format!("ip {line}: {}", String::from_utf8_lossy(&out.stderr))) }
}

pub struct Node {
    pub kind: Kind,
    pub namespace: String,
    pub directory: PathBuf,
    child: Option<Child>,
}

pub struct Pair {
    pub nodes: [Node; 2],
    pub routed: bool,
    stem: String,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Pair {
    pub fn new(kinds: [Kind; 2], routed: bool) -> Pair {
        let stem = format!("bfdt{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let node = |side: usize| {
            let namespace = format!("{stem}{}", ["a", "b"][side]);
            ip(&format!("netns add {namespace}")).unwrap();
            let directory = std::env::temp_dir().join(&namespace);
            std::fs::create_dir_all(&directory).unwrap();
            Node { kind: kinds[side], namespace, directory, child: None }
        };
        let nodes = [node(0), node(1)];
        let [a, b] = [&nodes[0].namespace, &nodes[1].namespace];
        if routed {
            let r = format!("{stem}r");
            ip(&format!("netns add {r}")).unwrap();
            ip(&format!("-n {r} link add r0 type veth peer name eth0 netns {a}")).unwrap();
            ip(&format!("-n {r} link add r1 type veth peer name eth0 netns {b}")).unwrap();
            for line in
                ["addr add 10.9.1.254/24 dev r0", "addr add 10.9.2.254/24 dev r1", "link set r0 up", "link set r1 up"]
            {
                ip(&format!("-n {r} {line}")).unwrap();
            }
            let forwards =
                Command::new("ip").args(["netns", "exec", &r, "sysctl", "-qw", "net.ipv4.ip_forward=1"]).status();
            assert!(forwards.unwrap().success());
        } else {
            ip(&format!("-n {a} link add eth0 type veth peer name eth0 netns {b}")).unwrap();
        }
        let pair = Pair { nodes, routed, stem };
        for side in 0..2 {
            let n = &pair.nodes[side].namespace;
            let host = side + 1;
            ip(&format!("-n {n} link set lo up")).unwrap();
            ip(&format!("-n {n} addr add {}/24 dev eth0", pair.address(side))).unwrap();
            if !routed {
                ip(&format!("-n {n} addr add fd00:9::{host}/64 dev eth0 nodad")).unwrap();
            }
            ip(&format!("-n {n} link set eth0 up")).unwrap();
            if routed {
                ip(&format!("-n {n} route add default via 10.9.{host}.254")).unwrap();
            }
        }
        pair.wait_for_carrier();
        pair
    }

    /// The kernel tells of a carrier in its own time: a session that begins before has its path down once more after that.
    fn wait_for_carrier(&self) {
        let waits = |entry: nix::ifaddrs::InterfaceAddress| {
            let (up, running) = (InterfaceFlags::IFF_UP, InterfaceFlags::IFF_RUNNING);
            entry.flags.contains(up) && !entry.flags.contains(running)
        };
        for node in &self.nodes {
            let handle = File::open(format!("/run/netns/{}", node.namespace)).unwrap();
            let all_up = std::thread::spawn(move || {
                setns(handle.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
                let begun = Instant::now();
                while begun.elapsed() < PATIENCE {
                    if !nix::ifaddrs::getifaddrs().unwrap().any(waits) {
                        return true;
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
                false
            });
            assert!(all_up.join().unwrap(), "no carrier in {}", node.namespace);
        }
    }

    pub fn address(&self, side: usize) -> String {
        if self.routed { format!("10.9.{0}.{0}", side + 1) } else { format!("10.9.9.{}", side + 1) }
    }

    /// A session of a side, in keepalived's language; `inside`: more lines of it.
    pub fn session(&self, side: usize, six: bool, inside: &str) -> String {
        let (own, other) = if six {
            (format!("fd00:9::{}", side + 1), format!("fd00:9::{}", 2 - side))
        } else {
            (self.address(side), self.address(1 - side))
        };
        format!("bfd_instance S {{\n source_ip {own}\n neighbor_ip {other}\n{inside}\n}}\n")
    }

    pub fn configure(&self, side: usize, text: &str) {
        let name = if self.nodes[side].kind == Kind::Frr { "frr.conf" } else { "keepalived.conf" };
        std::fs::write(self.nodes[side].directory.join(name), text).unwrap();
    }

    pub fn start(&mut self, side: usize) {
        self.start_with(side, "");
    }

    pub fn start_with(&mut self, side: usize, flags: &str) {
        let node = &mut self.nodes[side];
        let d = node.directory.display().to_string();
        // Every part gets a pid file of its own: keepalived looks at all four before it starts, and a number that something
        // else left in the usual place may have become a process that runs.
        for name in ["pid", "vrrp.pid", "checkers.pid", "bfd.pid"] {
            let _ = std::fs::remove_file(node.directory.join(name));
        }
        let daemon = |program: &str| {
            format!(
                "exec {program} -n -l -D -f {d}/keepalived.conf -p {d}/pid -r {d}/vrrp.pid -c {d}/checkers.pid \
                 -b {d}/bfd.pid {flags}"
            )
        };
        let script = match node.kind {
            Kind::Vipd => daemon(env!("CARGO_BIN_EXE_vipd")),
            Kind::Keepalived => daemon("keepalived"),
            // FRR drops its privileges, and its sockets live in this directory.
            Kind::Frr => format!(
                "chown -R frr:frr {d}; /usr/lib/frr/zebra -z {d}/z --vty_socket {d} -i {d}/zebra.pid & z=$!; \
                 until [ -S {d}/z ]; do sleep 0.1; done; \
                 /usr/lib/frr/bfdd -z {d}/z --vty_socket {d} -i {d}/bfdd.pid --bfdctl {d}/bfdctl -f {d}/frr.conf & \
                 b=$!; trap 'kill -TERM $b; wait $b; kill -TERM $z; wait' TERM; wait"
            ),
        };
        let log = File::options().create(true).append(true).open(node.directory.join("log")).unwrap();
        let handle = File::open(format!("/run/netns/{}", node.namespace)).unwrap();
        let mut command = Command::new("bash");
        command
            .args(["-c", &script])
            .env("TMPDIR", &node.directory)
            .env("VIPD_CONTROL", node.directory.join("control"));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        // SAFETY: setns is async-signal-safe, and nothing is allocated between fork and exec.
        unsafe {
            command.pre_exec(move || setns(handle.as_fd(), CloneFlags::CLONE_NEWNET).map_err(std::io::Error::from));
        }
        node.child = Some(command.spawn().unwrap());
    }

    pub fn signal(&self, side: usize, signal: i32) {
        let Some(child) = &self.nodes[side].child else { return };
        let own = child.id() as i32;
        // A stop or a kill is for all of its processes; other signals are for the one that hands them on.
        let all = matches!(signal, libc::SIGKILL | libc::SIGSTOP | libc::SIGCONT);
        // SAFETY: a signal to a process (group) that this test started.
        unsafe { libc::kill(if all { -own } else { own }, signal) };
    }

    /// Ends a program and waits for its end.
    pub fn end(&mut self, side: usize, signal: i32) {
        self.signal(side, signal);
        if let Some(mut child) = self.nodes[side].child.take() {
            let began = Instant::now();
            while child.try_wait().unwrap().is_none() {
                if began.elapsed() > PATIENCE {
                    // SAFETY: as above.
                    unsafe { libc::kill(-(child.id() as i32), libc::SIGKILL) };
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    pub fn log(&self, side: usize) -> String {
        std::fs::read_to_string(self.nodes[side].directory.join("log")).unwrap_or_default()
    }

    /// One question to a vipd.
    pub fn ask(&self, side: usize, request: &str) -> Option<Value> {
        let mut stream = BufReader::new(UnixStream::connect(self.nodes[side].directory.join("control")).ok()?);
        stream.get_mut().set_read_timeout(Some(PATIENCE)).ok()?;
        stream.get_mut().write_all(format!("{request}\n").as_bytes()).ok()?;
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        serde_json::from_str(&line).ok()
    }

    /// What a vipd knows of its session.
    pub fn session_of(&self, side: usize) -> Option<Value> {
        let answer = self.ask(side, r#"{"request":"bfd","session":null}"#)?;
        answer["sessions"]["sessions"].get(0).cloned()
    }

    pub fn vtysh(&self, side: usize, lines: &[&str]) -> String {
        let mut command = Command::new("vtysh");
        command.args(["--vty_socket", &self.nodes[side].directory.display().to_string()]);
        for line in lines {
            command.args(["-c", line]);
        }
        String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned()
    }

    /// FRR's counters of its one peer.
    pub fn frr(&self, side: usize, what: &str) -> Value {
        let text = self.vtysh(side, &[what]);
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        value.get(0).cloned().unwrap_or_default()
    }

    pub fn frr_downs(&self, side: usize) -> u64 {
        self.frr(side, "show bfd peers counters json")["session-down"].as_u64().unwrap_or(u64::MAX)
    }

    /// Is the session up, as this side sees it?
    pub fn up(&self, side: usize) -> bool {
        match self.nodes[side].kind {
            Kind::Vipd => self.session_of(side).is_some_and(|session| session["state"] == "Up"),
            Kind::Frr => self.frr(side, "show bfd peers json")["status"] == "up",
            Kind::Keepalived => {
                let log = self.log(side);
                let last = log.lines().rev().find(|line| line.contains("(S) Entering ")).unwrap_or_default();
                last.contains("Entering Up state")
            }
        }
    }

    pub fn until(&self, what: &str, is: impl Fn() -> bool) -> Result<(), String> {
        let began = Instant::now();
        while !is() {
            if began.elapsed() > PATIENCE {
                return Err(format!("not within {PATIENCE:?}: {what}\n{}", self.describe()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    pub fn both(&self, up: bool) -> Result<(), String> {
        self.until(&format!("both sides up: {up}"), || {
            (0..2).all(|side| self.nodes[side].child.is_none() || self.up(side) == up)
        })
    }

    /// Nothing gets through, in the given directions (from side 0, from side 1): the receiver drops it before it looks.
    pub fn cut(&self, from: [bool; 2]) {
        for (side, cut) in from.into_iter().enumerate() {
            self.receives(1 - side, if cut { "drop" } else { "" });
        }
    }

    /// What a side does with everything that comes in before it looks at it: a verdict of nftables; empty is nothing.
    pub fn receives(&self, side: usize, verdict: &str) {
        let n = &self.nodes[side].namespace;
        let _ = ip(&format!("netns exec {n} nft delete table inet way"));
        if !verdict.is_empty() {
            ip(&format!("netns exec {n} nft add table inet way")).unwrap();
            ip(&format!("netns exec {n} nft add chain inet way in {{ type filter hook prerouting priority -400 ; }}"))
                .unwrap();
            ip(&format!("netns exec {n} nft add rule inet way in {verdict}")).unwrap();
        }
    }

    pub fn describe(&self) -> String {
        let mut text = String::new();
        for side in 0..2 {
            let node = &self.nodes[side];
            let name = if node.kind == Kind::Frr { "frr.conf" } else { "keepalived.conf" };
            let conf = std::fs::read_to_string(node.directory.join(name)).unwrap_or_default();
            let log = self.log(side);
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            let own = match node.kind {
                Kind::Vipd => format!("{:?}", self.session_of(side)),
                Kind::Frr => self.vtysh(side, &["show bfd peers", "show bfd peers counters"]),
                Kind::Keepalived => String::new(),
            };
            text += &format!("── {} {}\n{conf}\n{}\n{own}\n", ["a", "b"][side], node.kind, tail.join("\n"));
        }
        text
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(mut child) = node.child.take() {
                // SAFETY: the process group of a program that this test started.
                unsafe { libc::kill(-(child.id() as i32), libc::SIGKILL) };
                let _ = child.wait();
            }
            let _ = ip(&format!("netns del {}", node.namespace));
            if !std::thread::panicking() {
                let _ = std::fs::remove_dir_all(&node.directory);
            }
        }
        if self.routed {
            let _ = ip(&format!("netns del {}r", self.stem));
        }
    }
}

/// FRR's configuration of one peer.
pub fn frr(pair: &Pair, side: usize, six: bool, options: &str, lines: &str) -> String {
    let (own, other) = if six {
        (format!("fd00:9::{}", side + 1), format!("fd00:9::{}", 2 - side))
    } else {
        (pair.address(side), pair.address(1 - side))
    };
    format!("bfd\n peer {other} {options} local-address {own}\n{lines} !\n!\n")
}
