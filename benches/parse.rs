//! How long reading takes, for many instances with four addresses each: `cargo bench --bench parse`.
//!
//! First `vipd -t` beside `keepalived -t`, where that is installed, with the peak of memory, then each stage in this
//! process. Prints the best of several rounds, in milliseconds: this machine may have other things to do, and the best
//! round is the one that they disturbed least. Tenfold input has to take about tenfold time.
//!
//! `--worst [NAME]` reads inputs that are made to take long instead; see `parse/worst.rs`.

#[path = "parse/worst.rs"]
mod worst;

use std::fmt::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use vipd::config::Env;
use vipd::config::load;
use vipd::config::report::Diagnostics;
use vipd::config::system::TableSystem;
use vipd::config::table::keywords::Language;
use vipd::config::text::expand::{TextEnv, read};
use vipd::config::text::fmt::format;
use vipd::config::text::source::MapLoader;
use vipd::config::text::tree::parse;

const MAIN: &str = "/etc/keepalived/keepalived.conf";

/// One instance of many, over as many interfaces as their ids need.
fn one(n: usize) -> String {
    let (interface, id) = (n / 255, n % 255 + 1);
    let mut text = format!(
        "vrrp_instance V{n} {{\n    state BACKUP\n    interface eth{interface}\n    virtual_router_id {id}\n    \
         priority 100\n    advert_int 1\n    virtual_ipaddress {{\n"
    );
    for address in 1..5 {
        let _ = writeln!(text, "        10.{}.{}.{address}/24", n / 256 % 256, n % 256);
    }
    text + "    }\n}\n"
}

fn plain(instances: usize) -> String {
    (0..instances).map(one).collect()
}

/// The same in a file, an instance at a time. With `dynamic_interfaces`: interfaces that are not there would end
/// keepalived's test early.
fn written(file: &std::path::Path, instances: usize) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut out = std::io::BufWriter::new(std::fs::File::create(file)?);
    out.write_all(b"global_defs {\n    dynamic_interfaces\n}\n")?;
    (0..instances).try_for_each(|n| out.write_all(one(n).as_bytes()))?;
    out.flush()
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

/// Milliseconds and KiB of one run of `program -t`; `None` when it is not there or took longer than `LONGEST`.
fn one_test(program: &str, file: &std::path::Path) -> Option<(f64, i64)> {
    let begin = Instant::now();
    let mut command = std::process::Command::new(program);
    command.arg("-t").arg("-f").arg(file).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().ok()?;
    let id = child.id() as libc::pid_t;
    loop {
        let mut status = 0;
        // SAFETY: an all-zero rusage is a valid one, and both pointers are to live values of this frame.
        let (done, usage) = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            (libc::wait4(id, &raw mut status, libc::WNOHANG, &raw mut usage), usage)
        };
        if done == id {
            return Some((begin.elapsed().as_secs_f64() * 1000.0, usage.ru_maxrss));
        }
        if done < 0 {
            return None;
        }
        if begin.elapsed() > LONGEST {
            let mut child = child;
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        // Often enough for runs of milliseconds.
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// Longer than this nobody waits for a figure.
const LONGEST: Duration = Duration::from_secs(90);

/// `vipd -t` beside `keepalived -t`, round by round in turn. Comes before everything that takes memory here: what a process
/// has held counts as the peak of those that it starts.
fn beside() {
    println!(
        "{:>9} {:>12} {:>9} {:>14} {:>9} {:>7}",
        "instances", "vipd -t ms", "MiB", "keepalived ms", "MiB", "ratio"
    );
    let file = std::env::temp_dir().join(format!("vipd-parse-{}.conf", std::process::id()));
    for instances in [500, 5_000, 50_000] {
        if let Err(error) = written(&file, instances) {
            return println!("{}: {error}", file.display());
        }
        let rounds = if instances > 10_000 { 1 } else { 5 };
        let (mut ours, mut theirs) = (None, None);
        for _ in 0..rounds {
            for (best, program) in [(&mut ours, env!("CARGO_BIN_EXE_vipd")), (&mut theirs, "keepalived")] {
                if let Some(run) = one_test(program, &file)
                    && best.is_none_or(|(took, _)| run.0 < took)
                {
                    *best = Some(run);
                }
            }
        }
        let shown = |run: Option<(f64, i64)>| match run {
            Some((took, memory)) => (format!("{took:.1}"), format!("{:.1}", memory as f64 / 1024.0)),
            None => (format!(">{}", LONGEST.as_millis()), "-".to_owned()),
        };
        let ((our_time, our_memory), (their_time, their_memory)) = (shown(ours), shown(theirs));
        let ratio = ours.zip(theirs).map_or("-".to_owned(), |(ours, theirs)| format!("{:.3}", ours.0 / theirs.0));
        println!("{instances:>9} {our_time:>12} {our_memory:>9} {their_time:>14} {their_memory:>9} {ratio:>7}");
    }
    let _ = std::fs::remove_file(&file);
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    if arguments.next().as_deref() == Some("--worst") {
        let kept = worst::run(arguments.next().as_deref());
        std::process::exit(i32::from(!kept));
    }
    beside();
    println!("\n{:10} {:>9} {:>10} {:>10} {:>10} {:>10}", "text", "instances", "expand", "tree", "whole", "fmt");
    for instances in [5_000, 50_000] {
        measure("plain", instances, &plain(instances));
    }
    for instances in [1_000, 10_000] {
        measure("sequence", instances, &sequence(instances));
    }
}
