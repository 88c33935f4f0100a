//! `vipctl probe` on a file with servers that are well and servers that are not.

use super::stage::*;
use serde_json::Value;
use socket2::Type;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};

struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A configuration with these real servers: address and what stands in its block.
fn configuration(name: &str, servers: &[(SocketAddr, String)]) -> File {
    let servers: String = servers
        .iter()
        .map(|(address, inside)| format!("  real_server {} {} {{\n{inside}\n  }}\n", address.ip(), address.port()))
        .collect();
    let text = format!(
        "global_defs {{\n  script_user root\n  enable_script_security\n}}\n\
         virtual_server 192.0.2.1 80 {{\n  lb_algo rr\n  lb_kind NAT\n  protocol TCP\n  connect_timeout 20\n{servers}}}\n"
    );
    let path = std::env::temp_dir().join(format!("vipd-probe-{name}-{}.conf", std::process::id()));
    std::fs::write(&path, text).unwrap();
    File(path)
}

fn probe(file: &File, more: &[&str]) -> (Option<i32>, String, String) {
    let output: Output =
        Command::new(env!("CARGO_BIN_EXE_vipctl")).arg("probe").arg(&file.0).args(more).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_dialogue_is_shown() {
    let good = answering(b"HTTP/1.0 200 OK\r\nSet-Cookie: hush\r\nContent-Length: 5\r\n\r\nhello");
    let (closed, _hold) = nobody(Type::STREAM);
    let http = "    HTTP_GET {\n      url {\n        path /a\n      }\n      url {\n        path /b\n      }\n    }";
    let all = configuration("all", &[(good, http.into()), (closed, "    TCP_CHECK {\n    }".into())]);
    let (code, out, err) = probe(&all, &[]);
    assert_eq!((code, err.as_str()), (Some(1), ""), "{out}");
    for line in [
        "virtual_server 192.0.2.1:80\n".to_owned(),
        format!("  real_server {good}\n    HTTP_GET /b (page 2 of 2) to {good}: good after "),
        format!("      - connected to {good} from "),
        "      > GET /a HTTP/1.0\n      > User-Agent: KeepAliveClient\n".into(),
        "      < HTTP/1.0 200 OK\n      < Set-Cookie: …\n      < Content-Length: 5\n      < body of 5 bytes\n".into(),
        "      - /a is good\n".into(),
        format!("  real_server {closed}\n    TCP_CHECK to {closed}: bad after "),
        " ms: the connection was refused\n".into(),
        "2 checks: 1 good, 1 bad\n".into(),
    ] {
        assert!(out.contains(&line), "{line:?} is not in:\n{out}");
    }
    assert!(!out.contains("hush") && !out.contains("hello"), "{out}");

    let (code, out, _) = probe(&all, &[&good.to_string()]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.ends_with("1 checks: 1 good, 0 bad\n"), "{out}");
    let (code, _, err) = probe(&all, &["192.0.2.77"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("no server 192.0.2.77 with checks in"), "{err}");

    let (code, out, _) = probe(&all, &["--json"]);
    assert_eq!(code, Some(1));
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["finding"], &lines[1]["finding"]), (&"good".into(), &"bad".into()));
    assert_eq!(lines[1]["why"], "the connection was refused");
    assert_eq!(lines[0]["dialogue"][1]["way"], "sent");
}

#[test]
fn programs_are_run_and_what_is_told_is_not_asked() {
    let (closed, _hold) = nobody(Type::STREAM);
    let misc = |line: &str, more: &str| format!("    MISC_CHECK {{\n      misc_path \"{line}\"\n      {more}\n    }}");
    let file = configuration(
        "programs",
        &[(
            closed,
            [misc("/usr/bin/true", ""), misc("/usr/bin/false", ""), misc("/usr/bin/sleep 60", "misc_timeout 1")]
                .join("\n"),
        )],
    );
    let (code, out, err) = probe(&file, &[]);
    assert_eq!(code, Some(1), "{out}{err}");
    for (start, end) in [
        ("    MISC_CHECK /usr/bin/true: good after ", " ms\n"),
        ("    MISC_CHECK /usr/bin/false: bad after ", ": the program ended with exit code 1\n"),
        ("    MISC_CHECK /usr/bin/sleep: bad after ", ": no answer in time while running the program\n"),
    ] {
        let line =
            out.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start} is not in:\n{out}"));
        assert!(format!("{line}\n").ends_with(end), "{line}");
    }
}

#[test]
fn what_cannot_be_probed_is_said() {
    let (closed, _hold) = nobody(Type::STREAM);
    let none = configuration("none", &[(closed, "    weight 1".into())]);
    let (code, _, err) = probe(&none, &[]);
    assert_eq!(code, Some(2));
    assert!(err.contains("no real_server with checks in"), "{err}");
    let elsewhere = configuration("elsewhere", &[(closed, "    TCP_CHECK {\n      bindto 192.0.2.77\n    }".into())]);
    let (code, out, _) = probe(&elsewhere, &[]);
    assert_eq!(code, Some(2), "{out}");
    assert!(out.contains("not made after ") && out.contains("could not be made on this machine"), "{out}");
}
