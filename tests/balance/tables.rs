//! Pure tables: quorum, weights, what the kernel's table holds for a configuration.

use crate::harness::*;
use vipd::balance::io::{Beginning, Input, ServiceKey};
use vipd::balance::quorum::judge;
use vipd::balance::server::{clamped, file_part, misc_part, weight};
use vipd::config::system::TableSystem;
use vipd::config::text::expand::TextEnv;
use vipd::config::text::source::MapLoader;
use vipd::config::{Env, load_all};
use vipd::wire::Family;

#[test]
fn quorum_is_gained_and_lost_by_the_table() {
    // (weight, quorum, hysteresis, had) → has
    for (alive, quorum, hysteresis, had, has) in [
        (0, 1, 0, false, false),
        (1, 1, 0, false, true),
        (1, 1, 0, true, true),
        (0, 1, 0, true, false),
        (2, 2, 1, false, false),
        (3, 2, 1, false, true),
        (2, 2, 1, true, true),
        (1, 2, 1, true, true),
        (0, 2, 1, true, false),
        (5, 7, 2, true, true),
        (4, 7, 2, true, false),
        (8, 7, 2, false, false),
        (9, 7, 2, false, true),
        // All weights 0: keepalived can never gain it, and neither do servers that get no connection.
        (0, 0, 0, false, false),
        (0, 0, 0, true, false),
        (3, 0, 0, false, true),
        (u64::MAX, u32::MAX, u32::MAX, false, true),
    ] {
        assert_eq!(judge(alive, quorum, hysteresis, had), has, "{alive} {quorum} {hysteresis} {had}");
    }
}

#[test]
fn weights_are_sums() {
    assert_eq!(weight(10, [misc_part(5, 10), 4].into_iter()), 7);
    assert_eq!((misc_part(0, 10), misc_part(1, 10), misc_part(2, 10), misc_part(255, 10)), (0, 0, -10, 243));
    assert_eq!((clamped(-5), clamped(7), clamped(i64::from(u32::MAX))), (0, 7, 2_147_483_647));
    for (value, weight, reverse, part) in [
        (5, 2, false, Some(10)),
        (5, 3, true, Some(-15)),
        (0, 0, false, Some(0)),
        (1, 0, false, None),
        (0, 0, true, None),
        (-7, 0, true, Some(0)),
        // keepalived's fault of a weighted file: the least number there is.
        (i64::from(i32::MIN), 1, false, None),
        (i64::MAX, 2, false, Some(i64::from(i32::MAX))),
        (i64::MAX, 2, true, None),
    ] {
        assert_eq!(file_part(value, weight, reverse), part, "{value} {weight} {reverse}");
    }
}

/// Each destination as the kernel has it, of every service.
fn table(text: &str) -> Vec<(String, String)> {
    let bench = Bench::new(text);
    bench.table.iter().map(|(key, picture)| (key.to_string(), shown(picture))).collect()
}

#[test]
fn only_nat_keeps_another_port() {
    let rows = |target: &str, kind: &str, port: &str| {
        let protocol = if target.contains("fwmark") { "" } else { "protocol TCP\n" };
        let group = "virtual_server_group G {\n 10.0.0.1 90\n fwmark 9\n }\n";
        let text = format!(
            "{group}virtual_server {target} {{\n lb_algo rr\n lb_kind {kind}\n {protocol} real_server 10.1.0.2 {port} {{\n }}\n }}\n"
        );
        table(&text).into_iter().map(|(_, held)| held).collect::<Vec<_>>()
    };
    for (target, kind, port, held) in [
        ("10.0.0.1 80", "NAT", "8080", vec!["2:8080=1"]),
        ("10.0.0.1 80", "NAT", "", vec!["2:80=1"]),
        ("10.0.0.1 80", "DR", "8080", vec!["2:80=1"]),
        ("10.0.0.1 80", "TUN", "8080", vec!["2:80=1"]),
        ("fwmark 7", "NAT", "8080", vec!["2:8080=1"]),
        ("fwmark 7", "NAT", "", vec!["2:0=1"]),
        ("fwmark 8", "DR", "80", vec!["2:0=1"]),
        ("group G", "NAT", "8080", vec!["2:8080=1", "2:8080=1"]),
        ("group G", "DR", "8080", vec!["2:90=1", "2:0=1"]),
    ] {
        assert_eq!(rows(target, kind, port), held, "{target} {kind} {port}");
    }
}

fn group(entries: &str, global: &str) -> String {
    format!(
        "global_defs {{\n {global}\n }}\nvirtual_server_group G {{\n {entries}\n }}\nvirtual_server group G {{\n lb_algo rr\n lb_kind NAT\n protocol TCP\n {}\n}}\n",
        server(2, "")
    )
}

#[test]
fn groups_are_spread_out() {
    let keys = |entries: &str| table(&group(entries, "")).into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(keys("10.0.0.1-3 80"), ["[10.0.0.1]:tcp:80", "[10.0.0.2]:tcp:80", "[10.0.0.3]:tcp:80"]);
    assert_eq!(keys("10.0.0.1 80\n 10.0.0.1 80\n fwmark 5"), ["[10.0.0.1]:tcp:80", "FWM 5"]);
    let ipv6 = "virtual_server_group G {\n 2001:db8::1:fffe-2001:db8::2:1 80\n }\nvirtual_server group G {\n lb_algo rr\n lb_kind NAT\n protocol TCP\n real_server 2001:db8:1::2 80 {\n }\n }\n";
    // Over the border of 16 bits; keepalived wraps round there.
    let expected = ["1:fffe", "1:ffff", "2:0", "2:1"].map(|end| format!("[2001:db8::{end}]:tcp:80"));
    assert_eq!(table(ipv6).into_iter().map(|(key, _)| key).collect::<Vec<_>>(), expected);
}

#[test]
fn a_group_without_end_is_cut() {
    let mut bench = Bench::new(&group("10.0.0.0/8 80", ""));
    assert_eq!(bench.table.len(), vipd::balance::service::GROUP_MAX);
    assert!(bench.said()[0].starts_with("virtual_server_group G has more than 65536 addresses"));
}

#[test]
fn a_group_under_nftables_is_one_mark_that_stays() {
    let text = |entries: &str, first: &str| {
        let udp =
            "virtual_server group G {\n lb_algo rr\n lb_kind DR\n protocol UDP\n real_server 10.1.0.2 8080 {\n }\n }\n";
        format!("{}{}", group(entries, &format!("nftables_ipvs\n {first}")), udp)
    };
    let mut bench = Bench::new(&text("10.0.0.1-3 90\n 10.0.0.9 91", ""));
    let marks = |bench: &Bench| bench.table.keys().copied().collect::<Vec<_>>();
    let mark = |mark| ServiceKey::Mark { family: Family::V4, mark };
    assert_eq!(marks(&bench), [mark(1000), mark(1001)]);
    assert_eq!(bench.table.values().map(|picture| shown(picture)).collect::<Vec<_>>(), ["2:8080=1", "2:0=1"]);
    assert_eq!(bench.done(), ["4 marks", "serve FWM 1000", "serve FWM 1001"]);
    bench.reload(&text("10.0.0.1-3 90\n 10.0.0.9 91\n 10.0.0.11 91", ""));
    assert_eq!(bench.done(), ["6 marks"]);
    bench.reload(&text("10.0.0.1-3 90", "nftables_ipvs_start_fwmark 5"));
    assert_eq!((bench.done(), marks(&bench)), (vec!["2 marks".to_owned()], vec![mark(1000), mark(1001)]));
    bench.tell(Input::Command(vipd::balance::io::Command::Stop { keep: false }));
    assert_eq!(bench.done(), ["0 marks", "withdraw FWM 1000", "withdraw FWM 1001"]);
}

#[test]
fn two_services_of_one_group_share_the_kernel_s_service() {
    let two = |port: u16| {
        format!("virtual_server group G {{\n lb_algo rr\n lb_kind NAT\n real_server 10.1.0.2 {port} {{\n }}\n }}\n")
    };
    let text = format!("virtual_server_group G {{\n fwmark 11\n }}\n{}{}", two(8080), two(8081));
    let mut bench = Bench::new(&text);
    assert_eq!(bench.held(), "2:8080=1 2:8081=1");
    // One of them goes: the other's servers stay, and the service too.
    bench.done();
    bench.reload(&format!("virtual_server_group G {{\n fwmark 11\n }}\n{}", two(8080)));
    assert_eq!((bench.done(), bench.held()), (vec!["serve FWM 11".to_owned()], "2:8080=1".to_owned()));
}

#[test]
fn what_two_services_of_a_group_have_is_there_once_with_the_larger_weight() {
    let one = |weight: u32, most: u32| {
        let server = format!("real_server 10.1.0.2 8080 {{\n weight {weight}\n uthreshold {most}\n }}\n");
        format!("virtual_server group G {{\n lb_algo rr\n lb_kind NAT\n {server}}}\n")
    };
    for (first, second, weight, most) in
        [((3, 10), (7, 20), 7, 20), ((7, 10), (3, 20), 7, 10), ((5, 10), (5, 20), 5, 10)]
    {
        let both = format!("{}{}", one(first.0, first.1), one(second.0, second.1));
        let bench = Bench::new(&format!("virtual_server_group G {{\n fwmark 11\n }}\n{both}"));
        let held: Vec<_> = bench.table.values().flat_map(|picture| picture.destinations.values()).collect();
        assert_eq!(held.iter().map(|held| (held.weight, held.upper_threshold)).collect::<Vec<_>>(), [(weight, most)]);
    }
}

#[test]
fn a_sorry_server_that_is_a_real_server_shares_its_entry() {
    let text = service(&format!("sorry_server 10.1.0.2 8080\n {}{}", server(2, ""), server(3, TCP)));
    let mut bench = Bench::new(&text.replace("rr", "rr\n quorum 2"));
    assert_eq!(bench.held(), "2:8080=1 3:8080=1");
    bench.bad.insert(3, vipd::balance::io::Symptom::Refused);
    bench.run(1_000);
    assert_eq!(bench.held(), "2:8080=1");
}

#[test]
fn a_sorry_server_that_is_a_failed_real_server_serves() {
    // keepalived adds what is there with weight 0, is refused, and nobody serves.
    let inhibiting = server(2, &format!("inhibit_on_failure\n alpha\n {TCP}"));
    let text = service(&format!("sorry_server 10.1.0.2 8080\n sorry_server_inhibit\n {inhibiting}"));
    let mut bench = Bench::with(&text, |bench| {
        bench.bad.insert(2, vipd::balance::io::Symptom::Refused);
    });
    bench.run(10_000);
    assert_eq!(bench.held(), "2:8080=1");
}

#[test]
fn the_sync_daemon_follows_its_instance() {
    let instance = |inside: &str| {
        format!(
            "vrrp_instance VI {{\n interface eth0\n virtual_router_id 51\n {inside}\n virtual_ipaddress {{\n 10.0.0.1\n }}\n }}\n"
        )
    };
    let text = |line: &str| {
        format!("global_defs {{\n lvs_sync_daemon {line}\n }}\n{}{}", instance(""), service(&server(2, "")))
    };
    let mut bench = Bench::new(&text("eth0 id 5"));
    assert_eq!(bench.done()[0], "sync master true backup true");
    bench.reload(&text("eth0 id 5\n lvs_flush"));
    assert_eq!(bench.done(), [""; 0], "what is the same runs on");
    let world = Beginning { masters: ["VI".into()].into(), ..Beginning::default() };
    let mut bench = Bench::of(spec(&text("eth0 inst VI")), world, |_| {});
    assert_eq!(bench.done()[0], "sync master true backup false");
    bench.tell(Input::Role { instance: "VI".into(), master: false });
    bench.tell(Input::Role { instance: "other".into(), master: true });
    assert_eq!(bench.done(), ["sync master false backup true"]);
    bench.tell(Input::Command(vipd::balance::io::Command::Stop { keep: false }));
    assert_eq!(bench.done().last().unwrap(), "no sync");
    // The old spelling, in the instance that it follows: 2.2.7 runs `mcast=eth1, syncid=0` with VRID 51 (`ipvsadm -l --daemon`).
    let old = format!("{}{}", instance("lvs_sync_daemon_interface eth1"), service(&server(2, "")));
    let daemon = spec(&old).settings.sync_daemon.clone().unwrap();
    assert_eq!((daemon.interface.as_str(), daemon.instance.as_deref(), daemon.id), ("eth1", Some("VI"), Some(0)));
    let both = format!("global_defs {{\n lvs_sync_daemon eth0 id 7\n }}\n{old}");
    let daemon = spec(&both).settings.sync_daemon.clone().unwrap();
    assert_eq!((daemon.interface.as_str(), daemon.instance, daemon.id), ("eth0", None, Some(7)));
    // Over a reload that gives the instance another name nothing changes: who is master is told after it, and is no news.
    let renamed = text("eth0 inst VI").replace("vrrp_instance VI ", "vrrp_instance VJ ").replace("inst VI", "inst VJ");
    let mut bench = Bench::of(
        spec(&text("eth0 inst VI")),
        Beginning { masters: ["VI".into()].into(), ..Beginning::default() },
        |_| {},
    );
    bench.done();
    bench.reload(&renamed);
    assert_eq!(bench.done(), ["sync master true backup false"]);
    bench.tell(Input::Roles(vec![("VJ".into(), true)]));
    assert_eq!(bench.done(), [""; 0]);
    bench.tell(Input::Roles(vec![("VJ".into(), false)]));
    assert_eq!(bench.done(), ["sync master false backup true"]);
    bench.reload(&renamed.replace("lvs_sync_daemon eth0 inst VJ", ""));
    assert_eq!(bench.done(), ["no sync"]);
    // An instance that is not there is followed by nobody.
    assert_eq!(spec(&text("eth0 inst other")).settings.sync_daemon, None);
}

#[test]
fn a_server_whose_check_is_left_out_is_in() {
    // keepalived keeps an alpha server out whose program is not there, 2.2.7 until a reload.
    let system = TableSystem { assume_scripts: false, ..TableSystem::anywhere() };
    let env = Env { text: TextEnv::default(), system: &system };
    let text = service(&server(2, "alpha\n MISC_CHECK {\n misc_path /none/check\n }"));
    let loaded = load_all("/k.conf", &env, &MapLoader::default().with("/k.conf", text));
    assert!(loaded.lvs.services[0].servers[0].checkers.is_empty(), "{:?}", loaded.diagnostics.list);
    let bench = Bench::of(loaded.lvs, Beginning::default(), |_| {});
    assert_eq!(bench.held(), "2:8080=1");
}

#[test]
fn settings_of_the_kernel_are_set_and_put_back() {
    let text = |global: &str| format!("global_defs {{\n {global}\n }}\n{}", service(&server(2, "")));
    let mut bench = Bench::new(&text("lvs_flush\n lvs_timeouts tcp 7200"));
    assert_eq!(bench.done(), ["flush", "timeouts Some(Some(7200))", "serve [10.0.0.1]:tcp:80"]);
    bench.reload(&text("lvs_flush\n lvs_timeouts tcp 7200\n rs_init_notifies"));
    bench.reload(&text("lvs_flush\n lvs_timeouts udp 9"));
    bench.reload(&text(""));
    assert_eq!(bench.done(), ["timeouts Some(None)", "timeouts None"], "a reload never flushes");
    // keepalived sets them without a service that can be used as well, and leaves them behind then.
    let mut bench = Bench::new("global_defs {\n lvs_timeouts tcp 7200\n }\nvirtual_server 10.0.0.1x 80 {\n }");
    assert_eq!(bench.done(), ["timeouts Some(Some(7200))"]);
    bench.tell(Input::Command(vipd::balance::io::Command::Stop { keep: false }));
    assert_eq!(bench.done(), ["timeouts None"]);
}

#[test]
fn servers_that_are_good_at_start_are_notified_on_wish() {
    let text = format!(
        "global_defs {{\n rs_init_notifies\n }}\n{}",
        service(&format!("{}{}", server(2, TCP), server(3, "alpha\n TCP_CHECK {\n }")))
    );
    let mut bench = Bench::new(&text);
    assert_eq!(short(bench.told()), ["RS R2 V UP", "VS V UP"]);
    let several = "alpha\n TCP_CHECK {\n }\n TCP_CHECK {\n connect_port 81\n }";
    let mut bench = Bench::with(&service(&server(2, several)), |bench| {
        bench.bad.insert(2, vipd::balance::io::Symptom::Refused);
    });
    bench.run(1_000);
    // keepalived tells it once for each check.
    assert_eq!(short(bench.told()), ["RS R2 V DOWN"]);
}
