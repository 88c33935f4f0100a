//! What a vipd does beside a session that comes and goes: trackers, ports, local links, dumps, flags.

use crate::ground::{Kind, Pair, ip, skip};
use std::process::{Child, Command, Stdio};

const VRRP: &str = "vrrp_instance V {\n interface eth0\n virtual_router_id 9\n version 3\n advert_int 0.2\n priority 100\n track_bfd {\n  S\n }\n virtual_ipaddress {\n  10.9.9.100/24\n }\n}\n";
const PLAIN: &str = " min_rx 60\n min_tx 60\n multiplier 5";

fn vrrp_state(pair: &Pair, side: usize) -> String {
    let status = pair.ask(side, r#"{"request":"status"}"#).unwrap_or_default();
    status["status"]["instances"][0]["state"].as_str().unwrap_or_default().to_owned()
}

fn pair_with_vrrp() -> Pair {
    let mut pair = Pair::new([Kind::Vipd, Kind::Vipd], false);
    pair.configure(0, &format!("{}{VRRP}", pair.session(0, false, PLAIN)));
    pair.configure(1, &pair.session(1, false, PLAIN));
    pair.start(0);
    pair.start(1);
    pair
}

/// Unweighted: FAULT until the session is up, FAULT when it falls. A peer that is stopped in order says so.
#[test]
fn an_instance_follows_its_session() {
    if skip(&["ip", "tc"]) {
        return;
    }
    let mut pair = pair_with_vrrp();
    pair.until("MASTER once the session is up", || vrrp_state(&pair, 0) == "MASTER").unwrap();
    pair.cut([false, true]);
    pair.until("FAULT", || vrrp_state(&pair, 0) == "FAULT").unwrap();
    let session = pair.session_of(0).unwrap();
    assert!(session["why"].get("expired").is_some() || session["why"].get("peer_down").is_some(), "{session}");
    pair.cut([false, false]);
    pair.until("MASTER again", || vrrp_state(&pair, 0) == "MASTER").unwrap();
    pair.end(1, libc::SIGTERM);
    pair.until("FAULT", || vrrp_state(&pair, 0) == "FAULT").unwrap();
    // It was told, and did not wait for the detection time.
    let told = "Entering Down state (Local diagnostic - Neighbor Signaled Session Down, Remote diagnostic - Administratively Down)";
    pair.until("the peer's farewell", || pair.log(0).contains(told)).unwrap();
}

#[test]
fn a_reload_that_renames_a_session_is_no_fault() {
    if skip(&["ip"]) {
        return;
    }
    let pair = pair_with_vrrp();
    pair.until("MASTER", || vrrp_state(&pair, 0) == "MASTER").unwrap();
    let faults = pair.log(0).matches("Entering FAULT STATE").count();
    let downs = pair.session_of(0).unwrap()["counters"]["downs"].clone();
    let renamed = format!("{}{VRRP}", pair.session(0, false, PLAIN))
        .replace("bfd_instance S ", "bfd_instance T ")
        .replace("  S\n", "  T\n");
    pair.configure(0, &renamed);
    assert_eq!(pair.ask(0, r#"{"request":"reload"}"#).unwrap()["reply"], "done");
    assert_eq!((vrrp_state(&pair, 0).as_str(), pair.session_of(0).unwrap()["name"].as_str()), ("MASTER", Some("T")));
    assert_eq!(pair.log(0).matches("Entering FAULT STATE").count(), faults, "{}", pair.log(0));
    assert_eq!(pair.session_of(0).unwrap()["counters"]["downs"], downs);
}

/// Somebody else has the port: VRRP lives, the session names the holder, and runs once the port is free.
#[test]
fn a_port_in_use_does_not_end_the_daemon() {
    if skip(&["ip", "python3"]) {
        return;
    }
    let mut pair = Pair::new([Kind::Vipd, Kind::Vipd], false);
    let holder = "import socket,time\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\ns.bind(('0.0.0.0',3784))\nprint('here',flush=True)\ntime.sleep(1000)";
    let mut other: Child = Command::new("ip")
        .args(["netns", "exec", &pair.nodes[0].namespace, "python3", "-c", holder])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut byte = [0; 1];
    std::io::Read::read_exact(other.stdout.as_mut().unwrap(), &mut byte).unwrap();
    let vrrp = VRRP.replace("  S\n", "  S weight 10\n");
    pair.configure(0, &format!("{}{vrrp}", pair.session(0, false, PLAIN)));
    pair.configure(1, &pair.session(1, false, PLAIN));
    pair.start(0);
    pair.start(1);
    pair.until("VRRP lives", || vrrp_state(&pair, 0) == "MASTER").unwrap();
    let reason = || pair.session_of(0).map(|session| session["obstacle"].to_string()).unwrap_or_default();
    pair.until("the holder is named", || reason().contains("python3")).unwrap();
    let _ = other.kill();
    let _ = other.wait();
    pair.both(true).unwrap();
}

/// A local link that goes is known at once, with its reason, and so is its return.
#[test]
fn a_local_link_is_path_down() {
    if skip(&["ip"]) {
        return;
    }
    let mut pair = Pair::new([Kind::Vipd, Kind::Vipd], false);
    for side in 0..2 {
        pair.configure(side, &pair.session(side, false, " min_rx 900\n min_tx 900\n multiplier 50"));
        pair.start(side);
    }
    pair.both(true).unwrap();
    let n = &pair.nodes[0].namespace;
    // 45 s of detection time: what happens now is known from the kernel.
    ip(&format!("-n {n} addr del 10.9.9.1/24 dev eth0")).unwrap();
    pair.until("no source", || pair.session_of(0).unwrap()["diag"] == 5).unwrap();
    ip(&format!("-n {n} addr add 10.9.9.1/24 dev eth0")).unwrap();
    pair.until("up again", || pair.up(0)).unwrap();
    ip(&format!("-n {n} link set eth0 down")).unwrap();
    pair.until("link down", || pair.session_of(0).unwrap()["obstacle"].to_string().contains("eth0")).unwrap();
    ip(&format!("-n {n} link set eth0 up")).unwrap();
    pair.until("up again", || pair.up(0)).unwrap();
}

/// Link-local neighbours, which keepalived cannot have.
#[test]
fn link_local_neighbours() {
    if skip(&["ip"]) {
        return;
    }
    let mut pair = Pair::new([Kind::Vipd, Kind::Vipd], false);
    for side in 0..2 {
        let n = &pair.nodes[side].namespace;
        ip(&format!("-n {n} addr add fe80::{}/64 dev eth0 nodad", side + 1)).unwrap();
        let conf = format!("bfd_instance S {{\n neighbor_ip fe80::{}%eth0\n{PLAIN}\n}}\n", 2 - side);
        pair.configure(side, &conf);
        pair.start(side);
    }
    pair.both(true).unwrap();
}

/// keepalived's labels in its order, in the file beside the other dump; pid file; `--no_bfd`.
#[test]
fn dump_and_flags() {
    if skip(&["ip", "keepalived"]) {
        return;
    }
    let mut pair = Pair::new([Kind::Vipd, Kind::Keepalived], false);
    for side in 0..2 {
        pair.configure(side, &pair.session(side, false, PLAIN));
        pair.start(side);
    }
    pair.both(true).unwrap();
    let labels = |side: usize| -> Vec<String> {
        let path = pair.nodes[side].directory.join("keepalived_bfd.data");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let of_session = text.lines().skip_while(|line| !line.contains("BFD Data"));
        let label = |line: &str| {
            let first = line.split(" = ").next().unwrap_or(line);
            // A label without "=" is followed by its value.
            if first.trim_start().starts_with(['f', 't']) && !line.contains(" = ") {
                return first.trim_start().split(' ').next().unwrap_or_default().to_owned();
            }
            if first.contains("poll") { "poll".to_owned() } else { first.to_owned() }
        };
        of_session.map(label).collect()
    };
    for side in 0..2 {
        pair.signal(side, libc::SIGUSR1);
        pair.until("the dump", || labels(side).len() > 30).unwrap();
    }
    assert_eq!(labels(0), labels(1));
    assert!(pair.nodes[0].directory.join("bfd.pid").exists());
    pair.end(0, libc::SIGTERM);
    pair.configure(0, &format!("{}{VRRP}", pair.session(0, false, PLAIN)));
    pair.start_with(0, "--no_bfd");
    pair.until("a word about what can never run", || pair.log(0).contains("it stays in FAULT")).unwrap();
    pair.until("it stands", || pair.ask(0, r#"{"request":"status"}"#).is_some()).unwrap();
    assert!(pair.session_of(0).is_none());
    assert!(!pair.nodes[0].directory.join("bfd.pid").exists());
}

/// The keywords of keepalived's BFD process are attributes of the thread.
#[test]
fn process_keywords_are_the_thread_s() {
    if skip(&["ip"]) {
        return;
    }
    let mut pair = Pair::new([Kind::Vipd, Kind::Vipd], false);
    let globals = "global_defs {\n bfd_process_name bfdthread\n bfd_rt_priority 7\n bfd_cpu_affinity 0\n}\n";
    pair.configure(0, &format!("{globals}{}", pair.session(0, false, PLAIN)));
    pair.start(0);
    pair.until("it stands", || pair.session_of(0).is_some()).unwrap();
    let pid: u32 = std::fs::read_to_string(pair.nodes[0].directory.join("pid")).unwrap().trim().parse().unwrap();
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().filter_map(Result::ok);
    let thread = tasks
        .map(|task| task.path())
        .find(|task| std::fs::read_to_string(task.join("comm")).unwrap_or_default().trim() == "bfdthread")
        .expect("a thread of that name");
    let stat = std::fs::read_to_string(thread.join("stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // rt_priority and policy are fields 40 and 41 of proc(5); two stand before the bracket.
    assert_eq!((fields[37], fields[38]), ("7", "2"), "SCHED_RR 7");
    let status = std::fs::read_to_string(thread.join("status")).unwrap();
    assert!(
        status.lines().any(|line| line.starts_with("Cpus_allowed_list:") && line.trim_end().ends_with('0')),
        "{status}"
    );
}
