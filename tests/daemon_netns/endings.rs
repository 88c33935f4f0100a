//! SIGTERM at any time ends the daemon, and where it can go on without something it does.

use crate::ground::{Ground, instance, ready};

#[test]
fn sigterm_ends_a_startup_script_and_a_startup_delay() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let here = ground.directory.display();
    let script = ground.program("slow", &format!("echo > {here}/begun; exec sleep 1000"));
    let startup = format!("startup_script {}\n startup_script_timeout 900\n", script.display());
    for (globals, until) in [(startup.as_str(), "begun"), ("vrrp_startup_delay 900\n", "log")] {
        ground.configure(&format!(
            "global_defs {{\n script_user root\n {globals}}}\n{}",
            instance("A", 1, "10.9.0.10/24")
        ));
        // The one before may have come as far as to say that it stands.
        let _ = std::fs::remove_file(ground.directory.join("log"));
        let daemon = ground.start_by("mount -t tmpfs tmpfs /run && exec {vipd}", "");
        daemon.wait_for(until, || ground.directory.join(until).exists());
        if until == "log" {
            daemon.wait_for("the start", || daemon.log_text().contains("Startup complete"));
        }
        daemon.signal(libc::SIGTERM);
        daemon.wait_for("the end", || daemon.log_text().contains("Stopped Keepalived"));
        let log = daemon.log_text();
        assert_eq!(daemon.end().code(), Some(0), "{globals}");
        assert!(!ground.has("10.9.0.10/24"));
        // It has begun nothing.
        let told = ["Startup complete", "BACKUP STATE", "MASTER STATE"].iter().any(|word| log.contains(word));
        assert!(until == "log" || !told, "{log}");
    }
}

/// SIGTERM while another program takes over stops that one, in order.
#[test]
fn sigterm_in_an_upgrade_gives_everything_up() {
    if !ready() {
        return;
    }
    for _ in 0..5 {
        let ground = Ground::new();
        let daemon = ground.start_master("");
        assert_eq!(daemon.ask(r#"{"request":"upgrade"}"#)["reply"], "done");
        assert_eq!(daemon.stop().code(), Some(0));
        assert!(!ground.has("10.9.0.10/24"), "whoever has ended holds nothing");
    }
}

/// /run that is read-only, or full.
#[test]
fn a_daemon_does_without_its_pid_files() {
    if !ready() {
        return;
    }
    let full = "mount -t tmpfs -o size=4k tmpfs /run && head -c 4096 /dev/zero > /run/full";
    for run in ["mount -t tmpfs -o ro tmpfs /run", full] {
        let ground = Ground::new();
        ground.configure(&instance("A", 1, "10.9.0.10/24"));
        let daemon = ground.start_by(&format!("{run} && exec {{vipd}}"), "");
        daemon.wait_for_address(&ground, "10.9.0.10/24", true);
        let log = daemon.log_text();
        assert!(log.contains("pid file /run/keepalived.pid: ") && log.contains("going on without it"), "{run}: {log}");
        assert_eq!(daemon.stop().code(), Some(0));
        assert!(!ground.has("10.9.0.10/24"));
    }
}

/// Too few descriptors: it says how many it needs and ends, and leaves nothing; with so many it does its work. There is nothing
/// in between, such as a start that is made again for ever.
#[test]
fn hardly_any_descriptors_are_a_sentence_and_no_panic() {
    if !ready() {
        return;
    }
    for limit in [4, 6, 8, 10, 12, 16, 20, 24, 28, 30, 32, 34, 36, 38, 40, 44, 48, 64] {
        let ground = Ground::new();
        ground.configure(&instance("A", 1, "10.9.0.10/24"));
        let daemon = ground.start_by(&format!("mount -t tmpfs tmpfs /run && ulimit -n {limit} && exec {{vipd}}"), "");
        daemon.wait_for("a word", || {
            let log = daemon.log_text();
            ["Stopped Keepalived", "Exiting", "Entering MASTER", "error while loading"]
                .iter()
                .any(|line| log.contains(line))
        });
        let enough = limit == 64;
        assert!(!daemon.log_text().contains("Entering FAULT"), "{limit}: {}", daemon.log_text());
        assert_eq!(daemon.log_text().contains("Entering MASTER"), enough, "{limit}: {}", daemon.log_text());
        // The loader of a program needs some too.
        let said = daemon.log_text().contains("are needed (ulimit -n)");
        assert!(limit < 16 || said != enough, "{limit}: {}", daemon.log_text());
        // SAFETY: takes numbers only; it is our child, ended or not.
        unsafe { libc::kill(daemon.pid(), libc::SIGTERM) };
        let log = daemon.log_text();
        daemon.end();
        assert!(!log.contains("panicked"), "{limit}: {log}");
        assert!(!ground.has("10.9.0.10/24"));
    }
}

/// What grows with the configuration is counted: sockets that instances do not share, and programs.
#[test]
fn a_limit_that_is_low_for_this_configuration_is_said_at_the_start() {
    if !ready() {
        return;
    }
    let scripts: String =
        (0..30).map(|n| format!("vrrp_script s{n} {{\n script /bin/true\n interval 60\n weight 1\n}}\n")).collect();
    let tracked: String = (0..30).map(|n| format!("  s{n}\n")).collect();
    let many =
        instance("A", 1, "10.9.0.10/24").replace("priority", &format!("track_script {{\n{tracked} }}\n priority"));
    let shared: String = (1..40).map(|n| instance(&format!("I{n}"), n, &format!("10.9.0.{}/24", n + 10))).collect();
    for (what, configuration, low) in [
        ("one instance", instance("A", 1, "10.9.0.10/24"), false),
        ("instances that share a socket", shared, false),
        ("scripts", format!("global_defs {{\n script_user root\n}}\n{scripts}{many}"), true),
    ] {
        let ground = Ground::new();
        ground.configure(&configuration);
        let daemon = ground.start_by("mount -t tmpfs tmpfs /run && ulimit -n 80 && exec {vipd}", "");
        daemon.wait_for_log("Entering MASTER");
        let said = daemon.log_text().contains("80 file descriptors are allowed and 109 may be needed");
        assert_eq!(said, low, "{what}: {}", daemon.log_text());
        assert!(!daemon.log_text().contains("FAULT STATE"), "{what}: {}", daemon.log_text());
        assert_eq!(daemon.stop().code(), Some(0));
    }
}
