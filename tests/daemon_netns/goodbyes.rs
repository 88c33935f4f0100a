//! Priority 0 where it is hard to say: by a VMAC that a reload takes away, and from an address that has just been lost.

use crate::ground::{Ground, PATIENCE, instance, ip, ready};
use std::net::IpAddr;
use vipd::lab::observer::{Observer, What};

/// MAC and source address of the next goodbye on the wire.
fn goodbye(observer: &mut Observer) -> ([u8; 6], IpAddr) {
    loop {
        let seen = observer.next(PATIENCE).unwrap().expect("a goodbye");
        if let What::Advert { priority: 0, source, .. } = seen.what {
            return (seen.mac, source);
        }
    }
}

#[test]
fn a_vmac_that_a_reload_takes_away_says_goodbye_first() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let plain = instance("A", 7, "10.9.0.10/24");
    ground.configure(&plain.replace("priority", "use_vmac\n priority"));
    let daemon = ground.start("");
    daemon.wait_for_log("(A) Entering MASTER STATE");
    let mut observer = Observer::new(&ground.name, "far").unwrap();
    ground.configure(&plain);
    daemon.signal(libc::SIGHUP);
    assert_eq!(goodbye(&mut observer), ([0, 0, 0x5e, 0, 1, 7], "10.9.0.1".parse().unwrap()));
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    daemon.wait_for("the VMAC to go", || !ip(&format!("-n {} link", ground.name)).contains("vrrp.7"));
    assert_eq!(daemon.stop().code(), Some(0));
}

/// The next program knows nothing of a router that its file has not got: the one before it says goodbye and gives up what it had.
/// One that only has another name is the same, and keeps what it has.
#[test]
fn an_upgrade_gives_up_what_its_file_has_lost_and_keeps_what_is_renamed() {
    if !ready() {
        return;
    }
    let ground = Ground::new();
    let lost = instance("A", 7, "10.9.0.10/24").replace(
        "priority",
        "virtual_routes {\n  192.0.2.0/24 via 10.9.0.9\n }\n virtual_rules {\n  from 192.0.2.1 lookup 7 priority 700\n }\n priority",
    );
    ground.configure(&(lost + &instance("B", 8, "10.9.0.11/24")));
    let daemon = ground.start("");
    daemon.wait_for_address(&ground, "10.9.0.10/24", true);
    daemon.wait_for_address(&ground, "10.9.0.11/24", true);
    let left = || ip(&format!("-n {0} route", ground.name)) + &ip(&format!("-n {0} rule", ground.name));
    daemon.wait_for("route and rule", || left().contains("192.0.2.0/24") && left().contains("from 192.0.2.1"));
    let mut observer = Observer::new(&ground.name, "far").unwrap();
    ground.configure(&instance("C", 8, "10.9.0.11/24"));
    assert_eq!(daemon.ask(r#"{"request":"upgrade"}"#)["reply"], "done");
    assert_eq!(goodbye(&mut observer).1, "10.9.0.1".parse::<IpAddr>().unwrap());
    daemon.wait_for("the next program", || daemon.log_text().matches("Startup complete").count() == 2);
    daemon.wait_for_address(&ground, "10.9.0.10/24", false);
    daemon.wait_for("route and rule to go", || !left().contains("192.0.2."));
    assert_eq!((daemon.state("A"), daemon.state("C")), ("absent".into(), "MASTER".into()));
    // Who was master has not become it again.
    assert!(ground.has("10.9.0.11/24") && !daemon.log_text().contains("(C) Entering MASTER"), "{}", daemon.log_text());
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn a_master_that_loses_its_address_says_goodbye_from_it() {
    if !ready() {
        return;
    }
    let peers = " unicast_peer {\n  10.9.0.2\n }\n priority";
    for manner in ["priority", peers] {
        let ground = Ground::new();
        // Unicast has to know where the peer is.
        ip(&format!("-n {} neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev eth0", ground.name));
        ground.configure(&instance("A", 7, "192.0.2.10/24").replace("priority", manner));
        let daemon = ground.start("");
        daemon.wait_for_log("(A) Entering MASTER STATE");
        let mut observer = Observer::new(&ground.name, "far").unwrap();
        // The route to the peer stays: only the address is lost.
        ip(&format!("-n {} route add 10.9.0.2/32 dev eth0", ground.name));
        ip(&format!("-n {} addr del 10.9.0.1/24 dev eth0", ground.name));
        assert_eq!(goodbye(&mut observer).1, "10.9.0.1".parse::<IpAddr>().unwrap());
        daemon.wait_for_log("(A) Entering FAULT STATE");
        assert_eq!(daemon.stop().code(), Some(0));
    }
}
