//! docs/compatibility.md: each consumer of keepalived's interfaces beside Debian's keepalived and beside vipd, a cell each.
//!
//! The rows are the tests of this binary, played once more with either program in the place of `keepalived`, and a few that
//! are played here only. The page is what the run printed: `VIPD_COMPATIBILITY=write cargo test --test consumers
//! compatibility` writes it, without the variable it is compared. What is held is vipd's column: keepalived is another
//! program's matter, gets three attempts a cell, and a cell that is then still not as the page has it is printed, not failed.

use super::ground::{Daemon, Ground, ip, ready};
use super::{ORIGINAL, SUBJECT, Subject, ask_for, exporters, management, platforms, program, settled, start};
use std::path::Path;
use std::process::Command;

/// Who lives off keepalived, what is played of it, the test, and why a cell that is red is so (keepalived, vipd).
struct Row {
    who: &'static str,
    what: &'static str,
    play: fn(),
    why: &'static str,
}

const fn row(who: &'static str, what: &'static str, play: fn()) -> Row {
    Row { who, what, play, why: "" }
}

const ROWS: &[Row] = &[
    row(
        "mehdy/keepalived-exporter; categraf's copy of it",
        "version from stderr, `--signum`, signals, `.data`, `.stats` and JSON by its rules",
        exporters::mehdys_exporter_reads_version_data_scripts_and_stats,
    ),
    row(
        "gen2brain/keepalived_exporter; redhat-cop's operator with it",
        "the process by its name, signal 36, the JSON array, no siblings of the file",
        exporters::gen2brains_exporter_finds_the_process_and_decodes_an_array,
    ),
    row(
        "Checkmk plug-in (mayrstefan)",
        "CLOSE_WRITE in the directory, three times",
        exporters::checkmk_waits_on_the_directory,
    ),
    #[cfg(feature = "snmp")]
    row("Checkmk's own SNMP check", "detection, names, states and addresses in one order of rows", checkmk_by_snmp),
    #[cfg(feature = "snmp")]
    row(
        "check_keepalived_vrrp, Zabbix over KEEPALIVED-MIB",
        "walk of instances: name, state, wanted state",
        templates_by_snmp,
    ),
    row(
        "Zabbix template by notify (DerHerscher), icinga2-keepalived, OpenWrt luci",
        "arguments of notify programs into a file, until STOP",
        notified_into_a_file,
    ),
    Row {
        who: "zabbix-keepalived, keepalived-wrapper (nser77)",
        what: "`json_version 2`: an object with `vrrp`",
        play: json_of_the_second_version,
        why: "2.2.7 does not know `json_version`",
    },
    row("Munin, NCollectd, roxy-wi", "text dumps by the pid file, read line by line", text_readers),
    row("rsyslog rules and scripts that read the log", "`Keepalived_vrrp` in front, `Entering … STATE`", log_readers),
    row(
        "VyOS: show commands",
        "CLOSE_WRITE of the exact names, then removed, twice",
        platforms::vyos_collects_and_removes_the_three_files,
    ),
    row(
        "VyOS: keepalived-fifo",
        "`notify_fifo_script` and its four words a line",
        platforms::vyos_reads_the_fifo_by_a_script_of_its_own,
    ),
    row(
        "OpenShift MCO",
        "liveness probe: the file is replaced, FAULT is in it or not",
        platforms::openshifts_liveness_probe_finds_a_fresh_file,
    ),
    row(
        "OpenStack Neutron",
        "`-P` with pid files of its own, order of addresses in `ip monitor`",
        platforms::neutron_sees_the_addresses_in_order_and_the_files_of_its_choice,
    ),
    row(
        "osixia/keepalived, redhat-cop's operator, kube-keepalived-vip",
        "long options, `--config-id` with `@id`, names with a slash, notify until STOP",
        platforms::containers_start_it_with_long_options_and_are_notified,
    ),
    row("Octavia, kolla-ansible", "forks, pid file, `-nld -p FILE`, HUP, TERM", forking_and_named_pid_files),
    #[cfg(feature = "dbus")]
    row(
        "danos/vyatta-vrrp over D-Bus",
        "PrintData, properties, signals of a life",
        super::dbus::vyatta_asks_over_the_bus,
    ),
    row(
        "Ansible (evrardjp), Puppet (voxpupuli)",
        "version from the first line of stderr",
        management::versions_are_read_from_the_first_line_of_stderr,
    ),
    row(
        "Ansible, Puppet, Chef, Salt",
        "`--config-test`, `-l -t`, `-tFILE` before a file is put in place",
        management::files_are_validated_before_they_are_put_in_place,
    ),
    row("Chef (sous-chefs), Salt", "`include /etc/keepalived/conf.d/*.conf`", included_directories),
];

/// What of them is not played, and why.
const NOT_PLAYED: &[(&str, &str)] = &[
    ("lyon-esport/Monitor-VRRP", "it runs traceroute and asks keepalived nothing"),
    ("Oefenweb (Ansible)", "its unit is `Type=simple` with `--dont-fork` and HUP, which the container row does"),
    ("OpenWrt's hotplug scripts", "notify programs as in the row by notify; its UCI generator writes a plain file"),
    ("canonical/keepalived-vrrp-operator", "there is nothing in it but a licence"),
    (
        "Debian's package: unit, conffiles, policy",
        "`tests/vm/run` installs it and the package of vipd in a whole machine",
    ),
    ("dynkeepalived of OpenShift", "it speaks to a socket of its own, and to keepalived by HUP"),
];

fn original_or_skip() -> bool {
    let there = ready() && Path::new(ORIGINAL).exists();
    assert!(there || std::env::var("VIPD_REQUIRE_NETNS").as_deref() != Ok("1"), "needs keepalived");
    there
}

/// Plays a row with one of both; whether it went well.
fn goes_well(row: &Row, subject: Subject) -> bool {
    let play = row.play;
    let played = std::thread::spawn(move || {
        SUBJECT.set(subject);
        play();
    });
    let well = played.join().is_ok();
    println!("{:?}: {}: {}", subject, row.who, if well { "works" } else { "does not work" });
    well
}

/// What comes out of up to three attempts: `expected` if any of them does.
fn within_three(expected: bool, mut attempt: impl FnMut() -> bool) -> bool {
    if (0..3).any(|_| attempt() == expected) { expected } else { !expected }
}

#[test]
fn keepalived_that_races_once_is_asked_again() {
    let told = |answers: &[bool], expected: bool| {
        let mut rest = answers.iter();
        let all = within_three(expected, || *rest.next().unwrap());
        (all, rest.len())
    };
    assert_eq!(told(&[true, true, true], true), (true, 2));
    assert_eq!(told(&[false, false, true], true), (true, 0));
    assert_eq!(told(&[false, false, false], true), (false, 0));
    assert_eq!(told(&[true, false, true], false), (false, 1));
}

#[test]
fn the_page_is_what_the_run_printed() {
    if !original_or_skip() {
        eprintln!("skipped: needs root, iproute2 and keepalived");
        return;
    }
    let mut page = String::from(include_str!("compatibility/head.md"));
    let version = Command::new(ORIGINAL).arg("-v").output().unwrap();
    let version = String::from_utf8_lossy(&version.stderr).split_whitespace().nth(1).unwrap_or_default().to_owned();
    page += &format!("| consumer | what is played | keepalived {version} (Debian) | vipd |\n|---|---|---|---|\n");
    // Two at a time: most of it is waiting.
    let cells: Vec<[bool; 2]> = std::thread::scope(|scope| {
        let halves = [0, 1].map(|half| {
            scope.spawn(move || {
                let own = ROWS.iter().enumerate().filter(move |(at, _)| at % 2 == half);
                own.map(|(at, row)| {
                    let theirs = within_three(row.why.is_empty(), || goes_well(row, Subject::Keepalived));
                    (at, [theirs, goes_well(row, Subject::Vipd)])
                })
                .collect::<Vec<_>>()
            })
        });
        let mut all: Vec<_> = halves.into_iter().flat_map(|half| half.join().unwrap()).collect();
        all.sort_by_key(|(at, _)| *at);
        all.into_iter().map(|(_, cells)| cells).collect()
    });
    let write = std::env::var_os("VIPD_COMPATIBILITY").is_some_and(|v| v == "write");
    for (row, cells) in ROWS.iter().zip(&cells) {
        let cell = |well: bool| if well { "works".to_owned() } else { format!("does not: {}", row.why) };
        let mut theirs = cells[0];
        if !write && theirs != row.why.is_empty() {
            println!("not as in the page, and no fault of vipd: {} with keepalived: {}", row.who, cell(theirs));
            theirs = !theirs;
        }
        page += &format!("| {} | {} | {} | {} |\n", row.who, row.what, cell(theirs), cell(cells[1]));
    }
    page += "\n## Not played\n\n| consumer | why |\n|---|---|\n";
    for (who, why) in NOT_PLAYED {
        page += &format!("| {who} | {why} |\n");
    }
    assert!(cells.iter().all(|[_, vipd]| *vipd), "vipd does not serve everybody:\n{page}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/compatibility.md");
    if write {
        std::fs::write(&path, &page).unwrap();
    }
    // Builds without a door have fewer rows.
    if cfg!(all(feature = "snmp", feature = "dbus")) {
        assert_eq!(std::fs::read_to_string(&path).unwrap(), page);
    }
}

#[cfg(feature = "snmp")]
fn by_snmp(play: impl FnOnce(&super::snmp::Tools, &Daemon)) {
    let ground = Ground::new();
    let tools = super::snmp::Tools::start(&ground);
    let one = |name: &str, vrid: u8, interface: &str| {
        super::ground::instance(name, vrid, &format!("10.9.0.{vrid}/24")).replace("eth0", interface)
    };
    let global = format!("global_defs {{\n enable_snmp_vrrp\n snmp_socket {}/agentx\n}}\n", ground.directory.display());
    ground.configure(&(global + &one("VI_1", 51, "eth0") + &one("VI_2", 52, "far")));
    let daemon = start(&ground, "-P");
    daemon.wait_for("a master over SNMP", || tools.states().first().is_some_and(|state| state == "2"));
    play(&tools, &daemon);
    assert_eq!(daemon.stop().code(), Some(0));
}

/// Detection by the version, then two tables whose rows are matched by their order.
#[cfg(feature = "snmp")]
fn checkmk_by_snmp() {
    const MIB: &str = ".1.3.6.1.4.1.9586.100.5";
    by_snmp(|tools, _| {
        assert!(tools.ask("snmpget", &[&format!("{MIB}.1.1.0")]).contains("STRING: \"Keepalived v"));
        let column = |of: &str| -> Vec<String> {
            let text = tools.ask("snmpwalk", &[&format!("{MIB}.{of}")]);
            text.lines().filter_map(|line| Some(line.split_once(": ")?.1.trim().to_owned())).collect()
        };
        assert_eq!(column("2.3.1.2"), ["\"VI_1\"", "\"VI_2\""]);
        let states = column("2.3.1.4");
        assert!(states.len() == 2 && states[0] == "2" && ["0", "3"].contains(&&*states[1]), "{states:?}");
        // Address octets.
        assert_eq!(column("2.6.1.3"), ["0A 09 00 33", "0A 09 00 34"]);
    });
}

#[cfg(feature = "snmp")]
fn templates_by_snmp() {
    by_snmp(|tools, _| {
        let walked = tools.walk("snmpwalk");
        let value = |column: u8, row: u8| {
            walked.get(&format!(".1.3.6.1.4.1.9586.100.5.2.3.1.{column}.{row}")).map(String::as_str)
        };
        assert_eq!((value(2, 1), value(3, 1)), (Some("STRING: \"VI_1\""), Some("Gauge32: 51")));
        assert_eq!((value(4, 1), value(6, 1)), (Some("INTEGER: 2"), Some("INTEGER: 2")));
    });
}

fn notified_into_a_file() {
    let ground = Ground::new();
    let status = ground.directory.join("keepalived_status");
    let script = ground.program("notify", &format!("echo \"$1 $2 $3 $4\" >{}", status.display()));
    // Programs run beside each other: the one of MASTER comes long after the one of BACKUP.
    let instance = super::ground::instance("VI_1", 51, "10.9.0.51/24").replace("advert_int 0.1", "advert_int 1");
    let notify = format!("priority 200\n notify {}\n", script.display());
    let one = instance.replace("priority 200\n", &(notify + " notify_stop \"/bin/true\"\n"));
    ground.configure(&format!("global_defs {{\n script_user root\n}}\n{one}"));
    let daemon = start(&ground, "");
    daemon.wait_for("to be told", || {
        std::fs::read_to_string(&status).is_ok_and(|text| text == "INSTANCE VI_1 MASTER 200\n")
    });
    assert_eq!(daemon.stop().code(), Some(0));
}

fn json_of_the_second_version() {
    let ground = Ground::new();
    ground.configure(&super::CONF.replace("router_id lab", "router_id lab\n    json_version 2"));
    let daemon = start(&ground, "");
    settled(&ground, &daemon);
    ask_for(&ground, &daemon, "JSON");
    let path = ground.directory.join("keepalived.json");
    let read = || serde_json::from_str::<serde_json::Value>(&std::fs::read_to_string(&path).unwrap_or_default()).ok();
    daemon.wait_for("the JSON", || read().is_some());
    let json = read().unwrap();
    assert_eq!(json["vrrp"][0]["data"]["iname"], "VI/1", "{json:#}");
    assert_eq!(json["vrrp"].as_array().unwrap().len(), 2);
}

fn text_readers() {
    let ground = Ground::new();
    ground.configure(super::CONF);
    let daemon = start(&ground, "");
    settled(&ground, &daemon);
    for (word, name, line) in
        [("DATA", "keepalived.data", "   State = MASTER"), ("STATS", "keepalived.stats", "  Advertisements:")]
    {
        ask_for(&ground, &daemon, word);
        let read = || std::fs::read_to_string(ground.directory.join(name)).unwrap_or_default();
        daemon.wait_for(name, || read().lines().any(|found| found == line));
    }
}

fn log_readers() {
    let ground = Ground::new();
    ground.configure(&super::ground::instance("VI_1", 51, "10.9.0.51/24"));
    let daemon = start(&ground, "");
    daemon.wait_for_address(&ground, "10.9.0.51/24", true);
    for (state, line) in [
        ("down", "(VI_1) Entering FAULT STATE"),
        ("up", "(VI_1) Entering BACKUP STATE"),
        ("up", "(VI_1) Entering MASTER STATE"),
    ] {
        ip(&format!("-n {} link set far {state}", ground.name));
        daemon.wait_for_log(line);
    }
    // On the console a line has its time in front; the program's name comes with syslog.
    assert!(program(&ground).ends_with("keepalived"));
    assert_eq!(daemon.stop().code(), Some(0));
}

fn forking_and_named_pid_files() {
    let ground = Ground::new();
    ground.configure(&super::ground::instance("VI_1", 51, "10.9.0.51/24"));
    let pid_file = ground.directory.join("kolla.pid");
    let of_file = || std::fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse::<i32>().ok());
    // kolla-ansible: in the foreground.
    let daemon = start(&ground, &format!("-nld -p {}", pid_file.display()));
    daemon.wait_for_address(&ground, "10.9.0.51/24", true);
    assert_eq!(of_file(), Some(daemon.pid()));
    daemon.signal(libc::SIGHUP);
    daemon.wait_for_log("Reload complete");
    assert_eq!(daemon.stop().code(), Some(0));
    assert_eq!(of_file(), None, "the pid file stays behind");
    // Octavia: it forks, and systemd reads the pid.
    let out = ground.run_program(&program(&ground), &format!("-p {}", pid_file.display()));
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let begun = std::time::Instant::now();
    let within = |what: &str, is: &dyn Fn() -> bool| {
        while !is() {
            assert!(begun.elapsed() < super::ground::PATIENCE, "{what}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    within("no pid", &|| of_file().is_some());
    within("no address", &|| ground.has("10.9.0.51/24"));
    // SAFETY: kill takes no pointers; the process is the daemon that was started here.
    assert_eq!(unsafe { libc::kill(of_file().unwrap(), libc::SIGTERM) }, 0);
    within("it does not end", &|| of_file().is_none() && !ground.has("10.9.0.51/24"));
}

fn included_directories() {
    let ground = Ground::new();
    std::fs::create_dir(ground.directory.join("conf.d")).unwrap();
    ground.write("conf.d/a.conf", "global_defs {\n router_id included\n}\n");
    ground.write("conf.d/b.conf", &super::ground::instance("VI_1", 51, "10.9.0.51/24"));
    ground.configure(&format!("include {}/conf.d/*.conf\n", ground.directory.display()));
    let daemon = start(&ground, "");
    daemon.wait_for_address(&ground, "10.9.0.51/24", true);
    assert_eq!(daemon.stop().code(), Some(0));
}
