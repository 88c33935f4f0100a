//! What an operator does to a running pair, and what is said of it: hand over, with and without somebody who takes over; a
//! drain that outlives the process; a reload and its refusal; a watch over a daemon that goes and comes back.

use super::broken::{Pair, ask, conf, says};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

#[test]
fn a_hand_over_that_nobody_takes_is_taken_back() {
    let Some(pair) = Pair::new("ste-none") else { return };
    pair.start(&conf(150, ""), &conf(100, ""));
    pair.secondary.systemctl("stop keepalived");
    says(&pair.primary, "is-master VI_1", &["VI_1 is MASTER"]);
    for verb in ["drain", "failover"] {
        let (text, code) = ask(&pair.primary, &format!("{verb} VI_1"));
        assert!(code == 1 && text.contains("nobody took VI_1 over"), "{verb}: {code}: {text}");
        says(&pair.primary, "is-master VI_1", &["VI_1 is MASTER"]);
        let (status, _) = ask(&pair.primary, "status");
        assert!(!status.contains("drained"), "{status}");
    }
    pair.secondary.systemctl("start keepalived");
    says(&pair.secondary, "status", &["BACKUP", "10.0.0.11, priority 150"]);
    let (text, code) = ask(&pair.primary, "failover");
    assert!(code == 0 && text.contains("VI_1: 10.0.0.12 took over after"), "{code}: {text}");
}

#[test]
fn whoever_interrupts_a_hand_over_finds_it_as_it_was() {
    let Some(pair) = Pair::new("ste-int") else { return };
    // So long an interval that its own patience does not end first.
    pair.start(&conf(150, "advert_int 4"), &conf(100, "advert_int 4"));
    pair.secondary.systemctl("stop keepalived");
    says(&pair.primary, "is-master VI_1", &["VI_1 is MASTER"]);
    let vipctl = env!("CARGO_BIN_EXE_vipctl");
    let ran = pair.primary.run(&format!(
        "{vipctl} drain VI_1 2>&1 & until {vipctl} status | grep -q '(drained)'; do :; done; kill $!; wait $!; echo code $?"
    ));
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    let parts = ["nobody took VI_1 over", "it is taken back", "code 143"];
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    let (status, _) = ask(&pair.primary, "status");
    assert!(!status.contains("(drained)"), "{status}");
}

/// The first one takes its drain back, so the second one's is nothing that could be relied on.
#[test]
fn a_second_drain_beside_a_first_hears_how_that_ends() {
    let Some(pair) = Pair::new("ste-two") else { return };
    pair.start(&conf(150, "advert_int 2"), &conf(100, "advert_int 2"));
    pair.secondary.systemctl("stop keepalived");
    says(&pair.primary, "is-master VI_1", &["VI_1 is MASTER"]);
    let vipctl = env!("CARGO_BIN_EXE_vipctl");
    let ran = pair.primary.run(&format!(
        "{vipctl} drain VI_1 2>&1 & until {vipctl} status | grep -q 'BACKUP (drained)'; do :; done; {vipctl} drain VI_1 2>&1; \
         echo code $?; wait"
    ));
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(text.contains("code 1") && text.matches("nobody took VI_1 over").count() == 2, "{text}");
}

/// The daemon hangs up in the middle, and the one that answers next knows how it went on.
#[test]
fn a_drain_during_an_upgrade_says_who_took_over() {
    let Some(pair) = Pair::new("ste-over") else { return };
    pair.start(&conf(150, ""), &conf(100, ""));
    says(&pair.primary, "is-master VI_1", &["VI_1 is MASTER"]);
    says(&pair.secondary, "status", &["BACKUP", "10.0.0.11, priority 150"]);
    let vipctl = env!("CARGO_BIN_EXE_vipctl");
    for wait in ["", "sleep 0.02;", "sleep 0.05;", "sleep 0.08;", "sleep 0.12;"] {
        // When the program that was asked has answered, it still has some 50 ms to go.
        let (text, code) = {
            let ran = pair.primary.run(&format!("{vipctl} upgrade && {wait} {vipctl} drain 2>&1"));
            (String::from_utf8_lossy(&ran.stdout).into_owned(), ran.status.code())
        };
        assert!(code == Some(0) && text.contains("VI_1: 10.0.0.12 took over after"), "{wait} {code:?}: {text}");
        says(&pair.primary, "status", &["BACKUP (drained)", "10.0.0.12, priority 100"]);
        says(&pair.primary, "undrain", &[""]);
        says(&pair.primary, "is-master VI_1", &["VI_1 is MASTER"]);
    }
}

#[test]
fn a_kept_drain_outlives_a_restart_and_another_does_not() {
    let Some(pair) = Pair::new("ste-keep") else { return };
    pair.start(&conf(150, ""), &conf(100, ""));
    says(&pair.primary, "is-master VI_1", &["VI_1 is MASTER"]);
    says(&pair.secondary, "status", &["BACKUP", "10.0.0.11, priority 150"]);
    let (text, code) = ask(&pair.primary, "drain --keep");
    assert!(code == 0 && text.contains("took over after") && text.contains("until `vipctl undrain`"), "{code}: {text}");
    pair.primary.systemctl("restart keepalived");
    says(&pair.primary, "status", &["BACKUP (drained)", "10.0.0.12, priority 100"]);
    says(&pair.primary, "status --json", &["\"drains_kept\": [\n    \"VI_1\""]);
    says(&pair.primary, "undrain", &[""]);
    says(&pair.primary, "is-master VI_1", &["VI_1 is MASTER"]);
    assert_eq!(pair.primary.run("ls /var/lib/vipd/*.drained").status.code(), Some(2), "the file is gone");
    assert_eq!(ask(&pair.primary, "drain").1, 0);
    pair.primary.systemctl("restart keepalived");
    says(&pair.primary, "is-master VI_1", &["VI_1 is MASTER"]);
}

#[test]
fn a_reload_says_what_changed_and_a_refused_one_is_not_forgotten() {
    let Some(pair) = Pair::new("ste-load") else { return };
    pair.start(&conf(150, ""), &conf(100, ""));
    says(&pair.primary, "is-master VI_1", &["VI_1 is MASTER"]);
    let write = |text: &str| pair.primary.write("/etc/keepalived/keepalived.conf", text, 0o644);
    assert_eq!(ask(&pair.primary, "reload"), ("nothing changed\n".to_owned(), 0));
    write(&conf(140, ""));
    assert_eq!(ask(&pair.primary, "reload"), ("VI_1: priority 150 → 140\n".to_owned(), 0));
    write(&conf(130, "prioritty 5"));
    let (text, code) = ask(&pair.primary, "reload");
    assert!(code == 2 && text.contains("the configuration has 1 new mistake"), "{code}: {text}");
    says(
        &pair.primary,
        "status",
        &["was refused, the configuration before it goes on: the configuration has 1 new mistake"],
    );
    says(&pair.primary, "doctor", &["the last reload was refused"]);
    says(&pair.primary, "history", &["Configuration reloaded: VI_1: priority 150 → 140", "Reload refused"]);
    write(&conf(140, ""));
    says(&pair.primary, "reload", &["nothing changed"]);
    let (status, _) = ask(&pair.primary, "status");
    assert!(!status.contains("refused"), "{status}");
}

#[test]
fn a_watch_outlives_the_daemon() {
    let Some(pair) = Pair::new("ste-watch") else { return };
    pair.start(&conf(150, ""), &conf(100, ""));
    says(&pair.primary, "is-master VI_1", &["VI_1 is MASTER"]);
    let mut watch =
        pair.primary.command(env!("CARGO_BIN_EXE_vipctl")).arg("watch").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut until = |part: &str| lines.find(|line| line.contains(part)).unwrap_or_else(|| panic!("no {part}"));
    until("VI_1");
    pair.primary.systemctl("stop keepalived");
    until("has gone");
    pair.primary.systemctl("start keepalived");
    until("answers again");
    until("VI_1");
    pair.primary.must("kill -STOP $(cat /run/unit-keepalived.pid)");
    until("does not answer");
    pair.primary.must("kill -CONT $(cat /run/unit-keepalived.pid)");
    until("answers again");
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn a_configuration_on_standard_input_is_checked() {
    let Some(pair) = Pair::new("ste-stdin") else { return };
    pair.primary.write("/tmp.conf", &conf(150, "prioritty 5"), 0o644);
    let vipctl = env!("CARGO_BIN_EXE_vipctl");
    let ran = pair.primary.run(&format!("{vipctl} check - </tmp.conf; echo code $?; rm /tmp.conf"));
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(text.contains("did you mean `priority`?") && text.contains("-:") && text.contains("code 5"), "{text}");
    // An empty variable is as good as none.
    pair.start(&conf(150, ""), &conf(100, ""));
    says(&pair.primary, "status", &["VI_1"]);
    let ran = pair.primary.run(&format!("VIPD_CONTROL= {vipctl} status"));
    assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
}

/// What `status` and `is-master` take, the verbs that steer take too: a sync group by its name.
#[test]
fn a_group_is_steered_by_its_name_and_an_address_asked_for_as_it_is_written() {
    let Some(pair) = Pair::new("ste-group") else { return };
    let two = |priority: u8| {
        let one = |n: u8| {
            format!(
                "vrrp_instance V{n} {{\n    interface eth0\n    virtual_router_id 5{n}\n    priority {priority}\n    \
                 virtual_ipaddress {{\n        10.0.0.2{n}/24\n    }}\n}}\n"
            )
        };
        format!("vrrp_sync_group G {{\n    group {{\n        V1\n        V2\n    }}\n}}\n{}{}", one(1), one(2))
    };
    pair.start(&two(150), &two(100));
    says(&pair.primary, "is-master G", &["V1 is MASTER", "V2 is MASTER"]);
    assert_eq!(ask(&pair.primary, "is-master 10.0.0.21/24").1, 0);
    says(&pair.secondary, "status", &["BACKUP", "10.0.0.11, priority 150"]);
    let (text, code) = ask(&pair.primary, "drain G");
    assert!(
        code == 0 && text.contains("V1: 10.0.0.12 took over") && text.contains("V2: 10.0.0.12 took"),
        "{code}: {text}"
    );
    let (text, _) = ask(&pair.primary, "drain V2");
    assert!(text.contains("nothing to hand over") && text.contains("until `vipctl undrain`"), "{text}");
    assert_eq!(ask(&pair.primary, "undrain G").1, 0);
    says(&pair.primary, "is-master G", &["V1 is MASTER", "V2 is MASTER"]);
    assert_eq!(ask(&pair.primary, "announce G").1, 0);
    let (text, code) = ask(&pair.primary, "failover nobody");
    assert!(code == 2 && text.contains("no instance or group `nobody`; there are V1, V2, G"), "{code}: {text}");
    let (text, _) = ask(&pair.primary, "servers");
    assert!(!text.contains("nothing is balanced"), "{text}");
}

/// A sync group may be called as an instance that is not in it: whoever says the name means the instance, everywhere.
#[test]
fn what_an_instance_is_called_means_the_instance() {
    let Some(pair) = Pair::new("ste-both") else { return };
    let three = |priority: u8| {
        let instance = |n: u8| {
            format!(
                "vrrp_instance V{n} {{\n    interface eth0\n    virtual_router_id 5{n}\n    priority {priority}\n    \
                 virtual_ipaddress {{\n        10.0.0.2{n}/24\n    }}\n}}\n"
            )
        };
        format!(
            "vrrp_sync_group V3 {{\n    group {{\n        V1\n        V2\n    }}\n}}\n{}{}{}",
            instance(1),
            instance(2),
            instance(3)
        )
    };
    pair.start(&three(150), &three(100));
    for name in ["V1", "V2", "V3"] {
        says(&pair.primary, &format!("is-master {name}"), &[&format!("{name} is MASTER")]);
        says(&pair.secondary, &format!("explain {name}"), &["10.0.0.11, priority 150, heard"]);
    }
    let (said, _) = ask(&pair.primary, "is-master V3");
    assert_eq!(said.lines().count(), 1, "{said}");
    let (said, code) = ask(&pair.primary, "drain V3");
    assert!(
        code == 0 && said.starts_with("V3: 10.0.0.12 took over after ") && said.lines().count() == 1,
        "{code}: {said}"
    );
    assert_eq!(ask(&pair.primary, "is-master V1").1, 0);
    assert_eq!(ask(&pair.primary, "status --address 10.0.0.21/24").1, 0);
}
