//! A namespace with one Ethernet interface, eth0 (10.9.0.1/24), and a daemon in it with a /run of its own.

use nix::net::if_::InterfaceFlags;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up: a loaded machine is slow, a broken daemon never gets there.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The daemon that is tested: the one that was built with the test, or `VIPD_PROGRAM`, so that a release build can be measured.
pub fn vipd() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| std::env::var("VIPD_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_vipd").to_owned()))
}

pub struct Ground {
    pub name: String,
    pub directory: PathBuf,
}

pub fn ready() -> bool {
    let root = nix::unistd::geteuid().is_root();
    let ip = Command::new("ip").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if root && ip {
        return true;
    }
    assert!(std::env::var("VIPD_REQUIRE_NETNS").as_deref() != Ok("1"), "needs root and iproute2");
    eprintln!("skipped: needs root and iproute2");
    false
}

pub fn ip(args: &str) -> String {
    let out = Command::new("ip").args(args.split_whitespace()).output().unwrap();
    assert!(out.status.success(), "ip {args}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

impl Ground {
    pub fn new() -> Ground {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("daemon_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(&name);
        fs::create_dir_all(&directory).unwrap();
        ip(&format!("netns add {name}"));
        ip(&format!("-n {name} link add eth0 type veth peer name far"));
        for link in ["lo", "eth0", "far"] {
            ip(&format!("-n {name} link set {link} up"));
        }
        ip(&format!("-n {name} addr add 10.9.0.1/24 dev eth0"));
        let ground = Ground { name, directory };
        ground.wait_for_carrier();
        ground
    }

    /// The kernel tells of a carrier in its own time, and a daemon that is there before begins with a fault: waits for all
    /// interfaces that are up.
    pub fn wait_for_carrier(&self) {
        let waits = |entry: nix::ifaddrs::InterfaceAddress| {
            let (up, running) = (InterfaceFlags::IFF_UP, InterfaceFlags::IFF_RUNNING);
            entry.flags.contains(up) && !entry.flags.contains(running)
        };
        let begun = Instant::now();
        while self.inside(|| nix::ifaddrs::getifaddrs().unwrap().any(waits)) {
            assert!(begun.elapsed() < PATIENCE, "an interface has no carrier");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// With a carrier comes a link-local address of the kernel's own, which is of use once nobody else has it.
    pub fn wait_for_link_local(&self, links: &[&str]) {
        let shown = |link: &str, more: &str| ip(&format!("-n {} -6 addr show dev {link} {more}", self.name));
        let ready = |link: &&str| shown(link, "").contains(" fe80::") && shown(link, "tentative").is_empty();
        let begun = Instant::now();
        while !links.iter().all(ready) {
            assert!(begun.elapsed() < PATIENCE, "an address stays tentative");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// A program to be run. Another process writes it: a descriptor open for writing here would be inherited by whatever
    /// another test starts at that moment, and a program that is open for writing cannot be executed.
    pub fn program(&self, name: &str, text: &str) -> PathBuf {
        let (source, path) =
            (self.write(&format!("{name}.text"), &format!("#!/bin/sh\n{text}\n")), self.directory.join(name));
        let done = Command::new("install").args(["-m", "755"]).arg(&source).arg(&path).status().unwrap();
        assert!(done.success());
        fs::remove_file(source).unwrap();
        path
    }

    pub fn configure(&self, text: &str) {
        self.write("keepalived.conf", text);
    }

    pub fn has(&self, address: &str) -> bool {
        ip(&format!("-n {} -o addr show dev eth0", self.name)).contains(&format!(" {address}"))
    }

    /// What is made in the namespace, such as a socket, stays in it.
    pub fn inside<T: Send>(&self, make: impl FnOnce() -> T + Send) -> T {
        let namespace = fs::File::open(format!("/run/netns/{}", self.name)).unwrap();
        std::thread::scope(|scope| {
            // Of a thread of its own, which ends.
            let made = scope.spawn(|| {
                nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
                make()
            });
            made.join().unwrap()
        })
    }

    fn command(&self, program: &Path, flags: &str, own_run: bool) -> Command {
        let vipd = program.display();
        let conf = self.directory.join("keepalived.conf");
        // Every daemon has a /run of its own.
        let line = format!(
            "{} exec {vipd} -G -f {} {flags}",
            if own_run { "mount -t tmpfs tmpfs /run &&" } else { "" },
            conf.display()
        );
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, "sh", "-c", &line]).env("TMPDIR", &self.directory);
        command
    }

    /// As [`Ground::start`], by a shell line in which `{vipd}` stands for the daemon and its flags, in a mount namespace of
    /// its own. It is not waited for.
    pub fn start_by(&self, line: &str, flags: &str) -> Daemon {
        let conf = self.directory.join("keepalived.conf");
        let line = line.replace("{vipd}", &format!("{} -G -f {} -n -l -D {flags}", vipd(), conf.display()));
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, "bash", "-c", &line]).env("TMPDIR", &self.directory);
        self.spawn(command)
    }

    /// A daemon in the foreground that has said that it stands.
    pub fn start(&self, flags: &str) -> Daemon {
        self.start_program(vipd().as_ref(), flags)
    }

    /// A daemon with one instance, A, VRID 1, that is master and has 10.9.0.10/24.
    pub fn start_master(&self, flags: &str) -> Daemon {
        self.configure(&instance("A", 1, "10.9.0.10/24"));
        let daemon = self.start(flags);
        daemon.wait_for_address(self, "10.9.0.10/24", true);
        daemon
    }

    /// A daemon with two instances that are master: A as that of [`Ground::start_master`], and B, VRID 2, with 10.9.0.11/24.
    pub fn start_two_masters(&self) -> Daemon {
        self.configure(&(instance("A", 1, "10.9.0.10/24") + &instance("B", 2, "10.9.0.11/24")));
        let daemon = self.start("");
        daemon.wait_for_address(self, "10.9.0.10/24", true);
        daemon.wait_for_address(self, "10.9.0.11/24", true);
        daemon
    }

    /// As [`Ground::start`], with the machine's own /run.
    pub fn start_in_real_run(&self, flags: &str) -> Daemon {
        self.start_with(self.command(vipd().as_ref(), &format!("-n -l -D {flags}"), false))
    }

    /// As [`Ground::start`], with variables in the daemon's environment.
    pub fn start_with_environment(&self, flags: &str, variables: &[(&str, &str)]) -> Daemon {
        self.start_program_with_environment(vipd().as_ref(), flags, variables)
    }

    /// As [`Ground::start_with_environment`], another program.
    pub fn start_program_with_environment(&self, program: &Path, flags: &str, variables: &[(&str, &str)]) -> Daemon {
        let mut command = self.command(program, &format!("-n -l -D {flags}"), true);
        command.envs(variables.iter().copied());
        self.start_with(command)
    }

    /// As [`Ground::start`], under another name, or another program.
    pub fn start_program(&self, program: &Path, flags: &str) -> Daemon {
        self.start_in(program, flags, &self.directory)
    }

    /// As [`Ground::start_program`], with another directory for its dumps.
    pub fn start_in(&self, program: &Path, flags: &str, temporary: &Path) -> Daemon {
        let mut command = self.command(program, &format!("-n -l -D {flags}"), true);
        command.env("TMPDIR", temporary);
        self.start_with(command)
    }

    fn spawn(&self, mut command: Command) -> Daemon {
        let log = self.directory.join("log");
        let file = fs::OpenOptions::new().append(true).create(true).open(&log).unwrap();
        let child = command.stdin(Stdio::null()).stderr(file).spawn().unwrap();
        Daemon { child, log }
    }

    fn start_with(&self, command: Command) -> Daemon {
        let before = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        let before = before.matches("Startup complete").count();
        let daemon = self.spawn(command);
        daemon.wait_for("the daemon to stand", || daemon.log_text().matches("Startup complete").count() > before);
        daemon
    }

    /// The last line that a notify program has written of what it was told. On a machine that does not let it run within
    /// the second that it has for a stop, it is killed: then the log says so.
    pub fn told_of_the_stop(&self, told: &str, last: &str) {
        let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        assert!(told.lines().last() == Some(last) || log.contains(" ended by signal "), "{told}\n{log}");
    }

    /// Runs a daemon to its end.
    pub fn run(&self, flags: &str) -> std::process::Output {
        self.run_program(vipd().as_ref(), flags)
    }

    pub fn run_program(&self, program: &Path, flags: &str) -> std::process::Output {
        self.command(program, flags, true).output().unwrap()
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// A file as the daemon sees it.
    pub fn path(&self, path: &str) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.pid())).join(path.trim_start_matches('/'))
    }

    pub fn signal(&self, number: i32) {
        // SAFETY: kill takes no pointers; the process is our child.
        assert_eq!(unsafe { libc::kill(self.pid(), number) }, 0);
    }

    pub fn log_text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn wait_for(&self, what: &str, is: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is() {
            assert!(begun.elapsed() < PATIENCE, "no {what}; the log says:\n{}", self.log_text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn wait_for_log(&self, line: &str) {
        self.wait_for(line, || self.log_text().contains(line));
    }

    pub fn wait_for_address(&self, ground: &Ground, address: &str, there: bool) {
        self.wait_for(&format!("{address} there: {there}"), || ground.has(address) == there);
    }

    /// Waits for the end.
    pub fn end(mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end; the log says:\n{}", self.log_text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn stop(self) -> ExitStatus {
        self.signal(libc::SIGTERM);
        self.end()
    }

    pub fn control(&self) -> BufReader<UnixStream> {
        BufReader::new(UnixStream::connect(self.path("/run/vipd/control.sock")).unwrap())
    }

    pub fn ask(&self, request: &str) -> serde_json::Value {
        let mut stream = self.control();
        say(&mut stream, request);
        hear(&mut stream)
    }

    /// Adverts that the first instance has sent.
    pub fn adverts(&self) -> u64 {
        let status = self.ask(r#"{"request":"status"}"#);
        status["status"]["instances"][0]["counters"]["advert_sent"].as_u64().unwrap()
    }

    /// Waits until the first instance has sent some more.
    pub fn advertises(&self) {
        let before = self.adverts();
        self.wait_for("further adverts", || self.adverts() > before + 2);
    }

    /// The state of an instance, `absent` where there is none of that name.
    pub fn state(&self, name: &str) -> String {
        let reply = self.ask(r#"{"request":"status"}"#);
        let instances = reply["status"]["instances"].as_array().unwrap().clone();
        let named = instances.iter().find(|instance| instance["name"] == name);
        named.map_or("absent".into(), |instance| instance["state"].as_str().unwrap().to_owned())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn say(stream: &mut BufReader<UnixStream>, request: &str) {
    stream.get_mut().set_read_timeout(Some(PATIENCE)).unwrap();
    stream.get_mut().write_all(format!("{request}\n").as_bytes()).unwrap();
}

pub fn hear(stream: &mut BufReader<UnixStream>) -> serde_json::Value {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))
}

/// An instance that is master almost at once (nobody else is there).
pub fn instance(name: &str, vrid: u8, address: &str) -> String {
    format!(
        "vrrp_instance {name} {{\n interface eth0\n virtual_router_id {vrid}\n priority 200\n advert_int 0.1\n \
         version 3\n virtual_ipaddress {{\n  {address}\n }}\n}}\n"
    )
}
