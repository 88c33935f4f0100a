//! What trackers count where a sync group has a say, as it stands in the Spec.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use vipd::config::Env;
use vipd::config::load;
use vipd::config::system::TableSystem;
use vipd::config::text::expand::TextEnv;
use vipd::config::text::source::MapLoader;
use vipd::lab::expect::{Damage, priority};
use vipd::lab::plan::{Plan, Server};
use vipd::observe::{dump, json};
use vipd::spec::{Spec, TieTarget};
use vipd::time::Time;
use vipd::vrrp::Engine;

fn read(text: &str) -> (Spec, u8, Vec<String>) {
    let system = TableSystem::anywhere();
    let env = Env { text: TextEnv::default(), system: &system };
    let (spec, diagnostics) = load("/k.conf", &env, &MapLoader::default().with("/k.conf", text));
    let said = diagnostics.list.iter().map(|d| d.message.clone()).collect();
    (spec.unwrap(), diagnostics.exit_code(), said)
}

fn instance(name: &str, place: usize, inside: &str) -> String {
    let (interface, vrid) = (place / 255, place % 255 + 1);
    format!(
        "vrrp_instance {name} {{\n interface eth{interface}\n virtual_router_id {vrid}\n virtual_ipaddress {{\n \
         10.{interface}.0.{vrid}\n }}\n {inside}\n}}\n"
    )
}

/// keepalived says that the weight is reset to 0, and goes on with it.
#[test]
fn an_interface_that_a_group_member_tracks_has_no_weight() {
    let track = "track_interface {\n eth1 weight -20\n }";
    for (weighted, code, wanted) in [("", 5, 0), ("sync_group_tracking_weight", 0, -20)] {
        let group = format!("vrrp_sync_group G {{\n group {{\n A\n B\n }}\n {weighted}\n}}\n");
        let (spec, found, said) = read(&(group + &instance("A", 0, track) + &instance("B", 1, "")));
        assert_eq!((found, spec.instances[0].ties[0].weight), (code, wanted), "{said:?}");
    }
}

/// `reverse` turns the sign of what is added, and weight 0 the other way round: as the engine has it, not as if the check said the
/// opposite.
#[test]
fn a_rehearsal_expects_what_the_rule_of_the_trackers_says() {
    for (tie, good, bad) in [
        ("weight 20", Some(120), Some(100)),
        ("weight 20 reverse", Some(80), Some(100)),
        ("weight -30 reverse", Some(100), Some(130)),
        ("weight 0", Some(100), None),
        ("weight 0 reverse", None, Some(100)),
    ] {
        let check = "vrrp_script chk {\n script \"/bin/true\"\n}\n".to_owned();
        let (spec, ..) = read(&(check + &instance("A", 0, &format!("track_script {{\n chk {tie}\n }}"))));
        let plan = Plan::new(vec![Server { name: "a".into(), config: "/k.conf".into(), spec }]).unwrap();
        let failing = Damage { failing: BTreeSet::from([(0, 0)]), ..Damage::default() };
        assert_eq!([Damage::default(), failing].map(|damage| priority(&plan, &damage, 0)), [good, bad], "{tie}");
    }
}

#[test]
fn a_group_with_more_than_a_million_ties_tracks_nothing() {
    for (members, trackers, tracked) in [(1000, 1000, true), (1000, 1001, false)] {
        let mut text = String::new();
        let (mut group, mut files) = (String::new(), String::new());
        for n in 0..trackers {
            write!(text, "track_file f{n} {{\n file /run/f{n}\n}}\n").unwrap();
            writeln!(files, "f{n}").unwrap();
        }
        for n in 0..members {
            text += &instance(&format!("V{n}"), n, "");
            writeln!(group, "V{n}").unwrap();
        }
        write!(text, "vrrp_sync_group G {{\n group {{\n{group} }}\n track_file {{\n{files} }}\n}}\n").unwrap();
        let (spec, code, said) = read(&text);
        let ties: usize = spec.instances.iter().map(|instance| instance.ties.len()).sum();
        assert_eq!((code, ties), if tracked { (0, members * trackers) } else { (5, 0) }, "{said:?}");
        assert_eq!((spec.groups[0].ties.len(), said.len()), if tracked { (trackers, 0) } else { (0, 1) }, "{said:?}");
    }
}

/// Interfaces of addresses, routes and rules are needed, and not tracked as far as any dump tells.
#[test]
fn only_what_was_configured_to_be_tracked_is_shown() {
    let lines = "virtual_ipaddress_excluded {\n 10.8.0.100/24 dev eth2\n }\n virtual_routes {\n 10.99.0.0/24 via 10.0.0.9 dev eth3\n }\n \
                 virtual_rules {\n from 10.0.0.0/8 iif eth4 table 100 preference 9\n }\n track_interface {\n eth5 weight 5\n eth2 weight 7\n }";
    let (spec, code, said) = read(&instance("V", 0, lines));
    assert_eq!(code, 0, "{said:?}");
    let ties = &spec.instances[0].ties;
    let implied = |name: &str| {
        ties.iter()
            .find(|t| matches!(&t.on, TieTarget::Interface(i) if i.as_str() == name))
            .map(|t| (t.asked, t.weight))
    };
    assert_eq!(
        ["eth2", "eth3", "eth4", "eth5"].map(implied),
        [Some((Some(7), 0)), Some((None, 0)), Some((None, 0)), Some((Some(5), 5))]
    );
    let engine = Engine::new(Arc::new(spec.clone()), Vec::new(), Time::ZERO);
    let snapshot = engine.snapshot(Time::ZERO);
    let json = json::dump(&spec, &snapshot);
    assert!(json.contains(r#""track_ifp":["eth5","eth2"]"#), "{json}");
    let data = dump::data(&spec, &snapshot);
    let tracked = data.split("Tracked interfaces :\n").nth(1).unwrap();
    assert_eq!(
        tracked.lines().take(2).map(str::trim).collect::<Vec<_>>(),
        ["eth5 weight 5", "eth2 weight 7"],
        "{data}"
    );
    assert!(!tracked.lines().nth(2).unwrap().starts_with("     "), "{data}");
}

/// What fixtures are made of is what the language gives for a block that says the least.
#[test]
fn a_plain_instance_is_what_a_block_without_more_gives() {
    let (spec, code, said) =
        read("vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 1\n no_virtual_ipaddress\n}\n");
    assert_eq!(code, 0, "{said:?}");
    assert_eq!(spec.instances, [vipd::spec::InstanceSpec::plain()]);
}

/// Several next hops are there so that one may fail: a fault would take the address away from the others, and keepalived
/// 2.2.7 stays MASTER.
#[test]
fn the_interface_of_a_next_hop_is_not_watched() {
    let hops = "10.99.0.0/24 nexthop via 10.7.0.9 dev eth2 weight 1 nexthop via 10.8.0.9 dev eth3 weight 1";
    let one = "10.98.0.0/24 via 10.6.0.9 dev eth1";
    let (spec, _, said) = read(&instance("A", 0, &format!("virtual_routes {{\n {hops}\n {one}\n }}")));
    let names: Vec<&str> = spec.instances[0].needed_interfaces().into_iter().map(vipd::spec::IfName::as_str).collect();
    assert_eq!(names, ["eth1"], "{said:?}");
    assert_eq!(spec.instances[0].claim.routes[0].nexthops.len(), 2, "{said:?}");
}

/// As with keepalived 2.2.7: without the number written out, both take over an interval after the start.
#[test]
fn a_group_of_owners_starts_as_master_only_where_both_words_are_written() {
    let group = "vrrp_sync_group G {\n group {\n A\n B\n }\n}\n";
    let written = "state MASTER\n priority 255";
    for (second, at_once) in [(written, true), ("state MASTER", false), ("priority 255", false)] {
        let (spec, code, said) = read(&(group.to_owned() + &instance("A", 0, written) + &instance("B", 1, second)));
        assert_eq!((spec.groups[0].starts_as_master, code), (at_once, 0), "{second}: {said:?}");
        assert!(spec.instances.iter().all(|own| own.priority.0 == 255 && own.wants_master), "{second}");
    }
}
