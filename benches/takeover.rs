//! vipd beside keepalived, in the same run on the same machine: how late is a take-over, how even the cadence, how long
//! is an address away, what does a reload cost, how long does reading take.
//!
//! ```text
//! cargo bench --bench takeover                       all scenarios
//! cargo bench --bench takeover -- crash cadence      some of them
//! cargo bench --bench takeover -- --runs 20 crash
//! ```
//! As root. Two servers and an observer in network namespaces; the observer is a packet socket on the bridge between
//! them, so that both daemons are judged by what a client would see, with the kernel's time stamps. "late" is counted
//! from the deadline that the RFC gives the backup: the last advert heard plus the master down interval (or the skew
//! time after priority 0). Without keepalived only vipd's lines are printed.

#![allow(clippy::unwrap_used)]

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use vipd::kernel::namespace;
use vipd::lab::observer::{Observer, Sighting, What};
use vipd::lab::wire;

const SWITCH: &str = "vipdbench-sw";
const SERVERS: [&str; 2] = ["vipdbench-1", "vipdbench-2"];
const PRIORITIES: [u32; 2] = [200, 100];
const KILL: i32 = 9;
const TERM: i32 = 15;
const HUP: i32 = 1;

/// Size of a scenario: instances, addresses of each, advert interval in seconds.
#[derive(Clone, Copy)]
struct Size(usize, usize, f64);

impl Size {
    fn skew(self) -> f64 {
        f64::from(256 - PRIORITIES[1]) * self.2 / 256.0
    }
    fn down(self) -> f64 {
        3.0 * self.2 + self.skew()
    }
}

fn main() {
    let mut runs = 5;
    let mut chosen = Vec::new();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--runs" => runs = words.next().and_then(|n| n.parse().ok()).unwrap_or(runs),
            "--bench" | "--test" => {}
            other => chosen.push(other.to_owned()),
        }
    }
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: not root");
        return;
    }
    let daemons = daemons();
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|c| c == name);
    if wanted("crash") {
        takeover("crash", KILL, Size(1, 1, 0.1), runs, &daemons);
        takeover("crash", KILL, Size(255, 4, 1.0), runs.min(3), &daemons);
    }
    if wanted("graceful") {
        takeover("graceful", TERM, Size(1, 1, 0.1), runs, &daemons);
        takeover("graceful", TERM, Size(255, 4, 1.0), runs.min(3), &daemons);
    }
    if wanted("cadence") {
        cadence(Size(1, 1, 0.01), Duration::from_secs(8), &daemons);
    }
    if wanted("heal") {
        heal(runs, &daemons);
    }
    if wanted("reload") {
        reload(Size(255, 4, 0.1), runs, &daemons);
    }
    if wanted("parse") {
        parse(5_000, runs, &daemons);
    }
}

/// (name, program)
fn daemons() -> Vec<(&'static str, PathBuf)> {
    let mut list = vec![("vipd", PathBuf::from(env!("CARGO_BIN_EXE_vipd")))];
    let keepalived = ["/usr/sbin/keepalived", "/usr/local/sbin/keepalived"].map(PathBuf::from);
    match keepalived.into_iter().find(|path| path.exists()) {
        Some(path) => list.push(("keepalived", path)),
        None => println!("keepalived is not installed: nothing to compare with"),
    }
    list
}

/// Two servers and a switch; gone when dropped.
struct Lan {
    daemons: [Option<Child>; 2],
    observer: Observer,
}

impl Lan {
    fn new(links: usize) -> Lan {
        clear();
        namespace::create(SWITCH).unwrap();
        wire::bridge(SWITCH, "br0").unwrap();
        for (position, name) in SERVERS.iter().enumerate() {
            namespace::create(name).unwrap();
            for link in 0..links {
                let (here, there) = (format!("eth{link}"), format!("s{position}l{link}"));
                wire::cable(name, &here, SWITCH, &there, (link == 0).then_some("br0")).unwrap();
                let address: IpAddr = format!("10.{link}.0.{}", position + 1).parse().unwrap();
                wire::add_address(name, &here, address, 16).unwrap();
                wire::set_up(name, &here, true).unwrap();
                wire::set_up(SWITCH, &there, true).unwrap();
            }
        }
        let observer = Observer::new(SWITCH, "br0").unwrap();
        Lan { daemons: [None, None], observer }
    }

    fn start(&mut self, position: usize, program: &Path, configuration: &str) {
        let folder = std::env::temp_dir().join(SERVERS[position]);
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("keepalived.conf");
        std::fs::write(&file, configuration).unwrap();
        let script = format!(
            "mount -t tmpfs tmpfs /run && mkdir -p /run/keepalived && exec {} -n -l -P -f {}",
            program.display(),
            file.display()
        );
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let child = Command::new("ip")
            .args(["netns", "exec", SERVERS[position], "unshare", "--mount", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.daemons[position] = Some(child);
    }

    /// SIGKILL goes to the daemon and its children at once (all are stopped first), others to the daemon.
    fn signal(&mut self, position: usize, signal: i32) {
        let Some(child) = &self.daemons[position] else { return };
        let mut all = vec![child.id()];
        if signal == KILL {
            all.extend(children(child.id()));
            all.iter().for_each(|pid| kill(*pid, libc::SIGSTOP));
        }
        all.iter().for_each(|pid| kill(*pid, signal));
    }

    /// Everything seen until `end` says so or the time is over.
    fn watch(&mut self, limit: Duration, mut end: impl FnMut(&Sighting) -> bool) {
        let until = Instant::now() + limit;
        while Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now()).min(Duration::from_millis(50));
            if let Ok(Some(sighting)) = self.observer.next(left)
                && end(&sighting)
            {
                return;
            }
        }
    }

    /// Waits until every VRID has been advertised by a server.
    fn settle(&mut self, server: IpAddr, instances: usize) {
        let mut seen = HashSet::new();
        self.watch(Duration::from_secs(40), |sighting| {
            if let What::Advert { source, vrid, priority, .. } = &sighting.what
                && *source == server
                && *priority > 0
            {
                seen.insert(*vrid);
            }
            seen.len() >= instances
        });
    }

    fn virtual_addresses(&self, position: usize) -> usize {
        let own = server(position);
        let all = wire::addresses(SERVERS[position], "eth0").unwrap_or_default();
        all.iter().filter(|(address, _)| address.is_ipv4() && *address != own).count()
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for position in 0..2 {
            self.signal(position, KILL);
            if let Some(mut child) = self.daemons[position].take() {
                let _ = child.wait();
            }
        }
        clear();
    }
}

fn clear() {
    for name in SERVERS.iter().chain([&SWITCH]) {
        let _ = namespace::delete(name);
    }
}

fn kill(pid: u32, signal: i32) {
    let signal = nix::sys::signal::Signal::try_from(signal).unwrap();
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), signal);
}

fn children(pid: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let own: Vec<u32> = list.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    own.iter().flat_map(|child| std::iter::once(*child).chain(children(*child))).collect()
}

fn server(position: usize) -> IpAddr {
    format!("10.0.0.{}", position + 1).parse().unwrap()
}

fn configuration(position: usize, size: Size) -> String {
    let Size(instances, addresses, interval) = size;
    let mut text = String::from("global_defs {\n  router_id bench\n  vrrp_version 3\n}\n");
    for instance in 0..instances {
        let _ = write!(
            text,
            "vrrp_instance VI_{0} {{\n  interface eth0\n  virtual_router_id {0}\n  priority {1}\n  advert_int {interval}\n  \
             virtual_ipaddress {{\n",
            instance + 1,
            PRIORITIES[position]
        );
        for address in instance * addresses..(instance + 1) * addresses {
            let _ = writeln!(text, "    10.0.{}.{}/32", 64 + address / 250, 1 + address % 250);
        }
        text.push_str("  }\n}\n");
    }
    text
}

/// Smallest, middle and greatest of some figures.
fn spread(mut figures: Vec<f64>) -> String {
    figures.sort_by(f64::total_cmp);
    match figures.as_slice() {
        [] => "-".into(),
        all => format!("{:.2}/{:.2}/{:.2}", all[0], all[all.len() / 2], all[all.len() - 1]),
    }
}

fn takeover(what: &str, signal: i32, size: Size, runs: usize, daemons: &[(&str, PathBuf)]) {
    let Size(instances, addresses, interval) = size;
    let mut results: HashMap<&str, [Vec<f64>; 4]> = HashMap::new();
    for _ in 0..runs {
        for (name, program) in daemons {
            let Some(one) = one_takeover(signal, size, program) else {
                println!("{name:12} {what}: a run gave no result");
                continue;
            };
            let all = results.entry(name).or_default();
            all.iter_mut().zip(one).for_each(|(list, figure)| list.push(figure));
        }
    }
    for (name, _) in daemons {
        let Some([first, last, middle, announced]) = results.remove(name) else { continue };
        println!(
            "{name:12} {what}, {instances} instances x {addresses} addresses, interval {interval} s, {} runs: late ms \
             min/med/max: first advert {}, last advert {}, middle address announced {}, last address announced {}",
            first.len(),
            spread(first),
            spread(last),
            spread(middle),
            spread(announced)
        );
    }
}

/// First and last advert, middle and last announcement: milliseconds past the deadline.
fn one_takeover(signal: i32, size: Size, program: &Path) -> Option<[f64; 4]> {
    let Size(instances, addresses, interval) = size;
    let mut lan = Lan::new(1);
    lan.start(0, program, &configuration(0, size));
    lan.settle(server(0), instances);
    lan.start(1, program, &configuration(1, size));
    lan.watch(Duration::from_secs(3), |_| false);
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

fn cadence(size: Size, time: Duration, daemons: &[(&str, PathBuf)]) {
    for (name, program) in daemons {
        let mut lan = Lan::new(1);
        lan.start(0, program, &configuration(0, size));
        lan.settle(server(0), size.0);
        lan.start(1, program, &configuration(1, size));
        lan.watch(Duration::from_secs(3), |_| false);
        let processor = |lan: &Lan, position: usize| -> f64 {
            let Some(child) = &lan.daemons[position] else { return 0.0 };
            let pids = std::iter::once(child.id()).chain(children(child.id()));
            pids.map(run_time).sum()
        };
        let before = [processor(&lan, 0), processor(&lan, 1)];
        let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let (mut times, mut others) = (Vec::new(), 0);
        lan.watch(time, |sighting| {
            if let What::Advert { source, .. } = &sighting.what
                && sighting.at >= start
            {
                if *source == server(0) { times.push(sighting.at.as_secs_f64()) } else { others += 1 }
            }
            false
        });
        let used = [processor(&lan, 0) - before[0], processor(&lan, 1) - before[1]];
        let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) * 1e3).collect();
        let seconds = times.last().zip(times.first()).map_or(1.0, |(last, first)| last - first);
        println!(
            "{name:12} cadence, interval {} ms: {:.2} adverts a second, gaps ms min/med/max {}, adverts of the backup \
             {others}; processor time per advert: master {:.1} us, backup {:.1} us",
            size.2 * 1e3,
            gaps.len() as f64 / seconds,
            spread(gaps.clone()),
            used[0] / times.len() as f64 * 1e6,
            used[1] / times.len() as f64 * 1e6,
        );
    }
}

/// Seconds on a processor, all threads.
fn run_time(pid: u32) -> f64 {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return 0.0 };
    threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|line| line.split_whitespace().next()?.parse::<f64>().ok())
        .sum::<f64>()
        / 1e9
}

fn heal(runs: usize, daemons: &[(&str, PathBuf)]) {
    let address: IpAddr = "10.0.64.1".parse().unwrap();
    for (name, program) in daemons {
        let size = Size(1, 1, 1.0);
        let mut lan = Lan::new(1);
        lan.start(0, program, &configuration(0, size));
        lan.settle(server(0), 1);
        lan.watch(Duration::from_secs(3), |_| false);
        let mut back = Vec::new();
        for _ in 0..runs {
            // One thread inside asks the kernel again and again: nothing but the daemon's own time is measured.
            let away = namespace::inside(SERVERS[0], || {
                let bind = || std::net::UdpSocket::bind((address, 0)).is_ok();
                let gone = Command::new("ip").args(["addr", "del", "10.0.64.1/32", "dev", "eth0"]).spawn();
                while bind() {}
                let start = Instant::now();
                while !bind() && start.elapsed() < Duration::from_secs(8) {}
                let away = start.elapsed();
                gone?.wait()?;
                Ok(away)
            });
            back.extend(away.map(|away| away.as_secs_f64() * 1e3));
            std::thread::sleep(Duration::from_millis(1_500));
        }
        println!("{name:12} an address deleted by another program is back after ms min/med/max {}", spread(back));
    }
}

fn reload(size: Size, times: usize, daemons: &[(&str, PathBuf)]) {
    let Size(instances, addresses, interval) = size;
    for (name, program) in daemons {
        let mut lan = Lan::new(1);
        lan.start(0, program, &configuration(0, size));
        lan.settle(server(0), instances);
        lan.start(1, program, &configuration(1, size));
        lan.watch(Duration::from_secs(4), |_| false);
        let (mut last, mut silence, mut others) = (HashMap::new(), 0.0_f64, 0);
        for _ in 0..times {
            lan.signal(0, HUP);
            lan.watch(Duration::from_millis(1_500), |sighting| {
                if let What::Advert { source, vrid, .. } = &sighting.what {
                    if *source == server(0) {
                        let at = sighting.at.as_secs_f64();
                        if let Some(before) = last.insert(*vrid, at) {
                            silence = silence.max(at - before);
                        }
                    } else {
                        others += 1;
                    }
                }
                false
            });
        }
        println!(
            "{name:12} {times} reloads, {instances} instances x {addresses} addresses, interval {} ms: longest silence \
             {:.1} ms, adverts of the backup {others}, addresses on the master {}",
            interval * 1e3,
            silence * 1e3,
            lan.virtual_addresses(0)
        );
    }
}

fn parse(instances: usize, runs: usize, daemons: &[(&str, PathBuf)]) {
    let links = instances.div_ceil(255);
    let _lan = Lan::new(links);
    let mut text = String::from("global_defs {\n  router_id bench\n}\n");
    for instance in 0..instances {
        let (link, vrid) = (instance / 255, 1 + instance % 255);
        let _ = write!(
            text,
            "vrrp_instance VI_{instance} {{\n  interface eth{link}\n  virtual_router_id {vrid}\n  priority 100\n  \
             virtual_ipaddress {{\n"
        );
        for address in 0..4 {
            let _ = writeln!(text, "    10.{link}.{}.{address}/32", vrid);
        }
        text.push_str("  }\n}\n");
    }
    let file = std::env::temp_dir().join("vipdbench.conf");
    std::fs::write(&file, &text).unwrap();
    for (name, program) in daemons {
        let mut times = Vec::new();
        let mut code = None;
        for _ in 0..runs {
            let start = Instant::now();
            let status = Command::new("ip")
                .args(["netns", "exec", SERVERS[0]])
                .arg(program)
                .args(["-t", "-f"])
                .arg(&file)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            times.push(start.elapsed().as_secs_f64() * 1e3);
            code = status.ok().and_then(|status| status.code());
        }
        println!(
            "{name:12} -t on {instances} instances ({} KiB): ms min/med/max {}, exit code {code:?}",
            text.len() >> 10,
            spread(times)
        );
    }
}
