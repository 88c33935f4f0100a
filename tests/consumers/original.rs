//! The same file for vipd and for the keepalived that is installed, one after the other in the same namespace: the dumps
//! label by label.

use super::CONF;
use super::ground::{Daemon, Ground, ready};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

struct Dumps {
    data: String,
    stats: String,
    json: Value,
}

fn dumps(ground: &Ground, program: &Path) -> Dumps {
    let daemon: Daemon = ground.start_program(program, "-P");
    daemon.wait_for_address(ground, "10.9.0.102/24", true);
    // The scripts run at once and need a moment; both daemons answer for themselves when they have.
    let file = |name: &str| ground.directory.join(name);
    let read = |name: &str| std::fs::read_to_string(file(name)).unwrap_or_default();
    daemon.wait_for("a priority made of both scripts", || {
        daemon.signal(libc::SIGUSR1);
        std::thread::sleep(std::time::Duration::from_millis(100));
        read("keepalived.data").contains("Effective priority = 102")
    });
    daemon.signal(libc::SIGUSR2);
    daemon.signal(libc::SIGRTMIN() + 2);
    daemon.wait_for("the dumps", || {
        // The signals are heard in the order of their numbers, so that what is written for the last one is behind the others.
        read("keepalived.stats").contains("VI_2") && serde_json::from_str::<Value>(&read("keepalived.json")).is_ok()
    });
    let all = Dumps {
        data: read("keepalived.data"),
        stats: read("keepalived.stats"),
        json: serde_json::from_str(&read("keepalived.json")).unwrap(),
    };
    assert_eq!(daemon.stop().code(), Some(0));
    for name in ["keepalived.data", "keepalived.stats", "keepalived.json"] {
        let _ = std::fs::remove_file(file(name));
    }
    all
}

/// Labels of an instance in `.data`, in their order.
fn labels(text: &str, name: &str) -> Vec<String> {
    let lines = text.lines().skip_while(|line| *line != format!(" VRRP Instance = {name}")).skip(1);
    let own = lines.take_while(|line| line.starts_with("   ")).filter(|line| !line.starts_with("    "));
    own.map(|line| line.trim().split(['=', ':', '(']).next().unwrap().trim().to_owned()).collect()
}

#[test]
fn dumps_have_the_labels_of_the_original() {
    if !ready() {
        return;
    }
    let Some(original) = ["/usr/sbin/keepalived", "/usr/local/sbin/keepalived"].iter().find(|p| Path::new(p).exists())
    else {
        assert!(std::env::var("VIPD_REQUIRE_NETNS").as_deref() != Ok("1"), "needs keepalived");
        eprintln!("skipped: no keepalived");
        return;
    };
    let version = Command::new(original).arg("-v").output().unwrap();
    let ground = Ground::new();
    ground.configure(CONF);
    let theirs = dumps(&ground, Path::new(original));
    let ours = dumps(&ground, &super::program(&ground));
    // What later versions have renamed, and descriptors, of which vipd's are of no use to anybody.
    let other = ["Number of interface and track script faults", "fd_in 14, fd_out 15", "Flags"];
    for name in ["VI/1", "VI_2"] {
        let mine = labels(&ours.data, name);
        let mut rest = mine.iter();
        let wanted = labels(&theirs.data, name);
        assert!(wanted.len() > 25, "{wanted:?}");
        for label in wanted.iter().filter(|l| !other.contains(&l.as_str()) && !l.starts_with("fd_in")) {
            assert!(rest.any(|l| l == label), "{name}: no {label:?} in its place of {mine:#?}");
        }
    }
    let shape = |text: &str| -> Vec<String> {
        let mut shape: Vec<String> = text.lines().map(|line| line.split(':').next().unwrap().to_owned()).collect();
        // Since 2.4 there is a section for the authentication extension.
        if let Some(at) = shape.iter().position(|l| l.contains("Authentication Extension")) {
            shape.drain(at..at + 7);
        }
        shape
    };
    let first = |text: &str| text.split("VRRP Instance").nth(1).unwrap().to_owned();
    assert_eq!(
        shape(&first(&ours.stats)),
        shape(&first(&theirs.stats)),
        "{}",
        String::from_utf8_lossy(&version.stderr)
    );
    for (mine, their) in ours.json.as_array().unwrap().iter().zip(theirs.json.as_array().unwrap()) {
        for (key, value) in their["data"].as_object().unwrap() {
            let own = &mine["data"][key];
            let momentary = ["last_transition", "auth_data"].contains(&key.as_str());
            assert!(own == value || (momentary && !own.is_null()), "{key}: {own} instead of {value}");
        }
        assert_eq!(mine["data"].as_object().unwrap().len(), their["data"].as_object().unwrap().len());
        for key in their["stats"].as_object().unwrap().keys() {
            assert!(mine["stats"][key].is_u64(), "{key}");
        }
    }
    assert_eq!(ours.json.as_array().unwrap().len(), theirs.json.as_array().unwrap().len());
}
