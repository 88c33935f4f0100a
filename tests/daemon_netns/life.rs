//! Start, stop, files, exit codes.

use crate::ground::{Ground, PATIENCE, instance, ready};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;

#[test]
fn pid_files_are_where_keepalived_has_them_and_readable_by_all() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    ground.configure(&instance("A", 1, "10.9.0.10/24"));
    let daemon = ground.start("");
    for name in ["keepalived.pid", "vrrp.pid"] {
        let path = daemon.path(&format!("/run/{name}"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", daemon.pid()), "{name}");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644, "{name}");
    }
    for name in ["checkers.pid", "bfd.pid"] {
        assert!(!daemon.path(&format!("/run/{name}")).exists(), "keepalived would have no such process");
    }
    // SIGTERM gives everything up: the address and the files are gone.
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    let run = std::fs::File::open(daemon.path("/run")).unwrap();
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(!ground.has("10.9.0.10/24"));
    let run = format!("/proc/self/fd/{}", run.as_raw_fd());
    let left: Vec<_> = std::fs::read_dir(run).unwrap().flatten().map(|e| e.file_name()).collect();
    let left: Vec<String> = left.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    assert!(!left.iter().any(|name| name.ends_with(".pid")), "{left:?}");
}

#[test]
fn a_second_daemon_sees_the_first_and_leaves() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    ground.configure(&instance("A", 1, "10.9.0.10/24"));
    let files = format!("-p {0}/k.pid -r {0}/v.pid", ground.directory.display());
    let daemon = ground.start(&files);
    let second = ground.run(&format!("-n -l {files}"));
    assert_eq!(second.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&second.stderr).contains("daemon is already running"));
    assert_eq!(std::fs::read_to_string(ground.directory.join("k.pid")).unwrap(), format!("{}\n", daemon.pid()));
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn a_daemon_in_the_background_has_its_pid_file_when_the_starter_returns() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    ground.configure(&instance("A", 1, "10.9.0.10/24"));
    let pid_file = ground.directory.join("k.pid");
    let out = ground.run(&format!("-g{0}/log.txt -p {0}/k.pid -r {0}/v.pid", ground.directory.display()));
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let pid: i32 = std::fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    assert_eq!(fields[4], "0", "it has no terminal: {stat}");
    assert_ne!(fields[3].parse::<i32>().unwrap(), pid, "it is no session leader, so it can never get one");
    assert_eq!(std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap().to_str(), Some("/"));
    // Whoever is told to end before it has begun need not begin.
    let log = || std::fs::read_to_string(ground.directory.join("log_vrrp.txt")).unwrap_or_default();
    let begun = std::time::Instant::now();
    while !log().contains("(A) Entering BACKUP STATE (init)") {
        assert!(begun.elapsed() < PATIENCE, "{}", log());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    // SAFETY: kill takes no pointers.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
    let begun = std::time::Instant::now();
    while pid_file.exists() {
        assert!(begun.elapsed() < PATIENCE, "it does not end");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn a_configuration_that_cannot_be_used_gives_keepaliveds_exit_codes() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let code = |ground: &Ground, flags: &str| ground.run(flags).status.code();
    assert_eq!(code(&ground, "-n"), Some(6), "no file");
    ground.configure("vrrp_instance A {\n interface\n}\n");
    assert_eq!(code(&ground, "-n"), Some(2), "an argument is missing");
    assert_eq!(code(&ground, ""), Some(2), "also when it would go to the background");
}

/// `-t` ends with 0 there, see `a_configuration_is_tested_without_running`.
#[test]
fn without_its_network_namespace_a_daemon_does_not_start() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    ground.configure(&format!("net_namespace nowhere\n{}", instance("A", 1, "10.9.0.10/24")));
    let out = ground.run("-n -l");
    let text = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{text}");
    assert!(text.contains("Unable to set network namespace"), "{text}");
}

/// keepalived kills a child that is not done after `child_wait_time`, and what it holds is left behind.
#[test]
fn a_short_child_wait_time_leaves_nothing_behind() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let many: String = (0..3000).map(|n| format!("  10.20.{}.{}/32\n", n / 250, n % 250 + 1)).collect();
    let more = format!(" virtual_ipaddress_excluded {{\n{many} }}\n virtual_ipaddress");
    ground.configure(&format!(
        "child_wait_time 0\n{}",
        instance("A", 1, "10.9.0.10/24").replace(" virtual_ipaddress", &more)
    ));
    let daemon = ground.start("");
    daemon.wait_for_address(&ground, "10.20.11.250/32", true);
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(!ground.has("10.20."));
    let log = std::fs::read_to_string(ground.directory.join("log")).unwrap();
    assert!(log.contains("Stopped Keepalived") && !log.contains("Not everything could be given up"), "{log}");
}

#[test]
fn dont_release_leaves_the_address_and_the_next_start_cleans_up() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let daemon = ground.start_master("-V");
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(ground.has("10.9.0.10/24"));
    // Backup for as long as nothing is known of a master: two minutes.
    ground.configure(&instance("A", 1, "10.9.0.10/24").replace("advert_int 0.1", "advert_int 40"));
    let daemon = ground.start("");
    daemon.wait_for_address(&ground, "10.9.0.10/24", false);
}

#[test]
fn what_a_killed_daemon_left_is_cleaned_up() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let daemon = ground.start_master("");
    daemon.signal(libc::SIGKILL);
    daemon.end();
    assert!(ground.has("10.9.0.10/24"));
    ground.configure(&instance("A", 1, "10.9.0.10/24").replace("advert_int 0.1", "advert_int 40"));
    let daemon = ground.start("");
    daemon.wait_for_address(&ground, "10.9.0.10/24", false);
}

#[test]
fn signals_that_come_before_it_stands_are_heard_when_it_does() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let slow = "global_defs {\n startup_script \"/bin/sleep 1\"\n script_user root\n}\n";
    ground.configure(&(slow.to_owned() + &instance("A", 1, "10.9.0.10/24")));
    let pid_file = ground.directory.join("k.pid");
    let out = ground.run(&format!("-g{0}/log.txt -p {0}/k.pid -r {0}/v.pid", ground.directory.display()));
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let pid: i32 = std::fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    let json = libc::SIGRTMIN() + 2;
    for number in [libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2, json] {
        // SAFETY: kill takes no pointers.
        assert_eq!(unsafe { libc::kill(pid, number) }, 0);
    }
    let begun = std::time::Instant::now();
    let log = || std::fs::read_to_string(ground.directory.join("log.txt")).unwrap_or_default();
    let dumped = || ["data", "stats", "json"].iter().all(|n| ground.directory.join(format!("keepalived.{n}")).exists());
    while !(log().contains("Reload complete") && dumped()) {
        assert!(begun.elapsed() < PATIENCE, "{}", log());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    // SAFETY: as above.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
    while pid_file.exists() {
        assert!(begun.elapsed() < 2 * PATIENCE, "it does not end: {}", log());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn relative_paths_count_from_where_it_was_started() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    ground.configure(&instance("A", 1, "10.9.0.10/24"));
    let line = format!(
        "cd {} && exec {} -G -f keepalived.conf -glog.txt -p k.pid -r v.pid",
        ground.directory.display(),
        crate::ground::vipd()
    );
    let mut command = std::process::Command::new("ip");
    command.args(["netns", "exec", &ground.name, "sh", "-c", &line]).env("VIPD_CONTROL", "control");
    assert_eq!(command.current_dir(&ground.directory).status().unwrap().code(), Some(0));
    let file = |name: &str| ground.directory.join(name);
    let pid: i32 = std::fs::read_to_string(file("k.pid")).unwrap().trim().parse().unwrap();
    let begun = std::time::Instant::now();
    let until = |is: &dyn Fn() -> bool| {
        while !is() {
            assert!(begun.elapsed() < PATIENCE, "{}", std::fs::read_to_string(file("log.txt")).unwrap_or_default());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    };
    until(&|| file("v.pid").exists() && file("control").exists());
    // SAFETY: kill takes no pointers.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGHUP) }, 0);
    until(&|| std::fs::read_to_string(file("log.txt")).unwrap_or_default().contains("Reload complete"));
    // SAFETY: as above.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
    until(&|| !file("k.pid").exists() && !file("v.pid").exists());
}

/// Daemons of containers that share /run, or of a platform that starts one a router: each has its pid file, and with it
/// its socket.
#[test]
fn daemons_with_pid_files_of_their_own_have_sockets_of_their_own() {
    if !ready() {
        return;
    }
    let vipctl = |own: &str, more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_vipctl"));
        command.args(["status"]).args(more).env_remove("VIPD_CONTROL");
        let out = command.output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert!(text.contains(own), "{own} is not in {text}");
        text
    };
    let grounds = [Ground::new(), Ground::new()];
    let mut daemons = Vec::new();
    for (ground, name) in grounds.iter().zip(["first", "second"]) {
        ground.configure(&instance(name, 1, "10.9.0.10/24"));
        let files = format!("-P -p {0}/k.pid -r {0}/v.pid", ground.directory.display());
        daemons.push(ground.start_in_real_run(&files));
    }
    let socket = |ground: &Ground| {
        let word = ground.directory.display().to_string().trim_start_matches('/').replace('/', "-");
        format!("/run/vipd/{word}-k.pid.control.sock")
    };
    for (ground, daemon) in grounds.iter().zip(&daemons) {
        let log = daemon.log_text();
        assert!(!log.contains("No control socket"), "{log}");
        assert!(std::path::Path::new(&socket(ground)).exists(), "no {}", socket(ground));
    }
    vipctl("first", &["--control", &socket(&grounds[0])]);
    vipctl("second", &["--control", &socket(&grounds[1])]);
    // Another test or the machine itself may have a daemon in the usual place, which then answers.
    if !std::path::Path::new("/run/vipd/control.sock").exists() {
        let text = vipctl("several daemons run here", &[]);
        for (ground, daemon) in grounds.iter().zip(&daemons) {
            assert!(text.contains(&socket(ground)) && text.contains(&format!("pid {}", daemon.pid())), "{text}");
        }
    }
    for (daemon, ground) in daemons.into_iter().zip(&grounds) {
        assert_eq!(daemon.stop().code(), Some(0));
        assert!(!std::path::Path::new(&socket(ground)).exists());
    }
}

/// `process_name` and `vrrp_process_name`, as `ps -L` shows them. keepalived has a process for VRRP, vipd a thread.
#[test]
fn process_and_engine_thread_have_the_names_that_they_are_given() {
    if !ready() {
        return;
    }
    for (globals, process, engine) in [
        ("", "vipd", "engine"),
        ("process_name balancer\n vrrp_process_name balancer_vrrp", "balancer", "balancer_vrrp"),
    ] {
        let ground = Ground::new();
        ground.configure(&format!("global_defs {{\n {globals}\n}}\n{}", instance("A", 1, "10.9.0.10/24")));
        let daemon = ground.start("");
        // A thread that is done may go between the two looks.
        let name = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let own = format!("/proc/{}", daemon.pid());
        assert_eq!(name(std::path::Path::new(&own).join("comm")), process);
        let threads = std::fs::read_dir(format!("{own}/task")).unwrap();
        let threads: Vec<String> = threads.map(|thread| name(thread.unwrap().path().join("comm"))).collect();
        assert_eq!(threads.iter().filter(|name| *name == engine).count(), 1, "{threads:?}");
        assert!(!daemon.log_text().contains("without effect"), "{}", daemon.log_text());
        assert_eq!(daemon.stop().code(), Some(0));
    }
}
