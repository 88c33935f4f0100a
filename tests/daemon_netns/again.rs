//! Another program file in the same process, and nobody notices.

use crate::ground::{Ground, instance, ready};
use std::process::{Command, Stdio};

#[test]
fn an_upgrade_keeps_pid_state_and_address() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    ground.configure(&(instance("A", 1, "10.9.0.10/24") + &instance("B", 2, "10.9.0.11/24")));
    let daemon = ground.start("");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    daemon.wait_for_address(&ground, "10.9.0.11/24", true);
    let seen = ground.directory.join("monitor");
    let mut monitor = Command::new("ip")
        .args(["-n", &ground.name, "monitor", "address"])
        .stdout(std::fs::File::create(&seen).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let sent = || daemon.ask(r#"{"request":"status"}"#)["status"]["instances"][0]["counters"]["advert_sent"].as_u64();
    let before = sent().unwrap();
    // Another file with the same contents, as a package brings it.
    let program = ground.directory.join("vipd-next");
    // Copied by a process of its own: a descriptor open for writing here would be inherited by whatever another test
    // starts at that moment, and a program that is open for writing cannot be executed.
    let copied = std::process::Command::new("cp").arg(env!("CARGO_BIN_EXE_vipd")).arg(&program).status().unwrap();
    assert!(copied.success());
    let reply = daemon.ask(&format!(r#"{{"request":"upgrade","program":"{}"}}"#, program.display()));
    assert_eq!(reply["reply"], "done", "{reply}");
    daemon.wait_for("the next program to stand", || daemon.log_text().matches("Startup complete").count() == 2);
    assert_eq!(std::fs::read_link(format!("/proc/{}/exe", daemon.pid())).unwrap(), program);
    let status = daemon.ask(r#"{"request":"status"}"#)["status"].clone();
    for instance in status["instances"].as_array().unwrap() {
        assert_eq!((instance["state"].as_str(), instance["why"].as_str()), (Some("MASTER"), Some("master_silent")));
    }
    daemon.wait_for("further adverts", || sent().unwrap() > before + 3);
    assert_eq!(std::fs::read_to_string(daemon.path("/run/keepalived.pid")).unwrap(), format!("{}\n", daemon.pid()));
    monitor.kill().unwrap();
    monitor.wait().unwrap();
    let seen = std::fs::read_to_string(&seen).unwrap();
    assert!(!seen.contains("Deleted"), "{seen}");
    assert_eq!(daemon.log_text().matches("Entering MASTER STATE").count(), 2, "{}", daemon.log_text());
    // It still does what a daemon does.
    ground.configure(&instance("A", 1, "10.9.0.10/24"));
    assert_eq!(daemon.ask(r#"{"request":"reload"}"#)["reply"], "done");
    daemon.wait_for_address(&ground, "10.9.0.11/24", false);
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(!ground.has("10.9.0.10/24"));
}

#[test]
fn a_program_that_does_not_fit_is_refused() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    ground.configure(&instance("A", 1, "10.9.0.10/24"));
    let daemon = ground.start("");
    for (program, reason) in [("/bin/true", "is no vipd"), ("/nonexistent", "cannot be started")] {
        let reply = daemon.ask(&format!(r#"{{"request":"upgrade","program":"{program}"}}"#));
        assert!(reply["reason"].as_str().unwrap().contains(reason), "{reply}");
    }
    ground.configure("vrrp_instance A {\n interface\n}\n");
    let reply = daemon.ask(r#"{"request":"upgrade"}"#);
    assert!(reply["reason"].as_str().unwrap().contains("cannot use the configuration"), "{reply}");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    assert_eq!(daemon.stop().code(), Some(0));
}
