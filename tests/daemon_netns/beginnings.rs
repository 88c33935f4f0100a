//! What is so before the daemon starts is so in its first state and its first advert.

use crate::ground::{Ground, PATIENCE, instance, ip, ready};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;

/// Hears the next VRRP datagram in a namespace: its priority.
fn listen(ground: &Ground) -> std::thread::JoinHandle<u8> {
    let namespace = File::open(format!("/var/run/netns/{}", ground.name)).unwrap();
    let (stands, standing) = std::sync::mpsc::channel();
    let listener = std::thread::spawn(move || {
        nix::sched::setns(&namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let every_ip = i32::from((libc::ETH_P_IP as u16).to_be());
        let kind = socket2::Type::DGRAM;
        let socket = socket2::Socket::new(socket2::Domain::PACKET, kind, Some(every_ip.into())).unwrap();
        stands.send(()).unwrap();
        loop {
            let mut bytes = [0_u8; 2048];
            // SAFETY: the buffer is as long as it is said to be.
            let got = unsafe { libc::recv(socket.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len(), 0) };
            if got >= 28 && bytes[9] == 112 {
                return bytes[usize::from(bytes[0] & 15) * 4 + 2];
            }
        }
    });
    standing.recv().unwrap();
    listener
}

#[test]
fn the_first_state_and_the_first_advert_carry_what_a_file_says() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let fifo = ground.directory.join("fifo");
    let level = ground.write("level", "7\n");
    let tracked = instance("A", 1, "10.9.0.10/24")
        .replace("priority 200", "priority 200\n notify_priority_changes\n track_file {\n  level weight 2\n }");
    ground.configure(&format!(
        "global_defs {{\n notify_fifo {}\n script_user root\n}}\ntrack_file level {{\n file {}\n}}\n{tracked}",
        fifo.display(),
        level.display()
    ));
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let pipe = File::options().read(true).write(true).open(&fifo).unwrap();
    let mut lines = BufReader::new(pipe).lines().map(Result::unwrap);
    let first = listen(&ground);
    let daemon = ground.start("");
    assert_eq!(lines.next().unwrap(), "INSTANCE \"A\" BACKUP 214");
    assert_eq!(lines.next().unwrap(), "INSTANCE \"A\" MASTER 214");
    assert_eq!(first.join().unwrap(), 214);
    // What changes later is still heard.
    std::fs::write(&level, "1\n").unwrap();
    assert_eq!(lines.next().unwrap(), "INSTANCE \"A\" MASTER_PRIORITY 202");
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn an_owner_that_a_file_or_a_missing_process_forbids_to_speak_never_speaks() {
    if !ready() {
        return;
    }
    for tracker in ["track_file", "track_process"] {
        let ground = Ground::new();
        let level = ground.write("level", "1\n");
        let owner = instance("A", 1, "10.9.0.10/24")
            .replace("priority 200", &format!("priority 255\n {tracker} {{\n  what weight 0\n }}"));
        ground.configure(&format!(
            "track_file what {{\n file {}\n}}\nvrrp_track_process what {{\n process vipd-no-such\n}}\n{owner}",
            level.display()
        ));
        let daemon = ground.start("");
        daemon.wait_for_log("FAULT");
        let counters = daemon.ask(r#"{"request":"status"}"#)["status"]["instances"][0]["counters"].clone();
        assert_eq!((counters["advert_sent"].as_u64(), counters["become_master"].as_u64()), (Some(0), Some(0)));
        assert!(!daemon.log_text().contains("MASTER STATE"), "{}", daemon.log_text());
        if tracker == "track_file" {
            std::fs::write(&level, "0\n").unwrap();
            daemon.wait_for_address(&ground, "10.9.0.10/24", true);
        }
        assert_eq!(daemon.stop().code(), Some(0));
    }
}

/// keepalived removes the pid files of processes that were killed and that it does not start now.
#[test]
fn pid_files_of_a_killed_daemon_go_when_nothing_of_their_kind_runs() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    ground.configure(&instance("A", 1, "10.9.0.10/24"));
    let files = "echo 99999 > /run/bfd.pid && echo my notes > /run/checkers.pid";
    let daemon = ground.start_by(&format!("mount -t tmpfs tmpfs /run && {files} && exec {{vipd}}"), "");
    daemon.wait_for_log("Startup complete");
    assert!(!daemon.path("/run/bfd.pid").exists());
    assert!(daemon.path("/run/checkers.pid").exists(), "it is no pid file");
    assert!(daemon.path("/run/vrrp.pid").exists());
    assert_eq!(daemon.stop().code(), Some(0));
}

/// What the kernel says while the first configuration is taken has the name of the instance too.
#[test]
fn trouble_of_the_first_configuration_names_its_instance() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    for (link, id) in [("va", 1), ("vb", 2)] {
        let with = format!("link eth0 address 00:00:5e:00:01:0{id} type macvlan mode private");
        crate::ground::ip(&format!("-n {} link add {link} {with}", ground.name));
    }
    let on = |name: &str, id, link: &str| {
        instance(name, id, &format!("10.9.0.1{id}/24")).replace("priority", &format!("use_vmac {link}\n priority"))
    };
    ground.configure(&(on("A", 1, "vb") + &on("B", 2, "va")));
    let daemon = ground.start("");
    daemon.wait_for_log("(A) va: vb is already there as va");
    assert_eq!(daemon.stop().code(), Some(0));
}

/// An operator's rules go by the name that he chose: one that is made up gives way, whichever instance comes first.
#[test]
fn a_name_that_is_asked_for_is_not_given_to_another() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let with = |name: &str, id: u8, vmac: &str| {
        instance(name, id, &format!("10.9.0.1{id}/24")).replace("priority", &format!("{vmac}\n priority"))
    };
    ground.configure(&(with("A", 1, "use_vmac") + &with("B", 2, "use_vmac vrrp.1")));
    let daemon = ground.start("");
    let has = |link: &str, mac: &str| {
        ip(&format!("-n {} -o link", ground.name)).lines().any(|l| l.contains(link) && l.contains(mac))
    };
    daemon.wait_for("both VMACs", || has("vrrp.1@", "00:00:5e:00:01:02") && has("vrrp1.1@", "00:00:5e:00:01:01"));
    // Who has a name keeps it: nothing is taken from under a master by a reload.
    ground.configure(&(with("A", 1, "use_vmac") + &with("B", 2, "use_vmac vrrp1.1")));
    daemon.signal(libc::SIGHUP);
    daemon.wait_for_log("Reload complete");
    assert!(has("vrrp1.1@", "00:00:5e:00:01:01"), "{}", daemon.log_text());
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn the_address_that_an_ipv6_vmac_speaks_from_is_for_nobody_else() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    ground.configure(&instance("A", 6, "fe80::66/64").replace("priority", "use_vmac\n priority"));
    let daemon = ground.start("");
    let own = || ip(&format!("-n {} -o -6 addr show dev vrrp.6", ground.name));
    daemon.wait_for("a link-local address", || {
        own().lines().any(|l| l.contains("inet6 fe80::") && !l.contains("fe80::66"))
    });
    let shown = own();
    let spoken = shown.lines().find(|l| !l.contains("fe80::66")).unwrap_or_default();
    assert!(spoken.contains("nodad") && spoken.contains("deprecated"), "{shown}");
    assert_eq!(daemon.stop().code(), Some(0));
}

/// At a start of the machine the daemon is there before the kernel knows that nobody else has the link-local address. keepalived is
/// a backup then, and no notify program of its users is told of a fault.
#[test]
fn a_tentative_address_is_no_fault() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    ground.inside(|| std::fs::write("/proc/sys/net/ipv6/conf/eth0/dad_transmits", "60").unwrap());
    for way in ["down", "up"] {
        ip(&format!("-n {} link set eth0 {way}", ground.name));
    }
    ground.wait_for_carrier();
    let tentative = || ip(&format!("-n {} -6 addr show dev eth0 tentative", ground.name)).contains(" fe80::");
    ground.configure(&instance("A", 6, "fe80::66/64"));
    let begun = std::time::Instant::now();
    while !tentative() {
        assert!(begun.elapsed() < PATIENCE, "the kernel gives no address");
    }
    let daemon = ground.start("");
    daemon.wait_for_log("(A) Entering BACKUP STATE (init)");
    assert!(tentative());
    assert_eq!(daemon.state("A"), "BACKUP");
    assert!(!daemon.log_text().contains("FAULT"), "{}", daemon.log_text());
    assert_eq!(daemon.stop().code(), Some(0));
}
