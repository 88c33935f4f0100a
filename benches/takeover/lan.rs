//! Two servers and a switch in network namespaces, with an observer on the switch.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use vipd::kernel::namespace;
use vipd::lab::observer::{Observer, Sighting, What};
use vipd::lab::wire;

pub const SWITCH: &str = "vipdbench-sw";
pub const SERVERS: [&str; 2] = ["vipdbench-1", "vipdbench-2"];
pub const PRIORITIES: [u32; 2] = [200, 100];
pub const KILL: i32 = 9;
pub const TERM: i32 = 15;
pub const HUP: i32 = 1;
/// Virtual routers that one link has room for.
pub const A_LINK: usize = 255;

/// Instances, addresses of each, advert interval in seconds.
#[derive(Clone, Copy)]
pub struct Size(pub usize, pub usize, pub f64);

impl Size {
    pub fn links(self) -> usize {
        self.0.div_ceil(A_LINK)
    }
    pub fn on_the_first_link(self) -> usize {
        self.0.min(A_LINK)
    }
    pub fn skew(self) -> f64 {
        f64::from(256 - PRIORITIES[1]) * self.2 / 256.0
    }
    pub fn down(self) -> f64 {
        3.0 * self.2 + self.skew()
    }
}

/// Gone when dropped.
pub struct Lan {
    pub daemons: [Option<Child>; 2],
    /// On the first link.
    pub observer: Observer,
    /// Further ones for the daemons that are started.
    pub arguments: &'static str,
}

impl Lan {
    pub fn new(links: usize) -> Lan {
        clear();
        namespace::create(SWITCH).unwrap();
        for link in 0..links {
            wire::bridge(SWITCH, &format!("br{link}")).unwrap();
        }
        for (position, name) in SERVERS.iter().enumerate() {
            namespace::create(name).unwrap();
            for link in 0..links {
                let (here, there) = (format!("eth{link}"), format!("s{position}l{link}"));
                wire::cable(name, &here, SWITCH, &there, Some(&format!("br{link}"))).unwrap();
                let address: IpAddr = format!("10.{link}.0.{}", position + 1).parse().unwrap();
                wire::add_address(name, &here, address, 16).unwrap();
                wire::set_up(name, &here, true).unwrap();
                wire::set_up(SWITCH, &there, true).unwrap();
            }
        }
        let observer = Observer::new(SWITCH, "br0").unwrap();
        Lan { daemons: [None, None], observer, arguments: "" }
    }

    pub fn start(&mut self, position: usize, program: &Path, configuration: &str) {
        let folder = std::env::temp_dir().join(SERVERS[position]);
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("keepalived.conf");
        std::fs::write(&file, configuration).unwrap();
        let script = format!(
            "mount -t tmpfs tmpfs /run && mkdir -p /run/keepalived && exec {} -n -l -P -f {} {}",
            program.display(),
            file.display(),
            self.arguments
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

    /// Both, the better one first; each has settled.
    pub fn pair(&mut self, program: &Path, size: Size) {
        self.pair_with(program, size, "");
    }

    /// The same, with more lines in `global_defs`.
    pub fn pair_with(&mut self, program: &Path, size: Size, more: &str) {
        let with = |position| configuration(position, size).replacen("{\n", &format!("{{\n{more}"), 1);
        self.start(0, program, &with(0));
        self.settle(size.on_the_first_link());
        self.start(1, program, &with(1));
        self.watch(Duration::from_secs(4), |_| false);
    }

    /// SIGKILL goes to the daemon and its children at once (all are stopped first), others to the daemon.
    pub fn signal(&mut self, position: usize, signal: i32) {
        let mut all = self.processes(position);
        if signal == KILL {
            all.iter().for_each(|pid| kill(*pid, libc::SIGSTOP));
        } else {
            all.truncate(1);
        }
        all.iter().for_each(|pid| kill(*pid, signal));
    }

    /// The daemon and its children.
    pub fn processes(&self, position: usize) -> Vec<u32> {
        let Some(child) = &self.daemons[position] else { return Vec::new() };
        std::iter::once(child.id()).chain(children(child.id())).collect()
    }

    /// Everything seen until `end` says so or the time is over.
    pub fn watch(&mut self, limit: Duration, mut end: impl FnMut(&Sighting) -> bool) {
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

    /// Waits until the better server has advertised so many VRIDs.
    pub fn settle(&mut self, instances: usize) {
        let mut seen = HashSet::new();
        self.watch(Duration::from_secs(60), |sighting| {
            if let What::Advert { source, vrid, priority, .. } = &sighting.what
                && *source == server(0)
                && *priority > 0
            {
                seen.insert(*vrid);
            }
            seen.len() >= instances
        });
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

pub fn server(position: usize) -> IpAddr {
    format!("10.0.0.{}", position + 1).parse().unwrap()
}

pub fn configuration(position: usize, size: Size) -> String {
    let Size(instances, addresses, interval) = size;
    let mut text = String::from("global_defs {\n  router_id bench\n  vrrp_version 3\n}\n");
    for instance in 0..instances {
        let (link, on_it) = (instance / A_LINK, instance % A_LINK);
        let _ = write!(
            text,
            "vrrp_instance VI_{} {{\n  interface eth{link}\n  virtual_router_id {}\n  priority {}\n  advert_int {interval}\n",
            instance + 1,
            on_it + 1,
            PRIORITIES[position]
        );
        for n in 0..addresses {
            // More than twenty do not go into an advert.
            match n {
                0 => text.push_str("  virtual_ipaddress {\n"),
                20 => text.push_str("  }\n  virtual_ipaddress_excluded {\n"),
                _ => {}
            }
            let address = on_it * addresses + n;
            let _ = writeln!(text, "    10.{link}.{}.{}/32", 64 + address / 250, 1 + address % 250);
        }
        text.push_str("  }\n}\n");
    }
    text
}
