//! The load balancing and BFD languages: defaults, ranges, and the rules between keywords.
//!
//! Each row is one change to a service that is right; codes and what is kept are keepalived 2.4.3's.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use vipd::config::Env;
use vipd::config::Loaded;
use vipd::config::load_all;
use vipd::config::system::TableSystem;
use vipd::config::text::expand::TextEnv;
use vipd::config::text::source::MapLoader;
use vipd::spec::balance::{CheckerKind, Granularity, GroupEntry, LvsSpec, Method, TunnelKind};

fn read(text: &str) -> (Loaded, u8, String) {
    let system = TableSystem::anywhere();
    let env = Env { text: TextEnv::default(), system: &system };
    let loaded = load_all("/k.conf", &env, &MapLoader::default().with("/k.conf", text));
    let code = loaded.diagnostics.exit_code();
    let said: Vec<&str> = loaded.diagnostics.list.iter().map(|d| d.message.as_str()).collect();
    let said = said.join("\n");
    (loaded, code, said)
}

const SERVICE: &str = "lb_algo rr\n lb_kind NAT\n protocol TCP\n";

fn service(inside: &str) -> (Arc<LvsSpec>, u8, String) {
    let (loaded, code, said) = read(&format!(
        "virtual_server 192.0.2.1 80 {{\n {SERVICE} {inside}\n real_server 192.0.2.11 80 {{\n TCP_CHECK {{\n }}\n }}\n}}\n"
    ));
    (loaded.lvs, code, said)
}
fn server(inside: &str) -> (Arc<LvsSpec>, u8, String) {
    let (loaded, code, said) =
        read(&format!("virtual_server 192.0.2.1 80 {{\n {SERVICE} real_server 192.0.2.11 80 {{\n {inside}\n }}\n}}\n"));
    (loaded.lvs, code, said)
}

#[test]
fn defaults_come_down() {
    let (lvs, code, said) = server("TCP_CHECK {\n }\n DNS_CHECK {\n }\n HTTP_GET {\n url {\n path /\n }\n }");
    assert_eq!(code, 0, "{said}");
    let service = &lvs.services[0];
    assert_eq!((service.quorum, service.hysteresis, service.scheduler), (1, 0, "rr"));
    let server = &service.servers[0];
    assert_eq!((server.weight, server.alpha, server.inhibit, server.mail), (1, false, false, true));
    let timing: Vec<_> = server.checkers.iter().map(|c| c.timing.unwrap()).collect();
    let seconds = |i: vipd::time::Interval| i.as_secs();
    assert_eq!((timing[0].retry, seconds(timing[0].delay_before_retry), seconds(timing[0].delay_loop)), (1, 1, 60));
    assert_eq!((timing[1].retry, seconds(timing[1].delay_before_retry)), (3, 60));
    assert_eq!((timing[2].retry, seconds(timing[2].delay_before_retry)), (1, 3));
    let connection = server.checkers[0].connection.as_ref().unwrap();
    assert_eq!((connection.to.to_string().as_str(), seconds(connection.timeout)), ("192.0.2.11:80", 5));

    let (loaded, code, said) = read(
        "virtual_server fwmark 7 {\n lb_algo sh\n sh-port\n lb_kind TUN type gue port 6080\n delay_loop 7\n retry 9\n alpha\n weight 3\n \
         persistence_granularity 255.255.255.0\n real_server 192.0.2.11 {\n delay_loop 8\n PING_CHECK {\n retry 2\n delay_loop 9.5\n }\n \
         MISC_CHECK {\n misc_path \"/usr/bin/check one\"\n }\n }\n}\nglobal_defs {\n enable_script_security\n script_user root\n}\n",
    );
    assert_eq!(code, 0, "{said}");
    let service = &loaded.lvs.services[0];
    assert_eq!((service.forwarding.method, service.forwarding.tunnel), (Method::Tunnel, TunnelKind::Gue(6080)));
    assert_eq!(service.flags.flags, [false, true, false]);
    let persistence = service.persistence.as_ref().unwrap();
    assert_eq!((persistence.timeout, persistence.granularity), (360, Granularity::Mask(0xffff_ff00)));
    let server = &service.servers[0];
    assert_eq!((server.weight, server.alpha, server.endpoint.port), (3, true, None));
    assert_eq!(server.checkers[0].timing.unwrap().retry, 2);
    assert_eq!(server.checkers[0].timing.unwrap().delay_loop.as_millis(), 9500);
    assert_eq!(server.checkers[1].timing.unwrap().retry, 9);
    let CheckerKind::Misc { run, timeout, .. } = &server.checkers[1].kind else { panic!() };
    assert_eq!((run.as_ref().unwrap().line().as_str(), timeout.as_secs()), ("/usr/bin/check one", 8));
}

#[test]
fn rules_of_a_service() {
    let right = [
        "persistence_timeout",
        "lvs_sched wlc",
        "ops\n protocol UDP",
        "quorum 1\n hysteresis 0",
        "sorry_server 192.0.2.99 80\n sorry_server_inhibit",
        "protocol tcp",
        "smtp_alert off",
        "flag-1\n flag-2",
    ];
    for inside in right {
        let (lvs, code, said) = service(inside);
        assert_eq!((code, lvs.services.len()), (0, 1), "{inside}: {said}");
    }
    let wrong = [
        "lb_algo nosuch",
        "lb_kind nat",
        "lb_kind TUN type gue",
        "lb_kind TUN port 5",
        "lb_kind TUN type ipip csum",
        "lb_kind TUN type gre remcsum",
        "sh-port",
        "hashed",
        "ops",
        "ip_family inet6",
        "ip_family ipv4",
        "retry 0",
        "connect_timeout 0",
        "delay_loop 1s",
        "persistence_timeout 0",
        "persistence_granularity 24x",
        "protocol ICMP",
        "smtp_alert maybe",
        "virtualhost",
        "snmp_name a b",
        "quorum 2",
        "quorum 0",
        "hysteresis 1",
        "weight 0",
        "sorry_server 192.0.2",
        "sorry_server 2001:db8::1 80",
        "sorry_server_inhibit",
        "sorry_server_lvs_method DR",
        "quorm 1",
        "real_server 192.0.2.11 80 {\n }",
        "real_server 192.0.2.11 70000 {\n }",
        "real_server 2001:db8::1 80 {\n }",
        "real_server 192.0.2.12 8080 {\n lvs_method DR\n }",
    ];
    for inside in wrong {
        let (lvs, code, said) = service(inside);
        assert_eq!((code, lvs.services.len()), (5, 1), "{inside}: {said}");
        assert_eq!(said.lines().count(), 1, "one complaint per mistake: {inside}: {said}");
    }
    // What stands before a real server holds for that one, whatever comes behind it.
    let (_, code, said) = service("real_server 192.0.2.12 80 {\n }\n lb_kind DR");
    assert!(code == 0 && !said.contains("no effect"), "{said}");
    let (_, code, said) = service("lb_kind DR");
    assert!(code == 0 && said.contains("`lb_kind` has no effect here"), "{said}");
    for inside in ["lb_algo", "lb_kind", "protocol", "quorum", "sorry_server", "retry", "quorum_up"] {
        assert_eq!(service(inside).1, 2, "{inside} without an argument stops the reading");
    }
}

/// A quorum that no weight can reach is reduced to 0; keepalived's hysteresis then wraps to 4294967295.
#[test]
fn a_hysteresis_never_exceeds_its_quorum() {
    for (weight, wanted) in [(0, (0, 0)), (1, (1, 0)), (9, (2, 1))] {
        let real = format!("real_server 192.0.2.11 80 {{\n weight {weight}\n }}");
        let text = format!("virtual_server 192.0.2.1 80 {{\n {SERVICE} quorum 2\n hysteresis 1\n {real}\n}}\n");
        let (loaded, _, said) = read(&text);
        let service = &loaded.lvs.services[0];
        assert_eq!((service.quorum, service.hysteresis), wanted, "{weight}: {said}");
    }
}

#[test]
fn services_that_are_left_out() {
    let server = "real_server 192.0.2.11 80 {\n }\n";
    let rows = [
        (format!("virtual_server 192.0.2.1 80 {{\n {SERVICE} }}\n"), 5, 0),
        (format!("virtual_server 192.0.2.1 65536 {{\n {SERVICE} {server} }}\n"), 5, 0),
        (format!("virtual_server 1 {{\n {SERVICE} {server} }}\n"), 5, 0),
        (format!("virtual_server group G {{\n {SERVICE} {server} }}\n"), 0, 0),
        (format!("virtual_server fwmark x {{\n {SERVICE} {server} }}\n"), 5, 0),
        (format!("virtual_server 192.0.2.1 80 {{\n protocol TCP\n lb_kind NAT\n {server} }}\n"), 5, 1),
        (format!("virtual_server 192.0.2.1 80 {{\n protocol TCP\n lb_algo rr\n {server} }}\n"), 5, 1),
        (format!("virtual_server 192.0.2.1 80 {{\n lb_kind NAT\n lb_algo rr\n {server} }}\n"), 5, 1),
        (format!("virtual_server fwmark 1 {{\n {SERVICE} {server} }}\n"), 5, 1),
        (format!("virtual_server fwmark 1 {{\n lb_kind DR\n lb_algo rr\n {server} }}\n"), 5, 1),
        (format!("virtual_server 192.0.2.1 {{\n {SERVICE} {server} }}\n"), 5, 1),
    ];
    for (text, expected, kept) in rows {
        let (loaded, code, said) = read(&text);
        assert_eq!((code, loaded.lvs.services.len()), (expected, kept), "{text}: {said}");
    }
    assert_eq!(read("virtual_server {\n}\n").1, 2);
}

#[test]
fn groups() {
    let group = |lines: &str| read(&format!("virtual_server_group G {{\n {lines}\n}}\n"));
    let (loaded, code, said) =
        group("192.0.2.1-9 80\n 192.0.2.0/24 0\n 2001:db8::1-ff 80\n 192.0.2.1-192.0.3.1 80\n fwmark 3 inet");
    assert_eq!(code, 0, "{said}");
    let entries = &loaded.lvs.groups[0].entries;
    let range = |first: &str, last: &str, port| GroupEntry::Range {
        first: first.parse().unwrap(),
        last: last.parse().unwrap(),
        port,
    };
    assert_eq!(entries[0], range("192.0.2.1", "192.0.2.9", Some(80)));
    assert_eq!(entries[1], range("192.0.2.0", "192.0.2.255", None));
    assert_eq!(entries[2], range("2001:db8::1", "2001:db8::ff", Some(80)));
    assert_eq!(entries[3], range("192.0.2.1", "192.0.3.1", Some(80)));
    for line in [
        "192.0.2.9-1",
        "192.0.2.1-256",
        "192.0.2.1/24",
        "192.0.2.0/0",
        "192.0.2.0/33",
        "192.0.2.1 99999",
        "192.0.2",
        "192.0.2.9-192.0.2.1",
        "fwmark x",
        "fwmark 1 inet4",
        "192.0.2.1\n 2001:db8::1\n fwmark 1",
    ] {
        let (loaded, code, said) = group(line);
        assert_eq!((code, loaded.lvs.groups.len()), (5, 0), "{line}: {said}");
    }
}

#[test]
fn checkers() {
    // (block, exit code, checks that are left)
    let rows = [
        ("TCP_CHECK {\n connect_port 8080\n connect_timeout 3\n retry 0\n bind_if eth0\n fwmark 5\n }", 0, 1),
        ("TCP_CHECK {\n connect_port 0\n }", 5, 1),
        ("TCP_CHECK {\n connect_ip 2001:db8::1\n bindto 192.0.2.5\n }", 5, 1),
        ("TCP_CHECK {\n connect_ip fe80::1\n }", 5, 0),
        ("TCP_CHECK {\n connect_ip fe80::1\n bind_if eth0\n }", 0, 1),
        ("TCP_CHECK {\n alpha maybe\n }", 5, 1),
        ("TCP_CHECK {\n connect_tineout 3\n }", 5, 1),
        ("TCP_CHECK {\n connect_timeout 5000\n }", 5, 1),
        ("TCP_CHECK {\n retry\n }", 2, 0),
        ("UDP_CHECK {\n payload 00 0g\n }", 5, 1),
        ("UDP_CHECK {\n payload 0001ff\n require_reply 0x1x\n min_reply_length 3\n }", 0, 1),
        ("UDP_CHECK {\n min_reply_length 300\n }", 5, 1),
        ("SMTP_CHECK {\n helo_name a\n host {\n connect_port 26\n }\n host {\n }\n }", 0, 2),
        ("SMTP_CHECK {\n helo_name a\n helo_name b\n }", 5, 1),
        ("DNS_CHECK {\n type aaaa\n name www.example.org.\n }", 0, 1),
        ("DNS_CHECK {\n type PTR\n }", 5, 1),
        ("DNS_CHECK {\n name a..b\n }", 5, 1),
        ("MISC_CHECK {\n misc_timeout 3\n }", 5, 0),
        ("FILE_CHECK {\n track_file nosuch\n }", 5, 0),
        ("FILE_CHECK {\n }", 5, 0),
        ("BFD_CHECK {\n name nosuch\n }", 5, 0),
        ("BFD_CHECK {\n }", 5, 0),
        ("HTTP_GET {\n }", 5, 0),
        ("HTTP_GET {\n url {\n status_code 200\n }\n }", 5, 0),
        (
            "HTTP_GET {\n url {\n path /\n status_code 200 300-399\n digest 0123456789abcdef0123456789abcdef\n }\n }",
            0,
            1,
        ),
        ("HTTP_GET {\n url {\n path /\n status_code 600\n }\n }", 5, 1),
        ("HTTP_GET {\n url {\n path /\n digest 0123\n }\n }", 5, 1),
        ("HTTP_GET {\n url {\n path /\n path /b\n }\n }", 5, 1),
        ("HTTP_GET {\n url {\n path /\n regex \"(\"\n }\n }", 0, 1),
        ("HTTP_GET {\n url {\n path /\n regex a b\n }\n }", 5, 1),
        ("HTTP_GET {\n nb_get_retry 3\n url {\n path /\n }\n }", 5, 1),
        ("HTTP_GET {\n http_protocol 2\n url {\n path /\n }\n }", 5, 1),
        ("HTTP_GET {\n tls_compliant\n url {\n path /\n }\n }", 5, 1),
        ("SSL_GET {\n tls_compliant\n url {\n path /\n tls_compliant off\n }\n }", 0, 1),
    ];
    for (block, expected, left) in rows {
        let (lvs, code, said) = server(block);
        let found = lvs.services.first().map_or(0, |s| s.servers[0].checkers.len());
        assert_eq!((code, found), (expected, left), "{block}: {said}");
    }
}

/// As keepalived 2.2.7 dumps them: with hosts, the server itself is checked only where the block says how. The hosts are
/// checked as the block says, where they say nothing else.
#[test]
fn hosts_of_a_mail_check() {
    let checks = |block: &str| -> Vec<(String, u32, u64)> {
        let (lvs, code, said) = server(block);
        assert_eq!(code, 0, "{said}");
        let told = |check: &vipd::spec::balance::Checker| {
            let connection = check.connection.as_ref().unwrap();
            (connection.to.to_string(), check.timing.unwrap().retry, connection.timeout.as_secs())
        };
        lvs.services[0].servers[0].checkers.iter().map(told).collect()
    };
    let hosts =
        "host {\n connect_ip 192.0.2.21\n }\n host {\n connect_ip 192.0.2.22\n retry 2\n connect_timeout 3\n }\n";
    assert_eq!(
        checks(&format!("SMTP_CHECK {{\n retry 4\n {hosts} }}")),
        [("192.0.2.21:80".into(), 4, 5), ("192.0.2.22:80".into(), 2, 3)]
    );
    for says in ["connect_timeout 7", "connect_port 80\n connect_timeout 7"] {
        assert_eq!(
            checks(&format!("SMTP_CHECK {{\n retry 4\n {says}\n {hosts} }}")),
            [("192.0.2.11:80".into(), 4, 7), ("192.0.2.21:80".into(), 4, 7), ("192.0.2.22:80".into(), 2, 3)]
        );
    }
}

#[test]
fn http_pages_inherit() {
    let (lvs, code, said) = server(
        "virtualhost outer\n SSL_GET {\n tls_compliant\n enable_sni\n url {\n path /a\n }\n url {\n path /b\n virtualhost inner\n regex \"ok|fine\"\n \
         regex_no_match\n regex_max_offset 9\n }\n }",
    );
    assert_eq!(code, 0, "{said}");
    let CheckerKind::Http(http) = &lvs.services[0].servers[0].checkers[0].kind else { panic!() };
    assert!(http.tls && http.pages.iter().all(|page| page.tls_compliant));
    assert_eq!(http.server_name.as_deref(), Some(""));
    assert_eq!(http.pages[0].virtual_host.as_deref(), Some("outer"));
    assert_eq!(http.pages[1].virtual_host.as_deref(), Some("inner"));
    let pattern = http.pages[1].pattern.as_ref().unwrap();
    assert_eq!((&*pattern.text, pattern.must_not_match, pattern.last_offset), ("ok|fine", true, Some(9)));
}

/// 2.2.7 takes one backslash off, as from a command line.
#[test]
fn the_escapes_of_a_pattern_are_resolved_once() {
    for (line, pattern, notes) in [
        (r#"regex "^\\d+ ok\\.$""#, r"^\d+ ok\.$", 0),
        (r#"regex 'say \"well\"'"#, r#"say "well""#, 0),
        (r#"regex "^\d+""#, "^d+", 1),
        (r"regex ^hello", "^hello", 0),
    ] {
        let (lvs, code, said) = server(&format!("HTTP_GET {{\n url {{\n path /\n {line}\n }}\n }}"));
        assert_eq!((code, said.matches("write two").count()), (0, notes), "{line}: {said}");
        let CheckerKind::Http(http) = &lvs.services[0].servers[0].checkers[0].kind else { panic!("{line}") };
        assert_eq!(&*http.pages[0].pattern.as_ref().unwrap().text, pattern, "{line}");
    }
}

#[test]
fn sessions() {
    let session = |inside: &str| read(&format!("bfd_instance B {{\n {inside}\n}}\n"));
    let (loaded, code, said) = session("neighbor_ip 192.0.2.2\n min_rx 12.5\n weight -5 reverse\n multihop\n vrrp");
    assert_eq!(code, 0, "{said}");
    let found = &loaded.sessions[0];
    assert_eq!((found.min_rx.as_micros(), found.ttl, found.multiplier), (12_500, 255, 5));
    assert_eq!((found.for_vrrp, found.for_checkers), (true, false));
    assert_eq!(loaded.spec.unwrap().bfds[0].weight, -5);
    let rows = [
        ("", 5, 0),
        ("neighbor_ip 192.0.2", 5, 0),
        ("neighbor_ip 192.0.2.2\n source_ip 2001:db8::1", 5, 0),
        ("neighbor_ip 192.0.2.2\n min_rx 0", 5, 1),
        ("neighbor_ip 192.0.2.2\n idle_tx 999", 5, 1),
        ("neighbor_ip 192.0.2.2\n multiplier 256", 5, 1),
        ("neighbor_ip 192.0.2.2\n ttl 5\n max_hops 9", 5, 1),
        ("neighbor_ip 192.0.2.2\n weight 254", 5, 1),
        ("neighbor_ip 192.0.2.2\n weight 5 noreverse", 5, 1),
        ("neighbor_ip 192.0.2.2\n min_tx 20000", 0, 1),
        ("neighbor_ip 192.0.2.2\n max_hops", 2, 0),
        ("neighbor_ip", 5, 0),
    ];
    for (inside, expected, left) in rows {
        let (loaded, code, said) = session(inside);
        assert_eq!((code, loaded.sessions.len()), (expected, left), "{inside}: {said}");
    }
    assert_eq!(read("bfd_instance {\n neighbor_ip 192.0.2.2\n}\n").1, 2);
    let long = "b".repeat(32);
    assert_eq!(read(&format!("bfd_instance {long} {{\n neighbor_ip 192.0.2.2\n}}\n")).1, 5);
    let twice = "bfd_instance A {\n neighbor_ip 192.0.2.2\n}\nbfd_instance B {\n neighbor_ip 192.0.2.2\n}\n";
    assert_eq!(read(twice).1, 5);
}

/// Where vipd reads a session otherwise than keepalived.
#[test]
fn sessions_as_they_are_meant() {
    let session = |inside: &str| read(&format!("bfd_instance B {{\n {inside}\n}}\n"));
    for inside in ["neighbor_ip fd00::2\n max_hops -1", "neighbor_ip fd00::2\n max_hops 255\n hoplimit 64"] {
        let (loaded, code, said) = session(inside);
        assert_eq!((code, loaded.sessions[0].max_hops), (0, None), "{said}");
    }
    let (loaded, code, said) = session("neighbor_ip fe80::1%eth0");
    assert_eq!(code, 0, "{said}");
    let found = &loaded.sessions[0];
    assert_eq!(found.interface.as_ref().map(|name| name.as_str()), Some("eth0"));
    assert_eq!((found.ttl, found.ttl_base, found.least_ttl()), (255, 64, 64));
    assert_eq!(session("neighbor_ip fe80::1%").1, 5);
    let (_, code, said) = session("neighbor_ip fe80::1");
    assert!(code == 0 && said.contains("%INTERFACE"), "{said}");
    let own = session("neighbor_ip fd00::2\n hoplimit 10\n max_hops 3").0;
    assert_eq!((own.sessions[0].ttl, own.sessions[0].least_ttl()), (10, 7));
    let tracked = "bfd_instance B {\n neighbor_ip 10.0.0.2\n source_ip fd00::1\n}\nvrrp_instance V {\n interface lo\n virtual_router_id 1\n \
                   track_bfd {\n B\n }\n virtual_ipaddress {\n 10.0.0.9\n }\n}\n";
    let (_, code, said) = read(tracked);
    assert!(code == 5 && said.contains("V can never leave FAULT"), "{said}");
    assert!(said.contains("10.0.0.2") && said.contains("fd00::1"), "both addresses are named: {said}");
}
