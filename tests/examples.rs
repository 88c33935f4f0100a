//! The examples of conf-examples/, rehearsed by `vipctl lab` with the real daemon and the real programs: the address
//! answers, the master fails, the right server takes over, the master returns. And their configurations have no mistakes
//! and fit together.
//!
//! Without root the rehearsals are skipped and say so; with VIPD_REQUIRE_NETNS=1 a skipped one is a failed one.

#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The servers of every example, the one that is to be master first.
const EXAMPLES: &[(&str, &[&str])] = &[
    ("nginx-pair", &["primary.conf", "secondary.conf"]),
    ("haproxy-nginx-three-hosts", &["host1/keepalived.conf", "host2/keepalived.conf", "host3/keepalived.conf"]),
    ("curator-load-balancers", &["lb1.conf", "lb2.conf"]),
    ("curator-load-balancers", &["ipvs/lb1.conf", "ipvs/lb2.conf"]),
    ("master-spare-daemon", &["primary.conf", "spare.conf"]),
    ("unicast-cloud", &["cloud-a.conf", "cloud-b.conf"]),
];

fn files(example: &str) -> Vec<PathBuf> {
    let (name, servers) = EXAMPLES.iter().find(|(name, _)| *name == example).unwrap();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf-examples").join(name);
    servers.iter().map(|server| directory.join(server)).collect()
}

fn vipctl() -> Command {
    Command::new(env!("CARGO_BIN_EXE_vipctl"))
}

/// The programs that a rehearsal needs are there; a reason to skip it otherwise.
fn missing(programs: &[&str]) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("not root".into());
    }
    let there =
        |name: &&&str| ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|d| Path::new(d).join(name).is_file());
    let absent: Vec<&&str> = programs.iter().filter(|p| !there(p)).collect();
    (!absent.is_empty()).then(|| format!("not installed: {absent:?}"))
}

/// Runs a rehearsal; its verdict, or `None` when it is skipped.
fn rehearse(example: &str, fail: &str, programs: &[&str]) -> Option<Value> {
    if let Some(why) = missing(programs) {
        assert!(std::env::var_os("VIPD_REQUIRE_NETNS").is_none(), "{example}, {fail}: {why}");
        eprintln!("skipped: {example}, {fail}: {why}");
        return None;
    }
    let mut lab = vipctl();
    lab.args(["lab", "--json", "--fail", fail, "--daemon", env!("CARGO_BIN_EXE_vipd")]).args(files(example));
    let output = lab.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let last: Value = text.lines().last().and_then(|l| serde_json::from_str(l).ok()).unwrap_or_default();
    let verdict = last["verdict"].clone();
    assert!(
        output.status.success() && verdict["ok"] == true,
        "{example}, {fail}:\n{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    println!(
        "{example}, {fail}: {} took over, no answer for {} s",
        verdict["takeover"]["holder"], verdict["takeover"]["longest_silence_seconds"]
    );
    Some(verdict)
}

/// The address was on `first`, went to `second` and came back.
fn moves(example: &str, fail: &str, programs: &[&str], first: &str, second: &str) {
    let Some(verdict) = rehearse(example, fail, programs) else { return };
    let holders = ["start", "takeover", "recovery"].map(|step| verdict[step]["holder"].as_str().unwrap().to_owned());
    assert_eq!(holders, [first, second, first]);
}

#[test]
fn configurations_have_no_mistakes_and_fit_together() {
    for (example, servers) in EXAMPLES {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf-examples").join(example);
        let paths: Vec<PathBuf> = servers.iter().map(|server| directory.join(server)).collect();
        let output = vipctl().args(["check", "--strict"]).args(&paths).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{example}: {text}");
        assert!(text.contains("fit together") && text.contains("What will happen"), "{example}: {text}");
        let format = vipctl().args(["fmt", "--check"]).args(&paths).output().unwrap();
        assert!(format.status.success(), "{example}: {}", String::from_utf8_lossy(&format.stderr));
    }
}

/// The check can fail: another VRID on one side is found.
#[test]
fn a_difference_between_servers_is_found() {
    let paths = files("nginx-pair");
    let other = std::env::temp_dir().join(format!("vipd-examples-{}.conf", std::process::id()));
    let text = std::fs::read_to_string(&paths[1]).unwrap().replace("virtual_router_id 51", "virtual_router_id 52");
    std::fs::write(&other, text).unwrap();
    let output = vipctl().arg("check").arg(&paths[0]).arg(&other).output().unwrap();
    std::fs::remove_file(&other).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("[vrid-differs]"));
}

#[test]
fn nginx_pair_power_lost() {
    moves("nginx-pair", "crash", &[], "primary", "secondary");
}

#[test]
fn nginx_pair_daemon_killed() {
    moves("nginx-pair", "kill", &[], "primary", "secondary");
}

#[test]
fn nginx_pair_daemon_stopped() {
    moves("nginx-pair", "stop", &[], "primary", "secondary");
}

#[test]
fn nginx_pair_cable_pulled() {
    moves("nginx-pair", "link", &[], "primary", "secondary");
}

#[test]
fn nginx_pair_nginx_stopped() {
    moves("nginx-pair", "script:chk_nginx", &[], "primary", "secondary");
}

#[test]
fn three_hosts_haproxy_check_fails() {
    moves("haproxy-nginx-three-hosts", "script:chk_haproxy", &["nginx", "haproxy"], "host1", "host2");
}

#[test]
fn load_balancers_check_fails() {
    moves("curator-load-balancers", "script:chk_balancer", &["nginx", "curl", "openssl"], "lb1", "lb2");
}

#[test]
fn spare_daemon_power_lost() {
    moves("master-spare-daemon", "crash", &["nginx"], "primary", "spare");
}

#[test]
fn cloud_daemon_stopped() {
    moves("unicast-cloud", "stop", &["nginx"], "cloud-a", "cloud-b");
}
