//! Virtual servers: what of a machine keeps connections from being balanced.

use super::Complaint;
use super::complaints;
use super::live::{CONF, with_machine};
use super::machine::Machine;
use super::mounted::spec;
use std::net::IpAddr;
use vipd::cli::doctor::{Ran, Weight, examine};

/// A director, `kind` of forwarding.
fn conf(kind: &str) -> String {
    format!(
        "vrrp_instance VI_1 {{\n    interface eth0\n    virtual_router_id 51\n    priority 100\n    virtual_ipaddress {{\n        \
         10.0.0.10/24\n    }}\n}}\nvirtual_server 10.0.0.10 80 {{\n    lb_algo rr\n    lb_kind {kind}\n    protocol TCP\n    \
         real_server 10.0.0.21 80 {{\n        TCP_CHECK {{\n        }}\n    }}\n}}\n"
    )
}

fn of_check(machine: &Machine, check: &str) -> Vec<Complaint> {
    let ran = machine.run(&format!("{} doctor --json", env!("CARGO_BIN_EXE_vipctl")));
    let all = complaints(&String::from_utf8_lossy(&ran.stdout), false);
    // Whether this kernel has IPVS is another question.
    assert!(all.iter().all(|found| found.check == check || found.check == "module"), "{all:#?}");
    all.into_iter().filter(|found| found.check == check).collect()
}

fn cured(machine: &Machine, check: &str, what: &str) {
    let seen = of_check(machine, check);
    assert!(seen.len() == 1 && seen[0].what.contains(what), "{seen:#?}");
    machine.must(&seen[0].cure);
    assert!(of_check(machine, check).is_empty());
}

#[test]
fn answers_that_are_not_forwarded() {
    with_machine("doc-forward", &conf("NAT"), |m| {
        m.must("sysctl -w net.ipv4.ip_forward=0");
        cured(m, "forwarding", "net.ipv4.ip_forward is 0");
        // Without NAT the real servers answer the clients themselves.
        m.must("sysctl -w net.ipv4.ip_forward=0");
        m.write(CONF, &conf("DR"), 0o644);
        assert!(of_check(m, "forwarding").is_empty());
    });
}

#[test]
fn a_real_server_that_speaks_arp_for_the_virtual_address() {
    with_machine("doc-lo", &conf("DR"), |m| {
        m.must("ip address add 10.0.0.10/32 dev lo");
        m.must("sysctl -w net.ipv4.conf.all.arp_ignore=0 net.ipv4.conf.all.arp_announce=0");
        m.must("sysctl -w net.ipv4.conf.eth0.arp_ignore=1 net.ipv4.conf.eth0.arp_announce=0");
        cured(m, "arp", "10.0.0.10 is on the loopback, and this machine speaks ARP for it on eth0");
    });
}

/// What a test must not do to the kernel it runs on.
struct Made {
    files: Vec<(&'static str, &'static str)>,
    rules: &'static str,
}

/// Stands for the rules of an nft that was built without JSON.
const NO_JSON: &str = "no JSON";

impl vipd::cli::doctor::Machine for Made {
    fn read(&self, path: &str) -> Option<String> {
        self.files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned())
    }
    fn exists(&self, path: &str) -> bool {
        self.read(path).is_some()
    }
    fn list(&self, path: &str) -> Vec<String> {
        if path == "/sys/class/net" { vec!["eth0".into()] } else { Vec::new() }
    }
    fn run(&self, argv: &[&str]) -> Option<Ran> {
        (argv == ["nft", "-j", "list", "ruleset"]).then(|| match self.rules {
            NO_JSON => Ran { ok: false, stderr: "JSON support not compiled-in\n".into(), ..Ran::default() },
            rules => Ran { ok: true, stdout: rules.to_owned(), ..Ran::default() },
        })
    }
    fn addresses(&self) -> Vec<(String, IpAddr)> {
        Vec::new()
    }
    fn clock_synchronised(&self) -> Option<bool> {
        None
    }
    fn kernel(&self) -> String {
        "6.1.0".into()
    }
}

fn found(kind: &str, machine: &Made, check: &str) -> Vec<(Weight, String, String)> {
    let all = examine(&spec(&conf(kind)), machine);
    let of = all.into_iter().filter(|f| f.check == check && f.weight > Weight::Note);
    of.map(|f| (f.weight, f.what, f.cure.unwrap_or_default())).collect()
}

#[test]
fn a_firewall_that_looks_at_connections_beside_nat() {
    let rules = r#"{"nftables":[{"chain":{"family":"inet","table":"f","name":"forward","type":"filter","hook":"forward","policy":"accept"}},
        {"rule":{"family":"inet","table":"f","chain":"forward","expr":[{"match":{"op":"in","left":{"ct":{"key":"state"}},
        "right":"established"}},{"accept":null}]}}]}"#;
    let with = |conntrack, rules| Made { files: vec![("/proc/sys/net/ipv4/vs/conntrack", conntrack)], rules };
    let seen = found("NAT", &with("0\n", rules), "conntrack");
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen[0].1.contains("ct state established accept"), "{seen:?}");
    assert!(seen[0].2.starts_with("sysctl -w net.ipv4.vs.conntrack=1 "), "{seen:?}");
    assert!(found("NAT", &with("1\n", rules), "conntrack").is_empty());
    assert!(found("NAT", &with("0\n", r#"{"nftables":[]}"#), "conntrack").is_empty());
    // Masquerading by iptables-nft, of which nft says the extension's name only.
    let seen = found("NAT", &with("0\n", include_str!("../golden/nft/iptables.json")), "conntrack");
    assert!(seen.len() == 1 && seen[0].1.contains("xt"), "{seen:?}");
    assert!(found("DR", &with("0\n", rules), "conntrack").is_empty());
}

/// An nft without JSON: said once, with a cure, and everything else is looked at all the same.
#[test]
fn an_nft_without_json_is_named_once() {
    let machine = Made { files: vec![("/proc/sys/net/ipv4/vs/conntrack", "0\n")], rules: NO_JSON };
    let all = examine(&spec(&conf("NAT")), &machine);
    let about: Vec<_> = all.iter().filter(|f| f.what.contains("does not speak JSON")).collect();
    assert!(about.len() == 1 && about[0].weight == Weight::Note, "{about:?}");
    assert!(about[0].cure.as_ref().unwrap().contains("nft -V"), "{about:?}");
    assert!(all.iter().any(|f| f.check != "firewall"), "{all:?}");
}

#[test]
fn a_kernel_without_ipvs_or_without_the_scheduler() {
    let with = |modules| Made { files: vec![("/lib/modules/6.1.0/modules.dep", modules)], rules: "" };
    let both = "kernel/net/netfilter/ipvs/ip_vs.ko: x\nkernel/net/netfilter/ipvs/ip_vs_rr.ko: x\n";
    assert!(found("DR", &with(both), "module").is_empty());
    let seen = found("DR", &with("kernel/net/netfilter/ipvs/ip_vs.ko.xz: x\n"), "module");
    assert!(seen.len() == 1 && seen[0].1 == "lb_algo rr needs the kernel module ip_vs_rr", "{seen:?}");
    assert!(seen[0].2.starts_with("modprobe ip_vs_rr"), "{seen:?}");
    let seen = found("DR", &with("kernel/net/ipv4/tcp_cubic.ko: x\n"), "module");
    assert!(seen.iter().any(|(_, what, _)| what == "virtual_server needs the kernel module ip_vs"), "{seen:?}");
}

#[test]
fn connections_to_a_server_that_is_gone() {
    let with = |setting| Made { files: vec![("/proc/sys/net/ipv4/vs/expire_nodest_conn", setting)], rules: "" };
    let seen = |conf: &str, setting| {
        let all = examine(&spec(conf), &with(setting));
        all.into_iter().filter(|f| f.check == "gone servers").collect::<Vec<_>>()
    };
    let noted = seen(&conf("NAT"), "0\n");
    assert!(noted.len() == 1 && noted[0].weight == Weight::Note && noted[0].what.contains("10.0.0.10:80"), "{noted:?}");
    assert!(noted[0].cure.as_ref().unwrap().starts_with("sysctl -w net.ipv4.vs.expire_nodest_conn=1 "));
    assert!(seen(&conf("NAT"), "1\n").is_empty());
    // One that stays with weight 0 keeps its connections, and so does one that nobody checks.
    assert!(
        seen(&conf("NAT").replace("TCP_CHECK {\n        }", "inhibit_on_failure\n TCP_CHECK {\n        }"), "0\n")
            .is_empty()
    );
    assert!(seen(&conf("NAT").replace("TCP_CHECK {\n        }\n", ""), "0\n").is_empty());
}
