//! Sizes beyond what keepalived is used with: one thing grows, and by what power its cost does.
//!
//! Each [`Family`] is a list of rows of the table that differ in nothing but a number. The power is fitted by least squares to
//! the logarithms: 1 is linear, 0 costs the same however many there are.

use crate::Figure;
use crate::lan::{HUP, Lan, SERVERS, SWITCH, Size, configuration, server};
use crate::work::{busy, memory, memory_of};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use vipd::lab::observer::What;
use vipd::lab::wire;

/// Rows that belong together, with what of them is looked at.
pub struct Family {
    pub what: &'static str,
    /// As in [`Figure::what`].
    pub figure: &'static str,
    /// (n, row)
    pub rows: [(usize, &'static str); 3],
}

pub const FAMILIES: [Family; 9] = [
    Family {
        what: "addresses of one instance: all announced after a crash, ms",
        figure: "all addresses announced, ms",
        rows: [(100, "crash:1:100:1"), (1_000, "crash:1:1000:1"), (10_000, "crash:1:10000:1")],
    },
    Family {
        what: "instances, 255 to a link: processor for an advert each second, master, µs",
        figure: "processor for an advert, master, µs",
        rows: [(255, "cpu:255:1:1"), (1_020, "cpu:1020:1:1"), (4_080, "cpu:4080:1:1")],
    },
    Family {
        what: "the same, backup, µs",
        figure: "processor for an advert, backup, µs",
        rows: [(255, "cpu:255:1:1"), (1_020, "cpu:1020:1:1"), (4_080, "cpu:4080:1:1")],
    },
    Family {
        what: "the same: memory of the master (Pss), KiB",
        figure: "memory of the master (Pss), KiB",
        rows: [(255, "cpu:255:1:1"), (1_020, "cpu:1020:1:1"), (4_080, "cpu:4080:1:1")],
    },
    Family {
        what: "instances that own their addresses: first adverts of a link's 255 after the start, ms",
        figure: "all owners of a link have spoken after the start, ms",
        rows: [(255, "begin:255"), (1_020, "begin:1020"), (4_080, "begin:4080")],
    },
    Family {
        what: "instances: processor for a reload that changes nothing, ms",
        figure: "processor for a reload, ms",
        rows: [(255, "again:255"), (1_020, "again:1020"), (4_080, "again:4080")],
    },
    Family {
        what: "scripts (`/bin/true`) that are run each second: processor a second, with the scripts' own, ms",
        figure: "processor a second, ms",
        rows: [(10, "scripts:10"), (100, "scripts:100"), (1_000, "scripts:1000")],
    },
    Family {
        what: "tracked files: a change of one is in an advert after, ms",
        figure: "a change of a file is in an advert after, ms",
        rows: [(10, "files:10"), (100, "files:100"), (1_000, "files:1000")],
    },
    Family {
        what: "unicast peers: processor for an advert to one of them, µs",
        figure: "processor for an advert to a peer, µs",
        rows: [(10, "peers:10"), (50, "peers:50"), (200, "peers:200")],
    },
];

/// By what power of n the figures grow; `None` with fewer than two of them.
pub fn power(points: &[(usize, f64)]) -> Option<f64> {
    let points: Vec<(f64, f64)> =
        points.iter().filter(|(_, y)| *y > 0.0).map(|(n, y)| ((*n as f64).ln(), y.ln())).collect();
    let count = points.len() as f64;
    if points.len() < 2 {
        return None;
    }
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let (over, under) = points.iter().fold((0.0, 0.0), |(over, under), point| {
        (over + (point.0 - x) * (point.1 - y), under + (point.0 - x) * (point.0 - x))
    });
    (under > 0.0).then(|| over / under)
}

/// From nothing to the first adverts of all owners on the first link.
pub fn begin(instances: usize, program: &Path) -> Vec<Figure> {
    let size = Size(instances, 1, 1.0);
    let mut lan = Lan::new(size.links());
    let text = configuration(0, size).replace("priority 200", "priority 255\n  state MASTER");
    let begun = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    lan.start(0, program, &text);
    let (mut seen, mut last) = (HashSet::new(), None);
    lan.watch(Duration::from_secs(40), |sighting| {
        if let What::Advert { vrid, .. } = &sighting.what
            && seen.insert(*vrid)
            && seen.len() == size.on_the_first_link()
        {
            last = Some(sighting.at);
        }
        last.is_some()
    });
    let late = last.map(|at| (at.as_secs_f64() - begun.as_secs_f64()) * 1e3);
    vec![Figure::new("all owners of a link have spoken after the start, ms", late.into_iter().collect())]
}

/// What SIGHUP costs beside what the same time costs without.
pub fn again(instances: usize, program: &Path) -> Vec<Figure> {
    const TIME: Duration = Duration::from_secs(3);
    const TIMES: usize = 5;
    let size = Size(instances, 1, 1.0);
    let mut lan = Lan::new(size.links());
    lan.start(0, program, &configuration(0, size));
    lan.settle(size.on_the_first_link());
    lan.watch(TIME, |_| false);
    let mut used = |reloads: bool| {
        let before = busy(&lan, 0);
        if reloads {
            lan.signal(0, HUP);
        }
        lan.watch(TIME, |_| false);
        busy(&lan, 0) - before
    };
    // What the adverts take in such a time differs by more than a small reload does: with one pair it may be less than nothing.
    let more = (0..TIMES).map(|_| -used(false) + used(true)).map(|more| more * 1e3);
    vec![Figure::new("processor for a reload, ms", more.collect())]
}

fn master(before: &str, interval: f64, within: &str) -> String {
    format!(
        "global_defs {{\n  router_id bench\n  vrrp_version 3\n  script_user root\n}}\n{before}vrrp_instance VI_1 {{\n  \
         interface eth0\n  virtual_router_id 1\n  priority 100\n  advert_int {interval}\n{within}  \
         virtual_ipaddress {{\n    10.0.64.1/32\n  }}\n}}\n"
    )
}

/// So many scripts that do nothing, each once a second.
pub fn scripts(count: usize, program: &Path) -> Vec<Figure> {
    const TIME: Duration = Duration::from_secs(6);
    let (mut before, mut within) = (String::new(), String::from("  track_script {\n"));
    for n in 0..count {
        let _ = writeln!(before, "vrrp_script s_{n} {{\n  script \"/bin/true\"\n  interval 1\n}}");
        let _ = writeln!(within, "    s_{n}");
    }
    within.push_str("  }\n");
    let mut lan = Lan::new(1);
    lan.start(0, program, &master(&before, 1.0, &within));
    lan.settle(1);
    lan.watch(Duration::from_secs(3), |_| false);
    let begun = with_its_programs(&lan);
    lan.watch(TIME, |_| false);
    let used = (with_its_programs(&lan) - begun) / TIME.as_secs_f64();
    vec![
        Figure::new("processor a second, ms", vec![used * 1e3]),
        Figure::new("memory without the scripts (Pss), KiB", vec![memory_of(&lasting(&mut lan))]),
    ]
}

/// Processes of the daemon that live longer than a script: one that has just been forked has all of the daemon's memory once more.
fn lasting(lan: &mut Lan) -> Vec<u32> {
    let before = lan.processes(0);
    lan.watch(Duration::from_secs(2), |_| false);
    let after = lan.processes(0);
    before.into_iter().filter(|pid| after.contains(pid)).collect()
}

/// Seconds of processor, all threads and all programs that have ended.
fn with_its_programs(lan: &Lan) -> f64 {
    // SAFETY: it asks for a number.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
    let ended = |pid: u32| -> f64 {
        let line = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = line.rsplit(')').next().unwrap_or_default().split_whitespace();
        // cutime and cstime, proc(5).
        fields.skip(13).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / ticks
    };
    busy(lan, 0) + lan.processes(0).into_iter().map(ended).sum::<f64>()
}

/// One of so many files changes a priority.
pub fn files(count: usize, program: &Path) -> Vec<Figure> {
    let folder = std::env::temp_dir().join("vipdbench.files");
    std::fs::create_dir_all(&folder).unwrap();
    let file = |n: usize| folder.join(format!("f_{n}"));
    let (mut before, mut within) = (String::new(), String::from("  track_file {\n"));
    for n in 0..count {
        std::fs::write(file(n), "0\n").unwrap();
        let _ = writeln!(before, "vrrp_track_file f_{n} {{\n  file {}\n}}", file(n).display());
        let _ = writeln!(within, "    f_{n} weight 1");
    }
    within.push_str("  }\n");
    let mut lan = Lan::new(1);
    lan.start(0, program, &master(&before, 0.01, &within));
    lan.settle(1);
    lan.watch(Duration::from_secs(2), |_| false);
    let mut late = Vec::new();
    for (raised, said) in [("50\n", 150), ("0\n", 100), ("50\n", 150), ("0\n", 100), ("50\n", 150)] {
        let begun = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        std::fs::write(file(count - 1), raised).unwrap();
        lan.watch(Duration::from_secs(5), |sighting| {
            let there = matches!(&sighting.what, What::Advert { priority, .. } if *priority == said);
            if there {
                late.push((sighting.at.as_secs_f64() - begun.as_secs_f64()) * 1e3);
            }
            there
        });
    }
    let _ = std::fs::remove_dir_all(&folder);
    vec![
        Figure::new("a change of a file is in an advert after, ms", late),
        Figure::new("memory (Pss), KiB", vec![memory(&lan, 0)]),
    ]
}

/// A copy of each advert to so many peers, ten times a second.
pub fn peers(count: usize, program: &Path) -> Vec<Figure> {
    const TIME: Duration = Duration::from_secs(6);
    let mut lan = Lan::new(1);
    // The observer sees what is for the bridge itself.
    let mac = wire::mac(SWITCH, "br0").unwrap().unwrap().map(|byte| format!("{byte:02x}")).join(":");
    let (mut neighbours, mut within) = (String::new(), String::from("  unicast_src_ip 10.0.0.1\n  unicast_peer {\n"));
    for n in 0..count {
        let address = format!("10.0.{}.{}", 100 + n / 250, 1 + n % 250);
        // Known beforehand: nobody asks who has it, and nobody is there who could answer that he wants no VRRP.
        let _ = writeln!(neighbours, "neigh add {address} lladdr {mac} dev eth0");
        let _ = writeln!(within, "    {address}");
    }
    within.push_str("  }\n");
    let file = std::env::temp_dir().join("vipdbench.neighbours");
    std::fs::write(&file, &neighbours).unwrap();
    let _ = Command::new("ip").args(["-n", SERVERS[0], "-batch"]).arg(&file).status();
    lan.start(0, program, &master("", 0.1, &within));
    lan.settle(1);
    lan.watch(Duration::from_secs(2), |_| false);
    let before = busy(&lan, 0);
    let mut adverts = 0_usize;
    lan.watch(TIME, |sighting| {
        adverts += usize::from(matches!(&sighting.what, What::Advert { source, .. } if *source == server(0)));
        false
    });
    let used = busy(&lan, 0) - before;
    if adverts == 0 {
        return Vec::new();
    }
    vec![
        Figure::new("processor for an advert to a peer, µs", vec![used / adverts as f64 * 1e6]),
        Figure::new("adverts to a peer a second", vec![adverts as f64 / count as f64 / TIME.as_secs_f64()]),
    ]
}
