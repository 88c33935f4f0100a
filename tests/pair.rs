//! Two servers' files against each other: each rule finds its difference, and no other; the outlook's times are right.

#![allow(clippy::unwrap_used)]

use vipd::config::Env;
use vipd::config::load;
use vipd::config::pair::compare;
use vipd::config::report::Level;
use vipd::config::system::TableSystem;
use vipd::config::text::expand::TextEnv;
use vipd::config::text::source::MapLoader;
use vipd::sim::{Outlook, outlook};
use vipd::spec::Spec;

fn spec(text: &str) -> Spec {
    let system = TableSystem::anywhere();
    let env = Env { text: TextEnv::default(), system: &system };
    let (spec, diagnostics) = load("/k.conf", &env, &MapLoader::default().with("/k.conf", text));
    let said: Vec<String> = diagnostics.list.iter().map(|d| d.message.clone()).collect();
    spec.unwrap_or_else(|| panic!("{said:?}\n{text}"))
}

const SCRIPTS: &str = "global_defs {\n enable_script_security\n script_user root\n}\n\
    vrrp_script chk {\n script /usr/bin/chk\n interval 2\n fall 2\n}\n\
    vrrp_script hasty {\n script /usr/bin/chk\n interval 1\n timeout 1\n fall 1\n}\n";

/// A server with one instance; `more` stands inside it.
fn server(priority: u8, more: &str) -> String {
    let addresses = if more.contains("virtual_ipaddress {") { "" } else { "virtual_ipaddress {\n 10.0.0.10/24\n }" };
    let id = if more.contains("virtual_router_id") { "" } else { "virtual_router_id 51" };
    format!("{SCRIPTS}vrrp_instance VI {{\n interface eth0\n {id}\n priority {priority}\n {addresses}\n {more}\n}}\n")
}

fn play(servers: &[(&str, &str)]) -> Outlook {
    let named: Vec<(String, Spec)> = servers.iter().map(|(name, text)| ((*name).to_owned(), spec(text))).collect();
    let files: Vec<String> = servers.iter().map(|(name, _)| format!("{name}.conf")).collect();
    outlook(&named, &files)
}

/// What `vipctl check` finds between two files: by comparison, and by what is played through.
fn found(left: &str, right: &str) -> Vec<&'static str> {
    let (a, b) = (spec(left), spec(right));
    let compared = compare(&[("primary.conf".into(), &a), ("secondary.conf".into(), &b)]);
    let played = play(&[("primary", left), ("secondary", right)]).findings_beside(&compared);
    let mut rules: Vec<_> = compared.into_iter().chain(played).map(|f| f.rule).collect();
    rules.sort_unstable();
    rules
}
fn story(left: &str, right: &str) -> String {
    play(&[("primary", left), ("secondary", right)]).lines.join("\n")
}

#[test]
fn a_good_pair_has_no_findings() {
    assert_eq!(found(&server(150, ""), &server(100, "")), [] as [&str; 0]);
}

#[test]
fn each_difference_is_found_alone() {
    let unicast = |own: &str, peer: &str| format!("unicast_src_ip {own}\n unicast_peer {{\n {peer}\n }}");
    let pass = |word: &str| format!("authentication {{\n auth_type PASS\n auth_pass {word}\n }}");
    const PEER: &str = "unicast_peer {\n 10.0.0.2\n }";
    const NOPREEMPT: &[&str] = &["nopreempt-idle", "weight-nopreempt"];
    let rows: Vec<(String, String, &[&str])> = vec![
        (server(150, "virtual_router_id 51"), server(100, "virtual_router_id 52"), &["vrid-differs"]),
        (server(150, "version 3"), server(100, "version 2"), &["version-differs"]),
        (server(150, "advert_int 1"), server(100, "advert_int 2"), &["interval-differs"]),
        (server(150, &pass("a")), server(100, &pass("b")), &["authentication-differs"]),
        (server(150, &pass("a")), server(100, ""), &["authentication-differs"]),
        (server(150, &unicast("10.0.0.1", "10.0.0.2")), server(100, ""), &["transport-differs"]),
        (server(150, &unicast("10.0.0.1", "10.0.0.2")), server(100, &unicast("10.0.0.2", "10.0.0.1")), &[]),
        (
            server(150, &unicast("10.0.0.1", "10.0.0.3")),
            server(100, &unicast("10.0.0.2", "10.0.0.1")),
            &["peer-missing"],
        ),
        (server(150, "virtual_ipaddress {\n 10.0.0.10/24\n 10.0.0.11/24\n }"), server(100, ""), &["addresses-differ"]),
        (server(150, "virtual_ipaddress {\n 10.0.0.11/24\n }"), server(100, ""), &["addresses-differ"]),
        (server(150, "virtual_ipaddress {\n 10.0.0.10/25\n }"), server(100, ""), &["prefix-differs"]),
        (server(100, ""), server(100, ""), &["equal-priority"]),
        (server(150, "state MASTER"), server(100, "state MASTER"), &["two-masters"]),
        (server(150, "state MASTER"), server(100, "state BACKUP\n nopreempt"), &["nopreempt-idle"]),
        (server(150, "track_script {\n chk weight -20\n }"), server(100, ""), &["weight-idle"]),
        (server(150, "track_script {\n chk weight -60\n }"), server(100, ""), &[]),
        (server(150, "track_script {\n chk\n }"), server(100, ""), &[]),
        (server(150, "use_vmac"), server(100, ""), &["mac-differs"]),
        (server(150, "use_vmac"), server(100, "use_vmac\n vmac_xmit_base"), &["xmit-base-differs"]),
        (server(150, ""), server(100, "").replace("eth0", "ens3"), &["interface-differs"]),
        (server(150, "virtual_ipaddress_excluded {\n 10.0.1.1/24\n }"), server(100, ""), &["excluded-differ"]),
        (server(150, "mcast_dst_ip 224.0.0.19"), server(100, ""), &["multicast-group-differs"]),
        (server(150, &unicast("10.0.0.1", "10.0.0.1\n 10.0.0.2")), server(100, &unicast("10.0.0.2", "10.0.0.1")), &[]),
        (
            server(150, &unicast("10.0.0.1", "10.0.0.2\n 10.0.0.3")),
            server(100, "unicast_peer {\n 10.0.0.1\n }"),
            &["source-unknown"],
        ),
        (server(150, "down_timer_adverts 4"), server(100, ""), &["patience-differs"]),
        (server(150, "virtual_routes {\n 10.9.0.0/16 via 10.0.0.9\n }"), server(100, ""), &["routes-differ"]),
        (server(150, "track_script {\n hasty\n }"), server(100, ""), &["script-hasty"]),
        (server(255, "state MASTER"), server(255, "state MASTER"), &["two-owners"]),
        (server(255, ""), server(100, "state MASTER"), &["two-masters"]),
        (
            server(150, &unicast("10.0.0.1", "10.0.0.2").replace("unicast_peer", "unicast_ttl 64\n unicast_peer")),
            server(100, &unicast("10.0.0.2", "10.0.0.1 min_ttl 255")),
            &["held-twice"],
        ),
        (server(150, "mcast_src_ip 10.0.0.1"), server(100, "mcast_src_ip 10.0.0.1"), &["source-twice"]),
        (
            server(150, &unicast("10.0.0.1", "10.0.0.2")),
            server(100, &unicast("10.0.0.1", "10.0.0.2")),
            &["source-twice"],
        ),
        (server(150, PEER), server(100, PEER), &["peer-itself"]),
        (server(150, "track_script {\n chk weight -60\n }"), server(100, "nopreempt"), NOPREEMPT),
        (server(150, "no_accept"), server(100, "accept"), &["accept-differs"]),
        (server(150, "version 3\n v3_checksum_as_v2"), server(100, "version 3"), &["checksum-differs"]),
        (server(150, "down_timer_adverts 1"), server(100, "down_timer_adverts 1"), &["impatient", "impatient"]),
    ];
    let wrong: Vec<String> = rows
        .into_iter()
        .map(|(left, right, expected)| (found(&left, &right), expected, left, right))
        .filter(|(rules, expected, ..)| rules != expected)
        .map(|(rules, expected, left, right)| format!("{rules:?}, not {expected:?}:\n{left}---\n{right}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The priority decides between servers that start together and no others.
#[test]
fn who_holds_with_nopreempt_depends_on_who_was_first() {
    let told = story(&server(150, "state BACKUP\n nopreempt"), &server(100, "state BACKUP\n nopreempt"));
    let first = "primary holds 10.0.0.10 (priority 150 against 100 of secondary; with nopreempt another that is master first \
                 stays it).";
    assert!(told.starts_with(first), "{told}");
    // An owner is master as soon as it starts.
    let told = story(&server(255, "nopreempt"), &server(100, "nopreempt"));
    assert!(told.starts_with("primary holds 10.0.0.10 (priority 255 against 100 of secondary)."), "{told}");
}

/// Lists with nothing in common: each server keeps its own, and no address moves.
#[test]
fn what_is_of_two_installations_is_two_routers() {
    let other = server(100, "virtual_ipaddress {\n 10.0.0.11/24\n }");
    let story = |left: &str| story(left, &other);
    let told = story(&server(150, ""));
    for line in [
        "primary holds 10.0.0.10; nobody else does.",
        "secondary holds 10.0.0.11; nobody else does.",
        "if primary dies, nobody holds 10.0.0.10 any longer.",
    ] {
        assert!(told.lines().any(|own| own == line), "{told}");
    }
    assert_eq!(found(&server(150, ""), &other), ["addresses-differ"]);
    // Addresses that no advert names may be the same on both, and a VMAC's hardware address is.
    for more in ["virtual_ipaddress_excluded {\n 10.0.1.1/24\n }", "use_vmac"] {
        let (left, right) =
            (server(150, more), server(100, &format!("virtual_ipaddress {{\n 10.0.0.11/24\n }}\n {more}")));
        let told = play(&[("primary", &left), ("secondary", &right)]).lines.join("\n");
        assert!(
            told.starts_with("primary holds 10.0.0.10 (priority 150 against 100 of secondary)")
                || more.starts_with('v') && told.starts_with("primary holds 10.0.0.10 and 1 more"),
            "{told}"
        );
    }
    // Where the other instance of that name is the counterpart, the identifier is all that they have in common.
    let far = "vrrp_instance FAR {\n interface eth0\n virtual_router_id 51\n priority 90\n virtual_ipaddress {\n 10.9.0.1/24\n }\n}\n\
        vrrp_instance VI {\n interface eth0\n virtual_router_id 52\n priority 90\n virtual_ipaddress {\n 10.9.0.2/24\n }\n}\n";
    let (near, far) = (spec(&server(150, "")), spec(far));
    let twice = compare(&[("near.conf".into(), &near), ("far.conf".into(), &far)]);
    let twice: Vec<_> =
        twice.iter().filter(|f| f.rule == "vrid-twice").map(|f| (f.level, f.message.as_str())).collect();
    assert!(
        matches!(twice.as_slice(), [(Level::Warning, text)] if text.contains("leave the other's adverts alone")),
        "{twice:?}"
    );
}

#[test]
fn one_identifier_for_two_routers() {
    let other = |name: &str, id: u8, address: &str| {
        format!(
            "vrrp_instance {name} {{\n interface eth0\n virtual_router_id {id}\n priority 90\n virtual_ipaddress {{\n {address}/24\n }}\n}}\n"
        )
    };
    let left = other("A", 51, "10.0.0.10") + &other("B", 52, "10.0.0.20");
    let right = other("A", 52, "10.0.0.10") + &other("B", 51, "10.0.0.20");
    let rules = found(&left, &right);
    assert_eq!(rules.iter().filter(|r| **r == "vrid-differs").count(), 2, "{rules:?}");
    assert_eq!(rules.iter().filter(|r| **r == "vrid-twice").count(), 2, "{rules:?}");
    assert_eq!(found(&other("A", 51, "10.0.0.10"), ""), ["no-counterpart"]);
}

#[test]
fn every_rule_has_been_seen() {
    let tests = include_str!("pair.rs");
    for source in [
        include_str!("../src/config/pair/rules.rs"),
        include_str!("../src/config/pair/trackers.rs"),
        include_str!("../src/config/pair/bfd.rs"),
        include_str!("../src/config/pair/services.rs"),
        include_str!("../src/sim/outlook/because.rs"),
    ] {
        for name in source.split('"').filter(|word| word.contains('-')) {
            let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
            assert!(!is_name || tests.contains(&format!("\"{name}\"")), "no test finds {name}");
        }
    }
}

#[test]
fn members_of_groups_are_compared_once() {
    let instance = |n: u8, id: u8, own: u8| {
        let priority = 100 + own;
        format!(
            "vrrp_instance V{n} {{\n interface eth{n}\n virtual_router_id {id}\n priority {priority}\n \
             virtual_ipaddress {{\n 10.0.{n}.10/24\n }}\n}}\n"
        )
    };
    let file = |own: u8, groups: &str| {
        let all: Vec<String> = (1..=4).map(|n| instance(n, 50 + n, own)).collect();
        format!("{}{groups}", all.concat())
    };
    let group = |name: &str, members: &str| format!("vrrp_sync_group {name} {{\n group {{\n {members}\n }}\n}}\n");
    let all = group("G", "V1\n V2\n V3\n V4");
    assert_eq!(found(&file(1, &all), &file(0, &group("H", "V4\n V3\n V2\n V1"))), [] as [&str; 0]);
    assert_eq!(found(&file(1, &all), &file(0, "")), ["group-differs"]);
    let halves = group("A", "V1\n V2") + &group("B", "V3\n V4");
    assert_eq!(found(&file(1, &all), &file(0, &halves)), ["group-differs", "group-differs"]);
    assert_eq!(found(&file(1, &halves), &file(0, &halves)), [] as [&str; 0]);
}

/// Servers of a sync group of which one is better in one member and another in the other: told once, and of the two that are
/// left after a failure one takes over although both lose patience at one moment.
#[test]
fn groups_whose_servers_pull_in_different_directions() {
    let file = |first: u8, second: u8| {
        let one = |n: u8, priority: u8| {
            format!(
                "vrrp_instance V{n} {{\n interface eth{n}\n virtual_router_id {n}\n priority {priority}\n \
                 virtual_ipaddress {{\n 10.0.{n}.10/24\n }}\n}}\n"
            )
        };
        format!("{}{}vrrp_sync_group G {{\n group {{\n V1\n V2\n }}\n}}\n", one(1, first), one(2, second))
    };
    assert_eq!(found(&file(150, 100), &file(100, 150)), ["group-crossed"]);
    assert_eq!(found(&file(150, 100), &file(100, 100)), ["equal-priority"]);
    assert_eq!(found(&file(150, 120), &file(100, 90)), [] as [&str; 0]);
    let told = play(&[("a", &file(180, 180)), ("b", &file(150, 100)), ("c", &file(100, 150))]).lines.join("\n");
    assert!(told.contains("if a dies, b or c takes over"), "{told}");
    assert!(told.contains("(a draw: to the millisecond they wait equally long"), "{told}");
    assert!(!told.contains("nobody holds"), "{told}");
}

/// Most unicast pairs in clouds name the peer only: each speaks from the address that the other has as its peer.
#[test]
fn unicast_servers_that_name_only_their_peers_hear_each_other() {
    let to = |peers: &str| format!("unicast_peer {{\n {peers}\n }}");
    let all = "10.0.0.1\n 10.0.0.2\n 10.0.0.3";
    for servers in [
        vec![server(150, &to("10.0.0.2")), server(100, &to("10.0.0.1"))],
        vec![server(150, &to("10.0.0.2")), server(100, &(to("10.0.0.1") + "\n unicast_src_ip 10.0.0.2"))],
        vec![
            server(150, &to("10.0.0.2\n 10.0.0.3")),
            server(120, &to("10.0.0.3\n 10.0.0.1")),
            server(100, &to("10.0.0.1\n 10.0.0.2")),
        ],
        // The same list in every server's file.
        vec![server(150, &to(all)), server(120, &to(all)), server(100, &to(all))],
    ] {
        let named: Vec<(&str, &str)> = ["a", "b", "c"].into_iter().zip(servers.iter().map(String::as_str)).collect();
        let told = play(&named).lines.join("\n");
        assert!(told.contains("a holds 10.0.0.10 (priority 150 against 1"), "{told}");
        assert!(told.contains("if a dies, b takes over at most 3."), "{told}");
    }
}

/// Of servers with one priority the files say who wins only if they say who has the greater address.
#[test]
fn equal_priorities_are_a_draw() {
    let from = |address: &str| format!("mcast_src_ip {address}");
    let told = story(&server(100, ""), &server(100, ""));
    assert!(told.contains("which these files do not say: it may as well be primary)"), "{told}");
    let told = story(&server(100, &from("10.0.0.5")), &server(100, &from("10.0.0.4")));
    let by = "primary holds 10.0.0.10 (priority 100, as secondary; if they start together, by its greater address 10.0.0.5, \
              otherwise whoever was first)";
    assert!(told.contains(by), "{told}");
    assert!(told.contains("when primary comes back, secondary keeps 10.0.0.10"), "{told}");
}

/// Whom nothing but chance makes the next master is not promised to be it.
#[test]
fn a_takeover_that_a_millisecond_decides_is_a_draw() {
    let told = |b: &str, c: &str| play(&[("a", &server(150, "")), ("b", b), ("c", c)]).lines.join("\n");
    let draw = "(a draw: to the millisecond they wait equally long, and whoever is first has it)";
    let equal = told(&server(100, "nopreempt"), &server(100, "nopreempt"));
    for part in [
        format!("if a dies, b or c takes over at most 3.6 s later {draw}; if it is stopped, 0.61 s later."),
        format!("if a is cut off while its links stay up, b or c takes 10.0.0.10 too, at most 3.6 s later {draw}; two"),
        format!("if eth0 goes down on a, b or c takes over 3.6 s later {draw}"),
    ] {
        assert!(equal.contains(&part), "{part}\nnot in\n{equal}");
    }
    // Three of one priority, and a point that is four thousandths of a second.
    let four =
        play(&[("a", &server(150, "")), ("b", &server(100, "")), ("c", &server(100, "")), ("d", &server(100, ""))]);
    assert!(four.lines.join("\n").contains("if a dies, b or c or d takes over"), "{:?}", four.lines);
    let apart = told(&server(100, "nopreempt"), &server(99, "nopreempt"));
    assert!(apart.contains("if a dies, b takes over at most 3.6 s later; if"), "{apart}");
    assert!(!apart.contains("a draw"), "{apart}");
    // A point of priority is 0.4 ms here: without preemption that decides nothing, with it the better one has it in the end.
    let fast = |priority, more| server(priority, &format!("version 3\n advert_int 0.1\n {more}"));
    let told = |more| {
        let all = [fast(150, ""), fast(100, more), fast(99, more)];
        play(&[("a", &all[0]), ("b", &all[1]), ("c", &all[2])]).lines.join("\n")
    };
    assert!(told("nopreempt").contains("if a dies, b or c takes over"), "{}", told("nopreempt"));
    assert!(told("").contains("if a dies, b takes over"), "{}", told(""));
}

/// A sync group takes over when the last of its members has lost patience: what is promised of one holds for the slowest.
#[test]
fn a_group_waits_for_its_slowest_member() {
    let one = |n: u8, priority: u8| {
        format!(
            "vrrp_instance V{n} {{\n interface eth{n}\n virtual_router_id {n}\n priority {priority}\n \
             down_timer_adverts {}\n virtual_ipaddress {{\n 10.0.{n}.10/24\n }}\n}}\n",
            1 + 2 * n
        )
    };
    // The master has no group, and speaks for the two at different moments.
    let (a, b) = (one(1, 150) + &one(2, 200), one(1, 100) + &one(2, 100));
    let b = b + "vrrp_sync_group G {\n group {\n V1\n V2\n }\n}\n";
    let told = play(&[("a", &a), ("b", &b)]).lines.join("\n");
    assert!(told.contains("if a dies, b takes over at most 5.6 s later"), "{told}");
}

/// Of servers that have never understood each other it is not said that they will.
#[test]
fn who_holds_an_address_beside_somebody_whom_he_refuses_is_named() {
    let pass =
        |priority, word: &str| server(priority, &format!("authentication {{\n auth_type PASS\n auth_pass {word}\n }}"));
    let all = [pass(150, "one"), pass(120, "one"), pass(100, "other")];
    let told = play(&[("a", &all[0]), ("b", &all[1]), ("c", &all[2])]).lines.join("\n");
    let line =
        "if a dies, b takes 10.0.0.10 too, at most 3.5 s later; b and c hold it then; if it is stopped, 0.53 s later.";
    assert!(told.contains(line), "{told}");
    assert!(!told.contains("until they hear each other again"), "{told}");
}

/// What does not move is said where it is said what moves, and servers are called by their names.
#[test]
fn what_two_files_do_not_have_in_common_shows_in_the_outlook() {
    let told = story(&server(150, "virtual_ipaddress {\n 10.0.0.10/24\n 10.0.0.11/24\n }"), &server(100, ""));
    assert!(
        told.contains("secondary takes over at most 3.6 s later, without 10.0.0.11, which nobody holds then"),
        "{told}"
    );
    let told = story(&server(150, "version 3"), &server(100, "version 2"));
    assert!(told.contains("primary refuses the adverts of secondary: it speaks another VRRP version"), "{told}");
    assert!(
        told.contains("if primary is cut off while its links stay up, nothing moves: several servers hold it already")
    );
    let told = story(&server(150, "virtual_router_id 51"), &server(100, "virtual_router_id 52"));
    assert!(told.contains("their VRIDs differ (51 on primary, 52 on secondary)"), "{told}");
}

#[test]
fn the_outlook_says_what_the_engine_does() {
    // Three adverts of 1 s and a skew of (256 - 100)/256 s.
    let text = story(&server(150, "track_script {\n chk\n }"), &server(100, ""));
    for part in [
        "primary holds 10.0.0.10 (priority 150 against 100 of secondary).",
        "if primary dies, secondary takes over at most 3.6 s later; if it is stopped, 0.61 s later.",
        "if eth0 goes down on primary, secondary takes over",
        "secondary takes 10.0.0.10 too, at most 3.6 s later; two servers hold it until they hear each other again",
        "if chk fails on primary, secondary takes over",
        "when primary comes back, it takes 10.0.0.10 back 3.4 s later.",
        "whatever else fails on secondary, nothing moves",
    ] {
        assert!(text.contains(part), "{part}\nnot in\n{text}");
    }
    let weak = story(&server(150, "track_script {\n chk weight -60\n }"), &server(100, ""));
    assert!(weak.contains("if chk fails on primary, secondary takes over"), "{weak}");
    let idle = story(&server(150, "track_script {\n chk weight -10\n }"), &server(100, ""));
    assert!(
        idle.contains("if chk fails on primary, nothing moves: primary still has priority 140, secondary 100."),
        "{idle}"
    );
    let stays = story(&server(150, "nopreempt"), &server(100, ""));
    assert!(stays.contains("when primary comes back, secondary keeps 10.0.0.10 (nopreempt)"), "{stays}");
    let split = story(&server(150, "version 3"), &server(100, "version 2"));
    assert!(split.contains("both hold 10.0.0.10: ") && split.contains("another VRRP version"), "{split}");
    let pass = |word: &str| format!("authentication {{\n auth_type PASS\n auth_pass {word}\n }}");
    let refused = story(&server(150, &pass("a")), &server(100, &pass("b")));
    assert!(refused.contains("both hold 10.0.0.10: ") && refused.contains("password or key is not ours"), "{refused}");
    let other = story(&server(150, "virtual_router_id 51"), &server(100, "virtual_router_id 52"));
    assert!(other.contains("both hold 10.0.0.10: their VRIDs differ"), "{other}");
    let quick = story(&server(150, "version 3\n advert_int 0.1"), &server(100, "version 3\n advert_int 0.1"));
    assert!(quick.contains("takes over at most 0.36 s later; if it is stopped, 0.061 s later"), "{quick}");
}

/// The ends of BFD sessions: `(inside a's session, inside b's, what is found)`.
#[test]
fn bfd_sessions_meet() {
    let side = |own: &str, other: &str, inside: &str, tracked: &str| {
        let session = format!(
            "bfd_instance P {{\n source_ip {own}\n neighbor_ip {other}\n min_rx 50\n min_tx 50\n {inside}\n}}\n"
        );
        let priority = if own.ends_with('1') { 150 } else { 100 };
        session + &server(priority, tracked)
    };
    let of =
        |one: &str, two: &str| found(&side("10.0.0.1", "10.0.0.2", one, ""), &side("10.0.0.2", "10.0.0.1", two, ""));
    assert_eq!(of("", ""), [] as [&str; 0]);
    assert_eq!(of("passive", ""), [] as [&str; 0]);
    assert_eq!(of("passive", "passive"), ["bfd-both-passive"]);
    assert_eq!(of("multihop", ""), ["bfd-multihop"]);
    assert_eq!(of("ttl 64", ""), ["bfd-ttl"]);
    assert_eq!(of("ttl 64", "max_hops -1"), [] as [&str; 0]);
    assert_eq!(
        of("min_rx 10\n min_tx 10\n multiplier 3", "min_rx 10\n min_tx 10\n multiplier 3"),
        ["bfd-hasty", "bfd-hasty"]
    );
    let astray = found(&side("10.0.0.1", "10.0.0.3", "", ""), &side("10.0.0.2", "10.0.0.1", "", ""));
    assert_eq!(astray, ["bfd-addresses"]);
    let track = |weight: &str| {
        let tracked = format!("track_bfd {{\n P {weight}\n }}");
        found(&side("10.0.0.1", "10.0.0.2", "", &tracked), &side("10.0.0.2", "10.0.0.1", "", &tracked))
    };
    assert_eq!(track(""), ["bfd-neither-alone"]);
    assert!(!track("weight -60").contains(&"bfd-neither-alone"));
}

/// The way to a gateway dies: the session's detection time and then the skew of who takes over, played with engines.
#[test]
fn the_outlook_plays_paths_of_sessions() {
    let side = |own: &str, priority: u8, tracked: &str| {
        let session = format!(
            "bfd_instance gw {{\n source_ip {own}\n neighbor_ip 10.0.0.254\n min_rx 10\n min_tx 10\n multiplier 5\n}}\n"
        );
        session + &server(priority, &format!("version 3\n track_bfd {{\n gw {tracked}\n }}"))
    };
    let text = story(&side("10.0.0.1", 254, ""), &side("10.0.0.2", 253, ""));
    let path = text.lines().find(|line| line.starts_with("if the path of BFD session gw dies on primary")).unwrap();
    // At most 50 ms of silence less one interval, and a skew of 3/256 s, against three adverts that do not come.
    let took: f64 = path.split("takes over ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap();
    assert!((0.050..0.064).contains(&took), "{path}");
    assert!(path.ends_with("; without BFD nothing moves."), "{path}");
    // Whoever is cut off sees its gateway gone as well, and gives up: nobody holds the addresses twice.
    let cut = text.lines().find(|line| line.starts_with("if primary is cut off")).unwrap();
    assert!(cut.contains("secondary takes over at most 3.0 s later") && !cut.contains("two servers"), "{text}");
    let weighed = story(&side("10.0.0.1", 150, "weight -10"), &side("10.0.0.2", 100, ""));
    assert!(
        weighed.contains("the path of BFD session gw dies on primary, nothing moves: primary still has"),
        "{weighed}"
    );
}

/// A return waits for the delay and then for the down timer.
#[test]
fn a_preempt_delay_is_waited_for() {
    let text = story(&server(150, "preempt_delay 30"), &server(100, ""));
    let back =
        |seconds: &u32| text.contains(&format!("when primary comes back, it takes 10.0.0.10 back {seconds} s later."));
    // The delay runs from the first advert that it hears, which comes within a second; then the down timer has to end.
    assert!((33..=35).any(|seconds| back(&seconds)), "{text}");
}

/// The weight of one member lowers one member, and its group moves as a whole or not at all.
#[test]
fn a_weight_inside_a_group_moves_nothing_and_is_warned_of() {
    let server = |priority: u8| {
        let instance = |n: u8, track: &str| {
            format!(
                "vrrp_instance V{n} {{\n interface eth{n}\n virtual_router_id {n}\n priority {priority}\n \
                 virtual_ipaddress {{\n 10.0.{n}.10/24\n }}\n {track}\n}}\n"
            )
        };
        let group = "vrrp_sync_group G {\n group {\n V1\n V2\n }\n sync_group_tracking_weight\n}\n";
        format!("{SCRIPTS}{}{}{group}", instance(1, "track_script {\n chk weight -60\n }"), instance(2, ""))
    };
    let outlook = play(&[("a", &server(150)), ("b", &server(100))]);
    let text = outlook.lines.join("\n");
    let why = "if chk fails on a, nothing moves: the sync group moves as a whole, and on b it is held back by V2";
    assert!(text.contains(why), "{text}");
    let rules: Vec<_> = outlook.findings.iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, ["weight-idle"], "{text}");
}

/// The cure of a weight that is too small is no other weight where the backup leaves any master alone.
#[test]
fn a_cure_is_not_the_next_mistake() {
    let server = |priority| server(priority, "state BACKUP\n nopreempt\n track_script {\n chk weight 2\n }");
    let outlook = play(&[("a", &server(100)), ("b", &server(90))]);
    let helps: Vec<_> = outlook.findings.iter().map(|finding| finding.help.as_deref().unwrap_or_default()).collect();
    let cure = "use weight 0 (a fault) on a, or drop nopreempt on b and use a weight of more than 10 on all servers";
    assert_eq!(helps, [cure]);
}

#[test]
fn three_servers_stand_in_line() {
    let text = play(&[("a", &server(150, "")), ("b", &server(100, "")), ("c", &server(90, ""))]).lines.join("\n");
    assert!(text.contains("a holds 10.0.0.10 (priority 150 against 100 of b and 90 of c)."), "{text}");
    assert!(text.contains("if a dies, b takes over at most 3.6 s later; if it is stopped, 0.61 s later."), "{text}");
    assert!(text.contains("whatever else fails on c, nothing moves"), "{text}");
}

/// A director with one virtual server of two real servers; `more` stands inside it.
fn director(priority: u8, global: &str, more: &str) -> String {
    let checks = |address: &str| {
        format!(
            " real_server {address} 8080 {{\n weight 1\n TCP_CHECK {{\n connect_timeout 5\n retry 1\n delay_before_retry 1\n }}\n \
             }}\n"
        )
    };
    format!(
        "global_defs {{\n {global}\n}}\nvrrp_instance VI {{\n interface eth0\n virtual_router_id 51\n priority {priority}\n \
         virtual_ipaddress {{\n 10.0.0.10/24\n }}\n}}\nvirtual_server 10.0.0.10 80 {{\n delay_loop 60\n lb_algo rr\n lb_kind \
         NAT\n protocol TCP\n{more}{}{}}}\n",
        checks("10.1.0.2"),
        checks("10.1.0.3")
    )
}

/// What one director's file shows by itself: the rule, and that there is a cure.
fn shown(text: &str) -> Vec<&'static str> {
    let findings = vipd::config::pair::of_one("d.conf", &spec(text));
    assert!(findings.iter().all(|finding| finding.help.is_some()), "{findings:?}");
    findings.into_iter().map(|finding| finding.rule).collect()
}

#[test]
fn a_director_by_itself() {
    let good = director(100, "", "");
    assert_eq!(shown(&good), [""; 0]);
    assert_eq!(shown(&good.replace("10.0.0.10 80", "10.0.0.11 80")), ["address-unheld"]);
    // An address that is held without being advertised is held, and without VRRP somebody else keeps it.
    let excluded = "virtual_ipaddress_excluded {\n 10.0.0.11/24\n }\n virtual_ipaddress {";
    let held = good.replace("10.0.0.10 80", "10.0.0.11 80").replace("virtual_ipaddress {", excluded);
    assert_eq!(shown(&held), [""; 0]);
    let alone = good.split_at(good.find("virtual_server").unwrap()).1;
    assert_eq!(shown(&format!("global_defs {{\n}}\n{alone}")), [""; 0]);
    let group = |entries: &str| {
        let group = format!("virtual_server_group G {{\n {entries}\n}}\n");
        group + &good.replace("virtual_server 10.0.0.10 80", "virtual_server group G")
    };
    assert_eq!(shown(&group("10.0.0.10 80")), [""; 0]);
    assert_eq!(shown(&group("10.0.0.9-10 80")), ["address-unheld"]);

    assert_eq!(shown(&director(100, "", "quorum 2\n hysteresis 1\n")), ["quorum-unreachable"]);
    assert_eq!(shown(&director(100, "", "quorum 2\n")), ["quorum-needs-all"]);
    assert_eq!(shown(&director(100, "", "sorry_server 10.1.0.9 80\n")), ["sorry-unchecked"]);
    assert_eq!(shown(&director(100, "", "sorry_server 10.1.0.2 8080\n")), [""; 0]);
}

#[test]
fn two_directors_balance_alike() {
    let good = director(100, "", "");
    let other = |change: &dyn Fn(String) -> String| found(&good, &change(director(90, "", "")));
    assert_eq!(other(&|text| text), [""; 0]);
    assert_eq!(other(&|text| text.replace("10.1.0.3 8080", "10.1.0.4 8080")), ["real-servers-differ"]);
    assert_eq!(other(&|text| text.replace("10.0.0.10 80", "10.0.0.10 81")), ["service-missing", "service-missing"]);
    for (from, to) in [
        ("lb_algo rr", "lb_algo wrr"),
        ("weight 1", "weight 3"),
        ("retry 1", "retry 2"),
        ("lb_kind NAT", "lb_kind NAT\n sorry_server 10.1.0.2 8080"),
        ("lb_kind NAT", "lb_kind NAT\n persistence_timeout 50"),
    ] {
        assert_eq!(other(&|text| text.replace(from, to)), ["service-differs"], "{to}");
    }
    // Where a check speaks from is each director's own.
    assert_eq!(other(&|text| text.replace("retry 1", "retry 1\n bindto 10.1.0.12")), [""; 0]);
    let synchronised = |id: &str| format!("lvs_sync_daemon eth0 VI id {id}");
    let pair = |one: &str, two: &str| found(&director(100, one, ""), &director(90, two, ""));
    assert_eq!(pair(&synchronised("5"), &synchronised("5")), [""; 0]);
    assert_eq!(pair(&synchronised("5"), &synchronised("6")), ["sync-differs"]);
    assert_eq!(pair(&synchronised("5"), ""), ["sync-differs"]);
}

/// keepalived's rule for a check by TCP, added up by hand: the pause, then attempts of connect_timeout with
/// delay_before_retry between them.
#[test]
fn how_long_a_dead_real_server_gets_connections() {
    let lines = |text: &str| vipd::sim::outlook::servers::deaths(&spec(text).balance);
    let usual = director(100, "", "");
    for (delay, timeout, retry, pause, all) in [(60, 5, 1, 1, 71), (1, 2, 0, 1, 3), (10, 5, 3, 2, 36), (6, 3, 2, 3, 21)]
    {
        let text = usual
            .replace("delay_loop 60", &format!("delay_loop {delay}"))
            .replace("connect_timeout 5", &format!("connect_timeout {timeout}"))
            .replace("delay_before_retry 1", &format!("delay_before_retry {pause}"))
            .replace("retry 1", &format!("retry {retry}"));
        let said = lines(&text).concat();
        assert!(said.contains(&format!("for up to {all} s: TCP_CHECK with delay_loop {delay}, ")), "{said}");
        assert!(said.ends_with("(virtual_server 10.0.0.10:80: all 2 servers)."), "{said}");
    }
    // The quicker of two checks takes it out; one that takes silence for good never does.
    let both =
        usual.replace("TCP_CHECK {", "PING_CHECK {\n delay_loop 2\n connect_timeout 1\n retry 0\n }\n TCP_CHECK {");
    assert!(lines(&both).concat().contains("for up to 3 s: PING_CHECK with delay_loop 2, connect_timeout 1, retry 0 "));
    let silent = usual.replace("TCP_CHECK {", "UDP_CHECK {").replace("protocol TCP", "protocol UDP");
    assert!(lines(&silent).concat().contains("for ever: silence is good for its UDP_CHECK"), "{:?}", lines(&silent));
    let none = usual.replace("TCP_CHECK {\n connect_timeout 5\n retry 1\n delay_before_retry 1\n }", "");
    assert!(lines(&none).concat().contains("for ever: it has no check"), "{:?}", lines(&none));
}

/// The third server is heard by one of the two masters, and refuses what the other one says as well: it is none of the two.
#[test]
fn of_three_servers_the_two_that_disagree_are_named() {
    let keyed = |priority: u8, key: &str| {
        server(priority, &format!("version 3\n auth_hmac {{\n key 1 {}\n active_key 1\n }}", key.repeat(32)))
    };
    let (a, b, c) = (keyed(100, "a"), keyed(140, "a"), keyed(100, "b"));
    let said = play(&[("a", &a), ("b", &b), ("c", &c)]).lines.join("\n");
    assert!(
        said.contains("b and c both hold 10.0.0.10: b refuses the adverts of c: its signature is wrong."),
        "{said}"
    );
}
