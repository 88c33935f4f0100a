//! Every keyword with values at and beyond its bounds: what keepalived 2.4.3 made of them, and that vipd agrees.
//!
//! `verdicts.txt` was written by tests/differential/every_keyword.py from runs of keepalived: for every keyword the
//! exit codes of `-t`, with `!` if a complaint names the line, and the values that they are about. Nothing in it is
//! vipd's word. vipd has the same exit code for each, and says something of each line that keepalived complains about; where
//! it does not, the reason is in the table of exceptions below, and an exception that nothing needs is a mistake too.

use super::whole::{file, judge};
use std::collections::{BTreeMap, BTreeSet};
use vipd::config::system::{FileKind, Link, Stat, TableSystem, User};
use vipd::config::table::keywords::all;

/// The machine that keepalived ran on, as far as the values ask for it.
fn machine() -> TableSystem {
    let mut system = TableSystem { assume_interfaces: false, assume_scripts: false, ..TableSystem::anywhere() };
    for name in ["eth0", "eth1", "eth2", "ens33"] {
        system.interfaces.insert(name.into(), Link::ethernet(name));
    }
    let loopback = Link { loopback: true, multicast: false, ethernet: false, mtu: 65536, ..Link::ethernet("lo") };
    system.interfaces.insert("lo".into(), loopback);
    system.users.push(User { name: "nobody".into(), uid: 65534, gid: 65534 });
    system.groups.insert("nogroup".into(), 65534);
    let stat = |kind, mode| Stat { kind, uid: 0, gid: 0, mode, size: 0 };
    system.files.insert("/usr/bin/true".into(), stat(FileKind::Regular, 0o755));
    for directory in ["/", "/run", "/etc"] {
        system.files.insert(directory.into(), stat(FileKind::Directory, 0o755));
    }
    system.files.insert("/tmp".into(), stat(FileKind::Directory, 0o1777));
    system
}

/// Why vipd says otherwise: what the reason is, and which values of which keywords it is about.
struct Exception {
    why: &'static str,
    about: fn(block: &str, keyword: &str, value: &str) -> bool,
}

const EXCEPTIONS: &[Exception] = &[
    Exception {
        why: "docs/differences.md: an empty string is no number and no name of a file or an interface",
        about: |_, _, value| value == "\"\"",
    },
    Exception {
        why: "docs/differences.md: an interface has a name of 15 bytes at most",
        about: |_, keyword, value| keyword == "default_interface" && value.len() > 15,
    },
    Exception {
        why: "these keywords came after the 2.4.3 that was asked",
        about: |_, keyword, _| matches!(keyword, "set_supplementary_groups" | "sni_name"),
    },
    Exception {
        why: "the machine that was asked had two processors, and this one has many",
        about: |_, keyword, _| keyword.ends_with("_cpu_affinity"),
    },
    Exception {
        why: "the machine that was asked looked names up, and took 5 for 0.0.0.5",
        about: |_, keyword, value| keyword == "smtp_server" && value.parse::<std::net::IpAddr>().is_err(),
    },
    Exception {
        why: "keepalived had made the directory `a` when it was asked about a value before this one",
        about: |_, keyword, value| keyword == "config_save_dir" && value == "a/b",
    },
    Exception {
        why: "docs/differences.md: a label of a DNS name may have one letter",
        about: |block, keyword, value| {
            block.ends_with("DNS_CHECK") && keyword == "name" && value.split('.').any(|label| label.len() == 1)
        },
    },
    Exception {
        why: "docs/differences.md: an IPv6 address is no mask of IPv4",
        about: |_, keyword, value| keyword == "persistence_granularity" && value.contains(':'),
    },
    Exception {
        why: "docs/differences.md: a number beyond its range is none, and does not wrap",
        about: |_, _, value| {
            let wraps = ["scope", "tos", "dsfield", "realms", "suppress_ifgroup", "sup_group", "table", "lookup"];
            let mut words = value.split_whitespace().rev().skip(1);
            let number = words.next().is_some_and(|word| matches!(word, "4294967296" | "-1"));
            number && words.next().is_some_and(|option| wraps.contains(&option))
        },
    },
    Exception {
        why: "docs/differences.md: the word after inet is read",
        about: |_, keyword, value| keyword.contains("_r") && value.split_whitespace().any(|w| w.starts_with("inet")),
    },
    Exception {
        why: "a word too many after encap: keepalived takes it for the beginning of something else",
        about: |_, keyword, value| {
            let strange = value.contains(" lock ") || value.contains(" encap 1 encap ");
            keyword.ends_with("_routes") && value.contains(" encap ") && strange
        },
    },
    Exception {
        why: "docs/differences.md: a link-local neighbour of BFD names its link",
        about: |block, _, value| block == "bfd_instance" && value == "fe80::1%eth0",
    },
    Exception {
        why: "docs/differences.md: what a brace too few or too many makes of the lines below it",
        about: |_, _, value| matches!(value, "{" | "}"),
    },
];

struct Recorded<'a> {
    block: &'a str,
    keyword: &'a str,
    code: u8,
    names_the_line: bool,
    value: &'a str,
}

fn recorded(text: &str) -> Vec<Recorded<'_>> {
    let (mut all, mut block, mut keyword) = (Vec::new(), "", "");
    for line in text.lines() {
        if let Some(head) = line.strip_prefix('[') {
            (block, keyword) = head.split_once("] ").unwrap();
            continue;
        }
        let mut fields = line.split('\t');
        let verdict = fields.next().unwrap();
        let names_the_line = verdict.ends_with('!');
        let code = verdict.trim_end_matches('!').parse().unwrap();
        all.extend(fields.map(|value| Recorded { block, keyword, code, names_the_line, value }));
    }
    all
}

/// The rest of the file is not right beside this: what is wrong then stands on other lines.
fn contradicts(&Recorded { block, keyword, value, .. }: &Recorded<'_>) -> bool {
    // A brace changes what the lines below it belong to.
    if value.starts_with('{') {
        return true;
    }
    match keyword {
        // Another family than the virtual addresses; strict mode beside authentication; a session that checkers use.
        "mcast_src_ip" | "mcast_dst_ip" | "unicast_src_ip" | "use_ipvlan" => value.contains(':'),
        "native_ipv6" | "vrrp_strict" | "vrrp" => true,
        // A sync group without sync_group_tracking_weight.
        "weight" => block == "vrrp_script",
        // Security is then off, which has an exit code of its own.
        "enable_script_security" => value == "\\",
        _ => false,
    }
}

/// Each value that is judged otherwise, with the exception that allows it or what vipd says.
fn otherwise(records: &[Recorded<'_>]) -> Vec<Result<usize, (String, String)>> {
    let system = machine();
    let mut found = Vec::new();
    for record in records {
        let Recorded { block, keyword, code, names_the_line, value } = *record;
        let (text, at) = file(block, keyword, format!("{keyword} {value}").trim_end());
        let judged = judge(&text, &system);
        let named = judged.said.iter().any(|(line, ..)| *line == at);
        let mistakes: Vec<_> = judged.said.iter().filter(|(_, class, _)| class.is_mistake()).collect();
        // Each word of a line may be a mistake of its own.
        let several = mistakes.len() > 1 && mistakes.iter().any(|(line, ..)| *line != at) && !contradicts(record);
        if judged.exit_code == code && (named || !names_the_line) && (code != 0 || mistakes.is_empty()) && !several {
            continue;
        }
        found.push(match EXCEPTIONS.iter().position(|e| (e.about)(block, keyword, value)) {
            Some(exception) => Ok(exception),
            None => {
                let said: Vec<_> =
                    judged.said.iter().map(|(line, _, said)| format!("\n        {line}: {said}")).collect();
                let got = format!("`{value}`: {} instead of {code}{}", judged.exit_code, said.concat());
                Err((format!("[{block}] {keyword}"), got))
            }
        });
    }
    found
}

#[test]
fn every_value_has_keepalived_s_verdict() {
    let all = recorded(include_str!("verdicts.txt"));
    let share = all.len().div_ceil(std::thread::available_parallelism().map_or(1, usize::from));
    let found: Vec<_> = std::thread::scope(|scope| {
        let parts: Vec<_> = all.chunks(share).map(|part| scope.spawn(|| otherwise(part))).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    });
    let (mut wrong, mut needed) = (BTreeMap::<String, Vec<String>>::new(), BTreeSet::new());
    for value in found {
        match value {
            Ok(exception) => drop(needed.insert(exception)),
            Err((keyword, got)) => wrong.entry(keyword).or_default().push(got),
        }
    }
    let shown: Vec<String> =
        wrong.iter().map(|(key, values)| format!("{key}\n    {}", values.join("\n    "))).collect();
    assert!(wrong.is_empty(), "{} keywords of {} values:\n{}", wrong.len(), all.len(), shown.join("\n"));
    for (at, exception) in EXCEPTIONS.iter().enumerate() {
        assert!(needed.contains(&at), "nothing needs the exception: {}", exception.why);
    }
}

/// Blocks have no value of their own; what the build of keepalived that was asked does not have cannot be asked, nor can
/// keywords of our own.
#[test]
fn every_keyword_has_been_asked_about() {
    let asked: BTreeSet<(&str, &str)> =
        recorded(include_str!("verdicts.txt")).iter().map(|r| (r.block, r.keyword)).collect();
    let without: Vec<String> = all()
        .iter()
        .filter(|k| !k.keyword.starts_with("vipd_"))
        .filter(|k| !k.arguments.contains("BLOCK") && !asked.contains(&(k.block, k.keyword)))
        .map(|k| format!("[{}] {}", k.block, k.keyword))
        .collect();
    assert!(without.is_empty(), "{without:#?}");
}
