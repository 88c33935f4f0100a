//! Two servers of which one is paused, or whose interface goes away under it.

use super::lab::{Kind, Lab, inside, ip, skip, until};
use std::net::IpAddr;
use std::time::{Duration, Instant};
use vipd::wire::PROTOCOL_VRRP;

const VIP: &str = "192.0.2.100";

fn vip() -> IpAddr {
    VIP.parse().unwrap()
}

fn conf(node: usize, priority: u8, more: &str) -> String {
    format!(
        "global_defs {{\n    router_id n{node}\n    dynamic_interfaces\n}}\nvrrp_instance A {{\n    interface eth0\n    \
         virtual_router_id 51\n    version 3\n    priority {priority}\n    advert_int 0.1\n    {more}\n    \
         virtual_ipaddress {{\n        {VIP}/24\n    }}\n}}\n"
    )
}

/// A pair of servers of which the first is preferred.
fn pair(more: &str) -> Lab {
    let mut lab = Lab::new(&[Kind::Vipd, Kind::Vipd], 1);
    for (node, priority) in [(0, 150), (1, 100)] {
        lab.configure(node, &conf(node, priority, more));
    }
    lab.start(1);
    lab.start(0);
    lab
}

#[test]
fn a_master_that_was_paused_yields_to_the_one_that_took_over() {
    if skip(&["ip"]) {
        return;
    }
    let mut lab = pair("state BACKUP\n    nopreempt");
    until("somebody is master", || lab.has(0, vip()) || lab.has(1, vip())).unwrap();
    lab.signal(0, libc::SIGTERM);
    lab.only(1, vip()).unwrap();
    lab.start(0);
    for _ in 0..3 {
        // The better one takes the place of a paused lesser one, which must yield when it awakes.
        lab.signal(1, libc::SIGSTOP);
        until("0 takes over", || lab.has(0, vip())).unwrap();
        lab.signal(1, libc::SIGCONT);
        lab.only(0, vip()).unwrap();
        // Back, for the next round: the other is backup and does not preempt.
        lab.signal(0, libc::SIGTERM);
        lab.only(1, vip()).unwrap();
        lab.start(0);
        lab.only(1, vip()).unwrap();
    }
}

/// Two virtual machines on one host that stands still for a while: what the master sends when it goes on comes to its backup's socket
/// after the backup's patience has ended, and before the backup could do anything about it.
#[test]
fn a_backup_that_goes_on_and_finds_its_master_s_advert_stays_backup() {
    if skip(&["ip", "keepalived"]) {
        return;
    }
    for backup in [Kind::Vipd, Kind::Keepalived] {
        let mut lab = Lab::new(&[Kind::Vipd, backup], 1);
        for (node, priority) in [(0, 150), (1, 100)] {
            lab.configure(node, &conf(node, priority, ""));
        }
        lab.start(0);
        lab.only(0, vip()).unwrap();
        lab.start(1);
        let to_all = |node: usize, signal: i32| {
            let group = lab.nodes[node].child.as_ref().map_or(0, |child| child.id() as i32);
            // SAFETY: a signal to a process group that this test started.
            unsafe { libc::kill(-group, signal) };
        };
        let adverts = |from: Instant| {
            let frames = lab.since(from).into_iter();
            frames.filter(|frame| frame.node == 1 && frame.bytes.get(23) == Some(&PROTOCOL_VRRP)).count()
        };
        // Bytes that its sockets hold, by the kernel's list of them.
        let waiting = || {
            let list = || std::fs::read_to_string("/proc/thread-self/net/raw").unwrap();
            let held = |line: &str| u64::from_str_radix(line.split_whitespace().nth(4)?.split_once(':')?.1, 16).ok();
            inside(&lab.nodes[1].namespace, list).lines().skip(1).filter_map(held).sum::<u64>()
        };
        std::thread::sleep(Duration::from_secs(1));
        for _ in 0..5 {
            [0, 1].into_iter().for_each(|node| to_all(node, libc::SIGSTOP));
            // Longer than the patience of 361 ms.
            std::thread::sleep(Duration::from_millis(600));
            let from = Instant::now();
            let before = waiting();
            to_all(0, libc::SIGCONT);
            until("an advert comes to the backup", || waiting() > before).unwrap();
            to_all(1, libc::SIGCONT);
            std::thread::sleep(Duration::from_millis(400));
            assert_eq!(adverts(from), 0, "{}", lab.describe());
        }
    }
}

/// The kernel keeps the datagrams that came first: what a backup reads of a socket that was full is old, and its master not silent.
#[test]
fn a_backup_whose_socket_was_full_while_it_stood_still_stays_backup() {
    if skip(&["ip"]) {
        return;
    }
    let mut lab = pair("kernel_rx_buf_size 2304");
    lab.only(0, vip()).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let before = Instant::now();
    for _ in 0..3 {
        lab.signal(1, libc::SIGSTOP);
        std::thread::sleep(Duration::from_secs(2));
        lab.signal(1, libc::SIGCONT);
        std::thread::sleep(Duration::from_millis(500));
    }
    let frames = lab.since(before).into_iter();
    let adverts = frames.filter(|frame| frame.node == 1 && frame.bytes.get(23) == Some(&PROTOCOL_VRRP)).count();
    assert_eq!(adverts, 0, "{}", lab.describe());
}

#[test]
fn an_interface_may_be_renamed_removed_and_made_again() {
    if skip(&["ip"]) {
        return;
    }
    let lab = pair("");
    lab.only(0, vip()).unwrap();
    let space = lab.nodes[0].namespace.clone();
    let run = |line: &str| ip(&space, &line.split(' ').collect::<Vec<_>>()).unwrap();
    for _ in 0..3 {
        run("link set eth0 down");
        run("link set eth0 name other");
        run("link set other up");
        lab.only(1, vip()).unwrap();
        run("link set other down");
        run("link set other name eth0");
        run("link set eth0 up");
        lab.only(0, vip()).unwrap();
    }
    // Renaming without a word of down: kernels since 6.2 allow it.
    if ip(&space, &["link", "set", "eth0", "name", "other"]).is_ok() {
        lab.only(1, vip()).unwrap();
        run("link set other name eth0");
        lab.only(0, vip()).unwrap();
    }
    for _ in 0..3 {
        let switch = lab.switch();
        run("link del eth0");
        lab.only(1, vip()).unwrap();
        ip(switch, &["link", "add", "p0", "type", "veth", "peer", "name", "eth0", "netns", &space]).unwrap();
        ip(switch, &["link", "set", "p0", "master", "br0", "up"]).unwrap();
        run("link set eth0 up");
        run("addr add 192.0.2.1/24 dev eth0");
        lab.only(0, vip()).unwrap();
    }
}
