//! Which scripts may run as root: by the way that their path takes through the file system.

#![allow(clippy::unwrap_used)]

use vipd::config::report::{Class, Diagnostics};
use vipd::config::system::{FileKind, Stat, TableSystem};
use vipd::config::text::expand::TextEnv;
use vipd::config::text::source::MapLoader;
use vipd::config::{Env, load};
use vipd::spec::balance::CheckerKind;
use vipd::spec::{Command, Spec};

/// A machine as Debian makes it: `/bin` and `/sbin` are links, `pidof` is one to `killall5`.
fn debian() -> TableSystem {
    let mut system = TableSystem { assume_scripts: false, ..TableSystem::anywhere() };
    let file = |uid, mode| Stat { kind: FileKind::Regular, uid, gid: 0, mode, size: 100 };
    for (path, uid) in
        [("/usr/sbin/killall5", 0), ("/usr/bin/true", 0), ("/usr/sbin/service", 0), ("/home/max/check", 1000)]
    {
        system.files.insert(path.into(), file(uid, 0o755));
    }
    let links = [
        ("/bin", "usr/bin"),
        ("/sbin", "/usr/sbin"),
        ("/usr/bin/pidof", "../sbin/killall5"),
        ("/etc/check", "/home/max/check"),
        ("/etc/circle", "circle"),
    ];
    for (path, target) in links {
        system.links.insert(path.into(), target.into());
    }
    system
}

/// What a link of user 1000's is, in a directory of his.
fn users_link(system: &mut TableSystem, path: &str, target: &str) {
    system.links.insert(path.into(), target.into());
    system.files.insert(path.into(), Stat { kind: FileKind::Link, uid: 1000, gid: 1000, mode: 0o777, size: 9 });
}

fn read(system: &TableSystem, globals: &str, lines: &str) -> (Spec, Diagnostics) {
    let text = format!(
        "global_defs {{\n script_user root\n {globals}\n}}\n{lines}\nvrrp_instance V {{\n interface eth0\n virtual_router_id 51\n \
         track_script {{\n  chk\n }}\n notify_master /bin/true\n virtual_ipaddress {{\n  192.0.2.10\n }}\n}}\n"
    );
    let files = MapLoader::default().with("/etc/keepalived.conf", text);
    let (spec, diagnostics) = load("/etc/keepalived.conf", &Env { text: TextEnv::default(), system }, &files);
    (spec.unwrap(), diagnostics)
}

fn script(command: &str) -> String {
    format!("vrrp_script chk {{\n script \"{command}\"\n}}")
}

/// The file that is executed, what it is called, and whether others could change it.
fn runs(spec: &Spec) -> Option<(&str, &str, bool)> {
    let script = spec.scripts.first()?;
    let Command::Exec { path, argv } = &script.run.command else { return None };
    Some((&**path, &*argv[0], script.insecure))
}

#[test]
fn links_that_only_root_can_change_are_safe() {
    let system = debian();
    for security in ["", "enable_script_security"] {
        let (spec, diagnostics) = read(&system, security, &script("/bin/pidof nginx"));
        assert_eq!(runs(&spec), Some(("/usr/sbin/killall5", "/bin/pidof", false)), "{diagnostics:?}");
        assert_eq!(spec.instances[0].ties.len(), 1, "it is tracked");
        assert!(spec.instances[0].notify.master.is_some(), "so are notify programs");
        assert_eq!(diagnostics.exit_code(), if security.is_empty() { 6 } else { 0 });
        let (spec, _) = read(&system, security, &script("/sbin/service nginx status"));
        assert_eq!(runs(&spec).unwrap().0, "/usr/sbin/service");
    }
    let (spec, _) = read(&system, "use_symlink_paths", &script("/bin/pidof nginx"));
    assert_eq!(runs(&spec), Some(("/bin/pidof", "/bin/pidof", false)));
}

/// 2.2.7 divides at an escaped blank, and does not run what it cannot read.
#[test]
fn a_line_is_read_as_later_ones_do_where_nothing_would_run() {
    let mut system = debian();
    let argv = |system: &TableSystem, line: &str| {
        let (spec, diagnostics) =
            read(system, "enable_script_security", &format!("vrrp_script chk {{\n script {line}\n}}"));
        let script = spec.scripts.first().unwrap_or_else(|| panic!("{line}: {diagnostics:?}"));
        let Command::Exec { argv, .. } = &script.run.command else { panic!("{line}") };
        argv.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(argv(&system, r"/bin/true\ 19"), ["/bin/true", "19"]);
    assert_eq!(argv(&system, "/bin/true\\\t19 root"), ["/bin/true", "19"]);
    assert_eq!(argv(&system, r#""/bin/true a\ b""#), ["/bin/true", "a", "b"]);
    assert_eq!(argv(&system, r#""/bin/true a\"""#), ["/bin/true", "a"]);
    assert_eq!(argv(&system, r#""/bin/true \"a b""#), ["/bin/true", "\"a", "b"]);
    system.files.insert("/usr/bin/is it".into(), system.files["/usr/bin/true"]);
    assert_eq!(argv(&system, r#""/bin/is\ it a\ b""#), ["/bin/is it", "a b"]);
    system.files.insert("/usr/bin/is".into(), system.files["/usr/bin/true"]);
    assert_eq!(argv(&system, r#""/bin/is\ it a\ b""#), ["/bin/is", "it", "a", "b"]);
}

/// `master.sh` and `backup.sh` that lead to one `notify.sh`, which looks at its name.
#[test]
fn a_link_beside_its_file_is_run_by_its_own_name() {
    let mut system = debian();
    system.links.insert("/usr/bin/yes".into(), "true".into());
    system.links.insert("/usr/local/bin/yes".into(), "/bin/yes".into());
    system.links.insert("/usr/local/bin/other".into(), "/bin/yes".into());
    for (command, path) in [
        ("/usr/bin/yes", "/usr/bin/yes"),
        ("/bin/yes", "/usr/bin/yes"),
        ("/usr/local/bin/yes", "/usr/bin/yes"),
        ("/usr/local/bin/other", "/usr/bin/true"),
    ] {
        let (spec, diagnostics) = read(&system, "enable_script_security", &script(command));
        assert_eq!(runs(&spec), Some((path, command, false)), "{diagnostics:?}");
    }
    // One that somebody else could turn is not followed.
    users_link(&mut system, "/usr/bin/yes", "true");
    let (spec, _) = read(&system, "", &script("/usr/local/bin/yes"));
    assert_eq!(runs(&spec).unwrap().0, "/usr/bin/true");
}

#[test]
fn what_a_script_begins_with_is_looked_at() {
    let mut system = debian();
    system.files.insert("/usr/bin/sh".into(), system.files["/usr/bin/true"]);
    for (head, wrong) in [
        ("#!/bin/sh\nexit 0\n", None),
        ("#! /bin/sh -e\n", None),
        ("echo\n", None),
        ("", None),
        ("#!/bin/sh\r\nexit 0\r\n", Some("a carriage return")),
        ("#!/usr/bin/env bash\r\n", Some("a carriage return")),
        ("#!/nowhere/bash -e\n", Some("`/nowhere/bash`, which is not there")),
    ] {
        system.heads.insert("/usr/bin/true".into(), head.into());
        system.files.insert("/usr/bin/env".into(), system.files["/usr/bin/true"]);
        let (spec, diagnostics) = read(&system, "enable_script_security", &script("/usr/bin/true"));
        assert!(runs(&spec).is_some(), "{head:?}: what keepalived runs is run");
        let said: Vec<_> = diagnostics.list.iter().filter(|d| d.class == Class::NotRun).collect();
        assert_eq!(said.len(), usize::from(wrong.is_some()), "once, though it is a notify program as well: {said:?}");
        assert!(said.iter().all(|d| d.message.contains(wrong.unwrap()) && d.help.is_some()), "{said:?}");
        assert_eq!(diagnostics.exit_code(), 0);
    }
}

#[test]
fn a_way_that_others_can_turn_is_insecure() {
    let mut system = debian();
    users_link(&mut system, "/opt/check", "/usr/bin/true");
    // (path, what is wrong on the way to it)
    for (path, who) in
        [("/opt/check", "`/opt/check` belongs to uid 1000"), ("/etc/check", "`/home/max/check` belongs to uid 1000")]
    {
        let (spec, diagnostics) = read(&system, "", &script(path));
        assert!(runs(&spec).unwrap().2, "{path} runs, counted as insecure");
        assert!(diagnostics.list.iter().any(|d| d.class == Class::Security), "{diagnostics:?}");
        let (spec, diagnostics) = read(&system, "enable_script_security", &script(path));
        assert_eq!(runs(&spec), None, "with script security it does not");
        assert!(diagnostics.list.iter().any(|d| d.message.contains(who)), "{diagnostics:?}");
    }
}

#[test]
fn a_link_in_a_directory_of_others_is_insecure_though_it_is_roots() {
    let mut system = debian();
    let open = |mode| Stat { kind: FileKind::Directory, uid: 0, gid: 0, mode, size: 0 };
    for (directory, mode, safe) in
        [("/srv/open", 0o777, false), ("/srv/sticky", 0o1777, true), ("/srv/closed", 0o755, true)]
    {
        system.files.insert(directory.into(), open(mode));
        system.links.insert(format!("{directory}/check"), "/usr/bin/true".into());
        system
            .files
            .insert(format!("{directory}/check"), Stat { kind: FileKind::Link, uid: 0, gid: 0, mode: 0o777, size: 9 });
        let (spec, diagnostics) = read(&system, "enable_script_security", &script(&format!("{directory}/check")));
        assert_eq!(runs(&spec).is_some(), safe, "{directory}: {diagnostics:?}");
    }
}

#[test]
fn links_that_lead_nowhere_are_not_run() {
    let system = debian();
    for path in ["/etc/circle", "/bin/absent", "/etc/check/more"] {
        let (spec, diagnostics) = read(&system, "", &script(path));
        assert_eq!(runs(&spec), None, "{path}");
        assert!(diagnostics.list.iter().any(|d| d.message.contains("does not exist")), "{diagnostics:?}");
    }
}

/// What a MISC_CHECK runs, and whether it is there at all.
fn misc(system: &TableSystem, globals: &str, path: &str) -> (Option<String>, Diagnostics) {
    let text = format!(
        "global_defs {{\n script_user root\n {globals}\n}}\nvirtual_server 192.0.2.5 80 {{\n lb_algo rr\n lb_kind NAT\n protocol TCP\n \
         real_server 192.0.2.6 80 {{\n  MISC_CHECK {{\n   misc_path \"{path}\"\n  }}\n }}\n}}\n"
    );
    let files = MapLoader::default().with("/etc/keepalived.conf", text);
    let (spec, diagnostics) = load("/etc/keepalived.conf", &Env { text: TextEnv::default(), system }, &files);
    let spec = spec.unwrap();
    let runs = spec.balance.services.iter().flat_map(|service| &service.servers).flat_map(|server| &server.checkers);
    let run = runs.filter_map(|checker| match &checker.kind {
        CheckerKind::Misc { run: Some(run), .. } => Some(run),
        _ => None,
    });
    let path = run.map(|run| match &run.command {
        Command::Exec { path, .. } => path.to_string(),
        other => format!("{other:?}"),
    });
    (path.clone().next(), diagnostics)
}

/// A check of a real server that is left out leaves the server in, whatever it does: the worst place for a path to be refused.
#[test]
fn programs_of_misc_checks_are_judged_in_the_same_way() {
    let mut system = debian();
    users_link(&mut system, "/opt/check", "/usr/bin/true");
    for security in ["", "enable_script_security"] {
        for (path, file) in
            [("/bin/pidof nginx", "/usr/sbin/killall5"), ("/sbin/service nginx status", "/usr/sbin/service")]
        {
            let (run, diagnostics) = misc(&system, security, path);
            assert_eq!(run.as_deref(), Some(file), "{diagnostics:?}");
            assert_eq!(diagnostics.exit_code(), if security.is_empty() { 6 } else { 0 }, "{diagnostics:?}");
        }
    }
    let (run, diagnostics) = misc(&system, "enable_script_security", "/opt/check");
    assert_eq!(run, None, "its link is another user's");
    assert!(diagnostics.list.iter().any(|d| d.message.contains("belongs to uid 1000")), "{diagnostics:?}");
    assert!(misc(&system, "", "/opt/check").0.is_some());
    assert_eq!(misc(&system, "", "/bin/absent").0, None);
}
