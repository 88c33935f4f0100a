//! Ten broken states of a pair, each made for real, and what a person in trouble is told: `check`, `status`, `explain` and
//! `doctor` say what is wrong, whichever of them is asked first.

use super::machine::{Machine, Switch};
use std::time::{Duration, Instant};

const VIPCTL: &str = env!("CARGO_BIN_EXE_vipctl");
const CONF: &str = "/etc/keepalived/keepalived.conf";
/// For whatever takes its time on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Two servers on one switch: `primary` is 10.0.0.11, `secondary` 10.0.0.12.
pub struct Pair {
    pub primary: Machine,
    pub secondary: Machine,
    switch: Switch,
}

impl Pair {
    /// `None` where namespaces cannot be made.
    pub fn new(name: &str) -> Option<Pair> {
        if !nix::unistd::geteuid().is_root() {
            assert!(std::env::var_os("VIPD_REQUIRE_NETNS").is_none(), "{name}: not root");
            eprintln!("skipped: {name}: not root");
            return None;
        }
        let switch = Switch::new(name);
        let [primary, secondary] = [("a", "10.0.0.11"), ("b", "10.0.0.12")]
            .map(|(end, address)| switch.server(&format!("{name}-{end}"), address, None));
        for machine in [&primary, &secondary] {
            // What a daemon keeps over a reboot is this machine's own.
            machine.must("mount -t tmpfs -o mode=755 tmpfs /var/lib");
        }
        Some(Pair { primary, secondary, switch })
    }

    /// Another machine on the switch.
    fn host(&self, name: &str, address: &str) -> Machine {
        self.switch.server(name, address, None)
    }

    pub fn start(&self, primary: &str, secondary: &str) {
        for (machine, text) in [(&self.primary, primary), (&self.secondary, secondary)] {
            machine.write(CONF, text, 0o644);
            machine.systemctl("start keepalived");
        }
    }
}

/// One instance; `more` stands inside it.
pub fn conf(priority: u8, more: &str) -> String {
    let id = if more.contains("virtual_router_id") { "" } else { "    virtual_router_id 51\n" };
    format!(
        "global_defs {{\n    enable_script_security\n    script_user root\n}}\n\
         vrrp_instance VI_1 {{\n    interface eth0\n{id}    priority {priority}\n    virtual_ipaddress {{\n        \
         10.0.0.10/24\n    }}\n    {more}\n}}\n"
    )
}

/// What a verb prints, stderr with it, and its exit code.
pub fn ask(machine: &Machine, arguments: &str) -> (String, i32) {
    let ran = machine.run(&format!("{VIPCTL} {arguments} 2>&1"));
    (String::from_utf8_lossy(&ran.stdout).into_owned(), ran.status.code().unwrap_or(-1))
}

/// Waits until the verb says all of it.
pub fn says(machine: &Machine, arguments: &str, parts: &[&str]) -> String {
    let begun = Instant::now();
    loop {
        let (text, code) = ask(machine, arguments);
        let missing: Vec<&&str> = parts.iter().filter(|part| !text.contains(**part)).collect();
        if missing.is_empty() {
            let debug =
                ["Some(", "Code(", "Tracker(", "NoSocket(", "IfName("].into_iter().find(|word| text.contains(*word));
            assert_eq!(debug, None, "Rust in what {arguments} says:\n{text}");
            return text;
        }
        if begun.elapsed() > PATIENCE {
            let status = ask(machine, "status").0;
            panic!(
                "{}: vipctl {arguments} ({code}) does not say {missing:?}:\n{text}\n{status}\n{}",
                machine.name,
                machine.log()
            );
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// All four say this.
fn all_four(machine: &Machine, parts: &[&str]) {
    for verb in ["status", "explain", "doctor", &format!("check {CONF}")] {
        says(machine, verb, parts);
    }
}

/// `check` with both files, as somebody would who has copied the other one here.
fn check_says(pair: &Pair, parts: &[&str]) {
    let other = pair.secondary.read(CONF);
    pair.primary.write("/root-of-b/secondary.conf", &other, 0o644);
    says(&pair.primary, &format!("check {CONF} /root-of-b/secondary.conf"), parts);
    pair.primary.run("rm -r /root-of-b");
}

#[test]
fn two_masters_by_password() {
    let Some(pair) = Pair::new("bro-pass") else { return };
    let pass = |word: &str| format!("authentication {{\n        auth_type PASS\n        auth_pass {word}\n    }}");
    pair.start(&conf(150, &pass("one")), &conf(100, &pass("other")));
    for (machine, other) in [(&pair.primary, "10.0.0.12"), (&pair.secondary, "10.0.0.11")] {
        all_four(machine, &[&format!("adverts of {other} are refused: its password or key is not ours")]);
        says(machine, "history", &[&format!("advert from {other} refused: its password or key is not ours")]);
        says(machine, "metrics", &["vipd_vrrp_refused_speakers{", "vipd_vrrp_refused_total{"]);
        says(machine, "status --json", &["\"auth_failure\"", "\"refused_speakers\""]);
    }
    check_says(&pair, &["authentication-differs", "hold 10.0.0.10"]);
}

#[test]
fn two_masters_by_vrid() {
    let Some(pair) = Pair::new("bro-vrid") else { return };
    pair.start(&conf(150, "virtual_router_id 51"), &conf(100, "virtual_router_id 52"));
    all_four(&pair.primary, &["10.0.0.12 speaks for its addresses with VRID 52, here it is 51"]);
    all_four(&pair.secondary, &["10.0.0.11 speaks for its addresses with VRID 51, here it is 52"]);
    says(&pair.primary, "history", &["10.0.0.12 speaks for our addresses with VRID 52, ours is 51"]);
    check_says(&pair, &["vrid-differs", "hold 10.0.0.10"]);
}

#[test]
fn two_masters_by_a_cut_in_one_direction() {
    let Some(pair) = Pair::new("bro-cut") else { return };
    pair.secondary.must("nft add table ip filter");
    pair.secondary.must("nft 'add chain ip filter INPUT { type filter hook input priority 0; }'");
    pair.secondary.must("nft add rule ip filter INPUT ip protocol 112 drop");
    pair.start(&conf(150, ""), &conf(100, ""));
    all_four(&pair.primary, &["two masters: 10.0.0.12 speaks as MASTER too, with priority 100"]);
    says(&pair.primary, "history", &["two masters: 10.0.0.12 speaks as MASTER with priority 100"]);
    says(&pair.primary, "metrics", &["vipd_vrrp_rivals{"]);
    // Who hears nothing can only look at itself.
    says(&pair.secondary, "doctor", &["VRRP is dropped"]);
    // When it is mended there is one, and what was can still be read.
    pair.secondary.must("nft flush chain ip filter INPUT");
    says(&pair.secondary, "status", &["BACKUP"]);
    says(&pair.primary, "history", &["the other master, 10.0.0.12, is not heard any longer"]);
    says(&pair.primary, "explain", &["10.0.0.12 spoke as MASTER too"]);
}

#[test]
fn the_address_to_speak_from_is_absent() {
    let Some(pair) = Pair::new("bro-src") else { return };
    let unicast = |own: &str, peer: &str| format!("unicast_src_ip {own}\n    unicast_peer {{\n        {peer}\n    }}");
    pair.start(&conf(150, &unicast("10.0.0.99", "10.0.0.12")), &conf(100, &unicast("10.0.0.12", "10.0.0.99")));
    says(&pair.primary, "doctor", &["10.0.0.99, which it is to send from, is not on this machine"]);
    all_four(&pair.primary, &["in FAULT: its source address 10.0.0.99 is on no interface"]);
}

#[test]
fn there_is_no_socket() {
    let Some(pair) = Pair::new("bro-sock") else { return };
    // Every VMAC has sockets of its own, and the daemon may not raise what it is allowed.
    let many: String = (1..=40).map(|n| {
        format!(
            "vrrp_instance V{n} {{\n    interface eth0\n    use_vmac\n    virtual_router_id {n}\n    priority 100\n    \
             virtual_ipaddress {{\n        10.0.1.{n}/32\n    }}\n}}\n"
        )
    }).collect();
    let limited = format!("prlimit --nofile=60:60 {}", env!("CARGO_BIN_EXE_vipd"));
    pair.primary.write("/etc/vipd-under-test", &limited, 0o644);
    pair.start(&many, &conf(100, ""));
    all_four(&pair.primary, &["in FAULT: no socket: "]);
    says(&pair.primary, "doctor", &["descriptors open and may have 60"]);
}

#[test]
fn the_script_does_not_run() {
    let Some(pair) = Pair::new("bro-chk") else { return };
    let tracked = |priority| {
        let script = "vrrp_script chk {\n    script /etc/keepalived/chk\n    interval 1\n}\n";
        conf(priority, "track_script {\n        chk\n    }").replace("vrrp_instance", &format!("{script}vrrp_instance"))
    };
    for machine in [&pair.primary, &pair.secondary] {
        machine.write("/etc/keepalived/chk", "#!/bin/sh\n", 0o755);
    }
    pair.start(&tracked(150), &tracked(100));
    says(&pair.primary, "status", &["MASTER"]);
    pair.primary.must("chmod 644 /etc/keepalived/chk");
    all_four(&pair.primary, &["tracked chk fails"]);
    says(&pair.primary, "status", &["could not be started"]);
    says(&pair.primary, "doctor", &["the check chk fails: could not be started", "chmod a+rx /etc/keepalived/chk"]);
    says(&pair.primary, &format!("check {CONF}"), &["cannot be executed", "the check chk fails: could not be started"]);
}

#[test]
fn the_group_is_held() {
    let Some(pair) = Pair::new("bro-held") else { return };
    let two = |priority: u8, tracks: &str, group: &str| {
        let instance = |n: u8, tracks: &str| {
            format!(
                "vrrp_instance V{n} {{\n    interface eth0\n    virtual_router_id 5{n}\n    priority {priority}\n    \
                 virtual_ipaddress {{\n        10.0.0.2{n}/24\n    }}\n    {tracks}\n}}\n"
            )
        };
        format!(
            "vrrp_track_file down {{\n    file /run/down\n    init_file 0\n}}\n{}{}{group}",
            instance(1, tracks),
            instance(2, "")
        )
    };
    let group = "vrrp_sync_group G {\n    group {\n        V1\n        V2\n    }\n}\n";
    pair.start(&two(150, "track_file {\n        down weight 0\n    }", ""), &two(100, "", group));
    says(&pair.primary, "is-master V1", &["V1 is MASTER"]);
    pair.primary.must("echo 1 > /run/down");
    all_four(
        &pair.secondary,
        &["ready to become MASTER, but group G is held back by V2, which hears a master (10.0.0.11, priority 150)"],
    );
    says(&pair.secondary, "status", &["waits for V2 of its group"]);
    let (text, _) = ask(&pair.secondary, "status V1");
    assert!(!text.contains("in 0"), "a time that never comes:\n{text}");
}

#[test]
fn it_is_drained() {
    let Some(pair) = Pair::new("bro-drain") else { return };
    pair.start(&conf(150, ""), &conf(100, ""));
    says(&pair.primary, "is-master VI_1", &["VI_1 is MASTER"]);
    says(&pair.secondary, "status", &["BACKUP", "10.0.0.11, priority 150"]);
    let (text, code) = ask(&pair.primary, "drain VI_1");
    assert!(code == 0 && text.contains("VI_1: 10.0.0.12 took over after "), "{code}: {text}");
    all_four(&pair.primary, &["drained by an operator"]);
    assert_eq!(ask(&pair.primary, "is-master 10.0.0.10").1, 1);
    assert_eq!(ask(&pair.secondary, "is-master 10.0.0.10").1, 0);
    assert_eq!(ask(&pair.secondary, "is-master 10.0.0.77").1, 2);
}

#[test]
fn the_peer_is_frozen() {
    let Some(pair) = Pair::new("bro-stop") else { return };
    pair.start(&conf(150, ""), &conf(100, ""));
    says(&pair.primary, "is-master VI_1", &["VI_1 is MASTER"]);
    pair.primary.must("kill -STOP $(cat /run/unit-keepalived.pid)");
    says(&pair.secondary, "is-master VI_1", &["VI_1 is MASTER: no advert came from a master in time"]);
    let check = format!("check {CONF}");
    for verb in ["status", "explain", "doctor", "drain", "reload", &check] {
        let (text, code) = ask(&pair.primary, verb);
        assert!(text.contains("does not answer") && text.contains("which is stopped"), "{verb}: {text}");
        let wanted = match verb {
            "doctor" => 1,
            // There is nothing wrong with the file.
            verb if verb == check => 0,
            _ => 2,
        };
        assert_eq!(code, wanted, "{verb}: {text}");
    }
    pair.primary.must("kill -CONT $(cat /run/unit-keepalived.pid)");
    says(&pair.primary, "is-master VI_1", &["VI_1 is MASTER"]);
    // What it finds in its sockets is the past: there are not two masters, there was another one.
    let meanwhile = "10.0.0.12, priority 100, was MASTER while this daemon did not run";
    let history = says(&pair.primary, "history", &["Did not run for ", meanwhile]);
    assert!(!history.contains("two masters"), "{history}");
    says(&pair.primary, "explain", &["The daemon did not run for ", meanwhile]);
    says(&pair.primary, "status", &["The daemon did not run for "]);
    says(&pair.secondary, "status", &["BACKUP"]);
}

/// Adverts that name many addresses are longer than what the interface takes.
#[test]
fn the_interface_takes_no_datagram_of_that_length() {
    let Some(pair) = Pair::new("bro-mtu") else { return };
    let many: String = (1..=20).map(|n| format!("        10.0.1.{n}/32\n")).collect();
    let many =
        |priority| conf(priority, "").replace("        10.0.0.10/24\n", &format!("        10.0.0.10/24\n{many}"));
    pair.start(&many(150), &many(100));
    says(&pair.primary, "is-master VI_1", &["VI_1 is MASTER"]);
    pair.primary.must("ip link set eth0 mtu 80");
    all_four(&pair.primary, &["in FAULT: this machine does not let its adverts out: Message too long"]);
    for verb in ["explain", "doctor"] {
        says(&pair.primary, verb, &["raise the interface's MTU"]);
    }
    says(&pair.secondary, "is-master VI_1", &["VI_1 is MASTER"]);
}

#[test]
fn a_check_that_is_good_again_is_not_said_to_fail() {
    let Some(pair) = Pair::new("bro-rise") else { return };
    let script = "vrrp_script chk {\n    script /etc/keepalived/chk\n    interval 1\n    rise 500\n    init_fail\n}\n";
    let tracked = conf(150, "track_script {\n        chk\n    }");
    pair.primary.write("/etc/keepalived/chk", "#!/bin/sh\n", 0o755);
    pair.start(&tracked.replace("vrrp_instance", &format!("{script}vrrp_instance")), &conf(100, ""));
    says(&pair.primary, "doctor", &["the check chk counts as failed until it has been good `rise` times"]);
    assert!(!ask(&pair.primary, "doctor").0.contains("chk fails: exit code 0"));
}

#[test]
fn an_address_is_left_over() {
    let Some(pair) = Pair::new("bro-left") else { return };
    pair.start(&conf(150, ""), &conf(100, ""));
    says(&pair.primary, "is-master VI_1", &["VI_1 is MASTER"]);
    says(&pair.primary, "status", &["10.0.0.10/24", "held"]);
    // Where the daemon would not look for it.
    pair.secondary.must("ip address add 10.0.0.10/32 dev lo");
    all_four(&pair.secondary, &["10.0.0.10 here although BACKUP"]);
    says(&pair.secondary, "status --address 10.0.0.10", &["here although BACKUP (on lo)"]);
}

/// `process_name` is what `ps` shows, and nothing that the address of a MASTER would have to go for.
#[test]
fn a_daemon_of_another_name_is_one() {
    let Some(pair) = Pair::new("bro-name") else { return };
    let named = |priority| conf(priority, "").replace("global_defs {", "global_defs {\n    process_name balancer");
    pair.start(&named(150), &named(100));
    says(&pair.primary, "is-master VI_1", &["VI_1 is MASTER"]);
    says(&pair.primary, "status", &["10.0.0.10/24", "held"]);
    let (said, _) = ask(&pair.primary, "doctor");
    assert!(said.contains("the daemon (pid") && !said.contains("no daemon runs"), "{said}");
}

#[test]
fn an_interface_has_no_address_but_the_virtual_one() {
    let Some(pair) = Pair::new("bro-only") else { return };
    pair.primary.must("ip address flush dev eth0 && ip address add 10.0.0.10/24 dev eth0");
    pair.start(&conf(150, ""), &conf(100, ""));
    says(&pair.secondary, "is-master VI_1", &["VI_1 is MASTER"]);
    all_four(&pair.primary, &["the interface has no address to speak from"]);
    says(&pair.primary, "doctor", &["eth0 has no IPv4 address"]);
}

/// The kernel hands adverts in an authentication header to another socket, which the one with a password has not.
#[test]
fn two_masters_by_kind_of_authentication() {
    let Some(pair) = Pair::new("bro-ah") else { return };
    let auth = |kind: &str| format!("authentication {{\n        auth_type {kind}\n        auth_pass word\n    }}");
    pair.start(&conf(150, &auth("PASS")), &conf(100, &auth("AH")));
    says(&pair.primary, "doctor", &["10.0.0.12 speaks as MASTER too, and the daemon does not hear it: ", "both hold"]);
    says(
        &pair.secondary,
        "doctor",
        &["10.0.0.11 speaks as MASTER too, and the daemon does not hear it: ", "both hold"],
    );
    check_says(&pair, &["authentication-differs", "hold 10.0.0.10"]);
}

#[test]
fn one_speaks_to_its_peer_and_the_other_to_all() {
    let Some(pair) = Pair::new("bro-cast") else { return };
    pair.start(&conf(150, "unicast_peer {\n        10.0.0.12\n    }"), &conf(100, ""));
    all_four(&pair.secondary, &["adverts of 10.0.0.11 are refused: it is multicast where unicast is configured"]);
    says(
        &pair.primary,
        "doctor",
        &["10.0.0.12 speaks as MASTER too, and the daemon does not hear it: it is multicast"],
    );
}

/// No rule names VRRP: all that the other server sends is dropped.
#[test]
fn who_hears_nothing_is_told_who_speaks() {
    let Some(pair) = Pair::new("bro-deaf") else { return };
    pair.secondary.must("nft add table ip raw");
    pair.secondary.must("nft 'add chain ip raw y { type filter hook prerouting priority -300; }'");
    pair.secondary.must("nft add rule ip raw y ip saddr 10.0.0.11 drop");
    pair.start(&conf(150, ""), &conf(100, ""));
    says(
        &pair.secondary,
        "doctor",
        &["10.0.0.11 speaks as MASTER too, and the daemon does not hear it: something on this machine takes them away"],
    );
}

/// As on many a host of virtual machines, where eth0 has gone into a bridge and the configuration still names it.
#[test]
fn the_interface_is_a_port_of_a_bridge() {
    let Some(pair) = Pair::new("bro-port") else { return };
    pair.secondary.must("ip link add vmbr0 type bridge");
    pair.secondary.must("ip link set vmbr0 up");
    pair.secondary.must("ip link set eth0 master vmbr0");
    pair.start(&conf(150, ""), &conf(100, ""));
    says(
        &pair.secondary,
        "doctor",
        &[
            "interface eth0 is a port of vmbr0",
            "10.0.0.11 speaks as MASTER too, and the daemon does not hear it: what arrives on eth0 goes to vmbr0",
            "cure: `interface vmbr0`",
        ],
    );
}

/// A host that speaks no VRRP has the address as well: nothing but the network knows.
#[test]
fn a_host_without_vrrp_has_the_address_too() {
    let Some(pair) = Pair::new("bro-arp") else { return };
    pair.start(&conf(150, ""), &conf(100, ""));
    says(&pair.primary, "is-master VI_1", &["VI_1 is MASTER"]);
    says(&pair.secondary, "status", &["BACKUP"]);
    for machine in [&pair.primary, &pair.secondary] {
        let (said, _) = ask(machine, "doctor");
        assert!(!said.contains("answers for") && !said.contains("answer for"), "nobody else has it: {said}");
    }
    let host = pair.host("bro-arp-h", "10.0.0.13");
    host.must("ip address add 10.0.0.10/24 dev eth0");
    let mac = host.read("/sys/class/net/eth0/address");
    let here = format!("VI_1: 10.0.0.10 is here, and another machine answers for it too: {}", mac.trim());
    says(&pair.primary, "doctor", &[&here, "clients reach now one, now the other"]);
    says(&pair.secondary, "doctor", &["VI_1: 2 hardware addresses answer for 10.0.0.10: ", mac.trim()]);
    host.must("ip address del 10.0.0.10/24 dev eth0");
    for machine in [&pair.primary, &pair.secondary] {
        let (said, _) = ask(machine, "doctor");
        assert!(!said.contains("answers for") && !said.contains("answer for"), "{said}");
    }
}

#[test]
fn two_servers_own_the_address() {
    let Some(pair) = Pair::new("bro-own") else { return };
    pair.start(&conf(255, ""), &conf(255, ""));
    all_four(&pair.primary, &["10.0.0.12, which is master, has priority 255 too"]);
    check_says(&pair, &["255"]);
}

/// Somebody else's router with our number.
#[test]
fn a_stranger_has_our_number() {
    let Some(pair) = Pair::new("bro-third") else { return };
    let theirs = conf(200, "").replace("10.0.0.10/24", "10.0.0.77/24");
    pair.start(&conf(150, ""), &theirs);
    for (machine, other) in [(&pair.primary, "10.0.0.12"), (&pair.secondary, "10.0.0.11")] {
        all_four(machine, &[&format!("another installation uses VRID 51 with other addresses: {other} speaks for it")]);
        says(machine, "is-master VI_1", &["VI_1 is MASTER"]);
    }
    pair.secondary.must("ip address add 10.0.0.10/24 dev eth0");
    let here = "VI_1: 10.0.0.10 is here, and another machine answers for it too: 10.0.0.12 (";
    says(&pair.primary, "doctor", &[here, "10.0.0.12 belongs to another installation with this VRID"]);
}

#[test]
fn the_master_has_an_address_too_many() {
    let Some(pair) = Pair::new("bro-more") else { return };
    let theirs = conf(200, "").replace("10.0.0.10/24", "10.0.0.10/24\n        10.0.0.77/24");
    pair.start(&conf(150, ""), &theirs);
    all_four(&pair.primary, &["10.0.0.12, which is master, speaks for other addresses than are configured here"]);
    says(&pair.primary, "explain", &["if 10.0.0.12 is none of them, another virtual_router_id here"]);
}

#[test]
fn another_version_and_another_interval() {
    let Some(pair) = Pair::new("bro-int") else { return };
    pair.start(&conf(150, "advert_int 1"), &conf(100, "advert_int 2"));
    all_four(&pair.primary, &["adverts of 10.0.0.12 are refused: its advertisement interval is not ours"]);
    pair.secondary.write(CONF, &conf(100, "version 3"), 0o644);
    pair.secondary.systemctl("restart keepalived");
    all_four(&pair.primary, &["adverts of 10.0.0.12 are refused: it speaks another VRRP version"]);
}

/// Each takes the adverts of the other for its own, so that no daemon hears anything.
#[test]
fn two_servers_have_one_address_to_speak_from() {
    let Some(pair) = Pair::new("bro-same") else { return };
    pair.secondary.must("ip address flush dev eth0 && ip address add 10.0.0.11/24 dev eth0");
    pair.start(&conf(150, ""), &conf(100, ""));
    for machine in [&pair.primary, &pair.secondary] {
        says(machine, "is-master VI_1", &["VI_1 is MASTER"]);
        says(machine, "doctor", &["10.0.0.11, from which this server speaks, is on another machine as well: "]);
    }
}

/// The way back to the other server goes through another interface, and the kernel believes nobody who comes on this one.
#[test]
fn the_kernel_takes_adverts_for_forged() {
    let Some(pair) = Pair::new("bro-forged") else { return };
    pair.secondary.must("ip route add 10.0.0.11/32 dev lo");
    pair.secondary.must("sysctl -qw net.ipv4.conf.all.rp_filter=1");
    pair.start(&conf(150, ""), &conf(100, ""));
    says(
        &pair.secondary,
        "doctor",
        &[
            "on eth0 for forged, as the way to 10.0.0.11 goes through lo",
            "`ip route get 10.0.0.11` has to say dev eth0",
        ],
    );
}

/// A third server knows the others, and they do not know it.
#[test]
fn a_server_is_not_among_the_peers() {
    let Some(pair) = Pair::new("bro-peer") else { return };
    let unicast = |peer: &str| format!("unicast_peer {{\n        {peer}\n    }}");
    pair.start(&conf(150, &unicast("10.0.0.13")), &conf(100, &unicast("10.0.0.11")));
    all_four(&pair.primary, &["two masters: 10.0.0.12 speaks as MASTER too"]);
    for verb in ["explain", "doctor"] {
        says(&pair.primary, verb, &["10.0.0.12 is not in unicast_peer of VI_1 here", "add 10.0.0.12 to unicast_peer"]);
    }
    says(
        &pair.secondary,
        "doctor",
        &[
            "VI_1: 10.0.0.10 is here, and another machine answers for it too: 10.0.0.11 (",
            "10.0.0.12 has to be in its unicast_peer",
        ],
    );
}

/// What began as "has not reported yet" is what it is now.
#[test]
fn a_fault_is_said_as_it_is_now() {
    let Some(pair) = Pair::new("bro-now") else { return };
    let script = "vrrp_script chk {\n    script /bin/false\n    interval 1\n    fall 1\n}\n";
    let tracked = conf(150, "track_script {\n        chk\n    }");
    pair.start(&tracked.replace("vrrp_instance", &format!("{script}vrrp_instance")), &conf(100, ""));
    says(
        &pair.primary,
        "is-master VI_1",
        &["VI_1 is FAULT: tracked chk fails; it began with: chk has not reported yet"],
    );
    says(&pair.primary, "explain", &["why       tracked chk fails"]);
}

/// `vipctl check` is what several cures say; it needs no name of a file.
#[test]
fn the_file_of_the_daemon_is_checked_where_none_is_named() {
    let Some(pair) = Pair::new("bro-check") else { return };
    pair.start(&conf(150, ""), &conf(100, ""));
    let (said, code) = ask(&pair.primary, "check");
    assert!(code == 0 && said.contains(&format!("{CONF}: no mistakes")), "{code}: {said}");
}

/// The file is broken or gone: what the daemon says is said all the same.
#[test]
fn the_daemon_is_asked_although_its_file_cannot_be_used() {
    let Some(pair) = Pair::new("bro-file") else { return };
    pair.start(&conf(150, ""), &conf(100, ""));
    says(&pair.secondary, "status", &["BACKUP"]);
    pair.secondary.must("ip address add 10.0.0.10/32 dev lo");
    let left = "10.0.0.10 here although BACKUP";
    says(&pair.secondary, "doctor", &[left]);
    pair.secondary.write(CONF, "vrrp_instance VI_1 {", 0o644);
    says(&pair.secondary, "doctor", &[left, "the daemon would not start with it"]);
    pair.secondary.must(&format!("rm {CONF}"));
    let said = says(&pair.secondary, "doctor", &[left, &format!("{CONF}: No such file or directory")]);
    assert!(!said.contains("os error"), "{said}");
}

/// One sends from its VMAC and the other listens below a VMAC with the same hardware address: it hears nothing, with keepalived
/// as well.
#[test]
fn one_speaks_through_its_vmac_and_the_other_listens_below() {
    let Some(pair) = Pair::new("bro-xmit") else { return };
    pair.start(&conf(150, "use_vmac"), &conf(100, "use_vmac\n    vmac_xmit_base"));
    says(
        &pair.secondary,
        "doctor",
        &[
            "10.0.0.11 speaks as MASTER too",
            "from the hardware address of vrrp.51 here",
            "vmac_xmit_base on all servers or on none",
        ],
    );
    check_says(&pair, &["xmit-base-differs", "hold 10.0.0.10"]);
}

/// The address of a peer is mistyped on both.
#[test]
fn nobody_has_the_address_of_a_peer() {
    let Some(pair) = Pair::new("bro-absent") else { return };
    let unicast = |peer: &str| format!("unicast_peer {{\n        {peer}\n    }}");
    pair.start(&conf(150, &unicast("10.0.0.21")), &conf(100, &unicast("10.0.0.22")));
    let absent = |peer: &str| format!("VI_1: no machine on eth0 has {peer}, which is in its unicast_peer");
    says(&pair.primary, "doctor", &[&absent("10.0.0.21")]);
    says(&pair.secondary, "doctor", &[&absent("10.0.0.22")]);
}

/// The names of two interfaces were crossed on one server.
#[test]
fn the_address_belongs_to_the_network_of_another_interface() {
    let Some(pair) = Pair::new("bro-cross") else { return };
    pair.secondary.must("ip link add eth1 type veth peer name eth2 && ip link set eth1 up && ip link set eth2 up");
    pair.secondary.must("ip address add 10.9.0.12/24 dev eth1");
    pair.start(&conf(150, ""), &conf(100, "").replace("eth0", "eth1"));
    says(
        &pair.secondary,
        "doctor",
        &["VI_1: 10.0.0.10 comes to eth1, and its network is on eth0 (10.0.0.12/24)", "is `interface eth1` right"],
    );
    check_says(&pair, &["interface-differs"]);
    let said = says(&pair.primary, "doctor", &["VI_1: 10.0.0.10 is here, and another machine answers for it too"]);
    assert!(!said.contains("its network is on"), "{said}");
}
