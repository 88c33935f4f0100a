//! Routes and rules as `ip` prints them, what keeps them there, and the statics.

use crate::ground::*;
use std::net::IpAddr;
use std::sync::Arc;
use vipd::kernel::netlink::{FromKernel, ToKernel};
use vipd::lab::wire;
use vipd::spec::*;
use vipd::vrrp::io::{LinkFact, Outcome};
use vipd::wire::Family;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn prefix(text: &str) -> Option<Prefix> {
    let (address, length) = text.split_once('/').unwrap();
    Some(Prefix { address: ip(address), length: length.parse().unwrap() })
}

fn route(destination: &str) -> Route {
    let destination = prefix(destination);
    Route { family: Family::of(&destination.unwrap().address), destination, ..Route::plain() }
}

fn rule(priority: u32) -> Rule {
    Rule { action: RuleAction::Table(100), priority, ..Rule::plain() }
}

/// `ip route` of all tables, without what the kernel made itself, one blank between words.
fn routes(namespace: &str, family: &str) -> Vec<String> {
    let text = output(namespace, &["ip", "-d", family, "route", "show", "table", "all"]);
    let ours = text.lines().filter(|line| line.contains("proto keepalived"));
    ours.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ").replace(" table main", "")).collect()
}

fn rules(namespace: &str, family: &str) -> Vec<String> {
    let text = output(namespace, &["ip", family, "rule", "show"]);
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn all_routes() -> Vec<Route> {
    let eth0 = || IfName::new("eth0");
    let hop = |via: &str, weight| NextHop { via: Some(ip(via)), interface: eth0(), weight, ..NextHop::default() };
    vec![
        Route { interface: eth0(), source: Some(ip("10.0.0.1")), ..route("172.16.1.99/24") },
        Route { via: Some(ip("10.0.0.9")), table: 1001, metric: Some(7), tos: 16, ..route("172.16.2.0/24") },
        Route {
            via: Some(ip("10.0.0.9")),
            metrics: vec![(2, 1400, true), (8, 1300, false)],
            congctl: Some(("cubic".into(), false)),
            ..route("172.16.3.0/24")
        },
        Route { kind: 6, ..route("172.16.4.0/24") },
        Route { via: Some(ip("fe80::9")), interface: eth0(), ..route("172.16.5.0/24") },
        Route { nexthops: vec![hop("10.0.0.8", 3), hop("10.0.0.9", 1)], ..route("172.16.6.0/24") },
        Route { via: Some(ip("192.0.2.9")), interface: eth0(), onlink: true, ..route("172.16.7.0/24") },
        Route { via: Some(ip("2001:db8::9")), metric: Some(50), pref: Some(1), ..route("2001:db8:1::/48") },
        Route { from: prefix("2001:db8:f::/48"), interface: eth0(), ..route("2001:db8:2::/48") },
        Route {
            interface: eth0(),
            encap: Some(Encap::Ip {
                id: Some(77),
                destination: Some(ip("198.51.100.1")),
                source: None,
                tos: 0,
                ttl: 9,
                flags: 0,
            }),
            ..route("172.16.8.0/24")
        },
    ]
}

fn all_rules() -> Vec<Rule> {
    vec![
        Rule { from: prefix("10.1.0.0/16"), ..rule(500) },
        Rule { to: prefix("10.2.3.0/24"), iif: IfName::new("eth0"), invert: true, ..rule(501) },
        Rule { fwmark: Some((5, 0xff)), tos: 16, suppress_prefixlength: Some(0), ..rule(502) },
        Rule {
            uid_range: Some((10, 20)),
            ip_proto: Some(6),
            sport: Some((1, 2)),
            dport: Some((80, 90)),
            oif: IfName::new("eth0"),
            ..rule(503)
        },
        Rule { action: RuleAction::Goto(600), ..rule(504) },
        Rule { action: RuleAction::Blackhole, from: prefix("10.9.0.0/16"), ..rule(600) },
        Rule { family: Family::V6, from: prefix("2001:db8:5::/48"), action: RuleAction::Unreachable, ..rule(505) },
        Rule { action: RuleAction::L3mdev, ..rule(506) },
        Rule { action: RuleAction::Table(70_000), ..rule(507) },
    ]
}

fn claim() -> Arc<Claim> {
    Arc::new(Claim {
        addresses: vec![v4("10.0.0.1", 24), v4("2001:db8::1", 64)],
        routes: all_routes(),
        rules: all_rules(),
        ..Claim::default()
    })
}

#[test]
fn routes_and_rules_come_and_go_as_ip_prints_them() {
    if !ready("routes_and_rules") {
        return;
    }
    let pair = Pair::new();
    let claim = claim();
    let before = (rules(&pair.here, "-4"), rules(&pair.here, "-6"));
    within(&pair.here, async || {
        let mut running = Running::configured(spec(vec![instance(Family::V4, (*claim).clone())])).await;
        running.kernel.order(ToKernel::Own(InstanceId(0), claim.clone()));
        let answer = running
            .until(|r| matches!(r, FromKernel::Applied { outcome: Outcome::Complete | Outcome::Failed { .. }, .. }))
            .await;
        assert!(matches!(answer, FromKernel::Applied { outcome: Outcome::Complete, .. }), "{answer:?}");
        let v4 = routes(&pair.here, "-4");
        let text = output(&pair.here, &["ip", "-d", "-4", "route", "show", "table", "all"]);
        for expected in [
            "unicast 172.16.1.0/24 dev eth0 proto keepalived scope link src 10.0.0.1",
            "unicast 172.16.2.0/24 tos lowdelay via 10.0.0.9 dev eth0 table 1001 proto keepalived scope global metric 7",
            "unicast 172.16.3.0/24 via 10.0.0.9 dev eth0 proto keepalived scope global mtu lock 1400 advmss 1300 congctl cubic",
            "blackhole 172.16.4.0/24 proto keepalived scope global",
            "unicast 172.16.5.0/24 via inet6 fe80::9 dev eth0 proto keepalived scope global",
            "unicast 172.16.7.0/24 via 192.0.2.9 dev eth0 proto keepalived scope global onlink",
        ] {
            let known = expected.replace("tos lowdelay", "tos 0x10");
            assert!(v4.iter().any(|line| line == expected || *line == known), "{expected}\n{v4:#?}");
        }
        assert!(
            v4.iter().any(|l| l.starts_with("unicast 172.16.8.0/24 encap ip id 77 src 0.0.0.0 dst 198.51.100.1 ttl 9")),
            "{v4:#?}"
        );
        assert!(text.contains("nexthop via 10.0.0.8 dev eth0 weight 3"), "{text}");
        let v6 = routes(&pair.here, "-6");
        assert!(v6.iter().any(|l| l == "unicast 2001:db8:1::/48 via 2001:db8::9 dev eth0 proto keepalived scope global metric 50 pref high"), "{v6:#?}");
        assert!(
            v6.iter().any(|l| l.starts_with("unicast 2001:db8:2::/48 from 2001:db8:f::/48 dev eth0 proto keepalived")),
            "{v6:#?}"
        );
        let found = rules(&pair.here, "-4");
        for expected in [
            "500: from 10.1.0.0/16 lookup 100 proto keepalived",
            "501: not from all to 10.2.3.0/24 iif eth0 lookup 100 proto keepalived",
            "502: from all tos lowdelay fwmark 0x5/0xff lookup 100 suppress_prefixlength 0 proto keepalived",
            "503: from all oif eth0 uidrange 10-20 ipproto tcp sport 1-2 dport 80-90 lookup 100 proto keepalived",
            "504: from all goto 600 proto keepalived",
            "506: from all lookup [l3mdev-table] proto keepalived",
            "507: from all lookup 70000 proto keepalived",
            "600: from 10.9.0.0/16 blackhole proto keepalived",
        ] {
            let known = expected.replace("tos lowdelay", "tos 0x10");
            assert!(found.iter().any(|line| line == expected || *line == known), "{expected}\n{found:#?}");
        }
        assert!(rules(&pair.here, "-6").iter().any(|l| l == "505: from 2001:db8:5::/48 unreachable proto keepalived"));
        // What is told again is no change: keys of built and of dumped messages agree.
        running.log.clear();
        running.own(&claim).await;
        wire::remove_address(&pair.here, "eth0", ip("2001:db8::1"), 64).unwrap();
        running.until(|r| matches!(r, FromKernel::Link(LinkFact::Healed { .. }))).await;
        let log = running.stop().await;
        let put_back = |r: &&FromKernel| matches!(r, FromKernel::Trouble(t) if t.text.contains("put back"));
        let put_back: Vec<_> = log.iter().filter(put_back).collect();
        assert!(put_back.len() <= 1, "only what went with the address: {put_back:#?}");
        assert_eq!((routes(&pair.here, "-4"), routes(&pair.here, "-6")), (Vec::new(), Vec::new()));
        assert_eq!((rules(&pair.here, "-4"), rules(&pair.here, "-6")), before);
    });
}

#[test]
fn deleted_routes_and_rules_come_back() {
    if !ready("deleted_routes") {
        return;
    }
    let pair = Pair::new();
    let claim = claim();
    within(&pair.here, async || {
        let mut running = Running::configured(spec(vec![instance(Family::V4, (*claim).clone())])).await;
        running.own(&claim).await;
        let before = (routes(&pair.here, "-4"), rules(&pair.here, "-4"));
        let back =
            |what: &'static str| move |r: &FromKernel| matches!(r, FromKernel::Trouble(t) if t.text.contains(what));
        output(&pair.here, &["ip", "route", "del", "172.16.3.0/24"]);
        running.until(back("172.16.3.0/24")).await;
        output(&pair.here, &["ip", "route", "del", "172.16.2.0/24", "tos", "0x10", "table", "1001"]);
        running.until(back("172.16.2.0/24")).await;
        output(&pair.here, &["ip", "rule", "del", "priority", "503"]);
        running.until(back("503")).await;
        // The interface takes IPv4 routes with it without a word.
        wire::set_up(&pair.here, "eth0", false).unwrap();
        running.until(|r| matches!(r, FromKernel::Link(LinkFact::Changed(link)) if !link.up)).await;
        wire::set_up(&pair.here, "eth0", true).unwrap();
        let mut expected = before.0.clone();
        expected.sort();
        eventually(|| {
            let mut found = routes(&pair.here, "-4");
            found.sort();
            (found == expected).then_some(())
        })
        .await;
        assert_eq!(rules(&pair.here, "-4"), before.1);
        running.stop().await;
    });
}

#[test]
fn statics_are_there_whatever_the_state_and_go_at_the_stop() {
    if !ready("statics") {
        return;
    }
    let pair = Pair::new();
    let mut address = v4("10.5.0.1", 24);
    address.interface = Some(name("eth0"));
    let statics = Statics {
        addresses: vec![address],
        routes: vec![Route { via: Some(ip("10.5.0.9")), ..route("172.20.0.0/16") }],
        rules: vec![rule(700)],
        groups: Vec::new(),
    };
    within(&pair.here, async || {
        let mut running = Running::configured(Spec { statics, ..Spec::default() }).await;
        assert_eq!(addresses(&pair.here, "eth0"), [ip("10.5.0.1")]);
        assert_eq!(routes(&pair.here, "-4").len(), 1);
        wire::remove_address(&pair.here, "eth0", ip("10.5.0.1"), 24).unwrap();
        // The route went with the address, without a word.
        eventually(|| (routes(&pair.here, "-4").len() == 1 && addresses(&pair.here, "eth0").len() == 1).then_some(()))
            .await;
        running.configure(Spec::default(), Vec::new()).await;
        assert!(addresses(&pair.here, "eth0").is_empty());
        assert!(routes(&pair.here, "-4").is_empty());
        assert!(!rules(&pair.here, "-4").iter().any(|line| line.starts_with("700:")));
        running.stop().await;
    });
}

/// keepalived takes the end of a rule that it knows for a reason to become BACKUP, even out of FAULT.
#[test]
fn a_rule_that_goes_while_it_is_not_owned_is_nobodys_business() {
    if !ready("a_rule_not_owned") {
        return;
    }
    let pair = Pair::new();
    let claim = Claim { rules: vec![rule(500)], ..Claim::default() };
    within(&pair.here, async || {
        let mut running = Running::configured(spec(vec![instance(Family::V4, claim)])).await;
        running.log.clear();
        for verb in ["add", "del"] {
            output(&pair.here, &["ip", "rule", verb, "priority", "500", "table", "100"]);
        }
        // What comes after it is heard after it.
        wire::add_address(&pair.here, "eth0", ip("10.6.0.1"), 24).unwrap();
        running
            .until(
                |r| matches!(r, FromKernel::Link(LinkFact::Address { address, .. }) if address.address == ip("10.6.0.1")),
            )
            .await;
        let other = |r: &&FromKernel| !matches!(r, FromKernel::Link(LinkFact::Address { .. } | LinkFact::Changed(_)));
        let other: Vec<_> = running.log.iter().filter(other).collect();
        assert!(other.is_empty(), "{other:?}");
        assert!(!rules(&pair.here, "-4").iter().any(|line| line.starts_with("500:")));
        running.stop().await;
    });
}

#[test]
fn statics_that_nobody_tracks_stay_away_until_the_next_reload() {
    if !ready("untracked_statics") {
        return;
    }
    let pair = Pair::new();
    let on_eth0 = |text: &str, no_track| VirtualAddress { interface: Some(name("eth0")), no_track, ..v4(text, 24) };
    let statics = Statics {
        addresses: vec![on_eth0("10.5.0.1", true), on_eth0("10.6.0.1", false)],
        routes: vec![Route { interface: Some(name("eth0")), no_track: true, ..route("172.20.0.0/16") }],
        rules: Vec::new(),
        groups: Vec::new(),
    };
    let wanted = Spec { statics, ..Spec::default() };
    within(&pair.here, async || {
        let mut running = Running::configured(wanted.clone()).await;
        let there = || (addresses(&pair.here, "eth0").contains(&ip("10.5.0.1")), routes(&pair.here, "-4").len());
        assert_eq!(there(), (true, 1));
        output(&pair.here, &["ip", "route", "del", "172.20.0.0/16"]);
        wire::remove_address(&pair.here, "eth0", ip("10.5.0.1"), 24).unwrap();
        // The tracked one, which goes later, is back.
        wire::remove_address(&pair.here, "eth0", ip("10.6.0.1"), 24).unwrap();
        eventually(|| addresses(&pair.here, "eth0").contains(&ip("10.6.0.1")).then_some(())).await;
        assert_eq!(there(), (false, 0));
        running.configure(wanted, Vec::new()).await;
        eventually(|| (there() == (true, 1)).then_some(())).await;
        running.stop().await;
    });
}
