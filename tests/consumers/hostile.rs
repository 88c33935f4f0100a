//! Bad company: whoever watches may be dead, silent, greedy or many. Adverts every 10 ms keep coming, and nothing grows.
//!
//! An observer at the far end of the wire counts adverts and prints the intervals between them, quiet and beside the bad
//! company, so that figures of a loaded machine can be read beside each other; they are not asserted. What is asserted:
//! the adverts come, nobody has left MASTER, and descriptors and memory stay within what a door may take.
//!
//! With `VIPD_BESIDE=keepalived` the keepalived that is installed is put into the same company where it has such a door, and its
//! figures are printed too; nothing is asserted of it.

use super::ORIGINAL;
use super::ground::{Daemon, Ground, PATIENCE, ip, ready};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Adverts that are looked at each time.
const MANY: usize = 200;
/// More than a full queue of each door and a page of metrics for each connection would take.
const MEMORY_MAX: u64 = 24 << 20;

/// VI_1 speaks every 10 ms and is watched. What happens happens to VI_2, on a wire of its own, so that there is something to
/// tell.
fn configuration(global: &str) -> String {
    let one = |name: &str, interface: &str, vrid: u8| {
        format!(
            "vrrp_instance {name} {{\n interface {interface}\n virtual_router_id {vrid}\n priority 200\n version 3\n advert_int 0.01\n \
             virtual_ipaddress {{\n  10.9.0.{vrid}/24\n }}\n}}\n"
        )
    };
    format!("global_defs {{\n{global}}}\n{}{}", one("VI_1", "eth0", 51), one("VI_2", "other", 52))
}

fn ground() -> Ground {
    let ground = Ground::new();
    for line in [
        "link set lo up",
        "link add other type veth peer name away",
        "link set other up",
        "link set away up",
        "addr add 10.8.0.1/24 dev other",
    ] {
        ip(&format!("-n {} {line}", ground.name));
    }
    ground
}

/// Intervals between adverts of VRID 51, as they come out of the far end of the wire.
fn intervals(ground: &Ground) -> Vec<Duration> {
    ground.inside(|| {
        let all = i32::from((libc::ETH_P_IP as u16).to_be());
        let socket =
            socket2::Socket::new(socket2::Domain::PACKET, socket2::Type::DGRAM, Some(socket2::Protocol::from(all)))
                .unwrap();
        // SAFETY: an all-zero sockaddr_ll is a valid one to be written over.
        let mut here: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        here.sll_family = libc::AF_PACKET as u16;
        here.sll_protocol = (libc::ETH_P_IP as u16).to_be();
        here.sll_ifindex = nix::net::if_::if_nametoindex("far").unwrap() as i32;
        let length = size_of::<libc::sockaddr_ll>() as u32;
        // SAFETY: the address is valid for the length given with it, and the call does not keep it.
        assert_eq!(unsafe { libc::bind(socket.as_raw_fd(), (&raw const here).cast(), length) }, 0);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let (mut packet, mut heard) = ([0; 256], Vec::new());
        while heard.len() <= MANY {
            let length = (&socket).read(&mut packet).expect("adverts go on");
            // IPv4 without options, protocol 112, VRID.
            if length > 22 && packet[0] == 0x45 && packet[9] == 112 && packet[21] == 51 {
                heard.push(Instant::now());
            }
        }
        heard.windows(2).map(|two| two[1].duration_since(two[0])).collect()
    })
}

fn shown(mut intervals: Vec<Duration>) -> String {
    intervals.sort_unstable();
    let at = |part: usize| intervals[(intervals.len() - 1) * part / 100].as_secs_f64() * 1e3;
    format!("median {:.2} ms, p99 {:.2} ms, longest {:.2} ms", at(50), at(99), at(100))
}

fn descriptors(daemon: &Daemon) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count()
}

/// Bytes that are in memory.
fn resident(daemon: &Daemon) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/statm", daemon.pid())).unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Has VI_2 its address?
fn is_held(ground: &Ground) -> bool {
    ip(&format!("-n {} -o addr show dev other", ground.name)).contains(" 10.9.0.52/24")
}

/// What is to be told: VI_2 loses its wire, and takes its place again.
fn happen(ground: &Ground, daemon: &Daemon) {
    for _ in 0..10 {
        for (state, held) in [("down", false), ("up", true)] {
            ip(&format!("-n {} link set away {state}", ground.name));
            daemon.wait_for(if held { "VI_2 to come" } else { "VI_2 to go" }, || is_held(ground) == held);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Who {
    Vipd,
    Keepalived,
}

impl Who {
    fn start(self, ground: &Ground, flags: &str, variables: &[(&str, &str)]) -> Daemon {
        match self {
            Who::Vipd => ground.start_with_environment(flags, variables),
            Who::Keepalived => ground.start_program_with_environment(ORIGINAL.as_ref(), flags, variables),
        }
    }
}

/// vipd, and keepalived where figures are asked for.
fn played() -> impl Iterator<Item = Who> {
    let beside = std::env::var("VIPD_BESIDE").is_ok_and(|program| program == "keepalived");
    [Who::Vipd].into_iter().chain(beside.then_some(Who::Keepalived))
}

/// A daemon in bad company while things happen to it: `room` is how many descriptors the company may take of it.
fn in_company(
    what: &str,
    (who, ground, daemon): (Who, &Ground, &Daemon),
    room: usize,
    company: impl FnOnce(&AtomicBool) + Send,
) {
    daemon.wait_for_address(ground, "10.9.0.51/24", true);
    daemon.wait_for("VI_2 to be master", || is_held(ground));
    let quiet = intervals(ground);
    let (files, memory) = (descriptors(daemon), resident(daemon));
    let done = AtomicBool::new(false);
    let beside = std::thread::scope(|scope| {
        scope.spawn(|| company(&done));
        let heard = scope.spawn(|| intervals(ground));
        happen(ground, daemon);
        let beside = heard.join().unwrap();
        let (now, grown) = (descriptors(daemon), resident(daemon).saturating_sub(memory));
        done.store(true, Ordering::Relaxed);
        if who == Who::Vipd {
            assert!(now <= files + room, "{what}: {files} descriptors, then {now}");
            assert!(grown < MEMORY_MAX, "{what}: {grown} bytes more");
            let status = daemon.ask(r#"{"request":"status"}"#);
            let watched = &status["status"]["instances"][0];
            assert_eq!(watched["state"], "MASTER");
            assert_eq!(watched["counters"]["become_master"], 1, "VI_1 has moved");
        }
        beside
    });
    println!("{who:?}, adverts at 10 ms, quiet: {}; beside {what}: {}", shown(quiet), shown(beside));
}

fn wait(done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn beside_a_hundred_scrapers_and_those_that_never_read_adverts_go_on() {
    if !ready() {
        return;
    }
    let ground = ground();
    ground.configure(&configuration(""));
    let socket = ground.directory.join("metrics.sock");
    let daemon = ground.start(&format!("--metrics unix:{} --metrics-names both", socket.display()));
    in_company("100 scrapers and 20 that never read", (Who::Vipd, &ground, &daemon), 64, |done| {
        let ask = |socket: &std::path::Path| -> std::io::Result<UnixStream> {
            let mut stream = UnixStream::connect(socket)?;
            stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n")?;
            Ok(stream)
        };
        let _mute: Vec<UnixStream> = (0..20).map(|_| ask(&socket).unwrap()).collect();
        std::thread::scope(|scope| {
            for _ in 0..100 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        let mut page = String::new();
                        // The daemon serves so many at once, and hangs up on those who are too slow.
                        let _ = ask(&socket).and_then(|mut stream| stream.read_to_string(&mut page));
                        std::thread::sleep(Duration::from_millis(100));
                    }
                });
            }
        });
    });
    daemon.wait_for("the descriptors back", || descriptors(&daemon) < 80);
    assert_eq!(daemon.stop().code(), Some(0));
}

/// Takes a connection, opens the session that it asks for, and says and reads nothing more.
#[cfg(feature = "snmp")]
fn opens_and_falls_silent(master: &UnixListener) -> UnixStream {
    let (mut first, _) = master.accept().unwrap();
    let mut open = [0; 20];
    first.read_exact(&mut open).unwrap();
    // Response (RFC 2741 §6.2.16) to its Open, in its byte order: session 7, no error.
    let big = open[2] & 16 != 0;
    let number = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let mut answer = vec![1, 18, open[2], 0];
    answer.extend(number(7));
    answer.extend(&open[8..16]);
    answer.extend(number(8));
    answer.extend(number(1));
    answer.extend([0, 0, 0, 0]);
    first.write_all(&answer).unwrap();
    first
}

#[cfg(feature = "snmp")]
#[test]
fn beside_an_snmpd_that_has_died_in_the_middle_adverts_go_on() {
    if !ready() {
        return;
    }
    // keepalived 2.2.7 waits at its start for every answer of the master, and is not there a minute later: it is not played.
    let ground = ground();
    let path = ground.directory.join("agentx");
    let master = UnixListener::bind(&path).unwrap();
    let global = format!(" enable_snmp_vrrp\n enable_snmp_rfc\n enable_traps\n snmp_socket {}\n", path.display());
    ground.configure(&configuration(&global));
    let (daemon, first) = std::thread::scope(|scope| {
        let first = scope.spawn(|| opens_and_falls_silent(&master));
        (ground.start("-P"), first.join().unwrap())
    });
    daemon.wait_for_log("AgentX subagent connected");
    in_company("an snmpd that never reads", (Who::Vipd, &ground, &daemon), 2, wait);
    drop(first);
    daemon.wait_for_log("No AgentX master at");
    drop(master);
    std::fs::remove_file(&path).unwrap();
    in_company("no snmpd", (Who::Vipd, &ground, &daemon), 2, wait);
    assert_eq!(daemon.stop().code(), Some(0));
}

/// Debian's snmpd, told to send notifications to where nobody is any more.
#[cfg(feature = "snmp")]
#[test]
fn beside_a_trap_sink_that_is_gone_adverts_go_on() {
    if !ready() || !super::snmp::tools_are_there() {
        return;
    }
    for who in played() {
        let ground = ground();
        let mut tools = super::snmp::Tools::start(&ground);
        let path = ground.directory.join("agentx");
        let global = format!(" enable_snmp_vrrp\n enable_snmp_rfc\n enable_traps\n snmp_socket {}\n", path.display());
        ground.configure(&configuration(&global));
        let daemon = who.start(&ground, "-P", &[]);
        daemon.wait_for("two masters over SNMP", || tools.states() == ["2", "2"]);
        tools.end_the_sink();
        in_company("a trap sink that is gone", (who, &ground, &daemon), 2, wait);
        assert!(!daemon.log_text().contains("SNMP notifications were dropped"), "{}", daemon.log_text());
        assert_eq!(daemon.stop().code(), Some(0));
    }
}

#[cfg(feature = "dbus")]
#[test]
fn beside_a_bus_that_never_answers_adverts_go_on() {
    if !ready() {
        return;
    }
    for who in played() {
        let ground = ground();
        let silent = UnixListener::bind(ground.directory.join("bus")).unwrap();
        ground.configure(&configuration(" enable_dbus\n"));
        let address = format!("unix:path={}/bus", ground.directory.display());
        let daemon = who.start(&ground, "-P", &[("DBUS_SYSTEM_BUS_ADDRESS", &address)]);
        let (_held, _) = silent.accept().unwrap();
        in_company("a bus that never answers", (who, &ground, &daemon), 2, wait);
        assert!(!daemon.log_text().contains("D-Bus signals were dropped"), "what nobody can hear is let go");
        // keepalived waits for the bus at its end.
        if who == Who::Vipd {
            assert_eq!(daemon.stop().code(), Some(0));
        } else {
            daemon.signal(libc::SIGKILL);
            daemon.end();
        }
    }
}

/// Whoever may only look has places of his own; one too many is told so.
#[test]
fn a_looker_beyond_the_limit_is_told_so() {
    if !ready() {
        return;
    }
    let ground = ground();
    ground.configure(&configuration(""));
    let daemon = ground.start("");
    let socket = daemon.path("/run/vipd/control.sock");
    std::fs::set_permissions(&socket, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    // As somebody else: the credentials of a connection are those of its beginning.
    let program = "use Socket; for (1..40) { socket(my $s, AF_UNIX, SOCK_STREAM, 0); \
                   connect($s, sockaddr_un(\"control.sock\")) or die $!; push @held, $s } my $last = $held[-1]; print scalar <$last>";
    let line = format!("cd /run/vipd && exec setpriv --reuid 65534 --clear-groups perl -e '{program}'");
    let out = std::process::Command::new("nsenter")
        .args(["--target", &daemon.pid().to_string(), "--mount", "sh", "-c", &line])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(said.contains("as many are looking as may at once"), "{out:?}");
    // Root has other places.
    assert_eq!(daemon.ask(r#"{"request":"status"}"#)["status"]["instances"][0]["name"], "VI_1");
}
