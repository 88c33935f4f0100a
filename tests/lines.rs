//! Address, route, rule and short-list lines: what each word does, and what a mistake costs.
//!
//! Each row is one line of a list as it stands in a configuration, read on a machine with eth0 and eth1. Rows come from
//! keepalived 2.4.3's behaviour.

#![allow(clippy::unwrap_used)]

use std::net::IpAddr;
use vipd::config::Env;
use vipd::config::load;
use vipd::config::system::{Link, TableSystem};
use vipd::config::text::expand::TextEnv;
use vipd::config::text::source::MapLoader;
use vipd::spec::{Encap, Insert, Route, Rule, RuleAction, Spec, Transport, VirtualAddress};
use vipd::wire::Family;

fn read(text: &str) -> (Option<Spec>, u8, Vec<String>) {
    let mut system = TableSystem::anywhere();
    system.assume_interfaces = false;
    for name in ["eth0", "eth1"] {
        system.interfaces.insert(name.into(), Link::ethernet(name));
    }
    let env = Env { text: TextEnv::default(), system: &system };
    let tables = "200 uplink # ours\n0x10 hex\nbad line here\n";
    let files = MapLoader::default().with("/k.conf", text).with("/etc/iproute2/rt_tables", tables);
    let (spec, diagnostics) = load("/k.conf", &env, &files);
    (spec, diagnostics.exit_code(), diagnostics.list.iter().map(|d| d.message.clone()).collect())
}

const START: &str = "vrrp_instance A {\n interface eth0\n virtual_router_id 1\n";

/// One more address line after a good one.
fn address(line: &str) -> (Option<VirtualAddress>, u8, Vec<String>) {
    let first = if line.split_whitespace().next().unwrap().contains(':') { "fe80::99" } else { "192.0.2.99/24" };
    let (spec, code, said) = read(&format!("{START} virtual_ipaddress {{\n {first}\n {line}\n }}\n}}\n"));
    let found = spec.and_then(|spec| spec.instances[0].claim.addresses.get(1).cloned());
    (found, code, said)
}

fn instance_list(keyword: &str, line: &str) -> (Option<Spec>, u8, Vec<String>) {
    read(&format!("{START} virtual_ipaddress {{\n 192.0.2.99/24\n }}\n {keyword} {{\n {line}\n }}\n}}\n"))
}
fn route(line: &str) -> (Option<Route>, u8, Vec<String>) {
    let (spec, code, said) = instance_list("virtual_routes", line);
    (spec.and_then(|spec| spec.instances[0].claim.routes.first().cloned()), code, said)
}
fn rule(line: &str) -> (Option<Rule>, u8, Vec<String>) {
    let (spec, code, said) = instance_list("virtual_rules", line);
    (spec.and_then(|spec| spec.instances[0].claim.rules.first().cloned()), code, said)
}

#[test]
fn addresses_that_are_right() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let (a, code, said) =
        address("192.0.2.5/24 dev eth1 scope link label eth1:x brd + home noprefixroute autojoin no_track");
    let a = a.unwrap();
    assert_eq!((code, said.len()), (0, 0), "{said:?}");
    assert_eq!((a.address, a.prefix, a.scope), (ip("192.0.2.5"), 24, Some(253)));
    assert_eq!(a.interface.unwrap().as_str(), "eth1");
    assert_eq!(a.broadcast, Some("192.0.2.255".parse().unwrap()));
    assert_eq!(a.label.as_deref(), Some("eth1:x"));
    assert!(a.home && a.noprefixroute && a.autojoin && a.no_track && !a.dad && !a.use_vmac);
    assert_eq!(address("192.0.2.5").0.unwrap().prefix, 32);
    assert_eq!(address("192.0.2.5/24 broadcast -").0.unwrap().broadcast, Some("192.0.2.0".parse().unwrap()));
    assert_eq!(address("192.0.2.5 peer 192.0.2.6").0.unwrap().peer, Some((ip("192.0.2.6"), 32)));
    assert_eq!(address("192.0.2.5/0").0.unwrap().prefix, 0);
}

#[test]
fn ipv6_lifetimes() {
    assert_eq!(address("2001:db8::5").0.unwrap().preferred_lifetime, Some(0));
    assert_eq!(address("2001:db8::5/64").0.unwrap().preferred_lifetime, None);
    assert_eq!(address("2001:db8::5/128 preferred_lft forever").0.unwrap().preferred_lifetime, None);
    assert_eq!(address("2001:db8::5/64 preferred_lft 30 -nodad mngtmpaddr").0.unwrap().preferred_lifetime, Some(30));
    assert!(address("2001:db8::5/64 -nodad").0.unwrap().dad);
}

#[test]
fn address_mistakes() {
    // (line, is it kept all the same)
    let rows = [
        ("192.0.2.300", false),
        ("192.0.2.5/33", true),
        ("192.0.2.5/24 dev", false),
        ("192.0.2.5/24 dev eth0 dev eth1", false),
        ("192.0.2.5/24 scope nosuch", true),
        ("192.0.2.5/24 scope 256", true),
        ("192.0.2.5/24 brd 1.2.3", false),
        ("192.0.2.5/31 brd +", true),
        ("192.0.2.5 peer 192.0.2.6 brd 192.0.2.7", true),
        ("192.0.2.5/24 label sixteen-bytes-16", false),
        ("192.0.2.5/24 label", false),
        ("192.0.2.5 peer 192.0.2.6 peer 192.0.2.7", true),
        ("192.0.2.5 peer 2001:db8::1", true),
        ("192.0.2.5/24 peer 192.0.2.6", true),
        ("192.0.2.5/24 preferred_lft soon", true),
        ("192.0.2.5/24 nodad", true),
        ("192.0.2.5/24 track_group G", true),
        ("2001:db8::5/64 brd +", false),
        ("2001:db8::5/64 scope host", true),
        ("2001:db8::5/64 label x", true),
        ("2001:db8::5/129", true),
        ("192.0.2.99/25", false),
    ];
    for (line, kept) in rows {
        let (found, code, said) = address(line);
        assert_eq!((found.is_some(), code), (kept, 5), "{line}: {said:?}");
        assert!(said.len() <= 2, "{line}: {said:?}");
    }
    let (spec, code, _) = read(&format!("{START} virtual_ipaddress {{\n 192.0.2.1 dev eth9\n }}\n}}\n"));
    assert_eq!((spec, code), (None, 5), "an interface that is not there ends the check");
}

#[test]
fn families_and_numbers_of_addresses() {
    let (spec, code, _) = read(&format!(
        "{START} virtual_ipaddress {{\n 192.0.2.1\n 2001:db8::1\n }}\n virtual_ipaddress_excluded {{\n 2001:db8::2\n 192.0.2.1\n }}\n}}\n"
    ));
    let claim = spec.unwrap().instances[0].claim.clone();
    assert_eq!(code, 5);
    let all: Vec<String> = claim.addresses.iter().map(|a| a.address.to_string()).collect();
    assert_eq!((all.join(" ").as_str(), claim.advertised), ("192.0.2.1 2001:db8::2", 1));

    let many: String = (1..=300).map(|n| format!("10.0.{}.{}\n", n / 250, n % 250 + 1)).collect();
    let (spec, code, _) = read(&format!("{START} virtual_ipaddress {{\n{many} }}\n}}\n"));
    let claim = spec.unwrap().instances[0].claim.clone();
    assert_eq!((code, claim.advertised, claim.addresses.len()), (5, 255, 300));
    assert_eq!(claim.addresses[255].address.to_string(), "10.0.1.7", "the surplus follows in order");
}

#[test]
fn statics() {
    let (spec, code, said) = read(
        "track_group G { group { A } }\nstatic_ipaddress {\n 10.0.0.1/24\n 10.0.0.2/24 dev eth1 track_group G\n}\nvrrp_instance A {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n 10.0.0.9/24\n }\n}\n",
    );
    let statics = spec.unwrap().statics;
    assert_eq!(code, 0, "{said:?}");
    assert_eq!(statics.addresses[0].interface.as_ref().unwrap().as_str(), "eth0");
    assert_eq!(statics.addresses[1].track_group.as_deref(), Some("G"));
    let (_, code, said) = read("global_defs {\n default_interface eth7\n}\nstatic_ipaddress {\n 10.0.0.1/24\n}\n");
    assert!(code >= 4, "{said:?}");
}

#[test]
fn routes_that_are_right() {
    let (r, code, said) = route(
        "src 192.0.2.5 to 198.51.100.0/24 via 192.0.2.1 dev eth1 table uplink metric 10 scope link tos 0x10 onlink \
         mtu lock 1400 rtt 0.5s hoplimit 9 features ecn congctl lock bbr realms 3/4 append",
    );
    assert_eq!(code, 0, "{said:?}");
    let r = r.unwrap();
    assert_eq!((r.family, r.table, r.metric, r.scope, r.tos), (Family::V4, 200, Some(10), Some(253), 16));
    assert_eq!(r.destination.unwrap().length, 24);
    assert_eq!(r.metrics, [(2, 1400, true), (4, 4000, false), (10, 9, false), (12, 1, false)]);
    assert_eq!(r.congctl, Some(("bbr".into(), true)));
    assert_eq!((r.realms, r.insert, r.protocol), (Some(3 << 16 | 4), Insert::Append, 18));

    let (r, code, said) = route("default nexthop via 192.0.2.1 dev eth0 weight 256 nexthop via 192.0.2.2 onlink");
    assert_eq!(code, 0, "{said:?}");
    let hops = r.unwrap().nexthops;
    assert_eq!((hops.len(), hops[0].weight, hops[1].weight, hops[1].onlink), (2, 256, 1, true));

    assert_eq!(route("blackhole 10.0.0.0/8").0.unwrap().kind, 6);
    assert_eq!(route("10.0.0.0/8 dev eth0 table 0x10").0.unwrap().table, 16);
    assert_eq!(route("10.0.0.0/8 dev eth0 protocol static no_track").0.unwrap().protocol, 4);
    let six = route("2001:db8::/32 via fe80::1 dev eth0 pref high expires 60").0.unwrap();
    assert_eq!((six.family, six.pref, six.expires), (Family::V6, Some(1), Some(60)));
    let tunnel = route("10.1.0.0/16 encap ip id 7 dst 192.0.2.7 ttl 9 dev eth0").0.unwrap().encap;
    assert!(matches!(tunnel, Some(Encap::Ip { id: Some(7), ttl: 9, .. })), "{tunnel:?}");
    let labels = route("10.1.0.0/16 encap mpls 100/200 via 192.0.2.1").0.unwrap().encap;
    assert_eq!(labels, Some(Encap::Mpls { labels: vec![100, 200] }));
    let ila = route("2001:db8::/64 encap ila 1:2:3:4 dev eth0").0.unwrap().encap;
    assert_eq!(ila, Some(Encap::Ila { locator: 0x0001_0002_0003_0004 }));
}

#[test]
fn route_mistakes() {
    let rows = [
        ("via 192.0.2.1", false),
        ("10.0.0.0/8 nonsense", false),
        ("10.0.0.0/8 via 2001:db8::1", false),
        ("10.0.0.0/8 via inet6 2001:db8::1", false),
        ("via 192.0.2.1 default", false),
        ("10.0.0.0/8 gw 192.0.2.1", true),
        ("10.0.0.0/8 via 192.0.2.1 or 192.0.2.2", true),
        ("10.0.0.0/8 via 192.0.2.1 or 2001:db8::2", false),
        ("10.0.0.0/8 from 10.0.0.1", false),
        ("10.0.0.0/8 table nosuch", false),
        ("10.0.0.0/8 vrf red", false),
        ("10.0.0.0/8 dev eth0 protocol static", true),
        ("10.0.0.0/8 metric -1", false),
        ("10.0.0.0/8 mtu 1e3", false),
        ("10.0.0.0/8 rtt 0.1s", true),
        ("10.0.0.0/8 rtt 1e3s", false),
        ("10.0.0.0/8 hoplimit 256", false),
        ("10.0.0.0/8 quickack 2", false),
        ("10.0.0.0/8 features fast", true),
        ("10.0.0.0/8 pref high", false),
        ("10.0.0.0/8 expires 5", false),
        ("2001:db8::/32 realms 1", false),
        ("10.0.0.0/8 ttl-propagate maybe", true),
        ("10.0.0.0/8 as to 1.2.3.4", true),
        ("10.0.0.0/8 encap ip tos 1", true),
        ("10.0.0.0/8 encap udp", true),
        ("10.0.0.0/8 nexthop via 192.0.2.1 weight 257", true),
        ("10.0.0.0/8 nexthop via 192.0.2.1 nonsense", true),
        ("inet 2001:db8::/32", false),
        // keepalived loses the word after inet6; the route is understood here.
        ("inet6 2001:db8::/32 dev eth0", true),
    ];
    for (line, kept) in rows {
        let (found, code, said) = route(line);
        assert_eq!((found.is_some(), code), (kept, 5), "{line}: {said:?}");
    }
    assert_eq!(route("10.0.0.0/8 dev").1, 2, "a word without its value stops the reading");
    assert_eq!(route("inet6 x 2001:db8::/32 dev eth0").1, 0, "the dummy word that keepalived needs");
    let clamped = route("10.0.0.0/8 rtt 0.1s").0.unwrap().metrics;
    assert_eq!(clamped, [(4, 1600, false)]);
}

#[test]
fn rules_that_are_right() {
    let (r, code, said) = rule(
        "from 10.0.0.0/8 to default table 100 preference 0x20 fwmark 0x5/0xff iif eth0 oif eth1 not ipproto tcp \
         sport 10-20 dport 30-40 uidrange 1-2 tunnel-id 9 sup_pl 0",
    );
    // `default` after a word that fixes the family is refused, as in keepalived.
    assert_eq!((r, code), (None, 5), "{said:?}");
    let (r, code, said) = rule(
        "from 10.0.0.0/8 to 11.0.0.0/8 table 100 preference 0x20 fwmark 0x5/0xff iif eth0 oif eth1 not ipproto tcp \
         sport 10-20 dport 30-40 uidrange 1-2 tunnel-id 9 sup_pl 0",
    );
    assert_eq!(code, 0, "{said:?}");
    let r = r.unwrap();
    assert_eq!((r.action, r.priority, r.fwmark, r.invert), (RuleAction::Table(100), 32, Some((5, 255)), true));
    assert_eq!((r.ip_proto, r.sport, r.dport, r.uid_range), (Some(6), Some((10, 20)), Some((30, 40)), Some((1, 2))));
    assert_eq!((r.tunnel_id, r.suppress_prefixlength, r.protocol), (Some(9), Some(0), 18));
    assert_eq!(rule("preference 5 goto 10").0.unwrap().action, RuleAction::Goto(10));
    assert_eq!(rule("preference 5 type blackhole").0.unwrap().action, RuleAction::Blackhole);
    assert_eq!(rule("preference 5 table 1 fwmark 7").0.unwrap().fwmark, Some((7, u32::MAX)));
    assert_eq!(rule("preference 5 l3mdev").0.unwrap().action, RuleAction::L3mdev);
    let (spec, code, _) = instance_list("virtual_rules", "from 10.0.0.1 table 5\n from 10.0.0.2 table 5");
    let priorities: Vec<u32> = spec.unwrap().instances[0].claim.rules.iter().map(|r| r.priority).collect();
    assert_eq!((code, priorities), (5, vec![16384, 16383]));
}

#[test]
fn rule_mistakes() {
    let rows = [
        ("preference 5 from 10.0.0.0/8", false),
        ("preference 5 table 0", false),
        ("preference 5 table 1 blackhole", false),
        ("preference 5 goto 4", false),
        ("goto 4", false),
        ("preference 5 unicast", false),
        ("preference 5 nonsense table 1", false),
        ("preference 5 blackhole realms 1", false),
        ("preference 5 table 1 sport 10", true),
        ("preference 5 table 1 ipproto nosuch", true),
        ("preference 5 table 1 protocol 7", true),
        ("preference 5 table 1 fwmark x", false),
        ("preference 5 table 1 uidrange 5", false),
        ("preference 5 table 1 from 10.0.0.0/8 to 2001:db8::/32", false),
        ("from 10.0.0.1 table 5", true),
    ];
    for (line, kept) in rows {
        let (found, code, said) = rule(line);
        assert_eq!((found.is_some(), code), (kept, 5), "{line}: {said:?}");
    }
    assert_eq!(rule("preference").1, 2);
}

#[test]
fn peers() {
    let peers = |lines: &str| {
        let (spec, code, said) = instance_list("unicast_peer", lines);
        (spec.map(|spec| spec.instances[0].transport.clone()), code, said)
    };
    let (transport, code, said) = peers("192.0.2.2 min_ttl 3 max_ttl 9\n 192.0.2.3");
    assert_eq!(code, 0, "{said:?}");
    let Some(Transport::Unicast { peers: list, check_source, .. }) = transport else { panic!("{transport:?}") };
    assert_eq!((list.len(), list[0].min_ttl, list[0].max_ttl, list[1].max_ttl, check_source), (2, 3, 9, 255, true));
    for line in
        ["192.0.2.2 ttl 3", "192.0.2.2 min_ttl", "192.0.2.2 min_ttl 256", "192.0.2.2 min_ttl 9 max_ttl 3", "192.0.2"]
    {
        let (_, code, said) = peers(line);
        assert_eq!(code, 5, "{line}: {said:?}");
    }
}

#[test]
fn tracker_lines() {
    let rows = [
        ("track_interface", "eth1", 0, Some((0, false))),
        ("track_interface", "eth1 weight -253 reverse", 0, Some((-253, true))),
        ("track_interface", "eth1 weight 254", 5, Some((253, false))),
        ("track_interface", "eth1 weight 255", 5, Some((0, false))),
        ("track_interface", "eth1 weight", 5, None),
        ("track_interface", "eth1 heavy 5", 5, None),
        ("track_interface", "eth1 weight 5 noreverse", 5, Some((5, false))),
    ];
    for (list, line, expected, tie) in rows {
        let (spec, code, said) = instance_list(list, line);
        let found = spec.and_then(|spec| spec.instances[0].ties.first().map(|t| (t.weight, t.reverse)));
        assert_eq!((code, found), (expected, tie), "{line}: {said:?}");
    }
}

#[test]
fn delays_and_linkbeat() {
    let delays = |line: &str| {
        read(&format!("interface_up_down_delays {{\n {line}\n}}\n{START} virtual_ipaddress {{\n 192.0.2.1\n }}\n}}\n"))
    };
    let (spec, code, _) = delays("eth0 1.5 1");
    let debounce = spec.unwrap().debounce[0].clone();
    assert_eq!((code, debounce.down.as_millis(), debounce.up.as_millis()), (0, 1500, 1000));
    assert_eq!(delays("eth9 1").1, 4);
    assert_eq!(delays("eth0 256").1, 5);
    assert_eq!(delays("eth0").1, 0);
    let (_, code, _) = read("linkbeat_interfaces {\n eth0 SMOKE\n}\n");
    assert_eq!(code, 5);
}

/// Words that mean something in one of the lists, and words at the edges of numbers and addresses.
const WORDS: &[&str] = &[
    "192.0.2.5/24",
    "192.0.2.5",
    "2001:db8::5/64",
    "::/0",
    "fe80::1",
    "0.0.0.0/0",
    "1.2.3",
    "/",
    "-",
    "default",
    "any",
    "default6",
    "dev",
    "eth0",
    "eth9",
    "scope",
    "link",
    "label",
    "x",
    "brd",
    "+",
    "peer",
    "preferred_lft",
    "forever",
    "4294967295",
    "4294967296",
    "18446744073709551616",
    "0",
    "0x10",
    "-1",
    "1e3",
    "inet",
    "inet6",
    "to",
    "from",
    "via",
    "gw",
    "or",
    "src",
    "table",
    "main",
    "metric",
    "mtu",
    "lock",
    "rtt",
    "120s",
    "121s",
    "0.0000001ms",
    "nexthop",
    "weight",
    "256",
    "257",
    "onlink",
    "encap",
    "ip",
    "ip6",
    "mpls",
    "100/200",
    "ila",
    "1:2:3:4",
    "id",
    "dst",
    "realms",
    "3/4",
    "expires",
    "pref",
    "high",
    "protocol",
    "18",
    "blackhole",
    "unicast",
    "no_track",
    "track_group",
    "G",
    "goto",
    "preference",
    "5",
    "nop",
    "l3mdev",
    "fwmark",
    "0x1/0xff",
    "sport",
    "1-2",
    "uidrange",
    "tunnel-id",
    "not",
    "as",
    "congctl",
    "features",
    "ecn",
    "\"\"",
    "192.0.2.1-9",
    "192.0.2.1-",
    "fwmark",
    "NAT",
    "TUN",
    "type",
    "gue",
    "port",
    "reverse",
    "noreverse",
    "min_ttl",
    "max_ttl",
];
const LISTS: &[&str] = &[
    "virtual_ipaddress",
    "virtual_ipaddress_excluded",
    "virtual_routes",
    "virtual_rules",
    "unicast_peer",
    "track_interface",
];
const TOP: &[&str] = &[
    "static_ipaddress",
    "static_routes",
    "static_rules",
    "virtual_server_group V",
    "linkbeat_interfaces",
    "interface_up_down_delays",
];

proptest::proptest! {
    /// Whatever words stand in a line, reading ends with a verdict and at most a handful of complaints a line.
    #[test]
    fn any_words_end_in_a_verdict(
        list in 0..LISTS.len() + TOP.len(),
        line in proptest::collection::vec(0..WORDS.len(), 1..12),
    ) {
        let line: Vec<&str> = line.into_iter().map(|at| WORDS[at]).collect();
        let line = line.join(" ");
        let text = match LISTS.get(list) {
            Some(list) => format!("{START} {list} {{\n {line}\n }}\n}}\n"),
            None => format!("{} {{\n {line}\n}}\n", TOP[list - LISTS.len()]),
        };
        let (_, code, said) = read(&text);
        proptest::prop_assert!(matches!(code, 0 | 2 | 4 | 5), "{code}: {text}");
        proptest::prop_assert!(said.len() <= 16, "{said:?}");
    }
}

#[test]
fn a_group_starts_as_master_only_if_every_member_says_so() {
    for (lines, told) in [
        (["state MASTER\npriority 255", "state MASTER\npriority 255"], true),
        (["state MASTER\npriority 255", "priority 255"], false),
        (["state MASTER", "state MASTER"], false),
        (["state MASTER\npriority 255", "priority 100"], false),
    ] {
        let member = |name: &str, id: u8, lines: &str| {
            let on = format!("interface eth0\nvirtual_router_id {id}\nvirtual_ipaddress {{\n192.0.2.{id}\n}}");
            format!("vrrp_instance {name} {{\n{on}\n{lines}\n}}\n")
        };
        let text = member("A", 1, lines[0]) + &member("B", 2, lines[1]) + "vrrp_sync_group G {\ngroup {\nA\nB\n}\n}\n";
        let (spec, _, said) = read(&text);
        assert_eq!(spec.unwrap().groups[0].starts_as_master, told, "{lines:?} {said:?}");
    }
}
