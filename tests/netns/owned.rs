//! What an instance owns besides plain addresses, beside keepalived where that has it too: addresses on VMACs of their
//! own, statics with a track_group, routes and rules that somebody keeps removing, denied addresses, sysctls.

use super::conf::{Conf, Tongue};
use super::lab::{Kind, Lab, inside, ip, skip, until};
use std::io::Write as _;
use std::net::IpAddr;
use std::process::{Command, Stdio};

type Outcome = Result<(), String>;

/// Runs a case with vipd and with keepalived alone in its seat: what the one does is what the other does.
fn as_keepalived_does(case: fn(&mut Lab) -> Outcome) {
    if skip(&["ip", "keepalived"]) {
        return;
    }
    for kind in [Kind::Keepalived, Kind::Vipd] {
        let mut lab = Lab::new(&[kind], 2);
        let mut result = case(&mut lab);
        for _ in 0..5 {
            // What it then leaves behind is no yardstick.
            if !lab.cut_its_child_short(0) {
                break;
            }
            lab = Lab::new(&[kind], 2);
            result = case(&mut lab);
        }
        assert!(result.is_ok(), "{kind}: {}\n{}", result.unwrap_err(), lab.describe());
    }
}

fn run(lab: &Lab, line: &str) -> Result<String, String> {
    ip(&lab.nodes[0].namespace, &line.split(' ').collect::<Vec<_>>())
}

fn on(lab: &Lab, link: &str, address: &str) -> bool {
    let address: IpAddr = address.parse().unwrap();
    lab.addresses(0).iter().any(|(name, a)| name == link && *a == address)
}

fn alone() -> Conf {
    Conf::new(Tongue::V3, 0, 1, 150)
}

fn sysctl(lab: &Lab, path: &str) -> String {
    inside(&lab.nodes[0].namespace, || std::fs::read_to_string(format!("/proc/sys/net/{path}")))
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// `use_vmac_addr` and `vmac_addr_prefix`: an address on another interface gets a VMAC there, with the virtual MAC.
#[test]
fn an_address_on_another_interface_has_a_vmac_of_its_own() {
    as_keepalived_does(|lab| {
        let conf =
            alone().before("global_defs {\n    vmac_addr_prefix va\n}\n").inside("use_vmac").inside("use_vmac_addr");
        let text = conf.text().replace("192.0.2.100/24\n", "192.0.2.100/24\n        198.51.100.100/24 dev eth1\n");
        lab.configure(0, &text);
        lab.start(0);
        until("the address on va.51", || on(lab, "va.51", "198.51.100.100"))?;
        until("the address on vrrp.51", || on(lab, "vrrp.51", "192.0.2.100"))?;
        let link = run(lab, "-d link show va.51")?;
        if !link.contains("va.51@eth1") || !link.contains("00:00:5e:00:01:33") || !link.contains("mode private") {
            return Err(link);
        }
        lab.signal(0, libc::SIGTERM);
        let links = run(lab, "link")?;
        if links.contains("va.51") || links.contains("vrrp.51") { Err(links) } else { Ok(()) }
    });
}

/// A static address and a static route on eth1 that name a track_group: while eth1 is down the group's instance is in
/// FAULT; when it is up again the items are back, and so is the address.
#[test]
fn a_track_group_ties_its_instances_to_the_interface_of_statics() {
    as_keepalived_does(|lab| {
        let groups = "track_group T {\n    group {\n        V1\n    }\n}\nstatic_ipaddress {\n    203.0.113.7/24 dev eth1 track_group T\n}\n\
                      static_routes {\n    203.0.113.128/25 dev eth1 track_group T\n}\n";
        lab.configure(0, &alone().before(groups).text());
        lab.start(0);
        let vip = |lab: &Lab| on(lab, "eth0", "192.0.2.100");
        let route = |lab: &Lab| run(lab, "route").is_ok_and(|text| text.contains("203.0.113.128/25"));
        until("the virtual address", || vip(lab))?;
        for _ in 0..2 {
            until("the static address and the route", || on(lab, "eth1", "203.0.113.7") && route(lab))?;
            run(lab, "link set eth1 down")?;
            until("no virtual address while eth1 is down", || !vip(lab))?;
            run(lab, "link set eth1 up")?;
            until("the virtual address again", || vip(lab))?;
        }
        until("the static address and the route again", || on(lab, "eth1", "203.0.113.7") && route(lab))?;
        lab.signal(0, libc::SIGTERM);
        let left = vip(lab) || route(lab) || on(lab, "eth1", "203.0.113.7");
        if left { Err("something was left".into()) } else { Ok(()) }
    });
}

/// Without a track_group the interface of a static is nobody's business.
#[test]
fn without_a_track_group_the_interface_of_statics_is_nobodys_business() {
    as_keepalived_does(|lab| {
        lab.configure(0, &alone().before("static_ipaddress {\n    203.0.113.7/24 dev eth1\n}\n").text());
        lab.start(0);
        until("the virtual address", || on(lab, "eth0", "192.0.2.100"))?;
        run(lab, "link set eth1 down")?;
        run(lab, "link set eth1 up")?;
        // Twenty adverts later it is still master.
        let from = std::time::Instant::now();
        until("adverts", || lab.since(from).len() >= 20)?;
        if !on(lab, "eth0", "192.0.2.100") || !on(lab, "eth1", "203.0.113.7") {
            return Err("an address is gone".into());
        }
        // Removed by another program it comes back all the same.
        run(lab, "addr del 203.0.113.7/24 dev eth1")?;
        until("the static address again", || on(lab, "eth1", "203.0.113.7")).map(|_| ())
    });
}

/// `promote_secondaries` is on while running, and as it was afterwards.
#[test]
fn promote_secondaries_is_set_and_given_back() {
    as_keepalived_does(|lab| {
        let path = "ipv4/conf/eth0/promote_secondaries";
        inside(&lab.nodes[0].namespace, || std::fs::write(format!("/proc/sys/net/{path}"), "0"))
            .map_err(|e| e.to_string())?;
        lab.configure(0, &alone().inside("promote_secondaries").text());
        lab.start(0);
        until("the virtual address", || on(lab, "eth0", "192.0.2.100"))?;
        if sysctl(lab, path) != "1" {
            return Err("it is not set".into());
        }
        lab.signal(0, libc::SIGTERM);
        if sysctl(lab, path) == "0" { Ok(()) } else { Err("it is still set".into()) }
    });
}

/// Somebody removes a virtual route and a rule as fast as they come back: they are put back some dozen times a second and
/// no more, the instance stays master, and when the other stops they are there for good.
#[test]
fn a_fight_for_routes_and_rules_is_rationed_and_survived() {
    if skip(&["ip"]) {
        return;
    }
    let mut lab = Lab::new(&[Kind::Vipd], 1);
    let owned = "virtual_routes {\n        203.0.113.0/24 dev eth0\n    }\n    virtual_rules {\n        from 203.0.113.9 table 99 \
                 preference 777\n    }";
    lab.configure(0, &alone().inside(owned).text());
    lab.start(0);
    let mut case = || -> Outcome {
        let route = |lab: &Lab| run(lab, "route").is_ok_and(|text| text.contains("203.0.113.0/24"));
        let rule = |lab: &Lab| run(lab, "rule").is_ok_and(|text| text.contains("777:"));
        until("route and rule", || route(&lab) && rule(&lab))?;
        let mut removed = 0;
        // Many removals by one program: on a busy machine there would be seconds between programs.
        let blows = |lab: &Lab| -> u32 {
            let lines = "route del 203.0.113.0/24 dev eth0\nrule del preference 777\n".repeat(200);
            let mut command = Command::new("ip");
            command.args(["-n", &lab.nodes[0].namespace, "-force", "-batch", "-"]);
            let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
            let told = child.wait_with_output().unwrap().stderr;
            400 - u32::try_from(String::from_utf8_lossy(&told).matches("Command failed").count()).unwrap()
        };
        let begun = std::time::Instant::now();
        let complained = |lab: &Lab| {
            let log = std::fs::read_to_string(lab.file(0, "log")).unwrap_or_default();
            log.contains("another program keeps removing what is claimed")
        };
        // A busy machine may need longer to remove fast enough for anybody to complain.
        let enough =
            |length: std::time::Duration| length.as_secs() >= 2 && (complained(&lab) || length.as_secs() >= 60);
        while !enough(begun.elapsed()) {
            removed += blows(&lab);
        }
        let seconds = begun.elapsed().as_secs_f64();
        if !complained(&lab) {
            return Err(format!("removed {removed} times in {seconds} s, and nobody complained"));
        }
        // At most twenty a second; the second in which it began, and the truce, are on top.
        if f64::from(removed) > 50.0 * seconds {
            return Err(format!("put back {removed} times in {seconds} s"));
        }
        until("route and rule again", || route(&lab) && rule(&lab))?;
        let log = std::fs::read_to_string(lab.file(0, "log")).unwrap_or_default();
        if log.matches("Entering").count() != 2 {
            return Err("the instance did not stay master".into());
        }
        lab.signal(0, libc::SIGTERM);
        if route(&lab) || rule(&lab) { Err("something was left".into()) } else { Ok(()) }
    };
    let result = case();
    assert!(result.is_ok(), "{}\n{}", result.unwrap_err(), lab.describe());
}

/// The set of denied addresses follows a reload, and goes with `accept` and with the daemon.
#[test]
fn denied_addresses_follow_a_reload() {
    if skip(&["ip", "nft"]) {
        return;
    }
    let mut lab = Lab::new(&[Kind::Vipd], 1);
    let denied = |lab: &Lab, address: &str| {
        let space = &lab.nodes[0].namespace;
        let output = Command::new("ip").args(["netns", "exec", space, "nft", "list", "ruleset"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).contains(address)
    };
    let text = |vips: &str, accept: &str| alone().inside(accept).text().replace("192.0.2.100/24", vips);
    let mut case = || -> Outcome {
        lab.configure(0, &text("192.0.2.100/24\n        192.0.2.101/24", "no_accept"));
        lab.start(0);
        until("both denied", || denied(&lab, "192.0.2.100") && denied(&lab, "192.0.2.101"))?;
        lab.configure(0, &text("192.0.2.100/24\n        192.0.2.102/24", "no_accept"));
        lab.signal(0, libc::SIGHUP);
        until("the new one denied, the old one not, the common one still", || {
            denied(&lab, "192.0.2.100") && denied(&lab, "192.0.2.102") && !denied(&lab, "192.0.2.101")
        })?;
        lab.configure(0, &text("192.0.2.100/24\n        192.0.2.102/24", "accept"));
        lab.signal(0, libc::SIGHUP);
        until("none denied", || !denied(&lab, "192.0.2.100") && !denied(&lab, "192.0.2.102"))?;
        lab.configure(0, &text("192.0.2.100/24", "no_accept"));
        lab.signal(0, libc::SIGHUP);
        until("denied again", || denied(&lab, "192.0.2.100"))?;
        lab.signal(0, libc::SIGTERM);
        if denied(&lab, "keepalived") { Err("the table was left".into()) } else { Ok(()) }
    };
    let result = case();
    assert!(result.is_ok(), "{}\n{}", result.unwrap_err(), lab.describe());
}

/// `netlink_notify_msg`: the kernel tells of the parent when the VMAC is made, which it does not do by itself where the
/// driver changes to promiscuous mode in silence.
#[test]
fn the_parent_of_a_vmac_is_told_of_if_wanted() {
    if skip(&["ip"]) {
        return;
    }
    let told = |words: &str| -> usize {
        let mut lab = Lab::new(&[Kind::Vipd], 1);
        let space = lab.nodes[0].namespace.clone();
        let path = lab.file(0, "monitor");
        let log = std::fs::File::create(&path).unwrap();
        let mut monitor = Command::new("ip").args(["-n", &space, "-o", "monitor", "link"]).stdout(log).spawn().unwrap();
        let seen = || std::fs::read_to_string(&path).unwrap_or_default();
        // News comes in order: all that was before has been seen when what is done here is.
        let mark = |lab: &Lab, size: u32| {
            until("the monitor", || {
                run(lab, "link set lo mtu 1500").unwrap();
                run(lab, &format!("link set lo mtu {size}")).unwrap();
                seen().contains(&format!("mtu {size} "))
            })
            .unwrap();
        };
        until("the carrier", || run(&lab, "link show eth0").is_ok_and(|text| text.contains("state UP"))).unwrap();
        mark(&lab, 2001);
        let before = seen().matches(": eth0").count();
        lab.configure(0, &alone().inside(words).text());
        lab.start(0);
        until("the address", || on(&lab, "vrrp.51", "192.0.2.100")).unwrap();
        lab.signal(0, libc::SIGTERM);
        mark(&lab, 2002);
        let _ = monitor.kill();
        let _ = monitor.wait();
        seen().matches(": eth0").count() - before
    };
    let (plain, wanted) = (told("use_vmac"), told("use_vmac netlink_notify_msg"));
    assert_eq!(wanted, plain + 2, "once for its making and once for its end");
}

/// `max_auto_priority`: an engine that was woken late gives itself real-time priority, up to the limit, and its children
/// nothing of it.
#[test]
fn an_engine_that_was_woken_late_helps_itself() {
    if skip(&["ip"]) {
        return;
    }
    let mut lab = Lab::new(&[Kind::Vipd], 1);
    let globals = "global_defs {\n    max_auto_priority 3\n    min_auto_priority_delay 100000\n}\n";
    lab.configure(0, &alone().before(globals).text());
    lab.start(0);
    let mut case = || -> Outcome {
        until("the address", || on(&lab, "eth0", "192.0.2.100"))?;
        let pid = lab.nodes[0].child.as_ref().map_or(0, std::process::Child::id);
        // Real-time priority and policy of the thread, out of its stat.
        let engine = || {
            let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
            let stats = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
            let stat = { stats }.find(|stat| stat.contains("(engine)"))?;
            let fields: Vec<u32> =
                stat.rsplit_once(')')?.1.split_whitespace().map(|f| f.parse().unwrap_or(0)).collect();
            Some((*fields.get(37)?, *fields.get(38)?))
        };
        let round_robin = 2;
        for wanted in [1, 2, 3, 3] {
            // Who is stopped at work and not asleep is not woken late.
            until(&format!("priority {wanted}"), || {
                lab.signal(0, libc::SIGSTOP);
                std::thread::sleep(std::time::Duration::from_millis(500));
                lab.signal(0, libc::SIGCONT);
                std::thread::sleep(std::time::Duration::from_millis(200));
                engine().is_some_and(|(p, policy)| p >= wanted && policy == round_robin)
            })?;
        }
        match engine() {
            Some((3, _)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    };
    let result = case();
    assert!(result.is_ok(), "{}\n{}", result.unwrap_err(), lab.describe());
}
