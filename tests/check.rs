//! `vipctl check` as editors and pipelines use it: several files, `--strict`, and the lines of `--format json`.

#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Folder(PathBuf);
impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("vipctl-check-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn check(arguments: &[&str]) -> (i32, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_vipctl")).arg("check").args(arguments).output().unwrap();
    (out.status.code().unwrap(), String::from_utf8(out.stdout).unwrap())
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn fields(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// The configuration of one of the three hosts of the example.
fn host(number: u8) -> String {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf-examples/haproxy-nginx-three-hosts");
    std::fs::read_to_string(example.join(format!("host{number}/keepalived.conf"))).unwrap()
}

#[test]
fn three_servers_are_compared_and_their_story_is_told() {
    let folder = Folder::new("three");
    let files: Vec<String> = (1..=3).map(|n| folder.file(&format!("host{n}.conf"), &host(n))).collect();
    let names: Vec<&str> = files.iter().map(String::as_str).collect();
    let (code, text) = check(&names);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("The configurations fit together."), "{text}");
    assert!(text.contains("if host1 dies, host2 takes over 10.1.0.100 at most"), "{text}");

    // A mistake in the third file only, and one that no file shows alone.
    let planted = host(3).replacen("advert_int", "advert_itn", 1).replace("priority 130", "priority 150");
    assert_ne!(planted, host(3));
    folder.file("host3.conf", &planted);
    let (code, text) = check(&[["--format", "json"].as_slice(), &names].concat());
    assert_eq!(code, 5, "{text}");
    let said = objects(&text);
    let mistakes: Vec<&Value> = said.iter().filter(|object| object.get("line").is_some()).collect();
    assert_eq!(mistakes.len(), 1, "{text}");
    assert!(mistakes[0]["file"].as_str().unwrap().ends_with("host3.conf"), "{text}");
    assert_eq!(mistakes[0]["help"], "did you mean `advert_int`?");
    let equal = said.iter().find(|object| object["rule"] == "equal-priority").unwrap_or_else(|| panic!("{text}"));
    let places: Vec<&str> = equal["places"].as_array().unwrap().iter().map(|p| p["file"].as_str().unwrap()).collect();
    assert!(places.iter().any(|file| file.ends_with("host3.conf")), "{places:?}");
    assert!(said.last().unwrap()["outlook"].is_array(), "{text}");
}

#[test]
fn strict_fails_on_what_is_only_worth_a_warning() {
    let folder = Folder::new("strict");
    let server = |priority: u8| {
        format!(
            "vrrp_instance V {{\n interface eth0\n virtual_router_id 51\n priority {priority}\n virtual_ipaddress {{\n \
             10.0.0.10/24\n }}\n}}\n"
        )
    };
    let (one, other) = (folder.file("one.conf", &server(100)), folder.file("other.conf", &server(100)));
    assert_eq!(check(&[&one, &other]).0, 0);
    assert_eq!(check(&["--strict", &one, &other]).0, 1);
    folder.file("other.conf", &server(90));
    assert_eq!(check(&["--strict", &one, &other]).0, 0);
}

#[test]
fn the_fields_of_json_are_those_that_the_manual_names() {
    let folder = Folder::new("json");
    let broken = folder.file("broken.conf", "global_defs {\n routr_id x\n}\nvrrp_script s {\n}\n");
    let (code, text) = check(&["--format", "json", "--anywhere", &broken]);
    assert_eq!(code, 5);
    let said = objects(&text);
    let mistake = [
        "class",
        "column",
        "end_column",
        "end_line",
        "file",
        "help",
        "label",
        "level",
        "line",
        "message",
        "related",
        "schema",
    ];
    for object in &said {
        assert_eq!(fields(object), BTreeSet::from(mistake), "{object}");
        assert!(["note", "warning", "error"].contains(&object["level"].as_str().unwrap()), "{object}");
    }
    assert_eq!((said[0]["line"].as_u64(), said[0]["column"].as_u64()), (Some(2), Some(2)));
    assert_eq!((said[0]["end_line"].as_u64(), said[0]["end_column"].as_u64()), (Some(2), Some(10)));
    assert_eq!(
        fields(&said[1]["related"][0]),
        BTreeSet::from(["column", "end_column", "end_line", "file", "line", "message"])
    );

    let one = folder.file("one.conf", "");
    let other = folder.file(
        "other.conf",
        "vrrp_instance V {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n 10.0.0.1/24\n }\n}\n",
    );
    let (_, text) = check(&["--json", &one, &other]);
    let said = objects(&text);
    assert_eq!(fields(&said[0]), BTreeSet::from(["help", "level", "message", "places", "rule", "schema"]), "{text}");
    assert_eq!(fields(&said[0]["places"][0]), BTreeSet::from(["file", "instance"]));
    assert_eq!(fields(said.last().unwrap()), BTreeSet::from(["outlook", "schema"]));

    let manual = Command::new(env!("CARGO_BIN_EXE_vipctl")).args(["man", "vipctl"]).output().unwrap();
    let manual = String::from_utf8(manual.stdout).unwrap().replace('\\', "");
    for field in mistake.iter().chain(&["rule", "places", "instance", "outlook"]) {
        assert!(manual.contains(field), "vipctl(1) does not name {field}");
    }
}

/// A keyword that nothing acts on and a program that will not run leave the exit code alone; `--strict` wants neither.
/// Every interface is taken to be there with `--anywhere` and with several files; those that the file itself makes are not.
#[test]
fn an_interface_that_is_to_be_made_is_not_there_already() {
    let folder = Folder::new("made");
    let text = |made: &str| {
        format!(
            "vrrp_instance V {{\n interface eth0\n {made}\n virtual_router_id 51\n virtual_ipaddress {{\n  192.0.2.10/24\n }}\n}}\n"
        )
    };
    for made in ["use_vmac vrrp.51", "use_vmac vrrp.51 02:00:5e:00:01:33", "use_ipvlan vrrp51 192.0.2.9/24"] {
        let (a, b) = (folder.file("a.conf", &text(made)), folder.file("b.conf", &text(made)));
        assert_eq!(check(&["--anywhere", &a]).0, 0, "{made}: {}", check(&["--anywhere", &a]).1);
        let (_, said) = check(&[&a, &b]);
        assert!(!said.contains("exists"), "{made}: {said}");
    }
}

#[test]
fn what_has_no_effect_is_said_and_strict_fails_on_it() {
    let folder = Folder::new("effect");
    let instance = |more: &str| {
        format!(
            "global_defs {{\n {more}\n}}\nvrrp_instance V {{\n interface eth0\n virtual_router_id 51\n \
             virtual_ipaddress {{\n  10.0.0.1\n }}\n}}\n"
        )
    };
    let idle = vipd::config::table::keywords::all();
    let idle =
        idle.iter().find(|k| k.status.starts_with("no effect") && k.block == "global_defs" && k.arguments == "none");
    // When every keyword has an effect there is none to name.
    if let Some(idle) = idle {
        let file = folder.file("idle.conf", &instance(idle.keyword));
        let (code, said) = check(&["--anywhere", &file]);
        assert_eq!(code, 0, "{said}");
        assert!(said.contains(&format!("`{}` has no effect here", idle.keyword)), "{said}");
        assert_eq!(check(&["--anywhere", "--strict", &file]).0, 1);
    }
    let file = folder.file("plain.conf", &instance("router_id a"));
    assert_eq!(check(&["--anywhere", "--strict", &file]).0, 0);
}

#[test]
fn no_output_tells_a_password() {
    let folder = Folder::new("secret");
    let file = |name: &str, secret: &str| {
        let text = format!(
            "vrrp_instance V {{\n interface eth0\n virtual_router_id 51\n authentication {{\n  auth_type PASS\n  auth_pass {secret}\n }}\n \
             virtual_ipaddress {{\n  10.0.0.1\n }}\n}}\n"
        );
        folder.file(name, &text)
    };
    let (one, other) = (file("one.conf", "TopSecret99"), file("other.conf", "BestHidden7"));
    for arguments in [vec!["--anywhere"], vec!["--anywhere", "--json"]] {
        let arguments: Vec<&str> = arguments.into_iter().chain([one.as_str(), other.as_str()]).collect();
        let (code, said) = check(&arguments);
        assert_eq!(code, 5, "{said}");
        assert!(said.contains("auth_pass"), "{said}");
        for part in ["TopSecr", "Secret99", "BestHidd", "Hidden7"] {
            assert!(!said.contains(part), "{said}");
        }
    }
}

/// `--anywhere` is for a file of another machine: what it names is not looked up here. A rule of nftables counts the questions
/// to name servers; without `--anywhere` there are some.
#[test]
fn a_file_for_another_machine_asks_no_name_server() {
    let folder = Folder::new("names");
    let file = folder.file(
        "mail.conf",
        "global_defs {\n notification_email {\n  a@b.example\n }\n smtp_server relay.b.example\n}\nvrrp_instance V {\n interface eth0\n \
         virtual_router_id 51\n virtual_ipaddress {\n  10.0.0.1\n }\n}\n",
    );
    let resolv = folder.file("resolv", "nameserver 127.0.0.1\noptions attempts:1 timeout:1\n");
    let vipctl = env!("CARGO_BIN_EXE_vipctl");
    let asked = |flags: &str| {
        let line = format!(
            "ip link set lo up && mount --bind {resolv} /etc/resolv.conf && nft 'add table ip t; add chain ip t o {{ type filter hook \
             output priority 0; }}; add rule ip t o udp dport 53 counter' && {{ {vipctl} check {flags} {file} >/dev/null; nft list table ip t; }}"
        );
        let ran =
            Command::new("unshare").args(["-n", "-m", "--propagation", "private", "sh", "-c", &line]).output().unwrap();
        let text = String::from_utf8(ran.stdout).unwrap();
        text.contains("packets").then(|| !text.contains("packets 0"))
    };
    let Some(without) = asked("") else {
        assert!(std::env::var_os("VIPD_REQUIRE_NETNS").is_none(), "needs root and nftables");
        return eprintln!("skipped: needs root and nftables");
    };
    assert!(without, "the name of the mail relay is looked up on the machine that it is for");
    assert_eq!(asked("--anywhere"), Some(false));
}
