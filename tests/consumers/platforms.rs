//! Platforms that have keepalived inside.

use super::ask_for;
use super::ground::{Daemon, Ground, PATIENCE, instance, ip, ready};
use super::program;
use super::standing;
use super::{is_vipd, start};
use inotify::{Inotify, WatchMask};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// Waits for IN_CLOSE_WRITE of exactly this name, as VyOS does.
fn closed(ground: &Ground, name: &str, act: impl FnOnce()) -> String {
    let mut watch = Inotify::init().unwrap();
    watch.watches().add(&ground.directory, WatchMask::CLOSE_WRITE).unwrap();
    act();
    let mut buffer = [0; 4096];
    loop {
        let seen = watch.read_events_blocking(&mut buffer).unwrap().any(|e| e.name == Some(std::ffi::OsStr::new(name)));
        if seen {
            return std::fs::read_to_string(ground.directory.join(name)).unwrap();
        }
    }
}

#[test]
pub(super) fn vyos_collects_and_removes_the_three_files() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let daemon = standing(&ground, "");
    for round in 0..2 {
        for (word, name) in [("JSON", "keepalived.json"), ("DATA", "keepalived.data"), ("STATS", "keepalived.stats")] {
            let text = closed(&ground, name, || ask_for(&ground, &daemon, word));
            assert!(text.contains("VI_2"), "{name}, round {round}: {text}");
            if name == "keepalived.json" {
                let json: Value = serde_json::from_str(&text).unwrap();
                for entry in json.as_array().unwrap() {
                    let data = &entry["data"];
                    assert!(data["iname"].is_string() && data["ifp_ifname"].is_string());
                    assert!(data["vrid"].is_u64() && data["state"].is_u64() && data["effective_priority"].is_u64());
                    assert!(data["last_transition"].is_number());
                }
            }
            std::fs::remove_file(ground.directory.join(name)).unwrap();
        }
    }
}

/// vyos' keepalived-fifo.py: the script gets the FIFO's path as its last argument and reads lines of four words.
#[test]
pub(super) fn vyos_reads_the_fifo_by_a_script_of_its_own() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let (fifo, heard) = (ground.directory.join("fifo"), ground.directory.join("heard"));
    let reader = ground.program("reader", &format!("exec cat \"$1\" > {}", heard.display()));
    let globals = format!(
        "global_defs {{\n notify_fifo {}\n notify_fifo_script {}\n script_user root\n}}\n\
         vrrp_sync_group G {{\n group {{\n  A\n }}\n}}\n",
        fifo.display(),
        reader.display()
    );
    ground.configure(&(globals + &instance("A", 1, "10.9.0.10/24")));
    let daemon = start(&ground, "");
    let text = || std::fs::read_to_string(&heard).unwrap_or_default();
    daemon.wait_for("a line for the group", || text().contains("GROUP \"G\" MASTER 0"));
    assert_eq!(daemon.stop().code(), Some(0));
    for line in text().lines() {
        let words: Vec<&str> = line.split(' ').collect();
        assert!(words.len() == 4 && ["INSTANCE", "GROUP"].contains(&words[0]), "{line}");
        assert!(words[1].starts_with('"') && words[1].ends_with('"') && words[1].len() > 2, "{line}");
        assert!(["BACKUP", "MASTER", "STOP"].contains(&words[2]), "{line}");
        assert!(words[3].parse::<u8>().is_ok(), "{line}");
    }
    assert!(text().contains("INSTANCE \"A\" MASTER 200"), "{}", text());
}

/// OpenShift's liveness probe spoils the dump, asks for a new one and looks for FAULT in it.
#[test]
pub(super) fn openshifts_liveness_probe_finds_a_fresh_file() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    ground.configure(&instance("A", 1, "10.9.0.10/24"));
    let daemon = ground.start_program(&program(&ground), "--dont-fork --vrrp --log-detail --log-console");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    let path = ground.directory.join("keepalived.data");
    for state in ["MASTER", "FAULT", "MASTER"] {
        ip(&format!("-n {} link set far {}", ground.name, if state == "FAULT" { "down" } else { "up" }));
        daemon.wait_for(state, || {
            let _ = std::fs::remove_file(&path);
            daemon.signal(libc::SIGUSR1);
            std::thread::sleep(std::time::Duration::from_millis(50));
            std::fs::read_to_string(&path).is_ok_and(|text| text.contains(&format!("   State = {state}\n")))
        });
        std::fs::write(&path, "State = FAULT").unwrap();
        daemon.signal(libc::SIGUSR1);
        let read = || std::fs::read_to_string(&path).unwrap();
        // The probe looks five times, a second apart; keepalived's file is not whole at once.
        let whole = |text: String| text != "State = FAULT" && text.contains("   State = ");
        daemon.wait_for("the file to be replaced", || whole(read()));
        assert_eq!(read().contains("State = FAULT"), state == "FAULT", "{}", read());
        assert!(read().contains(&format!("   State = {state}\n")));
    }
    // pgrep -o keepalived
    let comm = std::fs::read_to_string(format!("/proc/{}/comm", daemon.pid())).unwrap();
    assert_eq!(comm, "keepalived\n");
}

/// Neutron starts a daemon with files of its own, and learns the state from the order of what `ip monitor` says.
#[test]
pub(super) fn neutron_sees_the_addresses_in_order_and_the_files_of_its_choice() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    ground.configure(
        "global_defs {\n notification_email_from neutron@openstack.local\n router_id neutron\n}\n\
         vrrp_instance VR_1 {\n state BACKUP\n interface eth0\n virtual_router_id 1\n priority 50\n \
         garp_master_delay 60\n nopreempt\n advert_int 1\n track_interface {\n  eth0\n }\n virtual_ipaddress {\n  \
         169.254.0.1/24 dev eth0\n }\n virtual_ipaddress_excluded {\n  10.0.0.1/24 dev eth0\n  172.24.4.2/24 dev eth0\n  \
         fe80::f816:3eff:fe01:1/64 dev eth0 scope link\n }\n virtual_routes {\n  0.0.0.0/0 via 172.24.4.1 dev eth0\n }\n}\n",
    );
    let mut monitor = Command::new("ip")
        .args(["-n", &ground.name, "-o", "monitor", "address", "route"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(monitor.stdout.take().unwrap()).lines();
    // It listens when it has seen something.
    let listens = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !listens.load(std::sync::atomic::Ordering::Relaxed) {
                ip(&format!("-n {} addr add 127.0.0.9/8 dev lo", ground.name));
                ip(&format!("-n {} addr del 127.0.0.9/8 dev lo", ground.name));
            }
        });
        lines.next().unwrap().unwrap();
        listens.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let files = format!("-P -p {0}/ka.pid -r {0}/ka.pid-vrrp", ground.directory.display());
    let out = ground.run_program(&program(&ground), &files);
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    // keepalived's second process writes its file in its own time, after the first has gone to the background.
    let read = |name: &str| {
        let begun = std::time::Instant::now();
        loop {
            let text = std::fs::read_to_string(ground.directory.join(name)).unwrap_or_default();
            if text.ends_with('\n') {
                return text;
            }
            assert!(begun.elapsed() < PATIENCE, "no {name}");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    };
    let pid: i32 = read("ka.pid").trim().parse().unwrap();
    let of_vrrp = read("ka.pid-vrrp").trim().parse::<i32>().unwrap();
    assert_eq!(of_vrrp == pid, is_vipd(), "vipd is one process");
    let cmdline = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(cmdline.contains("keepalived"), "Neutron looks for its own words there: {cmdline:?}");
    let (mut come, mut gone) = (Vec::new(), Vec::new());
    for line in lines {
        let line = line.unwrap();
        let ours = ["169.254.0.1/24", "10.0.0.1/24", "172.24.4.2/24", "default via 172.24.4.1"];
        let Some(found) = ours.iter().find(|what| line.contains(**what)) else { continue };
        if line.contains("Deleted") {
            gone.push(*found);
        } else {
            come.push(*found);
        }
        if come.len() == ours.len() && gone.is_empty() {
            // SAFETY: kill takes no pointers; the process is the daemon that this test started.
            assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
        }
        if gone.len() == ours.len() || (gone.len() >= 3 && gone.last() == Some(&"10.0.0.1/24")) {
            break;
        }
    }
    monitor.kill().unwrap();
    monitor.wait().unwrap();
    assert_eq!(come, ["169.254.0.1/24", "10.0.0.1/24", "172.24.4.2/24", "default via 172.24.4.1"]);
    assert!(gone.contains(&"169.254.0.1/24"), "{gone:?}");
    let begun = std::time::Instant::now();
    while ground.directory.join("ka.pid").exists() || ground.directory.join("ka.pid-vrrp").exists() {
        assert!(begun.elapsed() < PATIENCE, "it does not end");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// osixia/keepalived and redhat-cop's operator: long options, a config id, names with a slash, arguments of notify.
#[test]
pub(super) fn containers_start_it_with_long_options_and_are_notified() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let told = ground.directory.join("told");
    let script = ground.program("notify.sh", &format!("echo \"$# $1 $2 $3 $4\" >> {}", told.display()));
    let notify = format!("priority 200\n notify {}", script.display());
    let one = instance("ns/pod", 1, "10.9.0.10/24").replace("priority 200", &notify);
    let conditional = "@pod-1   nopreempt\n@^pod-1   no such keyword\n".to_owned() + " virtual_ipaddress";
    ground.configure(&format!(
        "global_defs {{\n script_user root\n}}\n{}",
        one.replace(" virtual_ipaddress", &conditional)
    ));
    let flags = format!(
        "--dont-fork --log-console --log-detail --config-id=pod-1 --pid={0}/keepalived.pid --release-vips",
        ground.directory.display()
    );
    let daemon: Daemon = ground.start_program(&program(&ground), &flags);
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    let told = || std::fs::read_to_string(&told).unwrap_or_default();
    daemon.wait_for("to be told", || told().contains("4 INSTANCE ns/pod MASTER 200"));
    daemon.signal(libc::SIGHUP);
    daemon.wait_for_log("Reload complete");
    let pid = std::fs::read_to_string(ground.directory.join("keepalived.pid")).unwrap();
    assert_eq!(pid.trim(), daemon.pid().to_string());
    assert_eq!(daemon.stop().code(), Some(0));
    let lines = told();
    assert!(lines.lines().all(|line| line.starts_with("4 INSTANCE ns/pod ")), "{lines}");
    ground.told_of_the_stop(&lines, "4 INSTANCE ns/pod STOP 200");
}
