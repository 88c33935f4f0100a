//! Receive buffers: that the keywords reach the sockets, and what happens when one is too small. What a socket has is
//! asked of the kernel, not of the daemon.

use super::ground::{Daemon, Ground, instance, ip, ready};
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Command, Stdio};

fn batch(ground: &Ground, lines: &str) {
    let mut command = Command::new("ip");
    let mut child = command.args(["-n", &ground.name, "-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// A socket of the daemon: its family and protocol, the size of its receive buffer, messages dropped.
struct Socket {
    kind: (i32, i32),
    size: u32,
    dropped: u32,
}

const ROUTE: (i32, i32) = (libc::AF_NETLINK, libc::NETLINK_ROUTE);
const VRRP: (i32, i32) = (libc::AF_INET, 112);

/// What the kernel says of every socket of a process, of which this one takes duplicates.
fn sockets(daemon: &Daemon) -> Vec<Socket> {
    // SAFETY: pidfd_open takes a number and a flag, and answers a descriptor of this process's own.
    let process = unsafe { libc::syscall(libc::SYS_pidfd_open, daemon.pid(), 0) };
    assert!(process >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the descriptor is fresh and nobody else's.
    let process = unsafe { OwnedFd::from_raw_fd(process as i32) };
    let numbers = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap();
    let number = |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse::<i32>().ok();
    let mut all = Vec::new();
    for number in numbers.filter_map(number) {
        // SAFETY: pidfd_getfd takes numbers, and answers a descriptor of this process's own.
        let copy = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) };
        if copy < 0 {
            continue;
        }
        // SAFETY: as above.
        let copy = unsafe { OwnedFd::from_raw_fd(copy as i32) };
        let ask = |option: i32| {
            let mut answer = [0_u32; 9];
            let mut length = size_of_val(&answer) as libc::socklen_t;
            let to = answer.as_mut_ptr().cast();
            // SAFETY: the answer has room for the length given, which holds every option asked for here.
            let done = unsafe { libc::getsockopt(copy.as_raw_fd(), libc::SOL_SOCKET, option, to, &mut length) };
            (done == 0).then_some(answer)
        };
        let (Some(domain), Some(protocol)) = (ask(libc::SO_DOMAIN), ask(libc::SO_PROTOCOL)) else { continue };
        let Some([_, size, .., dropped]) = ask(libc::SO_MEMINFO) else { continue };
        all.push(Socket { kind: (domain[0] as i32, protocol[0] as i32), size, dropped });
    }
    all
}

fn sizes(daemon: &Daemon, kind: (i32, i32)) -> Vec<u32> {
    let of_kind = sockets(daemon).into_iter().filter(|socket| socket.kind == kind);
    let mut sizes: Vec<u32> = of_kind.map(|socket| socket.size).collect();
    sizes.sort_unstable();
    sizes
}

#[test]
fn sizes_of_buffers_reach_the_sockets() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let limit: u32 = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap().trim().parse().unwrap();
    let beyond = limit + 4096;
    let both = |command: u32, monitor: u32, force: &str| {
        let names = ["vrrp_netlink_cmd", "vrrp_netlink_monitor"].iter().zip([command, monitor]);
        let line = |(name, bytes)| format!(" {name}_rcv_bufs {bytes}\n {name}_rcv_bufs_force {force}\n");
        names.map(line).collect::<String>()
    };
    // The kernel doubles what it is asked for.
    let cases = [
        (String::new(), [2 << 20, 16 << 20]),
        (both(20_000, 10_000, "no"), [20_000, 40_000]),
        (both(beyond, beyond, "no"), [2 * limit; 2]),
        (both(beyond, beyond + 4096, "yes"), [2 * beyond, 2 * beyond + 8192]),
    ];
    for (lines, wanted) in cases {
        ground.configure(&format!("global_defs {{\n{lines}}}\n{}", instance("A", 1, "10.9.0.10/24")));
        let daemon = ground.start("");
        daemon.wait_for_address(&ground, "10.9.0.10/24", true);
        assert_eq!(sizes(&daemon, ROUTE), wanted, "{lines}");
        assert_eq!(daemon.stop().code(), Some(0));
    }
}

/// `kernel_rx_buf_size` of the instances of a socket is added up; a reload that changes it is felt by the open socket.
#[test]
fn an_instance_has_its_share_of_its_socket() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let with = |name: &str, vrid: u8, address: &str, bytes: u32| {
        instance(name, vrid, address).replace("priority 200", &format!("priority 200\n kernel_rx_buf_size {bytes}"))
    };
    let text = |bytes: u32| with("A", 1, "10.9.0.10/24", bytes) + &with("B", 2, "10.9.0.11/24", 30_000);
    ground.configure(&text(20_000));
    let daemon = ground.start("");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    let size = || sizes(&daemon, VRRP);
    assert_eq!(size(), [2 * 50_000]);
    ground.configure(&text(40_000));
    assert_eq!(daemon.ask(r#"{"request":"reload"}"#)["reply"], "done");
    daemon.wait_for("the larger buffer", || size() == [2 * 70_000]);
    assert_eq!(daemon.state("A"), "MASTER");
    assert_eq!(daemon.stop().code(), Some(0));
}

/// Two thousand addresses come and go while the watch has a buffer of a few kilobytes: news is lost (ENOBUFS), the state
/// is not.
#[test]
fn an_overrun_of_the_watch_costs_a_fresh_look_and_nothing_else() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let small = "global_defs {\n vrrp_netlink_monitor_rcv_bufs 4096\n}\n";
    let route = " virtual_routes {\n  192.0.2.0/24 dev eth0\n }\n";
    let text = instance("A", 1, "10.9.0.10/24").replace(" virtual_ipaddress", &format!("{route} virtual_ipaddress"));
    ground.configure(&(small.to_owned() + &text));
    let daemon = ground.start("");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    let route_there = || ip(&format!("-n {} route", ground.name)).contains("192.0.2.0/24");
    daemon.wait_for("the route", route_there);
    let dropped =
        || sockets(&daemon).iter().filter(|socket| socket.kind == ROUTE).map(|socket| socket.dropped).sum::<u32>();
    let overruns = || daemon.log_text().matches("was overrun").count();
    let lines = |verb: &str| {
        (0..2_000).fold(String::new(), |mut text, n| {
            writeln!(text, "addr {verb} 10.{}.{}.1/32 dev eth0", 20 + n / 250, n % 250).unwrap();
            text
        })
    };
    // Stopped, it reads nothing: 2,000 messages are more than the buffer holds.
    let flood = |text: &str| {
        let before = dropped();
        daemon.signal(libc::SIGSTOP);
        batch(&ground, text);
        assert!(dropped() > before + 1_000, "the buffer was not overrun: nothing is shown");
        daemon.signal(libc::SIGCONT);
    };
    flood(&lines("add"));
    daemon.wait_for("the overrun to be told", || overruns() == 1);
    // What is owned goes in the middle of a flood, where its message is lost for certain.
    let all = lines("del");
    let (first, second) = all.split_at(all.len() / 2 + all[all.len() / 2..].find('\n').unwrap() + 1);
    flood(&format!("{first}addr del 10.9.0.10/24 dev eth0\nroute del 192.0.2.0/24 dev eth0\n{second}"));
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    daemon.wait_for("the route again", route_there);
    assert_eq!(daemon.state("A"), "MASTER");
    // So does the interface itself, and comes back: the engine must not believe the one or the other for ever.
    flood(&format!("{}link set far down\n", lines("add")));
    daemon.wait_for("the fault", || daemon.state("A") == "FAULT");
    assert!(!ground.has("10.9.0.10/24"));
    flood(&format!("{}link set far up\n", lines("del")));
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    daemon.wait_for("the route again", route_there);
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(!ground.has("10.9.0.10/24") && !route_there());
}
