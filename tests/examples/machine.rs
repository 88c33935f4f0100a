//! A machine that is not there: namespaces for network, mounts, processes, host name; joined to others by a switch.
//!
//! It is furnished as the example's README says, file by file, with Debian's own /etc around. Programs inside are the
//! real ones. A stand-in for `systemctl` starts what unit files say, and one for `logger` writes to /run/syslog. Nothing
//! outside is touched, and all ends with the value.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The whole machine but for its programs. Process 1 reaps everything and ends with its stdin.
const FURNISH: &str = r#"
set -e
hostname "$1"
mount --make-rprivate /
# Of this network namespace: the directory below would show the interfaces of the machine around.
mount -t sysfs sysfs /sys
if [ "$2" = furnished ]; then
    mount -t tmpfs -o mode=755 tmpfs /run
    cp -a /etc /run/etc
    mount -t tmpfs -o mode=755 tmpfs /etc
    cp -a /run/etc/. /etc
    rm -rf /run/etc
    for place in /var/log /var/lib/nginx /var/www /usr/local/bin /usr/local/sbin; do
        [ ! -d "$place" ] || mount -t tmpfs -o mode=755 tmpfs "$place"
    done
    mkdir -p /var/log/nginx /run/systemd/system /etc/keepalived /etc/systemd/system
    cp "$3" /usr/local/bin/systemctl
    printf '#!/bin/sh\nwhile [ "${1#-}" != "$1" ]; do case $1 in -t) tag=$2; shift 2;; *) shift;; esac; done\necho "$tag: $*" >>/run/syslog\n' >/usr/local/bin/logger
    chmod 755 /usr/local/bin/systemctl /usr/local/bin/logger
    [ -z "$4" ] || mount --bind "$4" /srv
fi
ip link set lo up
exec perl -e '$SIG{CHLD} = "IGNORE"; $| = 1; print "ready\n"; 1 while <STDIN>;'
"#;

/// Starts and stops units as systemd would: `ExecStart=` of the unit file, with `%i`; nginx, haproxy and keepalived are known.
const SYSTEMCTL: &str = r#"#!/bin/bash
verb=$1; shift
[ "$1" = --now ] && shift
for unit in "$@"; do
    unit=${unit%.service}
    instance=; file=/etc/systemd/system/$unit.service
    case $unit in *@*) instance=${unit#*@}; file=/etc/systemd/system/${unit%%@*}@.service ;; esac
    pidfile=/run/unit-$unit.pid
    case $unit in
        nginx) command="/usr/sbin/nginx -g 'daemon off;'" ;;
        haproxy) command='/usr/sbin/haproxy -W -db -f /etc/haproxy/haproxy.cfg' ;;
        keepalived|vipd) command="$(cat /etc/vipd-under-test) -n -l -D -G" ;;
        *) command=$(sed -n 's/^ExecStart=//p' "$file"); command=${command//%i/$instance} ;;
    esac
    stop() {
        pid=$(cat "$pidfile" 2>/dev/null) || return 0
        kill "$pid" 2>/dev/null
        for _ in $(seq 1200); do [ -d "/proc/$pid" ] || break; sleep 0.05; done
        kill -9 -- "-$pid" 2>/dev/null
        rm -f "$pidfile"
    }
    start() {
        pid=$(cat "$pidfile" 2>/dev/null) && [ -d "/proc/$pid" ] && return 0
        setsid bash -c "echo \$\$ >'$pidfile'; exec $command" </dev/null >>"/var/log/unit-$unit.log" 2>&1 &
        for _ in $(seq 3000); do [ -s "$pidfile" ] && break; sleep 0.02; done
    }
    case $verb in
        start|enable) start ;;
        stop|disable) stop ;;
        restart) stop; start ;;
        reload) kill -HUP "$(cat "$pidfile")" ;;
        is-active) pid=$(cat "$pidfile" 2>/dev/null) && [ -d "/proc/$pid" ] || exit 3 ;;
    esac
done
"#;

/// The switch that machines are plugged into.
pub struct Switch {
    inside: Machine,
}

pub struct Machine {
    pub name: String,
    /// The own address, with prefix length, as `ip` wants it.
    pub address: String,
    agent: Child,
    pid: u32,
    switch: u32,
    port: String,
}

impl Switch {
    pub fn new(example: &str) -> Switch {
        let inside = Machine::boot(&format!("{example}-switch"), None, None);
        inside.must("ip link add br0 type bridge mcast_snooping 0");
        inside.must("ip link set br0 up");
        Switch { inside }
    }

    /// A machine with nothing of its own: clients, mail servers.
    pub fn plain(&self, name: &str, address: &str) -> Machine {
        self.plug(Machine::boot(name, None, None), address)
    }

    /// A server. `shared` appears as /srv.
    pub fn server(&self, name: &str, address: &str, shared: Option<&Path>) -> Machine {
        // Two worlds may each have a server of this name, at the same moment.
        static SERVERS: AtomicU32 = AtomicU32::new(0);
        let number = SERVERS.fetch_add(1, Ordering::Relaxed);
        let stub = std::env::temp_dir().join(format!("vipd-examples-systemctl-{}-{number}", std::process::id()));
        std::fs::write(&stub, SYSTEMCTL).unwrap();
        let machine = Machine::boot(name, Some(&stub), shared);
        std::fs::remove_file(&stub).unwrap();
        machine.write("/etc/vipd-under-test", env!("CARGO_BIN_EXE_vipd"), 0o644);
        self.plug(machine, address)
    }

    fn plug(&self, mut machine: Machine, address: &str) -> Machine {
        machine.address = format!("{address}/24");
        machine.switch = self.inside.pid;
        machine.port = self.also(&machine, "eth0", &machine.address);
        machine
    }

    /// The other end of a cable is pulled out or plugged in.
    pub fn plug_in(&self, port: &str, plugged: bool) {
        self.inside.must(&format!("ip link set {port} {}", if plugged { "up" } else { "down" }));
    }

    /// A further interface of a machine, at this switch; `address` with its prefix length. Returns the port's name here.
    pub fn also(&self, machine: &Machine, link: &str, address: &str) -> String {
        let pid = machine.pid;
        let port = &format!("port{pid}");
        self.inside.must(&format!("ip link add {port} type veth peer name cable{pid}"));
        let moved = Command::new("nsenter")
            .args(["--target", &self.inside.pid.to_string(), "--net", "ip", "link", "set", &format!("cable{pid}")])
            .args(["netns", &pid.to_string()])
            .status()
            .unwrap();
        assert!(moved.success());
        self.inside.must(&format!("ip link set {port} master br0 up"));
        machine.must(&format!("ip link set cable{pid} name {link}"));
        machine.must(&format!("ip addr add {address} dev {link}"));
        machine.must(&format!("ip link set {link} up"));
        // The kernel tells of the carrier in its own time.
        machine.must(&format!(
            "for _ in $(seq 1000); do grep -q up /sys/class/net/{link}/operstate && exit; sleep 0.05; done; exit 1"
        ));
        port.clone()
    }
}

impl Machine {
    fn boot(name: &str, systemctl: Option<&Path>, shared: Option<&Path>) -> Machine {
        let mut agent = Command::new("unshare")
            .args(["--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc"])
            .args(["bash", "-c", FURNISH, "furnish", name, if systemctl.is_some() { "furnished" } else { "plain" }])
            .arg(systemctl.unwrap_or(Path::new("")))
            .arg(shared.unwrap_or(Path::new("")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(agent.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "{name} does not come up");
        let children = Command::new("pgrep").args(["-P", &agent.id().to_string()]).output().unwrap();
        let pid = String::from_utf8_lossy(&children.stdout).trim().parse().unwrap();
        Machine { name: name.into(), address: String::new(), agent, pid, switch: 0, port: String::new() }
    }

    /// A command inside, not started yet.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid.to_string()]);
        command.args(["--net", "--mount", "--pid", "--ipc", "--uts", "--wd=/", "--", program]);
        command.env_clear();
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdin(Stdio::null());
        command
    }

    /// Runs a shell line.
    pub fn run(&self, line: &str) -> Output {
        self.command("bash").args(["-c", line]).output().unwrap()
    }

    /// Runs a shell line that must succeed; what it printed.
    pub fn must(&self, line: &str) -> String {
        let ran = self.run(line);
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert!(
            ran.status.success(),
            "{}: {line}: {}\n{said}{}",
            self.name,
            ran.status,
            String::from_utf8_lossy(&ran.stderr)
        );
        said
    }

    /// `vipctl` on this machine.
    pub fn vipctl(&self, arguments: &str) -> String {
        self.must(&format!("{} {arguments}", env!("CARGO_BIN_EXE_vipctl")))
    }

    pub fn systemctl(&self, arguments: &str) {
        self.must(&format!("systemctl {arguments}"));
    }

    /// A file's text; empty when there is none.
    pub fn read(&self, path: &str) -> String {
        String::from_utf8_lossy(&self.run(&format!("cat '{path}'")).stdout).into_owned()
    }

    pub fn write(&self, path: &str, text: &str, mode: u32) {
        // Through the door that the kernel keeps to another mount namespace's root.
        let outside = PathBuf::from(format!("/proc/{}/root{path}", self.pid));
        std::fs::create_dir_all(outside.parent().unwrap()).unwrap();
        std::fs::write(&outside, text).unwrap();
        std::fs::set_permissions(&outside, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }

    pub fn has(&self, address: &str) -> bool {
        self.has_on("eth0", address)
    }

    pub fn has_on(&self, link: &str, address: &str) -> bool {
        let shown = self.must(&format!("ip -br addr show dev {link}"));
        shown.split_whitespace().any(|word| word.split('/').next() == Some(address))
    }

    /// The daemon's log.
    pub fn log(&self) -> String {
        self.read("/var/log/unit-keepalived.log")
    }

    /// The power is gone: no process is left, the cable is dead.
    pub fn power_off(&self) {
        self.cable(false);
        self.run("kill -9 -1");
    }

    /// What a machine has after booting: its own address, an empty /run.
    pub fn power_on(&self) {
        self.must("find /run -mindepth 1 -delete; mkdir -p /run/systemd/system; ip addr flush dev eth0");
        self.must(&format!("ip addr add {} dev eth0", self.address));
        self.cable(true);
    }

    pub fn cable(&self, plugged: bool) {
        let state = if plugged { "up" } else { "down" };
        let done = Command::new("nsenter")
            .args(["--target", &self.switch.to_string(), "--net", "ip", "link", "set", &self.port, state])
            .status();
        assert!(done.unwrap().success());
    }

    /// The network namespace, to be entered by a thread.
    pub fn door(&self) -> File {
        File::open(format!("/proc/{}/ns/net", self.pid)).unwrap()
    }

    pub fn own(&self) -> IpAddr {
        self.address.split('/').next().unwrap().parse().unwrap()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Its process 1 ends with its stdin, and with it everything inside.
        drop(self.agent.stdin.take());
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            if self.agent.try_wait().is_ok_and(|s| s.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}
