//! Configuration management: what Ansible, Puppet and Chef read from `--version` and how they validate a file.

use super::ground::{Ground, instance, ready};
use super::{call, is_vipd, program};

/// `Keepalived v(\d+\.\d+\.\d+) .+` (Puppet) and `[kK]eepalived v(.*) ` (Ansible), by hand.
fn version_of(line: &str) -> &str {
    let rest = line.strip_prefix("Keepalived v").unwrap();
    let (version, more) = rest.split_once(' ').unwrap();
    assert!(!more.is_empty(), "there is text after the version: {line}");
    assert_eq!(version.split('.').filter(|number| number.parse::<u32>().is_ok()).count(), 3, "{version}");
    version
}

#[test]
pub(super) fn versions_are_read_from_the_first_line_of_stderr() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    for flag in ["-v", "--version"] {
        let out = call(&ground, &[flag]);
        assert_eq!((out.status.code(), out.stdout.len()), (Some(0), 0));
        let text = String::from_utf8(out.stderr).unwrap();
        let first = text.lines().next().unwrap();
        let version = if is_vipd() { "2.4.3" } else { version_of(first) };
        assert_eq!(version_of(first), version);
        // The greedy match of Ansible's expression goes to the last blank of the line, so there must be one only.
        assert_eq!(first.strip_prefix("Keepalived v").unwrap().rsplit_once(' ').unwrap().0, version);
        // (MM/DD,YYYY)
        let date = first.rsplit_once('(').unwrap().1.strip_suffix(')').unwrap();
        let numbers: Vec<usize> = date.split(['/', ',']).map(str::len).collect();
        assert_eq!(numbers, [2, 2, 4], "{date}");
    }
}

#[test]
pub(super) fn files_are_validated_before_they_are_put_in_place() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    // These tools run on the host, in whose namespace eth0 need not exist; the file is tried where it will run.
    let good = instance("A", 1, "10.9.0.10/24");
    let bad = good.replace("virtual_router_id 1", "virtual_router_id");
    ground.configure(&good);
    for flags in ["--config-test", "-l -t", "-t", "-t -n -l -D", "--config-t"] {
        let out = ground.run_program(&program(&ground), flags);
        assert_eq!(out.status.code(), Some(0), "{flags}: {}", String::from_utf8_lossy(&out.stderr));
    }
    ground.configure(&bad);
    for flags in ["--config-test", "-l -t", "-t"] {
        let out = ground.run_program(&program(&ground), flags);
        assert_ne!(out.status.code(), Some(0), "{flags}");
        assert!(!is_vipd() || String::from_utf8_lossy(&out.stderr).contains("keepalived.conf:3:2"), "{out:?}");
    }
    // Chef's attributes write the report to a file.
    let report = ground.directory.join("report");
    for form in [format!("-t{}", report.display()), format!("--config-test={}", report.display())] {
        let out = ground.run_program(&program(&ground), &form);
        assert!(out.status.code() != Some(0) && out.stderr.is_empty(), "{out:?}");
        assert!(std::fs::read_to_string(&report).unwrap().contains("virtual_router_id"));
        std::fs::remove_file(&report).unwrap();
    }
}
