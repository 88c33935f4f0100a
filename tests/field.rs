//! What people's files mean, and what is said of them: the lines of their reports, each with the value that it must have.

#![allow(clippy::unwrap_used)]

use vipd::config::report::{Class, Diagnostics, Style};
use vipd::config::system::{FileKind, Link, Stat, TableSystem};
use vipd::config::text::expand::TextEnv;
use vipd::config::text::source::MapLoader;
use vipd::config::{Env, Subsystems, load, load_what_runs};
use vipd::spec::{Spec, Transport};

fn machine() -> TableSystem {
    let mut system = TableSystem { assume_interfaces: false, assume_scripts: false, ..TableSystem::anywhere() };
    system.interfaces.insert("eth0".into(), Link::ethernet("eth0"));
    let program = Stat { kind: FileKind::Regular, uid: 0, gid: 0, mode: 0o755, size: 9 };
    system.files.insert("/usr/bin/true".into(), program);
    system.files.insert("/usr/bin/text".into(), Stat { mode: 0o644, ..program });
    system.files.insert("/run/number".into(), Stat { mode: 0o644, ..program });
    system.files.insert("/proc/loadavg".into(), Stat { mode: 0o444, ..program });
    system
}

fn read(text: &str) -> (Option<Spec>, Diagnostics) {
    let files = MapLoader::default().with("/etc/keepalived.conf", text);
    load("/etc/keepalived.conf", &Env { text: TextEnv::default(), system: &machine() }, &files)
}

fn instance(lines: &str) -> String {
    format!(
        "vrrp_instance V {{\n interface eth0\n virtual_router_id 51\n {lines}\n virtual_ipaddress {{\n  192.0.2.10/24\n }}\n}}\n"
    )
}

fn shown(diagnostics: &Diagnostics) -> String {
    diagnostics.show(Style::Plain)
}

#[test]
fn what_stands_behind_the_address_of_a_peer_is_passed_over() {
    for peer in ["192.0.2.91/24", "192.0.2.91/33", "192.0.2.91-94", "192.0.2.91/x min_ttl 5"] {
        let (spec, diagnostics) =
            read(&instance(&format!("unicast_src_ip 192.0.2.92/24\n unicast_peer {{\n {peer}\n }}")));
        let spec = spec.unwrap();
        let Transport::Unicast { peers, .. } = &spec.instances[0].transport else { panic!("{peer}: multicast") };
        assert_eq!(peers[0].address.to_string(), "192.0.2.91", "{peer}");
        assert_eq!(spec.instances[0].source.unwrap().to_string(), "192.0.2.92");
        assert_eq!(diagnostics.exit_code(), 0, "{}", shown(&diagnostics));
        assert_eq!(diagnostics.list.len(), 2, "a note for each address: {}", shown(&diagnostics));
    }
}

#[test]
fn peers_that_cannot_be_used_do_not_make_an_instance_multicast() {
    for peer in ["router-b", "2001:db8::1", "192.0.2.300"] {
        let (spec, diagnostics) =
            read(&instance(&format!("unicast_src_ip 192.0.2.92\n unicast_peer {{\n {peer}\n }}")));
        let spec = spec.unwrap();
        assert!(spec.instances[0].config_fault.is_some(), "{peer}: {}", shown(&diagnostics));
        assert_eq!(diagnostics.exit_code(), 5);
        assert!(shown(&diagnostics).contains("stays in FAULT"), "{}", shown(&diagnostics));
    }
    let (spec, _) = read(&instance("unicast_peer {\n router-b\n 192.0.2.91\n }"));
    assert!(spec.unwrap().instances[0].config_fault.is_none(), "one of them is enough");
    let (spec, diagnostics) = read(&instance("unicast_peer {\n }"));
    assert!(spec.unwrap().instances[0].config_fault.is_none(), "an empty list is keepalived's multicast");
    assert!(diagnostics.list.iter().any(|d| d.class == Class::Deprecated));
}

#[test]
fn a_group_of_strangers_is_complained_about() {
    for rest in [String::new(), instance("")] {
        let (_, diagnostics) = read(&format!("vrrp_sync_group G {{\n group {{\n  a\n  b\n }}\n}}\n{rest}"));
        assert_eq!(diagnostics.exit_code(), 5);
        let said = shown(&diagnostics);
        for part in ["no vrrp_instance `a`", "no vrrp_instance `b`", "none of the members of G exists"] {
            assert!(said.contains(part), "{said}");
        }
    }
}

#[test]
fn a_file_whose_changes_nobody_tells_cannot_be_tracked() {
    let text = |path: &str| format!("track_file f {{\n file {path}\n}}\n{}", instance("track_file {\n  f\n }"));
    let (spec, diagnostics) = read(&text("/run/number"));
    assert_eq!((spec.unwrap().files.len(), diagnostics.exit_code()), (1, 0), "{}", shown(&diagnostics));
    let (spec, diagnostics) = read(&text("/proc/loadavg"));
    assert_eq!((spec.unwrap().files.len(), diagnostics.exit_code()), (0, 5), "{}", shown(&diagnostics));
    assert!(shown(&diagnostics).contains("does not tell of changes"), "{}", shown(&diagnostics));
}

#[test]
fn a_program_that_will_not_run_is_a_warning_and_no_mistake() {
    for (program, why) in [("/usr/bin/absent", "does not exist"), ("/usr/bin/text", "cannot be executed")] {
        let globals = "global_defs {\n enable_script_security\n script_user root\n}\n";
        let (spec, diagnostics) = read(&format!("{globals}{}", instance(&format!("notify_master {program}"))));
        assert!(spec.unwrap().instances[0].notify.master.is_none());
        let said = shown(&diagnostics);
        assert!(said.contains("warning: notify_master will not run") && said.contains(why), "{said}");
        assert_eq!(diagnostics.exit_code(), 0, "keepalived only logs it");
        assert!(diagnostics.list.iter().any(|d| d.class.is_against_strict()));
    }
}

#[test]
fn a_keyword_without_effect_is_named_once() {
    let idle = vipd::config::table::keywords::all()
        .iter()
        .find(|k| k.status.starts_with("no effect") && k.arguments == "none" && k.block == "global_defs");
    // When every keyword has an effect there is nothing to name.
    let Some(idle) = idle else { return };
    let name = idle.keyword;
    let (_, diagnostics) =
        read(&format!("global_defs {{\n {name}\n {name}\n}}\nglobal_defs {{\n {name}\n}}\n{}", instance("")));
    let said = shown(&diagnostics);
    assert_eq!(said.matches(&format!("`{name}` has no effect here")).count(), 1, "{said}");
    assert!(said.contains("keepalived.conf:2:2: note"), "{said}");
    assert_eq!(diagnostics.exit_code(), 0);
    assert!(diagnostics.list.iter().any(|d| d.class.is_against_strict()));
}

#[test]
fn a_keyword_of_another_block_says_which() {
    let (_, diagnostics) = read(&format!(
        "global_defs {{\n garp_master_delay 5\n vrrp_instance X\n}}\n{}",
        instance("vrrp_strict on\n vrrp_garp_master_repeat 2")
    ));
    let said = shown(&diagnostics);
    for part in [
        "`garp_master_delay` does not belong here, in global_defs (a keyword of vrrp_instance; help: move it to vrrp_instance, or write `vrrp_garp_master_delay` here)",
        "`vrrp_instance` does not belong here, in global_defs (a keyword of the top level",
        "`vrrp_strict` does not belong here, in vrrp_instance (a keyword of global_defs",
        "or write `garp_master_repeat` here",
    ] {
        assert!(said.contains(part), "{part}:\n{said}");
    }
    assert_eq!(diagnostics.exit_code(), 5);
}

#[test]
fn a_misspelt_block_is_one_complaint() {
    let text = instance("track_interface {\n  eth0\n }").replace("vrrp_instance", "vrrp_instanse");
    let (_, diagnostics) = read(&format!(
        "{text}vrrp_instance W {{\n interface eth0\n virtual_router_id 52\n virtual_ipaddress {{\n  192.0.2.11\n }}\n}}\n"
    ));
    assert_eq!(diagnostics.list.len(), 1, "{}", shown(&diagnostics));
    let inner = instance("track_interfase {\n  eth1\n }\n priority 100\n advert_int 1");
    let (_, diagnostics) = read(&inner);
    let errors: Vec<_> = diagnostics.list.iter().filter(|d| d.class.is_mistake()).collect();
    assert_eq!(errors.len(), 1, "{}", shown(&diagnostics));
}

#[test]
fn what_cannot_be_seen_is_named() {
    let script =
        |command: &str| format!("vrrp_script c {{\n script {command}\n}}\n{}", instance("track_script {\n  c\n }"));
    let cases = [
        (format!("\u{feff}{}", instance("")), "a byte order mark (U+FEFF)"),
        (instance("priority\u{a0}100"), "a no-break space (U+00A0)"),
        (instance("priority 100\u{200b}"), "a zero-width space (U+200B)"),
        (instance("\u{a0} priority 100"), "a no-break space (U+00A0)"),
        (script("\u{201c}/usr/bin/killall -0 haproxy\u{201d}"), "a typographic quote (U+201C)"),
        (instance("notify_master \u{2018}/usr/bin/true\u{2019}"), "a typographic quote (U+2018)"),
        (format!("global_defs {{\n router_id \u{201c}a\u{201d}\n}}\n{}", instance("")), "a typographic quote (U+201C)"),
    ];
    for (text, name) in cases {
        let (_, diagnostics) = read(&text);
        let said = shown(&diagnostics);
        assert!(said.contains(name), "{name}: {said}");
        assert!(!said.contains(['\u{feff}', '\u{a0}', '\u{200b}']), "{said:?}");
        let errors = diagnostics.list.iter().filter(|d| d.class.is_mistake() && d.class != Class::Security).count();
        assert!(errors <= 1, "one complaint: {said}");
    }
    let (_, diagnostics) = read(&instance("# \u{201c}a comment\u{201d}\u{a0}"));
    assert!(diagnostics.list.is_empty(), "{}", shown(&diagnostics));
}

#[test]
fn a_letter_that_only_looks_like_the_right_one_is_named() {
    for (keyword, said) in
        [("pre\u{435}mpt", "`preempt`? Its `\u{435}` (U+0435) only looks like `e`"), ("preemt", "`preempt`?")]
    {
        let (_, diagnostics) = read(&instance(keyword));
        let helps: Vec<_> = diagnostics.list.iter().filter_map(|d| d.help.as_deref()).collect();
        assert!(helps.iter().any(|help| help.contains(said)), "{helps:?}");
        assert_eq!(helps.iter().any(|help| help.contains("looks like")), !keyword.is_ascii());
    }
}

#[test]
fn words_of_old_examples_have_a_cure_of_their_own() {
    let service = "virtual_server 192.0.2.1 80 {\n nat_mask 255.255.255.0\n real_server 192.0.2.2 80 {\n }\n}\n";
    let global = format!("global_defs {{\n script_security\n}}\n{}", instance(""));
    for (text, cure) in [(service, "remove the line"), (&*global, "write `enable_script_security`")] {
        let (_, diagnostics) = read(text);
        let unknown = diagnostics.list.iter().find(|d| d.message.contains("unknown keyword")).unwrap();
        assert!(unknown.help.as_ref().is_some_and(|help| help.contains(cure)), "{unknown:?}");
    }
    let (_, diagnostics) = read(&service.replace("nat_mask 255.255.255.0", "persistence_timeout 0"));
    let ignored = diagnostics.list.iter().find(|d| d.message.contains("persistence_timeout"));
    let help = ignored.and_then(|d| d.help.as_deref());
    assert!(help.is_some_and(|help| help.starts_with("remove the line")), "{help:?}");
}

/// One style of quoting in all sentences: words of the file stand between backticks.
#[test]
fn words_are_quoted_in_one_way() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let mut lines = 0;
    for case in std::fs::read_dir(root).unwrap().flatten() {
        let Ok(expected) = std::fs::read_to_string(case.path().join("expected.txt")) else { continue };
        for line in expected.split("--- expanded").next().unwrap().lines() {
            let odd = line.split('`').step_by(2).any(|part| part.contains(" '") || part.contains(" \""));
            assert!(!odd, "{}: {line}", case.path().display());
            lines += 1;
        }
    }
    assert!(lines > 300, "only {lines} lines were looked at");
}

/// Of all daemons 2.4.3 alone takes the address for a host's, and with it the network from everybody who asks for it.
#[test]
fn a_prefix_length_is_the_number_at_its_beginning() {
    for (prefix, taken) in [("24,", 24), ("24;", 24), ("16x", 16), ("x", 32), ("33", 32), ("", 32)] {
        let (spec, diagnostics) = read(&instance("").replace("192.0.2.10/24", &format!("192.0.2.10/{prefix}")));
        assert_eq!(spec.unwrap().instances[0].claim.addresses[0].prefix, taken, "{prefix}");
        assert!(shown(&diagnostics).contains(&format!("/{taken} is used")), "{}", shown(&diagnostics));
    }
}

/// `vrrp_strict` stands in the sample that people begin with, and unicast is what clouds need: 2.4.3 alone does not start with both.
#[test]
fn strict_mode_with_unicast_peers_runs() {
    let text = format!(
        "global_defs {{\n vrrp_strict\n}}\n{}",
        instance("priority 100\n unicast_src_ip 192.0.2.92\n unicast_peer {\n  192.0.2.91\n }")
    );
    let (spec, diagnostics) = read(&text);
    let spec = spec.unwrap();
    assert!(matches!(&spec.instances[0].transport, Transport::Unicast { peers, .. } if peers.len() == 1));
    assert!(spec.instances[0].config_fault.is_none());
    assert_eq!(diagnostics.exit_code(), 5, "{}", shown(&diagnostics));
}

/// What is said of a template is one thing, with the exit code that keepalived has for it; braces in a command are none.
#[test]
fn a_template_is_one_mistake() {
    let whole = "global_defs {\n router_id {{ ansible_hostname }}\n}\n{% for i in instances %}\nvrrp_instance {{ i.name }} {\n state {{ \
                 i.state }}\n interface {{ i.interface }}\n virtual_router_id {{ i.id }}\n virtual_ipaddress {\n{% for ip in i.ips \
                 %}\n  {{ ip }}\n{% endfor %}\n }\n}\n{% endfor %}\n";
    let erb = "<% @instances.each do |name, i| -%>\nvrrp_instance <%= name %> {\n state <%= i['state'] %>\n virtual_ipaddress {\n  \
               <%= i['vip'] %>\n }\n}\n<% end -%>\n";
    let early = "vrrp_instance V {\n interface {{ nic }}\n virtual_router_id {{ id }}\n}\n";
    for (text, code) in [(whole, 5), (erb, 5), (early, 2)] {
        let (_, found) = read(text);
        let [one] = found.list.as_slice() else { panic!("{}", shown(&found)) };
        assert!(one.message.contains("template") && one.help.is_some(), "{}", shown(&found));
        assert_eq!(found.exit_code(), code, "{}", shown(&found));
    }
    let docker = "/usr/bin/true inspect -f '{{.State.Running}}'";
    let (_, found) = read(&WHOLE.replace("/usr/bin/true nginx", docker).replace("priority 110", "priority 300"));
    assert!(!shown(&found).contains("template") && shown(&found).contains("priority"), "{}", shown(&found));
}

const WHOLE: &str = r#"global_defs {
    router_id lb1
    enable_script_security
    script_user root
}
vrrp_script chk {
    script "/usr/bin/true nginx"
    interval 2
    weight -20
}
vrrp_instance VI_1 {
    state MASTER
    interface eth0
    virtual_router_id 51
    priority 110
    advert_int 1
    authentication {
        auth_type PASS
        auth_pass s3cr3t99
    }
    unicast_src_ip 10.0.0.1
    unicast_peer {
        10.0.0.2
    }
    virtual_ipaddress {
        10.0.0.100/24
    }
    track_script {
        chk
    }
    notify_master "/usr/bin/true master"
}
"#;

/// What is typed, what is right, and a word of the cure. Habits of YAML, nginx, shells and templates, and what web pages do.
const SLIPS: &[(&str, &str, &str)] = &[
    ("        10.0.0.2;", "        10.0.0.2", "write `10.0.0.2`"),
    ("        10.0.0.2, 10.0.0.3", "        10.0.0.2", "one address a line: `10.0.0.2`, `10.0.0.3`"),
    ("        10.0.0.2 10.0.0.3", "        10.0.0.2", "one address a line: `10.0.0.2`, `10.0.0.3`"),
    ("        - 10.0.0.2", "        10.0.0.2", "write `10.0.0.2`"),
    ("        10.0.0.2:112", "        10.0.0.2", "write `10.0.0.2`"),
    ("        http://10.0.0.2", "        10.0.0.2", "write `10.0.0.2`"),
    ("        lb2.example.com", "        10.0.0.2", "names are not looked up"),
    ("unicast_peer 10.0.0.2\n    ", "unicast_peer {\n        10.0.0.2\n    }\n    ", "unicast_peer {"),
    ("virtual_ipaddress 10.0.0.100/24\n", "virtual_ipaddress {\n        10.0.0.100/24\n    }\n", "virtual_ipaddress {"),
    ("virtual_ipaddress [\n        10.0.0.100/24\n    ]", "virtual_ipaddress {\n        10.0.0.100/24\n    }", "{"),
    ("        10.0.0.100/24, 10.0.0.101/24", "        10.0.0.100/24", "one address a line"),
    ("        10.0.0.100/24 10.0.0.101/24", "        10.0.0.100/24", "one address a line"),
    ("        10.0.0.100/24;", "        10.0.0.100/24", "10.0.0.100/24"),
    ("    garp_master_delay 5\n    track_script", "    }\n    track_script", "write `}` on a line before it"),
    ("```conf\nglobal_defs {", "global_defs {", "belongs to the page"),
    ("        10.0.0.100/$MASK_", "        10.0.0.100/24", "10.0.0.100/"),
    ("        $VIP", "        10.0.0.100/24", "$VIP=VALUE"),
    ("virtual_ipaddresses {", "virtual_ipaddress {", "`virtual_ipaddress`"),
    ("virtual-ipaddress {", "virtual_ipaddress {", "`virtual_ipaddress`"),
    ("virtual_ipaddress: {", "virtual_ipaddress {", "`virtual_ipaddress`"),
    ("virtual_ipaddress = {", "virtual_ipaddress {", "virtual_ipaddress {"),
    ("global_def {", "global_defs {", "`global_defs`"),
    ("global-defs {", "global_defs {", "`global_defs`"),
    ("Global_Defs {", "global_defs {", "`global_defs`"),
    ("vrrp_instence VI_1 {", "vrrp_instance VI_1 {", "`vrrp_instance`"),
    ("vrrp_instance VI_1\n", "vrrp_instance VI_1 {\n", "vrrp_instance VI_1 {"),
    ("vrrp_instance = VI_1 {", "vrrp_instance VI_1 {", "vrrp_instance NAME {"),
    ("priority=110", "priority 110", "`priority`"),
    ("priority: 110", "priority 110", "`priority`"),
    ("priority = 110", "priority 110", "without `=`"),
    ("priority 110;", "priority 110", "without `;`"),
    ("prority 110", "priority 110", "`priority`"),
    ("PRIORITY 110", "priority 110", "`priority`"),
    ("17:    priority 110", "    priority 110", "`priority`"),
    ("+    priority 110", "    priority 110", "`priority`"),
    ("$    priority 110", "    priority 110", "`priority`"),
    ("    &nbsp;priority 110", "    priority 110", "`priority`"),
    ("priority\u{a0}110", "priority 110", "U+00A0"),
    ("priority\u{3000}110", "priority 110", "U+3000"),
    ("    \u{200b}priority 110", "    priority 110", "U+200B"),
    ("priority\u{200b} 110", "priority 110", "U+200B"),
    ("prio\u{ad}rity 110", "priority 110", "U+00AD"),
    ("weight \u{2013}20", "weight -20", "U+2013"),
    ("priority $PRIORITY", "priority 110", "$PRIORITY=VALUE"),
    ("priority ${PRIORITY}", "priority 110", "$PRIORITY=VALUE"),
    ("priority ${PRIORITY:-110}", "priority 110", "$PRIORITY=VALUE"),
    ("priority {{ priority }}", "priority 110", "values in their place"),
    ("priority <%= @priority %>", "priority 110", "values in their place"),
    (
        "    {% if master %}\n    state MASTER\n    {% else %}\n    state BACKUP\n    {% endif %}",
        "    state MASTER",
        "Ansible",
    ),
    ("        {% for vip in vips %}\n        {{ vip }}/24\n        {% endfor %}", "        10.0.0.100/24", "Ansible"),
    ("interface ${interface}", "interface eth0", "$interface=VALUE"),
    ("router_id lb1\n    notification_email ops@example.com", "router_id lb1", "notification_email {"),
    ("router_id lb1\n    vrrp_garp_interval 0", "router_id lb1", "remove the line: 0 is what holds without it"),
    ("virtual_routerid 51", "virtual_router_id 51", "`virtual_router_id`"),
    ("virtual-router-id 51", "virtual_router_id 51", "`virtual_router_id`"),
    ("interfaces eth0", "interface eth0", "`interface`"),
    ("advert_int 1s", "advert_int 1", "without a unit"),
    ("auth_type PASS auth_pass s3cr3t99", "auth_type PASS\n        auth_pass s3cr3t99", "a line of its own"),
    ("auth_type PASS;", "auth_type PASS", "`auth_type PASS`"),
    ("    // the primary\n    state MASTER", "    state MASTER", "a comment begins with `#`"),
    ("    /* the primary */\n    state MASTER", "    state MASTER", "a comment begins with `#`"),
    ("script \u{201c}/usr/bin/true nginx\u{201d}", "script \"/usr/bin/true nginx\"", "U+201C"),
    ("script `/usr/bin/true nginx`", "script \"/usr/bin/true nginx\"", ""),
    ("script = \"/usr/bin/true nginx\"", "script \"/usr/bin/true nginx\"", ""),
    ("script: \"/usr/bin/true nginx\"", "script \"/usr/bin/true nginx\"", "`script`"),
    ("script \"/usr/bin/true nginx\n", "script \"/usr/bin/true nginx\"\n", "the second `\"`"),
    ("        check\n", "        chk\n", "vrrp_script"),
    ("track_script chk\n", "track_script {\n        chk\n    }\n", "track_script {"),
    ("        chk weight=-20", "        chk", "write `chk weight -20`"),
    (
        "notify_master {\n        \"/usr/bin/true master\"\n    }",
        "notify_master \"/usr/bin/true master\"",
        "without braces",
    ),
    ("        10.0.0.2\n    virtual", "        10.0.0.2\n    }\n    virtual", "`}`"),
    ("        10.0.0.2\n    )\n", "        10.0.0.2\n    }\n", "`}`"),
    ("        10.0.0.100/24\n    track", "        10.0.0.100/24\n    }\n    track", "`}`"),
    ("script_user nosuch", "script_user root", "make the user"),
];

/// A check that nobody tracks does not run: that is said beside mistakes that have nothing to do with it.
#[test]
fn a_check_that_nobody_tracks_is_named_beside_other_mistakes() {
    let untracked = WHOLE.replace("track_script {\n        chk\n    }\n", "");
    for (right, slip) in
        [("interface eth0", "interface eth0\n    lvs_sync_daemon_inteface eth0"), ("priority 110", "priority 300")]
    {
        let said = shown(&read(&untracked.replace(right, slip)).1);
        assert!(said.contains("vrrp_script chk is tracked by nobody and is not run"), "{slip}: {said}");
        assert_eq!(said.lines().count(), 2, "{slip}: {said}");
    }
}

#[test]
fn one_slip_is_one_complaint() {
    let (_, right) = read(WHOLE);
    assert!(right.list.is_empty(), "{}", shown(&right));
    for (slip, right, cure) in SLIPS {
        assert_eq!(WHOLE.matches(right).count(), 1, "{right}");
        let text = WHOLE.replace(right, slip);
        let (_, found) = read(&text);
        let said = shown(&found);
        let [one] = found.list.as_slice() else { panic!("{slip}:\n{said}") };
        assert!(one.class.level() != vipd::config::report::Level::Note, "{slip}: {said}");
        let help = one.help.as_deref().unwrap_or_default();
        assert!(!help.is_empty() && help.contains(cure), "{slip}: {said}");
        // At the line of the slip, or the one that it is about.
        let line: usize = said.split(':').nth(1).and_then(|line| line.parse().ok()).unwrap();
        let at = text[..text.find(slip).unwrap()].lines().count();
        let first = if text[..text.find(slip).unwrap()].ends_with('\n') { at + 1 } else { at };
        assert!((first..=first + 3).contains(&line), "{slip}: line {line}, not {first}: {said}");
    }
}

/// A fence or a tag in front goes with the one behind; and an instance whose only address is no address has one complaint, also
/// where version 3 can run nothing without one.
#[test]
fn what_follows_from_a_slip_is_not_a_second_one() {
    for (front, behind) in [("```conf\n", "```\n"), ("<pre>\n", "</pre>\n")] {
        let (_, found) = read(&format!("{front}{WHOLE}{behind}"));
        assert_eq!(found.list.len(), 1, "{}", shown(&found));
    }
    let (_, found) = read(&instance("priority 100\n    version 3").replace("192.0.2.10", "192..0.2.10"));
    assert!(shown(&found).contains("is no address"), "{}", shown(&found));
    assert_eq!(found.list.len(), 1, "{}", shown(&found));
}

/// What the daemon reads with `-P`, `-C` or `--no_bfd`: (code that it would end with, instances, virtual servers).
fn run_with(run: Subsystems, text: &str) -> (bool, usize, usize, Diagnostics) {
    let files = MapLoader::default().with("/etc/keepalived.conf", text);
    let env = Env { text: TextEnv::default(), system: &machine() };
    let loaded = load_what_runs("/etc/keepalived.conf", run, &env, &files);
    let instances = loaded.spec.as_ref().map_or(0, |spec| spec.instances.len());
    (loaded.spec.is_some(), instances, loaded.lvs.services.len(), loaded.diagnostics)
}

const SERVICE: &str = "virtual_server 10.0.0.1 80 {\n lb_algo rr\n lb_kind NAT\n protocol TCP\n real_server 10.1.0.1 80 {\n  TCP_CHECK {\n  }\n }\n}\n";

/// keepalived 2.2.7 was run with each of these: its processes do not read what is another one's.
#[test]
fn what_only_another_subsystem_reads_ends_nothing() {
    let vrrp = Subsystems { checkers: false, ..Subsystems::ALL };
    let checkers = Subsystems { vrrp: false, ..Subsystems::ALL };
    let good = instance("priority 100");
    for (old, new) in [
        (" lb_algo rr", " lb_algo"),
        ("  TCP_CHECK {", "  TCP_CHECK {\n   connect_port"),
        ("  TCP_CHECK {", "  MISC_CHECK {\n   misc_path"),
        ("  TCP_CHECK {", "  HTTP_GET {\n   url {\n    path\n   }"),
        ("virtual_server 10.0.0.1 80 {", "virtual_server_group {\n}\nvirtual_server 10.0.0.1 80 {"),
        ("real_server 10.1.0.1 80 {", "real_server 10.1.0.1 80 {\n weight\n notify_up"),
    ] {
        let broken = SERVICE.replace(old, new);
        assert_ne!(broken, SERVICE);
        let (usable, instances, _, said) = run_with(vrrp, &format!("{broken}{good}"));
        assert_eq!((usable, instances, said.list.len()), (true, 1, 0), "{broken}: {}", shown(&said));
        assert_ne!(read(&format!("{broken}{good}")).1.exit_code(), 0, "a test judges all of it: {broken}");
    }
    for broken in [
        good.replace("priority 100", "priority"),
        good.replace("interface eth0", "interface"),
        good.replace(" interface eth0\n", ""),
        good.replace("eth0", "eth9"),
        good.replace(" virtual_router_id 51\n", ""),
        format!("vrrp_track_process P {{\n process\n}}\n{good}"),
        format!("vrrp_sync_group {{\n}}\n{good}"),
        format!("static_ipaddress {{\n 192.0.2.x\n}}\n{good}"),
    ] {
        let (usable, instances, services, said) = run_with(checkers, &format!("{SERVICE}{broken}"));
        assert_eq!((usable, instances, services, said.list.len()), (true, 0, 1, 0), "{broken}: {}", shown(&said));
    }
}

/// keepalived starts no process where there is nothing to run.
#[test]
fn a_subsystem_with_nothing_to_run_reads_nothing() {
    let good = instance("priority 100");
    for broken in ["virtual_server_group {\n}\n", "SSL {\n key\n}\n"] {
        let (usable, instances, _, said) = run_with(Subsystems::ALL, &format!("{broken}{good}"));
        assert_eq!((usable, instances, said.list.len()), (true, 1, 0), "{broken}: {}", shown(&said));
    }
    let (usable, _, services, _) =
        run_with(Subsystems::ALL, &format!("vrrp_track_process P {{\n process\n}}\n{SERVICE}"));
    assert_eq!((usable, services), (true, 1));
    let both = format!("virtual_server_group {{\n}}\n{SERVICE}{good}");
    assert!(!run_with(Subsystems::ALL, &both).0, "with a virtual server it is read");
}

/// Without BFD a session is a name and a weight; checkers do not look at the weight.
#[test]
fn lines_of_a_session_are_read_by_whom_they_concern() {
    let no_bfd = Subsystems { bfd: false, ..Subsystems::ALL };
    let checkers = Subsystems { vrrp: false, ..Subsystems::ALL };
    let session =
        |line: &str| format!("bfd_instance B {{\n neighbor_ip 192.0.2.2\n {line}\n}}\n{SERVICE}{}", instance(""));
    for line in ["min_rx", "source_ip", "multiplier 300", "neighbor_ip"] {
        let (usable, instances, _, said) = run_with(no_bfd, &session(line));
        assert_eq!((usable, instances, said.list.len()), (true, 1, 0), "{line}: {}", shown(&said));
    }
    assert!(!run_with(no_bfd, &session("weight")).0, "VRRP reads it");
    assert!(run_with(checkers, &session("weight")).0);
    assert!(!run_with(checkers, &session("min_rx")).0, "BFD runs with -C too");
    assert!(run_with(Subsystems::ALL, &session("neighbor_ip")).0, "VRRP lives without the session");
}

/// `virtual_server 10.0.0.1 80` without a block took the `{` of the vrrp_instance behind it, and the instance was gone.
#[test]
fn a_block_without_a_brace_takes_none_of_another_subsystem() {
    let good = instance("priority 100");
    for head in ["virtual_server 10.0.0.1 80", "virtual_server_group G", "SSL"] {
        let (spec, diagnostics) = read(&format!("{head}\n{good}"));
        assert_eq!(spec.unwrap().instances.len(), 1, "{head}");
        let braces: Vec<_> = diagnostics.list.iter().filter(|d| d.class == Class::Brace).collect();
        assert_eq!(braces.len(), 1, "{head}: {}", shown(&diagnostics));
    }
    let (spec, diagnostics) = read(&format!("vrrp_script S\n{SERVICE}{good}"));
    let spec = spec.unwrap();
    assert_eq!((spec.instances.len(), spec.balance.services.len()), (1, 1), "{}", shown(&diagnostics));
}

/// A placeholder is named as one, wherever a value belongs.
#[test]
fn a_placeholder_is_named_as_one() {
    for (line, told) in [
        ("virtual_ipaddress {\n  <virtual_ip> dev eth0\n }", true),
        ("unicast_peer {\n  <peer IP address>\n }", true),
        ("track_interface {\n  <interface> weight 50\n }", true),
        ("mcast_src_ip %LOCAL_IP%", true),
        ("state %STATE%", true),
        ("unicast_peer {\n  192.168.1.xxx\n }", true),
        ("unicast_peer {\n  router.example.org\n }", false),
        ("priority <1-254>", false),
        ("state MESTER", false),
        ("mcast_src_ip 50%", false),
    ] {
        let (_, diagnostics) = read(&instance(line));
        let found = shown(&diagnostics).contains("looks like a placeholder that nobody has filled in");
        assert_eq!(found, told, "{line}: {}", shown(&diagnostics));
    }
}

/// A block that belongs outside of all others, and stands at the left: what is missing is the `}` above it.
#[test]
fn an_unclosed_block_is_named_where_the_next_one_begins() {
    let open = "vrrp_script c {\n script /usr/bin/true\n";
    for next in ["global_defs {\n router_id x\n}\n", "vrrp_sync_group G {\n group {\n  V\n }\n}\n"] {
        let (_, diagnostics) = read(&format!("{open}{next}{}", instance("")));
        let said = shown(&diagnostics);
        let line = said.lines().find(|line| line.contains("does not belong here")).unwrap_or_default();
        assert!(line.contains("help: write the `}` of `vrrp_script` that is missing above it"), "{said}");
        assert!(line.contains("keepalived.conf:1:1: the block that it is read as part of"), "{said}");
    }
}

#[test]
fn a_block_of_another_name_has_a_cure() {
    let (_, diagnostics) = read("vrrp_server 192.0.2.1 80 {\n lb_algo rr\n}\n");
    assert!(shown(&diagnostics).contains("write `virtual_server ADDRESS PORT {`"), "{}", shown(&diagnostics));
    let (_, diagnostics) = read(&format!("vrrp_instance = V\n{}", instance("")));
    assert!(shown(&diagnostics).contains("write `vrrp_instance V {`"), "{}", shown(&diagnostics));
}

/// What a cure says to write is what then works: without more to look up, and with nothing else that breaks.
#[test]
fn cures_that_were_applied_to_real_files_help() {
    let said = |text: &str| shown(&read(text).1);
    let lines = |lines: &str| said(&instance(lines));
    // `$NAME` ends at a blank only, so that a definition alone changes nothing.
    let more = "virtual_ipaddress_excluded {\n $vip/24\n }";
    assert!(lines(more).contains("help: write `${vip}` in its place"), "{}", lines(more));
    let braced = said(&format!("$vip=192.0.2.77\n{}", instance(&more.replace("$vip", "${vip}"))));
    assert!(!braced.contains("is no address"), "{braced}");

    let shell = lines("priority ${PRIORITY:-101}");
    assert!(shell.contains("only a shell gives a name its value like this: write `${PRIORITY}`"), "{shell}");

    let strict = lines("strict_mode on\n state MASTER\n priority 100");
    assert!(strict.contains("help: write `state BACKUP`") && !strict.contains("write priority 255"), "{strict}");
    let owner = lines("strict_mode on\n state BACKUP\n priority 255");
    assert!(owner.contains("help: write `state MASTER`, or a priority below 255"), "{owner}");

    let twice = said(&(instance("") + &instance("")));
    assert!(twice.contains("help: remove it, or give it another name, and another virtual_router_id"), "{twice}");

    let alive = "vrrp_script alive {\n script /usr/bin/true\n}\n";
    let glued = said(&format!("{alive}{}", instance("track_script {\n alive weight=0\n }")));
    assert!(glued.contains("help: write `alive weight 0`"), "{glued}");

    let route = lines("virtual_routes {\n 198.51.100.0/24 via 192.0.2.1 or 192.0.2.2\n }");
    assert!(route.contains("write `nexthop via` in front of both gateways"), "{route}");
    let hops = lines("virtual_routes {\n 198.51.100.0/24 nexthop via 192.0.2.1 nexthop via 192.0.2.2\n }");
    assert!(!hops.contains("error"), "{hops}");

    let script = "vrrp_script c {\n script \"/usr/bin/true <ip>\"\n}\n";
    let security = |global: &str| said(&format!("{global}{script}{}", instance("track_script {\n c\n }")));
    assert!(security("").contains("help: put `enable_script_security` and `script_user USER`"), "{}", security(""));
    let named = security("global_defs {\n script_user root\n}\n");
    assert!(named.contains("help: put `enable_script_security` into global_defs"), "{named}");
}

/// A name that nothing replaces in the name of a block is said there, and what follows from its braces is not.
#[test]
fn a_name_of_a_block_that_is_not_replaced_is_said_once() {
    for name in ["${VRID:-51}", "${VRID}"] {
        let (_, diagnostics) = read(&instance("").replace("vrrp_instance V", &format!("vrrp_instance VI_{name}")));
        let said = shown(&diagnostics);
        assert!(said.contains(&format!("`{name}` is not replaced")), "{said}");
        assert_eq!(diagnostics.exit_code(), 5, "{said}");
        for follows in ["opens nothing", "does not belong here", "unknown keyword"] {
            assert!(!said.contains(follows), "{said}");
        }
    }
}

/// What a keyword of the same name does in another subsystem is no cure.
#[test]
fn a_cure_names_no_block_that_means_something_else() {
    let service = |lines: &str| format!("virtual_server 192.0.2.1 80 {{\n lb_algo rr\n {lines}\n}}\n");
    let check = |lines: &str| service(&format!("lb_kind NAT\n real_server 192.0.2.2 80 {{\n  {lines}\n }}"));
    for (text, cure) in [
        (service("lb_kind nat"), "write `lb_kind NAT`"),
        (check("TCP_CHECK {\n nb_get_retry 3\n }"), "help: write `retry`)"),
        (check("MISC_CHECK {\n misc_path /usr/bin/true\n weight 22\n }"), "move it to virtual_server/real_server"),
        (service("lb_kind NAT\n timeout 10"), "remove the line: a virtual server has no such setting"),
        ("vrrp_track_process p {\n process x\n // weight 10\n}\n".to_owned(), "a comment begins with `#` or `!`"),
    ] {
        let (_, diagnostics) = read(&text);
        let said = shown(&diagnostics);
        assert!(said.contains(cure), "{cure}: {said}");
        let helps: String = said.lines().filter_map(|line| Some(line.rsplit_once("help: ")?.1)).collect();
        assert!(!helps.contains("vrrp_script") && !helps.contains("did you mean `weight`"), "{said}");
    }
}
