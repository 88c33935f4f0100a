//! Inputs of one mebibyte that are made to take long, each through the whole way: text to Spec, complaints in all three
//! forms, the formatter, and the comparison of two servers. `cargo bench --bench parse -- --worst`.
//!
//! Nothing may take more than a second; the exit code says whether that holds. A new way to make the reader slow belongs
//! here before it is mended.

use std::fmt::Write;
use std::time::{Duration, Instant};

use vipd::config::Env;
use vipd::config::load_all;
use vipd::config::pair;
use vipd::config::report::Style;
use vipd::config::system::TableSystem;
use vipd::config::text::expand::TextEnv;
use vipd::config::text::fmt;
use vipd::config::text::source::MapLoader;

use super::MAIN;

const SIZE: usize = 1 << 20;
const LIMIT: Duration = Duration::from_secs(1);

/// `head`, as many of `part(n)` as fit, `tail`.
fn fill(head: &str, part: impl Fn(usize) -> String, tail: &str) -> String {
    let mut text = head.to_owned();
    for n in 0.. {
        let part = part(n);
        if text.len() + part.len() + tail.len() > SIZE {
            break;
        }
        text.push_str(&part);
    }
    text + tail
}

/// Two halves, the second after the first.
fn halves(first: impl Fn(usize) -> String, second: impl Fn(usize) -> String, tail: &str) -> String {
    let mut text = String::new();
    for n in 0.. {
        if text.len() > SIZE / 2 {
            break;
        }
        text += &first(n);
    }
    fill(&text, second, tail)
}

const INSTANCE: &str = "vrrp_instance V {\n interface eth0\n virtual_router_id 7\n";

fn address(n: usize) -> String {
    format!("10.{}.{}.{}", n / 65536 % 256, n / 256 % 256, n % 256)
}

fn instance(name: &str, vrid: usize, interface: usize, more: &str, address: &str) -> String {
    format!(
        "vrrp_instance {name} {{\ninterface eth{interface}\nvirtual_router_id {vrid}\n{more}virtual_ipaddress {{\n\
         {address}\n}}\n}}\n"
    )
}

fn inputs() -> Vec<(&'static str, String)> {
    let tiny = |n: usize| instance(&format!("V{n}"), n % 255 + 1, n / 255, "", &address(n));
    let same = |n: usize| instance(&format!("V{n}"), 7, 0, "", &address(n));
    let unicast = |n: usize| {
        let peer = format!("unicast_peer {{\n{}\n}}\n", address(n + 1));
        instance(&format!("V{n}"), 7, 0, &peer, &address(n))
    };
    let vmac =
        |n: usize| instance(&format!("V{n}"), n % 255 + 1, n % 3, "use_vmac\n", &format!("{} use_vmac", address(n)));
    let password = |n: usize, word: &str| {
        let lines = format!("authentication {{\nauth_type PASS\nauth_pass {word}\n}}\nbogus {n}\n");
        instance(&format!("V{n}"), n % 255 + 1, n / 255, &lines, &address(n))
    };
    let script = |n: usize| format!("vrrp_script check{n} {{\nscript /bin/true\n}}\n");
    let nested = |n: usize| if n == 0 { "$D0=x x\n".into() } else { format!("$D{n}=$D{} $D{}\n", n - 1, n - 1) };
    let mut chain = String::new();
    (0..60).for_each(|n| chain += &nested(n));
    vec![
        ("plain file", fill("", tiny, "")),
        (
            "one instance, addresses",
            fill(&format!("{INSTANCE}virtual_ipaddress {{\n"), |n| address(n) + "\n", "}\n}\n"),
        ),
        ("the same address", fill(&format!("{INSTANCE}virtual_ipaddress {{\n"), |_| "10.0.0.1\n".into(), "}\n}\n")),
        (
            "excluded, with devices",
            fill(
                &format!("{INSTANCE}virtual_ipaddress_excluded {{\n"),
                |n| format!("{} dev eth{n}\n", address(n)),
                "}\n}\n",
            ),
        ),
        (
            "bad addresses",
            fill(&format!("{INSTANCE}virtual_ipaddress {{\n"), |n| format!("10.0.0.{n}x labell x\n"), "}\n}\n"),
        ),
        ("passwords, one complaint each", fill("", |n| password(n, &format!("pw{n}")), "")),
        (
            "passwords out of definitions",
            halves(|n| format!("$PW{n}=pw{n}\n"), |n| password(n, &format!("$PW{n}")), ""),
        ),
        ("passwords out of nowhere", fill("", |n| password(n, &format!("$PW{n}")), "")),
        ("unicast peers", fill(&format!("{INSTANCE}unicast_peer {{\n"), |n| address(n) + "\n", "}\n}\n")),
        (
            "routes",
            fill(
                &format!("{INSTANCE}virtual_routes {{\n"),
                |n| format!("{}/32 via 10.0.0.1 dev eth{n}\n", address(n)),
                "}\n}\n",
            ),
        ),
        (
            "rules",
            fill(
                &format!("{INSTANCE}virtual_rules {{\n"),
                |n| format!("from {} table {n} iif eth{n}\n", address(n)),
                "}\n}\n",
            ),
        ),
        (
            "track_interface",
            fill(&format!("{INSTANCE}track_interface {{\n"), |n| format!("eth{n} weight 1\n"), "}\n}\n"),
        ),
        (
            "scripts and who tracks them",
            halves(
                script,
                |n| if n == 0 { format!("{INSTANCE}track_script {{\n") } else { format!("check{n}\n") },
                "}\n}\n",
            ),
        ),
        (
            "scripts and slips of the keyboard",
            halves(
                script,
                |n| if n == 0 { format!("{INSTANCE}track_script {{\n") } else { format!("chekc{n}x\n") },
                "}\n}\n",
            ),
        ),
        ("scripts that nobody tracks", format!("{}{}", fill("", script, &" ".repeat(100)), same(1))),
        (
            "sync groups of strangers",
            fill("", |n| format!("vrrp_sync_group G{n} {{\ngroup {{\nV{n}\nW{n}\n}}\n}}\n"), ""),
        ),
        (
            "sync groups of all",
            halves(tiny, |n| format!("vrrp_sync_group G{n} {{\ngroup {{\nV{n}\nV{}\nX{n}\n}}\n}}\n", n + 1), ""),
        ),
        (
            "one group, all tracked",
            halves(
                tiny,
                |n| if n == 0 { "vrrp_sync_group G {\ngroup {\n".into() } else { format!("V{n}\n") },
                "}\ntrack_interface {\neth900\neth901\neth902\n}\n}\n",
            ),
        ),
        (
            "one group with many trackers",
            halves(
                |n| if n == 0 { "vrrp_sync_group G {\ntrack_interface {\n".into() } else { format!("eth{n}\n") },
                |n| if n == 0 { "}\ngroup {\nV0\nV1\n}\n}\n".into() } else { tiny(n - 1) },
                "",
            ),
        ),
        ("one VRID, multicast", fill("", same, "")),
        ("one VRID, unicast", fill("", unicast, "")),
        ("VMACs", fill("", vmac, "")),
        ("one name", fill("", |_| same(1), "")),
        (
            "virtual servers",
            fill(
                "",
                |n| {
                    format!(
                        "virtual_server {} 80 {{\nreal_server {} 80 {{\nTCP_CHECK {{\n}}\n}}\n}}\n",
                        address(n),
                        address(n)
                    )
                },
                "",
            ),
        ),
        (
            "real servers",
            fill("virtual_server 10.0.0.1 80 {\n", |n| format!("real_server {} 80 {{\n}}\n", address(n)), "}\n"),
        ),
        ("server groups", fill("", |n| format!("virtual_server_group G{n} {{\n{} 80\n}}\n", address(n)), "")),
        ("bfd", fill("", |n| format!("bfd_instance B{n} {{\nneighbor_ip {}\n}}\n", address(n)), "")),
        ("unknown keywords", fill("", |n| format!("vrrp_instanec{n}\n"), "")),
        ("unknown keywords of a block", fill(INSTANCE, |n| format!("virtaul_ipaddress{n} x\n"), "}\n")),
        ("one keyword again and again", fill(INSTANCE, |_| "priority 100 x\n".into(), "}\n")),
        ("one first keyword again", fill(INSTANCE, |_| "notify /bin/true\n".into(), "}\n")),
        (
            "keys",
            fill(
                &format!("{INSTANCE}auth_hmac {{\n"),
                |n| format!("key {} abcdefghijklmnopqrstuvwxyzabcdef{n}\n", n % 255 + 1),
                "}\n}\n",
            ),
        ),
        ("late globals", fill("", |n| tiny(n) + "global_defs {\n}\n", "")),
        ("open braces", fill("", |_| "{".into(), "")),
        ("closed braces", fill("", |_| "}".into(), "")),
        ("open blocks", fill("", |n| format!("vrrp_instance V{n} {{ "), "")),
        ("nested unknown blocks", fill("", |_| "x {\n".into(), "")),
        ("quotes", fill("", |_| "\"".into(), "")),
        ("open quotes", fill("", |_| "x \"y\n".into(), "")),
        ("one line", "x".repeat(SIZE)),
        ("one quoted line", format!("x \"{}\"", "y ".repeat(SIZE / 2))),
        ("one line of words", "x ".repeat(SIZE / 2)),
        ("lines of a thousand bytes", fill("", |_| "x".repeat(1020) + "\n", "")),
        ("continued lines", fill("$X=a \\\n", |_| "b \\\n".into(), "c\n$X\n")),
        ("NUL bytes", "\0".repeat(SIZE)),
        ("stray bytes", fill("", |_| "\u{f7ff}".into(), "")),
        ("comments", fill("", |_| "!\n".into(), "")),
        ("empty lines", "\n".repeat(SIZE)),
        ("backslashes", "\\".repeat(SIZE)),
        ("backslash lines", fill("", |_| "\\\\ #\\\n".into(), "")),
        ("@ lines", fill("", |_| "@node x\n".into(), "")),
        ("definitions", fill("", |n| format!("$A{n}=x\n"), "")),
        ("definitions, used", halves(|n| format!("$A{n}=x$A{}\n", n / 2), |n| format!("$A{n}\n"), "")),
        ("doubling definitions", chain.clone() + &fill("", |_| "$D59\n".into(), "")),
        ("many names in a line", fill("$A=x\n", |_| "$A ".repeat(300) + "\n", "")),
        ("unknown names in a line", fill("", |_| "$B".repeat(500) + "\n", "")),
        ("~SEQ", "~SEQ(n,1,100000000) vrrp_instance V${n} {\n".into()),
        ("~SEQ of ~SEQ", fill("", |_| "~SEQ(n,1,10000) ~SEQ(m,1,10000) x$n$m\n".into(), "")),
        ("~LST", format!("~LST(a,{{{}}}) x$a\n", "b,".repeat(400))),
        ("many ~LST", fill("", |_| format!("~LST(a,{{{}}}) x$a\n", "b,".repeat(400)), "")),
        ("includes itself", fill("", |_| format!("include {MAIN}\n"), "")),
        ("includes of nothing", fill("", |n| format!("include n{n}.conf\n"), "")),
        ("included alternatives", fill("", |_| format!("include {}\n", "{a,b}".repeat(12)), "")),
        ("patterns", fill("", |_| format!("include {}\n", "*a".repeat(200)), "")),
    ]
}

/// Prints what takes longest first; false if anything took longer than a second.
pub fn run(only: Option<&str>) -> bool {
    let mut rows = Vec::new();
    for (name, text) in inputs() {
        if only.is_some_and(|only| !name.contains(only)) {
            continue;
        }
        let system = TableSystem::anywhere();
        let env = Env { text: TextEnv::default(), system: &system };
        let files = MapLoader::default().with(MAIN, text.as_str());
        let mut stages = Vec::new();
        let mut begin = Instant::now();
        let mut note = |stage: &'static str| {
            stages.push((stage, begin.elapsed()));
            begin = Instant::now();
        };
        let loaded = load_all(MAIN, &env, &files);
        note("load");
        loaded.diagnostics.show(Style::Plain);
        note("plain");
        loaded.diagnostics.show(Style::Full { colour: true });
        note("full");
        loaded.diagnostics.show(Style::Json);
        note("json");
        fmt::format(text.as_bytes());
        note("fmt");
        if let Some(spec) = &loaded.spec {
            let servers = [("a.conf".to_owned(), spec), ("b.conf".to_owned(), spec)];
            pair::compare(&servers);
            note("compare");
            let named = servers.map(|(name, spec)| (name, spec.clone()));
            vipd::sim::outlook(&named, &["a.conf".to_owned(), "b.conf".to_owned()]);
            note("outlook");
        }
        let slowest = stages.iter().map(|(_, took)| *took).max().unwrap_or_default();
        let mut row = format!("{name:34}");
        for (stage, took) in stages {
            let _ = write!(row, " {stage} {:.0}", took.as_secs_f64() * 1000.0);
        }
        eprintln!("{row}");
        rows.push((slowest, name));
    }
    rows.sort();
    rows.iter().rev().take(5).for_each(|(took, name)| println!("{:8.0} ms {name}", took.as_secs_f64() * 1000.0));
    rows.iter().all(|(took, _)| *took < LIMIT)
}
