//! Every error and warning about a configuration says what to write: over the cases of `tests/config` and over every value of
//! every keyword that keepalived has judged, the complaints without a cure are counted.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use vipd::config::report::{Class, Level};
use vipd::config::system::{Link, TableSystem};
use vipd::config::table::keywords;
use vipd::config::text::expand::TextEnv;
use vipd::config::text::source::MapLoader;
use vipd::config::{Env, load};

/// Beginnings of sentences that need no cure, each with the reason.
const WITHOUT: &[(&str, &str)] = &[];

const VALUES: [&str; 24] = [
    "",
    "0",
    "-1",
    "1",
    "300",
    "99999999999",
    "1.5",
    "x",
    "\"\"",
    "\"",
    "on",
    "maybe",
    "192.0.2.7",
    "192.0.2.7/33",
    "2001:db8::1",
    "eth0",
    "nosuch0",
    "{ }",
    "{ x }",
    "a b c",
    "5 reverse",
    "5 forward",
    "/nosuch/program",
    "weight 5",
];

fn machine() -> TableSystem {
    let mut system = TableSystem { assume_interfaces: false, assume_scripts: false, ..TableSystem::anywhere() };
    system.interfaces.insert("eth0".into(), Link::ethernet("eth0"));
    system.interfaces.insert("lo".into(), Link { loopback: true, ..Link::ethernet("lo") });
    system
}

/// The sentence without the words that it is about.
fn shape(message: &str) -> String {
    let mut shape = String::new();
    for (at, part) in message.split('`').enumerate() {
        shape.push_str(if at % 2 == 0 { part } else { "…" });
    }
    shape.chars().map(|c| if c.is_ascii_digit() { 'N' } else { c }).collect()
}

#[derive(Default)]
struct Count {
    shapes: usize,
    lacking: BTreeMap<String, String>,
    /// One of each sentence with its cure, for whoever wants to read them all.
    cures: BTreeMap<String, String>,
    seen: std::collections::BTreeSet<String>,
}

impl Count {
    fn add(&mut self, text: &str, files: MapLoader) {
        let system = machine();
        let files = files.with("/etc/keepalived/keepalived.conf", text);
        let (_, diagnostics) =
            load("/etc/keepalived/keepalived.conf", &Env { text: TextEnv::default(), system: &system }, &files);
        for complaint in diagnostics.list.iter().filter(|d| d.class.level() != Level::Note) {
            let shape = shape(&complaint.message);
            if self.seen.insert(shape.clone()) {
                self.shapes += 1;
                let help = complaint.help.as_deref().unwrap_or("-");
                self.cures.insert(shape.clone(), format!("{} => {help}", complaint.message));
            }
            let excused = WITHOUT.iter().any(|(begins, _)| complaint.message.starts_with(begins));
            if complaint.help.is_none() && !excused {
                self.lacking.entry(shape).or_insert_with(|| format!("{:?} {}", complaint.class, complaint.message));
            }
        }
    }
}

/// A file that opens the block of this path and holds the line.
fn placed(path: &str, line: &str) -> String {
    let mut text = String::new();
    let mut ends = 0;
    for block in path.split('/').filter(|block| !block.is_empty()) {
        let name = match block {
            "virtual_server" => "192.0.2.5 80",
            "real_server" => "192.0.2.6 80",
            "global_defs" | "authentication" | "auth_hmac" | "garp_group" | "SSL" | "url" | "host" => "",
            check if check.chars().all(|c| c.is_ascii_uppercase() || c == '_') => "",
            _ => "N",
        };
        text += &format!("{block} {name} {{\n");
        ends += 1;
    }
    format!("{text}{line}\n{}", "}\n".repeat(ends))
}

#[test]
fn every_error_has_a_cure() {
    let mut count = Count::default();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    for case in std::fs::read_dir(root).unwrap() {
        let folder = case.unwrap().path();
        let Ok(text) = std::fs::read(folder.join("keepalived.conf")) else { continue };
        let mut files = MapLoader::default();
        for file in std::fs::read_dir(&folder).unwrap().flatten().filter(|f| f.path().is_file()) {
            files =
                files.with(Path::new("/etc/keepalived").join(file.file_name()), std::fs::read(file.path()).unwrap());
        }
        count.add(&String::from_utf8_lossy(&text), files);
    }
    for keyword in keywords::all() {
        for value in VALUES {
            let line = format!("{} {value}", keyword.keyword);
            count.add(&placed(keyword.block, &line), MapLoader::default());
            count.add(&placed(keyword.block, &format!("{line}\n{line}")), MapLoader::default());
        }
    }
    if std::env::var_os("VIPD_CURES").is_some() {
        count.cures.values().for_each(|line| println!("{line}"));
    }
    assert!(count.shapes > 300, "only {} sentences were seen", count.shapes);
    // A cure is something to type, not a grammar to be read at three in the morning.
    let grammar =
        ["UINT", "STR", "`WORD", " WORD", "IPADDR", "OCTAL", "HEX", "TIMER", "BOOL", "SCRIPT", " PATH`", " DIR`", "[["];
    let cure = |line: &String| line.split(" => ").last().unwrap_or_default().to_owned();
    let read: Vec<_> =
        count.cures.values().filter(|line| grammar.iter().any(|word| cure(line).contains(word))).collect();
    let read: Vec<_> = read.into_iter().filter(|line| !cure(line).contains("file PATH")).collect();
    assert!(read.is_empty(), "{read:#?}");
    let list: Vec<_> = count.lacking.values().map(String::as_str).collect();
    assert!(list.is_empty(), "{} of {} have no cure:\n{}", list.len(), count.shapes, list.join("\n"));
}

/// What is excused is still said, and has its reason.
#[test]
fn excuses_are_few_and_have_reasons() {
    assert!(WITHOUT.len() < 10 && WITHOUT.iter().all(|(_, why)| !why.is_empty()));
    assert!(Class::NotRun.is_against_strict() && Class::Idle.is_against_strict() && !Class::Note.is_against_strict());
}

/// What was to be replaced and was not is named, whatever keyword it stands behind.
#[test]
fn a_word_that_was_not_filled_in_is_the_cure() {
    for (line, name) in [
        ("priority $PRIO", "`$PRIO=VALUE`"),
        ("priority @PRIO@", "`@PRIO@` stands for"),
        ("unicast_src_ip 10.0.0.$US", "`$US=VALUE`"),
        ("mcast_src_ip ${US}", "`$US=VALUE`"),
        ("advert_int @SECONDS@", "`@SECONDS@` stands for"),
    ] {
        let text = format!("vrrp_instance V {{\n    virtual_router_id 51\n    interface lo\n    {line}\n}}\n");
        let files = MapLoader::default().with("/etc/keepalived.conf", text);
        let system = TableSystem::anywhere();
        let (_, diagnostics) = load("/etc/keepalived.conf", &Env { text: TextEnv::default(), system: &system }, &files);
        let helps: Vec<_> = diagnostics.list.iter().filter_map(|d| d.help.as_deref()).collect();
        assert!(helps.iter().any(|help| help.contains(name)), "{line}: {helps:?}");
    }
}
