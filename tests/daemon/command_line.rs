//! Flags, exit codes, the text of `-v`: what scripts and units depend on.

use std::ffi::OsString;
use std::process::{Command, Output};
use vipd::cli::vipd::{Asked, parse};
use vipd::daemon::Options;

fn vipd(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vipd")).args(args).output().unwrap()
}

fn asked(line: &str) -> Result<Asked, String> {
    parse(std::iter::once("keepalived").chain(line.split_whitespace()).map(OsString::from))
}

fn options(line: &str) -> Options {
    match asked(line) {
        Ok(Asked::Run(options)) => *options,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn command_lines_of_the_field_are_understood() {
    let octavia = options("-D -d --log-facility=1 -f /var/lib/octavia/vrrp/o.conf -p /run/o.pid");
    assert_eq!((octavia.log.detail, octavia.dump, octavia.log.facility), (1, true, 17));
    assert_eq!(octavia.pids.main.unwrap().to_str(), Some("/run/o.pid"));
    let neutron = options("-P -f /conf -p /pid -r /pid-vrrp -D");
    assert!(neutron.parts.vrrp && !neutron.parts.checkers && !neutron.foreground);
    assert_eq!(neutron.pids.vrrp.unwrap().to_str(), Some("/pid-vrrp"));
    let kolla = options("-nld -p /run/keepalived.pid");
    assert!(kolla.foreground && kolla.log.console && kolla.dump);
    let openshift = options("-f /etc/k.conf --dont-fork --vrrp --log-detail --log-console");
    assert!(openshift.foreground && openshift.log.console && openshift.log.detail == 1);
    let operator = options("--log-console --log-detail --dont-fork --config-id=pod --use-file=/a --pid=/b");
    assert_eq!(operator.config_id.as_deref(), Some("pod"));
    assert_eq!(options("-S local3").log.facility, 19);
    assert_eq!(options("-S 3").log.facility, 19);
    assert_eq!(options("-S user").log.facility, 1);
    assert_eq!(options("-S nonsense").log.facility, 3);
}

#[test]
fn the_last_of_several_wins_and_long_names_may_be_cut() {
    assert_eq!(options("-f /a -f /b").config.to_str(), Some("/b"));
    assert_eq!(options("--use-f /c").config.to_str(), Some("/c"));
    assert!(asked("--dont-rel").is_err(), "ambiguous");
    assert!(options("--dont-release-v").keep_claims);
    assert_eq!(options("").config.to_str(), Some("/etc/keepalived/keepalived.conf"));
}

#[test]
fn optional_arguments_are_glued_on() {
    assert_eq!(options("-t").test, Some(None));
    assert_eq!(options("-t/tmp/x").test.unwrap().unwrap().to_str(), Some("/tmp/x"));
    assert_eq!(options("-t=/tmp/x").test.unwrap().unwrap().to_str(), Some("/tmp/x"));
    assert_eq!(options("--config-test=/tmp/y").test.unwrap().unwrap().to_str(), Some("/tmp/y"));
    // As getopt has it: the next word is no argument of -t.
    assert_eq!(options("-t -f /z").test, Some(None));
    assert_eq!(options("-l -t -f /z").config.to_str(), Some("/z"));
    assert_eq!(options("-g").log.file.unwrap().to_str(), Some("keepalived.log"));
    assert_eq!(options("-g/tmp/l").log.file.unwrap().to_str(), Some("/tmp/l"));
    assert_eq!(options("-M").core.pattern.as_deref(), Some("core"));
    assert_eq!(options("-Mcore.%p").core.pattern.as_deref(), Some("core.%p"));
    // A cluster, and an argument that looks like a flag.
    assert_eq!(options("-nlt/tmp/x").test.unwrap().unwrap().to_str(), Some("/tmp/x"));
    assert_eq!(options("-i -t").config_id.as_deref(), Some("-t"));
}

#[test]
fn parts_follow_keepaliveds_switches() {
    let parts = |line: &str| {
        let parts = options(line).parts;
        (parts.vrrp, parts.checkers, parts.bfd)
    };
    assert_eq!(parts(""), (true, true, true));
    assert_eq!(parts("-P"), (true, false, true));
    assert_eq!(parts("-C"), (false, true, true));
    assert_eq!(parts("-B"), (true, true, false));
    assert_eq!(parts("-P --all"), (true, true, true));
}

#[test]
fn a_umask_is_read_in_any_base() {
    assert_eq!(options("-u 022").umask, Some(0o22));
    assert_eq!(options("-u 0x3f").umask, Some(0o77));
    assert_eq!(options("-u 18").umask, Some(0o22));
    assert_eq!(options("-u 99999").umask, None);
    assert_eq!(options("-u nine").umask, None);
}

#[test]
fn bad_command_lines_give_1() {
    for line in [&["--nonsense"][..], &["-Q"], &["-f"], &["--use-file="], &["--restore=x"]] {
        let out = vipd(line);
        assert_eq!(out.status.code(), Some(1), "{line:?}");
        assert!(!out.stderr.is_empty() && out.stdout.is_empty(), "{line:?}");
    }
}

#[test]
fn signum_prints_numbers_on_stdout() {
    let table =
        [("STOP", "15"), ("RELOAD", "1"), ("DATA", "10"), ("STATS", "12"), ("STATS_CLEAR", "63"), ("JSON", "36")];
    for (word, number) in table {
        for args in [vec![format!("--signum={word}")], vec!["--signum".into(), word.into()]] {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let out = vipd(&args);
            assert_eq!(String::from_utf8(out.stdout).unwrap(), format!("{number}\n"));
            assert_eq!(out.status.code(), Some(0));
        }
    }
    let out = vipd(&["--signum=TDUMP"]);
    assert_eq!((out.status.code(), String::from_utf8(out.stderr).unwrap().trim()), (Some(1), "Unknown sigfunc TDUMP"));
}

#[test]
fn the_version_is_one_that_tools_can_read() {
    let out = vipd(&["-v"]);
    assert_eq!(out.status.code(), Some(0));
    assert!(out.stdout.is_empty(), "everything goes to stderr");
    let text = String::from_utf8(out.stderr).unwrap();
    let first = text.lines().next().unwrap();
    // voxpupuli: /Keepalived v(\d+\.\d+\.\d+) .+/; evrardjp: /[kK]eepalived v(.*) /; mehdy: second word less its v.
    let word = first.split(' ').nth(1).unwrap();
    let numbers: Vec<u32> = word.strip_prefix('v').unwrap().split('.').map(|n| n.parse().unwrap()).collect();
    assert_eq!(numbers.len(), 3);
    assert!(first.starts_with("Keepalived v") && first.split(' ').count() > 2 && first.ends_with(')'));
    assert!(text.contains("--enable-json"));
    assert!(text.lines().any(|line| line.starts_with("vipd ")));
}

#[test]
fn help_goes_to_stderr_and_names_every_flag() {
    let out = vipd(&["--help"]);
    assert_eq!((out.status.code(), out.stdout.len()), (Some(0), 0));
    let text = String::from_utf8(out.stderr).unwrap();
    for flag in [
        "use-file",
        "vrrp",
        "check",
        "no_bfd",
        "all",
        "log-console",
        "log-detail",
        "log-facility",
        "no-syslog",
        "umask",
        "release-vips",
        "dont-release-vrrp",
        "dont-release-ipvs",
        "dont-respawn",
        "dont-fork",
        "dump-conf",
        "pid",
        "vrrp_pid",
        "genhash",
        "checkers_pid",
        "address-monitoring",
        "bfd_pid",
        "snmp",
        "snmp-agent-socket",
        "namespace",
        "core-dump",
        "core-dump-pattern",
        "all-config",
        "config-id",
        "ignore-sigint",
        "signum",
        "config-test",
        "version",
        "help",
    ] {
        assert!(text.contains(&format!("--{flag}")), "{flag}");
    }
}

#[test]
fn words_left_over_are_named_and_ignored() {
    let out = vipd(&["--signum=STOP", "left", "over"]);
    assert_eq!(out.status.code(), Some(0));
    assert!(matches!(asked("-n left over"), Ok(Asked::Run(_))));
}

#[test]
fn a_configuration_is_tested_without_running() {
    let directory = std::env::temp_dir().join(format!("vipd-test-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("k.conf");
    let run = |text: &str, flags: &[&str]| {
        std::fs::write(&file, text).unwrap();
        let mut args = vec!["-f", file.to_str().unwrap()];
        args.extend(flags);
        vipd(&args)
    };
    let out = run("global_defs {\n router_id x\n}\n", &["-t"]);
    assert_eq!((out.status.code(), out.stderr.len()), (Some(0), 0));
    let out = run("global_defs {\n ruoter_id x\n}\n", &["-t"]);
    let text = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(5), "{text}");
    assert!(text.contains("k.conf:2:2") && text.contains("ruoter_id") && text.contains("router_id"), "{text}");
    // A facility that there is not costs a line, no exit code.
    let out = run("global_defs {\n router_id x\n}\n", &["-t", "-S", "nonsense"]);
    let text = String::from_utf8(out.stderr).unwrap();
    assert_eq!((out.status.code(), text.as_str()), (Some(0), "Invalid log facility 'nonsense'\n"));
    // Nor does what is wrong in a file for a network namespace that is not here, which keepalived does not read on to see.
    for (line, said) in [("router_id x", false), ("ruoter_id x", true)] {
        let out = run(&format!("net_namespace nowhere\nglobal_defs {{\n {line}\n}}\n"), &["-t"]);
        let text = String::from_utf8(out.stderr).unwrap();
        assert_eq!((out.status.code(), text.contains("ruoter_id")), (Some(0), said), "{text}");
        assert!(text.contains("network namespace `nowhere` does not exist here"), "{text}");
    }
    // Into a file, appended.
    let report = directory.join("report");
    let flag = format!("-t{}", report.display());
    for times in 1..=2 {
        let out = run("global_defs {\n ruoter_id x\n}\n", &[&flag]);
        assert_eq!((out.status.code(), out.stderr.len()), (Some(5), 0));
        assert_eq!(std::fs::read_to_string(&report).unwrap().matches("ruoter_id").count(), times);
    }
    std::fs::remove_dir_all(&directory).unwrap();
}
