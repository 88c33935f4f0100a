//! Where log lines go: the flags `-l -D -S -g -G`, held against a syslog daemon that is played here.
//!
//! The daemon gets a /dev of its own, in which `log` is a socket of the test.

use crate::ground::{Ground, PATIENCE, instance, ready, vipd};
use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const ERROR: u32 = 3;
const WARNING: u32 = 4;
const INFO: u32 = 6;

/// What arrives at /dev/log. A reader of its own: the socket takes no more than a number of lines unread.
struct Syslog {
    path: PathBuf,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Syslog {
    fn listen(ground: &Ground) -> Syslog {
        let path = &ground.directory.join("dev-log");
        // Ten lines, if a namespace does not say otherwise: too few where the reader has to wait for its turn.
        let socket = ground.inside(|| {
            std::fs::write("/proc/sys/net/unix/max_dgram_qlen", "1000").unwrap();
            UnixDatagram::bind(path).unwrap()
        });
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let (heard, file) = (lines.clone(), path.to_owned());
        let reader = std::thread::spawn(move || {
            // Until the file is gone.
            while file.exists() {
                let mut buffer = [0; 8192];
                if let Ok(length) = socket.recv(&mut buffer) {
                    heard.lock().unwrap().push(String::from_utf8(buffer[..length].to_vec()).unwrap());
                }
            }
        });
        Syslog { path: path.to_owned(), lines, reader: Some(reader) }
    }

    /// As a syslog daemon that ends: neither file nor socket are there any more.
    fn end(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }

    fn lines(&self) -> Vec<Line> {
        self.lines.lock().unwrap().iter().map(|text| Line::read(text)).collect()
    }
}

impl Drop for Syslog {
    fn drop(&mut self) {
        self.end();
    }
}

/// `<30>Nov  1 06:04:33 Keepalived[123]: text`.
#[derive(Debug)]
struct Line {
    facility: u32,
    severity: u32,
    name: String,
    pid: u32,
    text: String,
}

impl Line {
    fn read(datagram: &str) -> Line {
        let read = || {
            let (priority, rest) = datagram.strip_prefix('<')?.split_once('>')?;
            let priority: u32 = priority.parse().ok()?;
            let (stamp, rest) = rest.split_at_checked(16)?;
            let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
            let shape: String = stamp.chars().skip(3).map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
            let good = months.contains(&&stamp[..3]) && [" 99 99:99:99 ", "  9 99:99:99 "].contains(&shape.as_str());
            let (head, text) = rest.split_once("]: ").filter(|_| good)?;
            let (name, pid) = head.split_once('[')?;
            let (name, text) = (name.to_owned(), text.to_owned());
            Some(Line { facility: priority / 8, severity: priority % 8, name, pid: pid.parse().ok()?, text })
        };
        read().unwrap_or_else(|| panic!("no line of syslog: {datagram}"))
    }
}

struct Logging {
    child: Child,
    stderr: PathBuf,
}

impl Logging {
    /// In the foreground, in the ground's directory, with these flags and nothing else about logs.
    fn start(ground: &Ground, flags: &str) -> Logging {
        let stderr = ground.directory.join("stderr");
        let file = std::fs::File::create(&stderr).unwrap();
        let child = Logging::command(ground, flags).stdin(Stdio::null()).stderr(file).spawn().unwrap();
        let logging = Logging { child, stderr };
        wait_for("the address", || ground.has("10.9.0.10/24"));
        logging
    }

    fn command(ground: &Ground, flags: &str) -> Command {
        let devices = "null c 1 3;zero c 1 5;random c 1 8;urandom c 1 9".split(';');
        let devices: String = devices.map(|device| format!("mknod -m 666 /dev/{device} && ")).collect();
        let (here, vipd) = (ground.directory.display(), vipd());
        let line = format!(
            "mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /dev && {devices} ln -s {here}/dev-log /dev/log && \
             cd {here} && exec {vipd} -n -f {here}/keepalived.conf {flags}"
        );
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &ground.name, "sh", "-c", &line]).env_remove("VIPD_CONTROL");
        command
    }

    fn signal(&self, number: i32) {
        // SAFETY: kill takes no pointers; the process is our child.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, number) }, 0);
    }

    /// What it said on the console.
    fn stop(mut self) -> String {
        self.signal(libc::SIGTERM);
        wait_for("the end", || self.child.try_wait().unwrap().is_some());
        std::fs::read_to_string(&self.stderr).unwrap()
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_for(what: &str, is: impl FnMut() -> bool) {
    let mut is = is;
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < PATIENCE, "no {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A datagram of systemd's journal, a field a line.
fn field<'a>(entry: &'a str, name: &str) -> Option<&'a str> {
    entry.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

/// The journal has what a line is about in fields, and so has the console with `--log-format json`.
#[test]
fn the_journal_and_json_say_which_instance_which_state_and_why() {
    if !ready() {
        return;
    }
    let (ground, syslog) = ground();
    let (here, vipd) = (ground.directory.display(), vipd());
    let line = format!(
        "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && ln -s {here}/dev-log /run/systemd/journal/socket && \
         exec {vipd} -n -l -D --log-format json -f {here}/keepalived.conf --log-file={here}/vipd.log"
    );
    let stderr = ground.directory.join("stderr");
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &ground.name, "sh", "-c", &line]).env_remove("VIPD_CONTROL");
    let child = command.stderr(std::fs::File::create(&stderr).unwrap()).spawn().unwrap();
    let daemon = Logging { child, stderr };
    let entry = || {
        let entries = syslog.lines.lock().unwrap();
        entries.iter().find(|entry| field(entry, "MESSAGE") == Some("(A) Entering MASTER STATE")).cloned()
    };
    wait_for("the journal's entry", || entry().is_some());
    let entry = entry().unwrap();
    let pid = daemon.child.id().to_string();
    for (name, value) in [
        ("PRIORITY", "6"),
        ("SYSLOG_FACILITY", "3"),
        ("SYSLOG_IDENTIFIER", "Keepalived_vrrp"),
        ("SYSLOG_PID", pid.as_str()),
    ] {
        assert_eq!(field(&entry, name), Some(value), "{name} in {entry}");
    }
    for (name, value) in [("INSTANCE", "A"), ("STATE", "MASTER"), ("REASON", "master_silent")] {
        assert_eq!(field(&entry, &format!("VIPD_{name}")), Some(value), "{name} in {entry}");
    }
    let console = daemon.stop();
    let file = std::fs::read_to_string(ground.directory.join("vipd_vrrp.log")).unwrap();
    for text in [console, file] {
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let master = lines.iter().find(|line| line["message"] == "(A) Entering MASTER STATE").unwrap();
        assert_eq!((&master["instance"], &master["state"]), (&"A".into(), &"MASTER".into()));
        assert_eq!((&master["reason"], &master["level"]), (&"master_silent".into(), &"info".into()));
        assert_eq!(master["time"].as_str().unwrap().len(), "2026-11-27T21:50:46.123456Z".len());
        assert!(lines.iter().any(|line| line["message"] == "(A) Stopped" && line["state"].is_null()));
    }
}

/// From the start over becoming MASTER to the stop: every sentence about an instance and its announcements, which guides tell
/// people to look for, as keepalived writes it with `-D` and as often: the second block of announcements names its instance too.
#[test]
fn announcements_are_told_as_keepalived_tells_them() {
    let keepalived = Command::new("keepalived").arg("-v").output();
    if !ready() || keepalived.is_err() {
        return;
    }
    let ground = Ground::new();
    let text = instance("A", 1, "10.9.0.10/24") + &instance("B", 2, "fe80::10/64");
    ground.configure(&text.replace("priority 200", "priority 200\n garp_master_delay 1\n garp_master_repeat 2"));
    ground.wait_for_link_local(&["eth0"]);
    let here = ground.directory.display();
    let said = |program: &str| {
        let stderr = ground.directory.join(program.rsplit('/').next().unwrap());
        let line = format!(
            "mount -t tmpfs tmpfs /run && exec {program} -n -l -G -D -P -f {here}/keepalived.conf -p {here}/k.pid -r {here}/v.pid"
        );
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &ground.name, "sh", "-c", &line])
            .env("VIPD_CONTROL", ground.directory.join("c"));
        let file = std::fs::File::create(&stderr).unwrap();
        command.stdout(file.try_clone().unwrap()).stderr(file);
        let daemon = Logging { child: command.spawn().unwrap(), stderr: stderr.clone() };
        let sentences = || -> std::collections::BTreeMap<String, usize> {
            let log = std::fs::read_to_string(&stderr).unwrap();
            let wanted = ["(A) ", "(B) ", "Sending "];
            let start = |line: &str| wanted.iter().filter_map(|part| line.find(part)).min();
            let mut counts = std::collections::BTreeMap::new();
            for sentence in log.lines().filter_map(|line| line.get(start(line)?..)) {
                // keepalived removes addresses at the start as well, before it has any.
                let first = !counts.contains_key(sentence);
                *counts.entry(sentence.to_owned()).or_default() += usize::from(first || sentence.contains("Sending"));
            }
            counts
        };
        let told = |part: &str| sentences().iter().any(|(line, count)| line.starts_with(part) && *count == 4);
        wait_for("both blocks of both announcements", || {
            told("Sending gratuitous ARP on") && told("Sending unsolicited Neighbour Advert on")
        });
        daemon.stop();
        sentences()
    };
    let mut ours = said(vipd());
    // A word of vipd's own.
    assert_eq!((ours.remove("(A) Stopped"), ours.remove("(B) Stopped")), (Some(1), Some(1)), "{ours:#?}");
    let theirs = said("keepalived");
    let block = theirs.get("(A) Sending/queueing gratuitous ARPs on eth0 for 10.9.0.10");
    assert_eq!(block, Some(&2), "{theirs:#?}");
    assert_eq!(ours, theirs);
}

fn ground() -> (Ground, Syslog) {
    let ground = Ground::new();
    ground.configure(&instance("A", 1, "10.9.0.10/24"));
    let syslog = Syslog::listen(&ground);
    (ground, syslog)
}

#[test]
fn syslog_hears_facility_severity_name_and_process() {
    if !ready() {
        return;
    }
    for (flags, facility) in [("", 3), ("-S 0", 16), ("-S local5", 21), ("-S user", 1), ("--log-facility=daemon", 3)] {
        let (ground, syslog) = ground();
        let daemon = Logging::start(&ground, flags);
        let pid = daemon.child.id();
        let said = |text: &str| syslog.lines().iter().any(|line| line.text.contains(text));
        wait_for("the start", || said("Startup complete"));
        ground.configure("vrrp_instance A {\n interface\n}\n");
        daemon.signal(libc::SIGHUP);
        wait_for("the refusal", || said("Reload refused"));
        let console = daemon.stop();
        assert_eq!(console, "", "nobody asked for the console");
        wait_for("the last line", || said("Stopped Keepalived"));
        let lines = syslog.lines();
        for line in &lines {
            assert_eq!((line.facility, line.pid), (facility, pid), "{line:?}");
        }
        for (text, name, severity) in [
            ("Starting Keepalived v", "Keepalived", INFO),
            ("Startup complete", "Keepalived", INFO),
            ("(A) Entering MASTER STATE", "Keepalived_vrrp", INFO),
            ("Reload refused, the running configuration goes on", "Keepalived_vrrp", WARNING),
            ("Stopped Keepalived v", "Keepalived", INFO),
        ] {
            let of_text: Vec<&Line> = lines.iter().filter(|line| line.text.starts_with(text)).collect();
            assert_eq!(of_text.len(), 1, "{text}: {lines:?}");
            assert_eq!((of_text[0].name.as_str(), of_text[0].severity), (name, severity), "{text}");
        }
    }
}

/// It ends at once, so that only what is written before there is a thread for lines can tell why.
#[test]
fn syslog_hears_why_a_daemon_does_not_start() {
    if !ready() {
        return;
    }
    let (ground, syslog) = ground();
    let vipd = vipd();
    let line = format!(
        "mount -t tmpfs tmpfs /dev && mknod -m 666 /dev/null c 1 3 && ln -s {0}/dev-log /dev/log && exec {vipd} -n -f \
         {0}/none.conf -p {0}/k.pid -r {0}/v.pid",
        ground.directory.display()
    );
    let mut command = Command::new("ip");
    assert!(!command.args(["netns", "exec", &ground.name, "sh", "-c", &line]).status().unwrap().success());
    wait_for("the reason", || {
        let lines = syslog.lines();
        lines.iter().any(|l| l.severity == ERROR && l.name == "Keepalived" && l.text.contains("cannot be used"))
    });
}

/// `-D`: information to syslog as well, as keepalived has it.
#[test]
fn details_are_said_to_those_who_ask() {
    if !ready() {
        return;
    }
    for (flags, wanted) in [("", false), ("-D", true), ("-DD", true), ("--log-detail", true)] {
        let (ground, syslog) = ground();
        let daemon = Logging::start(&ground, flags);
        daemon.signal(libc::SIGHUP);
        let said = |text: &str| syslog.lines().into_iter().find(|line| line.text.contains(text));
        wait_for("the reload", || said("Reload complete").is_some());
        daemon.stop();
        let detail = said("The configuration was read in");
        assert_eq!(detail.as_ref().map(|line| line.severity), wanted.then_some(INFO), "{flags}: {detail:?}");
    }
}

#[test]
fn lines_go_where_the_flags_say() {
    if !ready() {
        return;
    }
    for (flags, to_syslog, to_console, file) in [
        ("", true, false, None),
        ("-l", true, true, None),
        ("-G", false, false, None),
        ("-lG", false, true, None),
        ("--no-syslog --log-console", false, true, None),
        ("-gown.log", true, false, Some("own")),
        ("-G --log-file=own.log", false, false, Some("own")),
        ("-G -g --flush-log-file", false, false, Some("keepalived")),
    ] {
        let (ground, syslog) = ground();
        let daemon = Logging::start(&ground, flags);
        let last = || syslog.lines().iter().any(|line| line.text.starts_with("Stopped Keepalived"));
        let console = daemon.stop();
        if to_syslog {
            wait_for("the last line", last);
        }
        assert_eq!(!syslog.lines().is_empty(), to_syslog, "{flags}");
        assert_eq!(console.contains("Entering MASTER STATE"), to_console, "{flags}: {console}");
        assert!(to_console || console.is_empty(), "{flags}: {console}");
        let read = |name: String| std::fs::read_to_string(ground.directory.join(name)).ok();
        for name in ["own", "keepalived"] {
            let (parent, vrrp) = (read(format!("{name}.log")), read(format!("{name}_vrrp.log")));
            if file != Some(name) {
                assert!(parent.is_none() && vrrp.is_none(), "{flags}");
                continue;
            }
            // As keepalived's two processes: each has its file.
            let (parent, vrrp) = (parent.unwrap(), vrrp.unwrap());
            assert!(parent.contains("Startup complete") && parent.contains("Stopped Keepalived"), "{flags}: {parent}");
            assert!(vrrp.contains(": (A) Entering MASTER STATE\n") && !parent.contains("(A)"), "{flags}: {vrrp}");
        }
    }
}

/// Neither a FIFO without a reader nor a file that cannot be made holds the start up, and the console says why there are no lines.
#[test]
fn a_log_file_that_cannot_be_written_is_told_of_once() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let fifo = ground.directory.join("pipe.log");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    std::fs::create_dir(ground.directory.join("pipe_vrrp.log")).unwrap();
    let daemon = ground.start_master(&format!("-g{}", fifo.display()));
    assert_eq!(daemon.stop().code(), Some(0));
    let said = std::fs::read_to_string(ground.directory.join("log")).unwrap();
    for why in ["pipe.log: it is a FIFO that nobody reads, or a socket.", "pipe_vrrp.log: Is a directory."] {
        let told = said.lines().filter(|line| line.contains("Unable to write log file") && line.contains(why));
        assert_eq!(told.count(), 1, "{why}: {said}");
    }
}

/// As with a container whose runtime has stopped to read: a console that takes nothing keeps no daemon from starting, from
/// becoming another program, nor from its end.
#[test]
fn a_console_that_takes_nothing_holds_up_neither_a_start_nor_an_upgrade() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    ground.configure(&instance("A", 1, "10.9.0.10/24"));
    let (hung, program) = (ground.directory.join("hung"), ground.directory.join("vipd-next"));
    let copied = Command::new("cp").arg(vipd()).arg(&program).status().unwrap();
    assert!(copied.success());
    let full = "dd if=/dev/zero bs=4096 count=1000 oflag=nonblock status=none";
    let line = format!(
        "mount -t tmpfs tmpfs /run && mkfifo {0} && exec 3<>{0} && {full} of={0}; exec {{vipd}} 2>&3",
        hung.display()
    );
    let daemon = ground.start_by(&line, "");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    let reply = daemon.ask(&format!(r#"{{"request":"upgrade","program":"{}"}}"#, program.display()));
    assert_eq!(reply["reply"], "done", "{reply}");
    let exe = format!("/proc/{}/exe", daemon.pid());
    daemon.wait_for("the next program", || std::fs::read_link(&exe).unwrap() == program);
    // The socket of the program before it may still take somebody who asks, and hang up.
    daemon.wait_for("its answer", || {
        let Ok(mut socket) = UnixStream::connect(daemon.path("/run/vipd/control.sock")) else { return false };
        let asked = socket.write_all(b"{\"request\":\"status\"}\n").is_ok();
        asked && socket.read(&mut [0; 64]).is_ok_and(|length| length > 0)
    });
    daemon.advertises();
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(!ground.has("10.9.0.10/24"));
}

/// Nobody else loses a line by it, least of all the one that says why there is no daemon.
#[test]
fn a_syslog_daemon_that_takes_nothing_hides_no_reason_from_the_console() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    ground.configure("vrrp_instance A {\n interface eth0\n}\n");
    let _reads_nothing = ground.inside(|| {
        let path = ground.directory.join("dev-log");
        let socket = UnixDatagram::bind(&path).unwrap();
        let fills = UnixDatagram::unbound().unwrap();
        fills.set_nonblocking(true).unwrap();
        while fills.send_to(b"x", &path).is_ok() {}
        socket
    });
    let log = ground.directory.join("one.log");
    let ran = Logging::command(&ground, &format!("-l -g{}", log.display())).output().unwrap();
    let console = String::from_utf8(ran.stderr).unwrap();
    for said in [console, std::fs::read_to_string(&log).unwrap()] {
        assert!(said.contains("The configuration cannot be used. Exiting"), "{said}");
        assert_eq!(said.matches("Starting Keepalived").count(), 1, "{said}");
    }
}

#[test]
fn a_syslog_daemon_that_was_restarted_is_found_again() {
    if !ready() {
        return;
    }
    let (ground, mut syslog) = ground();
    ground.configure(&("instance blue\n".to_owned() + &instance("A", 1, "10.9.0.10/24")));
    let daemon = Logging::start(&ground, "");
    let master = |lines: Vec<Line>| lines.into_iter().find(|line| line.text.ends_with("Entering MASTER STATE"));
    wait_for("the master", || master(syslog.lines()).is_some());
    assert_eq!(master(syslog.lines()).unwrap().name, "Keepalived_vrrp_blue");
    syslog.end();
    // Lines that nobody takes are lost; the daemon is not.
    daemon.signal(libc::SIGHUP);
    daemon.signal(libc::SIGUSR2);
    let next = Syslog::listen(&ground);
    wait_for("lines again", || {
        daemon.signal(libc::SIGHUP);
        next.lines().iter().any(|line| line.text.contains("Reload complete"))
    });
    daemon.stop();
}
