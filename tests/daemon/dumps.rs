//! keepalived's dump files as their readers take them apart.

use crate::ground::{GOLDEN_CONF, engine, spec};
use std::collections::BTreeMap;
use vipd::daemon::dumps;
use vipd::observe::{describe, dump, json};
use vipd::spec::InstanceId;
use vipd::vrrp::io::{Input, Outcome};
use vipd::vrrp::snapshot::Snapshot;

fn snapshot() -> (std::sync::Arc<vipd::spec::Spec>, Snapshot) {
    let spec = spec(GOLDEN_CONF);
    let (mut engine, now) = engine(&spec, 6);
    for (number, one) in (0..).zip(&spec.instances) {
        let (instance, addresses) = (InstanceId(number), 0..one.claim.addresses.len() as u32);
        engine.handle(Input::Applied { instance, outcome: Outcome::Ready { addresses, announced: false } }, now);
        engine.handle(Input::Applied { instance, outcome: Outcome::Complete }, now);
    }
    let snapshot = engine.snapshot(now);
    (spec, snapshot)
}

/// Labels of one instance of `.data` in their order.
fn labels(text: &str, instance: &str) -> Vec<String> {
    text.lines()
        .skip_while(|line| *line != format!(" VRRP Instance = {instance}"))
        .skip(1)
        .take_while(|line| line.starts_with("   "))
        .filter(|line| line.starts_with("   ") && !line.starts_with("    "))
        .map(|line| {
            let line = line.trim();
            let end = line.find([':', '=']).unwrap_or_else(|| line.len().min(17));
            line.get(..end).unwrap().trim().to_owned()
        })
        .collect()
}

#[test]
fn labels_of_an_instance_come_in_keepaliveds_order() {
    let golden = include_str!("golden/keepalived-2.2.7.data");
    let (spec, snapshot) = snapshot();
    let ours = dump::data(&spec, &snapshot);
    for instance in &spec.instances {
        let (theirs, ours) = (labels(golden, &instance.name), labels(&ours, &instance.name));
        assert!(theirs.len() > 25, "{theirs:?}");
        // Labels that 2.4 has renamed or that depend on the state of the moment.
        let differs = |label: &str| {
            label.starts_with("Number of interface")
                || label.starts_with("fd_in")
                || label.starts_with("Multicast addr")
                || label.starts_with("Read timeout")
                || label.starts_with("Tracked ")
        };
        let mut rest = ours.iter();
        for label in theirs.iter().filter(|label| !differs(label)) {
            assert!(rest.any(|own| own == label), "{}: {label} is missing or out of order in {ours:#?}", instance.name);
        }
    }
}

#[test]
fn address_lines_are_keepaliveds() {
    let golden = include_str!("golden/keepalived-2.2.7.data");
    let (spec, snapshot) = snapshot();
    let ours = dump::data(&spec, &snapshot);
    for line in [
        "     10.9.0.10/24 dev eth0 scope global label eth0:1",
        "     10.9.0.11/24 brd 10.9.0.255 dev eth0 scope link",
        "     10.9.1.1 dev eth0 scope global",
        "     prepend 10.77.0.0/16 via inet 10.9.0.1 dev eth0 proto 18 metric 5",
        "     from 10.9.0.10 priority 999 tos 0x0 protocol 18 lookup 100",
        "     10.9.0.2 min_ttl 0 max_ttl 255",
        "     10.9.0.30 dev eth0 scope global set",
    ] {
        assert!(golden.lines().any(|l| l == line), "{line} is not in the golden file");
        let with = |l: &str| l == line || l.strip_suffix(" set") == Some(line);
        assert!(ours.lines().any(with), "{line} is not in\n{ours}");
    }
}

/// What keepalived says of its own doing, and values of it that hold for nothing.
#[test]
fn what_says_nothing_of_vipd_is_not_in_the_data() {
    let captures = [
        include_str!("golden/keepalived-2.2.7.data"),
        include_str!("../consumers/dumps/globals.data"),
        include_str!("../consumers/dumps/trackers.data"),
    ];
    // Its own instance is in a group, where weights do not count.
    let tracking = GOLDEN_CONF.replace("priority 90", "priority 90\n  track_script { chk }");
    let spec = spec(&tracking.replace("router_id lab", "router_id lab\n  vrrp_garp_interval 0.1"));
    let (engine, now) = engine(&spec, 6);
    let ours = dump::data(&spec, &engine.snapshot(now));
    assert!(ours.contains("GARP interval") && ours.contains("VRRP Track process"), "{ours}");
    for label in ["libnftnl version", "Original arp_ignore", "   Group = ", "GARP next time", "Fork delay timer"] {
        assert!(captures.iter().any(|capture| capture.contains(label)), "keepalived does not say {label}");
        assert!(!ours.contains(label), "{label} in {ours}");
    }
    let value = |of: &str, label: &str| {
        let lines = ours.lines().skip_while(|line| line.trim() != of);
        lines.filter_map(|line| line.trim().strip_prefix(label)).next().map(str::to_owned)
    };
    let timeout = value("VRRP Script = chk", "Timeout = ");
    assert_eq!(timeout.as_deref(), Some("2 sec"), "without `timeout` it is the interval: {ours}");
    let owner = value("VRRP Instance = VI_3", "Master down timer = ");
    assert_eq!(owner.as_deref(), Some("3003906 usecs"));
    for line in ours.lines().filter(|line| line.contains("fd_out")) {
        let numbers: Vec<&str> = line.split([' ', ',']).filter(|word| word.parse::<i32>().is_ok()).collect();
        assert!(numbers.len() == 2 && numbers[0] == numbers[1], "{line}");
    }
}

#[test]
fn a_backup_that_has_heard_nobody_names_no_master() {
    let spec = spec(GOLDEN_CONF);
    let (engine, now) = engine(&spec, 1);
    let ours = dump::data(&spec, &engine.snapshot(now));
    let masters: Vec<&str> = ours.lines().filter_map(|l| l.strip_prefix("   Master router = ")).collect();
    assert!(masters.len() >= 2 && masters.iter().all(|master| *master == "(none)"), "{masters:?}");
}

#[test]
fn the_default_interface_is_the_one_that_was_set() {
    for (more, wanted) in [("", "eth0"), ("\n  default_interface eth1", "eth1")] {
        let spec = spec(&GOLDEN_CONF.replace("router_id lab", &format!("router_id lab{more}")));
        let (engine, now) = engine(&spec, 0);
        let ours = dump::data(&spec, &engine.snapshot(now));
        assert!(ours.contains(&format!(" Default interface = {wanted}\n")), "{ours}");
    }
}

#[test]
fn dumps_stand_where_the_configuration_says() {
    let directory = std::env::temp_dir().join(format!("vipd-dumps-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    for (keyword, kind) in [
        ("state_dump_file", dumps::Kind::Data),
        ("stats_dump_file", dumps::Kind::Stats),
        ("json_dump_file", dumps::Kind::Json),
    ] {
        let file = directory.join(keyword);
        let line = format!("router_id lab\n  {keyword} {}", file.display());
        let spec = spec(&GOLDEN_CONF.replace("router_id lab", &line));
        let (engine, now) = engine(&spec, 0);
        dumps::write(kind, &spec, &engine.snapshot(now));
        assert!(std::fs::read_to_string(&file).is_ok_and(|text| text.contains("VI_3")), "{keyword}");
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

/// The way of mehdy/keepalived-exporter: three spaces and `key = value`, five spaces below `Virtual IP (n):`.
#[test]
fn an_exporter_reads_the_data() {
    let (spec, snapshot) = snapshot();
    let text = dump::data(&spec, &snapshot);
    let mut states = BTreeMap::new();
    let (mut instance, mut in_vips, mut vips) = (String::new(), false, Vec::new());
    for line in text.lines() {
        if let Some(name) = line.strip_prefix(" VRRP Instance = ") {
            instance = name.to_owned();
        } else if !line.starts_with("   ") {
            // Interfaces have a State too.
            instance.clear();
        } else if instance.is_empty() {
        } else if let Some(vip) = line.strip_prefix("     ") {
            if in_vips {
                let words: Vec<&str> = vip.split(' ').collect();
                vips.push((words[0].to_owned(), words[words.iter().position(|w| *w == "dev").unwrap() + 1].to_owned()));
            }
        } else if let Some(field) = line.strip_prefix("   ") {
            in_vips = field.starts_with("Virtual IP (");
            if let Some((key, value)) = field.split_once(" = ") {
                match key {
                    "State" => drop(states.insert(instance.clone(), value.to_owned())),
                    "Virtual Router ID" | "Gratuitous ARP delay" => drop(value.parse::<u32>().unwrap()),
                    _ => {}
                }
            }
        }
    }
    assert_eq!(states.len(), 4);
    assert_eq!(states["V6"], "MASTER");
    assert!(vips.contains(&("10.9.0.30".into(), "eth0".into())));
}

#[test]
fn every_value_of_the_stats_is_a_whole_number() {
    let (_, snapshot) = snapshot();
    let ours = dump::stats(&snapshot);
    let shape = |text: &str| -> Vec<String> {
        text.lines().filter(|l| l.starts_with(' ')).map(|l| l.split(':').next().unwrap().to_owned()).collect()
    };
    for line in ours.lines().filter(|line| line.starts_with(' ')) {
        let (_, value) = line.split_once(':').unwrap();
        assert!(value.is_empty() || value.trim().parse::<u64>().is_ok(), "{line}");
    }
    let golden = include_str!("golden/keepalived-2.2.7.stats");
    let (golden, ours) = (shape(golden), shape(&ours));
    let per_instance = golden.len() / 4;
    let mut rest = ours.iter();
    for label in &golden[..per_instance] {
        assert!(rest.any(|own| own == label), "{label} missing or out of order");
    }
    let sections: Vec<&String> = ours.iter().filter(|l| l.contains("Extension")).collect();
    assert_eq!(sections.len(), 4, "2.4 has a section for the authentication extension");
}

/// (key, value as written) of the first object after `"data":{`, in order.
fn pairs(text: &str, section: &str) -> Vec<(String, String)> {
    let start = text.find(&format!("\"{section}\":{{")).unwrap() + section.len() + 4;
    let (mut depth, mut quoted, mut out, mut item) = (0, false, Vec::new(), String::new());
    for c in text[start..].chars() {
        match c {
            '"' if !item.ends_with('\\') => quoted = !quoted,
            '[' | '{' if !quoted => depth += 1,
            ']' if !quoted => depth -= 1,
            '}' if !quoted && depth == 0 => break,
            '}' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                out.push(std::mem::take(&mut item));
                continue;
            }
            _ => {}
        }
        item.push(c);
    }
    out.push(item);
    out.iter().filter_map(|item| item.split_once(':')).map(|(k, v)| (k.trim_matches('"').into(), v.into())).collect()
}

#[test]
fn json_has_keepaliveds_fields_in_its_order_and_number_formats() {
    let golden = include_str!("golden/keepalived-2.2.7.json");
    let (spec, snapshot) = snapshot();
    let ours = json::dump(&spec, &snapshot);
    assert!(ours.ends_with("]\n") && ours.lines().count() == 1);
    serde_json::from_str::<serde_json::Value>(&ours).unwrap();
    let (theirs, mine) = (pairs(golden, "data"), pairs(&ours, "data"));
    let keys = |pairs: &[(String, String)]| pairs.iter().map(|(k, _)| k.clone()).collect::<Vec<_>>();
    assert_eq!(keys(&theirs), keys(&mine));
    // What does not depend on the moment is the same to the letter.
    for ((key, theirs), (_, mine)) in theirs.iter().zip(&mine) {
        let momentary = [
            "last_transition",
            "master_priority",
            "effective_priority",
            "state",
            "wantstate",
            "vipset",
            "vips",
            "evips",
        ];
        if !momentary.contains(&key.as_str()) {
            assert_eq!(theirs, mine, "{key}");
        }
    }
    let transition = &mine.iter().find(|(key, _)| key == "last_transition").unwrap().1;
    assert_eq!(transition.split('.').nth(1).unwrap().len(), 6, "six decimals: {transition}");
    let stats = pairs(&ours, "stats");
    assert_eq!(stats.len(), 20);
    let golden_stats = keys(&pairs(golden, "stats"));
    assert_eq!(keys(&stats).into_iter().filter(|k| !k.starts_with("auth_ext")).collect::<Vec<_>>(), golden_stats);
    assert!(ours.contains(r"10.9.0.10\/24 dev eth0"), "a slash is written as \\/");
    assert!(ours.contains("\"adver_int\":0.5,"), "floats are written short");
    assert!(ours.contains("\"auth_data\":\"********\""), "no password leaves the daemon");
}

#[test]
fn json_version_2_is_an_object() {
    let text = GOLDEN_CONF.replace("router_id lab", "router_id lab\n  json_version 2");
    let spec = spec(&text);
    let (engine, now) = engine(&spec, 1);
    let value: serde_json::Value = serde_json::from_str(&json::dump(&spec, &engine.snapshot(now))).unwrap();
    assert_eq!(value["vrrp"].as_array().unwrap().len(), 4);
    let process = &value["track_process"][0];
    assert_eq!((process["process"].as_str(), process["param_match"].as_str()), (Some("tp"), Some("none")));
    assert_eq!((process["min_processes"].as_u64(), process["have_quorum"].as_bool()), (Some(1), Some(false)));
    assert!(process.get("max_processes").is_none());
}

#[test]
fn numbers_are_written_as_c_does() {
    for (number, text) in [
        (5.0, "5"),
        (0.0, "0"),
        (0.5, "0.5"),
        (0.01, "0.01"),
        (3.609375, "3.60938"),
        (100.0, "100"),
        (123456.7, "123457"),
        (1234567.0, "1.23457e+06"),
        (0.00001, "1e-05"),
    ] {
        assert_eq!(describe::short(number), text);
    }
}
