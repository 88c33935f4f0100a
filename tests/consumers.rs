//! Those who live off keepalived's interfaces, each by its own rules on what a real daemon leaves: exporters, monitoring,
//! platforms that embed keepalived, configuration management.
//!
//! The daemon is found under the name `keepalived`, as on a machine where it has taken that place. Its dumps go to a
//! directory of the test ($TMPDIR), since /tmp is shared. Needs root and iproute2, as the other namespace tests do; the
//! comparison with the original needs keepalived.
#![allow(clippy::unwrap_used)]

#[cfg(feature = "snmp")]
#[path = "consumers/agentx.rs"]
mod agentx;
#[path = "consumers/command_lines.rs"]
mod command_lines;
#[path = "consumers/compatibility.rs"]
mod compatibility;
#[cfg(feature = "snmp")]
#[path = "netns/crafted.rs"]
#[allow(dead_code)]
mod crafted;
#[cfg(feature = "dbus")]
#[path = "consumers/dbus.rs"]
mod dbus;
#[path = "consumers/dumps.rs"]
mod dumps;
#[path = "consumers/exporters.rs"]
mod exporters;
#[path = "daemon_netns/ground.rs"]
#[allow(dead_code)]
mod ground;
#[path = "consumers/hostile.rs"]
mod hostile;
#[path = "consumers/management.rs"]
mod management;
#[path = "consumers/monitoring.rs"]
mod monitoring;
#[path = "consumers/original.rs"]
mod original;
#[path = "consumers/platforms.rs"]
mod platforms;
#[cfg(feature = "snmp")]
#[path = "consumers/snmp.rs"]
mod snmp;

use ground::{Daemon, Ground};
use std::cell::Cell;
use std::path::PathBuf;
use std::process::{Command, Output};

/// Whom the consumers of this thread live off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Subject {
    Keepalived,
    Vipd,
}

thread_local! {
    /// Tests are about vipd; `compatibility` plays them with both.
    static SUBJECT: Cell<Subject> = const { Cell::new(Subject::Vipd) };
}

/// Some things are asked of vipd only: what the original does differently, and what it has no answer for.
fn is_vipd() -> bool {
    SUBJECT.get() == Subject::Vipd
}

/// The program as consumers call it.
fn program(ground: &Ground) -> PathBuf {
    let path = ground.directory.join("keepalived");
    let subject = if is_vipd() { env!("CARGO_BIN_EXE_vipd") } else { ORIGINAL };
    if !path.exists() {
        std::os::unix::fs::symlink(subject, &path).unwrap();
    }
    path
}

/// Debian's keepalived.
const ORIGINAL: &str = "/usr/sbin/keepalived";

fn start(ground: &Ground, flags: &str) -> Daemon {
    ground.start_program(&program(ground), flags)
}

fn call(ground: &Ground, arguments: &[&str]) -> Output {
    Command::new(program(ground)).args(arguments).output().unwrap()
}

/// `kill -s $(keepalived --signum=WORD) $(cat PIDFILE)`, as most consumers do it.
fn ask_for(ground: &Ground, daemon: &Daemon, word: &str) {
    let out = call(ground, &[&format!("--signum={word}")]);
    let number: i32 = String::from_utf8(out.stdout).unwrap().trim_end_matches('\n').parse().unwrap();
    let pid = std::fs::read_to_string(daemon.path("/run/keepalived.pid")).unwrap();
    assert_eq!(pid.trim().parse::<i32>().unwrap(), daemon.pid());
    daemon.signal(number);
}

/// Two instances, of which one is master and one in fault (`far` has no address), with all that exporters show.
const CONF: &str = "global_defs {
    router_id lab
    script_user root
    enable_script_security
}
vrrp_script good {
    script \"/usr/bin/true\"
    interval 1
    timeout 60
    weight 5
}
vrrp_script bad {
    script \"/usr/bin/false\"
    interval 1
    timeout 60
    weight -3
}
vrrp_instance VI/1 {
    interface eth0
    virtual_router_id 51
    priority 100
    version 3
    advert_int 0.1
    authentication {
        auth_type PASS
        auth_pass secret
    }
    track_script {
        good
        bad
    }
    virtual_ipaddress {
        10.9.0.100/24 dev eth0 label eth0:1
        10.9.0.101
    }
    virtual_ipaddress_excluded {
        10.9.0.102/24
    }
    virtual_routes {
        10.77.0.0/16 via 10.9.0.100 dev eth0
    }
}
vrrp_instance VI_2 {
    interface far
    virtual_router_id 52
    priority 100
    version 3
    advert_int 0.1
    virtual_ipaddress {
        10.9.1.100/24
    }
}
";

/// A daemon with [`CONF`] that is [`settled`].
fn standing(ground: &Ground, flags: &str) -> Daemon {
    ground.configure(CONF);
    let daemon = start(ground, flags);
    settled(ground, &daemon);
    daemon
}

/// A daemon with [`CONF`] that has been master for long enough to have sent adverts.
fn settled(ground: &Ground, daemon: &Daemon) {
    daemon.wait_for_address(ground, "10.9.0.102/24", true);
    if !is_vipd() {
        let path = ground.directory.join("keepalived.data");
        daemon.wait_for("a priority made of both scripts", || {
            daemon.signal(libc::SIGUSR1);
            std::thread::sleep(std::time::Duration::from_millis(100));
            std::fs::read_to_string(&path).is_ok_and(|text| text.contains("Effective priority = 102"))
        });
        return std::fs::remove_file(path).unwrap();
    }
    daemon.wait_for("both scripts to have reported", || {
        let status = daemon.ask(r#"{"request":"status"}"#);
        let instance = &status["status"]["instances"][0];
        instance["effective_priority"] == 102 && instance["counters"]["advert_sent"].as_u64() > Some(0)
    });
}
