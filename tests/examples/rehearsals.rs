//! What the READMEs of the examples tell to type: `vipctl lab`, `vipctl check`, `vipctl fmt`.

use super::readme::Readme;
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
    ("bfd-to-the-router", &["balancer-a.conf", "balancer-b.conf"]),
    ("kubernetes-api", &["cp1.conf", "cp2.conf"]),
    ("gateway-conntrackd", &["gw1.conf", "gw2.conf"]),
];

fn files(example: &str, servers: &[&str]) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf-examples").join(example);
    servers.iter().map(|server| directory.join(server)).collect()
}

fn vipctl() -> Command {
    Command::new(env!("CARGO_BIN_EXE_vipctl"))
}

/// Plays every `vipctl lab` line of a README: the first server has the address, another one takes it over, the first
/// one gets it back. A gateway that stands still is everybody's loss, and moves nothing.
pub fn rehearse(example: &str) {
    let readme = Readme::of(example);
    let lines = readme.rehearsals();
    assert!(!lines.is_empty(), "{example}: the README says no rehearsal");
    let (_, servers) = EXAMPLES.iter().find(|(name, _)| *name == example).unwrap();
    let stem = |path: &str| {
        let plain = path.trim_end_matches("/keepalived.conf").trim_end_matches(".conf");
        plain.rsplit('/').next().unwrap().to_owned()
    };
    let (readme, stem) = (&readme, &stem);
    std::thread::scope(|scope| {
        for line in &lines {
            scope.spawn(move || {
                let mut lab = vipctl();
                lab.current_dir(&readme.directory);
                lab.args(["lab", "--json", "--daemon", env!("CARGO_BIN_EXE_vipd")]).args(line);
                let output = lab.output().unwrap();
                let text = String::from_utf8_lossy(&output.stdout);
                let last: Value = text.lines().last().and_then(|l| serde_json::from_str(l).ok()).unwrap_or_default();
                let verdict = &last["verdict"];
                let errors = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success() && verdict["ok"] == true, "{example}: {line:?}:\n{text}\n{errors}");
                let holder = |step: &str| verdict[step]["holder"].as_str().unwrap_or("nobody").to_owned();
                let seen = ["start", "takeover", "recovery"].map(holder);
                let heir = if line.iter().any(|word| *word == "frozen") { servers[0] } else { servers[1] };
                assert_eq!(seen, [stem(servers[0]), stem(heir), stem(servers[0])], "{example}: {line:?}");
            });
        }
    });
}

#[test]
fn configurations_have_no_mistakes_and_fit_together() {
    for (example, servers) in EXAMPLES {
        let paths = files(example, servers);
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
    let paths = files("nginx-pair", &["primary.conf", "secondary.conf"]);
    let other = std::env::temp_dir().join(format!("vipd-examples-{}.conf", std::process::id()));
    let text = std::fs::read_to_string(&paths[1]).unwrap().replace("virtual_router_id 51", "virtual_router_id 52");
    std::fs::write(&other, text).unwrap();
    let output = vipctl().arg("check").arg(&paths[0]).arg(&other).output().unwrap();
    std::fs::remove_file(&other).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("[vrid-differs]"));
}
