//! Another program file in the same process, and nobody notices.

use crate::dead_mount::{DeadMount, there};
use crate::ground::{Ground, hear, instance, ready, say};
use std::process::{Command, Stdio};

#[test]
fn an_upgrade_keeps_pid_state_and_address() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let daemon = ground.start_two_masters();
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
    // Nothing had to be added, and it is there all the same.
    daemon.wait_for("addresses that are known to be there", || {
        let status = daemon.ask(r#"{"request":"status"}"#)["status"].clone();
        status["instances"].as_array().unwrap().iter().all(|instance| instance["owned"] == true)
    });
    let history = || {
        let mut vipctl = Command::new(env!("CARGO_BIN_EXE_vipctl"));
        let out =
            vipctl.args(["history", "B", "--control"]).arg(daemon.path("/run/vipd/control.sock")).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    assert_eq!(history().matches("Entering MASTER STATE").count(), 1, "{}", history());
    assert!(!history().contains("(A)"), "{}", history());
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
    // Debian's keepalived would begin with nothing of what is left to it.
    let theirs = ground.program("keepalived", "echo 'Keepalived v2.2.7 (01/16,2022)' >&2");
    let theirs = theirs.to_str().unwrap();
    let programs = [("/bin/true", "is no vipd"), (theirs, "is no vipd"), ("/nonexistent", "cannot be started")];
    for (program, reason) in programs {
        let reply = daemon.ask(&format!(r#"{{"request":"upgrade","program":"{program}"}}"#));
        assert!(reply["reason"].as_str().unwrap().contains(reason), "{reply}");
    }
    ground.configure("vrrp_instance A {\n interface\n}\n");
    let reply = daemon.ask(r#"{"request":"upgrade"}"#);
    assert!(reply["reason"].as_str().unwrap().contains("cannot use the configuration"), "{reply}");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    assert_eq!(daemon.stop().code(), Some(0));
}

/// The package comes while somebody edits the file, or has taken it away: what runs goes on, as at a reload.
#[test]
fn an_upgrade_takes_no_file_that_a_reload_would_not_take() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let whole = instance("A", 1, "10.9.0.10/24") + &instance("B", 2, "10.9.0.11/24");
    ground.configure(&whole);
    let daemon = ground.start("");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    let half: String = whole.chars().take(whole.len() - 40).collect();
    let wrong = whole.replace("vrrp_instance B {", "vrrp_instance B {\n prioritty 5");
    let files = [
        (wrong.as_str(), "new mistake"),
        (half.as_str(), "cannot be used"),
        ("}}}\nvrrp_instance X {\n", "cannot be used"),
    ];
    for (file, reason) in files {
        ground.configure(file);
        let reply = daemon.ask(r#"{"request":"upgrade"}"#);
        assert!(reply["reason"].as_str().is_some_and(|said| said.contains(reason)), "{file}: {reply}");
    }
    std::fs::remove_file(ground.directory.join("keepalived.conf")).unwrap();
    let reply = daemon.ask(r#"{"request":"upgrade"}"#);
    assert!(reply["reason"].as_str().is_some_and(|said| said.contains("cannot be used")), "{reply}");
    assert!(
        reply["diagnostics"].as_str().is_some_and(|said| said.contains("there is no configuration file")),
        "{reply}"
    );
    daemon.advertises();
    assert!(ground.has("10.9.0.10/24"));
    // A file that goes at the last moment: nothing is left here that another server will have too.
    ground.configure(&whole);
    let conf = ground.directory.join("keepalived.conf");
    let next = format!(
        "case \"$*\" in *--restore*) rm -f {} ;; esac\nexec {} \"$@\"",
        conf.display(),
        env!("CARGO_BIN_EXE_vipd")
    );
    let program = ground.program("vipd-next", &next);
    let reply = daemon.ask(&format!(r#"{{"request":"upgrade","program":"{}"}}"#, program.display()));
    assert_eq!(reply["reply"], "done", "{reply}");
    assert_eq!(daemon.end().code(), Some(6));
    assert!(!ground.has("10.9.0.10/24") && !ground.has("10.9.0.11/24"));
}

/// The next program cannot read its file, and is told to stop: what the one before it has is given up all the same.
#[test]
fn who_is_told_to_stop_while_its_file_cannot_be_read_gives_up_what_it_inherited() {
    if !ready() || !there() {
        return;
    }
    let ground = Ground::new();
    let files = vec![("a.conf", 0o644, instance("A", 1, "10.9.0.10/24"))];
    let mount = DeadMount::new(ground.directory.join("dead"), files);
    ground.configure(&format!("include {}\n", mount.file("a.conf")));
    let daemon = ground.start("");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    let here = ground.directory.display();
    let next = format!(
        "case \"$*\" in *--restore*) echo > {here}/begun; until [ -e {here}/go ]; do sleep 0.05; done ;; esac\nexec {} \"$@\"",
        env!("CARGO_BIN_EXE_vipd")
    );
    let program = ground.program("vipd-next", &next);
    let reply = daemon.ask(&format!(r#"{{"request":"upgrade","program":"{}"}}"#, program.display()));
    assert_eq!(reply["reply"], "done", "{reply}");
    daemon.wait_for("the next program", || ground.directory.join("begun").exists());
    mount.deaf();
    ground.write("go", "");
    daemon.wait_for("the reading", || daemon.log_text().matches("Configuration file").count() == 2);
    assert!(ground.has("10.9.0.10/24"));
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(!ground.has("10.9.0.10/24"));
}

/// Zombies among the children of a process.
fn zombies(pid: i32) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let stats = processes.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    let child = |stat: &String| {
        let after = stat.rsplit(") ").next().unwrap();
        after.starts_with(&format!("Z {pid} "))
    };
    stats.filter(child).count()
}

/// Everything that goes on beside the engine: programs, pipes, sockets, files.
#[test]
fn what_runs_beside_the_engine_goes_on_across_an_upgrade() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let program = |name: &str, text: &str| ground.program(name, text).display().to_string();
    let here = ground.directory.display().to_string();
    // A notification that outlives the daemon that started it, and a check that does not listen to SIGTERM.
    let notify = program(
        "notify",
        &format!(
            "echo $$ >> {here}/notified; until [ -e {here}/go ]; do sleep 0.1; done; echo done >> {here}/notified"
        ),
    );
    let check = program("check", &format!("trap '' TERM; echo $$ >> {here}/checks; while :; do sleep 0.1; done"));
    let fifo = ground.directory.join("fifo");
    ground.configure(&format!(
        "global_defs {{\n script_user root\n notify_fifo {}\n}}\n\
         vrrp_script chk {{\n script {check}\n interval 1\n timeout 60\n weight 5\n}}\n{}",
        fifo.display(),
        instance("A", 1, "10.9.0.10/24")
            .replace("priority 200", &format!("priority 200\n track_script {{\n  chk\n }}\n notify_master {notify}"))
    ));
    let daemon = ground.start(&format!("--metrics 127.0.0.1:9650 -g{here}/run.log"));
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    let lines = |name: &str| -> Vec<String> {
        let text = std::fs::read_to_string(ground.directory.join(name)).unwrap_or_default();
        text.lines().map(ToOwned::to_owned).collect()
    };
    daemon.wait_for("the notification and the check", || lines("notified").len() == 1 && lines("checks").len() == 1);
    let mut reader = Command::new("cat").arg(&fifo).stdout(Stdio::piped()).spawn().unwrap();
    let opened = format!("/proc/{}/fd/3", reader.id());
    daemon.wait_for("the reader to read", || std::fs::read_link(&opened).is_ok_and(|file| file == fifo));
    let metrics = || {
        let run = "exec 3<>/dev/tcp/127.0.0.1/9650; printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3";
        let out = Command::new("ip").args(["netns", "exec", &ground.name, "bash", "-c", run]).output().unwrap();
        String::from_utf8(out.stdout).unwrap().contains("vipd_vrrp_state")
    };
    assert!(metrics());
    let mut watch = daemon.control();
    crate::ground::say(&mut watch, r#"{"request":"watch"}"#);
    crate::ground::hear(&mut watch);
    // Which one runs is known to the next program as well.
    let underway = || daemon.ask(r#"{"request":"status"}"#)["status"]["notify"]["running"].clone();
    let known = underway();
    let pid: i64 = lines("notified")[0].parse().unwrap();
    assert_eq!(
        (&known[0]["of"], &known[0]["event"], known[0]["pid"].as_i64()),
        (&"A".into(), &"MASTER".into(), Some(pid))
    );
    assert_eq!(daemon.ask(r#"{"request":"upgrade"}"#)["reply"], "done");
    daemon.wait_for("the next program to stand", || daemon.log_text().matches("Startup complete").count() == 2);
    assert_eq!(underway(), known);
    // The check is made to end and started anew; the notification ends by itself; nobody is left unwaited for.
    let old: i32 = lines("checks")[0].parse().unwrap();
    daemon.wait_for("the old check to go", || !std::path::Path::new(&format!("/proc/{old}")).exists());
    daemon.wait_for("another check", || lines("checks").len() == 2);
    ground.write("go", "");
    daemon.wait_for("the notification to end", || lines("notified").len() == 2);
    daemon.wait_for("its end to be heard", || underway() == serde_json::json!([]));
    daemon.wait_for("everybody to be reaped", || zombies(daemon.pid()) == 0);
    // Whoever reads the pipe has not seen its end; whoever scrapes or asks finds somebody.
    assert!(reader.try_wait().unwrap().is_none(), "the reader of the FIFO saw an end");
    daemon.wait_for("metrics", metrics);
    assert_eq!(daemon.ask(r#"{"request":"hello"}"#)["pid"], daemon.pid());
    for name in ["keepalived.pid", "vrrp.pid"] {
        let path = daemon.path(&format!("/run/{name}"));
        assert_eq!(std::fs::read_to_string(path).unwrap(), format!("{}\n", daemon.pid()));
    }
    // A second daemon still finds the place taken.
    let lock = std::fs::OpenOptions::new().read(true).write(true).open(daemon.path("/run/keepalived.pid")).unwrap();
    let whole = libc::flock { l_type: libc::F_WRLCK as i16, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
    assert!(nix::fcntl::fcntl(&lock, nix::fcntl::FcntlArg::F_OFD_SETLK(&whole)).is_err(), "the pid file is not locked");
    let log = || lines("run.log").join("\n");
    assert!(log().matches("Starting Keepalived").count() == 2, "{}", log());
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(!fifo.exists(), "the FIFO is the daemon's, whichever program made it");
    let told = reader.wait_with_output().unwrap().stdout;
    assert_eq!(
        String::from_utf8(told).unwrap(),
        "INSTANCE \"A\" BACKUP 200\nINSTANCE \"A\" MASTER 200\nINSTANCE \"A\" STOP 200\n"
    );
}

/// What postinst and the rpm's scriptlet do: no daemon, one in the usual place, and one whose socket is named after its
/// pid file.
#[test]
fn a_package_takes_every_daemon_along() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    ground.configure(&instance("A", 1, "10.9.0.10/24"));
    let daemon = ground.start("");
    let within = |line: &str| {
        let pid = daemon.pid().to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", &pid, "--mount", "--net", "sh", "-c", line]).env_remove("VIPD_CONTROL");
        command
    };
    // Debian's postinst itself; what it asks systemd's helper for is no business of this machine's.
    let tools = ground.directory.join("tools");
    std::fs::create_dir(&tools).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_vipctl"), tools.join("vipctl")).unwrap();
    std::os::unix::fs::symlink("/bin/true", tools.join("deb-systemd-helper")).unwrap();
    let postinst = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/debian/vipd.postinst");
    let configure = || {
        let line = format!("PATH={}:/usr/bin:/bin sh {postinst} configure 0.0.9 2>&1", tools.display());
        let out = within(&line).output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        assert!(out.status.success(), "{text}");
        text
    };
    let others = "/run/other.pid -r /run/other-vrrp.pid";
    ground.write("other.conf", &instance("B", 2, "10.9.0.11/24"));
    let conf = ground.directory.join("other.conf");
    let log = ground.directory.join("other.log");
    let line =
        format!("exec {} -G -l -n -D -f {} -p {others} 2>>{}", crate::ground::vipd(), conf.display(), log.display());
    let mut other = within(&line).spawn().unwrap();
    let told = || std::fs::read_to_string(&log).unwrap_or_default().matches("Startup complete").count();
    daemon.wait_for("the other one to stand", || told() == 1);
    // The socket of a daemon that was killed is nobody's.
    std::os::unix::net::UnixListener::bind(daemon.path("/run/vipd/dead.control.sock")).unwrap();
    let text = configure();
    assert_eq!(text.matches("going over to").count(), 2, "{text}");
    assert!(text.contains("/run/vipd/run-other.pid.control.sock: going over") && !text.contains("dead"), "{text}");
    daemon.wait_for("the next programs to stand", || {
        told() == 2 && daemon.log_text().matches("Startup complete").count() == 2
    });
    assert!(within("kill $(cat /run/other.pid)").status().unwrap().success());
    assert_eq!(other.wait().unwrap().code(), Some(0));
    // One that cannot go over stays, and the package is configured all the same.
    ground.configure("vrrp_instance A {\n interface\n}\n");
    let text = configure();
    assert!(text.contains("cannot use the configuration") && text.contains("the old version goes on"), "{text}");
    assert_eq!(daemon.ask(r#"{"request":"hello"}"#)["pid"], daemon.pid());
    assert!(within("rm /run/vipd/control.sock").status().unwrap().success());
    assert_eq!(configure(), "", "nobody to ask is no reason to complain");
    assert_eq!(daemon.stop().code(), Some(0));
}

/// Who asked for an upgrade hears why it does not come, instead of being hung up on.
#[test]
fn whoever_waits_for_an_upgrade_is_told_that_the_daemon_stops() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    ground.configure(&instance("A", 1, "10.9.0.10/24"));
    let daemon = ground.start_master("");
    let begun = ground.directory.join("begun");
    let text = format!("#!/bin/sh\n: > {}\nexec sleep 1000\n", begun.display());
    let slow = ground.program("slow", &text);
    let mut line = daemon.control();
    say(&mut line, &format!(r#"{{"request":"upgrade","program":"{}"}}"#, slow.display()));
    daemon.wait_for("the program to be tried out", || begun.exists());
    daemon.signal(libc::SIGTERM);
    let reply = hear(&mut line);
    assert_eq!(reply["reason"], "the daemon is stopping", "{reply}");
    assert_eq!(daemon.end().code(), Some(0));
    assert!(!ground.has("10.9.0.10/24"));
}
