//! Virtual servers of a daemon whose kernel does not answer: checks go on, and so does everything else.

use crate::ground::{Ground, instance, ready};
use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The table cannot be had: no server counts, and VRRP, checks and scripts go on.
#[test]
fn without_a_table_everything_else_goes_on() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let server = ground.inside(|| TcpListener::bind("127.0.0.1:8080").unwrap());
    let note = |what: &str| format!("\"/bin/sh -c 'echo {what} >> {}/told'\"", ground.directory.display());
    ground.configure(&format!(
        "global_defs {{\n script_user root\n enable_script_security\n}}\nnet_namespace_ipvs gone\nvirtual_server 192.0.2.1 80 {{\n \
         delay_loop 1\n warmup 0\n retry 1\n delay_before_retry 1\n alpha\n lb_kind NAT\n lb_algo rr\n protocol TCP\n quorum_up {}\n \
         real_server 127.0.0.1 8080 {{\n  notify_up {}\n  TCP_CHECK {{\n  }}\n  MISC_CHECK {{\n   misc_path \"/bin/true word\"\n  }}\n }}\n}}\n\
         virtual_server 192.0.2.2 80 {{\n lb_kind NAT\n lb_algo rr\n protocol TCP\n quorum_up {}\n quorum_down {}\n \
         real_server 127.0.0.1 8081 {{\n }}\n}}\n{}",
        note("quorum"),
        note("server"),
        note("up at once"),
        note("and down"),
        instance("A", 1, "10.9.0.10/24")
    ));
    let daemon = ground.start("");
    daemon.wait_for_log("IPVS: Can't initialize ipvs: network namespace gone: No such file or directory");
    daemon.wait_for_log("TCP connection to [127.0.0.1]:tcp:8080 success.");
    // The path as it is written: /bin may be a link, and true another one's name.
    daemon.wait_for_log("Misc check for [[127.0.0.1]:tcp:8080 VS [192.0.2.1]:tcp:80] by [/bin/true] succeeded.");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    let answer = daemon.ask(r#"{"request":"servers"}"#);
    assert_eq!(answer["servers"]["ipvs"], false, "{answer}");
    // Its check is good, and nobody is sent there: neither script is told otherwise.
    let service = &answer["servers"]["services"][0];
    assert_eq!((&service["quorum_met"], &service["servers"][0]["up"]), (&false.into(), &false.into()), "{answer}");
    drop(server);
    daemon.wait_for_log("TCP_CHECK on service [127.0.0.1]:tcp:8080 failed");
    assert!(!daemon.log_text().contains("Gained quorum") && !ground.directory.join("told").exists());
    assert_eq!(daemon.stop().code(), Some(0));
}

/// The namespace of the table is a FIFO that nobody writes, so that whoever opens it waits in the kernel for ever, as one
/// would whom its table does not let go.
#[test]
fn a_table_that_the_kernel_does_not_let_go_holds_no_check_up() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let server = ground.inside(|| TcpListener::bind("127.0.0.1:8080").unwrap());
    ground.configure(&format!(
        "net_namespace_ipvs hang\nvirtual_server 192.0.2.1 80 {{\n delay_loop 1\n warmup 0\n retry 1\n delay_before_retry 1\n alpha\n lb_kind NAT\n \
         lb_algo rr\n protocol TCP\n real_server 127.0.0.1 8080 {{\n  TCP_CHECK {{\n  }}\n }}\n}}\n{}",
        instance("A", 1, "10.9.0.10/24")
    ));
    let line = "mount -t tmpfs tmpfs /run && mkdir /run/netns && mkfifo /run/netns/hang && exec {vipd}";
    let daemon = ground.start_by(line, "");
    daemon.wait_for_log("TCP connection to [127.0.0.1]:tcp:8080 success.");
    daemon.wait_for_log("IPVS: the kernel does not come back from a request");
    drop(server);
    daemon.wait_for_log("TCP_CHECK on service [127.0.0.1]:tcp:8080 failed after 1 retries.");
    let answer = daemon.ask(r#"{"request":"servers"}"#);
    assert_eq!(answer["servers"]["ipvs"], false, "{answer}");
    assert!(answer["servers"]["services"][0]["name"].is_string(), "{answer}");
    // Nobody becomes another program while a thread waits in the kernel.
    let answer = daemon.ask(r#"{"request":"upgrade"}"#);
    assert!(answer.to_string().contains("the kernel's table of virtual servers has not been answered"), "{answer}");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(!ground.has("10.9.0.10/24"));
}

/// A program of MISC_CHECK is given what keepalived's is: words, directory, umask, user and groups, signals, descriptors. What keepalived's
/// were given stands in tests/golden/probes/program.seen.
#[test]
fn a_program_of_a_check_is_given_what_keepalived_gives_it() {
    if !ready() {
        return;
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/probes");
    let read = |name: &str| std::fs::read_to_string(golden.join(name)).unwrap();
    let ground = Ground::new();
    let open = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    // Another user's program has to get there, and to write what it has seen.
    let seen = ground.directory.join("seen");
    std::fs::create_dir(&seen).unwrap();
    open(&ground.directory, 0o755);
    open(&seen, 0o777);
    ground.program("program", &read("program"));
    ground.configure(&read("program.conf").replace("DIRECTORY", &ground.directory.display().to_string()));
    let line = format!("mount -t tmpfs tmpfs /run && cd / && SEEN={} exec {{vipd}} </dev/null", seen.display());
    let daemon = ground.start_by(&line, "");
    for port in [8099, 8100] {
        let server = format!("[127.0.0.1]:tcp:{port} VS [10.0.0.1]:tcp:80]");
        daemon
            .wait_for_log(&format!("Misc check for [{server} by [{}/program] succeeded.", ground.directory.display()));
    }
    let of = |name: &str| -> Vec<String> {
        let text = std::fs::read_to_string(seen.join(name)).unwrap();
        text.lines().map(|line| format!("{name} {line}")).collect()
    };
    let ours = [of("root"), of("nobody")].concat();
    let theirs: Vec<String> =
        read("program.seen").lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    assert!(theirs.len() > 20, "{theirs:#?}");
    assert_eq!(ours, theirs);
    assert_eq!(daemon.stop().code(), Some(0));
}
