//! What is done and measured, one function a kind of row, one daemon a call.

use crate::Figure;
use crate::lan::{HUP, Lan, SERVERS, Size, configuration, server};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use vipd::kernel::namespace;
use vipd::lab::observer::{Sighting, What};

/// How long gaps are listened to where nothing else is said.
pub const A_WHILE: Duration = Duration::from_secs(8);

pub fn takeover(signal: i32, size: Size, program: &Path) -> Vec<Figure> {
    let Some([first, last, middle, all]) = one_takeover(signal, size, program) else { return Vec::new() };
    vec![
        Figure::new("first advert late, ms", vec![first]),
        Figure::new("last advert late, ms", vec![last]),
        Figure::new("middle address announced, ms", vec![middle]),
        Figure::new("all addresses announced, ms", vec![all]),
    ]
}

/// First and last advert, middle and last announcement: milliseconds past the deadline.
fn one_takeover(signal: i32, size: Size, program: &Path) -> Option<[f64; 4]> {
    let Size(instances, addresses, interval) = size;
    let mut lan = Lan::new(1);
    lan.pair(program, size);
    let mut heard: HashMap<u8, (f64, u8)> = HashMap::new();
    let note = |heard: &mut HashMap<u8, (f64, u8)>, sighting: &Sighting| {
        if let What::Advert { source, vrid, priority, .. } = &sighting.what
            && *source == server(0)
        {
            heard.insert(*vrid, (sighting.at.as_secs_f64(), *priority));
        }
    };
    lan.watch(Duration::from_secs_f64(2.5 * interval), |sighting| {
        note(&mut heard, sighting);
        false
    });
    lan.signal(0, signal);
    let (mut spoke, mut announced) = (HashMap::new(), HashMap::new());
    lan.watch(Duration::from_secs_f64(size.down() + 25.0), |sighting| {
        let at = sighting.at.as_secs_f64();
        match &sighting.what {
            What::Advert { source, vrid, .. } if *source == server(1) => {
                spoke.entry(*vrid).or_insert(at);
            }
            What::Advert { vrid, .. } if !spoke.contains_key(vrid) => note(&mut heard, sighting),
            What::GratuitousArp { address } if !spoke.is_empty() => {
                announced.entry(*address).or_insert(at);
            }
            _ => {}
        }
        spoke.len() >= instances && announced.len() >= instances * addresses
    });
    let deadline = |vrid: &u8| {
        let (at, priority) = heard.get(vrid)?;
        Some(at + if *priority == 0 { size.skew() } else { size.down() })
    };
    if spoke.len() < instances || announced.len() < instances * addresses {
        return None;
    }
    let late = |(vrid, at): (&u8, &f64)| Some((at - deadline(vrid)?) * 1e3);
    let mut adverts: Vec<f64> = spoke.iter().filter_map(late).collect();
    adverts.sort_by(f64::total_cmp);
    let end = heard.keys().filter_map(deadline).fold(f64::MIN, f64::max);
    let mut garps: Vec<f64> = announced.values().map(|at| (at - end) * 1e3).collect();
    garps.sort_by(f64::total_cmp);
    Some([*adverts.first()?, *adverts.last()?, *garps.get(garps.len() / 2)?, *garps.last()?])
}

pub fn cost(size: Size, program: &Path) -> Vec<Figure> {
    const TIME: Duration = Duration::from_secs(8);
    let mut lan = Lan::new(size.links());
    lan.pair(program, size);
    let begun = Instant::now();
    let before = [busy(&lan, 0), busy(&lan, 1)];
    let mut adverts = 0_usize;
    lan.watch(TIME, |sighting| {
        adverts += usize::from(matches!(&sighting.what, What::Advert { source, .. } if *source == server(0)));
        false
    });
    let used = [busy(&lan, 0) - before[0], busy(&lan, 1) - before[1]];
    let seconds = begun.elapsed().as_secs_f64();
    // The observer sees the first link; the others do the same.
    let all = adverts as f64 * size.0 as f64 / size.on_the_first_link() as f64;
    vec![
        Figure::new("adverts a second", vec![all / seconds]),
        Figure::new("processor for an advert, master, µs", vec![used[0] / all * 1e6]),
        Figure::new("processor for an advert, backup, µs", vec![used[1] / all * 1e6]),
        Figure::new("memory of the master (Pss), KiB", vec![memory(&lan, 0)]),
    ]
}

/// System calls of all threads for each advert, counted by strace, which slows both down alike.
pub fn calls(size: Size, program: &Path) -> Vec<Figure> {
    let mut lan = Lan::new(size.links());
    lan.pair(program, size);
    let file = std::env::temp_dir().join("vipdbench.calls");
    let mut of = |position: usize| -> Option<f64> {
        let mut strace = Command::new("strace");
        strace.args(["-c", "-f", "-o"]).arg(&file);
        for pid in lan.processes(position) {
            strace.arg("-p").arg(pid.to_string());
        }
        let mut strace = strace.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        let mut adverts = 0_usize;
        lan.watch(Duration::from_secs(5), |sighting| {
            adverts += usize::from(matches!(&sighting.what, What::Advert { source, .. } if *source == server(0)));
            false
        });
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(strace.id() as i32), nix::sys::signal::Signal::SIGINT)
            .ok()?;
        strace.wait().ok()?;
        let told = std::fs::read_to_string(&file).ok()?;
        let total = told.lines().find(|line| line.ends_with("total"))?;
        let calls: f64 = total.split_whitespace().nth(3)?.parse().ok()?;
        Some(calls / (adverts as f64 * size.0 as f64 / size.on_the_first_link() as f64))
    };
    vec![
        Figure::new("system calls for an advert, master", of(0).into_iter().collect()),
        Figure::new("system calls for an advert, backup", of(1).into_iter().collect()),
    ]
}

/// Seconds on a processor, all threads.
pub fn busy(lan: &Lan, position: usize) -> f64 {
    let of = |pid: u32| -> f64 {
        let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return 0.0 };
        let times = threads.flatten().filter_map(|thread| {
            let line = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        });
        times.sum::<f64>() / 1e9
    };
    lan.processes(position).into_iter().map(of).sum()
}

/// KiB; what several processes share counts for each with its share.
pub fn memory(lan: &Lan, position: usize) -> f64 {
    memory_of(&lan.processes(position))
}

pub fn memory_of(processes: &[u32]) -> f64 {
    let of = |pid: &u32| -> f64 {
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
        line.split_whitespace().next().and_then(|figure| figure.parse().ok()).unwrap_or(0.0)
    };
    processes.iter().map(of).sum()
}

/// The cadence while the master's metrics are asked for ten times a second. keepalived has none.
pub fn scrape(size: Size, program: &Path) -> Vec<Figure> {
    const SOCKET: &str = "/tmp/vipdbench.metrics";
    if !program.ends_with("vipd") {
        return Vec::new();
    }
    let mut lan = Lan::new(1);
    lan.start(1, program, &configuration(1, size));
    lan.arguments = "--metrics unix:/tmp/vipdbench.metrics";
    lan.start(0, program, &configuration(0, size));
    lan.settle(size.0);
    lan.watch(Duration::from_secs(4), |_| false);
    let asked = AtomicU32::new(0);
    let over = AtomicBool::new(false);
    let ask = || {
        while !over.load(Ordering::Relaxed) {
            if let Ok(mut socket) = UnixStream::connect(SOCKET) {
                let mut page = String::new();
                let _ = socket.write_all(b"GET /metrics HTTP/1.0\r\n\r\n");
                let whole = socket.read_to_string(&mut page).is_ok() && page.contains("vipd_vrrp_state");
                asked.fetch_add(u32::from(whole), Ordering::Relaxed);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    let mut figures = std::thread::scope(|scope| {
        scope.spawn(ask);
        let figures = gaps(&mut lan);
        over.store(true, Ordering::Relaxed);
        figures
    });
    figures.push(Figure::new("whole answers of the metrics", vec![asked.load(Ordering::Relaxed).into()]));
    figures
}

/// Gaps between adverts for so long, with so many processes beside that do nothing but count, and whether they add up: what
/// the last advert lacks to its place in a schedule that begins with the first. With a real-time priority the daemons have
/// their memory locked as well: pages that the kernel took away cost more than anything that they wait for.
pub fn cadence(interval: f64, hogs: usize, time: Duration, real_time: Option<u32>, program: &Path) -> Vec<Figure> {
    let mut lan = Lan::new(1);
    let more = real_time.map(|priority| format!("  vrrp_rt_priority {priority}\n  vrrp_no_swap\n")).unwrap_or_default();
    lan.pair_with(program, Size(1, 1, interval), &more);
    let _beside = Hogs::begin(hogs);
    let (times, mut figures) = adverts(&mut lan, time);
    if let [first, .., last] = times.as_slice() {
        let drift = last - first - (times.len() - 1) as f64 * interval;
        figures.push(Figure::new("behind its schedule at the end, ms", vec![drift * 1e3]));
    }
    figures
}

/// Processes that do nothing but count; gone when dropped.
pub struct Hogs(Vec<Child>);

impl Hogs {
    /// They have begun when this comes back.
    pub fn begin(many: usize) -> Hogs {
        let count = || Command::new("sh").args(["-c", "while :; do :; done"]).spawn();
        let hogs = Hogs((0..many).filter_map(|_| count().ok()).collect());
        std::thread::sleep(Duration::from_millis(500));
        hogs
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        for hog in &mut self.0 {
            let _ = hog.kill();
            let _ = hog.wait();
        }
    }
}

/// Between the adverts of the first virtual router.
fn gaps(lan: &mut Lan) -> Vec<Figure> {
    adverts(lan, A_WHILE).1
}

/// When the master's adverts of the first virtual router came, in seconds of the wall clock, and what is between them.
pub fn adverts(lan: &mut Lan, time: Duration) -> (Vec<f64>, Vec<Figure>) {
    let begun = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let (mut times, mut false_ones) = (Vec::new(), 0.0);
    lan.watch(time, |sighting| {
        if let What::Advert { source, vrid: 1, .. } = &sighting.what
            && sighting.at >= begun
        {
            if *source == server(0) { times.push(sighting.at.as_secs_f64()) } else { false_ones += 1.0 }
        }
        false
    });
    let mut gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) * 1e3).collect();
    gaps.sort_by(f64::total_cmp);
    let at = |part: f64| gaps.get(((gaps.len() as f64 * part) as usize).min(gaps.len().saturating_sub(1)));
    let one = |part: f64| at(part).copied().into_iter().collect();
    let figures = vec![
        Figure::new("gap between adverts, 1 % are shorter, ms", one(0.01)),
        Figure::new("gap between adverts, middle, ms", one(0.5)),
        Figure::new("gap between adverts, 1 % are longer, ms", one(0.99)),
        Figure::new("gap between adverts, longest, ms", one(1.0)),
        Figure::new("adverts of the backup", vec![false_ones]),
    ];
    (times, figures)
}

pub fn heal(program: &Path) -> Vec<Figure> {
    let address: IpAddr = "10.0.64.1".parse().unwrap();
    let size = Size(1, 1, 1.0);
    let mut lan = Lan::new(1);
    lan.start(0, program, &configuration(0, size));
    lan.settle(1);
    lan.watch(Duration::from_secs(3), |_| false);
    let mut back: Vec<f64> = Vec::new();
    for _ in 0..5 {
        // One thread inside asks the kernel again and again: nothing but the daemon's own time is measured.
        let away = namespace::inside(SERVERS[0], || {
            let bind = || std::net::UdpSocket::bind((address, 0)).is_ok();
            let gone = Command::new("ip").args(["addr", "del", "10.0.64.1/32", "dev", "eth0"]).spawn();
            let asked = Instant::now();
            while bind() {
                // On a machine with other work it may be back before this thread has looked.
                if asked.elapsed() > Duration::from_secs(2) {
                    return gone?.wait().map(|_| None);
                }
            }
            let start = Instant::now();
            while !bind() && start.elapsed() < Duration::from_secs(8) {}
            let away = start.elapsed();
            gone?.wait()?;
            Ok(Some(away))
        });
        back.extend(away.ok().flatten().map(|away| away.as_secs_f64() * 1e3));
        std::thread::sleep(Duration::from_millis(1_500));
    }
    vec![Figure::new("an address removed by another program is back, ms", back)]
}

/// As many spans without a reload stand between those with one.
pub fn reload(size: Size, program: &Path) -> Vec<Figure> {
    const TIMES: usize = 6;
    let mut lan = Lan::new(1);
    lan.pair(program, size);
    let idle = memory(&lan, 0);
    let (mut last, mut false_ones) = (HashMap::new(), 0.0);
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        // What the machine does to adverts by itself is in both.
        for (signal, silence) in [(None, &mut without), (Some(HUP), &mut with)] {
            if let Some(signal) = signal {
                lan.signal(0, signal);
            }
            let mut longest = 0.0_f64;
            lan.watch(Duration::from_millis(1_500), |sighting| {
                if let What::Advert { source, vrid, .. } = &sighting.what {
                    if *source == server(0) {
                        let at = sighting.at.as_secs_f64();
                        if let Some(before) = last.insert(*vrid, at) {
                            longest = longest.max(at - before);
                        }
                    } else {
                        false_ones += 1.0;
                    }
                }
                false
            });
            silence.push(longest * 1e3);
        }
    }
    lan.watch(Duration::from_secs(2), |_| false);
    vec![
        Figure::new("longest silence of a virtual router, ms", with),
        Figure::new("the same without a reload, ms", without),
        Figure::new("adverts of the backup", vec![false_ones]),
        Figure::new("memory before (Pss), KiB", vec![idle]),
        Figure::new("memory after 6 reloads (Pss), KiB", vec![memory(&lan, 0)]),
    ]
}

/// `-t` of so many instances with four addresses each.
pub fn test(instances: usize, program: &Path) -> Vec<Figure> {
    let _lan = Lan::new(1);
    let mut text = String::from("global_defs {\n  router_id bench\n  dynamic_interfaces\n}\n");
    for instance in 0..instances {
        let (link, vrid) = (instance / 255, 1 + instance % 255);
        let _ = write!(
            text,
            "vrrp_instance VI_{instance} {{\n  interface eth{link}\n  virtual_router_id {vrid}\n  priority 100\n  \
             virtual_ipaddress {{\n"
        );
        for address in 0..4 {
            let _ = writeln!(text, "    10.{link}.{vrid}.{address}/32");
        }
        text.push_str("  }\n}\n");
    }
    let file = std::env::temp_dir().join("vipdbench.conf");
    std::fs::write(&file, &text).unwrap();
    let begun = Instant::now();
    // keepalived takes minutes for fifty thousand; nobody waits for that.
    let done = Command::new("timeout")
        .args(["60", "ip", "netns", "exec", SERVERS[0]])
        .arg(program)
        .args(["-t", "-f"])
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let took = begun.elapsed().as_secs_f64() * 1e3;
    let whole = done.is_ok_and(|status| status.code() == Some(0));
    vec![Figure::new("-t, with `ip netns exec`, ms", whole.then_some(took).into_iter().collect())]
}

/// From nothing to the first advert of an address owner, with the programs that put the daemon into its namespace.
pub fn start(program: &Path) -> Vec<Figure> {
    let mut lan = Lan::new(1);
    let text = configuration(0, Size(1, 1, 1.0)).replace("priority 200", "priority 255\n  state MASTER");
    let begun = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    lan.start(0, program, &text);
    let mut first = None;
    lan.watch(Duration::from_secs(20), |sighting| {
        let speaks = matches!(sighting.what, What::Advert { .. });
        first = speaks.then_some(sighting.at);
        speaks
    });
    let late = first.map(|at| (at.as_secs_f64() - begun.as_secs_f64()) * 1e3);
    vec![Figure::new("first advert of an owner after the start, ms", late.into_iter().collect())]
}
