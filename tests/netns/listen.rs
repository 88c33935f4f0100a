//! `vipctl listen` beside Debian's keepalived, live and on a capture of it.

use super::lab::{Kind, Lab, inside, skip};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn listen(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vipctl")).arg("listen").args(arguments).output().unwrap()
}

fn object(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

/// The one speaker with this VRID and address.
fn speaker<'a>(heard: &'a Value, vrid: u8, address: &str) -> &'a Value {
    let wanted = |s: &&Value| s["vrid"] == vrid && s["address"] == address;
    let all: Vec<&Value> = heard["speakers"].as_array().unwrap().iter().filter(wanted).collect();
    assert_eq!(all.len(), 1, "{vrid} of {address} in {heard:#}");
    all[0]
}

fn two_masters(heard: &Value, vrid: u8) -> Vec<String> {
    let routers = heard["routers"].as_array().unwrap();
    let router = routers.iter().find(|r| r["vrid"] == vrid).unwrap_or_else(|| panic!("{vrid} in {heard:#}"));
    router["two_masters"].as_array().unwrap().iter().map(|a| a.as_str().unwrap().to_owned()).collect()
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/listen/keepalived-2.2.7.pcap")
}

fn instance(name: &str, vrid: u8, lines: &str) -> String {
    format!("vrrp_instance {name} {{\n    interface eth0\n    virtual_router_id {vrid}\n{lines}}}\n")
}

fn password(word: &str) -> String {
    format!("    authentication {{\n        auth_type PASS\n        auth_pass {word}\n    }}\n")
}

fn addresses(list: &[&str]) -> String {
    format!("    virtual_ipaddress {{\n        {}\n    }}\n", list.join("\n        "))
}

/// See the README beside the capture.
#[test]
fn a_capture_of_keepalived_is_read_whole() {
    let file = golden();
    let output = listen(&["--pcap", file.to_str().unwrap(), "--json"]);
    // Two masters.
    assert_eq!(output.status.code(), Some(1));
    let heard = object(&output);
    let first = speaker(&heard, 51, "192.0.2.1");
    assert_eq!(first["version"], 2);
    assert_eq!(first["priority"], 150);
    assert_eq!(first["interval_seconds"], 1.0);
    assert_eq!(first["authentication"]["kind"], "password");
    assert_eq!(first["checksum"], "packet");
    assert_eq!(first["ttl"], 255);
    assert_eq!(first["mac"], "02:00:00:00:00:01");
    assert_eq!(first["destination"], "224.0.0.18");
    assert_eq!(first["addresses"], serde_json::json!(["192.0.2.51", "192.0.2.151"]));
    let measured = first["measured_seconds"].as_f64().unwrap();
    assert!((0.9..1.1).contains(&measured), "{measured}");
    assert_eq!(speaker(&heard, 51, "192.0.2.2")["interval_seconds"], 1.0);
    assert_eq!(speaker(&heard, 52, "192.0.2.1")["authentication"]["kind"], "ah");
    let third = speaker(&heard, 61, "192.0.2.1");
    assert_eq!((&third["version"], &third["checksum"]), (&3.into(), &"pseudo_header".into()));
    let six = speaker(&heard, 71, "fe80::ff:fe00:1");
    assert_eq!((&six["family"], &six["checksum"], &six["ttl"]), (&"IPv6".into(), &"pseudo_header".into(), &255.into()));
    assert_eq!(six["addresses"], serde_json::json!(["fe80::71", "2001:db8::71"]));
    assert_eq!(two_masters(&heard, 51), ["192.0.2.1", "192.0.2.2"]);
    assert!(two_masters(&heard, 61).is_empty());
    assert_eq!(heard["vrids"][0]["taken"], serde_json::json!([51, 52, 61]));
    assert_eq!(heard["vrids"][0]["free"], serde_json::json!([[1, 50], [53, 60], [62, 255]]));
    assert_eq!(heard["unreadable"], serde_json::json!([]));
    // No password is ever told.
    let all = String::from_utf8(output.stdout).unwrap();
    let text = String::from_utf8(listen(&["--pcap", file.to_str().unwrap()]).stdout).unwrap();
    for word in ["\"first\"", "\"second\"", " first", " second"] {
        assert!(!all.contains(word) && !text.contains(word), "{all}{text}");
    }
    assert!(text.contains("two masters: 192.0.2.1 and 192.0.2.2 both go on speaking for it"), "{text}");
}

/// Each refusal is the engine's, by its own name.
#[test]
fn a_capture_is_judged_by_a_configuration() {
    let directory = std::env::temp_dir().join(format!("vipd-listen-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let conf = directory.join("vipd.conf");
    let text = [
        instance("V51", 51, &(password("first") + &addresses(&["192.0.2.51", "192.0.2.151"]))),
        instance("V52", 52, &(password("sealed") + &addresses(&["192.0.2.52"]))),
        instance("V61", 61, &("    version 2\n".to_owned() + &addresses(&["192.0.2.61"]))),
        instance("V71", 71, &("    version 3\n    advert_int 3\n".to_owned() + &addresses(&["fe80::71"]))),
    ];
    std::fs::write(&conf, text.concat()).unwrap();
    let file = golden();
    let (file, conf) = (file.to_str().unwrap(), conf.to_str().unwrap());
    let output = listen(&["eth0", "--pcap", file, "--config", conf, "--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let heard = object(&output);
    let verdict = |vrid, address| &speaker(&heard, vrid, address)["verdict"];
    assert_eq!(verdict(51, "192.0.2.1")["refused"], Value::Null, "{heard:#}");
    assert_eq!(verdict(51, "192.0.2.1")["addresses_differ"], false);
    assert_eq!(verdict(51, "192.0.2.2")["refused"], "auth_failure");
    assert_eq!(verdict(52, "192.0.2.1")["refused"], "auth_type_mismatch");
    assert_eq!(verdict(61, "192.0.2.1")["refused"], "version");
    // Version 3 learns the interval of its master.
    assert_eq!(verdict(71, "fe80::ff:fe00:1")["refused"], Value::Null);
    assert_eq!(verdict(71, "fe80::ff:fe00:1")["addresses_differ"], true);
    let text = String::from_utf8(listen(&["eth0", "--pcap", file, "--config", conf]).stdout).unwrap();
    assert!(text.contains("refuses 192.0.2.2 (V51): its password or key is not ours"), "{text}");
    // On another interface this configuration minds nobody.
    let elsewhere = object(&listen(&["eth9", "--pcap", file, "--config", conf, "--json"]));
    assert_eq!(speaker(&elsewhere, 51, "192.0.2.2")["verdict"]["instance"], Value::Null);
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn what_is_no_capture_is_said_so() {
    let output = listen(&["--pcap", env!("CARGO_BIN_EXE_vipctl")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no pcap"), "{output:?}");
    // Cut off in the middle of a frame: what stands before is read.
    let bytes = std::fs::read(golden()).unwrap();
    let cut = std::env::temp_dir().join(format!("vipd-listen-cut-{}.pcap", std::process::id()));
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let heard = object(&listen(&["--pcap", cut.to_str().unwrap(), "--json"]));
    assert_eq!(speaker(&heard, 61, "192.0.2.1")["version"], 3);
    std::fs::remove_file(&cut).unwrap();
}

/// Two keepalived between which nothing passes, and a third machine that listens with its configuration.
#[test]
fn a_wire_with_keepalived_is_heard_live() {
    if skip(&["keepalived"]) {
        return;
    }
    let mut lab = Lab::new(&[Kind::Keepalived, Kind::Keepalived, Kind::Vipd], 1);
    let isolate = |port| super::lab::ip(lab.switch(), &["link", "set", port, "type", "bridge_slave", "isolated", "on"]);
    isolate("p0").and_then(|_| isolate("p1")).unwrap();
    let pass = |priority: u8, word: &str| {
        let lines = format!("    priority {priority}\n{}", password(word));
        instance("V51", 51, &(lines + &addresses(&["192.0.2.51"])))
    };
    let fast = |name: &str, vrid: u8, list: &[&str]| {
        instance(name, vrid, &(format!("    version 3\n    priority 150\n    advert_int 0.2\n{}", addresses(list))))
    };
    let three = fast("V61", 61, &["192.0.2.61"]) + &fast("V71", 71, &["fe80::71", "2001:db8::71"]);
    lab.configure(0, &(pass(150, "first") + &three));
    lab.configure(1, &pass(100, "second"));
    lab.configure(2, &(pass(50, "second") + &fast("V61", 61, &["192.0.2.62"])));
    lab.start(0);
    lab.start(1);
    lab.only(0, "192.0.2.61".parse().unwrap()).unwrap();
    super::lab::until("both to be master of 51", || (0..2).all(|node| lab.has(node, "192.0.2.51".parse().unwrap())))
        .unwrap();
    let conf = lab.file(2, "keepalived.conf");
    let namespace = lab.nodes[2].namespace.clone();
    let output = inside(&namespace, || listen(&["eth0", "--for", "6", "--json", "--config", conf.to_str().unwrap()]));
    let heard = object(&output);
    assert_eq!(output.status.code(), Some(1), "{heard:#}");
    assert_eq!(two_masters(&heard, 51), ["192.0.2.1", "192.0.2.2"], "{heard:#}");
    let mine = speaker(&heard, 51, "192.0.2.1");
    assert_eq!((&mine["verdict"]["refused"], &mine["this_machine"]), (&"auth_failure".into(), &false.into()));
    assert_eq!(mine["mac"], "02:00:00:00:00:01");
    assert_eq!(speaker(&heard, 51, "192.0.2.2")["verdict"]["refused"], Value::Null);
    let three = speaker(&heard, 61, "192.0.2.1");
    assert_eq!(three["verdict"]["refused"], "foreign", "192.0.2.61 and 192.0.2.62");
    assert_eq!(speaker(&heard, 71, "fe80::1")["addresses"], serde_json::json!(["fe80::71", "2001:db8::71"]));
    // Seen from a sender, that one is this machine, and its own adverts are not judged.
    let own = inside(&lab.nodes[1].namespace, || {
        let conf = lab.file(1, "keepalived.conf");
        object(&listen(&["eth0", "--for", "3", "--json", "--config", conf.to_str().unwrap()]))
    });
    let own = speaker(&own, 51, "192.0.2.2");
    assert_eq!((&own["this_machine"], &own["verdict"]), (&true.into(), &Value::Null));
}

/// AH of a real keepalived, and adverts with an 802.1Q tag beside it, heard as they come and from a capture of the same wire.
#[test]
fn ah_and_vlans_are_heard_live_and_in_a_capture() {
    if skip(&["keepalived", "tcpdump"]) {
        return;
    }
    let mut lab = Lab::new(&[Kind::Keepalived, Kind::Vipd], 1);
    let ah = "    authentication {\n        auth_type AH\n        auth_pass sealed\n    }\n";
    lab.configure(0, &instance("V52", 52, &(format!("    priority 150\n{ah}") + &addresses(&["192.0.2.52"]))));
    lab.start(0);
    lab.only(0, "192.0.2.52".parse().unwrap()).unwrap();
    // What the listener's own file says of both: the first would be refused, the tagged one is for the VLAN's interface.
    let own = "global_defs {\n    dynamic_interfaces\n}\n".to_owned()
        + &instance("V52", 52, &(password("other") + &addresses(&["192.0.2.52"])))
        + &instance("V7", 77, &addresses(&["192.0.2.78"])).replace("interface eth0", "interface eth0.7");
    lab.configure(1, &own);
    let conf = lab.file(1, "keepalived.conf");
    let capture = lab.file(1, "wire.pcap");
    let mut tagged = super::crafted::Crafted::new(2, 77, [192, 0, 2, 9], [192, 0, 2, 77]);
    tagged.vlan = Some(7);
    let frame = tagged.frame();
    let done = std::sync::atomic::AtomicBool::new(false);
    let live = std::thread::scope(|scope| {
        let (sender, listener) = (lab.nodes[0].namespace.clone(), lab.nodes[1].namespace.clone());
        let (done, capture) = (&done, &capture);
        scope.spawn(move || {
            inside(&sender, || {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    super::crafted::put("eth0", &frame);
                    std::thread::sleep(std::time::Duration::from_millis(200));
                }
            });
        });
        let mut tcpdump = Command::new("ip")
            .args(["netns", "exec", &listener, "tcpdump", "-U", "-i", "eth0", "-w", capture.to_str().unwrap()])
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        super::lab::until("a capture", || std::fs::metadata(capture).is_ok_and(|file| file.len() > 24)).unwrap();
        let arguments = ["eth0", "--for", "4", "--json", "--config", conf.to_str().unwrap()];
        let live = inside(&listener, || listen(&arguments));
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        let _ = Command::new("kill").arg(tcpdump.id().to_string()).status();
        tcpdump.wait().unwrap();
        live
    });
    let arguments = ["eth0", "--pcap", capture.to_str().unwrap(), "--json", "--config", conf.to_str().unwrap()];
    for heard in [object(&live), object(&listen(&arguments))] {
        let ah = speaker(&heard, 52, "192.0.2.1");
        assert_eq!((&ah["authentication"]["kind"], &ah["vlan"]), (&"ah".into(), &Value::Null), "{heard:#}");
        assert_eq!(ah["verdict"]["refused"], "auth_type_mismatch");
        let vlan = speaker(&heard, 77, "192.0.2.9");
        assert_eq!((&vlan["vlan"], &vlan["mac"]), (&7.into(), &"02:00:00:00:00:09".into()), "{heard:#}");
        assert_eq!((&vlan["priority"], &vlan["verdict"]["refused"]), (&50.into(), &"foreign".into()));
        let taken: Vec<_> =
            heard["vrids"].as_array().unwrap().iter().map(|net| (&net["vlan"], &net["taken"])).collect();
        let (free_of_tags, seven) = (serde_json::json!([52]), serde_json::json!([77]));
        assert_eq!(taken, [(&Value::Null, &free_of_tags), (&7.into(), &seven)], "{heard:#}");
    }
}

#[test]
fn a_silent_wire_and_a_missing_interface_are_said_so() {
    if skip(&[]) {
        return;
    }
    let lab = Lab::new(&[Kind::Vipd], 1);
    let (silent, missing) = inside(&lab.nodes[0].namespace, || (listen(&["eth0", "--for", "0.3"]), listen(&["eth7"])));
    assert_eq!(silent.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&silent.stdout).contains("No VRRP was heard on eth0"), "{silent:?}");
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("cannot listen on eth7"), "{missing:?}");
}
