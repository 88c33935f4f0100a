//! docs/control.md against the code: every request with what it needs, every answer with its fields, and the state of a
//! real daemon field by field; and who may ask for what.

#![allow(clippy::unwrap_used)]

#[path = "daemon_netns/ground.rs"]
#[allow(dead_code)]
mod ground;

use ground::{Ground, instance, ready};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use vipd::daemon::doors::socket::{Access, Reply, Request, SCHEMA};

fn page() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/control.md")).unwrap()
}

/// Cells of the rows of the table under a heading.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let page = page();
    let part = page.split(&format!("\n## {heading}\n")).nth(1).unwrap().split("\n## ").next().unwrap();
    let row = |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
    part.lines().filter(|line| line.starts_with("| `")).map(row).collect()
}

fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// What serde says that it would have understood.
fn names<T: serde::de::DeserializeOwned>(tag: &str) -> BTreeSet<String> {
    let error = serde_json::from_value::<T>(json!({ tag: "?" })).err().unwrap().to_string();
    quoted(error.split("expected one of").nth(1).unwrap())
}

#[test]
fn every_request_is_described_with_what_it_needs() {
    let mut described = BTreeSet::new();
    for row in rows("Requests") {
        let text = row[0].trim_matches('`');
        let request: Request = serde_json::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        let needs = match request.access() {
            Access::Reading => "reading",
            Access::Changing => "changing",
        };
        assert_eq!(row[1], needs, "{text}");
        let value: Value = serde_json::from_str(text).unwrap();
        described.insert(value["request"].as_str().unwrap().to_owned());
        // Nothing that it takes is left out, and nothing stands there that it does not take.
        assert_eq!(serde_json::to_value(&request).unwrap(), value);
    }
    assert_eq!(described, names::<Request>("request"));
}

#[test]
fn every_answer_is_described_with_its_fields() {
    let nothing = || Value::Null;
    let all = [
        Reply::Hello { name: String::new(), version: String::new(), pid: 1, config: "/".into() },
        Reply::Status { status: nothing() },
        Reply::Event { unix_micros: 0, event: nothing() },
        Reply::History { moments: Vec::new() },
        Reply::Text { text: String::new() },
        Reply::Bfd { text: String::new(), sessions: nothing() },
        Reply::Servers { servers: nothing() },
        Reply::Done { message: String::new() },
        Reply::Refused { reason: String::new(), diagnostics: None },
    ];
    let described: Vec<(String, BTreeSet<String>)> =
        rows("Answers").into_iter().map(|row| (row[0].trim_matches('`').to_owned(), quoted(&row[1]))).collect();
    let real: Vec<(String, BTreeSet<String>)> = all
        .iter()
        .map(|reply| {
            let mut value = serde_json::to_value(reply).unwrap();
            let name = value.as_object_mut().unwrap().remove("reply").unwrap();
            (name.as_str().unwrap().to_owned(), value.as_object().unwrap().keys().cloned().collect())
        })
        .collect();
    assert_eq!(described, real);
    assert_eq!(described.into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>(), names::<Reply>("reply"));
}

#[test]
fn every_kind_of_event_is_described() {
    let sources = [include_str!("../src/observe/json.rs"), include_str!("../src/observe/bfd.rs")];
    let mut kinds = BTreeSet::new();
    for source in sources {
        kinds.extend(source.split("\"kind\": \"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
        let of_bfd =
            |line: &str| line.split("=> \"bfd_").nth(1).map(|rest| format!("bfd_{}", rest.split('"').next().unwrap()));
        kinds.extend(source.lines().filter_map(of_bfd));
    }
    let servers = include_str!("../src/observe/balance/story.rs");
    for front in ["of_server(\"", "of_service(\"", "of_key(\"", "\"kind\": \""] {
        kinds.extend(servers.split(front).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
    }
    assert!(kinds.len() > 60, "{kinds:?}");
    let page = page();
    let part = page.split("\n## Events\n").nth(1).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(quoted(part.split("The kinds:").nth(1).unwrap()), kinds);
}

/// The fields that the page names for one thing of the status.
fn fields(page: &str, of: &str) -> BTreeSet<String> {
    let part = page.split("\n## The status\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut paragraphs = part.split("\n\n").map(str::trim_start);
    let paragraph = paragraphs.find(|text| text.starts_with(&format!("`{of}`"))).unwrap_or_else(|| panic!("no {of}"));
    // What stands in brackets explains.
    let mut plain = String::new();
    let mut depth = 0;
    for c in paragraph.split_once(':').unwrap().1.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            c if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    quoted(&plain)
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().cloned().collect()
}

const CONF: &str = "global_defs {
    enable_script_security
    script_user root
}
vrrp_script good {
    script \"/usr/bin/true\"
    interval 1
    weight 5
}
track_file level {
    file \"TMP/level\"
}
vrrp_sync_group G {
    group {
        VI_1
        VI_2
    }
    sync_group_tracking_weight
}
vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    priority 100
    version 3
    advert_int 0.1
    track_script {
        good
    }
    track_file {
        level weight 1
    }
    virtual_ipaddress {
        10.9.0.51/24
    }
}
vrrp_instance VI_2 {
    interface eth0
    virtual_router_id 52
    priority 100
    version 3
    advert_int 0.1
    virtual_ipaddress {
        10.9.0.52/24
    }
}
";

#[test]
fn the_status_has_the_fields_that_are_described() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    ground.write("level", "3\n");
    ground.configure(&CONF.replace("TMP", &ground.directory.display().to_string()));
    let daemon = ground.start("");
    let status = || daemon.ask(r#"{"request":"status"}"#)["status"].clone();
    daemon.wait_for("a script that has run, and a master", || {
        let status = status();
        !status["scripts"][0]["last_exit"].is_null() && status["instances"][0]["state"] == "MASTER"
    });
    let (status, page) = (status(), page());
    let instance = &status["instances"][0];
    let found = [
        ("status", &status),
        ("instance", instance),
        ("address", &instance["addresses"][0]),
        ("contribution", &instance["contributions"][0]),
        ("master", &instance["master"]),
        ("next", &instance["next"]),
        ("group", &status["groups"][0]),
        ("script", &status["scripts"][0]),
        ("tracker", &status["trackers"][0]),
    ];
    for (of, value) in found {
        assert_eq!(fields(&page, of), keys(value), "{of}");
    }
    let speaker = vipd::vrrp::snapshot::SpeakerView {
        address: [10, 0, 0, 1].into(),
        why: vipd::vrrp::io::Refusal::Ttl,
        vrid: None,
        ifindex: 1,
        instance: None,
        count: 1,
        first_heard: vipd::time::Time::ZERO,
        last_heard: vipd::time::Time::ZERO,
        current: true,
    };
    assert_eq!(fields(&page, "speaker"), keys(&serde_json::to_value(speaker).unwrap()));
    let rival = vipd::vrrp::snapshot::RivalView {
        address: [10, 0, 0, 1].into(),
        priority: vipd::wire::Priority(1),
        count: 1,
        first_heard: vipd::time::Time::ZERO,
        last_heard: vipd::time::Time::ZERO,
        current: true,
        is_peer: None,
    };
    assert_eq!(fields(&page, "rival"), keys(&serde_json::to_value(rival).unwrap()));
    // The number of the form, the clock by its name, and nothing that looks like the inside.
    assert_eq!(status["schema"], SCHEMA);
    assert_eq!(status["clock"]["name"], "CLOCK_MONOTONIC");
    assert_eq!(status["scripts"][0]["last_exit"], json!({ "code": 0 }));
    for request in [r#"{"request":"hello"}"#, r#"{"request":"nonsense"}"#, r#"{"request":"history"}"#] {
        assert_eq!(daemon.ask(request)["schema"], SCHEMA, "{request}");
    }
}

/// What somebody else than root hears; his socket is opened to all for it.
fn as_nobody(socket: &std::path::Path, requests: &[&str]) -> Vec<Value> {
    let script = "import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\nf = s.makefile('rw')\nfor r in sys.argv[2:]:\n f.write(r + '\\n')\n f.flush()\n sys.stdout.write(f.readline())\n";
    let out = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c", script])
        .arg(socket)
        .args(requests)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let said: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(said.len(), requests.len(), "{}", String::from_utf8_lossy(&out.stderr));
    said
}

#[test]
fn others_may_look_and_change_nothing() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    ground.configure(&instance("VI_1", 51, "10.9.0.51/24"));
    let socket = ground.directory.join("control.sock");
    let daemon = ground.start_with_environment("", &[("VIPD_CONTROL", &socket.display().to_string())]);
    daemon.wait_for_address(&ground, "10.9.0.51", true);
    // Without a group of readers nobody else gets in; nothing is left beside it.
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777;
    let readers = std::fs::read_to_string("/etc/group").unwrap().lines().any(|line| line.starts_with("vipd:"));
    assert_eq!(mode, if readers { 0o660 } else { 0o600 });
    let hidden = std::fs::read_dir(&ground.directory)
        .unwrap()
        .flatten()
        .any(|f| f.file_name().to_string_lossy().starts_with('.'));
    assert!(!hidden, "a socket under another name is left");
    std::fs::set_permissions(&ground.directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).unwrap();
    let mut asked = Vec::new();
    for row in rows("Requests") {
        if row[0] != "`{\"request\":\"watch\"}`" {
            asked.push((row[0].trim_matches('`').to_owned(), row[1] == "reading"));
        }
    }
    let requests: Vec<&str> = asked.iter().map(|(request, _)| request.as_str()).collect();
    for ((request, may), answer) in asked.iter().zip(as_nobody(&socket, &requests)) {
        let refused = answer["reason"].as_str().is_some_and(|reason| reason.contains("only root may"));
        assert_eq!(refused, !may, "{request}: {answer}");
    }
    // Root still may.
    let mut stream = BufReader::new(UnixStream::connect(&socket).unwrap());
    stream.get_mut().write_all(b"{\"request\":\"announce\"}\n").unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert!(line.contains("\"reply\":\"done\""), "{line}");
}
