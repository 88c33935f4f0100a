//! `keepalived.data` of a dozen configurations, line by line against what keepalived 2.4.3 wrote for them.
//!
//! `dumps/NAME.data` are captures of the real one in a namespace like the test's (eth0 and far, a veth pair, `-P`). Lines
//! that name a moment or a number of the machine lose their value; lines that vipd leaves out on purpose are listed in
//! [`LEFT_OUT`] with the reason.

use super::ground::{Daemon, Ground, PATIENCE, ip, ready};
use std::path::Path;

/// Labels whose value is of the moment or of the machine.
const MOMENTARY: [&str; 11] = [
    "Master down timer =",
    "Smtp HELO name =",
    "Last transition =",
    "Read timeout =",
    "Last advert sent =",
    "fd_in",
    "IPv6 address =",
    "index =",
    "Multicast address ff",
    "Using src_ip = fe80",
    "Address = fe80",
];

/// Labels of keepalived's that vipd does not write, and why.
const LEFT_OUT: [(&str, &str); 16] = [
    ("Fork delay timer", "not in the snapshot"),
    ("Terminate delay timer", "not in the snapshot"),
    ("libnftnl version", "that library is not used"),
    ("GARP next time", "announcements are planned by the engine, not by a group"),
    ("GNA next time", "as above"),
    ("Group =", "the group of an interface is not read"),
    ("Original arp_ignore", "what sysctls were before is the kernel thread's business"),
    ("Original arp_filter", "as above"),
    ("rp_filter", "as above"),
    ("Original promote_secondaries", "as above"),
    ("Reset promote_secondaries", "as above"),
    ("Not IPv6 forwarding", "asked at every announcement"),
    ("IPv6 forwarding", "as above"),
    ("Roger timer thread", "the address of a thread's memory"),
    ("No reload scheduled", "the file is looked at every second, not once"),
    ("iproute", "a path of the build"),
];

fn comparable(text: &str) -> Vec<String> {
    let kept = text.lines().filter(|line| LEFT_OUT.iter().all(|(label, _)| !line.trim_start().starts_with(label)));
    kept.map(|line| match MOMENTARY.iter().find(|label| line.trim_start().starts_with(**label)) {
        // A socket is open or it is not; its number is nobody's business.
        Some(label) if *label == "fd_in" => {
            let indent = line.len() - line.trim_start().len();
            format!("{:indent$}fd_in {}", "", if line.contains("-1") { "none" } else { "open" })
        }
        Some(label) => line.split(label).next().unwrap().to_owned() + label,
        None => line.to_owned(),
    })
    .collect()
}

/// A line that is only in one of both, with a mark, in the order of the files.
fn difference(theirs: &[String], ours: &[String]) -> Vec<String> {
    let (n, m) = (theirs.len(), ours.len());
    let mut common = vec![vec![0u32; m + 1]; n + 1];
    for i in (0..n).rev() {
        for j in (0..m).rev() {
            common[i][j] =
                if theirs[i] == ours[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < n || j < m {
        if i < n && j < m && theirs[i] == ours[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == m || (i < n && common[i + 1][j] >= common[i][j + 1]) {
            out.push(format!("- {}", theirs[i]));
            i += 1;
        } else {
            out.push(format!("+ {}", ours[j]));
            j += 1;
        }
    }
    out
}

/// Runs vipd with one of the configurations until its dump is the captured one; what still differs after a while.
fn differs(name: &str) -> Vec<String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/consumers/dumps");
    let read = |file: String| std::fs::read_to_string(here.join(file)).unwrap();
    let ground = Ground::new();
    ip(&format!("-n {} link del eth0", ground.name));
    ip(&format!(
        "-n {} link add eth0 index 2 address 02:00:00:00:00:02 type veth peer name far index 3 address \
         02:00:00:00:00:03",
        ground.name
    ));
    for link in ["eth0", "far"] {
        ip(&format!("-n {} link set {link} up", ground.name));
    }
    ip(&format!("-n {} addr add 10.9.0.1/24 dev eth0", ground.name));
    ground.wait_for_carrier();
    ground.configure(&read(format!("{name}.conf")));
    let daemon = ground.start("-P");
    let theirs = comparable(&read(format!("{name}.data")));
    let mut left = Vec::new();
    let begun = std::time::Instant::now();
    while begun.elapsed() < PATIENCE {
        let path = ground.directory.join("keepalived.data");
        let _ = std::fs::remove_file(&path);
        daemon.signal(libc::SIGUSR1);
        daemon.wait_for("the dump", || path.exists());
        left = difference(&theirs, &comparable(&std::fs::read_to_string(&path).unwrap()));
        if left.is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    if left.is_empty() {
        left = unlike_the_json(&ground, &daemon, &theirs);
    }
    if name == "globals" {
        // The second of two files.
        let parent = ground.directory.join("keepalived_parent.data");
        daemon.wait_for("the parent's dump", || parent.exists());
        let parent = std::fs::read_to_string(parent).unwrap();
        left.extend(difference(&comparable(&read("globals.parent".into())), &comparable(&parent)));
    }
    left
}

/// Addresses in the JSON that are no line of keepalived's dump: it writes them by one rule into both.
fn unlike_the_json(ground: &Ground, daemon: &Daemon, theirs: &[String]) -> Vec<String> {
    let path = ground.directory.join("keepalived.json");
    daemon.signal(libc::SIGRTMIN() + 2);
    daemon.wait_for("the JSON", || path.exists());
    let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let instances = json.as_array().or_else(|| json["vrrp"].as_array()).unwrap();
    let told = instances.iter().flat_map(|one| ["vips", "evips"].map(|list| &one["data"][list]));
    let lines = told.filter_map(|list| list.as_array()).flatten().map(|line| line.as_str().unwrap());
    lines
        .filter(|line| !theirs.iter().any(|there| there.trim() == *line))
        .map(|line| format!("+ JSON: {line}"))
        .collect()
}

#[test]
fn dumps_are_those_of_keepalived() {
    if !ready() {
        return;
    }
    let chosen = std::env::var("VIPD_DUMP").ok();
    let mut wrong = String::new();
    for name in [
        "plain", "globals", "unicast", "six", "groups", "trackers", "routes", "owner", "notify", "strict", "timers",
        "vmac", "dynamic", "hmac",
    ] {
        if chosen.as_deref().is_some_and(|chosen| chosen != name) {
            continue;
        }
        // keepalived takes the owner's own address off at its start, has no source address then, and stays in FAULT: what
        // differs by that stands in a file.
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/consumers/dumps/{name}.differs"));
        let expected = std::fs::read_to_string(own).unwrap_or_default();
        let expected: Vec<&str> = expected.lines().collect();
        let left = differs(name);
        if left != expected {
            wrong += &format!("{name}:\n{}\n", left.join("\n"));
        }
    }
    assert!(wrong.is_empty(), "- keepalived, + vipd\n{wrong}");
}
