//! How long each stage of reading takes, for many instances with four addresses each: `cargo bench --bench parse`.
//!
//! Prints the best of several rounds, in milliseconds: this machine may have other things to do, and the best round is the
//! one that they disturbed least. Tenfold input has to take about tenfold time.

use std::fmt::Write;
use std::time::{Duration, Instant};

use vipd::config::diagnostic::Diagnostics;
use vipd::config::expand::{TextEnv, read};
use vipd::config::fmt::format;
use vipd::config::keywords::Language;
use vipd::config::source::MapLoader;
use vipd::config::system::TableSystem;
use vipd::config::tree::parse;
use vipd::config::{Env, load};

const MAIN: &str = "/etc/keepalived/keepalived.conf";

/// Instances over as many interfaces as their ids need.
fn plain(instances: usize) -> String {
    let mut text = String::new();
    for n in 0..instances {
        let (interface, id) = (n / 255, n % 255 + 1);
        let _ = write!(
            text,
            "vrrp_instance V{n} {{\n    state BACKUP\n    interface eth{interface}\n    virtual_router_id {id}\n    \
             priority 100\n    advert_int 1\n    virtual_ipaddress {{\n"
        );
        for address in 1..5 {
            let _ = writeln!(text, "        10.{}.{}.{address}/24", n / 256 % 256, n % 256);
        }
        text.push_str("    }\n}\n");
    }
    text
}

/// The same out of a definition and a sequence.
fn sequence(instances: usize) -> String {
    let mut text = String::from("$BODY=vrrp_instance V${n} { \\\n");
    for line in ["state BACKUP", "interface eth0", "virtual_router_id 7", "priority 100", "virtual_ipaddress {"] {
        let _ = writeln!(text, "{line} \\");
    }
    for address in 1..5 {
        let _ = writeln!(text, "10.0.0.{address}/24 \\");
    }
    let _ = write!(text, "}} \\\n}}\n~SEQ(n,1,{instances}) $BODY\n");
    text
}

fn best(rounds: usize, mut run: impl FnMut() -> Duration) -> f64 {
    (0..rounds).map(|_| run()).min().unwrap_or_default().as_secs_f64() * 1000.0
}

fn measure(name: &str, instances: usize, text: &str) {
    let files = MapLoader::default().with(MAIN, text);
    let env = TextEnv::default();
    let rounds = if instances > 10_000 { 5 } else { 30 };
    let expand = best(rounds, || {
        let begin = Instant::now();
        read(MAIN, &env, &files, &mut Diagnostics::default());
        begin.elapsed()
    });
    let tree = best(rounds, || {
        let mut diagnostics = Diagnostics::default();
        let text = read(MAIN, &env, &files, &mut diagnostics);
        let begin = Instant::now();
        let nodes = parse(&text, &Language, &mut diagnostics);
        let took = begin.elapsed();
        drop(nodes);
        took
    });
    let system = TableSystem::anywhere();
    let all = best(rounds, || {
        let env = Env { text: env.clone(), system: &system };
        let begin = Instant::now();
        load(MAIN, &env, &files);
        begin.elapsed()
    });
    let layout = best(rounds, || {
        let begin = Instant::now();
        format(text.as_bytes());
        begin.elapsed()
    });
    println!("{name:10} {instances:>9} {expand:>10.2} {tree:>10.2} {all:>10.2} {layout:>10.2}");
}

fn main() {
    println!("{:10} {:>9} {:>10} {:>10} {:>10} {:>10}", "text", "instances", "expand", "tree", "whole", "fmt");
    for instances in [5_000, 50_000] {
        measure("plain", instances, &plain(instances));
    }
    for instances in [1_000, 10_000] {
        measure("sequence", instances, &sequence(instances));
    }
}
