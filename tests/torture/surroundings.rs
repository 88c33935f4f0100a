//! What the rest of the machine does to a daemon: strangers' addresses by the thousand, hanging programs, a syslog daemon
//! that does not read, a full disk, a configuration that changes all the time.

use super::count;
use super::ground::{Daemon, Ground, PATIENCE, instance, ip, ready, vipd};
use std::fmt::Write as _;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

#[test]
fn hanging_programs_stop_neither_an_election_nor_the_end() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let hang = ground.program("hang", "trap '' TERM\necho $$ >> $0.pids\nwhile :; do sleep 1; done");
    let path = hang.display();
    let text = instance("A", 1, "10.9.0.10/24");
    let more = format!(
        "priority 200\n notify_master \"{path} master\"\n notify_backup \"{path} backup\"\n \
         notify_fault \"{path} fault\"\n notify_stop \"{path} stop\"\n notify \"{path} any\"\n track_script {{\n  c\n }}"
    );
    let script = format!("vrrp_script c {{\n script \"{path} check\"\n interval 1\n timeout 1\n weight -10\n}}\n");
    let globals = "global_defs {\n script_user root\n}\n";
    ground.configure(&format!("{globals}{script}{}", text.replace("priority 200", &more)));
    let daemon = ground.start("");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    for _ in 0..3 {
        ip(&format!("-n {} link set far down", ground.name));
        daemon.wait_for_address(&ground, "10.9.0.10/24", false);
        ip(&format!("-n {} link set far up", ground.name));
        daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    }
    // The check, which ignores TERM, is killed and counts as failed.
    daemon.wait_for("the lowered priority", || {
        daemon.ask(r#"{"request":"status"}"#)["status"]["instances"][0]["effective_priority"] == 190
    });
    assert_eq!(daemon.ask(r#"{"request":"reload"}"#)["reply"], "done");
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(!ground.has("10.9.0.10/24"));
    for pid in std::fs::read_to_string(format!("{path}.pids")).unwrap().lines() {
        let Ok(pid) = pid.parse::<i32>() else { continue };
        let ours = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().contains("hang");
        if ours {
            // SAFETY: kill takes no pointers; the process is one that this test made.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
}

#[test]
fn a_syslog_daemon_that_does_not_read_costs_lines_and_nothing_else() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    ground.configure(&instance("A", 1, "10.9.0.10/24"));
    // A /dev of its own, with a log socket whose queue is full from the beginning.
    let dev = ground.directory.join("dev");
    std::fs::create_dir_all(&dev).unwrap();
    for (name, minor) in [("null", "3"), ("urandom", "9")] {
        let node = dev.join(name).display().to_string();
        assert!(Command::new("mknod").args([&node, "c", "1", minor]).status().unwrap().success());
    }
    let deaf = UnixDatagram::bind(dev.join("log")).unwrap();
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send_to(b"full", dev.join("log")).is_ok() {}
    let line = format!(
        "mount -t tmpfs tmpfs /run && mount --bind {dev} /dev && exec {vipd} -n -D -p {dir}/pid -r {dir}/vrrp.pid -f {dir}/keepalived.conf",
        dev = dev.display(),
        vipd = vipd(),
        dir = ground.directory.display()
    );
    let mut child = Command::new("ip")
        .args(["netns", "exec", &ground.name, "sh", "-c", &line])
        .env("TMPDIR", &ground.directory)
        .spawn()
        .unwrap();
    let wait = |what: &str, is: &dyn Fn() -> bool| {
        let begun = std::time::Instant::now();
        while !is() {
            assert!(begun.elapsed() < PATIENCE, "no {what}");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    };
    wait("address", &|| ground.has("10.9.0.10/24"));
    for _ in 0..3 {
        ip(&format!("-n {} link set far down", ground.name));
        wait("end of mastership", &|| !ground.has("10.9.0.10/24"));
        ip(&format!("-n {} link set far up", ground.name));
        wait("return", &|| ground.has("10.9.0.10/24"));
    }
    // SAFETY: kill takes no pointers; the process is our child.
    unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!ground.has("10.9.0.10/24"));
    // Somebody reads at last: what had been let in is there, and whole.
    deaf.set_nonblocking(true).unwrap();
    let mut buffer = [0; 2048];
    assert_eq!(deaf.recv(&mut buffer).unwrap(), 4);
}

#[test]
fn a_full_disk_costs_the_dump_and_nothing_else() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    ground.configure(&instance("A", 1, "10.9.0.10/24"));
    let full = ground.directory.join("full");
    std::fs::create_dir_all(&full).unwrap();
    let line = format!(
        "mount -t tmpfs -o size=4k,nr_inodes=20 tmpfs {0} && (dd if=/dev/zero of={0}/fill bs=4k count=4 2>/dev/null; true)",
        full.display()
    );
    assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    struct Unmount(std::path::PathBuf);
    impl Drop for Unmount {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg(&self.0).status();
        }
    }
    let _mounted = Unmount(full.clone());
    // Debian's `ip netns exec` makes the mounts private, so this one must be there before.
    let daemon = ground.start_in(vipd().as_ref(), "", &full);
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    for signal in [libc::SIGUSR1, libc::SIGUSR2, libc::SIGRTMIN() + 2] {
        daemon.signal(signal);
    }
    daemon.wait_for("complaints", || daemon.log_text().matches("No space left").count() >= 3);
    let left: Vec<_> = std::fs::read_dir(daemon.path(full.to_str().unwrap())).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "half a dump is left behind: {left:?}");
    assert_eq!(daemon.state("A"), "MASTER");
    std::fs::remove_file(daemon.path(full.join("fill").to_str().unwrap())).unwrap();
    daemon.signal(libc::SIGRTMIN() + 2);
    let json = daemon.path(full.join("keepalived.json").to_str().unwrap());
    daemon.wait_for("the dump", || json.exists());
    assert_eq!(daemon.stop().code(), Some(0));
}

/// Descriptors, threads, and memory in kilobytes.
fn size(daemon: &Daemon) -> (usize, usize, u64) {
    let entries = |name: &str| std::fs::read_dir(format!("/proc/{}/{name}", daemon.pid())).unwrap().count();
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    (entries("fd"), entries("task"), resident.trim().trim_end_matches(" kB").parse().unwrap())
}

#[test]
fn reloads_leave_nothing_behind() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let fifo = ground.directory.join("fifo").display().to_string();
    let tracked = ground.write("tracked", "0\n").display().to_string();
    // Of everything that owns a descriptor or a thread something comes and goes.
    let text = |round: usize| {
        let mut text = String::from("global_defs {\n script_user root\n enable_script_security\n dynamic_interfaces\n");
        if round % 2 == 1 {
            writeln!(text, " notify_fifo {fifo}").unwrap();
        }
        text += "}\n";
        if round % 3 == 1 {
            text += "vrrp_track_process p {\n process init\n weight 1\n}\n";
        }
        if round % 3 == 2 {
            writeln!(text, "vrrp_track_file f {{\n file {tracked}\n weight 1\n}}").unwrap();
        }
        text += "vrrp_script s {\n script \"/usr/bin/true\"\n interval 1\n weight 1\n}\n";
        let tracks = ["", "track_process {\n  p\n }", "track_file {\n  f\n }"][round % 3];
        text += &instance("A", 1, "10.9.0.10/24")
            .replace("priority 200", &format!("priority 200\n track_script {{\n  s\n }}\n {tracks}"));
        for n in 0..round % 5 {
            let more = instance(&format!("B{n}"), 10 + n as u8, &format!("10.9.0.{}/24", 20 + n + round % 7));
            let peer = "unicast_src_ip 10.9.0.1\n unicast_peer {\n  10.9.0.2\n }";
            let way = ["", peer, "use_vmac", "nopreempt"][(n + round) % 4];
            text += &more.replace("priority 200", &format!("priority 200\n {way}"));
        }
        text
    };
    ground.configure(&text(0));
    let daemon = ground.start("");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    let reload = |round: usize| {
        ground.configure(&text(round));
        let reply = daemon.ask(r#"{"request":"reload"}"#);
        assert_eq!(reply["reply"], "done", "round {round}: {reply}\n{}", text(round));
        assert!(ground.has("10.9.0.10/24"), "round {round}: the address is in both configurations");
    };
    let rounds = count(60);
    // 0 modulo 2, 3 and 5 is one configuration.
    let begin = 30;
    (1..=begin).for_each(reload);
    let before = size(&daemon);
    (begin + 1..=begin + rounds.next_multiple_of(30)).for_each(reload);
    daemon.wait_for("descriptors to be closed", || size(&daemon).0 <= before.0 && size(&daemon).1 <= before.1);
    let after = size(&daemon);
    println!("{} reloads: descriptors, threads, kB before {before:?}, after {after:?}", rounds.next_multiple_of(30));
    assert!(after.2 < before.2 + 4_096, "memory grows: {before:?} {after:?}");
    assert_eq!(daemon.log_text().matches("(A) Entering").count(), 2, "A has been master all the time");
    let links = ip(&format!("-n {} -o link", ground.name));
    assert!(!links.contains("vrrp."), "{links}");
    assert_eq!(daemon.stop().code(), Some(0));
    let left = ip(&format!("-n {} -o addr show dev eth0", ground.name));
    assert_eq!(left.lines().filter(|line| line.contains(" inet ")).count(), 1, "{left}");
}
