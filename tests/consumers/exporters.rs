//! Exporters and monitoring plug-ins.

use super::ask_for;
use super::call;
use super::ground::{Ground, ready};
use super::program;
use super::standing;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;

/// mehdy/keepalived-exporter: version from bash, text dumps by signal.
#[test]
pub(super) fn mehdys_exporter_reads_version_data_scripts_and_stats() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let daemon = standing(&ground, "");
    let out = Command::new("bash").args(["-c", &format!("{} -v", program(&ground).display())]).output().unwrap();
    assert!(out.stdout.is_empty());
    let text = String::from_utf8(out.stderr).unwrap();
    let version = text.lines().next().unwrap().split(' ').nth(1).unwrap().trim_start_matches('v').to_owned();
    let numbers: Vec<u32> = version.split('.').map(|number| number.parse().unwrap()).collect();
    assert!(numbers.len() == 3 && (numbers[0], numbers[1]) >= (1, 3), "{version}");
    // JSON is used only if the options say that it is built in.
    assert!(text.contains("--enable-json"));

    for (word, name) in [("DATA", "keepalived.data"), ("STATS", "keepalived.stats"), ("JSON", "keepalived.json")] {
        ask_for(&ground, &daemon, word);
        daemon.wait_for(name, || ground.directory.join(name).exists());
    }
    let read = |name: &str| std::fs::read_to_string(ground.directory.join(name)).unwrap();
    let data = instances(&read("keepalived.data"));
    let first = &data["VI/1"];
    assert_eq!((&*first.state, &*first.wanted, &*first.interface, first.vrid), ("MASTER", "MASTER", "eth0", 51));
    assert_eq!(first.garp_delay, 5);
    let vips: Vec<(&str, &str)> = first.vips.iter().map(|(address, link)| (&**address, &**link)).collect();
    assert_eq!(vips, [("10.9.0.100/24", "eth0"), ("10.9.0.101", "eth0")]);
    assert_eq!((&*data["VI_2"].state, data["VI_2"].vrid), ("FAULT", 52));

    let scripts = scripts(&read("keepalived.data"));
    assert_eq!(scripts.keys().collect::<Vec<_>>(), ["bad", "good"]);
    assert_eq!((&*scripts["good"].0, &*scripts["bad"].0), ("GOOD", "BAD"));
    for (_, state) in scripts.values() {
        assert!(["idle", "running", "requested termination", "forcing termination"].contains(&&**state), "{state}");
    }

    let stats = stats(&read("keepalived.stats"));
    assert_eq!(stats[&("VI/1".into(), String::new(), "Became master".into())], 1);
    assert!(stats[&("VI/1".into(), "Advertisements".into(), "Sent".into())] > 0);
    for (section, keys) in [
        ("Advertisements", &["Received", "Sent"][..]),
        ("Packet Errors", &["Length", "TTL", "Invalid Type", "Advertisement Interval", "Address List"]),
        ("Authentication Errors", &["Invalid Type", "Type Mismatch", "Failure"]),
        ("Priority Zero", &["Received", "Sent"]),
    ] {
        for key in keys {
            assert!(stats.contains_key(&("VI_2".into(), section.into(), (*key).into())), "{section}: {key}");
        }
    }

    // Its JSON form: every field of these names must be of the kind that its structs have.
    let json: Value = serde_json::from_str(&read("keepalived.json")).unwrap();
    for instance in json.as_array().unwrap() {
        for key in ["state", "wantstate", "garp_delay", "vrid"] {
            assert!(instance["data"][key].is_u64(), "{key} is {}", instance["data"][key]);
        }
        assert!(instance["data"]["vips"].as_array().unwrap().iter().all(Value::is_string));
        assert!(instance["stats"].as_object().unwrap().values().all(Value::is_u64));
    }
    assert_eq!(json[0]["data"]["evips"][0].as_str().unwrap().split(' ').next(), Some("10.9.0.102/24"));
}

#[derive(Default)]
struct Data {
    state: String,
    wanted: String,
    interface: String,
    vrid: u32,
    garp_delay: u32,
    vips: Vec<(String, String)>,
}

/// A line of three spaces is a field, one of five belongs to the field before it, anything else ends the instance.
fn instances(text: &str) -> BTreeMap<String, Data> {
    let (mut all, mut name, mut key) = (BTreeMap::<String, Data>::new(), None, String::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix(" VRRP Instance").filter(|rest| rest.contains('=')) {
            let found = rest.split('=').nth(1).unwrap().trim().to_owned();
            all.insert(found.clone(), Data::default());
            name = Some(found);
            continue;
        }
        let Some(instance) = name.as_ref().and_then(|name| all.get_mut(name)).filter(|_| line.starts_with("   "))
        else {
            if !line.starts_with(" VRRP Version") && !line.starts_with(" VRRP Script") {
                name = None;
            }
            continue;
        };
        let value = if line.starts_with("     ") {
            line.trim().to_owned()
        } else {
            let sign = if line.contains('=') { '=' } else { ':' };
            let Some((left, right)) = line.trim().split_once(sign) else { continue };
            key = left.trim().to_owned();
            right.split(sign).next().unwrap().trim().to_owned()
        };
        if key.starts_with("Virtual IP (") && !value.is_empty() {
            let words: Vec<&str> = value.split(' ').collect();
            instance.vips.push((words[0].into(), words[2].into()));
        }
        match &*key {
            "State" => {
                assert!(["INIT", "BACKUP", "MASTER", "FAULT"].contains(&&*value), "state {value:?}");
                instance.state = value;
            }
            "Wantstate" => {
                assert!(["INIT", "BACKUP", "MASTER", "FAULT"].contains(&&*value), "wanted {value:?}");
                instance.wanted = value;
            }
            "Interface" | "Listening device" => instance.interface = value,
            "Virtual Router ID" => instance.vrid = value.parse().unwrap(),
            "Gratuitous ARP delay" => instance.garp_delay = value.parse().unwrap(),
            _ => {}
        }
    }
    all
}

fn scripts(text: &str) -> BTreeMap<String, (String, String)> {
    let (mut all, mut name) = (BTreeMap::<String, (String, String)>::new(), None);
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix(" VRRP Script").filter(|rest| rest.contains('=')) {
            name = Some(rest.split('=').nth(1).unwrap().trim().to_owned());
        } else if !line.starts_with("   ") {
            name = None;
        } else if let (Some(name), Some((key, value))) = (&name, line.trim().split_once('=')) {
            let entry = all.entry(name.clone()).or_default();
            match key.trim() {
                "Status" => entry.0 = value.trim().into(),
                "State" => entry.1 = value.trim().into(),
                _ => {}
            }
        }
    }
    all
}

/// (instance, section, key) → value. A value that is no whole number fails the scrape.
fn stats(text: &str) -> BTreeMap<(String, String, String), u64> {
    let (mut all, mut instance, mut section) = (BTreeMap::new(), String::new(), String::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("VRRP Instance") {
            instance = rest.split(':').nth(1).unwrap().trim().into();
        } else if line.starts_with("  ") && line.ends_with(':') {
            section = line.trim().trim_end_matches(':').into();
        } else if line.starts_with("  ") {
            if !line.starts_with("    ") {
                section.clear();
            }
            let (key, value) = line.trim().split_once(':').unwrap();
            let value = value.trim().parse().unwrap_or_else(|_| panic!("{line:?} is no integer"));
            all.insert((instance.clone(), section.clone(), key.trim().to_owned()), value);
        }
    }
    all
}

/// gen2brain/keepalived_exporter: finds the process by its name, sends 36, waits 0.1 s, decodes an array; the text form
/// is cut at whatever is not indented.
#[test]
pub(super) fn gen2brains_exporter_finds_the_process_and_decodes_an_array() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let daemon = standing(&ground, "");
    let proc = |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", daemon.pid())).unwrap();
    assert_eq!(proc("comm").trim(), "keepalived", "what pgrep and gopsutil compare");
    assert!(proc("cmdline").split('\0').next().unwrap().ends_with("/keepalived"), "the first word of ps -o args");
    daemon.signal(36);
    let path = ground.directory.join("keepalived.json");
    daemon.wait_for("the JSON", || path.exists());
    let json: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let data = &json.as_array().unwrap()[0]["data"];
    assert!(data["last_transition"].is_f64() && data["last_transition"].as_f64() > Some(1e9));
    assert_eq!((data["iname"].as_str(), data["ifp_ifname"].as_str()), (Some("VI/1"), Some("eth0")));
    // It removes what else begins with the name; nothing of ours may.
    let siblings = std::fs::read_dir(&ground.directory).unwrap().flatten();
    let names: Vec<String> = siblings.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(names.iter().filter(|name| name.starts_with("keepalived.json")).count(), 1, "{names:?}");
    // Text: the first word of "Last transition" is a number.
    daemon.signal(libc::SIGUSR1);
    let path = ground.directory.join("keepalived.data");
    daemon.wait_for("the data", || path.exists());
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().find(|line| line.contains("Last transition = ")).unwrap();
    let number = line.split('=').nth(1).unwrap().trim().split(' ').next().unwrap();
    assert!(number.parse::<f64>().unwrap() > 1e9);
}

/// Checkmk's plug-in: waits for a CLOSE_WRITE in the directory, then reads until the file is not empty.
#[test]
pub(super) fn checkmk_waits_on_the_directory() {
    use inotify::{EventMask, Inotify, WatchMask};
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let daemon = standing(&ground, "");
    let path = ground.directory.join("keepalived.json");
    for _ in 0..3 {
        let mut watch = Inotify::init().unwrap();
        watch.watches().add(&ground.directory, WatchMask::CLOSE_WRITE).unwrap();
        ask_for(&ground, &daemon, "JSON");
        let mut buffer = [0; 4096];
        // The daemon's log is in the directory too.
        'wait: loop {
            for event in watch.read_events_blocking(&mut buffer).unwrap() {
                if event.name == Some(std::ffi::OsStr::new("keepalived.json")) {
                    assert_eq!(event.mask, EventMask::CLOSE_WRITE);
                    break 'wait;
                }
            }
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(serde_json::from_str::<Value>(&text).unwrap().is_array(), "{text}");
        std::fs::remove_file(&path).unwrap();
    }
    assert_eq!(call(&ground, &["--signum=JSON"]).stdout, b"36\n");
}
