//! vipd beside keepalived, in one run on one machine, as a table: how late is a take-over, how even the cadence, what does
//! an advert cost, how long is an address away, what does a reload cost, how long does reading take.
//!
//! ```text
//! cargo bench --bench takeover                              every row, and what grows with its size (--table: the same)
//! cargo bench --bench takeover -- --write                   the same, into docs/performance.md and README.md
//! cargo bench --bench takeover -- --try                     one small row of each kind (about five minutes), into copies of the documents
//! cargo bench --bench takeover -- crash:1:1:0.1 heal        rows that begin with one of the words
//! cargo bench --bench takeover -- --runs 10 crash           with more runs (3 otherwise)
//! cargo bench --bench takeover -- --only vipd crash         of one daemon
//! cargo bench --bench takeover -- cpu:50:4:0.1              a size of your own
//! ```
//! `KEEPALIVED=PROGRAM` and `VIPD=PROGRAM` name other programs than those that are installed and built. As root.
//!
//! Every row and both tables take about 25 minutes. A row is named by what is done. `crash` and `graceful` (the master is killed, or stopped), `cpu`, `calls` (system calls,
//! by strace), `reload` and `scrape` (metrics are asked for ten times a second) have instances, addresses of each and
//! advert interval; `cadence` has the interval, how many processes beside do nothing but count, for how many seconds it is
//! listened (8 otherwise; `cadence:0.01:0:3600` is an hour), and the daemons' real-time priority (none otherwise); `test`
//! (`-t`) has instances; then there are `heal` and `start`. What has one number more (`scripts`, `files`, `peers`, `begin`,
//! `again`) stands in
//! benches/takeover/growth.rs. Two servers and an observer in network namespaces; the observer is a
//! packet socket on the bridge between them, so that both daemons are judged by what a client would see, with the
//! kernel's time stamps. "Late" is counted from the deadline that the RFC gives the backup: the last advert heard plus the
//! master down interval, or the skew time after priority 0. Figures are least, middle and greatest of all runs. The
//! column "kernel" is what `ip -batch` takes to add as many addresses, alone on the machine, or a loop that does nothing but
//! send an advert, or receive it (benches/takeover/bare.rs; for `cadence` beside as many processes and with the same priority);
//! "load" is the load average at that moment: above 1 other things were running, and the least figure is the one to look at.

#![allow(clippy::unwrap_used)]

#[path = "takeover/bare.rs"]
mod bare;
#[path = "takeover/growth.rs"]
mod growth;
#[path = "takeover/lan.rs"]
mod lan;
#[path = "takeover/page.rs"]
mod page;
#[path = "takeover/work.rs"]
mod work;

use lan::Size;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is measured when nothing is asked for.
const ROWS: [&str; 21] = [
    "crash:1:1:0.1",
    "crash:255:4:1",
    "graceful:1:1:0.1",
    "graceful:255:4:1",
    "graceful:1:2000:1",
    "graceful:1:10000:1",
    "calls:1:1:0.01",
    "calls:255:1:0.1",
    "cpu:1:1:0.01",
    "cpu:255:1:0.1",
    "cpu:4080:1:1",
    "cpu:4080:1:0.1",
    "cadence:0.01:0",
    "cadence:0.01:4",
    "cadence:0.01:4:8:50",
    "scrape:50:1:0.01",
    "heal",
    "reload:255:4:0.1",
    "test:5000",
    "test:50000",
    "start",
];

/// One small row of each kind: whether everything runs, to the writing of the documents, before it is left alone for long.
const TRIAL: [&str; 16] = [
    "crash:1:1:0.1",
    "graceful:255:4:1",
    "crash:1:100:1",
    "calls:1:1:0.01",
    "cpu:255:1:0.1",
    "cadence:0.01:0",
    "scrape:50:1:0.01",
    "heal",
    "reload:255:4:0.1",
    "test:5000",
    "start",
    "begin:255",
    "again:255",
    "scripts:10",
    "files:10",
    "peers:10",
];

/// One line of the table for one daemon.
pub struct Figure {
    pub what: &'static str,
    pub of: Vec<f64>,
}

impl Figure {
    pub fn new(what: &'static str, of: Vec<f64>) -> Figure {
        Figure { what, of }
    }
}

/// A row's figure, of every daemon.
pub struct Line {
    pub row: String,
    pub figure: &'static str,
    /// In the order of the daemons.
    pub cells: Vec<Vec<f64>>,
    /// What a bare client of the kernel takes for the same; empty where there is none.
    pub kernel: Vec<f64>,
    /// The load average when the row began.
    pub load: String,
}

fn shown(figure: f64) -> String {
    if figure.abs() < 100.0 { format!("{figure:.2}") } else { format!("{figure:.0}") }
}

/// Least, middle and greatest.
fn spread(mut figures: Vec<f64>) -> String {
    figures.sort_by(f64::total_cmp);
    match figures.as_slice() {
        [] => "-".into(),
        [one] => shown(*one),
        all => [all[0], all[all.len() / 2], all[all.len() - 1]].map(shown).join(" / "),
    }
}

fn main() {
    let (mut runs, mut only, mut chosen, mut write, mut trial) = (3, None, Vec::new(), false, false);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--runs" => runs = words.next().and_then(|n| n.parse().ok()).unwrap_or(runs),
            "--only" => only = words.next(),
            "--write" => write = true,
            "--try" => trial = true,
            "--bench" | "--test" | "--table" => {}
            other => chosen.push(other.to_owned()),
        }
    }
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: not root");
        return;
    }
    let daemons: Vec<(&str, PathBuf)> =
        daemons().into_iter().filter(|(name, _)| only.as_ref().is_none_or(|only| only == name)).collect();
    let names: Vec<&str> = daemons.iter().map(|(name, _)| *name).collect();
    let mut known: Vec<&str> = ROWS.to_vec();
    for (_, row) in growth::FAMILIES.iter().flat_map(|family| family.rows) {
        if !known.contains(&row) {
            known.push(row);
        }
    }
    if trial {
        (runs, known) = (1, TRIAL.to_vec());
    }
    let begins = |row: &&str| chosen.is_empty() || chosen.iter().any(|word| row.starts_with(word.as_str()));
    let own = chosen.iter().filter(|word| !known.iter().any(|row| row.starts_with(word.as_str())));
    println!("{}", page::head(&names));
    let mut lines = Vec::new();
    for row in known.iter().copied().filter(begins).chain(own.map(String::as_str)) {
        // What goes wrong in one is no reason to lose the others' figures.
        let more = std::panic::catch_unwind(|| lines_of(row, runs, &daemons)).unwrap_or_default();
        if more.is_empty() {
            println!("| `{row}` | no result |");
        }
        for line in more {
            println!("{}", page::row(&line));
            lines.push(line);
        }
    }
    if chosen.is_empty() {
        println!("\n{}", page::growth(&names, &lines));
    }
    if trial {
        page::write(&page::copies(), &names, &lines, &measured(&daemons));
    } else if write && chosen.is_empty() && names.len() > 1 {
        page::write(Path::new(env!("CARGO_MANIFEST_DIR")), &names, &lines, &measured(&daemons));
    } else if write {
        println!("nothing is written: only every row, of both daemons, makes a table");
    }
}

/// When, where and of what the figures are.
fn measured(daemons: &[(&str, PathBuf)]) -> String {
    let first_line = |program: &str, arguments: &[&str]| {
        let output = std::process::Command::new(program).args(arguments).output().ok()?;
        let words = [output.stdout, output.stderr].concat();
        Some(String::from_utf8_lossy(&words).lines().next()?.to_owned())
    };
    // vipd gives the version of keepalived that it is compatible with.
    let version = |(name, program): &(&str, PathBuf)| {
        Some(format!("{name}: {}", first_line(&program.to_string_lossy(), &["-v"])?))
    };
    let versions = daemons.iter().filter_map(version);
    let commit = first_line("git", &["rev-parse", "--short", "HEAD"]).unwrap_or_default();
    let date = first_line("date", &["-u", "+%Y-%m-%d %H:%M UTC"]).unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let versions = versions.collect::<Vec<_>>().join("; ");
    format!("Until {date}, commit {commit}, {processors} processors; {versions}.")
}

fn lines_of(row: &str, runs: usize, daemons: &[(&str, PathBuf)]) -> Vec<Line> {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("-").to_owned();
    let kernel = kernel(row);
    let mut lines: Vec<Line> = Vec::new();
    for _ in 0..repeated(row, runs) {
        // In turn, so that what disturbs the machine disturbs both.
        for (position, (_, program)) in daemons.iter().enumerate() {
            for Figure { what, of } in measure(row, program) {
                if !lines.iter().any(|line| line.figure == what) {
                    let alike = kernel.iter().find(|(begins, _)| what.starts_with(begins));
                    let kernel = alike.map(|(_, figures)| figures.clone()).unwrap_or_default();
                    let cells = vec![Vec::new(); daemons.len()];
                    lines.push(Line { row: row.to_owned(), figure: what, cells, kernel, load: load.clone() });
                }
                if let Some(line) = lines.iter_mut().find(|line| line.figure == what) {
                    line.cells[position].extend(of);
                }
            }
        }
    }
    lines
}

/// The rest are long enough to be measured once.
fn repeated(row: &str, runs: usize) -> usize {
    // keepalived takes up to a minute for each of these.
    let long = ["crash:1:10000", "graceful:1:10000", "test:50000"].iter().any(|name| row.starts_with(name));
    // Of a single advert the figure is as much the machine's moment as the daemon's.
    let again = ["crash", "graceful", "test", "start", "cpu:1:1:"].iter().any(|kind| row.starts_with(kind));
    if again && !long { runs } else { 1 }
}

fn measure(row: &str, program: &std::path::Path) -> Vec<Figure> {
    let parts: Vec<&str> = row.split(':').collect();
    let number = |at: usize| parts.get(at).and_then(|part| part.parse::<f64>().ok()).unwrap_or(1.0);
    let size = Size(number(1) as usize, number(2) as usize, number(3));
    match parts[0] {
        "crash" => work::takeover(lan::KILL, size, program),
        "graceful" => work::takeover(lan::TERM, size, program),
        "calls" => work::calls(size, program),
        "cpu" => work::cost(size, program),
        "cadence" => {
            let time = parts.get(3).map_or(work::A_WHILE, |_| Duration::from_secs_f64(number(3)));
            work::cadence(number(1), number(2) as usize, time, parts.get(4).map(|_| number(4) as u32), program)
        }
        "scrape" => work::scrape(size, program),
        "heal" => work::heal(program),
        "reload" => work::reload(size, program),
        "test" => work::test(number(1) as usize, program),
        "start" => work::start(program),
        "begin" => growth::begin(size.0, program),
        "again" => growth::again(size.0, program),
        "scripts" => growth::scripts(size.0, program),
        "files" => growth::files(size.0, program),
        "peers" => growth::peers(size.0, program),
        _ => Vec::new(),
    }
}

/// What the kernel takes for a row by itself: how the figure begins that it stands beside, and its own.
fn kernel(row: &str) -> Vec<(&'static str, Vec<f64>)> {
    let parts: Vec<f64> = row.split(':').skip(1).filter_map(|part| part.parse().ok()).collect();
    match (row.split(':').next(), parts.as_slice()) {
        (Some("crash" | "graceful"), [instances, addresses, ..]) if instances * addresses >= 100.0 => {
            let all = (instances * addresses) as usize;
            let of = |count: usize| (0..3).map(|_| bare::addresses(count)).collect();
            // Each costs more than the one before it, so half of them take less than half of the time.
            vec![("middle address", of(all / 2)), ("all addresses", of(all))]
        }
        (Some("cpu"), [1.0, 1.0, interval]) => match bare::adverts(*interval) {
            Ok([sent, received]) => vec![
                ("processor for an advert, master", vec![sent]),
                ("processor for an advert, backup", vec![received]),
            ],
            Err(_) => Vec::new(),
        },
        (Some("cadence"), [interval, hogs, more @ ..]) => {
            let time = more.first().map_or(work::A_WHILE, |seconds| Duration::from_secs_f64(*seconds));
            bare::cadence(*interval, *hogs as usize, time, more.get(1).map(|priority| *priority as u8))
        }
        _ => Vec::new(),
    }
}

/// (name, program)
fn daemons() -> Vec<(&'static str, PathBuf)> {
    let named = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
    let keepalived = ["/usr/local/sbin/keepalived", "/usr/sbin/keepalived"].map(PathBuf::from);
    let keepalived = named("KEEPALIVED").or_else(|| keepalived.into_iter().find(|path| path.exists()));
    let mut list: Vec<(&str, PathBuf)> = keepalived.into_iter().map(|path| ("keepalived", path)).collect();
    if list.is_empty() {
        println!("keepalived is not installed: nothing to compare with");
    }
    list.push(("vipd", named("VIPD").unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_vipd")))));
    list
}
