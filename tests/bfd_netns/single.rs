//! What a vipd does beside a session that comes and goes: trackers, ports, local links, dumps, flags.

use crate::ground::{Kind, Pair, frr, ip, skip};
use std::process::{Child, Command, Stdio};

fn vipctl(pair: &Pair, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vipctl"));
    command.args(arguments).env("VIPD_CONTROL", pair.nodes[0].directory.join("control"));
    command
}

fn said(pair: &Pair, arguments: &[&str]) -> String {
    String::from_utf8_lossy(&vipctl(pair, arguments).output().unwrap().stdout).into_owned()
}

const VRRP: &str = "vrrp_instance V {\n interface eth0\n virtual_router_id 9\n version 3\n advert_int 0.2\n priority 100\n track_bfd {\n  S\n }\n virtual_ipaddress {\n  10.9.9.100/24\n }\n}\n";
/// 60 ms × 20: where only what the test does may take a session down, no pause of a busy machine may.
const PLAIN: &str = " min_rx 60\n min_tx 60\n multiplier 20";

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

/// status, explain, history and watch know sessions, and say why one is down.
#[test]
fn what_is_seen_of_a_session() {
    if skip(&["ip", "nft"]) {
        return;
    }
    let pair = pair_with_vrrp();
    pair.until("MASTER", || vrrp_state(&pair, 0) == "MASTER").unwrap();
    let row = |name: &str| {
        let status = said(&pair, &["status"]);
        let table: Vec<&str> = status.lines().skip_while(|line| !line.starts_with("SESSION")).skip(1).collect();
        table.iter().find(|line| line.starts_with(name)).map(|line| line.to_string()).unwrap_or_default()
    };
    assert!(row("S").contains("10.9.9.2") && row("S").contains("Up"), "{}", said(&pair, &["status"]));
    let explained = said(&pair, &["explain", "V"]);
    assert!(explained.contains("S to 10.9.9.2 is Up for "), "{explained}");
    let watch = |json: bool| {
        let arguments: &[&str] = if json { &["watch", "--json"] } else { &["watch"] };
        let path = pair.nodes[0].directory.join(if json { "watch.json" } else { "watch.text" });
        let out = std::fs::File::create(&path).unwrap();
        (vipctl(&pair, arguments).stdout(out).stderr(Stdio::null()).spawn().unwrap(), path)
    };
    let mut watches = [watch(false), watch(true)];
    let read = |watches: &[(Child, std::path::PathBuf); 2], at: usize| {
        std::fs::read_to_string(&watches[at].1).unwrap_or_default()
    };
    pair.until("both watches stand", || (0..2).all(|at| !read(&watches, at).is_empty())).unwrap();
    // Up begins with the slow interval of one second; the peer's first packet of Up brings the fast one.
    pair.until("the fast interval", || pair.session_of(0).is_some_and(|session| session["detection_time"] == 1.2))
        .unwrap();
    pair.cut([false, true]);
    pair.until("FAULT", || vrrp_state(&pair, 0) == "FAULT").unwrap();
    pair.until("the watches tell", || {
        read(&watches, 0).contains("(S) Entering Down state") && read(&watches, 1).contains("\"kind\":\"bfd_became\"")
    })
    .unwrap();
    for (child, _) in &mut watches {
        let _ = child.kill();
        let _ = child.wait();
    }
    assert!(row("S").contains("nothing was heard from the peer"), "{}", said(&pair, &["status"]));
    let explained = said(&pair, &["explain", "V"]);
    assert!(explained.contains("tracked S fails") && explained.contains("S to 10.9.9.2 is Down for "), "{explained}");
    let session = said(&pair, &["explain", "S"]);
    assert!(
        session.contains("BFD session S to 10.9.9.2 is Down") && session.contains("V tracks it and is in FAULT"),
        "{session}"
    );
    let history = said(&pair, &["history", "S"]);
    assert!(history.contains("(S) Expired after 1200 ms") && history.contains("Entering Up state"), "{history}");
    let one = said(&pair, &["bfd", "S"]);
    assert!(one.contains("detection time") && one.contains("last heard"), "{one}");
}

/// A real server is well as long as its session with FRR is up: the check, and what the simulator makes of the same story,
/// say the same.
#[test]
fn a_bfd_check_follows_frr_and_the_simulator_agrees() {
    if skip(&["ip", "nft", "bfdd", "zebra", "vtysh"]) {
        return;
    }
    let mut pair = Pair::new([Kind::Vipd, Kind::Frr], false);
    let check = "virtual_server 10.9.9.100 80 {\n lb_algo rr\n lb_kind NAT\n protocol TCP\n real_server 10.9.9.2 80 {\n  BFD_CHECK {\n   name S\n  }\n }\n}\n";
    let conf = format!("{}{check}", pair.session(0, false, PLAIN));
    pair.configure(0, &conf);
    let lines = "  detect-multiplier 20\n  receive-interval 60\n  transmit-interval 60\n";
    pair.configure(1, &frr(&pair, 1, false, "", lines));
    pair.start(0);
    pair.start(1);
    pair.both(true).unwrap();
    let of_check = |text: &str| -> Vec<String> {
        // Only where the kernel has IPVS is the server put in and taken out.
        let wanted = |line: &&str| line.contains("BFD check of [S]");
        let bare = |line: &str| {
            line.rsplit(": ").next().unwrap_or(line).trim_start_matches(|c: char| !c.is_ascii_uppercase()).to_owned()
        };
        text.lines().filter(wanted).map(bare).collect()
    };
    let told = |what: &str, count: usize| pair.until(what, || of_check(&pair.log(0)).len() >= count);
    told("the check is down until the session is up, and up then", 2).unwrap();
    pair.cut([true, true]);
    told("the cut takes the server out", 3).unwrap();
    pair.cut([false, false]);
    told("it is in again", 4).unwrap();
    let played = of_check(&pair.log(0));
    let down_and_up: Vec<String> =
        ["BFD check of [S] RS([10.9.9.2]:tcp:80) is DOWN", "BFD check of [S] RS([10.9.9.2]:tcp:80) is UP"]
            .map(String::from)
            .to_vec();
    assert_eq!(played, [down_and_up.clone(), down_and_up].concat());
    // The same file and the same story on paper.
    let path = pair.nodes[0].directory.join("lb.conf");
    std::fs::write(&path, &conf).unwrap();
    let story = pair.nodes[0].directory.join("story");
    std::fs::write(&story, "run 30s\nat 10s path lb S down\nat 20s path lb S up\n").unwrap();
    let told = said(&pair, &["simulate", "--scenario", story.to_str().unwrap(), path.to_str().unwrap()]);
    assert_eq!(of_check(&told), played, "{told}");
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

/// What comes over a router is refused by its TTL, and taken with `max_hops 1`: RFC 5881's protection, by keepalived's own packets.
#[test]
fn a_router_between_takes_max_hops() {
    if skip(&["ip", "keepalived"]) {
        return;
    }
    let mut pair = Pair::new([Kind::Vipd, Kind::Keepalived], true);
    let hops = |hops: &str| format!("{PLAIN}\n{hops}");
    pair.configure(0, &pair.session(0, false, PLAIN));
    pair.configure(1, &pair.session(1, false, &hops(" max_hops 1")));
    pair.start(0);
    pair.start(1);
    let refused = || pair.session_of(0).and_then(|s| s["counters"]["refused"]["ttl"].as_u64()).unwrap_or(0);
    pair.until("packets with a TTL of 254 are refused", || refused() >= 3).unwrap();
    let session = pair.session_of(0).unwrap();
    assert_eq!((&session["state"], &session["counters"]["received"]), (&"Down".into(), &0.into()), "{session}");
    pair.configure(0, &pair.session(0, false, &hops(" max_hops 1")));
    assert_eq!(pair.ask(0, r#"{"request":"reload"}"#).unwrap()["reply"], "done");
    pair.both(true).unwrap();
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
    pair.until("a word about what can never run", || pair.log(0).contains("V can never leave FAULT")).unwrap();
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
