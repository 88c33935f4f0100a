//! Faults made on a machine of namespaces, and cured by what doctor prints.

use super::Complaint;
use super::complaints;
use super::machine::{Machine, Switch};

const PLAIN: &str = "vrrp_instance VI_1 {\n    interface eth0\n    virtual_router_id 51\n    priority 100\n    \
                     virtual_ipaddress {\n        10.0.0.10/24\n    }\n}\n";
pub const CONF: &str = "/etc/keepalived/keepalived.conf";

pub fn with_machine(name: &str, conf: &str, test: impl Fn(&Machine)) {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("VIPD_REQUIRE_NETNS").is_none(), "{name}: not root");
        eprintln!("skipped: {name}: not root");
        return;
    }
    let switch = Switch::new(name);
    let machine = switch.server(name, "10.0.0.11", None);
    machine.write(CONF, conf, 0o644);
    test(&machine);
}

fn doctor(machine: &Machine) -> Vec<Complaint> {
    let ran = machine.run(&format!("{} doctor --json", env!("CARGO_BIN_EXE_vipctl")));
    complaints(&String::from_utf8_lossy(&ran.stdout), false)
}

/// The fault is seen and nothing else is; its cure, typed, leaves nothing.
fn cured(machine: &Machine, check: &str, what: &str) {
    let seen = doctor(machine);
    assert!(!seen.is_empty() && seen.iter().all(|c| c.check == check), "{check} alone is expected: {seen:#?}");
    assert!(seen[0].what.contains(what), "{seen:#?}");
    for complaint in &seen {
        machine.must(&complaint.cure);
    }
    // The kernel tells of a carrier in its own time.
    let (begun, mut left) = (std::time::Instant::now(), doctor(machine));
    while !left.is_empty() && begun.elapsed().as_secs() < 60 {
        std::thread::sleep(std::time::Duration::from_millis(100));
        left = doctor(machine);
    }
    assert!(left.is_empty(), "after {:?}: {left:#?}", seen[0].cure);
    let text = machine.vipctl("doctor");
    assert!(text.contains("Nothing stands in the way of a failover."), "{text}");
}

#[test]
fn a_firewall_that_drops_what_it_does_not_know() {
    with_machine("doc-policy", PLAIN, |m| {
        assert!(doctor(m).is_empty());
        m.must("nft add table inet filter");
        m.must("nft 'add chain inet filter input { type filter hook input priority 0; policy drop; }'");
        m.must("nft add rule inet filter input tcp dport 22 accept");
        cured(m, "firewall", "no rule accepts VRRP");
    });
}

#[test]
fn a_firewall_that_drops_the_protocol_or_the_group() {
    with_machine("doc-drop", PLAIN, |m| {
        m.must("nft add table ip filter");
        m.must("nft 'add chain ip filter INPUT { type filter hook input priority 0; }'");
        m.must("nft 'add chain ip filter OUTPUT { type filter hook output priority 0; }'");
        m.must("nft add rule ip filter INPUT ip protocol 112 drop");
        cured(m, "firewall", "VRRP is dropped");
        m.must("nft flush chain ip filter INPUT");
        m.must("nft add rule ip filter OUTPUT ip daddr 224.0.0.18 drop");
        cured(m, "firewall", "OUTPUT: VRRP is dropped");
    });
}

/// As ufw and firewalld lay their rules out: what accepts is in a chain that is jumped to.
#[test]
fn a_firewall_with_chains_in_chains() {
    with_machine("doc-chains", PLAIN, |m| {
        m.must("nft add table inet zones");
        m.must("nft add chain inet zones allowed");
        m.must("nft 'add chain inet zones input { type filter hook input priority 0; policy drop; }'");
        m.must("nft add rule inet zones input ct state established accept");
        m.must("nft add rule inet zones input iifname eth0 jump allowed");
        m.must("nft add rule inet zones allowed tcp dport 22 accept");
        cured(m, "firewall", "no rule accepts VRRP");
        m.must("nft flush chain inet zones input");
        m.must("nft add rule inet zones input iifname eth0 jump allowed");
        m.must("nft add rule inet zones allowed meta l4proto 112 accept");
        assert!(doctor(m).is_empty());
        m.must("nft flush chain inet zones allowed");
        m.must("nft add rule inet zones input iifname eth0 accept");
        assert!(doctor(m).is_empty(), "everything on the interface is accepted");
    });
}

#[test]
fn settings_that_hinder_a_vmac() {
    let conf = PLAIN.replace("priority 100\n", "priority 100\n    use_vmac\n");
    with_machine("doc-vmac", &conf, |m| {
        m.must(
            "sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=1 net.ipv4.conf.eth0.arp_ignore=1",
        );
        cured(m, "rp_filter", "strict reverse path filter");
        m.must("sysctl -w net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.eth0.rp_filter=0");
        cured(m, "rp_filter", "strict reverse path filter");
        m.must("sysctl -w net.ipv4.conf.all.arp_ignore=0 net.ipv4.conf.eth0.arp_ignore=0");
        cured(m, "arp", "may answer ARP requests");
    });
}

/// The fault is real: haproxy does not start before the cure, and does after it.
#[test]
fn a_service_on_an_address_that_is_elsewhere() {
    with_machine("doc-bind", PLAIN, |m| {
        let conf = "defaults\n    mode http\n    timeout connect 1s\n    timeout client 1s\n    timeout server 1s\n\
                    frontend f\n    bind 10.0.0.10:80\n    http-request return status 200\n";
        m.write("/etc/haproxy/haproxy.cfg", conf, 0o644);
        let starts = || {
            // Until it listens on port 80, or has ended.
            let line = "haproxy -db -f /etc/haproxy/haproxy.cfg & it=$!
                        for _ in $(seq 1800); do
                            grep -qi ':0050 [^ ]* 0A' /proc/net/tcp && { kill $it; exit 0; }
                            kill -0 $it 2>/dev/null || exit 1
                            sleep 0.05
                        done
                        kill $it; exit 2";
            m.run(line).status.success()
        };
        let installed = m.run("command -v haproxy").status.success();
        assert!(!installed || !starts());
        cured(m, "nonlocal-bind", "haproxy.cfg listens on 10.0.0.10");
        assert!(!installed || starts());
    });
}

#[test]
fn a_script_that_others_could_change() {
    let conf = format!(
        "global_defs {{\n    enable_script_security\n    script_user root\n}}\n\
         vrrp_script chk {{\n    script \"/etc/keepalived/checks/chk\"\n}}\n{}",
        PLAIN.replace("priority 100\n", "priority 100\n    track_script {\n        chk\n    }\n")
    );
    with_machine("doc-script", &conf, |m| {
        m.write("/etc/keepalived/checks/chk", "#!/bin/sh\n", 0o755);
        assert!(doctor(m).is_empty(), "{:#?}", doctor(m));
        let security = |fault: &str, what: &str| {
            m.must(fault);
            let seen = doctor(m);
            // The configuration has an error as well, which is the same one.
            let finding = seen.iter().find(|c| c.check == "script-security").unwrap_or_else(|| panic!("{seen:#?}"));
            assert!(finding.what.contains(what), "{finding:#?}");
            m.must(&finding.cure);
            assert!(doctor(m).is_empty(), "after {}: {:#?}", finding.cure, doctor(m));
        };
        security("chmod 777 /etc/keepalived/checks/chk", "can be written by others");
        security("chmod 777 /etc/keepalived/checks", "`/etc/keepalived/checks` can be written by others");
        security("chown nobody /etc/keepalived/checks/chk", "belongs to uid");
        security("chmod 644 /etc/keepalived/checks/chk", "cannot be executed by uid 0");
    });
}

/// Most files from the field have no script security, and their scripts run: a problem that is none hides those that are.
#[test]
fn a_script_without_script_security_runs() {
    let script = "vrrp_script chk {\n    script \"/etc/keepalived/chk\"\n}\n";
    let conf = format!(
        "{script}{}",
        PLAIN.replace("priority 100\n", "priority 100\n    track_script {\n        chk\n    }\n")
    );
    with_machine("doc-open", &conf, |m| {
        m.write("/etc/keepalived/chk", "#!/bin/sh\n", 0o755);
        let seen = doctor(m);
        let finding = seen.iter().find(|c| c.check == "script-security").unwrap_or_else(|| panic!("{seen:#?}"));
        assert!(finding.why.contains("they run"), "{finding:#?}");
        assert!(seen.iter().all(|c| c.weight != "problem"), "{seen:#?}");
    });
}

/// `nsenter -n` and some containers leave the sysfs of another network namespace, or none.
#[test]
fn interfaces_are_asked_of_the_kernel() {
    with_machine("doc-sysfs", PLAIN, |m| {
        m.must("mount -t tmpfs none /sys");
        let seen = doctor(m);
        assert!(seen.iter().all(|c| c.check != "interface" && c.check != "own-address"), "{seen:#?}");
        m.must("ip link set eth0 down");
        let seen = doctor(m);
        assert!(seen.iter().any(|c| c.what.contains("interface eth0 is down")), "{seen:#?}");
    });
}

#[test]
fn an_interface_that_is_called_otherwise_or_is_down() {
    with_machine("doc-link", &PLAIN.replace("eth0", "eth1"), |m| {
        let seen = doctor(m);
        let finding = seen.iter().find(|c| c.check == "interface").unwrap_or_else(|| panic!("{seen:#?}"));
        assert!(finding.what.contains("interface eth1 does not exist"), "{finding:#?}");
        assert!(finding.cure.contains("there is eth0"), "{finding:#?}");
        m.write(CONF, PLAIN, 0o644);
        assert!(doctor(m).is_empty());
        m.must("ip link set eth0 down");
        cured(m, "interface", "eth0 is down");
    });
}

#[test]
fn an_address_that_somebody_else_has_set() {
    with_machine("doc-address", PLAIN, |m| {
        m.must("ip address add 10.0.0.10/24 dev eth0");
        let seen = doctor(m);
        assert_eq!(seen.len(), 1, "{seen:#?}");
        assert!(seen[0].check == "address" && seen[0].what.contains("10.0.0.10 is on eth0"), "{seen:#?}");
        // The cure is a sentence and a command.
        m.must(seen[0].cure.split("; ").nth(1).unwrap());
        assert!(doctor(m).is_empty());
    });
}

/// BFD has its own ports, and a program that speaks it here has them.
#[test]
fn a_firewall_that_drops_bfd() {
    let conf = format!("bfd_instance P {{\n    neighbor_ip 10.0.0.2\n}}\n{PLAIN}");
    with_machine("doc-bfd", &conf, |m| {
        m.must("nft add table inet f");
        m.must("nft 'add chain inet f input { type filter hook input priority 0; policy drop; }'");
        m.must("nft add rule inet f input meta l4proto 112 accept");
        cured(m, "firewall", "no rule accepts BFD (UDP port 3784)");
        m.must("nft flush chain inet f input");
        m.must("nft add rule inet f input meta l4proto 112 accept");
        m.must("nft add chain inet f datagrams");
        m.must("nft add rule inet f input meta l4proto udp jump datagrams");
        m.must("nft add rule inet f datagrams udp dport 3784 accept");
        assert!(doctor(m).is_empty());
        m.must("nft flush chain inet f datagrams");
        m.must("nft add rule inet f datagrams udp dport 3784 drop");
        cured(m, "firewall", "BFD (UDP port 3784) is dropped");
    });
}

/// FRR's own bfdd. One that runs in another network, as in a container, has no port here.
#[test]
fn a_bfdd_that_has_the_port() {
    if !std::path::Path::new("/usr/lib/frr/bfdd").exists() {
        assert!(std::env::var_os("VIPD_REQUIRE_NETNS").is_none(), "needs FRR's bfdd");
        eprintln!("skipped: needs FRR's bfdd");
        return;
    }
    let conf = format!("bfd_instance P {{\n    neighbor_ip 10.0.0.2\n}}\n{PLAIN}");
    with_machine("doc-bfdd", &conf, |m| {
        let begin = |before: &str| {
            m.must("mkdir -p /run/frr; chown frr:frr /run/frr");
            m.must(&format!("{before} /usr/lib/frr/bfdd -d -i /run/frr/bfdd.pid >/dev/null 2>&1 </dev/null"));
            m.must("for _ in $(seq 600); do [ -s /run/frr/bfdd.pid ] && exit; sleep 0.05; done; exit 1");
        };
        let end =
            "kill $(cat /run/frr/bfdd.pid); while pidof bfdd >/dev/null; do sleep 0.05; done; rm -f /run/frr/bfdd.pid";
        begin("unshare -n");
        assert!(doctor(m).is_empty(), "{:#?}", doctor(m));
        m.must(end);
        begin("");
        let seen = doctor(m);
        assert!(seen.len() == 1 && seen[0].check == "bfd", "{seen:#?}");
        let pid = m.read("/run/frr/bfdd.pid").trim().to_owned();
        assert_eq!(seen[0].what, format!("bfdd (pid {pid}) has UDP port 3784, which BFD sessions need"));
        assert!(seen[0].cure.starts_with("stop bfdd's BFD"), "{seen:#?}");
        m.must(end);
        assert!(doctor(m).is_empty(), "{:#?}", doctor(m));
    });
}
