//! Programs that the daemon runs, in bad company: file systems that stop answering, children left behind, little room.

use crate::dead_mount::{DeadMount, there};
use crate::ground::{Daemon, Ground, PATIENCE, instance, ready};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicUsize, Ordering};

const GLOBALS: &str = "global_defs {\n script_user root\n enable_script_security\n}\n";

fn status(daemon: &Daemon) -> serde_json::Value {
    daemon.ask(r#"{"request":"status"}"#)["status"].clone()
}

fn is_good(daemon: &Daemon, script: &str) -> Option<bool> {
    let status = status(daemon);
    let scripts = status["scripts"].as_array().unwrap();
    scripts.iter().find(|s| s["name"] == script)?["good"].as_bool()
}

fn lines(ground: &Ground, name: &str) -> usize {
    std::fs::read_to_string(ground.directory.join(name)).unwrap_or_default().lines().count()
}

/// systemd's end of the watchdog: how often the daemon has said that it lives.
fn beats(ground: &Ground) -> (String, std::sync::Arc<AtomicUsize>) {
    let path = ground.directory.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let heard = std::sync::Arc::new(AtomicUsize::new(0));
    let count = heard.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length) = socket.recv(&mut buffer) {
            if buffer[..length].starts_with(b"WATCHDOG=1") {
                count.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    (path.to_str().unwrap().to_owned(), heard)
}

/// A check on a file system that stops answering, beside a good one: only it fails, and nothing else waits for it.
#[test]
fn a_check_on_a_dead_file_system_fails_alone() {
    if !ready() || !there() {
        return;
    }
    let ground = Ground::new();
    let mount = DeadMount::new(
        ground.directory.join("dead"),
        vec![("check", 0o755, "#!/bin/sh\nexit 0\n".into()), ("notify", 0o755, "#!/bin/sh\nexit 0\n".into())],
    );
    let here = ground.directory.display();
    let good = ground.program("good", &format!("echo >> {here}/good.runs; test ! -e {here}/bad"));
    ground.configure(&format!(
        "{GLOBALS}vrrp_script good {{\n script {}\n interval 1\n timeout 60\n}}\n\
         vrrp_script dead {{\n script {}\n interval 1\n timeout 1\n weight -5\n}}\n{}",
        good.display(),
        mount.file("check"),
        instance("A", 1, "10.9.0.10/24").replace(
            "priority 200",
            &format!("priority 200\n track_script {{\n  good\n  dead\n }}\n notify {}", mount.file("notify"))
        ),
    ));
    let (socket, heard) = beats(&ground);
    let environment = [("NOTIFY_SOCKET", socket.as_str()), ("WATCHDOG_USEC", "3000000")];
    let daemon = ground.start_with_environment("", &environment);
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    daemon.wait_for("both to be good", || is_good(&daemon, "dead") == Some(true));
    mount.mute();
    daemon.wait_for_log("VRRP_Script(dead) failed");
    assert_eq!((is_good(&daemon, "good"), is_good(&daemon, "dead")), (Some(true), Some(false)));
    assert_eq!(status(&daemon)["instances"][0]["effective_priority"], 195);
    // The other check is run, heard and believed; the watchdog is served; the address stays.
    let (runs, beat) = (lines(&ground, "good.runs"), heard.load(Ordering::SeqCst));
    daemon.wait_for("further runs", || lines(&ground, "good.runs") > runs + 2);
    daemon.wait_for("further beats", || heard.load(Ordering::SeqCst) > beat + 2);
    daemon.advertises();
    assert!(ground.has("10.9.0.10/24"));
    ground.write("bad", "");
    daemon.wait_for_address(&ground, "10.9.0.10/24", false);
    std::fs::remove_file(ground.directory.join("bad")).unwrap();
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    assert_eq!(is_good(&daemon, "dead"), Some(false));
    // Nothing of the daemon is open in what hangs: neither its sockets nor the lock of its pid file.
    let of_daemon = |pid: i32| -> Vec<String> {
        let links = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        links.filter_map(|entry| std::fs::read_link(entry.path()).ok()).map(|link| link.display().to_string()).collect()
    };
    let children = || -> Vec<i32> {
        let text = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", daemon.pid())).unwrap();
        text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    };
    let hangs =
        |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == "vipd");
    let known = |link: &String| link == "/dev/null" || link.starts_with("pipe:");
    let bare = |pid: &i32| -> bool { of_daemon(*pid).iter().all(known) };
    // Another one may just have been forked.
    daemon.wait_for("only what hangs, and that without anything of the daemon's", || {
        let hung: Vec<i32> = children().into_iter().filter(hangs).collect();
        !hung.is_empty() && hung.iter().all(bare)
    });
    let hung: Vec<i32> = children().into_iter().filter(hangs).collect();
    // Reload, upgrade and stop do not wait for it either.
    assert_eq!(daemon.ask(r#"{"request":"reload"}"#)["reply"], "done");
    assert_eq!(daemon.ask(r#"{"request":"upgrade"}"#)["reply"], "done");
    daemon.wait_for("the next program to stand", || daemon.log_text().matches("Startup complete").count() == 2);
    daemon.advertises();
    assert!(ground.has("10.9.0.10/24"));
    daemon.wait_for("what hung to be a child still", || children().iter().any(|pid| hung.contains(pid)));
    // It answers again: what was started before is over, and the check is good.
    mount.answers();
    daemon.wait_for("the check to be good again", || is_good(&daemon, "dead") == Some(true));
    daemon.wait_for("the old ones to be reaped", || children().iter().all(|pid| !hung.contains(pid)));
    mount.mute();
    daemon.wait_for("a check that hangs", || children().iter().any(hangs));
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(!ground.has("10.9.0.10/24"));
}

/// A tracked file on a file system that does not answer counts for nothing until it does; the others are heard.
#[test]
fn a_tracked_file_on_a_dead_file_system_is_not_waited_for() {
    if !ready() || !there() {
        return;
    }
    let ground = Ground::new();
    let mount = DeadMount::new(ground.directory.join("dead"), vec![("level", 0o644, "-7\n".into())]);
    let near = ground.write("near", "3\n");
    let here = ground.directory.display();
    let good = ground.program("good", &format!("echo >> {here}/good.runs"));
    ground.configure(&format!(
        "{GLOBALS}vrrp_script good {{\n script {}\n interval 1\n timeout 60\n}}\n\
         track_file near {{\n file {}\n}}\ntrack_file far {{\n file {}\n}}\n{}",
        good.display(),
        near.display(),
        mount.file("level"),
        instance("A", 1, "10.9.0.10/24").replace(
            "priority 200",
            "priority 200\n track_script {\n  good\n }\n track_file {\n  near weight 1\n  far weight 1\n }"
        ),
    ));
    mount.mute();
    let daemon = ground.start("");
    daemon.wait_for_log("track file far has not been read: its file system does not answer");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    let priority = || status(&daemon)["instances"][0]["effective_priority"].as_u64().unwrap();
    assert_eq!(priority(), 203);
    std::fs::write(&near, "5\n").unwrap();
    daemon.wait_for("the other file to be heard", || priority() == 205);
    let runs = lines(&ground, "good.runs");
    daemon.wait_for("further runs", || lines(&ground, "good.runs") > runs + 2);
    daemon.advertises();
    assert_eq!(daemon.ask(r#"{"request":"reload"}"#)["reply"], "done");
    assert_eq!(priority(), 205);
    // execve would wait for the thread that reads the file, and nobody would speak for the address.
    let reply = daemon.ask(r#"{"request":"upgrade"}"#);
    assert_eq!(reply["reply"], "refused", "{reply}");
    assert!(reply["reason"].as_str().unwrap().contains(&mount.file("level")), "{reply}");
    daemon.advertises();
    mount.answers();
    daemon.wait_for("the file to be heard", || priority() == 198);
    assert_eq!(daemon.stop().code(), Some(0));
}

/// A check whose exec takes long and a tracked file, both on a file system that does not answer: meanwhile adverts go out, the
/// watchdog is served, the other check is run and believed. `VIPD_SLOW_EXEC` says how many seconds, 4 by default: more than the
/// watchdog's patience.
#[test]
fn an_exec_that_takes_long_is_nobody_elses_fault() {
    if !ready() || !there() {
        return;
    }
    let seconds = std::env::var("VIPD_SLOW_EXEC").ok().and_then(|word| word.parse().ok()).unwrap_or(4);
    let ground = Ground::new();
    let files = vec![("check", 0o755, "#!/bin/sh\nexit 0\n".into()), ("level", 0o644, "-7\n".into())];
    let mount = DeadMount::new(ground.directory.join("dead"), files);
    let here = ground.directory.display();
    let good = ground.program("good", &format!("echo >> {here}/good.runs"));
    ground.configure(&format!(
        "{GLOBALS}vrrp_script good {{\n script {}\n interval 1\n timeout 60\n}}\n\
         vrrp_script slow {{\n script {}\n interval 1\n timeout 1\n weight -5\n}}\ntrack_file far {{\n file {}\n}}\n{}",
        good.display(),
        mount.file("check"),
        mount.file("level"),
        instance("A", 1, "10.9.0.10/24").replace(
            "priority 200",
            "priority 200\n track_script {\n  good\n  slow\n }\n track_file {\n  far weight 1\n }"
        ),
    ));
    let (socket, heard) = beats(&ground);
    let environment = [("NOTIFY_SOCKET", socket.as_str()), ("WATCHDOG_USEC", "3000000")];
    mount.mute();
    let daemon = ground.start_with_environment("", &environment);
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    daemon.wait_for_log("VRRP_Script(slow) failed");
    let begun = std::time::Instant::now();
    while begun.elapsed().as_secs() < seconds {
        let (runs, beat) = (lines(&ground, "good.runs"), heard.load(Ordering::SeqCst));
        daemon.advertises();
        daemon.wait_for("a further run", || lines(&ground, "good.runs") > runs);
        daemon.wait_for("a further beat", || heard.load(Ordering::SeqCst) > beat);
        assert_eq!((is_good(&daemon, "good"), is_good(&daemon, "slow")), (Some(true), Some(false)));
        assert_eq!(status(&daemon)["instances"][0]["effective_priority"], 195);
    }
    assert_eq!(daemon.log_text().matches("(A) Entering").count(), 2, "{}", daemon.log_text());
    // The exec is done at last, and its exit is no longer heard; the next run's is.
    mount.answers();
    daemon.wait_for("both to be heard", || status(&daemon)["instances"][0]["effective_priority"] == 193);
    assert_eq!(daemon.stop().code(), Some(0));
}

/// A configuration that cannot be read to its end holds nothing up but itself.
#[test]
fn a_reload_from_a_dead_file_system_does_not_keep_the_daemon_from_stopping() {
    if !ready() || !there() {
        return;
    }
    let ground = Ground::new();
    let mount = DeadMount::new(ground.directory.join("dead"), vec![("more.conf", 0o644, "# nothing\n".into())]);
    ground.configure(&format!("{}include {}\n", instance("A", 1, "10.9.0.10/24"), mount.file("more.conf")));
    let daemon = ground.start("");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    mount.deaf();
    daemon.signal(libc::SIGHUP);
    daemon.wait_for_log("Reloading ...");
    daemon.advertises();
    daemon.signal(libc::SIGUSR2);
    daemon.wait_for("a dump meanwhile", || ground.directory.join("keepalived.stats").exists());
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(!ground.has("10.9.0.10/24"));
    // Nor is it begun with, if it is to end meanwhile.
    let daemon = ground.start_by("mount -t tmpfs tmpfs /run && exec {vipd}", "");
    daemon.wait_for("the start", || daemon.log_text().matches("Configuration file").count() == 2);
    daemon.signal(libc::SIGTERM);
    assert_eq!(daemon.end().code(), Some(0));
}

/// What programs get: `/dev/null` for 0, 1 and 2, no other descriptor, and the limits that the daemon was started with.
#[test]
fn programs_get_their_descriptors_and_limits() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let here = ground.directory.display().to_string();
    let show = |name: &str| {
        let text = format!(
            "{{ ulimit -Sn; ulimit -Sc; readlink /proc/$$/fd/*; }} > {here}/{name}.tmp; mv {here}/{name}.tmp {here}/{name}\n\
             echo chatter; echo chatter >&2"
        );
        ground.program(&format!("show-{name}"), &text).display().to_string()
    };
    ground.configure(&format!(
        "global_defs {{\n script_user root\n enable_script_security\n notify_fifo {here}/fifo\n \
         notify_fifo_script {}\n}}\nvrrp_script check {{\n script {}\n interval 1\n timeout 60\n weight 1\n}}\n{}",
        show("reader"),
        show("check"),
        instance("A", 1, "10.9.0.10/24").replace(
            "priority 200",
            &format!("priority 200\n track_script {{\n  check\n }}\n notify_master {}", show("notify"))
        ),
    ));
    let line = "mount -t tmpfs tmpfs /run && ulimit -Sn 200 && ulimit -Sc 0 && exec {vipd} > OUT"
        .replace("OUT", &format!("{here}/stdout"));
    let daemon = ground.start_by(&line, "-m");
    let limits = || std::fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    for name in ["check", "reader", "notify"] {
        daemon.wait_for(name, || ground.directory.join(name).exists());
        let text = std::fs::read_to_string(ground.directory.join(name)).unwrap();
        let mut words = text.lines();
        assert_eq!((words.next(), words.next()), (Some("200"), Some("0")), "{name}: {text}");
        let leads: Vec<&str> = words.filter(|lead| !lead.contains("/show-") && !lead.ends_with(".tmp")).collect();
        assert!(leads.iter().all(|lead| *lead == "/dev/null"), "{name}: {text}");
    }
    // The daemon itself has all that it may have.
    let line = limits().lines().find(|line| line.starts_with("Max open files")).unwrap().to_owned();
    let numbers: Vec<&str> = line.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers[0], numbers[1], "{line}");
    assert_eq!(daemon.ask(r#"{"request":"upgrade"}"#)["reply"], "done");
    daemon.wait_for("the next program to stand", || daemon.log_text().matches("Startup complete").count() == 2);
    std::fs::remove_file(ground.directory.join("check")).unwrap();
    daemon.wait_for("another check", || ground.directory.join("check").exists());
    let text = std::fs::read_to_string(ground.directory.join("check")).unwrap();
    assert!(text.starts_with("200\n0\n"), "what was raised is not handed on: {text}");
    let log = daemon.log_text();
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(!log.contains("chatter"), "{log}");
    assert_eq!(std::fs::read_to_string(ground.directory.join("stdout")).unwrap(), "");
}

/// The daemon is process 1 of a container, and a check leaves a child behind each time.
#[test]
fn process_1_reaps_what_is_left_to_it() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let here = ground.directory.display();
    let check = ground.program("check", &format!("sleep 0.05 & echo >> {here}/runs"));
    ground.configure(&format!(
        "{GLOBALS}vrrp_script check {{\n script {}\n interval 1\n timeout 60\n}}\n{}",
        check.display(),
        instance("A", 1, "10.9.0.10/24").replace("priority 200", "priority 200\n track_script {\n  check\n }")
    ));
    let line = "mount -t tmpfs tmpfs /run && exec unshare --pid --fork --kill-child --mount-proc -- {vipd}";
    let daemon = ground.start_by(line, "");
    daemon.wait_for_log("Startup complete");
    let children = |pid: i32| -> Vec<i32> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    };
    let first = children(daemon.pid())[0];
    let is_zombie = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
    };
    daemon.wait_for("some runs", || lines(&ground, "runs") > 4);
    daemon.wait_for("nobody to be left", || !children(first).iter().any(is_zombie));
    // SAFETY: takes numbers only; the process is the daemon.
    unsafe { libc::kill(first, libc::SIGTERM) };
    assert_eq!(daemon.end().code(), Some(0));
}

/// The reader of a FIFO is told to end once, itself and not what it has started, and has time to clean up.
#[test]
fn the_reader_of_a_fifo_is_told_once_and_has_time() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let here = ground.directory.display().to_string();
    let reader = ground.program(
        "reader",
        &format!(
            "trap 'echo term >> {here}/told; sleep 1.5; echo clean >> {here}/told; exit 0' TERM\n\
             (trap 'echo child >> {here}/told' TERM; echo >> {here}/ready; while :; do sleep 0.1; done) &\n\
             child=$!\nwhile [ ! -e {here}/over ]; do sleep 0.1; done; kill -9 $child"
        ),
    );
    ground.configure(&format!(
        "global_defs {{\n script_user root\n enable_script_security\n notify_fifo {here}/fifo\n \
         notify_fifo_script {}\n}}\n{}",
        reader.display(),
        instance("A", 1, "10.9.0.10/24")
    ));
    let daemon = ground.start("");
    let told = || std::fs::read_to_string(ground.directory.join("told")).unwrap_or_default();
    daemon.wait_for("the reader", || lines(&ground, "ready") == 1);
    // A reload has another one in its place.
    assert_eq!(daemon.ask(r#"{"request":"reload"}"#)["reply"], "done");
    daemon.wait_for("the next reader", || lines(&ground, "ready") == 2);
    daemon.wait_for("the first to have ended", || told() == "term\nclean\n");
    // So has an upgrade.
    assert_eq!(daemon.ask(r#"{"request":"upgrade"}"#)["reply"], "done");
    daemon.wait_for("the third reader", || lines(&ground, "ready") == 3);
    daemon.wait_for("the second to have ended", || told() == "term\nclean\nterm\nclean\n");
    assert_eq!(daemon.stop().code(), Some(0));
    assert_eq!(told(), "term\nclean\n".repeat(3));
    let _ = std::process::Command::new("pkill").args(["-9", "-f", &format!("{here}/reader")]).status();
}

/// keepalived 2.2.7's lines for the same acts: the group first at the start, and whoever failed first before the others.
#[test]
fn lines_of_a_group_come_in_keepaliveds_order() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let fifo = ground.directory.join("fifo");
    let level = ground.write("level", "0\n");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let pipe = std::fs::File::options().read(true).write(true).open(&fifo).unwrap();
    let mut said = std::io::BufRead::lines(std::io::BufReader::new(pipe)).map(Result::unwrap);
    let mut hear = |expected: &[&str]| {
        let heard: Vec<String> = said.by_ref().take(expected.len()).collect();
        assert_eq!(heard, expected);
    };
    ground.configure(&format!(
        "global_defs {{\n script_user root\n notify_fifo {}\n}}\ntrack_file tf {{\n file {}\n}}\n\
         vrrp_sync_group G {{\n group {{\n  V1\n  V2\n }}\n}}\n{}{}",
        fifo.display(),
        level.display(),
        // Its timer ends first, as the other's priority makes it wait a little longer.
        instance("V1", 1, "10.9.0.10/24").replace("priority 200", "priority 190"),
        instance("V2", 2, "10.9.0.11/24").replace("priority 200", "priority 200\n track_file {\n  tf weight 0\n }"),
    ));
    let daemon = ground.start("");
    let (group, first, second) = ("GROUP \"G\"", "INSTANCE \"V1\"", "INSTANCE \"V2\"");
    let line = |who: &str, what: &str| {
        format!(
            "{who} {what} {}",
            if who == group {
                0
            } else if who == first {
                190
            } else {
                200
            }
        )
    };
    let mut in_order = |who: [&str; 3], what: &str| {
        let expected = who.map(|who| line(who, what));
        hear(&expected.each_ref().map(String::as_str));
    };
    in_order([group, first, second], "BACKUP");
    in_order([first, second, group], "MASTER");
    std::fs::write(&level, "1\n").unwrap();
    in_order([second, first, group], "FAULT");
    std::fs::write(&level, "0\n").unwrap();
    in_order([second, first, group], "BACKUP");
    in_order([first, second, group], "MASTER");
    assert_eq!(daemon.stop().code(), Some(0));
    in_order([first, second, group], "STOP");
}

/// keepalived 2.2.7's lines at a start: every group, then every instance, each in the order of the file.
#[test]
fn at_the_start_every_group_is_told_of_before_every_instance() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let fifo = ground.directory.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    // An application may have made it for itself.
    nix::unistd::chown(&fifo, Some(nix::unistd::Uid::from_raw(65534)), None).unwrap();
    let pipe = std::fs::File::options().read(true).write(true).open(&fifo).unwrap();
    let said = std::io::BufRead::lines(std::io::BufReader::new(pipe)).map(Result::unwrap);
    let group = |name: &str, members: &str| format!("vrrp_sync_group {name} {{\n group {{\n {members}\n }}\n}}\n");
    let members = [("S", 9), ("D", 14), ("A", 11), ("B", 12), ("C", 13)];
    let members = members
        .map(|(name, id)| instance(name, id, &format!("10.9.0.{id}/24")).replace("advert_int 0.1", "advert_int 1"));
    ground.configure(&format!(
        "global_defs {{\n script_user root\n vrrp_notify_fifo {}\n}}\n{}{}{}",
        fifo.display(),
        group("G2", "C\n D"),
        group("G1", "A\n B"),
        members.concat()
    ));
    let daemon = ground.start("");
    let heard: Vec<String> = said.take(7).collect();
    let names =
        ["GROUP \"G2\"", "GROUP \"G1\"", "INSTANCE \"S\"", "INSTANCE \"D\"", "INSTANCE \"A\"", "INSTANCE \"B\""];
    let names = names.into_iter().chain(["INSTANCE \"C\""]);
    for (line, name) in heard.iter().zip(names) {
        assert!(line.starts_with(&format!("{name} BACKUP ")), "{heard:#?}");
    }
    assert_eq!(daemon.stop().code(), Some(0));
}

/// Connections of people who say nothing take no place that a program needs.
#[test]
fn nobody_can_starve_the_programs_of_descriptors() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let here = ground.directory.display();
    let check = ground.program("check", &format!("echo >> {here}/runs"));
    ground.configure(&format!(
        "{GLOBALS}vrrp_script check {{\n script {}\n interval 1\n timeout 60\n}}\n{}",
        check.display(),
        instance("A", 1, "10.9.0.10/24").replace("priority 200", "priority 200\n track_script {\n  check\n }")
    ));
    let daemon =
        ground.start_by("mount -t tmpfs tmpfs /run && ulimit -n 64 && exec {vipd}", "--metrics 127.0.0.1:9650");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    let silent: Vec<_> = (0..100).map(|_| daemon.control()).collect();
    let slow = "for i in $(seq 100); do exec {fd}<>/dev/tcp/127.0.0.1/9650; done; exec sleep 600";
    let mut slow =
        std::process::Command::new("ip").args(["netns", "exec", &ground.name, "bash", "-c", slow]).spawn().unwrap();
    let open = || std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    for _ in 0..3 {
        let runs = lines(&ground, "runs");
        daemon.wait_for("further runs", || lines(&ground, "runs") > runs + 1);
        // A run takes two at most, and one may be under way.
        assert!(open() <= 62, "{}", open());
    }
    assert!(!daemon.log_text().contains("Entering FAULT"), "{}", daemon.log_text());
    drop(silent);
    slow.kill().unwrap();
    slow.wait().unwrap();
    daemon.advertises();
    assert_eq!(daemon.stop().code(), Some(0));
}
