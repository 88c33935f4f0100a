//! What goes wrong around a daemon: systemd's watchdog, slow scrapers, full disks, programs that do not end, storms of
//! signals, files that are no files. The daemon goes on, or ends with a word.

use crate::ground::{Ground, PATIENCE, hear, instance, ip, ready, say};
use std::io::{BufRead, Read, Write};
use std::os::unix::net::UnixDatagram;
use std::process::Command;

fn program(ground: &Ground, name: &str, text: &str) -> String {
    ground.program(name, text).display().to_string()
}

/// What the kernel refuses is said, and nothing else is called missing for it.
#[test]
fn a_route_that_the_kernel_refuses_makes_no_address_missing() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let route = "virtual_routes {\n 10.77.0.0/16 via 10.78.0.1\n }\n virtual_ipaddress";
    ground.configure(&instance("A", 1, "10.9.0.10/24").replace("virtual_ipaddress", route));
    let daemon = ground.start("");
    let of = || daemon.ask(r#"{"request":"status"}"#)["status"]["instances"][0].clone();
    daemon.wait_for("the kernel's answer", || of()["lacking"].as_str().is_some_and(|why| why.contains("10.77.0.0/16")));
    assert_eq!(of()["owned"], true);
    let vipctl = |verb: &str| {
        let mut vipctl = Command::new(env!("CARGO_BIN_EXE_vipctl"));
        let output = vipctl.args([verb, "--control"]).arg(daemon.path("/run/vipd/control.sock")).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let status = vipctl("status");
    assert!(status.contains("MASTER, but the kernel does not take all that it owns: route 10.77.0.0/16"), "{status}");
    assert!(!status.contains("not there yet") && !status.contains("not on this server"), "{status}");
    let metrics = vipctl("metrics");
    assert!(metrics.lines().any(|line| line.starts_with("vipd_vrrp_owned{") && line.ends_with(" 0")), "{metrics}");
    daemon.signal(libc::SIGRTMIN() + 2);
    let path = ground.directory.join("keepalived.json");
    daemon.wait_for("the JSON", || path.exists());
    let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(json[0]["data"]["vipset"], true, "{json}");
    assert!(json[0]["data"]["vips"][0].as_str().unwrap().ends_with(" set"), "{json}");
}

/// systemd's side of the protocol: a datagram socket that is named in the environment.
#[test]
fn systemd_is_told_everything_in_order() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let path = ground.directory.join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    let hear = || {
        let mut buffer = [0; 4096];
        let length = systemd.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    // What is not the watchdog's beat, and how many beats came before it.
    let hear_word = || {
        let mut beats = 0;
        loop {
            match hear() {
                text if text.trim() == "WATCHDOG=1" => beats += 1,
                text if text.starts_with("STATUS=") => {}
                text => return (text, beats),
            }
        }
    };
    ground.configure(&instance("A", 1, "10.9.0.10/24"));
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "300000")];
    let daemon = ground.start_with_environment("", &environment);
    let (ready, _) = hear_word();
    assert!(ready.contains("READY=1") && ready.contains("STATUS=1 VRRP instances"), "{ready}");
    while hear().trim() != "WATCHDOG=1" {}
    daemon.signal(libc::SIGHUP);
    let (reloading, _) = hear_word();
    let stamp = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(reloading.contains("RELOADING=1") && stamp.is_some_and(|s| s.parse::<u64>().unwrap() > 0), "{reloading}");
    let (again, _) = hear_word();
    assert!(again.contains("READY=1"), "{again}");
    // A reload that is refused stands in `systemctl status`, until one is not.
    let good = instance("A", 1, "10.9.0.10/24");
    ground.configure(&good.replace("virtual_router_id", "virtual_router_idd"));
    daemon.signal(libc::SIGHUP);
    assert!(hear_word().0.contains("RELOADING=1"));
    let (refused, _) = hear_word();
    assert!(
        refused.contains("READY=1")
            && refused.contains("STATUS=1 VRRP instances: 1 ")
            && refused.contains("; the last reload was refused"),
        "{refused}"
    );
    assert!(refused.contains("virtual_router_idd"), "it says why: {refused}");
    ground.configure(&good);
    daemon.signal(libc::SIGHUP);
    assert!(hear_word().0.contains("RELOADING=1"));
    let (taken, _) = hear_word();
    assert!(taken.contains("READY=1") && !taken.contains("refused"), "{taken}");
    // What has changed since, and who cannot work.
    let hear_state = |state: &str| while hear().trim() != format!("STATUS=1 VRRP instances: {state}") {};
    ip(&format!("-n {} link set eth0 down", ground.name));
    hear_state("1 FAULT (A)");
    ip(&format!("-n {} link set eth0 up", ground.name));
    hear_state("1 MASTER");
    // A stopped engine does not answer, and nobody may speak for it.
    let beats = std::iter::repeat_with(hear).take(3).collect::<Vec<_>>();
    assert!(beats.iter().all(|text| text.trim() == "WATCHDOG=1"), "{beats:?}");
    daemon.signal(libc::SIGTERM);
    let (stopping, _) = hear_word();
    assert!(stopping.contains("STOPPING=1"), "{stopping}");
    assert_eq!(daemon.end().code(), Some(0));
}

/// Asks in the daemon's namespace; what comes back.
fn http(ground: &Ground, request: &str) -> String {
    let run = format!("exec 3<>/dev/tcp/127.0.0.1/9650; printf '{request}' >&3; cat <&3");
    let out = Command::new("ip").args(["netns", "exec", &ground.name, "bash", "-c", &run]).output().unwrap();
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn a_slow_scraper_delays_nobody() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let daemon = ground.start_master("--metrics 127.0.0.1:9650");
    // Connected and silent, half a request, a request without reading the answer.
    let slow = "exec 3<>/dev/tcp/127.0.0.1/9650 4<>/dev/tcp/127.0.0.1/9650 5<>/dev/tcp/127.0.0.1/9650; \
                printf 'GET /met' >&4; printf 'GET /metrics HTTP/1.1\\r\\n\\r\\n' >&5; exec sleep 600";
    let mut slow = Command::new("ip").args(["netns", "exec", &ground.name, "bash", "-c", slow]).spawn().unwrap();
    let whole = http(&ground, "GET /metrics HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n");
    let (head, body) = whole.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.contains(&format!("Content-Length: {}", body.len())) && body.contains("vipd_vrrp_state{"), "{head}");
    assert!(head.contains("Content-Type: text/plain; version=0.0.4") && !body.contains("# EOF"), "{head}");
    let open = "GET /metrics HTTP/1.1\\r\\nHost: x\\r\\naccept: application/openmetrics-text\\r\\n\\r\\n";
    let open = http(&ground, open);
    assert!(open.contains("Content-Type: application/openmetrics-text; version=1.0.0"), "{open}");
    assert!(open.ends_with("# EOF\n"), "{open}");
    assert!(http(&ground, "rubbish\\r\\n\\r\\n").starts_with("HTTP/1.1 400 "));
    let head = http(&ground, "HEAD /metrics HTTP/1.1\\r\\n\\r\\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(http(&ground, "GET /other HTTP/1.1\\r\\n\\r\\n").starts_with("HTTP/1.1 404 "));
    assert!(http(&ground, "POST /metrics HTTP/1.1\\r\\n\\r\\n").starts_with("HTTP/1.1 405 "));
    daemon.advertises();
    slow.kill().unwrap();
    slow.wait().unwrap();
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn a_disk_without_room_for_one_more_file_costs_the_dump_and_nothing_else() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    ground.configure(&instance("A", 1, "10.9.0.10/24"));
    let full = ground.directory.join("full");
    std::fs::create_dir(&full).unwrap();
    let mount =
        |arguments: &[&str]| assert!(Command::new(arguments[0]).args(&arguments[1..]).status().unwrap().success());
    mount(&["mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=3", "tmpfs", full.to_str().unwrap()]);
    std::fs::write(full.join("rubbish"), vec![0; 4096]).unwrap();
    let daemon = ground.start_in(crate::ground::vipd().as_ref(), "", &full);
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    daemon.signal(libc::SIGUSR1);
    daemon.wait_for_log("Can't open");
    assert!(!full.join("keepalived.data").exists(), "a partial dump is worse than none");
    daemon.advertises();
    // There is room again: so is the dump.
    std::fs::remove_file(full.join("rubbish")).unwrap();
    mount(&["mount", "-o", "remount,size=1m,nr_inodes=100", full.to_str().unwrap()]);
    daemon.signal(libc::SIGUSR2);
    daemon.wait_for("the dump", || full.join("keepalived.stats").exists());
    let status = daemon.stop();
    mount(&["umount", "-l", full.to_str().unwrap()]);
    assert_eq!(status.code(), Some(0));
}

/// More connections than there are places, and no request: a scraper is answered while they stay, all but the oldest.
#[test]
fn strangers_who_ask_for_nothing_do_not_keep_a_scraper_out() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let daemon = ground.start_master("--metrics 127.0.0.1:9650");
    let (answer, last) = ground.inside(|| {
        let connect = || std::net::TcpStream::connect("127.0.0.1:9650").unwrap();
        let mut silent: Vec<_> = (0..64).map(|_| connect()).collect();
        silent.iter_mut().for_each(|stream| stream.write_all(b"GET /met").unwrap());
        let mut scraper = connect();
        scraper.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        scraper.read_to_string(&mut answer).unwrap();
        let last = silent.last_mut().unwrap();
        last.set_nonblocking(true).unwrap();
        (answer, last.read(&mut [0; 1]).map_err(|error| error.kind()))
    });
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(last, Err(std::io::ErrorKind::WouldBlock));
    assert_eq!(daemon.stop().code(), Some(0));
}

/// Whatever tidied /run: `vipctl` can ask again, and at the end nothing is left.
#[test]
fn a_control_socket_that_was_removed_is_put_back() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let daemon = ground.start_master("");
    let folder = daemon.path("/run/vipd");
    std::fs::remove_dir_all(&folder).unwrap();
    daemon.wait_for_log("control.sock was removed by another program, put back");
    assert_eq!(daemon.ask(r#"{"request":"hello"}"#)["reply"], "hello");
    assert_eq!(daemon.stop().code(), Some(0));
    let log = std::fs::read_to_string(ground.directory.join("log")).unwrap();
    assert_eq!(log.matches("put back").count(), 1, "{log}");
}

#[test]
fn a_fifo_that_nobody_reads_does_not_block() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let fifo = ground.directory.join("fifo");
    let globals = format!("global_defs {{\n notify_fifo {}\n script_user root\n}}\n", fifo.display());
    ground.configure(&(globals + &instance("A", 1, "10.9.0.10/24")));
    let daemon = ground.start("");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    // Filled to the brim by somebody else: the lines after that are lost, not waited for.
    let mut pipe = std::fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut pipe, libc::O_NONBLOCK);
    let mut pipe = pipe.read(true).write(true).open(&fifo).unwrap();
    while pipe.write(&[b'\n'; 512]).is_ok() {}
    assert_eq!(daemon.ask(r#"{"request":"failover"}"#)["reply"], "done");
    daemon.wait_for("master again", || daemon.log_text().matches("Entering MASTER STATE").count() == 2);
    daemon.advertises();
    let mut all = vec![0; 1 << 20];
    while pipe.read(&mut all).is_ok_and(|n| n > 0) {}
    assert_eq!(daemon.ask(r#"{"request":"failover"}"#)["reply"], "done");
    daemon.wait_for("master once more", || daemon.log_text().matches("Entering MASTER STATE").count() == 3);
    daemon.wait_for("lines again", || {
        let mut reader = std::fs::OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut reader, libc::O_NONBLOCK);
        let mut buffer = [0; 4096];
        let read = reader.read(true).write(true).open(&fifo).unwrap().read(&mut buffer).unwrap_or(0);
        String::from_utf8_lossy(&buffer[..read]).contains("INSTANCE \"A\" MASTER 200")
    });
    assert_eq!(daemon.stop().code(), Some(0));
}

/// A check that ignores SIGTERM, one that leaves children behind, one that floods its output, one that dies by a signal.
#[test]
fn scripts_that_misbehave_are_dealt_with() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let here = ground.directory.display().to_string();
    let deaf =
        program(&ground, "deaf", &format!("trap '' TERM; echo $$ >> {here}/deaf.pid; while :; do sleep 0.05; done"));
    let parent = program(&ground, "parent", &format!("sleep 300 & echo $! >> {here}/child.pid; sleep 300"));
    let flood = program(&ground, "flood", "yes flood | head -c 300000 >&2; exit 0");
    let killed = program(&ground, "killed", "kill -SEGV $$");
    let script = |name: &str, path: &str, seconds: u8| {
        format!("vrrp_script {name} {{\n script {path}\n interval 1\n timeout {seconds}\n weight 2\n}}\n")
    };
    ground.configure(&format!(
        "global_defs {{\n script_user root\n}}\n{}{}{}{}{}",
        script("deaf", &deaf, 1),
        script("parent", &parent, 1),
        // They end by themselves, however busy the machine is.
        script("flood", &flood, 60),
        script("killed", &killed, 60),
        instance("A", 1, "10.9.0.10/24")
            .replace("priority 200", "priority 200\n track_script {\n  deaf\n  parent\n  flood\n  killed\n }")
    ));
    let daemon = ground.start("");
    daemon.wait_for_log("VRRP_Script(flood) succeeded");
    daemon.wait_for_log("VRRP_Script(killed) failed (due to signal 11)");
    daemon.wait_for_log("VRRP_Script(deaf) timed_out");
    daemon.wait_for_log("VRRP_Script(parent) timed_out");
    let pids = |name: &str| -> Vec<i32> {
        let text = std::fs::read_to_string(ground.directory.join(name)).unwrap_or_default();
        text.lines().map(|line| line.parse().unwrap()).collect()
    };
    let lives = |pid: i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
    };
    // TERM did nothing, KILL does; and a group goes with its leader.
    daemon.wait_for("the deaf one to go", || pids("deaf.pid").len() > 1 && !lives(pids("deaf.pid")[0]));
    daemon.wait_for("the child to go", || pids("child.pid").first().is_some_and(|pid| !lives(*pid)));
    daemon.advertises();
    // SIGTERM while scripts run: they end with the daemon.
    assert_eq!(daemon.stop().code(), Some(0));
    let left = || pids("deaf.pid").into_iter().chain(pids("child.pid")).any(lives);
    let begun = std::time::Instant::now();
    while left() {
        assert!(begun.elapsed() < PATIENCE, "scripts outlive the daemon");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_storm_of_signals_ends_in_the_last_configuration() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let daemon = ground.start_master("");
    for number in 0..200 {
        if number == 199 {
            ground.configure(&(instance("A", 1, "10.9.0.10/24") + &instance("B", 2, "10.9.0.20/24")));
        }
        daemon.signal(libc::SIGHUP);
        daemon.signal([libc::SIGUSR1, libc::SIGUSR2, libc::SIGRTMIN() + 2][number % 3]);
    }
    daemon.wait_for_address(&ground, "10.9.0.20/24", true);
    assert!(ground.has("10.9.0.10/24"));
    assert_eq!(daemon.log_text().matches("(A) Entering MASTER STATE").count(), 1, "{}", daemon.log_text());
    // SIGTERM in the middle of a reload.
    daemon.signal(libc::SIGHUP);
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(!ground.has("10.9.0.10/24") && !ground.has("10.9.0.20/24"));
}

/// Signals for other programs come by mistake (`pkill -RTMIN+5 .`, Ctrl-Z, a habit of nginx's): one that ended the daemon would leave
/// its addresses here, and one that stopped it would keep a master silent.
#[test]
fn signals_that_ask_for_nothing_do_nothing() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let daemon = ground.start_master("");
    let named =
        [libc::SIGQUIT, libc::SIGALRM, libc::SIGTSTP, libc::SIGTTIN, libc::SIGVTALRM, libc::SIGPROF, libc::SIGIO];
    let others = [libc::SIGPWR, libc::SIGXCPU, libc::SIGXFSZ, libc::SIGSTKFLT, libc::SIGRTMIN() + 5, libc::SIGRTMAX()];
    for number in named.into_iter().chain(others) {
        daemon.signal(number);
        daemon.advertises();
    }
    assert!(ground.has("10.9.0.10/24"));
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(!ground.has("10.9.0.10/24"));
}

#[test]
fn a_configuration_that_is_no_file_any_more_leaves_the_running_one() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let daemon = ground.start_master("");
    let path = ground.directory.join("keepalived.conf");
    let refused = || daemon.log_text().matches("Reload refused, the running configuration goes on").count();
    std::fs::remove_file(&path).unwrap();
    daemon.signal(libc::SIGHUP);
    daemon.wait_for("the first refusal", || refused() == 1);
    std::fs::create_dir(&path).unwrap();
    daemon.signal(libc::SIGHUP);
    daemon.wait_for("the second refusal", || refused() == 2);
    std::fs::remove_dir(&path).unwrap();
    daemon.advertises();
    assert!(ground.has("10.9.0.10/24"));
    ground.configure(&instance("B", 2, "10.9.0.20/24"));
    daemon.signal(libc::SIGHUP);
    daemon.wait_for_address(&ground, "10.9.0.20/24", true);
    assert_eq!(daemon.stop().code(), Some(0));
}

/// A mail server that never answers, one that greets and falls silent, and one that does not even take the connection.
#[test]
fn a_mail_server_that_hangs_is_given_up_and_holds_nothing_up() {
    if !ready() {
        return;
    }
    // Seconds in which a greeting must be there for what follows it to be said: many, where one comes.
    for (server, greeting, hears, limit) in [
        ("10.9.0.1 2525", "", "", 1),
        ("10.9.0.1 2525", "220 here\r\n", "HELO r\r\n", 4),
        ("10.9.0.77 2525", "", "", 1),
    ] {
        let ground = Ground::new();
        // Nobody is behind this neighbour, and nobody says so.
        crate::ground::ip(&format!("-n {} neigh add 10.9.0.77 lladdr 02:00:00:00:00:77 dev eth0", ground.name));
        let listener = ground.inside(|| std::net::TcpListener::bind("10.9.0.1:2525").unwrap());
        let (tell, heard) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, tell) = (stream.unwrap(), tell.clone());
                std::thread::spawn(move || {
                    let _ = stream.write_all(greeting.as_bytes());
                    let mut all = String::new();
                    // Until the daemon hangs up.
                    let _ = stream.read_to_string(&mut all);
                    let _ = tell.send(all);
                });
            }
        });
        let globals = format!(
            "global_defs {{\n router_id r\n notification_email {{\n  admin@example.org\n }}\n smtp_server {server}\n \
             smtp_helo_name r\n smtp_connect_timeout {limit}\n}}\n"
        );
        let alerting = instance("A", 1, "10.9.0.10/24").replace("priority", "smtp_alert\n priority");
        ground.configure(&(globals + &alerting));
        let daemon = ground.start("");
        daemon.wait_for_address(&ground, "10.9.0.10/24", true);
        assert_eq!(daemon.ask(r#"{"request":"failover"}"#)["reply"], "done");
        daemon.wait_for("master again", || daemon.log_text().matches("Entering MASTER STATE").count() == 2);
        daemon.advertises();
        let line = format!("mail \"[r] VRRP Instance A - Entering MASTER state\" not sent: no answer within {limit} s");
        daemon.wait_for("both to be given up", || daemon.log_text().matches(&line).count() == 2);
        if server.starts_with("10.9.0.1 ") {
            let all = heard.recv_timeout(PATIENCE).expect("the daemon hangs up");
            assert_eq!(all, hears);
        }
        daemon.advertises();
        // Nor does the mail about the end hold it up for good.
        assert_eq!(daemon.stop().code(), Some(0));
        assert!(!ground.has("10.9.0.10/24"));
    }
}

/// A check that fails in each run costs a line for each reason, and not one for each run.
#[test]
fn a_script_that_fails_in_each_run_is_told_of_once() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let runs = ground.directory.join("runs");
    let hangs = program(&ground, "hangs", &format!("echo x >> {}; exec sleep 1000", runs.display()));
    let headless = program(&ground, "headless", "exit 0");
    assert!(std::process::Command::new("sed").args(["-i", "s/$/\\r/", &headless]).status().unwrap().success());
    let script = |name: &str, path: &str| {
        format!("vrrp_script {name} {{\n script {path}\n interval 1\n timeout 1\n weight 2\n}}\n")
    };
    ground.configure(&format!(
        "global_defs {{\n script_user root\n}}\n{}{}{}",
        script("hangs", &hangs),
        script("headless", &headless),
        instance("A", 1, "10.9.0.10/24")
            .replace("priority 200", "priority 200\n track_script {\n  hangs\n  headless\n }")
    ));
    let daemon = ground.start("");
    daemon.wait_for("four runs", || std::fs::read_to_string(&runs).unwrap_or_default().lines().count() >= 4);
    let log = daemon.log_text();
    for line in
        ["VRRP_Script(hangs) timed_out", "VRRP_Script(headless) cannot be started", "its first line ends in a carriage"]
    {
        assert_eq!(log.matches(line).count(), 1, "{line}: {log}");
    }
    assert!(log.contains("or the interpreter that its first line names is not"), "{log}");
    assert_eq!(daemon.stop().code(), Some(0));
}

/// The lowest number that a descriptor of this process could get next: with it as the limit nothing more is opened.
fn next_descriptor(pid: i32) -> u32 {
    let taken = |number: &u32| std::fs::symlink_metadata(format!("/proc/{pid}/fd/{number}")).is_ok();
    (0..).find(|number| !taken(number)).unwrap()
}

fn allow_descriptors(pid: i32, limit: u32) {
    let limits = format!("--nofile={limit}:{limit}");
    assert!(Command::new("prlimit").args(["--pid", &pid.to_string(), &limits]).status().unwrap().success());
}

/// A daemon that has no descriptor to ask the kernel with does not know which addresses there are: it says so, instead of calling
/// missing what is there.
#[test]
fn addresses_that_cannot_be_asked_for_are_not_called_missing() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    ground.configure(&instance("A", 1, "10.9.0.10/24"));
    let daemon = ground.start_master("");
    let mut line = daemon.control();
    let mut on = || {
        say(&mut line, r#"{"request":"status"}"#);
        hear(&mut line)["status"]["instances"][0]["addresses"][0]["on"].clone()
    };
    daemon.wait_for("the address", || ground.has("10.9.0.10/24"));
    assert_eq!(on(), serde_json::json!(["eth0"]));
    allow_descriptors(daemon.pid(), next_descriptor(daemon.pid()));
    assert_eq!(on(), serde_json::Value::Null);
    assert!(ground.has("10.9.0.10/24"));
}

/// keepalived needs no descriptor to start a script, so a healthy check that runs there without one runs here.
#[test]
fn a_check_runs_where_no_descriptor_is_left_to_watch_it_by() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let runs = ground.directory.join("runs");
    let check = program(&ground, "check", &format!("echo run >> {}", runs.display()));
    let script = format!("vrrp_script check {{\n script {check}\n interval 1\n timeout 1\n fall 1\n}}\n");
    let tracking = instance("A", 1, "10.9.0.10/24").replace("priority", "track_script {\n check\n }\n priority");
    ground.configure(&format!("global_defs {{\n script_user root\n}}\n{script}{tracking}"));
    let daemon = ground.start("");
    let count = || std::fs::read_to_string(&runs).unwrap_or_default().lines().count();
    // What a run has open at this moment is no room for the next.
    let (limit, first) = (std::cell::Cell::new(next_descriptor(daemon.pid())), count());
    daemon.wait_for("two more runs", || {
        limit.set(limit.get().min(next_descriptor(daemon.pid())));
        count() > first + 2
    });
    allow_descriptors(daemon.pid(), limit.get());
    let before = count();
    daemon.wait_for("runs without a descriptor", || {
        let log = daemon.log_text();
        assert!(!log.contains("timed_out") && !log.contains("FAULT"), "{log}");
        count() > before + 3
    });
}

/// The next program wants more descriptors than there are, as at a start; but what the one before it owned is on this server, and
/// nobody else would give that up. It goes on with what there is, or gives up what it inherited.
#[test]
fn an_upgrade_with_few_descriptors_leaves_no_address_behind() {
    if !ready() {
        return;
    }
    for spare in [1, 3, 5, 7, 12] {
        let ground = Ground::new();
        let daemon = ground.start_master("");
        let mut line = daemon.control();
        say(&mut line, r#"{"request":"hello"}"#);
        hear(&mut line);
        allow_descriptors(daemon.pid(), next_descriptor(daemon.pid()) + spare);
        say(&mut line, r#"{"request":"upgrade"}"#);
        let mut reply = String::new();
        line.read_line(&mut reply).unwrap();
        if reply.is_empty() {
            // It could not go on.
            let log = daemon.log_text();
            assert_eq!(daemon.end().code(), Some(1), "with {spare}: {log}");
            assert!(!ground.has("10.9.0.10/24"), "with {spare}: {log}");
            continue;
        }
        if reply.contains(r#""reply":"done""#) {
            daemon.wait_for("the next program", || daemon.log_text().matches("Startup complete").count() == 2);
        }
        // Where it has no socket to speak by, the address is the others'.
        daemon.wait_for("address and state to agree", || {
            let log = daemon.log_text();
            let state = log.lines().rev().find(|line| line.contains("(A) Entering ")).unwrap_or_default();
            ground.has("10.9.0.10/24") == state.contains("MASTER")
        });
        assert_eq!(daemon.stop().code(), Some(0), "with {spare}");
        assert!(!ground.has("10.9.0.10/24"), "with {spare}");
    }
}
