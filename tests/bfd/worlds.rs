//! Sessions in the simulator's worlds, beside virtual routers that track them.

use std::net::{IpAddr, Ipv4Addr};
use vipd::sim::bfd::plain;
use vipd::sim::{Report, Scenario, build};
use vipd::spec::{BfdId, BfdSpec, Spec, Tie, TieTarget};
use vipd::time::{Interval, Time};
use vipd::vrrp::io::Role;

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 100));

/// Two servers with a session of 10 ms × 5 between them, which b tracks: +50 while it is up is what keeps b behind a.
fn servers(tracked: bool) -> Vec<(String, Spec)> {
    let (a, b) = (IpAddr::V4(Ipv4Addr::new(10, 1, 0, 1)), IpAddr::V4(Ipv4Addr::new(10, 1, 0, 2)));
    let server = |name: &str, priority: u8, own: IpAddr, other: IpAddr| {
        let mut instance = build::instance("V", 7, priority, &[VIP]);
        if tracked && name == "b" {
            // While the path is good b is the lesser: reversed, so that its loss raises b.
            instance.ties.push(Tie {
                on: TieTarget::Bfd(BfdId(0)),
                weight: 50,
                reverse: true,
                from_group: false,
                asked: Some(50),
            });
        }
        let mut spec = build::spec(vec![instance]);
        spec.bfds.push(BfdSpec { name: "peer".into(), weight: 0, reverse: false });
        spec.sessions.push(plain("peer", own, other));
        (name.to_owned(), spec)
    };
    vec![server("a", 120, a, b), server("b", 150, b, a)]
}

fn played(tracked: bool, scenario: &str) -> Report {
    let scenario: Scenario = scenario.parse().unwrap();
    let report = vipd::sim::run(servers(tracked), &scenario, Some(7)).unwrap();
    assert!(report.violations.is_empty(), "{:?}\n{report}", report.violations);
    report
}

#[test]
fn sessions_come_up_and_are_read_by_trackers() {
    let report = played(true, "run 20s\n");
    let text = report.to_string();
    assert!(
        text.contains("BFD session peer: Init became Up") || text.contains("BFD session peer: Down became Up"),
        "{text}"
    );
    let master = |name: &str| {
        report.moments.last().unwrap().standings.iter().any(|s| &*s.server == name && s.state == Some(Role::Master))
    };
    assert!(master("a") && !master("b"), "{text}");
}

#[test]
fn cuts_stops_crashes_and_links_act_on_sessions() {
    let days = "run 60s\nat 10s cut a -> b\nat 14s mend a -> b\nat 18s pause a\nat 19s resume a\nat 24s crash a\nat 30s start a\n\
                at 36s link b eth0 down\nat 40s link b eth0 up\nat 45s stop b\nat 50s start b\n";
    let text = played(true, days).to_string();
    for why in ["nothing was heard from the peer", "the peer says that its session is down", "interface eth0 is down"] {
        assert!(text.contains(why), "no \"{why}\" in\n{text}");
    }
    let _ = Time::ZERO + Interval::ZERO;
}
