//! Bad company: whoever watches may be dead, silent, greedy or many. Adverts every 10 ms keep coming, and nothing grows.
//!
//! An observer at the far end of the wire counts adverts and prints the intervals between them, quiet and beside the bad
//! company, so that figures of a loaded machine can be read beside each other; they are not asserted. What is asserted:
//! the adverts come, nobody has left MASTER, and descriptors and memory stay within what a door may take.

use super::ground::{Daemon, Ground, PATIENCE, ready};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Adverts that are looked at each time.
const MANY: usize = 200;
/// More than a full queue of each door and a page of metrics for each connection would take.
const MEMORY_MAX: u64 = 24 << 20;

/// VI_1 speaks every 10 ms and is watched. What happens happens to VI_2, so that there is something to tell.
fn configuration(global: &str) -> String {
    let one = |name: &str, vrid: u8, every: &str| {
        format!(
            "vrrp_instance {name} {{\n interface eth0\n virtual_router_id {vrid}\n priority 200\n version 3\n advert_int {every}\n \
             virtual_ipaddress {{\n  10.9.0.{vrid}/24\n }}\n}}\n"
        )
    };
    format!("global_defs {{\n{global}}}\n{}{}", one("VI_1", 51, "0.01"), one("VI_2", 52, "0.01"))
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

/// What is to be told: VI_2 hands over, and takes its place again since nobody else is there.
fn happen(daemon: &Daemon) {
    let became = || {
        let status = daemon.ask(r#"{"request":"status"}"#);
        let of = |at: usize| status["status"]["instances"][at]["counters"]["become_master"].as_u64().unwrap();
        assert_eq!((status["status"]["instances"][0]["state"].as_str(), of(0)), (Some("MASTER"), 1), "VI_1 has moved");
        of(1)
    };
    for _ in 0..10 {
        let before = became();
        daemon.ask(r#"{"request":"failover","instance":"VI_2"}"#);
        daemon.wait_for("VI_2 to be master again", || became() > before);
    }
}

/// A daemon in bad company: `room` is how many descriptors that may take of it.
fn in_company(what: &str, ground: &Ground, daemon: &Daemon, room: usize, company: impl FnOnce(&AtomicBool) + Send) {
    daemon.wait_for_address(ground, "10.9.0.51/24", true);
    daemon.wait_for_address(ground, "10.9.0.52/24", true);
    let quiet = intervals(ground);
    let (files, memory) = (descriptors(daemon), resident(daemon));
    let done = AtomicBool::new(false);
    let beside = std::thread::scope(|scope| {
        scope.spawn(|| company(&done));
        happen(daemon);
        let beside = intervals(ground);
        let (now, grown) = (descriptors(daemon), resident(daemon).saturating_sub(memory));
        done.store(true, Ordering::Relaxed);
        assert!(now <= files + room, "{what}: {files} descriptors, then {now}");
        assert!(grown < MEMORY_MAX, "{what}: {grown} bytes more");
        beside
    });
    println!("adverts at 10 ms, quiet: {}; beside {what}: {}", shown(quiet), shown(beside));
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
    let ground = Ground::new();
    ground.configure(&configuration(""));
    let socket = ground.directory.join("metrics.sock");
    let daemon = ground.start(&format!("--metrics unix:{} --metrics-names both", socket.display()));
    in_company("100 scrapers and 20 that never read", &ground, &daemon, 64, |done| {
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

/// It takes the connection, opens a session and never says or reads another word.
#[cfg(feature = "snmp")]
#[test]
fn beside_an_snmpd_that_has_died_in_the_middle_adverts_go_on() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let path = ground.directory.join("agentx");
    let master = UnixListener::bind(&path).unwrap();
    let global = format!(" enable_snmp_vrrp\n enable_snmp_rfc\n enable_traps\n snmp_socket {}\n", path.display());
    ground.configure(&configuration(&global));
    let daemon = ground.start("");
    let (mut first, _) = master.accept().unwrap();
    let mut open = [0; 20];
    first.read_exact(&mut open).unwrap();
    // Response (RFC 2741 §6.2.16) to its Open, in its byte order: session 7, no error.
    let mut answer = vec![1, 18, open[2], 0, 0, 0, 0, 7];
    answer.extend(&open[8..16]);
    answer.extend([0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0]);
    first.write_all(&answer).unwrap();
    daemon.wait_for_log("AgentX subagent connected");
    in_company("an snmpd that never reads", &ground, &daemon, 2, wait);
    drop(first);
    daemon.wait_for_log("No AgentX master at");
    drop(master);
    std::fs::remove_file(&path).unwrap();
    in_company("no snmpd", &ground, &daemon, 2, wait);
    assert_eq!(daemon.stop().code(), Some(0));
}

#[cfg(feature = "dbus")]
#[test]
fn beside_a_bus_that_never_answers_adverts_go_on() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let silent = UnixListener::bind(ground.directory.join("bus")).unwrap();
    ground.configure(&configuration(" enable_dbus\n"));
    let address = format!("unix:path={}/bus", ground.directory.display());
    let daemon = ground.start_with_environment("", &[("DBUS_SYSTEM_BUS_ADDRESS", &address)]);
    let (_held, _) = silent.accept().unwrap();
    in_company("a bus that never answers", &ground, &daemon, 2, wait);
    assert!(!daemon.log_text().contains("D-Bus signals were dropped"), "what nobody can hear is let go");
    assert_eq!(daemon.stop().code(), Some(0));
}

/// Whoever may only look has places of his own; one too many is told so.
#[test]
fn a_looker_beyond_the_limit_is_told_so() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
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
