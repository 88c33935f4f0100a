//! One mistake, one complaint: every keyword of the language gets a bad value in a file that is otherwise right.
//!
//! The file has every block. The line under test takes the place of the keyword's good line where there is one, so what a
//! block cannot do without is there in a bad form, and nowhere else.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use vipd::config::block::Body;
use vipd::config::diagnostic::{Class, Diagnostics};
use vipd::config::expand::TextEnv;
use vipd::config::keywords::{Keyword, all};
use vipd::config::source::MapLoader;
use vipd::config::system::{Link, TableSystem};
use vipd::config::{Env, load};

const FILE: &str = "/etc/keepalived/keepalived.conf";

/// A file without a mistake; `@` marks where the lines of a block begin, with its path.
const GOOD: &str = "\
@
global_defs {
@global_defs
    router_id here
    enable_script_security
    script_user root
}
track_file weight {
@track_file
    file /run/weight
}
vrrp_track_process named {
@vrrp_track_process
    process /usr/sbin/named
}
bfd_instance path {
@bfd_instance
    neighbor_ip 192.0.2.2
    source_ip 192.0.2.1
}
vrrp_script alive {
@vrrp_script
    script /usr/bin/true
}
vrrp_instance V1 {
@vrrp_instance
    interface eth0
    virtual_router_id 1
    version 3
    auth_hmac {
@vrrp_instance/auth_hmac
        key 1 hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
        active_key 1
    }
    track_script {
        alive
    }
    virtual_ipaddress {
        192.0.2.10/24
    }
}
vrrp_instance V2 {
    interface eth1
    virtual_router_id 2
    authentication {
@vrrp_instance/authentication
        auth_type PASS
        auth_pass secret
    }
    virtual_ipaddress {
        192.0.2.20/24
    }
}
vrrp_sync_group G {
@vrrp_sync_group
    group {
        V1
        V2
    }
}
garp_group {
@garp_group
    garp_interval 1
    interface eth0
}
track_group T {
@track_group
    group {
        V1
    }
}
SSL {
@SSL
}
virtual_server 192.0.2.10 80 {
@virtual_server
    protocol TCP
    lb_algo rr
    lb_kind DR
    real_server 192.0.2.31 80 {
@virtual_server/real_server
        weight 1
        TCP_CHECK {
@virtual_server/real_server/TCP_CHECK
        }
    }
    real_server 192.0.2.32 80 {
        HTTP_GET {
@virtual_server/real_server/HTTP_GET
            url {
@virtual_server/real_server/HTTP_GET/url
                path /
            }
        }
    }
    real_server 192.0.2.33 80 {
        SSL_GET {
@virtual_server/real_server/SSL_GET
            url {
@virtual_server/real_server/SSL_GET/url
                path /
            }
        }
    }
    real_server 192.0.2.34 80 {
        SMTP_CHECK {
@virtual_server/real_server/SMTP_CHECK
            host {
@virtual_server/real_server/SMTP_CHECK/host
            }
        }
    }
    real_server 192.0.2.35 80 {
        DNS_CHECK {
@virtual_server/real_server/DNS_CHECK
        }
        MISC_CHECK {
@virtual_server/real_server/MISC_CHECK
            misc_path /usr/bin/true
        }
        PING_CHECK {
@virtual_server/real_server/PING_CHECK
        }
        FILE_CHECK {
@virtual_server/real_server/FILE_CHECK
            track_file weight
        }
        BFD_CHECK {
@virtual_server/real_server/BFD_CHECK
            name path
        }
    }
}
virtual_server 192.0.2.11 53 {
    protocol UDP
    lb_algo rr
    lb_kind DR
    real_server 192.0.2.36 53 {
        UDP_CHECK {
@virtual_server/real_server/UDP_CHECK
        }
    }
}
";

/// What nobody means: a word, numbers far below and above everything, nothing at all.
const BAD: [&str; 4] = ["%no-such-thing", "-99999999999999", "99999999999999999999", ""];

/// The file with one line in one block instead of the good line of the same keyword; the number of that line comes too.
fn file(block: &str, keyword: &str, line: &str) -> (String, u32) {
    let (mut text, mut number, mut at, mut inside) = (String::new(), 0, 0, None);
    let mut depth = 0i32;
    for good in GOOD.lines() {
        if let Some(path) = good.strip_prefix('@') {
            if path == block {
                inside = Some(depth);
                text += &format!("{line}\n");
                number += 1;
                at = number;
            }
            continue;
        }
        let replaced = inside == Some(depth) && good.split_whitespace().next() == Some(keyword) && !good.ends_with('{');
        depth += i32::from(good.ends_with('{')) - i32::from(good.trim() == "}");
        if inside.is_some_and(|outer| depth < outer) {
            inside = None;
        }
        if !replaced {
            text += &format!("{good}\n");
            number += 1;
        }
    }
    (text, at)
}

fn complaints(text: &str) -> Vec<(u32, String)> {
    let mut system = TableSystem { assume_interfaces: false, ..TableSystem::anywhere() };
    for name in ["eth0", "eth1"] {
        system.interfaces.insert(name.into(), Link::ethernet(name));
    }
    let files = MapLoader::default().with(FILE, text.to_owned());
    let env = Env { text: TextEnv::default(), system: &system };
    let (_, diagnostics) = load(FILE, &env, &files);
    let Diagnostics { list, sources, .. } = &diagnostics;
    let wrong = list.iter().filter(|complaint| complaint.class != Class::Note);
    wrong
        .map(|c| (c.span.map_or(0, |span| sources.position(span).0), format!("{:?}: {}", c.class, c.message)))
        .collect()
}

/// No value of theirs is bad: the rest of the file contradicts what they say.
const CONTRARY: [&str; 3] = ["vrrp_strict", "native_ipv6", "vrrp"];

fn leaves() -> impl Iterator<Item = &'static Keyword> {
    all().iter().filter(|keyword| {
        keyword.body == Body::None && !keyword.status.starts_with("deprecated") && !CONTRARY.contains(&keyword.keyword)
    })
}

#[test]
fn the_good_file_is_good() {
    assert_eq!(complaints(&GOOD.lines().filter(|l| !l.starts_with('@')).collect::<Vec<_>>().join("\n")), []);
    for keyword in leaves() {
        assert!(GOOD.contains(&format!("@{}\n", keyword.block)), "{} is not in the file", keyword.block);
    }
}

#[test]
fn one_bad_value_gives_one_complaint_where_it_stands() {
    let mut wrong = Vec::new();
    let mut noticed: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for keyword in leaves() {
        for bad in BAD {
            let line = format!("{} {bad}", keyword.keyword);
            let (text, at) = file(keyword.block, keyword.keyword, &line);
            let found = complaints(&text);
            *noticed.entry((keyword.block, keyword.keyword)).or_default() += u32::from(!found.is_empty());
            if found.len() > 1 || found.iter().any(|(line, _)| *line != at) {
                let found: Vec<String> = found.iter().map(|(line, said)| format!("\n    {line}: {said}")).collect();
                wrong.push(format!("{} `{line}` on line {at}:{}", keyword.block, found.concat()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
    let number =
        |keyword: &Keyword| ["0..", "TIMER", "INT", "PORT"].iter().any(|kind| keyword.arguments.starts_with(kind));
    for keyword in leaves().filter(|keyword| number(keyword)) {
        assert!(noticed[&(keyword.block, keyword.keyword)] > 0, "any value goes for {}", keyword.keyword);
    }
}
