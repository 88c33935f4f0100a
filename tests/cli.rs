//! What vipctl shows: status and explain out of a snapshot, doctor on made-up machines, manual pages and completions.

#![allow(clippy::unwrap_used)]

use serde_json::json;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process::Command;
use vipd::cli::doctor::{Machine, Ran, Weight, examine};
use vipd::cli::paint::Paint;
use vipd::cli::view::Snapshot;
use vipd::cli::{explain, status};
use vipd::sim::build;
use vipd::spec::{IfName, VirtualLink};

fn backup_with_failed_script() -> Snapshot {
    serde_json::from_value(json!({
        "now": 100_000_000u64, "unix_micros": 0,
        "instances": [{
            "name": "VI_1", "state": "BACKUP", "since": 40_000_000u64, "interface": "eth0", "vrid": 51, "version": 2,
            "family": "IPv4", "base_priority": 150, "effective_priority": 90, "total_priority": 90,
            "contributions": [{ "tracker": "chk_nginx", "weight": -60, "good": false, "amount": -60, "fault": false }],
            "why": { "outranked": { "by": "10.0.0.2", "priority": 100 } },
            "master": { "address": "10.0.0.2", "priority": 100, "ourselves": false, "last_heard": 99_600_000u64 },
            "next": { "at": 103_200_000u64, "what": "takes over" },
            "a_field_of_tomorrow": true
        }]
    }))
    .unwrap()
}

#[test]
fn status_says_state_sum_master_and_next() {
    let text = status::render(&backup_with_failed_script(), Paint::plain());
    for part in [
        "VI_1",
        "BACKUP",
        "90 = 150 - 60 (chk_nginx fails)",
        "10.0.0.2, priority 100, heard 0.4 s ago",
        "in 3.2 s: takes over",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

#[test]
fn explain_says_what_would_change_it() {
    let snapshot = backup_with_failed_script();
    let text = explain::render(&snapshot, Some("VI_1"), Paint::plain()).unwrap();
    assert!(text.contains("10.0.0.2 has the better claim (priority 100)"), "{text}");
    assert!(text.contains("if chk_nginx were good, 150 would be more than the master's 100"), "{text}");
    assert!(explain::render(&snapshot, Some("VI_2"), Paint::plain()).is_none());
}

/// A program that hangs costs whatever it was to do, and nothing else shows it.
#[test]
fn a_notify_program_that_hangs_and_a_fifo_that_nobody_reads_are_named() {
    let mut snapshot = backup_with_failed_script();
    let run = |of: &str, since: u64, pid: i32| json!({ "of": of, "event": "MASTER", "program": "/etc/n", "pid": pid, "since": since });
    snapshot.groups = serde_json::from_value(json!([{ "name": "G", "members": ["VI_1"] }])).unwrap();
    let notify = json!({ "running": [run("VI_1", 20_000_000, 77), run("G", 30_000_000, 78), run("VI_1", 60_000_000, 79)],
        "waiting": 2, "full_fifos": [{ "path": "/run/f", "lost": 3 }] });
    snapshot.notify = serde_json::from_value(notify).unwrap();
    let hangs = "the notify program /etc/n of VI_1 (MASTER) has been running for 1 min 20 s and does not end (pid 77); so do 1 more of it";
    let full = "the notify FIFO /run/f is full, and 3 lines were lost: nobody reads it";
    let status = status::render(&snapshot, Paint::plain());
    assert!(status.contains(hangs) && status.contains(full), "{status}");
    assert!(!status.contains("pid 79"), "40 s are not long: {status}");
    let explain = explain::render(&snapshot, None, Paint::plain()).unwrap();
    for part in [hangs, "it is left alone; 2 others wait for their turn", "`kill 77`"] {
        assert!(explain.contains(part), "no {part} in {explain}");
    }
    snapshot.notify.running.truncate(0);
    assert!(!explain::render(&snapshot, None, Paint::plain()).unwrap().contains("notify"));
}

/// What has failed already is not counted again, and a drained instance does not claim a sum that it does not have.
#[test]
fn sums_are_right_when_failed_and_when_drained() {
    let mut snapshot = backup_with_failed_script();
    snapshot.instances[0].state = "MASTER".into();
    let text = explain::render(&snapshot, None, Paint::plain()).unwrap();
    assert!(!text.contains("if everything that is tracked failed"), "{text}");
    snapshot.instances[0].contributions[0].good = Some(true);
    (snapshot.instances[0].effective_priority, snapshot.instances[0].total_priority) = (150, 150);
    let text = explain::render(&snapshot, None, Paint::plain()).unwrap();
    assert!(text.contains("if everything that is tracked failed, the priority would be 90"), "{text}");
    (snapshot.instances[0].effective_priority, snapshot.instances[0].drained) = (1, true);
    assert_eq!(snapshot.instances[0].sum(), "1 while drained, 150 otherwise");
}

/// What would be if all failed goes by the rule of the engine: weight 0 is FAULT, `reverse` turns the sign, what has not been heard of
/// yet loses only what it would cost, a file has no failure, and an address owner stays at 255.
#[test]
fn a_forecast_of_failures_goes_by_the_rule_of_the_trackers() {
    let explained = |state: &str, base: u8, parts: serde_json::Value| {
        let mut snapshot = backup_with_failed_script();
        let instance = &mut snapshot.instances[0];
        instance.state = state.into();
        instance.contributions = serde_json::from_value(parts).unwrap();
        let sum = i32::from(base) + instance.contributions.iter().map(|part| part.amount).sum::<i32>();
        (instance.total_priority, instance.base_priority, instance.effective_priority) = (sum, base, sum as u8);
        explain::render(&snapshot, None, Paint::plain()).unwrap()
    };
    let master = |parts: serde_json::Value| explained("MASTER", 100, parts);
    let part = |kind: &str, weight: i32, reverse: bool, good: Option<bool>, amount: i32| json!({ "tracker": kind, "kind": kind, "weight": weight, "reverse": reverse, "good": good, "amount": amount, "fault": false });
    let text = master(json!([part("script", 0, false, Some(true), 0), part("process", 20, false, Some(true), 20)]));
    assert!(text.contains("if everything that is tracked failed, it would be in FAULT"), "{text}");
    let text = master(json!([part("script", 0, true, Some(false), 0), part("process", 20, false, Some(true), 20)]));
    assert!(text.contains("if everything that is tracked failed, the priority would be 100"), "{text}");
    let text = master(json!([part("script", 20, false, Some(true), 20), part("process", -30, true, Some(true), 0)]));
    assert!(!text.contains("if everything"), "130 is not less: {text}");
    let text = master(json!([part("script", 20, false, None, 0), part("process", -5, false, Some(true), 0)]));
    assert!(text.contains("if everything that is tracked failed, the priority would be 95"), "{text}");
    let text = master(json!([part("file", 10, false, Some(true), 50), part("script", 20, false, Some(true), 20)]));
    assert!(text.contains("and the files stayed as they are, the priority would be 150"), "{text}");
    let text = explained("MASTER", 255, json!([part("script", -20, false, Some(true), 0)]));
    assert!(!text.contains("if everything"), "{text}");

    let backup = json!([
        part("script", 20, false, Some(false), 0),
        part("process", 30, true, Some(false), 0),
        part("file", 5, false, Some(true), -15)
    ]);
    let text = explained("BACKUP", 96, backup.clone());
    assert!(text.contains("if script were good, 101 would be more than the master's 100"), "{text}");
    let text = explained("BACKUP", 95, backup);
    assert!(text.contains("80 is less than the master's 100"), "{text}");
}

/// Whether a number is good depends on the weight that an instance gives it.
#[test]
fn a_tracked_file_shows_its_number_and_no_health() {
    let mut snapshot = backup_with_failed_script();
    let files = json!([{ "kind": "file", "name": "level", "value": 20, "good": null }, { "kind": "file", "name": "unread", "value": null, "good": null }]);
    snapshot.trackers = serde_json::from_value(files).unwrap();
    let text = status::render(&snapshot, Paint::plain());
    let row =
        |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!((row("level"), row("unread")), (vec!["level", "file", "20"], vec!["unread", "file", "unknown"]));
}

/// A machine out of tables.
#[derive(Default)]
struct Made {
    files: BTreeMap<String, String>,
    commands: BTreeMap<String, String>,
    addresses: Vec<(String, IpAddr)>,
}

impl Made {
    fn file(mut self, path: &str, text: &str) -> Made {
        self.files.insert(path.into(), text.into());
        self
    }
    fn command(mut self, line: &str, output: &str) -> Made {
        self.commands.insert(line.into(), output.into());
        self
    }
    fn with_eth0() -> Made {
        Made::default().file("/sys/class/net/eth0/operstate", "up\n").file("/sys/class/net/eth0/ifindex", "2\n")
    }
}

impl Machine for Made {
    fn read(&self, path: &str) -> Option<String> {
        self.files.get(path).cloned()
    }
    fn exists(&self, path: &str) -> bool {
        let inside = format!("{path}/");
        self.files.keys().any(|known| known == path || known.starts_with(&inside))
    }
    fn list(&self, path: &str) -> Vec<String> {
        let inside = format!("{path}/");
        let names = self.files.keys().filter_map(|known| known.strip_prefix(&inside)?.split('/').next());
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.dedup();
        names
    }
    fn run(&self, argv: &[&str]) -> Option<Ran> {
        self.commands.get(&argv.join(" ")).map(|stdout| Ran { ok: true, stdout: stdout.clone(), ..Ran::default() })
    }
    fn addresses(&self) -> Vec<(String, IpAddr)> {
        self.addresses.clone()
    }
    fn clock_synchronised(&self) -> Option<bool> {
        None
    }
    fn kernel(&self) -> String {
        "6.1".into()
    }
}

/// Checks that found something bad on this machine, with an instance on eth0 for 10.0.0.10.
fn complaints(machine: &Made, vmac: bool) -> Vec<&'static str> {
    let mut instance = build::instance("VI_1", 51, 100, &["10.0.0.10".parse().unwrap()]);
    instance.interface = IfName::new("eth0");
    if vmac {
        let mac = [0, 0, 0x5e, 0, 1, 51];
        instance.virtual_link =
            Some(VirtualLink::Vmac { name: None, prefix: "vrrp".into(), mac, netlink_notify: false, group: None });
    }
    let spec = build::spec(vec![instance]);
    let found = examine(&spec, machine);
    found.iter().filter(|f| f.weight >= Weight::Warning).map(|f| f.check).collect()
}

#[test]
fn doctor_is_content_with_a_plain_machine() {
    assert_eq!(complaints(&Made::with_eth0(), false), Vec::<&str>::new());
}

#[test]
fn doctor_sees_a_wrong_interface_name() {
    let machine = Made::default().file("/sys/class/net/ens3/operstate", "up\n");
    assert_eq!(complaints(&machine, false), ["interface"]);
}

#[test]
fn doctor_sees_networkd_without_keep_configuration() {
    let managed = || {
        Made::with_eth0()
            .file(
                "/run/systemd/netif/links/2",
                "ADMIN_STATE=configured\nNETWORK_FILE=/etc/systemd/network/10-eth0.network\n",
            )
            .file("/etc/systemd/network/10-eth0.network", "[Match]\nName=eth0\n[Network]\nDHCP=yes\n")
    };
    assert_eq!(complaints(&managed(), false), ["networkd"]);
    let drop_in = "/etc/systemd/network/10-eth0.network.d/vipd.conf";
    let cured = managed().file(drop_in, "[Network]\nKeepConfiguration=yes\n");
    assert_eq!(complaints(&cured, false), Vec::<&str>::new());
}

#[test]
fn doctor_sees_a_firewall_that_drops_vrrp() {
    let ruleset = |rule: &str| {
        let chain =
            r#"{"family":"inet","table":"filter","name":"input","type":"filter","hook":"input","policy":"drop"}"#;
        let rule = format!(r#"{{"family":"inet","table":"filter","chain":"input","expr":[{rule}]}}"#);
        format!(r#"{{"nftables":[{{"chain":{chain}}},{{"rule":{rule}}}]}}"#)
    };
    let with = |rule: &str| Made::with_eth0().command("nft -j list ruleset", &ruleset(rule));
    let field = |protocol: &str, field: &str, right: &str| {
        let left = format!(r#"{{"payload":{{"protocol":"{protocol}","field":"{field}"}}}}"#);
        format!(r#"{{"match":{{"op":"==","left":{left},"right":{right}}}}}"#)
    };
    assert_eq!(
        complaints(&with(&format!(r#"{},{{"accept":null}}"#, field("tcp", "dport", "22"))), false),
        ["firewall"]
    );
    assert_eq!(
        complaints(&with(&format!(r#"{},{{"drop":null}}"#, field("ip", "protocol", "\"vrrp\""))), false),
        ["firewall"]
    );
    let accepts = format!(r#"{},{{"accept":null}}"#, field("ip", "protocol", "112"));
    assert_eq!(complaints(&with(&accepts), false), Vec::<&str>::new());
}

/// nft names the extensions of iptables-nft and not what is asked of them: then iptables-nft is asked, and its command is
/// the cure.
#[test]
fn doctor_reads_what_iptables_has_set_in_nftables() {
    let json = include_str!("golden/nft/iptables.json");
    let machine = Made::with_eth0().command("nft -j list ruleset", json);
    assert_eq!(complaints(&machine, false), ["firewall"], "nft alone says that much");
    let spec = build::spec(vec![build::instance("VI_1", 51, 100, &["10.0.0.10".parse().unwrap()])]);
    let cure = |machine: &Made| {
        let found = examine(&spec, machine).into_iter().find(|f| f.check == "firewall").unwrap();
        format!("{}: {}", found.what, found.cure.unwrap_or_default())
    };
    assert!(cure(&machine).contains("nft insert rule ip filter INPUT meta l4proto 112 accept"), "{}", cure(&machine));
    let asked = machine.command("iptables-nft -S", include_str!("golden/nft/iptables.txt"));
    assert!(cure(&asked).contains("iptables-nft -I INPUT -p 112 -j ACCEPT"), "{}", cure(&asked));
    assert!(cure(&asked).contains("-A INPUT -i eth0 -p vrrp"), "{}", cure(&asked));
}

#[test]
fn doctor_sees_what_hinders_a_vmac() {
    let machine = Made::with_eth0()
        .file("/proc/sys/net/ipv4/conf/all/rp_filter", "1\n")
        .file("/proc/sys/net/ipv4/conf/eth0/arp_ignore", "0\n")
        .file("/sys/module/macvlan/refcnt", "1\n");
    assert_eq!(complaints(&machine, true), ["rp_filter", "arp"]);
    assert_eq!(complaints(&machine, false), Vec::<&str>::new());
}

#[test]
fn doctor_sees_a_service_that_cannot_bind_and_an_address_that_is_there() {
    let mut machine = Made::with_eth0()
        .file("/proc/sys/net/ipv4/ip_nonlocal_bind", "0\n")
        .file("/etc/nginx/conf.d/site.conf", "server {\n    listen 10.0.0.10:443 ssl;\n}\n");
    assert_eq!(complaints(&machine, false), ["nonlocal-bind"]);
    machine.addresses = vec![("eth0".into(), "10.0.0.10".parse().unwrap())];
    // It is the only one, too: there would be nothing to send from.
    assert_eq!(complaints(&machine, false), ["own-address", "address", "nonlocal-bind"]);
    machine.addresses.push(("eth0".into(), "10.0.0.2".parse().unwrap()));
    assert_eq!(complaints(&machine, false), ["address", "nonlocal-bind"]);
    // Another address that begins the same is not it.
    let near = Made::with_eth0()
        .file("/proc/sys/net/ipv4/ip_nonlocal_bind", "0\n")
        .file("/etc/nginx/conf.d/site.conf", "listen 10.0.0.101:443;\n");
    assert_eq!(complaints(&near, false), Vec::<&str>::new());
}

fn vipctl(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_vipctl")).args(args).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// vipd.conf(5) holds every keyword, and no line of a page is an instruction by accident.
#[test]
fn manual_pages_are_whole() {
    let (code, page) = vipctl(&["man", "vipd.conf"]);
    assert_eq!(code, Some(0));
    for keyword in vipd::config::table::keywords::all() {
        let line = format!("\\fB{}\\fR", keyword.keyword.replace('-', "\\-").replace('~', "\\(ti"));
        assert!(page.contains(&line), "{} is not in vipd.conf(5)", keyword.keyword);
    }
    let known = ["TH", "SH", "SS", "TP", "PP", "B", "BR", "br", "nf", "fi", "nh", "ad"];
    for page in ["vipd.conf", "vipctl", "vipd", "vipd.scenario", "genhash"] {
        let (_, text) = vipctl(&["man", page]);
        for line in text.lines().filter(|l| l.starts_with(['.', '\''])) {
            let word = line.trim_start_matches(['.', '\'']).split_whitespace().next().unwrap_or("");
            assert!(known.contains(&word), "{page}: {line}");
        }
    }
}

/// Every command of the examples in vipctl(1) is one that vipctl takes, and the scenario language's page has all of its acts.
#[test]
fn the_examples_of_the_manual_can_be_typed() {
    use clap::Parser;
    let (_, page) = vipctl(&["man", "vipctl"]);
    assert!(page.contains(".SH EXAMPLES"));
    let parts =
        |line: &str| line.split("&&").flat_map(|part| part.split(';')).map(|p| p.trim().to_owned()).collect::<Vec<_>>();
    for (what, line) in vipd::cli::manual::EXAMPLES {
        for command in parts(line).iter().filter(|command| command.starts_with("vipctl")) {
            let words = command.split_whitespace();
            vipd::cli::args::Vipctl::try_parse_from(words).unwrap_or_else(|e| panic!("{what} {command}: {e}"));
        }
    }
    let (code, page) = vipctl(&["man", "vipd.scenario"]);
    assert_eq!(code, Some(0));
    for act in ["partition a | b", "steal a 192.0.2.9", "server 10.1.0.2:8080 refuse", "netlink a slow 400ms"] {
        assert!(page.contains(act), "{act}");
    }
}

#[test]
fn completions_offer_every_visible_verb_and_no_hidden_one() {
    let (code, bash) = vipctl(&["completions", "bash"]);
    assert_eq!(code, Some(0));
    for verb in ["check", "simulate", "lab", "explain", "doctor", "listen", "man", "completions"] {
        assert!(bash.contains(verb), "{verb}");
    }
    assert!(!bash.contains("lab-node"));
    let (_, fish) = vipctl(&["completions", "fish", "--program", "vipd"]);
    assert!(fish.contains("use-file"));
}

#[test]
fn a_wrong_question_has_exit_code_2() {
    assert_eq!(vipctl(&["check", "/nowhere/at/all.conf"]).0, Some(2));
    assert_eq!(vipctl(&["status", "--control", "/nowhere/control.sock"]).0, Some(2));
    assert_eq!(vipctl(&["keywords", "vrrp_instanc"]).0, Some(2));
    assert_eq!(vipctl(&["keywords", "vrrp_instance"]).0, Some(0));
}

/// What a reload changed is said by name, and no secret is in it.
#[test]
fn changes_of_a_reload_are_named_and_secrets_are_not() {
    use vipd::observe::changes::{between, line};
    use vipd::spec::{Auth, Spec};
    let one = |priority| build::spec(vec![build::instance("VI_1", 51, priority, &["10.0.0.10".parse().unwrap()])]);
    assert_eq!(line(&between(&one(100), &one(100))), "nothing changed");
    assert_eq!(between(&one(100), &one(150)), ["VI_1: priority 100 → 150"]);
    let mut other = one(100);
    (other.instances[0].auth, other.instances[0].accept) = (Auth::Pass(*b"TopSecre"), false);
    assert_eq!(between(&one(100), &other), ["VI_1: authentication changed"]);
    other.instances[0].auth = Auth::None;
    assert_eq!(between(&one(100), &other), ["VI_1: other settings changed"]);
    assert_eq!(between(&one(100), &Spec::default()), ["VI_1 is gone"]);
}

/// Two masters, a refused speaker and a held group stand in `status` and in `explain`, in the same words.
#[test]
fn what_is_wrong_stands_in_status_and_in_explain() {
    let snapshot: Snapshot = serde_json::from_value(json!({
        "now": 100_000_000u64,
        "groups": [{ "name": "G", "state": "BACKUP", "members": ["V1", "V2"] }],
        "strangers": [{ "address": "10.0.0.5", "why": "unknown_vrid", "vrid": 51, "instance": "VI", "count": 3,
                        "last_heard": 99_000_000u64, "current": true },
                      { "address": "10.0.0.6", "why": "unknown_vrid", "vrid": 52, "instance": "VI", "count": 3,
                        "last_heard": 99_000_000u64, "current": true }],
        "instances": [
            { "name": "VI", "state": "MASTER", "vrid": 51, "since": 1u64, "why": "master_silent", "owned": true,
              "interface": "eth0",
              "addresses": [{ "address": "10.0.0.10", "prefix": 24, "interface": "eth0", "on": [] }],
              "rivals": [{ "address": "10.0.0.2", "priority": 100, "count": 9, "first_heard": 90_000_000u64,
                           "last_heard": 99_500_000u64, "current": true }],
              "refused_speakers": [{ "address": "10.0.0.3", "why": "auth_failure", "count": 7,
                                     "last_heard": 99_000_000u64, "current": true },
                                   { "address": "10.0.0.4", "why": "foreign", "count": 5,
                                     "last_heard": 99_000_000u64, "current": true }] },
            { "name": "V1", "state": "BACKUP", "why": "start", "held_back_by": ["V2"],
              "addresses": [{ "address": "10.0.0.20", "prefix": 24, "interface": "eth0", "on": ["eth0"] }] },
            { "name": "V2", "state": "BACKUP", "why": { "preempts": { "over": "10.0.0.2", "priority": 90 } },
              "master": { "address": "10.0.0.2", "priority": 150, "last_heard": 79_000_000u64, "silent": true } }
        ]
    }))
    .unwrap();
    let explained = explain::render(&snapshot, None, Paint::plain()).unwrap();
    let status = status::render(&snapshot, Paint::plain());
    for part in [
        "two masters: 10.0.0.2 speaks as MASTER too, with priority 100, for 10 s (9 adverts, the last 0.5 s ago)",
        "adverts of 10.0.0.3 are refused: its password or key is not ours (7 adverts, the last 1 s ago)",
        "another installation uses VRID 51 with other addresses: 10.0.0.4 speaks for it (5 adverts, the last 1 s ago)",
        "10.0.0.5 speaks for its addresses with VRID 51, but not where eth0 is (3 adverts, the last 1 s ago)",
        "10.0.0.6 speaks for its addresses with VRID 52, here it is 51 (3 adverts, the last 1 s ago)",
        "MASTER, but not on this server: 10.0.0.10",
        "10.0.0.20 here although BACKUP: on eth0",
        "ready to become MASTER, but group G is held back by V2, whose down timer runs",
        "it took over from 10.0.0.2, whose priority is only 90",
        "nobody heard; 10.0.0.2 has been silent for 21 s",
    ] {
        assert!(status.contains(part), "{part}\nis not in status:\n{status}");
        assert!(explained.contains(part), "{part}\nis not in explain:\n{explained}");
    }
}

/// The package has one program and links to it.
#[test]
fn one_program_is_all_of_them_by_name() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("names");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let called = |name: &str, args: &[&str]| {
        let link = folder.join(name);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_vipd"), &link).unwrap();
        let answer = Command::new(&link).args(args).output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&answer.stdout), String::from_utf8_lossy(&answer.stderr))
    };
    let own = Command::new(env!("CARGO_BIN_EXE_vipctl")).arg("--help").output().unwrap();
    assert_eq!(called("vipctl", &["--help"]), String::from_utf8_lossy(&own.stdout));
    assert!(called("genhash", &["-h"]).contains("Usage: genhash"));
    assert!(called("keepalived", &["--version"]).contains("vipd"));
}
