//! SIGHUP: what goes on, what changes, what is refused.

use crate::ground::{Ground, hear, instance, ip, ready, say};
use std::os::fd::{AsRawFd, OwnedFd};

#[test]
fn a_broken_file_leaves_the_running_configuration_in_force() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let daemon = ground.start_master("");
    ground.configure(&instance("A", 1, "10.9.0.99/24").replace("priority", "priorty"));
    daemon.signal(libc::SIGHUP);
    daemon.wait_for_log("Reload refused, the running configuration goes on");
    assert!(daemon.log_text().contains("keepalived.conf:4:2") && daemon.log_text().contains("priorty"));
    assert!(ground.has("10.9.0.10/24") && !ground.has("10.9.0.99/24"));
    // Over the control socket the answer carries the diagnostics.
    let reply = daemon.ask(r#"{"request":"reload"}"#);
    assert_eq!(reply["reply"], "refused");
    assert!(reply["diagnostics"].as_str().unwrap().contains("priorty"), "{reply}");
    assert_eq!(daemon.state("A"), "MASTER");
    // Nothing else than the file had to be put right.
    ground.configure(&instance("A", 1, "10.9.0.20/24"));
    assert_eq!(daemon.ask(r#"{"request":"reload"}"#)["reply"], "done");
    daemon.wait_for_address(&ground, "10.9.0.20/24", true);
    daemon.wait_for_address(&ground, "10.9.0.10/24", false);
    assert_eq!(daemon.state("A"), "MASTER");
    assert_eq!(daemon.log_text().matches("(A) Entering MASTER STATE").count(), 1, "{}", daemon.log_text());
}

#[test]
fn the_same_file_again_changes_nothing() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let daemon = ground.start_two_masters();
    let mut watch = daemon.control();
    say(&mut watch, r#"{"request":"watch"}"#);
    assert_eq!(hear(&mut watch)["reply"], "status");
    for _ in 0..3 {
        assert_eq!(daemon.ask(r#"{"request":"reload"}"#)["reply"], "done");
    }
    daemon.signal(libc::SIGTERM);
    // Up to the stop nothing has happened.
    let first = hear(&mut watch);
    assert!(["stopped", "became"].contains(&first["event"]["kind"].as_str().unwrap()), "{first}");
    // A thread of its own writes the log.
    daemon.wait_for("three reloads", || daemon.log_text().matches("Reload complete").count() >= 3);
    assert_eq!(daemon.log_text().matches("Reload complete").count(), 3);
    assert_eq!(daemon.end().code(), Some(0));
}

#[test]
fn instances_come_and_go_and_keep_what_they_are() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    ground.configure(&(instance("A", 1, "10.9.0.10/24") + &instance("B", 2, "10.9.0.11/24")));
    let daemon = ground.start("");
    daemon.wait_for_address(&ground, "10.9.0.11/24", true);
    // A goes, B moves to the front and gets another name, C comes.
    ground.configure(&(instance("Renamed", 2, "10.9.0.11/24") + &instance("C", 3, "10.9.0.12/24")));
    daemon.signal(libc::SIGHUP);
    daemon.wait_for_address(&ground, "10.9.0.12/24", true);
    daemon.wait_for_address(&ground, "10.9.0.10/24", false);
    assert!(ground.has("10.9.0.11/24"));
    assert_eq!((daemon.state("A").as_str(), daemon.state("Renamed").as_str()), ("absent", "MASTER"));
    assert!(!daemon.log_text().contains("(Renamed) Entering"), "it has been master all the time");
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(!ground.has("10.9.0.11/24") && !ground.has("10.9.0.12/24"));
}

#[test]
fn what_only_a_restart_can_change_is_refused() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    ground.configure(&instance("A", 1, "10.9.0.10/24"));
    let daemon = ground.start("");
    ground.configure(&format!("net_namespace other\n{}", instance("A", 1, "10.9.0.10/24")));
    let reply = daemon.ask(r#"{"request":"reload"}"#);
    assert!(reply["reason"].as_str().unwrap().contains("net_namespace cannot change without a restart"), "{reply}");
}

/// Adverts became too long for the interface while the daemon ran: what lets it speak again must not be refused.
#[test]
fn a_list_that_no_longer_fits_into_an_advert_is_taken_at_a_reload() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let list: Vec<String> = (10..40).map(|n| format!("10.9.0.{n}/24")).collect();
    ground.configure(&instance("A", 1, &list.join("\n")));
    let daemon = ground.start("");
    daemon.wait_for_address(&ground, "10.9.0.39/24", true);
    let mtu = |bytes: u32| ip(&format!("-n {} link set eth0 mtu {bytes}", ground.name));
    mtu(100);
    daemon.wait_for_log("this machine does not let its adverts out: Message too long");
    daemon.wait_for_address(&ground, "10.9.0.39/24", false);
    let reply = daemon.ask(r#"{"request":"reload"}"#);
    assert_eq!(reply["reply"], "done", "{reply}");
    daemon.wait_for_log("from 10.9.0.24 on they are treated as excluded");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    daemon.wait_for_address(&ground, "10.9.0.39/24", true);
    mtu(1500);
    let reply = daemon.ask(r#"{"request":"reload"}"#);
    assert_eq!(reply["reply"], "done", "{reply}");
    assert_eq!((daemon.state("A").as_str(), ground.has("10.9.0.39/24")), ("MASTER", true));
    assert_eq!(daemon.stop().code(), Some(0));
}

/// A file system that hangs: from outside it would only be seen that nothing happens.
#[test]
fn what_a_reload_waits_for_is_said() {
    let device = std::fs::File::options().read(true).write(true).open("/dev/fuse");
    let Ok(device) = device.map(OwnedFd::from) else { return };
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let place = ground.directory.join("hangs");
    std::fs::create_dir(&place).unwrap();
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
    // Nobody answers what is asked through the device.
    nix::mount::mount(Some("dead"), &place, Some("fuse"), nix::mount::MsFlags::empty(), Some(options.as_str()))
        .unwrap();
    let daemon = ground.start_master("");
    let conf = instance("A", 1, "10.9.0.20/24");
    ground.configure(&format!("include {}/more.conf\n{conf}", place.display()));
    daemon.signal(libc::SIGHUP);
    daemon.wait_for_log("keepalived.conf is still being read: a file system or a name server");
    assert_eq!((daemon.state("A").as_str(), ground.has("10.9.0.10/24")), ("MASTER", true));
    drop(device);
    daemon.wait_for("the end of the reload", || {
        daemon.log_text().contains("Reload refused") || daemon.log_text().contains("Reload complete")
    });
    nix::mount::umount2(&place, nix::mount::MntFlags::MNT_DETACH).unwrap();
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn warnings_do_not_hold_up_a_reload() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    ground.configure(&instance("A", 1, "10.9.0.10/24"));
    let daemon = ground.start("");
    // Script security is off, which `-t` answers with 6.
    let worth_a_word =
        "global_defs {\n vrrp_ipsets\n script_user root\n}\nvrrp_script chk {\n script /usr/bin/true\n}\n";
    let tracking = instance("A", 1, "10.9.0.20/24").replace("priority", "track_script {\n  chk\n }\n priority");
    ground.configure(&format!("{worth_a_word}{tracking}"));
    let reply = daemon.ask(r#"{"request":"reload"}"#);
    assert_eq!(reply["reply"], "done", "{reply}");
    daemon.wait_for_address(&ground, "10.9.0.20/24", true);
    daemon.wait_for_log("`vrrp_ipsets` is deprecated");
    daemon.wait_for_log("script security is off");
    // What takes something away does: here an interface that is missing, and a script that others may change.
    let loose = ground.write("loose", "#!/bin/sh\n");
    std::fs::set_permissions(&loose, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let insecure = worth_a_word.replace("/usr/bin/true", &loose.display().to_string());
    for worse in [
        format!("{worth_a_word}interface_up_down_delays {{\n eth9 3\n}}\n"),
        insecure.replace("script_user", "enable_script_security\n script_user"),
    ] {
        ground.configure(&format!("{worse}{tracking}"));
        let reply = daemon.ask(r#"{"request":"reload"}"#);
        assert_eq!(reply["reason"], "the configuration has 1 new mistake", "{reply}");
    }
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn tmp_config_directory_may_change() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let with = |globals: &str, address: &str| format!("global_defs {{\n {globals}\n}}\n{}", instance("A", 1, address));
    ground.configure(&with("router_id r", "10.9.0.10/24"));
    let daemon = ground.start("");
    ground.configure(&with(&format!("tmp_config_directory {}", ground.directory.display()), "10.9.0.20/24"));
    assert_eq!(daemon.ask(r#"{"request":"reload"}"#)["reply"], "done");
    daemon.wait_for_address(&ground, "10.9.0.20/24", true);
    assert_eq!(daemon.stop().code(), Some(0));
}

/// `config_save_dir`: in one piece, includes and definitions carried out, and otherwise as it stands in the file.
#[test]
fn what_is_saved_of_a_configuration_is_as_it_was_written() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let saved = ground.directory.join("saved");
    // The daemon makes it.
    let globals = format!("global_defs {{\n    config_save_dir {}\n}}\n", saved.display());
    let one = instance("A", 1, "10.9.0.10/24");
    ground.write("one.conf", &one.replace("priority 200", "priority $HIGH"));
    ground.configure(&format!("$HIGH=200\n{globals}include one.conf\n"));
    let daemon = ground.start("-u 0");
    let path = saved.join(format!("keepalived.conf.{}.0", daemon.pid()));
    daemon.wait_for("the saved configuration", || path.exists());
    daemon.wait_for("all of it", || std::fs::read_to_string(&path).unwrap().ends_with("}\n}\n"));
    // Only the line that was put together anew has no indentation.
    let wanted = globals.clone() + &one.replace(" priority", "priority");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), wanted);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "it holds passwords, and the umask hides nothing");
    // keepalived's processes write their state before and after each reload, and none at the start.
    let service = "virtual_server 10.9.0.10 80 {\n delay_loop 60\n lb_algo rr\n lb_kind NAT\n protocol TCP\n real_server 10.9.0.3 80 {\n }\n}\n";
    ground.configure(&format!("$HIGH=201\n{globals}include one.conf\n{service}"));
    // Another user, who may write into the folder, knows the name of the next one.
    let (next, trap) = (saved.join(format!("keepalived.conf.{}.1", daemon.pid())), ground.write("trap", "untouched"));
    std::os::unix::fs::symlink(&trap, &next).unwrap();
    assert_eq!(daemon.ask(r#"{"request":"reload"}"#)["reply"], "done");
    daemon.wait_for("a file of its own", || std::fs::symlink_metadata(&next).is_ok_and(|next| next.is_file()));
    assert_eq!(std::fs::read_to_string(trap).unwrap(), "untouched");
    let named =
        |what: &str| saved.join(format!("keepalived_{what}", what = what.replace("PID", &daemon.pid().to_string())));
    daemon.wait_for("states after the reload", || named("check.PID.1.post").exists());
    let text = |what: &str| std::fs::read_to_string(named(what)).unwrap();
    daemon.wait_for("the priority of before", || text("vrrp.PID.1.pre").contains(" Priority = 200"));
    daemon.wait_for("the priority of after", || text("vrrp.PID.1.post").contains(" Priority = 201"));
    assert!(text("check.PID.1.post").contains("VS VIP = 10.9.0.10, VPORT = 80"), "{}", text("check.PID.1.post"));
    assert!(!named("check.PID.1.pre").exists() && !named("vrrp.PID.0.post").exists());
    assert_eq!(daemon.stop().code(), Some(0));
}
