//! `vipctl status --on`: a pair asked over a stand-in for ssh that enters the right namespace.

use super::lab::{Kind, Lab, ip, skip};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

/// An advert a second: no pause of a busy machine makes two masters while the pair is asked.
fn conf(priority: u8, more: &str) -> String {
    format!(
        "global_defs {{\n    router_id r{priority}\n}}\ninclude more.conf\nvrrp_instance VI_1 {{\n    interface eth0\n    virtual_router_id 51\n    \
         priority {priority}\n    version 3\n    advert_int 1\n{more}    virtual_ipaddress {{\n        192.0.2.100/24\n    }}\n}}\n"
    )
}

/// A directory with an `ssh` that knows lb1, lb2, a host that hangs and one that refuses.
fn stand_in(lab: &Lab) -> PathBuf {
    let directory = lab.file(0, "bin");
    std::fs::create_dir_all(&directory).unwrap();
    let side = |node: usize| {
        let own = lab.file(node, "control");
        format!("exec ip netns exec {} env VIPD_CONTROL={} sh -c \"$*\"", lab.nodes[node].namespace, own.display())
    };
    let text = format!(
        "#!/bin/sh\n[ \"$1 $2 $3 $4\" = '-T -o BatchMode=yes -o' ] || {{ echo \"not in batch mode: $*\" >&2; exit 9; }}\n\
         [ \"$6\" = -- ] || exit 9\nhost=$7; shift 7\ncase $host in\nlb1) {} ;;\nlb2) {} ;;\nhang) exec sleep 600 ;;\n\
         *) echo \"root@$host: Permission denied (publickey).\" >&2; exit 255 ;;\nesac\n",
        side(0),
        side(1)
    );
    // Another process writes the program: a descriptor open for writing here would be inherited by whatever another test
    // starts at that moment, and a program that is open for writing cannot be executed.
    let source = lab.file(0, "ssh.text");
    std::fs::write(&source, text).unwrap();
    let done = Command::new("install").args(["-m", "755"]).arg(&source).arg(directory.join("ssh")).status().unwrap();
    assert!(done.success());
    let _ = std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_vipctl"), directory.join("vipctl"));
    directory
}

fn on(bin: &std::path::Path, arguments: &[&str]) -> (String, Output) {
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let out = Command::new(env!("CARGO_BIN_EXE_vipctl")).arg("status").args(arguments).env("PATH", path).output();
    let out = out.unwrap();
    (String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr), out)
}

#[test]
fn a_pair_is_asked_over_ssh_and_held_against_each_other() {
    if skip(&[]) {
        return;
    }
    let mut lab = Lab::new(&[Kind::Vipd, Kind::Vipd], 1);
    for (node, priority) in [(0, 150), (1, 100)] {
        lab.configure(node, &conf(priority, ""));
        std::fs::write(lab.file(node, "more.conf"), "vrrp_script chk {\n    script \"/bin/true\"\n}\n").unwrap();
        lab.start(node);
    }
    let address = "192.0.2.100".parse().unwrap();
    lab.only(0, address).unwrap();
    let bin = stand_in(&lab);
    let (text, out) = on(&bin, &["--on", "lb1,lb2"]);
    assert_eq!(out.status.code(), Some(0), "{text}");
    let line = text.lines().find(|line| line.contains("192.0.2.100")).unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["192.0.2.100", "VI_1", "lb1", "yes"], "{text}");
    assert!(!text.contains("cannot be read"), "{text}");

    // Nothing passes between them: both hold it.
    let isolated = |how| {
        for port in ["p0", "p1"] {
            ip(lab.switch(), &["link", "set", port, "type", "bridge_slave", "isolated", how]).unwrap();
        }
    };
    isolated("on");
    super::lab::until("both to hold it", || lab.has(0, address) && lab.has(1, address)).unwrap();
    let (text, out) = on(&bin, &["--on", "lb1,lb2", "--address", "192.0.2.100"]);
    assert_eq!(out.status.code(), Some(1), "{text}");
    let line = text.lines().find(|line| line.contains("192.0.2.100")).unwrap();
    assert!(line.contains("lb1, lb2") && line.trim_end().ends_with("no"), "{text}");
    isolated("off");
    lab.only(0, address).unwrap();

    // One that cannot be asked: nobody knows whether it has the address.
    let (text, out) = on(&bin, &["--on", "lb1,other"]);
    assert_eq!(out.status.code(), Some(2), "{text}");
    assert!(
        text.contains("other cannot be asked: root@other: Permission denied (publickey).") && text.contains("unknown")
    );
    let (text, out) = on(&bin, &["--on", "lb1,hang", "--within", "1"]);
    assert!(out.status.code() == Some(2) && text.contains("hang cannot be asked: no answer within 1 s"), "{text}");
    let (text, out) = on(&bin, &["--on=-oProxyCommand=false"]);
    assert!(out.status.code() == Some(2) && text.contains("is no host"), "{text}");

    // Configurations that do not fit, their passwords told nowhere.
    let pass =
        |word: &str| format!("    authentication {{\n        auth_type PASS\n        auth_pass {word}\n    }}\n");
    for (node, priority, word) in [(0, 150, "topaz"), (1, 100, "onyx")] {
        lab.configure(node, &conf(priority, &pass(word)).replace("version 3", "version 2"));
    }
    let (text, out) = on(&bin, &["--on", "lb1,lb2"]);
    assert_eq!(out.status.code(), Some(1), "{text}");
    assert!(text.contains("[authentication-differs]"), "{text}");
    let (json, _) = on(&bin, &["--on", "lb1,lb2", "--json"]);
    // What the other end gives out: no password either, to nobody but root anything of the file, and what they come to only
    // for this question.
    let given = |salt: &str, uid: &str| {
        let question = format!("--configuration={salt}");
        let mut vipctl = Command::new("setpriv");
        vipctl.args(["--reuid", uid, "--clear-groups", env!("CARGO_BIN_EXE_vipctl"), "status", "--json", &question]);
        let out = vipctl.env("VIPD_CONTROL", lab.file(0, "control")).output().unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
    };
    let (one, other) = ("0123456789abcdef".repeat(2), "f".repeat(32));
    let whole = given(&one, "0");
    for word in ["topaz", "onyx"] {
        assert!(![&text, &json, &whole].iter().any(|text| text.contains(word)), "{word} in {text}{json}{whole}");
    }
    let sealed = |text: &str| {
        let answer: serde_json::Value = serde_json::from_str(text).unwrap();
        answer["configuration"]["sealed"][0]["pass"].as_array().unwrap().clone()
    };
    assert!(whole.contains("auth_pass ********") && sealed(&whole) == sealed(&given(&one, "0")), "{whole}");
    assert_ne!(sealed(&whole), sealed(&given(&other, "0")));
    assert!(given("12", "0").contains("32 hexadecimal digits are needed"));
    std::fs::set_permissions(lab.file(0, "control"), std::fs::Permissions::from_mode(0o666)).unwrap();
    let of_others = given(&one, "65534");
    assert!(of_others.contains("\"instances\"") && !of_others.contains("\"configuration\""), "{of_others}");

    // The same password, by another way.
    let named = conf(100, &pass("$WORD")).replace("version 3", "version 2");
    lab.configure(1, &format!("$WORD=topaz\n{named}"));
    let (text, out) = on(&bin, &["--on", "lb1,lb2"]);
    assert!(out.status.code() == Some(0) && !text.contains("authentication"), "{text}");
}
