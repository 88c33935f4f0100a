//! Two servers and an auditor: after every act the address is where the rules want it, and nowhere else.

use super::count;
use super::lab::{Kind, Lab, ip, skip, until};
use std::net::IpAddr;

const VIP: &str = "192.0.2.100";

fn vip() -> IpAddr {
    VIP.parse().unwrap()
}

fn conf(node: usize, priority: u8, more: &str) -> String {
    format!(
        "global_defs {{\n    router_id n{node}\n    dynamic_interfaces\n}}\nvrrp_instance A {{\n    interface eth0\n    \
         virtual_router_id 51\n    version 3\n    priority {priority}\n    advert_int 0.1\n    {more}\n    \
         virtual_ipaddress {{\n        {VIP}/24\n    }}\n}}\n"
    )
}

/// A pair of servers of which the first is preferred.
fn pair(more: &str) -> Lab {
    let mut lab = Lab::new(&[Kind::Vipd, Kind::Vipd], 1);
    for (node, priority) in [(0, 150), (1, 100)] {
        lab.configure(node, &conf(node, priority, more));
    }
    lab.start(1);
    lab.start(0);
    lab
}

/// xorshift: a sequence that its seed repeats.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Kill,
    Stop,
    Start,
    Unplug,
    Plug,
    Reload,
    Pause,
}

struct Audit {
    lab: Lab,
    plugged: [bool; 2],
    /// Reloads alternate between two files, so that there is something to change.
    written: [u32; 2],
}

impl Audit {
    /// Up to the point from which signals are heard: before its program begins, a process dies of any.
    fn listening(&self, node: usize) {
        let pid = self.lab.nodes[node].child.as_ref().unwrap().id().to_string();
        let read = || std::fs::read_to_string(self.lab.file(node, "pid")).unwrap_or_default();
        until("a pid file", || read().trim() == pid).unwrap();
    }

    fn act(&mut self, node: usize, act: Act) {
        let running = self.lab.nodes[node].child.is_some();
        match act {
            Act::Kill if running => self.lab.signal(node, libc::SIGKILL),
            Act::Stop if running => {
                self.listening(node);
                self.lab.signal(node, libc::SIGTERM);
                assert!(!self.lab.has(node, vip()), "left behind by a stop in order\n{}", self.lab.describe());
            }
            Act::Start if !running => self.lab.start(node),
            Act::Unplug | Act::Plug => {
                self.plugged[node] = matches!(act, Act::Plug);
                self.lab.cable(node, 0, self.plugged[node]);
            }
            Act::Reload if running => {
                self.listening(node);
                self.written[node] += 1;
                let delay = format!("garp_master_delay {}", 1 + self.written[node] % 2);
                self.lab.configure(node, &conf(node, [150, 100][node], &delay));
                self.lab.signal(node, libc::SIGHUP);
            }
            Act::Pause if running => {
                self.lab.signal(node, libc::SIGSTOP);
                // Long enough for the other to take over: its patience is 0.36 s.
                std::thread::sleep(std::time::Duration::from_millis(500));
                self.lab.signal(node, libc::SIGCONT);
            }
            _ => {}
        }
    }

    /// The address is with the preferred one of those that can have it, and with no other that runs.
    fn settle(&self) -> Result<(), String> {
        let able = |node: usize| self.lab.nodes[node].child.is_some() && self.plugged[node];
        let wanted = (0..2).find(|node| able(*node));
        let right =
            || (0..2).all(|n| self.lab.nodes[n].child.is_none() || self.lab.has(n, vip()) == (wanted == Some(n)));
        // What a killed daemon has left looks right until the next one has started: only what stays is settled.
        let mut in_a_row = 0;
        let stays = || {
            in_a_row = if right() { in_a_row + 1 } else { 0 };
            in_a_row == 6
        };
        until(&format!("{VIP} with {wanted:?} of the running ones"), stays).map(|_| ())
    }
}

#[test]
fn random_acts_leave_the_address_on_exactly_one_server() {
    if skip(&["ip"]) {
        return;
    }
    let seed = std::env::var("VIPD_TORTURE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0x5eed_u64);
    let mut dice = Dice(seed | 1);
    let mut audit = Audit { lab: pair(""), plugged: [true; 2], written: [0; 2] };
    audit.settle().unwrap();
    let (total, mut history, mut done) = (count(15), Vec::new(), 0);
    while done < total {
        // Up to three acts in a row before anything can settle.
        for _ in 0..=dice.below(3) {
            let node = dice.below(2) as usize;
            let running = audit.lab.nodes[node].child.is_some();
            let act = match dice.below(if running { 12 } else { 3 }) {
                0 if !audit.plugged[node] => Act::Plug,
                _ if !running => Act::Start,
                0..=2 => Act::Kill,
                3..=4 => Act::Stop,
                5..=7 if audit.plugged[node] => Act::Unplug,
                5..=7 => Act::Plug,
                8..=10 => Act::Reload,
                _ => Act::Pause,
            };
            audit.act(node, act);
            history.push((node, act));
            done += 1;
        }
        if let Err(text) = audit.settle() {
            let last: Vec<_> = history.iter().rev().take(12).rev().collect();
            panic!("seed {seed}, act {done}: {text}\n{last:?}\n{}", audit.lab.describe());
        }
    }
    println!("{done} acts, seed {seed}");
    for node in 0..2 {
        audit.act(node, Act::Start);
        audit.act(node, Act::Plug);
    }
    audit.settle().unwrap();
    for node in 0..2 {
        audit.act(node, Act::Stop);
    }
    for node in 0..2 {
        let log = std::fs::read_to_string(audit.lab.file(node, "log")).unwrap();
        assert!(!log.contains("panicked"), "{log}");
    }
}

#[test]
fn a_master_that_was_paused_yields_to_the_one_that_took_over() {
    if skip(&["ip"]) {
        return;
    }
    let mut lab = pair("state BACKUP\n    nopreempt");
    until("somebody is master", || lab.has(0, vip()) || lab.has(1, vip())).unwrap();
    lab.signal(0, libc::SIGTERM);
    lab.only(1, vip()).unwrap();
    lab.start(0);
    for _ in 0..3 {
        // The better one takes the place of a paused lesser one, which must yield when it awakes.
        lab.signal(1, libc::SIGSTOP);
        until("0 takes over", || lab.has(0, vip())).unwrap();
        lab.signal(1, libc::SIGCONT);
        lab.only(0, vip()).unwrap();
        // Back, for the next round: the other is backup and does not preempt.
        lab.signal(0, libc::SIGTERM);
        lab.only(1, vip()).unwrap();
        lab.start(0);
        lab.only(1, vip()).unwrap();
    }
}

#[test]
fn an_interface_may_be_renamed_removed_and_made_again() {
    if skip(&["ip"]) {
        return;
    }
    let lab = pair("");
    lab.only(0, vip()).unwrap();
    let space = lab.nodes[0].namespace.clone();
    let run = |line: &str| ip(&space, &line.split(' ').collect::<Vec<_>>()).unwrap();
    for _ in 0..3 {
        run("link set eth0 down");
        run("link set eth0 name other");
        run("link set other up");
        lab.only(1, vip()).unwrap();
        run("link set other down");
        run("link set other name eth0");
        run("link set eth0 up");
        lab.only(0, vip()).unwrap();
    }
    // Renaming without a word of down: kernels since 6.2 allow it.
    if ip(&space, &["link", "set", "eth0", "name", "other"]).is_ok() {
        lab.only(1, vip()).unwrap();
        run("link set other name eth0");
        lab.only(0, vip()).unwrap();
    }
    for _ in 0..3 {
        let switch = lab.switch();
        run("link del eth0");
        lab.only(1, vip()).unwrap();
        ip(switch, &["link", "add", "p0", "type", "veth", "peer", "name", "eth0", "netns", &space]).unwrap();
        ip(switch, &["link", "set", "p0", "master", "br0", "up"]).unwrap();
        run("link set eth0 up");
        run("addr add 192.0.2.1/24 dev eth0");
        lab.only(0, vip()).unwrap();
    }
}
