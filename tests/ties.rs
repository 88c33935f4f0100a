//! What trackers count where a sync group has a say, as it stands in the Spec.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use vipd::config::Env;
use vipd::config::load;
use vipd::config::system::TableSystem;
use vipd::config::text::expand::TextEnv;
use vipd::config::text::source::MapLoader;
use vipd::spec::Spec;

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
