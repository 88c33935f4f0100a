//! Who cannot hear or speak is in FAULT, with the reason, and never MASTER: no socket, no source address, no way out.

use crate::ground::{Daemon, Ground, instance, ip, ready};
use std::process::Command;

fn faults(daemon: &Daemon) -> String {
    daemon.ask(r#"{"request":"status"}"#)["status"]["instances"][0]["faults"].to_string()
}

fn inside(ground: &Ground, line: &str) {
    let done = Command::new("ip").args(["netns", "exec", &ground.name, "sh", "-c", line]).status().unwrap();
    assert!(done.success(), "{line}");
}

#[test]
fn a_source_that_is_on_no_interface_holds_in_fault_until_it_is_there() {
    if !ready() {
        return;
    }
    for source in ["unicast_src_ip 10.9.0.7\n unicast_peer {\n  10.9.0.2\n }", "mcast_src_ip 10.9.0.7"] {
        let ground = Ground::new();
        ground.configure(&instance("A", 1, "10.9.0.10/24").replace(" priority", &format!(" {source}\n priority")));
        let daemon = ground.start("");
        daemon.wait_for_log("its source address 10.9.0.7 is on no interface");
        assert_eq!(daemon.state("A"), "FAULT");
        ip(&format!("-n {} addr add 10.9.0.7/24 dev eth0", ground.name));
        daemon.wait_for_address(&ground, "10.9.0.10/24", true);
        ip(&format!("-n {} addr del 10.9.0.7/24 dev eth0", ground.name));
        daemon.wait_for("FAULT", || daemon.state("A") == "FAULT");
        daemon.wait_for_address(&ground, "10.9.0.10/24", false);
        ip(&format!("-n {} addr add 10.9.0.7/24 dev eth0", ground.name));
        daemon.wait_for_address(&ground, "10.9.0.10/24", true);
        assert!(daemon.stop().success());
    }
}

#[test]
fn without_descriptors_there_is_no_mastership() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let many: String = (1..=40).map(|n| instance(&format!("V{n}"), n, &format!("10.9.1.{n}/32"))).collect();
    // Each on a virtual MAC has a socket of its own. The hard limit leaves too few of them.
    ground.configure(&many.replace(" interface eth0\n", " interface eth0\n use_vmac\n"));
    let limited = ground.program("limited", &format!("ulimit -n 64\nexec {} \"$@\"", crate::ground::vipd()));
    let daemon = ground.start_program(&limited, "");
    daemon.wait_for_log("entering FAULT state (no socket: Too many open files");
    let views = || daemon.ask(r#"{"request":"status"}"#)["status"]["instances"].as_array().unwrap().clone();
    let deaf = |view: &serde_json::Value| view["faults"].to_string().contains("no_socket");
    daemon.wait_for("those with a socket to be MASTER", || views().iter().all(|v| deaf(v) || v["state"] == "MASTER"));
    assert!(views().iter().all(|view| !deaf(view) || view["state"] == "FAULT"));
    let mute: Vec<String> = views().iter().filter(|view| deaf(view)).map(|v| v["name"].to_string()).collect();
    assert!(mute.contains(&"\"V40\"".to_owned()), "{mute:?}");
    // Fewer of them leave descriptors to the rest, which are found by and by.
    let rest: String = (36..=40).map(|n| instance(&format!("V{n}"), n, &format!("10.9.1.{n}/32"))).collect();
    ground.configure(&rest.replace(" interface eth0\n", " interface eth0\n use_vmac\n"));
    daemon.signal(libc::SIGHUP);
    daemon.wait_for("the rest to be MASTER", || views().len() == 5 && views().iter().all(|v| v["state"] == "MASTER"));
    assert!(daemon.stop().success());
}

/// As keepalived: the soft limit is raised to the hard one, and programs get the old one back.
#[test]
fn the_limit_of_open_files_is_raised_and_programs_do_not_notice() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let told = ground.directory.join("told");
    let check = ground.program("check", &format!("ulimit -Sn > {0}.new && mv {0}.new {0}", told.display()));
    ground.configure(&format!(
        "global_defs {{\n script_user root\n}}\nvrrp_script chk {{\n script \"{}\"\n interval 1\n}}\n{}",
        check.display(),
        instance("A", 1, "10.9.0.10/24").replace(" priority", " track_script {\n  chk\n }\n priority")
    ));
    let limited = ground.program("limited", &format!("ulimit -Sn 64\nexec {} \"$@\"", crate::ground::vipd()));
    let daemon = ground.start_program(&limited, "");
    daemon.wait_for("the check to run", || told.exists());
    assert_eq!(std::fs::read_to_string(&told).unwrap().trim(), "64");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let open = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<&str> = open["Max open files".len()..].split_whitespace().collect();
    assert_ne!(numbers[0], "64", "{open}");
    assert!(daemon.stop().success());
}

#[test]
fn a_firewall_that_lets_nothing_out_is_a_fault_until_it_does() {
    if !ready() || Command::new("nft").arg("-v").output().is_err() {
        return;
    }
    let ground = Ground::new();
    let daemon = ground.start_master("");
    inside(
        &ground,
        "nft 'add table ip f; add chain ip f out { type filter hook output priority 0; }; \
         add rule ip f out ip protocol vrrp drop'",
    );
    daemon.wait_for_log("this machine does not let its adverts out: Operation not permitted");
    daemon.wait_for_address(&ground, "10.9.0.10/24", false);
    assert!(faults(&daemon).contains("cannot_send"), "{}", faults(&daemon));
    inside(&ground, "nft delete table ip f");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    assert!(daemon.stop().success());
}

/// keepalived announces nothing, and neighbours speak to the old hardware address for minutes; an interface that is made again has the
/// kernel's `promote_secondaries`, and the next address that goes takes others of its network along.
#[test]
fn what_an_interface_is_now_counts_and_not_what_it_was() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let lines = "vrrp_garp_master_delay 0\n vrrp_garp_master_repeat 2\n dynamic_interfaces";
    let own = instance("A", 1, "10.9.0.10/24").replace("priority", "promote_secondaries\n priority");
    ground.configure(&format!("global_defs {{\n {lines}\n}}\n{own}"));
    let daemon = ground.start("-D");
    let announced = || daemon.log_text().matches("Sending gratuitous ARP on eth0 for 10.9.0.10").count();
    daemon.wait_for("the announcements of a new master", || announced() == 2);
    inside(&ground, "ip link set eth0 address 02:11:22:33:44:55");
    daemon.wait_for("announcements with the new address", || announced() == 4);
    let promotes = || {
        let read = || std::fs::read_to_string("/proc/sys/net/ipv4/conf/eth0/promote_secondaries");
        ground.inside(|| read().map_or(String::new(), |text| text.trim().to_owned()))
    };
    assert_eq!(promotes(), "1");
    inside(&ground, "ip link del eth0");
    daemon.wait_for("FAULT", || daemon.state("A") == "FAULT");
    inside(&ground, "ip link add eth0 type veth peer name far");
    inside(&ground, "ip link set far up");
    inside(&ground, "ip link set eth0 up");
    inside(&ground, "ip addr add 10.9.0.1/24 dev eth0");
    daemon.wait_for("MASTER on the new interface", || daemon.state("A") == "MASTER");
    daemon.wait_for("promote_secondaries on the new interface", || promotes() == "1");
    assert_eq!(daemon.stop().code(), Some(0));
}

/// The kernel's own setting: with the first address of a network it removes all others of it. A virtual one may be the first, where
/// somebody sets the server's own addresses anew, and takes none of them along when it goes.
#[test]
fn a_virtual_address_that_goes_takes_no_other_along() {
    if !ready() {
        return;
    }
    // As on a server, and as in most containers.
    let read_only = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys &&";
    for proc_sys in ["", read_only] {
        let ground = Ground::new();
        inside(&ground, "for f in /proc/sys/net/ipv4/conf/*/promote_secondaries; do echo 0 > $f; done");
        let add = |address: &str| ip(&format!("-n {} addr add {address} dev eth0", ground.name));
        ground.configure(&(instance("A", 1, "10.8.0.10/24") + &instance("B", 2, "10.7.0.10/24")));
        let daemon = ground.start_by(&format!("mount -t tmpfs tmpfs /run && {proc_sys} exec {{vipd}}"), "");
        daemon.wait_for_address(&ground, "10.8.0.10/24", true);
        add("10.8.0.77/24");
        ground.configure(&instance("B", 2, "10.7.0.10/24"));
        assert_eq!(daemon.ask(r#"{"request":"reload"}"#)["reply"], "done");
        daemon.wait_for_address(&ground, "10.8.0.10/24", false);
        assert!(ground.has("10.8.0.77/24"), "{proc_sys}");
        daemon.wait_for_address(&ground, "10.7.0.10/24", true);
        add("10.7.0.77/24");
        daemon.advertises();
        assert_eq!(daemon.stop().code(), Some(0));
        assert!(ground.has("10.7.0.77/24") && !ground.has("10.7.0.10/24"), "{proc_sys}");
        let shown = || std::fs::read_to_string("/proc/sys/net/ipv4/conf/eth0/promote_secondaries").unwrap();
        assert_eq!(ground.inside(shown), "0\n", "{proc_sys}");
    }
}
