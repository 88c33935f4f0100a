//! What the world is told: dump files, FIFO, the control socket.

use crate::ground::{Ground, hear, instance, ready, say};
use inotify::{EventMask, Inotify, WatchMask};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;

#[test]
fn dumps_are_written_whole_and_seen_by_who_watches_the_exact_name() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let daemon = ground.start_master("");
    let json = libc::SIGRTMIN() + 2;
    for (signal, name, holds) in [
        (libc::SIGUSR1, "keepalived.data", "State = MASTER"),
        (libc::SIGUSR2, "keepalived.stats", "Became master: 1"),
        (json, "keepalived.json", "\"iname\":\"A\""),
    ] {
        // OpenShift writes rubbish there and waits for it to go; VyOS waits for the close of the exact name.
        ground.write(name, "State = FAULT");
        let mut inotify = Inotify::init().unwrap();
        inotify.watches().add(&ground.directory, WatchMask::CLOSE_WRITE | WatchMask::MOVED_TO).unwrap();
        daemon.signal(signal);
        let mut seen = Vec::new();
        let mut buffer = [0; 4096];
        while !seen.contains(&(EventMask::CLOSE_WRITE, name.to_owned())) {
            for event in inotify.read_events_blocking(&mut buffer).unwrap() {
                let file = event.name.unwrap().to_str().unwrap().to_owned();
                if file == name {
                    let text = std::fs::read_to_string(ground.directory.join(name)).unwrap();
                    assert!(text.contains(holds), "{name} is partial at {:?}: {text}", event.mask);
                }
                seen.push((event.mask, file));
            }
        }
        assert!(seen.contains(&(EventMask::MOVED_TO, name.to_owned())), "{seen:?}");
    }
    daemon.signal(libc::SIGRTMAX() - 1);
    let zero =
        || daemon.ask(r#"{"request":"dump","what":"stats"}"#)["text"].as_str().unwrap().contains("Became master: 0");
    daemon.wait_for("counters of zero", zero);
}

/// Configures an instance whose changes are written to a FIFO, and makes that.
fn with_a_fifo(ground: &Ground) -> std::path::PathBuf {
    let fifo = ground.directory.join("fifo");
    let globals = format!("global_defs {{\n notify_fifo {}\n script_user root\n}}\n", fifo.display());
    ground.configure(&(globals + &instance("A", 1, "10.9.0.10/24")));
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    fifo
}

#[test]
fn a_fifo_hears_every_change() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let fifo = with_a_fifo(&ground);
    // Opened for both, so that it does not wait for a writer.
    let pipe = std::fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    let mut lines = BufReader::new(pipe).lines();
    let daemon = ground.start("");
    assert_eq!(lines.next().unwrap().unwrap(), "INSTANCE \"A\" BACKUP 200");
    assert_eq!(lines.next().unwrap().unwrap(), "INSTANCE \"A\" MASTER 200");
    assert_eq!(daemon.stop().code(), Some(0));
    assert_eq!(lines.next().unwrap().unwrap(), "INSTANCE \"A\" STOP 200");
    assert!(fifo.exists(), "it was not the daemon that made it");
}

/// What its reader never learns of stands in the log and in the status, once, until there is room again.
#[test]
fn a_fifo_that_nobody_reads_is_told_of() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let fifo = with_a_fifo(&ground);
    let mut pipe =
        std::fs::OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&fifo).unwrap();
    while pipe.write(&[b'x'; 4096]).is_ok() {}
    while pipe.write(b"x").is_ok() {}
    let daemon = ground.start("");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    let full = || daemon.ask(r#"{"request":"status"}"#)["status"]["notify"]["full_fifos"].clone();
    let lost = serde_json::json!([{ "path": fifo.display().to_string(), "lost": 2 }]);
    daemon.wait_for("two lines to be lost", || full() == lost);
    assert_eq!(daemon.log_text().matches("is full: nobody reads it").count(), 1, "{}", daemon.log_text());
    let mut heap = [0; 1 << 17];
    while pipe.read(&mut heap).is_ok() {}
    assert_eq!(daemon.stop().code(), Some(0));
    let read = pipe.read(&mut heap).unwrap();
    assert_eq!(&heap[..read], b"INSTANCE \"A\" STOP 200\n");
    let log = std::fs::read_to_string(ground.directory.join("log")).unwrap();
    assert!(log.contains("is read again; 2 lines found no room and were lost"), "{log}");
}

/// Some write their log that way. keepalived 2.2.7 writes over what the file begins with.
#[test]
fn a_file_in_the_place_of_a_fifo_is_appended_to() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let file = ground.write("lines", "what stands there stays\n");
    let globals = |path: &std::path::Path, script: &std::path::Path| {
        format!(
            "global_defs {{\n notify_fifo {}\n notify_fifo_script {}\n script_user root\n}}\n{}",
            path.display(),
            script.display(),
            instance("A", 1, "10.9.0.10/24")
        )
    };
    let started = ground.directory.join("started");
    let reader = ground.program("reader", &format!("echo \"$1\" >> {}; exec sleep 100", started.display()));
    ground.configure(&globals(&file, &reader));
    let daemon = ground.start("");
    daemon.wait_for("the reader", || std::fs::read_to_string(&started).is_ok_and(|text| text.ends_with("lines\n")));
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    assert_eq!(daemon.stop().code(), Some(0));
    let lines =
        "what stands there stays\nINSTANCE \"A\" BACKUP 200\nINSTANCE \"A\" MASTER 200\nINSTANCE \"A\" STOP 200\n";
    assert_eq!(std::fs::read_to_string(&file).unwrap(), lines);

    // A second name may be that of any file; and what could not be made has no reader.
    std::fs::hard_link(&file, ground.directory.join("again")).unwrap();
    let refused = ground.directory.join("absent/fifo");
    std::fs::remove_file(&started).unwrap();
    for path in [ground.directory.join("again"), refused] {
        ground.configure(&globals(&path, &reader));
        let daemon = ground.start("");
        daemon.wait_for_address(&ground, "10.9.0.10/24", true);
        daemon.wait_for_log(&format!("Unable to open notify fifo {}", path.display()));
        if path.exists() {
            daemon.wait_for("its reader", || {
                std::fs::read_to_string(&started).is_ok_and(|text| text.ends_with("again\n"))
            });
        }
        assert_eq!(daemon.stop().code(), Some(0));
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), lines);
    assert!(!std::fs::read_to_string(&started).unwrap().contains("absent"));
}

#[test]
fn the_control_socket_answers() {
    if !ready() {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let ground = Ground::new();
    ground.configure(&instance("A", 1, "10.9.0.10/24"));
    let daemon = ground.start("");
    let socket = daemon.path("/run/vipd/control.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(daemon.ask(r#"{"request":"hello"}"#)["pid"], daemon.pid());
    let mut watch = daemon.control();
    say(&mut watch, r#"{"request":"watch"}"#);
    let status = hear(&mut watch);
    assert_eq!(status["status"]["instances"][0]["name"], "A");
    assert!(status["status"]["instances"][0]["words"]["why"].is_string(), "{status}");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    let text = |what: &str| daemon.ask(what)["text"].as_str().unwrap().to_owned();
    assert!(text(r#"{"request":"metrics"}"#).contains("\nvipd_vrrp_state{"));
    assert!(text(r#"{"request":"metrics","format":"openmetrics"}"#).ends_with("# EOF\n"));
    assert_eq!(daemon.ask("no request at all")["reply"], "refused");
    // Fail-over without anybody else: priority 0, then master again.
    assert_eq!(daemon.ask(r#"{"request":"failover","instance":"A"}"#)["reply"], "done");
    let refused = daemon.ask(r#"{"request":"drain","instance":"nobody"}"#);
    assert!(refused["reason"].as_str().unwrap().contains("there are A"), "{refused}");
    loop {
        let event = hear(&mut watch)["event"].clone();
        if event["kind"] == "became" && event["why"] == "failover" {
            assert_eq!((event["from"].as_str(), event["to"].as_str()), (Some("MASTER"), Some("BACKUP")));
            break;
        }
    }
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn programs_are_run_and_tell_what_they_find() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    // Security wants every directory above to be root's alone, which the temporary one is not: hence /run.
    let directory = std::path::PathBuf::from(format!("/run/{}", ground.name));
    std::fs::create_dir_all(&directory).unwrap();
    let script = |name: &str, text: &str| {
        let path = directory.join(name);
        let made = ground.program(name, text);
        let moved = std::process::Command::new("cp").arg(&made).arg(&path).status().unwrap();
        assert!(moved.success());
        path.display().to_string()
    };
    let heard = ground.directory.join("heard");
    let notify = script("notify", &format!("echo \"$@\" >> {}", heard.display()));
    let flag = ground.directory.join("bad");
    let check = script("check", &format!("test ! -e {}", flag.display()));
    let text = format!(
        "global_defs {{\n script_user root\n enable_script_security\n}}\nvrrp_script chk {{\n script {check}\n \
         interval 0.1\n timeout 60\n rise 1\n fall 1\n}}\n{}",
        instance("A", 1, "10.9.0.10/24")
            .replace("priority", &format!("track_script {{\n chk\n }}\n notify {notify}\n priority"))
    );
    ground.configure(&text);
    // The scripts stand in the real /run, so this daemon gets no /run of its own.
    let files = format!("-p {0}/k.pid -r {0}/v.pid --control {0}/c", ground.directory.display());
    let daemon = ground.start_in_real_run(&files);
    let lines = || std::fs::read_to_string(&heard).unwrap_or_default();
    daemon.wait_for("MASTER", || lines().contains("INSTANCE A MASTER 200"));
    std::fs::write(&flag, "").unwrap();
    daemon.wait_for("FAULT", || lines().contains("INSTANCE A FAULT 200"));
    daemon.wait_for_log("VRRP_Script(chk) failed (exited with status 1)");
    daemon.wait_for_address(&ground, "10.9.0.10/24", false);
    std::fs::remove_file(&flag).unwrap();
    daemon.wait_for_log("VRRP_Script(chk) succeeded");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    assert_eq!(daemon.stop().code(), Some(0));
    ground.told_of_the_stop(&lines(), "INSTANCE A STOP 200");
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn states_are_written_to_the_fifo_again_after_a_reload_if_asked() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let fifo = ground.directory.join("fifo");
    let globals = format!(
        "global_defs {{\n notify_fifo {}\n script_user root\n fifo_write_vrrp_states_on_reload\n}}\n",
        fifo.display()
    );
    let group = "vrrp_sync_group G {\n group {\n A\n B\n }\n}\n";
    ground.configure(&(globals + &instance("A", 1, "10.9.0.10/24") + &instance("B", 2, "10.9.0.11/24") + group));
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let pipe = std::fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    let mut lines = BufReader::new(pipe).lines().map(Result::unwrap);
    let daemon = ground.start("");
    assert!(lines.any(|line| line == "GROUP \"G\" MASTER 0"));
    daemon.signal(libc::SIGHUP);
    let again: Vec<String> = lines.by_ref().take(3).collect();
    assert_eq!(again, ["GROUP \"G\" MASTER 0", "INSTANCE \"A\" MASTER 200", "INSTANCE \"B\" MASTER 200"]);
    assert_eq!(daemon.stop().code(), Some(0));
}

/// logcheck sends its reader every line that no rule of the package covers.
#[test]
fn a_day_without_trouble_is_nothing_for_logcheck() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let script = "global_defs {\n script_user root\n enable_script_security\n}\n\
                  vrrp_script alive {\n script /usr/bin/true\n interval 1\n timeout 60\n}\n";
    let tracking = instance("A", 1, "10.9.0.10/24").replacen("{\n", "{\n track_script {\n alive\n }\n", 1);
    ground.configure(&format!("{script}{tracking}"));
    let daemon = ground.start("");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    daemon.signal(libc::SIGHUP);
    daemon.wait_for_log("Reload complete");
    assert_eq!(daemon.stop().code(), Some(0));
    let text = std::fs::read_to_string(ground.directory.join("log")).unwrap();
    // Behind "Sat Nov 21 05:26:07 2026: ".
    let said: Vec<&str> = text.lines().filter_map(|line| line.get(26..)).collect();
    assert!(said.iter().any(|line| line.contains("Entering MASTER STATE")), "{text}");

    // On a terminal a line does not say which of keepalived's two names it bears in syslog.
    let stamped = |name: &str, line: &str| format!("Nov 21 05:26:57 host {name}[439]: {line}\n");
    let both = said.iter().map(|line| (stamped("Keepalived", line), stamped("Keepalived_vrrp", line)));
    let rules = include_str!("../../packaging/debian/vipd.logcheck.ignore.server");
    let rules =
        ground.write("rules", &rules.lines().filter(|rule| !rule.starts_with('#')).collect::<Vec<_>>().join("\n"));
    let covered = |line: &str| {
        let file = ground.write("line", line);
        let mut grep = std::process::Command::new("grep");
        grep.args(["-E", "-q", "-f"]).arg(&rules).arg(file).status().unwrap().success()
    };
    let reported: Vec<String> =
        both.filter(|(one, other)| !covered(one) && !covered(other)).map(|(one, _)| one).collect();
    assert!(reported.is_empty(), "{}", reported.concat());
}

/// Each of keepalived's processes writes a file of its own, and there are no files of processes that there are not.
#[test]
fn each_process_has_a_dump() {
    if !ready() {
        return;
    }
    let service = "virtual_server 192.0.2.1 80 {\n lb_algo rr\n lb_kind NAT\n protocol TCP\n real_server 192.0.2.11 80 {\n \
                   TCP_CHECK {\n }\n }\n}\nbfd_instance B {\n neighbor_ip 192.0.2.2\n}\n";
    let all = ["keepalived.data", "keepalived_bfd.data", "keepalived_check.data", "keepalived_parent.data"];
    for (more, files) in [("", vec![all[0], all[3]]), (service, all.to_vec())] {
        let ground = Ground::new();
        ground.configure(&(more.to_owned() + &instance("A", 1, "10.9.0.10/24")));
        let daemon = ground.start("");
        daemon.signal(libc::SIGUSR1);
        daemon.wait_for("the dumps", || files.iter().all(|name| ground.directory.join(name).exists()));
        // It ends when everything is written.
        assert_eq!(daemon.stop().code(), Some(0));
        let names = std::fs::read_dir(&ground.directory).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| name.ends_with(".data"));
        names.sort();
        assert_eq!(names, files);
    }
}

/// Log, dumps, answers of the control socket, history, metrics: whatever is asked of a daemon with passwords and keys, also while
/// a reload changes them and another one is refused because of them.
#[test]
fn no_secret_leaves_a_running_daemon() {
    if !ready() {
        return;
    }
    let secrets = ["Zx7Qw9Lm", "Pk4Rt8Vb", "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"];
    let ground = Ground::new();
    let configuration = |password: &str, line: &str| {
        let with = |instance: String, block: &str| {
            instance.replace(" virtual_ipaddress {", &format!(" {block}\n virtual_ipaddress {{"))
        };
        let pass = format!("authentication {{\n  auth_type PASS\n  auth_pass {password}\n }}");
        let hmac = format!("auth_hmac {{\n  key 1 hex:{}\n  active_key 1\n {line}\n }}", secrets[2]);
        let first = instance("A", 1, "10.9.0.10/24")
            .replace("version 3", "version 2")
            .replace("advert_int 0.1", "advert_int 1");
        let both = [with(first, &pass), with(instance("B", 2, "10.9.0.11/24"), &hmac)].concat();
        format!("$WORD={password}\nSSL {{\n password {password}\n}}\n{both}")
    };
    ground.configure(&configuration(secrets[0], ""));
    let daemon = ground.start("");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    let mut said = String::new();
    for step in 0..3 {
        match step {
            0 => {}
            1 => ground.configure(&configuration(secrets[1], "")),
            _ => ground.configure(&configuration(&format!("{}{}", secrets[1], secrets[0]), "key 1 hex:zz")),
        }
        said += &daemon.ask(r#"{"request":"reload"}"#).to_string();
        for request in ["status", "history", "metrics", "hello"] {
            said += &daemon.ask(&format!(r#"{{"request":"{request}"}}"#)).to_string();
        }
        for (signal, name) in [
            (libc::SIGUSR1, "keepalived.data"),
            (libc::SIGUSR2, "keepalived.stats"),
            (libc::SIGRTMIN() + 2, "keepalived.json"),
        ] {
            let path = ground.directory.join(name);
            let _ = std::fs::remove_file(&path);
            daemon.signal(signal);
            daemon.wait_for(name, || std::fs::metadata(&path).is_ok_and(|file| file.len() > 0));
        }
    }
    assert!(said.contains("refused"), "the last reload has mistakes: {said}");
    daemon.wait_for_log("only its first 8 bytes count");
    for file in std::fs::read_dir(&ground.directory).unwrap().flatten() {
        if file.file_name() != "keepalived.conf" {
            said += &String::from_utf8_lossy(&std::fs::read(file.path()).unwrap_or_default());
        }
    }
    for secret in secrets {
        let told = said
            .match_indices(secret)
            .next()
            .map(|(at, _)| said[at.saturating_sub(100)..].chars().take(200).collect::<String>());
        assert_eq!(told, None, "{secret}");
    }
    assert_eq!(daemon.stop().code(), Some(0));
}
